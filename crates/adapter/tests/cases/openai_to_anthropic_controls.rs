//! Cases a21 to a30, a34 to a36 and a38: limits, sampling, effort and form of the answer, Chat Completions clients to an
//! Anthropic upstream.

use serde_json::{Value, json};
use tallygate_adapter::Verdict::{Approximated, Dropped};

use crate::chat_request::{HAIKU, chat, claude, function, text, with};
use crate::support::strict;

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
fn json_mode_is_asked_for_in_words() {
    let request = with(json!({"response_format": {"type": "json_object"}}));
    let body = HAIKU.body(&request);
    assert_eq!(body["system"], "Answer with one JSON object only, without any text around it.");
    assert_eq!(HAIKU.losses(&request), [("response_format".to_owned(), Approximated)]);
}
