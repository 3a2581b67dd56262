//! `usage export` and `bill export`.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tallygate_billing::bills;
use tallygate_billing::usage::{self, UsageFilter};
use tallygate_store::{MAX_PAGE_ROWS, PageRequest, TenantScope, tenants};
use tallygate_types::{TenantId, Timestamp};

use super::print_json;
use crate::cli::{BillCommand, UsageCommand};
use crate::config;
use crate::installation::open_store;

/// Writes records page by page, newest first, so that any number of them fits in memory.
pub async fn usage(command: UsageCommand, as_json: bool) -> Result<ExitCode> {
    let UsageCommand::Export { config, from, to } = command;
    let filter = UsageFilter { from: time("--from", from)?, to: time("--to", to)?, ..UsageFilter::default() };
    let (config, _) = config::load(config.config.as_deref())?;
    let store = open_store(&config).await?;
    let mut page = PageRequest::first(MAX_PAGE_ROWS);
    let mut out = std::io::stdout().lock();
    let mut is_first = true;
    loop {
        let got = usage::list(&*store, TenantScope::All, &filter, &page).await?;
        if as_json {
            for record in &got.data {
                writeln!(out, "{}", serde_json::to_string(record)?)?;
            }
        } else {
            out.write_all(usage::to_csv(&got.data, is_first).as_bytes())?;
        }
        is_first = false;
        match got.next {
            Some(next) => page.after = Some(next),
            None => return Ok(ExitCode::SUCCESS),
        }
    }
}

pub async fn bill(command: BillCommand, as_json: bool) -> Result<ExitCode> {
    let BillCommand::Export { config, tenant, period } = command;
    let (config, _) = config::load(config.config.as_deref())?;
    let store = open_store(&config).await?;
    let id = match tenant.parse::<TenantId>() {
        Ok(id) => id,
        Err(_) => tenants::find_by_name(&*store, &tenant).await?.with_context(|| format!("no tenant is named `{tenant}`"))?.id,
    };
    let bill = bills::bill(&store, TenantScope::All, id, &period).await?;
    if as_json {
        print_json(&bill.to_json())?;
    } else {
        print!("{}", bill.to_csv());
    }
    Ok(ExitCode::SUCCESS)
}

fn time(flag: &str, text: Option<String>) -> Result<Option<Timestamp>> {
    text.map(|text| {
        Timestamp::parse(&text).with_context(|| format!("{flag} `{text}` is not an RFC 3339 time such as 2026-11-01T00:00:00Z"))
    })
    .transpose()
}
