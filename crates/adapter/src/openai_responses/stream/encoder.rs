//! [`StreamEvent`] → events of the Responses API, and the response object at their end.

mod message;

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tallygate_types::Usage;

use self::message::Message;
use super::super::{carrier, error};
use super::output::{self, CallItem, Standing};
use crate::context::ResponseContext;
use crate::dispatch::Encode;
use crate::failure::ErrorReply;
use crate::ir::{Delta, FinishReason, PartKind, PartStart, Signature, Source, StreamEvent, ToolKind};
use crate::{json_write, sse};

/// Writes a client's stream.
///
/// Parts become items: neighbouring text and refusal parts share one message, a reasoning part or a call is an item of its
/// own. An item is opened by its first content, never by an empty start, and a message or call is closed when the next
/// item opens or the answer ends, so that its status can tell whether it was cut.
pub(crate) struct Encoder {
    context: ResponseContext,
    /// Nobody watches: only the response at the end is wanted.
    is_silent: bool,
    sequence: u64,
    is_started: bool,
    is_over: bool,
    /// By `output_index`; null while in work.
    items: Vec<Value>,
    message: Option<Message>,
    /// Reasoning and calls by part number.
    open: BTreeMap<u32, Item>,
    /// A call whose signature may be in the next event, and must then stand before it.
    held: Option<(u32, String, String, ToolKind)>,
    usage: Option<Usage>,
    finish: Option<(FinishReason, Option<String>)>,
    has_refusal: bool,
    body: Value,
}

/// The `output_index` of an item that was not said yet.
const UNPLACED: usize = usize::MAX;

struct Item {
    index: usize,
    id: String,
    is_ended: bool,
    kind: ItemKind,
}

enum ItemKind {
    Reasoning { text: String, signature: Option<Signature> },
    Call { call_id: String, name: String, kind: ToolKind, arguments: String },
}

/// The events a stream is mostly made of are written without building a tree.
#[derive(Serialize)]
struct DeltaEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    sequence_number: u64,
    item_id: &'a str,
    output_index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary_index: Option<usize>,
    delta: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<[(); 0]>,
}

impl Encoder {
    pub fn new(context: ResponseContext) -> Self {
        Self {
            is_silent: false,
            sequence: context.first_sequence,
            context,
            is_started: false,
            is_over: false,
            items: Vec::new(),
            message: None,
            open: BTreeMap::new(),
            held: None,
            usage: None,
            finish: None,
            has_refusal: false,
            body: Value::Null,
        }
    }

    pub fn silent(context: ResponseContext) -> Self {
        Self { is_silent: true, ..Self::new(context) }
    }

    /// The terminal response, after `End`.
    pub fn into_body(self) -> Vec<u8> {
        json_write::written(&self.body).unwrap_or_default()
    }

    fn emit(&mut self, kind: &str, fields: Value, out: &mut Vec<u8>) {
        if self.is_silent {
            return;
        }
        let mut event = json!({ "type": kind, "sequence_number": self.sequence });
        if let (Value::Object(event), Value::Object(fields)) = (&mut event, fields) {
            event.extend(fields);
        }
        self.sequence += 1;
        sse::write_json(Some(kind), &event, out);
    }

    fn emit_delta(&mut self, mut event: DeltaEvent<'_>, out: &mut Vec<u8>) {
        if self.is_silent {
            return;
        }
        event.sequence_number = self.sequence;
        self.sequence += 1;
        sse::write_json(Some(event.kind), &event, out);
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if !self.is_started && !self.is_silent {
            let response = output::response(&self.context, Standing::in_progress());
            self.emit("response.created", json!({ "response": response }), out);
            self.emit("response.in_progress", json!({ "response": response }), out);
        }
        self.is_started = true;
    }

    /// Takes the next `output_index`.
    fn next_item(&mut self, prefix: &str) -> (usize, String) {
        let index = self.items.len();
        self.items.push(Value::Null);
        (index, output::item_id(&self.context, prefix, index))
    }

    fn add(&mut self, index: usize, item: Value, out: &mut Vec<u8>) {
        self.emit("response.output_item.added", json!({ "output_index": index, "item": item }), out);
    }

    fn done(&mut self, index: usize, item: Value, out: &mut Vec<u8>) {
        self.emit("response.output_item.done", json!({ "output_index": index, "item": &item }), out);
        self.items[index] = item;
    }

