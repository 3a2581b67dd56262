//! For `parametersJsonSchema` and `responseJsonSchema`.
//!
//! References stay references, to `#/$defs/…`, and nothing stands beside them: where something did, or at the top, the
//! target is inlined. A reference to any other place of the document becomes a definition. What refers back to the
//! definition it stands in may not be required.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::merge::merge;
use super::notes::{Budget, Notes, Told};
use super::{MAX_DEFINITIONS, MAX_DEPTH, any, fits_shared, hold_to_properties, is_mute, resolve, type_name};
use crate::ir::Object;

const DEFINITIONS: &str = "#/$defs/";
/// Longest name a definition gets from its place, in characters.
const MAX_NAME_CHARS: usize = 40;
/// Most definitions among which references in a circle are looked for; of more, any may be in one.
const MAX_IN_CIRCLES: usize = 256;

pub(super) fn compile(schema: &Value) -> (Value, Notes) {
    let mut compiler = Compiler {
        root: schema,
        notes: Notes::default(),
        budget: Budget::default(),
        names: BTreeMap::new(),
        taken: BTreeSet::new(),
        waiting: VecDeque::new(),
        following: Vec::new(),
        is_member: false,
        circles: Circles::of(schema),
    };
    let mut compiled = compiler.schema(schema, 0, None).unwrap_or_else(any);
    let mut definitions = Object::new();
    while let Some((reference, name)) = compiler.waiting.pop_front() {
        let target = resolve(schema, reference).and_then(|target| compiler.schema(target, 1, Some(reference)));
        definitions.insert(name, target.unwrap_or_else(any));
    }
    if let Value::Object(fields) = &mut compiled {
        let used = used(fields, definitions);
        if !used.is_empty() {
            fields.insert("$defs".into(), used.into());
        }
    }
    (compiled, compiler.notes)
}

struct Compiler<'a> {
    root: &'a Value,
    notes: Notes,
    budget: Budget,
    /// Reference → name of its definition.
    names: BTreeMap<&'a str, String>,
    taken: BTreeSet<String>,
    /// Definitions that are referred to and not yet written.
    waiting: VecDeque<(&'a str, String)>,
    /// References being inlined.
    following: Vec<&'a str>,
    /// What is read next is a member of `allOf`: another may declare the properties it requires.
    is_member: bool,
    circles: Circles<'a>,
}

impl<'a> Compiler<'a> {
    /// `within`: the reference of the definition this stands in. `None`: nothing fits (the schema `false`).
    fn schema(&mut self, schema: &'a Value, depth: usize, within: Option<&'a str>) -> Option<Value> {
        let fields = match schema {
            Value::Object(fields) => fields,
            Value::Bool(false) => return None,
            _ => return Some(any()),
        };
        if depth >= MAX_DEPTH {
            self.notes.add("nesting");
            return Some(any());
        }
        Some(match referring(fields) {
            Some(Referring { reference, beside }) if beside.is_empty() && depth > 0 => self.reference(reference),
            Some(referring) => self.inlined(referring, depth, within),
            None => self.assemble(fields.iter().collect(), None, depth, within),
        })
    }

    /// The target, with what stands beside the reference.
    fn inlined(&mut self, Referring { reference, beside }: Referring<'a>, depth: usize, within: Option<&'a str>) -> Value {
        let Some(target) = resolve(self.root, reference) else {
            self.notes.add("$ref");
            return self.assemble(beside, None, depth, within);
        };
        if depth < MAX_DEPTH && !self.following.contains(&reference) && self.budget.take(target, 1) {
            self.following.push(reference);
            let inlined = match target.as_object().and_then(referring) {
                Some(further) => Some(self.inlined(further, depth + 1, within)),
                None => self.schema(target, depth + 1, within),
            };
            self.following.pop();
            return self.assemble(beside, inlined, depth, within);
        }
        for (keyword, _) in beside {
            self.notes.add(keyword);
        }
        self.reference(reference)
    }

    fn reference(&mut self, reference: &'a str) -> Value {
        let pointed = |name: String| format!("{DEFINITIONS}{}", name.replace('~', "~0").replace('/', "~1"));
        self.definition(reference).map_or_else(any, |name| json!({ "$ref": pointed(name) }))
    }

