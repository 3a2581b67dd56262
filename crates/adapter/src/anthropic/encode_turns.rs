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
/// `continues`: the answer may go on from a last assistant turn.
pub(super) fn conversation(
    request: &Request,
    model: AnthropicModel,
    continues: bool,
    loss: &mut LossReport,
) -> Result<(Vec<Block>, Vec<Message>), BadRequest> {
    let mut writer = Writer { loss, model: &request.model, groups: Vec::new(), behind: Vec::new() };
    let mut system = Vec::with_capacity(request.system.len());
    for part in &request.system {
        if part.as_text().is_some_and(|text| !text.trim().is_empty()) {
            system.extend(writer.part(part, Role::System, "system")?);
        } else if part.as_text().is_none() {
            writer.loss.dropped("system", "only text can be a system prompt");
        }
    }
    let turns: Vec<(usize, &Turn)> = request.turns.iter().enumerate().filter(|(_, turn)| !is_silent(turn)).collect();
    // Who speaks next after each turn, system text apart.
    let mut next = None;
    let mut nexts = Vec::with_capacity(turns.len());
    for (_, turn) in turns.iter().rev() {
        nexts.push(next);
        if matches!(turn.role, Role::User | Role::Assistant) {
            next = Some(turn.role);
        }
    }
    for ((position, turn), next) in turns.iter().zip(nexts.into_iter().rev()) {
        let path = turn.path(*position);
        if turn.name.is_some() {
            writer.loss.dropped(format!("{path}.name"), "messages have no name");
        }
        match turn.role {
            Role::User | Role::Assistant => writer.turn(turn, path)?,
            Role::System | Role::Developer => writer.system(turn, path, next, model)?,
        }
    }
    writer.flush_system();
    let mut messages = Vec::with_capacity(writer.groups.len());
    for group in writer.groups {
        let Group { role, mut blocks, path } = group;
        if blocks.is_empty() {
            return Err(BadRequest::invalid(format!("{path}.content"), "A user's message must have content that is not empty."));
        }
        if role == Role::User {
            // Results open the turn; the sort is stable.
            blocks.sort_by_key(|block| block.kind != "tool_result");
            refuse_strays(&blocks, messages.last(), &path)?;
        }
        let role = match role {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System | Role::Developer => "system",
        };
        messages.push(Message { role: role.into(), content: plain(blocks) });
    }
    answer_calls(&mut messages, writer.loss);
    last_turn(&mut messages, continues, writer.loss);
    Ok((system, messages))
}

/// Says nothing: left out, so that what stands beside it joins.
fn is_silent(turn: &Turn) -> bool {
    turn.role == Role::Assistant && turn.parts.iter().all(|part| part.as_text().is_some_and(|text| text.trim().is_empty()))
}

/// A result must answer a call of the turn before it.
fn refuse_strays(blocks: &[Block], before: Option<&Message>, path: &str) -> Result<(), BadRequest> {
    let calls: HashSet<&str> = match before.map(|message| &message.content) {
        Some(Content::Blocks(blocks)) => {
            blocks.iter().filter(|block| block.kind == "tool_use").filter_map(|block| block.id.as_deref()).collect()
        }
        _ => HashSet::new(),
    };
    let results = blocks.iter().filter(|block| block.kind == "tool_result");
    match results.filter_map(|block| block.tool_use_id.as_deref()).find(|id| !calls.contains(id)) {
        Some(id) => Err(BadRequest::invalid(
            format!("{path}.tool_call_id"),
            format!(
                "The tool result `{id}` answers no call of the assistant's message before it. Send the call too, or leave the result out."
            ),
        )),
        None => Ok(()),
    }
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
        let missing: Vec<Block> = calls.into_iter().filter(|id| !seen.contains(id)).map(no_result).collect();
        if !missing.is_empty() {
            loss.approximated("messages", "a tool call without a result got an empty one");
            blocks.splice(0..0, missing);
        }
        messages[at].content = Content::Blocks(blocks);
    }
}

fn no_result(call_id: String) -> Block {
    Block {
        kind: "tool_result".into(),
        tool_use_id: Some(call_id),
        content: Some("(no result)".into()),
        is_error: Some(true),
        ..Block::default()
    }
}

