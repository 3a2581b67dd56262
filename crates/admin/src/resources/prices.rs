//! `/models/{id}/prices`: dated prices. A price is never changed; a new one follows it.

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tallygate_billing::prices::{self, NewPrice};
use tallygate_store::models;
use tallygate_types::{Currency, ModelId, PriceVersionId, Timestamp};
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::AppState;
use crate::audit::{Change, Target};
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
    /// Where the figures come from, such as `catalogue 2026-11`.
    #[schema(required = true)]
    pub source: Option<String>,
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
    /// Where the figures come from.
    #[schema(max_length = 200)]
    pub source: Option<String>,
}

/// Lists the price versions of a model, latest `valid_from` first; all on one page.
#[utoipa::path(get, path = "/admin/v1/models/{id}/prices", tag = "models", params(("id" = String, Path)),
    responses((status = 200, body = Page<PriceVersion>)))]
async fn list_prices(State(state): State<AppState>, Path(id): Path<ModelId>) -> Result<axum::Json<Page<PriceVersion>>> {
    // The prices of a deleted model stay readable: bills name them.
    let versions = prices::list(&state.store, Some(id)).await?;
    if versions.is_empty() {
        models::get(&state.store, id).await?;
    }
    Ok(axum::Json(Page::new(versions.into_iter().map(Into::into).collect(), None)))
}

/// Adds a price version.
#[utoipa::path(post, path = "/admin/v1/models/{id}/prices", tag = "models", params(("id" = String, Path)),
    request_body = PriceCreate, responses((status = 201, body = PriceVersion)))]
async fn create_price(
    State(state): State<AppState>,
    Path(id): Path<ModelId>,
    change: Change,
    Body(body): Body<PriceCreate>,
) -> Result<(StatusCode, axum::Json<PriceVersion>)> {
    let mut tx = state.store.begin().await?;
    let model = models::get(&mut tx, id).await?;
    let new = body.into_new("", id, tx.now(), &change.principal.name)?;
    let price = PriceVersion::from(prices::create(&mut tx, new).await?);
    let target = Target { kind: "price", id: price.id.to_string(), name: &model.name, tenant: None };
    change.created(&mut tx, target, &price).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, axum::Json(price)))
}

impl PriceCreate {
    /// Checks the price, which stood at `pointer` of the body.
    pub fn into_new(self, pointer: &str, model_id: ModelId, now: Timestamp, created_by: &str) -> Result<NewPrice> {
        let valid_from = self.valid_from.unwrap_or(now);
        if valid_from < now {
            let reason = "A price cannot begin in the past: what was charged stays as it was.";
            return Err(Problem::invalid_field(&format!("{pointer}/valid_from"), "in_the_past", reason));
        }
        let prices = self.prices.parse(&format!("{pointer}/prices"))?;
        Ok(NewPrice {
            model_id,
            currency: self.currency,
            valid_from,
            prices,
            source: self.source,
            created_by: created_by.to_owned(),
        })
    }
}

impl From<tallygate_billing::PriceVersion> for PriceVersion {
    fn from(version: tallygate_billing::PriceVersion) -> Self {
        Self {
            id: version.id,
            model_id: version.model_id,
            currency: version.currency,
            valid_from: version.valid_from,
            prices: version.prices.into(),
            source: version.source,
            created_at: version.created_at,
            created_by: version.created_by,
        }
    }
}
