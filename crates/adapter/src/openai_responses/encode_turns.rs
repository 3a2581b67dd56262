//! Turns of the form between as items of `input`.

use serde_json::{Value, json};
use tallygate_types::Dialect;

use super::wire::{
    AudioPart, CallOutput, Content, CustomToolCall, FilePart, FunctionCall, ImagePart, InputAudio, Item, Message, MessageContent,
    OutputText, ReasoningItem, RefusalPart, TextPart,
};
use crate::failure::BadRequest;
use crate::ir::{Document, Media, Object, Part, PartKind, Source, ToolKind, ToolResult, Vendor};
use crate::loss::LossReport;
use crate::media;

const DIALECT: Dialect = Dialect::OpenaiResponses;

pub(super) fn value(item: &impl serde::Serialize) -> Value {
    serde_json::to_value(item).unwrap_or_default()
}

/// A lone text is said as a string, which every server of this API takes.
pub(super) fn message(role: &str, content: Vec<Value>) -> Value {
    let lone = match content.as_slice() {
        [part]
            if matches!(part["type"].as_str(), Some("input_text" | "output_text"))
                && part.get("prompt_cache_breakpoint").is_none() =>
        {
            part["text"].as_str().map(str::to_owned)
        }
        _ => None,
    };
    let content = lone.map_or(MessageContent::Parts(content), MessageContent::Text);
    value(&Item::Message(Message { role: role.into(), content, ..Message::default() }))
}

/// Whether the model takes explicit cache breakpoints on parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Breakpoints(pub bool);

impl Breakpoints {
    /// Marks what was said of a part, where the client asked for it. Thirty minutes, the default, cover all lifetimes.
    fn mark(self, part: &Part, said: &mut [Value]) {
        if let Some(last) = said.last_mut().filter(|_| self.0 && part.cache.is_some()) {
            last["prompt_cache_breakpoint"] = json!({ "mode": "explicit" });
        }
    }
}

fn input_text(text: &str) -> Value {
    value(&Content::InputText(TextPart { text: text.to_owned(), rest: Object::new() }))
}

pub(super) fn join_texts(parts: &[Part]) -> String {
    parts.iter().filter_map(Part::as_text).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n\n")
}

pub(super) fn plain_texts(parts: &[Part], breakpoints: Breakpoints, loss: &mut LossReport) -> Vec<Value> {
    if parts.iter().any(|part| part.as_text().is_none()) {
        loss.dropped("messages.content", "system messages hold text only");
    }
    let mut texts = Vec::new();
    for part in parts {
        if let Some(text) = part.as_text() {
            texts.push(input_text(text));
            breakpoints.mark(part, &mut texts);
        }
    }
    texts
}

pub(super) fn user_turn(
    parts: &[Part],
    breakpoints: Breakpoints,
    items: &mut Vec<Value>,
    loss: &mut LossReport,
) -> Result<(), BadRequest> {
    let mut content = Vec::new();
    for part in parts {
        if let PartKind::ToolResult(result) = &part.kind {
            if !content.is_empty() {
                items.push(message("user", std::mem::take(&mut content)));
            }
            items.push(tool_output(result, loss)?);
        } else {
            input_content(part, &mut content, loss)?;
            breakpoints.mark(part, &mut content);
        }
    }
    if !content.is_empty() {
        items.push(message("user", content));
    }
    Ok(())
}

fn input_content(part: &Part, content: &mut Vec<Value>, loss: &mut LossReport) -> Result<(), BadRequest> {
    match &part.kind {
        PartKind::Text(text) => content.push(input_text(&text.text)),
        PartKind::Refusal(text) => content.push(input_text(text)),
        PartKind::Image(image) => content.push(input_image(image)?),
        PartKind::Document(document) => input_document(document, content, loss)?,
        PartKind::Audio(audio) => content.push(input_audio(audio)?),
        PartKind::Video(_) => return Err(unsupported_media("Video")),
        PartKind::Extension { kind, .. } => loss.dropped(kind.clone(), "known to another provider only"),
        PartKind::Reasoning(_) | PartKind::ToolCall(_) | PartKind::ToolResult(_) => {
            loss.dropped("messages.content", "a part that has no place in a user's message");
        }
    }
    Ok(())
}

