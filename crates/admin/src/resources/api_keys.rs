//! `/api-keys`: the keys issued to tenants. A tenant's admin has all of the tenant's, a member those they made.

use std::time::Duration;

use axum::extract::State;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tallygate_billing::Endpoint;
use tallygate_store::keys::{self, KeyFilter, KeySettings, KeyStatus, NewKey};
use tallygate_types::{ApiKeyId, Network, TenantId, Timestamp, UserId};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::grants;
use super::tenants::tenant_of_body;
use crate::AppState;
use crate::audit::{Change, Target};
use crate::auth::{Permission, PrincipalKind, Scope};
use crate::form::{Limits, LimitsPatch, ManagedBy, NewLimits};
use crate::http_form::{Body, Created, Found, IfMatch, Page, Params, Patch, Path, Versioned, given, page_request};
use crate::problem::{FieldError, Problem, Result};
use crate::routes::{Access, Routes};

const DEFAULT_OVERLAP_SECONDS: u64 = 3_600;

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::ApiKeysRead), routes!(list_api_keys))
        .add(Access::Needs(Permission::ApiKeysWrite), routes!(create_api_key))
        .add(Access::Needs(Permission::ApiKeysRead), routes!(get_api_key))
        .add(Access::Needs(Permission::ApiKeysWrite), routes!(update_api_key))
        .add(Access::Needs(Permission::ApiKeysWrite), routes!(rotate_api_key))
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

/// A status that can be filtered by; an expired key is still `active` there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StoredKeyStatus {
    Active,
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
    /// Operations the key may call, such as `chat_completions`; null is all.
    #[schema(required = true)]
    pub allowed_endpoints: Option<Vec<String>>,
    /// Networks the key may be used from; null is anywhere.
    #[schema(value_type = Option<Vec<String>>, required = true, example = json!(["192.0.2.0/24"]))]
    pub allowed_networks: Option<Vec<Network>>,
    /// The name of its project.
    #[schema(required = true)]
    pub project: Option<String>,
    /// Labels that routes match by.
    pub tags: Vec<String>,
    /// Until when the secret before the last rotation is good, too.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub previous_expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub last_used_at: Option<Timestamp>,
    /// The person of the tenant who made it, who has it even as a mere member; null where it was the platform's staff, a program
    /// or the configuration file.
    #[schema(value_type = Option<String>, required = true)]
    pub created_by: Option<UserId>,
    pub managed_by: ManagedBy,
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
    /// Absent, the caller's own.
    #[schema(value_type = Option<String>)]
    pub tenant_id: Option<TenantId>,
    /// Printable, on one line; at most 200 characters.
    #[schema(example = "ci", max_length = 200)]
    pub name: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    #[serde(default)]
    #[schema(required = false)]
    pub limits: NewLimits,
    pub allowed_models: Option<Vec<String>>,
    /// Operations the key may call, such as `chat_completions`; absent is all.
    pub allowed_endpoints: Option<Vec<String>>,
    /// Networks the key may be used from, such as `192.0.2.0/24`; absent is anywhere.
    #[schema(value_type = Option<Vec<String>>)]
    pub allowed_networks: Option<Vec<Network>>,
    /// The name of a project of the tenant.
    pub project: Option<String>,
    /// Labels that routes match by: at most 50, of at most 64 characters each, no commas. Only the platform's staff sets them.
    #[serde(default)]
    #[schema(required = false, max_items = 50)]
    pub tags: Vec<String>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyPatch {
    #[serde(default, deserialize_with = "given")]
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
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub allowed_endpoints: Patch<Vec<String>>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub allowed_networks: Patch<Vec<Network>>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub project: Patch<String>,
    /// Replaces all tags.
    #[serde(default, deserialize_with = "given")]
    pub tags: Option<Vec<String>>,
}

/// A rotation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyRotate {
    /// How long the secret before stays good, at most 30 days; an hour if absent.
    #[schema(maximum = 2_592_000, default = 3600)]
    pub overlap_seconds: Option<u64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListApiKeys {
    /// Only keys of this tenant.
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    #[param(inline)]
    status: Option<StoredKeyStatus>,
    /// Part of the name or of the prefix.
    q: Option<String>,
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists keys, newest first.
#[utoipa::path(get, path = "/admin/v1/api-keys", tag = "api-keys", params(ListApiKeys),
    responses((status = 200, body = Page<ApiKey>)))]
