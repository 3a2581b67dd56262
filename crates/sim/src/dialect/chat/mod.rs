//! OpenAI Chat Completions: `POST /v1/chat/completions`, and the errors of the whole OpenAI API.

use bytes::Bytes;
use serde_json::{Value, json};

mod rules;

use super::{Dialect, ErrorReply, Problem, Stamp, model_of};
use crate::answer::{self, Answer, Call, Finish};
use crate::conversation::{Ask, Choice, Format, Image, PastCall, Said, Tool, arguments, text_bytes, text_of};
use crate::families;

pub(super) fn parse(body: &Value) -> Result<Ask, Problem> {
    let model = model_of(body)?;
    let Some(messages) = body["messages"].as_array().filter(|messages| !messages.is_empty()) else {
        return Err(Problem::invalid("[] is too short - 'messages'", "messages"));
    };
    let returned = rules::check(body, messages)?;
    let last_user = messages.iter().rev().find(|message| message["role"] == "user");
    let user_content = last_user.map_or(&Value::Null, |message| &message["content"]);
    let mut tool_results: Vec<String> = messages
        .iter()
        .rev()
        .take_while(|message| message["role"] == "tool")
        .map(|message| text_of(&message["content"]))
        .collect();
    tool_results.reverse();
    Ok(Ask {
        show_reasoning: families::openai(&model).shows_reasoning,
        model,
        stream: body["stream"] == true,
        user_text: text_of(user_content),
        tool_results,
        images: images(user_content),
        tools: tools(&body["tools"]),
        choice: choice(&body["tool_choice"]),
        single_call: body["parallel_tool_calls"] == false,
        max_output: body["max_completion_tokens"].as_u64().or_else(|| body["max_tokens"].as_u64()),
        reasoning: rules::reasons(body),
        format: format(&body["response_format"]),
        cache_write: None,
        stream_usage: body["stream_options"]["include_usage"] == true,
        input_bytes: text_bytes(&body["messages"]) + text_bytes(&body["tools"]),
        history: history(messages),
        returned,
        ..Ask::default()
    })
}

fn history(messages: &[Value]) -> Vec<Said> {
    let mut history = Vec::new();
    for message in messages {
        match message["role"].as_str() {
            Some("assistant") => {
                let call = |call: &Value| PastCall {
                    id: call["id"].as_str().map(str::to_owned),
                    name: call["function"]["name"].as_str().unwrap_or_default().to_owned(),
                    arguments: arguments(&call["function"]["arguments"]),
                    ..PastCall::default()
                };
                history.push(Said::Model(message["tool_calls"].as_array().into_iter().flatten().map(call).collect()));
            }
            Some("tool") => {
                let result = text_of(&message["content"]);
                match history.last_mut() {
                    Some(Said::Results(results)) => results.push(result),
                    _ => history.push(Said::Results(vec![result])),
                }
            }
            Some("user") => history.push(Said::User(text_of(&message["content"]))),
            _ => {}
        }
    }
    history
}

fn images(content: &Value) -> Vec<Image> {
    let parts = content.as_array().map_or(&[][..], Vec::as_slice);
    parts
        .iter()
        .filter(|part| part["type"] == "image_url")
        .filter_map(|part| part["image_url"]["url"].as_str())
        .map(Image::from_url)
        .collect()
}

fn tools(tools: &Value) -> Vec<Tool> {
    let tools = tools.as_array().map_or(&[][..], Vec::as_slice);
    tools
        .iter()
        .filter_map(|tool| {
            let function = &tool["function"];
            let name = function["name"].as_str()?.to_owned();
            Some(Tool { name, schema: function["parameters"].clone() })
        })
        .collect()
}

fn choice(choice: &Value) -> Choice {
    match (choice.as_str(), choice["function"]["name"].as_str()) {
        (Some("none"), _) => Choice::Never,
        (Some("required"), _) => Choice::Any,
        (_, Some(name)) => Choice::Named(name.to_owned()),
        _ => Choice::Auto,
    }
}

fn format(format: &Value) -> Format {
    match format["type"].as_str() {
        Some("json_schema") => Format::Json(format["json_schema"]["schema"].clone()),
        Some("json_object") => Format::Json(json!({"type": "object"})),
        _ => Format::Text,
    }
}

pub(super) fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
    }
}

