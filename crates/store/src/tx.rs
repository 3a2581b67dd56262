//! A write transaction.

use std::sync::Arc;

use sqlx::{Postgres, Sqlite, Transaction};
use tallygate_types::Timestamp;
use uuid::Uuid;

use crate::secrets::Sealer;
use crate::store::Core;
use crate::{Conn, DbTime, Engine, Held, KeyDigest, StoreError, query};

/// The channel of PostgreSQL's `NOTIFY`; the payload is the new version.
pub(crate) const CONFIG_CHANNEL: &str = "tallygate_config";

/// A write transaction. Dropped without [`Tx::commit`], it never happened.
///
/// On SQLite it holds the one write connection from its start: keep it short, and take no second one while it is open.
pub struct Tx {
    inner: Inner,
    core: Arc<Core>,
    touched: bool,
}

enum Inner {
    Pg(Transaction<'static, Postgres>),
    Lite(Transaction<'static, Sqlite>),
}

impl Tx {
    pub(crate) const fn postgres(transaction: Transaction<'static, Postgres>, core: Arc<Core>) -> Self {
        Self { inner: Inner::Pg(transaction), core, touched: false }
    }

    pub(crate) const fn sqlite(transaction: Transaction<'static, Sqlite>, core: Arc<Core>) -> Self {
        Self { inner: Inner::Lite(transaction), core, touched: false }
    }

    /// Says that the data plane must see this change: the commit bumps `config_version` and signals the change feed. The
    /// functions of this crate that write configuration call it themselves.
    pub const fn touch_config(&mut self) {
        self.touched = true;
    }

    /// Commits; returns the configuration's version after it (before it, if the configuration was not touched).
    pub async fn commit(mut self) -> Result<i64, StoreError> {
        if !self.touched {
            self.inner.commit().await?;
            return Ok(self.core.known_version());
        }
        // Last in the transaction, so that the row is locked for a moment only; whoever reads version n sees all of n.
        let version: String = query!(&mut self, |conn| {
            sqlx::query_scalar(
                "UPDATE installation SET value = CAST(CAST(value AS bigint) + 1 AS text)
                 WHERE key = 'config_version' RETURNING value",
            )
            .fetch_one(conn)
            .await
        })??;
        if let Inner::Pg(transaction) = &mut self.inner {
            sqlx::query("SELECT pg_notify($1, $2)").bind(CONFIG_CHANNEL).bind(&version).execute(&mut **transaction).await?;
        }
        let version = version.parse().map_err(|_| StoreError::corrupt("installation", "config_version is not a number"))?;
        self.inner.commit().await?;
        self.core.announce(version);
        Ok(version)
    }

    pub const fn engine(&self) -> Engine {
        match self.inner {
            Inner::Pg(_) => Engine::Postgres,
            Inner::Lite(_) => Engine::Sqlite,
        }
    }

    /// The time by the installation's clock.
    pub fn now(&self) -> Timestamp {
        self.core.clock.now()
    }

    pub(crate) fn db_now(&self) -> DbTime {
        DbTime(self.now())
    }

    /// Lets one transaction at a time past this point, until it ends: for a check of many rows followed by a write, which two
    /// transactions side by side would both pass.
    pub(crate) async fn one_at_a_time(&mut self) -> Result<(), StoreError> {
        let now = self.db_now();
        query!(&mut *self, |conn| {
            sqlx::query("UPDATE installation SET updated_at = $1 WHERE key = 'config_version'")
                .bind(now)
                .execute(conn)
                .await
                .map(|_| ())
        })??;
        Ok(())
    }

    pub(crate) fn conn(&mut self) -> Conn<'_> {
        match &mut self.inner {
            Inner::Pg(transaction) => Conn::Pg(Held::Borrowed(&mut **transaction)),
            Inner::Lite(transaction) => Conn::Lite(Held::Borrowed(&mut **transaction)),
        }
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.core.secrets
    }

    pub(crate) fn digest_key(&self, key: &str) -> KeyDigest {
        self.core.secrets.digest_key(key)
    }

    pub(crate) fn seal(&self, table: &str, row: Uuid, secret: &str) -> Result<Vec<u8>, StoreError> {
        self.core.secrets.seal(table, row, secret)
    }

    pub(crate) fn open(&self, table: &'static str, row: Uuid, sealed: &[u8]) -> Result<secrecy::SecretString, StoreError> {
        self.core.secrets.open(table, row, sealed)
    }

    pub(crate) fn fingerprint(&self, secret: &str) -> String {
        self.core.secrets.fingerprint(secret)
    }
}

impl Inner {
    async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Pg(transaction) => transaction.commit().await?,
            Self::Lite(transaction) => transaction.commit().await?,
        }
        Ok(())
    }
}

impl std::fmt::Debug for Tx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("engine", &self.engine()).field("touched", &self.touched).finish_non_exhaustive()
    }
}
