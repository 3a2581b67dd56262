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
use crate::installation::{self, Face};
use crate::provision::{self, Provisioned};
use crate::{arrival, providers, telemetry};

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
    let declared = async {
        opened.store.migrate().await?;
        provision::declare(&opened.store, &config).await
    };
    match declared.await {
        Ok(provisioned) => {
            let running = opened.start(&config).await?;
            banner(&config, &running.face, provisioned, started).await?.print(as_json)?;
            running.until_shutdown().await?;
        }
        Err(error) if config.store.sqlite_path().is_none() && arrival::is_away(&error) => {
            tracing::warn!(reason = %format!("{error:#}"), "the store is away");
            let (running, arrival) = opened.start_without_store(&config).await?;
            let face = running.face.clone();
            // Minted keys are shown once, so the banner comes when they are made.
            let greeting = async {
                let provisioned = arrival.wait(async |store| provision::declare(store, &config).await).await;
                let shown = banner(&config, &face, provisioned, started).await.and_then(|banner| banner.print(as_json));
                if let Err(error) = shown {
                    tracing::error!(error = %format!("{error:#}"), "the banner could not be shown");
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                stopped = running.until_shutdown() => stopped?,
                () = greeting => {}
            }
        }
        Err(error) => return Err(error),
    }
    Ok(ExitCode::SUCCESS)
}

impl Banner {
    fn print(&self, as_json: bool) -> Result<()> {
        if !as_json {
            print!("{}", self.text());
            return Ok(());
        }
        print_json(&json!({
            "url": self.url,
            "admin_url": self.admin_url,
            "metrics_url": self.metrics_url,
            "setup_url": self.setup_link,
            "keys": self.minted_keys.iter().map(|(tenant, name, key)| json!({ "tenant": tenant, "name": name, "key": key })).collect::<Vec<_>>(),
            "warnings": self.warnings,
        }))
    }
}

async fn banner(config: &Config, face: &Face, provisioned: Provisioned, started: Instant) -> Result<Banner> {
    let admin_url = installation::public_url(config, face.admin_listen);
    let snapshot = face.snapshot.load_full();
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
        url: installation::reachable(face.listen),
        setup_link: face.setup_link(&admin_url).await?,
        admin_url,
        metrics_url: installation::reachable(face.metrics_listen),
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
