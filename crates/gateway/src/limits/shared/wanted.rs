//! What a request asks of the shared limits, by the names they have on the server, and what the answer means.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use redis::Cmd;
use tallygate_store::Limits;
use tallygate_types::{TenantId, Timestamp};

use super::standing::Crew;
use super::{EPOCH, EPOCH_KEPT, HELD_FOR};
use crate::limits::memory::CONCURRENCY_RETRY;
use crate::limits::sliding::CELL_MICROS;
use crate::limits::{Dimension, Exceeded, Holder, Level, Levels, MemoryLimiter, Permit, Purpose, Scope, ScopeKind, Subject};

/// What is larger the scripts cannot tell apart.
const MAX_UNITS: u64 = 1 << 53;

/// The scopes of one request, kept while the server is asked.
pub struct Wanted {
    scopes: Vec<Owned>,
    checks: Vec<Check>,
    purpose: Purpose,
    tokens: u64,
    pub now: Timestamp,
}

/// As [`Scope`].
struct Owned {
    kind: ScopeKind,
    subject: String,
    id: Subject,
    holder: Arc<Holder>,
    limits: Limits,
    default_concurrency: Option<u32>,
}

/// One limit.
struct Check {
    /// Which scope's.
    scope: usize,
    dimension: Dimension,
    key: Arc<str>,
    units: u64,
    limit: u64,
}

/// A rate of which something was taken.
#[derive(Debug, Clone)]
pub struct Taken {
    pub key: Arc<str>,
    pub dimension: Dimension,
    pub units: u64,
}

/// What the server answered.
pub struct Told {
    pub epoch: i64,
    /// Where what was taken is counted.
    pub cell: i64,
    pub levels: Levels,
    pub refused: Option<Box<Exceeded>>,
}

/// How the limits of this process are asked beside the server, or in its place.
#[derive(Debug, Clone, Copy)]
pub enum Beside {
    /// They only count.
    Count,
    /// They hold.
    Whole,
    /// This process' share of them holds; of places only where it says so.
    Share { crew: Crew, rates: bool, places: bool },
}

impl Wanted {
    /// The first scope is the tenant's.
    pub fn of(scopes: &[Scope<'_>], purpose: Purpose, tokens: u64, now: Timestamp) -> Self {
        let owned = |scope: &Scope<'_>| Owned {
            kind: scope.kind,
            subject: scope.subject.to_owned(),
            id: scope.id,
            holder: Arc::clone(scope.holder),
            limits: *scope.limits,
            default_concurrency: scope.default_concurrency,
        };
        let tenant = match scopes.first().map(|scope| scope.id) {
            Some(Subject::Id(id)) => TenantId::from_uuid(id),
            _ => TenantId::from_uuid(uuid::Uuid::nil()),
        };
        let mut checks = Vec::with_capacity(2 * scopes.len());
        for (at, scope) in scopes.iter().enumerate() {
            let Limits { requests_per_minute, tokens_per_minute, concurrency } = *scope.limits;
            // In the order in which memory asks them.
            let limits = [
                (Dimension::Concurrency, concurrency.map(u64::from), 1),
                (Dimension::Requests, requests_per_minute.map(u64::from), 1),
                (Dimension::Tokens, tokens_per_minute, tokens),
            ];
            for (dimension, limit, units) in limits {
                let Some(limit) = limit else { continue };
                let key = key(tenant, scope.kind, scope.id, scope.subject, purpose, dimension);
                checks.push(Check { scope: at, dimension, key, units: units.min(MAX_UNITS), limit: limit.min(MAX_UNITS) });
            }
        }
        Self { scopes: scopes.iter().map(owned).collect(), checks, purpose, tokens, now }
    }

    pub fn has_rates(&self) -> bool {
        self.checks.iter().any(|check| check.dimension != Dimension::Concurrency)
    }

    pub fn has_places(&self) -> bool {
        self.checks.iter().any(|check| check.dimension == Dimension::Concurrency)
    }

    /// Whose places are taken.
    pub fn holders(&self) -> Arc<[Arc<str>]> {
        let places = self.checks.iter().filter(|check| check.dimension == Dimension::Concurrency);
        places.map(|check| Arc::clone(&check.key)).collect()
    }

    pub fn rates(&self) -> Vec<Taken> {
        let rates = self.checks.iter().filter(|check| check.dimension != Dimension::Concurrency);
        let taken = |check: &Check| Taken {
            key: Arc::clone(&check.key),
            dimension: check.dimension,
            units: check.units.min(check.limit.max(1)),
        };
        rates.map(taken).collect()
    }

