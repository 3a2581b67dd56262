//! One rate, counted over the minute that lies behind.
//!
//! A bucket that is refilled all the time admits twice its size in the minute after a quiet one. This admits no more than the limit in
//! any minute whatever: what was admitted counts until it is a minute old. Time is cut into cells, and a cell leaves when all of it
//! is a minute old, so that under a steady demand up to one cell in a hundred and twenty is given away.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tallygate_types::Timestamp;

use super::Level;

pub(super) const CELL_MICROS: i64 = 500_000;
/// Those of a minute, and the one that has just begun.
const CELLS: usize = 60_000_000 / CELL_MICROS as usize + 1;

/// A rate of so many units a minute. What was admitted lies in 121 cells, which are made when the first is.
///
/// The limit is passed in with each call, so that a change of configuration takes effect at once and what was admitted stays.
#[derive(Debug, Default)]
pub struct SlidingMinute(Mutex<Option<Box<Cells>>>);

#[derive(Debug)]
struct Cells {
    /// The number of the newest cell, counted from the epoch.
    newest: i64,
    sum: u64,
    /// Each at the rest of its number by their count. A cell takes 4 billion units; more are not told apart from that.
    units: [u32; CELLS],
}

impl SlidingMinute {
    /// Takes `units`, or says how long to wait until they can be had. More than the limit counts as the limit: such a request waits
    /// until nothing else was admitted for a minute, instead of being impossible for ever.
    pub fn take(&self, units: u64, per_minute: u64, now: Timestamp) -> Result<Level, Duration> {
        let mut kept = self.cells();
        let cells = kept.get_or_insert_with(|| Box::new(Cells::new(now)));
        cells.advance(now);
        let units = units.min(per_minute.max(1));
        let sum = cells.sum.saturating_add(units);
        if sum > per_minute {
            return Err(cells.wait_for(sum - per_minute, now));
        }
        cells.add(cells.of(now), units);
        Ok(cells.level(per_minute, now))
    }

    /// Counts `units` though there may be too little.
    pub fn count(&self, units: u64, per_minute: u64, now: Timestamp) -> Level {
        let mut kept = self.cells();
        let cells = kept.get_or_insert_with(|| Box::new(Cells::new(now)));
        cells.advance(now);
        cells.add(cells.of(now), units.min(per_minute.max(1)));
        cells.level(per_minute, now)
    }

    /// Gives `units` back that were taken in vain at `taken_at`.
    pub fn give_back(&self, units: u64, per_minute: u64, taken_at: Timestamp) {
        if let Some(cells) = self.cells().as_mut() {
            cells.remove(cell_of(taken_at), units.min(per_minute.max(1)));
        }
    }

    /// Replaces an estimate, taken at `taken_at`, by what was really used. More than is admitted may stand there then, which later
    /// requests wait for.
    pub fn correct(&self, estimated: u64, actual: u64, per_minute: u64, taken_at: Timestamp, now: Timestamp) {
        let mut kept = self.cells();
        let cells = kept.get_or_insert_with(|| Box::new(Cells::new(now)));
        cells.advance(now);
        let taken = estimated.min(per_minute.max(1));
        if actual > taken {
            cells.add(cells.newest, actual - taken);
        } else {
            cells.remove(cell_of(taken_at), taken - actual);
        }
    }

    pub fn level(&self, per_minute: u64, now: Timestamp) -> Level {
        match self.cells().as_mut() {
            Some(cells) => {
                cells.advance(now);
                cells.level(per_minute, now)
            }
            None => Level { limit: per_minute, remaining: per_minute, reset: Duration::ZERO },
        }
    }

    /// What was admitted in the minute behind `now`.
    pub fn used(&self, now: Timestamp) -> u64 {
        self.cells().as_mut().map_or(0, |cells| {
            cells.advance(now);
            cells.sum
        })
    }

    fn cells(&self) -> MutexGuard<'_, Option<Box<Cells>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cells {
    const fn new(now: Timestamp) -> Self {
        Self { newest: cell_of(now), sum: 0, units: [0; CELLS] }
    }

