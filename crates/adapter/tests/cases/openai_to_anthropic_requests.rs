//! Cases a01 to a40: requests of Chat Completions clients to an Anthropic upstream. What a model has to do with it says
//! the model's name; the others go to one that takes most.

use serde_json::{Value, json};
use tallygate_adapter::Verdict::{Approximated, Dropped};
use tallygate_types::Dialect;

use crate::support::{To, strict, to};

const HAIKU: To<'_> = claude("claude-haiku-4-5");

const fn claude(model: &str) -> To<'_> {
    to(Dialect::OpenaiChat, Dialect::Anthropic, model)
}

fn chat(messages: Value) -> Value {
    json!({"model": "smart", "max_completion_tokens": 100, "messages": messages})
}

/// A user's "x" with more fields beside it.
fn with(fields: Value) -> Value {
    let mut body = chat(json!([{"role": "user", "content": "x"}]));
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn function(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name}})
}

/// The tool `name`, as Anthropic gets it.
fn tool(name: &str) -> Value {
    json!({"name": name, "input_schema": {"type": "object", "properties": {}}})
}

fn call(id: &str, name: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
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
fn case_a21_the_cap_on_output() {
    let cap = |fields: Value| {
        let mut request = json!({"model": "smart", "messages": [{"role": "user", "content": "x"}]});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        HAIKU.body(&request)["max_tokens"].clone()
    };
    assert_eq!(cap(json!({})), 32_000);
    assert_eq!(cap(json!({"max_tokens": 7})), 7);
    assert_eq!(cap(json!({"max_tokens": 7, "max_completion_tokens": 8})), 8);
    assert_eq!(HAIKU.refusal(&with(json!({"max_completion_tokens": 0}))).0.as_deref(), Some("max_completion_tokens"));
    // A model that can write less than the default gets what it can.
    let old = json!({"model": "smart", "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(claude("claude-3-haiku-20240307").body(&old)["max_tokens"], 4_096);
}

#[test]
fn case_a22_a_cap_above_the_models_is_lowered() {
    let request = with(json!({"max_completion_tokens": 999_999}));
    assert_eq!(HAIKU.body(&request)["max_tokens"], 64_000);
    assert_eq!(HAIKU.losses(&request), [("max_completion_tokens".to_owned(), Approximated)]);
    assert_eq!(claude("claude-opus-5").body(&request)["max_tokens"], 128_000);
}

#[test]
fn case_a23_sampling_as_far_as_the_model_takes_it() {
    let sampling = |model: &'static str, fields: Value| {
        let body = claude(model).body(&with(fields));
        (body["temperature"].clone(), body["top_p"].clone())
    };
    let hot = json!({"temperature": 1.4});
    assert_eq!(sampling("claude-haiku-4-5", hot.clone()), (json!(1.0), Value::Null));
    assert_eq!(HAIKU.losses(&with(hot.clone())), [("temperature".to_owned(), Approximated)]);
    for model in ["claude-opus-4-7", "claude-opus-4-8", "claude-opus-5", "claude-sonnet-5-5"] {
        assert_eq!(sampling(model, hot.clone()), (Value::Null, Value::Null), "{model}");
        assert_eq!(claude(model).losses(&with(hot.clone())), [("temperature".to_owned(), Dropped)], "{model}");
        // The default is left out as well, but that loses nothing.
        assert_eq!(sampling(model, json!({"temperature": 1})), (Value::Null, Value::Null), "{model}");
        assert_eq!(claude(model).losses(&with(json!({"temperature": 1}))), [], "{model}");
    }
    let both = json!({"temperature": 0.5, "top_p": 0.9});
    assert_eq!(sampling("claude-sonnet-4-5", both.clone()), (json!(0.5), Value::Null));
    assert_eq!(claude("claude-sonnet-4-5").losses(&with(both.clone())), [("top_p".to_owned(), Dropped)]);
    assert_eq!(sampling("claude-sonnet-4-6", both), (json!(0.5), json!(0.9)));
    // Thinking takes a top_p near one, and nothing else.
    let thinking = |top_p: f64| json!({"reasoning_effort": "low", "max_completion_tokens": 9000, "temperature": 0.5, "top_p": top_p, "top_k": 3});
    assert_eq!(sampling("claude-haiku-4-5", thinking(0.96)), (Value::Null, json!(0.96)));
    assert_eq!(sampling("claude-haiku-4-5", thinking(0.9)), (Value::Null, Value::Null));
    assert_eq!(HAIKU.body(&with(thinking(0.9))).get("top_k"), None);
}

/// `thinking` and the effort that go upstream.
fn thought(model: &str, effort: &str, cap: u64) -> (Value, Value) {
    let body = claude(model).body(&with(json!({"reasoning_effort": effort, "max_completion_tokens": cap})));
    (body["thinking"].clone(), body["output_config"]["effort"].clone())
}

fn thought_losses(model: &str, effort: &str) -> Vec<(String, tallygate_adapter::Verdict)> {
    claude(model).losses(&with(json!({"reasoning_effort": effort, "max_completion_tokens": 64_000})))
}

#[test]
fn case_a24_effort_is_adaptive_thinking_or_a_budget() {
    assert_eq!(thought("claude-opus-5", "high", 64_000), (json!({"type": "adaptive"}), json!("high")));
    assert_eq!(thought_losses("claude-opus-5", "high"), []);
    let budget = |tokens: u64| (json!({"type": "enabled", "budget_tokens": tokens}), Value::Null);
    assert_eq!(thought("claude-haiku-4-5", "high", 4096), budget(4095));
    for (effort, tokens) in
        [("minimal", 1024), ("low", 2048), ("medium", 8192), ("high", 16_384), ("xhigh", 24_576), ("max", 32_000)]
    {
        assert_eq!(thought("claude-haiku-4-5", effort, 64_000), budget(tokens), "{effort}");
    }
    // No room for thinking.
    assert_eq!(thought("claude-haiku-4-5", "high", 1024), (Value::Null, Value::Null));
    // The one model with a budget and efforts gets both.
    assert_eq!(thought("claude-opus-4-5", "low", 64_000), (json!({"type": "enabled", "budget_tokens": 2048}), json!("low")));
}

#[test]
fn case_a25_no_effort_is_as_little_thinking_as_the_model_allows() {
    assert_eq!(thought("claude-sonnet-5-5", "none", 9000), (json!({"type": "between_tools"}), json!("low")));
    assert_eq!(thought("claude-fable-5-1", "none", 9000), (Value::Null, json!("low")));
    assert_eq!(thought_losses("claude-fable-5-1", "none"), [("reasoning".to_owned(), Approximated)]);
    assert_eq!(thought("claude-opus-4-8", "none", 9000), (json!({"type": "disabled"}), Value::Null));
    // Off unless asked for.
    assert_eq!(thought("claude-haiku-4-5", "none", 9000), (Value::Null, Value::Null));
    // Switched off by the extension, the highest efforts are refused.
    let body = claude("claude-opus-5").body(&with(json!({"thinking": {"type": "disabled"}, "reasoning_effort": "max"})));
    assert_eq!((&body["thinking"], &body["output_config"]), (&json!({"type": "disabled"}), &json!({"effort": "high"})));
}

#[test]
fn case_a26_an_effort_the_model_does_not_know() {
    assert_eq!(thought("claude-opus-4-6", "xhigh", 64_000), (json!({"type": "adaptive"}), json!("high")));
    assert_eq!(thought_losses("claude-opus-4-6", "xhigh"), [("reasoning".to_owned(), Approximated)]);
    assert_eq!(thought("claude-opus-4-6", "max", 64_000), (json!({"type": "adaptive"}), json!("max")));
    assert_eq!(thought("claude-opus-5", "minimal", 64_000), (json!({"type": "adaptive"}), json!("low")));
    assert_eq!(thought_losses("claude-opus-5", "minimal"), [("reasoning".to_owned(), Approximated)]);
}

#[test]
fn case_a27_stop_sequences_of_white_space_are_left_out() {
    let stops = |stop: Value| HAIKU.body(&with(json!({"stop": stop})))["stop_sequences"].clone();
    assert_eq!(stops(json!(["\n", "END"])), json!(["END"]));
    assert_eq!(HAIKU.losses(&with(json!({"stop": ["\n", "END"]}))), [("stop".to_owned(), Dropped)]);
    assert_eq!(stops(json!("X")), json!(["X"]));
    assert_eq!(HAIKU.body(&with(json!({"stop": null}))).get("stop_sequences"), None);
    assert_eq!(HAIKU.body(&with(json!({"stop": [""]}))).get("stop_sequences"), None);
}

#[test]
fn case_a28_more_than_one_answer_is_refused() {
    let error = HAIKU.prepare(&with(json!({"n": 2}))).unwrap_err();
    assert_eq!((error.param.as_deref(), error.code), (Some("n"), "unsupported_value"));
    assert_eq!(HAIKU.losses(&with(json!({"n": 1}))), []);
}

#[test]
fn case_a29_log_probabilities_are_null_in_the_answer_or_refused() {
    let request = with(json!({"logprobs": true, "top_logprobs": 2}));
    assert_eq!(HAIKU.losses(&request), [("logprobs".to_owned(), Dropped)]);
    let answer = json!({"id": "msg_1", "type": "message", "model": "c", "stop_reason": "end_turn", "content": [text("a")]});
    assert_eq!(HAIKU.answer(&request, &answer)["choices"][0]["logprobs"], Value::Null);
    assert_eq!(strict(&HAIKU).refusal(&request).0.as_deref(), Some("logprobs"));
}

#[test]
fn case_a30_defaults_lose_nothing() {
    let request = json!({"seed": null, "logit_bias": {}, "frequency_penalty": 0, "presence_penalty": 0.0, "logprobs": false,
        "store": false, "metadata": {}, "temperature": null});
    assert_eq!(HAIKU.losses(&with(request)), []);
    assert_eq!(HAIKU.losses(&with(json!({"seed": 7}))), [("seed".to_owned(), Dropped)]);
    assert_eq!(
        HAIKU.losses(&with(json!({"logit_bias": {"1": 2}, "presence_penalty": 0.5, "verbosity": "low", "prediction": {"type": "content", "content": "x"}}))),
        [("prediction".to_owned(), Dropped), ("logit_bias".to_owned(), Dropped), ("presence_penalty".to_owned(), Dropped),
            ("verbosity".to_owned(), Dropped)]
    );
}

/// The first block that goes upstream for a user's message of one part.
fn part(part: &Value) -> Value {
    HAIKU.body(&chat(json!([{"role": "user", "content": [part]}])))["messages"][0]["content"][0].clone()
}

fn part_refusal(part: &Value) -> (Option<String>, &'static str) {
    let error = HAIKU.prepare(&chat(json!([{"role": "user", "content": [part]}]))).unwrap_err();
    (error.param, error.code)
}

fn image(url: &str) -> Value {
    json!({"type": "image_url", "image_url": {"url": url}})
}

const PNG: &str = "iVBORw0KGgoAAAANSUhEUg==";
const JPEG: &str = "/9j/4AAQSkZJRgABAQ==";
const PDF: &str = "JVBERi0xLjQKJcOkw7w=";

#[test]
fn case_a31_images_as_data() {
    let block = |kind: &str, data: &str| json!({"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}});
    assert_eq!(part(&image(&format!("data:image/png;charset=utf-8;base64,{PNG}"))), block("image/png", PNG));
    assert_eq!(part(&image(&format!("data:image/png;base64,{JPEG}"))), block("image/jpeg", JPEG));
    // White space in it, and bytes as they are instead of base64.
    assert_eq!(part(&image("data:image/png;base64,iVBORw0KGgoA\nAAANSUhEUg==")), block("image/png", PNG));
    assert_eq!(part(&image("data:image/gif,GIF89a%01%00%01%00%00%00%00")), block("image/gif", "R0lGODlhAQABAAAAAA=="));
    assert_eq!(part_refusal(&image("data:image/svg+xml;base64,AAAA")), (Some("messages[0]".into()), "invalid_image_format"));
    // A PDF given as an image is a document.
    assert_eq!(
        part(&image(&format!("data:application/pdf;base64,{PDF}"))),
        json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}})
    );
}

#[test]
fn case_a33_files_and_sound() {
    let file = |file: Value| json!({"type": "file", "file": file});
    let pdf = |title: &str| json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}, "title": title});
    assert_eq!(
        part(&file(json!({"filename": "a.pdf", "file_data": format!("data:application/pdf;base64,{PDF}")}))),
        pdf("a.pdf")
    );
    assert_eq!(part(&file(json!({"filename": "b", "file_data": PDF}))), pdf("b"));
    // Text goes as text.
    for (name, data) in
        [("a.csv", "data:text/csv;base64,YSxi"), ("a.md", "YSxi"), ("a.json", "data:application/octet-stream;base64,YSxi")]
    {
        assert_eq!(
            part(&file(json!({"filename": name, "file_data": data}))),
            json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}, "title": name})
        );
    }
    let refused = (Some("messages[0]".to_owned()), "unsupported_value");
    assert_eq!(part_refusal(&file(json!({"filename": "a.zip", "file_data": "data:application/zip;base64,UEsDBA=="}))), refused);
    assert_eq!(part_refusal(&file(json!({"file_id": "file-1"}))), refused);
    assert_eq!(part_refusal(&json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}})), refused);
}

