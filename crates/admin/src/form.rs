//! Forms several resources share: money, limits, prices.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tallygate_store::ProxyPool;
use tallygate_store::responses::{self, ResponseSettings};
use tallygate_store::upstreams::Status;
use tallygate_types::{Currency, Pico, UnitPrice, UsageClass};
use utoipa::ToSchema;

use crate::http_form::{Patch, given};
use crate::problem::{FieldError, Problem, Result};

/// An amount of money: an exact decimal in major units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Money {
    #[schema(value_type = String, example = "12.3456")]
    pub amount: Pico,
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
}

/// Limits on the flow of requests. What is null is not limited here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    #[schema(minimum = 1, required = true)]
    pub requests_per_minute: Option<u32>,
    #[schema(minimum = 1, required = true)]
    pub tokens_per_minute: Option<u64>,
    /// Requests in flight at once.
    #[schema(minimum = 1, required = true)]
    pub concurrency: Option<u32>,
}

/// Limits for a new resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLimits {
    #[schema(minimum = 1)]
    pub requests_per_minute: Option<u32>,
    #[schema(minimum = 1)]
    pub tokens_per_minute: Option<u64>,
    #[schema(minimum = 1)]
    pub concurrency: Option<u32>,
}

/// A change of limits: absent leaves, null lifts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsPatch {
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub requests_per_minute: Patch<u32>,
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub tokens_per_minute: Patch<u64>,
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub concurrency: Patch<u32>,
}

/// Outbound proxies: the URL of one, or a list that is tried in turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Proxies {
    One(String),
    Pool(Vec<String>),
}

impl Proxies {
    pub fn pool(proxies: Option<Self>) -> ProxyPool {
        match proxies {
            None => ProxyPool::default(),
            Some(Self::One(url)) => url.into(),
            Some(Self::Pool(urls)) => urls.into(),
        }
    }

    pub fn shown(pool: ProxyPool) -> Option<Self> {
        match pool.urls() {
            [] => None,
            [one] => Some(Self::One(one.clone())),
            many => Some(Self::Pool(many.to_vec())),
        }
    }
}

/// The time a budget runs for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetPeriod {
    /// A calendar day in the tenant's time zone.
    Day,
    /// A calendar month in the tenant's time zone.
    Month,
    /// For good.
    Total,
}

impl From<BudgetPeriod> for tallygate_store::BudgetPeriod {
    fn from(period: BudgetPeriod) -> Self {
        match period {
            BudgetPeriod::Day => Self::Day,
            BudgetPeriod::Month => Self::Month,
            BudgetPeriod::Total => Self::Total,
        }
    }
}

impl From<tallygate_store::BudgetPeriod> for BudgetPeriod {
    fn from(period: tallygate_store::BudgetPeriod) -> Self {
        match period {
            tallygate_store::BudgetPeriod::Day => Self::Day,
            tallygate_store::BudgetPeriod::Month => Self::Month,
            tallygate_store::BudgetPeriod::Total => Self::Total,
        }
    }
}

/// Money a tenant may spend in a period. Requests that would go beyond are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    #[schema(value_type = String, example = "100.00")]
    pub amount: Pico,
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    pub period: BudgetPeriod,
}

/// Whether the gateway keeps the responses of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResponsesMode {
    /// Nothing is kept; every request carries its whole conversation.
    Stateless,
    /// Kept in the database, sealed, so that `previous_response_id` works before any upstream.
    Stored,
}

/// How the responses of a tenant are kept. Beyond a bound the oldest leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Responses {
    pub mode: ResponsesMode,
    /// Hours since a response was last built upon.
    pub lifetime_hours: u32,
    pub max_bytes: u64,
    pub max_count: u32,
}

/// How the responses of a new tenant are kept; what is absent is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewResponses {
    pub mode: Option<ResponsesMode>,
    #[schema(minimum = 1, maximum = 8784, default = 720)]
    pub lifetime_hours: Option<u32>,
    #[schema(minimum = 1_048_576, default = 268_435_456)]
    pub max_bytes: Option<u64>,
    #[schema(minimum = 1, maximum = 100_000, default = 10_000)]
    pub max_count: Option<u32>,
}

/// A change of how responses are kept: absent leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResponsesPatch {
    #[serde(default, deserialize_with = "given")]
    pub mode: Option<ResponsesMode>,
    #[serde(default, deserialize_with = "given")]
    #[schema(minimum = 1, maximum = 8784)]
    pub lifetime_hours: Option<u32>,
    #[serde(default, deserialize_with = "given")]
    #[schema(minimum = 1_048_576)]
    pub max_bytes: Option<u64>,
    #[serde(default, deserialize_with = "given")]
    #[schema(minimum = 1, maximum = 100_000)]
    pub max_count: Option<u32>,
}

