//! Requests to a Gemini upstream: schemas, tools, results, media, reasoning, limits (cases b01 to b28).

use serde_json::{Value, json};
use tallygate_adapter::media_urls::{FetchedMedia, MediaKind, MediaUrl, TakesUrls, inline_media, media_urls};
use tallygate_types::Dialect;

use crate::support::{To, strict, to};

/// Knows JSON Schema, levels, functions beside a format.
const NEW: To<'_> = chat("gemini-3.5-flash");
/// Takes a budget, and one of functions and a format.
const FLASH: To<'_> = chat("gemini-2.5-flash");
/// Knows the OpenAPI subset alone.
const SUBSET: To<'_> = chat("gemini-1.5-pro");

const fn chat(model: &str) -> To<'_> {
    to(Dialect::OpenaiChat, Dialect::Gemini, model)
}

/// A chat request of one question, with more fields.
fn with(fields: Value) -> Value {
    let mut body = json!({"model": "smart", "messages": [{"role": "user", "content": "x"}]});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn messages(messages: Value) -> Value {
    json!({"model": "smart", "messages": messages})
}

/// One tool with these parameters.
fn tool(parameters: Value) -> Value {
    with(json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}]}))
}

/// The parameters as they go upstream, under either name.
fn parameters(to: &To<'_>, schema: Value) -> (String, Value) {
    let body = to.body(&tool(schema));
    let declaration = body["tools"][0]["functionDeclarations"][0].as_object().unwrap().clone();
    let (name, schema) = declaration.into_iter().find(|(name, _)| name.starts_with("parameters")).unwrap();
    (name, schema)
}

fn calls(ids: &[&str]) -> Value {
    ids.iter()
        .map(|id| json!({"id": id, "type": "function", "function": {"name": "get", "arguments": format!("{{\"of\":\"{id}\"}}")}}))
        .collect()
}

fn result(id: &str, content: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": content})
}

/// What of the schema of case 1 neither language knows, and what only one does.
fn demanding() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false,
        "propertyNames": {"pattern": "^[a-z]+$"}, "required": ["kind", "list"],
        "properties": {
            "kind": {"const": "a"},
            "n": {"type": "number", "exclusiveMinimum": 0},
            "list": {"type": "array", "uniqueItems": true, "items": {"anyOf": [{"type": "string", "$comment": "c"}, {"type": "object", "additionalProperties": false, "properties": {"k": {"const": "b"}}}]}}
        }
    })
}

#[test]
fn case_b01_keywords_beyond_googles_are_removed_from_json_schemas() {
    let (name, schema) = parameters(&NEW, demanding());
    assert_eq!(name, "parametersJsonSchema");
    assert_eq!(
        schema,
        json!({
            "type": "object", "additionalProperties": false, "required": ["kind", "list"],
            "properties": {
                "kind": {"enum": ["a"]},
                "n": {"type": "number", "description": "{exclusiveMinimum: 0}"},
                "list": {"type": "array", "description": "{uniqueItems: true}", "items": {"anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": false, "properties": {"k": {"enum": ["b"]}}}]}}
            }
        })
    );
    assert_eq!(
        NEW.loss(&tool(demanding())),
        "approximated=tools.parameters.exclusiveMinimum,tools.parameters.propertyNames,tools.parameters.uniqueItems"
    );
}

#[test]
fn case_b02_the_subset_has_no_foreign_keyword_at_any_depth() {
    let (name, schema) = parameters(&SUBSET, demanding());
    assert_eq!(name, "parameters");
    assert_eq!(
        schema,
        json!({
            "type": "OBJECT", "required": ["kind", "list"],
            "properties": {
                "kind": {"enum": ["a"], "type": "STRING"},
                "n": {"type": "NUMBER", "description": "{exclusiveMinimum: 0}"},
                "list": {"type": "ARRAY", "description": "{uniqueItems: true}", "items": {"anyOf": [{"type": "STRING"}, {"type": "OBJECT", "properties": {"k": {"enum": ["b"], "type": "STRING"}}}]}}
            }
        })
    );
}

