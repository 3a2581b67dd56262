//! `/setup`: the first owner, made with the one-time token that is printed at first start.

use axum::extract::State;
use axum::response::Response;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::session::Session;
use crate::AppState;
use crate::http_form::Body;
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes.add(Access::Public, routes!(get_setup)).add(Access::Public, routes!(complete_setup))
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SetupState {
    /// Whether there is nobody yet who could sign in.
    pub needed: bool,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// The token from the setup link.
    #[schema(value_type = String, write_only)]
    pub token: SecretString,
    pub email: String,
    #[schema(max_length = 100)]
    pub name: String,
    /// 15 to 128 characters.
    #[schema(value_type = String, write_only, min_length = 15, max_length = 128)]
    pub password: SecretString,
}

/// Says whether the first owner is still to be made.
#[utoipa::path(get, path = "/admin/v1/setup", tag = "setup", responses((status = 200, body = SetupState)))]
async fn get_setup(State(state): State<AppState>) -> Result<axum::Json<SetupState>> {
    let _ = state;
    Err(Problem::not_found("setup"))
}

/// Makes the first owner and signs them in.
#[utoipa::path(post, path = "/admin/v1/setup", tag = "setup", request_body = Setup, responses((status = 201, body = Session)))]
async fn complete_setup(State(state): State<AppState>, Body(body): Body<Setup>) -> Result<Response> {
    let _ = (state, body);
    Err(Problem::not_found("setup"))
}
