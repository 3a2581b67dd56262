//! The latest requests as they arrived, so that a test can see what a gateway really sent.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use serde::Serialize;

use crate::ledger::last_four;

/// Requests kept.
pub const MAX_REQUESTS: usize = 64;
/// Bytes kept of one body.
pub const MAX_KEPT_BODY_BYTES: usize = 1 << 20;
/// Headers whose value is a credential.
const SECRET_HEADERS: [&str; 4] = ["authorization", "x-api-key", "x-goog-api-key", "proxy-authorization"];

/// One request as it arrived, credentials masked.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Seen {
    pub seq: u64,
    pub method: String,
    pub path: String,
    /// In the order of arrival, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as text, invalid UTF-8 replaced.
    pub body: String,
    /// The body's exact bytes in base64.
    pub body_base64: String,
    /// Length of the whole body, also where only its start is kept.
    pub body_bytes: usize,
}

/// A bounded ring, newest last.
#[derive(Default)]
pub(crate) struct Recent {
    ring: Mutex<VecDeque<Seen>>,
}

impl Recent {
    pub(crate) fn record(&self, seq: u64, method: &str, path: &str, headers: &HeaderMap, body: &Bytes) {
        let kept = &body[..body.len().min(MAX_KEPT_BODY_BYTES)];
        let seen = Seen {
            seq,
            method: method.to_owned(),
            path: path.to_owned(),
            headers: headers.iter().map(|(name, value)| masked(name.as_str(), value.as_bytes())).collect(),
            body: String::from_utf8_lossy(kept).into_owned(),
            body_base64: STANDARD.encode(kept),
            body_bytes: body.len(),
        };
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() == MAX_REQUESTS {
            ring.pop_front();
        }
        ring.push_back(seen);
    }

    /// All kept requests, newest first.
    pub(crate) fn newest_first(&self) -> Vec<Seen> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.iter().rev().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn masked(name: &str, value: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(value).into_owned();
    let shown = if SECRET_HEADERS.contains(&name) { format!("…{}", last_four(&text)) } else { text };
    (name.to_owned(), shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_bounded_and_masks_credentials() {
        let recent = Recent::default();
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", "sk-secret-abcd".parse().expect("a value"));
        for seq in 0..70 {
            recent.record(seq, "POST", "/v1/messages", &headers, &Bytes::from_static(b"{}"));
        }
        let seen = recent.newest_first();
        assert_eq!((seen.len(), seen[0].seq), (64, 69));
        assert_eq!(seen[0].headers[0], ("x-api-key".to_owned(), "…abcd".to_owned()));
        assert_eq!(seen[0].body_base64, "e30=");
    }
}
