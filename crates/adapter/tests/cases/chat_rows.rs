//! Rows of the protocol's tables that no numbered case names: Chat Completions as a client's and as an upstream's dialect.

use serde_json::{Value, json};
use tallygate_types::Dialect;

use crate::common::gather_chat;
use crate::support::{To, chat_sse, plain_sse, to};

const fn from_chat(upstream: Dialect, model: &str) -> To<'_> {
    to(Dialect::OpenaiChat, upstream, model)
}

const fn from_messages(model: &str) -> To<'_> {
    to(Dialect::Anthropic, Dialect::OpenaiChat, model)
}

const fn from_responses(model: &str) -> To<'_> {
    to(Dialect::OpenaiResponses, Dialect::OpenaiChat, model)
}

const GEMINI: To<'_> = from_chat(Dialect::Gemini, "gemini-2.5-flash");
const CLAUDE: To<'_> = from_chat(Dialect::Anthropic, "claude-sonnet-4-5");

fn with(fields: Value) -> Value {
    let mut body = json!({"model": "smart", "messages": [{"role": "user", "content": "x"}]});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn gemini(parts: Value, finish: &str) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": finish, "index": 0}],
        "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}, "responseId": "r1"})
}

/// The message of a Gemini answer, which is the same gathered from a stream.
fn message(parts: Value, finish: &str) -> Value {
    let whole = GEMINI.answer(&with(json!({})), &gemini(parts.clone(), finish))["choices"][0].clone();
    let streamed =
        gather_chat(&GEMINI.once(&with(json!({"stream": true})), &plain_sse(&[gemini(parts, finish)])))["choices"][0].clone();
    // Elements of lists have an index, which gathering takes off; a stream opens with empty content.
    let mut bare = whole["message"].clone();
    for image in bare.get_mut("images").and_then(Value::as_array_mut).into_iter().flatten() {
        image.as_object_mut().unwrap().remove("index");
    }
    let mut gathered = streamed["message"].clone();
    if bare["content"].is_null() {
        assert_eq!(gathered["content"].take(), "");
    }
    assert_eq!((&gathered, &streamed["finish_reason"]), (&bare, &whole["finish_reason"]));
    whole
}

#[test]
fn generated_images_stand_beside_the_text() {
    let choice = message(json!([{"text": "Look:"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]), "STOP");
    assert_eq!(choice["message"]["content"], "Look:");
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}});
    let mut images = choice["message"]["images"].clone();
    images[0].as_object_mut().unwrap().remove("index");
    assert_eq!(images, json!([image]));
}

#[test]
fn generated_sound_is_an_audio_object_whole_and_in_pieces() {
    let part = |data: &str| json!({"inlineData": {"mimeType": "audio/pcm", "data": data}});
    let choice = message(json!([part("AAEC")]), "STOP");
    assert_eq!(
        choice["message"]["audio"],
        json!({"id": "audio_chatcmpl-r1", "data": "AAEC", "expires_at": 1_700_000_000, "transcript": ""})
    );
    assert_eq!(choice["message"]["content"], Value::Null);
    // From a chat upstream to a Gemini client: the transcript is not lost.
    let spoken = json!({"id": "chatcmpl-1", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant",
        "content": null, "audio": {"id": "audio_1", "data": "UklGRgAAAABXQVZF", "expires_at": 1, "transcript": "Hello."}}}]});
    let gemini = to(Dialect::Gemini, Dialect::OpenaiChat, "gpt-audio");
    let parts = gemini.answer(&json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]}), &spoken)["candidates"][0]["content"]["parts"].clone();
    let sounds: Vec<&Value> = parts.as_array().unwrap().iter().filter(|part| part.get("inlineData").is_some()).collect();
    assert_eq!(sounds, [&json!({"inlineData": {"mimeType": "audio/wav", "data": "UklGRgAAAABXQVZF"}})]);
}

#[test]
fn the_upstreams_own_finish_word_is_said_where_ours_says_less() {
    assert_eq!(message(json!([{"text": "a"}]), "STOP").get("native_finish_reason"), None);
    let blocked = message(json!([{"text": "a"}]), "SAFETY");
    assert_eq!((&blocked["finish_reason"], &blocked["native_finish_reason"]), (&json!("content_filter"), &json!("SAFETY")));
    let unknown = message(json!([{"text": "a"}]), "FOO");
    assert_eq!((&unknown["finish_reason"], &unknown["native_finish_reason"]), (&json!("stop"), &json!("FOO")));
}

