//! A tenant's bill for a month: the exact sum of its usage records, shown by model, class and price version.
//!
//! Nothing is rounded but the total of each currency, and the rounding is a line of the bill.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use sqlx::AssertSqlSafe;
use tallygate_store::{DbTime, Store, StoreError, TenantScope, query, tenants};
use tallygate_types::{Currency, ModelId, Pico, PriceVersionId, TenantId, Timestamp, UnitPrice, Usage, UsageClass};
use uuid::Uuid;

use crate::csv_text::{self, safe};
use crate::period::{Period, PeriodError};
use crate::price::PriceVersion;
use crate::prices::{self, read_currency};
use crate::span::{Span, Stretch};
use crate::sql::count;
use crate::sums::{ChargeColumns, ClassColumns, RECORD_CHARGE, ROLLUP_CHARGE, class_sums};

/// A bill as of now: it changes as long as usage of its period comes in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bill {
    pub tenant_id: TenantId,
    pub tenant: String,
    /// Year and month: `2026-11`.
    pub period: String,
    pub time_zone: String,
    /// Inclusive.
    pub period_start: Timestamp,
    /// Exclusive.
    pub period_end: Timestamp,
    /// Whether the period has ended.
    pub is_complete: bool,
    pub generated_at: Timestamp,
    /// Every request of the period, refused ones too.
    pub requests: u64,
    /// The requests nothing was charged for, and what they used.
    pub not_charged: NotCharged,
    /// One for each currency, by code.
    pub sections: Vec<BillSection>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct NotCharged {
    pub requests: u64,
    pub usage: Usage,
}

/// What is due in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BillSection {
    pub currency: Currency,
    /// Requests that were charged.
    pub requests: u64,
    pub lines: Vec<BillLine>,
    /// Charges that no line explains; zero unless something is wrong.
    pub unexplained: Pico,
    /// The exact sum.
    pub total_exact: Pico,
    /// `total` − `total_exact`.
    pub rounding: Pico,
    /// Half to even, at the currency's minor unit: `"12.50"`.
    pub total: String,
}

/// One model, class and price version: `tokens` × unit price = `amount`, to the pico.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BillLine {
    pub model_id: ModelId,
    pub model: String,
    pub class: UsageClass,
    /// The class whose price applied.
    pub priced_as: UsageClass,
    pub price_version_id: PriceVersionId,
    pub price_valid_from: Timestamp,
    pub tokens: u64,
    pub unit_price_per_million: String,
    pub amount: Pico,
}

#[derive(Debug, thiserror::Error)]
pub enum BillError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Period(#[from] PeriodError),
    #[error("a sum of the bill is beyond what can be held")]
    Overflow,
}

#[derive(sqlx::FromRow)]
struct Row {
    model_id: Uuid,
    model: String,
    price_version_id: Uuid,
    currency: String,
    requests: i64,
    #[sqlx(flatten)]
    usage: ClassColumns,
    #[sqlx(flatten)]
    charge: ChargeColumns,
}

/// What the rows are summed by. The model's name is part of it: a renamed model has a line under each name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    currency: String,
    model: String,
    model_id: Uuid,
    price: Uuid,
}

#[derive(Debug, Default)]
struct Sum {
    requests: u64,
    usage: Usage,
    charge: Pico,
}

