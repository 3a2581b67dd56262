//! Writes requests and whole answers.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use tallygate_types::{Dialect, Usage};

use super::encode_turns::{cache_control, conversation};
use super::wire::{self, Block, CacheControl, Content};
use super::{thinking, usage};
use crate::context::ResponseContext;
use crate::failure::BadRequest;
use crate::ident;
use crate::ir::{
    Candidate, Citation, FinishReason, OutputFormat, Part, PartKind, Request, Response, ServiceTier, Tool, ToolChoice, ToolKind,
    Vendor,
};
use crate::loss::LossReport;
use crate::names::FREE_TEXT_FIELD;
use crate::profile::{AnthropicModel, Profiles};
use crate::schema;

/// Sent where the client gave no cap, in tokens: the API requires one. Never above what the model can.
const DEFAULT_MAX_TOKENS: u64 = 32_000;
/// Most cache breakpoints of a request.
const MAX_BREAKPOINTS: usize = 4;
/// Most tools of a request that may be strict; the API refuses more.
const MAX_STRICT_TOOLS: usize = 20;
const API_VERSION: &str = "2023-06-01";
const JSON_INSTRUCTION: &str = "Answer with one JSON object only, without any text around it.";

pub(crate) fn path(_model: &str, _stream: bool) -> String {
    "/v1/messages".into()
}

pub(crate) fn headers() -> Vec<(&'static str, String)> {
    vec![("anthropic-version", API_VERSION.into())]
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
    let (mut system, messages) = conversation(request, model, loss)?;
    let mut tools = tools(request, loss)?;
    let mut tool_choice = tool_choice(request, model, &mut tools, loss)?;
    if tools.is_empty() {
        tool_choice = None;
        let names = called_names(request);
        if !names.is_empty() {
            // A history with calls needs the tools it called.
            tools = names
                .into_iter()
                .map(|name| wire::Tool { name, input_schema: Some(json!({"type": "object"})), ..wire::Tool::default() })
                .collect();
            tool_choice = Some(wire::ToolChoice { kind: "none".into(), ..wire::ToolChoice::default() });
        }
    }
    let format = output_format(request, &mut system, loss);
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
        tools: (!tools.is_empty()).then_some(tools),
        messages,
        tool_choice,
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
    limit_breakpoints(&mut wire);
    serde_json::to_vec(&wire).map_err(|error| BadRequest::malformed(error.to_string()))
}

fn own_fields(request: &Request) -> crate::ir::Object {
    let own = request.extensions.own(Dialect::Anthropic).cloned().unwrap_or_default();
    own.into_iter().filter(|(field, _)| !field.contains('.')).collect()
}

