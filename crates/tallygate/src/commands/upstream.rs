//! `upstream test`: the dashboard's test, from the command line.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde_json::json;
use tallygate_admin::{ProbeRequest, UpstreamProbe as _};
use tallygate_store::{credentials, upstreams};

use super::print_json;
use crate::cli::UpstreamCommand;
use crate::config;
use crate::installation::open_store;
use crate::probe::Probe;
use crate::provision;

pub async fn run(command: UpstreamCommand, as_json: bool) -> Result<ExitCode> {
    let UpstreamCommand::Test { config, name, model } = command;
    let (config, _) = config::load(config.config.as_deref())?;
    let store = open_store(&config).await?;
    provision::declare(&store, &config).await?;
    let upstream = upstreams::find_by_name(&*store, &name).await?.with_context(|| format!("no upstream is named `{name}`"))?;
    let credential = credentials::list(&*store, upstream.id).await?.into_iter().next();
    let secret = match &credential {
        Some(credential) => Some(credentials::open_secret(&store, credential.id).await?),
        None => None,
    };
    let request = ProbeRequest {
        dialect: upstream.dialect,
        base_url: upstream.base_url,
        proxy: upstreams::open_proxy(&store, upstream.id).await?,
        no_proxy: upstream.no_proxy,
        secret,
        stream: model.is_some(),
        model,
    };
    let steps = Probe::new(config.outbound.resolve()?).probe(request).await;
    let passed = steps.iter().all(|step| step.ok);
    if as_json {
        let steps: Vec<_> = steps
            .iter()
            .map(|step| {
                json!({
                    "step": step.name, "ok": step.ok, "duration_ms": step.duration.as_millis() as u64,
                    "detail": step.detail, "fix": step.fix,
                })
            })
            .collect();
        print_json(&json!({ "ok": passed, "steps": steps }))?;
    } else {
        for step in &steps {
            let mark = if step.ok { "ok  " } else { "FAIL" };
            println!(
                "{mark} {:<6} {:>6} ms  {}",
                format!("{:?}", step.name).to_lowercase(),
                step.duration.as_millis(),
                step.detail
            );
            if let Some(fix) = &step.fix {
                println!("            {fix}");
            }
        }
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
