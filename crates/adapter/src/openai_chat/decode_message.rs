//! Messages and their parts.

use serde_json::Value;
use tallygate_types::Dialect;

use super::wire::{CacheBreakpoint, CacheControl, Content, ContentPart, ImageUrl, Message, ToolCall};
use crate::failure::BadRequest;
use crate::ir::{
    CacheHint, CacheTtl, Citation, Document, Media, Part, PartKind, Reasoning, Role, Signature, Source, Text, ToolKind,
    ToolResult, Turn, Vendor,
};
use crate::loss::LossReport;
use crate::media;
use crate::names::hash;

/// Splits the leading system text from the turns; neighbouring tool messages become one turn.
pub(super) fn messages(messages: Vec<Message>, loss: &mut LossReport) -> Result<(Vec<Part>, Vec<Turn>), BadRequest> {
    let mut system = Vec::new();
    let mut turns: Vec<Turn> = Vec::new();
    // The old `function` messages carry no id: each answers the call before it.
    let mut last_function_id = String::new();
    for (position, message) in messages.into_iter().enumerate() {
        let path = format!("messages[{position}]");
        for field in message.other.keys() {
            loss.dropped(format!("{path}.{field}"), "unknown field of a message");
        }
        let name = message.name.clone();
        match message.role.as_str() {
            "system" | "developer" => {
                let role = if message.role == "system" { Role::System } else { Role::Developer };
                let parts = content(message.content, &path, loss)?;
                if turns.is_empty() {
                    system.extend(parts);
                } else {
                    turns.push(Turn { role, name, parts, said_at: path });
                }
            }
            "user" => {
                let parts = content(message.content, &path, loss)?;
                turns.push(Turn { role: Role::User, name, parts, said_at: path });
            }
            "assistant" => {
                if message.audio.as_ref().is_some_and(|audio| !audio.is_null()) {
                    return Err(BadRequest::unsupported(
                        format!("{path}.audio"),
                        "Earlier audio answers are kept by their vendor and cannot be sent to another. Send the transcript as text.",
                    ));
                }
                if message.function_call.is_some() {
                    last_function_id = format!("call_fn_{position}");
                }
                let parts = assistant_parts(message, &path, &last_function_id, loss)?;
                turns.push(Turn { role: Role::Assistant, name, parts, said_at: path });
            }
            "tool" | "function" => {
                let call_id = match message.tool_call_id {
                    Some(id) => id,
                    None if message.role == "function" => last_function_id.clone(),
                    None => {
                        return Err(BadRequest::invalid(
                            format!("{path}.tool_call_id"),
                            "A message of role `tool` needs the `tool_call_id` it answers.",
                        ));
                    }
                };
                let result = Part::new(PartKind::ToolResult(ToolResult {
                    call_id,
                    name,
                    content: content(message.content, &path, loss)?,
                    is_error: false,
                    kind: ToolKind::Function,
                }));
                match turns.last_mut() {
                    Some(turn) if turn.role == Role::User && turn.parts.iter().all(Part::is_tool_result) => {
                        turn.parts.push(result);
                    }
                    _ => turns.push(Turn::new(Role::User, vec![result]).said_at(path)),
                }
            }
            other => {
                return Err(BadRequest::invalid(
                    format!("{path}.role"),
                    format!("Unknown role `{other}`. Use system, developer, user, assistant or tool."),
                ));
            }
        }
    }
    Ok((system, turns))
}

fn content(content: Option<Content>, path: &str, loss: &mut LossReport) -> Result<Vec<Part>, BadRequest> {
    match content {
        None => Ok(Vec::new()),
        Some(Content::Text(text)) if text.is_empty() => Ok(Vec::new()),
        Some(Content::Text(text)) => Ok(vec![Part::text(text)]),
        Some(Content::Parts(parts)) => {
            let mut decoded = Vec::with_capacity(parts.len());
            for (position, wire) in parts.into_iter().enumerate() {
                decoded.extend(part(wire, &format!("{path}.content[{position}]"), loss)?);
            }
            Ok(decoded)
        }
    }
}

fn part(wire: ContentPart, path: &str, loss: &mut LossReport) -> Result<Option<Part>, BadRequest> {
    for field in wire.other.keys() {
        loss.dropped(format!("{path}.{field}"), "unknown field of a part");
    }
    let kind = match wire.kind.as_str() {
        "text" | "input_text" | "output_text" => {
            PartKind::Text(Text { text: wire.text.unwrap_or_default(), citations: Vec::new() })
        }
        "refusal" => PartKind::Refusal(wire.refusal.unwrap_or_default()),
        "thinking" => PartKind::Reasoning(Reasoning { text: thinking_text(wire.thinking.as_deref()), ..Reasoning::default() }),
        "image_url" => {
            let (url, detail) = match wire.image_url {
                Some(ImageUrl::Object { url, detail }) => (url, detail),
                Some(ImageUrl::Bare(url)) => (url, None),
                None => return Err(BadRequest::invalid(format!("{path}.image_url"), "An image part needs `image_url.url`.")),
            };
            let source = media::source_of(&url)
                .ok_or_else(|| BadRequest::invalid(format!("{path}.image_url.url"), "The data URL cannot be read."))?;
            let is_pdf = match &source {
                Source::Data { media_type, .. } => media_type == "application/pdf",
                Source::Url { url, .. } => {
                    url.split(['?', '#']).next().is_some_and(|path| path.to_ascii_lowercase().ends_with(".pdf"))
                }
                _ => false,
            };
            if is_pdf {
                PartKind::Document(Document { source, title: None, context: None, citations: false })
            } else {
                PartKind::Image(Media { detail, ..Media::new(source) })
            }
        }
        "input_audio" => {
            let audio = wire.input_audio.unwrap_or_default();
            PartKind::Audio(Media::new(Source::Data { media_type: format!("audio/{}", audio.format), base64: audio.data }))
        }
        "file" => {
            let file = wire.file.unwrap_or_default();
            let source = match (file.file_data, file.file_id) {
                (Some(data), _) if data.starts_with("data:") => media::source_of(&data)
                    .ok_or_else(|| BadRequest::invalid(format!("{path}.file.file_data"), "The data URL cannot be read."))?,
                (Some(data), _) => Source::Data { media_type: "application/pdf".into(), base64: data },
                (None, Some(id)) => Source::File { vendor: Vendor::OpenAi, id, media_type: None },
                (None, None) => {
                    return Err(BadRequest::invalid(format!("{path}.file"), "A file part needs `file_data` or `file_id`."));
                }
            };
            PartKind::Document(Document { source, title: file.filename, context: None, citations: false })
        }
        other => {
            return Err(BadRequest::unsupported_value(
                format!("{path}.type"),
                format!("Parts of type `{other}` cannot be translated. Use text, image_url, input_audio or file."),
            ));
        }
    };
    Ok(Some(Part { cache: cache(wire.prompt_cache_breakpoint.as_ref(), wire.cache_control.as_ref()), ..Part::new(kind) }))
}

