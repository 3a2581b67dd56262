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
        assert!(!String::from_utf8_lossy(&outgoing.body.whole()).contains("c2lnbmVk"), "{:?}", other.upstream);
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

#[test]
fn a_passing_history_keeps_nothing_that_only_held_anothers_reasoning() {
    // An SDK's content of the one chunk that held Claude's signature.
    let signature = "dGcxOmFudGhyb3BpYzpjMmxuYm1Waw==";
    let contents = json!([
        {"role": "user", "parts": [{"text": "x"}]},
        {"role": "model", "parts": [{"text": "hm", "thought": true}]},
        {"role": "model", "parts": [{"text": "", "thought": true, "thoughtSignature": signature}]},
        {"role": "model", "parts": [{"text": "y"}]},
        {"role": "user", "parts": [{"text": "z"}]}
    ]);
    let gemini = To { client: Dialect::Gemini, upstream: Dialect::Gemini, model: "gemini-3-pro", strict: false };
    let sent = gemini.body(&json!({"contents": contents}));
    assert_eq!(sent["contents"], json!([contents[0], contents[1], contents[3], contents[4]]));

    // Reasoning that this gateway told without a seal is no item that OpenAI stored; its own is.
    let (ours, theirs) = ("rs_01a206216b59752c8fb42b522e88d0aa00", "rs_0d4b654a05c1a7a70069deb7a4bee48197afc250d9028520cd");
    let reasoning = |id: &str| json!({"type": "reasoning", "id": id, "summary": []});
    let message = json!({"role": "assistant", "content": "y"});
    let input = json!([{"role": "user", "content": "x"}, reasoning(ours), message, reasoning(theirs), message]);
    let responses = To { client: Dialect::OpenaiResponses, upstream: Dialect::OpenaiResponses, model: "gpt-5.5", strict: false };
    let sent = responses.body(&json!({"model": "smart", "input": input}));
    assert_eq!(sent["input"], json!([input[0], input[2], input[3], input[4]]));
}
