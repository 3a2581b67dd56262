use serde_json::{Value, json};

use crate::client::Api;

async fn tenant(api: &Api, name: &str) -> Value {
    api.post("/admin/v1/tenants", json!({"name": name})).await.expect(201)["id"].clone()
}

#[tokio::test]
async fn a_project_is_created_read_changed_and_deleted() {
    let api = Api::new().await;
    let acme = tenant(&api, "acme").await;
    let body = json!({"tenant_id": acme, "name": "web", "limits": {"requests_per_minute": 60}, "allowed_models": ["smart"]});
    let created = api.post("/admin/v1/projects", body).await;
    let body = created.expect(201);
    let path = format!("/admin/v1/projects/{}", body["id"].as_str().unwrap());
    assert_eq!((created.header("location"), created.etag()), (path.as_str(), "\"v1\""));
    assert_eq!((&body["tenant_id"], &body["name"], &body["status"]), (&acme, &json!("web"), &json!("active")));
    assert_eq!(body["limits"], json!({"requests_per_minute": 60, "tokens_per_minute": null, "concurrency": null}));
    assert_eq!((&body["allowed_models"], &body["managed_by"]), (&json!(["smart"]), &json!("api")));

    assert_eq!(api.with("PATCH", &path, &[], Some(json!({}))).await.problem(428).0, "if_match_required");
    let change = json!({"name": "shop", "status": "archived", "limits": {"concurrency": 3}, "allowed_models": null});
    let changed = api.patch(&path, "\"v1\"", change).await;
    let after = changed.expect(200);
    assert_eq!((changed.etag(), &after["name"], &after["status"]), ("\"v2\"", &json!("shop"), &json!("archived")));
    assert_eq!(after["limits"], json!({"requests_per_minute": 60, "tokens_per_minute": null, "concurrency": 3}));
    assert_eq!(after["allowed_models"], json!(null));
    let stale = api.patch(&path, "\"v1\"", json!({"name": "x"})).await;
    assert_eq!((stale.problem(412).0.as_str(), &stale.json()["current"]), ("version_mismatch", &after));
    assert_eq!(api.get(&path).await.expect(200), after);

    api.delete(&path, "\"v1\"").await.expect(412);
    api.delete(&path, "\"v2\"").await.expect(204);
    assert_eq!(api.get(&path).await.problem(404).0, "not_found");
    assert_eq!(api.trail().await, ["project.deleted shop", "project.updated shop", "project.created web", "tenant.created acme"]);
}

#[tokio::test]
async fn what_no_project_can_be_is_pointed_at() {
    let api = Api::new().await;
    let (acme, globex) = (tenant(&api, "acme").await, tenant(&api, "globex").await);
    let refused = async |body| api.post("/admin/v1/projects", body).await.problem(422).1;
    assert_eq!(refused(json!({"tenant_id": acme})).await, " required");
    assert_eq!(refused(json!({"tenant_id": acme, "name": ""})).await, "/name invalid");
    assert_eq!(refused(json!({"tenant_id": acme, "name": "a,b"})).await, "/name invalid");
    assert_eq!(refused(json!({"tenant_id": acme, "name": "x".repeat(65)})).await, "/name invalid");
    assert_eq!(refused(json!({"tenant_id": acme, "name": "web", "color": 1})).await, "/color unknown_field");
    let zero = json!({"tenant_id": acme, "name": "web", "limits": {"tokens_per_minute": 0}});
    assert_eq!(refused(zero).await, "/limits/tokens_per_minute not_positive");
    let nobody = tallygate_types::TenantId::generate().to_string();
    assert_eq!(refused(json!({"tenant_id": nobody, "name": "web"})).await, "/tenant_id unknown");

    for owner in [&acme, &globex] {
        api.post("/admin/v1/projects", json!({"tenant_id": owner, "name": "web"})).await.expect(201);
    }
    let twice = api.post("/admin/v1/projects", json!({"tenant_id": acme, "name": "web"})).await.problem(409);
    assert_eq!(twice, ("already_exists".into(), "/name taken".into()), "names are a tenant's own");
}

#[tokio::test]
async fn keys_follow_their_project_and_keep_it_from_being_deleted() {
    let api = Api::new().await;
    let acme = tenant(&api, "acme").await;
    let project = api.post("/admin/v1/projects", json!({"tenant_id": acme, "name": "web"})).await.expect(201);
    let path = format!("/admin/v1/projects/{}", project["id"].as_str().unwrap());
    let key = api.post("/admin/v1/api-keys", json!({"tenant_id": acme, "name": "ci", "project": "web"})).await.expect(201);
    api.patch(&path, "\"v1\"", json!({"name": "shop"})).await.expect(200);
    let key = api.get(&format!("/admin/v1/api-keys/{}", key["id"].as_str().unwrap())).await.expect(200);
    assert_eq!((&key["project"], &key["version"]), (&json!("shop"), &json!(2)));

    assert_eq!(api.delete(&path, "\"v2\"").await.problem(409).0, "in_use");
    api.patch(&path, "\"v2\"", json!({"status": "archived"})).await.expect(200);
    let late = api.post("/admin/v1/api-keys", json!({"tenant_id": acme, "name": "late", "project": "shop"})).await;
    assert_eq!(late.problem(422).1, "/project invalid", "no key joins what is archived");
}

#[tokio::test]
async fn projects_are_listed_by_tenant_and_status() {
    let api = Api::new().await;
    let (acme, globex) = (tenant(&api, "acme").await, tenant(&api, "globex").await);
    for (owner, name) in [(&acme, "one"), (&globex, "two"), (&acme, "three")] {
        let made = api.post("/admin/v1/projects", json!({"tenant_id": owner, "name": name})).await.expect(201);
        if name == "one" {
            let path = format!("/admin/v1/projects/{}", made["id"].as_str().unwrap());
            api.patch(&path, "\"v1\"", json!({"status": "archived"})).await.expect(200);
        }
    }
    let names = async |query: String| {
        let page = api.get(&format!("/admin/v1/projects?{query}")).await.expect(200);
        let name = |project: &Value| project["name"].as_str().unwrap().to_owned();
        page["data"].as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    let acme = acme.as_str().unwrap();
    assert_eq!(names(String::new()).await, ["three", "two", "one"]);
    assert_eq!(names(format!("tenant_id={acme}")).await, ["three", "one"]);
    assert_eq!(names(format!("tenant_id={acme}&status=archived")).await, ["one"]);
    assert_eq!(names("limit=1".into()).await, ["three"]);
    assert_eq!(api.get("/admin/v1/projects?q=x").await.problem(400).1, "q unreadable");
}
