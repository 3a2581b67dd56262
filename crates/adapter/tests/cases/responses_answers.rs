//! Answers and streams to a Responses client, and those of a Responses upstream.

use bytes::Bytes;
use serde_json::{Value, json};
use tallygate_adapter::{ErrorKind, ErrorReply, FailureClass, StreamFailure, decode_error, encode_error};
use tallygate_types::Dialect;

use crate::openai_schema::assert_valid;
use crate::support::{To, anthropic_sse, chat_sse, data, plain_sse, text, to};

const CHAT: To<'_> = to(Dialect::OpenaiResponses, Dialect::OpenaiChat, "qwen3");
const CLAUDE: To<'_> = to(Dialect::OpenaiResponses, Dialect::Anthropic, "claude-haiku-4-5");
const GEMINI: To<'_> = to(Dialect::OpenaiResponses, Dialect::Gemini, "gemini-3.5-flash");
const NATIVE: To<'_> = to(Dialect::OpenaiResponses, Dialect::OpenaiResponses, "gpt-5.5");

fn with(fields: Value) -> Value {
    let mut body = json!({"model": "smart", "input": "x"});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn chunk(delta: Value, finish: Value) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

fn call(index: u32, id: &str, arguments: &str) -> Value {
    let mut call = json!({"index": index, "function": {"arguments": arguments}});
    if !id.is_empty() {
        call["id"] = id.into();
        call["type"] = "function".into();
        call["function"]["name"] = "f".into();
    }
    json!({ "tool_calls": [call] })
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

/// What holds for every stream: numbers without gaps, the order of its first and last events, every event valid.
fn assert_sound(stream: &str) -> Vec<Value> {
    let events = data(stream);
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number, "{event}");
        assert!(stream.contains(&format!("event: {}\ndata: {{\"type\":{}", event["type"].as_str().unwrap(), event["type"])));
        assert_valid("ResponseStreamEvent", event);
    }
    assert_eq!(kinds(&events)[..2], ["response.created", "response.in_progress"]);
    let last = events.last().unwrap();
    assert!(matches!(last["type"].as_str(), Some("response.completed" | "response.incomplete" | "response.failed")), "{last}");
    assert!(!stream.contains("[DONE]"));
    // What was added is done, and stands in the last event where it was.
    for (index, item) in last["response"]["output"].as_array().unwrap().iter().enumerate() {
        let done: Vec<&Value> = events
            .iter()
            .filter(|event| event["type"] == "response.output_item.done" && event["output_index"] == index)
            .collect();
        if last["type"] != "response.failed" {
            assert_eq!(done.len(), 1);
            assert_eq!(done[0]["item"], *item);
        }
    }
    events
}

