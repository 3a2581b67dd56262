//! The line to one upstream with one credential. An answer may need it more than once.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use tallygate_adapter::{ErrorKind, Hop, decode_error};
use tallygate_billing::AttemptRecord;
use tallygate_store::upstreams::Timeouts;
use tallygate_store::{CredentialEntry, UpstreamEntry};
use tallygate_types::{Clock, CredentialId, Dialect, Moment, Timestamp};
use tokio::time::timeout_at;

use super::attempt::Trail;
use super::failure::{
    Blame, Broken, CONNECT, CONNECT_TIMEOUT as CONNECT_TIMED_OUT, FIRST_BYTE_TIMEOUT as FIRST_BYTE, Failure,
    IDLE_TIMEOUT as IDLE, Said, TOO_SLOW, TOTAL_TIMEOUT as TOTAL, of_upstream,
};
use crate::body::SentBody;
use crate::config::GatewayConfig;
use crate::facts::Facts;
use crate::health::{Lease, retry_after};
use crate::layers::Question;
use crate::metrics;
use crate::plane::DataPlane;
use crate::routing::Step;
use crate::upstream::{AnswerBody, DialError, Door, NoDoor, ToSend, Unanswered, chain};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// To the head of an answer that is streamed.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_mins(1);
/// A whole answer: models that think and do not stream are silent for minutes.
const TOTAL_TIMEOUT: Duration = Duration::from_mins(10);
/// From the head of a stream to its first content: a model may think for minutes and show nothing of it.
const FIRST_TOKEN_TIMEOUT: Duration = Duration::from_mins(5);
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_mins(2);
/// The text of an error is not waited for longer: it is one already.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The pace of a whole answer is looked at this often, once it has begun.
const PACE_WINDOW: Duration = Duration::from_secs(30);
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// An upstream's own words in the record of an attempt, at most.
const MAX_REASON_CHARS: usize = 300;
/// Headers under which vendors send their id of a request.
static UPSTREAM_REQUEST_IDS: [HeaderName; 3] = [
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("request-id"),
    HeaderName::from_static("x-goog-request-id"),
];

/// See the module.
pub struct Line {
    door: Arc<Door>,
    upstream: Arc<UpstreamEntry>,
    credential: Option<Arc<CredentialEntry>>,
    facts: Arc<Facts>,
    codex: Vec<(HeaderName, HeaderValue)>,
    stream: bool,
    max_error_bytes: usize,
    min_answer_bytes_per_second: u32,
    clock: Arc<dyn Clock>,
    pub times: Times,
}

/// One call over a line, for the record of it.
pub struct Round {
    started: tokio::time::Instant,
    started_at: Timestamp,
    pub status: Option<u16>,
    /// Why it failed, where the client has an answer all the same. A label of metrics.
    pub failure: Option<&'static str>,
}

/// The timeouts of an upstream, its own or the defaults.
#[derive(Clone, Copy)]
pub struct Times {
    connect: Duration,
    head: Duration,
    pub first_token: Duration,
    pub idle: Duration,
    pub total: Duration,
}

impl Line {
    pub fn open(plane: &DataPlane, question: &Question, step: &Step<'_>) -> Result<Self, Failure> {
        let upstream = &step.target.upstream;
        let times = Times::of(upstream, &plane.config, question.stream);
        let door = Door::of(&plane.pool, upstream, step.credential, times.connect).map_err(|error| match error {
            NoDoor::Proxy(error) => Failure::proxy(error.to_string()),
            error => misconfigured(&error),
        })?;
        Ok(Self {
            door,
            upstream: Arc::clone(upstream),
            credential: step.credential.map(Arc::clone),
            facts: Arc::clone(&question.facts),
            codex: if upstream.dialect == Dialect::OpenaiResponses { question.codex.clone() } else { Vec::new() },
            stream: question.stream,
            max_error_bytes: plane.config.max_error_bytes,
            min_answer_bytes_per_second: plane.config.min_answer_bytes_per_second,
            clock: Arc::clone(&plane.clock),
            times,
        })
    }

    pub fn upstream(&self) -> &str {
        &self.upstream.name
    }

    pub fn dialect(&self) -> Dialect {
        self.upstream.dialect
    }

