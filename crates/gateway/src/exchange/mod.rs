//! The exchange with upstreams: route, attempt, respond, settle.

mod attempt;
mod count;
pub(crate) mod failure;
mod keep;
mod line;
mod pending;
mod plain;
mod reply;
mod sealed;
mod stream;

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::Response;
use tallygate_adapter::{
    Call, EmbedCall, Outgoing, PastReasoning, Peek, prepare, prepare_embeddings, serves_responses, streams_events,
};
use tallygate_billing::estimate;
use tallygate_store::ModelEntry;
use tallygate_types::{Dialect, UpstreamId};
use tower::Service;

use self::attempt::{Delivery, Tried, Verdict};
use self::failure::{Again, Blame, Failure};
use crate::body::ReplyBody;
use crate::layers::{Admitted, Question, Reply};
use crate::limits::Levels;
use crate::path::Operation;
use crate::plane::DataPlane;
use crate::refusal::Refusal;
use crate::routing::{self, Step};
use crate::settle::{Ending, Settlement};
use crate::tokens::text_bytes;

pub use pending::PendingBody;
pub use stream::StreamBody;

/// The innermost service of the stack.
#[derive(Clone)]
pub struct Exchange {
    plane: Arc<DataPlane>,
}

impl Exchange {
    pub const fn new(plane: Arc<DataPlane>) -> Self {
        Self { plane }
    }
}

impl Service<Admitted> for Exchange {
    type Response = Response<ReplyBody>;
    type Error = Refusal;
    /// The one box of the stack: it keeps the state of a whole exchange out of every idle connection.
    type Future = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, admitted: Admitted) -> Self::Future {
        Box::pin(exchange(Arc::clone(&self.plane), admitted))
    }
}

/// What the search for an answer came to.
pub struct Found {
    question: Question,
    settlement: Settlement,
    tried: Result<Delivery, Refusal>,
}

/// A search that is under way.
pub type Searching = Pin<Box<dyn Future<Output = Found> + Send>>;

async fn exchange(plane: Arc<DataPlane>, admitted: Admitted) -> Reply {
    let Admitted { question, model, held } = admitted;
    let levels = held.permit.levels();
    let settlement = Settlement::open(Arc::clone(&plane), &question, &model, held);
    if !(question.stream && streams_events(question.endpoint.dialect, &question.query)) {
        let found = search(Arc::clone(&plane), question, model, settlement).await;
        return answer(&plane, found, &levels).await;
    }
    let (dialect, accepted_at) = (question.endpoint.dialect, question.facts.accepted_at);
    let mut search: Searching = Box::pin(search(Arc::clone(&plane), question, model, settlement));
    if let Ok(found) = tokio::time::timeout(plane.config.stream_commit_delay, &mut search).await {
        return answer(&plane, found, &levels).await;
    }
    let body = PendingBody::new(search, dialect, plane.config.stream_keep_alive);
    Ok(reply::begin(dialect, &levels, accepted_at, body))
}

async fn search(plane: Arc<DataPlane>, question: Question, model: Arc<ModelEntry>, mut settlement: Settlement) -> Found {
    let tried = {
        let live = &question.facts.live;
        tokio::select! {
            biased;
            tried = try_all(&plane, &question, &model, &mut settlement) => tried,
            why = live.interrupted() => {
                plane.metrics.exchange.interrupted(why);
                Err(why.refusal())
            }
        }
    };
    Found { question, settlement, tried }
}

async fn answer(plane: &Arc<DataPlane>, found: Found, levels: &Levels) -> Reply {
    let Found { question, settlement, tried } = found;
    match tried {
        Ok(mut delivery) => {
            keep::whole(plane, &question, &mut delivery).await;
            Ok(reply::respond(&question, delivery, settlement, levels))
        }
        Err(refusal) if question.is_count() && count::may_estimate(&refusal) => count::estimate(&question, settlement, levels),
        Err(refusal) => {
            let refusal = refusal.with_attempts(settlement.attempts());
            let status = refusal.status(question.endpoint.dialect);
            settlement.end(Ending::Refused { outcome: refusal.outcome, code: refusal.code, status });
            Err(refusal)
        }
    }
}

