//! The same answer, whole and streamed in any pieces, becomes the same answer in the other dialect.

mod common;

use std::fmt::Write as _;

use common::{To, data, gather_chat};
use serde_json::{Value, json};
use tallygate_types::Dialect;

/// A small generator with a fixed seed: every run makes the same answers.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn text(&mut self) -> String {
        const WORDS: [&str; 8] = ["Hello", " ", "wörld", "\n\n", "漢字", "\"quoted\"", "data: x", "🙂"];
        (0..=self.roll(6)).map(|_| WORDS[self.roll(WORDS.len())]).collect()
    }

    fn arguments(&mut self) -> String {
        let text = self.text();
        [json!({}), json!({ "a": text }), json!({"n": [1, {"deep": null}], "s": text})][self.roll(3)].to_string()
    }

    /// The text in pieces, some empty.
    fn pieces(&mut self, text: &str) -> Vec<String> {
        let mut pieces = vec![String::new()];
        for c in text.chars() {
            if self.roll(3) == 0 {
                pieces.push(String::new());
            }
            pieces.last_mut().unwrap().push(c);
        }
        pieces
    }
}

/// What a model said, in no dialect.
struct Said {
    reasoning: String,
    text: String,
    calls: Vec<(String, String, String)>,
    is_cut: bool,
}

impl Said {
    fn roll(dice: &mut Dice) -> Self {
        let calls = (0..dice.roll(4)).map(|i| (format!("call_{i}"), format!("tool_{i}"), dice.arguments())).collect::<Vec<_>>();
        let text = if calls.is_empty() || dice.roll(2) == 0 { format!("x{}", dice.text()) } else { String::new() };
        let reasoning = if dice.roll(2) == 0 { format!("r{}", dice.text()) } else { String::new() };
        Self { reasoning, text, calls, is_cut: dice.roll(4) == 0 }
    }