/// Says what the protocol has no word for; values that mean nothing are passed over.
fn note_unsaid(request: &Request, loss: &mut LossReport) {
    const SILENT: &[&str] = &["prompt_cache_retention", "prompt_cache_options", "prediction", "stream_options"];
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
        drop("top_p", top_p.take().is_some_and(|value| (value - 1.0).abs() > f64::EPSILON), reason);
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

fn tools(request: &Request, loss: &mut LossReport) -> Result<Vec<wire::Tool>, BadRequest> {
    let mut tools: Vec<wire::Tool> = Vec::with_capacity(request.tools.len());
    for (position, tool) in request.tools.iter().enumerate() {
        let encoded = match tool {
            Tool::Function(function) => {
                let input_schema = schema::tool_parameters(function.parameters.as_ref());
                for (_, field, _) in function.extensions.foreign(Dialect::Anthropic) {
                    loss.dropped(format!("tools[{position}].{field}"), "no equivalent");
                }
                let is_subset = || !schema::for_anthropic(&input_schema).1;
                let has_room = tools.iter().filter(|tool| tool.strict == Some(true)).count() < MAX_STRICT_TOOLS;
                let keeps_strict = function.strict == Some(true) && has_room && is_subset();
                if function.strict == Some(true) && !keeps_strict {
                    let reason =
                        if has_room { "the schema is outside of the strict subset" } else { "at most 20 tools may be strict" };
                    loss.dropped(format!("tools[{position}].strict"), reason);
                }
                wire::Tool {
                    name: function.name.clone(),
                    description: function.description.clone(),
                    input_schema: Some(input_schema),
                    strict: keeps_strict.then_some(true),
                    cache_control: function.cache.map(cache_control),
                    other: function.extensions.own(Dialect::Anthropic).cloned().unwrap_or_default(),
                    ..wire::Tool::default()
                }
            }
            Tool::Custom { name, description, format } => {
                if format.as_ref().is_some_and(|format| format.get("type") != Some(&Value::from("text"))) {
                    loss.dropped(format!("tools[{position}].format"), "grammars are not known");
                }
                wire::Tool {
                    name: name.clone(),
                    description: description.clone(),
                    input_schema: Some(json!({
                        "type": "object",
                        "properties": {FREE_TEXT_FIELD: {"type": "string"}},
                        "required": [FREE_TEXT_FIELD],
                    })),
                    ..wire::Tool::default()
                }
            }
            Tool::Builtin { dialect: Dialect::Anthropic, value, .. } => serde_json::from_value(value.clone())
                .map_err(|error| BadRequest::invalid(format!("tools[{position}]"), error.to_string()))?,
            Tool::Builtin { kind, .. } => {
                return Err(BadRequest::unsupported_value(
                    format!("tools[{position}]"),
                    format!("The tool `{kind}` is run by its vendor and this model's upstream does not have it. Remove it."),
                ));
            }
        };
        if tools.iter().any(|known| known.name == encoded.name) {
            return Err(BadRequest::invalid(
                format!("tools[{position}]"),
                format!("The tool `{}` is defined twice. Define it once.", encoded.name),
            ));
        }
        tools.push(encoded);
    }
    Ok(tools)
}

fn tool_choice(
    request: &Request,
    model: AnthropicModel,
    tools: &mut Vec<wire::Tool>,
    loss: &mut LossReport,
) -> Result<Option<wire::ToolChoice>, BadRequest> {
    let kind = |kind: &str| wire::ToolChoice { kind: kind.into(), ..wire::ToolChoice::default() };
    let one_call = (request.parallel_tool_calls == Some(false)).then_some(true);
    let mut choice = match &request.tool_choice {
        None if one_call.is_some() => kind("auto"),
        None => return Ok(None),
        Some(ToolChoice::Auto) => kind("auto"),
        // The flag beside `none` is refused.
        Some(ToolChoice::None) => return Ok(Some(kind("none"))),
        Some(ToolChoice::Required) => kind("any"),
        Some(ToolChoice::Named(name)) => wire::ToolChoice { name: Some(name.clone()), ..kind("tool") },
        Some(ToolChoice::Allowed { names, required }) => {
            tools.retain(|tool| names.contains(&tool.name));
            kind(if *required { "any" } else { "auto" })
        }
    };
    if let Some(name) = &choice.name
        && !tools.iter().any(|tool| tool.name == *name)
    {
        return Err(BadRequest::invalid("tool_choice", format!("The tool `{name}` is not among `tools`.")));
    }
    if !model.forced_tools && choice.kind != "auto" {
        loss.approximated("tool_choice", "this model cannot be forced to call a tool: auto");
        if let Some(name) = choice.name.take() {
            tools.retain(|tool| tool.name == name);
        }
        choice = kind("auto");
    }
    choice.disable_parallel_tool_use = one_call;
    Ok(Some(choice))
}

/// Names called in the history, in order, each once.
fn called_names(request: &Request) -> Vec<String> {
    let mut seen = HashSet::new();
    request
        .turns
        .iter()
        .flat_map(|turn| &turn.parts)
        .filter_map(|part| if let PartKind::ToolCall(call) = &part.kind { Some(call.name.clone()) } else { None })
        .filter(|name| seen.insert(name.clone()))
        .collect()
}

fn output_format(request: &Request, system: &mut Vec<Block>, loss: &mut LossReport) -> Option<wire::OutputFormat> {
    match request.output.as_ref()? {
        OutputFormat::Text => None,
        OutputFormat::JsonObject => {
            loss.approximated("response_format", "JSON mode is asked for in the system prompt");
            system.push(Block { kind: "text".into(), text: Some(JSON_INSTRUCTION.into()), ..Block::default() });
            None
        }
        OutputFormat::JsonSchema { schema, description, .. } => {
            let (mut bent, is_changed) = schema::for_anthropic(schema);
            if is_changed {
                loss.approximated("response_format.json_schema", "constraints that cannot be enforced are said in descriptions");
            }
            if let (Some(text), Some(root)) = (description, bent.as_object_mut()) {
                root.entry("description").or_insert_with(|| text.clone().into());
            }
            Some(wire::OutputFormat { kind: "json_schema".into(), schema: Some(bent) })
        }
    }
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
fn limit_breakpoints(wire: &mut wire::Request) {
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
        } else if let Some(control) = control {
            set.push(control);
        }
    }
    let mut short_seen = false;
    for control in set {
        let is_long = control.ttl.as_deref() == Some("1h");
        if is_long && short_seen {
            control.ttl = None;
        }
        short_seen |= !is_long;
    }
}

