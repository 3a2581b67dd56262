use std::time::Duration;

use serde_json::json;

use crate::client::Api;
use crate::visitor::{EMAIL, PASSWORD, Visitor};

const ACCESS: &str = "__Host-tg_session";
const REFRESH: &str = "__Host-tg_refresh";

#[tokio::test]
async fn signing_in_sets_cookies_no_script_and_no_other_site_can_use() {
    let api = Api::new().await;
    Visitor::owner(&api).await;
    let mut browser = Visitor::default();
    let answer = browser.sign_in(&api, EMAIL, PASSWORD).await;
    let session = answer.expect(201);
    assert_eq!(session["expires_at"], "2026-11-22T12:10:00.000000Z");
    assert!(session["permissions"].as_array().unwrap().contains(&json!("admin_tokens.write")));
    let lines: Vec<_> = answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap()).collect();
    for (line, (name, seconds)) in lines.iter().zip([(ACCESS, 600), (REFRESH, 1800)]) {
        assert!(line.starts_with(&format!("{name}=")), "{line}");
        assert!(line.ends_with(&format!("; Max-Age={seconds}; Path=/; Secure; HttpOnly; SameSite=Strict")), "{line}");
    }
    assert_eq!(lines.len(), 2);
    assert_eq!(browser.get(&api, "/admin/v1/session").await.expect(200), session);
}

#[tokio::test]
async fn a_session_lives_ten_minutes_and_is_renewed_by_a_token_that_changes() {
    let api = Api::new().await;
    let mut browser = Visitor::owner(&api).await;
    let first = browser.cookies.clone();
    api.store.clock.advance(Duration::from_mins(10));
    browser.get(&api, "/admin/v1/tenants").await.expect(401);
    let renewed = browser.send(&api, "POST", "/admin/v1/session:refresh", None).await;
    assert_eq!(renewed.expect(200)["expires_at"], "2026-11-22T12:20:00.000000Z");
    assert_ne!(browser.cookies[REFRESH], first[REFRESH]);
    browser.get(&api, "/admin/v1/tenants").await.expect(200);

    let mut other_tab = Visitor { cookies: first.clone() };
    other_tab.send(&api, "POST", "/admin/v1/session:refresh", None).await.expect(200);
    assert_eq!(other_tab.cookies[REFRESH], first[REFRESH], "the other tab set the new token already");
    browser.get(&api, "/admin/v1/tenants").await.expect(200);
}

#[tokio::test]
async fn a_refresh_token_used_again_ends_the_session_for_everyone() {
    let api = Api::new().await;
    let mut browser = Visitor::owner(&api).await;
    let mut thief = browser.clone();
    browser.send(&api, "POST", "/admin/v1/session:refresh", None).await.expect(200);
    api.store.clock.advance(Duration::from_mins(1));
    let caught = thief.send(&api, "POST", "/admin/v1/session:refresh", None).await;
    assert_eq!(caught.problem(401).0, "unauthenticated");
    assert_eq!(thief.cookies.len(), 0, "the cookies are taken away");
    browser.get(&api, "/admin/v1/tenants").await.expect(401);
    browser.send(&api, "POST", "/admin/v1/session:refresh", None).await.expect(401);
    assert_eq!(api.trail().await[0], "session.reuse_detected -");
}

#[tokio::test]
async fn signing_out_with_a_stolen_refresh_token_is_noticed_too() {
    let api = Api::new().await;
    let mut browser = Visitor::owner(&api).await;
    let mut thief = browser.clone();
    browser.send(&api, "POST", "/admin/v1/session:refresh", None).await.expect(200);
    api.store.clock.advance(Duration::from_mins(15));
    thief.send(&api, "DELETE", "/admin/v1/session", None).await.expect(204);
    assert_eq!(api.trail().await[0], "session.reuse_detected -");
    browser.send(&api, "POST", "/admin/v1/session:refresh", None).await.expect(401);
}

