//! Anthropic Messages: `POST /v1/messages`.

use bytes::Bytes;
use serde_json::{Value, json};

mod rules;

use super::{Dialect, ErrorReply, Problem, Stamp, model_of};
use crate::answer::{self, Answer, Finish};
use crate::conversation::{Ask, CacheTtl, Choice, Format, Image, PastCall, Said, Tool, text_bytes, text_of};
use crate::families;
use crate::seal::{self, Kind, Seal};

/// Output tokens that `message_start` reports, before the answer exists.
const FIRST_OUTPUT_TOKENS: u64 = 1;
/// The word of a prompt that makes the model's thinking unreadable.
const REDACTING: &str = "sim-redacted";

pub(super) fn parse(body: &Value) -> Result<Ask, Problem> {
    let model = model_of(body).map_err(|_| Problem::invalid("model: Field required", "model"))?;
    let Some(max_output) = body["max_tokens"].as_u64() else {
        return Err(Problem::invalid("max_tokens: Field required", "max_tokens"));
    };
    let Some(messages) = body["messages"].as_array() else {
        return Err(Problem::invalid("messages: Field required", "messages"));
    };
    if messages.is_empty() {
        return Err(Problem::invalid("messages: at least one message is required", "messages"));
    }
    let returned = rules::check(body, messages)?;
    let shows_thinking = families::claude(&model).shows_thinking;
    let last = messages.last().unwrap_or(&Value::Null);
    let last_user = messages.iter().rev().find(|message| message["role"] == "user").unwrap_or(&Value::Null);
    let tool_results = blocks(&last["content"], "tool_result").map(|block| text_of(&block["content"])).collect::<Vec<_>>();
    Ok(Ask {
        model,
        stream: body["stream"] == true,
        user_text: text_of(&last_user["content"]),
        tool_results,
        images: images(&last_user["content"]),
        tools: tools(&body["tools"]),
        choice: choice(&body["tool_choice"]),
        single_call: body["tool_choice"]["disable_parallel_tool_use"] == true,
        max_output: Some(max_output),
        reasoning: rules::thinks(body),
        show_reasoning: body["thinking"]["display"].as_str().map_or(shows_thinking, |display| display != "omitted"),
        format: format(body),
        cache_write: cache_marker(body),
        stream_usage: true,
        input_bytes: text_bytes(&body["messages"]) + text_bytes(&body["tools"]) + text_bytes(&body["system"]),
        history: history(messages),
        returned,
        prefix: rules::Prefix::whole(body, messages),
        ..Ask::default()
    })
}

fn history(messages: &[Value]) -> Vec<Said> {
    let mut history = Vec::new();
    for message in messages {
        let content = &message["content"];
        if message["role"] == "assistant" {
            let list = content.as_array().map_or(&[][..], Vec::as_slice);
            let reasoned = list.first().is_some_and(|block| block["type"] == "thinking" || block["type"] == "redacted_thinking");
            let call = |block: &Value| PastCall {
                id: block["id"].as_str().map(str::to_owned),
                name: block["name"].as_str().unwrap_or_default().to_owned(),
                arguments: block["input"].clone(),
                item: None,
                reasoned,
            };
            history.push(Said::Model(blocks(content, "tool_use").map(call).collect()));
            continue;
        }
        let results: Vec<String> = blocks(content, "tool_result").map(|block| text_of(&block["content"])).collect();
        if !results.is_empty() {
            history.push(Said::Results(results));
        }
        let text = text_of(content);
        if !text.is_empty() {
            history.push(Said::User(text));
        }
    }
    history
}

fn blocks<'a>(content: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let blocks = content.as_array().map_or(&[][..], Vec::as_slice);
    blocks.iter().filter(move |block| block["type"] == kind)
}

fn images(content: &Value) -> Vec<Image> {
    blocks(content, "image")
        .filter_map(|block| {
            let source = &block["source"];
            match source["type"].as_str()? {
                "base64" => Some(Image::from_base64(source["media_type"].as_str()?, source["data"].as_str()?)),
                "url" => Some(Image::Address(source["url"].as_str()?.to_owned())),
                _ => None,
            }
        })
        .collect()
}

