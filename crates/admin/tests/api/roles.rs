//! Who may call what, walked through for every route and every role against a table that is written by hand (`roles.tsv`). What
//! people of tenants reach by the routes that are theirs: `isolation`.

use std::collections::BTreeMap;

use tallygate_admin::{Access, route_table};
use tallygate_store::users::Role;

use crate::client::Api;

/// The roles of the platform, in the order of the table's columns. Those of tenants follow.
const STAFF: [Role; 5] = [Role::Owner, Role::Admin, Role::Finance, Role::Ops, Role::Auditor];

/// What a role may do with a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// Anyone who reaches the listener.
    Public,
    Yes,
    No,
    /// Only with what is theirs.
    Own,
}

/// A row of the table.
pub struct Row {
    pub method: &'static str,
    pub path: &'static str,
    staff: [Cell; 5],
    pub tenant_admin: Cell,
    pub tenant_member: Cell,
}

/// The table as the file has it.
pub fn table() -> Vec<Row> {
    let cell = |text: &str| match text {
        "public" => Cell::Public,
        "yes" => Cell::Yes,
        "no" => Cell::No,
        "own" => Cell::Own,
        other => panic!("`{other}` is no cell of the table"),
    };
    let lines = include_str!("roles.tsv").lines().filter(|line| !line.starts_with('#')).skip(1);
    let row = |line: &'static str| {
        let fields: Vec<&'static str> = line.split('\t').collect();
        let [method, path, cells @ ..] = fields.as_slice() else { panic!("not a row: {line}") };
        let cells: [Cell; 7] = cells.iter().map(|text| cell(text)).collect::<Vec<_>>().try_into().expect("seven roles");
        let [staff @ .., tenant_admin, tenant_member] = cells;
        Row { method, path, staff, tenant_admin, tenant_member }
    };
    lines.map(row).collect()
}

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
    let mut table: Vec<(&str, String)> = table().iter().map(|row| (row.method, row.path.to_owned())).collect();
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
async fn every_route_admits_exactly_the_staff_of_the_table() {
    let api = Api::new().await;
    let mut tokens = BTreeMap::new();
    for role in STAFF {
        tokens.insert(role.as_str(), api.token(role).await);
    }
    let mut wrong = Vec::new();
    for Row { method, path, staff, .. } in table() {
        for (role, cell) in STAFF.into_iter().zip(staff).filter(|(_, cell)| *cell != Cell::Public) {
            let answer = api.call_as(&tokens[role.as_str()], method, &address(path), &[], None).await;
            let status = answer.status.as_u16();
            let is_as_written = match cell {
                Cell::Public | Cell::Yes => !matches!(status, 401 | 403 | 405 | 500..),
                Cell::No => status == 403 && answer.problem(403).0 == "permission_denied",
                Cell::Own => panic!("{method} {path}: nothing is a staff member's own"),
            };
            if !is_as_written {
                wrong.push(format!("{method} {path} answered {role} with {status}"));
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
    for Row { method, path, .. } in table().into_iter().filter(|row| row.tenant_admin != Cell::Public) {
        for answer in [api.anonymous(method, &address(path)).await, api.call_as(&wrong, method, &address(path), &[], None).await]
        {
            assert_eq!(answer.problem(401).0, "unauthenticated", "{method} {path}");
        }
    }
}

/// A handler gets to the rows of all tenants only through the caller's scope.
#[test]
fn no_resource_names_a_scope_of_all_tenants() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut naming = Vec::new();
    let mut folders = vec![folder.clone()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if std::fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("TenantScope::All")) {
                naming.push(entry.path().strip_prefix(&folder).unwrap().display().to_string());
            }
        }
    }
    naming.sort();
    assert_eq!(naming, ["auth/authenticate.rs", "auth/scope.rs"]);
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
