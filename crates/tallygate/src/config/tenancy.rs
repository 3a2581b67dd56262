//! `[[tenants]]`: who calls, and how much they may.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tallygate_billing::Endpoint;
use tallygate_store::budgets::BudgetMode;
use tallygate_store::{BillingTerms, BudgetPeriod, Limits as StoredLimits};
use tallygate_types::{Currency, MoneyError, Network, Pico};

use super::error::{ConfigError, nearest};
use super::file::Responses;
use super::secret::SecretRef;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    pub name: String,
    #[serde(default)]
    pub limits: Limits,
    /// Bounds of single models, by public name; beside `limits`.
    #[serde(default)]
    pub model_limits: BTreeMap<String, Limits>,
    /// Bounds of each of the tenant's end users; beside `limits`.
    #[serde(default)]
    pub end_user_limits: Limits,
    #[serde(default)]
    pub budget: Option<Budget>,
    /// How the tenant pays, and whom it wants told of its budgets.
    #[serde(default)]
    pub billing: Billing,
    /// More budgets, of the tenant or of what is in it.
    #[serde(default)]
    pub budgets: Vec<ScopedBudget>,
    #[serde(default)]
    pub projects: Vec<Project>,
    /// Models the tenant may use; left out: all.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// Whether the gateway keeps the tenant's responses, so that `previous_response_id` works before any upstream.
    #[serde(default)]
    pub responses: Responses,
    /// IANA zone in which the tenant's days and months begin.
    #[serde(default = "utc")]
    pub time_zone: String,
    #[serde(default)]
    pub keys: Vec<Key>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub requests_per_minute: Option<u32>,
    pub tokens_per_minute: Option<u64>,
    pub concurrency: Option<u32>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Decimal text in major units.
    pub amount: String,
    pub currency: String,
    pub period: Period,
}

/// How a tenant pays, and who is told.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Billing {
    /// `postpaid`: it is billed for what it used; `prepaid`: it spends what was paid into its balance, and no more.
    pub mode: BillingMode,
    /// Of the balance [default: USD].
    pub currency: Option<String>,
    /// Somebody is told when less than this is left of the balance; decimal text in major units.
    pub balance_alert: Option<String>,
    /// Who is told of the tenant's budgets by mail, beside the operator.
    pub alert_emails: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BillingMode {
    #[default]
    Postpaid,
    Prepaid,
}

/// When a budget starts anew, at midnight of the tenant's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    Day,
    Month,
    /// Never.
    Total,
}

/// What becomes of a request that a budget does not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is refused.
    #[default]
    Hard,
    /// It is served, and somebody is told.
    Soft,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopedBudget {
    /// Whose spending counts: `tenant`, `project:NAME`, `key:NAME`, `model:NAME`, `end_user:NAME`, or `end_user` for each of them.
    pub scope: String,
    /// Decimal text in major units.
    pub amount: String,
    pub currency: String,
    pub period: Period,
    #[serde(default)]
    pub mode: Mode,
    /// At how many percent spent somebody is told, in ascending order.
    #[serde(default)]
    pub alerts: Vec<u16>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Project {
    pub name: String,
    #[serde(default)]
    pub limits: Limits,
    /// Models its keys may use; left out: the tenant's.
    #[serde(default)]
    pub models: Option<Vec<String>>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Key {
    pub name: String,
    /// Any string of 24 characters or more, so that keys can move here; left out: minted and printed once.
    #[serde(default)]
    pub secret: Option<SecretRef>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// Operations it may call, such as `chat_completions` or `messages`; left out: all.
    #[serde(default)]
    pub endpoints: Option<Vec<String>>,
    /// Networks it may be used from, such as `192.0.2.0/24`; left out: anywhere.
    #[serde(default)]
    pub networks: Option<Vec<String>>,
    /// The project it belongs to; one that `projects` does not list has no bounds of its own.
    #[serde(default)]
    pub project: Option<String>,
    /// Labels that routes match by.
    #[serde(default)]
    pub tags: Vec<String>,
}

impl Key {
    /// One that is made at the first start and bounded by nothing.
    pub fn minted(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            secret: None,
            limits: Limits::default(),
            models: None,
            endpoints: None,
            networks: None,
            project: None,
            tags: Vec::new(),
        }
    }
}

/// Whose spending counts, by the names the file gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedScope {
    Tenant,
    Project(String),
    Key(String),
    Model(String),
    EndUser(Option<String>),
}

impl NamedScope {
    fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(':').map_or((text, None), |(kind, name)| (kind, Some(name)));
        let name = name.map(str::to_owned);
        match (kind, name.as_ref().is_none_or(|name| !name.is_empty()).then_some(name)?) {
            ("tenant", None) => Some(Self::Tenant),
            ("end_user", end_user) => Some(Self::EndUser(end_user)),
            ("project", Some(name)) => Some(Self::Project(name)),
            ("key", Some(name)) => Some(Self::Key(name)),
            ("model", Some(name)) => Some(Self::Model(name)),
            _ => None,
        }
    }
}

impl From<Limits> for StoredLimits {
    fn from(limits: Limits) -> Self {
        Self {
            requests_per_minute: limits.requests_per_minute,
            tokens_per_minute: limits.tokens_per_minute,
            concurrency: limits.concurrency,
        }
    }
}

impl Billing {
    pub fn terms(&self) -> Result<BillingTerms, MoneyError> {
        Ok(BillingTerms {
            mode: match self.mode {
                BillingMode::Postpaid => tallygate_store::BillingMode::Postpaid,
                BillingMode::Prepaid => tallygate_store::BillingMode::Prepaid,
            },
            currency: self.currency.as_ref().map_or(Ok(Currency::USD), |currency| currency.parse())?,
            balance_alert: self.balance_alert.as_ref().map(|amount| amount.parse()).transpose()?,
            alert_emails: self.alert_emails.clone(),
        })
    }
}

