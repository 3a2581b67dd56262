//! Answers one request: the order in which a simulated provider checks, fails or serves it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::SimConfig;
use crate::answer::{self, Answer};
use crate::conversation::{Ask, Returned};
use crate::dialect::{self, Dialect, Problem, Stamp};
use crate::exchange::{Ending, Exchange, Pace, PacedBody, RESETS};
use crate::faults::{self, Fault, Rule};
use crate::ledger::{Ended, Ledger, LedgerEntry, last_four, now_us};
use crate::memory::Memory;
use crate::misbehave;
use crate::recent::Recent;
use crate::replay::{Case, Cases};
use crate::route::{self, Operation, Route};
use crate::usage::Usage;

/// Largest request body taken, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 64 << 20;
/// Different `sim-fail-first-<N>` models that are counted.
const MAX_COUNTED_MODELS: usize = 10_000;
/// Credentials for which a fault can be set at the same time.
const MAX_RULES: usize = 10_000;
/// The page that the `garbage` fault answers with.
const GARBAGE_PAGE: &[u8] = b"<html><head><title>502 Bad Gateway</title></head><body>upstream is on fire</body></html>\n";
/// The broken JSON of the `garbage-json` fault.
const GARBAGE_JSON: &[u8] = b"{\"id\": \"broken\", \"choices\": [{\"mess";
/// The broken event of the `garbage-json` fault.
const GARBAGE_EVENT: &[u8] = b"data: {\"id\": \"broken\", \"choices\": [{\"del\n\n";

/// An answer, or the wish to close the connection without one.
pub(crate) type Answered = Result<Response<PacedBody>, io::Error>;

/// The simulated provider behind all connections of one listener.
pub(crate) struct Provider {
    pub ledger: Arc<Ledger>,
    recent: Recent,
    cases: Option<Cases>,
    chunk_delay: Duration,
    slow_delay: Duration,
    failures: Mutex<HashMap<String, u64>>,
    /// Faults by credential, set at run time.
    rules: Mutex<HashMap<String, Rule>>,
    memory: Memory,
}

/// A request that has been read and entered in the ledger.
struct Arrived {
    route: Route,
    stamp: Stamp,
    credential: Option<String>,
    has_version: bool,
    path: String,
    is_stream: bool,
    exchange: Exchange,
}

impl Provider {
    pub(crate) fn new(config: &SimConfig, ledger: Arc<Ledger>, cases: Option<Cases>) -> Self {
        Self {
            ledger,
            recent: Recent::default(),
            cases,
            chunk_delay: Duration::from_millis(config.chunk_delay_ms),
            slow_delay: Duration::from_millis(config.slow_delay_ms),
            failures: Mutex::default(),
            rules: Mutex::default(),
            memory: Memory::default(),
        }
    }

    /// Answers one request; an error closes the connection.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Answered {
        let path = request.uri().path().to_owned();
        if let Some(what) = path.strip_prefix("/_sim/") {
            return Ok(self.control(request.method().as_str(), what, request.uri().query().unwrap_or_default()));
        }
        let (head, body) = request.into_parts();
        let query = head.uri.query().unwrap_or_default();
        let route = route::route(&head.method, &path, query, &head.headers);
        let body = match Limited::new(body, MAX_BODY_BYTES).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Err(Problem::TooLarge { limit_bytes: MAX_BODY_BYTES })
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        let seq = self.ledger.next_seq();
        let shown = route::shown(&path, query);
        let kept = body.as_ref().map_or_else(|_| Bytes::new(), Bytes::clone);
        self.recent.record(seq, head.method.as_str(), &shown, &head.headers, &kept);
        let parsed = body.and_then(|bytes| parse_json(&head.method, &bytes));
        let stamp = Stamp { seq, created: now_us() / 1_000_000, request_id: format!("req_sim{seq:08x}") };
        let credential = route::credential(route.dialect, &head.headers, query);
        let model = match (&route.model, &parsed) {
            (Some(model), _) => model.clone(),
            (None, Ok(value)) => value["model"].as_str().unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let entry = LedgerEntry {
            seq,
            at: now_us(),
            ended_at: None,
            dialect: route.dialect,
            operation: route.operation.name().to_owned(),
            method: head.method.to_string(),
            path: shown,
            model: model.clone(),
            credential: credential.as_deref().map(last_four).unwrap_or_default(),
            request_id: stamp.request_id.clone(),
            gateway_request_id: header("x-request-id").map(str::to_owned),
            usage: None,
            usage_reported: false,
            status: 0,
            ended: Ended::Open,
            stream: route.stream || parsed.as_ref().is_ok_and(|value| value["stream"] == true),
            bytes: 0,
            returned: Returned::default(),
            refusal: None,
        };
        let is_stream = entry.stream;
        let exchange = Exchange::begin(Arc::clone(&self.ledger), entry);
        let has_version = header("anthropic-version").is_some();
        let arrived = Arrived { route, stamp, credential, has_version, path, is_stream, exchange };
        match parsed {
            Ok(body) => self.serve(arrived, &model, &body).await,
            Err(problem) => Ok(refused(arrived, &problem)),
        }
    }

