//! Parts of contents, wire → [`ir`](crate::ir), for requests and answers alike.

use serde_json::{Value, json};
use tallygate_types::Dialect;

use super::native::camel_cased;
use super::signature;
use super::wire::{Blob, FileData, Part as WirePart};
use crate::ir::{Document, Media, Object, Part, PartKind, Reasoning, Signature, Source, ToolCall, ToolKind, Vendor};
use crate::media;

/// What a part is, signature apart.
pub(super) enum Meaning {
    Part(PartKind),
    /// A function call whose id is the caller's to find.
    Call {
        name: String,
        arguments: String,
        id: Option<String>,
    },
    /// An empty text that carries nothing but a signature.
    Nothing,
    /// The bytes of inline media are no base64.
    BrokenMedia,
}

pub(super) struct ReadPart {
    pub meaning: Meaning,
    pub signature: Option<Signature>,
    /// Fields that mean nothing outside of Google, in camel case.
    pub unread: Vec<String>,
    /// It was said in other words.
    pub is_reworded: bool,
}

pub(super) fn read(wire: WirePart) -> ReadPart {
    let signature = wire.thought_signature.as_deref().and_then(signature::read);
    let is_thought = wire.thought == Some(true);
    let mut rest = camel_cased(wire.rest);
    let (mut unread, mut is_reworded) = (Vec::new(), false);
    let mut meaning = if let Some(call) = wire.function_call {
        unread.extend(names("functionCall", &call.rest));
        let arguments = call.args.map_or_else(|| "{}".to_owned(), |args| Value::Object(args).to_string());
        Meaning::Call { name: call.name, arguments, id: call.id.filter(|id| !id.is_empty()) }
    } else if let Some(text) = wire.text {
        match (text.is_empty(), is_thought) {
            (_, true) => Meaning::Part(PartKind::Reasoning(Reasoning {
                text,
                is_summary: true,
                signature: signature.clone(),
                ..Reasoning::default()
            })),
            (true, false) => Meaning::Nothing,
            (false, false) => Meaning::Part(Part::text(text).kind),
        }
    } else if let Some(blob) = wire.inline_data {
        unread.extend(names("inlineData", &blob.rest));
        inline(blob).map_or(Meaning::BrokenMedia, Meaning::Part)
    } else if let Some(file) = wire.file_data {
        unread.extend(names("fileData", &file.rest));
        Meaning::Part(by_reference(file))
    } else if let Some(code) = wire.executable_code {
        is_reworded = true;
        let language = code["language"].as_str().unwrap_or_default().to_ascii_lowercase();
        fenced(&language, code["code"].as_str())
    } else if let Some(result) = wire.code_execution_result {
        is_reworded = true;
        fenced("", result["output"].as_str())
    } else {
        match ["toolCall", "toolResponse"].iter().find_map(|kind| rest.shift_remove_entry(*kind)) {
            Some((kind, value)) => {
                Meaning::Part(PartKind::Extension { dialect: Dialect::Gemini, value: json!({ (&*kind): value }), kind })
            }
            None => Meaning::Nothing,
        }
    };
    if let Meaning::Part(PartKind::Image(image)) = &mut meaning {
        image.detail = rest.shift_remove("mediaResolution").and_then(|resolution| detail(&resolution, &mut unread));
    }
    unread.extend(rest.into_iter().map(|(name, _)| name));
    ReadPart { meaning, signature, unread, is_reworded }
}

fn names(of: &str, fields: &Object) -> Vec<String> {
    fields.keys().map(|name| format!("{of}.{name}")).collect()
}

/// The resolution of an image in OpenAI's words.
fn detail(resolution: &Value, unread: &mut Vec<String>) -> Option<String> {
    let level = resolution["level"].as_str().unwrap_or_default().to_ascii_uppercase();
    match level.trim_start_matches("MEDIA_RESOLUTION_") {
        "LOW" => Some("low".into()),
        "HIGH" => Some("high".into()),
        "ULTRA_HIGH" => Some("original".into()),
        "UNSPECIFIED" => None,
        _ => {
            unread.push("mediaResolution".into());
            None
        }
    }
}

