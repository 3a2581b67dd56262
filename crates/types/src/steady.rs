//! The machine's clock, without its steps back.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use crate::{Clock, Moment, SystemClock, Timestamp};

/// What the machine's two clocks may differ in without anything being done about it; microseconds.
const TOLERANCE_US: i64 = 10_000;

/// While the two agree the wall's clock is looked at so often, and in between the other one suffices; microseconds.
const LOOK_INTERVAL_US: i64 = 5_000;
/// The wall's clock is looked at each time.
const NEVER: i64 = i64::MIN / 2;

/// Never goes back: a machine whose time is set back would find prices not yet in force, limits that never refill and requests
/// that ended before they began. A step forward is followed within milliseconds. After a step back time goes on at half its speed until
/// the machine's has caught up.
#[derive(Debug)]
pub struct SteadyClock {
    started: Instant,
    /// What is added to the time since the start.
    offset: AtomicI64,
    /// Up to when the offset was let down, since the start.
    settled: AtomicI64,
    /// When the wall's clock was last looked at and agreed, since the start, or [`NEVER`].
    agreed: AtomicI64,
}

impl Default for SteadyClock {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            offset: AtomicI64::new(SystemClock.now().micros()),
            settled: AtomicI64::new(0),
            agreed: AtomicI64::new(NEVER),
        }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        self.moment().0
    }

    fn moment(&self) -> Moment {
        let now = Instant::now();
        (self.read(now), now)
    }
}

impl SteadyClock {
    fn read(&self, now: Instant) -> Timestamp {
        let elapsed = i64::try_from(now.saturating_duration_since(self.started).as_micros()).unwrap_or(i64::MAX);
        let agreed = self.agreed.load(Ordering::Relaxed);
        if elapsed < agreed + LOOK_INTERVAL_US {
            return Timestamp::from_micros(self.offset.load(Ordering::Acquire).saturating_add(elapsed));
        }
        if agreed != NEVER {
            // Time has gone on at full speed until now, and none of it is let down afterwards.
            self.settled.fetch_max(elapsed, Ordering::AcqRel);
        }
        self.at(elapsed, SystemClock.now().micros())
    }

    /// `elapsed` since the start, when the machine's clock says `wall`.
    fn at(&self, elapsed: i64, wall: i64) -> Timestamp {
        let offset = self.offset.load(Ordering::Acquire);
        let ahead = offset.saturating_add(elapsed).saturating_sub(wall);
        let offset = if ahead < -TOLERANCE_US {
            self.settled.store(elapsed, Ordering::Release);
            let forward = wall.saturating_sub(elapsed);
            self.offset.fetch_max(forward, Ordering::AcqRel).max(forward)
        } else if ahead > TOLERANCE_US {
            self.agreed.store(NEVER, Ordering::Relaxed);
            self.let_down(offset, ahead, elapsed)
        } else {
            self.settled.store(elapsed, Ordering::Relaxed);
            self.agreed.store(elapsed, Ordering::Relaxed);
            offset
        };
        Timestamp::from_micros(offset.saturating_add(elapsed))
    }

    /// Lets the offset down by half of the time that has passed, once for each stretch of it.
    fn let_down(&self, offset: i64, ahead: i64, elapsed: i64) -> i64 {
        let settled = self.settled.load(Ordering::Acquire);
        let by = ((elapsed - settled) / 2).min(ahead);
        let is_ours = by > 0 && self.settled.compare_exchange(settled, elapsed, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if is_ours { self.offset.fetch_sub(by, Ordering::AcqRel) - by } else { offset }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn steps_forward_are_followed_and_steps_back_are_walked_off_at_half_speed() {
        let clock = SteadyClock {
            started: Instant::now(),
            offset: AtomicI64::new(1_000),
            settled: AtomicI64::new(0),
            agreed: AtomicI64::new(NEVER),
        };
        let at = |elapsed, wall| clock.at(elapsed, wall).micros();
        assert_eq!(at(10, 1_010), 1_010);
        assert_eq!(at(20, HOUR), HOUR);
        // Back again: one second passes as half of one.
        assert_eq!(at(1_000_020, 1_001_020), HOUR + 500_000);
        assert_eq!(at(2_000_020, 2_001_020), HOUR + 1_000_000);
        // Until they meet.
        let late = 3 * HOUR;
        assert_eq!(at(late, late + 1_000), late + 1_000);
        assert_eq!(at(late + 5, late + 1_005), late + 1_005);
    }

    #[test]
    fn time_never_goes_back_whatever_the_machine_says() {
        let clock = SteadyClock::default();
        let wall = clock.offset.load(Ordering::Relaxed);
        let mut last = 0;
        for (turn, step) in [0, HOUR, -HOUR, 5, -2 * HOUR, 3 * HOUR, -1, 0].into_iter().cycle().take(400).enumerate() {
            let elapsed = i64::try_from(turn).unwrap() * 777_777;
            let now = clock.at(elapsed, wall + elapsed + step).micros();
            assert!(now >= last, "turn {turn}");
            last = now;
        }
    }
}
