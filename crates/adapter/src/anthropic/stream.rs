//! Reads event streams, translated or in passing.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::decode::{self, finish_of};
use super::{blocks, error, usage, wire};
use crate::dispatch::Decode;
use crate::failure::StreamFailure;
use crate::fragment::Fragment;
use crate::ir::{Delta, PartKind, PartStart, StreamEvent, ToolKind};
use crate::needle::{Needle, needle};
use crate::replay;
use crate::sse::Event;
use crate::tap::Tap;

pub(crate) use super::stream_encode::Encoder;

/// Keys whose strings are output.
pub(super) static CONTENT_KEYS: [Needle; 3] =
    [Needle::new("\"text\":"), Needle::new("\"partial_json\":"), Needle::new("\"thinking\":")];

#[derive(Debug, Default)]
pub(crate) struct Decoder {
    has_started: bool,
    has_ended: bool,
    next_part: u32,
    /// Block index → its part; blocks that are not translated have none.
    open: BTreeMap<u32, Open>,
    has_calls: bool,
    usage: Map<String, Value>,
    stop: Option<Stop>,
}

#[derive(Debug)]
enum Open {
    Part {
        part: u32,
        is_call: bool,
        has_arguments: bool,
        input: Option<Value>,
    },
    /// Its kind is not known: its deltas are passed over.
    Ignored,
}

#[derive(Debug, Default)]
struct Stop {
    reason: Option<String>,
    sequence: Option<String>,
    explanation: Option<String>,
}

impl Decoder {
    pub fn new() -> Self {
        Self::default()
    }

    fn usage(&mut self, news: Option<&Value>, out: &mut Vec<StreamEvent>) {
        let Some(news) = news.filter(|news| news.is_object()) else { return };
        usage::merge(&mut self.usage, news);
        if let Some(report) = usage::decode(&Value::Object(self.usage.clone())) {
            out.push(StreamEvent::Usage(report));
        }
    }

    fn block_start(&mut self, index: u32, block: wire::Block, out: &mut Vec<StreamEvent>) -> Result<(), StreamFailure> {
        if self.open.contains_key(&index) {
            return Err(StreamFailure::Invalid(format!("block {index} is opened twice")));
        }
        let (text, input) = match block.kind.as_str() {
            "text" => (block.text.clone(), None),
            "thinking" => (block.thinking.clone(), None),
            "tool_use" => (None, block.input.clone()),
            _ => (None, None),
        };
        let kind = block.kind.clone();
        let Ok(decoded) = blocks::block(block, "content_block") else {
            self.open.insert(index, Open::Ignored);
            return Ok(());
        };
        let start = match &decoded.kind {
            PartKind::Text(_) => PartStart::Text,
            PartKind::Reasoning(reasoning) if !reasoning.is_redacted => PartStart::Reasoning { id: None, is_summary: false },
            PartKind::ToolCall(call) => {
                self.has_calls = true;
                PartStart::ToolCall { id: call.id.clone(), name: call.name.clone(), kind: ToolKind::Function }
            }
            _ => PartStart::Whole(Box::new(decoded)),
        };
        let part = self.next_part;
        self.next_part += 1;
        out.push(StreamEvent::PartStart { candidate: 0, part, start });
        self.open.insert(index, Open::Part { part, is_call: kind == "tool_use", has_arguments: false, input });
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            out.push(StreamEvent::PartDelta { candidate: 0, part, delta: Delta::Text(text) });
        }
        Ok(())
    }

    fn block_delta(&mut self, index: u32, delta: wire::EventDelta, out: &mut Vec<StreamEvent>) {
        let Some(Open::Part { part, is_call, has_arguments, .. }) = self.open.get_mut(&index) else { return };
        let part = *part;
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        let delta = match delta.kind.as_str() {
            "text_delta" => said(delta.text).map(Delta::Text),
            "thinking_delta" => said(delta.thinking).map(Delta::Text),
            "input_json_delta" if *is_call => {
                let text = said(delta.partial_json);
                *has_arguments |= text.is_some();
                text.map(Delta::Arguments)
            }
            "signature_delta" => blocks::signature(delta.signature).map(Delta::Signature),
            "citations_delta" => delta.citation.as_ref().map(|citation| Delta::Citation(blocks::citation(citation))),
            _ => None,
        };
        out.extend(delta.map(|delta| StreamEvent::PartDelta { candidate: 0, part, delta }));
    }

    fn block_stop(&mut self, index: u32, out: &mut Vec<StreamEvent>) {
        if let Some(Open::Part { part, is_call, has_arguments, input }) = self.open.remove(&index) {
            // An input that came whole with the start and without deltas.
            let whole = input.filter(|input| is_call && !has_arguments && input.as_object().is_some_and(|o| !o.is_empty()));
            if let Some(input) = whole {
                let delta = Delta::Arguments(input.to_string());
                out.push(StreamEvent::PartDelta { candidate: 0, part, delta });
            }
            out.push(StreamEvent::PartEnd { candidate: 0, part });
        }
    }

    fn end(&mut self, out: &mut Vec<StreamEvent>) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let still_open: Vec<u32> = self.open.keys().copied().collect();
        for index in still_open {
            self.block_stop(index, out);
        }
        let stop = self.stop.take().unwrap_or_default();
        out.push(StreamEvent::Finish {
            candidate: 0,
            reason: finish_of(stop.reason.as_deref(), self.has_calls),
            raw: stop.reason,
            stop_sequence: stop.sequence,
            explanation: stop.explanation,
        });
        out.push(StreamEvent::End);
    }
}

