//! Responses the gateway keeps for tenants who want it, so that `previous_response_id` works before any upstream.
//!
//! What was asked and what was answered are JSON texts this crate does not read. They are sealed for their tenant and id: a
//! row moved to another tenant does not open. A response lives as long as its tenant's setting says after it was last built
//! upon, and the oldest leave when there are too many.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tallygate_types::TenantId;
use uuid::Uuid;

use crate::secrets::row_of;
use crate::value::text_enum;
use crate::{DbTime, Source, Store, StoreError, Tx, query};

const KIND: &str = "response";
/// What the seals are bound to, beside tenant and id.
const INPUT: &str = "stored_responses.sealed_input";
const RESPONSE: &str = "stored_responses.sealed_response";

/// A year; what is to be kept longer is the tenant's to keep.
const MAX_LIFETIME_HOURS: u32 = 24 * 366;
const MIN_BYTES: u64 = 1024 * 1024;
const MAX_BYTES: u64 = 1024 * 1024 * 1024 * 1024;
/// The index entries of a tenant's responses are counted at each write.
const MAX_RESPONSES: u32 = 100_000;

text_enum! {
    /// Whether a tenant's responses are kept by the gateway.
    pub enum ResponsesMode("tenants") {
        /// Nothing is kept: `store` is answered false, and every request carries its whole conversation.
        Stateless = "stateless",
        Stored = "stored",
    }
}

/// How a tenant's responses are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResponseSettings {
    pub mode: ResponsesMode,
    /// Counted from the last request that built on a response.
    pub lifetime_hours: u32,
    /// Of all its responses together; beyond it the oldest leave.
    pub max_bytes: u64,
    pub max_count: u32,
}

impl Default for ResponseSettings {
    fn default() -> Self {
        Self { mode: ResponsesMode::Stateless, lifetime_hours: 30 * 24, max_bytes: 256 * 1024 * 1024, max_count: 10_000 }
    }
}

impl ResponseSettings {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let within = |field, is_within, bounds: String| {
            if is_within { Ok(()) } else { Err(StoreError::invalid(field, format!("must be {bounds}"))) }
        };
        within(
            "responses.lifetime_hours",
            (1..=MAX_LIFETIME_HOURS).contains(&self.lifetime_hours),
            format!("1 to {MAX_LIFETIME_HOURS}"),
        )?;
        within("responses.max_bytes", (MIN_BYTES..=MAX_BYTES).contains(&self.max_bytes), format!("{MIN_BYTES} to {MAX_BYTES}"))?;
        within("responses.max_count", (1..=MAX_RESPONSES).contains(&self.max_count), format!("1 to {MAX_RESPONSES}"))
    }
}

/// The four columns of [`ResponseSettings`].
#[derive(Debug, Serialize, Deserialize, sqlx::FromRow)]
pub(crate) struct ResponseColumns {
    #[sqlx(rename = "responses_mode")]
    mode: String,
    #[sqlx(rename = "responses_lifetime_hours")]
    lifetime_hours: i64,
    #[sqlx(rename = "responses_max_bytes")]
    max_bytes: i64,
    #[sqlx(rename = "responses_max_count")]
    max_count: i64,
}

impl ResponseSettings {
    pub(crate) fn read(row: &ResponseColumns) -> Result<Self, StoreError> {
        let corrupt = |e: std::num::TryFromIntError| StoreError::corrupt("tenants", e);
        Ok(Self {
            mode: ResponsesMode::read(&row.mode)?,
            lifetime_hours: row.lifetime_hours.try_into().map_err(corrupt)?,
            max_bytes: row.max_bytes.try_into().map_err(corrupt)?,
            max_count: row.max_count.try_into().map_err(corrupt)?,
        })
    }
}

/// A response to keep.
#[derive(Debug, Clone, Copy)]
pub struct NewResponse<'a> {
    /// As the client knows it.
    pub id: &'a str,
    pub previous_id: Option<&'a str>,
    /// JSON array: the items of the request, without those of earlier responses.
    pub input: &'a str,
    /// JSON object: the response as the client got it.
    pub response: &'a str,
}

/// A response as it was kept.
#[derive(Debug)]
pub struct StoredResponse {
    pub id: String,
    pub previous_id: Option<String>,
    input: SecretString,
    response: SecretString,
}

/// A response and all it builds on.
#[derive(Debug)]
pub enum Chain {
    /// Oldest first; the last is the one that was asked for.
    Whole(Vec<StoredResponse>),
    /// This one is not there: never was, belongs to another tenant, was deleted or has expired.
    Missing(String),
    /// More responses or bytes than the caller takes.
    TooLong,
}

