//! Content parts: the protocol's own, and those of Messages and Responses that agents mix in (Cursor does both).

use serde_json::Value;

use super::wire::{Audio, CacheBreakpoint, CacheControl, Content, ContentPart, ImageUrl};
use crate::anthropic;
use crate::failure::BadRequest;
use crate::ir::{CacheHint, CacheTtl, Document, Media, Part, PartKind, Reasoning, Source, Text, Vendor};
use crate::loss::LossReport;
use crate::media;

pub(super) fn content(content: Option<Content>, path: &str, loss: &mut LossReport) -> Result<Vec<Part>, BadRequest> {
    match content {
        None | Some(Content::Null) => Ok(Vec::new()),
        Some(Content::Text(text)) if text.is_empty() => Ok(Vec::new()),
        Some(Content::Text(text)) => Ok(vec![Part::text(text)]),
        Some(Content::Parts(parts)) => {
            let decode = |(position, wire)| part(wire, &format!("{path}.content[{position}]"), loss);
            parts.into_iter().enumerate().map(decode).collect()
        }
    }
}

fn part(mut wire: ContentPart, path: &str, loss: &mut LossReport) -> Result<Part, BadRequest> {
    let kind = match wire.kind.as_str() {
        "text" | "input_text" | "output_text" => {
            PartKind::Text(Text { text: wire.text.take().unwrap_or_default(), citations: Vec::new() })
        }
        "refusal" => PartKind::Refusal(wire.refusal.take().unwrap_or_default()),
        "thinking" if !matches!(wire.thinking, Some(Content::Text(_))) => {
            PartKind::Reasoning(Reasoning { text: thinking_text(wire.thinking.as_ref()), ..Reasoning::default() })
        }
        "thinking" | "redacted_thinking" | "tool_use" | "tool_result" | "image" | "document" | "search_result" => {
            return block(&wire, path);
        }
        "image_url" | "input_image" => image(&mut wire, path)?,
        "video_url" => {
            let (url, _) = url_of(wire.video_url.take(), path, "video_url")?;
            PartKind::Video(Media::new(source(&url, path, "video_url.url")?))
        }
        "input_audio" => {
            let audio = wire.input_audio.take().unwrap_or_default();
            let base64 = media::standard_base64(&audio.data).ok_or_else(|| {
                BadRequest::invalid(format!("{path}.input_audio.data"), "The audio must be base64 data, not a URL.")
            })?;
            let media_type = media::media_type(&format!("audio/{}", audio.format));
            PartKind::Audio(Media::new(Source::Data { media_type, base64: base64.into_owned() }))
        }
        "file" | "input_file" => file(&mut wire, path)?,
        other => {
            return Err(BadRequest::unsupported_value(
                format!("{path}.type"),
                format!("Parts of type `{other}` cannot be translated. Use text, image_url, input_audio or file."),
            ));
        }
    };
    for field in wire.other.keys() {
        loss.dropped(format!("{path}.{field}"), "unknown field of a part");
    }
    Ok(Part { cache: cache(wire.prompt_cache_breakpoint.as_ref(), wire.cache_control.as_ref()), ..Part::new(kind) })
}

/// A block of the Messages API.
fn block(wire: &ContentPart, path: &str) -> Result<Part, BadRequest> {
    let invalid = || BadRequest::invalid(path, format!("The block of type `{}` cannot be read.", wire.kind));
    let value = serde_json::to_value(wire).map_err(|_| invalid())?;
    anthropic::blocks::block(serde_json::from_value(value).map_err(|_| invalid())?, path)
}

fn image(wire: &mut ContentPart, path: &str) -> Result<PartKind, BadRequest> {
    let (url, detail) = url_of(wire.image_url.take(), path, "image_url")?;
    // The Responses API has it beside the URL.
    let detail = detail.or_else(|| Some(wire.other.remove("detail")?.as_str()?.to_owned()));
    let source = source(&url, path, "image_url.url")?;
    let is_pdf = match &source {
        Source::Data { media_type, .. } => media_type == "application/pdf",
        Source::Url { url, .. } => media::media_type_of_name(url) == Some("application/pdf"),
        _ => false,
    };
    Ok(if is_pdf {
        PartKind::Document(Document { source, title: None, context: None, citations: false })
    } else {
        PartKind::Image(Media { detail, ..Media::new(source) })
    })
}

fn url_of(url: Option<ImageUrl>, path: &str, field: &str) -> Result<(String, Option<String>), BadRequest> {
    match url {
        Some(ImageUrl::Object { url, detail }) => Ok((url, detail)),
        Some(ImageUrl::Bare(url)) => Ok((url, None)),
        None => Err(BadRequest::invalid(format!("{path}.{field}"), format!("A part of this type needs `{field}.url`."))),
    }
}

