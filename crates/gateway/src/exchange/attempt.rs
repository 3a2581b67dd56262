//! One attempt at one upstream, up to the commit gate: nothing has been sent to the client yet, so another may follow.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use secrecy::ExposeSecret as _;
use tallygate_adapter::{
    Answer, ErrorKind, FailureClass, Outgoing, ResponseStream, Session, StreamFailure, UpstreamFailure, decode_error, join_url,
};
use tallygate_billing::{AttemptRecord, Outcome};
use tallygate_store::UpstreamEntry;
use tallygate_store::upstreams::Timeouts;
use tokio::time::timeout_at;

use crate::layers::Question;
use crate::metrics;
use crate::plane::DataPlane;
use crate::refusal::{DEFAULT_RETRY, Refusal};
use crate::route::Step;
use crate::settle::Settlement;
use crate::upstream::request_headers;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// To the head of an answer that is streamed.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_mins(1);
/// A whole answer: models that think and do not stream are silent for minutes.
const TOTAL_TIMEOUT: Duration = Duration::from_mins(10);
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_mins(2);
/// Output held back before the first content, at most; beyond it the stream is committed.
const MAX_HELD_BYTES: usize = 256 * 1024;
/// An upstream's own words in the record of an attempt, at most.
const MAX_REASON_CHARS: usize = 300;
/// Headers under which vendors send their id of a request.
const UPSTREAM_REQUEST_IDS: [&str; 3] = ["x-request-id", "request-id", "x-goog-request-id"];

/// What came of an attempt.
pub enum Tried {
    Delivered(Delivery),
    /// No upstream would take this request: 400, 413, 422.
    ClientAtFault(Refusal),
    Failed(Failure),
}

/// An answer that may be sent.
pub struct Delivery {
    pub upstream: String,
    pub upstream_model: String,
    pub upstream_dialect: tallygate_types::Dialect,
    pub content: Content,
}

pub enum Content {
    Whole(Box<Answer>),
    Stream(Box<Opened>),
}

/// A stream whose first content has come.
pub struct Opened {
    pub upstream: Incoming,
    pub stream: ResponseStream,
    /// What the client gets first.
    pub out: Vec<Bytes>,
    pub received: usize,
    pub idle_timeout: Duration,
    /// The upstream closed already; the answer is complete.
    pub is_complete: bool,
}

/// Why an attempt failed. The client never reads more of it than [`Failure::into_refusal`] says.
pub struct Failure {
    pub blame: Blame,
    /// A closed set: it is a label of metrics.
    pub reason: &'static str,
    kind: ErrorKind,
    /// For the operator's eyes.
    detail: String,
    pub wait: Option<Duration>,
}

/// Whose fault it is decides what is tried next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Nothing can be had there now: its other credentials are not tried.
    Upstream,
    /// The answer was bad; another credential may get a better one.
    Answer,
    /// This credential is used up for now.
    Rate,
    /// This credential is not accepted.
    Credential,
}

impl Failure {
    fn new(blame: Blame, reason: &'static str, kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { blame, reason, kind, detail: detail.into(), wait: None }
    }

    fn timeout(reason: &'static str, limit: Duration) -> Self {
        Self::new(Blame::Upstream, reason, ErrorKind::UpstreamTimeout, format!("nothing within {limit:?}"))
    }

    fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Blame::Answer, "invalid_answer", ErrorKind::UpstreamInvalid, detail)
    }

    /// What the client is told when nothing is left to try.
    pub fn into_refusal(self) -> Refusal {
        let message = match self.kind {
            ErrorKind::RateLimited => {
                let wait = self.wait.unwrap_or(DEFAULT_RETRY);
                let seconds = wait.as_millis().div_ceil(1000).max(1);
                let message = format!("The upstreams of this model are at their rate limit. Please retry in {seconds}s.");
                return Refusal::new(ErrorKind::RateLimited, "upstream_rate_limited", message)
                    .with_retry_after(wait)
                    .with_outcome(Outcome::UpstreamError);
            }
            ErrorKind::UpstreamTimeout => {
                let message = "The upstream did not answer in time.";
                return Refusal::new(ErrorKind::UpstreamTimeout, "upstream_timeout", message).with_should_retry(true);
            }
            ErrorKind::UpstreamInvalid => {
                let message = "The upstream gave an answer that cannot be understood.";
                return Refusal::new(ErrorKind::UpstreamInvalid, "upstream_invalid_answer", message);
            }
            _ => "No upstream of this model could serve the request. Try again shortly.",
        };
        Refusal::unavailable(message, self.wait)
    }
}

