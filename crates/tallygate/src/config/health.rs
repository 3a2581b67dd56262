//! `[health]`: what is held against upstreams and credentials that fail, and for how long.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tallygate_gateway::HealthBounds;

use super::error::ConfigError;

/// When what fails is left alone, for how long, and how much may be asked again. Waits that grow double with every refusal in a
/// row, up to their maximum.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// A credential was refused for its rate, without a word on how long.
    pub rate_wait_ms: u64,
    pub max_rate_wait_ms: u64,
    /// No vendor's wait after a rate limit is believed beyond this.
    pub max_told_wait_ms: u64,
    /// A credential is out of money or quota, without a word on when there is more.
    pub exhausted_probe_ms: u64,
    pub max_exhausted_probe_ms: u64,
    /// No vendor's date for new money or quota is believed beyond this.
    pub max_told_reset_ms: u64,
    /// A credential was not accepted once or twice.
    pub auth_recheck_ms: u64,
    /// A credential was not accepted three times.
    pub auth_probe_ms: u64,
    pub max_auth_probe_ms: u64,
    /// A circuit opened, of an upstream or of a credential.
    pub open_ms: u64,
    pub max_open_ms: u64,
    /// Failures in a row that open a circuit.
    pub failures_to_open: u32,
    /// The same for what never worked since it was set up.
    pub unproven_failures_to_open: u32,
    /// Share of failures, in percent, that opens an upstream's circuit, once a window has seen `window_min_calls`.
    pub failure_percent_to_open: u32,
    pub window_min_calls: u32,
    /// Calls in flight on a credential that has never been accepted.
    pub unproven_in_flight: u32,
    /// So long a request waits for a way to open before it takes one that it would rather spare.
    pub opening_wait_ms: u64,
    /// Extra calls that an upstream is asked for failed ones, in percent of the requests that began with it.
    pub retry_percent: u32,
    /// Extra calls beyond that share, at most and at the start.
    pub retry_reserve: u32,
    /// One call of the reserve comes back after so long.
    pub retry_reserve_refill_ms: u64,
}

impl Default for Health {
    fn default() -> Self {
        let bounds = HealthBounds::default();
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            rate_wait_ms: ms(bounds.rate_wait),
            max_rate_wait_ms: ms(bounds.max_rate_wait),
            max_told_wait_ms: ms(bounds.max_told_wait),
            exhausted_probe_ms: ms(bounds.exhausted_probe),
            max_exhausted_probe_ms: ms(bounds.max_exhausted_probe),
            max_told_reset_ms: ms(bounds.max_told_reset),
            auth_recheck_ms: ms(bounds.auth_recheck),
            auth_probe_ms: ms(bounds.auth_probe),
            max_auth_probe_ms: ms(bounds.max_auth_probe),
            open_ms: ms(bounds.open),
            max_open_ms: ms(bounds.max_open),
            failures_to_open: bounds.failures_to_open,
            unproven_failures_to_open: bounds.unproven_failures_to_open,
            failure_percent_to_open: bounds.failure_percent_to_open,
            window_min_calls: bounds.window_min_calls,
            unproven_in_flight: bounds.unproven_in_flight,
            opening_wait_ms: ms(bounds.opening_wait),
            retry_percent: bounds.retry_percent,
            retry_reserve: bounds.retry_reserve,
            retry_reserve_refill_ms: ms(bounds.retry_reserve_refill),
        }
    }
}

impl Health {
    /// What the data plane goes by.
    pub fn bounds(&self) -> HealthBounds {
        let ms = Duration::from_millis;
        HealthBounds {
            rate_wait: ms(self.rate_wait_ms),
            max_rate_wait: ms(self.max_rate_wait_ms),
            max_told_wait: ms(self.max_told_wait_ms),
            exhausted_probe: ms(self.exhausted_probe_ms),
            max_exhausted_probe: ms(self.max_exhausted_probe_ms),
            max_told_reset: ms(self.max_told_reset_ms),
            auth_recheck: ms(self.auth_recheck_ms),
            auth_probe: ms(self.auth_probe_ms),
            max_auth_probe: ms(self.max_auth_probe_ms),
            open: ms(self.open_ms),
            max_open: ms(self.max_open_ms),
            failures_to_open: self.failures_to_open,
            unproven_failures_to_open: self.unproven_failures_to_open,
            failure_percent_to_open: self.failure_percent_to_open,
            window_min_calls: self.window_min_calls,
            unproven_in_flight: self.unproven_in_flight,
            opening_wait: ms(self.opening_wait_ms),
            retry_percent: self.retry_percent,
            retry_reserve: self.retry_reserve,
            retry_reserve_refill: ms(self.retry_reserve_refill_ms),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let counts = [
            ("failures_to_open", self.failures_to_open),
            ("unproven_failures_to_open", self.unproven_failures_to_open),
            ("window_min_calls", self.window_min_calls),
            ("unproven_in_flight", self.unproven_in_flight),
        ];
        if self.retry_reserve_refill_ms == 0 {
            return Err(ConfigError::Invalid("health.retry_reserve_refill_ms must be at least 1".to_owned()));
        }
        if let Some((key, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(ConfigError::Invalid(format!("health.{key} must be at least 1")));
        }
        let percents = [("failure_percent_to_open", self.failure_percent_to_open), ("retry_percent", self.retry_percent)];
        if let Some((key, _)) = percents.iter().find(|(_, percent)| *percent > 100) {
            return Err(ConfigError::Invalid(format!("health.{key} is a percentage: at most 100")));
        }
        Ok(())
    }
}