fn tools(tools: &Value) -> Vec<Tool> {
    let tools = tools.as_array().map_or(&[][..], Vec::as_slice);
    tools
        .iter()
        .filter(|tool| tool["input_schema"].is_object())
        .filter_map(|tool| Some(Tool { name: tool["name"].as_str()?.to_owned(), schema: tool["input_schema"].clone() }))
        .collect()
}

fn choice(choice: &Value) -> Choice {
    match (choice["type"].as_str(), choice["name"].as_str()) {
        (Some("none"), _) => Choice::Never,
        (Some("any"), _) => Choice::Any,
        (Some("tool"), Some(name)) => Choice::Named(name.to_owned()),
        _ => Choice::Auto,
    }
}

fn format(body: &Value) -> Format {
    for format in [&body["output_config"]["format"], &body["output_format"]] {
        if format["type"] == "json_schema" {
            return Format::Json(format["schema"].clone());
        }
    }
    Format::Text
}

/// The longest time that any `cache_control` marker of the request asks for.
fn cache_marker(value: &Value) -> Option<CacheTtl> {
    let longer = |found: Option<CacheTtl>, next: Option<CacheTtl>| match (found, next) {
        (Some(CacheTtl::OneHour), _) | (_, Some(CacheTtl::OneHour)) => Some(CacheTtl::OneHour),
        (found, next) => found.or(next),
    };
    match value {
        Value::Array(items) => items.iter().map(cache_marker).fold(None, longer),
        Value::Object(fields) => {
            let own = fields
                .get("cache_control")
                .filter(|marker| marker.is_object())
                .map(|marker| if marker["ttl"] == "1h" { CacheTtl::OneHour } else { CacheTtl::FiveMinutes });
            fields.values().map(cache_marker).fold(own, longer)
        }
        _ => None,
    }
}

fn stop_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::ToolCalls => "tool_use",
    }
}

fn usage(answer: &Answer, output: u64) -> Value {
    let usage = &answer.usage;
    json!({
        "input_tokens": usage.input_uncached + usage.input_image,
        "cache_creation_input_tokens": usage.cache_write(),
        "cache_read_input_tokens": usage.input_cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.input_cache_write_5m,
            "ephemeral_1h_input_tokens": usage.input_cache_write_1h,
        },
        "output_tokens": output,
        "service_tier": "standard",
        "inference_geo": "not_available",
    })
}

/// Usage of a finished answer: reasoning is inside `output_tokens`, and told apart.
fn final_usage(answer: &Answer) -> Value {
    let mut told = usage(answer, answer.usage.output());
    told["output_tokens_details"] = json!({"thinking_tokens": answer.usage.output_reasoning});
    told
}

fn message(ask: &Ask, stamp: &Stamp, content: Value, stop: Value) -> Value {
    json!({
        "id": format!("msg_sim{:08x}", stamp.seq),
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": null,
        "stop_details": null,
    })
}

/// The blocks of an answer, in the order in which they stream.
fn content(ask: &Ask, answer: &Answer, stamp: &Stamp) -> Vec<Value> {
    let mut blocks = Vec::new();
    if let Some(reasoning) = &answer.reasoning {
        blocks.push(thinking(ask, reasoning));
    }
    if !answer.text.is_empty() {
        blocks.push(json!({"type": "text", "text": answer.text}));
    }
    for (at, call) in answer.calls.iter().enumerate() {
        let id = Dialect::Anthropic.call_id(stamp, at);
        blocks.push(json!({"type": "tool_use", "id": id, "name": call.name, "input": call.arguments}));
    }
    blocks
}

/// A thinking block, signed; its text is empty where it is not to be shown.
fn thinking(ask: &Ask, reasoning: &str) -> Value {
    let signed = |kind, text: &str| {
        let (model, content) = (ask.model.clone(), seal::digest(text.as_bytes()));
        Seal { kind, model, content, prefix: ask.prefix }.to_base64()
    };
    let redacts = |said: &Said| matches!(said, Said::User(text) if text.contains(REDACTING));
    if ask.history.iter().any(redacts) {
        return json!({"type": "redacted_thinking", "data": signed(Kind::RedactedThinking, "")});
    }
    let shown = if ask.show_reasoning { reasoning } else { "" };
    json!({"type": "thinking", "thinking": shown, "signature": signed(Kind::Thinking, shown)})
}

