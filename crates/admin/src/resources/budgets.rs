//! `/budgets`: what may be spent in a period by a tenant, a project or a key, on a model, or for end users. A tenant's own budget
//! is set at the tenant; how far all of them are spent: `tenant_budgets`.

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tallygate_store::budgets::{self, BudgetSettings};
use tallygate_store::{Source, TenantScope, Tx, keys, models, projects, tenants};
use tallygate_types::{ApiKeyId, BudgetId, Currency, Pico, ProjectId, TenantId, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::names::if_there;
use crate::AppState;
use crate::audit::{Change, Target};
use crate::auth::{Permission, Principal, Scope};
use crate::form::{BudgetPeriod, ManagedBy};
use crate::http_form::{Body, Created, Found, IfMatch, Page, Params, Path, Versioned, given, page_request};
use crate::problem::{FieldError, Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::BudgetsRead), routes!(list_budgets))
        .add(Access::Needs(Permission::BudgetsWrite), routes!(create_budget))
        .add(Access::Needs(Permission::BudgetsRead), routes!(get_budget))
        .add(Access::Needs(Permission::BudgetsWrite), routes!(update_budget))
        .add(Access::Needs(Permission::BudgetsWrite), routes!(delete_budget))
}

/// Whose spending counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetScope {
    /// All of the tenant's.
    Tenant,
    /// What the keys of a project spend.
    Project,
    Key,
    /// What the tenant spends on a model.
    Model,
    /// What is spent for one end user, or for each.
    EndUser,
}

/// What becomes of a request that a budget does not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetMode {
    /// It is refused.
    Hard,
    /// It is served, and somebody is told.
    Soft,
}

/// Whose spending counts, and of which of them; what the scope does not name is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct BudgetSubject {
    pub scope: BudgetScope,
    #[schema(value_type = Option<String>, required = true)]
    pub project_id: Option<ProjectId>,
    #[schema(value_type = Option<String>, required = true)]
    pub key_id: Option<ApiKeyId>,
    /// The public name of a model.
    #[schema(required = true)]
    pub model: Option<String>,
    /// Null with the scope `end_user`: each end user has as much for themself.
    #[schema(required = true)]
    pub end_user: Option<String>,
}

/// How much may be spent in a period. Scope, period and currency stay what they were made as: they say what was counted.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SpendingBudget {
    #[schema(value_type = String, example = "bud_0193500000007000800000000000000d")]
    pub id: BudgetId,
    #[schema(value_type = String)]
    pub tenant_id: TenantId,
    #[serde(flatten)]
    pub subject: BudgetSubject,
    pub period: BudgetPeriod,
    /// Null without the permission `money.read`.
    #[schema(value_type = Option<String>, required = true, example = "100.00")]
    pub amount: Option<Pico>,
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    pub mode: BudgetMode,
    /// At how many percent spent somebody is told.
    #[schema(example = json!([80, 100]))]
    pub alerts: Vec<u16>,
    pub managed_by: ManagedBy,
    pub version: i64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl Versioned for SpendingBudget {
    fn version(&self) -> i64 {
        self.version
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SpendingBudgetCreate {
    #[schema(value_type = String)]
    pub tenant_id: TenantId,
    pub scope: BudgetScope,
    /// With the scope `project`.
    #[schema(value_type = Option<String>)]
    pub project_id: Option<ProjectId>,
    /// With the scope `key`.
    #[schema(value_type = Option<String>)]
    pub key_id: Option<ApiKeyId>,
    /// With the scope `model`: its public name.
    pub model: Option<String>,
    /// With the scope `end_user`; absent, each end user has as much for themself.
    pub end_user: Option<String>,
    pub period: BudgetPeriod,
    #[schema(value_type = String, example = "100.00")]
    pub amount: Pico,
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    /// `hard` if absent.
    pub mode: Option<BudgetMode>,
    /// Percents at which somebody is told, each above the one before: at most 10, from 1 to 1000.
    #[serde(default)]
    #[schema(required = false, max_items = 10, example = json!([80, 100]))]
    pub alerts: Vec<u16>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SpendingBudgetPatch {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub amount: Option<Pico>,
    #[serde(default, deserialize_with = "given")]
    pub mode: Option<BudgetMode>,
    /// Replaces all percents.
    #[serde(default, deserialize_with = "given")]
    pub alerts: Option<Vec<u16>>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListBudgets {
    /// Only budgets of this tenant.
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists budgets, newest first; not those that are set at the tenants themselves.
#[utoipa::path(get, path = "/admin/v1/budgets", tag = "budgets", params(ListBudgets),
    responses((status = 200, body = Page<SpendingBudget>)))]
async fn list_budgets(
    State(state): State<AppState>,
    scope: Scope,
    principal: Principal,
    Params(query): Params<ListBudgets>,
) -> Result<axum::Json<Page<SpendingBudget>>> {
    let page = page_request(query.limit, query.after)?;
    let page = budgets::list(&state.store, scope.rows(), query.tenant_id, &page).await?;
    Ok(axum::Json(Page::of(page, |row| SpendingBudget::read(row, &principal))))
}

/// Creates a budget. What was spent in its period before counts.
#[utoipa::path(post, path = "/admin/v1/budgets", tag = "budgets", request_body = SpendingBudgetCreate,
    responses((status = 201, body = SpendingBudget)))]
async fn create_budget(
    State(state): State<AppState>,
    change: Change,
    Body(body): Body<SpendingBudgetCreate>,
) -> Result<Created<SpendingBudget>> {
    let settings = BudgetSettings {
        scope: body.scope()?,
        period: body.period.into(),
        amount: body.amount,
        currency: body.currency,
        mode: body.mode.unwrap_or(BudgetMode::Hard).into(),
        alerts: body.alerts,
    };
    let mut tx = state.store.begin().await?;
    check_subject(&mut tx, body.tenant_id, &settings.scope).await?;
    let budget = SpendingBudget::read(budgets::create(&mut tx, body.tenant_id, &settings).await?, &change.principal);
    let name = trail_name(&mut tx, &budget).await?;
    change.created(&mut tx, target(&budget, &name), &budget).await?;
    tx.commit().await?;
    Ok(Created { location: format!("/admin/v1/budgets/{}", budget.id), resource: budget })
}

/// Reads a budget.
#[utoipa::path(get, path = "/admin/v1/budgets/{id}", tag = "budgets", params(("id" = String, Path)),
    responses((status = 200, body = SpendingBudget)))]
