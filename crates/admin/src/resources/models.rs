//! `/models`: the models tenants ask for and where each is served from.

use std::collections::HashMap;

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tallygate_billing::prices;
use tallygate_store::models::{self, ModelFilter, ModelSettings, TargetSettings};
use tallygate_types::{ModelId, Timestamp, UpstreamId};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::prices::{PriceCreate, PriceVersion};
use super::routing::{NewTarget, Routing, Target, known_targets, upstream_names};
use crate::AppState;
use crate::audit::{self, Change};
use crate::auth::Permission;
use crate::form::{Enabled, ManagedBy};
use crate::http_form::{Body, Created, Found, IfMatch, Page, Params, Path, Versioned, given, page_request};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::ModelsRead), routes!(list_models))
        .add(Access::Needs(Permission::ModelsWrite), routes!(create_model))
        .add(Access::Needs(Permission::ModelsRead), routes!(get_model))
        .add(Access::Needs(Permission::ModelsWrite), routes!(update_model))
        .add(Access::Needs(Permission::ModelsWrite), routes!(delete_model))
}

/// A model by its public name.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Model {
    #[schema(value_type = String, example = "mod_0193500000007000800000000000000e")]
    pub id: ModelId,
    #[schema(example = "smart")]
    pub name: String,
    /// Other names it answers to.
    pub aliases: Vec<String>,
    pub status: Enabled,
    /// Refuse a request rather than translate it with loss.
    pub strict: bool,
    /// How its targets are chosen among, where no route decides.
    pub routing: Routing,
    pub targets: Vec<Target>,
    /// The price in force now; null means the model cannot be sold.
    #[schema(required = true)]
    pub price: Option<PriceVersion>,
    pub managed_by: ManagedBy,
    pub version: i64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl Versioned for Model {
    fn version(&self) -> i64 {
        self.version
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelCreate {
    /// What tenants ask for: printable, on one line; at most 200 characters.
    #[schema(max_length = 200)]
    pub name: String,
    /// Other names it answers to, for clients that only know names of one vendor (`claude-...`, `gemini-...`); at most 100, each
    /// unlike any name and alias there is.
    #[serde(default)]
    #[schema(required = false, max_items = 100)]
    pub aliases: Vec<String>,
    #[serde(default)]
    #[schema(required = false)]
    pub strict: bool,
    #[serde(default)]
    #[schema(required = false)]
    pub routing: Routing,
    pub targets: Vec<NewTarget>,
    /// The model's first price. Needs the permission `prices.write` too.
    pub price: Option<PriceCreate>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelPatch {
    #[serde(default, deserialize_with = "given")]
    pub name: Option<String>,
    /// Replaces all aliases.
    #[serde(default, deserialize_with = "given")]
    pub aliases: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    pub status: Option<Enabled>,
    #[serde(default, deserialize_with = "given")]
    pub strict: Option<bool>,
    /// Replaces the whole policy.
    #[serde(default, deserialize_with = "given")]
    pub routing: Option<Routing>,
    /// Replaces all targets.
    #[serde(default, deserialize_with = "given")]
    pub targets: Option<Vec<NewTarget>>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListModels {
    #[param(inline)]
    status: Option<Enabled>,
    /// Part of the name.
    q: Option<String>,
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists models, newest first.
#[utoipa::path(get, path = "/admin/v1/models", tag = "models", params(ListModels),
    responses((status = 200, body = Page<Model>)))]
async fn list_models(State(state): State<AppState>, Params(query): Params<ListModels>) -> Result<axum::Json<Page<Model>>> {
    let filter = ModelFilter { status: query.status.map(Into::into), search: query.q };
    let page = models::list(&state.store, &filter, &page_request(query.limit, query.after)?).await?;
    let prices = prices::list(&state.store, None).await?;
    let names = upstream_names(&state, settings_of(&page.data)).await?;
    let now = state.now();
    Ok(axum::Json(Page::of(page, |row| {
        let price = in_force(prices.iter().filter(|version| version.model_id == row.id), now);
        Model::read(row, &names, price.cloned())
    })))
}

/// Creates a model with its targets, and its first price if given.
#[utoipa::path(post, path = "/admin/v1/models", tag = "models", request_body = ModelCreate,
    responses((status = 201, body = Model)))]
async fn create_model(State(state): State<AppState>, change: Change, Body(body): Body<ModelCreate>) -> Result<Created<Model>> {
    if body.price.is_some() && !change.principal.may(Permission::PricesWrite) {
        return Err(Problem::forbidden(Permission::PricesWrite));
    }
    let targets = known_targets(&state, body.targets).await?;
    let settings = ModelSettings {
        aliases: body.aliases,
        strict: body.strict,
        routing: body.routing.parse("/routing")?,
        ..ModelSettings::named(body.name, targets)
    };
    let names = upstream_names(&state, &settings.targets).await?;
    let mut tx = state.store.begin().await?;
    let row = models::create(&mut tx, &settings).await?;
    let price = match body.price {
        Some(price) => {
            let new = price.into_new("/price", row.id, tx.now(), &change.principal.name)?;
            Some(prices::create(&mut tx, new).await.map_err(|error| Problem::within(error, "/price"))?)
        }
        None => None,
    };
    let model = Model::read(row, &names, price);
    change.created(&mut tx, target(&model), &model).await?;
    tx.commit().await?;
    Ok(Created { location: format!("/admin/v1/models/{}", model.id), resource: model })
}

/// Reads a model.
#[utoipa::path(get, path = "/admin/v1/models/{id}", tag = "models", params(("id" = String, Path)),
    responses((status = 200, body = Model)))]
