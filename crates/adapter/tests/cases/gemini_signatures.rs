//! Thought signatures on their way through clients (cases b48, b49, b50, b52, b53).

use bytes::Bytes;
use serde_json::{Value, json};
use tallygate_adapter::{peek, prepare};
use tallygate_types::Dialect;

use crate::support::{To, to};

const CHAT: To<'_> = to(Dialect::OpenaiChat, Dialect::Gemini, "gemini-3.5-flash");
const SENTINEL: &str = "skip_thought_signature_validator";

fn call(id: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}})
}

fn result(id: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": "r"})
}

/// Whose call carries which signature, in the order of the contents.
fn signatures(body: &Value) -> Vec<(String, Option<String>)> {
    let parts = body["contents"].as_array().unwrap().iter().flat_map(|content| content["parts"].as_array().unwrap());
    parts
        .filter_map(|part| Some((part["functionCall"]["id"].as_str()?, part["thoughtSignature"].as_str())))
        .map(|(id, signature)| (id.to_owned(), signature.map(str::to_owned)))
        .collect()
}

#[test]
fn case_b48_only_the_first_call_of_each_step_of_the_current_turn_gets_the_sentinel() {
    let request = json!({"model": "smart", "messages": [
        {"role": "user", "content": "1"}, {"role": "assistant", "tool_calls": [call("old")]}, result("old"), {"role": "assistant", "content": "done"},
        {"role": "user", "content": "2"},
        {"role": "assistant", "tool_calls": [call("a"), call("b")]}, result("a"), result("b"),
        {"role": "assistant", "content": "more", "tool_calls": [call("c")]}, result("c")
    ]});
    let sentinel = || Some(SENTINEL.to_owned());
    let expected: Vec<(String, Option<String>)> = [("old", None), ("a", sentinel()), ("b", None), ("c", sentinel())]
        .into_iter()
        .map(|(id, signature)| (id.to_owned(), signature))
        .collect();
    assert_eq!(signatures(&CHAT.body(&request)), expected);
    // Models that do not check get none.
    let second = to(Dialect::OpenaiChat, Dialect::Gemini, "gemini-2.5-flash");
    assert!(signatures(&second.body(&request)).iter().all(|(_, signature)| signature.is_none()));
    // A signature of Google's own that the client kept stays on its call.
    let mut kept = request.clone();
    kept["messages"][5]["tool_calls"][0]["extra_content"] = json!({"google": {"thought_signature": "RXFV"}});
    assert_eq!(signatures(&CHAT.body(&kept))[1].1.as_deref(), Some("RXFV"));
}

#[test]
fn case_b49_what_claude_signed_is_replaced_by_the_sentinel() {
    let of_messages = to(Dialect::Anthropic, Dialect::Gemini, "gemini-3.5-flash");
    let request = json!({"model": "smart", "max_tokens": 99, "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "First this.", "signature": "Y2xhdWRl"}, {"type": "redacted_thinking", "data": "aGlkZGVu"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "r"}]}
    ]});
    let outgoing = of_messages.prepare(&request).unwrap();
    let body: Value = serde_json::from_slice(&outgoing.body.whole()).unwrap();
    assert_eq!(
        body["contents"][1],
        json!({"role": "model", "parts": [{"functionCall": {"id": "toolu_1", "name": "f", "args": {}}, "thoughtSignature": SENTINEL}]})
    );
    assert_eq!(outgoing.loss.to_string(), "dropped=reasoning");
    // The same history through a chat client that keeps LiteLLM's blocks.
    let request = json!({"model": "smart", "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "thinking_blocks": [{"type": "thinking", "thinking": "First this.", "signature": "Y2xhdWRl"}], "tool_calls": [call("toolu_1")]},
        result("toolu_1")
    ]});
    assert_eq!(CHAT.body(&request)["contents"][1], body["contents"][1]);
}

