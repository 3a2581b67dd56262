//! What people of a tenant reach: walked through for every route of the table, with ids of their own, of somebody else and of
//! nothing; on both engines.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tallygate_store::testing::TestStore;

use crate::client::{Answer, Api};
use crate::roles::{Cell, Row, table};
use crate::two_tenants::{FOREIGN, Person, World, like};
use crate::visitor::PASSWORD;

macro_rules! on_both_engines {
    ($($(#[$doc:meta])* async fn $name:ident($world:ident) $body:block)*) => {
        $(
            $(#[$doc])*
            mod $name {
                use super::*;

                #[tokio::test]
                async fn sqlite() {
                    run(&World::new(Api::on(TestStore::sqlite().await).await).await).await;
                }

                #[tokio::test]
                async fn postgres() {
                    if let Some(store) = TestStore::postgres().await {
                        run(&World::new(Api::on(store).await).await).await;
                    }
                }

                async fn run($world: &World) $body
            }
        )*
    };
}

/// One of the two people of tenant A.
struct Caller<'a> {
    person: &'a Person,
    is_member: bool,
}

impl Caller<'_> {
    /// Their cell of the row.
    const fn cell(&self, row: &Row) -> Cell {
        if self.is_member { row.tenant_member } else { row.tenant_admin }
    }

    const fn who(&self) -> &'static str {
        if self.is_member { "member" } else { "admin" }
    }
}

fn callers(world: &World) -> [Caller<'_>; 2] {
    [Caller { person: &world.a.admin, is_member: false }, Caller { person: &world.a.member, is_member: true }]
}

/// Those of them the row gives what is theirs.
fn callers_of<'a>(world: &'a World, row: &Row) -> Vec<Caller<'a>> {
    callers(world).into_iter().filter(|caller| caller.cell(row) == Cell::Own).collect()
}

/// The path with the id of `id` in every place.
fn with_id(path: &str, id: &str) -> String {
    ["{id}", "{tenant_id}", "{credential_id}", "{request_id}"]
        .iter()
        .fold(path.to_owned(), |path, place| path.replace(place, id))
        .replace("{period}", "2026-11")
}

fn takes_id(path: &str) -> bool {
    path.contains('{')
}

/// Something of the person's own that the route is about, made anew where the route ends it.
async fn own(world: &World, person: &Person, method: &str, path: &str) -> String {
    let made = async |collection: &str, body: Value| {
        person.call(&world.api, "POST", collection, Some(&body)).await.expect(201)["id"].as_str().unwrap().to_owned()
    };
    let name = format!("own {}", uuid::Uuid::now_v7().as_simple());
    match path.split('/').nth(3).unwrap() {
        "tenants" | "bills" => world.a.tenant.clone(),
        "projects" if method == "GET" => world.a.project.clone(),
        "projects" => made("/admin/v1/projects", json!({"name": name})).await,
        "budgets" => world.a.budget.clone(),
        "api-keys" if method == "GET" => person.key.clone(),
        "api-keys" => made("/admin/v1/api-keys", json!({"name": name})).await,
        "requests" => person.requests[0].clone(),
        "users" => person.id.clone(),
        other => panic!("say here what a person of a tenant has of `{other}`"),
    }
}

/// A body the route takes.
fn body(world: &World, method: &str, path: &str) -> Option<Value> {
    Some(match (method, path) {
        ("GET" | "DELETE", _) => return None,
        (_, action) if action.ends_with(":revoke") => return None,
        (_, action) if action.ends_with(":redeem-voucher") => json!({"code": world.voucher}),
        (_, action) if action.ends_with(":rotate") => json!({"overlap_seconds": 60}),
        ("PATCH", _) => json!({"name": format!("renamed {}", uuid::Uuid::now_v7().as_simple())}),
        ("POST", "/admin/v1/users") => {
            json!({"email": format!("{}@example.com", uuid::Uuid::now_v7().as_simple()), "name": "new",
            "role": "tenant_member", "password": PASSWORD})
        }
        ("POST", _) => json!({"name": format!("new {}", uuid::Uuid::now_v7().as_simple())}),
        _ => json!({}),
    })
}

/// The answer without what differs between any two: the request's id, and the id that was asked for.
fn told(answer: &Answer, asked: &str) -> (u16, String) {
    let text = String::from_utf8_lossy(&answer.body).replace(answer.header("x-request-id"), "");
    (answer.status.as_u16(), text.replace(asked, ""))
}

fn leaks(text: &str, marks: &[String], given: &str) -> Vec<String> {
    // What was sent may be said back.
    let text = if given.is_empty() { text.to_owned() } else { text.replace(given, "") };
    marks.iter().filter(|mark| text.contains(mark.as_str())).cloned().collect()
}

