//! [`StreamEvent`] → records.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tallygate_types::Usage;

use super::super::decode::INCLUDE_THOUGHTS;
use super::super::{error, finish, signature, usage};
use crate::context::ResponseContext;
use crate::dispatch::Encode;
use crate::failure::ErrorReply;
use crate::ir::{Citation, Delta, FinishReason, Object, Part, PartKind, PartStart, Signature, Source, StreamEvent, ToolKind};
use crate::json_write;
use crate::names::FREE_TEXT_FIELD;

/// Writes a client's stream, as events or as one JSON array.
///
/// Text goes out as it comes. Calls go out whole, all neighbours in one record: clients take the calls of a record for
/// complete. The last record holds the finish reasons and the usage, and waits for both.
pub(crate) struct Encoder {
    context: ResponseContext,
    shows_thoughts: bool,
    /// Nobody watches: the records' parts are gathered into one answer.
    is_gathering: bool,
    has_records: bool,
    is_over: bool,
    candidates: BTreeMap<u32, State>,
    usage: Option<Usage>,
    body: Value,
}

#[derive(Default)]
struct State {
    open: BTreeMap<u32, Open>,
    /// Calls that are whole and wait for their neighbours, by part number: they may end in another order.
    calls: BTreeMap<u32, Value>,
    has_called: bool,
    gathered: Vec<Value>,
    /// Text so far, which citations count their offsets in.
    text: String,
    citations: Vec<(Citation, usize)>,
    logprobs: Vec<Value>,
    finish: Option<(FinishReason, Option<String>)>,
}

enum Open {
    /// `start`: where the part begins in the candidate's text.
    Text {
        start: usize,
        gathered_at: Option<usize>,
    },
    Thought {
        gathered_at: Option<usize>,
        has_text: bool,
    },
    Call {
        id: String,
        name: String,
        kind: ToolKind,
        arguments: String,
        signature: Option<Signature>,
    },
    Whole,
}

impl State {
    /// The calls that wait. Google's clients look for a signature on the first of an answer before they send it back, so
    /// where no provider gave one it gets the word by which Google's servers let it pass.
    fn take_calls(&mut self) -> impl Iterator<Item = Value> + use<> {
        let mut calls = std::mem::take(&mut self.calls);
        if let Some(mut first) = calls.first_entry()
            && !std::mem::replace(&mut self.has_called, true)
            && first.get().get("thoughtSignature").is_none()
        {
            first.get_mut()["thoughtSignature"] = signature::SENTINEL.into();
        }
        calls.into_values()
    }
}

impl Encoder {
    pub fn new(context: ResponseContext) -> Self {
        let asked = context.echo.get(INCLUDE_THOUGHTS).and_then(Value::as_bool).unwrap_or(false);
        Self {
            shows_thoughts: context.expose_reasoning && asked,
            context,
            is_gathering: false,
            has_records: false,
            is_over: false,
            candidates: BTreeMap::new(),
            usage: None,
            body: Value::Null,
        }
    }

    pub fn gathering(context: ResponseContext) -> Self {
        Self { is_gathering: true, ..Self::new(context) }
    }

    /// The answer, after `End`.
    pub fn into_body(self) -> Vec<u8> {
        json_write::written(&self.body).unwrap_or_default()
    }

    fn write(&mut self, record: &Value, out: &mut Vec<u8>) {
        let record = json_write::written(record).unwrap_or_default();
        if self.context.json_array {
            out.extend_from_slice(if self.has_records { b",\r\n" } else { b"[" });
            out.extend_from_slice(&record);
        } else {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(&record);
            out.extend_from_slice(b"\r\n\r\n");
        }
        self.has_records = true;
    }

    /// The fields every record has.
    fn record(&self, candidates: Vec<Value>) -> Value {
        json!({
            "candidates": candidates,
            "modelVersion": self.context.client_model,
            "responseId": self.context.response_id.strip_prefix("req_").unwrap_or(&self.context.response_id),
        })
    }

    /// Sends parts of one candidate; gives their place when gathering.
    fn send(&mut self, candidate: u32, parts: Vec<Value>, out: &mut Vec<u8>) -> Option<usize> {
        let all: Vec<Value> = self.candidates.entry(candidate).or_default().take_calls().chain(parts).collect();
        if all.is_empty() {
            return None;
        }
        if self.is_gathering {
            let gathered = &mut self.candidates.entry(candidate).or_default().gathered;
            gathered.extend(all);
            return Some(gathered.len() - 1);
        }
        let content = json!({ "content": { "parts": all, "role": "model" }, "index": candidate });
        let record = self.record(vec![content]);
        self.write(&record, out);
        None
    }

