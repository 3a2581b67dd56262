//! What a provider signed comes back to it through clients that drop it, and to nobody else.

use serde_json::{Value, json};
use tallygate_store::TargetEntry;
use tallygate_types::Dialect;

use crate::rig::{Gateway, KEY, OTHER_KEY, Rig, target, upstream as entry};
use crate::upstream::{Act, Upstream, answer, stream};

const SENTINEL: &str = "skip_thought_signature_validator";

fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}])
}

fn first_turn(streams: bool) -> Value {
    json!({"model": "smart", "stream": streams, "tools": tools(), "messages": [{"role": "user", "content": "How is it?"}]})
}

/// The second turn of a client that sends standard fields only.
fn second_turn(streams: bool, ids: &[&str]) -> Value {
    let calls: Vec<Value> =
        ids.iter().map(|id| json!({"id": id, "type": "function", "function": {"name": "weather", "arguments": "{}"}})).collect();
    let mut messages = vec![
        json!({"role": "user", "content": "How is it?"}),
        json!({"role": "assistant", "content": null, "tool_calls": calls}),
    ];
    messages.extend(ids.iter().map(|id| json!({"role": "tool", "tool_call_id": id, "content": "sunny"})));
    json!({"model": "smart", "stream": streams, "tools": tools(), "messages": messages})
}

fn gemini(signature: &str) -> Value {
    json!({"responseId": "g1", "modelVersion": "real", "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11},
    "candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [
        {"functionCall": {"name": "weather", "args": {}}, "thoughtSignature": signature},
        {"functionCall": {"name": "weather", "args": {}}},
    ]}}]})
}

fn claude(thinking: &str, signature: &str) -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "real", "stop_reason": "tool_use", "stop_sequence": null,
        "content": [
            {"type": "thinking", "thinking": thinking, "signature": signature},
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
        ],
        "usage": {"input_tokens": 9, "output_tokens": 2}})
}

/// The same answer as a stream.
fn claude_events(thinking: &str, signature: &str) -> Vec<Act> {
    let events = [
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "real", "content": [], "stop_reason": null, "stop_sequence": null, "usage": {"input_tokens": 9, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": thinking}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": signature}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Let me look."}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}}),
        json!({"type": "content_block_stop", "index": 2}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 2}}),
        json!({"type": "message_stop"}),
    ];
    let text: Vec<String> =
        events.iter().map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())).collect();
    stream(&text.iter().map(String::as_str).collect::<Vec<_>>())
}

fn ok(body: &Value) -> Vec<Act> {
    answer(200, &[], &body.to_string())
}

fn sse(record: &Value) -> Vec<Act> {
    stream(&[&format!("data: {record}\n\n")])
}

fn body(provider: &Upstream, number: usize) -> Value {
    serde_json::from_str(&provider.seen()[number].body).unwrap()
}

/// Ids of the calls in a chat answer, streamed or whole.
fn call_ids(text: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for line in text.lines() {
        let Ok(value) = serde_json::from_str::<Value>(line.strip_prefix("data: ").unwrap_or(line)) else { continue };
        for holder in ["delta", "message"] {
            let calls = value["choices"][0][holder]["tool_calls"].as_array().cloned().unwrap_or_default();
            ids.extend(calls.iter().filter_map(|call| call["id"].as_str().map(str::to_owned)));
        }
    }
    ids
}

