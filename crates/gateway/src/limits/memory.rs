//! The limits of one node, in memory: atomics a scope, a lock only to find the scope.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tallygate_types::{IdMap, Timestamp};
use uuid::Uuid;

use super::{Bucket, Dimension, Exceeded, Levels, Permit, RateLimiter, Scope, ScopeKind};

/// Scopes are spread over this many locks by their id.
const SHARDS: usize = 16;
/// A tenant and one of its keys.
const MAX_SCOPES: usize = 2;
/// When one more place is likely to be free, for want of a better guess.
const CONCURRENCY_RETRY: Duration = Duration::from_secs(1);

/// See the module. It holds one small entry for each tenant and key that ever asked, which configuration bounds.
#[derive(Debug, Default)]
pub struct MemoryLimiter {
    shards: [RwLock<Shard>; SHARDS],
}

type Shard = IdMap<(ScopeKind, Uuid), Arc<State>>;

#[derive(Debug, Default)]
struct State {
    requests: Bucket,
    tokens: Bucket,
    running: AtomicU32,
}

/// What was taken of one scope. The limits are kept as they were, so that what is given back is what was taken.
struct Held {
    state: Arc<State>,
    requests_per_minute: Option<u64>,
    tokens_per_minute: Option<u64>,
}

/// What there is too little of, the limit, and when there will be enough.
type Short = (Dimension, u64, Duration);

struct MemoryPermit {
    /// Of as many scopes as there are kinds.
    held: [Option<Held>; MAX_SCOPES],
    tokens: u64,
    levels: Levels,
    is_dispatched: bool,
}

impl MemoryLimiter {
    fn state(&self, kind: ScopeKind, id: Uuid) -> Arc<State> {
        // The last byte of a UUIDv7 is random.
        let shard = &self.shards[usize::from(id.as_bytes()[15]) % SHARDS];
        if let Some(state) = shard.read().unwrap_or_else(PoisonError::into_inner).get(&(kind, id)) {
            return Arc::clone(state);
        }
        Arc::clone(shard.write().unwrap_or_else(PoisonError::into_inner).entry((kind, id)).or_default())
    }
}

