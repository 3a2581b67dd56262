//! Writes chunk streams.

use std::collections::BTreeMap;

use serde_json::Value;

use super::encode_answer::{REASONING_GAP, finish_reason, native, refusal};
use super::encode_message::{annotation, append_audio, opening_audio, output_image};
use super::wire::{Audio, CustomCall, ExtraContent, FunctionCall, ToolCall};
use super::wire_answer::{Chunk, ChunkChoice, ChunkDelta, ChunkUsage, Usage};
use super::{carriers, error, usage};
use crate::context::ResponseContext;
use crate::dispatch::Encode;
use crate::failure::ErrorReply;
use crate::ident;
use crate::ir::{Citation, Delta, FinishReason, PartKind, PartStart, Reasoning, Signature, StreamEvent, ToolKind};
use crate::run::{Around, Said};
use crate::sse;

/// The official accumulator adds numbers and joins strings: role, ids and names are said once only.
#[derive(Debug)]
pub(crate) struct Encoder {
    context: ResponseContext,
    id: String,
    usage: Option<Usage>,
    choices: BTreeMap<u32, State>,
    has_ended: bool,
    /// What stands around the text of a chunk that says nothing else, and of which candidate.
    around: Option<(u32, Around)>,
}

#[derive(Debug, Default)]
struct State {
    role_said: bool,
    parts: BTreeMap<u32, Open>,
    next_tool: u32,
    next_block: u32,
    next_detail: u32,
    next_image: usize,
    /// Characters of text said so far.
    text_chars: u64,
    citations: Vec<Value>,
    /// The signature of the text, said once, at the end.
    mark: Option<ExtraContent>,
    has_reasoning: bool,
    has_refusal: bool,
    has_content: bool,
    has_audio: bool,
}

#[derive(Debug)]
enum Open {
    Text { offset: u64, citations: Vec<Citation> },
    Refusal,
    Reasoning { id: Option<String>, is_summary: bool, text: String, signature: Option<Signature>, text_before: u64 },
    Tool { index: u32, kind: ToolKind, has_arguments: bool },
    Silent,
}

impl Encoder {
    pub fn new(context: ResponseContext) -> Self {
        let id = ident::response_id("chatcmpl-", None, &context.response_id);
        Self { context, id, usage: None, choices: BTreeMap::new(), has_ended: false, around: None }
    }

