//! Takes thinking, and citations of other vendors, out of a body that passes.

use memchr::memmem;
use serde_json::Value;

use crate::strip::{CARRIER, Strip, Target, is_carrier, list};

pub(crate) fn strip(body: &[u8], what: Strip, _: Target<'_>) -> Option<Vec<u8>> {
    if what == Strip::Foreign && memmem::find(body, CARRIER.as_bytes()).is_none() {
        return None;
    }
    let mut request: Value = serde_json::from_slice(body).ok()?;
    let is_taken = |block: &Value| match block["type"].as_str() {
        Some("thinking") => what == Strip::Everything || is_carrier(&block["signature"]),
        Some("redacted_thinking") => what == Strip::Everything || is_carrier(&block["data"]),
        _ => false,
    };
    let mut has_changed = false;
    let mut is_loop = false;
    for message in list(&mut request, "messages") {
        if let Some(blocks) = message["content"].as_array_mut() {
            let before = blocks.len();
            blocks.retain(|block| !is_taken(block));
            has_changed |= blocks.len() < before;
            for block in blocks.iter_mut() {
                has_changed |= take_citations(block);
            }
            is_loop = blocks.iter().any(|block| block["type"] == "tool_result");
        } else {
            is_loop = false;
        }
    }
    // A budget is refused in a tool loop whose calls have no thinking before them.
    if what == Strip::Everything && is_loop && request["thinking"]["type"] == "enabled" {
        request.as_object_mut()?.remove("thinking");
        has_changed = true;
    }
    has_changed.then(|| request.to_string().into_bytes())
}

/// Citations that were made here point nowhere at Anthropic.
fn take_citations(block: &mut Value) -> bool {
    let Some(citations) = block.get_mut("citations").and_then(Value::as_array_mut) else { return false };
    let before = citations.len();
    citations.retain(|citation| !is_carrier(&citation["encrypted_index"]));
    let has_changed = citations.len() < before;
    if has_changed && citations.is_empty() {
        block.as_object_mut().map(|block| block.shift_remove("citations"));
    }
    has_changed
}
