//! What is asked in training beside the bench's works: in each dialect, of an upstream of each dialect, plain and as a stream.

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};

/// A dialect, of a client or of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Chat,
    Responses,
    Anthropic,
    Gemini,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    Text,
    /// A conversation of 12 kB and a long answer.
    Conversation,
    /// Tools are offered, and one is called.
    Call,
    /// What a tool answered goes back.
    CallResult,
    Image,
    Reasoning,
}

/// A request but for its key.
#[derive(Debug)]
pub struct Question {
    pub dialect: Dialect,
    pub path: String,
    pub body: Bytes,
    /// Stand in every right answer.
    pub proofs: Vec<&'static str>,
}

const TURN_BYTES: usize = 1500;
const TURNS: usize = 8;
const IMAGE_BYTES: usize = 16 * 1024;
const MAX_OUTPUT_TOKENS: u32 = 4096;
const THINKING_TOKENS: u32 = 1024;
const SYSTEM: &str = "You are terse, and you name your sources.";
const CALL_ID: &str = "call_training_0001";

impl Dialect {
    const ALL: [Self; 4] = [Self::Chat, Self::Responses, Self::Anthropic, Self::Gemini];

    const fn name(self) -> &'static str {
        match self {
            Self::Chat => "openai-chat",
            Self::Responses => "openai-responses",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        }
    }

    fn path(self, model: &str, is_stream: bool) -> String {
        match self {
            Self::Chat => "/v1/chat/completions".into(),
            Self::Responses => "/v1/responses".into(),
            Self::Anthropic => "/v1/messages".into(),
            Self::Gemini if is_stream => format!("/v1beta/models/{model}:streamGenerateContent?alt=sse"),
            Self::Gemini => format!("/v1beta/models/{model}:generateContent"),
        }
    }

    /// What tells a whole answer from one that broke off.
    const fn end(self, is_stream: bool) -> &'static str {
        match self {
            Self::Chat if is_stream => "data: [DONE]",
            Self::Chat => "\"finish_reason\":",
            Self::Responses if is_stream => "response.completed",
            Self::Responses => "\"completed\"",
            Self::Anthropic if is_stream => "message_stop",
            Self::Anthropic => "\"stop_reason\":",
            Self::Gemini => "\"STOP\"",
        }
    }

    fn body(self, model: &str, is_stream: bool, topic: Topic) -> Value {
        let mut body = match self {
            Self::Chat => chat(topic),
            Self::Responses => responses(topic),
            Self::Anthropic => anthropic(topic),
            Self::Gemini => gemini(topic),
        };
        if self != Self::Gemini {
            body["model"] = model.into();
            if is_stream {
                body["stream"] = true.into();
            }
        }
        body
    }
}

impl Topic {
    const ALL: [Self; 6] = [Self::Text, Self::Conversation, Self::Call, Self::CallResult, Self::Image, Self::Reasoning];

    const fn has_tools(self) -> bool {
        matches!(self, Self::Call | Self::CallResult)
    }

    /// The last thing that the user says.
    const fn text(self) -> &'static str {
        match self {
            Self::Text => "What did the \"fox\" do?\nAnd why — once, or twice?",
            Self::Conversation => "Go on, with words=150",
            Self::Call => "use the tool for Paris",
            Self::CallResult => "How is the weather in Paris?",
            Self::Image => "What is in this picture?",
            Self::Reasoning => "Which of two numbers is larger, 9.11 or 9.9?",
        }
    }

    /// A word of the simulated providers' answer to it.
    const fn proof(self) -> &'static str {
        match self {
            Self::Text | Self::Reasoning => "said",
            Self::Conversation => "tally",
            Self::Call => "weather",
            Self::CallResult => "answered",
            Self::Image => "png",
        }
    }
}

/// All of them.
pub fn all() -> Vec<Question> {
    let mut questions = Vec::new();
    for dialect in Dialect::ALL {
        for upstream in Dialect::ALL {
            for topic in Topic::ALL {
                for is_stream in [false, true] {
                    let model = format!("train-{}{}", upstream.name(), if topic == Topic::Reasoning { "-think" } else { "" });
                    questions.push(Question {
                        dialect,
                        path: dialect.path(&model, is_stream),
                        body: dialect.body(&model, is_stream, topic).to_string().into(),
                        proofs: vec![topic.proof(), dialect.end(is_stream)],
                    });
                }
            }
        }
    }
    questions.push(Question {
        dialect: Dialect::Chat,
        path: "/v1/embeddings".into(),
        body: json!({ "model": "train-openai-chat", "input": ["a line to find", "and another"] }).to_string().into(),
        proofs: vec!["\"embedding\"", "\"usage\""],
    });
    questions
}

