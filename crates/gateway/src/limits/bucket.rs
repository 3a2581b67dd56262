//! One rate as a GCRA: a single atomic number says when the bucket will be full again.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tallygate_types::Timestamp;

const NANOS_PER_MINUTE: u64 = 60_000_000_000;
const NANOS_PER_MICRO: i64 = 1_000;

/// A rate of so many units a minute, with one minute's worth as the burst.
///
/// The limit is passed in with each call, so that a change of configuration takes effect at once and keeps what is owed.
#[derive(Debug, Default)]
pub struct Bucket {
    /// Theoretical arrival time: nanoseconds since the epoch at which everything taken so far will have been refilled.
    full_at: AtomicI64,
}

impl Bucket {
    /// Takes `units`, or says how long to wait until they can be had. More than a whole bucket counts as a whole bucket:
    /// such a request waits for a full one instead of being impossible for ever.
    pub fn take(&self, units: u64, per_minute: u64, now: Timestamp) -> Result<(), Duration> {
        let now = nanos(now);
        let cost = cost(units.min(per_minute.max(1)), per_minute);
        let burst = cost_of_burst();
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let next = full_at.max(now).saturating_add(cost);
            let over = next.saturating_sub(now).saturating_sub(burst);
            if over > 0 {
                return Err(Duration::from_nanos(over.unsigned_abs()));
            }
            match self.full_at.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(current) => full_at = current,
            }
        }
    }

    /// As [`Self::take`], without taking.
    pub fn check(&self, units: u64, per_minute: u64, now: Timestamp) -> Result<(), Duration> {
        let now = nanos(now);
        let next = self.full_at.load(Ordering::Relaxed).max(now).saturating_add(cost(units.min(per_minute.max(1)), per_minute));
        let over = next.saturating_sub(now).saturating_sub(cost_of_burst());
        if over > 0 { Err(Duration::from_nanos(over.unsigned_abs())) } else { Ok(()) }
    }

    /// Gives `units` back that were taken in vain.
    pub fn give_back(&self, units: u64, per_minute: u64) {
        self.full_at.fetch_sub(cost(units.min(per_minute.max(1)), per_minute), Ordering::Relaxed);
    }

    /// Replaces an estimate by what was really used. The bucket may go into debt, which later requests wait for.
    pub fn correct(&self, estimated: u64, actual: u64, per_minute: u64, now: Timestamp) {
        let now = nanos(now);
        let taken = cost(estimated.min(per_minute.max(1)), per_minute);
        let due = cost(actual, per_minute);
        // Time that has passed refilled the bucket no further than full.
        let _ = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            Some(if due >= taken { full_at.max(now).saturating_add(due - taken) } else { full_at.saturating_sub(taken - due) })
        });
    }
}

/// The time it takes to refill `units`, rounded down: a rounding error must not refuse what was promised.
fn cost(units: u64, per_minute: u64) -> i64 {
    if per_minute == 0 {
        // A limit of nothing: no request fits.
        return if units == 0 { 0 } else { i64::MAX };
    }
    i64::try_from(scaled(units, NANOS_PER_MINUTE, per_minute)).unwrap_or(i64::MAX)
}

/// `units * times / by`, rounded down.
fn scaled(units: u64, times: u64, by: u64) -> u64 {
    // The wide division costs several times as much, and few limits need it.
    match units.checked_mul(times) {
        Some(product) => product / by,
        None => u64::try_from(u128::from(units) * u128::from(times) / u128::from(by)).unwrap_or(u64::MAX),
    }
}

fn cost_of_burst() -> i64 {
    NANOS_PER_MINUTE.cast_signed()
}

fn nanos(at: Timestamp) -> i64 {
    at.micros().saturating_mul(NANOS_PER_MICRO)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn after(seconds: u64) -> Timestamp {
        START.saturating_add(Duration::from_secs(seconds))
    }

    #[test]
    fn a_minute_holds_exactly_the_limit_and_the_refusal_says_when_the_next_fits() {
        let bucket = Bucket::default();
        for _ in 0..60 {
            assert_eq!(bucket.take(1, 60, START), Ok(()));
        }
        assert_eq!(bucket.take(1, 60, START), Err(Duration::from_secs(1)));
        assert!(bucket.take(1, 60, after(1)).is_ok());
        assert_eq!(bucket.take(1, 60, after(1)), Err(Duration::from_secs(1)));
        assert_eq!((bucket.check(60, 60, after(60)), bucket.check(60, 60, after(61))), (Err(Duration::from_secs(1)), Ok(())));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let bucket = Bucket::default();
        bucket.take(60, 60, START).unwrap();
        bucket.give_back(1, 60);
        assert!(bucket.take(1, 60, START).is_ok());
        assert!(bucket.take(1, 60, START).is_err());
    }

    #[test]
    fn an_estimate_is_replaced_by_the_truth_in_both_directions() {
        let bucket = Bucket::default();
        bucket.take(500, 1_000, START).unwrap();
        bucket.correct(500, 100, 1_000, START);
        assert!(bucket.check(900, 1_000, START).is_ok() && bucket.check(901, 1_000, START).is_err());
        bucket.take(100, 1_000, START).unwrap();
        bucket.correct(100, 1_800, 1_000, START);
        // 1,900 used of 1,000 a minute: 54 seconds of debt before one token fits, and six more for a hundred.
        assert_eq!(bucket.take(100, 1_000, START), Err(Duration::from_mins(1)));
        assert!(bucket.take(100, 1_000, after(60)).is_ok());
    }

    #[test]
    fn a_request_larger_than_the_bucket_waits_for_a_full_one() {
        let bucket = Bucket::default();
        assert!(bucket.take(5_000, 1_000, START).is_ok());
        assert_eq!(bucket.take(5_000, 1_000, after(30)), Err(Duration::from_secs(30)));
        assert!(bucket.take(5_000, 1_000, after(60)).is_ok());
    }

    #[test]
    fn a_limit_of_zero_admits_nothing() {
        assert!(Bucket::default().take(1, 0, START).is_err());
    }
}
