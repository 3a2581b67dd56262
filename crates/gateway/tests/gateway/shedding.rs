//! Too much to do: who is turned away, before a byte of a body is read, and what is given up for memory.

use std::time::Duration;

use tallygate_billing::Outcome;
use tallygate_store::Limits;
use tallygate_types::Dialect;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rig::{Gateway, KEY, OTHER_KEY, Rig, eventually, next_piece};
use crate::upstream::{Act, Upstream, answer, piece, stream_head};

const GOOD: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}}"#;
const ASK: &str = r#"{"model":"smart","messages":[{"role":"user","content":"x"}]}"#;
const ASK_STREAM: &str = r#"{"model":"smart","stream":true,"messages":[{"role":"user","content":"x"}]}"#;
const WORD: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"half\"},\"finish_reason\":null}]}\n\n";

/// Announces a body that never comes, and returns what is answered all the same.
async fn ask_without_a_body(gateway: &Gateway, key: &str) -> String {
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    let head =
        format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: 1000\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut reply = String::new();
    let read = tokio::time::timeout(Duration::from_secs(5), socket.read_to_string(&mut reply));
    read.await.expect("a body was waited for").unwrap();
    reply
}

/// An upstream that begins to answer everybody and ends for nobody.
async fn endless() -> Upstream {
    Upstream::start(vec![vec![stream_head(), piece(WORD), Act::WaitForClose]]).await
}

