//! `usage` of the Responses API and our disjoint classes.
//!
//! `input_tokens` includes what was read from and written to the cache, `output_tokens` includes reasoning
//! (openai-openapi `ResponseUsage`). Some compatible vendors leave reasoning out of `output_tokens`; their
//! `total_tokens` tells.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tallygate_types::{Usage, UsageClass};

use crate::failure::{AnswerFailure, InvalidAnswer};
use crate::ir::UsageReport;
use crate::json_text;
use crate::needle::needle;
use crate::tap::Tap;

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Wire {
    input_tokens: Option<u64>,
    input_tokens_details: Option<InputDetails>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
    total_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    cache_write_tokens_details: Option<CacheWriteDetails>,
    audio_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct CacheWriteDetails {
    ttl_12h_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
    audio_tokens: Option<u64>,
}

/// What the gateway writes: every detail object is always there, since Codex requires its fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct WireUsage {
    input_tokens: u64,
    input_tokens_details: WireInputDetails,
    output_tokens: u64,
    output_tokens_details: WireOutputDetails,
    total_tokens: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct WireInputDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens_details: Option<WireCacheWriteDetails>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct WireCacheWriteDetails {
    ttl_30m_tokens: u64,
    ttl_12h_tokens: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct WireOutputDetails {
    reasoning_tokens: u64,
}

/// Reads `usage`; `None` if it is null or no object.
pub(crate) fn decode(raw: &Value) -> Option<UsageReport> {
    let wire = raw.is_object().then(|| Wire::deserialize(raw).ok()).flatten()?;
    let input_details = wire.input_tokens_details.unwrap_or_default();
    let output_details = wire.output_tokens_details.unwrap_or_default();
    let input = wire.input_tokens.unwrap_or(0);
    let output = wire.output_tokens.unwrap_or(0);

    // A part never exceeds its whole, whatever a vendor writes.
    let cached = input_details.cached_tokens.unwrap_or(0).min(input);
    let written = input_details.cache_write_tokens.unwrap_or(0).min(input - cached);
    let written_long = input_details.cache_write_tokens_details.and_then(|d| d.ttl_12h_tokens).unwrap_or(0).min(written);
    let input_audio = input_details.audio_tokens.unwrap_or(0).min(input - cached - written);

    let reasoning = output_details.reasoning_tokens.unwrap_or(0);
    let is_reasoning_beside = reasoning > 0 && wire.total_tokens == Some(input.saturating_add(output).saturating_add(reasoning));
    let visible = if is_reasoning_beside { output } else { output.saturating_sub(reasoning) };
    let reasoning = if is_reasoning_beside { reasoning } else { reasoning.min(output) };
    let output_audio = output_details.audio_tokens.unwrap_or(0).min(visible);

    let usage = Usage::default()
        .with(UsageClass::InputUncached, input - cached - written - input_audio)
        .with(UsageClass::InputCacheRead, cached)
        .with(UsageClass::InputCacheWrite5m, written - written_long)
        .with(UsageClass::InputCacheWrite1h, written_long)
        .with(UsageClass::InputAudio, input_audio)
        .with(UsageClass::OutputText, visible - output_audio)
        .with(UsageClass::OutputReasoning, reasoning)
        .with(UsageClass::OutputAudio, output_audio);
    Some(UsageReport { usage, raw: json_text::compact(raw) })
}

pub(super) fn encode(usage: &Usage) -> WireUsage {
    let sum = |classes: &[UsageClass]| classes.iter().fold(0_u64, |sum, class| sum.saturating_add(usage.get(*class)));
    let long = usage.get(UsageClass::InputCacheWrite1h);
    let details = WireCacheWriteDetails { ttl_30m_tokens: usage.get(UsageClass::InputCacheWrite5m), ttl_12h_tokens: long };
    WireUsage {
        input_tokens: usage.input_total(),
        input_tokens_details: WireInputDetails {
            cached_tokens: sum(&[UsageClass::InputCacheRead, UsageClass::InputAudioCached]),
            cache_write_tokens: sum(&[UsageClass::InputCacheWrite5m, UsageClass::InputCacheWrite1h]),
            cache_write_tokens_details: (long > 0).then_some(details),
        },
        output_tokens: usage.output_total(),
        output_tokens_details: WireOutputDetails { reasoning_tokens: usage.get(UsageClass::OutputReasoning) },
        total_tokens: usage.total(),
    }
}

/// What the meter needs of a whole answer.
pub(crate) fn tap(body: &[u8], tap: &mut Tap) -> Result<(), AnswerFailure> {
    let metered: super::stream::Metered =
        serde_json::from_slice(body).map_err(|error| InvalidAnswer(format!("no response object: {error}")))?;
    metered.check()?;
    metered.tell(tap);
    tap.count_strings(body, needle!("\"text\":"));
    tap.count_strings(body, needle!("\"arguments\":"));
    tap.content = true;
    tap.done = true;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cached_and_written_are_parts_of_input_and_reasoning_of_output() {
        let report = decode(&json!({
            "input_tokens": 3700, "input_tokens_details": {"cached_tokens": 2560, "cache_write_tokens": 100},
            "output_tokens": 741, "output_tokens_details": {"reasoning_tokens": 640}, "total_tokens": 4441
        }))
        .unwrap();
        let expected = Usage::default()
            .with(UsageClass::InputUncached, 1040)
            .with(UsageClass::InputCacheRead, 2560)
            .with(UsageClass::InputCacheWrite5m, 100)
            .with(UsageClass::OutputText, 101)
            .with(UsageClass::OutputReasoning, 640);
        assert_eq!(report.usage, expected);
        assert_eq!(report.usage.total(), 4441);
        assert_eq!(
            serde_json::to_string(&encode(&expected)).unwrap(),
            r#"{"input_tokens":3700,"input_tokens_details":{"cached_tokens":2560,"cache_write_tokens":100},"output_tokens":741,"output_tokens_details":{"reasoning_tokens":640},"total_tokens":4441}"#
        );
    }

    #[test]
    fn the_total_tells_when_reasoning_stands_beside_output() {
        let report = decode(&json!({
            "input_tokens": 10, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 100}, "total_tokens": 115
        }))
        .unwrap();
        assert_eq!((report.usage.get(UsageClass::OutputText), report.usage.get(UsageClass::OutputReasoning)), (5, 100));
    }

    #[test]
    fn missing_details_and_impossible_parts_do_not_go_below_zero() {
        let report = decode(&json!({"input_tokens": 4, "input_tokens_details": {"cached_tokens": 9}, "output_tokens": 3, "output_tokens_details": null})).unwrap();
        assert_eq!(report.usage, Usage::default().with(UsageClass::InputCacheRead, 4).with(UsageClass::OutputText, 3));
        assert_eq!(decode(&Value::Null), None);
    }
}
