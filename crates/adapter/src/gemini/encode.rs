//! [`ir`](crate::ir) → Gemini: requests. Whole answers are the end of a stream nobody watched.

use serde_json::Value;
use tallygate_types::Dialect;

use super::history;
use super::schema::{self, Compiled, Target};
use super::stream::Encoder;
use super::wire::{
    FunctionCallingConfig, FunctionDeclaration, GenerateContent, GenerationConfig, ThinkingConfig, Tool as WireTool, ToolConfig,
};
use crate::context::ResponseContext;
use crate::dispatch::Encode as _;
use crate::failure::BadRequest;
use crate::ir::{
    Effort, Object, OutputFormat, ReasoningControl, ReasoningMode, Request, Response, ServiceTier, Tool, ToolChoice,
};
use crate::loss::LossReport;
use crate::profile::{GeminiModel, GeminiThinking, Profiles};
use crate::replay;

const DIALECT: Dialect = Dialect::Gemini;
/// `stopSequences`: at most this many.
const MAX_STOP_SEQUENCES: usize = 5;
const MAX_TEMPERATURE: f64 = 2.0;

pub(crate) fn path(model: &str, stream: bool) -> String {
    let model = model.strip_prefix("models/").unwrap_or(model);
    if stream {
        format!("/v1beta/models/{model}:streamGenerateContent?alt=sse")
    } else {
        format!("/v1beta/models/{model}:generateContent")
    }
}

pub(crate) fn headers() -> Vec<(&'static str, String)> {
    Vec::new()
}

pub(crate) fn response(response: &Response, context: &ResponseContext) -> Vec<u8> {
    let mut encoder = Encoder::gathering(context.clone());
    for event in replay::events(response) {
        encoder.event(&event, &mut Vec::new());
    }
    encoder.into_body()
}

pub(crate) fn request(request: &Request, profiles: &Profiles, loss: &mut LossReport) -> Result<Vec<u8>, BadRequest> {
    let family = profiles.gemini(&request.model);
    let (system_instruction, contents) = history::contents(request, &family, loss)?;
    let tools = tools(request, &family, loss)?;
    let has_functions = tools.iter().any(|tool| !tool.function_declarations.is_empty());
    let mut wire = GenerateContent {
        system_instruction,
        contents,
        tool_config: tool_config(request, &family, has_functions),
        tools,
        generation_config: Some(generation_config(request, &family, loss)?)
            .filter(|config| *config != GenerationConfig::default()),
        service_tier: request.service_tier.as_ref().and_then(|tier| service_tier(tier, loss)),
        ..GenerateContent::default()
    };
    report_unsayable(request, loss);
    if let Some(own) = request.extensions.own(DIALECT) {
        wire.rest.extend(own.iter().filter(|(name, _)| !name.contains('.')).map(|(name, value)| (name.clone(), value.clone())));
    }
    serde_json::to_vec(&wire).map_err(|error| BadRequest::malformed(error.to_string()))
}

fn report_unsayable(request: &Request, loss: &mut LossReport) {
    let absent = [
        ("logit_bias", !request.sampling.logit_bias.is_empty()),
        ("parallel_tool_calls", request.parallel_tool_calls == Some(false)),
        ("verbosity", request.verbosity.is_some()),
        ("user", request.user.is_some()),
        ("metadata", !request.metadata.is_empty()),
        ("store", request.store == Some(true)),
        ("prompt_cache_key", request.prompt_cache_key.is_some()),
    ];
    for (field, is_said) in absent {
        if is_said {
            loss.dropped(field, "Gemini has no such field");
        }
    }
    let mut parts = request.system.iter().chain(request.turns.iter().flat_map(|turn| &turn.parts));
    if request.cache.is_some() || parts.any(|part| part.cache.is_some()) {
        loss.dropped("cache_control", "Gemini caches prompts by itself");
    }
    let of_system = request.system.iter().flat_map(|part| part.extensions.foreign(DIALECT));
    for (_, field, _) in request.extensions.foreign(DIALECT).chain(of_system) {
        loss.dropped(field.clone(), "known to another provider only");
    }
}

