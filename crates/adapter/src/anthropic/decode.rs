//! Reads requests and whole answers.

use serde_json::Value;
use tallygate_types::Dialect;

use super::{blocks, error, plain_answer, usage, wire};
use crate::failure::{AnswerFailure, BadRequest, InvalidAnswer};
use crate::ir::{
    Candidate, Effort, Extensions, FinishReason, FunctionTool, OutputFormat, Part, PartKind, ReasoningControl, ReasoningMode,
    Request, Response, Role, Sampling, ServiceTier, Tool, ToolChoice, Turn,
};
use crate::json_text;
use crate::loss::LossReport;

/// Fields another vendor cannot stand in for, and why losing them would be wrong.
const IRREPLACEABLE: &[(&str, &str)] = &[
    ("inference_geo", "a data residency requirement must not be dropped"),
    ("container", "code execution containers live at Anthropic"),
    ("mcp_servers", "MCP servers are called by Anthropic"),
    ("thread", "the history is kept by Anthropic"),
    ("compaction", "compaction is done by Anthropic"),
];

/// Begins Claude Code's first system block: its value changes with every request and would spoil another vendor's
/// prompt cache.
const BILLING_HEADER: &str = "x-anthropic-billing-header:";

fn system(content: wire::Content) -> Result<Vec<Part>, BadRequest> {
    let mut parts = blocks::content(content, "system")?;
    parts.retain(|part| !part.as_text().is_some_and(|text| text.starts_with(BILLING_HEADER)));
    Ok(parts)
}

pub(crate) fn request(body: &[u8], _loss: &mut LossReport) -> Result<Request, BadRequest> {
    let mut wire: wire::Request = json_text::read(body)
        .map_err(|error| BadRequest::malformed(format!("The request body is not a Messages request: {error}.")))?;
    let mut other = std::mem::take(&mut wire.other);
    other.retain(|_, value| !value.is_null());
    for (field, reason) in IRREPLACEABLE {
        if other.get(*field).is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty())) {
            return Err(BadRequest::unsupported(
                *field,
                format!("`{field}` works with Anthropic models only: {reason}. Remove it or choose an Anthropic model."),
            ));
        }
    }
    let mut turns = Vec::with_capacity(wire.messages.len());
    for (position, message) in wire.messages.into_iter().enumerate() {
        turns.push(turn(message, position)?);
    }
    let mut config = wire.output_config.unwrap_or_default();
    // The old spelling of `output_config.format`.
    if let Some(old) = other.remove("output_format") {
        config.format = config.format.or_else(|| serde_json::from_value(old).ok());
    }
    let output = config.format.take().and_then(|format| format.schema).map(|schema| OutputFormat::JsonSchema {
        name: None,
        description: None,
        schema,
        strict: None,
    });
    let effort = config.effort.as_deref().and_then(Effort::parse);
    for (field, value) in config.other {
        other.insert(format!("output_config.{field}"), value);
    }
    let (tool_choice, parallel_tool_calls) = tool_choice(wire.tool_choice)?;
    Ok(Request {
        model: wire.model,
        stream: wire.stream.unwrap_or(false),
        include_usage: true,
        system: wire.system.map(system).transpose()?.unwrap_or_default(),
        turns,
        tools: wire.tools.unwrap_or_default().into_iter().map(tool).collect(),
        tool_choice,
        parallel_tool_calls,
        sampling: Sampling { temperature: wire.temperature, top_p: wire.top_p, top_k: wire.top_k, ..Sampling::default() },
        stop: wire.stop_sequences.unwrap_or_default(),
        max_output_tokens: wire.max_tokens,
        output,
        reasoning: reasoning(wire.thinking, effort),
        user: wire.metadata.and_then(|metadata| metadata.user_id).filter(|user| !user.is_empty()),
        service_tier: wire.service_tier.map(|tier| match tier.as_str() {
            "auto" => ServiceTier::Auto,
            "standard_only" => ServiceTier::Default,
            _ => ServiceTier::Other(tier),
        }),
        cache: blocks::cache(wire.cache_control.as_ref()),
        extensions: Extensions::of(Dialect::Anthropic, other),
        ..Request::default()
    })
}

fn turn(message: wire::Message, position: usize) -> Result<Turn, BadRequest> {
    let path = format!("messages[{position}]");
    let role = match message.role.as_str() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        other => {
            return Err(BadRequest::invalid(
                format!("{path}.role"),
                format!("Unknown role `{other}`. Use user, assistant or system."),
            ));
        }
    };
    let mut parts = blocks::content(message.content, &path)?;
    // Results open the turn: what stands before them in a client's body comes after.
    parts.sort_by_key(|part| !part.is_tool_result());
    Ok(Turn::new(role, parts).said_at(path))
}

