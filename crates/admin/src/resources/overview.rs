//! `/overview`: the state of the installation at a glance.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tallygate_billing::Outcome;
use tallygate_billing::usage::{self, StoredUsage, SumFilter, UsageFilter, UsageSum};
use tallygate_store::PageRequest;
use tallygate_types::{RequestId, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::attention::{Attention, Inventory, failing};
use super::names::group_names;
use super::usage::GroupBy;
use crate::AppState;
use crate::auth::{Permission, Principal, Scope};
use crate::form::{Money, charges, millis};
use crate::http_form::{Params, invalid_parameter};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

const DEFAULT_WINDOW_HOURS: u32 = 24;
const MAX_WINDOW_HOURS: u32 = 720;
const MICROS_PER_HOUR: i64 = 3_600 * 1_000_000;
/// Models and tenants shown as leading.
const LEADERS: usize = 5;
/// Latest successful requests that percentiles are taken of.
const LATENCY_SAMPLE: u32 = 500;
pub fn add(routes: Routes) -> Routes {
    routes.add(Access::Needs(Permission::OverviewRead), routes!(get_overview))
}

/// Sums over a window.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct WindowTotals {
    pub requests: u64,
    /// Requests that did not end with the outcome `ok`.
    pub errors: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Charges by currency; empty without the permission `money.read`.
    pub charges: Vec<Money>,
}

/// How many of each there are.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Counts {
    pub tenants: u64,
    pub api_keys: u64,
    pub upstreams: u64,
    pub models: u64,
}

/// The first steps of a new installation.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct GettingStarted {
    pub has_upstream: bool,
    pub has_model: bool,
    pub has_price: bool,
    pub has_tenant: bool,
    pub has_api_key: bool,
    /// The latest request that ended; null until the first one arrives.
    #[schema(value_type = Option<String>, required = true)]
    pub latest_request_id: Option<RequestId>,
}

/// Groups that lead the window.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Leader {
    /// The group's id or, for models, its name.
    pub group: String,
    pub name: String,
    #[serde(flatten)]
    pub totals: WindowTotals,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Overview {
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    pub totals: WindowTotals,
    /// The window of the same length before.
    pub previous: WindowTotals,
    /// Medians and tails over the window's latest requests; null without any.
    #[schema(required = true)]
    pub latency: Option<LatencySummary>,
    pub counts: Counts,
    pub top_models: Vec<Leader>,
    pub top_tenants: Vec<Leader>,
    pub attention: Vec<Attention>,
    pub getting_started: GettingStarted,
}

/// Percentiles over the latest requests of the window that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LatencySummary {
    /// How many requests were looked at.
    pub sample: u64,
    pub first_byte_ms_p50: u64,
    pub first_byte_ms_p95: u64,
    pub duration_ms_p50: u64,
    pub duration_ms_p95: u64,
    pub overhead_us_p99: u64,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GetOverview {
    /// How far back to look, 1 to 720.
    #[param(default = 24, minimum = 1, maximum = 720)]
    window_hours: Option<u32>,
}