#[test]
fn case_b03_properties_named_like_keywords_survive_and_stay_required() {
    let schema = json!({
        "type": "object", "required": ["title", "format", "default", "$ref"],
        "properties": {"title": {"type": "string"}, "format": {"type": "string"}, "default": {"type": "string"}, "$ref": {"type": "string"}}
    });
    assert_eq!(parameters(&NEW, schema.clone()).1, schema);
    let text = json!({"type": "STRING"});
    assert_eq!(
        parameters(&SUBSET, schema).1,
        json!({"type": "OBJECT", "required": ["title", "format", "default", "$ref"],
            "properties": {"title": text, "format": text, "default": text, "$ref": text}})
    );
}

#[test]
fn case_b04_a_union_with_null_is_nullable_in_the_subset_and_unchanged_in_json_schema() {
    let schema = json!({"type": "object", "properties": {"a": {"type": ["string", "null"]}}});
    assert_eq!(parameters(&NEW, schema.clone()).1, schema);
    let nullable = json!({"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": true}}});
    assert_eq!(parameters(&SUBSET, schema).1, nullable);
}

#[test]
fn case_b05_recursion_ends_in_an_object_in_the_subset_and_is_noted() {
    let schema = json!({
        "type": "object", "properties": {"tree": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"type": "object", "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}}
    });
    let node = |children: Value| json!({"type": "OBJECT", "properties": {"name": {"type": "STRING"}, "children": {"type": "ARRAY", "items": children}}});
    let expected = json!({"type": "OBJECT", "properties": {"tree": node(node(json!({"type": "OBJECT"})))}});
    assert_eq!(parameters(&SUBSET, schema.clone()).1, expected);
    assert_eq!(SUBSET.loss(&tool(schema.clone())), "approximated=tools.parameters.$ref");
    // Where the model knows references they stay.
    assert_eq!(parameters(&NEW, schema.clone()).1, schema);
    assert_eq!(NEW.loss(&tool(schema)), "");
}

#[test]
fn case_b06_required_names_nobody_declared_are_dropped() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a", "gone"]});
    assert_eq!(parameters(&NEW, schema.clone()).1["required"], json!(["a"]));
    assert_eq!(parameters(&SUBSET, schema.clone()).1["required"], json!(["a"]));
    assert_eq!(NEW.loss(&tool(schema)), "approximated=tools.parameters.required");
}

#[test]
fn case_b07_a_list_without_items_gets_some() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "array"}}});
    assert_eq!(parameters(&NEW, schema.clone()).1["properties"]["a"], json!({"type": "array", "items": {}}));
    assert_eq!(parameters(&SUBSET, schema).1["properties"]["a"], json!({"type": "ARRAY", "items": {"type": "STRING"}}));
}

#[test]
fn case_b08_listed_numbers_are_text_in_the_subset_and_an_answer_is_not_guessed_at() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer", "enum": [1, 2, 3]}}});
    assert_eq!(
        parameters(&SUBSET, schema.clone()).1["properties"]["n"],
        json!({"type": "STRING", "format": "enum", "enum": ["1", "2", "3"], "description": "{enum: [1,2,3]}"})
    );
    let answer = json!({"candidates": [{"content": {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"n": "3"}}}]}, "finishReason": "STOP"}], "responseId": "r"});
    let answer = SUBSET.answer(&tool(schema), &answer);
    assert_eq!(answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], "{\"n\":\"3\"}");
}

