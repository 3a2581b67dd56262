//! `/routes`: rules that decide where requests go before the models' own targets.

use std::collections::HashMap;

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tallygate_store::routes::{self, RouteSettings};
use tallygate_types::{RouteId, Timestamp, UpstreamId};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::routing::{NewTarget, RouteMatch, Routing, Target, known_targets, upstream_names};
use crate::AppState;
use crate::audit::{self, Change};
use crate::auth::Permission;
use crate::form::{Enabled, ManagedBy};
use crate::http_form::{Body, Created, Found, IfMatch, Page, Path, Versioned, given};
use crate::problem::Result;
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::RoutesRead), routes!(list_routes))
        .add(Access::Needs(Permission::RoutesWrite), routes!(create_route))
        .add(Access::Needs(Permission::RoutesRead), routes!(get_route))
        .add(Access::Needs(Permission::RoutesWrite), routes!(update_route))
        .add(Access::Needs(Permission::RoutesWrite), routes!(delete_route))
}

/// A rule. The first that matches a request, by position, decides where it goes.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Route {
    #[schema(value_type = String, example = "rte_0193500000007000800000000000000f")]
    pub id: RouteId,
    #[schema(example = "batch-to-cheap")]
    pub name: String,
    /// Lower is tried first; the older of two at the same.
    pub position: u32,
    pub status: Enabled,
    #[serde(rename = "match")]
    pub matches: RouteMatch,
    pub routing: Routing,
    pub targets: Vec<Target>,
    pub managed_by: ManagedBy,
    pub version: i64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl Versioned for Route {
    fn version(&self) -> i64 {
        self.version
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteCreate {
    /// Printable, on one line; at most 200 characters.
    #[schema(max_length = 200)]
    pub name: String,
    /// Absent puts it after all others.
    #[schema(maximum = 1_000_000)]
    pub position: Option<u32>,
    /// Absent matches everything.
    #[serde(default, rename = "match")]
    #[schema(required = false)]
    pub matches: RouteMatch,
    #[serde(default)]
    #[schema(required = false)]
    pub routing: Routing,
    /// At least one.
    pub targets: Vec<NewTarget>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutePatch {
    #[serde(default, deserialize_with = "given")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(maximum = 1_000_000)]
    pub position: Option<u32>,
    #[serde(default, deserialize_with = "given")]
    pub status: Option<Enabled>,
    /// Replaces the whole match.
    #[serde(default, rename = "match", deserialize_with = "given")]
    pub matches: Option<RouteMatch>,
    /// Replaces the whole policy.
    #[serde(default, deserialize_with = "given")]
    pub routing: Option<Routing>,
    /// Replaces all targets.
    #[serde(default, deserialize_with = "given")]
    pub targets: Option<Vec<NewTarget>>,
}

/// Lists all routes in the order they are tried, on one page.
#[utoipa::path(get, path = "/admin/v1/routes", tag = "routes", responses((status = 200, body = Page<Route>)))]
async fn list_routes(State(state): State<AppState>) -> Result<axum::Json<Page<Route>>> {
    let rows = routes::list(&state.store).await?;
    let settings = rows.iter().flat_map(|route| &route.targets).map(|target| &target.settings);
    let names = upstream_names(&state, settings).await?;
    Ok(axum::Json(Page::new(rows.into_iter().map(|row| Route::read(row, &names)).collect(), None)))
}

/// Creates a route with its targets.
#[utoipa::path(post, path = "/admin/v1/routes", tag = "routes", request_body = RouteCreate,
    responses((status = 201, body = Route)))]
async fn create_route(State(state): State<AppState>, change: Change, Body(body): Body<RouteCreate>) -> Result<Created<Route>> {
    let settings = RouteSettings {
        position: body.position,
        matches: body.matches.into(),
        routing: body.routing.parse("/routing")?,
        ..RouteSettings::named(body.name, known_targets(&state, body.targets).await?)
    };
    let names = upstream_names(&state, &settings.targets).await?;
    let mut tx = state.store.begin().await?;
    let route = Route::read(routes::create(&mut tx, &settings).await?, &names);
    change.created(&mut tx, target(&route), &route).await?;
    tx.commit().await?;
    Ok(Created { location: format!("/admin/v1/routes/{}", route.id), resource: route })
}

/// Reads a route.
#[utoipa::path(get, path = "/admin/v1/routes/{id}", tag = "routes", params(("id" = String, Path)),
    responses((status = 200, body = Route)))]
