//! Messages into turns.

use std::collections::HashMap;

use serde_json::Value;
use tallygate_types::Dialect;

use super::carriers;
use super::decode_part::{arguments_text, content, output_audio, output_image, tool_content};
use super::wire::{Content, Message, ToolCall};
use crate::failure::BadRequest;
use crate::ir::{Citation, Part, PartKind, Role, ToolKind, ToolResult, Turn};
use crate::loss::LossReport;
use crate::names::hash;

/// Most pieces of reasoning in one message that are put between its texts: each walks along them.
const MAX_PLACED: usize = 16;

/// Splits the leading system text from the turns; neighbouring tool messages become one turn.
pub(super) fn messages(messages: Vec<Message>, loss: &mut LossReport) -> Result<(Vec<Part>, Vec<Turn>), BadRequest> {
    let mut reader = Reader { loss, system: Vec::new(), turns: Vec::new(), calls: HashMap::new(), open: Vec::new() };
    for (position, message) in messages.into_iter().enumerate() {
        reader.message(message, position)?;
    }
    Ok((reader.system, reader.turns))
}

struct Reader<'a> {
    loss: &'a mut LossReport,
    system: Vec<Part>,
    turns: Vec<Turn>,
    /// All calls so far, by id.
    calls: HashMap<String, ToolKind>,
    /// Calls not yet answered, id and name, in order: what an answer without an id belongs to.
    open: Vec<(String, String)>,
}

impl Reader<'_> {
    fn message(&mut self, message: Message, position: usize) -> Result<(), BadRequest> {
        let path = format!("messages[{position}]");
        for field in message.other.keys() {
            self.loss.dropped(format!("{path}.{field}"), "unknown field of a message");
        }
        match message.role.as_str() {
            "system" | "developer" => self.system(message, &path),
            "user" => self.user(message, &path),
            "assistant" => self.assistant(message, &path),
            "tool" | "function" => self.tool(message, &path),
            other => Err(BadRequest::invalid(
                format!("{path}.role"),
                format!("Unknown role `{other}`. Use system, developer, user, assistant or tool."),
            )),
        }
    }

    fn system(&mut self, message: Message, path: &str) -> Result<(), BadRequest> {
        let parts = content(message.content, path, self.loss)?;
        if self.turns.is_empty() {
            if message.name.is_some() {
                self.loss.dropped(format!("{path}.name"), "system text has no speaker");
            }
            self.system.extend(parts);
        } else {
            let role = if message.role == "system" { Role::System } else { Role::Developer };
            self.turns.push(Turn { role, name: message.name, parts, said_at: path.to_owned() });
        }
        Ok(())
    }

    /// Agents that speak to Claude put its `tool_result` blocks here: they stand first.
    fn user(&mut self, message: Message, path: &str) -> Result<(), BadRequest> {
        let mut parts = content(message.content, path, self.loss)?;
        parts.sort_by_key(|part| !part.is_tool_result());
        for part in &mut parts {
            if let PartKind::ToolResult(result) = &mut part.kind {
                let id = std::mem::take(&mut result.call_id);
                (result.call_id, result.kind) = self.answered(Some(id), None, &format!("{path}.content"))?;
            }
        }
        self.turns.push(Turn { role: Role::User, name: message.name, parts, said_at: path.to_owned() });
        Ok(())
    }

    fn assistant(&mut self, mut message: Message, path: &str) -> Result<(), BadRequest> {
        if message.audio.is_some() {
            return Err(BadRequest::unsupported(
                format!("{path}.audio"),
                "Earlier audio answers are kept by their vendor and cannot be sent to another. Send the transcript as text.",
            ));
        }
        let name = message.name.take();
        let parts = assistant_parts(message, path, path, self.loss)?;
        self.open.clear();
        for part in &parts {
            if let PartKind::ToolCall(call) = &part.kind {
                self.calls.insert(call.id.clone(), call.kind);
                self.open.push((call.id.clone(), call.name.clone()));
            }
        }
        self.turns.push(Turn { role: Role::Assistant, name, parts, said_at: path.to_owned() });
        Ok(())
    }

    fn tool(&mut self, message: Message, path: &str) -> Result<(), BadRequest> {
        let (call_id, kind) = self.answered(message.tool_call_id, message.name.as_deref(), &format!("{path}.tool_call_id"))?;
        let (content, is_error) = tool_content(content(message.content, path, self.loss)?);
        let result = Part::new(PartKind::ToolResult(ToolResult { call_id, name: message.name, content, is_error, kind }));
        match self.turns.last_mut() {
            Some(turn) if turn.role == Role::User && turn.parts.iter().all(Part::is_tool_result) => turn.parts.push(result),
            _ => self.turns.push(Turn::new(Role::User, vec![result]).said_at(path)),
        }
        Ok(())
    }

    /// Which call a result answers. Without an id (the old `function` role, servers that give empty ids) it is the first
    /// open one of that name, else the first open one.
    fn answered(&mut self, id: Option<String>, name: Option<&str>, param: &str) -> Result<(String, ToolKind), BadRequest> {
        let id = match id.filter(|id| !id.is_empty()) {
            Some(id) => carriers::split_id(&id).0.to_owned(),
            None => self
                .open
                .iter()
                .find(|(_, known)| Some(known.as_str()) == name)
                .or(self.open.first())
                .map(|(id, _)| id.clone())
                .ok_or_else(|| BadRequest::invalid(param, "A tool's result needs the `tool_call_id` it answers."))?,
        };
        let kind = *self.calls.get(&id).ok_or_else(|| {
            BadRequest::invalid(
                param,
                format!("No tool call before this message has the id `{id}`. Send the assistant's message with the call first."),
            )
        })?;
        self.open.retain(|(open, _)| *open != id);
        Ok((id, kind))
    }
}

