//! API keys issued to tenants.

use std::sync::LazyLock;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sqlx::Sqlite;
use sqlx::query::Query;
use sqlx::types::Json;
use tallygate_types::{ApiKeyId, Network, TenantId, Timestamp, UserId};
use uuid::Uuid;

use crate::key_format::{self, KEY_PREFIX, KeyShape, MAX_KEY_CHARS, MIN_DECLARED_KEY_CHARS, key_shape};
use crate::limits::LimitColumns;
use crate::many::ManyRows;
use crate::page::contains_pattern;
use crate::projects::{self, ProjectStatus};
use crate::value::text_enum;
use crate::{Conn, DbTime, Limits, ManagedBy, Page, PageRequest, Source, StoreError, TenantScope, Tx, check, query};

const KIND: &str = "API key";
/// Longer than this the text before a rotation is not good any more.
pub const MAX_OVERLAP: Duration = Duration::from_hours(30 * 24);

static NOTE_USED: LazyLock<ManyRows> = LazyLock::new(|| {
    ManyRows::new(2, |rows| {
        format!(
            "UPDATE api_keys SET last_used_at = u.column2 FROM (VALUES {rows}) AS u
             WHERE api_keys.id = u.column1 AND (api_keys.last_used_at IS NULL OR api_keys.last_used_at < u.column2)"
        )
    })
});

text_enum! {
    pub enum KeyStatus("api_keys") {
        Active = "active",
        /// For good; its name is free again.
        Revoked = "revoked",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub tenant_id: TenantId,
    pub name: String,
    /// `sk-tg1_` and the public id; of a declared key the first four characters.
    pub prefix: String,
    pub last4: String,
    pub status: KeyStatus,
    pub expires_at: Option<Timestamp>,
    pub limits: Limits,
    /// Public model names; `None` allows what the tenant allows.
    pub allowed_models: Option<Vec<String>>,
    /// Names of operations, such as `chat_completions`; `None` allows all.
    pub allowed_endpoints: Option<Vec<String>>,
    /// Where it may be used from; `None` is anywhere.
    pub allowed_networks: Option<Vec<Network>>,
    /// The name of its project.
    pub project: Option<String>,
    /// Labels that routes match by.
    pub tags: Vec<String>,
    /// Until when the text before the last rotation is good, too.
    pub previous_expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    /// The person of the tenant who made it and whose it thereby is; `None` where it was the platform's staff, a program or the
    /// configuration file.
    pub created_by: Option<UserId>,
    pub managed_by: ManagedBy,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What of a key can be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    pub name: String,
    pub expires_at: Option<Timestamp>,
    #[serde(default)]
    pub limits: Limits,
    pub allowed_models: Option<Vec<String>>,
    #[serde(default)]
    pub allowed_endpoints: Option<Vec<String>>,
    #[serde(default)]
    pub allowed_networks: Option<Vec<Network>>,
    /// One of the tenant's.
    #[serde(default)]
    pub project: Option<String>,
    #[serde(default)]
    pub tags: Vec<String>,
}

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub tenant_id: TenantId,
    pub settings: KeySettings,
    /// The key's own text, of 24 characters or more, so that keys of another gateway can move here; `None` mints one.
    pub declared: Option<SecretString>,
    /// The person of the tenant who makes it.
    pub created_by: Option<UserId>,
}

/// Which keys a list shows.
#[derive(Debug, Clone, Default)]
pub struct KeyFilter {
    pub tenant_id: Option<TenantId>,
    pub status: Option<KeyStatus>,
    /// Part of the name or of the prefix, whatever its case.
    pub search: Option<String>,
}

