//! A Gemini client before a Responses upstream.

mod common;

use std::fmt::Write as _;

use bytes::Bytes;
use common::{To, text};
use serde_json::{Value, json};
use tallygate_adapter::{
    Call, ErrorKind, ErrorReply, FailureClass, NoMemory, PastReasoning, Profiles, StreamFailure, decode_error, peek, prepare,
};
use tallygate_types::{Dialect, Timestamp};

const TO: To<'_> = To { client: Dialect::Gemini, upstream: Dialect::OpenaiResponses, model: "gpt-5.5", strict: false };

fn with(fields: Value) -> Value {
    let mut body = json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

#[test]
fn the_smallest_request() {
    let outgoing = TO.prepare(&with(json!({"systemInstruction": {"parts": {"text": "Be brief."}}}))).unwrap();
    assert_eq!(outgoing.path, "/v1/responses");
    assert_eq!(
        outgoing.body,
        &br#"{"model":"gpt-5.5","input":[{"type":"message","role":"user","content":"x"}],"instructions":"Be brief.","store":false,"include":["reasoning.encrypted_content"]}"#[..]
    );
    assert_eq!(outgoing.loss.to_string(), "");
}

#[test]
fn both_spellings_say_the_same_and_keys_of_data_stay() {
    let camel = TO.body(&json!({
        "contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]}],
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties": {"some_key": {"type": "STRING", "nullable": true}}}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {"maxOutputTokens": 99, "topP": 0.5, "thinkingConfig": {"thinkingLevel": "low", "includeThoughts": true}}
    }));
    let snake = TO.body(&json!({
        "contents": {"role": "user", "parts": [{"inline_data": {"mime_type": "image/png", "data": "iVBORw0KGgo"}}]},
        "tools": {"function_declarations": {"name": "f", "parameters": {"type": "object", "properties": {"some_key": {"type": "string", "nullable": true}}}}},
        "tool_config": {"function_calling_config": {"mode": "any"}},
        "generation_config": {"max_output_tokens": "99", "top_p": 0.5, "thinking_config": {"thinking_level": "LOW", "include_thoughts": true}}
    }));
    assert_eq!(camel, snake);
    assert_eq!(
        camel,
        json!({
            "model": "gpt-5.5",
            "input": [{"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"}]}],
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"some_key": {"type": ["string", "null"]}}}, "strict": false}],
            "tool_choice": "required", "max_output_tokens": 99,
            "reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"], "store": false
        })
    );
}

#[test]
fn models_that_reason_take_no_sampling_and_models_that_do_not_take_no_effort() {
    let body = with(json!({"generationConfig": {"temperature": 0.2, "thinkingConfig": {"thinkingLevel": "MINIMAL"}}}));
    let said = |model: &str| {
        let to = To { model, ..TO };
        let body = to.body(&body);
        (body["temperature"].clone(), body["reasoning"]["effort"].clone())
    };
    assert_eq!(said("gpt-5.5"), (Value::Null, json!("low")));
    assert_eq!(said("gpt-4.1"), (json!(0.2), Value::Null));
    assert_eq!(said("qwen3"), (json!(0.2), json!("minimal")));
}

