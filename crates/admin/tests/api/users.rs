use serde_json::json;
use tallygate_store::users::Role;

use crate::client::Api;
use crate::visitor::{PASSWORD, Visitor};

#[tokio::test]
async fn a_person_is_added_changed_and_disabled_and_no_hash_is_shown() {
    let api = Api::new().await;
    let body = json!({"email": "Bo@Example.com", "name": "Bo", "role": "ops", "password": PASSWORD});
    let created = api.post("/admin/v1/users", body.clone()).await;
    let user = created.expect(201);
    assert_eq!((&user["email"], &user["role"], &user["last_login_at"]), (&json!("bo@example.com"), &json!("ops"), &json!(null)));
    let path = created.header("location");
    assert_eq!(api.post("/admin/v1/users", body).await.problem(409).1, "/email taken");
    api.with("PATCH", path, &[], Some(json!({}))).await.expect(428);
    let changed = api.patch(path, "\"v1\"", json!({"name": "Bo B.", "status": "disabled"})).await;
    let after = changed.expect(200);
    assert_eq!((&after["name"], &after["status"]), (&json!("Bo B."), &json!("disabled")));
    let stale = api.patch(path, "\"v1\"", json!({"name": "x"})).await;
    assert_eq!((stale.problem(412).0.as_str(), &stale.json()["current"]), ("version_mismatch", &after));
    assert_eq!(api.get("/admin/v1/users?q=bo").await.expect(200)["data"], json!([after]));
    assert_eq!(api.trail().await, ["user.updated bo@example.com", "user.created bo@example.com"]);
    assert!(!api.get("/admin/v1/audit-events").await.text().contains("argon2"));
}

#[tokio::test]
async fn nobody_but_an_owner_reaches_owners_and_admins_and_one_owner_stays() {
    let api = Api::new().await;
    let mut owner = Visitor::owner(&api).await;
    let admin = api.token(Role::Admin).await;
    let as_admin = async |method: &str, path: &str, headers: &[(&str, &str)], body| {
        api.call_as(&admin, method, path, headers, Some(&body)).await
    };
    for role in ["owner", "admin"] {
        let body = json!({"email": "eve@example.com", "name": "Eve", "role": role, "password": PASSWORD});
        assert_eq!(as_admin("POST", "/admin/v1/users", &[], body).await.problem(403).0, "role_out_of_reach");
    }
    let body = json!({"email": "eve@example.com", "name": "Eve", "role": "ops", "password": PASSWORD});
    let made = as_admin("POST", "/admin/v1/users", &[], body).await;
    made.expect(201);
    let rise = as_admin("PATCH", made.header("location"), &[("if-match", "\"v1\"")], json!({"role": "owner"})).await;
    assert_eq!(rise.problem(403).0, "role_out_of_reach");
    let own_id = owner.get(&api, "/admin/v1/session").await.expect(200)["id"].as_str().unwrap().to_owned();
    let path = format!("/admin/v1/users/{own_id}");
    let etag = api.get(&path).await.etag().to_owned();
    let takeover = as_admin("PATCH", &path, &[("if-match", &etag)], json!({"password": "a password of my choice"})).await;
    assert_eq!(takeover.problem(403).0, "role_out_of_reach");
    let last = api.patch(&path, &etag, json!({"role": "auditor"})).await;
    assert_eq!(last.problem(409).0, "in_use");
    owner.get(&api, "/admin/v1/session").await.expect(200);
}

#[tokio::test]
async fn an_admin_may_change_their_own_password_and_name_but_not_rise() {
    let api = Api::new().await;
    let body = json!({"email": "bo@example.com", "name": "Bo", "role": "admin", "password": PASSWORD});
    let created = api.post("/admin/v1/users", body).await;
    let path = created.expect(201)["id"].as_str().map(|id| format!("/admin/v1/users/{id}")).unwrap();
    let mut browser = Visitor::default();
    browser.sign_in(&api, "bo@example.com", PASSWORD).await.expect(201);
    let etag = browser.get(&api, &path).await.etag().to_owned();
    let change = async |browser: &mut Visitor, body| {
        let headers = [("if-match", etag.as_str()), ("sec-fetch-site", "same-origin")];
        browser.send_with(&api, "PATCH", &path, &headers, Some(body)).await
    };
    assert_eq!(change(&mut browser, json!({"role": "owner"})).await.problem(403).0, "role_out_of_reach");
    change(&mut browser, json!({"password": "another long enough password"})).await.expect(200);
    browser.get(&api, "/admin/v1/session").await.expect(401);
    browser.sign_in(&api, "bo@example.com", "another long enough password").await.expect(201);
}
