//! Opening, locking, the change feed, secrets of the installation, retention.

use std::sync::Arc;
use std::time::Duration;

use tallygate_store::tenants::{self, TenantSettings};
use tallygate_store::testing::{TestStore, postgres_url, test_secrets};
use tallygate_store::{Db, DbTime, SecretBytes32, Secrets, Store, StoreError, TenantScope, query, retention};
use tallygate_types::{SystemClock, Timestamp};

use crate::contract;

/// Longer than any of these waits takes; a test that needs it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

contract! {
    async fn a_commit_that_touches_the_configuration_is_announced(store: &TestStore) {
        let mut changes = store.changes();
        let before = *changes.borrow_and_update();
        assert_eq!(before, store.config_version().await.unwrap());

        let mut tx = store.begin().await.unwrap();
        tenants::create(&mut tx, &TenantSettings::named("acme")).await.unwrap();
        assert_eq!(tx.commit().await.unwrap(), before + 1);
        tokio::time::timeout(PATIENCE, changes.changed()).await.unwrap().unwrap();
        assert_eq!(*changes.borrow_and_update(), before + 1);

        let untouched = store.begin().await.unwrap();
        assert_eq!(untouched.commit().await.unwrap(), before + 1);
        assert!(!changes.has_changed().unwrap());
    }

    async fn the_secrets_of_another_installation_are_refused(store: &TestStore) {
        store.migrate().await.unwrap();
        store.close().await;
        let url = store.url.clone();
        // The lock of SQLite goes with the store.
        let test_secrets = test_secrets();
        for (name, secrets) in [
            ("pepper", Secrets { pepper: SecretBytes32::new([1; 32]), ..test_secrets.clone() }),
            ("sealing key", Secrets { sealing_key: SecretBytes32::new([1; 32]), ..test_secrets.clone() }),
        ] {
            let error = match Store::open(&url, secrets, Arc::new(SystemClock)).await {
                Ok(other) => other.migrate().await.unwrap_err(),
                // SQLite: the test's own store still holds the lock, which proves that refusal instead.
                Err(error @ StoreError::Locked { .. }) => {
                    assert!(url.starts_with("sqlite:"), "{error}");
                    return;
                }
                Err(error) => panic!("{error}"),
            };
            assert!(matches!(&error, StoreError::Secrets(reason) if reason.contains(name)), "{error}");
        }
    }

    async fn a_time_reads_back_to_the_microsecond(store: &TestStore) {
        for text in ["1969-12-31T23:59:59.999999Z", "2000-01-01T00:00:00Z", "2026-11-22T12:34:56.789012Z", "9000-12-31T23:59:59Z"] {
            let at = DbTime(Timestamp::parse(text).unwrap());
            let mut tx = store.begin().await.unwrap();
            let read: DbTime = query!(&mut tx, |conn| {
                sqlx::query_scalar(
                    "INSERT INTO login_throttle (subject, failures, last_failed_at) VALUES ($1, 1, $2) RETURNING last_failed_at",
                )
                .bind(text)
                .bind(at)
                .fetch_one(conn)
                .await
            }).unwrap().unwrap();
            assert_eq!(read, at);
        }
    }

    async fn a_task_may_hold_any_query(store: &TestStore) {
        let store = store.shared();
        let task = tokio::spawn(async move {
            let mut tx = store.begin().await?;
            let acme = tenants::create(&mut tx, &TenantSettings::named("acme")).await?;
            let acme = tenants::update(&mut tx, acme.id, acme.version, &acme.settings()).await?;
            tx.commit().await?;
            let snapshot = store.snapshot().await?;
            assert!(snapshot.tenants.contains_key(&acme.id));
            tenants::get(&store, TenantScope::All, acme.id).await
        });
        assert_eq!(task.await.unwrap().unwrap().version, 2);
    }

    async fn two_writers_make_two_versions(store: &TestStore) {
        let before = store.config_version().await.unwrap();
        let write = |name: &'static str| async move {
            let mut tx = store.begin().await.unwrap();
            tenants::create(&mut tx, &TenantSettings::named(name)).await.unwrap();
            tx.commit().await.unwrap()
        };
        let (one, two) = tokio::join!(write("one"), write("two"));
        assert_eq!((one.min(two), one.max(two)), (before + 1, before + 2));
        assert_eq!(store.config_version().await.unwrap(), before + 2);
    }

    async fn old_usage_leaves_and_newer_stays(store: &TestStore) {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        for day in ["2026-11-21T23:59:59.999999Z", "2026-11-22T00:00:00Z", "2026-11-23T10:00:00Z", "2026-11-24T00:00:00Z"] {
            let mut tx = store.begin().await.unwrap();
            query!(&mut tx, |conn| {
                sqlx::query(
                    "INSERT INTO usage_records (request_id, attempt, accepted_at, finished_at, tenant_id, key_id, endpoint,
                     client_dialect, model, attempts, stream, outcome, status, usage_source)
                     VALUES ($1, 0, $2, $2, $1, $1, 'messages', 'anthropic', 'm', $3, $4, 'ok', 200, 'provider')",
                )
                .bind(uuid::Uuid::now_v7())
                .bind(DbTime(at(day)))
                .bind(sqlx::types::Json(serde_json::json!([])))
                .bind(true)
                .execute(conn)
                .await
                .map(|_| ())
            }).unwrap().unwrap();
            tx.commit().await.unwrap();
        }
        assert!(retention::drop_usage_before(store, at("2026-11-24T00:00:00Z")).await.unwrap() > 0);
        let days: Vec<DbTime> = query!(store.db(), |conn| {
            sqlx::query_scalar("SELECT accepted_at FROM usage_records WHERE accepted_at >= $1 ORDER BY accepted_at")
                .bind(DbTime(at("2026-11-22T00:00:00Z")))
                .fetch_all(conn)
                .await
        }).unwrap().unwrap();
        assert_eq!(days, [DbTime(at("2026-11-24T00:00:00Z"))]);
    }
}

