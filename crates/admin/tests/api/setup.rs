use std::time::Duration;

use secrecy::ExposeSecret as _;
use serde_json::json;
use tallygate_store::setup;

use crate::client::Api;
use crate::visitor::{EMAIL, PASSWORD, Visitor};

async fn token(api: &Api) -> String {
    let mut tx = api.store.begin().await.unwrap();
    let token = setup::issue(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    token.expose_secret().to_owned()
}

#[tokio::test]
async fn the_first_owner_is_made_once_and_is_signed_in() {
    let api = Api::new().await;
    let mut browser = Visitor::default();
    assert_eq!(browser.get(&api, "/admin/v1/setup").await.expect(200), json!({"needed": true}));
    let body = json!({"token": token(&api).await, "email": EMAIL, "name": "Ada", "password": PASSWORD});
    let made = browser.send(&api, "POST", "/admin/v1/setup", Some(body.clone())).await;
    let session = made.expect(201);
    assert_eq!((&session["kind"], &session["name"], &session["role"]), (&json!("user"), &json!(EMAIL), &json!("owner")));
    assert_eq!(browser.get(&api, "/admin/v1/session").await.expect(200)["name"], EMAIL);
    assert_eq!(browser.get(&api, "/admin/v1/setup").await.expect(200), json!({"needed": false}));
    assert_eq!(browser.send(&api, "POST", "/admin/v1/setup", Some(body)).await.problem(409).0, "already_set_up");
    assert_eq!(api.trail().await, ["session.created -", format!("user.created {EMAIL}").as_str()]);
}

#[tokio::test]
async fn a_setup_token_must_be_known_fresh_and_come_with_a_good_password() {
    let api = Api::new().await;
    let mut browser = Visitor::default();
    let mut attempt = async |token: &str, password: &str| {
        let body = json!({"token": token, "email": EMAIL, "name": "Ada", "password": password});
        browser.send(&api, "POST", "/admin/v1/setup", Some(body)).await
    };
    assert_eq!(attempt("guessed", PASSWORD).await.problem(403).0, "setup_token_invalid");
    let good = token(&api).await;
    let short = attempt(&good, "too short").await.problem(422);
    assert_eq!(short, ("validation_failed".into(), "/password too_short".into()));
    api.store.clock.advance(Duration::from_mins(31));
    assert_eq!(attempt(&good, PASSWORD).await.problem(403).0, "setup_token_invalid");
    assert_eq!(api.trail().await, Vec::<String>::new());
}
