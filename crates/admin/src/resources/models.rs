//! `/models`: the models tenants ask for and where each is served from.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tallygate_types::{ModelId, TargetId, Timestamp, UpstreamId};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::prices::{PriceCreate, PriceVersion};
use crate::AppState;
use crate::audit::Change;
use crate::auth::Permission;
use crate::http_form::{Body, Created, Found, IfMatch, Page, Params, Path, Versioned};
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelStatus {
    Active,
    /// Nobody can call it.
    Disabled,
}

/// One place a model is served from.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Target {
    #[schema(value_type = String)]
    pub id: TargetId,
    #[schema(value_type = String)]
    pub upstream_id: UpstreamId,
    /// The name of the upstream.
    pub upstream: String,
    /// The model's name there.
    pub upstream_model: String,
    /// The share of requests among the targets of one priority.
    pub weight: u32,
    /// Lower is tried first.
    pub priority: u32,
}

/// A model by its public name.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Model {
    #[schema(value_type = String, example = "mod_0193500000007000800000000000000e")]
    pub id: ModelId,
    #[schema(example = "smart")]
    pub name: String,
    pub status: ModelStatus,
    /// Refuse a request rather than translate it with loss.
    pub strict: bool,
    pub targets: Vec<Target>,
    /// The price in force now; null means the model cannot be sold.
    #[schema(required = true)]
    pub price: Option<PriceVersion>,
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

#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTarget {
    #[schema(value_type = String)]
    pub upstream_id: UpstreamId,
    /// The model's name at the upstream.
    pub upstream_model: String,
    /// 1 to 1000; 1 if absent.
    #[schema(minimum = 1, maximum = 1000)]
    pub weight: Option<u32>,
    /// 1 to 100; 1 if absent. Lower is tried first.
    #[schema(minimum = 1, maximum = 100)]
    pub priority: Option<u32>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelCreate {
    /// What tenants ask for: letters, digits and `. _ - / : @`; at most 128.
    #[schema(max_length = 128)]
    pub name: String,
    #[serde(default)]
    #[schema(required = false)]
    pub strict: bool,
    pub targets: Vec<NewTarget>,
    /// The model's first price. Needs the permission `prices.write` too.
    pub price: Option<PriceCreate>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelPatch {
    pub name: Option<String>,
    pub status: Option<ModelStatus>,
    pub strict: Option<bool>,
    /// Replaces all targets.
    pub targets: Option<Vec<NewTarget>>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListModels {
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
    let _ = (state, query.limit, query.after);
    Err(Problem::not_found("model"))
}

/// Creates a model with its targets, and its first price if given.
#[utoipa::path(post, path = "/admin/v1/models", tag = "models", request_body = ModelCreate,
    responses((status = 201, body = Model)))]
async fn create_model(State(state): State<AppState>, change: Change, Body(body): Body<ModelCreate>) -> Result<Created<Model>> {
    let _ = (state, change, body);
    Err(Problem::not_found("model"))
}

/// Reads a model.
#[utoipa::path(get, path = "/admin/v1/models/{id}", tag = "models", params(("id" = String, Path)),
    responses((status = 200, body = Model)))]
async fn get_model(State(state): State<AppState>, Path(id): Path<ModelId>) -> Result<Found<Model>> {
    let _ = (state, id);
    Err(Problem::not_found("model"))
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
    let _ = (state, id, expected, change, body);
    Err(Problem::not_found("model"))
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
) -> Result<http::StatusCode> {
    let _ = (state, id, expected, change);
    Err(Problem::not_found("model"))
}
