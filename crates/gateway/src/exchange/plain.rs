//! Endpoints that pass untranslated: only to upstreams of their protocol, and only what can be priced.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tallygate_adapter::{Outgoing, Plain, PlainAsked, prepare_plain};
use tallygate_types::Dialect;

use crate::layers::Question;
use crate::path::Operation;
use crate::plane::DataPlane;
use crate::refusal::Refusal;
use crate::routing::Step;

/// What tells the client how to read an answer that need not be JSON.
const TOLD: [HeaderName; 2] = [header::CONTENT_TYPE, header::CONTENT_DISPOSITION];

/// The upstream's request. What is sold by another unit than the token has no price here, unless its price is zero.
pub fn outgoing(plane: &DataPlane, question: &Question, step: &Step<'_>, asked: &PlainAsked) -> Result<Outgoing, Refusal> {
    let (upstream, upstream_model) = (&step.target.upstream, &*step.target.upstream_model);
    if !matches!(upstream.dialect, Dialect::OpenaiChat | Dialect::OpenaiResponses) {
        let message = format!(
            "The model `{}` has no /v1/{}: its upstream does not speak OpenAI's protocol.",
            question.model,
            asked.plain.path()
        );
        return Err(Refusal::no_such_model(message));
    }
    let is_free = question.way.tariffs.price(step.target).is_some_and(|price| price.prices.are_zero());
    if !is_free && let Some(why) = asked.unmetered(upstream_model) {
        plane.metrics.usage_unpriced.inc();
        let message = format!("The model `{}` has prices by the token and cannot be sold this way: {why}.", question.model);
        return Err(Refusal::not_allowed("model_unpriced", message));
    }
    Ok(prepare_plain(asked, upstream_model, &question.body, question.output_cap.map(|cap| cap.each))?)
}

/// Of an upstream's header what goes back.
pub fn told(question: &Question, headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    if !matches!(question.endpoint.operation, Operation::Plain(_)) {
        return Vec::new();
    }
    if let Some(asked) = question.plain.as_ref().filter(|asked| asked.plain == Plain::Speech && !question.stream) {
        let kind = headers.get(header::CONTENT_TYPE).filter(|kind| !kind.as_bytes().starts_with(b"text/event-stream"));
        let kind = kind.cloned().unwrap_or(HeaderValue::from_static(asked.sound_type()));
        return vec![(header::CONTENT_TYPE, kind)];
    }
    TOLD.into_iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone()))).collect()
}
