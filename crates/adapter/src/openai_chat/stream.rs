//! Reads chunk streams, translated or in passing.

use std::collections::BTreeMap;

use serde_json::Value;

use super::carriers;
use super::decode::finish_of;
use super::decode_message::{bare_thought, citation, minted_id};
use super::decode_part::{arguments_text, output_audio, output_image, thinking_text};
use super::wire::{Content, ToolCall};
use super::wire_answer::{UpstreamChoice, UpstreamChunk, UpstreamDelta};
use super::{error, usage};
use crate::dispatch::Decode;
use crate::failure::StreamFailure;
use crate::fragment::Fragment;
use crate::ir::{Delta, Part, PartKind, PartStart, Reasoning, Signature, StreamEvent, ToolKind, Vendor};
use crate::needle::{Needle, needle};
use crate::sse::Event;
use crate::tap::{self, Tap};

pub(crate) use super::stream_encode::Encoder;

const DONE: &[u8] = b"[DONE]";
/// Most choices of one stream (OpenAI's own limit of `n`).
const MAX_CHOICES: usize = 128;
/// Most calls of one choice.
const MAX_CALLS: usize = 512;

/// Keys whose strings are output.
pub(super) static CONTENT_KEYS: [Needle; 6] = [
    Needle::new("\"content\":"),
    Needle::new("\"arguments\":"),
    Needle::new("\"reasoning_content\":"),
    Needle::new("\"reasoning\":"),
    Needle::new("\"input\":"),
    Needle::new("\"embedding\":"),
];

#[derive(Debug, Default)]
pub(crate) struct Decoder {
    has_started: bool,
    has_ended: bool,
    /// The stream's id: calls without an id get theirs by it.
    id: String,
    choices: BTreeMap<u32, State>,
    sample: Sample,
}

/// What stood around the text of a chunk that said nothing else. One that is the same but for its text says only that.
#[derive(Debug, Default)]
struct Sample {
    candidate: u32,
    part: u32,
    /// With the text's quotes; empty: there is no sample.
    before: Vec<u8>,
    behind: Vec<u8>,
    /// How often one was taken. Chunks that are never alike are not looked at for ever.
    taken: u32,
}

const MAX_SAMPLES: u32 = 16;

/// One choice.
#[derive(Debug, Default)]
struct State {
    origin: String,
    next_part: u32,
    open: Option<(u32, Open)>,
    calls: Vec<Call>,
    has_refusal: bool,
    refusal: String,
    is_finished: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Reasoning,
    Refusal,
}

#[derive(Debug, Default)]
struct Call {
    index: Option<u32>,
    id: String,
    name: String,
    kind: ToolKind,
    /// Number of its part, once its name is known.
    part: Option<u32>,
    /// Arguments and a signature that came before the name.
    early: String,
    signature: Option<Signature>,
    is_closed: bool,
}

impl Decoder {
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps what stands around the text, if `said` is one and nothing else.
    fn take_sample(&mut self, event: Event<'_>, said: &[StreamEvent]) {
        let [StreamEvent::PartDelta { candidate, part, delta: Delta::Text(said) }] = said else { return };
        let key = needle!("\"content\":");
        let Some(text) = key.find(event.data).and_then(|at| tap::string_at(event.data, at + key.len())) else { return };
        let is_it = serde_json::from_slice::<String>(&event.data[text.start - 1..=text.end]).is_ok_and(|text| text == *said);
        if is_it && event.name.is_empty() && self.sample.taken < MAX_SAMPLES {
            self.sample = Sample {
                candidate: *candidate,
                part: *part,
                before: event.data[..text.start].to_vec(),
                behind: event.data[text.end..].to_vec(),
                taken: self.sample.taken + 1,
            };
        }
    }

    fn end(&mut self, out: &mut Vec<StreamEvent>) {
        if !std::mem::replace(&mut self.has_ended, true) {
            for (candidate, state) in &mut self.choices {
                state.finish(*candidate, None, out);
            }
            out.push(StreamEvent::End);
        }
    }
}

