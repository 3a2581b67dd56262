//! Opening connections to upstreams: straight, or through the first of a list of proxies that gets through.
//!
//! Where proxies are configured nothing is ever opened around them: what `no_proxy` does not list fails if they all do.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::TokioIo;
use tallygate_types::NoProxy;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tower::Service;

use super::proxy::Proxy;
use super::through::Through;
use crate::metrics::ProxyMetrics;

const KEEPALIVE: Duration = Duration::from_mins(1);
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;
/// Names under which clouds hand out instance credentials; a proxy would look them up where they lead there.
const METADATA_NAMES: [&str; 2] = ["metadata.google.internal", "instance-data.ec2.internal"];

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;
/// To the upstream, or to a proxy that is spoken to inside TLS.
pub type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A connection could not be opened because of where it would lead.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("{0} is a link-local or cloud metadata address, which no upstream may have")]
    Forbidden(IpAddr),
    #[error("{0} is a cloud metadata service, which no upstream may be")]
    ForbiddenName(String),
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
    #[error("the upstream's address names no host")]
    NoHost,
    /// Names the proxies, never their passwords.
    #[error("no way through the outbound proxy: {0}")]
    Proxy(String),
}

impl DialError {
    /// The proxies' failure behind an error of the HTTP client, if it was one.
    pub fn of_proxy<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            match error.downcast_ref::<Self>() {
                Some(found @ Self::Proxy(_)) => return Some(found),
                _ => cause = error.source(),
            }
        }
        None
    }
}

/// One way to open connections, with its time limit. Cheap to clone.
#[derive(Clone)]
pub struct Dial {
    tcp: HttpConnector<Resolver>,
    way: Arc<Way>,
}

struct Way {
    /// Tried in turn; empty: straight.
    proxies: Vec<Arc<Proxy>>,
    no_proxy: NoProxy,
    tls: TlsConnector,
    metrics: ProxyMetrics,
    timeout: Duration,
}

impl Dial {
    /// `tls` is for proxies that are spoken to inside TLS.
    pub fn new(proxies: Vec<Arc<Proxy>>, no_proxy: NoProxy, timeout: Duration, tls: TlsConnector, metrics: ProxyMetrics) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver { names: GaiResolver::new() });
        tcp.enforce_http(false);
        // Without it a small request waits for the acknowledgement of the one before: 40 ms.
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_connect_timeout(Some(timeout));
        Self { tcp, way: Arc::new(Way { proxies, no_proxy, tls, metrics, timeout }) }
    }
}

impl Service<Uri> for Dial {
    type Response = Stream;
    type Error = BoxError;
    type Future = Boxed<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        // Names are checked as they are resolved; a literal never meets the resolver.
        if let Some(address) = literal(&target).filter(|address| is_metadata(*address)) {
            return Box::pin(std::future::ready(Err(DialError::Forbidden(address).into())));
        }
        let mut tcp = self.tcp.clone();
        let way = Arc::clone(&self.way);
        Box::pin(async move {
            let deadline = Instant::now() + way.timeout;
            if way.proxies.is_empty() {
                return straight(&mut tcp, target, deadline, way.timeout).await;
            }
            let host = target.host().ok_or(DialError::NoHost)?;
            let is_tls = target.scheme_str() == Some("https");
            let port = target.port_u16().unwrap_or(if is_tls { HTTPS_PORT } else { HTTP_PORT });
            if way.no_proxy.matches(host, port) {
                return straight(&mut tcp, target.clone(), deadline, way.timeout).await;
            }
            if METADATA_NAMES.contains(&host.trim_end_matches('.').to_ascii_lowercase().as_str()) {
                return Err(DialError::ForbiddenName(host.to_owned()).into());
            }
            let through = Through { proxies: &way.proxies, tls: &way.tls, metrics: &way.metrics, tcp: &tcp, host, port };
            through.open(deadline).await.map_err(|failures| DialError::Proxy(failures).into())
        })
    }
}

async fn straight(
    tcp: &mut HttpConnector<Resolver>,
    target: Uri,
    deadline: Instant,
    limit: Duration,
) -> Result<Stream, BoxError> {
    let stream = timeout_at(deadline, tcp.call(target)).await.map_err(|_| DialError::TimedOut(limit))??;
    Ok(MaybeHttpsStream::Http(stream))
}

/// An error with its causes: the outermost alone says little.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The system's resolver, without the addresses that no upstream may have.
#[derive(Debug, Clone)]
pub struct Resolver {
    names: GaiResolver,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Boxed<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.names.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolving = self.names.call(name);
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = resolving.await?.collect();
            match addresses.iter().find(|address| is_metadata(address.ip())) {
                Some(address) => Err(DialError::Forbidden(address.ip()).into()),
                None => Ok(addresses.into_iter()),
            }
        })
    }
}

fn literal(target: &Uri) -> Option<IpAddr> {
    target.host()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Where instance credentials are handed out. An operator's upstream may be private, but never this.
pub fn is_metadata(address: IpAddr) -> bool {
    /// Alibaba Cloud's metadata service.
    const ALIBABA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
    /// Azure's host agent.
    const AZURE: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);
    /// Amazon's metadata service over IPv6.
    const AMAZON: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254);
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4 == ALIBABA || v4 == AZURE,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6 == AMAZON,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_addresses_are_out_of_reach_and_private_ones_are_not() {
        for address in
            ["169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254", "fe80::1", "::ffff:169.254.169.254"]
        {
            assert!(is_metadata(address.parse().unwrap()), "{address}");
        }
        for address in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fd12::1", "8.8.8.8"] {
            assert!(!is_metadata(address.parse().unwrap()), "{address}");
        }
        assert_eq!(literal(&"http://[::ffff:169.254.169.254]:80/x".parse().unwrap()), "::ffff:169.254.169.254".parse().ok());
    }
}