    /// The checks and faults that come before an answer, in the order of a real provider.
    async fn serve(&self, mut arrived: Arrived, model: &str, body: &Value) -> Answered {
        let dialect = arrived.route.dialect;
        if let Some(cases) = &self.cases {
            return Ok(match cases.get(model) {
                Some(case) => replayed(arrived, case),
                None => refused(arrived, &Problem::NoModel(model.to_owned())),
            });
        }
        let Some(credential) = arrived.credential.clone() else {
            return Ok(refused(arrived, &Problem::NoCredential));
        };
        if dialect == Dialect::Anthropic && !arrived.has_version {
            let problem = Problem::invalid("anthropic-version: header is required", "anthropic-version");
            return Ok(refused(arrived, &problem));
        }
        if faults::is_bad_credential(&credential) {
            return Ok(refused(arrived, &Problem::BadCredential));
        }
        let rule = self.rules().get(&credential).copied();
        let rule = rule.or_else(|| Fault::of_credential(&credential).or_else(|| Fault::of_model(model)).map(Rule::from));
        if let Some(problem) = rule.and_then(|rule| rule.problem(model)) {
            return Ok(refused(arrived, &problem));
        }
        let fault = rule.map(|rule| rule.fault);
        if faults::failing_first(model).is_some_and(|count| self.fails_still(model, count)) {
            return Ok(refused(arrived, &Problem::Internal));
        }
        match fault {
            Some(broken @ (Fault::Refuse | Fault::Reset)) => {
                arrived.exchange.end(Ended::Cut, false);
                let kind = if broken == Fault::Reset { RESETS } else { io::ErrorKind::ConnectionAborted };
                return Err(io::Error::from(kind));
            }
            Some(Fault::Hang) => {
                let never: Infallible = future::pending().await;
                match never {}
            }
            Some(Fault::Slow) => tokio::time::sleep(self.slow_delay).await,
            Some(Fault::Garbage) => return Ok(raw(arrived, "text/html", GARBAGE_PAGE)),
            Some(Fault::ErrorWith200) => {
                let body = dialect.problem(&Problem::Internal, &arrived.stamp).body;
                return Ok(misbehaved(arrived, json_type(dialect), vec![Bytes::from(body.to_string())], Vec::new()));
            }
            Some(Fault::HugeLine) => {
                let kind = if arrived.is_stream { "text/event-stream" } else { json_type(dialect) };
                return Ok(misbehaved(arrived, kind, misbehave::huge_line(), Vec::new()));
            }
            Some(Fault::GzipBomb) => {
                let headers = vec![("content-encoding", "gzip".to_owned())];
                return Ok(misbehaved(arrived, json_type(dialect), misbehave::gzip_bomb(), headers));
            }
            _ => {}
        }
        match arrived.route.operation {
            Operation::Unknown => {
                let path = arrived.path.clone();
                Ok(refused(arrived, &Problem::NoPath(path)))
            }
            Operation::Models => Ok(told(arrived, &dialect::list_models(dialect), None)),
            Operation::CountTokens => Ok(told(arrived, &dialect::count_tokens(dialect, body), None)),
            Operation::Embeddings => match dialect::embed(dialect, body, &arrived.route.verb) {
                Ok((answer, usage)) => Ok(told(arrived, &answer, Some(usage))),
                Err(problem) => Ok(refused(arrived, &problem)),
            },
            Operation::Generate => {
                let parsed = dialect.parse(body, arrived.route.model.as_deref(), arrived.route.stream);
                match parsed.and_then(|ask| self.memory.check(&ask).map(|()| ask)) {
                    Ok(ask) => Ok(self.generate(arrived, &ask, fault)),
                    Err(problem) => Ok(refused(arrived, &problem)),
                }
            }
        }
    }

