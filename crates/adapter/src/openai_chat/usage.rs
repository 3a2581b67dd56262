//! Token counts. `prompt_tokens` includes cached and written ones, `completion_tokens` includes reasoning; ours are disjoint.

use serde::Deserialize;
use serde_json::Value;
use tallygate_types::{Usage, UsageClass};

use super::stream::CONTENT_KEYS;
use super::{error, wire_answer as wire};
use crate::failure::{AnswerFailure, InvalidAnswer};
use crate::ir::UsageReport;
use crate::json_text;
use crate::skim::{OrNull, Skim, once};
use crate::tap::Tap;

/// `None` for null and for what is no usage object.
pub(crate) fn decode(value: &Value) -> Option<UsageReport> {
    let wire = wire::Usage::deserialize(value).ok()?;
    report(&wire, || json_text::compact(value))
}

fn report(wire: &wire::Usage, raw: impl FnOnce() -> String) -> Option<UsageReport> {
    wire.prompt_tokens.or(wire.completion_tokens).or(wire.total_tokens)?;
    Some(UsageReport { usage: classes(wire), raw: raw() })
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
    match skimmed(body) {
        Some(read) => *tap = read,
        None => read_by_library(body, tap)?,
    }
    tap.done = true;
    Ok(())
}

/// `None`: the answer is unusual, and [`read_by_library`] is to read it.
fn skimmed(body: &[u8]) -> Option<Tap> {
    let mut tap = Tap::default();
    let (mut id, mut model, mut usage, mut finish_reason) = (None, None, None, None);
    let (mut has_error, mut has_choices) = (false, false);
    let mut skim = Skim::new(body, is_output);
    skim.members(|skim, name| match name {
        b"id" => once(&mut id, skim.text_or_null()?),
        b"model" => once(&mut model, skim.text_or_null()?),
        b"usage" => once(&mut usage, skim_usage(skim)?),
        // One that says something is for the library.
        b"error" if !has_error => {
            has_error = true;
            skim.null()
        }
        b"choices" if !has_choices => {
            has_choices = true;
            skim_choices(skim, &mut finish_reason)
        }
        b"error" | b"choices" => None,
        _ => skim.skip_member(name),
    })?;
    skim.end()?;
    tap.id = id.and_then(|id| id.0).map(str::to_owned);
    tap.model = model.and_then(|model| model.0).map(str::to_owned);
    tap.usage = usage.and_then(|usage| usage.0);
    tap.finish_reason = finish_reason.and_then(|reason| reason.0).map(str::to_owned);
    tap.output_bytes = skim.output_bytes;
    tap.content = skim.output_bytes > 0;
    Some(tap)
}

/// The reason of the first choice.
fn skim_choices<'a>(skim: &mut Skim<'a>, finish_reason: &mut Option<OrNull<&'a str>>) -> Option<()> {
    if skim.peek()? == b'n' {
        return skim.null();
    }
    skim.elements(|skim| {
        let mut said = None;
        skim.members(|skim, name| match name {
            b"finish_reason" => once(&mut said, skim.text_or_null()?),
            _ => skim.skip_member(name),
        })?;
        finish_reason.get_or_insert(said.unwrap_or(OrNull(None)));
        Some(())
    })
}

fn skim_usage(skim: &mut Skim<'_>) -> Option<OrNull<UsageReport>> {
    if skim.peek()? == b'n' {
        return skim.null().map(|()| OrNull(None));
    }
    let start = skim.at();
    let mut wire = wire::Usage::default();
    skim.unique_members(|skim, name| {
        let count = match name {
            b"prompt_tokens" => &mut wire.prompt_tokens,
            b"completion_tokens" => &mut wire.completion_tokens,
            b"total_tokens" => &mut wire.total_tokens,
            b"prompt_cache_hit_tokens" => &mut wire.prompt_cache_hit_tokens,
            b"cached_tokens" => &mut wire.cached_tokens,
            b"cache_read_input_tokens" => &mut wire.cache_read_input_tokens,
            b"prompt_tokens_details" => {
                wire.prompt_tokens_details = skim.counts(prompt_detail)?.0;
                return Some(());
            }
            b"completion_tokens_details" => {
                wire.completion_tokens_details = skim.counts(completion_detail)?.0;
                return Some(());
            }
            _ => return skim.skip_plain(name),
        };
        *count = skim.count_or_null()?.0;
        Some(())
    })?;
    let raw = skim.written_since(start)?;
    Some(OrNull(report(&wire, || raw)))
}

