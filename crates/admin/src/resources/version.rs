//! `/version`: what is running.

use axum::extract::State;
use serde::Serialize;
use tallygate_store::Engine;
use tallygate_types::Timestamp;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::AppState;
use crate::auth::Scope;
use crate::problem::Result;
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes.add(Access::SignedIn, routes!(get_version))
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "named as the API names them")]
pub struct Version {
    #[schema(example = "0.1.0")]
    pub version: String,
    /// `sqlite` or `postgresql`; null to people of tenants.
    #[schema(required = true, example = "sqlite")]
    pub store: Option<String>,
    /// Counts every change of the configuration; null to people of tenants.
    #[schema(required = true)]
    pub config_version: Option<i64>,
    /// Where tenants send requests; null if not configured.
    #[schema(required = true, example = "http://127.0.0.1:8080")]
    pub api_url: Option<String>,
    /// Whether this is the demo.
    pub demo: bool,
    /// Null to people of tenants.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub started_at: Option<Timestamp>,
    /// The server's time.
    #[schema(value_type = String, format = DateTime)]
    pub now: Timestamp,
}

/// What is running, and where.
#[utoipa::path(get, path = "/admin/v1/version", tag = "version", responses((status = 200, body = Version)))]
async fn get_version(State(state): State<AppState>, scope: Scope) -> Result<axum::Json<Version>> {
    let store = match state.store.db().engine() {
        Engine::Sqlite => "sqlite",
        Engine::Postgres => "postgresql",
    };
    let config_version = if scope.is_platform() { Some(state.store.config_version().await?) } else { None };
    Ok(axum::Json(Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        store: scope.is_platform().then(|| store.to_owned()),
        config_version,
        api_url: state.config.api_url.clone(),
        demo: state.config.demo,
        started_at: scope.is_platform().then_some(state.started_at),
        now: state.now(),
    }))
}
