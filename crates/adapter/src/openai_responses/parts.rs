//! Items and content of the Responses API as parts, in the direction both requests and answers need: wire → [`ir`](crate::ir).

use serde_json::Value;
use tallygate_types::Dialect;

use super::carrier::{self, Carried, Owner};
use super::tools;
use super::wire::{AudioPart, Content, FilePart, ImagePart, Item, Message, MessageContent, ReasoningItem};
use crate::failure::BadRequest;
use crate::ir::{
    CacheHint, CacheTtl, Citation, Document, Extensions, Media, Object, Part, PartKind, Reasoning, Signature, Source, Text,
    ToolCall, ToolKind, Vendor,
};
use crate::media;

/// The part a finished reasoning item stands for.
pub(super) enum ReasoningMeaning {
    Part(Part),
    /// The signature of the part that follows.
    SignatureOfNext(Signature),
    /// The signature of the part before it.
    SignatureOfPrevious(Signature),
}

pub(super) fn reasoning(item: ReasoningItem) -> ReasoningMeaning {
    let carried = item.encrypted_content.as_deref().filter(|content| !content.is_empty()).map(carrier::unwrap);
    let is_summary = item.content.is_empty();
    let text = join(if is_summary { &item.summary } else { &item.content });
    match carried {
        Some(Carried { signature, belongs_to: Owner::Next, .. }) if text.is_empty() => {
            ReasoningMeaning::SignatureOfNext(signature)
        }
        Some(Carried { signature, belongs_to: Owner::Previous, .. }) if text.is_empty() => {
            ReasoningMeaning::SignatureOfPrevious(signature)
        }
        carried => ReasoningMeaning::Part(Part::new(PartKind::Reasoning(Reasoning {
            id: item.id,
            text,
            is_summary,
            is_redacted: carried.as_ref().is_some_and(|carried| carried.is_redacted),
            signature: carried.map(|carried| carried.signature),
        }))),
    }
}

