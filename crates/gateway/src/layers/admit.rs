//! May this request be served, now, to this tenant? All or nothing: what an earlier question took, a later no gives back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either};
use http::Response;
use hyper::service::Service;
use tallygate_adapter::{TextWeight, Weight};
use tallygate_billing::{BudgetExceeded, BudgetReason, Refused, Reservation, Spender, Unpriced, Wait, estimate};
use tallygate_store::{ModelEntry, Snapshot};
use tallygate_types::{Currency, Dialect, Pico, Timestamp, Usage, UsageClass};
use tokio::time::{Instant, timeout_at};

use super::{AtOnce, Question, Reply, at_once, cap, plane_layer};
use crate::body::ReplyBody;
use crate::limits::{self, Answer, Asked, Declined, Permit, Scope, ScopeKind, Scopes, Subject, bounded_name, rate_headers};
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

/// A database that does not answer for so long is not waited for: what asks for more of a budget is refused, after twice as long
/// at most.
const SILENCE_AT_MOST: Duration = Duration::from_millis(120);
/// One that answers others is waited for longer.
const LEASE_WAIT: Duration = Duration::from_secs(2);
/// Each budget that is short, or became so meanwhile, may lower the output once more.
const MAX_CUTS: u32 = 8;

impl<S> Service<Box<Question>> for Admit<S>
where
    S: Service<Admitted, Response = Response<ReplyBody>, Error = Refusal> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<ReplyBody>;
    type Error = Refusal;
    type Future = Either<AtOnce<S::Future>, BoxFuture<'static, Reply>>;

    fn call(&self, question: Box<Question>) -> Self::Future {
        let decided = admit(&self.plane, question).and_then(|(pending, asked)| match asked {
            Asked::Now(answer) => Ok(pending.permitted(&self.plane, answer)?.map_err(Awaited::Lease)),
            Asked::Later(answer) => Ok(Err(Awaited::Limits(Box::new(pending), answer))),
        });
        match decided {
            Ok(Ok(admitted)) => Either::Left(Either::Right(self.inner.call(admitted))),
            Ok(Err(awaited)) => {
                let (plane, inner) = (Arc::clone(&self.plane), self.inner.clone());
                Either::Right(Box::pin(async move {
                    let admitted = awaited.come(&plane).await?;
                    let serving = inner.call(admitted);
                    serving.await
                }))
            }
            Err(refusal) => Either::Left(at_once(Err(refusal))),
        }
    }
}

/// What a request waits for that is not admitted at once.
enum Awaited {
    /// What the other replicas have used of its limits.
    Limits(Box<Pending>, BoxFuture<'static, Answer>),
    Lease(Box<Leasing>),
}

/// A request that everything admits but its limits and its budgets.
struct Pending {
    question: Box<Question>,
    model: Arc<ModelEntry>,
    reserved: Pico,
    currency: Currency,
    weight: Weight,
    /// The client's bound was lowered so often.
    cuts: u32,
    tokens: u64,
    seat: Seat,
    present: Present,
}

/// A request that everything admits but a budget of which there is too little at hand.
struct Leasing {
    pending: Pending,
    permit: Box<dyn Permit>,
    wait: Wait,
}

impl Awaited {
    async fn come(self, plane: &DataPlane) -> Result<Admitted, Refusal> {
        let leasing = match self {
            Self::Limits(pending, answer) => {
                let answer = answer.await;
                match pending.permitted(plane, answer)? {
                    Ok(admitted) => return Ok(admitted),
                    Err(leasing) => leasing,
                }
            }
            Self::Lease(leasing) => leasing,
        };
        leasing.wait(plane).await
    }
}

impl Pending {
    /// Its limits have answered: what is left to ask are its budgets.
    fn permitted(mut self, plane: &DataPlane, answer: Answer) -> Result<Result<Admitted, Box<Leasing>>, Refusal> {
        let permit = answer.map_err(|declined| self.declined(plane, &declined))?;
        match self.reserve(plane) {
            Ok(reservation) => Ok(Ok(self.with(permit, reservation))),
            Err(Refused::Exceeded(exceeded)) => Err(self.over_budget(plane, &exceeded)),
            Err(Refused::Wait(wait)) => Ok(Err(Box::new(Leasing { pending: self, permit, wait }))),
        }
    }

    fn over_budget(&self, plane: &DataPlane, exceeded: &BudgetExceeded) -> Refusal {
        plane.metrics.limited(exceeded.scope.as_str(), "spend");
        Refusal::over_budget(exceeded, &self.question.key)
    }

    fn declined(&self, plane: &DataPlane, declined: &Declined) -> Refusal {
        match declined {
            Declined::Exceeded(exceeded) => {
                plane.metrics.limited(exceeded.scope.as_str(), exceeded.dimension.as_str());
                let headers = rate_headers(self.question.endpoint.dialect, &exceeded.levels, plane.clock.now());
                Refusal::limited(exceeded).with_headers(headers)
            }
            Declined::Unknown => Refusal::limits_unknown(),
        }
    }

    /// Sets aside what the request may cost; where that is not left, what it costs with less output.
    fn reserve(&mut self, plane: &DataPlane) -> Result<Reservation, Refused> {
        loop {
            let Self { question, model, reserved, currency, .. } = self;
            match plane.budgets.reserve(spender(question, model), *reserved, *currency, question.facts.accepted_at) {
                Err(Refused::Exceeded(exceeded)) if self.cut(&exceeded) => {}
                decided => return decided,
            }
        }
    }

