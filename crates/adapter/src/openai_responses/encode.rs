//! [`ir`](crate::ir) → Responses: requests. Whole answers are the end of a stream nobody watched.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Value, json};
use tallygate_types::Dialect;

use super::encode_turns::{Breakpoints, assistant_turn, join_texts, message, plain_texts, user_turn, value};
use super::stream::Encoder;
use super::wire::{CreateResponse, CustomEntry, FunctionEntry, Input, ToolEntry};
use super::{controls, search};
use crate::context::ResponseContext;
use crate::dispatch::Encode as _;
use crate::failure::BadRequest;
use crate::ident::openai_user;
use crate::ir::{Object, Request, Response, Role, Tool, ToolChoice};
use crate::json_write;
use crate::loss::LossReport;
use crate::profile::{OpenAiModel, Profiles};
use crate::replay;
use crate::schema;

/// OpenAI refuses a smaller `max_output_tokens`.
const MIN_OUTPUT_TOKENS: u64 = 16;
const DIALECT: Dialect = Dialect::OpenaiResponses;

pub(crate) fn path(_model: &str, _stream: bool) -> Cow<'static, str> {
    "/v1/responses".into()
}

pub(crate) fn headers() -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn response(response: &Response, context: &ResponseContext) -> Vec<u8> {
    let mut encoder = Encoder::silent(context.clone());
    for event in replay::events(response) {
        encoder.event(&event, &mut Vec::new());
    }
    encoder.into_body()
}

pub(crate) fn request(request: &Request, profiles: &Profiles, loss: &mut LossReport) -> Result<Vec<u8>, BadRequest> {
    if request.candidates.is_some_and(|candidates| candidates > 1) {
        return Err(BadRequest::unsupported_value(
            "n",
            "The upstream of this model gives one answer a request; leave `n` out or send 1.",
        ));
    }
    if !request.modalities.is_empty() {
        return Err(BadRequest::unsupported_value("modalities", "The upstream of this model answers in text only."));
    }
    let model = profiles.openai(&request.model);
    let breakpoints = Breakpoints(model.cache_breakpoints);
    let mut items = Vec::new();
    let mut instructions = join_texts(&request.system);
    if model.cache_breakpoints && request.system.iter().any(|part| part.cache.is_some()) {
        // A breakpoint stands on a part of a message; instructions have no parts.
        items.push(message("developer", plain_texts(&request.system, breakpoints, loss)));
        instructions.clear();
    }
    for turn in &request.turns {
        match turn.role {
            Role::User => user_turn(&turn.parts, breakpoints, &mut items, loss)?,
            Role::Assistant => assistant_turn(&turn.parts, &mut items, loss),
            Role::System => items.push(message("system", plain_texts(&turn.parts, breakpoints, loss))),
            Role::Developer => items.push(message("developer", plain_texts(&turn.parts, breakpoints, loss))),
        }
        if turn.name.is_some() {
            loss.dropped("messages.name", "the Responses API has no names of speakers");
        }
    }
    let effort = controls::effort(request.reasoning.as_ref(), model, loss);
    let (temperature, top_p) = controls::sampling(request, model, effort, loss);
    let user = request.user.as_deref().map(openai_user);
    let (safety_identifier, user) = if model.first_party { (user, None) } else { (None, user) };
    let mut wire = CreateResponse {
        model: request.model.clone(),
        input: Some(Input::Items(items)),
        instructions: (!instructions.is_empty()).then_some(Input::Text(instructions)),
        stream: request.stream.then_some(true),
        parallel_tool_calls: request.parallel_tool_calls,
        max_output_tokens: request.max_output_tokens.map(|tokens| tokens.max(MIN_OUTPUT_TOKENS)),
        temperature,
        top_p,
        reasoning: controls::reasoning(request.reasoning.as_ref(), effort, model),
        text: controls::text(request),
        metadata: controls::metadata(&request.metadata, loss),
        service_tier: request.service_tier.as_ref().and_then(|tier| controls::service_tier(tier, loss)),
        store: Some(false),
        user,
        safety_identifier,
        prompt_cache_key: request.prompt_cache_key.clone(),
        ..CreateResponse::default()
    };
    if request.max_output_tokens.is_some_and(|tokens| tokens < MIN_OUTPUT_TOKENS) {
        loss.approximated("max_output_tokens", "raised to 16, the least the Responses API takes");
    }
    let tools = request.tools.iter().enumerate().map(|(i, tool)| tool_entry(tool, i, loss)).collect::<Result<Vec<_>, _>>()?;
    if tools.is_empty() {
        // Without tools there is nothing to choose between.
        wire.parallel_tool_calls = None;
    } else {
        wire.tool_choice = request.tool_choice.as_ref().map(|choice| tool_choice(choice, &request.tools));
        wire.tools = Some(tools);
    }
    let mut include = Vec::new();
    if request.logprobs {
        include.push("message.output_text.logprobs".to_owned());
        wire.top_logprobs = request.top_logprobs;
    }
    if wire.reasoning.is_some() || (model.first_party && model.reasoning) {
        // Nothing is stored, so reasoning comes back to the model only if the client can carry it.
        include.push("reasoning.encrypted_content".to_owned());
    }
    wire.include = (!include.is_empty()).then_some(include);
    report_unsayable(request, model, loss);
    if let Some(own) = request.extensions.own(DIALECT) {
        wire.rest.extend(own.iter().filter(|(name, _)| !name.contains('.')).map(|(name, value)| (name.clone(), value.clone())));
    }
    json_write::written(&wire).map_err(|error| BadRequest::malformed(error.to_string()))
}

