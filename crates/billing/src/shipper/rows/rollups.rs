//! Sums of the records by hour, each batch summed up before it is added to what the database has.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::{Arc, LazyLock};

use tallygate_store::{SplitAmount, StoreError, Tx};
use tallygate_types::{ApiKeyId, Currency, IdMap, ModelId, Pico, TenantId, Timestamp, UpstreamId, Usage};
use uuid::Uuid;

use super::cells::{Cells, Column, Kind, Level, MORE_CLASSES, PLAIN_CLASSES, RARE_CLASSES, put_usage, with_usage};
use super::statement::Statement;
use crate::price::PriceVersion;
use crate::record::{Outcome, UsageRecord};
use crate::span::hour_of;
use crate::sql::{clean, int};

/// What tells the rollups of one kind from each other.
const OWN_KEYS: [Column; 2] = [("tenant_id", Kind::Uuid), ("key_id", Kind::Uuid)];
/// What tells one kind from another, in the order of [`put_kind`].
const KIND_KEYS: [Column; 8] = [
    ("hour", Kind::Time),
    ("model_id", Kind::Uuid),
    ("model", Kind::Text),
    ("upstream_id", Kind::Uuid),
    ("upstream", Kind::Text),
    ("outcome", Kind::Text),
    ("price_version_id", Kind::Uuid),
    ("currency", Kind::Text),
];
/// What is summed up, in the order of [`put`]. What is beyond [`Level::Plain`] is left as it stands where a batch has nothing of
/// it.
const PLAIN: [Column; 8 + PLAIN_CLASSES.len()] = with_usage(
    [
        ("requests", Kind::Int),
        ("errors", Kind::Int),
        ("charge_units", Kind::Int),
        ("charge_pico", Kind::Int),
        ("duration_us", Kind::Int),
        ("first_byte_us", Kind::Int),
        ("first_byte_count", Kind::Int),
        ("overhead_us", Kind::Int),
    ],
    &PLAIN_CLASSES,
);
const MORE: [Column; 2 + MORE_CLASSES.len()] =
    with_usage([("cache_saved_units", Kind::Int), ("cache_saved_pico", Kind::Int)], &MORE_CLASSES);
const RARE: [Column; RARE_CLASSES.len()] = with_usage([], &RARE_CLASSES);

/// By level.
static UPSERT: LazyLock<[Statement; Level::ALL.len()]> =
    LazyLock::new(|| [PLAIN.to_vec(), [&PLAIN[..], &MORE].concat(), [&PLAIN[..], &MORE, &RARE].concat()].map(upsert));

fn upsert(columns: Vec<Column>) -> Statement {
    let sum = |(column, _): &Column| match column.rsplit_once('_') {
        // Whole units and 10^-12 of them stand in two columns: the second carries over into the first.
        Some((amount, "units")) => {
            format!("{column} = r.{column} + excluded.{column} + (r.{amount}_pico + excluded.{amount}_pico) / 1000000000000")
        }
        Some((_, "pico")) => format!("{column} = (r.{column} + excluded.{column}) % 1000000000000"),
        _ => format!("{column} = r.{column} + excluded.{column}"),
    };
    let sums: Vec<_> = columns.iter().map(sum).collect();
    let keys = OWN_KEYS.iter().chain(&KIND_KEYS).map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let tail = format!("ON CONFLICT ({keys}) DO UPDATE SET {}", sums.join(", "));
    let own = [&OWN_KEYS[..], &columns].concat();
    Statement::new("INSERT INTO usage_rollups_hourly AS r", own, KIND_KEYS.to_vec(), &tail)
}

/// The sums of one batch.
pub struct Rollups<'a> {
    kinds: Vec<RollupKind<'a>>,
    places: HashMap<RollupKind<'a>, usize>,
    /// The place of the kind by that of a record, its hour, and whether it stands under its price.
    known: HashMap<(usize, Timestamp, bool), usize>,
    /// What was found there last: most records follow one of their own.
    last: Option<((usize, Timestamp, bool), usize)>,
    sums: Vec<(RollupKey, Sum)>,
    sum_of: IdMap<RollupKey, usize>,
}

