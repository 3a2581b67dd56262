//! A Chat Completions client before an Anthropic upstream.

mod common;

use common::{To, text};
use serde_json::{Value, json};
use tallygate_adapter::{ErrorKind, ErrorReply, StreamFailure};
use tallygate_types::Dialect;

const TO: To<'_> = to("claude-haiku-4-5");

const fn to(model: &str) -> To<'_> {
    To { client: Dialect::OpenaiChat, upstream: Dialect::Anthropic, model, strict: false }
}

const fn strict(model: &str) -> To<'_> {
    To { strict: true, ..to(model) }
}

fn chat(messages: Value) -> Value {
    json!({"model": "smart", "max_tokens": 100, "messages": messages})
}

fn with(fields: Value) -> Value {
    let mut body = chat(json!([{"role": "user", "content": "x"}]));
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn weather() -> Value {
    json!([{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}])
}

#[test]
fn the_smallest_request() {
    let outgoing = TO.prepare(&chat(json!([{"role": "user", "content": "Hi"}]))).unwrap();
    assert_eq!(outgoing.path, "/v1/messages");
    assert_eq!(outgoing.headers, [("anthropic-version", "2023-06-01".to_owned())]);
    assert_eq!(
        outgoing.body,
        &br#"{"model":"claude-haiku-4-5","max_tokens":100,"messages":[{"role":"user","content":"Hi"}]}"#[..]
    );
    assert_eq!(outgoing.loss.to_string(), "");
}

#[test]
fn leading_system_text_keeps_its_blocks_and_empty_text_is_left_out() {
    let body = TO.body(&chat(
        json!([{"role": "system", "content": "a"}, {"role": "developer", "content": "b"}, {"role": "user", "content": "x"}]),
    ));
    assert_eq!(body["system"], json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]));
    assert_eq!(TO.body(&chat(json!([{"role": "system", "content": ""}, {"role": "user", "content": "x"}]))).get("system"), None);
}

#[test]
fn a_later_system_message_becomes_user_text_or_stays_where_the_model_knows_it() {
    let body =
        chat(json!([{"role": "user", "content": "a"}, {"role": "system", "content": "s"}, {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"}]));
    assert_eq!(
        TO.body(&body)["messages"][0]["content"],
        json!([{"type": "text", "text": "a"}, {"type": "text", "text": "[system instruction] s"}])
    );
    assert_eq!(to("claude-opus-4-8").body(&body)["messages"][1], json!({"role": "system", "content": "s"}));
}

#[test]
fn tool_results_open_one_user_turn_in_order() {
    let body = TO.body(&json!({"model": "smart", "max_tokens": 9, "tools": weather(), "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": "call_a", "type": "function", "function": {"name": "get_weather", "arguments": ""}},
            {"id": "functions.Bash:0", "type": "function", "function": {"name": "get_weather", "arguments": "[1]"}}]},
        {"role": "tool", "tool_call_id": "call_a", "content": "1"},
        {"role": "tool", "tool_call_id": "functions.Bash:0", "content": ""},
        {"role": "user", "content": "and?"}]}));
    let bent = body["messages"][1]["content"][1]["id"].as_str().unwrap().to_owned();
    assert!(bent.starts_with("functions_Bash_0_"), "{bent}");
    assert_eq!(
        body["messages"],
        json!([{"role": "user", "content": "x"},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "call_a", "name": "get_weather", "input": {}},
                {"type": "tool_use", "id": bent, "name": "get_weather", "input": {"value": [1]}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "call_a", "content": "1"},
                {"type": "tool_result", "tool_use_id": bent, "content": ""},
                {"type": "text", "text": "and?"}]}])
    );
}

