//! `/session`: signing in, staying in, signing out.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tallygate_billing::audit::{self, Actor, AuditEvent};
use tallygate_store::sessions::{self, Refresh};
use tallygate_store::throttle::{self, Subject};
use tallygate_store::upstreams::Status;
use tallygate_store::{Source, TenantScope, Tx, tenants, users};
use tallygate_types::{TenantId, Timestamp};
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::audit::RequestContext;
use crate::auth::{ACCESS_SECONDS, Permission, Principal, PrincipalKind, Role, Scope, cookies};
use crate::http_form::Body;
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};
use crate::{AppState, browser};

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
    /// The tenant whose the person is; null for the platform's staff.
    #[schema(required = true)]
    pub tenant: Option<SessionTenant>,
    /// Refresh before this time; null for a token.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub expires_at: Option<Timestamp>,
}

/// The tenant of a person, by name.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SessionTenant {
    #[schema(value_type = String)]
    pub id: TenantId,
    #[schema(example = "acme")]
    pub name: String,
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
async fn create_session(
    State(state): State<AppState>,
    context: RequestContext,
    headers: HeaderMap,
    Body(body): Body<SignIn>,
) -> Result<Response> {
    browser::check_cookies_will_stick(&headers, &state.config.public_origin)?;
    let subjects: Vec<Subject> =
        [Some(Subject::Account(body.email.clone())), context.ip.map(Subject::Address)].into_iter().flatten().collect();
    for subject in &subjects {
        if let Some(wait) = throttle::wait(&state.store, subject, state.now()).await? {
            return Err(throttled(wait));
        }
    }
    // Whatever does not fit (no such user, a disabled one, a wrong password) takes as long and says the same.
    let user = users::find_by_email(&state.store, &body.email).await?;
    let user = user.filter(|user| user.status == Status::Active);
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let proven = state.passwords.verify(body.password, hash).await?;
    let mut tx = state.store.begin().await?;
    let Some(user) = user.filter(|_| proven) else {
        for subject in &subjects {
            throttle::note_failure(&mut tx, subject).await?;
        }
        tx.commit().await?;
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "invalid_credentials",
            "The e-mail address or the password is wrong.",
        ));
    };
    throttle::clear(&mut tx, &Subject::Account(body.email)).await?;
    let response = begin(&state, &mut tx, &context, &user).await?;
    tx.commit().await?;
    Ok(response)
}

/// Who am I?
#[utoipa::path(get, path = "/admin/v1/session", tag = "session", responses((status = 200, body = Session)))]
async fn get_session(
    State(state): State<AppState>,
    scope: Scope,
    principal: Principal,
    headers: HeaderMap,
) -> Result<axum::Json<Session>> {
    let (kind, id) = match &principal.kind {
        PrincipalKind::User { user, .. } => ("user", user.to_string()),
        PrincipalKind::Token { id } => ("admin_token", id.to_string()),
    };
    let claims = cookies::read(&headers, cookies::SESSION_COOKIE)
        .filter(|_| matches!(principal.kind, PrincipalKind::User { .. }))
        .and_then(|token| state.access_tokens.check(token, state.now()));
    let expires_at = claims.map(|claims| Timestamp::from_micros(claims.exp.saturating_mul(1_000_000)));
    Ok(axum::Json(Session {
        id,
        kind: kind.to_owned(),
        name: principal.name,
        role: principal.role,
        permissions: principal.role.permissions(),
        tenant: tenant_named(&state.store, scope.rows(), scope.tenant()).await?,
        expires_at,
    }))
}

/// Signs out. Works with an expired session too.
#[utoipa::path(delete, path = "/admin/v1/session", tag = "session", responses((status = 204)))]
async fn delete_session(
    State(state): State<AppState>,
    principal: Option<Extension<Principal>>,
    context: RequestContext,
    headers: HeaderMap,
) -> Result<Response> {
    let mut tx = state.store.begin().await?;
    let ended = match principal.map(|Extension(principal)| principal) {
        Some(principal) => match principal.kind {
            PrincipalKind::User { session, .. } => Some((session, principal.actor(), principal.tenant())),
            PrincipalKind::Token { .. } => None,
        },
        None => match cookies::read(&headers, cookies::REFRESH_COOKIE) {
            Some(token) => {
                let outcome = sessions::refresh(&mut tx, &SecretString::from(token)).await?;
                note_reuse(&mut tx, &context, &outcome).await?;
                match outcome {
                    Refresh::Rotated { session, user, .. } | Refresh::JustRotated { session, user } => {
                        Some((session.id, Actor::user(user.id, user.email, user.role.as_str()), user.tenant_id))
                    }
                    Refresh::Reused { .. } | Refresh::Refused => None,
                }
            }
            None => None,
        },
    };
    if let Some((session, actor, tenant)) = ended {
        sessions::revoke(&mut tx, session, "signed out").await?;
        let event = context.event(actor, "session.ended", "session", &session.to_string());
        audit::record(&mut tx, AuditEvent { tenant, ..event }).await?;
    }
    tx.commit().await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    cookies::clear(response.headers_mut())?;
    Ok(response)
}

