//! Agents' loops against the simulator, in each dialect, and what becomes of a history that lost or changed its reasoning.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tallygate_sim::{Returned, SimConfig, SimHandle, start};
use tokio::net::TcpStream;

const SCRIPT: &str =
    r#"go: sim-script=[[["weather",{"city":"Oslo"}],["clock",{"zone":"CET"}]],[["weather",{"city":"Rome"}]]] then say"#;
const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const GEMINI: &str = "/v1beta/models/gemini-3-pro-preview:generateContent";

async fn sim() -> SimHandle {
    start(SimConfig { chunk_delay_ms: 0, ..SimConfig::default() }).await.expect("a simulator")
}

async fn post(addr: SocketAddr, path: &str, body: &Value) -> (u16, Value) {
    let stream = TcpStream::connect(addr).await.expect("a connection");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    let request = Request::post(path)
        .header("host", addr.to_string())
        .header("authorization", "Bearer sk-good-1234")
        .header("x-goog-api-key", "sk-good-1234")
        .header("anthropic-version", "2023-06-01")
        .body(Full::new(Bytes::from(body.to_string())))
        .expect("a request");
    let (head, body) = sender.send_request(request).await.expect("a reply").into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    (head.status.as_u16(), serde_json::from_slice(&bytes).expect("JSON"))
}

fn schema() -> Value {
    json!({"type": "object", "properties": {}})
}

/// A first request, and how its dialect holds history.
fn opening(path: &str, model: &str) -> Value {
    match path {
        CHAT => {
            let tool = |name: &str| json!({"type": "function", "function": {"name": name, "parameters": schema()}});
            json!({"model": model, "messages": [{"role": "user", "content": SCRIPT}], "tools": [tool("weather"), tool("clock")]})
        }
        RESPONSES => {
            let tool = |name: &str| json!({"type": "function", "name": name, "parameters": schema(), "strict": false});
            json!({"model": model, "input": [{"role": "user", "content": SCRIPT}], "tools": [tool("weather"), tool("clock")],
                "store": false, "include": ["reasoning.encrypted_content"]})
        }
        MESSAGES => {
            let tool = |name: &str| json!({"name": name, "input_schema": schema()});
            json!({"model": model, "max_tokens": 4096, "messages": [{"role": "user", "content": SCRIPT}],
                "tools": [tool("weather"), tool("clock")]})
        }
        _ => {
            let tool = |name: &str| json!({"name": name, "parametersJsonSchema": schema()});
            json!({"contents": [{"role": "user", "parts": [{"text": SCRIPT}]}],
                "tools": [{"functionDeclarations": [tool("weather"), tool("clock")]}]})
        }
    }
}

/// Appends an answer and the results of its calls, which are numbered from `number`; tells how many calls there were.
fn follow(path: &str, body: &mut Value, answer: &Value, number: usize) -> usize {
    let result = |at: usize| format!("result {}", number + at);
    let push = |body: &mut Value, field: &str, item: Value| body[field].as_array_mut().expect("a list").push(item);
    match path {
        CHAT => {
            let message = answer["choices"][0]["message"].clone();
            let calls = message["tool_calls"].as_array().cloned().unwrap_or_default();
            push(body, "messages", message);
            for (at, call) in calls.iter().enumerate() {
                push(body, "messages", json!({"role": "tool", "tool_call_id": call["id"], "content": result(at)}));
            }
            calls.len()
        }
        RESPONSES => {
            let items = answer["output"].as_array().cloned().unwrap_or_default();
            let calls: Vec<&Value> = items.iter().filter(|item| item["type"] == "function_call").collect();
            for item in &items {
                push(body, "input", item.clone());
            }
            for (at, call) in calls.iter().enumerate() {
                let output = json!({"type": "function_call_output", "call_id": call["call_id"], "output": result(at)});
                push(body, "input", output);
            }
            calls.len()
        }
        MESSAGES => {
            let blocks = answer["content"].as_array().cloned().unwrap_or_default();
            let calls = blocks.iter().filter(|block| block["type"] == "tool_use");
            let results: Vec<Value> = calls
                .enumerate()
                .map(|(at, call)| json!({"type": "tool_result", "tool_use_id": call["id"], "content": result(at)}))
                .collect();
            let count = results.len();
            push(body, "messages", json!({"role": "assistant", "content": blocks}));
            if count > 0 {
                push(body, "messages", json!({"role": "user", "content": results}));
            }
            count
        }
        _ => {
            let content = answer["candidates"][0]["content"].clone();
            let calls = content["parts"].as_array().into_iter().flatten().filter(|part| part["functionCall"].is_object());
            let results: Vec<Value> = calls
                .enumerate()
                .map(|(at, part)| {
                    let call = &part["functionCall"];
                    json!({"functionResponse": {"id": call["id"], "name": call["name"], "response": {"output": result(at)}}})
                })
                .collect();
            let count = results.len();
            push(body, "contents", content);
            if count > 0 {
                push(body, "contents", json!({"role": "user", "parts": results}));
            }
            count
        }
    }
}

