//! Writing finished calls to the database: the rows, and the rollups of exactly the rows that were new.

mod attempts;
mod cells;
mod kind;
mod rollups;
mod statement;

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use tallygate_store::{DbTime, StoreError, Tx, query};
use tallygate_types::Pico;
use uuid::Uuid;

use self::cells::{Cells, Column, Kind, Level, MORE_CLASSES, PLAIN_CLASSES, RARE_CLASSES, put_usage, with_usage};
use self::kind::Kinds;
use self::rollups::Rollups;
use self::statement::Statement;
use crate::alerts::Rules;
use crate::record::UsageRecord;
use crate::sql::int;
use crate::{budget, credential_spend};

/// What each record has of its own, in the order of [`Row::put`]. What is beyond [`Level::Plain`] is nothing or 0 where a row is
/// written without.
const PLAIN: [Column; 14 + PLAIN_CLASSES.len()] = with_usage(
    [
        ("request_id", Kind::Uuid),
        ("tenant_id", Kind::Uuid),
        ("key_id", Kind::Uuid),
        ("accepted_at", Kind::Time),
        ("first_byte_at", Kind::Time),
        ("finished_at", Kind::Time),
        ("attempts", Kind::Json),
        ("raw_usage", Kind::Text),
        ("charge", Kind::Int),
        ("reserved", Kind::Int),
        ("upstream_request_id", Kind::Text),
        ("overhead_us", Kind::Int),
        ("bytes_in", Kind::Int),
        ("bytes_out", Kind::Int),
    ],
    &PLAIN_CLASSES,
);
const MORE: [Column; 3 + MORE_CLASSES.len()] =
    with_usage([("end_user", Kind::Text), ("trace_id", Kind::Text), ("cache_saved", Kind::Int)], &MORE_CLASSES);
const RARE: [Column; 1 + RARE_CLASSES.len()] = with_usage([("loss", Kind::Text)], &RARE_CLASSES);

/// By level.
static INSERT: LazyLock<[Statement; Level::ALL.len()]> = LazyLock::new(|| {
    [PLAIN.to_vec(), [&PLAIN[..], &MORE].concat(), [&PLAIN[..], &MORE, &RARE].concat()].map(|own| {
        let tail = "ON CONFLICT (request_id, attempt, accepted_at) DO NOTHING";
        Statement::new("INSERT INTO usage_records", own, kind::COLUMNS.to_vec(), tail)
    })
});

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
pub(super) async fn write(
    tx: &mut Tx,
    node: &str,
    batch: Uuid,
    records: &[UsageRecord],
    rules: &Rules,
) -> Result<Written, StoreError> {
    let mut kinds = Kinds::of_batch(batch);
    let kind_of = records.iter().map(|record| kinds.place(record)).collect::<Result<Vec<_>, _>>()?;
    let mut rows = rows(records, &kind_of)?;
    let mut inserted = 0;
    for (level, statement) in Level::ALL.into_iter().zip(&*INSERT) {
        let rows = &mut rows[level as usize];
        rows.sort_by_key(|(kind, _)| *kind);
        inserted += statement.run(tx, kinds.all(), rows, kind::Kind::put, |row, cells| row.put(level, cells)).await?;
    }
    // Nearly always: whoever ships again what is there already has lost its place.
    let are_all_new = inserted == records.len() as u64;
    let mut written = Written::default();
    let mut rollups = Rollups::for_records(records.len());
    let mut of_credentials = credential_spend::Sums::default();
    let mut of_budgets = budget::Sums::default();
    let mut seen = HashSet::new();
    for (record, kind) in records.iter().zip(kind_of) {
        let found = if are_all_new { Found::New } else { look(tx, batch, record, &mut seen).await? };
        match found {
            Found::New => {
                written.inserted += 1;
                written.unexplained += u64::from(!rollups.add(record, kind)?);
                of_credentials.add(record)?;
                of_budgets.add(record)?;
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
    // Last: who asks for a lease waits for these rows.
    let spent = of_budgets.write(tx, node, |budget| rules.watch(budget)).await?;
    rules.note(tx, &spent).await?;
    Ok(written)
}

/// The rows of `records` by level, each after the place of its kind.
fn rows<'a>(records: &'a [UsageRecord], kind_of: &[usize]) -> Result<[Vec<(usize, Row<'a>)>; Level::ALL.len()], StoreError> {
    let mut rows = Level::ALL.map(|_| Vec::with_capacity(records.len()));
    let mut text = Vec::new();
    for (record, kind) in records.iter().zip(kind_of) {
        let row = Row {
            record,
            attempts: attempts::write(&mut text, record)?.into(),
            charge: pico(record.charge)?,
            reserved: pico(record.reserved)?,
            cache_saved: pico(record.cache_saved)?,
        };
        rows[row.level() as usize].push((*kind, row));
    }
    Ok(rows)
}

impl<'a> Row<'a> {
    fn level(&self) -> Level {
        let Self { record: r, cache_saved, .. } = self;
        let own = match (&r.loss, &r.end_user, &r.trace_id, cache_saved) {
            (None, None, None, 0) => Level::Plain,
            (None, ..) => Level::More,
            (Some(_), ..) => Level::All,
        };
        own.max(Level::of(&r.usage))
    }

    /// Tells the cells of it in the order of [`PLAIN`], [`MORE`] and [`RARE`], as far as `level` goes.
    fn put<'c>(&'c self, level: Level, cells: &mut dyn Cells<'c>)
    where
        'a: 'c,
    {
        let r = self.record;
        cells.ids(&[r.request_id.uuid(), r.tenant_id.uuid(), r.key_id.uuid()]);
        cells.time(Some(r.accepted_at));
        cells.time(r.first_byte_at);
        cells.time(Some(r.finished_at));
        cells.name(Some(&self.attempts));
        cells.text(r.raw_usage.as_deref());
        cells.int(self.charge);
        cells.int(self.reserved);
        cells.text(r.upstream_request_id.as_deref());
        cells.int(int(r.overhead_us));
        cells.int(int(r.bytes_in));
        cells.int(int(r.bytes_out));
        put_usage(&r.usage, &PLAIN_CLASSES, cells);
        if level >= Level::More {
            cells.text(r.end_user.as_deref());
            cells.text(r.trace_id.as_deref());
            cells.int(self.cache_saved);
            put_usage(&r.usage, &MORE_CLASSES, cells);
        }
        if level >= Level::All {
            cells.text(r.loss.as_deref());
            put_usage(&r.usage, &RARE_CLASSES, cells);
        }
    }
}

fn pico(amount: Pico) -> Result<i64, StoreError> {
    amount
        .to_i64()
        .ok_or_else(|| StoreError::Invalid { field: "charge", reason: format!("{amount} is beyond what can be recorded") })
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
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
        let columns = [&PLAIN[..], &MORE, &RARE].concat();
        for class in UsageClass::ALL {
            assert_eq!(columns.iter().filter(|(name, _)| *name == class.as_str()).count(), 1, "{class}");
        }
    }
}
