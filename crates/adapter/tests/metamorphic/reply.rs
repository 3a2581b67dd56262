//! An answer in no dialect, written as each upstream would, whole and streamed, and read from what each client gets.

use proptest::prelude::*;
use serde_json::{Value, json};
use tallygate_types::Dialect;

use crate::talk::{TOOLS, arguments, words};

#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub reasoning: String,
    pub text: String,
    /// Id, name, arguments.
    pub calls: Vec<(String, String, Value)>,
    pub is_cut: bool,
    pub tokens: Tokens,
}

/// By class, disjoint.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tokens {
    pub fresh: u64,
    pub cached: u64,
    pub said: u64,
    pub reasoned: u64,
}

pub fn reply() -> impl Strategy<Value = Reply> {
    let call = (prop::sample::select(TOOLS.to_vec()), arguments());
    let tokens = (1_u64..1_000, 0_u64..1_000, 1_u64..1_000, 0_u64..1_000);
    (prop::option::of(words()), prop::option::of(words()), prop::collection::vec(call, 0..3), any::<bool>(), tokens)
        .prop_filter("says something", |(_, text, calls, ..)| text.is_some() || !calls.is_empty())
        .prop_map(|(reasoning, text, calls, is_cut, (fresh, cached, said, reasoned))| Reply {
            reasoning: reasoning.unwrap_or_default(),
            text: text.unwrap_or_default(),
            is_cut: is_cut && calls.is_empty(),
            calls: (0..).zip(calls).map(|(i, (name, arguments))| (format!("call_{i}"), name.to_owned(), arguments)).collect(),
            tokens: Tokens { fresh, cached, said, reasoned },
        })
}

/// Cuts a text into pieces of the given sizes, in characters, over and over.
fn cut(text: &str, sizes: &[usize]) -> Vec<String> {
    let mut sizes = sizes.iter().copied().cycle();
    let mut pieces = Vec::new();
    let mut rest = text.chars().peekable();
    while rest.peek().is_some() {
        pieces.push(rest.by_ref().take(sizes.next().unwrap_or(1).max(1)).collect());
    }
    pieces
}

