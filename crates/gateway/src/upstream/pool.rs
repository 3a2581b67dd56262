//! One pooled client for each way out (proxy and connect timeout), shared by all upstreams that use it.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::dial::{Dial, ProxyError};
use crate::config::GatewayConfig;

const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(10);

/// hyper-util's pooled client over HTTP/1.1, or HTTP/2 where TLS negotiates it.
pub type Client = legacy::Client<HttpsConnector<Dial>, Full<Bytes>>;

/// See the module. Configuration bounds the number of clients.
pub struct Pool {
    clients: RwLock<HashMap<Way, Client>>,
    idle_per_host: usize,
    idle_timeout: Duration,
}

type Way = (Option<String>, Duration);

impl Pool {
    pub fn new(config: &GatewayConfig) -> Self {
        Self { clients: RwLock::default(), idle_per_host: config.pool_idle_per_host, idle_timeout: config.pool_idle_timeout }
    }

    /// The client for a way out. A proxy that cannot be used is an error: there is no falling back to a straight way.
    pub fn client(&self, proxy: Option<&str>, connect_timeout: Duration) -> Result<Client, ProxyError> {
        let known = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = known.iter().find(|((p, t), _)| p.as_deref() == proxy && *t == connect_timeout) {
            return Ok(client.clone());
        }
        drop(known);
        let client = self.build(proxy, connect_timeout)?;
        let mut clients = self.clients.write().unwrap_or_else(PoisonError::into_inner);
        Ok(clients.entry((proxy.map(str::to_owned), connect_timeout)).or_insert(client).clone())
    }

    fn build(&self, proxy: Option<&str>, connect_timeout: Duration) -> Result<Client, ProxyError> {
        let dial = Dial::new(proxy, connect_timeout)?;
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::aws_lc_rs::default_provider())
            .expect("the provider supports the default protocol versions")
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(dial);
        Ok(legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(self.idle_timeout)
            .pool_max_idle_per_host(self.idle_per_host)
            // A connection that died unnoticed would take all its streams along.
            .http2_keep_alive_interval(HTTP2_PING_INTERVAL)
            .http2_keep_alive_timeout(HTTP2_PING_TIMEOUT)
            .http2_adaptive_window(true)
            .build(connector))
    }
}
