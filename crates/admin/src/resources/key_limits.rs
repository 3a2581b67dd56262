//! `/api-keys/{id}/limits`: every limit that the requests of a key fall under, and where each stands now.

use axum::extract::State;
use serde::Deserialize;
use tallygate_store::keys;
use tallygate_types::ApiKeyId;
use tallygate_types::live::EffectiveLimit;
use utoipa::IntoParams;
use utoipa_axum::routes;

use crate::AppState;
use crate::auth::{Permission, Scope};
use crate::http_form::{Page, Params, Path};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes.add(Access::Needs(Permission::ApiKeysRead), routes!(list_api_key_limits))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListApiKeyLimits {
    /// Only the limits of this model, beside those of any; absent, of each that has some.
    model: Option<String>,
    /// Where this end user stands; absent, what each of them has.
    end_user: Option<String>,
}

/// Lists every limit that requests of the key fall under, in the order they are asked, all on one page; what is used is of all replicas where limits are shared.
#[utoipa::path(get, path = "/admin/v1/api-keys/{id}/limits", tag = "api-keys", params(("id" = String, Path), ListApiKeyLimits),
    responses((status = 200, body = Page<EffectiveLimit>)))]
async fn list_api_key_limits(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<ApiKeyId>,
    Params(query): Params<ListApiKeyLimits>,
) -> Result<axum::Json<Page<EffectiveLimit>>> {
    keys::get(&state.store, scope.rows(), id).await?;
    let limits = state.live()?.effective_limits(id, query.model.as_deref(), query.end_user.as_deref()).await;
    let limits = limits.ok_or_else(|| {
        Problem::conflict("not_in_service", "This replica does not serve the key: it is revoked, or a moment too new.")
    })?;
    Ok(axum::Json(Page::new(limits, None)))
}
