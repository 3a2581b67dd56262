//! For `parameters` and `responseSchema`.
//!
//! There are no references: they are inlined, and one that leads into itself ends as an object. A type is one word, null
//! is `nullable`, only text can be listed, and nothing stands beside `anyOf`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::merge::merge;
use super::notes::{Budget, Notes, Told};
use super::{MAX_DEPTH, MAX_UNROLL, any, fits_shared, hold_to_properties, is_mute, resolve, type_name};
use crate::ir::Object;

const FORMATS: &[&str] = &["float", "double", "int32", "int64", "enum", "date-time"];

pub(super) fn compile(schema: &Value) -> (Value, Notes) {
    let mut compiler = Compiler {
        root: schema,
        notes: Notes::default(),
        budget: Budget::default(),
        following: BTreeMap::new(),
        is_member: false,
    };
    let compiled = compiler.schema(schema, 0).unwrap_or_else(any);
    (compiled, compiler.notes)
}

struct Compiler<'a> {
    root: &'a Value,
    notes: Notes,
    budget: Budget,
    /// How often each reference is being followed.
    following: BTreeMap<&'a str, usize>,
    /// What is read next is a member of `allOf`: another may declare the properties it requires.
    is_member: bool,
}

impl<'a> Compiler<'a> {
    /// `None`: nothing fits (the schema `false`).
    fn schema(&mut self, schema: &'a Value, depth: usize) -> Option<Value> {
        let is_member = std::mem::take(&mut self.is_member);
        let fields = match schema {
            Value::Object(fields) => fields,
            Value::Bool(false) => return None,
            _ => return Some(any()),
        };
        if depth >= MAX_DEPTH {
            self.notes.add("nesting");
            return Some(json!({ "type": "OBJECT" }));
        }
        let mut kept = Object::new();
        let mut told = Told::default();
        let mut branches: Vec<Value> = Vec::new();
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("$ref", Value::String(_)) => {}
                ("type", value) => self.kind(value, &mut kept, &mut branches),
                ("nullable", value) if *value != Value::Bool(true) => {}
                ("enum", Value::Array(list)) => self.values(name, list, value, &mut kept, &mut told),
                ("const", value) => self.values(name, std::slice::from_ref(value), value, &mut kept, &mut told),
                ("properties", Value::Object(all)) => {
                    let mut properties = Object::new();
                    for (property, schema) in all {
                        match self.schema(schema, depth + 1) {
                            Some(schema) => drop(properties.insert(property.clone(), schema)),
                            None => self.notes.add("properties"),
                        }
                    }
                    kept.insert(name.clone(), properties.into());
                }
                ("items" | "prefixItems", Value::Array(list)) => self.tuple(list, depth, &mut kept),
                ("items", value) if !kept.contains_key("items") => match self.schema(value, depth + 1) {
                    Some(schema) => drop(kept.insert(name.clone(), schema)),
                    None => self.notes.add("items"),
                },
                ("anyOf" | "oneOf", Value::Array(list)) if branches.is_empty() => {
                    branches = self.choice(name, list, depth, &mut kept);
                }
                ("allOf", Value::Array(list)) => {
                    for one in list {
                        self.is_member = true;
                        let one = self.schema(one, depth + 1).unwrap_or_else(any);
                        self.is_member = false;
                        merge(&mut kept, one, &mut self.notes);
                    }
                }
                (name, value) if fits_shared(name, value) || fits(name, value) => drop(kept.insert(name.into(), value.clone())),
                (name, value) if is_mute(name, value) => {}
                (name, value) => told.instead_of(name, value, &mut self.notes),
            }
        }
        if let Some(Value::String(reference)) = fields.get("$ref") {
            let inlined = self.reference(reference, depth);
            merge(&mut kept, inlined, &mut self.notes);
        }
        told.write_into(&mut kept);
        if is_member && branches.is_empty() {
            return Some(Value::Object(kept));
        }
        Some(self.spread(kept, branches))
    }

    fn reference(&mut self, reference: &'a str, depth: usize) -> Value {
        let times = self.following.get(reference).copied().unwrap_or(0);
        let target = resolve(self.root, reference).filter(|target| times < MAX_UNROLL && self.budget.take(target, 1));
        let Some(target) = target else {
            self.notes.add("$ref");
            return json!({ "type": "OBJECT" });
        };
        self.following.insert(reference, times + 1);
        let inlined = self.schema(target, depth + 1).unwrap_or_else(any);
        self.following.insert(reference, times);
        inlined
    }

    /// One type; of several each is a branch.
    fn kind(&mut self, value: &Value, kept: &mut Object, branches: &mut Vec<Value>) {
        let all = match value {
            Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        if all.iter().any(|kind| type_name(kind).is_none()) {
            self.notes.add("type");
        }
        let known: BTreeSet<&str> = all.iter().filter_map(type_name).collect();
        let mut kinds: Vec<String> = Vec::new();
        for kind in all.iter().filter_map(type_name).filter(|kind| *kind != "null") {
            let kind = kind.to_ascii_uppercase();
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        if known.contains("null") {
            kept.insert("nullable".into(), true.into());
            if kinds.is_empty() {
                // Nothing but null: there is no such type, so text that may be null.
                self.notes.add("type");
                kinds.push("STRING".into());
            }
        }
        match kinds.as_slice() {
            [] => {}
            [one] => drop(kept.insert("type".into(), one.as_str().into())),
            many if branches.is_empty() => branches.extend(many.iter().map(|kind| json!({ "type": kind }))),
            _ => self.notes.add("type"),
        }
    }

    /// Only text can be listed: numbers are, as text.
    fn values(&mut self, name: &str, list: &[Value], whole: &Value, kept: &mut Object, told: &mut Told) {
        let (mut has_numbers, mut is_listable) = (false, !kept.contains_key("enum"));
        let mut seen = BTreeSet::new();
        let mut values: Vec<Value> = Vec::new();
        for value in list {
            let text = match value {
                Value::Null => {
                    kept.insert("nullable".into(), true.into());
                    continue;
                }
                Value::String(text) if text.is_empty() => {
                    // Some models refuse an empty one.
                    self.notes.add(name);
                    continue;
                }
                Value::String(text) => text.clone(),
                Value::Number(number) => {
                    has_numbers = true;
                    number.to_string()
                }
                _ => {
                    is_listable = false;
                    break;
                }
            };
            if seen.insert(text.clone()) {
                values.push(text.into());
            }
        }
        if !is_listable || values.is_empty() {
            told.instead_of(name, whole, &mut self.notes);
            return;
        }
        if has_numbers {
            told.instead_of(name, whole, &mut self.notes);
            kept.insert("format".into(), "enum".into());
        }
        kept.insert("enum".into(), values.into());
    }

    /// A tuple is a list of as many members, each one of its kinds.
    fn tuple(&mut self, list: &'a [Value], depth: usize, kept: &mut Object) {
        self.notes.add("prefixItems");
        let members: Vec<Value> = list.iter().filter_map(|one| self.schema(one, depth + 1)).collect();
        kept.insert("minItems".into(), members.len().into());
        kept.insert("maxItems".into(), members.len().into());
        if members.iter().any(|member| *member != any()) {
            let members = self.spread(Object::new(), members);
            kept.insert("items".into(), members);
        }
    }

    /// The branches that say something; null is no branch but a property of the value.
    fn choice(&mut self, name: &str, list: &'a [Value], depth: usize, kept: &mut Object) -> Vec<Value> {
        let is_null = |one: &Value| one.get("type").and_then(type_name) == Some("null");
        if list.iter().any(is_null) {
            kept.insert("nullable".into(), true.into());
        }
        let branches: Vec<Value> =
            list.iter().filter(|one| !is_null(one)).filter_map(|one| self.schema(one, depth + 1)).collect();
        if branches.iter().all(|branch| *branch == any()) {
            self.notes.add(name);
            return Vec::new();
        }
        branches
    }

    fn finish(&mut self, kept: &mut Object) {
        if hold_to_properties(kept, "required") {
            self.notes.add("required");
        }
        hold_to_properties(kept, "propertyOrdering");
        if kept.contains_key("enum") {
            kept.insert("type".into(), "STRING".into());
        }
        let kind = kept.get("type").and_then(Value::as_str).map(str::to_owned);
        match kind.as_deref() {
            None if kept.contains_key("properties") => drop(kept.insert("type".into(), "OBJECT".into())),
            None if kept.contains_key("items") => drop(kept.insert("type".into(), "ARRAY".into())),
            // Several models refuse a list without.
            Some("ARRAY") if !kept.contains_key("items") => drop(kept.insert("items".into(), json!({ "type": "STRING" }))),
            _ => {}
        }
    }

    /// Writes what stands beside a choice into each of its branches, for nothing may stand beside it.
    fn spread(&mut self, mut kept: Object, mut branches: Vec<Value>) -> Value {
        if let Some(Value::Array(inner)) = kept.shift_remove("anyOf") {
            // A choice that came with an inlined reference or a member of `allOf`.
            if branches.is_empty() {
                branches = inner;
            } else {
                self.notes.add("anyOf");
            }
        }
        let flat: Vec<Object> = branches.into_iter().flat_map(flattened).collect();
        let beside = Value::Object(kept);
        let is_bare = beside == any();
        if flat.is_empty() || !is_bare && !self.budget.take(&beside, flat.len()) {
            if !flat.is_empty() {
                self.notes.add("anyOf");
            }
            let Value::Object(mut kept) = beside else { return any() };
            self.finish(&mut kept);
            return Value::Object(kept);
        }
        let mut spread: Vec<Value> = Vec::with_capacity(flat.len());
        for mut branch in flat {
            if !is_bare {
                merge(&mut branch, beside.clone(), &mut self.notes);
            }
            self.finish(&mut branch);
            spread.push(branch.into());
        }
        if spread.len() == 1 { spread.remove(0) } else { json!({ "anyOf": spread }) }
    }
}

/// A choice within a choice is part of it.
fn flattened(branch: Value) -> Vec<Object> {
    match branch {
        Value::Object(mut fields) => match fields.shift_remove("anyOf") {
            Some(Value::Array(inner)) => {
                inner.into_iter().filter_map(|one| if let Value::Object(one) = one { Some(one) } else { None }).collect()
            }
            _ => vec![fields],
        },
        _ => Vec::new(),
    }
}

/// Keywords of the subset beyond the shared ones, by the form of their value.
pub(super) fn fits(name: &str, value: &Value) -> bool {
    match name {
        "minLength" | "maxLength" | "minProperties" | "maxProperties" => value.is_u64(),
        "pattern" => value.is_string(),
        "format" => value.as_str().is_some_and(|format| FORMATS.contains(&format)),
        // Held to the properties in the end.
        "nullable" | "required" | "propertyOrdering" => true,
        "default" | "example" => !value.is_null(),
        _ => false,
    }
}
