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
use super::slot::Change;
use super::upstream::UpstreamHealth;

/// See the module.
pub struct Common {
    pub bounds: HealthBounds,
    clock: Arc<dyn Clock>,
    /// Something opened: a request that waits may look again.
    opening: Notify,
    waiting: AtomicUsize,
}

impl Common {
    pub fn new(bounds: HealthBounds, clock: Arc<dyn Clock>) -> Self {
        Self { bounds, clock, opening: Notify::new(), waiting: AtomicUsize::new(0) }
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

    pub fn credential_changed(&self, credential: &CredentialHealth, model: &str, change: Change) {
        let names = credential.names.load();
        let (from, to) = (change.from.as_str(), change.to.state.as_str());
        if change.to.state == State::Active {
            if change.from != State::Active {
                tracing::info!(upstream = %names.upstream, credential = %names.credential, model, from, "a credential is back");
            }
            self.opened();
        } else {
            let reason = credential.last().reason.unwrap_or_default();
            tracing::warn!(upstream = %names.upstream, credential = %names.credential, model, from, to, reason,
                until = %change.to.until, refusals = change.to.run, "a credential is left alone");
        }
    }

    pub fn circuit_opened(&self, upstream: &UpstreamHealth, turned: Turned) {
        if let Turned::Opened { until, failures } = turned {
            tracing::warn!(upstream = %upstream.name.load(), %until, failures, "an upstream fails; its circuit is open");
        }
    }

    pub fn circuit_closed(&self, upstream: &UpstreamHealth) {
        tracing::info!(upstream = %upstream.name.load(), "an upstream is back; its circuit is closed");
        self.opened();
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
