//! The places that requests of this process hold, told to the server again and again: so what it lost comes back, and what this
//! process leaves behind when it dies comes free.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Three times while a place lasts.
const TELL_INTERVAL: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Default)]
pub struct Places(Mutex<HashMap<u64, Held>>);

struct Held {
    holders: Arc<[Arc<str>]>,
    told_at: Instant,
}

impl Places {
    /// `number` is held with `holders` from now on. The server knows of it, or will be told.
    pub fn hold(&self, number: u64, holders: &Arc<[Arc<str>]>, now: Instant) {
        self.all().insert(number, Held { holders: Arc::clone(holders), told_at: now });
    }

    pub fn leave(&self, number: u64) {
        self.all().remove(&number);
    }

    /// What is to be told now: the numbers held with each holder. `anew`: all of them.
    pub fn to_tell(&self, now: Instant, anew: bool) -> HashMap<Arc<str>, Vec<u64>> {
        let mut due = HashMap::<_, Vec<_>>::new();
        for (number, held) in self.all().iter_mut() {
            if anew || now.saturating_duration_since(held.told_at) >= TELL_INTERVAL {
                held.told_at = now;
                for holder in &*held.holders {
                    due.entry(Arc::clone(holder)).or_default().push(*number);
                }
            }
        }
        due
    }

    fn all(&self) -> MutexGuard<'_, HashMap<u64, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_again_and_what_ended_is_not() {
        let (places, now) = (Places::default(), Instant::now());
        let holders: Arc<[Arc<str>]> = ["tenant".into(), "key".into()].into();
        places.hold(1, &holders, now);
        places.hold(2, &holders, now);
        assert!(places.to_tell(now, false).is_empty());
        places.leave(2);
        let told = places.to_tell(now + TELL_INTERVAL, false);
        assert_eq!((&told["tenant"], &told["key"]), (&vec![1], &vec![1]));
        assert!(places.to_tell(now + TELL_INTERVAL, false).is_empty());
        assert_eq!(places.to_tell(now + TELL_INTERVAL, true).len(), 2);
    }
}
