//! Writes requests and whole answers.

use serde_json::{Value, json};
use tallygate_types::Dialect;

use super::{encode_message, usage, wire};
use crate::context::ResponseContext;
use crate::failure::BadRequest;
use crate::ident;
use crate::ir::{
    CacheHint, CacheTtl, Candidate, Effort, FinishReason, Object, OutputFormat, PartKind, ReasoningMode, Request, Response,
    ServiceTier, Tool, ToolChoice, ToolKind,
};
use crate::loss::LossReport;
use crate::profile::{OpenAiModel, Profiles};
use crate::schema;

/// Most stop sequences the dialect takes.
const MAX_STOPS: usize = 4;

pub(crate) fn path(_model: &str, _stream: bool) -> String {
    "/v1/chat/completions".into()
}

pub(crate) fn headers() -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn request(request: &Request, profiles: &Profiles, loss: &mut LossReport) -> Result<Vec<u8>, BadRequest> {
    let model = profiles.openai(&request.model);
    if request.max_output_tokens == Some(0) {
        return Err(BadRequest::unsupported_value(
            "max_tokens",
            "A request for no output (to warm a prompt cache) has no equivalent at this model's upstream. Ask for 1 or more.",
        ));
    }
    for (dialect, field, _) in request.extensions.foreign(Dialect::OpenaiChat) {
        loss.dropped(field, format!("known to {dialect} only"));
    }
    let tools = tools(request, loss)?;
    let has_tools = !tools.is_empty();
    let (max_completion_tokens, max_tokens) =
        if model.first_party { (request.max_output_tokens, None) } else { (None, request.max_output_tokens) };
    let user = request.user.as_deref().map(ident::openai_user);
    let (safety_identifier, user) = if model.first_party { (user, None) } else { (None, user) };
    let mut other = request.extensions.own(Dialect::OpenaiChat).cloned().unwrap_or_default();
    for tool in &request.tools {
        if let Tool::Builtin { dialect: Dialect::OpenaiChat, kind, value } = tool {
            other.insert(kind.clone(), value.clone());
        }
    }
    let sampling = sampling(request, model, loss);
    let wire = wire::Request {
        model: request.model.clone(),
        messages: encode_message::messages(request, model, loss)?,
        max_completion_tokens,
        max_tokens,
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        top_k: sampling.top_k,
        frequency_penalty: sampling.frequency_penalty,
        presence_penalty: sampling.presence_penalty,
        seed: sampling.seed,
        logit_bias: (!sampling.logit_bias.is_empty()).then_some(sampling.logit_bias),
        logprobs: request.logprobs.then_some(true),
        top_logprobs: request.top_logprobs,
        n: request.candidates.filter(|n| *n != 1),
        stop: stop(request, model, loss),
        stream: request.stream.then_some(true),
        stream_options: request.stream.then_some(wire::StreamOptions { include_usage: Some(true) }),
        tool_choice: request.tool_choice.as_ref().filter(|_| has_tools).map(tool_choice),
        parallel_tool_calls: request.parallel_tool_calls.filter(|parallel| has_tools && !parallel),
        tools: has_tools.then_some(tools),
        functions: None,
        function_call: None,
        response_format: request.output.as_ref().and_then(response_format),
        reasoning_effort: effort(request, model, has_tools, loss)?.map(|effort| effort.as_str().to_owned()),
        verbosity: request.verbosity.clone().filter(|_| model.first_party),
        modalities: (!request.modalities.is_empty())
            .then(|| std::iter::once("text".to_owned()).chain(request.modalities.clone()).collect()),
        user,
        safety_identifier,
        metadata: (!request.metadata.is_empty() && model.first_party).then(|| request.metadata.clone()),
        store: request.store.filter(|_| model.first_party),
        service_tier: service_tier(request.service_tier.as_ref(), model, loss),
        prompt_cache_key: request.prompt_cache_key.clone().filter(|_| model.first_party),
        other,
    };
    serde_json::to_vec(&wire).map_err(|error| BadRequest::malformed(error.to_string()))
}

