//! What the data plane reads: the whole configuration as of one moment, immutable, shared by `Arc`.

use std::collections::HashMap;
use std::sync::Arc;

use secrecy::SecretString;
use sqlx::types::Json;
use tallygate_types::{ApiKeyId, CredentialId, Dialect, ModelId, TargetId, TenantId, Timestamp, UpstreamId};
use uuid::Uuid;

use crate::keys::KeyStatus;
use crate::limits::{BudgetColumns, LimitColumns};
use crate::responses::{ResponseColumns, ResponseSettings};
use crate::tenants::TenantStatus;
use crate::upstreams::{TimeoutColumns, Timeouts};
use crate::{Budget, DbTime, KeyDigest, Limits, Store, StoreError, credentials, proxies, query};

/// The configuration at one version.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub version: i64,
    /// Revoked and expired keys are listed too, so that an answer can say which it is.
    pub keys: HashMap<KeyDigest, Arc<KeyEntry>>,
    pub tenants: HashMap<TenantId, Arc<TenantEntry>>,
    /// By public name; disabled models are left out.
    pub models: HashMap<String, Arc<ModelEntry>>,
    /// By alias, to the public name.
    pub aliases: HashMap<String, String>,
    /// Disabled upstreams are left out, and so are targets and credentials of theirs.
    pub upstreams: HashMap<UpstreamId, Arc<UpstreamEntry>>,
}

impl Snapshot {
    /// The model a client means by a public name or an alias.
    pub fn model(&self, name: &str) -> Option<&Arc<ModelEntry>> {
        self.models.get(name).or_else(|| self.models.get(self.aliases.get(name)?))
    }
}

#[derive(Debug)]
pub struct KeyEntry {
    pub id: ApiKeyId,
    pub name: String,
    pub tenant: Arc<TenantEntry>,
    pub status: KeyStatus,
    pub expires_at: Option<Timestamp>,
    pub limits: Limits,
    pub allowed_models: Option<Vec<String>>,
}

#[derive(Debug)]
pub struct TenantEntry {
    pub id: TenantId,
    pub name: String,
    pub status: TenantStatus,
    /// What a suspended tenant is told.
    pub suspended_message: Option<String>,
    /// IANA name; budget periods turn at its midnight.
    pub time_zone: String,
    pub limits: Limits,
    pub budget: Option<Budget>,
    pub allowed_models: Option<Vec<String>>,
    pub responses: ResponseSettings,
}

#[derive(Debug)]
pub struct ModelEntry {
    pub id: ModelId,
    pub name: String,
    /// Other names it answers to, in the order they were written.
    pub aliases: Vec<String>,
    pub created_at: Timestamp,
    /// Refuse what a translation cannot carry, instead of reporting it.
    pub strict: bool,
    /// By priority, then in the order they were written. Empty if every upstream is disabled.
    pub targets: Vec<TargetEntry>,
}

#[derive(Debug)]
pub struct TargetEntry {
    pub id: TargetId,
    pub upstream: Arc<UpstreamEntry>,
    pub upstream_model: String,
    pub weight: u32,
    pub priority: u32,
}

#[derive(Debug)]
pub struct UpstreamEntry {
    pub id: UpstreamId,
    pub name: String,
    pub dialect: Dialect,
    pub base_url: String,
    pub proxy: Option<String>,
    pub timeouts: Timeouts,
    /// Active ones, by name. Empty for an upstream that asks for no key.
    pub credentials: Vec<Arc<CredentialEntry>>,
}

#[derive(Debug)]
pub struct CredentialEntry {
    pub id: CredentialId,
    pub name: String,
    pub secret: SecretString,
    /// In place of the upstream's.
    pub proxy: Option<String>,
}

#[derive(sqlx::FromRow)]
struct TenantRow {
    id: Uuid,
    name: String,
    status: String,
    suspended_message: Option<String>,
    time_zone: String,
    #[sqlx(flatten)]
    limits: LimitColumns,
    #[sqlx(flatten)]
    budget: BudgetColumns,
    allowed_models: Option<Json<Vec<String>>>,
    #[sqlx(flatten)]
    responses: ResponseColumns,
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    id: Uuid,
    tenant_id: Uuid,
    name: String,
    digest: Vec<u8>,
    status: String,
    expires_at: Option<DbTime>,
    #[sqlx(flatten)]
    limits: LimitColumns,
    allowed_models: Option<Json<Vec<String>>>,
}

