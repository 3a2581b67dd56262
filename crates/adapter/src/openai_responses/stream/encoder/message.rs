//! Messages: items made of text and refusals.

use serde_json::{Value, json};

use super::super::super::carrier;
use super::super::output;
use super::{DeltaEvent, Encoder};
use crate::ir::{Delta, Signature, Vendor};

pub(super) struct Message {
    pub index: usize,
    pub id: String,
    pub is_open: bool,
    pub done: Vec<Value>,
    /// The content part in work, and its number in the candidate.
    pub content: Option<Content>,
    /// Of its last text, said in an item of its own behind it.
    signature: Option<Signature>,
}

pub(super) struct Content {
    pub part: u32,
    is_refusal: bool,
    pub is_open: bool,
    text: String,
    annotations: Vec<Value>,
    logprobs: Vec<Value>,
}

impl Encoder {
    pub(super) fn open_content(&mut self, part: u32, is_refusal: bool, out: &mut Vec<u8>) {
        self.close_content(out);
        self.release_held(out);
        if self.message.as_ref().is_none_or(|message| message.signature.is_some()) {
            self.close_ended(out);
            self.message =
                Some(Message { index: 0, id: String::new(), is_open: false, done: Vec::new(), content: None, signature: None });
        }
        if let Some(message) = &mut self.message {
            message.content = Some(Content {
                part,
                is_refusal,
                is_open: false,
                text: String::new(),
                annotations: Vec::new(),
                logprobs: Vec::new(),
            });
        }
    }

    /// Says that the message and its content part begin, if that was not said.
    pub(super) fn announce_content(&mut self, out: &mut Vec<u8>) {
        let Some(mut message) = self.message.take() else { return };
        if !message.is_open {
            message.is_open = true;
            (message.index, message.id) = self.next_item("msg");
            self.add(message.index, output::message(&message.id, "in_progress", &[]), out);
        }
        if let Some(content) = message.content.as_mut().filter(|content| !content.is_open) {
            content.is_open = true;
            let part = if content.is_refusal { output::refusal("") } else { output::output_text("", &[], &[]) };
            self.has_refusal |= content.is_refusal;
            let fields = json!({ "item_id": message.id, "output_index": message.index, "content_index": message.done.len(), "part": part });
            self.emit("response.content_part.added", fields, out);
        }
        self.message = Some(message);
    }

    pub(super) fn content_delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        if let Delta::Text(text) = delta
            && text.is_empty()
        {
            return;
        }
        if matches!(delta, Delta::Text(_)) {
            self.announce_content(out);
        }
        let Some(mut message) = self.message.take() else { return };
        let content_index = message.done.len();
        if let Some(content) = &mut message.content {
            match delta {
                Delta::Text(text) => {
                    content.text.push_str(text);
                    let event = DeltaEvent {
                        kind: if content.is_refusal { "response.refusal.delta" } else { "response.output_text.delta" },
                        sequence_number: 0,
                        item_id: &message.id,
                        output_index: message.index,
                        content_index: Some(content_index),
                        summary_index: None,
                        delta: text,
                        logprobs: (!content.is_refusal).then_some([]),
                    };
                    self.emit_delta(event, out);
                }
                Delta::Citation(citation) if content.is_open => {
                    if let Some(annotation) = output::annotation(citation) {
                        let fields = json!({
                            "item_id": message.id, "output_index": message.index, "content_index": content_index,
                            "annotation_index": content.annotations.len(), "annotation": &annotation,
                        });
                        self.emit("response.output_text.annotation.added", fields, out);
                        content.annotations.push(annotation);
                    }
                }
                Delta::Logprobs(logprobs) => {
                    content.logprobs.extend(logprobs["content"].as_array().into_iter().flatten().filter_map(logprob));
                }
                // An item behind the message disturbs clients that take the last for the answer: only for those that ask.
                Delta::Signature(signature) if self.context.carries_reasoning && signature.vendor == Vendor::Google => {
                    message.signature = Some(signature.clone());
                }
                Delta::Citation(_) | Delta::Arguments(_) | Delta::Signature(_) => {}
            }
        }
        self.message = Some(message);
    }

    pub(super) fn close_content(&mut self, out: &mut Vec<u8>) {
        let Some(mut message) = self.message.take() else { return };
        if let Some(content) = message.content.take().filter(|content| content.is_open) {
            let place = json!({ "item_id": message.id, "output_index": message.index, "content_index": message.done.len() });
            let (part, kind, field) = if content.is_refusal {
                (output::refusal(&content.text), "response.refusal.done", "refusal")
            } else {
                (output::output_text(&content.text, &content.annotations, &content.logprobs), "response.output_text.done", "text")
            };
            let mut fields = place.clone();
            fields[field] = content.text.as_str().into();
            if !content.is_refusal {
                fields["logprobs"] = content.logprobs.iter().map(without_bytes).collect();
            }
            self.emit(kind, fields, out);
            let mut fields = place;
            fields["part"] = part.clone();
            self.emit("response.content_part.done", fields, out);
            message.done.push(part);
        }
        self.message = Some(message);
    }

    pub(super) fn close_message(&mut self, status: &str, out: &mut Vec<u8>) {
        self.close_content(out);
        if let Some(message) = self.message.take().filter(|message| message.is_open) {
            let item = output::message(&message.id, status, &message.done);
            self.done(message.index, item, out);
            if let Some(signature) = &message.signature {
                self.reasoning_item(&carrier::wrap_for_previous(signature), out);
            }
        }
    }
}

impl Content {
    pub fn whole(&self) -> Value {
        if self.is_refusal {
            output::refusal(&self.text)
        } else {
            output::output_text(&self.text, &self.annotations, &self.logprobs)
        }
    }
}

/// An entry with all its fields: vendors leave out `bytes` and `top_logprobs`.
fn logprob(entry: &Value) -> Option<Value> {
    let token = entry["token"].as_str()?;
    let bytes = entry["bytes"].as_array().cloned().unwrap_or_else(|| token.bytes().map(Value::from).collect());
    let top = entry["top_logprobs"].as_array().into_iter().flatten().map(|top| {
        let token = top["token"].as_str().unwrap_or_default();
        let bytes = top["bytes"].as_array().cloned().unwrap_or_else(|| token.bytes().map(Value::from).collect());
        json!({ "token": token, "logprob": top["logprob"].as_f64(), "bytes": bytes })
    });
    Some(
        json!({ "token": token, "logprob": entry["logprob"].as_f64().unwrap_or(0.0), "bytes": bytes, "top_logprobs": top.collect::<Vec<_>>() }),
    )
}

/// Events carry the shorter form of an entry.
fn without_bytes(entry: &Value) -> Value {
    let top = entry["top_logprobs"].as_array().into_iter().flatten();
    let top: Vec<Value> = top.map(|top| json!({ "token": top["token"], "logprob": top["logprob"] })).collect();
    json!({ "token": entry["token"], "logprob": entry["logprob"], "top_logprobs": top })
}
