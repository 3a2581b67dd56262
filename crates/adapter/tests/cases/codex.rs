//! A turn of Codex, whole, over each other dialect; and sealed reasoning of OpenAI's in the hands of other clients.

use serde_json::{Value, json};
use tallygate_types::Dialect;

use crate::openai_schema::assert_valid;
use crate::support::{To, anthropic_sse, chat_sse, plain_sse, to};

const CHAT: To<'_> = to(Dialect::OpenaiResponses, Dialect::OpenaiChat, "qwen3");
const CLAUDE: To<'_> = to(Dialect::OpenaiResponses, Dialect::Anthropic, "claude-opus-4-5");
const GEMINI: To<'_> = to(Dialect::OpenaiResponses, Dialect::Gemini, "gemini-2.5-pro");

const PATCH: &str = "*** Begin Patch\n*** Update File: a.rs\n-\"old\"\n+\"new\"\n*** End Patch";

/// As Codex asks, with fields nobody else knows.
fn request(input: Vec<Value>) -> Value {
    json!({
        "model": "smart", "instructions": "You are Codex.", "input": input, "stream": true, "store": false,
        "tools": [
            {"type": "function", "name": "exec_command", "description": "Runs a command.", "strict": false,
                "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}, "required": ["cmd"], "additionalProperties": false}},
            {"type": "custom", "name": "apply_patch", "description": "Edits files.",
                "format": {"type": "grammar", "syntax": "lark", "definition": "start: begin_patch hunk+ end_patch"}},
            {"type": "namespace", "name": "mcp__mail__", "description": "Mail.", "tools": [
                {"type": "function", "name": "send", "description": "Sends.", "parameters": {"type": "object", "properties": {"to": {"type": "string"}}}}]},
            {"type": "web_search", "external_web_access": false}, {"type": "image_generation", "output_format": "png"}
        ],
        "tool_choice": "auto", "parallel_tool_calls": false, "reasoning": {"effort": "medium", "summary": "auto"},
        "include": ["reasoning.encrypted_content"], "prompt_cache_key": "thread-1", "text": {"verbosity": "low"},
        "client_metadata": {"x": "y"}, "access_programs": {"cyber": "standard"}
    })
}

fn question() -> Value {
    json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Fix it."}]})
}

/// What the model calls, by the names that are sent.
fn calls() -> [(&'static str, &'static str, Value); 3] {
    [
        ("call_1", "exec_command", json!({"cmd": "ls"})),
        ("call_2", "apply_patch", json!({ "input": PATCH })),
        ("call_3", "mcp__mail____send", json!({"to": "a@b.c"})),
    ]
}

/// The upstreams, each with what it streams.
fn upstreams() -> [(To<'static>, String); 3] {
    let chunk = |delta: Value, finish: Value| json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    let mut chat = vec![chunk(json!({"role": "assistant", "content": "Looking."}), Value::Null)];
    let mut claude = vec![
        json!({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "c", "content": [],
            "stop_reason": null, "usage": {"input_tokens": 9, "output_tokens": 0}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Looking."}}),
        json!({"type": "content_block_stop", "index": 1}),
    ];
    let mut parts = vec![json!({"text": "Looking."})];
    for (index, (id, name, arguments)) in calls().into_iter().enumerate() {
        let block = index + 2;
        chat.push(chunk(json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments.to_string()}}]}), Value::Null));
        claude.extend([
            json!({"type": "content_block_start", "index": block, "content_block": {"type": "tool_use", "id": id, "name": name, "input": {}}}),
            json!({"type": "content_block_delta", "index": block, "delta": {"type": "input_json_delta", "partial_json": arguments.to_string()}}),
            json!({"type": "content_block_stop", "index": block}),
        ]);
        parts.push(json!({"functionCall": {"id": id, "name": name, "args": arguments}, "thoughtSignature": "RXFV"}));
    }
    chat.push(chunk(json!({}), json!("tool_calls")));
    claude.extend([
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 5}}),
        json!({"type": "message_stop"}),
    ]);
    let gemini = [json!({"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14}, "modelVersion": "g"})];
    [(CHAT, chat_sse(&chat)), (CLAUDE, anthropic_sse(&claude)), (GEMINI, plain_sse(&gemini))]
}

#[test]
fn a_turn_of_codex_goes_to_every_upstream_and_its_calls_come_back_as_it_declared_them() {
    for (to, upstream) in upstreams() {
        let asked = request(vec![question()]);
        let body = to.body(&asked);
        let names: Vec<&Value> = match to.upstream {
            Dialect::OpenaiChat => body["tools"].as_array().unwrap().iter().map(|tool| &tool["function"]["name"]).collect(),
            Dialect::Anthropic => body["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect(),
            _ => body["tools"][0]["functionDeclarations"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect(),
        };
        assert_eq!(names, ["exec_command", "apply_patch", "mcp__mail____send"]);
        for field in ["client_metadata", "access_programs", "include", "store"] {
            assert_eq!(body.get(field), None, "{field}");
        }

        let events = to.events(&asked, &upstream);
        for event in &events {
            assert_valid("ResponseStreamEvent", event);
        }
        let response = &events.last().unwrap()["response"];
        assert_eq!(
            (&events.last().unwrap()["type"], &response["prompt_cache_key"]),
            (&json!("response.completed"), &json!("thread-1"))
        );
        // Codex runs tools from these events alone.
        let done: Vec<&Value> =
            events.iter().filter(|event| event["type"] == "response.output_item.done").map(|event| &event["item"]).collect();
        let output: Vec<&Value> = response["output"].as_array().unwrap().iter().collect();
        assert_eq!(done, output);
        let without_id = |item: &Value| {
            let mut item = item.clone();
            item.as_object_mut().unwrap().shift_remove("id");
            item
        };
        let items: Vec<Value> = done.iter().filter(|item| item.get("call_id").is_some()).map(|item| without_id(item)).collect();
        let ids: Vec<&Value> = items.iter().map(|item| &item["call_id"]).collect();
        assert_eq!(
            items,
            [
                json!({"type": "function_call", "status": "completed", "call_id": ids[0], "name": "exec_command", "arguments": "{\"cmd\":\"ls\"}"}),
                json!({"type": "custom_tool_call", "status": "completed", "call_id": ids[1], "name": "apply_patch", "input": PATCH}),
                json!({"type": "function_call", "status": "completed", "call_id": ids[2], "name": "send", "arguments": "{\"to\":\"a@b.c\"}", "namespace": "mcp__mail__"}),
            ]
        );

        // The next turn: everything as it came, then the outputs.
        let mut input = vec![question()];
        input.extend(done.iter().map(|item| (*item).clone()));
        for (item, kind) in items.iter().zip(["function_call_output", "custom_tool_call_output", "function_call_output"]) {
            input.push(json!({"type": kind, "call_id": item["call_id"], "output": "ok"}));
        }
        let next = to.body(&request(input)).to_string();
        assert_eq!(next.matches("\"ok\"").count(), 3, "{next}");
        let signed = match to.upstream {
            Dialect::Anthropic => "\"signature\":\"c2ln\"",
            Dialect::Gemini => "\"thoughtSignature\":\"RXFV\"",
            _ => "",
        };
        assert!(next.contains(signed) && next.contains("mcp__mail____send") && !next.contains("tg1:"), "{next}");
    }
}

/// What OpenAI sealed, in an answer of its own.
fn sealed() -> Value {
    json!({"id": "resp_1", "model": "g", "status": "completed", "output": [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}], "encrypted_content": "gAAAAB-_x=="},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}", "status": "completed"}],
        "usage": {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12}})
}

#[test]
fn sealed_reasoning_comes_home_from_an_anthropic_client_and_goes_nowhere_else() {
    let to_openai = to(Dialect::Anthropic, Dialect::OpenaiResponses, "gpt-5.5");
    let ask = |messages: Value| json!({"model": "smart", "max_tokens": 4000, "thinking": {"type": "adaptive"}, "messages": messages, "tools": [{"name": "f", "input_schema": {"type": "object"}}]});
    let user = json!({"role": "user", "content": "x"});
    let content = to_openai.answer(&ask(json!([user])), &sealed())["content"].clone();
    assert_eq!(content[0]["type"], "thinking");
    assert!(content[0]["signature"].as_str().unwrap().starts_with("tg1:openai:"), "{content}");
    let next = ask(json!([user, {"role": "assistant", "content": content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "r"}]}]));
    let items = to_openai.body(&next)["input"].clone();
    assert_eq!(items[1]["encrypted_content"], "gAAAAB-_x==");
    assert_eq!((&items[1]["type"], &items[2]["type"]), (&json!("reasoning"), &json!("function_call")));
    let elsewhere = to(Dialect::Anthropic, Dialect::Gemini, "gemini-2.5-pro").body(&next).to_string();
    assert!(!elsewhere.contains("gAAAAB") && !elsewhere.contains("tg1:"), "{elsewhere}");
}

