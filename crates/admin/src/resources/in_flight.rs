//! `/in-flight`: the requests this replica is serving now.

use axum::extract::State;
use http::StatusCode;
use tallygate_types::RequestId;
use tallygate_types::live::LiveRequest;
use utoipa_axum::routes;

use crate::AppState;
use crate::audit::{Change, Target};
use crate::auth::Permission;
use crate::http_form::{Page, Path};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::InFlightRead), routes!(list_in_flight))
        .add(Access::Needs(Permission::InFlightCancel), routes!(cancel_in_flight))
}

/// Lists the requests in flight on this replica, oldest first, all on one page.
#[utoipa::path(get, path = "/admin/v1/in-flight", tag = "live", responses((status = 200, body = Page<LiveRequest>)))]
async fn list_in_flight(State(state): State<AppState>) -> Result<axum::Json<Page<LiveRequest>>> {
    Ok(axum::Json(Page::new(state.live()?.in_flight(), None)))
}

/// Ends a request: its upstream is left, its client is told, and what was delivered is charged.
#[utoipa::path(delete, path = "/admin/v1/in-flight/{request_id}", tag = "live", params(("request_id" = String, Path)),
    responses((status = 204)))]
async fn cancel_in_flight(State(state): State<AppState>, Path(id): Path<RequestId>, change: Change) -> Result<StatusCode> {
    let plane = state.live()?;
    let known = plane.in_flight().into_iter().find(|request| request.request_id == id);
    let known = known.filter(|_| plane.cancel(id)).ok_or_else(|| Problem::not_found("request in flight on this replica"))?;
    let mut tx = state.store.begin().await?;
    let target = Target { kind: "request", id: id.to_string(), name: &known.model, tenant: Some(known.tenant) };
    change.record(&mut tx, "request.cancelled", target, Some(&known), None::<&LiveRequest>).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
