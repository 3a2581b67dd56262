//! Rate limits and concurrency: who may have how much at once.
//!
//! A request asks all scopes it falls under (its tenant, its key) in one step and gets either everything or nothing.
//! What it holds is a [`Permit`]: dropped before dispatch it gives all back, settled it replaces the estimate of tokens by
//! the truth. [`MemoryLimiter`] is exact on one node; many nodes will share their state behind the same trait.

mod bucket;
mod headers;
mod holders;
mod memory;

use std::sync::Arc;
use std::time::Duration;

use tallygate_store::Limits;
use tallygate_types::Timestamp;

pub use bucket::{Bucket, Level};
pub use headers::{put_rate_headers, rate_headers, rate_names, rate_values};
pub use holders::{Holder, Holders};
pub use memory::MemoryLimiter;

/// One holder of limits that a request falls under.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    pub kind: ScopeKind,
    pub holder: &'a Arc<Holder>,
    pub limits: &'a Limits,
    /// Holds where `limits` names no concurrency.
    pub default_concurrency: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScopeKind {
    Tenant,
    Key,
}

/// Agents count before each question: counting has limits of its own, of the same size, and takes nothing of generating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Generating,
    Counting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    Requests,
    Tokens,
    Concurrency,
}

/// A limit that is used up, and when to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    pub scope: ScopeKind,
    pub dimension: Dimension,
    pub limit: u64,
    pub retry_after: Duration,
    /// How all limits stand, as far as they were asked.
    pub levels: Levels,
}

/// The tightest levels over all scopes of a request, for the response headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Levels {
    pub requests: Option<Level>,
    pub tokens: Option<Level>,
}

/// Gives out permits. Implementations answer from memory: a request never waits for a limit's store.
pub trait RateLimiter: Send + Sync + 'static {
    /// Takes one request, `tokens` and one place in every scope, or nothing at all.
    fn admit(&self, scopes: &[Scope<'_>], purpose: Purpose, tokens: u64, now: Timestamp) -> Result<Box<dyn Permit>, Exceeded>;
}

/// What a request holds of its limits. Dropping it frees its places; unless it was dispatched, its rates too.
pub trait Permit: Send + Sync {
    fn levels(&self) -> Levels;
    /// From here on the request counts, whatever becomes of it.
    fn dispatched(&mut self);
    /// Replaces the estimate of tokens.
    fn settle(&mut self, tokens: u64, now: Timestamp);
}

impl ScopeKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Key => "key",
        }
    }
}

impl Dimension {
    pub const ALL: [Self; 3] = [Self::Requests, Self::Tokens, Self::Concurrency];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Concurrency => "concurrency",
        }
    }
}
