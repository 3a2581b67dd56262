//! How the model is to answer: `generationConfig` and the service tier.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tallygate_types::Dialect;

use super::encode_tools::{language, noted};
use super::schema::{self, Target};
use super::wire::{GenerationConfig, ThinkingConfig};
use crate::failure::BadRequest;
use crate::ir::{Effort, OutputFormat, ReasoningControl, ReasoningMode, Request, ServiceTier};
use crate::loss::LossReport;
use crate::profile::{GeminiModel, GeminiThinking};

/// `stopSequences`: at most this many.
const MAX_STOP_SEQUENCES: usize = 5;
const MAX_TEMPERATURE: f64 = 2.0;
/// Chat's field for the voice, and the one format Google answers in.
pub(super) const SPEECH: &str = "audio";
const SPEECH_FORMAT: &str = "pcm16";

pub(super) fn generation_config(
    request: &Request,
    family: &GeminiModel,
    loss: &mut LossReport,
) -> Result<GenerationConfig, BadRequest> {
    let sampling = &request.sampling;
    let mut config = GenerationConfig {
        max_output_tokens: request.max_output_tokens.and_then(|tokens| output_cap(tokens, family, loss)),
        seed: sampling.seed.map(|seed| fold_seed(seed, loss)),
        presence_penalty: penalty("presence_penalty", sampling.presence_penalty, family, loss),
        frequency_penalty: penalty("frequency_penalty", sampling.frequency_penalty, family, loss),
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
        if config.temperature != sampling.temperature {
            loss.approximated("temperature", format!("held between 0 and {MAX_TEMPERATURE}"));
        }
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
    if is_json(request.output.as_ref()) && !needs_words(request, family) {
        config.response_mime_type = Some("application/json".into());
        if let Some(OutputFormat::JsonSchema { schema, .. }) = &request.output {
            let schema = Some(noted(schema::compile(schema, language(family)), "response_format.schema", loss));
            match language(family) {
                Target::OpenApi => config.response_schema = schema,
                Target::JsonSchema => config.response_json_schema = schema,
            }
        }
    }
    modalities(request, &mut config)?;
    Ok(config)
}

fn is_json(output: Option<&OutputFormat>) -> bool {
    matches!(output, Some(OutputFormat::JsonObject | OutputFormat::JsonSchema { .. }))
}

/// Models before the third generation take no output format beside functions.
fn needs_words(request: &Request, family: &GeminiModel) -> bool {
    !family.mixed_tools && request.tools.iter().any(|tool| tool.name().is_some())
}

/// The output format in words, for the system text, where it cannot be said otherwise.
pub(super) fn format_in_words(request: &Request, family: &GeminiModel, loss: &mut LossReport) -> Option<String> {
    if !is_json(request.output.as_ref()) || !needs_words(request, family) {
        return None;
    }
    loss.approximated("response_format", "this model takes no output format beside functions: it was asked for in words");
    let mut words = "When you answer without calling a function, answer with one JSON value and nothing else.".to_owned();
    if let Some(OutputFormat::JsonSchema { schema, .. }) = &request.output {
        let _ = write!(words, " It must fit this JSON Schema:\n{schema}");
    }
    Some(words)
}

/// Speech is said alone, pictures beside text.
fn modalities(request: &Request, config: &mut GenerationConfig) -> Result<(), BadRequest> {
    if request.modalities.is_empty() {
        return Ok(());
    }
    let has_speech = request.modalities.iter().any(|modality| modality == "audio");
    if !has_speech {
        config.response_modalities.push("TEXT".into());
    }
    config.response_modalities.extend(request.modalities.iter().map(|modality| modality.to_ascii_uppercase()));
    let Some(audio) = request.extensions.get(Dialect::OpenaiChat, SPEECH).filter(|_| has_speech) else { return Ok(()) };
    let format = audio.get("format").and_then(Value::as_str).unwrap_or(SPEECH_FORMAT);
    if format != SPEECH_FORMAT {
        return Err(BadRequest::unsupported_value(
            "audio.format",
            format!("The upstream of this model speaks `{SPEECH_FORMAT}` only, not `{format}`."),
        ));
    }
    if let Some(voice) = audio.get("voice").and_then(|voice| voice.as_str().or(voice["id"].as_str())) {
        let speech = json!({ "voiceConfig": { "prebuiltVoiceConfig": { "voiceName": voice } } });
        config.rest.insert("speechConfig".into(), speech);
    }
    Ok(())
}

fn output_cap(tokens: u64, family: &GeminiModel, loss: &mut LossReport) -> Option<i64> {
    let held = family.max_output_tokens.map_or(tokens, |most| tokens.min(most));
    if held < tokens {
        loss.approximated("max_output_tokens", format!("this model writes at most {held}"));
    }
    i64::try_from(held).ok().filter(|tokens| *tokens > 0)
}

fn penalty(field: &str, penalty: Option<f64>, family: &GeminiModel, loss: &mut LossReport) -> Option<f64> {
    let penalty = penalty.filter(|penalty| *penalty != 0.0)?;
    if !family.penalties {
        loss.dropped(field, "this model does not take it");
    }
    Some(penalty).filter(|_| family.penalties)
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
        GeminiThinking::Budget { least, floor, most } => {
            let budget = match (asked, control.budget_tokens, control.mode) {
                (Some(Effort::None), ..) => Some(least),
                (_, Some(budget), _) => Some(if budget == 0 { least } else { budget.max(least).max(floor).min(most) }),
                (Some(effort), ..) => Some(GeminiThinking::budget(effort, least, floor, most)),
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

pub(super) fn service_tier(tier: &ServiceTier, loss: &mut LossReport) -> Option<String> {
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
