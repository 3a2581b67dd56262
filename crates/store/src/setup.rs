//! The one-time token that lets the first owner in: an installation has no default password.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tallygate_types::Timestamp;
use uuid::Uuid;

use crate::secrets::{random_token, token_hash};
use crate::users::{self, NewUser, Role, User};
use crate::{DbTime, StoreError, Tx, query};

/// A setup token may be used this long.
pub const SETUP_TOKEN_LIFETIME: Duration = Duration::from_mins(30);

/// Makes a token, shown once; those made before are void. Refused once there is an active owner.
pub async fn issue(tx: &mut Tx) -> Result<SecretString, StoreError> {
    refuse_second_owner(tx).await?;
    let (token, now) = (random_token()?, tx.now());
    query!(&mut *tx, |conn| sqlx::query("DELETE FROM setup_tokens WHERE used_at IS NULL").execute(conn).await.map(|_| ()))??;
    query!(&mut *tx, |conn| {
        sqlx::query("INSERT INTO setup_tokens (id, token_hash, created_at, expires_at, used_at) VALUES ($1, $2, $3, $4, NULL)")
            .bind(Uuid::now_v7())
            .bind(token_hash(&token))
            .bind(DbTime(now))
            .bind(DbTime(now.saturating_add(SETUP_TOKEN_LIFETIME)))
            .execute(conn)
            .await
            .map(|_| ())
    })??;
    Ok(SecretString::from(token.as_str()))
}

/// Makes the first owner. The token is taken by one conditional update, so that of two callers one succeeds.
pub async fn redeem(tx: &mut Tx, token: &SecretString, owner: &NewUser) -> Result<User, StoreError> {
    if owner.settings.role != Role::Owner {
        return Err(StoreError::invalid("role", "a setup token makes an owner"));
    }
    let now = tx.db_now();
    let taken: u64 = query!(&mut *tx, |conn| {
        sqlx::query("UPDATE setup_tokens SET used_at = $2 WHERE token_hash = $1 AND used_at IS NULL AND expires_at > $2")
            .bind(token_hash(token.expose_secret().trim()))
            .bind(now)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })??;
    if taken == 0 {
        return Err(StoreError::SetupToken { minutes: SETUP_TOKEN_LIFETIME.as_secs() / 60 });
    }
    refuse_second_owner(tx).await?;
    users::create(tx, owner).await
}

/// Removes tokens that expired before `before`. Returns how many.
pub(crate) async fn purge(tx: &mut Tx, before: Timestamp) -> Result<u64, StoreError> {
    Ok(query!(&mut *tx, |conn| {
        sqlx::query("DELETE FROM setup_tokens WHERE expires_at < $1")
            .bind(DbTime(before))
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
    })??)
}

async fn refuse_second_owner(tx: &mut Tx) -> Result<(), StoreError> {
    tx.one_at_a_time().await?;
    if users::has_owner(&mut *tx).await? {
        return Err(StoreError::invalid("token", "the installation has an owner; owners make further users"));
    }
    Ok(())
}
