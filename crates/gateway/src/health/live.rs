//! How upstreams and credentials stand, for people to see, and a person's word that one is well again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tallygate_store::{CredentialEntry, Snapshot, UpstreamEntry};
use tallygate_types::live::{Circuit, CredentialStanding, CredentialState, UpstreamStanding};
use tallygate_types::{CredentialId, Timestamp};

use super::Health;
use super::circuit::CircuitState;
use super::course::State;
use super::slot::Slot;

impl Health {
    /// Every credential of the configuration, by upstream and name.
    pub fn credentials(&self, snapshot: &Snapshot, now: Timestamp) -> Vec<CredentialStanding> {
        let mut standings: Vec<_> = snapshot
            .upstreams
            .values()
            .flat_map(|upstream| upstream.credentials.iter().map(move |credential| (upstream, credential)))
            .collect();
        standings.sort_by(|(a, one), (b, other)| (&a.name, &one.name).cmp(&(&b.name, &other.name)));
        standings.into_iter().map(|(upstream, credential)| self.credential_standing(upstream, credential, now)).collect()
    }

    /// Every upstream of the configuration, by name.
    pub fn upstreams(&self, snapshot: &Snapshot, now: Timestamp) -> Vec<UpstreamStanding> {
        let mut upstreams: Vec<_> = snapshot.upstreams.values().collect();
        upstreams.sort_by(|a, b| a.name.cmp(&b.name));
        upstreams.into_iter().map(|upstream| self.upstream_standing(upstream, now)).collect()
    }

    /// Forgets what is held against a credential, and its upstream's open circuit. False if it is not configured.
    pub fn reactivate(&self, snapshot: &Snapshot, id: CredentialId, now: Timestamp) -> bool {
        let mut upstreams = snapshot.upstreams.values();
        let found = upstreams.find_map(|upstream| Some((upstream, upstream.credentials.iter().find(|known| known.id == id)?)));
        let Some((upstream, credential)) = found else { return false };
        let health = self.with_credential(upstream, credential, Arc::clone);
        let back = |model: &str, slot: &Slot| {
            if let Some(change) = slot.reactivated(now) {
                self.common.credential_changed(&health, model, change);
            }
        };
        back("", &health.slot);
        health.held_models().iter().for_each(|(model, slot)| back(model, slot));
        if health.upstream.circuit.reset() {
            self.common.circuit_closed(&health.upstream);
        }
        true
    }

    fn credential_standing(&self, upstream: &UpstreamEntry, entry: &CredentialEntry, now: Timestamp) -> CredentialStanding {
        self.with_credential(upstream, entry, |health| {
            let course = health.slot.course();
            let last = health.last();
            let is_retired = entry.retires_at.is_some_and(|at| at <= now);
            let state = match course.state {
                _ if is_retired => CredentialState::Retired,
                State::Active => CredentialState::Active,
                State::Cooling | State::Failing => CredentialState::Cooling,
                State::Exhausted => CredentialState::Exhausted,
                State::AuthFailed => CredentialState::AuthFailed,
            };
            let is_held = course.state != State::Active && !is_retired;
            let models: Vec<_> = health.held_models().into_iter().map(|(model, _)| model).collect();
            let reason = match last.reason {
                _ if !is_held && !models.is_empty() => Some(format!("held for {}", models.join(", "))),
                Some(reason) if is_held || course.failures > 0 => Some(reason.to_owned()),
                _ => None,
            };
            CredentialStanding {
                credential: entry.id,
                upstream: upstream.id,
                name: entry.name.clone(),
                state,
                until: is_held.then_some(course.until),
                reason,
                in_flight: health.in_flight.load(Ordering::Relaxed),
                latency_ms: health.latency.get(now).map(millis),
                requests_left: health.told.requests.get(now).map(|(left, _)| left),
                tokens_left: health.told.tokens.get(now).map(|(left, _)| left),
                spent_today: health.taken.spent_today(now),
                failures: if is_held { course.run } else { course.failures },
                last_error: last.error,
            }
        })
    }

    fn upstream_standing(&self, upstream: &UpstreamEntry, now: Timestamp) -> UpstreamStanding {
        self.table.upstream(upstream, &self.common.bounds, |health| {
            let (circuit, until) = match health.circuit.state(now) {
                CircuitState::Closed => (Circuit::Closed, None),
                CircuitState::Open { until } => (Circuit::Open, Some(until)),
                CircuitState::HalfOpen { .. } => (Circuit::HalfOpen, None),
            };
            UpstreamStanding {
                upstream: upstream.id,
                name: upstream.name.to_string(),
                circuit,
                until,
                in_flight: health.in_flight.load(Ordering::Relaxed),
                latency_ms: health.latency.get(now).map(millis),
                retry_budget_left: u64::from(health.retries.left(now)),
                last_error: health.last_error(),
            }
        })
    }
}

fn millis(latency: Duration) -> u64 {
    u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)
}
