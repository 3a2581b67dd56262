//! Writes whole answers.

use super::decode::ECHO_TIER;
use super::wire::FunctionCall;
use super::wire_answer::{Completion, CompletionChoice, CompletionMessage};
use super::{carriers, encode_message, usage};
use crate::context::ResponseContext;
use crate::ident;
use crate::ir::{Candidate, FinishReason, Part, PartKind, Response, ServiceTier, ToolKind};
use crate::json_write;

pub(crate) fn response(response: &Response, context: &ResponseContext) -> Vec<u8> {
    let id = ident::response_id("chatcmpl-", response.id.as_deref(), &context.response_id);
    let asked_for_tier = context.echo.contains_key(ECHO_TIER);
    let completion = Completion {
        id: &id,
        object: "chat.completion",
        created: context.created_at.seconds(),
        model: &context.client_model,
        choices: response.candidates.iter().map(|candidate| choice(candidate, &id, context)).collect(),
        usage: response.usage.as_ref().map(|report| usage::encode(&report.usage)),
        service_tier: response.service_tier.as_ref().filter(|_| asked_for_tier).map(tier),
    };
    json_write::written(&completion).unwrap_or_default()
}

/// Only words the document knows.
fn tier(tier: &ServiceTier) -> &'static str {
    match tier {
        ServiceTier::Flex => "flex",
        ServiceTier::Priority => "priority",
        ServiceTier::Auto | ServiceTier::Default | ServiceTier::Other(_) => "default",
    }
}

fn choice(candidate: &Candidate, id: &str, context: &ResponseContext) -> CompletionChoice {
    let mut message = CompletionMessage { role: "assistant", ..CompletionMessage::default() };
    let mut text = String::new();
    let mut reasoning = String::new();
    for part in &candidate.parts {
        match &part.kind {
            PartKind::Text(piece) => {
                let (offset, chars) = (text.chars().count() as u64, piece.text.chars().count() as u64);
                let place = |citation| encode_message::annotation(citation, offset, chars);
                message.annotations.extend(piece.citations.iter().filter_map(place));
                message.extra_content = carriers::extra_content(part.signature.as_ref()).or(message.extra_content);
                text.push_str(&piece.text);
            }
            PartKind::Refusal(refusal) => message.refusal.get_or_insert_default().push_str(refusal),
            PartKind::Reasoning(piece) if context.expose_reasoning => {
                if !piece.text.is_empty() {
                    reasoning.push_str(if reasoning.is_empty() { "" } else { REASONING_GAP });
                    reasoning.push_str(&piece.text);
                }
                message.thinking_blocks.extend(carriers::thinking_block(piece, None));
                message.reasoning_details.extend(carriers::details(piece, None, text.chars().count() as u64));
            }
            PartKind::ToolCall(call) if context.legacy_functions && call.kind == ToolKind::Function => {
                message.function_call.get_or_insert_with(|| FunctionCall {
                    name: Some(call.name.clone()),
                    arguments: Some(call.arguments.clone().into()),
                    thought_signature: None,
                });
            }
            PartKind::ToolCall(call) => {
                let mut wire = encode_message::tool_call(call);
                wire.extra_content = carriers::extra_content(part.signature.as_ref());
                message.tool_calls.push(wire);
            }
            PartKind::Image(media) => {
                let index = message.images.len();
                message.images.extend(encode_message::output_image(media, index));
            }
            PartKind::Audio(media) => {
                let audio = message.audio.get_or_insert_with(|| encode_message::opening_audio(id, context.created_at));
                encode_message::append_audio(audio, media);
            }
            _ => {}
        }
    }
    let has_calls = !message.tool_calls.is_empty() || message.function_call.is_some();
    if message.refusal.is_none() {
        message.refusal = refusal(candidate.finish, candidate.explanation.as_deref(), candidate.parts.iter().any(is_said));
    }
    let is_spoken = has_calls || message.refusal.is_some() || message.audio.is_some();
    message.content = (!text.is_empty() || !is_spoken).then_some(text);
    message.reasoning_content = (!reasoning.is_empty()).then_some(reasoning);
    CompletionChoice {
        index: candidate.index,
        finish_reason: finish_reason(candidate.finish, has_calls, context.legacy_functions),
        native_finish_reason: native(candidate.finish, candidate.raw_finish.as_deref()),
        message,
        logprobs: candidate.logprobs.clone(),
    }
}

/// Between pieces of reasoning.
pub(super) const REASONING_GAP: &str = "\n\n";

fn is_said(part: &Part) -> bool {
    match &part.kind {
        PartKind::Text(text) => !text.text.is_empty(),
        PartKind::ToolCall(_) | PartKind::Image(_) | PartKind::Audio(_) => true,
        _ => false,
    }
}

/// What stands in `refusal` where the upstream declined without a refusal of its own. A filter that let something through
/// says no more than its finish reason.
pub(super) fn refusal(finish: FinishReason, explanation: Option<&str>, has_content: bool) -> Option<String> {
    match finish {
        FinishReason::Refusal => Some(explanation.unwrap_or("The model declined to answer.").to_owned()),
        FinishReason::ContentFilter if !has_content => explanation.map(str::to_owned),
        _ => None,
    }
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

/// The upstream's own word, where ours says less.
pub(super) fn native(finish: FinishReason, raw: Option<&str>) -> Option<String> {
    /// What vendors call an ordinary end, a cut at the cap, and calls.
    const ORDINARY: &[&str] = &[
        "stop",
        "end_turn",
        "stop_sequence",
        "eos",
        "completed",
        "incomplete",
        "length",
        "max_tokens",
        "max_output_tokens",
        "tool_use",
        "tool_calls",
        "function_call",
    ];
    let raw = raw?;
    let says_as_much =
        matches!(finish, FinishReason::Stop | FinishReason::StopSequence | FinishReason::Length | FinishReason::ToolUse)
            && ORDINARY.iter().any(|word| word.eq_ignore_ascii_case(raw));
    (!says_as_much && !raw.is_empty()).then(|| raw.to_owned())
}
