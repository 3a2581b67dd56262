//! What a prepaid tenant paid in. Its balance is a hard budget for good (`tallygate_store::BudgetEntry::of_balance`), of which
//! the amount is the sum of entries: nothing is changed or taken out of them, and each reference is booked once.
//!
//! What pays in takes effect in the snapshot of every process. What takes out is bounded by what is spent or leased already, under
//! the lock that leases are given under, so that what was taken out is never spent.

mod code;
mod entries;
mod vouchers;

#[cfg(test)]
mod tests;

pub use code::{VoucherCode, WrongCode};
pub use entries::{BalanceEntry, BookError, Booked, EntryKind, NewEntry, Standing, ask_back, book, list, standing};
pub use vouchers::{
    MAX_VOUCHERS_AT_ONCE, NewVouchers, NotRedeemed, Voucher, VoucherFilter, VoucherState, get, list as list_vouchers, mint,
    redeem, revoke,
};

pub(crate) use entries::add_sums;
