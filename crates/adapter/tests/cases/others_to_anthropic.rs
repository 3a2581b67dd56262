//! Responses and Gemini clients before an Anthropic upstream, and Messages clients before Gemini: what the tables say beside
//! the numbered cases.

use serde_json::{Value, json};
use tallygate_adapter::Verdict::{Approximated, Dropped};
use tallygate_adapter::{BadRequest, Outgoing, Profiles};
use tallygate_types::Dialect;

use crate::chat_request::{claude, function, text, with};
use crate::support::{To, plain_sse, to};

const RESPONSES: To<'_> = to(Dialect::OpenaiResponses, Dialect::Anthropic, "claude-sonnet-4-5");
const GEMINI: To<'_> = to(Dialect::Gemini, Dialect::Anthropic, "claude-sonnet-4-5");

fn responses(input: Value) -> Value {
    json!({"model": "smart", "max_output_tokens": 9000, "input": input, "store": false})
}

#[test]
fn items_of_one_answer_are_one_message_and_their_outputs_one_more() {
    let request = responses(json!([
        {"role": "developer", "content": "d"},
        {"role": "user", "content": "x"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "tg1:anthropic:c2ln"},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAAA-openai"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me", "annotations": []}]},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{\"a\":1}"},
        {"type": "function_call", "call_id": "call_2", "name": "g", "arguments": ""},
        {"type": "function_call_output", "call_id": "call_1", "output": "1"},
        {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "see"},
            {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg=="}]}]));
    let mut request = request;
    request["instructions"] = "i".into();
    request["tools"] = json!([{"type": "function", "name": "f"}, {"type": "function", "name": "g"}]);
    let body = RESPONSES.body(&request);
    assert_eq!(body["system"], json!([text("i"), text("d")]));
    assert_eq!(
        body["messages"],
        json!([{"role": "user", "content": "x"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}, text("Let me"),
                {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}}, {"type": "tool_use", "id": "call_2", "name": "g", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "1"},
                {"type": "tool_result", "tool_use_id": "call_2", "content": [text("see"),
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgoAAAANSUhEUg=="}}]}]}])
    );
}

#[test]
fn a_refusal_names_the_item_of_the_client() {
    let empty = responses(json!([{"role": "developer", "content": "d"}, {"role": "user", "content": ""}]));
    assert_eq!(RESPONSES.refusal(&empty).0.as_deref(), Some("input[1].content"));
    let stray = responses(
        json!([{"role": "user", "content": "x"}, {"type": "function_call_output", "call_id": "call_9", "output": "1"}]),
    );
    let (param, message) = RESPONSES.refusal(&stray);
    assert!(param.unwrap().starts_with("input["));
    assert!(message.contains("call_9"), "{message}");
}

/// A model whose operator lets other vendors' searches be Anthropic's.
fn searching(client: Dialect, request: &Value, is_allowed: bool) -> Result<Outgoing, BadRequest> {
    let row = "[[anthropic.models]]\nmatch = [\"*sonnet-4-5*\"]\nlike = \"v4_5\"\nhosted_search = true\n";
    let profiles = Profiles::builtin().with_overrides(if is_allowed { row } else { "" }).unwrap();
    to(client, Dialect::Anthropic, "claude-sonnet-4-5").prepare_by(request, &profiles)
}

#[test]
fn a_web_search_is_anthropics_own_only_where_the_operator_says_so() {
    let chat = with(json!({"web_search_options": {"search_context_size": "low"}, "tools": [function("f")]}));
    let mut gemini = json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]});
    gemini["tools"] = json!([{"googleSearch": {}}]);
    let tools = |client, request: &Value| -> Value {
        serde_json::from_slice::<Value>(&searching(client, request, true).unwrap().body.whole()).unwrap()["tools"].clone()
    };
    let search = json!({"type": "web_search_20250305", "name": "web_search"});
    assert_eq!(
        tools(Dialect::OpenaiChat, &chat),
        json!([{"name": "f", "input_schema": {"type": "object", "properties": {}}},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 1}])
    );
    assert_eq!(tools(Dialect::Gemini, &gemini), json!([search]));
    // Searches are billed each: else it is refused.
    assert_eq!(searching(Dialect::OpenaiChat, &chat, false).unwrap_err().param.as_deref(), Some("tools[1]"));
    assert_eq!(searching(Dialect::Gemini, &gemini, false).unwrap_err().param.as_deref(), Some("tools[0]"));
    // Codex declares it in every request: left out, and said to be.
    let mut codex = responses(json!("x"));
    codex["tools"] = json!([{"type": "web_search"}]);
    let outgoing = searching(Dialect::OpenaiResponses, &codex, false).unwrap();
    let body: Value = serde_json::from_slice(&outgoing.body.whole()).unwrap();
    assert_eq!((body.get("tools"), outgoing.loss.items[0].verdict), (None, Dropped));
    codex["tool_choice"] = json!({"type": "web_search"});
    assert_eq!(searching(Dialect::OpenaiResponses, &codex, false).unwrap_err().param.as_deref(), Some("tool_choice"));
}

