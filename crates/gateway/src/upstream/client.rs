//! The connections through one way out, kept for the next request.
//!
//! Whoever asks over HTTP/1.1 has a connection to itself and drives it in its own task (`wire.rs`): no other task is woken to
//! write a request or to read an answer. A connection over HTTP/2, where TLS negotiates it, is shared and drives itself.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, header};
use hyper::client::conn::TrySendError;
use hyper::client::conn::{http1, http2};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};
use tower::ServiceExt as _;

use super::dial::Dial;
use super::wire::{AnswerBody, Wire};
use crate::body::SentBody;

/// What an upstream sends faster than the client takes it waits here; every piece on its way holds on to the buffer it came in.
const MAX_BUFFER_BYTES: usize = 32 * 1024;
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(20);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// How often connections that nobody uses are looked after: those that were closed, and those that have waited for too long.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Hosts without a connection are forgotten beyond this number; a configuration has a handful.
const MAX_HOSTS: usize = 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Shared = http2::SendRequest<SentBody>;

/// One way out. Cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Way>);

struct Way {
    connector: HttpsConnector<Dial>,
    keeping: Keeping,
    hosts: Mutex<HashMap<(Scheme, Authority), Arc<Host>>>,
}

/// How many idle connections to a host are kept, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Keeping {
    pub idle_per_host: usize,
    pub idle_timeout: Duration,
}

/// Where connections lead, and those that wait to be used.
pub struct Host {
    scheme: Scheme,
    authority: Authority,
    /// As the `host` header says it.
    name: HeaderValue,
    keeping: Keeping,
    /// The last to come is the first to go.
    idle: Mutex<Vec<(Box<Wire>, Instant)>>,
    shared: Mutex<Option<Shared>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    #[error("the connection could not be opened")]
    Connect(#[source] BoxError),
    #[error("the connection was lost")]
    Lost(#[source] hyper::Error),
    #[error("it did not answer in time")]
    Late,
}

/// What a request can be sent over.
enum Open {
    Own(Box<Wire>),
    Shared(Shared),
}

/// A request that was not sent is sent over another connection.
enum Sent {
    Answered(Response<AnswerBody>),
    Failed(hyper::Error),
    Not(hyper::Error, Request<SentBody>),
}

impl Sent {
    fn failed(mut error: TrySendError<Request<SentBody>>) -> Self {
        match error.take_message() {
            Some(request) => Self::Not(error.into_error(), request),
            None => Self::Failed(error.into_error()),
        }
    }
}

impl Client {
    /// Must be called inside a tokio runtime.
    pub fn new(connector: HttpsConnector<Dial>, keeping: Keeping) -> Self {
        let way = Arc::new(Way { connector, keeping, hosts: Mutex::default() });
        tokio::spawn(sweep(Arc::downgrade(&way)));
        Self(way)
    }

    /// The host of an address; `None` if it names none.
    pub fn host(&self, address: &Uri) -> Option<Arc<Host>> {
        let (scheme, authority) = (address.scheme()?, address.authority()?);
        let mut hosts = lock(&self.0.hosts);
        let key = (scheme.clone(), authority.clone());
        if let Some(known) = hosts.get(&key) {
            return Some(Arc::clone(known));
        }
        if hosts.len() >= MAX_HOSTS {
            hosts.retain(|_, host| Arc::strong_count(host) > 1);
        }
        let host = Arc::new(Host {
            name: named(address)?,
            scheme: scheme.clone(),
            authority: authority.clone(),
            keeping: self.0.keeping,
            idle: Mutex::default(),
            shared: Mutex::default(),
        });
        hosts.insert(key, Arc::clone(&host));
        Some(host)
    }

    /// Sends a request, whose target does not name the host but whose header does, and waits for the head of its answer, but no
    /// longer than `until`; it is `now`. What an idle connection that was closed meanwhile has not taken goes over another.
    #[expect(clippy::manual_async_fn, reason = "the arguments of an `async fn` are in its future twice, the request among them")]
    pub fn ask<'a>(
        &'a self,
        host: &'a Arc<Host>,
        mut request: Request<SentBody>,
        now: Instant,
        until: Instant,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Unanswered>> + Send + use<'a> {
        async move {
            loop {
                let (open, is_reused) = match host.take(now) {
                    Some(open) => (open, true),
                    None => (Box::pin(self.connect(host, until)).await?, false),
                };
                let sent = match open {
                    Open::Own(mut wire) => {
                        let mut answer = pin!(wire.send(request));
                        let answered = poll_fn(|cx| wire.poll_answer(answer.as_mut(), until, cx)).await;
                        match answered.ok_or(Unanswered::Late)? {
                            Ok(response) => Sent::Answered(response.map(|body| AnswerBody::own(body, wire, Arc::clone(host)))),
                            Err(error) => Sent::failed(error),
                        }
                    }
                    Open::Shared(shared) => Box::pin(host.send_shared(shared, request, until)).await?,
                };
                request = match sent {
                    Sent::Answered(response) => return Ok(response),
                    Sent::Not(_, request) if is_reused => request,
                    Sent::Failed(error) | Sent::Not(error, _) => return Err(Unanswered::Lost(error)),
                };
            }
        }
    }

    async fn connect(&self, host: &Host, until: Instant) -> Result<Open, Unanswered> {
        let opened = timeout_at(until, self.open(host)).await;
        opened.map_err(|_| Unanswered::Late)?.map_err(Unanswered::Connect)
    }

    async fn open(&self, host: &Host) -> Result<Open, BoxError> {
        let address = host.address(PathAndQuery::from_static("/"));
        let stream = self.0.connector.clone().oneshot(address).await?;
        if stream.connected().is_negotiated_h2() {
            let (shared, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                // A connection that died unnoticed would take all its streams along.
                .keep_alive_interval(HTTP2_PING_INTERVAL)
                .keep_alive_timeout(HTTP2_PING_TIMEOUT)
                .adaptive_window(true)
                .handshake(stream)
                .await?;
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "an upstream's connection ended with an error");
                }
            });
            let mut known = lock(&host.shared);
            // Another request may have been faster: one connection is enough.
            let first = known.as_ref().filter(|known| !known.is_closed()).map_or(shared, Clone::clone);
            *known = Some(first.clone());
            return Ok(Open::Shared(first));
        }
        let (sender, connection) = http1::Builder::new().max_buf_size(MAX_BUFFER_BYTES).handshake(stream).await?;
        Ok(Open::Own(Box::new(Wire::new(sender, connection))))
    }
}