fn schema(schema: Value) -> Value {
    json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}})
}

#[test]
fn case_a34_a_schema_is_bent_to_what_can_be_enforced() {
    let request = with(json!({"response_format": schema(json!({"type": "object", "required": ["n", "s"], "properties": {
        "n": {"type": "integer", "minimum": 1, "maximum": 9, "description": "count"},
        "s": {"oneOf": [{"type": "string", "pattern": "^a", "format": "email"}, {"type": "null"}]},
        "l": {"type": "array", "items": {"type": "object", "properties": {}, "additionalProperties": false}, "minItems": 1, "maxItems": 3}}}))}));
    let first = HAIKU.bytes(&request);
    let body: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(
        body["output_config"],
        json!({"format": {"type": "json_schema", "schema": {"type": "object", "required": ["n", "s"], "properties": {
            "n": {"type": "integer", "description": "count\n\n{minimum: 1, maximum: 9}"},
            "s": {"anyOf": [{"type": "string", "format": "email", "description": "{pattern: \"^a\"}"}, {"type": "null"}]},
            "l": {"type": "array", "items": {"type": "object", "properties": {}, "additionalProperties": false}, "minItems": 1,
                "description": "{maxItems: 3}"}},
            "additionalProperties": false}}})
    );
    assert_eq!(HAIKU.losses(&request), [("response_format.json_schema".to_owned(), Approximated)]);
    assert_eq!(HAIKU.bytes(&request), first);
}

