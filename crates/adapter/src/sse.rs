//! An incremental reader of server-sent events: bytes may be cut anywhere, also inside a character or a CRLF.
//!
//! Memory is bounded by [`MAX_EVENT_BYTES`]; an event that lies whole inside one chunk is lent from it without a copy.

use memchr::memchr2;
use serde::Serialize;

use crate::json_write;

/// Longest line, and longest sum of an event's data lines. Generated images travel as one line of base64, so a line
/// may be as long as an event.
pub const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;
/// Longest `event:` name that is kept; no protocol has one near it.
const MAX_NAME_BYTES: usize = 256;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event: its name (empty if none was given) and its data lines joined by LF. Comments are not events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    pub name: &'a str,
    pub data: &'a [u8],
    /// Offset in the chunk being read where the event begins; 0 where it began before the chunk.
    pub start: usize,
    /// Offset in the chunk being read just past the event: up to here the stream holds whole events.
    pub end: usize,
}

impl<'a> Event<'a> {
    pub const fn new(name: &'a str, data: &'a [u8]) -> Self {
        Self { name, data, start: 0, end: 0 }
    }
}

/// A line or an event went above [`MAX_EVENT_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event is longer than {MAX_EVENT_BYTES} bytes")]
pub struct TooLong;

/// The reader's state between chunks.
#[derive(Debug, Default)]
pub struct Scanner {
    /// An unfinished line.
    line: Vec<u8>,
    name: String,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was CR: a LF now belongs to it.
    after_cr: bool,
    started: bool,
    /// Offset in the chunk being read just past the last blank line.
    boundary: usize,
    /// The last line was blank: a LF that completes its CRLF belongs to it.
    at_boundary: bool,
}

/// Data of the event in work: lent from the chunk while it is one line that lies whole in it.
enum Lent<'c> {
    No,
    Line(&'c [u8]),
}

impl Scanner {
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a chunk and hands every event it completes to `on_event`; stops at its first error.
    pub fn push<E: From<TooLong>>(
        &mut self,
        whole: &[u8],
        mut on_event: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut lent = Lent::No;
        let mut chunk = whole;
        self.boundary = 0;
        while !chunk.is_empty() {
            if self.after_cr {
                self.after_cr = false;
                if chunk[0] == b'\n' {
                    chunk = &chunk[1..];
                    self.boundary += usize::from(self.at_boundary);
                    continue;
                }
            }
            let Some(end) = memchr2(b'\n', b'\r', chunk) else {
                if self.line.len() + chunk.len() > MAX_EVENT_BYTES {
                    return Err(TooLong.into());
                }
                self.line.extend_from_slice(chunk);
                break;
            };
            self.after_cr = chunk[end] == b'\r';
            let head = &chunk[..end];
            chunk = &chunk[end + 1..];
            let offset = whole.len() - chunk.len();
            if self.line.is_empty() {
                self.line_done(head, offset, &mut lent, &mut on_event)?;
            } else {
                if self.line.len() + head.len() > MAX_EVENT_BYTES {
                    return Err(TooLong.into());
                }
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(head);
                self.keep(&mut lent)?;
                let mut own = Lent::No;
                self.line_done(&line, offset, &mut own, &mut on_event)?;
                self.keep(&mut own)?;
                line.clear();
                self.line = line;
            }
        }
        self.keep(&mut lent).map_err(E::from)
    }

    /// The connection closed: a last event without its blank line still counts.
    pub fn finish<E: From<TooLong>>(&mut self, mut on_event: impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let line = std::mem::take(&mut self.line);
        let mut lent = Lent::No;
        if !line.is_empty() {
            self.line_done(&line, 0, &mut lent, &mut on_event)?;
        }
        self.dispatch(0, 0, &mut lent, &mut on_event)
    }

    /// How much of the chunk read last is whole events and comments; what follows waits for the next chunk.
    pub fn boundary(&self) -> usize {
        self.boundary
    }

    fn line_done<'c, E: From<TooLong>>(
        &mut self,
        mut line: &'c [u8],
        offset: usize,
        lent: &mut Lent<'c>,
        on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.started {
            // White space before a stream is nobody's, on whichever side of a cut it stands.
            line = line.trim_ascii_start();
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii_start();
            self.started = !line.is_empty();
        }
        self.at_boundary = line.is_empty();
        if self.at_boundary {
            let start = std::mem::replace(&mut self.boundary, offset);
            return self.dispatch(start, offset, lent, on_event);
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => {
                let value = &line[colon + 1..];
                (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &[][..]),
        };
        match field {
            b"data" if !self.has_data => {
                self.has_data = true;
                *lent = Lent::Line(value);
            }
            b"data" => {
                self.keep(lent)?;
                self.data.push(b'\n');
                self.append(value)?;
            }
            b"event" => {
                self.name.clear();
                self.name.push_str(std::str::from_utf8(value).unwrap_or_default());
                if self.name.len() > MAX_NAME_BYTES {
                    self.name.clear();
                }
            }
            // Comments (an empty field), `id`, `retry` and whatever comes later.
            _ => {}
        }
        Ok(())
    }