    fn chunk(&self, choices: Vec<ChunkChoice>, usage: ChunkUsage, out: &mut Vec<u8>) {
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.context.created_at.seconds(),
            model: &self.context.client_model,
            choices,
            usage: if self.context.include_usage { usage } else { ChunkUsage::Absent },
        };
        sse::write_json(None, &chunk, out);
    }

    /// What stands around a text: the chunk that says an empty one, without it.
    fn around_text(&self, candidate: u32) -> Option<Around> {
        // In a name or an id its quotes would be escaped.
        const EMPTY: &[u8] = br#""content":"""#;
        let mut chunk = Vec::new();
        let delta = ChunkDelta { content: Some(String::new()), ..ChunkDelta::default() };
        self.chunk(
            vec![ChunkChoice { index: candidate, delta, logprobs: None, finish_reason: None, native_finish_reason: None }],
            ChunkUsage::Null,
            &mut chunk,
        );
        let at = memchr::memmem::find(&chunk, EMPTY)? + EMPTY.len() - 1;
        let behind = chunk.split_off(at);
        Some(Around { before: chunk, behind })
    }

    fn delta(&mut self, candidate: u32, delta: ChunkDelta, out: &mut Vec<u8>) {
        self.role(candidate, out);
        self.chunk(
            vec![ChunkChoice { index: candidate, delta, logprobs: None, finish_reason: None, native_finish_reason: None }],
            ChunkUsage::Null,
            out,
        );
    }

    fn role(&mut self, candidate: u32, out: &mut Vec<u8>) {
        let state = self.choices.entry(candidate).or_default();
        if !std::mem::replace(&mut state.role_said, true) {
            let delta = ChunkDelta { role: Some("assistant"), content: Some(String::new()), ..ChunkDelta::default() };
            self.chunk(
                vec![ChunkChoice { index: candidate, delta, logprobs: None, finish_reason: None, native_finish_reason: None }],
                ChunkUsage::Null,
                out,
            );
        }
    }

    fn start(&mut self, candidate: u32, part: u32, start: &PartStart, out: &mut Vec<u8>) {
        let (exposes, legacy) = (self.context.expose_reasoning, self.context.legacy_functions);
        let created_at = self.context.created_at;
        let state = self.choices.entry(candidate).or_default();
        let mut said = None;
        let open = match start {
            PartStart::Text => Open::Text { offset: state.text_chars, citations: Vec::new() },
            PartStart::Refusal => {
                state.has_refusal = true;
                Open::Refusal
            }
            PartStart::Reasoning { id, is_summary } if exposes => Open::Reasoning {
                id: id.clone(),
                is_summary: *is_summary,
                text: String::new(),
                signature: None,
                text_before: state.text_chars,
            },
            PartStart::Reasoning { .. } => Open::Silent,
            PartStart::ToolCall { id, name, kind } => {
                let index = state.next_tool;
                state.next_tool += 1;
                state.has_content = true;
                if legacy && index > 0 {
                    // The old shape holds one call.
                    Open::Silent
                } else {
                    said = Some(opening(index, id, name, *kind, legacy));
                    Open::Tool { index, kind: *kind, has_arguments: false }
                }
            }
            PartStart::Whole(whole) => {
                said = match &whole.kind {
                    PartKind::Text(text) => {
                        state.text_chars += text.text.chars().count() as u64;
                        Some(ChunkDelta { content: Some(text.text.clone()), ..ChunkDelta::default() })
                    }
                    PartKind::Image(image) => output_image(image, state.next_image).map(|image| {
                        state.next_image += 1;
                        ChunkDelta { images: vec![image], ..ChunkDelta::default() }
                    }),
                    PartKind::Audio(media) => {
                        // Id and expiry are said once; the rest is joined by the client.
                        let is_first = !std::mem::replace(&mut state.has_audio, true);
                        let mut audio = if is_first { opening_audio(&self.id, created_at) } else { Audio::default() };
                        append_audio(&mut audio, media);
                        Some(ChunkDelta { audio: Some(audio), ..ChunkDelta::default() })
                    }
                    PartKind::Reasoning(reasoning) if exposes => state.signed(reasoning, state.text_chars),
                    PartKind::ToolCall(call) => {
                        let index = state.next_tool;
                        state.next_tool += 1;
                        let mut delta = opening(index, &call.id, &call.name, call.kind, legacy);
                        fill(&mut delta, &call.arguments);
                        (!legacy || index == 0).then_some(delta)
                    }
                    _ => None,
                };
                state.has_content |= said.is_some() && !matches!(whole.kind, PartKind::Reasoning(_));
                Open::Silent
            }
        };
        state.parts.insert(part, open);
        if let Some(delta) = said {
            self.delta(candidate, delta, out);
        }
    }

    fn part_delta(&mut self, candidate: u32, part: u32, delta: &Delta, out: &mut Vec<u8>) {
        let legacy = self.context.legacy_functions;
        let Some(state) = self.choices.get_mut(&candidate) else { return };
        let Some(open) = state.parts.get_mut(&part) else { return };
        let said = match (open, delta) {
            (_, Delta::Text(text) | Delta::Arguments(text)) if text.is_empty() => return,
            (Open::Text { .. }, Delta::Text(text)) => {
                state.text_chars += text.chars().count() as u64;
                state.has_content = true;
                ChunkDelta { content: Some(text.clone()), ..ChunkDelta::default() }
            }
            (Open::Refusal, Delta::Text(text)) => ChunkDelta { refusal: Some(text.clone()), ..ChunkDelta::default() },
            (Open::Reasoning { text: whole, .. }, Delta::Text(text)) => {
                // Pieces of reasoning stand apart, as they do in a whole answer.
                let is_next = whole.is_empty() && std::mem::replace(&mut state.has_reasoning, true);
                whole.push_str(text);
                let said = if is_next { format!("{REASONING_GAP}{text}") } else { text.clone() };
                ChunkDelta { reasoning_content: Some(said), ..ChunkDelta::default() }
            }
            (Open::Reasoning { signature, .. }, Delta::Signature(given)) => {
                *signature = Some(given.clone());
                return;
            }
            (Open::Tool { index, kind, has_arguments }, Delta::Arguments(text)) => {
                *has_arguments = true;
                continuing(*index, *kind, text, legacy)
            }
            (Open::Tool { index, kind, .. }, Delta::Signature(signature)) if !legacy => {
                let Some(extra) = carriers::extra_content(Some(signature)) else { return };
                // OpenAI's SDK wants a function in every piece of a call.
                let mut said = continuing(*index, *kind, "", legacy);
                for call in &mut said.tool_calls {
                    call.extra_content = Some(extra.clone());
                }
                said
            }
            (Open::Text { .. }, Delta::Signature(signature)) => {
                state.mark = carriers::extra_content(Some(signature)).or(state.mark.take());
                return;
            }
            (Open::Text { citations, .. }, Delta::Citation(citation)) => {
                citations.push(citation.clone());
                return;
            }
            (Open::Text { .. }, Delta::Logprobs(logprobs)) => {
                let logprobs = Some(logprobs.clone());
                let choice = ChunkChoice {
                    index: candidate,
                    delta: ChunkDelta::default(),
                    logprobs,
                    finish_reason: None,
                    native_finish_reason: None,
                };
                self.role(candidate, out);
                self.chunk(vec![choice], ChunkUsage::Null, out);
                return;
            }
            _ => return,
        };
        self.delta(candidate, said, out);
    }

    fn end(&mut self, candidate: u32, part: u32, out: &mut Vec<u8>) {
        let legacy = self.context.legacy_functions;
        let Some(state) = self.choices.get_mut(&candidate) else { return };
        let said = match state.parts.remove(&part) {
            // Clients parse the arguments: nothing is not JSON.
            Some(Open::Tool { index, kind: ToolKind::Function, has_arguments: false }) => {
                continuing(index, ToolKind::Function, "{}", legacy)
            }
            Some(Open::Reasoning { id, is_summary, text, signature, text_before }) => {
                let Some(delta) = state.signed(&Reasoning { id, text, is_summary, is_redacted: false, signature }, text_before)
                else {
                    return;
                };
                delta
            }
            Some(Open::Text { offset, citations }) => {
                let chars = state.text_chars - offset;
                state.citations.extend(citations.iter().filter_map(|citation| annotation(citation, offset, chars)));
                return;
            }
            _ => return,
        };
        self.delta(candidate, said, out);
    }

    fn finish(&mut self, candidate: u32, reason: FinishReason, raw: Option<&str>, explanation: Option<&str>, out: &mut Vec<u8>) {
        let state = self.choices.entry(candidate).or_default();
        let has_calls = state.next_tool > 0;
        let late = ChunkDelta {
            annotations: std::mem::take(&mut state.citations),
            extra_content: state.mark.take(),
            refusal: refusal(reason, explanation, state.has_content).filter(|_| !state.has_refusal),
            ..ChunkDelta::default()
        };
        if !late.annotations.is_empty() || late.extra_content.is_some() || late.refusal.is_some() {
            self.delta(candidate, late, out);
        }
        self.role(candidate, out);
        let choice = ChunkChoice {
            index: candidate,
            delta: ChunkDelta::default(),
            logprobs: None,
            finish_reason: Some(finish_reason(reason, has_calls, self.context.legacy_functions)),
            native_finish_reason: native(reason, raw),
        };
        self.chunk(vec![choice], ChunkUsage::Null, out);
    }
}

