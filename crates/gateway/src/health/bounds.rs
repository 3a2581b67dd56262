//! The times and thresholds by which credentials and upstreams are left alone and taken back.

use std::time::Duration;

/// `Default` is what a running system starts with. Waits that grow double with every refusal in a row, up to their cap.
#[derive(Debug, Clone, Copy)]
pub struct HealthBounds {
    /// Refused for its rate without a word on how long.
    pub rate_wait: Duration,
    pub max_rate_wait: Duration,
    /// No vendor's wait after a rate limit is believed beyond this.
    pub max_told_wait: Duration,
    /// Out of money or quota without a word on when there is more.
    pub exhausted_probe: Duration,
    pub max_exhausted_probe: Duration,
    /// No vendor's date for new money or quota is believed beyond this.
    pub max_told_reset: Duration,
    /// Not accepted once or twice: vendors have their blips too.
    pub auth_recheck: Duration,
    /// Not accepted [`AUTH_STRIKES`] times.
    pub auth_probe: Duration,
    pub max_auth_probe: Duration,
    /// A circuit that opened, of an upstream or of a credential.
    pub open: Duration,
    pub max_open: Duration,
    /// Failures in a row that open a circuit.
    pub failures_to_open: u32,
    /// The same for what never worked since it was set up.
    pub unproven_failures_to_open: u32,
    /// Share of failures, in percent, that opens an upstream's circuit, once the window has seen `window_min_calls`.
    pub failure_percent_to_open: u32,
    pub window_min_calls: u32,
    /// Calls in flight on a credential that has never been accepted. Others wait for the first answer, or go elsewhere.
    pub unproven_in_flight: u32,
    /// So long a request waits for a way to open before it takes one that it would rather spare.
    pub opening_wait: Duration,
    /// Extra calls that an upstream is asked for failed ones, in percent of the requests that began with it.
    pub retry_percent: u32,
    /// Extra calls beyond that share which an upstream has left at most, and at the start.
    pub retry_reserve: u32,
    /// One call of the reserve comes back after so long.
    pub retry_reserve_refill: Duration,
}

/// Refusals of a key in a row after which it is only asked every `auth_probe`.
pub const AUTH_STRIKES: u32 = 3;

impl Default for HealthBounds {
    fn default() -> Self {
        Self {
            rate_wait: Duration::from_secs(1),
            max_rate_wait: Duration::from_mins(1),
            max_told_wait: Duration::from_hours(1),
            exhausted_probe: Duration::from_mins(10),
            max_exhausted_probe: Duration::from_hours(1),
            max_told_reset: Duration::from_hours(24 * 32),
            auth_recheck: Duration::from_secs(30),
            auth_probe: Duration::from_mins(15),
            max_auth_probe: Duration::from_hours(6),
            open: Duration::from_secs(10),
            max_open: Duration::from_mins(1),
            failures_to_open: 5,
            unproven_failures_to_open: 3,
            failure_percent_to_open: 50,
            window_min_calls: 20,
            unproven_in_flight: 2,
            opening_wait: Duration::from_millis(500),
            retry_percent: 8,
            retry_reserve: 10,
            retry_reserve_refill: Duration::from_secs(3),
        }
    }
}

/// `base` doubled `times` times, at most `cap`.
pub fn grown(base: Duration, times: u32, cap: Duration) -> Duration {
    base.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_doubles_up_to_its_cap() {
        let secs = Duration::from_secs;
        let waits: Vec<_> = (0..6).map(|times| grown(secs(1), times, secs(10)).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!(grown(secs(1), 200, secs(10)), secs(10));
    }
}