    /// Closes what came to its end, before something new opens. A call whose arguments are whole has, though some
    /// vendors say so only at the end of the answer.
    fn close_ended(&mut self, out: &mut Vec<u8>) {
        self.release_held(out);
        self.close_message("completed", out);
        let ended: Vec<u32> =
            self.open.iter().filter(|(_, item)| item.is_ended || item.is_whole_call()).map(|(part, _)| *part).collect();
        for part in ended {
            if let Some(item) = self.open.remove(&part) {
                self.close_item(item, "completed", out);
            }
        }
    }

    /// Closes everything. Of calls in an answer that was cut, only those before the last can be whole.
    fn close_all(&mut self, status: &str, out: &mut Vec<u8>) {
        self.release_held(out);
        self.close_message(status, out);
        let open = std::mem::take(&mut self.open);
        let last = open.keys().next_back().copied();
        for (part, item) in open {
            let is_whole = Some(part) != last && item.is_whole_call();
            self.close_item(item, if is_whole { "completed" } else { status }, out);
        }
    }

    // Reasoning and calls

    fn open_reasoning(&mut self, part: u32, out: &mut Vec<u8>) {
        self.close_ended(out);
        let kind = ItemKind::Reasoning { text: String::new(), signature: None };
        // The index is taken when there is something to show.
        self.open.insert(part, Item { index: UNPLACED, id: String::new(), is_ended: false, kind });
    }

    fn announce_reasoning(&mut self, item: &mut Item, out: &mut Vec<u8>) {
        if item.index == UNPLACED {
            (item.index, item.id) = self.next_item("rs");
            self.add(item.index, output::reasoning(&item.id, "", None), out);
        }
    }

    /// An item that carries nothing but a signature.
    fn reasoning_item(&mut self, encrypted: &str, out: &mut Vec<u8>) {
        let (index, id) = self.next_item("rs");
        self.add(index, output::reasoning(&id, "", None), out);
        let item = output::reasoning(&id, "", Some(encrypted));
        self.done(index, item, out);
    }

    fn release_held(&mut self, out: &mut Vec<u8>) {
        let Some((part, call_id, name, kind)) = self.held.take() else { return };
        let mut call = Item {
            index: UNPLACED,
            id: String::new(),
            is_ended: false,
            kind: ItemKind::Call { call_id, name, kind, arguments: String::new() },
        };
        // An item with an action in place of arguments is said when the action is whole.
        if !call.is_substitute(&self.context) {
            self.place_call(&mut call, out);
        }
        self.open.insert(part, call);
    }

    /// Opens the item of a call, with what is known of its arguments.
    fn place_call(&mut self, item: &mut Item, out: &mut Vec<u8>) {
        let ItemKind::Call { call_id, name, kind, arguments } = &item.kind else { return };
        let prefix = match (output::substitute(&self.context, name), kind) {
            (Some(substitute), _) => substitute.id_prefix(),
            (None, ToolKind::Custom) => "ctc",
            (None, ToolKind::Function) => "fc",
        };
        let (index, id) = self.next_item(prefix);
        let call = CallItem { id: &id, call_id, name, kind: *kind };
        let body = output::call(&self.context, &call, arguments, "in_progress");
        self.add(index, body, out);
        (item.index, item.id) = (index, id);
    }

    fn item_delta(&mut self, part: u32, delta: &Delta, out: &mut Vec<u8>) {
        if let (Delta::Signature(signature), true) = (delta, self.held.as_ref().is_some_and(|held| held.0 == part)) {
            self.reasoning_item(&carrier::wrap_for_next(signature), out);
            return;
        }
        self.release_held(out);
        let Some(mut item) = self.open.remove(&part) else { return };
        match delta {
            Delta::Text(text) if !text.is_empty() && self.context.expose_reasoning => {
                let is_first = matches!(&item.kind, ItemKind::Reasoning { text, .. } if text.is_empty());
                self.announce_reasoning(&mut item, out);
                if is_first {
                    let part = json!({ "type": "summary_text", "text": "" });
                    let fields = json!({ "item_id": item.id, "output_index": item.index, "summary_index": 0, "part": part });
                    self.emit("response.reasoning_summary_part.added", fields, out);
                }
                if let ItemKind::Reasoning { text: so_far, .. } = &mut item.kind {
                    so_far.push_str(text);
                }
                self.emit_delta(item.delta("response.reasoning_summary_text.delta", Some(0), text), out);
            }
            Delta::Arguments(fragment) if !fragment.is_empty() => {
                if let ItemKind::Call { arguments, .. } = &mut item.kind {
                    arguments.push_str(fragment);
                }
                if item.index != UNPLACED {
                    let kind = item.event_names().0;
                    self.emit_delta(item.delta(kind, None, fragment), out);
                }
            }
            Delta::Signature(made) => {
                if let ItemKind::Reasoning { signature, .. } = &mut item.kind {
                    *signature = Some(made.clone());
                }
            }
            _ => {}
        }
        self.open.insert(part, item);
    }