/// A request, and its body where media had to be fetched for the upstream in turn.
#[derive(Clone, Copy)]
struct Asked<'a> {
    question: &'a Question,
    with_media: Option<&'a (Bytes, Peek)>,
}

/// Goes through the attempts until one delivers, the client is found at fault, or none is left.
async fn try_all(
    plane: &Arc<DataPlane>,
    question: &Question,
    model: &ModelEntry,
    settlement: &mut Settlement,
) -> Result<Delivery, Refusal> {
    let plan = routing::attempts(plane, question, model).map_err(|why| routing::refusal(why, model, plane.clock.now()))?;
    settlement.planned(&plan);
    let mut inlined = Vec::new();
    let mut unreachable: Vec<UpstreamId> = Vec::new();
    let mut last: Option<(Failure, &str)> = None;
    // The client's request cannot be said to this upstream; another may speak its dialect.
    let mut unsayable: Option<Refusal> = None;
    for step in &plan.steps {
        let upstream = &step.target.upstream;
        if unreachable.contains(&upstream.id) {
            continue;
        }
        let fetched = Instant::now();
        let with_media = plane.media.inline(plane, question, step, &mut inlined).await;
        settlement.waited(fetched.elapsed());
        let asked = with_media.map(|with_media| Asked { question, with_media });
        let said = asked.and_then(|asked| Ok((asked, outgoing(plane, asked, model, step, PastReasoning::Sent)?)));
        let (asked, outgoing) = match said {
            Ok(said) => said,
            Err(refusal) => {
                unsayable = Some(refusal);
                continue;
            }
        };
        if let Some((failure, from)) = &last
            && *from != upstream.name
        {
            plane.metrics.failed_over(from, &upstream.name, failure.reason);
        }
        settlement.dispatch(step)?;
        let verdict = match attempt::run(plane, question, step, outgoing, settlement).await {
            Tried::Final(verdict) => verdict,
            Tried::Again(again) => try_again(plane, asked, model, step, again, settlement).await?,
        };
        match verdict {
            Verdict::Delivered(delivery) => {
                if let Some(credential) = step.credential {
                    plane.cooling.recovered(credential.id);
                }
                return Ok(delivery);
            }
            Verdict::ClientAtFault(refusal) => return Err(refusal),
            Verdict::Failed(failure) => {
                hold_against(plane, step, &failure);
                // Another credential may have another way out.
                let has_own_way = step.credential.is_some_and(|credential| !credential.proxy.is_empty());
                if matches!(failure.blame, Blame::Upstream | Blame::Setup) || (failure.blame == Blame::Proxy && !has_own_way) {
                    unreachable.push(upstream.id);
                }
                last = Some((failure, upstream.name.as_str()));
            }
        }
    }
    Err(match (last, unsayable) {
        (Some((failure, _)), _) => failure.into_refusal(),
        (None, Some(refusal)) => refusal,
        (None, None) => Refusal::unavailable(format!("No upstream serves the model `{}` right now.", model.name), None),
    })
}

/// Asks the same upstream once more, as its first word calls for.
async fn try_again(
    plane: &Arc<DataPlane>,
    asked: Asked<'_>,
    model: &ModelEntry,
    step: &Step<'_>,
    again: Again,
    settlement: &mut Settlement,
) -> Result<Verdict, Refusal> {
    let past_reasoning = match again {
        Again::WithoutReasoning(_) => PastReasoning::Withheld,
        Again::Same(_) => PastReasoning::Sent,
    };
    // A strict model takes nothing away.
    let Ok(outgoing) = outgoing(plane, asked, model, step, past_reasoning) else { return Ok(Verdict::of(again)) };
    settlement.dispatch(step)?;
    Ok(match attempt::run(plane, asked.question, step, outgoing, settlement).await {
        Tried::Final(verdict) => verdict,
        Tried::Again(again) => Verdict::of(again),
    })
}