async fn get_route(State(state): State<AppState>, Path(id): Path<RouteId>) -> Result<Found<Route>> {
    let row = routes::get(&state.store, id).await?;
    complete(&state, row).await.map(Found)
}

/// Changes a route; `match`, `routing` and `targets`, if given, are replaced as a whole.
#[utoipa::path(patch, path = "/admin/v1/routes/{id}", tag = "routes",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    request_body = RoutePatch, responses((status = 200, body = Route)))]
async fn update_route(
    State(state): State<AppState>,
    Path(id): Path<RouteId>,
    expected: IfMatch,
    change: Change,
    Body(body): Body<RoutePatch>,
) -> Result<Found<Route>> {
    // Read before the transaction: names are shown, not decided upon; the version guards what is written.
    let current = routes::get(&state.store, id).await?;
    let kept = current.settings();
    let before = complete(&state, current).await?;
    expected.check_version(&before)?;
    let settings = RouteSettings {
        name: body.name.unwrap_or_else(|| kept.name.clone()),
        position: body.position.or(kept.position),
        status: body.status.map_or(kept.status, Into::into),
        matches: body.matches.map_or_else(|| kept.matches.clone(), Into::into),
        routing: match body.routing {
            Some(routing) => routing.parse("/routing")?,
            None => kept.routing.clone(),
        },
        targets: match body.targets {
            Some(targets) => known_targets(&state, targets).await?,
            None => kept.targets.clone(),
        },
    };
    before.managed_by.admit(settings == RouteSettings { status: settings.status, ..kept })?;
    let names = upstream_names(&state, &settings.targets).await?;
    let mut tx = state.store.begin().await?;
    let after = Route::read(routes::update(&mut tx, id, expected.0, &settings).await?, &names);
    change.updated(&mut tx, target(&after), &before, &after).await?;
    tx.commit().await?;
    Ok(Found(after))
}

/// Deletes a route. Its requests go on to the next that matches, or to their models' own targets.
#[utoipa::path(delete, path = "/admin/v1/routes/{id}", tag = "routes",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    responses((status = 204)))]
async fn delete_route(
    State(state): State<AppState>,
    Path(id): Path<RouteId>,
    expected: IfMatch,
    change: Change,
) -> Result<StatusCode> {
    let row = routes::get(&state.store, id).await?;
    let before = complete(&state, row).await?;
    expected.check(&before, before.managed_by)?;
    let mut tx = state.store.begin().await?;
    routes::delete(&mut tx, id, expected.0).await?;
    change.deleted(&mut tx, target(&before), &before).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn complete(state: &AppState, row: routes::Route) -> Result<Route> {
    let names = upstream_names(state, row.targets.iter().map(|target| &target.settings)).await?;
    Ok(Route::read(row, &names))
}

fn target(route: &Route) -> audit::Target<'_> {
    audit::Target { kind: "route", id: route.id.to_string(), name: &route.name, tenant: None }
}

impl Route {
    fn read(row: routes::Route, names: &HashMap<UpstreamId, String>) -> Self {
        Self {
            id: row.id,
            name: row.name,
            position: row.position,
            status: row.status.into(),
            matches: row.matches.into(),
            routing: row.routing.into(),
            targets: row.targets.into_iter().map(|target| Target::read(target, names)).collect(),
            managed_by: row.managed_by.into(),
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
