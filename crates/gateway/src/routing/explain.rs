//! The decision on a request that is not made, with its reasons: the same function as live traffic's, with a writing trace.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tallygate_adapter::ErrorReply;
use tallygate_store::routing::SplitBy;
use tallygate_store::{CredentialEntry, KeyEntry, ModelEntry, RouteEntry, TargetEntry};
use tallygate_types::live::{
    AffinityTaken, ArmTaken, ExplainRequest, ExplainedRefusal, ExplainedStep, Explanation, PassedOver as ExplainedPassedOver,
    RouteNamed, RuleTried,
};
use tallygate_types::{ApiKeyId, Dialect, RequestId, TenantId, Timestamp};
use uuid::Uuid;

use super::affinity::{Held, Kind};
use super::asked::{Asked, Media, TAGS};
use super::capability::Lack;
use super::live::{LiveView, refusal};
use super::plan::{NoWay, Plan, Step, plan};
use super::rule::{Condition, Rule};
use super::tariff::Tariffs;
use super::trace::{PassedOver, Trace};
use super::view::View;
use crate::config::GatewayConfig;
use crate::health::Readiness;
use crate::plane::DataPlane;
use crate::policy;
use crate::refusal::Refusal;

impl DataPlane {
    /// Where a request would go now, and why. It takes no turn and changes nothing.
    pub fn explain(&self, request: &ExplainRequest) -> Explanation {
        let snapshot = self.snapshot.load();
        let now = self.clock.now();
        let mut writer = Writer { told: Explanation { requested: request.model.clone(), ..Explanation::default() } };
        let key = request.key.and_then(|id| snapshot.keys.values().find(|key| key.id == id));
        let Some(model) = snapshot.model(&request.model) else {
            let message = format!("There is no model and no alias `{}`.", request.model);
            writer.refused(&Refusal::no_such_model(message));
            return writer.told;
        };
        writer.told.model = Some(model.name.to_string());
        if let Some(key) = key
            && !policy::may_use(key, &model.name)
        {
            let message = format!("The API key may not use the model `{}`.", request.model);
            writer.refused(&Refusal::not_allowed("model_not_allowed", message));
            return writer.told;
        }
        let Some(price) = self.prices.at(model.id, now) else {
            let message = format!("The model `{}` has no price and cannot be sold.", model.name);
            writer.refused(&Refusal::not_allowed("model_unpriced", message));
            return writer.told;
        };
        let headers = headers(request);
        let none = Tariffs::default();
        let mut asked = asked(request, key.map(AsRef::as_ref), &headers, &none, &self.config);
        let rule = Rule::find(&snapshot, model, &asked, &mut writer);
        let tariffs = Tariffs::of(price, rule.targets(), &snapshot, &self.prices, now);
        asked.tariffs = &tariffs;
        let tokens = asked.input_tokens.saturating_add(asked.output_tokens);
        let view = LiveView { plane: self, now, tokens, is_looking: true };
        writer.told.route = rule.route.map(|route| named(route));
        writer.told.strategy = rule.policy().strategy.to_string();
        let decided = plan(rule, &asked, &view, &mut writer);
        writer.write(&rule, decided, &view, model, now);
        writer.told
    }
}

fn headers(request: &ExplainRequest) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let tags = (!request.tags.is_empty()).then(|| (TAGS.to_owned(), request.tags.join(",")));
    for (name, value) in request.headers.iter().map(|(name, value)| (name.clone(), value.clone())).chain(tags) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    headers
}

