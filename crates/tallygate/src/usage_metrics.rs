//! Metrics of the meter itself: how much usage waits for the database, and what went wrong on the way there.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Gauge, IntCounter, IntGauge, IntGaugeVec, Opts, Registry};
use tallygate_billing::{Journal, Shipper};
use tallygate_types::{Clock as _, SystemClock};

/// Reads the shipper when it is scraped.
struct UsageMetrics {
    shipper: Arc<Shipper>,
    journal: Arc<Journal>,
    queue_depth: IntGauge,
    flush_lag: Gauge,
    journal_bytes: IntGauge,
    shipped: IntCounter,
    duplicates: IntCounter,
    conflicts: IntCounter,
    rejected: IntCounter,
}

/// Adds the meter's metrics and the build's to the registry, which puts `tallygate_` before every name.
pub fn register(registry: &Registry, shipper: Arc<Shipper>, journal: Arc<Journal>) -> prometheus::Result<()> {
    let build = IntGaugeVec::new(Opts::new("build_info", "1; the label tells the version"), &["version"])?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    registry.register(Box::new(build))?;
    registry.register(Box::new(UsageMetrics {
        shipper,
        journal,
        queue_depth: IntGauge::new("usage_queue_depth", "Usage records in the journal and not yet in the database")?,
        flush_lag: Gauge::new("usage_flush_lag_seconds", "Age of the oldest usage record that is not in the database")?,
        journal_bytes: IntGauge::new("journal_bytes", "Size of the usage journal on disk")?,
        shipped: IntCounter::new("usage_shipped_total", "Usage records copied to the database")?,
        duplicates: IntCounter::new("usage_duplicates_total", "Usage records the database had already")?,
        conflicts: IntCounter::new("usage_conflicts_total", "Usage records shipped again with other figures; must be 0")?,
        rejected: IntCounter::new("usage_rejected_total", "Usage records the database refused for good; must be 0")?,
    }))
}

impl UsageMetrics {
    fn parts(&self) -> [&dyn Collector; 7] {
        [
            &self.queue_depth,
            &self.flush_lag,
            &self.journal_bytes,
            &self.shipped,
            &self.duplicates,
            &self.conflicts,
            &self.rejected,
        ]
    }
}

impl Collector for UsageMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.parts().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let now = self.shipper.metrics();
        self.queue_depth.set(i64::try_from(now.depth).unwrap_or(i64::MAX));
        let lag = now.oldest_unshipped_at.map_or(0.0, |oldest| SystemClock.now().since(oldest).as_secs_f64());
        self.flush_lag.set(lag);
        self.journal_bytes.set(i64::try_from(self.journal.bytes()).unwrap_or(i64::MAX));
        for (counter, total) in [
            (&self.shipped, now.shipped_total),
            (&self.duplicates, now.duplicates_total),
            (&self.conflicts, now.conflicts_total),
            (&self.rejected, now.rejected_total),
        ] {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        self.parts().into_iter().flat_map(Collector::collect).collect()
    }
}