fn report_unsayable(request: &Request, model: OpenAiModel, loss: &mut LossReport) {
    let sampling = &request.sampling;
    let absent = [
        ("top_k", sampling.top_k.is_some()),
        ("seed", sampling.seed.is_some()),
        ("frequency_penalty", sampling.frequency_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("presence_penalty", sampling.presence_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("logit_bias", !sampling.logit_bias.is_empty()),
        ("store", request.store == Some(true)),
    ];
    if !request.stop.is_empty() {
        loss.approximated("stop", "the answer is cut here: the Responses API has no such field");
    }
    for (field, is_said) in absent {
        if is_said {
            loss.dropped(field, "the Responses API has no such field");
        }
    }
    let parts = || request.system.iter().chain(request.turns.iter().flat_map(|turn| &turn.parts));
    if !model.cache_breakpoints && (request.cache.is_some() || parts().any(|part| part.cache.is_some())) {
        loss.dropped("cache_control", "OpenAI caches prompts by itself");
    }
    for (_, field, _) in request.extensions.foreign(DIALECT) {
        loss.dropped(field.clone(), "known to another provider only");
    }
    for (_, field, _) in parts().flat_map(|part| part.extensions.foreign(DIALECT)) {
        loss.dropped(field.clone(), "known to another provider only");
    }
}

fn tool_entry(tool: &Tool, i: usize, loss: &mut LossReport) -> Result<Value, BadRequest> {
    Ok(match tool {
        Tool::Function(function) => {
            if function.cache.is_some() {
                loss.dropped("cache_control", "OpenAI caches prompts by itself");
            }
            for (_, field, _) in function.extensions.foreign(DIALECT) {
                loss.dropped(format!("tools.{field}"), "known to another provider only");
            }
            let is_strict = function.strict == Some(true);
            let may_be_strict = function.parameters.as_ref().is_none_or(schema::is_openai_strict);
            if is_strict && !may_be_strict {
                loss.dropped(format!("tools[{i}].strict"), "the schema is outside of the strict subset");
            }
            value(&ToolEntry::Function(FunctionEntry {
                name: function.name.clone(),
                description: function.description.clone(),
                parameters: Some(function.parameters.clone().unwrap_or_else(|| json!({ "type": "object", "properties": {} }))),
                // Left out it would mean: strict if the schema allows.
                strict: Some(is_strict && may_be_strict),
                rest: function.extensions.own(DIALECT).cloned().unwrap_or_default(),
            }))
        }
        Tool::Custom { name, description, format } => value(&ToolEntry::Custom(CustomEntry {
            name: name.clone(),
            description: description.clone(),
            format: format.clone(),
            rest: Object::new(),
        })),
        Tool::Builtin { dialect: DIALECT, value, .. } => value.clone(),
        Tool::Builtin { dialect, kind, value } => {
            if let Some((search, left_out)) = search::web_search(*dialect, kind, value) {
                loss.approximated(format!("tools[{i}]"), "OpenAI's own web search stands in");
                for field in left_out {
                    loss.dropped(format!("tools[{i}].{field}"), "OpenAI's web search has no such option");
                }
                return Ok(search);
            }
            return Err(BadRequest::unsupported_value(
                format!("tools[{i}]"),
                format!("The tool `{kind}` is run by its vendor and the upstream of this model does not have it. Remove it."),
            ));
        }
    })
}

fn tool_choice(choice: &ToolChoice, tools: &[Tool]) -> Value {
    let custom: HashSet<&str> =
        tools.iter().filter_map(|tool| if let Tool::Custom { name, .. } = tool { Some(name.as_str()) } else { None }).collect();
    let named = |name: &str| json!({ "type": if custom.contains(name) { "custom" } else { "function" }, "name": name });
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => named(name),
        ToolChoice::Allowed { names, required } => json!({
            "type": "allowed_tools",
            "mode": if *required { "required" } else { "auto" },
            "tools": names.iter().map(|name| named(name)).collect::<Vec<_>>(),
        }),
    }
}
