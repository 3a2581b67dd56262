//! Limits and budgets, as tenants and keys carry them.

use serde::{Deserialize, Serialize};
use tallygate_types::{Currency, Pico, TenantId, UserId};
use uuid::Uuid;

use crate::StoreError;
use crate::value::text_enum;

/// Bounds of a tenant or of a key; `None` does not bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub requests_per_minute: Option<u32>,
    pub tokens_per_minute: Option<u64>,
    /// Requests in flight at once.
    pub concurrency: Option<u32>,
}

/// How much may be spent in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    pub amount: Pico,
    pub currency: Currency,
    pub period: BudgetPeriod,
}

text_enum! {
    /// When a budget starts anew, in the tenant's time zone.
    pub enum BudgetPeriod("budgets") {
        Day = "day",
        Month = "month",
        /// Never.
        Total = "total",
    }
}

text_enum! {
    /// Who may change a row: the API, or the configuration file (then the API and the dashboard show it read-only).
    pub enum ManagedBy("managed_by") {
        Api = "api",
        File = "file",
    }
}

/// The right to reach tenants' rows, from the credential of the caller and from nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantScope {
    /// A user of the platform: every tenant.
    All,
    /// A user of one tenant: what belongs to others does not exist for them.
    Only(TenantId),
    /// A user who has keys of their own in a tenant: of keys and of what was done with them, only those they made exist; of
    /// users, only they themselves. What no key and no person stands behind is the tenant's, as for [`TenantScope::Only`].
    Member(TenantId, UserId),
}

impl TenantScope {
    pub fn includes(self, tenant: TenantId) -> bool {
        match self {
            Self::All => true,
            Self::Only(own) | Self::Member(own, _) => own == tenant,
        }
    }

    /// For `($n IS NULL OR tenant_id = $n)`.
    pub fn tenant(self) -> Option<Uuid> {
        match self {
            Self::All => None,
            Self::Only(own) | Self::Member(own, _) => Some(own.uuid()),
        }
    }

    /// For `($n IS NULL OR created_by = $n)`, and for users `id`.
    pub fn person(self) -> Option<Uuid> {
        match self {
            Self::All | Self::Only(_) => None,
            Self::Member(_, user) => Some(user.uuid()),
        }
    }

    /// The scope narrowed to one tenant, as a filter asks; `None` if that tenant is out of reach.
    pub(crate) fn narrowed(self, wanted: Option<TenantId>) -> Option<Self> {
        match wanted {
            None => Some(self),
            Some(tenant) => self.includes(tenant).then_some(match self {
                Self::All => Self::Only(tenant),
                Self::Only(_) | Self::Member(..) => self,
            }),
        }
    }
}

impl Limits {
    pub(crate) fn read(row: LimitColumns, table: &'static str) -> Result<Self, StoreError> {
        fn narrow<T: TryFrom<i64>>(value: Option<i64>, table: &'static str) -> Result<Option<T>, StoreError> {
            value.map(|v| T::try_from(v).map_err(|_| StoreError::corrupt(table, format!("{v} is not a limit")))).transpose()
        }
        Ok(Self {
            requests_per_minute: narrow(row.requests_per_minute, table)?,
            tokens_per_minute: narrow(row.tokens_per_minute, table)?,
            concurrency: narrow(row.concurrency, table)?,
        })
    }

    pub(crate) fn columns(&self) -> Result<LimitColumns, StoreError> {
        let tokens = self.tokens_per_minute.map(i64::try_from).transpose();
        Ok(LimitColumns {
            requests_per_minute: self.requests_per_minute.map(i64::from),
            tokens_per_minute: tokens.map_err(|_| StoreError::invalid("limits.tokens_per_minute", "too large"))?,
            concurrency: self.concurrency.map(i64::from),
        })
    }
}

/// The three columns of [`Limits`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct LimitColumns {
    pub requests_per_minute: Option<i64>,
    pub tokens_per_minute: Option<i64>,
    pub concurrency: Option<i64>,
}

/// The three columns of [`Budget`].
#[derive(Debug, Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct BudgetColumns {
    #[sqlx(rename = "budget_amount")]
    pub amount: Option<String>,
    #[sqlx(rename = "budget_currency")]
    pub currency: Option<String>,
    #[sqlx(rename = "budget_period")]
    pub period: Option<String>,
}

impl Budget {
    pub(crate) fn read(row: BudgetColumns) -> Result<Option<Self>, StoreError> {
        let corrupt = |e: &dyn std::fmt::Display| StoreError::corrupt("tenants", e);
        match (row.amount, row.currency, row.period) {
            (Some(amount), Some(currency), Some(period)) => Ok(Some(Self {
                amount: amount.parse().map_err(|e| corrupt(&e))?,
                currency: currency.parse().map_err(|e| corrupt(&e))?,
                period: BudgetPeriod::read(&period)?,
            })),
            _ => Ok(None),
        }
    }

    pub(crate) fn columns(budget: Option<&Self>) -> BudgetColumns {
        BudgetColumns {
            amount: budget.map(|b| b.amount.to_string()),
            currency: budget.map(|b| b.currency.to_string()),
            period: budget.map(|b| b.period.to_string()),
        }
    }
}
