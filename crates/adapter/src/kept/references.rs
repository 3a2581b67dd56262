//! What a request refers to.

use std::borrow::Cow;
use std::ops::Range;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::RESPONSE_PREFIX;
use crate::failure::BadRequest;
use crate::ident::sha256_hex;
use crate::peek::{span_in, splice};
use crate::strip::CARRIER;

/// Begins the handle of an encrypted content; no provider's id looks like this.
const SEALED_PREFIX: &str = "sealed:";
/// Hex digits of the hash in that handle.
const SEALED_HEX: usize = 32;
/// Hex digits that an item's id has in common with the id of its response, where we made both.
const BASE_CHARS: usize = 32;

/// What a request of the Responses API refers to, and what it wants kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    pub previous_response_id: Option<String>,
    /// Whether the answer is to be kept; so unless the request says otherwise.
    pub store: bool,
    /// Items that are referred to instead of sent, in their order.
    pub references: Vec<Reference>,
    /// Handles of the reasoning a provider sealed for itself, in its order: see [`Handles`].
    pub sealed: Vec<String>,
    /// Where the values stand that are put in place of, once what they refer to is known.
    pub(super) spans: Spans,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Spans {
    pub previous_response_id: Option<Range<usize>>,
    pub store: Option<Range<usize>>,
    pub input: Option<Range<usize>>,
}

/// An item that is referred to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Its position in `input`.
    pub position: usize,
    pub id: String,
}

/// Names under which an upstream that keeps what it answered will know it again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Handles {
    /// Of the response and its items; they mean nothing if the request said not to store.
    pub ids: Vec<String>,
    /// Of the reasoning it sealed.
    pub sealed: Vec<String>,
}

/// A field given twice is refused: we would look at one and the upstream obey the other.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    previous_response_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    store: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(default)]
    conversation: Option<IgnoredAny>,
    #[serde(default)]
    background: Option<bool>,
}

#[derive(Deserialize)]
struct ItemWire<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    role: Option<IgnoredAny>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    encrypted_content: Option<Cow<'a, str>>,
}

/// Reads it. Refuses what only an upstream with a memory of its own could do, and nobody could meter or keep apart.
pub fn asked(body: &[u8]) -> Result<Asked, BadRequest> {
    let wire: Wire<'_> = serde_json::from_slice(body)
        .map_err(|error| BadRequest::malformed(format!("The request body is not valid: {error}.")))?;
    if wire.conversation.is_some() {
        let message = "Conversations are not kept here. Use `previous_response_id`, or send the earlier items in `input`.";
        return Err(BadRequest::unsupported("conversation", message));
    }
    if wire.background == Some(true) {
        let message = "Answers in the background cannot be metered. Send the request without `background` and wait, or stream.";
        return Err(BadRequest::unsupported("background", message));
    }
    let mut asked = Asked { store: true, ..Asked::default() };
    if let Some(raw) = wire.previous_response_id {
        asked.previous_response_id = typed(raw, "previous_response_id", "a string")?;
        asked.spans.previous_response_id = Some(span_in(body, raw));
    }
    if let Some(raw) = wire.store {
        asked.store = typed(raw, "store", "true or false")?.unwrap_or(true);
        asked.spans.store = Some(span_in(body, raw));
    }
    if let Some(raw) = wire.input {
        asked.spans.input = Some(span_in(body, raw));
        for (position, item) in items(raw)?.into_iter().enumerate() {
            if item.is_reference() {
                asked.references.extend(item.id.map(|id| Reference { position, id: id.into_owned() }));
            } else if let Some(encrypted) = item.encrypted_content.as_deref() {
                asked.sealed.extend(sealed_handle(encrypted));
            }
        }
    }
    Ok(asked)
}

fn typed<'a, T: Deserialize<'a>>(raw: &'a RawValue, field: &str, expected: &str) -> Result<Option<T>, BadRequest> {
    serde_json::from_str(raw.get()).map_err(|_| BadRequest::invalid(field, format!("The field `{field}` must be {expected}.")))
}

/// The items of an input; none of one that is a text, or of a kind that whoever reads it will refuse.
fn items(input: &RawValue) -> Result<Vec<ItemWire<'_>>, BadRequest> {
    if !input.get().starts_with('[') {
        return Ok(Vec::new());
    }
    serde_json::from_str(input.get()).map_err(|error| BadRequest::invalid("input", format!("`input` is not valid: {error}.")))
}

impl ItemWire<'_> {
    fn is_reference(&self) -> bool {
        match self.kind.as_deref() {
            Some(kind) => kind == "item_reference",
            None => self.role.is_none() && self.id.is_some(),
        }
    }
}

/// The name under which an encrypted content is known again. It depends on nothing but the content, and tells nothing of it.
///
/// A signature of another vendor that the gateway wrapped is bound to no account.
pub(crate) fn sealed_handle(encrypted: &str) -> Option<String> {
    (!encrypted.is_empty() && !encrypted.starts_with(CARRIER))
        .then(|| format!("{SEALED_PREFIX}{}", &sha256_hex(encrypted)[..SEALED_HEX]))
}

