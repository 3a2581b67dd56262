//! Cases a54 to a56, a64, a65 and a91: whole answers of an Anthropic upstream to Chat Completions clients, and thinking
//! that comes back.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tallygate_adapter::{Keepsake, Memory};
use tallygate_types::{Dialect, UsageClass};

use crate::chat_request::{HAIKU, call, chat, claude, function, text, with};

fn message(content: Value, stop: &str) -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "content": content,
        "stop_reason": stop, "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 2}})
}

fn choice(answer: &Value) -> Value {
    HAIKU.answer(&with(json!({})), answer)["choices"][0].clone()
}

#[test]
fn case_a54_texts_are_joined_in_order() {
    let thinking = json!({"type": "thinking", "thinking": "hm", "signature": "c2ln"});
    let choice = choice(&message(json!([text("a"), thinking, text("b")]), "end_turn"));
    assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!("ab"), &json!("stop")));
    assert_eq!(choice["message"]["reasoning_content"], "hm");
}

#[test]
fn case_a55_server_tools_are_not_the_clients_calls_and_citations_become_annotations() {
    let cited = json!({"type": "text", "text": "Zürich is big.", "citations": [{"type": "web_search_result_location",
        "url": "https://e.com", "title": "E", "cited_text": "big", "encrypted_index": "x"}]});
    let answer = message(
        json!([text("Look: "),
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result", "url": "https://e.com", "title": "E", "encrypted_content": "y"}]},
            cited, text(" Yes.")]),
        "end_turn",
    );
    let choice = choice(&answer);
    assert_eq!(
        choice["message"],
        json!({"role": "assistant", "content": "Look: Zürich is big. Yes.", "refusal": null, "annotations": [{"type": "url_citation",
            "url_citation": {"start_index": 6, "end_index": 20, "url": "https://e.com", "title": "E"}}]})
    );
    assert_eq!(choice["finish_reason"], "stop");
}

#[test]
fn case_a56_cache_figures_are_part_of_the_prompt() {
    let mut answer = message(json!([text("a")]), "end_turn");
    answer["usage"] = json!({"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30, "output_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 3}});
    assert_eq!(
        HAIKU.answer(&with(json!({})), &answer)["usage"],
        json!({"prompt_tokens": 60, "completion_tokens": 5, "total_tokens": 65,
            "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20},
            "completion_tokens_details": {"reasoning_tokens": 3}})
    );
}

#[test]
fn case_a64_a_refusal_keeps_its_partial_text() {
    let refused = |details: Value| {
        let mut answer = message(json!([text("I ")]), "refusal");
        answer["stop_details"] = details;
        choice(&answer)
    };
    let said = refused(json!({"type": "refusal", "category": "cyber", "explanation": "Not this."}));
    assert_eq!(said["message"], json!({"role": "assistant", "content": "I ", "refusal": "Not this."}));
    assert_eq!(said["finish_reason"], "content_filter");
    // Without words of its own it gets some.
    assert_eq!(refused(Value::Null)["message"]["refusal"], "The model declined to answer.");
}

/// The hop after `pause_turn` is the gateway's; what it does not go on from is an answer cut short.
#[test]
fn case_a65_reasons_without_an_equal_are_the_nearest_word() {
    for (reason, word) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("compaction", "stop"),
        ("something_new", "stop"),
    ] {
        assert_eq!(choice(&message(json!([text("a")]), reason))["finish_reason"], word, "{reason}");
        // The meter keeps the provider's word, so that new ones are seen.
        let body = Bytes::from(message(json!([text("a")]), reason).to_string());
        let meter = HAIKU.session(&with(json!({}))).answer(body).unwrap().meter;
        assert_eq!(meter.finish_reason.as_deref(), Some(reason));
    }
    assert_eq!(choice(&message(json!([]), "end_turn"))["message"]["content"], "");
    let calls = json!([{"type": "tool_use", "id": "t", "name": "f", "input": {}}]);
    let called = choice(&message(calls.clone(), "tool_use"));
    assert_eq!((&called["message"]["content"], &called["finish_reason"]), (&Value::Null, &json!("tool_calls")));
    assert_eq!(choice(&message(calls, "max_tokens"))["finish_reason"], "length");
}