fn unsupported_media(what: &str) -> BadRequest {
    BadRequest::unsupported_value("messages.content", format!("{what} cannot be sent to the upstream of this model."))
}

fn foreign_file() -> BadRequest {
    BadRequest::unsupported_value(
        "messages.content.file_id",
        "A file stored with one provider cannot be read by another. Send the file's data or a URL.",
    )
}

fn input_image(image: &Media) -> Result<Value, BadRequest> {
    let mut wire = ImagePart { detail: Some(image.detail.clone().unwrap_or_else(|| "auto".into())), ..ImagePart::default() };
    match &image.source {
        Source::Data { media_type, base64 } => wire.image_url = Some(media::data_url(media_type, base64)),
        Source::Url { url, .. } => wire.image_url = Some(url.clone()),
        Source::File { vendor: Vendor::OpenAi, id, .. } => wire.file_id = Some(id.clone()),
        Source::File { .. } => return Err(foreign_file()),
        Source::Text(_) | Source::Parts(_) => return Err(unsupported_media("An image made of text")),
    }
    Ok(value(&Content::InputImage(wire)))
}

fn input_document(document: &Document, content: &mut Vec<Value>, loss: &mut LossReport) -> Result<(), BadRequest> {
    if document.citations {
        loss.dropped("documents.citations", "the Responses API cites no documents of the prompt");
    }
    if let Some(context) = &document.context {
        content.push(input_text(context));
    }
    let mut wire = FilePart::default();
    match &document.source {
        Source::Text(text) => {
            content.push(input_text(text));
            return Ok(());
        }
        Source::Parts(parts) => return parts.iter().try_for_each(|part| input_content(part, content, loss)),
        Source::Data { media_type, base64 } if media_type.starts_with("text/") => match media::text_of(base64) {
            Some(text) => {
                content.push(input_text(&text));
                return Ok(());
            }
            None => return Err(BadRequest::invalid("messages.content", "A text document is not base64 of UTF-8 text.")),
        },
        Source::Data { media_type, base64 } => {
            let extension = if media_type == "application/pdf" { "pdf" } else { "bin" };
            wire.filename = Some(document.title.clone().unwrap_or_else(|| format!("document.{extension}")));
            wire.file_data = Some(media::data_url(media_type, base64));
        }
        Source::Url { url, .. } => wire.file_url = Some(url.clone()),
        Source::File { vendor: Vendor::OpenAi, id, .. } => wire.file_id = Some(id.clone()),
        Source::File { .. } => return Err(foreign_file()),
    }
    content.push(value(&Content::InputFile(wire)));
    Ok(())
}

fn input_audio(audio: &Media) -> Result<Value, BadRequest> {
    let format = match &audio.source {
        Source::Data { media_type, .. } if media_type == "audio/wav" => "wav",
        Source::Data { media_type, .. } if media_type == "audio/mpeg" => "mp3",
        _ => return Err(unsupported_media("Audio other than inline WAV or MP3")),
    };
    let Source::Data { base64, .. } = &audio.source else { return Err(unsupported_media("Audio by reference")) };
    let input_audio = InputAudio { data: base64.clone(), format: format.into() };
    Ok(value(&Content::InputAudio(AudioPart { input_audio, rest: Object::new() })))
}

