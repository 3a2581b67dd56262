//! A Responses client before a Gemini upstream.

mod common;

use common::{To, text};
use serde_json::{Value, json};
use tallygate_adapter::{AnswerFailure, ErrorKind, ErrorReply, StreamFailure};
use tallygate_types::Dialect;

const TO: To<'_> = to("gemini-3.5-flash");

const fn to(model: &str) -> To<'_> {
    To { client: Dialect::OpenaiResponses, upstream: Dialect::Gemini, model, strict: false }
}

fn with(fields: Value) -> Value {
    let mut body = json!({"model": "smart", "input": "x"});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

#[test]
fn the_smallest_request() {
    let outgoing = TO.prepare(&json!({"model": "smart", "input": "Hi", "instructions": "Be brief."})).unwrap();
    assert_eq!(outgoing.path, "/v1beta/models/gemini-3.5-flash:generateContent");
    assert_eq!(outgoing.headers, []);
    assert_eq!(
        outgoing.body,
        &br#"{"systemInstruction":{"parts":[{"text":"Be brief."}]},"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}"#[..]
    );
    assert_eq!(outgoing.loss.to_string(), "");
    let stream = TO.prepare(&with(json!({"stream": true}))).unwrap();
    assert_eq!(stream.path, "/v1beta/models/gemini-3.5-flash:streamGenerateContent?alt=sse");
}

#[test]
fn parallel_calls_and_results_in_another_order_are_one_turn_each_in_the_order_of_the_calls() {
    let body = TO.body(&with(json!({"input": [
        {"role": "user", "content": "Weather in Rome and Oslo?"},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "call_id": "a", "name": "get_weather", "arguments": "{\"city\":\"Rome\"}"},
        {"type": "function_call", "call_id": "b", "name": "get_weather", "arguments": "{\"city\":\"Oslo\"}"},
        {"type": "function_call_output", "call_id": "b", "output": "cold"},
        {"type": "function_call_output", "call_id": "a", "output": "{\"sky\":\"blue\"}"}
    ]})));
    assert_eq!(
        body["contents"],
        json!([
            {"role": "user", "parts": [{"text": "Weather in Rome and Oslo?"}]},
            {"role": "model", "parts": [
                {"functionCall": {"id": "a", "name": "get_weather", "args": {"city": "Rome"}}, "thoughtSignature": "skip_thought_signature_validator"},
                {"functionCall": {"id": "b", "name": "get_weather", "args": {"city": "Oslo"}}}
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "a", "name": "get_weather", "response": {"sky": "blue"}}},
                {"functionResponse": {"id": "b", "name": "get_weather", "response": {"output": "cold"}}}
            ]}
        ])
    );
}

#[test]
fn only_the_current_turn_of_a_family_that_checks_is_signed() {
    let history = json!({"input": [
        {"role": "user", "content": "1"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "x"},
        {"role": "assistant", "content": "done"},
        {"role": "user", "content": "2"},
        {"type": "function_call", "call_id": "b", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "b", "output": "x"}
    ]});
    let signatures = |model: &str| -> Vec<bool> {
        let body = to(model).body(&with(history.clone()));
        let parts = body["contents"].as_array().unwrap().iter().flat_map(|content| content["parts"].as_array().unwrap().clone());
        parts.filter(|part| part.get("functionCall").is_some()).map(|part| part.get("thoughtSignature").is_some()).collect()
    };
    assert_eq!(signatures("gemini-3.5-flash"), [false, true]);
    assert_eq!(signatures("gemini-2.5-flash"), [false, false]);
}

#[test]
fn googles_own_signatures_go_back_on_the_part_they_came_on_and_others_do_not() {
    let body = TO.prepare(&with(json!({"input": [
        {"role": "user", "content": "x"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "tg1:anthropic:c2ln"},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "tg1:gemini-next:RXFV"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "x"}
    ]}))).unwrap();
    assert_eq!(body.loss.to_string(), "dropped=reasoning");
    let body: Value = serde_json::from_slice(&body.body.whole()).unwrap();
    assert_eq!(
        body["contents"][1]["parts"],
        json!([{"functionCall": {"id": "a", "name": "f", "args": {}}, "thoughtSignature": "RXFV"}])
    );
}

