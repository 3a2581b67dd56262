//! Budgets: money is set aside before dispatch and settled once after, in each account that a request falls under.
//!
//! An account is kept for each budget, whoever of it is meant (an end user, where each has their own), and window of time. What it
//! may give out is either all that the budget has left (one process over SQLite: [`Budgets::alone`]), or a **lease**, a part of it
//! that this process took from the database for itself ([`Budgets::leasing`]): many processes over PostgreSQL never give out more
//! together than there is. What is settled reaches the database with its usage record, in one transaction (`windows`). The rules and
//! the bound of what may be overspent: `docs/budgets.md`.

mod account;
mod accounts;
mod balances;
mod draws;
mod keeper;
mod leases;
mod ledger;
mod opening;
mod reservation;
mod windows;

#[cfg(test)]
mod model;
#[cfg(test)]
mod opening_tests;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod tests;

pub use accounts::{Budgets, Spender, draws};
pub use draws::{Draw, Draws};
pub use keeper::{Keeper, LEASE_LIFETIME};
pub use opening::period_at;
pub use reservation::{BudgetExceeded, BudgetReason, Refused, Reservation, Wait};
pub use windows::{WindowState, drop_ended_before, largest, of_tenant};

pub(crate) use balances::{lock_balance, of_balance, want_balance};
pub(crate) use windows::{Spent, Sums};
