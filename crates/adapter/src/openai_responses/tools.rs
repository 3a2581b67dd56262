//! Entries of `tools` and `tool_choice`, and the names their calls travel under.

use serde_json::Value;
use tallygate_types::Dialect;

use super::decode::typed;
use super::substitutes::Substitute;
use super::wire::{FunctionEntry, ToolEntry};
use crate::failure::BadRequest;
use crate::ir::{ClientTool, Extensions, FunctionTool, Request, Tool, ToolChoice};
use crate::loss::LossReport;

/// Between the namespace and the name of a tool. No dialect but this one has namespaces.
const NAMESPACE_SEPARATOR: &str = "__";
/// Most tools of a request: names are compared by search.
const MAX_TOOLS: usize = 2048;
/// Most tools the items of a request may bring, those that are known counted again.
const MAX_BROUGHT: usize = 16 * MAX_TOOLS;

/// Adds a declared tool. `path` names it in errors.
pub(crate) fn declare(value: &Value, path: &str, request: &mut Request, loss: &mut LossReport) -> Result<(), BadRequest> {
    entry(value, path, None, request, loss)
}

/// Adds the tools an item of the history brings, but for those that are known.
pub(super) fn add_more(
    tools: &Value,
    path: &str,
    brought: &mut usize,
    request: &mut Request,
    loss: &mut LossReport,
) -> Result<(), BadRequest> {
    for (i, value) in tools.as_array().into_iter().flatten().enumerate() {
        let known = request.tools.len();
        *brought += 1 + value["tools"].as_array().map_or(0, Vec::len);
        if *brought > MAX_BROUGHT {
            return Err(BadRequest::invalid(path, format!("The items up to `{path}` bring more than {MAX_BROUGHT} tools.")));
        }
        declare(value, &format!("{path}.tools[{i}]"), request, loss)?;
        let more = request.tools.split_off(known);
        for tool in more {
            if tool.name().is_some_and(|name| request.tools.iter().all(|known| known.name() != Some(name))) {
                request.tools.push(tool);
            }
        }
    }
    Ok(())
}

fn entry(
    value: &Value,
    path: &str,
    namespace: Option<&str>,
    request: &mut Request,
    loss: &mut LossReport,
) -> Result<(), BadRequest> {
    if request.tools.len() >= MAX_TOOLS {
        return Err(BadRequest::invalid(path, format!("`{path}` brings the request above {MAX_TOOLS} tools.")));
    }
    match typed(value.clone(), path)? {
        ToolEntry::Function(entry) => {
            let name = named(namespace, entry.name.clone(), request);
            request.tools.push(Tool::Function(function(entry, name)));
        }
        ToolEntry::Custom(custom) => {
            let name = named(namespace, custom.name, request);
            request.tools.push(Tool::Custom { name, description: custom.description, format: custom.format });
        }
        ToolEntry::Other { kind, fields } if kind == "namespace" => {
            let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
            if fields.get("description").and_then(Value::as_str).is_some_and(|text| !text.is_empty()) {
                loss.dropped(format!("{path}.description"), "its tools are declared one by one");
            }
            for (i, inner) in fields.get("tools").and_then(Value::as_array).into_iter().flatten().enumerate() {
                entry(inner, &format!("{path}.tools[{i}]"), Some(name), request, loss)?;
            }
        }
        ToolEntry::Other { kind, fields } => match Substitute::of_tool(&kind, &fields) {
            Some(substitute) => {
                loss.approximated(path, format!("`{kind}` is declared as a function"));
                let name = free_name(substitute.tool().to_owned(), request);
                request.client_tools.insert(name.clone(), ClientTool::Typed(kind));
                request.tools.push(Tool::Function(substitute.function(name, &fields)));
            }
            // Some upstreams have a search of their own.
            None if kind.starts_with("web_search") => {
                request.tools.push(Tool::Builtin { dialect: Dialect::OpenaiResponses, kind, value: value.clone() });
            }
            // All deferred tools are declared, so there is nothing to search.
            None if kind == "tool_search" => loss.approximated(path, "all deferred tools are declared at once"),
            // Codex declares the provider's own tools in every request: refusing them would refuse the client.
            None => loss.dropped(path, format!("the tool `{kind}` is run by OpenAI")),
        },
    }
    Ok(())
}

/// Values of a function's fields that change nothing.
fn is_idle(field: &str, value: &Value) -> bool {
    match field {
        "defer_loading" | "async" => value == false || value.is_null(),
        "allowed_callers" => value.as_array().is_none_or(|callers| callers.iter().all(|caller| caller == "direct")),
        _ => value.is_null(),
    }
}

fn function(entry: FunctionEntry, name: String) -> FunctionTool {
    let said = entry.rest.into_iter().filter(|(name, value)| !is_idle(name, value)).collect();
    FunctionTool {
        name,
        description: entry.description,
        parameters: entry.parameters.filter(|parameters| !parameters.is_null()),
        strict: entry.strict,
        cache: None,
        extensions: Extensions::of(Dialect::OpenaiResponses, said),
    }
}

/// The flat name of a tool, remembered if it differs from the client's.
fn named(namespace: Option<&str>, name: String, request: &mut Request) -> String {
    let Some(namespace) = namespace else {
        make_way(&name, request);
        return name;
    };
    let flat = flat_name(Some(namespace), &name, request);
    let tool = ClientTool::Namespaced { namespace: namespace.to_owned(), name };
    if request.client_tools.get(&flat) == Some(&tool) {
        return flat;
    }
    let flat = free_name(flat, request);
    request.client_tools.insert(flat.clone(), tool);
    flat
}

