//! What is held against credentials, as one replica tells it to the others: the newest word on each.
//!
//! Written by the data plane beside its requests, never before one; a row belongs to a secret, so that a new one starts afresh.

use tallygate_types::{CredentialId, Timestamp};
use uuid::Uuid;

use crate::{Conn, DbTime, Source, Store, StoreError, query};

/// PostgreSQL's channel for "there is something new"; the rows are read, the payload is empty.
pub(crate) const CHANNEL: &str = "tallygate_standing";
/// Rows that are read at once, at most.
const MAX_ROWS: i64 = 100_000;

/// The newest word on one credential, or on one model of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredStanding {
    pub credential_id: CredentialId,
    /// Empty: for all of them.
    pub model: String,
    /// Of the secret it holds for.
    pub fingerprint: String,
    /// As the data plane calls it.
    pub state: String,
    /// Why, from a closed set.
    pub reason: String,
    pub changed_at: Timestamp,
    /// When it may be asked again.
    pub until: Timestamp,
    /// In a row.
    pub refusals: u32,
}

#[derive(sqlx::FromRow)]
struct Row {
    credential_id: Uuid,
    model: String,
    fingerprint: String,
    state: String,
    reason: String,
    changed_at: DbTime,
    until_at: DbTime,
    refusals: i64,
}

/// Writes all of them in one transaction and tells the other replicas. What is older than the row that is there changes nothing.
pub async fn write(store: &Store, standings: &[StoredStanding]) -> Result<(), StoreError> {
    let mut standings: Vec<_> = standings.iter().collect();
    // In one order, so that two replicas never wait for each other in turn.
    standings.sort_by(|a, b| (a.credential_id, &a.model).cmp(&(b.credential_id, &b.model)));
    let mut tx = store.begin().await?;
    for standing in standings {
        query!(&mut tx, |conn| {
            sqlx::query(
                "INSERT INTO credential_standings AS s
                    (credential_id, model, fingerprint, state, reason, changed_at, until_at, refusals)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                 ON CONFLICT (credential_id, model) DO UPDATE SET
                    fingerprint = excluded.fingerprint, state = excluded.state, reason = excluded.reason,
                    changed_at = excluded.changed_at, until_at = excluded.until_at, refusals = excluded.refusals
                 WHERE s.changed_at < excluded.changed_at",
            )
            .bind(standing.credential_id.uuid())
            .bind(&standing.model)
            .bind(&standing.fingerprint)
            .bind(&standing.state)
            .bind(&standing.reason)
            .bind(DbTime(standing.changed_at))
            .bind(DbTime(standing.until))
            .bind(i64::from(standing.refusals))
            .execute(conn)
            .await
            .map(|_| ())
        })??;
    }
    if let Conn::Pg(mut held) = tx.conn() {
        sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(&mut *held).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// What changed at `from` or later; what is held against credentials that are no more is left out.
pub async fn changed_since(source: impl Source, from: Timestamp) -> Result<Vec<StoredStanding>, StoreError> {
    let rows: Vec<Row> = query!(source, |conn| {
        sqlx::query_as(
            "SELECT credential_id, model, fingerprint, state, reason, changed_at, until_at, refusals
             FROM credential_standings WHERE changed_at >= $1 AND credential_id IN (SELECT id FROM credentials)
             ORDER BY changed_at LIMIT $2",
        )
        .bind(DbTime(from))
        .bind(MAX_ROWS)
        .fetch_all(conn)
        .await
    })??;
    Ok(rows.into_iter().map(StoredStanding::from).collect())
}

/// Forgets credentials that are no more; returns how many rows went.
pub(crate) async fn purge(tx: &mut crate::Tx) -> Result<u64, StoreError> {
    Ok(query!(&mut *tx, |conn| {
        sqlx::query("DELETE FROM credential_standings WHERE credential_id NOT IN (SELECT id FROM credentials)")
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })??)
}

impl From<Row> for StoredStanding {
    fn from(row: Row) -> Self {
        Self {
            credential_id: CredentialId::from_uuid(row.credential_id),
            model: row.model,
            fingerprint: row.fingerprint,
            state: row.state,
            reason: row.reason,
            changed_at: row.changed_at.into(),
            until: row.until_at.into(),
            refusals: u32::try_from(row.refusals).unwrap_or(u32::MAX),
        }
    }
}
