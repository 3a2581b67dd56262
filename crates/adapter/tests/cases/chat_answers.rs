//! Answers and streams of Chat Completions upstreams for Messages clients: cases a70 to a81.

use bytes::Bytes;
use serde_json::{Value, json};
use tallygate_adapter::{ErrorKind, ErrorReply, FailureClass, Progress, StreamFailure, encode_error};
use tallygate_types::Dialect;

use crate::support::{To, chat_sse, plain_sse, text, to};

const TO: To<'_> = to(Dialect::Anthropic, Dialect::OpenaiChat, "gpt-4o");

fn asked(stream: bool) -> Value {
    json!({"model": "smart", "max_tokens": 100, "stream": stream, "messages": [{"role": "user", "content": "x"}]})
}

/// A chunk of the first choice.
fn chunk(delta: Value, finish: Option<&str>) -> Value {
    json!({"id": "chatcmpl-1", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

fn usage(usage: Value) -> Value {
    json!({"id": "chatcmpl-1", "model": "m", "choices": [], "usage": usage})
}

fn counted() -> Value {
    usage(json!({"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}))
}

/// A fragment of a call.
fn call(index: u64, id: Option<&str>, name: Option<&str>, arguments: &str) -> Value {
    let mut call = json!({"index": index, "function": {"arguments": arguments}});
    if let Some(id) = id {
        call["id"] = id.into();
    }
    if let Some(name) = name {
        call["function"]["name"] = name.into();
    }
    call
}

fn calls(list: &[Value]) -> Value {
    chunk(json!({ "tool_calls": list }), None)
}

/// Events in short: `start 1 text`, `delta 1 "Hi"`, `stop 1`, `end tool_use 9`.
fn short(chunks: &[Value]) -> Vec<String> {
    TO.events(&asked(true), &chat_sse(chunks)).iter().map(shown).collect()
}

fn shown(event: &Value) -> String {
    match event["type"].as_str().unwrap() {
        "content_block_start" => format!("start {} {}", event["index"], event["content_block"]["type"].as_str().unwrap()),
        "content_block_delta" => {
            let delta = event["delta"].as_object().unwrap();
            format!("delta {} {}", event["index"], delta.iter().find(|(field, _)| *field != "type").unwrap().1)
        }
        "content_block_stop" => format!("stop {}", event["index"]),
        "message_delta" => format!("end {} {}", event["delta"]["stop_reason"].as_str().unwrap(), event["usage"]["output_tokens"]),
        other => other.to_owned(),
    }
}

#[test]
fn case_a70_an_empty_answer_is_a_message_without_blocks() {
    let chunks = [chunk(json!({"role": "assistant", "content": ""}), None), chunk(json!({}), Some("stop"))];
    // Without `[DONE]`: the stream just ends.
    let events = TO.events(&asked(true), &plain_sse(&chunks));
    assert_eq!(events.iter().map(shown).collect::<Vec<_>>(), ["message_start", "end end_turn 0", "message_stop"]);
    assert_eq!(
        events[0]["message"],
        json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "smart", "content": [], "stop_reason": null,
            "stop_sequence": null, "stop_details": null, "container": null, "diagnostics": null,
            "usage": {"input_tokens": asked(true).to_string().len().div_ceil(4), "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, "output_tokens": 0,
                "output_tokens_details": {"thinking_tokens": 0}, "server_tool_use": null, "service_tier": "standard"}})
    );
}

#[test]
fn case_a71_reasoning_text_and_two_calls_are_four_blocks_that_never_overlap() {
    let chunks = [
        chunk(json!({"role": "assistant", "content": ""}), None),
        chunk(json!({"reasoning_content": "hm"}), None),
        chunk(json!({"reasoning_content": "m"}), None),
        chunk(json!({"content": "Hi"}), None),
        calls(&[call(0, Some("call_1"), Some("a"), "")]),
        calls(&[call(0, None, None, "{\"x\":1}")]),
        calls(&[call(1, Some("call_2"), Some("b"), "")]),
        calls(&[call(0, None, None, " ")]),
        calls(&[call(1, None, None, "{}")]),
        chunk(json!({}), Some("tool_calls")),
        counted(),
    ];
    let shown = [
        "message_start",
        "start 0 thinking",
        "delta 0 \"hm\"",
        "delta 0 \"m\"",
        "delta 0 \"tg1:none\"",
        "stop 0",
        "start 1 text",
        "delta 1 \"Hi\"",
        "stop 1",
        "start 2 tool_use",
        "delta 2 \"{\\\"x\\\":1}\"",
        "stop 2",
        "start 3 tool_use",
        "delta 3 \"{}\"",
        "stop 3",
        "end tool_use 9",
        "message_stop",
    ];
    assert_eq!(short(&chunks), shown);
    let events = TO.events(&asked(true), &chat_sse(&chunks));
    assert_eq!(events[4]["delta"]["type"], "signature_delta");
    assert_eq!(events[9]["content_block"], json!({"type": "tool_use", "id": "call_1", "name": "a", "input": {}}));
    // Servers that name the field otherwise, or say both.
    let renamed = [chunk(json!({"reasoning": "hm", "reasoning_content": ""}), None), chunk(json!({}), Some("stop")), counted()];
    assert_eq!(short(&renamed)[1..3], ["start 0 thinking", "delta 0 \"hm\""]);
}

#[test]
fn case_a72_interleaved_fragments_become_two_whole_blocks() {
    let chunks = [
        calls(&[call(0, Some("c1"), Some("a"), "{\"x\"")]),
        calls(&[call(1, Some("c2"), Some("b"), "{\"y\"")]),
        calls(&[call(0, None, None, ":1}")]),
        calls(&[call(1, None, None, ":2}")]),
        chunk(json!({}), Some("tool_calls")),
        counted(),
    ];
    assert_eq!(
        short(&chunks),
        [
            "message_start",
            "start 0 tool_use",
            "delta 0 \"{\\\"x\\\"\"",
            "delta 0 \":1}\"",
            "stop 0",
            "start 1 tool_use",
            "delta 1 \"{\\\"y\\\":2}\"",
            "stop 1",
            "end tool_use 9",
            "message_stop"
        ]
    );
}

#[test]
fn case_a73_repeated_ids_are_one_call_and_other_ids_under_one_index_are_others() {
    let chunks = [
        calls(&[call(0, Some("c1"), Some("get"), "{\"a\"")]),
        calls(&[call(0, Some("c1"), Some("get"), ":1}")]),
        calls(&[call(0, Some("c2"), Some("get"), "{}")]),
        chunk(json!({}), Some("tool_calls")),
        counted(),
    ];
    let events = TO.events(&asked(true), &chat_sse(&chunks));
    let started: Vec<&Value> = events.iter().filter(|event| event["type"] == "content_block_start").collect();
    assert_eq!(
        started.iter().map(|event| event["content_block"].clone()).collect::<Vec<_>>(),
        [
            json!({"type": "tool_use", "id": "c1", "name": "get", "input": {}}),
            json!({"type": "tool_use", "id": "c2", "name": "get", "input": {}})
        ]
    );
    assert_eq!(
        short(&chunks)[1..],
        [
            "start 0 tool_use",
            "delta 0 \"{\\\"a\\\"\"",
            "delta 0 \":1}\"",
            "stop 0",
            "start 1 tool_use",
            "delta 1 \"{}\"",
            "stop 1",
            "end tool_use 9",
            "message_stop"
        ]
    );
    // Whole calls without index and id, as some local servers send them, with the arguments as an object.
    let bare = json!([{"function": {"name": "a", "arguments": {"x": 1}}}, {"function": {"name": "b", "arguments": {}}}]);
    let bare = [chunk(json!({ "tool_calls": bare }), Some("stop")), counted()];
    assert_eq!(
        short(&bare)[1..7],
        ["start 0 tool_use", "delta 0 \"{\\\"x\\\":1}\"", "stop 0", "start 1 tool_use", "delta 1 \"{}\"", "stop 1"]
    );
}

#[test]
fn case_a74_a_whole_answer_in_one_chunk_loses_nothing() {
    let mut whole = chunk(
        json!({"role": "assistant", "reasoning_content": "r", "content": "a", "tool_calls": [call(0, Some("c"), Some("f"), "{}")]}),
        Some("tool_calls"),
    );
    whole["usage"] = json!({"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16});
    let shown = [
        "message_start",
        "start 0 thinking",
        "delta 0 \"r\"",
        "delta 0 \"tg1:none\"",
        "stop 0",
        "start 1 text",
        "delta 1 \"a\"",
        "stop 1",
        "start 2 tool_use",
        "delta 2 \"{}\"",
        "stop 2",
        "end tool_use 9",
        "message_stop",
    ];
    assert_eq!(short(&[whole.clone()]), shown);
    // A server that answers a stream with a whole answer, as JSON.
    whole["choices"][0]["message"] = whole["choices"][0].as_object_mut().unwrap().remove("delta").unwrap();
    let events = TO.events(&asked(true), &whole.to_string());
    assert_eq!(events.iter().map(self::shown).collect::<Vec<_>>(), shown);
}

#[test]
fn case_a75_a_forced_call_that_ends_with_stop_is_a_tool_use() {
    let chunks = [calls(&[call(0, Some("c"), Some("f"), "{}")]), chunk(json!({}), Some("stop")), counted()];
    assert_eq!(short(&chunks)[4], "end tool_use 9");
    let whole = json!({"id": "chatcmpl-1", "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": null,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}]}}]});
    let answer = TO.answer(&asked(false), &whole);
    assert_eq!(answer["stop_reason"], "tool_use");
    assert_eq!(answer["content"], json!([{"type": "tool_use", "id": "c", "name": "f", "input": {}}]));
}

#[test]
fn case_a76_a_refusal_is_text_and_is_explained() {
    let chunks = [
        chunk(json!({"refusal": "I can"}), None),
        chunk(json!({"refusal": "not."}), None),
        chunk(json!({}), Some("stop")),
        counted(),
    ];
    let events = TO.events(&asked(true), &chat_sse(&chunks));
    assert_eq!(
        events.iter().map(shown).collect::<Vec<_>>(),
        ["message_start", "start 0 text", "delta 0 \"I can\"", "delta 0 \"not.\"", "stop 0", "end refusal 9", "message_stop"]
    );
    let details = json!({"type": "refusal", "category": null, "explanation": "I cannot."});
    assert_eq!(
        events[5]["delta"],
        json!({"stop_reason": "refusal", "stop_sequence": null, "stop_details": details, "container": null})
    );
    let whole = json!({"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": null, "refusal": "I cannot."}}]});
    let answer = TO.answer(&asked(false), &whole);
    assert_eq!((&answer["stop_reason"], &answer["stop_details"]), (&json!("refusal"), &details));
    assert_eq!(answer["content"], json!([{"type": "text", "text": "I cannot.", "citations": null}]));
}

