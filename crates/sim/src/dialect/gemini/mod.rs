//! Gemini: `generateContent` and `streamGenerateContent`, the latter as server-sent events or as one JSON array.

use bytes::Bytes;
use serde_json::{Value, json};

mod rules;

use super::{Dialect, ErrorReply, Framing, Problem, Stamp};
use crate::answer::{self, Answer, Finish};
use crate::conversation::{Ask, Choice, Format, Image, PastCall, Said, Tool, text_bytes};
use crate::families;
use crate::seal::{self, Kind, Seal};

/// A field under either of its two spellings: proto3 JSON takes camelCase and snake_case.
fn field<'a>(value: &'a Value, camel: &str, snake: &str) -> &'a Value {
    match value.get(camel) {
        Some(found) => found,
        None => &value[snake],
    }
}

pub(super) fn parse(body: &Value, model: &str, stream: bool) -> Result<Ask, Problem> {
    let Some(contents) = body["contents"].as_array().filter(|contents| !contents.is_empty()) else {
        let text = "* GenerateContentRequest.contents: contents is not specified\n";
        return Err(Problem::invalid(text, "contents"));
    };
    let returned = rules::check(body, contents, model)?;
    let family = families::gemini(model);
    let last = contents.last().unwrap_or(&Value::Null);
    let is_user = |content: &&Value| content["role"] != "model" && parts(content).iter().any(|part| part["text"].is_string());
    let last_user = contents.iter().rev().find(is_user).unwrap_or(&Value::Null);
    let tool_results = parts(last)
        .iter()
        .map(|part| field(part, "functionResponse", "function_response"))
        .filter(|response| response.is_object())
        .map(|response| response["response"].to_string())
        .collect();
    let config = field(body, "generationConfig", "generation_config");
    let thinking = field(config, "thinkingConfig", "thinking_config");
    let system = field(body, "systemInstruction", "system_instruction");
    let function_config = field(field(body, "toolConfig", "tool_config"), "functionCallingConfig", "function_calling_config");
    Ok(Ask {
        model: model.to_owned(),
        stream,
        user_text: parts(last_user).iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"),
        tool_results,
        images: parts(last_user).iter().filter_map(image).collect(),
        tools: tools(&body["tools"]),
        choice: choice(function_config),
        single_call: false,
        max_output: field(config, "maxOutputTokens", "max_output_tokens").as_u64(),
        reasoning: thinks(thinking, family.thinks_unasked),
        show_reasoning: field(thinking, "includeThoughts", "include_thoughts") == true,
        format: format(config),
        cache_write: None,
        stream_usage: true,
        input_bytes: text_bytes(&body["contents"]) + text_bytes(&body["tools"]) + text_bytes(system),
        history: history(&rules::merged(contents)),
        returned,
        signs: family.needs_signatures,
        ..Ask::default()
    })
}

fn history(contents: &[Value]) -> Vec<Said> {
    let mut history = Vec::new();
    for content in contents {
        let calls =
            parts(content).iter().map(|part| field(part, "functionCall", "function_call")).filter(|call| call.is_object());
        if content["role"] == "model" {
            let call = |call: &Value| PastCall {
                id: call["id"].as_str().map(str::to_owned),
                name: call["name"].as_str().unwrap_or_default().to_owned(),
                arguments: if call["args"].is_null() { json!({}) } else { call["args"].clone() },
                ..PastCall::default()
            };
            history.push(Said::Model(calls.map(call).collect()));
            continue;
        }
        let responses = parts(content).iter().map(|part| field(part, "functionResponse", "function_response"));
        let results: Vec<String> =
            responses.filter(|response| response.is_object()).map(|response| response["response"].to_string()).collect();
        if !results.is_empty() {
            history.push(Said::Results(results));
        }
        let texts: Vec<&str> = parts(content).iter().filter_map(|part| part["text"].as_str()).collect();
        if !texts.is_empty() {
            history.push(Said::User(texts.join("\n")));
        }
    }
    history
}

fn parts(content: &Value) -> &[Value] {
    content["parts"].as_array().map_or(&[][..], Vec::as_slice)
}

fn thinks(thinking: &Value, unasked: bool) -> bool {
    let budget = field(thinking, "thinkingBudget", "thinking_budget").as_i64();
    let level = field(thinking, "thinkingLevel", "thinking_level");
    budget.map_or(unasked || level.is_string(), |budget| budget != 0)
}

