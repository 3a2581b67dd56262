//! The layer that finds out who calls. Whether they may is decided by the route.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use tallygate_store::admin_tokens::{self, ADMIN_TOKEN_PREFIX};
use tallygate_store::{TenantScope, sessions, users};

use super::principal::Reach;
use super::{Principal, PrincipalKind, Role, cookies};
use crate::problem::{Problem, Result};
use crate::{AppState, browser};

/// Longer than any token of ours.
const MAX_TOKEN_BYTES: usize = 128;

/// Puts `Result<Principal, Problem>` into the request's extensions, if it carries a credential at all. Refuses writes a
/// foreign page could have caused. A request with a bearer token is a program's: its cookies are ignored.
pub async fn authenticate(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let identified = if let Some(value) = headers.get(header::AUTHORIZATION) {
        Some(by_token(&state, value.to_str().unwrap_or_default()).await)
    } else {
        if browser::is_write(request.method())
            && let Err(problem) = browser::check_origin(headers, &state.config.public_origin, cookies::any(headers))
        {
            return problem.into_response();
        }
        by_session(&state, headers).await.transpose()
    };
    if let Some(identified) = identified {
        request.extensions_mut().insert(identified);
    }
    next.run(request).await
}

async fn by_token(state: &AppState, value: &str) -> Result<Principal> {
    let token =
        value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map_or("", |(_, token)| token.trim());
    if !token.starts_with(ADMIN_TOKEN_PREFIX) || token.len() > MAX_TOKEN_BYTES {
        return Err(Problem::unauthenticated());
    }
    let found = admin_tokens::find_by_digest(&state.store, &state.store.digest_key(token)).await?;
    let token = found.filter(|token| token.is_live(state.now())).ok_or_else(Problem::unauthenticated)?;
    let role = Some(Role::from(token.role)).filter(|role| !role.is_of_tenant()).ok_or_else(Problem::unauthenticated)?;
    Ok(Principal { kind: PrincipalKind::Token { id: token.id }, name: token.name, role, reach: Reach::Platform })
}

/// The session behind the cookie is read each time, so that ending it takes effect on the next request.
async fn by_session(state: &AppState, headers: &HeaderMap) -> Result<Option<Principal>> {
    let Some(token) = cookies::read(headers, cookies::SESSION_COOKIE) else { return Ok(None) };
    let now = state.now();
    let claims = state.access_tokens.check(token, now).ok_or_else(Problem::unauthenticated)?;
    let (session, user) = sessions::find_live(&state.store, claims.jti, now).await?.ok_or_else(Problem::unauthenticated)?;
    if user.id != claims.sub || session.session_epoch != claims.epoch {
        return Err(Problem::unauthenticated());
    }
    let (role, reach) = (Role::from(user.role), reach_of(&user));
    Ok(Some(Principal { kind: PrincipalKind::User { user: user.id, session: session.id }, name: user.email, role, reach }))
}

const fn reach_of(user: &users::User) -> Reach {
    match user.scope() {
        TenantScope::All => Reach::Platform,
        TenantScope::Only(tenant) => Reach::Tenant(tenant),
        TenantScope::Member(tenant, user) => Reach::Member(tenant, user),
    }
}