#[tokio::test]
async fn a_tenant_with_all_it_may_have_is_refused_before_its_body_is_read_and_others_are_not() {
    let upstream = endless().await;
    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
    rig.config.max_in_flight_per_tenant = 1;
    let gateway = rig.start().await;
    let mut open = gateway.open("/v1/chat/completions", ASK_STREAM).await.into_body();
    assert!(next_piece(&mut open).await.is_some());
    let refused = ask_without_a_body(&gateway, KEY).await;
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("concurrency_limit"), "{refused}");
    assert!(refused.contains("connection: close") && refused.contains("retry-after: 1"), "{refused}");
    assert!(gateway.metric(r#"tallygate_shed_total{reason="tenant"} 1"#));
    let other = gateway.post_as(OTHER_KEY, "/v1/messages/count_tokens", r#"{"model":"smart","messages":[]}"#).await;
    assert_eq!(other.status, 200, "{}", other.body);
    drop(open);
    eventually(|| (gateway.plane.in_flight() == 0).then_some(())).await;
}

#[tokio::test]
async fn near_the_bound_a_tenant_above_its_share_is_refused_before_one_below_it() {
    let upstream = endless().await;
    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
    rig.config.max_in_flight = 5;
    let gateway = rig.start().await;
    let mut greedy = Vec::new();
    for _ in 0..4 {
        greedy.push(gateway.open("/v1/chat/completions", ASK_STREAM).await);
    }
    // The other's announced body holds the last place, and tells that there are two tenants.
    let mut modest = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {OTHER_KEY}\r\ncontent-length: 9\r\n\r\n"
    );
    modest.write_all(head.as_bytes()).await.unwrap();
    eventually(|| (gateway.plane.in_flight() == 5).then_some(())).await;
    greedy.pop();
    eventually(|| (gateway.plane.in_flight() == 4).then_some(())).await;
    let refused = ask_without_a_body(&gateway, KEY).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains(r#""reason":"fair_share""#), "{refused}");
    let other = gateway.post_as(OTHER_KEY, "/v1/messages/count_tokens", r#"{"model":"smart","messages":[]}"#).await;
    assert_eq!(other.status, 200, "{}", other.body);
    assert!(gateway.metric(r#"tallygate_shed_total{reason="fair_share"} 1"#));
    drop((greedy, modest));
    eventually(|| (gateway.plane.in_flight() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_tenant_that_floods_at_ten_times_its_share_keeps_no_other_from_being_served() {
    const ROUNDS: usize = 30;
    const FLOOD: usize = 10;
    let upstream = Upstream::choosing(|_, seen| {
        let is_stream = seen.body.contains("\"stream\":true");
        if is_stream { vec![stream_head(), piece(WORD), Act::WaitForClose] } else { answer(200, &[], GOOD) }
    })
    .await;
    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
    rig.config.max_in_flight = 20;
    let gateway = rig.start().await;
    let mut running = Vec::new();
    loop {
        let reply = gateway.open("/v1/chat/completions", ASK_STREAM).await;
        if reply.status() != 200 {
            break;
        }
        running.push(reply);
    }
    assert_eq!(running.len(), 18, "nine tenths of the places, while it is alone");
    for round in 0..ROUNDS {
        for _ in 0..FLOOD {
            let refused = gateway.open("/v1/chat/completions", ASK_STREAM).await;
            assert_eq!(refused.status(), 503);
        }
        let served = gateway.post_as(OTHER_KEY, "/v1/chat/completions", ASK).await;
        assert_eq!(served.status, 200, "round {round}: {}", served.body);
    }
    assert!(gateway.metric(&format!(r#"tallygate_shed_total{{reason="fair_share"}} {}"#, 1 + ROUNDS * FLOOD)));
}

#[tokio::test]
async fn short_of_memory_the_tenant_with_more_than_others_is_refused_first() {
    let upstream = endless().await;
    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
    rig.config.memory_limit_bytes = Some(0);
    let gateway = rig.start().await;
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(gateway.open("/v1/chat/completions", ASK_STREAM).await);
    }
    gateway.plane.note_memory(940, 1_000);
    let alone = gateway.post("/v1/messages/count_tokens", r#"{"model":"smart","messages":[]}"#).await;
    assert_eq!(alone.status, 200, "there is nobody it takes from");
    let mut modest = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {OTHER_KEY}\r\ncontent-length: 9\r\n\r\n"
    );
    modest.write_all(head.as_bytes()).await.unwrap();
    eventually(|| (gateway.plane.in_flight() == 4).then_some(())).await;
    let refused = ask_without_a_body(&gateway, KEY).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains(r#""reason":"fair_share""#), "{refused}");
    let other = gateway.post_as(OTHER_KEY, "/v1/messages/count_tokens", r#"{"model":"smart","messages":[]}"#).await;
    assert_eq!(other.status, 200, "{}", other.body);
}

#[tokio::test]
async fn a_key_has_a_bound_of_its_own_unless_its_tenant_sets_one() {
    for (limits, status) in [(Limits::default(), 429), (Limits { concurrency: Some(5), ..Limits::default() }, 200)] {
        let upstream = Upstream::start(vec![vec![stream_head(), piece(WORD), Act::WaitForClose], answer(200, &[], GOOD)]).await;
        let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address).with_limits(limits);
        rig.config.max_in_flight_per_key = 1;
        let gateway = rig.start().await;
        let mut open = gateway.open("/v1/chat/completions", ASK_STREAM).await.into_body();
        assert!(next_piece(&mut open).await.is_some());
        assert_eq!(gateway.chat(ASK).await.status, status);
    }
}

#[tokio::test]
async fn without_memory_nothing_new_is_taken_and_the_largest_is_ended_in_its_own_dialect() {
    let upstream = endless().await;
    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
    // The test alone says how much is used.
    rig.config.memory_limit_bytes = Some(0);
    let gateway = rig.start().await;
    let mut open = gateway.open("/v1/chat/completions", ASK_STREAM).await.into_body();
    assert_eq!(next_piece(&mut open).await.as_deref(), Some(WORD));
    // A kept connection is used by the next request only while memory is plenty.
    gateway.plane.note_memory(940, 1_000);
    let reply = gateway.chat(&ASK.replace("smart", "unknown")).await;
    assert_eq!((reply.status.as_u16(), reply.header("connection")), (404, "close"));
    gateway.plane.note_memory(960, 1_000);
    let refused = ask_without_a_body(&gateway, KEY).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains(r#""reason":"memory""#), "{refused}");
    gateway.plane.note_memory(980, 1_000);
    let mut told = String::new();
    while let Some(piece) = next_piece(&mut open).await {
        told.push_str(&piece);
    }
    assert!(told.contains(r#""code":"gateway_overloaded""#) && !told.contains("[DONE]"), "{told}");
    let record = gateway.records_when(2).await.into_iter().find(|record| record.attempt == 1).unwrap();
    assert_eq!((record.outcome, &*record.attempts[0].outcome), (Outcome::Internal, "memory"));
    assert!(gateway.metric(r#"tallygate_requests_interrupted_total{reason="memory"} 1"#));
}
