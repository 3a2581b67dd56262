//! The response to the client: the tenant's own headers, and the answer as a body.

use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use tallygate_types::{Dialect, Timestamp};

use super::attempt::{Content, Delivery};
use super::keep::Keeper;
use super::pending::PendingBody;
use super::stream::StreamBody;
use crate::body::ReplyBody;
use crate::layers::Question;
use crate::limits::{Levels, put_rate_headers};
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
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-cache");
const ONE: HeaderValue = HeaderValue::from_static("1");
const NO: HeaderValue = HeaderValue::from_static("no");

/// The head of a stream whose answer has not come yet: of it nothing can be told.
pub fn begin(dialect: Dialect, levels: &Levels, accepted_at: Timestamp, body: PendingBody) -> Response<ReplyBody> {
    let mut headers = HeaderMap::with_capacity(8);
    put_rate_headers(&mut headers, dialect, levels, accepted_at);
    streamed(&mut headers, HeaderValue::from_static("text/event-stream"));
    let mut response = Response::new(ReplyBody::Pending(Box::new(body)));
    *response.headers_mut() = headers;
    response
}

fn streamed(headers: &mut HeaderMap, content_type: HeaderValue) {
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    // Proxies in front of us must not gather what is meant to flow.
    headers.insert(ACCEL_BUFFERING, NO);
}

/// Answers. A whole answer is settled here, so that its cost can be told; a stream settles when it ends.
pub fn respond(question: &Question, delivery: Delivery, mut settlement: Settlement, levels: &Levels) -> Response<ReplyBody> {
    let mut headers = HeaderMap::with_capacity(16);
    put(&mut headers, UPSTREAM, &delivery.upstream);
    put(&mut headers, MODEL, &delivery.upstream_model);
    if delivery.is_fallback {
        headers.insert(FALLBACK, HeaderValue::from_static("local"));
    }
    if let Some(id) = &settlement.upstream_request_id {
        put(&mut headers, UPSTREAM_REQUEST_ID, id);
    }
    match settlement.attempts() {
        1 => drop(headers.insert(ATTEMPTS, ONE)),
        attempts => put_short(&mut headers, ATTEMPTS, &Short::of(attempts as u64)),
    }
    put_rate_headers(&mut headers, question.endpoint.dialect, levels, question.facts.accepted_at);
    let plane = std::sync::Arc::clone(settlement.plane());
    let loss = match &delivery.content {
        Content::Whole(answer) => &answer.meter.loss,
        Content::Stream(opened) => opened.stream.loss(),
    };
    if !loss.is_empty() {
        plane.metrics.lossy(question.endpoint.dialect.as_str(), delivery.upstream_dialect.as_str());
        put(&mut headers, LOSS, &loss.to_string());
    }
    let overhead_us = u64::try_from(settlement.overhead().as_micros()).unwrap_or(u64::MAX);
    put_short(&mut headers, OVERHEAD, &Short::of(overhead_us / 1_000).text(".").padded(overhead_us % 1_000, 3));

    let keeper = Keeper::of(&plane, question, delivery.upstream_dialect);
    let told = std::mem::take(&mut settlement.told);
    let body = match delivery.content {
        Content::Whole(answer) => {
            headers.insert(header::CONTENT_TYPE, JSON);
            settlement.remember(answer.keepsakes);
            settlement.bytes_out = answer.body.len() as u64;
            if answer.meter.usage.is_none() && !question.is_count() {
                headers.insert(ESTIMATED, HeaderValue::from_static("true"));
            }
            if let Some((charge, currency)) = settlement.end(Ending::Complete(answer.meter)) {
                let mut cost = Short::new();
                // A short text takes everything.
                let _ = write!(cost, "{charge}");
                put_short(&mut headers, COST, &cost);
                put(&mut headers, CURRENCY, currency.as_str());
            }
            ReplyBody::Whole(answer.body)
        }
        Content::Stream(opened) => {
            streamed(&mut headers, HeaderValue::from_static(opened.stream.content_type()));
            settlement.first_byte();
            ReplyBody::Stream(Box::new(StreamBody::new(*opened, settlement, question.endpoint.operation.name(), keeper)))
        }
    };
    for (name, value) in told {
        headers.insert(name, value);
    }
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}

fn put_short(headers: &mut HeaderMap, name: HeaderName, text: &Short) {
    if let Some(value) = text.value() {
        headers.insert(name, value);
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // A configured name may hold anything; what no header can say is left out.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