fn image(part: &Value) -> Option<Image> {
    let inline = field(part, "inlineData", "inline_data");
    if let (Some(media_type), Some(data)) = (field(inline, "mimeType", "mime_type").as_str(), inline["data"].as_str()) {
        return Some(Image::from_base64(media_type, data));
    }
    let file = field(part, "fileData", "file_data");
    field(file, "fileUri", "file_uri").as_str().map(|uri| Image::Address(uri.to_owned()))
}

fn tools(tools: &Value) -> Vec<Tool> {
    let tools = tools.as_array().map_or(&[][..], Vec::as_slice);
    tools
        .iter()
        .filter_map(|tool| field(tool, "functionDeclarations", "function_declarations").as_array())
        .flatten()
        .filter_map(|function| {
            let name = function["name"].as_str()?.to_owned();
            let typed = &function["parameters"];
            let plain = field(function, "parametersJsonSchema", "parameters_json_schema");
            Some(Tool { name, schema: if typed.is_object() { typed } else { plain }.clone() })
        })
        .collect()
}

fn choice(config: &Value) -> Choice {
    let allowed = field(config, "allowedFunctionNames", "allowed_function_names");
    match (config["mode"].as_str(), allowed[0].as_str()) {
        (Some("NONE"), _) => Choice::Never,
        (Some("ANY"), Some(name)) if allowed.as_array().map_or(0, Vec::len) == 1 => Choice::Named(name.to_owned()),
        (Some("ANY"), _) => Choice::Any,
        _ => Choice::Auto,
    }
}

fn format(config: &Value) -> Format {
    if field(config, "responseMimeType", "response_mime_type") != "application/json" {
        return Format::Text;
    }
    let plain = field(config, "responseJsonSchema", "response_json_schema");
    let typed = field(config, "responseSchema", "response_schema");
    match (plain.is_object(), typed.is_object()) {
        (true, _) => Format::Json(plain.clone()),
        (_, true) => Format::Json(typed.clone()),
        _ => Format::Json(json!({"type": "object"})),
    }
}

/// Gemini's counts: prompt with the cached part, candidates without thoughts; a counter of 0 is left out.
fn usage(answer: &Answer) -> Value {
    let usage = &answer.usage;
    let text = usage.input() - usage.input_image;
    let mut details = vec![json!({"modality": "TEXT", "tokenCount": text})];
    if usage.input_image > 0 {
        details.push(json!({"modality": "IMAGE", "tokenCount": usage.input_image}));
    }
    let mut told = json!({
        "promptTokenCount": usage.input(),
        "candidatesTokenCount": usage.output_text,
        "totalTokenCount": usage.total(),
        "promptTokensDetails": details,
        "serviceTier": "standard",
    });
    if usage.output_reasoning > 0 {
        told["thoughtsTokenCount"] = json!(usage.output_reasoning);
    }
    if usage.input_cache_read > 0 {
        told["cachedContentTokenCount"] = json!(usage.input_cache_read);
        told["cacheTokensDetails"] = json!([{"modality": "TEXT", "tokenCount": usage.input_cache_read}]);
    }
    told
}

fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop | Finish::ToolCalls => "STOP",
        Finish::Length => "MAX_TOKENS",
    }
}

/// The parts of the answer before streaming cuts its text.
fn answer_parts(ask: &Ask, answer: &Answer, stamp: &Stamp) -> Vec<Value> {
    let mut parts = Vec::new();
    if let Some(reasoning) = answer.reasoning.as_ref().filter(|_| ask.show_reasoning) {
        parts.push(json!({"text": reasoning, "thought": true}));
    }
    if !answer.text.is_empty() {
        parts.push(json!({"text": answer.text}));
    }
    for (at, call) in answer.calls.iter().enumerate() {
        let id = Dialect::Gemini.call_id(stamp, at);
        parts.push(json!({"functionCall": {"id": id, "name": call.name, "args": call.arguments}}));
    }
    // Gemini signs the first call of a step, or the last text where there is none.
    if answer.reasoning.is_some() || ask.signs {
        let first = parts.iter().position(|part| part.get("functionCall").is_some());
        let (kind, content) = match answer.calls.first() {
            Some(call) => (Kind::GeminiCall, rules::call_digest(&call.name, &call.arguments)),
            None => (Kind::GeminiText, seal::Digest::default()),
        };
        let signature = Seal { kind, model: ask.model.clone(), content, prefix: seal::Digest::default() }.to_base64();
        let last = parts.len().saturating_sub(1);
        if let Some(signed) = parts.get_mut(first.unwrap_or(last)) {
            signed["thoughtSignature"] = json!(signature);
        }
    }
    parts
}

