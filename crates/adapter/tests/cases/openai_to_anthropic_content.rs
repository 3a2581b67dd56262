//! Cases a31, a33, a39 and a40: media, cache breakpoints and the stability of what was sent, Chat Completions clients to an
//! Anthropic upstream.

use serde_json::{Value, json};
use tallygate_adapter::Verdict::{Approximated, Dropped};

use crate::chat_request::{HAIKU, JPEG, PDF, PNG, call, chat, claude, function, image, text};

/// The first block that goes upstream for a user's message of one part.
fn part(part: &Value) -> Value {
    HAIKU.body(&chat(json!([{"role": "user", "content": [part]}])))["messages"][0]["content"][0].clone()
}

fn part_refusal(part: &Value) -> (Option<String>, &'static str) {
    let error = HAIKU.prepare(&chat(json!([{"role": "user", "content": [part]}]))).unwrap_err();
    (error.param, error.code)
}

#[test]
fn case_a31_images_as_data() {
    let block = |kind: &str, data: &str| json!({"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}});
    assert_eq!(part(&image(&format!("data:image/png;charset=utf-8;base64,{PNG}"))), block("image/png", PNG));
    assert_eq!(part(&image(&format!("data:image/png;base64,{JPEG}"))), block("image/jpeg", JPEG));
    // White space in it, and bytes as they are instead of base64.
    assert_eq!(part(&image("data:image/png;base64,iVBORw0KGgoA\nAAANSUhEUg==")), block("image/png", PNG));
    assert_eq!(part(&image("data:image/gif,GIF89a%01%00%01%00%00%00%00")), block("image/gif", "R0lGODlhAQABAAAAAA=="));
    assert_eq!(part_refusal(&image("data:image/svg+xml;base64,AAAA")), (Some("messages[0]".into()), "invalid_image_format"));
    // A PDF given as an image is a document.
    assert_eq!(
        part(&image(&format!("data:application/pdf;base64,{PDF}"))),
        json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}})
    );
}

#[test]
fn case_a33_files_and_sound() {
    let file = |file: Value| json!({"type": "file", "file": file});
    let pdf = |title: &str| json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}, "title": title});
    assert_eq!(
        part(&file(json!({"filename": "a.pdf", "file_data": format!("data:application/pdf;base64,{PDF}")}))),
        pdf("a.pdf")
    );
    assert_eq!(part(&file(json!({"filename": "b", "file_data": PDF}))), pdf("b"));
    // An image is an image, also as a file. Text goes as text.
    assert_eq!(
        part(&file(json!({"filename": "a.png", "file_data": PNG}))),
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}})
    );
    for (name, data) in
        [("a.csv", "data:text/csv;base64,YSxi"), ("a.md", "YSxi"), ("a.json", "data:application/octet-stream;base64,YSxi")]
    {
        assert_eq!(
            part(&file(json!({"filename": name, "file_data": data}))),
            json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}, "title": name})
        );
    }
    let refused = (Some("messages[0]".to_owned()), "unsupported_value");
    assert_eq!(part_refusal(&file(json!({"filename": "a.zip", "file_data": "data:application/zip;base64,UEsDBA=="}))), refused);
    assert_eq!(part_refusal(&file(json!({"file_id": "file-1"}))), refused);
    assert_eq!(part_refusal(&json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}})), refused);
}

/// A small generator of the xorshift kind: the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn text(&mut self) -> String {
        const TEXTS: &[&str] = &["a", "two words", "", " ", "ünï\n\"quoted\"", "{\"json\": true}"];
        TEXTS[self.roll(TEXTS.len() as u64) as usize].to_owned()
    }

    /// What a user says, never nothing.
    fn user(&mut self) -> Value {
        match self.roll(3) {
            0 => json!({"role": "user", "content": format!("u{}", self.text())}),
            1 => {
                json!({"role": "user", "content": [text("p"), {"type": "text", "text": self.text(), "cache_control": {"type": "ephemeral"}}]})
            }
            _ => json!({"role": "user", "content": [image(&format!("data:image/png;base64,{PNG}")), text("what?")]}),
        }
    }

    /// An exchange: the user speaks, perhaps the system too, the assistant calls tools or not, and answers.
    fn exchange(&mut self, number: usize) -> Vec<Value> {
        let mut messages = Vec::new();
        if self.roll(4) == 0 {
            messages.push(json!({"role": "system", "content": self.text()}));
        }
        messages.push(self.user());
        if self.roll(4) == 0 {
            messages.push(json!({"role": "developer", "content": "d"}));
        }
        for round in 0..self.roll(3) {
            let ids: Vec<String> = (0..=self.roll(2)).map(|call| format!("call.{number}:{round}_{call}")).collect();
            let calls: Vec<Value> = ids
                .iter()
                .map(|id| {
                    call(
                        id,
                        if self.roll(2) == 0 { "f" } else { "odd.name" },
                        ["{}", "", "{\"b\":1,\"a\":[2]}", "[1]"][self.roll(4) as usize],
                    )
                })
                .collect();
            let mut message = json!({"role": "assistant", "content": self.text(), "tool_calls": calls});
            if self.roll(2) == 0 {
                message["thinking_blocks"] = json!([{"type": "thinking", "thinking": "t", "signature": "c2ln"}]);
            }
            messages.push(message);
            messages.extend(ids.iter().map(|id| json!({"role": "tool", "tool_call_id": id, "content": self.text()})));
        }
        messages.push(json!({"role": "assistant", "content": format!("a{}", self.text())}));
        messages
    }
}

