//! Tools and how they are to be called.

use serde_json::{Value, json};
use tallygate_types::Dialect;

use super::schema::{self, Compiled, Target};
use super::wire::{FunctionCallingConfig, FunctionDeclaration, Tool as WireTool, ToolConfig};
use crate::failure::BadRequest;
use crate::ir::{Object, Request, Tool, ToolChoice};
use crate::loss::LossReport;
use crate::profile::GeminiModel;

const DIALECT: Dialect = Dialect::Gemini;

pub(super) fn declared(request: &Request, family: &GeminiModel, loss: &mut LossReport) -> Result<Vec<WireTool>, BadRequest> {
    let has_functions = request.tools.iter().any(|tool| !matches!(tool, Tool::Builtin { .. }));
    let mut declarations = Vec::new();
    let mut tools = Vec::new();
    for (i, tool) in request.tools.iter().enumerate() {
        match tool {
            Tool::Function(function) => {
                if function.cache.is_some() {
                    loss.dropped("cache_control", "Gemini caches prompts by itself");
                }
                for (_, field, _) in function.extensions.foreign(DIALECT) {
                    loss.dropped(format!("tools.{field}"), "known to another provider only");
                }
                let mut declaration = FunctionDeclaration {
                    name: function.name.clone(),
                    description: function.description.clone(),
                    ..FunctionDeclaration::default()
                };
                if let Some(parameters) = function.parameters.as_ref().filter(|parameters| has_properties(parameters)) {
                    let compiled = schema::compile_parameters(parameters, language(family));
                    set_parameters(&mut declaration, noted(compiled, "tools.parameters", loss), family);
                }
                declarations.push(declaration);
            }
            // Said as a function before.
            Tool::Custom { .. } => {}
            Tool::Builtin { dialect: DIALECT, value: Value::Object(fields), .. } => {
                tools.push(WireTool { rest: fields.clone(), ..WireTool::default() });
            }
            Tool::Builtin { kind, value, .. } if is_web_search(kind) => {
                if has_functions && !family.mixed_tools {
                    loss.dropped(format!("tools[{i}]"), "this model does not search while it has functions");
                    continue;
                }
                for (option, _) in
                    value.as_object().into_iter().flatten().filter(|(name, _)| !matches!(name.as_str(), "type" | "name"))
                {
                    loss.dropped(format!("tools[{i}].{option}"), "Google's search has no such option");
                }
                tools.push(built_in("googleSearch"));
            }
            Tool::Builtin { kind, .. } => {
                return Err(BadRequest::unsupported_value(
                    format!("tools[{i}]"),
                    format!("The tool `{kind}` is run by its vendor and the upstream of this model does not have it. Remove it."),
                ));
            }
        }
    }
    if !declarations.is_empty() {
        tools.insert(0, WireTool { function_declarations: declarations, ..WireTool::default() });
    }
    Ok(tools)
}

/// A function without parameters is best declared without a schema.
fn has_properties(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => {
            let is_bare = fields.get("properties").and_then(Value::as_object).is_none_or(Object::is_empty);
            !(is_bare
                && fields.keys().all(|name| {
                    matches!(name.as_str(), "type" | "properties" | "required" | "additionalProperties" | "$schema" | "title")
                }))
        }
        _ => false,
    }
}

fn set_parameters(declaration: &mut FunctionDeclaration, schema: Value, family: &GeminiModel) {
    match language(family) {
        Target::OpenApi => declaration.parameters = Some(schema),
        Target::JsonSchema => declaration.parameters_json_schema = Some(schema),
    }
}

/// What the vendors call their search of the web, with and without a date.
fn is_web_search(kind: &str) -> bool {
    kind.starts_with("web_search")
}

fn built_in(name: &str) -> WireTool {
    let mut rest = Object::new();
    rest.insert(name.into(), json!({}));
    WireTool { rest, ..WireTool::default() }
}

/// Which schema language the model is spoken to in.
pub(super) fn language(family: &GeminiModel) -> Target {
    if family.json_schema { Target::JsonSchema } else { Target::OpenApi }
}

pub(super) fn noted(compiled: Compiled, field: &str, loss: &mut LossReport) -> Value {
    for keyword in compiled.notes {
        loss.approximated(format!("{field}.{keyword}"), "a schema keyword Gemini does not know");
    }
    compiled.schema
}

/// How calls are to be made; `None` where there is nothing to say.
pub(super) fn config(request: &Request, tools: &[WireTool], family: &GeminiModel, loss: &mut LossReport) -> Option<ToolConfig> {
    let has_functions = tools.iter().any(|tool| !tool.function_declarations.is_empty());
    let has_others = tools.iter().any(|tool| !tool.rest.is_empty());
    let mut config = ToolConfig::default();
    if has_functions && let Some((mode, names)) = mode(request, family, loss) {
        let calling =
            FunctionCallingConfig { mode: Some(mode.into()), allowed_function_names: names, ..FunctionCallingConfig::default() };
        config.function_calling_config = Some(calling);
    }
    if has_functions && has_others {
        // Google runs its own tools beside functions only when their calls may be seen.
        config.rest.insert("includeServerSideToolInvocations".into(), true.into());
    }
    (config != ToolConfig::default()).then_some(config)
}

fn mode(request: &Request, family: &GeminiModel, loss: &mut LossReport) -> Option<(&'static str, Vec<String>)> {
    let is_strict = request.tools.iter().any(|tool| matches!(tool, Tool::Function(function) if function.strict == Some(true)));
    let auto = if is_strict && family.validated_calls { "VALIDATED" } else { "AUTO" };
    Some(match request.tool_choice.as_ref() {
        None if auto == "AUTO" => return None,
        None | Some(ToolChoice::Auto) => (auto, Vec::new()),
        Some(ToolChoice::None) => ("NONE", Vec::new()),
        Some(ToolChoice::Required) => ("ANY", Vec::new()),
        Some(ToolChoice::Named(name)) => ("ANY", vec![name.clone()]),
        Some(ToolChoice::Allowed { names, required: true }) => ("ANY", names.clone()),
        Some(ToolChoice::Allowed { names, required: false }) if family.validated_calls => ("VALIDATED", names.clone()),
        Some(ToolChoice::Allowed { .. }) => {
            loss.approximated("tool_choice", "this model cannot be held to some tools without being made to call one");
            ("AUTO", Vec::new())
        }
    })
}
