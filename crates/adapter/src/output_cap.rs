//! A bound on output that is not the client's: where money is bounded, a request may not cost more than was set aside for it.
//!
//! A body that passes keeps its bytes but for the number of the bound; one that is translated is bounded in its middle form.

use tallygate_types::Dialect;

use crate::call::Edit;
use crate::dispatch::codec;
use crate::failure::BadRequest;
use crate::peek::{Count, Path, Top, is_empty_object, span_of};
use crate::profile::Profiles;

/// The least output that a request may be cut to, in tokens: the Responses API takes no smaller bound, and less says nothing.
pub const MIN_CAPPED_OUTPUT_TOKENS: u64 = 16;

/// The least bound under which `body` is still a valid request of its dialect.
///
/// Anthropic refuses a thinking budget that is not below `max_tokens` (Messages API, `thinking.budget_tokens`).
pub fn least_output(dialect: Dialect, body: &[u8]) -> u64 {
    let budget = || {
        let top = Top::read(body).ok()?;
        let thinking = Top::read(top.get("thinking")?).ok()?;
        let Count(tokens) = serde_json::from_slice(thinking.get("budget_tokens")?).ok()?;
        Some(tokens.saturating_add(1))
    };
    let thinking = if dialect == Dialect::Anthropic { budget() } else { None };
    thinking.unwrap_or(0).max(MIN_CAPPED_OUTPUT_TOKENS)
}

/// What is to be changed in a body of `dialect`, so that an upstream of it gives no more than `cap` tokens to each answer. Nothing
/// where the client's own bound is as low.
pub(crate) fn edits(
    dialect: Dialect,
    upstream_model: &str,
    profiles: &Profiles,
    body: &[u8],
    cap: u64,
) -> Result<Vec<Edit>, BadRequest> {
    let fields = codec(dialect).peek.max_output_tokens;
    match dialect {
        Dialect::OpenaiChat => {
            // The third is the Responses API's, which no chat endpoint obeys.
            let name = if profiles.openai(upstream_model).first_party { "max_completion_tokens" } else { "max_tokens" };
            in_body(&fields[..2], Path::Top(name), body, cap)
        }
        Dialect::OpenaiResponses | Dialect::Anthropic | Dialect::Gemini => in_body(fields, fields[0], body, cap),
    }
}

/// The same of OpenAI's endpoint before chat.
pub(crate) fn completion_edits(body: &[u8], cap: u64) -> Result<Vec<Edit>, BadRequest> {
    in_body(&[Path::Top("max_tokens")], Path::Top("max_tokens"), body, cap)
}

/// `fields` are obeyed; `usual` is where a bound is put if none of them says one.
fn in_body(fields: &[Path], usual: Path, body: &[u8], cap: u64) -> Result<Vec<Edit>, BadRequest> {
    let top = Top::read(body)?;
    let number = cap.to_string().into_bytes();
    let mut edits = Vec::new();
    let mut is_bounded = false;
    for field in fields {
        let raw = match *field {
            Path::Top(name) => top.get(name),
            Path::In(outer, name) => top.object(outer)?.and_then(|object| object.get(name)),
        };
        // What is no number is the upstream's to refuse.
        let Some((raw, Count(asked))) = raw.and_then(|raw| Some((raw, serde_json::from_slice::<Option<Count>>(raw).ok()??)))
        else {
            continue;
        };
        is_bounded = true;
        if asked > cap {
            edits.push((span_of(body, raw), number.clone()));
        }
    }
    if !is_bounded {
        edits.push(match usual {
            Path::Top(name) => put(body, body, &top, name, &number),
            Path::In(outer, name) => {
                // Whichever spelling of it the client uses.
                let same = fields.iter().filter_map(|field| match field {
                    Path::In(outer, _) => Some(*outer),
                    Path::Top(_) => None,
                });
                let mut objects = same.filter_map(|outer| Some((top.get(outer)?, top.object(outer).ok()??)));
                if let Some((raw, object)) = objects.next() {
                    put(body, raw, &object, name, &number)
                } else {
                    let object = [format!("{{\"{name}\":").as_bytes(), &number, b"}"].concat();
                    put(body, body, &top, outer, &object)
                }
            }
        });
    }
    Ok(edits)
}