#[test]
fn case_b09_a_tool_without_parameters_is_declared_without_and_called_without() {
    for declared in [json!({"name": "f"}), json!({"name": "f", "parameters": {"type": "object", "properties": {}}})] {
        let request = with(json!({"tools": [{"type": "function", "function": declared}]}));
        assert_eq!(NEW.body(&request)["tools"], json!([{"functionDeclarations": [{"name": "f"}]}]));
        let answer = json!({"candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}]}, "finishReason": "STOP"}], "responseId": "r"});
        let answer = NEW.answer(&request, &answer);
        assert_eq!(answer["choices"][0]["message"]["tool_calls"][0]["function"], json!({"name": "f", "arguments": "{}"}));
    }
}

#[test]
fn case_b10_names_google_does_not_take_are_sanitised_distinctly_and_come_back() {
    let names = ["mcp:fs/read file", "mcp:fs/read_file", "mcp:fs read_file", "7zip", "plain.name"];
    let tools: Value = names.iter().map(|name| json!({"type": "function", "function": {"name": name}})).collect();
    let request = with(json!({ "tools": tools }));
    let body = NEW.body(&request);
    let sent: Vec<&str> =
        body["tools"][0]["functionDeclarations"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(
        sent,
        ["mcp:fs_read_file_565d558f", "mcp:fs_read_file_31a3e95c", "mcp:fs_read_file_0c19a4c4", "_7zip_89310047", "plain.name"]
    );
    let parts: Value = sent.iter().map(|name| json!({"functionCall": {"name": name, "args": {}}})).collect();
    let answer =
        NEW.answer(&request, &json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "responseId": "r"}));
    let called: Vec<&str> = answer["choices"][0]["message"]["tool_calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| call["function"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(called, names);
    // A name of the history that is declared no more is bent the same way, and a stray prefix of the model's is taken away.
    let history = messages(json!([
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "mcp:fs/read file", "arguments": "{}"}}]},
        result("a", "r")
    ]));
    assert_eq!(NEW.body(&history)["contents"][1]["parts"][0]["functionCall"]["name"], sent[0]);
    for prefix in ["default_api.", "default_api:"] {
        let parts = json!([{"functionCall": {"name": format!("{prefix}plain.name")}}]);
        let answer = NEW
            .answer(&request, &json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "responseId": "r"}));
        assert_eq!(answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "plain.name");
    }
}

#[test]
fn case_b11_parallel_results_are_one_content_in_the_order_of_the_calls() {
    let request = messages(json!([
        {"role": "user", "content": "x"}, {"role": "assistant", "content": null, "tool_calls": calls(&["a", "b", "c"])},
        result("c", "3"), result("a", "1"), result("b", "2")
    ]));
    let response =
        |id: &str, output: &str| json!({"functionResponse": {"id": id, "name": "get", "response": {"output": output}}});
    let contents = &FLASH.body(&request)["contents"];
    assert_eq!(contents[2], json!({"role": "user", "parts": [response("a", "1"), response("b", "2"), response("c", "3")]}));
    assert_eq!(contents.as_array().unwrap().len(), 3);
}

#[test]
fn case_b12_two_calls_of_one_function_keep_their_own_results() {
    let request = messages(json!([
        {"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": calls(&["a", "b"])}, result("b", "of b"), result("a", "of a")
    ]));
    let contents = &FLASH.body(&request)["contents"];
    assert_eq!(
        contents[1]["parts"],
        json!([{"functionCall": {"id": "a", "name": "get", "args": {"of": "a"}}}, {"functionCall": {"id": "b", "name": "get", "args": {"of": "b"}}}])
    );
    assert_eq!(
        contents[2]["parts"],
        json!([
            {"functionResponse": {"id": "a", "name": "get", "response": {"output": "of a"}}},
            {"functionResponse": {"id": "b", "name": "get", "response": {"output": "of b"}}}
        ])
    );
}

#[test]
fn case_b13_a_result_of_no_call_is_refused_with_its_place() {
    let request = messages(json!([
        {"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": calls(&["a"])}, result("a", "1"), result("zz", "2")
    ]));
    let (param, _) = NEW.refusal(&request);
    assert_eq!(param.as_deref(), Some("messages[3].tool_call_id"));
}

#[test]
fn case_b14_a_missing_result_is_answered_with_an_error() {
    let request = messages(json!([
        {"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": calls(&["a", "b"])}, result("a", "1"), {"role": "user", "content": "go on"}
    ]));
    assert_eq!(
        FLASH.body(&request)["contents"][2],
        json!({"role": "user", "parts": [
            {"functionResponse": {"id": "a", "name": "get", "response": {"output": "1"}}},
            {"functionResponse": {"id": "b", "name": "get", "response": {"error": "no result provided"}}},
            {"text": "go on"}
        ]})
    );
    assert_eq!(FLASH.loss(&request), "approximated=messages");
    assert_eq!(strict(&FLASH).refusal(&request).0.as_deref(), Some("messages"));
}

