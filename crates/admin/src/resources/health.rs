//! `/upstreams/{id}/health` and `/credentials/{id}/reactivate`: how an upstream and its credentials stand on this replica.

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use tallygate_store::{credentials, upstreams};
use tallygate_types::live::{CredentialStanding, UpstreamStanding};
use tallygate_types::{CredentialId, UpstreamId};
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::AppState;
use crate::audit::{Change, Target};
use crate::auth::Permission;
use crate::http_form::Path;
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::UpstreamsRead), routes!(get_upstream_health))
        .add(Access::Needs(Permission::CredentialsReactivate), routes!(reactivate_credential))
}

/// How an upstream does, as this replica sees it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UpstreamHealth {
    /// Null for one that is disabled: nothing is sent to it.
    #[schema(required = true)]
    pub upstream: Option<UpstreamStanding>,
    /// Of the credentials that take part, by name.
    pub credentials: Vec<CredentialStanding>,
}

/// Reads how an upstream and its credentials stand.
#[utoipa::path(get, path = "/admin/v1/upstreams/{id}/health", tag = "live", params(("id" = String, Path)),
    responses((status = 200, body = UpstreamHealth)))]
async fn get_upstream_health(State(state): State<AppState>, Path(id): Path<UpstreamId>) -> Result<axum::Json<UpstreamHealth>> {
    upstreams::get(&state.store, id).await?;
    let plane = state.live()?;
    let upstream = plane.upstreams().into_iter().find(|standing| standing.upstream == id);
    let mut credentials = plane.credentials();
    credentials.retain(|standing| standing.upstream == id);
    credentials.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(axum::Json(UpstreamHealth { upstream, credentials }))
}

/// Forgets what is held against a credential, so that it is tried again at once, on all replicas.
#[utoipa::path(post, path = "/admin/v1/credentials/{id}/reactivate", tag = "live", params(("id" = String, Path)),
    responses((status = 204)))]
async fn reactivate_credential(
    State(state): State<AppState>,
    Path(id): Path<CredentialId>,
    change: Change,
) -> Result<StatusCode> {
    let credential = credentials::get(&state.store, id).await?;
    let plane = state.live()?;
    let before = plane.credentials().into_iter().find(|standing| standing.credential == id);
    if !plane.reactivate(id) {
        return Err(Problem::conflict(
            "not_in_service",
            "The data plane does not use this credential: it or its upstream is disabled, or it was made a moment ago.",
        ));
    }
    let mut tx = state.store.begin().await?;
    let target = Target { kind: "credential", id: id.to_string(), name: &credential.name, tenant: None };
    change.record(&mut tx, "credential.reactivated", target, before.as_ref(), None::<&CredentialStanding>).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