#[test]
fn earlier_thinking_on_a_model_that_binds_it_may_be_dropped_there() {
    let history = json!([{"role": "user", "content": "x"},
        {"role": "assistant", "content": "a", "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]},
        {"role": "user", "content": "y"}]);
    let mut request = with(json!({}));
    request["messages"] = history;
    let outgoing = claude("claude-fable-5-1").prepare(&request).unwrap();
    assert_eq!(
        outgoing.headers,
        [("anthropic-version", "2023-06-01".to_owned()), ("anthropic-beta", "thinking-binding-controls-2026-08-01".to_owned())]
    );
    let body: Value = serde_json::from_slice(&outgoing.body.whole()).unwrap();
    assert_eq!(body["thinking"], json!({"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}));
    // Others do not know it, and without earlier thinking there is nothing to bind.
    for (model, request) in [("claude-opus-5", &request), ("claude-fable-5-1", &with(json!({})))] {
        let outgoing = claude(model).prepare(request).unwrap();
        assert_eq!(outgoing.headers, [("anthropic-version", "2023-06-01".to_owned())]);
        let body: Value = serde_json::from_slice(&outgoing.body.whole()).unwrap();
        assert_eq!(body.get("thinking"), None);
    }
}

#[test]
fn a_budget_is_left_out_of_a_loop_that_lost_its_thinking() {
    let mut request = with(json!({"reasoning_effort": "low", "max_completion_tokens": 9000, "tools": [function("f")]}));
    let history = |message: Value| json!([{"role": "user", "content": "x"}, message, {"role": "tool", "tool_call_id": "c", "content": "1"}]);
    let mut called = json!({"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    request["messages"] = history(called.clone());
    let sonnet = claude("claude-sonnet-4-5");
    assert_eq!(sonnet.body(&request).get("thinking"), None);
    assert_eq!(sonnet.losses(&request), [("reasoning".to_owned(), Approximated), ("reasoning".to_owned(), Dropped)]);
    called["thinking_blocks"] = json!([{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]);
    request["messages"] = history(called);
    assert_eq!(sonnet.body(&request)["thinking"], json!({"type": "enabled", "budget_tokens": 2048}));
    // Models that decide themselves do not mind.
    request["messages"][1].as_object_mut().unwrap().remove("thinking_blocks");
    assert_eq!(claude("claude-opus-5").body(&request)["thinking"], json!({"type": "adaptive"}));
}

#[test]
fn strict_tools_are_closed_or_not_strict() {
    let strict = |parameters: Value| {
        let tool = json!({"type": "function", "function": {"name": "f", "strict": true, "parameters": parameters}});
        let body = claude("claude-sonnet-4-5").body(&with(json!({"tools": [tool]})));
        (body["tools"][0]["strict"].clone(), body["tools"][0]["input_schema"].clone())
    };
    let open = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
    let mut closed = open.clone();
    closed["additionalProperties"] = false.into();
    assert_eq!(strict(open), (json!(true), closed.clone()));
    let mut bounded = closed;
    bounded["properties"]["a"]["minLength"] = 1.into();
    assert_eq!(strict(bounded.clone()), (Value::Null, bounded));
}

#[test]
fn a_gemini_client_reads_anthropics_answer_whole() {
    let request = json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}], "generationConfig": {"maxOutputTokens": 100}});
    let answer = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "stop_sequence", "stop_sequence": "END",
        "content": [text("a"), {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, text("b"),
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}}],
        "usage": {"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30, "output_tokens": 5,
            "output_tokens_details": {"thinking_tokens": 3}}});
    let said = GEMINI.answer(&request, &answer);
    let parts = said["candidates"][0]["content"]["parts"].as_array().unwrap();
    let texts: String = parts.iter().filter_map(|part| part["text"].as_str()).collect();
    assert_eq!(texts, "ab");
    assert_eq!(parts.last().unwrap()["functionCall"], json!({"id": "toolu_1", "name": "f", "args": {"x": 1}}));
    let usage = &said["usageMetadata"];
    assert_eq!(
        (
            &usage["promptTokenCount"],
            &usage["cachedContentTokenCount"],
            &usage["candidatesTokenCount"],
            &usage["thoughtsTokenCount"],
            &usage["totalTokenCount"]
        ),
        (&json!(60), &json!(30), &json!(2), &json!(3), &json!(65))
    );
}

#[test]
fn a_messages_client_knows_geminis_input_from_the_first_event() {
    let to = to(Dialect::Anthropic, Dialect::Gemini, "gemini-2.5-flash");
    let request = json!({"model": "smart", "max_tokens": 100, "stream": true, "messages": [{"role": "user", "content": "x"}]});
    let record = |text: &str, finish: Value, usage: Value| {
        json!({"responseId": "r", "modelVersion": "g", "candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, "finishReason": finish}],
            "usageMetadata": usage})
    };
    let upstream = plain_sse(&[
        record("a", Value::Null, json!({"promptTokenCount": 55, "totalTokenCount": 55})),
        record(
            "b",
            json!("STOP"),
            json!({"promptTokenCount": 257, "cachedContentTokenCount": 7, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "totalTokenCount": 262}),
        ),
    ]);
    let events = to.events(&request, &upstream);
    assert_eq!(events[0]["message"]["usage"]["input_tokens"], 55);
    let end = events.iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!((&end["delta"]["stop_reason"], &end["delta"]["stop_sequence"]), (&json!("end_turn"), &Value::Null));
    let usage = &end["usage"];
    assert_eq!(
        (
            &usage["input_tokens"],
            &usage["cache_read_input_tokens"],
            &usage["output_tokens"],
            &usage["output_tokens_details"]["thinking_tokens"]
        ),
        (&json!(250), &json!(7), &json!(5), &json!(3))
    );
}
