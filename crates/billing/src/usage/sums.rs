//! Charts and totals, from the hourly rollups.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use tallygate_store::{DbTime, Source, StoreError, TenantScope, query};
use tallygate_types::{ApiKeyId, Currency, Pico, TenantId, Timestamp, UpstreamId, Usage};
use uuid::Uuid;

use super::CALLS_OF_PERSON;
use crate::period::{Period, time_zone};
use crate::prices::read_currency;
use crate::span::hour_of;
use crate::sql::{Bind, Filter, bind_all, count};
use crate::sums::{ChargeColumns, ClassColumns, ROLLUP_CHARGE, ROLLUP_SAVED, SavedColumns, class_sums};

/// Hours a series may cover: a little over a year.
pub const MAX_BUCKETS: i64 = 24 * 400;
const HOUR_US: i64 = 3_600_000_000;

/// The width of a point. Days are those of the zone asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    Hour,
    Day,
}

/// What a sum is split by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    Tenant,
    Key,
    Model,
    Upstream,
    Outcome,
}

/// What is summed. The span is widened to whole hours.
#[derive(Debug, Clone)]
pub struct SumFilter {
    pub from: Timestamp,
    pub to: Timestamp,
    pub tenant: Option<TenantId>,
    pub key: Option<ApiKeyId>,
    pub model: Option<String>,
    pub upstream: Option<UpstreamId>,
}

/// Counts, tokens and money of many calls.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct UsageSum {
    /// Id or name of what it was split by; empty for what has none (a model nobody serves, say).
    pub group: Option<String>,
    pub requests: u64,
    pub errors: u64,
    pub usage: Usage,
    pub charge: BTreeMap<String, Pico>,
    /// What prompt caches saved, by currency; below zero where writing them cost more.
    pub cache_saved: BTreeMap<String, Pico>,
    /// Summed over the requests; divide by `requests` for the mean.
    pub duration_us: u64,
    /// Summed over the requests that had one; divide by `first_byte_count`.
    pub first_byte_us: u64,
    pub first_byte_count: u64,
    pub overhead_us: u64,
}

/// One point of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeriesPoint {
    /// When the hour or day begins.
    pub at: Timestamp,
    #[serde(flatten)]
    pub sum: UsageSum,
}

#[derive(sqlx::FromRow)]
struct Row {
    hour: DbTime,
    group_id: Uuid,
    group_name: String,
    currency: String,
    requests: i64,
    errors: i64,
    #[sqlx(flatten)]
    usage: ClassColumns,
    #[sqlx(flatten)]
    charge: ChargeColumns,
    #[sqlx(flatten)]
    cache_saved: SavedColumns,
    duration_us: i64,
    first_byte_us: i64,
    first_byte_count: i64,
    overhead_us: i64,
}

impl GroupBy {
    /// The column that holds an id, or the one that holds a name.
    const fn columns(self) -> (Option<&'static str>, Option<&'static str>) {
        match self {
            Self::Tenant => (Some("tenant_id"), None),
            Self::Key => (Some("key_id"), None),
            Self::Model => (None, Some("model")),
            Self::Upstream => (None, Some("upstream")),
            Self::Outcome => (None, Some("outcome")),
        }
    }

    fn name(self, row: &Row) -> String {
        match self {
            Self::Tenant => TenantId::from_uuid(row.group_id).to_string(),
            Self::Key => ApiKeyId::from_uuid(row.group_id).to_string(),
            Self::Model | Self::Upstream | Self::Outcome => row.group_name.clone(),
        }
    }
}

impl UsageSum {
    fn add(&mut self, row: &Row) -> Result<(), StoreError> {
        let overflow = || StoreError::Corrupt { table: "usage_rollups_hourly", reason: "a sum is out of range".into() };
        self.requests += count(row.requests);
        self.errors += count(row.errors);
        self.usage = self.usage.checked_add(&row.usage.usage()).ok_or_else(overflow)?;
        if !row.currency.is_empty() {
            let currency: Currency = read_currency("usage_rollups_hourly", &row.currency)?;
            let charge = self.charge.entry(currency.to_string()).or_default();
            *charge = charge.checked_add(row.charge.pico()).ok_or_else(overflow)?;
            let saved = self.cache_saved.entry(currency.to_string()).or_default();
            *saved = saved.checked_add(row.cache_saved.pico()).ok_or_else(overflow)?;
        }
        self.duration_us = self.duration_us.saturating_add(count(row.duration_us));
        self.first_byte_us = self.first_byte_us.saturating_add(count(row.first_byte_us));
        self.first_byte_count += count(row.first_byte_count);
        self.overhead_us = self.overhead_us.saturating_add(count(row.overhead_us));
        Ok(())
    }
}

