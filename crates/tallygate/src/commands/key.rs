//! `key create|revoke|list`: straight on the database. On SQLite the server must be stopped; with it running, use the
//! dashboard or the admin API.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tallygate_billing::audit::{self, Actor, AuditEvent};
use tallygate_store::keys::{self, ApiKey, KeyFilter, KeySettings, NewKey};
use tallygate_store::tenants::{self, TenantSettings};
use tallygate_store::{MAX_PAGE_ROWS, PageRequest, Store, TenantScope, Tx};
use tallygate_types::{ApiKeyId, TenantId};

use super::print_json;
use crate::cli::KeyCommand;
use crate::config;
use crate::installation::open_store;

pub async fn run(command: KeyCommand, as_json: bool) -> Result<ExitCode> {
    match command {
        KeyCommand::Create { config, tenant, name } => {
            let (config, _) = config::load(config.config.as_deref())?;
            create(&*open_store(&config).await?, &tenant, &name, as_json).await?;
        }
        KeyCommand::Revoke { config, id } => {
            let (config, _) = config::load(config.config.as_deref())?;
            revoke(&*open_store(&config).await?, id.parse()?, as_json).await?;
        }
        KeyCommand::List { config, tenant } => {
            let (config, _) = config::load(config.config.as_deref())?;
            list(&*open_store(&config).await?, tenant.as_deref(), as_json).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(store: &Store, tenant: &str, name: &str, as_json: bool) -> Result<()> {
    let mut tx = store.begin().await?;
    let tenant = if let Some(tenant) = tenants::find_by_name(&mut tx, tenant).await? {
        tenant
    } else {
        let made = tenants::create(&mut tx, &TenantSettings::named(tenant)).await?;
        note(&mut tx, "tenant.created", "tenant", made.id, &made.name, made.id).await?;
        made
    };
    let new = NewKey { tenant_id: tenant.id, settings: KeySettings::named(name), declared: None, created_by: None };
    let (key, secret) = keys::create(&mut tx, &new).await?;
    note(&mut tx, "api_key.created", "api_key", key.id, &key.name, tenant.id).await?;
    tx.commit().await?;
    if as_json {
        print_json(&json!({ "id": key.id, "tenant": tenant.name, "name": key.name, "key": secret.expose_secret() }))?;
    } else {
        println!("{}", secret.expose_secret());
        eprintln!("{} for tenant {}; it is shown this once", key.id, tenant.name);
    }
    Ok(())
}

async fn revoke(store: &Store, id: ApiKeyId, as_json: bool) -> Result<()> {
    let mut tx = store.begin().await?;
    let key = keys::revoke(&mut tx, TenantScope::All, id).await?;
    note(&mut tx, "api_key.revoked", "api_key", key.id, &key.name, key.tenant_id).await?;
    tx.commit().await?;
    if as_json {
        print_json(&json!({ "id": key.id, "status": key.status }))?;
    } else {
        println!("{} is revoked", key.id);
    }
    Ok(())
}

async fn list(store: &Store, tenant: Option<&str>, as_json: bool) -> Result<()> {
    let tenant_id = match tenant {
        Some(name) => Some(tenants::find_by_name(store, name).await?.with_context(|| format!("no tenant is named `{name}`"))?.id),
        None => None,
    };
    let filter = KeyFilter { tenant_id, ..KeyFilter::default() };
    let mut page = PageRequest::first(MAX_PAGE_ROWS);
    let mut all: Vec<ApiKey> = Vec::new();
    loop {
        let got = keys::list(store, TenantScope::All, &filter, &page).await?;
        all.extend(got.data);
        match got.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    if as_json {
        return print_json(&all);
    }
    for key in all {
        println!("{}  {}  {}…{}  {}", key.id, key.tenant_id, key.prefix, key.last4, key.name);
    }
    Ok(())
}

async fn note(tx: &mut Tx, action: &str, kind: &str, id: impl ToString, name: &str, tenant: TenantId) -> Result<()> {
    let mut event = AuditEvent::new(Actor::cli(), action, kind, id);
    event.target_name = Some(name.to_owned());
    event.tenant = Some(tenant);
    audit::record(tx, event).await?;
    Ok(())
}
