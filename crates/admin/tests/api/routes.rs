use serde_json::json;
use tallygate_types::UpstreamId;

use crate::client::Api;

#[tokio::test]
async fn a_route_is_created_changed_and_deleted_and_stands_in_the_trail() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let body = json!({
        "name": "batch",
        "match": {"tags": ["batch"], "models": ["smart"], "headers": {"x-team": "search*"}, "max_input_tokens": 1000},
        "routing": {"strategy": "cost", "split": {"by": "user", "arms": [{"name": "a", "weight": 9}, {"name": "b", "weight": 1}]},
            "hedge": {"after_ms": 800}},
        "targets": [
            {"upstream_id": shop.upstream, "upstream_model": "claude-haiku-5", "arm": "a", "cost": {"input": "0.80", "output": "4"}},
            {"upstream_id": shop.upstream, "upstream_model": "claude-haiku-5", "arm": "b", "price_model": "smart",
                "capabilities": {"context_tokens": 200_000, "images": false}},
        ],
    });
    let created = api.post("/admin/v1/routes", body).await;
    let route = created.expect(201);
    let path = created.header("location").to_owned();
    assert_eq!(path, format!("/admin/v1/routes/{}", route["id"].as_str().unwrap()));
    assert_eq!((&route["position"], &route["status"], &route["match"]["tenants"]), (&json!(10), &json!("active"), &json!([])));
    assert_eq!(route["routing"]["hedge"], json!({"after_ms": 800, "max_percent": 5, "daily_spend": null}));
    assert_eq!(route["targets"][0]["cost"], json!({"input": "0.8", "output": "4"}));
    let able = json!({"context_tokens": 200_000, "images": false, "documents": null, "tools": null});
    assert_eq!((&route["targets"][1]["capabilities"], &route["targets"][1]["upstream"]), (&able, &json!("anthropic-main")));
    assert_eq!(api.get(&path).await.expect(200), route);
    assert_eq!(api.get("/admin/v1/routes").await.expect(200)["data"], json!([route]));

    let changed = api.patch(&path, "\"v1\"", json!({"position": 3, "status": "disabled", "match": {}})).await;
    let after = changed.expect(200);
    assert_eq!((&after["position"], &after["status"], &after["match"]["tags"]), (&json!(3), &json!("disabled"), &json!([])));
    assert_eq!((&after["routing"], &after["targets"]), (&route["routing"], &route["targets"]));
    assert_eq!(api.patch(&path, "\"v1\"", json!({"name": "x"})).await.problem(412).0, "version_mismatch");
    api.with("DELETE", &path, &[], None).await.expect(428);
    api.delete(&path, changed.etag()).await.expect(204);
    api.get(&path).await.expect(404);
    assert_eq!(api.trail().await[..3], ["route.deleted batch", "route.updated batch", "route.created batch"]);
}

#[tokio::test]
async fn a_route_that_could_not_decide_is_refused_and_the_field_pointed_at() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let at = |more: serde_json::Value| {
        let mut target = json!({"upstream_id": shop.upstream, "upstream_model": "m"});
        target.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        target
    };
    let cases = [
        (json!({"name": "r", "targets": []}), "/targets invalid"),
        (
            json!({"name": "r", "targets": [{"upstream_id": UpstreamId::generate(), "upstream_model": "m"}]}),
            "/targets/0/upstream_id unknown",
        ),
        (json!({"name": "r", "targets": [at(json!({"arm": "x"}))]}), "/targets/arm invalid"),
        (
            json!({"name": "r", "targets": [at(json!({"cost": {"input": "x", "output": "1"}}))]}),
            "/targets/0/cost/input not_a_price",
        ),
        (json!({"name": "r", "targets": [at(json!({"price_model": "none"}))]}), "/targets/price_model invalid"),
        (json!({"name": "r", "match": {"headers": {"a b": "1"}}, "targets": [at(json!({}))]}), "/match/headers invalid"),
        (json!({"name": "r", "match": {"modles": []}, "targets": []}), "/match/modles unknown_field"),
        (
            json!({"name": "r", "routing": {"split": {"by": "moon", "arms": []}}, "targets": [at(json!({}))]}),
            "/routing/split/by invalid",
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(api.post("/admin/v1/routes", body.clone()).await.problem(422).1, expected, "{body}");
    }
    assert_eq!(api.get("/admin/v1/routes").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn a_rotation_makes_a_successor_and_lets_the_old_secret_retire() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let path = format!("/admin/v1/upstreams/{}/credentials/{}", shop.upstream, shop.credential);
    let bounds = json!({"weight": 4, "limits": {"requests_per_minute": 60, "daily_spend": "12.50"}});
    api.patch(&path, "\"v1\"", bounds).await.expect(200);
    let rotate = format!("/admin/v1/credentials/{}/rotate", shop.credential);
    let answer = api.post(&rotate, json!({"secret": "sk-ant-secret-two", "overlap_seconds": 600})).await;
    let successor = answer.expect(201);
    assert_eq!((&successor["name"], &successor["weight"], &successor["retires_at"]), (&json!("a1-2"), &json!(4), &json!(null)));
    assert_eq!(successor["limits"]["daily_spend"], "12.5");
    assert!(!String::from_utf8(answer.body.clone()).unwrap().contains("secret-two"));
    let old = api.get(&path).await.expect(200);
    assert_eq!(
        (&old["retires_at"], &old["status"], &old["version"]),
        (&json!("2026-11-22T12:10:00.000000Z"), &json!("active"), &json!(3))
    );
    assert_eq!(api.trail().await[..2], ["credential.rotated a1", "credential.created a1-2"]);
    let long = api.post(&rotate, json!({"secret": "x", "overlap_seconds": 9_999_999})).await;
    assert_eq!(long.problem(422).1, "/overlap_seconds out_of_range");
    let kept = api.patch(&path, "\"v3\"", json!({"retires_at": null})).await.expect(200);
    assert_eq!(kept["retires_at"], json!(null));
}

#[tokio::test]
async fn models_upstreams_and_keys_carry_what_routing_reads() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let routing = json!({"strategy": "latency", "affinity": "off", "split": null, "hedge": null});
    let model = api.patch(&format!("/admin/v1/models/{}", shop.model), "\"v1\"", json!({"routing": routing})).await.expect(200);
    assert_eq!(model["routing"], routing);
    let upstream = json!({"local": true, "credential_strategy": "least_in_flight", "no_proxy": ["10.0.0.0/8"],
        "proxy": ["http://me:pass@127.0.0.1:1", "socks5://127.0.0.1:2"], "timeouts": {"first_token_ms": 9000}});
    let upstream = api.patch(&format!("/admin/v1/upstreams/{}", shop.upstream), "\"v1\"", upstream).await.expect(200);
    assert_eq!(upstream["proxy"], json!(["http://me:***@127.0.0.1:1", "socks5://127.0.0.1:2"]));
    assert_eq!((&upstream["local"], &upstream["timeouts"]["first_token_ms"]), (&json!(true), &json!(9000)));
    api.post("/admin/v1/projects", json!({"tenant_id": shop.tenant, "name": "search"})).await.expect(201);
    let labels = json!({"project": "search", "tags": ["batch"]});
    let key = api.patch(&format!("/admin/v1/api-keys/{}", shop.key), "\"v1\"", labels).await.expect(200);
    assert_eq!((&key["project"], &key["tags"]), (&json!("search"), &json!(["batch"])));
}
