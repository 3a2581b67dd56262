//! JSON Schema and the two schema languages of Gemini: an OpenAPI subset (`parameters`, `responseSchema`) and a JSON
//! Schema subset (`parametersJsonSchema`, `responseJsonSchema`).
//!
//! A schema that says nothing beyond the OpenAPI subset is sent in it, which every model takes; others go as JSON Schema.
//! Only schema positions are walked: a property may be named `title`, `format` or `$ref`, and stays.

use serde_json::{Value, json};

use crate::ir::Object;

/// Deepest schema that is rewritten; below, it is sent as it stands.
const MAX_DEPTH: usize = 64;
/// How often a reference is followed inside itself when it must be inlined.
const MAX_UNROLL: usize = 2;

/// A schema in one of Gemini's languages.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Converted {
    OpenApi(Value),
    JsonSchema(Value),
}

/// A converted schema, and the keywords that were left out.
pub(super) struct Conversion {
    pub schema: Converted,
    pub left_out: Vec<String>,
}

pub(super) fn convert(schema: &Value, json_schema_allowed: bool) -> Conversion {
    let mut left_out = Vec::new();
    let schema = if json_schema_allowed && !fits_open_api(schema, 0) {
        Converted::JsonSchema(clean(schema, &mut left_out, 0))
    } else {
        let mut subset = Subset { root: schema, left_out: &mut left_out, unrolled: Vec::new() };
        Converted::OpenApi(subset.schema(schema, 0))
    };
    left_out.sort();
    left_out.dedup();
    Conversion { schema, left_out }
}

/// Keywords both languages know with the same meaning.
const SHARED: &[&str] = &["title", "description", "enum", "required", "minItems", "maxItems", "minimum", "maximum"];
/// Keywords the OpenAPI subset knows beyond [`SHARED`].
const OPEN_API: &[&str] = &[
    "nullable",
    "propertyOrdering",
    "minLength",
    "maxLength",
    "pattern",
    "minProperties",
    "maxProperties",
    "default",
    "example",
];
/// Keywords that say nothing about a value; leaving them out loses nothing.
const MUTE: &[&str] = &["$schema", "$comment", "$id", "$anchor", "examples", "deprecated", "readOnly", "writeOnly", "strict"];
const OPEN_API_FORMATS: &[&str] = &["float", "double", "int32", "int64", "enum", "date-time"];

fn fits_open_api(schema: &Value, depth: usize) -> bool {
    let Value::Object(fields) = schema else { return false };
    depth < MAX_DEPTH
        && fields.iter().all(|(name, value)| match name.as_str() {
            "type" => type_fits(value),
            "format" => value.as_str().is_some_and(|format| OPEN_API_FORMATS.contains(&format)),
            "enum" => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
            "properties" => value.as_object().is_some_and(|all| all.values().all(|one| fits_open_api(one, depth + 1))),
            "items" => fits_open_api(value, depth + 1),
            "anyOf" => value.as_array().is_some_and(|list| list.iter().all(|one| fits_open_api(one, depth + 1))),
            name => SHARED.contains(&name) || OPEN_API.contains(&name) || MUTE.contains(&name),
        })
}

/// One type, or one type and null.
fn type_fits(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(list) => list.iter().all(Value::is_string) && list.iter().filter(|kind| *kind != "null").count() == 1,
        _ => false,
    }
}