#[test]
fn case_b15_objects_are_responses_and_all_else_is_output() {
    let response = |content: Value| {
        let result = json!({"role": "tool", "tool_call_id": "a", "content": content});
        let request =
            messages(json!([{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": calls(&["a"])}, result]));
        FLASH.body(&request)["contents"][2]["parts"][0]["functionResponse"]["response"].clone()
    };
    assert_eq!(response(json!("{\"sky\": \"blue\"}")), json!({"sky": "blue"}));
    assert_eq!(response(json!("[1,2]")), json!({"output": "[1,2]"}));
    assert_eq!(response(json!("blue")), json!({"output": "blue"}));
    assert_eq!(response(json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])), json!({"output": "a\nb"}));
}

#[test]
fn case_b16_system_text_of_any_place_is_the_instruction() {
    let request = messages(json!([
        {"role": "system", "content": "first"}, {"role": "user", "content": "1"}, {"role": "assistant", "content": "2"},
        {"role": "user", "content": "3"}, {"role": "assistant", "content": "4"}, {"role": "developer", "content": "later"}, {"role": "user", "content": "5"}
    ]));
    let body = NEW.body(&request);
    assert_eq!(body["systemInstruction"], json!({"parts": [{"text": "first"}, {"text": "later"}]}));
    let roles: Vec<&str> = body["contents"].as_array().unwrap().iter().map(|content| content["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "model", "user", "model", "user"]);
    assert_eq!(NEW.loss(&request), "approximated=messages");
}

#[test]
fn case_b17_system_text_alone_is_a_users_content() {
    let body = NEW.body(&messages(json!([{"role": "system", "content": "a"}, {"role": "system", "content": "b"}])));
    assert_eq!(
        body,
        json!({"systemInstruction": {"parts": [{"text": "a"}]}, "contents": [{"role": "user", "parts": [{"text": "b"}]}]})
    );
}

/// The gateway fetches what is named here, or refuses it; an address that may not be fetched is refused there.
#[test]
fn case_b18_media_by_url_are_named_and_become_inline_data() {
    let takes = TakesUrls::of(Dialect::OpenaiChat, Dialect::Gemini, "https://generativelanguage.googleapis.com");
    let request = messages(json!([{"role": "user", "content": [
        {"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "https://e.com/a", "detail": "auto"}}]}]));
    let named = media_urls(Dialect::OpenaiChat, request.to_string().as_bytes(), takes);
    let expected =
        MediaUrl { param: "messages[0].content[1].image_url.url".into(), url: "https://e.com/a".into(), kind: MediaKind::Image };
    assert_eq!(named, [expected]);
    let fetched =
        FetchedMedia { url: "https://e.com/a".into(), media_type: "image/png".into(), bytes: b"\x89PNG\r\n\x1a\n".to_vec() };
    let inlined = inline_media(Dialect::OpenaiChat, request.to_string().as_bytes(), &[fetched]).unwrap();
    assert_eq!(
        NEW.body(&serde_json::from_slice(&inlined).unwrap())["contents"][0]["parts"],
        json!([{"text": "look"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}])
    );
    // Never dropped: a URL that stays goes as a reference to it.
    assert_eq!(
        NEW.body(&request)["contents"][0]["parts"][1],
        json!({"fileData": {"fileUri": "https://e.com/a", "mimeType": "image/jpeg"}})
    );
}

#[test]
fn case_b19_image_types_are_named_as_registered_and_broken_data_is_refused() {
    let image = |url: &str| messages(json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]));
    assert_eq!(
        NEW.body(&image("data:image/jpg;base64,AAAA"))["contents"][0]["parts"],
        json!([{"inlineData": {"mimeType": "image/jpeg", "data": "AAAA"}}])
    );
    let (param, _) = NEW.refusal(&image("data:image/png;base64,a*b="));
    assert_eq!(param.as_deref(), Some("messages[0].content[0].image_url.url"));
    let sound = messages(
        json!([{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "a*b=", "format": "wav"}}]}]),
    );
    assert!(NEW.refusal(&sound).0.unwrap().starts_with("messages[0]"));
}

#[test]
fn case_b20_a_pdf_is_inline_data() {
    for data in ["data:application/pdf;base64,JVBERi0xLjQK", "data:;base64,JVBERi0xLjQK", "JVBERi0xLjQK"] {
        let part = json!({"type": "file", "file": {"filename": "a.pdf", "file_data": data}});
        let request = messages(json!([{"role": "user", "content": [part]}]));
        assert_eq!(
            NEW.body(&request)["contents"][0]["parts"],
            json!([{"inlineData": {"mimeType": "application/pdf", "data": "JVBERi0xLjQK"}}]),
            "{data}"
        );
    }
}

/// `thinkingConfig` for an effort, without `includeThoughts`.
fn thinking(model: &str, effort: &str) -> Value {
    let mut config = chat(model).body(&with(json!({"reasoning_effort": effort})))["generationConfig"]["thinkingConfig"].clone();
    if let Some(fields) = config.as_object_mut() {
        fields.shift_remove("includeThoughts");
    }
    config
}

#[test]
fn case_b21_no_effort_is_the_least_a_model_takes_and_never_two_controls() {
    assert_eq!(thinking("gemini-2.5-flash", "none"), json!({"thinkingBudget": 0}));
    assert_eq!(thinking("gemini-2.5-pro", "none"), json!({"thinkingBudget": 128}));
    assert_eq!(thinking("gemini-3-pro-preview", "none"), json!({"thinkingLevel": "LOW"}));
    assert_eq!(thinking("gemini-3.8-flash", "none"), json!({"thinkingLevel": "LOW"}));
    for model in ["gemini-2.5-flash-lite", "gemini-2.5-pro", "gemini-3.1-pro-preview", "gemini-3.6-flash", "gemini-4-argon"] {
        for effort in ["none", "minimal", "low", "medium", "high", "xhigh", "max"] {
            assert_eq!(thinking(model, effort).as_object().unwrap().len(), 1, "{model} {effort}");
        }
    }
    assert_eq!(thinking("gemini-2.5-flash-lite", "minimal"), json!({"thinkingBudget": 512}));
    // A budget below the least there is.
    let budget = with(json!({"reasoning": {"max_tokens": 100}}));
    assert_eq!(chat("gemini-2.5-flash-lite").body(&budget)["generationConfig"]["thinkingConfig"]["thinkingBudget"], 512);
}

#[test]
fn case_b22_a_level_the_model_refuses_becomes_the_next_higher() {
    assert_eq!(thinking("gemini-3-pro-preview", "medium"), json!({"thinkingLevel": "HIGH"}));
    assert_eq!(chat("gemini-3-pro-preview").loss(&with(json!({"reasoning_effort": "medium"}))), "approximated=reasoning");
    assert_eq!(thinking("gemini-3.1-pro-preview", "medium"), json!({"thinkingLevel": "MEDIUM"}));
}

#[test]
fn case_b23_sampling_is_left_out_for_models_that_take_none_and_said() {
    let request = with(json!({"temperature": 0, "top_p": 0.5, "top_k": 3}));
    assert_eq!(chat("gemini-3.8-flash").body(&request), json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]}));
    assert_eq!(chat("gemini-3.8-flash").loss(&request), "dropped=temperature,top_p,top_k");
    assert_eq!(FLASH.body(&request)["generationConfig"], json!({"temperature": 0.0, "topP": 0.5, "topK": 3}));
}

#[test]
fn case_b24_several_answers_are_refused_where_the_model_gives_one() {
    let (param, message) = NEW.refusal(&with(json!({"n": 2})));
    assert_eq!(param.as_deref(), Some("n"));
    assert_eq!(message, "This model gives one answer a request; leave `n` out or send 1.");
    assert_eq!(NEW.refusal_code(&with(json!({"n": 2}))), "unsupported_value");
    assert_eq!(FLASH.refusal(&with(json!({"n": 2, "stream": true}))).0.as_deref(), Some("n"));
    assert_eq!(FLASH.body(&with(json!({"n": 2})))["generationConfig"], json!({"candidateCount": 2}));
    assert_eq!(NEW.body(&with(json!({"n": 1}))).get("generationConfig"), None);
}

#[test]
fn case_b25_empty_stop_sequences_are_left_out() {
    assert_eq!(NEW.body(&with(json!({"stop": ["", "END"]})))["generationConfig"], json!({"stopSequences": ["END"]}));
    assert_eq!(NEW.refusal(&with(json!({"stop": ["1", "2", "3", "4", "5", "6"]}))).0.as_deref(), Some("stop"));
}

#[test]
fn case_b26_the_newer_cap_wins() {
    let request = with(json!({"max_tokens": 100, "max_completion_tokens": 50}));
    assert_eq!(NEW.body(&request)["generationConfig"], json!({"maxOutputTokens": 50}));
    // A cap above the model's is the model's.
    let high = with(json!({"max_tokens": 100_000}));
    assert_eq!(NEW.body(&high)["generationConfig"], json!({"maxOutputTokens": 65_536}));
    assert_eq!(NEW.loss(&with(json!({"max_completion_tokens": 100_000}))), "approximated=max_completion_tokens");
}

#[test]
fn case_b27_a_format_beside_tools_is_asked_for_in_words_where_the_model_takes_one_of_them() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let request = with(json!({
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "x"}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    }));
    let body = FLASH.body(&request);
    assert_eq!(
        body["systemInstruction"]["parts"],
        json!([{"text": "s"}, {"text": "When you answer without calling a function, answer with one JSON value and nothing else. It must fit this JSON Schema:\n{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}"}])
    );
    assert_eq!(body.get("generationConfig"), None);
    assert_eq!(FLASH.loss(&request), "approximated=response_format");
    assert_eq!(strict(&FLASH).refusal(&request).0.as_deref(), Some("response_format"));
    let body = NEW.body(&request);
    assert_eq!(body["generationConfig"], json!({"responseMimeType": "application/json", "responseJsonSchema": schema}));
    assert_eq!(body["tools"], json!([{"functionDeclarations": [{"name": "f"}]}]));
    assert_eq!(NEW.loss(&request), "");
}