    fn close_item(&mut self, mut item: Item, status: &str, out: &mut Vec<u8>) {
        match &item.kind {
            ItemKind::Reasoning { text, signature } => {
                if text.is_empty() && signature.is_none() {
                    return;
                }
                let (text, encrypted) = (text.clone(), signature.as_ref().map(|signature| carrier::wrap(signature, false)));
                self.announce_reasoning(&mut item, out);
                if !text.is_empty() {
                    let mut fields = json!({ "item_id": item.id, "output_index": item.index, "summary_index": 0, "text": text });
                    self.emit("response.reasoning_summary_text.done", fields.clone(), out);
                    if let Value::Object(fields) = &mut fields {
                        fields.shift_remove("text");
                    }
                    fields["part"] = json!({ "type": "summary_text", "text": text });
                    self.emit("response.reasoning_summary_part.done", fields, out);
                }
                self.done(item.index, output::reasoning(&item.id, &text, encrypted.as_deref()), out);
            }
            ItemKind::Call { .. } => self.close_call(item, status, out),
        }
    }

    fn close_call(&mut self, mut item: Item, status: &str, out: &mut Vec<u8>) {
        let is_substitute = item.index == UNPLACED;
        if is_substitute {
            self.place_call(&mut item, out);
        }
        let (_, done, field) = item.event_names();
        let ItemKind::Call { call_id, name, kind, arguments } = &item.kind else { return };
        let is_empty_function = *kind == ToolKind::Function && arguments.is_empty();
        let arguments = if is_empty_function { "{}" } else { arguments.as_str() };
        if !is_substitute {
            let mut fields = json!({ "item_id": item.id, "output_index": item.index });
            fields[field] = arguments.into();
            if *kind == ToolKind::Function {
                fields["name"] = output::client_name(&self.context, name).1.into();
            }
            self.emit(done, fields, out);
        }
        let call = CallItem { id: &item.id, call_id, name, kind: *kind };
        let body = output::call(&self.context, &call, arguments, status);
        self.done(item.index, body, out);
    }

    fn whole(&mut self, part: &crate::ir::Part, out: &mut Vec<u8>) {
        match &part.kind {
            PartKind::Reasoning(reasoning) => {
                if let Some(signature) = &reasoning.signature {
                    self.close_ended(out);
                    self.reasoning_item(&carrier::wrap(signature, reasoning.is_redacted), out);
                }
            }
            PartKind::Image(image) => {
                if let Source::Data { base64, .. } = &image.source {
                    self.close_ended(out);
                    let (index, id) = self.next_item("ig");
                    let item = |status: &str, result: Option<&str>| json!({ "id": id, "type": "image_generation_call", "status": status, "result": result });
                    self.add(index, item("in_progress", None), out);
                    self.done(index, item("completed", Some(base64)), out);
                }
            }
            // Another vendor's own blocks, and media these clients cannot be given.
            _ => {}
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        let (reason, explanation) = self.finish.take().unwrap_or((FinishReason::Unknown, None));
        let (status, incomplete_reason) = match reason {
            FinishReason::Length | FinishReason::ContextWindow | FinishReason::Pause => ("incomplete", Some("max_output_tokens")),
            FinishReason::ContentFilter => ("incomplete", Some("content_filter")),
            FinishReason::Refusal if !self.has_refusal => ("incomplete", Some("content_filter")),
            FinishReason::MalformedToolCall | FinishReason::MissingSignature => ("failed", None),
            _ => ("completed", None),
        };
        self.close_all(if incomplete_reason.is_some() { "incomplete" } else { "completed" }, out);
        if self.items.is_empty() && status != "failed" {
            self.open_content(0, false, out);
            self.announce_content(out);
            self.close_message(if incomplete_reason.is_some() { "incomplete" } else { "completed" }, out);
        }
        let error = if status == "failed" {
            let message = explanation.unwrap_or_else(|| "The model wrote a tool call that cannot be read.".into());
            json!({ "code": "server_error", "message": message })
        } else {
            Value::Null
        };
        let output = std::mem::take(&mut self.items);
        self.body =
            output::response(&self.context, Standing { status, error, incomplete_reason, output, usage: self.usage.as_ref() });
        if !self.is_silent {
            let body = std::mem::take(&mut self.body);
            self.emit(&format!("response.{status}"), json!({ "response": body }), out);
        }
        self.is_over = true;
    }
}

impl Item {
    /// A function call whose arguments are whole JSON: nothing can follow.
    fn is_whole_call(&self) -> bool {
        match &self.kind {
            ItemKind::Call { kind: ToolKind::Function, arguments, .. } => {
                arguments.ends_with('}') && serde_json::from_str::<IgnoredAny>(arguments).is_ok()
            }
            _ => false,
        }
    }