/// Histories of every dialect that carry what Gemini signed, and the text of the signature in each.
fn carriers() -> [(Dialect, Value); 4] {
    let google = json!({"google": {"thought_signature": "R2VtaW5p"}});
    let mut signed = call("call_1");
    signed["extra_content"] = google.clone();
    [
        (
            Dialect::OpenaiChat,
            json!({"model": "smart", "messages": [{"role": "user", "content": "x"},
                {"role": "assistant", "content": "hm", "extra_content": google, "tool_calls": [signed]}, result("call_1")]}),
        ),
        (
            Dialect::OpenaiResponses,
            json!({"model": "smart", "input": [{"role": "user", "content": "x"},
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "tg1:gemini:R2VtaW5p"},
                {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "tg1:gemini-next:R2VtaW5p"},
                {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_1", "output": "r"}]}),
        ),
        (
            Dialect::Anthropic,
            json!({"model": "smart", "max_tokens": 99, "messages": [{"role": "user", "content": "x"},
                {"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": "tg1:gemini-next:R2VtaW5p"}, {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "r"}]}]}),
        ),
        (
            Dialect::Gemini,
            json!({"contents": [{"role": "user", "parts": [{"text": "x"}]},
                {"role": "model", "parts": [{"text": "hm", "thoughtSignature": "R2VtaW5p"}, {"functionCall": {"id": "call_1", "name": "f", "args": {}}, "thoughtSignature": "R2VtaW5p"}]},
                {"role": "user", "parts": [{"functionResponse": {"id": "call_1", "name": "f", "response": {"output": "r"}}}]}]}),
        ),
    ]
}

#[test]
fn case_b50_carriers_of_gemini_are_stripped_before_any_other_vendor() {
    for (client, request) in carriers() {
        for (upstream, model) in
            [(Dialect::OpenaiChat, "gpt-4.1"), (Dialect::OpenaiResponses, "gpt-4.1"), (Dialect::Anthropic, "claude-sonnet-4-5")]
        {
            if client == upstream {
                continue;
            }
            let outgoing = to(client, upstream, model).prepare(&request).unwrap();
            let body = String::from_utf8(outgoing.body.whole().to_vec()).unwrap();
            for trace in ["R2VtaW5p", "tg1:", "thought_signature", "thoughtSignature", "extra_content"] {
                assert!(!body.contains(trace), "{client} to {upstream}: {trace} in {body}");
            }
        }
        // Google gets its own back, from every client.
        if client != Dialect::Gemini {
            let body = to(client, Dialect::Gemini, "gemini-3.5-flash").body(&request);
            assert_eq!(signatures(&body), [("call_1".to_owned(), Some("R2VtaW5p".to_owned()))], "{client}");
        }
    }
    // The sentinel of Google's agents goes to nobody.
    let mut agent = carriers()[3].1.clone();
    agent["contents"][1]["parts"][1]["thoughtSignature"] = SENTINEL.into();
    let body = to(Dialect::Gemini, Dialect::Anthropic, "claude-sonnet-4-5").bytes(&agent);
    assert!(!String::from_utf8_lossy(&body).contains(SENTINEL));
}

#[test]
fn case_b52_a_signature_of_200_kilobytes_overflows_no_header_and_no_id() {
    let large = "QUJD".repeat(50_000);
    let answer = json!({"candidates": [{"content": {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": large}]}, "finishReason": "STOP"}], "responseId": "r"});
    let ask = json!({"model": "smart", "messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function", "function": {"name": "f"}}]});
    let said = CHAT.answer(&ask, &answer);
    let called = &said["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(called["id"].as_str().unwrap().len(), 29);
    assert_eq!(called["extra_content"]["google"]["thought_signature"], large.as_str());
    // Back again it is the same; to another vendor it is gone, and the report stays short.
    let history = json!({"model": "smart", "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [called]}, result(called["id"].as_str().unwrap())]});
    assert_eq!(signatures(&CHAT.body(&history))[0].1.as_deref(), Some(large.as_str()));
    let elsewhere = to(Dialect::OpenaiChat, Dialect::Anthropic, "claude-sonnet-4-5").prepare(&history).unwrap();
    assert!(elsewhere.body.len() < 1000 && elsewhere.loss.to_string().len() < 100);
    // What the memory would keep of it is bounded by the signature itself.
    let metered = CHAT.session(&ask).answer(answer.to_string().into()).unwrap();
    let weight: usize = metered.keepsakes.iter().map(|(key, kept)| key.len() + kept.weight()).sum();
    assert!(weight > large.len() && weight < large.len() + 1000, "{weight}");
}

#[test]
fn case_b53_a_signature_of_the_url_safe_alphabet_is_forwarded_byte_for_byte() {
    let signature = "Eq-_CqIC_w==";
    let mut request = carriers()[0].1.clone();
    request["messages"][1]["tool_calls"][0]["extra_content"]["google"]["thought_signature"] = signature.into();
    assert_eq!(signatures(&CHAT.body(&request))[0].1.as_deref(), Some(signature));
    // From a client of Google's own dialect the whole body passes as it is.
    let body = Bytes::from(carriers()[3].1.to_string().replace("R2VtaW5p", signature));
    let seen = peek(Dialect::Gemini, &body).unwrap();
    let same = to(Dialect::Gemini, Dialect::Gemini, "gemini-3.5-flash");
    assert_eq!(prepare(&same.call(&seen), &body, &[]).unwrap().body, body);
}