macro_rules! columns {
    () => {
        "id, tenant_id, name, prefix, last4, status, expires_at, requests_per_minute, tokens_per_minute, concurrency,
         allowed_models, allowed_endpoints, allowed_networks, project, tags, previous_expires_at, last_used_at, created_by,
         managed_by, version, created_at, updated_at"
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    tenant_id: Uuid,
    name: String,
    prefix: String,
    last4: String,
    status: String,
    expires_at: Option<DbTime>,
    #[sqlx(flatten)]
    limits: LimitColumns,
    allowed_models: Option<Json<Vec<String>>>,
    allowed_endpoints: Option<Json<Vec<String>>>,
    allowed_networks: Option<Json<Vec<Network>>>,
    project: Option<String>,
    tags: Json<Vec<String>>,
    previous_expires_at: Option<DbTime>,
    last_used_at: Option<DbTime>,
    created_by: Option<Uuid>,
    managed_by: String,
    version: i64,
    created_at: DbTime,
    updated_at: DbTime,
}

impl KeySettings {
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            expires_at: None,
            limits: Limits::default(),
            allowed_models: None,
            allowed_endpoints: None,
            allowed_networks: None,
            project: None,
            tags: Vec::new(),
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        check::name("name", &self.name)?;
        check::allowed_models(self.allowed_models.as_deref())?;
        check::allowed_endpoints(self.allowed_endpoints.as_deref())?;
        check::allowed_networks(self.allowed_networks.as_deref())?;
        if let Some(project) = &self.project {
            check::label("project", project)?;
        }
        check::tags(&self.tags)
    }
}

impl ApiKey {
    /// What can be set of it, to change some and pass to [`update`].
    pub fn settings(&self) -> KeySettings {
        KeySettings {
            name: self.name.clone(),
            expires_at: self.expires_at,
            limits: self.limits,
            allowed_models: self.allowed_models.clone(),
            allowed_endpoints: self.allowed_endpoints.clone(),
            allowed_networks: self.allowed_networks.clone(),
            project: self.project.clone(),
            tags: self.tags.clone(),
        }
    }
}

impl TryFrom<Row> for ApiKey {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: ApiKeyId::from_uuid(row.id),
            tenant_id: TenantId::from_uuid(row.tenant_id),
            name: row.name,
            prefix: row.prefix,
            last4: row.last4,
            status: KeyStatus::read(&row.status)?,
            expires_at: row.expires_at.map(Timestamp::from),
            limits: Limits::read(row.limits, "api_keys")?,
            allowed_models: row.allowed_models.map(|Json(models)| models),
            allowed_endpoints: row.allowed_endpoints.map(|Json(endpoints)| endpoints),
            allowed_networks: row.allowed_networks.map(|Json(networks)| networks),
            project: row.project,
            tags: row.tags.0,
            previous_expires_at: row.previous_expires_at.map(Timestamp::from),
            last_used_at: row.last_used_at.map(Timestamp::from),
            created_by: row.created_by.map(UserId::from_uuid),
            managed_by: ManagedBy::read(&row.managed_by)?,
            version: row.version,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        })
    }
}

/// Makes a key. The secret is returned this once and cannot be had again.
pub async fn create(tx: &mut Tx, new: &NewKey) -> Result<(ApiKey, SecretString), StoreError> {
    insert(tx, new, ManagedBy::Api).await
}

pub(crate) async fn insert(tx: &mut Tx, new: &NewKey, managed_by: ManagedBy) -> Result<(ApiKey, SecretString), StoreError> {
    new.settings.check()?;
    let secret = match &new.declared {
        Some(declared) => {
            check_declared(declared.expose_secret())?;
            declared.clone()
        }
        None => SecretString::from(key_format::mint()?.as_str()),
    };
    // A foreign key's failure would say little: name what is missing.
    crate::tenants::get(&mut *tx, TenantScope::All, new.tenant_id).await?;
    check_project(tx, new.tenant_id, new.settings.project.as_deref()).await?;
    let (limits, now) = (new.settings.limits.columns()?, tx.db_now());
    let digest = tx.digest_key(secret.expose_secret());
    let row: Result<Row, sqlx::Error> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "INSERT INTO api_keys (digest, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, 'active', $7, $8, $9, $10, $11, $12, $13, $14, $15, NULL, NULL, $16, $17, 1, $18, $18)
             RETURNING ",
            columns!()
        ))
        .bind(digest.as_bytes().as_slice())
        .bind(ApiKeyId::generate().uuid())
        .bind(new.tenant_id.uuid())
        .bind(&new.settings.name)
        .bind(key_format::shown_prefix(secret.expose_secret()))
        .bind(key_format::last4(secret.expose_secret()))
        .bind(new.settings.expires_at.map(DbTime))
        .bind(limits.requests_per_minute)
        .bind(limits.tokens_per_minute)
        .bind(limits.concurrency)
        .bind(new.settings.allowed_models.as_ref().map(Json))
        .bind(new.settings.allowed_endpoints.as_ref().map(Json))
        .bind(new.settings.allowed_networks.as_ref().map(Json))
        .bind(&new.settings.project)
        .bind(Json(&new.settings.tags))
        .bind(new.created_by.map(UserId::uuid))
        .bind(managed_by.as_str())
        .bind(now)
        .fetch_one(conn)
        .await
    })?;
    let key = ApiKey::try_from(row.map_err(|e| taken(e, &new.settings.name))?)?;
    tx.touch_config();
    Ok((key, secret))
}

