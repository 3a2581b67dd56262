//! The windows of budgets in the database.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use sqlx::{PgConnection, Sqlite};
use tallygate_store::{BudgetPeriod, Conn, DbTime, ManyRows, Source, SplitAmount, Store, StoreError, Tx, query};
use tallygate_types::{BudgetId, Currency, Pico, TenantId, Timestamp};
use uuid::Uuid;

use super::draws::Draw;
use super::ledger::Window;
use crate::record::UsageRecord;

/// Which row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub budget: BudgetId,
    pub subject: Box<str>,
    pub period: BudgetPeriod,
    pub since: Timestamp,
    pub currency: Currency,
}

/// What a row is made of that is not there yet, and the budget's amount now, where it is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    pub until: Timestamp,
    pub limit: Option<i128>,
}

/// A row that this transaction alone may change, and the lease of one process on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub window: Window,
    pub lease: i128,
    /// There is a row of the lease.
    is_kept: bool,
}

/// What records drew from each account.
#[derive(Debug, Default)]
pub(crate) struct Sums(BTreeMap<Place, (Draw, Pico)>);

/// What is spent of a window, after a batch was booked.
#[derive(Debug, Clone)]
pub(crate) struct Spent {
    pub draw: Draw,
    pub currency: Currency,
    pub amount: Pico,
}

/// Where a window of a budget stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowState {
    pub budget: BudgetId,
    pub subject: String,
    pub period: BudgetPeriod,
    pub since: Timestamp,
    pub until: Timestamp,
    pub currency: Currency,
    /// All of it, overspent included.
    pub spent: Pico,
    pub overspent: Pico,
    /// Held by processes, for requests under way or to come.
    pub leased: Pico,
}

static SPEND: LazyLock<ManyRows> = LazyLock::new(|| {
    ManyRows::new(8, |rows| {
        format!(
            "INSERT INTO budget_windows AS w (budget_id, subject, period, since, currency, until, spent_units, spent_pico)
             VALUES {rows} ON CONFLICT (budget_id, subject, period, since, currency) DO UPDATE SET
                spent_units = w.spent_units + excluded.spent_units + (w.spent_pico + excluded.spent_pico) / 1000000000000,
                spent_pico = (w.spent_pico + excluded.spent_pico) % 1000000000000"
        )
    })
});

impl Place {
    pub fn of(draw: &Draw, currency: Currency) -> Self {
        let Draw { budget, subject, period, since, .. } = draw;
        Self { budget: *budget, subject: subject.clone(), period: *period, since: *since, currency }
    }
}

impl Place {
    pub fn of_state(state: &WindowState) -> Self {
        let WindowState { budget, period, since, currency, .. } = *state;
        Self { budget, subject: state.subject.as_str().into(), period, since, currency }
    }
}

impl Sums {
    pub(crate) fn add(&mut self, record: &UsageRecord) -> Result<(), StoreError> {
        let Some(currency) = record.currency.filter(|_| record.charge > Pico::ZERO) else { return Ok(()) };
        for draw in record.budgets.as_slice() {
            let (_, sum) = self.0.entry(Place::of(draw, currency)).or_insert_with(|| (draw.clone(), Pico::ZERO));
            *sum = sum.checked_add(record.charge).ok_or_else(too_much)?;
        }
        Ok(())
    }

