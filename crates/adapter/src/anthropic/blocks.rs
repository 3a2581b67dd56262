//! Content blocks into parts: of requests, answers and streams alike.

use serde_json::Value;
use tallygate_types::Dialect;

use super::carrier::{self, Carried};
use super::wire::{self, Block, CacheControl, Content};
use crate::failure::BadRequest;
use crate::ir::{
    CacheHint, CacheTtl, Citation, Document, Extensions, Media, Part, PartKind, Reasoning, Signature, Source, Text, ToolCall,
    ToolKind, ToolResult, Vendor,
};

pub(super) fn cache(control: Option<&CacheControl>) -> Option<CacheHint> {
    let ttl = if control?.ttl.as_deref() == Some("1h") { CacheTtl::Hour } else { CacheTtl::Short };
    Some(CacheHint { ttl })
}

pub(super) fn content(content: Content, path: &str) -> Result<Vec<Part>, BadRequest> {
    match content {
        Content::Text(text) if text.is_empty() => Ok(Vec::new()),
        Content::Text(text) => Ok(vec![Part::text(text)]),
        Content::Blocks(blocks) => {
            let mut parts: Vec<Part> = Vec::with_capacity(blocks.len());
            // Made by us: an empty block that carries the signature of what follows it.
            let mut of_next = None;
            for (position, wire) in blocks.into_iter().enumerate() {
                if wire.kind == "thinking"
                    && let Carried::Next(signature) = carrier::unwrap(wire.signature.as_deref().unwrap_or_default())
                {
                    of_next = Some(signature);
                    continue;
                }
                let mut part = block(wire, &format!("{path}.content[{position}]"))?;
                part.signature = part.signature.or(of_next.take());
                parts.push(part);
            }
            Ok(parts)
        }
    }
}

pub(crate) fn block(mut block: Block, path: &str) -> Result<Part, BadRequest> {
    let cache = cache(block.cache_control.take().as_ref());
    let name = block.kind.clone();
    let missing =
        |field: &str| BadRequest::invalid(format!("{path}.{field}"), format!("A block of type `{name}` needs `{field}`."));
    let mut extensions = Extensions::default();
    let kind = match block.kind.as_str() {
        "text" => PartKind::Text(Text {
            text: block.text.unwrap_or_default(),
            citations: block.citations.as_ref().and_then(Value::as_array).into_iter().flatten().map(citation).collect(),
        }),
        "thinking" => PartKind::Reasoning(Reasoning {
            text: block.thinking.unwrap_or_default(),
            signature: match carrier::unwrap(block.signature.as_deref().unwrap_or_default()) {
                Carried::Own(signature) => Some(signature),
                Carried::Next(_) | Carried::Nothing => None,
            },
            ..Reasoning::default()
        }),
        "redacted_thinking" => {
            PartKind::Reasoning(Reasoning { is_redacted: true, signature: signature(block.data), ..Reasoning::default() })
        }
        "tool_use" => {
            extensions.extend(Dialect::Anthropic, std::mem::take(&mut block.other));
            PartKind::ToolCall(ToolCall {
                id: block.id.unwrap_or_default(),
                name: block.name.unwrap_or_default(),
                arguments: arguments(block.input.as_ref()),
                kind: ToolKind::Function,
            })
        }
        "tool_result" => PartKind::ToolResult(ToolResult {
            call_id: block.tool_use_id.ok_or_else(|| missing("tool_use_id"))?,
            name: None,
            content: match block.content.map(serde_json::from_value::<Content>) {
                None => Vec::new(),
                Some(Ok(inner)) => content(inner, path)?,
                Some(Err(_)) => return Err(missing("content")),
            },
            is_error: block.is_error.unwrap_or(false),
            kind: ToolKind::Function,
        }),
        "image" => PartKind::Image(Media::new(source(block.source.ok_or_else(|| missing("source"))?, path)?)),
        "document" => PartKind::Document(Document {
            source: source(block.source.ok_or_else(|| missing("source"))?, path)?,
            title: block.title,
            context: block.context,
            citations: wants_citations(block.citations.as_ref()),
        }),
        "search_result" => PartKind::Document(Document {
            source: Source::Parts(match block.content.map(serde_json::from_value::<Content>) {
                Some(Ok(inner)) => content(inner, path)?,
                _ => Vec::new(),
            }),
            title: block.title,
            context: block.source.as_ref().and_then(Value::as_str).map(str::to_owned),
            citations: wants_citations(block.citations.as_ref()),
        }),
        _ => {
            let kind = block.kind.clone();
            PartKind::Extension { dialect: Dialect::Anthropic, kind, value: serde_json::to_value(&block).unwrap_or_default() }
        }
    };
    Ok(Part { cache, extensions, ..Part::new(kind) })
}

pub(super) fn signature(data: Option<String>) -> Option<Signature> {
    data.filter(|data| !data.is_empty()).map(|data| Signature { vendor: Vendor::Anthropic, data })
}

fn wants_citations(citations: Option<&Value>) -> bool {
    citations.and_then(|citations| citations.get("enabled")).and_then(Value::as_bool).unwrap_or(false)
}

fn arguments(input: Option<&Value>) -> String {
    match input {
        None | Some(Value::Null) => "{}".into(),
        Some(input) => input.to_string(),
    }
}

fn source(value: Value, path: &str) -> Result<Source, BadRequest> {
    let unreadable =
        || BadRequest::invalid(format!("{path}.source"), "The source must be base64, text, content, url or file, with its data.");
    let wire: wire::Source = serde_json::from_value(value).map_err(|_| unreadable())?;
    match wire.kind.as_str() {
        "base64" => Ok(Source::Data {
            media_type: wire.media_type.unwrap_or_default().to_ascii_lowercase(),
            base64: wire.data.ok_or_else(unreadable)?,
        }),
        "text" => Ok(Source::Text(wire.data.ok_or_else(unreadable)?)),
        "url" => Ok(Source::Url { url: wire.url.ok_or_else(unreadable)?, media_type: None }),
        "file" => Ok(Source::File { vendor: Vendor::Anthropic, id: wire.file_id.ok_or_else(unreadable)?, media_type: None }),
        "content" => Ok(Source::Parts(content(wire.content.unwrap_or_default(), path)?)),
        _ => Err(unreadable()),
    }
}

pub(super) fn citation(value: &Value) -> Citation {
    let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    Citation {
        start: None,
        end: None,
        url: text("url"),
        title: text("title").or_else(|| text("document_title")),
        cited_text: text("cited_text"),
        raw: Some((Dialect::Anthropic, value.clone())),
    }
}
