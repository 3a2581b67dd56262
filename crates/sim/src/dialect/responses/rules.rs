//! What OpenAI's Responses refuses: unknown parameters, calls without outputs, reasoning it cannot read or that lost its item.

use serde_json::Value;

use crate::conversation::{Returned, arguments};
use crate::dialect::{Problem, check_fields, is_plain_name};
use crate::families;
use crate::seal::{Kind, Seal};

/// What OpenAI's ciphertexts begin with.
pub(super) const CIPHERTEXT: &str = "gAAAAA";
const MAX_CALL_ID_BYTES: usize = 64;
const MAX_NAME_BYTES: usize = 128;
const FIELDS: &[&str] = &[
    "model",
    "input",
    "instructions",
    "previous_response_id",
    "conversation",
    "store",
    "background",
    "background_options",
    "stream",
    "stream_options",
    "include",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_tool_calls",
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_logprobs",
    "reasoning",
    "text",
    "truncation",
    "context_management",
    "metadata",
    "service_tier",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "user",
    "moderation",
    "access_programs",
    "image",
    "client_metadata",
];
/// Kinds of items of the model's turn.
const OF_THE_MODEL: &[&str] = &[
    "reasoning",
    "function_call",
    "custom_tool_call",
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "computer_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "mcp_call",
    "mcp_list_tools",
    "mcp_approval_request",
    "tool_search_call",
    "compaction",
    "program",
];
/// Kinds of items of the caller's turn.
const OF_THE_CALLER: &[&str] = &[
    "message",
    "function_call_output",
    "custom_tool_call_output",
    "computer_call_output",
    "local_shell_call_output",
    "shell_call_output",
    "apply_patch_call_output",
    "mcp_approval_response",
    "tool_search_output",
    "additional_tools",
    "configuration_update",
    "compaction_trigger",
    "item_reference",
    "program_output",
];
/// Kind of item, and what its id begins with.
const PREFIXES: &[(&str, &str)] = &[("reasoning", "rs"), ("function_call", "fc"), ("custom_tool_call", "ctc")];

/// Whose turn an item belongs to.
pub(super) fn is_models(item: &Value) -> bool {
    item["role"] == "assistant" || OF_THE_MODEL.contains(&item["type"].as_str().unwrap_or_default())
}

/// Checks a request, and tells which reasoning came back.
pub(super) fn check(body: &Value, items: &[Value]) -> Result<Returned, Problem> {
    let model = body["model"].as_str().unwrap_or_default();
    let family = families::openai(model);
    if family.knows_its_fields {
        check_fields(body, FIELDS, |field| Problem::coded(format!("Unknown parameter: '{field}'."), field, "unknown_parameter"))?;
    }
    let idle = body["reasoning"]["effort"] == "none";
    for field in ["temperature", "top_p"] {
        if family.reasons && !idle && body[field].as_f64().is_some_and(|value| (value - 1.0).abs() > f64::EPSILON) {
            let text = format!("Unsupported parameter: '{field}' is not supported with this model.");
            return Err(Problem::coded(text, field, "unsupported_parameter"));
        }
    }
    check_tools(body)?;
    for (at, item) in items.iter().enumerate() {
        check_item(at, item)?;
    }
    check_outputs(items)?;
    check_reasoning(items, model, reasons(body))
}

/// Whether the model reasons in its answer to this request.
pub(super) fn reasons(body: &Value) -> bool {
    let family = families::openai(body["model"].as_str().unwrap_or_default());
    match body["reasoning"]["effort"].as_str() {
        Some(effort) => effort != "none",
        None => family.reasons && !family.idle_unasked,
    }
}

fn check_tools(body: &Value) -> Result<(), Problem> {
    let tools = body["tools"].as_array().map_or(&[][..], Vec::as_slice);
    for (at, tool) in tools.iter().enumerate().filter(|(_, tool)| tool["type"] == "function") {
        let place = format!("tools[{at}].name");
        let Some(name) = tool["name"].as_str() else {
            return Err(Problem::coded(format!("Missing required parameter: '{place}'."), &place, "missing_required_parameter"));
        };
        if !is_plain_name(name, MAX_NAME_BYTES) {
            let text = format!(
                "Invalid '{place}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
            );
            return Err(Problem::coded(text, &place, "invalid_value"));
        }
    }
    let choice = &body["tool_choice"];
    if tools.is_empty() && (choice == "required" || choice["type"] == "function") {
        let text = "Tool choices other than 'auto' or 'none' require 'tools' to be specified.";
        return Err(Problem::invalid(text, "tool_choice"));
    }
    Ok(())
}

