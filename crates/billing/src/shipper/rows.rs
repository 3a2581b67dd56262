//! Writing finished calls to the database: the rows, and the rollups of exactly the rows that were new.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use sqlx::AssertSqlSafe;
use sqlx::types::Json;
use tallygate_store::{DbTime, Engine, SplitAmount, StoreError, Tx, query};
use tallygate_types::{CredentialId, ModelId, Pico, TenantId, Timestamp, UpstreamId, Usage, UsageClass};
use uuid::Uuid;

use crate::credential_spend;
use crate::price::PriceVersion;
use crate::record::{Outcome, UsageRecord};
use crate::span::hour_of;
use crate::sql::{clean, int};

/// Rows of one INSERT. Statements of few sizes stay prepared, and 100 rows of 55 columns are far below the bind limits.
const STATEMENT_ROWS: [usize; 3] = [100, 10, 1];

/// Of the rollups, in the order they are bound; the usage classes follow.
const ROLLUP_COLUMNS: [&str; 20] = [
    "tenant_id",
    "hour",
    "key_id",
    "model_id",
    "model",
    "upstream_id",
    "upstream",
    "outcome",
    "price_version_id",
    "currency",
    "requests",
    "errors",
    "charge_units",
    "charge_pico",
    "duration_us",
    "first_byte_us",
    "first_byte_count",
    "overhead_us",
    "cache_saved_units",
    "cache_saved_pico",
];
/// The first of them, which tell one rollup from another.
const ROLLUP_KEYS: usize = 10;

/// In the order they are bound; the usage classes follow.
const COLUMNS: [&str; 43] = [
    "request_id",
    "attempt",
    "accepted_at",
    "first_byte_at",
    "finished_at",
    "tenant_id",
    "key_id",
    "end_user",
    "endpoint",
    "client_dialect",
    "upstream_dialect",
    "model_id",
    "model",
    "upstream_model",
    "returned_model",
    "upstream_id",
    "upstream",
    "credential_id",
    "attempts",
    "stream",
    "outcome",
    "status",
    "error_code",
    "finish_reason",
    "usage_source",
    "estimator",
    "raw_usage",
    "price_version_id",
    "prices",
    "charge",
    "currency",
    "reserved",
    "upstream_request_id",
    "loss",
    "overhead_us",
    "bytes_in",
    "bytes_out",
    "trace_id",
    "batch_id",
    "route",
    "arm",
    "affinity",
    "cache_saved",
];

/// What became of a batch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub inserted: u64,
    /// Rows that were there already, equal.
    pub duplicates: u64,
    /// Rows that were there already with other figures: an alarm.
    pub conflicts: u64,
    /// New rows whose charge is not what their prices make of their usage: an alarm.
    pub unexplained: u64,
}

/// Writes `records` and adds the new ones to the rollups.
pub(super) async fn write(tx: &mut Tx, batch: Uuid, records: &[UsageRecord]) -> Result<Written, StoreError> {
    let mut inserted = HashSet::new();
    for rows in in_statements(records) {
        inserted.extend(insert(tx, batch, rows).await?);
    }
    let mut written = Written::default();
    let mut rollups = BTreeMap::new();
    let mut of_credentials = credential_spend::Sums::default();
    for record in records {
        // Removed when counted: the same record twice in one batch was inserted once.
        if inserted.remove(&(record.request_id.uuid(), i64::from(record.attempt))) {
            written.inserted += 1;
            written.unexplained += u64::from(!add(&mut rollups, record)?);
            of_credentials.add(record)?;
        } else if is_equal(tx, record).await? {
            written.duplicates += 1;
        } else {
            written.conflicts += 1;
            tracing::error!(request_id = %record.request_id, attempt = record.attempt, "a usage record was shipped again with other figures; the first stays");
        }
    }
    // In the order of their keys, so that two replicas never wait for each other.
    let rollups: Vec<_> = rollups.into_iter().collect();
    for rows in in_statements(&rollups) {
        upsert(tx, rows).await?;
    }
    of_credentials.write(tx).await?;
    Ok(written)
}

