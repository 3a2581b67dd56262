//! The limits of one node, in memory: atomics of each holder, and no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tallygate_types::Timestamp;

use super::{Bucket, Dimension, Exceeded, Holder, Levels, Permit, Purpose, RateLimiter, Scope};

/// A tenant and one of its keys.
const MAX_SCOPES: usize = 2;
/// When one more place is likely to be free, for want of a better guess.
const CONCURRENCY_RETRY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub struct MemoryLimiter;

/// What is taken of the limits of one holder.
#[derive(Debug, Default)]
pub struct Counts {
    requests: Bucket,
    tokens: Bucket,
    running: AtomicU32,
}

/// What was taken of one scope. The limits are kept as they were, so that what is given back is what was taken.
struct Held {
    holder: Arc<Holder>,
    requests_per_minute: Option<u64>,
    tokens_per_minute: Option<u64>,
}

/// What there is too little of, the limit, and when there will be enough.
type Short = (Dimension, u64, Duration);

struct MemoryPermit {
    /// Of as many scopes as there are kinds.
    held: [Option<Held>; MAX_SCOPES],
    purpose: Purpose,
    tokens: u64,
    levels: Levels,
    is_dispatched: bool,
}

impl RateLimiter for MemoryLimiter {
    fn admit(&self, scopes: &[Scope<'_>], purpose: Purpose, tokens: u64, now: Timestamp) -> Result<Box<dyn Permit>, Exceeded> {
        let mut permit =
            Box::new(MemoryPermit { held: Default::default(), purpose, tokens, levels: Levels::default(), is_dispatched: false });
        for (at, scope) in scopes.iter().enumerate().take(MAX_SCOPES) {
            match permit.take(scope, now) {
                Ok(held) => permit.held[at] = Some(held),
                Err((dimension, limit, retry_after)) => {
                    return Err(Exceeded { scope: scope.kind, dimension, limit, retry_after, levels: permit.levels });
                }
            }
        }
        Ok(permit)
    }
}

impl MemoryPermit {
    /// Takes all of one scope or nothing of it. What earlier scopes gave, the drop of the permit gives back.
    fn take(&mut self, scope: &Scope<'_>, now: Timestamp) -> Result<Held, Short> {
        let counts = scope.holder.counts(self.purpose);
        let running = counts.running.fetch_add(1, Ordering::AcqRel);
        let mut held = Held { holder: Arc::clone(scope.holder), requests_per_minute: None, tokens_per_minute: None };
        if let Some(limit) = scope.limits.concurrency.or(scope.default_concurrency)
            && running >= limit
        {
            held.release(self.purpose, 0, false);
            return Err((Dimension::Concurrency, u64::from(limit), CONCURRENCY_RETRY));
        }
        if let Some(limit) = scope.limits.requests_per_minute.map(u64::from) {
            match counts.requests.take(1, limit, now) {
                Ok(level) => {
                    held.requests_per_minute = Some(limit);
                    tighten(&mut self.levels.requests, level);
                }
                Err(wait) => {
                    tighten(&mut self.levels.requests, counts.requests.level(limit, now));
                    held.release(self.purpose, 0, true);
                    return Err((Dimension::Requests, limit, wait));
                }
            }
        }
        if let Some(limit) = scope.limits.tokens_per_minute {
            match counts.tokens.take(self.tokens, limit, now) {
                Ok(level) => {
                    held.tokens_per_minute = Some(limit);
                    tighten(&mut self.levels.tokens, level);
                }
                Err(wait) => {
                    tighten(&mut self.levels.tokens, counts.tokens.level(limit, now));
                    held.release(self.purpose, 0, true);
                    return Err((Dimension::Tokens, limit, wait));
                }
            }
        }
        Ok(held)
    }
}

fn tighten(slot: &mut Option<super::Level>, level: super::Level) {
    if slot.is_none_or(|tightest| level.remaining < tightest.remaining) {
        *slot = Some(level);
    }
}

impl Held {
    fn release(&self, purpose: Purpose, tokens: u64, give_back: bool) {
        let counts = self.holder.counts(purpose);
        counts.running.fetch_sub(1, Ordering::AcqRel);
        if give_back {
            if let Some(limit) = self.requests_per_minute {
                counts.requests.give_back(1, limit);
            }
            if let Some(limit) = self.tokens_per_minute {
                counts.tokens.give_back(tokens, limit);
            }
        }
    }
}

impl Permit for MemoryPermit {
    fn levels(&self) -> Levels {
        self.levels
    }

    fn dispatched(&mut self) {
        self.is_dispatched = true;
    }

    fn settle(&mut self, tokens: u64, now: Timestamp) {
        for held in self.held.iter().flatten() {
            if let Some(limit) = held.tokens_per_minute {
                held.holder.counts(self.purpose).tokens.correct(self.tokens, tokens, limit, now);
            }
        }
        self.tokens = tokens;
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        for held in self.held.iter().flatten() {
            held.release(self.purpose, self.tokens, !self.is_dispatched);
        }
    }
}

#[cfg(test)]
mod tests {
    use tallygate_store::Limits;
    use tallygate_types::{Clock, ManualClock};

