//! What clients ask for, said in each dialect.

use serde_json::{Value, json};
use tallygate_adapter::Verdict;
use tallygate_types::Dialect;

use crate::common::To;
use crate::model;

/// Said in each dialect, in the order of [`Dialect::ALL`]; null: the dialect has no word for it.
pub struct Feature {
    pub name: &'static str,
    pub said: [Value; 4],
}

fn feature(name: &'static str, chat: Value, responses: Value, messages: Value, gemini: Value) -> Feature {
    Feature { name, said: [chat, responses, messages, gemini] }
}

/// A conversation of one user turn with these parts.
fn parts(name: &'static str, chat: Value, responses: Value, messages: Value, gemini: Value) -> Feature {
    let wrap = |value: Value, wrapped: fn(Value) -> Value| if value.is_null() { Value::Null } else { wrapped(value) };
    feature(
        name,
        wrap(chat, |part| json!({"messages": [{"role": "user", "content": [part]}]})),
        wrap(responses, |part| json!({"input": [{"type": "message", "role": "user", "content": [part]}]})),
        wrap(messages, |part| json!({"messages": [{"role": "user", "content": [part]}]})),
        wrap(gemini, |part| json!({"contents": [{"role": "user", "parts": [part]}]})),
    )
}

pub fn features() -> Vec<Feature> {
    const PNG: &str = "iVBORw0KGgoAAAANSUhEUg==";
    const PDF: &str = "JVBERi0xLjQKJcOkw7w=";
    let schema =
        json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    let chat_tool = json!([{"type": "function", "function": {"name": "f", "parameters": schema}}]);
    let responses_tool = json!([{"type": "function", "name": "f", "parameters": schema}]);
    let messages_tool = json!([{"name": "f", "input_schema": schema}]);
    let gemini_tool = json!([{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}]);
    let config = |config: Value| json!({ "generationConfig": config });
    vec![
        feature("text", json!({}), json!({}), json!({}), json!({})),
        feature(
            "system prompt",
            json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "x"}]}),
            json!({"instructions": "s"}),
            json!({"system": "s"}),
            json!({"systemInstruction": {"parts": [{"text": "s"}]}}),
        ),
        feature(
            "system text in mid-conversation",
            json!({"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "s"}, {"role": "user", "content": "y"}]}),
            json!({"input": [{"role": "user", "content": "x"}, {"role": "system", "content": "s"}, {"role": "user", "content": "y"}]}),
            json!({"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "s"}, {"role": "assistant", "content": "y"}, {"role": "user", "content": "z"}]}),
            Value::Null,
        ),
        feature(
            "function tools",
            json!({"tools": chat_tool}),
            json!({"tools": responses_tool}),
            json!({"tools": messages_tool}),
            json!({"tools": gemini_tool}),
        ),
        feature(
            "forced tool",
            json!({"tools": chat_tool, "tool_choice": {"type": "function", "function": {"name": "f"}}}),
            json!({"tools": responses_tool, "tool_choice": {"type": "function", "name": "f"}}),
            json!({"tools": messages_tool, "tool_choice": {"type": "tool", "name": "f"}}),
            json!({"tools": gemini_tool, "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}}),
        ),
        feature(
            "at most one call",
            json!({"tools": chat_tool, "parallel_tool_calls": false}),
            json!({"tools": responses_tool, "parallel_tool_calls": false}),
            json!({"tools": messages_tool, "tool_choice": {"type": "auto", "disable_parallel_tool_use": true}}),
            Value::Null,
        ),
        feature(
            "tool call and result",
            json!({"tools": chat_tool, "messages": [{"role": "user", "content": "x"},
                {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":\"b\"}"}}]},
                {"role": "tool", "tool_call_id": "call_1", "content": "1"}]}),
            json!({"tools": responses_tool, "input": [{"role": "user", "content": "x"},
                {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{\"a\":\"b\"}"},
                {"type": "function_call_output", "call_id": "call_1", "output": "1"}]}),
            json!({"tools": messages_tool, "messages": [{"role": "user", "content": "x"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": "b"}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "1"}]}]}),
            json!({"tools": gemini_tool, "contents": [{"role": "user", "parts": [{"text": "x"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": "b"}}}]},
                {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": "1"}}}]}]}),
        ),
        feature(
            "failed tool result",
            Value::Null,
            Value::Null,
            json!({"tools": messages_tool, "messages": [{"role": "user", "content": "x"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": "b"}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "1", "is_error": true}]}]}),
            Value::Null,
        ),
        parts(
            "image as data",
            json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}")}}),
            json!({"type": "input_image", "image_url": format!("data:image/png;base64,{PNG}")}),
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}),
            json!({"inlineData": {"mimeType": "image/png", "data": PNG}}),
        ),
        parts(
            "image by URL",
            json!({"type": "image_url", "image_url": {"url": "https://e.com/a.png"}}),
            json!({"type": "input_image", "image_url": "https://e.com/a.png"}),
            json!({"type": "image", "source": {"type": "url", "url": "https://e.com/a.png"}}),
            json!({"fileData": {"mimeType": "image/png", "fileUri": "https://e.com/a.png"}}),
        ),
        parts(
            "PDF as data",
            json!({"type": "file", "file": {"filename": "a.pdf", "file_data": format!("data:application/pdf;base64,{PDF}")}}),
            json!({"type": "input_file", "filename": "a.pdf", "file_data": format!("data:application/pdf;base64,{PDF}")}),
            json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}, "title": "a.pdf"}),
            json!({"inlineData": {"mimeType": "application/pdf", "data": PDF}}),
        ),
        parts(
            "sound as data",
            json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
            Value::Null,
            Value::Null,
            json!({"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}),
        ),
        feature(
            "JSON mode",
            json!({"response_format": {"type": "json_object"}}),
            json!({"text": {"format": {"type": "json_object"}}}),
            Value::Null,
            config(json!({"responseMimeType": "application/json"})),
        ),
        feature(
            "JSON schema",
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema}}}),
            json!({"text": {"format": {"type": "json_schema", "name": "n", "strict": true, "schema": schema}}}),
            json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}),
            config(json!({"responseMimeType": "application/json", "responseJsonSchema": schema})),
        ),
        feature(
            "reasoning effort",
            json!({"reasoning_effort": "low"}),
            json!({"reasoning": {"effort": "low"}}),
            json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
            config(json!({"thinkingConfig": {"thinkingLevel": "LOW"}})),
        ),
        feature(
            "stop sequences",
            json!({"stop": ["a"]}),
            Value::Null,
            json!({"stop_sequences": ["a"]}),
            config(json!({"stopSequences": ["a"]})),
        ),
        feature(
            "temperature",
            json!({"temperature": 0.5}),
            json!({"temperature": 0.5}),
            json!({"temperature": 0.5}),
            config(json!({"temperature": 0.5})),
        ),
        feature("top_k", json!({"top_k": 5}), Value::Null, json!({"top_k": 5}), config(json!({"topK": 5}))),
        feature("seed", json!({"seed": 5}), Value::Null, Value::Null, config(json!({"seed": 5}))),
        feature(
            "log probabilities",
            json!({"logprobs": true}),
            json!({"include": ["message.output_text.logprobs"]}),
            Value::Null,
            config(json!({"responseLogprobs": true})),
        ),
        feature("several answers", json!({"n": 2}), Value::Null, Value::Null, config(json!({"candidateCount": 2}))),
        feature(
            "end user",
            json!({"safety_identifier": "u"}),
            json!({"safety_identifier": "u"}),
            json!({"metadata": {"user_id": "u"}}),
            Value::Null,
        ),
        feature(
            "service tier",
            json!({"service_tier": "flex"}),
            json!({"service_tier": "flex"}),
            json!({"service_tier": "standard_only"}),
            Value::Null,
        ),
        feature(
            "free-text tool",
            json!({"tools": [{"type": "custom", "custom": {"name": "f"}}]}),
            json!({"tools": [{"type": "custom", "name": "f"}]}),
            Value::Null,
            Value::Null,
        ),
        feature(
            "web search by the vendor",
            json!({"web_search_options": {}}),
            json!({"tools": [{"type": "web_search"}]}),
            json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
            json!({"tools": [{"googleSearch": {}}]}),
        ),
    ]
}

fn base(dialect: Dialect) -> Value {
    match dialect {
        Dialect::OpenaiChat => {
            json!({"model": "smart", "max_completion_tokens": 4000, "messages": [{"role": "user", "content": "x"}]})
        }
        Dialect::OpenaiResponses => json!({"model": "smart", "max_output_tokens": 4000, "input": "x", "store": false}),
        Dialect::Anthropic => json!({"model": "smart", "max_tokens": 4000, "messages": [{"role": "user", "content": "x"}]}),
        Dialect::Gemini => {
            json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}], "generationConfig": {"maxOutputTokens": 4000}})
        }
    }
}

/// What the translation itself reports of one feature.
pub fn verdict(client: Dialect, upstream: Dialect, said: &Value) -> &'static str {
    let mut body = base(client);
    body.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
    match (To { client, upstream, model: model(upstream), strict: false }).prepare(&body) {
        Err(_) => "rejected",
        Ok(outgoing) if outgoing.loss.items.iter().any(|item| item.verdict == Verdict::Dropped) => "dropped",
        Ok(outgoing) if outgoing.loss.is_empty() => "exact",
        Ok(_) => "approximated",
    }
}
