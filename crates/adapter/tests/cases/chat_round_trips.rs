//! There and back again: case b87.

use proptest::prelude::*;
use serde_json::{Value, json};
use tallygate_types::Dialect;

use crate::support::to;

/// What a history says, in no dialect: ids stand for pairing, which is said by position.
#[derive(Debug, Clone, PartialEq)]
enum Said {
    System(String),
    /// The texts of neighbouring user messages.
    User(Vec<String>),
    Assistant {
        text: String,
        calls: Vec<(String, Value)>,
        /// Position of the call, and what came of it.
        results: Vec<(usize, Value)>,
    },
}

/// What a chat body says.
fn said(body: &Value) -> Vec<Said> {
    let mut history: Vec<Said> = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    for message in body["messages"].as_array().unwrap() {
        let texts = texts(&message["content"]);
        match message["role"].as_str().unwrap() {
            "system" | "developer" => match history.last_mut() {
                Some(Said::System(text)) => *text += &texts.concat(),
                _ => history.push(Said::System(texts.concat())),
            },
            "user" => match history.last_mut() {
                Some(Said::User(known)) => known.extend(texts),
                _ => history.push(Said::User(texts)),
            },
            "assistant" => {
                let calls: Vec<&Value> = message["tool_calls"].as_array().into_iter().flatten().collect();
                ids = calls.iter().map(|call| call["id"].as_str().unwrap().to_owned()).collect();
                let call = |call: &&Value| {
                    let function = &call["function"];
                    let arguments = serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap();
                    (function["name"].as_str().unwrap().to_owned(), arguments)
                };
                history.push(Said::Assistant {
                    text: texts.concat(),
                    calls: calls.iter().map(call).collect(),
                    results: Vec::new(),
                });
            }
            "tool" => {
                let Some(Said::Assistant { results, .. }) = history.last_mut() else { panic!("a result without calls: {body}") };
                let call = ids.iter().position(|id| id == message["tool_call_id"].as_str().unwrap()).unwrap();
                let text = texts.concat();
                // What a server holds as an object has no spelling.
                let object = serde_json::from_str::<Value>(&text).ok().filter(Value::is_object);
                results.push((call, object.unwrap_or(Value::String(text))));
            }
            other => panic!("unknown role {other}"),
        }
    }
    history
}

fn texts(content: &Value) -> Vec<String> {
    match content {
        Value::Null => Vec::new(),
        Value::String(text) => vec![text.clone()],
        Value::Array(parts) => parts.iter().map(|part| part["text"].as_str().unwrap().to_owned()).collect(),
        other => panic!("not a content: {other}"),
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9 ,.äß漢🙂\"'\\\\{}<>\n\t]{0,40}[a-z]",
        Just("data: [DONE]\n\nevent: x".to_owned()),
        Just("{\"not\": \"a call\"}".to_owned()),
    ]
}

fn arguments() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        text().prop_map(|text| json!({ "text": text })),
        (any::<i32>(), any::<bool>()).prop_map(|(n, b)| json!({"n": n, "list": [b, null, {"deep": {"er": -0.5}}]})),
    ]
}

fn result() -> impl Strategy<Value = String> {
    prop_oneof![text(), Just(String::new()), Just("[1,2]".to_owned()), arguments().prop_map(|value| value.to_string())]
}

/// One message of the assistant: its text and its calls, each with its result; the results come in an order of their own.
fn answer() -> impl Strategy<Value = (Option<String>, Vec<(String, Value, String)>, bool)> {
    let call = (prop_oneof![Just("f"), Just("get_weather"), Just("mcp__fs__read")], arguments(), result());
    let calls = prop::collection::vec(call.prop_map(|(name, arguments, result)| (name.to_owned(), arguments, result)), 0..4);
    (prop::option::of(text()), calls, any::<bool>())
        .prop_filter("says something", |(text, calls, _)| text.is_some() || !calls.is_empty())
}

/// A request whose history is legal at OpenAI.
fn request() -> impl Strategy<Value = Value> {
    let users = prop::collection::vec(text(), 1..3);
    let turns = prop::collection::vec((users, prop::collection::vec(answer(), 0..3)), 1..4);
    (prop::option::of(text()), turns, text()).prop_map(|(system, turns, last)| {
        let mut messages: Vec<Value> = system.into_iter().map(|text| json!({"role": "system", "content": text})).collect();
        let mut number = 0;
        for (users, answers) in turns {
            messages.extend(users.into_iter().map(|text| json!({"role": "user", "content": text})));
            for (text, calls, reversed) in answers {
                let mut message = json!({"role": "assistant", "content": text});
                let mut results = Vec::new();
                for (name, arguments, result) in calls {
                    number += 1;
                    let id = format!("call_{number}");
                    let call =
                        json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments.to_string()}});
                    if message.get("tool_calls").is_none() {
                        message["tool_calls"] = json!([]);
                    }
                    message["tool_calls"].as_array_mut().unwrap().push(call);
                    results.push(json!({"role": "tool", "tool_call_id": id, "content": result}));
                }
                if reversed {
                    results.reverse();
                }
                let is_text_only = results.is_empty();
                messages.push(message);
                messages.extend(results);
                if is_text_only {
                    // Two answers in a row are one to servers that want turns to alternate.
                    messages.push(json!({"role": "user", "content": "go on"}));
                }
            }
        }
        messages.push(json!({"role": "user", "content": last}));
        let tool = |name: &str| {
            json!({"type": "function", "function": {"name": name, "description": "d",
                "parameters": {"type": "object", "properties": {"text": {"type": "string"}}}}})
        };
        json!({"model": "smart", "max_tokens": 100, "messages": messages,
            "tools": [tool("f"), tool("get_weather"), tool("mcp__fs__read")]})
    })
}

/// The chat body that comes back from `dialect`.
fn there_and_back(request: &Value, dialect: Dialect, model: &str) -> Value {
    let there = to(Dialect::OpenaiChat, dialect, model).body(request);
    to(dialect, Dialect::OpenaiChat, "gpt-4o").body(&there)
}

/// Results by call, for servers that want them in the order of their calls.
fn in_order(mut history: Vec<Said>) -> Vec<Said> {
    for said in &mut history {
        if let Said::Assistant { results, .. } = said {
            results.sort_by_key(|(call, _)| *call);
        }
    }
    history
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn case_b87_a_chat_history_comes_back_from_gemini(request in request()) {
        let back = there_and_back(&request, Dialect::Gemini, "gemini-2.5-flash");
        prop_assert_eq!(said(&back), in_order(said(&request)));
        prop_assert_eq!(&back["tools"], &request["tools"]);
    }

    #[test]
    fn case_b87_a_chat_history_comes_back_from_responses(request in request()) {
        let back = there_and_back(&request, Dialect::OpenaiResponses, "gpt-4o");
        // Read from Responses items, results are put in the order of their calls.
        prop_assert_eq!(said(&back), in_order(said(&request)));
    }

    #[test]
    fn case_b87_a_chat_history_comes_back_from_messages(request in request()) {
        let back = there_and_back(&request, Dialect::Anthropic, "claude-sonnet-4-5");
        prop_assert_eq!(in_order(said(&back)), in_order(said(&request)));
        prop_assert_eq!(&back["tools"], &request["tools"]);
    }
}
