//! Vouchers: minted by staff, shown once, redeemed once.

use tallygate_store::{DbTime, KeyDigester, Page, PageRequest, Source, StoreError, TenantScope, Tx, query, tenants};
use tallygate_types::{Currency, Pico, TenantId, Timestamp, VoucherId};
use uuid::Uuid;

use super::code::VoucherCode;
use super::entries::{BookError, Booked, EntryKind, NewEntry, book, invalid, line};

const KIND: &str = "voucher";
/// Minted in one transaction.
pub const MAX_VOUCHERS_AT_ONCE: u32 = 1_000;
/// Of one voucher, in major units.
const MAX_UNITS: i128 = 1_000_000;
const PICO_PER_UNIT: i128 = 1_000_000_000_000;

/// What becomes of a voucher; an open one can be redeemed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoucherState {
    Open,
    Redeemed,
    Revoked,
    Expired,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voucher {
    pub id: VoucherId,
    /// The last four characters of its code.
    pub last4: String,
    pub amount: Pico,
    pub currency: Currency,
    /// The only tenant that it is for.
    pub tenant_id: Option<TenantId>,
    pub note: Option<String>,
    pub expires_at: Timestamp,
    pub created_by: String,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub redeemed_at: Option<Timestamp>,
    pub redeemed_by: Option<TenantId>,
}

/// So many alike.
#[derive(Debug, Clone, Copy)]
pub struct NewVouchers<'a> {
    pub amount: Pico,
    pub currency: Currency,
    pub count: u32,
    pub expires_at: Timestamp,
    pub tenant: Option<TenantId>,
    pub note: Option<&'a str>,
    pub created_by: &'a str,
}

/// Which vouchers a list shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct VoucherFilter {
    pub state: Option<VoucherState>,
    /// That are for it alone, or were redeemed by it.
    pub tenant: Option<TenantId>,
}

/// Why a voucher was not redeemed.
#[derive(Debug, thiserror::Error)]
pub enum NotRedeemed {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody's, or another tenant's: the two look the same on purpose.
    #[error("there is no such voucher")]
    Unknown,
    #[error("this voucher was redeemed already")]
    Redeemed,
    #[error("this voucher was revoked")]
    Revoked,
    #[error("this voucher has expired")]
    Expired,
    #[error("this voucher is in {voucher}, the tenant's balance is in {balance}")]
    OtherCurrency { voucher: Currency, balance: Currency },
}

macro_rules! columns {
    () => {
        "id, last4, amount, currency, tenant_id, note, expires_at, created_by, created_at, revoked_at, redeemed_at, redeemed_by"
    };
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    last4: String,
    amount: String,
    currency: String,
    tenant_id: Option<Uuid>,
    note: Option<String>,
    expires_at: DbTime,
    created_by: String,
    created_at: DbTime,
    revoked_at: Option<DbTime>,
    redeemed_at: Option<DbTime>,
    redeemed_by: Option<Uuid>,
}

impl TryFrom<Row> for Voucher {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let corrupt = |e: &dyn std::fmt::Display| StoreError::Corrupt { table: "vouchers", reason: e.to_string() };
        Ok(Self {
            id: VoucherId::from_uuid(row.id),
            last4: row.last4,
            amount: row.amount.parse().map_err(|e| corrupt(&e))?,
            currency: row.currency.parse().map_err(|e| corrupt(&e))?,
            tenant_id: row.tenant_id.map(TenantId::from_uuid),
            note: row.note,
            expires_at: row.expires_at.into(),
            created_by: row.created_by,
            created_at: row.created_at.into(),
            revoked_at: row.revoked_at.map(Into::into),
            redeemed_at: row.redeemed_at.map(Into::into),
            redeemed_by: row.redeemed_by.map(TenantId::from_uuid),
        })
    }
}

impl Voucher {
    pub fn state(&self, now: Timestamp) -> VoucherState {
        if self.redeemed_at.is_some() {
            VoucherState::Redeemed
        } else if self.revoked_at.is_some() {
            VoucherState::Revoked
        } else if self.expires_at <= now {
            VoucherState::Expired
        } else {
            VoucherState::Open
        }
    }
}