#[test]
fn results_without_ids_answer_calls_of_their_name_in_order() {
    let body = TO.body(&with(json!({"contents": [
        {"role": "user", "parts": [{"text": "x"}]},
        {"role": "model", "parts": [
            {"text": "thinking", "thought": true}, {"text": "Both."},
            {"functionCall": {"name": "get", "args": {"city": "Rome"}}, "thoughtSignature": "RXFV"},
            {"functionCall": {"name": "get", "args": {"city": "Oslo"}}},
            {"functionCall": {"id": "own", "name": "now"}}
        ]},
        {"role": "function", "parts": [
            {"functionResponse": {"name": "now", "response": {"result": "noon"}}},
            {"functionResponse": {"name": "get", "response": {"sky": "blue"}}},
            {"functionResponse": {"name": "get", "response": {"error": "no such city"}}}
        ]}
    ]})));
    let input = body["input"].as_array().unwrap();
    let (rome, oslo) = (&input[2]["call_id"], &input[3]["call_id"]);
    assert!(rome != oslo && rome.as_str().unwrap().starts_with("call_"));
    assert_eq!(
        input[1..],
        [
            json!({"type": "message", "role": "assistant", "content": "Both."}),
            json!({"type": "function_call", "call_id": rome, "name": "get", "arguments": "{\"city\":\"Rome\"}"}),
            json!({"type": "function_call", "call_id": oslo, "name": "get", "arguments": "{\"city\":\"Oslo\"}"}),
            json!({"type": "function_call", "call_id": "own", "name": "now", "arguments": "{}"}),
            json!({"type": "function_call_output", "call_id": "own", "output": "noon"}),
            json!({"type": "function_call_output", "call_id": rome, "output": "{\"sky\":\"blue\"}"}),
            json!({"type": "function_call_output", "call_id": oslo, "output": "no such city"}),
        ]
    );
    let (param, _) = TO
        .refusal(&with(json!({"contents": [{"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}]})));
    assert_eq!(param.as_deref(), Some("contents[0].parts[0].functionResponse"));
}

#[test]
fn what_openai_cannot_say_is_reported_or_refused() {
    let body = with(json!({
        "safetySettings": [], "labels": {"a": "b"},
        "generationConfig": {"topK": 40, "seed": 7, "stopSequences": ["END"], "maxOutputTokens": 5, "mediaResolution": "MEDIA_RESOLUTION_LOW", "thinkingConfig": {"thinkingBudget": 9000}}
    }));
    assert_eq!(
        TO.loss(&body),
        "dropped=generationConfig.topK,generationConfig.seed,generationConfig.mediaResolution,safetySettings,labels; approximated=reasoning.budget_tokens,generationConfig.maxOutputTokens,generationConfig.stopSequences"
    );
    assert_eq!(TO.body(&body)["reasoning"], json!({"effort": "medium"}));
    let strict = To { strict: true, ..TO };
    assert!(strict.prepare(&body).is_err());
    for (fields, param) in [
        (json!({"cachedContent": "cachedContents/1"}), "cachedContent"),
        (json!({"tools": [{"googleMaps": {}}]}), "tools[0]"),
        (json!({"generationConfig": {"responseMimeType": "text/x.enum"}}), "generationConfig.responseMimeType"),
        (json!({"generationConfig": {"candidateCount": 2}}), "generationConfig.candidateCount"),
        (
            json!({"generationConfig": {"thinkingConfig": {"thinkingBudget": 1, "thinkingLevel": "LOW"}}}),
            "generationConfig.thinkingConfig",
        ),
        (json!({"contents": []}), "contents"),
        (json!({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "a*"}}]}]}), "contents[0].parts[0]"),
        (
            json!({"contents": [{"parts": [{"fileData": {"fileUri": "gs://b/x.pdf", "mimeType": "application/pdf"}}]}]}),
            "contents.content.file_id",
        ),
    ] {
        assert_eq!(TO.refusal(&with(fields)).0.as_deref(), Some(param));
    }
}

fn answer() -> Value {
    json!({
        "id": "resp_1", "object": "response", "status": "completed", "model": "gpt-5.5-2026",
        "output": [
            {"id": "rs_1", "type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]},
            {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [
                {"type": "output_text", "text": "Café: see", "annotations": [{"type": "url_citation", "url": "https://x.y", "title": "T", "start_index": 6, "end_index": 9}], "logprobs": []}
            ]},
            {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{\"a\":1}"},
            {"id": "fc_2", "type": "function_call", "call_id": "call_2", "name": "g", "arguments": ""}
        ],
        "usage": {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 8, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 18}
    })
}

#[test]
fn an_answer_is_a_complete_candidate_and_thoughts_are_shown_to_who_asked() {
    let asked = with(json!({"generationConfig": {"thinkingConfig": {"includeThoughts": true}}}));
    let expected = json!({
        "candidates": [{
            "content": {"parts": [
                {"text": "a\n\nb", "thought": true},
                {"text": "Café: see"},
                {"functionCall": {"id": "call_1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "skip_thought_signature_validator"},
                {"functionCall": {"id": "call_2", "name": "g", "args": {}}}
            ], "role": "model"},
            "finishReason": "STOP", "index": 0,
            "groundingMetadata": {
                "groundingChunks": [{"web": {"uri": "https://x.y", "title": "T"}}],
                "groundingSupports": [{"segment": {"startIndex": 7, "endIndex": 10, "text": "see"}, "groundingChunkIndices": [0]}]
            }
        }],
        "modelVersion": "smart", "responseId": "0192",
        "usageMetadata": {
            "promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 3, "thoughtsTokenCount": 5, "totalTokenCount": 18,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}], "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 4}],
            "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 3}]
        }
    });
    assert_eq!(TO.answer(&asked, &answer()), expected);
    let parts = TO.answer(&with(json!({})), &answer())["candidates"][0]["content"]["parts"].clone();
    assert_eq!(parts[0], json!({"text": "Café: see"}));
}

fn events(list: &[Value]) -> String {
    let mut stream = String::new();
    for (i, event) in list.iter().enumerate() {
        let mut event = event.clone();
        event["sequence_number"] = i.into();
        let _ = write!(stream, "event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    }
    stream
}

fn streamed() -> String {
    let whole = answer();
    let item = |i: usize| whole["output"][i].clone();
    events(&[
        json!({"type": "response.created", "response": {"id": "resp_1", "model": "gpt-5.5-2026", "status": "in_progress", "output": []}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"id": "rs_1", "type": "reasoning", "summary": []}}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "item_id": "rs_1", "summary_index": 0, "delta": "a"}),
        json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "item_id": "rs_1", "summary_index": 1, "delta": "b"}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item(0)}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": {"id": "msg_1", "type": "message", "role": "assistant", "content": []}}),
        json!({"type": "response.content_part.added", "output_index": 1, "content_index": 0, "part": {"type": "output_text", "text": ""}}),
        json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "Café", "obfuscation": "xxx"}),
        json!({"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": ": see"}),
        json!({"type": "response.output_text.annotation.added", "output_index": 1, "content_index": 0, "annotation": item(1)["content"][0]["annotations"][0]}),
        json!({"type": "response.output_text.done", "output_index": 1, "content_index": 0, "text": "Café: see"}),
        json!({"type": "response.output_item.done", "output_index": 1, "item": item(1)}),
        // Parallel calls interleaved, and one without any delta.
        json!({"type": "response.output_item.added", "output_index": 2, "item": {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f", "arguments": ""}}),
        json!({"type": "response.output_item.added", "output_index": 3, "item": {"id": "fc_2", "type": "function_call", "call_id": "call_2", "name": "g", "arguments": ""}}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 2, "delta": "{\"a\""}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 2, "delta": ":1}"}),
        json!({"type": "response.output_item.done", "output_index": 3, "item": item(3)}),
        json!({"type": "response.output_item.done", "output_index": 2, "item": item(2)}),
        json!({"type": "response.completed", "response": whole}),
    ])
}

