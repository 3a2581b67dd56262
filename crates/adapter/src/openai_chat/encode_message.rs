//! Turns as messages.

use std::ops::Range;

use serde_json::{Value, json};
use tallygate_types::{Dialect, Timestamp};

use super::encode_part::{plain_text, text_part};
use super::wire::{Audio, Content, ContentPart, CustomCall, FunctionCall, ImageUrl, Message, ToolCall as WireCall};
use crate::failure::BadRequest;
use crate::ir::{Citation, Media, Part, PartKind, Reasoning, Request, Role, Source, ToolCall, ToolKind, ToolResult, Turn};
use crate::loss::LossReport;
use crate::media;
use crate::profile::OpenAiModel;

/// What a call is answered with that the client left without a result: OpenAI refuses such a history.
const NO_RESULT: &str = "(no result)";

pub(super) fn messages(request: &Request, model: OpenAiModel, loss: &mut LossReport) -> Result<Vec<Message>, BadRequest> {
    let mut writer = Writer { model, loss, messages: Vec::with_capacity(request.turns.len() + 1), unanswered: Vec::new() };
    if let Some(content) = writer.content(&request.system, "system")? {
        writer.messages.push(Message { role: "system".into(), content: Some(content), ..Message::default() });
    }
    let mut at = 0;
    while at < request.turns.len() {
        let is_assistant = request.turns[at].role == Role::Assistant;
        let run = request.turns[at..].iter().take_while(|turn| (turn.role == Role::Assistant) == is_assistant).count();
        if is_assistant {
            writer.assistant(&request.turns, at..at + run)?;
        } else {
            writer.others(&request.turns, at..at + run)?;
        }
        at += run;
    }
    writer.missing_results();
    if let Some(turn) = request.turns.last()
        && turn.role == Role::Assistant
    {
        writer
            .loss
            .approximated(turn.path(request.turns.len() - 1), "a new message is written where this one was to be continued");
    }
    Ok(writer.messages)
}

pub(super) fn system_text(text: &str) -> Message {
    Message { role: "system".into(), content: Some(Content::Text(text.to_owned())), ..Message::default() }
}

/// The word that must stand somewhere before JSON may be asked for.
pub(super) fn mentions_json(messages: &[Message]) -> bool {
    let mentions = |text: &str| text.to_ascii_lowercase().contains("json");
    messages.iter().any(|message| match &message.content {
        Some(Content::Text(text)) => mentions(text),
        Some(Content::Parts(parts)) => parts.iter().any(|part| part.text.as_deref().is_some_and(mentions)),
        None | Some(Content::Null) => false,
    })
}

pub(super) struct Writer<'a> {
    pub model: OpenAiModel,
    pub loss: &'a mut LossReport,
    messages: Vec<Message>,
    /// Calls of the last assistant's message that have no result yet.
    unanswered: Vec<String>,
}

/// A message of the assistant in the making.
#[derive(Default)]
struct Draft {
    name: Option<String>,
    text: String,
    refusal: String,
    reasoning: String,
    calls: Vec<WireCall>,
}

impl Draft {
    fn speaks(&self) -> bool {
        !self.text.is_empty() || !self.refusal.is_empty()
    }
}