    /// The name of the definition a reference leads to, from now on.
    fn definition(&mut self, reference: &'a str) -> Option<String> {
        if let Some(name) = self.names.get(reference) {
            return Some(name.clone());
        }
        let target = resolve(self.root, reference);
        let place = ["#/$defs/", "#/definitions/"].iter().find_map(|folder| reference.strip_prefix(folder));
        let place = place.filter(|place| !place.contains('/'));
        let is_definition = place.is_some();
        // Another place is written twice: where it stands, and as a definition.
        let is_affordable = target.is_some_and(|target| is_definition || self.budget.take(target, 1));
        if self.names.len() >= MAX_DEFINITIONS || !is_affordable {
            self.notes.add("$ref");
            return None;
        }
        let wanted = match place {
            Some(place) => place.replace("~1", "/").replace("~0", "~"),
            None => name_of_place(reference),
        };
        let mut name = wanted.clone();
        let mut number = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{wanted}_{number}");
            number += 1;
        }
        self.names.insert(reference, name.clone());
        self.waiting.push_back((reference, name.clone()));
        Some(name)
    }

    /// The keywords of one schema, with what was inlined into it.
    fn assemble(
        &mut self,
        fields: Vec<(&'a String, &'a Value)>,
        inlined: Option<Value>,
        depth: usize,
        within: Option<&'a str>,
    ) -> Value {
        let is_member = std::mem::take(&mut self.is_member);
        let mut kept = Object::new();
        let mut told = Told::default();
        let mut is_nullable = false;
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("properties", Value::Object(all)) => {
                    let mut properties = Object::new();
                    for (property, schema) in all {
                        match self.schema(schema, depth + 1, within) {
                            Some(schema) => drop(properties.insert(property.clone(), schema)),
                            None => self.notes.add("properties"),
                        }
                    }
                    kept.insert(name.clone(), properties.into());
                }
                ("type", value) => self.kind(value, &mut kept),
                ("nullable", value) => is_nullable = *value == Value::Bool(true),
                ("format", Value::String(_))
                | ("additionalProperties", Value::Bool(_))
                | ("required" | "propertyOrdering", _) => {
                    kept.insert(name.clone(), value.clone());
                }
                // `items` was the name before.
                ("prefixItems" | "items", Value::Array(list)) => {
                    let members = list.iter().map(|one| self.schema(one, depth + 1, within).unwrap_or_else(any));
                    let members: Vec<Value> = members.collect();
                    kept.insert("prefixItems".into(), members.into());
                }
                ("items" | "additionalProperties", value) => match self.schema(value, depth + 1, within) {
                    Some(schema) => drop(kept.insert(name.clone(), schema)),
                    None => self.notes.add(name),
                },
                ("anyOf" | "oneOf", Value::Array(list)) if !kept.contains_key("anyOf") => {
                    self.choice(name, list, depth, within, &mut kept);
                }
                ("allOf", Value::Array(list)) => {
                    for one in list {
                        let one = self.member(one, depth, within);
                        merge(&mut kept, one, &mut self.notes);
                    }
                }
                ("enum", Value::Array(list)) => self.values(name, list, value, &mut kept, &mut told),
                ("const", value) => self.values(name, std::slice::from_ref(value), value, &mut kept, &mut told),
                (name, value) if fits_shared(name, value) => {
                    kept.insert(name.into(), value.clone());
                }
                (name, value) if is_mute(name, value) => {}
                (name, value) => told.instead_of(name, value, &mut self.notes),
            }
        }
        merge(&mut kept, inlined.unwrap_or_else(any), &mut self.notes);
        if is_nullable && let Some(Value::String(kind)) = kept.get("type").filter(|kind| *kind != "null") {
            let kinds = json!([kind, "null"]);
            kept.insert("type".into(), kinds);
        }
        told.write_into(&mut kept);
        if !is_member {
            self.finish(&mut kept, within);
        }
        Value::Object(kept)
    }

    /// A choice of which every branch says nothing is none.
    fn choice(&mut self, name: &str, list: &'a [Value], depth: usize, within: Option<&'a str>, kept: &mut Object) {
        let branches: Vec<Value> = list.iter().filter_map(|one| self.schema(one, depth + 1, within)).collect();
        if branches.iter().all(|branch| *branch == any()) {
            self.notes.add(name);
        } else {
            kept.insert("anyOf".into(), branches.into());
        }
    }

    /// A member of `allOf`: a reference is inlined, for members are to be brought together.
    fn member(&mut self, member: &'a Value, depth: usize, within: Option<&'a str>) -> Value {
        if let Some(referring) = member.as_object().and_then(referring) {
            return self.inlined(referring, depth + 1, within);
        }
        self.is_member = true;
        let member = self.schema(member, depth + 1, within).unwrap_or_else(any);
        self.is_member = false;
        member
    }

    fn kind(&mut self, value: &Value, kept: &mut Object) {
        let mut kinds: Vec<&str> = Vec::new();
        let all = match value {
            Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        for kind in all {
            match type_name(kind) {
                Some(kind) if !kinds.contains(&kind) => kinds.push(kind),
                Some(_) => {}
                None => self.notes.add("type"),
            }
        }
        match kinds.as_slice() {
            [] => {}
            [one] => drop(kept.insert("type".into(), (*one).into())),
            many => drop(kept.insert("type".into(), json!(many))),
        }
    }

    /// Only strings and numbers may be listed; null is a matter of the type.
    fn values(&mut self, name: &str, list: &[Value], whole: &Value, kept: &mut Object, told: &mut Told) {
        let is_listable = list.iter().all(|value| value.is_string() || value.is_number() || value.is_null());
        let mut seen = BTreeSet::new();
        let values: Vec<Value> =
            list.iter().filter(|value| !value.is_null() && seen.insert(value.to_string())).cloned().collect();
        if values.is_empty() && !list.is_empty() && is_listable {
            kept.entry("type").or_insert_with(|| "null".into());
        } else if is_listable && !values.is_empty() && !kept.contains_key("enum") {
            kept.insert("enum".into(), values.into());
        } else {
            told.instead_of(name, whole, &mut self.notes);
        }
    }

    fn finish(&mut self, kept: &mut Object, within: Option<&'a str>) {
        if let Some(reference) = kept.get("$ref").cloned() {
            // It could not be inlined, and nothing may stand beside it.
            kept.keys().filter(|name| *name != "$ref").for_each(|name| self.notes.add(name));
            kept.clear();
            kept.insert("$ref".into(), reference);
        }
        if let Some(Value::Array(required)) = kept.get("required")
            && let Some(here) = within.filter(|here| self.circles.holds(here))
        {
            let refers_back = |name: &Value| {
                let property = name.as_str().and_then(|name| kept.get("properties")?.get(name));
                property.is_some_and(|property| {
                    refers(property, &mut |reference| {
                        let written = self.names.iter().find(|(_, name)| reference.strip_prefix(DEFINITIONS) == Some(name));
                        written.is_some_and(|(original, _)| self.circles.leads_to(original, here))
                    })
                })
            };
            let free: Vec<Value> = required.iter().filter(|name| !refers_back(name)).cloned().collect();
            if free.len() < required.len() {
                self.notes.add("required");
                kept.insert("required".into(), free.into());
            }
        }
        if hold_to_properties(kept, "required") {
            self.notes.add("required");
        }
        hold_to_properties(kept, "propertyOrdering");
        let is_array = match kept.get("type") {
            Some(Value::String(kind)) => kind == "array",
            Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "array"),
            _ => false,
        };
        if is_array && !kept.contains_key("items") && !kept.contains_key("prefixItems") {
            kept.insert("items".into(), any());
        }
    }
}

