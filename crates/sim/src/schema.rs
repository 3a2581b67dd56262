//! Makes a JSON value that follows a JSON Schema: the arguments of simulated tool calls and structured answers.

use serde_json::{Map, Number, Value, json};

/// Depth at which nested schemas are cut off, so that a recursive one ends.
const MAX_DEPTH: usize = 12;
/// Items an array may be made to hold, whatever `minItems` says.
const MAX_ITEMS: u64 = 16;

/// A value for `schema`: all properties of objects, one item in arrays, the first value of an enumeration.
/// Takes type names in lower case (JSON Schema) and upper case (Gemini), and follows references inside the same schema.
pub(crate) fn example(schema: &Value) -> Value {
    fill(schema, schema, MAX_DEPTH)
}

fn fill(root: &Value, schema: &Value, depth: usize) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    if let Some(target) = schema["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        return root.pointer(target).map_or(Value::Null, |found| fill(root, found, depth - 1));
    }
    if let Some(constant) = schema.get("const") {
        return constant.clone();
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema[key].get(0) {
            return fill(root, first, depth - 1);
        }
    }
    match type_name(schema).as_str() {
        "object" => object(root, schema, depth),
        "array" => {
            let wanted = schema["minItems"].as_u64().unwrap_or(1).clamp(1, MAX_ITEMS);
            let item = schema.get("items").map_or(Value::Null, |items| fill(root, items, depth - 1));
            Value::Array((0..wanted).map(|_| item.clone()).collect())
        }
        "integer" => number(schema, &json!(1)),
        "number" => number(schema, &json!(1.5)),
        "boolean" => Value::Bool(true),
        "null" => Value::Null,
        _ => Value::String(string(schema)),
    }
}

fn type_name(schema: &Value) -> String {
    let named = match &schema["type"] {
        Value::String(name) => Some(name.as_str()),
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        _ => None,
    };
    match named {
        Some(name) => name.to_ascii_lowercase(),
        None if schema["properties"].is_object() => "object".to_owned(),
        None if schema.get("items").is_some() => "array".to_owned(),
        None => "string".to_owned(),
    }
}

fn object(root: &Value, schema: &Value, depth: usize) -> Value {
    let mut fields = Map::new();
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            fields.insert(name.clone(), fill(root, property, depth - 1));
        }
    }
    Value::Object(fields)
}

fn number(schema: &Value, usual: &Value) -> Value {
    let least = schema["minimum"].as_number().cloned();
    let usual_number = usual.as_number().cloned().unwrap_or_else(|| Number::from(1));
    Value::Number(least.unwrap_or(usual_number))
}

fn string(schema: &Value) -> String {
    let text = match schema["format"].as_str() {
        Some("date") => "2026-01-02",
        Some("date-time") => "2026-01-02T03:04:05Z",
        Some("time") => "03:04:05",
        Some("email") => "someone@example.com",
        Some("uri") => "https://example.com/",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        _ => "Zürich",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_is_filled_by_its_type() {
        let schema = json!({"type": "object", "properties": {
            "city": {"type": "string"}, "days": {"type": "integer", "minimum": 3},
            "unit": {"enum": ["C", "F"]}, "tags": {"type": "array", "items": {"type": "boolean"}},
            "when": {"type": ["null", "string"], "format": "date"}}});
        let made = json!({"city": "Zürich", "days": 3, "unit": "C", "tags": [true], "when": "2026-01-02"});
        assert_eq!(example(&schema), made);
    }

    #[test]
    fn gemini_type_names_and_references_are_understood() {
        let schema = json!({"type": "OBJECT", "properties": {"a": {"$ref": "#/$defs/N"}}, "$defs": {"N": {"type": "NUMBER"}}});
        assert_eq!(example(&schema), json!({"a": 1.5}));
    }

    #[test]
    fn a_recursive_schema_ends() {
        let schema = json!({"type": "object", "properties": {"next": {"$ref": "#"}}});
        assert!(example(&schema).is_object());
    }
}
