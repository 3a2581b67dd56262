//! Requests of a Responses client to upstreams of other dialects.

use serde_json::{Value, json};
use tallygate_types::Dialect;

use crate::support::{To, plain_sse, to};

const CHAT: To<'_> = to(Dialect::OpenaiResponses, Dialect::OpenaiChat, "qwen3");
const CLAUDE: To<'_> = to(Dialect::OpenaiResponses, Dialect::Anthropic, "claude-haiku-4-5");
const GEMINI: To<'_> = to(Dialect::OpenaiResponses, Dialect::Gemini, "gemini-3.5-flash");
const NATIVE: To<'_> = to(Dialect::OpenaiResponses, Dialect::OpenaiResponses, "gpt-5.5");

fn with(fields: Value) -> Value {
    let mut body = json!({"model": "smart", "input": "x"});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

#[test]
fn case_b61_items_of_one_turn_are_one_message_and_its_results_in_the_order_of_the_calls() {
    let request = with(json!({"input": [
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
            "content": [{"type": "output_text", "text": "Both.", "annotations": []}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"type": "function_call", "call_id": "a", "name": "weather", "arguments": "{\"city\":\"Rome\"}"},
        {"type": "function_call", "call_id": "b", "name": "weather", "arguments": "{\"city\":\"Oslo\"}"},
        {"type": "function_call_output", "call_id": "b", "output": "cold"},
        {"type": "function_call_output", "call_id": "a", "output": "warm"}
    ]}));
    assert_eq!(
        CHAT.body(&request)["messages"],
        json!([
            {"role": "assistant", "content": "Both.", "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Rome\"}"}},
                {"id": "b", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}}
            ]},
            {"role": "tool", "tool_call_id": "a", "content": "warm"},
            {"role": "tool", "tool_call_id": "b", "content": "cold"}
        ])
    );
    assert_eq!(CHAT.loss(&request), "dropped=input[0].reasoning");
}

#[test]
fn case_b70_a_reference_to_a_stored_item_is_refused_with_advice() {
    for to in [CHAT, CLAUDE, GEMINI] {
        for item in [json!({"type": "item_reference", "id": "msg_1"}), json!({"id": "msg_1"})] {
            let request = with(json!({"input": [{"role": "user", "content": "x"}, item]}));
            assert_eq!(
                to.refusal(&request),
                (
                    Some("input[1]".into()),
                    "`input[1]` refers to a stored item, and nothing is stored for this model. Send the full item.".into()
                )
            );
            assert_eq!(to.refusal_code(&request), "unsupported_value");
        }
    }
}

/// What the model writes: quotes, line breaks, an escaped pair of surrogates.
const PATCH: &str = "*** Begin Patch\n+say(\"h\u{e9} \u{1f980}\")\n*** End Patch";

#[test]
fn case_b72_a_free_text_tool_with_a_grammar_is_a_function_upstream_and_plain_text_downstream() {
    let request = |stream: bool| {
        with(json!({"stream": stream, "tools": [{"type": "custom", "name": "apply_patch", "description": "Edits files.",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: begin end"}}]}))
    };
    assert_eq!(
        CLAUDE.body(&request(false))["tools"],
        json!([{"name": "apply_patch", "description": "Edits files.", "input_schema": {"type": "object", "required": ["input"],
            "properties": {"input": {"type": "string",
                "description": "The whole input of the tool as plain text, in the lark grammar:\nstart: begin end"}}}}])
    );
    assert_eq!(CLAUDE.loss(&request(false)), "approximated=tools.apply_patch");

    let answer = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "tool_use",
        "content": [{"type": "tool_use", "id": "toolu_1", "name": "apply_patch", "input": {"input": PATCH}}],
        "usage": {"input_tokens": 1, "output_tokens": 1}});
    let item = json!({"id": "ctc_019200", "type": "custom_tool_call", "status": "completed", "call_id": "toolu_1",
        "name": "apply_patch", "input": PATCH});
    assert_eq!(CLAUDE.answer(&request(false), &answer)["output"], json!([item]));

    // The arguments come cut inside their escapes; the text goes on as it is known.
    let arguments = json!({ "input": PATCH }).to_string().replace('\u{1f980}', "\\ud83e\\udd80");
    let pieces: Vec<String> = arguments.chars().collect::<Vec<_>>().chunks(5).map(|piece| piece.iter().collect()).collect();
    let mut events = vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "content": [],
            "stop_reason": null, "usage": {"input_tokens": 1, "output_tokens": 0}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "apply_patch", "input": {}}}),
    ];
    events.extend(pieces.iter().map(
        |piece| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": piece}}),
    ));
    events.extend([
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 1}}),
        json!({"type": "message_stop"}),
    ]);
    let said = CLAUDE.events(&request(true), &crate::support::anthropic_sse(&events));
    let of = |kind: &str| said.iter().filter(|event| event["type"] == kind).collect::<Vec<_>>();
    let deltas: Vec<&str> =
        of("response.custom_tool_call_input.delta").iter().map(|event| event["delta"].as_str().unwrap()).collect();
    assert!(deltas.len() > 5 && deltas.iter().all(|delta| !delta.is_empty()), "{deltas:?}");
    assert_eq!(deltas.concat(), PATCH);
    assert_eq!(of("response.custom_tool_call_input.done")[0]["input"], PATCH);
    assert_eq!(of("response.output_item.done")[0]["item"], item);
    assert_eq!(of("response.completed")[0]["response"]["output"], json!([item]));

    // And back, as the client replays it.
    let history = with(
        json!({"input": [{"role": "user", "content": "x"}, item, {"type": "custom_tool_call_output", "call_id": "toolu_1", "output": "Done."}],
        "tools": request(false)["tools"]}),
    );
    let body = CLAUDE.body(&history);
    assert_eq!(
        body["messages"][1]["content"],
        json!([{"type": "tool_use", "id": "toolu_1", "name": "apply_patch", "input": {"input": PATCH}}])
    );
    assert_eq!(body["messages"][2]["content"][0]["tool_use_id"], "toolu_1");
}

