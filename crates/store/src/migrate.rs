//! The schema: numbered SQL of both engines, built into the binary, run forward only and under a lock.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, SqlSafeStr as _};
use tokio::time::timeout;

use crate::{Db, Engine, StoreError};

/// Number, name, PostgreSQL text, SQLite text. A test compares this list with the folder and the two schemas with each other.
macro_rules! migrations {
    ($($number:literal $name:literal;)*) => {
        &[$((
            $number,
            $name,
            include_str!(concat!("../../../migrations/postgres/", $name, ".sql")),
            include_str!(concat!("../../../migrations/sqlite/", $name, ".sql")),
        ),)*]
    };
}

const MIGRATIONS: &[(i64, &str, &str, &str)] = migrations! {
    1 "0001_installation_and_tenants";
    2 "0002_upstreams_and_models";
    3 "0003_users_and_sessions";
    4 "0004_prices_and_usage";
    5 "0005_audit";
    6 "0006_admin_tokens";
    7 "0007_stored_responses";
    8 "0008_model_aliases";
    9 "0009_routing";
    10 "0010_standing";
    11 "0011_usage_routing";
    12 "0012_tenancy";
    13 "0013_budget_windows";
    14 "0014_balances_and_alerts";
    15 "0015_key_owners";
    16 "0016_refused_by";
};

/// How long a start waits for another process that is migrating, and for its own migrations.
const MIGRATION_TIMEOUT: Duration = Duration::from_mins(5);

/// Brings the schema up to this build's; does nothing when it is.
pub(crate) async fn run(db: &Db, postgres: Option<&PgConnectOptions>) -> Result<(), StoreError> {
    let migrator = migrator(db.engine());
    let migrated = async {
        match (db, postgres) {
            (Db::Pg(_), Some(options)) => {
                // A connection of its own: the pool's statements time out sooner than a large table is altered.
                let options = options.clone().options([("statement_timeout", "0")]);
                let mut connection = options.connect().await?;
                migrator.run(&mut connection).await?;
                sqlx::Connection::close(connection).await?;
            }
            (Db::Pg(pool), None) => migrator.run(pool).await?,
            (Db::Lite { write, .. }, _) => migrator.run(write).await?,
        }
        Ok::<(), MigrateError>(())
    };
    match timeout(MIGRATION_TIMEOUT, migrated).await {
        Ok(result) => result.map_err(explain),
        Err(_) => Err(StoreError::Unavailable("the schema was not migrated in time; another process may hold the lock".into())),
    }
}

fn migrator(engine: Engine) -> Migrator {
    let migrations = MIGRATIONS.iter().map(|&(number, name, postgres, sqlite)| {
        let sql = match engine {
            Engine::Postgres => postgres,
            Engine::Sqlite => sqlite,
        };
        Migration::new(number, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}

fn explain(error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMissing(number) => StoreError::Schema(format!(
            "it has migration {number}, which this build does not know: a newer version has been here. Start that version, \
             or restore a backup made before it"
        )),
        MigrateError::VersionMismatch(number) => StoreError::Schema(format!(
            "migration {number} is not the one this build carries: the database belongs to another build"
        )),
        MigrateError::Dirty(number) => {
            StoreError::Schema(format!("migration {number} was begun and not finished; restore a backup"))
        }
        MigrateError::Execute(error) => error.into(),
        MigrateError::ExecuteMigration(error, number) => match StoreError::from(error) {
            StoreError::Unavailable(reason) => StoreError::Unavailable(reason),
            other => StoreError::Schema(format!("migration {number} failed: {other}")),
        },
        other => StoreError::Schema(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_list_is_the_content_of_both_folders() {
        let listed: BTreeSet<_> = MIGRATIONS.iter().map(|(_, name, ..)| format!("{name}.sql")).collect();
        for engine in ["postgres", "sqlite"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations").join(engine);
            let found: BTreeSet<_> =
                std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
            assert_eq!(found, listed, "{engine}");
        }
    }

    #[test]
    fn numbers_and_names_agree_and_rise_by_one() {
        for (at, (number, name, ..)) in MIGRATIONS.iter().enumerate() {
            assert_eq!(*number, at as i64 + 1);
            assert_eq!(name.split('_').next(), Some(format!("{number:04}").as_str()));
        }
    }
}
