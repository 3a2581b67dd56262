//! OpenAI's own schema as the judge of what is composed, where the folder with it is present.
//!
//! A validator of the keywords that schema uses; `pattern` and `format` are not judged.

use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::Value;

/// The definitions; `None`, said once, where they are absent.
fn definitions() -> Option<&'static Value> {
    static DEFINITIONS: OnceLock<Option<Value>> = OnceLock::new();
    DEFINITIONS
        .get_or_init(|| {
            let shared = std::env::var_os("TALLYGATE_SHARED")
                .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
            let file = shared.join("specs/openai.schema.json");
            let Ok(text) = std::fs::read(&file) else {
                eprintln!("skipped: no schema at {} (set TALLYGATE_SHARED), so composed answers are not judged", file.display());
                return None;
            };
            Some(serde_json::from_slice::<Value>(&text).unwrap()["$defs"].take())
        })
        .as_ref()
}

/// Fails unless the value is valid by the definition of that name.
pub fn assert_valid(root: &str, value: &Value) {
    let Some(definitions) = definitions() else { return };
    if let Err(problem) = check(&definitions[root], value, definitions) {
        panic!("not a valid {root}: {problem}\n{value:#}");
    }
}

fn check(schema: &Value, value: &Value, definitions: &Value) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.trim_start_matches("#/$defs/");
        check(&definitions[name], value, definitions).map_err(|problem| format!("{name}: {problem}"))?;
    }
    let one_of = |list: &[Value], exactly: bool| -> Result<(), String> {
        let results: Vec<Result<(), String>> = list.iter().map(|schema| check(schema, value, definitions)).collect();
        match results.iter().filter(|result| result.is_ok()).count() {
            0 => {
                // Of many kinds, the one of this `type` tells most.
                let told = list.iter().zip(&results).find(|(schema, _)| is_of_type(schema, value, definitions));
                Err(told
                    .or_else(|| list.iter().zip(&results).next())
                    .and_then(|(_, result)| result.clone().err())
                    .unwrap_or_default())
            }
            1 => Ok(()),
            _ if exactly => Err("fits more than one".into()),
            _ => Ok(()),
        }
    };
    if let Some(list) = schema["anyOf"].as_array() {
        one_of(list, false)?;
    }
    if let Some(list) = schema["oneOf"].as_array() {
        one_of(list, true)?;
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        check(part, value, definitions)?;
    }
    let has_type = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => value.is_number(),
    };
    let fits = match &schema["type"] {
        Value::String(kind) => has_type(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).any(has_type),
        _ => true,
    };
    if !fits {
        return Err(format!("{value} is not of type {}", schema["type"]));
    }
    if schema["enum"].as_array().is_some_and(|list| !list.contains(value)) {
        return Err(format!("{value} is none of {}", schema["enum"]));
    }
    if let Some(object) = value.as_object() {
        for field in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(field) {
                return Err(format!("`{field}` is missing"));
            }
        }
        for (field, member) in object {
            let known = schema["properties"].get(field).or_else(|| schema.get("additionalProperties"));
            match known {
                Some(Value::Bool(false)) => return Err(format!("`{field}` is not allowed")),
                Some(schema) => check(schema, member, definitions).map_err(|problem| format!("{field}: {problem}"))?,
                None => {}
            }
        }
    }
    if let Some(list) = value.as_array() {
        for (i, member) in list.iter().enumerate().filter(|_| schema["items"].is_object()) {
            check(&schema["items"], member, definitions).map_err(|problem| format!("{i}: {problem}"))?;
        }
    }
    let bounds = [
        ("minLength", "maxLength", value.as_str().map(|text| text.chars().count())),
        ("minItems", "maxItems", value.as_array().map(Vec::len)),
    ];
    for (least, most, size) in bounds {
        let Some(size) = size.map(|size| size as u64) else { continue };
        if schema[least].as_u64().is_some_and(|least| size < least) || schema[most].as_u64().is_some_and(|most| size > most) {
            return Err(format!("{value} is shorter or longer than allowed"));
        }
    }
    Ok(())
}

fn is_of_type(schema: &Value, value: &Value, definitions: &Value) -> bool {
    let schema = schema["$ref"].as_str().map_or(schema, |name| &definitions[name.trim_start_matches("#/$defs/")]);
    schema["properties"]["type"]["enum"].as_array().is_some_and(|kinds| kinds.contains(&value["type"]))
}

#[test]
fn the_judge_knows_right_from_wrong() {
    let Some(definitions) = definitions() else { return };
    let delta = serde_json::json!({"type": "response.refusal.delta", "sequence_number": 3, "item_id": "i", "output_index": 0, "content_index": 0, "delta": "no"});
    assert_eq!(check(&definitions["ResponseStreamEvent"], &delta, definitions), Ok(()));
    let mut broken = delta.clone();
    broken["output_index"] = "0".into();
    assert!(check(&definitions["ResponseStreamEvent"], &broken, definitions).is_err());
    let mut broken = delta;
    broken.as_object_mut().unwrap().remove("delta");
    assert!(check(&definitions["ResponseStreamEvent"], &broken, definitions).is_err());
}
