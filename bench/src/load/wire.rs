//! HTTP/1.1 as the load needs it: requests made in advance, and a reader that finds the end of an answer and counts its pieces.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::traffic::{Kind, MARK};

/// A header longer than this is no header.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// What is kept of an answer's end, to see that it ended as it should.
const TAIL_BYTES: usize = 16;

/// Requests for one body under many keys.
pub struct Questions {
    before_key: String,
    after_key: String,
    keys: Vec<String>,
    next: AtomicUsize,
    body: String,
    kind: Kind,
    may_be_refused: bool,
}

impl Questions {
    pub fn new(target: SocketAddr, keys: Vec<String>, body: String, kind: Kind) -> Self {
        Self {
            before_key: format!("POST /v1/chat/completions HTTP/1.1\r\nHost: {target}\r\nAuthorization: Bearer "),
            after_key: format!(
                "\r\nContent-Type: application/json\r\nAccept: */*\r\nUser-Agent: tallygate-bench\r\nContent-Length: {}\r\n\r\n",
                body.len()
            ),
            keys,
            next: AtomicUsize::new(0),
            body,
            kind,
            may_be_refused: false,
        }
    }

    /// For a key that asks for more than it may.
    pub fn that_may_be_refused(self) -> Self {
        Self { may_be_refused: true, ..self }
    }

    /// The next request, whole, so that it leaves in one write.
    pub fn write_next(&self, buffer: &mut Vec<u8>) {
        let key = &self.keys[self.next.fetch_add(1, Ordering::Relaxed) % self.keys.len()];
        buffer.clear();
        for part in [&self.before_key, key, &self.after_key, &self.body] {
            buffer.extend_from_slice(part.as_bytes());
        }
    }

    /// Pieces of the answer and the time between them.
    pub const fn pace(&self) -> (usize, Duration) {
        self.kind.pace()
    }

    /// Whether an answer says that the key may not ask so often, and may say so.
    pub const fn is_refusal(&self, reader: &Reader) -> bool {
        self.may_be_refused && reader.status == 429
    }

    /// What is wrong with an answer, if anything is.
    pub fn fault(&self, reader: &Reader) -> Option<String> {
        let (pieces, _) = self.kind.pace();
        let end: &[u8] = if self.kind.is_stream() { b"data: [DONE]\n\n" } else { b"}" };
        let is_right = reader.status == 200 && reader.marks == pieces as u64 && reader.tail.ends_with(end);
        (!is_right).then(|| {
            format!(
                "status {}, {} of {pieces} pieces, ends with {:?}",
                reader.status,
                reader.marks,
                String::from_utf8_lossy(&reader.tail)
            )
        })
    }
}

/// Reads one answer after the other off a connection.
#[derive(Debug)]
pub struct Reader {
    state: State,
    head: Vec<u8>,
    pub status: u16,
    /// Pieces of generated text so far.
    pub marks: u64,
    tail: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Length(usize),
    Size(usize),
    /// After `;` in a size line.
    Extension(usize),
    Data(usize),
    AfterData,
    /// Bytes of the trailer's present line.
    Trailer(usize),
    Done,
}

impl Reader {
    pub const fn new() -> Self {
        Self { state: State::Head, head: Vec::new(), status: 0, marks: 0, tail: Vec::new() }
    }

    pub fn reset(&mut self) {
        self.state = State::Head;
        self.head.clear();
        self.status = 0;
        self.marks = 0;
        self.tail.clear();
    }

