//! What a compilation says beside its result, and what it may still copy.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{MAX_COPIED_BYTES, MAX_NOTES, TELLING};
use crate::ir::Object;

/// Longest name of a keyword in a note, in characters.
const MAX_NOTE_CHARS: usize = 64;
/// Longest value that is told in a description, in bytes.
const MAX_TOLD_BYTES: usize = 256;

/// Keywords that were left out, or said in other words.
#[derive(Debug, Default)]
pub(super) struct Notes(BTreeSet<String>);

impl Notes {
    pub fn add(&mut self, keyword: &str) {
        if self.0.len() < MAX_NOTES && !self.0.contains(keyword) {
            self.0.insert(keyword.chars().take(MAX_NOTE_CHARS).collect());
        }
    }

    pub fn into_sorted(self) -> Vec<String> {
        self.0.into_iter().collect()
    }
}

/// Words for the description of one schema.
#[derive(Debug, Default)]
pub(super) struct Told(Vec<String>);

impl Told {
    /// A keyword that goes. What it says is told if that helps; a default is told whole and so not missed.
    pub fn instead_of(&mut self, keyword: &str, value: &Value, notes: &mut Notes) {
        if value.is_null() || *value == Value::Bool(false) && keyword != "default" && keyword != "const" {
            return;
        }
        let text = if TELLING.contains(&keyword) { value.to_string() } else { String::new() };
        let is_told = !text.is_empty() && text.len() <= MAX_TOLD_BYTES;
        if is_told {
            self.0.push(format!("{keyword}: {text}"));
        }
        if !is_told || !matches!(keyword, "default" | "example") {
            notes.add(keyword);
        }
    }

    pub fn write_into(self, kept: &mut Object) {
        if self.0.is_empty() {
            return;
        }
        let before = kept.get("description").and_then(Value::as_str).map(|text| format!("{text}\n\n")).unwrap_or_default();
        kept.insert("description".into(), format!("{before}{{{}}}", self.0.join(", ")).into());
    }
}

/// What may still be written more often than the schema has it.
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: MAX_COPIED_BYTES }
    }
}

impl Budget {
    /// Takes what a copy of `value` weighs. A refusal costs half of what is left, so that there are few of them.
    pub fn take(&mut self, value: &Value, copies: usize) -> bool {
        if self.left == 0 {
            return false;
        }
        let Some(weight) = weight(value, self.left / copies.max(1)) else {
            self.left /= 2;
            return false;
        };
        self.left -= weight * copies;
        true
    }
}

/// About the bytes of a value's JSON; `None` above the limit.
fn weight(value: &Value, limit: usize) -> Option<usize> {
    const SCALAR: usize = 8;
    let mut weight: usize = SCALAR;
    match value {
        Value::String(text) => weight += text.len(),
        Value::Array(list) => {
            for one in list {
                weight += self::weight(one, limit.checked_sub(weight)?)?;
            }
        }
        Value::Object(fields) => {
            for (name, one) in fields {
                weight += name.len();
                weight += self::weight(one, limit.checked_sub(weight)?)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    (weight <= limit).then_some(weight)
}
