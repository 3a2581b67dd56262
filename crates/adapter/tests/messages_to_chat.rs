//! A Messages client before an OpenAI Chat Completions upstream.

mod common;

use std::fmt::Write as _;

use common::{To, text};
use serde_json::{Value, json};
use tallygate_adapter::{ErrorKind, ErrorReply, StreamFailure};
use tallygate_types::Dialect;

const TO: To<'_> = to("gpt-4o");

const fn to(model: &str) -> To<'_> {
    To { client: Dialect::Anthropic, upstream: Dialect::OpenaiChat, model, strict: false }
}

fn with(fields: Value) -> Value {
    let mut body = json!({"model": "smart", "max_tokens": 100, "messages": [{"role": "user", "content": "x"}]});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn messages(messages: Value) -> Value {
    TO.body(&with(json!({ "messages": messages })))["messages"].clone()
}

#[test]
fn the_smallest_request() {
    let outgoing = TO.prepare(&with(json!({"stream": true}))).unwrap();
    assert_eq!(outgoing.path, "/v1/chat/completions");
    assert_eq!(
        outgoing.body,
        &br#"{"model":"gpt-4o","messages":[{"role":"user","content":"x"}],"max_completion_tokens":100,"stream":true,"stream_options":{"include_usage":true}}"#[..]
    );
    assert_eq!(to("qwen3").body(&with(json!({})))["max_tokens"], 100);
    assert_eq!(TO.refusal(&with(json!({"max_tokens": 0}))).0.as_deref(), Some("max_tokens"));
}

#[test]
fn the_billing_header_of_agents_is_left_out() {
    let system = json!([{"type": "text", "text": "x-anthropic-billing-header: cch=1"}, {"type": "text", "text": "Be kind."}]);
    assert_eq!(TO.body(&with(json!({ "system": system })))["messages"][0], json!({"role": "system", "content": "Be kind."}));
}

#[test]
fn results_come_first_as_tool_messages_and_their_media_after() {
    let turns = json!([{"role": "user", "content": "x"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "text", "text": "ok"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}, {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}}]},
        {"role": "user", "content": [{"type": "text", "text": "and"},
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "bad", "is_error": true},
            {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]}]}]);
    assert_eq!(
        messages(turns.clone()),
        json!([{"role": "user", "content": "x"},
            {"role": "assistant", "content": "ok", "tool_calls": [
                {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}},
                {"id": "toolu_2", "type": "function", "function": {"name": "g", "arguments": "{}"}}]},
            {"role": "tool", "content": "Error: bad", "tool_call_id": "toolu_1"},
            {"role": "tool", "content": "[attachment 1 of tool call toolu_2 follows]", "tool_call_id": "toolu_2"},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, {"type": "text", "text": "and"}]}])
    );
    assert_eq!(
        TO.loss(&with(json!({ "messages": turns }))),
        "dropped=messages[1].reasoning; approximated=messages[2].is_error,messages[2].tool_result"
    );
}

#[test]
fn long_names_are_bent_and_straightened_in_the_answer() {
    let name = "x".repeat(90);
    let request = with(
        json!({"tools": [{"name": name, "input_schema": {"type": "object"}}], "tool_choice": {"type": "tool", "name": name}}),
    );
    let body = TO.body(&request);
    let sent = body["tools"][0]["function"]["name"].as_str().unwrap();
    assert_eq!((sent.len(), &body["tool_choice"]["function"]["name"]), (64, &json!(sent)));
    let answer = TO.answer(
        &request,
        &json!({"id": "chatcmpl-1", "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": null,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": sent, "arguments": "{\"a\": 1}"}}]}}]}),
    );
    assert_eq!(answer["content"], json!([{"type": "tool_use", "id": "call_1", "name": name, "input": {"a": 1}}]));
    assert_eq!(answer["stop_reason"], "tool_use");
}

#[test]
fn requirements_that_only_anthropic_can_meet_are_refused() {
    for (field, value) in [("inference_geo", json!("us")), ("container", json!("c")), ("mcp_servers", json!([{"type": "url"}]))] {
        assert_eq!(TO.refusal(&with(json!({ field: value }))).0.as_deref(), Some(field));
    }
    assert_eq!(
        TO.refusal(&with(json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}))).0.as_deref(),
        Some("tools[0]")
    );
    assert_eq!(
        TO.loss(&with(json!({"mcp_servers": [], "context_management": {}, "top_k": 3}))),
        "dropped=mcp_servers,context_management,top_k"
    );
}

