//! What can be wrong with a configuration, said so that it can be mended without the manual.

use std::path::PathBuf;

/// Names further away than this are no help.
const MAX_NAME_DISTANCE: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}: {source}; name another file with --config", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    /// A mistake at a place in the file, already worded.
    #[error("{0}")]
    InFile(String),
    #[error("environment variable {variable}: {message}")]
    InEnvironment { variable: String, message: String },
    #[error("{what} points at environment variable {variable}, which is not set")]
    SecretVariable { what: String, variable: String },
    #[error("{what} points at file {}: {source}", path.display())]
    SecretFile { what: String, path: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Invalid(String),
}

/// Words an error of the TOML reader as `file:line:column: message`.
pub fn located(name: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start.min(text.len()));
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
    ConfigError::InFile(format!("{name}:{line}:{column}: {}", reworded(error.message())))
}

/// Turns serde's "unknown field `x`, expected one of `a`, `b`" into advice.
pub fn reworded(message: &str) -> String {
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return message.trim_end().to_owned();
    };
    let (key, expected) = rest.split_once('`').unwrap_or((rest, ""));
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    match nearest(key, known.iter().copied()) {
        Some(known) => format!("unknown key `{key}`; did you mean `{known}`?"),
        None if known.is_empty() => format!("unknown key `{key}`"),
        None => format!("unknown key `{key}`; known here: {}", known.join(", ")),
    }
}

/// The known name most like `name`, if one is like it at all.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= MAX_NAME_DISTANCE && *distance < candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}