/// The upstreams and models that are asked. `door` gives the origin at which an upstream is reached, `authority` is the
/// certificate of those that are reached by TLS.
pub fn configuration(authority: &Path, door: impl Fn(Dialect) -> String) -> String {
    let mut text = format!("\n[outbound]\nca_file = \"{}\"\n", authority.display());
    for upstream in Dialect::ALL {
        let (name, origin) = (upstream.name(), door(upstream));
        let version = if matches!(upstream, Dialect::Chat | Dialect::Responses) { "/v1" } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            r#"
[[upstreams]]
name = "train-{name}"
dialect = "{name}"
base_url = "{origin}{version}"
credentials = [{{ name = "c1", secret = "env:BENCH_UPSTREAM_KEY" }}]
"#
        );
        for suffix in ["", "-think"] {
            let _ = write!(
                text,
                r#"
[[models]]
name = "train-{name}{suffix}"
targets = [{{ upstream = "train-{name}", model = "sim{suffix}" }}]
price = {{ currency = "USD", input = "3.00", cache_read = "0.30", output = "15.00" }}
"#
            );
        }
    }
    text
}

/// The turns before the last thing that the user says, the user's first.
fn earlier(topic: Topic) -> impl Iterator<Item = (bool, String)> {
    let turns = if topic == Topic::Conversation { TURNS } else { 0 };
    (0..turns).map(|turn| {
        let mut text = format!("Turn {turn}.");
        while text.len() < TURN_BYTES {
            text.push_str(" What stands in a \"file\" is full of\n\tescapes — and of letters like ü and 数.");
        }
        (turn % 2 == 0, text)
    })
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": { "city": { "type": "string", "description": "as it is written there" }, "days": { "type": "integer" } },
        "required": ["city", "days"],
    })
}

fn arguments() -> Value {
    json!({ "city": "Paris", "days": 2 })
}

const TOOLS: [(&str, &str); 2] = [("weather", "The weather of the next days"), ("clock", "The time at a place")];
const RESULT: &str = "sunny, 21 °C, \"light\" wind";

/// Base64 of what begins like a PNG.
fn image() -> String {
    let mut data = String::from("iVBORw0KGgoAAAANSUhEUgAA");
    while data.len() < IMAGE_BYTES {
        data.push_str("Tally0gate+9/");
    }
    data.truncate(IMAGE_BYTES);
    data
}

fn chat(topic: Topic) -> Value {
    let mut messages = vec![json!({ "role": "system", "content": SYSTEM })];
    for (is_user, text) in earlier(topic) {
        messages.push(json!({ "role": if is_user { "user" } else { "assistant" }, "content": text }));
    }
    messages.push(match topic {
        Topic::Image => json!({ "role": "user", "content": [
            { "type": "text", "text": topic.text() },
            { "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{}", image()) } },
        ] }),
        _ => json!({ "role": "user", "content": topic.text() }),
    });
    if topic == Topic::CallResult {
        let function = json!({ "name": TOOLS[0].0, "arguments": arguments().to_string() });
        messages.push(json!({ "role": "assistant", "content": null, "tool_calls": [
            { "id": CALL_ID, "type": "function", "function": function },
        ] }));
        messages.push(json!({ "role": "tool", "tool_call_id": CALL_ID, "content": RESULT }));
    }
    let mut body = json!({ "messages": messages, "max_completion_tokens": MAX_OUTPUT_TOKENS });
    if topic.has_tools() {
        let tool = |(name, description)| json!({ "type": "function", "function": { "name": name, "description": description, "parameters": schema() } });
        body["tools"] = TOOLS.map(tool).to_vec().into();
    }
    if topic == Topic::Reasoning {
        body["reasoning_effort"] = "medium".into();
    }
    body
}

