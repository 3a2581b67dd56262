//! Reads the body within its bounds and looks at what the layers below need of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::service::Service;
use pin_project_lite::pin_project;
use tallygate_adapter::{ErrorKind, Peek, PlainAsked, peek, peek_plain};
use tallygate_store::KeyEntry;
use tokio::time::{Instant, Sleep};

use super::decode::{Coding, Undecoded};
use super::{Called, OutputCap, Recalled, Reply, Seated, plane_layer};
use crate::body::ReplyBody;
use crate::boxed::boxed;
use crate::facts::Facts;
use crate::overload::Seat;
use crate::path::{Endpoint, Operation};
use crate::plane::{DataPlane, Room};
use crate::refusal::Refusal;
use crate::routing::Way;
use crate::upstream::{AskedWith, codex};

/// A larger body gets room for all that it may come to.
const SMALL_BODY_BYTES: usize = 1024 * 1024;
/// As nearly every client writes it.
const USUAL_CONTENT: &[u8] = b"application/json";
/// No configured model has a longer name.
const MAX_MODEL_BYTES: usize = 512;

/// A request whose body has been read.
pub struct Question {
    pub facts: Arc<Facts>,
    pub key: Arc<KeyEntry>,
    pub endpoint: Endpoint,
    /// The public name of the model.
    pub model: Arc<str>,
    pub stream: bool,
    pub body: Bytes,
    pub peek: Peek,
    /// The client's query without the `?`.
    pub query: String,
    pub asked: AskedWith,
    /// What the body refers to.
    pub recalled: Recalled,
    /// What is asked of an endpoint that passes. A box: few requests have one.
    pub plain: Option<Box<PlainAsked>>,
    /// For what routes and sessions are told by.
    pub headers: HeaderMap,
    /// Decided at admission.
    pub way: Way,
    /// Where a hard budget bounds the output otherwise than the client does.
    pub output_cap: Option<OutputCap>,
    /// For upstreams of Codex's own protocol.
    pub codex: Vec<(HeaderName, HeaderValue)>,
    /// Until somebody takes it over who stays to the end.
    pub seat: Option<Seat>,
    /// Held as long as the body is.
    room: Room,
}

impl Question {
    /// Takes another body for the client's, of the same dialect.
    pub fn replace_body(&mut self, body: Bytes, limit: usize) -> Result<(), Refusal> {
        if body.len() > limit {
            let message = format!("With what it refers to the request is larger than {limit} bytes.");
            return Err(Refusal::new(ErrorKind::TooLarge, "request_too_large", message).with_should_retry(false));
        }
        if !self.room.grow(body.len().saturating_sub(self.body.len())) {
            return Err(no_room());
        }
        self.peek = peek(self.endpoint.dialect, &body)?;
        self.body = body;
        Ok(())
    }

    /// Only counts tokens: nothing is sold.
    pub fn is_count(&self) -> bool {
        matches!(self.endpoint.operation, Operation::CountTokens { .. })
    }
}

plane_layer! {
    /// See the module.
    ReadLayer => Read
}

#[derive(Clone)]
pub struct Read<S> {
    plane: Arc<DataPlane>,
    inner: S,
}

impl<S> Service<Seated<Incoming>> for Read<S>
where
    S: Service<Box<Question>, Response = Response<ReplyBody>, Error = Refusal> + Clone,
{
    type Response = Response<ReplyBody>;
    type Error = Refusal;
    type Future = ReadFuture<S>;

    fn call(&self, seated: Seated<Incoming>) -> Self::Future {
        match self.start(seated) {
            Ok(reading) => ReadFuture::Reading { reading: Some(reading), inner: self.inner.clone() },
            Err(refusal) => ReadFuture::Refused { refusal: Some(refusal) },
        }
    }
}

