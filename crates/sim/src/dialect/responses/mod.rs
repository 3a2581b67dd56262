//! OpenAI Responses: `POST /v1/responses`.

use bytes::Bytes;
use serde_json::{Value, json};

mod rules;

use super::{Dialect, Problem, Stamp, model_of};
use crate::answer::{self, Answer, Finish};
use crate::conversation::{Ask, Choice, Format, Image, PastCall, Said, Tool, text_bytes, text_of};
use crate::seal::{Digest, Kind, Seal};

pub(super) fn parse(body: &Value) -> Result<Ask, Problem> {
    let model = model_of(body)?;
    let as_message;
    let items: &[Value] = match &body["input"] {
        Value::String(text) => {
            as_message = [json!({"role": "user", "content": text})];
            &as_message
        }
        Value::Array(items) => items,
        _ => return Err(Problem::invalid("Missing required parameter: 'input'.", "input")),
    };
    let returned = rules::check(body, items)?;
    let last_user = items.iter().rev().find(|item| item["role"] == "user").unwrap_or(&Value::Null);
    let mut tool_results: Vec<String> = items
        .iter()
        .rev()
        .take_while(|item| item["type"] == "function_call_output")
        .map(|item| text_of(&item["output"]))
        .collect();
    tool_results.reverse();
    Ok(Ask {
        model,
        stream: body["stream"] == true,
        user_text: text_of(&last_user["content"]),
        tool_results,
        images: images(&last_user["content"]),
        tools: tools(&body["tools"]),
        choice: choice(&body["tool_choice"]),
        single_call: body["parallel_tool_calls"] == false,
        max_output: body["max_output_tokens"].as_u64(),
        reasoning: rules::reasons(body),
        show_reasoning: body["reasoning"]["summary"].is_string(),
        format: match &body["text"]["format"] {
            format if format["type"] == "json_schema" => Format::Json(format["schema"].clone()),
            format if format["type"] == "json_object" => Format::Json(json!({"type": "object"})),
            _ => Format::Text,
        },
        cache_write: None,
        stream_usage: true,
        input_bytes: text_bytes(&body["input"]) + text_bytes(&body["tools"]) + text_bytes(&body["instructions"]),
        history: history(items),
        returned,
        encrypts: body["include"].as_array().into_iter().flatten().any(|wanted| wanted == "reasoning.encrypted_content"),
        stores: body["store"] != false,
        stored_items: rules::stored_items(items),
        ..Ask::default()
    })
}

fn history(items: &[Value]) -> Vec<Said> {
    let mut history = Vec::new();
    let mut reasoned = false;
    for item in items {
        if rules::is_models(item) {
            if !matches!(history.last(), Some(Said::Model(_))) {
                reasoned = false;
                history.push(Said::Model(Vec::new()));
            }
            reasoned |= item["type"] == "reasoning";
            if let Some(Said::Model(calls)) = history.last_mut().filter(|_| item["type"] == "function_call") {
                calls.push(PastCall {
                    id: item["call_id"].as_str().map(str::to_owned),
                    name: item["name"].as_str().unwrap_or_default().to_owned(),
                    arguments: rules::arguments_of(item),
                    item: item["id"].as_str().map(str::to_owned),
                    reasoned,
                });
            }
        } else if item["type"] == "function_call_output" {
            let result = text_of(&item["output"]);
            match history.last_mut() {
                Some(Said::Results(results)) => results.push(result),
                _ => history.push(Said::Results(vec![result])),
            }
        } else if item["role"] == "user" {
            history.push(Said::User(text_of(&item["content"])));
        }
    }
    history
}

fn images(content: &Value) -> Vec<Image> {
    let parts = content.as_array().map_or(&[][..], Vec::as_slice);
    parts
        .iter()
        .filter(|part| part["type"] == "input_image")
        .filter_map(|part| part["image_url"].as_str())
        .map(Image::from_url)
        .collect()
}

fn tools(tools: &Value) -> Vec<Tool> {
    let tools = tools.as_array().map_or(&[][..], Vec::as_slice);
    tools
        .iter()
        .filter(|tool| tool["type"] == "function")
        .filter_map(|tool| Some(Tool { name: tool["name"].as_str()?.to_owned(), schema: tool["parameters"].clone() }))
        .collect()
}

fn choice(choice: &Value) -> Choice {
    match (choice.as_str(), choice["type"].as_str(), choice["name"].as_str()) {
        (Some("none"), ..) => Choice::Never,
        (Some("required"), ..) => Choice::Any,
        (_, Some("function"), Some(name)) => Choice::Named(name.to_owned()),
        _ => Choice::Auto,
    }
}

fn usage(answer: &Answer) -> Value {
    let usage = &answer.usage;
    json!({
        "input_tokens": usage.input(),
        "input_tokens_details": {"cached_tokens": usage.input_cache_read, "cache_write_tokens": usage.cache_write()},
        "output_tokens": usage.output(),
        "output_tokens_details": {"reasoning_tokens": usage.output_reasoning},
        "total_tokens": usage.total(),
    })
}

