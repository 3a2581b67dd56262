//! Writes chunk streams.

use std::collections::BTreeMap;

use serde_json::Value;

use super::encode::finish_reason;
use super::encode_message::{annotation, output_image, thinking_block};
use super::wire::{Chunk, ChunkChoice, ChunkDelta, ChunkUsage, CustomCall, FunctionCall, ToolCall, Usage};
use super::{error, usage};
use crate::context::ResponseContext;
use crate::dispatch::Encode;
use crate::failure::ErrorReply;
use crate::ident;
use crate::ir::{Citation, Delta, PartKind, PartStart, Reasoning, Signature, StreamEvent, ToolKind};
use crate::sse;

/// The official accumulator adds numbers and joins strings: role, ids and names are said once only.
#[derive(Debug)]
pub(crate) struct Encoder {
    context: ResponseContext,
    id: String,
    usage: Option<Usage>,
    choices: BTreeMap<u32, State>,
    has_ended: bool,
}

#[derive(Debug, Default)]
struct State {
    role_said: bool,
    parts: BTreeMap<u32, Open>,
    next_tool: u32,
    next_block: u32,
    /// Characters of text said so far.
    text_chars: u64,
    citations: Vec<Value>,
}

#[derive(Debug)]
enum Open {
    Text { offset: u64, citations: Vec<Citation> },
    Refusal,
    Reasoning { text: String, signature: Option<Signature> },
    Tool { index: u32, kind: ToolKind, has_arguments: bool },
    Silent,
}

impl Encoder {
    pub fn new(context: ResponseContext) -> Self {
        let id = ident::response_id("chatcmpl-", None, &context.response_id);
        Self { context, id, usage: None, choices: BTreeMap::new(), has_ended: false }
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
        sse::write(None, &serde_json::to_vec(&chunk).unwrap_or_default(), out);
    }

    fn delta(&mut self, candidate: u32, delta: ChunkDelta, out: &mut Vec<u8>) {
        self.role(candidate, out);
        self.chunk(vec![ChunkChoice { index: candidate, delta, logprobs: None, finish_reason: None }], ChunkUsage::Null, out);
    }

    fn role(&mut self, candidate: u32, out: &mut Vec<u8>) {
        let state = self.choices.entry(candidate).or_default();
        if !std::mem::replace(&mut state.role_said, true) {
            let delta = ChunkDelta { role: Some("assistant"), content: Some(String::new()), ..ChunkDelta::default() };
            self.chunk(vec![ChunkChoice { index: candidate, delta, logprobs: None, finish_reason: None }], ChunkUsage::Null, out);
        }
    }

    fn start(&mut self, candidate: u32, part: u32, start: &PartStart, out: &mut Vec<u8>) {
        let (exposes, legacy) = (self.context.expose_reasoning, self.context.legacy_functions);
        let state = self.choices.entry(candidate).or_default();
        let mut said = None;
        let open = match start {
            PartStart::Text => Open::Text { offset: state.text_chars, citations: Vec::new() },
            PartStart::Refusal => Open::Refusal,
            PartStart::Reasoning { .. } if exposes => Open::Reasoning { text: String::new(), signature: None },
            PartStart::Reasoning { .. } => Open::Silent,
            PartStart::ToolCall { id, name, kind } => {
                let index = state.next_tool;
                state.next_tool += 1;
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
                    PartKind::Text(text) => Some(ChunkDelta { content: Some(text.text.clone()), ..ChunkDelta::default() }),
                    PartKind::Image(image) => {
                        Some(ChunkDelta { images: output_image(image).into_iter().collect(), ..ChunkDelta::default() })
                    }
                    PartKind::Reasoning(reasoning) if exposes => thinking_block(reasoning, Some(state.next_block)).map(|block| {
                        state.next_block += 1;
                        ChunkDelta { thinking_blocks: vec![block], ..ChunkDelta::default() }
                    }),
                    PartKind::ToolCall(call) => {
                        let index = state.next_tool;
                        state.next_tool += 1;
                        let mut delta = opening(index, &call.id, &call.name, call.kind, legacy);
                        fill(&mut delta, &call.arguments);
                        (!legacy || index == 0).then_some(delta)
                    }
                    _ => None,
                };
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
                ChunkDelta { content: Some(text.clone()), ..ChunkDelta::default() }
            }
            (Open::Refusal, Delta::Text(text)) => ChunkDelta { refusal: Some(text.clone()), ..ChunkDelta::default() },
            (Open::Reasoning { text: whole, .. }, Delta::Text(text)) => {
                whole.push_str(text);
                ChunkDelta { reasoning_content: Some(text.clone()), ..ChunkDelta::default() }
            }
            (Open::Reasoning { signature, .. }, Delta::Signature(given)) => {
                *signature = Some(given.clone());
                return;
            }
            (Open::Tool { index, kind, has_arguments }, Delta::Arguments(text)) => {
                *has_arguments = true;
                continuing(*index, *kind, text, legacy)
            }
            (Open::Text { citations, .. }, Delta::Citation(citation)) => {
                citations.push(citation.clone());
                return;
            }
            (Open::Text { .. }, Delta::Logprobs(logprobs)) => {
                let logprobs = Some(logprobs.clone());
                let choice = ChunkChoice { index: candidate, delta: ChunkDelta::default(), logprobs, finish_reason: None };
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
            Some(Open::Reasoning { text, signature: Some(signature) }) => {
                let reasoning = Reasoning { text, signature: Some(signature), ..Reasoning::default() };
                let Some(block) = thinking_block(&reasoning, Some(state.next_block)) else { return };
                state.next_block += 1;
                ChunkDelta { thinking_blocks: vec![block], ..ChunkDelta::default() }
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
}

impl Encode for Encoder {
    fn event(&mut self, event: &StreamEvent, out: &mut Vec<u8>) {
        if self.has_ended {
            return;
        }
        match event {
            StreamEvent::Start { id, .. } => {
                self.id = ident::response_id("chatcmpl-", id.as_deref(), &self.context.response_id);
            }
            StreamEvent::PartStart { candidate, part, start } => self.start(*candidate, *part, start, out),
            StreamEvent::PartDelta { candidate, part, delta } => self.part_delta(*candidate, *part, delta, out),
            StreamEvent::PartEnd { candidate, part } => self.end(*candidate, *part, out),
            StreamEvent::Finish { candidate, reason, .. } => {
                let state = self.choices.entry(*candidate).or_default();
                let has_calls = state.next_tool > 0;
                let annotations = std::mem::take(&mut state.citations);
                if !annotations.is_empty() {
                    self.delta(*candidate, ChunkDelta { annotations, ..ChunkDelta::default() }, out);
                }
                self.role(*candidate, out);
                let finish_reason = Some(finish_reason(*reason, has_calls, self.context.legacy_functions));
                let choice = ChunkChoice { index: *candidate, delta: ChunkDelta::default(), logprobs: None, finish_reason };
                self.chunk(vec![choice], ChunkUsage::Null, out);
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

    /// No `[DONE]` after it: some clients take that for success.
    fn fail(&mut self, error: &ErrorReply, out: &mut Vec<u8>) {
        self.has_ended = true;
        sse::write(None, error::object(error).to_string().as_bytes(), out);
    }
}

fn opening(index: u32, id: &str, name: &str, kind: ToolKind, legacy: bool) -> ChunkDelta {
    let function = || FunctionCall { name: Some(name.to_owned()), arguments: Some("".into()) };
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
    let function = || FunctionCall { name: None, arguments: Some(text.into()) };
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