impl<S> Read<S> {
    fn start(&self, seated: Seated<Incoming>) -> Result<Box<Reading>, Refusal> {
        let Seated { called: Called { request, facts }, seat } = seated;
        let config = &self.plane.config;
        let (Some(endpoint), Some(key)) = (facts.endpoint().cloned(), facts.key().cloned()) else {
            return Err(Refusal::internal());
        };
        let takes_form = matches!(endpoint.operation, Operation::Plain(plain) if plain.takes_form());
        let content_type = request.headers().get(header::CONTENT_TYPE);
        check_content(content_type, takes_form)?;
        let form_type = content_type.filter(|_| takes_form).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let limit = if takes_form { config.max_upload_bytes } else { config.max_body_bytes };
        let announced = request.body().size_hint().lower();
        if announced > limit as u64 {
            return Err(too_large(limit));
        }
        let (parts, body) = request.into_parts();
        let coding = Coding::of(&parts.headers)?;
        let asked = AskedWith::of(endpoint.dialect, &parts.headers);
        let codex = codex::asked(endpoint.dialect, &parts.headers);
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let room = self.plane.room();
        let question = boxed(|| Question {
            facts,
            key,
            endpoint,
            asked,
            codex,
            query,
            headers: parts.headers,
            room,
            seat: Some(seat),
            // What the body tells.
            model: Arc::default(),
            stream: false,
            body: Bytes::new(),
            peek: Peek::default(),
            plain: None,
            way: Way::default(),
            output_cap: None,
            recalled: Recalled::default(),
        });
        Ok(boxed(|| Reading {
            question,
            content_type: form_type,
            coding,
            body,
            announced: announced as usize,
            read: Gathered::Nothing,
            limit,
            timeout: config.body_timeout,
            idle_timeout: config.body_idle_timeout,
            waiting_since: None,
            timer: None,
        }))
    }
}

/// JSON, by any of its names, or a form where one is taken.
fn check_content(content_type: Option<&HeaderValue>, takes_form: bool) -> Result<(), Refusal> {
    if let Some(value) = content_type.filter(|value| value.as_bytes() != USUAL_CONTENT) {
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/json") {
            return Ok(());
        }
        let essence = essence.to_ascii_lowercase();
        let is_form = takes_form && essence == "multipart/form-data";
        if !essence.ends_with("+json") && !is_form {
            let message = format!("The body must be JSON: send `content-type: application/json`, not `{essence}`.");
            return Err(
                Refusal::new(ErrorKind::UnsupportedMediaType, "unsupported_content_type", message).with_should_retry(false)
            );
        }
    }
    Ok(())
}

fn too_large(limit: usize) -> Refusal {
    Refusal::new(ErrorKind::TooLarge, "request_too_large", format!("The request body is larger than {limit} bytes."))
        .with_should_retry(false)
}

pub fn no_room() -> Refusal {
    Refusal::unavailable("The gateway holds as many large requests as it can. Try again.", None)
}

struct Reading {
    /// Of it all but what the body tells.
    question: Box<Question>,
    /// Of a form.
    content_type: Option<String>,
    coding: Option<Coding>,
    body: Incoming,
    announced: usize,
    read: Gathered,
    limit: usize,
    timeout: Duration,
    idle_timeout: Duration,
    /// Since the client first let us wait. A body that is there with its head costs no look at a clock.
    waiting_since: Option<Instant>,
    /// Made when the client first lets us wait.
    timer: Option<Pin<Box<Sleep>>>,
}

/// What has come so far. A body in one piece is not copied.
enum Gathered {
    Nothing,
    One(Bytes),
    Many(BytesMut),
}