    /// Books them: out of the leases of `node`, where there are any. What is spent then of the budgets that are `watched`.
    pub(crate) async fn write(
        &self,
        tx: &mut Tx,
        node: &str,
        watched: impl Fn(BudgetId) -> bool,
    ) -> Result<Vec<Spent>, StoreError> {
        let mut spent = Vec::new();
        if self.0.is_empty() {
            return Ok(spent);
        }
        let watched = || self.0.iter().filter(|(place, _)| watched(place.budget));
        match Source::place(&mut *tx).connection().await? {
            Conn::Pg(mut conn) => {
                let made = |draw: &Draw| Made { until: draw.until, limit: None };
                let places = self.0.iter().map(|(place, (draw, _))| (place, made(draw)));
                let mut held = lock(&mut conn, node, places).await?;
                for (place, (_, sum)) in &self.0 {
                    let Some(Held { window, lease, .. }) = held.get_mut(place) else { continue };
                    window.settle(lease, sum.get());
                }
                save(&mut conn, node, &held).await?;
                for (place, (draw, _)) in watched() {
                    let window = held.get(place).map(|held| held.window).unwrap_or_default();
                    let amount = Pico::new(window.spent.saturating_add(window.overspent));
                    spent.push(Spent { draw: draw.clone(), currency: place.currency, amount });
                }
            }
            // The one process over SQLite holds no leases.
            Conn::Lite(mut conn) => {
                let mut rows = Vec::with_capacity(self.0.len());
                for (place, (draw, sum)) in &self.0 {
                    rows.push((place, (draw.until, SplitAmount::from_pico(*sum).ok_or_else(too_much)?)));
                }
                for (text, rows) in SPEND.split(&rows) {
                    type Spent<'a> = (&'a Place, (Timestamp, SplitAmount));
                    let bind = |query: sqlx::query::Query<'static, Sqlite, _>, (place, (until, sum)): &Spent<'_>| {
                        query
                            .bind(place.budget.uuid())
                            .bind(place.subject.to_string())
                            .bind(place.period.as_str())
                            .bind(DbTime(place.since))
                            .bind(place.currency.to_string())
                            .bind(DbTime(*until))
                            .bind(sum.units)
                            .bind(sum.pico)
                    };
                    rows.iter().fold(sqlx::query(text), bind).execute(&mut *conn).await?;
                }
                drop(conn);
                for (place, (draw, _)) in watched() {
                    let amount = at(tx, place).await?.map_or(Pico::ZERO, |window| window.spent);
                    spent.push(Spent { draw: draw.clone(), currency: place.currency, amount });
                }
            }
        }
        Ok(spent)
    }
}

/// Locks the rows of these places until the transaction ends, making those that are not there; with a limit where one is told. What
/// they hold, and the leases of `node` on them.
pub(super) async fn lock(
    conn: &mut PgConnection,
    node: &str,
    places: impl Iterator<Item = (&Place, Made)>,
) -> Result<BTreeMap<Place, Held>, StoreError> {
    // In one order, so that two transactions never wait for each other in turn.
    let places: BTreeMap<&Place, Made> = places.collect();
    let columns = Columns::of(places.keys().copied());
    let untils: Vec<_> = places.values().map(|made| DbTime(made.until)).collect();
    sqlx::query(
        "INSERT INTO budget_windows (budget_id, subject, period, since, currency, until)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::timestamptz[])
         ON CONFLICT DO NOTHING",
    )
    .bind(&columns.budgets)
    .bind(&columns.subjects)
    .bind(&columns.periods)
    .bind(&columns.since)
    .bind(&columns.currencies)
    .bind(untils)
    .execute(&mut *conn)
    .await?;
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT w.budget_id, w.subject, w.period, w.since, w.until, w.currency, w.limit_units, w.limit_pico, w.spent_units,
                w.spent_pico, w.overspent_units, w.overspent_pico, w.leased_units, w.leased_pico
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[])
              AS a (budget_id, subject, period, since, currency)
         JOIN budget_windows w USING (budget_id, subject, period, since, currency)
         ORDER BY w.budget_id, w.subject, w.period, w.since, w.currency FOR UPDATE OF w",
    )
    .bind(&columns.budgets)
    .bind(&columns.subjects)
    .bind(&columns.periods)
    .bind(&columns.since)
    .bind(&columns.currencies)
    .fetch_all(&mut *conn)
    .await?;
    // In a question of its own: joined to the first they would be of before the lock was had.
    let leases: Vec<LeaseRow> = sqlx::query_as(
        "SELECT l.budget_id, l.subject, l.period, l.since, l.currency, l.lease_units, l.lease_pico
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[])
              AS a (budget_id, subject, period, since, currency)
         JOIN budget_leases l USING (budget_id, subject, period, since, currency) WHERE l.node = $6",
    )
    .bind(&columns.budgets)
    .bind(&columns.subjects)
    .bind(&columns.periods)
    .bind(&columns.since)
    .bind(&columns.currencies)
    .bind(node)
    .fetch_all(&mut *conn)
    .await?;
    let leases: BTreeMap<Place, i128> = leases.into_iter().map(LeaseRow::read).collect::<Result<_, _>>()?;
    rows.into_iter()
        .map(|row| {
            let (place, _, mut window) = row.read()?;
            if let Some(limit) = places.get(&place).and_then(|made| made.limit) {
                window.limit = Some(limit);
            }
            let lease = leases.get(&place);
            let held = Held { window, lease: lease.copied().unwrap_or(0), is_kept: lease.is_some() };
            Ok((place, held))
        })
        .collect()
}