/// How far a chain is followed.
#[derive(Debug, Clone, Copy)]
pub struct ChainLimits {
    pub responses: u32,
    pub bytes: u64,
}

#[derive(sqlx::FromRow)]
struct Link {
    id: String,
    previous_id: Option<String>,
    bytes: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    previous_id: Option<String>,
    sealed_input: Vec<u8>,
    sealed_response: Vec<u8>,
}

/// `$1` tenant, `$2` id, `$3` now, `$4` most responses.
macro_rules! chain {
    ($rest:literal) => {
        concat!(
            "WITH RECURSIVE chain (id, previous_id, bytes, depth) AS (
                 SELECT id, previous_id, bytes, CAST(1 AS bigint) FROM stored_responses
                 WHERE tenant_id = $1 AND id = $2 AND expires_at > $3
                 UNION ALL
                 SELECT s.id, s.previous_id, s.bytes, c.depth + 1 FROM stored_responses s JOIN chain c ON s.id = c.previous_id
                 WHERE s.tenant_id = $1 AND s.expires_at > $3 AND c.depth < $4) ",
            $rest
        )
    };
}

/// Keeps a response, lets what it builds on live as long as it, and makes the oldest leave if there are too many now.
pub async fn keep(store: &Store, tenant: TenantId, settings: &ResponseSettings, new: &NewResponse<'_>) -> Result<(), StoreError> {
    let bytes = (new.input.len() + new.response.len()) as u64;
    if bytes > settings.max_bytes {
        let reason = format!("a response of {bytes} bytes is larger than all of the tenant's may be together");
        return Err(StoreError::invalid("responses.max_bytes", reason));
    }
    let row = row_of(tenant, new.id);
    let mut tx = store.begin().await?;
    let sealed_input = tx.seal(INPUT, row, new.input)?;
    let sealed_response = tx.seal(RESPONSE, row, new.response)?;
    let now = tx.now();
    let expires_at = DbTime(now.saturating_add(Duration::from_hours(u64::from(settings.lifetime_hours))));
    query!(&mut tx, |conn| {
        sqlx::query(
            "INSERT INTO stored_responses (tenant_id, id, previous_id, sealed_input, sealed_response, bytes, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(tenant.uuid())
        .bind(new.id)
        .bind(new.previous_id)
        .bind(&sealed_input)
        .bind(&sealed_response)
        .bind(i64::try_from(bytes).unwrap_or(i64::MAX))
        .bind(DbTime(now))
        .bind(expires_at)
        .execute(conn)
        .await
        .map(|_| ())
    })??;
    if let Some(previous) = new.previous_id {
        query!(&mut tx, |conn| {
            sqlx::query(chain!(
                "UPDATE stored_responses SET expires_at = $5
                 WHERE tenant_id = $1 AND expires_at < $5 AND id IN (SELECT id FROM chain)"
            ))
            .bind(tenant.uuid())
            .bind(previous)
            .bind(DbTime(now))
            .bind(i64::from(settings.max_count))
            .bind(expires_at)
            .execute(conn)
            .await
            .map(|_| ())
        })??;
    }
    query!(&mut tx, |conn| {
        sqlx::query(
            "DELETE FROM stored_responses WHERE tenant_id = $1 AND id IN (
                 SELECT id FROM (
                     SELECT id, row_number() OVER newest AS place, sum(bytes) OVER newest AS total FROM stored_responses
                     WHERE tenant_id = $1 WINDOW newest AS (ORDER BY expires_at DESC, created_at DESC, id DESC)) AS aged
                 WHERE place > $2 OR total > $3)",
        )
        .bind(tenant.uuid())
        .bind(i64::from(settings.max_count))
        .bind(i64::try_from(settings.max_bytes).unwrap_or(i64::MAX))
        .execute(conn)
        .await
        .map(|_| ())
    })??;
    tx.commit().await?;
    Ok(())
}

/// A response of this tenant; one of another's does not exist.
pub async fn get(store: &Store, tenant: TenantId, id: &str) -> Result<StoredResponse, StoreError> {
    let now = DbTime(store.clock().now());
    let row: Option<Row> = query!(store, |conn| {
        sqlx::query_as(
            "SELECT id, previous_id, sealed_input, sealed_response FROM stored_responses
             WHERE tenant_id = $1 AND id = $2 AND expires_at > $3",
        )
        .bind(tenant.uuid())
        .bind(id)
        .bind(now)
        .fetch_optional(conn)
        .await
    })??;
    open(store, tenant, row.ok_or_else(|| StoreError::not_found(KIND, id))?)
}