    /// Lets go of what is a minute old. A clock that went back finds the newest cell there is.
    fn advance(&mut self, now: Timestamp) {
        let newest = cell_of(now).max(self.newest);
        let passed = usize::try_from(newest - self.newest).unwrap_or(CELLS).min(CELLS);
        // Where nothing was admitted for a minute there is nothing to look through.
        if passed > 0 && self.sum > 0 {
            let (from_start, from_oldest) = self.units.split_at_mut(place(self.newest + 1));
            for units in from_oldest.iter_mut().chain(from_start).take(passed) {
                self.sum -= u64::from(std::mem::take(units));
            }
        }
        self.newest = newest;
    }

    /// Where what comes now is counted: also if another, who looked at the clock later, was here first.
    const fn of(&self, now: Timestamp) -> i64 {
        let cell = cell_of(now);
        if self.is_kept(cell) { cell } else { self.newest }
    }

    const fn is_kept(&self, cell: i64) -> bool {
        cell <= self.newest && cell > self.newest - CELLS as i64
    }

    fn add(&mut self, cell: i64, units: u64) {
        let kept = &mut self.units[place(cell)];
        let added = u32::try_from(units).unwrap_or(u32::MAX).min(u32::MAX - *kept);
        *kept += added;
        self.sum += u64::from(added);
    }

    /// As much of it as is there still.
    fn remove(&mut self, cell: i64, units: u64) {
        if !self.is_kept(cell) {
            return;
        }
        let kept = &mut self.units[place(cell)];
        let removed = u32::try_from(units).unwrap_or(u32::MAX).min(*kept);
        *kept -= removed;
        self.sum -= u64::from(removed);
    }

    /// What each cell holds, from the oldest on.
    fn in_order(&self) -> impl DoubleEndedIterator<Item = u64> {
        let (from_start, from_oldest) = self.units.split_at(place(self.newest + 1));
        from_oldest.iter().chain(from_start).map(|units| u64::from(*units))
    }

    /// How long until `units` more than now have left.
    fn wait_for(&self, units: u64, now: Timestamp) -> Duration {
        let mut left = 0;
        let leaving = self.in_order().position(|more| {
            left += more;
            left >= units
        });
        // A limit of nothing never has room: there is no better answer than a minute.
        until_gone(self.newest - (CELLS - 1 - leaving.unwrap_or(CELLS - 1)) as i64, now)
    }

    fn level(&self, per_minute: u64, now: Timestamp) -> Level {
        let last = self.in_order().rev().position(|units| units > 0);
        let reset = last.map_or(Duration::ZERO, |back| until_gone(self.newest - back as i64, now));
        Level { limit: per_minute, remaining: per_minute.saturating_sub(self.sum), reset }
    }
}

/// Until a cell counts no more.
fn until_gone(cell: i64, now: Timestamp) -> Duration {
    let gone_at = cell.saturating_add(CELLS as i64).saturating_mul(CELL_MICROS);
    Duration::from_micros(gone_at.saturating_sub(now.micros()).max(0).unsigned_abs())
}

const fn cell_of(at: Timestamp) -> i64 {
    at.micros().div_euclid(CELL_MICROS)
}