fn usage(answer: &Answer) -> Value {
    let usage = &answer.usage;
    json!({
        "prompt_tokens": usage.input(),
        "completion_tokens": usage.output(),
        "total_tokens": usage.total(),
        "prompt_tokens_details": {
            "cached_tokens": usage.input_cache_read,
            "cache_write_tokens": usage.cache_write(),
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.output_reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}

fn tool_call(call: &Call, stamp: &Stamp, at: usize) -> Value {
    json!({
        "id": Dialect::OpenaiChat.call_id(stamp, at),
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments.to_string()},
    })
}

pub(super) fn whole(ask: &Ask, answer: &Answer, stamp: &Stamp) -> Value {
    let mut message = json!({"role": "assistant", "content": answer.text, "refusal": null, "annotations": []});
    if !answer.calls.is_empty() {
        if answer.text.is_empty() {
            message["content"] = Value::Null;
        }
        message["tool_calls"] = answer.calls.iter().enumerate().map(|(at, call)| tool_call(call, stamp, at)).collect();
    }
    if let Some(reasoning) = answer.reasoning.as_ref().filter(|_| ask.show_reasoning) {
        message["reasoning_content"] = json!(reasoning);
    }
    let mut body = json!({
        "id": format!("chatcmpl-sim{:08x}", stamp.seq),
        "object": "chat.completion",
        "created": stamp.created,
        "model": ask.model,
        "choices": [{
            "index": 0,
            "message": message,
            "logprobs": null,
            "finish_reason": finish_reason(answer.finish),
        }],
        "service_tier": "default",
        "system_fingerprint": "fp_sim",
    });
    if answer.report_usage {
        body["usage"] = usage(answer);
    }
    body
}

pub(super) fn frames(ask: &Ask, answer: &Answer, stamp: &Stamp) -> Vec<Bytes> {
    let with_usage = ask.stream_usage && answer.report_usage;
    let chunk = |choices: Value, usage: Value| {
        let mut body = json!({
            "id": format!("chatcmpl-sim{:08x}", stamp.seq),
            "object": "chat.completion.chunk",
            "created": stamp.created,
            "model": ask.model,
            "service_tier": "default",
            "system_fingerprint": "fp_sim",
            "choices": choices,
        });
        if with_usage {
            body["usage"] = usage;
        }
        data(&body)
    };
    let delta = |delta: Value, finish: Value| {
        chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]), Value::Null)
    };

    let is_silent = answer.text.is_empty() && !answer.calls.is_empty();
    let content = if is_silent { Value::Null } else { json!("") };
    let mut frames = vec![delta(json!({"role": "assistant", "content": content, "refusal": null}), Value::Null)];
    let reasoning = answer.reasoning.as_deref().filter(|_| ask.show_reasoning).unwrap_or_default();
    for piece in answer::text_chunks(reasoning) {
        frames.push(delta(json!({"reasoning_content": piece}), Value::Null));
    }
    for piece in answer::text_chunks(&answer.text) {
        frames.push(delta(json!({"content": piece}), Value::Null));
    }
    for (at, call) in answer.calls.iter().enumerate() {
        let function = json!({"name": call.name, "arguments": ""});
        let opening =
            json!({"index": at, "id": Dialect::OpenaiChat.call_id(stamp, at), "type": "function", "function": function});
        frames.push(delta(json!({"tool_calls": [opening]}), Value::Null));
        for piece in answer::argument_chunks(&call.arguments.to_string()) {
            let more = json!({"index": at, "function": {"arguments": piece}});
            frames.push(delta(json!({"tool_calls": [more]}), Value::Null));
        }
    }
    frames.push(delta(json!({}), json!(finish_reason(answer.finish))));
    if with_usage {
        frames.push(chunk(json!([]), usage(answer)));
    }
    frames.push(Bytes::from_static(b"data: [DONE]\n\n"));
    frames
}

fn data(body: &Value) -> Bytes {
    Bytes::from(format!("data: {body}\n\n"))
}

pub(super) fn error_frame() -> Bytes {
    data(&error("The server had an error while processing your request.", "server_error", None, Some("server_error")))
}

fn error(message: &str, kind: &str, param: Option<&str>, code: Option<&str>) -> Value {
    json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
}

