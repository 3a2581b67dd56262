//! `/version`: what is running.

use axum::extract::State;
use serde::Serialize;
use tallygate_types::Timestamp;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::AppState;
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes.add(Access::SignedIn, routes!(get_version))
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Version {
    #[schema(example = "0.1.0")]
    pub version: String,
    /// `sqlite` or `postgresql`.
    #[schema(example = "sqlite")]
    pub store: String,
    /// Counts every change of the configuration.
    pub config_version: i64,
    /// Where tenants send requests; null if not configured.
    #[schema(required = true, example = "http://127.0.0.1:8080")]
    pub api_url: Option<String>,
    /// Whether this is the demo.
    pub demo: bool,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// The server's time.
    #[schema(value_type = String, format = DateTime)]
    pub now: Timestamp,
}

/// What is running, and where.
#[utoipa::path(get, path = "/admin/v1/version", tag = "version", responses((status = 200, body = Version)))]
async fn get_version(State(state): State<AppState>) -> Result<axum::Json<Version>> {
    let _ = state;
    Err(Problem::not_found("version"))
}