#[test]
fn the_tier_is_named_if_the_client_named_one() {
    let answer = json!({"id": "msg_1", "content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1, "service_tier": "priority"}});
    let tier = |request: Value| CLAUDE.answer(&request, &answer).get("service_tier").cloned();
    assert_eq!(tier(with(json!({}))), None);
    let said = tier(with(json!({"service_tier": "auto"})));
    assert!(said.is_none() || said == Some(json!("priority")), "{said:?}");
}

#[test]
fn old_functions_are_answered_in_their_own_shape() {
    let request = |stream: bool| {
        json!({"model": "smart", "stream": stream, "functions": [{"name": "f", "parameters": {"type": "object", "properties": {}}}],
            "function_call": {"name": "f"}, "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{\"a\":1}"}},
                {"role": "function", "name": "f", "content": "done"},
                {"role": "user", "content": "again"}]})
    };
    let sent = CLAUDE.body(&request(false));
    let id = &sent["messages"][1]["content"][0]["id"];
    assert_eq!(sent["messages"][1]["content"][0]["input"], json!({"a": 1}));
    assert_eq!(&sent["messages"][2]["content"][0]["tool_use_id"], id);
    assert_eq!(sent["tool_choice"], json!({"type": "tool", "name": "f"}));
    let answer = gemini(json!([{"functionCall": {"name": "f", "args": {"b": 2}}}]), "STOP");
    let choice = GEMINI.answer(&request(false), &answer)["choices"][0].clone();
    assert_eq!(
        (&choice["message"]["function_call"], choice["message"].get("tool_calls"), &choice["finish_reason"]),
        (&json!({"name": "f", "arguments": "{\"b\":2}"}), None, &json!("function_call"))
    );
    let streamed = gather_chat(&GEMINI.once(&request(true), &plain_sse(&[answer])))["choices"][0].clone();
    assert_eq!(streamed["message"]["function_call"], choice["message"]["function_call"]);
    assert_eq!(streamed["finish_reason"], "function_call");
}

#[test]
fn free_text_tools_keep_their_grammar_at_openai_and_become_functions_elsewhere() {
    let nested = json!({"type": "grammar", "grammar": {"definition": "start: WORD", "syntax": "lark"}});
    let flat = json!({"type": "grammar", "definition": "start: WORD", "syntax": "lark"});
    let chat = with(json!({"tools": [{"type": "custom", "custom": {"name": "patch", "description": "d", "format": nested}}],
        "tool_choice": {"type": "custom", "custom": {"name": "patch"}}}));
    let responses = from_chat(Dialect::OpenaiResponses, "gpt-5.6").body(&chat);
    assert_eq!(responses["tools"], json!([{"type": "custom", "name": "patch", "description": "d", "format": flat}]));
    assert_eq!(responses["tool_choice"], json!({"type": "custom", "name": "patch"}));

    let back = json!({"model": "smart", "tools": responses["tools"], "tool_choice": responses["tool_choice"], "input": [
        {"type": "message", "role": "user", "content": "x"},
        {"type": "custom_tool_call", "call_id": "call_1", "name": "patch", "input": "a \"b\""},
        {"type": "custom_tool_call_output", "call_id": "call_1", "output": "ok"}]});
    let own = from_responses("gpt-5").body(&back);
    assert_eq!(own["tools"], chat["tools"]);
    assert_eq!(own["tool_choice"], chat["tool_choice"]);
    assert_eq!(
        own["messages"][1]["tool_calls"],
        json!([{"id": "call_1", "type": "custom", "custom": {"name": "patch", "input": "a \"b\""}}])
    );
    let other = from_responses("qwen3").body(&back);
    let function = &other["tools"][0]["function"];
    assert_eq!(
        (&other["tools"][0]["type"], &function["name"], &function["description"]),
        (&json!("function"), &json!("patch"), &json!("d"))
    );
    assert_eq!(function["parameters"]["required"], json!(["input"]));
    assert_eq!(other["tool_choice"], json!({"type": "function", "function": {"name": "patch"}}));
    assert_eq!(other["messages"][1]["tool_calls"][0]["function"]["arguments"], "{\"input\":\"a \\\"b\\\"\"}");
    let answer = json!({"id": "chatcmpl-1", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"content": null,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "patch", "arguments": "{\"input\":\"x\\ny\"}"}}]}}]});
    let item = from_responses("qwen3").answer(&back, &answer)["output"][0].clone();
    assert_eq!((&item["type"], &item["input"], &item["call_id"]), (&json!("custom_tool_call"), &json!("x\ny"), &json!("c")));
}

#[test]
fn allowed_tools_are_filtered_where_the_word_is_not_known() {
    let tool = |name: &str| json!({"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}});
    let request = json!({"model": "smart", "input": "x", "tools": [tool("a"), tool("b")], "tool_choice": {"type": "allowed_tools",
        "mode": "required", "tools": [{"type": "function", "name": "b"}]}});
    let own = from_responses("gpt-4o").body(&request);
    assert_eq!(
        own["tool_choice"],
        json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "b"}}]}})
    );
    let other = from_responses("qwen3").body(&request);
    assert_eq!((&other["tool_choice"], other["tools"].as_array().unwrap().len()), (&json!("required"), 1));
    assert_eq!(other["tools"][0]["function"]["name"], "b");
    let twice = json!({"model": "smart", "input": "x", "tools": [tool("a"), tool("a")]});
    assert_eq!(from_responses("gpt-4o").refusal(&twice).0.as_deref(), Some("tools[1]"));
}

