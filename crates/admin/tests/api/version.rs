use serde_json::json;

use crate::client::Api;

#[tokio::test]
async fn what_runs_is_said_and_every_change_is_counted() {
    let api = Api::new().await;
    let before = api.get("/admin/v1/version").await.expect(200);
    assert_eq!((&before["store"], &before["demo"]), (&json!("sqlite"), &json!(false)));
    assert_eq!((&before["api_url"], &before["now"]), (&json!("http://127.0.0.1:8080"), &json!("2026-11-22T12:00:00.000000Z")));
    api.post("/admin/v1/tenants", json!({"name": "acme"})).await.expect(201);
    let after = api.get("/admin/v1/version").await.expect(200);
    let counted = |version: &serde_json::Value| version["config_version"].as_i64().unwrap();
    assert_eq!(counted(&after), counted(&before) + 1);
}
