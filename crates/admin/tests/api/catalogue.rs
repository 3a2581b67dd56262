use serde_json::json;

use crate::client::Api;

#[tokio::test]
async fn list_prices_are_found_by_provider_and_part_of_the_name() {
    let api = Api::new().await;
    let page = api.get("/admin/v1/catalogue?provider=anthropic&q=SONNET&limit=1").await.expect(200);
    let entry = &page["data"][0];
    assert_eq!((&entry["provider"], &entry["currency"]), (&json!("anthropic"), &json!("USD")));
    let model = entry["model"].as_str().unwrap();
    assert!(model.contains("sonnet"), "{entry}");
    assert!(entry["prices"]["input_uncached"].is_string(), "{entry}");
    let one = api.get(&format!("/admin/v1/catalogue?provider=anthropic&model={model}")).await.expect(200);
    assert_eq!((&one["data"], &one["has_more"]), (&json!([entry]), &json!(false)));
    assert_eq!(api.get("/admin/v1/catalogue?model=no-such-model").await.expect(200)["data"], json!([]));
    assert_eq!(api.get("/admin/v1/catalogue?after=x").await.problem(400).1, "after unreadable");
}

#[tokio::test]
async fn pages_of_the_catalogue_follow_each_other() {
    let api = Api::new().await;
    let first = api.get("/admin/v1/catalogue?limit=2").await.expect(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = api.get(&format!("/admin/v1/catalogue?limit=2&after={cursor}")).await.expect(200);
    let both = api.get("/admin/v1/catalogue?limit=4").await.expect(200);
    let joined: Vec<_> = [&first, &second].into_iter().flat_map(|page| page["data"].as_array().unwrap().clone()).collect();
    assert_eq!(both["data"], json!(joined));
}
