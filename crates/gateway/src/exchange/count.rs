//! Counting tokens: asked of an upstream that has a counter, else estimated here and marked.

use http::{HeaderValue, Response, header};
use tallygate_adapter::{CountCall, Memory, Meter, Outgoing, Profiles, estimate_count, prepare_count};
use tallygate_billing::Outcome;
use tallygate_store::{ModelEntry, UpstreamEntry};
use tallygate_types::Dialect;
use url::Url;

use super::reply::ESTIMATED;
use crate::body::ReplyBody;
use crate::layers::{Question, Reply};
use crate::limits::{Levels, put_rate_headers};
use crate::refusal::Refusal;
use crate::routing::Step;
use crate::settle::{Ending, Settlement};

/// The one server of the chat protocol that is known to count; others answer 404, or something else.
const OPENAI_HOST: &str = "api.openai.com";

/// The request to the upstream's counter. An upstream without one is passed over.
pub fn outgoing(
    question: &Question,
    model: &ModelEntry,
    profiles: &Profiles,
    memory: &dyn Memory,
    step: &Step<'_>,
) -> Result<Outgoing, Refusal> {
    let upstream = &step.target.upstream;
    let counter = counter(upstream).ok_or_else(|| Refusal::unavailable("The upstream counts no tokens.", None))?;
    let call = CountCall {
        client: question.endpoint.dialect,
        counter,
        upstream_model: &step.target.upstream_model,
        peek: &question.peek,
        profiles,
        memory,
        strict: model.strict,
    };
    Ok(prepare_count(&call, &question.body, &question.asked.0)?)
}

/// The dialect of an upstream's counter.
fn counter(upstream: &UpstreamEntry) -> Option<Dialect> {
    match upstream.dialect {
        Dialect::OpenaiChat => {
            let is_openai = Url::parse(&upstream.base_url).is_ok_and(|url| url.host_str() == Some(OPENAI_HOST));
            is_openai.then_some(Dialect::OpenaiResponses)
        }
        dialect => Some(dialect),
    }
}

/// An upstream's failure is no reason to answer an agent's count with an error; a mistake of the client is.
pub fn may_estimate(refusal: &Refusal) -> bool {
    matches!(refusal.outcome, Outcome::UpstreamError | Outcome::Timeout)
}

/// Answers with an estimate.
pub fn estimate(question: &Question, mut settlement: Settlement, levels: &Levels) -> Reply {
    let dialect = question.endpoint.dialect;
    let body = match estimate_count(dialect, &question.body) {
        Ok(body) => body,
        Err(bad) => {
            let refusal = Refusal::from(bad);
            let status = refusal.status(dialect);
            settlement.end(Ending::Refused { outcome: refusal.outcome, code: refusal.code, status });
            return Err(refusal);
        }
    };
    settlement.bytes_out = body.len() as u64;
    settlement.end(Ending::Complete(Meter::default()));
    let mut response = Response::new(ReplyBody::Whole(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ESTIMATED, HeaderValue::from_static("true"));
    put_rate_headers(headers, dialect, levels, question.facts.accepted_at);
    Ok(response)
}