/// The refusal for a stream that breaks off after the client has received some of it.
pub fn cut_refusal(failure: &StreamFailure) -> Refusal {
    match failure {
        StreamFailure::Upstream(UpstreamFailure {
            class: FailureClass::BadRequest | FailureClass::ContextTooLong,
            message,
            ..
        }) => Refusal::bad_request("upstream_refused", message.clone()).with_outcome(Outcome::UpstreamError),
        StreamFailure::Upstream(_) => Refusal::unavailable("The upstream reported an error in the middle of its answer.", None),
        StreamFailure::Truncated => Refusal::unavailable("The upstream broke off in the middle of its answer.", None),
        StreamFailure::Invalid(_) | StreamFailure::TooLong => Refusal::new(
            ErrorKind::UpstreamInvalid,
            "upstream_invalid_answer",
            "The upstream gave an answer that cannot be understood.",
        ),
    }
}

/// Sends the request and waits for the answer: all of it, or the first content of a stream.
pub async fn run(
    plane: &Arc<DataPlane>,
    question: &Question,
    step: &Step<'_>,
    outgoing: Outgoing,
    settlement: &mut Settlement,
) -> Tried {
    let upstream = &step.target.upstream;
    let (started, started_at) = (Instant::now(), plane.clock.now());
    let mut status = None;
    let tried = exchange(plane, question, step, outgoing, settlement, &mut status).await;
    let duration = started.elapsed();
    settlement.waited(duration);
    let (outcome, label, detail) = match &tried {
        Ok(_) => (metrics::OK, metrics::NO_REASON, None),
        Err(Broken::Client(refusal)) => ("client_error", refusal.code, Some(refusal.message.clone())),
        Err(Broken::Upstream(failure)) => ("failed", failure.reason, Some(failure.detail.clone())),
    };
    plane.metrics.attempted(&upstream.name, upstream.dialect.provider(), outcome, label, duration);
    let record = AttemptRecord {
        upstream: upstream.name.clone(),
        credential_id: step.credential.map(|credential| credential.id),
        status,
        outcome: if outcome == "failed" { label.to_owned() } else { outcome.to_owned() },
        reason: detail.map(|detail| detail.chars().take(MAX_REASON_CHARS).collect()),
        started_at,
        duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
    };
    settlement.attempted(record, tried.is_err());
    match tried {
        Ok(content) => Tried::Delivered(Delivery {
            upstream: upstream.name.clone(),
            upstream_model: step.target.upstream_model.clone(),
            upstream_dialect: upstream.dialect,
            content,
        }),
        Err(Broken::Client(refusal)) => Tried::ClientAtFault(refusal),
        Err(Broken::Upstream(failure)) => {
            tracing::debug!(upstream = %upstream.name, reason = failure.reason, detail = %failure.detail,
                request_id = %question.facts.request_id_text, "attempt failed");
            Tried::Failed(failure)
        }
    }
}

enum Broken {
    Client(Refusal),
    Upstream(Failure),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Upstream(failure)
    }
}

async fn exchange(
    plane: &DataPlane,
    question: &Question,
    step: &Step<'_>,
    outgoing: Outgoing,
    settlement: &mut Settlement,
    status: &mut Option<u16>,
) -> Result<Content, Broken> {
    let upstream = &step.target.upstream;
    let times = Times::of(upstream, &plane.config.upstream_timeouts, question.stream);
    let (request, session) = build(question, step, outgoing)?;
    let proxy = step.credential.and_then(|credential| credential.proxy.as_deref()).or(upstream.proxy.as_deref());
    let client = plane
        .pool
        .client(proxy, times.connect)
        .map_err(|error| Failure::new(Blame::Upstream, "proxy", ErrorKind::UpstreamUnavailable, error.to_string()))?;

    let dispatched = tokio::time::Instant::now();
    let response = match timeout_at(dispatched + times.head, client.request(request)).await {
        Err(_) => return Err(Failure::timeout("first_byte_timeout", times.head).into()),
        Ok(Err(error)) if error.is_connect() => {
            return Err(Failure::new(Blame::Upstream, "connect", ErrorKind::UpstreamUnavailable, chain(&error)).into());
        }
        Ok(Err(error)) => {
            return Err(Failure::new(Blame::Answer, "connection_lost", ErrorKind::UpstreamUnavailable, chain(&error)).into());
        }
        Ok(Ok(response)) => response,
    };
    *status = Some(response.status().as_u16());
    settlement.upstream_request_id = upstream_request_id(response.headers());
    if response.status() != StatusCode::OK {
        return Err(refused(plane, step, response, &times).await);
    }
    if response.headers().get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Failure::invalid("the answer is compressed, which was not asked for").into());
    }
    if question.stream {
        Ok(Content::Stream(Box::new(open(plane, upstream, response.into_body(), session, &times).await?)))
    } else {
        let body = collect(response, plane.config.max_answer_bytes, &times, dispatched + times.total).await?;
        let answer = session.answer(body).map_err(|error| Failure::invalid(error.to_string()))?;
        Ok(Content::Whole(Box::new(answer)))
    }
}