impl State {
    /// Reasoning that its vendor signed, for the client to bring back: whole, because the accumulator would join its parts.
    fn signed(&mut self, reasoning: &Reasoning, text_before: u64) -> Option<ChunkDelta> {
        let reasoning_details = carriers::details(reasoning, Some(self.next_detail), text_before);
        self.next_detail += reasoning_details.len() as u32;
        let thinking_blocks: Vec<_> = carriers::thinking_block(reasoning, Some(self.next_block)).into_iter().collect();
        self.next_block += thinking_blocks.len() as u32;
        (!reasoning_details.is_empty()).then(|| ChunkDelta { thinking_blocks, reasoning_details, ..ChunkDelta::default() })
    }
}

impl Encode for Encoder {
    fn event(&mut self, event: &StreamEvent, out: &mut Vec<u8>) {
        if self.has_ended {
            return;
        }
        match event {
            StreamEvent::Start { id, .. } => {
                self.id = ident::response_id("chatcmpl-", id.as_deref(), &self.context.response_id);
                self.around = None;
            }
            StreamEvent::PartStart { candidate, part, start } => self.start(*candidate, *part, start, out),
            StreamEvent::PartDelta { candidate, part, delta } => self.part_delta(*candidate, *part, delta, out),
            StreamEvent::PartEnd { candidate, part } => self.end(*candidate, *part, out),
            StreamEvent::Finish { candidate, reason, raw, explanation, .. } => {
                self.finish(*candidate, *reason, raw.as_deref(), explanation.as_deref(), out);
            }
            StreamEvent::Usage(report) => self.usage = Some(usage::encode(&report.usage)),
            StreamEvent::Ping => out.extend_from_slice(b": ping\n\n"),
            StreamEvent::End => {
                self.has_ended = true;
                if self.context.include_usage
                    && let Some(usage) = self.usage
                {
                    self.chunk(Vec::new(), ChunkUsage::Said(usage), out);
                }
                sse::write(None, b"[DONE]", out);
            }
        }
    }

