//! Holds every answer the tests see against the API document.

use std::sync::OnceLock;

use http::Method;
use serde_json::{Map, Value};

use crate::client::Answer;

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::from_str(&tallygate_admin::openapi_json()).unwrap())
}

/// Fails the test if a documented operation answered what the document does not say.
pub fn check(method: &Method, path: &str, answer: &Answer) {
    let Some(operation) = operation(method, path) else { return };
    let responses = &operation["responses"];
    let status = answer.status.as_str();
    let response = responses.get(status).or_else(|| (answer.status.as_u16() >= 400).then(|| &responses["default"]));
    let response = response.unwrap_or_else(|| panic!("{method} {path} answered {status}, which is not documented"));
    let Some(content) = response.get("content").and_then(Value::as_object) else {
        assert!(answer.body.is_empty(), "{method} {path} {status} is documented without a body");
        return;
    };
    let essence = answer.header("content-type").split(';').next().unwrap_or("").trim();
    let media = content.get(essence).unwrap_or_else(|| panic!("{method} {path} {status} answered `{essence}`"));
    if essence.ends_with("json") {
        let mut faults = Vec::new();
        validate(&media["schema"], &answer.json(), "", &mut faults);
        assert!(faults.is_empty(), "{method} {path} {status}: {faults:#?}");
    }
}

/// The operation of a request's path; a path with fewer parameters goes first.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let paths = document()["paths"].as_object()?;
    let mut matching: Vec<_> = paths.iter().filter(|(template, _)| matches(template, path)).collect();
    matching.sort_by_key(|(template, _)| (template.matches('{').count(), std::cmp::Reverse(template.len())));
    matching.iter().find_map(|(_, item)| item.get(method.as_str().to_lowercase()))
}

fn matches(template: &str, path: &str) -> bool {
    let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(path).all(|(pattern, text)| {
            match pattern.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                Some((_, suffix)) => text.len() > suffix.len() && text.ends_with(suffix),
                None => *pattern == text,
            }
        })
}

fn resolve(schema: &Value) -> &Value {
    match schema["$ref"].as_str() {
        Some(reference) => document().pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference}")),
        None => schema,
    }
}

/// Notes what of `value` the schema does not allow. Members the schema does not name are faults too: a client made from the
/// document would never see them.
fn validate(schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
    let schema = resolve(schema);
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = |choice: &Value| {
            let mut faults = Vec::new();
            validate(choice, value, at, &mut faults);
            faults.is_empty()
        };
        if !choices.iter().any(fits) {
            faults.push(format!("{at}: {value} is none of the choices"));
        }
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        faults.push(format!("{at}: {value} is not one of {allowed:?}"));
    }
    if !has_type(schema, value) {
        faults.push(format!("{at}: {value} is not {}", schema["type"]));
    }
    match value {
        Value::Object(members) => {
            let (mut known, mut required) = (Map::new(), Vec::new());
            gather(schema, &mut known, &mut required);
            for name in required {
                if !members.contains_key(&name) {
                    faults.push(format!("{at}/{name} is missing"));
                }
            }
            for (name, member) in members {
                match known.get(name) {
                    Some(schema) => validate(schema, member, &format!("{at}/{name}"), faults),
                    None if known.is_empty() => {}
                    None => faults.push(format!("{at}/{name} is not documented")),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                validate(&schema["items"], item, &format!("{at}/{index}"), faults);
            }
        }
        _ => {}
    }
}

/// The members of an object, those of its parts included.
fn gather(schema: &Value, known: &mut Map<String, Value>, required: &mut Vec<String>) {
    let schema = resolve(schema);
    for part in schema["allOf"].as_array().into_iter().flatten() {
        gather(part, known, required);
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        known.insert(name.clone(), member.clone());
    }
    required.extend(schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
}

fn has_type(schema: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("a type the document should not have: {other}"),
    };
    match &schema["type"] {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
        _ => true,
    }
}

#[test]
fn an_answer_beside_the_document_would_be_seen() {
    let page = |value: Value| {
        let mut faults = Vec::new();
        validate(&serde_json::json!({"$ref": "#/components/schemas/SetupState"}), &value, "", &mut faults);
        faults
    };
    assert_eq!(page(serde_json::json!({"needed": true})), Vec::<String>::new());
    assert_eq!(page(serde_json::json!({"needed": 1})), ["/needed: 1 is not \"boolean\""]);
    assert_eq!(page(serde_json::json!({"extra": 1})), ["/needed is missing", "/extra is not documented"]);
    assert!(matches("/admin/v1/bills/{tenant_id}/{period}.csv", "/admin/v1/bills/ten_1/2026-11.csv"));
    assert!(operation(&Method::POST, "/admin/v1/upstreams/ups_1:test").is_some_and(|found| found["tags"][0] == "upstreams"));
}