pub async fn get(source: impl Source, scope: TenantScope, id: ApiKeyId) -> Result<ApiKey, StoreError> {
    let row: Option<Row> = query!(source, |conn| {
        sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            " FROM api_keys WHERE id = $1 AND ($2 IS NULL OR tenant_id = $2) AND ($3 IS NULL OR created_by = $3)"
        ))
        .bind(id.uuid())
        .bind(scope.tenant())
        .bind(scope.person())
        .fetch_optional(conn)
        .await
    })??;
    row.ok_or_else(|| StoreError::not_found(KIND, id))?.try_into()
}

/// The active key of that name.
pub async fn find_by_name(source: impl Source, tenant: TenantId, name: &str) -> Result<Option<ApiKey>, StoreError> {
    let row: Option<Row> = query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM api_keys WHERE tenant_id = $1 AND name = $2 AND status = 'active'"))
            .bind(tenant.uuid())
            .bind(name)
            .fetch_optional(conn)
            .await
    })??;
    row.map(ApiKey::try_from).transpose()
}

pub async fn list(
    source: impl Source,
    scope: TenantScope,
    filter: &KeyFilter,
    page: &PageRequest,
) -> Result<Page<ApiKey>, StoreError> {
    let before = page.before()?;
    let Some(scope) = scope.narrowed(filter.tenant_id) else { return Ok(Page { data: Vec::new(), next: None }) };
    let rows: Vec<Row> = query!(source, |conn| {
        sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            r" FROM api_keys WHERE id < $1 AND ($2 IS NULL OR tenant_id = $2) AND ($3 IS NULL OR status = $3)
             AND ($4 IS NULL OR lower(name) LIKE $4 ESCAPE '\' OR lower(prefix) LIKE $4 ESCAPE '\')
             AND ($5 IS NULL OR created_by = $5)
             ORDER BY id DESC LIMIT $6"
        ))
        .bind(before)
        .bind(scope.tenant())
        .bind(filter.status.map(KeyStatus::as_str))
        .bind(filter.search.as_deref().map(contains_pattern))
        .bind(scope.person())
        .bind(page.fetch_rows())
        .fetch_all(conn)
        .await
    })??;
    let keys = rows.into_iter().map(ApiKey::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::by_id(keys, page, |key| key.id.uuid()))
}

/// Sets everything anew, if the key still has the version the caller read. A revoked key does not change any more.
pub async fn update(
    tx: &mut Tx,
    scope: TenantScope,
    id: ApiKeyId,
    expected_version: i64,
    settings: &KeySettings,
) -> Result<ApiKey, StoreError> {
    settings.check()?;
    let stored = get(&mut *tx, scope, id).await?;
    // One that was archived stays with those that have it.
    if settings.project.is_some() && stored.project != settings.project {
        check_project(tx, stored.tenant_id, settings.project.as_deref()).await?;
    }
    let (limits, now) = (settings.limits.columns()?, tx.db_now());
    let row: Result<Option<Row>, sqlx::Error> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE api_keys SET name = $4, expires_at = $5, requests_per_minute = $6, tokens_per_minute = $7,
             concurrency = $8, allowed_models = $9, allowed_endpoints = $10, allowed_networks = $11, project = $12,
             tags = $13, version = version + 1, updated_at = $14
             WHERE id = $1 AND version = $2 AND tenant_id = $3 AND status = 'active' RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(expected_version)
        .bind(stored.tenant_id.uuid())
        .bind(&settings.name)
        .bind(settings.expires_at.map(DbTime))
        .bind(limits.requests_per_minute)
        .bind(limits.tokens_per_minute)
        .bind(limits.concurrency)
        .bind(settings.allowed_models.as_ref().map(Json))
        .bind(settings.allowed_endpoints.as_ref().map(Json))
        .bind(settings.allowed_networks.as_ref().map(Json))
        .bind(&settings.project)
        .bind(Json(&settings.tags))
        .bind(now)
        .fetch_optional(conn)
        .await
    })?;
    match row.map_err(|e| taken(e, &settings.name))? {
        Some(row) => {
            tx.touch_config();
            row.try_into()
        }
        None => Err(stale(tx, scope, id).await),
    }
}