#[test]
fn a_call_without_result_is_answered_and_a_result_without_call_is_refused() {
    let body = TO.body(&with(json!({"input": [
        {"role": "user", "content": "x"}, {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}, {"role": "user", "content": "y"}
    ]})));
    assert_eq!(
        body["contents"][2]["parts"],
        json!([{"functionResponse": {"id": "a", "name": "f", "response": {"error": "no result provided"}}}, {"text": "y"}])
    );
    let (param, message) = TO.refusal(&with(json!({"input": [
        {"role": "user", "content": "x"}, {"type": "function_call_output", "call_id": "zz", "output": "r"}
    ]})));
    assert_eq!(param.as_deref(), Some("input[1]"));
    assert_eq!(message, "The result of `zz` answers no call of the assistant's message before it.");
}

#[test]
fn images_files_and_results_with_images_travel_as_parts() {
    let body = TO.body(&with(json!({"input": [
        {"role": "user", "content": [
            {"type": "input_text", "text": "look"},
            {"type": "input_image", "image_url": "data:image/jpg;base64,/9j/4AAQSkZJRgABAQ==", "detail": "auto"},
            {"type": "input_image", "image_url": "https://example.com/a.webp"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "JVBERi0xLjQK"}
        ]},
        {"type": "function_call", "call_id": "a", "name": "shot", "arguments": ""},
        {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "ok"}, {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}]}
    ]})));
    assert_eq!(
        body["contents"][0]["parts"],
        json!([
            {"text": "look"},
            {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/4AAQSkZJRgABAQ=="}},
            {"fileData": {"fileUri": "https://example.com/a.webp", "mimeType": "image/webp"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0xLjQK"}}
        ])
    );
    assert_eq!(
        body["contents"][2]["parts"],
        json!([{"functionResponse": {"id": "a", "name": "shot", "response": {"output": "ok"}, "parts": [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]}}])
    );
    let (param, _) = TO.refusal(&with(
        json!({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,a*b="}]}]}),
    ));
    assert_eq!(param.as_deref(), Some("input[0].content[0].image_url"));
}

#[test]
fn tools_choice_format_sampling_and_effort_are_said_in_googles_words() {
    let outgoing = TO
        .prepare(&with(json!({
            "tools": [
                {"type": "function", "name": "plain", "description": "d", "strict": false, "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}},
                {"type": "function", "name": "closed", "strict": true, "parameters": {"type": "object", "additionalProperties": false, "required": ["a"], "properties": {"a": {"type": "string"}}}},
                {"type": "function", "name": "bare", "parameters": {"type": "object", "properties": {}}},
                {"type": "web_search"}
            ],
            "tool_choice": {"type": "function", "name": "plain"},
            "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object", "properties": {"x": {"type": "integer"}}}}},
            "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 50, "reasoning": {"effort": "none", "summary": "auto"}
        })))
        .unwrap();
    let body: Value = serde_json::from_slice(&outgoing.body.whole()).unwrap();
    assert_eq!(
        body["tools"],
        json!([{"functionDeclarations": [
            {"name": "plain", "description": "d", "parametersJsonSchema": {"type": "object", "properties": {"a": {"type": "string"}}}},
            {"name": "closed", "parametersJsonSchema": {"type": "object", "additionalProperties": false, "required": ["a"], "properties": {"a": {"type": "string"}}}},
            {"name": "bare"}
        ]}, {"googleSearch": {}}])
    );
    assert_eq!(
        body["toolConfig"],
        json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["plain"]}, "includeServerSideToolInvocations": true})
    );
    assert_eq!(
        body["generationConfig"],
        json!({
            "temperature": 0.5, "topP": 0.9, "maxOutputTokens": 50, "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "object", "properties": {"x": {"type": "integer"}}},
            "thinkingConfig": {"thinkingLevel": "MINIMAL", "includeThoughts": true}
        })
    );
    assert_eq!(outgoing.loss.to_string(), "approximated=reasoning");
}

#[test]
fn thinking_is_said_as_the_family_takes_it() {
    let config = |model: &str, effort: &str| {
        to(model).body(&with(json!({"reasoning": {"effort": effort}})))["generationConfig"]["thinkingConfig"].clone()
    };
    assert_eq!(config("gemini-2.5-flash", "none"), json!({"thinkingBudget": 0}));
    assert_eq!(config("gemini-2.5-pro", "none"), json!({"thinkingBudget": 128}));
    assert_eq!(config("gemini-2.5-pro", "medium"), json!({"thinkingBudget": 8192}));
    assert_eq!(config("gemini-3-pro-preview", "medium"), json!({"thinkingLevel": "HIGH"}));
    assert_eq!(config("gemini-3.8-flash", "minimal"), json!({"thinkingLevel": "LOW"}));
    assert_eq!(config("gemini-2.0-flash", "high"), Value::Null);
    assert_eq!(to("gemini-3.8-flash").loss(&with(json!({"temperature": 0}))), "dropped=temperature");
}

