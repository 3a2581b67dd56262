//! The simulator from outside, over a socket: what a gateway would see of it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tallygate_sim::{Ended, SimConfig, SimHandle, start};
use tokio::net::TcpStream;

struct Reply {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Result<Bytes, hyper::Error>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(self.body.as_ref().expect("a whole body")).expect("JSON")
    }
}

async fn sim(config: SimConfig) -> SimHandle {
    start(SimConfig { chunk_delay_ms: 0, slow_delay_ms: 1, ..config }).await.expect("a simulator")
}

async fn send(addr: SocketAddr, method: Method, path: &str, key: (&str, &str), body: &Value) -> Result<Reply, hyper::Error> {
    let stream = TcpStream::connect(addr).await.expect("a connection");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let body = if method == Method::POST { body.to_string() } else { String::new() };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", addr.to_string())
        .header("x-request-id", "gw-1")
        .header("anthropic-version", "2023-06-01")
        .header(key.0, key.1)
        .body(Full::new(Bytes::from(body)))
        .expect("a request");
    let (head, body) = sender.send_request(request).await?.into_parts();
    Ok(Reply { status: head.status, headers: head.headers, body: body.collect().await.map(http_body_util::Collected::to_bytes) })
}

const BEARER: (&str, &str) = ("authorization", "Bearer sk-good-1234");
const ANTHROPIC: (&str, &str) = ("x-api-key", "sk-good-1234");
const GOOGLE: (&str, &str) = ("x-goog-api-key", "sk-good-1234");

