//! A change and its row of the trail stand or fall together.

use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};

use crate::client::Api;
use crate::shop::Shop;
use crate::visitor::{PASSWORD, Visitor};

#[tokio::test]
async fn the_trail_is_filtered_and_shows_before_and_after() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let path = format!("/admin/v1/tenants/{}", shop.tenant);
    api.patch(&path, "\"v1\"", json!({"name": "acme 2"})).await.expect(200);
    let events = api.get(&format!("/admin/v1/audit-events?target_id={}", shop.tenant)).await.expect(200);
    let newest = &events["data"][0];
    assert_eq!((&newest["action"], &newest["tenant_id"]), (&json!("tenant.updated"), &json!(shop.tenant)));
    assert_eq!((&newest["before"]["name"], &newest["after"]["name"]), (&json!("acme"), &json!("acme 2")));
    assert_eq!(events["data"].as_array().unwrap().len(), 2);
    let count = async |query: &str| {
        api.get(&format!("/admin/v1/audit-events?{query}")).await.expect(200)["data"].as_array().unwrap().len()
    };
    assert_eq!(count("target_kind=model").await, 1);
    assert_eq!(count(&format!("tenant_id={}&action=api_key.created", shop.tenant)).await, 1);
    assert_eq!(count("to=2026-11-22T12:00:00Z").await, 0);
    let first = api.get("/admin/v1/audit-events?limit=3").await.expect(200);
    assert_eq!(count(&format!("limit=3&after={}", first["next_cursor"].as_str().unwrap())).await, 2);
}

#[tokio::test]
async fn a_change_whose_trail_cannot_be_written_does_not_happen() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let idle = idle_tenant(&api).await;
    Visitor::owner(&api).await;
    let before = everything(&api).await;
    let mut database = sqlx::SqliteConnection::connect(&api.store.url).await.unwrap();
    database.execute("ALTER TABLE audit_events RENAME TO audit_events_away").await.unwrap();
    let mut changed = Vec::new();
    for (method, path, etag, body) in changes(&shop, &idle) {
        let headers: &[(&str, &str)] = if etag { &[("if-match", "\"v1\"")] } else { &[] };
        let status = api.with(method, &path, headers, body).await.status.as_u16();
        if status != 500 {
            changed.push(format!("{method} {path}: {status}"));
        }
    }
    let mut browser = Visitor::default();
    browser.sign_in(&api, crate::visitor::EMAIL, PASSWORD).await.expect(500);
    assert_eq!(browser.cookies.len(), 0);
    database.execute("ALTER TABLE audit_events_away RENAME TO audit_events").await.unwrap();
    assert_eq!(changed, Vec::<String>::new());
    assert_eq!(everything(&api).await, before);
}

#[tokio::test]
async fn every_change_writes_one_row_and_a_refused_one_none() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let idle = idle_tenant(&api).await;
    let rows = async || api.get("/admin/v1/audit-events?limit=200").await.expect(200)["data"].as_array().unwrap().len();
    for (method, path, etag, body) in changes(&shop, &idle) {
        let before = rows().await;
        if etag {
            api.with(method, &path, &[("if-match", "\"v99\"")], body.clone()).await.expect(412);
            assert_eq!(rows().await, before, "{method} {path} refused");
        }
        let headers: &[(&str, &str)] = if etag { &[("if-match", "\"v1\"")] } else { &[] };
        let answer = api.with(method, &path, headers, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.text());
        assert_eq!(rows().await, before + 1, "{method} {path}");
    }
}

/// A tenant nothing hangs on.
async fn idle_tenant(api: &Api) -> String {
    api.post("/admin/v1/tenants", json!({"name": "idle"})).await.expect(201)["id"].as_str().unwrap().to_owned()
}

/// A change of every kind, whether it takes an ETag, in an order in which all of them succeed.
fn changes(shop: &Shop, idle_tenant: &str) -> Vec<(&'static str, String, bool, Option<Value>)> {
    let Shop { tenant, key, upstream, credential, model } = shop;
    let user = json!({"email": "bo@example.com", "name": "Bo", "role": "ops", "password": PASSWORD});
    let new_upstream = json!({"name": "new", "dialect": "gemini", "base_url": "https://example.com"});
    let new_model = json!({"name": "new", "targets": []});
    let price = json!({"currency": "USD", "valid_from": "2026-12-01T00:00:00Z", "prices": {"output_text": "1"}});
    let at = |path: &str| format!("/admin/v1/{path}");
    vec![
        ("POST", at("tenants"), false, Some(json!({"name": "new"}))),
        ("PATCH", at(&format!("tenants/{tenant}")), true, Some(json!({"name": "changed"}))),
        ("DELETE", at(&format!("tenants/{idle_tenant}")), true, None),
        ("POST", at("api-keys"), false, Some(json!({"tenant_id": tenant, "name": "new"}))),
        ("PATCH", at(&format!("api-keys/{key}")), true, Some(json!({"name": "changed"}))),
        ("POST", at(&format!("api-keys/{key}:revoke")), false, None),
        ("POST", at("upstreams"), false, Some(new_upstream)),
        ("PATCH", at(&format!("upstreams/{upstream}")), true, Some(json!({"name": "changed"}))),
        ("POST", at(&format!("upstreams/{upstream}:test")), false, Some(json!({}))),
        (
            "POST",
            at(&format!("upstreams/{upstream}/credentials")),
            false,
            Some(json!({"name": "new", "secret": "sk-new-secret"})),
        ),
        ("PATCH", at(&format!("upstreams/{upstream}/credentials/{credential}")), true, Some(json!({"name": "changed"}))),
        ("POST", at("models"), false, Some(new_model)),
        ("POST", at(&format!("models/{model}/prices")), false, Some(price)),
        ("PATCH", at(&format!("models/{model}")), true, Some(json!({"strict": true}))),
        ("POST", at("users"), false, Some(user)),
        ("POST", at("admin-tokens"), false, Some(json!({"name": "new", "role": "ops"}))),
    ]
}

/// Every list of the API.
async fn everything(api: &Api) -> Vec<Value> {
    let mut lists = Vec::new();
    for list in ["tenants", "api-keys", "upstreams", "models", "users", "admin-tokens", "audit-events"] {
        lists.push(api.get(&format!("/admin/v1/{list}")).await.expect(200)["data"].clone());
    }
    lists
}
