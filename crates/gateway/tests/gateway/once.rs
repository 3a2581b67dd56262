//! `Idempotency-Key`: a request that is sent twice is served and charged once.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tallygate_types::Dialect;

use crate::rig::{Gateway, KEY, OTHER_KEY, Rig};
use crate::upstream::{Upstream, answer};

const CHAT: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}"#;
const ASK: &str = r#"{"model":"smart","messages":[{"role":"user","content":"Hi"}]}"#;

async fn ask(gateway: &Gateway, key: &str, name: &str, body: &'static str) -> (u16, http::HeaderMap, String) {
    let request = Request::post(format!("http://{}/v1/chat/completions", gateway.address))
        .header("authorization", format!("Bearer {key}"))
        .header("idempotency-key", name)
        .body(Full::new(Bytes::from_static(body.as_bytes())));
    let (parts, body) = gateway.send(request.unwrap()).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn the_same_request_under_the_same_name_is_answered_from_memory() {
    let upstream =
        Upstream::start(vec![answer(400, &[], r#"{"error":{"message":"no"}}"#), answer(200, &[], CHAT), answer(200, &[], CHAT)])
            .await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    // What was refused may be tried again.
    assert_eq!(ask(&gateway, KEY, "a", ASK).await.0, 400);
    let (status, headers, body) = ask(&gateway, KEY, "a", ASK).await;
    assert_eq!((status, body.as_str(), headers.contains_key("x-tallygate-cost")), (200, CHAT, true));
    let (status, headers, body) = ask(&gateway, KEY, "a", ASK).await;
    assert_eq!((status, body.as_str(), headers.contains_key("x-tallygate-cost")), (200, CHAT, false));
    assert_eq!(headers["idempotency-replayed"], "true");
    assert_eq!(upstream.seen().len(), 2);

    let other = r#"{"model":"smart","messages":[{"role":"user","content":"Ho"}]}"#;
    let (status, headers, body) = ask(&gateway, KEY, "a", other).await;
    assert_eq!((status, headers["x-should-retry"].as_bytes()), (409, &b"false"[..]));
    assert!(body.contains("idempotency_key_reused"), "{body}");
    assert_eq!(ask(&gateway, OTHER_KEY, "a", ASK).await.0, 200);
    assert_eq!(upstream.seen().len(), 3);
    let (status, _, body) = ask(&gateway, KEY, "", ASK).await;
    assert_eq!(status, 400, "{body}");
}
