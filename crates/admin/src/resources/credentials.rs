//! `/upstreams/{id}/credentials`: the secrets an upstream is called with. They go in and never come out.

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tallygate_store::credentials::{self, CredentialSettings, NewCredential};
use tallygate_store::upstreams;
use tallygate_types::{CredentialId, Pico, Timestamp, UpstreamId};
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::AppState;
use crate::audit::{Change, Target};
use crate::auth::Permission;
use crate::form::{Enabled, ManagedBy, Proxies};
use crate::http_form::{Body, Created, Found, IfMatch, Page, Patch, Path, Versioned, given};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::UpstreamsRead), routes!(list_credentials))
        .add(Access::Needs(Permission::UpstreamSecretsWrite), routes!(create_credential))
        .add(Access::Needs(Permission::UpstreamsRead), routes!(get_credential))
        .add(Access::Needs(Permission::UpstreamSecretsWrite), routes!(update_credential))
        .add(Access::Needs(Permission::UpstreamSecretsWrite), routes!(delete_credential))
}

/// What a credential may be asked for, beneath what its vendor allows; null does not bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialLimits {
    #[schema(required = true, minimum = 1)]
    pub requests_per_minute: Option<u32>,
    #[schema(required = true, minimum = 1)]
    pub tokens_per_minute: Option<u64>,
    /// Requests in flight at once.
    #[schema(required = true, minimum = 1)]
    pub concurrency: Option<u32>,
    /// Money a day (UTC), in the currency the models are priced in.
    #[schema(value_type = Option<String>, required = true, example = "50.00")]
    pub daily_spend: Option<Pico>,
}

/// A secret of an upstream, without the secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Credential {
    #[schema(value_type = String, example = "crd_0193500000007000800000000000000d")]
    pub id: CredentialId,
    #[schema(value_type = String)]
    pub upstream_id: UpstreamId,
    pub name: String,
    /// Tells secrets apart without showing them: equal secrets have equal fingerprints.
    #[schema(example = "9f86d081")]
    pub fingerprint: String,
    /// How the secret ends.
    pub last4: String,
    /// The outbound proxies of this credential, before the upstream's own; passwords masked.
    #[schema(required = true)]
    pub proxy: Option<Proxies>,
    pub status: Enabled,
    /// Share among the credentials of its upstream.
    pub weight: u32,
    pub limits: CredentialLimits,
    /// From then on it is not used: its successor is. Null for one that stays.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub retires_at: Option<Timestamp>,
    pub managed_by: ManagedBy,
    pub version: i64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl Versioned for Credential {
    fn version(&self) -> i64 {
        self.version
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialCreate {
    /// Printable, on one line; at most 200 characters.
    #[schema(max_length = 200)]
    pub name: String,
    /// The provider's key. Write-only.
    #[schema(value_type = String, write_only)]
    pub secret: secrecy::SecretString,
    pub proxy: Option<Proxies>,
    /// Share among the credentials of its upstream; 0 takes none, 1 if absent.
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub weight: Option<u32>,
    #[serde(default)]
    #[schema(required = false)]
    pub limits: CredentialLimits,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialPatch {
    #[serde(default, deserialize_with = "given")]
    pub name: Option<String>,
    /// Replaces the secret.
    #[schema(value_type = Option<String>, write_only)]
    #[serde(default, deserialize_with = "given")]
    pub secret: Option<secrecy::SecretString>,
    #[serde(default)]
    #[schema(value_type = Option<Proxies>)]
    pub proxy: Patch<Proxies>,
    #[serde(default, deserialize_with = "given")]
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub weight: Option<u32>,
    /// Replaces all limits.
    #[serde(default, deserialize_with = "given")]
    pub limits: Option<CredentialLimits>,
    /// Null keeps a credential that was to retire.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retires_at: Patch<Timestamp>,
    #[serde(default, deserialize_with = "given")]
    pub status: Option<Enabled>,
}

impl std::fmt::Debug for CredentialCreate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialCreate").field("name", &self.name).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for CredentialPatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialPatch").field("name", &self.name).field("status", &self.status).finish_non_exhaustive()
    }
}

/// Lists the credentials of an upstream, by name; all on one page.
#[utoipa::path(get, path = "/admin/v1/upstreams/{id}/credentials", tag = "upstreams", params(("id" = String, Path)),
    responses((status = 200, body = Page<Credential>)))]
async fn list_credentials(State(state): State<AppState>, Path(id): Path<UpstreamId>) -> Result<axum::Json<Page<Credential>>> {
    upstreams::get(&state.store, id).await?;
    let own = credentials::list(&state.store, id).await?;
    Ok(axum::Json(Page::new(own.into_iter().map(Into::into).collect(), None)))
}

/// Adds a credential.
#[utoipa::path(post, path = "/admin/v1/upstreams/{id}/credentials", tag = "upstreams", params(("id" = String, Path)),
    request_body = CredentialCreate, responses((status = 201, body = Credential)))]
async fn create_credential(
    State(state): State<AppState>,
    Path(id): Path<UpstreamId>,
    change: Change,
    Body(body): Body<CredentialCreate>,
) -> Result<Created<Credential>> {
    let mut tx = state.store.begin().await?;
    let credential = Credential::from(credentials::create(&mut tx, &body.into_new(id)).await?);
    change.created(&mut tx, target(&credential), &credential).await?;
    tx.commit().await?;
    Ok(Created { location: format!("/admin/v1/upstreams/{id}/credentials/{}", credential.id), resource: credential })
}

