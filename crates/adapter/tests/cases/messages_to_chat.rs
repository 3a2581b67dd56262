//! Requests of Messages clients to Chat Completions upstreams: cases a41 to a53.

use bytes::Bytes;
use serde_json::{Value, json};
use tallygate_adapter::Verdict::{Approximated, Dropped};
use tallygate_adapter::{Call, NoMemory, PastReasoning, Profiles, peek, prepare};
use tallygate_types::{Dialect, Timestamp};

use crate::common::Both;
use crate::support::{To, to};

const TO: To<'_> = at("gpt-4o");

const fn at(model: &str) -> To<'_> {
    to(Dialect::Anthropic, Dialect::OpenaiChat, model)
}

fn with(fields: Value) -> Value {
    let mut body = json!({"model": "smart", "max_tokens": 100, "messages": [{"role": "user", "content": "x"}]});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

/// A history that ends with the results of two calls; `results` are the blocks of the last turn.
fn after_two_calls(results: Value) -> Value {
    with(json!({"messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
            {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {"a": 1}}]},
        {"role": "user", "content": results}]}))
}

/// The upstream's messages after the assistant's.
fn answers(request: &Value) -> Value {
    Value::from(TO.body(request)["messages"].as_array().unwrap()[2..].to_vec())
}

#[test]
fn case_a41_the_billing_header_is_dropped_for_openai_and_kept_for_anthropic() {
    let request = with(json!({"system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cch=1a2b3"},
        {"type": "text", "text": "Be kind."}, {"type": "text", "text": "Be brief."}]}));
    assert_eq!(
        TO.body(&request)["messages"],
        json!([
            {"role": "system", "content": [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": "x"}])
    );
    assert_eq!(TO.loss(&request), "");
    let responses = to(Dialect::Anthropic, Dialect::OpenaiResponses, "gpt-4o").body(&request).to_string();
    assert_eq!((responses.contains("billing-header"), responses.contains("Be kind.")), (false, true));
    let own = to(Dialect::Anthropic, Dialect::Anthropic, "smart");
    assert_eq!(own.bytes(&request), request.to_string());
}

#[test]
fn case_a42_results_become_tool_messages_before_the_text_of_their_turn() {
    let request = after_two_calls(json!([
        {"type": "text", "text": "and now?"},
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "one"},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "text", "text": "two"}, {"type": "text", "text": "three"}]}]));
    assert_eq!(
        answers(&request),
        json!([
            {"role": "tool", "content": "one", "tool_call_id": "toolu_1"},
            {"role": "tool", "content": [{"type": "text", "text": "two"}, {"type": "text", "text": "three"}], "tool_call_id": "toolu_2"},
            {"role": "user", "content": "and now?"}])
    );
    assert_eq!(TO.loss(&request), "");
}

#[test]
fn case_a43_an_image_in_a_result_follows_all_tool_messages_in_one_user_message() {
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}});
    let request = after_two_calls(json!([
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "see"}, image]},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": "two"},
        {"type": "text", "text": "What is it?"}]));
    assert_eq!(
        answers(&request),
        json!([
            {"role": "tool", "content": [{"type": "text", "text": "see"},
                {"type": "text", "text": "[attachment 1 of tool call toolu_1 follows]"}], "tool_call_id": "toolu_1"},
            {"role": "tool", "content": "two", "tool_call_id": "toolu_2"},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                {"type": "text", "text": "What is it?"}]}])
    );
    assert_eq!(TO.losses(&request), [("messages[2].tool_result".into(), Approximated)]);
}

