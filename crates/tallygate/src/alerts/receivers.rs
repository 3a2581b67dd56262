//! A receiver of webhooks and one of mail, for tests.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What came, and what is answered.
#[derive(Default)]
pub struct Heard {
    pub posts: Vec<(HeaderMap, Bytes)>,
    /// Envelope recipients and the whole mail.
    pub mails: Vec<(Vec<String>, String)>,
    /// Answered in place of 204.
    pub refuse_posts: Option<StatusCode>,
    pub refuses_mails: bool,
}

#[derive(Clone, Default)]
pub struct Receivers(pub Arc<Mutex<Heard>>);

impl Receivers {
    /// Both on free ports of this machine.
    pub async fn start() -> (Self, SocketAddr, SocketAddr) {
        let receivers = Self::default();
        let (http, smtp) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (http_at, smtp_at) = (http.local_addr().unwrap(), smtp.local_addr().unwrap());
        let router = Router::new().fallback(receive).with_state(receivers.clone());
        tokio::spawn(async move { axum::serve(http, router).await.unwrap() });
        let hearing = receivers.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = smtp.accept().await {
                tokio::spawn(hearing.clone().talk(stream));
            }
        });
        (receivers, http_at, smtp_at)
    }

    pub fn heard<T>(&self, look: impl FnOnce(&mut Heard) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    /// As much of SMTP as a mail takes (RFC 5321).
    async fn talk(self, stream: TcpStream) {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let (mut to, mut mail, mut is_data) = (Vec::new(), String::new(), false);
        write.write_all(b"220 test\r\n").await.unwrap();
        while let Ok(Some(line)) = lines.next_line().await {
            if is_data {
                if line != "." {
                    mail.push_str(&line);
                    mail.push('\n');
                    continue;
                }
                is_data = false;
                let refuses = self.heard(|heard| {
                    if !heard.refuses_mails {
                        heard.mails.push((std::mem::take(&mut to), std::mem::take(&mut mail)));
                    }
                    heard.refuses_mails
                });
                let answer: &[u8] = if refuses { b"451 later\r\n" } else { b"250 ok\r\n" };
                write.write_all(answer).await.unwrap();
                continue;
            }
            let answer: &[u8] = match line.get(..4).unwrap_or_default() {
                "DATA" => {
                    is_data = true;
                    b"354 go on\r\n"
                }
                "RCPT" => {
                    to.push(line["RCPT TO:".len()..].trim_matches(['<', '>']).to_owned());
                    b"250 ok\r\n"
                }
                "QUIT" => b"221 bye\r\n",
                _ => b"250 ok\r\n",
            };
            if write.write_all(answer).await.is_err() {
                return;
            }
        }
    }
}

async fn receive(State(receivers): State<Receivers>, headers: HeaderMap, body: Bytes) -> StatusCode {
    receivers.heard(|heard| {
        if let Some(status) = heard.refuse_posts {
            return status;
        }
        heard.posts.push((headers, body));
        StatusCode::NO_CONTENT
    })
}
