//! Opening the database, and what every part of the crate shares.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tallygate_types::Clock;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::assembly::Assembly;
use crate::rows_text::RowsText;
use crate::secrets::Sealer;
use crate::{
    Db, KeyDigest, KeyDigester, Rows, Secrets, Snapshot, StoreError, Tx, feed, housekeeping, migrate, query, retention, rows,
};

/// How long a caller waits for a connection before the database counts as away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// On SQLite the one writer is shared by all: a queue in front of it is ordinary.
const SQLITE_WRITE_ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Readers of SQLite. They never wait for the writer (WAL), only for the disk.
const SQLITE_READERS: u32 = 4;
/// Connections of one replica, with those of [`Store::beside`]: with a pool of retention seven replicas fit PostgreSQL's default of 100.
const POSTGRES_CONNECTIONS: u32 = 10;
/// Those of [`Store::beside`], in addition.
const CONNECTIONS_BESIDE: u32 = 2;
/// A statement of ours that takes longer is a fault; milliseconds.
const POSTGRES_STATEMENT_TIMEOUT_MS: &str = "15000";
/// A transaction left open by a lost client ends after this; milliseconds.
const POSTGRES_IDLE_TRANSACTION_TIMEOUT_MS: &str = "30000";
/// Page cache of SQLite's writer, in KiB (negative is SQLite's way to say KiB).
const SQLITE_WRITER_CACHE_KIB: &str = "-8192";
/// Of each reader. What it holds stays held, and the system has every page cached anyway.
const SQLITE_READER_CACHE_KIB: &str = "-512";

/// The database of an installation.
pub struct Store {
    db: Db,
    core: Arc<Core>,
    /// For connections outside the pool: migrations.
    postgres: Option<PgConnectOptions>,
    /// The change feed and housekeeping, once the schema is there.
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Held while the SQLite database is open; the lock goes with the handle.
    _lock: Option<std::fs::File>,
}

/// What transactions need of the store they belong to.
pub(crate) struct Core {
    pub(crate) secrets: Sealer,
    pub(crate) clock: Arc<dyn Clock>,
    version: watch::Sender<i64>,
    /// Counts how often other replicas may have told something new of credentials.
    standing: watch::Sender<u64>,
}

impl Store {
    /// Opens `sqlite:path/to/file.db` (made if absent, with its folder) or `postgres://user@host/database`.
    ///
    /// The schema is not touched; call [`Store::migrate`] next. Must be called inside a tokio runtime.
    pub async fn open(url: &str, secrets: Secrets, clock: Arc<dyn Clock>) -> Result<Arc<Self>, StoreError> {
        let core = Arc::new(Core {
            secrets: Sealer::new(&secrets)?,
            clock,
            version: watch::Sender::new(0),
            standing: watch::Sender::new(0),
        });
        drop(secrets);
        let store = match Location::parse(url)? {
            Location::Sqlite(path) => {
                let lock = lock_file(&path)?;
                let db = open_sqlite(&path).await?;
                Self { db, core, postgres: None, tasks: Mutex::default(), _lock: Some(lock) }
            }
            Location::Postgres(options) => {
                let db = open_postgres(&options, POSTGRES_CONNECTIONS);
                Self { db, core, postgres: Some(*options), tasks: Mutex::default(), _lock: None }
            }
        };
        Ok(Arc::new(store))
    }

    /// The same database for what runs on a tokio runtime of its own. A connection of PostgreSQL is served by the runtime it was
    /// made on, so that one shared with another would make each wait for the other; SQLite has threads of its own and one
    /// writer, which stays shared.
    pub fn beside(&self) -> Arc<Self> {
        let db = self.postgres.as_ref().map_or_else(|| self.db.clone(), |options| open_postgres(options, CONNECTIONS_BESIDE));
        let postgres = self.postgres.clone();
        Arc::new(Self { db, core: Arc::clone(&self.core), postgres, tasks: Mutex::default(), _lock: None })
    }

