//! [`ir`](crate::ir) → Responses: requests. Whole answers are the end of a stream nobody watched.

use std::collections::HashSet;

use serde_json::{Value, json};
use tallygate_types::Dialect;

use super::encode_turns::{assistant_turn, join_texts, message, plain_texts, user_turn, value};
use super::stream::Encoder;
use super::wire::{
    CreateResponse, CustomEntry, Format, FunctionEntry, Input, JsonSchemaFormat, ReasoningOptions, TextOptions, ToolEntry,
};
use crate::context::ResponseContext;
use crate::dispatch::Encode as _;
use crate::failure::BadRequest;
use crate::ident::openai_user;
use crate::ir::{
    Effort, Object, OutputFormat, ReasoningControl, ReasoningMode, Request, Response, Role, ServiceTier, Tool, ToolChoice,
};
use crate::loss::LossReport;
use crate::profile::{OpenAiModel, Profiles};
use crate::replay;

/// OpenAI refuses a smaller `max_output_tokens`.
const MIN_OUTPUT_TOKENS: u64 = 16;
/// `metadata`: at most this many entries, with strings for values.
const MAX_METADATA: usize = 16;
const DIALECT: Dialect = Dialect::OpenaiResponses;

pub(crate) fn path(_model: &str, _stream: bool) -> String {
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
    let mut items = Vec::new();
    for turn in &request.turns {
        match turn.role {
            Role::User => user_turn(&turn.parts, &mut items, loss)?,
            Role::Assistant => assistant_turn(&turn.parts, &mut items, loss),
            Role::System => items.push(message("system", plain_texts(&turn.parts, loss))),
            Role::Developer => items.push(message("developer", plain_texts(&turn.parts, loss))),
        }
        if turn.name.is_some() {
            loss.dropped("messages.name", "the Responses API has no names of speakers");
        }
    }
    let instructions = join_texts(&request.system);
    let model = profiles.openai(&request.model);
    let reasoning = request.reasoning.as_ref().and_then(|control| reasoning_options(control, model, loss));
    let effort = reasoning.as_ref().and_then(|options| options.effort.as_deref());
    let (temperature, top_p) = sampling(request, model, effort, loss);
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
        reasoning,
        text: text_options(request),
        metadata: metadata(&request.metadata, loss),
        service_tier: request.service_tier.as_ref().and_then(|tier| service_tier(tier, loss)),
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
    if wire.reasoning.is_some() {
        // Nothing is stored, so reasoning comes back to the model only if the client can carry it.
        include.push("reasoning.encrypted_content".to_owned());
    }
    wire.include = (!include.is_empty()).then_some(include);
    report_unsayable(request, loss);
    if let Some(own) = request.extensions.own(DIALECT) {
        wire.rest.extend(own.iter().filter(|(name, _)| !name.contains('.')).map(|(name, value)| (name.clone(), value.clone())));
    }
    serde_json::to_vec(&wire).map_err(|error| BadRequest::malformed(error.to_string()))
}

