//! `/bills`: what each tenant owes for a month, to the last pico.

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tallygate_types::{ModelId, PriceVersionId, TenantId, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::AppState;
use crate::auth::Permission;
use crate::form::Money;
use crate::http_form::{Page, Params, Path};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::BillsRead), routes!(list_bills))
        .add(Access::Needs(Permission::BillsRead), routes!(get_bill))
        .add(Access::Needs(Permission::BillsRead), routes!(get_bill_csv))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BillStatus {
    /// Still counting, or not issued yet.
    Draft,
}

/// A bill, as a row of the list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BillSummary {
    #[schema(value_type = String)]
    pub tenant_id: TenantId,
    pub tenant: String,
    /// The month in the tenant's time zone.
    #[schema(example = "2026-11")]
    pub period: String,
    pub status: BillStatus,
    pub time_zone: String,
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    pub requests: u64,
    /// Rounded totals, one a currency.
    pub totals: Vec<Money>,
}

/// One product: tokens of a class at a price.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BillLine {
    #[schema(value_type = Option<String>, required = true)]
    pub model_id: Option<ModelId>,
    pub model: String,
    /// The class of tokens.
    pub class: String,
    pub tokens: u64,
    /// Money per million tokens.
    #[schema(required = true)]
    pub price_per_million: Option<String>,
    #[schema(value_type = Option<String>, required = true)]
    pub price_version_id: Option<PriceVersionId>,
    /// Since when that price was in force.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub price_valid_from: Option<Timestamp>,
    /// Exact.
    pub amount: Money,
}

/// The sum of one currency.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BillTotal {
    /// The exact sum of the lines.
    pub exact: Money,
    /// What rounding added or took.
    pub rounding: Money,
    /// What is owed, in whole minor units.
    pub total: Money,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Bill {
    #[serde(flatten)]
    pub summary: BillSummary,
    pub lines: Vec<BillLine>,
    /// One a currency.
    pub sums: Vec<BillTotal>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListBills {
    /// A month such as `2026-11`; the current one if absent.
    period: Option<String>,
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists the bills of a month, one a tenant.
#[utoipa::path(get, path = "/admin/v1/bills", tag = "bills", params(ListBills), responses((status = 200, body = Page<BillSummary>)))]
async fn list_bills(State(state): State<AppState>, Params(query): Params<ListBills>) -> Result<axum::Json<Page<BillSummary>>> {
    let _ = (state, query.period, query.tenant_id, query.limit, query.after);
    Err(Problem::not_found("bill"))
}

/// Reads a bill line by line.
#[utoipa::path(get, path = "/admin/v1/bills/{tenant_id}/{period}", tag = "bills",
    params(("tenant_id" = String, Path), ("period" = String, Path, example = "2026-11")), responses((status = 200, body = Bill)))]
async fn get_bill(
    State(state): State<AppState>,
    Path((tenant_id, period)): Path<(TenantId, String)>,
) -> Result<axum::Json<Bill>> {
    let _ = (state, tenant_id, period);
    Err(Problem::not_found("bill"))
}

/// The same as a CSV file.
#[utoipa::path(get, path = "/admin/v1/bills/{tenant_id}/{period}.csv", tag = "bills",
    params(("tenant_id" = String, Path), ("period" = String, Path, example = "2026-11")),
    responses((status = 200, body = String, content_type = "text/csv")))]
async fn get_bill_csv(State(state): State<AppState>, Path((tenant_id, period)): Path<(TenantId, String)>) -> Result<Response> {
    let _ = (state, tenant_id, period);
    Err(Problem::not_found("bill"))
}
