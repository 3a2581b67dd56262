//! What upstreams answer, said in each dialect, and where a client of each dialect looks for it.
#![allow(clippy::unnecessary_wraps, reason = "a column of a table: some dialects have no word for it")]

use serde_json::{Value, json};
use tallygate_types::Dialect;

use crate::common::To;
use crate::model;

/// In the order of [`Dialect::ALL`]; `None`: the dialect has no word for it.
pub struct Feature {
    pub name: &'static str,
    /// Laid over the dialect's plain answer.
    pub given: [Option<Value>; 4],
    /// Where a client finds it (a JSON pointer), and what must stand there.
    pub found: [Option<(&'static str, Value)>; 4],
}

fn text(dialect: Dialect) -> Value {
    match dialect {
        Dialect::OpenaiChat => json!({"id": "c1", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 60, "completion_tokens": 5, "total_tokens": 65}}),
        Dialect::OpenaiResponses => {
            json!({"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed",
            "output": [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "hi", "annotations": []}]}],
            "usage": {"input_tokens": 60, "output_tokens": 5, "total_tokens": 65}})
        }
        Dialect::Anthropic => json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
            "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": 60, "output_tokens": 5}}),
        Dialect::Gemini => json!({"responseId": "r1", "modelVersion": "m",
            "candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 60, "candidatesTokenCount": 5, "totalTokenCount": 65}}),
    }
}

fn chat(message: Value, finish: &str) -> Option<Value> {
    Some(json!({"choices": [{"index": 0, "message": message, "finish_reason": finish}]}))
}

fn responses(output: Value) -> Option<Value> {
    Some(json!({ "output": output }))
}

fn messages(content: Value, stop: &str) -> Option<Value> {
    Some(json!({"content": content, "stop_reason": stop}))
}

fn gemini(parts: Value, finish: &str) -> Option<Value> {
    Some(json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": parts}, "finishReason": finish}]}))
}

fn usage(name: &'static str, given: [Option<Value>; 4], found: [Option<(&'static str, Value)>; 4]) -> Feature {
    let fields = ["usage", "usage", "usage", "usageMetadata"];
    let mut given = given;
    for (value, field) in given.iter_mut().zip(fields) {
        *value = value.take().map(|usage| json!({ field: usage }));
    }
    Feature { name, given, found }
}