#[test]
fn the_meter_keeps_what_has_a_price_of_its_own() {
    let mut answer = message(json!([text("a")]), "end_turn");
    answer["usage"] = json!({"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30, "output_tokens": 5,
        "cache_creation": {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5},
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0}, "service_tier": "priority", "speed": "fast"});
    let meter = HAIKU.session(&with(json!({}))).answer(Bytes::from(answer.to_string())).unwrap().meter;
    let usage = meter.usage.unwrap();
    let classes: Vec<(UsageClass, u64)> = usage.iter().collect();
    assert_eq!(
        classes,
        [
            (UsageClass::InputUncached, 10),
            (UsageClass::InputCacheRead, 30),
            (UsageClass::InputCacheWrite5m, 15),
            (UsageClass::InputCacheWrite1h, 5),
            (UsageClass::OutputText, 5)
        ]
    );
    assert_eq!(serde_json::from_str::<Value>(&meter.raw_usage.unwrap()).unwrap(), answer["usage"]);
}

/// What answers left behind, by call id.
#[derive(Debug, Default)]
struct Kept(HashMap<String, Arc<Keepsake>>);

impl Memory for Kept {
    fn recall(&self, call_id: &str) -> Option<Arc<Keepsake>> {
        self.0.get(call_id).cloned()
    }
}

#[test]
fn case_a91_thinking_of_another_model_is_taken_out_and_signatures_of_ours_never_reach_anthropic() {
    let tools = json!([function("f")]);
    let mut request = with(json!({"tools": tools, "reasoning_effort": "low", "max_completion_tokens": 9000}));
    let thinking = json!({"type": "thinking", "thinking": "hm", "signature": "c2lnbmVk"});
    let answer = message(json!([thinking, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]), "tool_use");

    let mut memory = Kept::default();
    let first = claude("claude-sonnet-4-5").prepare_with(&request, &memory).unwrap();
    let answered = first.session.answer(Bytes::from(answer.to_string())).unwrap();
    memory.0.extend(answered.keepsakes.into_iter().map(|(id, kept)| (id, Arc::new(kept))));
    let said: Value = serde_json::from_slice(&answered.body).unwrap();

    // The client sends all of it back.
    request["messages"] = json!([{"role": "user", "content": "x"}, said["choices"][0]["message"],
        {"role": "tool", "tool_call_id": "toolu_1", "content": "1"}]);
    let content = |model: &str| -> Value {
        let body: Value = serde_json::from_slice(&claude(model).prepare_with(&request, &memory).unwrap().body.whole()).unwrap();
        body["messages"][1]["content"].clone()
    };
    let calls = json!({"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}});
    assert_eq!(content("claude-sonnet-4-5"), json!([thinking, calls]));
    assert_eq!(content("us.anthropic.claude-sonnet-4-5-20250929-v1:0"), json!([thinking, calls]));
    assert_eq!(content("claude-haiku-4-5"), json!([calls]));
    let loss = claude("claude-haiku-4-5").prepare_with(&request, &memory).unwrap().loss;
    assert!(loss.to_string().contains("dropped=reasoning"), "{loss}");

    // Reasoning of another vendor, or of nobody, in the carriers clients bring it in.
    let foreign = chat(
        json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": "a", "reasoning_content": "plain"},
        {"role": "user", "content": "y"},
        {"role": "assistant", "content": "b", "reasoning_details": [{"type": "reasoning.encrypted", "format": "openai-responses-v1", "data": "b3Blbg"}]},
        {"role": "user", "content": "z"},
        {"role": "assistant", "content": "c", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": "Z29vZ2xl"}}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"}]),
    );
    assert_eq!(
        claude("claude-sonnet-4-5").body(&foreign)["messages"],
        json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "y"},
            {"role": "assistant", "content": "b"}, {"role": "user", "content": "z"},
            {"role": "assistant", "content": [text("c"), {"type": "tool_use", "id": "c1", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "1"}]}])
    );
}

