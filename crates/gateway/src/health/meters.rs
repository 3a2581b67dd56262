//! Health as metrics. States are read from the table when a scrape asks for them, so that what is gone leaves no series behind;
//! labels are names of the configuration and closed sets.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use tallygate_types::{Clock, Timestamp};

use super::circuit::CircuitState;
use super::course::{Door, State};
use super::slot::Seen;
use super::table::Table;

/// Credentials and upstreams that are shown, at most, of each.
const MAX_SHOWN: usize = 500;
const CREDENTIAL_STATES: [&str; 6] = ["active", "failing", "cooling", "exhausted", "auth_failed", "probing"];
const CIRCUIT_STATES: [&str; 3] = ["closed", "open", "half_open"];

/// What is counted when it happens.
#[derive(Clone)]
pub struct Meters {
    credentials: IntCounterVec,
    circuits: IntCounterVec,
}

impl Meters {
    pub fn new(registry: &Registry) -> Self {
        let counters = |name: &str, help: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &["upstream", "to"]).expect("the name and labels are valid");
            // A second plane over one registry, as in tests, counts beside it.
            let _ = registry.register(Box::new(counters.clone()));
            counters
        };
        Self {
            credentials: counters("credential_transitions_total", "Changes of a credential's state"),
            circuits: counters("circuit_transitions_total", "Circuits of upstreams that opened or closed"),
        }
    }

    pub fn credential_turned(&self, upstream: &str, to: &str) {
        self.credentials.with_label_values(&[upstream, to]).inc();
    }

    pub fn circuit_turned(&self, upstream: &str, to: &str) {
        self.circuits.with_label_values(&[upstream, to]).inc();
    }

    pub fn forget(&self, upstream: &str) {
        for state in State::ALL {
            let _ = self.credentials.remove_label_values(&[upstream, state.as_str()]);
        }
        for state in CIRCUIT_STATES {
            let _ = self.circuits.remove_label_values(&[upstream, state]);
        }
    }
}

/// Reads the states when they are asked for.
pub struct States {
    table: Arc<Table>,
    clock: Arc<dyn Clock>,
    shown: Shown,
}

struct Shown {
    credentials: IntGaugeVec,
    circuits: IntGaugeVec,
    budgets: IntGaugeVec,
    in_flight: IntGaugeVec,
}

impl Shown {
    fn new() -> Self {
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help), labels).expect("the name and labels are valid")
        };
        Self {
            credentials: gauges(
                "credential_state",
                "1 for the state a credential is in, 0 for the others",
                &["upstream", "credential", "state"],
            ),
            circuits: gauges(
                "circuit_state",
                "1 for the state an upstream's circuit is in, 0 for the others",
                &["upstream", "state"],
            ),
            budgets: gauges("retry_budget_left", "Calls beyond the first that an upstream may still be asked for", &["upstream"]),
            in_flight: gauges("upstream_in_flight", "Calls under way", &["upstream"]),
        }
    }

    fn families(&self) -> [&IntGaugeVec; 4] {
        [&self.credentials, &self.circuits, &self.budgets, &self.in_flight]
    }
}

impl States {
    pub fn new(table: Arc<Table>, clock: Arc<dyn Clock>) -> Self {
        Self { table, clock, shown: Shown::new() }
    }

    fn fill(&self, shown: &Shown, now: Timestamp) {
        for credential in self.table.credentials().iter().take(MAX_SHOWN) {
            let names = credential.names.load();
            let current = state_of(credential.slot.see(now));
            for state in CREDENTIAL_STATES {
                let labels = [names.upstream.as_str(), names.credential.as_str(), state];
                shown.credentials.with_label_values(&labels).set(i64::from(state == current));
            }
        }
        for upstream in self.table.upstreams().iter().take(MAX_SHOWN) {
            let name = upstream.name.load();
            let current = match upstream.circuit.state(now) {
                CircuitState::Closed => "closed",
                CircuitState::Open { .. } => "open",
                CircuitState::HalfOpen { .. } => "half_open",
            };
            for state in CIRCUIT_STATES {
                shown.circuits.with_label_values(&[name.as_str(), state]).set(i64::from(state == current));
            }
            shown.budgets.with_label_values(&[name.as_str()]).set(i64::from(upstream.retries.left(now)));
            shown.in_flight.with_label_values(&[name.as_str()]).set(i64::from(upstream.in_flight.load(Ordering::Relaxed)));
        }
    }
}

impl Collector for States {
    fn desc(&self) -> Vec<&Desc> {
        self.shown.families().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let shown = Shown::new();
        self.fill(&shown, self.clock.now());
        shown.families().into_iter().flat_map(Collector::collect).collect()
    }
}

fn state_of(seen: Seen) -> &'static str {
    match seen.door {
        Door::Probing => "probing",
        _ => seen.state.as_str(),
    }
}