/// A last assistant turn is continued by older models (its text must not end in white space) and refused by newer ones.
fn last_turn(messages: &mut Vec<Message>, continues: bool, loss: &mut LossReport) {
    let Some(last) = messages.last_mut().filter(|message| message.role == "assistant") else { return };
    if !continues {
        loss.approximated("messages", "an assistant's turn cannot be continued here: a user's turn was added");
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

/// Neighbouring turns of one role.
struct Group {
    role: Role,
    blocks: Vec<Block>,
    /// Of the first of them.
    path: String,
}

struct Writer<'a> {
    loss: &'a mut LossReport,
    model: &'a str,
    groups: Vec<Group>,
    /// System text that waits for the end of the user's turn.
    behind: Vec<Block>,
}

impl Writer<'_> {
    fn turn(&mut self, turn: &Turn, path: String) -> Result<(), BadRequest> {
        let mut blocks = Vec::with_capacity(turn.parts.len());
        for part in &turn.parts {
            blocks.extend(self.part(part, turn.role, &path)?);
        }
        if turn.role == Role::Assistant {
            if blocks.is_empty() {
                return Ok(());
            }
            self.flush_system();
        }
        self.push(turn.role, blocks, path);
        Ok(())
    }

    /// The API takes system text right after a user's turn and before the assistant's, on models that know it.
    fn system(&mut self, turn: &Turn, path: String, next: Option<Role>, model: AnthropicModel) -> Result<(), BadRequest> {
        let mut blocks = Vec::new();
        for part in &turn.parts {
            if part.as_text().is_none() {
                self.loss.dropped(format!("{path}.content"), "only text can be a system message");
                continue;
            }
            blocks.extend(self.part(part, turn.role, &path)?);
        }
        if blocks.is_empty() {
            return Ok(());
        }
        let follows_user = self.groups.last().is_some_and(|group| group.role != Role::Assistant);
        if model.system_turns && next == Some(Role::User) {
            self.loss.approximated(format!("{path}.role"), "a system message is moved behind the user's message after it");
            self.behind.extend(blocks);
        } else if model.system_turns && follows_user {
            self.push(Role::System, blocks, path);
        } else {
            self.loss.approximated(format!("{path}.role"), "a later system message is sent as user text");
            for text in blocks.iter_mut().filter_map(|block| block.text.as_mut()) {
                text.insert_str(0, SYSTEM_PREFIX);
            }
            self.push(Role::User, blocks, path);
        }
        Ok(())
    }

    fn flush_system(&mut self) {
        if !self.behind.is_empty() {
            let blocks = std::mem::take(&mut self.behind);
            self.push(Role::System, blocks, String::new());
        }
    }

    fn push(&mut self, role: Role, blocks: Vec<Block>, path: String) {
        match self.groups.last_mut() {
            Some(group) if group.role == role => group.blocks.extend(blocks),
            _ => self.groups.push(Group { role, blocks, path }),
        }
    }

    fn part(&mut self, part: &Part, role: Role, path: &str) -> Result<Option<Block>, BadRequest> {
        for (_, field, _) in part.extensions.foreign(Dialect::Anthropic) {
            self.loss.dropped(format!("{path}.{field}"), "known to another vendor only");
        }
        let mut block = match &part.kind {
            PartKind::Image(_) | PartKind::Audio(_) | PartKind::Video(_) | PartKind::Document(_) if role == Role::Assistant => {
                self.loss.dropped(format!("{path}.content"), "an assistant's message takes no media");
                return Ok(None);
            }
            PartKind::Text(text) if text.text.trim().is_empty() => return Ok(None),
            PartKind::Text(text) => text_block(text.text.clone()),
            PartKind::Refusal(text) if text.trim().is_empty() => return Ok(None),
            PartKind::Refusal(text) => {
                self.loss.approximated(format!("{path}.refusal"), "sent as text");
                text_block(text.clone())
            }
            PartKind::Image(image) => self.image(image, path)?,
            PartKind::Document(Document { source: source @ Source::Data { media_type, .. }, .. })
                if IMAGE_TYPES.contains(&media_type.as_str()) =>
            {
                self.image(&Media::new(source.clone()), path)?
            }
            PartKind::Document(document) => self.document(document, role, path)?,
            PartKind::Audio(_) => {
                return Err(BadRequest::unsupported_value(path, "The upstream of this model takes no audio. Send a transcript."));
            }
            PartKind::Video(_) => {
                return Err(BadRequest::unsupported_value(path, "The upstream of this model takes no video. Send images."));
            }
            PartKind::ToolCall(call) => self.tool_use(call, path),
            PartKind::ToolResult(result) => self.tool_result(result, path)?,
            PartKind::Reasoning(reasoning) => return Ok(self.reasoning(reasoning, path)),
            PartKind::Extension { dialect: Dialect::Anthropic, value, .. } => {
                return Ok(serde_json::from_value(value.clone()).ok());
            }
            PartKind::Extension { kind, .. } => {
                self.loss.dropped(format!("{path}.{kind}"), "known to another vendor only");
                return Ok(None);
            }
        };
        if part.cache.is_some_and(|hint| hint.ttl == CacheTtl::HalfDay) {
            self.loss.approximated(format!("{path}.prompt_cache_breakpoint"), "kept for an hour");
        }
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
            match part.as_text() {
                // White space is a result too.
                Some(text) if !text.is_empty() => inner.push(text_block(text.to_owned())),
                _ => inner.extend(self.part(part, Role::User, path)?),
            }
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

    fn document(&mut self, document: &Document, role: Role, path: &str) -> Result<Block, BadRequest> {
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
                    blocks.extend(self.part(part, role, path)?);
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
    CacheControl { kind: "ephemeral".into(), ttl: (hint.ttl != CacheTtl::Short).then(|| "1h".to_owned()) }
}
