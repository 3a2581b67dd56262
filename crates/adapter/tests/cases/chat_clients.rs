//! What clients of Chat Completions need beyond the document: cases b47, b75, b77, b80, and the carriers of signatures.

use serde_json::{Value, json};
use tallygate_types::Dialect;

use crate::common::gather_chat;
use crate::support::{To, anthropic_sse, plain_sse, to};

const fn at(upstream: Dialect, model: &str) -> To<'_> {
    to(Dialect::OpenaiChat, upstream, model)
}

const ANTHROPIC: To<'_> = at(Dialect::Anthropic, "claude-opus-4-8");
const GEMINI: To<'_> = at(Dialect::Gemini, "gemini-3-pro-preview");
const RESPONSES: To<'_> = at(Dialect::OpenaiResponses, "gpt-5.6");

fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}])
}

fn asked(stream: bool) -> Value {
    json!({"model": "smart", "stream": stream, "messages": [{"role": "user", "content": "x"}], "tools": tools()})
}

/// The next request of a client that sends messages back as it got them.
fn replayed(message: &Value) -> Value {
    let id = &message["tool_calls"][0]["id"];
    json!({"model": "smart", "tools": tools(), "messages": [
        {"role": "user", "content": "x"}, message, {"role": "tool", "tool_call_id": id, "content": "done"}]})
}

#[test]
fn anthropics_thinking_comes_back_exactly_from_a_client_that_keeps_unknown_fields() {
    let blocks = json!([
        {"type": "thinking", "thinking": "Let me see…", "signature": "EqQB+/=="},
        {"type": "redacted_thinking", "data": "cmVk"},
        {"type": "thinking", "thinking": "", "signature": "c2ln"},
        {"type": "text", "text": "Looking."},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}]);
    let answer = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": blocks,
        "stop_reason": "tool_use", "usage": {"input_tokens": 1, "output_tokens": 1}});
    let message = ANTHROPIC.answer(&asked(false), &answer)["choices"][0]["message"].clone();
    assert_eq!(
        message["reasoning_details"],
        json!([
            {"type": "reasoning.text", "format": "anthropic-claude-v1", "text": "Let me see…", "signature": "EqQB+/=="},
            {"type": "reasoning.encrypted", "format": "anthropic-claude-v1", "data": "cmVk"},
            {"type": "reasoning.text", "format": "anthropic-claude-v1", "text": "", "signature": "c2ln"}])
    );
    assert_eq!(message["reasoning_content"], "Let me see…");

    let mut events =
        vec![json!({"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 1, "output_tokens": 1}}})];
    for (index, block) in blocks.as_array().unwrap().iter().enumerate() {
        let (start, deltas) = match block["type"].as_str().unwrap() {
            "thinking" => (
                json!({"type": "thinking", "thinking": "", "signature": ""}),
                vec![
                    json!({"type": "thinking_delta", "thinking": block["thinking"]}),
                    json!({"type": "signature_delta", "signature": block["signature"]}),
                ],
            ),
            "text" => (json!({"type": "text", "text": ""}), vec![json!({"type": "text_delta", "text": block["text"]})]),
            "tool_use" => (
                json!({"type": "tool_use", "id": block["id"], "name": block["name"], "input": {}}),
                vec![json!({"type": "input_json_delta", "partial_json": block["input"].to_string()})],
            ),
            _ => (block.clone(), vec![]),
        };
        events.push(json!({"type": "content_block_start", "index": index, "content_block": start}));
        events.extend(deltas.into_iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})));
        events.push(json!({"type": "content_block_stop", "index": index}));
    }
    events.push(json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 1}}));
    events.push(json!({"type": "message_stop"}));
    let streamed = gather_chat(&ANTHROPIC.once(&asked(true), &anthropic_sse(&events)));
    assert_eq!(streamed["choices"][0]["message"], message);

    let next = replayed(&message);
    assert_eq!(ANTHROPIC.body(&next)["messages"][1]["content"], blocks);
    // LiteLLM's clients keep its form only.
    let mut other = message.clone();
    other.as_object_mut().unwrap().remove("reasoning_details");
    assert_eq!(ANTHROPIC.body(&replayed(&other))["messages"][1]["content"], blocks);
    // Nobody else reads what is Anthropic's.
    for to in [GEMINI, RESPONSES] {
        let sent = to.body(&next).to_string();
        assert!(!sent.contains("EqQB") && !sent.contains("cmVk") && !sent.contains("c2ln"), "{sent}");
    }
}