const SCHEMA_INSTRUCTION: &str = "Answer with JSON only, without any text around it. It must conform to this JSON Schema:\n";

#[test]
fn case_a35_a_schema_that_cannot_be_enforced() {
    let tree = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
    let request = with(json!({"response_format": schema(tree.clone()), "tools": [function("f")]}));
    // A model that cannot be forced to call a tool is asked in words, and so is one that has tools to choose from.
    for model in ["claude-opus-5-5", "claude-opus-4-8"] {
        let body = claude(model).body(&request);
        assert_eq!(body["system"], format!("{SCHEMA_INSTRUCTION}{tree}"));
        assert_eq!((body.get("tool_choice"), body.get("output_config")), (None, None));
        assert_eq!(claude(model).losses(&request), [("response_format.json_schema".to_owned(), Approximated)]);
    }
    // The fence a model may put around it is taken off.
    let fenced = json!({"id": "msg_1", "type": "message", "model": "c", "stop_reason": "end_turn", "content": [text("```json\n{\"next\":{}}\n```")]});
    let choice = claude("claude-opus-5-5").answer(&request, &fenced)["choices"][0].clone();
    assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!("{\"next\":{}}"), &json!("stop")));

    // Another is made to give the answer to a tool, and the client sees text.
    let opus = claude("claude-opus-4-8");
    let mut alone = with(json!({"response_format": schema(tree.clone())}));
    let body = opus.body(&alone);
    assert_eq!(
        body["tools"],
        json!([{"name": "json_response", "description": "Gives the answer to the user. Call it once, with the whole answer.", "input_schema": tree}])
    );
    assert_eq!(body["tool_choice"], json!({"type": "tool", "name": "json_response"}));
    let called = json!({"id": "msg_1", "type": "message", "model": "c", "stop_reason": "tool_use",
        "content": [{"type": "tool_use", "id": "t", "name": "json_response", "input": {"next": {}}}]});
    let choice = opus.answer(&alone, &called)["choices"][0].clone();
    assert_eq!(
        (&choice["message"]["content"], choice["message"].get("tool_calls"), &choice["finish_reason"]),
        (&json!("{\"next\":{}}"), None, &json!("stop"))
    );
    alone["stream"] = true.into();
    let stream = crate::support::anthropic_sse(&[
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "c"}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "json_response", "input": {}}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{\"next\":"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}}"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 3}}),
        json!({"type": "message_stop"}),
    ]);
    let events = opus.events(&alone, &stream);
    let deltas: Vec<&Value> =
        events.iter().filter_map(|event| event.get("choices")).map(|choices| &choices[0]["delta"]).collect();
    assert_eq!(
        deltas,
        [&json!({"role": "assistant", "content": ""}), &json!({"content": "{\"next\":"}), &json!({"content": "{}}"}), &json!({})]
    );
    assert_eq!(events[3]["choices"][0]["finish_reason"], "stop");
}

