//! Clients of Gemini's dialect before other upstreams (cases b55 to b58), and rows of the tables of facts without a number.

use bytes::Bytes;
use serde_json::{Value, json};
use tallygate_adapter::{Call, peek, prepare};
use tallygate_types::Dialect;

use crate::support::{To, chat_sse, data, strict, text, to};

const CHAT: To<'_> = to(Dialect::Gemini, Dialect::OpenaiChat, "gpt-4.1");
const MESSAGES: To<'_> = to(Dialect::Gemini, Dialect::Anthropic, "claude-sonnet-4-5");

fn with(fields: Value) -> Value {
    let mut body = json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

/// A client's stream in the shape its query asks for.
fn stream(query: &str, request: &Value, upstream: &str) -> (String, &'static str) {
    let body = Bytes::from(request.to_string());
    let seen = peek(Dialect::Gemini, &body).unwrap();
    let call = Call { stream: true, client_query: query, ..CHAT.call(&seen) };
    let mut stream = prepare(&call, &body, &[]).unwrap().session.stream();
    let mut out = Vec::new();
    stream.push(Bytes::copy_from_slice(upstream.as_bytes()), &mut out).unwrap();
    stream.finish(&mut out).unwrap();
    (text(&out), stream.content_type())
}

fn chunk(delta: Value, finish: Option<&str>) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "model": "gpt-4.1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

#[test]
fn case_b55_snake_case_means_the_same_and_keys_of_data_keep_theirs() {
    let camel = json!({
        "systemInstruction": {"parts": [{"text": "s"}]},
        "contents": [
            {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}, {"fileData": {"fileUri": "https://e.com/a.png", "mimeType": "image/png"}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"some_key": 1, "otherKey": {"in_side": 2}}}, "thoughtSignature": "RXFV"}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"my_key": 3}}}]}
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object", "properties": {"some_key": {"type": "integer"}}}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}, "retrievalConfig": {"languageCode": "en"}},
        "safetySettings": [], "cachedContent": null,
        "generationConfig": {"maxOutputTokens": 9, "stopSequences": ["END"], "responseMimeType": "application/json", "responseSchema": {"type": "OBJECT", "properties": {"a_b": {"type": "STRING"}}}, "mediaResolution": "MEDIA_RESOLUTION_LOW"}
    });
    let snake = json!({
        "system_instruction": {"parts": {"text": "s"}},
        "contents": [
            {"role": "user", "parts": [{"inline_data": {"mime_type": "image/png", "data": "AAAA"}}, {"file_data": {"file_uri": "https://e.com/a.png", "mime_type": "image/png"}}]},
            {"role": "model", "parts": [{"function_call": {"name": "f", "args": {"some_key": 1, "otherKey": {"in_side": 2}}}, "thought_signature": "RXFV"}]},
            {"role": "user", "parts": [{"function_response": {"name": "f", "response": {"my_key": 3}}}]}
        ],
        "tools": {"function_declarations": [{"name": "f", "parameters_json_schema": {"type": "object", "properties": {"some_key": {"type": "integer"}}}}]},
        "tool_config": {"function_calling_config": {"mode": "any", "allowed_function_names": ["f"]}, "retrieval_config": {"language_code": "en"}},
        "safety_settings": [],
        "generation_config": {"max_output_tokens": "9", "stop_sequences": ["END"], "response_mime_type": "application/json", "response_schema": {"type": "object", "properties": {"a_b": {"type": "string"}}}, "media_resolution": "MEDIA_RESOLUTION_LOW"}
    });
    let body = CHAT.body(&camel);
    assert_eq!(CHAT.body(&snake), body);
    assert_eq!((CHAT.loss(&snake), CHAT.losses(&snake)), (CHAT.loss(&camel), CHAT.losses(&camel)));
    assert_eq!(body["messages"][2]["tool_calls"][0]["function"]["arguments"], r#"{"some_key":1,"otherKey":{"in_side":2}}"#);
    assert_eq!(body["messages"][3]["content"], r#"{"my_key":3}"#);
    assert_eq!(
        body["tools"][0]["function"]["parameters"],
        json!({"type": "object", "properties": {"some_key": {"type": "integer"}}})
    );
    assert_eq!(
        body["response_format"]["json_schema"]["schema"],
        json!({"type": "object", "properties": {"a_b": {"type": "string"}}})
    );
}

#[test]
fn case_b56_calls_without_ids_are_paired_with_their_results_by_order() {
    let request = json!({"contents": [
        {"role": "user", "parts": [{"text": "x"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "get", "args": {"city": "Rome"}}}, {"functionCall": {"name": "get", "args": {"city": "Oslo"}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "get", "response": {"output": "warm"}}}, {"functionResponse": {"name": "get", "response": {"output": "cold"}}}]},
        {"role": "model", "parts": [{"functionCall": {"name": "get", "args": {"city": "Bern"}}}]},
        {"role": "function", "parts": [{"functionResponse": {"name": "get", "response": {"output": "mild"}}}]}
    ]});
    let messages = CHAT.body(&request)["messages"].clone();
    let call = |message: usize, position: usize| messages[message]["tool_calls"][position].clone();
    assert_eq!(call(1, 0)["function"]["arguments"], r#"{"city":"Rome"}"#);
    let results: Vec<(&Value, &Value)> =
        [2, 3, 5].iter().map(|at| (&messages[*at]["tool_call_id"], &messages[*at]["content"])).collect();
    assert_eq!(
        results,
        [(&call(1, 0)["id"], &json!("warm")), (&call(1, 1)["id"], &json!("cold")), (&call(4, 0)["id"], &json!("mild"))]
    );
    let ids = [call(1, 0)["id"].clone(), call(1, 1)["id"].clone(), call(4, 0)["id"].clone()];
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    // The same history gets the same ids: prompt caches depend on it.
    assert_eq!(CHAT.body(&request)["messages"], messages);
}

#[test]
fn case_b57_without_alt_sse_the_stream_is_a_json_array() {
    let upstream = chat_sse(&[
        chunk(json!({"role": "assistant", "content": ""}), None),
        chunk(json!({"content": "a"}), None),
        chunk(json!({"content": "b"}), None),
        chunk(json!({}), Some("stop")),
    ]);
    let (events, kind) = stream("alt=sse", &with(json!({})), &upstream);
    assert_eq!(kind, "text/event-stream");
    for query in ["", "alt=json", "key=k"] {
        let (array, kind) = stream(query, &with(json!({})), &upstream);
        assert_eq!(kind, "application/json");
        assert_eq!(serde_json::from_str::<Vec<Value>>(&array).unwrap(), data(&events));
        assert!(array.starts_with("[{") && array.ends_with("}]") && array.contains("},\r\n{"));
    }
    assert_eq!(stream("%24alt=sse", &with(json!({})), &upstream).0, events);
}

#[test]
fn case_b58_arguments_in_twenty_pieces_are_one_call() {
    let arguments = r#"{"city":"Sankt Gallen","days":[1,2,3]}"#;
    let mut chunks = vec![chunk(
        json!({"role": "assistant", "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
        None,
    )];
    chunks.extend(arguments.as_bytes().chunks(2).map(|piece| {
        chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": std::str::from_utf8(piece).unwrap()}}]}), None)
    }));
    assert_eq!(chunks.len(), 20);
    chunks.push(chunk(json!({}), Some("tool_calls")));
    let records = data(&stream("alt=sse", &with(json!({})), &chat_sse(&chunks)).0);
    let parts: Vec<&Value> =
        records.iter().flat_map(|record| record["candidates"][0]["content"]["parts"].as_array().unwrap()).collect();
    // The signature is the word by which Google's servers let a call of another model pass: its agents look for one.
    assert_eq!(
        parts,
        [
            &json!({"functionCall": {"id": "call_1", "name": "f", "args": {"city": "Sankt Gallen", "days": [1, 2, 3]}}, "thoughtSignature": "skip_thought_signature_validator"})
        ]
    );
    assert_eq!(records.last().unwrap()["candidates"][0]["finishReason"], "STOP");
}

#[test]
fn what_only_google_knows_is_named_in_the_report() {
    let request = with(json!({
        "contents": [
            {"role": "user", "parts": [{"text": "x", "partMetadata": {"a": 1}}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "media_resolution": {"level": "MEDIA_RESOLUTION_HIGH"}, "videoMetadata": {"fps": 1}}]},
            {"role": "model", "parts": [{"executableCode": {"language": "PYTHON", "code": "print(1)"}}, {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}, {"toolCall": {"id": "s", "toolType": "GOOGLE_SEARCH_WEB"}}, {"functionCall": {"name": "f"}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}, "scheduling": "SILENT", "will_continue": false}}]}
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "behavior": "BLOCKING"}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO", "streamFunctionCallArguments": true}, "retrievalConfig": {}},
        "safetySettings": [], "labels": {"a": "b"}, "store": false,
        "generationConfig": {"speechConfig": {}, "audioTimestamp": true, "routingConfig": {}, "thinkingConfig": {"includeThoughts": true, "newer": 1}}
    }));
    let losses = CHAT.losses(&request);
    let fields: Vec<&str> = losses.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "contents[0].parts[0].partMetadata",
            "contents[0].parts[1].videoMetadata",
            "contents[1].parts[0]",
            "contents[1].parts[1]",
            "contents[2].parts[0].functionResponse.scheduling",
            "contents[2].parts[0].functionResponse.willContinue",
            "tools.functionDeclarations.behavior",
            "toolConfig.functionCallingConfig.streamFunctionCallArguments",
            "generationConfig.thinkingConfig.newer",
            "toolConfig.retrievalConfig",
            "generationConfig.speechConfig",
            "generationConfig.audioTimestamp",
            "generationConfig.routingConfig",
            "safetySettings",
            "labels",
            "store",
            "contents[1].toolCall",
        ]
    );
    let body = CHAT.body(&request);
    assert_eq!(body["messages"][0]["content"][1]["image_url"]["detail"], "high");
    assert_eq!(body["messages"][1]["content"], "\n```python\nprint(1)\n```\n\n```\n1\n```\n");
    assert!(strict(&CHAT).prepare(&request).is_err());
    for (field, value, param) in [
        ("cachedContent", json!("cachedContents/1"), "cachedContent"),
        ("continuation_token", json!("AAAA"), "continuationToken"),
        ("generationConfig", json!({"responseFormat": []}), "generationConfig.responseFormat"),
        ("generationConfig", json!({"responseMimeType": "text/x.enum"}), "generationConfig.responseMimeType"),
        ("tools", json!([{"google_search": {}}]), "tools[0]"),
    ] {
        assert_eq!(CHAT.refusal(&with(json!({ (field): value }))).0.as_deref(), Some(param));
    }
}

