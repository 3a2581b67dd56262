//! Counting and money: prices, the usage journal, usage records, budgets, bills and the audit trail.
//!
//! The path of one call: [`PriceBook::at`] finds the price in force when it was accepted, a reservation is taken from the
//! tenant's budget, [`BeginRecord`] goes into the journal before dispatch and [`UsageRecord`] after the end; a shipper
//! copies the journal to the database, each record once.
//!
//! What this crate never does: round a charge, let a float touch money, give away a class of tokens nobody priced, or let a
//! request wait for the database.
//!
//! ```
//! use tallygate_billing::ClassPrices;
//! use tallygate_types::{UnitPrice, Usage, UsageClass};
//!
//! let per_million = |text| UnitPrice::parse_per_million(text).unwrap();
//! let prices = ClassPrices::default()
//!     .with(UsageClass::InputUncached, per_million("3.00"))
//!     .with(UsageClass::OutputText, per_million("15.00"));
//! // Reasoning has no price of its own here, so it costs as output text; nothing is free by being forgotten.
//! let usage = Usage::default().with(UsageClass::InputUncached, 1_000).with(UsageClass::OutputReasoning, 200);
//! assert_eq!(prices.charge(&usage).unwrap().total.to_string(), "0.006");
//! ```

pub mod alerts;
pub mod audit;
pub mod balance;
pub mod bills;
pub mod budget;
pub mod catalogue;
pub mod credential_spend;
mod csv_text;
pub mod estimate;
pub mod journal;
pub mod period;
mod price;
mod price_book;
pub mod prices;
mod record;
mod redact;
mod refusals;
pub mod shipper;
mod span;
mod sql;
mod sums;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod usage;

pub use budget::{
    BudgetExceeded, BudgetReason, Budgets, Draw, Draws, Keeper, Refused, Reservation, Spender, Wait, WindowState, period_at,
};
pub use journal::{Journal, JournalConfig, JournalError, Recovery};
pub use period::{Period, PeriodError};
pub use price::{Charge, ChargeLine, ClassPrices, PriceVersion, Unpriced, fallbacks};
pub use price_book::PriceBook;
pub use record::{AttemptRecord, BeginRecord, Endpoint, Name, Outcome, UnknownName, UsageRecord, UsageSource, Word};
pub use redact::{REDACTED, redact};
pub use refusals::{MAX_RECORDS_OF_TENANT, Refusals, RefusedBy, RefusedRequest};
pub use shipper::{ShipError, Shipper, ShipperMetrics};