macro_rules! by_class {
    ($($field:ident = $class:ident,)*) => {
        /// Prices in money per million tokens, one for each class of tokens: exact decimals, never negative. A class
        /// without a price of its own is charged as the class it belongs to where the pricing rules name one, else it
        /// cannot be sold.
        #[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub struct ClassPrices {
            $(#[serde(skip_serializing_if = "Option::is_none")] #[schema(example = "3.00")] pub $field: Option<String>,)*
        }

        impl ClassPrices {
            pub fn iter(&self) -> impl Iterator<Item = (UsageClass, &str)> {
                [$((UsageClass::$class, self.$field.as_deref()),)*].into_iter().filter_map(|(class, price)| Some((class, price?)))
            }

            pub fn set(&mut self, class: UsageClass, price: String) {
                match class { $(UsageClass::$class => self.$field = Some(price),)* }
            }
        }

        /// Tokens by class. The classes never overlap, so they can be added up.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
        pub struct Usage {
            $(pub $field: u64,)*
        }

        impl From<&tallygate_types::Usage> for Usage {
            fn from(usage: &tallygate_types::Usage) -> Self {
                Self { $($field: usage.get(UsageClass::$class),)* }
            }
        }
    };
}

by_class! {
    input_uncached = InputUncached,
    input_cache_read = InputCacheRead,
    input_cache_write_5m = InputCacheWrite5m,
    input_cache_write_1h = InputCacheWrite1h,
    input_audio = InputAudio,
    input_audio_cached = InputAudioCached,
    input_image = InputImage,
    input_video = InputVideo,
    output_text = OutputText,
    output_reasoning = OutputReasoning,
    output_audio = OutputAudio,
    output_image = OutputImage,
}

/// The dialects, as the API names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    OpenaiChat,
    OpenaiResponses,
    Anthropic,
    Gemini,
}

impl From<tallygate_types::Dialect> for Dialect {
    fn from(dialect: tallygate_types::Dialect) -> Self {
        match dialect {
            tallygate_types::Dialect::OpenaiChat => Self::OpenaiChat,
            tallygate_types::Dialect::OpenaiResponses => Self::OpenaiResponses,
            tallygate_types::Dialect::Anthropic => Self::Anthropic,
            tallygate_types::Dialect::Gemini => Self::Gemini,
        }
    }
}

impl From<Dialect> for tallygate_types::Dialect {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::OpenaiChat => Self::OpenaiChat,
            Dialect::OpenaiResponses => Self::OpenaiResponses,
            Dialect::Anthropic => Self::Anthropic,
            Dialect::Gemini => Self::Gemini,
        }
    }
}

/// Whether an upstream, a credential or a model takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Enabled {
    Active,
    Disabled,
}

impl From<Status> for Enabled {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Disabled => Self::Disabled,
        }
    }
}

impl From<Enabled> for Status {
    fn from(status: Enabled) -> Self {
        match status {
            Enabled::Active => Self::Active,
            Enabled::Disabled => Self::Disabled,
        }
    }
}

/// Who may change a resource. What the configuration file declares is read-only here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManagedBy {
    Api,
    File,
}

impl ManagedBy {
    /// Refuses a change that the configuration file would undo at the next start. Taking a resource out of service and back
    /// is left to the API, for it cannot wait for a new file: `is_status_only` says that the change is no more than that.
    pub fn admit(self, is_status_only: bool) -> Result<()> {
        match self {
            Self::File if !is_status_only => Err(Problem::conflict(
                "managed_by_file",
                "This is declared in the configuration file, which would undo the change; change it there.",
            )),
            Self::Api | Self::File => Ok(()),
        }
    }
}

impl From<tallygate_store::ManagedBy> for ManagedBy {
    fn from(managed_by: tallygate_store::ManagedBy) -> Self {
        match managed_by {
            tallygate_store::ManagedBy::Api => Self::Api,
            tallygate_store::ManagedBy::File => Self::File,
        }
    }
}

impl Limits {
    /// The limits as the store keeps them; zero is no limit but a mistake.
    pub fn checked(self, pointer: &str) -> Result<tallygate_store::Limits> {
        let zero = |field: &str| {
            FieldError::new(format!("{pointer}/{field}"), "not_positive", "A limit must be at least 1; null lifts it.")
        };
        let mut errors = Vec::new();
        if self.requests_per_minute == Some(0) {
            errors.push(zero("requests_per_minute"));
        }
        if self.tokens_per_minute == Some(0) {
            errors.push(zero("tokens_per_minute"));
        }
        if self.concurrency == Some(0) {
            errors.push(zero("concurrency"));
        }
        if !errors.is_empty() {
            return Err(Problem::invalid(errors));
        }
        Ok(tallygate_store::Limits {
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            concurrency: self.concurrency,
        })
    }
}

