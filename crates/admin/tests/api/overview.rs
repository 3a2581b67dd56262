use serde_json::json;

use crate::client::Api;

#[tokio::test]
async fn an_empty_installation_shows_what_to_do_first() {
    let api = Api::new().await;
    let overview = api.get("/admin/v1/overview").await.expect(200);
    assert_eq!(
        overview["getting_started"],
        json!({"has_upstream": false, "has_model": false, "has_price": false, "has_tenant": false, "has_api_key": false,
            "latest_request_id": null})
    );
    assert_eq!(overview["latency"], json!(null));
    assert_eq!(api.get("/admin/v1/overview?window_hours=0").await.problem(400).1, "window_hours out_of_range");
}

#[tokio::test]
async fn a_window_is_summed_and_what_is_wrong_is_named() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let ids = api.use_shop(&shop, 3).await;
    api.store.clock.advance(std::time::Duration::from_hours(1));
    let unpriced = json!({"name": "cheap", "targets": [{"upstream_id": shop.upstream, "upstream_model": "m"}]});
    api.post("/admin/v1/models", unpriced).await.expect(201);
    let bare = json!({"name": "bare", "dialect": "gemini", "base_url": "https://example.com"});
    api.post("/admin/v1/upstreams", bare).await.expect(201);
    let overview = api.get("/admin/v1/overview").await.expect(200);
    assert_eq!((&overview["totals"]["requests"], &overview["totals"]["input_tokens"]), (&json!(3), &json!(303)));
    assert_eq!(overview["previous"]["requests"], 0);
    assert_eq!(overview["counts"], json!({"tenants": 1, "api_keys": 1, "upstreams": 2, "models": 2}));
    assert_eq!((&overview["top_tenants"][0]["name"], &overview["top_models"][0]["name"]), (&json!("acme"), &json!("smart")));
    assert_eq!((&overview["latency"]["sample"], &overview["latency"]["duration_ms_p95"]), (&json!(3), &json!(900)));
    assert_eq!(overview["getting_started"]["latest_request_id"], ids[2].to_string());
    let attention: Vec<_> = overview["attention"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| json!([item["severity"], item["code"], item["target_name"]]))
        .collect();
    assert_eq!(
        attention,
        [json!(["critical", "model_unpriced", "cheap"]), json!(["warning", "upstream_without_credential", "bare"])]
    );
}