#[tokio::test]
async fn a_session_left_alone_ends_after_half_an_hour() {
    let api = Api::new().await;
    let mut browser = Visitor::owner(&api).await;
    api.store.clock.advance(Duration::from_mins(30));
    browser.send(&api, "POST", "/admin/v1/session:refresh", None).await.expect(401);
}

#[tokio::test]
async fn signing_out_ends_the_session_at_once_even_with_an_expired_cookie() {
    let api = Api::new().await;
    let mut browser = Visitor::owner(&api).await;
    let mut copy = browser.clone();
    browser.send(&api, "DELETE", "/admin/v1/session", None).await.expect(204);
    assert_eq!(browser.cookies.len(), 0);
    copy.get(&api, "/admin/v1/session").await.expect(401);
    assert_eq!(api.trail().await[0], "session.ended -");

    browser.sign_in(&api, EMAIL, PASSWORD).await.expect(201);
    let mut copy = browser.clone();
    api.store.clock.advance(Duration::from_mins(15));
    browser.send(&api, "DELETE", "/admin/v1/session", None).await.expect(204);
    copy.send(&api, "POST", "/admin/v1/session:refresh", None).await.expect(401);
    assert_eq!(api.trail().await[0], "session.ended -");
    browser.send(&api, "DELETE", "/admin/v1/session", None).await.expect(204);
}

#[tokio::test]
async fn whoever_cannot_sign_in_learns_nothing_and_waits_longer_each_time() {
    let api = Api::new().await;
    Visitor::owner(&api).await;
    let mut browser = Visitor::default();
    let unknown = browser.sign_in(&api, "nobody@example.com", PASSWORD).await;
    let wrong = browser.sign_in(&api, EMAIL, "not the password at all").await;
    assert_eq!(unknown.problem(401), wrong.problem(401));
    assert_eq!(unknown.json()["detail"], wrong.json()["detail"]);
    for _ in 0..5 {
        browser.sign_in(&api, EMAIL, "not the password at all").await.expect(401);
    }
    let throttled = browser.sign_in(&api, EMAIL, PASSWORD).await;
    assert_eq!(throttled.problem(429).0, "too_many_attempts");
    let wait: u64 = throttled.header("retry-after").parse().unwrap();
    api.store.clock.advance(Duration::from_secs(wait));
    browser.sign_in(&api, EMAIL, PASSWORD).await.expect(201);
}

#[tokio::test]
async fn an_address_that_guesses_many_accounts_waits_too() {
    let api = Api::new().await;
    let mut browser = Visitor::default();
    for n in 0..10 {
        browser.sign_in(&api, &format!("guess{n}@example.com"), PASSWORD).await.expect(401);
    }
    let throttled = browser.sign_in(&api, "guess99@example.com", PASSWORD).await;
    assert_eq!(throttled.problem(429).0, "too_many_attempts");
    assert_eq!(throttled.header("retry-after"), "60");
}

#[tokio::test]
async fn a_new_password_a_new_role_or_being_disabled_ends_sessions() {
    let api = Api::new().await;
    Visitor::owner(&api).await;
    let body = json!({"email": "bo@example.com", "name": "Bo", "role": "finance", "password": PASSWORD});
    let created = api.post("/admin/v1/users", body).await;
    let path = format!("/admin/v1/users/{}", created.expect(201)["id"].as_str().unwrap());
    let changes =
        [json!({"role": "auditor"}), json!({"password": "another long enough password"}), json!({"status": "disabled"})];
    let mut password = PASSWORD;
    for change in changes {
        let mut browser = Visitor::default();
        browser.sign_in(&api, "bo@example.com", password).await.expect(201);
        let etag = api.get(&path).await.etag().to_owned();
        api.patch(&path, &etag, change.clone()).await.expect(200);
        browser.get(&api, "/admin/v1/session").await.expect(401);
        browser.send(&api, "POST", "/admin/v1/session:refresh", None).await.expect(401);
        if change.get("password").is_some() {
            password = "another long enough password";
        }
    }
    assert_eq!(Visitor::default().sign_in(&api, "bo@example.com", password).await.problem(401).0, "invalid_credentials");
}
