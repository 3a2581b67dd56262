//! Two engines behind one enum, and the macro that writes a query once for both.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{Database, PgPool, Postgres, Sqlite, SqlitePool};

use crate::{Store, StoreError, Tx};

/// The pools of the engine in use.
#[derive(Debug, Clone)]
pub enum Db {
    Pg(PgPool),
    /// `write` has exactly one connection: SQLite has one writer, and a queue in front of it is better than `SQLITE_BUSY`.
    Lite {
        write: SqlitePool,
        read: SqlitePool,
    },
}

/// Which database it is, for the few places where the engines differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Postgres,
    Sqlite,
}

/// A connection to run a query on: one of a pool, or the one of a transaction.
#[derive(Debug)]
pub enum Conn<'a> {
    Pg(Held<'a, Postgres>),
    Lite(Held<'a, Sqlite>),
}

/// A connection on loan.
#[derive(Debug)]
pub enum Held<'a, DB: Database> {
    Pooled(PoolConnection<DB>),
    Borrowed(&'a mut DB::Connection),
}

/// What a query can be run on: `&Db` or `&Store` (reading, outside any transaction) or `&mut Tx`.
///
/// It names no lifetime and returns no future of its own: with either, a future that awaits a query would not be `Send` for
/// every lifetime, and no task or handler could hold it.
pub trait Source: Send {
    fn place<'c>(self) -> Place<'c>
    where
        Self: 'c;
}

/// Where a [`Source`] takes its connection from.
#[derive(Debug)]
pub enum Place<'c> {
    Pool(&'c Db),
    Transaction(Conn<'c>),
}

impl<'c> Place<'c> {
    /// The connection; of a pool, once one is free.
    pub async fn connection(self) -> Result<Conn<'c>, StoreError> {
        Ok(match self {
            Self::Transaction(conn) => conn,
            // Boxed: it holds the opening of a connection, ten kilobytes that would be copied with whatever awaits a query.
            Self::Pool(Db::Pg(pool)) => Conn::Pg(Held::Pooled(Box::pin(pool.acquire()).await?)),
            Self::Pool(Db::Lite { read, .. }) => Conn::Lite(Held::Pooled(Box::pin(read.acquire()).await?)),
        })
    }
}

impl Db {
    pub const fn engine(&self) -> Engine {
        match self {
            Self::Pg(_) => Engine::Postgres,
            Self::Lite { .. } => Engine::Sqlite,
        }
    }

    /// Closes the pools; waits for connections on loan.
    pub(crate) async fn close(&self) {
        match self {
            Self::Pg(pool) => pool.close().await,
            Self::Lite { write, read } => {
                read.close().await;
                write.close().await;
            }
        }
    }
}

impl Source for &Db {
    fn place<'c>(self) -> Place<'c>
    where
        Self: 'c,
    {
        Place::Pool(self)
    }
}

impl Source for &Store {
    fn place<'c>(self) -> Place<'c>
    where
        Self: 'c,
    {
        Place::Pool(self.db())
    }
}

impl Source for &std::sync::Arc<Store> {
    fn place<'c>(self) -> Place<'c>
    where
        Self: 'c,
    {
        Place::Pool(self.db())
    }
}

impl Source for &mut Tx {
    fn place<'c>(self) -> Place<'c>
    where
        Self: 'c,
    {
        Place::Transaction(self.conn())
    }
}

impl<DB: Database> Deref for Held<'_, DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        match self {
            Self::Pooled(connection) => connection,
            Self::Borrowed(connection) => connection,
        }
    }
}

impl<DB: Database> DerefMut for Held<'_, DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        match self {
            Self::Pooled(connection) => connection,
            Self::Borrowed(connection) => connection,
        }
    }
}

/// Runs one query text on whichever engine is behind a [`Source`].
///
/// The body is compiled once for each engine with the name bound to `&mut PgConnection` or `&mut SqliteConnection`; it must
/// be an expression of the same type for both, and may `.await`. The macro's value is the body's, inside
/// `Result<_, StoreError>` for the failure to get a connection:
///
/// ```
/// # use tallygate_store::{Source, StoreError, query};
/// async fn tenants_by_status(source: impl Source, status: &str) -> Result<i64, StoreError> {
///     let count: i64 = query!(source, |conn| {
///         sqlx::query_scalar("SELECT count(*) FROM tenants WHERE status = $1").bind(status).fetch_one(conn).await
///     })??;
///     Ok(count)
/// }
/// ```
///
/// Kept to the subset both engines run: `$1` placeholders, `ON CONFLICT`, `RETURNING`, `CAST(SUM(x) AS bigint)`.
#[macro_export]
macro_rules! query {
    ($source:expr, |$conn:ident| $body:expr) => {
        match $crate::Source::place($source).connection().await {
            Ok($crate::Conn::Pg(mut held)) => {
                let $conn = &mut *held;
                Ok($body)
            }
            Ok($crate::Conn::Lite(mut held)) => {
                let $conn = &mut *held;
                Ok($body)
            }
            Err(error) => Err::<_, $crate::StoreError>(error),
        }
    };
}
