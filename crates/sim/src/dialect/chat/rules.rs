//! What OpenAI's Chat Completions refuses: unknown parameters, what reasoning models do not take, calls without answers.

use serde_json::Value;

use crate::conversation::Returned;
use crate::dialect::{Problem, check_fields, is_plain_name};
use crate::families;

const MAX_NAME_BYTES: usize = 64;
/// The shorter of the two limits that OpenAI's models have.
const MAX_CALL_ID_BYTES: usize = 40;
const FIELDS: &[&str] = &[
    "messages",
    "model",
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];
/// Refused by models that reason.
const NOT_WITH_REASONING: &[&str] =
    &["max_tokens", "stop", "logprobs", "top_logprobs", "frequency_penalty", "presence_penalty", "logit_bias", "top_p"];

/// Checks a request whose `messages` are a list, and tells which reasoning came back.
pub(super) fn check(body: &Value, messages: &[Value]) -> Result<Returned, Problem> {
    check_parameters(body)?;
    check_tools(body)?;
    check_tool_answers(messages)?;
    Ok(returned(body, messages))
}

/// Whether the model reasons in its answer to this request.
pub(super) fn reasons(body: &Value) -> bool {
    let family = families::openai(body["model"].as_str().unwrap_or_default());
    match body["reasoning_effort"].as_str() {
        Some(effort) => effort != "none",
        None => (family.reasons && !family.idle_unasked) || family.shows_reasoning,
    }
}

fn check_parameters(body: &Value) -> Result<(), Problem> {
    let family = families::openai(body["model"].as_str().unwrap_or_default());
    if family.knows_its_fields {
        check_fields(body, FIELDS, |field| Problem::coded(format!("Unknown parameter: '{field}'."), field, "unknown_parameter"))?;
    }
    if !family.reasons {
        return Ok(());
    }
    let is_set = |field: &&&str| body.get(**field).is_some_and(|value| !value.is_null());
    if let Some(field) = NOT_WITH_REASONING.iter().find(is_set) {
        let instead = if *field == "max_tokens" { " Use 'max_completion_tokens' instead." } else { "" };
        let text = format!("Unsupported parameter: '{field}' is not supported with this model.{instead}");
        return Err(Problem::coded(text, field, "unsupported_parameter"));
    }
    if reasons(body) && body["temperature"].as_f64().is_some_and(|value| (value - 1.0).abs() > f64::EPSILON) {
        let text = "Unsupported value: 'temperature' does not support this value with this model. Only the default (1) value is supported.";
        return Err(Problem::coded(text, "temperature", "unsupported_value"));
    }
    let has_tools = body["tools"].as_array().is_some_and(|tools| !tools.is_empty());
    if family.tools_need_responses && has_tools && reasons(body) {
        let text = "Function tools with reasoning_effort are not supported for this model in /v1/chat/completions. Please use /v1/responses instead.";
        return Err(Problem::invalid(text, "reasoning_effort"));
    }
    Ok(())
}

fn check_tools(body: &Value) -> Result<(), Problem> {
    let tools = body["tools"].as_array().map_or(&[][..], Vec::as_slice);
    for (at, tool) in tools.iter().enumerate().filter(|(_, tool)| tool["type"] == "function") {
        let place = format!("tools[{at}].function.name");
        if !is_plain_name(tool["function"]["name"].as_str().unwrap_or_default(), MAX_NAME_BYTES) {
            let text = format!(
                "Invalid '{place}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
            );
            return Err(Problem::coded(text, &place, "invalid_value"));
        }
    }
    if body["tools"].is_array() && tools.is_empty() {
        let text = "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead.";
        return Err(Problem::coded(text, "tools", "empty_array"));
    }
    for field in ["tool_choice", "parallel_tool_calls"] {
        if tools.is_empty() && body.get(field).is_some_and(|value| !value.is_null() && value != "none") {
            let text = format!("Invalid value for '{field}': '{field}' is only allowed when 'tools' are specified.");
            return Err(Problem::invalid(text, field));
        }
    }
    Ok(())
}

/// OpenAI refuses a call without its answer and an answer without its call.
fn check_tool_answers(messages: &[Value]) -> Result<(), Problem> {
    let mut open: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if role == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            let Some(found) = open.iter().position(|call| *call == id) else {
                return Err(Problem::invalid(
                    "messages with role 'tool' must be a response to a preceding message with 'tool_calls'.",
                    &format!("messages.[{at}].role"),
                ));
            };
            open.swap_remove(found);
            continue;
        }
        refuse_open_calls(&open)?;
        if !matches!(role, "system" | "developer" | "user" | "assistant" | "function") {
            return Err(Problem::invalid(
                format!(
                    "Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'."
                ),
                &format!("messages[{at}].role"),
            ));
        }
        if role == "assistant"
            && message["content"].is_null()
            && message["tool_calls"].is_null()
            && message["function_call"].is_null()
            && message["refusal"].is_null()
            && message["audio"].is_null()
        {
            let place = format!("messages.[{at}].content");
            let text = "Invalid value for 'content': expected a string, got null.";
            return Err(Problem::invalid(text, &place));
        }
        if let Some(calls) = message["tool_calls"].as_array() {
            check_calls(at, calls)?;
            open = calls.iter().filter_map(|call| call["id"].as_str()).collect();
        }
    }
    refuse_open_calls(&open)
}

fn refuse_open_calls(open: &[&str]) -> Result<(), Problem> {
    if open.is_empty() {
        return Ok(());
    }
    Err(Problem::invalid(
        format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: {}",
            open.join(", ")
        ),
        "messages",
    ))
}

fn check_calls(at: usize, calls: &[Value]) -> Result<(), Problem> {
    for (index, call) in calls.iter().enumerate() {
        let place = format!("messages[{at}].tool_calls[{index}]");
        let id = call["id"].as_str().unwrap_or_default();
        if id.len() > MAX_CALL_ID_BYTES {
            let text = format!(
                "Invalid '{place}.id': string too long. Expected a string with maximum length {MAX_CALL_ID_BYTES}, but got a string with length {} instead.",
                id.len()
            );
            return Err(Problem::coded(text, &format!("{place}.id"), "string_above_max_length"));
        }
        if call["type"] == "function" && !call["function"]["arguments"].is_string() {
            let place = format!("{place}.function.arguments");
            return Err(Problem::coded(format!("Invalid type for '{place}': expected a string."), &place, "invalid_type"));
        }
    }
    Ok(())
}

/// A server that shows its reasoning wants it back beside the calls of the current turn.
fn returned(body: &Value, messages: &[Value]) -> Returned {
    let mut returned = Returned::default();
    if !families::openai(body["model"].as_str().unwrap_or_default()).shows_reasoning {
        return returned;
    }
    let turn = messages.iter().rposition(|message| message["role"] == "user").unwrap_or(0);
    for message in messages[turn..].iter().filter(|message| message["tool_calls"].is_array()) {
        let kept = message["reasoning_content"].as_str().is_some_and(|text| !text.is_empty());
        returned.kept += u32::from(kept);
        returned.missing += u32::from(!kept);
    }
    returned
}