impl Decode for Decoder {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<StreamEvent>) -> Result<(), StreamFailure> {
        if self.has_ended {
            return Ok(());
        }
        if event.data.starts_with(DONE) {
            if self.choices.is_empty() {
                return Err(StreamFailure::Truncated);
            }
            self.end(out);
            return Ok(());
        }
        if event.data.is_empty() {
            return Ok(());
        }
        let chunk: UpstreamChunk =
            serde_json::from_slice(event.data).map_err(|error| StreamFailure::Invalid(error.to_string()))?;
        fail_on(event, &chunk)?;
        if !self.has_started {
            self.has_started = true;
            let known = |text: Option<String>| text.filter(|text| !text.is_empty());
            let id = known(chunk.id);
            self.id = id.clone().unwrap_or_default();
            out.push(StreamEvent::Start { id, model: known(chunk.model) });
        }
        if let Some(report) = chunk.usage.as_ref().and_then(usage::decode) {
            out.push(StreamEvent::Usage(report));
        }
        let before = out.len();
        let says_more = chunk.usage.is_some_and(|usage| !usage.is_null());
        for choice in chunk.choices.unwrap_or_default() {
            let candidate = choice.index.unwrap_or(0);
            if !self.choices.contains_key(&candidate) && self.choices.len() >= MAX_CHOICES {
                return Err(StreamFailure::Invalid("too many choices".into()));
            }
            let fresh = || State { origin: self.id.clone(), ..State::default() };
            self.choices.entry(candidate).or_insert_with(fresh).choice(candidate, choice, out)?;
        }
        if !says_more {
            self.take_sample(event, &out[before..]);
        }
        Ok(())
    }

    fn fragment<'a>(&self, event: Event<'a>) -> Option<Fragment<'a>> {
        let sample = &self.sample;
        if sample.before.is_empty() || !event.name.is_empty() || !event.data.starts_with(&sample.before) {
            return None;
        }
        let fragment =
            Fragment::read(event.data, sample.before.len()).filter(|text| event.data[text.end()..] == sample.behind)?;
        let open = self.choices.get(&sample.candidate).and_then(|state| state.open);
        if self.has_ended || open != Some((sample.part, Open::Text)) {
            return None;
        }
        Some(Fragment { candidate: sample.candidate, part: sample.part, ..fragment })
    }

    fn finish(&mut self, out: &mut Vec<StreamEvent>) -> Result<(), StreamFailure> {
        let is_complete = !self.choices.is_empty() && self.choices.values().all(|state| state.is_finished);
        if self.has_ended {
            return Ok(());
        }
        if !is_complete {
            return Err(StreamFailure::Truncated);
        }
        self.end(out);
        Ok(())
    }
}

/// Any truthy `error` is one, as SDKs see it; so is an event of that name, and an error object without an envelope.
fn fail_on(event: Event<'_>, chunk: &UpstreamChunk) -> Result<(), StreamFailure> {
    let upstream = |error: &Value| Err(StreamFailure::Upstream(error::from_error(200, error)));
    match &chunk.error {
        None | Some(Value::Null | Value::Bool(false)) => {}
        Some(Value::String(text)) if text.is_empty() => {}
        Some(Value::Object(fields)) if fields.is_empty() => {}
        Some(error) => return upstream(error),
    }
    if event.name == "error" || chunk.object.as_deref() == Some("error") {
        return upstream(&serde_json::from_slice(event.data).unwrap_or_default());
    }
    Ok(())
}

