//! What an upstream says beside its answer, as the client reads it in its own protocol: numbered cases a85 and a86, and a model it does not have.

use tallygate_store::Limits;
use tallygate_types::Dialect;

use crate::rig::Rig;
use crate::upstream::{Upstream, answer};

const CHAT_ASK: &str = r#"{"model":"smart","max_tokens":50,"messages":[{"role":"user","content":"Hi"}]}"#;
const CHAT_ANSWER: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}}"#;

#[tokio::test]
async fn case_a85_a_prompt_that_is_too_long_is_said_as_each_client_knows_it() {
    let text = "prompt is too long: 210000 tokens > 200000 maximum";
    let anthropic = format!(r#"{{"type":"error","error":{{"type":"invalid_request_error","message":"{text}"}}}}"#);
    let upstream = Upstream::start(vec![answer(400, &[], &anthropic)]).await;
    let gateway = Rig::serving(Dialect::Anthropic, upstream.address).start().await;
    let reply = gateway.chat(CHAT_ASK).await;
    let error = &reply.json()["error"];
    assert_eq!(
        (reply.status.as_u16(), error["type"].as_str(), error["code"].as_str()),
        (400, Some("invalid_request_error"), Some("context_length_exceeded"))
    );
    assert!(error["message"].as_str().unwrap().starts_with(text), "{error}");

    let openai = r#"{"error":{"message":"This model's maximum context length is 128000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#;
    let upstream = Upstream::start(vec![answer(400, &[], openai)]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let reply = gateway.post("/v1/messages", CHAT_ASK).await;
    let error = &reply.json()["error"];
    assert_eq!((reply.status.as_u16(), error["type"].as_str()), (400, Some("invalid_request_error")));
    let begins = "prompt is too long: This model's maximum context length is 128000 tokens.";
    assert!(error["message"].as_str().unwrap().starts_with(begins), "{error}");
}

#[tokio::test]
async fn case_a86_an_upstreams_limits_never_leak_and_the_tenants_own_are_said_in_the_clients_words() {
    let operators = [
        ("x-ratelimit-limit-requests", "777"),
        ("x-ratelimit-remaining-tokens", "777"),
        ("x-ratelimit-reset-tokens", "777ms"),
        ("anthropic-ratelimit-tokens-limit", "777"),
        ("anthropic-ratelimit-input-tokens-remaining", "777"),
        ("anthropic-organization-id", "org-777"),
        ("openai-organization", "org-777"),
    ];
    let names = |reply: &crate::rig::Answer| {
        let is_limit = |name: &&str| name.contains("ratelimit") || name.contains("organization");
        let mut names: Vec<String> =
            reply.headers.keys().map(http::HeaderName::as_str).filter(is_limit).map(str::to_owned).collect();
        names.sort();
        names
    };
    let upstream = Upstream::start(vec![answer(200, &operators, CHAT_ANSWER)]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    assert_eq!(names(&gateway.chat(CHAT_ASK).await), [""; 0]);
    assert_eq!(names(&gateway.post("/v1/messages", CHAT_ASK).await), [""; 0]);

    let upstream = Upstream::start(vec![answer(200, &operators, CHAT_ANSWER)]).await;
    let limits = Limits { requests_per_minute: Some(10), ..Limits::default() };
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).with_limits(limits).start().await;
    let chat = gateway.chat(CHAT_ASK).await;
    assert_eq!(names(&chat), ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"]);
    assert_eq!(
        (chat.header("x-ratelimit-limit-requests"), chat.header("x-ratelimit-reset-requests").ends_with('s')),
        ("10", true)
    );
    let messages = gateway.post("/v1/messages", CHAT_ASK).await;
    assert_eq!(
        names(&messages),
        ["anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"]
    );
    let reset = messages.header("anthropic-ratelimit-requests-reset");
    assert!(reset.contains('T') && reset.ends_with('Z'), "{reset}");
}

/// A model that its upstream does not have is no use to ask for again, and nothing the tenant can mend.
#[tokio::test]
async fn a_model_that_the_upstream_does_not_have_is_not_found() {
    let vendor = r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-9 of account 777"}}"#;
    let upstream = Upstream::start(vec![answer(404, &[], vendor)]).await;
    let gateway = Rig::serving(Dialect::Anthropic, upstream.address).start().await;
    let reply = gateway.chat(CHAT_ASK).await;
    let error = &reply.json()["error"];
    assert_eq!(
        (reply.status.as_u16(), error["type"].as_str(), error["code"].as_str()),
        (404, Some("invalid_request_error"), Some("model_not_found"))
    );
    assert_eq!(reply.headers["x-should-retry"], "false");
    assert!(!reply.body.contains("777"), "{}", reply.body);

    let upstream = Upstream::start(vec![answer(404, &[], vendor)]).await;
    let gateway = Rig::serving(Dialect::Anthropic, upstream.address).start().await;
    let reply = gateway.post("/v1/messages", CHAT_ASK).await;
    assert_eq!((reply.status.as_u16(), reply.json()["error"]["type"].as_str()), (404, Some("not_found_error")));
}