/// As [`To::stream`], with the query that decides the shape of the stream.
fn stream(request: &Value, query: &str, upstream: &str) -> String {
    let body = Bytes::from(request.to_string());
    let seen = peek(Dialect::Gemini, &body).unwrap();
    let call = Call {
        client: Dialect::Gemini,
        upstream: Dialect::OpenaiResponses,
        speaks_responses: false,
        client_model: "smart",
        upstream_model: "gpt-5.5",
        stream: true,
        peek: &seen,
        strict: false,
        response_id: "0192",
        created_at: Timestamp::UNIX_EPOCH,
        client_query: query,
        profiles: Profiles::builtin(),
        memory: &NoMemory,
        past_reasoning: PastReasoning::Sent,
        output_cap: None,
    };
    let run = |chunks: [&[u8]; 2]| {
        let mut stream = prepare(&call, &body, &[]).unwrap().session.stream();
        let mut out = Vec::new();
        for chunk in chunks {
            stream.push(Bytes::copy_from_slice(chunk), &mut out).unwrap();
        }
        stream.finish(&mut out).unwrap();
        text(&out)
    };
    let whole = run([upstream.as_bytes(), b""]);
    for cut in 0..upstream.len() {
        let (head, tail) = upstream.as_bytes().split_at(cut);
        assert_eq!(run([head, tail]), whole, "cut at {cut}");
    }
    whole
}

