//! Sums of the records by hour, each batch summed up before it is added to what the database has.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use tallygate_store::{SplitAmount, StoreError, Tx};
use tallygate_types::{Currency, ModelId, Pico, TenantId, Timestamp, UpstreamId, Usage};
use uuid::Uuid;

use super::cells::{COMMON_CLASSES, Cells, Column, Kind, RARE_CLASSES, has_rare_classes, put_usage, with_usage};
use super::statement::Statement;
use crate::price::PriceVersion;
use crate::record::{Outcome, UsageRecord};
use crate::span::hour_of;
use crate::sql::{clean, int};

/// In the order of [`put_common`]; the first tell one rollup from another.
const COMMON: [Column; 18 + COMMON_CLASSES.len()] = with_usage(
    [
        ("tenant_id", Kind::Uuid),
        ("hour", Kind::Time),
        ("key_id", Kind::Uuid),
        ("model_id", Kind::Uuid),
        ("model", Kind::Text),
        ("upstream_id", Kind::Uuid),
        ("upstream", Kind::Text),
        ("outcome", Kind::Text),
        ("price_version_id", Kind::Uuid),
        ("currency", Kind::Text),
        ("requests", Kind::Int),
        ("errors", Kind::Int),
        ("charge_units", Kind::Int),
        ("charge_pico", Kind::Int),
        ("duration_us", Kind::Int),
        ("first_byte_us", Kind::Int),
        ("first_byte_count", Kind::Int),
        ("overhead_us", Kind::Int),
    ],
    &COMMON_CLASSES,
);
const KEYS: usize = 10;

/// In the order of [`put_rare`]: what is left as it stands where a batch has nothing of it.
const RARE: [Column; 2 + RARE_CLASSES.len()] =
    with_usage([("cache_saved_units", Kind::Int), ("cache_saved_pico", Kind::Int)], &RARE_CLASSES);

static UPSERT_COMMON: LazyLock<Statement> = LazyLock::new(|| upsert(COMMON.to_vec()));
static UPSERT_ALL: LazyLock<Statement> = LazyLock::new(|| upsert([&COMMON[..], &RARE].concat()));

fn upsert(columns: Vec<Column>) -> Statement {
    let sum = |(column, _): &Column| match column.rsplit_once('_') {
        // Whole units and 10^-12 of them stand in two columns: the second carries over into the first.
        Some((amount, "units")) => {
            format!("{column} = r.{column} + excluded.{column} + (r.{amount}_pico + excluded.{amount}_pico) / 1000000000000")
        }
        Some((_, "pico")) => format!("{column} = (r.{column} + excluded.{column}) % 1000000000000"),
        _ => format!("{column} = r.{column} + excluded.{column}"),
    };
    let sums: Vec<_> = columns[KEYS..].iter().map(sum).collect();
    let keys = columns[..KEYS].iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let tail = format!("ON CONFLICT ({keys}) DO UPDATE SET {}", sums.join(", "));
    Statement::new("INSERT INTO usage_rollups_hourly AS r", columns, &tail)
}

/// The sums of one batch, in the order of their keys, so that two replicas never wait for each other in turn.
#[derive(Default)]
pub struct Rollups<'a>(BTreeMap<Key<'a>, Sum>);

/// One row of `usage_rollups_hourly`. What does not apply is the nil UUID or empty.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    tenant: TenantId,
    hour: Timestamp,
    issued_to: Uuid,
    model_id: Uuid,
    model: Cow<'a, str>,
    upstream_id: Uuid,
    upstream: Cow<'a, str>,
    outcome: &'static str,
    price: Uuid,
    currency: &'a str,
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

/// A rollup as it is written.
struct Row<'a> {
    key: Key<'a>,
    sum: Sum,
    charge: SplitAmount,
    cache_saved: SplitAmount,
}

