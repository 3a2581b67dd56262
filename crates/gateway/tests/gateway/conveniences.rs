//! What clients do beyond a plain call: compressed bodies, paths without a version, probes, pages in a browser, Codex's headers.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use tallygate_types::Dialect;

use crate::rig::{Gateway, KEY, Rig};
use crate::upstream::{Upstream, answer};

const CHAT: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}"#;
const RESPONSE: &str = r#"{"id":"resp_1","object":"response","status":"completed","model":"m","output":[],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2,"input_tokens_details":{"cached_tokens":0},"output_tokens_details":{"reasoning_tokens":0}}}"#;
const ASK: &str = r#"{"model":"smart","messages":[{"role":"user","content":"Hi"}]}"#;

fn zstd(text: &[u8]) -> Bytes {
    ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest).into()
}

async fn post(gateway: &Gateway, path: &str, headers: &[(&str, &str)], body: Bytes) -> (u16, http::HeaderMap, String) {
    let mut request = Request::post(format!("http://{}{path}", gateway.address)).header("authorization", format!("Bearer {KEY}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, body) = gateway.send(request.body(Full::new(body)).unwrap()).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn case_b81_a_zstd_body_is_decoded_and_a_bomb_is_413() {
    let upstream = Upstream::start(vec![answer(200, &[], CHAT)]).await;
    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
    rig.config.max_body_bytes = 1024 * 1024;
    let gateway = rig.start().await;
    let coded = [("content-encoding", "zstd"), ("content-type", "application/json")];

    let (status, _, body) = post(&gateway, "/v1/chat/completions", &coded, zstd(ASK.as_bytes())).await;
    assert_eq!((status, body.as_str()), (200, CHAT));
    let seen = &upstream.seen()[0];
    assert_eq!((seen.body.as_str(), seen.header("content-encoding")), (ASK.replace("smart", "real-model").as_str(), None));

    let bomb = zstd(&vec![b' '; 8 * 1024 * 1024]);
    assert!(bomb.len() < 1024 * 1024, "{}", bomb.len());
    let (status, _, body) = post(&gateway, "/v1/messages", &coded, bomb).await;
    let error: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &error["error"]["type"]), (413, &json!("request_too_large")));

    let (status, _, _) = post(&gateway, "/v1/chat/completions", &coded, Bytes::from_static(ASK.as_bytes())).await;
    assert_eq!(status, 400);
    let (status, _, _) =
        post(&gateway, "/v1/chat/completions", &[("content-encoding", "compress")], Bytes::from_static(b"x")).await;
    assert_eq!(status, 415);
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_version_in_the_path_is_not_needed_and_a_probe_is_answered() {
    let upstream = Upstream::start(vec![answer(200, &[], CHAT)]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let messages = r#"{"model":"smart","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;
    for (path, body) in [
        ("/chat/completions", ASK),
        ("/messages?beta=true", messages),
        ("/responses", r#"{"model":"smart","input":"Hi"}"#),
        ("/v1/messages/count_tokens?beta=true", messages),
    ] {
        assert_eq!(gateway.post(path, body).await.status, 200, "{path}");
    }
    assert_eq!(gateway.get("/models").await.json()["data"][0]["id"], "smart");
    let probe = gateway.ask(Method::HEAD, "/", &[], "").await;
    assert_eq!((probe.status.as_u16(), probe.body.as_str()), (200, ""));
}

#[tokio::test]
async fn codex_headers_go_to_its_own_protocol_and_to_no_other() {
    let headers = [
        ("x-codex-turn-state", "state"),
        ("x-codex-window-id", "w"),
        ("session-id", "s"),
        ("originator", "codex_cli_rs"),
        ("cookie", "no"),
    ];
    let told = [("x-codex-turn-state", "next"), ("openai-model", "m"), ("x-codex-primary-used-percent", "80")];
    let upstream = Upstream::start(vec![answer(200, &told, RESPONSE)]).await;
    let gateway = Rig::serving(Dialect::OpenaiResponses, upstream.address).start().await;
    let ask = Bytes::from_static(br#"{"model":"smart","input":"Hi"}"#);
    let (status, answered, _) = post(&gateway, "/v1/responses", &headers, ask.clone()).await;
    assert_eq!(status, 200);
    assert_eq!((answered["x-codex-turn-state"].to_str().unwrap(), answered["openai-model"].to_str().unwrap()), ("next", "m"));
    assert!(!answered.contains_key("x-codex-primary-used-percent"), "the operator's limits are not the tenant's");
    let seen = &upstream.seen()[0];
    for (name, value) in &headers[..4] {
        assert_eq!(seen.header(name), Some(*value), "{name}");
    }
    assert_eq!(seen.header("cookie"), None);

    for dialect in [Dialect::OpenaiChat, Dialect::Anthropic, Dialect::Gemini] {
        let upstream = Upstream::start(vec![answer(200, &told, "{}")]).await;
        let gateway = Rig::serving(dialect, upstream.address).start().await;
        post(&gateway, "/v1/responses", &headers, ask.clone()).await;
        let seen = &upstream.seen()[0];
        assert!(headers.iter().all(|(name, _)| seen.header(name).is_none()), "{dialect}: {}", seen.head);
    }
    // A client of another protocol has no such headers to give.
    post(
        &gateway,
        "/v1/messages",
        &headers,
        Bytes::from_static(br#"{"model":"smart","max_tokens":1,"messages":[{"role":"user","content":"Hi"}]}"#),
    )
    .await;
    assert_eq!(upstream.seen().last().unwrap().header("x-codex-turn-state"), None);
}

#[tokio::test]
async fn pages_may_call_only_if_the_operator_names_them() {
    let upstream = Upstream::start(vec![answer(200, &[], CHAT)]).await;
    let closed = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let page = "https://app.example.com";
    let ask = [
        ("origin", page),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization, x-stainless-lang"),
    ];
    let refused = closed.ask(Method::OPTIONS, "/v1/chat/completions", &ask, "").await;
    assert_eq!((refused.status.as_u16(), refused.header("access-control-allow-origin")), (405, ""));

    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
    rig.config.cors_origins = vec![page.into()];
    let open = rig.start().await;
    let preflight = open.ask(Method::OPTIONS, "/v1/chat/completions", &ask, "").await;
    assert_eq!(preflight.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", page),
        ("access-control-allow-methods", "GET, POST, DELETE"),
        ("access-control-allow-headers", "authorization, x-stainless-lang"),
        ("access-control-max-age", "600"),
        ("vary", "origin"),
    ] {
        assert_eq!(preflight.header(name), value, "{name}");
    }
    let bearer = format!("Bearer {KEY}");
    let answered = open.ask(Method::POST, "/v1/chat/completions", &[("origin", page), ("authorization", &bearer)], ASK).await;
    assert_eq!((answered.status.as_u16(), answered.header("access-control-allow-origin")), (200, page));
    assert_eq!(answered.header("access-control-expose-headers"), "*");
    // A refusal too can be read by the page.
    let stranger = open.ask(Method::POST, "/v1/chat/completions", &[("origin", page)], ASK).await;
    assert_eq!((stranger.status.as_u16(), stranger.header("access-control-allow-origin")), (401, page));
    let other = open.ask(Method::OPTIONS, "/v1/models", &[("origin", "https://evil.example"), ask[1]], "").await;
    assert_eq!((other.status.as_u16(), other.header("access-control-allow-origin")), (405, ""));
}
