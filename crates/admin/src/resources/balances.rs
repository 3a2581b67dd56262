//! `/tenants/{id}/balance`, `/tenants/{id}/balance-entries`, `/tenants/{id}:redeem-voucher`: what a prepaid tenant paid in.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tallygate_billing::balance::{self, BookError, NewEntry, NotRedeemed, VoucherCode};
use tallygate_store::tenants;
use tallygate_types::{BalanceEntryId, Currency, Pico, TenantId, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::AppState;
use crate::audit::{Change, Target};
use crate::auth::{Permission, Scope};
use crate::billing_form::BillingMode;
use crate::http_form::{Body, Page, Params, Path, page_request};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::BalancesRead), routes!(get_balance))
        .add(Access::Needs(Permission::BalancesRead), routes!(list_balance_entries))
        .add(Access::Needs(Permission::BalancesWrite), routes!(create_balance_entry))
        .add(Access::Needs(Permission::VouchersRedeem), routes!(redeem_voucher))
}

/// Where a tenant's balance stands. It is spent from while the tenant is prepaid.
#[derive(Debug, Serialize, ToSchema)]
pub struct Balance {
    #[schema(value_type = String)]
    pub tenant_id: TenantId,
    pub mode: BillingMode,
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    /// What was paid in, less what was taken out.
    #[schema(value_type = String, example = "100.00")]
    pub amount: Pico,
    /// What the calls that have ended cost since the tenant is prepaid; calls under way are not in it.
    #[schema(value_type = String, example = "80.00")]
    pub spent: Pico,
    /// Below zero where more was spent than paid in.
    #[schema(value_type = String, example = "20.00")]
    pub remaining: Pico,
    /// Held by running gateways, for calls under way or to come.
    #[schema(value_type = String, example = "1.00")]
    pub held: Pico,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    TopUp,
    /// A voucher was redeemed.
    Voucher,
    /// A correction, which alone may be below zero.
    Adjustment,
}

/// What was paid into a balance, or taken out of it. It never changes.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BalanceEntry {
    #[schema(value_type = String, example = "bal_0193500000007000800000000000000e")]
    pub id: BalanceEntryId,
    #[schema(value_type = String)]
    pub tenant_id: TenantId,
    pub kind: EntryKind,
    #[schema(value_type = String, example = "100.00")]
    pub amount: Pico,
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    /// What it is known by elsewhere: an order, a payment.
    pub reference: String,
    #[schema(required = true)]
    pub note: Option<String>,
    /// Who booked it; null for people of tenants.
    #[schema(required = true)]
    pub booked_by: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// An entry, and whether it is an earlier one.
#[derive(Debug, Serialize, ToSchema)]
pub struct BookedEntry {
    #[serde(flatten)]
    pub entry: BalanceEntry,
    /// The reference was booked before with the same kind and amount: nothing was booked now.
    pub was_booked_before: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NewEntryKind {
    TopUp,
    Adjustment,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BalanceEntryCreate {
    /// `top_up` if absent.
    pub kind: Option<NewEntryKind>,
    /// Above zero; an adjustment may be below it, but takes out no more than is left.
    #[schema(value_type = String, example = "100.00")]
    pub amount: Pico,
    /// Must be the balance's.
    #[schema(value_type = Option<String>)]
    pub currency: Option<Currency>,
    /// What it is known by elsewhere. It is booked once for a tenant: sent again, the answer is the entry that is there.
    #[schema(max_length = 200, example = "order-4711")]
    pub reference: String,
    #[schema(max_length = 200)]
    pub note: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VoucherRedeem {
    /// As it was handed out; case and separators do not matter.
    #[schema(example = "TGV-0000-0000-0000-0000-0000-0000")]
    pub code: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListBalanceEntries {
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Reads where a tenant's balance stands.
#[utoipa::path(get, path = "/admin/v1/tenants/{id}/balance", tag = "balances", params(("id" = String, Path)),
    responses((status = 200, body = Balance)))]
async fn get_balance(State(state): State<AppState>, scope: Scope, Path(id): Path<TenantId>) -> Result<axum::Json<Balance>> {
    let mode = tenants::get(&state.store, scope.rows(), id).await?.billing.mode.into();
    let standing = balance::standing(&state.store, scope.rows(), id).await?;
    Ok(axum::Json(Balance {
        tenant_id: id,
        mode,
        currency: standing.currency,
        amount: standing.amount,
        spent: standing.spent,
        remaining: standing.remaining(),
        held: standing.held,
    }))
}

/// Lists what was booked on a tenant's balance, newest first.
#[utoipa::path(get, path = "/admin/v1/tenants/{id}/balance-entries", tag = "balances",
    params(("id" = String, Path), ListBalanceEntries), responses((status = 200, body = Page<BalanceEntry>)))]
async fn list_balance_entries(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<TenantId>,
    Params(query): Params<ListBalanceEntries>,
) -> Result<axum::Json<Page<BalanceEntry>>> {
    let page = balance::list(&state.store, scope.rows(), id, &page_request(query.limit, query.after)?).await?;
    Ok(axum::Json(Page::of(page, |entry| BalanceEntry::read(entry, scope))))
}

/// Books a top-up or a correction on a tenant's balance. A reference that was booked already is not booked again: the answer is
/// then 200 and the earlier entry, or 409 if that was of another amount.
#[utoipa::path(post, path = "/admin/v1/tenants/{id}/balance-entries", tag = "balances", params(("id" = String, Path)),
    request_body = BalanceEntryCreate,
    responses((status = 201, body = BookedEntry), (status = 200, body = BookedEntry)))]
