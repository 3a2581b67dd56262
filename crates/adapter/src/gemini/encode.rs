//! [`ir`](crate::ir) → Gemini: requests. Whole answers are the end of a stream nobody watched.

use std::borrow::Cow;

use serde_json::Value;
use tallygate_types::Dialect;

use super::native::{self, Native};
use super::stream::Encoder;
use super::wire::{GenerateContent, GenerationConfig};
use super::{encode_config, encode_tools, history};
use crate::context::ResponseContext;
use crate::dispatch::Encode as _;
use crate::failure::BadRequest;
use crate::ir::{Request, Response};
use crate::json_write;
use crate::loss::LossReport;
use crate::profile::Profiles;
use crate::replay;

const DIALECT: Dialect = Dialect::Gemini;

pub(crate) fn path(model: &str, stream: bool) -> Cow<'static, str> {
    let model = model.strip_prefix("models/").unwrap_or(model);
    let path = if stream {
        format!("/v1beta/models/{model}:streamGenerateContent?alt=sse")
    } else {
        format!("/v1beta/models/{model}:generateContent")
    };
    path.into()
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
    let native = Native::of(request, loss)?;
    let (mut system_instruction, contents) = history::contents(request, &family, loss)?;
    if let Some(words) = encode_config::format_in_words(request, &family, loss) {
        system_instruction.get_or_insert_default().parts.push(history::text(&words));
    }
    let tools = encode_tools::declared(request, &family, loss)?;
    let wire = GenerateContent {
        system_instruction,
        contents,
        tool_config: encode_tools::config(request, &tools, &family, loss),
        tools,
        generation_config: Some(encode_config::generation_config(request, &family, loss)?)
            .filter(|config| *config != GenerationConfig::default()),
        service_tier: request.service_tier.as_ref().and_then(|tier| encode_config::service_tier(tier, loss)),
        ..GenerateContent::default()
    };
    report_unsayable(request, loss);
    let unwritten = |error: serde_json::Error| BadRequest::malformed(error.to_string());
    if native.is_empty() {
        return json_write::written(&wire).map_err(unwritten);
    }
    let Value::Object(mut wire) = serde_json::to_value(&wire).map_err(unwritten)? else { return Ok(Vec::new()) };
    native.write_over(&mut wire)?;
    json_write::written(&wire).map_err(unwritten)
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
    let has_speech = request.modalities.iter().any(|modality| modality == "audio");
    for (_, field, _) in request.extensions.foreign(DIALECT).chain(of_system) {
        if native::is_native(field) || (has_speech && field == encode_config::SPEECH) {
            continue;
        }
        loss.dropped(field.clone(), "known to another provider only");
    }
}
