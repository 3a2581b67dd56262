use std::time::Duration;

use serde_json::json;
use tallygate_store::users::Role;
use tallygate_types::UpstreamId;

use crate::client::Api;

#[tokio::test]
async fn a_model_is_created_with_targets_and_a_price_and_changed_as_a_whole() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let path = format!("/admin/v1/models/{}", shop.model);
    let model = api.get(&path).await.expect(200);
    let target = &model["targets"][0];
    assert_eq!((&target["upstream"], &target["weight"], &target["priority"]), (&json!("anthropic-main"), &json!(1), &json!(1)));
    assert_eq!(model["price"]["prices"], json!({"input_uncached": "3", "output_text": "15"}));
    assert_eq!(model["price"]["created_by"], "test owner");

    let targets = json!([
        {"upstream_id": shop.upstream, "upstream_model": "claude-opus-5", "weight": 3, "priority": 2},
        {"upstream_id": shop.upstream, "upstream_model": "claude-haiku-5", "weight": 1, "priority": 1},
    ]);
    let changed = api.patch(&path, "\"v1\"", json!({"strict": true, "aliases": ["claude-smart"], "targets": targets})).await;
    let after = changed.expect(200);
    let order: Vec<_> = after["targets"].as_array().unwrap().iter().map(|target| target["upstream_model"].clone()).collect();
    assert_eq!(order, ["claude-haiku-5", "claude-opus-5"]);
    assert_eq!((&after["name"], &after["strict"], &after["price"]), (&json!("smart"), &json!(true), &model["price"]));
    assert_eq!((&model["aliases"], &after["aliases"]), (&json!([]), &json!(["claude-smart"])));
    assert_eq!(api.get(&path).await.expect(200), after);
    assert_eq!(api.get("/admin/v1/models").await.expect(200)["data"], json!([after]));

    let stale = api.patch(&path, "\"v1\"", json!({"name": "x"})).await;
    assert_eq!((stale.problem(412).0.as_str(), &stale.json()["current"]), ("version_mismatch", &after));
    api.with("DELETE", &path, &[], None).await.expect(428);
    api.delete(&path, "\"v1\"").await.expect(412);
    api.delete(&path, changed.etag()).await.expect(204);
    api.get(&path).await.expect(404);
    assert_eq!(api.get(&format!("{path}/prices")).await.expect(200)["data"][0]["id"], model["price"]["id"], "bills name it");
    assert_eq!(api.trail().await[..3], ["model.deleted smart", "model.updated smart", "model.created smart"]);
}

#[tokio::test]
async fn a_model_that_cannot_be_is_refused_and_leaves_nothing() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let before = api.trail().await;
    let target = |upstream: &str| json!([{"upstream_id": upstream, "upstream_model": "m"}]);
    let nowhere = json!({"name": "x", "targets": target(&UpstreamId::generate().to_string())});
    assert_eq!(api.post("/admin/v1/models", nowhere).await.problem(422).1, "/targets/0/upstream_id unknown");
    let taken = json!({"name": "smart", "targets": target(&shop.upstream)});
    assert_eq!(api.post("/admin/v1/models", taken).await.problem(409).1, "/name taken");
    let again = json!({"name": "x", "aliases": ["smart"], "targets": target(&shop.upstream)});
    assert_eq!(api.post("/admin/v1/models", again).await.problem(409).1, "/aliases taken");
    let priced = |price| json!({"name": "x", "targets": target(&shop.upstream), "price": price});
    let inexact = priced(json!({"currency": "USD", "prices": {"input_uncached": "3.0000000000001"}}));
    assert_eq!(api.post("/admin/v1/models", inexact).await.problem(422).1, "/price/prices/input_uncached not_a_price");
    let empty = priced(json!({"currency": "USD", "prices": {}}));
    assert_eq!(api.post("/admin/v1/models", empty).await.problem(422).1, "/price/prices required");
    assert_eq!(api.get("/admin/v1/models").await.expect(200)["data"].as_array().unwrap().len(), 1);
    assert_eq!(api.trail().await, before);
}

#[tokio::test]
async fn a_price_follows_the_one_before_and_none_begins_in_the_past() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let path = format!("/admin/v1/models/{}/prices", shop.model);
    let price = |from: Option<&str>, text: &str| json!({"currency": "USD", "valid_from": from, "prices": {"output_text": text}});
    let past = api.post(&path, price(Some("2026-11-22T11:59:59Z"), "16")).await;
    assert_eq!(past.problem(422).1, "/valid_from in_the_past");
    let next = api.post(&path, price(Some("2026-11-23T00:00:00Z"), "16.5")).await.expect(201);
    assert_eq!(next["prices"], json!({"output_text": "16.5"}));
    assert_eq!(api.post(&path, price(Some("2026-11-23T00:00:00Z"), "17")).await.problem(409).1, "/valid_from taken");
    let list = api.get(&path).await.expect(200);
    assert_eq!((&list["data"][0], list["data"].as_array().unwrap().len()), (&next, 2));

    let model = format!("/admin/v1/models/{}", shop.model);
    assert_eq!(api.get(&model).await.expect(200)["price"]["prices"]["output_text"], "15");
    api.store.clock.advance(Duration::from_hours(13));
    assert_eq!(api.get(&model).await.expect(200)["price"]["id"], next["id"]);
    let finance = api.token(Role::Finance).await;
    api.call_as(&finance, "POST", &path, &[], Some(&price(None, "18"))).await.expect(201);
    assert_eq!(api.get(&model).await.expect(200)["price"]["created_by"], "test finance");
    assert_eq!(api.trail().await[..2], ["price.created smart", "price.created smart"]);
}
