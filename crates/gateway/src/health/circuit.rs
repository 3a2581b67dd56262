//! The circuit breaker of an upstream: after failures in a row, or a share of failures, it is left alone for a growing while,
//! then tried by one call.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tallygate_types::Timestamp;

use super::bounds::{HealthBounds, grown};
use super::window::Window;

/// What the gate says while the circuit is closed.
const CLOSED: i64 = 0;
const NOBODY: u64 = 0;

/// See the module. Reading it and a success while it is closed take no lock.
#[derive(Debug)]
pub struct Circuit {
    /// When it may be tried, in microseconds since the epoch, or [`CLOSED`].
    gate: AtomicI64,
    /// Failures in a row.
    failures: AtomicU32,
    /// Whose failure was the last in that row; 0 is nobody's.
    culprit: AtomicU64,
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
        Self {
            gate: AtomicI64::new(CLOSED),
            failures: AtomicU32::new(0),
            culprit: AtomicU64::new(0),
            window: Window::default(),
            open: Mutex::default(),
        }
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
            self.culprit.store(NOBODY, Ordering::Relaxed);
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

    /// As [`Self::failed`], for one of several credentials: what fails again and again with the same one alone is that one's.
    pub fn failed_with(
        &self,
        culprit: u64,
        pass: Pass,
        is_proven: bool,
        now: Timestamp,
        bounds: &HealthBounds,
    ) -> Option<Turned> {
        let is_again = self.culprit.swap(culprit, Ordering::Relaxed) == culprit;
        if is_again && pass.probe.is_none() {
            return None;
        }
        self.failed(pass, is_proven, now, bounds)
    }

    pub fn failed(&self, pass: Pass, is_proven: bool, now: Timestamp, bounds: &HealthBounds) -> Option<Turned> {
        self.window.record(true, now);
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let mut open = self.lock();
        let is_closed = self.gate.load(Ordering::Acquire) == CLOSED;
        let is_probe = pass.probe.is_some() && open.probe == pass.probe;
        let opens = is_probe || (is_closed && self.is_enough(failures, is_proven, now, bounds));
        if !opens {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn at(seconds: u64) -> Timestamp {
        START.saturating_add(Duration::from_secs(seconds))
    }

    fn bounds() -> HealthBounds {
        HealthBounds { open: Duration::from_secs(10), max_open: Duration::from_secs(40), ..HealthBounds::default() }
    }

    fn fail(circuit: &Circuit, now: Timestamp) -> Option<Turned> {
        let pass = circuit.admit(now).expect("it is let through");
        circuit.failed(pass, true, now, &bounds())
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let circuit = Circuit::default();
        (0..4).for_each(|_| assert_eq!(fail(&circuit, START), None));
        assert_eq!(circuit.succeeded(circuit.admit(START).unwrap(), START), None);
        (0..4).for_each(|_| assert_eq!(fail(&circuit, START), None));
        assert_eq!(fail(&circuit, START), Some(Turned::Opened { until: at(10), failures: 5 }));
        assert_eq!(circuit.admit(at(9)), Err(CircuitState::Open { until: at(10) }));
    }

    #[test]
    fn one_credential_of_several_never_opens_it_alone() {
        let circuit = Circuit::default();
        let fail = |who| circuit.failed_with(who, circuit.admit(START).unwrap(), true, START, &bounds());
        assert!((0..50).all(|_| fail(7).is_none()));
        let opened: Vec<_> = (0..4).map(|call| fail(8 + call % 2).is_some()).collect();
        assert_eq!(opened, [false, false, false, true], "but several do");
    }

    #[test]
    fn what_never_worked_opens_sooner() {
        let circuit = Circuit::default();
        let fail = || circuit.failed(circuit.admit(START).unwrap(), false, START, &bounds());
        assert_eq!([fail().is_some(), fail().is_some(), fail().is_some()], [false, false, true]);
    }

    #[test]
    fn half_of_twenty_calls_failing_within_ten_seconds_opens_it() {
        let circuit = Circuit::default();
        let mut opened_after = None;
        for call in 0..40 {
            let pass = circuit.admit(at(call / 4)).unwrap();
            if call % 2 == 0 {
                circuit.succeeded(pass, at(call / 4));
            } else if circuit.failed(pass, true, at(call / 4), &bounds()).is_some() {
                opened_after = Some(call + 1);
                break;
            }
        }
        assert_eq!(opened_after, Some(20));
    }

    #[test]
    fn one_probe_decides_and_the_wait_grows_to_its_cap() {
        let circuit = Circuit::default();
        (0..5).for_each(|_| {
            fail(&circuit, START);
        });
        let mut now = START;
        for wait in [10, 20, 40, 40] {
            now = now.saturating_add(Duration::from_secs(wait));
            assert_eq!(circuit.state(now), CircuitState::HalfOpen { is_taken: false });
            let pass = circuit.admit(now).unwrap();
            assert_eq!(circuit.admit(now), Err(CircuitState::HalfOpen { is_taken: true }));
            assert!(matches!(circuit.failed(pass, true, now, &bounds()), Some(Turned::Opened { .. })));
        }
        now = now.saturating_add(Duration::from_secs(40));
        let lost = circuit.admit(now).unwrap();
        circuit.abandoned(lost);
        let pass = circuit.admit(now).unwrap();
        circuit.abandoned(lost);
        assert!(circuit.admit(now).is_err(), "the lost one frees nothing twice");
        assert_eq!(circuit.succeeded(pass, now), Some(Turned::Closed));
        assert_eq!(circuit.state(now), CircuitState::Closed);
        (0..4).for_each(|_| assert_eq!(fail(&circuit, now), None));
        assert_eq!(
            fail(&circuit, now),
            Some(Turned::Opened { until: now.saturating_add(Duration::from_secs(10)), failures: 5 }),
            "a recovery ends the growth"
        );
    }

    #[test]
    fn answers_to_calls_from_before_it_opened_neither_close_nor_prolong_it() {
        let circuit = Circuit::default();
        let early = circuit.admit(START).unwrap();
        (0..5).for_each(|_| {
            fail(&circuit, START);
        });
        assert_eq!(circuit.succeeded(early, at(1)), None);
        assert_eq!(circuit.failed(early, true, at(2), &bounds()), None);
        assert_eq!(circuit.state(at(3)), CircuitState::Open { until: at(10) });
        assert!(circuit.reset());
        assert_eq!(circuit.state(at(3)), CircuitState::Closed);
        assert!(!circuit.reset());
    }
}
