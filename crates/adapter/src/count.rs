//! Counting the tokens of a request without generating: Anthropic's `/v1/messages/count_tokens`, Gemini's `:countTokens`,
//! OpenAI's `/v1/responses/input_tokens`.
//!
//! The client's body becomes the body of the upstream's counter, by way of the form between where the dialects differ.
//! Where an upstream has no counter the count is estimated from the same form.

use bytes::Bytes;
use serde_json::{Value, json};
use tallygate_types::Dialect;

use crate::answer::{ReadAnswer, Session};
use crate::call::{Outgoing, model_edit, passed_headers, refuse_loss};
use crate::context::ResponseContext;
use crate::dispatch::codec;
use crate::failure::{BadRequest, InvalidAnswer};
use crate::ir::{Object, Part, PartKind, Request, Source, Tool};
use crate::keepsake::{self, Memory, Origin};
use crate::loss::LossReport;
use crate::names::Restore;
use crate::peek::Peek;
use crate::pieces::Pieces;
use crate::profile::Profiles;
use crate::tap::Tap;

/// Bytes of text counted as one token in an estimate.
pub(crate) const BYTES_PER_TOKEN: u64 = 4;
/// What frames a message, in tokens.
const TOKENS_PER_TURN: u64 = 3;
/// A large image at the vendors' rates, in tokens.
const TOKENS_PER_IMAGE: u64 = 1_500;
/// Base64 of a document or a recording that makes one token: a page of 100 kB is about 1,500 tokens.
const MEDIA_BYTES_PER_TOKEN: u64 = 90;

/// Fields that Anthropic's counter takes; it refuses others.
const ANTHROPIC_FIELDS: [&str; 10] = [
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "cache_control",
    "mcp_servers",
    "context_management",
];
/// Fields that OpenAI's counter takes.
const RESPONSES_FIELDS: [&str; 10] = [
    "model",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "text",
    "truncation",
    "personality",
];
/// What may stand beside `contents` in Gemini's `generateContentRequest`; safety settings are refused there.
const GEMINI_FIELDS: [&str; 5] = ["contents", "systemInstruction", "tools", "toolConfig", "generationConfig"];

/// Everything one counting depends on.
#[derive(Debug, Clone, Copy)]
pub struct CountCall<'a> {
    pub client: Dialect,
    /// The dialect of the upstream's counter: OpenAI's speaks Responses, also for upstreams that are used by chat.
    pub counter: Dialect,
    pub upstream_model: &'a str,
    pub peek: &'a Peek,
    pub profiles: &'a Profiles,
    /// What earlier answers to this tenant left behind: what would be sent is what is counted.
    pub memory: &'a dyn Memory,
    /// Refuse with 400 what could not be said exactly.
    pub strict: bool,
}

/// Makes the request to the upstream's counter. `client_headers` have lower-case names.
pub fn prepare_count(call: &CountCall<'_>, body: &Bytes, client_headers: &[(String, String)]) -> Result<Outgoing, BadRequest> {
    let codec = codec(call.counter);
    let mut loss = LossReport::default();
    let is_native = call.client == call.counter;
    let (body, headers) =
        if is_native { (native(call, body)?, passed_headers(codec, client_headers)) } else { translated(call, body, &mut loss)? };
    if call.strict {
        refuse_loss(&loss)?;
    }
    let path = match call.counter {
        Dialect::Anthropic => "/v1/messages/count_tokens".into(),
        Dialect::Gemini => (codec.path)(call.upstream_model, false).replace(":generateContent", ":countTokens").into(),
        Dialect::OpenaiChat | Dialect::OpenaiResponses => "/v1/responses/input_tokens".into(),
    };
    let reader = CountReader { client: call.client, counter: call.counter };
    let session = Session::reading(call.client, call.counter, ResponseContext::unused(), Box::new(reader), loss.clone());
    Ok(Outgoing { path, headers, body, loss, session: Box::new(session) })
}

/// An estimate of the request's tokens, at least one, in the client's dialect.
pub fn estimate_count(client: Dialect, body: &[u8]) -> Result<Bytes, BadRequest> {
    let request = decode(client, body, &mut LossReport::default())?;
    Ok(said(client, tokens(&request)))
}

/// The client's own body, with the upstream's name of the model.
fn native(call: &CountCall<'_>, body: &Bytes) -> Result<Pieces, BadRequest> {
    if call.client != Dialect::Gemini {
        return Ok(Pieces::spliced(body, model_edit(call.upstream_model, call.peek).into_iter().collect()));
    }
    let mut asked: Object = object(body)?;
    for field in ["generateContentRequest", "generate_content_request"] {
        if let Some(Value::Object(inner)) = asked.get_mut(field) {
            inner.insert("model".into(), gemini_name(call.upstream_model));
            return Ok(Value::Object(asked).to_string().into_bytes().into());
        }
    }
    Ok(body.clone().into())
}

