//! What is known of a request so far. Each layer writes down what it learned; whoever ends the request reads it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName};
use tallygate_store::{KeyEntry, Snapshot};
use tallygate_types::{Clock, Dialect, IdText, RequestId, Timestamp};

use crate::in_flight::Live;
use crate::path::Endpoint;

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Made by the first layer and shared by all others.
#[derive(Debug)]
pub struct Facts {
    pub request_id: RequestId,
    /// `request_id` as headers and logs say it.
    pub request_id_text: IdText,
    pub accepted_at: Timestamp,
    /// The monotonic twin of `accepted_at`, for durations.
    pub started: Instant,
    /// With whom the connection is: the caller, or a proxy before it.
    pub peer: IpAddr,
    endpoint: OnceLock<Endpoint>,
    /// The dialect of errors, also where no endpoint was found.
    dialect: OnceLock<Dialect>,
    key: OnceLock<Arc<KeyEntry>>,
    /// The configuration the key was found in, until the request is admitted by it.
    configuration: Mutex<Option<Arc<Snapshot>>>,
    /// The model as the client named it, and whether it asked for a stream.
    asked: OnceLock<(Arc<str>, bool)>,
    bytes_in: AtomicU64,
    body_wait_us: AtomicU64,
    has_body: AtomicBool,
    /// The trace that the client says this request belongs to.
    trace_id: Option<String>,
    /// Set by whoever takes over the duty to record the request.
    is_taken: AtomicBool,
    /// How far it is, for others to see.
    pub live: Live,
}

impl Facts {
    pub fn new(clock: &dyn Clock, headers: &HeaderMap, peer: IpAddr) -> Self {
        let request_id = RequestId::generate();
        let (accepted_at, started) = clock.moment();
        Self {
            request_id,
            request_id_text: request_id.text(),
            accepted_at,
            started,
            peer,
            endpoint: OnceLock::new(),
            dialect: OnceLock::new(),
            key: OnceLock::new(),
            configuration: Mutex::default(),
            asked: OnceLock::new(),
            bytes_in: AtomicU64::new(0),
            body_wait_us: AtomicU64::new(0),
            has_body: AtomicBool::new(false),
            trace_id: trace_id(headers),
            is_taken: AtomicBool::new(false),
            live: Live::default(),
        }
    }

    pub fn trace_id(&self) -> Option<&str> {
        self.trace_id.as_deref()
    }

    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.get()
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect.get().copied().unwrap_or(Dialect::OpenaiChat)
    }

    pub fn learn_dialect(&self, dialect: Dialect) {
        let _ = self.dialect.set(dialect);
    }

    pub fn learn_endpoint(&self, endpoint: Endpoint) {
        self.learn_dialect(endpoint.dialect);
        let _ = self.endpoint.set(endpoint);
    }

    pub fn key(&self) -> Option<&Arc<KeyEntry>> {
        self.key.get()
    }

    /// `key` is of `configuration`.
    pub fn learn_key(&self, key: Arc<KeyEntry>, configuration: Arc<Snapshot>) {
        let _ = self.key.set(key);
        *self.configuration.lock().unwrap_or_else(PoisonError::into_inner) = Some(configuration);
    }

    /// The configuration that the whole request is served by. Whoever takes it lets go of it soon: an answer may go on for
    /// long, and a configuration that has been replaced is to be freed.
    pub fn take_configuration(&self) -> Option<Arc<Snapshot>> {
        self.configuration.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub fn model(&self) -> Option<&str> {
        self.asked.get().map(|(model, _)| &**model)
    }

    pub fn is_stream(&self) -> bool {
        self.asked.get().is_some_and(|(_, stream)| *stream)
    }

    pub fn learn_model(&self, model: Arc<str>, stream: bool) {
        let _ = self.asked.set((model, stream));
    }

    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    /// How long the client took to send its body: time that is not ours.
    pub fn body_wait(&self) -> Duration {
        Duration::from_micros(self.body_wait_us.load(Ordering::Relaxed))
    }

    pub fn learn_body(&self, bytes: u64, wait: Duration) {
        self.bytes_in.store(bytes, Ordering::Relaxed);
        self.body_wait_us.store(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.has_body.store(true, Ordering::Relaxed);
    }

    /// Whether the whole body has come.
    pub fn has_body(&self) -> bool {
        self.has_body.load(Ordering::Relaxed)
    }

    /// From here on somebody else records how the request ends.
    pub fn take(&self) {
        self.is_taken.store(true, Ordering::Release);
    }

    pub fn is_taken(&self) -> bool {
        self.is_taken.load(Ordering::Acquire)
    }
}

/// The trace id of a W3C `traceparent`: `00-<32 hex digits>-<16 hex digits>-<2 hex digits>`.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    const ID_CHARS: usize = 32;
    let mut fields = headers.get(TRACE_PARENT)?.to_str().ok()?.split('-');
    let id = fields.nth(1)?;
    let is_id =
        id.len() == ID_CHARS && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) && id.bytes().any(|b| b != b'0');
    is_id.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_taken_up_only_if_it_is_well_formed() {
        let of = |value: &str| trace_id(&HeaderMap::from_iter([("traceparent".parse().unwrap(), value.parse().unwrap())]));
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(of(&format!("00-{id}-00f067aa0ba902b7-01")).as_deref(), Some(id));
        for junk in ["", "00", "00-xyz-1-1", &format!("00-{}-1-01", "0".repeat(32)), &format!("00-{}-1-01", id.to_uppercase())] {
            assert_eq!(of(junk), None, "{junk}");
        }
    }
}
