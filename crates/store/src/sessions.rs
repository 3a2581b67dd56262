//! Dashboard sessions: a rotating refresh token, stored hashed, revocable at once.
//!
//! The token names its session (`ses_….secret`). Each refresh gives a new one; a token that names a session but is not its
//! current one is a copy that was used before, so its use ends the session for thief and owner alike.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use tallygate_types::{SessionId, Timestamp, UserId};
use uuid::Uuid;

use crate::secrets::{random_token, token_hash};
use crate::upstreams::Status;
use crate::users::{self, User};
use crate::{DbTime, Source, StoreError, TenantScope, Tx, query};

/// A session not refreshed for this long is over.
pub const IDLE_TIMEOUT: Duration = Duration::from_mins(30);
/// A session ends this long after its login, whatever happens.
pub const ABSOLUTE_TIMEOUT: Duration = Duration::from_hours(12);
/// Two tabs may refresh at the same moment: the token just replaced is not yet taken for a stolen one.
pub const ROTATION_GRACE: Duration = Duration::from_secs(10);
/// Sessions listed of one user at most.
const MAX_LISTED: i64 = 100;
/// Characters kept of a browser's name.
const MAX_USER_AGENT_CHARS: usize = 300;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Session {
    pub id: SessionId,
    pub user_id: UserId,
    #[serde(skip)]
    pub session_epoch: i64,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub created_at: Timestamp,
    pub refreshed_at: Timestamp,
    pub idle_expires_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// What became of a refresh token. Each case may have written: commit after every one.
#[derive(Debug)]
pub enum Refresh {
    /// The session goes on under a new token.
    Rotated { session: Session, user: User, token: SecretString },
    /// Another tab refreshed a moment ago; the browser has the new token already.
    JustRotated { session: Session, user: User },
    /// An old token was used: the session has been revoked.
    Reused { session: SessionId, user_id: UserId },
    /// Unknown, over, or revoked.
    Refused,
}

macro_rules! columns {
    () => {
        "id, user_id, session_epoch, refresh_hash, previous_hash, ip, user_agent, created_at, refreshed_at, idle_expires_at,
         expires_at, revoked_at"
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    user_id: Uuid,
    session_epoch: i64,
    refresh_hash: Vec<u8>,
    previous_hash: Option<Vec<u8>>,
    ip: Option<String>,
    user_agent: Option<String>,
    created_at: DbTime,
    refreshed_at: DbTime,
    idle_expires_at: DbTime,
    expires_at: DbTime,
    revoked_at: Option<DbTime>,
}

impl From<Row> for Session {
    fn from(row: Row) -> Self {
        Self {
            id: SessionId::from_uuid(row.id),
            user_id: UserId::from_uuid(row.user_id),
            session_epoch: row.session_epoch,
            ip: row.ip,
            user_agent: row.user_agent,
            created_at: row.created_at.into(),
            refreshed_at: row.refreshed_at.into(),
            idle_expires_at: row.idle_expires_at.into(),
            expires_at: row.expires_at.into(),
            revoked_at: row.revoked_at.map(Timestamp::from),
        }
    }
}

impl Session {
    fn is_live(&self, user: &User, now: Timestamp) -> bool {
        self.revoked_at.is_none()
            && now < self.idle_expires_at
            && now < self.expires_at
            && self.session_epoch == user.session_epoch
            && user.status == Status::Active
    }
}

/// Begins a session for a user who has just proven who they are.
pub async fn create(
    tx: &mut Tx,
    user: &User,
    ip: Option<&str>,
    user_agent: Option<&str>,
) -> Result<(Session, SecretString), StoreError> {
    let (id, now) = (SessionId::generate(), tx.now());
    let token = token_of(id)?;
    let user_agent: Option<String> = user_agent.map(|text| text.chars().take(MAX_USER_AGENT_CHARS).collect());
    let row: Row = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "INSERT INTO sessions (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, NULL, $5, $6, $7, $7, $8, $9, NULL) RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(user.id.uuid())
        .bind(user.session_epoch)
        .bind(token_hash(token.expose_secret()))
        .bind(ip)
        .bind(&user_agent)
        .bind(DbTime(now))
        .bind(DbTime(now.saturating_add(IDLE_TIMEOUT)))
        .bind(DbTime(now.saturating_add(ABSOLUTE_TIMEOUT)))
        .fetch_one(conn)
        .await
    })??;
    users::note_login(tx, user.id).await?;
    Ok((row.into(), token))
}