/// Rewrites for `…JsonSchema`.
fn clean(schema: &Value, left_out: &mut Vec<String>, depth: usize) -> Value {
    let Value::Object(fields) = schema else {
        // `true` and `false` as schemas.
        return if schema.is_boolean() { json!({}) } else { schema.clone() };
    };
    if depth >= MAX_DEPTH {
        return schema.clone();
    }
    if let Some(Value::String(reference)) = fields.get("$ref") {
        // Nothing but `$` keywords may stand beside it.
        let mut kept = json!({ "$ref": reference.replace("#/definitions/", "#/$defs/") });
        for name in ["$defs", "definitions"] {
            if let Some(Value::Object(all)) = fields.get(name) {
                kept["$defs"] = Value::Object(cleaned_map(all, left_out, depth));
            }
        }
        return kept;
    }
    let mut kept = Object::new();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("properties", Value::Object(all)) => {
                kept.insert(name.clone(), cleaned_map(all, left_out, depth).into());
            }
            ("$defs" | "definitions", Value::Object(all)) => {
                kept.insert("$defs".into(), cleaned_map(all, left_out, depth).into());
            }
            ("additionalProperties", Value::Bool(_)) | ("type" | "format", _) => {
                kept.insert(name.clone(), value.clone());
            }
            ("items" | "additionalProperties", value) => {
                kept.insert(name.clone(), clean(value, left_out, depth + 1));
            }
            ("anyOf" | "oneOf", Value::Array(list)) => {
                kept.insert("anyOf".into(), list.iter().map(|one| clean(one, left_out, depth + 1)).collect());
            }
            ("prefixItems", Value::Array(list)) => {
                kept.insert(name.clone(), list.iter().map(|one| clean(one, left_out, depth + 1)).collect());
            }
            ("allOf", Value::Array(list)) => {
                for one in list {
                    merge(&mut kept, clean(one, left_out, depth + 1));
                }
            }
            ("const", value) => {
                kept.insert("enum".into(), json!([value]));
            }
            ("required", Value::Array(names)) => {
                let known = fields.get("properties").and_then(Value::as_object);
                let is_known =
                    |name: &&Value| known.is_none_or(|known| name.as_str().is_some_and(|name| known.contains_key(name)));
                kept.insert("required".into(), names.iter().filter(is_known).cloned().collect());
            }
            (name, value) if SHARED.contains(&name) => {
                kept.insert(name.into(), value.clone());
            }
            (name, _) if MUTE.contains(&name) => {}
            (name, _) => left_out.push(name.to_owned()),
        }
    }
    Value::Object(kept)
}

fn cleaned_map(all: &Object, left_out: &mut Vec<String>, depth: usize) -> Object {
    all.iter().map(|(name, one)| (name.clone(), clean(one, left_out, depth + 1))).collect()
}

/// Brings the members of an `allOf` together; objects and lists are united, the first scalar stays.
fn merge(into: &mut Object, other: Value) {
    let Value::Object(other) = other else { return };
    for (name, value) in other {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(here)), Value::Object(there)) => here.extend(there),
            (Some(Value::Array(here)), Value::Array(there)) => here.extend(there),
            (Some(_), _) => {}
            (None, value) => {
                into.insert(name, value);
            }
        }
    }
}

/// Rewrites for `parameters` and `responseSchema`.
struct Subset<'a> {
    root: &'a Value,
    left_out: &'a mut Vec<String>,
    /// References being followed.
    unrolled: Vec<&'a str>,
}

