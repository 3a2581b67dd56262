//! One fetch: the name is resolved once, every address of it is judged, and the connection goes to one that was. A redirect
//! begins anew.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::address::is_public;
use crate::config::MediaBounds;
use crate::upstream::is_metadata;

const USER_AGENT: &str = concat!("tallygate/", env!("CARGO_PKG_VERSION"));
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 3;
/// Longest URL that is fetched, redirects included.
const MAX_URL_BYTES: usize = 8 * 1024;

/// Why something could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The URL leads where no tenant's URL may.
    NotAllowed(&'static str),
    TooLarge(usize),
    /// Neither an image nor a document that models read.
    OtherContent,
    TimedOut(Duration),
    Failed(String),
}

/// See the module.
pub struct Fetcher {
    tls: TlsConnector,
    max_bytes: usize,
    max_redirects: usize,
    connect_timeout: Duration,
    /// `host` or `host:port`, lower case.
    private_hosts: Vec<String>,
}

impl Fetcher {
    pub fn new(bounds: &MediaBounds) -> Self {
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            tls: TlsConnector::from(Arc::new(tls)),
            max_bytes: bounds.max_bytes,
            max_redirects: bounds.max_redirects,
            connect_timeout: bounds.connect_timeout,
            private_hosts: bounds.private_hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        }
    }

    /// The bytes at a URL, and what its server says they are.
    pub async fn fetch(&self, url: &str) -> Result<(Bytes, Option<String>), Fault> {
        let mut url = parsed(url)?;
        for _ in 0..=self.max_redirects {
            let response = self.get(&url).await?;
            let status = response.status();
            if status.is_redirection() {
                let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
                let location = location.ok_or_else(|| Fault::Failed(format!("its server answered {status} and not where to")))?;
                url = url.join(location).map_err(|_| Fault::NotAllowed("it leads on to what is no URL"))?;
                check(&url)?;
                continue;
            }
            if status != http::StatusCode::OK {
                return Err(Fault::Failed(format!("its server answered {}", status.as_u16())));
            }
            if response.headers().get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
                return Err(Fault::Failed("its server compressed it unasked".into()));
            }
            let said = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
            return Ok((self.collect(response.into_body()).await?, said));
        }
        Err(Fault::Failed(format!("it leads on more than {} times", self.max_redirects)))
    }

    async fn get(&self, url: &Url) -> Result<Response<Incoming>, Fault> {
        let tcp = self.connect(url).await?;
        if url.scheme() == "https" {
            let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(host).map_err(|_| Fault::NotAllowed("its host is no name for a certificate"))?;
            let tls = timeout(self.connect_timeout, self.tls.connect(name, tcp)).await;
            let tls = tls.map_err(|_| Fault::TimedOut(self.connect_timeout))?;
            exchange(tls.map_err(|_| Fault::Failed("its server's certificate is not accepted".into()))?, url).await
        } else {
            exchange(tcp, url).await
        }
    }

    /// Resolves the host and connects to an address that was judged: nothing resolves the name again.
    async fn connect(&self, url: &Url) -> Result<TcpStream, Fault> {
        let port = url.port_or_known_default().ok_or(Fault::NotAllowed("it has no port"))?;
        let unresolved = || Fault::Failed("its host has no address".into());
        let addresses: Vec<SocketAddr> = match url.host().ok_or(Fault::NotAllowed("it has no host"))? {
            Host::Ipv4(v4) => vec![(v4, port).into()],
            Host::Ipv6(v6) => vec![(v6, port).into()],
            Host::Domain(name) => {
                let resolved = timeout(self.connect_timeout, lookup_host((name, port))).await;
                resolved.map_err(|_| unresolved())?.map_err(|_| unresolved())?.collect()
            }
        };
        let may_be_private = self.is_listed(url, port);
        if addresses.iter().any(|address| !is_allowed(address.ip(), may_be_private)) {
            return Err(Fault::NotAllowed("its host is not on the public Internet"));
        }
        for address in addresses.iter().take(MAX_ADDRESSES) {
            if let Ok(Ok(tcp)) = timeout(self.connect_timeout, TcpStream::connect(address)).await {
                return Ok(tcp);
            }
        }
        Err(if addresses.is_empty() { unresolved() } else { Fault::Failed("its server cannot be reached".into()) })
    }

    /// Whether the operator has named this host as one that may be private.
    fn is_listed(&self, url: &Url, port: u16) -> bool {
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let with_port = format!("{host}:{port}");
        self.private_hosts.iter().any(|listed| *listed == host || *listed == with_port)
    }

    async fn collect(&self, mut body: Incoming) -> Result<Bytes, Fault> {
        let too_large = || Fault::TooLarge(self.max_bytes);
        if body.size_hint().lower() > self.max_bytes as u64 {
            return Err(too_large());
        }
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Fault::Failed("its server broke off".into()))?;
            if let Ok(data) = frame.into_data() {
                if bytes.len() + data.len() > self.max_bytes {
                    return Err(too_large());
                }
                bytes.extend_from_slice(&data);
            }
        }
        Ok(bytes.freeze())
    }
}

fn parsed(url: &str) -> Result<Url, Fault> {
    let url = Url::parse(url).map_err(|_| Fault::NotAllowed("it is not a URL"))?;
    check(&url)?;
    Ok(url)
}

fn check(url: &Url) -> Result<(), Fault> {
    if url.as_str().len() > MAX_URL_BYTES {
        return Err(Fault::NotAllowed("it is too long"));
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Fault::NotAllowed("it is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Fault::NotAllowed("it carries a user name or password"));
    }
    Ok(())
}

/// Where instance credentials are handed out is out of reach for everybody.
fn is_allowed(address: IpAddr, may_be_private: bool) -> bool {
    is_public(address) || (may_be_private && !is_metadata(address))
}

/// Asks once, on a connection of its own, with nothing of the client's or the operator's in the header.
async fn exchange(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, url: &Url) -> Result<Response<Incoming>, Fault> {
    let failed = || Fault::Failed("its server does not answer in HTTP".into());
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(|_| failed())?;
    // It ends with the body, or with the sender.
    tokio::spawn(connection);
    let path = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let host = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
        None => url.host_str().unwrap_or_default().to_owned(),
    };
    let request = Request::builder()
        .method(Method::GET)
        .uri(path.parse::<Uri>().map_err(|_| Fault::NotAllowed("its path cannot be sent"))?)
        .header(header::HOST, host)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "image/*, application/pdf, text/plain")
        .header(header::ACCEPT_ENCODING, "identity")
        .body(Empty::<Bytes>::new())
        .map_err(|_| Fault::NotAllowed("it cannot be sent"))?;
    sender.send_request(request).await.map_err(|_| failed())
}
