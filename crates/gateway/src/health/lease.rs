//! What one attempt holds of an upstream and a credential while it runs, and what is learnt from how it went.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tallygate_types::{Pico, Timestamp};

use super::caps::Caps;
use super::circuit::{Pass, Turned};
use super::common::Common;
use super::course::{State, Ticket};
use super::credential::CredentialHealth;
use super::slot::Slot;
use super::upstream::UpstreamHealth;
use crate::boxed::boxed;
use crate::exchange::failure::{Blame, Failure};

/// Dropped without a verdict, the attempt says nothing: its client left. It stands in a box, because it goes from hand to hand
/// until the answer has been sent.
pub struct Lease {
    common: Arc<Common>,
    upstream: Arc<UpstreamHealth>,
    credential: Option<Held>,
    pass: Pass,
    /// Input and output as estimated when it began.
    tokens: u64,
    /// The head of the answer has not come.
    is_waiting: bool,
    has_verdict: bool,
}

/// What is held of the credential.
pub(super) struct Held {
    pub health: Arc<CredentialHealth>,
    pub ticket: Ticket,
    /// Something was held against it for this model.
    pub model_slot: Option<(Arc<Slot>, Ticket)>,
    pub model: Arc<str>,
    pub caps: Caps,
    /// Its upstream has no other.
    pub is_sole: bool,
}

impl Lease {
    pub(super) fn new(
        common: Arc<Common>,
        upstream: Arc<UpstreamHealth>,
        credential: Option<Held>,
        pass: Pass,
        tokens: u64,
    ) -> Box<Self> {
        upstream.in_flight.fetch_add(1, Ordering::Relaxed);
        upstream.retries.deposit();
        if let Some(held) = &credential {
            held.health.sent(tokens, held.ticket.began);
        }
        boxed(|| Self { common, upstream, credential, pass, tokens, is_waiting: true, has_verdict: false })
    }

    /// The head of an answer: what the vendor says is left, and whether it took the credential.
    pub fn headers(&mut self, status: StatusCode, headers: &HeaderMap) {
        let now = self.common.now();
        self.heard(now);
        let Some(held) = &self.credential else { return };
        held.health.told.read(headers, now);
        // A key or quota that is taken again is taken at the head; that it works is only known by its content.
        if status.is_success() && !matches!(held.health.slot.see(now).state, State::Active | State::Failing) {
            self.accepted(now);
        }
    }

    /// The first content came `after` the attempt began.
    pub fn first_byte(&mut self, after: Duration, now: Timestamp) {
        self.heard(now);
        self.upstream.latency.observe(after, now);
        if let Some(held) = &self.credential {
            held.health.latency.observe(after, now);
        }
        self.works(now);
    }

    /// It ended as it should, or with a refusal that is the client's own fault.
    pub fn succeeded(mut self: Box<Self>) {
        if !self.has_verdict {
            let now = self.common.now();
            self.heard(now);
            self.works(now);
        }
    }

    pub fn failed(mut self: Box<Self>, failure: &Failure) {
        let now = self.common.now();
        self.heard(now);
        if !failure.is_sent {
            self.give_back();
        }
        self.has_verdict |= self.judge(failure, now);
    }

    /// It was not made after all: what it took is given back.
    pub fn not_sent(self: Box<Self>) {
        self.give_back();
    }

    /// What the attempt came to; it replaces the estimate.
    pub fn spent(&self, amount: Pico, tokens: u64, now: Timestamp) {
        if let Some(held) = &self.credential {
            held.health.taken.spend(amount, now);
            held.health.taken.correct(&held.caps, self.tokens, tokens, now);
        }
    }

    fn heard(&mut self, now: Timestamp) {
        if std::mem::replace(&mut self.is_waiting, false)
            && let Some(held) = &self.credential
        {
            held.health.heard(self.tokens, now);
        }
    }

    fn works(&mut self, now: Timestamp) {
        self.has_verdict = true;
        self.upstream.answered(now);
        if self.upstream.circuit.succeeded(self.pass, now) == Some(Turned::Closed) {
            self.common.circuit_closed(&self.upstream);
        }
        self.accepted(now);
    }