    fn generate(&self, mut arrived: Arrived, ask: &Ask, fault: Option<Fault>) -> Response<PacedBody> {
        let dialect = arrived.route.dialect;
        let mut answer = answer::compose(ask, dialect == Dialect::Gemini);
        answer.report_usage = fault != Some(Fault::NoUsage);
        if fault == Some(Fault::GarbageJson) {
            let (kind, body) = if ask.stream { ("text/event-stream", GARBAGE_EVENT) } else { ("application/json", GARBAGE_JSON) };
            return raw(arrived, kind, body);
        }
        arrived.exchange.answering(200, Some(answer.usage));
        arrived.exchange.returned(ask.returned);
        self.remember(ask, &answer, &arrived);
        if ask.stream { self.stream(arrived, ask, &answer, fault) } else { whole(arrived, ask, &answer, fault) }
    }

    /// Remembers what an answer says that must come back as it is.
    fn remember(&self, ask: &Ask, answer: &Answer, arrived: &Arrived) {
        let (dialect, stamp) = (arrived.route.dialect, &arrived.stamp);
        let reasoning = dialect.reasoning_item(stamp).filter(|_| answer.reasoning.is_some());
        for (at, call) in answer.calls.iter().enumerate() {
            self.memory.made(dialect.call_id(stamp, at), call, reasoning.clone());
        }
        if ask.stores {
            for id in dialect.item_ids(ask, answer, stamp) {
                self.memory.store(id);
            }
        }
    }

    fn stream(&self, arrived: Arrived, ask: &Ask, answer: &Answer, fault: Option<Fault>) -> Response<PacedBody> {
        let Arrived { route, stamp, exchange, .. } = arrived;
        let mut frames = route.dialect.frames(ask, answer, &stamp, route.framing);
        let usage_told = answer.report_usage && (route.dialect != Dialect::OpenaiChat || ask.stream_usage);
        if let Some(Fault::Usage(untrue)) = fault {
            misbehave::retell(&mut frames, untrue);
        }
        let half = (frames.len() / 2).max(1);
        let ending = match fault {
            Some(Fault::Cut) => {
                frames.truncate(half);
                Ending::Cut
            }
            Some(Fault::ResetMidstream) => {
                frames.truncate(half);
                Ending::Reset
            }
            Some(Fault::Truncate) => {
                frames.truncate(half);
                Ending::Error
            }
            Some(Fault::HangMidstream) => {
                frames.truncate(half);
                Ending::Hang
            }
            Some(Fault::Drip) => {
                frames = misbehave::single_bytes(&frames);
                Ending::Complete { usage: usage_told }
            }
            Some(Fault::MidstreamError) => {
                frames.truncate(half);
                frames.push(route.dialect.error_frame(&stamp, half, route.framing));
                Ending::Error
            }
            _ => Ending::Complete { usage: usage_told },
        };
        let pace = match fault {
            Some(Fault::Slow) => Pace::Pause(self.slow_delay),
            Some(Fault::Drip) => Pace::Pause(misbehave::DRIP_INTERVAL),
            _ if self.chunk_delay.is_zero() => Pace::Flush,
            _ => Pace::Pause(self.chunk_delay),
        };
        let kind = match (route.dialect, route.framing) {
            (Dialect::Gemini, dialect::Framing::JsonArray) => "application/json; charset=UTF-8",
            (Dialect::Gemini, dialect::Framing::Sse) => "text/event-stream",
            _ => "text/event-stream; charset=utf-8",
        };
        let headers = route.dialect.vendor_headers(&stamp);
        response(200, kind, headers, PacedBody::stream(frames, ending, pace, Some(exchange)))
    }

