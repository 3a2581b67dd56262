//! Writing finished calls to the database: the rows, and the rollups of exactly the rows that were new.

mod attempts;
mod cells;
mod rollups;
mod statement;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use tallygate_store::{DbTime, StoreError, Tx, query};
use tallygate_types::{CredentialId, Currency, Dialect, ModelId, Pico, UpstreamId};
use uuid::Uuid;

use self::cells::{COMMON_CLASSES, Cells, Column, Kind, RARE_CLASSES, has_rare_classes, put_usage, with_usage};
use self::rollups::Rollups;
use self::statement::Statement;
use crate::credential_spend;
use crate::price::PriceVersion;
use crate::record::UsageRecord;
use crate::sql::int;

/// In the order of [`put_common`].
const COMMON: [Column; 37 + COMMON_CLASSES.len()] = with_usage(
    [
        ("request_id", Kind::Uuid),
        ("attempt", Kind::Int),
        ("accepted_at", Kind::Time),
        ("first_byte_at", Kind::Time),
        ("finished_at", Kind::Time),
        ("tenant_id", Kind::Uuid),
        ("key_id", Kind::Uuid),
        ("end_user", Kind::Text),
        ("endpoint", Kind::Text),
        ("client_dialect", Kind::Text),
        ("upstream_dialect", Kind::Text),
        ("model_id", Kind::Uuid),
        ("model", Kind::Text),
        ("upstream_model", Kind::Text),
        ("returned_model", Kind::Text),
        ("upstream_id", Kind::Uuid),
        ("upstream", Kind::Text),
        ("credential_id", Kind::Uuid),
        ("attempts", Kind::Json),
        ("stream", Kind::Flag),
        ("outcome", Kind::Text),
        ("status", Kind::Int),
        ("finish_reason", Kind::Text),
        ("usage_source", Kind::Text),
        ("raw_usage", Kind::Text),
        ("price_version_id", Kind::Uuid),
        ("prices", Kind::Json),
        ("charge", Kind::Int),
        ("currency", Kind::Text),
        ("reserved", Kind::Int),
        ("upstream_request_id", Kind::Text),
        ("overhead_us", Kind::Int),
        ("bytes_in", Kind::Int),
        ("bytes_out", Kind::Int),
        ("batch_id", Kind::Uuid),
        ("affinity", Kind::Text),
        ("cache_saved", Kind::Int),
    ],
    &COMMON_CLASSES,
);

/// In the order of [`put_rare`]: what hardly any record has, nothing or 0 where a row is written without. A value costs as
/// much to bind as a column of a row to insert.
const RARE: [Column; 6 + RARE_CLASSES.len()] = with_usage(
    [
        ("error_code", Kind::Text),
        ("estimator", Kind::Text),
        ("loss", Kind::Text),
        ("trace_id", Kind::Text),
        ("route", Kind::Text),
        ("arm", Kind::Text),
    ],
    &RARE_CLASSES,
);

static INSERT_COMMON: LazyLock<Statement> = LazyLock::new(|| insert(COMMON.to_vec()));
static INSERT_ALL: LazyLock<Statement> = LazyLock::new(|| insert([&COMMON[..], &RARE].concat()));

fn insert(columns: Vec<Column>) -> Statement {
    Statement::new("INSERT INTO usage_records", columns, "ON CONFLICT (request_id, attempt, accepted_at) DO NOTHING")
}

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

/// A record and what of its row is not in it as it stands.
struct Row<'a> {
    record: &'a UsageRecord,
    attempts: Arc<str>,
    prices: Option<Arc<str>>,
    charge: i64,
    reserved: i64,
    cache_saved: i64,
}

/// What became of one record.
enum Found {
    New,
    Equal,
    Other,
}

/// Writes `records` and adds the new ones to the rollups. `batch` names this writing and no other.
pub(super) async fn write(tx: &mut Tx, batch: Uuid, records: &[UsageRecord]) -> Result<Written, StoreError> {
    let (rare, common): (Vec<_>, Vec<_>) = rows(records)?.into_iter().partition(|row| has_rare(row.record));
    let mut inserted = INSERT_COMMON.run(tx, &common, |row, cells| put_common(row, batch, cells)).await?;
    inserted += INSERT_ALL
        .run(tx, &rare, |row, cells| {
            put_common(row, batch, cells);
            put_rare(row, cells);
        })
        .await?;
    drop((rare, common));
    // Nearly always: whoever ships again what is there already has lost its place.
    let are_all_new = inserted == records.len() as u64;
    let mut written = Written::default();
    let mut rollups = Rollups::default();
    let mut of_credentials = credential_spend::Sums::default();
    let mut seen = HashSet::new();
    for record in records {
        let found = if are_all_new { Found::New } else { look(tx, batch, record, &mut seen).await? };
        match found {
            Found::New => {
                written.inserted += 1;
                written.unexplained += u64::from(!rollups.add(record)?);
                of_credentials.add(record)?;
            }
            Found::Equal => written.duplicates += 1,
            Found::Other => {
                written.conflicts += 1;
                tracing::error!(request_id = %record.request_id, attempt = record.attempt, "a usage record was shipped again with other figures; the first stays");
            }
        }
    }
    rollups.write(tx).await?;
    of_credentials.write(tx).await?;
    Ok(written)
}