pub(super) fn problem(problem: &Problem) -> ErrorReply {
    let invalid = "invalid_request_error";
    let mut headers = Vec::new();
    let (status, body) = match problem {
        Problem::Invalid { message, param, code } => (400, error(message, invalid, param.as_deref(), *code)),
        Problem::NoCredential => {
            let text =
                "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth.";
            (401, error(text, invalid, None, None))
        }
        Problem::BadCredential | Problem::Unauthenticated => {
            (401, error("Incorrect API key provided.", invalid, None, Some("invalid_api_key")))
        }
        Problem::NoModel(model) => {
            let text = format!("The model `{model}` does not exist or you do not have access to it.");
            (404, error(&text, invalid, None, Some("model_not_found")))
        }
        Problem::NoPath(path) => (404, error(&format!("Invalid URL ({path})"), invalid, None, None)),
        Problem::TooLarge { limit_bytes } => {
            (413, error(&format!("The request body is larger than {limit_bytes} bytes."), invalid, None, None))
        }
        Problem::Banned => {
            let text = "Your account has been deactivated, please check your email for more information.";
            (403, error(text, invalid, None, Some("account_deactivated")))
        }
        Problem::RateLimited { seconds } => {
            headers.push(("retry-after", seconds.to_string()));
            headers.push(("retry-after-ms", (seconds * 1000).to_string()));
            let text = format!("Rate limit reached for requests. Please try again in {seconds}s.");
            (429, error(&text, "requests", None, Some("rate_limit_exceeded")))
        }
        Problem::Quota => {
            let text = "You exceeded your current quota, please check your plan and billing details.";
            (429, error(text, "insufficient_quota", None, Some("insufficient_quota")))
        }
        Problem::Internal => (500, error("The server had an error while processing your request.", "server_error", None, None)),
        Problem::Unavailable | Problem::Overloaded => {
            let text = "The server is currently overloaded. Please try again later.";
            (503, error(text, "service_unavailable_error", None, Some("server_is_overloaded")))
        }
    };
    ErrorReply { status, headers, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp { seq: 7, created: 1_700_000_000, request_id: "req_7".to_owned() }
    }

    fn answered(body: &Value) -> (Ask, Answer) {
        let ask = parse(body).expect("a good request");
        let answer = answer::compose(&ask, false);
        (ask, answer)
    }

    #[test]
    fn a_plain_answer_reports_inclusive_counts() {
        let text = "x".repeat(400);
        let (ask, answer) = answered(&json!({"model": "gpt-sim", "messages": [{"role": "user", "content": text}]}));
        let body = whole(&ask, &answer, &stamp());
        assert_eq!(body["usage"]["prompt_tokens"], 101);
        assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], 25);
        assert_eq!(body["choices"][0]["finish_reason"], "stop");
        assert_eq!(body["choices"][0]["logprobs"], Value::Null);
    }

    #[test]
    fn a_stream_is_role_text_finish_usage_done() {
        let request = json!({"model": "gpt-sim", "stream": true, "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": "hi"}]});
        let (ask, answer) = answered(&request);
        let frames: Vec<String> =
            frames(&ask, &answer, &stamp()).iter().map(|frame| String::from_utf8_lossy(frame).into_owned()).collect();
        assert!(frames[0].contains("\"role\":\"assistant\""));
        assert!(frames[frames.len() - 3].contains("\"finish_reason\":\"stop\""));
        assert!(frames[frames.len() - 2].contains("\"choices\":[]"));
        assert!(frames[frames.len() - 2].contains("\"prompt_tokens\":2"), "{}", frames[frames.len() - 2]);
        assert_eq!(frames[frames.len() - 1], "data: [DONE]\n\n");
        let text: String = frames
            .iter()
            .filter_map(|frame| serde_json::from_str::<Value>(frame.strip_prefix("data: ")?).ok())
            .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(text, answer.text);
    }

    #[test]
    fn a_call_without_its_answer_is_refused() {
        let calls = json!([{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
        let request = json!({"model": "gpt-sim", "messages": [
            {"role": "assistant", "content": null, "tool_calls": calls}, {"role": "user", "content": "hi"}]});
        assert!(matches!(parse(&request), Err(Problem::Invalid { .. })));
    }

    #[test]
    fn errors_have_the_vendors_shape() {
        let reply = problem(&Problem::RateLimited { seconds: 1 });
        assert_eq!(reply.status, 429);
        assert_eq!(reply.body["error"]["code"], "rate_limit_exceeded");
        assert_eq!(reply.headers[0], ("retry-after", "1".to_owned()));
    }
}