/// Code that Google ran, and what came of it, as other vendors' clients can show it.
fn fenced(language: &str, content: Option<&str>) -> Meaning {
    let content = content.unwrap_or_default();
    let end = if content.ends_with('\n') { "" } else { "\n" };
    Meaning::Part(Part::text(format!("\n```{language}\n{content}{end}```\n")).kind)
}

impl ReadPart {
    /// The part; `None` if it says nothing. `mint` gives the id of a call.
    pub fn into_part(self, mint: impl FnOnce(Option<String>) -> String) -> Option<Part> {
        let kind = match self.meaning {
            Meaning::Part(kind) => kind,
            Meaning::Call { name, arguments, id } => {
                PartKind::ToolCall(ToolCall { id: mint(id), name, arguments, kind: ToolKind::Function })
            }
            Meaning::Nothing | Meaning::BrokenMedia => return None,
        };
        let signature = if matches!(kind, PartKind::Reasoning(_)) { None } else { self.signature };
        Some(Part { signature, ..Part::new(kind) })
    }
}

fn inline(blob: Blob) -> Option<PartKind> {
    let media_type = media::media_type(&blob.mime_type);
    let base64 = media::standard_base64(&blob.data)?.into_owned();
    Some(of_media(Source::Data { media_type: media_type.clone(), base64 }, Some(&media_type), blob.display_name))
}

/// A Files-API or Cloud-Storage URI means something to Google alone; any other is a public URL.
fn by_reference(file: FileData) -> PartKind {
    let media_type = file.mime_type.as_deref().map(media::media_type);
    let is_googles = file.file_uri.starts_with("gs://") || file.file_uri.contains("generativelanguage.googleapis.com/");
    let known = media_type.clone().or_else(|| media::media_type_of_name(&file.file_uri).map(str::to_owned));
    let source = if is_googles {
        Source::File { vendor: Vendor::Google, id: file.file_uri, media_type }
    } else {
        Source::Url { url: file.file_uri, media_type }
    };
    of_media(source, known.as_deref(), file.display_name)
}

fn of_media(source: Source, media_type: Option<&str>, name: Option<String>) -> PartKind {
    let media = |source| Media { filename: name.clone(), ..Media::new(source) };
    match media_type.and_then(|kind| kind.split('/').next()) {
        Some("image") => PartKind::Image(media(source)),
        Some("audio") => PartKind::Audio(media(source)),
        Some("video") => PartKind::Video(media(source)),
        Some("text") => {
            let text = if let Source::Data { base64, .. } = &source { media::text_of(base64) } else { None };
            let source = text.map_or(source, Source::Text);
            PartKind::Document(Document { source, title: name, context: None, citations: false })
        }
        _ => PartKind::Document(Document { source, title: name, context: None, citations: false }),
    }
}

/// A tool's result as text, and back: Google wants an object, the others want text.
pub(super) fn result_text(response: &Value) -> (String, bool) {
    let single = |name: &str| match response {
        Value::Object(fields) if fields.len() == 1 => fields.get(name),
        _ => None,
    };
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    match (single("output").or_else(|| single("result")), single("error")) {
        (Some(output), _) => (text(output), false),
        (None, Some(error)) => (text(error), true),
        (None, None) => (text(response), false),
    }
}

pub(super) fn result_object(text: &str, is_error: bool) -> Object {
    if let (false, Ok(Value::Object(object))) = (is_error, serde_json::from_str(text)) {
        return object;
    }
    let mut object = Object::new();
    object.insert(if is_error { "error" } else { "output" }.into(), text.into());
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_objects_at_google_and_text_elsewhere() {
        assert_eq!(result_text(&json!({"output": "22 degrees"})), ("22 degrees".into(), false));
        assert_eq!(result_text(&json!({"error": "no such city"})), ("no such city".into(), true));
        assert_eq!(result_text(&json!({"temperature": 22, "unit": "C"})), (r#"{"temperature":22,"unit":"C"}"#.into(), false));
        assert_eq!(Value::Object(result_object(r#"{"a":1}"#, false)), json!({"a": 1}));
        assert_eq!(Value::Object(result_object("[1]", false)), json!({"output": "[1]"}));
        assert_eq!(Value::Object(result_object(r#"{"a":1}"#, true)), json!({"error": r#"{"a":1}"#}));
    }
}