#[test]
fn what_needs_a_server_side_store_is_refused_with_advice() {
    for (field, value) in [
        ("previous_response_id", json!("resp_1")),
        ("conversation", json!("conv_1")),
        ("background", json!(true)),
        ("prompt", json!({"id": "p"})),
    ] {
        let error = TO.prepare(&with(json!({ (field): value }))).unwrap_err();
        assert_eq!((error.param.as_deref(), error.code), (Some(field), "unsupported_parameter"));
        assert!(error.message.starts_with(&format!("`{field}` needs an upstream that stores responses")), "{}", error.message);
    }
    let (param, _) = TO.refusal(&with(json!({"input": [{"type": "item_reference", "id": "msg_1"}]})));
    assert_eq!(param.as_deref(), Some("input[0]"));
    let (param, _) = TO.refusal(&with(json!({"input": [{"type": "foo"}]})));
    assert_eq!(param.as_deref(), Some("input[0].type"));
    let (param, _) = TO.refusal(&with(json!({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}})));
    assert_eq!(param.as_deref(), Some("tool_choice"));
    assert_eq!(
        TO.loss(&with(json!({"store": true, "client_metadata": {"a": 1}, "truncation": "disabled"}))),
        "dropped=store,client_metadata"
    );
}

const ANSWER: &str = r#"{"candidates":[{"content":{"role":"model","parts":[
    {"text":"Let me see.","thought":true},{"text":"Calling."},
    {"functionCall":{"name":"get_weather","args":{"city":"Rome"}},"thoughtSignature":"RXFV"},
    {"functionCall":{"name":"get_weather"}}]},"finishReason":"STOP","index":0}],
    "usageMetadata":{"promptTokenCount":29,"candidatesTokenCount":15,"thoughtsTokenCount":45,"cachedContentTokenCount":9,"totalTokenCount":89},
    "modelVersion":"gemini-3.5-flash","responseId":"abc"}"#;

