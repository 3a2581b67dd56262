//! Writes requests.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Value, json};
use tallygate_types::Dialect;

pub(crate) use super::encode_answer::response;
use super::{controls, encode_message, wire};
use crate::failure::BadRequest;
use crate::ident;
use crate::ir::{CacheHint, CacheTtl, FunctionTool, OutputFormat, Request, Tool, ToolChoice};
use crate::json_write;
use crate::loss::LossReport;
use crate::profile::{OpenAiModel, Profiles};
use crate::schema;

pub(crate) fn path(_model: &str, _stream: bool) -> Cow<'static, str> {
    "/v1/chat/completions".into()
}

pub(crate) fn headers() -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn request(request: &Request, profiles: &Profiles, loss: &mut LossReport) -> Result<Vec<u8>, BadRequest> {
    let model = profiles.openai(&request.model);
    for (dialect, field, _) in request.extensions.foreign(Dialect::OpenaiChat) {
        loss.dropped(field, format!("known to {dialect} only"));
    }
    let tools = tools(request, model, loss)?;
    let has_tools = !tools.is_empty();
    let controls = controls::controls(request, model, loss)?;
    let tokens = controls.max_output_tokens;
    let (max_completion_tokens, max_tokens) = if model.first_party { (tokens, None) } else { (None, tokens) };
    let user = request.user.as_deref().map(ident::openai_user);
    let (safety_identifier, user) = if model.first_party { (user, None) } else { (None, user) };
    for (field, is_said) in [("metadata", !request.metadata.is_empty()), ("verbosity", request.verbosity.is_some())] {
        if is_said && !model.first_party {
            loss.dropped(field, "a field of OpenAI's own");
        }
    }
    let mut other = request.extensions.own(Dialect::OpenaiChat).cloned().unwrap_or_default();
    for tool in &request.tools {
        if let Tool::Builtin { dialect: Dialect::OpenaiChat, kind, value } = tool {
            other.insert(kind.clone(), value.clone());
        }
    }
    let mut messages = encode_message::messages(request, model, loss)?;
    if request.output == Some(OutputFormat::JsonObject) && !encode_message::mentions_json(&messages) {
        loss.approximated("response_format", "an instruction was added: a JSON answer must be asked for in words too");
        messages.push(encode_message::system_text("Answer with one JSON object."));
    }
    let sampling = controls.sampling;
    let wire = wire::Request {
        model: request.model.clone(),
        messages,
        max_completion_tokens,
        max_tokens,
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        top_k: sampling.top_k,
        frequency_penalty: sampling.frequency_penalty,
        presence_penalty: sampling.presence_penalty,
        seed: sampling.seed,
        logit_bias: (!sampling.logit_bias.is_empty()).then_some(sampling.logit_bias),
        logprobs: controls.logprobs.then_some(true),
        top_logprobs: controls.top_logprobs,
        n: request.candidates.filter(|n| *n != 1),
        stop: controls.stop,
        stream: request.stream.then_some(true),
        stream_options: request.stream.then_some(wire::StreamOptions { include_usage: Some(true) }),
        tool_choice: request.tool_choice.as_ref().filter(|_| has_tools).map(|choice| tool_choice(choice, request, model)),
        parallel_tool_calls: request.parallel_tool_calls.filter(|parallel| has_tools && !parallel),
        tools: has_tools.then_some(tools),
        functions: None,
        function_call: None,
        response_format: request.output.as_ref().and_then(|format| response_format(format, loss)),
        reasoning_effort: controls.effort.map(|effort| effort.as_str().to_owned()),
        verbosity: request.verbosity.clone().filter(|_| model.first_party),
        modalities: (!request.modalities.is_empty())
            .then(|| std::iter::once("text".to_owned()).chain(request.modalities.clone()).collect()),
        user,
        safety_identifier,
        metadata: (!request.metadata.is_empty() && model.first_party).then(|| request.metadata.clone()),
        // Whether answers are stored is said in other dialects of their own server.
        store: None,
        service_tier: controls.service_tier,
        prompt_cache_key: request.prompt_cache_key.clone().filter(|_| model.first_party),
        other,
    };
    json_write::written(&wire).map_err(|error| BadRequest::malformed(error.to_string()))
}