#[test]
fn thinking_between_texts_comes_back_in_its_place() {
    let blocks = json!([
        {"type": "thinking", "thinking": "a", "signature": "c2lnMQ=="},
        {"type": "text", "text": "Für 🙂 "},
        {"type": "thinking", "thinking": "b", "signature": "c2lnMg=="},
        {"type": "redacted_thinking", "data": "cmVk"},
        {"type": "text", "text": "dich."},
        {"type": "thinking", "thinking": "c", "signature": "c2lnMw=="},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]);
    let answer = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": blocks,
        "stop_reason": "tool_use", "usage": {"input_tokens": 1, "output_tokens": 1}});
    let message = ANTHROPIC.answer(&asked(false), &answer)["choices"][0]["message"].clone();
    assert_eq!(message["content"], "Für 🙂 dich.");
    assert_eq!(ANTHROPIC.body(&replayed(&message))["messages"][1]["content"], blocks);
}

#[test]
fn case_b47_geminis_signatures_come_back_exactly_from_a_client_that_echoes_extra_content() {
    let parts = json!([
        {"text": "Looking."},
        {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "RXFV-_=="},
        {"functionCall": {"name": "f", "args": {"a": 2}}}]);
    let event = |parts: &Value| {
        json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}, "responseId": "r1"})
    };
    let message = GEMINI.answer(&asked(false), &event(&parts))["choices"][0]["message"].clone();
    let mark = json!({"google": {"thought_signature": "RXFV-_=="}});
    assert_eq!((&message["tool_calls"][0]["extra_content"], message["tool_calls"][1].get("extra_content")), (&mark, None));
    let streamed = gather_chat(&GEMINI.once(&asked(true), &plain_sse(&[event(&parts)])));
    assert_eq!(streamed["choices"][0]["message"], message);

    let mut next = replayed(&message);
    let second = json!({"role": "tool", "tool_call_id": message["tool_calls"][1]["id"], "content": "too"});
    next["messages"].as_array_mut().unwrap().push(second);
    let sent = GEMINI.body(&next)["contents"][1]["parts"].clone();
    assert_eq!((&sent[0], sent[1]["thoughtSignature"].as_str()), (&parts[0], Some("RXFV-_==")));
    assert_eq!((&sent[1]["functionCall"]["args"], sent[2].get("thoughtSignature")), (&json!({"a": 1}), None));
    for to in [ANTHROPIC, RESPONSES] {
        let sent = to.body(&next).to_string();
        assert!(!sent.contains("RXFV") && !sent.contains("extra_content"), "{sent}");
    }

    // The signature of a turn of text stands on the message.
    let said = json!([{"text": "Hello", "thoughtSignature": "dGV4dA=="}]);
    let message = GEMINI.answer(&asked(false), &event(&said))["choices"][0]["message"].clone();
    assert_eq!(message["extra_content"], json!({"google": {"thought_signature": "dGV4dA=="}}));
    let streamed = gather_chat(&GEMINI.once(&asked(true), &plain_sse(&[event(&said)])));
    assert_eq!(streamed["choices"][0]["message"], message);
    let next =
        json!({"model": "smart", "messages": [{"role": "user", "content": "x"}, message, {"role": "user", "content": "y"}]});
    assert_eq!(GEMINI.body(&next)["contents"][1]["parts"], said);
}

#[test]
fn openais_sealed_reasoning_comes_back_exactly() {
    let answer = json!({"id": "resp_1", "object": "response", "status": "completed", "output": [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Short."}], "encrypted_content": "gAAAA"},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}", "status": "completed"}]});
    let message = RESPONSES.answer(&asked(false), &answer)["choices"][0]["message"].clone();
    assert_eq!(
        message["reasoning_details"],
        json!([
            {"type": "reasoning.summary", "id": "rs_1", "format": "openai-responses-v1", "summary": "Short."},
            {"type": "reasoning.encrypted", "id": "rs_1", "format": "openai-responses-v1", "data": "gAAAA"}])
    );
    let sent = RESPONSES.body(&replayed(&message));
    let items: Vec<&Value> = sent["input"].as_array().unwrap().iter().filter(|item| item["type"] == "reasoning").collect();
    assert_eq!(items.len(), 1);
    assert_eq!(
        (&items[0]["id"], &items[0]["encrypted_content"], &items[0]["summary"]),
        (&json!("rs_1"), &json!("gAAAA"), &json!([{"type": "summary_text", "text": "Short."}]))
    );
    assert!(!ANTHROPIC.body(&replayed(&message)).to_string().contains("gAAAA"));
}