async fn list_api_keys(
    State(state): State<AppState>,
    scope: Scope,
    Params(query): Params<ListApiKeys>,
) -> Result<axum::Json<Page<ApiKey>>> {
    let filter = KeyFilter {
        tenant_id: query.tenant_id,
        status: query.status.map(|status| match status {
            StoredKeyStatus::Active => KeyStatus::Active,
            StoredKeyStatus::Revoked => KeyStatus::Revoked,
        }),
        search: query.q,
    };
    let page = keys::list(&state.store, scope.rows(), &filter, &page_request(query.limit, query.after)?).await?;
    let now = state.now();
    Ok(axum::Json(Page::of(page, |key| ApiKey::read(key, now))))
}

/// Makes a key. The answer holds its secret, which is shown this once.
#[utoipa::path(post, path = "/admin/v1/api-keys", tag = "api-keys", request_body = ApiKeyCreate,
    responses((status = 201, body = ApiKeyWithSecret)))]
async fn create_api_key(
    State(state): State<AppState>,
    scope: Scope,
    change: Change,
    Body(body): Body<ApiKeyCreate>,
) -> Result<Created<ApiKeyWithSecret>> {
    check_expiry(body.expires_at, state.now())?;
    let settings = KeySettings {
        name: body.name,
        expires_at: body.expires_at,
        limits: Limits::from(body.limits).checked("/limits")?,
        allowed_models: body.allowed_models,
        allowed_endpoints: checked_endpoints(body.allowed_endpoints)?,
        allowed_networks: body.allowed_networks,
        project: body.project,
        tags: body.tags,
    };
    let mut tx = state.store.begin().await?;
    let tenant_id = tenant_of_body(&mut tx, scope, body.tenant_id).await?.id;
    grants::check_key(&mut tx, scope, tenant_id, None, &settings).await?;
    grants::check_room(&mut tx, scope, tenant_id, grants::Made::Key).await?;
    let created_by = match change.principal.kind {
        PrincipalKind::User { user, .. } if !scope.is_platform() => Some(user),
        PrincipalKind::User { .. } | PrincipalKind::Token { .. } => None,
    };
    let (key, secret) = keys::create(&mut tx, &NewKey { tenant_id, settings, declared: None, created_by }).await?;
    let key = ApiKey::read(key, state.now());
    change.created(&mut tx, target(&key), &key).await?;
    tx.commit().await?;
    Ok(Created {
        location: format!("/admin/v1/api-keys/{}", key.id),
        resource: ApiKeyWithSecret { key, secret: secret.expose_secret().to_owned() },
    })
}

/// Reads a key's metadata.
#[utoipa::path(get, path = "/admin/v1/api-keys/{id}", tag = "api-keys", params(("id" = String, Path)),
    responses((status = 200, body = ApiKey)))]
async fn get_api_key(State(state): State<AppState>, scope: Scope, Path(id): Path<ApiKeyId>) -> Result<Found<ApiKey>> {
    Ok(Found(ApiKey::read(keys::get(&state.store, scope.rows(), id).await?, state.now())))
}

/// Changes a key's name, expiry, limits, models or labels.
#[utoipa::path(patch, path = "/admin/v1/api-keys/{id}", tag = "api-keys",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    request_body = ApiKeyPatch, responses((status = 200, body = ApiKey)))]
async fn update_api_key(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<ApiKeyId>,
    expected: IfMatch,
    change: Change,
    Body(body): Body<ApiKeyPatch>,
) -> Result<Found<ApiKey>> {
    let now = state.now();
    check_expiry(body.expires_at.set().copied(), now)?;
    let mut tx = state.store.begin().await?;
    let current = keys::get(&mut tx, scope.rows(), id).await?;
    let before = ApiKey::read(current.clone(), now);
    expected.check(&before, before.managed_by)?;
    let kept = current.settings();
    let settings = KeySettings {
        name: body.name.unwrap_or(current.name),
        expires_at: body.expires_at.apply(current.expires_at),
        limits: body.limits.apply(current.limits.into()).checked("/limits")?,
        allowed_models: body.allowed_models.apply(current.allowed_models),
        allowed_endpoints: checked_endpoints(body.allowed_endpoints.apply(current.allowed_endpoints))?,
        allowed_networks: body.allowed_networks.apply(current.allowed_networks),
        project: body.project.apply(current.project),
        tags: body.tags.unwrap_or(current.tags),
    };
    grants::check_key(&mut tx, scope, before.tenant_id, Some(&kept), &settings).await?;
    let after = ApiKey::read(keys::update(&mut tx, scope.rows(), id, expected.0, &settings).await?, now);
    change.updated(&mut tx, target(&after), &before, &after).await?;
    tx.commit().await?;
    Ok(Found(after))
}

