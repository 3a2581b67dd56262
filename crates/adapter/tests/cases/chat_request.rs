//! Bodies of Chat Completions clients, and pieces of them.

use serde_json::{Value, json};
use tallygate_types::Dialect;

use crate::support::{To, to};

pub const HAIKU: To<'_> = claude("claude-haiku-4-5");

/// A chat client before an Anthropic upstream.
pub const fn claude(model: &str) -> To<'_> {
    to(Dialect::OpenaiChat, Dialect::Anthropic, model)
}

pub fn chat(messages: Value) -> Value {
    json!({"model": "smart", "max_completion_tokens": 100, "messages": messages})
}

/// A user's "x" with more fields beside it.
pub fn with(fields: Value) -> Value {
    let mut body = chat(json!([{"role": "user", "content": "x"}]));
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

/// A function without anything but its name.
pub fn function(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name}})
}

pub fn call(id: &str, name: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

/// A part of text, in either dialect.
pub fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

pub fn image(url: &str) -> Value {
    json!({"type": "image_url", "image_url": {"url": url}})
}

pub const PNG: &str = "iVBORw0KGgoAAAANSUhEUg==";
pub const JPEG: &str = "/9j/4AAQSkZJRgABAQ==";
pub const PDF: &str = "JVBERi0xLjQKJcOkw7w=";