/// A schema that is a reference, and what else it says.
struct Referring<'a> {
    reference: &'a str,
    beside: Vec<(&'a String, &'a Value)>,
}

/// `$ref`, or `allOf: [{"$ref": …}]`, which is how older generators put a description beside one.
fn referring(fields: &Object) -> Option<Referring<'_>> {
    let of_one = || match fields.get("allOf")?.as_array()?.as_slice() {
        [Value::Object(only)] if only.len() == 1 => only.get("$ref")?.as_str(),
        _ => None,
    };
    let (reference, keyword) = match fields.get("$ref") {
        Some(Value::String(reference)) => (reference.as_str(), "$ref"),
        _ => (of_one()?, "allOf"),
    };
    let beside = fields.iter().filter(|(name, value)| *name != keyword && !is_mute(name, value)).collect();
    Some(Referring { reference, beside })
}

fn name_of_place(reference: &str) -> String {
    let plain: Vec<char> = reference.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let tail: String = plain[plain.len().saturating_sub(MAX_NAME_CHARS)..].iter().collect();
    let name = tail.trim_matches('_');
    if name.is_empty() { "root".to_owned() } else { name.to_owned() }
}

/// The definitions that are still referred to, in the order they are met.
fn used(top: &Object, mut all: Object) -> Object {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut meet = |schema: &Value, found: &mut Vec<String>| {
        refers(schema, &mut |reference| {
            if let Some(name) = reference.strip_prefix(DEFINITIONS) {
                let name = name.replace("~1", "/").replace("~0", "~");
                if seen.insert(name.clone()) {
                    found.push(name);
                }
            }
            false
        });
    };
    meet(&Value::Object(top.clone()), &mut found);
    let mut used = Object::new();
    let mut at = 0;
    while let Some(name) = found.get(at).cloned() {
        at += 1;
        if let Some(schema) = all.shift_remove(&name) {
            meet(&schema, &mut found);
            used.insert(name, schema);
        }
    }
    used
}

