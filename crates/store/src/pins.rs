//! Where an upstream keeps something of a tenant's: a response, or an item of one.
//!
//! A later request that names it must go to the upstream and the credential that made it, and a request of another tenant
//! that names it must go nowhere.

use std::time::Duration;

use tallygate_types::{CredentialId, TenantId, UpstreamId};
use uuid::Uuid;

use crate::{DbTime, Source, Store, StoreError, Tx, query};

/// OpenAI keeps responses for 30 days at least.
const LIFETIME: Duration = Duration::from_hours(30 * 24);
/// Of one tenant; beyond it the oldest leave.
const MAX_PER_TENANT: i64 = 100_000;

/// Who keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    pub upstream: UpstreamId,
    /// `None`: the upstream asks for no key.
    pub credential: Option<CredentialId>,
}

/// One name to remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPin {
    pub tenant: TenantId,
    /// As upstream and client name it.
    pub id: String,
    pub pin: Pin,
}

#[derive(sqlx::FromRow)]
struct Row {
    upstream_id: Uuid,
    credential_id: Option<Uuid>,
}

/// Remembers all of them, in one transaction.
pub async fn remember(store: &Store, pins: &[NewPin]) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    let expires_at = DbTime(tx.now().saturating_add(LIFETIME));
    for new in pins {
        query!(&mut tx, |conn| {
            sqlx::query(
                "INSERT INTO upstream_pins (tenant_id, id, upstream_id, credential_id, expires_at) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (tenant_id, id) DO UPDATE
                 SET upstream_id = excluded.upstream_id, credential_id = excluded.credential_id, expires_at = excluded.expires_at",
            )
            .bind(new.tenant.uuid())
            .bind(&new.id)
            .bind(new.pin.upstream.uuid())
            .bind(new.pin.credential.map(CredentialId::uuid))
            .bind(expires_at)
            .execute(conn)
            .await
            .map(|_| ())
        })??;
    }
    tx.commit().await?;
    Ok(())
}

/// Who keeps what this tenant calls `id`; what another tenant calls so does not exist.
pub async fn find(store: &Store, tenant: TenantId, id: &str) -> Result<Option<Pin>, StoreError> {
    let now = DbTime(store.clock().now());
    let row: Option<Row> = query!(store, |conn| {
        sqlx::query_as(
            "SELECT upstream_id, credential_id FROM upstream_pins WHERE tenant_id = $1 AND id = $2 AND expires_at > $3",
        )
        .bind(tenant.uuid())
        .bind(id)
        .bind(now)
        .fetch_optional(conn)
        .await
    })??;
    Ok(row.map(|row| Pin {
        upstream: UpstreamId::from_uuid(row.upstream_id),
        credential: row.credential_id.map(CredentialId::from_uuid),
    }))
}

/// Forgets it.
pub async fn forget(store: &Store, tenant: TenantId, id: &str) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    query!(&mut tx, |conn| {
        sqlx::query("DELETE FROM upstream_pins WHERE tenant_id = $1 AND id = $2")
            .bind(tenant.uuid())
            .bind(id)
            .execute(conn)
            .await
            .map(|_| ())
    })??;
    tx.commit().await?;
    Ok(())
}

/// How many of a tenant there are.
pub async fn count(source: impl Source, tenant: TenantId) -> Result<u64, StoreError> {
    let count: i64 = query!(source, |conn| {
        sqlx::query_scalar("SELECT count(*) FROM upstream_pins WHERE tenant_id = $1").bind(tenant.uuid()).fetch_one(conn).await
    })??;
    Ok(count.unsigned_abs())
}

/// Removes at most so many of what has expired or is too many; returns how many, fewer when none are left.
pub(crate) async fn purge(tx: &mut Tx, at_most: i64) -> Result<u64, StoreError> {
    let now = tx.db_now();
    Ok(query!(&mut *tx, |conn| {
        sqlx::query(
            "DELETE FROM upstream_pins WHERE (tenant_id, id) IN (
                 SELECT tenant_id, id FROM (
                     SELECT tenant_id, id, expires_at,
                            row_number() OVER (PARTITION BY tenant_id ORDER BY expires_at DESC, id) AS place FROM upstream_pins)
                     AS aged
                 WHERE expires_at <= $1 OR place > $2 LIMIT $3)",
        )
        .bind(now)
        .bind(MAX_PER_TENANT)
        .bind(at_most)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
    })??)
}
