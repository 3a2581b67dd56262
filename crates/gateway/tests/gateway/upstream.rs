//! An upstream of a few lines: it reads a request and then does, byte by byte, what the test wrote down.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// What an upstream does with one request.
#[derive(Clone)]
pub enum Act {
    Write(Vec<u8>),
    /// Until the test says so.
    Wait(Arc<Notify>),
    /// So long, unless the other side closes.
    Pause(Duration),
    /// Until the other side closes.
    WaitForClose,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub head: String,
    pub body: String,
}

pub struct Upstream {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    pub closed: Arc<Notify>,
}

impl Seen {
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

type Script = dyn Fn(usize, &Seen) -> Vec<Act> + Send + Sync;

impl Upstream {
    /// Answers the requests in turn with `scripts`, the last one again and again.
    pub async fn start(scripts: Vec<Vec<Act>>) -> Self {
        Self::choosing(move |number, _| scripts[number.min(scripts.len() - 1)].clone()).await
    }

    /// Answers each request, by its number and what it says, with what `script` gives.
    pub async fn choosing(script: impl Fn(usize, &Seen) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let script: Arc<Script> = Arc::new(script);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self { address: listener.local_addr().unwrap(), seen: Arc::default(), closed: Arc::new(Notify::new()) };
        let (seen, closed) = (Arc::clone(&upstream.seen), Arc::clone(&upstream.closed));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&script), Arc::clone(&seen), Arc::clone(&closed)));
            }
        });
        upstream
    }

    /// A port at which nobody listens.
    pub async fn dead() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(mut socket: TcpStream, script: Arc<Script>, seen: Arc<Mutex<Vec<Seen>>>, closed: Arc<Notify>) {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let length = Seen { head: head.clone(), body: String::new() }.header("content-length").map_or(0, |n| n.parse().unwrap());
    while bytes.len() < head_end + length {
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let asked = Seen { head, body: String::from_utf8(bytes[head_end..].to_vec()).unwrap() };
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(asked.clone());
        seen.len() - 1
    };
    for act in &script(number, &asked) {
        match act {
            Act::Write(bytes) => {
                if socket.write_all(bytes).await.is_err() {
                    break;
                }
            }
            Act::Wait(until) => until.notified().await,
            Act::Pause(pause) => tokio::time::sleep(*pause).await,
            Act::WaitForClose => {
                let mut rest = Vec::new();
                let _ = socket.read_to_end(&mut rest).await;
                closed.notify_one();
            }
        }
    }
}

/// A whole answer.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Vec<Act> {
    let headers = headers.iter().fold(String::new(), |lines, (name, value)| lines + name + ": " + value + "\r\n");
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    vec![Act::Write(text.into_bytes())]
}

/// The head of a stream.
pub fn stream_head() -> Act {
    let text = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    Act::Write(text.as_bytes().to_vec())
}

/// One piece of a stream.
pub fn piece(text: &str) -> Act {
    Act::Write(format!("{:x}\r\n{text}\r\n", text.len()).into_bytes())
}

/// The orderly end of a stream.
pub fn stream_end() -> Act {
    Act::Write(b"0\r\n\r\n".to_vec())
}

/// A whole stream.
pub fn stream(pieces: &[&str]) -> Vec<Act> {
    std::iter::once(stream_head()).chain(pieces.iter().map(|text| piece(text))).chain([stream_end()]).collect()
}
