//! How a tenant pays, as the API says it.

use serde::{Deserialize, Serialize};
use tallygate_store::BillingTerms;
use tallygate_types::{Currency, Pico};
use utoipa::ToSchema;

use crate::http_form::{Patch, given};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BillingMode {
    /// The tenant is billed for what it used.
    Postpaid,
    /// The tenant spends what was paid into its balance, which is a hard budget.
    Prepaid,
}

/// How a tenant pays, and whom it wants told of its budgets.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Billing {
    pub mode: BillingMode,
    /// Of the balance. It stays what it is once something is booked.
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    /// Somebody is told when less than this is left of the balance.
    #[schema(value_type = Option<String>, required = true, example = "5.00")]
    pub balance_alert: Option<Pico>,
    /// Who is told by mail of what the tenant's budgets alert of, beside the operator.
    pub alert_emails: Vec<String>,
}

/// A change of how a tenant pays: absent leaves. A new tenant is postpaid if it does not say.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BillingPatch {
    #[serde(default, deserialize_with = "given")]
    pub mode: Option<BillingMode>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub currency: Option<Currency>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub balance_alert: Patch<Pico>,
    /// Replaces all addresses.
    #[serde(default, deserialize_with = "given")]
    #[schema(max_items = 10)]
    pub alert_emails: Option<Vec<String>>,
}

impl BillingPatch {
    pub fn apply(self, current: BillingTerms) -> BillingTerms {
        BillingTerms {
            mode: self.mode.map_or(current.mode, Into::into),
            currency: self.currency.unwrap_or(current.currency),
            balance_alert: self.balance_alert.apply(current.balance_alert),
            alert_emails: self.alert_emails.unwrap_or(current.alert_emails),
        }
    }
}

impl From<BillingTerms> for Billing {
    fn from(terms: BillingTerms) -> Self {
        let BillingTerms { mode, currency, balance_alert, alert_emails } = terms;
        Self { mode: mode.into(), currency, balance_alert, alert_emails }
    }
}

impl From<BillingMode> for tallygate_store::BillingMode {
    fn from(mode: BillingMode) -> Self {
        match mode {
            BillingMode::Postpaid => Self::Postpaid,
            BillingMode::Prepaid => Self::Prepaid,
        }
    }
}

impl From<tallygate_store::BillingMode> for BillingMode {
    fn from(mode: tallygate_store::BillingMode) -> Self {
        match mode {
            tallygate_store::BillingMode::Postpaid => Self::Postpaid,
            tallygate_store::BillingMode::Prepaid => Self::Prepaid,
        }
    }
}
