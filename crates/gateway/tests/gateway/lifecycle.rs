//! How requests end that do not end by themselves: clients that leave, upstreams that break off, servers that stop.

use std::sync::Arc;
use std::time::Duration;

use tallygate_billing::{Journal, JournalConfig, Outcome, UsageSource};
use tallygate_gateway::Drained;
use tallygate_types::{Dialect, UsageClass};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::rig::{KEY, Rig, eventually, next_piece, target, upstream as entry};
use crate::upstream::{Act, Upstream, piece, stream_end, stream_head};

const ASK: &str = r#"{"model":"smart","stream":true,"messages":[{"role":"user","content":"x"}]}"#;
const DONE: &str = "data: [DONE]\n\n";

fn chunk(text: &str, finish: &str) -> String {
    format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":{finish}}}]}}\n\n"
    )
}

#[tokio::test]
async fn a_client_that_leaves_mid_stream_cancels_the_upstream_and_pays_for_what_it_got() {
    let text = "x".repeat(400);
    let upstream = Upstream::start(vec![vec![stream_head(), piece(&chunk(&text, "null")), Act::WaitForClose]]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let mut body = gateway.open("/v1/chat/completions", ASK).await.into_body();
    assert!(next_piece(&mut body).await.unwrap().contains(&text));
    drop(body);
    tokio::time::timeout(Duration::from_secs(5), upstream.closed.notified()).await.expect("the upstream was left streaming");

    let record = &gateway.records_when(1).await[0];
    assert_eq!((record.outcome, record.status, record.usage_source), (Outcome::ClientGone, 499, UsageSource::Estimated));
    assert_eq!(record.usage.get(UsageClass::InputUncached), (ASK.len() as u64).div_ceil(4));
    assert_eq!(record.usage.get(UsageClass::OutputText), 100);
    assert_eq!(gateway.plane.in_flight(), 0);
    assert_eq!(gateway.journal.open_calls(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_cancels_the_upstream_and_pays_for_its_input() {
    let upstream = Upstream::start(vec![vec![Act::WaitForClose]]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let body = r#"{"model":"smart","messages":[]}"#;
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    let length = body.len();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    eventually(|| (upstream.seen().len() == 1).then_some(())).await;
    drop(socket);
    tokio::time::timeout(Duration::from_secs(5), upstream.closed.notified()).await.expect("the upstream was left working");
    let record = &gateway.records_when(1).await[0];
    assert_eq!((record.outcome, record.usage_source), (Outcome::ClientGone, UsageSource::Estimated));
    assert_eq!((record.usage.input_total(), record.usage.output_total()), ((body.len() as u64).div_ceil(4), 0));
}

#[tokio::test]
async fn a_request_is_served_by_the_configuration_it_came_in_with() {
    let script = vec![stream_head(), piece(&chunk("all", "\"stop\"")), piece(DONE), stream_end()];
    let upstream = Upstream::start(vec![script]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let (first, rest) = ASK.split_at(ASK.len() / 2);
    let length = ASK.len();
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {KEY}\r\ncontent-length: {length}\r\n\r\n{first}"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    eventually(|| (gateway.plane.in_flight() == 1).then_some(())).await;
    gateway.snapshot.store(Arc::default());
    socket.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains(DONE), "{answer}");
    assert_eq!(gateway.chat(ASK).await.status, 401, "the next one is served by the next");
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_in_an_error_and_never_looks_complete() {
    let silent = Arc::new(Notify::new());
    for (script, outcome) in [
        (vec![stream_head(), piece(&chunk("half", "null"))], Outcome::UpstreamError),
        (vec![stream_head(), piece(&chunk("half", "null")), stream_end()], Outcome::UpstreamError),
        (vec![stream_head(), piece(&chunk("half", "null")), piece("data: {]\n\n"), stream_end()], Outcome::UpstreamError),
        (vec![stream_head(), piece(&chunk("half", "null")), Act::Wait(Arc::clone(&silent))], Outcome::Timeout),
    ] {
        let upstream = Upstream::start(vec![script]).await;
        let mut main = entry("main", Dialect::OpenaiChat, upstream.address, &["one"]);
        main.timeouts.stream_idle_ms = Some(100);
        let gateway = Rig::new().with_model("smart", vec![target(main, 1, 1)]).start().await;
        let reply = gateway.chat(ASK).await;
        assert_eq!(reply.status, 200);
        assert!(reply.body.starts_with(&chunk("half", "null")), "{}", reply.body);
        assert!(reply.body.contains("\"error\":{") && !reply.body.contains("finish_reason\":\"stop"), "{}", reply.body);
        let record = &gateway.records_when(1).await[0];
        assert_eq!((record.outcome, record.usage_source), (outcome, UsageSource::Estimated));
        assert_eq!(record.usage.get(UsageClass::OutputText), 1);
    }
}

#[tokio::test]
async fn a_stream_under_way_is_settled_from_its_checkpoint_should_the_process_die() {
    let text = "x".repeat(12_000);
    let script = vec![stream_head(), piece(&chunk("a", "null")), piece(&chunk(&text, "null")), Act::WaitForClose];
    let upstream = Upstream::start(vec![script]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let mut body = gateway.open("/v1/chat/completions", ASK).await.into_body();
    let mut received = String::new();
    while !received.contains(&text) {
        received.push_str(&next_piece(&mut body).await.unwrap());
    }
    // What a process that starts after a crash would find.
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(gateway.folder.path()).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let (_journal, recovery) = Journal::open(copy.path(), JournalConfig::default()).unwrap();
    let record = &recovery.settled[0];
    assert_eq!((recovery.settled.len(), record.outcome, record.usage_source), (1, Outcome::Crash, UsageSource::Crash));
    assert_eq!(record.usage.get(UsageClass::OutputText), 12_001_u64.div_ceil(4));
}

#[tokio::test]
async fn a_drain_lets_streams_finish_and_takes_no_new_connections() {
    let go_on = Arc::new(Notify::new());
    let script = vec![
        stream_head(),
        piece(&chunk("one", "null")),
        Act::Wait(Arc::clone(&go_on)),
        piece(&chunk("two", "\"stop\"")),
        piece(DONE),
        stream_end(),
    ];
    let upstream = Upstream::start(vec![script]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let mut body = gateway.open("/v1/chat/completions", ASK).await.into_body();
    assert!(next_piece(&mut body).await.unwrap().contains("one"));
    gateway.shutdown.cancel();
    // A connection that was already in the backlog is never served; later ones are refused.
    eventually(|| std::net::TcpStream::connect(gateway.address).is_err().then_some(())).await;
    go_on.notify_one();
    let mut rest = String::new();
    while let Some(text) = next_piece(&mut body).await {
        rest.push_str(&text);
    }
    assert!(rest.contains("two") && rest.ends_with(DONE), "{rest}");
    assert_eq!(gateway.serving.await.unwrap(), Drained::Complete);
    assert_eq!(gateway.journal.open_calls(), 0);
}

#[tokio::test]
async fn what_outlives_the_drain_is_told_in_band_and_settled() {
    let upstream = Upstream::start(vec![vec![stream_head(), piece(&chunk("one", "null")), Act::WaitForClose]]).await;
    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
    rig.config.drain_timeout = Duration::from_millis(50);
    let gateway = rig.start().await;
    let mut body = gateway.open("/v1/chat/completions", ASK).await.into_body();
    assert!(next_piece(&mut body).await.unwrap().contains("one"));
    gateway.shutdown.cancel();
    let mut rest = String::new();
    while let Some(text) = next_piece(&mut body).await {
        rest.push_str(&text);
    }
    assert!(rest.contains("shutting down"), "{rest}");
    assert_eq!(gateway.journal.open_calls(), 0);
    let serving = gateway.serving;
    assert_eq!(serving.await.unwrap(), Drained::Stopped);
}

#[tokio::test]
async fn a_client_that_stops_reading_is_given_up() {
    let flood = chunk(&"x".repeat(64 * 1024), "null");
    let script = std::iter::once(stream_head()).chain((0..512).map(|_| piece(&flood))).chain([Act::WaitForClose]).collect();
    let upstream = Upstream::start(vec![script]).await;
    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
    rig.config.write_stall_timeout = Duration::from_millis(200);
    let gateway = rig.start().await;
    let body = gateway.open("/v1/chat/completions", ASK).await.into_body();
    let record = &gateway.records_when(1).await[0];
    assert_eq!((record.outcome, record.usage_source), (Outcome::ClientGone, UsageSource::Estimated));
    // 512 pieces are 32 MiB: the upstream was not read on behalf of a client that reads nothing.
    assert!(record.bytes_out < 16 << 20, "{}", record.bytes_out);
    drop(body);
}

#[tokio::test]
async fn a_quiet_stream_is_sent_one_comment_an_interval() {
    let upstream = Upstream::start(vec![vec![stream_head(), piece(&chunk("one", "null")), Act::WaitForClose]]).await;
    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
    let interval = Duration::from_millis(20);
    rig.config.stream_keep_alive = interval;
    let gateway = rig.start().await;
    let start = std::time::Instant::now();
    let mut body = gateway.open("/v1/chat/completions", ASK).await.into_body();
    assert!(next_piece(&mut body).await.unwrap().contains("one"));
    for _ in 0..3 {
        assert_eq!(next_piece(&mut body).await.as_deref(), Some(": keep-alive\n\n"));
    }
    assert!(start.elapsed() >= 3 * interval);
}

#[tokio::test]
async fn a_client_that_leaves_after_the_end_pays_what_the_provider_counted() {
    // 400 bytes would be estimated at 100 tokens.
    let text = "x".repeat(400);
    let usage = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":50,\"total_tokens\":59}}\n\n";
    let ask = ASK.replace("\"stream\":true", "\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    for (last, outcome) in [(Some(DONE), Outcome::Ok), (None, Outcome::ClientGone)] {
        let mut script = vec![stream_head(), piece(&chunk(&text, "null")), piece(&chunk("", "\"stop\"")), piece(usage)];
        script.extend(last.map(piece));
        script.push(Act::WaitForClose);
        let upstream = Upstream::start(vec![script]).await;
        let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
        let mut body = gateway.open("/v1/chat/completions", &ask).await.into_body();
        let mut received = String::new();
        while !received.ends_with(last.unwrap_or(usage)) {
            received.push_str(&next_piece(&mut body).await.unwrap());
        }
        drop(body);
        let record = &gateway.records_when(1).await[0];
        assert_eq!((record.outcome, record.usage_source), (outcome, UsageSource::Provider));
        assert_eq!((record.usage.input_total(), record.usage.output_total()), (9, 50));
    }
}
