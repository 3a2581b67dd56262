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