impl<'a> Subset<'a> {
    fn schema(&mut self, schema: &'a Value, depth: usize) -> Value {
        let Value::Object(fields) = schema else { return json!({}) };
        if depth >= MAX_DEPTH {
            return json!({ "type": "OBJECT" });
        }
        if let Some(Value::String(reference)) = fields.get("$ref") {
            return self.reference(reference, depth);
        }
        let mut kept = Object::new();
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("type", value) => set_type(&mut kept, value),
                ("format", Value::String(format)) if OPEN_API_FORMATS.contains(&format.as_str()) => {
                    kept.insert(name.clone(), value.clone());
                }
                ("enum", Value::Array(list)) => self.enumeration(&mut kept, list),
                ("const", value) => self.enumeration(&mut kept, std::slice::from_ref(value)),
                ("properties", Value::Object(all)) => {
                    let all: Object = all.iter().map(|(name, one)| (name.clone(), self.schema(one, depth + 1))).collect();
                    kept.insert(name.clone(), all.into());
                }
                ("items", value) => {
                    kept.insert(name.clone(), self.schema(value, depth + 1));
                }
                ("prefixItems", Value::Array(list)) => {
                    let any: Vec<Value> = list.iter().map(|one| self.schema(one, depth + 1)).collect();
                    kept.insert("minItems".into(), any.len().into());
                    kept.insert("maxItems".into(), any.len().into());
                    kept.insert("items".into(), json!({ "anyOf": any }));
                    self.left_out.push("prefixItems".into());
                }
                ("anyOf" | "oneOf", Value::Array(list)) => self.any_of(&mut kept, list, depth),
                ("allOf", Value::Array(list)) => {
                    for one in list {
                        let one = self.schema(one, depth + 1);
                        merge(&mut kept, one);
                    }
                }
                ("required", Value::Array(names)) => {
                    let known = fields.get("properties").and_then(Value::as_object);
                    let is_known =
                        |name: &&Value| known.is_some_and(|known| name.as_str().is_some_and(|name| known.contains_key(name)));
                    let names: Vec<Value> = names.iter().filter(is_known).cloned().collect();
                    if !names.is_empty() {
                        kept.insert("required".into(), names.into());
                    }
                }
                (name, value) if SHARED.contains(&name) || OPEN_API.contains(&name) => {
                    kept.insert(name.into(), value.clone());
                }
                (name, _) if MUTE.contains(&name) || name == "$defs" || name == "definitions" => {}
                (name, _) => self.left_out.push(name.to_owned()),
            }
        }
        if kept.get("type").is_some_and(|kind| kind == "ARRAY") && !kept.contains_key("items") {
            // Several models refuse an array without.
            kept.insert("items".into(), json!({}));
        }
        Value::Object(kept)
    }

    fn reference(&mut self, reference: &'a str, depth: usize) -> Value {
        let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let Some(target) = target.filter(|_| self.unrolled.iter().filter(|seen| **seen == reference).count() < MAX_UNROLL) else {
            self.left_out.push("$ref".into());
            return json!({ "type": "OBJECT" });
        };
        self.unrolled.push(reference);
        let inlined = self.schema(target, depth + 1);
        self.unrolled.pop();
        inlined
    }

    fn any_of(&mut self, kept: &mut Object, list: &'a [Value], depth: usize) {
        let is_null = |one: &&Value| one["type"] == "null";
        if list.iter().any(|one| is_null(&one)) {
            kept.insert("nullable".into(), true.into());
        }
        let mut rest: Vec<Value> = list.iter().filter(|one| !is_null(one)).map(|one| self.schema(one, depth + 1)).collect();
        match rest.len() {
            1 => merge(kept, rest.remove(0)),
            _ => {
                kept.insert("anyOf".into(), rest.into());
            }
        }
    }

    /// Only strings may be listed.
    fn enumeration(&mut self, kept: &mut Object, list: &[Value]) {
        if list.iter().any(|value| !value.is_string()) {
            self.left_out.push("enum".into());
            let text = list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let before = kept.get("description").and_then(Value::as_str).map(|text| format!("{text} ")).unwrap_or_default();
            kept.insert("description".into(), format!("{before}One of: {text}").into());
            return;
        }
        kept.insert("enum".into(), list.iter().filter(|value| *value != "").cloned().collect());
        kept.entry("type").or_insert_with(|| "STRING".into());
    }
}

fn set_type(kept: &mut Object, value: &Value) {
    match value {
        Value::String(kind) => {
            kept.insert("type".into(), kind.to_ascii_uppercase().into());
        }
        Value::Array(list) => {
            if list.iter().any(|kind| kind == "null") {
                kept.insert("nullable".into(), true.into());
            }
            let mut kinds: Vec<String> =
                list.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").map(str::to_ascii_uppercase).collect();
            match kinds.len() {
                0 => {}
                1 => {
                    kept.insert("type".into(), kinds.remove(0).into());
                }
                _ => {
                    kept.insert("anyOf".into(), kinds.iter().map(|kind| json!({ "type": kind })).collect());
                }
            }
        }
        _ => {}
    }
}

/// A client's OpenAPI subset as JSON Schema: types in lower case, `nullable` as a union with null.
pub(super) fn to_json_schema(schema: &Value) -> Value {
    open_api_to_json_schema(schema, 0)
}

