//! Who may call what, walked through for every route and every role against a table that is written here by hand.

use std::collections::BTreeMap;

use tallygate_admin::{Access, route_table};
use tallygate_store::users::Role;

use crate::client::Api;

const ROLES: [(char, Role); 5] =
    [('o', Role::Owner), ('a', Role::Admin), ('f', Role::Finance), ('p', Role::Ops), ('u', Role::Auditor)];

/// Anyone who reaches the listener.
const PUBLIC: &str = "-";

/// Method, path, and the letters of [`ROLES`] who may.
const TABLE: &[(&str, &str, &str)] = &[
    ("GET", "/admin/v1/setup", PUBLIC),
    ("POST", "/admin/v1/setup", PUBLIC),
    ("POST", "/admin/v1/session", PUBLIC),
    ("GET", "/admin/v1/session", "oafpu"),
    ("DELETE", "/admin/v1/session", PUBLIC),
    ("POST", "/admin/v1/session:refresh", PUBLIC),
    ("GET", "/admin/v1/overview", "oafpu"),
    ("GET", "/admin/v1/tenants", "oafpu"),
    ("POST", "/admin/v1/tenants", "oa"),
    ("GET", "/admin/v1/tenants/{id}", "oafpu"),
    ("PATCH", "/admin/v1/tenants/{id}", "oa"),
    ("DELETE", "/admin/v1/tenants/{id}", "oa"),
    ("GET", "/admin/v1/tenants/{id}/budgets", "oafpu"),
    ("GET", "/admin/v1/projects", "oafpu"),
    ("POST", "/admin/v1/projects", "oa"),
    ("GET", "/admin/v1/projects/{id}", "oafpu"),
    ("PATCH", "/admin/v1/projects/{id}", "oa"),
    ("DELETE", "/admin/v1/projects/{id}", "oa"),
    ("GET", "/admin/v1/budgets", "oafpu"),
    ("POST", "/admin/v1/budgets", "oa"),
    ("GET", "/admin/v1/budgets/{id}", "oafpu"),
    ("PATCH", "/admin/v1/budgets/{id}", "oa"),
    ("DELETE", "/admin/v1/budgets/{id}", "oa"),
    ("GET", "/admin/v1/api-keys", "oafpu"),
    ("POST", "/admin/v1/api-keys", "oa"),
    ("GET", "/admin/v1/api-keys/{id}", "oafpu"),
    ("PATCH", "/admin/v1/api-keys/{id}", "oa"),
    ("GET", "/admin/v1/api-keys/{id}/limits", "oafpu"),
    ("POST", "/admin/v1/api-keys/{id}:rotate", "oa"),
    ("POST", "/admin/v1/api-keys/{id}:revoke", "oa"),
    ("GET", "/admin/v1/upstreams", "oapu"),
    ("POST", "/admin/v1/upstreams", "oa"),
    ("GET", "/admin/v1/upstreams/{id}", "oapu"),
    ("PATCH", "/admin/v1/upstreams/{id}", "oa"),
    ("DELETE", "/admin/v1/upstreams/{id}", "oa"),
    ("POST", "/admin/v1/upstreams/{id}:test", "oap"),
    ("GET", "/admin/v1/upstreams/{id}/credentials", "oapu"),
    ("POST", "/admin/v1/upstreams/{id}/credentials", "oa"),
    ("GET", "/admin/v1/upstreams/{id}/credentials/{credential_id}", "oapu"),
    ("PATCH", "/admin/v1/upstreams/{id}/credentials/{credential_id}", "oa"),
    ("DELETE", "/admin/v1/upstreams/{id}/credentials/{credential_id}", "oa"),
    ("GET", "/admin/v1/upstreams/{id}/health", "oapu"),
    ("POST", "/admin/v1/credentials/{id}/rotate", "oa"),
    ("POST", "/admin/v1/credentials/{id}/reactivate", "oap"),
    ("GET", "/admin/v1/routes", "oapu"),
    ("POST", "/admin/v1/routes", "oa"),
    ("GET", "/admin/v1/routes/{id}", "oapu"),
    ("PATCH", "/admin/v1/routes/{id}", "oa"),
    ("DELETE", "/admin/v1/routes/{id}", "oa"),
    ("POST", "/admin/v1/routes/explain", "oapu"),
    ("GET", "/admin/v1/in-flight", "oapu"),
    ("DELETE", "/admin/v1/in-flight/{request_id}", "oap"),
    ("GET", "/admin/v1/models", "oafpu"),
    ("POST", "/admin/v1/models", "oa"),
    ("GET", "/admin/v1/models/{id}", "oafpu"),
    ("PATCH", "/admin/v1/models/{id}", "oa"),
    ("DELETE", "/admin/v1/models/{id}", "oa"),
    ("GET", "/admin/v1/models/{id}/prices", "oafpu"),
    ("POST", "/admin/v1/models/{id}/prices", "oaf"),
    ("GET", "/admin/v1/catalogue", "oafpu"),
    ("GET", "/admin/v1/requests", "oafpu"),
    ("GET", "/admin/v1/requests/{id}", "oafpu"),
    ("GET", "/admin/v1/usage", "oafpu"),
    ("GET", "/admin/v1/bills", "oafu"),
    ("GET", "/admin/v1/bills/{tenant_id}/{period}", "oafu"),
    ("GET", "/admin/v1/bills/{tenant_id}/{period}.csv", "oafu"),
    ("GET", "/admin/v1/audit-events", "oau"),
    ("GET", "/admin/v1/users", "oau"),
    ("POST", "/admin/v1/users", "oa"),
    ("GET", "/admin/v1/users/{id}", "oau"),
    ("PATCH", "/admin/v1/users/{id}", "oa"),
    ("GET", "/admin/v1/admin-tokens", "ou"),
    ("POST", "/admin/v1/admin-tokens", "o"),
    ("POST", "/admin/v1/admin-tokens/{id}:revoke", "o"),
    ("GET", "/admin/v1/version", "oafpu"),
];

