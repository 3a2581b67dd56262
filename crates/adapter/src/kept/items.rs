//! Items as they are kept, put before a request again, and listed.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::RESPONSE_PREFIX;
use super::references::Asked;
use crate::failure::BadRequest;
use crate::ir::Object;
use crate::peek::splice;

/// Items of a page of `input_items` unless it says otherwise, and at most.
const PAGE_ITEMS: usize = 20;
const MAX_PAGE_ITEMS: usize = 100;

/// A response as it was kept.
#[derive(Debug, Clone, Copy)]
pub struct KeptResponse<'a> {
    pub id: &'a str,
    /// JSON array: the items of its request, without those of earlier responses.
    pub input: &'a str,
    /// JSON object: the response as the client got it.
    pub response: &'a str,
}

/// A request, filled up.
#[derive(Debug, Clone, PartialEq)]
pub struct Filled {
    pub body: Vec<u8>,
    /// JSON array: what is to be kept as this request's own input.
    pub own_input: String,
}

#[derive(Deserialize)]
struct Output {
    #[serde(default)]
    output: Vec<Value>,
}

/// Puts what was kept where the request only refers to it: `earlier` (oldest first) before its own items, and each of
/// `referenced` (by id) in place of its reference. `instructions` of earlier requests are not carried on.
///
/// The rest of the body stays byte for byte; `previous_response_id` and `store` become null, for both are answered here.
pub fn fill_in(
    body: &[u8],
    asked: &Asked,
    earlier: &[KeptResponse<'_>],
    referenced: &BTreeMap<String, Value>,
) -> Result<Filled, BadRequest> {
    let own = own_items(body, asked, referenced)?;
    let mut all = String::from("[");
    for kept in earlier {
        push(&mut all, kept.input.trim().trim_start_matches('[').trim_end_matches(']'));
        for item in output(kept.response) {
            push(&mut all, &replayed(item).to_string());
        }
    }
    let own_input = Value::from(own).to_string();
    push(&mut all, &own_input[1..own_input.len() - 1]);
    all.push(']');

    let spans = &asked.spans;
    let mut edits = Vec::new();
    if !earlier.is_empty() || !referenced.is_empty() {
        let span = spans
            .input
            .clone()
            .ok_or_else(|| BadRequest::invalid("input", "`input` is missing; send a string or a list of items."))?;
        edits.push((span, all.into_bytes()));
    }
    if !earlier.is_empty() {
        edits.extend(spans.previous_response_id.clone().map(|span| (span, b"null".to_vec())));
    }
    if asked.store {
        edits.extend(spans.store.clone().map(|span| (span, b"null".to_vec())));
    }
    Ok(Filled { body: splice(body, edits), own_input })
}

/// The request's own items; a string is one message of the user.
fn own_items(body: &[u8], asked: &Asked, referenced: &BTreeMap<String, Value>) -> Result<Vec<Value>, BadRequest> {
    let Some(span) = asked.spans.input.clone() else { return Ok(Vec::new()) };
    let input: Value = serde_json::from_slice(&body[span])
        .map_err(|error| BadRequest::invalid("input", format!("`input` is not valid: {error}.")))?;
    let items = match input {
        Value::String(text) => vec![json!({ "type": "message", "role": "user", "content": text })],
        Value::Array(items) => items,
        _ => return Err(BadRequest::invalid("input", "`input` must be a string or a list of items.")),
    };
    let resolved = items.into_iter().map(|item| match reference(&item).and_then(|id| referenced.get(id)) {
        Some(kept) => replayed(kept.clone()),
        None => item,
    });
    Ok(resolved.collect())
}

fn reference(item: &Value) -> Option<&str> {
    let is_reference = match item.get("type").filter(|kind| !kind.is_null()) {
        Some(kind) => kind == "item_reference",
        None => item.get("role").is_none(),
    };
    item.get("id").and_then(Value::as_str).filter(|_| is_reference)
}

fn push(all: &mut String, items: &str) {
    if !items.trim().is_empty() {
        if all.len() > 1 {
            all.push(',');
        }
        all.push_str(items);
    }
}

fn output(response: &str) -> Vec<Value> {
    serde_json::from_str::<Output>(response).map(|response| response.output).unwrap_or_default()
}

/// An item of an answer as a request carries it: its id is ours, and an upstream that keeps items would look for it.
fn replayed(mut item: Value) -> Value {
    if let Value::Object(fields) = &mut item {
        fields.shift_remove("id");
        fields.shift_remove("status");
    }
    item
}

/// The item `id` of a kept response, of its answer or of its input.
pub fn find_item(kept: &KeptResponse<'_>, id: &str) -> Option<Value> {
    let found = output(kept.response).into_iter().find(|item| item.get("id").and_then(Value::as_str) == Some(id));
    found.or_else(|| listed(kept).into_iter().find(|item| item["id"] == id))
}

/// The input items of a kept response, as they are listed: with ids, and content as parts.
fn listed(kept: &KeptResponse<'_>) -> Vec<Value> {
    let base = kept.id.strip_prefix(RESPONSE_PREFIX).unwrap_or(kept.id);
    let items: Vec<Object> = serde_json::from_str(kept.input).unwrap_or_default();
    let items = items.into_iter().enumerate().map(|(index, mut item)| {
        let kind = item.get("type").and_then(Value::as_str).unwrap_or("message").to_owned();
        if kind == "message" {
            let is_answer = item.get("role").is_some_and(|role| role == "assistant");
            if let Some(text) = item.get("content").and_then(Value::as_str) {
                let part = if is_answer {
                    json!({ "type": "output_text", "text": text, "annotations": [] })
                } else {
                    json!({ "type": "input_text", "text": text })
                };
                item.insert("content".into(), json!([part]));
            }
            item.entry("status").or_insert_with(|| "completed".into());
        }
        let mut listed = Object::new();
        let own = item.shift_remove("id").filter(|id| id.as_str().is_some_and(|id| !id.is_empty()));
        // Made of the response's id, so that it is the same each time and leads back to the response.
        let made = || format!("{}_{base}i{index:02x}", prefix(&kind)).into();
        listed.insert("id".into(), own.unwrap_or_else(made));
        listed.insert("type".into(), kind.into());
        item.shift_remove("type");
        listed.append(&mut item);
        Value::Object(listed)
    });
    items.collect()
}

fn prefix(kind: &str) -> &'static str {
    match kind {
        "message" => "msg",
        "reasoning" => "rs",
        "function_call" | "function_call_output" => "fc",
        "custom_tool_call" | "custom_tool_call_output" => "ctc",
        _ => "item",
    }
}

