//! Reads requests and whole answers.

use serde_json::Value;
use tallygate_types::Dialect;

use super::{decode_message, decode_part, error, plain_request, usage, wire, wire_answer};
use crate::failure::{AnswerFailure, BadRequest, InvalidAnswer};
use crate::ir::{
    Candidate, Effort, Extensions, FinishReason, FunctionTool, Object, OutputFormat, Part, PartKind, ReasoningControl,
    ReasoningMode, Request, Response, Sampling, ServiceTier, Tool, ToolChoice,
};
use crate::json_text;
use crate::loss::LossReport;
use crate::openai_responses;

pub(crate) fn request(body: &[u8], loss: &mut LossReport) -> Result<Request, BadRequest> {
    match plain_request::read(body) {
        Some(request) => Ok(request),
        None => whole_request(body, loss),
    }
}

/// A request with whatever the protocol has.
pub(super) fn whole_request(body: &[u8], loss: &mut LossReport) -> Result<Request, BadRequest> {
    let mut wire: wire::Request = json_text::read(body)
        .map_err(|error| BadRequest::malformed(format!("The request body is not a Chat Completions request: {error}.")))?;
    let (system, turns) = decode_message::messages(std::mem::take(&mut wire.messages), loss)?;
    let legacy_functions = wire.functions.is_some();
    let mut tools: Vec<Tool> = Vec::new();
    for (position, tool) in wire.tools.take().unwrap_or_default().into_iter().enumerate() {
        decode_tool(tool, position, &mut tools, loss)?;
    }
    tools.extend(wire.functions.take().unwrap_or_default().into_iter().map(|function| function_tool(function, None)));
    let effort = wire.reasoning_effort.as_deref().and_then(Effort::parse);
    if let (Some(word), None) = (&wire.reasoning_effort, effort) {
        loss.dropped("reasoning_effort", format!("`{word}` is not a known effort"));
    }
    for (field, count) in [("max_completion_tokens", wire.max_completion_tokens), ("max_tokens", wire.max_tokens)] {
        if count == Some(0) {
            return Err(BadRequest::invalid(
                field,
                format!("`{field}` must be at least 1; leave it out for the model's own limit."),
            ));
        }
    }
    if wire.n == Some(0) {
        return Err(BadRequest::invalid("n", "`n` must be at least 1."));
    }
    let echo = wire.service_tier.iter().map(|tier| (ECHO_TIER.to_owned(), Value::from(tier.as_str()))).collect();
    let mut other = std::mem::take(&mut wire.other);
    other.retain(|_, value| !value.is_null());
    let reasoning = reasoning(effort, &mut other);
    refuse_lost_moderation(&other)?;
    if let Some(options) = other.remove("web_search_options") {
        tools.push(Tool::Builtin { dialect: Dialect::OpenaiChat, kind: "web_search_options".into(), value: options });
    }
    let cache = other.remove("cache_control").and_then(|value| serde_json::from_value::<wire::CacheControl>(value).ok());
    Ok(Request {
        model: wire.model,
        stream: wire.stream.unwrap_or(false),
        include_usage: wire.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
        system,
        turns,
        tools,
        tool_choice: tool_choice(wire.tool_choice.or(wire.function_call))?,
        parallel_tool_calls: wire.parallel_tool_calls,
        legacy_functions,
        sampling: Sampling {
            temperature: wire.temperature,
            top_p: wire.top_p,
            top_k: wire.top_k,
            frequency_penalty: wire.frequency_penalty,
            presence_penalty: wire.presence_penalty,
            seed: wire.seed,
            logit_bias: wire.logit_bias.unwrap_or_default(),
        },
        stop: match wire.stop {
            None => Vec::new(),
            Some(wire::OneOrMany::One(text)) => vec![text],
            Some(wire::OneOrMany::Many(list)) => list,
        },
        max_output_tokens: wire.max_completion_tokens.or(wire.max_tokens),
        output: wire.response_format.map(output_format).transpose()?,
        verbosity: wire.verbosity,
        modalities: wire.modalities.unwrap_or_default().into_iter().filter(|modality| modality != "text").collect(),
        reasoning,
        candidates: wire.n,
        logprobs: wire.logprobs.unwrap_or(false),
        top_logprobs: wire.top_logprobs,
        user: wire.safety_identifier.or(wire.user).filter(|user| !user.is_empty()),
        metadata: wire.metadata.unwrap_or_default(),
        service_tier: wire.service_tier.map(service_tier),
        store: wire.store,
        prompt_cache_key: wire.prompt_cache_key,
        cache: decode_part::cache(None, cache.as_ref()),
        extensions: Extensions::of(Dialect::OpenaiChat, other),
        echo,
        ..Request::default()
    })
}

/// The tier is named in the answer if the request named one.
pub(super) const ECHO_TIER: &str = "service_tier";