fn check_item(at: usize, item: &Value) -> Result<(), Problem> {
    let kind = item["type"].as_str().unwrap_or(if item["role"].is_string() { "message" } else { "item_reference" });
    if !OF_THE_MODEL.contains(&kind) && !OF_THE_CALLER.contains(&kind) {
        let place = format!("input[{at}].type");
        return Err(Problem::coded(format!("Invalid value: '{kind}'."), &place, "invalid_value"));
    }
    let prefix = PREFIXES.iter().find(|(name, _)| *name == kind).map_or("", |(_, prefix)| prefix);
    if let Some(id) = item["id"].as_str().filter(|id| !id.starts_with(prefix)) {
        let place = format!("input[{at}].id");
        let text = format!("Invalid '{place}': '{id}'. Expected an ID that begins with '{prefix}'.");
        return Err(Problem::coded(text, &place, "invalid_value"));
    }
    let required: &[&str] = match kind {
        "reasoning" => &["summary"],
        "function_call" => &["call_id", "name", "arguments"],
        "function_call_output" => &["call_id", "output"],
        _ => &[],
    };
    if let Some(missing) = required.iter().find(|field| item[**field].is_null()) {
        let place = format!("input[{at}].{missing}");
        return Err(Problem::coded(format!("Missing required parameter: '{place}'."), &place, "missing_required_parameter"));
    }
    if let Some(id) = item["call_id"].as_str().filter(|id| id.is_empty() || id.len() > MAX_CALL_ID_BYTES) {
        let place = format!("input[{at}].call_id");
        let text = format!(
            "Invalid '{place}': string too long. Expected a string with maximum length {MAX_CALL_ID_BYTES}, but got a string with length {} instead.",
            id.len()
        );
        return Err(Problem::coded(text, &place, "string_above_max_length"));
    }
    if kind == "function_call" && !item["arguments"].is_string() {
        let place = format!("input[{at}].arguments");
        let text = format!("Invalid type for '{place}': expected a string.");
        return Err(Problem::coded(text, &place, "invalid_type"));
    }
    if item["role"] == "assistant" && item["content"].as_array().into_iter().flatten().any(|part| part["type"] == "input_text") {
        let place = format!("input[{at}].content[0]");
        let text = "Invalid value: 'input_text'. Supported values are: 'output_text' and 'refusal'.";
        return Err(Problem::coded(text, &place, "invalid_value"));
    }
    Ok(())
}

/// A call without an output, or an output without a call, is refused.
fn check_outputs(items: &[Value]) -> Result<(), Problem> {
    for (call, output) in [("function_call", "function_call_output"), ("custom_tool_call", "custom_tool_call_output")] {
        let places = |kind: &'static str| {
            let found = items.iter().enumerate().filter(move |(_, item)| item["type"] == kind);
            found.filter_map(|(at, item)| item["call_id"].as_str().map(|id| (at, id)))
        };
        for (at, id) in places(call) {
            if !places(output).any(|(later, other)| other == id && later > at) {
                let word = if call == "function_call" { "function" } else { "custom tool" };
                return Err(Problem::invalid(format!("No tool output found for {word} call {id}."), "input"));
            }
        }
        for (at, id) in places(output) {
            if !places(call).any(|(earlier, other)| other == id && earlier < at) {
                let text = format!("No tool call found for function call output with call_id {id}.");
                return Err(Problem::invalid(text, "input"));
            }
        }
    }
    Ok(())
}

/// Reasoning is readable and stands before the item it led to; the calls of the current turn have theirs.
fn check_reasoning(items: &[Value], model: &str, reasons: bool) -> Result<Returned, Problem> {
    let turn = items.iter().rposition(|item| item["role"] == "user").unwrap_or(0);
    let mut returned = Returned::default();
    let mut reasoned = false;
    for (at, item) in items.iter().enumerate() {
        if !is_models(item) {
            reasoned = false;
            continue;
        }
        if item["type"] == "reasoning" {
            let id = item["id"].as_str().unwrap_or_default();
            if !items.get(at + 1).is_some_and(is_models) {
                let text = format!("Item '{id}' of type 'reasoning' was provided without its required following item.");
                return Err(Problem::invalid(text, "input"));
            }
            reasoned |= readable(item)?.is_none_or(|by| by == model);
            continue;
        }
        let begins =
            at == 0 || !items[..at].iter().rev().take_while(|item| is_models(item)).any(|item| item["type"] == "function_call");
        if at > turn && item["type"] == "function_call" && begins {
            returned.kept += u32::from(reasoned);
            returned.missing += u32::from(!reasoned && reasons);
        }
    }
    Ok(returned)
}

/// The model that wrote encrypted reasoning; `None` where the item carries none and stands for the stored one.
fn readable(item: &Value) -> Result<Option<String>, Problem> {
    let Some(text) = item["encrypted_content"].as_str() else { return Ok(None) };
    let seal = text.strip_prefix(CIPHERTEXT).and_then(|text| Seal::open(text, Kind::OpenAiReasoning));
    if let Some(seal) = seal {
        return Ok(Some(seal.model));
    }
    let start: String = text.chars().take(4).collect();
    let text = format!(
        "The encrypted content {start}... could not be verified. Reason: Encrypted content could not be decrypted or parsed."
    );
    Err(Problem::coded(text, "input", "invalid_encrypted_content"))
}

/// Items that stand for stored ones: references, and reasoning without its ciphertext.
pub(super) fn stored_items(items: &[Value]) -> Vec<String> {
    let bare = |item: &&Value| match item["type"].as_str() {
        Some("reasoning") => !item["encrypted_content"].is_string(),
        Some("item_reference") => true,
        None => !item["role"].is_string(),
        _ => false,
    };
    items.iter().filter(bare).filter_map(|item| item["id"].as_str().map(str::to_owned)).collect()
}

/// Arguments of a call.
pub(super) fn arguments_of(item: &Value) -> Value {
    arguments(&item["arguments"])
}