#[test]
fn case_b28_cached_content_excludes_tools_and_system_text() {
    let google = json!({"cached_content": "cachedContents/1", "thinking_config": {"thinking_budget": 5}, "safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]});
    let request = with(json!({ "google": google }));
    assert_eq!(
        NEW.body(&request),
        json!({
            "contents": [{"role": "user", "parts": [{"text": "x"}]}],
            "generationConfig": {"thinkingConfig": {"thinking_budget": 5}},
            "cachedContent": "cachedContents/1", "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]
        })
    );
    assert_eq!(NEW.loss(&request), "");
    for field in [
        json!({"tools": [{"type": "function", "function": {"name": "f"}}]}),
        json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "x"}]}),
    ] {
        let mut request = with(json!({"extra_body": {"google": google}}));
        request.as_object_mut().unwrap().extend(field.as_object().unwrap().clone());
        let (param, message) = NEW.refusal(&request);
        assert_eq!(param.as_deref(), Some("google.cached_content"));
        assert!(message.starts_with("A cached content brings its own system text and tools, and excludes `"), "{message}");
    }
}

#[test]
fn native_words_win_and_unknown_ones_are_reported() {
    let request = with(json!({"reasoning_effort": "low", "temperature": 0.5, "google": {
        "thinking_config": {"include_thoughts": true}, "generationConfig": {"top_k": 7, "temperature": 0.1}, "labels": {"a": "b"},
        "speech_config": {"languageCode": "en-US"}, "odd": 1
    }, "extra_body": {"other": 1}}));
    let body = NEW.body(&request);
    assert_eq!(
        body["generationConfig"],
        json!({"temperature": 0.1, "thinkingConfig": {"include_thoughts": true}, "topK": 7, "speechConfig": {"languageCode": "en-US"}})
    );
    assert_eq!(body["labels"], json!({"a": "b"}));
    assert_eq!(NEW.loss(&request), "dropped=google.odd,extra_body.other");
    assert_eq!(NEW.refusal(&with(json!({"google": 3}))).0.as_deref(), Some("google"));
}