/// A tool the client itself gave this name keeps it: one that was given it here takes another.
fn make_way(name: &str, request: &mut Request) {
    if let Some(known) = request.client_tools.remove(name) {
        let free = free_name(name.to_owned(), request);
        for tool in &mut request.tools {
            if let Tool::Function(FunctionTool { name: taken, .. }) | Tool::Custom { name: taken, .. } = tool
                && taken == name
            {
                taken.clone_from(&free);
            }
        }
        request.client_tools.insert(free, known);
    }
}

/// The name itself unless another tool has it.
fn free_name(mut name: String, request: &Request) -> String {
    while request.tools.iter().any(|tool| tool.name() == Some(&name)) {
        name.push('_');
    }
    name
}

/// The name under which calls of a tool travel.
pub(super) fn flat_name(namespace: Option<&str>, name: &str, request: &Request) -> String {
    let Some(namespace) = namespace else { return name.to_owned() };
    let is_it =
        |tool: &ClientTool| matches!(tool, ClientTool::Namespaced { namespace: n, name: m } if n == namespace && m == name);
    request
        .client_tools
        .iter()
        .find(|(_, tool)| is_it(tool))
        .map_or_else(|| joined(Some(namespace), name), |(flat, _)| flat.clone())
}

/// Namespace and name as one.
pub(super) fn joined(namespace: Option<&str>, name: &str) -> String {
    namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}{NAMESPACE_SEPARATOR}{name}"))
}

/// The name of the function that stands for one of OpenAI's own kinds; `None`: it was not declared.
pub(super) fn substitute_name(substitute: Substitute, request: &Request) -> Option<String> {
    let declared = request.client_tools.iter().find(|(_, tool)| Substitute::of_client_tool(tool) == Some(substitute));
    declared.map(|(flat, _)| flat.clone())
}

fn refused_choice(what: &str) -> BadRequest {
    let message = format!("{what} cannot be forced on the upstream of this model; use `auto`, `none`, `required` or a function.");
    BadRequest::unsupported_value("tool_choice", message)
}

/// Reads the choice, once all tools are declared.
pub(super) fn choose(value: &Value, request: &Request, loss: &mut LossReport) -> Result<Option<ToolChoice>, BadRequest> {
    let has_callable = request.tools.iter().any(|tool| tool.name().is_some());
    Ok(match value {
        Value::Null => None,
        Value::String(word) => Some(match word.as_str() {
            "auto" => ToolChoice::Auto,
            "none" => ToolChoice::None,
            "required" if !has_callable => return Err(refused_choice("A tool of OpenAI's own")),
            "required" => ToolChoice::Required,
            other => return Err(refused_choice(&format!("`{other}`"))),
        }),
        value if value["type"] == "allowed_tools" => Some(allowed(value, request, loss)?),
        value => match chosen(value, request) {
            Some(name) => Some(ToolChoice::Named(name)),
            None if matches!(value["type"].as_str(), Some("function" | "custom")) => {
                return Err(BadRequest::invalid("tool_choice.name", "`tool_choice.name` is missing."));
            }
            None => {
                return Err(refused_choice(&format!("A tool of type `{}`", value["type"].as_str().unwrap_or_default())));
            }
        },
    })
    .map(|choice| choice.filter(|_| !request.tools.is_empty()))
}

fn allowed(value: &Value, request: &Request, loss: &mut LossReport) -> Result<ToolChoice, BadRequest> {
    let mut names = Vec::new();
    for (i, tool) in value["tools"].as_array().into_iter().flatten().enumerate() {
        let namespace = tool["name"].as_str().filter(|_| tool["type"] == "namespace");
        let inner = request.client_tools.iter().filter(|(_, known)| {
            matches!((known, namespace), (ClientTool::Namespaced { namespace: n, .. }, Some(namespace)) if n == namespace)
        });
        let before = names.len();
        names.extend(inner.map(|(flat, _)| flat.clone()));
        names.extend(chosen(tool, request));
        if names.len() == before {
            loss.dropped(format!("tool_choice.tools[{i}]"), "the upstream does not have this tool");
        }
    }
    let required = value["mode"] == "required";
    if names.is_empty() && required {
        return Err(refused_choice("A tool of OpenAI's own"));
    }
    // Nothing that is allowed is there.
    Ok(if names.is_empty() { ToolChoice::None } else { ToolChoice::Allowed { names, required } })
}

/// The flat name of the tool a choice names; `None`: not one that can be called here.
fn chosen(value: &Value, request: &Request) -> Option<String> {
    match value["type"].as_str()? {
        "function" | "custom" => {
            let name = value["name"].as_str()?;
            if value["namespace"].is_string() {
                return Some(flat_name(value["namespace"].as_str(), name, request));
            }
            let is_plain = request.tools.iter().any(|tool| tool.name() == Some(name));
            let inside =
                request.client_tools.iter().find(|(_, tool)| matches!(tool, ClientTool::Namespaced { name: n, .. } if n == name));
            Some(inside.filter(|_| !is_plain).map_or_else(|| name.to_owned(), |(flat, _)| flat.clone()))
        }
        kind => substitute_name(Substitute::named(kind)?, request),
    }
}
