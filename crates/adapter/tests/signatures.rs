//! What a provider signed comes back to it through clients of another dialect, and goes to nobody else.

mod common;

use common::To;
use serde_json::{Value, json};
use tallygate_types::Dialect;

const THINKING: &str = "First this.\n\nThen that.";

fn messages_answer() -> Value {
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "stop_reason": "tool_use", "stop_sequence": null,
        "content": [
            {"type": "thinking", "thinking": THINKING, "signature": "c2lnbmVk"},
            {"type": "redacted_thinking", "data": "aGlkZGVu"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
        ],
        "usage": {"input_tokens": 1, "output_tokens": 2}})
}

#[test]
fn anthropics_thinking_comes_back_through_a_responses_client() {
    let to = |upstream, model| To { client: Dialect::OpenaiResponses, upstream, model, strict: false };
    let anthropic = to(Dialect::Anthropic, "claude-sonnet-4-5");
    let request = |input: Value| {
        json!({"model": "smart", "input": input, "reasoning": {"effort": "low", "summary": "auto"}, "max_output_tokens": 9000,
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]})
    };
    let answer = anthropic.answer(&request(json!("x")), &messages_answer());
    let mut input = vec![json!({"role": "user", "content": "x"})];
    input.extend(answer["output"].as_array().unwrap().iter().cloned());
    input.push(json!({"type": "function_call_output", "call_id": "toolu_1", "output": "r"}));

    let again = anthropic.body(&request(json!(input)));
    assert_eq!(
        again["messages"][1]["content"],
        json!([
            {"type": "thinking", "thinking": THINKING, "signature": "c2lnbmVk"},
            {"type": "redacted_thinking", "data": "aGlkZGVu"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
        ])
    );
    for other in [to(Dialect::Gemini, "gemini-3.5-flash"), to(Dialect::OpenaiChat, "gpt-4.1")] {
        let outgoing = other.prepare(&request(json!(input))).unwrap();
        assert!(!String::from_utf8_lossy(&outgoing.body).contains("c2lnbmVk"), "{:?}", other.upstream);
        assert!(outgoing.loss.to_string().contains("reasoning"), "{}", outgoing.loss);
    }
}

#[test]
fn anthropics_thinking_comes_back_through_a_gemini_client_that_asked_for_thoughts() {
    let to = To { client: Dialect::Gemini, upstream: Dialect::Anthropic, model: "claude-sonnet-4-5", strict: false };
    let request = |contents: Value| {
        json!({"contents": contents, "generationConfig": {"maxOutputTokens": 9000, "thinkingConfig": {"includeThoughts": true, "thinkingBudget": 2000}},
            "tools": [{"functionDeclarations": [{"name": "f"}]}]})
    };
    let user = json!({"role": "user", "parts": [{"text": "x"}]});
    let mut answer = messages_answer();
    answer["content"].as_array_mut().unwrap().remove(1);
    let content = to.answer(&request(json!([user])), &answer)["candidates"][0]["content"].clone();
    assert_eq!(content["parts"][0]["thought"], true);

    let result =
        json!({"role": "user", "parts": [{"functionResponse": {"id": "toolu_1", "name": "f", "response": {"output": "r"}}}]});
    let again = to.body(&request(json!([user, content, result])));
    let thinking = json!({"type": "thinking", "thinking": THINKING, "signature": "c2lnbmVk"});
    assert_eq!(again["messages"][1]["content"][0], thinking);

    // SDKs keep a stream chunk by chunk, each a content of its own.
    let mut parts = content["parts"].as_array().unwrap().clone();
    let signed = parts.remove(0);
    let (head, tail) = THINKING.split_at(7);
    let mut contents = vec![user, json!({"role": "model", "parts": [{"text": head, "thought": true}]})];
    contents.push(
        json!({"role": "model", "parts": [{"text": tail, "thought": true, "thoughtSignature": signed["thoughtSignature"]}]}),
    );
    contents.extend(parts.into_iter().map(|part| json!({"role": "model", "parts": [part]})));
    // And Gemini CLI sends the results of a resumed session twice.
    let mut twice = result.clone();
    twice["parts"].as_array_mut().unwrap().push(result["parts"][0].clone());
    contents.push(twice);
    let chunked = to.body(&request(json!(contents)));
    assert_eq!(chunked["messages"], again["messages"]);
}
