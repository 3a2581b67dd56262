//! `/tenants/{id}/budgets`: every budget of a tenant, its own included, and where each stands now.

use axum::extract::State;
use serde::Serialize;
use tallygate_billing::budget::{WindowState, of_tenant, period_at};
use tallygate_store::budgets::{self, BudgetSettings, MAX_BUDGETS_OF_TENANT, SpendingBudget};
use tallygate_store::{BudgetEntry, PageRequest, tenants};
use tallygate_types::{BudgetId, Currency, Pico, TenantId, Timestamp};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::budgets::{BudgetMode, BudgetScope, BudgetSubject, subject_name};
use crate::AppState;
use crate::auth::{Permission, Principal, Scope};
use crate::form::{BudgetPeriod, ManagedBy};
use crate::http_form::{Page, Path};
use crate::problem::Result;
use crate::routes::{Access, Routes};

/// Windows of one tenant that are read at most, those of single end users last.
const MAX_WINDOWS: u32 = 5_000;
/// End users shown at most of a budget that each of them has.
const MAX_END_USERS: usize = 20;

pub fn add(routes: Routes) -> Routes {
    routes.add(Access::Needs(Permission::BudgetsRead), routes!(list_tenant_budgets))
}

/// A budget and its window now. Money is null without the permission `money.read`.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantBudget {
    /// Null for the tenant's own budget, which is set at the tenant.
    #[schema(value_type = Option<String>, required = true)]
    pub id: Option<BudgetId>,
    #[serde(flatten)]
    pub subject: BudgetSubject,
    /// What people call whom it is of; null for the whole tenant.
    #[schema(required = true)]
    pub subject_name: Option<String>,
    /// Whether each end user has as much for themself: `end_user` is then whose window this is, null before anybody's first.
    pub is_of_each: bool,
    pub period: BudgetPeriod,
    #[schema(value_type = Option<String>, required = true, example = "100.00")]
    pub amount: Option<Pico>,
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    pub mode: BudgetMode,
    pub alerts: Vec<u16>,
    /// What the calls that have ended cost; calls under way are not in it.
    #[schema(value_type = Option<String>, required = true, example = "80.00")]
    pub spent: Option<Pico>,
    #[schema(value_type = Option<String>, required = true, example = "20.00")]
    pub remaining: Option<Pico>,
    /// What was spent beyond the amount.
    #[schema(value_type = Option<String>, required = true, example = "0")]
    pub overspent: Option<Pico>,
    /// Of the amount spent, rounded down; null without `money.read`.
    #[schema(required = true, example = 80)]
    pub percent: Option<u32>,
    /// Whether nothing is left.
    pub is_used_up: bool,
    /// Null for a budget of all time.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub starts_at: Option<Timestamp>,
    /// Null for a budget of all time.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub resets_at: Option<Timestamp>,
    pub managed_by: ManagedBy,
    /// For `If-Match`; null with `id`.
    #[schema(required = true)]
    pub version: Option<i64>,
}

/// Lists every budget of a tenant with its window now, its own first, all on one page. Of a budget that each end user has for
/// themself, the windows of the 20 who spent most.
#[utoipa::path(get, path = "/admin/v1/tenants/{id}/budgets", tag = "budgets", params(("id" = String, Path)),
    responses((status = 200, body = Page<TenantBudget>)))]
async fn list_tenant_budgets(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<TenantId>,
    principal: Principal,
) -> Result<axum::Json<Page<TenantBudget>>> {
    let tenant = tenants::get(&state.store, scope.rows(), id).await?;
    let now = state.now();
    let windows = of_tenant(&state.store, id, now, MAX_WINDOWS).await?;
    let own = tenant.budget.map(|budget| Shown::own(id, budget, tenant.managed_by));
    let page = PageRequest::first(u32::try_from(MAX_BUDGETS_OF_TENANT).unwrap_or(u32::MAX));
    let others = budgets::list(&state.store, scope.rows(), Some(id), &page).await?.data;

    let mut data = Vec::new();
    for shown in own.into_iter().chain(others.into_iter().map(Shown::other)) {
        let subject = BudgetSubject::from(shown.settings.scope.clone());
        let name = subject_name(&state.store, id, &subject).await?;
        for window in shown.windows(&windows, now, &tenant.time_zone) {
            data.push(shown.standing(subject.clone(), name.clone(), window, now, &tenant.time_zone));
        }
    }
    if !principal.may(Permission::MoneyRead) {
        data.iter_mut().for_each(TenantBudget::hide_money);
    }
    // Stable: the end users of one budget stay as they were ranked.
    data.sort_by(|a, b| a.place().cmp(&b.place()));
    Ok(axum::Json(Page::new(data, None)))
}