/// The conversation after the first step of the script, and the results it awaits.
async fn after_first_step(sim: &SimHandle, path: &str, body: &mut Value) {
    let (status, answer) = post(sim.addr, path, body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(follow(path, body, &answer, 1), 2, "{answer}");
}

fn message(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_script_runs_to_its_end_in_every_dialect() {
    let sim = sim().await;
    let loops = [
        (CHAT, "deepseek-reasoner"),
        (RESPONSES, "gpt-5.6"),
        (MESSAGES, "claude-opus-5-5"),
        (MESSAGES, "claude-sonnet-4-6"),
        (GEMINI, ""),
    ];
    for (path, model) in loops {
        let mut body = opening(path, model);
        if model == "claude-sonnet-4-6" {
            body["thinking"] = json!({"type": "enabled", "budget_tokens": 2048});
        }
        let (mut number, mut last) = (1, Value::Null);
        for calls in [2, 1, 0] {
            let (status, answer) = post(sim.addr, path, &body).await;
            assert_eq!(status, 200, "{path}: {answer}");
            assert_eq!(follow(path, &mut body, &answer, number), calls, "{path}: {answer}");
            number += calls;
            last = answer;
        }
        let said = last.to_string();
        for result in ["result 1", "result 2", "result 3"] {
            assert!(said.contains(result), "{path}: {said}");
        }
        let entries = sim.ledger();
        let returned: Vec<Returned> = entries[entries.len() - 3..].iter().map(|entry| entry.returned).collect();
        let kept = |kept| Returned { kept, ..Returned::default() };
        assert_eq!(returned, [kept(0), kept(1), kept(2)], "{path} {model}");
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn thinking_that_is_forged_foreign_altered_or_moved_is_refused() {
    let sim = sim().await;
    let mut body = opening(MESSAGES, "claude-opus-5-5");
    body["thinking"] = json!({"type": "adaptive", "display": "summarized"});
    after_first_step(&sim, MESSAGES, &mut body).await;
    let altered = |change: &dyn Fn(&mut Value)| {
        let mut changed = body.clone();
        change(&mut changed);
        changed
    };
    let cases = [
        (
            altered(&|body| body["messages"][1]["content"][0]["signature"] = json!("tg1.forged")),
            "Invalid `signature` in `thinking` block",
        ),
        (altered(&|body| body["model"] = json!("claude-fable-5-2")), "Invalid `signature` in `thinking` block"),
        (altered(&|body| body["messages"][1]["content"][0]["thinking"] = json!("something else")), "cannot be modified"),
        (altered(&|body| body["messages"][0]["content"] = json!(format!("{SCRIPT}!"))), "bound to a different conversation"),
        (altered(&|body| body["system"] = json!("be brief")), "bound to a different conversation"),
        (altered(&|body| body["messages"][1]["content"][2]["input"]["city"] = json!("Bergen")), "came back as"),
    ];
    for (body, wanted) in cases {
        let (status, answer) = post(sim.addr, MESSAGES, &body).await;
        assert_eq!(status, 400, "{wanted}: {answer}");
        assert!(message(&answer).contains(wanted), "{wanted}: {answer}");
    }
    // The client may move its cache markers, write text as a block, and ask for unbound blocks to be dropped.
    let marked = json!([{"type": "text", "text": SCRIPT, "cache_control": {"type": "ephemeral"}}]);
    let mut harmless = altered(&|body| body["messages"][0]["content"] = marked.clone());
    assert_eq!(post(sim.addr, MESSAGES, &harmless).await.0, 200);
    harmless["system"] = json!("be brief");
    harmless["thinking"]["block_binding"] = json!({"prefix_mismatch_behavior": "drop_block"});
    assert_eq!(post(sim.addr, MESSAGES, &harmless).await.0, 200);
    let refusals = sim.ledger().iter().filter(|entry| entry.refusal.is_some()).count();
    assert_eq!(refusals, 6);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_thinking_budget_needs_the_thinking_before_the_calls() {
    let sim = sim().await;
    let mut body = opening(MESSAGES, "claude-sonnet-4-5");
    body["thinking"] = json!({"type": "enabled", "budget_tokens": 2048});
    after_first_step(&sim, MESSAGES, &mut body).await;
    body["messages"][1]["content"].as_array_mut().expect("blocks").remove(0);
    let (status, answer) = post(sim.addr, MESSAGES, &body).await;
    assert_eq!(status, 400);
    let wanted = "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `text`.";
    assert!(message(&answer).starts_with(wanted), "{answer}");
    // Adaptive thinking lets it pass, and the books show it.
    let mut adaptive = opening(MESSAGES, "claude-opus-5");
    after_first_step(&sim, MESSAGES, &mut adaptive).await;
    adaptive["messages"][1]["content"].as_array_mut().expect("blocks").remove(0);
    assert_eq!(post(sim.addr, MESSAGES, &adaptive).await.0, 200);
    assert_eq!(sim.ledger().last().map(|entry| entry.returned), Some(Returned { missing: 1, ..Returned::default() }));
    sim.shutdown().await;
}

#[tokio::test]
async fn redacted_thinking_comes_back_as_it_went() {
    let sim = sim().await;
    let mut body = opening(MESSAGES, "claude-sonnet-4-6");
    body["thinking"] = json!({"type": "enabled", "budget_tokens": 2048});
    body["messages"][0]["content"] = json!(format!("sim-redacted {SCRIPT}"));
    after_first_step(&sim, MESSAGES, &mut body).await;
    assert_eq!(body["messages"][1]["content"][0]["type"], "redacted_thinking");
    assert_eq!(post(sim.addr, MESSAGES, &body).await.0, 200);
    body["messages"][1]["content"][0]["data"] = json!("EmwKAhgB");
    let (status, answer) = post(sim.addr, MESSAGES, &body).await;
    assert_eq!((status, message(&answer)), (400, "messages.1.content.0: Invalid `data` in `redacted_thinking` block"));
    sim.shutdown().await;
}

#[tokio::test]
async fn gemini_wants_the_first_call_of_each_step_signed() {
    let sim = sim().await;
    let mut body = opening(GEMINI, "");
    after_first_step(&sim, GEMINI, &mut body).await;
    let parts = body["contents"][1]["parts"].as_array().expect("parts").clone();
    let first = parts.iter().position(|part| part["functionCall"].is_object()).expect("a call");
    assert!(parts[first]["thoughtSignature"].is_string() && parts[first + 1].get("thoughtSignature").is_none());
    let with = |signature: Value| {
        let mut changed = body.clone();
        changed["contents"][1]["parts"][first]["thoughtSignature"] = signature;
        changed
    };
    let (status, answer) = post(sim.addr, GEMINI, &with(Value::Null)).await;
    assert_eq!(status, 400);
    let wanted = format!("function call `default_api:weather` , position {first}.");
    assert!(message(&answer).ends_with(&wanted), "{answer}");
    let (status, answer) = post(sim.addr, GEMINI, &with(json!("Y2xhdWRl"))).await;
    assert_eq!((status, message(&answer)), (400, "Corrupted thought signature."));
    for sentinel in ["skip_thought_signature_validator", "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="] {
        assert_eq!(post(sim.addr, GEMINI, &with(json!(sentinel))).await.0, 200, "{sentinel}");
        assert_eq!(sim.ledger().last().map(|entry| entry.returned), Some(Returned { sentinels: 1, ..Returned::default() }));
    }
    let url_safe = parts[first]["thoughtSignature"].as_str().unwrap_or_default().replace('+', "-").replace('/', "_");
    assert_eq!(post(sim.addr, GEMINI, &with(json!(url_safe))).await.0, 200);
    // On the sibling it stands on another call.
    let mut moved = with(json!("skip_thought_signature_validator"));
    moved["contents"][1]["parts"][first + 1]["thoughtSignature"] = parts[first]["thoughtSignature"].clone();
    assert_eq!(message(&post(sim.addr, GEMINI, &moved).await.1), "Corrupted thought signature.");
    // Earlier turns are not looked at.
    let mut later = with(Value::Null);
    later["contents"]
        .as_array_mut()
        .expect("contents")
        .extend([json!({"role": "model", "parts": [{"text": "done"}]}), json!({"role": "user", "parts": [{"text": "thanks"}]})]);
    assert_eq!(post(sim.addr, GEMINI, &later).await.0, 200);
    sim.shutdown().await;
}

#[tokio::test]
async fn responses_wants_readable_reasoning_before_its_call() {
    let sim = sim().await;
    let mut body = opening(RESPONSES, "gpt-5.6");
    after_first_step(&sim, RESPONSES, &mut body).await;
    assert_eq!(body["input"][1]["type"], "reasoning");
    let mut forged = body.clone();
    forged["input"][1]["encrypted_content"] = json!("tg1:anthropic:abc");
    let (status, answer) = post(sim.addr, RESPONSES, &forged).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (400, Some("invalid_encrypted_content")));
    let mut alone = body.clone();
    alone["input"].as_array_mut().expect("items").remove(1);
    let (_, answer) = post(sim.addr, RESPONSES, &alone).await;
    assert!(message(&answer).contains("was provided without its required 'reasoning' item: 'rs_sim"), "{answer}");
    // A caller that rebuilds its items without their ids is served, without what it lost.
    for item in alone["input"].as_array_mut().expect("items") {
        item.as_object_mut().expect("an item").shift_remove("id");
    }
    assert_eq!(post(sim.addr, RESPONSES, &alone).await.0, 200);
    assert_eq!(sim.ledger().last().map(|entry| entry.returned), Some(Returned { missing: 1, ..Returned::default() }));
    let mut without_item = opening(RESPONSES, "gpt-5.6");
    let reasoning = body["input"][1].clone();
    without_item["input"].as_array_mut().expect("items").push(reasoning);
    let (_, answer) = post(sim.addr, RESPONSES, &without_item).await;
    assert!(message(&answer).ends_with("of type 'reasoning' was provided without its required following item."), "{answer}");
    let mut bare = body.clone();
    bare["input"][1].as_object_mut().expect("an item").shift_remove("encrypted_content");
    let (_, answer) = post(sim.addr, RESPONSES, &bare).await;
    assert!(message(&answer).contains("Items are not persisted when `store` is set to false."), "{answer}");
    sim.shutdown().await;
}

#[tokio::test]
async fn anthropic_judges_emptiness_and_order_as_probed() {
    let sim = sim().await;
    let call = json!({"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}});
    let result = json!({"type": "tool_result", "tool_use_id": "toolu_1"});
    let text = |text: &str| json!({"type": "text", "text": text});
    let called = |content: Value| json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": content}, {"role": "user", "content": [result]}]);
    let between = |content: Value| json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": content}, {"role": "user", "content": "go on"}]);
    let user = |content: Value| json!([{"role": "user", "content": content}]);
    let answered = |content: Value| json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": [call]}, {"role": "user", "content": content}]);
    let with_content = |content: Value| json!({"type": "tool_result", "tool_use_id": "toolu_1", "content": content});
    let cases = [
        (called(json!([text(""), call])), 400),
        (called(json!([text("\n\n"), call])), 200),
        (between(json!([text(" ")])), 400),
        (between(json!([])), 200),
        (between(json!("")), 200),
        (user(json!("\n")), 400),
        (user(json!([text(" ")])), 400),
        (user(json!("")), 400),
        (user(json!([])), 400),
        (user(json!([text("hi"), text(" ")])), 200),
        (user(json!([text(""), text("x")])), 400),
        (answered(json!([with_content(json!(""))])), 200),
        (answered(json!([with_content(json!([]))])), 200),
        (answered(json!([with_content(json!(" "))])), 200),
        (answered(json!([with_content(json!([text("")]))])), 200),
        (answered(json!([result, text("and now?")])), 200),
        (answered(json!([text("and now?"), result])), 400),
        (answered(json!([result, result])), 400),
        (answered(json!("no result")), 400),
    ];
    for (messages, wanted) in cases {
        let mut body = opening(MESSAGES, "claude-opus-4-6");
        body["messages"] = messages;
        let (status, answer) = post(sim.addr, MESSAGES, &body).await;
        assert_eq!(status, wanted, "{}: {answer}", body["messages"]);
    }
    let systems =
        [(json!(""), 200), (json!("  "), 400), (json!([text("be brief"), text("")]), 400), (json!([text("be brief")]), 200)];
    for (system, wanted) in systems {
        let mut body = opening(MESSAGES, "claude-opus-4-6");
        body["system"] = system;
        assert_eq!(post(sim.addr, MESSAGES, &body).await.0, wanted, "{}", body["system"]);
    }
    sim.shutdown().await;
}

#[tokio::test]
async fn models_refuse_what_they_do_not_take() {
    let sim = sim().await;
    let cases = [
        (MESSAGES, "claude-opus-5-5", json!({"temperature": 0.5}), "`temperature` is deprecated for this model."),
        (
            MESSAGES,
            "claude-opus-5-5",
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}),
            "\"thinking.type.enabled\" is not supported for this model.",
        ),
        (
            MESSAGES,
            "claude-sonnet-5-5",
            json!({"tool_choice": {"type": "any"}}),
            "tool_choice: this model does not support forced tool use; use `auto` or `none`.",
        ),
        (MESSAGES, "claude-opus-4-6", json!({"reasoning_effort": "low"}), "reasoning_effort: Extra inputs are not permitted"),
        (
            CHAT,
            "gpt-5.6",
            json!({}),
            "Function tools with reasoning_effort are not supported for this model in /v1/chat/completions. Please use /v1/responses instead.",
        ),
        (
            CHAT,
            "gpt-5.2",
            json!({"max_tokens": 5}),
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        ),
        (CHAT, "gpt-4o", json!({"thinking": {}}), "Unknown parameter: 'thinking'."),
        (RESPONSES, "gpt-5.6", json!({"stop": ["x"]}), "Unknown parameter: 'stop'."),
        (GEMINI, "", json!({"messages": []}), "Invalid JSON payload received. Unknown name \"messages\": Cannot find field."),
        (
            GEMINI,
            "",
            json!({"generationConfig": {"thinkingConfig": {"thinkingBudget": 1, "thinkingLevel": "LOW"}}}),
            "You can only set only one of thinking budget and thinking level.",
        ),
    ];
    for (path, model, change, wanted) in cases {
        let mut body = opening(path, model);
        for (field, value) in change.as_object().expect("fields") {
            body[field] = value.clone();
        }
        let (status, answer) = post(sim.addr, path, &body).await;
        assert_eq!((status, message(&answer)), (400, wanted), "{path} {model}");
        assert_eq!(sim.ledger().last().and_then(|entry| entry.refusal.clone()).as_deref(), Some(wanted));
    }
    sim.shutdown().await;
}
