//! Events of the Responses API → [`StreamEvent`].

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::super::wire::{self, Item, ResponseBody};
use super::super::{carrier, decode, error, parts, usage};
use crate::dispatch::Decode;
use crate::failure::StreamFailure;
use crate::ir::{Delta, Part, PartKind, PartStart, Response, StreamEvent, ToolKind};
use crate::replay;
use crate::sse::Event;

/// Events of tools that OpenAI runs, of sound and of compaction: no other dialect has a word for them, but they show that
/// the upstream is at work.
const AT_WORK: &[&str] = &[
    "response.web_search_call.",
    "response.file_search_call.",
    "response.code_interpreter_call.",
    "response.code_interpreter_call_code.",
    "response.image_generation_call.",
    "response.mcp_call.",
    "response.mcp_call_arguments.",
    "response.mcp_list_tools.",
    "response.shell_call_command.",
    "response.shell_call_output_content.",
    "response.compaction.",
    "response.audio.",
];

/// Reads an upstream's stream. Items may be interleaved: they are told apart by their ids, and by `output_index` where an
/// upstream names an item anew in each event.
pub(crate) struct Decoder {
    is_started: bool,
    is_over: bool,
    next_part: u32,
    items: Vec<OpenItem>,
    by_id: HashMap<String, usize>,
    by_index: HashMap<u64, usize>,
    /// The kinds of what was put out decide how the answer ended.
    kinds: Vec<Part>,
}

#[derive(Default)]
struct OpenItem {
    /// A reasoning item or call has one part, at 0; a message one by each `content_index`.
    parts: BTreeMap<u64, OpenPart>,
    id: Option<String>,
    is_reasoning: bool,
    is_done: bool,
    /// Paragraph of the reasoning summary in work.
    summary_index: u64,
}

struct OpenPart {
    number: u32,
    sent: String,
    is_ended: bool,
}

/// Of which item an event speaks, and which of its parts.
type Place = (usize, u64);

impl Decoder {
    pub fn new() -> Self {
        Self {
            is_started: false,
            is_over: false,
            next_part: 0,
            items: Vec::new(),
            by_id: HashMap::new(),
            by_index: HashMap::new(),
            kinds: Vec::new(),
        }
    }

    fn start(&mut self, response: Option<&ResponseBody>, out: &mut Vec<StreamEvent>) {
        if !std::mem::replace(&mut self.is_started, true) {
            let (id, model) = response.map(|response| (response.id.clone(), response.model.clone())).unwrap_or_default();
            out.push(StreamEvent::Start { id, model });
        }
    }

    /// The item an event speaks of, made if it is new.
    fn slot(&mut self, id: Option<&str>, index: u64) -> usize {
        let known = id.and_then(|id| self.by_id.get(id)).or_else(|| self.by_index.get(&index)).copied();
        known.unwrap_or_else(|| self.new_slot(id, index))
    }

    fn new_slot(&mut self, id: Option<&str>, index: u64) -> usize {
        let slot = self.items.len();
        self.items.push(OpenItem::default());
        self.by_index.insert(index, slot);
        if let Some(id) = id {
            self.by_id.insert(id.to_owned(), slot);
        }
        slot
    }

