//! Opening connections to upstreams: straight, through an HTTP proxy (CONNECT) or through SOCKS5.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;
use url::Url;

const KEEPALIVE: Duration = Duration::from_mins(1);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Boxed<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// The outbound proxy of an upstream cannot be used. The upstream is not reached some other way instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error("the proxy address is not a URL; write it like `http://proxy.example:3128` or `socks5://127.0.0.1:1080`")]
    NotAUrl,
    #[error("proxies of the kind `{0}://` are not supported; use http:// or socks5:// (socks5h:// resolves names at the proxy)")]
    UnsupportedScheme(String),
    #[error("the proxy's user name or password holds a character that cannot be sent")]
    Userinfo,
}

/// A connection could not be opened because of where it would lead.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("{0} is a link-local or cloud metadata address, which no upstream may have")]
    Forbidden(IpAddr),
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
}

/// One way to open connections, with its time limit.
#[derive(Clone)]
pub struct Dial {
    way: Way,
    timeout: Duration,
}

#[derive(Clone)]
enum Way {
    Straight(HttpConnector<Resolver>),
    Tunnel(Tunnel<HttpConnector<Resolver>>),
    Socks(SocksV5<HttpConnector<Resolver>>),
}

impl Dial {
    pub fn new(proxy: Option<&str>, timeout: Duration) -> Result<Self, ProxyError> {
        let mut tcp = HttpConnector::new_with_resolver(Resolver { names: GaiResolver::new() });
        tcp.enforce_http(false);
        // Without it a small request waits for the acknowledgement of the one before: 40 ms.
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_connect_timeout(Some(timeout));
        let way = match proxy {
            None => Way::Straight(tcp),
            Some(proxy) => Self::through(proxy, tcp)?,
        };
        Ok(Self { way, timeout })
    }

    fn through(proxy: &str, tcp: HttpConnector<Resolver>) -> Result<Way, ProxyError> {
        let url = Url::parse(proxy).map_err(|_| ProxyError::NotAUrl)?;
        let default_port = match url.scheme() {
            "http" => 80,
            "socks5" | "socks5h" => 1080,
            other => return Err(ProxyError::UnsupportedScheme(other.to_owned())),
        };
        let host = url.host_str().ok_or(ProxyError::NotAUrl)?;
        let address: Uri =
            format!("{}://{host}:{}", if url.scheme() == "http" { "http" } else { "socks5" }, url.port().unwrap_or(default_port))
                .parse()
                .map_err(|_| ProxyError::NotAUrl)?;
        let (user, password) = (decode(url.username())?, decode(url.password().unwrap_or_default())?);
        Ok(if url.scheme() == "http" {
            let tunnel = Tunnel::new(address, tcp);
            if user.is_empty() {
                Way::Tunnel(tunnel)
            } else {
                let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64.encode(format!("{user}:{password}"))))
                    .map_err(|_| ProxyError::Userinfo)?;
                value.set_sensitive(true);
                Way::Tunnel(tunnel.with_auth(value))
            }
        } else {
            // `socks5` resolves names here, `socks5h` at the proxy: curl's convention.
            let socks = SocksV5::new(address, tcp).local_dns(url.scheme() == "socks5");
            Way::Socks(if user.is_empty() { socks } else { socks.with_auth(user, password) })
        })
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Boxed<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.way {
            Way::Straight(tcp) => tcp.poll_ready(cx).map_err(Into::into),
            Way::Tunnel(tunnel) => tunnel.poll_ready(cx).map_err(Into::into),
            Way::Socks(socks) => socks.poll_ready(cx).map_err(Into::into),
        }
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        // Names are checked as they are resolved; a literal never meets the resolver.
        if let Some(address) = literal(&target).filter(|address| is_metadata(*address)) {
            return Box::pin(std::future::ready(Err(DialError::Forbidden(address).into())));
        }
        let connecting: Boxed<Self::Response> = match &mut self.way {
            Way::Straight(tcp) => {
                let connecting = tcp.call(target);
                Box::pin(async move { connecting.await.map_err(Into::into) })
            }
            Way::Tunnel(tunnel) => {
                let connecting = tunnel.call(target);
                Box::pin(async move { connecting.await.map_err(Into::into) })
            }
            Way::Socks(socks) => {
                let connecting = socks.call(target);
                Box::pin(async move { connecting.await.map_err(Into::into) })
            }
        };
        let limit = self.timeout;
        Box::pin(async move { tokio::time::timeout(limit, connecting).await.map_err(|_| DialError::TimedOut(limit))? })
    }
}

/// The system's resolver, without the addresses that no upstream may have.
#[derive(Debug, Clone)]
struct Resolver {
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

fn decode(text: &str) -> Result<String, ProxyError> {
    let pair = format!("v={}", text.replace('+', "%2B"));
    let decoded = url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned());
    decoded.filter(|text| !text.contains('\u{fffd}')).ok_or(ProxyError::Userinfo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_and_never_a_straight_connection() {
        let dial = |proxy| Dial::new(Some(proxy), Duration::from_secs(1)).map(|_| ());
        assert_eq!(dial("http://127.0.0.1:3128"), Ok(()));
        assert_eq!(dial("http://user:p%40ss@proxy.example"), Ok(()));
        assert_eq!(dial("socks5://127.0.0.1:1080"), Ok(()));
        assert_eq!(dial("socks5h://user:pass@127.0.0.1"), Ok(()));
        assert_eq!(dial("https://proxy.example"), Err(ProxyError::UnsupportedScheme("https".into())));
        assert_eq!(dial("socks4://127.0.0.1:1080"), Err(ProxyError::UnsupportedScheme("socks4".into())));
        assert_eq!(dial("127.0.0.1:1080"), Err(ProxyError::NotAUrl));
    }

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

    #[test]
    fn proxy_credentials_are_percent_decoded() {
        assert_eq!(decode("p%40s+s"), Ok("p@s+s".to_owned()));
    }
}