/// The place of its kind, and what tells it from others of that kind.
type RollupKey = (usize, TenantId, ApiKeyId);

/// What many rows of `usage_rollups_hourly` have in common. What does not apply is the nil UUID or empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct RollupKind<'a> {
    hour: Timestamp,
    model_id: Uuid,
    model: Cow<'a, str>,
    upstream_id: Uuid,
    upstream: Cow<'a, str>,
    outcome: &'static str,
    price: Uuid,
    currency: &'a str,
}

#[derive(Debug, Clone, Copy, Default)]
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
struct Row {
    tenant: TenantId,
    issued_to: ApiKeyId,
    sum: Sum,
    charge: SplitAmount,
    cache_saved: SplitAmount,
}

impl<'a> Rollups<'a> {
    pub fn for_records(count: usize) -> Self {
        Self {
            kinds: Vec::new(),
            places: HashMap::new(),
            known: HashMap::new(),
            last: None,
            sums: Vec::with_capacity(count),
            sum_of: IdMap::with_capacity_and_hasher(count, BuildHasherDefault::default()),
        }
    }

    /// Adds a record, whose kind stands at `place`, to its rollup; whether its charge is explained by its prices, or is nothing.
    pub fn add(&mut self, record: &'a UsageRecord, place: usize) -> Result<bool, StoreError> {
        // What was not charged stands under no price version, so that tokens × price is the charge of every row with one.
        let explains = |price: &&Arc<PriceVersion>| {
            !record.usage.is_empty() && price.prices.total(&record.usage).is_ok_and(|total| total == record.charge)
        };
        let charged = record.price.as_ref().filter(explains);
        let is_explained = charged.is_some() || record.charge == Pico::ZERO;
        let key = (self.kind(record, charged, place), record.tenant_id, record.key_id);
        let at = *self.sum_of.entry(key).or_insert_with(|| {
            self.sums.push((key, Sum::default()));
            self.sums.len() - 1
        });
        self.sums[at].1.add(record)?;
        Ok(is_explained)
    }

    fn kind(&mut self, record: &'a UsageRecord, charged: Option<&Arc<PriceVersion>>, place: usize) -> usize {
        let known = (place, hour_of(record.accepted_at), charged.is_some());
        if let Some((_, kind)) = self.last.filter(|(last, _)| *last == known) {
            return kind;
        }
        let kind = *self.known.entry(known).or_insert_with(|| {
            let kind = RollupKind {
                hour: known.1,
                model_id: record.model_id.map_or(Uuid::nil(), ModelId::uuid),
                // A name that is no model of ours is whatever a client made up: it gets no row of its own.
                model: record.model_id.map_or(Cow::Borrowed(""), |_| clean(&record.model)),
                upstream_id: record.upstream_id.map_or(Uuid::nil(), UpstreamId::uuid),
                upstream: record.upstream.as_deref().map_or(Cow::Borrowed(""), clean),
                outcome: record.outcome.as_str(),
                price: charged.map_or(Uuid::nil(), |price| price.id.uuid()),
                currency: record.currency.as_ref().map_or("", Currency::as_str),
            };
            *self.places.entry(kind).or_insert_with_key(|kind| {
                self.kinds.push(kind.clone());
                self.kinds.len() - 1
            })
        });
        self.last = Some((known, kind));
        kind
    }

