//! The pieces of a response object the gateway composes: every field OpenAI's document demands, and the ids.

use serde_json::{Value, json};
use tallygate_types::Usage;

use super::super::{substitutes::Substitute, usage};
use crate::context::ResponseContext;
use crate::ir::{Citation, ClientTool, Object, ToolKind};

/// What a response repeats when its request is not known.
fn defaults() -> Object {
    let fields = json!({
        "instructions": null, "max_output_tokens": null, "max_tool_calls": null, "metadata": {}, "parallel_tool_calls": true,
        "prompt_cache_key": null, "reasoning": { "effort": null, "summary": null }, "safety_identifier": null, "temperature": 1.0,
        "text": { "format": { "type": "text" } }, "tool_choice": "auto", "tools": [], "top_logprobs": 0, "top_p": 1.0,
        "truncation": "disabled",
    });
    if let Value::Object(fields) = fields { fields } else { Object::new() }
}

/// How a response stands.
pub(super) struct Standing<'a> {
    pub status: &'static str,
    pub error: Value,
    pub incomplete_reason: Option<&'static str>,
    pub output: Vec<Value>,
    pub usage: Option<&'a Usage>,
}

impl Standing<'_> {
    pub fn in_progress() -> Self {
        Self { status: "in_progress", error: Value::Null, incomplete_reason: None, output: Vec::new(), usage: None }
    }
}

pub(super) fn response(context: &ResponseContext, standing: Standing<'_>) -> Value {
    let mut fields = Object::new();
    fields.insert("id".into(), format!("resp_{}", base_id(context)).into());
    fields.insert("object".into(), "response".into());
    fields.insert("created_at".into(), context.created_at.seconds().into());
    fields.insert("status".into(), standing.status.into());
    fields.insert("background".into(), false.into());
    fields.insert("error".into(), standing.error);
    fields.insert(
        "incomplete_details".into(),
        standing.incomplete_reason.map_or(Value::Null, |reason| json!({ "reason": reason })),
    );
    fields.insert("model".into(), context.client_model.as_str().into());
    fields.insert("output".into(), standing.output.into());
    fields.insert("previous_response_id".into(), Value::Null);
    fields.insert("store".into(), false.into());
    if let Some(usage) = standing.usage {
        fields.insert("usage".into(), serde_json::to_value(usage::encode(usage)).unwrap_or_default());
    }
    for (name, value) in defaults() {
        fields.insert(name, value);
    }
    for (name, value) in &context.echo {
        fields.insert(name.clone(), value.clone());
    }
    Value::Object(fields)
}

/// Our request id without its prefix.
fn base_id(context: &ResponseContext) -> &str {
    ["req_", "resp_"].iter().find_map(|prefix| context.response_id.strip_prefix(prefix)).unwrap_or(&context.response_id)
}

/// The same request always gets the same ids.
pub(super) fn item_id(context: &ResponseContext, prefix: &str, output_index: usize) -> String {
    format!("{prefix}_{}{output_index:02x}", base_id(context))
}

pub(super) fn output_text(text: &str, annotations: &[Value], logprobs: &[Value]) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs })
}

pub(super) fn refusal(text: &str) -> Value {
    json!({ "type": "refusal", "refusal": text })
}

pub(super) fn message(id: &str, status: &str, content: &[Value]) -> Value {
    json!({ "id": id, "type": "message", "status": status, "role": "assistant", "content": content })
}

pub(super) fn reasoning(id: &str, text: &str, encrypted: Option<&str>) -> Value {
    let summary: Vec<Value> = (!text.is_empty()).then(|| json!({ "type": "summary_text", "text": text })).into_iter().collect();
    let mut item = json!({ "id": id, "type": "reasoning", "summary": summary });
    if let Some(encrypted) = encrypted {
        item["encrypted_content"] = encrypted.into();
    }
    item
}

/// A call under the name it travelled by.
pub(super) struct CallItem<'a> {
    pub id: &'a str,
    pub call_id: &'a str,
    pub name: &'a str,
    pub kind: ToolKind,
}

/// The item, as the client declared its tool.
pub(super) fn call(context: &ResponseContext, call: &CallItem<'_>, arguments: &str, status: &str) -> Value {
    if let Some(substitute) = substitute(context, call.name) {
        return substitute.item(call.id, call.call_id, arguments, status);
    }
    let (kind, body) = match call.kind {
        ToolKind::Function => ("function_call", "arguments"),
        ToolKind::Custom => ("custom_tool_call", "input"),
    };
    let mut item = json!({ "id": call.id, "type": kind, "status": status, "call_id": call.call_id });
    let (namespace, name) = client_name(context, call.name);
    item["name"] = name.into();
    item[body] = arguments.into();
    if let Some(namespace) = namespace {
        item["namespace"] = namespace.into();
    }
    item
}

/// What the function stands for, if it is no function to the client.
pub(super) fn substitute(context: &ResponseContext, flat: &str) -> Option<Substitute> {
    context.client_tools.get(flat).and_then(Substitute::of_client_tool)
}

/// Namespace and name as the client knows them.
pub(super) fn client_name<'a>(context: &'a ResponseContext, flat: &'a str) -> (Option<&'a str>, &'a str) {
    match context.client_tools.get(flat) {
        Some(ClientTool::Namespaced { namespace, name }) => (Some(namespace), name),
        _ => (None, flat),
    }
}

/// Only what has a URL can be said: the other kinds of annotation name files the client does not have.
pub(super) fn annotation(citation: &Citation) -> Option<Value> {
    let url = citation.url.as_deref()?;
    Some(json!({
        "type": "url_citation",
        "start_index": citation.start.unwrap_or(0),
        "end_index": citation.end.unwrap_or(0),
        "title": citation.title.as_deref().unwrap_or_default(),
        "url": url,
    }))
}
