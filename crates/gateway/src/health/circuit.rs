//! The circuit breaker of an upstream: after failures in a row, or a share of failures, it is left alone for a growing while,
//! then tried by one call.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use tallygate_types::Timestamp;

use super::bounds::{HealthBounds, grown};
use super::window::Window;

/// What the gate says while the circuit is closed.
const CLOSED: i64 = 0;

/// See the module. Reading it and a success while it is closed take no lock.
#[derive(Debug)]
pub struct Circuit {
    /// When it may be tried, in microseconds since the epoch, or [`CLOSED`].
    gate: AtomicI64,
    /// Failures in a row.
    failures: AtomicU32,
    window: Window,
    open: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    /// How often in a row it has opened.
    times: u32,
    /// The probe that is out.
    probe: Option<u32>,
    probes: u32,
}

/// A call that was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    probe: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    Closed,
    Open {
        until: Timestamp,
    },
    /// One call may try; `is_taken`: it is under way.
    HalfOpen {
        is_taken: bool,
    },
}

/// What an outcome did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    Opened { until: Timestamp, failures: u32 },
    Closed,
}

impl Default for Circuit {
    fn default() -> Self {
        Self { gate: AtomicI64::new(CLOSED), failures: AtomicU32::new(0), window: Window::default(), open: Mutex::default() }
    }
}

impl Circuit {
    /// One load while it is closed.
    pub fn state(&self, now: Timestamp) -> CircuitState {
        match self.gate.load(Ordering::Acquire) {
            CLOSED => CircuitState::Closed,
            until if now.micros() < until => CircuitState::Open { until: Timestamp::from_micros(until) },
            _ => CircuitState::HalfOpen { is_taken: self.lock().probe.is_some() },
        }
    }

    pub fn failures(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }

    pub fn admit(&self, now: Timestamp) -> Result<Pass, CircuitState> {
        match self.state(now) {
            CircuitState::Closed => Ok(Pass { probe: None }),
            open @ CircuitState::Open { .. } => Err(open),
            CircuitState::HalfOpen { .. } => {
                let mut open = self.lock();
                if open.probe.is_some() {
                    return Err(CircuitState::HalfOpen { is_taken: true });
                }
                open.probes = open.probes.wrapping_add(1);
                open.probe = Some(open.probes);
                Ok(Pass { probe: open.probe })
            }
        }
    }

    /// The upstream answered as upstreams do: with an answer, or a refusal that is no failure of its own.
    pub fn succeeded(&self, pass: Pass, now: Timestamp) -> Option<Turned> {
        self.window.record(false, now);
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.gate.load(Ordering::Acquire) == CLOSED {
            return None;
        }
        let mut open = self.lock();
        // What was asked before it opened tells nothing of now.
        if pass.probe.is_none() || open.probe != pass.probe {
            return None;
        }
        (open.probe, open.times) = (None, 0);
        self.window.clear();
        self.gate.store(CLOSED, Ordering::Release);
        Some(Turned::Closed)
    }

    pub fn failed(&self, pass: Pass, is_proven: bool, now: Timestamp, bounds: &HealthBounds) -> Option<Turned> {
        self.window.record(true, now);
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let mut open = self.lock();
        let is_closed = self.gate.load(Ordering::Acquire) == CLOSED;
        let is_probe = pass.probe.is_some() && open.probe == pass.probe;
        if !is_probe && !(is_closed && self.is_enough(failures, is_proven, now, bounds)) {
            return None;
        }
        let until = now.saturating_add(grown(bounds.open, open.times, bounds.max_open));
        open.times = open.times.saturating_add(1);
        open.probe = None;
        self.gate.store(until.micros().max(CLOSED + 1), Ordering::Release);
        Some(Turned::Opened { until, failures })
    }

    /// The call ended without a verdict.
    pub fn abandoned(&self, pass: Pass) {
        if pass.probe.is_some() {
            let mut open = self.lock();
            if open.probe == pass.probe {
                open.probe = None;
            }
        }
    }

    /// A person says that it is well again. True if it was open.
    pub fn reset(&self) -> bool {
        let mut open = self.lock();
        (open.probe, open.times) = (None, 0);
        self.failures.store(0, Ordering::Relaxed);
        self.window.clear();
        self.gate.swap(CLOSED, Ordering::AcqRel) != CLOSED
    }

    fn is_enough(&self, failures: u32, is_proven: bool, now: Timestamp, bounds: &HealthBounds) -> bool {
        let in_a_row = if is_proven { bounds.failures_to_open } else { bounds.unproven_failures_to_open };
        if failures >= in_a_row {
            return true;
        }
        let (calls, failed) = self.window.counts(now);
        calls >= u64::from(bounds.window_min_calls) && failed * 100 >= calls * u64::from(bounds.failure_percent_to_open)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Opened> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
