//! How a tenant pays, and whom it wants told of its budgets.

use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use tallygate_types::{Currency, Pico};

use crate::value::text_enum;
use crate::{StoreError, check};

/// Addresses of one tenant at most.
const MAX_ALERT_EMAILS: usize = 10;

text_enum! {
    pub enum BillingMode("tenants") {
        /// It is billed for what it used.
        Postpaid = "postpaid",
        /// It spends what was paid in: its balance is a hard budget.
        Prepaid = "prepaid",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BillingTerms {
    pub mode: BillingMode,
    /// Of the balance. It stays what it is once something is booked.
    pub currency: Currency,
    /// Somebody is told when less than this is left of the balance.
    pub balance_alert: Option<Pico>,
    /// Who is told of the tenant's budgets, beside the operator.
    pub alert_emails: Vec<String>,
}

impl Default for BillingTerms {
    fn default() -> Self {
        Self { mode: BillingMode::Postpaid, currency: Currency::USD, balance_alert: None, alert_emails: Vec::new() }
    }
}

impl BillingTerms {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        check::amount("billing.balance_alert", self.balance_alert)?;
        if self.alert_emails.len() > MAX_ALERT_EMAILS {
            return Err(StoreError::invalid("billing.alert_emails", format!("must be at most {MAX_ALERT_EMAILS}")));
        }
        for email in &self.alert_emails {
            check::email(email).map_err(|error| StoreError::invalid("billing.alert_emails", error.to_string()))?;
        }
        Ok(())
    }
}

/// The columns of [`BillingTerms`].
#[derive(Debug, Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct TermsColumns {
    #[sqlx(rename = "billing_mode")]
    mode: String,
    #[sqlx(rename = "balance_currency")]
    currency: String,
    balance_alert: Option<String>,
    alert_emails: Json<Vec<String>>,
}

impl Default for TermsColumns {
    /// What rows are that were kept before there were other terms.
    fn default() -> Self {
        let BillingTerms { mode, currency, .. } = BillingTerms::default();
        Self { mode: mode.to_string(), currency: currency.to_string(), balance_alert: None, alert_emails: Json(Vec::new()) }
    }
}

impl BillingTerms {
    pub(crate) fn read(row: TermsColumns) -> Result<Self, StoreError> {
        let corrupt = |e: &dyn std::fmt::Display| StoreError::corrupt("tenants", e);
        Ok(Self {
            mode: BillingMode::read(&row.mode)?,
            currency: row.currency.parse().map_err(|e| corrupt(&e))?,
            balance_alert: row.balance_alert.map(|amount| amount.parse()).transpose().map_err(|e| corrupt(&e))?,
            alert_emails: row.alert_emails.0,
        })
    }
}
