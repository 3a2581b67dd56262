//! `doctor`, `healthcheck` and `migrate`: is everything there that a start needs, is the running gateway ready.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tallygate_billing::{Journal, JournalConfig};
use tokio::net::TcpListener;

use super::print_json;
use crate::cli::ConfigArg;
use crate::commands::config::{literal_secrets, missing_secrets};
use crate::config;
use crate::installation::{open_store, reachable};

const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// One thing a start needs.
struct Check {
    name: &'static str,
    problem: Option<String>,
}

pub async fn doctor(arg: &ConfigArg, as_json: bool) -> Result<ExitCode> {
    let (config, _) = config::load(arg.config.as_deref())?;
    let mut checks = vec![Check { name: "configuration", problem: None }];
    let secrets = [missing_secrets(&config), literal_secrets(&config)].concat();
    checks.push(Check { name: "secrets", problem: Some(secrets.join("; ")).filter(|problems| !problems.is_empty()) });
    checks.push(Check { name: "database", problem: open_store(&config).await.err().map(|error| format!("{error:#}")) });
    let journal = Journal::open(config.journal_dir(), JournalConfig::default());
    checks.push(Check { name: "usage journal", problem: journal.err().map(|error| error.to_string()) });
    let server = &config.server;
    for (name, address) in [
        ("server.listen", server.listen),
        ("server.admin_listen", server.admin_listen),
        ("server.metrics_listen", server.metrics_listen),
    ] {
        checks.push(Check { name, problem: free(address).await.err().map(|error| format!("{address}: {error}")) });
    }
    let healthy = checks.iter().all(|check| check.problem.is_none());
    if as_json {
        let checks: Vec<_> = checks.iter().map(|check| json!({ "check": check.name, "problem": check.problem })).collect();
        print_json(&json!({ "ok": healthy, "checks": checks }))?;
    } else {
        for check in &checks {
            match &check.problem {
                None => println!("ok    {}", check.name),
                Some(problem) => println!("FAIL  {}: {problem}", check.name),
            }
        }
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub async fn healthcheck(arg: &ConfigArg, as_json: bool) -> Result<ExitCode> {
    let (config, _) = config::load(arg.config.as_deref())?;
    let url = format!("{}/readyz", reachable(config.server.metrics_listen));
    let client = reqwest::Client::builder().timeout(HEALTHCHECK_TIMEOUT).no_proxy().build()?;
    let response = client.get(&url).send().await.with_context(|| format!("nothing answers at {url}"))?;
    let (status, body) = (response.status(), response.text().await?);
    if !status.is_success() {
        bail!("not ready: {body}");
    }
    if as_json {
        println!("{body}");
    } else {
        println!("ready");
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn migrate(arg: &ConfigArg, as_json: bool) -> Result<ExitCode> {
    let (config, _) = config::load(arg.config.as_deref())?;
    // Opening brings the schema up to date.
    let store = open_store(&config).await?;
    store.close().await;
    if as_json {
        print_json(&json!({ "ok": true }))?;
    } else {
        println!("the schema is up to date");
    }
    Ok(ExitCode::SUCCESS)
}

async fn free(address: SocketAddr) -> std::io::Result<()> {
    TcpListener::bind(address).await.map(drop)
}
