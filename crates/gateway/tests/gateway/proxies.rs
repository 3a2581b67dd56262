//! Upstreams that are reached through an outbound proxy, and through nothing else.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tallygate_types::Dialect;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{Rig, target, upstream as entry};
use crate::upstream::{Upstream, answer};

const GOOD: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}}"#;
const ASK: &str = r#"{"model":"smart","messages":[]}"#;

#[derive(Clone, Copy)]
enum Kind {
    Http,
    Socks,
}

/// A proxy that notes what it was asked for and then joins both ends.
async fn proxy(kind: Kind) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let notes = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (note, target) = match kind {
                Kind::Http => greet_http(&mut socket).await,
                Kind::Socks => greet_socks(&mut socket).await,
            };
            notes.lock().unwrap().push(note);
            let mut upstream = TcpStream::connect(target).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut socket, &mut upstream).await });
        }
    });
    (address, asked)
}

async fn greet_http(socket: &mut TcpStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    (head, target)
}

/// RFC 1928, with user name and password by RFC 1929, for an IPv4 address.
async fn greet_socks(socket: &mut TcpStream) -> (String, String) {
    let mut methods = [0; 2];
    socket.read_exact(&mut methods).await.unwrap();
    let mut offered = vec![0; usize::from(methods[1])];
    socket.read_exact(&mut offered).await.unwrap();
    socket.write_all(&[5, 2]).await.unwrap();
    let _version = socket.read_u8().await.unwrap();
    let mut login = Vec::new();
    for _ in 0..2 {
        let mut text = vec![0; usize::from(socket.read_u8().await.unwrap())];
        socket.read_exact(&mut text).await.unwrap();
        login.push(String::from_utf8(text).unwrap());
    }
    socket.write_all(&[1, 0]).await.unwrap();
    let mut request = [0; 10];
    socket.read_exact(&mut request).await.unwrap();
    assert_eq!(request[..4], [5, 1, 0, 1]);
    socket.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
    let target =
        SocketAddr::from(([request[4], request[5], request[6], request[7]], u16::from_be_bytes([request[8], request[9]])));
    (login.join(":"), target.to_string())
}

#[tokio::test]
async fn an_http_proxy_is_asked_to_connect() {
    let upstream = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    let (address, asked) = proxy(Kind::Http).await;
    let mut main = entry("main", Dialect::OpenaiChat, upstream.address, &["one"]);
    main.proxy = format!("http://user:p%40ss@{address}").into();
    let gateway = Rig::new().with_model("smart", vec![target(main, 1, 1)]).start().await;
    assert_eq!(gateway.chat(ASK).await.body, GOOD);
    let asked = asked.lock().unwrap().join("");
    assert!(asked.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", upstream.address)), "{asked}");
    assert!(asked.to_lowercase().contains("proxy-authorization: basic dxnlcjpwqhnz"), "{asked}");
    assert!(!upstream.seen()[0].head.to_lowercase().contains("proxy-"));
}

#[tokio::test]
async fn a_socks_proxy_of_a_credential_goes_before_that_of_the_upstream() {
    let upstream = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    let (address, asked) = proxy(Kind::Socks).await;
    let mut main = entry("main", Dialect::OpenaiChat, upstream.address, &[]);
    main.proxy = format!("http://{}", Upstream::dead().await).into();
    main.credentials = vec![Arc::new(tallygate_store::CredentialEntry {
        proxy: format!("socks5://user:pass@{address}").into(),
        ..tallygate_store::CredentialEntry::named("one", "secret")
    })];
    let gateway = Rig::new().with_model("smart", vec![target(main, 1, 1)]).start().await;
    assert_eq!(gateway.chat(ASK).await.body, GOOD);
    assert_eq!(*asked.lock().unwrap(), ["user:pass"]);
}

#[tokio::test]
async fn a_proxy_that_is_down_is_not_gone_around() {
    let upstream = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    let mut main = entry("main", Dialect::OpenaiChat, upstream.address, &["one"]);
    main.proxy = format!("socks5://{}", Upstream::dead().await).into();
    let gateway = Rig::new().with_model("smart", vec![target(main, 1, 1)]).start().await;
    assert_eq!(gateway.chat(ASK).await.status, 503);
    assert_eq!((upstream.seen().len(), &*gateway.records()[0].attempts[0].outcome), (0, "proxy"));
}

/// Answers every connection with `answer` and closes it; `None`: never says a word. Counts the connections.
async fn bad_proxy(answer: Option<&'static str>) -> (SocketAddr, Arc<Mutex<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<usize>> = Arc::default();
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            *count.lock().unwrap() += 1;
            match answer {
                Some(answer) => {
                    let mut head = [0; 1024];
                    let _request = socket.read(&mut head).await;
                    let _sent = socket.write_all(answer.as_bytes()).await;
                }
                None => silent.push(socket),
            }
        }
    });
    (address, asked)
}

