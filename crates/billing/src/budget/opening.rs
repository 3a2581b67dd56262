//! What was spent of a window before its account is first drawn on: a budget may be made, or changed, in mid-month.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sqlx::AssertSqlSafe;
use tallygate_store::budgets::BudgetScope;
use tallygate_store::{BudgetEntry, BudgetPeriod, Db, DbTime, Snapshot, SplitAmount, Store, StoreError, TenantEntry, query};
use tallygate_types::{Currency, Pico, TenantId, Timestamp};
use uuid::Uuid;

use super::account::window;
use super::accounts::Budgets;
use super::windows::{self, Place};
use crate::alerts::Rules;
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

/// Whose records of a stretch are summed up, as a condition on `$4` and `$5`.
struct Whose<'a> {
    sql: &'static str,
    id: Option<Uuid>,
    name: Option<&'a str>,
    /// The rollups do not tell end users apart.
    is_in_rollups: bool,
}

impl<'a> Whose<'a> {
    fn of(scope: &'a BudgetScope) -> Self {
        let (sql, id, name) = match scope {
            BudgetScope::Tenant => ("$4 IS NULL AND $5 IS NULL", None, None),
            BudgetScope::Key { key_id } => ("key_id = $4 AND $5 IS NULL", Some(key_id.uuid()), None),
            BudgetScope::Project { project_id } => (
                "key_id IN (SELECT k.id FROM api_keys k JOIN projects p ON p.tenant_id = k.tenant_id AND p.name = k.project
                    WHERE p.id = $4) AND $5 IS NULL",
                Some(project_id.uuid()),
                None,
            ),
            BudgetScope::Model { model } => {
                ("$4 IS NULL AND model_id IN (SELECT id FROM models WHERE name = $5)", None, Some(model.as_str()))
            }
            BudgetScope::EndUser { end_user } => ("$4 IS NULL AND end_user = $5", None, end_user.as_deref()),
        };
        Self { sql, id, name, is_in_rollups: !matches!(scope, BudgetScope::EndUser { .. }) }
    }

    /// What they were charged in a window, of one tenant or of each.
    async fn charges(&self, db: &Db, tenant: Option<TenantId>, window: Period) -> Result<Charges, StoreError> {
        let span = if self.is_in_rollups {
            Span::new(window.start, window.end)
        } else {
            Span { hours: None, edges: vec![(window.start, window.end)] }
        };
        let mut sums = Charges::new();
        if let Some(hours) = span.hours {
            let sql = format!(
                "SELECT tenant_id, currency, {ROLLUP_CHARGE} FROM usage_rollups_hourly
                 WHERE hour >= $1 AND hour < $2 AND ($3 IS NULL OR tenant_id = $3) AND {} AND currency <> ''
                 GROUP BY tenant_id, currency",
                self.sql
            );
            self.add(db, &mut sums, sql, tenant, hours).await?;
        }
        for edge in span.edges {
            let sql = format!(
                "SELECT tenant_id, currency, {RECORD_CHARGE} FROM usage_records
                 WHERE accepted_at >= $1 AND accepted_at < $2 AND ($3 IS NULL OR tenant_id = $3) AND {} AND currency IS NOT NULL
                 GROUP BY tenant_id, currency",
                self.sql
            );
            self.add(db, &mut sums, sql, tenant, edge).await?;
        }
        Ok(sums)
    }

    async fn add(
        &self,
        db: &Db,
        sums: &mut Charges,
        sql: String,
        tenant: Option<TenantId>,
        stretch: Stretch,
    ) -> Result<(), StoreError> {
        let (from, to) = (DbTime(stretch.0), DbTime(stretch.1));
        let rows: Vec<Row> = query!(db, |conn| {
            sqlx::query_as(AssertSqlSafe(sql))
                .bind(from)
                .bind(to)
                .bind(tenant.map(TenantId::uuid))
                .bind(self.id)
                .bind(self.name)
                .fetch_all(conn)
                .await
        })??;
        for row in rows {
            let currency = read_currency("usage", row.currency.as_deref().unwrap_or_default())?;
            let sum = sums.entry((TenantId::from_uuid(row.tenant_id), currency)).or_default();
            *sum = sum.checked_add(row.charge.pico()).unwrap_or(*sum);
        }
        Ok(())
    }
}

/// A budget that no end user has for themself alone, whose window is to be opened.
struct Opening<'a> {
    tenant: &'a TenantEntry,
    entry: &'a BudgetEntry,
    window: Period,
}

