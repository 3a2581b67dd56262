//! Writes requests.

use std::borrow::Cow;

use tallygate_types::Dialect;

use super::encode_turns::{cache_control, conversation};
use super::structured::output_format;
use super::thinking;
use super::tools::Toolbox;
use super::wire::{self, CacheControl, Content};
use crate::failure::BadRequest;
use crate::ident;
use crate::ir::{OutputFormat, Request, ServiceTier};
use crate::json_write;
use crate::loss::LossReport;
use crate::profile::{AnthropicModel, Profiles};

pub(crate) use super::encode_answer::response;

/// Sent where the client gave no cap, in tokens: the API requires one. Never above what the model can.
const DEFAULT_MAX_TOKENS: u64 = 32_000;
/// Most cache breakpoints of a request.
const MAX_BREAKPOINTS: usize = 4;
/// The `top_p` that thinking allows.
const THINKING_TOP_P: std::ops::RangeInclusive<f64> = 0.95..=1.0;
const API_VERSION: &str = "2023-06-01";
/// Lets thinking that no longer fits its conversation be dropped instead of refused.
const BINDING_BETA: &str = "thinking-binding-controls-2026-08-01";

pub(crate) fn path(_model: &str, _stream: bool) -> Cow<'static, str> {
    "/v1/messages".into()
}

pub(crate) fn headers() -> Vec<(&'static str, String)> {
    vec![("anthropic-version", API_VERSION.into())]
}

pub(crate) fn headers_for(request: &Request, profiles: &Profiles) -> Vec<(&'static str, String)> {
    let is_bound = thinking::is_bound(request, profiles.anthropic(&request.model));
    if is_bound { vec![("anthropic-beta", BINDING_BETA.into())] } else { Vec::new() }
}

pub(crate) fn request(request: &Request, profiles: &Profiles, loss: &mut LossReport) -> Result<Vec<u8>, BadRequest> {
    let model = profiles.anthropic(&request.model);
    if request.candidates.is_some_and(|n| n > 1) {
        return Err(BadRequest::unsupported_value("n", "The upstream of this model gives one answer a request. Send n = 1."));
    }
    if let Some(modality) = request.modalities.first() {
        return Err(BadRequest::unsupported_value(
            "modalities",
            format!("The upstream of this model answers in text only, not in `{modality}`."),
        ));
    }
    note_unsaid(request, loss);
    let max_tokens = max_tokens(request, model, loss)?;
    let control = thinking::control(request, model, max_tokens, loss);
    // Thinking and enforced forms begin an answer anew.
    let continues = model.prefill && !control.is_on() && !matches!(request.output, Some(OutputFormat::JsonSchema { .. }));
    let (mut system, messages) = conversation(request, model, continues, loss)?;
    let mut toolbox = Toolbox::of(request, model, loss)?;
    let format = output_format(request, model, &control, &mut toolbox, &mut system, loss);
    toolbox.for_history(request);
    let effort = control.effort.map(|effort| effort.as_str().to_owned());
    let (temperature, top_p, top_k) = sampling(request, model, &control, loss);
    let mut wire = wire::Request {
        model: request.model.clone(),
        max_tokens: Some(max_tokens),
        system: match system.len() {
            0 => None,
            1 if system[0].cache_control.is_none() => Some(Content::Text(system.remove(0).text.unwrap_or_default())),
            _ => Some(Content::Blocks(system)),
        },
        tools: (!toolbox.tools.is_empty()).then_some(toolbox.tools),
        messages,
        tool_choice: toolbox.choice,
        stop_sequences: stop_sequences(request, loss),
        temperature,
        top_p,
        top_k,
        stream: request.stream.then_some(true),
        thinking: control.thinking,
        output_config: (effort.is_some() || format.is_some()).then(|| wire::OutputConfig {
            effort,
            format,
            ..wire::OutputConfig::default()
        }),
        metadata: request.user.as_deref().map(|user| wire::Metadata { user_id: Some(ident::sha256_hex(user)) }),
        service_tier: service_tier(request.service_tier.as_ref(), loss),
        cache_control: request.cache.map(cache_control),
        other: own_fields(request),
    };
    limit_breakpoints(&mut wire, loss);
    json_write::written(&wire).map_err(|error| BadRequest::malformed(error.to_string()))
}

fn own_fields(request: &Request) -> crate::ir::Object {
    let own = request.extensions.own(Dialect::Anthropic).cloned().unwrap_or_default();
    own.into_iter().filter(|(field, _)| !field.contains('.')).collect()
}

