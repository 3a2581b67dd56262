//! `[budgets]`: how many processes share them.

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tallygate_billing::budget::LEASE_LIFETIME;

use super::error::ConfigError;

/// Less leaves no time to renew a lease when the database is slow; more, and a dead process holds money for too long.
const LEASE_SECONDS: RangeInclusive<u64> = 15..=3_600;

/// Budgets over many processes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budgets {
    /// With PostgreSQL: how long a process that is not heard of keeps what it has leased of budgets, and how long it goes on
    /// without the database; 15 to 3600, the same for all processes.
    pub lease_seconds: u64,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { lease_seconds: LEASE_LIFETIME.as_secs() }
    }
}

impl Budgets {
    pub fn check(&self) -> Result<(), ConfigError> {
        let (given, least, most) = (self.lease_seconds, LEASE_SECONDS.start(), LEASE_SECONDS.end());
        if LEASE_SECONDS.contains(&given) {
            return Ok(());
        }
        Err(ConfigError::Invalid(format!("budgets.lease_seconds is {given}; it must be {least} to {most}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lives_neither_too_short_nor_too_long() {
        let checked = |lease_seconds| Budgets { lease_seconds }.check().map_err(|error| error.to_string());
        assert_eq!((checked(15), checked(60), checked(3_600)), (Ok(()), Ok(()), Ok(())));
        assert_eq!(checked(14), Err("budgets.lease_seconds is 14; it must be 15 to 3600".to_owned()));
        assert!(checked(3_601).is_err());
        assert_eq!(Budgets::default().lease_seconds, 60);
    }
}