#[test]
fn case_a44_a_failed_result_says_so_and_an_empty_one_is_an_empty_string() {
    let request = after_two_calls(json!([
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no such file", "is_error": true},
        {"type": "tool_result", "tool_use_id": "toolu_2"}]));
    assert_eq!(
        answers(&request),
        json!([
            {"role": "tool", "content": "Error: no such file", "tool_call_id": "toolu_1"},
            {"role": "tool", "content": "", "tool_call_id": "toolu_2"}])
    );
    assert_eq!(TO.losses(&request), [("messages[2].is_error".into(), Approximated)]);
    let said = after_two_calls(json!([
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "Error: no such file", "is_error": true},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": "{\"error\": \"none\"}"}]));
    assert_eq!(answers(&said)[0]["content"], "Error: no such file");
    assert_eq!(answers(&said)[1]["content"], "{\"error\": \"none\"}");
}

#[test]
fn case_a45_thinking_does_not_leak_into_the_content() {
    let request = with(json!({"messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "secret", "signature": "sig"}, {"type": "redacted_thinking", "data": "zzz"},
            {"type": "text", "text": "Let me"}, {"type": "text", "text": " see."},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"city": "Paris"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "ok"}]}]}));
    assert_eq!(
        TO.body(&request)["messages"][1],
        json!({"role": "assistant", "content": "Let me see.", "tool_calls": [
            {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": "{\"city\":\"Paris\"}"}}]})
    );
    assert_eq!(TO.losses(&request), [("messages[1].reasoning".into(), Dropped)]);
    let silent = after_two_calls(json!([{"type": "tool_result", "tool_use_id": "toolu_1", "content": "1"},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": "2"}]));
    assert_eq!(
        TO.body(&silent)["messages"][1],
        json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "toolu_2", "type": "function", "function": {"name": "g", "arguments": "{\"a\":1}"}}]})
    );
}

#[test]
fn case_a46_a_name_of_90_characters_is_shortened_upstream_and_whole_for_the_client() {
    let name = "mcp__".to_owned() + &"long_server_name_".repeat(5);
    assert_eq!(name.len(), 90);
    let request = with(json!({
        "tools": [{"name": name, "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": name}}));
    let body = TO.body(&request);
    let sent = body["tools"][0]["function"]["name"].as_str().unwrap();
    assert_eq!((sent.len(), &sent[..55]), (64, &name[..55]));
    assert_eq!(body["tool_choice"], json!({"type": "function", "function": {"name": sent}}));
    let answer = TO.answer(&request, &json!({"id": "chatcmpl-1", "choices": [{"index": 0, "finish_reason": "stop", "message":
        {"content": null, "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": sent, "arguments": "{}"}}]}}]}));
    assert_eq!(answer["content"], json!([{"type": "tool_use", "id": "call_1", "name": name, "input": {}}]));
}

