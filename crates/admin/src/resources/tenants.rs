//! `/tenants`: the customers of the installation. The admin of one sees that one, and changes nothing of it.

use std::collections::BTreeMap;

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tallygate_store::tenants::{self, TenantFilter, TenantSettings};
use tallygate_store::{BillingTerms, Tx};
use tallygate_types::{TenantId, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::names::if_there;
use crate::AppState;
use crate::audit::{Change, Target};
use crate::auth::{Permission, Scope};
use crate::billing_form::{Billing, BillingPatch};
use crate::form::{
    Budget, Limits, LimitsPatch, ManagedBy, NewLimits, NewResponses, Responses, ResponsesPatch, checked_model_limits,
};
use crate::http_form::{Body, Created, Found, IfMatch, Page, Params, Patch, Path, Versioned, given, page_request};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::TenantsRead), routes!(list_tenants))
        .add(Access::Needs(Permission::TenantsWrite), routes!(create_tenant))
        .add(Access::Needs(Permission::TenantsRead), routes!(get_tenant))
        .add(Access::Needs(Permission::TenantsWrite), routes!(update_tenant))
        .add(Access::Needs(Permission::TenantsWrite), routes!(delete_tenant))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TenantStatus {
    Active,
    /// Every request of the tenant is refused.
    Suspended,
}

/// A customer: owns keys, limits, a budget and bills.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Tenant {
    #[schema(value_type = String, example = "ten_0193500000007000800000000000000a")]
    pub id: TenantId,
    #[schema(example = "acme")]
    pub name: String,
    pub status: TenantStatus,
    /// What callers are told while the tenant is suspended.
    #[schema(required = true)]
    pub suspended_message: Option<String>,
    /// The IANA time zone in which the tenant's days and months begin.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
    pub limits: Limits,
    /// Limits that hold for one model, by its public name, beside `limits`.
    pub model_limits: BTreeMap<String, Limits>,
    /// Limits that hold for each of the tenant's end users, beside `limits`.
    pub end_user_limits: Limits,
    #[schema(required = true)]
    pub budget: Option<Budget>,
    pub billing: Billing,
    /// Public model names the tenant may call; null is all.
    #[schema(required = true)]
    pub allowed_models: Option<Vec<String>>,
    pub responses: Responses,
    pub managed_by: ManagedBy,
    pub version: i64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl Versioned for Tenant {
    fn version(&self) -> i64 {
        self.version
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantCreate {
    /// Printable, on one line; at most 200 characters.
    #[schema(example = "acme", max_length = 200)]
    pub name: String,
    /// An IANA time zone; `UTC` if absent.
    pub time_zone: Option<String>,
    #[serde(default)]
    #[schema(required = false)]
    pub limits: NewLimits,
    /// Limits that hold for one model, by its public name.
    #[serde(default)]
    #[schema(required = false)]
    pub model_limits: BTreeMap<String, NewLimits>,
    /// Limits that hold for each end user.
    #[serde(default)]
    #[schema(required = false)]
    pub end_user_limits: NewLimits,
    pub budget: Option<Budget>,
    #[serde(default)]
    #[schema(required = false)]
    pub billing: BillingPatch,
    pub allowed_models: Option<Vec<String>>,
    #[serde(default)]
    #[schema(required = false)]
    pub responses: NewResponses,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[derive(Default)]
pub struct TenantPatch {
    #[serde(default, deserialize_with = "given")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub status: Option<TenantStatus>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub suspended_message: Patch<String>,
    #[serde(default, deserialize_with = "given")]
    pub time_zone: Option<String>,
    #[serde(default)]
    #[schema(required = false)]
    pub limits: LimitsPatch,
    /// Replaces the limits of all models.
    #[serde(default, deserialize_with = "given")]
    pub model_limits: Option<BTreeMap<String, NewLimits>>,
    #[serde(default)]
    #[schema(required = false)]
    pub end_user_limits: LimitsPatch,
    #[serde(default)]
    #[schema(value_type = Option<Budget>)]
    pub budget: Patch<Budget>,
    #[serde(default)]
    #[schema(required = false)]
    pub billing: BillingPatch,
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub allowed_models: Patch<Vec<String>>,
    #[serde(default)]
    #[schema(required = false)]
    pub responses: ResponsesPatch,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListTenants {
    #[param(inline)]
    status: Option<TenantStatus>,
    /// Part of the name.
    q: Option<String>,
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists tenants, newest first.
#[utoipa::path(get, path = "/admin/v1/tenants", tag = "tenants", params(ListTenants),
    responses((status = 200, body = Page<Tenant>)))]
async fn list_tenants(
    State(state): State<AppState>,
    scope: Scope,
    Params(query): Params<ListTenants>,
) -> Result<axum::Json<Page<Tenant>>> {
    let filter = TenantFilter { status: query.status.map(Into::into), search: query.q };
    let page = tenants::list(&state.store, scope.rows(), &filter, &page_request(query.limit, query.after)?).await?;
    Ok(axum::Json(Page::of(page, Tenant::from)))
}

/// Creates a tenant.
#[utoipa::path(post, path = "/admin/v1/tenants", tag = "tenants", request_body = TenantCreate,
    responses((status = 201, body = Tenant)))]
async fn create_tenant(State(state): State<AppState>, change: Change, Body(body): Body<TenantCreate>) -> Result<Created<Tenant>> {
    let settings = TenantSettings {
        time_zone: body.time_zone.unwrap_or_else(|| "UTC".to_owned()),
        limits: Limits::from(body.limits).checked("/limits")?,
        model_limits: checked_model_limits(body.model_limits)?,
        end_user_limits: Limits::from(body.end_user_limits).checked("/end_user_limits")?,
        budget: body.budget.map(Into::into),
        billing: body.billing.apply(BillingTerms::default()),
        allowed_models: body.allowed_models,
        responses: body.responses.into(),
        ..TenantSettings::named(body.name)
    };
    let mut tx = state.store.begin().await?;
    let tenant = Tenant::from(tenants::create(&mut tx, &settings).await?);
    change.created(&mut tx, target(&tenant), &tenant).await?;
    tx.commit().await?;
    Ok(Created { location: format!("/admin/v1/tenants/{}", tenant.id), resource: tenant })
}

/// Reads a tenant.
#[utoipa::path(get, path = "/admin/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path)),
    responses((status = 200, body = Tenant)))]