fn prompt_detail<'d>(details: &'d mut wire::PromptDetails, name: &[u8]) -> Option<&'d mut Option<u64>> {
    match name {
        b"cached_tokens" => Some(&mut details.cached_tokens),
        b"cache_write_tokens" => Some(&mut details.cache_write_tokens),
        b"audio_tokens" => Some(&mut details.audio_tokens),
        b"image_tokens" => Some(&mut details.image_tokens),
        _ => None,
    }
}

fn completion_detail<'d>(details: &'d mut wire::CompletionDetails, name: &[u8]) -> Option<&'d mut Option<u64>> {
    match name {
        b"reasoning_tokens" => Some(&mut details.reasoning_tokens),
        b"audio_tokens" => Some(&mut details.audio_tokens),
        _ => None,
    }
}

/// [`CONTENT_KEYS`], for a name that is known to be one.
fn is_output(name: &[u8]) -> bool {
    matches!(name, b"content" | b"arguments" | b"reasoning_content" | b"reasoning" | b"input" | b"embedding")
}

fn read_by_library(body: &[u8], tap: &mut Tap) -> Result<(), AnswerFailure> {
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
    for key in &CONTENT_KEYS {
        tap.count_strings(body, key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
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

    /// What both readers make of a body; `None` where the fast one leaves it to the library.
    fn compared(body: &str) -> bool {
        let mut by_library = Tap::default();
        let read = read_by_library(body.as_bytes(), &mut by_library);
        let Some(skimmed) = skimmed(body.as_bytes()) else { return false };
        assert!(read.is_ok(), "{body}");
        assert_eq!(format!("{skimmed:?}"), format!("{by_library:?}"), "{body}");
        true
    }

    #[test]
    fn usual_answers_are_skimmed_and_read_as_the_library_reads_them() {
        let usual = [
            r#"{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi \u00e4 \"usage\":{}","refusal":null,"tool_calls":[{"id":"x","function":{"name":"f","arguments":"{\"usage\":1}"}}]},"logprobs":null,"finish_reason":"stop"},{"finish_reason":"length"}],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":1,"accepted_prediction_tokens":0}},"service_tier":"default","system_fingerprint":null}"#,
            "{\n  \"id\": \"c2\",\n  \"choices\": [],\n  \"usage\": {\n    \"prompt_tokens\": 1,\n    \"note\": \"a b\"\n  }\n}\n",
            r#"{"object":"list","data":[{"embedding":"AAAA","index":0},{"embedding":[0.5,-1e-3]}],"model":"e","usage":{"prompt_tokens":7,"total_tokens":7}}"#,
            r#"{"usage":null,"error":null,"choices":null,"id":null}"#,
            r#"{"usage":{"prompt_tokens_details":null,"queue":[1,true,{"a":null}]},"choices":[{}]}"#,
            "{}",
        ];
        for body in usual {
            assert!(compared(body), "{body}");
        }
    }

    #[test]
    fn unusual_answers_are_left_to_the_library() {
        let unusual = [
            r#"{"usage":{"prompt_tokens":1},"usage":{"prompt_tokens":2}}"#,
            r#"{"usage":{"prompt_tokens":1,"prompt_tokens":2}}"#,
            r#"{"usage":{"prompt_tokens":1.0}}"#,
            r#"{"usage":{"prompt_tokens":-1}}"#,
            r#"{"usage":{"cost":0.10,"prompt_tokens":1}}"#,
            r#"{"usage":{"prompt_tokens":99999999999999999999}}"#,
            r#"{"usage":"none"}"#,
            r#"{"\u0075sage":{"prompt_tokens":1}}"#,
            r#"{"usage":{"prompt_tokens":1,"x\ty":2}}"#,
            r#"{"id":"a\nb"}"#,
            r#"{"id":7}"#,
            r#"{"choices":[["stop"]]}"#,
            r#"{"choices":[{"finish_reason":"a","finish_reason":"b"}]}"#,
            r#"{"error":{"message":"no"}}"#,
            r#"{"error" :null}"#,
            r#"["id"]"#,
            r#"{"id":"cut"#,
        ];
        for body in unusual {
            assert!(!compared(body), "{body}");
        }
    }

    #[test]
    fn the_names_of_output_are_the_same_for_both_readers() {
        for key in &CONTENT_KEYS {
            assert!(is_output(key.text().trim_matches(['"', ':']).as_bytes()), "{key:?}");
        }
    }

    /// Pieces of answers, put together in whatever way.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just(r#""usage":"#),
            Just(r#""choices":["#),
            Just(r#""finish_reason":"stop""#),
            Just(r#""finish_reason":null"#),
            Just(r#""prompt_tokens":3"#),
            Just(r#""completion_tokens":2"#),
            Just(r#""prompt_tokens_details":{"cached_tokens":1}"#),
            Just(r#""content":"\"usage\":{\"prompt_tokens\":9}""#),
            Just(r#""id":"x""#),
            Just(r#""model":null"#),
            Just("{"),
            Just("}"),
            Just("["),
            Just("]"),
            Just(","),
            Just(":"),
            Just(" "),
            Just("1.5"),
            Just("null"),
            Just(r#""a\"content":"#),
            Just(r#""error":"#),
        ];
        proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
    }

    /// An answer of the right shape with whatever values.
    fn answers() -> impl Strategy<Value = String> {
        let value = prop_oneof![
            Just("null"),
            Just("0"),
            Just("17"),
            Just("-1"),
            Just("1.5"),
            Just("1e2"),
            Just(r#""x""#),
            Just(r#""\"usage\":""#),
            Just("{}"),
            Just("[]"),
            Just(r#"{"cached_tokens":2,"audio_tokens":1}"#),
            Just(r#"{ "reasoning_tokens" :1}"#),
            Just(r#"{"content":"y"}"#),
            Just("true"),
            Just(r#"[{"finish_reason":"stop","content":"z"}]"#),
            Just("18446744073709551615"),
            Just(r#"{"prompt_tokens":5,"completion_tokens":2,"total_tokens":9,"note":"ä b"}"#),
        ];
        let name = prop_oneof![
            Just("id"),
            Just("model"),
            Just("usage"),
            Just("error"),
            Just("choices"),
            Just("content"),
            Just("prompt_tokens"),
            Just("completion_tokens"),
            Just("prompt_tokens_details"),
            Just("completion_tokens_details"),
            Just("other"),
            Just("\\u0069d"),
        ];
        let space = prop_oneof![9 => Just(""), 1 => Just(" "), 1 => Just("\n")];
        let members = proptest::collection::vec((name, space.clone(), value, space), 0..8);
        (members, any::<bool>()).prop_map(|(members, is_usage)| {
            let members: Vec<_> = members.into_iter().map(|(name, a, value, b)| format!(r#""{name}":{a}{value}{b}"#)).collect();
            let object = format!("{{{}}}", members.join(","));
            if is_usage { format!(r#"{{"usage":{object}}}"#) } else { object }
        })
    }

    proptest! {
        #[test]
        fn both_readers_agree_on_whatever_the_fast_one_takes(body in prop_oneof![pieces(), pieces().prop_map(|inner| format!("{{{inner}}}")), answers()]) {
            compared(&body);
        }
    }
}