impl Writer<'_> {
    /// Everything between two messages of the assistant. Results stand first, each a message, whatever was said between
    /// them; then the rest in its order, with the media the results carried.
    fn others(&mut self, turns: &[Turn], range: Range<usize>) -> Result<(), BadRequest> {
        let mut media: Vec<Vec<Part>> = Vec::with_capacity(range.len());
        for at in range.clone() {
            let (turn, path) = (&turns[at], turns[at].path(at));
            let mut carried = Vec::new();
            for part in &turn.parts {
                if let PartKind::ToolResult(result) = &part.kind {
                    let content = self.tool_content(result, &mut carried, &path);
                    self.unanswered.retain(|id| *id != result.call_id);
                    self.messages.push(Message {
                        role: "tool".into(),
                        content: Some(content),
                        tool_call_id: Some(result.call_id.clone()),
                        ..Message::default()
                    });
                }
            }
            media.push(carried);
        }
        self.missing_results();
        for (at, mut rest) in range.zip(media) {
            let turn = &turns[at];
            rest.extend(turn.parts.iter().filter(|part| !part.is_tool_result()).cloned());
            let role = match turn.role {
                Role::System => "system",
                Role::Developer => "developer",
                Role::User | Role::Assistant => "user",
            };
            if let Some(content) = self.content(&rest, &turn.path(at))? {
                self.messages.push(Message {
                    role: role.into(),
                    content: Some(content),
                    name: turn.name.clone(),
                    ..Message::default()
                });
            }
        }
        Ok(())
    }

    fn missing_results(&mut self) {
        for id in std::mem::take(&mut self.unanswered) {
            self.loss.approximated("messages", "a tool call without a result was answered with `(no result)`");
            self.messages.push(Message {
                role: "tool".into(),
                content: Some(Content::Text(NO_RESULT.into())),
                tool_call_id: Some(id),
                ..Message::default()
            });
        }
    }

    /// Tool messages are text only: media follow in a user message after all results.
    fn tool_content(&mut self, result: &ToolResult, media: &mut Vec<Part>, path: &str) -> Content {
        let mut texts = Vec::new();
        for part in &result.content {
            match &part.kind {
                PartKind::Text(text) => texts.push(text.text.clone()),
                PartKind::Document(document) if plain_text(document).is_some() => {
                    self.loss.approximated(format!("{path}.document"), "sent as text");
                    texts.extend(plain_text(document));
                }
                PartKind::Image(_) | PartKind::Audio(_) | PartKind::Document(_) | PartKind::Video(_) => {
                    media.push(part.clone());
                    texts.push(format!("[attachment {} of tool call {} follows]", media.len(), result.call_id));
                    self.loss.approximated(
                        format!("{path}.tool_result"),
                        "tool messages are text only: media follow in a user message",
                    );
                }
                PartKind::Extension { kind, value, .. } => match value.get("tool_name").and_then(Value::as_str) {
                    Some(name) if kind == "tool_reference" => {
                        self.loss.approximated(format!("{path}.{kind}"), "said in the text");
                        texts.push(format!("Tool: {name}"));
                    }
                    _ => self.loss.dropped(format!("{path}.{kind}"), "known to another vendor only"),
                },
                _ => {}
            }
        }
        if result.is_error && !texts.first().is_some_and(|text| text.starts_with("Error: ")) {
            self.loss.approximated(format!("{path}.is_error"), "said in the text");
            match texts.first_mut() {
                Some(first) => first.insert_str(0, "Error: "),
                None => texts.push("Error: ".into()),
            }
        }
        if texts.len() <= 1 {
            return Content::Text(texts.pop().unwrap_or_default());
        }
        Content::Parts(texts.into_iter().map(text_part).collect())
    }

    /// Neighbouring turns of the assistant. Calls belong to the message before them, for all calls between two results
    /// must stand in one; texts of their own stay messages of their own.
    fn assistant(&mut self, turns: &[Turn], range: Range<usize>) -> Result<(), BadRequest> {
        let mut draft = Draft::default();
        for at in range {
            let turn = &turns[at];
            let speaks = turn.parts.iter().any(|part| matches!(part.kind, PartKind::Text(_) | PartKind::Refusal(_)));
            if speaks && draft.calls.is_empty() && draft.speaks() {
                self.finish(std::mem::take(&mut draft));
            }
            draft.name = draft.name.or_else(|| turn.name.clone());
            self.append(&mut draft, turn, &turn.path(at))?;
        }
        self.finish(draft);
        Ok(())
    }

    fn append(&mut self, draft: &mut Draft, turn: &Turn, path: &str) -> Result<(), BadRequest> {
        for part in &turn.parts {
            match &part.kind {
                PartKind::Text(piece) if piece.text.is_empty() => {}
                PartKind::Text(piece) => {
                    if !draft.calls.is_empty() {
                        self.loss.approximated(format!("{path}.content"), "text after a tool call is moved before it");
                    }
                    draft.text.push_str(&piece.text);
                }
                PartKind::Refusal(refusal) => draft.refusal.push_str(refusal),
                PartKind::ToolCall(call) => draft.calls.push(tool_call(call)),
                PartKind::Reasoning(reasoning) => self.reasoning(reasoning, draft, path),
                PartKind::Extension { kind, value, .. } => match value.get("content").and_then(Value::as_str) {
                    Some(summary) if kind == "compaction" => {
                        self.loss.approximated(format!("{path}.{kind}"), "the summary is sent as a user's text");
                        let content = Some(Content::Text(summary.to_owned()));
                        self.messages.push(Message { role: "user".into(), content, ..Message::default() });
                    }
                    _ => self.loss.dropped(format!("{path}.{kind}"), "known to another vendor only"),
                },
                PartKind::Image(_) | PartKind::Audio(_) | PartKind::Video(_) | PartKind::Document(_) => {
                    self.loss.dropped(format!("{path}.content"), "an assistant's message takes no media here");
                }
                PartKind::ToolResult(_) => {
                    return Err(BadRequest::invalid(path, "Tool results belong to a user's turn."));
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, draft: Draft) {
        if !draft.speaks() && draft.calls.is_empty() {
            return;
        }
        self.unanswered.extend(draft.calls.iter().filter_map(|call| call.id.clone()));
        let said = |text: String| (!text.is_empty()).then_some(text);
        self.messages.push(Message {
            role: "assistant".into(),
            content: Some(said(draft.text).map_or(Content::Null, Content::Text)),
            name: draft.name,
            refusal: said(draft.refusal),
            reasoning_content: said(draft.reasoning),
            tool_calls: (!draft.calls.is_empty()).then_some(draft.calls),
            ..Message::default()
        });
    }

    /// Signed reasoning never goes to another vendor; plain text goes to servers that know the field.
    fn reasoning(&mut self, reasoning: &Reasoning, draft: &mut Draft, path: &str) {
        if reasoning.signature.is_none() && self.model.reasoning_field && !reasoning.text.is_empty() {
            draft.reasoning.push_str(&reasoning.text);
        } else {
            self.loss.dropped(format!("{path}.reasoning"), "reasoning is not sent to another vendor");
        }
    }
}

pub(super) fn tool_call(call: &ToolCall) -> WireCall {
    let mut wire = WireCall { id: Some(call.id.clone()), ..WireCall::default() };
    match call.kind {
        ToolKind::Function => {
            wire.kind = Some("function".into());
            wire.function = Some(FunctionCall {
                name: Some(call.name.clone()),
                arguments: Some(call.arguments.clone().into()),
                thought_signature: None,
            });
        }
        ToolKind::Custom => {
            wire.kind = Some("custom".into());
            wire.custom = Some(CustomCall { name: Some(call.name.clone()), input: Some(call.arguments.clone()) });
        }
    }
    wire
}

/// `offset`: where the part's text begins in the whole answer; citations without a place cover the part.
pub(super) fn annotation(citation: &Citation, offset: u64, chars: u64) -> Option<Value> {
    if let Some((Dialect::OpenaiChat, raw)) = &citation.raw {
        return Some(raw.clone());
    }
    let url = citation.url.as_ref()?;
    Some(json!({"type": "url_citation", "url_citation": {
        "start_index": offset + citation.start.unwrap_or(0),
        "end_index": offset + citation.end.unwrap_or(chars),
        "url": url,
        "title": citation.title.clone().unwrap_or_default(),
    }}))
}

/// OpenRouter's field for generated images. List elements of a stream need an index.
pub(super) fn output_image(image: &Media, index: usize) -> Option<ContentPart> {
    let url = match &image.source {
        Source::Data { media_type, base64 } => media::data_url(media_type, base64),
        Source::Url { url, .. } => url.clone(),
        _ => return None,
    };
    let mut part = ContentPart { kind: "image_url".into(), ..ContentPart::default() };
    part.image_url = Some(ImageUrl::Object { url, detail: None });
    part.other.insert("index".into(), index.into());
    Some(part)
}

/// Sound is not kept: its id is said because typed clients need one, and it expires at once.
pub(super) fn opening_audio(answer_id: &str, now: Timestamp) -> Audio {
    Audio {
        id: Some(format!("audio_{answer_id}")),
        data: Some(String::new()),
        expires_at: Some(now.seconds()),
        transcript: Some(String::new()),
    }
}

pub(super) fn append_audio(audio: &mut Audio, media: &Media) {
    if let Source::Data { base64, .. } = &media.source {
        let data = audio.data.get_or_insert_default();
        *data = if data.is_empty() { base64.clone() } else { media::joined_base64(data, base64) };
    }
    audio.transcript.get_or_insert_default().push_str(media.transcript.as_deref().unwrap_or_default());
}
