//! Reads the requests that most clients send: texts in turn, and little else said. It gives what the reader of all requests
//! gives, at a fifth of its price.

use std::borrow::Cow;

use crate::ir::{Part, Request, Role, Sampling, Turn};
use crate::skim::{Skim, once};

/// With what is larger, reading is a small part of the cost, and what is not plain in it may come late.
const MAX_BYTES: usize = 8 * 1024;

/// `None`: something else is said too, or the request is none.
pub(super) fn read(body: &[u8]) -> Option<Request> {
    if body.len() > MAX_BYTES {
        return None;
    }
    let (mut model, mut talk, mut stream, mut include_usage) = (None, None, None, None);
    let (mut max_completion_tokens, mut max_tokens, mut temperature, mut top_p) = (None, None, None, None);
    let mut skim = Skim::new(body, |_| false);
    skim.members(|skim, name| match name {
        b"model" => once(&mut model, skim.text()?),
        b"messages" => once(&mut talk, talk_of(skim)?),
        b"max_completion_tokens" => once(&mut max_completion_tokens, skim.count()?),
        b"max_tokens" => once(&mut max_tokens, skim.count()?),
        b"temperature" => once(&mut temperature, skim.number()?),
        b"top_p" => once(&mut top_p, skim.number()?),
        b"stream" => once(&mut stream, skim.truth()?),
        b"stream_options" => once(&mut include_usage, asks_for_usage(skim)?),
        _ => None,
    })?;
    skim.end()?;
    let (system, turns) = talk.unwrap_or_default();
    // No cap of nothing: it is refused, in words.
    if max_completion_tokens == Some(0) || max_tokens == Some(0) {
        return None;
    }
    Some(Request {
        model: model.unwrap_or_default().into_owned(),
        stream: stream.unwrap_or(false),
        include_usage: include_usage.unwrap_or(false),
        system,
        turns,
        sampling: Sampling { temperature, top_p, ..Sampling::default() },
        max_output_tokens: max_completion_tokens.or(max_tokens),
        ..Request::default()
    })
}

/// Whether usage is asked for.
fn asks_for_usage(skim: &mut Skim<'_>) -> Option<bool> {
    let mut include_usage = None;
    skim.members(|skim, name| match name {
        b"include_usage" => once(&mut include_usage, skim.truth()?),
        _ => None,
    })?;
    Some(include_usage.unwrap_or(false))
}

/// System text before the first turn, and the turns.
fn talk_of(skim: &mut Skim<'_>) -> Option<(Vec<Part>, Vec<Turn>)> {
    let (mut system, mut turns) = (Vec::new(), Vec::new());
    let mut position = 0;
    skim.elements(|skim| {
        let (role, content) = message(skim)?;
        let parts = content.filter(|text| !text.is_empty()).map(Part::text);
        let role = match &*role {
            "system" | "developer" if turns.is_empty() => None,
            "system" => Some(Role::System),
            "developer" => Some(Role::Developer),
            "user" => Some(Role::User),
            "assistant" => Some(Role::Assistant),
            _ => return None,
        };
        match role {
            None => system.extend(parts),
            Some(role) => turns.push(Turn::new(role, parts.into_iter().collect()).said_at(format!("messages[{position}]"))),
        }
        position += 1;
        Some(())
    })?;
    Some((system, turns))
}