    /// True once the answer is whole. An error is an answer that is not HTTP.
    pub fn feed(&mut self, mut data: &[u8]) -> Result<bool, String> {
        while !data.is_empty() {
            match self.state {
                State::Done => return Err("bytes after the end of an answer".into()),
                State::Head => data = self.feed_head(data)?,
                State::Length(left) => {
                    let (body, rest) = data.split_at(left.min(data.len()));
                    self.text(body);
                    self.state = if body.len() == left { State::Done } else { State::Length(left - body.len()) };
                    data = rest;
                }
                State::Data(left) => {
                    let (body, rest) = data.split_at(left.min(data.len()));
                    self.text(body);
                    self.state = if body.len() == left { State::AfterData } else { State::Data(left - body.len()) };
                    data = rest;
                }
                _ => {
                    self.state = self.framing(data[0])?;
                    data = &data[1..];
                }
            }
        }
        Ok(self.state == State::Done)
    }

    fn framing(&self, byte: u8) -> Result<State, String> {
        Ok(match (self.state, byte) {
            (State::Size(size) | State::Extension(size), b'\n') => {
                if size == 0 {
                    State::Trailer(0)
                } else {
                    State::Data(size)
                }
            }
            (State::Size(size), b';') => State::Extension(size),
            (State::Size(size), b'\r') => State::Size(size),
            (State::Size(size), digit) => {
                let digit = char::from(digit).to_digit(16).ok_or("a chunk's size is no number")?;
                State::Size(size * 16 + digit as usize)
            }
            (State::AfterData, b'\n') => State::Size(0),
            (State::Trailer(0), b'\n') => State::Done,
            (State::Trailer(_), b'\n') => State::Trailer(0),
            (State::Trailer(length), other) => State::Trailer(length + usize::from(other != b'\r')),
            (state, _) => state,
        })
    }

    fn feed_head<'a>(&mut self, data: &'a [u8]) -> Result<&'a [u8], String> {
        let known = self.head.len();
        self.head.extend_from_slice(data);
        let Some(end) = memchr::memmem::find(&self.head[known.saturating_sub(3)..], b"\r\n\r\n") else {
            if self.head.len() > MAX_HEAD_BYTES {
                return Err("the header does not end".into());
            }
            return Ok(&[]);
        };
        let end = known.saturating_sub(3) + end + 4;
        let head = String::from_utf8_lossy(&self.head[..end]).to_ascii_lowercase();
        self.status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or("no status line")?;
        let value = |name: &str| {
            head.lines().find_map(|line| line.strip_prefix(name)).and_then(|line| line.strip_prefix(':')).map(str::trim)
        };
        self.state = if value("transfer-encoding") == Some("chunked") {
            State::Size(0)
        } else {
            let length = value("content-length").and_then(|length| length.parse().ok()).ok_or("neither length nor chunks")?;
            if length == 0 { State::Done } else { State::Length(length) }
        };
        Ok(&data[end - known..])
    }

    fn text(&mut self, body: &[u8]) {
        self.marks += memchr::memchr_iter(MARK, body).count() as u64;
        let keep = &body[body.len().saturating_sub(TAIL_BYTES)..];
        let excess = (self.tail.len() + keep.len()).saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
        self.tail.extend_from_slice(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab~cd\r\n14;x=y\r\n~ data: [DONE]\n\n    \r\n0\r\nt: v\r\n\r\n";

    #[test]
    fn an_answer_is_found_wherever_it_is_cut() {
        for step in 1..CHUNKED.len() {
            let mut reader = Reader::new();
            let mut is_whole = false;
            for piece in CHUNKED.chunks(step) {
                assert!(!is_whole);
                is_whole = reader.feed(piece).expect("HTTP");
            }
            assert!(is_whole, "in steps of {step}");
            assert_eq!((reader.status, reader.marks), (200, 2));
            assert_eq!(reader.tail, b"ata: [DONE]\n\n    "[1..].to_vec());
        }
    }

    #[test]
    fn an_answer_with_a_length_ends_there() {
        let mut reader = Reader::new();
        assert_eq!(reader.feed(b"HTTP/1.1 429 No\r\ncontent-length: 3\r\n\r\n{}"), Ok(false));
        assert_eq!(reader.feed(b"}"), Ok(true));
        assert_eq!(reader.status, 429);
        assert!(reader.feed(b"x").is_err());
    }
}