    /// The part at this place, opened if it is new.
    fn part(&mut self, place: Place, start: impl FnOnce() -> PartStart, out: &mut Vec<StreamEvent>) -> &mut OpenPart {
        self.items[place.0].parts.entry(place.1).or_insert_with(|| {
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

    fn text(&mut self, place: Place, start: PartStart, text: &str, out: &mut Vec<StreamEvent>) {
        if text.is_empty() {
            return;
        }
        let is_call = matches!(start, PartStart::ToolCall { .. });
        let part = self.part(place, || start, out);
        if part.is_ended {
            return;
        }
        part.sent.push_str(text);
        let delta = if is_call { Delta::Arguments(text.to_owned()) } else { Delta::Text(text.to_owned()) };
        out.push(StreamEvent::PartDelta { candidate: 0, part: part.number, delta });
    }

    /// What `whole` has beyond what was sent. A vendor may send no deltas at all.
    fn remainder(&mut self, place: Place, start: PartStart, whole: &str, out: &mut Vec<StreamEvent>) {
        let sent = self.items[place.0].parts.get(&place.1).map_or("", |part| part.sent.as_str());
        if let Some(rest) = whole.strip_prefix(sent).map(str::to_owned) {
            self.text(place, start, &rest, out);
        }
    }

    fn added(&mut self, index: u64, item: &Item, out: &mut Vec<StreamEvent>) {
        self.start(None, out);
        let id = item.id();
        // Another item under an index that is taken is a new one.
        let is_known = id.is_some_and(|id| self.by_id.contains_key(id));
        let taken = self.by_index.get(&index).is_some_and(|slot| self.items[*slot].id.as_deref() != id || id.is_none());
        let slot = if taken && !is_known { self.new_slot(id, index) } else { self.slot(id, index) };
        let open = &mut self.items[slot];
        open.id = id.map(str::to_owned);
        open.is_reasoning = matches!(item, Item::Reasoning(_));
        if let Some((start, _)) = call_start(item) {
            self.part((slot, 0), || start, out);
        }
    }

    /// The whole item: gives what the deltas did not, and closes its parts.
    fn item_done(&mut self, index: u64, item: Item, out: &mut Vec<StreamEvent>) {
        self.start(None, out);
        let slot = self.slot(item.id(), index);
        if std::mem::replace(&mut self.items[slot].is_done, true) {
            return;
        }
        let is_seen = !self.items[slot].parts.is_empty();
        match &item {
            Item::FunctionCall(_) | Item::CustomToolCall(_) => {
                if let Some((start, arguments)) = call_start(&item) {
                    self.part((slot, 0), || start.clone(), out);
                    self.remainder((slot, 0), start, &arguments, out);
                }
            }
            Item::Reasoning(reasoning) if is_seen => {
                if let Some(encrypted) = reasoning.encrypted_content.as_deref().filter(|content| !content.is_empty()) {
                    let number = self.part((slot, 0), || PartStart::Text, out).number;
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
        self.close(slot, out);
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

    fn close(&mut self, slot: usize, out: &mut Vec<StreamEvent>) {
        for part in self.items[slot].parts.values_mut() {
            part.end(out);
        }
    }

    /// One paragraph of a summary, or a piece of raw reasoning.
    fn reasoning(&mut self, slot: usize, wire: &wire::Event, delta: &str, is_summary: bool, out: &mut Vec<StreamEvent>) {
        let open = &mut self.items[slot];
        open.is_reasoning = true;
        let start = PartStart::Reasoning { id: open.id.clone(), is_summary };
        let paragraph = if is_summary { wire.summary_index } else { wire.content_index }.unwrap_or(0);
        let is_next = paragraph > open.summary_index && !open.parts.is_empty();
        open.summary_index = paragraph;
        if is_next {
            self.text((slot, 0), start.clone(), "\n\n", out);
        }
        self.text((slot, 0), start, delta, out);
    }

    fn terminal(&mut self, response: ResponseBody, out: &mut Vec<StreamEvent>) {
        self.start(Some(&response), out);
        // Items nothing was said of: some vendors put them into the last event only.
        for (index, item) in (0_u64..).zip(response.output.iter().cloned()) {
            self.item_done(index, item, out);
        }
        for slot in 0..self.items.len() {
            self.close(slot, out);
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

impl OpenPart {
    fn end(&mut self, out: &mut Vec<StreamEvent>) {
        if !std::mem::replace(&mut self.is_ended, true) {
            out.push(StreamEvent::PartEnd { candidate: 0, part: self.number });
        }
    }
}

/// How a call begins, and its arguments as far as they are known.
fn call_start(item: &Item) -> Option<(PartStart, String)> {
    let (id, name, rest, arguments, kind) = match item {
        Item::FunctionCall(call) => (&call.call_id, &call.name, &call.rest, &call.arguments, ToolKind::Function),
        Item::CustomToolCall(call) => (&call.call_id, &call.name, &call.rest, &call.input, ToolKind::Custom),
        _ => return None,
    };
    let start = PartStart::ToolCall { id: id.clone(), name: parts::qualified(rest, name), kind };
    Some((start, arguments.clone()))
}

impl Decode for Decoder {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<StreamEvent>) -> Result<(), StreamFailure> {
        // Some compatible vendors end like a chat stream.
        if self.is_over || event.data == b"[DONE]" {
            return Ok(());
        }
        let mut wire: wire::Event = serde_json::from_slice(event.data)
            .map_err(|error| StreamFailure::Invalid(format!("an event is not readable: {error}")))?;
        let kind = if wire.kind.is_empty() { event.name.to_owned() } else { std::mem::take(&mut wire.kind) };
        match kind.as_str() {
            "response.created" | "response.in_progress" | "response.queued" => self.start(wire.response.as_ref(), out),
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
            "response.output_item.added" => {
                if let Some(item) = &wire.item {
                    self.added(wire.output_index.unwrap_or(0), item, out);
                }
            }
            "response.output_item.done" => {
                if let Some(item) = wire.item {
                    self.item_done(wire.output_index.unwrap_or(0), item, out);
                }
            }
            // They repeat what the deltas said before or the item says at its end.
            "response.content_part.added"
            | "response.function_call_arguments.done"
            | "response.custom_tool_call_input.done"
            | "response.reasoning_summary_part.added"
            | "response.reasoning_summary_part.done"
            | "response.reasoning_summary_text.done"
            | "response.reasoning_text.done" => {}
            kind => {
                let is_known = self.inside_item(kind, &wire, out);
                if !is_known && AT_WORK.iter().any(|prefix| kind.starts_with(prefix)) {
                    out.push(StreamEvent::Ping);
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, _out: &mut Vec<StreamEvent>) -> Result<(), StreamFailure> {
        if self.is_over { Ok(()) } else { Err(StreamFailure::Truncated) }
    }
}

impl Decoder {
    /// Events that tell of the content of an item; gives whether this is one.
    fn inside_item(&mut self, kind: &str, wire: &wire::Event, out: &mut Vec<StreamEvent>) -> bool {
        let start = match kind {
            "response.output_text.delta" | "response.output_text.done" | "response.output_text.annotation.added" => {
                PartStart::Text
            }
            "response.refusal.delta" | "response.refusal.done" => PartStart::Refusal,
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                PartStart::ToolCall { id: String::new(), name: String::new(), kind: ToolKind::Function }
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" | "response.content_part.done" => {
                PartStart::Reasoning { id: None, is_summary: false }
            }
            _ => return false,
        };
        self.start(None, out);
        let slot = self.slot(wire.item_id.as_deref(), wire.output_index.unwrap_or(0));
        let content = wire.content_index.unwrap_or(0);
        let delta = wire.delta.as_ref().and_then(Value::as_str).unwrap_or_default();
        match (kind, &start) {
            ("response.reasoning_summary_text.delta", _) => self.reasoning(slot, wire, delta, true, out),
            ("response.reasoning_text.delta", _) => self.reasoning(slot, wire, delta, false, out),
            ("response.content_part.done", _) => {
                let open = &mut self.items[slot];
                if let Some(part) = if open.is_reasoning { None } else { open.parts.get_mut(&content) } {
                    part.end(out);
                }
            }
            ("response.output_text.done", _) => {
                self.remainder((slot, content), start, wire.text.as_deref().unwrap_or_default(), out);
            }
            ("response.refusal.done", _) => {
                self.remainder((slot, content), start, wire.refusal.as_deref().unwrap_or_default(), out);
            }
            ("response.output_text.annotation.added", _) => {
                if let Some(annotation) = &wire.annotation {
                    let part = self.part((slot, content), || start, out).number;
                    let delta = Delta::Citation(parts::citation(annotation));
                    out.push(StreamEvent::PartDelta { candidate: 0, part, delta });
                }
            }
            // A call that was never announced cannot be named; its item at the end can.
            (_, PartStart::ToolCall { .. }) if self.items[slot].parts.is_empty() => {}
            (_, PartStart::ToolCall { .. }) => self.text((slot, 0), start, delta, out),
            _ => {
                self.text((slot, content), start, delta, out);
                if let Some(Value::Array(entries)) = &wire.logprobs
                    && !entries.is_empty()
                {
                    let part = self.part((slot, content), || PartStart::Text, out).number;
                    let delta = Delta::Logprobs(json!({ "content": entries, "refusal": null }));
                    out.push(StreamEvent::PartDelta { candidate: 0, part, delta });
                }
            }
        }
        true
    }
}