    /// Brings the schema up to date, checks that the secrets are those of this database, and starts the change feed
    /// and the housekeeping.
    ///
    /// Refuses a schema newer than this build, or one another build made.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        migrate::run(&self.db, self.postgres.as_ref()).await?;
        self.check_secrets().await?;
        retention::make_partitions(&self.db, self.core.clock.now()).await?;
        self.core.announce(self.config_version().await?);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.is_empty() {
            tasks.push(tokio::spawn(housekeeping::keep(self.db.clone(), Arc::clone(&self.core))));
            if let Db::Pg(pool) = &self.db {
                tasks.push(tokio::spawn(feed::follow(pool.clone(), Arc::clone(&self.core))));
            }
        }
        Ok(())
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.core.secrets
    }

    pub const fn db(&self) -> &Db {
        &self.db
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.core.clock
    }

    /// Begins a write transaction.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        begin(&self.db, &self.core).await
    }

    /// A transaction that sees one moment of the database. It is never committed.
    pub async fn begin_reading(&self) -> Result<Tx, StoreError> {
        let core = Arc::clone(&self.core);
        Ok(match &self.db {
            Db::Pg(pool) => Tx::postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?, core),
            Db::Lite { read, .. } => Tx::sqlite(read.begin().await?, core),
        })
    }

    /// The version of the configuration, each time it moves. A receiver that sees a new value reads [`Store::snapshot`].
    pub fn changes(&self) -> watch::Receiver<i64> {
        self.core.version.subscribe()
    }

    /// Moves when [`crate::standing`] may have something new from another replica.
    pub fn standing_signal(&self) -> watch::Receiver<u64> {
        self.core.standing.subscribe()
    }

    /// Everything the data plane needs, as of one moment, with upstream secrets unsealed.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut assembly = Assembly::default();
        let rest = rows::read(self, &mut assembly).await?;
        assembly.finish(rest, &self.core.secrets)
    }

    /// Writes what [`Store::snapshot`] is made of, as it stands in the database, as JSON that reads back as [`Rows`]; its
    /// version. `out` is written to between two rows: if it blocks, so does this.
    pub async fn copy_rows(&self, out: impl Write + Send) -> Result<i64, StoreError> {
        let mut copy = RowsText::new(out);
        let rest = rows::read(self, &mut copy).await?;
        copy.finish(&rest)?;
        Ok(rest.version)
    }

    /// The snapshot of rows that are kept from earlier. Asks the database nothing.
    pub fn assemble(&self, rows: Rows) -> Result<Snapshot, StoreError> {
        Assembly::of(rows, &self.core.secrets)
    }

    /// The version row as it is now; also a cheap probe of the database.
    pub async fn config_version(&self) -> Result<i64, StoreError> {
        let value: String = query!(&self.db, |conn| {
            sqlx::query_scalar("SELECT value FROM installation WHERE key = 'config_version'").fetch_one(conn).await
        })??;
        value.parse().map_err(|_| StoreError::corrupt("installation", "config_version is not a number"))
    }

    pub fn digest_key(&self, key: &str) -> KeyDigest {
        self.core.secrets.digest_key(key)
    }

    /// Makes digests without the store at hand, for the data plane.
    pub fn digester(&self) -> KeyDigester {
        self.core.secrets.digester().clone()
    }

    /// Closes every connection and gives the lock back.
    pub async fn close(&self) {
        self.stop_tasks();
        self.db.close().await;
    }

    #[cfg(test)]
    pub(crate) const fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Writes down which secrets this database was made with, or compares.
    async fn check_secrets(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.db_now();
        for (key, check) in self.core.secrets.checks() {
            let stored: String = query!(&mut tx, |conn| {
                sqlx::query_scalar(
                    "INSERT INTO installation (key, value, updated_at) VALUES ($1, $2, $3)
                     ON CONFLICT (key) DO UPDATE SET updated_at = installation.updated_at RETURNING value",
                )
                .bind(key)
                .bind(&check)
                .bind(now)
                .fetch_one(conn)
                .await
            })??;
            if stored != check {
                let name = key.trim_end_matches("_check").replace('_', " ");
                return Err(StoreError::Secrets(format!(
                    "this database was made with another {name}. Give the one it was made with: with another, no issued key is \
                     known and no upstream secret opens"
                )));
            }
        }
        tx.commit().await?;
        Ok(())
    }

    fn stop_tasks(&self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop_tasks();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("engine", &self.db.engine()).finish_non_exhaustive()
    }
}

impl Core {
    /// The newest version this process has seen.
    pub(crate) fn known_version(&self) -> i64 {
        *self.version.borrow()
    }

    pub(crate) fn standing_changed(&self) {
        self.standing.send_modify(|count| *count += 1);
    }

