//! Upstreams: the provider endpoints requests are sent to. Their secrets are in [`credentials`](crate::credentials).

use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use tallygate_types::{Dialect, Timestamp, UpstreamId};
use uuid::Uuid;

pub use crate::credentials::{Credential, CredentialSettings, NewCredential};
use crate::page::contains_pattern;
use crate::routing::Strategy;
use crate::value::text_enum;
use crate::{DbTime, ManagedBy, Page, PageRequest, ProxyPool, Source, StoreError, Tx, check, proxies, query};

const KIND: &str = "upstream";
const TABLE: &str = "upstreams";
/// No timeout is longer than a day; milliseconds.
const MAX_TIMEOUT_MS: u64 = 86_400_000;

text_enum! {
    /// Whether an upstream, a credential or a model takes part.
    pub enum Status("status") {
        Active = "active",
        Disabled = "disabled",
    }
}

/// In milliseconds; `None` takes the gateway's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    pub connect_ms: Option<u64>,
    /// From the request sent to the first byte of the answer's head.
    pub first_byte_ms: Option<u64>,
    /// From the head of a stream to its first content.
    pub first_token_ms: Option<u64>,
    /// Silence within a stream.
    pub stream_idle_ms: Option<u64>,
    pub total_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Upstream {
    pub id: UpstreamId,
    pub name: String,
    pub dialect: Dialect,
    pub base_url: String,
    /// Outbound proxies, their passwords masked.
    pub proxy: ProxyPool,
    /// Hosts reached without them.
    pub no_proxy: Vec<String>,
    pub status: Status,
    /// Runs on the installation's own machines; an answer from it is marked where it was not the first choice.
    pub local: bool,
    /// How one of its credentials is chosen.
    pub credential_strategy: Strategy,
    pub timeouts: Timeouts,
    pub managed_by: ManagedBy,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What of an upstream can be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamSettings {
    pub name: String,
    pub dialect: Dialect,
    pub base_url: String,
    /// The masked text of a stored proxy keeps it.
    #[serde(default)]
    pub proxy: ProxyPool,
    #[serde(default)]
    pub no_proxy: Vec<String>,
    pub status: Status,
    #[serde(default)]
    pub local: bool,
    #[serde(default)]
    pub credential_strategy: Strategy,
    #[serde(default)]
    pub timeouts: Timeouts,
}

/// Which upstreams a list shows.
#[derive(Debug, Clone, Default)]
pub struct UpstreamFilter {
    pub status: Option<Status>,
    pub dialect: Option<Dialect>,
    /// Part of the name, whatever its case.
    pub search: Option<String>,
}

macro_rules! columns {
    () => {
        "id, name, dialect, base_url, proxy, no_proxy, status, local, credential_strategy, connect_timeout_ms,
         first_byte_timeout_ms, first_token_timeout_ms, stream_idle_timeout_ms, total_timeout_ms, managed_by, version,
         created_at, updated_at"
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    name: String,
    dialect: String,
    base_url: String,
    proxy: Option<String>,
    no_proxy: Json<Vec<String>>,
    status: String,
    local: bool,
    credential_strategy: String,
    #[sqlx(flatten)]
    timeouts: TimeoutColumns,
    managed_by: String,
    version: i64,
    created_at: DbTime,
    updated_at: DbTime,
}

/// The columns of [`Timeouts`].
#[derive(Debug, Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct TimeoutColumns {
    #[sqlx(rename = "connect_timeout_ms")]
    connect: Option<i64>,
    #[sqlx(rename = "first_byte_timeout_ms")]
    first_byte: Option<i64>,
    #[sqlx(rename = "first_token_timeout_ms")]
    first_token: Option<i64>,
    #[sqlx(rename = "stream_idle_timeout_ms")]
    stream_idle: Option<i64>,
    #[sqlx(rename = "total_timeout_ms")]
    total: Option<i64>,
}

impl Timeouts {
    pub(crate) fn read(row: TimeoutColumns) -> Result<Self, StoreError> {
        let read = |ms: Option<i64>| ms.map(u64::try_from).transpose().map_err(|e| StoreError::corrupt(TABLE, e));
        Ok(Self {
            connect_ms: read(row.connect)?,
            first_byte_ms: read(row.first_byte)?,
            first_token_ms: read(row.first_token)?,
            stream_idle_ms: read(row.stream_idle)?,
            total_ms: read(row.total)?,
        })
    }

    fn columns(&self) -> Result<TimeoutColumns, StoreError> {
        let column = |ms: Option<u64>| match ms {
            Some(ms) if ms == 0 || ms > MAX_TIMEOUT_MS => {
                Err(StoreError::invalid("timeouts", format!("must be between 1 and {MAX_TIMEOUT_MS} ms")))
            }
            ms => Ok(ms.map(|ms| ms as i64)),
        };
        Ok(TimeoutColumns {
            connect: column(self.connect_ms)?,
            first_byte: column(self.first_byte_ms)?,
            first_token: column(self.first_token_ms)?,
            stream_idle: column(self.stream_idle_ms)?,
            total: column(self.total_ms)?,
        })
    }
}

impl UpstreamSettings {
    /// An active upstream reached directly, with the gateway's timeouts.
    pub fn at(name: impl Into<String>, dialect: Dialect, base_url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            dialect,
            base_url: base_url.into(),
            proxy: ProxyPool::default(),
            no_proxy: Vec::new(),
            status: Status::Active,
            local: false,
            credential_strategy: Strategy::default(),
            timeouts: Timeouts::default(),
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        check::name("name", &self.name)?;
        check::base_url(&self.base_url)?;
        check::no_proxy(&self.no_proxy)
    }
}

impl Upstream {
    /// What can be set of it, to change some and pass to [`update`].
    pub fn settings(&self) -> UpstreamSettings {
        UpstreamSettings {
            name: self.name.clone(),
            dialect: self.dialect,
            base_url: self.base_url.clone(),
            proxy: self.proxy.clone(),
            no_proxy: self.no_proxy.clone(),
            status: self.status,
            local: self.local,
            credential_strategy: self.credential_strategy,
            timeouts: self.timeouts,
        }
    }
}

impl TryFrom<Row> for Upstream {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: UpstreamId::from_uuid(row.id),
            name: row.name,
            dialect: row.dialect.parse().map_err(|e| StoreError::corrupt(TABLE, e))?,
            base_url: row.base_url,
            proxy: proxies::shown(TABLE, row.proxy.as_deref())?,
            no_proxy: row.no_proxy.0,
            status: Status::read(&row.status)?,
            local: row.local,
            credential_strategy: Strategy::read(&row.credential_strategy)?,
            timeouts: Timeouts::read(row.timeouts)?,
            managed_by: ManagedBy::read(&row.managed_by)?,
            version: row.version,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        })
    }
}

