//! What translation costs: nanoseconds and allocations per request, answer and stream event, for all sixteen pairs.
//!
//! `make bench-adapter` runs it. Streams are fed one event a push, as they come from a provider that paces them; divide a
//! stream's figures by the item count that is printed beside them. Pairs of the same dialect pass untouched.

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use serde_json::json;
use tallygate_adapter::{Call, NoMemory, Outgoing, PastReasoning, Peek, Profiles, peek, prepare};
use tallygate_types::{Dialect, Timestamp};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// Content events of a stream; start and end come on top.
const STREAM_EVENTS: usize = 1000;

fn main() {
    divan::main();
}

/// Client and upstream.
#[derive(Debug, Clone, Copy)]
struct Pair(Dialect, Dialect);

impl std::fmt::Display for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.0, self.1)
    }
}

fn pairs() -> impl Iterator<Item = Pair> {
    Dialect::ALL.into_iter().flat_map(|client| Dialect::ALL.map(|upstream| Pair(client, upstream)))
}

/// An agent's request in the middle of its work: instructions, three tools, a call and its result.
fn request(dialect: Dialect, stream: bool) -> Bytes {
    let instructions = "You are a careful engineer who reads before writing. ".repeat(40);
    let schema = json!({"type": "object", "properties": {"path": {"type": "string", "description": "a file"},
        "limit": {"type": "integer"}}, "required": ["path"], "additionalProperties": false});
    let names = ["read", "write", "search"];
    let body = match dialect {
        Dialect::OpenaiChat => json!({"model": "smart", "stream": stream, "max_completion_tokens": 4096, "messages": [
            {"role": "system", "content": instructions},
            {"role": "user", "content": "Read the file."},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function",
                "function": {"name": "read", "arguments": "{\"path\":\"a.rs\"}"}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "fn main() {}"}],
            "tools": names.map(|name| json!({"type": "function", "function": {"name": name, "parameters": schema}}))}),
        Dialect::OpenaiResponses => json!({"model": "smart", "stream": stream, "store": false, "max_output_tokens": 4096,
            "instructions": instructions, "input": [
            {"role": "user", "content": "Read the file."},
            {"type": "function_call", "call_id": "call_1", "name": "read", "arguments": "{\"path\":\"a.rs\"}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "fn main() {}"}],
            "tools": names.map(|name| json!({"type": "function", "name": name, "parameters": schema, "strict": false}))}),
        Dialect::Anthropic => {
            json!({"model": "smart", "stream": stream, "max_tokens": 4096, "system": instructions, "messages": [
            {"role": "user", "content": "Read the file."},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "read", "input": {"path": "a.rs"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "fn main() {}"}]}],
            "tools": names.map(|name| json!({"name": name, "input_schema": schema}))})
        }
        Dialect::Gemini => json!({"systemInstruction": {"parts": [{"text": instructions}]},
            "generationConfig": {"maxOutputTokens": 4096}, "contents": [
            {"role": "user", "parts": [{"text": "Read the file."}]},
            {"role": "model", "parts": [{"functionCall": {"name": "read", "args": {"path": "a.rs"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "read", "response": {"output": "fn main() {}"}}}]}],
            "tools": [{"functionDeclarations": names.map(|name| json!({"name": name, "parametersJsonSchema": schema}))}]}),
    };
    Bytes::from(body.to_string())
}

/// A plain answer of some two hundred words.
fn answer(dialect: Dialect) -> Bytes {
    let text = "All the words of an answer. ".repeat(40);
    let body = match dialect {
        Dialect::OpenaiChat => json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 700, "completion_tokens": 200, "total_tokens": 900}}),
        Dialect::OpenaiResponses => {
            json!({"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed",
            "output": [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}]}],
            "usage": {"input_tokens": 700, "output_tokens": 200, "total_tokens": 900}})
        }
        Dialect::Anthropic => json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
            "content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": null,
            "usage": {"input_tokens": 700, "output_tokens": 200}}),
        Dialect::Gemini => json!({"responseId": "r", "modelVersion": "m",
            "candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 700, "candidatesTokenCount": 200, "totalTokenCount": 900}}),
    };
    Bytes::from(body.to_string())
}

