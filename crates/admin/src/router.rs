//! The whole service: layers, routes, dashboard. Outermost first, this is what a request passes:
//!
//! 1. its path is rewritten where axum could not match it (`{id}:test`),
//! 2. it gets an id, and its answer the headers that bind a browser,
//! 3. the caller is identified and foreign pages are refused,
//! 4. the route admits the caller or not, and answers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use tallygate_types::RequestId;

use crate::audit::RequestContext;
use crate::auth::authenticate;
use crate::http_form::MAX_BODY_BYTES;
use crate::problem::Problem;
use crate::routes::rewritten_path;
use crate::{AppState, assets, browser, openapi};

const API: &str = "/admin/v1";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Extensions that name another form of a resource.
const EXTENSIONS: [&str; 1] = ["csv"];
/// Characters kept of a client's name.
const MAX_USER_AGENT_CHARS: usize = 300;

/// The control plane's service. Serve it with the peer's address as `ConnectInfo<SocketAddr>`, or the audit trail and the
/// throttle know no address.
pub fn router(state: AppState) -> Router {
    // Made when somebody asks: a gateway whose dashboard nobody has open starts sooner and is smaller without.
    let made = Arc::new(OnceLock::new());
    Router::new().fallback_service(tower::util::service_fn(move |request: Request| {
        let mut inner = Router::clone(made.get_or_init(|| routed(AppState::clone(&state))));
        async move { Ok::<Response, Infallible>(tower::Service::call(&mut inner, rewrite(request)).await.into_response()) }
    }))
}

fn routed(state: AppState) -> Router {
    let (api, _, _) = openapi::routes().into_parts();
    api.method_not_allowed_fallback(method_not_allowed)
        .fallback(|request: Request| async move { fallback(&request) })
        .layer(from_fn_with_state(AppState::clone(&state), authenticate))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(accompany))
        .with_state(state)
}

fn rewrite(mut request: Request) -> Request {
    let uri = request.uri();
    if let Some(path) = uri.path().starts_with(API).then(|| rewritten_path(uri.path(), &EXTENSIONS)).flatten() {
        let path_and_query = match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = PathAndQuery::try_from(path_and_query).ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// Gives the request an id and a context, and its answer what every answer carries.
async fn accompany(mut request: Request, next: Next) -> Response {
    let request_id = RequestId::generate().to_string();
    let ip = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip().to_canonical());
    let user_agent = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let user_agent = user_agent.map(|text| text.chars().take(MAX_USER_AGENT_CHARS).collect());
    let is_api = request.uri().path().starts_with(API);
    request.extensions_mut().insert(RequestContext { request_id: request_id.clone(), ip, user_agent });

    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        // Only the body is made anew: cookies, `Allow` and the like stay.
        let (mut parts, _) = response.into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        response = Response::from_parts(parts, problem.with_instance(&request_id).into_response().into_body());
    }
    let headers = response.headers_mut();
    browser::protect(headers);
    if is_api {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, value);
    }
    response
}

async fn method_not_allowed(request: Request) -> Response {
    let detail = format!("This resource does not answer {}.", request.method());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail).into_response()
}

fn fallback(request: &Request) -> Response {
    let path = request.uri().path();
    if path == "/openapi.json" {
        return ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], openapi::document())
            .into_response();
    }
    if path == "/admin" || path.starts_with("/admin/") {
        return Problem::new(StatusCode::NOT_FOUND, "not_found", "There is no such route; /openapi.json lists those there are.")
            .into_response();
    }
    assets::serve(request.method(), path, request.headers())
}
