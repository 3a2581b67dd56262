use std::time::Duration;

use serde_json::json;
use tallygate_store::users::Role;
use tallygate_types::RequestId;

use crate::client::Api;

#[tokio::test]
async fn calls_are_listed_newest_first_and_filtered() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let ids = api.use_shop(&shop, 3).await;
    let list = api.get("/admin/v1/requests").await.expect(200);
    let shown: Vec<_> = list["data"].as_array().unwrap().iter().map(|call| call["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(shown, ids.iter().rev().map(ToString::to_string).collect::<Vec<_>>());
    let newest = &list["data"][0];
    assert_eq!((&newest["tenant"], &newest["key"], &newest["outcome"]), (&json!("acme"), &json!("ci"), &json!("ok")));
    assert_eq!((&newest["input_tokens"], &newest["output_tokens"]), (&json!(102), &json!(12)));
    assert_eq!((&newest["first_byte_ms"], &newest["duration_ms"]), (&json!(200), &json!(900)));
    assert_eq!(newest["charge"], json!({"amount": "0.000486", "currency": "USD"}));

    let first = api.get("/admin/v1/requests?limit=2").await.expect(200);
    let rest = api.get(&format!("/admin/v1/requests?limit=2&after={}", first["next_cursor"].as_str().unwrap())).await.expect(200);
    assert_eq!((&rest["data"][0]["id"], &rest["has_more"]), (&json!(ids[0].to_string()), &json!(false)));
    let count =
        async |query: &str| api.get(&format!("/admin/v1/requests?{query}")).await.expect(200)["data"].as_array().unwrap().len();
    assert_eq!(count(&format!("tenant_id={}&key_id={}&model=smart&outcome=ok&status=200", shop.tenant, shop.key)).await, 3);
    assert_eq!(count("errors_only=true").await, 0);
    assert_eq!(count("from=2026-11-22T12:00:01Z&to=2026-11-22T12:00:02Z").await, 1);
    assert_eq!(api.get("/admin/v1/requests?outcome=fine").await.problem(400).0, "invalid_parameter");
}

#[tokio::test]
async fn a_call_shows_the_arithmetic_of_its_charge() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let ids = api.use_shop(&shop, 1).await;
    let path = format!("/admin/v1/requests/{}", ids[0]);
    let call = api.get(&path).await.expect(200);
    assert_eq!(
        call["charge_lines"],
        json!([
            {"class": "input_uncached", "priced_as": "input_uncached", "tokens": 100, "price_per_million": "3",
                "amount": {"amount": "0.0003", "currency": "USD"}},
            {"class": "output_reasoning", "priced_as": "output_text", "tokens": 10, "price_per_million": "15",
                "amount": {"amount": "0.00015", "currency": "USD"}},
        ])
    );
    assert_eq!((&call["charge"]["amount"], &call["reserved"]["amount"]), (&json!("0.00045"), &json!("0.001")));
    assert_eq!((&call["usage"]["output_reasoning"], &call["bytes_in"]), (&json!(10), &json!(400)));
    let nothing = format!("/admin/v1/requests/{}", RequestId::generate());
    assert_eq!(api.get(&nothing).await.problem(404).0, "not_found");
}

#[tokio::test]
async fn whoever_may_not_see_money_sees_none_anywhere() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let ids = api.use_shop(&shop, 1).await;
    api.store.clock.advance(Duration::from_mins(30));
    let ops = api.token(Role::Ops).await;
    let get = async |path: &str| api.call_as(&ops, "GET", path, &[], None).await.expect(200);
    let call = get(&format!("/admin/v1/requests/{}", ids[0])).await;
    assert_eq!((&call["charge"], &call["reserved"], &call["charge_lines"]), (&json!(null), &json!(null), &json!([])));
    assert_eq!(get("/admin/v1/requests").await["data"][0]["charge"], json!(null));
    assert_eq!(get("/admin/v1/usage?to=2026-11-22T13:00:00Z").await["data"][0]["charges"], json!([]));
    let overview = get("/admin/v1/overview").await;
    assert_eq!(overview["totals"]["charges"], json!([]));
    assert_eq!(overview["top_tenants"][0]["charges"], json!([]));
}
