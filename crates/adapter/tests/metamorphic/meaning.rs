//! What a request says, read from its body in each of the four dialects.

use serde_json::{Value, json};
use tallygate_types::Dialect;

/// What a body says, in a form to compare.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Meaning {
    pub system: String,
    pub events: Vec<Event>,
    /// Name and properties of each tool.
    pub tools: Vec<(String, Vec<String>)>,
    pub choice: String,
    pub max_tokens: Option<u64>,
    pub temperature: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    User(Vec<String>),
    Model {
        text: String,
        calls: Vec<(String, Value)>,
    },
    /// By position of the call.
    Results(Vec<(usize, Value)>),
}

impl Meaning {
    /// Neighbours are one.
    pub fn user(&mut self, pieces: Vec<String>) {
        match self.events.last_mut() {
            Some(Event::User(known)) => known.extend(pieces),
            _ if pieces.is_empty() => {}
            _ => self.events.push(Event::User(pieces)),
        }
    }

    pub fn result(&mut self, call: usize, text: &str) {
        let object = serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
        let result = (call, object.unwrap_or_else(|| text.into()));
        match self.events.last_mut() {
            Some(Event::Results(known)) => known.push(result),
            _ => self.events.push(Event::Results(vec![result])),
        }
    }

    fn model(&mut self, more: &str, call: Option<(String, Value)>) {
        if !matches!(self.events.last(), Some(Event::Model { .. })) {
            self.events.push(Event::Model { text: String::new(), calls: Vec::new() });
        }
        if let Some(Event::Model { text, calls }) = self.events.last_mut() {
            *text += more;
            calls.extend(call);
        }
    }

    pub fn read(dialect: Dialect, body: &Value) -> Self {
        let mut meaning = Self::default();
        match dialect {
            Dialect::OpenaiChat => meaning.read_chat(body),
            Dialect::OpenaiResponses => meaning.read_responses(body),
            Dialect::Anthropic => meaning.read_messages(body),
            Dialect::Gemini => meaning.read_gemini(body),
        }
        meaning
    }

    fn tool(&mut self, name: &Value, schema: &Value) {
        let properties = schema["properties"].as_object().unwrap().keys().cloned().collect();
        self.tools.push((name.as_str().unwrap().to_owned(), properties));
    }

    fn read_chat(&mut self, body: &Value) {
        let mut ids: Vec<String> = Vec::new();
        for message in body["messages"].as_array().unwrap() {
            let pieces = pieces(&message["content"], |part| match part["type"].as_str().unwrap() {
                "text" => text(&part["text"]),
                "image_url" => image(text(&part["image_url"]["url"]).strip_prefix("data:image/png;base64,").unwrap()),
                other => panic!("{other}"),
            });
            match message["role"].as_str().unwrap() {
                "system" => self.system += &pieces.concat(),
                "user" => self.user(pieces),
                "tool" => {
                    let id = message["tool_call_id"].as_str().unwrap();
                    self.result(ids.iter().position(|known| known == id).unwrap(), &pieces.concat());
                }
                _ => {
                    self.model(&pieces.concat(), None);
                    ids.clear();
                    for call in message["tool_calls"].as_array().into_iter().flatten() {
                        ids.push(text(&call["id"]));
                        self.model("", Some((text(&call["function"]["name"]), parsed(&call["function"]["arguments"]))));
                    }
                }
            }
        }
        for tool in body["tools"].as_array().into_iter().flatten() {
            self.tool(&tool["function"]["name"], &tool["function"]["parameters"]);
        }
        self.choice = body["tool_choice"]
            .as_str()
            .unwrap_or_else(|| body["tool_choice"]["function"]["name"].as_str().unwrap_or("auto"))
            .into();
        self.max_tokens = body["max_completion_tokens"].as_u64().or(body["max_tokens"].as_u64());
        self.temperature = body["temperature"].as_f64();
    }

    fn read_responses(&mut self, body: &Value) {
        self.system = body["instructions"].as_str().unwrap_or_default().into();
        let mut ids: Vec<String> = Vec::new();
        for item in body["input"].as_array().unwrap() {
            match item["type"].as_str().unwrap_or("message") {
                "message" => {
                    let pieces = pieces(&item["content"], |part| match part["type"].as_str().unwrap() {
                        "input_text" | "output_text" => text(&part["text"]),
                        "input_image" => image(text(&part["image_url"]).strip_prefix("data:image/png;base64,").unwrap()),
                        other => panic!("{other}"),
                    });
                    match item["role"].as_str().unwrap() {
                        "user" => self.user(pieces),
                        "assistant" => self.model(&pieces.concat(), None),
                        _ => self.system += &pieces.concat(),
                    }
                }
                "function_call" => {
                    if !matches!(self.events.last(), Some(Event::Model { calls, .. }) if !calls.is_empty()) {
                        ids.clear();
                    }
                    ids.push(text(&item["call_id"]));
                    self.model("", Some((text(&item["name"]), parsed(&item["arguments"]))));
                }
                "function_call_output" => {
                    let id = item["call_id"].as_str().unwrap();
                    let said = pieces(&item["output"], |part| text(&part["text"])).concat();
                    self.result(ids.iter().position(|known| known == id).unwrap(), &said);
                }
                other => panic!("{other}"),
            }
        }
        for tool in body["tools"].as_array().into_iter().flatten() {
            self.tool(&tool["name"], &tool["parameters"]);
        }
        self.choice =
            body["tool_choice"].as_str().unwrap_or_else(|| body["tool_choice"]["name"].as_str().unwrap_or("auto")).into();
        self.max_tokens = body["max_output_tokens"].as_u64();
        self.temperature = body["temperature"].as_f64();
    }

