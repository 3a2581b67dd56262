//! One account in memory.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tallygate_store::BudgetPeriod;
use tallygate_store::budgets::{BudgetMode, BudgetSettings};
use tallygate_types::{Currency, Pico, Timestamp};
use tokio::sync::Notify;

use super::draws::Draw;
use super::reservation::BudgetReason;
use crate::period::{Period, time_zone};

/// More is asked for when what is left of a lease is less than this share of what was taken from it.
const LOW_SHARE: i128 = 4;

/// A lock and not atomics: the amounts are 128 bits wide and turn over together with the window. It is held for a few additions.
#[derive(Debug)]
pub(super) struct Account {
    state: Mutex<State>,
    answered: Notify,
    /// How often the database has answered.
    answers: AtomicU64,
}

#[derive(Debug)]
pub(super) struct State {
    /// Which window it is of.
    pub draw: Arc<Draw>,
    pub currency: Currency,
    zone: Arc<str>,
    /// What was taken from the database for this process; nothing where it is alone.
    pub lease: i128,
    /// Set aside for requests that are under way.
    pub reserved: i128,
    /// Alone: spent in the window. Over a lease: spent, and not yet in the database.
    pub consumed: i128,
    /// What the last lease was taken under: one that was lowered is not to be used up.
    pub leased_of: i128,
    /// Over a lease: what the database last said is gone of the budget, leases included.
    pub gone: i128,
    /// Why it gave nothing, and until when it need not be asked again.
    pub denied: Option<(BudgetReason, Timestamp)>,
    /// Taken from the lease since it was last filled up, by which the next is measured.
    pub taken: i128,
    /// More has been asked for before it is needed.
    pub is_asked_ahead: bool,
}

/// What a reservation finds.
#[derive(Debug)]
pub(super) enum Found {
    Taken(Arc<Draw>),
    /// The account has too little.
    Short,
}

impl Account {
    pub fn new(state: State) -> Self {
        Self { state: Mutex::new(state), answered: Notify::new(), answers: AtomicU64::new(0) }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Acquire)
    }

    /// Wakes whoever waits for a lease.
    pub fn answer(&self) {
        self.answers.fetch_add(1, Ordering::AcqRel);
        self.answered.notify_waiters();
    }

    /// Until there are more answers than `seen`.
    pub async fn answered_since(&self, seen: u64) {
        let mut answered = pin!(self.answered.notified());
        // Whatever comes from here on is heard.
        answered.as_mut().enable();
        if self.answers() == seen {
            answered.await;
        }
    }

    /// Ends what was set aside under `draw`; `spent` of it was really spent, and may be more.
    pub fn close(&self, draw: &Arc<Draw>, reserved: Pico, spent: Pico) {
        let mut state = self.state();
        // What was admitted in an earlier window is that window's, which the usage record says to the database.
        if Arc::ptr_eq(&state.draw, draw) {
            state.reserved = state.reserved.saturating_sub(reserved.get());
            state.consumed = state.consumed.saturating_add(spent.get());
        }
    }
}

impl State {
    pub fn new(budget: &BudgetSettings, draw: Draw, zone: &Arc<str>) -> Self {
        Self {
            draw: Arc::new(draw),
            currency: budget.currency,
            zone: Arc::clone(zone),
            lease: 0,
            reserved: 0,
            consumed: 0,
            leased_of: budget.amount.get(),
            gone: 0,
            denied: None,
            taken: 0,
            is_asked_ahead: false,
        }
    }

    /// Begins anew if the window is over, or is another since the tenant moved or the budget changed. What is given back is what is
    /// left of a lease.
    pub fn turn(&mut self, budget: &BudgetSettings, zone: &Arc<str>, now: Timestamp) -> Option<(Arc<Draw>, Currency, i128)> {
        let is_of_it = self.draw.period == budget.period && self.currency == budget.currency;
        let has_moved = !Arc::ptr_eq(&self.zone, zone) && self.zone != *zone;
        if now < self.draw.until && now >= self.draw.since && is_of_it && !has_moved {
            return None;
        }
        let window = window(budget.period, now, zone);
        if window.start == self.draw.since && window.end == self.draw.until && is_of_it {
            self.zone = Arc::clone(zone);
            return None;
        }
        let over = (Arc::clone(&self.draw), self.currency, self.free().max(0));
        let draw = Draw { period: budget.period, since: window.start, until: window.end, ..Draw::clone(&self.draw) };
        *self = Self::new(budget, draw, zone);
        Some(over)
    }

    /// Whether it holds what the database does not know of.
    pub const fn is_in_use(&self) -> bool {
        self.reserved != 0 || self.consumed != 0 || self.lease != 0
    }

    /// Whether it is time to ask for more of a lease, so that nobody waits: once.
    pub fn ask_ahead(&mut self) -> bool {
        let is_due = !self.is_asked_ahead && self.free() < self.taken / LOW_SHARE;
        self.is_asked_ahead |= is_due;
        is_due
    }

    /// What is left of a lease.
    pub const fn free(&self) -> i128 {
        self.lease.saturating_sub(self.reserved).saturating_sub(self.consumed)
    }

    /// Sets `amount` aside if `limit` covers it: the budget's amount where the process is alone, its lease where it is not.
    pub fn take(&mut self, limit: i128, amount: i128, mode: BudgetMode) -> Found {
        let used = self.consumed.saturating_add(self.reserved);
        if mode == BudgetMode::Hard && used.checked_add(amount).is_none_or(|sum| sum > limit) {
            return Found::Short;
        }
        self.reserved = self.reserved.saturating_add(amount);
        self.taken = self.taken.saturating_add(amount);
        Found::Taken(Arc::clone(&self.draw))
    }
}

/// The window that `now` falls in. Zones are checked when a tenant is saved; one this build does not know counts as UTC, so that
/// money is still bounded.
pub(super) fn window(period: BudgetPeriod, now: Timestamp, zone: &str) -> Period {
    let always = Period { start: Timestamp::UNIX_EPOCH, end: Timestamp::from_micros(i64::MAX) };
    let of = |zone: &str| match period {
        BudgetPeriod::Day => time_zone(zone).and_then(|zone| Period::day_of(now, &zone)),
        BudgetPeriod::Month => Period::month_of(now, zone),
        BudgetPeriod::Total => Ok(always),
    };
    of(zone).or_else(|_| of("UTC")).unwrap_or(always)
}