#[test]
fn thinking_becomes_effort_where_the_model_reasons() {
    let effort =
        |model: &'static str, fields: Value| to(model).body(&with(fields)).get("reasoning_effort").cloned().unwrap_or_default();
    let budget = |tokens: u64| json!({"thinking": {"type": "enabled", "budget_tokens": tokens}});
    assert_eq!(effort("gpt-5.1", budget(2000)), "low");
    assert_eq!(effort("gpt-5.1", budget(20_000)), "high");
    assert_eq!(effort("gpt-5.1", json!({"thinking": {"type": "disabled"}})), "none");
    assert_eq!(effort("gpt-6-astra", json!({"thinking": {"type": "disabled"}})), "low");
    assert_eq!(effort("gpt-5.2", json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}})), "xhigh");
    assert_eq!(effort("gpt-4o", budget(2000)), Value::Null);
    let tools = json!({"tools": [{"name": "f", "input_schema": {"type": "object"}}]});
    assert_eq!(effort("gpt-5.6", tools.clone()), "none");
    assert_eq!(to("gpt-6-astra").refusal(&with(tools)).0.as_deref(), Some("tools"));
}

#[test]
fn a_schema_is_strict_only_if_it_says_so_itself() {
    let format = |schema: Value| {
        TO.body(&with(json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}})))["response_format"]["json_schema"].clone()
    };
    let open = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": [], "additionalProperties": false});
    assert_eq!(format(open.clone()), json!({"name": "response", "schema": open, "strict": false}));
    let closed =
        json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    assert_eq!(format(closed)["strict"], true);
}

#[test]
fn an_answer_has_every_field_of_the_message() {
    let answer = TO.answer(
        &with(json!({})),
        &json!({"id": "chatcmpl-7", "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "Hi", "refusal": null}}],
            "usage": {"prompt_tokens": 60, "completion_tokens": 9, "total_tokens": 69, "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20}}}),
    );
    assert_eq!(
        answer,
        json!({"id": "msg_7", "type": "message", "role": "assistant", "model": "smart", "content": [{"type": "text", "text": "Hi", "citations": null}],
            "stop_reason": "end_turn", "stop_sequence": null, "stop_details": null, "container": null, "diagnostics": null,
            "usage": {"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30,
                "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 0}, "output_tokens": 9,
                "output_tokens_details": {"thinking_tokens": 0}, "server_tool_use": null, "service_tier": "standard"}})
    );
    let refused =
        TO.answer(&with(json!({})), &json!({"choices": [{"index": 0, "finish_reason": "stop", "message": {"refusal": "No."}}]}));
    assert_eq!(refused["stop_details"], json!({"type": "refusal", "category": null, "explanation": "No."}));
}

/// Data lines of a chat stream, each with its blank line.
fn chunks(choices: &[Value], tail: &[Value]) -> String {
    let mut text = String::new();
    for choice in choices {
        let mut choice = choice.clone();
        choice["index"] = 0.into();
        write!(text, "data: {}\n\n", json!({"id": "chatcmpl-1", "model": "m", "choices": [choice]})).unwrap();
    }
    for chunk in tail {
        write!(text, "data: {chunk}\n\n").unwrap();
    }
    text + "data: [DONE]\n\n"
}

/// `event` and a short form of each event of a Messages stream.
fn events(stream: &str) -> Vec<String> {
    stream
        .split("\n\n")
        .filter(|frame| !frame.is_empty())
        .map(|frame| {
            let (name, data) = frame.split_once('\n').unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(name, format!("event: {}", data["type"].as_str().unwrap()));
            match data["type"].as_str().unwrap() {
                "content_block_start" => format!("start {} {}", data["index"], data["content_block"]["type"].as_str().unwrap()),
                "content_block_delta" => {
                    let delta = data["delta"].as_object().unwrap();
                    format!("delta {} {}", data["index"], delta.values().nth(1).unwrap())
                }
                "content_block_stop" => format!("stop {}", data["index"]),
                "message_delta" => {
                    format!("end {} {}", data["delta"]["stop_reason"].as_str().unwrap(), data["usage"]["output_tokens"])
                }
                other => other.to_owned(),
            }
        })
        .collect()
}

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
    json!({"delta": {"tool_calls": list}, "finish_reason": null})
}

const STREAMING: fn() -> Value = || with(json!({"stream": true}));

#[test]
fn a_stream_of_text_and_calls() {
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 60, "completion_tokens": 9, "total_tokens": 69}});
    let upstream = chunks(
        &[
            json!({"delta": {"role": "assistant", "content": ""}}),
            json!({"delta": {"reasoning_content": "hm"}}),
            json!({"delta": {"content": "Hi"}}),
            calls(&[call(0, Some("call_1"), Some("a"), "")]),
            calls(&[call(0, None, None, "{\"x\":1}")]),
            calls(&[call(1, Some("call_2"), Some("b"), "")]),
            json!({"delta": {}, "finish_reason": "tool_calls"}),
        ],
        &[usage],
    );
    assert_eq!(
        events(&TO.stream(&STREAMING(), &upstream).unwrap()),
        [
            "message_start",
            "start 0 thinking",
            "delta 0 \"hm\"",
            "delta 0 \"tg1:none\"",
            "stop 0",
            "start 1 text",
            "delta 1 \"Hi\"",
            "stop 1",
            "start 2 tool_use",
            "delta 2 \"{\\\"x\\\":1}\"",
            "stop 2",
            "start 3 tool_use",
            "stop 3",
            "end tool_use 9",
            "message_stop"
        ]
    );
}

