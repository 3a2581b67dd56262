//! What each vendor's SDK makes of a stream: the answer it would have got whole.

use serde_json::{Value, json};
use tallygate_types::Dialect;

use crate::common::{data, gather_chat};

pub fn gathered(client: Dialect, stream: &str) -> Value {
    match client {
        Dialect::OpenaiChat => gather_chat(stream),
        Dialect::OpenaiResponses => data(stream).pop().unwrap()["response"].take(),
        Dialect::Anthropic => messages(stream),
        Dialect::Gemini => gemini(stream),
    }
}

/// The same answer in the one form both ways of getting it agree on.
pub fn settled(client: Dialect, mut answer: Value) -> Value {
    match client {
        // A stream opens with empty content before it knows that only calls follow.
        Dialect::OpenaiChat => {
            let message = &mut answer["choices"][0]["message"];
            if message["content"] == "" && message.get("tool_calls").is_some() {
                message["content"] = Value::Null;
            }
        }
        Dialect::Gemini => {
            let parts = answer["candidates"][0]["content"]["parts"].as_array_mut().unwrap();
            *parts = joined(std::mem::take(parts));
        }
        _ => {}
    }
    answer
}

fn gemini(stream: &str) -> Value {
    let mut whole = Value::Null;
    let mut parts = Vec::new();
    for mut event in data(stream) {
        parts.append(event["candidates"][0]["content"]["parts"].as_array_mut().unwrap());
        whole = event;
    }
    whole["candidates"][0]["content"]["parts"] = parts.into();
    whole
}

/// Neighbouring texts of one kind are one, and empty ones none.
fn joined(parts: Vec<Value>) -> Vec<Value> {
    let mut joined: Vec<Value> = Vec::new();
    for part in parts {
        let text = part["text"].as_str();
        if text == Some("") && part.as_object().unwrap().len() == 1 {
            continue;
        }
        match (joined.last_mut(), text) {
            (Some(last), Some(text)) if last["text"].is_string() && last["thought"] == part["thought"] => {
                last["text"] = format!("{}{text}", last["text"].as_str().unwrap()).into();
                for (field, value) in part.as_object().unwrap().iter().filter(|(field, _)| *field != "text") {
                    last[field] = value.clone();
                }
            }
            _ => joined.push(part),
        }
    }
    if joined.is_empty() { vec![json!({"text": ""})] } else { joined }
}

/// What Anthropic's SDK makes of a stream; checks on the way that blocks never overlap.
fn messages(stream: &str) -> Value {
    let mut message = Value::Null;
    let mut open = None;
    let mut json_text = String::new();
    for event in data(stream) {
        let index = event["index"].as_u64().map(|index| index as usize);
        match event["type"].as_str().unwrap() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                assert_eq!((open, index), (None, Some(message["content"].as_array().unwrap().len())));
                open = index;
                json_text.clear();
                message["content"].as_array_mut().unwrap().push(event["content_block"].clone());
            }
            "content_block_delta" => {
                assert_eq!(open, index);
                let block = &mut message["content"][index.unwrap()];
                for (field, value) in event["delta"].as_object().unwrap().iter().filter(|(field, _)| *field != "type") {
                    match field.as_str() {
                        "partial_json" => json_text += value.as_str().unwrap(),
                        "signature" => block["signature"] = value.clone(),
                        field => block[field] = format!("{}{}", block[field].as_str().unwrap(), value.as_str().unwrap()).into(),
                    }
                }
            }
            "content_block_stop" => {
                assert_eq!(open.take(), index);
                if !json_text.is_empty() {
                    message["content"][index.unwrap()]["input"] = serde_json::from_str(&json_text).unwrap();
                }
            }
            "message_delta" => {
                for part in [&event["delta"], &event["usage"]] {
                    let target = if part.get("output_tokens").is_some() { &mut message["usage"] } else { &mut message };
                    for (field, value) in part.as_object().unwrap() {
                        target[field] = value.clone();
                    }
                }
            }
            _ => {}
        }
    }
    message
}
