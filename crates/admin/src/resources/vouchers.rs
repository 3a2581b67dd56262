//! `/vouchers`: codes that are worth money. Where they are redeemed: `balances`.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tallygate_billing::balance::{self, NewVouchers};
use tallygate_types::{Currency, Pico, TenantId, Timestamp, VoucherId};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::tenants::tenant_of_body;
use crate::AppState;
use crate::audit::{Change, Target};
use crate::auth::{Permission, Scope};
use crate::http_form::{Body, Page, Params, Path, page_request};
use crate::problem::Result;
use crate::routes::{Access, Routes};

/// Of a voucher that does not say: a year.
const DEFAULT_LIFETIME: Duration = Duration::from_hours(365 * 24);

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::VouchersRead), routes!(list_vouchers))
        .add(Access::Needs(Permission::VouchersWrite), routes!(create_vouchers))
        .add(Access::Needs(Permission::VouchersRead), routes!(get_voucher))
        .add(Access::Needs(Permission::VouchersWrite), routes!(revoke_voucher))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VoucherState {
    /// It can be redeemed.
    Open,
    Redeemed,
    Revoked,
    Expired,
}

/// A code that is worth money, once.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Voucher {
    #[schema(value_type = String, example = "vou_0193500000007000800000000000000f")]
    pub id: VoucherId,
    pub state: VoucherState,
    /// The last four characters of its code, which nobody reads again.
    #[schema(example = "7K3Q")]
    pub last4: String,
    #[schema(value_type = String, example = "25.00")]
    pub amount: Pico,
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    /// The only tenant that can redeem it; null is any.
    #[schema(value_type = Option<String>, required = true)]
    pub tenant_id: Option<TenantId>,
    #[schema(required = true)]
    pub note: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    pub created_by: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub redeemed_at: Option<Timestamp>,
    /// The tenant to whose balance it was redeemed.
    #[schema(value_type = Option<String>, required = true)]
    pub redeemed_by: Option<TenantId>,
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub revoked_at: Option<Timestamp>,
}

/// A voucher with its code, which is shown this once.
#[derive(Serialize, ToSchema)]
pub struct VoucherWithCode {
    #[serde(flatten)]
    pub voucher: Voucher,
    #[schema(example = "TGV-0000-0000-0000-0000-0000-0000")]
    pub code: String,
}

/// What was minted.
#[derive(Serialize, ToSchema)]
pub struct MintedVouchers {
    pub data: Vec<VoucherWithCode>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VoucherCreate {
    /// Of each.
    #[schema(value_type = String, example = "25.00")]
    pub amount: Pico,
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    /// How many alike; one if absent.
    #[schema(minimum = 1, maximum = 1000)]
    pub count: Option<u32>,
    /// A year from now if absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// The only tenant that can redeem them.
    #[schema(value_type = Option<String>)]
    pub tenant_id: Option<TenantId>,
    #[schema(max_length = 200)]
    pub note: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListVouchers {
    #[param(inline)]
    state: Option<VoucherState>,
    /// Only vouchers that are for this tenant alone, or that it redeemed.
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists vouchers, newest first.
#[utoipa::path(get, path = "/admin/v1/vouchers", tag = "vouchers", params(ListVouchers),
    responses((status = 200, body = Page<Voucher>)))]
async fn list_vouchers(State(state): State<AppState>, Params(query): Params<ListVouchers>) -> Result<axum::Json<Page<Voucher>>> {
    let filter = balance::VoucherFilter { state: query.state.map(Into::into), tenant: query.tenant_id };
    let (now, page) = (state.now(), page_request(query.limit, query.after)?);
    let page = balance::list_vouchers(&state.store, filter, now, &page).await?;
    Ok(axum::Json(Page::of(page, |voucher| Voucher::read(voucher, now))))
}

/// Mints vouchers. The answer holds their codes, which are shown this once.
#[utoipa::path(post, path = "/admin/v1/vouchers", tag = "vouchers", request_body = VoucherCreate,
    responses((status = 201, body = MintedVouchers)))]
