//! Two compiled schemas as one that holds both.

use std::collections::BTreeSet;

use serde_json::Value;

use super::notes::Notes;
use crate::ir::Object;

/// Brings `other` into `into`: properties and required names are united, lists of values cut to what both allow; where
/// both say something else, `into` stays.
pub(super) fn merge(into: &mut Object, other: Value, notes: &mut Notes) {
    let Value::Object(other) = other else { return };
    for (name, value) in other {
        match (name.as_str(), into.get_mut(&name), value) {
            (_, None, value) => {
                into.insert(name, value);
            }
            ("properties", Some(Value::Object(here)), Value::Object(there)) => {
                for (property, schema) in there {
                    here.entry(property).or_insert(schema);
                }
            }
            ("required" | "propertyOrdering", Some(Value::Array(here)), Value::Array(there)) => {
                // Doubles go when the list is held to the properties.
                here.extend(there);
            }
            ("enum", Some(Value::Array(here)), Value::Array(there)) => {
                let there: BTreeSet<String> = there.iter().map(Value::to_string).collect();
                let both: Vec<Value> = here.iter().filter(|value| there.contains(&value.to_string())).cloned().collect();
                if both.is_empty() {
                    notes.add("enum");
                } else {
                    *here = both;
                }
            }
            ("title" | "description", ..) => {}
            (name, Some(here), there) if *here != there => notes.add(name),
            _ => {}
        }
    }
}
