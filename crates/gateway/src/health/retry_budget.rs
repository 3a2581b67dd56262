//! How many calls beyond the first an upstream may be asked for, so that retries never become the outage.
//!
//! Each request that begins with an upstream pays in a share of a call; each further call takes a whole one. Beside that share
//! stands a small reserve that refills by time: a quiet gateway can always try elsewhere.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tallygate_types::Timestamp;

use super::bounds::HealthBounds;

/// The pool counts hundredths of a call, so that a percentage is a whole number of them.
const CALL: i64 = 100;
/// Calls that may be saved up beyond the reserve: what a burst of failures after a quiet hour may spend.
const MAX_SAVED_CALLS: i64 = 100;

/// See the module.
#[derive(Debug)]
pub struct RetryBudget {
    /// Hundredths of a call that were paid in.
    saved: AtomicI64,
    /// When the reserve will be full again, in microseconds since the epoch.
    reserve_full_at: AtomicI64,
    percent: i64,
    reserve: i64,
    refill: i64,
}

impl RetryBudget {
    pub fn new(bounds: &HealthBounds) -> Self {
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX).max(1);
        Self {
            saved: AtomicI64::new(0),
            reserve_full_at: AtomicI64::new(0),
            percent: i64::from(bounds.retry_percent),
            reserve: i64::from(bounds.retry_reserve),
            refill: micros(bounds.retry_reserve_refill),
        }
    }

    /// A request begins.
    pub fn deposit(&self) {
        if self.saved.load(Ordering::Relaxed) < MAX_SAVED_CALLS * CALL {
            self.saved.fetch_add(self.percent, Ordering::Relaxed);
        }
    }

    /// Takes one call, if there is one.
    pub fn withdraw(&self, now: Timestamp) -> bool {
        let taken = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| (saved >= CALL).then(|| saved - CALL));
        taken.is_ok() || self.take_reserve(now)
    }

    /// Whole calls that are left.
    pub fn left(&self, now: Timestamp) -> u32 {
        let owed = (self.reserve_full_at.load(Ordering::Relaxed) - now.micros()).max(0);
        let reserve = self.reserve - (owed + self.refill - 1) / self.refill;
        u32::try_from(self.saved.load(Ordering::Relaxed) / CALL + reserve.max(0)).unwrap_or(0)
    }

    fn take_reserve(&self, now: Timestamp) -> bool {
        let full = self.reserve.saturating_mul(self.refill);
        let now = now.micros();
        let taken = self.reserve_full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
            let next = at.max(now) + self.refill;
            (next - now <= full).then_some(next)
        });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn bounds() -> HealthBounds {
        HealthBounds {
            retry_percent: 10,
            retry_reserve: 3,
            retry_reserve_refill: Duration::from_secs(2),
            ..HealthBounds::default()
        }
    }

    #[test]
    fn a_tenth_of_the_requests_and_the_reserve_and_no_more() {
        let budget = RetryBudget::new(&bounds());
        assert_eq!(budget.left(START), 3);
        (0..40).for_each(|_| budget.deposit());
        assert_eq!(budget.left(START), 7);
        assert_eq!((0..20).filter(|_| budget.withdraw(START)).count(), 7);
        assert_eq!(budget.left(START), 0);
    }

    #[test]
    fn the_reserve_refills_by_time_up_to_its_size() {
        let budget = RetryBudget::new(&bounds());
        let at = |seconds| START.saturating_add(Duration::from_secs(seconds));
        assert_eq!((0..5).filter(|_| budget.withdraw(START)).count(), 3);
        assert!(!budget.withdraw(at(1)));
        assert!(budget.withdraw(at(2)));
        assert!(!budget.withdraw(at(2)));
        assert_eq!((0..9).filter(|_| budget.withdraw(at(3_600))).count(), 3);
    }

    #[test]
    fn what_is_saved_has_a_bound() {
        let budget = RetryBudget::new(&bounds());
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!(budget.left(START), 103);
    }

    #[test]
    fn at_the_defaults_five_hundred_failing_requests_stay_within_a_tenth() {
        let budget = RetryBudget::new(&HealthBounds::default());
        let calls = (0..500).fold(0, |calls, _| {
            budget.deposit();
            calls + 1 + (0..3).filter(|_| budget.withdraw(START)).count()
        });
        assert!(calls <= 550, "{calls}");
    }
}