async fn create_balance_entry(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<TenantId>,
    change: Change,
    Body(body): Body<BalanceEntryCreate>,
) -> Result<BookedEntry> {
    let new = NewEntry {
        kind: match body.kind.unwrap_or(NewEntryKind::TopUp) {
            NewEntryKind::TopUp => balance::EntryKind::TopUp,
            NewEntryKind::Adjustment => balance::EntryKind::Adjustment,
        },
        amount: body.amount,
        currency: body.currency,
        reference: &body.reference,
        note: body.note.as_deref(),
        booked_by: &change.principal.name,
    };
    let mut tx = state.store.begin().await?;
    let booked = match balance::book(&mut tx, scope.rows(), id, &new).await {
        Ok(booked) => BookedEntry { was_booked_before: !booked.is_new, entry: BalanceEntry::read(booked.entry, scope) },
        Err(BookError::Store(error)) => return Err(error.into()),
        Err(error @ BookError::BelowSpent { held, .. }) => {
            drop(tx);
            if held > Pico::ZERO {
                // What nobody needs of it is back when somebody tries again.
                balance::ask_back(&state.store, id).await?;
            }
            return Err(Problem::invalid_field("/amount", "more_than_is_left", format!("Of the balance {error}.")));
        }
    };
    if !booked.was_booked_before {
        change.created(&mut tx, target(&booked.entry), &booked.entry).await?;
        tx.commit().await?;
    }
    Ok(booked)
}

/// Redeems a voucher to a tenant's balance, once.
#[utoipa::path(post, path = "/admin/v1/tenants/{id}:redeem-voucher", tag = "balances", params(("id" = String, Path)),
    request_body = VoucherRedeem, responses((status = 200, body = BalanceEntry)))]
async fn redeem_voucher(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<TenantId>,
    change: Change,
    Body(body): Body<VoucherRedeem>,
) -> Result<axum::Json<BalanceEntry>> {
    // A tenant that is not there comes before a code that is wrong.
    tenants::get(&state.store, scope.rows(), id).await?;
    let wrong = |error: &dyn std::fmt::Display| Problem::invalid_field("/code", "not_a_voucher", format!("{error}."));
    let code = VoucherCode::parse(&body.code).map_err(|error| wrong(&error))?;
    let mut tx = state.store.begin().await?;
    let redeemed = balance::redeem(&mut tx, &state.store.digester(), scope.rows(), id, &code, &change.principal.name).await;
    let (voucher, booked) = redeemed.map_err(|error| match error {
        NotRedeemed::Store(error) => error.into(),
        NotRedeemed::Unknown => wrong(&error),
        NotRedeemed::OtherCurrency { .. } => Problem::invalid_field("/code", "other_currency", format!("{error}.")),
        NotRedeemed::Redeemed => Problem::conflict("voucher_redeemed", format!("{error}.")),
        NotRedeemed::Revoked => Problem::conflict("voucher_revoked", format!("{error}.")),
        NotRedeemed::Expired => Problem::conflict("voucher_expired", format!("{error}.")),
    })?;
    let entry = BalanceEntry::read(booked.entry, scope);
    let name = super::vouchers::shown_name(&voucher);
    let redeemed = Target { kind: "voucher", id: voucher.id.to_string(), name: &name, tenant: Some(id) };
    change.record(&mut tx, "voucher.redeemed", redeemed, None::<&()>, Some(&entry)).await?;
    tx.commit().await?;
    Ok(axum::Json(entry))
}

fn target(entry: &BalanceEntry) -> Target<'_> {
    Target { kind: "balance_entry", id: entry.id.to_string(), name: &entry.reference, tenant: Some(entry.tenant_id) }
}

impl IntoResponse for BookedEntry {
    fn into_response(self) -> Response {
        let status = if self.was_booked_before { StatusCode::OK } else { StatusCode::CREATED };
        (status, axum::Json(self)).into_response()
    }
}

impl BalanceEntry {
    fn read(entry: balance::BalanceEntry, reader: Scope) -> Self {
        Self {
            id: entry.id,
            tenant_id: entry.tenant_id,
            kind: match entry.kind {
                balance::EntryKind::TopUp => EntryKind::TopUp,
                balance::EntryKind::Voucher => EntryKind::Voucher,
                balance::EntryKind::Adjustment => EntryKind::Adjustment,
            },
            amount: entry.amount,
            currency: entry.currency,
            reference: entry.reference,
            note: entry.note,
            booked_by: reader.is_platform().then_some(entry.booked_by),
            created_at: entry.created_at,
        }
    }
}