type Headers = Vec<(&'static str, String)>;

fn translated(call: &CountCall<'_>, body: &Bytes, loss: &mut LossReport) -> Result<(Pieces, Headers), BadRequest> {
    let codec = codec(call.counter);
    let mut request = decode(call.client, body, loss)?;
    call.upstream_model.clone_into(&mut request.model);
    request.stream = false;
    keepsake::restore(&mut request, call.memory, &Origin::new(call.counter, call.upstream_model), loss);
    let _ = Restore::prepare(&mut request, codec.names, call.profiles, loss);
    let mut asked: Object = object(&codec.request_body(call.client, &request, call.profiles, loss)?)?;
    let headers = codec.translated_headers(&request, call.profiles);
    let fields: &[&str] = match call.counter {
        Dialect::Anthropic => &ANTHROPIC_FIELDS,
        Dialect::Gemini => &GEMINI_FIELDS,
        Dialect::OpenaiChat | Dialect::OpenaiResponses => &RESPONSES_FIELDS,
    };
    asked.retain(|field, _| fields.contains(&field.as_str()));
    if call.counter == Dialect::Gemini {
        asked.insert("model".into(), gemini_name(call.upstream_model));
        return Ok((json!({ "generateContentRequest": asked }).to_string().into_bytes().into(), headers));
    }
    Ok((Value::Object(asked).to_string().into_bytes().into(), headers))
}

/// Gemini's contents may stand alone or in a whole request.
fn decode(client: Dialect, body: &[u8], loss: &mut LossReport) -> Result<Request, BadRequest> {
    if client == Dialect::Gemini {
        let mut asked: Object = object(body)?;
        for field in ["generateContentRequest", "generate_content_request"] {
            if let Some(inner) = asked.remove(field) {
                return (codec(client).decode_request)(inner.to_string().as_bytes(), loss);
            }
        }
    }
    (codec(client).decode_request)(body, loss)
}

fn object(body: &[u8]) -> Result<Object, BadRequest> {
    serde_json::from_slice(body)
        .map_err(|error| BadRequest::malformed(format!("The request body is not a JSON object: {error}.")))
}

fn gemini_name(model: &str) -> Value {
    format!("models/{}", model.strip_prefix("models/").unwrap_or(model)).into()
}

fn said(client: Dialect, count: u64) -> Bytes {
    match client {
        Dialect::Anthropic => json!({ "input_tokens": count }),
        Dialect::Gemini => json!({ "totalTokens": count }),
        Dialect::OpenaiChat | Dialect::OpenaiResponses => json!({ "object": "response.input_tokens", "input_tokens": count }),
    }
    .to_string()
    .into()
}

#[derive(Debug)]
struct CountReader {
    client: Dialect,
    counter: Dialect,
}

impl ReadAnswer for CountReader {
    fn read(&self, body: Bytes, _: &mut Tap) -> Result<Bytes, InvalidAnswer> {
        let answer: Value = serde_json::from_slice(&body).map_err(|error| InvalidAnswer(error.to_string()))?;
        let field = if self.counter == Dialect::Gemini { "totalTokens" } else { "input_tokens" };
        // Gemini leaves a zero out, and may write a number as text.
        let count = match answer.get(field) {
            Some(Value::Number(count)) => count.as_u64(),
            Some(Value::String(count)) => count.parse().ok(),
            None if self.counter == Dialect::Gemini && answer.is_object() => Some(0),
            _ => None,
        };
        let count = count.ok_or_else(|| InvalidAnswer(format!("`{field}` is missing")))?;
        Ok(if self.client == self.counter { body } else { said(self.client, count) })
    }
}

/// The estimate: text by its length, turns by their number, media by what they show.
fn tokens(request: &Request) -> u64 {
    let mut sum = Sum::default();
    sum.parts(&request.system);
    for turn in &request.turns {
        sum.tokens += TOKENS_PER_TURN;
        sum.parts(&turn.parts);
    }
    for tool in &request.tools {
        match tool {
            Tool::Function(function) => {
                sum.text(&function.name);
                sum.text(function.description.as_deref().unwrap_or_default());
                sum.bytes += function.parameters.as_ref().map_or(0, |schema| schema.to_string().len() as u64);
            }
            Tool::Custom { name, description, format } => {
                sum.text(name);
                sum.text(description.as_deref().unwrap_or_default());
                sum.bytes += format.as_ref().map_or(0, |format| format.to_string().len() as u64);
            }
            Tool::Builtin { value, .. } => sum.bytes += value.to_string().len() as u64,
        }
    }
    (sum.tokens + sum.bytes.div_ceil(BYTES_PER_TOKEN)).max(1)
}

#[derive(Default)]
struct Sum {
    tokens: u64,
    bytes: u64,
}

impl Sum {
    fn text(&mut self, text: &str) {
        self.bytes += text.len() as u64;
    }

    fn parts(&mut self, parts: &[Part]) {
        for part in parts {
            match &part.kind {
                PartKind::Text(text) => self.text(&text.text),
                PartKind::Refusal(text) => self.text(text),
                PartKind::Reasoning(reasoning) => self.text(&reasoning.text),
                PartKind::ToolCall(call) => {
                    self.text(&call.name);
                    self.text(&call.arguments);
                }
                PartKind::ToolResult(result) => self.parts(&result.content),
                PartKind::Image(_) => self.tokens += TOKENS_PER_IMAGE,
                PartKind::Audio(media) | PartKind::Video(media) => self.source(&media.source),
                PartKind::Document(document) => self.source(&document.source),
                PartKind::Extension { value, .. } => self.bytes += value.to_string().len() as u64,
            }
        }
    }

    fn source(&mut self, source: &Source) {
        match source {
            Source::Data { base64, .. } => self.tokens += (base64.len() as u64).div_ceil(MEDIA_BYTES_PER_TOKEN),
            Source::Text(text) => self.text(text),
            Source::Parts(parts) => self.parts(parts),
            Source::Url { .. } | Source::File { .. } => self.tokens += TOKENS_PER_IMAGE,
        }
    }
}
