//! Images and documents named by URL, before upstreams that take them only inline.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tallygate_types::Dialect;

use crate::rig::{Answer, Gateway, Rig, target, upstream};
use crate::upstream::{Act, Upstream, answer};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\nan image";
const PNG_BASE64: &str = "iVBORw0KGgphbiBpbWFnZQ==";
const PDF: &[u8] = b"%PDF-1.7 a document";
const PDF_BASE64: &str = "JVBERi0xLjcgYSBkb2N1bWVudA==";

fn file(kind: &str, bytes: &[u8]) -> Vec<Act> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", bytes.len());
    vec![Act::Write([head.as_bytes(), bytes].concat())]
}

fn gemini() -> Vec<Act> {
    let answer_body = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"ok"}]},"finishReason":"STOP"}],
        "usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1,"totalTokenCount":2}}"#;
    answer(200, &[], answer_body)
}

fn claude() -> Vec<Act> {
    let answer_body = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"ok"}],
        "stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;
    answer(200, &[], answer_body)
}

fn chat() -> Vec<Act> {
    let answer_body = r#"{"id":"c","object":"chat.completion","created":1,"model":"m",
        "choices":[{"index":0,"message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
    answer(200, &[], answer_body)
}

/// A gateway before Gemini that may fetch from `files`, and from nowhere else that is private.
async fn before_gemini(server: &Upstream, files: &[SocketAddr]) -> Gateway {
    let mut rig = Rig::serving(Dialect::Gemini, server.address);
    rig.config.media.private_hosts = files.iter().map(ToString::to_string).collect();
    rig.start().await
}

fn asking(url: &str) -> Value {
    json!({"model": "smart", "messages": [{"role": "user", "content": [
        {"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]}]})
}

fn error(answer: &Answer) -> (u16, String, String) {
    let error = &answer.json()["error"];
    let text = |field: &str| error[field].as_str().unwrap_or_default().to_owned();
    (answer.status.as_u16(), text("code"), text("param"))
}

fn refused(code: &str) -> (u16, String, String) {
    (400, code.to_owned(), "messages[0].content[1].image_url.url".to_owned())
}

fn last_body(server: &Upstream) -> Value {
    serde_json::from_str(&server.seen().last().unwrap().body).unwrap()
}

#[tokio::test]
async fn case_b18_an_image_by_url_is_fetched_for_gemini_and_a_private_address_is_refused() {
    let (server, files) = (Upstream::start(vec![gemini()]).await, Upstream::start(vec![file("image/png", PNG)]).await);
    let url = format!("http://{}/pictures/a.png?size=1", files.address);
    let gateway = before_gemini(&server, &[files.address]).await;
    let fetched = gateway.chat(&asking(&url).to_string()).await;
    assert_eq!((fetched.status.as_u16(), fetched.header("x-tallygate-loss")), (200, ""));
    assert_eq!(
        last_body(&server)["contents"],
        json!([{"role": "user", "parts": [{"text": "What is it?"}, {"inlineData": {"mimeType": "image/png", "data": PNG_BASE64}}]}])
    );
    let asked = &files.seen()[0];
    assert_eq!((asked.line(), asked.header("authorization")), ("GET /pictures/a.png?size=1 HTTP/1.1", None));
    assert_eq!(asked.header("host"), Some(files.address.to_string().as_str()));
    // Google's own client to Google: the URL passes.
    let own = json!({"contents": [{"role": "user", "parts": [{"fileData": {"fileUri": url, "mimeType": "image/png"}}]}]});
    assert_eq!(gateway.post("/v1beta/models/smart:generateContent", &own.to_string()).await.status, 200);
    assert_eq!(last_body(&server), own);
    assert_eq!(files.seen().len(), 1);

    let strict = before_gemini(&server, &[]).await;
    let before = server.seen().len();
    let port = files.address.port();
    for private in [
        url,
        format!("http://localhost:{port}/a.png"),
        format!("http://[::1]:{port}/a.png"),
        format!("http://[::ffff:127.0.0.1]:{port}/a.png"),
        format!("http://2130706433:{port}/a.png"),
        format!("http://0x7f.1:{port}/a.png"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://10.0.0.1/a.png".to_owned(),
        "https://192.168.1.1/a.png".to_owned(),
        "http://100.64.0.1/a.png".to_owned(),
        "http://[fd00::1]/a.png".to_owned(),
        "http://[64:ff9b::a00:1]/a.png".to_owned(),
        "http://0.0.0.0/a.png".to_owned(),
    ] {
        let answer = strict.chat(&asking(&private).to_string()).await;
        assert_eq!(error(&answer), refused("invalid_image_url"), "{private}");
        assert!(answer.body.contains("its host is not on the public Internet"), "{private}: {}", answer.body);
    }
    for wrong in [format!("http://me:secret@{}/a.png", files.address), "https://".to_owned()] {
        assert_eq!(error(&strict.chat(&asking(&wrong).to_string()).await), refused("invalid_image_url"), "{wrong}");
    }
    assert_eq!((server.seen().len(), files.seen().len()), (before, 1), "nobody was asked");
    // What is listed may be private, but never where machines get their credentials.
    let listed = before_gemini(&server, &["169.254.169.254:80".parse().unwrap()]).await;
    let answer = listed.chat(&asking("http://169.254.169.254/latest").to_string()).await;
    assert_eq!(error(&answer), refused("invalid_image_url"));
}

#[tokio::test]
async fn case_a32_an_image_by_url_is_inlined_for_bedrock_and_a_private_address_is_refused() {
    let (server, files) = (Upstream::start(vec![claude()]).await, Upstream::start(vec![file("image/png", PNG)]).await);
    let url = format!("http://{}/a.png", files.address);
    let bedrock = |private_hosts: Vec<String>| {
        let mut entry = upstream("bedrock", Dialect::Anthropic, server.address, &["one"]);
        entry.base_url = format!("http://{}/bedrock", server.address);
        let mut rig = Rig::new().with_model("smart", vec![target(entry, 1, 1)]);
        rig.config.media.private_hosts = private_hosts;
        rig
    };
    let gateway = bedrock(vec![files.address.to_string()]).start().await;
    assert_eq!(gateway.chat(&asking(&url).to_string()).await.status, 200);
    let inline = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG_BASE64}});
    assert_eq!(last_body(&server)["messages"][0]["content"][1], inline);
    // Also where the body passes untouched otherwise.
    let image = json!({"type": "image", "source": {"type": "url", "url": url}});
    let own = |model: &str, image: &Value| json!({"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": [image]}], "future_field": {"a": 1.50}});
    assert_eq!(gateway.post("/v1/messages", &own("smart", &image).to_string()).await.status, 200);
    assert_eq!(last_body(&server), own("real-model", &inline));
    assert_eq!(files.seen().len(), 2);

    let strict = bedrock(Vec::new()).start().await;
    assert_eq!(error(&strict.chat(&asking(&url).to_string()).await), refused("invalid_image_url"));
    let answer = strict.post("/v1/messages", &own("smart", &image).to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"]["type"].as_str()), (400, Some("invalid_request_error")));
    assert_eq!((server.seen().len(), files.seen().len()), (2, 2));

    // Anthropic itself fetches: the URL is said as it is.
    let first_party = Rig::serving(Dialect::Anthropic, server.address).start().await;
    assert_eq!(first_party.chat(&asking("https://example.com/a.png").to_string()).await.status, 200);
    let said = json!({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}});
    assert_eq!(last_body(&server)["messages"][0]["content"][1], said);
}

#[tokio::test]
async fn a_document_by_url_is_fetched_for_an_upstream_without_file_urls() {
    let (server, files) =
        (Upstream::start(vec![chat()]).await, Upstream::start(vec![file("application/octet-stream", PDF)]).await);
    let mut rig = Rig::serving(Dialect::OpenaiChat, server.address);
    rig.config.media.private_hosts = vec![files.address.to_string()];
    let gateway = rig.start().await;
    let url = format!("http://{}/papers/a.pdf", files.address);
    let document = json!({"type": "document", "source": {"type": "url", "url": url}});
    let body = json!({"model": "smart", "max_tokens": 5, "messages": [{"role": "user", "content": [document]}]});
    let answer = gateway.post("/v1/messages", &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        last_body(&server)["messages"][0]["content"][0]["file"]["file_data"],
        format!("data:application/pdf;base64,{PDF_BASE64}")
    );
    // An image passes by its URL: this upstream fetches it.
    assert_eq!(gateway.chat(&asking("https://example.com/a.png").to_string()).await.status, 200);
    assert_eq!(files.seen().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_followed_within_bounds_and_judged_anew() {
    let (server, elsewhere) = (Upstream::start(vec![gemini()]).await, Upstream::start(vec![file("image/png", PNG)]).await);
    let to = |location: &str| answer(302, &[("location", location)], "");
    let private = format!("http://{}/a.png", elsewhere.address);
    for (scripts, expected) in [
        (vec![to("/b.png"), file("image/png", PNG)], (200, String::new(), String::new())),
        (vec![to("/b"), to("/c"), to("/d"), file("image/png", PNG)], (200, String::new(), String::new())),
        (vec![to("/again")], refused("failed_to_download_image")),
        (vec![to(&private)], refused("invalid_image_url")),
        (vec![to("file:///etc/passwd")], refused("invalid_image_url")),
        (vec![to("http://169.254.169.254/")], refused("invalid_image_url")),
    ] {
        let files = Upstream::start(scripts).await;
        let gateway = before_gemini(&server, &[files.address]).await;
        let answer = gateway.chat(&asking(&format!("http://{}/a.png", files.address)).to_string()).await;
        assert_eq!(error(&answer), expected);
        assert!(files.seen().len() <= 4, "three redirects at most");
    }
    assert!(elsewhere.seen().is_empty(), "a redirect opens no door");
}

#[tokio::test]
async fn what_comes_is_bounded_and_looked_at() {
    let server = Upstream::start(vec![gemini()]).await;
    let long = [PNG, &[0; 200][..]].concat();
    let mut unannounced = vec![Act::Write(b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\nconnection: close\r\n\r\n".to_vec())];
    unannounced.push(Act::Write(long.clone()));
    for (script, code) in [
        (file("image/png", b"<html>no image</html>"), "unsupported_image_media_type"),
        (file("image/png", PDF), "unsupported_image_media_type"),
        (file("image/svg+xml", b"<svg/>"), "unsupported_image_media_type"),
        (file("image/png", b""), "unsupported_image_media_type"),
        (file("image/png", &long), "image_too_large"),
        (unannounced, "image_too_large"),
        (answer(404, &[], "{}"), "failed_to_download_image"),
        (answer(200, &[("content-encoding", "gzip")], "{}"), "failed_to_download_image"),
        (vec![Act::Write(b"nonsense\r\n\r\n".to_vec())], "failed_to_download_image"),
        (vec![Act::WaitForClose], "failed_to_download_image"),
    ] {
        let files = Upstream::start(vec![script]).await;
        let mut rig = Rig::serving(Dialect::Gemini, server.address);
        rig.config.media.private_hosts = vec![files.address.to_string()];
        rig.config.media.max_bytes = 100;
        rig.config.media.timeout = std::time::Duration::from_millis(500);
        let gateway = rig.start().await;
        let answer = gateway.chat(&asking(&format!("http://{}/a.png", files.address)).to_string()).await;
        assert_eq!(error(&answer), refused(code), "{}", answer.body);
    }
    let dead = Upstream::dead().await;
    let gateway = before_gemini(&server, &[dead]).await;
    assert_eq!(error(&gateway.chat(&asking(&format!("http://{dead}/")).to_string()).await), refused("failed_to_download_image"));
    let many: Vec<Value> =
        (0..33).map(|i| json!({"type": "image_url", "image_url": {"url": format!("http://{dead}/{i}")}})).collect();
    let body = json!({"model": "smart", "messages": [{"role": "user", "content": many}]});
    let (status, code, param) = error(&gateway.chat(&body.to_string()).await);
    assert_eq!((status, code.as_str(), param.as_str()), (400, "too_many_media", "messages[0].content[32].image_url.url"));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn what_was_fetched_for_one_attempt_serves_the_next_and_one_url_is_fetched_once() {
    let (broken, server) = (Upstream::start(vec![answer(500, &[], "{}")]).await, Upstream::start(vec![gemini()]).await);
    let files = Upstream::start(vec![file("image/png", PNG)]).await;
    let mut rig = Rig::new().with_model(
        "smart",
        vec![
            target(upstream("first", Dialect::Gemini, broken.address, &["one"]), 1, 1),
            target(upstream("second", Dialect::Gemini, server.address, &["one"]), 1, 2),
        ],
    );
    rig.config.media.private_hosts = vec![files.address.to_string()];
    let gateway = rig.start().await;
    let image = json!({"type": "image_url", "image_url": {"url": format!("http://{}/a.png", files.address)}});
    let body = json!({"model": "smart", "messages": [{"role": "user", "content": [image, image]}]});
    let answer = gateway.chat(&body.to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-tallygate-upstream")), (200, "second"));
    let inline = json!({"inlineData": {"mimeType": "image/png", "data": PNG_BASE64}});
    assert_eq!(last_body(&server)["contents"][0]["parts"], json!([inline, inline]));
    assert_eq!(last_body(&broken)["contents"], last_body(&server)["contents"]);
    assert_eq!(files.seen().len(), 1);
}