#[tokio::test]
async fn the_installations_proxies_are_tried_in_turn_and_a_bad_one_is_passed_over() {
    for (answer, why) in [
        (Some("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"), "it refuses the user name or password (407)"),
        (Some("HTTP/1.1 502 Bad Gateway\r\n\r\n"), "it answered `502 Bad Gateway` to CONNECT"),
        (Some("nonsense\r\n\r\n"), "it does not speak HTTP"),
        (None, "did not get through within"),
    ] {
        let upstream = Upstream::start(vec![answer_close(), answer_close(), answer_close()]).await;
        let (bad, asked) = bad_proxy(answer).await;
        let (good, notes) = proxy(Kind::Http).await;
        let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
        rig.config.outbound.proxies = vec![format!("http://u:hunter2@{bad}"), format!("http://{good}")];
        rig.config.upstream_timeouts.connect_ms = Some(1_000);
        let gateway = rig.start().await;
        for _ in 0..3 {
            assert_eq!(gateway.chat(ASK).await.body, GOOD);
        }
        assert_eq!((*asked.lock().unwrap(), notes.lock().unwrap().len()), (1, 3), "{why}");
        let standings = gateway.plane.proxy_standings();
        let of = |address: SocketAddr| standings.iter().find(|one| one.proxy == format!("http://{address}")).unwrap();
        assert_eq!((of(bad).state, of(good).state, of(good).connections_opened), ("cooling", "ready", 3));
        let said = of(bad).last_error.clone().unwrap();
        assert!(said.contains(why) && !said.contains("hunter2"), "{said}");
        assert!(gateway.metric(&format!("tallygate_outbound_proxy_up{{proxy=\"http://{bad}\"}} 0")));
        assert!(gateway.records().iter().all(|record| record.attempts.len() == 1));
    }
}

fn answer_close() -> Vec<crate::upstream::Act> {
    answer(200, &[("connection", "close")], GOOD)
}

#[tokio::test]
async fn when_no_proxy_gets_through_the_error_names_them_and_nothing_is_sent() {
    let upstream = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    let (bad, _) = bad_proxy(Some("HTTP/1.1 503 No\r\n\r\n")).await;
    let dead = Upstream::dead().await;
    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
    rig.config.outbound.proxies = vec![format!("http://u:hunter2@{dead}"), format!("http://{bad}")];
    let gateway = rig.start().await;
    assert_eq!(gateway.chat(ASK).await.status, 503);
    assert_eq!(upstream.seen().len(), 0);
    let attempt = &gateway.records()[0].attempts[0];
    let reason = attempt.reason.as_deref().unwrap();
    assert_eq!(attempt.outcome, "proxy");
    assert!(reason.contains(&format!("http://{dead}: it cannot be reached")), "{reason}");
    assert!(reason.contains(&format!("http://{bad}: it answered `503 No`")) && !reason.contains("hunter2"), "{reason}");
}

#[tokio::test]
async fn what_no_proxy_lists_goes_straight() {
    let upstream = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    let (address, asked) = proxy(Kind::Http).await;
    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
    rig.config.outbound.proxies = vec![format!("http://{address}")];
    rig.config.outbound.no_proxy = vec![format!("127.0.0.0/8:{}", upstream.address.port())];
    let gateway = rig.start().await;
    assert_eq!(gateway.chat(ASK).await.body, GOOD);
    assert_eq!(asked.lock().unwrap().len(), 0);
}
