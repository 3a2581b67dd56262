//! `/setup`: the first owner, made with the one-time token that is printed at first start.

use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tallygate_billing::audit::{self, Actor, AuditEvent};
use tallygate_store::setup;
use tallygate_store::upstreams::Status;
use tallygate_store::users::{self, NewUser, UserSettings};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::session::{self, Session};
use super::users::User;
use crate::audit::RequestContext;
use crate::auth::password;
use crate::http_form::Body;
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};
use crate::{AppState, browser};

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
    #[schema(max_length = 200)]
    pub name: String,
    /// 15 to 128 characters.
    #[schema(value_type = String, write_only, min_length = 15, max_length = 128)]
    pub password: SecretString,
}

/// Says whether the first owner is still to be made.
#[utoipa::path(get, path = "/admin/v1/setup", tag = "setup", responses((status = 200, body = SetupState)))]
async fn get_setup(State(state): State<AppState>) -> Result<axum::Json<SetupState>> {
    Ok(axum::Json(SetupState { needed: !users::has_owner(&state.store).await? }))
}

/// Makes the first owner and signs them in.
#[utoipa::path(post, path = "/admin/v1/setup", tag = "setup", request_body = Setup, responses((status = 201, body = Session)))]
async fn complete_setup(
    State(state): State<AppState>,
    context: RequestContext,
    headers: HeaderMap,
    Body(body): Body<Setup>,
) -> Result<Response> {
    browser::check_cookies_will_stick(&headers, &state.config.public_origin)?;
    if users::has_owner(&state.store).await? {
        return Err(Problem::conflict(
            "already_set_up",
            "The installation has an owner; sign in, or ask an owner for an account.",
        ));
    }
    password::check_new("/password", &body.password, &body.email).map_err(|error| Problem::invalid(vec![error]))?;
    let owner = NewUser {
        settings: UserSettings {
            email: body.email,
            name: body.name,
            role: users::Role::Owner,
            tenant_id: None,
            status: Status::Active,
        },
        password_hash: state.passwords.hash(body.password).await?,
    };
    let mut tx = state.store.begin().await?;
    let user = setup::redeem(&mut tx, &body.token, &owner).await?;
    let actor = Actor::user(user.id, &user.email, user.role.as_str());
    let event = AuditEvent {
        target_name: Some(user.email.clone()),
        after: Some(serde_json::to_value(User::from(user.clone())).map_err(Problem::internal)?),
        ..context.event(actor, "user.created", "user", &user.id.to_string())
    };
    audit::record(&mut tx, event).await?;
    let response = session::begin(&state, &mut tx, &context, &user).await?;
    tx.commit().await?;
    Ok(response)
}