async fn create_vouchers(
    State(state): State<AppState>,
    scope: Scope,
    change: Change,
    Body(body): Body<VoucherCreate>,
) -> Result<(StatusCode, axum::Json<MintedVouchers>)> {
    let now = state.now();
    let new = NewVouchers {
        amount: body.amount,
        currency: body.currency,
        count: body.count.unwrap_or(1),
        expires_at: body.expires_at.unwrap_or_else(|| now.saturating_add(DEFAULT_LIFETIME)),
        tenant: body.tenant_id,
        note: body.note.as_deref(),
        created_by: &change.principal.name,
    };
    let mut tx = state.store.begin().await?;
    if let Some(tenant) = body.tenant_id {
        tenant_of_body(&mut tx, scope, Some(tenant)).await?;
    }
    let minted = balance::mint(&mut tx, &state.store.digester(), &new).await?;
    let mut data = Vec::with_capacity(minted.len());
    for (voucher, code) in minted {
        let name = shown_name(&voucher);
        let voucher = Voucher::read(voucher, now);
        change.created(&mut tx, target(&voucher, &name), &voucher).await?;
        data.push(VoucherWithCode { voucher, code: code.expose() });
    }
    tx.commit().await?;
    Ok((StatusCode::CREATED, axum::Json(MintedVouchers { data })))
}

/// Reads a voucher, without its code.
#[utoipa::path(get, path = "/admin/v1/vouchers/{id}", tag = "vouchers", params(("id" = String, Path)),
    responses((status = 200, body = Voucher)))]
async fn get_voucher(State(state): State<AppState>, Path(id): Path<VoucherId>) -> Result<axum::Json<Voucher>> {
    Ok(axum::Json(Voucher::read(balance::get(&state.store, id).await?, state.now())))
}

/// Makes a voucher worthless that was not redeemed.
#[utoipa::path(post, path = "/admin/v1/vouchers/{id}:revoke", tag = "vouchers", params(("id" = String, Path)),
    responses((status = 200, body = Voucher)))]
async fn revoke_voucher(State(state): State<AppState>, Path(id): Path<VoucherId>, change: Change) -> Result<axum::Json<Voucher>> {
    let mut tx = state.store.begin().await?;
    let before = Voucher::read(balance::get(&mut tx, id).await?, state.now());
    let revoked = balance::revoke(&mut tx, id).await?;
    let name = shown_name(&revoked);
    let after = Voucher::read(revoked, state.now());
    if before.revoked_at.is_none() {
        change.record(&mut tx, "voucher.revoked", target(&after, &name), Some(&before), Some(&after)).await?;
        tx.commit().await?;
    }
    Ok(axum::Json(after))
}

/// How people and the trail call a voucher.
pub fn shown_name(voucher: &balance::Voucher) -> String {
    format!("{} {} …{}", voucher.amount, voucher.currency, voucher.last4)
}

fn target<'a>(voucher: &Voucher, name: &'a str) -> Target<'a> {
    Target { kind: "voucher", id: voucher.id.to_string(), name, tenant: voucher.tenant_id }
}

impl Voucher {
    fn read(row: balance::Voucher, now: Timestamp) -> Self {
        Self {
            id: row.id,
            state: match row.state(now) {
                balance::VoucherState::Open => VoucherState::Open,
                balance::VoucherState::Redeemed => VoucherState::Redeemed,
                balance::VoucherState::Revoked => VoucherState::Revoked,
                balance::VoucherState::Expired => VoucherState::Expired,
            },
            last4: row.last4,
            amount: row.amount,
            currency: row.currency,
            tenant_id: row.tenant_id,
            note: row.note,
            expires_at: row.expires_at,
            created_by: row.created_by,
            created_at: row.created_at,
            redeemed_at: row.redeemed_at,
            redeemed_by: row.redeemed_by,
            revoked_at: row.revoked_at,
        }
    }
}

impl From<VoucherState> for balance::VoucherState {
    fn from(state: VoucherState) -> Self {
        match state {
            VoucherState::Open => Self::Open,
            VoucherState::Redeemed => Self::Redeemed,
            VoucherState::Revoked => Self::Revoked,
            VoucherState::Expired => Self::Expired,
        }
    }
}
