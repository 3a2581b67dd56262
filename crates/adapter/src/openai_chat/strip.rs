//! Takes other vendors' reasoning out of a body that passes. OpenAI's own servers refuse fields they do not know; others
//! may be Google's or a router's, and want theirs back.

use serde_json::{Map, Value};

use crate::needle::Needle;
use crate::strip::{Strip, Target, list};

/// Of an assistant's message.
const FIELDS: [&str; 4] = ["thinking_blocks", "reasoning_details", "reasoning_content", "extra_content"];
/// Of a tool call, and of the function in it.
const CALL_FIELDS: [&str; 3] = ["extra_content", "provider_specific_fields", "thought_signature"];

/// All of them as they stand in a body: one that names none passes unread.
static NAMED: [Needle; 6] = [
    Needle::new("\"thinking_blocks\""),
    Needle::new("\"reasoning_details\""),
    Needle::new("\"reasoning_content\""),
    Needle::new("\"extra_content\""),
    Needle::new("\"provider_specific_fields\""),
    Needle::new("\"thought_signature\""),
];

pub(crate) fn strip(body: &[u8], what: Strip, target: Target<'_>) -> Option<Vec<u8>> {
    let is_kept = what == Strip::Foreign && !target.profiles.openai(target.model).first_party;
    if is_kept || !NAMED.iter().any(|field| field.is_in(body)) {
        return None;
    }
    let mut request: Value = serde_json::from_slice(body).ok()?;
    let mut has_changed = false;
    let mut take = |object: Option<&mut Map<String, Value>>, fields: &[&str]| {
        if let Some(object) = object {
            let before = object.len();
            object.retain(|field, _| !fields.contains(&field.as_str()));
            has_changed |= object.len() < before;
        }
    };
    for message in list(&mut request, "messages").filter(|message| message["role"] == "assistant") {
        take(message.as_object_mut(), &FIELDS);
        for call in list(message, "tool_calls") {
            take(call.as_object_mut(), &CALL_FIELDS);
            take(call.get_mut("function").and_then(Value::as_object_mut), &CALL_FIELDS);
        }
    }
    has_changed.then(|| request.to_string().into_bytes())
}