fn asked<'a>(
    request: &'a ExplainRequest,
    key: Option<&'a KeyEntry>,
    headers: &'a HeaderMap,
    tariffs: &'a Tariffs,
    config: &GatewayConfig,
) -> Asked<'a> {
    let nobody = || TenantId::from_uuid(Uuid::nil());
    Asked {
        requested: &request.model,
        tenant: request.tenant.or(key.map(|key| key.tenant.id)).unwrap_or_else(nobody),
        key: request.key.unwrap_or(ApiKeyId::from_uuid(Uuid::nil())),
        project: request.project.as_deref().or_else(|| key.and_then(KeyEntry::project).map(|project| &*project.name)),
        tags: key.map_or(&[], KeyEntry::tags),
        headers,
        input_tokens: request.input_tokens.unwrap_or(0),
        output_tokens: 0,
        expected_output_tokens: config.assumed_output_tokens,
        user: request.user.as_deref(),
        prompt_cache_key: request.prompt_cache_key.as_deref(),
        conversation: request.conversation.as_deref(),
        has_tools: request.has_tools,
        media: Media::Said { images: request.has_images, documents: request.has_documents },
        prompt: None,
        pin: None,
        sealed_by: None,
        max_attempts: config.max_attempts,
        tariffs,
    }
}

/// Writes an [`Explanation`].
struct Writer {
    told: Explanation,
}

impl Trace for Writer {
    fn rule(&mut self, route: &RouteEntry, failed: Option<Condition<'_>>) {
        let reason = match failed {
            None => "every condition holds".to_owned(),
            Some(Condition::Model) => "the model is not among `models`".to_owned(),
            Some(Condition::Tenant) => "the tenant is not among `tenants`".to_owned(),
            Some(Condition::Project) => "the project of the key is not among `projects`".to_owned(),
            Some(Condition::Tag) => "the request has none of `tags`".to_owned(),
            Some(Condition::MinInput(min)) => format!("the input is estimated below min_input_tokens, {min}"),
            Some(Condition::MaxInput(max)) => format!("the input is estimated above max_input_tokens, {max}"),
            Some(Condition::Header(name)) => format!("the header `{name}` is missing or has another value"),
        };
        self.told.rules.push(RuleTried { route: named(route), position: route.position, matched: failed.is_none(), reason });
    }

    fn arm(&mut self, name: &str, by: &SplitBy, was_found: bool) {
        let reason = if was_found {
            format!("by hash of the {by}")
        } else {
            format!("the request names no {by}: by hash of the key instead")
        };
        self.told.arm = Some(ArmTaken { name: name.to_owned(), by: by.to_string(), reason });
    }

    fn affinity(&mut self, held: &Held, is_first: bool) {
        let reason = match (held.kind, is_first) {
            (Kind::Pin, _) => "this upstream alone keeps what the request refers to",
            (Kind::Reasoning, _) => "this account sealed the reasoning in the request",
            (_, true) => "the session belongs to the first step",
            (_, false) => "where the session belongs cannot be asked now: it moves to the next by its hash",
        };
        let kind = held.kind.as_str().to_owned();
        self.told.affinity = Some(AffinityTaken { kind, held: is_first, reason: reason.to_owned() });
    }

    fn passed_over(&mut self, target: &TargetEntry, credential: Option<&CredentialEntry>, why: PassedOver) {
        let (why, reason, until) = match why {
            PassedOver::OtherArm => ("other_arm", format!("serves the arm {}", target.arm.as_deref().unwrap_or_default()), None),
            PassedOver::NoWeight => ("no_weight", "has the weight 0".to_owned(), None),
            PassedOver::Unpriced => {
                let model = target.price_model.as_deref().unwrap_or_default();
                ("unpriced", format!("`{model}`, whose price it is charged by, has none, or one in another currency"), None)
            }
            PassedOver::Lacks(Lack::Context { has, needed }) => {
                ("capability", format!("its context of {has} tokens is smaller than the {needed} that may be needed"), None)
            }
            PassedOver::Lacks(lack) => ("capability", format!("takes no {}", lack.as_str()), None),
            PassedOver::Out { why, until } => {
                (why, until.map_or_else(|| why.to_owned(), |until| format!("{why} until {until}")), until)
            }
        };
        self.pass_over(target, credential, why, reason, until);
    }
}