    fn text(&mut self, candidate: u32, part: u32, text: &str, out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let state = self.candidates.entry(candidate).or_default();
        let (is_thought, gathered_at) = match state.open.get_mut(&part) {
            Some(Open::Text { gathered_at, .. }) => {
                state.text.push_str(text);
                (false, *gathered_at)
            }
            Some(Open::Thought { gathered_at, has_text }) => {
                *has_text = true;
                (true, *gathered_at)
            }
            _ => return,
        };
        if is_thought && !self.shows_thoughts {
            return;
        }
        if let Some(Value::String(so_far)) = gathered_at.and_then(|at| state.gathered.get_mut(at)).map(|part| &mut part["text"]) {
            so_far.push_str(text);
            return;
        }
        let sent = if is_thought { json!({ "text": text, "thought": true }) } else { json!({ "text": text }) };
        let at = self.send(candidate, vec![sent], out);
        if let Some(Open::Text { gathered_at, .. } | Open::Thought { gathered_at, .. }) =
            self.candidates.entry(candidate).or_default().open.get_mut(&part)
        {
            *gathered_at = at;
        }
    }

    fn signed(&mut self, candidate: u32, part: u32, made: &Signature, out: &mut Vec<u8>) {
        let shows_thoughts = self.shows_thoughts;
        let state = self.candidates.entry(candidate).or_default();
        let (is_thought, gathered_at) = match state.open.get_mut(&part) {
            Some(Open::Call { signature, .. }) => {
                *signature = Some(made.clone());
                return;
            }
            Some(Open::Text { gathered_at, .. }) => (false, *gathered_at),
            Some(Open::Thought { gathered_at, .. }) if shows_thoughts => (true, *gathered_at),
            _ => return,
        };
        let carried = signature::write(made);
        if let Some(part) = gathered_at.and_then(|at| state.gathered.get_mut(at)) {
            part["thoughtSignature"] = carried.into();
            return;
        }
        let mut sent = json!({ "text": "" });
        if is_thought {
            sent["thought"] = true.into();
        }
        sent["thoughtSignature"] = carried.into();
        self.send(candidate, vec![sent], out);
    }

    fn end_part(&mut self, candidate: u32, part: u32) {
        let state = self.candidates.entry(candidate).or_default();
        if let Some(Open::Call { id, name, kind, arguments, signature }) = state.open.remove(&part) {
            let args = match (kind, serde_json::from_str::<Value>(&arguments)) {
                (ToolKind::Custom, _) => json!({ (FREE_TEXT_FIELD): arguments }),
                (ToolKind::Function, Ok(Value::Object(args))) => Value::Object(args),
                (ToolKind::Function, _) if arguments.is_empty() => json!({}),
                (ToolKind::Function, _) => json!({ "_raw": arguments }),
            };
            let mut call = json!({ "functionCall": { "id": id, "name": name, "args": args } });
            if let Some(signature) = signature {
                call["thoughtSignature"] = signature::write(&signature).into();
            }
            state.calls.insert(part, call);
        }
    }