    fn read_messages(&mut self, body: &Value) {
        self.system = pieces(&body["system"], |part| text(&part["text"])).concat();
        let mut ids: Vec<String> = Vec::new();
        for turn in body["messages"].as_array().unwrap() {
            let is_user = turn["role"] == "user";
            if !is_user {
                ids.clear();
            }
            let blocks = match &turn["content"] {
                Value::String(said) => vec![json!({"type": "text", "text": said})],
                blocks => blocks.as_array().unwrap().clone(),
            };
            for block in blocks {
                match block["type"].as_str().unwrap() {
                    "text" if is_user => self.user(vec![text(&block["text"])]),
                    "text" => self.model(block["text"].as_str().unwrap(), None),
                    "image" => self.user(vec![image(block["source"]["data"].as_str().unwrap())]),
                    "tool_use" => {
                        ids.push(text(&block["id"]));
                        self.model("", Some((text(&block["name"]), block["input"].clone())));
                    }
                    "tool_result" => {
                        let id = block["tool_use_id"].as_str().unwrap();
                        let said = pieces(&block["content"], |part| text(&part["text"])).concat();
                        self.result(ids.iter().position(|known| known == id).unwrap(), &said);
                    }
                    other => panic!("{other}"),
                }
            }
        }
        for tool in body["tools"].as_array().into_iter().flatten() {
            self.tool(&tool["name"], &tool["input_schema"]);
        }
        self.choice = match body["tool_choice"]["type"].as_str() {
            Some("any") => "required".to_owned(),
            Some("tool") => text(&body["tool_choice"]["name"]),
            Some(other) => other.to_owned(),
            None => "auto".to_owned(),
        };
        self.max_tokens = body["max_tokens"].as_u64();
        self.temperature = body["temperature"].as_f64();
    }

    fn read_gemini(&mut self, body: &Value) {
        let system = body["systemInstruction"]["parts"].as_array().into_iter().flatten();
        self.system = system.map(|part| text(&part["text"])).collect();
        let mut ids: Vec<(Option<String>, String)> = Vec::new();
        for content in body["contents"].as_array().unwrap() {
            let is_user = content["role"] == "user";
            if !is_user {
                ids.clear();
            }
            for part in content["parts"].as_array().unwrap() {
                if let Some(call) = part.get("functionCall") {
                    ids.push((call["id"].as_str().map(str::to_owned), text(&call["name"])));
                    let arguments = call.get("args").cloned().unwrap_or_else(|| json!({}));
                    self.model("", Some((text(&call["name"]), arguments)));
                } else if let Some(result) = part.get("functionResponse") {
                    let known = match self.events.last() {
                        Some(Event::Results(known)) => known.len(),
                        _ => 0,
                    };
                    let id = result["id"].as_str();
                    let place = id.and_then(|id| ids.iter().position(|(known, _)| known.as_deref() == Some(id))).unwrap_or(known);
                    assert_eq!(text(&result["name"]), ids[place].1);
                    let said = match result["response"].as_object().unwrap() {
                        object if object.len() == 1 && object.contains_key("output") => text(&object["output"]),
                        object => Value::Object(object.clone()).to_string(),
                    };
                    self.result(place, &said);
                } else if let Some(data) = part.get("inlineData") {
                    self.user(vec![image(data["data"].as_str().unwrap())]);
                } else if is_user {
                    self.user(vec![text(&part["text"])]);
                } else {
                    self.model(part["text"].as_str().unwrap(), None);
                }
            }
        }
        for tool in
            body["tools"].as_array().into_iter().flatten().flat_map(|tools| tools["functionDeclarations"].as_array().unwrap())
        {
            let schema = tool.get("parametersJsonSchema").or(tool.get("parameters")).unwrap();
            self.tool(&tool["name"], schema);
        }
        let config = &body["toolConfig"]["functionCallingConfig"];
        self.choice = match (config["mode"].as_str(), config["allowedFunctionNames"][0].as_str()) {
            (Some("ANY"), Some(name)) => name.to_owned(),
            (Some("ANY"), None) => "required".to_owned(),
            (Some("NONE"), _) => "none".to_owned(),
            _ => "auto".to_owned(),
        };
        self.max_tokens = body["generationConfig"]["maxOutputTokens"].as_u64();
        self.temperature = body["generationConfig"]["temperature"].as_f64();
    }
}

fn pieces(content: &Value, read: impl Fn(&Value) -> String) -> Vec<String> {
    match content {
        Value::Null => Vec::new(),
        Value::String(said) if said.is_empty() => Vec::new(),
        Value::String(said) => vec![said.clone()],
        list => list.as_array().unwrap().iter().map(read).collect(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn image(base64: &str) -> String {
    format!("image {base64}")
}

fn parsed(arguments: &Value) -> Value {
    serde_json::from_str(arguments.as_str().unwrap()).unwrap()
}
