//! How calls went in the last seconds: one atomic word for each second.

use std::sync::atomic::{AtomicU64, Ordering};

use tallygate_types::Timestamp;

/// Seconds that are looked back on.
const SECONDS: usize = 10;
const COUNT_BITS: u32 = 20;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

/// Each word: the second (24 bits), calls that went well (20), calls that failed (20).
#[derive(Debug, Default)]
pub struct Window([AtomicU64; SECONDS]);

impl Window {
    pub fn record(&self, is_failure: bool, now: Timestamp) {
        let second = second(now);
        let cell = &self.0[now.seconds().rem_euclid(SECONDS as i64) as usize];
        let _ = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let (of, good, bad) = unpack(word);
            let (good, bad) = if of == second { (good, bad) } else { (0, 0) };
            let (good, bad) = if is_failure { (good, bad + 1) } else { (good + 1, bad) };
            Some(second << (2 * COUNT_BITS) | good.min(COUNT_MAX) << COUNT_BITS | bad.min(COUNT_MAX))
        });
    }

    /// Calls, and failures among them.
    pub fn counts(&self, now: Timestamp) -> (u64, u64) {
        let oldest = now.seconds() - SECONDS as i64;
        self.0.iter().map(|cell| unpack(cell.load(Ordering::Relaxed))).fold((0, 0), |(calls, failures), (of, good, bad)| {
            let age = second(now).wrapping_sub(of) & 0xFF_FFFF;
            if oldest >= 0 && age < SECONDS as u64 { (calls + good + bad, failures + bad) } else { (calls, failures) }
        })
    }

    pub fn clear(&self) {
        self.0.iter().for_each(|cell| cell.store(0, Ordering::Relaxed));
    }
}

const fn second(now: Timestamp) -> u64 {
    now.seconds().cast_unsigned() & 0xFF_FFFF
}

const fn unpack(word: u64) -> (u64, u64, u64) {
    (word >> (2 * COUNT_BITS), (word >> COUNT_BITS) & COUNT_MAX, word & COUNT_MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ten_seconds_are_counted_and_older_ones_forgotten() {
        let (window, start) = (Window::default(), Timestamp::from_micros(1_700_000_000_000_000));
        let at = |seconds| start.saturating_add(Duration::from_secs(seconds));
        (0..20).for_each(|second| window.record(second % 2 == 0, at(second)));
        assert_eq!(window.counts(at(19)), (10, 5));
        assert_eq!(window.counts(at(24)), (5, 2));
        assert_eq!(window.counts(at(40)), (0, 0));
        window.record(true, at(40));
        assert_eq!(window.counts(at(40)), (1, 1));
        window.clear();
        assert_eq!(window.counts(at(40)), (0, 0));
    }
}