impl RateLimiter for MemoryLimiter {
    fn admit(&self, scopes: &[Scope<'_>], tokens: u64, now: Timestamp) -> Result<Box<dyn Permit>, Exceeded> {
        let mut permit =
            Box::new(MemoryPermit { held: Default::default(), tokens, levels: Levels::default(), is_dispatched: false });
        for (at, scope) in scopes.iter().enumerate().take(MAX_SCOPES) {
            match permit.take(scope, self.state(scope.kind, scope.id), now) {
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
    fn take(&mut self, scope: &Scope<'_>, state: Arc<State>, now: Timestamp) -> Result<Held, Short> {
        let running = state.running.fetch_add(1, Ordering::AcqRel);
        let mut held = Held { state: Arc::clone(&state), requests_per_minute: None, tokens_per_minute: None };
        if let Some(limit) = scope.limits.concurrency.or(scope.default_concurrency)
            && running >= limit
        {
            held.release(0, false);
            return Err((Dimension::Concurrency, u64::from(limit), CONCURRENCY_RETRY));
        }
        if let Some(limit) = scope.limits.requests_per_minute.map(u64::from) {
            match state.requests.take(1, limit, now) {
                Ok(level) => {
                    held.requests_per_minute = Some(limit);
                    tighten(&mut self.levels.requests, level);
                }
                Err(wait) => {
                    tighten(&mut self.levels.requests, state.requests.level(limit, now));
                    held.release(0, true);
                    return Err((Dimension::Requests, limit, wait));
                }
            }
        }
        if let Some(limit) = scope.limits.tokens_per_minute {
            match state.tokens.take(self.tokens, limit, now) {
                Ok(level) => {
                    held.tokens_per_minute = Some(limit);
                    tighten(&mut self.levels.tokens, level);
                }
                Err(wait) => {
                    tighten(&mut self.levels.tokens, state.tokens.level(limit, now));
                    held.release(0, true);
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
    fn release(&self, tokens: u64, give_back: bool) {
        self.state.running.fetch_sub(1, Ordering::AcqRel);
        if give_back {
            if let Some(limit) = self.requests_per_minute {
                self.state.requests.give_back(1, limit);
            }
            if let Some(limit) = self.tokens_per_minute {
                self.state.tokens.give_back(tokens, limit);
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
                held.state.tokens.correct(self.tokens, tokens, limit, now);
            }
        }
        self.tokens = tokens;
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        for held in self.held.iter().flatten() {
            held.release(self.tokens, !self.is_dispatched);
        }
    }
}

#[cfg(test)]
mod tests {
    use tallygate_store::Limits;
    use tallygate_types::{Clock, ManualClock};

    use super::*;

    const TENANT: Uuid = Uuid::from_u128(1);
    const KEY: Uuid = Uuid::from_u128(2);

    fn limits(requests: Option<u32>, tokens: Option<u64>, concurrency: Option<u32>) -> Limits {
        Limits { requests_per_minute: requests, tokens_per_minute: tokens, concurrency }
    }

    fn scopes<'a>(tenant: &'a Limits, key: &'a Limits) -> [Scope<'a>; 2] {
        [
            Scope { kind: ScopeKind::Tenant, id: TENANT, limits: tenant, default_concurrency: None },
            Scope { kind: ScopeKind::Key, id: KEY, limits: key, default_concurrency: None },
        ]
    }

    fn clock() -> ManualClock {
        ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000))
    }

    #[test]
    fn a_refusal_of_the_key_takes_nothing_from_the_tenant() {
        let (limiter, clock) = (MemoryLimiter::default(), clock());
        let (tenant, key) = (limits(Some(10), Some(1_000), Some(3)), limits(Some(1), None, None));
        let mut first = limiter.admit(&scopes(&tenant, &key), 100, clock.now()).unwrap();
        first.dispatched();
        for _ in 0..20 {
            let refused = limiter.admit(&scopes(&tenant, &key), 100, clock.now()).err().unwrap();
            assert_eq!((refused.scope, refused.dimension, refused.limit), (ScopeKind::Key, Dimension::Requests, 1));
            assert_eq!(refused.retry_after, Duration::from_mins(1));
            assert_eq!(refused.levels.requests.unwrap().remaining, 0);
        }
        let none = limits(None, None, None);
        let next = limiter.admit(&scopes(&tenant, &none), 100, clock.now()).unwrap();
        assert_eq!(next.levels().requests.unwrap().remaining, 8);
        assert_eq!(next.levels().tokens.unwrap().remaining, 800);
    }

    #[test]
    fn a_place_is_free_again_when_its_permit_is_dropped() {
        let (limiter, clock) = (MemoryLimiter::default(), clock());
        let (tenant, key) = (limits(None, None, Some(2)), limits(None, None, None));
        let one = limiter.admit(&scopes(&tenant, &key), 0, clock.now()).unwrap();
        let _two = limiter.admit(&scopes(&tenant, &key), 0, clock.now()).unwrap();
        let refused = limiter.admit(&scopes(&tenant, &key), 0, clock.now()).err().unwrap();
        assert_eq!((refused.scope, refused.dimension, refused.limit), (ScopeKind::Tenant, Dimension::Concurrency, 2));
        drop(one);
        assert!(limiter.admit(&scopes(&tenant, &key), 0, clock.now()).is_ok());
    }

    #[test]
    fn an_undispatched_request_costs_nothing_and_a_settled_one_what_it_used() {
        let (limiter, clock) = (MemoryLimiter::default(), clock());
        let (tenant, key) = (limits(Some(2), Some(1_000), None), limits(None, None, None));
        drop(limiter.admit(&scopes(&tenant, &key), 900, clock.now()).unwrap());
        let mut permit = limiter.admit(&scopes(&tenant, &key), 900, clock.now()).unwrap();
        permit.dispatched();
        permit.settle(200, clock.now());
        drop(permit);
        let next = limiter.admit(&scopes(&tenant, &key), 300, clock.now()).unwrap();
        assert_eq!(next.levels().requests.unwrap().remaining, 0);
        assert_eq!(next.levels().tokens.unwrap().remaining, 500);
        drop(next);
        clock.advance(Duration::from_mins(1));
        let next = limiter.admit(&scopes(&tenant, &key), 0, clock.now()).unwrap();
        assert_eq!(next.levels().tokens.unwrap().remaining, 1_000);
    }
}