#[test]
fn case_a36_an_end_user_is_named_by_a_hash() {
    let user = |fields: Value| HAIKU.body(&with(fields))["metadata"]["user_id"].clone();
    // SHA-256 of the address.
    assert_eq!(user(json!({"user": "bob@example.com"})), "5ff860bf1190596c7188ab851db691f0f3169c453936e9e1eba2f9a47f7a0018");
    assert_eq!(user(json!({"user": "a", "safety_identifier": "bob@example.com"})), user(json!({"user": "bob@example.com"})));
    assert_eq!(HAIKU.body(&with(json!({"user": ""}))).get("metadata"), None);
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
fn case_a38_a_last_assistant_message_is_continued_or_followed() {
    let request = chat(json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": "Once \n"}]));
    let messages = |model: &'static str, request: &Value| claude(model).body(request)["messages"].clone();
    assert_eq!(
        messages("claude-sonnet-4-5", &request),
        json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": "Once"}])
    );
    let followed = json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": "Once \n"}, {"role": "user", "content": "Continue."}]);
    assert_eq!(messages("claude-opus-4-8", &request), followed);
    assert_eq!(claude("claude-opus-4-8").losses(&request), [("messages".to_owned(), Approximated)]);
    assert_eq!(strict(&claude("claude-opus-4-8")).refusal(&request).0.as_deref(), Some("messages"));
    // Neither thinking nor an enforced form can go on from text.
    let mut thinking = request.clone();
    thinking["reasoning_effort"] = "low".into();
    thinking["max_completion_tokens"] = 9000.into();
    assert_eq!(messages("claude-sonnet-4-5", &thinking), followed);
    let mut form = request;
    form["response_format"] = schema(json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}));
    assert_eq!(messages("claude-sonnet-4-5", &form), followed);
}

