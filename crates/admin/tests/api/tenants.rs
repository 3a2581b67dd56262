use serde_json::json;

use crate::client::Api;

#[tokio::test]
async fn a_tenant_is_created_read_changed_and_deleted() {
    let api = Api::new().await;
    let created = api
        .post(
            "/admin/v1/tenants",
            json!({"name": "acme", "time_zone": "Europe/Berlin", "limits": {"requests_per_minute": 600},
                "budget": {"amount": "100.00", "currency": "USD", "period": "month"}, "allowed_models": ["smart"],
                "responses": {"mode": "stored", "max_count": 5}}),
        )
        .await;
    let body = created.expect(201);
    let path = format!("/admin/v1/tenants/{}", body["id"].as_str().unwrap());
    assert_eq!(created.header("location"), path);
    assert_eq!(created.etag(), "\"v1\"");
    assert_eq!(body["status"], "active");
    assert_eq!(body["limits"], json!({"requests_per_minute": 600, "tokens_per_minute": null, "concurrency": null}));
    assert_eq!(body["budget"], json!({"amount": "100", "currency": "USD", "period": "month"}));

    let kept = json!({"mode": "stored", "lifetime_hours": 720, "max_bytes": 268_435_456, "max_count": 5});
    assert_eq!(body["responses"], kept);

    let changed = api
        .patch(
            &path,
            "\"v1\"",
            json!({"status": "suspended", "suspended_message": "unpaid", "budget": null, "limits": {"concurrency": 5},
                "responses": {"lifetime_hours": 1}}),
        )
        .await;
    let after = changed.expect(200);
    assert_eq!(changed.etag(), "\"v2\"");
    assert_eq!((&after["status"], &after["suspended_message"]), (&json!("suspended"), &json!("unpaid")));
    assert_eq!(after["budget"], json!(null), "null clears");
    assert_eq!(after["limits"], json!({"requests_per_minute": 600, "tokens_per_minute": null, "concurrency": 5}));
    let kept = json!({"mode": "stored", "lifetime_hours": 1, "max_bytes": 268_435_456, "max_count": 5});
    assert_eq!(after["responses"], kept);
    assert_eq!(after["time_zone"], "Europe/Berlin", "absent leaves");
    assert_eq!(api.get(&path).await.expect(200), after);

    api.delete(&path, "\"v2\"").await.expect(204);
    assert_eq!(api.get(&path).await.problem(404).0, "not_found");
    assert_eq!(api.trail().await, ["tenant.deleted acme", "tenant.updated acme", "tenant.created acme"]);
}

#[tokio::test]
async fn a_change_needs_the_version_it_was_made_from() {
    let api = Api::new().await;
    let body = api.post("/admin/v1/tenants", json!({"name": "acme"})).await.expect(201);
    let path = format!("/admin/v1/tenants/{}", body["id"].as_str().unwrap());
    assert_eq!(api.with("PATCH", &path, &[], Some(json!({"name": "x"}))).await.problem(428).0, "if_match_required");
    assert_eq!(api.patch(&path, "v1", json!({"name": "x"})).await.problem(400).0, "invalid_if_match");
    let cleared = api.patch(&path, "\"v1\"", json!({"name": null})).await;
    assert_eq!(cleared.problem(422).1, "/name invalid", "what every tenant has cannot be cleared");
    api.patch(&path, "\"v1\"", json!({"name": "globex"})).await.expect(200);
    let stale = api.patch(&path, "\"v1\"", json!({"name": "initech"})).await;
    assert_eq!(stale.problem(412).0, "version_mismatch");
    assert_eq!(stale.etag(), "\"v2\"");
    assert_eq!(stale.json()["current"]["name"], "globex");
}

#[tokio::test]
async fn what_cannot_be_accepted_is_pointed_at() {
    let api = Api::new().await;
    let refused = |body| {
        let api = &api;
        async move { api.post("/admin/v1/tenants", body).await.problem(422).1 }
    };
    assert_eq!(refused(json!({"name": "acme", "nome": 1})).await, "/nome unknown_field");
    assert_eq!(refused(json!({})).await, " required");
    assert_eq!(refused(json!({"name": ""})).await, "/name invalid");
    assert_eq!(refused(json!({"name": "acme", "time_zone": "Mars/Olympus"})).await, "/time_zone invalid");
    assert_eq!(refused(json!({"name": "acme", "limits": {"concurrency": 0}})).await, "/limits/concurrency not_positive");
    assert_eq!(refused(json!({"name": "acme", "limits": {"concurrency": "x"}})).await, "/limits/concurrency invalid");
    let negative = json!({"name": "acme", "budget": {"amount": "-1", "currency": "USD", "period": "month"}});
    assert_eq!(refused(negative).await, "/budget/amount invalid");
    api.post("/admin/v1/tenants", json!({"name": "acme"})).await.expect(201);
    let twice = api.post("/admin/v1/tenants", json!({"name": "acme"})).await.problem(409);
    assert_eq!(twice, ("already_exists".into(), "/name taken".into()));
    assert_eq!(api.trail().await, ["tenant.created acme"], "what failed left no trace");
}

