//! Records → [`StreamEvent`].

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::parts::{self, Meaning};
use super::super::wire::{Candidate, FunctionCall, GenerateContentResponse, GroundingMetadata, Part as WirePart};
use super::super::{citations, decode, error, finish, ids, signature, usage};
use super::growing::Growing;
use super::has_parts;
use crate::dispatch::Decode;
use crate::failure::StreamFailure;
use crate::ir::{self, Delta, FinishReason, PartKind, PartStart, Signature, StreamEvent, ToolKind, UsageReport};
use crate::sse::Event;

/// Reads an upstream's stream. A part has no index on the wire: neighbouring texts of one kind are one part.
pub(crate) struct Decoder {
    is_started: bool,
    is_over: bool,
    /// The scope of minted call ids.
    id: String,
    candidates: BTreeMap<u32, State>,
    /// Restated in every record: the last one counts. Told as it comes, for clients that want the prompt's share first,
    /// and for streams that are cut.
    usage: Option<UsageReport>,
}

#[derive(Default)]
struct State {
    next_part: u32,
    calls: usize,
    /// The text part in work.
    open: Option<OpenText>,
    /// The call that comes in pieces.
    growing: Option<Growing>,
    has_content: bool,
    finish: Option<String>,
    finish_message: Option<String>,
    /// The prompt was refused: whatever the word, that is a filter.
    is_blocked: bool,
}

struct OpenText {
    number: u32,
    is_thought: bool,
    /// What grounding at the end counts its offsets in.
    text: String,
    signature: Option<Signature>,
}

impl Decoder {
    pub fn new() -> Self {
        Self { is_started: false, is_over: false, id: String::new(), candidates: BTreeMap::new(), usage: None }
    }

    fn candidate(&mut self, wire: Candidate, out: &mut Vec<StreamEvent>) {
        let index = wire.index.and_then(|index| u32::try_from(index).ok()).unwrap_or(0);
        let state = self.candidates.entry(index).or_default();
        for part in wire.content.map(|content| content.parts).unwrap_or_default() {
            state.part(index, part, &self.id, out);
        }
        if wire.grounding_metadata.is_some() || wire.citation_metadata.is_some() {
            state.cite(index, wire.grounding_metadata.as_ref(), wire.citation_metadata.as_ref(), out);
        }
        if let Some(logprobs) = wire.logprobs_result.as_ref().and_then(decode::logprobs)
            && let Some(open) = state.open.as_ref().filter(|open| !open.is_thought)
        {
            out.push(StreamEvent::PartDelta { candidate: index, part: open.number, delta: Delta::Logprobs(logprobs) });
        }
        if let Some(word) = wire.finish_reason {
            state.finish = Some(word);
            state.finish_message = wire.finish_message;
        }
    }

    fn end(&mut self, out: &mut Vec<StreamEvent>) {
        for (index, state) in &mut self.candidates {
            state.close(*index, out);
        }
        for (index, state) in &mut self.candidates {
            let word = state.finish.take().unwrap_or_default();
            let read = finish::read(&word, state.calls > 0, state.has_content);
            let reason = if state.is_blocked { FinishReason::ContentFilter } else { read };
            let is_plain = matches!(reason, FinishReason::Stop | FinishReason::ToolUse);
            let explanation = state.finish_message.take().filter(|_| !is_plain);
            out.push(StreamEvent::Finish { candidate: *index, reason, raw: Some(word), stop_sequence: None, explanation });
        }
        out.push(StreamEvent::End);
        self.is_over = true;
    }
}

impl State {
    fn part(&mut self, candidate: u32, mut wire: WirePart, scope: &str, out: &mut Vec<StreamEvent>) {
        if let Some(call) = wire.function_call.take_if(|call| call.will_continue == Some(true) || call.name.is_empty()) {
            let signature = wire.thought_signature.as_deref().and_then(signature::read);
            self.piece(candidate, call, signature, scope, out);
            return;
        }
        let read = parts::read(wire);
        let signature = read.signature.clone();
        match read.meaning {
            Meaning::Nothing | Meaning::BrokenMedia => {
                // A signature on an empty last part belongs to the text before it.
                if let (Some(open), Some(signature)) = (&mut self.open, signature) {
                    open.signature.get_or_insert(signature);
                }
            }
            Meaning::Part(PartKind::Text(text)) => self.text(candidate, false, &text.text, signature, out),
            Meaning::Part(PartKind::Reasoning(reasoning)) => self.text(candidate, true, &reasoning.text, signature, out),
            Meaning::Call { name, arguments, .. } => {
                let part = self.start_call(candidate, name, signature, scope, out);
                out.push(StreamEvent::PartDelta { candidate, part, delta: Delta::Arguments(arguments) });
                out.push(StreamEvent::PartEnd { candidate, part });
            }
            Meaning::Part(_) => {
                self.close(candidate, out);
                if let Some(whole) = read.into_part(Option::unwrap_or_default) {
                    self.has_content = true;
                    let part = self.take_number();
                    out.push(StreamEvent::PartStart { candidate, part, start: PartStart::Whole(Box::new(whole)) });
                    out.push(StreamEvent::PartEnd { candidate, part });
                }
            }
        }
    }

    /// The prompt was refused: that is said, once.
    fn block(&mut self, blocked: ir::Candidate, out: &mut Vec<StreamEvent>) {
        if !std::mem::replace(&mut self.is_blocked, true) {
            let (part, text) = (self.take_number(), blocked.explanation.clone().unwrap_or_default());
            out.push(StreamEvent::PartStart { candidate: 0, part, start: PartStart::Refusal });
            out.push(StreamEvent::PartDelta { candidate: 0, part, delta: Delta::Text(text) });
            out.push(StreamEvent::PartEnd { candidate: 0, part });
        }
        self.finish = blocked.raw_finish;
        self.finish_message = blocked.explanation;
    }

