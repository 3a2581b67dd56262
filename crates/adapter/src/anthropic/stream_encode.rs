//! Writes event streams. One block is open at a time: what other vendors interleave is queued.

use std::collections::VecDeque;

use serde_json::{Value, json};
use tallygate_types::{Dialect, Usage};

use super::encode_answer::{citation, signature_block, stop, thinking_block, tool_input, usage_object};
use super::wire::{BlockDelta, Piece};
use super::{carrier, error};
use crate::context::ResponseContext;
use crate::dispatch::Encode;
use crate::failure::ErrorReply;
use crate::ident;
use crate::ir::{Delta, FinishReason, Part, PartKind, PartStart, Signature, StreamEvent, ToolKind};
use crate::names::FREE_TEXT_FIELD;
use crate::run::Around;
use crate::sse;

/// Only the first candidate is said: the protocol has one.
const CANDIDATE: u32 = 0;

#[derive(Debug)]
pub(crate) struct Encoder {
    context: ResponseContext,
    id: String,
    has_started: bool,
    has_ended: bool,
    next_block: u32,
    live: Option<Live>,
    /// A call that would open next: its signature may be in the event after it, and must stand before it.
    held: Option<(u32, PartStart)>,
    /// Parts that began while another was open, in order.
    queue: VecDeque<Queued>,
    has_calls: bool,
    usage: Usage,
    stop: Option<(FinishReason, Option<String>, Option<String>)>,
}

/// The open block.
#[derive(Debug)]
struct Live {
    part: u32,
    block: u32,
    kind: BlockKind,
    /// Arguments so far: whether they are whole decides if the next call may open.
    arguments: String,
    /// Thinking must have a signature before it closes.
    is_signed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    Text,
    Thinking,
    Tool(ToolKind),
    Whole,
}

#[derive(Debug)]
struct Queued {
    part: u32,
    start: PartStart,
    deltas: Vec<Delta>,
    has_ended: bool,
}

impl Encoder {
    pub fn new(context: ResponseContext) -> Self {
        let id = ident::response_id("msg_", None, &context.response_id);
        Self {
            context,
            id,
            has_started: false,
            has_ended: false,
            next_block: 0,
            live: None,
            held: None,
            queue: VecDeque::new(),
            has_calls: false,
            usage: Usage::default(),
            stop: None,
        }
    }

