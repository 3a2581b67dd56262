//! Takes reasoning items out of a body that passes. Whose they are the caller knows, who keeps book of it; here all go.

use serde_json::Value;

use crate::strip::{Strip, Target};

pub(crate) fn strip(body: &[u8], what: Strip, _: Target<'_>) -> Option<Vec<u8>> {
    if what == Strip::Foreign {
        return None;
    }
    let mut request: Value = serde_json::from_slice(body).ok()?;
    let items = request.get_mut("input")?.as_array_mut()?;
    let before = items.len();
    items.retain(|item| item["type"] != "reasoning");
    (items.len() < before).then(|| request.to_string().into_bytes())
}
