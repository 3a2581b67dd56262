//! The limits of one node, in memory: what is counted lies with each holder, and each rate has a lock of its own that is held for
//! some additions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tallygate_types::Timestamp;

use super::{
    Asked, Declined, Dimension, Exceeded, Holder, Levels, Permit, Purpose, RateLimiter, Scope, ScopeKind, SlidingMinute,
};

/// When one more place is likely to be free, for want of a better guess.
pub(super) const CONCURRENCY_RETRY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub struct MemoryLimiter;

/// What is taken of the limits of one holder.
#[derive(Debug, Default)]
pub struct Counts {
    requests: SlidingMinute,
    tokens: SlidingMinute,
    running: AtomicU32,
}

/// What was taken of one scope. The limits are kept as they were, so that what is given back is what was taken.
struct Held {
    holder: Arc<Holder>,
    requests_per_minute: Option<u32>,
    tokens_per_minute: Option<u64>,
}

/// What there is too little of.
struct Short {
    dimension: Dimension,
    limit: u64,
    used: u64,
    retry_after: Duration,
    /// Of a rate: until all of it can be had again.
    reset: Option<Duration>,
}

struct MemoryPermit {
    /// In the order they were asked.
    held: [Option<Held>; ScopeKind::ALL.len()],
    purpose: Purpose,
    tokens: u64,
    taken_at: Timestamp,
    levels: Levels,
    /// The limits hold elsewhere: here it is only counted what is taken of them. Bounds that nobody has set hold here.
    only_counts: bool,
    is_dispatched: bool,
}

impl Counts {
    pub(super) const fn requests(&self) -> &SlidingMinute {
        &self.requests
    }

    pub(super) const fn tokens(&self) -> &SlidingMinute {
        &self.tokens
    }

    pub(super) fn running(&self) -> u32 {
        self.running.load(Ordering::Acquire)
    }

    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        self.running() == 0 && self.requests.used(now) == 0 && self.tokens.used(now) == 0
    }
}

