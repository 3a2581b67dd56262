//! Cases a57 to a63 and a66 to a69: streams of an Anthropic upstream to Chat Completions clients, with the stream sides of
//! a64 and a65. What the gateway does after a failure, a hop or another upstream, stands in its own tests.

use bytes::Bytes;
use serde_json::{Value, json};
use tallygate_adapter::{ErrorKind, ErrorReply, FailureClass, StreamFailure};

use crate::chat_request::{HAIKU, with};
use crate::support::{anthropic_sse, text};

fn streaming() -> Value {
    with(json!({"stream": true}))
}

fn with_usage() -> Value {
    with(json!({"stream": true, "stream_options": {"include_usage": true}}))
}

fn start(usage: Value) -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage}})
}

fn block(index: u32, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u32, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn stop(index: u32) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn end(reason: &str, usage: Value) -> [Value; 2] {
    [
        json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": usage}),
        json!({"type": "message_stop"}),
    ]
}

/// A text block said in one piece.
fn said(index: u32, text: &str) -> [Value; 3] {
    [block(index, json!({"type": "text", "text": ""})), delta(index, json!({"type": "text_delta", "text": text})), stop(index)]
}

fn tool(index: u32, id: &str, name: &str, fragments: &[&str]) -> Vec<Value> {
    let mut events = vec![block(index, json!({"type": "tool_use", "id": id, "name": name, "input": {}}))];
    events.extend(fragments.iter().map(|json| delta(index, json!({"type": "input_json_delta", "partial_json": json}))));
    events.push(stop(index));
    events
}

/// A whole stream: start, what is in between, and the end.
fn stream(between: &[Value], reason: &str) -> String {
    let mut events = vec![start(json!({"input_tokens": 1, "output_tokens": 1}))];
    events.extend_from_slice(between);
    events.extend(end(reason, json!({"output_tokens": 2})));
    anthropic_sse(&events)
}

/// The deltas of the client's chunks, and the finish reason.
fn deltas(events: &[Value]) -> (Vec<Value>, Value) {
    let choices: Vec<&Value> = events.iter().filter_map(|event| event.get("choices")?.get(0)).collect();
    let finish = choices.last().unwrap()["finish_reason"].clone();
    (choices.iter().map(|choice| choice["delta"].clone()).collect(), finish)
}

fn usage_of(events: Vec<Value>) -> Value {
    let events = HAIKU.events(&with_usage(), &anthropic_sse(&events));
    events[events.len() - 2]["usage"].clone()
}

#[test]
fn case_a57_usage_is_told_again_and_never_added() {
    let begun = json!({"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30, "output_tokens": 1});
    let usage = |later: Value| {
        let mut events = vec![start(begun.clone())];
        events.extend(said(0, "a"));
        events.extend(end("end_turn", later));
        usage_of(events)
    };
    let expected = |prompt: u64| {
        json!({"prompt_tokens": prompt, "completion_tokens": 5, "total_tokens": prompt + 5,
            "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20}, "completion_tokens_details": {"reasoning_tokens": 0}})
    };
    // The same figures twice; none the second time; more of them after a server tool.
    assert_eq!(
        usage(json!({"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30, "output_tokens": 5})),
        expected(60)
    );
    assert_eq!(usage(json!({"output_tokens": 5})), expected(60));
    assert_eq!(usage(json!({"input_tokens": null, "output_tokens": 5})), expected(60));
    assert_eq!(usage(json!({"input_tokens": 510, "output_tokens": 5})), expected(560));
}

#[test]
fn case_a58_calls_are_numbered_by_themselves_and_named_once() {
    let mut between = said(0, "Let me").to_vec();
    between.extend(tool(1, "toolu_A", "f", &["", "{\"city\":", "\"Paris\"}"]));
    between.extend(tool(2, "toolu_B", "g", &["{\"x\":", "1}"]));
    let (deltas, finish) = deltas(&HAIKU.events(&streaming(), &stream(&between, "tool_use")));
    let first = |index: u32, id: &str, name: &str| json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]});
    let more = |index: u32, arguments: &str| json!({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]});
    assert_eq!(
        deltas,
        [
            json!({"role": "assistant", "content": ""}),
            json!({"content": "Let me"}),
            first(0, "toolu_A", "f"),
            more(0, "{\"city\":"),
            more(0, "\"Paris\"}"),
            first(1, "toolu_B", "g"),
            more(1, "{\"x\":"),
            more(1, "1}"),
            json!({})
        ]
    );
    assert_eq!(finish, "tool_calls");
}

#[test]
fn case_a59_a_call_without_arguments_has_an_empty_object() {
    for fragments in [&[""][..], &[]] {
        let (deltas, _) = deltas(&HAIKU.events(&streaming(), &stream(&tool(0, "toolu_A", "now", fragments), "tool_use")));
        assert_eq!(
            deltas[1..],
            [
                json!({"tool_calls": [{"index": 0, "id": "toolu_A", "type": "function", "function": {"name": "now", "arguments": ""}}]}),
                json!({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}),
                json!({})
            ]
        );
    }
    // Arguments that came whole with the start.
    let whole = [block(0, json!({"type": "tool_use", "id": "toolu_A", "name": "f", "input": {"a": 1}})), stop(0)];
    let (deltas, _) = deltas(&HAIKU.events(&streaming(), &stream(&whole, "tool_use")));
    assert_eq!(deltas[2], json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"a\":1}"}}]}));
}

