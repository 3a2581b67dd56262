//! Gemini's side.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::vector::{Encoding, encoded};
use super::{Request, input_usage};
use crate::answer::ReadAnswer;
use crate::failure::{BadRequest, InvalidAnswer};
use crate::ir::{Object, UsageReport};
use crate::loss::LossReport;
use crate::tap::Tap;

#[derive(Deserialize)]
struct Batch {
    #[serde(default)]
    requests: Vec<One>,
}

#[derive(Deserialize)]
struct One {
    content: Option<Content>,
    #[serde(alias = "taskType")]
    task_type: Option<String>,
    title: Option<String>,
    #[serde(alias = "outputDimensionality")]
    output_dimensionality: Option<u64>,
    #[serde(flatten)]
    other: Object,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    parts: Vec<Object>,
}

pub(super) fn decode(body: &[u8], batch: bool, loss: &mut LossReport) -> Result<Request, BadRequest> {
    let unreadable = |error| BadRequest::malformed(format!("The request body is not an embedding request: {error}."));
    let requests = if batch {
        serde_json::from_slice::<Batch>(body).map_err(unreadable)?.requests
    } else {
        vec![serde_json::from_slice::<One>(body).map_err(unreadable)?]
    };
    let mut request = Request::default();
    for (position, one) in requests.into_iter().enumerate() {
        let path = |field: &str| if batch { format!("requests[{position}].{field}") } else { field.to_owned() };
        request.texts.push(text(one.content, &path("content"))?);
        for (field, value) in &one.other {
            if field != "model" && !value.is_null() {
                loss.dropped(path(field), "the upstream has no such field");
            }
        }
        if position == 0 {
            request.dimensions = one.output_dimensionality;
        } else if request.dimensions != one.output_dimensionality {
            let message = "All requests of one batch must ask for the same `outputDimensionality` at this model's upstream.";
            return Err(BadRequest::unsupported_value(path("outputDimensionality"), message));
        }
        request.task_type = request.task_type.or(one.task_type);
        request.title = request.title.or(one.title);
    }
    if request.texts.is_empty() {
        return Err(BadRequest::invalid("requests", "`requests` is missing or empty: send at least one content."));
    }
    Ok(request)
}

fn text(content: Option<Content>, path: &str) -> Result<String, BadRequest> {
    let mut text = String::new();
    for (position, part) in content.into_iter().flat_map(|content| content.parts).enumerate() {
        let Some(Value::String(piece)) = part.get("text") else {
            let message = "Only text can be embedded by this model's upstream.";
            return Err(BadRequest::unsupported(format!("{path}.parts[{position}]"), message));
        };
        text.push_str(piece);
    }
    if text.is_empty() {
        return Err(BadRequest::invalid(path, "The content has no text to embed."));
    }
    Ok(text)
}

pub(super) fn encode(request: &Request, model: &str) -> Bytes {
    let one = |text: &String| {
        let mut one = json!({ "model": name(model), "content": { "parts": [{ "text": text }] } });
        if let Some(dimensions) = request.dimensions {
            one["outputDimensionality"] = dimensions.into();
        }
        if let Some(task) = &request.task_type {
            one["taskType"] = task.to_uppercase().into();
        }
        if let Some(title) = &request.title {
            one["title"] = title.as_str().into();
        }
        one
    };
    let requests: Vec<Value> = request.texts.iter().map(one).collect();
    json!({ "requests": requests }).to_string().into()
}

/// Gemini to Gemini: the model is named in the body too.
pub(super) fn renamed(body: &Bytes, model: &str) -> Result<Bytes, BadRequest> {
    let mut asked: Object = serde_json::from_slice(body)
        .map_err(|error| BadRequest::malformed(format!("The request body is not an embedding request: {error}.")))?;
    let mut has_name = rename(&mut asked, model);
    for one in asked.get_mut("requests").and_then(Value::as_array_mut).into_iter().flatten() {
        has_name |= one.as_object_mut().is_some_and(|one| rename(one, model));
    }
    Ok(if has_name { Value::Object(asked).to_string().into() } else { body.clone() })
}

fn rename(asked: &mut Object, model: &str) -> bool {
    asked.get_mut("model").map(|known| *known = name(model).into()).is_some()
}

fn name(model: &str) -> String {
    format!("models/{}", model.strip_prefix("models/").unwrap_or(model))
}

/// What Gemini tells of the input; the older models tell nothing.
fn usage(answer: &Value) -> Option<UsageReport> {
    let told = answer.get("usageMetadata")?;
    let tokens = told.get("promptTokenCount").or_else(|| told.get("totalTokenCount"))?.as_u64()?;
    Some(input_usage(tokens, told.to_string()))
}

#[derive(Debug)]
pub(super) struct Passing;

impl ReadAnswer for Passing {
    fn read(&self, body: Bytes, tap: &mut Tap) -> Result<Bytes, InvalidAnswer> {
        let answer: Value = serde_json::from_slice(&body).map_err(|error| InvalidAnswer(error.to_string()))?;
        tap.usage = usage(&answer);
        Ok(body)
    }
}

/// Gemini's answer for an OpenAI client.
#[derive(Debug)]
pub(super) struct ToOpenAi {
    pub encoding: Encoding,
    pub count: usize,
    pub model: String,
    pub input_estimate: u64,
}

impl ReadAnswer for ToOpenAi {
    fn read(&self, body: Bytes, tap: &mut Tap) -> Result<Bytes, InvalidAnswer> {
        let mut answer: Value = serde_json::from_slice(&body).map_err(|error| InvalidAnswer(error.to_string()))?;
        tap.usage = usage(&answer);
        let vectors = answer.get_mut("embeddings").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        if vectors.len() != self.count {
            return Err(InvalidAnswer(format!("{} embeddings came for {} texts", vectors.len(), self.count)));
        }
        let mut data = Vec::with_capacity(vectors.len());
        for (index, mut vector) in vectors.into_iter().enumerate() {
            let values = vector.get_mut("values").map(Value::take).unwrap_or_default();
            let embedding = encoded(values, self.encoding)?;
            data.push(json!({ "object": "embedding", "index": index, "embedding": embedding }));
        }
        let tokens = tap.usage.as_ref().map_or(self.input_estimate, |told| told.usage.input_total());
        let said = json!({
            "object": "list",
            "data": data,
            "model": self.model,
            "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
        });
        Ok(said.to_string().into())
    }
}