/// The places that `node` holds leases on.
pub(super) async fn leased_by(conn: &mut PgConnection, node: &str) -> Result<Vec<Place>, StoreError> {
    let rows: Vec<LeaseRow> = sqlx::query_as(
        "SELECT budget_id, subject, period, since, currency, lease_units, lease_pico FROM budget_leases WHERE node = $1",
    )
    .bind(node)
    .fetch_all(&mut *conn)
    .await?;
    rows.into_iter().map(|row| row.read().map(|(place, _)| place)).collect()
}

/// Notes that somebody asked for more than there is.
pub(super) async fn want(conn: &mut PgConnection, places: impl Iterator<Item = &Place>) -> Result<(), StoreError> {
    let columns = Columns::of(places);
    if columns.budgets.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE budget_windows w SET wanted_at = now()
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[])
              AS a (budget_id, subject, period, since, currency)
         WHERE (w.budget_id, w.subject, w.period, w.since, w.currency) = (a.budget_id, a.subject, a.period, a.since, a.currency)",
    )
    .bind(&columns.budgets)
    .bind(&columns.subjects)
    .bind(&columns.periods)
    .bind(&columns.since)
    .bind(&columns.currencies)
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Writes what became of them.
pub(super) async fn save(conn: &mut PgConnection, node: &str, held: &BTreeMap<Place, Held>) -> Result<(), StoreError> {
    let columns = Columns::of(held.keys());
    let windows = || held.values().map(|held| held.window);
    let limits = split(windows().map(|window| window.limit))?;
    let spent = split(windows().map(|window| Some(window.spent)))?;
    let overspent = split(windows().map(|window| Some(window.overspent)))?;
    let leased = split(windows().map(|window| Some(window.leased)))?;
    sqlx::query(
        "UPDATE budget_windows w SET limit_units = a.limit_units, limit_pico = a.limit_pico, spent_units = a.spent_units,
                spent_pico = a.spent_pico, overspent_units = a.overspent_units, overspent_pico = a.overspent_pico,
                leased_units = a.leased_units, leased_pico = a.leased_pico
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::bigint[], $7::bigint[],
                $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[])
              AS a (budget_id, subject, period, since, currency, limit_units, limit_pico, spent_units, spent_pico,
                overspent_units, overspent_pico, leased_units, leased_pico)
         WHERE (w.budget_id, w.subject, w.period, w.since, w.currency) = (a.budget_id, a.subject, a.period, a.since, a.currency)",
    )
    .bind(&columns.budgets)
    .bind(&columns.subjects)
    .bind(&columns.periods)
    .bind(&columns.since)
    .bind(&columns.currencies)
    .bind(limits.0)
    .bind(limits.1)
    .bind(spent.0)
    .bind(spent.1)
    .bind(overspent.0)
    .bind(overspent.1)
    .bind(leased.0)
    .bind(leased.1)
    .execute(&mut *conn)
    .await?;
    let with_lease = || held.iter().filter(|(_, held)| held.is_kept || held.lease > 0);
    if with_lease().next().is_none() {
        return Ok(());
    }
    let columns = Columns::of(with_lease().map(|(place, _)| place));
    let leases = split(with_lease().map(|(_, held)| Some(held.lease)))?;
    sqlx::query(
        "INSERT INTO budget_leases (budget_id, subject, period, since, currency, node, lease_units, lease_pico)
         SELECT budget_id, subject, period, since, currency, $6, lease_units, lease_pico
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $7::bigint[], $8::bigint[])
              AS a (budget_id, subject, period, since, currency, lease_units, lease_pico)
         ON CONFLICT (budget_id, subject, period, since, currency, node) DO UPDATE SET
            lease_units = excluded.lease_units, lease_pico = excluded.lease_pico",
    )
    .bind(&columns.budgets)
    .bind(&columns.subjects)
    .bind(&columns.periods)
    .bind(&columns.since)
    .bind(&columns.currencies)
    .bind(node)
    .bind(leases.0)
    .bind(leases.1)
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Forgets windows that ended before, a thousand in a transaction; how many went.
pub async fn drop_ended_before(store: &Store, before: Timestamp) -> Result<u64, StoreError> {
    const AT_ONCE: i64 = 1_000;
    let mut dropped = 0;
    loop {
        let mut tx = store.begin().await?;
        let gone: u64 = query!(&mut tx, |conn| {
            sqlx::query(
                "DELETE FROM budget_windows WHERE (budget_id, subject, period, since, currency) IN
                    (SELECT budget_id, subject, period, since, currency FROM budget_windows
                     WHERE until < $1 ORDER BY until LIMIT $2)",
            )
            .bind(DbTime(before))
            .bind(AT_ONCE)
            .execute(conn)
            .await
            .map(|done| done.rows_affected())
        })??;
        tx.commit().await?;
        dropped += gone;
        if gone < AT_ONCE.unsigned_abs() {
            return Ok(dropped);
        }
    }
}