/// Puts `name` first into the object that `raw` is, or in the place of what is said for it.
fn put(body: &[u8], raw: &[u8], object: &Top<'_>, name: &str, value: &[u8]) -> Edit {
    if let Some(said) = object.get(name) {
        return (span_of(body, said), value.to_vec());
    }
    let open = span_of(body, raw).start + raw.iter().position(|byte| *byte == b'{').unwrap_or(0) + 1;
    let comma: &[u8] = if is_empty_object(raw) { b"" } else { b"," };
    (open..open, [format!("\"{name}\":").as_bytes(), value, comma].concat())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};
    use tallygate_types::Timestamp;

    use super::*;
    use crate::keepsake::{NoMemory, PastReasoning};
    use crate::{Call, peek, prepare};

    fn sent(client: Dialect, upstream: Dialect, model: &str, body: &str, cap: u64) -> String {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let seen = peek(client, &body).unwrap();
        let call = Call {
            client,
            upstream,
            speaks_responses: false,
            client_model: model,
            upstream_model: model,
            stream: seen.stream,
            peek: &seen,
            strict: false,
            response_id: "0192",
            created_at: Timestamp::UNIX_EPOCH,
            client_query: "",
            profiles: Profiles::builtin(),
            memory: &NoMemory,
            past_reasoning: PastReasoning::Sent,
            output_cap: Some(cap),
        };
        String::from_utf8(prepare(&call, &body, &[]).unwrap().body.whole().to_vec()).unwrap()
    }

    fn passed(dialect: Dialect, body: &str, cap: u64) -> String {
        sent(dialect, dialect, "m", body, cap)
    }

    #[test]
    fn each_dialect_gets_its_own_bound_and_keeps_every_other_byte() {
        use Dialect::{Anthropic, Gemini, OpenaiChat, OpenaiResponses};
        for (dialect, asked, expected) in [
            (OpenaiChat, r#" {"model":"m", "messages" :[]}"#, r#" {"max_tokens":99,"model":"m", "messages" :[]}"#),
            (OpenaiChat, r#"{"model":"m","max_tokens" : 1e3}"#, r#"{"model":"m","max_tokens" : 99}"#),
            (OpenaiChat, r#"{"max_completion_tokens":100,"model":"m"}"#, r#"{"max_completion_tokens":99,"model":"m"}"#),
            (OpenaiChat, r#"{"max_tokens":null,"model":"m"}"#, r#"{"max_tokens":99,"model":"m"}"#),
            // Which of the two an upstream obeys is not known.
            (
                OpenaiChat,
                r#"{"max_completion_tokens":9,"max_tokens":700,"model":"m"}"#,
                r#"{"max_completion_tokens":9,"max_tokens":99,"model":"m"}"#,
            ),
            (OpenaiResponses, r#"{"model":"m","input":"x"}"#, r#"{"max_output_tokens":99,"model":"m","input":"x"}"#),
            (OpenaiResponses, r#"{"model":"m","max_output_tokens":100}"#, r#"{"model":"m","max_output_tokens":99}"#),
            (Anthropic, r#"{"model":"m","max_tokens":4096}"#, r#"{"model":"m","max_tokens":99}"#),
            (Anthropic, r#"{"model":"m"}"#, r#"{"max_tokens":99,"model":"m"}"#),
            (Gemini, "{}", r#"{"generationConfig":{"maxOutputTokens":99}}"#),
            (Gemini, r#"{"contents":[]}"#, r#"{"generationConfig":{"maxOutputTokens":99},"contents":[]}"#),
            (Gemini, r#"{"generationConfig": { }}"#, r#"{"generationConfig": {"maxOutputTokens":99 }}"#),
            (Gemini, r#"{"generationConfig":null}"#, r#"{"generationConfig":{"maxOutputTokens":99}}"#),
            (Gemini, r#"{"generation_config":{"top_k":4}}"#, r#"{"generation_config":{"maxOutputTokens":99,"top_k":4}}"#),
            (Gemini, r#"{"generationConfig":{"max_output_tokens":"700"}}"#, r#"{"generationConfig":{"max_output_tokens":99}}"#),
        ] {
            assert_eq!(passed(dialect, asked, 99), expected, "{dialect}");
            assert_eq!(passed(dialect, expected, 99), expected, "{dialect}: a bound as low is left alone");
        }
    }

    #[test]
    fn a_model_of_openai_is_bounded_by_the_name_it_takes() {
        let of = |model| sent(Dialect::OpenaiChat, Dialect::OpenaiChat, model, &json!({"model": model, "n": 2}).to_string(), 50);
        assert_eq!(of("o4-mini"), r#"{"max_completion_tokens":50,"model":"o4-mini","n":2}"#);
        assert_eq!(of("llama-3"), r#"{"max_tokens":50,"model":"llama-3","n":2}"#);
    }

    #[test]
    fn a_stream_is_bounded_and_asked_for_its_usage_at_once() {
        let body = passed(Dialect::OpenaiChat, r#"{"model":"m","stream":true}"#, 20);
        let expected = json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 20});
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
    }

    #[test]
    fn what_is_translated_is_bounded_too() {
        let body = r#"{"model":"claude-opus-5","messages":[{"role":"user","content":"Hi"}]}"#;
        let sent = |upstream, body: &str, at: &str| {
            let sent = sent(Dialect::OpenaiChat, upstream, "claude-opus-5", body, 77);
            serde_json::from_str::<Value>(&sent).unwrap().pointer(at).cloned()
        };
        let asked = |tokens: u64| body.replace(r#""messages""#, &format!(r#""max_tokens":{tokens},"messages""#));
        for (upstream, at) in [
            (Dialect::Anthropic, "/max_tokens"),
            (Dialect::OpenaiResponses, "/max_output_tokens"),
            (Dialect::Gemini, "/generationConfig/maxOutputTokens"),
        ] {
            assert_eq!(sent(upstream, body, at), Some(json!(77)), "{upstream}");
            assert_eq!(sent(upstream, &asked(78), at), Some(json!(77)), "{upstream}");
            assert_eq!(sent(upstream, &asked(40), at), Some(json!(40)), "{upstream}");
        }
    }

    #[test]
    fn a_thinking_budget_leaves_room_for_no_less_than_itself() {
        let body = br#"{"max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":2048}}"#;
        assert_eq!(least_output(Dialect::Anthropic, body), 2_049);
        assert_eq!(least_output(Dialect::Gemini, body), MIN_CAPPED_OUTPUT_TOKENS);
        for body in [&br#"{"thinking":{"type":"adaptive"}}"#[..], b"{}", b"x"] {
            assert_eq!(least_output(Dialect::Anthropic, body), MIN_CAPPED_OUTPUT_TOKENS);
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), any::<i32>().prop_map(Value::from), ".{0,6}".prop_map(Value::from)];
        leaf.prop_recursive(2, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z\"\\\\{ ]{0,5}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_edited_body_is_equal_but_for_the_bound(
            dialect in prop::sample::select(vec![Dialect::OpenaiChat, Dialect::OpenaiResponses, Dialect::Anthropic, Dialect::Gemini]),
            members in prop::collection::btree_map("[a-z\"\\\\{ ]{1,6}", values(), 0..5),
            asked in prop::option::of(prop::option::of(0_u64..200)),
            cap in 0_u64..200,
            pretty in any::<bool>(),
        ) {
            let at: &[&str] = match dialect {
                Dialect::OpenaiChat | Dialect::Anthropic => &["max_tokens"],
                Dialect::OpenaiResponses => &["max_output_tokens"],
                Dialect::Gemini => &["generationConfig", "maxOutputTokens"],
            };
            let mut body: Map<String, Value> = members.into_iter().collect();
            let set = |body: &mut Map<String, Value>, value: Value| {
                let mut object = body;
                for outer in &at[..at.len() - 1] {
                    object = object.entry(*outer).or_insert_with(|| json!({})).as_object_mut().unwrap();
                }
                object.insert(at[at.len() - 1].to_owned(), value);
            };
            if let Some(asked) = asked {
                set(&mut body, asked.into());
            }
            let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
            let edits = edits(dialect, "m", Profiles::builtin(), text.as_bytes(), cap).unwrap();
            let asked = asked.flatten();
            prop_assert_eq!(edits.is_empty(), asked.is_some_and(|asked| asked <= cap));
            let edited = peek::splice(text.as_bytes(), edits);
            set(&mut body, asked.map_or(cap, |asked| asked.min(cap)).into());
            prop_assert_eq!(serde_json::from_slice::<Value>(&edited).unwrap(), Value::Object(body));
        }
    }
}
