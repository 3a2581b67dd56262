//! Token counts. `input_tokens` excludes cache reads and writes; thinking is inside `output_tokens`.

use serde::Deserialize;
use serde_json::{Map, Value};
use tallygate_types::{Usage, UsageClass};

use super::{error, wire};
use crate::failure::{AnswerFailure, InvalidAnswer};
use crate::ir::UsageReport;
use crate::json_text;
use crate::skim::Skim;
use crate::tap::Tap;

/// `None` for null and for what is no usage object.
pub(crate) fn decode(value: &Value) -> Option<UsageReport> {
    let wire = wire::Usage::deserialize(value).ok()?;
    wire.input_tokens.or(wire.output_tokens)?;
    let iterations = value.get("iterations").and_then(Value::as_array).into_iter().flatten();
    let whole = iterations
        .filter_map(|iteration| wire::Usage::deserialize(iteration).ok())
        .reduce(|sum, one| merged(&sum, &one, u64::saturating_add));
    // The top level may leave out what a compaction or a fallback took; the iterations together do not.
    let usage = classes(&whole.map_or(wire, |whole| merged(&wire, &whole, u64::max)));
    Some(UsageReport { usage, raw: json_text::compact(value) })
}

/// The same, of JSON that is being read; with the word for the service tier.
pub(super) fn skim<'a>(skim: &mut Skim<'a>) -> Option<(Option<UsageReport>, Option<&'a str>)> {
    if skim.peek()? == b'n' {
        return skim.null().map(|()| (None, None));
    }
    let start = skim.at();
    let (mut wire, mut tier) = (wire::Usage::default(), None);
    skim.unique_members(|skim, name| {
        let count = match name {
            b"input_tokens" => &mut wire.input_tokens,
            b"cache_creation_input_tokens" => &mut wire.cache_creation_input_tokens,
            b"cache_read_input_tokens" => &mut wire.cache_read_input_tokens,
            b"output_tokens" => &mut wire.output_tokens,
            b"cache_creation" if skim.peek()? == b'{' => {
                let split = wire.cache_creation.get_or_insert_default();
                return skim.unique_members(|skim, name| match name {
                    b"ephemeral_5m_input_tokens" => skim.count().map(|count| split.ephemeral_5m_input_tokens = count),
                    b"ephemeral_1h_input_tokens" => skim.count().map(|count| split.ephemeral_1h_input_tokens = count),
                    _ => None,
                });
            }
            b"service_tier" => {
                tier = skim.text_or_null()?.0;
                return Some(());
            }
            b"cache_creation" | b"output_tokens_details" | b"iterations" => return skim.null(),
            _ => return skim.skip_plain(name),
        };
        *count = skim.count_or_null()?.0;
        Some(())
    })?;
    let raw = skim.written_since(start)?;
    let is_said = wire.input_tokens.or(wire.output_tokens).is_some();
    Some((is_said.then(|| UsageReport { usage: classes(&wire), raw }), tier))
}

/// Field by field.
fn merged(a: &wire::Usage, b: &wire::Usage, merge: fn(u64, u64) -> u64) -> wire::Usage {
    let counts = |get: fn(&wire::Usage) -> Option<u64>| Some(merge(get(a).unwrap_or(0), get(b).unwrap_or(0)));
    let (split_a, split_b) = (a.cache_creation.unwrap_or_default(), b.cache_creation.unwrap_or_default());
    let thinking = |usage: &wire::Usage| usage.output_tokens_details.unwrap_or_default().thinking_tokens;
    wire::Usage {
        input_tokens: counts(|usage| usage.input_tokens),
        cache_creation_input_tokens: counts(|usage| usage.cache_creation_input_tokens),
        cache_read_input_tokens: counts(|usage| usage.cache_read_input_tokens),
        cache_creation: Some(wire::CacheCreation {
            ephemeral_5m_input_tokens: merge(split_a.ephemeral_5m_input_tokens, split_b.ephemeral_5m_input_tokens),
            ephemeral_1h_input_tokens: merge(split_a.ephemeral_1h_input_tokens, split_b.ephemeral_1h_input_tokens),
        }),
        output_tokens: counts(|usage| usage.output_tokens),
        output_tokens_details: Some(wire::OutputDetails { thinking_tokens: merge(thinking(a), thinking(b)) }),
    }
}

fn classes(wire: &wire::Usage) -> Usage {
    let written = wire.cache_creation_input_tokens.unwrap_or(0);
    let split = wire.cache_creation.unwrap_or_default();
    // Where only the sum is told, it is the ordinary cache's.
    let hour = split.ephemeral_1h_input_tokens;
    let short = split.ephemeral_5m_input_tokens.max(written.saturating_sub(hour));
    let output = wire.output_tokens.unwrap_or(0);
    let thinking = wire.output_tokens_details.unwrap_or_default().thinking_tokens.min(output);
    Usage::default()
        .with(UsageClass::InputUncached, wire.input_tokens.unwrap_or(0))
        .with(UsageClass::InputCacheRead, wire.cache_read_input_tokens.unwrap_or(0))
        .with(UsageClass::InputCacheWrite5m, short)
        .with(UsageClass::InputCacheWrite1h, hour)
        .with(UsageClass::OutputText, output - thinking)
        .with(UsageClass::OutputReasoning, thinking)
}