/// One page of `GET /v1/responses/{id}/input_items`: all the response was made from, earlier turns included.
///
/// `chain` is oldest first and ends with the response itself. `query` is the request's, without the `?`.
pub fn input_page(chain: &[KeptResponse<'_>], query: &str) -> Result<Vec<u8>, BadRequest> {
    let mut items = Vec::new();
    for (at, kept) in chain.iter().enumerate() {
        items.extend(listed(kept));
        if at + 1 < chain.len() {
            items.extend(output(kept.response));
        }
    }
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    match value("order") {
        None | Some("desc") => items.reverse(),
        Some("asc") => {}
        Some(_) => return Err(BadRequest::invalid("order", "`order` must be `asc` or `desc`.")),
    }
    let limit = match value("limit") {
        None => PAGE_ITEMS,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_PAGE_ITEMS).contains(limit))
            .ok_or_else(|| BadRequest::invalid("limit", format!("`limit` must be 1 to {MAX_PAGE_ITEMS}.")))?,
    };
    let start = match value("after") {
        None => 0,
        Some(after) => {
            let at = items.iter().position(|item| item["id"] == after);
            at.ok_or_else(|| BadRequest::invalid("after", "`after` names no item of this response."))? + 1
        }
    };
    let end = (start + limit).min(items.len());
    let data = &items[start..end];
    let page = json!({
        "object": "list",
        "data": data,
        "first_id": data.first().map(|item| &item["id"]),
        "last_id": data.last().map(|item| &item["id"]),
        "has_more": end < items.len(),
    });
    Ok(page.to_string().into_bytes())
}

