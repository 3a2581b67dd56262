//! `/session`: signing in, staying in, signing out.

use axum::extract::State;
use axum::response::Response;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tallygate_types::Timestamp;
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::AppState;
use crate::auth::{Permission, Principal, Role};
use crate::http_form::Body;
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Public, routes!(create_session))
        .add(Access::SignedIn, routes!(get_session))
        .add(Access::Public, routes!(delete_session))
        .add(Access::Public, routes!(refresh_session))
}

/// Who is signed in and what they may do.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Session {
    /// The user's or the admin token's id.
    pub id: String,
    /// `user` or `admin_token`.
    #[schema(example = "user")]
    pub kind: String,
    /// The user's e-mail address, or the token's name.
    pub name: String,
    pub role: Role,
    pub permissions: Vec<Permission>,
    /// Refresh before this time; null for a token.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub expires_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    pub email: String,
    #[schema(value_type = String, write_only)]
    pub password: SecretString,
}

/// Signs in. Sets the session's cookies.
#[utoipa::path(post, path = "/admin/v1/session", tag = "session", request_body = SignIn, responses((status = 201, body = Session)))]
async fn create_session(State(state): State<AppState>, Body(body): Body<SignIn>) -> Result<Response> {
    let _ = (state, body);
    Err(Problem::unauthenticated())
}

/// Who am I?
#[utoipa::path(get, path = "/admin/v1/session", tag = "session", responses((status = 200, body = Session)))]
async fn get_session(State(state): State<AppState>, principal: Principal) -> Result<axum::Json<Session>> {
    let _ = (state, principal);
    Err(Problem::unauthenticated())
}

/// Signs out. Works with an expired session too.
#[utoipa::path(delete, path = "/admin/v1/session", tag = "session", responses((status = 204)))]
async fn delete_session(State(state): State<AppState>) -> Result<Response> {
    let _ = state;
    Err(Problem::unauthenticated())
}

/// Renews the session with its refresh cookie, which is replaced. A refresh token that was used before ends the session.
#[utoipa::path(post, path = "/admin/v1/session:refresh", tag = "session", responses((status = 200, body = Session)))]
async fn refresh_session(State(state): State<AppState>) -> Result<Response> {
    let _ = state;
    Err(Problem::unauthenticated())
}