#[test]
fn case_b73_tools_in_a_namespace_are_flat_upstream_and_in_it_downstream() {
    let tools = json!([
        {"type": "namespace", "name": "mcp_mail", "tools": [
            {"type": "function", "name": "send", "parameters": {"type": "object", "properties": {"to": {"type": "string"}}}},
            {"type": "custom", "name": "draft"}
        ]},
        {"type": "function", "name": "mcp_mail__send", "parameters": {"type": "object", "properties": {}}}
    ]);
    let request = with(json!({"tools": tools, "tool_choice": {"type": "function", "name": "draft"}}));
    let body = CHAT.body(&request);
    let names: Vec<&Value> = body["tools"].as_array().unwrap().iter().map(|tool| &tool["function"]["name"]).collect();
    assert_eq!(names, ["mcp_mail__send_", "mcp_mail__draft", "mcp_mail__send"]);
    assert_eq!(body["tool_choice"], json!({"type": "function", "function": {"name": "mcp_mail__draft"}}));

    let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let answer = json!({"id": "g", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": null, "tool_calls": [
            call("a", "mcp_mail__send_", "{\"to\":\"x\"}"), call("b", "mcp_mail__draft", "{\"input\":\"Dear\"}"), call("c", "mcp_mail__send", "{}")]}}]});
    let output = CHAT.answer(&request, &answer)["output"].clone();
    assert_eq!(
        output,
        json!([
            {"id": "fc_019200", "type": "function_call", "status": "completed", "call_id": "a", "name": "send", "arguments": "{\"to\":\"x\"}", "namespace": "mcp_mail"},
            {"id": "ctc_019201", "type": "custom_tool_call", "status": "completed", "call_id": "b", "name": "draft", "input": "Dear", "namespace": "mcp_mail"},
            {"id": "fc_019202", "type": "function_call", "status": "completed", "call_id": "c", "name": "mcp_mail__send", "arguments": "{}"}
        ])
    );
    let mut input = vec![json!({"role": "user", "content": "x"})];
    input.extend(output.as_array().unwrap().clone());
    let calls = CHAT.body(&with(json!({"tools": tools, "input": input})))["messages"][1]["tool_calls"].clone();
    assert_eq!(calls, answer["choices"][0]["message"]["tool_calls"]);
}