#[test]
fn search_speech_and_resolution_are_said_in_googles_words() {
    let search = with(json!({"web_search_options": {"search_context_size": "low"}}));
    assert_eq!(NEW.body(&search)["tools"], json!([{"googleSearch": {}}]));
    assert_eq!(NEW.loss(&search), "dropped=tools[0].search_context_size");
    let both = with(json!({"web_search_options": {}, "tools": [{"type": "function", "function": {"name": "f"}}]}));
    assert_eq!(NEW.body(&both)["tools"], json!([{"functionDeclarations": [{"name": "f"}]}, {"googleSearch": {}}]));
    assert_eq!(NEW.body(&both)["toolConfig"], json!({"includeServerSideToolInvocations": true}));
    assert_eq!(FLASH.body(&both)["tools"], json!([{"functionDeclarations": [{"name": "f"}]}]));
    assert_eq!(FLASH.loss(&both), "dropped=tools[1]");

    let speech = |format: &str| with(json!({"modalities": ["text", "audio"], "audio": {"voice": "Kore", "format": format}}));
    let tts = chat("gemini-2.5-flash-preview-tts");
    assert_eq!(
        tts.body(&speech("pcm16"))["generationConfig"],
        json!({"responseModalities": ["AUDIO"], "speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}})
    );
    assert_eq!(tts.refusal(&speech("mp3")).0.as_deref(), Some("audio.format"));

    let image = messages(
        json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "high"}}]}]),
    );
    assert_eq!(
        NEW.body(&image)["contents"][0]["parts"],
        json!([{"inlineData": {"mimeType": "image/png", "data": "AAAA"}, "mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"}}])
    );
    assert_eq!((NEW.loss(&image), FLASH.loss(&image)), (String::new(), "dropped=image.detail".into()));
}

