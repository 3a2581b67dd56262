//! What the limits cost that are shared with other processes, and whether they are.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::{counter, counters, register};
use crate::limits::OnFailure;

/// Seconds. An answer is waited for no longer.
const BUCKETS: [f64; 11] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2];
const SHARED: &str = "shared";

/// See the module.
#[derive(Clone)]
pub struct SharedLimitMetrics {
    mode: IntGaugeVec,
    asked: Histogram,
    failures: IntCounterVec,
    processes: IntGauge,
    pub lost: IntCounter,
}

impl SharedLimitMetrics {
    /// Registers them: they are there only where limits are shared.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let mode = Opts::new(
            "shared_limits_mode",
            "1 for what decides now: `shared` counts, or while these cannot be trusted what holds instead (`share`, `open`, `closed`)",
        );
        let asked =
            HistogramOpts::new("shared_limits_ask_seconds", "Questions about shared limits, as far as they were answered");
        let all = Self {
            mode: register(registry, IntGaugeVec::new(mode, &["mode"])?)?,
            asked: register(registry, Histogram::with_opts(asked.buckets(BUCKETS.to_vec()))?)?,
            failures: counters(
                registry,
                "shared_limits_failures_total",
                "Questions about shared limits that were not answered, or not in time",
                &["reason"],
            )?,
            processes: register(
                registry,
                IntGauge::new("shared_limits_processes", "Processes that share their limits, as far as this one knows")?,
            )?,
            lost: counter(
                registry,
                "shared_limits_corrections_lost_total",
                "Places given back and estimates corrected that the store of the shared limits was not told",
            )?,
        };
        for reason in ["late", "error", "closed"] {
            all.failures.with_label_values(&[reason]);
        }
        Ok(all)
    }

    /// What decides (`None`: the shared counts), and how many processes there are.
    pub fn stands(&self, instead: Option<OnFailure>, processes: u32) {
        self.processes.set(i64::from(processes));
        let now = instead.map_or(SHARED, OnFailure::as_str);
        for mode in OnFailure::ALL.map(OnFailure::as_str).into_iter().chain([SHARED]) {
            self.mode.with_label_values(&[mode]).set(i64::from(mode == now));
        }
    }

    pub fn asked(&self, took: Duration) {
        self.asked.observe(took.as_secs_f64());
    }

    pub fn failed(&self, reason: &str) {
        self.failures.with_label_values(&[reason]).inc();
    }
}