pub async fn create(tx: &mut Tx, settings: &UpstreamSettings) -> Result<Upstream, StoreError> {
    insert(tx, settings, ManagedBy::Api).await
}

pub(crate) async fn insert(tx: &mut Tx, settings: &UpstreamSettings, managed_by: ManagedBy) -> Result<Upstream, StoreError> {
    settings.check()?;
    let (id, timeouts, now) = (UpstreamId::generate().uuid(), settings.timeouts.columns()?, tx.db_now());
    let proxy = proxies::column(tx, TABLE, id, &settings.proxy, None)?;
    let row: Result<Row, sqlx::Error> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "INSERT INTO upstreams (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 1, $16, $16) RETURNING ",
            columns!()
        ))
        .bind(id)
        .bind(&settings.name)
        .bind(settings.dialect.as_str())
        .bind(&settings.base_url)
        .bind(&proxy)
        .bind(Json(&settings.no_proxy))
        .bind(settings.status.as_str())
        .bind(settings.local)
        .bind(settings.credential_strategy.as_str())
        .bind(timeouts.connect)
        .bind(timeouts.first_byte)
        .bind(timeouts.first_token)
        .bind(timeouts.stream_idle)
        .bind(timeouts.total)
        .bind(managed_by.as_str())
        .bind(now)
        .fetch_one(conn)
        .await
    })?;
    tx.touch_config();
    row.map_err(|e| StoreError::unique(e, KIND, &[("name", "name", &settings.name)]))?.try_into()
}

pub async fn get(source: impl Source, id: UpstreamId) -> Result<Upstream, StoreError> {
    read(source, id).await?.try_into()
}

async fn read(source: impl Source, id: UpstreamId) -> Result<Row, StoreError> {
    let row: Option<Row> = query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM upstreams WHERE id = $1")).bind(id.uuid()).fetch_optional(conn).await
    })??;
    row.ok_or_else(|| StoreError::not_found(KIND, id))
}

pub async fn find_by_name(source: impl Source, name: &str) -> Result<Option<Upstream>, StoreError> {
    let row: Option<Row> = query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM upstreams WHERE name = $1")).bind(name).fetch_optional(conn).await
    })??;
    row.map(Upstream::try_from).transpose()
}

pub async fn list(source: impl Source, filter: &UpstreamFilter, page: &PageRequest) -> Result<Page<Upstream>, StoreError> {
    let before = page.before()?;
    let rows: Vec<Row> = query!(source, |conn| {
        sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            r" FROM upstreams WHERE id < $1 AND ($2 IS NULL OR status = $2) AND ($3 IS NULL OR dialect = $3)
             AND ($4 IS NULL OR lower(name) LIKE $4 ESCAPE '\') ORDER BY id DESC LIMIT $5"
        ))
        .bind(before)
        .bind(filter.status.map(Status::as_str))
        .bind(filter.dialect.map(Dialect::as_str))
        .bind(filter.search.as_deref().map(contains_pattern))
        .bind(page.fetch_rows())
        .fetch_all(conn)
        .await
    })??;
    let upstreams = rows.into_iter().map(Upstream::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::by_id(upstreams, page, |upstream| upstream.id.uuid()))
}