/// Ends a key for good; one that is revoked already stays as it is.
pub async fn revoke(tx: &mut Tx, scope: TenantScope, id: ApiKeyId) -> Result<ApiKey, StoreError> {
    let (stored, now) = (get(&mut *tx, scope, id).await?, tx.db_now());
    let row: Option<Row> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE api_keys SET status = 'revoked', version = version + 1, updated_at = $3
             WHERE id = $1 AND tenant_id = $2 AND status = 'active' RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(stored.tenant_id.uuid())
        .bind(now)
        .fetch_optional(conn)
        .await
    })??;
    match row {
        Some(row) => {
            tx.touch_config();
            row.try_into()
        }
        None => get(tx, scope, id).await,
    }
}

/// Gives a key a new text, which is returned this once; the one it has stays good for `overlap` longer, but not beyond the key's
/// own end. The text of an earlier rotation that is still good ends now.
pub async fn rotate(
    tx: &mut Tx,
    scope: TenantScope,
    id: ApiKeyId,
    expected_version: i64,
    overlap: Duration,
) -> Result<(ApiKey, SecretString), StoreError> {
    if overlap > MAX_OVERLAP {
        let days = MAX_OVERLAP.as_secs() / Duration::from_hours(24).as_secs();
        return Err(StoreError::invalid("overlap_seconds", format!("must be at most {days} days")));
    }
    let stored = get(&mut *tx, scope, id).await?;
    let secret = SecretString::from(key_format::mint()?.as_str());
    let (digest, now) = (tx.digest_key(secret.expose_secret()), tx.db_now());
    let row: Option<Row> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE api_keys SET previous_digest = digest, previous_expires_at = $4, digest = $5, prefix = $6, last4 = $7,
             version = version + 1, updated_at = $8
             WHERE id = $1 AND version = $2 AND tenant_id = $3 AND status = 'active' RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(expected_version)
        .bind(stored.tenant_id.uuid())
        .bind(DbTime(Timestamp::from(now).saturating_add(overlap)))
        .bind(digest.as_bytes().as_slice())
        .bind(key_format::shown_prefix(secret.expose_secret()))
        .bind(key_format::last4(secret.expose_secret()))
        .bind(now)
        .fetch_optional(conn)
        .await
    })??;
    match row {
        Some(row) => {
            tx.touch_config();
            Ok((row.try_into()?, secret))
        }
        None => Err(stale(tx, scope, id).await),
    }
}

/// A key may join a project of its tenant that is not archived.
async fn check_project(tx: &mut Tx, tenant: TenantId, project: Option<&str>) -> Result<(), StoreError> {
    let Some(name) = project else { return Ok(()) };
    match projects::find_by_name(&mut *tx, tenant, name).await? {
        Some(project) if project.status == ProjectStatus::Active => Ok(()),
        Some(_) => Err(StoreError::invalid("project", format!("the project `{name}` is archived"))),
        None => Err(StoreError::invalid("project", format!("the tenant has no project `{name}`; make it first"))),
    }
}

/// The key that has this text, whatever its status; for the configuration file.
pub(crate) async fn find_by_secret(tx: &mut Tx, tenant: TenantId, secret: &SecretString) -> Result<Option<ApiKey>, StoreError> {
    let digest = tx.digest_key(secret.expose_secret());
    let row: Option<Row> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM api_keys WHERE digest = $1 AND tenant_id = $2"))
            .bind(digest.as_bytes().as_slice())
            .bind(tenant.uuid())
            .fetch_optional(conn)
            .await
    })??;
    row.map(ApiKey::try_from).transpose()
}

/// The last key of that name the configuration file made, if it was revoked.
pub(crate) async fn find_revoked(tx: &mut Tx, tenant: TenantId, name: &str) -> Result<Option<ApiKey>, StoreError> {
    let row: Option<Row> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            " FROM api_keys WHERE tenant_id = $1 AND name = $2 AND status = 'revoked' AND managed_by = 'file'
             ORDER BY id DESC LIMIT 1"
        ))
        .bind(tenant.uuid())
        .bind(name)
        .fetch_optional(conn)
        .await
    })??;
    row.map(ApiKey::try_from).transpose()
}