/// The points from `filter.from` to `filter.to` that are not empty, by time and group.
pub async fn series(
    source: impl Source,
    scope: TenantScope,
    filter: &SumFilter,
    bucket: Bucket,
    group: Option<GroupBy>,
    zone: &str,
) -> Result<Vec<SeriesPoint>, StoreError> {
    let zone = time_zone(zone).map_err(|error| StoreError::Invalid { field: "time_zone", reason: error.to_string() })?;
    let mut points: BTreeMap<(Timestamp, String), UsageSum> = BTreeMap::new();
    for row in rows(source, scope, filter, group, true).await? {
        let at = match bucket {
            Bucket::Hour => row.hour.0,
            Bucket::Day => day_of(row.hour.0, &zone)?,
        };
        let name = group.map(|group| group.name(&row));
        let point = points.entry((at, name.clone().unwrap_or_default())).or_default();
        point.group = name;
        point.add(&row)?;
    }
    Ok(points.into_iter().map(|((at, _), sum)| SeriesPoint { at, sum }).collect())
}

/// One sum, or one for each member of the group, the one with most requests first.
pub async fn totals(
    source: impl Source,
    scope: TenantScope,
    filter: &SumFilter,
    group: Option<GroupBy>,
) -> Result<Vec<UsageSum>, StoreError> {
    let mut sums: BTreeMap<String, UsageSum> = BTreeMap::new();
    if group.is_none() {
        sums.insert(String::new(), UsageSum::default());
    }
    for row in rows(source, scope, filter, group, false).await? {
        let name = group.map(|group| group.name(&row));
        let sum = sums.entry(name.clone().unwrap_or_default()).or_default();
        sum.group = name;
        sum.add(&row)?;
    }
    let mut sums: Vec<_> = sums.into_values().collect();
    sums.sort_by_key(|sum| std::cmp::Reverse(sum.requests));
    Ok(sums)
}

async fn rows(
    source: impl Source,
    scope: TenantScope,
    filter: &SumFilter,
    group: Option<GroupBy>,
    by_hour: bool,
) -> Result<Vec<Row>, StoreError> {
    let from = hour_of(filter.from);
    if (filter.to.micros().saturating_sub(from.micros())) / HOUR_US > MAX_BUCKETS {
        return Err(StoreError::Invalid { field: "to", reason: "the span is longer than 400 days; ask for less".into() });
    }
    let mut conditions = Filter::default();
    conditions.and_time("hour >= ?", Some(from));
    conditions.and_time("hour < ?", Some(filter.to));
    conditions.and_uuid("tenant_id = ?", scope.tenant());
    conditions.and_uuid(CALLS_OF_PERSON, scope.person());
    conditions.and_uuid("tenant_id = ?", filter.tenant.map(TenantId::uuid));
    conditions.and_uuid("key_id = ?", filter.key.map(ApiKeyId::uuid));
    conditions.and_text("model = ?", filter.model.as_deref());
    conditions.and_uuid("upstream_id = ?", filter.upstream.map(UpstreamId::uuid));
    let (id, name) = group.map_or((None, None), GroupBy::columns);
    let grouped: Vec<_> = [by_hour.then_some("hour"), id, name, Some("currency")].into_iter().flatten().collect();
    // What is not grouped by is a bound constant, so that every variant reads into the same row.
    let hour = if by_hour { "hour".to_owned() } else { conditions.push(Bind::Time(DbTime(from))) };
    let id = id.map_or_else(|| conditions.push(Bind::Uuid(Uuid::nil())), str::to_owned);
    let name = name.map_or_else(|| conditions.push(Bind::Text(String::new())), str::to_owned);
    let classes = class_sums();
    let sql = format!(
        "SELECT {hour} AS hour, {id} AS group_id, {name} AS group_name, currency,
            CAST(SUM(requests) AS bigint) AS requests, CAST(SUM(errors) AS bigint) AS errors, {classes}, {ROLLUP_CHARGE},
            {ROLLUP_SAVED},
            CAST(SUM(duration_us) AS bigint) AS duration_us, CAST(SUM(first_byte_us) AS bigint) AS first_byte_us,
            CAST(SUM(first_byte_count) AS bigint) AS first_byte_count, CAST(SUM(overhead_us) AS bigint) AS overhead_us
         FROM usage_rollups_hourly{} GROUP BY {}",
        conditions.sql(),
        grouped.join(", ")
    );
    Ok(query!(source, |conn| bind_all!(sqlx::query_as(AssertSqlSafe(sql)), conditions).fetch_all(conn).await)??)
}

fn day_of(at: Timestamp, zone: &TimeZone) -> Result<Timestamp, StoreError> {
    let day = Period::day_of(at, zone);
    day.map(|day| day.start).map_err(|error| StoreError::Corrupt { table: "usage_rollups_hourly", reason: error.to_string() })
}