#[tokio::test]
async fn a_second_process_cannot_open_the_same_sqlite_file() {
    let store = TestStore::sqlite().await;
    let error = Store::open(&store.url, test_secrets(), Arc::new(SystemClock)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Locked { lock, .. } if lock.ends_with("test.db.lock")), "{error}");
    assert!(error.to_string().contains("test.db.lock"), "{error}");
}

#[tokio::test]
async fn sqlite_is_durable_and_checks_what_it_is_told() {
    let store = TestStore::sqlite().await;
    let Db::Lite { write, .. } = store.db() else { panic!("not SQLite") };
    for (pragma, value) in [("journal_mode", "wal"), ("synchronous", "2"), ("foreign_keys", "1")] {
        let read: String = sqlx::query_scalar(
            "SELECT CAST(v AS TEXT) FROM (SELECT journal_mode AS v, 'journal_mode' AS n FROM pragma_journal_mode
                 UNION ALL SELECT synchronous, 'synchronous' FROM pragma_synchronous
                 UNION ALL SELECT foreign_keys, 'foreign_keys' FROM pragma_foreign_keys) WHERE n = $1",
        )
        .bind(pragma)
        .fetch_one(write)
        .await
        .unwrap();
        assert_eq!(read, value, "{pragma}");
    }
}

#[tokio::test]
async fn the_database_stays_after_the_store_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("made/on/the/way.db").display());
    let store = Store::open(&url, test_secrets(), Arc::new(SystemClock)).await.unwrap();
    store.migrate().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    tenants::create(&mut tx, &TenantSettings::named("acme")).await.unwrap();
    tx.commit().await.unwrap();
    store.close().await;
    drop(store);

    let again = Store::open(&url, test_secrets(), Arc::new(SystemClock)).await.unwrap();
    again.migrate().await.unwrap();
    assert!(tenants::find_by_name(&again, "acme").await.unwrap().is_some());
    again.close().await;
    drop(again);

    let other = Secrets { pepper: SecretBytes32::new([1; 32]), ..test_secrets() };
    let other = Store::open(&url, other, Arc::new(SystemClock)).await.unwrap();
    let error = other.migrate().await.unwrap_err();
    assert!(matches!(&error, StoreError::Secrets(reason) if reason.contains("pepper")), "{error}");
}

/// Another replica's commit must reach this one through the database alone.
#[tokio::test]
async fn a_commit_of_another_replica_is_heard() {
    let Some(url) = postgres_url().await else { return };
    let open = || async {
        let store = Store::open(&url, test_secrets(), Arc::new(SystemClock)).await.unwrap();
        store.migrate().await.unwrap();
        store
    };
    let (here, there) = (open().await, open().await);
    let mut changes = here.changes();
    changes.borrow_and_update();
    let mut tx = there.begin().await.unwrap();
    tenants::create(&mut tx, &TenantSettings::named("acme")).await.unwrap();
    let version = tx.commit().await.unwrap();
    tokio::time::timeout(PATIENCE, changes.wait_for(|seen| *seen >= version)).await.unwrap().unwrap();
    assert!(here.snapshot().await.unwrap().tenants.values().any(|tenant| &*tenant.name == "acme"));

    // The listener's connection is cut; what is committed afterwards is heard all the same.
    let Db::Pg(pool) = there.db() else { panic!("not PostgreSQL") };
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()",
    )
    .execute(pool)
    .await
    .unwrap();
    let mut tx = there.begin().await.unwrap();
    tenants::create(&mut tx, &TenantSettings::named("later")).await.unwrap();
    let version = tx.commit().await.unwrap();
    tokio::time::timeout(PATIENCE, changes.wait_for(|seen| *seen >= version)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_schema_newer_than_this_build_is_refused() {
    let store = TestStore::sqlite().await;
    let Db::Lite { write, .. } = store.db() else { panic!("not SQLite") };
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'x', TRUE, x'00', 0)",
    )
    .execute(write)
    .await
    .unwrap();
    let error = store.migrate().await.unwrap_err();
    assert!(matches!(&error, StoreError::Schema(reason) if reason.contains("9999") && reason.contains("newer")), "{error}");
    sqlx::query("UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1").execute(write).await.unwrap();
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = 9999").execute(write).await.unwrap();
    let error = store.migrate().await.unwrap_err();
    assert!(matches!(&error, StoreError::Schema(reason) if reason.contains("migration 1")), "{error}");
}

#[tokio::test]
async fn two_replicas_may_start_at_once() {
    let Some(url) = postgres_url().await else { return };
    let start = || async {
        let store = Store::open(&url, test_secrets(), Arc::new(SystemClock)).await.unwrap();
        store.migrate().await.unwrap();
    };
    tokio::join!(start(), start(), start());
}

#[tokio::test]
async fn a_database_that_is_not_there_is_said_to_be_unavailable() {
    let started = std::time::Instant::now();
    // A gateway may start before its database: it is the first use that fails.
    let store = Store::open("postgres://nobody@127.0.0.1:1/none", test_secrets(), Arc::new(SystemClock)).await.unwrap();
    let refused = store.snapshot().await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert!(started.elapsed() < PATIENCE);
}