/// Role and text.
fn message<'a>(skim: &mut Skim<'a>) -> Option<(Cow<'a, str>, Option<Cow<'a, str>>)> {
    let (mut role, mut content) = (None, None);
    skim.members(|skim, name| match name {
        b"role" => once(&mut role, skim.text()?),
        b"content" => once(&mut content, skim.text()?),
        _ => None,
    })?;
    Some((role?, content))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::decode::whole_request;
    use super::*;
    use crate::loss::LossReport;

    /// Whether it is read, and as the reader of all requests reads it.
    fn is_read(body: &str) -> bool {
        let Some(request) = read(body.as_bytes()) else { return false };
        let mut loss = LossReport::default();
        assert_eq!(Ok(request), whole_request(body.as_bytes(), &mut loss), "{body}");
        assert_eq!(loss, LossReport::default(), "{body}");
        true
    }

    #[test]
    fn plain_requests_are_read_as_the_others_are() {
        let plain = [
            "{}",
            r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#,
            r#" { "messages": [ ], "model": "m\n" } "#,
            r#"{"model":"m","max_tokens":256,"temperature":0.7,"top_p":1,"stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"system","content":"Be \"terse\".\u00e9"},{"role":"developer","content":""},{"role":"user","content":"漢\ud83e\udd80"},{"content":"","role":"assistant"},{"role":"system","content":"late"},{"role":"developer","content":"later"},{"role":"user"}]}"#,
            r#"{"max_completion_tokens":5,"max_tokens":6,"stream":false,"stream_options":{},"temperature":1e-7}"#,
        ];
        for body in plain {
            assert!(is_read(body), "{body}");
        }
    }

    #[test]
    fn what_says_more_is_left_to_the_other_reader() {
        let others = [
            r#"{"model":"m","messages":[{"role":"user","content":"Hi","name":"n"}]}"#,
            r#"{"messages":[{"role":"user","content":null}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]}]}"#,
            r#"{"messages":[{"role":"tool","content":"x"}]}"#,
            r#"{"messages":[{"content":"x"}]}"#,
            r#"{"messages":[{"role":"user","content":"a","content":"b"}]}"#,
            r#"{"messages":[],"messages":[]}"#,
            r#"{"tools":[]}"#,
            r#"{"max_tokens":0}"#,
            r#"{"max_tokens":null}"#,
            r#"{"max_tokens":1.0}"#,
            r#"{"temperature":"1"}"#,
            r#"{"stream":1}"#,
            r#"{"stream_options":{"other":true}}"#,
            r#"{"stream_options":{},"stream_options":{}}"#,
            r#"{"model":"\ud800"}"#,
            r#"{"\u006dodel":"m"}"#,
            r#"{"model":"m"} x"#,
            r#"["model"]"#,
        ];
        for body in others {
            assert!(read(body.as_bytes()).is_none(), "{body}");
        }
        assert!(read(b"{\"model\":\"\xff\"}").is_none());
        assert!(read(format!(r#"{{"model":"{}"}}"#, "m".repeat(MAX_BYTES)).as_bytes()).is_none());
    }

    fn bodies() -> impl Strategy<Value = String> {
        let text = prop_oneof![
            Just(r#""user""#.to_owned()),
            Just(r#""system""#.to_owned()),
            Just(r#""assistant""#.to_owned()),
            any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
            Just("null".to_owned()),
        ];
        let message = (text.clone(), text.clone(), any::<bool>()).prop_map(|(role, content, is_turned)| {
            if is_turned {
                format!(r#"{{"content":{content},"role":{role}}}"#)
            } else {
                format!(r#"{{"role":{role}, "content":{content}}}"#)
            }
        });
        let messages = proptest::collection::vec(message, 0..4).prop_map(|list| format!("[{}]", list.join(",")));
        let number = prop_oneof![
            any::<f64>().prop_filter("JSON has none", |number| number.is_finite()).prop_map(|number| number.to_string()),
            any::<i64>().prop_map(|number| number.to_string()),
            Just("0".to_owned()),
        ];
        let value =
            prop_oneof![messages.clone(), text, number, Just("true".to_owned()), Just(r#"{"include_usage":false}"#.to_owned())];
        let name = prop::sample::select(vec![
            "model",
            "messages",
            "max_tokens",
            "max_completion_tokens",
            "temperature",
            "top_p",
            "stream",
            "stream_options",
            "n",
        ]);
        let members = proptest::collection::vec((name, value), 0..5);
        (messages, members).prop_map(|(messages, members)| {
            let members = members.into_iter().map(|(name, value)| format!(r#","{name}":{value}"#));
            format!(r#"{{"messages":{messages}{}}}"#, members.collect::<String>())
        })
    }

    proptest! {
        #[test]
        fn both_readers_agree_on_whatever_this_one_takes(body in bodies()) {
            is_read(&body);
        }
    }
}