/// Cuts rows to the sizes of [`STATEMENT_ROWS`].
fn in_statements<T>(mut rest: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let rows = STATEMENT_ROWS.into_iter().find(|rows| rest.len() >= *rows)?;
        let (now, later) = rest.split_at(rows);
        rest = later;
        Some(now)
    })
}

/// `($1, $2), ($3, $4)`. On SQLite `(?, ?), (?, ?)`: there a numbered parameter is a name, and each is looked for among all others
/// when it is bound, which costs ten times what the insertion does.
fn placeholders(engine: Engine, rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * ", $1000".len());
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            text.push_str(if column == 1 { "" } else { ", " });
            match engine {
                Engine::Sqlite => text.push('?'),
                Engine::Postgres => {
                    text.push('$');
                    text.push_str(&(row * columns + column).to_string());
                }
            }
        }
        text.push(')');
    }
    text
}

/// The keys of the rows that were new.
async fn insert(tx: &mut Tx, batch: Uuid, records: &[UsageRecord]) -> Result<Vec<(Uuid, i64)>, StoreError> {
    let sql = insert_sql(tx.engine(), records.len());
    let rows: Vec<(Uuid, i64)> = query!(&mut *tx, |conn| {
        let mut query = sqlx::query_as(AssertSqlSafe(sql));
        for r in records {
            query = query
                .bind(r.request_id.uuid())
                .bind(i64::from(r.attempt))
                .bind(DbTime(r.accepted_at))
                .bind(r.first_byte_at.map(DbTime))
                .bind(DbTime(r.finished_at))
                .bind(r.tenant_id.uuid())
                .bind(r.key_id.uuid())
                .bind(r.end_user.as_deref().map(clean))
                .bind(r.endpoint.as_str())
                .bind(r.client_dialect.as_str())
                .bind(r.upstream_dialect.map(tallygate_types::Dialect::as_str))
                .bind(r.model_id.map(ModelId::uuid))
                .bind(clean(&r.model))
                .bind(r.upstream_model.as_deref().map(clean))
                .bind(r.returned_model.as_deref().map(clean))
                .bind(r.upstream_id.map(UpstreamId::uuid))
                .bind(r.upstream.as_deref().map(clean))
                .bind(r.credential_id.map(CredentialId::uuid))
                .bind(Json(clean_attempts(r)))
                .bind(r.stream)
                .bind(r.outcome.as_str())
                .bind(i64::from(r.status))
                .bind(r.error_code.as_deref().map(clean))
                .bind(r.finish_reason.as_deref().map(clean))
                .bind(r.usage_source.as_str())
                .bind(r.estimator.as_deref().map(clean))
                .bind(r.raw_usage.as_deref().map(clean))
                .bind(r.price.as_ref().map(|price| price.id.uuid()))
                .bind(r.price.as_ref().map(|price| Json(price.prices)))
                .bind(pico(r.charge)?)
                .bind(r.currency.map(|currency| currency.as_str().to_owned()))
                .bind(pico(r.reserved)?)
                .bind(r.upstream_request_id.as_deref().map(clean))
                .bind(r.loss.as_deref().map(clean))
                .bind(int(r.overhead_us))
                .bind(int(r.bytes_in))
                .bind(int(r.bytes_out))
                .bind(r.trace_id.as_deref().map(clean))
                .bind(batch)
                .bind(r.route.as_deref().map(clean))
                .bind(r.arm.as_deref().map(clean))
                .bind(r.affinity.as_deref().map(clean))
                .bind(pico(r.cache_saved)?);
            for class in UsageClass::ALL {
                query = query.bind(int(r.usage.get(class)));
            }
        }
        query.fetch_all(conn).await
    })??;
    Ok(rows)
}