pub(crate) fn encode(usage: &Usage) -> wire::Usage {
    let (short, hour) = (usage.get(UsageClass::InputCacheWrite5m), usage.get(UsageClass::InputCacheWrite1h));
    let read = usage.get(UsageClass::InputCacheRead).saturating_add(usage.get(UsageClass::InputAudioCached));
    let written = short.saturating_add(hour);
    wire::Usage {
        input_tokens: Some(usage.input_total().saturating_sub(read).saturating_sub(written)),
        cache_creation_input_tokens: Some(written),
        cache_read_input_tokens: Some(read),
        cache_creation: Some(wire::CacheCreation { ephemeral_5m_input_tokens: short, ephemeral_1h_input_tokens: hour }),
        output_tokens: Some(usage.output_total()),
        output_tokens_details: Some(wire::OutputDetails { thinking_tokens: usage.get(UsageClass::OutputReasoning) }),
    }
}

/// Stream usage is cumulative: each field that is said replaces the one before, none is added.
pub(super) fn merge(known: &mut Map<String, Value>, news: &Value) {
    for (field, value) in news.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        known.insert(field.clone(), value.clone());
    }
}

/// What the meter needs of a whole answer; content is not read.
pub(crate) fn tap(body: &[u8], tap: &mut Tap) -> Result<(), AnswerFailure> {
    #[derive(Deserialize)]
    struct Slim {
        id: Option<String>,
        model: Option<String>,
        stop_reason: Option<String>,
        usage: Option<Value>,
        error: Option<Value>,
    }
    let slim: Slim = serde_json::from_slice(body).map_err(|error| InvalidAnswer(error.to_string()))?;
    if let Some(error) = slim.error {
        return Err(AnswerFailure::Upstream(error::from_error(200, &error)));
    }
    tap.id = slim.id;
    tap.model = slim.model;
    tap.finish_reason = slim.stop_reason;
    tap.usage = slim.usage.as_ref().and_then(decode);
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

    #[test]
    fn cache_classes_stand_beside_the_input_and_thinking_inside_the_output() {
        let usage = decode(&json!({"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30,
            "cache_creation": {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5},
            "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 3}}))
        .unwrap()
        .usage;
        let expected = Usage::default()
            .with(UsageClass::InputUncached, 10)
            .with(UsageClass::InputCacheRead, 30)
            .with(UsageClass::InputCacheWrite5m, 15)
            .with(UsageClass::InputCacheWrite1h, 5)
            .with(UsageClass::OutputText, 2)
            .with(UsageClass::OutputReasoning, 3);
        assert_eq!(usage, expected);
        assert_eq!(decode(&serde_json::to_value(encode(&usage)).unwrap()).unwrap().usage, expected);
    }

    #[test]
    fn a_sum_without_its_split_is_the_ordinary_cache() {
        let usage = decode(&json!({"input_tokens": 1, "cache_creation_input_tokens": 7, "output_tokens": 0})).unwrap().usage;
        assert_eq!((usage.get(UsageClass::InputCacheWrite5m), usage.get(UsageClass::InputCacheWrite1h)), (7, 0));
    }

    #[test]
    fn iterations_count_what_the_top_level_leaves_out() {
        let usage = decode(&json!({"input_tokens": 10, "output_tokens": 5, "iterations": [
            {"type": "compaction", "input_tokens": 180, "output_tokens": 30, "cache_creation_input_tokens": 4},
            {"type": "message", "input_tokens": 10, "output_tokens": 5}]}))
        .unwrap()
        .usage;
        let expected = Usage::default()
            .with(UsageClass::InputUncached, 190)
            .with(UsageClass::InputCacheWrite5m, 4)
            .with(UsageClass::OutputText, 35);
        assert_eq!(usage, expected);
        // Where they say less, the top level counts; thinking is never added to the output it is in.
        let less = json!({"input_tokens": 10, "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 4},
            "iterations": [{"type": "message", "input_tokens": 10, "output_tokens": 5}]});
        let usage = decode(&less).unwrap().usage;
        assert_eq!((usage.get(UsageClass::OutputText), usage.get(UsageClass::OutputReasoning)), (1, 4));
        let none = decode(&json!({"input_tokens": 10, "output_tokens": 5, "iterations": []})).unwrap().usage;
        assert_eq!(none.input_total(), 10);
    }

    #[test]
    fn later_figures_replace_and_absent_ones_stay() {
        let mut known = Map::new();
        merge(&mut known, &json!({"input_tokens": 12, "cache_read_input_tokens": 100, "output_tokens": 1}));
        merge(&mut known, &json!({"output_tokens": 40, "input_tokens": null}));
        assert_eq!(Value::Object(known), json!({"input_tokens": 12, "cache_read_input_tokens": 100, "output_tokens": 40}));
    }
}
