//! Notifications: written once, sent once at least.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;
use sqlx::types::Json;
use tallygate_store::{DbTime, Page, PageRequest, Source, Store, StoreError, TenantScope, Tx, query};
use tallygate_types::{NotificationId, TenantId, Timestamp};
use uuid::Uuid;

use crate::budget::Spent;

const KIND: &str = "notification";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotificationState {
    /// Not told yet.
    Pending,
    /// Told by every way there is.
    Sent,
    /// Given up, with `last_error`.
    Failed,
    /// There was nobody to tell.
    Recorded,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    pub id: NotificationId,
    pub tenant_id: TenantId,
    /// What is told; `id` is in it.
    pub event: Value,
    pub state: NotificationState,
    /// The ways by which it was told.
    pub delivered: Vec<String>,
    pub attempts: u32,
    /// Of one that is pending.
    pub next_attempt_at: Timestamp,
    pub last_error: Option<String>,
    pub created_at: Timestamp,
}

/// A notification to be sent by whoever holds this, until its time is over.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub notification: Notification,
    /// Whom its tenant wants told, beside the operator.
    pub emails: Vec<String>,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    Sent,
    Recorded,
    /// It failed and is tried again then.
    Again {
        at: Timestamp,
        error: String,
    },
    GivenUp {
        error: String,
    },
}

#[derive(Debug, Clone, Copy, Default)]
pub struct NotificationFilter {
    pub state: Option<NotificationState>,
    pub tenant: Option<TenantId>,
}

pub(super) struct New<'a> {
    pub id: NotificationId,
    pub tenant: TenantId,
    pub spent: &'a Spent,
    pub occasion: &'a str,
    pub event: &'a Value,
}

macro_rules! columns {
    () => {
        "id, tenant_id, event, state, delivered, attempts, next_attempt_at, last_error, created_at"
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    tenant_id: Uuid,
    event: Json<Value>,
    state: String,
    delivered: Json<Vec<String>>,
    attempts: i64,
    next_attempt_at: DbTime,
    last_error: Option<String>,
    created_at: DbTime,
}

impl NotificationState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Recorded => "recorded",
        }
    }
}

impl fmt::Display for NotificationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for NotificationState {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        [Self::Pending, Self::Sent, Self::Failed, Self::Recorded]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| StoreError::Corrupt { table: "notifications", reason: format!("`{text}` is no state") })
    }
}

impl TryFrom<Row> for Notification {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: NotificationId::from_uuid(row.id),
            tenant_id: TenantId::from_uuid(row.tenant_id),
            event: row.event.0,
            state: row.state.parse()?,
            delivered: row.delivered.0,
            attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
            next_attempt_at: row.next_attempt_at.into(),
            last_error: row.last_error,
            created_at: row.created_at.into(),
        })
    }
}

/// False if it was there already.
pub(super) async fn insert(tx: &mut Tx, new: &New<'_>) -> Result<bool, StoreError> {
    let now = DbTime(tx.now());
    let draw = &new.spent.draw;
    let inserted: u64 = query!(tx, |conn| {
        sqlx::query(
            "INSERT INTO notifications (id, tenant_id, budget_id, subject, period, since, currency, occasion, event, state,
                next_attempt_at, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'pending', $10, $10) ON CONFLICT DO NOTHING",
        )
        .bind(new.id.uuid())
        .bind(new.tenant.uuid())
        .bind(draw.budget.uuid())
        .bind(draw.subject.to_string())
        .bind(draw.period.as_str())
        .bind(DbTime(draw.since))
        .bind(new.spent.currency.to_string())
        .bind(new.occasion)
        .bind(Json(new.event))
        .bind(now)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
        .map_err(StoreError::from)
    })??;
    Ok(inserted > 0)
}

/// Takes on the notification that has been due for longest, for as long as `lease`: one conditional UPDATE, so that no two processes
/// have the same. None if nothing is due, or another was faster.
pub async fn claim(store: &Store, lease: Duration) -> Result<Option<Claimed>, StoreError> {
    let mut tx = store.begin().await?;
    let now = tx.now();
    let until = DbTime(now.saturating_add(lease));
    let row: Option<Row> = query!(&mut tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE notifications SET next_attempt_at = $2, attempts = attempts + 1
             WHERE id = (SELECT id FROM notifications WHERE state = 'pending' AND next_attempt_at <= $1
                ORDER BY next_attempt_at, id LIMIT 1) AND state = 'pending' AND next_attempt_at <= $1 RETURNING ",
            columns!()
        ))
        .bind(DbTime(now))
        .bind(until)
        .fetch_optional(conn)
        .await
        .map_err(StoreError::from)
    })??;
    let Some(row) = row else { return Ok(None) };
    let tenant = row.tenant_id;
    let emails: Option<Json<Vec<String>>> = query!(&mut tx, |conn| {
        sqlx::query_scalar("SELECT alert_emails FROM tenants WHERE id = $1")
            .bind(tenant)
            .fetch_optional(conn)
            .await
            .map_err(StoreError::from)
    })??;
    tx.commit().await?;
    Ok(Some(Claimed { notification: row.try_into()?, emails: emails.map_or_else(Vec::new, |Json(emails)| emails) }))
}