async fn ids_of_first_turn(gateway: &Gateway, streams: bool) -> Vec<String> {
    let reply = gateway.chat(&first_turn(streams).to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    call_ids(&reply.body)
}

#[tokio::test]
async fn case_b46_a_signed_call_gets_its_signature_back_though_the_client_echoes_standard_fields_only() {
    for streams in [false, true] {
        let record = gemini("c2lnbmVk-_==");
        let script = if streams { sse(&record) } else { ok(&record) };
        let provider = Upstream::start(vec![script]).await;
        let gateway = Rig::serving(Dialect::Gemini, provider.address).start().await;
        let ids = ids_of_first_turn(&gateway, streams).await;
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        assert_eq!(ids.len(), 2);

        gateway.chat(&second_turn(streams, &ids).to_string()).await;
        let parts = &body(&provider, 1)["contents"][1]["parts"];
        assert_eq!(parts[0]["thoughtSignature"], "c2lnbmVk-_==", "{parts}");
        // Its sibling never had one.
        assert_eq!(parts[1].get("thoughtSignature"), None, "{parts}");
        assert_eq!(parts.as_array().unwrap().len(), 2);
        assert!(gateway.metric(r#"tallygate_signature_memory_lookups_total{result="hit"} 1"#));
    }
}

#[tokio::test]
async fn case_a92_dropped_thinking_comes_back_to_its_own_tenant_only() {
    for streams in [false, true] {
        let script = if streams { claude_events("Look outside.", "c2ln") } else { ok(&claude("Look outside.", "c2ln")) };
        let provider = Upstream::start(vec![script]).await;
        let gateway = Rig::serving(Dialect::Anthropic, provider.address).start().await;
        assert_eq!(ids_of_first_turn(&gateway, streams).await, ["toolu_1"]);

        let mut turn = second_turn(streams, &["toolu_1"]);
        turn["messages"][1]["content"] = "Let me look.".into();
        gateway.chat(&turn.to_string()).await;
        assert_eq!(
            body(&provider, 1)["messages"][1]["content"],
            json!([
                {"type": "thinking", "thinking": "Look outside.", "signature": "c2ln"},
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
            ])
        );

        gateway.post_as(OTHER_KEY, "/v1/chat/completions", &turn.to_string()).await;
        assert_eq!(
            body(&provider, 2)["messages"][1]["content"],
            json!([{"type": "text", "text": "Let me look."}, {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}])
        );
        assert_ne!(KEY, OTHER_KEY);
    }
}

#[tokio::test]
async fn case_a91_thinking_of_one_model_never_reaches_another() {
    let mut plain = claude("", "");
    plain["content"] = json!([{"type": "text", "text": "Sunny."}]);
    plain["stop_reason"] = "end_turn".into();
    let provider = Upstream::start(vec![ok(&claude("Look outside.", "c2ln")), ok(&plain)]).await;
    let served = |model: &str| TargetEntry {
        upstream_model: model.into(),
        ..target(entry("main", Dialect::Anthropic, provider.address, &["one"]), 1, 1)
    };
    let (first, second) = (served("claude-sonnet-4-5"), served("claude-opus-4-5"));
    let gateway = Rig::new().with_model("smart", vec![first]).with_model("other", vec![second]).start().await;
    let reply = gateway.chat(&first_turn(false).to_string()).await;
    let message = &reply.json()["choices"][0]["message"];
    assert_eq!(message["thinking_blocks"][0]["signature"], "c2ln", "{}", reply.body);

    let bare =
        json!([{"type": "text", "text": "Let me look."}, {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}]);
    let mut turn = second_turn(false, &["toolu_1"]);
    for (keeps_blocks, model) in [(true, "other"), (false, "other"), (true, "smart"), (false, "smart")] {
        turn["model"] = model.into();
        turn["messages"][1] = message.clone();
        if !keeps_blocks {
            for field in ["thinking_blocks", "reasoning_content"] {
                turn["messages"][1].as_object_mut().unwrap().remove(field);
            }
        }
        let before = provider.seen().len();
        gateway.chat(&turn.to_string()).await;
        let content = &body(&provider, before)["messages"][1]["content"];
        if model == "other" {
            assert_eq!(*content, bare, "keeps blocks: {keeps_blocks}");
        } else {
            assert_eq!(content[0], json!({"type": "thinking", "thinking": "Look outside.", "signature": "c2ln"}));
            assert_eq!(content.as_array().unwrap().len(), 3);
        }
    }
}

#[tokio::test]
async fn case_b49_history_of_claude_goes_to_gemini_with_sentinels() {
    let (claude_upstream, gemini_upstream) =
        (Upstream::start(vec![ok(&claude("Look outside.", "c2ln"))]).await, Upstream::start(vec![ok(&gemini("x"))]).await);
    let gateway = Rig::serving(Dialect::Anthropic, claude_upstream.address)
        .with_model("other", vec![target(entry("g", Dialect::Gemini, gemini_upstream.address, &["one"]), 1, 1)])
        .start()
        .await;
    let reply = gateway.chat(&first_turn(false).to_string()).await;
    let mut turn = second_turn(false, &["toolu_1"]);
    turn["model"] = "other".into();
    turn["messages"][1] = reply.json()["choices"][0]["message"].clone();
    gateway.chat(&turn.to_string()).await;
    let sent = body(&gemini_upstream, 0);
    let call = &sent["contents"][1]["parts"][1];
    assert_eq!((call["functionCall"]["name"].as_str(), call["thoughtSignature"].as_str()), (Some("weather"), Some(SENTINEL)));
    assert!(!sent.to_string().contains("c2ln"), "{sent}");
}

#[tokio::test]
async fn case_b52_a_signature_of_200_kb_makes_no_header_and_no_id_long() {
    let signature = "s".repeat(200 * 1024);
    let provider = Upstream::start(vec![sse(&gemini(&signature))]).await;
    let gateway = Rig::serving(Dialect::Gemini, provider.address).start().await;
    let reply = gateway.chat(&first_turn(true).to_string()).await;
    assert!(reply.headers.iter().all(|(_, value)| value.len() <= 1_024));
    let ids = call_ids(&reply.body);
    assert!(ids.iter().all(|id| id.len() <= 64), "{ids:?}");
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    gateway.chat(&second_turn(true, &ids).to_string()).await;
    assert_eq!(body(&provider, 1)["contents"][1]["parts"][0]["thoughtSignature"].as_str(), Some(signature.as_str()));
}
