use serde_json::{Value, json};
use tallygate_billing::{Draw, Draws};
use tallygate_store::BudgetPeriod;
use tallygate_store::users::Role;
use tallygate_types::{BudgetId, Timestamp};

use crate::client::Api;

/// A window of a budget in Berlin, in the month and on the day of the tests.
fn draw(budget: &Value, subject: &str, period: BudgetPeriod) -> Draw {
    let (since, until) = match period {
        BudgetPeriod::Day => ("2026-11-21T23:00:00Z", "2026-11-22T23:00:00Z"),
        BudgetPeriod::Month => ("2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"),
        BudgetPeriod::Total => unreachable!(),
    };
    let at = |text| Timestamp::parse(text).unwrap();
    let budget: BudgetId = budget.as_str().unwrap().parse().unwrap();
    Draw { budget, subject: subject.into(), period, since: at(since), until: at(until) }
}

/// What a row says, in one line.
fn line(row: &Value) -> Value {
    let fields = ["scope", "subject_name", "period", "amount", "spent", "remaining", "percent", "overspent", "is_used_up"];
    Value::Array(fields.iter().map(|field| row[field].clone()).collect())
}

#[tokio::test]
async fn every_budget_is_shown_with_its_window() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let own = json!({"time_zone": "Europe/Berlin", "budget": {"amount": "0.01", "currency": "USD", "period": "month"}});
    api.patch(&format!("/admin/v1/tenants/{}", shop.tenant), "\"v1\"", own).await.expect(200);
    let project = api.post("/admin/v1/projects", json!({"tenant_id": shop.tenant, "name": "web"})).await.expect(201);
    let made = async |more: Value| {
        let mut body = json!({"tenant_id": shop.tenant, "currency": "USD"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        api.post("/admin/v1/budgets", body).await.expect(201)["id"].clone()
    };
    let each = made(json!({"scope": "end_user", "period": "month", "amount": "0.01"})).await;
    let vip = made(json!({"scope": "end_user", "end_user": "u3", "period": "month", "amount": "1"})).await;
    let key = made(json!({"scope": "key", "key_id": shop.key, "period": "month", "amount": "0.0014", "mode": "soft",
        "alerts": [80]}))
    .await;
    let model = made(json!({"scope": "model", "model": "smart", "period": "day", "amount": "0.002"})).await;
    made(json!({"scope": "project", "project_id": project["id"], "period": "total", "amount": "0.01"})).await;

    let tenant = json!(shop.tenant.replace("ten_", "bud_"));
    api.use_shop_within(&shop, 3, |n| {
        Draws::new(vec![
            draw(&tenant, "", BudgetPeriod::Month),
            // Of the period that the budget had before.
            draw(&tenant, "", BudgetPeriod::Day),
            draw(&key, "", BudgetPeriod::Month),
            draw(&model, "", BudgetPeriod::Day),
            draw(&each, if n < 2 { "u1" } else { "u2" }, BudgetPeriod::Month),
        ])
    })
    .await;

    let path = format!("/admin/v1/tenants/{}/budgets", shop.tenant);
    let rows = api.get(&path).await.expect(200)["data"].clone();
    let lines: Vec<_> = rows.as_array().unwrap().iter().map(line).collect();
    assert_eq!(
        lines,
        [
            json!(["tenant", null, "month", "0.01", "0.001404", "0.008596", 14, "0", false]),
            json!(["project", "web", "total", "0.01", "0", "0.01", 0, "0", false]),
            json!(["key", "ci", "month", "0.0014", "0.001404", "0", 100, "0.000004", true]),
            json!(["model", "smart", "day", "0.002", "0.001404", "0.000596", 70, "0", false]),
            json!(["end_user", "u1", "month", "0.01", "0.000918", "0.009082", 9, "0", false]),
            json!(["end_user", "u2", "month", "0.01", "0.000486", "0.009514", 4, "0", false]),
            json!(["end_user", "u3", "month", "1", "0", "1", 0, "0", false]),
        ]
    );
    assert_eq!((&rows[0]["id"], &rows[0]["version"], &rows[0]["mode"]), (&json!(null), &json!(null), &json!("hard")));
    assert_eq!(rows[0]["starts_at"], "2026-10-31T23:00:00.000000Z");
    assert_eq!(rows[0]["resets_at"], "2026-11-30T23:00:00.000000Z");
    assert_eq!((&rows[1]["starts_at"], &rows[1]["resets_at"]), (&json!(null), &json!(null)), "a total never ends");
    assert_eq!((&rows[2]["id"], &rows[2]["mode"], &rows[2]["alerts"]), (&key, &json!("soft"), &json!([80])));
    assert_eq!((&rows[2]["key_id"], &rows[2]["version"]), (&json!(shop.key), &json!(1)));
    assert_eq!(rows[3]["resets_at"], "2026-11-22T23:00:00.000000Z", "the day ends in Berlin");
    assert_eq!((&rows[4]["id"], &rows[4]["end_user"], &rows[4]["is_of_each"]), (&each, &json!("u1"), &json!(true)));
    assert_eq!((&rows[6]["id"], &rows[6]["is_of_each"]), (&vip, &json!(false)));

    let ops = api.token(Role::Ops).await;
    let hidden = api.call_as(&ops, "GET", &path, &[], None).await.expect(200);
    assert_eq!(line(&hidden["data"][2]), json!(["key", "ci", "month", null, null, null, null, null, true]));
}

#[tokio::test]
async fn a_window_that_is_over_does_not_count() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let own = json!({"time_zone": "Europe/Berlin", "budget": {"amount": "1", "currency": "USD", "period": "day"}});
    let path = format!("/admin/v1/tenants/{}", shop.tenant);
    api.patch(&path, "\"v1\"", own).await.expect(200);
    let tenant = json!(shop.tenant.replace("ten_", "bud_"));
    api.use_shop_within(&shop, 1, |_| Draws::new(vec![draw(&tenant, "", BudgetPeriod::Day)])).await;
    let spent = async || api.get(&format!("{path}/budgets")).await.expect(200)["data"][0]["spent"].clone();
    assert_eq!(spent().await, "0.00045");
    api.store.clock.advance(std::time::Duration::from_hours(11) - std::time::Duration::from_micros(1));
    assert_eq!(spent().await, "0.00045");
    api.store.clock.advance(std::time::Duration::from_micros(1));
    assert_eq!(spent().await, "0", "it is midnight in Berlin");
}

#[tokio::test]
async fn a_tenant_without_budgets_has_none_and_nobody_has_no_list() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let page = api.get(&format!("/admin/v1/tenants/{}/budgets", shop.tenant)).await.expect(200);
    assert_eq!(page, json!({"data": [], "has_more": false, "next_cursor": null}));
    let nobody = tallygate_types::TenantId::generate();
    assert_eq!(api.get(&format!("/admin/v1/tenants/{nobody}/budgets")).await.problem(404).0, "not_found");
}
