//! What of an installation somebody should look at.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use tallygate_billing::budget::{self, WindowState};
use tallygate_billing::prices;
use tallygate_store::models::{self, Model, ModelFilter};
use tallygate_store::tenants::{self, Tenant, TenantFilter};
use tallygate_store::upstreams::{self, Status, Upstream, UpstreamFilter};
use tallygate_store::{BudgetPeriod, PageRequest, credentials};
use tallygate_types::{BudgetId, ModelId};
use url::{Host, Url};
use utoipa::ToSchema;

use super::overview::WindowTotals;
use crate::AppState;
use crate::auth::Scope;
use crate::problem::Result;

/// Resources of a kind that are looked through for what needs attention.
const LOOKED_AT: u32 = 500;
/// From this share of its budget on a tenant needs attention.
const NEAR_BUDGET_PERCENT: i128 = 80;
/// A share of failures means something from this many requests on.
const FAILING_FROM_REQUESTS: u64 = 20;
const FAILING_FROM_PERCENT: u64 = 10;

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

/// That requests fail, if enough of them do to mean something.
pub fn failing(totals: &WindowTotals) -> Option<Attention> {
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
pub struct Inventory {
    tenants: Vec<Tenant>,
    upstreams: Vec<(Upstream, bool)>,
    models: Vec<Model>,
    /// Of budgets, by their ids.
    windows: HashMap<BudgetId, Vec<WindowState>>,
    pub priced: HashSet<ModelId>,
}

impl Inventory {
    pub async fn read(state: &AppState, scope: Scope) -> Result<Self> {
        let (store, page) = (&state.store, PageRequest::first(LOOKED_AT));
        let tenants = tenants::list(store, scope.rows(), &TenantFilter::default(), &page).await?.data;
        let models = models::list(store, &ModelFilter::default(), &page).await?.data;
        let mut upstreams = Vec::new();
        for upstream in upstreams::list(store, &UpstreamFilter::default(), &page).await?.data {
            let own = credentials::list(store, upstream.id).await?;
            upstreams.push((upstream, own.iter().any(|credential| credential.status == Status::Active)));
        }
        let now = state.now();
        let prices = prices::list(store, None).await?;
        let priced = prices.into_iter().filter(|price| price.valid_from <= now).map(|price| price.model_id).collect();
        let mut windows: HashMap<BudgetId, Vec<WindowState>> = HashMap::new();
        for window in budget::largest(store, now, LOOKED_AT).await? {
            windows.entry(window.budget).or_default().push(window);
        }
        Ok(Self { tenants, upstreams, models, windows, priced })
    }

    pub fn attention(&self, sees_money: bool) -> Vec<Attention> {
        let models = self.models.iter().filter(|model| model.status == Status::Active).flat_map(|model| self.of_model(model));
        let upstreams = self.upstreams.iter().filter(|(upstream, has_credential)| {
            upstream.status == Status::Active && !has_credential && !is_local(&upstream.base_url)
        });
        let upstreams = upstreams.map(|(upstream, _)| {
            let detail = "It has no active credential, so the provider will refuse what is sent there; add one.";
            about(Severity::Warning, "upstream_without_credential", "upstream", upstream.id.to_string(), &upstream.name, detail)
        });
        let tenants = self.tenants.iter().filter_map(|tenant| self.of_budget(tenant, sees_money));
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
            target.settings.weight > 0
                && self
                    .upstreams
                    .iter()
                    .any(|(upstream, _)| upstream.id == target.settings.upstream_id && upstream.status == Status::Active)
        });
        if !is_served {
            let detail = "It has no target at an active upstream, so every call of it fails; add a target or enable an upstream.";
            found.push(about(Severity::Critical, "model_without_target", "model", id(), &model.name, detail));
        }
        found
    }

    fn of_budget(&self, tenant: &Tenant, sees_money: bool) -> Option<Attention> {
        let budget = tenant.budget?;
        let is_of_it = |window: &&WindowState| window.currency == budget.currency && window.period == budget.period;
        let spent = self.windows.get(&BudgetId::from_uuid(tenant.id.uuid()))?.iter().find(is_of_it)?.spent;
        let percent = spent.get().checked_mul(100)?.checked_div(budget.amount.get()).unwrap_or(i128::MAX);
        let when = match budget.period {
            BudgetPeriod::Day => " today",
            BudgetPeriod::Month => " this month",
            BudgetPeriod::Total => "",
        };
        let (severity, code, figureless) = match percent {
            100.. => (Severity::Critical, "tenant_over_budget", format!("Its budget is spent{when}.")),
            NEAR_BUDGET_PERCENT..100 => {
                let detail = format!("At least {NEAR_BUDGET_PERCENT} % of its budget are spent{when}.");
                (Severity::Warning, "tenant_near_budget", detail)
            }
            _ => return None,
        };
        let (amount, currency) = (budget.amount, budget.currency);
        let detail = if sees_money { format!("{spent} of {amount} {currency} are spent{when}.") } else { figureless };
        Some(about(severity, code, "tenant", tenant.id.to_string(), &tenant.name, &detail))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