pub(crate) fn response(response: &Response, context: &ResponseContext) -> Vec<u8> {
    let empty = Candidate::new(0, Vec::new(), FinishReason::Stop);
    let candidate = response.candidates.first().unwrap_or(&empty);
    let usage = response.usage.as_ref().map_or_else(Usage::default, |report| report.usage);
    let mut content: Vec<Value> = Vec::new();
    for part in &candidate.parts {
        content.extend(output_block(part, context));
    }
    let has_calls = candidate.parts.iter().any(|part| matches!(part.kind, PartKind::ToolCall(_)));
    let (stop_reason, stop_details) = stop(candidate.finish, has_calls, candidate.explanation.as_deref());
    let stop_sequence = candidate.stop_sequence.as_ref().filter(|_| stop_reason == "stop_sequence");
    let message = json!({
        "id": ident::response_id("msg_", response.id.as_deref(), &context.response_id),
        "type": "message",
        "role": "assistant",
        "model": context.client_model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": stop_sequence,
        "stop_details": stop_details,
        "usage": usage_object(&usage, response.service_tier.as_ref()),
        "container": null,
        "diagnostics": null,
    });
    message.to_string().into_bytes()
}

/// Usage with every field the SDK's types name.
pub(super) fn usage_object(usage: &Usage, tier: Option<&ServiceTier>) -> Value {
    let mut object = match serde_json::to_value(usage::encode(usage)) {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    };
    object.insert("server_tool_use".into(), Value::Null);
    let tier = if tier == Some(&ServiceTier::Priority) { "priority" } else { "standard" };
    object.insert("service_tier".into(), tier.into());
    object.into()
}

fn output_block(part: &Part, context: &ResponseContext) -> Option<Value> {
    Some(match &part.kind {
        PartKind::Text(text) if text.text.is_empty() => return None,
        PartKind::Text(text) => {
            let citations: Vec<Value> = text.citations.iter().filter_map(citation).collect();
            json!({"type": "text", "text": text.text, "citations": if citations.is_empty() { Value::Null } else { citations.into() }})
        }
        PartKind::Refusal(text) if text.is_empty() => return None,
        PartKind::Refusal(text) => json!({"type": "text", "text": text, "citations": null}),
        PartKind::Reasoning(_) if !context.expose_reasoning => return None,
        PartKind::Reasoning(reasoning) => {
            let signature = reasoning.signature.as_ref().filter(|signature| signature.vendor == Vendor::Anthropic);
            match signature {
                Some(signature) if reasoning.is_redacted => json!({"type": "redacted_thinking", "data": signature.data}),
                _ if reasoning.text.is_empty() && signature.is_none() => return None,
                _ => json!({
                    "type": "thinking",
                    "thinking": reasoning.text,
                    "signature": signature.map_or("", |signature| signature.data.as_str()),
                }),
            }
        }
        PartKind::ToolCall(call) => {
            let input = match call.kind {
                ToolKind::Custom => json!({ FREE_TEXT_FIELD: call.arguments }),
                ToolKind::Function => tool_input(&call.arguments),
            };
            json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input})
        }
        PartKind::Extension { dialect: Dialect::Anthropic, value, .. } => value.clone(),
        PartKind::Image(_)
        | PartKind::Audio(_)
        | PartKind::Video(_)
        | PartKind::Document(_)
        | PartKind::ToolResult(_)
        | PartKind::Extension { .. } => {
            return None;
        }
    })
}

/// Arguments that were cut off never fail the answer.
pub(super) fn tool_input(arguments: &str) -> Value {
    match serde_json::from_str::<Value>(arguments) {
        Ok(input @ Value::Object(_)) => input,
        Ok(Value::Null) | Err(_) => json!({}),
        Ok(other) => json!({ "value": other }),
    }
}

pub(super) fn citation(citation: &Citation) -> Option<Value> {
    if let Some((Dialect::Anthropic, raw)) = &citation.raw {
        return Some(raw.clone());
    }
    Some(json!({
        "type": "web_search_result_location",
        "url": citation.url.as_ref()?,
        "title": citation.title,
        "cited_text": citation.cited_text.clone().unwrap_or_default(),
        "encrypted_index": "",
    }))
}

/// `stop_reason` and `stop_details`.
pub(super) fn stop(finish: FinishReason, has_calls: bool, explanation: Option<&str>) -> (&'static str, Value) {
    match finish {
        FinishReason::Length => ("max_tokens", Value::Null),
        FinishReason::ContextWindow => ("model_context_window_exceeded", Value::Null),
        FinishReason::StopSequence => ("stop_sequence", Value::Null),
        FinishReason::Refusal | FinishReason::ContentFilter => {
            ("refusal", json!({"type": "refusal", "category": null, "explanation": explanation}))
        }
        FinishReason::Pause => ("pause_turn", Value::Null),
        _ if has_calls => ("tool_use", Value::Null),
        _ => ("end_turn", Value::Null),
    }
}
