//! How long an upstream may take, in each part of its answer, and what each kind of slowness is called.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tallygate_billing::Outcome;
use tallygate_store::UpstreamEntry;
use tallygate_types::Dialect;
use tokio::sync::Notify;

use crate::rig::{Rig, next_piece, target, upstream as entry};
use crate::upstream::{Act, Upstream, answer, piece, stream, stream_head};

const GOOD: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}}"#;
const ASK: &str = r#"{"model":"smart","messages":[{"role":"user","content":"x"}]}"#;
const ASK_STREAM: &str = r#"{"model":"smart","stream":true,"messages":[{"role":"user","content":"x"}]}"#;
const ROLE: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
const WORD: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"half\"},\"finish_reason\":null}]}\n\n";
const LAST: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"good\"},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const LIMIT_MS: u64 = 150;
/// Shorter than the limit, and many of it are longer.
const DRIP: Duration = Duration::from_millis(20);

fn openai(name: &str, upstream: &Upstream) -> UpstreamEntry {
    entry(name, Dialect::OpenaiChat, upstream.address, &["one"])
}

/// An upstream that sends `head`, and then `drop` again and again.
async fn dripping(head: Vec<Act>, drop: &str) -> Upstream {
    let drops = std::iter::repeat_n([Act::Pause(DRIP), Act::Write(drop.as_bytes().to_vec())], 500).flatten();
    Upstream::start(vec![head.into_iter().chain(drops).collect()]).await
}

fn chunked(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[tokio::test]
async fn before_the_first_content_each_kind_of_slowness_has_a_name_and_the_next_upstream_answers() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let limited = |set: fn(&mut tallygate_store::upstreams::Timeouts)| set;
    for (reason, slow, limit) in [
        (
            "first_byte_timeout",
            Upstream::start(vec![vec![Act::WaitForClose]]).await,
            limited(|t| t.first_byte_ms = Some(LIMIT_MS)),
        ),
        // A head that drips is none until it is whole.
        (
            "first_byte_timeout",
            dripping(vec![Act::Write(b"HTTP/1.1 200 OK\r\nx: ".to_vec())], "x").await,
            limited(|t| t.first_byte_ms = Some(LIMIT_MS)),
        ),
        (
            "first_token_timeout",
            Upstream::start(vec![vec![stream_head(), piece(ROLE), Act::WaitForClose]]).await,
            limited(|t| t.first_token_ms = Some(LIMIT_MS)),
        ),
        // Neither comments nor empty deltas are content.
        (
            "first_token_timeout",
            dripping(vec![Act::Write(HEAD.into())], &chunked(": working\n\n")).await,
            limited(|t| t.first_token_ms = Some(LIMIT_MS)),
        ),
        (
            "first_token_timeout",
            dripping(vec![Act::Write(HEAD.into())], &chunked(ROLE)).await,
            limited(|t| t.first_token_ms = Some(LIMIT_MS)),
        ),
        (
            "total_timeout",
            dripping(vec![Act::Write(HEAD.into())], &chunked(": working\n\n")).await,
            limited(|t| t.total_ms = Some(LIMIT_MS)),
        ),
    ] {
        let good = Upstream::start(vec![stream(&[LAST, DONE])]).await;
        let mut bad = openai("bad", &slow);
        limit(&mut bad.timeouts);
        let gateway = Rig::new().with_model("smart", vec![target(bad, 1, 1), target(openai("good", &good), 1, 2)]).start().await;
        let begun = Instant::now();
        let reply = gateway.chat(ASK_STREAM).await;
        assert_eq!((reply.status.as_u16(), reply.body), (200, format!("{LAST}{DONE}")), "{reason}");
        assert!(begun.elapsed() >= Duration::from_millis(LIMIT_MS));
        let record = &gateway.records()[0];
        let outcomes: Vec<_> = record.attempts.iter().map(|attempt| &*attempt.outcome).collect();
        assert_eq!(outcomes, [reason, "ok"]);
        let line = format!(
            r#"tallygate_upstream_attempts_total{{outcome="failed",provider="openai",reason="{reason}",upstream="bad"}} 1"#
        );
        assert!(gateway.metric(&line), "{line}");
    }
}

#[tokio::test]
async fn a_connection_that_is_never_made_is_a_connect_timeout() {
    // Whoever has a full backlog answers no further SYN.
    let listener = tokio::net::TcpSocket::new_v4().unwrap();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = listener.listen(0).unwrap();
    let address = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(socket)) = tokio::time::timeout(DRIP, tokio::net::TcpStream::connect(address)).await {
        waiting.push(socket);
    }
    let good = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    let mut bad = entry("bad", Dialect::OpenaiChat, address, &["one", "two"]);
    bad.timeouts.connect_ms = Some(LIMIT_MS);
    let gateway = Rig::new().with_model("smart", vec![target(bad, 1, 1), target(openai("good", &good), 1, 2)]).start().await;
    assert_eq!(gateway.chat(ASK).await.body, GOOD);
    let outcomes: Vec<_> = gateway.records()[0].attempts.iter().map(|attempt| attempt.outcome.to_string()).collect();
    // Its other credential would be no better off.
    assert_eq!(outcomes, ["connect_timeout", "ok"]);
}

