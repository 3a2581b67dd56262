//! Signatures of earlier reasoning: who gets them back, and who never.

use bytes::Bytes;
use serde_json::{Value, json};
use tallygate_adapter::{Call, NoMemory, Outgoing, PastReasoning, Profiles, peek, prepare};
use tallygate_types::{Dialect, Timestamp};

use crate::support::to;

const SENTINEL: &str = "skip_thought_signature_validator";
/// The beginning of every carrier in base64, which is how Gemini clients hold it.
const CARRIER_IN_BASE64: &str = "dGcxO";

fn call(id: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}})
}

fn result(id: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": "r"})
}

fn chat(messages: Value) -> Value {
    json!({"model": "smart", "messages": messages,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]})
}

/// A call whose signature the client kept.
fn signed(id: &str, signature: &str) -> Value {
    let mut call = call(id);
    call["extra_content"] = json!({"google": {"thought_signature": signature}});
    call
}

fn signature_of(part: &Value) -> Option<&str> {
    part["thoughtSignature"].as_str()
}

#[test]
fn case_b48_only_the_first_call_of_each_step_of_the_current_turn_gets_the_sentinel() {
    let gemini = to(Dialect::OpenaiChat, Dialect::Gemini, "gemini-3-pro");
    let body = gemini.body(&chat(json!([
        {"role": "user", "content": "before"},
        {"role": "assistant", "content": null, "tool_calls": [call("old")]},
        result("old"),
        {"role": "assistant", "content": "done"},
        {"role": "user", "content": "now"},
        {"role": "assistant", "content": null, "tool_calls": [call("a"), call("b")]},
        result("a"),
        result("b"),
        {"role": "assistant", "content": "and", "tool_calls": [call("c")]},
        result("c"),
    ])));
    let calls: Vec<Option<&str>> = body["contents"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|content| content["parts"].as_array().unwrap())
        .filter(|part| part.get("functionCall").is_some())
        .map(signature_of)
        .collect();
    assert_eq!(calls, [None, Some(SENTINEL), None, Some(SENTINEL)]);
    // A family that checks nothing gets none.
    let older = to(Dialect::OpenaiChat, Dialect::Gemini, "gemini-2.5-pro");
    let body = older.body(&chat(json!([
        {"role": "user", "content": "now"},
        {"role": "assistant", "content": null, "tool_calls": [call("a")]},
        result("a"),
    ])));
    assert_eq!(signature_of(&body["contents"][1]["parts"][0]), None);
}