    /// Counts one more request of a model whose first `count` requests fail.
    fn fails_still(&self, model: &str, count: u64) -> bool {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MAX_COUNTED_MODELS && !failures.contains_key(model) {
            return false;
        }
        let seen = failures.entry(model.to_owned()).or_default();
        *seen += 1;
        *seen <= count
    }

    fn rules(&self) -> MutexGuard<'_, HashMap<String, Rule>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a rule; gives what is wrong with it.
    fn set_rule(&self, query: &str) -> Result<(), String> {
        let (credential, rule) = Rule::parse(query)?;
        let mut rules = self.rules();
        if rules.len() >= MAX_RULES && !rules.contains_key(&credential) {
            return Err(format!("there are {MAX_RULES} rules already"));
        }
        rules.insert(credential, rule);
        Ok(())
    }

    /// `/_sim/…`: what tests ask of the simulator itself.
    fn control(&self, method: &str, what: &str, query: &str) -> Response<PacedBody> {
        let body = match (method, what) {
            ("GET", "ledger") => {
                let since = query.split('&').find_map(|pair| pair.strip_prefix("since="));
                let since = since.and_then(|text| text.parse().ok()).unwrap_or(0);
                json!({"entries": self.ledger.since(since)})
            }
            ("DELETE", "ledger") => {
                self.ledger.clear();
                self.recent.clear();
                self.failures.lock().unwrap_or_else(PoisonError::into_inner).clear();
                json!({"entries": []})
            }
            ("PUT", "faults") => match self.set_rule(query) {
                Ok(()) => json!({"rules": self.rules().len()}),
                Err(why) => {
                    let body = json!({"error": why}).to_string();
                    return response(400, "application/json", Vec::new(), PacedBody::plain(Bytes::from(body)));
                }
            },
            ("DELETE", "faults") => {
                match query.strip_prefix("credential=") {
                    Some(credential) => drop(self.rules().remove(credential)),
                    None => self.rules().clear(),
                }
                json!({"rules": self.rules().len()})
            }
            ("GET", "last-request") => json!({"requests": self.recent.newest_first()}),
            ("GET", "health") => json!({"status": "ok", "replayed_cases": self.cases.as_ref().map_or(0, Cases::len)}),
            _ => {
                let known = "GET|DELETE /_sim/ledger, PUT|DELETE /_sim/faults, GET /_sim/last-request, GET /_sim/health";
                let body = json!({"error": format!("no such path; there are: {known}")});
                return response(404, "application/json", Vec::new(), PacedBody::plain(Bytes::from(body.to_string())));
            }
        };
        response(200, "application/json", Vec::new(), PacedBody::plain(Bytes::from(body.to_string())))
    }
}

fn parse_json(method: &http::Method, bytes: &Bytes) -> Result<Value, Problem> {
    if *method != http::Method::POST {
        return Ok(Value::Null);
    }
    serde_json::from_slice(bytes).map_err(|error| Problem::Invalid {
        message: format!("We could not parse the JSON body of your request: {error}"),
        param: None,
        code: None,
    })
}

/// An error in the dialect's shape.
fn refused(arrived: Arrived, problem: &Problem) -> Response<PacedBody> {
    let Arrived { route, stamp, mut exchange, .. } = arrived;
    let reply = route.dialect.problem(problem, &stamp);
    exchange.answering(reply.status, None);
    if let Problem::Invalid { message, .. } = problem {
        exchange.refused(message);
    }
    let mut headers = route.dialect.vendor_headers(&stamp);
    headers.extend(reply.headers);
    let body = PacedBody::whole(Bytes::from(reply.body.to_string()), Ending::Error, Some(exchange));
    response(reply.status, json_type(route.dialect), headers, body)
}

