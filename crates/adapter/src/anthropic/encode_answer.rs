//! Writes whole answers, and the pieces that streamed ones share with them.

use serde_json::{Map, Value, json};
use tallygate_types::{Dialect, Usage};

use super::{carrier, usage};
use crate::context::ResponseContext;
use crate::ident;
use crate::ir::{
    Candidate, Citation, FinishReason, Part, PartKind, Reasoning, Response, ServiceTier, Signature, ToolKind, Vendor,
};
use crate::names::FREE_TEXT_FIELD;

pub(crate) fn response(response: &Response, context: &ResponseContext) -> Vec<u8> {
    let empty = Candidate::new(0, Vec::new(), FinishReason::Stop);
    let candidate = response.candidates.first().unwrap_or(&empty);
    let usage = response.usage.as_ref().map_or_else(Usage::default, |report| report.usage);
    let mut content: Vec<Value> = Vec::new();
    for part in &candidate.parts {
        if matches!(part.kind, PartKind::ToolCall(_)) && context.expose_reasoning {
            content.extend(signature_block(part.signature.as_ref()));
        }
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

/// Reasoning of any vendor as a block; its signature rides in it.
pub(super) fn thinking_block(reasoning: &Reasoning) -> Option<Value> {
    match &reasoning.signature {
        Some(Signature { vendor: Vendor::Anthropic, data }) if reasoning.is_redacted => {
            Some(json!({"type": "redacted_thinking", "data": data}))
        }
        None if reasoning.text.is_empty() => None,
        signature => Some(json!({
            "type": "thinking",
            "thinking": reasoning.text,
            "signature": carrier::wrap(signature.as_ref()),
        })),
    }
}

/// An empty block that carries the signature of the call after it.
pub(super) fn signature_block(signature: Option<&Signature>) -> Option<Value> {
    let carried = carrier::wrap_for_next(signature?)?;
    Some(json!({"type": "thinking", "thinking": "", "signature": carried}))
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
        PartKind::Reasoning(reasoning) => return thinking_block(reasoning),
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
        // Anthropic's is opaque; ours says that it is none, so that it is taken out before it comes there.
        "encrypted_index": carrier::wrap(None),
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