    /// Adds the sums to what the database has.
    pub async fn write(self, tx: &mut Tx) -> Result<(), StoreError> {
        let mut kinds: Vec<_> = self.kinds.into_iter().enumerate().collect();
        kinds.sort_unstable_by(|(_, one), (_, other)| one.cmp(other));
        let mut ranks = vec![0; kinds.len()];
        for (rank, (kind, _)) in kinds.iter().enumerate() {
            ranks[*kind] = rank;
        }
        // In the order of what tells them apart, so that two replicas never wait for each other in turn. All in one statement: in
        // two they would be out of that order.
        let place = |(at, ((kind, tenant, issued_to), _)): (usize, &(RollupKey, Sum))| {
            (ranks[*kind], tenant.uuid().as_u128(), issued_to.uuid().as_u128(), at)
        };
        let mut order: Vec<_> = self.sums.iter().enumerate().map(place).collect();
        order.sort_unstable();
        let mut rows = Vec::with_capacity(self.sums.len());
        let mut level = Level::Plain;
        for (rank, _, _, at) in order {
            let ((_, tenant, issued_to), sum) = self.sums[at];
            let split = |amount| SplitAmount::from_pico(amount).ok_or_else(too_much);
            let (charge, cache_saved) = (split(sum.charge)?, split(sum.cache_saved)?);
            level = level.max(Level::of(&sum.usage));
            if sum.cache_saved != Pico::ZERO {
                level = level.max(Level::More);
            }
            rows.push((rank, Row { tenant, issued_to, sum, charge, cache_saved }));
        }
        let written = UPSERT[level as usize].run(
            tx,
            &kinds,
            &rows,
            |(_, kind), cells| put_kind(kind, cells),
            |row, cells| {
                put(row, level, cells);
            },
        );
        written.await.map(|_| ())
    }
}

impl Sum {
    fn add(&mut self, record: &UsageRecord) -> Result<(), StoreError> {
        self.requests += 1;
        self.errors += u64::from(is_error(record.outcome));
        self.usage = self.usage.checked_add(&record.usage).ok_or_else(too_much)?;
        self.charge = self.charge.checked_add(record.charge).ok_or_else(too_much)?;
        self.cache_saved = self.cache_saved.checked_add(record.cache_saved).ok_or_else(too_much)?;
        self.duration_us = self.duration_us.saturating_add(micros(record.accepted_at, record.finished_at));
        if let Some(first_byte_at) = record.first_byte_at {
            self.first_byte_us = self.first_byte_us.saturating_add(micros(record.accepted_at, first_byte_at));
            self.first_byte_count += 1;
        }
        self.overhead_us = self.overhead_us.saturating_add(record.overhead_us);
        Ok(())
    }
}

/// Tells the cells of a kind in the order of [`KIND_KEYS`].
fn put_kind<'a>(kind: &'a RollupKind<'_>, cells: &mut dyn Cells<'a>) {
    cells.time(Some(kind.hour));
    cells.uuid(Some(kind.model_id));
    cells.text(Some(&kind.model));
    cells.uuid(Some(kind.upstream_id));
    cells.text(Some(&kind.upstream));
    cells.text(Some(kind.outcome));
    cells.uuid(Some(kind.price));
    cells.text(Some(kind.currency));
}

/// Tells the cells of a row in the order of [`OWN_KEYS`], [`PLAIN`], [`MORE`] and [`RARE`], as far as `level` goes.
fn put(row: &Row, level: Level, cells: &mut dyn Cells<'_>) {
    let Row { tenant, issued_to, sum, charge, cache_saved } = row;
    cells.ids(&[tenant.uuid(), issued_to.uuid()]);
    cells.int(int(sum.requests));
    cells.int(int(sum.errors));
    cells.int(charge.units);
    cells.int(charge.pico);
    cells.int(int(sum.duration_us));
    cells.int(int(sum.first_byte_us));
    cells.int(int(sum.first_byte_count));
    cells.int(int(sum.overhead_us));
    put_usage(&sum.usage, &PLAIN_CLASSES, cells);
    if level >= Level::More {
        cells.int(cache_saved.units);
        cells.int(cache_saved.pico);
        put_usage(&sum.usage, &MORE_CLASSES, cells);
    }
    if level >= Level::All {
        put_usage(&sum.usage, &RARE_CLASSES, cells);
    }
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