fn tool_output(result: &ToolResult, loss: &mut LossReport) -> Result<Value, BadRequest> {
    if result.is_error {
        loss.approximated("tool_result.is_error", "the Responses API has no such flag; the text tells");
    }
    let is_text = result.content.iter().all(|part| part.as_text().is_some());
    let output = if is_text {
        MessageContent::Text(result.content.iter().filter_map(Part::as_text).collect::<Vec<_>>().join("\n"))
    } else {
        let mut content = Vec::new();
        result.content.iter().try_for_each(|part| input_content(part, &mut content, loss))?;
        MessageContent::Parts(content)
    };
    let output = CallOutput { call_id: Some(result.call_id.clone()), output, ..CallOutput::default() };
    Ok(value(&match result.kind {
        ToolKind::Function => Item::FunctionCallOutput(output),
        ToolKind::Custom => Item::CustomToolCallOutput(output),
    }))
}

/// Texts that follow each other are one: citations cut them, and citations are not said.
fn assistant_text(text: &str, content: &mut Vec<Value>) {
    if let Some(Value::String(so_far)) =
        content.last_mut().filter(|last| last["type"] == "output_text").map(|last| &mut last["text"])
    {
        so_far.push_str(text);
    } else if !text.is_empty() {
        content.push(value(&Content::OutputText(OutputText { text: text.to_owned(), ..OutputText::default() })));
    }
}

pub(super) fn assistant_turn(parts: &[Part], items: &mut Vec<Value>, loss: &mut LossReport) {
    let mut content = Vec::new();
    for part in parts {
        let item = match &part.kind {
            PartKind::Text(text) => {
                assistant_text(&text.text, &mut content);
                continue;
            }
            PartKind::Refusal(text) => {
                content.push(value(&Content::Refusal(RefusalPart { refusal: text.clone(), rest: Object::new() })));
                continue;
            }
            PartKind::ToolCall(call) => match call.kind {
                ToolKind::Function => Item::FunctionCall(FunctionCall {
                    call_id: call.id.clone(),
                    name: call.name.clone(),
                    arguments: call.arguments.clone(),
                    ..FunctionCall::default()
                }),
                ToolKind::Custom => Item::CustomToolCall(CustomToolCall {
                    call_id: call.id.clone(),
                    name: call.name.clone(),
                    input: call.arguments.clone(),
                    ..CustomToolCall::default()
                }),
            },
            PartKind::Reasoning(reasoning) => match (&reasoning.id, &reasoning.signature) {
                // The id helps where there is one; without a store the encrypted content is what counts.
                (id, Some(signature)) if signature.vendor == Vendor::OpenAi => {
                    let summary = Content::SummaryText(TextPart { text: reasoning.text.clone(), rest: Object::new() });
                    Item::Reasoning(ReasoningItem {
                        id: id.clone(),
                        summary: (!reasoning.text.is_empty()).then_some(summary).into_iter().collect(),
                        encrypted_content: Some(signature.data.clone()),
                        ..ReasoningItem::default()
                    })
                }
                _ => {
                    loss.dropped("reasoning", "earlier reasoning goes back only to the provider that signed it");
                    continue;
                }
            },
            PartKind::Extension { dialect: DIALECT, kind, value: Value::Object(fields) } => {
                let mut fields = fields.clone();
                fields.shift_remove("type");
                Item::Other { kind: kind.clone(), fields }
            }
            PartKind::Extension { kind, .. } => {
                loss.dropped(kind.clone(), "known to another provider only");
                continue;
            }
            PartKind::Image(_) | PartKind::Audio(_) | PartKind::Video(_) | PartKind::Document(_) | PartKind::ToolResult(_) => {
                loss.dropped("messages.content", "media in a model's own turn cannot be replayed");
                continue;
            }
        };
        if part.signature.as_ref().is_some_and(|signature| signature.vendor != Vendor::OpenAi) {
            loss.dropped("reasoning", "earlier reasoning goes back only to the provider that signed it");
        }
        if !content.is_empty() {
            items.push(message("assistant", std::mem::take(&mut content)));
        }
        items.push(value(&item));
    }
    if !content.is_empty() {
        items.push(message("assistant", content));
    }
}