fn responses(topic: Topic) -> Value {
    let mut input = Vec::new();
    for (is_user, text) in earlier(topic) {
        let (role, kind) = if is_user { ("user", "input_text") } else { ("assistant", "output_text") };
        input.push(json!({ "type": "message", "role": role, "content": [{ "type": kind, "text": text }] }));
    }
    let mut content = vec![json!({ "type": "input_text", "text": topic.text() })];
    if topic == Topic::Image {
        let url = format!("data:image/png;base64,{}", image());
        content.push(json!({ "type": "input_image", "detail": "auto", "image_url": url }));
    }
    input.push(json!({ "type": "message", "role": "user", "content": content }));
    if topic == Topic::CallResult {
        let (name, arguments) = (TOOLS[0].0, arguments().to_string());
        input.push(json!({ "type": "function_call", "call_id": CALL_ID, "name": name, "arguments": arguments }));
        input.push(json!({ "type": "function_call_output", "call_id": CALL_ID, "output": RESULT }));
    }
    let mut body = json!({ "instructions": SYSTEM, "input": input, "max_output_tokens": MAX_OUTPUT_TOKENS, "store": false });
    if topic.has_tools() {
        let tool = |(name, description)| json!({ "type": "function", "name": name, "description": description, "parameters": schema(), "strict": false });
        body["tools"] = TOOLS.map(tool).to_vec().into();
    }
    if topic == Topic::Reasoning {
        body["reasoning"] = json!({ "effort": "medium", "summary": "auto" });
    }
    body
}

fn anthropic(topic: Topic) -> Value {
    let mut messages = Vec::new();
    for (is_user, text) in earlier(topic) {
        messages.push(json!({ "role": if is_user { "user" } else { "assistant" }, "content": text }));
    }
    let mut content = vec![json!({ "type": "text", "text": topic.text() })];
    if topic == Topic::Image {
        content.push(json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": image() } }));
    }
    messages.push(json!({ "role": "user", "content": content }));
    if topic == Topic::CallResult {
        let call = json!({ "type": "tool_use", "id": CALL_ID, "name": TOOLS[0].0, "input": arguments() });
        messages.push(json!({ "role": "assistant", "content": [call] }));
        let result = json!({ "type": "tool_result", "tool_use_id": CALL_ID, "content": RESULT });
        messages.push(json!({ "role": "user", "content": [result] }));
    }
    let system = json!([{ "type": "text", "text": SYSTEM, "cache_control": { "type": "ephemeral" } }]);
    let mut body = json!({ "system": system, "messages": messages, "max_tokens": MAX_OUTPUT_TOKENS });
    if topic.has_tools() {
        let tool = |(name, description)| json!({ "name": name, "description": description, "input_schema": schema() });
        body["tools"] = TOOLS.map(tool).to_vec().into();
    }
    if topic == Topic::Reasoning {
        body["thinking"] = json!({ "type": "enabled", "budget_tokens": THINKING_TOKENS });
    }
    body
}

fn gemini(topic: Topic) -> Value {
    let mut contents = Vec::new();
    for (is_user, text) in earlier(topic) {
        contents.push(json!({ "role": if is_user { "user" } else { "model" }, "parts": [{ "text": text }] }));
    }
    let mut parts = vec![json!({ "text": topic.text() })];
    if topic == Topic::Image {
        parts.push(json!({ "inlineData": { "mimeType": "image/png", "data": image() } }));
    }
    contents.push(json!({ "role": "user", "parts": parts }));
    if topic == Topic::CallResult {
        let call = json!({ "name": TOOLS[0].0, "args": arguments() });
        contents.push(json!({ "role": "model", "parts": [{ "functionCall": call }] }));
        let response = json!({ "name": TOOLS[0].0, "response": { "output": RESULT } });
        contents.push(json!({ "role": "user", "parts": [{ "functionResponse": response }] }));
    }
    let mut configuration = json!({ "maxOutputTokens": MAX_OUTPUT_TOKENS });
    if topic == Topic::Reasoning {
        configuration["thinkingConfig"] = json!({ "includeThoughts": true, "thinkingBudget": THINKING_TOKENS });
    }
    let mut body = json!({
        "systemInstruction": { "parts": [{ "text": SYSTEM }] },
        "contents": contents,
        "generationConfig": configuration,
    });
    if topic.has_tools() {
        let tool = |(name, description)| json!({ "name": name, "description": description, "parameters": schema() });
        body["tools"] = json!([{ "functionDeclarations": TOOLS.map(tool) }]);
    }
    body
}
