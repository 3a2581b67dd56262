//! The line that every request leaves in the log, as JSON.
//!
//! It reads like every other line of the log. But the others are few, and this one comes with each request: as an event, through
//! the layers of a subscriber and the machinery of formats, it costs more than the journal.

use tallygate_gateway::{ACCESS_TARGET, AccessLine, AccessLog};

use crate::log_lines::LogLines;

/// Most lines fit.
const EXPECTED_BYTES: usize = 640;

/// Writes the lines as JSON.
pub struct JsonAccess(pub LogLines);

impl AccessLog for JsonAccess {
    fn write(&self, line: &AccessLine<'_>) {
        self.0.append(|out| put(out, line));
    }
}

/// Members in the order in which an event has them.
fn put(out: &mut Vec<u8>, line: &AccessLine<'_>) {
    out.reserve(EXPECTED_BYTES);
    match line.at.text() {
        Some(at) => plain(out, r#"{"timestamp":""#, at),
        None => plain(out, r#"{"timestamp":""#, line.at.to_string()),
    }
    plain(out, r#"","level":"INFO","message":"request","request_id":""#, line.request_id);
    text(out, r#"","tenant":""#, line.tenant);
    plain(out, r#"","key_id":""#, line.key_id.text().bytes());
    plain(out, r#"","endpoint":""#, line.endpoint);
    text(out, r#"","model":""#, line.model);
    text(out, r#"","upstream":""#, line.upstream);
    number(out, r#"","attempt":"#, line.attempt.into());
    number(out, r#","status":"#, line.status.into());
    plain(out, r#","outcome":""#, line.outcome);
    number(out, r#"","dur_ms":"#, line.duration_ms);
    if let Some(first_token_ms) = line.first_token_ms {
        number(out, r#","ttft_ms":"#, first_token_ms);
    }
    number(out, r#","tokens_in":"#, line.tokens_in);
    number(out, r#","tokens_out":"#, line.tokens_out);
    plain(out, r#","cost":""#, line.cost.text().bytes());
    text(out, r#"","err_code":""#, line.error_code);
    plain(out, r#"","target":""#, ACCESS_TARGET);
    out.extend_from_slice(b"\"}\n");
}

/// A text that needs no escaping, after what stands before it.
#[inline]
fn plain(out: &mut Vec<u8>, before: &str, text: impl AsRef<[u8]>) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(text.as_ref());
}

#[inline]
fn number(out: &mut Vec<u8>, before: &str, number: u64) {
    plain(out, before, itoa::Buffer::new().format(number));
}

/// Any text.
#[inline]
fn text(out: &mut Vec<u8>, before: &str, text: &str) {
    // No early end: so the compiler looks at many bytes at once.
    if text.bytes().fold(false, |found, byte| found | is_special(byte)) {
        let quoted = serde_json::Value::from(text).to_string();
        return plain(out, before, &quoted[1..quoted.len() - 1]);
    }
    plain(out, before, text);
}

/// What JSON must escape.
const fn is_special(byte: u8) -> bool {
    byte < b' ' || matches!(byte, b'"' | b'\\')
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tallygate_gateway::TracedAccess;
    use tallygate_types::{ApiKeyId, Pico, Timestamp};
    use tracing_subscriber::fmt::format::JsonFields;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(first_token_ms: Option<u64>) -> AccessLine<'static> {
        AccessLine {
            at: Timestamp::parse("2026-11-22T09:30:00.000001Z").unwrap(),
            request_id: "req_1",
            tenant: "a\"b\\",
            key_id: ApiKeyId::generate(),
            endpoint: "messages",
            model: "a\tb",
            upstream: "ä",
            attempt: 1,
            status: 200,
            outcome: "ok",
            duration_ms: u64::MAX,
            first_token_ms,
            tokens_in: 0,
            tokens_out: 9,
            cost: Pico::new(-3_600_000_000),
            error_code: "\n",
        }
    }

    #[test]
    fn a_requests_line_reads_like_any_other() {
        for line in [line(None), line(Some(7))] {
            let (mut own, sink) = (Vec::new(), Sink::default());
            put(&mut own, &line);
            let writer = sink.clone();
            let subscriber = tracing_subscriber::fmt()
                .fmt_fields(JsonFields::new())
                .event_format(tracing_subscriber::fmt::format().json().flatten_event(true))
                .with_writer(move || writer.clone())
                .finish();
            tracing::subscriber::with_default(subscriber, || TracedAccess.write(&line));
            let other = sink.0.lock().unwrap().clone();
            let [mut own, mut other] = [own, other].map(|bytes| {
                assert_eq!(bytes.iter().position(|byte| *byte == b'\n'), Some(bytes.len() - 1));
                serde_json::from_slice::<Value>(&bytes).unwrap()
            });
            assert_eq!(own["timestamp"].take(), "2026-11-22T09:30:00.000001Z");
            assert_eq!(other["timestamp"].take().as_str().unwrap().len(), 27);
            assert_eq!(own.to_string(), other.to_string());
        }
    }
}