    fn accepted(&self, now: Timestamp) {
        let Some(held) = &self.credential else { return };
        if let Some((slot, ticket)) = &held.model_slot
            && let Some(change) = slot.accepted(*ticket, now)
        {
            self.common.credential_changed(&held.health, &held.model, change);
        }
        if let Some(change) = held.health.slot.accepted(held.ticket, now) {
            self.common.credential_changed(&held.health, "", change);
        }
    }

    /// False if the failure says nothing of either.
    fn judge(&self, failure: &Failure, now: Timestamp) -> bool {
        if let Some(held) = &self.credential {
            held.health.note(failure.reason, &failure.detail);
        }
        let state = match failure.blame {
            Blame::Setup | Blame::Proxy => return false,
            Blame::Upstream | Blame::Answer => {
                self.upstream.note(&failure.detail);
                self.judge_fault(now);
                return true;
            }
            Blame::Rate => State::Cooling,
            Blame::Quota => State::Exhausted,
            Blame::Credential => State::AuthFailed,
        };
        // An upstream that refuses is there.
        if self.upstream.circuit.succeeded(self.pass, now) == Some(Turned::Closed) {
            self.common.circuit_closed(&self.upstream);
        }
        let Some(held) = &self.credential else { return true };
        let reset = failure.reset_at(now);
        let bounds = &self.common.bounds;
        if failure.is_of_model
            && let Some(slot) = held.health.model_or_new(&held.model)
        {
            let ticket = held.model_slot.as_ref().map_or(held.ticket, |(_, ticket)| *ticket);
            if let Some(change) = slot.refused(state, reset, ticket, now, bounds) {
                self.common.credential_changed(&held.health, &held.model, change);
            }
            // The vendor knows the key: only this model is shut.
            if let Some(change) = held.health.slot.accepted(held.ticket, now) {
                self.common.credential_changed(&held.health, "", change);
            }
            return true;
        }
        if let Some(change) = held.health.slot.refused(state, reset, held.ticket, now, bounds) {
            self.common.credential_changed(&held.health, "", change);
        }
        true
    }

    /// Neither key nor quota: the upstream failed, or this credential's corner of it.
    fn judge_fault(&self, now: Timestamp) {
        let bounds = &self.common.bounds;
        // Content had come, so the upstream is there: a stream that breaks off is held against the credential alone. Streams
        // that break off end before those that do not, so that one bad credential looks like failures in a row.
        if !self.has_verdict {
            let (circuit, is_proven) = (&self.upstream.circuit, self.upstream.is_proven());
            let turned = match &self.credential {
                Some(held) if !held.is_sole => {
                    circuit.failed_with(held.health.id.uuid().as_u64_pair().1, self.pass, is_proven, now, bounds)
                }
                _ => circuit.failed(self.pass, is_proven, now, bounds),
            };
            if let Some(turned) = turned {
                self.common.circuit_opened(&self.upstream, turned);
            }
        }
        let Some(held) = &self.credential else { return };
        if let Some((slot, ticket)) = &held.model_slot {
            slot.abandoned(*ticket);
        }
        if let Some(change) = held.health.slot.failed(held.ticket, self.upstream.answered_at(), now, bounds) {
            self.common.credential_changed(&held.health, "", change);
        }
    }

    fn give_back(&self) {
        if let Some(held) = &self.credential {
            held.health.taken.give_back(&held.caps, self.tokens);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_waiting {
            self.heard(self.common.now());
        }
        self.upstream.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(held) = &self.credential {
            held.health.in_flight.fetch_sub(1, Ordering::Relaxed);
            held.health.taken.leave(&held.caps);
        }
        if !self.has_verdict {
            self.upstream.circuit.abandoned(self.pass);
            if let Some(held) = &self.credential {
                held.health.slot.abandoned(held.ticket);
                if let Some((slot, ticket)) = &held.model_slot {
                    slot.abandoned(*ticket);
                }
            }
        }
        self.common.opened();
    }
}