#[test]
fn case_b74_a_search_the_upstream_lacks_is_left_out_and_a_forced_one_refused() {
    let tools = json!([{"type": "web_search", "external_web_access": true}, {"type": "function", "name": "f"}]);
    for to in [CHAT, CLAUDE] {
        let body = to.body(&with(json!({ "tools": tools })));
        assert_eq!(body["tools"].as_array().unwrap().len(), 1);
        assert_eq!(to.loss(&with(json!({ "tools": tools }))), "dropped=tools[0]");
        let forced = with(json!({"tools": tools, "tool_choice": {"type": "web_search"}}));
        assert_eq!(to.refusal(&forced).0.as_deref(), Some("tool_choice"));
        assert_eq!(to.refusal_code(&forced), "unsupported_value");
        let required = with(json!({"tools": [{"type": "web_search"}], "tool_choice": "required"}));
        assert_eq!(to.refusal(&required).0.as_deref(), Some("tool_choice"));
    }
    // The other tools that OpenAI runs, forced or not.
    for kind in [
        "file_search",
        "code_interpreter",
        "image_generation",
        "computer",
        "computer_use_preview",
        "mcp",
        "programmatic_tool_calling",
    ] {
        let request = with(json!({"tools": [{ "type": kind }, {"type": "function", "name": "f"}]}));
        assert_eq!(CHAT.loss(&request), "dropped=tools[0]", "{kind}");
        let forced = with(json!({"tools": request["tools"], "tool_choice": { "type": kind }}));
        assert_eq!(CHAT.refusal(&forced).0.as_deref(), Some("tool_choice"), "{kind}");
    }
}