/// The bill of `tenant` for `period` (`2026-11`), in the tenant's time zone.
pub async fn bill(store: &Store, scope: TenantScope, tenant: TenantId, period: &str) -> Result<Bill, BillError> {
    let tenant = tenants::get(store, scope, tenant).await?;
    let span = Period::month(period, &tenant.time_zone)?;
    let sums = sums(store, tenant.id, span).await?;
    let versions: HashMap<_, _> = prices::list(store, None).await?.into_iter().map(|version| (version.id, version)).collect();
    let now = store.clock().now();
    let mut bill = Bill {
        tenant_id: tenant.id,
        tenant: tenant.name,
        period: period.to_owned(),
        time_zone: tenant.time_zone,
        period_start: span.start,
        period_end: span.end,
        is_complete: now >= span.end,
        generated_at: now,
        requests: 0,
        not_charged: NotCharged::default(),
        sections: Vec::new(),
    };
    let mut sections: BTreeMap<String, BillSection> = BTreeMap::new();
    for (key, sum) in sums {
        bill.requests += sum.requests;
        if sum.charge == Pico::ZERO && key.price.is_nil() {
            bill.not_charged.requests += sum.requests;
            bill.not_charged.usage = bill.not_charged.usage.checked_add(&sum.usage).ok_or(BillError::Overflow)?;
            continue;
        }
        let currency = read_currency("usage", &key.currency)?;
        let section = sections.entry(key.currency.clone()).or_insert_with(|| BillSection::empty(currency));
        section.add(&key, &sum, versions.get(&PriceVersionId::from_uuid(key.price)))?;
    }
    bill.sections = sections.into_values().map(BillSection::rounded).collect::<Result<_, _>>()?;
    Ok(bill)
}

impl BillSection {
    fn empty(currency: Currency) -> Self {
        Self {
            currency,
            requests: 0,
            lines: Vec::new(),
            unexplained: Pico::ZERO,
            total_exact: Pico::ZERO,
            rounding: Pico::ZERO,
            total: String::new(),
        }
    }

    fn add(&mut self, key: &Key, sum: &Sum, version: Option<&PriceVersion>) -> Result<(), BillError> {
        let add = |a: Pico, b: Pico| a.checked_add(b).ok_or(BillError::Overflow);
        self.requests += sum.requests;
        self.total_exact = add(self.total_exact, sum.charge)?;
        let mut explained = Pico::ZERO;
        // A sum over a month may be more than a record may hold, so the lines are made class by class.
        for (class, tokens) in sum.usage.iter() {
            let Some((version, (priced_as, price))) = version.and_then(|v| Some((v, v.prices.effective(class)?))) else {
                continue;
            };
            let amount = price.checked_mul(tokens).ok_or(BillError::Overflow)?;
            explained = add(explained, amount)?;
            self.lines.push(BillLine {
                model_id: ModelId::from_uuid(key.model_id),
                model: key.model.clone(),
                class,
                priced_as,
                price_version_id: version.id,
                price_valid_from: version.valid_from,
                tokens,
                unit_price_per_million: UnitPrice::to_per_million(price),
                amount,
            });
        }
        let rest = sum.charge.checked_sub(explained).ok_or(BillError::Overflow)?;
        self.unexplained = add(self.unexplained, rest)?;
        Ok(())
    }

    fn rounded(mut self) -> Result<Self, BillError> {
        let decimals = self.currency.decimals();
        let total = self.total_exact.round_half_even(decimals);
        self.rounding = total.checked_sub(self.total_exact).ok_or(BillError::Overflow)?;
        self.total = total.to_fixed(decimals);
        self.lines.sort_by(|a, b| {
            (&a.model, a.price_valid_from, a.price_version_id, a.class).cmp(&(
                &b.model,
                b.price_valid_from,
                b.price_version_id,
                b.class,
            ))
        });
        Ok(self)
    }
}

async fn sums(store: &Store, tenant: TenantId, period: Period) -> Result<BTreeMap<Key, Sum>, BillError> {
    let span = Span::new(period.start, period.end);
    let mut sums = BTreeMap::new();
    let classes = class_sums();
    if let Some(hours) = span.hours {
        let sql = format!(
            "SELECT model_id, model, price_version_id, currency, CAST(SUM(requests) AS bigint) AS requests, {classes}, {ROLLUP_CHARGE}
             FROM usage_rollups_hourly WHERE tenant_id = $1 AND hour >= $2 AND hour < $3
             GROUP BY model_id, model, price_version_id, currency"
        );
        add(&mut sums, rows(store, sql, tenant, hours, None).await?)?;
    }
    for edge in span.edges {
        // As the rollups have it: what is not charged stands under no price version.
        let sql = format!(
            "SELECT COALESCE(model_id, $4) AS model_id, CASE WHEN model_id IS NULL THEN '' ELSE model END AS model,
                CASE WHEN charge = 0 OR price_version_id IS NULL THEN $4 ELSE price_version_id END AS price_version_id,
                COALESCE(currency, '') AS currency, CAST(COUNT(*) AS bigint) AS requests, {classes}, {RECORD_CHARGE}
             FROM usage_records WHERE tenant_id = $1 AND accepted_at >= $2 AND accepted_at < $3 GROUP BY 1, 2, 3, 4"
        );
        add(&mut sums, rows(store, sql, tenant, edge, Some(Uuid::nil())).await?)?;
    }
    Ok(sums)
}