fn tools(request: &Request, family: &GeminiModel, loss: &mut LossReport) -> Result<Vec<WireTool>, BadRequest> {
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
                    let schema = Some(noted(compiled, "tools.parameters", loss));
                    match language(family) {
                        Target::OpenApi => declaration.parameters = schema,
                        Target::JsonSchema => declaration.parameters_json_schema = schema,
                    }
                }
                declarations.push(declaration);
            }
            // Said as a function before.
            Tool::Custom { .. } => {}
            Tool::Builtin { dialect: DIALECT, value: Value::Object(fields), .. } => {
                tools.push(WireTool { rest: fields.clone(), ..WireTool::default() });
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

/// Which schema language the model is spoken to in.
fn language(family: &GeminiModel) -> Target {
    if family.json_schema { Target::JsonSchema } else { Target::OpenApi }
}

fn noted(compiled: Compiled, field: &str, loss: &mut LossReport) -> Value {
    for keyword in compiled.notes {
        loss.approximated(format!("{field}.{keyword}"), "a schema keyword Gemini does not know");
    }
    compiled.schema
}

fn tool_config(request: &Request, family: &GeminiModel, has_functions: bool) -> Option<ToolConfig> {
    if !has_functions {
        return None;
    }
    let is_strict = request.tools.iter().any(|tool| matches!(tool, Tool::Function(function) if function.strict == Some(true)));
    let auto = if is_strict && family.validated_calls { "VALIDATED" } else { "AUTO" };
    let (mode, names) = match request.tool_choice.as_ref() {
        None if auto == "AUTO" => return None,
        None | Some(ToolChoice::Auto) => (auto, Vec::new()),
        Some(ToolChoice::None) => ("NONE", Vec::new()),
        Some(ToolChoice::Required) => ("ANY", Vec::new()),
        Some(ToolChoice::Named(name)) => ("ANY", vec![name.clone()]),
        Some(ToolChoice::Allowed { names, required: true }) => ("ANY", names.clone()),
        Some(ToolChoice::Allowed { names, required: false }) => ("VALIDATED", names.clone()),
    };
    let config =
        FunctionCallingConfig { mode: Some(mode.into()), allowed_function_names: names, ..FunctionCallingConfig::default() };
    Some(ToolConfig { function_calling_config: Some(config), ..ToolConfig::default() })
}

fn generation_config(request: &Request, family: &GeminiModel, loss: &mut LossReport) -> Result<GenerationConfig, BadRequest> {
    let sampling = &request.sampling;
    let mut config = GenerationConfig {
        max_output_tokens: request.max_output_tokens.and_then(|tokens| i64::try_from(tokens).ok()),
        seed: sampling.seed.map(|seed| fold_seed(seed, loss)),
        presence_penalty: sampling.presence_penalty.filter(|penalty| *penalty != 0.0),
        frequency_penalty: sampling.frequency_penalty.filter(|penalty| *penalty != 0.0),
        response_logprobs: request.logprobs.then_some(true),
        logprobs: request.top_logprobs.filter(|_| request.logprobs).filter(|top| *top > 0).map(i64::from),
        thinking_config: request.reasoning.as_ref().and_then(|control| thinking(control, family, loss)),
        ..GenerationConfig::default()
    };
    if family.refuses_sampling {
        for (field, is_said) in [
            ("temperature", sampling.temperature.is_some()),
            ("top_p", sampling.top_p.is_some()),
            ("top_k", sampling.top_k.is_some()),
        ] {
            if is_said {
                loss.dropped(field, "this model does not take it");
            }
        }
    } else {
        config.temperature = sampling.temperature.map(|temperature| temperature.clamp(0.0, MAX_TEMPERATURE));
        config.top_p = sampling.top_p;
        config.top_k = sampling.top_k.and_then(|top_k| i64::try_from(top_k).ok());
    }
    config.stop_sequences = request.stop.iter().filter(|stop| !stop.is_empty()).cloned().collect();
    if config.stop_sequences.len() > MAX_STOP_SEQUENCES {
        return Err(BadRequest::unsupported_value("stop", format!("Gemini takes at most {MAX_STOP_SEQUENCES} stop sequences.")));
    }
    if let Some(candidates) = request.candidates.filter(|candidates| *candidates > 1) {
        if !family.many_candidates || request.stream {
            return Err(BadRequest::unsupported_value("n", "This model gives one answer a request; leave `n` out or send 1."));
        }
        config.candidate_count = Some(i64::from(candidates));
    }
    match &request.output {
        None | Some(OutputFormat::Text) => {}
        Some(OutputFormat::JsonObject) => config.response_mime_type = Some("application/json".into()),
        Some(OutputFormat::JsonSchema { schema, .. }) => {
            config.response_mime_type = Some("application/json".into());
            let schema = Some(noted(schema::compile(schema, language(family)), "response_format.schema", loss));
            match language(family) {
                Target::OpenApi => config.response_schema = schema,
                Target::JsonSchema => config.response_json_schema = schema,
            }
        }
    }
    if !request.modalities.is_empty() {
        config.response_modalities =
            std::iter::once("TEXT".to_owned()).chain(request.modalities.iter().map(|word| word.to_ascii_uppercase())).collect();
    }
    Ok(config)
}

/// A seed has 32 bits.
fn fold_seed(seed: i64, loss: &mut LossReport) -> i64 {
    if i32::try_from(seed).is_err() {
        loss.approximated("seed", "folded to 32 bits");
    }
    i32::try_from(seed).map_or_else(|_| seed.rem_euclid(i64::from(i32::MAX)), i64::from)
}

/// Budget and level exclude each other; the family decides which it is.
fn thinking(control: &ReasoningControl, family: &GeminiModel, loss: &mut LossReport) -> Option<ThinkingConfig> {
    const LOW_BUDGET: u64 = 1024;
    const MEDIUM_BUDGET: u64 = 8192;
    let asked = match (control.mode, control.effort) {
        (Some(ReasoningMode::Disabled), _) => Some(Effort::None),
        (_, effort) => effort,
    };
    let mut config =
        ThinkingConfig { include_thoughts: (control.visible == Some(true)).then_some(true), ..ThinkingConfig::default() };
    match family.thinking {
        GeminiThinking::None => {
            if asked.is_some_and(|effort| effort != Effort::None) || control.budget_tokens.is_some() {
                loss.dropped("reasoning", "this model does not think");
            }
            return None;
        }
        GeminiThinking::Budget { least, most } => {
            let budget = match (asked, control.budget_tokens, control.mode) {
                (Some(Effort::None), ..) => Some(least),
                (_, Some(budget), _) => Some(budget.clamp(least, most)),
                (Some(effort), ..) => Some(GeminiThinking::budget(effort, least, most)),
                (None, None, Some(ReasoningMode::Adaptive)) => {
                    config.thinking_budget = Some(-1);
                    None
                }
                _ => None,
            };
            if let Some(budget) = budget {
                if control.budget_tokens.is_some_and(|asked| asked != budget) || (asked == Some(Effort::None) && budget > 0) {
                    loss.approximated("reasoning", format!("the model thinks with {least} to {most} tokens"));
                }
                config.thinking_budget = i64::try_from(budget).ok();
            }
        }
        GeminiThinking::Levels(levels) => {
            let wanted = asked.or_else(|| {
                control.budget_tokens.map(|budget| match budget {
                    0 => Effort::None,
                    budget if budget <= LOW_BUDGET => Effort::Low,
                    budget if budget <= MEDIUM_BUDGET => Effort::Medium,
                    _ => Effort::High,
                })
            });
            let level = wanted.and_then(|wanted| levels.nearest(wanted));
            if let Some(level) = level {
                if Some(level) != wanted || control.budget_tokens.is_some() {
                    loss.approximated("reasoning", format!("said as the level {}", level.as_str()));
                }
                config.thinking_level = Some(level.as_str().to_ascii_uppercase());
            }
        }
    }
    (config != ThinkingConfig::default()).then_some(config)
}

fn service_tier(tier: &ServiceTier, loss: &mut LossReport) -> Option<String> {
    match tier {
        ServiceTier::Auto | ServiceTier::Default => None,
        ServiceTier::Flex => Some("flex".into()),
        ServiceTier::Priority => Some("priority".into()),
        ServiceTier::Other(word) => {
            loss.dropped("service_tier", format!("`{word}` is not known to Gemini"));
            None
        }
    }
}
