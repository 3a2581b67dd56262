//! Rate limits and concurrency: who may have how much at once.
//!
//! A request asks all scopes it falls under (its tenant, project, key, model and end user, as far as they have limits) in one step
//! and gets either everything or nothing. What it holds is a [`Permit`]: dropped before dispatch it gives all back, settled it
//! replaces the estimate of tokens by the truth. [`MemoryLimiter`] is exact on one node, [`SharedLimiter`] over many.

mod bucket;
mod effective;
mod headers;
mod holders;
mod memory;
mod named;
mod shared;
mod sliding;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tallygate_store::{Limits, TenantEntry};
pub use tallygate_types::live::{LimitDimension as Dimension, LimitScope as ScopeKind};
use tallygate_types::{TenantId, Timestamp};
use uuid::Uuid;

pub use bucket::Bucket;
pub use effective::{AskedOf, Row, effective};
pub use headers::{put_rate_headers, rate_headers, rate_names, rate_values};
pub use holders::{Holder, Holders};
pub use memory::MemoryLimiter;
pub use named::bounded_name;
pub use shared::{OnFailure, SharedLimiter, SharedLimits};
pub use sliding::SlidingMinute;

/// One holder of limits that a request falls under.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    pub kind: ScopeKind,
    /// By name.
    pub subject: &'a str,
    pub id: Subject,
    pub holder: &'a Arc<Holder>,
    pub limits: &'a Limits,
    /// Holds where `limits` names no concurrency.
    pub default_concurrency: Option<u32>,
}

/// What a holder is known by over all processes and configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Id(Uuid),
    /// It has nothing but its name.
    Name,
}

/// The scopes of one request, in the order they are asked.
#[derive(Debug)]
pub struct Scopes<'a> {
    all: [Scope<'a>; ScopeKind::ALL.len()],
    count: usize,
}

/// Agents count before each question: counting has limits of its own, of the same size, and takes nothing of generating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Generating,
    Counting,
}

/// A limit that is used up, and when to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    pub scope: ScopeKind,
    /// By name.
    pub subject: String,
    pub dimension: Dimension,
    pub limit: u64,
    /// Of a rate what was admitted in the last minute, of places those that are taken.
    pub used: u64,
    /// When what was asked for can be had.
    pub retry_after: Duration,
    /// When all of a rate can be had again.
    pub resets_at: Option<Timestamp>,
    /// How all limits stand, as far as they were asked.
    pub levels: Levels,
}

/// Where a rate stands, for the response headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    pub limit: u64,
    pub remaining: u64,
    /// Until all of it can be had again.
    pub reset: Duration,
}

/// The tightest levels over all scopes of a request, for the response headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Levels {
    pub requests: Option<Level>,
    pub tokens: Option<Level>,
}

/// Places where configuration sets none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultPlaces {
    pub per_tenant: u32,
    pub per_key: u32,
}

/// Why a request is not admitted.
#[derive(Debug)]
pub enum Declined {
    Exceeded(Box<Exceeded>),
    /// What others have used cannot be told, and it is not to be guessed.
    Unknown,
}

pub type Answer = Result<Box<dyn Permit>, Declined>;

/// What is answered from memory is answered at once.
pub enum Asked {
    Now(Answer),
    Later(BoxFuture<'static, Answer>),
}

/// Gives out permits.
pub trait RateLimiter: Send + Sync + 'static {
    /// Takes one request, `tokens` and one place in every scope, or nothing at all.
    fn admit(&self, scopes: &[Scope<'_>], purpose: Purpose, tokens: u64, now: Timestamp) -> Asked;

    /// Puts what is used over all processes into `rows` of a tenant, which say what this one counts.
    fn look<'a>(&'a self, _tenant: TenantId, _rows: &'a mut [Row], _now: Timestamp) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What a request holds of its limits. Dropping it frees its places; unless it was dispatched, its rates too.
pub trait Permit: Send + Sync {
    fn levels(&self) -> Levels;
    /// From here on the request counts, whatever becomes of it.
    fn dispatched(&mut self);
    /// Replaces the estimate of tokens.
    fn settle(&mut self, tokens: u64, now: Timestamp);
}

impl Purpose {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Generating => "generating",
            Self::Counting => "counting",
        }
    }
}

impl Levels {
    /// Keeps the level of which less remains.
    fn tighten(&mut self, dimension: Dimension, level: Level) {
        let slot = match dimension {
            Dimension::Tokens => &mut self.tokens,
            _ => &mut self.requests,
        };
        if slot.is_none_or(|tightest| level.remaining < tightest.remaining) {
            *slot = Some(level);
        }
    }
}

impl<'a> Scopes<'a> {
    pub const fn new(first: Scope<'a>) -> Self {
        Self { all: [first; ScopeKind::ALL.len()], count: 1 }
    }

    /// One more. There are no more than kinds of them.
    pub fn push(&mut self, scope: Scope<'a>) {
        if let Some(place) = self.all.get_mut(self.count) {
            *place = scope;
            self.count += 1;
        }
    }

    pub fn as_slice(&self) -> &[Scope<'a>] {
        &self.all[..self.count]
    }
}

impl DefaultPlaces {
    /// Of a key that sets none. A tenant whose own bound is set has decided how much its keys may do.
    pub fn of_key(self, tenant: &TenantEntry) -> Option<u32> {
        tenant.limits.concurrency.is_none().then_some(self.per_key)
    }
}

/// Whether there is anything to ask for.
pub const fn bounds(limits: &Limits) -> bool {
    limits.requests_per_minute.is_some() || limits.tokens_per_minute.is_some() || limits.concurrency.is_some()
}
