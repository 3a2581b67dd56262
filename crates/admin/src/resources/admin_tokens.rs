//! `/admin-tokens`: tokens for programs that use this API.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tallygate_store::admin_tokens::{self, NewAdminToken};
use tallygate_types::{AdminTokenId, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::AppState;
use crate::audit::{Change, Target};
use crate::auth::{Permission, Role};
use crate::http_form::{Body, Page, Params, Path, page_request};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

const DEFAULT_LIFETIME: Duration = Duration::from_hours(24 * 90);
const MAX_LIFETIME: Duration = Duration::from_hours(24 * 366);

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
    /// Who made it.
    pub created_by: String,
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
    /// Printable, on one line; at most 200 characters.
    #[schema(max_length = 200)]
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
    let page = admin_tokens::list(&state.store, &page_request(query.limit, query.after)?).await?;
    let next = page.next.map(|cursor| cursor.to_string());
    Ok(axum::Json(Page::new(page.data.into_iter().filter_map(AdminToken::read).collect(), next)))
}

/// Makes a token. The answer holds its secret, which is shown this once.
#[utoipa::path(post, path = "/admin/v1/admin-tokens", tag = "admin-tokens", request_body = AdminTokenCreate,
    responses((status = 201, body = AdminTokenWithSecret)))]
async fn create_admin_token(
    State(state): State<AppState>,
    change: Change,
    Body(body): Body<AdminTokenCreate>,
) -> Result<(StatusCode, axum::Json<AdminTokenWithSecret>)> {
    let now = state.now();
    let expires_at = body.expires_at.unwrap_or_else(|| now.saturating_add(DEFAULT_LIFETIME));
    if expires_at <= now || expires_at > now.saturating_add(MAX_LIFETIME) {
        let reason = "A token must expire, and within 366 days.";
        return Err(Problem::invalid_field("/expires_at", "out_of_range", reason));
    }
    let created_by = change.principal.name.clone();
    let new = NewAdminToken { name: body.name, role: body.role.into(), expires_at, created_by };
    let mut tx = state.store.begin().await?;
    let (row, secret) = admin_tokens::create(&mut tx, &new).await?;
    let token = AdminToken::read(row).ok_or_else(|| Problem::not_found("admin token"))?;
    change.created(&mut tx, target(&token), &token).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, axum::Json(AdminTokenWithSecret { token, secret: secret.expose_secret().to_owned() })))
}

/// Revokes a token for good, at once.
#[utoipa::path(post, path = "/admin/v1/admin-tokens/{id}:revoke", tag = "admin-tokens", params(("id" = String, Path)),
    responses((status = 200, body = AdminToken)))]
async fn revoke_admin_token(
    State(state): State<AppState>,
    Path(id): Path<AdminTokenId>,
    change: Change,
) -> Result<axum::Json<AdminToken>> {
    let mut tx = state.store.begin().await?;
    let missing = || Problem::not_found("admin token");
    let before = AdminToken::read(admin_tokens::get(&mut tx, id).await?).ok_or_else(missing)?;
    if before.revoked_at.is_some() {
        return Ok(axum::Json(before));
    }
    let after = AdminToken::read(admin_tokens::revoke(&mut tx, id).await?).ok_or_else(missing)?;
    change.record(&mut tx, "admin_token.revoked", target(&after), Some(&before), Some(&after)).await?;
    tx.commit().await?;
    Ok(axum::Json(after))
}

fn target(token: &AdminToken) -> Target<'_> {
    Target { kind: "admin_token", id: token.id.to_string(), name: &token.name, tenant: None }
}

impl AdminToken {
    fn read(row: admin_tokens::AdminToken) -> Option<Self> {
        Some(Self {
            id: row.id,
            name: row.name,
            role: Some(Role::from(row.role)).filter(|role| !role.is_of_tenant())?,
            last4: row.last4,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            created_by: row.created_by,
            created_at: row.created_at,
        })
    }
}
