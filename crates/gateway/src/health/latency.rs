//! Peak EWMA of the time to an upstream's first word: a rise counts at once, a fall only as time goes by.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tallygate_types::Timestamp;

/// After so long a value has lost 63 % of its weight.
const DECAY: Duration = Duration::from_secs(10);

/// One word: microseconds in the upper half (71 minutes at most), the time of it in milliseconds in the lower (it wraps after
/// 49 days; a value that old is taken for a new one once, and then corrected).
#[derive(Debug, Default)]
pub struct Latency(AtomicU64);

impl Latency {
    pub fn observe(&self, sample: Duration, now: Timestamp) {
        let sample = u32::try_from(sample.as_micros()).unwrap_or(u32::MAX).max(1);
        let now = millis(now);
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |packed| {
            let (value, at) = unpack(packed);
            let weight = weight(at, now);
            let mixed = f64::from(value) * weight + f64::from(sample) * (1.0 - weight);
            Some(pack(if sample >= value { sample } else { mixed as u32 }, now))
        });
    }

    /// Without new samples it fades, so that what was slow once is tried again.
    pub fn get(&self, now: Timestamp) -> Option<Duration> {
        let (value, at) = unpack(self.0.load(Ordering::Relaxed));
        (value > 0).then(|| Duration::from_micros((f64::from(value) * weight(at, millis(now))) as u64))
    }
}

fn weight(at: u32, now: u32) -> f64 {
    // A clock that went back by a little must not look like 49 days.
    let passed = now.wrapping_sub(at);
    if passed > u32::MAX / 2 { 1.0 } else { (-f64::from(passed) / DECAY.as_millis() as f64).exp() }
}

const fn pack(value: u32, at: u32) -> u64 {
    (value as u64) << 32 | at as u64
}

const fn unpack(packed: u64) -> (u32, u32) {
    ((packed >> 32) as u32, packed as u32)
}

const fn millis(at: Timestamp) -> u32 {
    at.micros().div_euclid(1_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_counts_at_once_and_fades_by_time() {
        let (latency, start) = (Latency::default(), Timestamp::from_micros(1_700_000_000_000_000));
        let at = |seconds| start.saturating_add(Duration::from_secs(seconds));
        assert_eq!(latency.get(start), None);
        latency.observe(Duration::from_millis(100), start);
        latency.observe(Duration::from_millis(900), start);
        assert_eq!(latency.get(start), Some(Duration::from_millis(900)));
        latency.observe(Duration::from_millis(100), start);
        assert_eq!(latency.get(start), Some(Duration::from_millis(900)), "a fall needs time");
        assert_eq!(latency.get(at(10)).unwrap().as_millis(), 331);
        latency.observe(Duration::from_millis(100), at(10));
        assert_eq!(latency.get(at(10)).unwrap().as_millis(), 394);
    }

    #[test]
    fn a_clock_that_goes_back_loses_nothing() {
        let latency = Latency::default();
        latency.observe(Duration::from_millis(50), Timestamp::from_micros(5_000_000));
        assert_eq!(latency.get(Timestamp::from_micros(4_000_000)), Some(Duration::from_millis(50)));
    }
}