#[test]
fn case_b62_reasoning_is_an_item_of_its_own_closed_before_the_message() {
    let stream = chat_sse(&[
        chunk(json!({"role": "assistant", "reasoning_content": "Hm"}), Value::Null),
        chunk(json!({"content": "Hi"}), Value::Null),
        chunk(json!({}), json!("stop")),
    ]);
    let events = assert_sound(&CHAT.stream(&with(json!({"stream": true})), &stream).unwrap());
    assert_eq!(
        kinds(&events),
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.done",
            "response.reasoning_summary_part.done",
            "response.output_item.done",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    assert_eq!((&events[7]["output_index"], &events[7]["item"]["type"]), (&json!(0), &json!("reasoning")));
    assert_eq!((&events[8]["output_index"], &events[8]["item"]["type"]), (&json!(1), &json!("message")));
}

#[test]
fn case_b63_empty_content_before_a_call_opens_no_message() {
    let stream = chat_sse(&[
        chunk(json!({"role": "assistant", "content": ""}), Value::Null),
        chunk(call(0, "call_1", ""), Value::Null),
        chunk(call(0, "", "{\"a\":1}"), Value::Null),
        chunk(json!({}), json!("tool_calls")),
    ]);
    let events = assert_sound(&CHAT.stream(&with(json!({"stream": true})), &stream).unwrap());
    assert_eq!(
        events.last().unwrap()["response"]["output"],
        json!([{"id": "fc_019200", "type": "function_call", "status": "completed", "call_id": "call_1", "name": "f", "arguments": "{\"a\":1}"}])
    );
    assert!(kinds(&events).iter().all(|kind| !kind.contains("content_part") && !kind.contains("output_text")));
}

#[test]
fn case_b64_every_stream_is_numbered_and_ends_in_one_terminal_event() {
    let request = with(json!({"stream": true}));
    let streams = [
        (CHAT, chat_sse(&[chunk(json!({"content": "Hi"}), Value::Null), chunk(json!({}), json!("stop"))]), "response.completed"),
        (CHAT, chat_sse(&[chunk(json!({"refusal": "No"}), Value::Null), chunk(json!({}), json!("stop"))]), "response.completed"),
        (CHAT, chat_sse(&[chunk(json!({"content": "Hi"}), json!("content_filter"))]), "response.incomplete"),
        (CHAT, chat_sse(&[chunk(json!({}), json!("stop"))]), "response.completed"),
        (
            CLAUDE,
            anthropic_sse(&[
                json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "c", "content": [],
                    "stop_reason": null, "usage": {"input_tokens": 1, "output_tokens": 0}}}),
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm"}}),
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}}),
                json!({"type": "content_block_stop", "index": 0}),
                json!({"type": "content_block_start", "index": 1, "content_block": {"type": "redacted_thinking", "data": "cmVk"}}),
                json!({"type": "content_block_stop", "index": 1}),
                json!({"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}}),
                json!({"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "Hi"}}),
                json!({"type": "content_block_delta", "index": 2, "delta": {"type": "citations_delta", "citation":
                    {"type": "web_search_result_location", "url": "https://a.org", "title": "A", "cited_text": "Hi", "encrypted_index": "e"}}}),
                json!({"type": "content_block_stop", "index": 2}),
                json!({"type": "message_delta", "delta": {"stop_reason": "max_tokens", "stop_sequence": null}, "usage": {"output_tokens": 3}}),
                json!({"type": "message_stop"}),
            ]),
            "response.incomplete",
        ),
        (
            GEMINI,
            plain_sse(&[
                json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "Hm", "thought": true}, {"text": "Hi"},
                    {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
                    {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "RXFV"}]}, "index": 0, "finishReason": "STOP"}],
                    "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}, "modelVersion": "g"}),
            ]),
            "response.completed",
        ),
    ];
    for (to, upstream, last) in streams {
        let events = assert_sound(&to.stream(&request, &upstream).unwrap());
        assert_eq!(events.last().unwrap()["type"], last);
    }
}

#[test]
fn case_b65_a_call_that_was_cut_is_not_complete_and_neither_is_the_answer() {
    let stream = chat_sse(&[
        chunk(call(0, "call_1", "{\"a\":1}"), Value::Null),
        chunk(call(1, "call_2", "{\"pa"), Value::Null),
        chunk(json!({}), json!("length")),
    ]);
    let events = assert_sound(&CHAT.stream(&with(json!({"stream": true})), &stream).unwrap());
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.incomplete");
    assert_eq!(last["response"]["incomplete_details"], json!({"reason": "max_output_tokens"}));
    assert_eq!(
        last["response"]["output"],
        json!([
            {"id": "fc_019200", "type": "function_call", "status": "completed", "call_id": "call_1", "name": "f", "arguments": "{\"a\":1}"},
            {"id": "fc_019201", "type": "function_call", "status": "incomplete", "call_id": "call_2", "name": "f", "arguments": "{\"pa"}
        ])
    );
    // The first is closed before the second opens.
    let done = events.iter().position(|event| event["type"] == "response.output_item.done" && event["output_index"] == 0);
    let added = events.iter().position(|event| event["type"] == "response.output_item.added" && event["output_index"] == 1);
    assert!(done.unwrap() < added.unwrap());
}

#[test]
fn case_b66_a_stream_that_breaks_ends_in_a_failed_response() {
    let upstream = plain_sse(&[
        chunk(json!({"content": "One"}), Value::Null),
        chunk(json!({"content": " two"}), Value::Null),
        chunk(json!({"content": " three"}), Value::Null),
    ]);
    let mut stream = CHAT.open(&with(json!({"stream": true})));
    let mut out = Vec::new();
    stream.push(Bytes::from(upstream), &mut out).unwrap();
    assert_eq!(stream.finish(&mut out), Err(StreamFailure::Truncated));
    stream.fail(
        &ErrorReply::new(ErrorKind::UpstreamUnavailable, "upstream_unavailable", "The upstream broke off.", "req_1"),
        &mut out,
    );
    let events = assert_sound(&text(&out));
    let last = &events.last().unwrap()["response"];
    assert_eq!(last["status"], "failed");
    assert_eq!(last["error"], json!({"code": "server_error", "message": "The upstream broke off. (request id: req_1)"}));
    assert_eq!(last["output"][0]["status"], "incomplete");
    assert_eq!(last["output"][0]["content"][0]["text"], "One two three");
}

