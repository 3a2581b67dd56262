//! The table of routes. A route cannot be added without saying who may call it.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, ResponseBuilder, SecurityRequirement};
use utoipa_axum::router::UtoipaMethodRouter;

use crate::AppState;
use crate::auth::{Permission, Principal, ScopeTaken};
use crate::problem::Problem;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone who reaches the listener: logging in, and the first setup.
    Public,
    /// Anyone signed in.
    SignedIn,
    /// Those whose role carries the permission. Where roles of tenants do, the handler must take
    /// [`Scope`](crate::auth::Scope).
    Needs(Permission),
}

/// One line of the route table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub method: &'static str,
    /// As documented: `/admin/v1/upstreams/{id}:test`.
    pub path: String,
    pub access: Access,
}

/// Collects routes, their access rules and their OpenAPI operations.
pub struct Routes {
    router: Router<AppState>,
    openapi: OpenApi,
    table: Vec<Route>,
}

/// What stands before an action or an extension in the path axum matches. axum cannot match `{id}:test`, so the request's
/// path is rewritten to `{id}/~test` before routing and the same is done to the documented path here.
const ACTION_MARK: &str = "/~";

impl Routes {
    pub fn new(openapi: OpenApi) -> Self {
        Self { router: Router::new(), openapi, table: Vec::new() }
    }

    /// Adds the handlers of `route`, which only `access` may call.
    pub fn add(mut self, access: Access, (schemas, paths, handlers): UtoipaMethodRouter<AppState>) -> Self {
        let handlers = handlers.layer(from_fn(move |request: Request, next: Next| admit(access, request, next)));
        for (path, mut item) in paths.paths {
            self.router = self.router.route(&matched_path(&path), handlers.clone());
            for (method, operation) in operations(&mut item) {
                describe(operation, access);
                self.table.push(Route { method, path: path.clone(), access });
            }
            match self.openapi.paths.paths.get_mut(&path) {
                Some(known) => known.merge_operations(item),
                None => {
                    self.openapi.paths.paths.insert(path, item);
                }
            }
        }
        self.openapi.components.get_or_insert_default().schemas.extend(schemas);
        self
    }

    pub fn into_parts(self) -> (Router<AppState>, OpenApi, Vec<Route>) {
        (self.router, self.openapi, self.table)
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("GET", item.get.as_mut()),
        ("POST", item.post.as_mut()),
        ("PUT", item.put.as_mut()),
        ("PATCH", item.patch.as_mut()),
        ("DELETE", item.delete.as_mut()),
    ]
    .into_iter()
    .filter_map(|(method, operation)| operation.map(|operation| (method, operation)))
}

/// Adds what holds for every operation: the shape of a failure, and who may call.
fn describe(operation: &mut Operation, access: Access) {
    let problem = ResponseBuilder::new()
        .description("What went wrong, as RFC 9457 problem details. `code` is stable; `errors` points at the fields at fault.")
        .content("application/problem+json", Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem")))))
        .build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(problem));
    operation.security = Some(match access {
        Access::Public => vec![SecurityRequirement::default()],
        Access::SignedIn | Access::Needs(_) => {
            vec![SecurityRequirement::new("session", [] as [&str; 0]), SecurityRequirement::new("admin_token", [] as [&str; 0])]
        }
    });
    if let Access::Needs(permission) = access {
        let line = format!("Needs the permission `{}`.", permission.as_str());
        operation.description = Some(match operation.description.take() {
            Some(text) if !text.is_empty() => format!("{text}\n\n{line}"),
            _ => line,
        });
    }
}

async fn admit(access: Access, mut request: Request, next: Next) -> Response {
    let principal = request.extensions_mut().remove::<Result<Principal, Problem>>();
    let admitted = match (access, principal) {
        (Access::Public, principal) => principal.and_then(Result::ok).map(Ok),
        (_, None) => Some(Err(Problem::unauthenticated())),
        (_, Some(Err(problem))) => Some(Err(problem)),
        (Access::SignedIn, Some(Ok(principal))) => Some(Ok(principal)),
        (Access::Needs(permission), Some(Ok(principal))) => {
            Some(if principal.may(permission) { Ok(principal) } else { Err(Problem::forbidden(permission)) })
        }
    };
    match admitted {
        Some(Err(problem)) => problem.into_response(),
        Some(Ok(principal)) => {
            // Somebody of a tenant gets no answer that was made without asking what they may reach.
            let must_ask = principal.tenant().is_some() && matches!(access, Access::Needs(_));
            let taken = ScopeTaken::default();
            request.extensions_mut().insert(principal);
            request.extensions_mut().insert(taken.clone());
            let response = next.run(request).await;
            if must_ask && response.status().is_success() && !taken.is_taken() {
                return Problem::internal("a route that tenants may call does not take the caller's scope").into_response();
            }
            response
        }
        None => next.run(request).await,
    }
}