impl State {
    /// In the order reasoning, content, calls, finish: servers that fake a stream put all in one chunk.
    fn choice(&mut self, candidate: u32, choice: UpstreamChoice, out: &mut Vec<StreamEvent>) -> Result<(), StreamFailure> {
        if self.is_finished {
            return Ok(());
        }
        let mut message = choice.delta.or(choice.message).unwrap_or_default();
        self.reasoning(candidate, &mut message, out);
        self.content(candidate, &mut message, out);
        if let Some(text) = message.refusal.take().filter(|text| !text.is_empty()) {
            self.has_refusal = true;
            self.refusal.push_str(&text);
            self.text(candidate, Open::Refusal, text, out);
        }
        if let Some((part, Open::Text)) = self.open {
            for citation in message.annotations.iter().flatten().filter_map(citation) {
                out.push(StreamEvent::PartDelta { candidate, part, delta: Delta::Citation(citation) });
            }
            if let Some(logprobs) = choice.logprobs.filter(|logprobs| !logprobs.is_null()) {
                out.push(StreamEvent::PartDelta { candidate, part, delta: Delta::Logprobs(logprobs) });
            }
        }
        for fragment in message.tool_calls.take().unwrap_or_default() {
            self.call(candidate, fragment, out)?;
        }
        if let Some(function) = message.function_call.take() {
            self.call(candidate, ToolCall { index: Some(0), function: Some(function), ..ToolCall::default() }, out)?;
        }
        if let Some(word) = choice.finish_reason.filter(|word| !word.is_empty()) {
            self.finish(candidate, Some(word), out);
        }
        Ok(())
    }

    /// Text and what else a model makes; Google's compatible endpoint marks thoughts in it.
    fn content(&mut self, candidate: u32, message: &mut UpstreamDelta, out: &mut Vec<StreamEvent>) {
        let marks = message.extra_content.take();
        let is_thought = marks.as_ref().and_then(|extra| extra.google.as_ref()?.thought) == Some(true);
        match message.content.take() {
            Some(Content::Text(text)) if is_thought => {
                self.text(candidate, Open::Reasoning, bare_thought(&text).to_owned(), out);
            }
            Some(Content::Text(text)) => self.text(candidate, Open::Text, text, out),
            Some(Content::Parts(parts)) => {
                for part in parts {
                    if part.kind == "thinking" {
                        self.text(candidate, Open::Reasoning, thinking_text(part.thinking.as_ref()), out);
                    } else {
                        self.text(candidate, Open::Text, part.text.unwrap_or_default(), out);
                    }
                }
            }
            None | Some(Content::Null) => {}
        }
        if let Some(signature) = carriers::signature_of_text(marks) {
            if !matches!(self.open, Some((_, Open::Text))) {
                self.open(candidate, Open::Text, out);
            }
            if let Some((part, _)) = self.open {
                out.push(StreamEvent::PartDelta { candidate, part, delta: Delta::Signature(signature) });
            }
        }
        let images = message.images.take().unwrap_or_default().into_iter().filter_map(output_image);
        for part in images.chain(message.audio.take().and_then(output_audio)) {
            self.close_open(candidate, out);
            self.whole(candidate, part, out);
        }
    }

    fn reasoning(&mut self, candidate: u32, message: &mut UpstreamDelta, out: &mut Vec<StreamEvent>) {
        let said = [message.reasoning_content.take(), message.reasoning.take()];
        let text = said.into_iter().flatten().find(|text| !text.is_empty());
        let text = text.or_else(|| message.reasoning_details.take().map(|details| carriers::text_of(&details)));
        self.text(candidate, Open::Reasoning, text.unwrap_or_default(), out);
        for block in message.thinking_blocks.take().unwrap_or_default() {
            let sign = |data: String| Signature { vendor: Vendor::Anthropic, data };
            match (block.signature, block.data) {
                (Some(data), _) => {
                    if !matches!(self.open, Some((_, Open::Reasoning))) {
                        self.open(candidate, Open::Reasoning, out);
                        self.text(candidate, Open::Reasoning, block.thinking.unwrap_or_default(), out);
                    }
                    if let Some((part, _)) = self.open {
                        out.push(StreamEvent::PartDelta { candidate, part, delta: Delta::Signature(sign(data)) });
                    }
                    self.close_open(candidate, out);
                }
                (None, Some(data)) => {
                    self.close_open(candidate, out);
                    let reasoning = Reasoning { is_redacted: true, signature: Some(sign(data)), ..Reasoning::default() };
                    self.whole(candidate, Part::new(PartKind::Reasoning(reasoning)), out);
                }
                (None, None) => {}
            }
        }
    }