fn source(url: &str, path: &str, field: &str) -> Result<Source, BadRequest> {
    media::source_of(url).ok_or_else(|| BadRequest::invalid(format!("{path}.{field}"), "The data URL cannot be read."))
}

fn file(wire: &mut ContentPart, path: &str) -> Result<PartKind, BadRequest> {
    let mut file = wire.file.take().unwrap_or_default();
    if wire.kind == "input_file" {
        // The Responses API has the fields in the part itself.
        let mut own = |field: &str| Some(wire.other.remove(field)?.as_str()?.to_owned());
        file.filename = own("filename");
        file.file_data = own("file_data").or_else(|| own("file_url"));
        file.file_id = own("file_id");
    }
    let named = file.filename.as_deref().and_then(media::media_type_of_name);
    let source = match (file.file_data, file.file_id) {
        (Some(data), _) if data.starts_with("data:") => match (source(&data, path, "file.file_data")?, named) {
            // A type that says nothing: the name may say more.
            (Source::Data { media_type, base64 }, Some(named)) if matches!(&*media_type, "" | "application/octet-stream") => {
                Source::Data { media_type: named.to_owned(), base64 }
            }
            (source, _) => source,
        },
        (Some(url), _) if url.starts_with("http://") || url.starts_with("https://") => Source::Url { url, media_type: None },
        (Some(data), _) => Source::Data { media_type: named.unwrap_or("application/pdf").to_owned(), base64: data },
        (None, Some(id)) => Source::File { vendor: Vendor::OpenAi, id, media_type: None },
        (None, None) => {
            return Err(BadRequest::invalid(format!("{path}.file"), "A file part needs `file_data` or `file_id`."));
        }
    };
    Ok(PartKind::Document(Document { source, title: file.filename, context: None, citations: false }))
}

pub(super) fn cache(breakpoint: Option<&CacheBreakpoint>, control: Option<&CacheControl>) -> Option<CacheHint> {
    let ttl = breakpoint.map(|b| b.ttl.as_deref()).or(control.map(|c| c.ttl.as_deref()))?;
    let ttl = match ttl {
        Some("12h") => CacheTtl::HalfDay,
        Some("1h") => CacheTtl::Hour,
        _ => CacheTtl::Short,
    };
    Some(CacheHint { ttl })
}

pub(super) fn thinking_text(thinking: Option<&Content>) -> String {
    match thinking {
        None | Some(Content::Null) => String::new(),
        Some(Content::Text(text)) => text.clone(),
        Some(Content::Parts(parts)) => parts.iter().filter_map(|part| part.text.as_deref()).collect(),
    }
}

/// An image a model made, in OpenRouter's form.
pub(super) fn output_image(part: ContentPart) -> Option<Part> {
    let (url, detail) = url_of(part.image_url, "", "image_url").ok()?;
    Some(Part::new(PartKind::Image(Media { detail, ..Media::new(media::source_of(&url)?) })))
}

/// Sound a model made. The answer does not say its format: the bytes do, and OpenAI's raw samples have no head.
pub(super) fn output_audio(audio: Audio) -> Option<Part> {
    let base64 = audio.data.filter(|data| !data.is_empty());
    if base64.is_none() && audio.transcript.as_ref().is_none_or(String::is_empty) {
        return None;
    }
    let base64 = base64.unwrap_or_default();
    let media_type = media::audio_type(&base64).unwrap_or("audio/pcm").to_owned();
    let media = Media { transcript: audio.transcript, ..Media::new(Source::Data { media_type, base64 }) };
    Some(Part::new(PartKind::Audio(media)))
}

/// What a message of role `tool` says; a block of the Messages API in it gives its own content.
pub(super) fn tool_content(parts: Vec<Part>) -> (Vec<Part>, bool) {
    let mut is_error = false;
    let mut content = Vec::with_capacity(parts.len());
    for part in parts {
        match part.kind {
            PartKind::ToolResult(result) => {
                is_error |= result.is_error;
                content.extend(result.content);
            }
            _ => content.push(part),
        }
    }
    (content, is_error)
}

/// Arguments as JSON text; servers that send the object itself are understood.
pub(super) fn arguments_text(arguments: Option<Value>) -> String {
    match arguments {
        Some(Value::String(text)) if !text.trim().is_empty() => text,
        None | Some(Value::Null | Value::String(_)) => "{}".into(),
        Some(value) => value.to_string(),
    }
}
