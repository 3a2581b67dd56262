//! Events of the Responses API → [`StreamEvent`].

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::wire::{self, Item, ResponseBody};
use super::super::{carrier, decode, error, parts, usage};
use crate::dispatch::Decode;
use crate::failure::StreamFailure;
use crate::ir::{Delta, Part, PartKind, PartStart, Response, StreamEvent, ToolKind};
use crate::replay;
use crate::sse::Event;

/// Reads an upstream's stream. Items are told apart by `output_index`, since interleaved ones are allowed.
pub(crate) struct Decoder {
    is_started: bool,
    is_over: bool,
    next_part: u32,
    items: BTreeMap<u64, OpenItem>,
    /// Indices of items whose end was seen.
    done: Vec<u64>,
    /// The kinds of what was put out decide how the answer ended.
    kinds: Vec<Part>,
}

#[derive(Default)]
struct OpenItem {
    /// Parts by `content_index`; a reasoning item or call has one, at 0.
    parts: BTreeMap<u64, OpenPart>,
    id: Option<String>,
    /// Paragraph of the reasoning summary in work.
    summary_index: u64,
}

struct OpenPart {
    number: u32,
    sent: String,
    is_ended: bool,
}

impl Decoder {
    pub fn new() -> Self {
        Self { is_started: false, is_over: false, next_part: 0, items: BTreeMap::new(), done: Vec::new(), kinds: Vec::new() }
    }

    fn start(&mut self, response: Option<&ResponseBody>, out: &mut Vec<StreamEvent>) {
        if !std::mem::replace(&mut self.is_started, true) {
            let (id, model) = response.map(|response| (response.id.clone(), response.model.clone())).unwrap_or_default();
            out.push(StreamEvent::Start { id, model });
        }
    }

    /// The part at this place, opened if it is new.
    fn part(&mut self, item: u64, content: u64, start: impl FnOnce() -> PartStart, out: &mut Vec<StreamEvent>) -> &mut OpenPart {
        let open = self.items.entry(item).or_default();
        open.parts.entry(content).or_insert_with(|| {
            let start = start();
            self.kinds.push(Part::new(match &start {
                PartStart::ToolCall { .. } => PartKind::ToolCall(crate::ir::ToolCall {
                    id: String::new(),
                    name: String::new(),
                    arguments: String::new(),
                    kind: ToolKind::Function,
                }),
                PartStart::Refusal => PartKind::Refusal(String::new()),
                _ => PartKind::Reasoning(crate::ir::Reasoning::default()),
            }));
            let number = self.next_part;
            self.next_part += 1;
            out.push(StreamEvent::PartStart { candidate: 0, part: number, start });
            OpenPart { number, sent: String::new(), is_ended: false }
        })
    }

    fn text(&mut self, place: (u64, u64), start: PartStart, text: &str, out: &mut Vec<StreamEvent>) {
        if text.is_empty() {
            return;
        }
        let is_call = matches!(start, PartStart::ToolCall { .. });
        let part = self.part(place.0, place.1, || start, out);
        part.sent.push_str(text);
        let delta = if is_call { Delta::Arguments(text.to_owned()) } else { Delta::Text(text.to_owned()) };
        out.push(StreamEvent::PartDelta { candidate: 0, part: part.number, delta });
    }

    /// What `whole` has beyond what was sent. A vendor may send no deltas at all.
    fn remainder(&mut self, place: (u64, u64), start: PartStart, whole: &str, out: &mut Vec<StreamEvent>) {
        let sent = self.items.get(&place.0).and_then(|item| item.parts.get(&place.1)).map_or("", |part| part.sent.as_str());
        if let Some(rest) = whole.strip_prefix(sent).map(str::to_owned) {
            self.text(place, start, &rest, out);
        }
    }

    fn reasoning_start(&self, item: u64, is_summary: bool) -> PartStart {
        PartStart::Reasoning { id: self.items.get(&item).and_then(|item| item.id.clone()), is_summary }
    }

    fn added(&mut self, index: u64, item: &Item, out: &mut Vec<StreamEvent>) {
        self.start(None, out);
        let open = self.items.entry(index).or_default();
        match item {
            Item::Reasoning(reasoning) => open.id.clone_from(&reasoning.id),
            Item::FunctionCall(_) | Item::CustomToolCall(_) => {
                if let Some((start, _)) = call_start(item) {
                    self.part(index, 0, || start, out);
                }
            }
            _ => {}
        }
    }