fn open_api_to_json_schema(schema: &Value, depth: usize) -> Value {
    let Value::Object(fields) = schema else { return schema.clone() };
    if depth >= MAX_DEPTH {
        return schema.clone();
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
                let all: Object = all.iter().map(|(name, one)| (name.clone(), open_api_to_json_schema(one, depth + 1))).collect();
                plain.insert(if camel == "defs" { "$defs".into() } else { camel }, all.into());
            }
            ("items" | "additionalProperties", value) => {
                plain.insert(camel, open_api_to_json_schema(value, depth + 1));
            }
            ("anyOf", Value::Array(list)) => {
                plain.insert(camel, list.iter().map(|one| open_api_to_json_schema(one, depth + 1)).collect());
            }
            ("minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties", Value::String(text)) => {
                plain.insert(camel, text.parse::<u64>().map_or_else(|_| value.clone(), Value::from));
            }
            ("ref", value) => {
                plain.insert("$ref".into(), value.clone());
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
    Value::Object(plain)
}

/// Keywords of the subset in the spelling of protobuf's other JSON form.
fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        match c {
            '_' if !camel.is_empty() => upper = true,
            c if std::mem::take(&mut upper) => camel.push(c.to_ascii_uppercase()),
            c => camel.push(c),
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_api(schema: Value) -> Value {
        match convert(&schema, true).schema {
            Converted::OpenApi(schema) => schema,
            Converted::JsonSchema(schema) => panic!("went as JSON Schema: {schema}"),
        }
    }

    fn subset(schema: Value) -> (Value, Vec<String>) {
        let conversion = convert(&schema, false);
        match conversion.schema {
            Converted::OpenApi(schema) => (schema, conversion.left_out),
            Converted::JsonSchema(schema) => panic!("went as JSON Schema: {schema}"),
        }
    }

    #[test]
    fn a_simple_schema_goes_in_the_subset_and_property_names_are_data() {
        let schema = json!({
            "$schema": "x", "type": "object", "required": ["title", "$ref"],
            "properties": {"title": {"type": "string"}, "format": {"type": ["integer", "null"]}, "$ref": {"type": "array", "items": {"type": "number"}}}
        });
        assert_eq!(
            open_api(schema),
            json!({
                "type": "OBJECT", "required": ["title", "$ref"],
                "properties": {"title": {"type": "STRING"}, "format": {"nullable": true, "type": "INTEGER"}, "$ref": {"type": "ARRAY", "items": {"type": "NUMBER"}}}
            })
        );
    }

    #[test]
    fn keywords_beyond_the_subset_send_it_as_json_schema_cleaned() {
        let schema = json!({
            "$schema": "x", "type": "object", "additionalProperties": false, "propertyNames": {"pattern": "a"},
            "properties": {"kind": {"const": "a"}, "n": {"type": "number", "exclusiveMinimum": 0}, "list": {"type": "array", "uniqueItems": true, "items": {"$ref": "#/definitions/x"}}},
            "definitions": {"x": {"type": "string"}}
        });
        let conversion = convert(&schema, true);
        assert_eq!(
            conversion.schema,
            Converted::JsonSchema(json!({
                "type": "object", "additionalProperties": false,
                "properties": {"kind": {"enum": ["a"]}, "n": {"type": "number"}, "list": {"type": "array", "items": {"$ref": "#/$defs/x"}}},
                "$defs": {"x": {"type": "string"}}
            }))
        );
        assert_eq!(conversion.left_out, ["exclusiveMinimum", "propertyNames", "uniqueItems"]);
    }

    #[test]
    fn the_subset_alone_inlines_merges_and_ends_recursion() {
        let (schema, left_out) = subset(json!({
            "type": "object", "additionalProperties": false, "required": ["a", "gone"],
            "properties": {
                "a": {"$ref": "#/$defs/node"}, "b": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "c": {"type": "integer", "enum": [1, 2]}, "d": {"type": "array"}
            },
            "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}}
        }));
        assert_eq!(
            schema,
            json!({
                "type": "OBJECT", "required": ["a"],
                "properties": {
                    "a": {"type": "OBJECT", "properties": {"next": {"type": "OBJECT", "properties": {"next": {"type": "OBJECT"}}}}},
                    "b": {"nullable": true, "type": "STRING"},
                    "c": {"type": "INTEGER", "description": "One of: 1, 2"},
                    "d": {"type": "ARRAY", "items": {}}
                }
            })
        );
        assert_eq!(left_out, ["$ref", "additionalProperties", "enum"]);
    }

    #[test]
    fn a_clients_subset_reads_as_json_schema() {
        let schema = json!({
            "type": "OBJECT", "property_ordering": ["a"],
            "properties": {"a": {"type": "STRING", "nullable": true, "format": "enum", "enum": ["x"]}, "any_of": {"type": "ARRAY", "min_items": "1", "items": {"type": "integer"}}}
        });
        assert_eq!(
            to_json_schema(&schema),
            json!({
                "type": "object",
                "properties": {"a": {"type": ["string", "null"], "enum": ["x", null]}, "any_of": {"type": "array", "minItems": 1, "items": {"type": "integer"}}}
            })
        );
    }
}
