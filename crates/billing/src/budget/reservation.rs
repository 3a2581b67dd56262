//! Money set aside for one request.

use std::sync::Arc;

use tallygate_store::BudgetPeriod;
use tallygate_store::budgets::{BudgetMode, BudgetScope};
use tallygate_types::{Currency, Pico, Timestamp};

use super::account::Account;
use super::draws::{Draw, Draws};

/// Set aside in every account that the request falls under, or in none. Dropped unsettled, it is released.
#[derive(Debug)]
#[must_use = "a reservation dropped is a reservation released"]
pub struct Reservation {
    holds: Holds,
    amount: Pico,
    is_hard: bool,
}

/// Most tenants have one budget, or none.
#[derive(Debug, Default)]
enum Holds {
    #[default]
    None,
    One(Hold),
    Many(Vec<Hold>),
}

#[derive(Debug)]
struct Hold {
    account: Arc<Account>,
    draw: Arc<Draw>,
}

/// Why a budget does not admit a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BudgetExceeded {
    pub reason: BudgetReason,
    /// Whose budget it is.
    pub scope: BudgetScope,
    /// It is a prepaid tenant's balance.
    pub is_balance: bool,
    pub period: BudgetPeriod,
    pub limit: Pico,
    /// Spent and reserved so far, as far as this process knows.
    pub used: Pico,
    /// What this process may give out of it all the same, as far as it knows: less than was asked for.
    pub left: Pico,
    pub currency: Currency,
    /// The end of the window; a budget for good has none.
    pub resets_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BudgetReason {
    #[error("the budget does not cover this request")]
    Exceeded,
    #[error("the model is priced in {0}, which the budget does not cover")]
    OtherCurrency(Currency),
    #[error("what is left of the budget is not known while the database is slow or away")]
    Unknown,
}

/// Why nothing was set aside.
#[derive(Debug)]
pub enum Refused {
    Exceeded(Box<BudgetExceeded>),
    /// More of the budget has been asked for: wait, and reserve again.
    Wait(Wait),
}

/// For the answer of the database. Whoever waits for it sees to it that it ends.
#[derive(Debug)]
pub struct Wait {
    pub(super) account: Arc<Account>,
    /// Answers of the database there had been before.
    pub(super) seen: u64,
    /// What is said if it does not come in time.
    pub exceeded: Box<BudgetExceeded>,
}

impl Reservation {
    pub(super) const fn new(amount: Pico) -> Self {
        Self { holds: Holds::None, amount, is_hard: false }
    }

    pub(super) fn hold(&mut self, account: Arc<Account>, draw: Arc<Draw>, mode: BudgetMode) {
        self.is_hard |= mode == BudgetMode::Hard;
        let hold = Hold { account, draw };
        self.holds = match std::mem::take(&mut self.holds) {
            Holds::None => Holds::One(hold),
            Holds::One(first) => Holds::Many(vec![first, hold]),
            Holds::Many(mut holds) => {
                holds.push(hold);
                Holds::Many(holds)
            }
        };
    }

    pub const fn amount(&self) -> Pico {
        self.amount
    }

    /// A hard budget is among the accounts: no more should be spent than was set aside.
    pub const fn is_hard(&self) -> bool {
        self.is_hard
    }

    /// The accounts, for the request's records.
    pub fn draws(&self) -> Draws {
        Draws::new(self.holds.as_slice().iter().map(|hold| Draw::clone(&hold.draw)).collect())
    }

    /// Ends it with what was really spent. More than the reservation is booked too: the tokens are gone.
    pub fn settle(mut self, actual: Pico) {
        self.close(actual);
    }

    fn close(&mut self, spent: Pico) {
        for hold in std::mem::take(&mut self.holds).as_slice() {
            hold.account.close(&hold.draw, self.amount, spent);
        }
    }
}

impl Holds {
    fn as_slice(&self) -> &[Hold] {
        match self {
            Self::None => &[],
            Self::One(hold) => std::slice::from_ref(hold),
            Self::Many(holds) => holds,
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.close(Pico::ZERO);
    }
}

impl Wait {
    /// Until there is an answer, good or bad.
    pub async fn answered(&self) {
        self.account.answered_since(self.seen).await;
    }
}
