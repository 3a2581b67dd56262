//! The provider's own books: one entry for every request it received, however it ended.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::conversation::Returned;
use crate::dialect::Dialect;
use crate::usage::Usage;

/// Entries kept in memory; older ones are dropped first (the file keeps all).
pub const MAX_ENTRIES: usize = 200_000;

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// Still under way.
    Open,
    /// The whole answer was handed to the connection.
    Complete,
    /// The client went away before that.
    ClientGone,
    /// The simulator closed the connection, as a fault asked.
    Cut,
    /// An error was answered, as a status or inside the stream.
    Error,
}

/// One request and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Number of the request, from 1, never reused while the simulator runs.
    pub seq: u64,
    /// When it arrived, in microseconds since the Unix epoch.
    pub at: u64,
    /// When it ended, in microseconds since the Unix epoch.
    pub ended_at: Option<u64>,
    pub dialect: Dialect,
    /// `generate`, `embeddings`, `count_tokens`, `models`, `replay` or `unknown`.
    pub operation: String,
    pub method: String,
    /// Path with query, a `key` parameter masked.
    pub path: String,
    pub model: String,
    /// The last four characters of the credential.
    pub credential: String,
    /// The id this provider gave the request.
    pub request_id: String,
    /// The `x-request-id` that came with the request.
    pub gateway_request_id: Option<String>,
    /// What the request costs; absent where nothing was answered.
    pub usage: Option<Usage>,
    /// True if the answer told its usage and was sent whole.
    pub usage_reported: bool,
    /// Status of the answer; 0 where none was sent.
    pub status: u16,
    pub ended: Ended,
    pub stream: bool,
    /// Bytes of the answer's body that were handed to the connection.
    pub bytes: u64,
    /// What came back of the reasoning behind the calls of the current turn.
    #[serde(default)]
    pub returned: Returned,
    /// Why the request was refused as wrong.
    #[serde(default)]
    pub refusal: Option<String>,
}

struct Books {
    entries: VecDeque<LedgerEntry>,
    file: Option<File>,
    next: u64,
    closing: bool,
}

/// All entries, newest last.
pub(crate) struct Ledger {
    books: Mutex<Books>,
}

impl Ledger {
    /// An empty ledger that appends each finished entry as a line of JSON to `file`, if one is named.
    pub(crate) fn open(file: Option<&Path>) -> std::io::Result<Self> {
        let file = file.map(|path| OpenOptions::new().create(true).append(true).open(path)).transpose()?;
        let books = Books { entries: VecDeque::new(), file, next: 1, closing: false };
        Ok(Self { books: Mutex::new(books) })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the next request.
    pub(crate) fn next_seq(&self) -> u64 {
        let mut books = self.books();
        let seq = books.next;
        books.next += 1;
        seq
    }

    /// Enters a request that has arrived.
    pub(crate) fn begin(&self, entry: LedgerEntry) {
        let mut books = self.books();
        if books.entries.len() == MAX_ENTRIES {
            books.entries.pop_front();
        }
        books.entries.push_back(entry);
    }

    /// Closes the entry of a request; the line in the file is written here.
    pub(crate) fn end(&self, mut entry: LedgerEntry) {
        let mut books = self.books();
        if books.closing && entry.ended == Ended::ClientGone {
            entry.ended = Ended::Cut;
        }
        entry.ended_at = Some(now_us());
        if let Some(file) = &mut books.file
            && let Ok(mut line) = serde_json::to_vec(&entry)
        {
            line.push(b'\n');
            if let Err(error) = file.write_all(&line) {
                tracing::error!(%error, "the ledger file could not be written");
            }
        }
        let seq = entry.seq;
        if let Some(found) = books.entries.iter_mut().rev().find(|known| known.seq == seq) {
            *found = entry;
        }
    }

    /// From now on exchanges that stop are cut by the simulator, not left by the client.
    pub(crate) fn close(&self) {
        self.books().closing = true;
    }

    /// Entries after number `seq`.
    pub(crate) fn since(&self, seq: u64) -> Vec<LedgerEntry> {
        self.books().entries.iter().filter(|entry| entry.seq > seq).cloned().collect()
    }

    /// Forgets all entries; numbers go on.
    pub(crate) fn clear(&self) {
        self.books().entries.clear();
    }
}

/// Microseconds since the Unix epoch.
pub(crate) fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// The last four characters of a credential.
pub(crate) fn last_four(credential: &str) -> String {
    let from = credential.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
    credential[from..].to_owned()
}

#[cfg(test)]
pub(crate) fn entry(seq: u64) -> LedgerEntry {
    LedgerEntry {
        seq,
        at: 0,
        ended_at: None,
        dialect: Dialect::OpenaiChat,
        operation: "generate".to_owned(),
        method: "POST".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        model: "gpt-sim".to_owned(),
        credential: "test".to_owned(),
        request_id: "req_1".to_owned(),
        gateway_request_id: None,
        usage: None,
        usage_reported: false,
        status: 200,
        ended: Ended::Open,
        stream: false,
        bytes: 0,
        returned: Returned::default(),
        refusal: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_entries_are_lines_of_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("ledger.jsonl");
        let ledger = Ledger::open(Some(&path)).expect("a ledger");
        ledger.begin(entry(1));
        ledger.begin(entry(2));
        ledger.end(LedgerEntry { ended: Ended::Complete, ..entry(2) });
        let text = std::fs::read_to_string(&path).expect("the file");
        let lines: Vec<LedgerEntry> = text.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect();
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].seq, lines[0].ended), (2, Ended::Complete));
        assert_eq!(ledger.since(1).len(), 1);
        ledger.clear();
        assert_eq!(ledger.since(0), vec![]);
    }

    #[test]
    fn a_credential_is_shown_by_its_end() {
        assert_eq!(last_four("sk-secret-12é4"), "12é4");
        assert_eq!(last_four("abc"), "abc");
    }
}
