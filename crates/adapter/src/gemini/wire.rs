//! Gemini `generateContent` as it stands on the wire (protobuf JSON).
//!
//! Google takes lowerCamelCase and snake_case for every field at any depth, null for absent, one object where a list is
//! meant, and integers as text; so do we. It writes lowerCamelCase, and so do we. Unknown fields are kept in `rest`.
//! Free-form maps (`args`, `response`, schemas) are data: their keys are never touched.
//!
//! Source: google-genai `GenerateContentRequest`, `GenerateContentResponse`; google-ai-generativelanguage descriptors.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::dispatch::NameRules;
use crate::ir::Object;
use crate::peek::{Path, PeekFields};

pub(crate) const PEEK: PeekFields = PeekFields {
    in_body: false,
    max_output_tokens: &[
        Path::In("generationConfig", "maxOutputTokens"),
        Path::In("generationConfig", "max_output_tokens"),
        Path::In("generation_config", "max_output_tokens"),
        Path::In("generation_config", "maxOutputTokens"),
    ],
    candidates: &[
        Path::In("generationConfig", "candidateCount"),
        Path::In("generationConfig", "candidate_count"),
        Path::In("generation_config", "candidate_count"),
        Path::In("generation_config", "candidateCount"),
    ],
    user: &[],
    instructions: &["systemInstruction", "system_instruction"],
    turns: &["contents"],
};
pub(crate) const FORWARDED_HEADERS: &[&str] = &["x-goog-api-client", "x-server-timeout"];
/// `FunctionDeclaration.name`; older models stop at 64.
pub(crate) const NAMES: NameRules = NameRules {
    tool_name_chars: 64,
    call_id_chars: 64,
    dots_allowed: true,
    letter_first: true,
    stray_prefixes: &["default_api.", "default_api:"],
    plain_objects: false,
    free_text: |_, _| false,
    stops: true,
};

/// `POST …/models/{model}:generateContent`
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GenerateContent {
    #[serde(alias = "system_instruction", skip_serializing_if = "Option::is_none")]
    pub system_instruction: Option<Content>,
    #[serde(deserialize_with = "list")]
    pub contents: Vec<Content>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool>,
    #[serde(alias = "tool_config", skip_serializing_if = "Option::is_none")]
    pub tool_config: Option<ToolConfig>,
    #[serde(alias = "generation_config", skip_serializing_if = "Option::is_none")]
    pub generation_config: Option<GenerationConfig>,
    #[serde(alias = "service_tier", skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<String>,
    #[serde(alias = "cached_content", skip_serializing_if = "Option::is_none")]
    pub cached_content: Option<String>,
    #[serde(alias = "continuation_token", skip_serializing_if = "Option::is_none")]
    pub continuation_token: Option<String>,
    /// Tolerated by Google; the path wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Content {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(deserialize_with = "list")]
    pub parts: Vec<Part>,
    #[serde(flatten)]
    pub rest: Object,
}