/// The parts of an assistant's message: reasoning first, then text, media, refusal and calls. Serves requests and answers.
/// `origin` tells this message from others: calls without an id get theirs by it.
pub(super) fn assistant_parts(
    mut message: Message,
    path: &str,
    origin: &str,
    loss: &mut LossReport,
) -> Result<Vec<Part>, BadRequest> {
    let marks = message.extra_content.take();
    // Google's compatible endpoint has marked whole answers so: what stands alone and without its tag is the answer.
    let has_calls = message.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty());
    let is_thought = |text: &str| has_calls || text.starts_with(THOUGHT_TAG);
    if marks.as_ref().and_then(|extra| extra.google.as_ref()?.thought) == Some(true)
        && let Some(Content::Text(text)) =
            message.content.take_if(|content| matches!(content, Content::Text(text) if is_thought(text)))
    {
        message.reasoning_content = Some(bare_thought(&text).to_owned());
    }
    let reasoning = carriers::reasoning(&mut message);
    let is_sane = reasoning.len() <= MAX_PLACED;
    let (first, later): (Vec<_>, Vec<_>) = reasoning.into_iter().partition(|(_, chars)| *chars == 0 || !is_sane);
    let mut parts: Vec<Part> = first.into_iter().map(|(part, _)| part).collect();
    let before = parts.len();
    parts.extend(content(message.content, path, loss)?);
    // Blocks of the Messages API among the content: calls stand last.
    parts.sort_by_key(|part| match part.kind {
        PartKind::Reasoning(_) => 0,
        PartKind::ToolCall(_) => 2,
        _ => 1,
    });
    for (reasoning, chars) in later.into_iter().rev() {
        place(&mut parts, reasoning, chars);
    }
    if let Some(signature) = carriers::signature_of_text(marks) {
        match parts.iter_mut().rfind(|part| part.as_text().is_some()) {
            Some(part) => part.signature = Some(signature),
            None => parts.insert(before, Part { signature: Some(signature), ..Part::text("") }),
        }
    }
    if let Some(citations) = message.annotations.filter(|list| !list.is_empty())
        && let Some(PartKind::Text(text)) =
            parts.iter_mut().map(|part| &mut part.kind).find(|kind| matches!(kind, PartKind::Text(_)))
    {
        text.citations = citations.iter().filter_map(citation).collect();
    }
    parts.extend(message.images.unwrap_or_default().into_iter().filter_map(output_image));
    parts.extend(message.audio.and_then(output_audio));
    if let Some(refusal) = message.refusal.filter(|text| !text.is_empty()) {
        parts.push(Part::refusal(refusal));
    }
    for (position, call) in message.tool_calls.unwrap_or_default().into_iter().enumerate() {
        let call = tool_call(call, origin, position);
        let is_known =
            |known: &Part| matches!((&known.kind, &call.kind), (PartKind::ToolCall(a), PartKind::ToolCall(b)) if a.id == b.id);
        // Said twice, as a block and in the list.
        if !parts.iter().any(is_known) {
            parts.push(call);
        }
    }
    if let Some(call) = message.function_call {
        parts.push(Part::tool_call(minted_id(origin, 0), call.name.unwrap_or_default(), arguments_text(call.arguments)));
    }
    Ok(parts)
}

