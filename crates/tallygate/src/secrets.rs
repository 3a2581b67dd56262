//! Secrets of the installation: the pepper of key digests and the key that seals upstream credentials.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rand::TryRng as _;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use crate::config::{Config, ConfigError, SecretRef};

const SECRET_BYTES: usize = 32;

/// Both secrets, 32 bytes each.
pub struct InstallationSecrets {
    pub key_pepper: [u8; SECRET_BYTES],
    pub sealing_key: [u8; SECRET_BYTES],
}

/// The file beside an SQLite database, as TOML; hex digits.
#[derive(Serialize, Deserialize)]
struct SecretFile {
    key_pepper: String,
    sealing_key: String,
}

/// Takes the secrets from the configuration; on SQLite, makes them at first start.
///
/// On PostgreSQL nothing is made: replicas must agree on them, so their absence is an error that says how to make them.
pub fn load_or_make(config: &Config) -> Result<InstallationSecrets, ConfigError> {
    match (&config.secrets.key_pepper, &config.secrets.sealing_key, config.store.sqlite_path()) {
        (Some(pepper), Some(sealing), _) => Ok(InstallationSecrets {
            key_pepper: from_reference("secrets.key_pepper", pepper)?,
            sealing_key: from_reference("secrets.sealing_key", sealing)?,
        }),
        (None, None, Some(database)) => beside_database(&beside(database)),
        _ => Err(ConfigError::Invalid(
            "secrets.key_pepper and secrets.sealing_key must both be set (on PostgreSQL always): make each with `openssl rand \
             -hex 32`, keep them in a file or the environment of every replica, and point at them as `env:NAME` or `file:/path`"
                .to_owned(),
        )),
    }
}

fn beside(database: &Path) -> PathBuf {
    database.with_extension("secrets.toml")
}

fn beside_database(path: &Path) -> Result<InstallationSecrets, ConfigError> {
    let failed = |source: std::io::Error| ConfigError::SecretFile {
        what: "the installation's secret file".to_owned(),
        path: path.to_owned(),
        source,
    };
    if !path.exists() {
        make(path).map_err(failed)?;
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let file: SecretFile =
        toml::from_str(&text).map_err(|error| ConfigError::Invalid(format!("{}: {}", path.display(), error.message())))?;
    Ok(InstallationSecrets {
        key_pepper: decode(&format!("{}: key_pepper", path.display()), &file.key_pepper)?,
        sealing_key: decode(&format!("{}: sealing_key", path.display()), &file.sealing_key)?,
    })
}

/// Writes a new secret file, readable by its owner only, whole or not at all.
fn make(path: &Path) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let file = SecretFile { key_pepper: random_hex()?, sealing_key: random_hex()? };
    let text = toml::to_string(&file).map_err(std::io::Error::other)?;
    let partial = path.with_extension("partial");
    let mut out = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    out.write_all(b"# Made at first start. Without it issued keys and stored credentials are lost: back it up.\n")?;
    out.write_all(text.as_bytes())?;
    out.sync_all()?;
    std::fs::rename(&partial, path)
}

fn random_hex() -> std::io::Result<String> {
    let mut bytes = [0_u8; SECRET_BYTES];
    rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(std::io::Error::other)?;
    Ok(hex::encode(bytes))
}

fn from_reference(what: &str, reference: &SecretRef) -> Result<[u8; SECRET_BYTES], ConfigError> {
    decode(what, reference.resolve(what)?.expose_secret())
}

fn decode(what: &str, text: &str) -> Result<[u8; SECRET_BYTES], ConfigError> {
    let mut bytes = [0_u8; SECRET_BYTES];
    hex::decode_to_slice(text.trim(), &mut bytes)
        .map_err(|_| ConfigError::Invalid(format!("{what} must be 64 hex digits; make one with `openssl rand -hex 32`")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn sqlite_in(dir: &Path) -> Config {
        let mut config = Config::default();
        config.store.url = format!("sqlite:{}", dir.join("t.db").display());
        config
    }

    #[test]
    fn on_sqlite_secrets_are_made_once_in_a_file_only_its_owner_reads() {
        let dir = tempfile::tempdir().unwrap();
        let config = sqlite_in(dir.path());
        let (first, second) = (load_or_make(&config).unwrap(), load_or_make(&config).unwrap());
        assert_eq!(first.key_pepper, second.key_pepper);
        assert_ne!(first.key_pepper, first.sealing_key);
        let mode = std::fs::metadata(dir.path().join("t.secrets.toml")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

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
        config.secrets.sealing_key = Some("ab".repeat(32).parse().unwrap());
        let error = load_or_make(&config).err().unwrap().to_string();
        assert!(error.starts_with("secrets.key_pepper must be 64 hex digits"), "{error}");
    }
}