#[derive(sqlx::FromRow)]
struct UpstreamRow {
    id: Uuid,
    name: String,
    dialect: String,
    base_url: String,
    proxy: Option<String>,
    #[sqlx(flatten)]
    timeouts: TimeoutColumns,
}

#[derive(sqlx::FromRow)]
struct CredentialRow {
    id: Uuid,
    upstream_id: Uuid,
    name: String,
    sealed_secret: Vec<u8>,
    proxy: Option<String>,
}

#[derive(sqlx::FromRow)]
struct ModelRow {
    id: Uuid,
    name: String,
    strict: bool,
    created_at: DbTime,
}

#[derive(sqlx::FromRow)]
struct TargetRow {
    id: Uuid,
    model_id: Uuid,
    upstream_id: Uuid,
    upstream_model: String,
    weight: i64,
    priority: i64,
}

/// Eight queries in one transaction, whatever the number of tenants and keys.
pub(crate) async fn read(store: &Store) -> Result<Snapshot, StoreError> {
    let mut tx = store.begin_reading().await?;
    let version: String = query!(&mut tx, |conn| {
        sqlx::query_scalar("SELECT value FROM installation WHERE key = 'config_version'").fetch_one(conn).await
    })??;
    let tenants: Vec<TenantRow> = query!(&mut tx, |conn| {
        sqlx::query_as(
            "SELECT id, name, status, suspended_message, time_zone, requests_per_minute, tokens_per_minute, concurrency,
                    budget_amount, budget_currency, budget_period, allowed_models, responses_mode, responses_lifetime_hours,
                    responses_max_bytes, responses_max_count FROM tenants",
        )
        .fetch_all(conn)
        .await
    })??;
    let keys: Vec<KeyRow> = query!(&mut tx, |conn| {
        sqlx::query_as(
            "SELECT id, tenant_id, name, digest, status, expires_at, requests_per_minute, tokens_per_minute, concurrency,
                    allowed_models FROM api_keys",
        )
        .fetch_all(conn)
        .await
    })??;
    let upstreams: Vec<UpstreamRow> = query!(&mut tx, |conn| {
        sqlx::query_as(
            "SELECT id, name, dialect, base_url, proxy, connect_timeout_ms, first_byte_timeout_ms, stream_idle_timeout_ms,
                    total_timeout_ms FROM upstreams WHERE status = 'active'",
        )
        .fetch_all(conn)
        .await
    })??;
    let credentials: Vec<CredentialRow> = query!(&mut tx, |conn| {
        sqlx::query_as(
            "SELECT id, upstream_id, name, sealed_secret, proxy FROM credentials WHERE status = 'active' ORDER BY name",
        )
        .fetch_all(conn)
        .await
    })??;
    let models: Vec<ModelRow> = query!(&mut tx, |conn| {
        sqlx::query_as("SELECT id, name, strict, created_at FROM models WHERE status = 'active'").fetch_all(conn).await
    })??;
    let aliases: Vec<(Uuid, String)> = query!(&mut tx, |conn| {
        sqlx::query_as("SELECT model_id, alias FROM model_aliases ORDER BY model_id, position").fetch_all(conn).await
    })??;
    let targets: Vec<TargetRow> = query!(&mut tx, |conn| {
        sqlx::query_as(
            "SELECT id, model_id, upstream_id, upstream_model, weight, priority FROM targets ORDER BY model_id, priority, position",
        )
        .fetch_all(conn)
        .await
    })??;
    let version = version.parse().map_err(|_| StoreError::corrupt("installation", "config_version is not a number"))?;

    let tenants = tenant_entries(tenants)?;
    let keys = key_entries(keys, &tenants)?;
    let upstreams = upstream_entries(upstreams, credentials, &tx)?;
    let models = model_entries(models, aliases, targets, &upstreams)?;
    let aliases =
        models.values().flat_map(|model| model.aliases.iter().map(|alias| (alias.clone(), model.name.clone()))).collect();
    Ok(Snapshot { version, keys, tenants, models, aliases, upstreams })
}

fn tenant_entries(rows: Vec<TenantRow>) -> Result<HashMap<TenantId, Arc<TenantEntry>>, StoreError> {
    let entries = rows.into_iter().map(|row| {
        let id = TenantId::from_uuid(row.id);
        let entry = TenantEntry {
            id,
            name: row.name,
            status: TenantStatus::read(&row.status)?,
            suspended_message: row.suspended_message,
            time_zone: row.time_zone,
            limits: Limits::read(row.limits, "tenants")?,
            budget: Budget::read(row.budget)?,
            allowed_models: row.allowed_models.map(|Json(models)| models),
            responses: ResponseSettings::read(&row.responses)?,
        };
        Ok((id, Arc::new(entry)))
    });
    entries.collect()
}

