use serde_json::json;

use crate::client::Api;

#[tokio::test]
async fn a_bill_adds_up_line_by_line_and_is_the_same_as_csv() {
    let api = Api::new().await;
    let shop = api.shop().await;
    api.use_shop(&shop, 2).await;
    let path = format!("/admin/v1/bills/{}/2026-11", shop.tenant);
    let bill = api.get(&path).await.expect(200);
    assert_eq!((&bill["tenant"], &bill["requests"], &bill["is_complete"]), (&json!("acme"), &json!(2), &json!(false)));
    let section = &bill["sections"][0];
    let lines: Vec<_> = section["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            json!([line["class"], line["priced_as"], line["tokens"], line["price_per_million"], line["amount"]["amount"]])
        })
        .collect();
    assert_eq!(
        lines,
        [
            json!(["input_uncached", "input_uncached", 201, "3", "0.000603"]),
            json!(["output_reasoning", "output_text", 21, "15", "0.000315"]),
        ]
    );
    assert_eq!(section["exact"], json!({"amount": "0.000918", "currency": "USD"}));
    assert_eq!((&section["rounding"]["amount"], &section["total"]["amount"]), (&json!("-0.000918"), &json!("0")));

    let csv = api.get(&format!("{path}.csv")).await;
    assert_eq!((csv.status.as_u16(), csv.header("content-type")), (200, "text/csv; charset=utf-8"));
    let file = format!("attachment; filename=\"bill-{}-2026-11.csv\"", shop.tenant);
    assert_eq!(csv.header("content-disposition"), file);
    let rows: Vec<Vec<&str>> = csv.text().split_terminator("\r\n").map(|row| row.split(',').collect()).collect();
    let shown: Vec<_> = rows.iter().map(|row| [row[7], row[9], row[14], row[16]]).collect();
    assert_eq!(
        shown,
        [
            ["kind", "class", "tokens", "amount"],
            ["usage", "input_uncached", "201", "0.000603"],
            ["usage", "output_reasoning", "21", "0.000315"],
            ["rounding", "", "", "-0.000918"],
            ["total", "", "", "0.00"],
        ]
    );
}

#[tokio::test]
async fn the_bills_of_a_month_are_listed_one_a_tenant() {
    let api = Api::new().await;
    let shop = api.shop().await;
    api.use_shop(&shop, 1).await;
    api.post("/admin/v1/tenants", json!({"name": "idle"})).await.expect(201);
    let list = api.get("/admin/v1/bills").await.expect(200);
    let shown: Vec<_> =
        list["data"].as_array().unwrap().iter().map(|bill| json!([bill["tenant"], bill["period"], bill["requests"]])).collect();
    assert_eq!(shown, [json!(["idle", "2026-11", 0]), json!(["acme", "2026-11", 1])]);
    let first = api.get("/admin/v1/bills?limit=1").await.expect(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = api.get(&format!("/admin/v1/bills?limit=1&after={cursor}")).await.expect(200);
    assert_eq!((&second["data"][0]["tenant"], &second["has_more"]), (&json!("acme"), &json!(false)));
    let one = api.get(&format!("/admin/v1/bills?period=2026-10&tenant_id={}", shop.tenant)).await.expect(200);
    assert_eq!((&one["data"][0]["requests"], &one["data"][0]["totals"]), (&json!(0), &json!([])));
    assert_eq!(api.get("/admin/v1/bills?period=soon").await.problem(400).1, "period not_a_month");
}

#[tokio::test]
async fn a_month_that_is_none_and_a_tenant_that_is_none_are_said() {
    let api = Api::new().await;
    let shop = api.shop().await;
    assert_eq!(api.get(&format!("/admin/v1/bills/{}/2026-13", shop.tenant)).await.problem(400).1, "period not_a_month");
    let nobody = tallygate_types::TenantId::generate();
    assert_eq!(api.get(&format!("/admin/v1/bills/{nobody}/2026-11.csv")).await.problem(404).0, "not_found");
}
