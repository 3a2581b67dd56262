//! Rows that are matched by the model's name.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{PoisonError, RwLock};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ProfileError;

/// The base of models that no row fits.
const OTHER: &str = "other";

/// One vendor's rows as they are written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct TableFile {
    #[serde(default)]
    bases: toml::Table,
    #[serde(default)]
    models: Vec<toml::Table>,
}

/// One vendor's rows, resolved: each carries every setting.
#[derive(Debug, Clone)]
pub(super) struct Table<T> {
    bases: BTreeMap<String, Row<T>>,
    models: Vec<(Vec<Pattern>, Row<T>)>,
    known: Known<T>,
}

/// What was found before: a request asks several times, always for one of a few models, and patterns are many.
#[derive(Debug)]
struct Known<T>(RwLock<HashMap<String, T>>);

/// More models than any installation has. Beyond it what is known is forgotten.
const MAX_KNOWN: usize = 1024;

/// Settings as values and as they are written, for rows that are `like` this one.
#[derive(Debug, Clone)]
struct Row<T> {
    value: T,
    written: toml::Table,
}

/// A name with `*` for any text, in lower case, cut at the stars.
#[derive(Debug, Clone)]
struct Pattern(Vec<String>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { bases: BTreeMap::new(), models: Vec::new(), known: Known::default() }
    }
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T> Clone for Known<T> {
    /// Of another table, which may come to have other rows.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T: Copy> Known<T> {
    fn get(&self, model: &str, find: impl FnOnce() -> T) -> T {
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(model) {
            return *known;
        }
        let found = find();
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(model.to_owned(), found);
        found
    }
}

impl<T: DeserializeOwned + Copy + Default> Table<T> {
    pub fn of(&self, model: &str) -> T {
        self.known.get(model, || self.row(model).map(|row| row.value).unwrap_or_default())
    }

    fn row(&self, model: &str) -> Option<&Row<T>> {
        let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
        let fits = |(patterns, _): &&(Vec<Pattern>, Row<T>)| patterns.iter().any(|pattern| pattern.fits(&name));
        self.models.iter().find(fits).map(|(_, row)| row).or_else(|| self.bases.get(OTHER))
    }

    /// These rows behind those of `file`.
    pub fn with(&self, file: TableFile, vendor: &str) -> Result<Self, ProfileError> {
        let mut bases = self.clone();
        let mut pending: Vec<(String, toml::Value)> = file.bases.into_iter().collect();
        // A base may be like one that is written after it.
        while !pending.is_empty() {
            let before = pending.len();
            let mut waiting = Vec::new();
            let names: Vec<String> = pending.iter().map(|(name, _)| name.clone()).collect();
            for (name, value) in pending {
                let row = format!("base {vendor}.{name}");
                let toml::Value::Table(settings) = value else { return Err(problem(row, "a base is a table of settings")) };
                let waits =
                    settings.get("like").and_then(toml::Value::as_str).is_some_and(|like| names.iter().any(|n| n == like));
                if waits {
                    waiting.push((name, toml::Value::Table(settings)));
                } else {
                    let resolved = bases.resolve(settings, &row)?;
                    bases.bases.insert(name, resolved);
                }
            }
            if waiting.len() == before {
                return Err(problem(format!("base {vendor}.{}", waiting[0].0), "`like` leads back to itself"));
            }
            pending = waiting;
        }
        let mut models = Vec::with_capacity(file.models.len() + self.models.len());
        for (mut settings, number) in file.models.into_iter().zip(1_usize..) {
            let patterns = patterns(settings.remove("match"), vendor, number)?;
            let row =
                format!("{vendor} row {number} ({})", patterns.iter().map(Pattern::to_string).collect::<Vec<_>>().join(", "));
            models.push((patterns, bases.resolve(settings, &row)?));
        }
        models.extend(bases.models);
        Ok(Self { bases: bases.bases, models, known: Known::default() })
    }

    fn resolve(&self, mut settings: toml::Table, row: &str) -> Result<Row<T>, ProfileError> {
        let mut written = toml::Table::new();
        let like = settings.remove("like");
        let has_like = like.is_some();
        if let Some(like) = like {
            let name = like.as_str().ok_or_else(|| problem(row, "`like` is the name of a base or of a model"))?;
            let source = self.bases.get(name).or_else(|| self.row(name));
            written.extend(source.ok_or_else(|| problem(row, format!("`like`: nothing is known of {name}")))?.written.clone());
        }
        written.extend(settings);
        let value = toml::Value::Table(written.clone()).try_into().map_err(|error: toml::de::Error| {
            let text = error.message().to_owned();
            let hint = if has_like || !text.starts_with("missing field") {
                ""
            } else {
                " (`like = \"<a base or a model>\"` takes over the rest)"
            };
            problem(row, text + hint)
        })?;
        Ok(Row { value, written })
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        Self(text.to_ascii_lowercase().split('*').map(str::to_owned).collect())
    }

    /// `name` is in lower case.
    fn fits(&self, name: &str) -> bool {
        let [first, middle @ .., last] = self.0.as_slice() else { return self.0.first().is_some_and(|only| only == name) };
        let Some(mut rest) = name.strip_prefix(first.as_str()) else { return false };
        for piece in middle {
            let Some(at) = rest.find(piece.as_str()) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last.as_str())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("*"))
    }
}

fn patterns(value: Option<toml::Value>, vendor: &str, number: usize) -> Result<Vec<Pattern>, ProfileError> {
    let words = value.as_ref().and_then(toml::Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let patterns: Vec<Pattern> = words.iter().filter_map(toml::Value::as_str).map(Pattern::new).collect();
    if patterns.is_empty() || patterns.len() != words.len() {
        return Err(problem(format!("{vendor} row {number}"), "`match` names no model"));
    }
    Ok(patterns)
}

fn problem(row: impl Into<String>, problem: impl Into<String>) -> ProfileError {
    ProfileError::Row { row: row.into(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        let fits = |pattern: &str, name: &str| Pattern::new(pattern).fits(name);
        assert!(fits("*opus-5*", "us.anthropic.claude-opus-5-v1:0") && fits("gpt-5", "gpt-5") && fits("*", ""));
        assert!(fits("gpt-5*-chat*", "gpt-5-chat-latest") && fits("a*b*c", "abbc"));
        assert!(!fits("gpt-5", "gpt-5-mini") && !fits("gpt-4*", "xgpt-4o") && !fits("a*b", "ac") && !fits("ab*ba", "aba"));
    }
}
