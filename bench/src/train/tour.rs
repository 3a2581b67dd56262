//! Asks every question again and again, over HTTP/1.1 and HTTP/2 in turn, each under the next tenant's key.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::task::JoinSet;

use super::questions::{self, Dialect, Question};

/// Requests under way.
const ASKERS: usize = 48;
/// What of a wrong answer is shown.
const SHOWN_CHARACTERS: usize = 400;

type Caller = Client<HttpConnector, Full<Bytes>>;

struct Tour {
    target: SocketAddr,
    keys: Vec<String>,
    questions: Vec<Question>,
    next: AtomicUsize,
    until: Instant,
    /// HTTP/1.1 and HTTP/2.
    callers: [Caller; 2],
}

/// Until then, but every question over both protocols at least. Gives the number of answers, all of which were right.
pub async fn take(target: SocketAddr, keys: Vec<String>, until: Instant) -> Result<u64> {
    ensure!(!keys.is_empty(), "there are no keys");
    let caller = |is_http2| Client::builder(TokioExecutor::new()).http2_only(is_http2).build(HttpConnector::new());
    let callers = [caller(false), caller(true)];
    let tour = Arc::new(Tour { target, keys, questions: questions::all(), next: AtomicUsize::new(0), until, callers });
    let mut askers: JoinSet<Result<u64>> = (0..ASKERS)
        .map(|_| {
            let tour = Arc::clone(&tour);
            async move { tour.ask_on().await }
        })
        .collect();
    let mut answers = 0;
    while let Some(asked) = askers.join_next().await {
        answers += asked??;
    }
    Ok(answers)
}

impl Tour {
    async fn ask_on(&self) -> Result<u64> {
        let mut answers = 0;
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let (round, at) = (number / self.questions.len(), number % self.questions.len());
            if round >= self.callers.len() && Instant::now() >= self.until {
                return Ok(answers);
            }
            let question = &self.questions[at];
            let caller = &self.callers[round % self.callers.len()];
            let key = &self.keys[number % self.keys.len()];
            self.ask(question, caller, key).await.with_context(|| format!("{} with {}", question.path, shown(&question.body)))?;
            answers += 1;
        }
    }

    async fn ask(&self, question: &Question, caller: &Caller, key: &str) -> Result<()> {
        let request = Request::post(format!("http://{}{}", self.target, question.path)).header(CONTENT_TYPE, "application/json");
        let request = match question.dialect {
            Dialect::Chat | Dialect::Responses => request.header(AUTHORIZATION, format!("Bearer {key}")),
            Dialect::Anthropic => request.header("x-api-key", key).header("anthropic-version", "2023-06-01"),
            Dialect::Gemini => request.header("x-goog-api-key", key),
        };
        let answer = caller.request(request.body(Full::new(question.body.clone()))?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(status == StatusCode::OK, "status {status}: {}", shown(&body));
        for proof in &question.proofs {
            ensure!(memchr::memmem::find(&body, proof.as_bytes()).is_some(), "`{proof}` is not in {}", shown(&body));
        }
        Ok(())
    }
}

fn shown(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(SHOWN_CHARACTERS).collect()
}
