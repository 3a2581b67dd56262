//! `/users`: the staff who sign in to the dashboard.

use axum::extract::State;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tallygate_types::{Timestamp, UserId};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::AppState;
use crate::audit::Change;
use crate::auth::{Permission, Role};
use crate::http_form::{Body, Created, Found, IfMatch, Page, Params, Path, Versioned};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::UsersRead), routes!(list_users))
        .add(Access::Needs(Permission::UsersWrite), routes!(create_user))
        .add(Access::Needs(Permission::UsersRead), routes!(get_user))
        .add(Access::Needs(Permission::UsersWrite), routes!(update_user))
}

/// A person of the staff.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct User {
    #[schema(value_type = String)]
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub role: Role,
    pub version: i64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl Versioned for User {
    fn version(&self) -> i64 {
        self.version
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserCreate {
    pub email: String,
    /// Printable, at most 100 characters.
    #[schema(max_length = 100)]
    pub name: String,
    pub role: Role,
    /// 15 to 128 characters.
    #[schema(value_type = String, write_only, min_length = 15, max_length = 128)]
    pub password: SecretString,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    pub name: Option<String>,
    /// A new role ends the person's sessions.
    pub role: Option<Role>,
    /// A new password ends the person's sessions.
    #[schema(value_type = Option<String>, write_only, min_length = 15, max_length = 128)]
    pub password: Option<SecretString>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListUsers {
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists the staff.
#[utoipa::path(get, path = "/admin/v1/users", tag = "users", params(ListUsers), responses((status = 200, body = Page<User>)))]
async fn list_users(State(state): State<AppState>, Params(query): Params<ListUsers>) -> Result<axum::Json<Page<User>>> {
    let _ = (state, query.limit, query.after);
    Err(Problem::not_found("user"))
}

/// Adds a person. Nobody but an owner can add owners or admins.
#[utoipa::path(post, path = "/admin/v1/users", tag = "users", request_body = UserCreate, responses((status = 201, body = User)))]
async fn create_user(State(state): State<AppState>, change: Change, Body(body): Body<UserCreate>) -> Result<Created<User>> {
    let _ = (state, change, body);
    Err(Problem::not_found("user"))
}

/// Reads a person.
#[utoipa::path(get, path = "/admin/v1/users/{id}", tag = "users", params(("id" = String, Path)),
    responses((status = 200, body = User)))]
async fn get_user(State(state): State<AppState>, Path(id): Path<UserId>) -> Result<Found<User>> {
    let _ = (state, id);
    Err(Problem::not_found("user"))
}

/// Changes a person's name, role or password.
#[utoipa::path(patch, path = "/admin/v1/users/{id}", tag = "users",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    request_body = UserPatch, responses((status = 200, body = User)))]
async fn update_user(
    State(state): State<AppState>,
    Path(id): Path<UserId>,
    expected: IfMatch,
    change: Change,
    Body(body): Body<UserPatch>,
) -> Result<Found<User>> {
    let _ = (state, id, expected, change, body);
    Err(Problem::not_found("user"))
}
