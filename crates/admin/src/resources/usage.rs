//! `/usage`: sums over time, read from rollups.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tallygate_types::{ApiKeyId, TenantId, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::AppState;
use crate::auth::{Permission, Principal};
use crate::form::{Money, Usage};
use crate::http_form::Params;
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes.add(Access::Needs(Permission::UsageRead), routes!(get_usage))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    Hour,
    Day,
    Month,
    /// One sum over the whole range.
    Total,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    None,
    Tenant,
    Key,
    Model,
    Upstream,
    Outcome,
}

/// Counts of one bucket and one group.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UsagePoint {
    /// When the bucket begins, UTC.
    #[schema(value_type = String, format = DateTime)]
    pub start: Timestamp,
    /// The group's id or, for models and outcomes, its name; null when not grouped.
    #[schema(required = true)]
    pub group: Option<String>,
    /// What people call the group.
    #[schema(required = true)]
    pub group_name: Option<String>,
    pub requests: u64,
    /// Requests that did not end with the outcome `ok`.
    pub errors: u64,
    pub usage: Usage,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Charges by currency; empty without the permission `money.read`.
    pub charges: Vec<Money>,
}

/// A series of sums. Buckets in which nothing happened are left out.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UsageReport {
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    pub bucket: Bucket,
    pub group_by: GroupBy,
    pub data: Vec<UsagePoint>,
    /// Whether the series was cut because it had too many points.
    pub truncated: bool,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GetUsage {
    /// From this time on; the last 24 hours if absent.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Before this time; now if absent.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// `hour` if absent and the range is at most seven days, else `day`.
    #[param(inline)]
    bucket: Option<Bucket>,
    /// `none` if absent.
    #[param(inline)]
    group_by: Option<GroupBy>,
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    #[param(value_type = Option<String>)]
    key_id: Option<ApiKeyId>,
    /// The model asked for.
    model: Option<String>,
}

/// Sums requests, tokens and charges over time.
#[utoipa::path(get, path = "/admin/v1/usage", tag = "usage", params(GetUsage), responses((status = 200, body = UsageReport)))]
async fn get_usage(
    State(state): State<AppState>,
    principal: Principal,
    Params(query): Params<GetUsage>,
) -> Result<axum::Json<UsageReport>> {
    let _ = (state, principal, query);
    Err(Problem::not_found("usage"))
}