/// A history in each client's dialect whose call Gemini signed with `c2lnbmVk`.
fn histories() -> Vec<(Dialect, Value)> {
    let tools = json!([{"name": "f", "input_schema": {"type": "object", "properties": {}}}]);
    vec![
        (
            Dialect::OpenaiChat,
            chat(json!([
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": "t", "extra_content": {"google": {"thought_signature": "c2lnbmVk"}},
                    "tool_calls": [signed("call_1", "c2lnbmVk")]},
                result("call_1"),
            ])),
        ),
        (
            Dialect::Anthropic,
            json!({"model": "smart", "max_tokens": 100, "tools": tools, "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": [
                    {"type": "thinking", "thinking": "", "signature": "tg1:gemini-next:c2lnbmVk"},
                    {"type": "tool_use", "id": "call_1", "name": "f", "input": {}},
                ]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "r"}]},
            ]}),
        ),
        (
            Dialect::OpenaiResponses,
            json!({"model": "smart", "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}],
            "input": [
                {"role": "user", "content": "x"},
                {"type": "reasoning", "summary": [], "encrypted_content": "tg1:gemini-next:c2lnbmVk"},
                {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_1", "output": "r"},
            ]}),
        ),
        (
            Dialect::Gemini,
            json!({"tools": [{"functionDeclarations": [{"name": "f"}]}], "contents": [
                {"role": "user", "parts": [{"text": "x"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2lnbmVk"}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "r"}}}]},
            ]}),
        ),
    ]
}

#[test]
fn case_b50_carriers_of_geminis_signatures_reach_neither_anthropic_nor_openai() {
    for (client, history) in histories() {
        for (upstream, model) in
            [(Dialect::Anthropic, "claude-sonnet-4-5"), (Dialect::OpenaiChat, "gpt-4.1"), (Dialect::OpenaiResponses, "gpt-5.5")]
        {
            if (client, upstream) == (Dialect::OpenaiResponses, Dialect::OpenaiResponses) {
                // There the gateway strips them, which keeps book of who sealed what.
                continue;
            }
            let sent = String::from_utf8(to(client, upstream, model).bytes(&history).to_vec()).unwrap();
            assert!(sent.contains("call_1") || client == Dialect::Gemini, "{client} to {upstream}: {sent}");
            for trace in ["c2lnbmVk", "tg1:", "extra_content", "thought"] {
                assert!(!sent.contains(trace), "{client} to {upstream} carries {trace}: {sent}");
            }
        }
        // Gemini itself gets it back as it was.
        let back = to(client, Dialect::Gemini, "gemini-3-pro").body(&history);
        let part = back["contents"][1]["parts"].as_array().unwrap().iter().find(|part| part.get("functionCall").is_some());
        assert_eq!(signature_of(part.unwrap()), Some("c2lnbmVk"), "{client}");
    }
}

#[test]
fn case_b53_a_url_safe_signature_is_forwarded_byte_for_byte() {
    let signature = "EqUC_-CqIC-_w==";
    let gemini = to(Dialect::OpenaiChat, Dialect::Gemini, "gemini-3-pro");
    let body = gemini.body(&chat(json!([
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": null, "tool_calls": [signed("call_1", signature)]},
        result("call_1"),
    ])));
    assert_eq!(signature_of(&body["contents"][1]["parts"][0]), Some(signature));
    // Its own clients' bodies are not touched at all.
    let own = json!({"contents": [
        {"role": "user", "parts": [{"text": "x"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": signature}]},
    ]});
    assert_eq!(to(Dialect::Gemini, Dialect::Gemini, "gemini-3-pro").bytes(&own), own.to_string());
}

#[test]
fn case_a91_signatures_made_here_never_reach_anthropic() {
    let anthropic = to(Dialect::Anthropic, Dialect::Anthropic, "smart");
    let with = |signature: &str| {
        json!({"model": "smart", "max_tokens": 100, "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": signature}, {"type": "text", "text": "a"}]},
            {"role": "user", "content": "y"},
        ]})
    };
    for made_here in ["tg1:none", "tg1:openai:Z0FB", "tg1:gemini:c2ln"] {
        let outgoing = anthropic.prepare(&with(made_here)).unwrap();
        let sent: Value = serde_json::from_slice(&outgoing.body.whole()).unwrap();
        assert_eq!(sent["messages"][1]["content"], json!([{"type": "text", "text": "a"}]), "{made_here}");
        assert_eq!(outgoing.loss.to_string(), "dropped=reasoning");
    }
    // Anthropic's own passes with every byte.
    assert_eq!(anthropic.bytes(&with("EqoBCkgIARAB")), with("EqoBCkgIARAB").to_string());
    // The same in a Gemini client's disguise.
    let gemini = to(Dialect::Gemini, Dialect::Gemini, "gemini-3-pro");
    let body = json!({"contents": [
        {"role": "user", "parts": [{"text": "x"}]},
        {"role": "model", "parts": [
            {"text": "t", "thought": true, "thoughtSignature": "dGcxOmFudGhyb3BpYzpjMmxu"},
            {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "dGcxOmFudGhyb3BpYzpjMmxu"},
        ]},
    ]});
    let sent = gemini.body(&body);
    assert_eq!(sent["contents"][1]["parts"], json!([{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": SENTINEL}]));
    assert!(!sent.to_string().contains(CARRIER_IN_BASE64));
}

fn withheld(client: Dialect, upstream: Dialect, model: &str, body: &Value) -> Outgoing {
    let body = Bytes::from(body.to_string());
    let seen = peek(client, &body).unwrap();
    let call = Call {
        client,
        upstream,
        speaks_responses: false,
        client_model: "smart",
        upstream_model: model,
        stream: false,
        peek: &seen,
        strict: false,
        response_id: "r",
        created_at: Timestamp::UNIX_EPOCH,
        client_query: "",
        profiles: Profiles::builtin(),
        memory: &NoMemory,
        past_reasoning: PastReasoning::Withheld,
        output_cap: None,
    };
    prepare(&call, &body, &[]).unwrap()
}

#[test]
fn case_b51_without_its_signatures_a_request_has_sentinels_or_no_reasoning() {
    let json = |outgoing: &Outgoing| serde_json::from_slice::<Value>(&outgoing.body.whole()).unwrap();
    for (client, history) in histories() {
        let outgoing = withheld(client, Dialect::Gemini, "gemini-3-pro", &history);
        let sent = json(&outgoing);
        let parts = sent["contents"][1]["parts"].as_array().unwrap();
        let part = parts.iter().find(|part| part.get("functionCall").is_some()).unwrap();
        assert_eq!(signature_of(part), Some(SENTINEL), "{client}");
        assert!(!sent.to_string().contains("c2lnbmVk"), "{client}: {sent}");
        assert_eq!(outgoing.loss.to_string(), "dropped=reasoning", "{client}");
    }
    // Anthropic, in its own dialect: a budget cannot stay on in a loop that has no thinking any more.
    let body = json!({"model": "smart", "max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 2000}, "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "t", "signature": "bad"},
            {"type": "redacted_thinking", "data": "bad"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
        ]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "r"}]},
    ]});
    let sent = json(&withheld(Dialect::Anthropic, Dialect::Anthropic, "smart", &body));
    assert_eq!(sent["messages"][1]["content"], json!([{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]));
    assert_eq!(sent.get("thinking"), None);
    // Responses, in its own dialect.
    let body = json!({"model": "smart", "input": [{"role": "user", "content": "x"}, {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "bad"}]});
    let sent = json(&withheld(Dialect::OpenaiResponses, Dialect::OpenaiResponses, "smart", &body));
    assert_eq!(sent["input"], json!([{"role": "user", "content": "x"}]));
}