/// An address of the route, of things that do not exist.
fn address(path: &str) -> String {
    path.replace("{id}", "unknown")
        .replace("{credential_id}", "unknown")
        .replace("{request_id}", "unknown")
        .replace("{tenant_id}", "unknown")
        .replace("{period}", "2026-11")
}

#[test]
fn the_table_names_every_route_and_no_other() {
    let mut table: Vec<(&str, String)> = TABLE.iter().map(|(method, path, _)| (*method, (*path).to_owned())).collect();
    let mut routes: Vec<(&str, String)> = route_table().into_iter().map(|route| (route.method, route.path)).collect();
    table.sort();
    routes.sort();
    assert_eq!(routes, table);
}

#[test]
fn whatever_changes_something_names_a_permission_except_for_signing_in() {
    let without: Vec<_> = route_table()
        .into_iter()
        .filter(|route| route.method != "GET" && !matches!(route.access, Access::Needs(_)))
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    assert_eq!(
        without,
        ["POST /admin/v1/setup", "POST /admin/v1/session", "DELETE /admin/v1/session", "POST /admin/v1/session:refresh"]
    );
}

#[tokio::test]
async fn every_route_admits_exactly_the_roles_of_the_table() {
    let api = Api::new().await;
    let mut tokens = BTreeMap::new();
    for (letter, role) in ROLES {
        tokens.insert(letter, api.token(role).await);
    }
    let mut wrong = Vec::new();
    for (method, path, admitted) in TABLE.iter().filter(|(_, _, admitted)| *admitted != PUBLIC) {
        for (letter, token) in &tokens {
            let answer = api.call_as(token, method, &address(path), &[], None).await;
            let status = answer.status.as_u16();
            let is_as_written = if admitted.contains(*letter) {
                !matches!(status, 401 | 403 | 405 | 500..)
            } else {
                status == 403 && answer.problem(403).0 == "permission_denied"
            };
            if !is_as_written {
                wrong.push(format!("{method} {path} answered {letter} with {status}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(api.trail().await, Vec::<String>::new(), "nothing was changed on the way");
}

#[tokio::test]
async fn nobody_gets_in_without_a_live_credential() {
    let api = Api::new().await;
    let wrong = "tgadm1_0000000000000000000000000000000000000000000".into();
    for (method, path, _) in TABLE.iter().filter(|(_, _, admitted)| *admitted != PUBLIC) {
        for answer in [api.anonymous(method, &address(path)).await, api.call_as(&wrong, method, &address(path), &[], None).await]
        {
            assert_eq!(answer.problem(401).0, "unauthenticated", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_token_ends_with_its_time_and_by_being_revoked() {
    let api = Api::new().await;
    let minted = api
        .post(
            "/admin/v1/admin-tokens",
            serde_json::json!({"name": "ci", "role": "auditor", "expires_at": "2026-11-22T13:00:00Z"}),
        )
        .await
        .expect(201);
    let token = minted["secret"].as_str().unwrap().into();
    api.call_as(&token, "GET", "/admin/v1/tenants", &[], None).await.expect(200);
    api.store.clock.advance(std::time::Duration::from_hours(1));
    api.call_as(&token, "GET", "/admin/v1/tenants", &[], None).await.expect(401);
}
