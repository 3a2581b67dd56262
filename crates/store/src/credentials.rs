//! Credentials: the secrets of upstreams. Written, never read back: only the snapshot of the data plane opens them.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tallygate_types::{CredentialId, Pico, Timestamp, UpstreamId};
use uuid::Uuid;

use crate::limits::LimitColumns;
use crate::targets::MAX_WEIGHT;
use crate::upstreams::Status;
use crate::{DbTime, Limits, ManagedBy, ProxyPool, Source, Store, StoreError, Tx, check, key_format, proxies, query};

const KIND: &str = "credential";
const TABLE: &str = "credentials";
/// The column of a proxy is sealed under another name than the secret's, so that the two cannot be swapped.
const PROXY: &str = "credentials.proxy";
/// Credentials of one upstream at most.
const MAX_PER_UPSTREAM: i64 = 1_000;
/// A retiring credential is used for so long at most.
pub const MAX_OVERLAP: Duration = Duration::from_hours(30 * 24);
/// Bytes of a secret at most: a service account file of Google has 2.3 kB.
const MAX_SECRET_BYTES: usize = 16_384;

/// What a credential may be asked for, beneath what its vendor allows; `None` does not bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialLimits {
    pub requests_per_minute: Option<u32>,
    pub tokens_per_minute: Option<u64>,
    /// Requests in flight at once.
    pub concurrency: Option<u32>,
    /// Money a day (UTC), in the currency the models are priced in.
    pub daily_spend: Option<Pico>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Credential {
    pub id: CredentialId,
    pub upstream_id: UpstreamId,
    pub name: String,
    /// Eight hex digits that tell two secrets apart.
    pub fingerprint: String,
    pub last4: String,
    /// In place of the upstream's, their passwords masked.
    pub proxy: ProxyPool,
    pub status: Status,
    /// Share among the credentials of its upstream; 0 takes none.
    pub weight: u32,
    pub limits: CredentialLimits,
    /// From then on it is not used: its successor is.
    pub retires_at: Option<Timestamp>,
    pub managed_by: ManagedBy,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What of a credential can be set, but for its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialSettings {
    pub name: String,
    /// The masked text of a stored proxy keeps it.
    #[serde(default)]
    pub proxy: ProxyPool,
    pub status: Status,
    pub weight: u32,
    #[serde(default)]
    pub limits: CredentialLimits,
    #[serde(default)]
    pub retires_at: Option<Timestamp>,
}

/// A credential to be made.
#[derive(Debug, Clone)]
pub struct NewCredential {
    pub upstream_id: UpstreamId,
    pub settings: CredentialSettings,
    pub secret: SecretString,
}

macro_rules! columns {
    () => {
        "id, upstream_id, name, fingerprint, last4, proxy, status, weight, requests_per_minute, tokens_per_minute, concurrency,
         daily_spend, retires_at, managed_by, version, created_at, updated_at"
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    upstream_id: Uuid,
    name: String,
    fingerprint: String,
    last4: String,
    proxy: Option<String>,
    status: String,
    weight: i64,
    #[sqlx(flatten)]
    limits: LimitColumns,
    daily_spend: Option<String>,
    retires_at: Option<DbTime>,
    managed_by: String,
    version: i64,
    created_at: DbTime,
    updated_at: DbTime,
}

impl CredentialSettings {
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            proxy: ProxyPool::default(),
            status: Status::Active,
            weight: 1,
            limits: CredentialLimits::default(),
            retires_at: None,
        }
    }

    fn check(&self) -> Result<LimitColumns, StoreError> {
        check::name("name", &self.name)?;
        if self.weight > MAX_WEIGHT {
            return Err(StoreError::invalid("weight", format!("must be at most {MAX_WEIGHT}")));
        }
        self.limits.columns()
    }
}

impl Credential {
    /// What can be set of it, to change some and pass to [`update`].
    pub fn settings(&self) -> CredentialSettings {
        CredentialSettings {
            name: self.name.clone(),
            proxy: self.proxy.clone(),
            status: self.status,
            weight: self.weight,
            limits: self.limits,
            retires_at: self.retires_at,
        }
    }
}

