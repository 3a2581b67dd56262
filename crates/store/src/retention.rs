//! Daily partitions of the usage records on PostgreSQL, and how old records leave on both engines.

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sqlx::AssertSqlSafe;
use tallygate_types::Timestamp;

use crate::{Db, DbTime, Store, StoreError};

/// Partitions are made for today and this many days after it; the task that calls daily may fail a week long.
const DAYS_AHEAD: i64 = 7;
/// Rows of one DELETE on SQLite, so that the writer is never held long.
const DELETE_CHUNK_ROWS: i64 = 5_000;
/// Partitions looked at in one run at most.
const MAX_PARTITIONS: i64 = 4_000;

/// Makes the coming days' partitions. To be called at start and daily; on SQLite there is nothing to do.
///
/// A day whose rows already lie in the DEFAULT partition stays there: it is found and counted all the same.
pub async fn ensure_usage_partitions(store: &Store) -> Result<(), StoreError> {
    let Db::Pg(pool) = store.db() else { return Ok(()) };
    let today = utc_day(store.core().clock.now())?;
    for offset in 0..=DAYS_AHEAD {
        let day = today.checked_add(offset.days()).map_err(|e| StoreError::invalid("clock", e.to_string()))?;
        let next = day.tomorrow().map_err(|e| StoreError::invalid("clock", e.to_string()))?;
        let name = partition_name(day);
        let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(&name).fetch_one(pool).await?;
        if exists {
            continue;
        }
        // Only digits of a date are put into the text.
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {name} PARTITION OF usage_records FOR VALUES FROM ('{day} 00:00:00+00') TO ('{next} 00:00:00+00')"
        );
        if let Err(error) = sqlx::query(AssertSqlSafe(sql)).execute(pool).await {
            match &error {
                // 23514: DEFAULT already holds rows of that day. 42P07: another replica was faster.
                sqlx::Error::Database(database) if database.code().is_some_and(|code| code == "23514") => {
                    tracing::warn!(day = %day, "usage of this day lies in the default partition and stays there");
                }
                sqlx::Error::Database(database) if database.code().is_some_and(|code| code == "42P07") => {}
                _ => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Removes usage records accepted before the UTC day of `before`; rollups stay. Returns how many rows (SQLite) or partitions
/// (PostgreSQL) went.
pub async fn drop_usage_before(store: &Store, before: Timestamp) -> Result<u64, StoreError> {
    let day = utc_day(before)?;
    match store.db() {
        Db::Pg(pool) => {
            let names: Vec<String> = sqlx::query_scalar(
                "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                 WHERE i.inhparent = 'usage_records'::regclass AND c.relname ~ '^usage_records_[0-9]{8}$' AND c.relname < $1
                 ORDER BY c.relname LIMIT $2",
            )
            .bind(partition_name(day))
            .bind(MAX_PARTITIONS)
            .fetch_all(pool)
            .await?;
            for name in &names {
                // The pattern above admits nothing but the table's name and eight digits.
                sqlx::query(AssertSqlSafe(format!("DROP TABLE {name}"))).execute(pool).await?;
            }
            Ok(names.len() as u64)
        }
        Db::Lite { write, .. } => {
            let start = day.to_zoned(TimeZone::UTC).map_err(|e| StoreError::invalid("before", e.to_string()))?;
            let start = DbTime(Timestamp::from_micros(start.timestamp().as_microsecond()));
            let mut removed = 0;
            loop {
                let rows = sqlx::query(
                    "DELETE FROM usage_records WHERE rowid IN (SELECT rowid FROM usage_records WHERE accepted_at < $1 LIMIT $2)",
                )
                .bind(start)
                .bind(DELETE_CHUNK_ROWS)
                .execute(write)
                .await?
                .rows_affected();
                removed += rows;
                if rows < DELETE_CHUNK_ROWS as u64 {
                    return Ok(removed);
                }
            }
        }
    }
}

fn partition_name(day: Date) -> String {
    format!("usage_records_{:04}{:02}{:02}", day.year(), day.month(), day.day())
}

fn utc_day(at: Timestamp) -> Result<Date, StoreError> {
    let at = at.to_jiff();
    at.map(|at| at.to_zoned(TimeZone::UTC).date()).ok_or_else(|| StoreError::invalid("clock", "the year is out of range"))
}
