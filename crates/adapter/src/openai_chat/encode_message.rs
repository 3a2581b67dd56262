//! Turns as messages.

use serde_json::{Value, json};
use tallygate_types::Dialect;

use super::encode::cache_breakpoint;
use super::wire::{
    Content, ContentPart, CustomCall, File, FunctionCall, ImageUrl, InputAudio, Message, ThinkingBlock, ToolCall as WireCall,
};
use crate::failure::BadRequest;
use crate::ir::{
    Citation, Document, Media, Part, PartKind, Reasoning, Request, Role, Source, ToolCall, ToolKind, ToolResult, Turn, Vendor,
};
use crate::loss::LossReport;
use crate::media;
use crate::profile::OpenAiModel;

/// Claude Code's first system block: its value changes with every request and would spoil the prompt cache.
const BILLING_HEADER: &str = "x-anthropic-billing-header:";

pub(super) fn messages(request: &Request, model: OpenAiModel, loss: &mut LossReport) -> Result<Vec<Message>, BadRequest> {
    let mut writer = Writer { model, loss, messages: Vec::with_capacity(request.turns.len() + 1) };
    let system: Vec<Part> = request
        .system
        .iter()
        .filter(|part| !part.as_text().is_some_and(|text| text.is_empty() || text.starts_with(BILLING_HEADER)))
        .cloned()
        .collect();
    if !system.is_empty() {
        let content = writer.content(&system, "system")?;
        writer.messages.push(Message { role: "system".into(), content, ..Message::default() });
    }
    for (position, turn) in request.turns.iter().enumerate() {
        let path = turn.path(position);
        match turn.role {
            Role::User => writer.user(turn, &path)?,
            Role::Assistant => writer.assistant(turn, &path)?,
            Role::System | Role::Developer => {
                let content = writer.content(&turn.parts, &path)?;
                let role = if turn.role == Role::System { "system" } else { "developer" };
                if content.is_some() {
                    writer.messages.push(Message { role: role.into(), content, name: turn.name.clone(), ..Message::default() });
                }
            }
        }
    }
    Ok(writer.messages)
}

struct Writer<'a> {
    model: OpenAiModel,
    loss: &'a mut LossReport,
    messages: Vec<Message>,
}

