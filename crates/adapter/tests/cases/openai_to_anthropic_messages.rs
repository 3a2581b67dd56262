//! Cases a01 to a20 and a37: conversations and tools of Chat Completions clients to an Anthropic upstream.

use serde_json::{Value, json};
use tallygate_adapter::Verdict::Approximated;

use crate::chat_request::{HAIKU, call, chat, claude, function, text, with};
use crate::support::strict;

/// The tool `name`, as Anthropic gets it.
fn tool(name: &str) -> Value {
    json!({"name": name, "input_schema": {"type": "object", "properties": {}}})
}

#[test]
fn case_a01_system_and_developer_are_two_blocks_of_the_system_prompt() {
    let body = HAIKU.body(&chat(
        json!([{"role": "system", "content": "a"}, {"role": "developer", "content": "b"}, {"role": "user", "content": "x"}]),
    ));
    assert_eq!(
        body,
        json!({"model": "claude-haiku-4-5", "max_tokens": 100, "system": [text("a"), text("b")],
            "messages": [{"role": "user", "content": "x"}]})
    );
}

#[test]
fn case_a02_an_empty_system_message_leaves_no_system_field() {
    let body = HAIKU.body(&chat(json!([{"role": "system", "content": ""}, {"role": "user", "content": "x"}])));
    assert_eq!(body, json!({"model": "claude-haiku-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "x"}]}));
}

#[test]
fn case_a03_a_later_system_message_is_user_text_in_place_where_the_model_knows_no_system_turn() {
    let request = chat(json!([{"role": "system", "content": "first"}, {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"}, {"role": "system", "content": "s"}, {"role": "user", "content": "c"}]));
    let body = HAIKU.body(&request);
    assert_eq!(body["system"], "first");
    assert_eq!(
        body["messages"],
        json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
            {"role": "user", "content": [text("[system instruction] s"), text("c")]}])
    );
    assert_eq!(HAIKU.losses(&request), [("messages[3].role".to_owned(), Approximated)]);

    // Between a call and its result it goes behind the result.
    let between = HAIKU.body(&chat(json!([{"role": "user", "content": "a"},
        {"role": "assistant", "tool_calls": [call("c1", "f", "{}")]}, {"role": "system", "content": "s"},
        {"role": "tool", "tool_call_id": "c1", "content": "1"}])));
    assert_eq!(
        between["messages"][2]["content"],
        json!([{"type": "tool_result", "tool_use_id": "c1", "content": "1"}, text("[system instruction] s")])
    );
}

#[test]
fn case_a04_a_later_system_message_stands_right_after_the_users_turn_where_the_model_knows_it() {
    let opus = claude("claude-opus-4-8");
    let messages = |messages: Value| opus.body(&chat(messages))["messages"].clone();
    // After an assistant's turn it slides behind the user's.
    assert_eq!(
        messages(
            json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "system", "content": "s"},
            {"role": "developer", "content": "t"}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"},
            {"role": "user", "content": "e"}])
        ),
        json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"},
            {"role": "system", "content": [text("s"), text("t")]}, {"role": "assistant", "content": "d"}, {"role": "user", "content": "e"}])
    );
    // After a user's turn it stays, exactly.
    let stays =
        chat(json!([{"role": "user", "content": "a"}, {"role": "system", "content": "s"}, {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"}, {"role": "system", "content": "t"}]));
    assert_eq!(
        opus.body(&stays)["messages"],
        json!([{"role": "user", "content": "a"}, {"role": "system", "content": "s"}, {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"}, {"role": "system", "content": "t"}])
    );
    assert_eq!(opus.losses(&stays), []);
    // Behind results too; where no user's turn follows, it is one itself.
    assert_eq!(
        messages(json!([{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [call("c1", "f", "{}")]},
            {"role": "system", "content": "s"}, {"role": "tool", "tool_call_id": "c1", "content": "1"},
            {"role": "assistant", "content": "b"}, {"role": "system", "content": "t"}])),
        json!([{"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "1"}]},
            {"role": "system", "content": "s"}, {"role": "assistant", "content": "b"},
            {"role": "user", "content": "[system instruction] t"}])
    );
}

#[test]
fn case_a05_two_tool_messages_become_one_user_turn() {
    let body = HAIKU.body(&chat(json!([{"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [call("call_a", "f", "{\"a\":1}"), call("call_b", "g", "{}")]},
        {"role": "tool", "tool_call_id": "call_a", "content": "1"}, {"role": "tool", "tool_call_id": "call_b", "content": "2"}])));
    assert_eq!(
        body["messages"],
        json!([{"role": "user", "content": "x"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "call_a", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "call_b", "name": "g", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_a", "content": "1"},
                {"type": "tool_result", "tool_use_id": "call_b", "content": "2"}]}])
    );
}

#[test]
fn case_a06_user_text_after_tool_messages_joins_their_turn_behind_them() {
    let body = HAIKU.body(&chat(json!([{"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [call("call_a", "f", "{}")]},
        {"role": "tool", "tool_call_id": "call_a", "content": "1"}, {"role": "user", "content": "and?"}])));
    assert_eq!(
        body["messages"][2],
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_a", "content": "1"}, text("and?")]})
    );
}

#[test]
fn case_a07_empty_assistant_text_beside_calls_leaves_only_the_calls() {
    let body = HAIKU.body(&chat(json!([{"role": "user", "content": "x"},
        {"role": "assistant", "content": "", "tool_calls": [call("call_a", "f", "{}")]},
        {"role": "tool", "tool_call_id": "call_a", "content": "1"}])));
    assert_eq!(
        body["messages"][1],
        json!({"role": "assistant", "content": [{"type": "tool_use", "id": "call_a", "name": "f", "input": {}}]})
    );
}

#[test]
fn case_a08_an_assistant_message_without_anything_is_left_out() {
    let body = HAIKU.body(&chat(
        json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": null}, {"role": "user", "content": "b"}]),
    ));
    assert_eq!(body["messages"], json!([{"role": "user", "content": [text("a"), text("b")]}]));
}

#[test]
fn case_a09_an_empty_user_message_is_refused_where_the_client_said_it() {
    let param = |messages: Value| HAIKU.refusal(&chat(messages)).0;
    assert_eq!(param(json!([{"role": "user", "content": ""}])).as_deref(), Some("messages[0].content"));
    assert_eq!(
        param(json!([{"role": "system", "content": "s"}, {"role": "user", "content": [text(" ")]}])).as_deref(),
        Some("messages[1].content")
    );
    // Beside something else in the same turn it is passed over.
    let body = HAIKU.body(&chat(json!([{"role": "user", "content": ""}, {"role": "user", "content": "x"}])));
    assert_eq!(body["messages"], json!([{"role": "user", "content": "x"}]));
}

#[test]
fn case_a10_arguments_that_are_no_object_are_made_one() {
    let request = |arguments: &str| {
        chat(json!([{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [call("a", "f", arguments)]},
            {"role": "tool", "tool_call_id": "a", "content": "1"}]))
    };
    let input = |arguments: &str| HAIKU.body(&request(arguments))["messages"][1]["content"][0]["input"].clone();
    assert_eq!(input(""), json!({}));
    assert_eq!(HAIKU.losses(&request("")), []);
    assert_eq!(input("[1]"), json!({"value": [1]}));
    assert_eq!(HAIKU.losses(&request("[1]")), [("messages[1].tool_calls".to_owned(), Approximated)]);
    assert_eq!(input("{\"a\":"), json!({"_raw": "{\"a\":"}));
    assert_eq!(strict(&HAIKU).refusal(&request("{\"a\":")).0.as_deref(), Some("messages[1].tool_calls"));
}

#[test]
fn case_a11_ids_with_foreign_characters_are_bent_alike_in_call_and_result_and_never_collide() {
    let ids = ["functions.Bash:0", "functions.Bash.0", "functions_Bash_0", "ü"];
    let mut messages = vec![json!({"role": "user", "content": "x"})];
    messages.push(json!({"role": "assistant", "tool_calls": ids.iter().map(|id| call(id, "f", "{}")).collect::<Vec<_>>()}));
    messages.extend(ids.iter().map(|id| json!({"role": "tool", "tool_call_id": id, "content": id})));
    let body = HAIKU.body(&chat(json!(messages)));
    let column = |turn: usize, field: &str| -> Vec<String> {
        let blocks = body["messages"][turn]["content"].as_array().unwrap();
        blocks.iter().map(|block| block[field].as_str().unwrap().to_owned()).collect()
    };
    let bent = column(1, "id");
    assert_eq!(bent, column(2, "tool_use_id"));
    assert_eq!(column(2, "content"), ids);
    // One that fits stays.
    assert_eq!(bent[2], "functions_Bash_0");
    for (position, id) in bent.iter().enumerate() {
        assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') && !id.is_empty(), "{id}");
        assert!(!bent[..position].contains(id), "{id}");
    }
}

#[test]
fn case_a12_a_function_without_parameters_or_description() {
    assert_eq!(HAIKU.body(&with(json!({"tools": [function("now")]})))["tools"], json!([tool("now")]));
    assert_eq!(
        HAIKU.body(&with(
            json!({"tools": [{"type": "function", "function": {"name": "now", "description": null, "parameters": null}}]})
        ))["tools"],
        json!([tool("now")])
    );
}

#[test]
fn case_a13_definitions_stay_and_a_missing_type_is_added() {
    let parameters =
        json!({"properties": {"a": {"$ref": "#/$defs/a"}}, "additionalProperties": false, "$defs": {"a": {"type": "string"}}});
    let body = HAIKU.body(&with(json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}]})));
    assert_eq!(
        body["tools"][0]["input_schema"],
        json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "additionalProperties": false, "$defs": {"a": {"type": "string"}}})
    );
}

#[test]
fn case_a14_a_choice_of_schemas_is_wrapped_and_its_call_unwrapped() {
    let choice = json!({"anyOf": [{"$ref": "#/$defs/a"}, {"type": "object", "properties": {"b": {"type": "integer"}}}]});
    let mut parameters = choice.clone();
    parameters["$defs"] = json!({"a": {"type": "object"}});
    let mut request = with(json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}]}));
    assert_eq!(
        HAIKU.body(&request)["tools"][0]["input_schema"],
        json!({"type": "object", "$defs": {"a": {"type": "object"}}, "properties": {"input": choice}, "required": ["input"]})
    );
    assert_eq!(HAIKU.losses(&request), [("tools[0].parameters".to_owned(), Approximated)]);
    let answer = json!({"id": "msg_1", "type": "message", "model": "c", "stop_reason": "tool_use",
        "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"input": {"b": 1}}}]});
    assert_eq!(
        HAIKU.answer(&request, &answer)["choices"][0]["message"]["tool_calls"],
        json!([call("toolu_1", "f", "{\"b\":1}")])
    );
    // What the client sends back is wrapped again, so that the history reads as the model wrote it.
    request["messages"] = json!([{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [call("toolu_1", "f", "{\"b\":1}")]},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "1"}]);
    assert_eq!(HAIKU.body(&request)["messages"][1]["content"][0]["input"], json!({"input": {"b": 1}}));
    // Parts that can be put together need no wrapping.
    let parts = json!({"allOf": [{"type": "object", "properties": {"a": {}}, "required": ["a"]}, {"type": "object", "properties": {"b": {}}}]});
    let merged = with(json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": parts}}]}));
    assert_eq!(
        HAIKU.body(&merged)["tools"][0]["input_schema"],
        json!({"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]})
    );
    assert_eq!(HAIKU.losses(&merged), []);
}

/// What goes upstream of a choice among the tools `a`, `b` and `c`.
fn chosen(model: &str, fields: Value) -> (Value, Value) {
    let mut request = with(fields);
    request["tools"] = json!([function("a"), function("b"), function("c")]);
    let body = claude(model).body(&request);
    (body["tools"].clone(), body["tool_choice"].clone())
}

#[test]
fn case_a15_required_without_parallel_calls() {
    let (_, choice) = chosen("claude-haiku-4-5", json!({"tool_choice": "required", "parallel_tool_calls": false}));
    assert_eq!(choice, json!({"type": "any", "disable_parallel_tool_use": true}));
}

#[test]
fn case_a16_only_parallel_calls_switched_off_is_an_auto_choice() {
    let (_, choice) = chosen("claude-haiku-4-5", json!({"parallel_tool_calls": false}));
    assert_eq!(choice, json!({"type": "auto", "disable_parallel_tool_use": true}));
}

#[test]
fn case_a17_no_tool_takes_no_parallel_flag() {
    let (_, choice) = chosen("claude-haiku-4-5", json!({"tool_choice": "none", "parallel_tool_calls": false}));
    assert_eq!(choice, json!({"type": "none"}));
}

#[test]
fn case_a18_a_choice_without_tools_is_not_sent() {
    for fields in [
        json!({"tool_choice": "auto"}),
        json!({"tool_choice": "required"}),
        json!({"parallel_tool_calls": false}),
        json!({"tools": [], "tool_choice": "none", "parallel_tool_calls": true}),
    ] {
        assert_eq!(
            HAIKU.body(&with(fields)),
            json!({"model": "claude-haiku-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "x"}]})
        );
    }
}

#[test]
fn case_a19_allowed_tools_are_the_only_ones_sent() {
    let allowed =
        |mode: &str| json!({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [function("b")]}}});
    assert_eq!(chosen("claude-haiku-4-5", allowed("required")), (json!([tool("b")]), json!({"type": "any"})));
    assert_eq!(chosen("claude-haiku-4-5", allowed("auto")), (json!([tool("b")]), json!({"type": "auto"})));
}

#[test]
fn case_a20_a_named_tool_on_a_model_that_cannot_be_forced() {
    let named = json!({"tool_choice": function("b")});
    assert_eq!(chosen("claude-haiku-4-5", named.clone()).1, json!({"type": "tool", "name": "b"}));
    assert_eq!(chosen("claude-opus-5-5", named.clone()), (json!([tool("b")]), json!({"type": "auto"})));
    let mut request = with(named);
    request["tools"] = json!([function("a"), function("b")]);
    assert_eq!(claude("claude-opus-5-5").losses(&request), [("tool_choice".to_owned(), Approximated)]);
    assert_eq!(strict(&claude("claude-opus-5-5")).refusal(&request).0.as_deref(), Some("tool_choice"));
}

#[test]
fn case_a37_a_history_with_calls_and_no_tools_gets_those_it_called() {
    let body = HAIKU.body(&chat(json!([{"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [call("a", "f", "{}"), call("b", "g", "{}"), call("c", "f", "{}")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"}, {"role": "tool", "tool_call_id": "b", "content": "2"},
        {"role": "tool", "tool_call_id": "c", "content": "3"}])));
    assert_eq!(
        body["tools"],
        json!([{"name": "f", "input_schema": {"type": "object"}}, {"name": "g", "input_schema": {"type": "object"}}])
    );
    assert_eq!(body["tool_choice"], json!({"type": "none"}));
}

#[test]
fn the_smallest_request_says_nothing_more_than_it_must() {
    let outgoing = HAIKU.prepare(&chat(json!([{"role": "user", "content": "Hi"}]))).unwrap();
    assert_eq!(outgoing.path, "/v1/messages");
    assert_eq!(outgoing.headers, [("anthropic-version", "2023-06-01".to_owned())]);
    assert_eq!(
        outgoing.body,
        &br#"{"model":"claude-haiku-4-5","max_tokens":100,"messages":[{"role":"user","content":"Hi"}]}"#[..]
    );
    assert_eq!(outgoing.loss.to_string(), "");
}

#[test]
fn the_twenty_first_strict_tool_is_not_strict() {
    let schema = json!({"type": "object", "properties": {}, "additionalProperties": false});
    let strict =
        |i: usize| json!({"type": "function", "function": {"name": format!("f{i}"), "strict": true, "parameters": schema}});
    let request = with(json!({"tools": (0..21).map(strict).collect::<Vec<_>>()}));
    let body = HAIKU.body(&request);
    assert_eq!((&body["tools"][19]["strict"], body["tools"][20].get("strict")), (&json!(true), None));
    assert_eq!(HAIKU.loss(&request), "dropped=tools[20].strict");
}

#[test]
fn a_tool_that_is_defined_twice_is_refused() {
    let request = with(json!({"tools": [function("a"), function("b"), function("a")]}));
    assert_eq!(HAIKU.refusal(&request).0.as_deref(), Some("tools[2]"));
}

#[test]
fn every_call_has_one_result_and_every_result_its_call() {
    let history = |after: Value| {
        chat(json!([{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [call("a", "f", "{}")]}, after]))
    };
    let unanswered = history(json!({"role": "user", "content": "go on"}));
    assert_eq!(
        HAIKU.body(&unanswered)["messages"][2]["content"],
        json!([{"type": "tool_result", "tool_use_id": "a", "content": "(no result)", "is_error": true}, text("go on")])
    );
    assert_eq!(HAIKU.losses(&unanswered), [("messages".to_owned(), Approximated)]);
    assert_eq!(strict(&HAIKU).refusal(&unanswered).0.as_deref(), Some("messages"));
}