impl TryFrom<Row> for Credential {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: CredentialId::from_uuid(row.id),
            upstream_id: UpstreamId::from_uuid(row.upstream_id),
            name: row.name,
            fingerprint: row.fingerprint,
            last4: row.last4,
            proxy: proxies::shown(TABLE, row.proxy.as_deref())?,
            status: Status::read(&row.status)?,
            weight: read_weight(row.weight)?,
            limits: CredentialLimits::read(row.limits, row.daily_spend.as_deref())?,
            retires_at: row.retires_at.map(Timestamp::from),
            managed_by: ManagedBy::read(&row.managed_by)?,
            version: row.version,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        })
    }
}

/// Adds a credential to an upstream; its secret is sealed at once.
pub async fn create(tx: &mut Tx, new: &NewCredential) -> Result<Credential, StoreError> {
    insert(tx, new, ManagedBy::Api).await
}

pub(crate) async fn insert(tx: &mut Tx, new: &NewCredential, managed_by: ManagedBy) -> Result<Credential, StoreError> {
    let limits = new.settings.check()?;
    check_secret(&new.secret)?;
    crate::upstreams::get(&mut *tx, new.upstream_id).await?;
    let count: i64 = query!(&mut *tx, |conn| {
        sqlx::query_scalar("SELECT count(*) FROM credentials WHERE upstream_id = $1")
            .bind(new.upstream_id.uuid())
            .fetch_one(conn)
            .await
    })??;
    if count >= MAX_PER_UPSTREAM {
        return Err(StoreError::invalid("upstream_id", format!("has {MAX_PER_UPSTREAM} credentials already")));
    }
    let (id, now) = (CredentialId::generate().uuid(), tx.db_now());
    let secret = new.secret.expose_secret();
    let sealed = tx.seal(TABLE, id, secret)?;
    let proxy = proxies::column(tx, PROXY, id, &new.settings.proxy, None)?;
    let fingerprint = tx.fingerprint(secret);
    let row: Result<Row, sqlx::Error> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "INSERT INTO credentials (sealed_secret, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 1, $16, $16) RETURNING ",
            columns!()
        ))
        .bind(&sealed)
        .bind(id)
        .bind(new.upstream_id.uuid())
        .bind(&new.settings.name)
        .bind(&fingerprint)
        .bind(key_format::last4(secret))
        .bind(&proxy)
        .bind(new.settings.status.as_str())
        .bind(i64::from(new.settings.weight))
        .bind(limits.requests_per_minute)
        .bind(limits.tokens_per_minute)
        .bind(limits.concurrency)
        .bind(new.settings.limits.daily_spend.map(|spend| spend.to_string()))
        .bind(new.settings.retires_at.map(DbTime))
        .bind(managed_by.as_str())
        .bind(now)
        .fetch_one(conn)
        .await
    })?;
    tx.touch_config();
    row.map_err(|e| StoreError::unique(e, KIND, &[("name", "name", &new.settings.name)]))?.try_into()
}

pub async fn get(source: impl Source, id: CredentialId) -> Result<Credential, StoreError> {
    read(source, id).await?.try_into()
}

async fn read(source: impl Source, id: CredentialId) -> Result<Row, StoreError> {
    let row: Option<Row> = query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM credentials WHERE id = $1"))
            .bind(id.uuid())
            .fetch_optional(conn)
            .await
    })??;
    row.ok_or_else(|| StoreError::not_found(KIND, id))
}

/// All credentials of an upstream, by name.
pub async fn list(source: impl Source, upstream: UpstreamId) -> Result<Vec<Credential>, StoreError> {
    let rows: Vec<Row> = query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM credentials WHERE upstream_id = $1 ORDER BY name"))
            .bind(upstream.uuid())
            .fetch_all(conn)
            .await
    })??;
    rows.into_iter().map(Credential::try_from).collect()
}

/// Sets everything but the secret anew, if the credential still has the version the caller read.
pub async fn update(
    tx: &mut Tx,
    id: CredentialId,
    expected_version: i64,
    settings: &CredentialSettings,
) -> Result<Credential, StoreError> {
    let limits = settings.check()?;
    let now = tx.db_now();
    let stored = read(&mut *tx, id).await?;
    let proxy = proxies::column(tx, PROXY, id.uuid(), &settings.proxy, stored.proxy.as_deref())?;
    let row: Result<Option<Row>, sqlx::Error> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE credentials SET name = $3, proxy = $4, status = $5, weight = $6, requests_per_minute = $7,
             tokens_per_minute = $8, concurrency = $9, daily_spend = $10, retires_at = $11, version = version + 1,
             updated_at = $12 WHERE id = $1 AND version = $2 RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(expected_version)
        .bind(&settings.name)
        .bind(&proxy)
        .bind(settings.status.as_str())
        .bind(i64::from(settings.weight))
        .bind(limits.requests_per_minute)
        .bind(limits.tokens_per_minute)
        .bind(limits.concurrency)
        .bind(settings.limits.daily_spend.map(|spend| spend.to_string()))
        .bind(settings.retires_at.map(DbTime))
        .bind(now)
        .fetch_optional(conn)
        .await
    })?;
    match row.map_err(|e| StoreError::unique(e, KIND, &[("name", "name", &settings.name)]))? {
        Some(row) => {
            tx.touch_config();
            row.try_into()
        }
        None => Err(stale(tx, id).await),
    }
}

