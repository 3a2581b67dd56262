//! What testing an upstream asks of the program: the control plane has no connection to providers of its own.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use secrecy::SecretString;
use tallygate_store::ProxyPool;
use tallygate_types::Dialect;

pub use crate::resources::upstream_test::TestStepName as ProbeStepName;

/// Tests the way to an upstream, layer by layer.
pub trait UpstreamProbe: Send + Sync + 'static {
    /// Goes through the layers in the order of [`ProbeStepName`] and stops at the first that fails. Must end by itself: a
    /// probe has timeouts.
    fn probe<'a>(&'a self, request: ProbeRequest) -> Pin<Box<dyn Future<Output = Vec<ProbeStep>> + Send + 'a>>;
}

/// What to test.
#[derive(Debug, Clone)]
pub struct ProbeRequest {
    pub dialect: Dialect,
    pub base_url: String,
    /// The credential's outbound proxies, or else the upstream's.
    pub proxy: ProxyPool,
    /// What the upstream excepts from it.
    pub no_proxy: Vec<String>,
    pub secret: Option<SecretString>,
    /// The model's name at the upstream; without one, the test ends after authentication.
    pub model: Option<String>,
    pub stream: bool,
}

/// What one layer showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeStep {
    pub name: ProbeStepName,
    pub ok: bool,
    pub duration: Duration,
    /// What was seen; never a secret.
    pub detail: String,
    /// What to do about a failure.
    pub fix: Option<String>,
}
