//! What is known of upstreams and their credentials: who may be asked now, and what each answer teaches.
//!
//! Routing reads a [`Standing`] of each; an attempt takes a [`Lease`] and tells it how it went. Reading is a few loads of atomics
//! behind one lock-free look into a table; a lock is only taken, and only the credential's own, where something is wrong. What is
//! held against a credential outlives changes of configuration and belongs to its secret: a new secret starts afresh. The
//! states, the reasons for them and the figures: `docs/resilience.md`.

mod bounds;
mod caps;
mod circuit;
mod common;
mod course;
mod credential;
mod latency;
mod lease;
mod live;
mod meters;
mod retry_budget;
mod share;
mod slot;
mod table;
mod time_text;
mod told;
mod upstream;
mod window;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus::Registry;
use tallygate_store::{CredentialEntry, Snapshot, UpstreamEntry};
use tallygate_types::{Clock, Pico, Timestamp};

use self::caps::Caps;
use self::common::Common;
use self::course::{Door, Ticket};
use self::credential::{CredentialHealth, shut};
use self::lease::Held;
use self::meters::{Meters, States};
use self::table::Table;
use self::upstream::of_circuit;
use crate::routing::Step;

pub use bounds::HealthBounds;
pub use lease::Lease;
pub use time_text::retry_after;

/// Whether somebody may be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    Ready,
    /// Half-open: one try is let through.
    Probe,
    /// Others first; it may be asked if there is no other ([`Resort::Last`]).
    Spared {
        why: &'static str,
        until: Option<Timestamp>,
    },
    /// Not before `until`, where that is known.
    Not {
        why: &'static str,
        until: Option<Timestamp>,
    },
}

/// How an upstream or a credential stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub readiness: Readiness,
    pub in_flight: u32,
    /// Peak EWMA of the time to the first content, faded by the time since.
    pub latency: Option<Duration>,
    /// Of a credential, today (UTC).
    pub spent_today: Pico,
}

/// How badly a way is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resort {
    /// Other ways are left.
    First,
    /// No other way is left: what is [`Readiness::Spared`] will do.
    Last,
}

/// See the module.
pub struct Health {
    common: Arc<Common>,
    table: Arc<Table>,
}

impl Health {
    pub fn new(bounds: HealthBounds, clock: Arc<dyn Clock>, registry: &Registry) -> Self {
        let table = Arc::new(Table::default());
        let states = States::new(Arc::clone(&table), Arc::clone(&clock));
        // A second plane over one registry, as in tests, is not shown.
        let _ = registry.register(Box::new(states));
        Self { common: Arc::new(Common::new(bounds, clock, Meters::new(registry))), table }
    }

    /// The credential alone; how its upstream stands is for [`Self::upstream`] to say.
    pub fn credential(&self, upstream: &UpstreamEntry, credential: &CredentialEntry, tokens: u64, now: Timestamp) -> Standing {
        self.with_credential(upstream, credential, |health| Standing {
            readiness: match retired(credential, now) {
                Some(retired) => retired,
                None => health.readiness(&caps_of(credential), tokens, now, &self.common.bounds),
            },
            in_flight: health.in_flight.load(Ordering::Relaxed),
            latency: health.latency.get(now),
            spent_today: health.taken.spent_today(now),
        })
    }

    /// The upstream as a whole: its circuit, latency and calls in flight.
    pub fn upstream(&self, upstream: &UpstreamEntry, now: Timestamp) -> Standing {
        self.table.upstream(upstream, &self.common.bounds, |health| Standing {
            readiness: health.readiness(now),
            in_flight: health.in_flight.load(Ordering::Relaxed),
            latency: health.latency.get(now),
            spent_today: Pico::ZERO,
        })
    }