/// Says what became of it, and by which ways it was told so far; false if its time was over and another has taken it on.
pub async fn finish(store: &Store, claimed: &Notification, delivered: &[String], fate: &Fate) -> Result<bool, StoreError> {
    let (state, at, error) = match fate {
        Fate::Sent => (NotificationState::Sent, claimed.next_attempt_at, None),
        Fate::Recorded => (NotificationState::Recorded, claimed.next_attempt_at, None),
        Fate::Again { at, error } => (NotificationState::Pending, *at, Some(error)),
        Fate::GivenUp { error } => (NotificationState::Failed, claimed.next_attempt_at, Some(error)),
    };
    let mut tx = store.begin().await?;
    let done: u64 = query!(&mut tx, |conn| {
        sqlx::query(
            "UPDATE notifications SET state = $3, delivered = $4, next_attempt_at = $5, last_error = $6
             WHERE id = $1 AND attempts = $2 AND state = 'pending'",
        )
        .bind(claimed.id.uuid())
        .bind(i64::from(claimed.attempts))
        .bind(state.as_str())
        .bind(Json(delivered))
        .bind(DbTime(at))
        .bind(error)
        .execute(conn)
        .await
        .map(|done| done.rows_affected())
        .map_err(StoreError::from)
    })??;
    tx.commit().await?;
    Ok(done > 0)
}

pub async fn get(source: impl Source, scope: TenantScope, id: NotificationId) -> Result<Notification, StoreError> {
    let row: Option<Row> = query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM notifications WHERE id = $1"))
            .bind(id.uuid())
            .fetch_optional(conn)
            .await
            .map_err(StoreError::from)
    })??;
    let found = row.map(Notification::try_from).transpose()?.filter(|found| scope.includes(found.tenant_id));
    found.ok_or_else(|| StoreError::NotFound { kind: KIND, id: id.to_string() })
}

/// Notifications, the newest first.
pub async fn list(source: impl Source, filter: NotificationFilter, page: &PageRequest) -> Result<Page<Notification>, StoreError> {
    let before = page.before()?;
    let rows: Vec<Row> = query!(source, |conn| {
        sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            " FROM notifications WHERE id < $1 AND ($2 IS NULL OR tenant_id = $2) AND ($3 IS NULL OR state = $3)
             ORDER BY id DESC LIMIT $4"
        ))
        .bind(before)
        .bind(filter.tenant.map(TenantId::uuid))
        .bind(filter.state.map(NotificationState::as_str))
        .bind(page.fetch_rows())
        .fetch_all(conn)
        .await
        .map_err(StoreError::from)
    })??;
    let notifications = rows.into_iter().map(Notification::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::by_id(notifications, page, |notification| notification.id.uuid()))
}

/// Has one told anew that was given up, or had nobody to be told: by the ways that it was not told by yet.
pub async fn retry(tx: &mut Tx, scope: TenantScope, id: NotificationId) -> Result<Notification, StoreError> {
    let before = get(&mut *tx, scope, id).await?;
    if !matches!(before.state, NotificationState::Failed | NotificationState::Recorded) {
        return Err(StoreError::InUse { kind: KIND, by: format!("nobody: it is {} already", before.state) });
    }
    let now = DbTime(tx.now());
    let row: Option<Row> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE notifications SET state = 'pending', attempts = 0, next_attempt_at = $2
             WHERE id = $1 AND state IN ('failed', 'recorded') RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(now)
        .fetch_optional(conn)
        .await
        .map_err(StoreError::from)
    })??;
    match row {
        Some(row) => row.try_into(),
        // Another was faster.
        None => get(tx, scope, id).await,
    }
}

/// Forgets what was made before, a thousand in a transaction; how many went. What is pending stays, and so does what is told once
/// for good.
pub async fn drop_made_before(store: &Store, before: Timestamp) -> Result<u64, StoreError> {
    const AT_ONCE: i64 = 1_000;
    let mut dropped = 0;
    loop {
        let mut tx = store.begin().await?;
        let gone: u64 = query!(&mut tx, |conn| {
            sqlx::query(
                "DELETE FROM notifications WHERE id IN
                    (SELECT id FROM notifications WHERE created_at < $1 AND state <> 'pending' AND period <> 'total' LIMIT $2)",
            )
            .bind(DbTime(before))
            .bind(AT_ONCE)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
            .map_err(StoreError::from)
        })??;
        tx.commit().await?;
        dropped += gone;
        if gone < AT_ONCE.unsigned_abs() {
            return Ok(dropped);
        }
    }
}
