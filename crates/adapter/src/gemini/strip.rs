//! Takes signatures out of a body that passes. A call that had one, or that Google misses one on, gets the sentinel.

use memchr::memmem;
use serde_json::Value;

use super::signature::{SENTINEL, read};
use crate::ir::Vendor;
use crate::strip::{Strip, Target, list};

/// The beginning of base64 of a carrier's prefix.
const CARRIER: &[u8] = b"dGcxO";
const FIELDS: [&str; 2] = ["thoughtSignature", "thought_signature"];
const CALLS: [&str; 2] = ["functionCall", "function_call"];

pub(crate) fn strip(body: &[u8], what: Strip, _: Target<'_>) -> Option<Vec<u8>> {
    if what == Strip::Foreign && memmem::find(body, CARRIER).is_none() {
        return None;
    }
    let mut request: Value = serde_json::from_slice(body).ok()?;
    let mut has_changed = false;
    let mut has_emptied = false;
    for content in list(&mut request, "contents").filter(|content| content["role"] == "model") {
        let Some(parts) = content["parts"].as_array_mut() else { continue };
        let before = parts.len();
        parts.retain_mut(|part| {
            let taken = take(part, what);
            has_changed |= taken;
            let is_call = CALLS.iter().any(|field| part.get(field).is_some());
            if taken && is_call {
                part[FIELDS[0]] = SENTINEL.into();
            }
            // A thought without its signature says nothing to the model.
            !(taken && part["thought"] == true)
        });
        has_emptied |= parts.is_empty() && before > 0;
        let first = parts.iter_mut().find(|part| CALLS.iter().any(|field| part.get(field).is_some()));
        if let Some(first) = first.filter(|first| what == Strip::Everything && first.get(FIELDS[0]).is_none()) {
            first[FIELDS[0]] = SENTINEL.into();
            has_changed = true;
        }
    }
    if has_emptied && let Some(contents) = request.get_mut("contents").and_then(Value::as_array_mut) {
        // SDKs keep each chunk of a stream as a content: one that held a thought's signature alone holds nothing now.
        contents.retain(|content| content["parts"].as_array().is_none_or(|parts| !parts.is_empty()));
    }
    has_changed.then(|| request.to_string().into_bytes())
}

/// Takes the part's signature, if it is to go.
fn take(part: &mut Value, what: Strip) -> bool {
    let Some(object) = part.as_object_mut() else { return false };
    FIELDS.iter().fold(false, |taken, field| {
        let is_foreign = |text: &str| text != SENTINEL && read(text).is_some_and(|signature| signature.vendor != Vendor::Google);
        let goes = object.get(*field).and_then(Value::as_str).is_some_and(|text| what == Strip::Everything || is_foreign(text));
        if goes {
            object.remove(*field);
        }
        taken || goes
    })
}