fn tools(request: &Request, loss: &mut LossReport) -> Result<Vec<wire::Tool>, BadRequest> {
    let mut tools = Vec::with_capacity(request.tools.len());
    for (position, tool) in request.tools.iter().enumerate() {
        match tool {
            Tool::Function(function) => {
                for (_, field, _) in function.extensions.foreign(Dialect::OpenaiChat) {
                    loss.dropped(format!("tools[{position}].{field}"), "no equivalent");
                }
                let keeps_strict = match (function.strict, &function.parameters) {
                    (Some(true), Some(parameters)) => schema::is_openai_strict(parameters),
                    _ => true,
                };
                if !keeps_strict {
                    loss.dropped(format!("tools[{position}].strict"), "the schema is outside of the strict subset");
                }
                tools.push(wire::Tool {
                    kind: "function".into(),
                    function: Some(wire::Function {
                        name: function.name.clone(),
                        description: function.description.clone(),
                        parameters: function.parameters.clone(),
                        strict: function.strict.filter(|_| keeps_strict),
                        other: function.extensions.own(Dialect::OpenaiChat).cloned().unwrap_or_default(),
                    }),
                    ..wire::Tool::default()
                });
            }
            Tool::Custom { name, description, format } => tools.push(wire::Tool {
                kind: "custom".into(),
                custom: Some(wire::CustomTool { name: name.clone(), description: description.clone(), format: format.clone() }),
                ..wire::Tool::default()
            }),
            Tool::Builtin { dialect: Dialect::OpenaiChat, .. } => {}
            Tool::Builtin { kind, .. } => {
                return Err(BadRequest::unsupported_value(
                    format!("tools[{position}]"),
                    format!("The tool `{kind}` is defined by its vendor and this model's upstream does not have it. Remove it."),
                ));
            }
        }
    }
    Ok(tools)
}

fn tool_choice(choice: &ToolChoice) -> Value {
    let named = |name: &String| json!({"type": "function", "function": {"name": name}});
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => named(name),
        ToolChoice::Allowed { names, required } => json!({
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": if *required { "required" } else { "auto" },
                "tools": names.iter().map(named).collect::<Vec<_>>(),
            },
        }),
    }
}

fn sampling(request: &Request, model: OpenAiModel, loss: &mut LossReport) -> crate::ir::Sampling {
    let mut sampling = request.sampling.clone();
    if model.first_party && sampling.top_k.take().is_some() {
        loss.dropped("top_k", "OpenAI has no top_k");
    }
    if model.reasoning {
        let is_default = |value: Option<f64>, default: f64| value.is_none_or(|value| (value - default).abs() < f64::EPSILON);
        for (field, value, default) in [
            ("temperature", &mut sampling.temperature, 1.0),
            ("top_p", &mut sampling.top_p, 1.0),
            ("frequency_penalty", &mut sampling.frequency_penalty, 0.0),
            ("presence_penalty", &mut sampling.presence_penalty, 0.0),
        ] {
            if !is_default(*value, default) {
                loss.dropped(field, "reasoning models take no sampling parameters");
            }
            *value = None;
        }
        sampling.logit_bias = Object::new();
    }
    sampling
}

fn stop(request: &Request, model: OpenAiModel, loss: &mut LossReport) -> Option<wire::OneOrMany> {
    if request.stop.is_empty() {
        return None;
    }
    if model.reasoning {
        loss.dropped("stop", "reasoning models take no stop sequences");
        return None;
    }
    if request.stop.len() > MAX_STOPS {
        loss.approximated("stop", "only the first four stop sequences are sent");
    }
    Some(wire::OneOrMany::Many(request.stop.iter().take(MAX_STOPS).cloned().collect()))
}

fn response_format(format: &OutputFormat) -> Option<wire::ResponseFormat> {
    match format {
        OutputFormat::Text => None,
        OutputFormat::JsonObject => Some(wire::ResponseFormat { kind: "json_object".into(), json_schema: None }),
        OutputFormat::JsonSchema { name, description, schema, strict } => Some(wire::ResponseFormat {
            kind: "json_schema".into(),
            json_schema: Some(wire::JsonSchema {
                name: Some(name.clone().unwrap_or_else(|| "response".into())),
                description: description.clone(),
                strict: Some(strict.unwrap_or(true) && schema::is_openai_strict(schema)),
                schema: Some(schema.clone()),
            }),
        }),
    }
}

/// Thresholds of a thinking budget, in tokens, from which the next effort is said.
const BUDGET_MEDIUM: u64 = 4_096;
const BUDGET_HIGH: u64 = 16_384;
const BUDGET_XHIGH: u64 = 24_576;

fn effort(request: &Request, model: OpenAiModel, has_tools: bool, loss: &mut LossReport) -> Result<Option<Effort>, BadRequest> {
    let wanted = request.reasoning.as_ref().and_then(|control| match control.mode {
        Some(ReasoningMode::Disabled | ReasoningMode::BetweenTools) => Some(Effort::None),
        _ => control.effort.or_else(|| {
            control.budget_tokens.map(|budget| match budget {
                0 => Effort::None,
                1..BUDGET_MEDIUM => Effort::Low,
                BUDGET_MEDIUM..BUDGET_HIGH => Effort::Medium,
                BUDGET_HIGH..BUDGET_XHIGH => Effort::High,
                _ => Effort::XHigh,
            })
        }),
    });
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
    if has_tools && model.tools_need_no_reasoning && wanted != Some(Effort::None) {
        if !model.effort_none {
            return Err(BadRequest::unsupported(
                "tools",
                "This model takes tools only through the Responses API. Ask the operator to route it to an upstream of dialect openai-responses.",
            ));
        }
        loss.approximated("reasoning", "Chat Completions takes no tools together with reasoning on this model: effort none");
        return Ok(Some(Effort::None));
    }
    Ok(match wanted {
        Some(Effort::None) if !model.effort_none => {
            loss.approximated("reasoning", "this model always reasons");
            Some(if model.effort_minimal { Effort::Minimal } else { Effort::Low })
        }
        Some(Effort::Minimal) if !model.effort_minimal => {
            loss.approximated("reasoning", "effort minimal is not known to this model: low");
            Some(Effort::Low)
        }
        other => other,
    })
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
    model.first_party.then(|| word.to_owned())
}

