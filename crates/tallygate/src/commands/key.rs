//! `key create|rotate|revoke|list`: straight on the database. On SQLite the server must be stopped; with it running, use the
//! dashboard or the admin API.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tallygate_billing::audit::{self, Actor, AuditEvent};
use tallygate_store::keys::{self, ApiKey, KeyFilter, KeySettings, KeyStatus, NewKey};
use tallygate_store::tenants::{self, TenantSettings};
use tallygate_store::{MAX_PAGE_ROWS, ManagedBy, PageRequest, Store, TenantScope, Tx};
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
        KeyCommand::Rotate { config, key, tenant, overlap } => {
            let (config, _) = config::load(config.config.as_deref())?;
            rotate(&*open_store(&config).await?, tenant.as_deref(), &key, overlap, as_json).await?;
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

async fn rotate(store: &Store, tenant: Option<&str>, named: &str, overlap: Duration, as_json: bool) -> Result<()> {
    let key = find(store, tenant, named).await?;
    if key.managed_by == ManagedBy::File {
        bail!("{} is declared in the configuration file, which would undo the change; change it there", key.id);
    }
    let mut tx = store.begin().await?;
    let (key, secret) = keys::rotate(&mut tx, TenantScope::All, key.id, key.version, overlap).await?;
    note(&mut tx, "api_key.rotated", "api_key", key.id, &key.name, key.tenant_id).await?;
    tx.commit().await?;
    if as_json {
        let before = key.previous_expires_at;
        print_json(&json!({ "id": key.id, "name": key.name, "key": secret.expose_secret(), "previous_expires_at": before }))?;
    } else {
        println!("{}", secret.expose_secret());
        let until = key.previous_expires_at.map(|at| format!("; the text before is good until {at}")).unwrap_or_default();
        eprintln!("{} has a new text; it is shown this once{until}", key.id);
    }
    Ok(())
}

/// The key of that id, or the active one of that name.
pub async fn find(store: &Store, tenant: Option<&str>, named: &str) -> Result<ApiKey> {
    if let Ok(id) = named.parse() {
        return Ok(keys::get(store, TenantScope::All, id).await?);
    }
    let (tenant_id, status) = (tenant_id(store, tenant).await?, Some(KeyStatus::Active));
    let filter = KeyFilter { tenant_id, status, search: Some(named.to_owned()) };
    let mut found = all(store, &filter).await?.into_iter().filter(|key| key.name == named);
    match (found.next(), found.next()) {
        (Some(key), None) => Ok(key),
        (None, _) => bail!("no active key is named `{named}`"),
        (Some(_), Some(_)) => bail!("several tenants have a key named `{named}`; say --tenant, or the key's id"),
    }
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
    let filter = KeyFilter { tenant_id: tenant_id(store, tenant).await?, ..KeyFilter::default() };
    let all = all(store, &filter).await?;
    if as_json {
        return print_json(&all);
    }
    for key in all {
        println!("{}  {}  {}…{}  {}", key.id, key.tenant_id, key.prefix, key.last4, key.name);
    }
    Ok(())
}

async fn tenant_id(store: &Store, named: Option<&str>) -> Result<Option<TenantId>> {
    let Some(name) = named else { return Ok(None) };
    Ok(Some(tenants::find_by_name(store, name).await?.with_context(|| format!("no tenant is named `{name}`"))?.id))
}

async fn all(store: &Store, filter: &KeyFilter) -> Result<Vec<ApiKey>> {
    let mut page = PageRequest::first(MAX_PAGE_ROWS);
    let mut all = Vec::new();
    loop {
        let got = keys::list(store, TenantScope::All, filter, &page).await?;
        all.extend(got.data);
        match got.next {
            Some(next) => page.after = Some(next),
            None => return Ok(all),
        }
    }
}

async fn note(tx: &mut Tx, action: &str, kind: &str, id: impl ToString, name: &str, tenant: TenantId) -> Result<()> {
    let mut event = AuditEvent::new(Actor::cli(), action, kind, id);
    event.target_name = Some(name.to_owned());
    event.tenant = Some(tenant);
    audit::record(tx, event).await?;
    Ok(())
}