    use super::*;
    use crate::limits::ScopeKind;

    /// A tenant and its key, with nothing taken.
    #[derive(Default)]
    struct Asking {
        tenant: Arc<Holder>,
        key: Arc<Holder>,
    }

    fn limits(requests: Option<u32>, tokens: Option<u64>, concurrency: Option<u32>) -> Limits {
        Limits { requests_per_minute: requests, tokens_per_minute: tokens, concurrency }
    }

    impl Asking {
        fn ask(&self, [tenant, key]: [&Limits; 2], tokens: u64, now: Timestamp) -> Result<Box<dyn Permit>, Exceeded> {
            self.ask_for(Purpose::Generating, [tenant, key], tokens, now)
        }

        fn ask_for(
            &self,
            purpose: Purpose,
            [tenant, key]: [&Limits; 2],
            tokens: u64,
            now: Timestamp,
        ) -> Result<Box<dyn Permit>, Exceeded> {
            let scopes = [
                Scope { kind: ScopeKind::Tenant, holder: &self.tenant, limits: tenant, default_concurrency: None },
                Scope { kind: ScopeKind::Key, holder: &self.key, limits: key, default_concurrency: None },
            ];
            MemoryLimiter.admit(&scopes, purpose, tokens, now)
        }
    }

    fn clock() -> ManualClock {
        ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000))
    }

    #[test]
    fn a_refusal_of_the_key_takes_nothing_from_the_tenant() {
        let (asking, clock) = (Asking::default(), clock());
        let (tenant, key) = (limits(Some(10), Some(1_000), Some(3)), limits(Some(1), None, None));
        let mut first = asking.ask([&tenant, &key], 100, clock.now()).unwrap();
        first.dispatched();
        for _ in 0..20 {
            let refused = asking.ask([&tenant, &key], 100, clock.now()).err().unwrap();
            assert_eq!((refused.scope, refused.dimension, refused.limit), (ScopeKind::Key, Dimension::Requests, 1));
            assert_eq!(refused.retry_after, Duration::from_mins(1));
            assert_eq!(refused.levels.requests.unwrap().remaining, 0);
        }
        let none = limits(None, None, None);
        let next = asking.ask([&tenant, &none], 100, clock.now()).unwrap();
        assert_eq!(next.levels().requests.unwrap().remaining, 8);
        assert_eq!(next.levels().tokens.unwrap().remaining, 800);
    }

    #[test]
    fn a_place_is_free_again_when_its_permit_is_dropped() {
        let (asking, clock) = (Asking::default(), clock());
        let (tenant, key) = (limits(None, None, Some(2)), limits(None, None, None));
        let one = asking.ask([&tenant, &key], 0, clock.now()).unwrap();
        let _two = asking.ask([&tenant, &key], 0, clock.now()).unwrap();
        let refused = asking.ask([&tenant, &key], 0, clock.now()).err().unwrap();
        assert_eq!((refused.scope, refused.dimension, refused.limit), (ScopeKind::Tenant, Dimension::Concurrency, 2));
        drop(one);
        assert!(asking.ask([&tenant, &key], 0, clock.now()).is_ok());
    }

    #[test]
    fn an_undispatched_request_costs_nothing_and_a_settled_one_what_it_used() {
        let (asking, clock) = (Asking::default(), clock());
        let (tenant, key) = (limits(Some(2), Some(1_000), None), limits(None, None, None));
        drop(asking.ask([&tenant, &key], 900, clock.now()).unwrap());
        let mut permit = asking.ask([&tenant, &key], 900, clock.now()).unwrap();
        permit.dispatched();
        permit.settle(200, clock.now());
        drop(permit);
        let next = asking.ask([&tenant, &key], 300, clock.now()).unwrap();
        assert_eq!(next.levels().requests.unwrap().remaining, 0);
        assert_eq!(next.levels().tokens.unwrap().remaining, 500);
        drop(next);
        clock.advance(Duration::from_mins(1));
        let next = asking.ask([&tenant, &key], 0, clock.now()).unwrap();
        assert_eq!(next.levels().tokens.unwrap().remaining, 1_000);
    }

    #[test]
    fn counting_takes_nothing_of_generating() {
        let (asking, clock) = (Asking::default(), clock());
        let (tenant, key) = (limits(Some(1), None, Some(1)), limits(None, None, Some(1)));
        let ask = |purpose| asking.ask_for(purpose, [&tenant, &key], 0, clock.now());
        let _held = [ask(Purpose::Generating).unwrap(), ask(Purpose::Counting).unwrap()];
        for purpose in [Purpose::Generating, Purpose::Counting] {
            assert_eq!(ask(purpose).err().unwrap().dimension, Dimension::Concurrency, "{purpose:?}");
        }
    }
}