/// Exactly one data field, and modifiers.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Part {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thought: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(alias = "inline_data", skip_serializing_if = "Option::is_none")]
    pub inline_data: Option<Blob>,
    #[serde(alias = "file_data", skip_serializing_if = "Option::is_none")]
    pub file_data: Option<FileData>,
    #[serde(alias = "function_call", skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionCall>,
    #[serde(alias = "function_response", skip_serializing_if = "Option::is_none")]
    pub function_response: Option<FunctionResponse>,
    #[serde(alias = "executable_code", skip_serializing_if = "Option::is_none")]
    pub executable_code: Option<Value>,
    #[serde(alias = "code_execution_result", skip_serializing_if = "Option::is_none")]
    pub code_execution_result: Option<Value>,
    /// Opaque: never decoded, never rewritten.
    #[serde(alias = "thought_signature", skip_serializing_if = "Option::is_none")]
    pub thought_signature: Option<String>,
    /// `toolCall`, `toolResponse`, `videoMetadata`, `mediaResolution`, `partMetadata` and what comes later.
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Blob {
    #[serde(alias = "mime_type")]
    pub mime_type: String,
    pub data: String,
    #[serde(alias = "display_name", skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FileData {
    #[serde(alias = "file_uri")]
    pub file_uri: String,
    #[serde(alias = "mime_type", skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    #[serde(alias = "display_name", skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FunctionCall {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Object>,
    /// Vertex with `streamFunctionCallArguments`: the arguments come in pieces.
    #[serde(alias = "partial_args", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub partial_args: Vec<PartialArg>,
    #[serde(alias = "will_continue", skip_serializing_if = "Option::is_none")]
    pub will_continue: Option<bool>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PartialArg {
    #[serde(alias = "json_path")]
    pub json_path: String,
    #[serde(alias = "string_value", skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    #[serde(alias = "number_value", skip_serializing_if = "Option::is_none")]
    pub number_value: Option<Value>,
    #[serde(alias = "bool_value", skip_serializing_if = "Option::is_none")]
    pub bool_value: Option<bool>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FunctionResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<Value>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    #[serde(flatten)]
    pub rest: Object,
}

/// One or more kinds of tool in one object; built-in tools are in `rest`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Tool {
    #[serde(alias = "function_declarations", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub function_declarations: Vec<FunctionDeclaration>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FunctionDeclaration {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// OpenAPI subset; excludes `parameters_json_schema`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
    #[serde(alias = "parameters_json_schema", skip_serializing_if = "Option::is_none")]
    pub parameters_json_schema: Option<Value>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ToolConfig {
    #[serde(alias = "function_calling_config", skip_serializing_if = "Option::is_none")]
    pub function_calling_config: Option<FunctionCallingConfig>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FunctionCallingConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    #[serde(alias = "allowed_function_names", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub allowed_function_names: Vec<String>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GenerationConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(alias = "top_p", skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    #[serde(alias = "top_k", deserialize_with = "integer", skip_serializing_if = "Option::is_none")]
    pub top_k: Option<i64>,
    #[serde(alias = "candidate_count", deserialize_with = "integer", skip_serializing_if = "Option::is_none")]
    pub candidate_count: Option<i64>,
    #[serde(alias = "max_output_tokens", deserialize_with = "integer", skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<i64>,
    #[serde(alias = "stop_sequences", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub stop_sequences: Vec<String>,
    #[serde(deserialize_with = "integer", skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    #[serde(alias = "presence_penalty", skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    #[serde(alias = "frequency_penalty", skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    #[serde(alias = "response_logprobs", skip_serializing_if = "Option::is_none")]
    pub response_logprobs: Option<bool>,
    #[serde(deserialize_with = "integer", skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<i64>,
    #[serde(alias = "response_mime_type", skip_serializing_if = "Option::is_none")]
    pub response_mime_type: Option<String>,
    /// OpenAPI subset; excludes `response_json_schema`.
    #[serde(alias = "response_schema", skip_serializing_if = "Option::is_none")]
    pub response_schema: Option<Value>,
    #[serde(alias = "response_json_schema", alias = "_responseJsonSchema", skip_serializing_if = "Option::is_none")]
    pub response_json_schema: Option<Value>,
    #[serde(alias = "response_modalities", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub response_modalities: Vec<String>,
    #[serde(alias = "thinking_config", skip_serializing_if = "Option::is_none")]
    pub thinking_config: Option<ThinkingConfig>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ThinkingConfig {
    /// 0 is off, −1 lets the model decide; excludes `thinking_level`.
    #[serde(alias = "thinking_budget", deserialize_with = "integer", skip_serializing_if = "Option::is_none")]
    pub thinking_budget: Option<i64>,
    #[serde(alias = "thinking_level", skip_serializing_if = "Option::is_none")]
    pub thinking_level: Option<String>,
    #[serde(alias = "include_thoughts", skip_serializing_if = "Option::is_none")]
    pub include_thoughts: Option<bool>,
    #[serde(flatten)]
    pub rest: Object,
}

/// A whole answer, and every record of a stream.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GenerateContentResponse {
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    #[serde(alias = "prompt_feedback", skip_serializing_if = "Option::is_none")]
    pub prompt_feedback: Option<PromptFeedback>,
    #[serde(alias = "usage_metadata", skip_serializing_if = "Option::is_none")]
    pub usage_metadata: Option<Value>,
    #[serde(alias = "model_version", skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    #[serde(alias = "response_id", skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
    /// An error record inside a 200 stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Candidate {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    #[serde(alias = "finish_reason", deserialize_with = "finish_reason", skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    #[serde(alias = "finish_message", skip_serializing_if = "Option::is_none")]
    pub finish_message: Option<String>,
    #[serde(deserialize_with = "integer", skip_serializing_if = "Option::is_none")]
    pub index: Option<i64>,
    #[serde(alias = "citation_metadata", skip_serializing_if = "Option::is_none")]
    pub citation_metadata: Option<Value>,
    #[serde(alias = "grounding_metadata", skip_serializing_if = "Option::is_none")]
    pub grounding_metadata: Option<GroundingMetadata>,
    #[serde(alias = "logprobs_result", skip_serializing_if = "Option::is_none")]
    pub logprobs_result: Option<Value>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PromptFeedback {
    #[serde(alias = "block_reason", skip_serializing_if = "Option::is_none")]
    pub block_reason: Option<String>,
    #[serde(alias = "block_reason_message", skip_serializing_if = "Option::is_none")]
    pub block_reason_message: Option<String>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GroundingMetadata {
    #[serde(alias = "grounding_chunks", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub grounding_chunks: Vec<GroundingChunk>,
    #[serde(alias = "grounding_supports", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub grounding_supports: Vec<GroundingSupport>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GroundingChunk {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web: Option<WebChunk>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WebChunk {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(flatten)]
    pub rest: Object,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GroundingSupport {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment: Option<Segment>,
    #[serde(alias = "grounding_chunk_indices", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub grounding_chunk_indices: Vec<usize>,
    #[serde(flatten)]
    pub rest: Object,
}

/// A piece of the answer; the indices count UTF-8 bytes of one part's text.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Segment {
    #[serde(alias = "part_index", deserialize_with = "integer", skip_serializing_if = "Option::is_none")]
    pub part_index: Option<i64>,
    #[serde(alias = "start_index", deserialize_with = "integer", skip_serializing_if = "Option::is_none")]
    pub start_index: Option<i64>,
    #[serde(alias = "end_index", deserialize_with = "integer", skip_serializing_if = "Option::is_none")]
    pub end_index: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(flatten)]
    pub rest: Object,
}

/// Enum numbers of `Candidate.FinishReason`: an upstream asked for integer enums writes these (seen on Vertex).
const FINISH_REASON_NAMES: [&str; 12] = [
    "FINISH_REASON_UNSPECIFIED",
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
    "IMAGE_SAFETY",
    "UNEXPECTED_TOOL_CALL",
];

fn finish_reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(name) => Some(name.to_ascii_uppercase()),
        Value::Number(number) => {
            let name = number.as_u64().and_then(|n| FINISH_REASON_NAMES.get(usize::try_from(n).ok()?));
            Some(name.map_or_else(|| number.to_string(), |name| (*name).to_owned()))
        }
        _ => None,
    })
}