/// A response with all it builds on.
pub async fn chain(store: &Store, tenant: TenantId, id: &str, limits: ChainLimits) -> Result<Chain, StoreError> {
    let now = DbTime(store.clock().now());
    // One more than is taken, to tell a chain that is too long from one that ends here. The texts are only read once it is
    // known how large they are.
    let most = i64::from(limits.responses) + 1;
    let links: Vec<Link> = query!(store, |conn| {
        sqlx::query_as(chain!("SELECT id, previous_id, bytes FROM chain ORDER BY depth"))
            .bind(tenant.uuid())
            .bind(id)
            .bind(now)
            .bind(most)
            .fetch_all(conn)
            .await
    })??;
    let bytes: u64 = links.iter().map(|link| link.bytes.unsigned_abs()).sum();
    if links.len() as i64 >= most || bytes > limits.bytes {
        return Ok(Chain::TooLong);
    }
    let Some(oldest) = links.last() else { return Ok(Chain::Missing(id.to_owned())) };
    if let Some(missing) = &oldest.previous_id {
        return Ok(Chain::Missing(missing.clone()));
    }
    let rows: Vec<Row> = query!(store, |conn| {
        sqlx::query_as(chain!(
            "SELECT s.id, s.previous_id, s.sealed_input, s.sealed_response FROM chain c
             JOIN stored_responses s ON s.tenant_id = $1 AND s.id = c.id ORDER BY c.depth DESC"
        ))
        .bind(tenant.uuid())
        .bind(id)
        .bind(now)
        .bind(most)
        .fetch_all(conn)
        .await
    })??;
    let responses = rows.into_iter().map(|row| open(store, tenant, row)).collect::<Result<Vec<_>, _>>()?;
    debug_assert_eq!(links.first().map(|link| link.id.as_str()), Some(id));
    Ok(Chain::Whole(responses))
}

/// Forgets a response; whether there was one. What built on it can be built on no more.
pub async fn delete(store: &Store, tenant: TenantId, id: &str) -> Result<bool, StoreError> {
    let mut tx = store.begin().await?;
    let now = tx.db_now();
    let deleted: u64 = query!(&mut tx, |conn| {
        sqlx::query("DELETE FROM stored_responses WHERE tenant_id = $1 AND id = $2 AND expires_at > $3")
            .bind(tenant.uuid())
            .bind(id)
            .bind(now)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })??;
    tx.commit().await?;
    Ok(deleted > 0)
}

/// How many responses of a tenant there are, expired ones included, and their bytes.
pub async fn held(source: impl Source, tenant: TenantId) -> Result<(u64, u64), StoreError> {
    let (count, bytes): (i64, i64) = query!(source, |conn| {
        sqlx::query_as("SELECT count(*), CAST(coalesce(sum(bytes), 0) AS bigint) FROM stored_responses WHERE tenant_id = $1")
            .bind(tenant.uuid())
            .fetch_one(conn)
            .await
    })??;
    Ok((count.unsigned_abs(), bytes.unsigned_abs()))
}

/// Removes some of what has expired, or belongs to a tenant who no longer wants it kept; returns how many, fewer than `at_most` when none are left.
pub(crate) async fn purge(tx: &mut Tx, at_most: i64) -> Result<u64, StoreError> {
    let now = tx.db_now();
    Ok(query!(&mut *tx, |conn| {
        sqlx::query(
            "DELETE FROM stored_responses WHERE (tenant_id, id) IN (
                 SELECT tenant_id, id FROM stored_responses WHERE expires_at <= $1
                 OR tenant_id IN (SELECT id FROM tenants WHERE responses_mode = 'stateless') LIMIT $2)",
        )
        .bind(now)
        .bind(at_most)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })??)
}

/// Everything of a tenant that is about to be deleted.
pub(crate) async fn forget_tenant(tx: &mut Tx, tenant: Uuid) -> Result<(), StoreError> {
    query!(&mut *tx, |conn| {
        sqlx::query("DELETE FROM stored_responses WHERE tenant_id = $1").bind(tenant).execute(&mut *conn).await?;
        sqlx::query("DELETE FROM upstream_pins WHERE tenant_id = $1").bind(tenant).execute(conn).await.map(|_| ())
    })??;
    Ok(())
}

fn open(store: &Store, tenant: TenantId, row: Row) -> Result<StoredResponse, StoreError> {
    let (sealer, bound_to) = (store.sealer(), row_of(tenant, &row.id));
    Ok(StoredResponse {
        input: sealer.open(INPUT, bound_to, &row.sealed_input)?,
        response: sealer.open(RESPONSE, bound_to, &row.sealed_response)?,
        id: row.id,
        previous_id: row.previous_id,
    })
}

impl StoredResponse {
    /// JSON array.
    pub fn input(&self) -> &str {
        self.input.expose_secret()
    }

    /// JSON object.
    pub fn response(&self) -> &str {
        self.response.expose_secret()
    }
}