pub fn features() -> Vec<Feature> {
    const PNG: &str = "iVBORw0KGgoAAAANSUhEUg==";
    let message = |content: Value| json!([{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}]);
    vec![
        Feature {
            name: "text",
            given: [Some(json!({})), Some(json!({})), Some(json!({})), Some(json!({}))],
            found: [
                Some(("/choices/0/message/content", json!("hi"))),
                Some(("/output/0/content/0/text", json!("hi"))),
                Some(("/content/0/text", json!("hi"))),
                Some(("/candidates/0/content/parts", json!([{"text": "hi"}]))),
            ],
        },
        Feature {
            name: "tool calls",
            given: [
                chat(
                    json!({"role": "assistant", "content": null, "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}},
                    {"id": "call_2", "type": "function", "function": {"name": "f", "arguments": "{\"a\":2}"}}]}),
                    "tool_calls",
                ),
                responses(json!([
                    {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{\"a\":1}", "status": "completed"},
                    {"type": "function_call", "id": "fc_2", "call_id": "call_2", "name": "f", "arguments": "{\"a\":2}", "status": "completed"}])),
                messages(
                    json!([{"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
                    {"type": "tool_use", "id": "call_2", "name": "f", "input": {"a": 2}}]),
                    "tool_use",
                ),
                gemini(
                    json!([{"functionCall": {"id": "call_1", "name": "f", "args": {"a": 1}}},
                    {"functionCall": {"id": "call_2", "name": "f", "args": {"a": 2}}}]),
                    "STOP",
                ),
            ],
            found: [
                Some(("/choices/0/message/tool_calls/1/function/arguments", json!("{\"a\":2}"))),
                Some(("/output/1/arguments", json!("{\"a\":2}"))),
                Some(("/content/1/input", json!({"a": 2}))),
                Some(("/candidates/0/content/parts/1/functionCall/args", json!({"a": 2}))),
            ],
        },
        Feature {
            name: "reasoning that may be shown",
            given: [
                chat(json!({"role": "assistant", "content": "hi", "reasoning_content": "why"}), "stop"),
                responses(json!([{"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "why"}]},
                    {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "hi", "annotations": []}]}])),
                messages(
                    json!([{"type": "thinking", "thinking": "why", "signature": "c2ln"}, {"type": "text", "text": "hi"}]),
                    "end_turn",
                ),
                gemini(json!([{"text": "why", "thought": true}, {"text": "hi"}]), "STOP"),
            ],
            found: [
                Some(("/choices/0/message/reasoning_content", json!("why"))),
                Some(("/output/0/summary/0/text", json!("why"))),
                Some(("/content/0/thinking", json!("why"))),
                Some(("/candidates/0/content/parts/0/text", json!("why"))),
            ],
        },
        Feature {
            name: "refusal in the model's words",
            given: [
                chat(json!({"role": "assistant", "content": null, "refusal": "no"}), "stop"),
                responses(message(json!([{"type": "refusal", "refusal": "no"}]))),
                messages(json!([{"type": "text", "text": "no"}]), "refusal"),
                None,
            ],
            found: [
                Some(("/choices/0/message/refusal", json!("no"))),
                Some(("/output/0/content/0/refusal", json!("no"))),
                Some(("/stop_reason", json!("refusal"))),
                None,
            ],
        },
        Feature {
            name: "cited web page",
            given: [
                chat(
                    json!({"role": "assistant", "content": "hi", "annotations": [{"type": "url_citation",
                    "url_citation": {"start_index": 0, "end_index": 2, "url": "https://e.com", "title": "E"}}]}),
                    "stop",
                ),
                responses(message(json!([{"type": "output_text", "text": "hi", "annotations": [
                    {"type": "url_citation", "start_index": 0, "end_index": 2, "url": "https://e.com", "title": "E"}]}]))),
                messages(
                    json!([{"type": "text", "text": "hi", "citations": [{"type": "web_search_result_location",
                    "url": "https://e.com", "title": "E", "encrypted_index": "x", "cited_text": "hi"}]}]),
                    "end_turn",
                ),
                Some(
                    json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "STOP",
                    "groundingMetadata": {"groundingChunks": [{"web": {"uri": "https://e.com", "title": "E"}}],
                        "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 2, "text": "hi"}, "groundingChunkIndices": [0]}]}}]}),
                ),
            ],
            found: [
                Some(("/choices/0/message/annotations/0/url_citation/url", json!("https://e.com"))),
                Some(("/output/0/content/0/annotations/0/url", json!("https://e.com"))),
                Some(("/content/0/citations/0/url", json!("https://e.com"))),
                Some(("/candidates/0/groundingMetadata/groundingChunks/0/web/uri", json!("https://e.com"))),
            ],
        },
        Feature {
            name: "log probabilities",
            given: [
                Some(json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop",
                    "logprobs": {"content": [{"token": "hi", "logprob": -0.5, "bytes": [104, 105], "top_logprobs": []}], "refusal": null}}]})),
                responses(message(json!([{"type": "output_text", "text": "hi", "annotations": [],
                    "logprobs": [{"token": "hi", "logprob": -0.5, "bytes": [104, 105], "top_logprobs": []}]}]))),
                None,
                Some(
                    json!({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "STOP",
                    "logprobsResult": {"chosenCandidates": [{"token": "hi", "logProbability": -0.5}], "topCandidates": [{"candidates": []}]}}]}),
                ),
            ],
            found: [
                Some(("/choices/0/logprobs/content/0/logprob", json!(-0.5))),
                Some(("/output/0/content/0/logprobs/0/logprob", json!(-0.5))),
                None,
                Some(("/candidates/0/logprobsResult/chosenCandidates/0/logProbability", json!(-0.5))),
            ],
        },
        Feature {
            name: "image made by the model",
            given: [
                chat(
                    json!({"role": "assistant", "content": "hi", "images": [{"type": "image_url", "index": 0,
                    "image_url": {"url": format!("data:image/png;base64,{PNG}")}}]}),
                    "stop",
                ),
                responses(json!([{"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": PNG}])),
                None,
                gemini(json!([{"inlineData": {"mimeType": "image/png", "data": PNG}}]), "STOP"),
            ],
            found: [
                Some(("/choices/0/message/images/0/image_url/url", json!(format!("data:image/png;base64,{PNG}")))),
                Some(("/output/0/result", json!(PNG))),
                None,
                Some(("/candidates/0/content/parts/0/inlineData/data", json!(PNG))),
            ],
        },
        Feature {
            name: "end: cut at the cap",
            given: [
                chat(json!({"role": "assistant", "content": "hi"}), "length"),
                Some(json!({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}})),
                Some(json!({"stop_reason": "max_tokens"})),
                gemini(json!([{"text": "hi"}]), "MAX_TOKENS"),
            ],
            found: [
                Some(("/choices/0/finish_reason", json!("length"))),
                Some(("/incomplete_details/reason", json!("max_output_tokens"))),
                Some(("/stop_reason", json!("max_tokens"))),
                Some(("/candidates/0/finishReason", json!("MAX_TOKENS"))),
            ],
        },
        Feature {
            name: "end: a stop sequence, named",
            given: [None, None, Some(json!({"stop_reason": "stop_sequence", "stop_sequence": "END"})), None],
            found: [
                Some(("/choices/0/finish_reason", json!("stop"))),
                Some(("/status", json!("completed"))),
                Some(("/stop_sequence", json!("END"))),
                Some(("/candidates/0/finishReason", json!("STOP"))),
            ],
        },
        Feature {
            name: "end: filtered",
            given: [
                chat(json!({"role": "assistant", "content": "hi"}), "content_filter"),
                Some(json!({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}})),
                Some(json!({"stop_reason": "refusal"})),
                gemini(json!([{"text": "hi"}]), "SAFETY"),
            ],
            found: [
                Some(("/choices/0/finish_reason", json!("content_filter"))),
                Some(("/incomplete_details/reason", json!("content_filter"))),
                Some(("/stop_reason", json!("refusal"))),
                Some(("/candidates/0/finishReason", json!("SAFETY"))),
            ],
        },
        usage(
            "usage: cache reads",
            [
                Some(
                    json!({"prompt_tokens": 60, "completion_tokens": 5, "total_tokens": 65, "prompt_tokens_details": {"cached_tokens": 30}}),
                ),
                Some(
                    json!({"input_tokens": 60, "output_tokens": 5, "total_tokens": 65, "input_tokens_details": {"cached_tokens": 30}}),
                ),
                Some(json!({"input_tokens": 30, "cache_read_input_tokens": 30, "output_tokens": 5})),
                Some(
                    json!({"promptTokenCount": 60, "cachedContentTokenCount": 30, "candidatesTokenCount": 5, "totalTokenCount": 65}),
                ),
            ],
            [
                Some(("/usage/prompt_tokens_details/cached_tokens", json!(30))),
                Some(("/usage/input_tokens_details/cached_tokens", json!(30))),
                Some(("/usage/cache_read_input_tokens", json!(30))),
                Some(("/usageMetadata/cachedContentTokenCount", json!(30))),
            ],
        ),
        usage(
            "usage: cache writes",
            [
                Some(
                    json!({"prompt_tokens": 60, "completion_tokens": 5, "total_tokens": 65, "prompt_tokens_details": {"cache_write_tokens": 20}}),
                ),
                Some(
                    json!({"input_tokens": 60, "output_tokens": 5, "total_tokens": 65, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 20}}),
                ),
                Some(json!({"input_tokens": 40, "cache_creation_input_tokens": 20, "output_tokens": 5})),
                None,
            ],
            [
                Some(("/usage/prompt_tokens_details/cache_write_tokens", json!(20))),
                Some(("/usage/input_tokens_details/cache_write_tokens", json!(20))),
                Some(("/usage/cache_creation_input_tokens", json!(20))),
                None,
            ],
        ),
        usage(
            "usage: reasoning",
            [
                Some(
                    json!({"prompt_tokens": 60, "completion_tokens": 5, "total_tokens": 65, "completion_tokens_details": {"reasoning_tokens": 3}}),
                ),
                Some(
                    json!({"input_tokens": 60, "output_tokens": 5, "total_tokens": 65, "output_tokens_details": {"reasoning_tokens": 3}}),
                ),
                Some(json!({"input_tokens": 60, "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 3}})),
                Some(json!({"promptTokenCount": 60, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "totalTokenCount": 65})),
            ],
            [
                Some(("/usage/completion_tokens_details/reasoning_tokens", json!(3))),
                Some(("/usage/output_tokens_details/reasoning_tokens", json!(3))),
                Some(("/usage/output_tokens_details/thinking_tokens", json!(3))),
                Some(("/usageMetadata/thoughtsTokenCount", json!(3))),
            ],
        ),
    ]
}

/// What the client finds where its dialect says it.
pub fn verdict(client: Dialect, upstream: Dialect, feature: &Feature) -> &'static str {
    let mut answer = text(upstream);
    let given = feature.given[upstream as usize].clone().unwrap_or_else(|| json!({}));
    answer.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
    let Some((place, expected)) = &feature.found[client as usize] else { return "dropped" };
    let to = To { client, upstream, model: model(upstream), strict: false };
    let request = match client {
        Dialect::Gemini => json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]}),
        Dialect::OpenaiResponses => json!({"model": "smart", "input": "x"}),
        _ => json!({"model": "smart", "max_tokens": 100, "messages": [{"role": "user", "content": "x"}]}),
    };
    match to.answer(&request, &answer).pointer(place) {
        Some(found) if found == expected => "exact",
        None | Some(Value::Null) => "dropped",
        Some(_) => "approximated",
    }
}