/// Revokes a key for good, at once. A leaked key must not wait for an ETag, so none is asked for.
#[utoipa::path(post, path = "/admin/v1/api-keys/{id}:revoke", tag = "api-keys", params(("id" = String, Path)),
    responses((status = 200, body = ApiKey)))]
async fn revoke_api_key(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<ApiKeyId>,
    change: Change,
) -> Result<Found<ApiKey>> {
    let mut tx = state.store.begin().await?;
    let before = ApiKey::read(keys::get(&mut tx, scope.rows(), id).await?, state.now());
    if before.status == ApiKeyStatus::Revoked {
        return Ok(Found(before));
    }
    let after = ApiKey::read(keys::revoke(&mut tx, scope.rows(), id).await?, state.now());
    change.record(&mut tx, "api_key.revoked", target(&after), Some(&before), Some(&after)).await?;
    tx.commit().await?;
    Ok(Found(after))
}

/// Gives a key another secret, which is shown this once. The one before stays good for the overlap, so that clients can be moved
/// over one by one; a rotation within it ends the one before that.
#[utoipa::path(post, path = "/admin/v1/api-keys/{id}:rotate", tag = "api-keys",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    request_body = ApiKeyRotate, responses((status = 200, body = ApiKeyWithSecret)))]
async fn rotate_api_key(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<ApiKeyId>,
    expected: IfMatch,
    change: Change,
    Body(body): Body<ApiKeyRotate>,
) -> Result<Found<ApiKeyWithSecret>> {
    let mut tx = state.store.begin().await?;
    let before = ApiKey::read(keys::get(&mut tx, scope.rows(), id).await?, state.now());
    expected.check(&before, before.managed_by)?;
    let overlap = Duration::from_secs(body.overlap_seconds.unwrap_or(DEFAULT_OVERLAP_SECONDS));
    let (key, secret) = keys::rotate(&mut tx, scope.rows(), id, expected.0, overlap).await?;
    let key = ApiKey::read(key, state.now());
    change.record(&mut tx, "api_key.rotated", target(&key), Some(&before), Some(&key)).await?;
    tx.commit().await?;
    Ok(Found(ApiKeyWithSecret { key, secret: secret.expose_secret().to_owned() }))
}

fn checked_endpoints(names: Option<Vec<String>>) -> Result<Option<Vec<String>>> {
    let wrong = |(at, name): (usize, &String)| {
        let error = name.parse::<Endpoint>().err()?;
        Some(FieldError::new(format!("/allowed_endpoints/{at}"), "unknown", error.to_string()))
    };
    let errors: Vec<_> = names.iter().flatten().enumerate().filter_map(wrong).collect();
    if errors.is_empty() { Ok(names) } else { Err(Problem::invalid(errors)) }
}

fn check_expiry(expires_at: Option<Timestamp>, now: Timestamp) -> Result<()> {
    match expires_at {
        Some(at) if at <= now => Err(Problem::invalid_field(
            "/expires_at",
            "in_the_past",
            "The expiry must lie in the future; to end a key now, revoke it.",
        )),
        _ => Ok(()),
    }
}

fn target(key: &ApiKey) -> Target<'_> {
    Target { kind: "api_key", id: key.id.to_string(), name: &key.name, tenant: Some(key.tenant_id) }
}

impl ApiKey {
    fn read(row: keys::ApiKey, now: Timestamp) -> Self {
        Self {
            id: row.id,
            tenant_id: row.tenant_id,
            name: row.name,
            prefix: row.prefix,
            last4: row.last4,
            status: match row.status {
                KeyStatus::Revoked => ApiKeyStatus::Revoked,
                KeyStatus::Active if row.expires_at.is_some_and(|at| at <= now) => ApiKeyStatus::Expired,
                KeyStatus::Active => ApiKeyStatus::Active,
            },
            expires_at: row.expires_at,
            limits: row.limits.into(),
            allowed_models: row.allowed_models,
            allowed_endpoints: row.allowed_endpoints,
            allowed_networks: row.allowed_networks,
            project: row.project,
            tags: row.tags,
            previous_expires_at: row.previous_expires_at,
            last_used_at: row.last_used_at,
            created_by: row.created_by,
            managed_by: row.managed_by.into(),
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