#[test]
fn case_a47_an_id_of_60_characters_is_shortened_alike_in_call_and_result() {
    let id = format!("toolu_{}", "b".repeat(54));
    let request = |id: &str| {
        with(json!({"messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "ok"}]}]}))
    };
    let ids = |id: &str| {
        let body = TO.body(&request(id));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&body["messages"][1]["tool_calls"][0]["id"]), text(&body["messages"][2]["tool_call_id"]))
    };
    let (call, result) = ids(&id);
    assert_eq!((call.len(), &call), (40, &result));
    assert_ne!(ids(&format!("{}c", &id[..59])).0, call, "another id stays another");
    assert_eq!(ids("toolu_01A"), ("toolu_01A".into(), "toolu_01A".into()));
}

#[test]
fn case_a48_no_output_is_refused_and_too_much_is_clamped() {
    assert_eq!(TO.refusal(&with(json!({"max_tokens": 0}))).0.as_deref(), Some("max_tokens"));
    let request = with(json!({"max_tokens": 64_000}));
    assert_eq!(TO.body(&request)["max_completion_tokens"], 16_384);
    assert_eq!(TO.losses(&request), [("max_tokens".into(), Approximated)]);
    // A server whose limit is not known gets what was asked for, in the field it knows.
    assert_eq!(at("qwen3").body(&request)["max_tokens"], 64_000);
}

#[test]
fn case_a49_tools_on_a_reasoning_model_go_to_the_responses_endpoint_or_without_reasoning() {
    let tools = json!([{"name": "f", "input_schema": {"type": "object", "properties": {}}}]);
    let request = with(json!({"tools": tools, "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}));
    let outgoing = Both(at("gpt-5.6")).prepare(&request).unwrap();
    assert_eq!(outgoing.path, "/v1/responses");
    let body: Value = serde_json::from_slice(&outgoing.body.whole()).unwrap();
    assert_eq!((&body["reasoning"]["effort"], &body["tools"][0]["name"]), (&json!("high"), &json!("f")));
    let answer = json!({"id": "resp_1", "object": "response", "status": "completed", "output": [
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}", "status": "completed"}]});
    let answer = outgoing.session.answer(Bytes::from(answer.to_string())).unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        (&answer["content"], &answer["stop_reason"]),
        (&json!([{"type": "tool_use", "id": "call_1", "name": "f", "input": {}}]), &json!("tool_use"))
    );

    assert_eq!(at("gpt-5.6").body(&request)["reasoning_effort"], "none");
    assert_eq!(at("gpt-5.6").losses(&request), [("reasoning".into(), Approximated)]);
    assert_eq!(at("gpt-6-astra").refusal(&request).0.as_deref(), Some("tools"));
    assert_eq!(Both(at("gpt-6-astra")).prepare(&request).unwrap().path, "/v1/responses");

    // Chat takes what does not reason, and what has no tools.
    let silent = with(json!({"tools": tools, "thinking": {"type": "disabled"}}));
    assert_eq!(Both(at("gpt-5.6")).prepare(&silent).unwrap().path, "/v1/chat/completions");
    assert_eq!(Both(at("gpt-5.6")).prepare(&with(json!({}))).unwrap().path, "/v1/chat/completions");
    assert_eq!(Both(at("gpt-4o")).prepare(&request).unwrap().path, "/v1/chat/completions");
    // What only the other endpoint serves goes there from every client.
    let chat = to(Dialect::OpenaiChat, Dialect::OpenaiChat, "gpt-5.2-codex");
    let asked = json!({"model": "smart", "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(Both(chat).prepare(&asked).unwrap().path, "/v1/responses");
}

#[test]
fn case_a50_a_model_that_always_reasons_reasons_little_where_thinking_is_disabled() {
    let request = with(json!({"thinking": {"type": "disabled"}}));
    assert_eq!(at("gpt-6-astra").body(&request)["reasoning_effort"], "low");
    assert_eq!(at("gpt-6-astra").losses(&request), [("reasoning".into(), Approximated)]);
    assert_eq!(at("gpt-5").body(&request)["reasoning_effort"], "minimal");
    assert_eq!(at("gpt-5.6").body(&request)["reasoning_effort"], "none");
    assert_eq!(at("gpt-5.6").loss(&request), "");
}

#[test]
fn case_a51_a_residency_is_refused_and_a_long_user_id_is_hashed() {
    assert_eq!(TO.refusal(&with(json!({"inference_geo": "us"}))).0.as_deref(), Some("inference_geo"));
    let long = with(json!({"metadata": {"user_id": "u".repeat(150)}}));
    assert_eq!(TO.body(&long)["safety_identifier"], "816752062318c8f216b0d347163d40e917a8c522ce07be3d0ebc80db6132fc5b");
    let short = with(json!({"metadata": {"user_id": "u".repeat(64)}}));
    assert_eq!(TO.body(&short)["safety_identifier"], "u".repeat(64));
}

#[test]
fn case_a52_unknown_betas_and_the_old_query_are_accepted_and_stay_here() {
    let body = Bytes::from(with(json!({})).to_string());
    let seen = peek(Dialect::Anthropic, &body).unwrap();
    let call = Call {
        client: Dialect::Anthropic,
        upstream: Dialect::OpenaiChat,
        speaks_responses: false,
        client_model: "smart",
        upstream_model: "gpt-4o",
        stream: false,
        peek: &seen,
        strict: true,
        response_id: "0192",
        created_at: Timestamp::UNIX_EPOCH,
        client_query: "beta=true",
        profiles: Profiles::builtin(),
        memory: &NoMemory,
        past_reasoning: PastReasoning::Sent,
        output_cap: None,
    };
    let headers = [("anthropic-version", "2026-10-21"), ("anthropic-beta", "never-heard-of-2099-01-01,context-1m-2025-08-07")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let outgoing = prepare(&call, &body, &headers).unwrap();
    assert_eq!((&*outgoing.path, outgoing.headers.as_slice()), ("/v1/chat/completions", &[][..]));
    assert_eq!(outgoing.body, r#"{"model":"gpt-4o","messages":[{"role":"user","content":"x"}],"max_completion_tokens":100}"#);
}

#[test]
fn case_a53_a_schema_with_optional_properties_is_not_strict_and_stays_as_it_is() {
    let format = |schema: &Value| {
        let request = with(json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}));
        TO.body(&request)["response_format"].clone()
    };
    let open = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
        "required": ["a"], "additionalProperties": false});
    assert_eq!(
        format(&open),
        json!({"type": "json_schema", "json_schema": {"name": "response", "schema": open, "strict": false}})
    );
    let mut closed = open.clone();
    closed["required"] = json!(["a", "b"]);
    assert_eq!(format(&closed)["json_schema"], json!({"name": "response", "schema": closed, "strict": true}));
}

#[test]
fn requirements_that_only_anthropic_can_meet_are_refused() {
    for (field, value) in [("container", json!("c")), ("mcp_servers", json!([{"type": "url"}]))] {
        assert_eq!(TO.refusal(&with(json!({ field: value }))).0.as_deref(), Some(field));
    }
    let search = with(json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}));
    assert_eq!(TO.refusal(&search).0.as_deref(), Some("tools[0]"));
    assert_eq!(
        TO.loss(&with(json!({"mcp_servers": [], "context_management": {}, "top_k": 3}))),
        "dropped=mcp_servers,context_management,top_k"
    );
}

#[test]
fn thinking_becomes_effort_where_the_model_reasons() {
    let effort = |model: &str, fields: Value| at(model).body(&with(fields)).get("reasoning_effort").cloned().unwrap_or_default();
    let budget = |tokens: u64| json!({"thinking": {"type": "enabled", "budget_tokens": tokens}});
    assert_eq!(effort("gpt-5.1", budget(2_000)), "low");
    assert_eq!(effort("gpt-5.1", budget(4_096)), "medium");
    assert_eq!(effort("gpt-5.1", budget(20_000)), "high");
    assert_eq!(effort("gpt-5.2", json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}})), "xhigh");
    assert_eq!(effort("o3", json!({"output_config": {"effort": "max"}})), "high");
    assert_eq!(effort("gpt-6-luna", json!({"output_config": {"effort": "max"}})), "max");
    assert_eq!(effort("gpt-4o", budget(2_000)), Value::Null);
}

#[test]
fn a_history_is_made_one_that_openai_takes() {
    // A call the client never answered, a result that comes after other words, and a last turn that was to be continued.
    let request = with(json!({"messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "t1", "name": "f", "input": {}}, {"type": "tool_use", "id": "t2", "name": "f", "input": {}}]},
        {"role": "user", "content": "wait"},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t2", "content": "two"}]},
        {"role": "assistant", "content": "So:"}]}));
    assert_eq!(
        answers(&request),
        json!([
            {"role": "tool", "content": "two", "tool_call_id": "t2"},
            {"role": "tool", "content": "(no result)", "tool_call_id": "t1"},
            {"role": "user", "content": "wait"},
            {"role": "assistant", "content": "So:"}])
    );
    assert_eq!(TO.losses(&request), [("messages".into(), Approximated), ("messages[4]".into(), Approximated)]);
}
