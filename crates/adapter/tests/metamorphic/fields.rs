//! There and back again loses only what the report names.

use serde_json::{Value, json};
use tallygate_types::Dialect;

use crate::{Pair, pairs};

/// Single fields a client may say, each laid over the smallest request of its dialect. A dot enters an object.
fn fields(client: Dialect) -> Vec<(&'static str, Value)> {
    let schema =
        json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    match client {
        Dialect::OpenaiChat => vec![
            ("temperature", json!(0.5)),
            ("top_p", json!(0.5)),
            ("stop", json!(["END"])),
            ("seed", json!(7)),
            ("presence_penalty", json!(0.5)),
            ("frequency_penalty", json!(0.5)),
            ("logit_bias", json!({"50256": -100})),
            ("logprobs", json!(true)),
            ("n", json!(2)),
            ("safety_identifier", json!("user-1")),
            ("metadata", json!({"a": "b"})),
            ("service_tier", json!("flex")),
            (
                "response_format",
                json!({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": true}}),
            ),
            ("reasoning_effort", json!("low")),
            ("verbosity", json!("low")),
            ("prompt_cache_key", json!("k")),
            ("prediction", json!({"type": "content", "content": "x"})),
            ("web_search_options", json!({})),
            ("max_completion_tokens", json!(100)),
        ],
        Dialect::OpenaiResponses => vec![
            ("temperature", json!(0.5)),
            ("top_p", json!(0.5)),
            ("safety_identifier", json!("user-1")),
            ("metadata", json!({"a": "b"})),
            ("service_tier", json!("flex")),
            ("text", json!({"format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": true}})),
            ("truncation", json!("auto")),
            ("prompt_cache_key", json!("k")),
            ("max_output_tokens", json!(100)),
        ],
        Dialect::Anthropic => vec![
            ("temperature", json!(0.5)),
            ("top_p", json!(0.5)),
            ("top_k", json!(5)),
            ("stop_sequences", json!(["END"])),
            ("metadata", json!({"user_id": "user-1"})),
            ("service_tier", json!("standard_only")),
            ("thinking", json!({"type": "enabled", "budget_tokens": 1024})),
            ("output_config", json!({"format": {"type": "json_schema", "schema": schema}})),
            ("speed", json!("fast")),
            ("context_management", json!({"edits": []})),
        ],
        Dialect::Gemini => vec![
            ("generationConfig.temperature", json!(0.5)),
            ("generationConfig.topP", json!(0.5)),
            ("generationConfig.topK", json!(5)),
            ("generationConfig.seed", json!(7)),
            ("generationConfig.stopSequences", json!(["END"])),
            ("generationConfig.presencePenalty", json!(0.5)),
            ("generationConfig.frequencyPenalty", json!(0.5)),
            ("generationConfig.maxOutputTokens", json!(100)),
            ("generationConfig.candidateCount", json!(2)),
            ("generationConfig.responseLogprobs", json!(true)),
            ("safetySettings", json!([{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}])),
            ("labels", json!({"a": "b"})),
        ],
    }
}

fn smallest(client: Dialect) -> Value {
    match client {
        Dialect::OpenaiChat => {
            json!({"model": "smart", "max_completion_tokens": 2000, "messages": [{"role": "user", "content": "x"}]})
        }
        Dialect::OpenaiResponses => json!({"model": "smart", "max_output_tokens": 2000, "input": "x"}),
        Dialect::Anthropic => json!({"model": "smart", "max_tokens": 2000, "messages": [{"role": "user", "content": "x"}]}),
        Dialect::Gemini => {
            json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}], "generationConfig": {"maxOutputTokens": 2000}})
        }
    }
}

fn pointer(field: &str) -> String {
    format!("/{}", field.replace('.', "/"))
}

fn with(client: Dialect, field: &str, value: &Value) -> Value {
    let mut body = smallest(client);
    match field.split_once('.') {
        Some((outer, inner)) => body[outer][inner] = value.clone(),
        None => body[field] = value.clone(),
    }
    body
}

/// What changes without a note (`docs/translation.md`, "Choices"): labels and hints that change no answer, and the end
/// user's id, which no vendor is told in clear.
fn is_silent(field: &str, value: &Value, home: Option<&Value>) -> bool {
    let unlabelled = |format: &Value| {
        let mut format = format.clone();
        for label in ["/name", "/json_schema/name", "/format/name", "/format/strict"] {
            if let Some(label) = format.pointer_mut(label) {
                *label = Value::Null;
            }
        }
        format
    };
    match field {
        "prompt_cache_key" => home.is_none(),
        "safety_identifier" => home.and_then(Value::as_str).is_some_and(|hash| hash.len() == 64),
        "metadata" => home.and_then(|home| home["user_id"].as_str()).is_some_and(|hash| hash.len() == 64),
        "service_tier" => value == "standard_only" && home.is_none(),
        "response_format" => home.map(unlabelled) == Some(unlabelled(value)),
        "text" => home.is_some_and(|home| home["format"]["schema"] == value["format"]["schema"]),
        _ => false,
    }
}

#[test]
fn there_and_back_again_loses_only_what_the_report_names() {
    let mut unnamed = Vec::new();
    for Pair { client, upstream } in pairs().filter(|pair| pair.client != pair.upstream) {
        let (there, back) = (Pair { client, upstream }, Pair { client: upstream, upstream: client });
        for (field, value) in fields(client) {
            // What is refused is not lost.
            let Ok(outgoing) = there.prepare(&with(client, field, &value), false) else { continue };
            let sent: Value = serde_json::from_slice(&outgoing.body.whole()).unwrap();
            let Ok(returned) = back.prepare(&sent, false) else { continue };
            let home: Value = serde_json::from_slice(&returned.body.whole()).unwrap();
            let is_named = !outgoing.loss.is_empty() || !returned.loss.is_empty();
            let found = home.pointer(&pointer(field));
            if found != Some(&value) && !is_named && !is_silent(field, &value, found) {
                unnamed.push(format!("{client} {field} through {upstream}: {sent} and {home}"));
            }
        }
    }
    assert!(unnamed.is_empty(), "lost in silence:\n{}", unnamed.join("\n"));
}