/// Says what the protocol has no word for; values that mean nothing are passed over.
fn note_unsaid(request: &Request, loss: &mut LossReport) {
    const SILENT: &[&str] = &["prompt_cache_options", "stream_options"];
    for (dialect, field, _) in request.extensions.foreign(Dialect::Anthropic) {
        if !SILENT.contains(&field.as_str()) {
            loss.dropped(field, format!("known to {dialect} only"));
        }
    }
    let sampling = &request.sampling;
    let is_set = |value: Option<f64>| value.is_some_and(|value| value != 0.0);
    for (field, is_said) in [
        ("seed", sampling.seed.is_some()),
        ("logit_bias", !sampling.logit_bias.is_empty()),
        ("presence_penalty", is_set(sampling.presence_penalty)),
        ("frequency_penalty", is_set(sampling.frequency_penalty)),
        ("logprobs", request.logprobs),
        ("verbosity", request.verbosity.is_some()),
        ("metadata", !request.metadata.is_empty()),
        ("store", request.store == Some(true)),
    ] {
        if is_said {
            loss.dropped(field, "no equivalent");
        }
    }
}

fn max_tokens(request: &Request, model: AnthropicModel, loss: &mut LossReport) -> Result<u64, BadRequest> {
    match request.max_output_tokens {
        Some(0) => Err(BadRequest::invalid("max_completion_tokens", "Ask for one token or more.")),
        Some(cap) if cap > model.max_output_tokens => {
            loss.approximated("max_completion_tokens", format!("lowered to the model's {}", model.max_output_tokens));
            Ok(model.max_output_tokens)
        }
        Some(cap) => Ok(cap),
        None => Ok(DEFAULT_MAX_TOKENS.min(model.max_output_tokens)),
    }
}

fn sampling(
    request: &Request,
    model: AnthropicModel,
    control: &thinking::Control,
    loss: &mut LossReport,
) -> (Option<f64>, Option<f64>, Option<u64>) {
    let wanted = &request.sampling;
    let mut temperature = wanted.temperature;
    let mut top_p = wanted.top_p;
    let mut top_k = wanted.top_k;
    let mut drop = |field: &str, is_said: bool, reason: &str| {
        if is_said {
            loss.dropped(field, reason);
        }
    };
    if !model.sampling || control.is_on() {
        let reason =
            if model.sampling { "thinking takes no sampling parameters" } else { "this model takes no sampling parameters" };
        drop("temperature", temperature.take().is_some_and(|value| (value - 1.0).abs() > f64::EPSILON), reason);
        if !model.sampling || top_p.is_some_and(|value| !THINKING_TOP_P.contains(&value)) {
            drop("top_p", top_p.take().is_some_and(|value| (value - 1.0).abs() > f64::EPSILON), reason);
        }
        drop("top_k", top_k.take().is_some(), reason);
    }
    if temperature.is_some() && top_p.is_some() && !model.both_samplings {
        drop("top_p", top_p.take().is_some(), "this model takes temperature or top_p, not both");
    }
    if let Some(value) = temperature.filter(|value| *value > 1.0) {
        loss.approximated("temperature", format!("lowered from {value} to 1"));
        temperature = Some(1.0);
    }
    (temperature, top_p, top_k)
}

fn stop_sequences(request: &Request, loss: &mut LossReport) -> Option<Vec<String>> {
    let kept: Vec<String> = request.stop.iter().filter(|text| !text.trim().is_empty()).cloned().collect();
    if kept.len() < request.stop.len() {
        loss.dropped("stop", "stop sequences of white space only are not taken");
    }
    (!kept.is_empty()).then_some(kept)
}

fn service_tier(tier: Option<&ServiceTier>, loss: &mut LossReport) -> Option<String> {
    match tier? {
        ServiceTier::Auto => Some("auto".into()),
        ServiceTier::Default => Some("standard_only".into()),
        ServiceTier::Flex | ServiceTier::Priority | ServiceTier::Other(_) => {
            loss.dropped("service_tier", "Anthropic has no such tier");
            None
        }
    }
}

/// The last four breakpoints stay; an hour after five minutes becomes five minutes.
fn limit_breakpoints(wire: &mut wire::Request, loss: &mut LossReport) {
    let mut all: Vec<&mut Option<CacheControl>> = Vec::new();
    all.extend(wire.tools.iter_mut().flatten().map(|tool| &mut tool.cache_control));
    let blocks = wire.system.iter_mut().chain(wire.messages.iter_mut().map(|message| &mut message.content));
    for content in blocks {
        if let Content::Blocks(blocks) = content {
            all.extend(blocks.iter_mut().map(|block| &mut block.cache_control));
        }
    }
    all.push(&mut wire.cache_control);
    let mut set: Vec<&mut CacheControl> = Vec::new();
    let count = all.iter().filter(|control| control.is_some()).count();
    let mut excess = count.saturating_sub(MAX_BREAKPOINTS);
    for control in all {
        if control.is_some() && excess > 0 {
            excess -= 1;
            *control = None;
            loss.dropped("cache_control", "at most four breakpoints are taken: the last four");
        } else if let Some(control) = control {
            set.push(control);
        }
    }
    let mut short_seen = false;
    for control in set {
        let is_long = control.ttl.as_deref() == Some("1h");
        if is_long && short_seen {
            control.ttl = None;
            loss.approximated("cache_control", "an hour cannot follow five minutes: five minutes");
        }
        short_seen |= !is_long;
    }
}