impl Host {
    /// As the `host` header says it.
    pub fn name(&self) -> HeaderValue {
        self.name.clone()
    }

    /// A connection that can be used at once.
    fn take(&self, now: Instant) -> Option<Open> {
        // A lock for each: nobody waits until another's connection is closed.
        while let Some((wire, since)) = { lock(&self.idle).pop() } {
            if now.saturating_duration_since(since) < self.keeping.idle_timeout && wire.is_ready() {
                return Some(Open::Own(wire));
            }
        }
        let mut shared = lock(&self.shared);
        if shared.as_ref().is_some_and(Shared::is_closed) {
            *shared = None;
        }
        shared.clone().map(Open::Shared)
    }

    /// Keeps a connection that has been used.
    pub fn keep(&self, mut wire: Box<Wire>) {
        wire.rest();
        let mut idle = lock(&self.idle);
        if idle.len() < self.keeping.idle_per_host {
            idle.push((wire, Instant::now()));
        }
    }

    /// Lets go of what was closed or has waited for too long.
    fn tidy(&self) {
        let quiet = &mut Context::from_waker(Waker::noop());
        let (now, patience) = (Instant::now(), self.keeping.idle_timeout);
        lock(&self.idle).retain_mut(|(wire, since)| now.duration_since(*since) < patience && wire.is_usable(quiet));
        lock(&self.shared).take_if(|shared| shared.is_closed());
    }

    fn address(&self, target: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(target);
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// HTTP/2 names the host in the target and not in the header.
    async fn send_shared(&self, mut shared: Shared, mut request: Request<SentBody>, until: Instant) -> Result<Sent, Unanswered> {
        let target = request.uri().clone();
        if let Some(path) = target.path_and_query() {
            *request.uri_mut() = self.address(path.clone());
        }
        request.headers_mut().remove(header::HOST);
        let sent = timeout_at(until, shared.try_send_request(request)).await.map_err(|_| Unanswered::Late)?;
        Ok(match sent.map_err(Sent::failed) {
            Ok(response) => Sent::Answered(response.map(AnswerBody::shared)),
            // As it came.
            Err(Sent::Not(error, mut request)) => {
                *request.uri_mut() = target;
                request.headers_mut().insert(header::HOST, self.name());
                Sent::Not(error, request)
            }
            Err(failed) => failed,
        })
    }
}

async fn sweep(way: Weak<Way>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let Some(way) = way.upgrade() else { return };
        let hosts: Vec<_> = lock(&way.hosts).values().map(Arc::clone).collect();
        for host in hosts {
            host.tidy();
        }
    }
}

/// Without the port that goes without saying.
fn named(address: &Uri) -> Option<HeaderValue> {
    let host = address.host()?;
    let usual = if address.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    match address.port_u16().filter(|port| *port != usual) {
        Some(port) => HeaderValue::try_from(format!("{host}:{port}")).ok(),
        None => HeaderValue::from_str(host).ok(),
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
