//! The decision on a request that is being served.

use std::sync::Arc;

use tallygate_adapter::ErrorKind;
use tallygate_billing::{Outcome, PriceVersion};
use tallygate_store::{CredentialEntry, ModelEntry, RouteEntry, Snapshot, TargetEntry, UpstreamEntry};
use tallygate_types::Timestamp;
use uuid::Uuid;

use super::asked::{Asked, Media, Prompt};
use super::capability::{Known, Lack};
use super::plan::{NoWay, Plan, plan};
use super::rule::Rule;
use super::tariff::Tariffs;
use super::trace::Silent;
use super::view::View;
use crate::health::Standing;
use crate::layers::Question;
use crate::path::Operation;
use crate::plane::DataPlane;
use crate::refusal::{DEFAULT_RETRY, Refusal};

/// What was decided when a request was admitted: by which rule it goes, and what it may cost.
#[derive(Debug, Clone)]
pub struct Way {
    pub route: Option<Arc<RouteEntry>>,
    pub tariffs: Tariffs,
    /// Estimated.
    pub input_tokens: u64,
    /// When it was admitted. The attempts are planned at once, by the same time.
    pub at: Timestamp,
}

/// The running system as one decision sees it.
pub struct LiveView<'a> {
    pub plane: &'a DataPlane,
    pub now: Timestamp,
    /// What of a rate an attempt would take.
    pub tokens: u64,
    /// An explanation takes no turns and leaves no traces.
    pub is_looking: bool,
}

/// Of a request that is not admitted yet.
impl Default for Way {
    fn default() -> Self {
        Self { route: None, tariffs: Tariffs::default(), input_tokens: 0, at: Timestamp::UNIX_EPOCH }
    }
}

impl View for LiveView<'_> {
    fn upstream(&self, upstream: &UpstreamEntry) -> Standing {
        self.plane.health.upstream(upstream, self.now)
    }

    fn credential(&self, upstream: &UpstreamEntry, credential: &CredentialEntry) -> Standing {
        self.plane.health.credential(upstream, credential, self.tokens, self.now)
    }

    fn turn(&self, line: Uuid) -> u64 {
        if self.is_looking { self.plane.turns.look(line) } else { self.plane.turns.take(line) }
    }

    fn is_repeated(&self, prefix: u64) -> bool {
        if self.is_looking { self.plane.repeats.has(prefix) } else { self.plane.repeats.note(prefix) }
    }

    fn known(&self, target: &TargetEntry) -> Known {
        self.plane.known.of(&target.upstream_model, &self.plane.profiles.load())
    }
}

/// Finds the rule, and the prices that may apply. `price` is the model's own; none for what is not sold.
pub fn way(
    plane: &DataPlane,
    snapshot: &Snapshot,
    question: &Question,
    model: &ModelEntry,
    price: Option<Arc<PriceVersion>>,
    input_tokens: u64,
    now: Timestamp,
) -> Way {
    let none = Tariffs::default();
    let rule = Rule::find(snapshot, model, &asked(plane, question, &none, input_tokens), &mut Silent);
    let accepted_at = question.facts.accepted_at;
    let tariffs = price.map_or(none, |price| Tariffs::of(price, rule.targets(), snapshot, &plane.prices, accepted_at));
    Way { route: rule.route.map(Arc::clone), tariffs, input_tokens, at: now }
}

/// The attempts at serving a request that was admitted.
pub fn attempts<'a>(plane: &DataPlane, question: &'a Question, model: &'a ModelEntry) -> Result<Plan<'a>, NoWay> {
    let way = &question.way;
    let rule = Rule { model, route: way.route.as_ref() };
    let mut asked = asked(plane, question, &way.tariffs, way.input_tokens);
    // The last of it counts most: it belongs to the turn that goes on.
    asked.sealed_by = question.recalled.sealed.iter().rev().find_map(|handle| plane.kept.sealed_by(asked.tenant, handle));
    let tokens = asked.input_tokens.saturating_add(asked.output_tokens);
    let view = LiveView { plane, now: way.at, tokens, is_looking: false };
    plan(rule, &asked, &view, &mut Silent)
}

fn asked<'a>(plane: &DataPlane, question: &'a Question, tariffs: &'a Tariffs, input_tokens: u64) -> Asked<'a> {
    let Question { key, peek, recalled, body, endpoint, .. } = question;
    let is_prompt = matches!(
        endpoint.operation,
        Operation::ChatCompletions | Operation::Responses | Operation::Messages | Operation::Generate { .. }
    );
    Asked {
        requested: &question.model,
        tenant: key.tenant.id,
        key: key.id,
        project: key.project().map(|project| &*project.name),
        tags: key.tags(),
        headers: &question.headers,
        input_tokens,
        output_tokens: peek.max_output_tokens.unwrap_or(0),
        expected_output_tokens: peek.max_output_tokens.unwrap_or(plane.config.assumed_output_tokens),
        user: peek.user.as_deref(),
        prompt_cache_key: peek.prompt_cache_key.as_deref(),
        conversation: peek.conversation.as_deref(),
        has_tools: peek.has_tools,
        media: Media::of(body),
        prompt: is_prompt.then_some(Prompt { dialect: endpoint.dialect, body, peek }),
        pin: recalled.pin,
        sealed_by: None,
        max_attempts: plane.config.max_attempts,
        tariffs,
    }
}

/// What the client is told where nobody is asked.
pub fn refusal(why: NoWay, model: &ModelEntry, now: Timestamp) -> Refusal {
    let name = &model.name;
    match why {
        NoWay::KeptElsewhere => {
            let message = format!(
                "What this request refers to is kept by an upstream that does not serve the model `{name}`. Send the earlier items in `input`."
            );
            Refusal::bad_request("previous_response_not_found", message).with_param("previous_response_id".to_owned())
        }
        NoWay::NoTarget => Refusal::unavailable(format!("No upstream serves the model `{name}` right now."), None),
        NoWay::Lacks(lack) => {
            let what = match lack {
                Lack::Images => "images",
                Lack::Documents => "documents",
                Lack::Tools => "tools",
                Lack::Context { .. } => "so much context",
            };
            let message = format!("The model `{name}` takes no {what}. Leave them out, or ask for another model.");
            Refusal::bad_request("unsupported_by_model", message)
        }
        NoWay::Out { why, until } => {
            let wait = until.map(|until| until.since(now));
            if matches!(
                why,
                "cooling" | "concurrency" | "requests_per_minute" | "tokens_per_minute" | "vendor_requests" | "vendor_tokens"
            ) {
                let wait = wait.unwrap_or(DEFAULT_RETRY);
                let seconds = wait.as_millis().div_ceil(1000).max(1);
                let message = format!("The upstreams of this model are at their rate limit. Please retry in {seconds}s.");
                return Refusal::new(ErrorKind::RateLimited, "upstream_rate_limited", message)
                    .with_retry_after(wait)
                    .with_outcome(Outcome::UpstreamError);
            }
            Refusal::unavailable("No upstream of this model can be asked right now. Try again shortly.", wait)
        }
    }
}