impl Opening<'_> {
    fn place(&self) -> Place {
        let settings = &self.entry.settings;
        Place {
            budget: self.entry.id,
            subject: "".into(),
            period: settings.period,
            since: self.window.start,
            currency: settings.currency,
        }
    }
}

impl Budgets {
    /// Opens the windows at `now` of all budgets of the snapshot that this process has not opened yet. Before the snapshot is in
    /// force: what is spent meanwhile would not count.
    pub async fn prepare(&self, store: &Store, snapshot: &Snapshot, now: Timestamp) -> Result<(), StoreError> {
        self.rules.store(Arc::new(Rules::of(snapshot)));
        let mut openings = Vec::new();
        for tenant in snapshot.tenants.values() {
            for entry in tenant.budgets() {
                let window = window(entry.settings.period, now, &tenant.time_zone);
                let is_of_each = entry.settings.scope == (BudgetScope::EndUser { end_user: None });
                let opening = Opening { tenant, entry, window };
                if !is_of_each && !self.is_open(&opening.place()) {
                    openings.push(opening);
                }
            }
        }
        if openings.is_empty() {
            self.loaded();
            return Ok(());
        }
        let open = windows::open(store, now).await?;
        let known: HashMap<Place, Pico> = open.iter().map(|state| (Place::of_state(state), state.spent)).collect();
        let mut missing = Vec::new();
        for opening in openings {
            match known.get(&opening.place()) {
                Some(spent) => self.open(&opening, *spent, now),
                None => missing.push(opening),
            }
        }
        // Of whole tenants, of which there may be very many, one question for all that begin alike.
        let mut of_tenants: BTreeMap<(Timestamp, Timestamp), Charges> = BTreeMap::new();
        let mut tx = None;
        for opening in missing {
            let Opening { tenant, entry, window } = opening;
            // It pays for what is asked for from now on; what was used before was billed.
            if entry.balance.is_some() {
                self.open(&opening, Pico::ZERO, now);
                continue;
            }
            let whose = Whose::of(&entry.settings.scope);
            let charges = if entry.settings.scope == BudgetScope::Tenant {
                let alike = (window.start, window.end);
                if let std::collections::btree_map::Entry::Vacant(vacant) = of_tenants.entry(alike) {
                    vacant.insert(whose.charges(store.db(), None, window).await?);
                }
                &of_tenants[&alike]
            } else {
                &whose.charges(store.db(), Some(tenant.id), window).await?
            };
            let spent = charges.get(&(tenant.id, entry.settings.currency)).copied().unwrap_or_default();
            if spent > Pico::ZERO {
                let tx = match &mut tx {
                    Some(tx) => tx,
                    none => none.insert(store.begin().await?),
                };
                let split = SplitAmount::from_pico(spent).ok_or_else(windows::too_much)?;
                query!(&mut *tx, |conn| {
                    sqlx::query(
                        "INSERT INTO budget_windows
                            (budget_id, subject, period, since, currency, until, spent_units, spent_pico)
                         VALUES ($1, '', $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
                    )
                    .bind(entry.id.uuid())
                    .bind(entry.settings.period.as_str())
                    .bind(DbTime(window.start))
                    .bind(entry.settings.currency.to_string())
                    .bind(DbTime(window.end))
                    .bind(split.units)
                    .bind(split.pico)
                    .execute(conn)
                    .await
                    .map(|_| ())
                })??;
            }
            self.open(&opening, spent, now);
        }
        if let Some(tx) = tx {
            tx.commit().await?;
        }
        if self.is_alone() {
            self.load_end_users(snapshot, &open, now);
        }
        self.loaded();
        Ok(())
    }

    fn open(&self, opening: &Opening<'_>, spent: Pico, now: Timestamp) {
        let Opening { tenant, entry, .. } = opening;
        if self.is_alone() {
            self.load(entry, tenant, "", spent, now);
        }
        self.opened(opening.place());
    }

    /// Adds what the journal holds and the database does not yet: for the start of a process that is alone, after
    /// [`Self::prepare`], before the first request, and before the shipper runs.
    pub async fn add_unshipped(&self, store: &Store, journal: &Arc<Journal>) -> Result<(), ShipError> {
        if !self.is_alone() {
            return Ok(());
        }
        let mut from = shipper::watermark(store, journal).await?;
        loop {
            let batch = shipper::read(journal, from).await?;
            for record in &batch.records {
                self.spent_before(record);
            }
            if batch.next == from {
                return Ok(());
            }
            from = batch.next;
        }
    }
}

/// What the period of a budget is for the time being; for whoever shows it.
pub fn period_at(period: BudgetPeriod, now: Timestamp, zone: &str) -> Period {
    window(period, now, zone)
}