    /// Takes what an attempt needs (a place, rate, the slot of a probe), or says why not: between plan and attempt things
    /// change, and only here is anything held against single models looked at. `tokens` is the estimate of input and output.
    ///
    /// Refused everywhere with nothing but [`Readiness::Spared`]: wait for [`Self::opening`], go over the plan again, and then
    /// once more with [`Resort::Last`].
    pub fn begin(&self, step: &Step<'_>, tokens: u64, resort: Resort, now: Timestamp) -> Result<Box<Lease>, Readiness> {
        let upstream = self.table.upstream(&step.target.upstream, &self.common.bounds, Arc::clone);
        let held = match step.credential {
            None => None,
            Some(entry) => {
                if let Some(retired) = retired(entry, now) {
                    return Err(retired);
                }
                let health = self.with_credential(&step.target.upstream, entry, Arc::clone);
                let held = self.hold(health, caps_of(entry), &step.target.upstream_model, tokens, resort, now)?;
                Some(Held { is_sole: step.target.upstream.credentials.len() == 1, ..held })
            }
        };
        match upstream.circuit.admit(now) {
            Ok(pass) => Ok(Lease::new(Arc::clone(&self.common), upstream, held, pass, tokens)),
            Err(open) => {
                if let Some(held) = held {
                    release(&held, tokens);
                }
                Err(of_circuit(open))
            }
        }
    }

    /// Whether the upstream may be asked for a request that another attempt has failed; takes the call from its retry budget.
    pub fn may_retry(&self, upstream: &UpstreamEntry, now: Timestamp) -> bool {
        self.table.upstream(upstream, &self.common.bounds, |health| health.retries.withdraw(now))
    }

    /// How long a request waits for a way to open before it takes one that it would rather spare.
    pub fn opening_wait(&self) -> Duration {
        self.common.bounds.opening_wait
    }

    /// Waits until some way may have opened, or for `wait`.
    pub async fn opening(&self, wait: Duration) {
        self.common.opening(wait).await;
    }

    /// Forgets what is no longer configured. What is new is taken in when it is first asked for.
    pub fn configured(&self, snapshot: &Snapshot) {
        for gone in self.table.retain(snapshot) {
            self.common.upstream_forgotten(&gone);
        }
    }

    fn hold(
        &self,
        health: Arc<CredentialHealth>,
        caps: Caps,
        model: &Arc<str>,
        tokens: u64,
        resort: Resort,
        now: Timestamp,
    ) -> Result<Held, Readiness> {
        let bounds = &self.common.bounds;
        let seen = health.slot.see(now);
        if resort == Resort::First
            && seen.door == Door::Open
            && let Some(spared) = health.spared(seen.is_proven, tokens, now, bounds)
        {
            return Err(spared);
        }
        let as_last = resort == Resort::Last;
        let admit = |slot: &slot::Slot| slot.admit(as_last, now).map_err(|door| shut(slot.see(now).state, door));
        health.taken.take(&caps, tokens, now).map_err(|at_cap| Readiness::Not { why: at_cap.why, until: at_cap.until })?;
        let mut held =
            Held { ticket: Ticket::open(now), model_slot: None, model: Arc::clone(model), caps, is_sole: false, health };
        let admitted = admit(&held.health.slot).and_then(|ticket| {
            held.ticket = ticket;
            let Some(slot) = held.health.model(model) else { return Ok(()) };
            held.model_slot = Some((Arc::clone(&slot), admit(&slot)?));
            Ok(())
        });
        match admitted {
            Ok(()) => Ok(held),
            Err(shut) => {
                release(&held, tokens);
                Err(shut)
            }
        }
    }

    fn with_credential<T>(
        &self,
        upstream: &UpstreamEntry,
        credential: &CredentialEntry,
        read: impl FnOnce(&Arc<CredentialHealth>) -> T,
    ) -> T {
        self.table.credential(upstream, credential, &self.common.bounds, read)
    }
}

/// What the operator allows it.
fn caps_of(credential: &CredentialEntry) -> Caps {
    let limits = &credential.limits;
    Caps {
        requests_per_minute: limits.requests_per_minute.map(u64::from),
        tokens_per_minute: limits.tokens_per_minute,
        concurrency: limits.concurrency,
        daily_spend: limits.daily_spend,
    }
}

fn retired(credential: &CredentialEntry, now: Timestamp) -> Option<Readiness> {
    let until = credential.retires_at.filter(|at| *at <= now);
    until.map(|_| Readiness::Not { why: "retired", until: None })
}

/// Gives back what an attempt took that was not made.
fn release(held: &Held, tokens: u64) {
    held.health.taken.give_back(&held.caps, tokens);
    held.health.taken.leave(&held.caps);
    held.health.slot.abandoned(held.ticket);
    if let Some((slot, ticket)) = &held.model_slot {
        slot.abandoned(*ticket);
    }
}