impl Writer<'_> {
    /// Results first, each a message; then, in one user message, media they carried and the rest of the turn.
    fn user(&mut self, turn: &Turn, path: &str) -> Result<(), BadRequest> {
        let mut rest = Vec::new();
        for part in &turn.parts {
            if let PartKind::ToolResult(result) = &part.kind {
                let content = self.tool_content(result, &mut rest, path);
                self.messages.push(Message {
                    role: "tool".into(),
                    content: Some(content),
                    tool_call_id: Some(result.call_id.clone()),
                    ..Message::default()
                });
            }
        }
        rest.extend(turn.parts.iter().filter(|part| !part.is_tool_result()).cloned());
        if let Some(content) = self.content(&rest, path)? {
            self.messages.push(Message {
                role: "user".into(),
                content: Some(content),
                name: turn.name.clone(),
                ..Message::default()
            });
        }
        Ok(())
    }

    /// Tool messages are text only: media follow in a user message after all results of the turn.
    fn tool_content(&mut self, result: &ToolResult, media: &mut Vec<Part>, path: &str) -> Content {
        let mut texts = Vec::new();
        for part in &result.content {
            match &part.kind {
                PartKind::Text(text) => texts.push(text.text.clone()),
                PartKind::Image(_) | PartKind::Audio(_) | PartKind::Document(_) | PartKind::Video(_) => {
                    media.push(part.clone());
                    texts.push(format!("[attachment {} of tool call {} follows]", media.len(), result.call_id));
                    self.loss.approximated(
                        format!("{path}.tool_result"),
                        "tool messages are text only: media follow in a user message",
                    );
                }
                PartKind::Extension { kind, .. } => {
                    self.loss.dropped(format!("{path}.{kind}"), "known to another vendor only");
                }
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

    fn assistant(&mut self, turn: &Turn, path: &str) -> Result<(), BadRequest> {
        let mut message = Message { role: "assistant".into(), name: turn.name.clone(), ..Message::default() };
        let mut text = String::new();
        let mut calls = Vec::new();
        for part in &turn.parts {
            match &part.kind {
                PartKind::Text(piece) => {
                    if !calls.is_empty() {
                        self.loss.approximated(format!("{path}.content"), "text after a tool call is moved before it");
                    }
                    text.push_str(&piece.text);
                }
                PartKind::Refusal(refusal) => message.refusal.get_or_insert_default().push_str(refusal),
                PartKind::ToolCall(call) => calls.push(tool_call(call)),
                PartKind::Reasoning(reasoning) => self.reasoning(reasoning, &mut message, path),
                PartKind::Extension { kind, .. } => {
                    self.loss.dropped(format!("{path}.{kind}"), "known to another vendor only");
                }
                PartKind::Image(_) | PartKind::Audio(_) | PartKind::Video(_) | PartKind::Document(_) => {
                    self.loss.dropped(format!("{path}.content"), "an assistant's message takes no media here");
                }
                PartKind::ToolResult(_) => {
                    return Err(BadRequest::invalid(path, "Tool results belong to a user's turn."));
                }
            }
        }
        if text.is_empty() && calls.is_empty() && message.refusal.is_none() {
            return Ok(());
        }
        message.content = (!text.is_empty()).then_some(Content::Text(text));
        message.tool_calls = (!calls.is_empty()).then_some(calls);
        self.messages.push(message);
        Ok(())
    }

    /// Signed reasoning never goes to another vendor; plain text goes to servers that know the field.
    fn reasoning(&mut self, reasoning: &Reasoning, message: &mut Message, path: &str) {
        if reasoning.signature.is_none() && !self.model.first_party && !reasoning.text.is_empty() {
            message.reasoning_content.get_or_insert_default().push_str(&reasoning.text);
        } else {
            self.loss.dropped(format!("{path}.reasoning"), "reasoning is not sent to another vendor");
        }
    }

    /// One text is a plain string; `None` when nothing is left.
    fn content(&mut self, parts: &[Part], path: &str) -> Result<Option<Content>, BadRequest> {
        let mut encoded = Vec::with_capacity(parts.len());
        for part in parts {
            encoded.extend(self.part(part, path)?);
        }
        if let [only] = encoded.as_slice()
            && let ContentPart { text: Some(text), prompt_cache_breakpoint: None, .. } = only
        {
            return Ok(Some(Content::Text(text.clone())));
        }
        Ok((!encoded.is_empty()).then_some(Content::Parts(encoded)))
    }

    fn part(&mut self, part: &Part, path: &str) -> Result<Vec<ContentPart>, BadRequest> {
        let mut encoded = match &part.kind {
            PartKind::Text(text) if text.text.is_empty() => Vec::new(),
            PartKind::Text(text) => vec![text_part(text.text.clone())],
            PartKind::Refusal(text) => vec![text_part(text.clone())],
            PartKind::Image(image) => vec![image_part(image, path)?],
            PartKind::Audio(audio) => vec![audio_part(audio, path)?],
            PartKind::Document(document) => self.document(document, path)?,
            PartKind::Video(_) => {
                return Err(BadRequest::unsupported_value(
                    path,
                    "The upstream of this model takes no video. Send images instead.",
                ));
            }
            PartKind::Extension { kind, .. } => {
                self.loss.dropped(format!("{path}.{kind}"), "known to another vendor only");
                Vec::new()
            }
            PartKind::ToolCall(_) | PartKind::ToolResult(_) | PartKind::Reasoning(_) => Vec::new(),
        };
        if let Some(last) = encoded.last_mut() {
            last.prompt_cache_breakpoint = cache_breakpoint(part.cache, self.model);
        }
        Ok(encoded)
    }

    fn document(&mut self, document: &Document, path: &str) -> Result<Vec<ContentPart>, BadRequest> {
        if document.citations {
            self.loss.dropped(format!("{path}.citations"), "no citations into documents");
        }
        let heading = || {
            let lines: Vec<&str> = document.title.iter().chain(&document.context).map(String::as_str).collect();
            if lines.is_empty() { String::new() } else { format!("{}\n\n", lines.join("\n")) }
        };
        match &document.source {
            Source::Data { media_type, base64 } if media_type.starts_with("text/") => {
                let text = media::bytes_of(base64).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
                self.loss.approximated(format!("{path}.document"), "sent as text");
                Ok(vec![text_part(format!("{}{text}", heading()))])
            }
            Source::Data { media_type, base64 } => {
                let filename = document.title.clone().unwrap_or_else(|| "document.pdf".into());
                let file = File { filename: Some(filename), file_data: Some(media::data_url(media_type, base64)), file_id: None };
                Ok(vec![ContentPart { kind: "file".into(), file: Some(file), ..ContentPart::default() }])
            }
            Source::Text(text) => {
                self.loss.approximated(format!("{path}.document"), "sent as text");
                Ok(vec![text_part(format!("{}{text}", heading()))])
            }
            Source::Parts(parts) => {
                self.loss.approximated(format!("{path}.document"), "sent as its parts");
                let mut encoded = Vec::new();
                if !heading().is_empty() {
                    encoded.push(text_part(heading()));
                }
                for part in parts {
                    encoded.extend(self.part(part, path)?);
                }
                Ok(encoded)
            }
            Source::File { vendor: Vendor::OpenAi, id, .. } => {
                let file = File { file_id: Some(id.clone()), ..File::default() };
                Ok(vec![ContentPart { kind: "file".into(), file: Some(file), ..ContentPart::default() }])
            }
            Source::Url { .. } | Source::File { .. } => Err(foreign_file(path)),
        }
    }
}

fn foreign_file(path: &str) -> BadRequest {
    BadRequest::unsupported_value(
        path,
        "The upstream of this model cannot fetch this file. Send its content as base64 data instead of a URL or a file id.",
    )
}

fn text_part(text: String) -> ContentPart {
    ContentPart { kind: "text".into(), text: Some(text), ..ContentPart::default() }
}

fn image_part(image: &Media, path: &str) -> Result<ContentPart, BadRequest> {
    let url = match &image.source {
        Source::Data { media_type, base64 } => media::data_url(media_type, base64),
        Source::Url { url, .. } => url.clone(),
        _ => return Err(foreign_file(path)),
    };
    let image_url = Some(ImageUrl::Object { url, detail: image.detail.clone() });
    Ok(ContentPart { kind: "image_url".into(), image_url, ..ContentPart::default() })
}

fn audio_part(audio: &Media, path: &str) -> Result<ContentPart, BadRequest> {
    match &audio.source {
        Source::Data { media_type, base64 } => {
            let format = match media_type.trim_start_matches("audio/") {
                "mpeg" => "mp3",
                "x-wav" | "wave" => "wav",
                other => other,
            };
            let input_audio = Some(InputAudio { data: base64.clone(), format: format.to_owned() });
            Ok(ContentPart { kind: "input_audio".into(), input_audio, ..ContentPart::default() })
        }
        _ => Err(foreign_file(path)),
    }
}

pub(super) fn tool_call(call: &ToolCall) -> WireCall {
    let mut wire = WireCall { id: Some(call.id.clone()), ..WireCall::default() };
    match call.kind {
        ToolKind::Function => {
            wire.kind = Some("function".into());
            wire.function = Some(FunctionCall { name: Some(call.name.clone()), arguments: Some(call.arguments.clone().into()) });
        }
        ToolKind::Custom => {
            wire.kind = Some("custom".into());
            wire.custom = Some(CustomCall { name: Some(call.name.clone()), input: Some(call.arguments.clone()) });
        }
    }
    wire
}

/// Anthropic's signed blocks in LiteLLM's form, so that a client can send them back. Other vendors' are not said here.
pub(super) fn thinking_block(reasoning: &Reasoning, index: Option<u32>) -> Option<ThinkingBlock> {
    let signature = reasoning.signature.as_ref().filter(|signature| signature.vendor == Vendor::Anthropic)?;
    Some(if reasoning.is_redacted {
        ThinkingBlock { kind: "redacted_thinking".into(), index, data: Some(signature.data.clone()), ..ThinkingBlock::default() }
    } else {
        ThinkingBlock {
            kind: "thinking".into(),
            index,
            thinking: Some(reasoning.text.clone()),
            signature: Some(signature.data.clone()),
            data: None,
        }
    })
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

/// OpenRouter's field for generated images.
pub(super) fn output_image(image: &Media) -> Option<Value> {
    match &image.source {
        Source::Data { media_type, base64 } => {
            Some(json!({"type": "image_url", "image_url": {"url": media::data_url(media_type, base64)}}))
        }
        Source::Url { url, .. } => Some(json!({"type": "image_url", "image_url": {"url": url}})),
        _ => None,
    }
}