    /// `message_start` waits for the first sign of content, so that usage known by then is in it.
    fn message_start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.has_started, true) {
            return;
        }
        let mut usage = usage_object(&self.usage, None);
        usage["output_tokens"] = 0.into();
        let message = json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.context.client_model,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "stop_details": null,
            "usage": usage,
            "container": null,
            "diagnostics": null,
        });
        write("message_start", &json!({"type": "message_start", "message": message}), out);
    }

    fn part_start(&mut self, part: u32, start: &PartStart, out: &mut Vec<u8>) {
        self.open_held(None, out);
        if !self.context.expose_reasoning && is_reasoning(start) {
            return;
        }
        self.message_start(out);
        if self.live.as_ref().is_some_and(|live| !live.may_yield()) || !self.queue.is_empty() {
            self.queue.push_back(Queued { part, start: start.clone(), deltas: Vec::new(), has_ended: false });
            return;
        }
        self.close(out);
        if matches!(start, PartStart::ToolCall { .. }) {
            self.held = Some((part, start.clone()));
        } else {
            self.open(part, start, out);
        }
    }

    fn open_held(&mut self, signature: Option<&Signature>, out: &mut Vec<u8>) {
        if let Some((part, start)) = self.held.take() {
            self.sign_next(signature, out);
            self.open(part, &start, out);
        }
    }

    /// A block that carries the signature of the next.
    fn sign_next(&mut self, signature: Option<&Signature>, out: &mut Vec<u8>) {
        let Some(block) = signature_block(signature).filter(|_| self.context.expose_reasoning) else { return };
        let index = self.next_block;
        self.next_block += 1;
        write(
            "content_block_start",
            &json!({"type": "content_block_start", "index": index, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
            out,
        );
        let signature = block["signature"].as_str().unwrap_or_default();
        write_delta(index, Piece::Signature { signature }, out);
        write("content_block_stop", &json!({"type": "content_block_stop", "index": index}), out);
    }

    fn open(&mut self, part: u32, start: &PartStart, out: &mut Vec<u8>) {
        let (block, kind) = match start {
            PartStart::Text | PartStart::Refusal => (json!({"type": "text", "text": "", "citations": null}), BlockKind::Text),
            PartStart::Reasoning { .. } => (json!({"type": "thinking", "thinking": "", "signature": ""}), BlockKind::Thinking),
            PartStart::ToolCall { id, name, kind } => {
                self.has_calls = true;
                (json!({"type": "tool_use", "id": id, "name": name, "input": {}}), BlockKind::Tool(*kind))
            }
            PartStart::Whole(whole) => {
                self.has_calls |= matches!(whole.kind, PartKind::ToolCall(_));
                match whole_block(whole) {
                    Some(block) => (block, BlockKind::Whole),
                    None => return,
                }
            }
        };
        let index = self.next_block;
        self.next_block += 1;
        write("content_block_start", &json!({"type": "content_block_start", "index": index, "content_block": block}), out);
        self.live = Some(Live { part, block: index, kind, arguments: String::new(), is_signed: false });
    }

    fn part_delta(&mut self, part: u32, delta: &Delta, out: &mut Vec<u8>) {
        if self.held.is_some() {
            match delta {
                Delta::Signature(signature) if self.held.as_ref().is_some_and(|held| held.0 == part) => {
                    return self.open_held(Some(signature), out);
                }
                _ => self.open_held(None, out),
            }
        }
        match &mut self.live {
            Some(live) if live.part == part => live.delta(delta, out),
            _ => {
                if let Some(queued) = self.queue.iter_mut().find(|queued| queued.part == part) {
                    // Fragments are joined: one delta says them later.
                    match (queued.deltas.last_mut(), delta) {
                        (Some(Delta::Arguments(known)), Delta::Arguments(more))
                        | (Some(Delta::Text(known)), Delta::Text(more)) => {
                            known.push_str(more);
                        }
                        _ => queued.deltas.push(delta.clone()),
                    }
                }
            }
        }
    }

    fn part_end(&mut self, part: u32, out: &mut Vec<u8>) {
        self.open_held(None, out);
        if let Some(queued) = self.queue.iter_mut().find(|queued| queued.part == part) {
            queued.has_ended = true;
        } else if self.live.as_ref().is_some_and(|live| live.part == part) {
            self.close(out);
            self.next_of_queue(out);
        }
    }

    /// Opens what waits; what has ended meanwhile is said whole and closed.
    fn next_of_queue(&mut self, out: &mut Vec<u8>) {
        while self.live.is_none()
            && let Some(queued) = self.queue.pop_front()
        {
            let signature =
                queued.deltas.iter().find_map(|delta| if let Delta::Signature(made) = delta { Some(made) } else { None });
            if matches!(queued.start, PartStart::ToolCall { .. }) {
                self.sign_next(signature, out);
            }
            self.open(queued.part, &queued.start, out);
            for delta in &queued.deltas {
                if let Some(live) = &mut self.live {
                    live.delta(delta, out);
                }
            }
            if queued.has_ended {
                self.close(out);
            }
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if let Some(live) = self.live.take() {
            if live.kind == BlockKind::Thinking && !live.is_signed {
                write_delta(live.block, Piece::Signature { signature: &carrier::wrap(None) }, out);
            }
            write("content_block_stop", &json!({"type": "content_block_stop", "index": live.block}), out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.open_held(None, out);
        self.message_start(out);
        self.close(out);
        self.next_of_queue(out);
        self.close(out);
        self.has_ended = true;
        let (finish, sequence, explanation) = self.stop.take().unwrap_or((FinishReason::Unknown, None, None));
        let (reason, details) = stop(finish, self.has_calls, explanation.as_deref());
        let sequence = sequence.filter(|_| reason == "stop_sequence");
        let mut usage = usage_object(&self.usage, None);
        if let Value::Object(usage) = &mut usage {
            // These two stand in `message_start` only.
            usage.shift_remove("cache_creation");
            usage.shift_remove("service_tier");
        }
        let delta = json!({"stop_reason": reason, "stop_sequence": sequence, "stop_details": details, "container": null});
        write("message_delta", &json!({"type": "message_delta", "delta": delta, "usage": usage}), out);
        write("message_stop", &json!({"type": "message_stop"}), out);
    }
}

impl Encode for Encoder {
    fn event(&mut self, event: &StreamEvent, out: &mut Vec<u8>) {
        if self.has_ended {
            return;
        }
        match event {
            StreamEvent::Start { id, .. } => {
                self.id = ident::response_id("msg_", id.as_deref(), &self.context.response_id);
            }
            StreamEvent::PartStart { candidate: CANDIDATE, part, start } => self.part_start(*part, start, out),
            StreamEvent::PartDelta { candidate: CANDIDATE, part, delta } => self.part_delta(*part, delta, out),
            StreamEvent::PartEnd { candidate: CANDIDATE, part } => self.part_end(*part, out),
            StreamEvent::Finish { candidate: CANDIDATE, reason, stop_sequence, explanation, .. } => {
                self.stop = Some((*reason, stop_sequence.clone(), explanation.clone()));
            }
            StreamEvent::Usage(report) => self.usage = report.usage,
            StreamEvent::Ping if self.has_started => {
                self.open_held(None, out);
                write("ping", &json!({"type": "ping"}), out);
            }
            StreamEvent::Ping => out.extend_from_slice(b": ping\n\n"),
            StreamEvent::End => self.end(out),
            // Other candidates.
            _ => {}
        }
    }

    fn around(&mut self, candidate: u32, part: u32) -> Option<Around> {
        let is_open = |live: &&Live| live.part == part && live.kind == BlockKind::Text;
        let live = self.live.as_ref().filter(is_open)?;
        if self.has_ended || self.held.is_some() || candidate != CANDIDATE {
            return None;
        }
        let before = format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":{},\"delta\":{{\"type\":\"text_delta\",\"text\":\"",
            live.block
        );
        Some(Around { before: before.into_bytes(), behind: b"\"}}\n\n".to_vec() })
    }

    /// No `message_stop` after it.
    fn fail(&mut self, error: &ErrorReply, out: &mut Vec<u8>) {
        self.has_ended = true;
        write("error", &error::object(error), out);
    }
}

impl Live {
    /// Another part may begin: the block is no call, or its arguments are whole.
    fn may_yield(&self) -> bool {
        match self.kind {
            BlockKind::Tool(_) => serde_json::from_str::<serde::de::IgnoredAny>(&self.arguments).is_ok(),
            BlockKind::Text | BlockKind::Thinking | BlockKind::Whole => true,
        }
    }

    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>) {
        let (object, carried);
        let piece = match (self.kind, delta) {
            (_, Delta::Text(text) | Delta::Arguments(text)) if text.is_empty() => return,
            (BlockKind::Text, Delta::Text(text)) => Piece::Text { text },
            (BlockKind::Thinking, Delta::Text(text)) => Piece::Thinking { thinking: text },
            (BlockKind::Thinking, Delta::Signature(signature)) if !self.is_signed => {
                self.is_signed = true;
                carried = carrier::wrap(Some(signature));
                Piece::Signature { signature: &carried }
            }
            (BlockKind::Text, Delta::Citation(given)) => match citation(given) {
                Some(citation) => Piece::Citation { citation },
                None => return,
            },
            (BlockKind::Tool(ToolKind::Function), Delta::Arguments(text)) => {
                self.arguments.push_str(text);
                Piece::Json { partial_json: text }
            }
            (BlockKind::Tool(ToolKind::Custom), Delta::Arguments(text)) => {
                object = json!({ FREE_TEXT_FIELD: text }).to_string();
                self.arguments.push_str(&object);
                Piece::Json { partial_json: &object }
            }
            _ => return,
        };
        write_delta(self.block, piece, out);
    }
}

fn is_reasoning(start: &PartStart) -> bool {
    match start {
        PartStart::Reasoning { .. } => true,
        PartStart::Whole(part) => matches!(part.kind, PartKind::Reasoning(_)),
        _ => false,
    }
}

fn whole_block(part: &Part) -> Option<Value> {
    match &part.kind {
        PartKind::Reasoning(reasoning) => thinking_block(reasoning),
        PartKind::Text(text) => Some(json!({"type": "text", "text": text.text, "citations": null})),
        PartKind::ToolCall(call) => {
            Some(json!({"type": "tool_use", "id": call.id, "name": call.name, "input": tool_input(&call.arguments)}))
        }
        PartKind::Extension { dialect: Dialect::Anthropic, value, .. } => Some(value.clone()),
        _ => None,
    }
}

fn write_delta(index: u32, delta: Piece<'_>, out: &mut Vec<u8>) {
    let event = BlockDelta { kind: "content_block_delta", index, delta };
    sse::write_json(Some(event.kind), &event, out);
}

fn write(name: &str, data: &Value, out: &mut Vec<u8>) {
    sse::write(Some(name), data.to_string().as_bytes(), out);
}