#[tokio::test]
async fn after_the_first_content_slowness_is_told_in_band_and_the_stream_never_looks_complete() {
    let silent = Arc::new(Notify::new());
    let begun = vec![stream_head(), piece(WORD)];
    let drips = |drop: &'static str| dripping(begun.clone(), drop);
    for (reason, upstream, idle, total) in [
        (
            "idle_timeout",
            Upstream::start(vec![begun.iter().cloned().chain([Act::Wait(silent)]).collect()]).await,
            LIMIT_MS,
            10_000,
        ),
        // Bytes that never make a line are silence.
        ("idle_timeout", drips("1\r\nx\r\n").await, LIMIT_MS, 10_000),
        ("total_timeout", drips("b\r\n: working\n\n\r\n").await, 10_000, LIMIT_MS),
    ] {
        let mut main = openai("main", &upstream);
        (main.timeouts.stream_idle_ms, main.timeouts.total_ms) = (Some(idle), Some(total));
        let gateway = Rig::new().with_model("smart", vec![target(main, 1, 1)]).start().await;
        let reply = gateway.chat(ASK_STREAM).await;
        assert!(reply.body.starts_with(WORD) && reply.body.contains(r#""error":{"#), "{reason}: {}", reply.body);
        assert!(reply.body.contains(&format!(r#""reason":"{reason}""#)), "{}", reply.body);
        assert!(!reply.body.contains("[DONE]") && !reply.body.contains(r#""finish_reason":""#), "{}", reply.body);
        let record = &gateway.records_when(1).await[0];
        assert_eq!((record.outcome, record.error_code.as_deref()), (Outcome::Timeout, Some("upstream_timeout")));
        assert_eq!(record.attempts.iter().map(|attempt| &*attempt.outcome).collect::<Vec<_>>(), [reason]);
        assert!(gateway.metric(&format!(r#"tallygate_streams_cut_total{{reason="{reason}",upstream="main"}} 1"#)));
    }
}

#[tokio::test]
async fn our_own_comments_do_not_make_an_upstream_look_alive() {
    let silent = Arc::new(Notify::new());
    let upstream = Upstream::start(vec![vec![stream_head(), piece(WORD), Act::Wait(silent)]]).await;
    let mut main = openai("main", &upstream);
    main.timeouts.stream_idle_ms = Some(LIMIT_MS);
    let mut rig = Rig::new().with_model("smart", vec![target(main, 1, 1)]);
    rig.config.stream_keep_alive = DRIP;
    let gateway = rig.start().await;
    let begun = Instant::now();
    let mut body = gateway.open("/v1/chat/completions", ASK_STREAM).await.into_body();
    let mut pieces = Vec::new();
    while let Some(piece) = next_piece(&mut body).await {
        pieces.push(piece);
    }
    assert!(begun.elapsed() < Duration::from_millis(10 * LIMIT_MS));
    let comments = pieces.iter().filter(|piece| piece.starts_with(": keep-alive")).count();
    assert!((2..=(LIMIT_MS / 20) as usize).contains(&comments), "{pieces:?}");
    assert!(pieces.last().unwrap().contains(r#""reason":"idle_timeout""#), "{pieces:?}");
}

#[tokio::test]
async fn a_slow_stream_of_whole_events_is_let_be() {
    let words = std::iter::repeat_n([Act::Pause(Duration::from_millis(LIMIT_MS / 2)), piece(WORD)], 4).flatten();
    let script =
        [stream_head()].into_iter().chain(words).chain([piece(LAST), piece(DONE), crate::upstream::stream_end()]).collect();
    let upstream = Upstream::start(vec![script]).await;
    let mut main = openai("main", &upstream);
    main.timeouts.stream_idle_ms = Some(LIMIT_MS);
    let gateway = Rig::new().with_model("smart", vec![target(main, 1, 1)]).start().await;
    assert_eq!(gateway.chat(ASK_STREAM).await.body, format!("{}{LAST}{DONE}", WORD.repeat(4)));
}

#[tokio::test]
async fn a_whole_answer_may_be_silent_only_so_long() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 10000\r\n\r\n{";
    for (reason, idle, total) in [("idle_timeout", LIMIT_MS, 10_000), ("total_timeout", 10_000, LIMIT_MS)] {
        let slow = Upstream::start(vec![vec![Act::Write(HEAD.into()), Act::WaitForClose]]).await;
        let good = Upstream::start(vec![answer(200, &[], GOOD)]).await;
        let mut bad = openai("bad", &slow);
        (bad.timeouts.stream_idle_ms, bad.timeouts.total_ms) = (Some(idle), Some(total));
        let gateway = Rig::new().with_model("smart", vec![target(bad, 1, 1), target(openai("good", &good), 1, 2)]).start().await;
        assert_eq!(gateway.chat(ASK).await.body, GOOD);
        assert_eq!(gateway.records()[0].attempts[0].outcome, reason);
    }
}
