//! The compiler of JSON Schemas for Gemini, which knows two schema languages: a JSON Schema subset
//! (`parametersJsonSchema`, `responseJsonSchema`) and, for older models, an OpenAPI subset (`parameters`, `responseSchema`).
//!
//! One keyword Google does not know fails the whole request, so what comes out holds only keywords of the target, at any
//! depth; what it cannot say is written into the description where a reader gains by it, and noted. Only schema positions
//! are walked: a property may be named `title`, `format` or `$ref`, and stays.
//!
//! Any value may be given. The result depends on nothing but it, and compiling a result again changes nothing. Work and
//! size are bounded: [`MAX_DEPTH`], [`MAX_COPIED_BYTES`], [`MAX_UNROLL`], [`MAX_DEFINITIONS`], [`MAX_NOTES`].

mod json;
mod merge;
mod notes;
mod open_api;
mod read;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::ir::Object;

pub(crate) use read::to_json_schema;

/// Deepest nesting that is kept; what lies below is any value.
const MAX_DEPTH: usize = 64;
/// Most that is written more often than the schema has it (references inlined, siblings spread over a choice), in bytes.
pub(crate) const MAX_COPIED_BYTES: usize = 256 * 1024;
/// How often a reference is followed inside itself where it must be inlined.
const MAX_UNROLL: usize = 2;
/// Most definitions that are kept; references to others are any value.
const MAX_DEFINITIONS: usize = 1024;
/// Most notes a compilation makes.
const MAX_NOTES: usize = 64;

/// Which of the two languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    JsonSchema,
    OpenApi,
}

/// A compiled schema, and the keywords that could not be said, sorted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Compiled {
    pub schema: Value,
    pub notes: Vec<String>,
}

pub(crate) fn compile(schema: &Value, target: Target) -> Compiled {
    let (schema, notes) = match target {
        Target::JsonSchema => json::compile(schema),
        Target::OpenApi => open_api::compile(schema),
    };
    Compiled { schema, notes: notes.into_sorted() }
}

/// The parameters of a function, which must be an object at the top.
pub(crate) fn compile_parameters(schema: &Value, target: Target) -> Compiled {
    let mut compiled = compile(schema, target);
    if let Value::Object(fields) = &mut compiled.schema
        && !fields.contains_key("type")
        && !(target == Target::OpenApi && fields.contains_key("anyOf"))
    {
        fields.insert("type".into(), if target == Target::OpenApi { "OBJECT" } else { "object" }.into());
    }
    compiled
}

/// Keywords both languages know with the same meaning and the same form, by the form of their value.
fn fits_shared(name: &str, value: &Value) -> bool {
    match name {
        "title" | "description" => value.is_string(),
        "minItems" | "maxItems" => value.is_u64(),
        "minimum" | "maximum" => value.is_number(),
        _ => false,
    }
}

/// Keywords that say nothing about a value: leaving them out loses nothing.
fn is_mute(name: &str, value: &Value) -> bool {
    const MUTE: &[&str] = &[
        "$schema",
        "$comment",
        "$id",
        "$anchor",
        "$vocabulary",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "strict",
        "$defs",
        "definitions",
    ];
    MUTE.contains(&name) || name.starts_with("x-") || value.is_null()
}

/// Constraints and hints a reader of the description gains by.
const TELLING: &[&str] = &[
    "pattern",
    "format",
    "minLength",
    "maxLength",
    "minProperties",
    "maxProperties",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "uniqueItems",
    "default",
    "example",
    "enum",
    "const",
];

/// The names of the JSON Schema types, in lower case; `None` for what is none.
fn type_name(value: &Value) -> Option<&'static str> {
    const TYPES: &[&str] = &["string", "number", "integer", "boolean", "object", "array", "null"];
    let name = value.as_str()?;
    TYPES.iter().find(|known| known.eq_ignore_ascii_case(name)).copied()
}

/// Holds a list of property names to those that are declared, each once. Gives whether it named another.
fn hold_to_properties(kept: &mut Object, keyword: &str) -> bool {
    let Some(list) = kept.shift_remove(keyword) else { return false };
    let Value::Array(names) = list else { return true };
    let declared = kept.get("properties").and_then(Value::as_object);
    let mut seen = BTreeSet::new();
    let mut names_another = false;
    let mut known: Vec<Value> = Vec::new();
    for name in &names {
        match name.as_str().filter(|name| declared.is_some_and(|all| all.contains_key(*name))) {
            Some(name) if seen.insert(name) => known.push(name.into()),
            Some(_) => {}
            None => names_another = true,
        }
    }
    if !known.is_empty() {
        kept.insert(keyword.into(), known.into());
    }
    names_another
}

/// What a reference leads to. Only places in the same document are followed.
fn resolve<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    let pointer = reference.strip_prefix('#')?;
    root.pointer(pointer).filter(|target| target.is_object() || target.is_boolean())
}

fn any() -> Value {
    json!({})
}

#[cfg(test)]
mod tests;