#[test]
fn case_b67_usage_after_the_finish_is_in_the_last_event_with_both_details() {
    let mut usage = chunk(json!({}), Value::Null);
    usage["choices"] = json!([]);
    usage["usage"] = json!({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12});
    let stream = chat_sse(&[chunk(json!({"content": "Hi"}), Value::Null), chunk(json!({}), json!("stop")), usage]);
    let events = assert_sound(&CHAT.stream(&with(json!({"stream": true})), &stream).unwrap());
    assert_eq!(
        events.last().unwrap()["response"]["usage"],
        json!({"input_tokens": 7, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 12})
    );
}

const CHAT_ANSWER: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",
    "message":{"role":"assistant","content":"Hi"}}],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}"#;

#[test]
fn case_b69_nothing_is_stored_and_the_answer_says_so() {
    let answer: Value = serde_json::from_str(CHAT_ANSWER).unwrap();
    for (store, loss) in
        [(json!({}), ""), (json!({"store": null}), ""), (json!({"store": false}), ""), (json!({"store": true}), "dropped=store")]
    {
        let request = with(store);
        let body = CHAT.answer(&request, &answer);
        assert_eq!(body["store"], false);
        assert_valid("Response", &body);
        assert_eq!(CHAT.loss(&request), loss);
    }
}

#[test]
fn case_b78_a_response_that_fails_before_any_output_is_an_error_of_its_status() {
    let upstream = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"model\":\"g\",\"status\":\"in_progress\",\"output\":[]}}\n\n\
        event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":1,\"response\":{\"id\":\"resp_1\",\"status\":\"failed\",\"output\":[],\
        \"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"Rate limit reached. Please try again in 2s.\"}}}\n\n";
    for client in Dialect::ALL {
        let request = match client {
            Dialect::Gemini => json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]}),
            Dialect::OpenaiResponses => with(json!({"stream": true})),
            _ => json!({"model": "smart", "stream": true, "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}),
        };
        let mut stream = to(client, Dialect::OpenaiResponses, "gpt-5.5").open(&request);
        let mut out = Vec::new();
        let failure = stream.push(Bytes::from(upstream), &mut out).unwrap_err();
        let StreamFailure::Upstream(failure) = failure else { panic!("{failure:?}") };
        assert_eq!((failure.status, failure.class), (429, FailureClass::RateLimited), "{client:?}");
        assert_eq!(failure.retry_after, Some(std::time::Duration::from_secs(2)));
    }
}

#[test]
fn case_b82_an_input_that_is_too_long_has_the_code_codex_acts_on() {
    for (dialect, body) in [
        (
            Dialect::Anthropic,
            json!({"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"}}),
        ),
        (
            Dialect::Gemini,
            json!({"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."}}),
        ),
        (
            Dialect::OpenaiChat,
            json!({"error": {"type": "invalid_request_error", "code": "context_length_exceeded", "message": "Too long."}}),
        ),
        (
            Dialect::OpenaiResponses,
            json!({"error": {"type": "invalid_request_error", "code": "context_length_exceeded", "message": "Too long."}}),
        ),
    ] {
        assert_eq!(decode_error(dialect, 400, body.to_string().as_bytes()).class, FailureClass::ContextTooLong, "{dialect:?}");
    }
    let error = ErrorReply::new(ErrorKind::InvalidRequest, "context_length_exceeded", "The input is too long.", "req_1");
    let plain = encode_error(Dialect::OpenaiResponses, &error);
    let body: Value = serde_json::from_slice(&plain.body).unwrap();
    assert_eq!((plain.status, &body["error"]["code"]), (400, &json!("context_length_exceeded")));
    let mut stream = CLAUDE.open(&with(json!({"stream": true})));
    let mut out = Vec::new();
    stream.fail(&error, &mut out);
    assert_eq!(
        data(&text(&out)).last().unwrap()["response"]["error"],
        json!({"code": "context_length_exceeded", "message": "The input is too long. (request id: req_1)"})
    );
}