#[test]
fn sealed_reasoning_comes_home_from_a_gemini_client_and_goes_nowhere_else() {
    let to_openai = to(Dialect::Gemini, Dialect::OpenaiResponses, "gpt-5.5");
    let ask = |contents: Value| json!({"contents": contents, "generationConfig": {"thinkingConfig": {"includeThoughts": true}}, "tools": [{"functionDeclarations": [{"name": "f"}]}]});
    let user = json!({"role": "user", "parts": [{"text": "x"}]});
    let model = to_openai.answer(&ask(json!([user])), &sealed())["candidates"][0]["content"].clone();
    let next = ask(
        json!([user, model, {"role": "user", "parts": [{"functionResponse": {"id": "call_1", "name": "f", "response": {"output": "r"}}}]}]),
    );
    let items = to_openai.body(&next)["input"].clone();
    let kinds: Vec<&Value> = items.as_array().unwrap().iter().map(|item| &item["type"]).collect();
    assert_eq!(kinds, ["message", "reasoning", "function_call", "function_call_output"]);
    assert_eq!(items[1]["encrypted_content"], "gAAAAB-_x==");
    let elsewhere = to(Dialect::Gemini, Dialect::Anthropic, "claude-opus-4-5").body(&next).to_string();
    assert!(!elsewhere.contains("gAAAAB") && !elsewhere.contains("tg1:"), "{elsewhere}");
}
