use serde_json::json;

use crate::client::Api;

#[tokio::test]
async fn usage_is_summed_by_hour_day_or_whole_and_by_group() {
    let api = Api::new().await;
    let shop = api.shop().await;
    api.use_shop(&shop, 2).await;
    let range = "from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z";
    let report = api.get(&format!("/admin/v1/usage?{range}&group_by=tenant")).await.expect(200);
    assert_eq!((&report["bucket"], &report["group_by"], &report["truncated"]), (&json!("hour"), &json!("tenant"), &json!(false)));
    assert_eq!(report["data"].as_array().unwrap().len(), 1);
    let point = &report["data"][0];
    assert_eq!(point["start"], "2026-11-22T12:00:00.000000Z");
    assert_eq!((&point["group"], &point["group_name"]), (&json!(shop.tenant), &json!("acme")));
    assert_eq!((&point["requests"], &point["errors"]), (&json!(2), &json!(0)));
    assert_eq!((&point["input_tokens"], &point["usage"]["output_reasoning"]), (&json!(201), &json!(21)));
    assert_eq!(point["charges"], json!([{"amount": "0.000918", "currency": "USD"}]));
    assert_eq!((&point["mean_duration_ms"], &point["mean_first_byte_ms"]), (&json!(900), &json!(200)));

    let day = api.get(&format!("/admin/v1/usage?{range}&bucket=day&time_zone=Asia/Tokyo")).await.expect(200);
    assert_eq!(day["data"][0]["start"], "2026-11-21T15:00:00.000000Z");
    let total = api.get(&format!("/admin/v1/usage?{range}&bucket=total&group_by=model")).await.expect(200);
    assert_eq!((&total["data"][0]["group"], &total["data"][0]["requests"]), (&json!("smart"), &json!(2)));
    let other = api.get(&format!("/admin/v1/usage?{range}&model=other")).await.expect(200);
    assert_eq!(other["data"], json!([]));
}

#[tokio::test]
async fn a_range_that_ends_before_it_begins_is_refused() {
    let api = Api::new().await;
    let refused = api.get("/admin/v1/usage?from=2026-11-23T00:00:00Z&to=2026-11-22T00:00:00Z").await;
    assert_eq!(refused.problem(400), ("invalid_parameter".into(), "to out_of_range".into()));
    let zone = api.get("/admin/v1/usage?bucket=day&time_zone=Mars/Olympus").await;
    assert_eq!(zone.problem(400), ("invalid_parameter".into(), "time_zone invalid".into()));
}