/// Paragraphs are joined by a blank line.
fn join(content: &[Content]) -> String {
    let texts = content.iter().filter_map(|part| match part {
        Content::SummaryText(text) | Content::ReasoningText(text) | Content::PlainText(text) => Some(text.text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n\n")
}

/// An item the model made, other than a message or reasoning: a call, or a block only this API knows.
pub(super) fn call(item: Item) -> Part {
    match item {
        Item::FunctionCall(call) => {
            tool_call(call.call_id, qualified(&call.rest, &call.name), arguments(call.arguments), ToolKind::Function)
        }
        Item::CustomToolCall(call) => tool_call(call.call_id, qualified(&call.rest, &call.name), call.input, ToolKind::Custom),
        other => {
            let kind = other.kind().to_owned();
            let value = serde_json::to_value(other).unwrap_or_default();
            Part::new(PartKind::Extension { dialect: Dialect::OpenaiResponses, kind, value })
        }
    }
}

/// A call without arguments has `""` at some vendors; JSON text is never empty.
pub(super) fn arguments(text: String) -> String {
    if text.is_empty() { "{}".to_owned() } else { text }
}

fn tool_call(id: String, name: String, arguments: String, kind: ToolKind) -> Part {
    Part::new(PartKind::ToolCall(ToolCall { id, name, arguments, kind }))
}

/// The flat name of a tool an upstream may name in a namespace.
pub(super) fn qualified(fields: &Object, name: &str) -> String {
    tools::joined(fields.get("namespace").and_then(Value::as_str), name)
}

/// The content of a message, of either side. `path` names it in errors.
pub(super) fn message(message: Message, path: &str) -> Result<Vec<Part>, BadRequest> {
    content(message.content, &format!("{path}.content"))
}

pub(super) fn content(content: MessageContent, path: &str) -> Result<Vec<Part>, BadRequest> {
    match content {
        MessageContent::Null(()) => Ok(Vec::new()),
        MessageContent::Text(text) => Ok(vec![Part::text(text)]),
        MessageContent::Parts(parts) => {
            let parts = parts.into_iter().enumerate();
            parts.map(|(i, value)| part(value, &format!("{path}[{i}]"))).collect()
        }
    }
}

fn part(value: Value, path: &str) -> Result<Part, BadRequest> {
    let content: Content =
        serde_json::from_value(value).map_err(|error| BadRequest::invalid(path, format!("`{path}`: {error}.")))?;
    Ok(match content {
        Content::InputText(text) | Content::PlainText(text) | Content::SummaryText(text) | Content::ReasoningText(text) => {
            let cache = text.rest.get("prompt_cache_breakpoint").map(|breakpoint| {
                let is_long = breakpoint.get("ttl").is_some_and(|ttl| ttl == "12h");
                CacheHint { ttl: if is_long { CacheTtl::HalfDay } else { CacheTtl::Short } }
            });
            Part { cache, ..Part::text(text.text) }
        }
        Content::OutputText(text) => {
            let citations = text.annotations.iter().map(citation).collect();
            Part::new(PartKind::Text(Text { text: text.text, citations }))
        }
        Content::Refusal(refusal) => Part::refusal(refusal.refusal),
        Content::InputImage(image) => image_part(image, path)?,
        Content::InputFile(file) => file_part(file, path)?,
        Content::InputAudio(audio) => audio_part(audio, path)?,
        Content::Other { kind, .. } => {
            return Err(BadRequest::unsupported_value(
                format!("{path}.type"),
                format!(
                    "A content part of type `{kind}` cannot be translated for the upstream of this model; send text, images, files or audio."
                ),
            ));
        }
    })
}

fn image_part(image: ImagePart, path: &str) -> Result<Part, BadRequest> {
    let source = match (image.image_url, image.file_id) {
        (Some(url), _) => url_source(&url, &format!("{path}.image_url"))?,
        (None, Some(id)) => Source::File { vendor: Vendor::OpenAi, id, media_type: None },
        (None, None) => return Err(BadRequest::invalid(path, format!("`{path}` needs an `image_url` or a `file_id`."))),
    };
    let media = Media { detail: image.detail, ..Media::new(source) };
    Ok(Part { extensions: Extensions::of(Dialect::OpenaiResponses, image.rest), ..Part::new(PartKind::Image(media)) })
}

/// A data URL holds the media itself.
fn url_source(url: &str, path: &str) -> Result<Source, BadRequest> {
    let unreadable = || BadRequest::invalid(path, format!("`{path}` is not a data URL such as `data:image/png;base64,…`."));
    match media::source_of(url).ok_or_else(unreadable)? {
        Source::Data { media_type, base64 } => {
            let base64 = media::standard_base64(&base64).ok_or_else(unreadable)?.into_owned();
            Ok(Source::Data { media_type: media::media_type(&media_type), base64 })
        }
        source => Ok(source),
    }
}

fn file_part(file: FilePart, path: &str) -> Result<Part, BadRequest> {
    let source = match (file.file_data, file.file_url, file.file_id) {
        (Some(data), ..) if data.starts_with("data:") => url_source(&data, &format!("{path}.file_data"))?,
        (Some(data), ..) => {
            let base64 = media::standard_base64(&data)
                .ok_or_else(|| BadRequest::invalid(format!("{path}.file_data"), format!("`{path}.file_data` is not base64.")))?;
            let media_type = file.filename.as_deref().and_then(media::media_type_of_name).unwrap_or("application/pdf").to_owned();
            Source::Data { media_type, base64: base64.into_owned() }
        }
        (None, Some(url), _) => Source::Url { media_type: media::media_type_of_name(&url).map(str::to_owned), url },
        (None, None, Some(id)) => Source::File { vendor: Vendor::OpenAi, id, media_type: None },
        (None, None, None) => {
            return Err(BadRequest::invalid(path, format!("`{path}` needs `file_data`, `file_url` or `file_id`.")));
        }
    };
    let document = Document { source, title: file.filename, context: None, citations: false };
    Ok(Part { extensions: Extensions::of(Dialect::OpenaiResponses, file.rest), ..Part::new(PartKind::Document(document)) })
}

fn audio_part(audio: AudioPart, path: &str) -> Result<Part, BadRequest> {
    let base64 = media::standard_base64(&audio.input_audio.data).ok_or_else(|| {
        BadRequest::invalid(format!("{path}.input_audio.data"), format!("`{path}.input_audio.data` is not base64."))
    })?;
    let media_type = media::media_type(&format!("audio/{}", audio.input_audio.format));
    Ok(Part::new(PartKind::Audio(Media::new(Source::Data { media_type, base64: base64.into_owned() }))))
}

/// An entry of `annotations`.
pub(super) fn citation(annotation: &Value) -> Citation {
    let text = |key: &str| annotation.get(key).and_then(Value::as_str).map(str::to_owned);
    let number = |key: &str| annotation.get(key).and_then(Value::as_u64);
    Citation {
        start: number("start_index"),
        end: number("end_index"),
        url: text("url"),
        title: text("title").or_else(|| text("filename")),
        cited_text: None,
        raw: Some((Dialect::OpenaiResponses, annotation.clone())),
    }
}