#[test]
fn a_stream_has_googles_records_and_gathers_into_the_plain_answer() {
    let request = with(json!({"generationConfig": {"thinkingConfig": {"includeThoughts": true}}}));
    let sse = stream(&request, "alt=sse", &streamed());
    assert!(sse.ends_with("\r\n\r\n") && !sse.contains("event:") && !sse.contains("[DONE]"));
    let records: Vec<Value> = sse
        .split("\r\n\r\n")
        .filter_map(|event| event.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let parts: Vec<&Value> = records.iter().map(|record| &record["candidates"][0]["content"]["parts"]).collect();
    assert_eq!(
        parts,
        [
            &json!([{"text": "a", "thought": true}]),
            &json!([{"text": "\n\n", "thought": true}]),
            &json!([{"text": "b", "thought": true}]),
            &json!([{"text": "Café"}]),
            &json!([{"text": ": see"}]),
            // All calls of the turn in one record, in their order, with the end.
            &json!([{"functionCall": {"id": "call_1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "skip_thought_signature_validator"}, {"functionCall": {"id": "call_2", "name": "g", "args": {}}}]),
        ]
    );
    let plain = TO.answer(&request, &answer());
    let last = records.last().unwrap();
    for field in ["usageMetadata", "modelVersion", "responseId"] {
        assert_eq!(last[field], plain[field]);
    }
    assert_eq!(last["candidates"][0]["finishReason"], "STOP");
    assert_eq!(last["candidates"][0]["groundingMetadata"], plain["candidates"][0]["groundingMetadata"]);
    assert!(records[..records.len() - 1].iter().all(|record| record["candidates"][0].get("finishReason").is_none()));

    let array = stream(&request, "", &streamed());
    assert_eq!(serde_json::from_str::<Vec<Value>>(&array).unwrap(), records);
    assert!(array.contains("},\r\n{"));
}

#[test]
fn a_stream_that_fails_ends_in_an_error_record() {
    let failed = events(&[
        json!({"type": "response.created", "response": {"id": "r", "status": "in_progress"}}),
        json!({"type": "response.failed", "response": {"id": "r", "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "try again in 1.5s"}}}),
    ]);
    let Err(StreamFailure::Upstream(failure)) = TO.stream(&with(json!({})), &failed) else { panic!("a failure") };
    assert_eq!(
        (failure.status, failure.class, failure.retry_after.map(|wait| wait.as_millis())),
        (429, FailureClass::RateLimited, Some(1500))
    );

    let mut stream = TO.open(&with(json!({})));
    let mut out = Vec::new();
    stream.fail(&ErrorReply::new(ErrorKind::UpstreamTimeout, "upstream_timeout", "Too slow.", "r"), &mut out);
    assert!(text(&out).contains(r#""status":"DEADLINE_EXCEEDED""#), "{}", text(&out));
    let cut = events(&[
        json!({"type": "response.created", "response": {}}),
        json!({"type": "response.output_text.delta", "delta": "x"}),
    ]);
    assert_eq!(TO.stream(&with(json!({})), &cut), Err(StreamFailure::Truncated));
}

#[test]
fn ends_are_told_apart() {
    let end = |status: &str, reason: Option<&str>, content: Value| {
        let body = json!({"id": "r", "status": status, "incomplete_details": reason.map(|reason| json!({"reason": reason})),
            "output": [{"type": "message", "role": "assistant", "content": content}]});
        TO.answer(&with(json!({})), &body)["candidates"][0]["finishReason"].clone()
    };
    let text = json!([{"type": "output_text", "text": "a"}]);
    assert_eq!(end("completed", None, text.clone()), "STOP");
    assert_eq!(end("incomplete", Some("max_output_tokens"), text.clone()), "MAX_TOKENS");
    assert_eq!(end("incomplete", Some("content_filter"), text), "SAFETY");
    assert_eq!(end("completed", None, json!([{"type": "refusal", "refusal": "No."}])), "SAFETY");
    let failed = json!({"id": "r", "status": "failed", "error": {"code": "server_error", "message": "boom"}});
    assert_eq!(
        TO.session(&with(json!({}))).answer(failed.to_string().into()).unwrap_err().to_string(),
        "the upstream reported an error in its answer: boom"
    );
}

#[test]
fn openais_errors_are_read() {
    let body = br#"{"error":{"message":"Rate limit reached. Please try again in 20s.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#;
    let failure = decode_error(Dialect::OpenaiResponses, 429, body);
    assert_eq!((failure.class, failure.retry_after.map(|wait| wait.as_secs())), (FailureClass::RateLimited, Some(20)));
}