/// Whether any reference in schema position answers to `is_one`.
fn refers<'v>(schema: &'v Value, is_one: &mut dyn FnMut(&'v str) -> bool) -> bool {
    let Value::Object(fields) = schema else { return false };
    let mut found = false;
    for (name, value) in fields {
        found |= match (name.as_str(), value) {
            ("$ref", Value::String(reference)) => is_one(reference),
            ("properties", Value::Object(all)) => all.values().fold(false, |found, one| refers(one, is_one) | found),
            ("anyOf" | "oneOf" | "allOf" | "prefixItems" | "items", Value::Array(list)) => {
                list.iter().fold(false, |found, one| refers(one, is_one) | found)
            }
            ("items" | "additionalProperties", one) => refers(one, is_one),
            _ => false,
        };
    }
    found
}

/// Which definitions lead back to themselves.
struct Circles<'a> {
    /// Reference → the references in what it leads to.
    next: BTreeMap<&'a str, BTreeSet<&'a str>>,
    is_known: bool,
}

impl<'a> Circles<'a> {
    fn of(root: &'a Value) -> Self {
        let mut next: BTreeMap<&'a str, BTreeSet<&'a str>> = BTreeMap::new();
        let mut waiting: Vec<&'a str> = Vec::new();
        let collect = |schema: &'a Value, waiting: &mut Vec<&'a str>| {
            let mut found = BTreeSet::new();
            refers(schema, &mut |reference| {
                found.insert(reference);
                false
            });
            waiting.extend(found.iter().copied());
            found
        };
        collect(root, &mut waiting);
        let mut work = Budget::default();
        let mut is_known = true;
        while let Some(reference) = waiting.pop() {
            if next.contains_key(reference) {
                continue;
            }
            let Some(target) = resolve(root, reference) else { continue };
            if next.len() >= MAX_IN_CIRCLES || !work.take(target, 1) {
                is_known = false;
                break;
            }
            let found = collect(target, &mut waiting);
            next.insert(reference, found);
        }
        Self { next, is_known }
    }

    fn holds(&self, here: &str) -> bool {
        self.leads_to(here, here)
    }

    /// Whether following references from `from`, one at least, comes to `to`.
    fn leads_to(&self, from: &str, to: &str) -> bool {
        if !self.is_known {
            return true;
        }
        let mut seen = BTreeSet::new();
        let mut waiting: Vec<&str> = self.next.get(from).into_iter().flatten().copied().collect();
        while let Some(reference) = waiting.pop() {
            if reference == to {
                return true;
            }
            if seen.insert(reference) {
                waiting.extend(self.next.get(reference).into_iter().flatten().copied());
            }
        }
        false
    }
}
