//! Forms several resources share: money, limits, prices.

use serde::{Deserialize, Serialize};
use tallygate_types::{Currency, Pico, UsageClass};
use utoipa::ToSchema;

use crate::http_form::Patch;

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

/// The time a budget runs for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetPeriod {
    /// A calendar month in the tenant's time zone.
    Month,
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
