//! One pooled client for each way out (proxies, exceptions and connect timeout), shared by all upstreams that use it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper_rustls::HttpsConnectorBuilder;
use rustls::ClientConfig;
use tallygate_store::{CredentialEntry, UpstreamEntry};
use tallygate_types::NoProxy;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::client::{Client, Keeping};
use super::dial::Dial;
use super::proxy::{Proxy, ProxyError, ProxyStanding};
use crate::config::{GatewayConfig, Outbound};
use crate::metrics::ProxyMetrics;

/// Ways out that are kept. Beyond it the oldest goes, with its idle connections; a configuration has a handful.
const MAX_WAYS: usize = 256;

/// Tells the pools of a process apart.
static POOLS: AtomicU64 = AtomicU64::new(0);

/// See the module.
pub struct Pool {
    /// The oldest first. Looked through for each request, without a lock.
    clients: ArcSwap<Vec<Arc<(Way, Client)>>>,
    /// By URL: what one way learned of a proxy the others know.
    proxies: Mutex<HashMap<String, Arc<Proxy>>>,
    outbound: Outbound,
    tls: ClientConfig,
    metrics: ProxyMetrics,
    keeping: Keeping,
    pub id: u64,
}

struct Way {
    /// Tried in turn; empty: straight.
    proxies: Vec<String>,
    /// What the upstream excepts; where the proxies are the installation's, its exceptions are added.
    no_proxy: Vec<String>,
    is_default: bool,
    connect_timeout: Duration,
}

impl Pool {
    pub fn new(config: &GatewayConfig, metrics: ProxyMetrics) -> Self {
        let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let (_, unreadable) = roots.add_parsable_certificates(config.outbound.authorities.iter().cloned());
        if unreadable > 0 {
            tracing::error!(unreadable, "certificates of outbound.ca_file cannot be used");
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            clients: ArcSwap::default(),
            proxies: Mutex::default(),
            outbound: config.outbound.clone(),
            tls,
            metrics,
            keeping: Keeping { idle_per_host: config.pool_idle_per_host, idle_timeout: config.pool_idle_timeout },
            id: POOLS.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The client for an upstream: through the credential's proxies, else the upstream's, else the installation's. Proxies that
    /// cannot be used are an error: there is no falling back to a straight way.
    pub fn client(
        &self,
        upstream: &UpstreamEntry,
        credential: Option<&CredentialEntry>,
        connect_timeout: Duration,
    ) -> Result<Client, ProxyError> {
        let of_credential = credential.map(|credential| credential.proxy.urls()).unwrap_or_default();
        let own = if of_credential.is_empty() { upstream.proxy.urls() } else { of_credential };
        let is_default = own.is_empty();
        let proxies = if is_default { self.outbound.proxies.as_slice() } else { own };
        let no_proxy = upstream.no_proxy.as_slice();
        let clients = self.clients.load();
        let is_way = |way: &Way| {
            way.connect_timeout == connect_timeout
                && way.is_default == is_default
                && way.proxies == proxies
                && way.no_proxy == no_proxy
        };
        if let Some(known) = clients.iter().find(|known| is_way(&known.0)) {
            return Ok(known.1.clone());
        }
        let way = Way { proxies: proxies.to_vec(), no_proxy: no_proxy.to_vec(), is_default, connect_timeout };
        let client = self.build(&way)?;
        let made = Arc::new((way, client.clone()));
        self.clients.rcu(|clients| {
            let too_many = clients.len().saturating_sub(MAX_WAYS - 1);
            clients.iter().skip(too_many).chain([&made]).map(Arc::clone).collect::<Vec<_>>()
        });
        Ok(client)
    }

    /// How each proxy that was used does, by name.
    pub fn proxy_standings(&self) -> Vec<ProxyStanding> {
        let now = Instant::now();
        let proxies = self.proxies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut standings: Vec<_> = proxies.values().map(|proxy| proxy.standing(now)).collect();
        standings.sort_by(|one, other| one.proxy.cmp(&other.proxy));
        standings
    }

    fn build(&self, way: &Way) -> Result<Client, ProxyError> {
        let proxies = way.proxies.iter().map(|url| self.proxy(url)).collect::<Result<Vec<_>, _>>()?;
        let excepted = if way.is_default { self.outbound.no_proxy.as_slice() } else { &[] };
        let no_proxy = NoProxy::parse(way.no_proxy.iter().chain(excepted))?;
        let tls = TlsConnector::from(Arc::new(self.tls.clone()));
        let dial = Dial::new(proxies, no_proxy, way.connect_timeout, tls, self.metrics.clone());
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(self.tls.clone())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(dial);
        Ok(Client::new(connector, self.keeping))
    }

    fn proxy(&self, url: &str) -> Result<Arc<Proxy>, ProxyError> {
        let mut proxies = self.proxies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = proxies.get(url) {
            return Ok(Arc::clone(known));
        }
        // Those that no way leads through any more.
        proxies.retain(|_, proxy| Arc::strong_count(proxy) > 1);
        let proxy = Arc::new(Proxy::parse(url)?);
        proxies.insert(url.to_owned(), Arc::clone(&proxy));
        Ok(proxy)
    }
}
