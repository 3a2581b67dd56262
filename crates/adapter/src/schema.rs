//! JSON Schemas bent to what a vendor's constrained output takes.

use serde_json::{Map, Value, json};

/// Schemas nest no deeper than this; what lies deeper is passed as it is.
const MAX_DEPTH: usize = 64;

/// OpenAI's strict subset: every object lists all its properties as required and closes `additionalProperties`.
pub(crate) fn is_openai_strict(schema: &Value) -> bool {
    fn strict(schema: &Value, depth: usize) -> bool {
        if depth > MAX_DEPTH {
            return false;
        }
        match schema {
            Value::Object(object) => {
                let is_object = object.get("type").is_some_and(|kind| kind == "object") || object.contains_key("properties");
                let closed = object.get("additionalProperties") == Some(&Value::Bool(false));
                let required: Vec<&str> =
                    object.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
                let all_required = object
                    .get("properties")
                    .and_then(Value::as_object)
                    .is_none_or(|properties| properties.keys().all(|name| required.contains(&name.as_str())));
                (!is_object || (closed && all_required)) && object.values().all(|value| strict(value, depth + 1))
            }
            Value::Array(list) => list.iter().all(|value| strict(value, depth + 1)),
            _ => true,
        }
    }
    strict(schema, 0)
}

/// Parameters of a tool where a schema of an object is required.
pub(crate) fn tool_parameters(parameters: Option<&Value>) -> Value {
    match parameters {
        Some(Value::Object(object)) if object.contains_key("type") => Value::Object(object.clone()),
        Some(Value::Object(object)) => {
            let mut typed = Map::new();
            typed.insert("type".into(), "object".into());
            typed.extend(object.clone());
            typed.into()
        }
        _ => json!({"type": "object", "properties": {}}),
    }
}

/// What stands in for parameters that are no plain object, where only such are taken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plain {
    /// The parts of an `allOf`, put together: calls look the same.
    Merged(Value),
    /// An object with one property that holds the whole: calls must be unwrapped.
    Wrapped(Value),
}

/// `None`: the parameters fit as they are. Definitions stay at the root, where references find them.
pub(crate) fn plain_object(parameters: &Value, property: &str) -> Option<Plain> {
    let object = parameters.as_object()?;
    if !["anyOf", "oneOf", "allOf"].iter().any(|key| object.contains_key(*key)) {
        return None;
    }
    if let Some(merged) = merged(object) {
        return Some(Plain::Merged(merged.into()));
    }
    let mut inner = object.clone();
    let mut outer = Map::new();
    outer.insert("type".into(), "object".into());
    for definitions in ["$defs", "definitions"] {
        outer.extend(inner.shift_remove(definitions).map(|value| (definitions.to_owned(), value)));
    }
    outer.insert("properties".into(), json!({ property: inner }));
    outer.insert("required".into(), json!([property]));
    Some(Plain::Wrapped(outer.into()))
}

/// One object of an `allOf` whose parts are objects that only list properties.
fn merged(object: &Map<String, Value>) -> Option<Map<String, Value>> {
    const MERGEABLE: &[&str] = &["type", "properties", "required", "additionalProperties", "title", "description"];
    let mut whole = object.clone();
    let parts = match whole.shift_remove("allOf") {
        Some(Value::Array(parts)) if !whole.contains_key("anyOf") && !whole.contains_key("oneOf") => parts,
        _ => return None,
    };
    whole.entry("type").or_insert_with(|| "object".into());
    for part in &parts {
        let part = part.as_object()?;
        let is_object = part.get("type").is_none_or(|kind| kind == "object");
        if !is_object || !part.keys().all(|key| MERGEABLE.contains(&key.as_str())) {
            return None;
        }
        for (name, property) in part.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let known = whole.entry("properties").or_insert_with(|| json!({})).as_object_mut()?;
            // Two demands on one property cannot be put together.
            if known.insert(name.clone(), property.clone()).is_some_and(|before| before != *property) {
                return None;
            }
        }
        for name in part.get("required").and_then(Value::as_array).into_iter().flatten() {
            let known = whole.entry("required").or_insert_with(|| json!([])).as_array_mut()?;
            if !known.contains(name) {
                known.push(name.clone());
            }
        }
    }
    (whole.get("type").is_some_and(|kind| kind == "object")).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strictness_needs_all_properties_required_and_closed() {
        let strict =
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
        assert!(is_openai_strict(&strict));
        let mut open = strict.clone();
        open["required"] = json!([]);
        assert!(!is_openai_strict(&open));
        assert!(!is_openai_strict(&json!({"type": "array", "items": {"type": "object", "properties": {}}})));
    }

    #[test]
    fn tool_parameters_are_always_an_object() {
        assert_eq!(tool_parameters(None), json!({"type": "object", "properties": {}}));
        assert_eq!(tool_parameters(Some(&json!({"$defs": {}}))), json!({"type": "object", "$defs": {}}));
    }
    #[test]
    fn parameters_that_are_no_plain_object_are_merged_or_wrapped() {
        let choice = json!({"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {}}});
        let wrapped = json!({"type": "object", "$defs": {"a": {}}, "properties": {"input": {"anyOf": [{"$ref": "#/$defs/a"}]}},
            "required": ["input"]});
        assert_eq!(plain_object(&choice, "input"), Some(Plain::Wrapped(wrapped)));
        assert_eq!(plain_object(&json!({"type": "object"}), "input"), None);
        let parts = json!({"allOf": [{"type": "object", "properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}}]});
        let merged = json!({"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]});
        assert_eq!(plain_object(&parts, "input"), Some(Plain::Merged(merged)));
        let clash = json!({"allOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"a": {"type": "null"}}}]});
        assert!(matches!(plain_object(&clash, "input"), Some(Plain::Wrapped(_))));
    }
}
