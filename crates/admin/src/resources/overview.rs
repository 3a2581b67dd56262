//! `/overview`: the state of the installation at a glance.

use std::collections::HashSet;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tallygate_billing::usage::{self, StoredUsage, SumFilter, UsageFilter, UsageSum};
use tallygate_billing::{Budgets, Outcome, prices};
use tallygate_store::models::{self, Model, ModelFilter};
use tallygate_store::tenants::{self, Tenant, TenantFilter};
use tallygate_store::upstreams::{self, Status, Upstream, UpstreamFilter};
use tallygate_store::{PageRequest, TenantScope, credentials};
use tallygate_types::{ModelId, RequestId, Timestamp};
use url::{Host, Url};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::usage::{GroupBy, group_names};
use crate::AppState;
use crate::auth::{Permission, Principal};
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
/// Resources of a kind that are looked through for what needs attention.
const LOOKED_AT: u32 = 500;
/// From this share of its budget on a tenant needs attention.
const NEAR_BUDGET_PERCENT: i128 = 80;
/// A share of failures means something from this many requests on.
const FAILING_FROM_REQUESTS: u64 = 20;
const FAILING_FROM_PERCENT: u64 = 10;

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
}

/// Something somebody should look at.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Attention {
    pub severity: Severity,
    /// What it is, for programs and translations: `model_unpriced`, `model_without_target`, `upstream_without_credential`,
    /// `tenant_near_budget`, `tenant_over_budget`, `requests_failing`.
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