const fn place(cell: i64) -> usize {
    cell.rem_euclid(CELLS as i64) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn after_ms(millis: u64) -> Timestamp {
        START.saturating_add(Duration::from_millis(millis))
    }

    #[test]
    fn the_limit_is_admitted_once_and_again_when_it_is_a_minute_old() {
        let rate = SlidingMinute::default();
        for left in (0..60).rev() {
            assert_eq!(rate.take(1, 60, after_ms(100)).unwrap().remaining, left);
        }
        assert_eq!(rate.take(1, 60, after_ms(100)), Err(Duration::from_millis(60_400)));
        assert_eq!(rate.take(1, 60, after_ms(30_000)), Err(Duration::from_millis(30_500)));
        assert!(rate.take(1, 60, after_ms(60_499)).is_err());
        assert_eq!(rate.take(60, 60, after_ms(60_500)).unwrap().remaining, 0);
        assert_eq!(rate.level(60, after_ms(121_000)), Level { limit: 60, remaining: 60, reset: Duration::ZERO });
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let rate = SlidingMinute::default();
        rate.take(60, 60, START).unwrap();
        rate.give_back(1, 60, START);
        assert!(rate.take(1, 60, after_ms(20_000)).is_ok());
        assert!(rate.take(1, 60, after_ms(20_000)).is_err());
        // What has left by itself is not given back once more.
        rate.give_back(59, 60, START.saturating_add(Duration::from_secs(1)));
        assert_eq!(rate.used(after_ms(61_000)), 1);
        rate.give_back(59, 60, START);
        assert_eq!(rate.used(after_ms(61_000)), 1);
    }

    #[test]
    fn an_estimate_is_replaced_by_the_truth_in_both_directions() {
        let rate = SlidingMinute::default();
        rate.take(500, 1_000, START).unwrap();
        rate.correct(500, 100, 1_000, START, after_ms(5_000));
        assert_eq!(rate.level(1_000, after_ms(5_000)).remaining, 900);
        rate.take(100, 1_000, after_ms(5_000)).unwrap();
        rate.correct(100, 1_800, 1_000, after_ms(5_000), after_ms(10_000));
        assert_eq!((rate.used(after_ms(10_000)), rate.level(1_000, after_ms(10_000)).remaining), (1_900, 0));
        // The 1,700 that were too many came at ten seconds, and leave at seventy.
        assert_eq!(rate.take(100, 1_000, after_ms(10_000)), Err(Duration::from_millis(60_500)));
        assert!(rate.take(100, 1_000, after_ms(70_500)).is_ok());
    }

    #[test]
    fn a_request_larger_than_the_limit_waits_until_nothing_else_counts() {
        let rate = SlidingMinute::default();
        assert!(rate.take(5_000, 1_000, START).is_ok());
        assert_eq!(rate.take(5_000, 1_000, after_ms(30_000)), Err(Duration::from_millis(30_500)));
        assert!(rate.take(5_000, 1_000, after_ms(60_500)).is_ok());
    }

    #[test]
    fn whoever_looked_at_the_clock_before_another_and_came_after_gives_back_what_it_took() {
        let rate = SlidingMinute::default();
        rate.take(1, 10, after_ms(500)).unwrap();
        rate.take(3, 10, after_ms(499)).unwrap();
        rate.give_back(3, 10, after_ms(499));
        assert_eq!(rate.used(after_ms(500)), 1);
    }

    #[test]
    fn a_limit_of_zero_admits_nothing() {
        assert!(SlidingMinute::default().take(1, 0, START).is_err());
    }

    #[test]
    fn a_lowered_limit_counts_what_was_admitted_before() {
        let rate = SlidingMinute::default();
        rate.take(50, 100, START).unwrap();
        assert!(rate.take(1, 50, after_ms(1_000)).is_err());
        assert_eq!(rate.level(20, after_ms(1_000)).remaining, 0);
        assert!(rate.take(1, 51, after_ms(1_000)).is_ok());
    }

    proptest! {
        /// In any minute no more than the limit; and where more is asked for all the time, hardly less.
        #[test]
        fn no_minute_admits_more_than_the_limit(
            limit in 1..700_u64,
            asks in proptest::collection::vec((0..900_u64, 1..4_u64), 1..600),
        ) {
            let rate = SlidingMinute::default();
            let (mut now, mut admitted) = (0, Vec::<(u64, u64)>::new());
            for (pause, units) in asks {
                now += pause;
                if rate.take(units, limit, after_ms(now)).is_ok() {
                    admitted.push((now, units.min(limit)));
                }
            }
            for (at, _) in &admitted {
                let minute = admitted.iter().filter(|(other, _)| *other >= *at && *other < *at + 60_000);
                let sum: u64 = minute.map(|(_, units)| units).sum();
                prop_assert!(sum <= limit, "{sum} of {limit} in the minute from {at}");
            }
        }
    }

    #[test]
    fn a_steady_demand_gets_the_limit_each_minute() {
        let rate = SlidingMinute::default();
        let mut minutes = [0_u64; 10];
        for tick in 0..10 * 60 * 50 {
            if rate.take(1, 600, after_ms(tick * 20)).is_ok() {
                minutes[(tick / (60 * 50)) as usize] += 1;
            }
        }
        for admitted in minutes {
            assert!((588..=612).contains(&admitted), "{minutes:?}");
        }
    }
}