/// As the official SDK does it: strings are joined, numbers added, `index` and `type` replaced, lists joined by index.
fn accumulate(target: &mut Value, delta: &Value) {
    for (key, value) in delta.as_object().unwrap() {
        match (&mut target[key], value) {
            (known @ Value::Null, value) => *known = value.clone(),
            (known, value) if key == "index" || key == "type" => *known = value.clone(),
            (Value::String(known), Value::String(more)) => known.push_str(more),
            (Value::Object(_), Value::Object(_)) => accumulate(&mut target[key], value),
            (Value::Array(known), Value::Array(more)) => {
                for entry in more {
                    let index = entry["index"].as_u64().expect("every element of a list has an index") as usize;
                    if index < known.len() { accumulate(&mut known[index], entry) } else { known.push(entry.clone()) }
                }
            }
            (Value::Number(_), Value::Number(_)) => panic!("a number is added up: {key}"),
            (known, value) => *known = value.clone(),
        }
    }
}

#[test]
fn case_a60_the_official_accumulator_gets_one_role() {
    let mut between = vec![
        block(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "h"})),
        delta(0, json!({"type": "thinking_delta", "thinking": "m"})),
        delta(0, json!({"type": "signature_delta", "signature": "c2ln"})),
        stop(0),
        block(1, json!({"type": "redacted_thinking", "data": "aGlk"})),
        stop(1),
    ];
    between.extend(said(2, "Hi"));
    between.extend(tool(3, "toolu_A", "f", &["{}"]));
    let mut message = json!({});
    let (deltas, _) = deltas(&HAIKU.events(&streaming(), &stream(&between, "tool_use")));
    for delta in &deltas {
        accumulate(&mut message, delta);
    }
    assert_eq!(
        (&message["role"], &message["content"], &message["reasoning_content"]),
        (&json!("assistant"), &json!("Hi"), &json!("hm"))
    );
    assert_eq!(
        message["tool_calls"],
        json!([{"index": 0, "id": "toolu_A", "type": "function", "function": {"name": "f", "arguments": "{}"}}])
    );
    assert_eq!(
        message["thinking_blocks"],
        json!([{"index": 0, "type": "thinking", "thinking": "hm", "signature": "c2ln"}, {"index": 1, "type": "redacted_thinking", "data": "aGlk"}])
    );
}

#[test]
fn case_a61_usage_only_if_asked_for() {
    let upstream = stream(&said(0, "a"), "end_turn");
    let silent = HAIKU.events(&streaming(), &upstream);
    assert!(silent.iter().all(|event| event.get("usage").is_none()));
    assert_eq!(silent.last().unwrap(), "[DONE]");
    let told = HAIKU.events(&with_usage(), &upstream);
    let (done, chunks) = told.split_last().unwrap();
    let (last, rest) = chunks.split_last().unwrap();
    assert_eq!(done, "[DONE]");
    assert_eq!(
        last,
        &json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "smart", "choices": [],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0}}})
    );
    assert!(rest.iter().all(|chunk| chunk.get("usage") == Some(&Value::Null) && chunk["choices"].as_array().unwrap().len() == 1));
}

#[test]
fn case_a62_a_ping_is_a_comment() {
    let mut between = said(0, "a").to_vec();
    between.insert(0, json!({"type": "ping"}));
    between.insert(2, json!({"type": "ping"}));
    let pinged = HAIKU.stream(&streaming(), &stream(&between, "end_turn")).unwrap();
    let quiet = HAIKU.stream(&streaming(), &stream(&said(0, "a"), "end_turn")).unwrap();
    assert_eq!(pinged.matches(": ping\n\n").count(), 2);
    assert_eq!(pinged.replace(": ping\n\n", ""), quiet);
}