/// The timeouts of an upstream, its own or the defaults.
struct Times {
    connect: Duration,
    head: Duration,
    idle: Duration,
    total: Duration,
}

impl Times {
    /// The upstream's own timeouts, else the installation's, else the defaults.
    fn of(upstream: &UpstreamEntry, installation: &Timeouts, stream: bool) -> Self {
        let of = |field: fn(&Timeouts) -> Option<u64>, default| {
            field(&upstream.timeouts).or_else(|| field(installation)).map_or(default, Duration::from_millis)
        };
        let total = of(|timeouts| timeouts.total_ms, TOTAL_TIMEOUT);
        // Without streaming the head comes with the whole answer.
        let head = of(|timeouts| timeouts.first_byte_ms, if stream { FIRST_BYTE_TIMEOUT } else { total }).min(total);
        Self {
            connect: of(|timeouts| timeouts.connect_ms, CONNECT_TIMEOUT),
            head,
            idle: of(|timeouts| timeouts.stream_idle_ms, STREAM_IDLE_TIMEOUT),
            total,
        }
    }
}

fn build(question: &Question, step: &Step<'_>, outgoing: Outgoing) -> Result<(Request<Full<Bytes>>, Session), Failure> {
    let upstream = &step.target.upstream;
    let misconfigured = |detail: String| Failure::new(Blame::Upstream, "misconfigured", ErrorKind::UpstreamUnavailable, detail);
    let url = join_url(&upstream.base_url, upstream.dialect, &outgoing.path);
    let uri: Uri = url.parse().map_err(|error| misconfigured(format!("the address of the upstream is not a URL: {error}")))?;
    let headers = request_headers(
        upstream.dialect,
        step.credential.map(|credential| credential.secret.expose_secret()),
        &question.facts.request_id_text,
        question.stream,
        outgoing.headers.iter().map(|(name, value)| (*name, value.as_str())),
    )
    .map_err(|error| misconfigured(error.to_string()))?;
    let mut request = Request::post(uri).body(Full::new(outgoing.body)).map_err(|error| misconfigured(error.to_string()))?;
    *request.headers_mut() = headers;
    Ok((request, outgoing.session))
}

