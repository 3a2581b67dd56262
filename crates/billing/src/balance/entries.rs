//! Entries of balances: booked once, never changed.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use tallygate_store::{Conn, DbTime, Page, PageRequest, Source, SplitAmount, Store, StoreError, TenantScope, Tx, query, tenants};
use tallygate_types::{BalanceEntryId, Currency, Pico, TenantId, Timestamp};
use uuid::Uuid;

use crate::budget;

/// Of one entry, in major units: a slip of some digits is more likely than such a payment.
const MAX_UNITS: i128 = 100_000_000;
const PICO_PER_UNIT: i128 = 1_000_000_000_000;
/// Characters of a reference or a note at most.
const MAX_CHARS: usize = 200;

/// Why an entry was booked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    TopUp,
    Voucher,
    /// A correction; alone may be below zero.
    Adjustment,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BalanceEntry {
    pub id: BalanceEntryId,
    pub tenant_id: TenantId,
    pub kind: EntryKind,
    pub amount: Pico,
    pub currency: Currency,
    /// What it is known by elsewhere: an order, a payment.
    pub reference: String,
    pub note: Option<String>,
    /// Who booked it.
    pub booked_by: String,
    pub created_at: Timestamp,
}

#[derive(Debug, Clone, Copy)]
pub struct NewEntry<'a> {
    pub kind: EntryKind,
    pub amount: Pico,
    /// Must be the tenant's; absent it is.
    pub currency: Option<Currency>,
    pub reference: &'a str,
    pub note: Option<&'a str>,
    pub booked_by: &'a str,
}

/// An entry, and whether it was booked now: the same reference again is the same entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booked {
    pub entry: BalanceEntry,
    pub is_new: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum BookError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// More would be taken out than is left. `held` of what is gone is with processes, for requests under way or to come.
    #[error("only {left} {currency} can be taken out; {held} {currency} are held for requests under way")]
    BelowSpent { left: Pico, held: Pico, currency: Currency },
}

/// Where a balance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// All that was paid in, less what was taken out.
    pub amount: Pico,
    pub currency: Currency,
    pub spent: Pico,
    pub overspent: Pico,
    /// Held by processes, for requests under way or to come.
    pub held: Pico,
}

macro_rules! columns {
    () => {
        "id, tenant_id, kind, amount_units, amount_pico, currency, reference, note, booked_by, created_at"
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    tenant_id: Uuid,
    kind: String,
    amount_units: i64,
    amount_pico: i64,
    currency: String,
    reference: String,
    note: Option<String>,
    booked_by: String,
    created_at: DbTime,
}

impl EntryKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TopUp => "top_up",
            Self::Voucher => "voucher",
            Self::Adjustment => "adjustment",
        }
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EntryKind {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        [Self::TopUp, Self::Voucher, Self::Adjustment]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| StoreError::Corrupt { table: "balance_entries", reason: format!("`{text}` is no kind of entry") })
    }
}

impl TryFrom<Row> for BalanceEntry {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let corrupt = |e: &dyn fmt::Display| StoreError::Corrupt { table: "balance_entries", reason: e.to_string() };
        Ok(Self {
            id: BalanceEntryId::from_uuid(row.id),
            tenant_id: TenantId::from_uuid(row.tenant_id),
            kind: row.kind.parse()?,
            amount: SplitAmount { units: row.amount_units, pico: row.amount_pico }.to_pico(),
            currency: row.currency.parse().map_err(|e| corrupt(&e))?,
            reference: row.reference,
            note: row.note,
            booked_by: row.booked_by,
            created_at: row.created_at.into(),
        })
    }
}

impl NewEntry<'_> {
    fn check(&self, currency: Currency) -> Result<SplitAmount, StoreError> {
        let amount = self.amount.get();
        if amount == 0 {
            return Err(invalid("amount", "must not be zero"));
        }
        if amount < 0 && self.kind != EntryKind::Adjustment {
            return Err(invalid("amount", "must be above zero; only an adjustment takes out"));
        }
        if amount.saturating_abs() > MAX_UNITS * PICO_PER_UNIT {
            return Err(invalid("amount", format!("must be at most {MAX_UNITS}")));
        }
        if let Some(other) = self.currency.filter(|other| *other != currency) {
            return Err(invalid("currency", format!("the tenant's balance is in {currency}, not in {other}")));
        }
        line("reference", self.reference)?;
        self.note.map_or(Ok(()), |note| line("note", note))?;
        SplitAmount::from_pico(self.amount).ok_or_else(|| invalid("amount", "is beyond what can be recorded"))
    }
}

/// Books an entry, or finds the one that was booked under its reference. The same reference with another amount is a mistake.
pub async fn book(tx: &mut Tx, scope: TenantScope, tenant: TenantId, new: &NewEntry<'_>) -> Result<Booked, BookError> {
    let currency = tenants::get(&mut *tx, scope, tenant).await?.billing.currency;
    let SplitAmount { units, pico } = new.check(currency)?;
    // Before the entry is there: whoever leases waits, and then sees it.
    let gone = if new.amount < Pico::ZERO { Some(budget::lock_balance(tx, tenant, currency).await?) } else { None };
    let now = DbTime(tx.now());
    let row: Option<Row> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "INSERT INTO balance_entries (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (tenant_id, reference) DO NOTHING RETURNING ",
            columns!()
        ))
        .bind(BalanceEntryId::generate().uuid())
        .bind(tenant.uuid())
        .bind(new.kind.as_str())
        .bind(units)
        .bind(pico)
        .bind(currency.to_string())
        .bind(new.reference)
        .bind(new.note)
        .bind(new.booked_by)
        .bind(now)
        .fetch_optional(conn)
        .await
        .map_err(StoreError::from)
    })??;
    let Some(row) = row else {
        let entry = by_reference(tx, tenant, new.reference).await?;
        if (entry.kind, entry.amount) != (new.kind, new.amount) {
            let value = format!("{} ({} of {} {})", new.reference, entry.kind, entry.amount, entry.currency);
            return Err(StoreError::AlreadyExists { kind: "balance entry", field: "reference", value }.into());
        }
        return Ok(Booked { entry, is_new: false });
    };
    if let Some((gone, held)) = gone {
        let amount = sums(tx, &[tenant]).await?.get(&tenant).copied().unwrap_or_default();
        if amount < gone {
            let before = amount.get() - new.amount.get();
            let left = Pico::new((before - gone.get()).max(0));
            return Err(BookError::BelowSpent { left, held, currency });
        }
    }
    tx.touch_config();
    Ok(Booked { entry: row.try_into()?, is_new: true })
}