impl<'a> Rollups<'a> {
    /// Adds a record to its rollup; whether its charge is explained by its prices, or is nothing.
    pub fn add(&mut self, record: &'a UsageRecord) -> Result<bool, StoreError> {
        // What was not charged stands under no price version, so that tokens × price is the charge of every row with one.
        let explains = |price: &&Arc<PriceVersion>| {
            !record.usage.is_empty() && price.prices.total(&record.usage).is_ok_and(|total| total == record.charge)
        };
        let charged = record.price.as_ref().filter(explains);
        let is_explained = charged.is_some() || record.charge == Pico::ZERO;
        let key = Key {
            tenant: record.tenant_id,
            hour: hour_of(record.accepted_at),
            issued_to: record.key_id.uuid(),
            model_id: record.model_id.map_or(Uuid::nil(), ModelId::uuid),
            // A name that is no model of ours is whatever a client made up: it gets no row of its own.
            model: record.model_id.map_or(Cow::Borrowed(""), |_| clean(&record.model)),
            upstream_id: record.upstream_id.map_or(Uuid::nil(), UpstreamId::uuid),
            upstream: record.upstream.as_deref().map_or(Cow::Borrowed(""), clean),
            outcome: record.outcome.as_str(),
            price: charged.map_or(Uuid::nil(), |price| price.id.uuid()),
            currency: record.currency.as_ref().map_or("", Currency::as_str),
        };
        let sum = self.0.entry(key).or_default();
        sum.requests += 1;
        sum.errors += u64::from(is_error(record.outcome));
        sum.usage = sum.usage.checked_add(&record.usage).ok_or_else(too_much)?;
        sum.charge = sum.charge.checked_add(record.charge).ok_or_else(too_much)?;
        sum.cache_saved = sum.cache_saved.checked_add(record.cache_saved).ok_or_else(too_much)?;
        sum.duration_us = sum.duration_us.saturating_add(micros(record.accepted_at, record.finished_at));
        if let Some(first_byte_at) = record.first_byte_at {
            sum.first_byte_us = sum.first_byte_us.saturating_add(micros(record.accepted_at, first_byte_at));
            sum.first_byte_count += 1;
        }
        sum.overhead_us = sum.overhead_us.saturating_add(record.overhead_us);
        Ok(is_explained)
    }

    /// Adds the sums to what the database has.
    pub async fn write(self, tx: &mut Tx) -> Result<(), StoreError> {
        let mut rows = Vec::with_capacity(self.0.len());
        for (key, sum) in self.0 {
            let split = |amount| SplitAmount::from_pico(amount).ok_or_else(too_much);
            let (charge, cache_saved) = (split(sum.charge)?, split(sum.cache_saved)?);
            rows.push(Row { key, sum, charge, cache_saved });
        }
        // All in one statement: in two they would be out of the order that keeps replicas from waiting for each other.
        let written = if rows.iter().any(has_rare) {
            UPSERT_ALL
                .run(tx, &rows, |row, cells| {
                    put_common(row, cells);
                    put_rare(row, cells);
                })
                .await
        } else {
            UPSERT_COMMON.run(tx, &rows, put_common).await
        };
        written.map(|_| ())
    }
}

/// Whether anything of [`RARE`] is to be added.
fn has_rare(row: &Row<'_>) -> bool {
    row.sum.cache_saved != Pico::ZERO || has_rare_classes(&row.sum.usage)
}

/// Tells the cells of a row in the order of [`COMMON`].
fn put_common<'a>(row: &'a Row<'_>, cells: &mut dyn Cells<'a>) {
    let Row { key, sum, charge, .. } = row;
    cells.uuid(Some(key.tenant.uuid()));
    cells.time(Some(key.hour));
    cells.uuid(Some(key.issued_to));
    cells.uuid(Some(key.model_id));
    cells.text(Some(&key.model));
    cells.uuid(Some(key.upstream_id));
    cells.text(Some(&key.upstream));
    cells.word(Some(key.outcome));
    cells.uuid(Some(key.price));
    cells.text(Some(key.currency));
    cells.int(int(sum.requests));
    cells.int(int(sum.errors));
    cells.int(charge.units);
    cells.int(charge.pico);
    cells.int(int(sum.duration_us));
    cells.int(int(sum.first_byte_us));
    cells.int(int(sum.first_byte_count));
    cells.int(int(sum.overhead_us));
    put_usage(&sum.usage, &COMMON_CLASSES, cells);
}

/// Tells the other cells of it in the order of [`RARE`].
fn put_rare<'a>(row: &'a Row<'_>, cells: &mut dyn Cells<'a>) {
    cells.int(row.cache_saved.units);
    cells.int(row.cache_saved.pico);
    put_usage(&row.sum.usage, &RARE_CLASSES, cells);
}

/// Whether the outcome counts as an error in charts: not the client's leaving, which nobody can prevent.
fn is_error(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Ok | Outcome::ClientGone)
}

fn micros(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.since(from).as_micros()).unwrap_or(u64::MAX)
}

fn too_much() -> StoreError {
    StoreError::Invalid { field: "usage", reason: "a sum is beyond what can be recorded".into() }
}