#[test]
fn case_b76_an_image_in_a_result_goes_where_the_upstream_takes_it() {
    let request = with(json!({"input": [
        {"role": "user", "content": "x"},
        {"type": "function_call", "call_id": "a", "name": "shot", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": [
            {"type": "input_text", "text": "seen"}, {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}]}
    ]}));
    assert_eq!(
        CLAUDE.body(&request)["messages"][2]["content"],
        json!([{"type": "tool_result", "tool_use_id": "a", "content": [
            {"type": "text", "text": "seen"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}]}])
    );
    let chat = CHAT.body(&request);
    assert_eq!(
        chat["messages"][2],
        json!({"role": "tool", "tool_call_id": "a", "content": [
            {"type": "text", "text": "seen"}, {"type": "text", "text": "[attachment 1 of tool call a follows]"}]})
    );
    assert_eq!(
        chat["messages"][3],
        json!({"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]})
    );
    assert_eq!(
        GEMINI.body(&request)["contents"][2]["parts"][0]["functionResponse"],
        json!({"id": "a", "name": "shot", "response": {"output": "seen"},
            "parts": [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]})
    );
}

#[test]
fn case_b79_an_id_that_is_too_long_is_short_upstream_and_itself_downstream() {
    let long = format!("call_{}", "x".repeat(90));
    let request = json!({"model": "smart", "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": long, "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": long, "content": "r"}
    ]});
    let items = to(Dialect::OpenaiChat, Dialect::OpenaiResponses, "gpt-5.5").body(&request)["input"].clone();
    let short = items[1]["call_id"].as_str().unwrap();
    assert_eq!((short.len(), items[1]["type"].as_str()), (64, Some("function_call")));
    assert_eq!((items[2]["call_id"].as_str(), items[2]["type"].as_str()), (Some(short), Some("function_call_output")));
    // Sent again, it is the same: caches depend on it.
    assert_eq!(to(Dialect::OpenaiChat, Dialect::OpenaiResponses, "gpt-5.5").body(&request)["input"][1]["call_id"], short);
    // An upstream's own long id reaches the client as it is.
    let answer = json!({"id": "g", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": null, "tool_calls": [{"id": long, "type": "function", "function": {"name": "f", "arguments": "{}"}}]}}]});
    assert_eq!(CHAT.answer(&with(json!({"tools": [{"type": "function", "name": "f"}]})), &answer)["output"][0]["call_id"], long);
}

#[test]
fn case_b84_an_unknown_item_passes_to_its_own_kind_and_is_refused_elsewhere() {
    let request = with(json!({"input": [{"role": "user", "content": "x"}, {"type": "foo", "a": 1}]}));
    let sent = NATIVE.bytes(&request);
    assert_eq!(sent, request.to_string().replace("\"smart\"", "\"gpt-5.5\"").as_bytes());
    for to in [CHAT, CLAUDE, GEMINI] {
        assert_eq!(
            to.refusal(&request),
            (
                Some("input[1].type".into()),
                "An item of type `foo` cannot be translated for the upstream of this model. Remove it or use a model served by the Responses API.".into()
            )
        );
    }
}

#[test]
fn case_b85_the_phase_of_a_message_is_kept_by_its_own_kind_and_left_out_elsewhere() {
    let request = with(json!({"input": [
        {"role": "user", "content": "x"},
        {"type": "message", "role": "assistant", "phase": "commentary", "content": [{"type": "output_text", "text": "Looking.", "annotations": []}]},
        {"role": "user", "content": "y"}
    ]}));
    assert_eq!(NATIVE.body(&request)["input"][1]["phase"], "commentary");
    assert_eq!(CHAT.body(&request)["messages"][1], json!({"role": "assistant", "content": "Looking."}));
    assert_eq!(CHAT.loss(&request), "dropped=input.phase");
}

#[test]
fn tools_a_client_runs_are_functions_upstream_and_its_own_items_downstream() {
    let tools = json!([{"type": "local_shell"}, {"type": "shell", "environment": {"type": "local"}}, {"type": "apply_patch"},
        {"type": "tool_search", "execution": "client", "description": "Finds tools."}]);
    let request = with(json!({ "tools": tools }));
    let names: Vec<Value> = CLAUDE.body(&request)["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
    assert_eq!(names, ["local_shell", "shell", "apply_patch", "tool_search"]);
    assert_eq!(CLAUDE.loss(&request), "approximated=tools[0],tools[1],tools[2],tools[3]");
    let calls = json!([
        {"type": "tool_use", "id": "t1", "name": "local_shell", "input": {"command": ["ls"], "workdir": "/w"}},
        {"type": "tool_use", "id": "t2", "name": "shell", "input": {"commands": ["ls"]}},
        {"type": "tool_use", "id": "t3", "name": "apply_patch", "input": {"type": "create_file", "path": "a", "diff": "+x"}},
        {"type": "tool_use", "id": "t4", "name": "tool_search", "input": {"query": "mail"}}
    ]);
    let answer = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "tool_use",
        "content": calls, "usage": {"input_tokens": 1, "output_tokens": 1}});
    let output = CLAUDE.answer(&request, &answer)["output"].clone();
    assert_eq!(
        output,
        json!([
            {"id": "lsh_019200", "type": "local_shell_call", "status": "completed", "call_id": "t1",
                "action": {"type": "exec", "command": ["ls"], "env": {}, "working_directory": "/w"}},
            {"id": "sh_019201", "type": "shell_call", "status": "completed", "call_id": "t2",
                "action": {"commands": ["ls"], "timeout_ms": null, "max_output_length": null}, "environment": {"type": "local"}},
            {"id": "apc_019202", "type": "apply_patch_call", "status": "completed", "call_id": "t3",
                "operation": {"type": "create_file", "path": "a", "diff": "+x"}},
            {"id": "tsc_019203", "type": "tool_search_call", "status": "completed", "call_id": "t4",
                "execution": "client", "arguments": {"query": "mail"}}
        ])
    );

    // The next turn: the items as they were given, and their results.
    let mut input = vec![json!({"role": "user", "content": "x"})];
    input.extend(output.as_array().unwrap().clone());
    input.extend([
        json!({"type": "local_shell_call_output", "id": "t1", "output": "a.txt"}),
        json!({"type": "shell_call_output", "call_id": "t2", "output": [{"stdout": "a", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}]}),
        json!({"type": "apply_patch_call_output", "call_id": "t3", "status": "failed", "output": "no such file"}),
        json!({"type": "tool_search_output", "call_id": "t4", "execution": "client", "tools": [
            {"type": "namespace", "name": "mail", "tools": [{"type": "function", "name": "send"}]}]}),
    ]);
    let body = CLAUDE.body(&with(json!({"tools": tools, "input": input})));
    assert_eq!(body["messages"][1]["content"], calls);
    assert_eq!(
        body["messages"][2]["content"],
        json!([
            {"type": "tool_result", "tool_use_id": "t1", "content": "a.txt"},
            {"type": "tool_result", "tool_use_id": "t2", "content": "[{\"stdout\":\"a\",\"stderr\":\"\",\"outcome\":{\"type\":\"exit\",\"exit_code\":0}}]"},
            {"type": "tool_result", "tool_use_id": "t3", "content": "no such file", "is_error": true},
            {"type": "tool_result", "tool_use_id": "t4", "content": "{\"found\":[\"mail\"]}"}
        ])
    );
    assert_eq!(body["tools"][4]["name"], "mail__send");

    // Without the declaration nothing could answer such a call.
    let (param, _) = CLAUDE.refusal(&with(json!({"input": [{"role": "user", "content": "x"}, output[0]]})));
    assert_eq!(param.as_deref(), Some("input[1].type"));
}

