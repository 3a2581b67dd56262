//! Throwaway databases on both engines, for tests (feature `test-support`).
//!
//! PostgreSQL: the server of `TALLYGATE_TEST_PG_URL` if set; else a private cluster of the installed binaries, one for the
//! process, without fsync, gone when the process ends; else none, and the test says it was skipped. Every test has a database
//! of its own.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use tallygate_store::testing::TestStore;
//! let store = TestStore::sqlite().await;
//! assert!(store.snapshot().await.unwrap().tenants.is_empty());
//! # }
//! ```

use std::io::{BufRead as _, BufReader};
use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr as _;
use std::sync::{Arc, OnceLock};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tallygate_types::{ManualClock, Timestamp};
use uuid::Uuid;

use crate::{SecretBytes32, Secrets, Store};

/// The server to use in place of a private one: a URL whose user may create databases.
pub const PG_URL_VARIABLE: &str = "TALLYGATE_TEST_PG_URL";

/// Makes a cluster in a folder of its own, tells its socket's folder, serves until its standard input closes, and cleans up.
/// It runs as whoever started it, since `initdb` refuses root.
const CLUSTER_SCRIPT: &str = r#"
set -eu
bin=$1
dir=$(mktemp -d /tmp/tallygate-pg.XXXXXX)
cd "$dir"
trap 'rm -rf "$dir"' EXIT
"$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$dir/initdb.log" 2>&1
"$bin/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c fsync=off -c synchronous_commit=off \
    -c full_page_writes=off -c max_connections=300 >"$dir/postgres.log" 2>&1 </dev/null &
server=$!
for _ in $(seq 300); do
    "$bin/pg_isready" -q -h "$dir" -U postgres && break
    sleep 0.05
done
echo "$dir"
cat >/dev/null
kill -QUIT $server
wait $server || true
"#;

/// A migrated store whose database goes with it. Its clock stands at 2026-11-22T12:00:00Z until a test moves it.
pub struct TestStore {
    store: Arc<Store>,
    pub clock: Arc<ManualClock>,
    pub url: String,
    /// Keeps the folder of a SQLite database.
    _folder: Option<tempfile::TempDir>,
}

/// A private server; it stops when the process ends, because its standard input closes then.
struct Cluster {
    url: String,
    _process: Child,
}

static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();

impl TestStore {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test's database");
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        Self::open(url, Some(folder)).await
    }

    /// `None` if there is no PostgreSQL here; says so.
    pub async fn postgres() -> Option<Self> {
        let url = postgres_url().await?;
        Some(Self::open(url, None).await)
    }

    async fn open(url: String, folder: Option<tempfile::TempDir>) -> Self {
        let start = Timestamp::parse("2026-11-22T12:00:00Z").expect("a time");
        let clock = Arc::new(ManualClock::new(start));
        let store = Store::open(&url, test_secrets(), clock.clone()).await.expect("open the test's database");
        store.migrate().await.expect("migrate the test's database");
        Self { store, clock, url, _folder: folder }
    }

    /// The store as the crates above take it.
    pub fn shared(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }
}

impl Deref for TestStore {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// The secrets every test store has.
pub fn test_secrets() -> Secrets {
    Secrets { pepper: SecretBytes32::new([7; 32]), sealing_key: SecretBytes32::new([9; 32]) }
}

/// The URL of a new, empty database on PostgreSQL; `None` if there is no server here.
pub async fn postgres_url() -> Option<String> {
    let server = match std::env::var(PG_URL_VARIABLE) {
        Ok(url) if !url.is_empty() => url,
        _ => tokio::task::spawn_blocking(|| CLUSTER.get_or_init(start_cluster).as_ref().map(|cluster| cluster.url.clone()))
            .await
            .expect("start PostgreSQL")
            .or_else(|| {
                println!("skipped: no PostgreSQL here; install it or set {PG_URL_VARIABLE}");
                None
            })?,
    };
    let name = format!("tallygate_test_{}", Uuid::now_v7().as_simple());
    let options = PgConnectOptions::from_str(&server).expect("a PostgreSQL URL");
    let mut connection = options.connect().await.expect("connect to the test server");
    // Nothing but a fixed word and hex digits.
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.expect("create a database");
    connection.close().await.expect("close");
    let mut url = url::Url::parse(&server).expect("a URL");
    url.set_path(&name);
    Some(url.into())
}

fn start_cluster() -> Option<Cluster> {
    let bin = installed_binaries()?;
    // root cannot run PostgreSQL; Debian's package made a user that can.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0);
    let mut command = if is_root { Command::new("runuser") } else { Command::new("bash") };
    if is_root {
        command.args(["-u", "postgres", "--", "bash"]);
    }
    let mut process = command
        .args(["-c", CLUSTER_SCRIPT, "tallygate-pg"])
        .arg(bin)
        .current_dir("/tmp")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut folder = String::new();
    BufReader::new(process.stdout.take()?).read_line(&mut folder).ok()?;
    let folder = folder.trim();
    if folder.is_empty() {
        println!("skipped: a private PostgreSQL did not start");
        return None;
    }
    Some(Cluster { url: format!("postgres://postgres@localhost/postgres?host={folder}"), _process: process })
}

/// The newest of Debian's `/usr/lib/postgresql/*/bin`.
fn installed_binaries() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop().map(|(_, bin)| bin)
}