#[test]
fn case_a63_what_is_not_known_is_passed_over() {
    let mut between = vec![
        json!({"type": "something_new", "data": {"a": 1}}),
        block(0, json!({"type": "something_new", "id": "x", "parts": []})),
        delta(0, json!({"type": "text_delta", "text": "not the client's"})),
        delta(0, json!({"type": "something_delta", "value": 1})),
        stop(0),
        block(1, json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}})),
        delta(1, json!({"type": "input_json_delta", "partial_json": "{\"query\":\"q\"}"})),
        stop(1),
        block(2, json!({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []})),
        stop(2),
    ];
    between.extend(said(3, "a"));
    between.insert(12, delta(3, json!({"type": "something_delta", "text": "b"})));
    let strange = HAIKU.stream(&streaming(), &stream(&between, "end_turn")).unwrap();
    assert_eq!(strange, HAIKU.stream(&streaming(), &stream(&said(0, "a"), "end_turn")).unwrap());
}

#[test]
fn a_streamed_refusal_keeps_its_partial_text_and_says_why() {
    let mut events = vec![start(json!({"input_tokens": 1, "output_tokens": 1}))];
    events.extend(said(0, "I "));
    events.extend(end("refusal", json!({"output_tokens": 2})));
    events[4]["delta"]["stop_details"] = json!({"type": "refusal", "category": null, "explanation": "Not this."});
    let (deltas, finish) = deltas(&HAIKU.events(&streaming(), &anthropic_sse(&events)));
    assert_eq!(deltas[..2], [json!({"role": "assistant", "content": ""}), json!({"content": "I "})]);
    assert_eq!(finish, "content_filter");
    let refusals: String = deltas.iter().filter_map(|delta| delta["refusal"].as_str()).collect();
    assert_eq!(refusals, "Not this.");
}

#[test]
fn streamed_reasons_are_the_nearest_word() {
    for (reason, word) in [("model_context_window_exceeded", "length"), ("pause_turn", "length"), ("something_new", "stop")] {
        let events = HAIKU.events(&streaming(), &stream(&said(0, "a"), reason));
        assert_eq!(deltas(&events).1, word, "{reason}");
    }
}

const OVERLOADED: &str =
    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";

#[test]
fn case_a66_an_error_as_the_first_event_shows_the_client_nothing() {
    for before in ["", "event: ping\ndata: {\"type\":\"ping\"}\n\n"] {
        let mut stream = HAIKU.open(&streaming());
        let mut out = Vec::new();
        let Err(StreamFailure::Upstream(failure)) = stream.push(format!("{before}{OVERLOADED}").into(), &mut out) else {
            panic!("no failure")
        };
        assert_eq!((failure.status, failure.class), (529, FailureClass::Overloaded));
        assert!(!text(&out).contains("data:"), "{}", text(&out));
    }
    // After the start of the message too: nothing of it was said yet.
    let started = anthropic_sse(&[start(json!({"input_tokens": 1}))]) + OVERLOADED;
    let mut stream = HAIKU.open(&streaming());
    let mut out = Vec::new();
    assert!(matches!(stream.push(started.into(), &mut out), Err(StreamFailure::Upstream(_))));
    assert_eq!(text(&out), "");
    // What a client is told when nobody else is left.
    let error = tallygate_adapter::encode_error(
        tallygate_types::Dialect::OpenaiChat,
        &ErrorReply::new(ErrorKind::UpstreamUnavailable, "server_is_overloaded", "Overloaded.", "r"),
    );
    let body: Value = serde_json::from_slice(&error.body).unwrap();
    assert_eq!((error.status, &body["error"]["code"]), (503, &json!("server_is_overloaded")));
}

#[test]
fn case_a67_an_error_after_text_is_one_error_chunk_and_nothing_else() {
    let mut upstream = vec![start(json!({"input_tokens": 7, "output_tokens": 1}))];
    upstream.extend(said(0, "a").into_iter().take(2));
    let mut stream = HAIKU.open(&with_usage());
    let mut out = Vec::new();
    let failed = stream.push((anthropic_sse(&upstream) + OVERLOADED).into(), &mut out);
    assert!(matches!(failed, Err(StreamFailure::Upstream(failure)) if failure.class == FailureClass::Overloaded));
    let before = out.len();
    stream.fail(&ErrorReply::new(ErrorKind::UpstreamUnavailable, "server_is_overloaded", "Overloaded.", "r"), &mut out);
    assert_eq!(
        text(&out[before..]),
        "data: {\"error\":{\"message\":\"Overloaded. (request id: r)\",\"type\":\"service_unavailable_error\",\"param\":null,\"code\":\"server_is_overloaded\",\"tallygate\":{\"request_id\":\"r\"}}}\n\n"
    );
    assert!(!text(&out).contains("[DONE]") && !text(&out).contains("\"finish_reason\":\""));
    // What was used so far is known; the meter says what came.
    let meter = stream.meter();
    assert_eq!((meter.usage.unwrap().input_total(), meter.output_bytes), (7, 1));
}