/// Sets everything anew, if the upstream still has the version the caller read.
pub async fn update(
    tx: &mut Tx,
    id: UpstreamId,
    expected_version: i64,
    settings: &UpstreamSettings,
) -> Result<Upstream, StoreError> {
    replace(tx, id, expected_version, settings, None).await
}

pub(crate) async fn replace(
    tx: &mut Tx,
    id: UpstreamId,
    expected_version: i64,
    settings: &UpstreamSettings,
    managed_by: Option<ManagedBy>,
) -> Result<Upstream, StoreError> {
    settings.check()?;
    let (timeouts, now) = (settings.timeouts.columns()?, tx.db_now());
    let stored = read(&mut *tx, id).await?;
    let proxy = proxies::column(tx, TABLE, id.uuid(), &settings.proxy, stored.proxy.as_deref())?;
    let row: Result<Option<Row>, sqlx::Error> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE upstreams SET name = $3, dialect = $4, base_url = $5, proxy = $6, no_proxy = $7, status = $8, local = $9,
             credential_strategy = $10, connect_timeout_ms = $11, first_byte_timeout_ms = $12, first_token_timeout_ms = $13,
             stream_idle_timeout_ms = $14, total_timeout_ms = $15, managed_by = $16, version = version + 1, updated_at = $17
             WHERE id = $1 AND version = $2 RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(expected_version)
        .bind(&settings.name)
        .bind(settings.dialect.as_str())
        .bind(&settings.base_url)
        .bind(&proxy)
        .bind(Json(&settings.no_proxy))
        .bind(settings.status.as_str())
        .bind(settings.local)
        .bind(settings.credential_strategy.as_str())
        .bind(timeouts.connect)
        .bind(timeouts.first_byte)
        .bind(timeouts.first_token)
        .bind(timeouts.stream_idle)
        .bind(timeouts.total)
        .bind(managed_by.map_or(stored.managed_by, |by| by.to_string()))
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

/// Whether the proxy as declared is the one stored, so that a start with the same file changes nothing.
pub(crate) async fn has_proxy(tx: &mut Tx, id: UpstreamId, wanted: &ProxyPool) -> Result<bool, StoreError> {
    let stored = read(&mut *tx, id).await?.proxy;
    Ok(proxies::open(tx.sealer(), TABLE, id.uuid(), stored.as_deref())? == *wanted)
}

/// The proxies to connect by, with their passwords; for probes of the admin API.
pub async fn open_proxy(store: &crate::Store, id: UpstreamId) -> Result<ProxyPool, StoreError> {
    let mut tx = store.begin_reading().await?;
    let stored = read(&mut tx, id).await?.proxy;
    proxies::open(tx.sealer(), TABLE, id.uuid(), stored.as_deref())
}

/// Deletes an upstream nothing is served from, with its credentials.
pub async fn delete(tx: &mut Tx, id: UpstreamId, expected_version: i64) -> Result<(), StoreError> {
    for (what, users) in [
        (
            "models",
            "SELECT DISTINCT m.name FROM targets t JOIN models m ON m.id = t.model_id WHERE t.upstream_id = $1 ORDER BY 1",
        ),
        (
            "routes",
            "SELECT DISTINCT r.name FROM targets t JOIN routes r ON r.id = t.route_id WHERE t.upstream_id = $1 ORDER BY 1",
        ),
    ] {
        let names: Vec<String> = query!(&mut *tx, |conn| sqlx::query_scalar(users).bind(id.uuid()).fetch_all(conn).await)??;
        if !names.is_empty() {
            return Err(StoreError::InUse { kind: KIND, by: format!("the {what} {}", names.join(", ")) });
        }
    }
    if get(&mut *tx, id).await?.version != expected_version {
        return Err(stale(tx, id).await);
    }
    query!(&mut *tx, |conn| {
        sqlx::query("DELETE FROM credentials WHERE upstream_id = $1").bind(id.uuid()).execute(conn).await.map(|_| ())
    })??;
    let deleted: u64 = query!(&mut *tx, |conn| {
        sqlx::query("DELETE FROM upstreams WHERE id = $1 AND version = $2")
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

/// Why a conditional write met no row.
async fn stale(tx: &mut Tx, id: UpstreamId) -> StoreError {
    match get(tx, id).await {
        Ok(upstream) => StoreError::VersionMismatch { kind: KIND, current: upstream.version },
        Err(error) => error,
    }
}