/// The body without the reasoning whose handle `is_foreign` knows as another account's, and how many items that were. With it
/// the upstream would refuse the request.
pub fn without_foreign_reasoning(body: &[u8], is_foreign: impl Fn(&str) -> bool) -> Result<(Vec<u8>, usize), BadRequest> {
    let unchanged = || (body.to_vec(), 0);
    let wire: Wire<'_> = serde_json::from_slice(body)
        .map_err(|error| BadRequest::malformed(format!("The request body is not valid: {error}.")))?;
    let Some(input) = wire.input.filter(|input| input.get().starts_with('[')) else { return Ok(unchanged()) };
    let raws: Vec<&RawValue> = serde_json::from_str(input.get())
        .map_err(|error| BadRequest::invalid("input", format!("`input` is not valid: {error}.")))?;
    let mut kept = Vec::with_capacity(raws.len());
    for (raw, item) in raws.iter().zip(items(input)?) {
        let handle = item.encrypted_content.as_deref().and_then(sealed_handle);
        if !handle.is_some_and(|handle| is_foreign(&handle)) {
            kept.push(raw.get());
        }
    }
    let dropped = raws.len() - kept.len();
    if dropped == 0 {
        return Ok(unchanged());
    }
    Ok((splice(body, vec![(span_in(body, input), format!("[{}]", kept.join(",")).into_bytes())]), dropped))
}

/// The response an item is of, where the gateway made both ids: `msg_<base><index>` is of `resp_<base>`.
pub fn response_of_item(item: &str) -> Option<String> {
    let (_, rest) = item.split_once('_')?;
    let base = rest.get(..BASE_CHARS).filter(|base| rest.len() > BASE_CHARS && base.bytes().all(|b| b.is_ascii_hexdigit()))?;
    Some(format!("{RESPONSE_PREFIX}{base}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_what_it_refers_to() {
        let body = br#"{"model":"m","previous_response_id":"resp_1","store":false,"input":[
            {"role":"user","content":"hi","id":"msg_own"}, {"type":"item_reference","id":"msg_1"}, {"id":"rs_2"},
            {"type":"reasoning","id":"rs_3","encrypted_content":"gAAA"}, {"type":"reasoning","encrypted_content":"tg1:anthropic:x"}]}"#;
        let asked = asked(body).unwrap();
        assert_eq!((asked.previous_response_id.as_deref(), asked.store), (Some("resp_1"), false));
        let reference = |position, id: &str| Reference { position, id: id.into() };
        assert_eq!(asked.references, [reference(1, "msg_1"), reference(2, "rs_2")]);
        assert_eq!(asked.sealed, [sealed_handle("gAAA").unwrap()]);
    }

    #[test]
    fn what_is_not_said_is_kept_and_refers_to_nothing() {
        for body in [&br#"{"model":"m","input":"hi"}"#[..], br#"{"input":"hi","previous_response_id":null,"store":null}"#] {
            let asked = asked(body).unwrap();
            assert_eq!((asked.previous_response_id, asked.store, asked.references.len()), (None, true, 0));
        }
    }

    #[test]
    fn nothing_is_said_twice_or_in_another_type() {
        for (body, param) in [
            (&br#"{"previous_response_id":"a","previous_response_id":"b"}"#[..], None),
            (br#"{"previous_response_id":"a","previous_response_\u0069d":"b"}"#, None),
            (br#"{"input":"a","input":[]}"#, None),
            (br#"{"input":[{"type":"message","type":"item_reference","id":"x"}]}"#, Some("input")),
            (br#"{"previous_response_id":5}"#, Some("previous_response_id")),
            (br#"{"store":"no"}"#, Some("store")),
            (br#"{"conversation":"conv_1"}"#, Some("conversation")),
            (br#"{"background":true}"#, Some("background")),
        ] {
            assert_eq!(asked(body).unwrap_err().param.as_deref(), param, "{}", String::from_utf8_lossy(body));
        }
        let escaped = asked(br#"{"input":[{"type":"item\u005freference","id":"msg_1"}]}"#).unwrap();
        assert_eq!(escaped.references, [Reference { position: 0, id: "msg_1".into() }]);
    }

    #[test]
    fn only_foreign_reasoning_is_left_out() {
        let body = br#"{ "model":"m", "input":[ {"type":"reasoning","encrypted_content":"A"}, {"role":"user","content":"x"},
            {"type":"reasoning","encrypted_content":"B"}], "z":1 }"#;
        let foreign = sealed_handle("A").unwrap();
        let (left, dropped) = without_foreign_reasoning(body, |handle| handle == foreign).unwrap();
        assert_eq!(dropped, 1);
        assert_eq!(
            String::from_utf8(left).unwrap(),
            r#"{ "model":"m", "input":[{"role":"user","content":"x"},{"type":"reasoning","encrypted_content":"B"}], "z":1 }"#
        );
        assert_eq!(without_foreign_reasoning(body, |_| false).unwrap(), (body.to_vec(), 0));
    }

    #[test]
    fn an_item_of_ours_names_its_response() {
        let base = "0192f7a07c127000800000000000000a";
        assert_eq!(response_of_item(&format!("msg_{base}00")), Some(format!("resp_{base}")));
        for other in ["msg_1", "msg", &format!("msg_{base}"), "msg_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz00"] {
            assert_eq!(response_of_item(other), None, "{other}");
        }
    }
}
