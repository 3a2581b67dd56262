//! The line that every request leaves in the log, as JSON.
//!
//! It reads like every other line of the log. But the others are few, and this one comes with each request: written by the
//! general way, through a serialiser of its own for each field, it costs as much as the journal.

use std::fmt::{self, Debug, Write as _};

use tallygate_types::{Clock as _, SystemClock};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Of the lines that are written here.
const TARGET: &str = "tallygate::access";
/// Of a `u64`.
const MAX_DIGITS: usize = 20;
/// Most lines fit.
const EXPECTED_BYTES: usize = 640;

/// Writes the requests' lines itself and leaves all others to `others`.
pub struct AccessLines {
    pub others: Format<Json>,
}

/// The members of a JSON object, each with the comma before it.
struct Members(String);

impl<S, N> FormatEvent<S, N> for AccessLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        if metadata.target() != TARGET {
            return self.others.format_event(context, writer, event);
        }
        let mut line = String::with_capacity(EXPECTED_BYTES);
        write!(line, r#"{{"timestamp":"{}","level":"#, SystemClock.now())?;
        let mut members = Members(line);
        members.text(metadata.level().as_str());
        event.record(&mut members);
        let Members(mut line) = members;
        line.push_str(r#","target":""#);
        line.push_str(TARGET);
        line.push_str("\"}\n");
        writer.write_str(&line)
    }
}

impl Members {
    fn name(&mut self, field: &Field) {
        self.0.push_str(",\"");
        self.0.push_str(field.name());
        self.0.push_str("\":");
    }

    fn text(&mut self, text: &str) {
        // No early end: so the compiler looks at many bytes at once.
        if text.bytes().fold(false, |found, byte| found | is_special(byte)) {
            return self.0.push_str(&serde_json::Value::from(text).to_string());
        }
        self.0.push('"');
        self.0.push_str(text);
        self.0.push('"');
    }

    /// A value that stands as it is shown.
    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field);
        // Writing to a string does not fail.
        let _ = write!(self.0, "{value}");
    }
}

/// What JSON must escape.
const fn is_special(byte: u8) -> bool {
    byte < b' ' || matches!(byte, b'"' | b'\\')
}

impl Visit for Members {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        self.text(value);
    }

    fn record_u64(&mut self, field: &Field, mut value: u64) {
        self.name(field);
        let mut digits = [0; MAX_DIGITS];
        let mut at = MAX_DIGITS;
        loop {
            at -= 1;
            digits[at] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.0.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_default());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.plain(field, serde_json::Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.name(field);
        self.0.push('"');
        let start = self.0.len();
        let _ = write!(self.0, "{value:?}");
        if self.0.as_bytes()[start..].iter().fold(false, |found, byte| found | is_special(*byte)) {
            let escaped = serde_json::Value::from(&self.0[start..]).to_string();
            self.0.truncate(start - 1);
            self.0.push_str(&escaped);
        } else {
            self.0.push('"');
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
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

    #[test]
    fn a_requests_line_reads_like_any_other() {
        let sink = Sink::default();
        let writer = sink.clone();
        let others = tracing_subscriber::fmt::format().json().flatten_event(true);
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(JsonFields::new())
            .event_format(AccessLines { others })
            .with_writer(move || writer.clone())
            .finish();
        macro_rules! say {
            ($target:literal) => {
                tracing::info!(target: $target, model = %"a\"b\\", name = "a\tb", plain = "ä", status = 200, most = u64::MAX, left = -1, share = 1.0, ok = true, ttft_ms = Option::<u64>::None, code = "\n", "request")
            };
        }
        tracing::subscriber::with_default(subscriber, || {
            say!("tallygate::access");
            say!("another");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [mut own, mut other] = <[Value; 2]>::try_from(lines).unwrap();
        assert_eq!(own["target"], "tallygate::access");
        for line in [&mut own, &mut other] {
            assert_eq!(line["timestamp"].take().as_str().unwrap().len(), 27);
            line["target"].take();
        }
        assert_eq!(own.to_string(), other.to_string());
    }
}
