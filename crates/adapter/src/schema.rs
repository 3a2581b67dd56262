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

/// Anthropic's subset for `output_config.format`: objects are closed, `oneOf` becomes `anyOf`, and constraints it does not
/// know move into the description. Gives whether anything but closing was changed. The same schema always gives the same bytes.
pub(crate) fn for_anthropic(schema: &Value) -> (Value, bool) {
    let mut changed = false;
    let bent = bend(schema, 0, &mut changed);
    (bent, changed)
}

const STRING_FORMATS: &[&str] = &["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

fn bend(schema: &Value, depth: usize, changed: &mut bool) -> Value {
    let Value::Object(object) = schema else { return schema.clone() };
    if depth > MAX_DEPTH {
        return schema.clone();
    }
    let mut bent = Map::new();
    let mut said: Vec<String> = Vec::new();
    for (key, value) in object {
        match key.as_str() {
            "$defs" | "definitions" | "properties" => {
                let members = value.as_object().into_iter().flatten();
                let members: Map<String, Value> =
                    members.map(|(name, member)| (name.clone(), bend(member, depth + 1, changed))).collect();
                bent.insert(key.clone(), members.into());
            }
            "items" => {
                bent.insert(key.clone(), bend(value, depth + 1, changed));
            }
            "anyOf" | "allOf" | "oneOf" => {
                let members: Vec<Value> =
                    value.as_array().into_iter().flatten().map(|member| bend(member, depth + 1, changed)).collect();
                let name = if key == "oneOf" { "anyOf" } else { key };
                *changed |= key == "oneOf";
                bent.insert(name.into(), members.into());
            }
            "format" if value.as_str().is_some_and(|format| STRING_FORMATS.contains(&format)) => {
                bent.insert(key.clone(), value.clone());
            }
            "minItems" if value.as_u64().is_some_and(|items| items <= 1) => {
                bent.insert(key.clone(), value.clone());
            }
            "type" | "$ref" | "enum" | "const" | "required" | "title" | "description" | "default" => {
                bent.insert(key.clone(), value.clone());
            }
            "additionalProperties" | "$schema" | "$id" => {}
            _ => said.push(format!("{key}: {value}")),
        }
    }
    if bent.get("type").is_some_and(|kind| kind == "object") || bent.contains_key("properties") {
        bent.insert("additionalProperties".into(), false.into());
    }
    if !said.is_empty() {
        *changed = true;
        let lead = bent.get("description").and_then(Value::as_str).map(|text| format!("{text}\n\n")).unwrap_or_default();
        bent.insert("description".into(), format!("{lead}{{{}}}", said.join(", ")).into());
    }
    bent.into()
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

/// A choice of schemas at the top, where only an object is taken: wrapped in an object with one property. `None`: it fits.
pub(crate) fn wrapped(parameters: &Value, property: &str) -> Option<Value> {
    let object = parameters.as_object()?;
    ["anyOf", "oneOf", "allOf"]
        .iter()
        .any(|key| object.contains_key(*key))
        .then(|| json!({"type": "object", "properties": {property: parameters}, "required": [property]}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_constraints_move_into_the_description_and_objects_are_closed() {
        let schema = json!({"type": "object", "properties": {
            "n": {"type": "integer", "minimum": 1, "description": "count"},
            "s": {"oneOf": [{"type": "string", "pattern": "^a"}, {"type": "null"}]}}});
        let expected = json!({"type": "object", "properties": {
            "n": {"type": "integer", "description": "count\n\n{minimum: 1}"},
            "s": {"anyOf": [{"type": "string", "description": "{pattern: \"^a\"}"}, {"type": "null"}]}},
            "additionalProperties": false});
        assert_eq!(for_anthropic(&schema), (expected, true));
        let closed = json!({"type": "object", "properties": {}, "additionalProperties": false});
        assert_eq!(for_anthropic(&closed), (closed, false));
    }

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
        let choice = json!({"anyOf": []});
        let expected = json!({"type": "object", "properties": {"input": {"anyOf": []}}, "required": ["input"]});
        assert_eq!(wrapped(&choice, "input"), Some(expected));
        assert_eq!(wrapped(&json!({"type": "object"}), "input"), None);
    }
}
