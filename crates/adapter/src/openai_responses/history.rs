//! The items of `input` as turns: one arm or row for each of the API's 33 kinds.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::decode::{output_format, typed};
use super::parts::{self, ReasoningMeaning};
use super::substitutes::Substitute;
use super::tools;
use super::wire::{CallOutput, Item, Message};
use crate::failure::BadRequest;
use crate::ir::{Effort, Object, Part, PartKind, Request, Role, Signature, ToolCall, ToolKind, ToolResult, Turn};
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
    "program",
    "program_output",
];
/// Items whose content only OpenAI can read or whose effect only it can have, and what to do instead.
const UNREADABLE_ITEMS: &[(&str, &str)] = &[
    ("compaction", "It is a summary only OpenAI can read. Send the items it stands for."),
    ("compaction_trigger", "Ask for a summary in a message of your own instead."),
    ("computer_call", "Remove it or use a model served by the Responses API."),
    ("computer_call_output", "Remove it or use a model served by the Responses API."),
];
/// Fields of items that say nothing to a model. What else an item carries and no other API has is reported.
const IDLE_FIELDS: &[&str] = &["id", "status", "created_by", "namespace", "execution", "environment", "max_output_length"];
/// Most calls that may wait for their output: outputs are paired with them by search.
const MAX_OPEN_CALLS: usize = 1024;

/// Items on their way to turns.
pub(super) struct History<'a> {
    pub request: &'a mut Request,
    pub loss: &'a mut LossReport,
    /// Of the call that follows.
    pending_signature: Option<Signature>,
    /// Calls without a result so far: id and name.
    open_calls: Vec<(String, String)>,
    /// The place of each call among all.
    order: HashMap<String, usize>,
    /// Flat names that were looked up.
    flat_names: HashMap<(String, String), String>,
    /// Tools the items have brought so far.
    brought_tools: usize,
    /// Calls of OpenAI's own side, left out: so are their results.
    hosted_calls: HashSet<String>,
}

const MADE_BY_OPENAI: &str = "made by a tool that OpenAI runs";

impl<'a> History<'a> {
    pub fn new(request: &'a mut Request, loss: &'a mut LossReport) -> Self {
        Self {
            request,
            loss,
            pending_signature: None,
            open_calls: Vec::new(),
            order: HashMap::new(),
            flat_names: HashMap::new(),
            brought_tools: 0,
            hosted_calls: HashSet::new(),
        }
    }

    /// All items were read: results stand in the order of their calls, in which some upstreams want them.
    pub fn finish(self) {
        for turn in &mut self.request.turns {
            let place = |part: &Part| match &part.kind {
                PartKind::ToolResult(result) => self.order.get(&result.call_id).copied().unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            if turn.parts.len() > 1 && turn.parts.iter().all(Part::is_tool_result) {
                turn.parts.sort_by_key(place);
            }
        }
    }
}

impl History<'_> {
    pub fn item(&mut self, value: Value, path: &str) -> Result<(), BadRequest> {
        match typed(value, path)? {
            Item::Message(message) => self.message(message, path),
            Item::Reasoning(item) => {
                match parts::reasoning(item) {
                    ReasoningMeaning::Part(part) => self.assistant(part, path),
                    ReasoningMeaning::SignatureOfNext(signature) => self.pending_signature = Some(signature),
                    ReasoningMeaning::SignatureOfPrevious(signature) => self.sign_previous(signature),
                }
                Ok(())
            }
            Item::FunctionCall(call) => {
                self.report(&call.rest);
                let name = self.flat_name(&call.rest, &call.name);
                self.call(call.call_id, name, parts::arguments(call.arguments), ToolKind::Function, path)
            }
            Item::CustomToolCall(call) => {
                self.report(&call.rest);
                let name = self.flat_name(&call.rest, &call.name);
                self.call(call.call_id, name, call.input, ToolKind::Custom, path)
            }
            Item::FunctionCallOutput(output) => self.output(output, ToolKind::Function, path),
            Item::CustomToolCallOutput(output) => self.output(output, ToolKind::Custom, path),
            Item::Other { kind, fields } => self.other(&kind, fields, path),
        }
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
        self.report(&message.rest);
        let parts = parts::message(message, path)?;
        match role {
            Role::System | Role::Developer if self.request.turns.is_empty() => self.request.system.extend(parts),
            Role::Assistant => parts.into_iter().for_each(|part| self.assistant(part, path)),
            role => self.request.turns.push(Turn::new(role, parts).said_at(path)),
        }
        Ok(())
    }

