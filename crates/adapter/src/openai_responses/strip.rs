//! Takes reasoning items out of a body that passes: all, or those that OpenAI could not open: with another vendor's signature, or
//! of this gateway's making and with nothing sealed in them, whose ids would mean items OpenAI stored. Which account sealed the
//! others is known to the caller, who keeps book of it ([`crate::kept`]).

use memchr::memmem;
use serde_json::Value;

use crate::strip::{CARRIER, Strip, Target, is_carrier};

/// The beginning of a reasoning item's id, as JSON holds it.
const ID: &[u8] = b"\"rs_";
/// Ids of ours are the 32 digits of a request's and two more; OpenAI's are longer.
const OWN_DIGITS: usize = 34;

pub(crate) fn strip(body: &[u8], what: Strip, _: Target<'_>) -> Option<Vec<u8>> {
    let has_foreign =
        || memmem::find(body, CARRIER.as_bytes()).is_some() || memmem::find_iter(body, ID).any(|at| is_own(&body[at + 1..]));
    if what == Strip::Foreign && !has_foreign() {
        return None;
    }
    let mut request: Value = serde_json::from_slice(body).ok()?;
    let items = request.get_mut("input")?.as_array_mut()?;
    let before = items.len();
    let is_bare = |item: &Value| {
        !item["encrypted_content"].is_string() && item["id"].as_str().is_some_and(|id| is_own(format!("{id}\"").as_bytes()))
    };
    let is_taken = |item: &Value| what == Strip::Everything || is_carrier(&item["encrypted_content"]) || is_bare(item);
    items.retain(|item| item["type"] != "reasoning" || !is_taken(item));
    (items.len() < before).then(|| request.to_string().into_bytes())
}

/// Whether an id of ours stands at the beginning, up to its quotation mark.
fn is_own(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(&ID[1..]) else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    digits == OWN_DIGITS && rest.get(digits) == Some(&b'"')
}
