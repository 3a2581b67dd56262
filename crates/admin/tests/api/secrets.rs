//! A secret goes in and is never seen again: planted in every place that takes one, looked for in every answer to GET.

use serde_json::json;

use crate::client::Api;
use crate::visitor::{PASSWORD, Visitor};

#[tokio::test]
async fn no_answer_shows_a_secret_a_second_time() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let ids = api.use_shop(&shop, 1).await;
    let mut owner = Visitor::owner(&api).await;
    let mut planted: Vec<String> = ["sk-ant-secret-one", PASSWORD].map(str::to_owned).to_vec();
    planted.extend(owner.cookies.values().cloned());

    let path = format!("/admin/v1/upstreams/{}", shop.upstream);
    let proxy = json!({"proxy": "http://user:planted-proxy-pass@10.0.0.1:3128"});
    api.patch(&path, "\"v1\"", proxy).await.expect(200);
    let credential =
        json!({"name": "b", "secret": "planted-credential", "proxy": "http://user:planted-other-pass@10.0.0.1:3128"});
    api.post(&format!("{path}/credentials"), credential).await.expect(201);
    api.patch(&format!("{path}/credentials/{}", shop.credential), "\"v1\"", json!({"secret": "planted-replacement"}))
        .await
        .expect(200);
    api.post(&format!("{path}:test"), json!({})).await.expect(200);
    let key = api.post("/admin/v1/api-keys", json!({"tenant_id": shop.tenant, "name": "new"})).await.expect(201);
    let key_path = format!("/admin/v1/api-keys/{}", key["id"].as_str().unwrap());
    let rotated = api.with("POST", &format!("{key_path}:rotate"), &[("if-match", "\"v1\"")], Some(json!({}))).await.expect(200);
    let project = api.post("/admin/v1/projects", json!({"tenant_id": shop.tenant, "name": "web"})).await.expect(201);
    let budget = json!({"tenant_id": shop.tenant, "scope": "tenant", "period": "day", "amount": "1", "currency": "USD"});
    let budget = api.post("/admin/v1/budgets", budget).await.expect(201);
    let token = api.post("/admin/v1/admin-tokens", json!({"name": "new", "role": "ops"})).await.expect(201);
    let rule = json!({"name": "r", "targets": [{"upstream_id": shop.upstream, "upstream_model": "m"}]});
    let rule = api.post("/admin/v1/routes", rule).await.expect(201);
    let user = json!({"email": "bo@example.com", "name": "Bo", "role": "ops", "password": "planted long password"});
    let user = api.post("/admin/v1/users", user).await.expect(201);
    let vouchers = api.post("/admin/v1/vouchers", json!({"amount": "5", "currency": "USD"})).await.expect(201);
    let voucher = &vouchers["data"][0];
    planted.push(voucher["code"].as_str().unwrap().to_owned());
    planted.extend([&key, &rotated, &token].map(|made| made["secret"].as_str().unwrap().to_owned()));
    planted.extend(["planted-", "planted long password", "$argon2"].map(str::to_owned));

    api.live.limits.lock().unwrap().insert(key["id"].as_str().unwrap().parse().unwrap(), Vec::new());
    let mut asked = 0;
    for route in tallygate_admin::route_table().into_iter().filter(|route| route.method == "GET") {
        let kind = route.path.split('/').nth(3).unwrap();
        let id = match kind {
            "tenants" | "bills" => shop.tenant.clone(),
            "api-keys" => key["id"].as_str().unwrap().to_owned(),
            "projects" => project["id"].as_str().unwrap().to_owned(),
            "budgets" => budget["id"].as_str().unwrap().to_owned(),
            "upstreams" => shop.upstream.clone(),
            "models" => shop.model.clone(),
            "routes" => rule["id"].as_str().unwrap().to_owned(),
            "requests" => ids[0].to_string(),
            "vouchers" => voucher["id"].as_str().unwrap().to_owned(),
            "users" => user["id"].as_str().unwrap().to_owned(),
            _ => String::new(),
        };
        let path = route.path.replace("{id}", &id).replace("{tenant_id}", &id);
        let path = path.replace("{credential_id}", &shop.credential).replace("{period}", "2026-11");
        let answer = owner.get(&api, &path).await;
        assert_eq!(answer.status.as_u16(), 200, "{path}: {}", answer.text());
        for secret in &planted {
            assert!(!answer.text().contains(secret.as_str()), "{path} shows `{secret}`");
        }
        asked += 1;
    }
    assert_eq!(asked, 42, "every GET of the route table was asked");
}
