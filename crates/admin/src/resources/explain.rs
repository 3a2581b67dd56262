//! `/routes/explain`: where a request would go, and why. The data plane decides it as for live traffic.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Deserialize;
use tallygate_store::{keys, tenants};
use tallygate_types::live::{self, Explanation};
use tallygate_types::{ApiKeyId, TenantId};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::names::if_there;
use crate::AppState;
use crate::auth::{Permission, Scope};
use crate::http_form::Body;
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes.add(Access::Needs(Permission::RoutesRead), routes!(explain_route))
}

/// A request that is not made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteQuestion {
    /// As a client would write it: a public name or an alias.
    pub model: String,
    /// Name or id.
    pub tenant: Option<String>,
    /// The id of a key; its tenant, project and tags count as the request's own.
    #[schema(value_type = Option<String>)]
    pub key: Option<ApiKeyId>,
    /// In place of the key's.
    pub project: Option<String>,
    /// Beside the key's.
    #[serde(default)]
    #[schema(required = false)]
    pub tags: Vec<String>,
    #[serde(default)]
    #[schema(required = false)]
    pub headers: BTreeMap<String, String>,
    pub input_tokens: Option<u64>,
    #[serde(default)]
    #[schema(required = false)]
    pub has_images: bool,
    #[serde(default)]
    #[schema(required = false)]
    pub has_documents: bool,
    #[serde(default)]
    #[schema(required = false)]
    pub has_tools: bool,
    /// What the conversation is known by.
    pub conversation: Option<String>,
    pub prompt_cache_key: Option<String>,
    /// The end user the body names.
    pub user: Option<String>,
}

/// Says where a request would go, and why, with the health of this moment. No upstream is asked.
#[utoipa::path(post, path = "/admin/v1/routes/explain", tag = "routes", request_body = RouteQuestion,
    responses((status = 200, body = Explanation)))]
async fn explain_route(
    State(state): State<AppState>,
    scope: Scope,
    Body(body): Body<RouteQuestion>,
) -> Result<axum::Json<Explanation>> {
    let plane = state.live()?;
    let mut tenant = match &body.tenant {
        None => None,
        Some(named) => Some(known_tenant(&state, scope, named).await?),
    };
    if let Some(id) = body.key {
        let key = if_there(keys::get(&state.store, scope.rows(), id).await)?
            .ok_or_else(|| Problem::invalid_field("/key", "unknown", format!("There is no API key `{id}`.")))?;
        if tenant.is_some_and(|tenant| tenant != key.tenant_id) {
            return Err(Problem::invalid_field("/key", "other_tenant", "This key belongs to another tenant."));
        }
        tenant = Some(key.tenant_id);
    }
    let headers = body.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    Ok(axum::Json(plane.explain(&live::ExplainRequest {
        model: body.model,
        tenant,
        key: body.key,
        project: body.project,
        tags: body.tags,
        headers,
        input_tokens: body.input_tokens,
        has_images: body.has_images,
        has_documents: body.has_documents,
        has_tools: body.has_tools,
        conversation: body.conversation,
        prompt_cache_key: body.prompt_cache_key,
        user: body.user,
    })))
}

async fn known_tenant(state: &AppState, scope: Scope, named: &str) -> Result<TenantId> {
    let known = match named.parse() {
        Ok(id) => if_there(tenants::get(&state.store, scope.rows(), id).await)?,
        Err(_) => tenants::find_by_name(&state.store, named).await?,
    };
    let known = known.ok_or_else(|| Problem::invalid_field("/tenant", "unknown", format!("There is no tenant `{named}`.")))?;
    Ok(known.id)
}
