use serde_json::{Value, json};
use tallygate_store::users::Role;
use tallygate_types::{BudgetId, TenantId};

use crate::client::Api;

async fn tenant(api: &Api, name: &str) -> String {
    let body =
        json!({"name": name, "billing": {"mode": "prepaid", "balance_alert": "2.50", "alert_emails": ["ann@acme.example"]}});
    let made = api.post("/admin/v1/tenants", body).await.expect(201);
    let billing = json!({"mode": "prepaid", "currency": "USD", "balance_alert": "2.5", "alert_emails": ["ann@acme.example"]});
    assert_eq!(made["billing"], billing);
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_entry_is_booked_once_and_the_answer_says_so() {
    let api = Api::new().await;
    let tenant = tenant(&api, "acme").await;
    let path = format!("/admin/v1/tenants/{tenant}/balance-entries");
    let body = json!({"amount": "25.50", "currency": "USD", "reference": "order-1", "note": "by wire"});
    let booked = api.post(&path, body.clone()).await.expect(201);
    let expected = json!({
        "id": booked["id"], "tenant_id": tenant, "kind": "top_up", "amount": "25.5", "currency": "USD", "reference": "order-1",
        "note": "by wire", "booked_by": "test owner", "created_at": "2026-11-22T12:00:00.000000Z", "was_booked_before": false,
    });
    assert_eq!(booked, expected);
    let again = api.post(&path, body).await.expect(200);
    assert_eq!((&again["id"], &again["was_booked_before"]), (&booked["id"], &json!(true)));
    let other = api.post(&path, json!({"amount": "26", "reference": "order-1"})).await;
    assert_eq!(other.problem(409), ("already_exists".to_owned(), "/reference taken".to_owned()));

    let refused = async |body: Value| api.post(&path, body).await.problem(422).1;
    assert_eq!(refused(json!({"amount": "-1", "reference": "x"})).await, "/amount invalid");
    assert_eq!(refused(json!({"amount": "1", "reference": ""})).await, "/reference invalid");
    assert_eq!(refused(json!({"amount": "1", "reference": "x", "currency": "EUR"})).await, "/currency invalid");
    assert_eq!(refused(json!({"amount": 1, "reference": "x"})).await, "/amount invalid");
    assert_eq!(refused(json!({"kind": "voucher", "amount": "1", "reference": "x"})).await, "/kind invalid");
    let too_much = json!({"kind": "adjustment", "amount": "-25.51", "reference": "back"});
    assert_eq!(refused(too_much).await, "/amount more_than_is_left");
    api.post(&path, json!({"kind": "adjustment", "amount": "-5", "reference": "back"})).await.expect(201);

    let balance = api.get(&format!("/admin/v1/tenants/{tenant}/balance")).await.expect(200);
    let expected = json!({"tenant_id": tenant, "mode": "prepaid", "currency": "USD", "amount": "20.5", "spent": "0",
        "remaining": "20.5", "held": "0"});
    assert_eq!(balance, expected);
    let listed = api.get(&path).await.expect(200);
    let references: Vec<_> = listed["data"].as_array().unwrap().iter().map(|entry| entry["reference"].clone()).collect();
    assert_eq!(references, ["back", "order-1"]);
    assert_eq!(api.trail().await[..3], ["balance_entry.created back", "balance_entry.created order-1", "tenant.created acme"]);

    let snapshot = api.store.snapshot().await.unwrap();
    let id: TenantId = tenant.parse().unwrap();
    let entry = &snapshot.tenants[&id].budgets()[0];
    assert_eq!((entry.id, entry.settings.amount.to_string()), (BudgetId::of_balance(id), "20.5".to_owned()));
    let nobody = format!("/admin/v1/tenants/{}/balance-entries", TenantId::generate());
    assert_eq!(api.post(&nobody, json!({"amount": "1", "reference": "x"})).await.problem(404).0, "not_found");
}

#[tokio::test]
async fn a_voucher_is_shown_once_and_redeemed_once() {
    let api = Api::new().await;
    let (acme, beta) = (tenant(&api, "acme").await, tenant(&api, "beta").await);
    let minted = api
        .post("/admin/v1/vouchers", json!({"amount": "5", "currency": "USD", "count": 3, "note": "fair", "tenant_id": acme}))
        .await
        .expect(201);
    let minted = minted["data"].as_array().unwrap();
    assert_eq!(minted.len(), 3);
    let code = minted[0]["code"].as_str().unwrap();
    assert!(code.starts_with("TGV-") && code.ends_with(minted[0]["last4"].as_str().unwrap()), "{code}");
    let id = minted[0]["id"].as_str().unwrap();
    let read = api.get(&format!("/admin/v1/vouchers/{id}")).await;
    assert!(!read.text().contains(code), "shown once");
    assert_eq!((&read.json()["state"], &read.json()["expires_at"]), (&json!("open"), &json!("2027-11-22T12:00:00.000000Z")));

    let redeem = async |tenant: &str, code: &str| {
        api.post(&format!("/admin/v1/tenants/{tenant}:redeem-voucher"), json!({"code": code})).await
    };
    assert_eq!(redeem(&beta, code).await.problem(422).1, "/code not_a_voucher", "it is another's");
    assert_eq!(redeem(&acme, &code[..code.len() - 1]).await.problem(422).1, "/code not_a_voucher");
    let entry = redeem(&acme, &code.to_lowercase().replace('-', " ")).await.expect(200);
    assert_eq!(
        (&entry["kind"], &entry["amount"], &entry["reference"]),
        (&json!("voucher"), &json!("5"), &json!(format!("voucher:{id}")))
    );
    assert_eq!(redeem(&acme, code).await.problem(409).0, "voucher_redeemed");
    assert_eq!(api.act(&format!("/admin/v1/vouchers/{id}:revoke")).await.problem(409).0, "in_use");
    let (second, code) = (minted[1]["id"].as_str().unwrap(), minted[1]["code"].as_str().unwrap());
    for _ in 0..2 {
        let revoked = api.act(&format!("/admin/v1/vouchers/{second}:revoke")).await.expect(200);
        assert_eq!((&revoked["state"], &revoked["redeemed_at"]), (&json!("revoked"), &json!(null)));
    }
    assert_eq!(redeem(&acme, code).await.problem(409).0, "voucher_revoked");
    let states = async |query: &str| {
        let page = api.get(&format!("/admin/v1/vouchers?{query}")).await.expect(200);
        page["data"].as_array().unwrap().iter().map(|voucher| voucher["state"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(states("").await, ["open", "revoked", "redeemed"]);
    assert_eq!(states("state=redeemed").await, ["redeemed"]);
    assert_eq!(states(&format!("tenant_id={beta}")).await, [json!(null); 0]);
    let name = |n: usize| format!("5 USD …{}", minted[n]["last4"].as_str().unwrap());
    let trail = api.trail().await;
    assert_eq!(trail[..2], [format!("voucher.revoked {}", name(1)), format!("voucher.redeemed {}", name(0))]);
    assert!(!api.get("/admin/v1/audit-events").await.text().contains(&code[4..]), "no code is in the trail");

    let refused = async |body: Value| api.post("/admin/v1/vouchers", body).await.problem(422).1;
    assert_eq!(refused(json!({"amount": "0", "currency": "USD"})).await, "/amount invalid");
    assert_eq!(refused(json!({"amount": "5", "currency": "USD", "count": 1001})).await, "/count invalid");
    assert_eq!(
        refused(json!({"amount": "5", "currency": "USD", "expires_at": "2026-11-22T12:00:00Z"})).await,
        "/expires_at invalid"
    );
    let nobody = TenantId::generate();
    assert_eq!(refused(json!({"amount": "5", "currency": "USD", "tenant_id": nobody})).await, "/tenant_id unknown");
}

#[tokio::test]
async fn who_only_reads_balances_books_nothing() {
    let api = Api::new().await;
    let tenant = tenant(&api, "acme").await;
    let path = format!("/admin/v1/tenants/{tenant}/balance-entries");
    for (role, status) in [(Role::Admin, 403), (Role::Finance, 201), (Role::Auditor, 403)] {
        let token = api.token(role).await;
        let body = json!({"amount": "1", "reference": role.to_string()});
        api.call_as(&token, "POST", &path, &[], Some(&body)).await.expect(status);
        api.call_as(&token, "GET", &path, &[], None).await.expect(200);
    }
}
