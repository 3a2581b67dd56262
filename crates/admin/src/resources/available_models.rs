//! `/available-models`: what a tenant may call, and at what price. Where a model is served from is not in it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tallygate_billing::prices;
use tallygate_store::models::{self, ModelFilter};
use tallygate_store::tenants;
use tallygate_store::upstreams::Status;
use tallygate_types::{Currency, ModelId, TenantId, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::models::in_force;
use crate::AppState;
use crate::auth::{Permission, Scope};
use crate::form::ClassPrices;
use crate::http_form::{Page, Params, page_request};
use crate::problem::Result;
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes.add(Access::Needs(Permission::AvailableModelsRead), routes!(list_available_models))
}

/// A model as whoever calls it sees it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AvailableModel {
    #[schema(value_type = String)]
    pub id: ModelId,
    #[schema(example = "smart")]
    pub name: String,
    /// Other names it answers to.
    pub aliases: Vec<String>,
    pub price: AvailablePrice,
}

/// What the tenant is charged.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AvailablePrice {
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    /// Since when it is in force.
    #[schema(value_type = String, format = DateTime)]
    pub valid_from: Timestamp,
    pub prices: ClassPrices,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListAvailableModels {
    /// Of this tenant; absent, of the caller's own, or all models there are.
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// Part of the name.
    q: Option<String>,
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists the models that can be called now, newest first. A page may hold fewer than `limit` though more follow.
#[utoipa::path(get, path = "/admin/v1/available-models", tag = "models", params(ListAvailableModels),
    responses((status = 200, body = Page<AvailableModel>)))]
async fn list_available_models(
    State(state): State<AppState>,
    scope: Scope,
    Params(query): Params<ListAvailableModels>,
) -> Result<axum::Json<Page<AvailableModel>>> {
    let allowed = match query.tenant_id.or(scope.tenant()) {
        Some(tenant) => tenants::get(&state.store, scope.rows(), tenant).await?.allowed_models,
        None => None,
    };
    let filter = ModelFilter { status: Some(Status::Active), search: query.q };
    let page = models::list(&state.store, &filter, &page_request(query.limit, query.after)?).await?;
    let versions = prices::list(&state.store, None).await?;
    let now = state.now();
    let open = page.data.into_iter().filter(|model| allowed.as_ref().is_none_or(|names| names.contains(&model.name)));
    let data = open.filter_map(|model| {
        let price = in_force(versions.iter().filter(|version| version.model_id == model.id), now)?;
        let price = AvailablePrice { currency: price.currency, valid_from: price.valid_from, prices: price.prices.into() };
        Some(AvailableModel { id: model.id, name: model.name, aliases: model.aliases, price })
    });
    Ok(axum::Json(Page::new(data.collect(), page.next.map(|cursor| cursor.to_string()))))
}
