//! Turns as messages, within the API's rules of order and emptiness.

use std::collections::HashSet;

use serde_json::{Value, json};
use tallygate_types::Dialect;

use super::wire::{Block, CacheControl, Content, Message, Source as WireSource};
use crate::failure::BadRequest;
use crate::ir::{
    CacheHint, CacheTtl, Document, Media, Part, PartKind, Reasoning, Request, Role, Source, ToolCall, ToolKind, ToolResult, Turn,
    Vendor,
};
use crate::loss::LossReport;
use crate::media;
use crate::names::FREE_TEXT_FIELD;
use crate::profile::AnthropicModel;

/// Put before system text that must stand in a user's turn. Fixed, so that prompts stay cacheable.
const SYSTEM_PREFIX: &str = "[system instruction] ";
const IMAGE_TYPES: &[&str] = &["image/jpeg", "image/png", "image/gif", "image/webp"];

/// `system` and `messages`. A pure function of the turns: one turn more never changes what came before.
pub(super) fn conversation(
    request: &Request,
    model: AnthropicModel,
    loss: &mut LossReport,
) -> Result<(Vec<Block>, Vec<Message>), BadRequest> {
    let mut writer = Writer { loss, model: &request.model };
    let mut system = Vec::new();
    for part in &request.system {
        if part.as_text().is_some_and(|text| !text.trim().is_empty()) {
            system.extend(writer.part(part, "system")?);
        } else if part.as_text().is_none() {
            writer.loss.dropped("system", "only text can be a system prompt");
        }
    }
    let mut merged: Vec<(Role, Vec<Block>)> = Vec::new();
    for (position, turn) in request.turns.iter().enumerate() {
        let path = turn.path(position);
        if turn.name.is_some() {
            writer.loss.dropped(format!("{path}.name"), "messages have no name");
        }
        let (role, blocks) = writer.turn(turn, model, merged.last().map(|(role, _)| *role), &path)?;
        match merged.last_mut() {
            Some((last, known)) if *last == role => known.extend(blocks),
            _ => merged.push((role, blocks)),
        }
    }
    let mut messages = Vec::with_capacity(merged.len());
    for (position, (role, mut blocks)) in merged.into_iter().enumerate() {
        // Results open the turn; the sort is stable.
        blocks.sort_by_key(|block| block.kind != "tool_result");
        if blocks.is_empty() {
            if role == Role::User {
                return Err(BadRequest::invalid(
                    format!("messages[{position}].content"),
                    "A user's message must have content that is not empty.",
                ));
            }
            continue;
        }
        let role = match role {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System | Role::Developer => "system",
        };
        messages.push(Message { role: role.into(), content: plain(blocks) });
    }
    answer_calls(&mut messages, writer.loss);
    last_turn(&mut messages, model, writer.loss);
    Ok((system, messages))
}

/// One text without a breakpoint is a plain string.
fn plain(mut blocks: Vec<Block>) -> Content {
    if let [only] = blocks.as_mut_slice()
        && only.kind == "text"
        && only.cache_control.is_none()
        && only.citations.is_none()
    {
        return Content::Text(only.text.take().unwrap_or_default());
    }
    Content::Blocks(blocks)
}

/// Every call needs exactly one result in the next turn: a missing one is said to be missing, of several the last counts.
fn answer_calls(messages: &mut Vec<Message>, loss: &mut LossReport) {
    let mut at = 0;
    while at < messages.len() {
        let calls: Vec<String> = match &messages[at].content {
            Content::Blocks(blocks) if messages[at].role == "assistant" => {
                blocks.iter().filter(|block| block.kind == "tool_use").filter_map(|block| block.id.clone()).collect()
            }
            _ => Vec::new(),
        };
        at += 1;
        if calls.is_empty() {
            continue;
        }
        if messages.get(at).is_none_or(|message| message.role != "user") {
            messages.insert(at, Message { role: "user".into(), content: Content::Blocks(Vec::new()) });
        }
        let mut blocks = match std::mem::take(&mut messages[at].content) {
            Content::Blocks(blocks) => blocks,
            Content::Text(text) => vec![text_block(text)],
        };
        let mut seen = HashSet::new();
        let mut keeps: Vec<bool> = blocks
            .iter()
            .rev()
            .map(|block| block.kind != "tool_result" || seen.insert(block.tool_use_id.clone().unwrap_or_default()))
            .collect();
        keeps.reverse();
        let mut keep = keeps.into_iter();
        blocks.retain(|_| keep.next().unwrap_or(true));
        for id in calls.into_iter().rev().filter(|id| !seen.contains(id)) {
            loss.approximated("messages", "a tool call without a result got an empty one");
            blocks.insert(
                0,
                Block {
                    kind: "tool_result".into(),
                    tool_use_id: Some(id),
                    content: Some("(no result)".into()),
                    is_error: Some(true),
                    ..Block::default()
                },
            );
        }
        messages[at].content = Content::Blocks(blocks);
    }
}

