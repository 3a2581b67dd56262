//! What a request asks for, whatever its dialect: the dialects parse into [`Ask`], the answer is made from it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::script::Progress;
use crate::seal::Digest;

/// How long the prompt cache keeps what it was asked to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheTtl {
    FiveMinutes,
    OneHour,
}

/// An image that came with the last user message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Image {
    /// Sent inline: its media type and the length of its decoded bytes.
    Inline { media_type: String, bytes: usize },
    /// Sent as an address; never fetched.
    Address(String),
}

impl Image {
    /// An image from base64 text; text that does not decode counts 0 bytes.
    pub(crate) fn from_base64(media_type: &str, data: &str) -> Self {
        let bytes = STANDARD.decode(data).map_or(0, |decoded| decoded.len());
        Self::Inline { media_type: media_type.to_owned(), bytes }
    }

    /// An image from an address, which may be a `data:` URL.
    pub(crate) fn from_url(url: &str) -> Self {
        match url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
            Some((media_type, data)) => Self::from_base64(media_type, data),
            None => Self::Address(url.to_owned()),
        }
    }
}

/// A tool the caller offers.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    pub name: String,
    /// JSON Schema of its arguments (Gemini's upper-case types too).
    pub schema: Value,
}

/// What the caller says about calling tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Choice {
    #[default]
    Auto,
    Never,
    Any,
    Named(String),
}

/// How the visible answer must look.
#[derive(Clone, Debug, Default)]
pub(crate) enum Format {
    #[default]
    Text,
    /// JSON that follows this schema (`{}` where the caller gave none).
    Json(Value),
}

/// A call of an earlier model's turn, as the request brings it back.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PastCall {
    pub id: Option<String>,
    pub name: String,
    pub arguments: Value,
    /// The id of the item that holds it (Responses).
    pub item: Option<String>,
    /// Reasoning stands before it in its turn.
    pub reasoned: bool,
}

/// What was said in a conversation, whatever the dialect, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    User(String),
    /// A turn of the model, with its calls.
    Model(Vec<PastCall>),
    /// Results of tools.
    Results(Vec<String>),
}

/// What a request brings back of the reasoning behind the calls of the current turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// Steps whose reasoning came back, genuine and in its place.
    pub kept: u32,
    /// Steps that came back without it.
    pub missing: u32,
    /// Steps whose signature is one of Google's stand-ins.
    pub sentinels: u32,
}

/// One request, reduced to what an answer depends on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    pub model: String,
    pub stream: bool,
    /// Text of the last user message.
    pub user_text: String,
    /// Results of tools that the last turn carries; not empty means that the caller awaits the final answer.
    pub tool_results: Vec<String>,
    pub images: Vec<Image>,
    pub tools: Vec<Tool>,
    pub choice: Choice,
    pub single_call: bool,
    /// The caller's cap on output tokens.
    pub max_output: Option<u64>,
    /// Reasoning was asked for in the request.
    pub reasoning: bool,
    /// The caller wants to see the reasoning.
    pub show_reasoning: bool,
    pub format: Format,
    pub cache_write: Option<CacheTtl>,
    /// Chat Completions reports usage in a stream only if asked.
    pub stream_usage: bool,
    /// Bytes of all text in the request.
    pub input_bytes: u64,
    pub history: Vec<Said>,
    pub returned: Returned,
    /// What the script of the conversation wants next.
    pub progress: Progress,
    /// The conversation as the answer's reasoning is bound to it, where the vendor binds it.
    pub prefix: Digest,
    /// Reasoning must come back (Gemini): its calls are signed.
    pub signs: bool,
    /// The caller asked for encrypted reasoning (Responses).
    pub encrypts: bool,
    /// The answer is stored (Responses).
    pub stores: bool,
    /// Items that the request names by id only, or without what is needed to do without the stored one (Responses).
    pub stored_items: Vec<String>,
}

/// Sums the text of a JSON tree: every string value but base64 payloads, and no key.
pub(crate) fn text_bytes(value: &Value) -> u64 {
    match value {
        Value::String(text) if text.starts_with("data:") => 0,
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(fields) => fields.iter().filter(|(key, _)| key.as_str() != "data").map(|(_, item)| text_bytes(item)).sum(),
        _ => 0,
    }
}

/// The text of `content` that is either a string or a list of parts with a `text` field.
pub(crate) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

/// Arguments of a call from their JSON text; text that is none stays text.
pub(crate) fn arguments(text: &Value) -> Value {
    let text = text.as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// JSON with the keys of its objects in order, so that equal values are equal bytes.
pub(crate) fn canonical(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(canonical).collect(),
        Value::Object(fields) => {
            let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
            sorted.sort_by_key(|(key, _)| key.as_str());
            Value::Object(sorted.into_iter().map(|(key, item)| (key.clone(), canonical(item))).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_counted_and_payloads_are_not() {
        let body = json!([{"text": "four"}, {"data": "AAAAAAAA"}, {"url": "data:image/png;base64,AAAA"}, 7]);
        assert_eq!(text_bytes(&body), 4);
    }

    #[test]
    fn a_data_url_is_an_inline_image() {
        let image = Image::from_url("data:image/png;base64,AAAA");
        assert_eq!(image, Image::Inline { media_type: "image/png".to_owned(), bytes: 3 });
    }
}
