//! `/overview`: the state of the installation at a glance.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tallygate_types::{RequestId, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::AppState;
use crate::auth::{Permission, Principal};
use crate::form::Money;
use crate::http_form::Params;
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Critical,
    Warning,
    Information,
}

/// Something somebody should look at.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Attention {
    pub severity: Severity,
    /// What it is, for programs and translations: `model_unpriced`, `model_without_target`, `upstream_without_credential`,
    /// `tenant_near_budget`, `tenant_over_budget`, `requests_unpriced`, `requests_failing`.
    #[schema(example = "model_unpriced")]
    pub code: String,
    /// The kind of thing it is about: `model`, `tenant`, `upstream`, `request`.
    #[schema(required = true)]
    pub target_kind: Option<String>,
    #[schema(required = true)]
    pub target_id: Option<String>,
    #[schema(required = true)]
    pub target_name: Option<String>,
    /// What is the matter and what to do.
    pub detail: String,
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

/// Sums, leaders and what needs attention.
#[utoipa::path(get, path = "/admin/v1/overview", tag = "overview", params(GetOverview), responses((status = 200, body = Overview)))]
async fn get_overview(
    State(state): State<AppState>,
    principal: Principal,
    Params(query): Params<GetOverview>,
) -> Result<axum::Json<Overview>> {
    let _ = (state, principal, query.window_hours);
    Err(Problem::not_found("overview"))
}