/// Mints vouchers; their codes are in no other place than what is returned.
pub async fn mint(tx: &mut Tx, digester: &KeyDigester, new: &NewVouchers<'_>) -> Result<Vec<(Voucher, VoucherCode)>, StoreError> {
    if new.amount <= Pico::ZERO || new.amount.get() > MAX_UNITS * PICO_PER_UNIT {
        return Err(invalid("amount", format!("must be above zero and at most {MAX_UNITS}")));
    }
    if !(1..=MAX_VOUCHERS_AT_ONCE).contains(&new.count) {
        return Err(invalid("count", format!("must be 1 to {MAX_VOUCHERS_AT_ONCE}")));
    }
    if new.expires_at <= tx.now() {
        return Err(invalid("expires_at", "must be in the future"));
    }
    new.note.map_or(Ok(()), |note| line("note", note))?;
    if let Some(tenant) = new.tenant {
        let currency = tenants::get(&mut *tx, TenantScope::All, tenant).await?.billing.currency;
        if currency != new.currency {
            return Err(invalid("currency", format!("the tenant's balance is in {currency}")));
        }
    }
    let now = DbTime(tx.now());
    let mut minted = Vec::new();
    for _ in 0..new.count {
        let code = VoucherCode::mint()?;
        let digest = code.digest(digester).as_bytes().to_vec();
        let row: Row = query!(&mut *tx, |conn| {
            sqlx::query_as(concat!(
                "INSERT INTO vouchers (id, digest, last4, amount, currency, tenant_id, note, expires_at, created_by, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING ",
                columns!()
            ))
            .bind(VoucherId::generate().uuid())
            .bind(digest)
            .bind(code.last4())
            .bind(new.amount.to_string())
            .bind(new.currency.to_string())
            .bind(new.tenant.map(TenantId::uuid))
            .bind(new.note)
            .bind(DbTime(new.expires_at))
            .bind(new.created_by)
            .bind(now)
            .fetch_one(conn)
            .await
            .map_err(StoreError::from)
        })??;
        minted.push((row.try_into()?, code));
    }
    Ok(minted)
}

pub async fn get(source: impl Source, id: VoucherId) -> Result<Voucher, StoreError> {
    let row: Option<Row> = query!(source, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM vouchers WHERE id = $1"))
            .bind(id.uuid())
            .fetch_optional(conn)
            .await
            .map_err(StoreError::from)
    })??;
    row.ok_or_else(|| StoreError::NotFound { kind: KIND, id: id.to_string() })?.try_into()
}

/// Vouchers, the newest first.
pub async fn list(
    source: impl Source,
    filter: VoucherFilter,
    now: Timestamp,
    page: &PageRequest,
) -> Result<Page<Voucher>, StoreError> {
    let before = page.before()?;
    let state = filter.state.map(|state| match state {
        VoucherState::Open => "open",
        VoucherState::Redeemed => "redeemed",
        VoucherState::Revoked => "revoked",
        VoucherState::Expired => "expired",
    });
    let rows: Vec<Row> = query!(source, |conn| {
        sqlx::query_as(concat!(
            "SELECT ",
            columns!(),
            " FROM vouchers WHERE id < $1 AND ($2 IS NULL OR tenant_id = $2 OR redeemed_by = $2) AND ($3 IS NULL OR $3 =
                CASE WHEN redeemed_at IS NOT NULL THEN 'redeemed' WHEN revoked_at IS NOT NULL THEN 'revoked'
                     WHEN expires_at <= $4 THEN 'expired' ELSE 'open' END)
             ORDER BY id DESC LIMIT $5"
        ))
        .bind(before)
        .bind(filter.tenant.map(TenantId::uuid))
        .bind(state)
        .bind(DbTime(now))
        .bind(page.fetch_rows())
        .fetch_all(conn)
        .await
        .map_err(StoreError::from)
    })??;
    let vouchers = rows.into_iter().map(Voucher::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::by_id(vouchers, page, |voucher| voucher.id.uuid()))
}