#[test]
fn json_mode_is_asked_for_in_words_too() {
    let asked = |text: &str| {
        let request = json!({"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": {"responseMimeType": "application/json"}});
        to(Dialect::Gemini, Dialect::OpenaiChat, "gpt-4o").body(&request)
    };
    let silent = asked("List three colours.");
    assert_eq!(silent["response_format"], json!({"type": "json_object"}));
    assert_eq!(silent["messages"][1], json!({"role": "system", "content": "Answer with one JSON object."}));
    assert_eq!(asked("List three colours as Json.")["messages"].as_array().unwrap().len(), 1);
}

#[test]
fn sampling_is_sent_to_models_that_reason_only_where_they_do_not() {
    let sampled = |model: &str, effort: Value| {
        let request = json!({"model": "smart", "max_tokens": 100, "messages": [{"role": "user", "content": "x"}], "temperature": 0.3,
            "thinking": effort});
        from_messages(model).body(&request).get("temperature").cloned()
    };
    let (off, on) = (json!({"type": "disabled"}), json!({"type": "enabled", "budget_tokens": 1024}));
    assert_eq!(sampled("gpt-5.1", off.clone()), Some(json!(0.3)));
    assert_eq!(sampled("gpt-5.1", Value::Null), Some(json!(0.3)), "its effort is none unless another is said");
    assert_eq!(sampled("gpt-5.1", on.clone()), None);
    assert_eq!(sampled("gpt-6-luna", off), None);
    assert_eq!(sampled("gpt-4o", on), Some(json!(0.3)));
    let few = json!({"model": "smart", "max_tokens": 4, "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(from_messages("gpt-5.1").body(&few)["max_completion_tokens"], 16);
    assert_eq!(from_messages("gpt-5.1").loss(&few), "approximated=max_tokens");
}

#[test]
fn earlier_reasoning_goes_back_to_servers_that_take_it() {
    let request = json!({"model": "smart", "max_tokens": 100, "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "tg1:none"}, {"type": "text", "text": "a"}]},
        {"role": "user", "content": "y"}]});
    assert_eq!(from_messages("deepseek-reasoner").body(&request)["messages"][1]["reasoning_content"], "hm");
    for model in ["gpt-4o", "magistral-medium"] {
        assert_eq!(from_messages(model).body(&request)["messages"][1], json!({"role": "assistant", "content": "a"}), "{model}");
    }
}

#[test]
fn marks_of_googles_compatible_endpoint_are_understood() {
    let thought = json!({"google": {"thought": true}});
    let chunk =
        |delta: Value, finish: Value| json!({"id": "1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
    let chunks = [
        chunk(json!({"content": "<thought>hm</thought>", "extra_content": thought}), Value::Null),
        chunk(json!({"content": "Hi"}), json!("stop")),
    ];
    let request = json!({"model": "smart", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "x"}]});
    let deltas: Vec<Value> = from_messages("gemini-2.5-pro")
        .events(&request, &chat_sse(&chunks))
        .iter()
        .filter_map(|event| event.get("delta").cloned())
        .collect();
    assert_eq!(
        deltas[..3],
        [
            json!({"type": "thinking_delta", "thinking": "hm"}),
            json!({"type": "signature_delta", "signature": "tg1:none"}),
            json!({"type": "text_delta", "text": "Hi"})
        ]
    );
}

#[test]
fn values_that_cannot_be_right_are_refused_by_name() {
    for (field, value) in [("max_tokens", json!(0)), ("max_completion_tokens", json!(0)), ("n", json!(0))] {
        assert_eq!(CLAUDE.refusal(&with(json!({ field: value }))).0.as_deref(), Some(field));
    }
    let block = json!({"model": "m", "policy": {"input": {"mode": "block"}}});
    assert_eq!(CLAUDE.refusal(&with(json!({"moderation": block}))).0.as_deref(), Some("moderation"));
    let part = with(json!({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}));
    assert_eq!(CLAUDE.refusal(&part).0.as_deref(), Some("messages[0].content[0].type"));
    let spoken = with(json!({"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}, {"role": "user", "content": "x"}]}));
    assert_eq!(CLAUDE.refusal(&spoken).0.as_deref(), Some("messages[0].audio"));
    assert_eq!(CLAUDE.loss(&with(json!({"reasoning_effort": "ultra", "max_tokens": 9}))), "dropped=reasoning_effort");
}
