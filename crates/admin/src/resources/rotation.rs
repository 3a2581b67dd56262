//! `/credentials/{id}/rotate`: a new secret in the place of an old one, with a time in which both work.

use std::time::Duration;

use axum::extract::State;
use serde::Deserialize;
use tallygate_store::credentials::{self, MAX_OVERLAP};
use tallygate_types::CredentialId;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::credentials::{Credential, target};
use crate::AppState;
use crate::audit::Change;
use crate::auth::Permission;
use crate::http_form::{Body, Created, Path};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

/// Requests in flight are done with the old secret by then.
const DEFAULT_OVERLAP_SECONDS: u64 = 3_600;

pub fn add(routes: Routes) -> Routes {
    routes.add(Access::Needs(Permission::UpstreamSecretsWrite), routes!(rotate_credential))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialRotation {
    /// The provider's new key. Write-only.
    #[schema(value_type = String, write_only)]
    pub secret: secrecy::SecretString,
    /// What the successor is called; absent, the old name and a number.
    #[schema(max_length = 200)]
    pub name: Option<String>,
    /// How long the old secret is used beside the new one.
    #[schema(minimum = 0, maximum = 2_592_000, default = 3600)]
    pub overlap_seconds: Option<u64>,
}

/// Makes the successor of a credential, with its weight, limits and proxy. The old one is used beside it until `retires_at`,
/// and disabled after. A leaked key must not wait for an ETag, so none is asked for.
#[utoipa::path(post, path = "/admin/v1/credentials/{id}/rotate", tag = "upstreams", params(("id" = String, Path)),
    request_body = CredentialRotation, responses((status = 201, body = Credential)))]
async fn rotate_credential(
    State(state): State<AppState>,
    Path(id): Path<CredentialId>,
    change: Change,
    Body(body): Body<CredentialRotation>,
) -> Result<Created<Credential>> {
    let overlap = Duration::from_secs(body.overlap_seconds.unwrap_or(DEFAULT_OVERLAP_SECONDS));
    if overlap > MAX_OVERLAP {
        let reason = format!("The overlap must be at most {} seconds.", MAX_OVERLAP.as_secs());
        return Err(Problem::invalid_field("/overlap_seconds", "out_of_range", reason));
    }
    let mut tx = state.store.begin().await?;
    let before = Credential::from(credentials::get(&mut tx, id).await?);
    before.managed_by.admit(false)?;
    let rotated = credentials::rotate(&mut tx, id, body.name.as_deref(), &body.secret, overlap).await?;
    let (successor, retiring) = (Credential::from(rotated.successor), Credential::from(rotated.retiring));
    change.created(&mut tx, target(&successor), &successor).await?;
    change.record(&mut tx, "credential.rotated", target(&retiring), Some(&before), Some(&retiring)).await?;
    tx.commit().await?;
    let location = format!("/admin/v1/upstreams/{}/credentials/{}", successor.upstream_id, successor.id);
    Ok(Created { location, resource: successor })
}
