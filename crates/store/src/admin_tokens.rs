//! Tokens with which programs use the admin API. Shown once; kept as the HMAC that issued keys are kept as.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use tallygate_types::{AdminTokenId, Timestamp};
use uuid::Uuid;

use crate::secrets::random_token;
use crate::users::Role;
use crate::{DbTime, KeyDigest, Page, PageRequest, Source, StoreError, Tx, check, key_format, query};

const KIND: &str = "admin token";
/// How a token begins, for people and for scanners of leaked secrets.
pub const ADMIN_TOKEN_PREFIX: &str = "tgadm1_";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AdminToken {
    pub id: AdminTokenId,
    pub name: String,
    pub role: Role,
    pub last4: String,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    /// Who made it, as the audit trail names them.
    pub created_by: String,
    pub created_at: Timestamp,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewAdminToken {
    pub name: String,
    pub role: Role,
    pub expires_at: Timestamp,
    pub created_by: String,
}

macro_rules! columns {
    () => {
        "id, name, role, last4, expires_at, revoked_at, created_by, created_at"
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    name: String,
    role: String,
    last4: String,
    expires_at: DbTime,
    revoked_at: Option<DbTime>,
    created_by: String,
    created_at: DbTime,
}

impl AdminToken {
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

impl TryFrom<Row> for AdminToken {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: AdminTokenId::from_uuid(row.id),
            name: row.name,
            role: Role::read(&row.role)?,
            last4: row.last4,
            expires_at: row.expires_at.into(),
            revoked_at: row.revoked_at.map(Timestamp::from),
            created_by: row.created_by,
            created_at: row.created_at.into(),
        })
    }
}

/// Makes a token. Its text is returned this once and cannot be had again.
pub async fn create(tx: &mut Tx, new: &NewAdminToken) -> Result<(AdminToken, SecretString), StoreError> {
    check::name("name", &new.name)?;
    let now = tx.now();
    if new.role.is_of_tenant() {
        return Err(StoreError::invalid("role", "is a role of a tenant; an admin token has one of the platform's"));
    }
    if new.expires_at <= now {
        return Err(StoreError::invalid("expires_at", "must lie in the future"));
    }
    let secret = SecretString::from(format!("{ADMIN_TOKEN_PREFIX}{}", *random_token()?));
    let digest = tx.digest_key(secret.expose_secret());
    let row: Row = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "INSERT INTO admin_tokens (digest, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, NULL, $7, $8) RETURNING ",
            columns!()
        ))
        .bind(digest.as_bytes().as_slice())
        .bind(AdminTokenId::generate().uuid())
        .bind(&new.name)
        .bind(new.role.as_str())
        .bind(key_format::last4(secret.expose_secret()))
        .bind(DbTime(new.expires_at))
        .bind(&new.created_by)
        .bind(DbTime(now))
        .fetch_one(conn)
        .await
    })??;
    Ok((row.try_into()?, secret))
}

pub async fn get(source: impl Source, id: AdminTokenId) -> Result<AdminToken, StoreError> {
    let row: Option<Row> = query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM admin_tokens WHERE id = $1"))
            .bind(id.uuid())
            .fetch_optional(conn)
            .await
    })??;
    row.ok_or_else(|| StoreError::not_found(KIND, id))?.try_into()
}

/// The token with this digest (see [`Store::digest_key`](crate::Store::digest_key)), live or not.
pub async fn find_by_digest(source: impl Source, digest: &KeyDigest) -> Result<Option<AdminToken>, StoreError> {
    let row: Option<Row> = query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM admin_tokens WHERE digest = $1"))
            .bind(digest.as_bytes().as_slice())
            .fetch_optional(conn)
            .await
    })??;
    row.map(AdminToken::try_from).transpose()
}

pub async fn list(source: impl Source, page: &PageRequest) -> Result<Page<AdminToken>, StoreError> {
    let before = page.before()?;
    let rows: Vec<Row> = query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM admin_tokens WHERE id < $1 ORDER BY id DESC LIMIT $2"))
            .bind(before)
            .bind(page.fetch_rows())
            .fetch_all(conn)
            .await
    })??;
    let tokens = rows.into_iter().map(AdminToken::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::by_id(tokens, page, |token| token.id.uuid()))
}

/// Ends a token for good; one that is revoked already stays as it is.
pub async fn revoke(tx: &mut Tx, id: AdminTokenId) -> Result<AdminToken, StoreError> {
    let now = tx.db_now();
    query!(&mut *tx, |conn| {
        sqlx::query("UPDATE admin_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
            .bind(id.uuid())
            .bind(now)
            .execute(conn)
            .await
            .map(|_| ())
    })??;
    get(tx, id).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::TestStore;

    #[tokio::test]
    async fn a_token_is_found_by_its_digest_until_it_ends() {
        for store in [Some(TestStore::sqlite().await), TestStore::postgres().await].into_iter().flatten() {
            let now = store.clock().now();
            let new = NewAdminToken {
                name: "ci".into(),
                role: Role::Admin,
                expires_at: now.saturating_add(Duration::from_hours(1)),
                created_by: "ada@example.com".into(),
            };
            let mut tx = store.begin().await.unwrap();
            let (token, secret) = create(&mut tx, &new).await.unwrap();
            tx.commit().await.unwrap();
            assert!(secret.expose_secret().starts_with("tgadm1_"));
            let digest = store.digest_key(secret.expose_secret());
            let found = find_by_digest(&store.shared(), &digest).await.unwrap().unwrap();
            assert_eq!(found, token);
            assert!(found.is_live(now) && !found.is_live(new.expires_at));
            assert_eq!(find_by_digest(&store.shared(), &store.digest_key("tgadm1_other")).await.unwrap(), None);

            let mut tx = store.begin().await.unwrap();
            let revoked = revoke(&mut tx, token.id).await.unwrap();
            tx.commit().await.unwrap();
            assert_eq!(revoked.revoked_at, Some(now));
            assert!(!revoked.is_live(now));
            let page = list(&store.shared(), &PageRequest::default()).await.unwrap();
            assert_eq!(page.data, [revoked]);
        }
    }
}
