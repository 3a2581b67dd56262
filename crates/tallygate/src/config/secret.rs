//! Secrets by reference: the file says where a secret is, never what it is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::ConfigError;

/// `env:NAME`, `file:/path`, or the secret itself (which `config check` warns about).
#[derive(Clone)]
pub enum SecretRef {
    Env(String),
    File(PathBuf),
    Literal(SecretString),
}

impl SecretRef {
    /// Fetches the secret; `what` names its place in the configuration for the error.
    pub fn resolve(&self, what: &str) -> Result<SecretString, ConfigError> {
        match self {
            Self::Env(variable) => std::env::var(variable)
                .ok()
                .filter(|value| !value.is_empty())
                .map(SecretString::from)
                .ok_or_else(|| ConfigError::SecretVariable { what: what.to_owned(), variable: variable.clone() }),
            Self::File(path) => std::fs::read_to_string(path)
                .map(|text| SecretString::from(text.trim_end_matches(['\r', '\n']).to_owned()))
                .map_err(|source| ConfigError::SecretFile { what: what.to_owned(), path: path.clone(), source }),
            Self::Literal(secret) => Ok(secret.clone()),
        }
    }

    pub const fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }
}

impl FromStr for SecretRef {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once(':') {
            Some(("env", name)) => Self::Env(name.to_owned()),
            Some(("file", path)) => Self::File(PathBuf::from(path)),
            _ => Self::Literal(SecretString::from(text.to_owned())),
        })
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Literal(_) => f.write_str("***"),
        }
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: std::convert::Infallible| match error {})
    }
}

impl Serialize for SecretRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for SecretRef {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretRef".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": "env:NAME or file:/path" })
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_literal_secret_is_never_shown() {
        let secret: SecretRef = "sk-very-secret".parse().unwrap();
        assert_eq!((secret.to_string(), format!("{secret:?}")), ("***".to_owned(), "***".to_owned()));
        assert_eq!(secret.resolve("x").unwrap().expose_secret(), "sk-very-secret");
    }

    #[test]
    fn a_secret_file_loses_its_line_end_and_a_missing_one_names_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "s3cret\n").unwrap();
        let secret: SecretRef = format!("file:{}", path.display()).parse().unwrap();
        assert_eq!(secret.resolve("x").unwrap().expose_secret(), "s3cret");
        let missing: SecretRef = "file:/nowhere/at/all".parse().unwrap();
        let error = missing.resolve("credential `a1`").unwrap_err().to_string();
        assert!(error.starts_with("credential `a1` points at file /nowhere/at/all: "), "{error}");
    }

    #[test]
    fn an_unset_variable_is_named() {
        let secret: SecretRef = "env:TALLYGATE_TEST_UNSET".parse().unwrap();
        let error = secret.resolve("credential `a1` of upstream `x`").unwrap_err();
        assert_eq!(
            error.to_string(),
            "credential `a1` of upstream `x` points at environment variable TALLYGATE_TEST_UNSET, which is not set"
        );
    }
}