fn record(ask: &Ask, answer: &Answer, stamp: &Stamp, parts: Value, finish: Option<Finish>) -> Value {
    let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": 0});
    if let Some(finish) = finish {
        candidate["finishReason"] = json!(finish_reason(finish));
    }
    let mut body = json!({
        "candidates": [candidate],
        "modelVersion": ask.model,
        "responseId": format!("sim{:012x}", stamp.seq),
    });
    if answer.report_usage {
        body["usageMetadata"] = usage(answer);
    }
    body
}

pub(super) fn whole(ask: &Ask, answer: &Answer, stamp: &Stamp) -> Value {
    record(ask, answer, stamp, Value::Array(answer_parts(ask, answer, stamp)), Some(answer.finish))
}

pub(super) fn frames(ask: &Ask, answer: &Answer, stamp: &Stamp, framing: Framing) -> Vec<Bytes> {
    // Early events restate usage without the answer's counts, as the vendor's do.
    let mut early = answer.clone();
    early.usage.output_text = 0;
    early.usage.output_reasoning = 0;
    let mut records = Vec::new();
    let mut last_parts = Vec::new();
    for part in answer_parts(ask, answer, stamp) {
        let Some(text) = part["text"].as_str() else {
            records.push(record(ask, &early, stamp, json!([part]), None));
            continue;
        };
        for chunk in answer::text_chunks(text) {
            let mut piece = json!({"text": chunk});
            if part["thought"] == true {
                piece["thought"] = json!(true);
            }
            records.push(record(ask, &early, stamp, json!([piece]), None));
        }
        if let Some(signature) = part.get("thoughtSignature") {
            last_parts.push(json!({"text": "", "thoughtSignature": signature}));
        }
    }
    if last_parts.is_empty() {
        last_parts.push(json!({"text": ""}));
    }
    records.push(record(ask, answer, stamp, Value::Array(last_parts), Some(answer.finish)));
    framed(&records, framing)
}

fn framed(records: &[Value], framing: Framing) -> Vec<Bytes> {
    let mut frames: Vec<Bytes> = records.iter().enumerate().map(|(at, record)| frame(record, at, framing)).collect();
    if framing == Framing::JsonArray {
        frames.push(Bytes::from_static(b"]\r\n"));
    }
    frames
}

fn frame(record: &Value, at: usize, framing: Framing) -> Bytes {
    Bytes::from(match framing {
        Framing::Sse => format!("data: {record}\r\n\r\n"),
        Framing::JsonArray if at == 0 => format!("[{record}"),
        Framing::JsonArray => format!(",\r\n{record}"),
    })
}

pub(super) fn error_frame(sent: usize, framing: Framing) -> Bytes {
    let reply = problem(&Problem::Internal);
    let mut bytes = frame(&reply.body, sent, framing).to_vec();
    if framing == Framing::JsonArray {
        bytes.extend_from_slice(b"]\r\n");
    }
    Bytes::from(bytes)
}