pub(super) fn cache_breakpoint(hint: Option<CacheHint>, model: OpenAiModel) -> Option<wire::CacheBreakpoint> {
    let hint = hint.filter(|_| model.cache_breakpoints)?;
    // Thirty minutes, the default, covers both of Anthropic's.
    let _: CacheTtl = hint.ttl;
    Some(wire::CacheBreakpoint { mode: "explicit".into(), ttl: None })
}

pub(crate) fn response(response: &Response, context: &ResponseContext) -> Vec<u8> {
    let id = ident::response_id("chatcmpl-", response.id.as_deref(), &context.response_id);
    let completion = wire::Completion {
        id: &id,
        object: "chat.completion",
        created: context.created_at.seconds(),
        model: &context.client_model,
        choices: response.candidates.iter().map(|candidate| choice(candidate, context)).collect(),
        usage: response.usage.as_ref().map(|report| usage::encode(&report.usage)),
        service_tier: None,
    };
    serde_json::to_vec(&completion).unwrap_or_default()
}

fn choice(candidate: &Candidate, context: &ResponseContext) -> wire::CompletionChoice {
    let mut message = wire::CompletionMessage { role: "assistant", ..wire::CompletionMessage::default() };
    let mut text = String::new();
    let mut reasoning = String::new();
    for part in &candidate.parts {
        match &part.kind {
            PartKind::Text(piece) => {
                let offset = text.chars().count() as u64;
                message.annotations.extend(
                    piece
                        .citations
                        .iter()
                        .filter_map(|citation| encode_message::annotation(citation, offset, piece.text.chars().count() as u64)),
                );
                text.push_str(&piece.text);
            }
            PartKind::Refusal(refusal) => message.refusal.get_or_insert_default().push_str(refusal),
            PartKind::Reasoning(piece) if context.expose_reasoning => {
                if !piece.text.is_empty() {
                    reasoning.push_str(if reasoning.is_empty() { "" } else { "\n\n" });
                    reasoning.push_str(&piece.text);
                }
                message.thinking_blocks.extend(encode_message::thinking_block(piece, None));
            }
            PartKind::ToolCall(call) if context.legacy_functions && call.kind == ToolKind::Function => {
                message.function_call.get_or_insert_with(|| wire::FunctionCall {
                    name: Some(call.name.clone()),
                    arguments: Some(call.arguments.clone().into()),
                });
            }
            PartKind::ToolCall(call) => message.tool_calls.push(encode_message::tool_call(call)),
            PartKind::Image(media) => message.images.extend(encode_message::output_image(media)),
            _ => {}
        }
    }
    let has_calls = !message.tool_calls.is_empty() || message.function_call.is_some();
    if candidate.finish == FinishReason::Refusal && message.refusal.is_none() {
        message.refusal = Some(refusal_text(candidate.explanation.as_deref()));
    }
    message.content = (!text.is_empty() || !(has_calls || message.refusal.is_some())).then_some(text);
    message.reasoning_content = (!reasoning.is_empty()).then_some(reasoning);
    wire::CompletionChoice {
        index: candidate.index,
        finish_reason: finish_reason(candidate.finish, has_calls, context.legacy_functions),
        message,
        logprobs: candidate.logprobs.clone(),
    }
}

pub(super) fn refusal_text(explanation: Option<&str>) -> String {
    explanation.unwrap_or("The model declined to answer.").to_owned()
}

/// Only the five words the document knows: typed clients fail on others.
pub(super) fn finish_reason(finish: FinishReason, has_calls: bool, legacy_functions: bool) -> &'static str {
    match finish {
        FinishReason::Length | FinishReason::ContextWindow | FinishReason::Pause => "length",
        FinishReason::Refusal | FinishReason::ContentFilter => "content_filter",
        FinishReason::ToolUse if has_calls && legacy_functions => "function_call",
        FinishReason::ToolUse if has_calls => "tool_calls",
        _ => "stop",
    }
}
