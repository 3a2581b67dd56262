//! A conversation in no dialect, written in each of the four.

use proptest::prelude::*;
use serde_json::{Value, json};
use tallygate_types::Dialect;

use crate::meaning::{Event, Meaning};

pub const PNG: &str = "iVBORw0KGgoAAAANSUhEUg==";

#[derive(Debug, Clone)]
pub struct Talk {
    pub system: Option<String>,
    pub exchanges: Vec<Exchange>,
    /// What the user says last.
    pub last: Vec<Piece>,
    pub choice: Choice,
    pub max_tokens: u64,
    pub temperature: Option<f64>,
}

#[derive(Debug, Clone)]
pub struct Exchange {
    pub user: Vec<Piece>,
    pub text: Option<String>,
    pub calls: Vec<Call>,
}

#[derive(Debug, Clone)]
pub struct Call {
    pub id: String,
    pub name: &'static str,
    pub arguments: Value,
    pub result: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    Text(String),
    Image,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choice {
    Auto,
    None,
    Required,
    Named,
}

pub const TOOLS: [&str; 2] = ["f", "get_weather"];

impl Talk {
    pub fn meaning(&self) -> Meaning {
        let mut meaning = Meaning { system: self.system.clone().unwrap_or_default(), ..Meaning::default() };
        let pieces = |pieces: &[Piece]| {
            pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => text.clone(),
                    Piece::Image => format!("image {PNG}"),
                })
                .collect::<Vec<_>>()
        };
        for exchange in &self.exchanges {
            meaning.user(pieces(&exchange.user));
            meaning.events.push(Event::Model {
                text: exchange.text.clone().unwrap_or_default(),
                calls: exchange.calls.iter().map(|call| (call.name.to_owned(), call.arguments.clone())).collect(),
            });
            for (position, call) in exchange.calls.iter().enumerate() {
                meaning.result(position, &call.result);
            }
        }
        meaning.user(pieces(&self.last));
        meaning.tools = TOOLS.iter().map(|name| ((*name).to_owned(), vec!["city".to_owned(), "n".to_owned()])).collect();
        meaning.choice = match self.choice {
            Choice::Named => "f".into(),
            choice => word(choice).into(),
        };
        meaning.max_tokens = Some(self.max_tokens);
        meaning.temperature = self.temperature;
        meaning
    }

    pub fn written(&self, dialect: Dialect, stream: bool) -> Value {
        match dialect {
            Dialect::OpenaiChat => self.chat(stream),
            Dialect::OpenaiResponses => self.responses(stream),
            Dialect::Anthropic => self.messages(stream),
            Dialect::Gemini => self.gemini(),
        }
    }

    fn chat(&self, stream: bool) -> Value {
        let content = |pieces: &[Piece]| {
            pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => json!({"type": "text", "text": text}),
                    Piece::Image => json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}")}}),
                })
                .collect::<Vec<_>>()
        };
        let mut messages: Vec<Value> = self.system.iter().map(|text| json!({"role": "system", "content": text})).collect();
        for exchange in &self.exchanges {
            messages.push(json!({"role": "user", "content": content(&exchange.user)}));
            let mut message = json!({"role": "assistant", "content": exchange.text});
            if !exchange.calls.is_empty() {
                message["tool_calls"] = exchange
                    .calls
                    .iter()
                    .map(|call| {
                        json!({"id": call.id, "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments.to_string()}})
                    })
                    .collect();
            }
            messages.push(message);
            messages.extend(
                exchange.calls.iter().map(|call| json!({"role": "tool", "tool_call_id": call.id, "content": call.result})),
            );
        }
        messages.push(json!({"role": "user", "content": content(&self.last)}));
        let tools: Vec<Value> =
            TOOLS.iter().map(|name| json!({"type": "function", "function": {"name": name, "parameters": schema()}})).collect();
        let choice = match self.choice {
            Choice::Named => json!({"type": "function", "function": {"name": "f"}}),
            choice => word(choice).into(),
        };
        with_temperature(
            json!({"model": "smart", "stream": stream, "stream_options": {"include_usage": true}, "messages": messages,
            "tools": tools, "tool_choice": choice, "max_completion_tokens": self.max_tokens}),
            self.temperature,
        )
    }

    fn responses(&self, stream: bool) -> Value {
        let content = |pieces: &[Piece]| {
            pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => json!({"type": "input_text", "text": text}),
                    Piece::Image => json!({"type": "input_image", "image_url": format!("data:image/png;base64,{PNG}")}),
                })
                .collect::<Vec<_>>()
        };
        let mut items: Vec<Value> = Vec::new();
        for exchange in &self.exchanges {
            items.push(json!({"type": "message", "role": "user", "content": content(&exchange.user)}));
            items.extend(exchange.text.iter().map(|text| {
                json!({"type": "message", "role": "assistant",
                "content": [{"type": "output_text", "text": text, "annotations": []}]})
            }));
            items.extend(exchange.calls.iter().map(|call| {
                json!({"type": "function_call", "call_id": call.id, "name": call.name,
                "arguments": call.arguments.to_string()})
            }));
            items.extend(
                exchange
                    .calls
                    .iter()
                    .map(|call| json!({"type": "function_call_output", "call_id": call.id, "output": call.result})),
            );
        }
        items.push(json!({"type": "message", "role": "user", "content": content(&self.last)}));
        let tools: Vec<Value> =
            TOOLS.iter().map(|name| json!({"type": "function", "name": name, "parameters": schema(), "strict": false})).collect();
        let choice = match self.choice {
            Choice::Named => json!({"type": "function", "name": "f"}),
            choice => word(choice).into(),
        };
        let mut body = json!({"model": "smart", "stream": stream, "input": items, "tools": tools, "tool_choice": choice,
            "max_output_tokens": self.max_tokens, "store": false});
        if let Some(system) = &self.system {
            body["instructions"] = system.as_str().into();
        }
        with_temperature(body, self.temperature)
    }

    fn messages(&self, stream: bool) -> Value {
        let content = |pieces: &[Piece]| {
            pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => json!({"type": "text", "text": text}),
                    Piece::Image => {
                        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}})
                    }
                })
                .collect::<Vec<_>>()
        };
        let mut messages: Vec<Value> = Vec::new();
        let mut results: Vec<Value> = Vec::new();
        for exchange in &self.exchanges {
            results.extend(content(&exchange.user));
            messages.push(json!({"role": "user", "content": std::mem::take(&mut results)}));
            let text = exchange.text.iter().map(|text| json!({"type": "text", "text": text}));
            let calls = exchange
                .calls
                .iter()
                .map(|call| json!({"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}));
            messages.push(json!({"role": "assistant", "content": text.chain(calls).collect::<Vec<_>>()}));
            results.extend(
                exchange.calls.iter().map(|call| json!({"type": "tool_result", "tool_use_id": call.id, "content": call.result})),
            );
        }
        results.extend(content(&self.last));
        messages.push(json!({"role": "user", "content": results}));
        let tools: Vec<Value> = TOOLS.iter().map(|name| json!({"name": name, "input_schema": schema()})).collect();
        let choice = match self.choice {
            Choice::Auto => json!({"type": "auto"}),
            Choice::None => json!({"type": "none"}),
            Choice::Required => json!({"type": "any"}),
            Choice::Named => json!({"type": "tool", "name": "f"}),
        };
        let mut body = json!({"model": "smart", "stream": stream, "messages": messages, "tools": tools, "tool_choice": choice,
            "max_tokens": self.max_tokens});
        if let Some(system) = &self.system {
            body["system"] = system.as_str().into();
        }
        with_temperature(body, self.temperature)
    }

    fn gemini(&self) -> Value {
        let parts = |pieces: &[Piece]| {
            pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => json!({ "text": text }),
                    Piece::Image => json!({"inlineData": {"mimeType": "image/png", "data": PNG}}),
                })
                .collect::<Vec<_>>()
        };
        let mut contents: Vec<Value> = Vec::new();
        for exchange in &self.exchanges {
            contents.push(json!({"role": "user", "parts": parts(&exchange.user)}));
            let text = exchange.text.iter().map(|text| json!({ "text": text }));
            let calls = exchange
                .calls
                .iter()
                .map(|call| json!({"functionCall": {"id": call.id, "name": call.name, "args": call.arguments}}));
            contents.push(json!({"role": "model", "parts": text.chain(calls).collect::<Vec<_>>()}));
            if !exchange.calls.is_empty() {
                let results: Vec<Value> = exchange
                    .calls
                    .iter()
                    .map(|call| {
                        let object = serde_json::from_str::<Value>(&call.result).ok().filter(Value::is_object);
                        let response = object.unwrap_or_else(|| json!({"output": call.result}));
                        json!({"functionResponse": {"id": call.id, "name": call.name, "response": response}})
                    })
                    .collect();
                contents.push(json!({"role": "user", "parts": results}));
            }
        }
        contents.push(json!({"role": "user", "parts": parts(&self.last)}));
        let declarations: Vec<Value> = TOOLS.iter().map(|name| json!({"name": name, "parametersJsonSchema": schema()})).collect();
        let mode = match self.choice {
            Choice::Auto => json!({"mode": "AUTO"}),
            Choice::None => json!({"mode": "NONE"}),
            Choice::Required => json!({"mode": "ANY"}),
            Choice::Named => json!({"mode": "ANY", "allowedFunctionNames": ["f"]}),
        };
        let mut body = json!({"contents": contents, "tools": [{"functionDeclarations": declarations}],
            "toolConfig": {"functionCallingConfig": mode}, "generationConfig": {"maxOutputTokens": self.max_tokens, "thinkingConfig": {"includeThoughts": true}}});
        if let Some(system) = &self.system {
            body["systemInstruction"] = json!({"parts": [{"text": system}]});
        }
        if let Some(temperature) = self.temperature {
            body["generationConfig"]["temperature"] = temperature.into();
        }
        body
    }
}

