//! What was spent since the month began: how budgets start.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sqlx::AssertSqlSafe;
use tallygate_store::{Db, DbTime, Snapshot, Store, StoreError, query};
use tallygate_types::{Currency, Pico, TenantId, Timestamp};
use uuid::Uuid;

use crate::budget::{Budgets, Spending};
use crate::journal::Journal;
use crate::period::Period;
use crate::prices::read_currency;
use crate::shipper::{self, ShipError};
use crate::span::{Span, Stretch};
use crate::sums::{ChargeColumns, RECORD_CHARGE, ROLLUP_CHARGE};

type Charges = HashMap<(TenantId, Currency), Pico>;

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: Uuid,
    currency: Option<String>,
    #[sqlx(flatten)]
    charge: ChargeColumns,
}

/// The charges of all tenants for requests accepted from `from` (inclusive) to `to` (exclusive).
async fn charges(db: &Db, from: Timestamp, to: Timestamp) -> Result<Charges, StoreError> {
    let span = Span::new(from, to);
    let mut sums = Charges::new();
    if let Some(hours) = span.hours {
        let sql = format!(
            "SELECT tenant_id, currency, {ROLLUP_CHARGE} FROM usage_rollups_hourly
             WHERE hour >= $1 AND hour < $2 AND currency <> '' GROUP BY tenant_id, currency"
        );
        add(&mut sums, rows(db, sql, hours).await?)?;
    }
    for edge in span.edges {
        let sql = format!(
            "SELECT tenant_id, currency, {RECORD_CHARGE} FROM usage_records
             WHERE accepted_at >= $1 AND accepted_at < $2 AND currency IS NOT NULL GROUP BY tenant_id, currency"
        );
        add(&mut sums, rows(db, sql, edge).await?)?;
    }
    Ok(sums)
}

async fn rows(db: &Db, sql: String, stretch: Stretch) -> Result<Vec<Row>, StoreError> {
    let (from, to) = (DbTime(stretch.0), DbTime(stretch.1));
    Ok(query!(db, |conn| sqlx::query_as(AssertSqlSafe(sql)).bind(from).bind(to).fetch_all(conn).await)??)
}

fn add(sums: &mut Charges, rows: Vec<Row>) -> Result<(), StoreError> {
    for row in rows {
        let currency = read_currency("usage", row.currency.as_deref().unwrap_or_default())?;
        let sum = sums.entry((TenantId::from_uuid(row.tenant_id), currency)).or_default();
        *sum = sum.checked_add(row.charge.pico()).unwrap_or(*sum);
    }
    Ok(())
}

impl Budgets {
    /// Takes the spending of each tenant's current month from the database and from what the journal has not shipped yet.
    ///
    /// For the start, before the first request and before the shipper runs: what is shipped meanwhile would count twice.
    pub async fn reload(
        &self,
        store: &Store,
        snapshot: &Snapshot,
        journal: &Arc<Journal>,
        now: Timestamp,
    ) -> Result<(), ShipError> {
        let zone_of = |tenant: TenantId| snapshot.tenants.get(&tenant).map(|tenant| &tenant.time_zone);
        let zones: BTreeSet<&Arc<str>> = snapshot.tenants.values().map(|tenant| &tenant.time_zone).collect();
        let mut periods = HashMap::new();
        let mut sums = Charges::new();
        for zone in zones {
            let Ok(period) = Period::month_of(now, zone) else {
                tracing::warn!(%zone, "unknown time zone; budgets of its tenants start at zero");
                continue;
            };
            let charged = charges(store.db(), period.start, period.end).await?;
            sums.extend(charged.into_iter().filter(|((tenant, _), _)| zone_of(*tenant) == Some(zone)));
            periods.insert(zone, period);
        }
        let period_of = |tenant| periods.get(zone_of(tenant)?);
        let mut from = shipper::watermark(store, journal).await?;
        loop {
            let batch = shipper::read(journal, from).await?;
            for record in &batch.records {
                let is_now = period_of(record.tenant_id).is_some_and(|period| period.contains(record.accepted_at));
                if let Some(currency) = record.currency.filter(|_| is_now) {
                    let sum = sums.entry((record.tenant_id, currency)).or_default();
                    *sum = sum.checked_add(record.charge).unwrap_or(*sum);
                }
            }
            if batch.next == from {
                break;
            }
            from = batch.next;
        }
        let spent = sums.into_iter().filter_map(|((tenant, currency), amount)| {
            Some(Spending { tenant, zone: Arc::clone(zone_of(tenant)?), currency, amount })
        });
        self.load(spent, now);
        Ok(())
    }
}