/// Puts a new secret in the place of the old one.
pub async fn replace_secret(
    tx: &mut Tx,
    id: CredentialId,
    expected_version: i64,
    secret: &SecretString,
) -> Result<Credential, StoreError> {
    check_secret(secret)?;
    let (sealed, now) = (tx.seal(TABLE, id.uuid(), secret.expose_secret())?, tx.db_now());
    let fingerprint = tx.fingerprint(secret.expose_secret());
    let row: Option<Row> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE credentials SET sealed_secret = $3, fingerprint = $4, last4 = $5, version = version + 1, updated_at = $6
             WHERE id = $1 AND version = $2 RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(expected_version)
        .bind(&sealed)
        .bind(&fingerprint)
        .bind(key_format::last4(secret.expose_secret()))
        .bind(now)
        .fetch_optional(conn)
        .await
    })??;
    match row {
        Some(row) => {
            tx.touch_config();
            row.try_into()
        }
        None => Err(stale(tx, id).await),
    }
}

/// What a rotation left.
#[derive(Debug)]
pub struct Rotated {
    pub successor: Credential,
    pub retiring: Credential,
}

/// Makes the successor of a credential, alike but for its name and secret, and lets the old one retire after `overlap`.
pub async fn rotate(
    tx: &mut Tx,
    id: CredentialId,
    name: Option<&str>,
    secret: &SecretString,
    overlap: Duration,
) -> Result<Rotated, StoreError> {
    let old = get(&mut *tx, id).await?;
    let name = match name {
        Some(name) => name.to_owned(),
        None => successor_name(&old.name, &list(&mut *tx, old.upstream_id).await?),
    };
    let stored_proxy = read(&mut *tx, id).await?.proxy;
    let proxy = opened_proxy(tx.sealer(), id.uuid(), stored_proxy.as_deref())?;
    let settings = CredentialSettings { name, proxy, retires_at: None, status: Status::Active, ..old.settings() };
    let new = NewCredential { upstream_id: old.upstream_id, settings, secret: secret.clone() };
    let successor = insert(tx, &new, ManagedBy::Api).await?;
    let retires_at = Some(tx.now().saturating_add(overlap.min(MAX_OVERLAP)));
    let retiring = update(tx, id, old.version, &CredentialSettings { retires_at, ..old.settings() }).await?;
    Ok(Rotated { successor, retiring })
}

/// `a1` is followed by `a1-2`, `a1-2` by `a1-3`.
fn successor_name(old: &str, known: &[Credential]) -> String {
    let (stem, number) = match old.rsplit_once('-').map(|(stem, number)| (stem, number.parse::<u32>())) {
        Some((stem, Ok(number))) if !stem.is_empty() => (stem, number),
        _ => (old, 1),
    };
    let is_free = |name: &String| known.iter().all(|credential| credential.name != *name);
    // Among one name more than there are credentials, one is free.
    let mut names = (1..=known.len() as u64 + 1).map(|next| format!("{stem}-{}", u64::from(number) + next));
    names.find(is_free).unwrap_or_else(|| old.to_owned())
}

/// Disables the credentials whose time is over; how many.
pub(crate) async fn disable_retired(tx: &mut Tx) -> Result<u64, StoreError> {
    let now = tx.db_now();
    let disabled: u64 = query!(&mut *tx, |conn| {
        sqlx::query(
            "UPDATE credentials SET status = 'disabled', version = version + 1, updated_at = $1
             WHERE retires_at <= $1 AND status = 'active'",
        )
        .bind(now)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })??;
    if disabled > 0 {
        tx.touch_config();
    }
    Ok(disabled)
}

