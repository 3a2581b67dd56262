//! What every handler shares.

use std::sync::Arc;

use http::StatusCode;
use tallygate_store::Store;
use tallygate_types::Timestamp;

use crate::auth::{AccessTokens, Passwords};
use crate::live::LivePlane;
use crate::probe::UpstreamProbe;
use crate::problem::Problem;

/// What signs access tokens is made of this text under the installation's pepper. The space keeps it apart from every key
/// that could be declared.
const SESSION_KEY_LABEL: &str = "tallygate admin session signing key, version 1";

/// How the control plane presents itself.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// Where browsers reach the dashboard: `https://gate.example.com` or `http://127.0.0.1:8081`, without a path.
    pub public_origin: String,
    /// Where tenants send requests, for people to copy.
    pub api_url: Option<String>,
    /// Whether this is `tallygate demo`.
    pub demo: bool,
}

/// The control plane's state. Make it once; [`router`](crate::router) takes it.
pub struct AdminState {
    pub(crate) store: Arc<Store>,
    pub(crate) probe: Arc<dyn UpstreamProbe>,
    /// The data plane of this process, if there is one.
    pub(crate) live: Option<Arc<dyn LivePlane>>,
    pub(crate) config: AdminConfig,
    pub(crate) passwords: Passwords,
    pub(crate) access_tokens: AccessTokens,
    pub(crate) started_at: Timestamp,
}

/// The control plane could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("`{0}` is not an origin; write for example `https://gate.example.com`, without a path")]
    Origin(String),
}

impl AdminState {
    pub fn new(
        store: Arc<Store>,
        live: Option<Arc<dyn LivePlane>>,
        probe: Arc<dyn UpstreamProbe>,
        mut config: AdminConfig,
    ) -> Result<Arc<Self>, AdminError> {
        let origin = url::Url::parse(&config.public_origin)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.path() == "/" && url.query().is_none())
            .ok_or_else(|| AdminError::Origin(config.public_origin.clone()))?;
        config.public_origin = origin.origin().ascii_serialization();
        let passwords = Passwords::new();
        let access_tokens = AccessTokens::new(store.digest_key(SESSION_KEY_LABEL).as_bytes());
        let started_at = store.clock().now();
        Ok(Arc::new(Self { store, probe, live, config, passwords, access_tokens, started_at }))
    }

    /// The data plane beside this control plane.
    pub(crate) fn live(&self) -> Result<&dyn LivePlane, Problem> {
        self.live.as_deref().ok_or_else(|| {
            let detail = "No data plane runs in this process; ask one that serves.";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_data_plane", detail)
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.store.clock().now()
    }
}

impl std::fmt::Debug for AdminState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminState").field("config", &self.config).finish_non_exhaustive()
    }
}