/// Gives a declared key another text; for the configuration file.
pub(crate) async fn redeclare(tx: &mut Tx, id: ApiKeyId, secret: Option<&SecretString>) -> Result<(ApiKey, bool), StoreError> {
    let now = tx.db_now();
    let stored: Vec<u8> = query!(&mut *tx, |conn| {
        sqlx::query_scalar("SELECT digest FROM api_keys WHERE id = $1").bind(id.uuid()).fetch_one(conn).await
    })??;
    let key = get(&mut *tx, TenantScope::All, id).await?;
    let digest = secret.map(|secret| tx.digest_key(secret.expose_secret()));
    let same_secret = digest.is_none_or(|digest| digest.as_bytes().as_slice() == stored.as_slice());
    if same_secret && key.managed_by == ManagedBy::File {
        return Ok((key, false));
    }
    let (prefix, last4) = match secret {
        Some(secret) => {
            check_declared(secret.expose_secret())?;
            (key_format::shown_prefix(secret.expose_secret()), key_format::last4(secret.expose_secret()))
        }
        None => (key.prefix.clone(), key.last4.clone()),
    };
    let row: Result<Row, sqlx::Error> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE api_keys SET digest = $2, prefix = $3, last4 = $4, managed_by = 'file', version = version + 1,
             updated_at = $5 WHERE id = $1 RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(digest.map_or(stored, |digest| digest.as_bytes().to_vec()))
        .bind(prefix)
        .bind(last4)
        .bind(now)
        .fetch_one(conn)
        .await
    })?;
    tx.touch_config();
    Ok((row.map_err(|e| taken(e, &key.name))?.try_into()?, true))
}

/// Notes when keys were last used. Not configuration: nobody is signalled.
pub async fn note_used(tx: &mut Tx, used: &[(ApiKeyId, Timestamp)]) -> Result<(), StoreError> {
    if used.is_empty() {
        return Ok(());
    }
    match Source::place(&mut *tx).connection().await? {
        Conn::Pg(mut held) => {
            let ids: Vec<_> = used.iter().map(|(id, _)| id.uuid()).collect();
            let times: Vec<_> = used.iter().map(|(_, at)| DbTime(*at)).collect();
            sqlx::query(
                "UPDATE api_keys SET last_used_at = u.at
                 FROM (SELECT unnest($1::uuid[]) AS id, unnest($2::timestamptz[]) AS at) AS u
                 WHERE api_keys.id = u.id AND (api_keys.last_used_at IS NULL OR api_keys.last_used_at < u.at)",
            )
            .bind(ids)
            .bind(times)
            .execute(&mut *held)
            .await?;
        }
        Conn::Lite(mut held) => {
            for (text, used) in NOTE_USED.split(used) {
                let bind =
                    |query: Query<'static, Sqlite, _>, (id, at): &(ApiKeyId, Timestamp)| query.bind(id.uuid()).bind(DbTime(*at));
                used.iter().fold(sqlx::query(text), bind).execute(&mut *held).await?;
            }
        }
    }
    Ok(())
}

fn check_declared(key: &str) -> Result<(), StoreError> {
    if key_shape(key) == KeyShape::Junk {
        let reason = if key.starts_with(KEY_PREFIX) {
            format!("begins with `{KEY_PREFIX}` but is not a key this program issued; its checksum is wrong")
        } else {
            format!("must have between {MIN_DECLARED_KEY_CHARS} and {MAX_KEY_CHARS} characters")
        };
        return Err(StoreError::invalid("secret", reason));
    }
    if key.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(StoreError::invalid("secret", "must not contain space or control characters"));
    }
    Ok(())
}

fn taken(error: sqlx::Error, name: &str) -> StoreError {
    StoreError::unique(error, KIND, &[("digest", "secret", "***"), ("name", "name", name)])
}

/// Why a conditional write met no row.
async fn stale(tx: &mut Tx, scope: TenantScope, id: ApiKeyId) -> StoreError {
    match get(tx, scope, id).await {
        Ok(key) if key.status == KeyStatus::Revoked => StoreError::invalid("status", "a revoked key does not change any more"),
        Ok(key) => StoreError::VersionMismatch { kind: KIND, current: key.version },
        Err(error) => error,
    }
}