/// Puts reasoning behind the first `chars` characters of text; where the client changed the text, in front of all.
fn place(parts: &mut Vec<Part>, reasoning: Part, chars: u64) {
    let mut left = usize::try_from(chars).unwrap_or(usize::MAX);
    for at in 0..parts.len() {
        let PartKind::Text(text) = &mut parts[at].kind else { continue };
        let length = text.text.chars().count();
        if length < left {
            left -= length;
            continue;
        }
        let cut = text.text.char_indices().nth(left).map_or(text.text.len(), |(cut, _)| cut);
        let tail = text.text.split_off(cut);
        parts.insert(at + 1, reasoning);
        if !tail.is_empty() {
            parts.insert(at + 2, Part::text(tail));
        }
        return;
    }
    parts.insert(0, reasoning);
}

/// Google's compatible endpoint puts thoughts into the content, between tags.
const THOUGHT_TAG: &str = "<thought>";

pub(super) fn bare_thought(text: &str) -> &str {
    let text = text.strip_prefix(THOUGHT_TAG).unwrap_or(text);
    text.strip_suffix("</thought>").unwrap_or(text)
}

fn tool_call(mut call: ToolCall, origin: &str, position: usize) -> Part {
    let signature = carriers::signature_of_call(&mut call);
    let (name, arguments, kind) = match (call.function, call.custom) {
        (None, Some(custom)) => (custom.name.unwrap_or_default(), custom.input.unwrap_or_default(), ToolKind::Custom),
        (function, _) => {
            let function = function.unwrap_or_default();
            (function.name.unwrap_or_default(), arguments_text(function.arguments), ToolKind::Function)
        }
    };
    let id = call.id.filter(|id| !id.is_empty()).unwrap_or_else(|| minted_id(origin, position));
    Part { signature, ..Part::new(PartKind::ToolCall(crate::ir::ToolCall { id, name, arguments, kind })) }
}

/// An id for a call that came without one: the same place always gets the same, and no two places share one.
pub(super) fn minted_id(origin: &str, position: usize) -> String {
    format!("call_{:08x}_{position}", hash(origin))
}

pub(super) fn citation(annotation: &Value) -> Option<Citation> {
    let url = annotation.get("url_citation")?;
    let text = |field: &str| url.get(field).and_then(Value::as_str).map(str::to_owned);
    Some(Citation {
        start: url.get("start_index").and_then(Value::as_u64),
        end: url.get("end_index").and_then(Value::as_u64),
        url: text("url"),
        title: text("title"),
        cited_text: None,
        raw: Some((Dialect::OpenaiChat, annotation.clone())),
    })
}
