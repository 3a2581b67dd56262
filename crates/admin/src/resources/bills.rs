//! `/bills`: what each tenant owes for a month, to the last pico.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use serde::{Deserialize, Serialize};
use tallygate_billing::bills::{self, BillError};
use tallygate_store::tenants::{self, TenantFilter};
use tallygate_types::{Currency, ModelId, PriceVersionId, TenantId, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::AppState;
use crate::auth::{Permission, Scope};
use crate::form::{Money, Usage};
use crate::http_form::{Page, Params, Path, invalid_parameter, page_request};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

/// Bills of a page when `limit` is not given.
const DEFAULT_BILLS: u32 = 20;

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::BillsRead), routes!(list_bills))
        .add(Access::Needs(Permission::BillsRead), routes!(get_bill))
        .add(Access::Needs(Permission::BillsRead), routes!(get_bill_csv))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BillStatus {
    /// Not issued: it changes while usage of its month comes in.
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
    /// Whether the month has ended.
    pub is_complete: bool,
    /// Every request of the month, refused ones too.
    pub requests: u64,
    /// What is owed, rounded, one a currency.
    pub totals: Vec<Money>,
}

/// One product: tokens of a class at a price.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BillLine {
    #[schema(value_type = String)]
    pub model_id: ModelId,
    pub model: String,
    /// The class of tokens.
    #[schema(example = "output_reasoning")]
    pub class: String,
    /// The class whose price applied.
    #[schema(example = "output_text")]
    pub priced_as: String,
    pub tokens: u64,
    /// Money per million tokens.
    #[schema(example = "15")]
    pub price_per_million: String,
    #[schema(value_type = String)]
    pub price_version_id: PriceVersionId,
    /// Since when that price was in force.
    #[schema(value_type = String, format = DateTime)]
    pub price_valid_from: Timestamp,
    /// Exact.
    pub amount: Money,
}

/// What is owed in one currency.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BillSection {
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    /// Requests that were charged.
    pub requests: u64,
    pub lines: Vec<BillLine>,
    /// Charges no line explains; zero unless something is wrong.
    pub unexplained: Money,
    /// The exact sum.
    pub exact: Money,
    /// What rounding added or took.
    pub rounding: Money,
    /// What is owed, in whole minor units.
    pub total: Money,
}

/// Requests nothing was charged for.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NotCharged {
    pub requests: u64,
    pub usage: Usage,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Bill {
    #[serde(flatten)]
    pub summary: BillSummary,
    #[schema(value_type = String, format = DateTime)]
    pub generated_at: Timestamp,
    /// One a currency.
    pub sections: Vec<BillSection>,
    pub not_charged: NotCharged,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListBills {
    /// A month such as `2026-11`; the current one if absent.
    period: Option<String>,
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// Items of the page, 1 to 200. Each is a sum of a month, so pages are small by default.
    #[param(default = 20, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists the bills of a month, one a tenant, the newest tenant first.
#[utoipa::path(get, path = "/admin/v1/bills", tag = "bills", params(ListBills), responses((status = 200, body = Page<BillSummary>)))]
async fn list_bills(
    State(state): State<AppState>,
    scope: Scope,
    Params(query): Params<ListBills>,
) -> Result<axum::Json<Page<BillSummary>>> {
    let page = page_request(Some(query.limit.unwrap_or(DEFAULT_BILLS)), query.after)?;
    let (tenants, next) = if let Some(id) = query.tenant_id {
        (vec![tenants::get(&state.store, scope.rows(), id).await?], None)
    } else {
        let page = tenants::list(&state.store, scope.rows(), &TenantFilter::default(), &page).await?;
        (page.data, page.next.map(|cursor| cursor.to_string()))
    };
    let mut data = Vec::with_capacity(tenants.len());
    for tenant in tenants {
        let period = match &query.period {
            Some(period) => period.clone(),
            None => current_month(&state, &tenant.time_zone)?,
        };
        data.push(BillSummary::read(&compute(&state, scope, tenant.id, &period).await?));
    }
    Ok(axum::Json(Page::new(data, next)))
}

/// Reads a bill line by line.
#[utoipa::path(get, path = "/admin/v1/bills/{tenant_id}/{period}", tag = "bills",
    params(("tenant_id" = String, Path), ("period" = String, Path, example = "2026-11")), responses((status = 200, body = Bill)))]