    fn dispatch<E>(
        &mut self,
        start: usize,
        end: usize,
        lent: &mut Lent<'_>,
        on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let result = if self.has_data {
            let data = match lent {
                Lent::Line(line) => *line,
                Lent::No => &self.data[..],
            };
            on_event(Event { name: &self.name, data, start, end })
        } else {
            Ok(())
        };
        *lent = Lent::No;
        self.has_data = false;
        self.name.clear();
        self.data.clear();
        result
    }

    /// Copies what is lent from a chunk that goes away.
    fn keep(&mut self, lent: &mut Lent<'_>) -> Result<(), TooLong> {
        match std::mem::replace(lent, Lent::No) {
            Lent::Line(line) => self.append(line),
            Lent::No => Ok(()),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.data.len() + bytes.len() > MAX_EVENT_BYTES {
            return Err(TooLong);
        }
        self.data.extend_from_slice(bytes);
        Ok(())
    }
}

impl From<TooLong> for crate::StreamFailure {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

/// Writes one event. `data` must hold no line end (compact JSON never does).
pub(crate) fn write(name: Option<&str>, data: &[u8], out: &mut Vec<u8>) {
    begin(name, out);
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}

/// The same, its data being JSON.
pub(crate) fn write_json(name: Option<&str>, data: &impl Serialize, out: &mut Vec<u8>) {
    begin(name, out);
    let start = out.len();
    if json_write::write(data, out).is_err() {
        out.truncate(start);
    }
    out.extend_from_slice(b"\n\n");
}

fn begin(name: Option<&str>, out: &mut Vec<u8>) {
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(b"data: ");
}

#[cfg(test)]
mod tests {
    use super::*;

    type Seen = Vec<(String, String)>;

    fn collect(chunks: &[&[u8]]) -> Seen {
        let mut seen = Vec::new();
        let mut scanner = Scanner::new();
        let mut on_event = |event: Event<'_>| {
            seen.push((event.name.to_owned(), String::from_utf8(event.data.to_vec()).unwrap()));
            Ok::<(), TooLong>(())
        };
        for chunk in chunks {
            scanner.push(chunk, &mut on_event).unwrap();
        }
        scanner.finish(&mut on_event).unwrap();
        seen
    }

    fn events(list: &[(&str, &str)]) -> Seen {
        list.iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect()
    }

    const SAMPLE: &str = "\u{feff}: hello\nevent: a\ndata: {\"x\":\"é漢\"}\n\ndata:one\ndata: two\nid: 7\nretry: 5\n\n\n\nevent: none\n\ndata\n\nevent: b\ndata: tail";

    #[test]
    fn every_cut_and_every_line_end_gives_the_same_events() {
        let expected = events(&[("a", "{\"x\":\"é漢\"}"), ("", "one\ntwo"), ("", ""), ("b", "tail")]);
        for line_end in ["\n", "\r\n", "\r"] {
            let text = SAMPLE.replace('\n', line_end);
            let bytes = text.as_bytes();
            assert_eq!(collect(&[bytes]), expected, "{line_end:?} whole");
            for cut in 0..=bytes.len() {
                assert_eq!(collect(&[&bytes[..cut], &bytes[cut..]]), expected, "{line_end:?} cut at {cut}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(collect(&single), expected, "{line_end:?} byte by byte");
        }
    }

    #[test]
    fn the_boundary_stands_after_the_last_whole_event() {
        let mut scanner = Scanner::new();
        let mut ends = Vec::new();
        scanner
            .push(b"data: a\r\n\r\n: c\n\ndata: b", |event| {
                ends.push(event.end);
                Ok::<(), TooLong>(())
            })
            .unwrap();
        assert_eq!((ends.as_slice(), scanner.boundary()), (&[10][..], 16));
        scanner
            .push(b"\r\n\r", |event| {
                ends.push(event.end);
                Ok::<(), TooLong>(())
            })
            .unwrap();
        assert_eq!((ends.as_slice(), scanner.boundary()), (&[10, 3][..], 3));
        scanner.push(b"\ndata: c", |_| Ok::<(), TooLong>(())).unwrap();
        assert_eq!(scanner.boundary(), 1);
    }

    #[test]
    fn a_line_without_end_is_refused_at_the_bound() {
        let mut scanner = Scanner::new();
        let chunk = vec![b'x'; 1024 * 1024];
        let mut result = Ok(());
        for _ in 0..9 {
            result = scanner.push(&chunk, |_| Ok::<(), TooLong>(()));
        }
        assert_eq!(result, Err(TooLong));
    }

    #[test]
    fn data_lines_without_end_are_refused_at_the_bound() {
        let mut scanner = Scanner::new();
        let line = format!("data: {}\n", "x".repeat(1024 * 1024));
        let results: Vec<_> = (0..9).map(|_| scanner.push(line.as_bytes(), |_| Ok::<(), TooLong>(()))).collect();
        assert_eq!(results[8], Err(TooLong));
        assert!(results[..7].iter().all(Result::is_ok));
    }
}