fn key_entries(
    rows: Vec<KeyRow>,
    tenants: &HashMap<TenantId, Arc<TenantEntry>>,
) -> Result<HashMap<KeyDigest, Arc<KeyEntry>>, StoreError> {
    let entries = rows.into_iter().map(|row| {
        let tenant = tenants.get(&TenantId::from_uuid(row.tenant_id));
        let tenant = tenant.ok_or_else(|| StoreError::corrupt("api_keys", format!("key {} has no tenant", row.id)))?;
        let entry = KeyEntry {
            id: ApiKeyId::from_uuid(row.id),
            name: row.name,
            tenant: Arc::clone(tenant),
            status: KeyStatus::read(&row.status)?,
            expires_at: row.expires_at.map(Timestamp::from),
            limits: Limits::read(row.limits, "api_keys")?,
            allowed_models: row.allowed_models.map(|Json(models)| models),
        };
        Ok((KeyDigest::read(&row.digest)?, Arc::new(entry)))
    });
    entries.collect()
}

fn upstream_entries(
    rows: Vec<UpstreamRow>,
    secrets: Vec<CredentialRow>,
    tx: &crate::Tx,
) -> Result<HashMap<UpstreamId, Arc<UpstreamEntry>>, StoreError> {
    let mut of_upstream: HashMap<Uuid, Vec<Arc<CredentialEntry>>> = HashMap::new();
    for row in secrets {
        // One secret that does not open must not take the gateway down: it is said, and the others serve.
        match tx.open("credentials", row.id, &row.sealed_secret) {
            Ok(secret) => {
                let proxy = credentials::opened_proxy(tx, row.id, row.proxy)?;
                let entry = CredentialEntry { id: CredentialId::from_uuid(row.id), name: row.name, secret, proxy };
                of_upstream.entry(row.upstream_id).or_default().push(Arc::new(entry));
            }
            Err(error) => tracing::error!(%error, credential = %CredentialId::from_uuid(row.id), "a credential is left out"),
        }
    }
    let entries = rows.into_iter().map(|row| {
        let id = UpstreamId::from_uuid(row.id);
        let entry = UpstreamEntry {
            id,
            name: row.name,
            dialect: row.dialect.parse().map_err(|e| StoreError::corrupt("upstreams", e))?,
            base_url: row.base_url,
            proxy: proxies::open(tx, "upstreams", row.id, row.proxy)?,
            timeouts: Timeouts::read(row.timeouts)?,
            credentials: of_upstream.remove(&row.id).unwrap_or_default(),
        };
        Ok((id, Arc::new(entry)))
    });
    entries.collect()
}

fn model_entries(
    rows: Vec<ModelRow>,
    aliases: Vec<(Uuid, String)>,
    targets: Vec<TargetRow>,
    upstreams: &HashMap<UpstreamId, Arc<UpstreamEntry>>,
) -> Result<HashMap<String, Arc<ModelEntry>>, StoreError> {
    let mut aliases_of: HashMap<Uuid, Vec<String>> = HashMap::new();
    for (model, alias) in aliases {
        aliases_of.entry(model).or_default().push(alias);
    }
    let mut of_model: HashMap<Uuid, Vec<TargetEntry>> = HashMap::new();
    for row in targets {
        // A target of a disabled upstream is left out.
        if let Some(upstream) = upstreams.get(&UpstreamId::from_uuid(row.upstream_id)) {
            of_model.entry(row.model_id).or_default().push(TargetEntry {
                id: TargetId::from_uuid(row.id),
                upstream: Arc::clone(upstream),
                upstream_model: row.upstream_model,
                weight: u32::try_from(row.weight).map_err(|e| StoreError::corrupt("targets", e))?,
                priority: u32::try_from(row.priority).map_err(|e| StoreError::corrupt("targets", e))?,
            });
        }
    }
    let entries = rows.into_iter().map(|row| {
        let entry = ModelEntry {
            id: ModelId::from_uuid(row.id),
            name: row.name.clone(),
            aliases: aliases_of.remove(&row.id).unwrap_or_default(),
            created_at: row.created_at.into(),
            strict: row.strict,
            targets: of_model.remove(&row.id).unwrap_or_default(),
        };
        Ok((row.name, Arc::new(entry)))
    });
    entries.collect()
}