/// Renews the session with its refresh cookie, which is replaced. A refresh token that was used before ends the session.
#[utoipa::path(post, path = "/admin/v1/session:refresh", tag = "session", responses((status = 200, body = Session)))]
async fn refresh_session(State(state): State<AppState>, context: RequestContext, headers: HeaderMap) -> Result<Response> {
    let token = cookies::read(&headers, cookies::REFRESH_COOKIE).ok_or_else(Problem::unauthenticated)?;
    let mut tx = state.store.begin().await?;
    let outcome = sessions::refresh(&mut tx, &SecretString::from(token)).await?;
    note_reuse(&mut tx, &context, &outcome).await?;
    tx.commit().await?;
    let (session, user, token) = match outcome {
        Refresh::Rotated { session, user, token } => (session, user, Some(token)),
        Refresh::JustRotated { session, user } => (session, user, None),
        Refresh::Reused { .. } | Refresh::Refused => {
            let mut response = Problem::unauthenticated().into_response();
            cookies::clear(response.headers_mut())?;
            return Ok(response);
        }
    };
    let tenant = tenant_named(&state.store, user.scope(), user.tenant_id).await?;
    signed_in(&state, StatusCode::OK, &session, &user, tenant, token.as_ref())
}

/// Notes in the trail that a refresh token came a second time, which ended its session.
async fn note_reuse(tx: &mut Tx, context: &RequestContext, outcome: &Refresh) -> Result<()> {
    if let Refresh::Reused { session, .. } = outcome {
        let actor = Actor::system("session");
        audit::record(tx, context.event(actor, "session.reuse_detected", "session", &session.to_string())).await?;
    }
    Ok(())
}

/// Begins a session for somebody who has just proven who they are.
pub async fn begin(state: &AppState, tx: &mut Tx, context: &RequestContext, user: &users::User) -> Result<Response> {
    let ip = context.ip.map(|ip| ip.to_string());
    let (session, token) = sessions::create(tx, user, ip.as_deref(), context.user_agent.as_deref()).await?;
    let actor = Actor::user(user.id, &user.email, user.role.as_str());
    let event = context.event(actor, "session.created", "session", &session.id.to_string());
    audit::record(tx, AuditEvent { tenant: user.tenant_id, ..event }).await?;
    let tenant = tenant_named(tx, user.scope(), user.tenant_id).await?;
    signed_in(state, StatusCode::CREATED, &session, user, tenant, Some(&token))
}

async fn tenant_named(source: impl Source, scope: TenantScope, id: Option<TenantId>) -> Result<Option<SessionTenant>> {
    let Some(id) = id else { return Ok(None) };
    let tenant = tenants::get(source, scope, id).await?;
    Ok(Some(SessionTenant { id, name: tenant.name }))
}

fn signed_in(
    state: &AppState,
    status: StatusCode,
    session: &sessions::Session,
    user: &users::User,
    tenant: Option<SessionTenant>,
    refresh: Option<&SecretString>,
) -> Result<Response> {
    let role = Role::from(user.role);
    let now = state.now();
    let (access, expires_at) = state.access_tokens.sign(user.id, session.id, session.session_epoch, now)?;
    let body = Session {
        id: user.id.to_string(),
        kind: "user".to_owned(),
        name: user.email.clone(),
        role,
        permissions: role.permissions(),
        tenant,
        expires_at: Some(expires_at),
    };
    let mut response = (status, axum::Json(body)).into_response();
    cookies::set_access(response.headers_mut(), &access, ACCESS_SECONDS)?;
    if let Some(refresh) = refresh {
        let lives = session.idle_expires_at.min(session.expires_at).seconds() - now.seconds();
        cookies::set_refresh(response.headers_mut(), refresh.expose_secret(), lives)?;
    }
    Ok(response)
}

fn throttled(wait: Duration) -> Problem {
    let seconds = wait.as_secs().max(1);
    Problem::too_many("too_many_attempts", format!("Too many failed attempts; try again in {seconds} s."), seconds)
}
