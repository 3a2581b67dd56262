//! Secrets of the installation: the pepper of key digests and the key that seals upstream credentials.

use secrecy::ExposeSecret as _;
use tallygate_store::{SecretBytes32, Secrets};

use crate::config::{Config, ConfigError, SecretRef};

/// Takes the secrets from the configuration; on SQLite, makes them at first start in a file beside the database.
///
/// On PostgreSQL nothing is made: replicas must agree on them, so their absence is an error that says how to make them.
pub fn load_or_make(config: &Config) -> Result<Secrets, ConfigError> {
    match (&config.secrets.key_pepper, &config.secrets.sealing_key, config.store.sqlite_path()) {
        (Some(pepper), Some(sealing), _) => {
            Ok(Secrets { pepper: fetch("secrets.key_pepper", pepper)?, sealing_key: fetch("secrets.sealing_key", sealing)? })
        }
        (None, None, Some(database)) => {
            Secrets::load_or_create(&Secrets::path_beside(database)).map_err(|error| ConfigError::Invalid(error.to_string()))
        }
        _ => Err(ConfigError::Invalid(
            "secrets.key_pepper and secrets.sealing_key must both be set (on PostgreSQL always): make each with `openssl rand \
             -hex 32`, keep them in a file or the environment of every replica, and point at them as `env:NAME` or `file:/path`"
                .to_owned(),
        )),
    }
}

fn fetch(what: &str, reference: &SecretRef) -> Result<SecretBytes32, ConfigError> {
    let text = reference.resolve(what)?;
    SecretBytes32::from_hex(text.expose_secret().trim()).map_err(|error| ConfigError::Invalid(format!("{what}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_postgresql_missing_secrets_are_an_error_that_says_how_to_make_them() {
        let mut config = Config::default();
        config.store.url = "postgres://x@localhost/x".to_owned();
        let error = load_or_make(&config).err().unwrap().to_string();
        assert!(error.contains("openssl rand -hex 32"), "{error}");
    }

    #[test]
    fn a_secret_that_is_not_64_hex_digits_is_refused_by_name() {
        let mut config = Config::default();
        config.secrets.key_pepper = Some("abc".parse().unwrap());
        config.secrets.sealing_key = Some("ab01".repeat(16).parse().unwrap());
        let error = load_or_make(&config).err().unwrap().to_string();
        assert!(error.starts_with("secrets.key_pepper: "), "{error}");
    }
}