/// The answer to `DELETE /v1/responses/{id}`.
pub fn deleted(id: &str) -> Vec<u8> {
    json!({ "id": id, "object": "response", "deleted": true }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::{asked, response_of_item};
    use super::*;

    const FIRST: KeptResponse<'_> = KeptResponse {
        id: "resp_0192f7a07c127000800000000000000a",
        input: r#"[{"type":"message","role":"user","content":"one"}]"#,
        response: r#"{"id":"resp_0192f7a07c127000800000000000000a","output":[
            {"id":"rs_x","type":"reasoning","summary":[]},
            {"id":"msg_0192f7a07c127000800000000000000a01","type":"message","status":"completed","role":"assistant",
             "content":[{"type":"output_text","text":"uno","annotations":[],"logprobs":[]}]}]}"#,
    };

    fn filled(body: &str, earlier: &[KeptResponse<'_>], referenced: &[(&str, Value)]) -> (String, String) {
        let referenced = referenced.iter().map(|(id, item)| ((*id).to_owned(), item.clone())).collect();
        let filled = fill_in(body.as_bytes(), &asked(body.as_bytes()).unwrap(), earlier, &referenced).unwrap();
        (String::from_utf8(filled.body).unwrap(), filled.own_input)
    }

    #[test]
    fn earlier_turns_stand_before_the_own_items_and_the_rest_stays() {
        let body = r#"{"model":"m", "previous_response_id": "resp_a","input":"two","x":1.50,"store":true,"instructions":"i"}"#;
        let (body, own) = filled(body, &[FIRST], &[]);
        assert_eq!(
            body,
            concat!(
                r#"{"model":"m", "previous_response_id": null,"input":[{"type":"message","role":"user","content":"one"},"#,
                r#"{"type":"reasoning","summary":[]},"#,
                r#"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"uno","annotations":[],"logprobs":[]}]},"#,
                r#"{"type":"message","role":"user","content":"two"}],"x":1.50,"store":null,"instructions":"i"}"#
            )
        );
        assert_eq!(own, r#"[{"type":"message","role":"user","content":"two"}]"#);
    }

    #[test]
    fn a_first_turn_stays_as_it_was_but_for_what_is_answered_here() {
        assert_eq!(filled(r#"{"input":"hi","store":true}"#, &[], &[]).0, r#"{"input":"hi","store":null}"#);
        assert_eq!(filled(r#"{"input":[],"store":false}"#, &[], &[]).0, r#"{"input":[],"store":false}"#);
        let (body, own) = filled(r#"{"input":[]}"#, &[KeptResponse { input: "[]", response: "{}", ..FIRST }], &[]);
        assert_eq!((body.as_str(), own.as_str()), (r#"{"input":[]}"#, "[]"));
    }

    #[test]
    fn a_reference_becomes_the_item_it_names() {
        let item = find_item(&FIRST, "msg_0192f7a07c127000800000000000000a01").unwrap();
        let body = r#"{"input":[{"type":"item_reference","id":"msg_1"},{"id":"other"}]}"#;
        let (body, own) = filled(body, &[], &[("msg_1", item)]);
        let kept = r#"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"uno","annotations":[],"logprobs":[]}]}"#;
        assert_eq!(body, format!(r#"{{"input":[{kept},{{"id":"other"}}]}}"#));
        assert_eq!(own, format!(r#"[{kept},{{"id":"other"}}]"#));
        assert_eq!(find_item(&FIRST, "msg_9"), None);
    }

    #[test]
    fn input_items_are_listed_newest_first_in_pages_with_ids_that_stay() {
        let second = KeptResponse {
            id: "resp_0192f7a07c127000800000000000000b",
            input: r#"[{"role":"user","content":"two"},{"type":"function_call_output","call_id":"c","output":"3"}]"#,
            response: "{}",
        };
        let page = |query| serde_json::from_slice::<Value>(&input_page(&[FIRST, second], query).unwrap()).unwrap();
        let ids = |page: &Value| {
            page["data"].as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let all = page("");
        let expected = [
            "fc_0192f7a07c127000800000000000000bi01",
            "msg_0192f7a07c127000800000000000000bi00",
            "msg_0192f7a07c127000800000000000000a01",
            "rs_x",
            "msg_0192f7a07c127000800000000000000ai00",
        ];
        assert_eq!(ids(&all), expected);
        assert_eq!(
            (&all["has_more"], &all["first_id"], &all["last_id"]),
            (&json!(false), &json!(expected[0]), &json!(expected[4]))
        );
        assert_eq!(
            all["data"][1],
            json!({"id": expected[1], "type": "message", "role": "user", "content": [{"type": "input_text", "text": "two"}], "status": "completed"})
        );
        let first = page("limit=2&order=asc");
        assert_eq!((ids(&first), &first["has_more"]), (vec![expected[4].to_owned(), expected[3].to_owned()], &json!(true)));
        let next = page(&format!("limit=100&order=asc&after={}", first["last_id"].as_str().unwrap()));
        assert_eq!(
            (ids(&next), &next["has_more"]),
            (vec![expected[2].to_owned(), expected[1].to_owned(), expected[0].to_owned()], &json!(false))
        );
        for (query, param) in [("limit=0", "limit"), ("limit=101", "limit"), ("order=up", "order"), ("after=x", "after")] {
            assert_eq!(input_page(&[FIRST], query).unwrap_err().param.as_deref(), Some(param), "{query}");
        }
        assert_eq!(find_item(&second, expected[1]).unwrap()["content"][0]["text"], "two");
        assert_eq!(response_of_item(expected[1]).as_deref(), Some(second.id));
    }
}