fn tool(mut tool: wire::Tool) -> Tool {
    match tool.kind.take() {
        Some(kind) if kind != "custom" => {
            tool.kind = Some(kind.clone());
            Tool::Builtin { dialect: Dialect::Anthropic, kind, value: serde_json::to_value(&tool).unwrap_or_default() }
        }
        _ => Tool::Function(FunctionTool {
            name: tool.name,
            description: tool.description,
            parameters: tool.input_schema.filter(|schema| !schema.is_null()),
            strict: tool.strict,
            cache: blocks::cache(tool.cache_control.as_ref()),
            extensions: Extensions::of(Dialect::Anthropic, tool.other),
        }),
    }
}

fn tool_choice(choice: Option<wire::ToolChoice>) -> Result<(Option<ToolChoice>, Option<bool>), BadRequest> {
    let Some(choice) = choice else { return Ok((None, None)) };
    let parallel = choice.disable_parallel_tool_use.map(|disabled| !disabled);
    let decoded = match (choice.kind.as_str(), choice.name) {
        ("auto", _) => ToolChoice::Auto,
        ("any", _) => ToolChoice::Required,
        ("none", _) => ToolChoice::None,
        ("tool", Some(name)) => ToolChoice::Named(name),
        _ => {
            return Err(BadRequest::invalid("tool_choice", "`tool_choice.type` must be auto, any, none, or tool with a `name`."));
        }
    };
    Ok((Some(decoded), parallel))
}

fn reasoning(thinking: Option<wire::ThinkingConfig>, effort: Option<Effort>) -> Option<ReasoningControl> {
    if thinking.is_none() && effort.is_none() {
        return None;
    }
    let thinking = thinking.unwrap_or_default();
    Some(ReasoningControl {
        mode: match thinking.kind.as_str() {
            "adaptive" => Some(ReasoningMode::Adaptive),
            "enabled" => Some(ReasoningMode::Budget),
            "disabled" => Some(ReasoningMode::Disabled),
            "between_tools" => Some(ReasoningMode::BetweenTools),
            _ => None,
        },
        effort,
        budget_tokens: thinking.budget_tokens,
        visible: match thinking.display.as_deref() {
            Some("omitted") => Some(false),
            Some(_) => Some(true),
            None => matches!(thinking.kind.as_str(), "enabled").then_some(true),
        },
        summary: None,
    })
}

pub(crate) fn response(body: &[u8]) -> Result<Response, AnswerFailure> {
    match plain_answer::read(body) {
        Some(response) => Ok(response),
        None => whole_response(body),
    }
}

/// An answer with whatever the protocol has.
pub(super) fn whole_response(body: &[u8]) -> Result<Response, AnswerFailure> {
    let wire: wire::Response = json_text::read(body).map_err(|error| InvalidAnswer(error.to_string()))?;
    if let Some(error) = wire.error.as_ref().filter(|_| wire.kind == "error") {
        return Err(AnswerFailure::Upstream(error::from_error(200, error)));
    }
    let content = wire.content.ok_or_else(|| InvalidAnswer("no content".into()))?;
    let parts: Vec<Part> = content
        .into_iter()
        .map(|block| blocks::block(block, "content"))
        .collect::<Result<_, _>>()
        .map_err(|error| InvalidAnswer(error.message))?;
    let has_calls = parts.iter().any(|part| matches!(part.kind, PartKind::ToolCall(_)));
    let finish = finish_of(wire.stop_reason.as_deref(), has_calls);
    let tier = wire.usage.as_ref().and_then(|usage| usage.get("service_tier")).and_then(Value::as_str);
    Ok(Response {
        id: wire.id,
        model: wire.model,
        candidates: vec![Candidate {
            raw_finish: wire.stop_reason,
            stop_sequence: wire.stop_sequence,
            explanation: wire.stop_details.and_then(|details| details.explanation),
            ..Candidate::new(0, parts, finish)
        }],
        usage: wire.usage.as_ref().and_then(usage::decode),
        service_tier: tier.map(service_tier),
        extensions: Extensions::default(),
    })
}

pub(super) fn service_tier(word: &str) -> ServiceTier {
    match word {
        "priority" => ServiceTier::Priority,
        "standard" | "batch" => ServiceTier::Default,
        _ => ServiceTier::Other(word.to_owned()),
    }
}

pub(super) fn finish_of(word: Option<&str>, has_calls: bool) -> FinishReason {
    match word {
        Some("max_tokens") => FinishReason::Length,
        Some("model_context_window_exceeded") => FinishReason::ContextWindow,
        Some("refusal") => FinishReason::Refusal,
        Some("pause_turn") => FinishReason::Pause,
        Some("stop_sequence") => FinishReason::StopSequence,
        _ if has_calls => FinishReason::ToolUse,
        Some("end_turn" | "tool_use" | "compaction") => FinishReason::Stop,
        _ => FinishReason::Unknown,
    }
}