/// A list, one element of it, or null.
pub(super) fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(Vec::new()),
        Value::Array(values) => values
            .into_iter()
            .enumerate()
            .map(|(i, value)| serde_json::from_value(value).map_err(|error| D::Error::custom(format_args!("[{i}]: {error}"))))
            .collect(),
        one => serde_json::from_value(one).map(|one| vec![one]).map_err(D::Error::custom),
    }
}

/// A number, a number as text (protobuf's int64), or null.
pub(super) fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64))
            .map(Some)
            .ok_or_else(|| D::Error::custom(format_args!("`{number}` is not a whole number"))),
        Value::String(text) => {
            text.parse().map(Some).map_err(|_| D::Error::custom(format_args!("`{text}` is not a whole number")))
        }
        other => Err(D::Error::custom(format_args!("expected a whole number, found `{other}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_single_objects_nulls_and_textual_integers_read_the_same() {
        let camel: GenerateContent = serde_json::from_str(
            r#"{"systemInstruction":{"parts":[{"text":"s"}]},"contents":[{"role":"user","parts":[{"inlineData":{"mimeType":"image/png","data":"AA=="}}]}],
                "tools":[{"functionDeclarations":[{"name":"f","parametersJsonSchema":{"some_key":1}}]}],
                "generationConfig":{"maxOutputTokens":7,"topK":40}}"#,
        )
        .unwrap();
        let snake: GenerateContent = serde_json::from_str(
            r#"{"system_instruction":{"parts":{"text":"s"}},"contents":{"role":"user","parts":[{"inline_data":{"mime_type":"image/png","data":"AA=="}}]},
                "tools":{"function_declarations":[{"name":"f","parameters_json_schema":{"some_key":1}}]},"tool_config":null,
                "generation_config":{"max_output_tokens":"7","top_k":40.0}}"#,
        )
        .unwrap();
        assert_eq!(camel, snake);
        assert_eq!(camel.tools[0].function_declarations[0].parameters_json_schema, Some(serde_json::json!({"some_key": 1})));
    }

    #[test]
    fn unknown_fields_survive() {
        let text = r#"{"text":"x","thoughtSignature":"c2ln","mediaResolution":{"level":"HIGH"}}"#;
        let part: Part = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&part).unwrap(), text);
    }

    #[test]
    fn a_finish_reason_may_be_an_enum_number() {
        let candidate: Candidate = serde_json::from_str(r#"{"finishReason":1}"#).unwrap();
        assert_eq!(candidate.finish_reason.as_deref(), Some("STOP"));
        let unknown: Candidate = serde_json::from_str(r#"{"finishReason":"FOO"}"#).unwrap();
        assert_eq!(unknown.finish_reason.as_deref(), Some("FOO"));
    }
}
