//! The Responses API as it stands on the wire.
//!
//! Everything is open: a field we do not know is kept in `rest`, a kind of item, part or tool we do not know is kept
//! whole as `Other`. Required fields are only those without which an item means nothing; what OpenAI's document demands
//! beyond that is missing in real traffic (older recordings, compatible vendors).
//!
//! Source: openai-openapi `CreateResponse`, `Response`, `InputItem`, `OutputItem`, `Tool`.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::dispatch::NameRules;
use crate::ir::Object;
use crate::peek::{Path, PeekFields};

pub(crate) const PEEK: PeekFields = PeekFields {
    in_body: true,
    max_output_tokens: &[Path::Top("max_output_tokens")],
    candidates: &[],
    user: &[Path::Top("safety_identifier"), Path::Top("user")],
    instructions: &["instructions"],
    turns: &["input"],
};
/// Codex marks its turns by these; they mean nothing to another vendor.
pub(crate) const FORWARDED_HEADERS: &[&str] = &[
    "openai-beta",
    "originator",
    "session-id",
    "session_id",
    "x-client-request-id",
    "x-codex-beta-features",
    "x-codex-turn-metadata",
    "x-codex-turn-state",
    "x-openai-subagent",
];
/// `FunctionTool.name`, `function_call_output.call_id`.
pub(crate) const NAMES: NameRules = NameRules {
    tool_name_chars: 64,
    call_id_chars: 64,
    dots_allowed: false,
    letter_first: false,
    stray_prefixes: &[],
    plain_objects: false,
    free_text: |_, _| true,
    stops: false,
};

/// `POST /v1/responses`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct CreateResponse {
    pub model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Input>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<Input>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<ReasoningOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Object>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safety_identifier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_cache_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_response_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tool_calls: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_cache_retention: Option<String>,
    #[serde(flatten)]
    pub rest: Object,
}

/// A string stands for one user message. Items stay values here, so that an error can name the item it is in.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Input {
    Text(String),
    Items(Vec<Value>),
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ReasoningOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct TextOptions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbosity: Option<String>,
    #[serde(flatten)]
    pub rest: Object,
}

/// An enum by the object's `type`, whose unknown kinds are kept whole.
macro_rules! by_type {
    ($(#[$doc:meta])* $name:ident, default $default:expr, { $($tag:literal => $variant:ident($body:ty),)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $name {
            $($variant($body),)*
            Other { kind: String, fields: Object },
        }

        impl $name {
            /// The `type` on the wire.
            #[allow(dead_code)]
            pub fn kind(&self) -> &str {
                match self {
                    $(Self::$variant(_) => $tag,)*
                    Self::Other { kind, .. } => kind,
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut fields = Object::deserialize(deserializer)?;
                let default: fn(&Object) -> &'static str = $default;
                let kind = match fields.shift_remove("type") {
                    Some(Value::String(kind)) => kind,
                    Some(Value::Null) | None => default(&fields).to_owned(),
                    Some(_) => return Err(D::Error::custom("`type` must be a string")),
                };
                match kind.as_str() {
                    $($tag => body(fields).map(Self::$variant).map_err(D::Error::custom),)*
                    _ => Ok(Self::Other { kind, fields }),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$variant(body) => Tagged { kind: $tag, body }.serialize(serializer),)*
                    Self::Other { kind, fields } => Tagged { kind, body: fields }.serialize(serializer),
                }
            }
        }
    };
}

#[derive(Serialize)]
struct Tagged<'a, T: Serialize> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

fn body<T: DeserializeOwned>(fields: Object) -> Result<T, serde_json::Error> {
    serde_json::from_value(Value::Object(fields))
}

by_type! {
    /// An item of `input` or of `output`: the two lists share most kinds, since answers are replayed as input.
    ///
    /// Without `type`: with a role an easy message, with nothing but an id a reference.
    Item, default |fields| if fields.contains_key("role") { "message" } else if fields.contains_key("id") { "item_reference" } else { "" }, {
        "message" => Message(Message),
        "reasoning" => Reasoning(ReasoningItem),
        "function_call" => FunctionCall(FunctionCall),
        "function_call_output" => FunctionCallOutput(CallOutput),
        "custom_tool_call" => CustomToolCall(CustomToolCall),
        "custom_tool_call_output" => CustomToolCallOutput(CallOutput),
    }
}

by_type! {
    /// A content part of a message, a reasoning item or a tool output.
    Content, default |_| "", {
        "input_text" => InputText(TextPart),
        "output_text" => OutputText(OutputText),
        "text" => PlainText(TextPart),
        "summary_text" => SummaryText(TextPart),
        "reasoning_text" => ReasoningText(TextPart),
        "refusal" => Refusal(RefusalPart),
        "input_image" => InputImage(ImagePart),
        "input_file" => InputFile(FilePart),
        "input_audio" => InputAudio(AudioPart),
    }
}

by_type! {
    /// An entry of `tools`.
    ToolEntry, default |_| "", {
        "function" => Function(FunctionEntry),
        "custom" => Custom(CustomEntry),
    }
}

