//! `TALLYGATE__SERVER__LISTEN=…` over `[server] listen = …`.

use toml::{Table, Value};

use super::error::{ConfigError, reworded};
use super::file::Config;

const PREFIX: &str = "TALLYGATE__";
const SEPARATOR: &str = "__";

/// Lays the variables over the file, one by one, so that a mistake names the variable that made it.
///
/// A value is taken as text if the key takes text, else as TOML (`600`, `true`, `["a", "b"]`).
pub fn overlay(typed: Config, file: &str, vars: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    let mut vars: Vec<_> = vars.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    if vars.is_empty() {
        return Ok(typed);
    }
    vars.sort();
    // The file was typed before, so it parses as a table too.
    let mut table: Table = toml::from_str(file).map_err(|error| ConfigError::InFile(error.to_string()))?;
    let mut config = typed;
    for (variable, text) in vars {
        let keys: Vec<String> = variable[PREFIX.len()..].split(SEPARATOR).map(str::to_lowercase).collect();
        (table, config) = set(&table, &keys, &text).map_err(|message| ConfigError::InEnvironment { variable, message })?;
    }
    Ok(config)
}

fn set(table: &Table, keys: &[String], text: &str) -> Result<(Table, Config), String> {
    let as_toml = toml::from_str::<Table>(&format!("value = {text}")).ok().and_then(|mut t| t.remove("value"));
    let mut first_error = None;
    for value in [Some(Value::String(text.to_owned())), as_toml].into_iter().flatten() {
        let mut changed = table.clone();
        insert(&mut changed, keys, value)?;
        match changed.clone().try_into::<Config>() {
            Ok(config) => return Ok((changed, config)),
            Err(error) => first_error.get_or_insert(reworded(error.message())),
        };
    }
    Err(first_error.unwrap_or_default())
}

fn insert(table: &mut Table, keys: &[String], value: Value) -> Result<(), String> {
    match keys {
        [] => Err("names no key; write TALLYGATE__SECTION__KEY".to_owned()),
        [key] => {
            table.insert(key.clone(), value);
            Ok(())
        }
        [key, rest @ ..] => match table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new())) {
            Value::Table(inner) => insert(inner, rest, value),
            _ => Err(format!("`{key}` is not a section")),
        },
    }
}