    /// The whole item: gives what the deltas did not, and closes its parts.
    fn item_done(&mut self, index: u64, item: Item, out: &mut Vec<StreamEvent>) {
        self.start(None, out);
        if self.done.contains(&index) {
            return;
        }
        self.done.push(index);
        let is_seen = self.items.get(&index).is_some_and(|open| !open.parts.is_empty());
        match &item {
            Item::FunctionCall(_) | Item::CustomToolCall(_) => {
                if let Some((start, arguments)) = call_start(&item) {
                    self.part(index, 0, || start.clone(), out);
                    self.remainder((index, 0), start, &arguments, out);
                }
            }
            Item::Reasoning(reasoning) if is_seen => {
                if let Some(encrypted) = reasoning.encrypted_content.as_deref().filter(|content| !content.is_empty()) {
                    let number = self.part(index, 0, || PartStart::Text, out).number;
                    let delta = Delta::Signature(carrier::unwrap(encrypted).signature);
                    out.push(StreamEvent::PartDelta { candidate: 0, part: number, delta });
                }
            }
            _ if is_seen => {}
            _ => {
                let mut whole = Vec::new();
                decode::output_item(item, &mut whole, &mut Vec::new());
                self.replay(whole, out);
            }
        }
        self.close(index, out);
    }

    /// Parts that came without deltas, as if they had.
    fn replay(&mut self, parts: Vec<Part>, out: &mut Vec<StreamEvent>) {
        self.kinds.extend(parts.iter().cloned());
        let first = self.next_part;
        self.next_part += parts.len() as u32;
        let candidate = crate::ir::Candidate::new(0, parts, crate::ir::FinishReason::Unknown);
        let whole = Response { candidates: vec![candidate], ..Response::default() };
        for mut event in replay::events(&whole) {
            match &mut event {
                StreamEvent::PartStart { part, .. } | StreamEvent::PartDelta { part, .. } | StreamEvent::PartEnd { part, .. } => {
                    *part += first;
                    out.push(event);
                }
                _ => {}
            }
        }
    }

    fn close(&mut self, index: u64, out: &mut Vec<StreamEvent>) {
        for part in self.items.get_mut(&index).into_iter().flat_map(|open| open.parts.values_mut()) {
            if !std::mem::replace(&mut part.is_ended, true) {
                out.push(StreamEvent::PartEnd { candidate: 0, part: part.number });
            }
        }
    }

    fn close_part(&mut self, place: (u64, u64), out: &mut Vec<StreamEvent>) {
        if let Some(part) = self.items.get_mut(&place.0).and_then(|open| open.parts.get_mut(&place.1))
            && !std::mem::replace(&mut part.is_ended, true)
        {
            out.push(StreamEvent::PartEnd { candidate: 0, part: part.number });
        }
    }

    fn terminal(&mut self, response: ResponseBody, out: &mut Vec<StreamEvent>) {
        self.start(Some(&response), out);
        // Items nothing was said of: some vendors put them into the last event only.
        for (index, item) in (0_u64..).zip(response.output.iter().cloned()) {
            self.item_done(index, item, out);
        }
        let open: Vec<u64> = self.items.keys().copied().collect();
        for index in open {
            self.close(index, out);
        }
        if let Some(report) = response.usage.as_ref().and_then(usage::decode) {
            out.push(StreamEvent::Usage(report));
        }
        let (reason, raw) = decode::finish(&response, &self.kinds);
        out.push(StreamEvent::Finish { candidate: 0, reason, raw, stop_sequence: None, explanation: None });
        out.push(StreamEvent::End);
        self.is_over = true;
    }
}

/// How a call begins, and its arguments as far as they are known.
fn call_start(item: &Item) -> Option<(PartStart, String)> {
    let Part { kind: PartKind::ToolCall(call), .. } = parts::call(item.clone()) else { return None };
    let arguments = match item {
        Item::FunctionCall(call) => call.arguments.clone(),
        _ => call.arguments,
    };
    Some((PartStart::ToolCall { id: call.id, name: call.name, kind: call.kind }, arguments))
}