#[test]
fn anthropic_before_gemini_keeps_results_first_and_counts_the_cache_apart() {
    let to_gemini = to(Dialect::Anthropic, Dialect::Gemini, "gemini-3.5-flash");
    let request = json!({"model": "smart", "max_tokens": 99, "stop_sequences": ["END"], "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}],
    "messages": [
        {"role": "user", "content": [{"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "body"}}, {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK"}}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "text", "text": "and"}, {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true, "content": [{"type": "text", "text": "boom"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]}]}
    ]});
    let body = to_gemini.body(&request);
    assert_eq!(body["systemInstruction"], json!({"parts": [{"text": "s"}]}));
    assert_eq!(
        body["contents"],
        json!([
            {"role": "user", "parts": [{"text": "T\n\nbody"}, {"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0xLjQK"}}]},
            {"role": "model", "parts": [{"functionCall": {"id": "toolu_1", "name": "f", "args": {}}}]},
            {"role": "user", "parts": [
                {"functionResponse": {"id": "toolu_1", "name": "f", "response": {"error": "boom"}, "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}},
                {"text": "and"}
            ]}
        ])
    );
    assert_eq!(body["toolConfig"], json!({"functionCallingConfig": {"mode": "ANY"}}));
    assert_eq!(body["generationConfig"], json!({"maxOutputTokens": 99, "stopSequences": ["END"]}));
    assert_eq!(to_gemini.loss(&request), "dropped=parallel_tool_calls,cache_control");
    let answer = json!({"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}], "responseId": "r",
        "usageMetadata": {"promptTokenCount": 100, "toolUsePromptTokenCount": 7, "cachedContentTokenCount": 40, "candidatesTokenCount": 3, "thoughtsTokenCount": 4, "totalTokenCount": 114}});
    let usage = &to_gemini.answer(&request, &answer)["usage"];
    assert_eq!(
        (&usage["input_tokens"], &usage["cache_read_input_tokens"], &usage["output_tokens"]),
        (&json!(67), &json!(40), &json!(7))
    );
}