async fn rows(
    store: &Store,
    sql: String,
    tenant: TenantId,
    (from, to): Stretch,
    nil: Option<Uuid>,
) -> Result<Vec<Row>, StoreError> {
    Ok(query!(store, |conn| {
        let mut query = sqlx::query_as(AssertSqlSafe(sql)).bind(tenant.uuid()).bind(DbTime(from)).bind(DbTime(to));
        if let Some(nil) = nil {
            query = query.bind(nil);
        }
        query.fetch_all(conn).await
    })??)
}

fn add(sums: &mut BTreeMap<Key, Sum>, rows: Vec<Row>) -> Result<(), BillError> {
    for row in rows {
        let key = Key { currency: row.currency, model: row.model, model_id: row.model_id, price: row.price_version_id };
        let sum: &mut Sum = sums.entry(key).or_default();
        sum.requests += count(row.requests);
        sum.usage = sum.usage.checked_add(&row.usage.usage()).ok_or(BillError::Overflow)?;
        sum.charge = sum.charge.checked_add(row.charge.pico()).ok_or(BillError::Overflow)?;
    }
    Ok(())
}

const CSV_HEADER: [&str; 17] = [
    "tenant_id",
    "tenant",
    "period",
    "time_zone",
    "period_start",
    "period_end",
    "currency",
    "kind",
    "model",
    "class",
    "priced_as",
    "price_version_id",
    "price_valid_from",
    "requests",
    "tokens",
    "unit_price_per_million",
    "amount",
];

impl Bill {
    /// One row a line; then, for each currency, what no line explains (if anything), the rounding and the total. The rows
    /// of a currency but its `total` add up to its total.
    pub fn to_csv(&self) -> String {
        let mut rows = vec![CSV_HEADER.map(str::to_owned).to_vec()];
        for section in &self.sections {
            let row = |kind: &str, cells: [String; 9]| {
                let mut row = vec![
                    self.tenant_id.to_string(),
                    safe(&self.tenant),
                    self.period.clone(),
                    self.time_zone.clone(),
                    self.period_start.to_string(),
                    self.period_end.to_string(),
                    section.currency.to_string(),
                    kind.to_owned(),
                ];
                row.extend(cells);
                row
            };
            let amount_only = |amount: String| {
                let mut cells: [String; 9] = Default::default();
                cells[8] = amount;
                cells
            };
            for line in &section.lines {
                rows.push(row(
                    "usage",
                    [
                        safe(&line.model),
                        line.class.to_string(),
                        line.priced_as.to_string(),
                        line.price_version_id.to_string(),
                        line.price_valid_from.to_string(),
                        String::new(),
                        line.tokens.to_string(),
                        line.unit_price_per_million.clone(),
                        line.amount.to_string(),
                    ],
                ));
            }
            if section.unexplained != Pico::ZERO {
                rows.push(row("unexplained", amount_only(section.unexplained.to_string())));
            }
            rows.push(row("rounding", amount_only(section.rounding.to_string())));
            let mut total = amount_only(section.total.clone());
            total[5] = section.requests.to_string();
            rows.push(row("total", total));
        }
        csv_text::write(rows)
    }

    /// The bill as one JSON object; amounts are decimal text.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