    fn start_call(
        &mut self,
        candidate: u32,
        name: String,
        signature: Option<Signature>,
        scope: &str,
        out: &mut Vec<StreamEvent>,
    ) -> u32 {
        self.close(candidate, out);
        let id = ids::mint(scope, candidate as usize, self.calls);
        self.calls += 1;
        self.has_content = true;
        let part = self.take_number();
        out.push(StreamEvent::PartStart { candidate, part, start: PartStart::ToolCall { id, name, kind: ToolKind::Function } });
        out.extend(signature.map(|signature| StreamEvent::PartDelta { candidate, part, delta: Delta::Signature(signature) }));
        part
    }

    /// A piece of a call: its start has the name, its end has nothing.
    fn piece(
        &mut self,
        candidate: u32,
        call: FunctionCall,
        signature: Option<Signature>,
        scope: &str,
        out: &mut Vec<StreamEvent>,
    ) {
        if !call.name.is_empty() {
            let part = self.start_call(candidate, call.name, signature, scope, out);
            self.growing = Some(Growing::new(part, call.args));
        }
        if let Some(growing) = &mut self.growing {
            call.partial_args.iter().for_each(|piece| growing.add(piece));
        }
        if call.will_continue != Some(true) {
            self.close(candidate, out);
        }
    }

    fn take_number(&mut self) -> u32 {
        self.next_part += 1;
        self.next_part - 1
    }

    fn text(&mut self, candidate: u32, is_thought: bool, text: &str, signature: Option<Signature>, out: &mut Vec<StreamEvent>) {
        if self.open.as_ref().is_some_and(|open| open.is_thought != is_thought) {
            self.close(candidate, out);
        }
        if self.open.is_none() {
            if text.is_empty() && signature.is_none() {
                return;
            }
            let number = self.take_number();
            let start = if is_thought { PartStart::Reasoning { id: None, is_summary: true } } else { PartStart::Text };
            out.push(StreamEvent::PartStart { candidate, part: number, start });
            self.open = Some(OpenText { number, is_thought, text: String::new(), signature: None });
        }
        self.has_content |= !is_thought;
        if let Some(open) = &mut self.open {
            open.signature = open.signature.take().or(signature);
            open.text.push_str(text);
            if !text.is_empty() {
                out.push(StreamEvent::PartDelta { candidate, part: open.number, delta: Delta::Text(text.to_owned()) });
            }
        }
    }

    fn close(&mut self, candidate: u32, out: &mut Vec<StreamEvent>) {
        if let Some(growing) = self.growing.take() {
            let (part, delta) = (growing.part, Delta::Arguments(growing.arguments()));
            out.push(StreamEvent::PartDelta { candidate, part, delta });
            out.push(StreamEvent::PartEnd { candidate, part });
        }
        if let Some(open) = self.open.take() {
            let part = open.number;
            out.extend(open.signature.map(|signature| StreamEvent::PartDelta {
                candidate,
                part,
                delta: Delta::Signature(signature),
            }));
            out.push(StreamEvent::PartEnd { candidate, part });
        }
    }

    fn cite(
        &mut self,
        candidate: u32,
        grounding: Option<&GroundingMetadata>,
        sources: Option<&Value>,
        out: &mut Vec<StreamEvent>,
    ) {
        let Some(open) = self.open.as_ref().filter(|open| !open.is_thought) else { return };
        let piece = citations::Piece { position: 0, part: 0, start: 0, text: &open.text };
        for (_, citation) in citations::read(grounding, sources, &[piece]) {
            out.push(StreamEvent::PartDelta { candidate, part: open.number, delta: Delta::Citation(citation) });
        }
    }
}

impl Decode for Decoder {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<StreamEvent>) -> Result<(), StreamFailure> {
        if self.is_over || event.data == b"[DONE]" {
            return Ok(());
        }
        let wire: GenerateContentResponse = serde_json::from_slice(event.data)
            .map_err(|error| StreamFailure::Invalid(format!("a record is not readable: {error}")))?;
        if let Some(error) = &wire.error {
            return Err(StreamFailure::Upstream(error::in_stream(error)));
        }
        if !std::mem::replace(&mut self.is_started, true) {
            self.id = wire.response_id.clone().unwrap_or_default();
            out.push(StreamEvent::Start { id: wire.response_id.clone(), model: wire.model_version.clone() });
        }
        if let Some(report) =
            wire.usage_metadata.as_ref().and_then(usage::decode).filter(|report| self.usage.as_ref() != Some(report))
        {
            out.push(StreamEvent::Usage(report.clone()));
            self.usage = Some(report);
        }
        if let Some(blocked) = decode::blocked(&wire).filter(|_| !wire.candidates.iter().any(has_parts)) {
            let state = self.candidates.entry(0).or_default();
            state.block(blocked, out);
        }
        for candidate in wire.candidates {
            self.candidate(candidate, out);
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<StreamEvent>) -> Result<(), StreamFailure> {
        let is_complete = !self.candidates.is_empty() && self.candidates.values().all(|state| state.finish.is_some());
        if !is_complete {
            return Err(StreamFailure::Truncated);
        }
        if !self.is_over {
            self.end(out);
        }
        Ok(())
    }
}