/// Agents mix in the flat tools of the Responses API and those of Messages (Cursor does both).
fn decode_tool(tool: wire::Tool, position: usize, tools: &mut Vec<Tool>, loss: &mut LossReport) -> Result<(), BadRequest> {
    let path = format!("tools[{position}]");
    let cache = decode_part::cache(None, tool.cache_control.as_ref());
    let is_flat = tool.other.contains_key("name") || !matches!(tool.kind.as_str(), "function" | "custom" | "");
    match (tool.function, tool.custom) {
        (Some(function), _) => tools.push(function_tool(function, cache)),
        (None, Some(custom)) => {
            let format = custom.format.map(flat_format);
            tools.push(Tool::Custom { name: custom.name, description: custom.description, format });
        }
        (None, None) if is_flat => {
            let mut flat = tool.other;
            if let Some(schema) = flat.remove("input_schema") {
                flat.insert("parameters".into(), schema);
            }
            let kind = if tool.kind.is_empty() { "function".to_owned() } else { tool.kind };
            flat.insert("type".into(), kind.into());
            let mut declared = Request::default();
            openai_responses::tools::declare(&flat.into(), &path, &mut declared, loss)?;
            tools.append(&mut declared.tools);
        }
        (None, None) => {
            return Err(BadRequest::invalid(path, "A tool needs `function` or `custom` with its definition."));
        }
    }
    Ok(())
}

/// The grammar's object stands in `format` itself everywhere but here.
fn flat_format(mut format: Value) -> Value {
    if let Some(Value::Object(grammar)) = format.as_object_mut().and_then(|format| format.remove("grammar"))
        && let Some(format) = format.as_object_mut()
    {
        format.extend(grammar);
    }
    format
}

fn function_tool(function: wire::Function, cache: Option<crate::ir::CacheHint>) -> Tool {
    Tool::Function(FunctionTool {
        name: function.name,
        description: function.description,
        parameters: function.parameters.filter(|schema| !schema.is_null()),
        strict: function.strict,
        cache,
        extensions: Extensions::of(Dialect::OpenaiChat, function.other),
    })
}

fn tool_choice(choice: Option<Value>) -> Result<Option<ToolChoice>, BadRequest> {
    let unknown =
        || BadRequest::invalid("tool_choice", "`tool_choice` must be none, auto, required, a named function or allowed_tools.");
    let name_in = |value: &Value| value.get("name").and_then(Value::as_str).map(str::to_owned);
    Ok(Some(match choice {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(word)) => match word.as_str() {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "required" | "any" => ToolChoice::Required,
            _ => return Err(unknown()),
        },
        Some(value) => {
            if let Some(allowed) = value.get("allowed_tools") {
                let tools = allowed.get("tools").and_then(Value::as_array).ok_or_else(unknown)?;
                ToolChoice::Allowed {
                    names: tools
                        .iter()
                        .filter_map(|tool| name_in(tool.get("function").or(tool.get("custom")).unwrap_or(tool)))
                        .collect(),
                    required: allowed.get("mode").and_then(Value::as_str) == Some("required"),
                }
            } else {
                // The old `function_call` has the name at the top.
                let named = value.get("function").or(value.get("custom")).unwrap_or(&value);
                ToolChoice::Named(name_in(named).ok_or_else(unknown)?)
            }
        }
    }))
}

fn output_format(format: wire::ResponseFormat) -> Result<OutputFormat, BadRequest> {
    Ok(match (format.kind.as_str(), format.json_schema) {
        ("text", _) => OutputFormat::Text,
        ("json_object", _) | ("json_schema", Some(wire::JsonSchema { schema: None, .. })) => OutputFormat::JsonObject,
        ("json_schema", Some(json)) => OutputFormat::JsonSchema {
            name: json.name,
            description: json.description,
            schema: json.schema.unwrap_or_default(),
            strict: json.strict,
        },
        ("json_schema", None) => {
            return Err(BadRequest::invalid("response_format.json_schema", "`json_schema` needs the schema's object."));
        }
        (other, _) => {
            return Err(BadRequest::invalid(
                "response_format.type",
                format!("Unknown response format `{other}`. Use text, json_object or json_schema."),
            ));
        }
    })
}

