//! What befalls requests on their way, beside their own end.

use prometheus::{IntCounterVec, IntGauge, Registry};

use super::{counters, register};
use crate::in_flight::Interruption;

/// `shed_total` by these: want of memory, of places, of places of the tenant, of its fair share of the last ones.
const SHED_REASONS: [&str; 4] = ["memory", "in_flight", "tenant", "fair_share"];

pub struct ExchangeMetrics {
    interrupted: IntCounterVec,
    cut: IntCounterVec,
    retries: IntCounterVec,
    out_of_retries: IntCounterVec,
    hedges: IntCounterVec,
    shed: IntCounterVec,
    memory_used: IntGauge,
    memory_limit: IntGauge,
}

impl ExchangeMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let interrupted = counters(
            registry,
            "requests_interrupted_total",
            "Requests that were ended by an operator, by the end of the process or for want of memory",
            &["reason"],
        )?;
        for why in Interruption::ALL {
            interrupted.with_label_values(&[why.as_str()]);
        }
        let shed = counters(registry, "shed_total", "Requests turned away before their body was read", &["reason"])?;
        for reason in SHED_REASONS {
            shed.with_label_values(&[reason]);
        }
        Ok(Self {
            interrupted,
            cut: counters(
                registry,
                "streams_cut_total",
                "Streams that broke off after the client had received some of them",
                &["upstream", "reason"],
            )?,
            retries: counters(
                registry,
                "upstream_retries_total",
                "Calls of an upstream that had failed the request",
                &["upstream"],
            )?,
            out_of_retries: counters(
                registry,
                "retry_budget_exhausted_total",
                "Retries that were not made because the upstream's budget for them was spent",
                &["upstream"],
            )?,
            hedges: counters(
                registry,
                "hedges_total",
                "Second attempts beside a slow first: won, lost, failed, or not made for their share or their money",
                &["result"],
            )?,
            shed,
            memory_used: register(registry, IntGauge::new("memory_used_bytes", "Memory that load is shed by")?)?,
            memory_limit: register(registry, IntGauge::new("memory_limit_bytes", "Its limit; 0 where none is known")?)?,
        })
    }

    pub fn interrupted(&self, why: Interruption) {
        self.interrupted.with_label_values(&[why.as_str()]).inc();
    }

    pub fn retried(&self, upstream: &str) {
        self.retries.with_label_values(&[upstream]).inc();
    }

    pub fn out_of_retries(&self, upstream: &str) {
        self.out_of_retries.with_label_values(&[upstream]).inc();
    }

    pub fn hedged(&self, result: &str) {
        self.hedges.with_label_values(&[result]).inc();
    }

    pub fn shed(&self, reason: &str) {
        self.shed.with_label_values(&[reason]).inc();
    }

    pub fn memory(&self, used_bytes: u64, limit_bytes: u64) {
        self.memory_used.set(i64::try_from(used_bytes).unwrap_or(i64::MAX));
        self.memory_limit.set(i64::try_from(limit_bytes).unwrap_or(i64::MAX));
    }

    pub fn cut(&self, upstream: &str, reason: &str) {
        self.cut.with_label_values(&[upstream, reason]).inc();
    }
}
