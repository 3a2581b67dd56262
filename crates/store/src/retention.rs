//! Daily partitions of the usage records on PostgreSQL, and how old records leave on both engines.

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sqlx::{AssertSqlSafe, Connection as _};
use tallygate_types::Timestamp;

use crate::{Db, DbTime, Store, StoreError};

/// Partitions are made for today and this many days after it; housekeeping may fail a week long.
const DAYS_AHEAD: i64 = 7;
/// Rows of one DELETE on SQLite, so that the writer is never held long.
const DELETE_CHUNK_ROWS: i64 = 5_000;
/// Key of the advisory lock under which partitions are made: "tallygat" in ASCII.
const PARTITION_LOCK: i64 = 0x7461_6c6c_7967_6174;
/// SQLSTATE `check_violation`: the DEFAULT partition holds rows of the range.
const DEFAULT_HOLDS_ROWS: &str = "23514";
/// Partitions looked at in one run at most.
const MAX_PARTITIONS: i64 = 4_000;

/// Makes the coming days' partitions. An open store does it by itself, at start and hourly; on SQLite there is nothing to do.
///
/// A day whose rows already lie in the DEFAULT partition stays there: it is found and counted all the same.
pub(crate) async fn make_partitions(db: &Db, now: Timestamp) -> Result<(), StoreError> {
    let Db::Pg(pool) = db else { return Ok(()) };
    let today = utc_day(now)?;
    // Replicas that start together would each find a partition missing and make it.
    let mut transaction = pool.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(PARTITION_LOCK).execute(&mut *transaction).await?;
    for offset in 0..=DAYS_AHEAD {
        let day = today.checked_add(offset.days()).map_err(|e| StoreError::invalid("clock", e.to_string()))?;
        let next = day.tomorrow().map_err(|e| StoreError::invalid("clock", e.to_string()))?;
        let name = partition_name(day);
        let exists: bool =
            sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(&name).fetch_one(&mut *transaction).await?;
        if exists {
            continue;
        }
        // Only digits of a date are put into the text.
        let sql = format!(
            "CREATE TABLE {name} PARTITION OF usage_records FOR VALUES FROM ('{day} 00:00:00+00') TO ('{next} 00:00:00+00')"
        );
        // In a savepoint: one day that cannot be made leaves the others be.
        let mut attempt = transaction.begin().await?;
        match sqlx::query(AssertSqlSafe(sql)).execute(&mut *attempt).await {
            Ok(_) => attempt.commit().await?,
            Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == DEFAULT_HOLDS_ROWS) => {
                tracing::warn!(%day, "usage of this day lies in the default partition and stays there");
                attempt.rollback().await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    transaction.commit().await?;
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
                // Another replica may be doing the same. The pattern above admits nothing but the table's name and eight digits.
                sqlx::query(AssertSqlSafe(format!("DROP TABLE IF EXISTS {name}"))).execute(pool).await?;
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