/// Limits of single models as the store keeps them.
pub fn checked_model_limits(limits: BTreeMap<String, NewLimits>) -> Result<BTreeMap<String, tallygate_store::Limits>> {
    let check = |(model, limits): (String, NewLimits)| {
        let limits = Limits::from(limits).checked(&format!("/model_limits/{}", model.replace('~', "~0").replace('/', "~1")))?;
        Ok((model, limits))
    };
    limits.into_iter().map(check).collect()
}

impl LimitsPatch {
    pub fn apply(self, current: Limits) -> Limits {
        Limits {
            requests_per_minute: self.requests_per_minute.apply(current.requests_per_minute),
            tokens_per_minute: self.tokens_per_minute.apply(current.tokens_per_minute),
            concurrency: self.concurrency.apply(current.concurrency),
        }
    }
}

impl From<NewLimits> for Limits {
    fn from(new: NewLimits) -> Self {
        Self {
            requests_per_minute: new.requests_per_minute,
            tokens_per_minute: new.tokens_per_minute,
            concurrency: new.concurrency,
        }
    }
}

impl From<tallygate_store::Limits> for Limits {
    fn from(limits: tallygate_store::Limits) -> Self {
        Self {
            requests_per_minute: limits.requests_per_minute,
            tokens_per_minute: limits.tokens_per_minute,
            concurrency: limits.concurrency,
        }
    }
}

impl From<Budget> for tallygate_store::Budget {
    fn from(budget: Budget) -> Self {
        Self { amount: budget.amount, currency: budget.currency, period: budget.period.into() }
    }
}

impl From<tallygate_store::Budget> for Budget {
    fn from(budget: tallygate_store::Budget) -> Self {
        Self { amount: budget.amount, currency: budget.currency, period: budget.period.into() }
    }
}

impl From<ResponseSettings> for Responses {
    fn from(settings: ResponseSettings) -> Self {
        Self {
            mode: match settings.mode {
                responses::ResponsesMode::Stateless => ResponsesMode::Stateless,
                responses::ResponsesMode::Stored => ResponsesMode::Stored,
            },
            lifetime_hours: settings.lifetime_hours,
            max_bytes: settings.max_bytes,
            max_count: settings.max_count,
        }
    }
}

impl ResponsesPatch {
    pub fn apply(self, current: ResponseSettings) -> ResponseSettings {
        ResponseSettings {
            mode: self.mode.map_or(current.mode, |mode| match mode {
                ResponsesMode::Stateless => responses::ResponsesMode::Stateless,
                ResponsesMode::Stored => responses::ResponsesMode::Stored,
            }),
            lifetime_hours: self.lifetime_hours.unwrap_or(current.lifetime_hours),
            max_bytes: self.max_bytes.unwrap_or(current.max_bytes),
            max_count: self.max_count.unwrap_or(current.max_count),
        }
    }
}

impl From<NewResponses> for ResponseSettings {
    fn from(new: NewResponses) -> Self {
        let NewResponses { mode, lifetime_hours, max_bytes, max_count } = new;
        ResponsesPatch { mode, lifetime_hours, max_bytes, max_count }.apply(Self::default())
    }
}

impl Money {
    pub const fn new(amount: Pico, currency: Currency) -> Self {
        Self { amount, currency }
    }
}

impl ClassPrices {
    /// The prices as billing keeps them; every one that cannot be held exactly is named.
    pub fn parse(&self, pointer: &str) -> Result<tallygate_billing::ClassPrices> {
        let (mut prices, mut errors) = (tallygate_billing::ClassPrices::default(), Vec::new());
        for (class, text) in self.iter() {
            match UnitPrice::parse_per_million(text) {
                Ok(price) => prices.set(class, Some(price)),
                Err(error) => errors.push(FieldError::new(format!("{pointer}/{class}"), "not_a_price", error.to_string())),
            }
        }
        if prices.is_empty() && errors.is_empty() {
            errors.push(FieldError::new(pointer, "required", "Set the price of one class at least; zero is allowed."));
        }
        if errors.is_empty() { Ok(prices) } else { Err(Problem::invalid(errors)) }
    }
}

impl From<tallygate_billing::ClassPrices> for ClassPrices {
    fn from(prices: tallygate_billing::ClassPrices) -> Self {
        let mut texts = Self::default();
        for (class, price) in prices.iter() {
            texts.set(class, price.to_per_million());
        }
        texts
    }
}

/// Whole milliseconds.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Charges by currency, as billing sums them; none for who may not see money.
pub fn charges(sums: &BTreeMap<String, Pico>, sees_money: bool) -> Vec<Money> {
    let known = sums.iter().filter(|_| sees_money).filter_map(|(code, amount)| Some(Money::new(*amount, code.parse().ok()?)));
    known.collect()
}
