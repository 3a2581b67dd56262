//! Bad input gets a clear answer in the caller's dialect, and nothing reaches an upstream.

use std::sync::Arc;

use std::time::Duration;

use http::Method;
use tallygate_billing::{Outcome, UsageSource};
use tallygate_store::keys::KeyStatus;
use tallygate_store::tenants::TenantStatus;
use tallygate_types::{Dialect, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rig::{KEY, Rig};
use crate::upstream::Upstream;

const ASK: &str = r#"{"model":"smart","messages":[]}"#;

async fn rig() -> Rig {
    Rig::serving(Dialect::OpenaiChat, Upstream::dead().await)
}

#[tokio::test]
async fn each_dialect_says_that_a_key_is_wrong_in_its_own_words() {
    let gateway = rig().await.start().await;
    for (path, pointer, word) in [
        ("/v1/chat/completions", "/error/code", "invalid_api_key"),
        ("/v1/responses", "/error/code", "invalid_api_key"),
        ("/v1/messages", "/error/type", "authentication_error"),
        ("/v1beta/models/smart:generateContent", "/error/status", "UNAUTHENTICATED"),
    ] {
        let reply = gateway.ask(Method::POST, path, &[("authorization", "Bearer nobody")], ASK).await;
        assert_eq!((reply.status.as_u16(), reply.json().pointer(pointer).unwrap().as_str()), (401, Some(word)), "{path}");
        assert_eq!(reply.header("x-should-retry"), "false");
        assert!(reply.body.contains(reply.header("x-request-id")), "{}", reply.body);
    }
    assert_eq!(gateway.ask(Method::POST, "/v1/messages", &[], ASK).await.status, 401);
    let two = [("authorization", "Bearer a"), ("x-api-key", "b")];
    assert_eq!(gateway.ask(Method::POST, "/v1/messages", &two, ASK).await.status, 401);
    assert_eq!(gateway.records().len(), 0, "strangers are counted, not recorded");
    assert!(gateway.metric(r#"tallygate_auth_failures_total{reason="invalid_api_key"} 4"#));
}

#[tokio::test]
async fn an_unknown_key_is_not_judged_while_the_configuration_may_be_old() {
    let mut rig = rig().await;
    rig.store_is_fresh = false;
    let gateway = rig.start().await;
    for (key, status, code) in [
        ("a-key-that-was-made-a-moment-ago", 503, "key_store_unavailable"),
        // What no key is ever like needs no look.
        ("nobody", 401, "invalid_api_key"),
        ("sk-tg1_with-a-checksum-that-is-not-right", 401, "invalid_api_key"),
    ] {
        let bearer = format!("Bearer {key}");
        let reply = gateway.ask(Method::GET, "/v1/models", &[("authorization", &bearer)], "").await;
        assert_eq!((reply.status.as_u16(), reply.json()["error"]["code"].as_str()), (status, Some(code)), "{key}");
    }
    assert_eq!(gateway.get("/v1/models").await.status, 200);
}

#[tokio::test]
async fn a_key_or_tenant_that_is_no_longer_welcome_is_told_why() {
    let mut revoked = rig().await;
    revoked.key.status = KeyStatus::Revoked;
    let mut expired = rig().await;
    expired.key.expires_at = Some(Timestamp::from_micros(1));
    let mut suspended = rig().await;
    suspended.tenant.status = TenantStatus::Suspended;
    suspended.tenant.suspended_message = Some(Arc::new("Please pay your bill.".into()));
    for (rig, status, code) in
        [(revoked, 401, "api_key_revoked"), (expired, 401, "api_key_expired"), (suspended, 403, "tenant_suspended")]
    {
        let gateway = rig.start().await;
        let reply = gateway.chat(ASK).await;
        assert_eq!((reply.status.as_u16(), reply.json()["error"]["code"].as_str()), (status, Some(code)), "{}", reply.body);
        assert_eq!(code == "tenant_suspended", reply.body.contains("Please pay your bill."));
        assert_eq!(gateway.records()[0].error_code.as_deref(), Some(code));
    }
}

#[tokio::test]
async fn a_model_that_cannot_be_had_is_refused_with_the_reason() {
    let mut rig = rig().await.with_model("unpriced", vec![]).with_model("closed", vec![]).with_model("idle", vec![]);
    rig.unpriced = vec!["unpriced"];
    rig.tenant.allowed_models = Some(Arc::new(vec!["smart".into(), "unpriced".into(), "idle".into()]));
    let gateway = rig.start().await;
    for (model, status, code, word) in [
        ("smrat", 404, "model_not_found", "`smart`"),
        ("closed", 403, "model_not_allowed", "`closed`"),
        ("unpriced", 403, "model_unpriced", "no price"),
        ("idle", 503, "upstream_unavailable", "`idle`"),
    ] {
        let reply = gateway.chat(&format!(r#"{{"model":"{model}","messages":[]}}"#)).await;
        assert_eq!((reply.status.as_u16(), reply.json()["error"]["code"].as_str()), (status, Some(code)), "{}", reply.body);
        assert!(reply.body.contains(word), "{}", reply.body);
    }
    assert_eq!(gateway.records().len(), 4);
    assert!(gateway.records().iter().all(|record| record.usage_source == UsageSource::None && record.charge.get() == 0));
}

#[tokio::test]
async fn bad_bodies_are_refused_before_anything_is_dispatched() {
    let mut rig = rig().await;
    rig.config.max_body_bytes = 1_000;
    let gateway = rig.start().await;
    for (body, status, code) in [
        ("", 400, "empty_body"),
        ("not json", 400, "invalid_request_body"),
        ("[]", 400, "invalid_request_body"),
        (r#"{"messages":[]}"#, 400, "missing_model"),
        (r#"{"model":"","messages":[]}"#, 400, "missing_model"),
    ] {
        let reply = gateway.chat(body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()["error"]["code"].as_str()),
            (status, Some(code)),
            "{body}: {}",
            reply.body
        );
    }
    assert_eq!(gateway.chat(r#"{"model":"smart","model":"other","messages":[]}"#).await.status, 400);
    let endless = format!(r#"{{"model":"{}","messages":[]}}"#, "m".repeat(600));
    assert_eq!(gateway.chat(&endless).await.json()["error"]["code"], "invalid_model");
    let large = format!(r#"{{"model":"smart","x":"{}"}}"#, "x".repeat(1_000));
    let reply = gateway.chat(&large).await;
    assert_eq!((reply.status.as_u16(), reply.json()["error"]["code"].as_str()), (413, Some("request_too_large")));

    let bearer = format!("Bearer {KEY}");
    for (name, value) in [("content-type", "text/plain"), ("content-encoding", "compress")] {
        let reply = gateway.ask(Method::POST, "/v1/chat/completions", &[("authorization", &bearer), (name, value)], ASK).await;
        assert_eq!(reply.status, 415, "{}", reply.body);
    }
    assert!(gateway.records().iter().all(|record| record.outcome == Outcome::ClientError));
}

#[tokio::test]
async fn a_wrong_address_is_answered_in_json_with_the_right_one() {
    let gateway = rig().await.start().await;
    let reply = gateway.post("/v1/chat/completion", ASK).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (404, "application/json"));
    assert!(reply.body.contains("/v1/chat/completions"), "{}", reply.body);
    let reply = gateway.get("/v1/chat/completions").await;
    assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, "POST"));
    let reply = gateway.get(&format!("/v1/models?x={}", "y".repeat(9_000))).await;
    assert_eq!(reply.status, 414);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for_forever() {
    let mut rig = rig().await;
    rig.config.body_idle_timeout = Duration::from_millis(50);
    let gateway = rig.start().await;
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!("POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-length: 100\r\n\r\n{{");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut reply = vec![0; 32];
    socket.read_exact(&mut reply).await.unwrap();
    assert!(reply.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&reply));
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let mut rig = rig().await;
    rig.config.header_read_timeout = Duration::from_millis(50);
    let gateway = rig.start().await;
    for beginning in ["", "PR", "POST /v1/messages HTTP/1.1\r\nhost:"] {
        let mut socket = TcpStream::connect(gateway.address).await.unwrap();
        socket.write_all(beginning.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut reply)).await;
        assert!(closed.is_ok(), "still open after {beginning:?}");
    }
}

#[tokio::test]
async fn a_connection_too_many_is_closed_at_once() {
    let mut rig = rig().await;
    rig.config.max_connections = 1;
    let gateway = rig.start().await;
    let mut first = TcpStream::connect(gateway.address).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut reply = [0; 15];
    first.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"HTTP/1.1 200 OK");
    let mut second = TcpStream::connect(gateway.address).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(10), second.read(&mut [0; 1])).await.expect("still open");
    assert!(matches!(closed, Ok(0) | Err(_)));
    assert!(gateway.metric("tallygate_connections_refused_total 1"));
}

#[tokio::test]
async fn names_from_outside_grow_no_metrics() {
    let gateway = rig().await.start().await;
    let series = || gateway.metrics.render().unwrap().lines().filter(|line| !line.starts_with('#')).count();
    gateway.chat(r#"{"model":"junk","messages":[]}"#).await;
    gateway.post("/v1/junk", ASK).await;
    gateway.ask(Method::POST, "/v1/chat/completions", &[("authorization", "Bearer junk")], ASK).await;
    let before = series();
    for number in 0..50 {
        gateway.chat(&format!(r#"{{"model":"junk-{number}","messages":[]}}"#)).await;
        gateway.post(&format!("/v1/junk-{number}"), ASK).await;
        gateway.ask(Method::POST, "/v1/chat/completions", &[("authorization", &format!("Bearer junk-{number}"))], ASK).await;
    }
    assert_eq!(series(), before);
}