#[test]
fn an_unanswered_call_gets_a_result_that_says_so() {
    let body = json!({"model": "smart", "max_tokens": 9, "tools": weather(), "messages": [{"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}]},
        {"role": "user", "content": "go on"}]});
    assert_eq!(
        TO.body(&body)["messages"][2]["content"],
        json!([{"type": "tool_result", "tool_use_id": "a", "content": "(no result)", "is_error": true}, {"type": "text", "text": "go on"}])
    );
    assert_eq!(TO.loss(&body), "approximated=messages");
    assert_eq!(strict("claude-haiku-4-5").refusal(&body).0.as_deref(), Some("messages"));
}

#[test]
fn a_history_with_calls_and_no_tools_gets_the_tools_it_called() {
    let body = TO.body(&chat(json!([{"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "1"}])));
    assert_eq!(
        (&body["tools"], &body["tool_choice"]),
        (&json!([{"name": "f", "input_schema": {"type": "object"}}]), &json!({"type": "none"}))
    );
}

#[test]
fn empty_messages_are_left_out_or_refused() {
    let body =
        chat(json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": null}, {"role": "user", "content": "b"}]));
    assert_eq!(
        TO.body(&body)["messages"],
        json!([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}])
    );
    assert_eq!(TO.refusal(&chat(json!([{"role": "user", "content": ""}]))).0.as_deref(), Some("messages[0].content"));
}

#[test]
fn tools_and_their_choice() {
    let body = TO.body(&with(json!({"tools": [{"type": "function", "function": {"name": "now"}}], "tool_choice": "required", "parallel_tool_calls": false})));
    assert_eq!(body["tools"], json!([{"name": "now", "input_schema": {"type": "object", "properties": {}}}]));
    assert_eq!(body["tool_choice"], json!({"type": "any", "disable_parallel_tool_use": true}));
    let choice = |fields: Value| {
        let mut fields = fields;
        fields["tools"] = weather();
        TO.body(&with(fields))["tool_choice"].clone()
    };
    assert_eq!(choice(json!({"parallel_tool_calls": false})), json!({"type": "auto", "disable_parallel_tool_use": true}));
    assert_eq!(choice(json!({"tool_choice": "none", "parallel_tool_calls": false})), json!({"type": "none"}));
    assert_eq!(
        choice(json!({"tool_choice": {"type": "function", "function": {"name": "get_weather"}}})),
        json!({"type": "tool", "name": "get_weather"})
    );
    let without = TO.body(&with(json!({"tool_choice": "auto", "parallel_tool_calls": false})));
    assert_eq!((without.get("tools"), without.get("tool_choice")), (None, None));
}

#[test]
fn a_forced_tool_on_a_model_that_refuses_it_becomes_the_only_one() {
    let two = json!([{"type": "function", "function": {"name": "a"}}, {"type": "function", "function": {"name": "b"}}]);
    let forced = with(json!({"tools": two, "tool_choice": {"type": "function", "function": {"name": "b"}}}));
    let body = to("claude-opus-5-5").body(&forced);
    assert_eq!((body["tools"].as_array().unwrap().len(), &body["tool_choice"]), (1, &json!({"type": "auto"})));
    assert_eq!(strict("claude-opus-5-5").refusal(&forced).0.as_deref(), Some("tool_choice"));
}

#[test]
fn caps_sampling_and_stops_follow_the_model() {
    assert_eq!(TO.body(&json!({"model": "smart", "messages": [{"role": "user", "content": "x"}]}))["max_tokens"], 32_000);
    assert_eq!(TO.body(&with(json!({"max_completion_tokens": 7})))["max_tokens"], 7);
    assert_eq!(TO.refusal(&with(json!({"max_completion_tokens": 0}))).0.as_deref(), Some("max_completion_tokens"));
    assert_eq!(TO.body(&with(json!({"max_completion_tokens": 999_999})))["max_tokens"], 64_000);
    assert_eq!(TO.body(&with(json!({"temperature": 1.4})))["temperature"], 1.0);
    let both = TO.body(&with(json!({"temperature": 0.5, "top_p": 0.9})));
    assert_eq!((&both["temperature"], both.get("top_p")), (&json!(0.5), None));
    assert_eq!(to("claude-opus-4-7").loss(&with(json!({"temperature": 0.5}))), "dropped=temperature");
    assert_eq!(TO.body(&with(json!({"stop": ["\n", "END"]})))["stop_sequences"], json!(["END"]));
    assert_eq!(TO.body(&with(json!({"stop": "X"})))["stop_sequences"], json!(["X"]));
}

#[test]
fn what_cannot_be_said_is_named_and_defaults_are_not() {
    assert_eq!(
        TO.loss(&with(json!({"seed": 7, "logit_bias": {}, "frequency_penalty": 0, "logprobs": true, "n": 1}))),
        "dropped=seed,logprobs"
    );
    assert_eq!(TO.refusal(&with(json!({"n": 2}))).0.as_deref(), Some("n"));
    assert_eq!(strict("claude-haiku-4-5").refusal(&with(json!({"logprobs": true}))).0.as_deref(), Some("logprobs"));
    assert_eq!(TO.body(&with(json!({"user": "bob@example.com"})))["metadata"]["user_id"].as_str().unwrap().len(), 64);
}

#[test]
fn effort_becomes_what_the_model_takes() {
    let effort = |model: &'static str, word: &str, cap: u64| {
        let body = to(model).body(&with(json!({"reasoning_effort": word, "max_completion_tokens": cap})));
        (body.get("thinking").cloned().unwrap_or_default(), body["output_config"]["effort"].clone())
    };
    assert_eq!(effort("claude-opus-5", "high", 9000), (json!({"type": "adaptive"}), "high".into()));
    assert_eq!(effort("claude-haiku-4-5", "high", 4096), (json!({"type": "enabled", "budget_tokens": 4095}), Value::Null));
    assert_eq!(effort("claude-sonnet-5-5", "none", 9000), (json!({"type": "between_tools"}), "low".into()));
    assert_eq!(effort("claude-fable-5-1", "none", 9000), (Value::Null, "low".into()));
    assert_eq!(effort("claude-opus-4-6", "xhigh", 9000), (json!({"type": "adaptive"}), "high".into()));
}

#[test]
fn structured_output_uses_the_native_field() {
    let body = TO.body(&with(json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema":
        {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}}}})));
    assert_eq!(
        body["output_config"],
        json!({"format": {"type": "json_schema", "schema": {"type": "object", "properties": {"a": {"type": "integer", "description": "{minimum: 1}"}}, "additionalProperties": false}}})
    );
    let mode = TO.body(&with(json!({"response_format": {"type": "json_object"}})));
    assert_eq!(mode["system"], "Answer with one JSON object only, without any text around it.");
}

#[test]
fn media_parts() {
    let body = chat(json!([{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;charset=utf-8;base64,iVBORw0KGgoAAAANSUhEUg=="}},
        {"type": "image_url", "image_url": {"url": "https://e.com/a.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjQKJcOkw7w="}}]}]));
    assert_eq!(
        TO.body(&body)["messages"][0]["content"],
        json!([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgoAAAANSUhEUg=="}},
            {"type": "image", "source": {"type": "url", "url": "https://e.com/a.png"}},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQKJcOkw7w="}, "title": "a.pdf"}])
    );
    for part in [
        json!({"type": "image_url", "image_url": {"url": "data:image/svg+xml;base64,AAAA"}}),
        json!({"type": "file", "file": {"file_id": "file-1"}}),
        json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
    ] {
        assert_eq!(TO.refusal(&chat(json!([{"role": "user", "content": [part]}]))).0.as_deref(), Some("messages[0]"));
    }
}

#[test]
fn cache_breakpoints_are_four_and_an_hour_stands_before_five_minutes() {
    let part = |ttl: &str| json!({"type": "text", "text": "t", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": ttl}});
    let body =
        TO.body(&chat(json!([{"role": "user", "content": [part("30m"), part("30m"), part("12h"), part("30m"), part("30m")]}])));
    let ttls: Vec<Option<&Value>> =
        body["messages"][0]["content"].as_array().unwrap().iter().map(|block| block.get("cache_control")).collect();
    let short = json!({"type": "ephemeral"});
    assert_eq!(ttls, [None, Some(&short), Some(&short), Some(&short), Some(&short)]);
}

#[test]
fn one_turn_more_leaves_the_prefix_byte_for_byte() {
    let mut messages = json!([{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b",
        "thinking_blocks": [{"type": "thinking", "thinking": "t", "signature": "sig"}]}, {"role": "user", "content": "c"}]);
    let before = TO.body(&chat(messages.clone()))["messages"].to_string();
    messages
        .as_array_mut()
        .unwrap()
        .extend([json!({"role": "assistant", "content": "d"}), json!({"role": "user", "content": "e"})]);
    let after = TO.body(&chat(messages))["messages"].to_string();
    assert!(after.starts_with(before.trim_end_matches(']')), "{before}\n{after}");
    assert!(before.contains(r#"{"type":"thinking","thinking":"t","signature":"sig"}"#));
}

#[test]
fn an_answer_joins_text_and_counts_the_cache_as_input() {
    let answer = TO.answer(&with(json!({})), &json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "tool_use",
        "stop_sequence": null, "content": [{"type": "text", "text": "a"}, {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "text", "text": "b"}, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}}],
        "usage": {"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30, "output_tokens": 5,
            "output_tokens_details": {"thinking_tokens": 3}}}));
    assert_eq!(
        answer,
        json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "smart", "choices": [{"index": 0,
            "message": {"role": "assistant", "content": "ab", "refusal": null, "tool_calls": [{"id": "toolu_1", "type": "function",
                "function": {"name": "f", "arguments": "{\"x\":1}"}}]}, "logprobs": null, "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 60, "completion_tokens": 5, "total_tokens": 65,
                "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20}, "completion_tokens_details": {"reasoning_tokens": 3}}})
    );
}

const STREAM: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"c\",\"usage\":{\"input_tokens\":12,\"cache_read_input_tokens\":100,\"output_tokens\":1}}}\n\n\
event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}   \n\n\
event: ping\ndata: {\"type\":\"ping\"}\n\n\
event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Lét me\"}}\n\n\
event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_A\",\"name\":\"get_weather\",\"input\":{}}}\n\n\
event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\"}}\n\n\
event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"city\\\":1}\"}}\n\n\
event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n\
event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_B\",\"name\":\"now\",\"input\":{}}}\n\n\
event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":2}\n\n\
event: later\ndata: {\"type\":\"later\"}\n\n\
event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":40,\"output_tokens_details\":{\"thinking_tokens\":15}}}\n\n\
event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

#[test]
fn a_stream_says_role_ids_and_names_once_and_usage_last() {
    let request = with(json!({"stream": true, "stream_options": {"include_usage": true}}));
    let head = r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"smart","choices":[{"index":0,"delta":"#;
    let chunk = |delta: &str, finish: &str| format!("{head}{delta},\"finish_reason\":{finish}}}],\"usage\":null}}\n\n");
    let expected = [
        ": ping\n\n".to_owned(),
        chunk(r#"{"role":"assistant","content":""}"#, "null"),
        chunk(r#"{"content":"Lét me"}"#, "null"),
        chunk(r#"{"tool_calls":[{"index":0,"id":"toolu_A","type":"function","function":{"name":"get_weather","arguments":""}}]}"#, "null"),
        chunk(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":1}"}}]}"#, "null"),
        chunk(r#"{"tool_calls":[{"index":1,"id":"toolu_B","type":"function","function":{"name":"now","arguments":""}}]}"#, "null"),
        chunk(r#"{"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]}"#, "null"),
        chunk("{}", "\"tool_calls\""),
        r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"smart","choices":[],"usage":{"prompt_tokens":112,"completion_tokens":40,"total_tokens":152,"prompt_tokens_details":{"cached_tokens":100,"cache_write_tokens":0},"completion_tokens_details":{"reasoning_tokens":15}}}"#.to_owned() + "\n\n",
        "data: [DONE]\n\n".to_owned(),
    ];
    assert_eq!(TO.stream(&request, STREAM).unwrap(), expected.concat());
    let silent = TO.stream(&with(json!({"stream": true})), STREAM).unwrap();
    assert!(!silent.contains("usage"), "{silent}");
}

#[test]
fn a_cut_stream_fails_and_its_error_has_no_done() {
    let request = with(json!({"stream": true}));
    let cut = &STREAM[..STREAM.find("event: message_delta").unwrap()];
    assert_eq!(TO.stream(&request, cut), Err(StreamFailure::Truncated));
    let mut stream = TO.open(&request);
    let mut out = Vec::new();
    let progress = stream.push(cut.to_owned().into(), &mut out).unwrap();
    assert_eq!((progress.content, progress.done), (true, false));
    out.clear();
    stream.fail(&ErrorReply::new(ErrorKind::UpstreamInvalid, "upstream_invalid", "Cut.", "r"), &mut out);
    assert_eq!(
        text(&out),
        "data: {\"error\":{\"message\":\"Cut. (request id: r)\",\"type\":\"server_error\",\"param\":null,\"code\":\"upstream_invalid\",\"tallygate\":{\"request_id\":\"r\"}}}\n\n"
    );
    // Without `message_stop` but with a stop reason it is an end.
    let ended = &STREAM[..STREAM.find("event: message_stop").unwrap()];
    assert!(TO.stream(&request, ended).unwrap().ends_with("data: [DONE]\n\n"));
}

#[test]
fn an_error_as_the_first_event_shows_nothing_to_the_client() {
    let mut stream = TO.open(&with(json!({"stream": true})));
    let mut out = Vec::new();
    let event =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let Err(StreamFailure::Upstream(failure)) = stream.push(event.into(), &mut out) else { panic!("no failure") };
    assert_eq!((failure.status, failure.class, out.len()), (529, tallygate_adapter::FailureClass::Overloaded, 0));
}

#[test]
fn a_choice_of_schemas_is_wrapped_and_the_call_unwrapped() {
    let choice = json!({"anyOf": [{"type": "object", "properties": {"a": {"type": "integer"}}}]});
    let request =
        with(json!({"stream": true, "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": choice}}]}));
    assert_eq!(
        TO.body(&request)["tools"][0]["input_schema"],
        json!({"type": "object", "properties": {"input": choice}, "required": ["input"]})
    );
    assert_eq!(TO.loss(&request), "approximated=tools[0].parameters");
    let upstream = STREAM.replace("{\\\"city\\\":1}", "{\\\"input\\\":{\\\"a\\\":1}}");
    let stream = TO.stream(&request, &upstream).unwrap();
    assert!(stream.contains(r#""function":{"arguments":"{\"a\":1}"}"#), "{stream}");
}

#[test]
fn a_free_text_tool_is_a_function_upstream_and_free_text_again_in_the_answer() {
    let request = with(json!({"stream": true, "tools": [{"type": "custom", "custom": {"name": "get_weather"}}]}));
    assert_eq!(
        TO.body(&request)["tools"][0]["input_schema"],
        json!({"type": "object", "required": ["input"], "properties":
            {"input": {"type": "string", "description": "The whole input of the tool as plain text."}}})
    );
    let upstream = STREAM.replace("{\\\"city\\\":1}", "{\\\"input\\\":\\\"ls\\\"}");
    let stream = TO.stream(&request, &upstream).unwrap();
    assert!(
        stream.contains(r#"{"index":0,"id":"toolu_A","type":"custom","custom":{"name":"get_weather","input":""}}"#),
        "{stream}"
    );
    assert!(stream.contains(r#"{"index":0,"custom":{"input":"ls"}}"#), "{stream}");
}

#[test]
fn the_twenty_first_strict_tool_is_not_strict() {
    let schema = json!({"type": "object", "properties": {}, "additionalProperties": false});
    let tools: Vec<Value> = (0..21)
        .map(|i| json!({"type": "function", "function": {"name": format!("f{i}"), "strict": true, "parameters": schema}}))
        .collect();
    let request = with(json!({ "tools": tools }));
    let body = TO.body(&request);
    assert_eq!((&body["tools"][19]["strict"], body["tools"][20].get("strict")), (&json!(true), None));
    assert_eq!(TO.loss(&request), "dropped=tools[20].strict");
}
