//! All that is known of one credential.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tallygate_types::{CredentialId, Timestamp, UpstreamId};

use super::Readiness;
use super::bounds::HealthBounds;
use super::caps::{Caps, Taken};
use super::course::{Door, State};
use super::latency::Latency;
use super::slot::Slot;
use super::told::Told;
use super::upstream::UpstreamHealth;

/// Models of one credential that something of their own can be held against. What is beyond is held against the credential.
const MAX_MODELS: usize = 64;
/// Calls that wait for the head of an answer before silence is suspicious.
const SILENT_CALLS: u32 = 3;
/// So many times the usual wait for a head is silence.
const SILENT_TIMES: u32 = 4;
/// No silence is suspicious before this.
const SILENT_FLOOR: Duration = Duration::from_millis(50);
/// Of a vendor's words on its last refusal, this much is kept for the operator.
pub const MAX_ERROR_CHARS: usize = 300;

/// See the module.
#[derive(Debug)]
pub struct CredentialHealth {
    pub id: CredentialId,
    pub upstream: Arc<UpstreamHealth>,
    pub names: ArcSwap<Names>,
    pub slot: Slot,
    /// What is held against it for one model only: some vendors count by model.
    models: RwLock<Vec<(Box<str>, Arc<Slot>)>>,
    has_models: AtomicBool,
    pub taken: Arc<Taken>,
    pub told: Told,
    pub latency: Latency,
    pub in_flight: AtomicU32,
    /// Calls whose answer has not begun, and the tokens they were estimated at.
    waiting: AtomicU32,
    waiting_tokens: AtomicU64,
    /// Since when nothing was heard of the calls that wait.
    silent_since: AtomicI64,
    last: Mutex<Last>,
}

/// How logs, metrics and admins call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub upstream_id: UpstreamId,
    pub upstream: String,
    pub credential: String,
    pub fingerprint: String,
}

/// What went wrong last.
#[derive(Debug, Clone, Default)]
pub struct Last {
    pub reason: Option<&'static str>,
    pub error: Option<String>,
}

impl CredentialHealth {
    pub fn new(id: CredentialId, upstream: Arc<UpstreamHealth>, names: Names, taken: Arc<Taken>) -> Self {
        Self {
            id,
            upstream,
            names: ArcSwap::from_pointee(names),
            slot: Slot::default(),
            models: RwLock::default(),
            has_models: AtomicBool::new(false),
            taken,
            told: Told::default(),
            latency: Latency::default(),
            in_flight: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            waiting_tokens: AtomicU64::new(0),
            silent_since: AtomicI64::new(0),
            last: Mutex::default(),
        }
    }

    pub fn readiness(&self, caps: &Caps, tokens: u64, now: Timestamp, bounds: &HealthBounds) -> Readiness {
        let seen = self.slot.see(now);
        let open = match seen.door {
            Door::Open => Readiness::Ready,
            Door::Probe => Readiness::Probe,
            door => return shut(seen.state, door),
        };
        if let Err(at_cap) = self.taken.check(caps, tokens, now) {
            return Readiness::Not { why: at_cap.why, until: at_cap.until };
        }
        self.spared(seen.is_proven, tokens, now, bounds).unwrap_or(open)
    }

    /// Why others should be asked first.
    pub fn spared(&self, is_proven: bool, tokens: u64, now: Timestamp, bounds: &HealthBounds) -> Option<Readiness> {
        if !is_proven && self.in_flight.load(Ordering::Relaxed) >= bounds.unproven_in_flight {
            let until = Some(now.saturating_add(bounds.opening_wait));
            return Some(Readiness::Spared { why: "unproven", until });
        }
        let waiting = u64::from(self.waiting.load(Ordering::Relaxed));
        if let Some(until) = self.told.requests.short_until(1, waiting, now) {
            return Some(Readiness::Spared { why: "vendor_requests", until: Some(until) });
        }
        if let Some(until) = self.told.tokens.short_until(tokens, self.waiting_tokens.load(Ordering::Relaxed), now) {
            return Some(Readiness::Spared { why: "vendor_tokens", until: Some(until) });
        }
        self.is_silent(now).then_some(Readiness::Spared { why: "silent", until: None })
    }

    /// Several calls wait, and nothing was heard for much longer than usual.
    fn is_silent(&self, now: Timestamp) -> bool {
        if self.waiting.load(Ordering::Relaxed) < SILENT_CALLS {
            return false;
        }
        let Some(usual) = self.latency.get(now) else { return false };
        let silence = now.since(Timestamp::from_micros(self.silent_since.load(Ordering::Relaxed)));
        silence > SILENT_FLOOR.max(usual.saturating_mul(SILENT_TIMES))
    }

    /// A call goes out.
    pub fn sent(&self, tokens: u64, now: Timestamp) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.waiting_tokens.fetch_add(tokens, Ordering::Relaxed);
        if self.waiting.fetch_add(1, Ordering::Relaxed) == 0 {
            self.silent_since.store(now.micros(), Ordering::Relaxed);
        }
    }

    /// The head of an answer came, or never will.
    pub fn heard(&self, tokens: u64, now: Timestamp) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.waiting_tokens.fetch_sub(tokens, Ordering::Relaxed);
        self.silent_since.store(now.micros(), Ordering::Relaxed);
    }

    /// The slot of a model, if anything is held against it.
    pub fn model(&self, model: &str) -> Option<Arc<Slot>> {
        if !self.has_models.load(Ordering::Acquire) {
            return None;
        }
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        models.iter().find(|(name, _)| **name == *model).map(|(_, slot)| Arc::clone(slot))
    }

    /// The slot of a model, made if there is room for it.
    pub fn model_or_new(&self, model: &str) -> Option<Arc<Slot>> {
        if let Some(slot) = self.model(model) {
            return Some(slot);
        }
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, slot)) = models.iter().find(|(name, _)| **name == *model) {
            return Some(Arc::clone(slot));
        }
        if models.len() >= MAX_MODELS {
            models.retain(|(_, slot)| slot.course().state != State::Active);
        }
        if models.len() >= MAX_MODELS {
            return None;
        }
        let slot = Arc::new(Slot::default());
        models.push((model.into(), Arc::clone(&slot)));
        self.has_models.store(true, Ordering::Release);
        Some(slot)
    }

    /// All models that something is held against.
    pub fn held_models(&self) -> Vec<(Box<str>, Arc<Slot>)> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        models.iter().filter(|(_, slot)| slot.course().state != State::Active).cloned().collect()
    }

    /// Tells it from the other credentials of its upstream; never 0.
    pub fn mark(&self) -> u64 {
        (self.id.uuid().as_u128() as u64) | 1 << 63
    }

    pub fn note(&self, reason: &'static str, error: &str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Last { reason: Some(reason), error: Some(error.chars().take(MAX_ERROR_CHARS).collect()) };
    }

    pub fn last(&self) -> Last {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a door that is not open means for routing.
pub fn shut(state: State, door: Door) -> Readiness {
    match door {
        Door::Open => Readiness::Ready,
        Door::Probe => Readiness::Probe,
        // Its rate may allow more by now: who has no other way need not wait for the probe's answer.
        Door::Probing if state == State::Cooling => Readiness::Spared { why: "probing", until: None },
        Door::Probing => Readiness::Not { why: "probing", until: None },
        Door::Shut { until } => Readiness::Not { why: state.as_str(), until: Some(until) },
    }
}