by_type! {
    /// `text.format`.
    Format, default |_| "text", {
        "text" => Text(Object),
        "json_object" => JsonObject(Object),
        "json_schema" => JsonSchema(JsonSchemaFormat),
    }
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct Message {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub role: String,
    #[serde(default)]
    pub content: MessageContent,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum MessageContent {
    Text(String),
    Parts(Vec<Value>),
    Null(()),
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ReasoningItem {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub summary: Vec<Content>,
    #[serde(deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub content: Vec<Content>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct FunctionCall {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub call_id: String,
    pub name: String,
    #[serde(default)]
    pub arguments: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct CustomToolCall {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub call_id: String,
    pub name: String,
    #[serde(default)]
    pub input: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct CallOutput {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default)]
    pub output: MessageContent,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct TextPart {
    #[serde(default)]
    pub text: String,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct OutputText {
    pub text: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub annotations: Vec<Value>,
    #[serde(deserialize_with = "null_is_empty")]
    pub logprobs: Vec<Value>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct RefusalPart {
    #[serde(default)]
    pub refusal: String,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ImagePart {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct FilePart {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct AudioPart {
    pub input_audio: InputAudio,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct InputAudio {
    pub data: String,
    /// `wav` or `mp3`.
    pub format: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct FunctionEntry {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Required by OpenAI's document, null for a function without parameters.
    #[serde(default)]
    pub parameters: Option<Value>,
    /// Required by OpenAI's document; where a client leaves it out, OpenAI makes the schema strict if it can.
    #[serde(default)]
    pub strict: Option<bool>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct CustomEntry {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Value>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
pub struct JsonSchemaFormat {
    pub name: String,
    pub schema: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
    #[serde(flatten)]
    pub rest: Object,
}

/// An upstream's answer, and the `response` inside stream events.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ResponseBody {
    pub id: Option<String>,
    pub model: Option<String>,
    pub status: Option<String>,
    #[serde(deserialize_with = "null_is_empty")]
    pub output: Vec<Item>,
    pub usage: Option<Value>,
    pub error: Option<Value>,
    pub incomplete_details: Option<IncompleteDetails>,
    pub service_tier: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct IncompleteDetails {
    pub reason: Option<String>,
}

/// Any event of a stream: the union of the fields we read.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Event {
    #[serde(rename = "type")]
    pub kind: String,
    pub response: Option<ResponseBody>,
    pub item: Option<Item>,
    pub item_id: Option<String>,
    pub output_index: Option<u64>,
    pub content_index: Option<u64>,
    pub summary_index: Option<u64>,
    /// A string for all the deltas we read; an object for shell output.
    pub delta: Option<Value>,
    pub text: Option<String>,
    pub refusal: Option<String>,
    pub arguments: Option<String>,
    pub input: Option<String>,
    pub annotation: Option<Value>,
    pub logprobs: Option<Value>,
    /// Of `error` events: flat at OpenAI, an object at some vendors.
    pub code: Option<Value>,
    pub message: Option<String>,
    pub param: Option<String>,
    pub error: Option<Value>,
}

impl Item {
    /// Its own id, not that of a call.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Message(item) => item.id.as_deref(),
            Self::Reasoning(item) => item.id.as_deref(),
            Self::FunctionCall(item) => item.id.as_deref(),
            Self::CustomToolCall(item) => item.id.as_deref(),
            Self::FunctionCallOutput(item) | Self::CustomToolCallOutput(item) => item.id.as_deref(),
            Self::Other { fields, .. } => fields.get("id").and_then(Value::as_str),
        }
    }
}

impl Default for MessageContent {
    fn default() -> Self {
        Self::Null(())
    }
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Option::<Vec<T>>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_items_and_parts_survive_a_round_trip() {
        for text in [
            r#"{"type":"message","role":"user","content":[{"type":"input_hologram","x":1}],"phase":"commentary"}"#,
            r#"{"type":"web_search_call","id":"ws_1","action":{"type":"search"}}"#,
            r#"{"type":"function_call","call_id":"c","name":"f","arguments":"{}","namespace":"n"}"#,
            r#"{"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"t"}],"encrypted_content":"e"}"#,
        ] {
            let item: Item = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&item).unwrap(), text);
        }
    }

    #[test]
    fn items_without_a_type_are_messages_or_references() {
        let easy: Item = serde_json::from_str(r#"{"role":"user","content":"hi"}"#).unwrap();
        assert_eq!(easy.kind(), "message");
        let reference: Item = serde_json::from_str(r#"{"id":"msg_1"}"#).unwrap();
        assert_eq!(reference.kind(), "item_reference");
    }

    #[test]
    fn a_null_means_not_said() {
        let request: CreateResponse =
            serde_json::from_str(r#"{"model":"m","input":"hi","tools":null,"temperature":null,"metadata":null,"stream":null}"#)
                .unwrap();
        assert_eq!((request.tools, request.temperature, request.stream), (None, None, None));
        let item: Item = serde_json::from_str(r#"{"type":"reasoning","summary":[],"content":null}"#).unwrap();
        assert_eq!(serde_json::to_string(&item).unwrap(), r#"{"type":"reasoning","summary":[]}"#);
    }
}