impl RateLimiter for MemoryLimiter {
    fn admit(&self, scopes: &[Scope<'_>], purpose: Purpose, tokens: u64, now: Timestamp) -> Asked {
        Asked::Now(self.take(scopes, purpose, tokens, now).map_err(Declined::Exceeded))
    }
}

impl MemoryLimiter {
    /// Takes one request, `tokens` and one place in every scope, or nothing at all.
    pub fn take(
        &self,
        scopes: &[Scope<'_>],
        purpose: Purpose,
        tokens: u64,
        now: Timestamp,
    ) -> Result<Box<dyn Permit>, Box<Exceeded>> {
        MemoryPermit::new(purpose, tokens, now, false).take_all(scopes)
    }

    /// Counts the same, though there may be too little, for somebody else who decides. Places that have no limit but a default are
    /// decided here.
    pub(super) fn count(
        scopes: &[Scope<'_>],
        purpose: Purpose,
        tokens: u64,
        now: Timestamp,
    ) -> Result<Box<dyn Permit>, Box<Exceeded>> {
        MemoryPermit::new(purpose, tokens, now, true).take_all(scopes)
    }
}

impl Short {
    fn of(self, scope: &Scope<'_>, levels: Levels, now: Timestamp) -> Exceeded {
        let Self { dimension, limit, used, retry_after, reset } = self;
        let resets_at = reset.map(|reset| now.saturating_add(reset));
        Exceeded { scope: scope.kind, subject: scope.subject.to_owned(), dimension, limit, used, retry_after, resets_at, levels }
    }
}

impl MemoryPermit {
    fn new(purpose: Purpose, tokens: u64, now: Timestamp, only_counts: bool) -> Box<Self> {
        let (held, levels) = Default::default();
        Box::new(Self { held, purpose, tokens, taken_at: now, levels, only_counts, is_dispatched: false })
    }

    fn take_all(mut self: Box<Self>, scopes: &[Scope<'_>]) -> Result<Box<dyn Permit>, Box<Exceeded>> {
        for (at, scope) in scopes.iter().enumerate().take(ScopeKind::ALL.len()) {
            match self.take(scope) {
                Ok(held) => self.held[at] = Some(held),
                Err(short) => return Err(Box::new(short.of(scope, self.levels, self.taken_at))),
            }
        }
        Ok(self)
    }

    /// Takes all of one scope or nothing of it. What earlier scopes gave, the drop of the permit gives back.
    fn take(&mut self, scope: &Scope<'_>) -> Result<Held, Short> {
        let counts = scope.holder.counts(self.purpose);
        let running = counts.running.fetch_add(1, Ordering::AcqRel);
        let mut held = Held { holder: Arc::clone(scope.holder), requests_per_minute: None, tokens_per_minute: None };
        let own = scope.limits.concurrency;
        if let Some(limit) = own.or(scope.default_concurrency).filter(|_| !self.only_counts || own.is_none())
            && running >= limit
        {
            held.leave(self.purpose);
            let (limit, used) = (u64::from(limit), u64::from(running));
            let dimension = Dimension::Concurrency;
            return Err(Short { dimension, limit, used, retry_after: CONCURRENCY_RETRY, reset: None });
        }
        if let Some(limit) = scope.limits.requests_per_minute {
            let taken = self.take_rate(&counts.requests, 1, u64::from(limit), Dimension::Requests);
            if let Err(short) = taken {
                held.leave(self.purpose);
                return Err(short);
            }
            held.requests_per_minute = Some(limit);
        }
        if let Some(limit) = scope.limits.tokens_per_minute {
            if let Err(short) = self.take_rate(&counts.tokens, self.tokens, limit, Dimension::Tokens) {
                held.give_back(self);
                held.leave(self.purpose);
                return Err(short);
            }
            held.tokens_per_minute = Some(limit);
        }
        Ok(held)
    }

    fn take_rate(&mut self, rate: &SlidingMinute, units: u64, limit: u64, dimension: Dimension) -> Result<(), Short> {
        let now = self.taken_at;
        let taken = if self.only_counts { Ok(rate.count(units, limit, now)) } else { rate.take(units, limit, now) };
        let level = taken.unwrap_or_else(|_| rate.level(limit, now));
        self.levels.tighten(dimension, level);
        let short = |wait| Short { dimension, limit, used: rate.used(now), retry_after: wait, reset: Some(level.reset) };
        taken.map(|_| ()).map_err(short)
    }
}

impl Held {
    /// Frees its place.
    fn leave(&self, purpose: Purpose) {
        self.holder.counts(purpose).running.fetch_sub(1, Ordering::AcqRel);
    }

    /// Gives back what `permit` took of its rates.
    fn give_back(&self, permit: &MemoryPermit) {
        let counts = self.holder.counts(permit.purpose);
        if let Some(limit) = self.requests_per_minute {
            counts.requests.give_back(1, u64::from(limit), permit.taken_at);
        }
        if let Some(limit) = self.tokens_per_minute {
            counts.tokens.give_back(permit.tokens, limit, permit.taken_at);
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
                held.holder.counts(self.purpose).tokens.correct(self.tokens, tokens, limit, self.taken_at, now);
            }
        }
        self.tokens = tokens;
    }
}

impl Drop for MemoryPermit {
    fn drop(&mut self) {
        for held in self.held.iter().flatten() {
            held.leave(self.purpose);
            if !self.is_dispatched {
                held.give_back(self);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tallygate_store::Limits;
    use tallygate_types::{Clock, ManualClock};

    use super::*;
    use crate::limits::{Scopes, Subject};

    /// A tenant and its key, with nothing taken.
    #[derive(Default)]
    struct Asking {
        tenant: Arc<Holder>,
        key: Arc<Holder>,
    }

    fn limits(requests: Option<u32>, tokens: Option<u64>, concurrency: Option<u32>) -> Limits {
        Limits { requests_per_minute: requests, tokens_per_minute: tokens, concurrency }
    }

    fn scope<'a>(kind: ScopeKind, holder: &'a Arc<Holder>, limits: &'a Limits) -> Scope<'a> {
        Scope { kind, subject: kind.as_str(), id: Subject::Name, holder, limits, default_concurrency: None }
    }

    impl Asking {
        fn ask(&self, [tenant, key]: [&Limits; 2], tokens: u64, now: Timestamp) -> Result<Box<dyn Permit>, Box<Exceeded>> {
            self.ask_for(Purpose::Generating, [tenant, key], tokens, now)
        }

        fn ask_for(
            &self,
            purpose: Purpose,
            [tenant, key]: [&Limits; 2],
            tokens: u64,
            now: Timestamp,
        ) -> Result<Box<dyn Permit>, Box<Exceeded>> {
            let scopes = [scope(ScopeKind::Tenant, &self.tenant, tenant), scope(ScopeKind::Key, &self.key, key)];
            MemoryLimiter.take(&scopes, purpose, tokens, now)
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
            assert_eq!((refused.scope, &*refused.subject), (ScopeKind::Key, "key"));
            assert_eq!((refused.dimension, refused.limit, refused.used), (Dimension::Requests, 1, 1));
            // It began with a cell, which leaves half a second after its last moment is a minute old.
            assert_eq!(refused.retry_after, Duration::from_millis(60_500));
            assert_eq!(refused.resets_at, Some(clock.now().saturating_add(refused.retry_after)));
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
        assert_eq!((refused.scope, refused.dimension), (ScopeKind::Tenant, Dimension::Concurrency));
        assert_eq!((refused.limit, refused.used, refused.resets_at), (2, 2, None));
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
        clock.advance(Duration::from_millis(60_500));
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

    #[test]
    fn the_first_scope_that_refuses_says_so_and_nothing_is_taken_of_any() {
        let (holders, clock) = (<[Arc<Holder>; 5]>::default(), clock());
        let (wide, narrow) = (limits(Some(100), Some(10_000), Some(9)), limits(Some(100), Some(50), Some(9)));
        let scopes_but = |tight: Option<usize>| {
            let scope = |at: usize| scope(ScopeKind::ALL[at], &holders[at], if Some(at) == tight { &narrow } else { &wide });
            let mut scopes = Scopes::new(scope(0));
            (1..5).for_each(|at| scopes.push(scope(at)));
            scopes
        };
        let ask = |tight, tokens| MemoryLimiter.take(scopes_but(tight).as_slice(), Purpose::Generating, tokens, clock.now());
        for (at, kind) in ScopeKind::ALL.into_iter().enumerate() {
            let mut first = ask(None, 40).unwrap();
            first.dispatched();
            drop(first);
            clock.advance(Duration::from_secs(5));
            let refused = ask(Some(at), 40).err().unwrap();
            assert_eq!((refused.scope, refused.dimension, refused.limit, refused.used), (kind, Dimension::Tokens, 50, 40));
            assert_eq!(refused.retry_after, Duration::from_millis(55_500));
            clock.advance(Duration::from_secs(56));
            for holder in &holders {
                assert!(holder.is_idle(clock.now()), "{kind:?}");
            }
        }
    }

    #[test]
    fn what_was_used_beyond_the_estimate_is_waited_for_and_what_was_not_is_free_at_once() {
        let (asking, clock) = (Asking::default(), clock());
        let (tenant, none) = (limits(None, Some(1_000), None), limits(None, None, None));
        let mut permit = asking.ask([&tenant, &none], 400, clock.now()).unwrap();
        permit.dispatched();
        clock.advance(Duration::from_secs(30));
        permit.settle(1_500, clock.now());
        drop(permit);
        // 400 leave a minute after they came, and 1,100 a minute after it was known that they had come.
        let refused = asking.ask([&tenant, &none], 1, clock.now()).err().unwrap();
        assert_eq!((refused.used, refused.retry_after), (1_500, Duration::from_millis(60_500)));
        clock.advance(Duration::from_millis(60_500));
        let mut permit = asking.ask([&tenant, &none], 1_000, clock.now()).unwrap();
        permit.dispatched();
        permit.settle(10, clock.now());
        assert_eq!(asking.ask([&tenant, &none], 100, clock.now()).unwrap().levels().tokens.unwrap().remaining, 890);
    }
}