/// Trades a refresh token for the next one. The transaction is to be committed whatever the outcome.
pub async fn refresh(tx: &mut Tx, token: &SecretString) -> Result<Refresh, StoreError> {
    let Some(id) = session_of(token.expose_secret()) else { return Ok(Refresh::Refused) };
    let Some(row) = read(&mut *tx, id).await? else { return Ok(Refresh::Refused) };
    let presented = token_hash(token.expose_secret());
    let (current, previous) = (row.refresh_hash == presented, row.previous_hash.as_ref() == Some(&presented));
    let session = Session::from(row);
    let user = match users::get(&mut *tx, TenantScope::All, session.user_id).await {
        Ok(user) => user,
        Err(StoreError::NotFound { .. }) => return Ok(Refresh::Refused),
        Err(error) => return Err(error),
    };
    let now = tx.now();
    if !session.is_live(&user, now) {
        return Ok(Refresh::Refused);
    }
    if current && let Some((session, token)) = rotate(tx, id, &presented, now).await? {
        return Ok(Refresh::Rotated { session, user, token });
    }
    // Either it was replaced a moment ago, or this very refresh lost a race against another one.
    if current || (previous && now.since(session.refreshed_at) < ROTATION_GRACE) {
        return Ok(Refresh::JustRotated { session, user });
    }
    revoke(tx, id, "refresh token used twice").await?;
    Ok(Refresh::Reused { session: id, user_id: session.user_id })
}

/// `None`: another refresh was faster.
async fn rotate(
    tx: &mut Tx,
    id: SessionId,
    current: &[u8],
    now: Timestamp,
) -> Result<Option<(Session, SecretString)>, StoreError> {
    let token = token_of(id)?;
    let row: Option<Row> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE sessions SET previous_hash = refresh_hash, refresh_hash = $3, refreshed_at = $4, idle_expires_at = $5
             WHERE id = $1 AND refresh_hash = $2 AND revoked_at IS NULL RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(current)
        .bind(token_hash(token.expose_secret()))
        .bind(DbTime(now))
        .bind(DbTime(now.saturating_add(IDLE_TIMEOUT)))
        .fetch_optional(conn)
        .await
    })??;
    Ok(row.map(|row| (row.into(), token)))
}

/// The session and its user, if it is live: what stands behind a signed access token.
pub async fn find_live(source: impl Source + Copy, id: SessionId, now: Timestamp) -> Result<Option<(Session, User)>, StoreError> {
    let Some(row) = read(source, id).await? else { return Ok(None) };
    let session = Session::from(row);
    match users::get(source, TenantScope::All, session.user_id).await {
        Ok(user) if session.is_live(&user, now) => Ok(Some((session, user))),
        Ok(_) | Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The newest sessions of a user, ended ones too.
pub async fn list(source: impl Source, user: UserId) -> Result<Vec<Session>, StoreError> {
    let rows: Vec<Row> = query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM sessions WHERE user_id = $1 ORDER BY id DESC LIMIT $2"))
            .bind(user.uuid())
            .bind(MAX_LISTED)
            .fetch_all(conn)
            .await
    })??;
    Ok(rows.into_iter().map(Session::from).collect())
}

/// Ends a session; `false` if it was over or is unknown.
pub async fn revoke(tx: &mut Tx, id: SessionId, reason: &str) -> Result<bool, StoreError> {
    let now = tx.db_now();
    let revoked: u64 = query!(&mut *tx, |conn| {
        sqlx::query("UPDATE sessions SET revoked_at = $2, revoked_reason = $3 WHERE id = $1 AND revoked_at IS NULL")
            .bind(id.uuid())
            .bind(now)
            .bind(reason)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })??;
    Ok(revoked > 0)
}

/// Removes sessions that ended before `before`. Returns how many.
pub async fn purge(tx: &mut Tx, before: Timestamp) -> Result<u64, StoreError> {
    Ok(query!(&mut *tx, |conn| {
        sqlx::query("DELETE FROM sessions WHERE expires_at < $1 OR revoked_at < $1")
            .bind(DbTime(before))
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })??)
}

async fn read(source: impl Source, id: SessionId) -> Result<Option<Row>, StoreError> {
    Ok(query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM sessions WHERE id = $1")).bind(id.uuid()).fetch_optional(conn).await
    })??)
}

fn token_of(id: SessionId) -> Result<SecretString, StoreError> {
    Ok(SecretString::from(format!("{id}.{}", *random_token()?)))
}

fn session_of(token: &str) -> Option<SessionId> {
    token.split_once('.')?.0.parse().ok()
}
