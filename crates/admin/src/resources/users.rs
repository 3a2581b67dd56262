//! `/users`: people who sign in to the dashboard: the platform's staff, and those of tenants. A tenant's admin manages the
//! tenant's, a member sees themself.

use axum::extract::State;
use http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tallygate_store::upstreams::Status;
use tallygate_store::users::{self, NewUser, UserFilter, UserSettings};
use tallygate_types::{TenantId, Timestamp, UserId};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::grants;
use super::tenants::tenant_of_body;
use crate::AppState;
use crate::audit::{Change, Target};
use crate::auth::{Permission, Principal, PrincipalKind, Role, Scope, password};
use crate::form::Enabled;
use crate::http_form::{Body, Created, Found, IfMatch, Page, Params, Path, Versioned, given, page_request};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::UsersRead), routes!(list_users))
        .add(Access::Needs(Permission::UsersWrite), routes!(create_user))
        .add(Access::Needs(Permission::UsersRead), routes!(get_user))
        .add(Access::Needs(Permission::UsersWrite), routes!(update_user))
}

/// A person who signs in.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct User {
    #[schema(value_type = String)]
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub role: Role,
    /// The tenant whose the person is; null for the platform's staff.
    #[schema(value_type = Option<String>, required = true)]
    pub tenant_id: Option<TenantId>,
    /// A disabled person cannot sign in.
    pub status: Enabled,
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub last_login_at: Option<Timestamp>,
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
    /// Printable, on one line; at most 200 characters.
    #[schema(max_length = 200)]
    pub name: String,
    pub role: Role,
    /// For the roles of a tenant, and only for them; absent, the caller's own.
    #[schema(value_type = Option<String>)]
    pub tenant_id: Option<TenantId>,
    /// 15 to 128 characters.
    #[schema(value_type = String, write_only, min_length = 15, max_length = 128)]
    pub password: SecretString,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPatch {
    #[serde(default, deserialize_with = "given")]
    pub name: Option<String>,
    /// A new role ends the person's sessions. Staff stays staff, and people of a tenant stay that.
    #[serde(default, deserialize_with = "given")]
    pub role: Option<Role>,
    /// Disabling ends the person's sessions.
    #[serde(default, deserialize_with = "given")]
    pub status: Option<Enabled>,
    /// A new password ends the person's sessions.
    #[schema(value_type = Option<String>, write_only, min_length = 15, max_length = 128)]
    #[serde(default, deserialize_with = "given")]
    pub password: Option<SecretString>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListUsers {
    /// Only people of this tenant.
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// Part of the name or of the address.
    q: Option<String>,
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists people, newest first.
#[utoipa::path(get, path = "/admin/v1/users", tag = "users", params(ListUsers), responses((status = 200, body = Page<User>)))]
async fn list_users(
    State(state): State<AppState>,
    scope: Scope,
    Params(query): Params<ListUsers>,
) -> Result<axum::Json<Page<User>>> {
    let filter = UserFilter { search: query.q, tenant_id: query.tenant_id, ..UserFilter::default() };
    let page = users::list(&state.store, scope.rows(), &filter, &page_request(query.limit, query.after)?).await?;
    Ok(axum::Json(Page::of(page, User::from)))
}

/// Adds a person. Nobody but an owner can add owners or admins, and a tenant's admin only people of the tenant.
#[utoipa::path(post, path = "/admin/v1/users", tag = "users", request_body = UserCreate, responses((status = 201, body = User)))]
async fn create_user(
    State(state): State<AppState>,
    scope: Scope,
    change: Change,
    Body(body): Body<UserCreate>,
) -> Result<Created<User>> {
    check_may_manage(&change.principal, body.role)?;
    password::check_new("/password", &body.password, &body.email).map_err(|error| Problem::invalid(vec![error]))?;
    if !body.role.is_of_tenant() && body.tenant_id.is_some() {
        return Err(Problem::invalid_field("/tenant_id", "not_of_role", "Only people with a role of a tenant are of one."));
    }
    // Hashed before the transaction begins: it takes long, and SQLite has one writer.
    let password_hash = state.passwords.hash(body.password).await?;
    let mut tx = state.store.begin().await?;
    let tenant_id = if body.role.is_of_tenant() { Some(tenant_of_body(&mut tx, scope, body.tenant_id).await?.id) } else { None };
    if let Some(tenant) = tenant_id {
        grants::check_room(&mut tx, scope, tenant, grants::Made::Person).await?;
    }
    let settings = UserSettings { email: body.email, name: body.name, role: body.role.into(), tenant_id, status: Status::Active };
    let user = User::from(users::create(&mut tx, &NewUser { settings, password_hash }).await?);
    change.created(&mut tx, target(&user), &user).await?;
    tx.commit().await?;
    Ok(Created { location: format!("/admin/v1/users/{}", user.id), resource: user })
}

/// Reads a person.
#[utoipa::path(get, path = "/admin/v1/users/{id}", tag = "users", params(("id" = String, Path)),
    responses((status = 200, body = User)))]
