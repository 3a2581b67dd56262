//! An upstream that fails before the first content costs the client nothing, as long as another is left.

use std::time::Duration;

use tallygate_billing::{Outcome, UsageSource};
use tallygate_store::UpstreamEntry;
use tallygate_types::live::ExplainRequest;
use tallygate_types::{Dialect, Pico};

use crate::rig::{Rig, target, upstream as entry};
use crate::upstream::{Act, Upstream, answer, piece, stream, stream_head};

const GOOD: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}}"#;
const ASK: &str = r#"{"model":"smart","messages":[{"role":"user","content":"x"}]}"#;
const ASK_STREAM: &str = r#"{"model":"smart","stream":true,"messages":[{"role":"user","content":"x"}]}"#;
const CHUNK: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"good\"},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn openai(name: &str, address: std::net::SocketAddr) -> UpstreamEntry {
    entry(name, Dialect::OpenaiChat, address, &["one"])
}

fn error(status: u16, code: &str) -> Vec<Act> {
    answer(
        status,
        &[],
        &format!(r#"{{"error":{{"message":"account org-SECRET says no","type":"x","code":"{code}","param":null}}}}"#),
    )
}

#[tokio::test]
async fn whatever_an_upstream_does_before_its_first_content_the_next_one_answers() {
    let garbage = |text: &str| vec![Act::Write(text.as_bytes().to_vec())];
    for (reason, script) in [
        ("server_error", error(500, "server_error")),
        ("auth", error(401, "invalid_api_key")),
        ("rate_limited", error(429, "rate_limit_exceeded")),
        ("quota", error(429, "insufficient_quota")),
        ("connection_lost", garbage("")),
        ("connection_lost", garbage("this is not HTTP at all\r\n\r\n")),
        ("connection_lost", garbage("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"id\":")),
        ("invalid_answer", answer(200, &[], "<html>welcome</html>")),
        ("invalid_answer", answer(200, &[("content-encoding", "gzip")], "")),
    ] {
        let (bad, good) = (Upstream::start(vec![script]).await, Upstream::start(vec![answer(200, &[], GOOD)]).await);
        let targets = vec![target(openai("bad", bad.address), 1, 1), target(openai("good", good.address), 1, 2)];
        let gateway = Rig::new().with_model("smart", targets).start().await;
        let reply = gateway.chat(ASK).await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, GOOD), "{reason}");
        assert_eq!((reply.header("x-tallygate-attempts"), reply.header("x-tallygate-upstream")), ("2", "good"));
        let record = &gateway.records()[0];
        assert_eq!((record.attempt, record.attempts.len()), (2, 2));
        assert_eq!(gateway.journal.open_calls(), 0);
        assert_eq!((&*record.attempts[0].outcome, &*record.attempts[1].outcome), (reason, "ok"));
        assert!(gateway.metric(&format!(r#"tallygate_failovers_total{{from="bad",reason="{reason}",to="good"}} 1"#)));
    }
}

#[tokio::test]
async fn a_dead_port_and_a_silent_upstream_are_passed_over() {
    let silent = Upstream::start(vec![vec![Act::WaitForClose]]).await;
    let good = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    let mut slow = openai("slow", silent.address);
    slow.timeouts.first_byte_ms = Some(50);
    let targets = vec![
        target(openai("dead", Upstream::dead().await), 1, 1),
        target(slow, 1, 2),
        target(openai("good", good.address), 1, 3),
    ];
    let gateway = Rig::new().with_model("smart", targets).start().await;
    assert_eq!(gateway.chat(ASK).await.body, GOOD);
    let outcomes: Vec<_> = gateway.records()[0].attempts.iter().map(|attempt| attempt.outcome.to_string()).collect();
    assert_eq!(outcomes, ["connect", "first_byte_timeout", "ok"]);
}

#[tokio::test]
async fn a_stream_that_fails_before_its_first_content_is_tried_elsewhere() {
    let opening = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
    let cut = vec![stream_head(), piece(opening)];
    let error = stream(&["data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\",\"code\":null}}\n\n"]);
    for script in [cut, error] {
        let (bad, good) = (Upstream::start(vec![script]).await, Upstream::start(vec![stream(&[CHUNK, DONE])]).await);
        let targets = vec![target(openai("bad", bad.address), 1, 1), target(openai("good", good.address), 1, 2)];
        let gateway = Rig::new().with_model("smart", targets).start().await;
        let reply = gateway.chat(ASK_STREAM).await;
        assert_eq!((reply.status.as_u16(), reply.body), (200, format!("{CHUNK}{DONE}")));
        assert_eq!(gateway.records()[0].attempts.len(), 2);
    }
}

#[tokio::test]
async fn equal_targets_take_turns_and_so_do_credentials() {
    let (a, b) = (Upstream::start(vec![answer(200, &[], GOOD)]).await, Upstream::start(vec![answer(200, &[], GOOD)]).await);
    let two = |name, address| entry(name, Dialect::OpenaiChat, address, &["one", "two"]);
    let gateway =
        Rig::new().with_model("smart", vec![target(two("a", a.address), 1, 1), target(two("b", b.address), 1, 1)]).start().await;
    for _ in 0..8 {
        assert_eq!(gateway.chat(ASK).await.status, 200);
    }
    for upstream in [a, b] {
        let mut keys: Vec<_> = upstream.seen().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
        keys.sort();
        assert_eq!(keys, ["Bearer secret-one", "Bearer secret-one", "Bearer secret-two", "Bearer secret-two"]);
    }
}

#[tokio::test]
async fn a_refused_credential_rests_and_the_others_serve() {
    let upstream = Upstream::start(vec![
        answer(
            429,
            &[("retry-after", "30")],
            r#"{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}"#,
        ),
        answer(200, &[], GOOD),
    ])
    .await;
    let two = entry("main", Dialect::OpenaiChat, upstream.address, &["one", "two"]);
    let gateway = Rig::new().with_model("smart", vec![target(two, 1, 1)]).start().await;
    for _ in 0..4 {
        assert_eq!(gateway.chat(ASK).await.status, 200);
    }
    let explain = |model: &str| gateway.plane.explain(&ExplainRequest { model: model.into(), ..ExplainRequest::default() });
    let told = explain("smart");
    let steps: Vec<_> = told.steps.iter().map(|step| (step.upstream_name.as_str(), step.credential_name.as_deref())).collect();
    assert_eq!(steps, [("main", Some("two"))]);
    let passed_over: Vec<_> =
        told.passed_over.iter().map(|passed| (passed.credential_name.as_deref(), passed.why.as_str())).collect();
    assert_eq!(passed_over, [(Some("one"), "cooling")]);
    assert_eq!(explain("other").refusal.map(|refusal| (refusal.status, refusal.code)), Some((404, "model_not_found".into())));
    let keys: Vec<_> = upstream.seen().iter().map(|seen| seen.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(keys[0], "Bearer secret-one");
    assert!(keys[1..].iter().all(|key| key == "Bearer secret-two"), "{keys:?}");
}

#[tokio::test]
async fn the_operators_troubles_never_look_like_the_tenants_own() {
    for (script, status, code, wait, attempts) in [
        (error(401, "invalid_api_key"), 503, "upstream_unavailable", "1", 1),
        (error(403, "forbidden"), 503, "upstream_unavailable", "1", 1),
        (error(404, "model_not_found"), 404, "model_not_found", "", 1),
        // Asked again until its circuit opens: it has never worked.
        (error(500, "x"), 503, "upstream_unavailable", "10", 3),
        (
            answer(429, &[("retry-after", "7")], r#"{"error":{"message":"m","type":"t","code":"rate_limit_exceeded"}}"#),
            429,
            "upstream_rate_limited",
            "7",
            1,
        ),
        (answer(200, &[], "[]"), 502, "upstream_invalid_answer", "", 1),
    ] {
        let upstream = Upstream::start(vec![script]).await;
        let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
        let reply = gateway.chat(ASK).await;
        assert_eq!((reply.status.as_u16(), reply.json()["error"]["code"].as_str()), (status, Some(code)), "{}", reply.body);
        assert!(!reply.body.contains("SECRET"), "{}", reply.body);
        assert_eq!(reply.json()["error"]["tallygate"]["attempts"], attempts, "{}", reply.body);
        if !wait.is_empty() {
            assert_eq!(reply.header("retry-after"), wait);
        }
        let record = &gateway.records()[0];
        assert_eq!((record.charge, record.usage_source, record.outcome), (Pico::ZERO, UsageSource::None, Outcome::UpstreamError));
        assert_eq!(record.status, status);
    }
}

#[tokio::test]
async fn a_request_that_no_upstream_would_take_is_not_tried_twice() {
    let refusal = r#"{"error":{"message":"'temperature' must be at most 2","type":"invalid_request_error","param":"temperature","code":"invalid_value"}}"#;
    let (first, second) =
        (Upstream::start(vec![answer(400, &[], refusal)]).await, Upstream::start(vec![answer(200, &[], GOOD)]).await);
    let targets = vec![target(openai("first", first.address), 1, 1), target(openai("second", second.address), 1, 2)];
    let gateway = Rig::new().with_model("smart", targets).start().await;
    let reply = gateway.chat(ASK).await;
    assert_eq!((reply.status.as_u16(), reply.json()["error"]["param"].as_str()), (400, Some("temperature")));
    assert!(reply.body.contains("must be at most 2"));
    assert_eq!(second.seen().len(), 0);
    assert_eq!(gateway.records()[0].outcome, Outcome::ClientError);
}

#[tokio::test]
async fn silence_of_the_only_upstream_is_a_timeout() {
    let silent = Upstream::start(vec![vec![Act::WaitForClose]]).await;
    let mut only = openai("main", silent.address);
    only.timeouts.first_byte_ms = Some(50);
    let gateway = Rig::new().with_model("smart", vec![target(only, 1, 1)]).start().await;
    let reply = gateway.chat(ASK).await;
    assert_eq!((reply.status.as_u16(), reply.json()["error"]["code"].as_str()), (504, Some("upstream_timeout")));
    assert_eq!((gateway.records()[0].outcome, gateway.records()[0].charge), (Outcome::Timeout, Pico::ZERO));
    tokio::time::timeout(Duration::from_secs(5), silent.closed.notified()).await.expect("the connection was left open");
}

#[tokio::test]
async fn a_proxy_that_cannot_be_used_is_never_gone_around() {
    let upstream = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    let mut proxied = openai("main", upstream.address);
    proxied.proxy = "gopher://127.0.0.1:70".into();
    let gateway = Rig::new().with_model("smart", vec![target(proxied, 1, 1)]).start().await;
    assert_eq!(gateway.chat(ASK).await.status, 503);
    assert_eq!(upstream.seen().len(), 0);
    assert_eq!(gateway.records()[0].attempts[0].outcome, "proxy");
}