impl Decode for Decoder {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<StreamEvent>) -> Result<(), StreamFailure> {
        // Some compatible vendors end like a chat stream.
        if self.is_over || event.data == b"[DONE]" {
            return Ok(());
        }
        let wire: wire::Event = serde_json::from_slice(event.data)
            .map_err(|error| StreamFailure::Invalid(format!("an event is not readable: {error}")))?;
        let kind = if wire.kind.is_empty() { event.name } else { wire.kind.as_str() };
        let index = wire.output_index.unwrap_or(0);
        let place = (index, wire.content_index.unwrap_or(0));
        let delta = wire.delta.as_ref().and_then(Value::as_str).unwrap_or_default();
        match kind {
            "response.created" | "response.in_progress" | "response.queued" => self.start(wire.response.as_ref(), out),
            "response.output_item.added" => {
                if let Some(item) = &wire.item {
                    self.added(index, item, out);
                }
            }
            "response.output_item.done" => {
                if let Some(item) = wire.item {
                    self.item_done(index, item, out);
                }
            }
            "response.output_text.delta" => {
                self.start(None, out);
                self.text(place, PartStart::Text, delta, out);
                if let Some(Value::Array(entries)) = wire.logprobs
                    && !entries.is_empty()
                {
                    let part = self.part(index, place.1, || PartStart::Text, out).number;
                    let delta = Delta::Logprobs(json!({ "content": entries, "refusal": null }));
                    out.push(StreamEvent::PartDelta { candidate: 0, part, delta });
                }
            }
            "response.output_text.done" => self.remainder(place, PartStart::Text, wire.text.as_deref().unwrap_or_default(), out),
            "response.output_text.annotation.added" => {
                if let Some(annotation) = &wire.annotation {
                    let part = self.part(index, place.1, || PartStart::Text, out).number;
                    let delta = Delta::Citation(parts::citation(annotation));
                    out.push(StreamEvent::PartDelta { candidate: 0, part, delta });
                }
            }
            "response.refusal.delta" => self.text(place, PartStart::Refusal, delta, out),
            "response.refusal.done" => {
                self.remainder(place, PartStart::Refusal, wire.refusal.as_deref().unwrap_or_default(), out);
            }
            "response.content_part.done" => {
                let is_reasoning = matches!(self.items.get(&index), Some(item) if item.id.is_some());
                if !is_reasoning {
                    self.close_part(place, out);
                }
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                let is_summary = kind == "response.reasoning_summary_text.delta";
                let paragraph = if is_summary { wire.summary_index } else { wire.content_index }.unwrap_or(0);
                let start = self.reasoning_start(index, is_summary);
                let open = self.items.entry(index).or_default();
                let is_next = paragraph > open.summary_index && !open.parts.is_empty();
                open.summary_index = paragraph;
                if is_next {
                    self.text((index, 0), start.clone(), "\n\n", out);
                }
                self.text((index, 0), start, delta, out);
            }
            // A call that was never announced cannot be named; its item at the end can.
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta"
                if self.items.get(&index).is_some_and(|open| !open.parts.is_empty()) =>
            {
                let start = PartStart::ToolCall { id: String::new(), name: String::new(), kind: ToolKind::Function };
                self.text((index, 0), start, delta, out);
            }
            "response.completed" | "response.incomplete" => self.terminal(wire.response.unwrap_or_default(), out),
            "response.failed" | "response.cancelled" => {
                let response = wire.response.unwrap_or_default();
                if let Some(report) = response.usage.as_ref().and_then(usage::decode) {
                    out.push(StreamEvent::Usage(report));
                }
                return Err(StreamFailure::Upstream(error::in_stream(response.error.as_ref().unwrap_or(&Value::Null))));
            }
            "error" => {
                let flat = json!({ "code": wire.code, "message": wire.message, "param": wire.param });
                return Err(StreamFailure::Upstream(error::in_stream(wire.error.as_ref().unwrap_or(&flat))));
            }
            _ if kind.ends_with("_call.in_progress") || kind.ends_with("_call.searching") => out.push(StreamEvent::Ping),
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut Vec<StreamEvent>) -> Result<(), StreamFailure> {
        if self.is_over { Ok(()) } else { Err(StreamFailure::Truncated) }
    }
}
