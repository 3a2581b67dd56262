//! The response to the client: the tenant's own headers, and the answer as a body.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use tallygate_types::{Dialect, Timestamp};

use super::attempt::{Content, Delivery};
use super::form::Form;
use super::keep::Keeper;
use super::pending::PendingBody;
use super::stream::StreamBody;
use crate::body::ReplyBody;
use crate::layers::{OutputCap, Question, REQUEST_IDS};
use crate::limits::{Levels, put_rate_headers, rate_names, rate_values};
use crate::settle::{Ending, Settlement};
use crate::short::Short;

const UPSTREAM: HeaderName = HeaderName::from_static("x-tallygate-upstream");
const MODEL: HeaderName = HeaderName::from_static("x-tallygate-model");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-tallygate-attempts");
const OVERHEAD: HeaderName = HeaderName::from_static("x-tallygate-overhead-ms");
const COST: HeaderName = HeaderName::from_static("x-tallygate-cost");
const CURRENCY: HeaderName = HeaderName::from_static("x-tallygate-currency");
/// What stood in for the upstreams that were asked for: `local`.
const FALLBACK: HeaderName = HeaderName::from_static("x-tallygate-fallback");
const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-tallygate-upstream-request-id");
const LOSS: HeaderName = HeaderName::from_static("x-tallygate-loss");
/// The numbers of tokens are not the provider's.
pub const ESTIMATED: HeaderName = HeaderName::from_static("x-tallygate-estimated");
/// What a hard budget bounded each answer's output to, in tokens, where the client gave no bound or a higher one.
const MAX_TOKENS_APPLIED: HeaderName = HeaderName::from_static("x-tallygate-max-tokens-applied");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-cache");
const ONE: HeaderValue = HeaderValue::from_static("1");
const NOTHING_YET: HeaderValue = HeaderValue::from_static("");
const NO: HeaderValue = HeaderValue::from_static("no");

/// The head of a stream whose answer has not come yet: of it nothing can be told.
pub fn begin(
    dialect: Dialect,
    levels: &Levels,
    accepted_at: Timestamp,
    cap: Option<OutputCap>,
    body: PendingBody,
) -> Response<ReplyBody> {
    let mut headers = HeaderMap::with_capacity(8);
    put_rate_headers(&mut headers, dialect, levels, accepted_at);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    flow(&mut headers);
    headers.extend(applied(cap));
    let mut response = Response::new(ReplyBody::Pending(Box::new(body)));
    *response.headers_mut() = headers;
    response
}

fn applied(cap: Option<OutputCap>) -> Option<(HeaderName, HeaderValue)> {
    cap.filter(|cap| cap.is_news).map(|cap| (MAX_TOKENS_APPLIED, HeaderValue::from(cap.each)))
}

fn flow(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    // Proxies in front of us must not gather what is meant to flow.
    headers.insert(ACCEL_BUFFERING, NO);
}

/// The names of nearly every answer, in the order of their values in [`respond`].
static NAMES: [HeaderName; 4] = [UPSTREAM, MODEL, ATTEMPTS, header::CONTENT_TYPE];
/// What is known last: of a stream the first, of a whole answer all.
static LAST_NAMES: [HeaderName; 3] = [OVERHEAD, COST, CURRENCY];

/// The forms of whole answers and of streams.
struct Forms {
    whole: Form,
    stream: Form,
}

impl Forms {
    fn of(dialect: Dialect) -> &'static Self {
        static OPENAI: LazyLock<Forms> = LazyLock::new(|| Forms::new(Dialect::OpenaiChat));
        static ANTHROPIC: LazyLock<Forms> = LazyLock::new(|| Forms::new(Dialect::Anthropic));
        if dialect == Dialect::Anthropic { &ANTHROPIC } else { &OPENAI }
    }

    fn new(dialect: Dialect) -> Self {
        let all = || NAMES.iter().chain(&REQUEST_IDS).chain(rate_names(dialect));
        Self { whole: Form::new(all().chain(&LAST_NAMES)), stream: Form::new(all().chain(&LAST_NAMES[..1])) }
    }
}

/// As `12.345`.
fn millis(duration: Duration) -> Option<HeaderValue> {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    Short::of(micros / 1_000).text(".").padded(micros % 1_000, 3).value()
}

/// Answers. A whole answer is settled here, so that its cost can be told; a stream settles when it ends.
pub fn respond(question: &Question, delivery: Delivery, mut settlement: Settlement, levels: &Levels) -> Response<ReplyBody> {
    let (dialect, plane) = (question.endpoint.dialect, Arc::clone(settlement.plane()));
    let attempts = match settlement.attempts() {
        1 => Some(ONE),
        attempts => Short::of(attempts as u64).value(),
    };
    let (content_type, loss) = match &delivery.content {
        Content::Whole(answer) => (JSON, &answer.meter.loss),
        Content::Stream(opened) => (HeaderValue::from_static(opened.stream.content_type()), opened.stream.loss()),
    };
    let loss = (!loss.is_empty()).then(|| {
        plane.metrics.lossy(dialect.as_str(), delivery.upstream_dialect.as_str());
        HeaderValue::from_str(&loss.to_string()).ok()
    });
    let is_estimated =
        matches!(&delivery.content, Content::Whole(answer) if answer.meter.usage.is_none() && !question.is_count());
    // What no header can say is left out: a configured name may hold anything.
    let usual = [
        HeaderValue::from_str(&delivery.upstream).ok(),
        HeaderValue::from_str(&delivery.upstream_model).ok(),
        attempts,
        Some(content_type),
        // The guard tells the ids, to everybody.
        Some(NOTHING_YET),
        Some(NOTHING_YET),
    ];
    let rates = rate_values(dialect, levels, question.facts.accepted_at);
    let upstream_request_id = settlement.upstream_request_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok());
    let keeper = Keeper::of(&plane, question, delivery.upstream_dialect);
    let told = std::mem::take(&mut settlement.told);
    let forms = Forms::of(dialect);
    let (mut headers, body) = match delivery.content {
        Content::Whole(answer) => {
            settlement.remember(answer.keepsakes);
            settlement.bytes_out = answer.body.len() as u64;
            let settled = settlement.end(Ending::Complete(answer.meter));
            let cost = settled.charge.map(|(charge, currency)| {
                let mut cost = Short::new();
                // A short text takes everything.
                let _ = write!(cost, "{charge}");
                (cost.value(), HeaderValue::from_str(currency.as_str()).ok())
            });
            let (cost, currency) = cost.unwrap_or_default();
            let last = [millis(settled.overhead), cost, currency];
            (forms.whole.fill(usual.into_iter().chain(rates).chain(last)), ReplyBody::Whole(answer.body))
        }
        Content::Stream(opened) => {
            settlement.first_byte();
            let overhead = millis(settlement.overhead());
            let body = StreamBody::new(*opened, settlement, question.endpoint.operation.name(), keeper);
            let mut headers = forms.stream.fill(usual.into_iter().chain(rates).chain([overhead]));
            flow(&mut headers);
            (headers, ReplyBody::Stream(Box::new(body)))
        }
    };
    if delivery.is_fallback {
        headers.insert(FALLBACK, HeaderValue::from_static("local"));
    }
    if is_estimated {
        headers.insert(ESTIMATED, HeaderValue::from_static("true"));
    }
    let rare = [(UPSTREAM_REQUEST_ID, upstream_request_id), (LOSS, loss.flatten())];
    let rare = rare.into_iter().filter_map(|(name, value)| Some((name, value?)));
    for (name, value) in rare.chain(applied(question.output_cap)).chain(told) {
        headers.insert(name, value);
    }
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}