/// Events of a text stream, as providers frame them.
fn events(dialect: Dialect) -> Vec<Bytes> {
    let named = |name: &str, data: &serde_json::Value| Bytes::from(format!("event: {name}\ndata: {data}\n\n"));
    let unnamed = |data: &serde_json::Value| Bytes::from(format!("data: {data}\n\n"));
    let (head, content, tail) = match dialect {
        Dialect::OpenaiChat => {
            let chunk = |delta, finish: Option<&str>| {
                unnamed(&json!({"id": "c", "object": "chat.completion.chunk", "created": 1,
                "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": null}))
            };
            let usage = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [],
                "usage": {"prompt_tokens": 700, "completion_tokens": 200, "total_tokens": 900}});
            let tail = vec![chunk(json!({}), Some("stop")), unnamed(&usage), Bytes::from_static(b"data: [DONE]\n\n")];
            (vec![chunk(json!({"role": "assistant", "content": ""}), None)], chunk(json!({"content": " word"}), None), tail)
        }
        Dialect::OpenaiResponses => {
            let kind = |kind: &str, mut data: serde_json::Value| {
                data["type"] = json!(kind);
                named(kind, &data)
            };
            let response = |status: &str| {
                json!({"id": "r", "object": "response", "model": "m", "status": status, "output": [],
                "usage": {"input_tokens": 700, "output_tokens": 200, "total_tokens": 900}})
            };
            let item = json!({"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress", "content": []});
            let part = json!({"type": "output_text", "text": "", "annotations": []});
            let head = vec![
                kind("response.created", json!({"sequence_number": 0, "response": response("in_progress")})),
                kind("response.output_item.added", json!({"sequence_number": 1, "output_index": 0, "item": item})),
                kind(
                    "response.content_part.added",
                    json!({"sequence_number": 2, "item_id": "msg_1", "output_index": 0, "content_index": 0, "part": part}),
                ),
            ];
            let delta = json!({"sequence_number": 3, "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": " word", "logprobs": []});
            let tail = vec![
                kind(
                    "response.output_text.done",
                    json!({"sequence_number": 4, "item_id": "msg_1", "output_index": 0, "content_index": 0, "text": " word"}),
                ),
                kind("response.output_item.done", json!({"sequence_number": 5, "output_index": 0, "item": item})),
                kind("response.completed", json!({"sequence_number": 6, "response": response("completed")})),
            ];
            (head, kind("response.output_text.delta", delta), tail)
        }
        Dialect::Anthropic => {
            let kind = |kind: &str, mut data: serde_json::Value| {
                data["type"] = json!(kind);
                named(kind, &data)
            };
            let head = vec![
                kind(
                    "message_start",
                    json!({"message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
                    "usage": {"input_tokens": 700, "output_tokens": 1}}}),
                ),
                kind("content_block_start", json!({"index": 0, "content_block": {"type": "text", "text": ""}})),
            ];
            let tail = vec![
                kind("content_block_stop", json!({"index": 0})),
                kind(
                    "message_delta",
                    json!({"delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 200}}),
                ),
                kind("message_stop", json!({})),
            ];
            (head, kind("content_block_delta", json!({"index": 0, "delta": {"type": "text_delta", "text": " word"}})), tail)
        }
        Dialect::Gemini => {
            let record = |parts: serde_json::Value, finish: Option<&str>| {
                let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": parts}});
                if let Some(finish) = finish {
                    candidate["finishReason"] = json!(finish);
                }
                unnamed(&json!({"responseId": "r", "modelVersion": "m", "candidates": [candidate],
                    "usageMetadata": {"promptTokenCount": 700, "candidatesTokenCount": 200, "totalTokenCount": 900}}))
            };
            (
                vec![record(json!([{"text": "A"}]), None)],
                record(json!([{"text": " word"}]), None),
                vec![record(json!([]), Some("STOP"))],
            )
        }
    };
    head.into_iter().chain(std::iter::repeat_n(content, STREAM_EVENTS)).chain(tail).collect()
}

fn prepared(pair: Pair, seen: &Peek, body: &Bytes, stream: bool) -> Outgoing {
    let call = Call {
        client: pair.0,
        upstream: pair.1,
        speaks_responses: false,
        client_model: "smart",
        upstream_model: match pair.1 {
            Dialect::OpenaiChat | Dialect::OpenaiResponses => "gpt-4.1",
            Dialect::Anthropic => "claude-sonnet-4-5",
            Dialect::Gemini => "gemini-2.5-flash",
        },
        stream,
        peek: seen,
        strict: false,
        response_id: "0192f0c1a2b3",
        created_at: Timestamp::UNIX_EPOCH,
        client_query: "alt=sse",
        profiles: Profiles::builtin(),
        memory: &NoMemory,
        past_reasoning: PastReasoning::default(),
        output_cap: None,
    };
    prepare(&call, body, &[]).expect("the request can be said in every dialect")
}

/// From the client's bytes to the upstream's, with the look at what routing needs.
#[divan::bench(args = pairs())]
fn request_translated(bencher: Bencher, pair: Pair) {
    let body = request(pair.0, false);
    bencher.bench(|| {
        let seen = peek(pair.0, &body).expect("a good request");
        prepared(pair, &seen, &body, false)
    });
}

/// From the upstream's whole answer to the client's, metered.
#[divan::bench(args = pairs())]
fn answer_translated(bencher: Bencher, pair: Pair) {
    let body = request(pair.0, false);
    let seen = peek(pair.0, &body).expect("a good request");
    let given = answer(pair.1);
    bencher
        .with_inputs(|| prepared(pair, &seen, &body, false).session)
        .bench_values(|session| session.answer(given.clone()).expect("a good answer"));
}

/// A stream of a thousand content events; time and allocations are of the whole stream.
#[divan::bench(args = pairs())]
fn stream_translated(bencher: Bencher, pair: Pair) {
    let body = request(pair.0, true);
    let seen = peek(pair.0, &body).expect("a good request");
    let events = events(pair.1);
    bencher
        .counter(ItemsCount::new(events.len()))
        .with_inputs(|| prepared(pair, &seen, &body, true).session.stream())
        .bench_values(|mut stream| {
            let mut out = Vec::new();
            for event in &events {
                out.clear();
                stream.push(event.clone(), &mut out).expect("a good stream");
            }
            stream.finish(&mut out).expect("a whole stream");
            stream
        });
}
