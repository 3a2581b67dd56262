//! What steers a model, bent to what it takes: limits, sampling, effort, stop sequences, tier.

use super::wire::OneOrMany;
use crate::effort;
use crate::failure::BadRequest;
use crate::ir::{Effort, Request, Sampling, ServiceTier};
use crate::loss::LossReport;
use crate::profile::OpenAiModel;

/// Most stop sequences the dialect takes.
const MAX_STOPS: usize = 4;
/// Least output OpenAI's reasoning models take, in tokens.
const MIN_REASONING_TOKENS: u64 = 16;

pub(super) struct Controls {
    pub max_output_tokens: Option<u64>,
    pub sampling: Sampling,
    pub logprobs: bool,
    pub top_logprobs: Option<u32>,
    pub stop: Option<OneOrMany>,
    pub effort: Option<Effort>,
    pub service_tier: Option<String>,
}

pub(super) fn controls(request: &Request, model: OpenAiModel, loss: &mut LossReport) -> Result<Controls, BadRequest> {
    let effort = effort(request, model, loss)?;
    let is_silent =
        model.sampling_without_effort && (effort == Some(Effort::None) || (effort.is_none() && model.none_by_default));
    let takes_sampling = !model.reasoning || is_silent;
    let mut controls = Controls {
        max_output_tokens: max_output_tokens(request, model, loss)?,
        sampling: sampling(request, model, takes_sampling, loss),
        logprobs: request.logprobs,
        top_logprobs: request.top_logprobs,
        stop: stop(request, model, loss),
        effort,
        service_tier: service_tier(request.service_tier.as_ref(), model, loss),
    };
    if !takes_sampling && (controls.logprobs || controls.top_logprobs.is_some()) {
        loss.dropped("logprobs", "reasoning models give no log probabilities");
        (controls.logprobs, controls.top_logprobs) = (false, None);
    }
    Ok(controls)
}

/// OpenAI's chat endpoint refuses this request for its tools, and its Responses endpoint takes it.
pub(crate) fn is_refused_for_tools(request: &Request, model: OpenAiModel) -> bool {
    let wanted = effort::wanted(request.reasoning.as_ref());
    let is_silent = wanted == Some(Effort::None) || (wanted.is_none() && model.none_by_default);
    model.tools_need_no_reasoning && !request.tools.is_empty() && !(is_silent && model.effort_none)
}

fn max_output_tokens(request: &Request, model: OpenAiModel, loss: &mut LossReport) -> Result<Option<u64>, BadRequest> {
    let Some(wanted) = request.max_output_tokens else { return Ok(None) };
    if wanted == 0 {
        return Err(BadRequest::unsupported_value(
            "max_tokens",
            "A request for no output (to warm a prompt cache) has no equivalent at this model's upstream. Ask for 1 or more.",
        ));
    }
    let least = if model.reasoning { MIN_REASONING_TOKENS } else { 1 };
    let fitting = wanted.max(least).min(model.max_output_tokens.unwrap_or(u64::MAX));
    if fitting != wanted {
        loss.approximated("max_tokens", format!("this model takes {fitting}"));
    }
    Ok(Some(fitting))
}

fn sampling(request: &Request, model: OpenAiModel, takes_sampling: bool, loss: &mut LossReport) -> Sampling {
    let mut sampling = request.sampling.clone();
    if model.first_party && sampling.top_k.take().is_some() {
        loss.dropped("top_k", "OpenAI has no top_k");
    }
    if takes_sampling {
        return sampling;
    }
    let is_default = |value: Option<f64>, default: f64| value.is_none_or(|value| (value - default).abs() < f64::EPSILON);
    for (field, value, default) in [
        ("temperature", &mut sampling.temperature, 1.0),
        ("top_p", &mut sampling.top_p, 1.0),
        ("frequency_penalty", &mut sampling.frequency_penalty, 0.0),
        ("presence_penalty", &mut sampling.presence_penalty, 0.0),
    ] {
        if !is_default(value.take(), default) {
            loss.dropped(field, "reasoning models take no sampling parameters");
        }
    }
    if !std::mem::take(&mut sampling.logit_bias).is_empty() {
        loss.dropped("logit_bias", "reasoning models take no sampling parameters");
    }
    sampling
}

fn stop(request: &Request, model: OpenAiModel, loss: &mut LossReport) -> Option<OneOrMany> {
    let stops: Vec<String> = request.stop.iter().filter(|stop| !stop.is_empty()).cloned().collect();
    if stops.is_empty() {
        return None;
    }
    if model.reasoning {
        loss.dropped("stop", "reasoning models take no stop sequences");
        return None;
    }
    if stops.len() > MAX_STOPS {
        loss.approximated("stop", "only the first four stop sequences are sent");
    }
    Some(OneOrMany::Many(stops.into_iter().take(MAX_STOPS).collect()))
}

fn effort(request: &Request, model: OpenAiModel, loss: &mut LossReport) -> Result<Option<Effort>, BadRequest> {
    let wanted = effort::wanted(request.reasoning.as_ref());
    let is_from_budget =
        request.reasoning.as_ref().is_some_and(|control| control.effort.is_none() && control.budget_tokens > Some(0));
    if is_from_budget && (model.reasoning || !model.first_party) && wanted != Some(Effort::None) {
        loss.approximated("reasoning", "a thinking budget is said as an effort");
    }
    if !model.first_party {
        // `none` from a client that merely switched thinking off is no word every compatible server knows.
        return Ok(wanted.filter(|effort| *effort != Effort::None));
    }
    if !model.reasoning {
        if wanted.is_some_and(|effort| effort != Effort::None) {
            loss.dropped("reasoning", "this model does not reason");
        }
        return Ok(None);
    }
    if is_refused_for_tools(request, model) {
        if !model.effort_none {
            return Err(BadRequest::unsupported(
                "tools",
                "This model takes tools only through the Responses API. Ask the operator to route it to an upstream of dialect openai-responses.",
            ));
        }
        loss.approximated("reasoning", "Chat Completions takes no tools together with reasoning on this model: effort none");
        return Ok(Some(Effort::None));
    }
    Ok(effort::fitting(wanted, model, loss))
}

fn service_tier(tier: Option<&ServiceTier>, model: OpenAiModel, loss: &mut LossReport) -> Option<String> {
    let word = match tier? {
        ServiceTier::Auto => "auto",
        ServiceTier::Default => "default",
        ServiceTier::Flex => "flex",
        ServiceTier::Priority => "priority",
        ServiceTier::Other(word) => {
            loss.dropped("service_tier", format!("OpenAI has no tier `{word}`"));
            return None;
        }
    };
    if !model.first_party && matches!(tier, Some(ServiceTier::Flex | ServiceTier::Priority)) {
        loss.dropped("service_tier", "a tier of OpenAI's own");
    }
    model.first_party.then(|| word.to_owned())
}