    fn chat_finish(&self) -> &'static str {
        match (self.is_cut, self.calls.is_empty()) {
            (true, _) => "length",
            (false, true) => "stop",
            (false, false) => "tool_calls",
        }
    }

    fn messages_stop(&self) -> &'static str {
        match (self.is_cut, self.calls.is_empty()) {
            (true, _) => "max_tokens",
            (false, true) => "end_turn",
            (false, false) => "tool_use",
        }
    }

    fn chat(&self) -> Value {
        let calls: Vec<Value> = self
            .calls
            .iter()
            .map(
                |(id, name, arguments)| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}),
            )
            .collect();
        let content = if self.text.is_empty() { Value::Null } else { self.text.clone().into() };
        json!({"id": "chatcmpl-1", "choices": [{"index": 0, "finish_reason": self.chat_finish(), "message":
            {"role": "assistant", "content": content, "reasoning_content": self.reasoning, "tool_calls": calls}}], "usage": chat_usage()})
    }

    fn chat_stream(&self, dice: &mut Dice) -> String {
        let mut deltas = vec![json!({"role": "assistant", "content": ""})];
        deltas.extend(dice.pieces(&self.reasoning).into_iter().map(|piece| json!({ "reasoning_content": piece })));
        deltas.extend(dice.pieces(&self.text).into_iter().map(|piece| json!({ "content": piece })));
        let mut fragments: Vec<Vec<Value>> = Vec::new();
        for (index, (id, name, arguments)) in self.calls.iter().enumerate() {
            let mut list =
                vec![json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}})];
            list.extend(
                dice.pieces(arguments).into_iter().map(|piece| json!({"index": index, "function": {"arguments": piece}})),
            );
            list.reverse();
            fragments.push(list);
        }
        // Calls begin in order; their fragments interleave.
        let mut open = usize::from(!fragments.is_empty());
        while fragments.iter().any(|list| !list.is_empty()) {
            let at = dice.roll(open.max(1));
            if let Some(fragment) = fragments[at].pop() {
                deltas.push(json!({"tool_calls": [fragment]}));
            }
            let has_begun = fragments[open - 1].len() < self.calls[open - 1].2.len() + 2;
            if open < fragments.len() && has_begun && (dice.roll(2) == 0 || fragments[..open].iter().all(Vec::is_empty)) {
                open += 1;
                let fragment = fragments[open - 1].pop().unwrap();
                deltas.push(json!({"tool_calls": [fragment]}));
            }
        }
        let mut text = String::new();
        for delta in deltas {
            let chunk = json!({"id": "chatcmpl-1", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]});
            write!(text, "data: {chunk}\n\n").unwrap();
        }
        let finish = json!({"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {}, "finish_reason": self.chat_finish()}]});
        let usage = json!({"id": "chatcmpl-1", "choices": [], "usage": chat_usage()});
        write!(text, "data: {finish}\n\ndata: {usage}\n\ndata: [DONE]\n\n").unwrap();
        text
    }

    /// As content blocks.
    fn blocks(&self) -> Vec<Value> {
        let mut blocks = Vec::new();
        if !self.reasoning.is_empty() {
            blocks.push(json!({"type": "thinking", "thinking": self.reasoning, "signature": "sig"}));
        }
        if !self.text.is_empty() {
            blocks.push(json!({"type": "text", "text": self.text}));
        }
        blocks.extend(self.calls.iter().map(|(id, name, arguments)| {
            json!({"type": "tool_use", "id": id, "name": name, "input": serde_json::from_str::<Value>(arguments).unwrap()})
        }));
        blocks
    }

    fn messages(&self) -> Value {
        json!({"id": "msg_1", "type": "message", "role": "assistant", "content": self.blocks(), "stop_reason": self.messages_stop(),
            "usage": {"input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 9}})
    }

    fn messages_stream(&self, dice: &mut Dice) -> String {
        let mut events = vec![
            json!({"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 1}}}),
        ];
        for (index, block) in self.blocks().into_iter().enumerate() {
            let (start, field, kind, whole) = match block["type"].as_str().unwrap() {
                "thinking" => (
                    json!({"type": "thinking", "thinking": "", "signature": ""}),
                    "thinking",
                    "thinking_delta",
                    self.reasoning.clone(),
                ),
                "text" => (json!({"type": "text", "text": ""}), "text", "text_delta", self.text.clone()),
                _ => {
                    let input = if block["input"] == json!({}) { String::new() } else { block["input"].to_string() };
                    (
                        json!({"type": "tool_use", "id": block["id"], "name": block["name"], "input": {}}),
                        "partial_json",
                        "input_json_delta",
                        input,
                    )
                }
            };
            events.push(json!({"type": "content_block_start", "index": index, "content_block": start}));
            events.extend(
                dice.pieces(&whole)
                    .into_iter()
                    .map(|piece| json!({"type": "content_block_delta", "index": index, "delta": {"type": kind, field: piece}})),
            );
            if field == "thinking" {
                events.push(json!({"type": "content_block_delta", "index": index, "delta": {"type": "signature_delta", "signature": "sig"}}));
            }
            events.push(json!({"type": "content_block_stop", "index": index}));
        }
        events.push(
            json!({"type": "message_delta", "delta": {"stop_reason": self.messages_stop()}, "usage": {"output_tokens": 9}}),
        );
        events.push(json!({"type": "message_stop"}));
        events.iter().fold(String::new(), |mut text, event| {
            write!(text, "event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()).unwrap();
            text
        })
    }
}

fn chat_usage() -> Value {
    json!({"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 2}})
}

/// What Anthropic's SDK makes of a stream; checks on the way that blocks never overlap.
fn gather_messages(stream: &str) -> Value {
    let mut message = Value::Null;
    let mut open = None;
    let mut json_text = String::new();
    for event in data(stream) {
        let index = event["index"].as_u64().map(|index| index as usize);
        match event["type"].as_str().unwrap() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                assert_eq!((open, index), (None, Some(message["content"].as_array().unwrap().len())));
                open = index;
                json_text.clear();
                message["content"].as_array_mut().unwrap().push(event["content_block"].clone());
            }
            "content_block_delta" => {
                assert_eq!(open, index);
                let block = &mut message["content"][index.unwrap()];
                for (field, value) in event["delta"].as_object().unwrap().iter().filter(|(field, _)| *field != "type") {
                    match field.as_str() {
                        "partial_json" => json_text += value.as_str().unwrap(),
                        "signature" => block["signature"] = value.clone(),
                        field => block[field] = format!("{}{}", block[field].as_str().unwrap(), value.as_str().unwrap()).into(),
                    }
                }
            }
            "content_block_stop" => {
                assert_eq!(open.take(), index);
                if !json_text.is_empty() {
                    message["content"][index.unwrap()]["input"] = serde_json::from_str(&json_text).unwrap();
                }
            }
            "message_delta" => {
                for part in [&event["delta"], &event["usage"]] {
                    let target = if part.get("output_tokens").is_some() { &mut message["usage"] } else { &mut message };
                    for (field, value) in part.as_object().unwrap() {
                        target[field] = value.clone();
                    }
                }
            }
            _ => {}
        }
    }
    message
}

const ROUNDS: usize = 300;

#[test]
fn chat_answers_become_the_same_message_whole_and_streamed() {
    let to = To { client: Dialect::Anthropic, upstream: Dialect::OpenaiChat, model: "m", strict: false };
    let request = |stream: bool| json!({"model": "smart", "max_tokens": 9, "stream": stream, "messages": [{"role": "user", "content": "x"}]});
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for round in 0..ROUNDS {
        let said = Said::roll(&mut dice);
        let whole = to.answer(&request(false), &said.chat());
        let upstream = said.chat_stream(&mut dice);
        let streamed = gather_messages(&to.once(&request(true), &upstream));
        assert_eq!(streamed, whole, "round {round}: {upstream}");
    }
}

#[test]
fn messages_become_the_same_chat_answer_whole_and_streamed() {
    let to = To { client: Dialect::OpenaiChat, upstream: Dialect::Anthropic, model: "m", strict: false };
    let request = |stream: bool| json!({"model": "smart", "stream": stream, "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": "x"}]});
    let mut dice = Dice(0x1234_5678_9abc_def1);
    for round in 0..ROUNDS {
        let said = Said::roll(&mut dice);
        let whole = to.answer(&request(false), &said.messages());
        let upstream = said.messages_stream(&mut dice);
        let mut streamed = gather_chat(&to.once(&request(true), &upstream));
        // A stream opens with empty content before it knows that only calls follow.
        let message = &mut streamed["choices"][0]["message"];
        if message["content"] == "" && message.get("tool_calls").is_some() {
            message["content"] = Value::Null;
        }
        assert_eq!(streamed, whole, "round {round}: {upstream}");
    }
}
