//! Token counts. `prompt_tokens` includes cached and written ones, `completion_tokens` includes reasoning; ours are disjoint.

use serde::Deserialize;
use serde_json::Value;
use tallygate_types::{Usage, UsageClass};

use super::{error, wire_answer as wire};
use crate::failure::{AnswerFailure, InvalidAnswer};
use crate::ir::UsageReport;
use crate::tap::Tap;

/// `None` for null and for what is no usage object.
pub(crate) fn decode(value: &Value) -> Option<UsageReport> {
    let wire = wire::Usage::deserialize(value).ok()?;
    wire.prompt_tokens.or(wire.completion_tokens).or(wire.total_tokens)?;
    Some(UsageReport { usage: classes(&wire), raw: value.to_string() })
}

fn classes(wire: &wire::Usage) -> Usage {
    let prompt = wire.prompt_tokens.unwrap_or(0);
    let input = wire.prompt_tokens_details.unwrap_or_default();
    let read = input
        .cached_tokens
        .or(wire.prompt_cache_hit_tokens)
        .or(wire.cached_tokens)
        .or(wire.cache_read_input_tokens)
        .unwrap_or(0)
        .min(prompt);
    let mut fresh = prompt - read;
    let write = take(&mut fresh, input.cache_write_tokens);
    let audio = take(&mut fresh, input.audio_tokens);
    let image = take(&mut fresh, input.image_tokens);

    let output = wire.completion_tokens.unwrap_or(0);
    let details = wire.completion_tokens_details.unwrap_or_default();
    let said = details.reasoning_tokens.unwrap_or(0);
    // xAI and Google's compatible endpoint leave reasoning out of `completion_tokens` and count it in the total only.
    let beside = wire.total_tokens.unwrap_or(0).saturating_sub(prompt.saturating_add(output));
    let (reasoning, mut text) = if beside > 0 && (said == 0 || said == beside) {
        (beside, output)
    } else {
        (said.min(output), output - said.min(output))
    };
    let audio_out = take(&mut text, details.audio_tokens);
    Usage::default()
        .with(UsageClass::InputUncached, fresh)
        .with(UsageClass::InputCacheRead, read)
        .with(UsageClass::InputCacheWrite5m, write)
        .with(UsageClass::InputAudio, audio)
        .with(UsageClass::InputImage, image)
        .with(UsageClass::OutputText, text)
        .with(UsageClass::OutputReasoning, reasoning)
        .with(UsageClass::OutputAudio, audio_out)
}

/// Moves up to `wanted` out of `pool`: parts of a provider's sum may overlap, ours may not.
fn take(pool: &mut u64, wanted: Option<u64>) -> u64 {
    let taken = wanted.unwrap_or(0).min(*pool);
    *pool -= taken;
    taken
}

pub(crate) fn encode(usage: &Usage) -> wire::Usage {
    let audio = usage.get(UsageClass::InputAudio).saturating_add(usage.get(UsageClass::InputAudioCached));
    let image = usage.get(UsageClass::InputImage);
    let audio_out = usage.get(UsageClass::OutputAudio);
    wire::Usage {
        prompt_tokens: Some(usage.input_total()),
        completion_tokens: Some(usage.output_total()),
        total_tokens: Some(usage.total()),
        prompt_tokens_details: Some(wire::PromptDetails {
            cached_tokens: Some(usage.get(UsageClass::InputCacheRead).saturating_add(usage.get(UsageClass::InputAudioCached))),
            cache_write_tokens: Some(
                usage.get(UsageClass::InputCacheWrite5m).saturating_add(usage.get(UsageClass::InputCacheWrite1h)),
            ),
            audio_tokens: (audio > 0).then_some(audio),
            image_tokens: (image > 0).then_some(image),
        }),
        completion_tokens_details: Some(wire::CompletionDetails {
            reasoning_tokens: Some(usage.get(UsageClass::OutputReasoning)),
            audio_tokens: (audio_out > 0).then_some(audio_out),
        }),
        ..wire::Usage::default()
    }
}

/// What the meter needs of a whole answer, embeddings included; content is not read.
pub(crate) fn tap(body: &[u8], tap: &mut Tap) -> Result<(), AnswerFailure> {
    #[derive(Deserialize)]
    struct Slim {
        id: Option<String>,
        model: Option<String>,
        usage: Option<Value>,
        error: Option<Value>,
        #[serde(default)]
        choices: Option<Vec<SlimChoice>>,
    }
    #[derive(Deserialize)]
    struct SlimChoice {
        finish_reason: Option<String>,
    }
    let slim: Slim = serde_json::from_slice(body).map_err(|error| InvalidAnswer(error.to_string()))?;
    if let Some(error) = slim.error {
        return Err(AnswerFailure::Upstream(error::from_error(200, &error)));
    }
    tap.id = slim.id;
    tap.model = slim.model;
    tap.usage = slim.usage.as_ref().and_then(decode);
    tap.finish_reason = slim.choices.unwrap_or_default().into_iter().next().and_then(|choice| choice.finish_reason);
    for key in &super::stream::CONTENT_KEYS {
        tap.count_strings(body, key);
    }
    tap.done = true;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Usage {
        decode(&value).unwrap().usage
    }

    #[test]
    fn cached_written_and_reasoning_tokens_are_taken_out_of_their_sums() {
        let usage = of(json!({"prompt_tokens": 60, "completion_tokens": 9, "total_tokens": 69,
            "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20, "audio_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 5}}));
        let expected = Usage::default()
            .with(UsageClass::InputUncached, 6)
            .with(UsageClass::InputCacheRead, 30)
            .with(UsageClass::InputCacheWrite5m, 20)
            .with(UsageClass::InputAudio, 4)
            .with(UsageClass::OutputText, 4)
            .with(UsageClass::OutputReasoning, 5);
        assert_eq!(usage, expected);
        assert_eq!(of(serde_json::to_value(encode(&usage)).unwrap()), expected);
    }

    #[test]
    fn reasoning_beside_the_completion_is_counted_once() {
        let xai = of(json!({"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 113,
            "completion_tokens_details": {"reasoning_tokens": 100}}));
        let google = of(json!({"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 113}));
        assert_eq!((xai.get(UsageClass::OutputText), xai.get(UsageClass::OutputReasoning)), (3, 100));
        assert_eq!(google, xai);
    }

    #[test]
    fn other_places_for_cache_reads_are_known_and_nonsense_never_underflows() {
        assert_eq!(of(json!({"prompt_tokens": 10, "prompt_cache_hit_tokens": 4})).get(UsageClass::InputCacheRead), 4);
        let odd = of(json!({"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9},
            "completion_tokens_details": {"reasoning_tokens": 9, "audio_tokens": 9}}));
        assert_eq!(odd.total(), 2);
        assert_eq!(decode(&Value::Null), None);
        assert_eq!(decode(&json!({})), None);
    }
}
