//! JSON Schemas for `output_config.format` and strict tools: the subset the API compiles, and what lies outside of it.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// Schemas nest no deeper than this; what lies deeper is passed as it is.
const MAX_DEPTH: usize = 64;
/// Most optional properties of a schema, all objects together: grammars with a few more than these fail to compile.
const MAX_OPTIONAL: usize = 10;
/// Most schemas looked at before a schema counts as too large to compile.
const MAX_NODES: usize = 10_000;
const STRING_FORMATS: &[&str] = &["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

/// A schema within the subset.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bent {
    pub schema: Value,
    /// More was changed than that objects were closed.
    pub changed: bool,
}

/// Objects are closed, `oneOf` becomes `anyOf`, and constraints that are not enforced move into the description. The same
/// schema always gives the same bytes. `Err`: why it cannot be enforced at all.
pub(super) fn bend(schema: &Value) -> Result<Bent, &'static str> {
    let mut survey = Survey { root: schema, open: Vec::new(), done: HashSet::new(), optional: 0, nodes: 0 };
    survey.look(schema, 0)?;
    let mut changed = false;
    let schema = rewritten(schema, 0, &mut changed);
    Ok(Bent { schema, changed })
}

/// Looks for what no grammar can be made of.
struct Survey<'a> {
    root: &'a Value,
    /// References that are being followed.
    open: Vec<&'a str>,
    done: HashSet<&'a str>,
    optional: usize,
    nodes: usize,
}

impl<'a> Survey<'a> {
    fn look(&mut self, schema: &'a Value, depth: usize) -> Result<(), &'static str> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err("the schema is too large to be enforced");
        }
        let Value::Object(object) = schema else { return Ok(()) };
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            self.follow(reference, depth)?;
        }
        let properties = object.get("properties").and_then(Value::as_object);
        let is_object = object.get("type").is_some_and(|kind| kind == "object");
        match object.get("additionalProperties") {
            Some(Value::Object(_)) => return Err("objects with any property names cannot be enforced"),
            Some(Value::Bool(false)) => {}
            _ if is_object
                && properties.is_none_or(Map::is_empty)
                && !["anyOf", "oneOf", "allOf", "$ref"].iter().any(|key| object.contains_key(*key)) =>
            {
                return Err("objects with any property names cannot be enforced");
            }
            _ => {}
        }
        if let Some(properties) = properties {
            let required: HashSet<&str> =
                object.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
            self.optional += properties.keys().filter(|name| !required.contains(name.as_str())).count();
            if self.optional > MAX_OPTIONAL {
                return Err("more than ten optional properties cannot be enforced");
            }
            for property in properties.values() {
                self.look(property, depth + 1)?;
            }
        }
        if let Some(items) = object.get("items") {
            self.look(items, depth + 1)?;
        }
        for member in ["anyOf", "oneOf", "allOf"].iter().filter_map(|key| object.get(*key)?.as_array()).flatten() {
            self.look(member, depth + 1)?;
        }
        Ok(())
    }

    fn follow(&mut self, reference: &'a str, depth: usize) -> Result<(), &'static str> {
        if self.open.contains(&reference) || reference == "#" {
            return Err("a recursive schema cannot be enforced");
        }
        if self.done.contains(reference) {
            return Ok(());
        }
        let target = reference
            .strip_prefix('#')
            .and_then(|pointer| self.root.pointer(pointer))
            .ok_or("a reference that leads out of the schema cannot be enforced")?;
        self.open.push(reference);
        self.look(target, depth + 1)?;
        self.open.pop();
        self.done.insert(reference);
        Ok(())
    }
}

