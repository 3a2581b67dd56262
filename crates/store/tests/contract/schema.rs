//! The migrations of both engines make the same tables.

use std::collections::{BTreeMap, BTreeSet};

use tallygate_store::Db;
use tallygate_store::testing::TestStore;

/// Table to column to whether it may be NULL.
type Columns = BTreeMap<String, BTreeMap<String, bool>>;

#[tokio::test]
async fn both_engines_have_the_same_tables_and_columns() {
    let Some(postgres) = TestStore::postgres().await else { return };
    let sqlite = TestStore::sqlite().await;
    let Db::Pg(pool) = postgres.db() else { panic!("not PostgreSQL") };
    let rows: Vec<(String, String, bool)> = sqlx::query_as(
        "SELECT c.table_name::text, c.column_name::text, c.is_nullable = 'YES' FROM information_schema.columns c
         JOIN pg_class k ON k.oid = c.table_name::regclass WHERE c.table_schema = 'public' AND NOT k.relispartition
         AND c.table_name NOT LIKE '_sqlx%'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let on_postgres = collect(rows);
    let Db::Lite { read, .. } = sqlite.db() else { panic!("not SQLite") };
    // A column of a primary key is never NULL in a STRICT table.
    let rows: Vec<(String, String, bool)> = sqlx::query_as(
        "SELECT t.name, c.name, c.\"notnull\" = 0 AND c.pk = 0 FROM pragma_table_list t JOIN pragma_table_info(t.name) c
         WHERE t.schema = 'main' AND t.type = 'table' AND t.name NOT LIKE 'sqlite%' AND t.name NOT LIKE '_sqlx%'",
    )
    .fetch_all(read)
    .await
    .unwrap();
    let on_sqlite = collect(rows);
    assert_eq!(on_postgres, on_sqlite);
    assert!(on_sqlite.contains_key("usage_records") && on_sqlite.len() > 15, "{:?}", on_sqlite.keys());
}

#[tokio::test]
async fn every_table_of_sqlite_is_strict() {
    let sqlite = TestStore::sqlite().await;
    let Db::Lite { read, .. } = sqlite.db() else { panic!("not SQLite") };
    let loose: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND strict = 0 AND name NOT LIKE 'sqlite%'
         AND name NOT LIKE '_sqlx%'",
    )
    .fetch_all(read)
    .await
    .unwrap();
    assert_eq!(loose, Vec::<String>::new());
}

/// Usage classes are columns; a class without a column could not be billed.
#[tokio::test]
async fn every_usage_class_has_its_column() {
    let sqlite = TestStore::sqlite().await;
    let Db::Lite { read, .. } = sqlite.db() else { panic!("not SQLite") };
    for table in ["usage_records", "usage_rollups_hourly"] {
        let columns: BTreeSet<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info($1)")
            .bind(table)
            .fetch_all(read)
            .await
            .unwrap()
            .into_iter()
            .collect();
        for class in tallygate_types::UsageClass::ALL {
            assert!(columns.contains(class.as_str()), "{table}.{class}");
        }
    }
}

#[tokio::test]
async fn history_is_append_only() {
    let sqlite = TestStore::sqlite().await;
    let Db::Lite { write, .. } = sqlite.db() else { panic!("not SQLite") };
    sqlx::query(
        "INSERT INTO audit_events (id, at, actor_kind, action, target_kind) VALUES (x'01', 1, 'system', 'start', 'installation')",
    )
    .execute(write)
    .await
    .unwrap();
    for statement in ["UPDATE audit_events SET action = 'x'", "DELETE FROM audit_events"] {
        let error = sqlx::query(statement).execute(write).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
    let Some(postgres) = TestStore::postgres().await else { return };
    let Db::Pg(pool) = postgres.db() else { panic!("not PostgreSQL") };
    sqlx::query(
        "INSERT INTO audit_events (id, at, actor_kind, action, target_kind)
         VALUES (gen_random_uuid(), now(), 'system', 'start', 'installation')",
    )
    .execute(pool)
    .await
    .unwrap();
    for statement in ["UPDATE audit_events SET action = 'x'", "DELETE FROM audit_events"] {
        let error = sqlx::query(statement).execute(pool).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

fn collect(rows: Vec<(String, String, bool)>) -> Columns {
    let mut columns = Columns::new();
    for (table, column, nullable) in rows {
        columns.entry(table).or_default().insert(column, nullable);
    }
    columns
}