/// Has processes give back what they hold of a balance and do not need, so that it can be taken out a moment later.
pub async fn ask_back(store: &Store, tenant: TenantId) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    budget::want_balance(&mut tx, tenant).await?;
    tx.commit().await?;
    Ok(())
}

/// Entries of one tenant, the newest first.
pub async fn list(
    store: &Store,
    scope: TenantScope,
    tenant: TenantId,
    page: &PageRequest,
) -> Result<Page<BalanceEntry>, StoreError> {
    tenants::get(store, scope, tenant).await?;
    let before = page.before()?;
    let rows: Vec<Row> = query!(store, |conn| {
        sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            " FROM balance_entries WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
        ))
        .bind(tenant.uuid())
        .bind(before)
        .bind(page.fetch_rows())
        .fetch_all(conn)
        .await
        .map_err(StoreError::from)
    })??;
    let entries = rows.into_iter().map(BalanceEntry::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::by_id(entries, page, |entry| entry.id.uuid()))
}

/// Where the balance of a tenant stands now, whether it spends from it or not.
pub async fn standing(store: &Store, scope: TenantScope, tenant: TenantId) -> Result<Standing, StoreError> {
    let mut tx = store.begin_reading().await?;
    let currency = tenants::get(&mut tx, scope, tenant).await?.billing.currency;
    let amount = sums(&mut tx, &[tenant]).await?.get(&tenant).copied().unwrap_or_default();
    let window = budget::of_balance(&mut tx, tenant, currency).await?;
    let (spent, overspent, held) = window.map_or_else(Default::default, |w| (w.spent, w.overspent, w.leased));
    Ok(Standing { amount, currency, spent, overspent, held })
}

impl Standing {
    /// What is not spent; below zero where more was spent than paid in.
    pub const fn remaining(&self) -> Pico {
        Pico::new(self.amount.get().saturating_sub(self.spent.get()))
    }
}

/// What was paid in by each, less what was taken out.
pub(crate) async fn sums(tx: &mut Tx, of: &[TenantId]) -> Result<HashMap<TenantId, Pico>, StoreError> {
    let mut sums = HashMap::new();
    match Source::place(tx).connection().await? {
        Conn::Pg(mut conn) => add_sums(&mut conn, of, &mut sums).await?,
        Conn::Lite(mut conn) => {
            for tenant in of {
                let row: (Option<i64>, Option<i64>) =
                    sqlx::query_as("SELECT SUM(amount_units), SUM(amount_pico) FROM balance_entries WHERE tenant_id = $1")
                        .bind(tenant.uuid())
                        .fetch_one(&mut *conn)
                        .await?;
                if let (Some(units), Some(pico)) = row {
                    sums.insert(*tenant, SplitAmount { units, pico }.to_pico());
                }
            }
        }
    }
    Ok(sums)
}

/// The same, where leases are given.
pub(crate) async fn add_sums(
    conn: &mut sqlx::PgConnection,
    of: &[TenantId],
    sums: &mut HashMap<TenantId, Pico>,
) -> Result<(), StoreError> {
    let of: Vec<Uuid> = of.iter().map(|tenant| tenant.uuid()).collect();
    let rows: Vec<(Uuid, i64, i64)> = sqlx::query_as(
        "SELECT tenant_id, CAST(SUM(amount_units) AS bigint), CAST(SUM(amount_pico) AS bigint) FROM balance_entries
         WHERE tenant_id = ANY($1) GROUP BY tenant_id",
    )
    .bind(of)
    .fetch_all(conn)
    .await?;
    let read = |(tenant, units, pico)| (TenantId::from_uuid(tenant), SplitAmount { units, pico }.to_pico());
    sums.extend(rows.into_iter().map(read));
    Ok(())
}

async fn by_reference(tx: &mut Tx, tenant: TenantId, reference: &str) -> Result<BalanceEntry, StoreError> {
    let row: Row = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM balance_entries WHERE tenant_id = $1 AND reference = $2"))
            .bind(tenant.uuid())
            .bind(reference)
            .fetch_one(conn)
            .await
            .map_err(StoreError::from)
    })??;
    row.try_into()
}

/// Something visible on one line.
pub(super) fn line(field: &'static str, text: &str) -> Result<(), StoreError> {
    if text.trim().is_empty() || text.trim() != text || text.chars().any(char::is_control) || text.chars().count() > MAX_CHARS {
        return Err(invalid(field, format!("must be 1 to {MAX_CHARS} printable characters without space around them")));
    }
    Ok(())
}

pub(super) fn invalid(field: &'static str, reason: impl Into<String>) -> StoreError {
    StoreError::Invalid { field, reason: reason.into() }
}
