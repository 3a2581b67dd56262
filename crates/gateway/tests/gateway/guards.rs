//! What a key may be used for and from where, and how keys that are none are answered.

use std::sync::Arc;

use http::Method;
use tallygate_store::projects::ProjectStatus;
use tallygate_store::{KeyTerms, ProjectEntry};
use tallygate_types::{Dialect, ManualClock, ProjectId, Timestamp};

use crate::rig::{Answer, Gateway, KEY, Rig};
use crate::upstream::{Upstream, answer};

const GOOD: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}}"#;
const ASK: &str = r#"{"model":"smart","max_tokens":5,"messages":[{"role":"user","content":"x"}]}"#;

async fn with_terms(terms: KeyTerms) -> Rig {
    let mut rig = Rig::serving(Dialect::OpenaiChat, Upstream::start(vec![answer(200, &[], GOOD)]).await.address);
    rig.key.terms = Some(Arc::new(terms));
    rig
}

fn project(change: impl FnOnce(&mut ProjectEntry)) -> KeyTerms {
    let mut project = ProjectEntry::named("web", ProjectId::generate());
    change(&mut project);
    KeyTerms { project: Some(Arc::new(project)), ..KeyTerms::default() }
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

fn forbidden(code: &str) -> (u16, String) {
    (403, code.to_owned())
}

#[tokio::test]
async fn a_key_is_good_for_its_endpoints_alone_and_is_told_which() {
    let endpoints = Some(vec!["embeddings".to_owned(), "models".to_owned()]);
    let gateway = with_terms(KeyTerms { endpoints, ..KeyTerms::default() }).await.start().await;
    let reply = gateway.chat(ASK).await;
    assert_eq!(refused(&reply), forbidden("endpoint_not_allowed"));
    assert_eq!(reply.header("x-should-retry"), "false");
    assert!(reply.body.contains("may not call `chat_completions`; it may call `embeddings`, `models`."), "{}", reply.body);
    let of_anthropic = gateway.post("/v1/messages", ASK).await;
    assert_eq!((of_anthropic.status.as_u16(), &of_anthropic.json()["error"]["type"]), (403, &"permission_error".into()));
    assert_eq!(gateway.get("/v1/models").await.status, 200);
    assert_eq!(gateway.records()[0].error_code.as_deref(), Some("endpoint_not_allowed"));
}

async fn models_from(gateway: &Gateway, forwarded_for: &[&str]) -> Answer {
    let bearer = format!("Bearer {KEY}");
    let mut headers = vec![("authorization", bearer.as_str())];
    headers.extend(forwarded_for.iter().map(|line| ("x-forwarded-for", *line)));
    gateway.ask(Method::GET, "/v1/models", &headers, "").await
}

#[tokio::test]
async fn a_key_is_good_from_its_networks_alone_and_does_not_tell_them() {
    let terms = || KeyTerms { networks: Some(vec!["192.0.2.0/24".parse().unwrap()]), ..KeyTerms::default() };
    let gateway = with_terms(terms()).await.start().await;
    // Whoever calls straight is who it is, whatever it says.
    for forwarded_for in [&[][..], &["192.0.2.7"]] {
        let reply = models_from(&gateway, forwarded_for).await;
        assert_eq!(refused(&reply), forbidden("network_not_allowed"));
        assert!(reply.body.contains("from 127.0.0.1") && !reply.body.contains("192.0.2"), "{}", reply.body);
    }

    let mut rig = with_terms(terms()).await;
    rig.config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let gateway = rig.start().await;
    for (forwarded_for, status) in [
        (&["192.0.2.7"][..], 200),
        (&["198.51.100.1, 192.0.2.7"], 200),
        (&["198.51.100.1", "192.0.2.7, 127.0.0.2"], 200),
        (&["192.0.2.7, 198.51.100.1"], 403),
        (&[], 403),
    ] {
        assert_eq!(models_from(&gateway, forwarded_for).await.status.as_u16(), status, "{forwarded_for:?}");
    }
}

#[tokio::test]
async fn the_keys_of_an_archived_project_are_closed() {
    let gateway = with_terms(project(|web| web.status = ProjectStatus::Archived)).await.start().await;
    let reply = gateway.chat(ASK).await;
    assert_eq!(refused(&reply), forbidden("project_archived"));
    assert!(reply.body.contains("`web`"), "{}", reply.body);
    assert_eq!(gateway.get("/v1/models").await.status, 403);
}

#[tokio::test]
async fn a_projects_models_are_all_that_its_keys_see_and_use() {
    let rig = with_terms(project(|web| web.allowed_models = Some(vec!["fast".to_owned()]))).await;
    let targets = rig.models[0].targets.clone();
    let gateway = rig.with_model("fast", targets).start().await;
    assert_eq!(refused(&gateway.chat(ASK).await), forbidden("model_not_allowed"));
    assert_eq!(gateway.chat(&ASK.replace("smart", "fast")).await.status, 200);
    let listed = gateway.get("/v1/models").await.json();
    let names: Vec<_> = listed["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["fast"]);
    assert_eq!(gateway.get("/v1/models/smart").await.status, 404);
}

#[tokio::test]
async fn after_thirty_bad_keys_an_address_waits_and_a_good_key_does_not() {
    let mut rig = with_terms(KeyTerms::default()).await;
    rig.clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000)));
    rig.config.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let gateway = rig.start().await;
    let try_key = async |key: &str, from: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str()), ("x-forwarded-for", from)];
        gateway.ask(Method::POST, "/v1/chat/completions", &headers, ASK).await
    };
    for number in 0..30 {
        // Junk and unknown ones alike.
        let key = if number % 2 == 0 { "junk" } else { "a-key-that-nobody-ever-made" };
        assert_eq!(refused(&try_key(key, "203.0.113.9").await), (401, "invalid_api_key".to_owned()));
    }
    let slowed = try_key("junk", "203.0.113.9").await;
    assert_eq!(refused(&slowed), (429, "too_many_bad_keys".to_owned()));
    assert_eq!((slowed.header("retry-after"), slowed.header("x-should-retry")), ("60", "false"));
    assert_eq!(try_key(KEY, "203.0.113.9").await.status, 200);
    assert_eq!(try_key("junk", "203.0.113.10").await.status, 401);
    assert!(gateway.metric("tallygate_auth_throttled_total 1"));
    assert!(gateway.metric(r#"tallygate_auth_failures_total{reason="invalid_api_key"} 32"#));
    assert_eq!(gateway.records().len(), 1, "strangers are counted, not recorded");
}