    fn whole(&mut self, candidate: u32, part: Part, out: &mut Vec<StreamEvent>) {
        let number = self.number();
        out.push(StreamEvent::PartStart { candidate, part: number, start: PartStart::Whole(Box::new(part)) });
        out.push(StreamEvent::PartEnd { candidate, part: number });
    }

    /// Empty fragments open nothing.
    fn text(&mut self, candidate: u32, kind: Open, text: String, out: &mut Vec<StreamEvent>) {
        if text.is_empty() {
            return;
        }
        let part = match self.open {
            Some((part, open)) if open == kind => part,
            _ => self.open(candidate, kind, out),
        };
        out.push(StreamEvent::PartDelta { candidate, part, delta: Delta::Text(text) });
    }

    fn open(&mut self, candidate: u32, kind: Open, out: &mut Vec<StreamEvent>) -> u32 {
        self.close_open(candidate, out);
        self.close_calls(candidate, out);
        let part = self.number();
        self.open = Some((part, kind));
        let start = match kind {
            Open::Text => PartStart::Text,
            Open::Reasoning => PartStart::Reasoning { id: None, is_summary: false },
            Open::Refusal => PartStart::Refusal,
        };
        out.push(StreamEvent::PartStart { candidate, part, start });
        part
    }

    fn call(&mut self, candidate: u32, mut fragment: ToolCall, out: &mut Vec<StreamEvent>) -> Result<(), StreamFailure> {
        let signature = carriers::signature_of_call(&mut fragment);
        let id = fragment.id.filter(|id| !id.is_empty());
        let has_name = fragment.function.as_ref().is_some_and(|function| function.name.is_some());
        let slot = self.slot(fragment.index, id.as_deref(), has_name);
        let slot = match slot {
            Some(slot) => slot,
            None if self.calls.len() >= MAX_CALLS => return Err(StreamFailure::Invalid("too many tool calls".into())),
            None => {
                self.calls.push(Call { index: fragment.index, ..Call::default() });
                self.calls.len() - 1
            }
        };
        let (name, text, kind) = match (fragment.function, fragment.custom) {
            (None, Some(custom)) => (custom.name, custom.input.unwrap_or_default(), ToolKind::Custom),
            (function, _) => {
                let function = function.unwrap_or_default();
                let text = match function.arguments {
                    None | Some(Value::Null) => String::new(),
                    Some(Value::String(text)) => text,
                    other => arguments_text(other),
                };
                (function.name, text, ToolKind::Function)
            }
        };
        if self.calls[slot].is_closed {
            return Ok(());
        }
        if self.calls[slot].id.is_empty() {
            self.calls[slot].id = id.unwrap_or_default();
        }
        if self.calls[slot].part.is_none() {
            // Some servers repeat the name in each fragment: only the first counts.
            match name.filter(|name| !name.is_empty()) {
                None => {
                    self.calls[slot].early.push_str(&text);
                    self.calls[slot].signature = signature;
                }
                Some(name) => {
                    self.close_open(candidate, out);
                    let part = self.number();
                    let minted = minted_id(&self.origin, slot);
                    let call = &mut self.calls[slot];
                    if call.id.is_empty() {
                        call.id = minted;
                    }
                    call.name.clone_from(&name);
                    call.kind = kind;
                    call.part = Some(part);
                    let start = PartStart::ToolCall { id: call.id.clone(), name, kind };
                    out.push(StreamEvent::PartStart { candidate, part, start });
                    let early = std::mem::take(&mut call.early);
                    if let Some(signature) = signature.or(call.signature.take()) {
                        out.push(StreamEvent::PartDelta { candidate, part, delta: Delta::Signature(signature) });
                    }
                    for text in [early, text].into_iter().filter(|text| !text.is_empty()) {
                        out.push(StreamEvent::PartDelta { candidate, part, delta: Delta::Arguments(text) });
                    }
                }
            }
        } else if let Some(part) = self.calls[slot].part
            && !text.is_empty()
        {
            out.push(StreamEvent::PartDelta { candidate, part, delta: Delta::Arguments(text) });
        }
        Ok(())
    }

