//! `/admin-tokens`: tokens for programs that use this API.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tallygate_types::{AdminTokenId, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::AppState;
use crate::audit::Change;
use crate::auth::{Permission, Role};
use crate::http_form::{Body, Page, Params, Path};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::AdminTokensRead), routes!(list_admin_tokens))
        .add(Access::Needs(Permission::AdminTokensWrite), routes!(create_admin_token))
        .add(Access::Needs(Permission::AdminTokensWrite), routes!(revoke_admin_token))
}

/// A token of the admin API, without its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AdminToken {
    #[schema(value_type = String)]
    pub id: AdminTokenId,
    pub name: String,
    pub role: Role,
    pub last4: String,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub revoked_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A token with its secret, once.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdminTokenWithSecret {
    #[serde(flatten)]
    pub token: AdminToken,
    /// The whole token. It is not stored and cannot be shown again.
    pub secret: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminTokenCreate {
    /// Printable, at most 100 characters.
    #[schema(max_length = 100)]
    pub name: String,
    pub role: Role,
    /// 90 days from now if absent; at most 366.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListAdminTokens {
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists tokens, newest first.
#[utoipa::path(get, path = "/admin/v1/admin-tokens", tag = "admin-tokens", params(ListAdminTokens),
    responses((status = 200, body = Page<AdminToken>)))]
async fn list_admin_tokens(
    State(state): State<AppState>,
    Params(query): Params<ListAdminTokens>,
) -> Result<axum::Json<Page<AdminToken>>> {
    let _ = (state, query.limit, query.after);
    Err(Problem::not_found("admin token"))
}

/// Makes a token. The answer holds its secret, which is shown this once.
#[utoipa::path(post, path = "/admin/v1/admin-tokens", tag = "admin-tokens", request_body = AdminTokenCreate,
    responses((status = 201, body = AdminTokenWithSecret)))]
async fn create_admin_token(
    State(state): State<AppState>,
    change: Change,
    Body(body): Body<AdminTokenCreate>,
) -> Result<(http::StatusCode, axum::Json<AdminTokenWithSecret>)> {
    let _ = (state, change, body);
    Err(Problem::not_found("admin token"))
}

/// Revokes a token for good, at once.
#[utoipa::path(post, path = "/admin/v1/admin-tokens/{id}:revoke", tag = "admin-tokens", params(("id" = String, Path)),
    responses((status = 200, body = AdminToken)))]
async fn revoke_admin_token(
    State(state): State<AppState>,
    Path(id): Path<AdminTokenId>,
    change: Change,
) -> Result<axum::Json<AdminToken>> {
    let _ = (state, id, change);
    Err(Problem::not_found("admin token"))
}