impl Decode for Decoder {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<StreamEvent>) -> Result<(), StreamFailure> {
        if self.has_ended || event.data.is_empty() {
            return Ok(());
        }
        let data = event.data;
        let event: wire::Event = serde_json::from_slice(data).map_err(|error| StreamFailure::Invalid(error.to_string()))?;
        match event.kind.as_str() {
            // The server does not stream and gave the whole answer.
            "message" if !self.has_started => {
                self.has_started = true;
                self.has_ended = true;
                out.extend(replay::events(&decode::response(data)?));
            }
            "message_start" if !self.has_started => {
                self.has_started = true;
                let message = event.message.unwrap_or_default();
                out.push(StreamEvent::Start { id: message.id, model: message.model });
                self.usage(message.usage.as_ref(), out);
            }
            "error" => {
                return Err(StreamFailure::Upstream(error::from_error(200, &event.error.unwrap_or_default())));
            }
            _ if !self.has_started => {}
            "content_block_start" => self.block_start(event.index, event.content_block.unwrap_or_default(), out)?,
            "content_block_delta" => self.block_delta(event.index, event.delta.unwrap_or_default(), out),
            "content_block_stop" => self.block_stop(event.index, out),
            "message_delta" => {
                let delta = event.delta.unwrap_or_default();
                if delta.stop_reason.is_some() {
                    self.stop = Some(Stop {
                        reason: delta.stop_reason,
                        sequence: delta.stop_sequence,
                        explanation: delta.stop_details.and_then(|details| details.explanation),
                    });
                }
                self.usage(event.usage.as_ref(), out);
            }
            "message_stop" => self.end(out),
            "ping" => out.push(StreamEvent::Ping),
            _ => {}
        }
        Ok(())
    }

    /// Only as the vendor writes it.
    fn fragment<'a>(&self, event: Event<'a>) -> Option<Fragment<'a>> {
        let rest = event.data.strip_prefix(br#"{"type":"content_block_delta","index":"#)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let index = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
        let Some(Open::Part { part, is_call: false, .. }) = self.open.get(&index).filter(|_| !self.has_ended) else {
            return None;
        };
        let text = rest[digits..].strip_prefix(br#","delta":{"type":"text_delta","text":""#)?;
        let fragment = Fragment::read(event.data, event.data.len() - text.len())?;
        // Spaces in front of a brace hide the length of the text from who listens.
        let mut closing = event.data[fragment.end() + 1..].iter().filter(|byte| **byte != b' ');
        if !closing.by_ref().take(2).eq(b"}}") || closing.next().is_some() {
            return None;
        }
        Some(Fragment { part: *part, ..fragment })
    }

    /// A stop reason without `message_stop` is an end; neither is a cut.
    fn finish(&mut self, out: &mut Vec<StreamEvent>) -> Result<(), StreamFailure> {
        if !self.has_ended && self.stop.is_none() {
            return Err(StreamFailure::Truncated);
        }
        self.end(out);
        Ok(())
    }
}

/// Reads what the meter needs of an event that passes; only the events that carry usage or an error are parsed.
pub(crate) fn tap(event: Event<'_>, tap: &mut Tap) -> Result<(), StreamFailure> {
    let data = event.data;
    let parse = || serde_json::from_slice::<wire::Event>(data).map_err(|error| StreamFailure::Invalid(error.to_string()));
    match event.name {
        "message_start" => {
            let message = parse()?.message.unwrap_or_default();
            tap.id = message.id;
            tap.model = message.model;
            merge(tap, message.usage.as_ref());
        }
        "message_delta" => {
            let event = parse()?;
            merge(tap, event.usage.as_ref());
            tap.finish_reason = event.delta.and_then(|delta| delta.stop_reason).or(tap.finish_reason.take());
        }
        "message_stop" => tap.done = true,
        "error" => return Err(StreamFailure::Upstream(error::from_error(200, &parse()?.error.unwrap_or_default()))),
        "content_block_start" => {
            // A call is content before its first argument.
            tap.content |= !needle!("\"text\"").is_in(data) && !needle!("\"thinking\"").is_in(data);
            count(data, tap);
        }
        "content_block_delta" if !tap.is_alike(event) => {
            tap.begin_event();
            count(data, tap);
            tap.said_only_text(event);
        }
        // A whole answer, or an error, where events were due: JSON without an event's name.
        "" if data.first() == Some(&b'{') => return whole(data, tap),
        _ => {}
    }
    Ok(())
}

fn whole(data: &[u8], tap: &mut Tap) -> Result<(), StreamFailure> {
    let event: wire::Event = serde_json::from_slice(data).map_err(|error| StreamFailure::Invalid(error.to_string()))?;
    match event.kind.as_str() {
        "error" => Err(StreamFailure::Upstream(error::from_error(200, &event.error.unwrap_or_default()))),
        "message" => {
            usage::tap(data, tap)?;
            tap.content = true;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn count(data: &[u8], tap: &mut Tap) {
    for key in &CONTENT_KEYS {
        tap.count_strings(data, key);
    }
}

/// The tap keeps the merged figures as text between events.
fn merge(tap: &mut Tap, news: Option<&Value>) {
    let Some(news) = news else { return };
    let mut known: Map<String, Value> =
        tap.usage.as_ref().and_then(|report| serde_json::from_str(&report.raw).ok()).unwrap_or_default();
    usage::merge(&mut known, news);
    tap.usage = usage::decode(&Value::Object(known)).or(tap.usage.take());
}
