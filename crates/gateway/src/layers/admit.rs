//! May this request be served, now, to this tenant? All or nothing: what an earlier question took, a later no gives back.

use std::sync::Arc;

use futures_util::future::Either;
use http::Response;
use hyper::service::Service;
use tallygate_adapter::{TextWeight, Weight};
use tallygate_billing::{Reservation, Unpriced, estimate};
use tallygate_store::{ModelEntry, Snapshot};
use tallygate_types::{Dialect, Pico, Timestamp, Usage, UsageClass};

use super::{AtOnce, Question, at_once, plane_layer};
use crate::body::ReplyBody;
use crate::limits::{Permit, Scope, ScopeKind, rate_headers};
use crate::metrics::Present;
use crate::overload::Seat;
use crate::path::Operation;
use crate::plane::DataPlane;
use crate::policy;
use crate::refusal::Refusal;
use crate::routing;

/// A request that may be served, and everything it holds while it is.
pub struct Admitted {
    pub question: Box<Question>,
    pub model: Arc<ModelEntry>,
    pub held: Held,
}

/// What a request holds of shared things. Dropping it gives back what was not used.
pub struct Held {
    pub permit: Box<dyn Permit>,
    pub reservation: Reservation,
    pub reserved: Pico,
    /// What counts if nobody tells: the input, as far as it can be told from the body.
    pub estimate: Usage,
    /// Input and output as they are estimated.
    pub tokens: u64,
    pub seat: Seat,
    pub present: Present,
}

plane_layer! {
    /// See the module.
    AdmitLayer => Admit
}

#[derive(Clone)]
pub struct Admit<S> {
    plane: Arc<DataPlane>,
    inner: S,
}

impl<S> Service<Box<Question>> for Admit<S>
where
    S: Service<Admitted, Response = Response<ReplyBody>, Error = Refusal>,
{
    type Response = Response<ReplyBody>;
    type Error = Refusal;
    type Future = AtOnce<S::Future>;

    fn call(&self, question: Box<Question>) -> Self::Future {
        match admit(&self.plane, question) {
            Ok(admitted) => Either::Right(self.inner.call(admitted)),
            Err(refusal) => at_once(Err(refusal)),
        }
    }
}

fn admit(plane: &DataPlane, mut question: Box<Question>) -> Result<Admitted, Refusal> {
    // What decides the price and the budget's period.
    let accepted_at = question.facts.accepted_at;
    // The one its key is of: a configuration that changed while the body was read is the next request's.
    let snapshot = question.facts.take_configuration().ok_or_else(Refusal::internal)?;
    let model = find_model(&snapshot, &question)?;
    let unpriced = || {
        plane.metrics.usage_unpriced.inc();
        let message = format!("The model `{}` has no price and cannot be sold. Ask your administrator to set one.", model.name);
        Refusal::not_allowed("model_unpriced", message)
    };
    let price = plane.prices.at(model.id, accepted_at).ok_or_else(unpriced)?;

    let is_free = question.is_count();
    let weight = weigh(plane, &question);
    let input_tokens = if is_free { estimate::tokens(question.peek.text_bytes) } else { weight.estimate.input_total() };
    let currency = price.currency;
    // Rates are asked at the time it is: while the body was read, others took of the bucket and it was refilled.
    let now = plane.clock.now();
    let way = routing::way(plane, &snapshot, &question, &model, (!is_free).then_some(price), input_tokens, now);
    drop(snapshot);
    let seat = question.seat.take().ok_or_else(Refusal::internal)?;
    let present = plane.metrics.serving(question.endpoint.operation.name());
    let admitted_tokens =
        weight.estimate.input_total().saturating_add(weight.output_at_most.min(plane.config.admitted_output_tokens));
    let permit = limit(plane, &question, &seat, admitted_tokens, now)?;

    // Which target answers is not known yet: the dearest that may is reserved for.
    let reserved = way
        .tariffs
        .at_most(|price| price.reservation_for(weight.input, weight.input_at_most, weight.output, weight.output_at_most));
    let reserved = reserved.map_err(|why| match why {
        Unpriced::Class(_) => unpriced(),
        Unpriced::Overflow => too_much(&question),
    })?;
    let reserving = plane.budgets.reserve(&question.key.tenant, &seat.tenant().account, reserved, currency, accepted_at);
    let reservation = reserving.map_err(|exceeded| {
        plane.metrics.limited("tenant", "spend");
        Refusal::over_budget(&exceeded)
    })?;
    question.way = way;
    let held = Held { permit, reservation, reserved, estimate: weight.estimate, tokens: admitted_tokens, seat, present };
    Ok(Admitted { question, model, held })
}