/// The response object without output and usage, as `response.created` carries it.
fn shell(ask: &Ask, stamp: &Stamp) -> Value {
    let tools: Vec<Value> = ask
        .tools
        .iter()
        .map(|tool| {
            let name = &tool.name;
            json!({"type": "function", "name": name, "description": null, "parameters": tool.schema, "strict": false})
        })
        .collect();
    let tool_choice = match &ask.choice {
        Choice::Auto => json!("auto"),
        Choice::Never => json!("none"),
        Choice::Any => json!("required"),
        Choice::Named(name) => json!({"type": "function", "name": name}),
    };
    json!({
        "id": format!("resp_sim{:08x}", stamp.seq),
        "object": "response",
        "created_at": stamp.created,
        "status": "in_progress",
        "background": false,
        "completed_at": null,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "max_output_tokens": ask.max_output,
        "max_tool_calls": null,
        "model": ask.model,
        "output": [],
        "parallel_tool_calls": !ask.single_call,
        "previous_response_id": null,
        "prompt_cache_key": null,
        "reasoning": {"effort": null, "summary": null},
        "safety_identifier": null,
        "service_tier": "default",
        "store": ask.stores,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": tool_choice,
        "tools": tools,
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "metadata": {},
    })
}

/// The finished response.
pub(super) fn whole(ask: &Ask, answer: &Answer, stamp: &Stamp) -> Value {
    let mut body = shell(ask, stamp);
    body["output"] = Value::Array(output(ask, answer, stamp));
    if answer.finish == Finish::Length {
        body["status"] = json!("incomplete");
        body["incomplete_details"] = json!({"reason": "max_output_tokens"});
    } else {
        body["status"] = json!("completed");
        body["completed_at"] = json!(stamp.created);
    }
    if answer.report_usage {
        body["usage"] = usage(answer);
    }
    body
}

fn output(ask: &Ask, answer: &Answer, stamp: &Stamp) -> Vec<Value> {
    let mut items = Vec::new();
    if let Some(reasoning) = &answer.reasoning {
        let summary = if ask.show_reasoning { json!([{"type": "summary_text", "text": reasoning}]) } else { json!([]) };
        let mut item = json!({"id": reasoning_id(stamp), "type": "reasoning", "summary": summary});
        if ask.encrypts {
            let (model, nothing) = (ask.model.clone(), Digest::default());
            let seal = Seal { kind: Kind::OpenAiReasoning, model, content: nothing, prefix: nothing };
            item["encrypted_content"] = json!(format!("{}{}", rules::CIPHERTEXT, seal.to_url_safe()));
        }
        items.push(item);
    }
    let status = if answer.finish == Finish::Length { "incomplete" } else { "completed" };
    if !answer.text.is_empty() {
        items.push(json!({
            "id": format!("msg_sim{:08x}", stamp.seq), "type": "message", "role": "assistant", "status": status,
            "content": [text_part(&answer.text)]}));
    }
    for (at, call) in answer.calls.iter().enumerate() {
        items.push(json!({
            "id": format!("fc_sim{:08x}{at}", stamp.seq), "type": "function_call", "status": status,
            "call_id": Dialect::OpenaiResponses.call_id(stamp, at), "name": call.name,
            "arguments": call.arguments.to_string()}));
    }
    items
}

/// The id of an answer's reasoning item.
pub(super) fn reasoning_id(stamp: &Stamp) -> String {
    format!("rs_sim{:08x}", stamp.seq)
}