    /// Sends, and waits for the head of an answer.
    pub async fn ask(&self, hop: Hop, round: &mut Round, lease: Option<&mut Lease>) -> Result<Response<AnswerBody>, Broken> {
        let until = round.started + self.times.head;
        let response = match self.door.ask(self.request(hop)?, round.started, until).await {
            Err(Unanswered::Late) => return Err(Failure::timeout(FIRST_BYTE, self.times.head).into()),
            Err(error) => return Err(unanswered(&error).into()),
            Ok(response) => response,
        };
        self.facts.live.head_received();
        round.status = Some(response.status().as_u16());
        if let Some(lease) = lease {
            lease.headers(response.status(), response.headers());
        }
        if response.status() != StatusCode::OK {
            // Its future is not part of everyone's.
            return Err(Box::pin(self.refused(response)).await);
        }
        if response.headers().get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(Failure::invalid("the answer is compressed, which was not asked for").into());
        }
        Ok(response)
    }

    fn request(&self, hop: Hop) -> Result<Request<SentBody>, Failure> {
        let to_send = ToSend {
            method: Method::POST,
            path: &hop.path,
            request_id: &self.facts.request_id_text,
            stream: self.stream,
            headers: &hop.headers,
            body: hop.body.into(),
        };
        let mut request = self.door.request(to_send).map_err(|error| misconfigured(&error))?;
        request.headers_mut().extend(self.codex.iter().cloned());
        Ok(request)
    }

    /// An answer with another status than 200.
    async fn refused(&self, response: Response<AnswerBody>) -> Broken {
        let status = response.status().as_u16();
        let wait = retry_after(response.headers(), self.clock.now());
        let should_retry = response.headers().get(SHOULD_RETRY).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let deadline = tokio::time::Instant::now() + self.times.idle.min(ERROR_BODY_TIMEOUT);
        // An error whose text cannot be had is still that error.
        let body = self.collect(&mut response.into_body(), self.max_error_bytes, deadline).await.unwrap_or_default();
        of_upstream(self.upstream(), decode_error(self.upstream.dialect, status, &body), Said { wait, should_retry })
    }

    /// Reads a whole answer, bounded in size and time.
    pub async fn collect(&self, body: &mut AnswerBody, limit: usize, deadline: tokio::time::Instant) -> Result<Bytes, Failure> {
        let mut first: Option<Bytes> = None;
        let mut rest: Option<BytesMut> = None;
        let mut total = 0;
        let mut pace = Pace::new(self.min_answer_bytes_per_second);
        loop {
            // What is there already needs no look at the time.
            let ready = poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx))).await;
            let frame = match ready {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => return Err(Failure::connection_lost(chain(&error))),
                Poll::Ready(None) => break,
                Poll::Pending => match Box::pin(self.frame(body, &mut pace, deadline)).await? {
                    Some(frame) => frame,
                    None => break,
                },
            };
            let Ok(data) = frame.into_data() else { continue };
            total += data.len();
            if !body.is_end_stream() {
                pace.came(&data);
            }
            if total > limit {
                return Err(Failure::invalid(format!("the answer is larger than {limit} bytes")));
            }
            match (&mut first, &mut rest) {
                (_, Some(rest)) => rest.extend_from_slice(&data),
                (None, None) => first = Some(data),
                (Some(start), None) => {
                    let mut joined = BytesMut::with_capacity(2 * (start.len() + data.len()));
                    joined.extend_from_slice(start);
                    joined.extend_from_slice(&data);
                    rest = Some(joined);
                }
            }
        }
        Ok(rest.map(BytesMut::freeze).or(first).unwrap_or_default())
    }

    /// The next piece of a whole answer; `None` is its end.
    async fn frame(
        &self,
        body: &mut AnswerBody,
        pace: &mut Pace,
        deadline: tokio::time::Instant,
    ) -> Result<Option<Frame<Bytes>>, Failure> {
        let silent_from = tokio::time::Instant::now() + self.times.idle;
        loop {
            let looked_at = pace.looked_at();
            let until = looked_at.map_or(silent_from, |at| silent_from.min(at)).min(deadline);
            match timeout_at(until, body.frame()).await {
                Ok(Some(Ok(frame))) if looked_at.is_none_or(|at| tokio::time::Instant::now() < at) => return Ok(Some(frame)),
                Ok(Some(Ok(frame))) => return pace.check().map(|()| Some(frame)),
                Ok(Some(Err(error))) => return Err(Failure::connection_lost(chain(&error))),
                Ok(None) => return Ok(None),
                Err(_) if until == deadline => return Err(Failure::timeout(TOTAL, self.times.total)),
                Err(_) if until == silent_from => return Err(Failure::timeout(IDLE, self.times.idle)),
                Err(_) => pace.check()?,
            }
        }
    }

    /// A call ended well, and its answer goes on in another, which begins now.
    pub fn continued(&self, plane: &DataPlane, trail: &mut Trail, round: &mut Round) {
        let ended = std::mem::replace(round, Round::start(&*plane.clock));
        trail.waited += ended.elapsed();
        trail.records.push(self.ended(plane, &ended, None));
    }

    /// The record of a call that was made for the rest of an answer, or before one.
    pub fn ended(&self, plane: &DataPlane, round: &Round, broken: Option<&Broken>) -> AttemptRecord {
        let (upstream, took) = (&*self.upstream, round.elapsed());
        let (outcome, reason) = match broken {
            None => (metrics::OK, metrics::NO_REASON),
            Some(broken) => ("failed", broken.reason()),
        };
        plane.metrics.attempted(&upstream.name, upstream.dialect.provider(), outcome, reason, took);
        let outcome = if broken.is_some() { reason } else { outcome };
        let credential = self.credential.as_ref().map(|credential| credential.id);
        round.record(upstream, credential, took, outcome, None)
    }
}