#[test]
fn case_b75_a_function_without_strict_is_said_not_to_be() {
    let strict = |function: Value| {
        let request = json!({"model": "smart", "messages": [{"role": "user", "content": "x"}],
            "tools": [{"type": "function", "function": function}]});
        RESPONSES.body(&request)["tools"].clone()
    };
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    assert_eq!(
        strict(json!({"name": "f", "description": "d", "parameters": schema})),
        json!([{"type": "function", "name": "f", "description": "d", "parameters": schema, "strict": false}])
    );
    assert_eq!(strict(json!({"name": "f", "parameters": schema, "strict": null}))[0]["strict"], false);
    let closed = json!({"type": "object", "properties": {}, "required": [], "additionalProperties": false});
    assert_eq!(strict(json!({"name": "f", "parameters": closed, "strict": true}))[0]["strict"], true);
}

#[test]
fn case_b77_calls_that_interleave_by_item_keep_their_indexes() {
    let item = |n: u32, index: u32| {
        json!({"type": "function_call", "id": format!("fc_{n}"), "call_id": format!("call_{n}"), "name": format!("f{n}"),
            "arguments": "", "status": "in_progress", "index": index})
    };
    let delta = |n: u32, at: u32, text: &str| json!({"type": "response.function_call_arguments.delta", "item_id": format!("fc_{n}"), "output_index": at, "delta": text});
    let done = |n: u32, at: u32, text: &str| json!({"type": "response.function_call_arguments.done", "item_id": format!("fc_{n}"), "output_index": at, "arguments": text});
    let mut events = vec![
        json!({"type": "response.created", "response": {"id": "resp_1", "object": "response", "status": "in_progress", "model": "m", "output": []}}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item(1, 0)}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": item(2, 1)}),
        delta(1, 0, "{\"x\""),
        delta(2, 1, "{\"y\""),
        delta(1, 0, ":1}"),
        delta(2, 1, ":2}"),
        done(2, 1, "{\"y\":2}"),
        done(1, 0, "{\"x\":1}"),
    ];
    let finished = |n: u32, text: &str| {
        json!({"type": "function_call", "id": format!("fc_{n}"), "call_id": format!("call_{n}"),
        "name": format!("f{n}"), "arguments": text, "status": "completed"})
    };
    let (first, second) = (finished(1, "{\"x\":1}"), finished(2, "{\"y\":2}"));
    events.push(json!({"type": "response.output_item.done", "output_index": 0, "item": first}));
    events.push(json!({"type": "response.output_item.done", "output_index": 1, "item": second}));
    events.push(json!({"type": "response.completed", "response": {"id": "resp_1", "object": "response", "status": "completed",
        "model": "m", "output": [first, second], "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}}}));
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = number.into();
    }
    let mut request = asked(true);
    request["tools"] =
        json!([{"type": "function", "function": {"name": "f1"}}, {"type": "function", "function": {"name": "f2"}}]);
    let chunks = RESPONSES.events(&request, &anthropic_sse(&events));
    let deltas: Vec<Value> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"].as_array().map(|calls| calls[0].clone()))
        .collect();
    let opened = |n: u32, index: u32| json!({"index": index, "id": format!("call_{n}"), "type": "function", "function": {"name": format!("f{n}"), "arguments": ""}});
    let more = |index: u32, text: &str| json!({"index": index, "function": {"arguments": text}});
    assert_eq!(deltas, [opened(1, 0), opened(2, 1), more(0, "{\"x\""), more(1, "{\"y\""), more(0, ":1}"), more(1, ":2}")]);
    assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(chunks.last().unwrap(), "[DONE]");
}

#[test]
fn case_b80_cursors_body_of_the_responses_api_is_answered_as_a_chat_stream() {
    let cursor = json!({"model": "smart", "stream": true, "stream_options": {"include_usage": true}, "user": "u1",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Looking."}]},
            {"type": "function_call", "call_id": "call_1", "name": "read", "arguments": "{\"path\":\"a\"}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "text"}],
        "tools": [{"type": "function", "name": "read", "description": "d", "parameters": {"type": "object", "properties": {}}}],
        "tool_choice": "auto", "max_output_tokens": 50, "text": {"format": {"type": "text"}},
        "include": ["reasoning.encrypted_content"], "store": false});
    let chat = at(Dialect::OpenaiChat, "gpt-4o");
    let outgoing = chat.prepare(&cursor).unwrap();
    assert_eq!(outgoing.path, "/v1/chat/completions");
    assert_eq!(
        serde_json::from_slice::<Value>(&outgoing.body.whole()).unwrap(),
        json!({"model": "gpt-4o", "stream": true, "stream_options": {"include_usage": true}, "safety_identifier": "u1",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hi"},
                {"role": "assistant", "content": "Looking.", "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "read", "arguments": "{\"path\":\"a\"}"}}]},
                {"role": "tool", "content": "text", "tool_call_id": "call_1"}],
            "tools": [{"type": "function", "function": {"name": "read", "description": "d", "parameters": {"type": "object", "properties": {}}}}],
            "tool_choice": "auto", "max_completion_tokens": 50})
    );
    let claude = at(Dialect::Anthropic, "claude-sonnet-4-5");
    assert_eq!(
        claude.body(&cursor)["messages"],
        json!([
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [{"type": "text", "text": "Looking."},
                {"type": "tool_use", "id": "call_1", "name": "read", "input": {"path": "a"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "text"}]}])
    );
    let own = at(Dialect::OpenaiResponses, "gpt-4o").prepare(&cursor).unwrap();
    assert_eq!(own.path, "/v1/responses");

    let events = [
        json!({"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 3, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Done."}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}),
        json!({"type": "message_stop"}),
    ];
    let chunks = claude.events(&cursor, &anthropic_sse(&events));
    let said: Vec<Value> = chunks[..3].iter().map(|chunk| chunk["choices"][0].clone()).collect();
    assert_eq!(
        said,
        [
            json!({"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}),
            json!({"index": 0, "delta": {"content": "Done."}, "finish_reason": null}),
            json!({"index": 0, "delta": {}, "finish_reason": "stop"})
        ]
    );
    assert!(chunks[..4].iter().all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["id"] == "chatcmpl-1"));
    assert_eq!((&chunks[3]["choices"], &chunks[3]["usage"]["total_tokens"]), (&json!([]), &json!(5)));
    assert_eq!(chunks[4], "[DONE]");
}

#[test]
fn blocks_and_tools_of_other_protocols_inside_chat_are_understood() {
    let mixed = json!({"model": "smart", "max_tokens": 50,
        "messages": [
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Looking."},
                {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"path": "a"}}]},
            {"role": "user", "content": [{"type": "text", "text": "and?"},
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "gone"}], "is_error": true}]}],
        "tools": [{"type": "function", "name": "read", "parameters": {"type": "object", "properties": {}}},
            {"name": "write", "description": "w", "input_schema": {"type": "object", "properties": {}}}]});
    let claude = at(Dialect::Anthropic, "claude-sonnet-4-5");
    let body = claude.body(&mixed);
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [{"type": "text", "text": "Hi"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}]},
            {"role": "assistant", "content": [{"type": "text", "text": "Looking."},
                {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"path": "a"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "gone", "is_error": true},
                {"type": "text", "text": "and?"}]}])
    );
    assert_eq!(
        body["tools"],
        json!([{"name": "read", "input_schema": {"type": "object", "properties": {}}},
            {"name": "write", "description": "w", "input_schema": {"type": "object", "properties": {}}}])
    );
}

