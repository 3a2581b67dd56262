//! `/catalogue`: list prices of providers, to start from when a model is priced.

use serde::{Deserialize, Serialize};
use tallygate_billing::catalogue::{self, ListedModel};
use tallygate_types::Currency;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::auth::Permission;
use crate::form::ClassPrices;
use crate::http_form::{Page, Params, invalid_parameter, page_limit};
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
    /// `chat`, `responses`, `embedding` or `completion`.
    pub mode: String,
    #[schema(required = true)]
    pub max_input_tokens: Option<u64>,
    #[schema(required = true)]
    pub max_output_tokens: Option<u64>,
    #[schema(value_type = String, example = "USD")]
    pub currency: Currency,
    pub prices: ClassPrices,
    /// To be kept with a price made from this entry.
    pub source: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListCatalogue {
    /// Only models of this provider (`openai`, `anthropic`, `gemini`, …).
    provider: Option<String>,
    /// The one entry for this model; a date at the end of the name is looked past.
    model: Option<String>,
    /// Only models whose name contains this.
    q: Option<String>,
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Looks up list prices, by provider and name.
#[utoipa::path(get, path = "/admin/v1/catalogue", tag = "models", params(ListCatalogue),
    responses((status = 200, body = Page<CatalogueEntry>)))]
async fn list_catalogue(Params(query): Params<ListCatalogue>) -> Result<axum::Json<Page<CatalogueEntry>>> {
    if let Some(model) = &query.model {
        let found = match &query.provider {
            Some(provider) => catalogue::lookup(provider, model),
            None => catalogue::lookup_anywhere(model),
        };
        return Ok(axum::Json(Page::new(found.map(CatalogueEntry::from).into_iter().collect(), None)));
    }
    let limit = page_limit(query.limit)? as usize;
    let start = match &query.after {
        None => 0,
        Some(after) => after.parse::<usize>().map_err(|_| {
            invalid_parameter("after", "unreadable", "`after` is not a cursor of this list; pass on `next_cursor` as it came.")
        })?,
    };
    let part = query.q.map(|text| text.to_lowercase());
    let mut matching = catalogue::all().iter().enumerate().skip(start).filter(|(_, listed)| {
        query.provider.as_ref().is_none_or(|provider| listed.provider == *provider)
            && part.as_ref().is_none_or(|part| listed.model.to_lowercase().contains(part))
    });
    let data = matching.by_ref().take(limit).map(|(_, listed)| listed.into()).collect();
    let next = matching.next().map(|(index, _)| index.to_string());
    Ok(axum::Json(Page::new(data, next)))
}

impl From<&ListedModel> for CatalogueEntry {
    fn from(listed: &ListedModel) -> Self {
        Self {
            provider: listed.provider.clone(),
            model: listed.model.clone(),
            mode: listed.mode.clone(),
            max_input_tokens: listed.max_input_tokens,
            max_output_tokens: listed.max_output_tokens,
            currency: Currency::USD,
            prices: listed.prices.into(),
            source: catalogue::SOURCE.to_owned(),
        }
    }
}