/// Makes an open voucher worthless. One that is redeemed stays so.
pub async fn revoke(tx: &mut Tx, id: VoucherId) -> Result<Voucher, StoreError> {
    let now = DbTime(tx.now());
    let row: Option<Row> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE vouchers SET revoked_at = $2 WHERE id = $1 AND redeemed_at IS NULL AND revoked_at IS NULL RETURNING ",
            columns!()
        ))
        .bind(id.uuid())
        .bind(now)
        .fetch_optional(conn)
        .await
        .map_err(StoreError::from)
    })??;
    if let Some(row) = row {
        return row.try_into();
    }
    let voucher = get(tx, id).await?;
    if voucher.redeemed_at.is_some() {
        return Err(StoreError::InUse { kind: KIND, by: "the balance that it was redeemed to".into() });
    }
    Ok(voucher)
}

/// Redeems a voucher to a tenant's balance: one conditional UPDATE decides who of all that race, and the entry stands or falls
/// with it.
pub async fn redeem(
    tx: &mut Tx,
    digester: &KeyDigester,
    scope: TenantScope,
    tenant: TenantId,
    code: &VoucherCode,
    booked_by: &str,
) -> Result<(Voucher, Booked), NotRedeemed> {
    let balance = tenants::get(&mut *tx, scope, tenant).await?.billing.currency;
    let (digest, now) = (code.digest(digester).as_bytes().to_vec(), tx.now());
    let row: Option<Row> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!(
            "UPDATE vouchers SET redeemed_at = $3, redeemed_by = $2 WHERE digest = $1 AND redeemed_at IS NULL
                AND revoked_at IS NULL AND expires_at > $3 AND (tenant_id IS NULL OR tenant_id = $2) AND currency = $4
             RETURNING ",
            columns!()
        ))
        .bind(&digest)
        .bind(tenant.uuid())
        .bind(DbTime(now))
        .bind(balance.to_string())
        .fetch_optional(conn)
        .await
        .map_err(StoreError::from)
    })??;
    let Some(row) = row else { return Err(why_not(tx, digest, tenant, balance, now).await?) };
    let voucher = Voucher::try_from(row)?;
    let reference = format!("voucher:{}", voucher.id);
    let new = NewEntry {
        kind: EntryKind::Voucher,
        amount: voucher.amount,
        currency: Some(voucher.currency),
        reference: &reference,
        note: voucher.note.as_deref(),
        booked_by,
    };
    match book(tx, scope, tenant, &new).await {
        Ok(booked) => Ok((voucher, booked)),
        Err(BookError::Store(error)) => Err(error.into()),
        // It pays in.
        Err(BookError::BelowSpent { .. }) => Err(NotRedeemed::Unknown),
    }
}

/// Why the voucher of this digest is not for `tenant` now.
async fn why_not(
    tx: &mut Tx,
    digest: Vec<u8>,
    tenant: TenantId,
    balance: Currency,
    now: Timestamp,
) -> Result<NotRedeemed, StoreError> {
    let row: Option<Row> = query!(&mut *tx, |conn| {
        sqlx::query_as(concat!("SELECT ", columns!(), " FROM vouchers WHERE digest = $1"))
            .bind(digest)
            .fetch_optional(conn)
            .await
            .map_err(StoreError::from)
    })??;
    let Some(voucher) = row.map(Voucher::try_from).transpose()? else { return Ok(NotRedeemed::Unknown) };
    if voucher.tenant_id.is_some_and(|only| only != tenant) {
        return Ok(NotRedeemed::Unknown);
    }
    Ok(match voucher.state(now) {
        VoucherState::Redeemed => NotRedeemed::Redeemed,
        VoucherState::Revoked => NotRedeemed::Revoked,
        VoucherState::Expired => NotRedeemed::Expired,
        VoucherState::Open => NotRedeemed::OtherCurrency { voucher: voucher.currency, balance },
    })
}