/// A body that is no generated answer.
fn told(arrived: Arrived, body: &Value, usage: Option<Usage>) -> Response<PacedBody> {
    let Arrived { route, stamp, mut exchange, .. } = arrived;
    exchange.answering(200, usage);
    let ending = Ending::Complete { usage: usage.is_some() };
    let body = PacedBody::whole(Bytes::from(body.to_string()), ending, Some(exchange));
    response(200, json_type(route.dialect), route.dialect.vendor_headers(&stamp), body)
}

/// A whole generated answer.
fn whole(arrived: Arrived, ask: &Ask, answer: &Answer, fault: Option<Fault>) -> Response<PacedBody> {
    let Arrived { route, stamp, exchange, .. } = arrived;
    let mut body = route.dialect.whole(ask, answer, &stamp);
    if let Some(Fault::Usage(untrue)) = fault {
        misbehave::falsify(&mut body, untrue);
    }
    let ending = match fault {
        Some(Fault::Cut) => Ending::Cut,
        Some(Fault::ResetMidstream) => Ending::Reset,
        Some(Fault::Truncate) => {
            let text = body.to_string();
            let half = Bytes::copy_from_slice(&text.as_bytes()[..text.len() / 2]);
            let body = PacedBody::whole(half, Ending::Error, Some(exchange));
            return response(200, json_type(route.dialect), route.dialect.vendor_headers(&stamp), body);
        }
        Some(Fault::Drip) => {
            let bytes = misbehave::single_bytes(&[Bytes::from(body.to_string())]);
            let ending = Ending::Complete { usage: answer.report_usage };
            let body = PacedBody::stream(bytes, ending, Pace::Pause(misbehave::DRIP_INTERVAL), Some(exchange));
            return response(200, json_type(route.dialect), route.dialect.vendor_headers(&stamp), body);
        }
        Some(Fault::HangMidstream) => Ending::Hang,
        Some(Fault::MidstreamError) => {
            body = route.dialect.problem(&Problem::Internal, &stamp).body;
            Ending::Error
        }
        _ => Ending::Complete { usage: answer.report_usage },
    };
    let body = PacedBody::whole(Bytes::from(body.to_string()), ending, Some(exchange));
    response(200, json_type(route.dialect), route.dialect.vendor_headers(&stamp), body)
}

/// Bytes that mean nothing, with status 200.
fn raw(arrived: Arrived, kind: &str, bytes: &'static [u8]) -> Response<PacedBody> {
    let mut exchange = arrived.exchange;
    exchange.answering(200, None);
    let body = PacedBody::whole(Bytes::from_static(bytes), Ending::Error, Some(exchange));
    response(200, kind, Vec::new(), body)
}

/// No answer at all, with status 200 and of unannounced length.
fn misbehaved(arrived: Arrived, kind: &str, chunks: Vec<Bytes>, headers: Vec<(&'static str, String)>) -> Response<PacedBody> {
    let mut exchange = arrived.exchange;
    exchange.answering(200, None);
    response(200, kind, headers, PacedBody::stream(chunks, Ending::Error, Pace::Flush, Some(exchange)))
}

/// A recorded answer, byte for byte.
fn replayed(arrived: Arrived, case: &Case) -> Response<PacedBody> {
    let mut exchange = arrived.exchange;
    exchange.answering(case.status, None);
    let ending = if case.status < 400 { Ending::Complete { usage: false } } else { Ending::Error };
    let body = if case.stream {
        PacedBody::stream(case.chunks.clone(), ending, Pace::Flush, Some(exchange))
    } else {
        PacedBody::whole(Bytes::from(case.chunks.concat()), ending, Some(exchange))
    };
    let mut response = response(case.status, "", Vec::new(), body);
    for (name, value) in &case.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn json_type(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Gemini => "application/json; charset=UTF-8",
        _ => "application/json",
    }
}

fn response(status: u16, kind: &str, headers: Vec<(&'static str, String)>, body: PacedBody) -> Response<PacedBody> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(kind) = HeaderValue::from_str(kind) {
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    }
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}
