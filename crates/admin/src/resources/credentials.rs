//! `/upstreams/{id}/credentials`: the secrets an upstream is called with. They go in and never come out.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tallygate_types::{CredentialId, Timestamp, UpstreamId};
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::AppState;
use crate::audit::Change;
use crate::auth::Permission;
use crate::http_form::{Body, Created, Found, IfMatch, Page, Patch, Path, Versioned};
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialStatus {
    Active,
    Disabled,
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
    /// The outbound proxy of this credential, before the upstream's own; its password masked.
    #[schema(required = true)]
    pub proxy: Option<String>,
    pub status: CredentialStatus,
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
    /// Printable, at most 100 characters.
    #[schema(max_length = 100)]
    pub name: String,
    /// The provider's key. Write-only.
    #[schema(value_type = String, write_only)]
    pub secret: secrecy::SecretString,
    pub proxy: Option<String>,
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialPatch {
    pub name: Option<String>,
    /// Replaces the secret.
    #[schema(value_type = Option<String>, write_only)]
    pub secret: Option<secrecy::SecretString>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub proxy: Patch<String>,
    pub status: Option<CredentialStatus>,
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

/// Lists the credentials of an upstream.
#[utoipa::path(get, path = "/admin/v1/upstreams/{id}/credentials", tag = "upstreams", params(("id" = String, Path)),
    responses((status = 200, body = Page<Credential>)))]
async fn list_credentials(State(state): State<AppState>, Path(id): Path<UpstreamId>) -> Result<axum::Json<Page<Credential>>> {
    let _ = (state, id);
    Err(Problem::not_found("upstream"))
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
    let _ = (state, id, change, body);
    Err(Problem::not_found("upstream"))
}

/// Reads a credential, without its secret.
#[utoipa::path(get, path = "/admin/v1/upstreams/{id}/credentials/{credential_id}", tag = "upstreams",
    params(("id" = String, Path), ("credential_id" = String, Path)), responses((status = 200, body = Credential)))]
async fn get_credential(
    State(state): State<AppState>,
    Path((id, credential_id)): Path<(UpstreamId, CredentialId)>,
) -> Result<Found<Credential>> {
    let _ = (state, id, credential_id);
    Err(Problem::not_found("credential"))
}

/// Renames a credential, replaces its secret, or takes it out of service.
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
    let _ = (state, id, credential_id, expected, change, body);
    Err(Problem::not_found("credential"))
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
) -> Result<http::StatusCode> {
    let _ = (state, id, credential_id, expected, change);
    Err(Problem::not_found("credential"))
}
