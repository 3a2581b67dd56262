//! `config check|show|schema`.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::json;

use super::print_json;
use crate::cli::ConfigArg;
use crate::config::{self, Config, Origin};
use crate::profiles;

pub fn check(arg: &ConfigArg, as_json: bool) -> Result<ExitCode> {
    let checked = read(arg);
    let warnings = match &checked {
        Ok((config, _)) => [literal_secrets(config), missing_secrets(config)].concat(),
        Err(_) => Vec::new(),
    };
    if as_json {
        let error = checked.as_ref().err().map(|error| format!("{error:#}"));
        print_json(&json!({ "ok": error.is_none(), "error": error, "warnings": warnings }))?;
        return Ok(if error.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let (config, origin) = checked?;
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    let source = match origin {
        Origin::File(path) => path.display().to_string(),
        Origin::Defaults => "no file; defaults".to_owned(),
    };
    println!(
        "{source}: good. {} upstreams, {} models, {} tenants",
        config.upstreams.len(),
        config.models.len(),
        config.tenants.len()
    );
    Ok(ExitCode::SUCCESS)
}

/// The configuration, with the files it points at understood.
fn read(arg: &ConfigArg) -> Result<(Config, Origin)> {
    let loaded = config::load(arg.config.as_deref())?;
    if let Some(path) = &loaded.0.translation.profiles {
        profiles::read(path)?;
    }
    Ok(loaded)
}

pub fn show(arg: &ConfigArg, as_json: bool) -> Result<ExitCode> {
    let (config, _) = config::load(arg.config.as_deref())?;
    let config = config.masked();
    if as_json {
        print_json(&config)?;
    } else {
        print!("{}", toml::to_string_pretty(&config)?);
    }
    Ok(ExitCode::SUCCESS)
}

pub fn schema() -> Result<ExitCode> {
    println!("{}", serde_json::to_string_pretty(&schemars::schema_for!(Config))?);
    Ok(ExitCode::SUCCESS)
}

/// Secrets that are pointed at and not there, on this machine; a start would fail on them.
pub fn missing_secrets(config: &Config) -> Vec<String> {
    let credentials = config.upstreams.iter().flat_map(|upstream| {
        let of = |credential: &config::Credential| format!("credential `{}` of upstream `{}`", credential.name, upstream.name);
        upstream.credentials.iter().map(move |credential| (of(credential), &credential.secret))
    });
    let keys = config.tenants.iter().flat_map(|tenant| {
        let of = |key: &config::Key| format!("key `{}` of tenant `{}`", key.name, tenant.name);
        tenant.keys.iter().filter_map(move |key| Some((of(key), key.secret.as_ref()?)))
    });
    let installation = [("secrets.key_pepper", &config.secrets.key_pepper), ("secrets.sealing_key", &config.secrets.sealing_key)];
    let installation = installation.into_iter().filter_map(|(what, secret)| Some((what.to_owned(), secret.as_ref()?)));
    let proxies = config.outbound.proxy.iter().map(|proxy| ("outbound.proxy".to_owned(), proxy));
    let missing = |(what, secret): (String, &config::SecretRef)| secret.resolve(&what).err().map(|error| error.to_string());
    credentials.chain(keys).chain(installation).chain(proxies).filter_map(missing).collect()
}

/// Secrets that stand in the file itself, where backups and colleagues see them.
pub fn literal_secrets(config: &Config) -> Vec<String> {
    let advice = "is written out; point at it as env:NAME or file:/path";
    let credentials = config.upstreams.iter().flat_map(|upstream| {
        let literal = upstream.credentials.iter().filter(|credential| credential.secret.is_literal());
        literal.map(move |credential| {
            format!("the secret of credential `{}` of upstream `{}` {advice}", credential.name, upstream.name)
        })
    });
    let keys = config.tenants.iter().flat_map(|tenant| {
        let literal = tenant.keys.iter().filter(|key| key.secret.as_ref().is_some_and(config::SecretRef::is_literal));
        literal.map(move |key| format!("the secret of key `{}` of tenant `{}` {advice}", key.name, tenant.name))
    });
    credentials.chain(keys).collect()
}