impl Reply {
    fn word(&self, calls: &'static str, cut: &'static str, stop: &'static str) -> &'static str {
        if self.is_cut {
            cut
        } else if self.calls.is_empty() {
            stop
        } else {
            calls
        }
    }

    pub fn whole(&self, upstream: Dialect) -> Value {
        match upstream {
            Dialect::OpenaiChat => self.chat(),
            Dialect::OpenaiResponses => self.responses(),
            Dialect::Anthropic => self.messages(),
            Dialect::Gemini => self.gemini(self.parts(), true),
        }
    }

    pub fn stream(&self, upstream: Dialect, sizes: &[usize]) -> String {
        match upstream {
            Dialect::OpenaiChat => self.chat_stream(sizes),
            Dialect::OpenaiResponses => self.responses_stream(sizes),
            Dialect::Anthropic => self.messages_stream(sizes),
            Dialect::Gemini => self.gemini_stream(sizes),
        }
    }

    fn chat_usage(&self) -> Value {
        let Tokens { fresh, cached, said, reasoned } = self.tokens;
        json!({"prompt_tokens": fresh + cached, "completion_tokens": said + reasoned, "total_tokens": fresh + cached + said + reasoned,
            "prompt_tokens_details": {"cached_tokens": cached}, "completion_tokens_details": {"reasoning_tokens": reasoned}})
    }

    fn chat(&self) -> Value {
        let mut message =
            json!({"role": "assistant", "content": Some(&self.text).filter(|text| !text.is_empty()), "refusal": null});
        if !self.reasoning.is_empty() {
            message["reasoning_content"] = self.reasoning.as_str().into();
        }
        if !self.calls.is_empty() {
            message["tool_calls"] = self
                .calls
                .iter()
                .map(|(id, name, arguments)| {
                    json!({"id": id, "type": "function",
                "function": {"name": name, "arguments": arguments.to_string()}})
                })
                .collect();
        }
        json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "real", "choices": [{"index": 0,
            "message": message, "logprobs": null, "finish_reason": self.word("tool_calls", "length", "stop")}], "usage": self.chat_usage()})
    }

    fn chat_stream(&self, sizes: &[usize]) -> String {
        let mut deltas = vec![json!({"role": "assistant", "content": ""})];
        deltas.extend(cut(&self.reasoning, sizes).into_iter().map(|piece| json!({ "reasoning_content": piece })));
        deltas.extend(cut(&self.text, sizes).into_iter().map(|piece| json!({ "content": piece })));
        for (index, (id, name, arguments)) in self.calls.iter().enumerate() {
            deltas.push(json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]}));
            let pieces = cut(&arguments.to_string(), sizes).into_iter();
            deltas.extend(pieces.map(|piece| json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})));
        }
        let chunk = |choices: Value, usage: Value| {
            json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
            "model": "real", "choices": choices, "usage": usage})
        };
        let mut chunks: Vec<Value> = deltas
            .into_iter()
            .map(|delta| chunk(json!([{"index": 0, "delta": delta, "finish_reason": null}]), Value::Null))
            .collect();
        let finish = self.word("tool_calls", "length", "stop");
        chunks.push(chunk(json!([{"index": 0, "delta": {}, "finish_reason": finish}]), Value::Null));
        chunks.push(chunk(json!([]), self.chat_usage()));
        plain(&chunks) + "data: [DONE]\n\n"
    }

    fn messages(&self) -> Value {
        let Tokens { fresh, cached, said, reasoned } = self.tokens;
        json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "real", "content": self.blocks(),
            "stop_reason": self.word("tool_use", "max_tokens", "end_turn"), "stop_sequence": null,
            "usage": {"input_tokens": fresh, "cache_read_input_tokens": cached, "cache_creation_input_tokens": 0,
                "output_tokens": said + reasoned, "output_tokens_details": {"thinking_tokens": reasoned}}})
    }

    fn blocks(&self) -> Vec<Value> {
        let mut blocks = Vec::new();
        if !self.reasoning.is_empty() {
            blocks.push(json!({"type": "thinking", "thinking": self.reasoning, "signature": "c2ln"}));
        }
        if !self.text.is_empty() {
            blocks.push(json!({"type": "text", "text": self.text}));
        }
        blocks.extend(
            self.calls.iter().map(|(id, name, input)| json!({"type": "tool_use", "id": id, "name": name, "input": input})),
        );
        blocks
    }

    fn messages_stream(&self, sizes: &[usize]) -> String {
        let Tokens { fresh, cached, said, reasoned } = self.tokens;
        let mut events = vec![
            json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
            "model": "real", "content": [], "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": fresh,
            "cache_read_input_tokens": cached, "cache_creation_input_tokens": 0, "output_tokens": 1}}}),
            json!({"type": "ping"}),
        ];
        for (index, block) in self.blocks().into_iter().enumerate() {
            let (start, kind, field, text) = match block["type"].as_str().unwrap() {
                "thinking" => (
                    json!({"type": "thinking", "thinking": "", "signature": ""}),
                    "thinking_delta",
                    "thinking",
                    self.reasoning.clone(),
                ),
                "text" => (json!({"type": "text", "text": ""}), "text_delta", "text", self.text.clone()),
                _ => (
                    json!({"type": "tool_use", "id": block["id"], "name": block["name"], "input": {}}),
                    "input_json_delta",
                    "partial_json",
                    if block["input"] == json!({}) { String::new() } else { block["input"].to_string() },
                ),
            };
            events.push(json!({"type": "content_block_start", "index": index, "content_block": start}));
            events.extend(
                cut(&text, sizes)
                    .into_iter()
                    .map(|piece| json!({"type": "content_block_delta", "index": index, "delta": {"type": kind, field: piece}})),
            );
            if field == "thinking" {
                events.push(json!({"type": "content_block_delta", "index": index, "delta": {"type": "signature_delta", "signature": "c2ln"}}));
            }
            events.push(json!({"type": "content_block_stop", "index": index}));
        }
        events.push(json!({"type": "message_delta", "delta": {"stop_reason": self.word("tool_use", "max_tokens", "end_turn"), "stop_sequence": null},
            "usage": {"output_tokens": said + reasoned, "output_tokens_details": {"thinking_tokens": reasoned}}}));
        events.push(json!({"type": "message_stop"}));
        named(&events)
    }

    fn parts(&self) -> Vec<Value> {
        let mut parts = Vec::new();
        if !self.reasoning.is_empty() {
            parts.push(json!({"text": self.reasoning, "thought": true}));
        }
        if !self.text.is_empty() {
            parts.push(json!({ "text": self.text }));
        }
        parts.extend(self.calls.iter().map(|(id, name, args)| json!({"functionCall": {"id": id, "name": name, "args": args}})));
        parts
    }

    fn gemini(&self, parts: Vec<Value>, is_last: bool) -> Value {
        let Tokens { fresh, cached, said, reasoned } = self.tokens;
        let mut candidate = json!({"content": {"role": "model", "parts": parts}, "index": 0});
        if is_last {
            candidate["finishReason"] = self.word("STOP", "MAX_TOKENS", "STOP").into();
        }
        json!({"candidates": [candidate], "usageMetadata": {"promptTokenCount": fresh + cached, "cachedContentTokenCount": cached,
            "candidatesTokenCount": said, "thoughtsTokenCount": reasoned, "totalTokenCount": fresh + cached + said + reasoned},
            "modelVersion": "real", "responseId": "r1"})
    }

    fn gemini_stream(&self, sizes: &[usize]) -> String {
        let mut events: Vec<Value> = Vec::new();
        for part in self.parts() {
            match part.get("text").and_then(Value::as_str) {
                Some(text) => events.extend(cut(text, sizes).into_iter().map(|piece| {
                    let mut part = part.clone();
                    part["text"] = piece.into();
                    self.gemini(vec![part], false)
                })),
                None => events.push(self.gemini(vec![part], false)),
            }
        }
        events.push(self.gemini(vec![json!({"text": ""})], true));
        plain(&events)
    }

    fn items(&self) -> Vec<Value> {
        let mut items = Vec::new();
        if !self.reasoning.is_empty() {
            items.push(json!({"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": self.reasoning}]}));
        }
        if !self.text.is_empty() {
            items.push(json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": self.text, "annotations": []}]}));
        }
        items.extend(self.calls.iter().map(|(id, name, arguments)| {
            json!({"type": "function_call", "id": format!("fc_{id}"),
            "call_id": id, "name": name, "arguments": arguments.to_string(), "status": "completed"})
        }));
        items
    }

    fn responses(&self) -> Value {
        let Tokens { fresh, cached, said, reasoned } = self.tokens;
        json!({"id": "resp_1", "object": "response", "created_at": 1, "model": "real",
            "status": if self.is_cut { "incomplete" } else { "completed" },
            "incomplete_details": self.is_cut.then(|| json!({"reason": "max_output_tokens"})), "error": null, "output": self.items(),
            "usage": {"input_tokens": fresh + cached, "input_tokens_details": {"cached_tokens": cached}, "output_tokens": said + reasoned,
                "output_tokens_details": {"reasoning_tokens": reasoned}, "total_tokens": fresh + cached + said + reasoned}})
    }

    fn responses_stream(&self, sizes: &[usize]) -> String {
        let begun = json!({"id": "resp_1", "object": "response", "created_at": 1, "model": "real", "status": "in_progress", "output": []});
        let mut events = vec![
            json!({"type": "response.created", "response": begun}),
            json!({"type": "response.in_progress", "response": begun}),
        ];
        for (at, item) in self.items().into_iter().enumerate() {
            let mut open = item.clone();
            let id = item["id"].clone();
            let mut between = Vec::new();
            match item["type"].as_str().unwrap() {
                "reasoning" => {
                    open["summary"] = json!([]);
                    let part = |text: &str| json!({"type": "summary_text", "text": text});
                    between.push(json!({"type": "response.reasoning_summary_part.added", "item_id": id, "output_index": at, "summary_index": 0, "part": part("")}));
                    between.extend(cut(&self.reasoning, sizes).into_iter().map(|piece| {
                        json!({"type": "response.reasoning_summary_text.delta",
                        "item_id": id, "output_index": at, "summary_index": 0, "delta": piece})
                    }));
                    between.push(json!({"type": "response.reasoning_summary_text.done", "item_id": id, "output_index": at, "summary_index": 0, "text": self.reasoning}));
                    between.push(json!({"type": "response.reasoning_summary_part.done", "item_id": id, "output_index": at, "summary_index": 0, "part": part(&self.reasoning)}));
                }
                "message" => {
                    open["content"] = json!([]);
                    open["status"] = "in_progress".into();
                    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
                    between.push(json!({"type": "response.content_part.added", "item_id": id, "output_index": at, "content_index": 0, "part": part("")}));
                    between.extend(cut(&self.text, sizes).into_iter().map(|piece| {
                        json!({"type": "response.output_text.delta",
                        "item_id": id, "output_index": at, "content_index": 0, "delta": piece})
                    }));
                    between.push(json!({"type": "response.output_text.done", "item_id": id, "output_index": at, "content_index": 0, "text": self.text}));
                    between.push(json!({"type": "response.content_part.done", "item_id": id, "output_index": at, "content_index": 0, "part": part(&self.text)}));
                }
                _ => {
                    let whole = item["arguments"].as_str().unwrap();
                    open["arguments"] = "".into();
                    open["status"] = "in_progress".into();
                    between.extend(cut(whole, sizes).into_iter().map(|piece| {
                        json!({"type": "response.function_call_arguments.delta",
                        "item_id": id, "output_index": at, "delta": piece})
                    }));
                    between.push(json!({"type": "response.function_call_arguments.done", "item_id": id, "output_index": at, "arguments": whole}));
                }
            }
            events.push(json!({"type": "response.output_item.added", "output_index": at, "item": open}));
            events.extend(between);
            events.push(json!({"type": "response.output_item.done", "output_index": at, "item": item}));
        }
        let kind = if self.is_cut { "response.incomplete" } else { "response.completed" };
        events.push(json!({"type": kind, "response": self.responses()}));
        for (number, event) in events.iter_mut().enumerate() {
            event["sequence_number"] = number.into();
        }
        named(&events)
    }

    /// What a client of `dialect` reads of a whole answer.
    pub fn read(dialect: Dialect, answer: &Value) -> Self {
        let mut reply = Self {
            reasoning: String::new(),
            text: String::new(),
            calls: Vec::new(),
            is_cut: false,
            tokens: Tokens { fresh: 0, cached: 0, said: 0, reasoned: 0 },
        };
        let count = |path: &str| answer.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let parsed = |value: &Value| serde_json::from_str(value.as_str().unwrap()).unwrap();
        let (input, cached, output, reasoned) = match dialect {
            Dialect::OpenaiChat => {
                let choice = &answer["choices"][0];
                let message = &choice["message"];
                reply.text = text(&message["content"]);
                reply.reasoning = text(&message["reasoning_content"]);
                for call in message["tool_calls"].as_array().into_iter().flatten() {
                    reply.calls.push((
                        text(&call["id"]),
                        text(&call["function"]["name"]),
                        parsed(&call["function"]["arguments"]),
                    ));
                }
                reply.is_cut = choice["finish_reason"] == "length";
                assert_eq!(choice["finish_reason"] == "tool_calls", !reply.calls.is_empty());
                (
                    count("/usage/prompt_tokens"),
                    count("/usage/prompt_tokens_details/cached_tokens"),
                    count("/usage/completion_tokens"),
                    count("/usage/completion_tokens_details/reasoning_tokens"),
                )
            }
            Dialect::OpenaiResponses => {
                for item in answer["output"].as_array().unwrap() {
                    match item["type"].as_str().unwrap() {
                        "reasoning" => {
                            for list in [&item["summary"], &item["content"]] {
                                for part in list.as_array().into_iter().flatten() {
                                    reply.reasoning += part["text"].as_str().unwrap();
                                }
                            }
                        }
                        "message" => {
                            for part in item["content"].as_array().unwrap() {
                                reply.text += part["text"].as_str().unwrap();
                            }
                        }
                        _ => reply.calls.push((text(&item["call_id"]), text(&item["name"]), parsed(&item["arguments"]))),
                    }
                }
                reply.is_cut = answer["status"] == "incomplete";
                (
                    count("/usage/input_tokens"),
                    count("/usage/input_tokens_details/cached_tokens"),
                    count("/usage/output_tokens"),
                    count("/usage/output_tokens_details/reasoning_tokens"),
                )
            }
            Dialect::Anthropic => {
                for block in answer["content"].as_array().unwrap() {
                    match block["type"].as_str().unwrap() {
                        "thinking" => reply.reasoning += block["thinking"].as_str().unwrap(),
                        "text" => reply.text += block["text"].as_str().unwrap(),
                        _ => reply.calls.push((text(&block["id"]), text(&block["name"]), block["input"].clone())),
                    }
                }
                reply.is_cut = answer["stop_reason"] == "max_tokens";
                assert_eq!(answer["stop_reason"] == "tool_use", !reply.calls.is_empty());
                let cached = count("/usage/cache_read_input_tokens");
                (
                    count("/usage/input_tokens") + cached,
                    cached,
                    count("/usage/output_tokens"),
                    count("/usage/output_tokens_details/thinking_tokens"),
                )
            }
            Dialect::Gemini => {
                let candidate = &answer["candidates"][0];
                for part in candidate["content"]["parts"].as_array().unwrap() {
                    if let Some(call) = part.get("functionCall") {
                        let args = call.get("args").cloned().unwrap_or_else(|| json!({}));
                        reply.calls.push((text(&call["id"]), text(&call["name"]), args));
                    } else if part["thought"] == true {
                        reply.reasoning += part["text"].as_str().unwrap();
                    } else {
                        reply.text += part["text"].as_str().unwrap();
                    }
                }
                reply.is_cut = candidate["finishReason"] == "MAX_TOKENS";
                let reasoned = count("/usageMetadata/thoughtsTokenCount");
                (
                    count("/usageMetadata/promptTokenCount"),
                    count("/usageMetadata/cachedContentTokenCount"),
                    count("/usageMetadata/candidatesTokenCount") + reasoned,
                    reasoned,
                )
            }
        };
        reply.tokens = Tokens { fresh: input - cached, cached, said: output - reasoned, reasoned };
        reply
    }
}

fn plain(events: &[Value]) -> String {
    events.iter().fold(String::new(), |text, event| text + &format!("data: {event}\n\n"))
}

fn named(events: &[Value]) -> String {
    events
        .iter()
        .fold(String::new(), |text, event| text + &format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()))
}
