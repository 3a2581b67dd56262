//! Reads the answers that most requests get: texts, and why they end. It gives what the reader of all answers gives, at a
//! fifth of its price.

use super::decode::{finish_of, service_tier};
use super::usage;
use crate::ir::{Candidate, Part, Response};
use crate::skim::{Skim, once};

/// `None`: something else is said too, or the answer is none.
pub(super) fn read(body: &[u8]) -> Option<Response> {
    let (mut kind, mut id, mut model, mut parts, mut used) = (None, None, None, None, None);
    let (mut stop_reason, mut stop_sequence, mut stop_details) = (None, None, None);
    let mut skim = Skim::new(body, |_| false);
    skim.members(|skim, name| match name {
        b"id" => once(&mut id, skim.text_or_null()?.0),
        b"model" => once(&mut model, skim.text_or_null()?.0),
        b"content" => once(&mut parts, texts(skim)?),
        b"stop_reason" => once(&mut stop_reason, skim.text_or_null()?.0),
        b"stop_sequence" => once(&mut stop_sequence, skim.text_or_null()?.0),
        b"usage" => once(&mut used, usage::skim(skim)?),
        b"stop_details" => once(&mut stop_details, skim.null()?),
        b"type" => once(&mut kind, skim.text()?),
        b"role" => skim.text().map(|_| ()),
        _ => None,
    })?;
    skim.end()?;
    let (usage, tier) = used.unwrap_or_default();
    let said = |text: Option<Option<&str>>| text.flatten().map(str::to_owned);
    let finish = finish_of(stop_reason.flatten(), false);
    Some(Response {
        id: said(id),
        model: said(model),
        candidates: vec![Candidate {
            raw_finish: said(stop_reason),
            stop_sequence: said(stop_sequence),
            ..Candidate::new(0, parts?, finish)
        }],
        usage,
        service_tier: tier.map(service_tier),
        ..Response::default()
    })
}

fn texts(skim: &mut Skim<'_>) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    skim.elements(|skim| {
        let (mut kind, mut text, mut citations) = (None, None, None);
        skim.members(|skim, name| match name {
            b"type" => once(&mut kind, skim.text()?),
            b"text" => once(&mut text, skim.text()?),
            b"citations" => once(&mut citations, skim.null()?),
            _ => None,
        })?;
        (kind? == "text").then(|| parts.push(Part::text(text.unwrap_or_default())))
    })?;
    Some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::decode::whole_response;
    use super::*;

    /// Whether it is read, and as the reader of all answers reads it.
    fn is_read(body: &str) -> bool {
        let Some(response) = read(body.as_bytes()) else { return false };
        assert_eq!(whole_response(body.as_bytes()).ok(), Some(response), "{body}");
        true
    }

    #[test]
    fn plain_answers_are_read_as_the_others_are() {
        let plain = [
            r#"{"content":[]}"#,
            r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hi \"you\"\n\u00e9 漢"},{"text":"","type":"text","citations":null},{"type":"text"}],"stop_reason":"end_turn","stop_sequence":null,"stop_details":null,"usage":{"input_tokens":48,"cache_creation_input_tokens":9,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":4,"ephemeral_1h_input_tokens":5},"output_tokens":100,"server_tool_use":null,"service_tier":"standard","inference_geo":"us"}}"#,
            " { \"content\": [ {\"type\":\"text\",\"text\":\"x\"} ], \"stop_reason\":\"stop_sequence\", \"stop_sequence\":\"END\", \"usage\": { \"output_tokens\": 1,\n \"service_tier\":\"priority\" } }\n",
            r#"{"content":[],"usage":null,"id":null,"model":null,"stop_reason":null}"#,
            r#"{"content":[],"usage":{"service_tier":"batch","cache_creation":null,"output_tokens_details":null},"stop_reason":"odd"}"#,
            r#"{"content":[],"usage":{"input_tokens":null,"output_tokens":1,"cache_creation":{},"service_tier":"own"}}"#,
        ];
        for body in plain {
            assert!(is_read(body), "{body}");
        }
    }

    #[test]
    fn what_says_more_is_left_to_the_other_reader() {
        let others = [
            "{}",
            r#"{"content":null}"#,
            r#"{"content":"x"}"#,
            r#"{"content":[],"content":[]}"#,
            r#"{"type":"error","error":{"type":"overloaded_error"},"content":[]}"#,
            r#"{"content":[{"type":"tool_use","id":"t","name":"f","input":{}}]}"#,
            r#"{"content":[{"type":"text","text":"x","citations":[]}]}"#,
            r#"{"content":[{"type":"text","text":null}]}"#,
            r#"{"content":[{"text":"x"}]}"#,
            r#"{"content":[],"stop_details":{"type":"refusal"}}"#,
            r#"{"content":[],"container":null}"#,
            r#"{"content":[],"usage":{"input_tokens":1.0}}"#,
            r#"{"content":[],"usage":{"input_tokens":1,"input_tokens":2}}"#,
            r#"{"content":[],"usage":{"input_tokens":1,"iterations":[]}}"#,
            r#"{"content":[],"usage":{"output_tokens":1,"output_tokens_details":{"thinking_tokens":1}}}"#,
            r#"{"content":[],"usage":{"cache_creation":{"ephemeral_5m_input_tokens":null}}}"#,
            r#"{"content":[],"usage":[]}"#,
            r#"{"content":[]"#,
        ];
        for body in others {
            assert!(read(body.as_bytes()).is_none(), "{body}");
        }
    }

    fn answers() -> impl Strategy<Value = String> {
        let value = prop::sample::select(vec![
            "null",
            "7",
            "-1",
            "1.5",
            "true",
            r#""end_turn""#,
            r#""text""#,
            r#""a\nb""#,
            "[]",
            "{}",
            r#"[{"type":"text","text":"x"}]"#,
            r#"[{"type":"text", "citations":null}]"#,
            r#"{"input_tokens":3,"output_tokens":2,"service_tier":"standard"}"#,
            r#"{"output_tokens":2,"other":{"a":[1,null]}, "cache_creation":{"ephemeral_1h_input_tokens":4}}"#,
            r#"{"ephemeral_5m_input_tokens":1}"#,
        ]);
        let name = prop::sample::select(vec![
            "id",
            "type",
            "role",
            "model",
            "content",
            "stop_reason",
            "stop_sequence",
            "stop_details",
            "usage",
            "input_tokens",
            "output_tokens",
            "cache_creation",
            "service_tier",
        ]);
        (proptest::collection::vec((name, value), 0..6), any::<bool>()).prop_map(|(members, is_usage)| {
            let members: Vec<_> = members.into_iter().map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
            let members = members.join(",");
            if is_usage { format!(r#"{{"content":[],"usage":{{{members}}}}}"#) } else { format!(r#"{{"content":[],{members}}}"#) }
        })
    }

    proptest! {
        #[test]
        fn both_readers_agree_on_whatever_this_one_takes(body in answers()) {
            is_read(&body);
        }
    }
}