    /// Names what an item says beyond what other APIs have (`phase`, `caller`, …). Once for all items: histories are long.
    fn report(&mut self, rest: &Object) {
        for (field, value) in rest {
            if !value.is_null() && !IDLE_FIELDS.contains(&field.as_str()) {
                self.loss.dropped(format!("input.{field}"), "the upstream has no such field");
            }
        }
    }

    /// Neighbouring items of the model are one turn: upstreams refuse parallel calls in several.
    fn assistant(&mut self, part: Part, path: &str) {
        match self.request.turns.last_mut() {
            Some(turn) if turn.role == Role::Assistant => turn.parts.push(part),
            _ => self.request.turns.push(Turn::new(Role::Assistant, vec![part]).said_at(path)),
        }
    }

    fn sign_previous(&mut self, signature: Signature) {
        let last = self.request.turns.last_mut().filter(|turn| turn.role == Role::Assistant);
        if let Some(part) = last.and_then(|turn| turn.parts.last_mut()) {
            part.signature.get_or_insert(signature);
        }
    }

    fn flat_name(&mut self, fields: &Object, name: &str) -> String {
        let Some(namespace) = fields.get("namespace").and_then(Value::as_str) else { return name.to_owned() };
        let known = self.flat_names.entry((namespace.to_owned(), name.to_owned()));
        known.or_insert_with(|| tools::flat_name(Some(namespace), name, self.request)).clone()
    }

    fn call(&mut self, id: String, name: String, arguments: String, kind: ToolKind, path: &str) -> Result<(), BadRequest> {
        if self.open_calls.len() >= MAX_OPEN_CALLS {
            return Err(BadRequest::invalid(path, format!("More than {MAX_OPEN_CALLS} calls before `{path}` have no output.")));
        }
        self.open_calls.push((id.clone(), name.clone()));
        let place = self.order.len();
        self.order.entry(id.clone()).or_insert(place);
        let signature = self.pending_signature.take();
        let call = PartKind::ToolCall(ToolCall { id, name, arguments, kind });
        self.assistant(Part { signature, ..Part::new(call) }, path);
        Ok(())
    }

    fn output(&mut self, output: CallOutput, kind: ToolKind, path: &str) -> Result<(), BadRequest> {
        self.report(&output.rest);
        let name = output.name.map(|name| self.flat_name(&output.rest, &name));
        let call_id = self.answered(output.call_id, name.as_deref(), path)?;
        let content = parts::content(output.output, &format!("{path}.output"))?;
        self.result(ToolResult { call_id, name, content, is_error: false, kind }, path);
        Ok(())
    }

    fn result(&mut self, result: ToolResult, path: &str) {
        let result = Part::new(PartKind::ToolResult(result));
        match self.request.turns.last_mut() {
            Some(turn) if turn.role == Role::User && turn.parts.iter().all(Part::is_tool_result) => turn.parts.push(result),
            _ => self.request.turns.push(Turn::new(Role::User, vec![result]).said_at(path)),
        }
    }

    /// The id of the call a result is of; without one, the first call without a result, of this name if one is given.
    fn answered(&mut self, call_id: Option<String>, name: Option<&str>, path: &str) -> Result<String, BadRequest> {
        if let Some(id) = call_id.filter(|id| !id.is_empty()) {
            self.open_calls.retain(|(open, _)| *open != id);
            return Ok(id);
        }
        let at = self.open_calls.iter().position(|(_, called)| name.is_none_or(|name| name == called));
        at.map(|at| self.open_calls.remove(at).0).ok_or_else(|| {
            BadRequest::invalid(
                format!("{path}.call_id"),
                format!("`{path}.call_id` is missing and no call is left that it could answer."),
            )
        })
    }

