//! All that is known of one upstream.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;
use tallygate_types::{Timestamp, UpstreamId};

use super::Readiness;
use super::bounds::HealthBounds;
use super::circuit::{Circuit, CircuitState};
use super::credential::MAX_ERROR_CHARS;
use super::latency::Latency;
use super::retry_budget::RetryBudget;

/// See the module.
#[derive(Debug)]
pub struct UpstreamHealth {
    pub id: UpstreamId,
    pub name: ArcSwap<String>,
    pub circuit: Circuit,
    pub latency: Latency,
    pub retries: RetryBudget,
    pub in_flight: AtomicU32,
    is_proven: AtomicBool,
    /// When it last gave an answer, in microseconds since the epoch.
    answered_at: AtomicI64,
    last_error: Mutex<Option<String>>,
}

impl UpstreamHealth {
    pub fn new(id: UpstreamId, name: &str, bounds: &HealthBounds) -> Self {
        Self {
            id,
            name: ArcSwap::from_pointee(name.to_owned()),
            circuit: Circuit::default(),
            latency: Latency::default(),
            retries: RetryBudget::new(bounds),
            in_flight: AtomicU32::new(0),
            is_proven: AtomicBool::new(false),
            answered_at: AtomicI64::new(0),
            last_error: Mutex::default(),
        }
    }

    pub fn readiness(&self, now: Timestamp) -> Readiness {
        of_circuit(self.circuit.state(now))
    }

    pub fn answered(&self, now: Timestamp) {
        self.is_proven.store(true, Ordering::Relaxed);
        self.answered_at.store(now.micros(), Ordering::Relaxed);
    }

    pub fn note(&self, error: &str) {
        let error = error.chars().take(MAX_ERROR_CHARS).collect();
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn is_proven(&self) -> bool {
        self.is_proven.load(Ordering::Relaxed)
    }

    pub fn answered_at(&self) -> Timestamp {
        Timestamp::from_micros(self.answered_at.load(Ordering::Relaxed))
    }
}

pub const fn of_circuit(state: CircuitState) -> Readiness {
    match state {
        CircuitState::Closed => Readiness::Ready,
        CircuitState::Open { until } => Readiness::Not { why: "circuit_open", until: Some(until) },
        CircuitState::HalfOpen { is_taken: false } => Readiness::Probe,
        CircuitState::HalfOpen { is_taken: true } => Readiness::Not { why: "circuit_open", until: None },
    }
}