pub async fn delete(tx: &mut Tx, id: CredentialId, expected_version: i64) -> Result<(), StoreError> {
    let deleted: u64 = query!(&mut *tx, |conn| {
        sqlx::query("DELETE FROM credentials WHERE id = $1 AND version = $2")
            .bind(id.uuid())
            .bind(expected_version)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })??;
    if deleted == 0 {
        return Err(stale(tx, id).await);
    }
    tx.touch_config();
    Ok(())
}

/// Opens one secret, to try it against its upstream. Never for an answer of the API.
pub async fn open_secret(store: &Store, id: CredentialId) -> Result<SecretString, StoreError> {
    let mut tx = store.begin_reading().await?;
    let sealed: Option<Vec<u8>> = query!(&mut tx, |conn| {
        sqlx::query_scalar("SELECT sealed_secret FROM credentials WHERE id = $1").bind(id.uuid()).fetch_optional(conn).await
    })??;
    tx.open(TABLE, id.uuid(), &sealed.ok_or_else(|| StoreError::not_found(KIND, id))?)
}

/// The credential's own proxies with their passwords, to try it. Never for an answer of the API.
pub async fn open_proxy(store: &Store, id: CredentialId) -> Result<ProxyPool, StoreError> {
    let mut tx = store.begin_reading().await?;
    let stored = read(&mut tx, id).await?.proxy;
    opened_proxy(tx.sealer(), id.uuid(), stored.as_deref())
}

/// The proxies of the snapshot's entry, with their passwords.
pub(crate) fn opened_proxy(sealer: &crate::secrets::Sealer, row: Uuid, column: Option<&str>) -> Result<ProxyPool, StoreError> {
    proxies::open(sealer, PROXY, row, column)
}

pub(crate) async fn has_proxy(tx: &mut Tx, id: CredentialId, wanted: &ProxyPool) -> Result<bool, StoreError> {
    let stored = read(&mut *tx, id).await?.proxy;
    Ok(opened_proxy(tx.sealer(), id.uuid(), stored.as_deref())? == *wanted)
}

pub(crate) async fn mark_managed_by_file(tx: &mut Tx, id: CredentialId) -> Result<(), StoreError> {
    query!(&mut *tx, |conn| {
        sqlx::query("UPDATE credentials SET managed_by = 'file' WHERE id = $1").bind(id.uuid()).execute(conn).await.map(|_| ())
    })??;
    Ok(())
}

impl CredentialLimits {
    pub(crate) fn read(row: LimitColumns, daily_spend: Option<&str>) -> Result<Self, StoreError> {
        let Limits { requests_per_minute, tokens_per_minute, concurrency } = Limits::read(row, TABLE)?;
        let daily_spend = daily_spend.map(str::parse).transpose().map_err(|e| StoreError::corrupt(TABLE, e))?;
        Ok(Self { requests_per_minute, tokens_per_minute, concurrency, daily_spend })
    }

    fn columns(&self) -> Result<LimitColumns, StoreError> {
        let Self { requests_per_minute, tokens_per_minute, concurrency, daily_spend } = *self;
        check::amount("limits.daily_spend", daily_spend)?;
        let is_zero = requests_per_minute == Some(0) || tokens_per_minute == Some(0) || concurrency == Some(0);
        if is_zero || daily_spend == Some(Pico::ZERO) {
            return Err(StoreError::invalid("limits", "a limit must be above 0; to take a credential out, disable it"));
        }
        Limits { requests_per_minute, tokens_per_minute, concurrency }.columns()
    }
}

pub(crate) fn read_weight(weight: i64) -> Result<u32, StoreError> {
    u32::try_from(weight).map_err(|e| StoreError::corrupt(TABLE, e))
}

fn check_secret(secret: &SecretString) -> Result<(), StoreError> {
    let text = secret.expose_secret();
    if text.is_empty() || text.trim() != text {
        return Err(StoreError::invalid("secret", "must not be empty nor begin or end with space"));
    }
    if text.len() > MAX_SECRET_BYTES {
        return Err(StoreError::invalid("secret", format!("must have at most {MAX_SECRET_BYTES} bytes")));
    }
    // It travels in a header.
    if text.chars().any(char::is_control) {
        return Err(StoreError::invalid("secret", "must not contain control characters"));
    }
    Ok(())
}

/// Why a conditional write met no row.
async fn stale(tx: &mut Tx, id: CredentialId) -> StoreError {
    match get(tx, id).await {
        Ok(credential) => StoreError::VersionMismatch { kind: KIND, current: credential.version },
        Err(error) => error,
    }
}