/// The tenant's own budget, or one of the others.
struct Shown {
    /// What windows know it by: the tenant's own budget has the tenant's id.
    budget: BudgetId,
    id: Option<BudgetId>,
    version: Option<i64>,
    managed_by: ManagedBy,
    settings: BudgetSettings,
}

impl Shown {
    fn own(tenant: TenantId, budget: tallygate_store::Budget, managed_by: tallygate_store::ManagedBy) -> Self {
        let BudgetEntry { id, settings, .. } = BudgetEntry::of_tenant(tenant, budget);
        Self { budget: id, id: None, version: None, managed_by: managed_by.into(), settings }
    }

    fn other(row: SpendingBudget) -> Self {
        Self {
            budget: row.id,
            id: Some(row.id),
            version: Some(row.version),
            managed_by: row.managed_by.into(),
            settings: row.settings,
        }
    }

    fn is_of_each(&self) -> bool {
        self.settings.scope == budgets::BudgetScope::EndUser { end_user: None }
    }

    /// Its windows now. A window of a period, a currency or a time zone that it had before is not one of them. None: nothing was
    /// spent yet.
    fn windows<'a>(&self, all: &'a [WindowState], now: Timestamp, zone: &str) -> Vec<Option<&'a WindowState>> {
        let BudgetSettings { period, currency, .. } = self.settings;
        let since = period_at(period, now, zone).start;
        let is_its = |state: &&WindowState| {
            (state.budget, state.period, state.currency, state.since) == (self.budget, period, currency, since)
        };
        let mut windows: Vec<_> = all.iter().filter(is_its).map(Some).collect();
        windows.sort_by_key(|window| std::cmp::Reverse(window.map(|state| state.spent)));
        windows.truncate(if self.is_of_each() { MAX_END_USERS } else { 1 });
        if windows.is_empty() { vec![None] } else { windows }
    }

    fn standing(
        &self,
        mut subject: BudgetSubject,
        name: Option<String>,
        window: Option<&WindowState>,
        now: Timestamp,
        zone: &str,
    ) -> TenantBudget {
        let BudgetSettings { period, amount, currency, mode, ref alerts, .. } = self.settings;
        let end_user = window.map(|state| state.subject.clone()).filter(|user| self.is_of_each() && !user.is_empty());
        subject.end_user = subject.end_user.or_else(|| end_user.clone());
        let spent = window.map_or(Pico::ZERO, |state| state.spent);
        let left = amount.get().saturating_sub(spent.get());
        let bounds = period_at(period, now, zone);
        let ends = period != tallygate_store::BudgetPeriod::Total;
        TenantBudget {
            id: self.id,
            subject,
            subject_name: name.or(end_user),
            is_of_each: self.is_of_each(),
            period: period.into(),
            amount: Some(amount),
            currency,
            mode: mode.into(),
            alerts: alerts.clone(),
            spent: Some(spent),
            remaining: Some(Pico::new(left.max(0))),
            overspent: Some(Pico::new(left.saturating_neg().max(0))),
            percent: Some(percent(spent, amount)),
            is_used_up: left <= 0,
            starts_at: ends.then_some(bounds.start),
            resets_at: ends.then_some(bounds.end),
            managed_by: self.managed_by,
            version: self.version,
        }
    }
}

impl TenantBudget {
    fn hide_money(&mut self) {
        (self.amount, self.spent, self.remaining, self.overspent, self.percent) = (None, None, None, None, None);
    }

    /// Where it stands in the list.
    fn place(&self) -> (BudgetScope, bool, Option<&str>, Option<BudgetId>) {
        // The windows of a budget that each end user has stay together.
        let name = if self.is_of_each { None } else { self.subject_name.as_deref() };
        (self.subject.scope, self.id.is_some(), name, self.id)
    }
}

/// How much of `amount` is spent; of a budget of nothing, all.
fn percent(spent: Pico, amount: Pico) -> u32 {
    let of = spent.get().saturating_mul(100).checked_div(amount.get()).unwrap_or(100);
    u32::try_from(of.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_percent_is_all_of_it() {
        let percent = |spent, amount| percent(Pico::new(spent), Pico::new(amount));
        assert_eq!((percent(0, 3), percent(1, 3), percent(299, 300), percent(3, 3), percent(7, 3)), (0, 33, 99, 100, 233));
        assert_eq!((percent(0, 0), percent(1, 0)), (100, 100));
    }
}