#[test]
fn case_a77_cached_and_written_tokens_are_taken_out_of_the_prompt() {
    let reported = json!({"prompt_tokens": 60, "completion_tokens": 9, "total_tokens": 69,
        "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20}, "completion_tokens_details": {"reasoning_tokens": 4}});
    let expected = json!({"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 0}, "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4}, "server_tool_use": null, "service_tier": "standard"});
    let chunks = [chunk(json!({"content": "Hi"}), None), chunk(json!({}), Some("stop")), usage(reported.clone())];
    let events = TO.events(&asked(true), &chat_sse(&chunks));
    // Anthropic's accumulator lays the fields of `message_delta` over those of `message_start`.
    let mut gathered = events[0]["message"]["usage"].clone();
    let last = events.iter().find(|event| event["type"] == "message_delta").unwrap();
    for (field, value) in last["usage"].as_object().unwrap() {
        gathered[field] = value.clone();
    }
    // How writes were split is said in whole messages only.
    gathered["cache_creation"] = expected["cache_creation"].clone();
    assert_eq!(gathered, expected);
    let whole = json!({"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "Hi"}}], "usage": reported});
    assert_eq!(TO.answer(&asked(false), &whole)["usage"], expected);
}

#[test]
fn case_a78_usage_that_is_not_reported_is_estimated_for_the_client_and_left_open_for_the_meter() {
    let request = asked(true);
    let chunks = [chunk(json!({"content": "Hello, you."}), None), chunk(json!({}), Some("stop"))];
    let events = TO.events(&request, &chat_sse(&chunks));
    let last = &events[events.len() - 2];
    let input = (request.to_string().len() as u64).div_ceil(4);
    assert_eq!((&last["usage"]["input_tokens"], &last["usage"]["output_tokens"]), (&json!(input), &json!(3)));
    assert_eq!(events.last().unwrap()["type"], "message_stop");

    let mut stream = TO.open(&request);
    stream.push(Bytes::from(chat_sse(&chunks)), &mut Vec::new()).unwrap();
    stream.finish(&mut Vec::new()).unwrap();
    assert_eq!((stream.meter().usage, stream.meter().output_bytes), (None, 11), "the gateway flags it as estimated");
    let whole = json!({"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "Hello, you."}}]});
    assert_eq!(TO.answer(&asked(false), &whole)["usage"]["output_tokens"], 3);
}

#[test]
fn case_a79_arguments_that_were_cut_off_pass_in_a_stream_and_fail_no_answer() {
    let chunks = [calls(&[call(0, Some("c"), Some("f"), "{\"city\":\"Par")]), chunk(json!({}), Some("length")), counted()];
    assert_eq!(
        short(&chunks),
        ["message_start", "start 0 tool_use", "delta 0 \"{\\\"city\\\":\\\"Par\"", "stop 0", "end max_tokens 9", "message_stop"]
    );
    let whole = json!({"choices": [{"index": 0, "finish_reason": "length", "message": {"content": null,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"city\":\"Par"}}]}}]});
    let answer = TO.answer(&asked(false), &whole);
    assert_eq!(answer["stop_reason"], "max_tokens");
    assert_eq!(answer["content"], json!([{"type": "tool_use", "id": "c", "name": "f", "input": {}}]));
}

#[test]
fn case_a80_an_error_in_the_stream_is_an_error_event_or_before_the_first_output_a_status() {
    let error =
        json!({"error": {"message": "Rate limit reached", "type": "tokens", "param": null, "code": "rate_limit_exceeded"}});
    let reply = ErrorReply::new(ErrorKind::UpstreamUnavailable, "upstream_unavailable", "Gone.", "r1");
    let body = r#"{"type":"error","error":{"type":"overloaded_error","message":"Gone. (request id: r1)","tallygate":{"request_id":"r1"}},"request_id":"r1"}"#;
    for error in [
        format!("data: {error}\n\n"),
        format!("event: error\ndata: {}\n\n", error["error"]),
        "data: {\"object\":\"error\",\"message\":\"Rate limit reached\",\"code\":\"rate_limit_exceeded\"}\n\n".to_owned(),
    ] {
        let mut stream = TO.open(&asked(true));
        let mut out = Vec::new();
        let Err(StreamFailure::Upstream(failure)) = stream.push(Bytes::from(error.clone()), &mut out) else {
            panic!("no failure: {error}")
        };
        assert_eq!((failure.class, failure.status), (FailureClass::RateLimited, 429), "{error}");
        assert_eq!(text(&out), "", "nothing is sent, so the status can still say it");

        let mut stream = TO.open(&asked(true));
        let mut out = Vec::new();
        let begun = format!("data: {}\n\n", chunk(json!({"content": "a"}), None));
        let progress = stream.push(Bytes::from(begun), &mut out).unwrap();
        assert_eq!(progress, Progress { content: true, done: false });
        stream.push(Bytes::from(error), &mut out).unwrap_err();
        let before = text(&out).len();
        stream.fail(&reply, &mut out);
        assert_eq!(&text(&out)[before..], format!("event: error\ndata: {body}\n\n"));
        assert!(!text(&out).contains("message_stop"));
    }
    let encoded = encode_error(Dialect::Anthropic, &reply);
    assert_eq!((encoded.status, &encoded.body[..]), (529, body.as_bytes()));

    let cut = format!("data: {}\n\n", chunk(json!({"content": "a"}), None));
    assert_eq!(TO.stream(&asked(true), &cut), Err(StreamFailure::Truncated));
    assert_eq!(TO.stream(&asked(true), "data: [DONE]\n\n"), Err(StreamFailure::Truncated));
}

#[test]
fn case_a81_every_frame_has_an_event_line_that_says_the_type_of_its_data() {
    let chunks = [
        chunk(json!({"reasoning_content": "hm"}), None),
        chunk(json!({"content": "Hi"}), None),
        calls(&[call(0, Some("c"), Some("f"), "{}")]),
        chunk(json!({}), Some("tool_calls")),
        counted(),
    ];
    let stream = TO.once(&asked(true), &chat_sse(&chunks));
    let frames: Vec<&str> = stream.split_terminator("\n\n").collect();
    assert_eq!(frames.len(), 13);
    for frame in frames {
        let (name, data) = frame.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name, format!("event: {}", data["type"].as_str().unwrap()));
    }
}

#[test]
fn what_compatible_servers_leave_out_or_set_to_null_does_no_harm() {
    let chunks = [
        json!({"id": null, "model": null, "object": "chat.completion.chunk", "choices": null, "usage": null}),
        json!({"choices": [{"index": null, "delta": {"role": null, "content": null, "tool_calls": null}, "finish_reason": ""}]}),
        json!({"choices": [{"delta": {"content": "Hi"}, "logprobs": null, "finish_reason": null}], "obfuscation": "xxxx"}),
        json!({"choices": [{"delta": null, "finish_reason": "eos"}], "usage": {"prompt_tokens": 7, "completion_tokens": 9}}),
    ];
    assert_eq!(short(&chunks), ["message_start", "start 0 text", "delta 0 \"Hi\"", "stop 0", "end end_turn 9", "message_stop"]);
}

#[test]
fn an_answer_has_every_field_of_the_message() {
    let upstream = json!({"id": "chatcmpl-7", "model": "m", "choices": [{"index": 0, "finish_reason": "stop",
        "message": {"content": "Hi", "refusal": null}}], "usage": {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}});
    assert_eq!(
        TO.answer(&asked(false), &upstream),
        json!({"id": "msg_7", "type": "message", "role": "assistant", "model": "smart",
            "content": [{"type": "text", "text": "Hi", "citations": null}],
            "stop_reason": "end_turn", "stop_sequence": null, "stop_details": null, "container": null, "diagnostics": null,
            "usage": {"input_tokens": 7, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, "output_tokens": 9,
                "output_tokens_details": {"thinking_tokens": 0}, "server_tool_use": null, "service_tier": "standard"}})
    );
}