    /// Which call a fragment belongs to; `None`: a new one. By index, but a different id under a known index is a new call;
    /// without an index by id, and without both the last, unless it has a name and another is named.
    fn slot(&self, index: Option<u32>, id: Option<&str>, has_name: bool) -> Option<usize> {
        let fits = |call: &Call| id.is_none_or(|id| call.id.is_empty() || call.id == id);
        match index {
            Some(_) => self.calls.iter().rposition(|call| call.index == index && fits(call)),
            None => match id {
                Some(id) => self.calls.iter().rposition(|call| call.id == id),
                None => self.calls.len().checked_sub(1).filter(|last| !(has_name && self.calls[*last].part.is_some())),
            },
        }
    }

    fn close_open(&mut self, candidate: u32, out: &mut Vec<StreamEvent>) {
        if let Some((part, _)) = self.open.take() {
            out.push(StreamEvent::PartEnd { candidate, part });
        }
    }

    fn close_calls(&mut self, candidate: u32, out: &mut Vec<StreamEvent>) {
        for call in self.calls.iter_mut().filter(|call| !call.is_closed) {
            if let Some(part) = call.part {
                call.is_closed = true;
                out.push(StreamEvent::PartEnd { candidate, part });
            }
        }
    }

    fn finish(&mut self, candidate: u32, word: Option<String>, out: &mut Vec<StreamEvent>) {
        if std::mem::replace(&mut self.is_finished, true) {
            return;
        }
        self.close_open(candidate, out);
        self.close_calls(candidate, out);
        let has_calls = self.calls.iter().any(|call| call.part.is_some());
        let reason = finish_of(word.as_deref(), has_calls, self.has_refusal);
        let explanation = self.has_refusal.then(|| std::mem::take(&mut self.refusal));
        out.push(StreamEvent::Finish { candidate, reason, raw: word, stop_sequence: None, explanation });
    }

    fn number(&mut self) -> u32 {
        let part = self.next_part;
        self.next_part += 1;
        part
    }
}

/// Reads what the meter needs of a chunk that passes; only chunks that may carry usage or an error are parsed.
pub(crate) fn tap(event: Event<'_>, tap: &mut Tap) -> Result<(), StreamFailure> {
    let data = event.data;
    if data.starts_with(DONE) {
        tap.done = true;
        return Ok(());
    }
    if tap.is_alike(event) {
        return Ok(());
    }
    tap.begin_event();
    let is_first = tap.id.is_none();
    let may_fail = event.name == "error" || needle!("\"error\"").is_in(data);
    let has_usage = needle!("\"usage\":").find(data).is_some_and(|at| {
        let value = data[at + b"\"usage\":".len()..].iter().find(|byte| !byte.is_ascii_whitespace());
        value.is_some_and(|byte| *byte == b'{')
    });
    if is_first || may_fail || has_usage {
        let chunk: UpstreamChunk = serde_json::from_slice(data).map_err(|error| StreamFailure::Invalid(error.to_string()))?;
        fail_on(event, &chunk)?;
        if is_first {
            tap.id = chunk.id.filter(|id| !id.is_empty());
            tap.model = chunk.model.filter(|model| !model.is_empty()).or(tap.model.take());
        }
        if let Some(report) = chunk.usage.as_ref().and_then(usage::decode) {
            tap.usage = Some(report);
            tap.only_usage = chunk.choices.is_none_or(|choices| choices.is_empty());
        }
    }
    for key in &CONTENT_KEYS {
        tap.count_strings(data, key);
    }
    tap.content |= needle!("\"tool_calls\":[{").is_in(data);
    if let Some(at) = needle!("\"finish_reason\":").find(data)
        && let Some(word) = tap::string_at(data, at + b"\"finish_reason\":".len())
    {
        tap.finish_reason = Some(String::from_utf8_lossy(&data[word]).into_owned());
    } else if !(is_first || may_fail || has_usage) {
        tap.said_only_text(event);
    }
    Ok(())
}
