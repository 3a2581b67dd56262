//! `serve`: the gateway as configured.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::banner::{Banner, example_model};
use crate::cli::ConfigArg;
use crate::commands::config::literal_secrets;
use crate::commands::print_json;
use crate::config::{self, Config, Origin};
use crate::installation::{self, Running};
use crate::provision::{self, Provisioned};
use crate::{providers, telemetry};

pub async fn run(arg: &ConfigArg, as_json: bool) -> Result<ExitCode> {
    let started = Instant::now();
    let (mut config, origin) = config::load(arg.config.as_deref())?;
    telemetry::install(&config.log)?;
    if origin == Origin::Defaults
        && let Some(personal) = providers::personal(|name| std::env::var(name).ok())
    {
        config.upstreams = personal.upstreams;
        config.models = personal.models;
        config.tenants = personal.tenants;
    }
    let opened = installation::open(&config).await?;
    let provisioned = provision::declare(&opened.store, &config).await?;
    let running = opened.start(&config).await?;
    let banner = banner(&config, &running, provisioned, started).await?;
    if as_json {
        print_json(&json!({
            "url": banner.url,
            "admin_url": banner.admin_url,
            "metrics_url": banner.metrics_url,
            "setup_url": banner.setup_link,
            "keys": banner.minted_keys.iter().map(|(tenant, name, key)| json!({ "tenant": tenant, "name": name, "key": key })).collect::<Vec<_>>(),
            "warnings": banner.warnings,
        }))?;
    } else {
        print!("{}", banner.text());
    }
    running.until_shutdown().await?;
    Ok(ExitCode::SUCCESS)
}

async fn banner(config: &Config, running: &Running, provisioned: Provisioned, started: Instant) -> Result<Banner> {
    let admin_url = installation::public_url(config, running.admin_listen);
    let snapshot = running.store().snapshot().await?;
    let mut models: Vec<String> = snapshot.models.keys().cloned().collect();
    models.sort();
    let mut warnings = literal_secrets(config);
    warnings.extend(
        provisioned.unpriced.iter().map(|model| {
            format!("model `{model}` has no price and cannot be sold; add [models.price] or set one in the dashboard")
        }),
    );
    if snapshot.upstreams.is_empty() {
        warnings.push(
            "no upstream yet: add one in the dashboard, declare one in tallygate.toml, or set OPENAI_API_KEY, ANTHROPIC_API_KEY \
             or GEMINI_API_KEY and start again"
                .to_owned(),
        );
    }
    Ok(Banner {
        url: installation::reachable(running.listen),
        setup_link: running.setup_link(&admin_url).await?,
        admin_url,
        metrics_url: installation::reachable(running.metrics_listen),
        minted_keys: provisioned
            .minted
            .into_iter()
            .map(|key| (key.tenant, key.name, key.secret.expose_secret().to_owned()))
            .collect(),
        store: if config.store.sqlite_path().is_some() { config.store.url.clone() } else { "postgresql".to_owned() },
        upstreams: snapshot.upstreams.len(),
        models: models.len(),
        example_model: example_model(&models).cloned(),
        ready_in: started.elapsed(),
        warnings,
    })
}