#[test]
fn choices_of_tools_and_strictness_are_modes() {
    let strict_tool = json!({"type": "function", "function": {"name": "f", "strict": true}});
    let tools = json!([strict_tool, {"type": "function", "function": {"name": "g"}}]);
    let config = |to: &To<'_>, choice: Value| {
        to.body(&with(json!({"tools": tools, "tool_choice": choice})))["toolConfig"]["functionCallingConfig"].clone()
    };
    let allowed = |mode: &str| json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [{"type": "function", "function": {"name": "g"}}]}});
    assert_eq!(config(&NEW, json!("none")), json!({"mode": "NONE"}));
    assert_eq!(config(&NEW, json!("auto")), json!({"mode": "VALIDATED"}));
    assert_eq!(config(&NEW, json!("required")), json!({"mode": "ANY"}));
    assert_eq!(
        config(&NEW, json!({"type": "function", "function": {"name": "g"}})),
        json!({"mode": "ANY", "allowedFunctionNames": ["g"]})
    );
    assert_eq!(config(&NEW, allowed("auto")), json!({"mode": "VALIDATED", "allowedFunctionNames": ["g"]}));
    assert_eq!(config(&NEW, allowed("required")), json!({"mode": "ANY", "allowedFunctionNames": ["g"]}));
    let second = chat("gemini-2.0-flash");
    assert_eq!(
        (config(&second, json!("auto")), config(&second, allowed("auto"))),
        (json!({"mode": "AUTO"}), json!({"mode": "AUTO"}))
    );
    assert_eq!(NEW.body(&with(json!({"tool_choice": "none"}))).get("toolConfig"), None);
    assert_eq!(
        NEW.loss(&with(json!({"tools": tools, "parallel_tool_calls": false, "presence_penalty": 1, "frequency_penalty": 0}))),
        "dropped=presence_penalty,parallel_tool_calls"
    );
    assert_eq!(
        chat("gemini-2.0-flash").body(&with(json!({"presence_penalty": 1})))["generationConfig"],
        json!({"presencePenalty": 1.0})
    );
}

#[test]
fn an_answer_begun_by_the_client_is_continued_where_the_model_can() {
    let request = messages(json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": "Once"}]));
    assert_eq!(NEW.body(&request)["contents"][1], json!({"role": "model", "parts": [{"text": "Once"}]}));
    let newest = chat("gemini-3.8-flash");
    assert_eq!(newest.body(&request)["contents"][2], json!({"role": "user", "parts": [{"text": "Continue."}]}));
    assert_eq!(newest.loss(&request), "approximated=messages");
}