#[test]
fn a_gemini_client_before_anthropic_sees_thoughts_calls_and_usage_in_googles_words() {
    let request = with(
        json!({"generationConfig": {"maxOutputTokens": 9000, "thinkingConfig": {"thinkingBudget": 2000, "includeThoughts": true}}, "tools": [{"functionDeclarations": [{"name": "f"}]}]}),
    );
    let answer = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "stop_reason": "tool_use", "stop_sequence": null,
        "content": [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}, {"type": "text", "text": "a"}, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"n": 1}}],
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2, "output_tokens": 5}});
    let said = MESSAGES.answer(&request, &answer);
    assert_eq!(
        said["candidates"],
        json!([{"content": {"role": "model", "parts": [
            {"text": "hm", "thought": true, "thoughtSignature": "dGcxOmFudGhyb3BpYzpjMmxu"}, {"text": "a"},
            {"functionCall": {"id": "toolu_1", "name": "f", "args": {"n": 1}}, "thoughtSignature": "skip_thought_signature_validator"}
        ]}, "finishReason": "STOP", "index": 0}])
    );
    let usage = &said["usageMetadata"];
    assert_eq!(
        (
            &usage["promptTokenCount"],
            &usage["cachedContentTokenCount"],
            &usage["candidatesTokenCount"],
            &usage["totalTokenCount"]
        ),
        (&json!(16), &json!(4), &json!(5), &json!(21))
    );
}