impl Writer {
    fn pass_over(
        &mut self,
        target: &TargetEntry,
        credential: Option<&CredentialEntry>,
        why: &str,
        reason: String,
        until: Option<Timestamp>,
    ) {
        self.told.passed_over.push(ExplainedPassedOver {
            target: target.id,
            upstream: target.upstream.id,
            upstream_name: target.upstream.name.to_string(),
            upstream_model: target.upstream_model.to_string(),
            credential: credential.map(|credential| credential.id),
            credential_name: credential.map(|credential| credential.name.clone()),
            why: why.to_owned(),
            reason,
            until,
        });
    }

    fn write(&mut self, rule: &Rule<'_>, decided: Result<Plan<'_>, NoWay>, view: &impl View, model: &ModelEntry, now: Timestamp) {
        let made = match decided {
            Ok(made) => made,
            Err(why) => return self.refused(&refusal(why, model, now)),
        };
        for (place, step) in made.steps.iter().enumerate() {
            let reason = reason(rule, &made, step, place);
            self.told.steps.push(explained(step, view, reason));
        }
        // Whatever is neither an attempt nor passed over for a reason has no attempt left.
        for target in rule.targets() {
            let is_told = |credential: Option<&CredentialEntry>| {
                let id = credential.map(|credential| credential.id);
                self.told.steps.iter().any(|step| step.target == target.id && step.credential == id)
                    || self
                        .told
                        .passed_over
                        .iter()
                        .any(|passed| passed.target == target.id && (passed.credential.is_none() || passed.credential == id))
            };
            let all = &target.upstream.credentials;
            let untold: Vec<_> = if all.is_empty() {
                vec![None].into_iter().filter(|none| !is_told(*none)).collect()
            } else {
                all.iter().map(|credential| Some(credential.as_ref())).filter(|credential| !is_told(*credential)).collect()
            };
            for credential in untold {
                self.pass_over(target, credential, "beyond_attempts", "no attempt is left for it".to_owned(), None);
            }
        }
    }

    fn refused(&mut self, refusal: &Refusal) {
        let reply: ErrorReply = refusal.to_reply(RequestId::generate());
        self.told.refusal = Some(ExplainedRefusal {
            status: refusal.status(Dialect::OpenaiChat),
            code: refusal.code.to_owned(),
            message: refusal.message.clone(),
            retry_after_seconds: reply.retry_after.map(|wait: Duration| wait.as_millis().div_ceil(1_000) as u64),
        });
    }
}

fn named(route: &RouteEntry) -> RouteNamed {
    RouteNamed { id: route.id, name: route.name.to_string() }
}

fn reason(rule: &Rule<'_>, made: &Plan<'_>, step: &Step<'_>, place: usize) -> String {
    let by = match made.held {
        Some(held) if held.is_home(step) => return format!("the session belongs here ({})", held.kind.as_str()),
        Some(_) => "next by the session's hash".to_owned(),
        None => format!("by strategy {}", rule.policy().strategy),
    };
    match (step.is_fallback, place) {
        (true, _) => format!("local, as the last resort; {by}"),
        (false, 0) => by,
        (false, _) => format!("if those before fail; {by}"),
    }
}

fn explained(step: &Step<'_>, view: &impl View, reason: String) -> ExplainedStep {
    let Step { target, credential, .. } = step;
    let upstream = view.upstream(&target.upstream);
    let own = credential.map(|credential| view.credential(&target.upstream, credential));
    let probes = [Some(upstream), own].into_iter().flatten().any(|standing| standing.readiness != Readiness::Ready);
    let standing = own.unwrap_or(upstream);
    ExplainedStep {
        target: target.id,
        upstream: target.upstream.id,
        upstream_name: target.upstream.name.to_string(),
        upstream_model: target.upstream_model.to_string(),
        local: target.upstream.local,
        credential: credential.map(|credential| credential.id),
        credential_name: credential.map(|credential| credential.name.clone()),
        weight: target.weight,
        priority: target.priority,
        arm: target.arm.clone(),
        readiness: if probes { "probe" } else { "ready" }.to_owned(),
        in_flight: standing.in_flight,
        latency_ms: standing.latency.map(|latency| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)),
        spent_today: standing.spent_today,
        reason,
    }
}