/// A last assistant turn is continued by older models (its text must not end in white space) and refused by newer ones.
fn last_turn(messages: &mut Vec<Message>, model: AnthropicModel, loss: &mut LossReport) {
    let Some(last) = messages.last_mut().filter(|message| message.role == "assistant") else { return };
    if !model.prefill {
        loss.approximated("messages", "this model does not continue an assistant's turn: a user's turn was added");
        messages.push(Message { role: "user".into(), content: Content::Text("Continue.".into()) });
        return;
    }
    loss.approximated("messages", "the last assistant's turn is continued instead of followed");
    let text = match &mut last.content {
        Content::Text(text) => Some(text),
        Content::Blocks(blocks) => blocks.last_mut().and_then(|block| block.text.as_mut()),
    };
    if let Some(text) = text {
        text.truncate(text.trim_end().len());
    }
}

struct Writer<'a> {
    loss: &'a mut LossReport,
    model: &'a str,
}

impl Writer<'_> {
    fn turn(
        &mut self,
        turn: &Turn,
        model: AnthropicModel,
        before: Option<Role>,
        path: &str,
    ) -> Result<(Role, Vec<Block>), BadRequest> {
        let mut blocks = Vec::new();
        if matches!(turn.role, Role::System | Role::Developer) {
            // The API takes it right after a user's turn, on models that know it.
            let stays = model.system_turns && before == Some(Role::User);
            let texts = turn.parts.iter().filter_map(Part::as_text).filter(|text| !text.trim().is_empty());
            for text in texts {
                blocks.push(text_block(if stays { text.to_owned() } else { format!("{SYSTEM_PREFIX}{text}") }));
            }
            if !stays {
                self.loss.approximated(format!("{path}.role"), "a later system message is sent as user text");
            }
            return Ok((if stays { Role::System } else { Role::User }, blocks));
        }
        for part in &turn.parts {
            blocks.extend(self.part(part, path)?);
        }
        Ok((turn.role, blocks))
    }

    fn part(&mut self, part: &Part, path: &str) -> Result<Option<Block>, BadRequest> {
        let mut block = match &part.kind {
            PartKind::Text(text) if text.text.trim().is_empty() => return Ok(None),
            PartKind::Text(text) => text_block(text.text.clone()),
            PartKind::Refusal(text) if text.trim().is_empty() => return Ok(None),
            PartKind::Refusal(text) => {
                self.loss.approximated(format!("{path}.refusal"), "sent as text");
                text_block(text.clone())
            }
            PartKind::Image(image) => self.image(image, path)?,
            PartKind::Document(document) => self.document(document, path)?,
            PartKind::Audio(_) => {
                return Err(BadRequest::unsupported_value(path, "The upstream of this model takes no audio. Send a transcript."));
            }
            PartKind::Video(_) => {
                return Err(BadRequest::unsupported_value(path, "The upstream of this model takes no video. Send images."));
            }
            PartKind::ToolCall(call) => self.tool_use(call, path),
            PartKind::ToolResult(result) => self.tool_result(result, path)?,
            PartKind::Reasoning(reasoning) => match self.reasoning(reasoning, path) {
                Some(block) => return Ok(Some(block)),
                None => return Ok(None),
            },
            PartKind::Extension { dialect: Dialect::Anthropic, value, .. } => {
                return Ok(serde_json::from_value(value.clone()).ok());
            }
            PartKind::Extension { kind, .. } => {
                self.loss.dropped(format!("{path}.{kind}"), "known to another vendor only");
                return Ok(None);
            }
        };
        block.cache_control = part.cache.map(cache_control);
        Ok(Some(block))
    }

    /// Only Anthropic's own signed blocks go back to Anthropic.
    fn reasoning(&mut self, reasoning: &Reasoning, path: &str) -> Option<Block> {
        let signature = reasoning.signature.as_ref().filter(|signature| signature.vendor == Vendor::Anthropic);
        let Some(signature) = signature else {
            self.loss.dropped(format!("{path}.reasoning"), "reasoning without Anthropic's signature is not sent to it");
            return None;
        };
        Some(if reasoning.is_redacted {
            Block { kind: "redacted_thinking".into(), data: Some(signature.data.clone()), ..Block::default() }
        } else {
            Block {
                kind: "thinking".into(),
                thinking: Some(reasoning.text.clone()),
                signature: Some(signature.data.clone()),
                ..Block::default()
            }
        })
    }

    fn tool_use(&mut self, call: &ToolCall, path: &str) -> Block {
        let input = match call.kind {
            ToolKind::Custom => json!({ FREE_TEXT_FIELD: call.arguments }),
            ToolKind::Function => match serde_json::from_str::<Value>(&call.arguments) {
                Ok(input @ Value::Object(_)) => input,
                Ok(Value::Null) => json!({}),
                Ok(other) => {
                    self.loss.approximated(format!("{path}.tool_calls"), "arguments that are no object are sent as `value`");
                    json!({ "value": other })
                }
                Err(_) if call.arguments.trim().is_empty() => json!({}),
                Err(_) => {
                    self.loss.approximated(format!("{path}.tool_calls"), "arguments that are no JSON are sent as `_raw`");
                    json!({ "_raw": call.arguments })
                }
            },
        };
        Block {
            kind: "tool_use".into(),
            id: Some(call.id.clone()),
            name: Some(call.name.clone()),
            input: Some(input),
            ..Block::default()
        }
    }

    fn tool_result(&mut self, result: &ToolResult, path: &str) -> Result<Block, BadRequest> {
        let mut inner = Vec::new();
        for part in &result.content {
            inner.extend(self.part(part, path)?);
        }
        let content = match plain(inner) {
            Content::Text(text) => Some(Value::from(text)),
            Content::Blocks(blocks) if blocks.is_empty() => Some("".into()),
            Content::Blocks(blocks) => serde_json::to_value(blocks).ok(),
        };
        Ok(Block {
            kind: "tool_result".into(),
            tool_use_id: Some(result.call_id.clone()),
            content,
            is_error: result.is_error.then_some(true),
            ..Block::default()
        })
    }

    fn image(&mut self, image: &Media, path: &str) -> Result<Block, BadRequest> {
        let source = match &image.source {
            Source::Data { media_type, base64 } if IMAGE_TYPES.contains(&media_type.as_str()) => WireSource {
                kind: "base64".into(),
                media_type: Some(media_type.clone()),
                data: Some(base64.clone()),
                ..WireSource::default()
            },
            Source::Data { media_type, .. } => {
                return Err(BadRequest {
                    code: "invalid_image_format",
                    ..BadRequest::invalid(
                        path,
                        format!("Images of type `{media_type}` are not taken. Send JPEG, PNG, GIF or WebP."),
                    )
                });
            }
            source => self.reference(source, path)?,
        };
        if image.detail.as_deref().is_some_and(|detail| detail != "auto") {
            self.loss.dropped(format!("{path}.detail"), "images have no detail");
        }
        Ok(Block { kind: "image".into(), source: serde_json::to_value(source).ok(), ..Block::default() })
    }

    fn document(&mut self, document: &Document, path: &str) -> Result<Block, BadRequest> {
        let text_source = |text: String| WireSource {
            kind: "text".into(),
            media_type: Some("text/plain".into()),
            data: Some(text),
            ..WireSource::default()
        };
        let source = match &document.source {
            Source::Data { media_type, base64 } if media_type == "application/pdf" => WireSource {
                kind: "base64".into(),
                media_type: Some(media_type.clone()),
                data: Some(base64.clone()),
                ..WireSource::default()
            },
            Source::Data { media_type, base64 } if is_textual(media_type) => {
                let bytes = media::bytes_of(base64).ok_or_else(|| BadRequest::invalid(path, "The file's data is not base64."))?;
                self.loss.approximated(format!("{path}.file"), "sent as a plain text document");
                text_source(String::from_utf8_lossy(&bytes).into_owned())
            }
            Source::Data { media_type, .. } => {
                return Err(BadRequest::unsupported_value(
                    path,
                    format!("Files of type `{media_type}` are not taken by this model's upstream. Send PDF or text."),
                ));
            }
            Source::Text(text) => text_source(text.clone()),
            Source::Parts(parts) => {
                let mut blocks = Vec::new();
                for part in parts {
                    blocks.extend(self.part(part, path)?);
                }
                WireSource { kind: "content".into(), content: Some(Content::Blocks(blocks)), ..WireSource::default() }
            }
            source => self.reference(source, path)?,
        };
        Ok(Block {
            kind: "document".into(),
            source: serde_json::to_value(source).ok(),
            title: document.title.clone(),
            context: document.context.clone(),
            citations: document.citations.then(|| json!({"enabled": true})),
            ..Block::default()
        })
    }

    /// A URL, or a file the vendor keeps itself.
    fn reference(&mut self, source: &Source, path: &str) -> Result<WireSource, BadRequest> {
        match source {
            Source::Url { url, .. } => Ok(WireSource { kind: "url".into(), url: Some(url.clone()), ..WireSource::default() }),
            Source::File { vendor: Vendor::Anthropic, id, .. } => {
                Ok(WireSource { kind: "file".into(), file_id: Some(id.clone()), ..WireSource::default() })
            }
            _ => Err(BadRequest::unsupported_value(
                path,
                format!(
                    "This file is kept by another vendor and cannot be sent to `{}`. Send its content as base64 data.",
                    self.model
                ),
            )),
        }
    }
}

fn is_textual(media_type: &str) -> bool {
    media_type.starts_with("text/") || matches!(media_type, "application/json" | "application/xml" | "application/csv")
}

fn text_block(text: String) -> Block {
    Block { kind: "text".into(), text: Some(text), ..Block::default() }
}

pub(super) fn cache_control(hint: CacheHint) -> CacheControl {
    CacheControl { kind: "ephemeral".into(), ttl: (hint.ttl == CacheTtl::Long).then(|| "1h".to_owned()) }
}
