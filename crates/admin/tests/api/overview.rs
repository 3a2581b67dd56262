use serde_json::json;
use tallygate_billing::period_at;
use tallygate_store::users::Role;
use tallygate_store::{BudgetPeriod, Db};
use tallygate_types::{Clock as _, TenantId};

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

#[tokio::test]
async fn a_budget_that_runs_out_is_named_with_figures_only_to_who_may_see_money() {
    let api = Api::new().await;
    for (name, cents) in [("calm", 79_i64), ("near", 80), ("over", 100)] {
        let budget = json!({"amount": "1", "currency": "USD", "period": "month"});
        let tenant = api.post("/admin/v1/tenants", json!({"name": name, "budget": budget})).await.expect(201);
        let tenant: TenantId = tenant["id"].as_str().unwrap().parse().unwrap();
        let Db::Lite { write, .. } = api.store.db() else { panic!("not SQLite") };
        let month = period_at(BudgetPeriod::Month, api.store.clock.now(), "UTC");
        sqlx::query(
            "INSERT INTO budget_windows (budget_id, subject, period, since, currency, until, spent_units, spent_pico)
             VALUES ($1, '', 'month', $2, 'USD', $3, $4, $5)",
        )
        .bind(tenant.uuid())
        .bind(month.start.micros())
        .bind(month.end.micros())
        .bind(cents / 100)
        .bind(cents % 100 * 10_000_000_000)
        .execute(write)
        .await
        .unwrap();
    }
    let shown = |overview: serde_json::Value| -> Vec<serde_json::Value> {
        let items = overview["attention"].as_array().unwrap();
        items.iter().map(|item| json!([item["code"], item["target_name"], item["detail"]])).collect()
    };
    assert_eq!(
        shown(api.get("/admin/v1/overview").await.expect(200)),
        [
            json!(["tenant_over_budget", "over", "1 of 1 USD are spent this month."]),
            json!(["tenant_near_budget", "near", "0.8 of 1 USD are spent this month."]),
        ]
    );
    let ops = api.token(Role::Ops).await;
    assert_eq!(
        shown(api.call_as(&ops, "GET", "/admin/v1/overview", &[], None).await.expect(200)),
        [
            json!(["tenant_over_budget", "over", "Its budget is spent this month."]),
            json!(["tenant_near_budget", "near", "At least 80 % of its budget are spent this month."]),
        ]
    );
}