type Column = Vec<Option<i64>>;

/// Two columns of amounts.
fn split(amounts: impl Iterator<Item = Option<i128>>) -> Result<(Column, Column), StoreError> {
    let split = |amount: Option<i128>| match amount {
        Some(amount) => {
            let SplitAmount { units, pico } = SplitAmount::from_pico(Pico::new(amount)).ok_or_else(too_much)?;
            Ok((Some(units), Some(pico)))
        }
        None => Ok((None, None)),
    };
    amounts.map(split).collect()
}

/// A column each of what tells rows apart.
struct Columns {
    budgets: Vec<Uuid>,
    subjects: Vec<String>,
    periods: Vec<String>,
    since: Vec<DbTime>,
    currencies: Vec<String>,
}

impl Columns {
    fn of<'a>(places: impl Iterator<Item = &'a Place>) -> Self {
        let mut columns = Self { budgets: vec![], subjects: vec![], periods: vec![], since: vec![], currencies: vec![] };
        for place in places {
            columns.budgets.push(place.budget.uuid());
            columns.subjects.push(place.subject.to_string());
            columns.periods.push(place.period.as_str().to_owned());
            columns.since.push(DbTime(place.since));
            columns.currencies.push(place.currency.to_string());
        }
        columns
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    budget_id: Uuid,
    subject: String,
    period: String,
    since: DbTime,
    until: DbTime,
    currency: String,
    limit_units: Option<i64>,
    limit_pico: Option<i64>,
    spent_units: i64,
    spent_pico: i64,
    overspent_units: i64,
    overspent_pico: i64,
    leased_units: i64,
    leased_pico: i64,
}

#[derive(sqlx::FromRow)]
pub(super) struct LeaseRow {
    budget_id: Uuid,
    subject: String,
    period: String,
    since: DbTime,
    currency: String,
    lease_units: i64,
    lease_pico: i64,
}

impl LeaseRow {
    pub(super) fn read(self) -> Result<(Place, i128), StoreError> {
        let place = place(self.budget_id, self.subject, &self.period, self.since, &self.currency)?;
        Ok((place, SplitAmount { units: self.lease_units, pico: self.lease_pico }.to_pico().get()))
    }
}

fn place(budget: Uuid, subject: String, period: &str, since: DbTime, currency: &str) -> Result<Place, StoreError> {
    let corrupt = |e: &dyn std::fmt::Display| StoreError::Corrupt { table: "budget_windows", reason: e.to_string() };
    Ok(Place {
        budget: BudgetId::from_uuid(budget),
        subject: subject.into(),
        period: period.parse().map_err(|e| corrupt(&e))?,
        since: since.0,
        currency: currency.parse().map_err(|e| corrupt(&e))?,
    })
}