fn rows(records: &[UsageRecord]) -> Result<Vec<Row<'_>>, StoreError> {
    // By address: what was read together shares its prices.
    let mut prices: HashMap<*const PriceVersion, Arc<str>> = HashMap::new();
    let mut rows = Vec::with_capacity(records.len());
    let mut text = String::new();
    for record in records {
        let prices = match &record.price {
            None => None,
            Some(price) => Some(match prices.get(&Arc::as_ptr(price)) {
                Some(text) => Arc::clone(text),
                None => Arc::clone(prices.entry(Arc::as_ptr(price)).or_insert(json(&price.prices)?.into())),
            }),
        };
        text.clear();
        attempts::put(&mut text, record)?;
        rows.push(Row {
            record,
            attempts: text.as_str().into(),
            prices,
            charge: pico(record.charge)?,
            reserved: pico(record.reserved)?,
            cache_saved: pico(record.cache_saved)?,
        });
    }
    Ok(rows)
}

/// Whether anything of [`RARE`] is to be said.
fn has_rare(r: &UsageRecord) -> bool {
    let texts = [
        r.error_code.is_some(),
        r.estimator.is_some(),
        r.loss.is_some(),
        r.trace_id.is_some(),
        r.route.is_some(),
        r.arm.is_some(),
    ];
    texts.contains(&true) || has_rare_classes(&r.usage)
}

/// Tells the cells of a row in the order of [`COMMON`].
fn put_common<'a>(row: &'a Row<'a>, batch: Uuid, cells: &mut dyn Cells<'a>) {
    let r = row.record;
    cells.uuid(Some(r.request_id.uuid()));
    cells.int(i64::from(r.attempt));
    cells.time(Some(r.accepted_at));
    cells.time(r.first_byte_at);
    cells.time(Some(r.finished_at));
    cells.uuid(Some(r.tenant_id.uuid()));
    cells.uuid(Some(r.key_id.uuid()));
    cells.text(r.end_user.as_deref());
    cells.word(Some(r.endpoint.as_str()));
    cells.word(Some(r.client_dialect.as_str()));
    cells.word(r.upstream_dialect.map(Dialect::as_str));
    cells.uuid(r.model_id.map(ModelId::uuid));
    cells.name(Some(&r.model));
    cells.name(r.upstream_model.as_ref());
    cells.text(r.returned_model.as_deref());
    cells.uuid(r.upstream_id.map(UpstreamId::uuid));
    cells.name(r.upstream.as_ref());
    cells.uuid(r.credential_id.map(CredentialId::uuid));
    cells.name(Some(&row.attempts));
    cells.flag(r.stream);
    cells.word(Some(r.outcome.as_str()));
    cells.int(i64::from(r.status));
    cells.text(r.finish_reason.as_deref());
    cells.word(Some(r.usage_source.as_str()));
    cells.text(r.raw_usage.as_deref());
    cells.uuid(r.price.as_ref().map(|price| price.id.uuid()));
    cells.name(row.prices.as_ref());
    cells.int(row.charge);
    cells.text(r.currency.as_ref().map(Currency::as_str));
    cells.int(row.reserved);
    cells.text(r.upstream_request_id.as_deref());
    cells.int(int(r.overhead_us));
    cells.int(int(r.bytes_in));
    cells.int(int(r.bytes_out));
    cells.uuid(Some(batch));
    cells.text(r.affinity.as_deref());
    cells.int(row.cache_saved);
    put_usage(&r.usage, &COMMON_CLASSES, cells);
}

/// Tells the other cells of it in the order of [`RARE`].
fn put_rare<'a>(row: &'a Row<'a>, cells: &mut dyn Cells<'a>) {
    let r = row.record;
    cells.text(r.error_code.as_deref());
    cells.text(r.estimator.as_deref());
    cells.text(r.loss.as_deref());
    cells.text(r.trace_id.as_deref());
    cells.name(r.route.as_ref());
    cells.name(r.arm.as_ref());
    put_usage(&r.usage, &RARE_CLASSES, cells);
}

fn pico(amount: Pico) -> Result<i64, StoreError> {
    amount
        .to_i64()
        .ok_or_else(|| StoreError::Invalid { field: "charge", reason: format!("{amount} is beyond what can be recorded") })
}

fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Invalid { field: "usage", reason: format!("it cannot be written as JSON: {error}") })
}

/// What the database holds of `record` after a batch that was not new as a whole. `seen` are the records looked for before: the
/// same one twice in a batch was inserted once.
async fn look(tx: &mut Tx, batch: Uuid, record: &UsageRecord, seen: &mut HashSet<(Uuid, u32, i64)>) -> Result<Found, StoreError> {
    let stored: Option<(Option<Uuid>, i64, i64, i64, String)> = query!(&mut *tx, |conn| {
        sqlx::query_as(
            "SELECT batch_id, charge,
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
    let Some((of_batch, charge, input, output, outcome)) = stored else { return Ok(Found::Other) };
    let is_first = seen.insert((record.request_id.uuid(), record.attempt, record.accepted_at.micros()));
    if is_first && of_batch == Some(batch) {
        return Ok(Found::New);
    }
    let is_equal = (charge, input, output)
        == (pico(record.charge)?, int(record.usage.input_total()), int(record.usage.output_total()))
        && outcome == record.outcome.as_str();
    Ok(if is_equal { Found::Equal } else { Found::Other })
}

#[cfg(test)]
mod tests {
    use tallygate_types::UsageClass;

    use super::*;

    #[test]
    fn every_class_of_usage_has_its_column() {
        let columns = [&COMMON[..], &RARE].concat();
        for class in UsageClass::ALL {
            assert_eq!(columns.iter().filter(|(name, _)| *name == class.as_str()).count(), 1, "{class}");
        }
    }
}