/// Reads a credential, without its secret.
#[utoipa::path(get, path = "/admin/v1/upstreams/{id}/credentials/{credential_id}", tag = "upstreams",
    params(("id" = String, Path), ("credential_id" = String, Path)), responses((status = 200, body = Credential)))]
async fn get_credential(
    State(state): State<AppState>,
    Path((id, credential_id)): Path<(UpstreamId, CredentialId)>,
) -> Result<Found<Credential>> {
    Ok(Found(own(credentials::get(&state.store, credential_id).await?, id)?.into()))
}

/// Renames a credential, bounds it, replaces its secret, or takes it out of service.
#[utoipa::path(patch, path = "/admin/v1/upstreams/{id}/credentials/{credential_id}", tag = "upstreams",
    params(("id" = String, Path), ("credential_id" = String, Path),
        ("If-Match" = String, Header, description = "The ETag of the version read.")),
    request_body = CredentialPatch, responses((status = 200, body = Credential)))]
async fn update_credential(
    State(state): State<AppState>,
    Path((id, credential_id)): Path<(UpstreamId, CredentialId)>,
    expected: IfMatch,
    change: Change,
    Body(body): Body<CredentialPatch>,
) -> Result<Found<Credential>> {
    let mut tx = state.store.begin().await?;
    let current = own(credentials::get(&mut tx, credential_id).await?, id)?;
    let before = Credential::from(current.clone());
    expected.check_version(&before)?;
    let kept = current.settings();
    let settings = CredentialSettings {
        name: body.name.unwrap_or(current.name),
        proxy: Proxies::pool(body.proxy.apply(Proxies::shown(current.proxy))),
        status: body.status.map_or(current.status, Into::into),
        weight: body.weight.unwrap_or(current.weight),
        limits: body.limits.map_or(current.limits, Into::into),
        retires_at: body.retires_at.apply(current.retires_at),
    };
    let is_same = settings == CredentialSettings { status: settings.status, ..kept };
    before.managed_by.admit(is_same && body.secret.is_none())?;
    let mut row = credentials::update(&mut tx, credential_id, expected.0, &settings).await?;
    if let Some(secret) = &body.secret {
        row = credentials::replace_secret(&mut tx, credential_id, row.version, secret).await?;
    }
    let after = Credential::from(row);
    change.updated(&mut tx, target(&after), &before, &after).await?;
    tx.commit().await?;
    Ok(Found(after))
}

/// Deletes a credential and its secret.
#[utoipa::path(delete, path = "/admin/v1/upstreams/{id}/credentials/{credential_id}", tag = "upstreams",
    params(("id" = String, Path), ("credential_id" = String, Path),
        ("If-Match" = String, Header, description = "The ETag of the version read.")),
    responses((status = 204)))]
async fn delete_credential(
    State(state): State<AppState>,
    Path((id, credential_id)): Path<(UpstreamId, CredentialId)>,
    expected: IfMatch,
    change: Change,
) -> Result<StatusCode> {
    let mut tx = state.store.begin().await?;
    let before = Credential::from(own(credentials::get(&mut tx, credential_id).await?, id)?);
    expected.check(&before, before.managed_by)?;
    credentials::delete(&mut tx, credential_id, expected.0).await?;
    change.deleted(&mut tx, target(&before), &before).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The credential, if it belongs to the upstream of the path.
fn own(credential: credentials::Credential, upstream: UpstreamId) -> Result<credentials::Credential> {
    if credential.upstream_id == upstream { Ok(credential) } else { Err(Problem::not_found("credential")) }
}

pub fn target(credential: &Credential) -> Target<'_> {
    Target { kind: "credential", id: credential.id.to_string(), name: &credential.name, tenant: None }
}

impl CredentialCreate {
    pub fn into_new(self, upstream_id: UpstreamId) -> NewCredential {
        let settings = CredentialSettings {
            proxy: Proxies::pool(self.proxy),
            weight: self.weight.unwrap_or(1),
            limits: self.limits.into(),
            ..CredentialSettings::named(self.name)
        };
        NewCredential { upstream_id, settings, secret: self.secret }
    }
}

impl From<credentials::CredentialLimits> for CredentialLimits {
    fn from(limits: credentials::CredentialLimits) -> Self {
        let credentials::CredentialLimits { requests_per_minute, tokens_per_minute, concurrency, daily_spend } = limits;
        Self { requests_per_minute, tokens_per_minute, concurrency, daily_spend }
    }
}

impl From<CredentialLimits> for credentials::CredentialLimits {
    fn from(limits: CredentialLimits) -> Self {
        let CredentialLimits { requests_per_minute, tokens_per_minute, concurrency, daily_spend } = limits;
        Self { requests_per_minute, tokens_per_minute, concurrency, daily_spend }
    }
}

impl From<credentials::Credential> for Credential {
    fn from(row: credentials::Credential) -> Self {
        Self {
            id: row.id,
            upstream_id: row.upstream_id,
            name: row.name,
            fingerprint: row.fingerprint,
            last4: row.last4,
            proxy: Proxies::shown(row.proxy),
            status: row.status.into(),
            weight: row.weight,
            limits: row.limits.into(),
            retires_at: row.retires_at,
            managed_by: row.managed_by.into(),
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
