//! `/tenants`: the customers of the installation.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tallygate_types::{TenantId, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::AppState;
use crate::audit::Change;
use crate::auth::Permission;
use crate::form::{Budget, Limits, LimitsPatch, NewLimits};
use crate::http_form::{Body, Created, Found, IfMatch, Page, Params, Patch, Path, Versioned};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::TenantsRead), routes!(list_tenants))
        .add(Access::Needs(Permission::TenantsWrite), routes!(create_tenant))
        .add(Access::Needs(Permission::TenantsRead), routes!(get_tenant))
        .add(Access::Needs(Permission::TenantsWrite), routes!(update_tenant))
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
    /// The IANA time zone in which the tenant's months begin.
    #[schema(example = "Europe/Berlin")]
    pub time_zone: String,
    pub limits: Limits,
    #[schema(required = true)]
    pub budget: Option<Budget>,
    /// Public model names the tenant may call; null is all.
    #[schema(required = true)]
    pub allowed_models: Option<Vec<String>>,
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
    /// Lower-case letters, digits and hyphens; at most 63.
    #[schema(example = "acme", max_length = 63)]
    pub name: String,
    /// An IANA time zone; `UTC` if absent.
    pub time_zone: Option<String>,
    #[serde(default)]
    #[schema(required = false)]
    pub limits: NewLimits,
    pub budget: Option<Budget>,
    pub allowed_models: Option<Vec<String>>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[derive(Default)]
pub struct TenantPatch {
    pub name: Option<String>,
    pub status: Option<TenantStatus>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub suspended_message: Patch<String>,
    pub time_zone: Option<String>,
    #[serde(default)]
    #[schema(required = false)]
    pub limits: LimitsPatch,
    #[serde(default)]
    #[schema(value_type = Option<Budget>)]
    pub budget: Patch<Budget>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub allowed_models: Patch<Vec<String>>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListTenants {
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists tenants, newest first.
#[utoipa::path(get, path = "/admin/v1/tenants", tag = "tenants", params(ListTenants),
    responses((status = 200, body = Page<Tenant>)))]
async fn list_tenants(State(state): State<AppState>, Params(query): Params<ListTenants>) -> Result<axum::Json<Page<Tenant>>> {
    let _ = (state, query.limit, query.after);
    Err(Problem::not_found("tenant"))
}

/// Creates a tenant.
#[utoipa::path(post, path = "/admin/v1/tenants", tag = "tenants", request_body = TenantCreate,
    responses((status = 201, body = Tenant)))]
async fn create_tenant(State(state): State<AppState>, change: Change, Body(body): Body<TenantCreate>) -> Result<Created<Tenant>> {
    let _ = (state, change, body);
    Err(Problem::not_found("tenant"))
}

/// Reads a tenant.
#[utoipa::path(get, path = "/admin/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path)),
    responses((status = 200, body = Tenant)))]
async fn get_tenant(State(state): State<AppState>, Path(id): Path<TenantId>) -> Result<Found<Tenant>> {
    let _ = (state, id);
    Err(Problem::not_found("tenant"))
}

/// Changes a tenant: its name, limits, budget or models; suspends or resumes it.
#[utoipa::path(patch, path = "/admin/v1/tenants/{id}", tag = "tenants",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    request_body = TenantPatch, responses((status = 200, body = Tenant)))]
async fn update_tenant(
    State(state): State<AppState>,
    Path(id): Path<TenantId>,
    expected: IfMatch,
    change: Change,
    Body(body): Body<TenantPatch>,
) -> Result<Found<Tenant>> {
    let _ = (state, id, expected, change, body);
    Err(Problem::not_found("tenant"))
}
