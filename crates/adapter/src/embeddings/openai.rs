//! OpenAI's side.

use bytes::Bytes;
use memchr::memmem;
use serde::Deserialize;
use serde_json::{Value, json};
use tallygate_types::Dialect;

use super::vector::{Encoding, encoded};
use super::{Request, input_usage};
use crate::answer::ReadAnswer;
use crate::dispatch::codec;
use crate::failure::{BadRequest, InvalidAnswer};
use crate::ir::Object;
use crate::loss::LossReport;
use crate::tap::Tap;

/// Most texts in one request.
const MAX_INPUTS: usize = 2_048;

#[derive(Deserialize)]
struct Body {
    input: Option<Value>,
    dimensions: Option<u64>,
    encoding_format: Option<String>,
    #[serde(alias = "taskType")]
    task_type: Option<String>,
    title: Option<String>,
    #[serde(flatten)]
    other: Object,
}

/// The form in which the client wants its vectors; OpenAI's default is numbers.
pub(super) fn encoding(body: &[u8]) -> Result<Encoding, BadRequest> {
    #[derive(Deserialize)]
    struct Asked {
        encoding_format: Option<String>,
    }
    let asked: Asked = serde_json::from_slice(body)
        .map_err(|error| BadRequest::malformed(format!("The request body is not an embeddings request: {error}.")))?;
    encoding_named(asked.encoding_format.as_deref())
}

fn encoding_named(name: Option<&str>) -> Result<Encoding, BadRequest> {
    match name {
        None | Some("float") => Ok(Encoding::Float),
        Some("base64") => Ok(Encoding::Base64),
        Some(_) => Err(BadRequest::invalid("encoding_format", "`encoding_format` is either `float` or `base64`.")),
    }
}

pub(super) fn decode(body: &[u8], loss: &mut LossReport) -> Result<(Request, Encoding), BadRequest> {
    let body: Body = serde_json::from_slice(body)
        .map_err(|error| BadRequest::malformed(format!("The request body is not an embeddings request: {error}.")))?;
    let malformed = || BadRequest::invalid("input", "`input` must be a string or a list of strings.");
    let input = body.input.filter(|input| !input.is_null()).ok_or_else(|| BadRequest {
        code: "missing_required_parameter",
        ..BadRequest::invalid("input", "`input` is missing: send the text to embed.")
    })?;
    let texts = match input {
        Value::String(text) => vec![text],
        Value::Array(items) if items.iter().any(|item| item.is_number() || item.is_array()) => {
            return Err(BadRequest::unsupported_value(
                "input",
                "`input` holds token ids, which only OpenAI's models understand, and this model is served by another vendor: \
                 send text. (LangChain: `check_embedding_ctx_length=False`.)",
            ));
        }
        Value::Array(items) => {
            let texts = items.into_iter().map(|item| if let Value::String(text) = item { Ok(text) } else { Err(malformed()) });
            texts.collect::<Result<_, _>>()?
        }
        _ => return Err(malformed()),
    };
    if texts.is_empty() || texts.len() > MAX_INPUTS {
        return Err(BadRequest::invalid("input", format!("`input` must hold between 1 and {MAX_INPUTS} texts.")));
    }
    if let Some(at) = texts.iter().position(String::is_empty) {
        return Err(BadRequest::invalid(format!("input[{at}]"), "An empty text cannot be embedded."));
    }
    for (field, _) in body.other.iter().filter(|(field, value)| *field != "model" && !value.is_null()) {
        loss.dropped(field.clone(), "the upstream has no such field");
    }
    let encoding = encoding_named(body.encoding_format.as_deref())?;
    Ok((Request { texts, dimensions: body.dimensions, task_type: body.task_type, title: body.title }, encoding))
}

pub(super) fn encode(request: &Request, model: &str, loss: &mut LossReport) -> Bytes {
    let mut body = json!({ "model": model, "input": request.texts, "encoding_format": "float" });
    if let Some(dimensions) = request.dimensions {
        body["dimensions"] = dimensions.into();
    }
    if request.task_type.is_some() {
        loss.dropped("taskType", "the upstream's embeddings know no task");
    }
    if request.title.is_some() {
        loss.dropped("title", "the upstream's embeddings know no title");
    }
    body.to_string().into()
}

/// OpenAI to OpenAI: the answer passes, but in the form that was asked for.
#[derive(Debug)]
pub(super) struct Passing {
    pub encoding: Encoding,
}

impl ReadAnswer for Passing {
    fn read(&self, body: Bytes, tap: &mut Tap) -> Result<Bytes, InvalidAnswer> {
        (codec(Dialect::OpenaiChat).tap_answer)(&body, tap).map_err(|failure| InvalidAnswer(failure.to_string()))?;
        if encoding_of_answer(&body).is_none_or(|encoding| encoding == self.encoding) {
            return Ok(body);
        }
        let mut answer: Value = serde_json::from_slice(&body).map_err(|error| InvalidAnswer(error.to_string()))?;
        for item in answer.get_mut("data").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(vector) = item.get_mut("embedding") {
                // A vendor's own bytes are between it and its client.
                let Ok(said) = encoded(vector.take(), self.encoding) else { return Ok(body) };
                *vector = said;
            }
        }
        Ok(answer.to_string().into())
    }
}

/// The form of the first vector; all have the same. The word is also a value (`"object":"embedding"`), without a colon.
fn encoding_of_answer(body: &[u8]) -> Option<Encoding> {
    const KEY: &[u8] = b"\"embedding\"";
    memmem::find_iter(body, KEY).find_map(|at| {
        let mut rest = body[at + KEY.len()..].iter().filter(|byte| !byte.is_ascii_whitespace());
        match (rest.next()?, rest.next()?) {
            (b':', b'[') => Some(Encoding::Float),
            (b':', b'"') => Some(Encoding::Base64),
            _ => None,
        }
    })
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
    model: Option<String>,
    usage: Option<Value>,
}

#[derive(Deserialize)]
struct Item {
    index: Option<usize>,
    embedding: Value,
}

/// An OpenAI upstream's answer for a Gemini client.
#[derive(Debug)]
pub(super) struct ToGemini {
    pub batch: bool,
    pub count: usize,
}

impl ReadAnswer for ToGemini {
    fn read(&self, body: Bytes, tap: &mut Tap) -> Result<Bytes, InvalidAnswer> {
        let mut answer: Answer = serde_json::from_slice(&body).map_err(|error| InvalidAnswer(error.to_string()))?;
        if answer.data.len() != self.count {
            return Err(InvalidAnswer(format!("{} embeddings came for {} texts", answer.data.len(), self.count)));
        }
        answer.data.sort_by_key(|item| item.index.unwrap_or(usize::MAX));
        let vectors = answer.data.into_iter().map(|item| Ok(json!({ "values": encoded(item.embedding, Encoding::Float)? })));
        let mut vectors = vectors.collect::<Result<Vec<Value>, InvalidAnswer>>()?;
        tap.model = answer.model;
        let tokens = answer.usage.as_ref().and_then(|usage| usage.get("prompt_tokens")?.as_u64());
        tap.usage = tokens.zip(answer.usage.as_ref()).map(|(tokens, raw)| input_usage(tokens, raw.to_string()));
        let mut said = if self.batch { json!({ "embeddings": vectors }) } else { json!({ "embedding": vectors.swap_remove(0) }) };
        if let Some(tokens) = tokens {
            said["usageMetadata"] = json!({ "promptTokenCount": tokens });
        }
        Ok(said.to_string().into())
    }
}