    /// Whether less output would fit into what is left of the budget; then that much is asked for.
    fn cut(&mut self, exceeded: &BudgetExceeded) -> bool {
        if exceeded.reason != BudgetReason::Exceeded || self.cuts >= MAX_CUTS {
            return false;
        }
        let Some((cheaper, reserved)) = cap::within(&self.question, &self.weight, exceeded.left) else { return false };
        self.cuts += 1;
        (self.weight, self.reserved) = (cheaper, reserved);
        true
    }

    fn with(self, permit: Box<dyn Permit>, reservation: Reservation) -> Admitted {
        let Self { mut question, model, reserved, weight, cuts, tokens, seat, present, .. } = self;
        let estimate = weight.estimate;
        if reservation.is_hard() {
            question.output_cap = cap::of(&question, &weight, cuts > 0);
        }
        Admitted { question, model, held: Held { permit, reservation, reserved, estimate, tokens, seat, present } }
    }
}

impl Leasing {
    /// Until the database has given more of the budget, or does not.
    async fn wait(self: Box<Self>, plane: &DataPlane) -> Result<Admitted, Refusal> {
        let Self { mut pending, permit, mut wait } = *self;
        let until = Instant::now() + LEASE_WAIT;
        loop {
            let look = (Instant::now() + SILENCE_AT_MOST).min(until);
            if timeout_at(look, wait.answered()).await.is_err() {
                if look < until && plane.budgets.silence() < SILENCE_AT_MOST {
                    continue;
                }
                return Err(pending.over_budget(plane, &wait.exceeded));
            }
            match pending.reserve(plane) {
                Ok(reservation) => return Ok(pending.with(permit, reservation)),
                Err(Refused::Exceeded(exceeded)) => return Err(pending.over_budget(plane, &exceeded)),
                Err(Refused::Wait(again)) => wait = again,
            }
        }
    }
}

fn spender<'a>(question: &'a Question, model: &'a ModelEntry) -> Spender<'a> {
    Spender { key: &question.key, model: &model.name, end_user: question.peek.user.as_deref() }
}

fn admit(plane: &DataPlane, mut question: Box<Question>) -> Result<(Pending, Asked), Refusal> {
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
    let weight = cap::unbounded(&question, &way.tariffs, weight, || spender(&question, &model).smallest_hard_budget(currency));
    // Which target answers is not known yet: the dearest that may is reserved for.
    let reserved = cap::at_most(&way.tariffs, &weight).map_err(|why| match why {
        Unpriced::Class(_) => unpriced(),
        Unpriced::Overflow => too_much(&question),
    })?;
    question.way = way;
    let asked = limit(plane, &question, &model, &seat, admitted_tokens, now);
    Ok((Pending { question, model, reserved, currency, weight, cuts: 0, tokens: admitted_tokens, seat, present }, asked))
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

/// Asks the scopes that have limits, in the order in which the first that refuses says so.
fn limit(plane: &DataPlane, question: &Question, model: &ModelEntry, seat: &Seat, tokens: u64, now: Timestamp) -> Asked {
    let Question { key, endpoint, peek, .. } = question;
    let (tenant, places) = (&*key.tenant, plane.config.default_places());
    let per_key = places.of_key(tenant);
    let project = key.project().filter(|project| limits::bounds(&project.limits));
    let project = project.map(|project| (project, plane.holders.project(project)));
    let of_key = (per_key.is_some() || limits::bounds(&key.limits)).then(|| plane.holders.key(key));
    let inner = tenant.bounds.as_deref();
    let of_model = inner.and_then(|inner| inner.models.get(&*model.name)).filter(|limits| limits::bounds(limits));
    let of_model = of_model.map(|limits| (limits, plane.holders.named(tenant.id, ScopeKind::Model, &model.name, now)));
    let end_user = inner.map(|inner| &inner.end_users).filter(|limits| limits::bounds(limits)).zip(peek.user.as_deref());
    let end_user = end_user.map(|(limits, name)| (limits, name, plane.holders.named(tenant.id, ScopeKind::EndUser, name, now)));

    let mut scopes = Scopes::new(Scope {
        kind: ScopeKind::Tenant,
        subject: &tenant.name,
        id: Subject::Id(tenant.id.uuid()),
        holder: seat.tenant(),
        limits: &tenant.limits,
        default_concurrency: Some(places.per_tenant),
    });
    let mut ask = |kind, subject, id, holder, limits, default_concurrency| {
        scopes.push(Scope { kind, subject, id, holder, limits, default_concurrency });
    };
    if let Some((project, holder)) = &project {
        ask(ScopeKind::Project, &*project.name, Subject::Id(project.id.uuid()), holder, &project.limits, None);
    }
    if let Some(holder) = &of_key {
        ask(ScopeKind::Key, &*key.name, Subject::Id(key.id.uuid()), holder, &key.limits, per_key);
    }
    if let Some((limits, holder)) = &of_model {
        ask(ScopeKind::Model, &*model.name, Subject::Name, holder, limits, None);
    }
    if let Some((limits, name, holder)) = &end_user {
        ask(ScopeKind::EndUser, bounded_name(name), Subject::Name, holder, limits, None);
    }
    plane.limiter.admit(scopes.as_slice(), endpoint.operation.purpose(), tokens, now)
}