    /// Asks the limits of this process.
    pub fn ask(&self, beside: Beside) -> Result<Box<dyn Permit>, Box<Exceeded>> {
        let limits: Vec<_> = self.scopes.iter().map(|scope| beside.of(&scope.limits)).collect();
        let scopes: Vec<_> = self.scopes.iter().zip(&limits).map(|(owned, limits)| owned.borrow(limits)).collect();
        match beside {
            Beside::Count => MemoryLimiter::count(&scopes, self.purpose, self.tokens, self.now),
            _ => MemoryLimiter.take(&scopes, self.purpose, self.tokens, self.now),
        }
    }

    /// The arguments of the script.
    pub fn put(&self, cmd: &mut Cmd, place: &str) {
        put(cmd, self.checks.iter().map(|check| (&*check.key, check.dimension, check.units, check.limit)), place);
    }

    /// What the script's answer says. `None`: it is not one.
    pub fn read(&self, answer: &[i64]) -> Option<Told> {
        let [epoch, now, refused, wait, ref each @ ..] = *answer else { return None };
        let (stands, _) = each.as_chunks::<2>();
        let mut told = Told { epoch, cell: now.div_euclid(CELL_MICROS), levels: Levels::default(), refused: None };
        for (check, &[used, reset]) in self.checks.iter().zip(stands) {
            let used = used.unsigned_abs();
            if check.dimension != Dimension::Concurrency {
                let remaining = check.limit.saturating_sub(used);
                told.levels.tighten(check.dimension, Level { limit: check.limit, remaining, reset: micros(reset) });
            }
        }
        if let Some(at) = usize::try_from(refused).ok()?.checked_sub(1) {
            let (check, &[used, reset]) = (self.checks.get(at)?, stands.get(at)?);
            let scope = &self.scopes[check.scope];
            let is_rate = check.dimension != Dimension::Concurrency;
            told.refused = Some(Box::new(Exceeded {
                scope: scope.kind,
                subject: scope.subject.clone(),
                dimension: check.dimension,
                limit: check.limit,
                used: used.unsigned_abs(),
                retry_after: if is_rate { micros(wait) } else { CONCURRENCY_RETRY },
                resets_at: is_rate.then(|| self.now.saturating_add(micros(reset))),
                levels: told.levels,
            }));
        }
        Some(told)
    }
}

impl Owned {
    fn borrow<'a>(&'a self, limits: &'a Limits) -> Scope<'a> {
        let Self { kind, ref subject, id, ref holder, default_concurrency, .. } = *self;
        Scope { kind, subject, id, holder, limits, default_concurrency }
    }
}

impl Beside {
    fn of(self, limits: &Limits) -> Limits {
        let Self::Share { crew, rates, places } = self else { return *limits };
        let share = |limit: u32| u32::try_from(crew.share(u64::from(limit))).unwrap_or(limit);
        Limits {
            requests_per_minute: limits.requests_per_minute.map(|limit| if rates { share(limit) } else { limit }),
            tokens_per_minute: limits.tokens_per_minute.map(|limit| if rates { crew.share(limit) } else { limit }),
            concurrency: limits.concurrency.map(|limit| if places { share(limit) } else { limit }),
        }
    }
}

/// The arguments of the script that admits. Without a place's name nothing is taken.
pub fn put<'a>(cmd: &mut Cmd, checks: impl ExactSizeIterator<Item = (&'a str, Dimension, u64, u64)> + Clone, place: &str) {
    cmd.arg(1 + checks.len()).arg(EPOCH);
    for (key, ..) in checks.clone() {
        cmd.arg(key);
    }
    cmd.arg(EPOCH_KEPT.as_millis() as u64).arg(place).arg(HELD_FOR.as_millis() as u64);
    for (_, dimension, units, limit) in checks {
        cmd.arg(if dimension == Dimension::Concurrency { "place" } else { "rate" }).arg(units).arg(limit);
    }
}

/// The arguments that only look.
pub fn put_look(cmd: &mut Cmd, keys: &[(Arc<str>, Dimension)]) {
    put(cmd, keys.iter().map(|(key, dimension)| (&**key, *dimension, 0, MAX_UNITS)), "");
}

/// What of a tenant counts lies together, if keys are ever spread over many servers.
pub fn key(tenant: TenantId, kind: ScopeKind, id: Subject, name: &str, purpose: Purpose, dimension: Dimension) -> Arc<str> {
    let mut key = format!("tallygate:{{{tenant}}}:{}:{}:", purpose.as_str(), dimension.as_str());
    let subject = match id {
        Subject::Id(id) => write!(key, "{}:{}", kind.as_str(), id.as_simple()),
        Subject::Name => write!(key, "{}:{name}", kind.as_str()),
    };
    debug_assert!(subject.is_ok());
    key.into()
}

fn micros(count: i64) -> Duration {
    Duration::from_micros(count.max(0).unsigned_abs())
}
