//! One connection through the first proxy of a list that gets through.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tower::Service as _;

use super::dial::{DialError, Resolver, Stream, chain, is_metadata};
use super::handshake::{self, Destination, Fault};
use super::proxy::{Proxy, Speech, Turn};
use crate::metrics::ProxyMetrics;

/// A proxy that needs longer to open a connection is passed over for a while, if there is another.
const SLOW: Duration = Duration::from_secs(2);

/// What is to be reached, and what with.
pub struct Through<'a> {
    pub proxies: &'a [Arc<Proxy>],
    /// For proxies that are spoken to inside TLS.
    pub tls: &'a TlsConnector,
    pub metrics: &'a ProxyMetrics,
    pub tcp: &'a HttpConnector<Resolver>,
    pub host: &'a str,
    pub port: u16,
}

/// What went wrong so far.
#[derive(Default)]
struct Failures<'a> {
    said: Vec<String>,
    /// What may be the upstream's fault is held against a proxy only once another has got through.
    doubtful: Vec<(&'a Proxy, String, bool)>,
}

impl<'a> Through<'a> {
    /// Those that failed lately come last, if at all. The error names each proxy and what was wrong with it.
    pub async fn open(&self, deadline: Instant) -> Result<Stream, String> {
        let mut failures = Failures::default();
        let mut last_resort = Vec::new();
        for (position, proxy) in self.proxies.iter().enumerate() {
            let probe = match proxy.turn(Instant::now()) {
                Turn::Yes => None,
                Turn::Probe => Some(Probe(proxy)),
                Turn::Refused => {
                    last_resort.push(proxy);
                    continue;
                }
                Turn::Hung => {
                    failures.said.push(format!("{} did not answer lately and is not tried again yet", proxy.shown));
                    continue;
                }
            };
            let others = self.proxies.len() - 1 - position + last_resort.len();
            let found = self.attempt(proxy, share(deadline, others), &mut failures).await;
            drop(probe);
            if let Some(found) = found {
                self.blame(&failures);
                return Ok(found);
            }
        }
        for (position, proxy) in last_resort.iter().enumerate() {
            let until = share(deadline, last_resort.len() - 1 - position);
            if let Some(found) = self.attempt(proxy, until, &mut failures).await {
                self.blame(&failures);
                return Ok(found);
            }
        }
        Err(failures.said.join("; "))
    }

    /// Through one proxy; what became of it is noted.
    async fn attempt(&self, proxy: &'a Proxy, until: Instant, failures: &mut Failures<'a>) -> Option<Stream> {
        let started = Instant::now();
        let mut reached = false;
        let opening = async {
            let mut stream = self.reach(proxy).await?;
            reached = true;
            self.greet(proxy, &mut stream).await?;
            Ok(stream)
        };
        let (why, outcome, is_doubtful) = match timeout_at(until, opening).await {
            Ok(Ok(stream)) => {
                self.opened(proxy, started.elapsed());
                return Some(stream);
            }
            Ok(Err(fault)) => {
                let outcome = match fault {
                    Fault::Broken(_) => "broken",
                    Fault::Login(_) => "login",
                    Fault::Upstream(_) => "upstream_unreachable",
                };
                (fault.to_string(), outcome, matches!(fault, Fault::Upstream(_)))
            }
            // It took the connection; whether it or the upstream hangs shows when another gets through.
            Err(_) if reached => (format!("did not get through within {:?}", started.elapsed()), "timeout", true),
            Err(_) => (format!("took no connection within {:?}", started.elapsed()), "timeout", false),
        };
        failures.said.push(format!("{}: {why}", proxy.shown));
        self.metrics.connected(&proxy.shown, outcome);
        let hung = outcome == "timeout";
        if is_doubtful {
            proxy.could_not_reach(&why);
            failures.doubtful.push((proxy, why, hung));
        } else {
            self.faulty(proxy, &why, hung);
        }
        None
    }

    fn opened(&self, proxy: &Proxy, after: Duration) {
        self.metrics.connected(&proxy.shown, "ok");
        self.metrics.usable(&proxy.shown, true);
        proxy.opened(after);
        if after > SLOW && self.proxies.len() > 1 {
            self.faulty(proxy, &format!("it needed {after:?} to open a connection"), false);
        }
    }

    fn faulty(&self, proxy: &Proxy, why: &str, hung: bool) {
        self.metrics.usable(&proxy.shown, false);
        proxy.faulty(why, hung, Instant::now());
    }

    /// Another proxy has got through: it was not the upstream.
    fn blame(&self, failures: &Failures<'_>) {
        for (proxy, why, hung) in &failures.doubtful {
            self.faulty(proxy, why, *hung);
        }
    }

    /// A connection to the proxy itself.
    async fn reach(&self, proxy: &Proxy) -> Result<Stream, Fault> {
        let broken = |error: &dyn std::error::Error| Fault::Broken(format!("it cannot be reached: {}", chain(error)));
        let host = &proxy.host;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let address: Result<Uri, _> = format!("http://{host}:{}", proxy.port).parse();
        let stream = self.tcp.clone().call(address.map_err(|error| broken(&error))?).await.map_err(|error| broken(&error))?;
        if proxy.speech != Speech::Https {
            return Ok(MaybeHttpsStream::Http(stream));
        }
        let name = ServerName::try_from(proxy.host.clone()).map_err(|error| broken(&error))?;
        let stream = self.tls.connect(name, TokioIo::new(stream)).await;
        let stream = stream.map_err(|error| Fault::Broken(format!("TLS with it failed: {error}")))?;
        Ok(MaybeHttpsStream::Https(TokioIo::new(stream)))
    }

    /// Has the proxy join the connection to the upstream.
    async fn greet(&self, proxy: &Proxy, stream: &mut Stream) -> Result<(), Fault> {
        let mut io = TokioIo::new(stream);
        let login = proxy.login.as_ref();
        let Speech::Socks { resolves_here } = proxy.speech else {
            return handshake::connect(&mut io, &format!("{}:{}", self.host, self.port), login).await;
        };
        let bare = self.host.trim_matches(['[', ']']);
        let destination = match bare.parse() {
            Ok(address) => Destination::Address(address),
            Err(_) if !resolves_here => Destination::Name(bare),
            Err(_) => Destination::Address(self.look_up(bare).await?),
        };
        handshake::socks(&mut io, destination, self.port, login).await
    }

    async fn look_up(&self, host: &str) -> Result<IpAddr, Fault> {
        let unknown = |why: &dyn std::fmt::Display| {
            Fault::Upstream(format!("the upstream's name `{host}` cannot be resolved for it: {why}"))
        };
        let mut found = tokio::net::lookup_host((host, self.port)).await.map_err(|error| unknown(&error))?;
        let address = found.next().ok_or_else(|| unknown(&"it has no address"))?.ip();
        if is_metadata(address) {
            return Err(Fault::Upstream(DialError::Forbidden(address).to_string()));
        }
        Ok(address)
    }
}

/// The time one proxy has: half of what is left while there are others.
fn share(deadline: Instant, others: usize) -> Instant {
    let now = Instant::now();
    if others == 0 { deadline } else { now + deadline.saturating_duration_since(now) / 2 }
}

/// Ends a probe that ended without a verdict, because its client left.
struct Probe<'a>(&'a Proxy);

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.0.unprobed();
    }
}