/// Whether a whole answer that has begun comes fast enough. White space does not begin one: it is how upstreams keep a line
/// open while they work.
struct Pace {
    /// Within one window; 0: any pace will do.
    min_bytes: usize,
    window: Option<(tokio::time::Instant, usize)>,
}

impl Pace {
    fn new(min_bytes_per_second: u32) -> Self {
        Self { min_bytes: min_bytes_per_second as usize * PACE_WINDOW.as_secs() as usize, window: None }
    }

    fn came(&mut self, data: &[u8]) {
        match &mut self.window {
            Some((_, bytes)) => *bytes += data.len(),
            None if self.min_bytes > 0 && data.iter().any(|byte| !byte.is_ascii_whitespace()) => {
                self.window = Some((tokio::time::Instant::now() + PACE_WINDOW, data.len()));
            }
            None => {}
        }
    }

    /// When the window ends.
    fn looked_at(&self) -> Option<tokio::time::Instant> {
        self.window.map(|(end, _)| end)
    }

    /// The window has ended; the next begins.
    fn check(&mut self) -> Result<(), Failure> {
        let bytes = self.window.replace((tokio::time::Instant::now() + PACE_WINDOW, 0)).map_or(0, |(_, bytes)| bytes);
        if bytes >= self.min_bytes {
            return Ok(());
        }
        let detail = format!("{bytes} bytes of the answer came within {PACE_WINDOW:?}, {} are asked for", self.min_bytes);
        Err(Failure::new(Blame::Answer, TOO_SLOW, ErrorKind::UpstreamTimeout, detail))
    }
}

impl Round {
    pub fn start(clock: &dyn Clock) -> Self {
        Self::begun(clock.moment())
    }

    pub fn begun((started_at, started): Moment) -> Self {
        Self { started: started.into(), started_at, status: None, failure: None }
    }

    pub const fn started(&self) -> tokio::time::Instant {
        self.started
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// How the call went.
    pub fn record(
        &self,
        upstream: &UpstreamEntry,
        credential_id: Option<CredentialId>,
        took: Duration,
        outcome: &'static str,
        reason: Option<&str>,
    ) -> AttemptRecord {
        AttemptRecord {
            upstream: upstream.name.clone(),
            credential_id,
            status: self.status,
            outcome: outcome.into(),
            reason: reason.map(|reason| reason.chars().take(MAX_REASON_CHARS).collect::<String>().into()),
            started_at: self.started_at,
            duration_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            cost: None,
        }
    }
}

impl Times {
    /// The upstream's own timeouts, else the installation's, else the defaults.
    fn of(upstream: &UpstreamEntry, config: &GatewayConfig, stream: bool) -> Self {
        let installation = &config.upstream_timeouts;
        let of = |field: fn(&Timeouts) -> Option<u64>, default| {
            field(&upstream.timeouts).or_else(|| field(installation)).map_or(default, Duration::from_millis)
        };
        let total = of(|timeouts| timeouts.total_ms, if stream { config.max_stream_duration } else { TOTAL_TIMEOUT });
        // Without streaming the head comes with the whole answer.
        let head = of(|timeouts| timeouts.first_byte_ms, if stream { FIRST_BYTE_TIMEOUT } else { total }).min(total);
        Self {
            connect: of(|timeouts| timeouts.connect_ms, CONNECT_TIMEOUT),
            head,
            first_token: of(|timeouts| timeouts.first_token_ms, FIRST_TOKEN_TIMEOUT),
            idle: of(|timeouts| timeouts.stream_idle_ms, STREAM_IDLE_TIMEOUT),
            total,
        }
    }
}

pub fn upstream_request_id(headers: &HeaderMap) -> Option<String> {
    // One look at the names there are takes less than one for each name that might be.
    if !headers.keys().any(|name| UPSTREAM_REQUEST_IDS.contains(name)) {
        return None;
    }
    UPSTREAM_REQUEST_IDS
        .iter()
        .find_map(|name| headers.get(name)?.to_str().ok())
        // What a header says as text is ASCII.
        .map(|id| id.get(..MAX_REASON_CHARS).unwrap_or(id).to_owned())
}

fn misconfigured(error: &NoDoor) -> Failure {
    Failure::new(Blame::Setup, "misconfigured", ErrorKind::UpstreamUnavailable, error.to_string()).unsent()
}

/// A call to which there was no answer.
fn unanswered(error: &Unanswered) -> Failure {
    let Unanswered::Connect(_) = error else { return Failure::connection_lost(chain(error)) };
    if let Some(failure) = DialError::of_proxy(error) {
        return Failure::proxy(failure.to_string());
    }
    let reason = if is_timeout(error) { CONNECT_TIMED_OUT } else { CONNECT };
    Failure::new(Blame::Upstream, reason, ErrorKind::UpstreamUnavailable, chain(error)).unsent()
}

/// Whether a connection was not there in time.
fn is_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let is_io = error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut);
        if is_io || matches!(error.downcast_ref(), Some(DialError::TimedOut(_))) {
            return true;
        }
        cause = error.source();
    }
    false
}
