//! The OpenAPI subset, as a Gemini client writes it, read as JSON Schema.

use serde_json::{Value, json};

use super::super::native::camel_case;
use super::{MAX_DEPTH, any};
use crate::ir::Object;

/// Types in lower case, `nullable` as a union with null, both spellings of every keyword.
pub(crate) fn to_json_schema(schema: &Value) -> Value {
    read(schema, 0)
}

fn read(schema: &Value, depth: usize) -> Value {
    let Value::Object(fields) = schema else { return schema.clone() };
    if depth >= MAX_DEPTH {
        return any();
    }
    let mut plain = Object::new();
    for (name, value) in fields {
        let camel = camel_case(name);
        match (camel.as_str(), value) {
            ("type", Value::String(kind)) if kind == "TYPE_UNSPECIFIED" => {}
            ("type", Value::String(kind)) => {
                plain.insert("type".into(), kind.to_ascii_lowercase().into());
            }
            ("properties" | "defs", Value::Object(all)) => {
                let all: Object = all.iter().map(|(name, one)| (name.clone(), read(one, depth + 1))).collect();
                plain.insert(if camel == "defs" { "$defs".into() } else { camel }, all.into());
            }
            ("items" | "additionalProperties", value) => {
                plain.insert(camel, read(value, depth + 1));
            }
            ("anyOf", Value::Array(list)) => {
                plain.insert(camel, list.iter().map(|one| read(one, depth + 1)).collect());
            }
            ("minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties", Value::String(text)) => {
                plain.insert(camel, text.parse::<u64>().map_or_else(|_| value.clone(), Value::from));
            }
            ("ref", Value::String(reference)) => {
                plain.insert("$ref".into(), reference.replace("#/defs/", "#/$defs/").into());
            }
            // An order of properties is no constraint; `example` is `examples` in JSON Schema.
            ("propertyOrdering" | "nullable", _) => {}
            ("example", value) => {
                plain.insert("examples".into(), json!([value]));
            }
            ("format", Value::String(format)) if format == "enum" => {}
            (_, value) => {
                plain.insert(camel, value.clone());
            }
        }
    }
    if fields.get("nullable") == Some(&Value::Bool(true)) {
        admit_null(&mut plain);
    }
    Value::Object(plain)
}

fn admit_null(plain: &mut Object) {
    match plain.get("type").cloned() {
        Some(Value::String(kind)) => {
            plain.insert("type".into(), json!([kind, "null"]));
            if let Some(Value::Array(list)) = plain.get_mut("enum") {
                list.push(Value::Null);
            }
        }
        _ => {
            if let Some(Value::Array(list)) = plain.get_mut("anyOf") {
                list.push(json!({ "type": "null" }));
            }
        }
    }
}