async fn get_budget(
    State(state): State<AppState>,
    scope: Scope,
    principal: Principal,
    Path(id): Path<BudgetId>,
) -> Result<Found<SpendingBudget>> {
    Ok(Found(SpendingBudget::read(budgets::get(&state.store, scope.rows(), id).await?, &principal)))
}

/// Changes a budget's amount, mode or alerts, from the next request on.
#[utoipa::path(patch, path = "/admin/v1/budgets/{id}", tag = "budgets",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    request_body = SpendingBudgetPatch, responses((status = 200, body = SpendingBudget)))]
async fn update_budget(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<BudgetId>,
    expected: IfMatch,
    change: Change,
    Body(body): Body<SpendingBudgetPatch>,
) -> Result<Found<SpendingBudget>> {
    let mut tx = state.store.begin().await?;
    let current = budgets::get(&mut tx, scope.rows(), id).await?;
    let before = SpendingBudget::read(current.clone(), &change.principal);
    expected.check(&before, before.managed_by)?;
    let settings = BudgetSettings {
        amount: body.amount.unwrap_or(current.settings.amount),
        mode: body.mode.map_or(current.settings.mode, Into::into),
        alerts: body.alerts.unwrap_or(current.settings.alerts),
        ..current.settings
    };
    let updated = budgets::update(&mut tx, scope.rows(), id, expected.0, &settings).await?;
    let after = SpendingBudget::read(updated, &change.principal);
    let name = trail_name(&mut tx, &after).await?;
    change.updated(&mut tx, target(&after, &name), &before, &after).await?;
    tx.commit().await?;
    Ok(Found(after))
}

/// Deletes a budget: what it bounded is bounded by the others alone.
#[utoipa::path(delete, path = "/admin/v1/budgets/{id}", tag = "budgets",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    responses((status = 204)))]
async fn delete_budget(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<BudgetId>,
    expected: IfMatch,
    change: Change,
) -> Result<StatusCode> {
    let mut tx = state.store.begin().await?;
    let before = SpendingBudget::read(budgets::get(&mut tx, scope.rows(), id).await?, &change.principal);
    expected.check(&before, before.managed_by)?;
    budgets::delete(&mut tx, scope.rows(), id, expected.0).await?;
    let name = trail_name(&mut tx, &before).await?;
    change.deleted(&mut tx, target(&before, &name), &before).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Names what is missing; the store's word would be about the budget.
async fn check_subject(tx: &mut Tx, tenant: TenantId, scope: &budgets::BudgetScope) -> Result<()> {
    let own = TenantScope::Only(tenant);
    let missing = if if_there(tenants::get(&mut *tx, own, tenant).await)?.is_none() {
        Some(("/tenant_id", format!("There is no tenant `{tenant}`.")))
    } else {
        match scope {
            budgets::BudgetScope::Project { project_id } => if_there(projects::get(tx, own, *project_id).await)?
                .is_none()
                .then(|| ("/project_id", format!("The tenant has no project `{project_id}`."))),
            budgets::BudgetScope::Key { key_id } => if_there(keys::get(tx, own, *key_id).await)?
                .is_none()
                .then(|| ("/key_id", format!("The tenant has no API key `{key_id}`."))),
            budgets::BudgetScope::Model { model } => models::find_by_name(tx, model)
                .await?
                .is_none()
                .then(|| ("/model", format!("There is no model `{model}`; nothing would ever be drawn on this budget."))),
            budgets::BudgetScope::Tenant | budgets::BudgetScope::EndUser { .. } => None,
        }
    };
    missing.map_or(Ok(()), |(field, reason)| Err(Problem::invalid_field(field, "unknown", reason)))
}

/// What people call whom a budget is of; none for the whole tenant and for each end user.
pub async fn subject_name(source: impl Source, tenant: TenantId, subject: &BudgetSubject) -> Result<Option<String>> {
    let own = TenantScope::Only(tenant);
    Ok(if let Some(id) = subject.project_id {
        if_there(projects::get(source, own, id).await)?.map(|project| project.name)
    } else if let Some(id) = subject.key_id {
        if_there(keys::get(source, own, id).await)?.map(|key| key.name)
    } else {
        subject.model.clone().or_else(|| subject.end_user.clone())
    })
}

/// How the trail calls a budget.
async fn trail_name(tx: &mut Tx, budget: &SpendingBudget) -> Result<String> {
    let name = subject_name(tx, budget.tenant_id, &budget.subject).await?;
    let scope = budget.subject.scope.as_str();
    Ok(name.map_or_else(|| scope.to_owned(), |name| format!("{scope}:{name}")))
}

fn target<'a>(budget: &SpendingBudget, name: &'a str) -> Target<'a> {
    Target { kind: "budget", id: budget.id.to_string(), name, tenant: Some(budget.tenant_id) }
}