/// The ids of all items of an answer.
pub(super) fn item_ids(ask: &Ask, answer: &Answer, stamp: &Stamp) -> Vec<String> {
    output(ask, answer, stamp).iter().filter_map(|item| item["id"].as_str().map(str::to_owned)).collect()
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

/// Numbers the events of one stream.
#[derive(Default)]
struct Events {
    frames: Vec<Bytes>,
}

impl Events {
    fn push(&mut self, mut body: Value) {
        body["sequence_number"] = json!(self.frames.len());
        let name = body["type"].as_str().unwrap_or_default();
        self.frames.push(Bytes::from(format!("event: {name}\ndata: {body}\n\n")));
    }
}

pub(super) fn frames(ask: &Ask, answer: &Answer, stamp: &Stamp) -> Vec<Bytes> {
    let mut events = Events::default();
    let opening = shell(ask, stamp);
    events.push(json!({"type": "response.created", "response": opening}));
    events.push(json!({"type": "response.in_progress", "response": opening}));
    for (index, item) in output(ask, answer, stamp).iter().enumerate() {
        match item["type"].as_str() {
            Some("reasoning") => stream_reasoning(&mut events, index, item),
            Some("message") => stream_message(&mut events, index, item),
            _ => stream_call(&mut events, index, item),
        }
    }
    let last = whole(ask, answer, stamp);
    let kind = if answer.finish == Finish::Length { "response.incomplete" } else { "response.completed" };
    events.push(json!({"type": kind, "response": last}));
    events.frames
}

fn added(events: &mut Events, index: usize, item: &Value, emptied: &str, empty: Value) {
    let mut skeleton = item.clone();
    skeleton[emptied] = empty;
    if skeleton.get("status").is_some() {
        skeleton["status"] = json!("in_progress");
    }
    events.push(json!({"type": "response.output_item.added", "output_index": index, "item": skeleton}));
}

fn done(events: &mut Events, index: usize, item: &Value) {
    events.push(json!({"type": "response.output_item.done", "output_index": index, "item": item}));
}

fn stream_reasoning(events: &mut Events, index: usize, item: &Value) {
    added(events, index, item, "summary", json!([]));
    let id = &item["id"];
    if let Some(text) = item["summary"][0]["text"].as_str() {
        let event = |kind: &str, field: &str, value: Value| {
            json!({"type": format!("response.reasoning_summary_{kind}"), "item_id": id, "output_index": index,
                "summary_index": 0, field: value})
        };
        let part = |text: &str| json!({"type": "summary_text", "text": text});
        events.push(event("part.added", "part", part("")));
        for chunk in answer::text_chunks(text) {
            events.push(event("text.delta", "delta", json!(chunk)));
        }
        events.push(event("text.done", "text", json!(text)));
        events.push(event("part.done", "part", part(text)));
    }
    done(events, index, item);
}

fn stream_message(events: &mut Events, index: usize, item: &Value) {
    added(events, index, item, "content", json!([]));
    let text = item["content"][0]["text"].as_str().unwrap_or_default();
    let event = |kind: &str, field: &str, value: Value| {
        json!({"type": format!("response.{kind}"), "item_id": item["id"], "output_index": index,
            "content_index": 0, field: value})
    };
    events.push(event("content_part.added", "part", text_part("")));
    for chunk in answer::text_chunks(text) {
        let mut delta = event("output_text.delta", "delta", json!(chunk));
        delta["logprobs"] = json!([]);
        events.push(delta);
    }
    let mut whole = event("output_text.done", "text", json!(text));
    whole["logprobs"] = json!([]);
    events.push(whole);
    events.push(event("content_part.done", "part", text_part(text)));
    done(events, index, item);
}

fn stream_call(events: &mut Events, index: usize, item: &Value) {
    added(events, index, item, "arguments", json!(""));
    let arguments = item["arguments"].as_str().unwrap_or_default();
    let event = |kind: &str, field: &str, value: Value| {
        json!({"type": format!("response.function_call_arguments.{kind}"), "item_id": item["id"],
            "output_index": index, field: value})
    };
    for chunk in answer::argument_chunks(arguments) {
        events.push(event("delta", "delta", json!(chunk)));
    }
    let mut whole = event("done", "arguments", json!(arguments));
    whole["name"] = item["name"].clone();
    events.push(whole);
    done(events, index, item);
}

pub(super) fn error_frame(sent: usize) -> Bytes {
    let body = json!({
        "type": "error",
        "code": "server_error",
        "message": "The server had an error while processing your request.",
        "param": null,
        "sequence_number": sent,
    });
    Bytes::from(format!("event: error\ndata: {body}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp() -> Stamp {
        Stamp { seq: 7, created: 1_700_000_000, request_id: "req_7".to_owned() }
    }

    fn events(request: &Value) -> Vec<Value> {
        let ask = parse(request).expect("a good request");
        frames(&ask, &answer::compose(&ask, false), &stamp())
            .iter()
            .map(|frame| {
                let text = String::from_utf8_lossy(frame).into_owned();
                let data = text.lines().nth(1).and_then(|line| line.strip_prefix("data: ")).unwrap_or_default();
                serde_json::from_str(data).expect("an event is JSON")
            })
            .collect()
    }

    #[test]
    fn events_are_numbered_without_gaps_and_end_in_completed() {
        let events = events(&json!({"model": "gpt-sim-think", "input": "hi", "reasoning": {"summary": "auto"}}));
        for (at, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], at);
        }
        assert_eq!(events[0]["type"], "response.created");
        let last = &events[events.len() - 1];
        assert_eq!(last["type"], "response.completed");
        assert_eq!(last["response"]["usage"]["output_tokens_details"]["reasoning_tokens"], 13);
        let done: Vec<&Value> = events.iter().filter(|event| event["type"] == "response.output_item.done").collect();
        assert_eq!(last["response"]["output"][1], done[1]["item"]);
    }

    #[test]
    fn a_forced_tool_is_called() {
        let tool = json!({"type": "function", "name": "f", "parameters": {"properties": {"n": {"type": "integer"}}}});
        let choice = json!({"type": "function", "name": "f"});
        let events = events(&json!({"model": "gpt-sim", "input": "hi", "tools": [tool], "tool_choice": choice}));
        let item = &events[events.len() - 1]["response"]["output"][0];
        assert_eq!(item["arguments"], "{\"n\":1}");
        assert_eq!(item["type"], "function_call");
    }

    #[test]
    fn a_capped_answer_is_incomplete() {
        let events = events(&json!({"model": "gpt-sim", "input": "words=50", "max_output_tokens": 5}));
        let last = &events[events.len() - 1];
        assert_eq!(last["type"], "response.incomplete");
        assert_eq!(last["response"]["incomplete_details"]["reason"], "max_output_tokens");
    }
}