/// The upstream's request, without its credential.
fn outgoing(
    plane: &DataPlane,
    asked: Asked<'_>,
    model: &ModelEntry,
    step: &Step<'_>,
    past_reasoning: PastReasoning,
) -> Result<Outgoing, Refusal> {
    let Asked { question, with_media } = asked;
    let (upstream, upstream_model) = (&step.target.upstream, step.target.upstream_model.as_str());
    let profiles = &plane.profiles.load();
    let memory = plane.keepsakes.of(question.key.tenant.id, plane.clock.now());
    if question.is_count() {
        return count::outgoing(question, model, profiles, &memory, step);
    }
    let batch = match question.endpoint.operation {
        Operation::Embeddings => Some(true),
        Operation::Embed { batch, .. } => Some(batch),
        _ => None,
    };
    if let Some(batch) = batch {
        if upstream.dialect == Dialect::Anthropic {
            let message = format!("The model `{}` makes no embeddings: Anthropic has no such endpoint.", question.model);
            return Err(Refusal::no_such_model(message));
        }
        let call = EmbedCall {
            client: question.endpoint.dialect,
            upstream: upstream.dialect,
            batch,
            client_model: &question.model,
            upstream_model,
            peek: &question.peek,
            input_estimate: estimate::tokens(text_bytes(&question.body)),
            strict: model.strict,
        };
        return Ok(prepare_embeddings(&call, &question.body)?);
    }
    if let Some(asked) = &question.plain {
        return plain::outgoing(plane, question, step, asked);
    }
    let (body, peek, dropped) = match (sealed::body_for(plane, question, step)?, with_media) {
        (Some((body, peek, dropped)), _) => (Cow::Owned(body), Cow::Owned(peek), dropped),
        (None, Some((body, peek))) => (Cow::Borrowed(body), Cow::Borrowed(peek), 0),
        (None, None) => (Cow::Borrowed(&question.body), Cow::Borrowed(&question.peek), 0),
    };
    let call = Call {
        client: question.endpoint.dialect,
        upstream: upstream.dialect,
        speaks_responses: serves_responses(&upstream.base_url),
        client_model: &question.model,
        upstream_model,
        stream: question.stream,
        peek: &peek,
        strict: model.strict,
        response_id: &question.facts.request_id_text,
        created_at: question.facts.accepted_at,
        client_query: &question.query,
        profiles,
        memory: &memory,
        past_reasoning,
    };
    let mut outgoing = prepare(&call, &body, &question.asked.0)?;
    if dropped > 0 {
        let detail = format!("{dropped} items of reasoning that another account sealed");
        outgoing.session.lost("input.encrypted_content", detail);
    }
    if let Some(plan) = &question.recalled.plan {
        outgoing.session.say_kept(true, plan.previous_id.as_deref());
    }
    Ok(outgoing)
}

/// A credential that was refused is left alone for a while.
fn hold_against(plane: &DataPlane, step: &Step<'_>, failure: &Failure) {
    if failure.reason == failure::NOT_FOUND {
        tracing::warn!(upstream = %step.target.upstream.name, model = %step.target.upstream_model,
            "the upstream does not have this model: check the target's model name and the upstream's base URL");
    }
    let Some(credential) = step.credential else { return };
    let wait = match failure.blame {
        Blame::Rate => failure.wait.unwrap_or(plane.config.rate_cooldown),
        Blame::Credential | Blame::Quota => {
            tracing::warn!(upstream = %step.target.upstream.name, credential = %credential.name, reason = failure.reason,
                "the upstream refuses a credential");
            // A short wait that comes with such a refusal heals nothing.
            failure.wait.unwrap_or_default().max(plane.config.auth_cooldown)
        }
        Blame::Upstream | Blame::Setup | Blame::Answer | Blame::Proxy => return,
    };
    plane.cooling.cool(credential.id, wait.min(plane.config.max_cooldown), plane.clock.now());
}