#[test]
fn an_answer_is_a_complete_response_object() {
    let request =
        with(json!({"instructions": "Be brief.", "reasoning": {"effort": "low", "summary": "auto"}, "metadata": {"k": "v"},
        "tools": [{"type": "function", "name": "get_weather"}]}));
    let body = TO.answer(&request, &serde_json::from_str(ANSWER).unwrap());
    let calls: Vec<&str> = body["output"].as_array().unwrap().iter().filter_map(|item| item["call_id"].as_str()).collect();
    assert_eq!(
        body,
        json!({
            "id": "resp_0192", "object": "response", "created_at": 1_700_000_000, "status": "completed", "background": false, "error": null,
            "incomplete_details": null, "model": "smart",
            "output": [
                {"id": "rs_019200", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Let me see."}]},
                {"id": "msg_019201", "type": "message", "status": "completed", "role": "assistant",
                    "content": [{"type": "output_text", "text": "Calling.", "annotations": [], "logprobs": []}]},
                {"id": "rs_019202", "type": "reasoning", "summary": [], "encrypted_content": "tg1:gemini-next:RXFV"},
                {"id": "fc_019203", "type": "function_call", "status": "completed", "call_id": calls[0], "name": "get_weather", "arguments": "{\"city\":\"Rome\"}"},
                {"id": "fc_019204", "type": "function_call", "status": "completed", "call_id": calls[1], "name": "get_weather", "arguments": "{}"}
            ],
            "previous_response_id": null, "store": false,
            "usage": {"input_tokens": 29, "input_tokens_details": {"cached_tokens": 9, "cache_write_tokens": 0},
                "output_tokens": 60, "output_tokens_details": {"reasoning_tokens": 45}, "total_tokens": 89},
            "instructions": "Be brief.", "max_output_tokens": null, "max_tool_calls": null, "metadata": {"k": "v"}, "parallel_tool_calls": true,
            "prompt_cache_key": null, "reasoning": {"effort": "low", "summary": "auto"}, "safety_identifier": null, "temperature": 1.0,
            "text": {"format": {"type": "text"}}, "tool_choice": "auto",
            "tools": [{"type": "function", "name": "get_weather", "parameters": null, "strict": null}],
            "top_logprobs": 0, "top_p": 1.0, "truncation": "disabled"
        })
    );
    assert!(calls[0] != calls[1] && calls.iter().all(|id| id.len() == 29 && id.starts_with("call_")));
}

#[test]
fn ends_are_told_apart() {
    let end = |finish: &str, parts: Value| {
        let answer =
            json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish}], "responseId": "r"});
        let body = TO.answer(&with(json!({})), &answer);
        (body["status"].clone(), body["incomplete_details"]["reason"].clone(), body["output"][0]["status"].clone())
    };
    let text = json!([{"text": "a"}]);
    let call = json!([{"functionCall": {"name": "f"}}]);
    assert_eq!(end("STOP", text.clone()), (json!("completed"), Value::Null, json!("completed")));
    assert_eq!(end("MAX_TOKENS", call.clone()), (json!("incomplete"), json!("max_output_tokens"), json!("incomplete")));
    assert_eq!(end("SAFETY", text), (json!("incomplete"), json!("content_filter"), json!("incomplete")));
    let broken = json!({"candidates": [{"content": {}, "finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "f("}]});
    let failure = TO.session(&with(json!({}))).answer(broken.to_string().into()).unwrap_err();
    assert_eq!(failure, AnswerFailure::MalformedCall("f(".into()));
    assert_eq!(end("MALFORMED_FUNCTION_CALL", call), (json!("completed"), Value::Null, json!("completed")));
    let blocked = TO.answer(&with(json!({})), &json!({"promptFeedback": {"blockReason": "SAFETY"}}));
    assert_eq!((&blocked["status"], &blocked["incomplete_details"]["reason"]), (&json!("incomplete"), &json!("content_filter")));
    let invalid = TO.session(&with(json!({}))).answer("{}".into()).unwrap_err();
    assert_eq!(invalid.to_string(), "the upstream's answer cannot be read: it has neither candidates nor a reason why");
}

/// The streamed form of [`ANSWER`], as Google cuts it, with its line ends.
fn streamed() -> String {
    let usage = json!({"promptTokenCount": 29, "candidatesTokenCount": 15, "thoughtsTokenCount": 45, "cachedContentTokenCount": 9, "totalTokenCount": 89});
    let record = |parts: Value, finish: Option<&str>| {
        let mut candidate = json!({"content": {"role": "model", "parts": parts}, "index": 0});
        if let Some(finish) = finish {
            candidate["finishReason"] = finish.into();
        }
        let record =
            json!({"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-3.5-flash", "responseId": "abc"});
        format!("data: {record}\r\n\r\n")
    };
    [
        record(json!([{"text": "Let me ", "thought": true}]), None),
        record(json!([{"text": "see.", "thought": true}, {"text": "Call"}]), None),
        record(json!([{"text": "ing."}, {"functionCall": {"name": "get_weather", "args": {"city": "Rome"}}, "thoughtSignature": "RXFV"}]), None),
        record(json!([{"functionCall": {"name": "get_weather"}}]), None),
        record(json!([{"text": ""}]), Some("STOP")),
    ]
    .concat()
}

fn events(stream: &str) -> Vec<Value> {
    let lines = stream.split("\n\n").filter(|event| !event.is_empty());
    lines
        .map(|event| {
            let (name, data) = event.split_once('\n').unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(name, format!("event: {}", data["type"].as_str().unwrap()));
            data
        })
        .collect()
}

#[test]
fn a_stream_has_the_whole_lifecycle_and_ends_in_the_plain_answer() {
    let mut request = with(json!({"stream": true, "reasoning": {"summary": "auto"}}));
    let events = events(&TO.stream(&request, &streamed()).unwrap());
    let kinds: Vec<&str> =
        events.iter().map(|event| event["type"].as_str().unwrap().strip_prefix("response.").unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
    );
    assert!(events.iter().enumerate().all(|(i, event)| event["sequence_number"] == i));
    let indices: Vec<&Value> =
        events.iter().filter(|event| event["type"] == "response.output_item.added").map(|event| &event["output_index"]).collect();
    assert_eq!(indices, [0, 1, 2, 3, 4]);

    request["stream"] = false.into();
    let plain = TO.answer(&request, &serde_json::from_str(ANSWER).unwrap());
    assert_eq!(events.last().unwrap()["response"], plain);
    let done: Vec<Value> =
        events.iter().filter(|event| event["type"] == "response.output_item.done").map(|event| event["item"].clone()).collect();
    assert_eq!(plain["output"], json!(done));
}

#[test]
fn an_array_reads_as_a_stream_too() {
    let request = with(json!({"stream": true}));
    let records: Vec<&str> = streamed().leak().split("\r\n\r\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    let array = format!("[{}]", records.join(",\r\n"));
    assert_eq!(TO.stream(&request, &array).unwrap(), TO.stream(&request, &streamed()).unwrap());
}

#[test]
fn a_stream_that_breaks_ends_in_a_failed_response_that_keeps_what_came() {
    let request = with(json!({"stream": true}));
    let cut = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hal\"}]}}],\"responseId\":\"r\"}\r\n\r\n";
    assert_eq!(TO.stream(&request, cut), Err(StreamFailure::Truncated));
    let mut stream = TO.open(&request);
    let mut out = Vec::new();
    stream.push(cut.into(), &mut out).unwrap();
    let mut error = ErrorReply::new(ErrorKind::UpstreamUnavailable, "upstream_unavailable", "The upstream went away.", "0192");
    stream.fail(&error, &mut out);
    let seen = events(&text(&out));
    let last = seen.last().unwrap();
    assert_eq!((&last["type"], &last["sequence_number"]), (&json!("response.failed"), &json!(seen.len() - 1)));
    assert_eq!(
        last["response"]["error"],
        json!({"code": "server_error", "message": "The upstream went away. (request id: 0192)"})
    );
    assert_eq!(last["response"]["output"][0]["content"][0]["text"], "Hal");
    assert_eq!(last["response"]["output"][0]["status"], "incomplete");

    // An error record in a 200 stream, before anything else.
    error.kind = ErrorKind::RateLimited;
    let mut stream = TO.open(&request);
    let failure = stream.push(
        "data: {\"error\":{\"code\":429,\"message\":\"Slow down\",\"status\":\"RESOURCE_EXHAUSTED\"}}\r\n\r\n".into(),
        &mut Vec::new(),
    );
    assert!(matches!(failure, Err(StreamFailure::Upstream(failure)) if failure.status == 429));
    let mut out = Vec::new();
    stream.fail(&error, &mut out);
    let seen = events(&text(&out));
    assert_eq!((seen.len(), &seen[0]["response"]["error"]["code"]), (1, &json!("rate_limit_exceeded")));
}

#[test]
fn free_text_tools_and_namespaces_come_back_as_the_client_declared_them() {
    let request = with(json!({"stream": true, "tools": [
        {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"}},
        {"type": "namespace", "name": "mcp", "tools": [{"type": "function", "name": "read file", "parameters": {"type": "object", "properties": {}}}]}
    ]}));
    let body = TO.body(&request);
    let declared = &body["tools"][0]["functionDeclarations"];
    assert_eq!(
        declared[0],
        json!({"name": "apply_patch", "parametersJsonSchema": {"type": "object", "required": ["input"], "properties": {"input": {
            "type": "string", "description": "The whole input of the tool as plain text, in the lark grammar:\nstart: x"}}}})
    );
    let bent = declared[1]["name"].as_str().unwrap();
    assert!(bent.starts_with("mcp__read_file_"));
    let record = json!({"candidates": [{"content": {"parts": [
        {"functionCall": {"name": "apply_patch", "args": {"input": "a \"b\"\n"}}}, {"functionCall": {"name": bent}}
    ]}, "finishReason": "STOP"}]});
    let events = events(&TO.stream(&request, &format!("data: {record}\r\n\r\n")).unwrap());
    let output = &events.last().unwrap()["response"]["output"];
    assert_eq!(
        (&output[0]["type"], &output[0]["name"], &output[0]["input"]),
        (&json!("custom_tool_call"), &json!("apply_patch"), &json!("a \"b\"\n"))
    );
    assert_eq!(
        (&output[1]["type"], &output[1]["namespace"], &output[1]["name"]),
        (&json!("function_call"), &json!("mcp"), &json!("read file"))
    );
    assert!(events.iter().any(|event| event["type"] == "response.custom_tool_call_input.done" && event["input"] == "a \"b\"\n"));
}