#[test]
fn case_b86_a_stream_ends_in_the_very_response_the_plain_answer_is() {
    let fields = json!({"instructions": "Be brief.", "tools": [{"type": "function", "name": "f", "strict": false, "parameters": {"type": "object", "properties": {}}},
        {"type": "custom", "name": "edit"}, {"type": "local_shell"}, {"type": "web_search"}], "metadata": {"k": "v"}, "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"verbosity": "low"}, "temperature": 0.5, "max_output_tokens": 50, "prompt_cache_key": "p", "safety_identifier": "s",
        "include": ["reasoning.encrypted_content", "message.output_text.logprobs"], "top_logprobs": 2, "client_metadata": {"a": 1}});
    let logprobs = json!({"content": [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105]}]}], "refusal": null});
    let usage = json!({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12});
    let calls = [
        ("call_1", "f", "{\"a\":1}"),
        ("call_2", "edit", "{\"input\":\"a\\nb\"}"),
        ("call_3", "local_shell", "{\"command\":[\"ls\"]}"),
    ];
    let tool_calls: Vec<Value> = calls
        .iter()
        .map(|(id, name, arguments)| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}))
        .collect();
    let answer = json!({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": usage, "choices": [{"index": 0, "finish_reason": "tool_calls",
        "logprobs": logprobs, "message": {"role": "assistant", "content": "Hi", "reasoning_content": "Hm", "tool_calls": tool_calls}}]});
    let mut chunks = vec![
        chunk(json!({"role": "assistant", "reasoning_content": "Hm"}), Value::Null),
        chunk(json!({"content": "Hi"}), Value::Null),
    ];
    chunks[1]["choices"][0]["logprobs"] = logprobs;
    for (index, (id, name, arguments)) in calls.iter().enumerate() {
        chunks.push(chunk(
            json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]}),
            Value::Null,
        ));
        chunks.push(chunk(json!({"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}), Value::Null));
    }
    chunks.push(chunk(json!({}), json!("tool_calls")));
    let mut last = chunk(json!({}), Value::Null);
    (last["choices"], last["usage"]) = (json!([]), usage);
    chunks.push(last);

    let mut streamed = fields.clone();
    streamed["stream"] = true.into();
    let events = assert_sound(&CHAT.stream(&with(streamed), &chat_sse(&chunks)).unwrap());
    let plain = CHAT.answer(&with(fields), &answer);
    assert_valid("Response", &plain);
    assert_eq!(events.last().unwrap()["response"], plain);
    let kinds: Vec<&Value> = plain["output"].as_array().unwrap().iter().map(|item| &item["type"]).collect();
    assert_eq!(kinds, ["reasoning", "message", "function_call", "custom_tool_call", "local_shell_call"]);
    // It repeats what the client said, not what was sent for it.
    assert_eq!(plain["tools"][2], json!({"type": "local_shell"}));
    assert_eq!(
        (&plain["instructions"], &plain["reasoning"]),
        (&json!("Be brief."), &json!({"effort": "low", "summary": "auto"}))
    );
}

#[test]
fn a_passing_stream_that_breaks_goes_on_with_the_next_number_under_the_same_id() {
    let event =
        |number: u32, rest: &str| format!("event: x\ndata: {{\"type\":\"response.{rest},\"sequence_number\":{number}}}\n\n");
    let upstream = event(
        0,
        "created\",\"response\":{\"id\":\"resp_up\",\"model\":\"gpt-5.5\",\"status\":\"in_progress\",\"output\":[]}",
    ) + &event(
        1,
        "output_text.delta\",\"item_id\":\"i\",\"output_index\":0,\"content_index\":0,\"delta\":\"a \\\"sequence_number\\\":99\",\"logprobs\":[]",
    );
    let error = ErrorReply::new(ErrorKind::UpstreamUnavailable, "upstream_unavailable", "Gone.", "req_1");
    let failed = |tail: &str| {
        let mut stream = NATIVE.open(&with(json!({"stream": true})));
        let mut out = Vec::new();
        let _ = stream.push(Bytes::from(format!("{upstream}{tail}")), &mut out);
        assert_eq!(text(&out), upstream);
        stream.fail(&error, &mut out);
        data(&text(&out)).pop().unwrap()
    };
    let last = failed("");
    assert_eq!((&last["type"], &last["sequence_number"]), (&json!("response.failed"), &json!(2)));
    assert_eq!((&last["response"]["id"], &last["response"]["model"]), (&json!("resp_up"), &json!("gpt-5.5")));
    assert_valid("ResponseStreamEvent", &last);
    // The upstream's own failure does not pass: ours has its number.
    let last = failed(&event(
        2,
        "failed\",\"response\":{\"id\":\"resp_up\",\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"m\"}}",
    ));
    assert_eq!(last["sequence_number"], 2);
}

#[test]
fn stop_sequences_cut_the_text_of_an_upstream_that_knows_none() {
    let response = |text: &str| {
        json!({"id": "resp_1", "model": "g", "status": "completed", "output": [{"type": "message", "id": "msg_1",
        "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": text, "annotations": []}]}],
        "usage": {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12}})
    };
    let event = |fields: Value| {
        let mut event = json!({"item_id": "msg_1", "output_index": 0, "content_index": 0});
        event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        event
    };
    let upstream = plain_sse(&[
        json!({"type": "response.created", "response": {"id": "resp_1", "model": "g", "status": "in_progress", "output": []}}),
        event(json!({"type": "response.output_text.delta", "delta": "one #"})),
        event(json!({"type": "response.output_text.delta", "delta": "## two"})),
        json!({"type": "response.completed", "response": response("one ### two")}),
    ]);
    let to = to(Dialect::Anthropic, Dialect::OpenaiResponses, "gpt-4o");
    let request = |stream: bool| json!({"model": "smart", "stream": stream, "max_tokens": 99, "stop_sequences": ["###"], "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(to.loss(&request(false)), "approximated=stop_sequences");
    let answer = to.answer(&request(false), &response("one ### two"));
    assert_eq!(
        (&answer["content"][0]["text"], &answer["stop_reason"], &answer["stop_sequence"]),
        (&json!("one "), &json!("stop_sequence"), &json!("###"))
    );
    let events = to.events(&request(true), &upstream);
    let texts: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert_eq!(texts, "one ");
    let finish = events.iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!(finish["delta"]["stop_sequence"], "###");
    // What the upstream made in vain is used all the same.
    assert_eq!(finish["usage"]["output_tokens"], 9);
}

/// All events of HTTP streams.
const EVENTS: &str = "response.created response.queued response.in_progress response.completed response.incomplete response.failed error \
    response.output_item.added response.output_item.done response.content_part.added response.content_part.done \
    response.output_text.delta response.output_text.done response.output_text.annotation.added response.refusal.delta response.refusal.done \
    response.function_call_arguments.delta response.function_call_arguments.done response.custom_tool_call_input.delta \
    response.custom_tool_call_input.done response.reasoning_summary_part.added response.reasoning_summary_part.done \
    response.reasoning_summary_text.delta response.reasoning_summary_text.done response.reasoning_text.delta response.reasoning_text.done \
    response.web_search_call.in_progress response.web_search_call.searching response.web_search_call.completed \
    response.file_search_call.in_progress response.file_search_call.searching response.file_search_call.completed \
    response.code_interpreter_call.in_progress response.code_interpreter_call.interpreting response.code_interpreter_call.completed \
    response.code_interpreter_call_code.delta response.code_interpreter_call_code.done response.image_generation_call.in_progress \
    response.image_generation_call.generating response.image_generation_call.partial_image response.image_generation_call.completed \
    response.mcp_call.in_progress response.mcp_call.completed response.mcp_call.failed response.mcp_call_arguments.delta \
    response.mcp_call_arguments.done response.mcp_list_tools.in_progress response.mcp_list_tools.completed response.mcp_list_tools.failed \
    response.shell_call_command.added response.shell_call_command.delta response.shell_call_command.done \
    response.shell_call_output_content.delta response.shell_call_output_content.done response.compaction.compacting \
    response.audio.delta response.audio.done response.audio.transcript.delta response.audio.transcript.done";

#[test]
fn every_event_of_an_upstream_is_understood_or_shows_that_it_is_at_work() {
    assert_eq!(EVENTS.split_whitespace().count(), 59);
    let client = to(Dialect::OpenaiChat, Dialect::OpenaiResponses, "gpt-5.5");
    let request = json!({"model": "smart", "stream": true, "messages": [{"role": "user", "content": "x"}]});
    for kind in EVENTS.split_whitespace() {
        let event = json!({"type": kind, "sequence_number": 1, "item_id": "i", "output_index": 0, "content_index": 0, "summary_index": 0,
            "delta": "d", "text": "d", "refusal": "d", "arguments": "{}", "input": "d", "part": {"type": "output_text", "text": "d"},
            "annotation": {"type": "url_citation", "url": "https://a.org", "title": "A", "start_index": 0, "end_index": 1},
            "item": {"type": "message", "id": "i", "role": "assistant", "content": [{"type": "output_text", "text": "d", "annotations": []}]},
            "response": {"id": "resp_1", "status": "completed", "output": [], "error": {"code": "server_error", "message": "m"}},
            "code": "server_error", "message": "m"});
        let mut stream = client.open(&request);
        let mut out = Vec::new();
        let result = stream.push(Bytes::from(format!("data: {event}\n\n")), &mut out);
        assert_eq!(result.is_err(), matches!(kind, "response.failed" | "error"), "{kind}");
    }
}
