//! The control plane: REST under `/admin/v1`, and the dashboard.

mod audit;
mod auth;
mod form;
mod http_form;
mod openapi;
mod problem;
mod resources;
mod routes;

pub use openapi::openapi_json;

/// The cookie that carries the session.
pub const SESSION_COOKIE: &str = "__Host-tg_session";

#[derive(Debug)]
pub struct AdminState;
pub type AppState = std::sync::Arc<AdminState>;
