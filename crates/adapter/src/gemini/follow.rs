//! `CONTINUATION`: the answer goes on in another call with the same request and the token that came with it.

use bytes::Bytes;
use memchr::memmem;
use serde_json::Value;

use crate::hop::Follow;

const FIELD: &str = "continuationToken";
const REASON: &str = "CONTINUATION";

pub(crate) fn follow(body: &Bytes) -> Option<Box<dyn Follow>> {
    body.starts_with(b"{\"").then(|| Box::new(Following { request: body.clone(), token: None, is_paused: false }) as Box<_>)
}

struct Following {
    /// It must come again byte for byte.
    request: Bytes,
    token: Option<String>,
    is_paused: bool,
}

impl std::fmt::Debug for Following {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Following").field("is_paused", &self.is_paused).finish_non_exhaustive()
    }
}

impl Follow for Following {
    fn event(&mut self, data: &[u8]) {
        self.answer(data);
    }

    fn answer(&mut self, body: &[u8]) {
        if memmem::find(body, FIELD.as_bytes()).is_none() && memmem::find(body, REASON.as_bytes()).is_none() {
            return;
        }
        let Ok(record) = serde_json::from_slice::<Value>(body) else { return };
        let candidate = &record["candidates"][0];
        self.is_paused |= candidate["finishReason"] == REASON;
        if let Some(token) = record[FIELD].as_str().or_else(|| candidate[FIELD].as_str()) {
            self.token = Some(token.to_owned());
        }
    }

    fn is_paused(&self) -> bool {
        self.is_paused && self.token.is_some()
    }

    fn resume(&mut self) -> Vec<u8> {
        self.is_paused = false;
        let token = Value::from(self.token.take().unwrap_or_default());
        let mut body = format!("{{\"{FIELD}\":{token},").into_bytes();
        body.extend_from_slice(&self.request[1..]);
        body
    }
}