#[test]
fn case_a68_an_end_without_message_stop() {
    let mut events = vec![start(json!({"input_tokens": 1, "output_tokens": 1}))];
    events.extend(said(0, "a"));
    let cut = anthropic_sse(&events);
    assert_eq!(HAIKU.stream(&streaming(), &cut), Err(StreamFailure::Truncated));
    events.extend(end("end_turn", json!({"output_tokens": 2})));
    let whole = anthropic_sse(&events);
    events.pop();
    assert_eq!(HAIKU.stream(&streaming(), &anthropic_sse(&events)), HAIKU.stream(&streaming(), &whole));
}

#[test]
fn case_a69_however_the_bytes_come_the_client_gets_the_same() {
    let mut between = said(0, "Grüezi 🌍").to_vec();
    between.extend(tool(1, "toolu_A", "f", &["{\"ü\":", "\"🌍\"}"]));
    let upstream = stream(&between, "tool_use");
    // Every cut in two, and every size of chunk down to a byte.
    let whole = HAIKU.stream(&with_usage(), &upstream).unwrap();
    assert_eq!(HAIKU.stream(&with_usage(), &upstream.replace('\n', "\r\n")).unwrap(), whole);
    let same = |other: &str| assert_eq!(HAIKU.events(&with_usage(), other), crate::support::data(&whole), "{other}");
    same(&upstream);
    same(&upstream.replace('\n', "\r\n"));
    same(&upstream.replace('\n', "\r"));
    same(&upstream.replace("}\n\n", "}    \n\n"));
    same(&upstream.replace("data: ", "data:"));
    same(&upstream.replace("event: ", "id: 1\nretry: 5\n: comment\nevent: "));
    same(upstream.trim_end());
}

#[test]
fn a_server_that_does_not_stream_is_read_all_the_same() {
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "tool_use", "stop_sequence": null,
        "content": [{"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "toolu_A", "name": "f", "input": {"a": 1}}],
        "usage": {"input_tokens": 1, "output_tokens": 2}});
    let mut between = said(0, "Hi").to_vec();
    between.extend(tool(1, "toolu_A", "f", &["{\"a\":1}"]));
    assert_eq!(
        HAIKU.stream(&with_usage(), &message.to_string()).unwrap(),
        HAIKU.stream(&with_usage(), &stream(&between, "tool_use")).unwrap()
    );
    // An error body is the error it says.
    let mut stream = HAIKU.open(&streaming());
    let body = Bytes::from_static(br#"{"type":"error","error":{"type":"rate_limit_error","message":"Slow down"}}"#);
    let failure = stream.push(body, &mut Vec::new());
    assert!(matches!(failure, Err(StreamFailure::Upstream(failure)) if failure.class == FailureClass::RateLimited));
}

#[test]
fn what_was_wrapped_for_anthropic_is_unwrapped_as_it_streams() {
    let called = |arguments: &str| stream(&tool(0, "toolu_A", "f", &[&arguments[..7], &arguments[7..]]), "tool_use");
    // Free text, in the words of the tool the client defined.
    let custom = with(json!({"stream": true, "tools": [{"type": "custom", "custom": {"name": "f"}}]}));
    assert_eq!(
        HAIKU.body(&custom)["tools"][0]["input_schema"],
        json!({"type": "object", "required": ["input"], "properties":
            {"input": {"type": "string", "description": "The whole input of the tool as plain text."}}})
    );
    let (said, _) = deltas(&HAIKU.events(&custom, &called("{\"input\":\"ls\"}")));
    assert_eq!(
        said[1],
        json!({"tool_calls": [{"index": 0, "id": "toolu_A", "type": "custom", "custom": {"name": "f", "input": ""}}]})
    );
    let text: String = said[2..].iter().filter_map(|delta| delta["tool_calls"][0]["custom"]["input"].as_str()).collect();
    assert_eq!(text, "ls");
    // A choice of schemas.
    let parameters = json!({"anyOf": [{"type": "object", "properties": {"a": {"type": "integer"}}}]});
    let wrapped =
        with(json!({"stream": true, "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}]}));
    let (said, _) = deltas(&HAIKU.events(&wrapped, &called("{\"input\":{\"a\":1}}")));
    assert_eq!(said[2], json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"a\":1}"}}]}));
}
