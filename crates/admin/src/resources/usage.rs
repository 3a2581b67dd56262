//! `/usage`: sums over time, read from rollups.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tallygate_billing::usage::{self, SumFilter, UsageSum};
use tallygate_types::{ApiKeyId, TenantId, Timestamp, UpstreamId};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::names::group_names;
use crate::AppState;
use crate::auth::{Permission, Principal, Scope};
use crate::form::{Money, Usage, charges};
use crate::http_form::{Params, about_parameter, invalid_parameter};
use crate::problem::Result;
use crate::routes::{Access, Routes};

/// The range when `from` is absent: a day.
const DEFAULT_RANGE_MICROS: i64 = 24 * 3_600 * 1_000_000;
/// Ranges up to this are shown by the hour unless asked otherwise.
const HOURLY_UP_TO: Duration = Duration::from_hours(7 * 24);
/// Points of one answer at most.
const MAX_POINTS: usize = 20_000;
const MICROS_PER_MILLI: u64 = 1_000;

pub fn add(routes: Routes) -> Routes {
    routes.add(Access::Needs(Permission::UsageRead), routes!(get_usage))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bucket {
    Hour,
    /// Days of the time zone asked for.
    Day,
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
    /// When the bucket begins.
    #[schema(value_type = String, format = DateTime)]
    pub start: Timestamp,
    /// The group's id (tenants, keys) or its name (models, upstreams, outcomes); null when not grouped.
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
    /// What providers' prompt caches saved by currency, less what writing them cost more; may be below zero. Empty without the
    /// permission `money.read`.
    pub cache_saved: Vec<Money>,
    #[schema(required = true)]
    pub mean_duration_ms: Option<u64>,
    /// Over the requests that got an answer.
    #[schema(required = true)]
    pub mean_first_byte_ms: Option<u64>,
    /// What the gateway itself added.
    #[schema(required = true)]
    pub mean_overhead_us: Option<u64>,
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
    /// Only for the platform's staff, as is to group by it.
    #[param(value_type = Option<String>)]
    upstream_id: Option<UpstreamId>,
    /// The IANA time zone in which days begin; `UTC` if absent.
    time_zone: Option<String>,
}

/// Sums requests, tokens and charges over time. The range is widened to whole hours.
#[utoipa::path(get, path = "/admin/v1/usage", tag = "usage", params(GetUsage), responses((status = 200, body = UsageReport)))]
async fn get_usage(
    State(state): State<AppState>,
    scope: Scope,
    principal: Principal,
    Params(query): Params<GetUsage>,
) -> Result<axum::Json<UsageReport>> {
    let by_upstream = query.group_by == Some(GroupBy::Upstream);
    scope.check_staff_parameters(&[("upstream_id", query.upstream_id.is_some()), ("group_by", by_upstream)])?;
    let to = query.to.unwrap_or_else(|| state.now());
    let from = query.from.unwrap_or_else(|| Timestamp::from_micros(to.micros().saturating_sub(DEFAULT_RANGE_MICROS)));
    if from >= to {
        return Err(invalid_parameter("to", "out_of_range", "`to` must be later than `from`."));
    }
    let bucket = query.bucket.unwrap_or(if to.since(from) <= HOURLY_UP_TO { Bucket::Hour } else { Bucket::Day });
    let group_by = query.group_by.unwrap_or(GroupBy::None);
    let filter =
        SumFilter { from, to, tenant: query.tenant_id, key: query.key_id, model: query.model, upstream: query.upstream_id };
    let group = match group_by {
        GroupBy::None => None,
        GroupBy::Tenant => Some(usage::GroupBy::Tenant),
        GroupBy::Key => Some(usage::GroupBy::Key),
        GroupBy::Model => Some(usage::GroupBy::Model),
        GroupBy::Upstream => Some(usage::GroupBy::Upstream),
        GroupBy::Outcome => Some(usage::GroupBy::Outcome),
    };
    let zone = query.time_zone.as_deref().unwrap_or("UTC");
    let series =
        async |bucket| usage::series(&state.store, scope.rows(), &filter, bucket, group, zone).await.map_err(about_parameter);
    let mut points: Vec<(Timestamp, UsageSum)> = match bucket {
        Bucket::Hour => series(usage::Bucket::Hour).await?.into_iter().map(|point| (point.at, point.sum)).collect(),
        Bucket::Day => series(usage::Bucket::Day).await?.into_iter().map(|point| (point.at, point.sum)).collect(),
        Bucket::Total => {
            let sums = usage::totals(&state.store, scope.rows(), &filter, group).await?;
            sums.into_iter().map(|sum| (from, sum)).collect()
        }
    };
    let truncated = points.len() > MAX_POINTS;
    points.truncate(MAX_POINTS);
    let names = group_names(&state, scope, group_by, points.iter().filter_map(|(_, sum)| sum.group.as_deref())).await?;
    let sees_money = principal.may(Permission::MoneyRead);
    let data = points.into_iter().map(|(start, sum)| UsagePoint::read(start, sum, &names, sees_money)).collect();
    Ok(axum::Json(UsageReport { from, to, bucket, group_by, data, truncated }))
}

impl UsagePoint {
    fn read(start: Timestamp, sum: UsageSum, names: &HashMap<String, String>, sees_money: bool) -> Self {
        Self {
            start,
            group_name: sum.group.as_ref().and_then(|group| names.get(group).cloned()),
            requests: sum.requests,
            errors: sum.errors,
            usage: Usage::from(&sum.usage),
            input_tokens: sum.usage.input_total(),
            output_tokens: sum.usage.output_total(),
            charges: charges(&sum.charge, sees_money),
            cache_saved: charges(&sum.cache_saved, sees_money),
            mean_duration_ms: (sum.duration_us / MICROS_PER_MILLI).checked_div(sum.requests),
            mean_first_byte_ms: (sum.first_byte_us / MICROS_PER_MILLI).checked_div(sum.first_byte_count),
            mean_overhead_us: sum.overhead_us.checked_div(sum.requests),
            group: sum.group,
        }
    }
}