    fn around(&mut self, candidate: u32, part: u32) -> Option<Around> {
        let state = self.choices.get(&candidate)?;
        if self.has_ended || !state.role_said || !matches!(state.parts.get(&part), Some(Open::Text { .. })) {
            return None;
        }
        if self.around.as_ref().is_none_or(|(known, _)| *known != candidate) {
            self.around = Some((candidate, self.around_text(candidate)?));
        }
        self.around.as_ref().map(|(_, around)| around.clone())
    }

    fn said(&mut self, candidate: u32, said: Said) {
        let state = self.choices.entry(candidate).or_default();
        state.text_chars += said.chars as u64;
        state.has_content = true;
    }

    /// No `[DONE]` after it: some clients take that for success.
    fn fail(&mut self, error: &ErrorReply, out: &mut Vec<u8>) {
        self.has_ended = true;
        sse::write(None, error::object(error).to_string().as_bytes(), out);
    }
}

fn opening(index: u32, id: &str, name: &str, kind: ToolKind, legacy: bool) -> ChunkDelta {
    let function = || FunctionCall { name: Some(name.to_owned()), arguments: Some("".into()), thought_signature: None };
    if legacy {
        return ChunkDelta { function_call: Some(function()), ..ChunkDelta::default() };
    }
    let mut call = ToolCall { index: Some(index), id: Some(id.to_owned()), ..ToolCall::default() };
    match kind {
        ToolKind::Function => {
            call.kind = Some("function".into());
            call.function = Some(function());
        }
        ToolKind::Custom => {
            call.kind = Some("custom".into());
            call.custom = Some(CustomCall { name: Some(name.to_owned()), input: Some(String::new()) });
        }
    }
    ChunkDelta { tool_calls: vec![call], ..ChunkDelta::default() }
}

fn continuing(index: u32, kind: ToolKind, text: &str, legacy: bool) -> ChunkDelta {
    let function = || FunctionCall { name: None, arguments: Some(text.into()), thought_signature: None };
    if legacy {
        return ChunkDelta { function_call: Some(function()), ..ChunkDelta::default() };
    }
    let mut call = ToolCall { index: Some(index), ..ToolCall::default() };
    match kind {
        ToolKind::Function => call.function = Some(function()),
        ToolKind::Custom => call.custom = Some(CustomCall { name: None, input: Some(text.to_owned()) }),
    }
    ChunkDelta { tool_calls: vec![call], ..ChunkDelta::default() }
}

/// Puts whole arguments into an opening fragment.
fn fill(delta: &mut ChunkDelta, arguments: &str) {
    let calls = delta.tool_calls.iter_mut().filter_map(|call| call.function.as_mut());
    for function in calls.chain(delta.function_call.as_mut()) {
        function.arguments = Some(arguments.into());
    }
    for custom in delta.tool_calls.iter_mut().filter_map(|call| call.custom.as_mut()) {
        custom.input = Some(arguments.to_owned());
    }
}