    fn whole(&mut self, candidate: u32, part: &Part, out: &mut Vec<u8>) {
        if let PartKind::Image(media) | PartKind::Audio(media) | PartKind::Video(media) = &part.kind
            && let Source::Data { media_type, base64 } = &media.source
        {
            let mut sent = json!({ "inlineData": { "mimeType": media_type, "data": base64 } });
            if let Some(signature) = &part.signature {
                sent["thoughtSignature"] = signature::write(signature).into();
            }
            self.send(candidate, vec![sent], out);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if self.candidates.is_empty() {
            self.candidates.insert(0, State::default());
        }
        let mut candidates = Vec::new();
        for (index, mut state) in std::mem::take(&mut self.candidates) {
            let mut parts = std::mem::take(&mut state.gathered);
            parts.extend(state.take_calls());
            if parts.is_empty() && !self.is_gathering {
                parts.push(json!({ "text": "" }));
            }
            let (reason, explanation) = state.finish.take().unwrap_or((FinishReason::Unknown, None));
            let mut candidate =
                json!({ "content": { "parts": parts, "role": "model" }, "finishReason": finish::write(reason), "index": index });
            if let Some(explanation) = explanation {
                candidate["finishMessage"] = explanation.into();
            }
            if let Some(grounding) = grounding(&state) {
                candidate["groundingMetadata"] = grounding;
            }
            if !state.logprobs.is_empty() {
                candidate["logprobsResult"] = logprobs(&state.logprobs);
            }
            candidates.push(candidate);
        }
        let mut record = self.record(candidates);
        if let Some(usage) = &self.usage {
            record["usageMetadata"] = serde_json::to_value(usage::encode(usage)).unwrap_or_default();
        }
        if self.is_gathering {
            self.body = record;
        } else {
            self.write(&record, out);
            if self.context.json_array {
                out.extend_from_slice(b"]");
            }
        }
        self.is_over = true;
    }
}

/// Citations as Google writes them: offsets in UTF-8 bytes of the text.
fn grounding(state: &State) -> Option<Value> {
    let mut chunks = Vec::new();
    let mut supports = Vec::new();
    for (citation, part_start) in &state.citations {
        let Some(url) = &citation.url else { continue };
        let chunk = json!({ "web": { "uri": url, "title": citation.title.as_deref().unwrap_or_default() } });
        let at = chunks.iter().position(|known| *known == chunk).unwrap_or_else(|| {
            chunks.push(chunk);
            chunks.len() - 1
        });
        if let (Some(start), Some(end)) = (citation.start, citation.end) {
            let text = &state.text[*part_start..];
            let bytes = |chars: u64| part_start + text.char_indices().nth(chars as usize).map_or(text.len(), |(byte, _)| byte);
            let (start, end) = (bytes(start), bytes(end));
            let segment = json!({ "startIndex": start, "endIndex": end, "text": state.text.get(start..end) });
            supports.push(json!({ "segment": segment, "groundingChunkIndices": [at] }));
        }
    }
    (!chunks.is_empty()).then(|| {
        let mut grounding = Object::new();
        grounding.insert("groundingChunks".into(), chunks.into());
        if !supports.is_empty() {
            grounding.insert("groundingSupports".into(), supports.into());
        }
        grounding.into()
    })
}

/// OpenAI's entries in Google's form.
fn logprobs(entries: &[Value]) -> Value {
    let entry = |value: &Value| json!({ "token": value["token"], "logProbability": value["logprob"] });
    let chosen: Vec<Value> = entries.iter().map(entry).collect();
    let top: Vec<Value> = entries
        .iter()
        .map(|value| json!({ "candidates": value["top_logprobs"].as_array().into_iter().flatten().map(entry).collect::<Vec<_>>() }))
        .collect();
    json!({ "chosenCandidates": chosen, "topCandidates": top })
}

impl Encode for Encoder {
    fn event(&mut self, event: &StreamEvent, out: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        match event {
            StreamEvent::Start { .. } => {}
            StreamEvent::PartStart { candidate, part, start } => {
                let state = self.candidates.entry(*candidate).or_default();
                let open = match start {
                    PartStart::Text | PartStart::Refusal => Open::Text { start: state.text.len(), gathered_at: None },
                    PartStart::Reasoning { .. } => Open::Thought { gathered_at: None, has_text: false },
                    PartStart::ToolCall { id, name, kind } => {
                        Open::Call { id: id.clone(), name: name.clone(), kind: *kind, arguments: String::new(), signature: None }
                    }
                    PartStart::Whole(_) => Open::Whole,
                };
                state.open.insert(*part, open);
                if let PartStart::Whole(part) = start {
                    self.whole(*candidate, part, out);
                }
            }
            StreamEvent::PartDelta { candidate, part, delta } => match delta {
                Delta::Text(text) => self.text(*candidate, *part, text, out),
                Delta::Arguments(fragment) => {
                    let state = self.candidates.entry(*candidate).or_default();
                    if let Some(Open::Call { arguments, .. }) = state.open.get_mut(part) {
                        arguments.push_str(fragment);
                    }
                }
                Delta::Signature(signature) => self.signed(*candidate, *part, signature, out),
                Delta::Citation(citation) => {
                    let state = self.candidates.entry(*candidate).or_default();
                    if let Some(Open::Text { start, .. }) = state.open.get(part) {
                        state.citations.push((citation.clone(), *start));
                    }
                }
                Delta::Logprobs(logprobs) => {
                    let entries = logprobs["content"].as_array().cloned().unwrap_or_default();
                    self.candidates.entry(*candidate).or_default().logprobs.extend(entries);
                }
            },
            StreamEvent::PartEnd { candidate, part } => self.end_part(*candidate, *part),
            StreamEvent::Finish { candidate, reason, explanation, .. } => {
                self.candidates.entry(*candidate).or_default().finish = Some((*reason, explanation.clone()));
            }
            StreamEvent::Usage(report) => self.usage = Some(report.usage),
            StreamEvent::Ping => {
                if !self.is_gathering {
                    // White space is as quiet between the elements of an array as between events, where Google's own SDK for
                    // Python takes a comment for a broken answer.
                    out.extend_from_slice(b"\r\n");
                }
            }
            StreamEvent::End => self.end(out),
        }
    }

    fn fail(&mut self, reply: &ErrorReply, out: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        self.write(&error::envelope(reply), out);
        if self.context.json_array {
            out.extend_from_slice(b"]");
        }
        self.is_over = true;
    }
}