async fn get_tenant(State(state): State<AppState>, scope: Scope, Path(id): Path<TenantId>) -> Result<Found<Tenant>> {
    Ok(Found(tenants::get(&state.store, scope.rows(), id).await?.into()))
}

/// Changes a tenant: its name, limits, budget or models; suspends or resumes it.
#[utoipa::path(patch, path = "/admin/v1/tenants/{id}", tag = "tenants",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    request_body = TenantPatch, responses((status = 200, body = Tenant)))]
async fn update_tenant(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<TenantId>,
    expected: IfMatch,
    change: Change,
    Body(body): Body<TenantPatch>,
) -> Result<Found<Tenant>> {
    let mut tx = state.store.begin().await?;
    let current = tenants::get(&mut tx, scope.rows(), id).await?;
    let before = Tenant::from(current.clone());
    expected.check_version(&before)?;
    let kept = current.settings();
    let settings = TenantSettings {
        name: body.name.unwrap_or(current.name),
        status: body.status.map_or(current.status, Into::into),
        suspended_message: body.suspended_message.apply(current.suspended_message),
        time_zone: body.time_zone.unwrap_or(current.time_zone),
        limits: body.limits.apply(current.limits.into()).checked("/limits")?,
        model_limits: body.model_limits.map(checked_model_limits).transpose()?.unwrap_or(current.model_limits),
        end_user_limits: body.end_user_limits.apply(current.end_user_limits.into()).checked("/end_user_limits")?,
        budget: body.budget.map(Into::into).apply(current.budget),
        billing: body.billing.apply(current.billing),
        allowed_models: body.allowed_models.apply(current.allowed_models),
        responses: body.responses.apply(current.responses),
    };
    let suspended_message = settings.suspended_message.clone();
    before.managed_by.admit(settings == TenantSettings { status: settings.status, suspended_message, ..kept })?;
    let after = Tenant::from(tenants::update(&mut tx, id, expected.0, &settings).await?);
    change.updated(&mut tx, target(&after), &before, &after).await?;
    tx.commit().await?;
    Ok(Found(after))
}

/// Deletes a tenant nothing hangs on. One that ever had a key is suspended instead, so that its usage keeps its name.
#[utoipa::path(delete, path = "/admin/v1/tenants/{id}", tag = "tenants",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    responses((status = 204)))]
async fn delete_tenant(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<TenantId>,
    expected: IfMatch,
    change: Change,
) -> Result<StatusCode> {
    let mut tx = state.store.begin().await?;
    let before = Tenant::from(tenants::get(&mut tx, scope.rows(), id).await?);
    expected.check(&before, before.managed_by)?;
    tenants::delete(&mut tx, id, expected.0).await?;
    change.deleted(&mut tx, target(&before), &before).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The tenant a body says something is to be made for; absent, the caller's own. One out of the caller's reach is none.
pub async fn tenant_of_body(tx: &mut Tx, scope: Scope, named: Option<TenantId>) -> Result<tenants::Tenant> {
    let Some(id) = named.or(scope.tenant()) else {
        return Err(Problem::invalid_field("/tenant_id", "required", "Say of which tenant it shall be."));
    };
    let missing = || Problem::invalid_field("/tenant_id", "unknown", format!("There is no tenant `{id}`."));
    if_there(tenants::get(tx, scope.rows(), id).await)?.ok_or_else(missing)
}

fn target(tenant: &Tenant) -> Target<'_> {
    Target { kind: "tenant", id: tenant.id.to_string(), name: &tenant.name, tenant: Some(tenant.id) }
}

impl From<tenants::Tenant> for Tenant {
    fn from(row: tenants::Tenant) -> Self {
        Self {
            id: row.id,
            name: row.name,
            status: match row.status {
                tenants::TenantStatus::Active => TenantStatus::Active,
                tenants::TenantStatus::Suspended => TenantStatus::Suspended,
            },
            suspended_message: row.suspended_message,
            time_zone: row.time_zone,
            limits: row.limits.into(),
            model_limits: row.model_limits.into_iter().map(|(model, limits)| (model, limits.into())).collect(),
            end_user_limits: row.end_user_limits.into(),
            budget: row.budget.map(Into::into),
            billing: row.billing.into(),
            allowed_models: row.allowed_models,
            responses: row.responses.into(),
            managed_by: row.managed_by.into(),
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl From<TenantStatus> for tenants::TenantStatus {
    fn from(status: TenantStatus) -> Self {
        match status {
            TenantStatus::Active => Self::Active,
            TenantStatus::Suspended => Self::Suspended,
        }
    }
}