/// The documented path as axum matches it.
pub fn matched_path(documented: &str) -> String {
    let (folder, last) = documented.rsplit_once('/').unwrap_or(("", documented));
    // Inside braces a colon or point could only be part of a parameter's name, which none has.
    match last.rfind([':', '.']) {
        Some(at) if at > 0 => format!("{folder}/{}{ACTION_MARK}{}", &last[..at], &last[at + 1..]),
        _ => documented.to_owned(),
    }
}

/// The same for the path of a request; `None` if it may go as it is. A path that already bears the mark is nobody's.
pub fn rewritten_path(requested: &str, extensions: &[&str]) -> Option<String> {
    if requested.contains(ACTION_MARK) {
        return Some("/admin/v1/not-found".to_owned());
    }
    let (folder, last) = requested.rsplit_once('/')?;
    if let Some((name, action)) = last.rsplit_once(':')
        && !name.is_empty()
        && !action.is_empty()
    {
        return Some(format!("{folder}/{name}{ACTION_MARK}{action}"));
    }
    let (name, extension) = last.rsplit_once('.')?;
    (!name.is_empty() && extensions.contains(&extension)).then(|| format!("{folder}/{name}{ACTION_MARK}{extension}"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use http::StatusCode;
    use tower::ServiceExt as _;

    use super::*;
    use crate::auth::{Role, Scope};

    #[tokio::test]
    async fn a_handler_that_forgets_whose_it_is_answers_a_tenant_nothing() {
        let admits = |access| from_fn(move |request: Request, next: Next| admit(access, request, next));
        let open = Access::Needs(Permission::ApiKeysRead);
        let router: Router = Router::new()
            .route("/forgetful", get(|| async { "rows of all" }).layer(admits(open)))
            .route("/scoped", get(|_: Scope| async { "own rows" }).layer(admits(open)))
            .route("/closed", get(|_: Scope| async { "own rows" }).layer(admits(Access::Needs(Permission::UpstreamsRead))));
        for (path, status) in
            [("/forgetful", StatusCode::INTERNAL_SERVER_ERROR), ("/scoped", StatusCode::OK), ("/closed", StatusCode::FORBIDDEN)]
        {
            let mut request = Request::builder().uri(path).body(Body::empty()).unwrap();
            request.extensions_mut().insert(Ok::<_, Problem>(Principal::of_tenant(Role::TenantAdmin)));
            assert_eq!(router.clone().oneshot(request).await.unwrap().status(), status, "{path}");
        }
    }

    #[test]
    fn an_action_becomes_a_segment_axum_can_match() {
        assert_eq!(matched_path("/admin/v1/upstreams/{id}:test"), "/admin/v1/upstreams/{id}/~test");
        assert_eq!(matched_path("/admin/v1/session:refresh"), "/admin/v1/session/~refresh");
        assert_eq!(matched_path("/admin/v1/bills/{tenant_id}/{period}.csv"), "/admin/v1/bills/{tenant_id}/{period}/~csv");
        assert_eq!(matched_path("/admin/v1/tenants/{id}"), "/admin/v1/tenants/{id}");
    }

    #[test]
    fn a_requested_path_is_rewritten_the_same_way() {
        let rewritten = |path| rewritten_path(path, &["csv"]);
        assert_eq!(rewritten("/admin/v1/upstreams/ups_1:test").as_deref(), Some("/admin/v1/upstreams/ups_1/~test"));
        assert_eq!(rewritten("/admin/v1/bills/ten_1/2026-11.csv").as_deref(), Some("/admin/v1/bills/ten_1/2026-11/~csv"));
        assert_eq!(rewritten("/admin/v1/tenants/ten_1"), None);
        assert_eq!(rewritten("/admin/v1/upstreams/ups_1/~test").as_deref(), Some("/admin/v1/not-found"));
    }
}