async fn get_bill(
    State(state): State<AppState>,
    scope: Scope,
    Path((tenant_id, period)): Path<(TenantId, String)>,
) -> Result<axum::Json<Bill>> {
    let bill = compute(&state, scope, tenant_id, &period).await?;
    Ok(axum::Json(Bill {
        summary: BillSummary::read(&bill),
        generated_at: bill.generated_at,
        sections: bill.sections.iter().map(BillSection::read).collect(),
        not_charged: NotCharged { requests: bill.not_charged.requests, usage: Usage::from(&bill.not_charged.usage) },
    }))
}

/// The same as a CSV file.
#[utoipa::path(get, path = "/admin/v1/bills/{tenant_id}/{period}.csv", tag = "bills",
    params(("tenant_id" = String, Path), ("period" = String, Path, example = "2026-11")),
    responses((status = 200, body = String, content_type = "text/csv")))]
async fn get_bill_csv(
    State(state): State<AppState>,
    scope: Scope,
    Path((tenant_id, period)): Path<(TenantId, String)>,
) -> Result<Response> {
    let bill = compute(&state, scope, tenant_id, &period).await?;
    // The period has been read as a month, so it is safe in a header; the tenant's name might not be.
    let file = format!("attachment; filename=\"bill-{tenant_id}-{}.csv\"", bill.period);
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, file)], bill.to_csv())
        .into_response())
}

async fn compute(state: &AppState, scope: Scope, tenant: TenantId, period: &str) -> Result<bills::Bill> {
    match bills::bill(&state.store, scope.rows(), tenant, period).await {
        Ok(bill) => Ok(bill),
        Err(BillError::Store(error)) => Err(error.into()),
        Err(BillError::Period(error)) => Err(invalid_parameter("period", "not_a_month", error.to_string())),
        Err(error @ BillError::Overflow) => Err(Problem::internal(error)),
    }
}

fn current_month(state: &AppState, zone: &str) -> Result<String> {
    let zone = jiff::tz::TimeZone::get(zone).map_err(Problem::internal)?;
    let now = state.now().to_jiff().ok_or_else(|| Problem::internal("the clock is out of range"))?;
    Ok(now.to_zoned(zone).strftime("%Y-%m").to_string())
}

impl BillSummary {
    fn read(bill: &bills::Bill) -> Self {
        Self {
            tenant_id: bill.tenant_id,
            tenant: bill.tenant.clone(),
            period: bill.period.clone(),
            status: BillStatus::Draft,
            time_zone: bill.time_zone.clone(),
            from: bill.period_start,
            to: bill.period_end,
            is_complete: bill.is_complete,
            requests: bill.requests,
            totals: bill.sections.iter().map(total).collect(),
        }
    }
}

/// What is owed: the exact sum and the rounding together.
fn total(section: &bills::BillSection) -> Money {
    let rounded = section.total_exact.checked_add(section.rounding).unwrap_or(section.total_exact);
    Money::new(rounded, section.currency)
}

impl BillSection {
    fn read(section: &bills::BillSection) -> Self {
        let money = |amount| Money::new(amount, section.currency);
        let lines = section.lines.iter().map(|line| BillLine {
            model_id: line.model_id,
            model: line.model.clone(),
            class: line.class.to_string(),
            priced_as: line.priced_as.to_string(),
            tokens: line.tokens,
            price_per_million: line.unit_price_per_million.clone(),
            price_version_id: line.price_version_id,
            price_valid_from: line.price_valid_from,
            amount: money(line.amount),
        });
        Self {
            currency: section.currency,
            requests: section.requests,
            lines: lines.collect(),
            unexplained: money(section.unexplained),
            exact: money(section.total_exact),
            rounding: money(section.rounding),
            total: total(section),
        }
    }
}