/// What stands in the prefix that thinking is bound to and caches go by: the tools, the system prompt and the messages.
/// Where a breakpoint stands is no part of it; clients move theirs.
fn prefix(body: &[u8]) -> (String, String, Vec<String>) {
    fn unmarked(value: &mut Value) {
        match value {
            Value::Object(object) => {
                object.shift_remove("cache_control");
                object.values_mut().for_each(unmarked);
            }
            Value::Array(list) => list.iter_mut().for_each(unmarked),
            _ => {}
        }
    }
    let mut body: Value = serde_json::from_slice(body).unwrap();
    unmarked(&mut body);
    let messages = body["messages"].as_array().unwrap().iter().map(Value::to_string).collect();
    (body["tools"].to_string(), body["system"].to_string(), messages)
}

#[test]
fn case_a39_one_exchange_more_leaves_what_was_sent_before_as_it_was() {
    let tools = json!([function("f"), {"type": "function", "function": {"name": "odd.name", "parameters": {"anyOf": [{"type": "object"}]}}}]);
    for model in ["claude-haiku-4-5", "claude-opus-4-8", "claude-fable-5-1"] {
        for seed in 1..=150 {
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
            let mut messages = vec![json!({"role": "system", "content": "s"})];
            let mut sent: Option<(String, String, Vec<String>)> = None;
            for number in 0..4 {
                let mut exchange = dice.exchange(number);
                let answer = exchange.pop().unwrap();
                messages.extend(exchange);
                let request = json!({"model": "smart", "messages": messages, "tools": tools, "reasoning_effort": "low"});
                let now = prefix(&claude(model).bytes(&request));
                if let Some(before) = &sent {
                    assert_eq!((&now.0, &now.1), (&before.0, &before.1), "{model} {seed} {number}");
                    assert_eq!(now.2[..before.2.len()], before.2, "{model} {seed} {number}");
                    assert!(now.2.len() > before.2.len());
                }
                sent = Some(now);
                messages.push(answer);
            }
        }
    }
    // To the byte, while the breakpoints are no more than the API takes.
    let turns = |count: usize| -> Value {
        let mut messages = vec![json!({"role": "system", "content": "s"})];
        for number in 0..count {
            messages.push(json!({"role": "user", "content": [{"type": "text", "text": format!("u{number}"), "cache_control": {"type": "ephemeral"}}]}));
            messages.push(json!({"role": "assistant", "content": "a"}));
        }
        messages.push(json!({"role": "user", "content": "last"}));
        chat(json!(messages))
    };
    let (before, after) = (HAIKU.bytes(&turns(1)), HAIKU.bytes(&turns(3)));
    let common = before.len() - r#"{"role":"user","content":"last"}]}"#.len();
    assert_eq!(before[..common], after[..common]);
}

#[test]
fn case_a40_four_breakpoints_are_kept_and_an_hour_stands_before_five_minutes() {
    let marked = |ttl: &str| json!({"type": "text", "text": "t", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": ttl}});
    let request =
        |ttls: &[&str]| chat(json!([{"role": "user", "content": ttls.iter().map(|ttl| marked(ttl)).collect::<Vec<_>>()}]));
    let sent = |ttls: &[&str]| -> Vec<Value> {
        let body = HAIKU.body(&request(ttls));
        body["messages"][0]["content"].as_array().unwrap().iter().map(|block| block["cache_control"].clone()).collect()
    };
    let (short, long) = (json!({"type": "ephemeral"}), json!({"type": "ephemeral", "ttl": "1h"}));
    assert_eq!(
        sent(&["30m", "30m", "30m", "30m", "30m"]),
        [Value::Null, short.clone(), short.clone(), short.clone(), short.clone()]
    );
    assert_eq!(HAIKU.losses(&request(&["30m", "30m", "30m", "30m", "30m"])), [("cache_control".to_owned(), Dropped)]);
    assert_eq!(sent(&["12h", "30m", "12h"]), [long, short.clone(), short]);
    assert_eq!(
        HAIKU.losses(&request(&["12h", "30m", "12h"])),
        [("messages[0].prompt_cache_breakpoint".to_owned(), Approximated), ("cache_control".to_owned(), Approximated)]
    );
    // Anthropic's own word, from clients that know it, is exact.
    let own = chat(
        json!([{"role": "user", "content": [{"type": "text", "text": "t", "cache_control": {"type": "ephemeral", "ttl": "1h", "x": 1}}]}]),
    );
    assert_eq!(HAIKU.body(&own)["messages"][0]["content"][0]["cache_control"], json!({"type": "ephemeral", "ttl": "1h"}));
    assert_eq!(HAIKU.losses(&own), []);
}