/// Everything of tenant B, as staff sees it.
async fn all_of_b(world: &World) -> Vec<String> {
    let tenant = &world.b.tenant;
    let mut texts = Vec::new();
    for path in [
        format!("/admin/v1/tenants/{tenant}"),
        format!("/admin/v1/tenants/{tenant}/budgets"),
        format!("/admin/v1/tenants/{tenant}/balance"),
        format!("/admin/v1/tenants/{tenant}/balance-entries"),
        format!("/admin/v1/projects?tenant_id={tenant}"),
        format!("/admin/v1/budgets?tenant_id={tenant}"),
        format!("/admin/v1/api-keys?tenant_id={tenant}"),
        format!("/admin/v1/users?tenant_id={tenant}"),
        format!("/admin/v1/audit-events?tenant_id={tenant}"),
    ] {
        texts.push(world.api.get(&path).await.expect(200).to_string());
    }
    texts
}

on_both_engines! {
    /// What is theirs they reach and what is not listed they do not, whatever it is about.
    async fn roles_and_routes_and_targets_hold_against_the_table(world) {
        let before = all_of_b(world).await;
        let mut wrong = Vec::new();
        for row in table() {
            let Row { method, path, .. } = row;
            for caller in callers(world) {
                let (person, is_member, who) = (caller.person, caller.is_member, caller.who());
                match caller.cell(&row) {
                    Cell::Public => {}
                    Cell::Yes => {
                        let answer = person.call(&world.api, method, path, body(world, method, path).as_ref()).await;
                        if !answer.status.is_success() {
                            wrong.push(format!("{method} {path} answered {who} with {}", answer.status));
                        }
                    }
                    Cell::No => {
                        let ids = [world.a.tenant.clone(), person.key.clone(), world.b.tenant.clone(), like(&world.b.tenant)];
                        let mut seen = BTreeSet::new();
                        for id in ids {
                            let answer = person.call(&world.api, method, &with_id(path, &id), body(world, method, path).as_ref()).await;
                            seen.insert(told(&answer, &id));
                        }
                        let is_refused = |(status, text): &(u16, String)| *status == 403 && text.contains("permission_denied");
                        if seen.len() != 1 || !seen.iter().all(is_refused) {
                            wrong.push(format!("{method} {path} does not refuse {who}: {seen:?}"));
                        }
                    }
                    Cell::Own => {
                        let id = if takes_id(path) { own(world, person, method, path).await } else { String::new() };
                        let address = with_id(path, &id);
                        let etag = match (method, takes_id(path)) {
                            ("GET", _) | (_, false) => "\"v1\"".to_owned(),
                            _ => {
                                let whole = address.split(':').next().unwrap();
                                person.call(&world.api, "GET", whole, None).await.etag().to_owned()
                            }
                        };
                        let answer = person.call_with(&world.api, method, &address, &etag, body(world, method, path).as_ref()).await;
                        if !answer.status.is_success() {
                            wrong.push(format!("{method} {path} keeps {who} from their own: {}", answer.text()));
                        }
                        let leaked = leaks(&String::from_utf8_lossy(&answer.body), &world.marks(is_member), "");
                        if !leaked.is_empty() {
                            wrong.push(format!("{method} {path} shows {who} {leaked:?}: {}", answer.text()));
                        }
                    }
                }
            }
        }
        assert_eq!(wrong, Vec::<String>::new());
        assert_eq!(all_of_b(world).await, before);
    }

    /// For each place of an id in each route, the id of everything of tenant B, of the platform and, for a member, of a colleague:
    /// the answer is the one for an id that nothing has.
    async fn a_foreign_id_is_like_one_that_nothing_has(world) {
        let before = all_of_b(world).await;
        let (mut wrong, mut asked) = (Vec::new(), 0);
        for row in table().into_iter().filter(|row| takes_id(row.path)) {
            let Row { method, path, .. } = row;
            for Caller { person, is_member } in callers_of(world, &row) {
                let mut foreign = world.b.ids();
                foreign.extend(world.platform.iter().map(|(kind, id)| (*kind, id.as_str())));
                if is_member {
                    foreign.extend(world.a.admin.ids());
                }
                let body = body(world, method, path);
                for (kind, id) in foreign {
                    let (answer, nothings) = (with_id(path, id), like(id));
                    let answer = person.call(&world.api, method, &answer, body.as_ref()).await;
                    let nothing = person.call(&world.api, method, &with_id(path, &nothings), body.as_ref()).await;
                    if told(&answer, id) != told(&nothing, &nothings) || answer.status != 404 {
                        wrong.push(format!("{method} {path} with a foreign {kind}: {} {}", answer.status, answer.text()));
                    }
                    asked += 1;
                }
            }
        }
        assert_eq!(wrong, Vec::<String>::new());
        assert!(asked > 400, "{asked} are too few to have walked all");
        assert_eq!(all_of_b(world).await, before);
    }

    /// Every list, as it is, with each of its parameters set to what is tenant B's, and from each of B's own cursors on.
    async fn no_list_shows_a_foreign_row(world) {
        let document: Value = serde_json::from_str(&tallygate_admin::openapi_json()).unwrap();
        let (mut wrong, mut asked) = (Vec::new(), 0);
        for row in table().into_iter().filter(|row| row.method == "GET") {
            for Caller { person, is_member } in callers_of(world, &row) {
                let own = if takes_id(row.path) { own(world, person, "GET", row.path).await } else { String::new() };
                let address = with_id(row.path, &own);
                let mut queries = vec![String::new(), "limit=200".to_owned()];
                for parameter in document["paths"][row.path]["get"]["parameters"].as_array().into_iter().flatten() {
                    let (name, place) = (parameter["name"].as_str().unwrap(), parameter["in"].as_str().unwrap());
                    if place != "query" || name == "limit" {
                        continue;
                    }
                    if name.ends_with("_id") {
                        queries.extend(world.b.ids().into_iter().map(|(_, id)| format!("{name}={id}")));
                    } else if name == "group_by" {
                        queries.extend(["tenant", "key", "model", "upstream", "outcome"].map(|group| format!("group_by={group}&bucket=total")));
                    } else if name == "after" {
                        for other in [&world.b.admin, &world.a.admin] {
                            let first = other.call(&world.api, "GET", &format!("{}?limit=1", with_id(row.path, &world.b.tenant)), None).await;
                            if first.status.is_success() && let Some(cursor) = first.json()["next_cursor"].as_str() {
                                queries.push(format!("after={cursor}"));
                            }
                        }
                    } else {
                        queries.push(format!("{name}={FOREIGN}"));
                    }
                }
                for query in queries {
                    let answer = person.call(&world.api, "GET", &format!("{address}?{query}"), None).await;
                    let given = query.split_once('=').map_or("", |(_, value)| value);
                    let leaked = leaks(&String::from_utf8_lossy(&answer.body), &world.marks(is_member), given);
                    if !leaked.is_empty() || !matches!(answer.status.as_u16(), 200 | 400 | 404) {
                        let who = Caller { person, is_member }.who();
                        wrong.push(format!("{address}?{query} shows {who} {leaked:?}: {} {}", answer.status, answer.text()));
                    }
                    asked += 1;
                }
            }
        }
        assert_eq!(wrong, Vec::<String>::new());
        assert!(asked > 150, "{asked} are too few to have walked all");
    }

    /// What is made in another tenant, or joins what is another's, is refused as if that did not exist.
    async fn a_foreign_id_in_a_body_is_like_one_that_nothing_has(world) {
        let before = all_of_b(world).await;
        for row in table().into_iter().filter(|row| row.method == "POST" && !takes_id(row.path)) {
            for Caller { person, .. } in callers_of(world, &row) {
                let with = |tenant: &str| {
                    let mut body = body(world, "POST", row.path).unwrap();
                    body["tenant_id"] = json!(tenant);
                    body
                };
                let nothings = like(&world.b.tenant);
                let answer = person.call(&world.api, "POST", row.path, Some(&with(&world.b.tenant))).await;
                let nothing = person.call(&world.api, "POST", row.path, Some(&with(&nothings))).await;
                assert_eq!(answer.problem(422).1, "/tenant_id unknown", "{}", row.path);
                assert_eq!(told(&answer, &world.b.tenant), told(&nothing, &nothings), "{}", row.path);
            }
        }
        let joining = json!({"name": "joining", "project": format!("{FOREIGN}-project")});
        let answer = world.a.admin.call(&world.api, "POST", "/admin/v1/api-keys", Some(&joining)).await;
        assert_eq!(answer.problem(422).1, "/project invalid");
        assert_eq!(all_of_b(world).await, before);
    }

    /// The search for marks would find them: tenant B's own admin, and staff, see them.
    async fn the_marks_are_there_for_those_who_may_see_them(world) {
        let marks = world.marks(true);
        for path in ["/admin/v1/api-keys", "/admin/v1/requests", "/admin/v1/users", "/admin/v1/audit-events", "/admin/v1/available-models"] {
            let seen = world.b.admin.call(&world.api, "GET", path, None).await;
            assert!(!leaks(seen.text(), &marks, "").is_empty(), "{path}");
        }
        let staffs = world.api.get(&format!("/admin/v1/requests/{}", world.a.member.requests[0])).await;
        assert!(leaks(staffs.text(), &marks, "").len() > 2, "{}", staffs.text());
        let colleagues = world.a.admin.call(&world.api, "GET", "/admin/v1/api-keys", None).await;
        assert!(leaks(colleagues.text(), &marks, "").len() > 1, "{}", colleagues.text());
        assert_eq!(leaks(colleagues.text(), &world.marks(false), ""), Vec::<String>::new());
    }
}