fn hello(model: &str) -> Value {
    json!({"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]})
}

async fn chat(sim: &SimHandle, model: &str) -> Result<Reply, hyper::Error> {
    send(sim.addr, Method::POST, "/v1/chat/completions", BEARER, &hello(model)).await
}

#[tokio::test]
async fn each_exchange_is_in_the_ledger_with_its_usage_and_end() {
    let sim = sim(SimConfig::default()).await;
    let reply = send(sim.addr, Method::POST, "/v1/messages", ANTHROPIC, &hello("claude-sim")).await.expect("a reply");
    assert_eq!(reply.json()["content"][0]["text"], "You said: \"hi\". — gezählt ✓ 数");
    assert_eq!(reply.headers["request-id"], "req_sim00000001");
    let entry = &sim.ledger()[0];
    assert_eq!((entry.seq, entry.status, entry.ended), (1, 200, Ended::Complete));
    assert_eq!((entry.model.as_str(), entry.credential.as_str()), ("claude-sim", "1234"));
    assert_eq!(entry.gateway_request_id.as_deref(), Some("gw-1"));
    let usage = entry.usage.expect("usage");
    assert_eq!(reply.json()["usage"]["input_tokens"], usage.input_uncached);
    assert_eq!(reply.json()["usage"]["output_tokens"], usage.output_text);
    assert!(entry.usage_reported);
    let served = send(sim.addr, Method::GET, "/_sim/ledger?since=0", BEARER, &Value::Null).await.expect("the ledger");
    assert_eq!(served.json()["entries"][0]["ended"], "complete");
    let nothing = send(sim.addr, Method::GET, "/_sim/ledger?since=1", BEARER, &Value::Null).await.expect("the ledger");
    assert_eq!(nothing.json(), json!({"entries": []}));
    sim.shutdown().await;
}

#[tokio::test]
async fn a_missing_or_bad_credential_is_refused_in_the_dialect() {
    let sim = sim(SimConfig::default()).await;
    let path = "/v1beta/models/gemini-sim:generateContent";
    let body = json!({"contents": [{"parts": [{"text": "hi"}]}]});
    let cases = [
        ("/v1/chat/completions", ANTHROPIC, 401, "/error/type", "invalid_request_error"),
        ("/v1/chat/completions", ("authorization", "Bearer sk-bad-1"), 401, "/error/code", "invalid_api_key"),
        ("/v1/messages", GOOGLE, 401, "/error/type", "authentication_error"),
        (path, ANTHROPIC, 401, "/error/status", "UNAUTHENTICATED"),
        (path, ("x-goog-api-key", "k-bad"), 400, "/error/details/0/reason", "API_KEY_INVALID"),
        ("/v1/chat/completions", ("authorization", "Bearer sk-limited-1"), 429, "/error/code", "rate_limit_exceeded"),
    ];
    for (path, key, status, pointer, wanted) in cases {
        let reply = send(sim.addr, Method::POST, path, key, &body).await.expect("a reply");
        assert_eq!((reply.status.as_u16(), reply.json().pointer(pointer)), (status, Some(&json!(wanted))), "{path}");
    }
    assert!(sim.ledger().iter().all(|entry| entry.ended == Ended::Error && entry.usage.is_none()));
    sim.shutdown().await;
}

#[tokio::test]
async fn faults_are_chosen_by_the_model() {
    let sim = sim(SimConfig::default()).await;
    for (model, status) in [("sim-429", 429), ("sim-500", 500), ("gpt-sim:503", 503), ("sim-401", 401), ("sim-404", 404)] {
        assert_eq!(chat(&sim, model).await.expect("a reply").status.as_u16(), status, "{model}");
    }
    assert!(chat(&sim, "sim-refuse").await.is_err());
    let cut = chat(&sim, "sim-cut").await.expect("a head");
    assert_eq!(cut.status, StatusCode::OK);
    assert!(cut.body.is_err());
    assert!(chat(&sim, "sim-garbage").await.expect("a reply").body.expect("a page").starts_with(b"<html>"));
    assert_eq!(chat(&sim, "sim-no-usage").await.expect("a reply").json().get("usage"), None);
    assert_eq!(chat(&sim, "sim-midstream-error").await.expect("a reply").json()["error"]["type"], "server_error");
    assert_eq!(chat(&sim, "sim-fail-first-1").await.expect("a reply").status.as_u16(), 500);
    assert_eq!(chat(&sim, "sim-fail-first-1").await.expect("a reply").status.as_u16(), 200);
    let ended: Vec<Ended> = sim.ledger().iter().map(|entry| entry.ended).collect();
    assert_eq!(ended[5..7], [Ended::Cut, Ended::Cut]);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_stream_breaks_in_the_dialect() {
    let sim = sim(SimConfig::default()).await;
    let mut body = hello("claude-sim:midstream-error");
    body["stream"] = json!(true);
    let reply = send(sim.addr, Method::POST, "/v1/messages", ANTHROPIC, &body).await.expect("a reply");
    let text = String::from_utf8(reply.body.expect("a body").to_vec()).expect("text");
    let error = text.split_once("event: error\ndata: ").map(|(_, data)| data.trim()).expect("an error event");
    let error: Value = serde_json::from_str(error).expect("JSON");
    assert_eq!(error["error"], json!({"type": "overloaded_error", "message": "Overloaded"}));
    assert!(!text.contains("message_stop"));
    body["model"] = json!("claude-sim:cut");
    let reply = send(sim.addr, Method::POST, "/v1/messages", ANTHROPIC, &body).await.expect("a head");
    assert!(reply.body.is_err());
    let ended: Vec<Ended> = sim.ledger().iter().map(|entry| entry.ended).collect();
    assert_eq!(ended, [Ended::Error, Ended::Cut]);
    sim.shutdown().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_is_noticed() {
    let sim = sim(SimConfig::default()).await;
    let hung = tokio::time::timeout(Duration::from_millis(50), chat(&sim, "sim-hang")).await;
    assert!(hung.is_err());
    // The request was dropped with its connection's sender; the books close once the simulator reads the end.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while sim.ledger().first().is_none_or(|entry| entry.ended == Ended::Open) {
        assert!(tokio::time::Instant::now() < deadline, "the hang-up was not noticed");
        tokio::task::yield_now().await;
    }
    let entry = &sim.ledger()[0];
    assert_eq!((entry.ended, entry.status), (Ended::ClientGone, 0));
    sim.shutdown().await;
}

#[tokio::test]
async fn the_latest_requests_can_be_looked_at() {
    let sim = sim(SimConfig::default()).await;
    chat(&sim, "gpt-sim").await.expect("a reply");
    let seen = send(sim.addr, Method::GET, "/_sim/last-request", BEARER, &Value::Null).await.expect("the ring").json();
    let request = &seen["requests"][0];
    assert_eq!(request["path"], "/v1/chat/completions");
    assert_eq!(request["body"], hello("gpt-sim").to_string());
    assert!(request["headers"].as_array().is_some_and(|all| all.contains(&json!(["authorization", "…1234"]))));
    send(sim.addr, Method::DELETE, "/_sim/ledger", BEARER, &Value::Null).await.expect("a reset");
    assert!(sim.ledger().is_empty());
    sim.shutdown().await;
}

#[tokio::test]
async fn models_embeddings_and_counters_answer() {
    let sim = sim(SimConfig::default()).await;
    let list = send(sim.addr, Method::GET, "/v1beta/models", GOOGLE, &Value::Null).await.expect("a list").json();
    assert_eq!(list["models"][0]["name"], "models/gemini-sim");
    let vectors = json!({"model": "embed-sim", "input": "hello", "encoding_format": "base64"});
    let reply = send(sim.addr, Method::POST, "/v1/embeddings", BEARER, &vectors).await.expect("vectors").json();
    assert!(reply["data"][0]["embedding"].is_string());
    assert_eq!(reply["usage"], json!({"prompt_tokens": 2, "total_tokens": 2}));
    let count = send(sim.addr, Method::POST, "/v1/messages/count_tokens", ANTHROPIC, &hello("m")).await.expect("a count");
    assert_eq!(count.json(), json!({"input_tokens": 2}));
    sim.shutdown().await;
}

#[tokio::test]
async fn a_recorded_stream_is_served_byte_for_byte() -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    std::fs::create_dir(dir.path().join("gemini-stream"))?;
    let raw = format!("data: {{\"text\":\"{}\"}}\r\n\r\n", "ü".repeat(400));
    let case = json!({"id": "x-1", "provider": "gemini-stream",
        "response": {"status": 200, "headers": {"content-type": "text/event-stream"}, "body_raw": raw}});
    std::fs::write(dir.path().join("gemini-stream/x-1.json"), case.to_string())?;
    let sim = sim(SimConfig { replay: Some(dir.path().to_owned()), ..SimConfig::default() }).await;
    for path in [
        "/v1beta/models/gemini-stream/x-1:streamGenerateContent?alt=sse",
        "/v1beta/models/gemini-stream%2Fx-1:streamGenerateContent?alt=sse",
    ] {
        let reply = send(sim.addr, Method::POST, path, GOOGLE, &json!({})).await.expect("a reply");
        assert_eq!(reply.headers["content-type"], "text/event-stream");
        assert_eq!(reply.body.expect("a body"), raw);
    }
    let missing = send(sim.addr, Method::POST, "/v1/messages", ANTHROPIC, &hello("a/b")).await.expect("a reply");
    assert_eq!((missing.status.as_u16(), &missing.json()["error"]["type"]), (404, &json!("not_found_error")));
    sim.shutdown().await;
    Ok(())
}

/// Real recordings, where they lie beside the workspace.
#[tokio::test]
async fn every_recorded_case_loads() {
    let shared = std::env::var_os("TALLYGATE_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let traffic = shared.join("traffic");
    if !traffic.is_dir() {
        println!("skipped: no recorded traffic at {}", traffic.display());
        return;
    }
    let sim = sim(SimConfig { replay: Some(traffic), ..SimConfig::default() }).await;
    let health = send(sim.addr, Method::GET, "/_sim/health", BEARER, &Value::Null).await.expect("health").json();
    assert!(health["replayed_cases"].as_u64().is_some_and(|count| count > 100), "{health}");
    sim.shutdown().await;
}

#[tokio::test]
async fn a_fault_can_be_set_for_a_credential_and_healed() {
    let sim = sim(SimConfig::default()).await;
    let set = |query: &str| format!("/_sim/faults?credential=sk-good-1234{query}");
    send(sim.addr, Method::PUT, &set("&fault=429&retry_after=30"), BEARER, &Value::Null).await.expect("a rule");
    let limited = chat(&sim, "gpt-sim").await.expect("a reply");
    assert_eq!(limited.status.as_u16(), 429);
    assert_eq!(limited.headers["retry-after"], "30");
    let wrong = send(sim.addr, Method::PUT, &set("&fault=nothing"), BEARER, &Value::Null).await.expect("a reply");
    assert_eq!(wrong.status, 400);
    send(sim.addr, Method::DELETE, &set(""), BEARER, &Value::Null).await.expect("no rule");
    assert_eq!(chat(&sim, "gpt-sim").await.expect("a reply").status, 200);
}

#[tokio::test]
async fn a_connection_is_reset_before_and_in_the_middle_of_an_answer() {
    let sim = sim(SimConfig::default()).await;
    assert!(chat(&sim, "sim-reset").await.is_err());
    let half = chat(&sim, "sim-reset-midstream").await;
    assert!(half.is_err() || half.is_ok_and(|reply| reply.body.is_err()));
    assert!(sim.ledger().iter().all(|entry| entry.ended == Ended::Cut));
}

#[tokio::test]
async fn a_truncated_answer_ends_well_by_its_framing() {
    let sim = sim(SimConfig::default()).await;
    let whole = chat(&sim, "sim-truncate").await.expect("a reply");
    assert!(serde_json::from_slice::<Value>(&whole.body.expect("a whole body")).is_err());
    let mut streamed = hello("sim-truncate");
    streamed["stream"] = json!(true);
    let reply = send(sim.addr, Method::POST, "/v1/chat/completions", BEARER, &streamed).await.expect("a reply");
    let body = reply.body.expect("a whole body");
    assert!(body.starts_with(b"data: {") && !body.ends_with(b"[DONE]\n\n"));
    let error = chat(&sim, "sim-error-200").await.expect("a reply");
    assert_eq!((error.status.as_u16(), error.json()["error"]["type"].as_str()), (200, Some("server_error")));
}