#[test]
fn interleaved_fragments_become_blocks_one_after_the_other() {
    let upstream = chunks(
        &[
            calls(&[call(0, Some("c1"), Some("a"), "{\"x\""), call(1, Some("c2"), Some("b"), "{\"y\"")]),
            calls(&[call(0, None, None, ":1}"), call(1, None, None, ":2}")]),
            json!({"delta": {}, "finish_reason": "tool_calls"}),
        ],
        &[],
    );
    assert_eq!(
        events(&TO.stream(&STREAMING(), &upstream).unwrap()),
        [
            "message_start",
            "start 0 tool_use",
            "delta 0 \"{\\\"x\\\"\"",
            "delta 0 \":1}\"",
            "stop 0",
            "start 1 tool_use",
            "delta 1 \"{\\\"y\\\":2}\"",
            "stop 1",
            "end tool_use 0",
            "message_stop"
        ]
    );
}

#[test]
fn repeated_ids_are_one_call_and_different_ids_under_one_index_are_two() {
    let repeated = chunks(
        &[
            calls(&[call(0, Some("c1"), Some("a"), "{")]),
            calls(&[call(0, Some("c1"), Some("a"), "}")]),
            calls(&[call(0, Some("c2"), Some("a"), "{}")]),
            json!({"delta": {"content": "after"}, "finish_reason": "stop"}),
        ],
        &[],
    );
    assert_eq!(
        events(&TO.stream(&STREAMING(), &repeated).unwrap()),
        [
            "message_start",
            "start 0 tool_use",
            "delta 0 \"{\"",
            "delta 0 \"}\"",
            "stop 0",
            "start 1 tool_use",
            "delta 1 \"{}\"",
            "stop 1",
            "start 2 text",
            "delta 2 \"after\"",
            "stop 2",
            "end tool_use 0",
            "message_stop"
        ]
    );
}

#[test]
fn everything_in_one_chunk_loses_nothing() {
    let upstream = chunks(
        &[
            json!({"delta": {"role": "assistant", "content": "a", "tool_calls": [call(0, Some("c"), Some("f"), "{}")]}, "finish_reason": "tool_calls"}),
        ],
        &[],
    );
    assert_eq!(
        events(&TO.stream(&STREAMING(), &upstream).unwrap()),
        [
            "message_start",
            "start 0 text",
            "delta 0 \"a\"",
            "stop 0",
            "start 1 tool_use",
            "delta 1 \"{}\"",
            "stop 1",
            "end tool_use 0",
            "message_stop"
        ]
    );
}

#[test]
fn an_empty_answer_is_a_message_without_blocks() {
    let upstream =
        chunks(&[json!({"delta": {"role": "assistant", "content": ""}}), json!({"delta": {}, "finish_reason": "stop"})], &[]);
    assert_eq!(events(&TO.stream(&STREAMING(), &upstream).unwrap()), ["message_start", "end end_turn 0", "message_stop"]);
}

#[test]
fn a_refusal_is_text_and_says_why() {
    let upstream = chunks(&[json!({"delta": {"refusal": "No."}}), json!({"delta": {}, "finish_reason": "stop"})], &[]);
    let stream = TO.stream(&STREAMING(), &upstream).unwrap();
    assert!(stream.contains(r#""delta":{"type":"text_delta","text":"No."}"#), "{stream}");
    assert!(stream.contains(r#""stop_details":{"type":"refusal","category":null,"explanation":"No."}"#), "{stream}");
}

#[test]
fn an_error_chunk_and_a_cut_are_failures() {
    let error = "data: {\"error\":{\"message\":\"Rate limit reached\",\"type\":\"tokens\",\"code\":\"rate_limit_exceeded\"}}\n\n";
    let Err(StreamFailure::Upstream(failure)) = TO.stream(&STREAMING(), error) else { panic!("no failure") };
    assert_eq!((failure.status, failure.code.as_deref()), (429, Some("rate_limit_exceeded")));
    assert_eq!(
        TO.stream(&STREAMING(), "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"),
        Err(StreamFailure::Truncated)
    );
    assert_eq!(TO.stream(&STREAMING(), ""), Err(StreamFailure::Truncated));
    let mut stream = TO.open(&STREAMING());
    let mut out = Vec::new();
    stream.fail(&ErrorReply::new(ErrorKind::UpstreamTimeout, "upstream_timeout", "Slow.", "r"), &mut out);
    assert_eq!(
        text(&out),
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"timeout_error\",\"message\":\"Slow. (request id: r)\",\"tallygate\":{\"request_id\":\"r\"}},\"request_id\":\"r\"}\n\n"
    );
}
