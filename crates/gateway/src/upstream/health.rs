//! Which credentials to leave alone for a while, because the upstream just refused them.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tallygate_types::{CredentialId, Timestamp};

/// Cooldowns in memory. They order the attempts; they never make a model unreachable by themselves.
#[derive(Debug, Default)]
pub struct Health {
    cooling: RwLock<HashMap<CredentialId, Timestamp>>,
}

impl Health {
    /// When `credential` may be used again, if it is cooling now.
    pub fn cooling_until(&self, credential: CredentialId, now: Timestamp) -> Option<Timestamp> {
        let cooling = self.cooling.read().unwrap_or_else(PoisonError::into_inner);
        cooling.get(&credential).copied().filter(|until| *until > now)
    }

    pub fn cool(&self, credential: CredentialId, wait: Duration, now: Timestamp) {
        let mut cooling = self.cooling.write().unwrap_or_else(PoisonError::into_inner);
        cooling.retain(|_, until| *until > now);
        cooling.insert(credential, now.saturating_add(wait));
    }

    /// The credential was accepted: whatever was held against it is over.
    pub fn recovered(&self, credential: CredentialId) {
        let is_known = self.cooling.read().unwrap_or_else(PoisonError::into_inner).contains_key(&credential);
        if is_known {
            self.cooling.write().unwrap_or_else(PoisonError::into_inner).remove(&credential);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cooldown_ends_by_time_or_by_success() {
        let (health, now) = (Health::default(), Timestamp::from_micros(0));
        let (one, two) = (CredentialId::generate(), CredentialId::generate());
        health.cool(one, Duration::from_secs(2), now);
        health.cool(two, Duration::from_secs(2), now);
        let later = now.saturating_add(Duration::from_secs(2));
        assert_eq!(health.cooling_until(one, now), Some(later));
        health.recovered(two);
        assert_eq!(health.cooling_until(two, now), None);
        assert_eq!(health.cooling_until(one, later), None);
    }
}
