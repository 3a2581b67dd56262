//! Reading the journal back while it is being written: for the shipper, and for budgets at start.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use super::frame::{self, Kind, Scan};
use super::known::Known;
use super::packed;
use super::{Journal, JournalError, Position, segment};
use crate::record::UsageRecord;

/// Read from disk at a time; any record fits, and a batch of usual ones.
const CHUNK_BYTES: u64 = 2 << 20;
/// A batch ends early once this much was read for it, so that large records do not make a large batch.
const MAX_BATCH_BYTES: u64 = 8 << 20;
const _: () = assert!(CHUNK_BYTES > (frame::HEADER_BYTES + frame::MAX_PAYLOAD_BYTES) as u64);

/// Finished calls in the order they were written.
#[derive(Debug, Default)]
pub struct Batch {
    pub records: Vec<UsageRecord>,
    /// Where to read on.
    pub next: Position,
    held: Held,
}

/// What one batch leaves to the next that is read into it: memory that was freed between them had to be mapped anew.
#[derive(Debug, Default)]
struct Held {
    /// Of a chunk.
    bytes: Vec<u8>,
    known: Known,
}

impl Journal {
    /// At most `limit` finished calls from `from` on; none if there are none yet. Blocks on the disk.
    pub fn read(&self, from: Position, limit: usize) -> Result<Batch, JournalError> {
        let mut batch = Batch::default();
        self.read_into(&mut batch, from, limit, None)?;
        Ok(batch)
    }

    /// [`Self::read`] in place of what `batch` holds, but nothing that lies at `until` or after it.
    pub(crate) fn read_into(
        &self,
        batch: &mut Batch,
        from: Position,
        limit: usize,
        until: Option<Position>,
    ) -> Result<(), JournalError> {
        let dir = &self.shared.dir;
        // Beyond this a record may be half written.
        let written = self.shared.writer().tail();
        let tail = until.map_or(written, |until| until.min(written));
        let Batch { records, next, held: Held { bytes: chunk, known } } = batch;
        records.clear();
        *next = from;
        let mut total = 0;
        let segments = segment::list(dir)?;
        for &sequence in segments.iter().filter(|&&sequence| sequence >= from.segment && sequence <= tail.segment) {
            if sequence > next.segment {
                *next = Position { segment: sequence, offset: 0 };
            }
            let length = segment::length(dir, sequence)?;
            let end = if sequence == tail.segment { tail.offset.min(length) } else { length };
            while next.offset < end {
                let wanted = CHUNK_BYTES.min(end - next.offset) as usize;
                if chunk.len() < wanted {
                    chunk.resize(wanted, 0);
                }
                let count = segment::read_at(dir, sequence, next.offset, &mut chunk[..wanted])?;
                let is_all = next.offset + count as u64 >= end;
                let read = take(&chunk[..count], is_all, limit, known, records);
                if read.skipped > 0 {
                    tracing::warn!(segment = sequence, bytes = read.skipped, "skipped damaged bytes of the usage journal");
                }
                next.offset += read.bytes as u64;
                total += read.bytes as u64;
                if records.len() >= limit || (total >= MAX_BATCH_BYTES && !records.is_empty()) {
                    return Ok(());
                }
                if read.bytes == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Keeps a record the database refuses, as JSON beside what was damaged.
    pub(crate) fn set_aside(&self, record: &UsageRecord) -> Result<PathBuf, JournalError> {
        let json = serde_json::to_vec_pretty(record).map_err(JournalError::SetAside)?;
        let id = record.request_id;
        segment::set_aside(&self.shared.dir, &format!("{id}-{}.json", record.attempt), &json)
    }

    /// Takes note that everything up to `position`, `count` finished calls since the last time, is in the database, and
    /// removes the segments no longer needed.
    pub(crate) fn shipped(&self, position: Position, count: u64) -> Result<(), JournalError> {
        // Saturating: a wrong gauge must not wrap into an alarm.
        let _ = self.shared.pending.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |p| Some(p.saturating_sub(count)));
        let free = self.shared.writer().shipped(position);
        free.into_iter().try_for_each(|sequence| segment::remove(&self.shared.dir, sequence))
    }
}

struct Read {
    bytes: usize,
    skipped: usize,
}

fn take(bytes: &[u8], is_all: bool, limit: usize, known: &mut Known, records: &mut Vec<UsageRecord>) -> Read {
    let mut read = Read { bytes: 0, skipped: 0 };
    while records.len() < limit {
        match frame::scan(bytes, read.bytes) {
            Scan::Frame { kind, form, payload, next } => {
                if kind == Kind::End {
                    match packed::read(form, payload, known) {
                        Ok(record) => records.push(record),
                        Err(_) => read.skipped += next - read.bytes,
                    }
                }
                read.bytes = next;
            }
            Scan::End => break,
            Scan::Partial if !is_all => break,
            Scan::Bad | Scan::Partial | Scan::Unknown { .. } => {
                // Recovery has set a copy aside.
                let next = frame::resync(bytes, read.bytes).unwrap_or(bytes.len());
                read.skipped += next - read.bytes;
                read.bytes = next;
            }
        }
    }
    read
}
