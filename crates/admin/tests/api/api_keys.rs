use serde_json::json;

use crate::client::Api;

#[tokio::test]
async fn a_key_is_shown_once_and_revoked_for_good() {
    let api = Api::new().await;
    let tenant = api.post("/admin/v1/tenants", json!({"name": "acme"})).await.expect(201)["id"].clone();
    let created = api
        .post("/admin/v1/api-keys", json!({"tenant_id": tenant, "name": "ci", "expires_at": "2026-12-01T00:00:00Z"}))
        .await
        .expect(201);
    let secret = created["secret"].as_str().unwrap();
    assert!(secret.starts_with(created["prefix"].as_str().unwrap()), "{created}");
    assert_eq!(secret.len(), "sk-tg1_".len() + 57);
    let path = format!("/admin/v1/api-keys/{}", created["id"].as_str().unwrap());
    let read = api.get(&path).await;
    assert!(!String::from_utf8_lossy(&read.body).contains(secret));
    assert_eq!((&read.json()["status"], &read.json()["secret"]), (&json!("active"), &json!(null)));

    let changed = api.patch(&path, read.etag(), json!({"name": "deploy", "expires_at": null})).await.expect(200);
    assert_eq!((&changed["name"], &changed["expires_at"]), (&json!("deploy"), &json!(null)));

    assert_eq!(api.act(&format!("{path}:revoke")).await.expect(200)["status"], "revoked");
    assert_eq!(api.act(&format!("{path}:revoke")).await.expect(200)["status"], "revoked", "twice does no harm");
    assert_eq!(
        api.trail().await,
        ["api_key.revoked deploy", "api_key.updated deploy", "api_key.created ci", "tenant.created acme"]
    );
    let trail = api.get("/admin/v1/audit-events").await;
    assert!(!String::from_utf8_lossy(&trail.body).contains(secret), "the trail never holds a secret");
}

#[tokio::test]
async fn a_key_needs_a_known_tenant_and_a_future() {
    let api = Api::new().await;
    let nobody = tallygate_types::TenantId::generate().to_string();
    let orphan = api.post("/admin/v1/api-keys", json!({"tenant_id": nobody, "name": "ci"})).await;
    assert_eq!(orphan.problem(422).1, "/tenant_id unknown");
    let past = json!({"tenant_id": nobody, "name": "ci", "expires_at": "2026-11-22T12:00:00Z"});
    assert_eq!(api.post("/admin/v1/api-keys", past).await.problem(422).1, "/expires_at in_the_past");
    let other = json!({"tenant_id": "key_0193500000007000800000000000000a", "name": "ci"});
    assert_eq!(api.post("/admin/v1/api-keys", other).await.problem(422).1, "/tenant_id invalid");
}

#[tokio::test]
async fn an_expired_key_says_so() {
    let api = Api::new().await;
    let tenant = api.post("/admin/v1/tenants", json!({"name": "acme"})).await.expect(201)["id"].clone();
    let body = json!({"tenant_id": tenant, "name": "ci", "expires_at": "2026-11-22T12:00:01Z"});
    let key = api.post("/admin/v1/api-keys", body).await.expect(201);
    api.store.clock.advance(std::time::Duration::from_secs(1));
    let list = api.get(&format!("/admin/v1/api-keys?tenant_id={}", tenant.as_str().unwrap())).await.expect(200);
    assert_eq!((&list["data"][0]["id"], &list["data"][0]["status"]), (&key["id"], &json!("expired")));
}