#[tokio::test]
async fn a_list_comes_in_pages_and_knows_its_parameters() {
    let api = Api::new().await;
    for name in ["one", "two", "three"] {
        api.post("/admin/v1/tenants", json!({"name": name})).await.expect(201);
    }
    let names = |body: &serde_json::Value| -> Vec<String> {
        body["data"].as_array().unwrap().iter().map(|tenant| tenant["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = api.get("/admin/v1/tenants?limit=2").await.expect(200);
    assert_eq!(names(&first), ["three", "two"]);
    assert_eq!(first["has_more"], true);
    let cursor = first["next_cursor"].as_str().unwrap();
    let last = api.get(&format!("/admin/v1/tenants?limit=2&after={cursor}")).await.expect(200);
    assert_eq!(names(&last), ["one"]);
    assert_eq!((&last["has_more"], &last["next_cursor"]), (&json!(false), &json!(null)));
    assert_eq!(names(&api.get("/admin/v1/tenants?q=W").await.expect(200)), ["two"]);

    let refused = |path| {
        let api = &api;
        async move { api.get(path).await.problem(400) }
    };
    assert_eq!(refused("/admin/v1/tenants?limit=201").await, ("invalid_parameter".into(), "limit out_of_range".into()));
    assert_eq!(refused("/admin/v1/tenants?tenant=x").await, ("invalid_parameter".into(), "tenant unreadable".into()));
    assert_eq!(refused("/admin/v1/tenants?after=nonsense").await, ("invalid_parameter".into(), "after unreadable".into()));
}

#[tokio::test]
async fn the_trail_says_who_from_where_and_why() {
    let api = Api::new().await;
    let headers = [("x-tallygate-reason", "ticket 4711"), ("user-agent", "curl/8")];
    let created = api.with("POST", "/admin/v1/tenants", &headers, Some(json!({"name": "acme"}))).await;
    created.expect(201);
    let event = &api.get("/admin/v1/audit-events?action=tenant.created").await.expect(200)["data"][0];
    assert_eq!(event["reason"], "ticket 4711");
    assert_eq!(event["ip"], "192.0.2.7");
    assert_eq!(event["user_agent"], "curl/8");
    assert_eq!(event["request_id"], created.header("x-request-id"));
    assert_eq!((&event["actor"]["kind"], &event["actor"]["name"]), (&json!("admin_token"), &json!("test owner")));
    assert_eq!(event["after"]["name"], "acme");
    assert_eq!(event["before"], json!(null));
}

#[tokio::test]
async fn limits_hold_for_single_models_and_for_each_end_user() {
    let api = Api::new().await;
    let body =
        json!({"name": "acme", "model_limits": {"smart": {"requests_per_minute": 10}}, "end_user_limits": {"concurrency": 2}});
    let made = api.post("/admin/v1/tenants", body).await.expect(201);
    let of_smart = json!({"requests_per_minute": 10, "tokens_per_minute": null, "concurrency": null});
    assert_eq!(made["model_limits"], json!({"smart": of_smart}));
    assert_eq!(made["end_user_limits"], json!({"requests_per_minute": null, "tokens_per_minute": null, "concurrency": 2}));

    let path = format!("/admin/v1/tenants/{}", made["id"].as_str().unwrap());
    let refused = async |change| api.patch(&path, "\"v1\"", change).await.problem(422).1;
    let zero = json!({"model_limits": {"acme/smart": {"concurrency": 0}}});
    assert_eq!(refused(zero).await, "/model_limits/acme~1smart/concurrency not_positive");
    assert_eq!(refused(json!({"model_limits": {"": {}}})).await, "/model_limits invalid");
    assert_eq!(refused(json!({"model_limits": {"smart": {"rpm": 1}}})).await, "/model_limits/smart/rpm unknown_field");
    assert_eq!(
        refused(json!({"end_user_limits": {"tokens_per_minute": 0}})).await,
        "/end_user_limits/tokens_per_minute not_positive"
    );

    let kept = api.patch(&path, "\"v1\"", json!({"end_user_limits": {"tokens_per_minute": 900}})).await.expect(200);
    assert_eq!(kept["model_limits"], made["model_limits"], "absent leaves");
    assert_eq!(kept["end_user_limits"], json!({"requests_per_minute": null, "tokens_per_minute": 900, "concurrency": 2}));
    let other = json!({"model_limits": {"fast": {}}, "end_user_limits": {"tokens_per_minute": null, "concurrency": null}});
    let other = api.patch(&path, "\"v2\"", other).await.expect(200);
    let none = json!({"requests_per_minute": null, "tokens_per_minute": null, "concurrency": null});
    assert_eq!((&other["model_limits"], &other["end_user_limits"]), (&json!({"fast": none}), &none), "models are replaced");
}

#[tokio::test]
async fn a_budget_runs_for_a_day_a_month_or_for_good() {
    let api = Api::new().await;
    for period in ["day", "month", "total"] {
        let body = json!({"name": period, "budget": {"amount": "1", "currency": "USD", "period": period}});
        assert_eq!(api.post("/admin/v1/tenants", body).await.expect(201)["budget"]["period"], period);
    }
    let week = json!({"name": "week", "budget": {"amount": "1", "currency": "USD", "period": "week"}});
    assert_eq!(api.post("/admin/v1/tenants", week).await.problem(422).1, "/budget/period invalid");
}
