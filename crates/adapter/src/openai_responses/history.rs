//! The items of `input` as turns.

use serde_json::Value;

use super::decode::{output_format, read_tool, typed};
use super::parts::{self, ReasoningMeaning};
use super::wire::{CallOutput, Item, Message};
use crate::failure::BadRequest;
use crate::ir::{Effort, Object, Part, PartKind, Request, Role, Signature, ToolKind, ToolResult, Turn};
use crate::loss::LossReport;

/// Items the provider's own tools left in the history: another provider cannot read them, and failing would wedge the session.
const HOSTED_ITEMS: &[&str] = &[
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
    "mcp_list_tools",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "tool_search_call",
    "tool_search_output",
    "program",
    "program_output",
];
/// Most calls that may wait for their output: outputs are paired with them by search.
const MAX_OPEN_CALLS: usize = 1024;
/// Most tools of a request to which items add more: names are compared by search.
const MAX_TOOLS: usize = 2048;

/// Items on their way to turns.
pub(super) struct History<'a> {
    pub request: &'a mut Request,
    pub loss: &'a mut LossReport,
    /// Of the call that follows.
    pub pending_signature: Option<Signature>,
    /// Calls without a result so far: id and name.
    pub open_calls: Vec<(String, String)>,
}

impl History<'_> {
    pub fn item(&mut self, value: Value, path: &str) -> Result<(), BadRequest> {
        let item: Item = typed(value, path)?;
        match item {
            Item::Message(message) => self.message(message, path)?,
            Item::Reasoning(item) => match parts::reasoning(item) {
                ReasoningMeaning::Part(part) => self.assistant(part, path),
                ReasoningMeaning::SignatureOfNext(signature) => self.pending_signature = Some(signature),
            },
            Item::FunctionCall(_) | Item::CustomToolCall(_) => {
                let part = Part { signature: self.pending_signature.take(), ..parts::call(item) };
                if let PartKind::ToolCall(call) = &part.kind {
                    self.open_calls.push((call.id.clone(), call.name.clone()));
                }
                if self.open_calls.len() > MAX_OPEN_CALLS {
                    return Err(BadRequest::invalid(
                        path,
                        format!("More than {MAX_OPEN_CALLS} calls before `{path}` have no output."),
                    ));
                }
                self.assistant(part, path);
            }
            Item::FunctionCallOutput(output) => self.output(output, ToolKind::Function, path)?,
            Item::CustomToolCallOutput(output) => self.output(output, ToolKind::Custom, path)?,
            Item::Other { kind, fields } => self.other(&kind, &fields, path)?,
        }
        Ok(())
    }

    fn message(&mut self, message: Message, path: &str) -> Result<(), BadRequest> {
        let role = match message.role.as_str() {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            "developer" => Role::Developer,
            other => {
                return Err(BadRequest::invalid(
                    format!("{path}.role"),
                    format!("`{path}.role` is `{other}`; it must be user, assistant, system or developer."),
                ));
            }
        };
        let parts = parts::message(message, path)?;
        match role {
            Role::System | Role::Developer if self.request.turns.is_empty() => self.request.system.extend(parts),
            Role::Assistant => parts.into_iter().for_each(|part| self.assistant(part, path)),
            role => self.request.turns.push(Turn::new(role, parts).said_at(path)),
        }
        Ok(())
    }

    /// Neighbouring items of the model are one turn: upstreams refuse parallel calls in several.
    fn assistant(&mut self, part: Part, path: &str) {
        match self.request.turns.last_mut() {
            Some(turn) if turn.role == Role::Assistant => turn.parts.push(part),
            _ => self.request.turns.push(Turn::new(Role::Assistant, vec![part]).said_at(path)),
        }
    }

    fn output(&mut self, output: CallOutput, kind: ToolKind, path: &str) -> Result<(), BadRequest> {
        let call_id = match output.call_id.filter(|id| !id.is_empty()) {
            Some(id) => {
                self.open_calls.retain(|(open, _)| *open != id);
                id
            }
            None => self.unanswered(output.name.as_deref()).ok_or_else(|| {
                BadRequest::invalid(
                    format!("{path}.call_id"),
                    format!("`{path}.call_id` is missing and no call is left that it could answer."),
                )
            })?,
        };
        let content = parts::content(output.output, &format!("{path}.output"))?;
        let result = Part::new(PartKind::ToolResult(ToolResult { call_id, name: output.name, content, is_error: false, kind }));
        match self.request.turns.last_mut() {
            Some(turn) if turn.role == Role::User && turn.parts.iter().all(Part::is_tool_result) => turn.parts.push(result),
            _ => self.request.turns.push(Turn::new(Role::User, vec![result]).said_at(path)),
        }
        Ok(())
    }

    /// Takes the first call without a result, of this name if one is given.
    fn unanswered(&mut self, name: Option<&str>) -> Option<String> {
        let at = self.open_calls.iter().position(|(_, called)| name.is_none_or(|name| name == called))?;
        Some(self.open_calls.remove(at).0)
    }

    fn other(&mut self, kind: &str, fields: &Object, path: &str) -> Result<(), BadRequest> {
        match kind {
            kind if HOSTED_ITEMS.contains(&kind) => {
                self.loss.dropped(path, format!("a `{kind}` of another provider's own tool"));
                // Tools a search brought up are there for the model to call.
                self.tools_of(fields, path)?;
            }
            "additional_tools" => self.tools_of(fields, path)?,
            "configuration_update" => {
                if let Some(effort) =
                    fields.get("reasoning").and_then(|reasoning| reasoning["effort"].as_str()).and_then(Effort::parse)
                {
                    self.request.reasoning.get_or_insert_default().effort = Some(effort);
                }
                if let Some(text) = fields.get("text") {
                    self.request.output = output_format(&typed(text.clone(), path)?)?;
                }
            }
            "item_reference" => {
                return Err(BadRequest::unsupported_value(
                    path,
                    format!("`{path}` refers to a stored item, and nothing is stored for this model. Send the full item."),
                ));
            }
            kind => {
                return Err(BadRequest::unsupported_value(
                    format!("{path}.type"),
                    format!(
                        "An item of type `{kind}` cannot be translated for the upstream of this model. Remove it or use a model served by the Responses API."
                    ),
                ));
            }
        }
        Ok(())
    }

    fn tools_of(&mut self, fields: &Object, path: &str) -> Result<(), BadRequest> {
        for (i, value) in fields.get("tools").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let mut tools = Vec::new();
            read_tool(value, &format!("{path}.tools[{i}]"), &mut tools, self.loss)?;
            if self.request.tools.len() >= MAX_TOOLS {
                return Err(BadRequest::invalid(path, format!("`{path}` brings the request above {MAX_TOOLS} tools.")));
            }
            for tool in tools {
                if tool.name().is_some_and(|name| self.request.tools.iter().all(|known| known.name() != Some(name))) {
                    self.request.tools.push(tool);
                }
            }
        }
        Ok(())
    }
}
