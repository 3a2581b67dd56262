//! What every lease needs beside its upstream and credential: the clock, the bounds, and those who are told of changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tallygate_types::{Clock, Timestamp};
use tokio::sync::Notify;

use super::bounds::HealthBounds;
use super::circuit::Turned;
use super::course::State;
use super::credential::CredentialHealth;
use super::meters::Meters;
use super::share::Outbox;
use super::slot::Change;
use super::upstream::UpstreamHealth;

/// See the module.
pub struct Common {
    pub bounds: HealthBounds,
    clock: Arc<dyn Clock>,
    /// Something opened: a request that waits may look again.
    opening: Notify,
    waiting: AtomicUsize,
    /// For the other replicas.
    pub outbox: Outbox,
    meters: Meters,
}

impl Common {
    pub fn new(bounds: HealthBounds, clock: Arc<dyn Clock>, meters: Meters) -> Self {
        let (opening, waiting) = (Notify::new(), AtomicUsize::new(0));
        Self { bounds, clock, opening, waiting, outbox: Outbox::default(), meters }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Waits until something may have opened, or for `wait`.
    pub async fn opening(&self, wait: Duration) {
        let opened = self.opening.notified();
        let _waiting = Waiting::new(&self.waiting);
        let _ = tokio::time::timeout(wait, opened).await;
    }

    /// One load while nobody waits.
    pub fn opened(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.opening.notify_waiters();
        }
    }

    /// Something that was learnt here: logged, counted, told to the other replicas.
    pub fn credential_changed(&self, credential: &CredentialHealth, model: &str, change: Change) {
        self.say(credential, model, change, "here");
        self.outbox.put(credential, model, change.to);
    }

    /// Something that another replica learnt.
    pub fn adopted(&self, credential: &CredentialHealth, model: &str, change: Change) {
        self.say(credential, model, change, "another replica");
    }

    pub fn circuit_opened(&self, upstream: &UpstreamHealth, turned: Turned) {
        if let Turned::Opened { until, failures } = turned {
            let name = upstream.name.load();
            self.meters.circuit_turned(&name, "open");
            tracing::warn!(upstream = %name, %until, failures, "an upstream fails; its circuit is open");
        }
    }

    pub fn circuit_closed(&self, upstream: &UpstreamHealth) {
        let name = upstream.name.load();
        self.meters.circuit_turned(&name, "closed");
        tracing::info!(upstream = %name, "an upstream is back; its circuit is closed");
        self.opened();
    }

    pub fn upstream_forgotten(&self, upstream: &UpstreamHealth) {
        self.meters.forget(&upstream.name.load());
    }

    fn say(&self, credential: &CredentialHealth, model: &str, change: Change, learnt: &'static str) {
        let names = credential.names.load();
        let (from, to) = (change.from.as_str(), change.to.state.as_str());
        if change.from != change.to.state {
            self.meters.credential_turned(&names.upstream, to);
        }
        if change.to.state == State::Active {
            if change.from != State::Active {
                tracing::info!(upstream = %names.upstream, credential = %names.credential, model, from, learnt,
                    "a credential is back");
            }
            self.opened();
        } else {
            let reason = credential.last().reason.unwrap_or_default();
            tracing::warn!(upstream = %names.upstream, credential = %names.credential, model, from, to, reason, learnt,
                until = %change.to.until, refusals = change.to.run, "a credential is left alone");
        }
    }
}

/// One that waits, also when it is dropped while it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