/// Sums, leaders and what needs attention. Sums are of whole hours.
#[utoipa::path(get, path = "/admin/v1/overview", tag = "overview", params(GetOverview), responses((status = 200, body = Overview)))]
async fn get_overview(
    State(state): State<AppState>,
    scope: Scope,
    principal: Principal,
    Params(query): Params<GetOverview>,
) -> Result<axum::Json<Overview>> {
    let hours = query.window_hours.unwrap_or(DEFAULT_WINDOW_HOURS);
    if !(1..=MAX_WINDOW_HOURS).contains(&hours) {
        let reason = format!("`window_hours` must be from 1 to {MAX_WINDOW_HOURS}.");
        return Err(invalid_parameter("window_hours", "out_of_range", reason));
    }
    let to = state.now();
    let window = i64::from(hours) * MICROS_PER_HOUR;
    let from = Timestamp::from_micros(to.micros().saturating_sub(window));
    let before = Timestamp::from_micros(from.micros().saturating_sub(window));
    let sees_money = principal.may(Permission::MoneyRead);
    let filter = |from, to| SumFilter { from, to, tenant: None, key: None, model: None, upstream: None };
    let whole = |from, to| {
        let filter = filter(from, to);
        let store = &state.store;
        async move {
            let sums = usage::totals(store, scope.rows(), &filter, None).await?;
            Ok::<_, Problem>(sums.first().map(|sum| WindowTotals::read(sum, sees_money)).unwrap_or_default())
        }
    };
    let totals = whole(from, to).await?;
    let previous = whole(before, from).await?;
    let newest = usage::list(&state.store, scope.rows(), &UsageFilter::default(), &PageRequest::first(1)).await?;
    let inventory = Inventory::read(&state, scope).await?;
    let counts = tallygate_store::counts(&state.store).await?;
    let mut attention = inventory.attention(sees_money);
    attention.extend(failing(&totals));
    attention.sort_by_key(|item| item.severity);
    Ok(axum::Json(Overview {
        from,
        to,
        totals,
        previous,
        latency: latency(&state, scope, from, to).await?,
        counts: Counts { tenants: counts.tenants, api_keys: counts.api_keys, upstreams: counts.upstreams, models: counts.models },
        top_models: leaders(&state, scope, &filter(from, to), GroupBy::Model, sees_money).await?,
        top_tenants: leaders(&state, scope, &filter(from, to), GroupBy::Tenant, sees_money).await?,
        attention,
        getting_started: GettingStarted {
            has_upstream: counts.upstreams > 0,
            has_model: counts.models > 0,
            has_price: !inventory.priced.is_empty(),
            has_tenant: counts.tenants > 0,
            has_api_key: counts.api_keys > 0,
            latest_request_id: newest.data.first().map(|record| record.request_id),
        },
    }))
}

async fn leaders(state: &AppState, scope: Scope, filter: &SumFilter, group_by: GroupBy, sees_money: bool) -> Result<Vec<Leader>> {
    let group = if group_by == GroupBy::Tenant { usage::GroupBy::Tenant } else { usage::GroupBy::Model };
    let mut sums = usage::totals(&state.store, scope.rows(), filter, Some(group)).await?;
    sums.truncate(LEADERS);
    let names = group_names(state, scope, group_by, sums.iter().filter_map(|sum| sum.group.as_deref())).await?;
    let leaders = sums.into_iter().filter_map(|sum| {
        let group = sum.group.clone().filter(|group| !group.is_empty())?;
        let name = names.get(&group).unwrap_or(&group).clone();
        Some(Leader { name, totals: WindowTotals::read(&sum, sees_money), group })
    });
    Ok(leaders.collect())
}

async fn latency(state: &AppState, scope: Scope, from: Timestamp, to: Timestamp) -> Result<Option<LatencySummary>> {
    let filter = UsageFilter { outcome: Some(Outcome::Ok), from: Some(from), to: Some(to), ..UsageFilter::default() };
    let page = usage::list(&state.store, scope.rows(), &filter, &PageRequest::first(LATENCY_SAMPLE)).await?;
    let sorted = |of: &dyn Fn(&StoredUsage) -> Option<u64>| {
        let mut values: Vec<u64> = page.data.iter().filter_map(of).collect();
        values.sort_unstable();
        values
    };
    let first_byte = sorted(&|record| record.first_byte_at.map(|at| millis(at.since(record.accepted_at))));
    let duration = sorted(&|record| Some(millis(record.finished_at.since(record.accepted_at))));
    let overhead = sorted(&|record| Some(record.overhead_us));
    if duration.is_empty() {
        return Ok(None);
    }
    Ok(Some(LatencySummary {
        sample: duration.len() as u64,
        first_byte_ms_p50: percentile(&first_byte, 50),
        first_byte_ms_p95: percentile(&first_byte, 95),
        duration_ms_p50: percentile(&duration, 50),
        duration_ms_p95: percentile(&duration, 95),
        overhead_us_p99: percentile(&overhead, 99),
    }))
}

/// The nearest-rank percentile of sorted values; 0 of none.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

impl WindowTotals {
    fn read(sum: &UsageSum, sees_money: bool) -> Self {
        Self {
            requests: sum.requests,
            errors: sum.errors,
            input_tokens: sum.usage.input_total(),
            output_tokens: sum.usage.output_total(),
            charges: charges(&sum.charge, sees_money),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_occurred() {
        let values: Vec<u64> = (1..=20).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 95), percentile(&values, 99)), (10, 19, 20));
        assert_eq!((percentile(&[7], 50), percentile(&[], 95)), (7, 0));
    }
}