#[test]
fn case_a40_four_breakpoints_are_kept_and_an_hour_stands_before_five_minutes() {
    let marked = |ttl: &str| json!({"type": "text", "text": "t", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": ttl}});
    let request =
        |ttls: &[&str]| chat(json!([{"role": "user", "content": ttls.iter().map(|ttl| marked(ttl)).collect::<Vec<_>>()}]));
    let sent = |ttls: &[&str]| -> Vec<Value> {
        let body = HAIKU.body(&request(ttls));
        body["messages"][0]["content"].as_array().unwrap().iter().map(|block| block["cache_control"].clone()).collect()
    };
    let (short, long) = (json!({"type": "ephemeral"}), json!({"type": "ephemeral", "ttl": "1h"}));
    assert_eq!(
        sent(&["30m", "30m", "30m", "30m", "30m"]),
        [Value::Null, short.clone(), short.clone(), short.clone(), short.clone()]
    );
    assert_eq!(HAIKU.losses(&request(&["30m", "30m", "30m", "30m", "30m"])), [("cache_control".to_owned(), Dropped)]);
    assert_eq!(sent(&["12h", "30m", "12h"]), [long, short.clone(), short]);
    assert_eq!(HAIKU.losses(&request(&["12h", "30m", "12h"])), [("cache_control".to_owned(), Approximated)]);
}
