//! `/models/{id}/prices`: dated prices. A price is never changed; a new one follows it.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tallygate_types::{Currency, ModelId, PriceVersionId, Timestamp};
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::AppState;
use crate::audit::Change;
use crate::auth::Permission;
use crate::form::ClassPrices;
use crate::http_form::{Body, Page, Path};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::PricesRead), routes!(list_prices))
        .add(Access::Needs(Permission::PricesWrite), routes!(create_price))
}

/// The prices of a model from a time on.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PriceVersion {
    #[schema(value_type = String, example = "prc_0193500000007000800000000000000f")]
    pub id: PriceVersionId,
    #[schema(value_type = String)]
    pub model_id: ModelId,
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    /// Applies to requests accepted from this time on, until the next version's.
    #[schema(value_type = String, format = DateTime)]
    pub valid_from: Timestamp,
    pub prices: ClassPrices,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Who set it.
    pub created_by: String,
}

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceCreate {
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    /// Now if absent; never earlier, for what was charged stays as it was.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_from: Option<Timestamp>,
    pub prices: ClassPrices,
}

/// Lists the price versions of a model, latest `valid_from` first.
#[utoipa::path(get, path = "/admin/v1/models/{id}/prices", tag = "models", params(("id" = String, Path)),
    responses((status = 200, body = Page<PriceVersion>)))]
async fn list_prices(State(state): State<AppState>, Path(id): Path<ModelId>) -> Result<axum::Json<Page<PriceVersion>>> {
    let _ = (state, id);
    Err(Problem::not_found("model"))
}

/// Adds a price version.
#[utoipa::path(post, path = "/admin/v1/models/{id}/prices", tag = "models", params(("id" = String, Path)),
    request_body = PriceCreate, responses((status = 201, body = PriceVersion)))]
async fn create_price(
    State(state): State<AppState>,
    Path(id): Path<ModelId>,
    change: Change,
    Body(body): Body<PriceCreate>,
) -> Result<(http::StatusCode, axum::Json<PriceVersion>)> {
    let _ = (state, id, change, body);
    Err(Problem::not_found("model"))
}
