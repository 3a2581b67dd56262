//! What steers a model, bent to what it takes: effort, sampling, format, tier.

use super::wire::{Format, JsonSchemaFormat, ReasoningOptions, TextOptions};
use crate::effort;
use crate::ir::{Effort, Object, OutputFormat, ReasoningControl, Request, ServiceTier};
use crate::loss::LossReport;
use crate::profile::OpenAiModel;

/// `metadata`: at most this many entries, with strings for values.
const MAX_METADATA: usize = 16;
/// Service tiers only OpenAI has.
const OTHER_TIERS: &[&str] = &["scale", "ultrafast"];

/// The effort that is sent; `None`: the model's default.
pub(super) fn effort(control: Option<&ReasoningControl>, model: OpenAiModel, loss: &mut LossReport) -> Option<Effort> {
    let wanted = effort::wanted(control)?;
    if model.first_party && !model.reasoning {
        if wanted != Effort::None {
            loss.dropped("reasoning", "this model does not reason");
        }
        return None;
    }
    if control.is_some_and(|control| control.effort.is_none() && control.budget_tokens > Some(0)) && wanted != Effort::None {
        loss.approximated("reasoning.budget_tokens", "said as the nearest effort");
    }
    if model.first_party { effort::fitting(Some(wanted), model, loss) } else { Some(wanted) }
}

pub(super) fn reasoning(
    control: Option<&ReasoningControl>,
    effort: Option<Effort>,
    model: OpenAiModel,
) -> Option<ReasoningOptions> {
    if model.first_party && !model.reasoning {
        return None;
    }
    let control = control?;
    let summary = control.summary.clone().or_else(|| (control.visible == Some(true)).then(|| "auto".into()));
    let options = ReasoningOptions { effort: effort.map(|effort| effort.as_str().to_owned()), summary, rest: Object::new() };
    (options != ReasoningOptions::default()).then_some(options)
}

/// `temperature` and `top_p`, which models refuse while they reason.
pub(super) fn sampling(
    request: &Request,
    model: OpenAiModel,
    effort: Option<Effort>,
    loss: &mut LossReport,
) -> (Option<f64>, Option<f64>) {
    let is_silent = effort == Some(Effort::None) || (effort.is_none() && model.none_by_default);
    let mut kept = (request.sampling.temperature, request.sampling.top_p);
    if model.first_party && model.reasoning && !is_silent {
        for (field, value) in [("temperature", &mut kept.0), ("top_p", &mut kept.1)] {
            if value.take().is_some_and(|value| (value - 1.0).abs() > f64::EPSILON) {
                loss.dropped(field, "reasoning models take no sampling parameters");
            }
        }
    }
    kept
}

pub(super) fn text(request: &Request) -> Option<TextOptions> {
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

pub(super) fn metadata(metadata: &Object, loss: &mut LossReport) -> Option<Object> {
    let kept: Object =
        metadata.iter().filter(|(_, value)| value.is_string()).take(MAX_METADATA).map(|(k, v)| (k.clone(), v.clone())).collect();
    if kept.len() < metadata.len() {
        loss.dropped("metadata", "at most 16 entries with strings for values");
    }
    (!kept.is_empty()).then_some(kept)
}

pub(super) fn service_tier(tier: &ServiceTier, loss: &mut LossReport) -> Option<String> {
    Some(
        match tier {
            ServiceTier::Auto => "auto",
            ServiceTier::Default => "default",
            ServiceTier::Flex => "flex",
            ServiceTier::Priority => "priority",
            ServiceTier::Other(word) if OTHER_TIERS.contains(&word.as_str()) => word,
            ServiceTier::Other(word) => {
                loss.dropped("service_tier", format!("`{word}` is not known to OpenAI"));
                return None;
            }
        }
        .to_owned(),
    )
}