/// Sums, leaders and what needs attention. Sums are of whole hours.
#[utoipa::path(get, path = "/admin/v1/overview", tag = "overview", params(GetOverview), responses((status = 200, body = Overview)))]
async fn get_overview(
    State(state): State<AppState>,
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
            let sums = usage::totals(store, TenantScope::All, &filter, None).await?;
            Ok::<_, Problem>(sums.first().map(|sum| WindowTotals::read(sum, sees_money)).unwrap_or_default())
        }
    };
    let totals = whole(from, to).await?;
    let previous = whole(before, from).await?;
    let newest = usage::list(&state.store, TenantScope::All, &UsageFilter::default(), &PageRequest::first(1)).await?;
    let inventory = Inventory::read(&state).await?;
    let counts = tallygate_store::counts(&state.store).await?;
    let mut attention = inventory.attention(&state, to, sees_money);
    attention.extend(failing(&totals));
    attention.sort_by_key(|item| item.severity);
    Ok(axum::Json(Overview {
        from,
        to,
        totals,
        previous,
        latency: latency(&state, from, to).await?,
        counts: Counts { tenants: counts.tenants, api_keys: counts.api_keys, upstreams: counts.upstreams, models: counts.models },
        top_models: leaders(&state, &filter(from, to), GroupBy::Model, sees_money).await?,
        top_tenants: leaders(&state, &filter(from, to), GroupBy::Tenant, sees_money).await?,
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

async fn leaders(state: &AppState, filter: &SumFilter, group_by: GroupBy, sees_money: bool) -> Result<Vec<Leader>> {
    let group = if group_by == GroupBy::Tenant { usage::GroupBy::Tenant } else { usage::GroupBy::Model };
    let mut sums = usage::totals(&state.store, TenantScope::All, filter, Some(group)).await?;
    sums.truncate(LEADERS);
    let names = group_names(state, group_by, sums.iter().filter_map(|sum| sum.group.as_deref())).await?;
    let leaders = sums.into_iter().filter_map(|sum| {
        let group = sum.group.clone().filter(|group| !group.is_empty())?;
        let name = names.get(&group).unwrap_or(&group).clone();
        Some(Leader { name, totals: WindowTotals::read(&sum, sees_money), group })
    });
    Ok(leaders.collect())
}

async fn latency(state: &AppState, from: Timestamp, to: Timestamp) -> Result<Option<LatencySummary>> {
    let filter = UsageFilter { outcome: Some(Outcome::Ok), from: Some(from), to: Some(to), ..UsageFilter::default() };
    let page = usage::list(&state.store, TenantScope::All, &filter, &PageRequest::first(LATENCY_SAMPLE)).await?;
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

fn failing(totals: &WindowTotals) -> Option<Attention> {
    let is_failing = totals.requests >= FAILING_FROM_REQUESTS && totals.errors * 100 >= totals.requests * FAILING_FROM_PERCENT;
    is_failing.then(|| Attention {
        severity: Severity::Warning,
        code: "requests_failing".to_owned(),
        target_kind: Some("request".to_owned()),
        target_id: None,
        target_name: None,
        detail: format!("{} of {} requests failed in this window.", totals.errors, totals.requests),
    })
}

/// What is configured, as far as an overview looks at it.
struct Inventory {
    tenants: Vec<Tenant>,
    upstreams: Vec<(Upstream, bool)>,
    models: Vec<Model>,
    priced: HashSet<ModelId>,
}

impl Inventory {
    async fn read(state: &AppState) -> Result<Self> {
        let (store, page) = (&state.store, PageRequest::first(LOOKED_AT));
        let tenants = tenants::list(store, TenantScope::All, &TenantFilter::default(), &page).await?.data;
        let models = models::list(store, &ModelFilter::default(), &page).await?.data;
        let mut upstreams = Vec::new();
        for upstream in upstreams::list(store, &UpstreamFilter::default(), &page).await?.data {
            let own = credentials::list(store, upstream.id).await?;
            upstreams.push((upstream, own.iter().any(|credential| credential.status == Status::Active)));
        }
        let now = state.now();
        let prices = prices::list(store, None).await?;
        let priced = prices.into_iter().filter(|price| price.valid_from <= now).map(|price| price.model_id).collect();
        Ok(Self { tenants, upstreams, models, priced })
    }

    fn attention(&self, state: &AppState, now: Timestamp, sees_money: bool) -> Vec<Attention> {
        let models = self.models.iter().filter(|model| model.status == Status::Active).flat_map(|model| self.of_model(model));
        let upstreams = self.upstreams.iter().filter(|(upstream, has_credential)| {
            upstream.status == Status::Active && !has_credential && !is_local(&upstream.base_url)
        });
        let upstreams = upstreams.map(|(upstream, _)| {
            let detail = "It has no active credential, so the provider will refuse what is sent there; add one.";
            about(Severity::Warning, "upstream_without_credential", "upstream", upstream.id.to_string(), &upstream.name, detail)
        });
        let budgets = state.budgets.as_ref();
        let tenants = self.tenants.iter().filter_map(|tenant| of_budget(tenant, budgets?, now, sees_money));
        models.chain(upstreams).chain(tenants).collect()
    }

    fn of_model(&self, model: &Model) -> Vec<Attention> {
        let mut found = Vec::new();
        let id = || model.id.to_string();
        if !self.priced.contains(&model.id) {
            let detail = "It has no price in force, so nobody can call it; set one.";
            found.push(about(Severity::Critical, "model_unpriced", "model", id(), &model.name, detail));
        }
        let is_served = model.targets.iter().any(|target| {
            target.weight > 0
                && self
                    .upstreams
                    .iter()
                    .any(|(upstream, _)| upstream.id == target.upstream_id && upstream.status == Status::Active)
        });
        if !is_served {
            let detail = "It has no target at an active upstream, so every call of it fails; add a target or enable an upstream.";
            found.push(about(Severity::Critical, "model_without_target", "model", id(), &model.name, detail));
        }
        found
    }
}

fn of_budget(tenant: &Tenant, budgets: &Budgets, now: Timestamp, sees_money: bool) -> Option<Attention> {
    let budget = tenant.budget?;
    let spent = budgets.state(tenant.id, budget.currency, now)?.spent;
    let percent = spent.get().checked_mul(100)?.checked_div(budget.amount.get()).unwrap_or(i128::MAX);
    let (severity, code) = match percent {
        100.. => (Severity::Critical, "tenant_over_budget"),
        NEAR_BUDGET_PERCENT..100 => (Severity::Warning, "tenant_near_budget"),
        _ => return None,
    };
    let detail = if sees_money {
        format!("{spent} of {} {} are spent this month.", budget.amount, budget.currency)
    } else {
        format!("{percent} % of its budget are spent this month.")
    };
    Some(about(severity, code, "tenant", tenant.id.to_string(), &tenant.name, &detail))
}

fn about(severity: Severity, code: &str, kind: &str, id: String, name: &str, detail: &str) -> Attention {
    Attention {
        severity,
        code: code.to_owned(),
        target_kind: Some(kind.to_owned()),
        target_id: Some(id),
        target_name: Some(name.to_owned()),
        detail: detail.to_owned(),
    }
}

/// Models on the operator's own machines often need no credential.
fn is_local(base_url: &str) -> bool {
    match Url::parse(base_url).ok().and_then(|url| url.host().map(|host| host.to_owned())) {
        Some(Host::Domain(name)) => !name.contains('.'),
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_private(),
        Some(Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unique_local(),
        None => false,
    }
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

    #[test]
    fn only_models_on_own_machines_may_lack_a_credential() {
        for (url, local) in [
            ("http://127.0.0.1:11434", true),
            ("http://ollama:11434", true),
            ("http://10.1.2.3/v1", true),
            ("http://[::1]:8000", true),
            ("https://api.openai.com", false),
            ("https://8.8.8.8", false),
        ] {
            assert_eq!(is_local(url), local, "{url}");
        }
    }
}