fn insert_sql(engine: Engine, rows: usize) -> String {
    let columns: Vec<_> = COLUMNS.into_iter().chain(UsageClass::ALL.map(UsageClass::as_str)).collect();
    format!(
        "INSERT INTO usage_records ({}) VALUES {} ON CONFLICT (request_id, attempt, accepted_at) DO NOTHING
         RETURNING request_id, attempt",
        columns.join(", "),
        placeholders(engine, rows, columns.len())
    )
}

fn pico(amount: Pico) -> Result<i64, StoreError> {
    amount
        .to_i64()
        .ok_or_else(|| StoreError::Invalid { field: "charge", reason: format!("{amount} is beyond what can be recorded") })
}

fn clean_attempts(record: &UsageRecord) -> Vec<crate::record::AttemptRecord> {
    let mut attempts = record.attempts.clone();
    for attempt in &mut attempts {
        attempt.upstream = clean(&attempt.upstream).into();
        attempt.outcome = clean(&attempt.outcome).into();
        attempt.reason = attempt.reason.as_deref().map(|reason| clean(reason).into());
    }
    attempts
}

/// Whether the row in the database bills the same as `record`.
async fn is_equal(tx: &mut Tx, record: &UsageRecord) -> Result<bool, StoreError> {
    let stored: Option<(i64, i64, i64, String)> = query!(&mut *tx, |conn| {
        sqlx::query_as(
            "SELECT charge,
                input_uncached + input_cache_read + input_cache_write_5m + input_cache_write_1h + input_audio
                    + input_audio_cached + input_image + input_video,
                output_text + output_reasoning + output_audio + output_image, outcome
             FROM usage_records WHERE request_id = $1 AND attempt = $2 AND accepted_at = $3",
        )
        .bind(record.request_id.uuid())
        .bind(i64::from(record.attempt))
        .bind(DbTime(record.accepted_at))
        .fetch_optional(conn)
        .await
    })??;
    let expected = (
        pico(record.charge)?,
        int(record.usage.input_total()),
        int(record.usage.output_total()),
        record.outcome.as_str().to_owned(),
    );
    Ok(stored == Some(expected))
}

/// One row of `usage_rollups_hourly`. What does not apply is the nil UUID or empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    tenant: TenantId,
    hour: Timestamp,
    issued_to: Uuid,
    model_id: Uuid,
    model: String,
    upstream_id: Uuid,
    upstream: String,
    outcome: &'static str,
    price: Uuid,
    currency: String,
}

#[derive(Debug, Default)]
struct Sum {
    requests: u64,
    errors: u64,
    usage: Usage,
    charge: Pico,
    cache_saved: Pico,
    duration_us: u64,
    first_byte_us: u64,
    first_byte_count: u64,
    overhead_us: u64,
}

/// Whether the outcome counts as an error in charts: not the client's leaving, which nobody can prevent.
fn is_error(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Ok | Outcome::ClientGone)
}

