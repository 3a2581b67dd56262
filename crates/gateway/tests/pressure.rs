//! What many clients at once that do not read, or do not stay, leave of this process: a file of its own, because it measures
//! the memory of the whole process.

#![allow(dead_code, reason = "the rig is shared with tests that need more of it")]

#[path = "gateway/rig.rs"]
mod rig;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tallygate_types::Dialect;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{Gateway, KEY, Rig};

const ASK: &str = r#"{"model":"smart","stream":true,"messages":[{"role":"user","content":"x"}]}"#;
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const PIECE_BYTES: usize = 16 * 1024;
const SLOW_READERS: usize = 1_000;
const ABORTED: usize = 10_000;
const AT_ONCE: usize = 50;
/// Nothing takes this long, even on a machine with much else to do, unless it hangs.
const PATIENCE: Duration = Duration::from_mins(5);
/// Per stream: what the buffers of both connections and the tasks of both ends may take.
const MAX_STREAM_BYTES: u64 = 320 * 1024;

/// An upstream that sends as fast as it is read, and never ends.
struct Flood {
    address: SocketAddr,
    open: Arc<AtomicUsize>,
    sent: Arc<AtomicU64>,
}

impl Flood {
    async fn start(pieces: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let flood = Self { address: listener.local_addr().unwrap(), open: Arc::default(), sent: Arc::default() };
        let (open, sent) = (Arc::clone(&flood.open), Arc::clone(&flood.sent));
        let text = format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}},\"finish_reason\":null}}]}}\n\n",
            "x".repeat(PIECE_BYTES)
        );
        let piece: Arc<[u8]> = format!("{:x}\r\n{text}\r\n", text.len()).into_bytes().into();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (open, sent, piece) = (Arc::clone(&open), Arc::clone(&sent), Arc::clone(&piece));
                tokio::spawn(async move {
                    open.fetch_add(1, Ordering::SeqCst);
                    pour(socket, &piece, pieces, &sent).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        flood
    }
}

async fn pour(mut socket: TcpStream, piece: &[u8], pieces: u64, sent: &AtomicU64) {
    let mut request = [0; 4096];
    if socket.read(&mut request).await.unwrap_or(0) == 0 || socket.write_all(HEAD).await.is_err() {
        return;
    }
    for _ in 0..pieces {
        if socket.write_all(piece).await.is_err() {
            return;
        }
        sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
    // Until the other side closes.
    while socket.read(&mut request).await.unwrap_or(0) > 0 {}
}

async fn gateway(flood: &Flood) -> Gateway {
    let mut rig = Rig::serving(Dialect::OpenaiChat, flood.address);
    (rig.config.max_in_flight_per_tenant, rig.config.max_in_flight_per_key) = (10_000, 10_000);
    rig.config.max_in_flight = 10_000;
    rig.config.memory_limit_bytes = Some(0);
    rig.start().await
}

async fn ask(gateway: &Gateway) -> TcpStream {
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    let length = ASK.len();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: {length}\r\n\r\n{ASK}"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

/// Until a number stays the same for a while.
async fn settled(mut number: impl FnMut() -> u64) -> u64 {
    let (mut last, mut same) = (number(), 0);
    while same < 20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = number();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what} never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One test, so that nothing else moves the memory it looks at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_clients_that_do_not_read_nor_clients_that_leave_take_more_than_their_bound() {
    let flood = Flood::start(512).await;
    let gateway = gateway(&flood).await;
    // What a first request sets up for all others.
    drop(ask(&gateway).await);
    until("the end of the first", || gateway.plane.in_flight() == 0).await;

    let before = resident_bytes();
    let mut slow = Vec::with_capacity(SLOW_READERS);
    for _ in 0..SLOW_READERS {
        slow.push(ask(&gateway).await);
    }
    until("all streams", || flood.open.load(Ordering::SeqCst) == SLOW_READERS).await;
    settled(|| flood.sent.load(Ordering::Relaxed)).await;
    let each = resident_bytes().saturating_sub(before) / SLOW_READERS as u64;
    println!("{SLOW_READERS} slow readers: {} KiB each, of {} KiB", each / 1024, MAX_STREAM_BYTES / 1024);
    assert_eq!(gateway.plane.live_requests().len(), SLOW_READERS);
    assert!(each < MAX_STREAM_BYTES, "{each} bytes for each stream");
    let left = Instant::now();
    drop(slow);
    until("the end of the slow readers", || flood.open.load(Ordering::SeqCst) == 0).await;
    println!("{SLOW_READERS} upstreams left within {:?} of their clients", left.elapsed());

    let flood_open = || flood.open.load(Ordering::SeqCst);
    let mut after_some = 0;
    for wave in 0..ABORTED / AT_ONCE {
        let streams: Vec<_> = (0..AT_ONCE)
            .map(|_| async {
                let mut socket = ask(&gateway).await;
                let mut first = [0; 256];
                assert!(socket.read(&mut first).await.unwrap() > 0);
            })
            .collect();
        futures_util::future::join_all(streams).await;
        if wave == ABORTED / AT_ONCE / 5 {
            until("the end of all", || gateway.plane.in_flight() == 0).await;
            after_some = resident_bytes();
        }
    }
    let left = Instant::now();
    until("the end of all", || gateway.plane.in_flight() == 0 && flood_open() == 0).await;
    println!("the last {AT_ONCE} upstreams left within {:?} of their clients", left.elapsed());
    let grown = resident_bytes().saturating_sub(after_some);
    println!("{ABORTED} aborted streams: {} KiB more than after a fifth of them", grown / 1024);
    assert_eq!((gateway.plane.live_requests().len(), gateway.journal.open_calls()), (0, 0));
    until("closed connections", || gateway.metric("tallygate_connections_open 0")).await;
    assert!(gateway.metric(r#"tallygate_streams_open{endpoint="chat_completions"} 0"#));
    assert!(gateway.metric(r#"tallygate_requests_in_flight{endpoint="chat_completions"} 0"#));
    assert!(grown < 8 << 20, "{grown} bytes");
}
