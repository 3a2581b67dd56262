//! What outbound proxies do, by the URL without its login.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{counters, register};

/// Counted when a connection is opened; requests on open connections cost nothing here.
#[derive(Clone)]
pub struct ProxyMetrics {
    connections: IntCounterVec,
    usable: IntGaugeVec,
}

impl ProxyMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            connections: counters(
                registry,
                "outbound_proxy_connections_total",
                "Connections asked of outbound proxies, by what came of them",
                &["proxy", "outcome"],
            )?,
            usable: register(
                registry,
                IntGaugeVec::new(
                    Opts::new("outbound_proxy_up", "1 if the last connection stood, 0 while the proxy is passed over"),
                    &["proxy"],
                )?,
            )?,
        })
    }

    pub fn connected(&self, proxy: &str, outcome: &str) {
        self.connections.with_label_values(&[proxy, outcome]).inc();
    }

    pub fn usable(&self, proxy: &str, is_usable: bool) {
        self.usable.with_label_values(&[proxy]).set(i64::from(is_usable));
    }
}
