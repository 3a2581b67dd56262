//! What a request was admitted by: the accounts its money was set aside in.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tallygate_store::BudgetPeriod;
use tallygate_types::{BudgetId, Timestamp};

/// An account of one window. In the currency of what is charged to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Draw {
    pub budget: BudgetId,
    /// The end user, where each of them has an account; else empty.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub subject: Box<str>,
    pub period: BudgetPeriod,
    /// The window: from here, inclusive.
    pub since: Timestamp,
    /// To here, exclusive.
    pub until: Timestamp,
}

/// None for most requests, and rarely more than one or two.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Draws(Option<Arc<Vec<Draw>>>);

impl Draws {
    pub fn new(draws: Vec<Draw>) -> Self {
        Self((!draws.is_empty()).then(|| Arc::new(draws)))
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub fn as_slice(&self) -> &[Draw] {
        self.0.as_ref().map_or(&[], |draws| draws)
    }
}
