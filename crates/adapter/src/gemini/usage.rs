//! `usageMetadata` and our disjoint classes.
//!
//! `promptTokenCount` includes the cached part and excludes what server-side tools fed back (`toolUsePromptTokenCount`);
//! `candidatesTokenCount` excludes thoughts, but for some models that count them in: then prompt + tool use + candidates
//! is already the total. Zero counters are left out on the wire.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use tallygate_types::{Usage, UsageClass};

use crate::failure::{AnswerFailure, InvalidAnswer};
use crate::ir::UsageReport;
use crate::json_text;
use crate::needle::needle;
use crate::tap::Tap;

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct UsageMetadata {
    #[serde(alias = "prompt_token_count", deserialize_with = "count", skip_serializing_if = "is_zero")]
    prompt_token_count: u64,
    #[serde(alias = "cached_content_token_count", deserialize_with = "count", skip_serializing_if = "is_zero")]
    cached_content_token_count: u64,
    #[serde(alias = "tool_use_prompt_token_count", deserialize_with = "count", skip_serializing_if = "is_zero")]
    tool_use_prompt_token_count: u64,
    #[serde(alias = "candidates_token_count", deserialize_with = "count", skip_serializing_if = "is_zero")]
    candidates_token_count: u64,
    #[serde(alias = "thoughts_token_count", deserialize_with = "count", skip_serializing_if = "is_zero")]
    thoughts_token_count: u64,
    #[serde(alias = "total_token_count", deserialize_with = "count")]
    total_token_count: u64,
    #[serde(alias = "prompt_tokens_details", skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<Vec<ModalityCount>>,
    #[serde(alias = "cache_tokens_details", skip_serializing_if = "Option::is_none")]
    cache_tokens_details: Option<Vec<ModalityCount>>,
    #[serde(alias = "candidates_tokens_details", skip_serializing_if = "Option::is_none")]
    candidates_tokens_details: Option<Vec<ModalityCount>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct ModalityCount {
    modality: Value,
    #[serde(alias = "token_count", deserialize_with = "count")]
    token_count: u64,
}

/// Reads `usageMetadata`; `None` if it counts no token (a blocked prompt on Vertex has only `trafficType`).
/// The usage object that `json` begins with; what follows it is left alone.
pub(crate) fn decode_leading(json: &[u8]) -> Option<UsageReport> {
    decode(&serde_json::Deserializer::from_slice(json).into_iter().next()?.ok()?)
}

pub(crate) fn decode(raw: &Value) -> Option<UsageReport> {
    let wire = raw.is_object().then(|| UsageMetadata::deserialize(raw).ok()).flatten()?;
    let prompt = wire.prompt_token_count.saturating_add(wire.tool_use_prompt_token_count);
    let cached = wire.cached_content_token_count.min(prompt);
    let thoughts = wire.thoughts_token_count;
    let includes_thoughts = thoughts > 0 && prompt.saturating_add(wire.candidates_token_count) == wire.total_token_count;
    let candidates =
        if includes_thoughts { wire.candidates_token_count.saturating_sub(thoughts) } else { wire.candidates_token_count };
    if prompt == 0 && candidates == 0 && thoughts == 0 {
        return None;
    }

    let cached_audio = of(wire.cache_tokens_details.as_ref(), "AUDIO").min(cached);
    // What is cached of a modality is counted with the cache, not with the modality.
    let mut fresh = prompt - cached;
    let mut take = |modality: &str| {
        let all = of(wire.prompt_tokens_details.as_ref(), modality);
        let tokens = all.saturating_sub(of(wire.cache_tokens_details.as_ref(), modality)).min(fresh);
        fresh -= tokens;
        tokens
    };
    let (audio, image, video) = (take("AUDIO"), take("IMAGE"), take("VIDEO"));
    let output_audio = of(wire.candidates_tokens_details.as_ref(), "AUDIO").min(candidates);
    let output_image = of(wire.candidates_tokens_details.as_ref(), "IMAGE").min(candidates - output_audio);

    let usage = Usage::default()
        .with(UsageClass::InputUncached, fresh)
        .with(UsageClass::InputCacheRead, cached - cached_audio)
        .with(UsageClass::InputAudioCached, cached_audio)
        .with(UsageClass::InputAudio, audio)
        .with(UsageClass::InputImage, image)
        .with(UsageClass::InputVideo, video)
        .with(UsageClass::OutputText, candidates - output_audio - output_image)
        .with(UsageClass::OutputReasoning, thoughts)
        .with(UsageClass::OutputAudio, output_audio)
        .with(UsageClass::OutputImage, output_image);
    Some(UsageReport { usage, raw: json_text::compact(raw) })
}

pub(super) fn encode(usage: &Usage) -> UsageMetadata {
    use UsageClass as C;
    let cached = usage.get(C::InputCacheRead).saturating_add(usage.get(C::InputAudioCached));
    let reasoning = usage.get(C::OutputReasoning);
    let prompt = usage.input_total();
    let candidates = usage.output_total() - reasoning;
    let (input_audio, cached_audio) =
        (usage.get(C::InputAudio).saturating_add(usage.get(C::InputAudioCached)), usage.get(C::InputAudioCached));
    UsageMetadata {
        prompt_token_count: prompt,
        cached_content_token_count: cached,
        tool_use_prompt_token_count: 0,
        candidates_token_count: candidates,
        thoughts_token_count: reasoning,
        total_token_count: usage.total(),
        prompt_tokens_details: details(
            prompt,
            &[("AUDIO", input_audio), ("IMAGE", usage.get(C::InputImage)), ("VIDEO", usage.get(C::InputVideo))],
        ),
        cache_tokens_details: details(cached, &[("AUDIO", cached_audio)]),
        candidates_tokens_details: details(
            candidates,
            &[("AUDIO", usage.get(C::OutputAudio)), ("IMAGE", usage.get(C::OutputImage))],
        ),
    }
}

/// The counts by modality, text being what the others leave.
fn details(total: u64, others: &[(&str, u64)]) -> Option<Vec<ModalityCount>> {
    let text = others.iter().fold(total, |rest, (_, tokens)| rest.saturating_sub(*tokens));
    let list: Vec<_> = [("TEXT", text)]
        .iter()
        .chain(others)
        .filter(|(_, tokens)| *tokens > 0)
        .map(|(modality, tokens)| ModalityCount { modality: Value::from(*modality), token_count: *tokens })
        .collect();
    (!list.is_empty()).then_some(list)
}

fn of(details: Option<&Vec<ModalityCount>>, modality: &str) -> u64 {
    let matching = details.into_iter().flatten().filter(|count| count.modality.as_str() == Some(modality));
    matching.fold(0, |sum, count| sum.saturating_add(count.token_count))
}

/// A count may be text (protobuf's int64), null or negative nonsense.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_u64().unwrap_or(0),
        Value::String(text) => text.parse().unwrap_or(0),
        _ => 0,
    })
}

// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What the meter needs of a whole answer.
pub(crate) fn tap(body: &[u8], tap: &mut Tap) -> Result<(), AnswerFailure> {
    let metered: super::stream::Metered =
        serde_json::from_slice(body).map_err(|error| InvalidAnswer(format!("no GenerateContentResponse: {error}")))?;
    metered.check()?;
    metered.tell(tap);
    tap.count_strings(body, needle!("\"text\":"));
    tap.content = true;
    tap.done = true;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn thoughts_stand_beside_candidates_and_the_cache_inside_the_prompt() {
        let report = decode(&json!({
            "promptTokenCount": 341, "candidatesTokenCount": 10, "totalTokenCount": 850, "cachedContentTokenCount": 92,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 341}], "thoughtsTokenCount": 499
        }))
        .unwrap();
        let expected = Usage::default()
            .with(UsageClass::InputUncached, 249)
            .with(UsageClass::InputCacheRead, 92)
            .with(UsageClass::OutputText, 10)
            .with(UsageClass::OutputReasoning, 499);
        assert_eq!(report.usage, expected);
        assert_eq!(report.usage.total(), 850);
    }

    #[test]
    fn candidates_that_already_hold_the_thoughts_are_not_counted_twice() {
        let report =
            decode(&json!({"promptTokenCount": 5, "candidatesTokenCount": 30, "thoughtsTokenCount": 20, "totalTokenCount": 35}))
                .unwrap();
        assert_eq!(report.usage.get(UsageClass::OutputText), 10);
        assert_eq!(report.usage.get(UsageClass::OutputReasoning), 20);
    }

    #[test]
    fn an_answer_cut_while_thinking_has_no_candidates_count() {
        let report = decode(&json!({"promptTokenCount": 9, "thoughtsTokenCount": 2, "totalTokenCount": 11})).unwrap();
        assert_eq!((report.usage.output_total(), report.usage.get(UsageClass::OutputReasoning)), (2, 2));
        assert_eq!(decode(&json!({"trafficType": "ON_DEMAND"})), None);
    }

    #[test]
    fn tool_use_is_input_and_modalities_are_classes_of_their_own() {
        let report = decode(&json!({
            "promptTokenCount": 100, "toolUsePromptTokenCount": 7, "cachedContentTokenCount": 30, "candidatesTokenCount": 12, "totalTokenCount": 119,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 20}, {"modality": "AUDIO", "tokenCount": 50}, {"modality": "IMAGE", "tokenCount": 30}],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 30}],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 12}]
        }))
        .unwrap();
        let expected = Usage::default()
            .with(UsageClass::InputUncached, 27)
            .with(UsageClass::InputAudio, 20)
            .with(UsageClass::InputAudioCached, 30)
            .with(UsageClass::InputImage, 30)
            .with(UsageClass::OutputImage, 12);
        assert_eq!(report.usage, expected);
        // What is written reads back as the same classes.
        assert_eq!(decode(&serde_json::to_value(encode(&expected)).unwrap()).unwrap().usage, expected);
    }

    #[test]
    fn the_written_form_leaves_zero_counters_out() {
        let usage = Usage::default().with(UsageClass::InputUncached, 3).with(UsageClass::OutputText, 2);
        assert_eq!(
            serde_json::to_string(&encode(&usage)).unwrap(),
            r#"{"promptTokenCount":3,"candidatesTokenCount":2,"totalTokenCount":5,"promptTokensDetails":[{"modality":"TEXT","tokenCount":3}],"candidatesTokensDetails":[{"modality":"TEXT","tokenCount":2}]}"#
        );
    }
}
