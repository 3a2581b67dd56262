//! Asking again: the same upstream only after a pause and within its budget, another without either.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tallygate_store::UpstreamEntry;
use tallygate_types::Dialect;
use tokio::sync::Notify;

use crate::rig::{Gateway, Rig, target, upstream as entry};
use crate::upstream::{Act, Upstream, answer, piece, stream, stream_head};

const GOOD: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}}"#;
const ASK: &str = r#"{"model":"smart","messages":[{"role":"user","content":"x"}]}"#;
const ASK_STREAM: &str = r#"{"model":"smart","stream":true,"messages":[{"role":"user","content":"x"}]}"#;
const LAST: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"good\"},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn openai(name: &str, upstream: &Upstream, credentials: &[&str]) -> UpstreamEntry {
    entry(name, Dialect::OpenaiChat, upstream.address, credentials)
}

fn overloaded(headers: &[(&str, &str)]) -> Vec<Act> {
    answer(503, headers, r#"{"error":{"message":"overloaded","type":"server_error","code":null,"param":null}}"#)
}

fn outcomes(gateway: &Gateway) -> Vec<String> {
    gateway.records()[0].attempts.iter().map(|attempt| attempt.outcome.to_string()).collect()
}

#[tokio::test]
async fn a_sole_upstream_that_stumbles_is_asked_again_and_the_client_sees_nothing_of_it() {
    let lost = vec![Act::Write(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{".to_vec())];
    let upstream = Upstream::start(vec![overloaded(&[]), lost, answer(200, &[], GOOD)]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let reply = gateway.chat(ASK).await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, GOOD));
    assert_eq!(reply.header("x-tallygate-attempts"), "3");
    assert_eq!(outcomes(&gateway)[1..], ["connection_lost", "ok"]);
    assert!(gateway.metric(r#"tallygate_upstream_retries_total{upstream="main"} 2"#));
    assert_eq!(gateway.journal.open_calls(), 0);
}

#[tokio::test]
async fn a_stream_that_is_cut_before_its_content_is_asked_for_again() {
    let upstream = Upstream::start(vec![vec![stream_head(), piece(": hello\n\n")], stream(&[LAST, DONE])]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    assert_eq!(gateway.chat(ASK_STREAM).await.body, format!("{LAST}{DONE}"));
}

#[tokio::test]
async fn there_is_an_end_to_asking_again() {
    let upstream = Upstream::start(vec![overloaded(&[])]).await;
    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
    // The circuit is another matter.
    (rig.config.health.failures_to_open, rig.config.health.unproven_failures_to_open) = (1_000, 1_000);
    let gateway = rig.start().await;
    let reply = gateway.chat(ASK).await;
    assert_eq!((reply.status.as_u16(), upstream.seen().len()), (503, gateway.plane.config.max_attempts));
    assert_eq!(reply.json()["error"]["tallygate"]["attempts"], gateway.plane.config.max_attempts);
}

#[tokio::test]
async fn an_upstream_is_not_asked_for_more_than_its_budget_of_retries() {
    let upstream = Upstream::start(vec![overloaded(&[])]).await;
    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
    (rig.config.health.retry_reserve, rig.config.health.retry_percent) = (1, 0);
    // The circuit is another matter.
    (rig.config.health.failures_to_open, rig.config.health.unproven_failures_to_open) = (1_000, 1_000);
    let gateway = rig.start().await;
    for _ in 0..5 {
        assert_eq!(gateway.chat(ASK).await.status, 503);
    }
    assert_eq!(upstream.seen().len(), 6);
    assert!(gateway.metric(r#"tallygate_upstream_retries_total{upstream="main"} 1"#));
    assert!(gateway.metric(r#"tallygate_retry_budget_exhausted_total{upstream="main"} 5"#));
}

#[tokio::test]
async fn whoever_says_not_to_ask_again_is_not_asked_again() {
    let upstream = Upstream::start(vec![overloaded(&[("x-should-retry", "false")])]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    assert_eq!((gateway.chat(ASK).await.status.as_u16(), upstream.seen().len()), (503, 1));
}

#[tokio::test]
async fn a_short_wait_is_waited_out_here_and_a_long_one_is_the_clients() {
    let limited =
        |wait| answer(429, &[("retry-after-ms", wait)], r#"{"error":{"message":"m","type":"t","code":"rate_limit_exceeded"}}"#);
    let upstream = Upstream::start(vec![limited("300"), answer(200, &[], GOOD), limited("30000")]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let begun = Instant::now();
    assert_eq!(gateway.chat(ASK).await.body, GOOD);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    let refused = gateway.chat(ASK).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "30"));
    // While it cools nobody asks it, and the wait that is told gets shorter.
    let refused = gateway.chat(ASK).await;
    let wait: u64 = refused.header("retry-after-ms").parse().unwrap();
    assert!(refused.status == 429 && (20_000..30_000).contains(&wait), "{} {wait}", refused.body);
    assert_eq!(upstream.seen().len(), 3);
}

#[tokio::test]
async fn another_credential_or_upstream_is_asked_at_once() {
    let (bad, good) = (Upstream::start(vec![overloaded(&[])]).await, Upstream::start(vec![answer(200, &[], GOOD)]).await);
    let mut rig = Rig::new().with_model(
        "smart",
        vec![target(openai("bad", &bad, &["one", "two"]), 1, 1), target(openai("good", &good, &["one"]), 1, 2)],
    );
    // Not a pause in sight, whatever the jitter.
    rig.config.max_attempts = 3;
    let gateway = rig.start().await;
    let begun = Instant::now();
    assert_eq!(gateway.chat(ASK).await.body, GOOD);
    assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
    assert_eq!((bad.seen().len(), good.seen().len()), (2, 1));
}

#[tokio::test]
async fn a_burst_waits_for_a_key_that_works_instead_of_going_to_one_that_fails() {
    // The key that works does so only after the other has failed this often: each time something opens.
    const FAILURES: usize = 3;
    let (works, failed, is_first) = (Arc::new(Notify::new()), AtomicUsize::new(0), AtomicBool::new(true));
    let upstream = Upstream::choosing(move |_, asked| {
        if asked.header("authorization") == Some("Bearer secret-bad") {
            if failed.fetch_add(1, Ordering::SeqCst) + 1 == FAILURES {
                works.notify_one();
            }
            return answer(200, &[], "<html>welcome</html>");
        }
        let mut acts = answer(200, &[], GOOD);
        if is_first.swap(false, Ordering::SeqCst) {
            acts.insert(0, Act::Wait(Arc::clone(&works)));
        }
        acts
    })
    .await;
    let mut rig = Rig::new().with_model("smart", vec![target(openai("main", &upstream, &["bad", "good"]), 1, 1)]);
    (rig.config.health.unproven_in_flight, rig.config.health.opening_wait) = (1, Duration::from_mins(1));
    let gateway = rig.start().await;
    // All at once they would be more than the budget of retries bears.
    for answer in join_all((0..40).map(|_| gateway.chat(ASK))).await {
        assert_eq!(answer.body, GOOD);
    }
}
