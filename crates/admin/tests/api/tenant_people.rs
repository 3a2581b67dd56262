//! What people of a tenant do with what is theirs, and that nobody gives away more than they have.

use serde_json::{Value, json};

use crate::client::Api;
use crate::two_tenants::{Person, World};
use crate::visitor::{PASSWORD, Visitor};

async fn world() -> World {
    World::new(Api::new().await).await
}

async fn post(world: &World, person: &Person, path: &str, body: Value) -> crate::client::Answer {
    person.call(&world.api, "POST", path, Some(&body)).await
}

#[tokio::test]
async fn a_session_says_whose_somebody_is() {
    let world = world().await;
    let session = world.a.member.call(&world.api, "GET", "/admin/v1/session", None).await.expect(200);
    assert_eq!(session["tenant"], json!({"id": world.a.tenant, "name": "acme"}));
    assert_eq!(session["role"], json!("tenant_member"));
    let may: Vec<&str> = session["permissions"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(
        may,
        ["api_keys.read", "api_keys.write", "available_models.read", "requests.read", "usage.read", "money.read", "users.read"]
    );
    let mut owner = Visitor::owner(&world.api).await;
    assert_eq!(owner.get(&world.api, "/admin/v1/session").await.expect(200)["tenant"], Value::Null);
}

#[tokio::test]
async fn a_member_has_the_keys_they_made_and_sees_what_those_used() {
    let world = world().await;
    let keys = world.a.member.call(&world.api, "GET", "/admin/v1/api-keys", None).await.expect(200);
    let ids: Vec<&str> = keys["data"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [world.a.member.key.as_str()]);
    assert_eq!(keys["data"][0]["created_by"], json!(world.a.member.id));
    let all = world.a.admin.call(&world.api, "GET", "/admin/v1/api-keys", None).await.expect(200);
    assert_eq!(all["data"].as_array().unwrap().len(), 2);
    world.api.store.clock.advance(std::time::Duration::from_mins(5));
    for (person, requests) in [(&world.a.member, 3), (&world.a.admin, 6)] {
        let usage = "/admin/v1/usage?bucket=total&to=2026-11-22T13:00:00Z";
        let usage = person.call(&world.api, "GET", usage, None).await.expect(200);
        assert_eq!(usage["data"][0]["requests"], json!(requests));
        let listed = person.call(&world.api, "GET", "/admin/v1/requests", None).await.expect(200);
        assert_eq!(listed["data"].as_array().unwrap().len(), requests);
    }
}

#[tokio::test]
async fn a_key_of_staff_is_no_members() {
    let world = world().await;
    let made = world.api.post("/admin/v1/api-keys", json!({"tenant_id": world.a.tenant, "name": "staff's"})).await.expect(201);
    assert_eq!(made["created_by"], Value::Null);
    let path = format!("/admin/v1/api-keys/{}", made["id"].as_str().unwrap());
    world.a.member.call(&world.api, "GET", &path, None).await.expect(404);
    world.a.admin.call(&world.api, "GET", &path, None).await.expect(200);
    assert_eq!(world.api.post("/admin/v1/api-keys", json!({"name": "whose"})).await.problem(422).1, "/tenant_id required");
}

#[tokio::test]
async fn a_key_has_no_more_than_the_tenant_and_the_project_have() {
    let world = world().await;
    let project = "zq7colleague-project";
    let within = json!({"name": "within", "project": project, "limits": {"requests_per_minute": 600, "concurrency": 20},
        "allowed_models": ["smart"]});
    let made = post(&world, &world.a.member, "/admin/v1/api-keys", within).await;
    made.expect(201);
    let beyond = json!({"name": "beyond", "project": project, "limits": {"requests_per_minute": 601, "concurrency": 21},
        "allowed_models": ["smart", "other"], "tags": ["vip"]});
    let refused = post(&world, &world.a.member, "/admin/v1/api-keys", beyond).await.expect(422);
    let said: Vec<String> = refused["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| format!("{}: {}", error["pointer"].as_str().unwrap(), error["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(
        said,
        [
            "/limits/requests_per_minute: At most 600: that is what the tenant has.",
            "/limits/concurrency: At most 20: that is what the project `zq7colleague-project` has.",
            "/allowed_models/1: Not `other`: the models of the tenant are smart.",
            "/tags: Labels decide where requests go; only the platform's staff sets them.",
        ]
    );
    let path = made.header("location");
    let raised = json!({"limits": {"concurrency": 21}});
    let raised = world.a.member.call(&world.api, "PATCH", path, Some(&raised)).await;
    assert_eq!(raised.problem(422).1, "/limits/concurrency exceeds_grant");
    // Out of the project the tenant's hold; back in it the key must fit again.
    let out = json!({"project": null, "limits": {"concurrency": 50}});
    world.a.member.call(&world.api, "PATCH", path, Some(&out)).await.expect(200);
    let back = world.a.member.call_with(&world.api, "PATCH", path, "\"v2\"", Some(&json!({"project": project}))).await;
    assert_eq!(back.problem(422).1, "/limits/concurrency exceeds_grant");
}

#[tokio::test]
async fn people_of_a_tenant_make_so_many_projects_and_staff_more() {
    let world = world().await;
    let mut tx = world.api.store.begin().await.unwrap();
    for n in 1..200 {
        let settings = tallygate_store::projects::ProjectSettings::named(format!("p{n}"));
        tallygate_store::projects::create(&mut tx, world.a.tenant.parse().unwrap(), &settings).await.unwrap();
    }
    tx.commit().await.unwrap();
    let one_more = json!({"name": "one more"});
    let refused = post(&world, &world.a.admin, "/admin/v1/projects", one_more).await;
    assert_eq!(refused.problem(409).0, "at_most");
    let of_staff = json!({"tenant_id": world.a.tenant, "name": "one more"});
    world.api.post("/admin/v1/projects", of_staff).await.expect(201);
}

#[tokio::test]
async fn a_cap_that_was_lowered_later_leaves_the_rest_of_a_key_changeable() {
    let world = world().await;
    let path = format!("/admin/v1/api-keys/{}", world.a.member.key);
    let set = json!({"limits": {"concurrency": 40}});
    world.a.member.call(&world.api, "PATCH", &path, Some(&set)).await.expect(200);
    let tenant = format!("/admin/v1/tenants/{}", world.a.tenant);
    world.api.patch(&tenant, "\"v1\"", json!({"limits": {"concurrency": 5}})).await.expect(200);
    let renamed = json!({"name": "renamed"});
    let renamed = world.a.member.call_with(&world.api, "PATCH", &path, "\"v2\"", Some(&renamed)).await.expect(200);
    assert_eq!(renamed["limits"]["concurrency"], json!(40));
    let again = json!({"limits": {"concurrency": 6}});
    let again = world.a.member.call_with(&world.api, "PATCH", &path, "\"v3\"", Some(&again)).await;
    assert_eq!(again.problem(422).1, "/limits/concurrency exceeds_grant");
}

#[tokio::test]
async fn a_project_has_no_more_than_the_tenant_has() {
    let world = world().await;
    let beyond = json!({"name": "beyond", "limits": {"concurrency": 51}, "allowed_models": ["zq7foreign-model"]});
    let refused = post(&world, &world.a.admin, "/admin/v1/projects", beyond).await;
    assert_eq!(refused.problem(422).1, "/limits/concurrency exceeds_grant");
    assert_eq!(refused.json()["errors"][1]["pointer"], json!("/allowed_models/0"));
    let path = format!("/admin/v1/projects/{}", world.a.project);
    let raised = json!({"limits": {"concurrency": 51}});
    let raised = world.a.admin.call(&world.api, "PATCH", &path, Some(&raised)).await;
    assert_eq!(raised.problem(422).1, "/limits/concurrency exceeds_grant");
    let raised = json!({"limits": {"concurrency": 50}});
    world.a.admin.call(&world.api, "PATCH", &path, Some(&raised)).await.expect(200);
}

#[tokio::test]
async fn a_tenants_admin_adds_people_of_the_tenant_and_nobody_else() {
    let world = world().await;
    let person = |email: &str, role: &str| json!({"email": email, "name": "New", "role": role, "password": PASSWORD});
    let made = post(&world, &world.a.admin, "/admin/v1/users", person("new@example.com", "tenant_admin")).await.expect(201);
    assert_eq!((&made["tenant_id"], &made["role"]), (&json!(world.a.tenant), &json!("tenant_admin")));
    for role in ["owner", "admin", "finance", "ops", "auditor"] {
        let refused = post(&world, &world.a.admin, "/admin/v1/users", person("eve@example.com", role)).await;
        assert_eq!(refused.problem(403).0, "role_out_of_reach", "{role}");
        let path = format!("/admin/v1/users/{}", made["id"].as_str().unwrap());
        let risen = world.a.admin.call(&world.api, "PATCH", &path, Some(&json!({"role": role}))).await;
        assert_eq!(risen.problem(403).0, "role_out_of_reach", "{role}");
        let own = format!("/admin/v1/users/{}", world.a.admin.id);
        let etag = world.a.admin.call(&world.api, "GET", &own, None).await.etag().to_owned();
        let risen = world.a.admin.call_with(&world.api, "PATCH", &own, &etag, Some(&json!({"role": role}))).await;
        assert_eq!(risen.problem(403).0, "role_out_of_reach", "{role}");
    }
    let own = format!("/admin/v1/users/{}", world.a.member.id);
    let risen = world.a.member.call(&world.api, "PATCH", &own, Some(&json!({"role": "tenant_admin"}))).await;
    assert_eq!(risen.problem(403).0, "permission_denied");
}

#[tokio::test]
async fn a_disabled_person_is_out_at_once_and_their_keys_stay_the_tenants() {
    let world = world().await;
    let path = format!("/admin/v1/users/{}", world.a.member.id);
    let etag = world.a.admin.call(&world.api, "GET", &path, None).await.etag().to_owned();
    world.a.admin.call_with(&world.api, "PATCH", &path, &etag, Some(&json!({"status": "disabled"}))).await.expect(200);
    world.a.member.call(&world.api, "GET", "/admin/v1/api-keys", None).await.expect(401);
    let key = format!("/admin/v1/api-keys/{}", world.a.member.key);
    assert_eq!(world.a.admin.call(&world.api, "GET", &key, None).await.expect(200)["status"], json!("active"));
}

#[tokio::test]
async fn staff_makes_people_of_tenants_and_neither_side_becomes_the_other() {
    let world = world().await;
    let person = |role: &str, tenant: Option<&str>| json!({"email": "new@example.com", "name": "New", "role": role, "tenant_id": tenant, "password": PASSWORD});
    let api = &world.api;
    let refused = api.post("/admin/v1/users", person("tenant_member", None)).await;
    assert_eq!(refused.problem(422).1, "/tenant_id required");
    let refused = api.post("/admin/v1/users", person("ops", Some(&world.a.tenant))).await;
    assert_eq!(refused.problem(422).1, "/tenant_id not_of_role");
    let token = json!({"name": "t", "role": "tenant_admin"});
    assert_eq!(api.post("/admin/v1/admin-tokens", token).await.problem(422).1, "/role invalid");
    let member = format!("/admin/v1/users/{}", world.a.member.id);
    let etag = api.get(&member).await.etag().to_owned();
    assert_eq!(api.patch(&member, &etag, json!({"role": "ops"})).await.problem(422).1, "/role other_side");
    let of_a = api.get(&format!("/admin/v1/users?tenant_id={}", world.a.tenant)).await.expect(200);
    assert_eq!(of_a["data"].as_array().unwrap().len(), 2);
    assert_eq!(of_a["data"][0]["tenant_id"], json!(world.a.tenant));
}

#[tokio::test]
async fn the_trail_shows_a_tenant_its_own_and_staff_as_the_operator() {
    let world = world().await;
    let events = world.a.admin.call(&world.api, "GET", "/admin/v1/audit-events?action=tenant.created", None).await.expect(200);
    let event = &events["data"][0];
    assert_eq!(event["actor"], json!({"kind": "operator", "id": null, "name": null, "role": null}));
    assert_eq!((&event["reason"], &event["ip"], &event["after"]["name"]), (&Value::Null, &Value::Null, &json!("acme")));
    let own = format!("/admin/v1/audit-events?action=api_key.created&actor_id={}", world.a.member.id);
    let own = world.a.admin.call(&world.api, "GET", &own, None).await.expect(200);
    assert_eq!(own["data"][0]["actor"]["name"], json!("own-tenant_member@example.com"));
    assert_eq!(own["data"][0]["ip"], json!("192.0.2.7"));
    let sessions = world.a.admin.call(&world.api, "GET", "/admin/v1/audit-events?action=session.created", None).await.expect(200);
    assert_eq!(sessions["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_tenant_sees_its_models_with_their_prices_and_nothing_else_of_them() {
    let world = world().await;
    let models = world.a.member.call(&world.api, "GET", "/admin/v1/available-models", None).await.expect(200);
    let model = &models["data"][0];
    assert_eq!(models["data"].as_array().unwrap().len(), 1);
    let members: Vec<&String> = model.as_object().unwrap().keys().collect();
    assert_eq!(members, ["id", "name", "aliases", "price"]);
    assert_eq!(model["price"]["prices"], json!({"input_uncached": "3", "output_text": "15"}));
    for query in ["upstream_id=ups_0193500000007000800000000000000a", "route=x", "arm=x"] {
        let refused = world.a.member.call(&world.api, "GET", &format!("/admin/v1/requests?{query}"), None).await;
        assert_eq!(refused.problem(400).0, "invalid_parameter");
        assert_eq!(refused.json()["errors"][0]["rule"], json!("staff_only"));
    }
}