fn word(choice: Choice) -> &'static str {
    match choice {
        Choice::Auto => "auto",
        Choice::None => "none",
        Choice::Required | Choice::Named => "required",
    }
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string", "description": "Where"}, "n": {"type": "integer"}}, "required": ["city"]})
}

fn with_temperature(mut body: Value, temperature: Option<f64>) -> Value {
    if let Some(temperature) = temperature {
        body["temperature"] = temperature.into();
    }
    body
}

/// Text with what breaks careless framing and cutting.
pub fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zA-Z0-9 ,.äß漢🙂\"'\\\\{}<>\n\t]{0,30}[a-z]",
        1 => Just("data: [DONE]\n\nevent: x".to_owned()),
    ]
}

pub fn arguments() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        words().prop_map(|text| json!({ "city": text })),
        (any::<i32>(), words()).prop_map(|(n, text)| json!({"n": n, "deep": [null, {"a": text}], "half": 0.5})),
    ]
}

fn said() -> impl Strategy<Value = Vec<Piece>> {
    prop::collection::vec(prop_oneof![4 => words().prop_map(Piece::Text), 1 => Just(Piece::Image)], 1..3)
}

pub fn talk() -> impl Strategy<Value = Talk> {
    let result = prop_oneof![words(), arguments().prop_map(|value| value.to_string()), Just("[1]".to_owned())];
    let call = (prop::sample::select(TOOLS.to_vec()), arguments(), result);
    let exchange = (said(), prop::option::of(words()), prop::collection::vec(call, 0..3))
        .prop_filter("the model says something", |(_, text, calls)| text.is_some() || !calls.is_empty());
    let choice = prop::sample::select(vec![Choice::Auto, Choice::None, Choice::Required, Choice::Named]);
    let exchanges = prop::collection::vec(exchange, 0..4);
    (
        prop::option::of(words()),
        exchanges,
        said(),
        choice,
        16_u64..4_000,
        prop::option::of(prop::sample::select(vec![0.0, 0.5, 0.75])),
    )
        .prop_map(|(system, exchanges, last, choice, max_tokens, temperature)| {
            let mut number = 0;
            let exchanges = exchanges
                .into_iter()
                .map(|(user, text, calls)| {
                    let calls = calls
                        .into_iter()
                        .map(|(name, arguments, result)| {
                            number += 1;
                            Call { id: format!("call_{number}"), name, arguments, result }
                        })
                        .collect();
                    Exchange { user, text, calls }
                })
                .collect();
            Talk { system, exchanges, last, choice, max_tokens, temperature }
        })
}
