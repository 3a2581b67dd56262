//! `/api-keys`: the keys issued to tenants.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tallygate_types::{ApiKeyId, TenantId, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::AppState;
use crate::audit::Change;
use crate::auth::Permission;
use crate::form::{Limits, LimitsPatch, NewLimits};
use crate::http_form::{Body, Created, Found, IfMatch, Page, Params, Patch, Path, Versioned};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::ApiKeysRead), routes!(list_api_keys))
        .add(Access::Needs(Permission::ApiKeysWrite), routes!(create_api_key))
        .add(Access::Needs(Permission::ApiKeysRead), routes!(get_api_key))
        .add(Access::Needs(Permission::ApiKeysWrite), routes!(update_api_key))
        .add(Access::Needs(Permission::ApiKeysWrite), routes!(revoke_api_key))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApiKeyStatus {
    Active,
    /// Past its `expires_at`.
    Expired,
    /// Revoked for good.
    Revoked,
}

/// A key of a tenant. Its secret is shown once, when it is made.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ApiKey {
    #[schema(value_type = String, example = "key_0193500000007000800000000000000b")]
    pub id: ApiKeyId,
    #[schema(value_type = String)]
    pub tenant_id: TenantId,
    #[schema(example = "ci")]
    pub name: String,
    /// How the key begins, to tell keys apart.
    #[schema(example = "sk-tg1_a8Kq02Zx")]
    pub prefix: String,
    /// How it ends.
    pub last4: String,
    pub status: ApiKeyStatus,
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub expires_at: Option<Timestamp>,
    pub limits: Limits,
    /// Public model names the key may call, within those of its tenant; null is all of those.
    #[schema(required = true)]
    pub allowed_models: Option<Vec<String>>,
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub last_used_at: Option<Timestamp>,
    pub version: i64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl Versioned for ApiKey {
    fn version(&self) -> i64 {
        self.version
    }
}

/// A key with its secret, once.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKeyWithSecret {
    #[serde(flatten)]
    pub key: ApiKey,
    /// The whole key. It is not stored and cannot be shown again.
    pub secret: String,
}

impl Versioned for ApiKeyWithSecret {
    fn version(&self) -> i64 {
        self.key.version
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyCreate {
    #[schema(value_type = String)]
    pub tenant_id: TenantId,
    /// Printable, at most 100 characters.
    #[schema(example = "ci", max_length = 100)]
    pub name: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    #[serde(default)]
    #[schema(required = false)]
    pub limits: NewLimits,
    pub allowed_models: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyPatch {
    pub name: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Patch<Timestamp>,
    #[serde(default)]
    #[schema(required = false)]
    pub limits: LimitsPatch,
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub allowed_models: Patch<Vec<String>>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListApiKeys {
    /// Only keys of this tenant.
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists keys, newest first.
#[utoipa::path(get, path = "/admin/v1/api-keys", tag = "api-keys", params(ListApiKeys),
    responses((status = 200, body = Page<ApiKey>)))]
async fn list_api_keys(State(state): State<AppState>, Params(query): Params<ListApiKeys>) -> Result<axum::Json<Page<ApiKey>>> {
    let _ = (state, query.tenant_id, query.limit, query.after);
    Err(Problem::not_found("API key"))
}

/// Makes a key. The answer holds its secret, which is shown this once.
#[utoipa::path(post, path = "/admin/v1/api-keys", tag = "api-keys", request_body = ApiKeyCreate,
    responses((status = 201, body = ApiKeyWithSecret)))]
async fn create_api_key(
    State(state): State<AppState>,
    change: Change,
    Body(body): Body<ApiKeyCreate>,
) -> Result<Created<ApiKeyWithSecret>> {
    let _ = (state, change, body);
    Err(Problem::not_found("API key"))
}

/// Reads a key's metadata.
#[utoipa::path(get, path = "/admin/v1/api-keys/{id}", tag = "api-keys", params(("id" = String, Path)),
    responses((status = 200, body = ApiKey)))]
async fn get_api_key(State(state): State<AppState>, Path(id): Path<ApiKeyId>) -> Result<Found<ApiKey>> {
    let _ = (state, id);
    Err(Problem::not_found("API key"))
}

/// Changes a key's name, expiry, limits or models.
#[utoipa::path(patch, path = "/admin/v1/api-keys/{id}", tag = "api-keys",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    request_body = ApiKeyPatch, responses((status = 200, body = ApiKey)))]
async fn update_api_key(
    State(state): State<AppState>,
    Path(id): Path<ApiKeyId>,
    expected: IfMatch,
    change: Change,
    Body(body): Body<ApiKeyPatch>,
) -> Result<Found<ApiKey>> {
    let _ = (state, id, expected, change, body);
    Err(Problem::not_found("API key"))
}

/// Revokes a key for good, at once. A leaked key must not wait for an ETag, so none is asked for.
#[utoipa::path(post, path = "/admin/v1/api-keys/{id}:revoke", tag = "api-keys", params(("id" = String, Path)),
    responses((status = 200, body = ApiKey)))]
async fn revoke_api_key(State(state): State<AppState>, Path(id): Path<ApiKeyId>, change: Change) -> Result<Found<ApiKey>> {
    let _ = (state, id, change);
    Err(Problem::not_found("API key"))
}
