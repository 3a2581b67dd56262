//! What the case files share, beside the ways to call the adapter in `common`.
//!
//! `To` says from which dialect to which upstream model; it prepares requests and runs answers and streams:
//!
//! ```text
//! const TO: To<'_> = to(Dialect::OpenaiChat, Dialect::Anthropic, "claude-haiku-4-5");
//! TO.body(&request)                 // the upstream's body
//! TO.loss(&request)                 // the loss header
//! TO.losses(&request)               // (field, verdict) pairs
//! strict(TO).refusal(&request)      // (param, message)
//! TO.answer(&request, &answer)      // the client's answer
//! TO.stream(&request, sse)          // the client's stream, the same for every cut in two
//! TO.events(&request, sse)          // its JSON events, the same for chunks of 1, 2, 3, 7, 64 bytes and whole
//! ```
#![allow(dead_code, reason = "each group of cases uses a part of it")]

use bytes::Bytes;
use serde_json::Value;
use tallygate_adapter::{StreamFailure, Verdict};
use tallygate_types::Dialect;

pub use crate::common::{To, text};

/// Sizes of the chunks an upstream's stream is cut into.
const CHUNK_SIZES: &[usize] = &[1, 2, 3, 7, 64];

pub const fn to(client: Dialect, upstream: Dialect, model: &str) -> To<'_> {
    To { client, upstream, model, strict: false }
}

/// The same, set to strict.
pub const fn strict<'a>(to: &To<'a>) -> To<'a> {
    To { client: to.client, upstream: to.upstream, model: to.model, strict: true }
}

impl To<'_> {
    /// The bytes that go to the upstream.
    pub fn bytes(&self, request: &Value) -> Bytes {
        self.prepare(request).unwrap().body.whole()
    }

    /// Field and verdict of each loss, in order.
    pub fn losses(&self, request: &Value) -> Vec<(String, Verdict)> {
        let loss = self.prepare(request).unwrap().loss;
        loss.items.into_iter().map(|item| (item.field, item.verdict)).collect()
    }

    /// The code of the refusal (`unsupported_value`, …).
    pub fn refusal_code(&self, request: &Value) -> &'static str {
        self.prepare(request).unwrap_err().code
    }

    /// The client's stream as text and how it ended, fed in chunks of `size` bytes.
    pub fn chunked(&self, request: &Value, upstream: &[u8], size: usize) -> (String, Result<(), StreamFailure>) {
        let mut stream = self.open(request);
        let mut out = Vec::new();
        let mut result = Ok(());
        for chunk in upstream.chunks(size) {
            result = stream.push(Bytes::copy_from_slice(chunk), &mut out).map(|_| ());
            if result.is_err() {
                break;
            }
        }
        let result = result.and_then(|()| stream.finish(&mut out));
        (text(&out), result)
    }

    /// The JSON of the client's events, the same for every size of chunk. `[DONE]` is a string.
    pub fn events(&self, request: &Value, upstream: &str) -> Vec<Value> {
        let (whole, result) = self.chunked(request, upstream.as_bytes(), upstream.len().max(1));
        result.unwrap();
        for size in CHUNK_SIZES {
            let (cut, result) = self.chunked(request, upstream.as_bytes(), *size);
            result.unwrap();
            assert_eq!(cut, whole, "in chunks of {size}");
        }
        data(&whole)
    }
}

/// The data of each event of a stream, as JSON; `[DONE]` is a string.
pub fn data(stream: &str) -> Vec<Value> {
    stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap_or_else(|_| Value::from(data)))
        .collect()
}

/// An Anthropic stream: each event with its name before its data.
pub fn anthropic_sse(events: &[Value]) -> String {
    let named = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    events.iter().map(named).collect::<Vec<_>>().concat()
}

/// A stream of plain data events (Gemini with `alt=sse`).
pub fn plain_sse(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect::<Vec<_>>().concat()
}

/// A stream of plain data events, ended by `[DONE]` (OpenAI Chat Completions).
pub fn chat_sse(chunks: &[Value]) -> String {
    plain_sse(chunks) + "data: [DONE]\n\n"
}