impl Reading {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Refusal>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.timer = None;
                    if let Ok(data) = frame.into_data() {
                        self.take(data)?;
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let message = format!("The request body broke off: {error}.");
                    return Poll::Ready(Err(Refusal::bad_request("incomplete_body", message)));
                }
                Poll::Ready(None) => return Poll::Ready(Ok(std::mem::replace(&mut self.read, Gathered::Nothing).into_bytes())),
                Poll::Pending => {
                    let now = Instant::now();
                    let until = (*self.waiting_since.get_or_insert(now) + self.timeout).min(now + self.idle_timeout);
                    let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
                    ready!(timer.as_mut().poll(cx));
                    let refusal = Refusal::bad_request("request_timeout", "The request body did not arrive in time.");
                    return Poll::Ready(Err(refusal.with_status(StatusCode::REQUEST_TIMEOUT).with_should_retry(true)));
                }
            }
        }
    }

    fn take(&mut self, data: Bytes) -> Result<(), Refusal> {
        if self.read.len() + data.len() > self.limit {
            return Err(too_large(self.limit));
        }
        if !self.question.room.grow(data.len()) {
            return Err(no_room());
        }
        self.read = match std::mem::replace(&mut self.read, Gathered::Nothing) {
            Gathered::Nothing => Gathered::One(data),
            Gathered::One(first) => {
                let mut many = BytesMut::with_capacity(self.announced.max(first.len() + data.len()));
                many.extend_from_slice(&first);
                many.extend_from_slice(&data);
                Gathered::Many(many)
            }
            Gathered::Many(mut many) => {
                let needed = many.len() + data.len();
                if needed > many.capacity() {
                    // Room that is not written to costs nothing; room that was left behind is not given back at once.
                    let room = if needed > SMALL_BODY_BYTES { self.limit } else { 2 * many.capacity() };
                    let mut larger = BytesMut::with_capacity(room.max(needed));
                    larger.extend_from_slice(&many);
                    many = larger;
                }
                many.extend_from_slice(&data);
                Gathered::Many(many)
            }
        };
        Ok(())
    }

    /// The request, with what its body tells.
    fn into_question(self, body: Bytes) -> Result<Box<Question>, Refusal> {
        let Self { mut question, content_type, coding, limit, waiting_since, .. } = self;
        let waited = waiting_since.map_or(Duration::ZERO, |since| since.elapsed());
        question.facts.learn_body(body.len() as u64, waited);
        let body = match coding {
            None => body,
            Some(coding) => coding.decode(&body, limit, &mut question.room).map_err(|why| match why {
                Undecoded::TooLarge => too_large(limit),
                Undecoded::NoRoom => no_room(),
                Undecoded::Corrupt(why) => {
                    let message = format!("The request body is not what `content-encoding` says: {why}.");
                    Refusal::bad_request("invalid_content_encoding", message)
                }
            })?,
        };
        if body.is_empty() {
            return Err(Refusal::bad_request("empty_body", "The request has no body. Send the request as a JSON object."));
        }
        match question.endpoint.operation {
            Operation::Plain(plain) => {
                let asked = Box::new(peek_plain(plain, content_type.as_deref(), &body)?);
                question.peek = asked.peek.clone();
                question.plain = Some(asked);
            }
            _ => question.peek = peek(question.endpoint.dialect, &body)?,
        }
        let peek = &question.peek;
        let (model, stream) = match &question.endpoint.operation {
            Operation::Generate { model, stream } => (model.as_str(), *stream),
            Operation::Embed { model, .. } | Operation::CountTokens { model: Some(model) } => (model.as_str(), false),
            _ => (peek.model.as_deref().unwrap_or_default(), peek.stream),
        };
        if model.is_empty() {
            let message = "The field `model` is missing. Name one of the models that GET /v1/models lists.";
            return Err(Refusal::bad_request("missing_model", message).with_param(Some("model".to_owned())));
        }
        if model.len() > MAX_MODEL_BYTES {
            let message =
                format!("The name of the model is longer than {MAX_MODEL_BYTES} bytes. GET /v1/models lists the models.");
            return Err(Refusal::bad_request("invalid_model", message).with_param(Some("model".to_owned())));
        }
        let is_generation = !matches!(question.endpoint.operation, Operation::Embeddings | Operation::CountTokens { .. });
        question.model = model.into();
        question.stream = stream && is_generation;
        question.body = body;
        question.facts.learn_model(Arc::clone(&question.model), question.stream);
        Ok(question)
    }
}

impl Gathered {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::Many(bytes) => bytes.freeze(),
        }
    }
}

pin_project! {
    #[project = Project]
    pub enum ReadFuture<S: Service<Box<Question>>> {
        Refused { refusal: Option<Refusal> },
        Reading { reading: Option<Box<Reading>>, inner: S },
        Serving { #[pin] serving: S::Future },
    }
}

impl<S> Future for ReadFuture<S>
where
    S: Service<Box<Question>, Response = Response<ReplyBody>, Error = Refusal>,
{
    type Output = Reply;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reply> {
        loop {
            let serving = match self.as_mut().project() {
                Project::Refused { refusal } => return Poll::Ready(Err(refusal.take().unwrap_or_else(Refusal::internal))),
                Project::Serving { serving } => return serving.poll(cx),
                Project::Reading { reading, inner } => {
                    let Some(open) = reading.as_mut() else { return Poll::Ready(Err(Refusal::internal())) };
                    let body = ready!(open.poll_body(cx))?;
                    let Some(read) = reading.take() else { return Poll::Ready(Err(Refusal::internal())) };
                    inner.call(read.into_question(body)?)
                }
            };
            self.set(Self::Serving { serving });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(headers: &[(&'static str, &'static str)]) -> Option<&'static str> {
        let headers: HeaderMap = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        check_content(headers.get(header::CONTENT_TYPE), false).err().map(|refusal| refusal.code)
    }

    #[test]
    fn json_is_accepted_under_every_name_it_has() {
        for content_type in
            ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"]
        {
            assert_eq!(refused(&[("content-type", content_type)]), None, "{content_type}");
        }
        assert_eq!(refused(&[]), None);
    }

    #[test]
    fn other_content_is_refused() {
        for content_type in ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"] {
            assert_eq!(refused(&[("content-type", content_type)]), Some("unsupported_content_type"), "{content_type}");
        }
    }
}