    fn is_substitute(&self, context: &ResponseContext) -> bool {
        matches!(&self.kind, ItemKind::Call { name, .. } if output::substitute(context, name).is_some())
    }

    fn delta<'a>(&'a self, kind: &'a str, summary_index: Option<usize>, delta: &'a str) -> DeltaEvent<'a> {
        DeltaEvent {
            kind,
            sequence_number: 0,
            item_id: &self.id,
            output_index: self.index,
            content_index: None,
            summary_index,
            delta,
            logprobs: None,
        }
    }

    /// The events of a call's delta and end, and the field of the whole.
    fn event_names(&self) -> (&'static str, &'static str, &'static str) {
        match &self.kind {
            ItemKind::Call { kind: ToolKind::Custom, .. } => {
                ("response.custom_tool_call_input.delta", "response.custom_tool_call_input.done", "input")
            }
            _ => ("response.function_call_arguments.delta", "response.function_call_arguments.done", "arguments"),
        }
    }
}

impl Encode for Encoder {
    fn event(&mut self, event: &StreamEvent, out: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        match event {
            StreamEvent::Start { .. } => self.start(out),
            // One answer is all this API can give.
            StreamEvent::PartStart { candidate, .. }
            | StreamEvent::PartDelta { candidate, .. }
            | StreamEvent::PartEnd { candidate, .. }
            | StreamEvent::Finish { candidate, .. }
                if *candidate > 0 => {}
            StreamEvent::PartStart { part, start, .. } => match start {
                PartStart::Text => self.open_content(*part, false, out),
                PartStart::Refusal => self.open_content(*part, true, out),
                PartStart::Reasoning { .. } => self.open_reasoning(*part, out),
                PartStart::ToolCall { id, name, kind } => {
                    self.close_ended(out);
                    self.held = Some((*part, id.clone(), name.clone(), *kind));
                }
                PartStart::Whole(part) => self.whole(part, out),
            },
            StreamEvent::PartDelta { part, delta, .. } => {
                let is_content =
                    self.message.as_ref().and_then(|message| message.content.as_ref()).is_some_and(|c| c.part == *part);
                if is_content {
                    self.content_delta(delta, out);
                } else {
                    self.item_delta(*part, delta, out);
                }
            }
            StreamEvent::PartEnd { part, .. } => {
                self.release_held(out);
                if self.message.as_ref().and_then(|message| message.content.as_ref()).is_some_and(|c| c.part == *part) {
                    self.close_content(out);
                } else if let Some(item) = self.open.get_mut(part) {
                    item.is_ended = true;
                }
            }
            StreamEvent::Finish { reason, explanation, .. } => self.finish = Some((*reason, explanation.clone())),
            StreamEvent::Usage(report) => self.usage = Some(report.usage),
            // Any field of an event would have to be numbered; a comment disturbs no client.
            StreamEvent::Ping => {
                if !self.is_silent {
                    out.extend_from_slice(b": ping\n\n");
                }
            }
            StreamEvent::End => self.end(out),
        }
    }

    fn fail(&mut self, reply: &ErrorReply, out: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        // What was open stays unfinished: nothing may be taken for complete.
        let mut output: Vec<Value> = std::mem::take(&mut self.items);
        if let Some(message) = self.message.take().filter(|message| message.is_open) {
            let mut content = message.done;
            content.extend(message.content.map(|content| content.whole()));
            output[message.index] = output::message(&message.id, "incomplete", &content);
        }
        for item in std::mem::take(&mut self.open).into_values() {
            if item.index >= output.len() {
                continue;
            }
            output[item.index] = match &item.kind {
                ItemKind::Reasoning { text, .. } => output::reasoning(&item.id, text, None),
                ItemKind::Call { call_id, name, kind, arguments } => {
                    let call = CallItem { id: &item.id, call_id, name, kind: *kind };
                    output::call(&self.context, &call, arguments, "incomplete")
                }
            };
        }
        let error = error::in_response(reply);
        let standing = Standing { status: "failed", error, incomplete_reason: None, output, usage: self.usage.as_ref() };
        let response = output::response(&self.context, standing);
        self.emit("response.failed", json!({ "response": response }), out);
        self.is_over = true;
    }
}