    fn other(&mut self, kind: &str, fields: Object, path: &str) -> Result<(), BadRequest> {
        if let Some(substitute) = Substitute::of_call(kind) {
            return self.substituted_call(substitute, &fields, path);
        }
        if let Some(substitute) = Substitute::of_output(kind) {
            return self.substituted_output(substitute, &fields, path);
        }
        match kind {
            kind if HOSTED_ITEMS.contains(&kind) => {
                self.loss.dropped(format!("input.{kind}"), MADE_BY_OPENAI);
            }
            "additional_tools" => self.tools_of(&fields, path)?,
            "configuration_update" => self.configure(fields, path)?,
            "item_reference" => {
                return Err(BadRequest::unsupported_value(
                    path,
                    format!("`{path}` refers to a stored item, and nothing is stored for this model. Send the full item."),
                ));
            }
            kind => {
                let known = UNREADABLE_ITEMS.iter().find(|(unreadable, _)| *unreadable == kind);
                let advice = known.map_or("Remove it or use a model served by the Responses API.", |(_, advice)| advice);
                return Err(BadRequest::unsupported_value(
                    format!("{path}.type"),
                    format!("An item of type `{kind}` cannot be translated for the upstream of this model. {advice}"),
                ));
            }
        }
        Ok(())
    }

    /// A call the client ran itself, as the function that stands for its tool.
    fn substituted_call(&mut self, substitute: Substitute, fields: &Object, path: &str) -> Result<(), BadRequest> {
        // Older items have their id in place of one for the call.
        let id = call_id(fields);
        if substitute.is_hosted_item(fields) {
            self.loss.dropped(format!("input.{}", substitute.call()), MADE_BY_OPENAI);
            self.hosted_calls.extend(id);
            return Ok(());
        }
        let name = self.substitute_name(substitute, path)?;
        let id = id.ok_or_else(|| BadRequest::invalid(format!("{path}.call_id"), format!("`{path}.call_id` is missing.")))?;
        self.call(id, name, substitute.arguments(fields), ToolKind::Function, path)
    }

    fn substituted_output(&mut self, substitute: Substitute, fields: &Object, path: &str) -> Result<(), BadRequest> {
        // Tools a search brought up are there for the model to call, whoever searched.
        self.tools_of(fields, path)?;
        let id = call_id(fields);
        let is_of_hosted = id.as_ref().is_some_and(|id| self.hosted_calls.contains(id));
        if is_of_hosted || substitute.is_hosted_item(fields) {
            self.loss.dropped(format!("input.{}", substitute.output()), MADE_BY_OPENAI);
            return Ok(());
        }
        let name = self.substitute_name(substitute, path)?;
        let call_id = self.answered(id, Some(&name), path)?;
        let (content, is_error) = substitute.result(fields);
        self.result(ToolResult { call_id, name: Some(name), content, is_error, kind: ToolKind::Function }, path);
        Ok(())
    }

    fn substitute_name(&self, substitute: Substitute, path: &str) -> Result<String, BadRequest> {
        tools::substitute_name(substitute, self.request).ok_or_else(|| {
            BadRequest::unsupported_value(
                format!("{path}.type"),
                format!(
                    "`{path}` is of the tool `{}`, which is not among `tools`. Declare it or remove the item.",
                    substitute.tool()
                ),
            )
        })
    }

    fn tools_of(&mut self, fields: &Object, path: &str) -> Result<(), BadRequest> {
        self.flat_names.clear();
        let tools = fields.get("tools");
        tools.map_or(Ok(()), |tools| tools::add_more(tools, path, &mut self.brought_tools, self.request, self.loss))
    }

    /// The last one of several wins.
    fn configure(&mut self, mut fields: Object, path: &str) -> Result<(), BadRequest> {
        let effort = fields.get("reasoning").and_then(|reasoning| reasoning["effort"].as_str());
        if let Some(effort) = effort.and_then(Effort::parse) {
            self.request.reasoning.get_or_insert_default().effort = Some(effort);
        }
        if let Some(text) = fields.shift_remove("text") {
            self.request.output = output_format(&typed(text, path)?)?;
        }
        Ok(())
    }
}

fn call_id(fields: &Object) -> Option<String> {
    ["call_id", "id"].iter().find_map(|field| fields.get(*field).and_then(Value::as_str)).map(str::to_owned)
}