async fn get_model(State(state): State<AppState>, Path(id): Path<ModelId>) -> Result<Found<Model>> {
    let row = models::get(&state.store, id).await?;
    complete(&state, row).await.map(Found)
}

/// Changes a model; `targets`, if given, replaces all of them.
#[utoipa::path(patch, path = "/admin/v1/models/{id}", tag = "models",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    request_body = ModelPatch, responses((status = 200, body = Model)))]
async fn update_model(
    State(state): State<AppState>,
    Path(id): Path<ModelId>,
    expected: IfMatch,
    change: Change,
    Body(body): Body<ModelPatch>,
) -> Result<Found<Model>> {
    // Read before the transaction: names and prices are shown, not decided upon; the version guards what is written.
    let current = models::get(&state.store, id).await?;
    let before = complete(&state, current.clone()).await?;
    expected.check_version(&before)?;
    let kept = current.settings();
    let settings = ModelSettings {
        name: body.name.unwrap_or(kept.name),
        aliases: body.aliases.unwrap_or(kept.aliases),
        status: body.status.map_or(kept.status, Into::into),
        strict: body.strict.unwrap_or(kept.strict),
        routing: match body.routing {
            Some(routing) => routing.parse("/routing")?,
            None => kept.routing,
        },
        targets: match body.targets {
            Some(targets) => known_targets(&state, targets).await?,
            None => kept.targets,
        },
    };
    before.managed_by.admit(settings == ModelSettings { status: settings.status, ..current.settings() })?;
    let names = upstream_names(&state, &settings.targets).await?;
    let mut tx = state.store.begin().await?;
    let row = models::update(&mut tx, id, expected.0, &settings).await?;
    let after = Model { price: before.price.clone(), ..Model::read(row, &names, None) };
    change.updated(&mut tx, target(&after), &before, &after).await?;
    tx.commit().await?;
    Ok(Found(after))
}

/// Deletes a model. What was used and charged stays.
#[utoipa::path(delete, path = "/admin/v1/models/{id}", tag = "models",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    responses((status = 204)))]
async fn delete_model(
    State(state): State<AppState>,
    Path(id): Path<ModelId>,
    expected: IfMatch,
    change: Change,
) -> Result<StatusCode> {
    let row = models::get(&state.store, id).await?;
    let before = complete(&state, row).await?;
    expected.check(&before, before.managed_by)?;
    let mut tx = state.store.begin().await?;
    models::delete(&mut tx, id, expected.0).await?;
    change.deleted(&mut tx, target(&before), &before).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The price in force at `now`, of versions with the latest first.
pub fn in_force<'a>(
    mut versions: impl Iterator<Item = &'a tallygate_billing::PriceVersion>,
    now: Timestamp,
) -> Option<&'a tallygate_billing::PriceVersion> {
    versions.find(|version| version.valid_from <= now)
}

async fn complete(state: &AppState, row: models::Model) -> Result<Model> {
    let names = upstream_names(state, settings_of([&row])).await?;
    let versions = prices::list(&state.store, Some(row.id)).await?;
    let price = in_force(versions.iter(), state.now()).cloned();
    Ok(Model::read(row, &names, price))
}

fn settings_of<'a>(models: impl IntoIterator<Item = &'a models::Model>) -> impl Iterator<Item = &'a TargetSettings> {
    models.into_iter().flat_map(|model| &model.targets).map(|target| &target.settings)
}

fn target(model: &Model) -> audit::Target<'_> {
    audit::Target { kind: "model", id: model.id.to_string(), name: &model.name, tenant: None }
}

impl Model {
    fn read(row: models::Model, names: &HashMap<UpstreamId, String>, price: Option<tallygate_billing::PriceVersion>) -> Self {
        Self {
            id: row.id,
            name: row.name,
            aliases: row.aliases,
            status: row.status.into(),
            strict: row.strict,
            routing: row.routing.into(),
            targets: row.targets.into_iter().map(|target| Target::read(target, names)).collect(),
            price: price.map(Into::into),
            managed_by: row.managed_by.into(),
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