#[tokio::test]
async fn a_key_is_bound_to_endpoints_networks_and_a_project() {
    let api = Api::new().await;
    let tenant = api.post("/admin/v1/tenants", json!({"name": "acme"})).await.expect(201)["id"].clone();
    api.post("/admin/v1/projects", json!({"tenant_id": tenant, "name": "web"})).await.expect(201);
    let body = json!({"tenant_id": tenant, "name": "ci", "allowed_endpoints": ["chat_completions", "messages"],
        "allowed_networks": ["192.0.2.9/24", "2001:db8::1"], "project": "web"});
    let key = api.post("/admin/v1/api-keys", body).await.expect(201);
    assert_eq!(key["allowed_endpoints"], json!(["chat_completions", "messages"]));
    assert_eq!(key["allowed_networks"], json!(["192.0.2.0/24", "2001:db8::1/128"]));
    assert_eq!(key["project"], "web");

    let path = format!("/admin/v1/api-keys/{}", key["id"].as_str().unwrap());
    let refused = async |change| api.patch(&path, "\"v1\"", change).await.problem(422).1;
    assert_eq!(refused(json!({"allowed_endpoints": ["messages", "chat"]})).await, "/allowed_endpoints/1 unknown");
    assert_eq!(refused(json!({"allowed_networks": ["192.0.2.0/33"]})).await, "/allowed_networks/0 invalid");
    assert_eq!(refused(json!({"project": "nope"})).await, "/project invalid");
    let new = json!({"tenant_id": tenant, "name": "x", "allowed_networks": ["192.0.2.1", "here"]});
    assert_eq!(api.post("/admin/v1/api-keys", new).await.problem(422).1, "/allowed_networks/1 invalid");
    let new = json!({"tenant_id": tenant, "name": "x", "project": "nope"});
    assert_eq!(api.post("/admin/v1/api-keys", new).await.problem(422).1, "/project invalid");

    let freed = json!({"allowed_endpoints": null, "allowed_networks": null, "project": null});
    let freed = api.patch(&path, "\"v1\"", freed).await.expect(200);
    assert_eq!(
        [&freed["allowed_endpoints"], &freed["allowed_networks"], &freed["project"]],
        [&json!(null), &json!(null), &json!(null)]
    );
}

#[tokio::test]
async fn a_rotated_key_has_two_secrets_until_the_overlap_ends() {
    let api = Api::new().await;
    let tenant = api.post("/admin/v1/tenants", json!({"name": "acme"})).await.expect(201)["id"].clone();
    let first = api.post("/admin/v1/api-keys", json!({"tenant_id": tenant, "name": "ci"})).await.expect(201);
    assert_eq!(first["previous_expires_at"], json!(null));
    let path = format!("/admin/v1/api-keys/{}", first["id"].as_str().unwrap());
    let rotate = format!("{path}:rotate");
    let rotated = async |etag: &str, body| api.with("POST", &rotate, &[("if-match", etag)], Some(body)).await;

    assert_eq!(api.post(&rotate, json!({})).await.problem(428).0, "if_match_required");
    assert_eq!(rotated("\"v1\"", json!({"overlap_seconds": 2_592_001})).await.problem(422).1, "/overlap_seconds invalid");
    let answer = rotated("\"v1\"", json!({"overlap_seconds": 7200})).await;
    let second = answer.expect(200);
    assert_eq!((answer.etag(), &second["id"], &second["name"]), ("\"v2\"", &first["id"], &first["name"]));
    assert_eq!(second["previous_expires_at"], "2026-11-22T14:00:00.000000Z");
    assert_ne!(second["secret"], first["secret"]);
    assert!(second["secret"].as_str().unwrap().ends_with(second["last4"].as_str().unwrap()));
    assert_eq!(rotated("\"v1\"", json!({})).await.problem(412).0, "version_mismatch", "a second click does not rotate again");
    let ends = async |key: &serde_json::Value| {
        let snapshot = api.store.snapshot().await.unwrap();
        let entry = snapshot.keys.get(&api.store.digest_key(key["secret"].as_str().unwrap()));
        entry.map(|entry| entry.expires_at.map(|at| at.to_string()))
    };
    assert_eq!(ends(&first).await, Some(Some("2026-11-22T14:00:00.000000Z".into())));
    assert_eq!(ends(&second).await, Some(None));

    let third = rotated("\"v2\"", json!({})).await.expect(200);
    assert_eq!(third["previous_expires_at"], "2026-11-22T13:00:00.000000Z", "an hour where nothing is said");
    assert_eq!(ends(&first).await, None, "a rotation within the overlap ends the secret before");
    assert_eq!(ends(&second).await, Some(Some("2026-11-22T13:00:00.000000Z".into())));
    let read = api.get(&path).await;
    assert!(!read.text().contains(third["secret"].as_str().unwrap()));
    assert_eq!(api.trail().await[..2], ["api_key.rotated ci", "api_key.rotated ci"]);
    assert!(!api.get("/admin/v1/audit-events").await.text().contains(third["secret"].as_str().unwrap()));

    api.act(&format!("{path}:revoke")).await.expect(200);
    assert_eq!(rotated("\"v4\"", json!({})).await.problem(422).1, "/status invalid");
}