fn report_unsayable(request: &Request, loss: &mut LossReport) {
    let sampling = &request.sampling;
    let absent = [
        ("stop", !request.stop.is_empty()),
        ("top_k", sampling.top_k.is_some()),
        ("seed", sampling.seed.is_some()),
        ("frequency_penalty", sampling.frequency_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("presence_penalty", sampling.presence_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("logit_bias", !sampling.logit_bias.is_empty()),
        ("store", request.store == Some(true)),
    ];
    for (field, is_said) in absent {
        if is_said {
            loss.dropped(field, "the Responses API has no such field");
        }
    }
    let parts = || request.system.iter().chain(request.turns.iter().flat_map(|turn| &turn.parts));
    if request.cache.is_some() || parts().any(|part| part.cache.is_some()) {
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
            value(&ToolEntry::Function(FunctionEntry {
                name: function.name.clone(),
                description: function.description.clone(),
                parameters: Some(function.parameters.clone().unwrap_or_else(|| json!({ "type": "object", "properties": {} }))),
                // Left out it would mean: strict if the schema allows.
                strict: Some(function.strict.unwrap_or(false)),
                rest: Object::new(),
            }))
        }
        Tool::Custom { name, description, format } => value(&ToolEntry::Custom(CustomEntry {
            name: name.clone(),
            description: description.clone(),
            format: format.clone(),
            rest: Object::new(),
        })),
        Tool::Builtin { dialect: DIALECT, value, .. } => value.clone(),
        Tool::Builtin { kind, .. } => {
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

/// Thresholds of a thinking budget, in tokens, from which the next effort is said.
const BUDGET_MEDIUM: u64 = 4_096;
const BUDGET_HIGH: u64 = 16_384;
const BUDGET_XHIGH: u64 = 24_576;

fn reasoning_options(control: &ReasoningControl, model: OpenAiModel, loss: &mut LossReport) -> Option<ReasoningOptions> {
    let wanted = match control.mode {
        Some(ReasoningMode::Disabled | ReasoningMode::BetweenTools) => Some(Effort::None),
        _ => control.effort.or_else(|| {
            let budget = control.budget_tokens?;
            loss.approximated("reasoning.budget_tokens", "said as the nearest effort");
            Some(match budget {
                0 => Effort::None,
                1..BUDGET_MEDIUM => Effort::Low,
                BUDGET_MEDIUM..BUDGET_HIGH => Effort::Medium,
                BUDGET_HIGH..BUDGET_XHIGH => Effort::High,
                _ => Effort::XHigh,
            })
        }),
    };
    if model.first_party && !model.reasoning {
        if wanted.is_some_and(|effort| effort != Effort::None) {
            loss.dropped("reasoning", "this model does not reason");
        }
        return None;
    }
    let effort = match wanted {
        Some(Effort::None) if model.first_party && !model.effort_none => {
            loss.approximated("reasoning", "this model always reasons");
            Some(if model.effort_minimal { Effort::Minimal } else { Effort::Low })
        }
        Some(Effort::Minimal) if model.first_party && !model.effort_minimal => {
            loss.approximated("reasoning", "effort minimal is not known to this model: low");
            Some(Effort::Low)
        }
        other => other,
    };
    let summary = control.summary.clone().or_else(|| (control.visible == Some(true)).then(|| "auto".into()));
    let options = ReasoningOptions { effort: effort.map(|effort| effort.as_str().to_owned()), summary, rest: Object::new() };
    (options != ReasoningOptions::default()).then_some(options)
}

/// `temperature` and `top_p`, which models refuse while they reason.
fn sampling(request: &Request, model: OpenAiModel, effort: Option<&str>, loss: &mut LossReport) -> (Option<f64>, Option<f64>) {
    let mut kept = (request.sampling.temperature, request.sampling.top_p);
    if model.first_party && model.reasoning && effort != Some(Effort::None.as_str()) {
        for (field, value) in [("temperature", &mut kept.0), ("top_p", &mut kept.1)] {
            if value.take().is_some_and(|value| (value - 1.0).abs() > f64::EPSILON) {
                loss.dropped(field, "reasoning models take no sampling parameters");
            }
        }
    }
    kept
}

fn text_options(request: &Request) -> Option<TextOptions> {
    let format = request.output.as_ref().map(|output| match output {
        OutputFormat::Text => Format::Text(Object::new()),
        OutputFormat::JsonObject => Format::JsonObject(Object::new()),
        OutputFormat::JsonSchema { name, description, schema, strict } => Format::JsonSchema(JsonSchemaFormat {
            name: name.clone().unwrap_or_else(|| "response".into()),
            schema: schema.clone(),
            description: description.clone(),
            strict: *strict,
            rest: Object::new(),
        }),
    });
    let options = TextOptions { format, verbosity: request.verbosity.clone(), rest: Object::new() };
    (options != TextOptions::default()).then_some(options)
}

fn metadata(metadata: &Object, loss: &mut LossReport) -> Option<Object> {
    let kept: Object =
        metadata.iter().filter(|(_, value)| value.is_string()).take(MAX_METADATA).map(|(k, v)| (k.clone(), v.clone())).collect();
    if kept.len() < metadata.len() {
        loss.dropped("metadata", "at most 16 entries with strings for values");
    }
    (!kept.is_empty()).then_some(kept)
}

fn service_tier(tier: &ServiceTier, loss: &mut LossReport) -> Option<String> {
    Some(
        match tier {
            ServiceTier::Auto => "auto",
            ServiceTier::Default => "default",
            ServiceTier::Flex => "flex",
            ServiceTier::Priority => "priority",
            ServiceTier::Other(word) => {
                loss.dropped("service_tier", format!("`{word}` is not known to OpenAI"));
                return None;
            }
        }
        .to_owned(),
    )
}
