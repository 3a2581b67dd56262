use serde_json::json;

use crate::client::Api;

#[tokio::test]
async fn a_token_is_shown_once_works_and_is_revoked_at_once() {
    let api = Api::new().await;
    let created = api.post("/admin/v1/admin-tokens", json!({"name": "ci", "role": "auditor"})).await.expect(201);
    let secret = created["secret"].as_str().unwrap();
    assert!(secret.starts_with("tgadm1_") && secret.ends_with(created["last4"].as_str().unwrap()), "{created}");
    assert_eq!(created["expires_at"], "2027-02-20T12:00:00.000000Z");
    assert_eq!(created["created_by"], "test owner");
    let token = secret.to_owned().into();
    api.call_as(&token, "GET", "/admin/v1/admin-tokens", &[], None).await.expect(200);
    let list = api.get("/admin/v1/admin-tokens").await;
    assert_eq!(list.expect(200)["data"][0]["name"], "ci");
    assert!(!list.text().contains(secret));

    let revoke = format!("/admin/v1/admin-tokens/{}:revoke", created["id"].as_str().unwrap());
    assert_eq!(api.act(&revoke).await.expect(200)["revoked_at"], "2026-11-22T12:00:00.000000Z");
    api.act(&revoke).await.expect(200);
    api.call_as(&token, "GET", "/admin/v1/admin-tokens", &[], None).await.expect(401);
    assert_eq!(api.trail().await, ["admin_token.revoked ci", "admin_token.created ci"]);
}

#[tokio::test]
async fn a_token_must_end_within_a_year_and_has_a_role_of_the_staff() {
    let api = Api::new().await;
    let refused = async |body| api.post("/admin/v1/admin-tokens", body).await.problem(422).1;
    for time in ["2026-11-22T12:00:00Z", "2027-11-24T12:00:00Z"] {
        assert_eq!(refused(json!({"name": "x", "role": "ops", "expires_at": time})).await, "/expires_at out_of_range");
    }
    assert_eq!(refused(json!({"name": "x", "role": "tenant_admin"})).await, "/role invalid");
    assert_eq!(api.trail().await, Vec::<String>::new());
}