/// Adds a record to its rollup; whether its charge is explained by its prices, or is nothing.
fn add(rollups: &mut BTreeMap<Key, Sum>, record: &UsageRecord) -> Result<bool, StoreError> {
    // What was not charged stands under no price version, so that tokens × price is the charge of every row with one.
    let explains = |price: &&Arc<PriceVersion>| {
        !record.usage.is_empty() && price.charge(&record.usage).is_ok_and(|charge| charge.total == record.charge)
    };
    let charged = record.price.as_ref().filter(explains);
    let is_explained = charged.is_some() || record.charge == Pico::ZERO;
    let key = Key {
        tenant: record.tenant_id,
        hour: hour_of(record.accepted_at),
        issued_to: record.key_id.uuid(),
        model_id: record.model_id.map_or(Uuid::nil(), ModelId::uuid),
        // A name that is no model of ours is whatever a client made up: it gets no row of its own.
        model: record.model_id.map_or_else(String::new, |_| clean(&record.model)),
        upstream_id: record.upstream_id.map_or(Uuid::nil(), UpstreamId::uuid),
        upstream: record.upstream.as_deref().map_or_else(String::new, clean),
        outcome: record.outcome.as_str(),
        price: charged.map_or(Uuid::nil(), |price| price.id.uuid()),
        currency: record.currency.map_or_else(String::new, |currency| currency.as_str().to_owned()),
    };
    let overflow = || StoreError::Invalid { field: "usage", reason: "a sum is beyond what can be recorded".into() };
    let sum = rollups.entry(key).or_default();
    sum.requests += 1;
    sum.errors += u64::from(is_error(record.outcome));
    sum.usage = sum.usage.checked_add(&record.usage).ok_or_else(overflow)?;
    sum.charge = sum.charge.checked_add(record.charge).ok_or_else(overflow)?;
    sum.cache_saved = sum.cache_saved.checked_add(record.cache_saved).ok_or_else(overflow)?;
    sum.duration_us = sum.duration_us.saturating_add(micros(record.accepted_at, record.finished_at));
    if let Some(first_byte_at) = record.first_byte_at {
        sum.first_byte_us = sum.first_byte_us.saturating_add(micros(record.accepted_at, first_byte_at));
        sum.first_byte_count += 1;
    }
    sum.overhead_us = sum.overhead_us.saturating_add(record.overhead_us);
    Ok(is_explained)
}

fn micros(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.since(from).as_micros()).unwrap_or(u64::MAX)
}

/// Adds sums to the rollups, none of them twice.
async fn upsert(tx: &mut Tx, rows: &[(Key, Sum)]) -> Result<(), StoreError> {
    let sql = upsert_sql(tx.engine(), rows.len());
    let split = |amount: Pico| {
        SplitAmount::from_pico(amount)
            .ok_or_else(|| StoreError::Invalid { field: "charge", reason: "a sum is beyond what can be recorded".into() })
    };
    query!(&mut *tx, |conn| {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (key, sum) in rows {
            let (charge, saved) = (split(sum.charge)?, split(sum.cache_saved)?);
            query = query
                .bind(key.tenant.uuid())
                .bind(DbTime(key.hour))
                .bind(key.issued_to)
                .bind(key.model_id)
                .bind(&key.model)
                .bind(key.upstream_id)
                .bind(&key.upstream)
                .bind(key.outcome)
                .bind(key.price)
                .bind(&key.currency)
                .bind(int(sum.requests))
                .bind(int(sum.errors))
                .bind(charge.units)
                .bind(charge.pico)
                .bind(int(sum.duration_us))
                .bind(int(sum.first_byte_us))
                .bind(int(sum.first_byte_count))
                .bind(int(sum.overhead_us))
                .bind(saved.units)
                .bind(saved.pico);
            for class in UsageClass::ALL {
                query = query.bind(int(sum.usage.get(class)));
            }
        }
        query.execute(conn).await.map(|_| ())
    })??;
    Ok(())
}

fn upsert_sql(engine: Engine, rows: usize) -> String {
    let columns: Vec<_> = ROLLUP_COLUMNS.into_iter().chain(UsageClass::ALL.map(UsageClass::as_str)).collect();
    let sum = |column: &&str| match column.rsplit_once('_') {
        // Whole units and 10^-12 of them stand in two columns: the second carries over into the first.
        Some((amount, "units")) => {
            format!("{column} = r.{column} + excluded.{column} + (r.{amount}_pico + excluded.{amount}_pico) / 1000000000000")
        }
        Some((_, "pico")) => format!("{column} = (r.{column} + excluded.{column}) % 1000000000000"),
        _ => format!("{column} = r.{column} + excluded.{column}"),
    };
    let sums: Vec<_> = columns[ROLLUP_KEYS..].iter().map(sum).collect();
    format!(
        "INSERT INTO usage_rollups_hourly AS r ({}) VALUES {} ON CONFLICT ({}) DO UPDATE SET {}",
        columns.join(", "),
        placeholders(engine, rows, columns.len()),
        columns[..ROLLUP_KEYS].join(", "),
        sums.join(", ")
    )
}