pub(super) fn problem(problem: &Problem) -> ErrorReply {
    let mut details = Vec::new();
    let (status, name, text) = match problem {
        Problem::Invalid { message, .. } => (400, "INVALID_ARGUMENT", message.clone()),
        Problem::NoCredential | Problem::Unauthenticated => {
            let text = "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other valid authentication credential.";
            (401, "UNAUTHENTICATED", text.to_owned())
        }
        Problem::BadCredential => {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            }));
            (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.".to_owned())
        }
        Problem::NoModel(model) => {
            let text = format!(
                "models/{model} is not found for API version v1beta, or is not supported for generateContent. Call ListModels to see the list of available models and their supported methods."
            );
            (404, "NOT_FOUND", text)
        }
        Problem::NoPath(path) => (404, "NOT_FOUND", format!("{path} is not found")),
        Problem::TooLarge { limit_bytes } => {
            (400, "INVALID_ARGUMENT", format!("Request payload size exceeds the limit: {limit_bytes} bytes."))
        }
        Problem::Banned => {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "CONSUMER_SUSPENDED",
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            }));
            (403, "PERMISSION_DENIED", "Permission denied: Consumer has been suspended.".to_owned())
        }
        Problem::RateLimited { seconds } => {
            let wait = format!("{seconds}s");
            details.push(quota_failure("GenerateRequestsPerMinutePerProjectPerModel"));
            details.push(json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": wait}));
            let text = format!("You exceeded your current quota. Please retry in {wait}.");
            (429, "RESOURCE_EXHAUSTED", text)
        }
        Problem::Quota => {
            details.push(quota_failure("GenerateRequestsPerDayPerProjectPerModel"));
            let text = "You exceeded your current quota, please check your plan and billing details.";
            (429, "RESOURCE_EXHAUSTED", text.to_owned())
        }
        Problem::Internal => (500, "INTERNAL", "An internal error has occurred. Please retry.".to_owned()),
        Problem::Unavailable | Problem::Overloaded => {
            (503, "UNAVAILABLE", "The model is overloaded. Please try again later.".to_owned())
        }
    };
    let mut error = json!({"code": status, "message": text, "status": name});
    if !details.is_empty() {
        error["details"] = Value::Array(details);
    }
    ErrorReply { status, headers: Vec::new(), body: json!({"error": error}) }
}

fn quota_failure(quota: &str) -> Value {
    json!({
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{
            "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
            "quotaId": quota,
            "quotaValue": "60",
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp { seq: 7, created: 1_700_000_000, request_id: "req_7".to_owned() }
    }

    fn hello(config: Value) -> Ask {
        let body = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": config});
        parse(&body, "gemini-sim", true).expect("a good request")
    }

    #[test]
    fn thoughts_are_counted_beside_candidates() {
        let ask = hello(json!({"thinkingConfig": {"thinkingBudget": 100, "includeThoughts": true}}));
        let body = whole(&ask, &answer::compose(&ask, true), &stamp());
        let usage = &body["usageMetadata"];
        assert_eq!(usage["thoughtsTokenCount"], 13);
        assert_eq!(usage["totalTokenCount"], 2 + 13 + usage["candidatesTokenCount"].as_u64().unwrap_or(0));
        assert_eq!(body["candidates"][0]["content"]["parts"][0]["thought"], true);
        let signature = body["candidates"][0]["content"]["parts"][1]["thoughtSignature"].as_str().expect("a signature");
        assert_eq!(Seal::open(signature, Kind::GeminiText).map(|seal| seal.model).as_deref(), Some("gemini-sim"));
    }

    #[test]
    fn a_stream_is_crlf_events_or_one_array() {
        let ask = hello(json!({}));
        let answer = answer::compose(&ask, true);
        let events = frames(&ask, &answer, &stamp(), Framing::Sse);
        assert!(events.iter().all(|event| event.starts_with(b"data: ") && event.ends_with(b"\r\n\r\n")));
        let array = frames(&ask, &answer, &stamp(), Framing::JsonArray).concat();
        let records: Vec<Value> = serde_json::from_slice(&array).expect("an array");
        assert_eq!(records.len(), events.len());
        let text: String =
            records.iter().filter_map(|record| record["candidates"][0]["content"]["parts"][0]["text"].as_str()).collect();
        assert_eq!(text, answer.text);
        assert_eq!(records[records.len() - 1]["candidates"][0]["finishReason"], "STOP");
    }

    #[test]
    fn a_broken_array_is_still_an_array() {
        let ask = hello(json!({}));
        let mut bytes = frames(&ask, &answer::compose(&ask, true), &stamp(), Framing::JsonArray)[0].to_vec();
        bytes.extend_from_slice(&error_frame(1, Framing::JsonArray));
        let records: Vec<Value> = serde_json::from_slice(&bytes).expect("an array");
        assert_eq!(records[1]["error"]["status"], "INTERNAL");
    }

    #[test]
    fn a_bad_key_is_an_invalid_argument() {
        let reply = problem(&Problem::BadCredential);
        assert_eq!((reply.status, reply.body["error"]["details"][0]["reason"].as_str()), (400, Some("API_KEY_INVALID")));
    }
}
