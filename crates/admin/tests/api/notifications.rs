use std::time::Duration;

use serde_json::json;
use tallygate_billing::alerts::{self, Fate};
use tallygate_billing::{Draw, Draws, period_at};
use tallygate_store::BudgetPeriod;
use tallygate_types::{BudgetId, Clock as _};

use crate::client::Api;

#[tokio::test]
async fn what_is_told_is_listed_and_told_anew_when_it_was_given_up() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let tenant = format!("/admin/v1/tenants/{}", shop.tenant);
    let budget = json!({"budget": {"amount": "0.000001", "currency": "USD", "period": "month"}});
    api.patch(&tenant, "\"v1\"", budget).await.expect(200);

    let window = period_at(BudgetPeriod::Month, api.store.clock.now(), "UTC");
    let own = BudgetId::from_uuid(shop.tenant_id().uuid());
    let draw = Draw { budget: own, subject: "".into(), period: BudgetPeriod::Month, since: window.start, until: window.end };
    api.use_shop_within(&shop, 1, |_| Draws::new(vec![draw.clone()])).await;

    let listed = api.get("/admin/v1/notifications").await.expect(200);
    let percents: Vec<_> = listed["data"].as_array().unwrap().iter().map(|told| told["event"]["percent"].clone()).collect();
    assert_eq!(percents, [100, 80]);
    let first = &listed["data"][1];
    assert_eq!((&first["state"], &first["attempts"], &first["event"]["id"]), (&json!("pending"), &json!(0), &first["id"]));
    assert_eq!(first["event"]["tenant"], json!({"id": shop.tenant, "name": "acme"}));
    let path = format!("/admin/v1/notifications/{}:retry", first["id"].as_str().unwrap());
    assert_eq!(api.act(&path).await.problem(409).0, "not_given_up");

    let claimed = alerts::claim(&api.store, Duration::from_mins(1)).await.unwrap().unwrap().notification;
    let fate = Fate::GivenUp { error: "nobody listens".into() };
    alerts::finish(&api.store, &claimed, &[], &fate).await.unwrap();
    let failed = api.get("/admin/v1/notifications?state=failed").await.expect(200);
    assert_eq!((&failed["data"][0]["last_error"], &failed["data"][1]), (&json!("nobody listens"), &json!(null)));
    let retried = api.act(&path).await.expect(200);
    assert_eq!((&retried["state"], &retried["attempts"]), (&json!("pending"), &json!(0)));
    assert!(api.trail().await[0].starts_with("notification.retried"));
    let none = format!("/admin/v1/notifications?tenant_id={}", tallygate_types::TenantId::generate());
    assert_eq!(api.get(&none).await.expect(200)["data"], json!([]));
}