pub(super) fn whole(ask: &Ask, answer: &Answer, stamp: &Stamp) -> Value {
    let mut body = message(ask, stamp, Value::Array(content(ask, answer, stamp)), json!(stop_reason(answer.finish)));
    if answer.report_usage {
        body["usage"] = final_usage(answer);
    }
    body
}

pub(super) fn frames(ask: &Ask, answer: &Answer, stamp: &Stamp) -> Vec<Bytes> {
    let mut opening = message(ask, stamp, json!([]), Value::Null);
    if answer.report_usage {
        opening["usage"] = usage(answer, FIRST_OUTPUT_TOKENS);
    }
    let mut frames = vec![event("message_start", &json!({"type": "message_start", "message": opening}))];
    for (index, block) in content(ask, answer, stamp).iter().enumerate() {
        frames.push(event(
            "content_block_start",
            &json!({
            "type": "content_block_start", "index": index, "content_block": emptied(block)}),
        ));
        if index == 0 {
            frames.push(event("ping", &json!({"type": "ping"})));
        }
        for delta in deltas(block) {
            let body = json!({"type": "content_block_delta", "index": index, "delta": delta});
            frames.push(event("content_block_delta", &body));
        }
        frames.push(event("content_block_stop", &json!({"type": "content_block_stop", "index": index})));
    }
    let delta = json!({"stop_reason": stop_reason(answer.finish), "stop_sequence": null, "stop_details": null});
    let mut closing = json!({"type": "message_delta", "delta": delta});
    if answer.report_usage {
        closing["usage"] = json!({
            "input_tokens": answer.usage.input_uncached + answer.usage.input_image,
            "cache_creation_input_tokens": answer.usage.cache_write(),
            "cache_read_input_tokens": answer.usage.input_cache_read,
            "output_tokens": answer.usage.output(),
            "output_tokens_details": {"thinking_tokens": answer.usage.output_reasoning},
        });
    }
    frames.push(event("message_delta", &closing));
    frames.push(event("message_stop", &json!({"type": "message_stop"})));
    frames
}

/// A block as `content_block_start` shows it: all that streams later is still empty.
fn emptied(block: &Value) -> Value {
    let mut empty = block.clone();
    match block["type"].as_str() {
        Some("text") => empty["text"] = json!(""),
        Some("thinking") => {
            empty["thinking"] = json!("");
            empty["signature"] = json!("");
        }
        // All of it comes at once.
        Some("redacted_thinking") => {}
        _ => empty["input"] = json!({}),
    }
    empty
}

fn deltas(block: &Value) -> Vec<Value> {
    let chunks = |field: &str| answer::text_chunks(block[field].as_str().unwrap_or_default());
    match block["type"].as_str() {
        Some("text") => chunks("text").iter().map(|text| json!({"type": "text_delta", "text": text})).collect(),
        Some("thinking") => chunks("thinking")
            .iter()
            .map(|text| json!({"type": "thinking_delta", "thinking": text}))
            .chain([json!({"type": "signature_delta", "signature": block["signature"]})])
            .collect(),
        Some("redacted_thinking") => Vec::new(),
        _ => {
            let arguments = block["input"].to_string();
            let pieces = answer::argument_chunks(&arguments);
            // The first delta of a call is empty on the wire.
            [""].iter().chain(pieces.iter()).map(|piece| json!({"type": "input_json_delta", "partial_json": piece})).collect()
        }
    }
}

fn event(name: &str, body: &Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {body}\n\n"))
}

pub(super) fn error_frame(stamp: &Stamp) -> Bytes {
    event("error", &error("overloaded_error", "Overloaded", stamp))
}

fn error(kind: &str, message: &str, stamp: &Stamp) -> Value {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": stamp.request_id})
}