/// Reads a whole answer, bounded in size and time.
async fn collect(
    response: Response<Incoming>,
    limit: usize,
    times: &Times,
    deadline: tokio::time::Instant,
) -> Result<Bytes, Failure> {
    let mut body = response.into_body();
    let mut first: Option<Bytes> = None;
    let mut rest: Option<BytesMut> = None;
    let mut total = 0;
    loop {
        let until = deadline.min(tokio::time::Instant::now() + times.idle);
        let frame = match timeout_at(until, body.frame()).await {
            Err(_) => return Err(Failure::timeout("answer_timeout", times.total.min(times.idle))),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => {
                return Err(Failure::new(Blame::Answer, "connection_lost", ErrorKind::UpstreamUnavailable, chain(&error)));
            }
            Ok(None) => break,
        };
        let Ok(data) = frame.into_data() else { continue };
        total += data.len();
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

/// Follows a stream to its first content, the commit gate. What fails before it can be tried elsewhere.
async fn open(
    plane: &DataPlane,
    upstream: &UpstreamEntry,
    mut body: Incoming,
    session: Session,
    times: &Times,
) -> Result<Opened, Broken> {
    let mut stream = session.stream();
    let mut out = Vec::new();
    let mut received = 0;
    loop {
        let frame = match tokio::time::timeout(times.idle, body.frame()).await {
            Err(_) => return Err(Failure::timeout("stream_idle_timeout", times.idle).into()),
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => {
                return Err(Failure::new(Blame::Answer, "connection_lost", ErrorKind::UpstreamUnavailable, chain(&error)).into());
            }
            Ok(None) => {
                stream.finish(&mut out).map_err(|failure| broken(upstream, failure))?;
                return Ok(Opened { upstream: body, stream, out, received, idle_timeout: times.idle, is_complete: true });
            }
        };
        let Ok(data) = frame.into_data() else { continue };
        received += data.len();
        let progress = stream.push(data, &mut out).map_err(|failure| broken(upstream, failure))?;
        if progress.content || progress.done || received > MAX_HELD_BYTES.min(plane.config.max_stream_bytes) {
            return Ok(Opened { upstream: body, stream, out, received, idle_timeout: times.idle, is_complete: false });
        }
    }
}

/// A stream that failed before its first content.
fn broken(upstream: &UpstreamEntry, failure: StreamFailure) -> Broken {
    match failure {
        StreamFailure::Upstream(failure) => understood(upstream, failure, None),
        StreamFailure::Truncated => {
            Failure::new(Blame::Answer, "truncated", ErrorKind::UpstreamUnavailable, StreamFailure::Truncated.to_string()).into()
        }
        other => Failure::invalid(other.to_string()).into(),
    }
}

/// An answer with another status than 200.
async fn refused(plane: &DataPlane, step: &Step<'_>, response: Response<Incoming>, times: &Times) -> Broken {
    let status = response.status().as_u16();
    let wait = retry_after(response.headers());
    let deadline = tokio::time::Instant::now() + times.idle;
    // An error whose text cannot be had is still that error.
    let body = collect(response, plane.config.max_error_bytes, times, deadline).await.unwrap_or_default();
    understood(&step.target.upstream, decode_error(step.target.upstream.dialect, status, &body), wait)
}

/// Whose fault an upstream's error is, and what it means for the next attempt.
fn understood(upstream: &UpstreamEntry, failure: UpstreamFailure, wait: Option<Duration>) -> Broken {
    use FailureClass as Class;
    let (blame, reason, kind) = match failure.class {
        Class::BadRequest | Class::ContextTooLong => return Broken::Client(passed_on(failure)),
        Class::NotFound => (Blame::Upstream, "not_found", ErrorKind::UpstreamUnavailable),
        Class::Auth => (Blame::Credential, "auth", ErrorKind::UpstreamUnavailable),
        Class::Permission => (Blame::Credential, "permission", ErrorKind::UpstreamUnavailable),
        Class::QuotaExhausted => (Blame::Credential, "quota", ErrorKind::UpstreamUnavailable),
        Class::RateLimited => (Blame::Rate, "rate_limited", ErrorKind::RateLimited),
        Class::Overloaded => (Blame::Answer, "overloaded", ErrorKind::UpstreamUnavailable),
        Class::Timeout => (Blame::Answer, "timeout", ErrorKind::UpstreamTimeout),
        Class::Server => (Blame::Answer, "server_error", ErrorKind::UpstreamUnavailable),
    };
    let detail = format!("{} answered {}: {}", upstream.name, failure.status, failure.message);
    Failure { blame, reason, kind, detail, wait: wait.or(failure.retry_after) }.into()
}

/// The upstream's word on the client's own request, translated.
fn passed_on(failure: UpstreamFailure) -> Refusal {
    let code = match failure.class {
        FailureClass::ContextTooLong => "context_length_exceeded",
        _ if failure.status == StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
        _ => "upstream_refused",
    };
    let kind = if failure.status == StatusCode::PAYLOAD_TOO_LARGE { ErrorKind::TooLarge } else { ErrorKind::InvalidRequest };
    Refusal::new(kind, code, failure.message).with_param(failure.param).with_should_retry(false)
}

/// `retry-after-ms`, or `retry-after` in seconds. Dates are rare and not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    number("retry-after-ms")
        .map(|millis| millis / 1_000.0)
        .or_else(|| number("retry-after"))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

fn upstream_request_id(headers: &HeaderMap) -> Option<String> {
    UPSTREAM_REQUEST_IDS
        .iter()
        .find_map(|name| headers.get(*name)?.to_str().ok())
        .map(|id| id.chars().take(MAX_REASON_CHARS).collect())
}

/// An error with its causes: hyper's own text stops at `client error (Connect)`.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
