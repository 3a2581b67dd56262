//! Takes reasoning items out of a body that passes. Whose sealed ones are the caller knows, who keeps book of it; here all
//! go, or those of this gateway's making that nothing is sealed in: to OpenAI their ids would mean items it stored.

use memchr::memmem;
use serde_json::Value;

use crate::strip::{Strip, Target};

/// The beginning of a reasoning item's id, as JSON holds it.
const ID: &[u8] = b"\"rs_";
/// Ids of ours are the 32 digits of a request's and two more; OpenAI's are longer.
const OWN_DIGITS: usize = 34;

pub(crate) fn strip(body: &[u8], what: Strip, _: Target<'_>) -> Option<Vec<u8>> {
    if what == Strip::Foreign && !memmem::find_iter(body, ID).any(|at| is_own(&body[at + 1..])) {
        return None;
    }
    let mut request: Value = serde_json::from_slice(body).ok()?;
    let items = request.get_mut("input")?.as_array_mut()?;
    let before = items.len();
    let is_bare = |item: &Value| {
        !item["encrypted_content"].is_string() && item["id"].as_str().is_some_and(|id| is_own(format!("{id}\"").as_bytes()))
    };
    items.retain(|item| item["type"] != "reasoning" || (what == Strip::Foreign && !is_bare(item)));
    (items.len() < before).then(|| request.to_string().into_bytes())
}

/// Whether an id of ours stands at the beginning, up to its quotation mark.
fn is_own(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(&ID[1..]) else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    digits == OWN_DIGITS && rest.get(digits) == Some(&b'"')
}