pub(super) fn problem(problem: &Problem, stamp: &Stamp) -> ErrorReply {
    let mut headers = Vec::new();
    let (status, kind, text) = match problem {
        Problem::Invalid { message, .. } => (400, "invalid_request_error", message.clone()),
        Problem::NoCredential => (401, "authentication_error", "x-api-key header is required".to_owned()),
        Problem::BadCredential | Problem::Unauthenticated => (401, "authentication_error", "invalid x-api-key".to_owned()),
        Problem::NoModel(model) => (404, "not_found_error", format!("model: {model}")),
        Problem::NoPath(_) => (404, "not_found_error", "Not Found".to_owned()),
        Problem::TooLarge { limit_bytes } => {
            (413, "request_too_large", format!("Request exceeds the maximum size of {limit_bytes} bytes"))
        }
        Problem::Banned => (403, "permission_error", "This organization has been disabled.".to_owned()),
        Problem::RateLimited { seconds } => {
            headers.push(("retry-after", seconds.to_string()));
            (429, "rate_limit_error", "This request would exceed your organization's rate limit.".to_owned())
        }
        Problem::Quota => {
            let text = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.";
            (400, "invalid_request_error", text.to_owned())
        }
        Problem::Internal => (500, "api_error", "Internal server error".to_owned()),
        Problem::Unavailable => (503, "api_error", "Service unavailable".to_owned()),
        Problem::Overloaded => (529, "overloaded_error", "Overloaded".to_owned()),
    };
    if matches!(status, 400..=428) {
        headers.push(("x-should-retry", "false".to_owned()));
    }
    ErrorReply { status, headers, body: error(kind, &text, stamp) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp { seq: 7, created: 1_700_000_000, request_id: "req_7".to_owned() }
    }

    #[test]
    fn input_tokens_exclude_the_cache() {
        let text = "x".repeat(400);
        let block = json!({"type": "text", "text": text, "cache_control": {"type": "ephemeral", "ttl": "1h"}});
        let request = json!({"model": "claude-sim", "max_tokens": 1000, "messages": [{"role": "user", "content": [block]}]});
        let ask = parse(&request).expect("a good request");
        let body = whole(&ask, &answer::compose(&ask, false), &stamp());
        let usage = &body["usage"];
        // 400 bytes, with "user", "text", "ephemeral" and "1h" 419, are 105 tokens: 26 read, 13 written, 66 plain.
        assert_eq!(usage["input_tokens"], 66);
        assert_eq!(usage["cache_read_input_tokens"], 26);
        assert_eq!(usage["cache_creation"]["ephemeral_1h_input_tokens"], 13);
        assert_eq!(body["stop_reason"], "end_turn");
    }

    #[test]
    fn a_stream_opens_and_closes_each_block_in_order() {
        let tool = json!({"name": "weather", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}});
        let request = json!({"model": "claude-sim-think", "max_tokens": 100, "tools": [tool],
            "messages": [{"role": "user", "content": "use the tool"}]});
        let ask = parse(&request).expect("a good request");
        let names: Vec<String> = frames(&ask, &answer::compose(&ask, false), &stamp())
            .iter()
            .map(|frame| String::from_utf8_lossy(frame).lines().next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(names[..3], ["event: message_start", "event: content_block_start", "event: ping"]);
        assert_eq!(names.iter().filter(|name| *name == "event: content_block_stop").count(), 2);
        assert_eq!(names[names.len() - 2..], ["event: message_delta", "event: message_stop"]);
    }

    #[test]
    fn a_result_without_its_call_is_refused() {
        let result = json!({"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"});
        let request = json!({"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [result]}]});
        assert!(matches!(parse(&request), Err(Problem::Invalid { .. })));
    }

    #[test]
    fn overload_has_its_own_status() {
        let reply = problem(&Problem::Overloaded, &stamp());
        assert_eq!((reply.status, reply.body["error"]["type"].as_str()), (529, Some("overloaded_error")));
        assert_eq!(reply.body["request_id"], "req_7");
    }
}