pub(super) fn cache(breakpoint: Option<&CacheBreakpoint>, control: Option<&CacheControl>) -> Option<CacheHint> {
    let ttl = breakpoint.map(|b| b.ttl.as_deref()).or(control.map(|c| c.ttl.as_deref()))?;
    Some(CacheHint { ttl: if matches!(ttl, Some("12h" | "1h")) { CacheTtl::Long } else { CacheTtl::Short } })
}

/// The parts of an assistant's message: reasoning first, then text, refusal and calls. Serves requests and answers.
pub(super) fn assistant_parts(
    message: Message,
    path: &str,
    function_id: &str,
    loss: &mut LossReport,
) -> Result<Vec<Part>, BadRequest> {
    let mut parts = Vec::new();
    let blocks = message.thinking_blocks.unwrap_or_default();
    for block in &blocks {
        let signature = block.signature.clone().or_else(|| block.data.clone()).filter(|data| !data.is_empty());
        parts.push(Part::new(PartKind::Reasoning(Reasoning {
            text: block.thinking.clone().unwrap_or_default(),
            is_redacted: block.kind == "redacted_thinking",
            signature: signature.map(|data| Signature { vendor: Vendor::Anthropic, data }),
            ..Reasoning::default()
        })));
    }
    if let Some(text) = message.reasoning_content.or(message.reasoning).filter(|text| !text.is_empty())
        && blocks.is_empty()
    {
        parts.push(Part::new(PartKind::Reasoning(Reasoning { text, ..Reasoning::default() })));
    }
    parts.extend(content(message.content, path, loss)?);
    if let Some(citations) = message.annotations.filter(|list| !list.is_empty())
        && let Some(PartKind::Text(text)) =
            parts.iter_mut().map(|part| &mut part.kind).find(|kind| matches!(kind, PartKind::Text(_)))
    {
        text.citations = citations.iter().filter_map(citation).collect();
    }
    if let Some(refusal) = message.refusal.filter(|text| !text.is_empty()) {
        parts.push(Part::refusal(refusal));
    }
    for (position, call) in message.tool_calls.unwrap_or_default().into_iter().enumerate() {
        parts.push(tool_call(call, position));
    }
    if let Some(call) = message.function_call {
        parts.push(Part::tool_call(function_id, call.name.unwrap_or_default(), arguments_text(call.arguments)));
    }
    Ok(parts)
}

fn tool_call(call: ToolCall, position: usize) -> Part {
    let (name, arguments, kind) = match (call.function, call.custom) {
        (None, Some(custom)) => (custom.name.unwrap_or_default(), custom.input.unwrap_or_default(), ToolKind::Custom),
        (function, _) => {
            let function = function.unwrap_or_default();
            (function.name.unwrap_or_default(), arguments_text(function.arguments), ToolKind::Function)
        }
    };
    let id = call.id.filter(|id| !id.is_empty()).unwrap_or_else(|| minted_id(&name, &arguments, position));
    Part::new(PartKind::ToolCall(crate::ir::ToolCall { id, name, arguments, kind }))
}

/// An id for a call that came without one: the same call always gets the same.
pub(super) fn minted_id(name: &str, arguments: &str, position: usize) -> String {
    format!("call_{:08x}{:08x}{position:02}", hash(name), hash(arguments))
}

/// Arguments as JSON text; servers that send the object itself are understood.
pub(super) fn arguments_text(arguments: Option<Value>) -> String {
    match arguments {
        Some(Value::String(text)) if !text.trim().is_empty() => text,
        None | Some(Value::Null | Value::String(_)) => "{}".into(),
        Some(value) => value.to_string(),
    }
}

pub(super) fn thinking_text(parts: Option<&[ContentPart]>) -> String {
    parts.unwrap_or_default().iter().filter_map(|part| part.text.as_deref()).collect()
}

pub(super) fn citation(annotation: &Value) -> Option<Citation> {
    let url = annotation.get("url_citation")?;
    let text = |field: &str| url.get(field).and_then(Value::as_str).map(str::to_owned);
    Some(Citation {
        start: url.get("start_index").and_then(Value::as_u64),
        end: url.get("end_index").and_then(Value::as_u64),
        url: text("url"),
        title: text("title"),
        cited_text: None,
        raw: Some((Dialect::OpenaiChat, annotation.clone())),
    })
}
