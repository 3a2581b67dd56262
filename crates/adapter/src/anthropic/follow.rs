//! `pause_turn`: the vendor's own tools have run long enough for one call. What the assistant said so far is put at the end
//! of the messages, unmodified, and the same request is sent again.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::hop::Follow;
use crate::needle::Needle;

/// Without it there are none.
static TOOLS: Needle = Needle::new("\"tools\":[");
/// The beginnings of the types of tools that the vendor runs; only they pause.
static SERVER_TOOLS: [Needle; 6] = [
    Needle::new("\"type\":\"web_search_"),
    Needle::new("\"type\":\"web_fetch_"),
    Needle::new("\"type\":\"code_execution_"),
    Needle::new("\"type\":\"tool_search_tool_"),
    Needle::new("\"type\":\"advisor_"),
    Needle::new("\"type\":\"mcp_toolset"),
];
const PAUSED: &str = "pause_turn";

/// Keeps the answer block by block, if the request has tools that may pause it.
pub(crate) fn follow(body: &Bytes) -> Option<Box<dyn Follow>> {
    if !TOOLS.is_in(body) || !SERVER_TOOLS.iter().any(|tool| tool.is_in(body)) {
        return None;
    }
    let request: Map<String, Value> = serde_json::from_slice(body).ok()?;
    Some(Box::new(Following { request, blocks: BTreeMap::new(), inputs: BTreeMap::new(), is_paused: false }))
}

struct Following {
    request: Map<String, Value>,
    /// Of the present answer, by index.
    blocks: BTreeMap<u64, Value>,
    /// The JSON text of inputs that come in pieces.
    inputs: BTreeMap<u64, String>,
    is_paused: bool,
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following").field("is_paused", &self.is_paused).finish_non_exhaustive()
    }
}

impl Following {
    fn delta(&mut self, index: u64, delta: &Value) {
        let Some(block) = self.blocks.get_mut(&index) else { return };
        let said = |field: &str| delta[field].as_str().unwrap_or_default();
        match delta["type"].as_str().unwrap_or_default() {
            "text_delta" => append(block, "text", said("text")),
            "thinking_delta" => append(block, "thinking", said("thinking")),
            "signature_delta" => block["signature"] = delta["signature"].clone(),
            "input_json_delta" => self.inputs.entry(index).or_default().push_str(said("partial_json")),
            "citations_delta" => match &mut block["citations"] {
                Value::Array(citations) => citations.push(delta["citation"].clone()),
                none => *none = json!([delta["citation"]]),
            },
            _ => {}
        }
    }

    fn stop(&mut self, index: u64) {
        let input = self.inputs.remove(&index).filter(|text| !text.is_empty());
        if let (Some(block), Some(input)) = (self.blocks.get_mut(&index), input)
            && let Ok(input) = serde_json::from_str::<Value>(&input)
        {
            block["input"] = input;
        }
    }
}

fn append(block: &mut Value, field: &str, more: &str) {
    match &mut block[field] {
        Value::String(text) => text.push_str(more),
        none => *none = more.into(),
    }
}

/// The API refuses a text without text.
fn is_sendable(block: &Value) -> bool {
    block["type"] != "text" || block["text"].as_str().is_some_and(|text| !text.is_empty())
}

impl Follow for Following {
    fn event(&mut self, data: &[u8]) {
        let Ok(event) = serde_json::from_slice::<Value>(data) else { return };
        let index = event["index"].as_u64().unwrap_or_default();
        match event["type"].as_str().unwrap_or_default() {
            "content_block_start" => {
                self.blocks.insert(index, event["content_block"].clone());
            }
            "content_block_delta" => self.delta(index, &event["delta"]),
            "content_block_stop" => self.stop(index),
            "message_delta" if !event["delta"]["stop_reason"].is_null() => {
                self.is_paused = event["delta"]["stop_reason"] == PAUSED;
            }
            _ => {}
        }
    }

    fn answer(&mut self, body: &[u8]) {
        let Ok(mut answer) = serde_json::from_slice::<Value>(body) else { return };
        self.is_paused = answer["stop_reason"] == PAUSED;
        if let Value::Array(blocks) = answer["content"].take() {
            self.blocks = (0..).zip(blocks).collect();
        }
    }

    fn is_paused(&self) -> bool {
        self.is_paused && self.blocks.values().any(is_sendable) && self.request.get("messages").is_some_and(Value::is_array)
    }

    fn resume(&mut self) -> Vec<u8> {
        self.is_paused = false;
        self.inputs.clear();
        let blocks: Vec<Value> = std::mem::take(&mut self.blocks).into_values().filter(is_sendable).collect();
        if let Some(Value::Array(messages)) = self.request.get_mut("messages") {
            match messages.last_mut().map(|last| (last["role"] == "assistant", &mut last["content"])) {
                Some((true, Value::Array(content))) => content.extend(blocks),
                _ => messages.push(json!({"role": "assistant", "content": blocks})),
            }
        }
        serde_json::to_vec(&self.request).unwrap_or_default()
    }
}