fn rewritten(schema: &Value, depth: usize, changed: &mut bool) -> Value {
    let Value::Object(object) = schema else { return schema.clone() };
    if depth > MAX_DEPTH {
        return schema.clone();
    }
    let mut bent = Map::new();
    let mut said: Vec<String> = Vec::new();
    for (key, value) in object {
        match (key.as_str(), value) {
            ("$defs" | "definitions" | "properties", Value::Object(members)) => {
                let members: Map<String, Value> =
                    members.iter().map(|(name, member)| (name.clone(), rewritten(member, depth + 1, changed))).collect();
                bent.insert(key.clone(), members.into());
            }
            ("items", Value::Object(_)) => {
                bent.insert(key.clone(), rewritten(value, depth + 1, changed));
            }
            ("anyOf" | "allOf" | "oneOf", Value::Array(members)) => {
                let members: Vec<Value> = members.iter().map(|member| rewritten(member, depth + 1, changed)).collect();
                *changed |= key == "oneOf";
                bent.insert(if key == "oneOf" { "anyOf".into() } else { key.clone() }, members.into());
            }
            ("format", Value::String(format)) if STRING_FORMATS.contains(&format.as_str()) => {
                bent.insert(key.clone(), value.clone());
            }
            ("minItems", Value::Number(items)) if items.as_u64().is_some_and(|items| items <= 1) => {
                bent.insert(key.clone(), value.clone());
            }
            ("enum", Value::Array(values)) if values.iter().all(is_primitive) => {
                bent.insert(key.clone(), value.clone());
            }
            ("const", value) if is_primitive(value) => {
                bent.insert(key.clone(), value.clone());
            }
            ("type" | "$ref" | "required" | "title" | "description" | "default", _) => {
                bent.insert(key.clone(), value.clone());
            }
            ("additionalProperties", Value::Bool(open)) => *changed |= *open,
            ("additionalProperties" | "$schema" | "$id", _) => {}
            _ => said.push(format!("{key}: {value}")),
        }
    }
    let conflicts = bent.get("type").and_then(Value::as_str).is_some_and(|kind| {
        let values = bent.get("enum").and_then(Value::as_array).into_iter().flatten().chain(bent.get("const"));
        values.into_iter().any(|value| !is_of_type(value, kind))
    });
    if conflicts {
        *changed = true;
        bent.shift_remove("type");
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

fn is_primitive(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

fn is_of_type(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        assert_eq!(bend(&schema), Ok(Bent { schema: expected, changed: true }));
        let closed = json!({"type": "object", "properties": {}, "additionalProperties": false});
        assert_eq!(bend(&closed), Ok(Bent { schema: closed, changed: false }));
    }

    #[test]
    fn enums_keep_a_type_they_agree_with() {
        let same = json!({"type": "string", "enum": ["a"]});
        assert_eq!(bend(&same), Ok(Bent { schema: same, changed: false }));
        let mixed = bend(&json!({"type": "string", "enum": ["a", null]}));
        assert_eq!(mixed, Ok(Bent { schema: json!({"enum": ["a", null]}), changed: true }));
        let deep = bend(&json!({"enum": [{"a": 1}]}));
        assert_eq!(deep, Ok(Bent { schema: json!({"description": "{enum: [{\"a\":1}]}"}), changed: true }));
    }

    #[test]
    fn what_no_grammar_can_say_is_told_apart() {
        let node = json!({"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]});
        assert_eq!(bend(&json!({"$ref": "#/$defs/node", "$defs": {"node": node}})), Err("a recursive schema cannot be enforced"));
        let shared = json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/s"}, "b": {"$ref": "#/$defs/s"}},
            "required": ["a", "b"], "$defs": {"s": {"type": "string"}}});
        assert!(bend(&shared).is_ok());
        for open in [
            json!({"type": "object"}),
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"type": "array", "items": {"type": "object", "properties": {}}}),
        ] {
            assert_eq!(bend(&open), Err("objects with any property names cannot be enforced"), "{open}");
        }
        let wide: Map<String, Value> = (0..11).map(|i| (format!("p{i}"), json!({"type": "string"}))).collect();
        assert_eq!(
            bend(&json!({"type": "object", "properties": wide})),
            Err("more than ten optional properties cannot be enforced")
        );
    }
}
