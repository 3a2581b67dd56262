use serde_json::{Value, json};
use tallygate_store::users::Role;

use crate::client::Api;
use crate::shop::Shop;

/// A budget of this scope and what it is of, of ten dollars a month.
fn budget(shop: &Shop, more: Value) -> Value {
    let mut body = json!({"tenant_id": shop.tenant, "period": "month", "amount": "10", "currency": "USD"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_budget_is_made_changed_and_deleted() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let body = budget(&shop, json!({"scope": "key", "key_id": shop.key, "mode": "soft", "alerts": [50, 100]}));
    let created = api.post("/admin/v1/budgets", body).await;
    let body = created.expect(201);
    let path = format!("/admin/v1/budgets/{}", body["id"].as_str().unwrap());
    assert_eq!((created.header("location"), created.etag()), (path.as_str(), "\"v1\""));
    let expected = json!({
        "id": body["id"], "tenant_id": shop.tenant, "scope": "key", "project_id": null, "key_id": shop.key, "model": null,
        "end_user": null, "period": "month", "amount": "10", "currency": "USD", "mode": "soft", "alerts": [50, 100],
        "managed_by": "api", "version": 1, "created_at": body["created_at"], "updated_at": body["created_at"],
    });
    assert_eq!(body, expected);

    assert_eq!(api.with("PATCH", &path, &[], Some(json!({}))).await.problem(428).0, "if_match_required");
    let refused = async |change| api.patch(&path, "\"v1\"", change).await.problem(422).1;
    for (field, value) in [("scope", json!("tenant")), ("period", json!("day")), ("currency", json!("EUR"))] {
        assert_eq!(refused(json!({field: value})).await, format!("/{field} unknown_field"), "it says what was counted");
    }
    assert_eq!(refused(json!({"amount": "-1"})).await, "/amount invalid");
    assert_eq!(refused(json!({"amount": null})).await, "/amount invalid");
    assert_eq!(refused(json!({"alerts": [90, 80]})).await, "/alerts invalid");
    assert_eq!(refused(json!({"alerts": [0]})).await, "/alerts invalid");

    let changed = api.patch(&path, "\"v1\"", json!({"amount": "12.50", "mode": "hard", "alerts": []})).await;
    let after = changed.expect(200);
    assert_eq!((&after["amount"], &after["mode"], &after["alerts"]), (&json!("12.5"), &json!("hard"), &json!([])));
    let stale = api.patch(&path, "\"v1\"", json!({"amount": "1"})).await;
    assert_eq!((stale.problem(412).0.as_str(), &stale.json()["current"]), ("version_mismatch", &after));
    assert_eq!(api.get(&path).await.expect(200), after);
    api.delete(&path, "\"v2\"").await.expect(204);
    assert_eq!(api.get(&path).await.problem(404).0, "not_found");
    assert_eq!(api.trail().await[..3], ["budget.deleted key:ci", "budget.updated key:ci", "budget.created key:ci"]);
}

#[tokio::test]
async fn a_budget_says_whom_it_is_of_and_nothing_beside() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let project = api.post("/admin/v1/projects", json!({"tenant_id": shop.tenant, "name": "web"})).await.expect(201);
    for (more, trail) in [
        (json!({"scope": "tenant", "period": "day"}), "tenant"),
        (json!({"scope": "project", "project_id": project["id"], "period": "total"}), "project:web"),
        (json!({"scope": "key", "key_id": shop.key}), "key:ci"),
        (json!({"scope": "model", "model": "smart"}), "model:smart"),
        (json!({"scope": "end_user"}), "end_user"),
        (json!({"scope": "end_user", "end_user": "u1"}), "end_user:u1"),
    ] {
        let made = api.post("/admin/v1/budgets", budget(&shop, more.clone())).await.expect(201);
        for (field, value) in more.as_object().unwrap() {
            assert_eq!(made[field], *value);
        }
        assert_eq!((&made["mode"], &made["alerts"]), (&json!("hard"), &json!([])));
        assert_eq!(api.trail().await[0], format!("budget.created {trail}"));
    }

    let refused = async |more| api.post("/admin/v1/budgets", budget(&shop, more)).await.problem(422).1;
    assert_eq!(refused(json!({"scope": "project"})).await, "/project_id required");
    assert_eq!(refused(json!({"scope": "key"})).await, "/key_id required");
    assert_eq!(refused(json!({"scope": "model"})).await, "/model required");
    assert_eq!(refused(json!({"scope": "tenant", "model": "smart"})).await, "/model not_of_scope");
    assert_eq!(refused(json!({"scope": "key", "key_id": shop.key, "end_user": "u1"})).await, "/end_user not_of_scope");
    assert_eq!(refused(json!({"scope": "end_user", "end_user": ""})).await, "/end_user invalid");
    assert_eq!(refused(json!({"scope": "model", "model": "smrt"})).await, "/model unknown");
    assert_eq!(refused(json!({"scope": "galaxy"})).await, "/scope invalid");
    assert_eq!(refused(json!({"scope": "tenant", "period": "week"})).await, "/period invalid");
    assert_eq!(refused(json!({"scope": "tenant", "amount": "ten"})).await, "/amount invalid");
    assert_eq!(refused(json!({"scope": "tenant", "amount": "-0.01"})).await, "/amount invalid");
    assert_eq!(refused(json!({"scope": "tenant", "currency": "dollars"})).await, "/currency invalid");
    assert_eq!(refused(json!({"scope": "tenant", "alerts": [80, 80]})).await, "/alerts invalid");
}

#[tokio::test]
async fn what_belongs_to_another_tenant_does_not_exist_for_a_budget() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let project = api.post("/admin/v1/projects", json!({"tenant_id": shop.tenant, "name": "web"})).await.expect(201);
    let globex = api.post("/admin/v1/tenants", json!({"name": "globex"})).await.expect(201)["id"].clone();
    let refused = async |more| api.post("/admin/v1/budgets", budget(&shop, more)).await.problem(422).1;
    let foreign = json!({"tenant_id": globex, "scope": "project", "project_id": project["id"]});
    assert_eq!(refused(foreign).await, "/project_id unknown");
    assert_eq!(refused(json!({"tenant_id": globex, "scope": "key", "key_id": shop.key})).await, "/key_id unknown");
    let nobody = tallygate_types::TenantId::generate().to_string();
    assert_eq!(refused(json!({"tenant_id": nobody, "scope": "tenant"})).await, "/tenant_id unknown");

    let of = async |tenant: &Value, scope: &str| {
        let body = budget(&shop, json!({"tenant_id": tenant, "scope": scope}));
        api.post("/admin/v1/budgets", body).await.expect(201)["id"].clone()
    };
    let theirs = of(&globex, "tenant").await;
    let ours = [of(&json!(shop.tenant), "end_user").await, of(&json!(shop.tenant), "tenant").await];
    let ids = async |query: String| {
        let page = api.get(&format!("/admin/v1/budgets?{query}")).await.expect(200);
        page["data"].as_array().unwrap().iter().map(|budget| budget["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(String::new()).await, [&ours[1], &ours[0], &theirs].map(Clone::clone));
    assert_eq!(ids(format!("tenant_id={}", globex.as_str().unwrap())).await, [theirs]);
    assert_eq!(ids(format!("tenant_id={}&limit=1", shop.tenant)).await, [ours[1].clone()]);
    assert_eq!(api.get("/admin/v1/budgets?scope=key").await.problem(400).1, "scope unreadable");
}

#[tokio::test]
async fn who_sees_no_money_sees_a_budget_without_its_amount() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let made = api.post("/admin/v1/budgets", budget(&shop, json!({"scope": "tenant"}))).await.expect(201);
    let path = format!("/admin/v1/budgets/{}", made["id"].as_str().unwrap());
    for (role, amount) in [(Role::Ops, json!(null)), (Role::Finance, json!("10")), (Role::Auditor, json!("10"))] {
        let token = api.token(role).await;
        let read = api.call_as(&token, "GET", &path, &[], None).await.expect(200);
        assert_eq!((&read["amount"], &read["mode"]), (&amount, &json!("hard")), "{role}");
        let list = api.call_as(&token, "GET", "/admin/v1/budgets", &[], None).await.expect(200);
        assert_eq!(list["data"], json!([read]), "{role}");
    }
}