#[test]
fn fields_of_chat_front_ends_do_no_harm_and_are_named() {
    let request = json!({"model": "smart", "max_tokens": 5, "messages": [{"role": "user", "content": "x", "timestamp": 1}],
        "chat_id": "c", "session_id": "s", "tool_ids": [], "features": {"web_search": false}, "num_ctx": null});
    let claude = at(Dialect::Anthropic, "claude-sonnet-4-5");
    assert_eq!(claude.loss(&request), "dropped=messages[0].timestamp,chat_id,session_id,tool_ids,features");
}

#[test]
fn results_are_paired_with_calls_even_where_ids_are_empty() {
    let request = |ids: [&str; 2]| {
        json!({"model": "smart", "max_tokens": 5, "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "tool_calls": [
                {"id": "", "type": "function", "function": {"name": "a", "arguments": "{}"}},
                {"id": "", "type": "function", "function": {"name": "b", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": ids[0], "name": "b", "content": "of b"},
            {"role": "tool", "tool_call_id": ids[1], "content": "of a"}]})
    };
    let claude = at(Dialect::Anthropic, "claude-sonnet-4-5");
    let body = claude.body(&request(["", ""]));
    let id = |turn: usize, block: usize, field: &str| body["messages"][turn]["content"][block][field].clone();
    assert_eq!((id(1, 0, "name"), id(1, 1, "name")), (json!("a"), json!("b")));
    assert_eq!((id(2, 0, "tool_use_id"), id(2, 1, "tool_use_id")), (id(1, 1, "id"), id(1, 0, "id")));
    assert_eq!(claude.refusal(&request(["", "call_9"])).0.as_deref(), Some("messages[3].tool_call_id"));
}