fn find_model(snapshot: &Snapshot, question: &Question) -> Result<Arc<ModelEntry>, Refusal> {
    let (key, name) = (&question.key, &*question.model);
    let Some(model) = snapshot.model(name) else {
        return Err(policy::unknown_model(name, key, snapshot));
    };
    if !policy::may_use(key, &model.name) {
        return Err(Refusal::not_allowed("model_not_allowed", format!("Your API key may not use the model `{name}`.")));
    }
    Ok(Arc::clone(model))
}

/// What the request may use.
fn weigh(plane: &DataPlane, question: &Question) -> Weight {
    const INPUT: &[UsageClass] = &[UsageClass::InputUncached, UsageClass::InputCacheWrite5m];
    const OUTPUT: &[UsageClass] = &[UsageClass::OutputText, UsageClass::OutputReasoning];
    let (bytes, assumed_output) = (question.peek.text_bytes, plane.config.assumed_output_tokens);
    if let Some(asked) = &question.plain {
        let text = TextWeight { tokens: estimate::tokens, tokens_at_most: estimate::input_upper_bound, assumed_output };
        return asked.weight(bytes, &text);
    }
    let output_at_most = match question.endpoint.operation {
        Operation::Embeddings | Operation::Embed { .. } | Operation::CountTokens { .. } => 0,
        _ => {
            let each = question.peek.max_output_tokens.unwrap_or(assumed_output);
            each.saturating_mul(u64::from(question.peek.candidates.max(1)))
        }
    };
    let input = if question.is_count() { 0 } else { estimate::tokens(bytes) };
    Weight {
        estimate: Usage::default().with(UsageClass::InputUncached, input),
        input_at_most: estimate::input_upper_bound(bytes),
        input: INPUT,
        output_at_most,
        output: OUTPUT,
    }
}

/// More output is asked for than any amount of money can pay.
fn too_much(question: &Question) -> Refusal {
    let is_there = |name| memchr::memmem::find(&question.body, name).is_some();
    let field = match question.endpoint.dialect {
        Dialect::OpenaiChat if question.peek.max_output_tokens.is_none() => "n",
        Dialect::OpenaiChat if is_there(b"\"max_completion_tokens\"") => "max_completion_tokens",
        Dialect::OpenaiChat | Dialect::Anthropic => "max_tokens",
        Dialect::OpenaiResponses => "max_output_tokens",
        Dialect::Gemini => "generationConfig.maxOutputTokens",
    };
    let message = format!("`{field}` asks for more output than can be paid for. Give a smaller number.");
    Refusal::bad_request("invalid_request", message).with_param(field.to_owned())
}

fn limit(plane: &DataPlane, question: &Question, seat: &Seat, tokens: u64, now: Timestamp) -> Result<Box<dyn Permit>, Refusal> {
    let Question { key, endpoint, .. } = question;
    let tenant = &key.tenant;
    // A tenant whose own bound is set has decided how much its keys may do.
    let per_key = tenant.limits.concurrency.is_none().then_some(plane.config.max_in_flight_per_key);
    let scopes = [
        Scope {
            kind: ScopeKind::Tenant,
            holder: seat.tenant(),
            limits: &tenant.limits,
            default_concurrency: Some(plane.config.max_in_flight_per_tenant),
        },
        Scope { kind: ScopeKind::Key, holder: &plane.holders.key(key), limits: &key.limits, default_concurrency: per_key },
    ];
    plane.limiter.admit(&scopes, endpoint.operation.purpose(), tokens, now).map_err(|exceeded| {
        plane.metrics.limited(exceeded.scope.as_str(), exceeded.dimension.as_str());
        Refusal::limited(&exceeded).with_headers(rate_headers(endpoint.dialect, &exceeded.levels, now))
    })
}