fn tools(request: &Request, model: OpenAiModel, loss: &mut LossReport) -> Result<Vec<wire::Tool>, BadRequest> {
    let mut tools = Vec::with_capacity(request.tools.len());
    let mut names = HashSet::with_capacity(request.tools.len());
    for (position, tool) in request.tools.iter().enumerate() {
        let path = format!("tools[{position}]");
        if let Some(name) = tool.name()
            && !names.insert(name)
        {
            return Err(BadRequest::invalid(path, format!("Two tools have the name `{name}`. Give each its own.")));
        }
        if !is_offered(tool, request, model) {
            continue;
        }
        match tool {
            Tool::Function(function) => tools.push(function_tool(function, &path, loss)),
            Tool::Custom { name, description, format } => tools.push(wire::Tool {
                kind: "custom".into(),
                custom: Some(wire::CustomTool {
                    name: name.clone(),
                    description: description.clone(),
                    format: format.as_ref().map(nested_format),
                }),
                ..wire::Tool::default()
            }),
            Tool::Builtin { dialect: Dialect::OpenaiChat, .. } => {}
            // Codex declares OpenAI's tools in every request: refusing them would refuse the client.
            Tool::Builtin { dialect: Dialect::OpenaiResponses, kind, .. } => {
                loss.dropped(path, format!("the tool `{kind}` is run by OpenAI"));
            }
            Tool::Builtin { kind, .. } => {
                return Err(BadRequest::unsupported_value(
                    path,
                    format!("The tool `{kind}` is defined by its vendor and this model's upstream does not have it. Remove it."),
                ));
            }
        }
    }
    Ok(tools)
}

/// Servers other than OpenAI's own know no `allowed_tools`: they get only these.
fn is_offered(tool: &Tool, request: &Request, model: OpenAiModel) -> bool {
    match (&request.tool_choice, tool.name()) {
        (Some(ToolChoice::Allowed { names, .. }), Some(name)) if !model.first_party => {
            names.iter().any(|allowed| allowed == name)
        }
        _ => true,
    }
}

fn function_tool(function: &FunctionTool, path: &str, loss: &mut LossReport) -> wire::Tool {
    for (_, field, _) in function.extensions.foreign(Dialect::OpenaiChat) {
        loss.dropped(format!("{path}.{field}"), "no equivalent");
    }
    let keeps_strict = match (function.strict, &function.parameters) {
        (Some(true), Some(parameters)) => schema::is_openai_strict(parameters),
        _ => true,
    };
    if !keeps_strict {
        loss.dropped(format!("{path}.strict"), "the schema is outside of the strict subset");
    }
    wire::Tool {
        kind: "function".into(),
        function: Some(wire::Function {
            name: function.name.clone(),
            description: function.description.clone(),
            parameters: function.parameters.clone(),
            strict: function.strict.filter(|_| keeps_strict),
            other: function.extensions.own(Dialect::OpenaiChat).cloned().unwrap_or_default(),
        }),
        ..wire::Tool::default()
    }
}

/// A grammar stands in an object of its own here.
fn nested_format(format: &Value) -> Value {
    match format {
        Value::Object(fields) if fields.contains_key("definition") => {
            let mut grammar = fields.clone();
            let kind = grammar.remove("type");
            json!({"type": kind, "grammar": grammar})
        }
        format => format.clone(),
    }
}

fn tool_choice(choice: &ToolChoice, request: &Request, model: OpenAiModel) -> Value {
    let is_custom = |name: &str| {
        let is_it = |tool: &Tool| matches!(tool, Tool::Custom { name: known, .. } if known == name);
        model.first_party && request.tools.iter().any(is_it)
    };
    let named = |name: &String| {
        let kind = if is_custom(name) { "custom" } else { "function" };
        json!({"type": kind, kind: {"name": name}})
    };
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => named(name),
        ToolChoice::Allowed { required, .. } if !model.first_party => if *required { "required" } else { "auto" }.into(),
        ToolChoice::Allowed { names, required } => json!({
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": if *required { "required" } else { "auto" },
                "tools": names.iter().map(named).collect::<Vec<_>>(),
            },
        }),
    }
}

fn response_format(format: &OutputFormat, loss: &mut LossReport) -> Option<wire::ResponseFormat> {
    match format {
        OutputFormat::Text => None,
        OutputFormat::JsonObject => Some(wire::ResponseFormat { kind: "json_object".into(), json_schema: None }),
        OutputFormat::JsonSchema { name, description, schema, strict } => {
            let is_strict = schema::is_openai_strict(schema);
            if *strict == Some(true) && !is_strict {
                loss.dropped("response_format.strict", "the schema is outside of the strict subset");
            }
            Some(wire::ResponseFormat {
                kind: "json_schema".into(),
                json_schema: Some(wire::JsonSchema {
                    name: Some(name.clone().unwrap_or_else(|| "response".into())),
                    description: description.clone(),
                    strict: Some(strict.unwrap_or(true) && is_strict),
                    schema: Some(schema.clone()),
                }),
            })
        }
    }
}

pub(super) fn cache_breakpoint(hint: Option<CacheHint>, model: OpenAiModel) -> Option<wire::CacheBreakpoint> {
    let hint = hint.filter(|_| model.cache_breakpoints)?;
    // Thirty minutes, the default, covers both of Anthropic's.
    let _: CacheTtl = hint.ttl;
    Some(wire::CacheBreakpoint { mode: "explicit".into(), ttl: None })
}