impl Row {
    pub(super) fn read(self) -> Result<(Place, Timestamp, Window), StoreError> {
        let amount = |units, pico| SplitAmount { units, pico }.to_pico().get();
        let window = Window {
            limit: self.limit_units.map(|units| amount(units, self.limit_pico.unwrap_or(0))),
            spent: amount(self.spent_units, self.spent_pico),
            overspent: amount(self.overspent_units, self.overspent_pico),
            leased: amount(self.leased_units, self.leased_pico),
        };
        let place = place(self.budget_id, self.subject, &self.period, self.since, &self.currency)?;
        Ok((place, self.until.0, window))
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT w.budget_id, w.subject, w.period, w.since, w.until, w.currency, w.limit_units, w.limit_pico, w.spent_units,
                    w.spent_pico, w.overspent_units, w.overspent_pico, w.leased_units, w.leased_pico FROM budget_windows w ",
            $rest
        )
    };
}

/// The windows at `now` of these budgets of a tenant, those of single end users included up to `most`.
pub async fn of_tenant(source: impl Source, tenant: TenantId, now: Timestamp, most: u32) -> Result<Vec<WindowState>, StoreError> {
    let rows: Vec<Row> = query!(source, |conn| {
        sqlx::query_as(select!(
            "WHERE (w.budget_id IN ($1, $4) OR w.budget_id IN (SELECT id FROM budgets WHERE tenant_id = $1))
             AND w.since <= $2 AND w.until > $2 ORDER BY w.subject, w.budget_id LIMIT $3"
        ))
        .bind(tenant.uuid())
        .bind(DbTime(now))
        .bind(i64::from(most))
        .bind(BudgetId::of_balance(tenant).uuid())
        .fetch_all(conn)
        .await
    })??;
    rows.into_iter().map(|row| row.read().map(|(place, until, window)| WindowState::of(place, until, &window))).collect()
}

/// The windows at `now` of budgets that are nobody's alone among a tenant's end users, those first of which most was spent.
pub async fn largest(source: impl Source, now: Timestamp, most: u32) -> Result<Vec<WindowState>, StoreError> {
    let rows: Vec<Row> = query!(source, |conn| {
        sqlx::query_as(select!("WHERE w.subject = '' AND w.since <= $1 AND w.until > $1 ORDER BY w.spent_units DESC LIMIT $2"))
            .bind(DbTime(now))
            .bind(i64::from(most))
            .fetch_all(conn)
            .await
    })??;
    rows.into_iter().map(|row| row.read().map(|(place, until, window)| WindowState::of(place, until, &window))).collect()
}

/// One window.
pub(super) async fn at(tx: &mut Tx, place: &Place) -> Result<Option<WindowState>, StoreError> {
    let row: Option<Row> = query!(tx, |conn| {
        sqlx::query_as(select!(
            "WHERE w.budget_id = $1 AND w.subject = $2 AND w.period = $3 AND w.since = $4 AND w.currency = $5"
        ))
        .bind(place.budget.uuid())
        .bind(place.subject.to_string())
        .bind(place.period.as_str())
        .bind(DbTime(place.since))
        .bind(place.currency.to_string())
        .fetch_optional(conn)
        .await
    })??;
    row.map(|row| row.read().map(|(place, until, window)| WindowState::of(place, until, &window))).transpose()
}

/// All windows at `now`.
pub(super) async fn open(source: impl Source, now: Timestamp) -> Result<Vec<WindowState>, StoreError> {
    let rows: Vec<Row> = query!(source, |conn| {
        sqlx::query_as(select!("WHERE w.since <= $1 AND w.until > $1")).bind(DbTime(now)).fetch_all(conn).await
    })??;
    rows.into_iter().map(|row| row.read().map(|(place, until, window)| WindowState::of(place, until, &window))).collect()
}

impl WindowState {
    fn of(place: Place, until: Timestamp, window: &Window) -> Self {
        let Place { budget, subject, period, since, currency } = place;
        Self {
            budget,
            subject: subject.into(),
            period,
            since,
            until,
            currency,
            spent: Pico::new(window.spent.saturating_add(window.overspent)),
            overspent: Pico::new(window.overspent),
            leased: Pico::new(window.leased),
        }
    }
}

pub(super) fn too_much() -> StoreError {
    StoreError::Invalid { field: "budget", reason: "a sum is beyond what can be recorded".into() }
}