impl From<Period> for BudgetPeriod {
    fn from(period: Period) -> Self {
        match period {
            Period::Day => Self::Day,
            Period::Month => Self::Month,
            Period::Total => Self::Total,
        }
    }
}

impl From<Mode> for BudgetMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Hard => Self::Hard,
            Mode::Soft => Self::Soft,
        }
    }
}

impl ScopedBudget {
    pub fn named_scope(&self) -> Result<NamedScope, ConfigError> {
        NamedScope::parse(&self.scope).ok_or_else(|| {
            ConfigError::Invalid(format!(
                "scope `{}` is not known; write `tenant`, `project:NAME`, `key:NAME`, `model:NAME`, `end_user` or `end_user:NAME`",
                self.scope
            ))
        })
    }
}

impl Key {
    pub fn networks(&self) -> Result<Option<Vec<Network>>, ConfigError> {
        let parse = |text: &String| text.parse().map_err(|error| ConfigError::Invalid(format!("key `{}`: {error}", self.name)));
        self.networks.as_ref().map(|networks| networks.iter().map(parse).collect()).transpose()
    }
}

impl Tenant {
    /// One that is bounded by nothing and has no key.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            limits: Limits::default(),
            model_limits: BTreeMap::new(),
            end_user_limits: Limits::default(),
            budget: None,
            billing: Billing::default(),
            budgets: Vec::new(),
            projects: Vec::new(),
            models: None,
            responses: Responses::default(),
            time_zone: utc(),
            keys: Vec::new(),
        }
    }

    /// What the types cannot say.
    pub(super) fn check(&self, models: &[&str]) -> Result<(), ConfigError> {
        let invalid = |error: &dyn std::fmt::Display| ConfigError::Invalid(format!("tenant `{}`: {error}", self.name));
        let money = |amount: &str, currency: &str| {
            amount.parse::<Pico>().map_err(|error| invalid(&error))?;
            currency.parse::<Currency>().map_err(|error| invalid(&error))
        };
        if let Some(budget) = &self.budget {
            money(&budget.amount, &budget.currency)?;
        }
        self.billing.terms().map_err(|error| invalid(&error))?;
        let leads = |kind: &str, name: &str, known: &[&str]| {
            if known.contains(&name) {
                return Ok(());
            }
            let advice = nearest(name, known.iter().copied()).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            Err(invalid(&format!("there is no {kind} `{name}`{advice}")))
        };
        let keys: Vec<_> = self.keys.iter().map(|key| key.name.as_str()).collect();
        let of_keys = self.keys.iter().filter_map(|key| key.project.as_deref());
        let projects: Vec<_> = self.projects.iter().map(|project| project.name.as_str()).chain(of_keys).collect();
        for budget in &self.budgets {
            money(&budget.amount, &budget.currency)?;
            match budget.named_scope().map_err(|error| invalid(&error))? {
                NamedScope::Project(name) => leads("project", &name, &projects)?,
                NamedScope::Key(name) => leads("key", &name, &keys)?,
                NamedScope::Model(name) => leads("model", &name, models)?,
                NamedScope::Tenant | NamedScope::EndUser(_) => {}
            }
        }
        self.model_limits.keys().try_for_each(|name| leads("model", name, models))?;
        for key in &self.keys {
            key.networks().map_err(|error| invalid(&error))?;
            for endpoint in key.endpoints.iter().flatten() {
                endpoint.parse::<Endpoint>().map_err(|error| invalid(&error))?;
            }
        }
        Ok(())
    }
}

fn utc() -> String {
    "UTC".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<(), String> {
        let tenant: Tenant = toml::from_str(&format!("name = \"acme\"\n{text}")).map_err(|error| error.to_string())?;
        tenant.check(&["smart"]).map_err(|error| error.to_string())
    }

    #[test]
    fn budgets_and_scopes_lead_somewhere() {
        let budget = |scope: &str| {
            checked(&format!(
                "keys = [{{ name = \"ci\", project = \"web\" }}]\n
                 budgets = [{{ scope = \"{scope}\", amount = \"1\", currency = \"USD\", period = \"day\" }}]"
            ))
        };
        for good in ["tenant", "project:web", "key:ci", "model:smart", "end_user", "end_user:ann"] {
            assert_eq!(budget(good), Ok(()), "{good}");
        }
        for (bad, said) in [
            ("tenants", "scope `tenants` is not known"),
            ("tenant:acme", "is not known"),
            ("key:", "is not known"),
            ("project", "is not known"),
            ("key:cj", "there is no key `cj`; did you mean `ci`?"),
            ("project:x", "there is no project `x`"),
            ("model:smrt", "did you mean `smart`?"),
        ] {
            let refused = budget(bad).unwrap_err();
            assert!(refused.contains(said), "{refused}");
        }
    }

    #[test]
    fn what_a_key_may_is_checked() {
        let key = |text: &str| checked(&format!("keys = [{{ name = \"ci\", {text} }}]"));
        assert_eq!(key("endpoints = [\"messages\"], networks = [\"192.0.2.0/24\", \"::1\"]"), Ok(()));
        assert!(key("endpoints = [\"message\"]").unwrap_err().contains("unknown endpoint `message`"));
        assert!(key("networks = [\"10\"]").unwrap_err().contains("is not a network"));
        assert!(checked("model_limits = { smrt = {} }").unwrap_err().contains("did you mean `smart`?"));
    }
}