    /// Tells every receiver, unless they know a version as new.
    pub(crate) fn announce(&self, version: i64) {
        self.version.send_if_modified(|known| {
            let newer = version > *known;
            if newer {
                *known = version;
            }
            newer
        });
    }
}

pub(crate) async fn begin(db: &Db, core: &Arc<Core>) -> Result<Tx, StoreError> {
    let core = Arc::clone(core);
    Ok(match db {
        // Boxed, as in `Place::connection`.
        Db::Pg(pool) => Tx::postgres(Box::pin(pool.begin()).await?, core),
        // IMMEDIATE: a transaction that begins by reading and then writes would fail at once if another wrote meanwhile.
        Db::Lite { write, .. } => Tx::sqlite(Box::pin(write.begin_with("BEGIN IMMEDIATE")).await?, core),
    })
}

enum Location {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
}

impl Location {
    fn parse(url: &str) -> Result<Self, StoreError> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.contains(":memory:") || path.contains('?') {
                return Err(StoreError::Url(format!("`{url}` names no file; write `sqlite:data/tallygate.db`, without options")));
            }
            return Ok(Self::Sqlite(path.into()));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            // The URL may hold a password: never repeat it.
            let options = PgConnectOptions::from_str(url).map_err(|e| StoreError::Url(format!("not a PostgreSQL URL: {e}")))?;
            return Ok(Self::Postgres(Box::new(options)));
        }
        let scheme = url.split(':').next().unwrap_or_default();
        Err(StoreError::Url(format!(
            "`{scheme}` is not a known database; write `sqlite:path` or `postgres://user@host/database`"
        )))
    }
}

/// Takes the lock that keeps a second process off the database.
fn lock_file(database: &Path) -> Result<std::fs::File, StoreError> {
    let mut lock = database.as_os_str().to_owned();
    lock.push(".lock");
    let lock = PathBuf::from(lock);
    let said = |e: std::io::Error| StoreError::Unavailable(format!("`{}`: {e}", lock.display()));
    if let Some(folder) = database.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| StoreError::Unavailable(format!("`{}`: {e}", folder.display())))?;
    }
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&lock).map_err(said)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Locked { database: database.to_owned(), lock }),
        Err(std::fs::TryLockError::Error(e)) => Err(said(e)),
    }
}

async fn open_sqlite(path: &Path) -> Result<Db, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(ACQUIRE_TIMEOUT);
    let write = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(SQLITE_WRITE_ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options.clone().pragma("cache_size", SQLITE_WRITER_CACHE_KIB).create_if_missing(true))
        .await
        .map_err(|e| StoreError::Unavailable(format!("`{}`: {e}", path.display())))?;
    let read = SqlitePoolOptions::new()
        .max_connections(SQLITE_READERS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options.pragma("cache_size", SQLITE_READER_CACHE_KIB).read_only(true));
    Ok(Db::Lite { write, read })
}

/// No connection is made before one is needed: a gateway must come up while its database is away.
fn open_postgres(options: &PgConnectOptions, connections: u32) -> Db {
    let options = options.clone().application_name("tallygate").options([
        ("statement_timeout", POSTGRES_STATEMENT_TIMEOUT_MS),
        ("idle_in_transaction_session_timeout", POSTGRES_IDLE_TRANSACTION_TIMEOUT_MS),
    ]);
    let pool = PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT);
    Db::Pg(pool.connect_lazy_with(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file_or_a_server() {
        for (url, path) in [
            ("sqlite:data/t.db", "data/t.db"),
            ("sqlite://data/t.db", "data/t.db"),
            ("sqlite:/var/t.db", "/var/t.db"),
            ("sqlite:///var/t.db", "/var/t.db"),
        ] {
            let Ok(Location::Sqlite(parsed)) = Location::parse(url) else { panic!("{url}") };
            assert_eq!(parsed, Path::new(path), "{url}");
        }
        assert!(matches!(Location::parse("postgres://u:p@h/db"), Ok(Location::Postgres(_))));
        for url in ["", "mysql://h/db", "sqlite:", "sqlite::memory:", "sqlite:t.db?mode=ro", "data/t.db"] {
            assert!(matches!(Location::parse(url), Err(StoreError::Url(_))), "{url}");
        }
    }

    #[test]
    fn an_error_about_a_url_never_repeats_its_password() {
        let Err(error) = Location::parse("postgres://u:hunter2@h:notaport/db") else { panic!("accepted") };
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