/// The extensions clients of several vendors send: `thinking` (Anthropic's) wins over `reasoning` (OpenRouter's), and that
/// over `reasoning_effort`.
fn reasoning(effort: Option<Effort>, other: &mut Object) -> Option<ReasoningControl> {
    let mut control = effort.map(|effort| ReasoningControl { effort: Some(effort), ..ReasoningControl::default() });
    if let Some(Value::Object(reasoning)) = other.remove("reasoning") {
        let control = control.get_or_insert_default();
        control.effort = reasoning.get("effort").and_then(Value::as_str).and_then(Effort::parse).or(control.effort);
        if let Some(budget) = reasoning.get("max_tokens").and_then(Value::as_u64) {
            control.budget_tokens = Some(budget);
            control.mode = Some(ReasoningMode::Budget);
        }
        if reasoning.get("enabled") == Some(&Value::Bool(false)) {
            control.mode = Some(ReasoningMode::Disabled);
        }
        control.summary = reasoning.get("summary").and_then(Value::as_str).map(str::to_owned);
        control.visible = reasoning.get("exclude").and_then(Value::as_bool).map(|exclude| !exclude);
    }
    if let Some(Value::Object(thinking)) = other.remove("thinking") {
        let control = control.get_or_insert_default();
        control.mode = match thinking.get("type").and_then(Value::as_str) {
            Some("adaptive") => Some(ReasoningMode::Adaptive),
            Some("enabled") => Some(ReasoningMode::Budget),
            Some("disabled") => Some(ReasoningMode::Disabled),
            Some("between_tools") => Some(ReasoningMode::BetweenTools),
            _ => control.mode,
        };
        if let Some(budget) = thinking.get("budget_tokens").and_then(Value::as_u64) {
            control.budget_tokens = Some(budget);
            control.effort = None;
        }
        control.visible = Some(true);
    }
    control
}

/// Losing a safety policy in silence is not acceptable.
fn refuse_lost_moderation(other: &Object) -> Result<(), BadRequest> {
    let blocks =
        |side: &str| other.get("moderation").and_then(|m| m.get("policy")?.get(side)?.get("mode")?.as_str()) == Some("block");
    if blocks("input") || blocks("output") {
        return Err(BadRequest::unsupported(
            "moderation",
            "The upstream of this model has no moderation policy that blocks. Remove `moderation` or choose an OpenAI model.",
        ));
    }
    Ok(())
}

pub(super) fn service_tier(word: String) -> ServiceTier {
    match word.as_str() {
        "auto" => ServiceTier::Auto,
        "default" => ServiceTier::Default,
        "flex" => ServiceTier::Flex,
        "priority" | "fast" => ServiceTier::Priority,
        _ => ServiceTier::Other(word),
    }
}

pub(crate) fn response(body: &[u8]) -> Result<Response, AnswerFailure> {
    let wire: wire_answer::Response = json_text::read(body).map_err(|error| InvalidAnswer(error.to_string()))?;
    if let Some(error) = wire.error.filter(|error| !error.is_null()) {
        return Err(AnswerFailure::Upstream(error::from_error(200, &error)));
    }
    let choices = wire.choices.filter(|choices| !choices.is_empty()).ok_or_else(|| InvalidAnswer("no choices".into()))?;
    let mut candidates = Vec::with_capacity(choices.len());
    let origin = wire.id.as_deref().unwrap_or_default();
    for (choice, position) in choices.into_iter().zip(0_u32..) {
        let message = choice.message.ok_or_else(|| InvalidAnswer("a choice without message".into()))?;
        let parts = decode_message::assistant_parts(message, "choices", origin, &mut LossReport::default())
            .map_err(|error| InvalidAnswer(error.message))?;
        let finish = finish_reason(choice.finish_reason.as_deref(), &parts);
        if choice.finish_reason.as_deref() == Some("error") && parts.is_empty() {
            return Err(InvalidAnswer("an answer that ended in an error".into()).into());
        }
        candidates.push(Candidate {
            explanation: refusal_of(&parts),
            raw_finish: choice.finish_reason,
            logprobs: choice.logprobs.filter(|logprobs| !logprobs.is_null()),
            ..Candidate::new(choice.index.unwrap_or(position), parts, finish)
        });
    }
    Ok(Response {
        id: wire.id,
        model: wire.model,
        candidates,
        usage: wire.usage.as_ref().and_then(usage::decode),
        service_tier: wire.service_tier.map(service_tier),
        extensions: Extensions::default(),
    })
}

fn refusal_of(parts: &[Part]) -> Option<String> {
    parts.iter().find_map(|part| if let PartKind::Refusal(text) = &part.kind { Some(text.clone()) } else { None })
}

fn finish_reason(word: Option<&str>, parts: &[Part]) -> FinishReason {
    let has_calls = parts.iter().any(|part| matches!(part.kind, PartKind::ToolCall(_)));
    let has_refusal = parts.iter().any(|part| matches!(part.kind, PartKind::Refusal(_)));
    finish_of(word, has_calls, has_refusal)
}

/// A normal end with calls is a tool use, whatever the server calls it: OpenAI itself says `stop` after a forced function.
pub(super) fn finish_of(word: Option<&str>, has_calls: bool, has_refusal: bool) -> FinishReason {
    match word {
        Some("length" | "max_tokens" | "model_length") => FinishReason::Length,
        Some("content_filter") => FinishReason::ContentFilter,
        _ if has_calls => FinishReason::ToolUse,
        _ if has_refusal => FinishReason::Refusal,
        None | Some("" | "stop" | "tool_calls" | "function_call" | "eos" | "end_turn") => FinishReason::Stop,
        Some(_) => FinishReason::Unknown,
    }
}