async fn get_user(State(state): State<AppState>, scope: Scope, Path(id): Path<UserId>) -> Result<Found<User>> {
    Ok(Found(users::get(&state.store, scope.rows(), id).await?.into()))
}

/// Changes a person's name, role or password, or takes their access away.
#[utoipa::path(patch, path = "/admin/v1/users/{id}", tag = "users",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    request_body = UserPatch, responses((status = 200, body = User)))]
async fn update_user(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<UserId>,
    expected: IfMatch,
    change: Change,
    Body(body): Body<UserPatch>,
) -> Result<Found<User>> {
    // Hashed before the transaction begins: it takes long, and SQLite has one writer.
    let hash = match &body.password {
        Some(password) => {
            let row = users::get(&state.store, scope.rows(), id).await?;
            password::check_new("/password", password, &row.email).map_err(|error| Problem::invalid(vec![error]))?;
            Some(state.passwords.hash(password.clone()).await?)
        }
        None => None,
    };
    let mut tx = state.store.begin().await?;
    let row = users::get(&mut tx, scope.rows(), id).await?;
    let before = User::from(row.clone());
    let is_self = matches!(change.principal.kind, PrincipalKind::User { user, .. } if user == id);
    let (role, status) = (body.role.unwrap_or(before.role), body.status.unwrap_or(before.status));
    if !(is_self && role == before.role && status == before.status) {
        check_may_manage(&change.principal, before.role)?;
        check_may_manage(&change.principal, role)?;
    }
    expected.check_version(&before)?;
    if role.is_of_tenant() != before.role.is_of_tenant() {
        let reason = "Staff stays staff, and people of a tenant stay that: disable this person and add another.";
        return Err(Problem::invalid_field("/role", "other_side", reason));
    }
    let settings = UserSettings {
        name: body.name.unwrap_or_else(|| row.name.clone()),
        role: role.into(),
        status: status.into(),
        ..row.settings()
    };
    let mut row = users::update(&mut tx, id, expected.0, &settings).await?;
    if let Some(hash) = hash {
        row = users::set_password(&mut tx, id, &hash).await?;
    }
    let after = User::from(row);
    change.updated(&mut tx, target(&after), &before, &after).await?;
    tx.commit().await?;
    Ok(Found(after))
}

fn check_may_manage(principal: &Principal, role: Role) -> Result<()> {
    if principal.role.may_manage(role) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "role_out_of_reach",
        format!("A person with the role `{}` cannot manage the role `{}`.", principal.role.as_str(), role.as_str()),
    ))
}

fn target(user: &User) -> Target<'_> {
    Target { kind: "user", id: user.id.to_string(), name: &user.email, tenant: user.tenant_id }
}

impl From<users::User> for User {
    fn from(row: users::User) -> Self {
        Self {
            id: row.id,
            email: row.email,
            name: row.name,
            role: row.role.into(),
            tenant_id: row.tenant_id,
            status: row.status.into(),
            last_login_at: row.last_login_at,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