#[test]
fn what_was_made_here_for_a_messages_client_does_not_pass_to_anthropic() {
    let to = |upstream, model| crate::support::to(Dialect::Anthropic, upstream, model);
    let user = json!({"role": "user", "content": "x"});
    let request = |messages: Value| json!({"model": "smart", "max_tokens": 9000, "messages": messages});
    let answer = json!({"id": "1", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Big.",
        "reasoning_content": "hm", "annotations": [{"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 4, "url": "https://e.com", "title": "E"}}]}}]});
    let content = to(Dialect::OpenaiChat, "gpt-4o-search-preview").answer(&request(json!([user])), &answer)["content"].clone();
    assert_eq!(
        content,
        json!([{"type": "thinking", "thinking": "hm", "signature": "tg1:none"},
            {"type": "text", "text": "Big.", "citations": [{"type": "web_search_result_location", "url": "https://e.com", "title": "E",
                "cited_text": "", "encrypted_index": "tg1:none"}]}])
    );
    let passed = to(Dialect::Anthropic, "claude-sonnet-4-5")
        .body(&request(json!([user, {"role": "assistant", "content": content}, user])));
    assert_eq!(passed["messages"][1]["content"], json!([{"type": "text", "text": "Big."}]));
}

/// The same through the other carriers of ours: those that Messages clients keep are signed with a mark or a prefix.
#[test]
fn what_was_made_for_messages_clients_comes_back_from_them() {
    let to = |upstream, model| crate::support::to(Dialect::Anthropic, upstream, model);
    let request = |messages: Value| {
        json!({"model": "smart", "max_tokens": 9000, "messages": messages,
            "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]})
    };
    let user = json!({"role": "user", "content": "x"});
    let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "1"}]});

    // Reasoning that nobody signed.
    let deepseek = to(Dialect::OpenaiChat, "deepseek-reasoner");
    let answer = json!({"id": "1", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant",
        "reasoning_content": "hm", "tool_calls": [call("call_1", "f", "{}")]}}]});
    let content = deepseek.answer(&request(json!([user])), &answer)["content"].clone();
    assert_eq!(
        content,
        json!([{"type": "thinking", "thinking": "hm", "signature": "tg1:none"},
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}])
    );
    let back = request(json!([user, {"role": "assistant", "content": content}, result]));
    assert_eq!(deepseek.body(&back)["messages"][1]["reasoning_content"], "hm");

    // A signature on a Gemini call.
    let gemini = to(Dialect::Gemini, "gemini-3.5-flash");
    let answer = json!({"responseId": "r", "candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [
        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2lnbmVk"}]}}]});
    let mut content = gemini.answer(&request(json!([user])), &answer)["content"].clone();
    assert_eq!(content[0], json!({"type": "thinking", "thinking": "", "signature": "tg1:gemini-next:c2lnbmVk"}));
    content[1]["id"] = "call_1".into();
    let back = request(json!([user, {"role": "assistant", "content": content}, result]));
    assert_eq!(gemini.body(&back)["contents"][1]["parts"][0]["thoughtSignature"], "c2lnbmVk");
    // The same in a stream.
    let mut streaming = request(json!([user]));
    streaming["stream"] = true.into();
    let events = gemini.events(&streaming, &crate::support::plain_sse(&[answer]));
    let starts: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "content_block_start")
        .map(|event| &event["content_block"]["type"])
        .collect();
    assert_eq!(starts, ["thinking", "tool_use"]);
    assert_eq!(
        events[2],
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "tg1:gemini-next:c2lnbmVk"}})
    );
}