impl SpendingBudgetCreate {
    /// The scope with what it is of; a member that is not the scope's is a mistake rather than passed over.
    fn scope(&self) -> Result<budgets::BudgetScope> {
        let given = [
            ("project_id", BudgetScope::Project, self.project_id.is_some()),
            ("key_id", BudgetScope::Key, self.key_id.is_some()),
            ("model", BudgetScope::Model, self.model.is_some()),
            ("end_user", BudgetScope::EndUser, self.end_user.is_some()),
        ];
        let mut errors = Vec::new();
        for (field, of, is_given) in given {
            if is_given && of != self.scope {
                let reason = format!("Only a budget with the scope `{}` has it.", of.as_str());
                errors.push(FieldError::new(format!("/{field}"), "not_of_scope", reason));
            } else if !is_given && of == self.scope && of != BudgetScope::EndUser {
                let reason = format!("Say of which: the scope is `{}`.", of.as_str());
                errors.push(FieldError::new(format!("/{field}"), "required", reason));
            }
        }
        let scope = match (self.scope, self.project_id, self.key_id, &self.model) {
            (BudgetScope::Tenant, ..) => Some(budgets::BudgetScope::Tenant),
            (BudgetScope::Project, Some(project_id), ..) => Some(budgets::BudgetScope::Project { project_id }),
            (BudgetScope::Key, _, Some(key_id), _) => Some(budgets::BudgetScope::Key { key_id }),
            (BudgetScope::Model, _, _, Some(model)) => Some(budgets::BudgetScope::Model { model: model.clone() }),
            (BudgetScope::EndUser, ..) => Some(budgets::BudgetScope::EndUser { end_user: self.end_user.clone() }),
            (BudgetScope::Project | BudgetScope::Key | BudgetScope::Model, ..) => None,
        };
        scope.filter(|_| errors.is_empty()).ok_or_else(|| Problem::invalid(errors))
    }
}

impl SpendingBudget {
    fn read(row: budgets::SpendingBudget, reader: &Principal) -> Self {
        let BudgetSettings { scope, period, amount, currency, mode, alerts } = row.settings;
        Self {
            id: row.id,
            tenant_id: row.tenant_id,
            subject: scope.into(),
            period: period.into(),
            amount: reader.may(Permission::MoneyRead).then_some(amount),
            currency,
            mode: mode.into(),
            alerts,
            managed_by: row.managed_by.into(),
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl BudgetScope {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Project => "project",
            Self::Key => "key",
            Self::Model => "model",
            Self::EndUser => "end_user",
        }
    }
}

impl From<budgets::BudgetScope> for BudgetSubject {
    fn from(scope: budgets::BudgetScope) -> Self {
        let of = |scope| Self { scope, project_id: None, key_id: None, model: None, end_user: None };
        match scope {
            budgets::BudgetScope::Tenant => of(BudgetScope::Tenant),
            budgets::BudgetScope::Project { project_id } => Self { project_id: Some(project_id), ..of(BudgetScope::Project) },
            budgets::BudgetScope::Key { key_id } => Self { key_id: Some(key_id), ..of(BudgetScope::Key) },
            budgets::BudgetScope::Model { model } => Self { model: Some(model), ..of(BudgetScope::Model) },
            budgets::BudgetScope::EndUser { end_user } => Self { end_user, ..of(BudgetScope::EndUser) },
        }
    }
}

impl From<BudgetMode> for budgets::BudgetMode {
    fn from(mode: BudgetMode) -> Self {
        match mode {
            BudgetMode::Hard => Self::Hard,
            BudgetMode::Soft => Self::Soft,
        }
    }
}

impl From<budgets::BudgetMode> for BudgetMode {
    fn from(mode: budgets::BudgetMode) -> Self {
        match mode {
            budgets::BudgetMode::Hard => Self::Hard,
            budgets::BudgetMode::Soft => Self::Soft,
        }
    }
}