#[test]
fn every_kind_of_item_is_read_left_out_or_refused_by_name() {
    let user = json!({"role": "user", "content": "x"});
    let loss_of = |item: Value| CHAT.prepare(&with(json!({"input": [user, item]}))).map(|outgoing| outgoing.loss.to_string());
    for item in [
        json!({"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}),
        json!({"type": "file_search_call", "id": "fs_1", "queries": [], "status": "completed"}),
        json!({"type": "code_interpreter_call", "id": "ci_1", "code": "1", "container_id": "c", "status": "completed"}),
        json!({"type": "image_generation_call", "id": "ig_1", "result": "aGk=", "status": "completed"}),
        json!({"type": "mcp_list_tools", "id": "m", "server_label": "s", "tools": []}),
        json!({"type": "mcp_approval_request", "id": "m", "server_label": "s", "name": "n", "arguments": "{}"}),
        json!({"type": "mcp_approval_response", "approval_request_id": "m", "approve": true}),
        json!({"type": "mcp_call", "id": "m", "server_label": "s", "name": "n", "arguments": "{}"}),
        json!({"type": "tool_search_call", "id": "t", "execution": "server", "arguments": {}}),
        json!({"type": "tool_search_output", "id": "t", "execution": "server", "tools": []}),
        json!({"type": "program", "call_id": "p", "code": "1", "fingerprint": "f"}),
        json!({"type": "program_output", "call_id": "p", "result": "1", "status": "completed"}),
    ] {
        let kind = item["type"].as_str().unwrap().to_owned();
        assert_eq!(loss_of(item).unwrap(), format!("dropped=input.{kind}"));
    }
    for (item, param) in [
        (json!({"type": "compaction", "encrypted_content": "gAAA"}), "input[1].type"),
        (json!({"type": "compaction_trigger"}), "input[1].type"),
        (json!({"type": "computer_call", "id": "c", "call_id": "c", "action": {}, "status": "completed"}), "input[1].type"),
        (json!({"type": "computer_call_output", "call_id": "c", "output": {}}), "input[1].type"),
        (json!({"type": "shell_call", "call_id": "c", "action": {"commands": []}}), "input[1].type"),
        (json!({"type": "item_reference", "id": "i"}), "input[1]"),
    ] {
        assert_eq!(loss_of(item).unwrap_err().param.as_deref(), Some(param));
    }
    // A call OpenAI ran in its own container, and its result.
    let hosted = with(json!({"input": [user,
        {"type": "shell_call", "call_id": "c", "action": {"commands": []}, "environment": {"type": "container_reference", "container_id": "k"}},
        {"type": "shell_call_output", "call_id": "c", "output": []}]}));
    assert_eq!(CHAT.loss(&hosted), "dropped=input.shell_call,input.shell_call_output");
    // Settings and tools in mid-conversation.
    let body = to(Dialect::OpenaiResponses, Dialect::OpenaiChat, "gpt-5.1").body(&with(
        json!({"reasoning": {"effort": "low"}, "input": [user,
        {"type": "configuration_update", "reasoning": {"effort": "high"}, "text": {"format": {"type": "json_object"}}},
        {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "more"}]},
        {"role": "user", "content": "as JSON"}]}),
    ));
    assert_eq!((&body["reasoning_effort"], &body["response_format"]), (&json!("high"), &json!({"type": "json_object"})));
    assert_eq!(body["tools"][0]["function"]["name"], "more");
}

#[test]
fn a_signature_goes_back_to_the_part_it_was_of() {
    let request = with(json!({"include": ["reasoning.encrypted_content"], "stream": true}));
    let stream = plain_sse(&[
        json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "index": 0}], "modelVersion": "g"}),
        json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "", "thoughtSignature": "RXFV"}]}, "index": 0, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}}),
    ]);
    let said = GEMINI.events(&request, &stream);
    let output = said.last().unwrap()["response"]["output"].clone();
    let kinds: Vec<&Value> = output.as_array().unwrap().iter().map(|item| &item["type"]).collect();
    assert_eq!(kinds, ["message", "reasoning"]);
    assert_eq!(output[1]["encrypted_content"], "tg1:gemini-prev:RXFV");
    let replayed =
        with(json!({"input": [{"role": "user", "content": "x"}, output[0], output[1], {"role": "user", "content": "y"}]}));
    assert_eq!(GEMINI.body(&replayed)["contents"][1]["parts"], json!([{"text": "Hi", "thoughtSignature": "RXFV"}]));
    // To another vendor it is nothing.
    assert_eq!(CLAUDE.body(&replayed)["messages"][1]["content"], "Hi");
    // A client that would not send it back is spared it.
    let plain = GEMINI.events(&with(json!({"stream": true})), &stream);
    assert_eq!(plain.last().unwrap()["response"]["output"].as_array().unwrap().len(), 1);
}
