//! Tools and their choice, by what the model takes.

use std::collections::HashSet;

use serde_json::json;
use tallygate_types::Dialect;

use super::encode_turns::cache_control;
use super::{hosted, schema, wire};
use crate::failure::BadRequest;
use crate::ir::{FunctionTool, PartKind, Request, Tool, ToolChoice};
use crate::loss::LossReport;
use crate::profile::AnthropicModel;
use crate::schema::tool_parameters;

/// Most tools of a request that may be strict; the API refuses more.
const MAX_STRICT_TOOLS: usize = 20;

/// What a request says of tools.
#[derive(Debug, Default)]
pub(super) struct Toolbox {
    pub tools: Vec<wire::Tool>,
    pub choice: Option<wire::ToolChoice>,
}

impl Toolbox {
    pub fn of(request: &Request, model: AnthropicModel, loss: &mut LossReport) -> Result<Self, BadRequest> {
        let mut toolbox = Self { tools: tools(request, model, loss)?, choice: None };
        toolbox.choose(request, model, loss)?;
        if toolbox.tools.is_empty() {
            toolbox.choice = None;
        }
        Ok(toolbox)
    }

    /// A history with calls needs tools: without any, those it called, and none of them to be called again.
    pub fn for_history(&mut self, request: &Request) {
        if !self.tools.is_empty() {
            return;
        }
        self.tools = called_names(request)
            .into_iter()
            .map(|name| wire::Tool { name, input_schema: Some(json!({"type": "object"})), ..wire::Tool::default() })
            .collect();
        self.choice = (!self.tools.is_empty()).then(|| choice("none"));
    }

    /// The one tool that must be called.
    pub fn force(&mut self, tool: wire::Tool) {
        self.choice = Some(wire::ToolChoice { name: Some(tool.name.clone()), ..choice("tool") });
        self.tools = vec![tool];
    }

    fn choose(&mut self, request: &Request, model: AnthropicModel, loss: &mut LossReport) -> Result<(), BadRequest> {
        let one_call = (request.parallel_tool_calls == Some(false)).then_some(true);
        let mut chosen = match &request.tool_choice {
            None if one_call.is_some() => choice("auto"),
            None => return Ok(()),
            Some(ToolChoice::Auto) => choice("auto"),
            // The flag beside `none` is refused.
            Some(ToolChoice::None) => {
                self.choice = Some(choice("none"));
                return Ok(());
            }
            Some(ToolChoice::Required) => choice("any"),
            Some(ToolChoice::Named(name)) => wire::ToolChoice { name: Some(name.clone()), ..choice("tool") },
            Some(ToolChoice::Allowed { names, required }) => {
                let names: HashSet<&String> = names.iter().collect();
                self.tools.retain(|tool| names.contains(&tool.name));
                choice(if *required { "any" } else { "auto" })
            }
        };
        if let Some(name) = &chosen.name
            && !self.tools.iter().any(|tool| tool.name == *name)
        {
            return Err(BadRequest::invalid("tool_choice", format!("The tool `{name}` is not among `tools`.")));
        }
        if !model.forced_tools && chosen.kind != "auto" && !self.tools.is_empty() {
            loss.approximated("tool_choice", "this model cannot be forced to call a tool: auto");
            if let Some(name) = chosen.name.take() {
                self.tools.retain(|tool| tool.name == name);
            }
            chosen = choice("auto");
        }
        chosen.disable_parallel_tool_use = one_call;
        self.choice = Some(chosen);
        Ok(())
    }
}

fn choice(kind: &str) -> wire::ToolChoice {
    wire::ToolChoice { kind: kind.into(), ..wire::ToolChoice::default() }
}

fn tools(request: &Request, model: AnthropicModel, loss: &mut LossReport) -> Result<Vec<wire::Tool>, BadRequest> {
    let mut tools: Vec<wire::Tool> = Vec::with_capacity(request.tools.len());
    let mut names = HashSet::new();
    let mut strict = 0;
    for (position, tool) in request.tools.iter().enumerate() {
        let path = format!("tools[{position}]");
        let encoded = match tool {
            Tool::Function(tool) => {
                let encoded = function(tool, strict < MAX_STRICT_TOOLS, &path, loss);
                strict += usize::from(encoded.strict == Some(true));
                encoded
            }
            // Said as a function before.
            Tool::Custom { .. } => continue,
            Tool::Builtin { dialect: Dialect::Anthropic, value, .. } => {
                serde_json::from_value(value.clone()).map_err(|error| BadRequest::invalid(&path, error.to_string()))?
            }
            Tool::Builtin { dialect, kind, value } => {
                match hosted::search(*dialect, kind, value).filter(|_| model.hosted_search) {
                    Some(search) => {
                        loss.approximated(&path, "Anthropic's own web search stands in");
                        search
                    }
                    // Codex declares OpenAI's tools in every request: refusing them would refuse the client.
                    None if *dialect == Dialect::OpenaiResponses => {
                        loss.dropped(&path, format!("the tool `{kind}` is run by OpenAI"));
                        continue;
                    }
                    None => {
                        return Err(BadRequest::unsupported_value(
                            &path,
                            format!(
                                "The tool `{kind}` is run by its vendor and this model's upstream does not have it. Remove it."
                            ),
                        ));
                    }
                }
            }
        };
        if !names.insert(encoded.name.clone()) {
            return Err(BadRequest::invalid(path, format!("The tool `{}` is defined twice. Define it once.", encoded.name)));
        }
        tools.push(encoded);
    }
    Ok(tools)
}

fn function(tool: &FunctionTool, has_room: bool, path: &str, loss: &mut LossReport) -> wire::Tool {
    let mut input_schema = tool_parameters(tool.parameters.as_ref());
    for (_, field, _) in tool.extensions.foreign(Dialect::Anthropic) {
        loss.dropped(format!("{path}.{field}"), "no equivalent");
    }
    let mut is_strict = false;
    if tool.strict == Some(true) {
        match schema::bend(&input_schema) {
            Ok(bent) if !bent.changed && has_room => {
                input_schema = bent.schema;
                is_strict = true;
            }
            _ if !has_room => loss.dropped(format!("{path}.strict"), "at most 20 tools may be strict"),
            _ => loss.dropped(format!("{path}.strict"), "the schema is outside of the strict subset"),
        }
    }
    wire::Tool {
        name: tool.name.clone(),
        description: tool.description.clone(),
        input_schema: Some(input_schema),
        strict: is_strict.then_some(true),
        cache_control: tool.cache.map(cache_control),
        other: tool.extensions.own(Dialect::Anthropic).cloned().unwrap_or_default(),
        ..wire::Tool::default()
    }
}

/// Names called in the history, in order, each once.
fn called_names(request: &Request) -> Vec<String> {
    let mut seen = HashSet::new();
    request
        .turns
        .iter()
        .flat_map(|turn| &turn.parts)
        .filter_map(|part| if let PartKind::ToolCall(call) = &part.kind { Some(call.name.clone()) } else { None })
        .filter(|name| seen.insert(name.clone()))
        .collect()
}
