//! The state behind the journal's lock: the segment being written, and which segments are still needed.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use tallygate_types::{IdMap, RequestId};

use super::frame::{self, Kind, Scan};
use super::known::Known;
use super::packed;
use super::{Checkpoint, JournalError, MAX_PARKED_RECORDS, Position, segment};
use crate::record::BeginRecord;

/// With more closed segments than this behind it, a segment kept only for calls still open is freed by carrying their
/// BEGINs forward: one long stream must not keep hours of journal on disk.
const CARRY_OVER_AFTER_SEGMENTS: usize = 4;

pub(super) struct Writer {
    dir: PathBuf,
    segment_bytes: u64,
    max_bytes: u64,
    file: Arc<File>,
    sequence: u64,
    length: u64,
    /// The active file ends in a part of a record that could not be cut off: nothing more may be written to it.
    spoiled: bool,
    open: IdMap<RequestId, OpenCall>,
    /// What is known of the active segment, but its length.
    active: Held,
    /// The other segments on disk.
    held: BTreeMap<u64, Held>,
    /// The lengths of all segments.
    bytes: u64,
    /// The ENDs that found no room on disk.
    parked: VecDeque<(RequestId, Vec<u8>)>,
    /// Closed files whose last bytes may not be durable.
    unsynced: Vec<Arc<File>>,
    names_changed: bool,
    dirty: bool,
    sync_failed: bool,
    stopped: bool,
}

/// A call begun and not ended.
struct OpenCall {
    /// The segment that holds its newest BEGIN.
    segment: u64,
    /// Few calls last long enough for one.
    checkpoint: Option<Box<Checkpoint>>,
}

/// Why a segment is still on disk.
#[derive(Debug, Default)]
struct Held {
    length: u64,
    /// Calls whose BEGIN is here and that have not ended.
    open: usize,
    /// The last END of a call whose BEGIN is here: this much must have been shipped before the segment goes.
    until: Position,
}

/// Files to sync outside the lock.
pub(super) struct Unsynced {
    pub(super) files: Vec<Arc<File>>,
    pub(super) dir: Option<PathBuf>,
}

impl Unsynced {
    /// Syncs every one of them, whatever becomes of the others: nobody asks for them a second time. The first error.
    pub(super) fn run(self) -> std::io::Result<()> {
        let names = self.dir.as_deref().map_or(Ok(()), segment::sync_dir);
        self.files.iter().map(|file| file.sync_data()).fold(names, std::io::Result::and)
    }
}

impl Writer {
    pub(super) fn open(dir: PathBuf, found: &[u64], segment_bytes: u64, max_bytes: u64) -> Result<Self, JournalError> {
        let mut held = BTreeMap::new();
        for &sequence in found {
            held.insert(sequence, Held { length: segment::length(&dir, sequence)?, ..Held::default() });
        }
        let sequence = found.last().map_or(1, |last| last + 1);
        let file = Arc::new(segment::create(&dir, sequence)?);
        let bytes = held.values().map(|held| held.length).sum();
        Ok(Self {
            dir,
            segment_bytes,
            max_bytes,
            file,
            sequence,
            length: 0,
            spoiled: false,
            open: IdMap::default(),
            active: Held::default(),
            held,
            bytes,
            parked: VecDeque::new(),
            unsynced: Vec::new(),
            names_changed: true,
            dirty: false,
            sync_failed: false,
            stopped: false,
        })
    }

    /// The segments found at the start go once everything up to here was shipped, the calls settled from them included.
    pub(super) fn hold_until_here(&mut self, found: &[u64]) {
        let until = self.tail();
        for sequence in found {
            if let Some(held) = self.held.get_mut(sequence) {
                held.until = until;
            }
        }
    }

    pub(super) fn tail(&self) -> Position {
        Position { segment: self.sequence, offset: self.length }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn open_calls(&self) -> usize {
        self.open.len()
    }

    pub(super) fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Whether a new call may begin: its END must find room, and what is written must become durable.
    pub(super) fn accepts_calls(&self) -> Result<(), JournalError> {
        if !self.parked.is_empty() {
            return Err(JournalError::DiskFull);
        }
        if self.sync_failed {
            return Err(JournalError::SyncFailed);
        }
        if self.bytes >= self.max_bytes {
            return Err(JournalError::Full { bytes: self.bytes, limit: self.max_bytes });
        }
        Ok(())
    }

    /// Writes a frame whole or not at all, and says where it ends.
    pub(super) fn append(&mut self, frame: &[u8]) -> Result<Position, JournalError> {
        if self.spoiled || (self.length > 0 && self.length + frame.len() as u64 > self.segment_bytes) {
            self.rotate()?;
        }
        if let Err(error) = (&*self.file).write_all(frame) {
            self.spoiled = self.file.set_len(self.length).is_err();
            return Err(JournalError::io("write", &segment::path(&self.dir, self.sequence))(error));
        }
        self.length += frame.len() as u64;
        self.bytes += frame.len() as u64;
        Ok(self.tail())
    }

    fn rotate(&mut self) -> Result<(), JournalError> {
        let file = Arc::new(segment::create(&self.dir, self.sequence + 1)?);
        self.unsynced.push(std::mem::replace(&mut self.file, file));
        let closed = Held { length: self.length, ..std::mem::take(&mut self.active) };
        self.held.insert(self.sequence, closed);
        self.sequence += 1;
        self.length = 0;
        self.spoiled = false;
        self.names_changed = true;
        Ok(())
    }

    pub(super) fn opened(&mut self, request_id: RequestId) {
        let call = OpenCall { segment: self.sequence, checkpoint: None };
        // Another attempt of the same call takes its place.
        if let Some(before) = self.open.insert(request_id, call) {
            self.release(before.segment, Position::default());
        }
        self.active.open += 1;
    }

    pub(super) fn checkpointed(&mut self, checkpoint: Checkpoint) {
        if let Some(call) = self.open.get_mut(&checkpoint.request_id) {
            call.checkpoint = Some(Box::new(checkpoint));
        }
    }

    fn release(&mut self, sequence: u64, until: Position) {
        let held = if sequence == self.sequence { Some(&mut self.active) } else { self.held.get_mut(&sequence) };
        if let Some(held) = held {
            held.open = held.open.saturating_sub(1);
            held.until = held.until.max(until);
        }
    }

    fn ended(&mut self, request_id: RequestId, at: Position) {
        if let Some(call) = self.open.remove(&request_id) {
            self.release(call.segment, at);
        }
    }

    /// Writes an END. That of a call begun finds a place in memory if there is none on disk; one without a BEGIN (a refusal,
    /// which bills nothing) is taken only while calls are, so that it takes no room from what must be billed.
    pub(super) fn append_or_park(&mut self, request_id: RequestId, frame: &[u8]) -> Result<(), JournalError> {
        let is_open = self.open.contains_key(&request_id);
        if !is_open {
            self.accepts_calls()?;
        }
        match self.append(frame) {
            Ok(at) => self.ended(request_id, at),
            Err(error) if !is_open || self.parked.len() >= MAX_PARKED_RECORDS => return Err(error),
            Err(error) => {
                if self.parked.is_empty() {
                    tracing::error!(%error, "the usage journal cannot be written; calls are refused until it can");
                }
                self.parked.push_back((request_id, frame.to_vec()));
            }
        }
        Ok(())
    }

    /// Tries to write what was parked; how many were.
    pub(super) fn write_parked(&mut self) -> usize {
        let before = self.parked.len();
        while let Some((request_id, frame)) = self.parked.pop_front() {
            let Ok(at) = self.append(&frame) else {
                self.parked.push_front((request_id, frame));
                break;
            };
            self.ended(request_id, at);
        }
        before - self.parked.len()
    }

    /// Takes note that `shipped` and all before it is in the database; the segments no longer needed, oldest first.
    pub(super) fn shipped(&mut self, shipped: Position) -> Vec<u64> {
        let mut free = Vec::new();
        while let Some((&oldest, held)) = self.held.first_key_value() {
            let is_read = shipped >= Position { segment: oldest, offset: held.length };
            if !is_read || shipped < held.until {
                break;
            }
            if held.open > 0 && !(self.held.len() > CARRY_OVER_AFTER_SEGMENTS && self.carry_over(oldest)) {
                break;
            }
            let length = self.held.remove(&oldest).map_or(0, |held| held.length);
            self.bytes = self.bytes.saturating_sub(length);
            free.push(oldest);
        }
        free
    }

    /// Writes the BEGINs of calls still open in `sequence` again, into the active segment, with their last checkpoints.
    fn carry_over(&mut self, sequence: u64) -> bool {
        let Ok(bytes) = segment::read(&self.dir, sequence) else { return false };
        let (mut at, mut known) = (0, Known::default());
        while let Scan::Frame { kind, form, payload, next } = frame::scan(&bytes, at) {
            if kind == Kind::Begin
                && let Ok(begin) = packed::read::<BeginRecord>(form, payload, &mut known)
                && let Some(call) = self.open.get(&begin.request_id)
                && call.segment == sequence
            {
                let checkpoint = call.checkpoint.as_deref().copied();
                if self.append(&bytes[at..next]).is_err() {
                    return false;
                }
                self.opened(begin.request_id);
                if let Some(checkpoint) = checkpoint {
                    if frame::with(&checkpoint, |frame| self.append(frame)).is_err() {
                        return false;
                    }
                    self.checkpointed(checkpoint);
                }
            }
            at = next;
        }
        // Durable before the segment they stood in goes.
        self.held.get(&sequence).is_some_and(|held| held.open == 0) && self.sync_now().is_ok()
    }

    /// Marks that there is something to sync; whether the sync thread must be woken.
    pub(super) fn mark_dirty(&mut self) -> bool {
        !std::mem::replace(&mut self.dirty, true)
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty || !self.parked.is_empty() || self.sync_failed
    }

    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub(super) fn take_unsynced(&mut self) -> Unsynced {
        self.dirty = false;
        let mut files = std::mem::take(&mut self.unsynced);
        files.push(Arc::clone(&self.file));
        Unsynced { files, dir: std::mem::take(&mut self.names_changed).then(|| self.dir.clone()) }
    }

    /// After a failed sync the kernel may have dropped the pages and will not say so again: nothing more goes into that
    /// file, and calls are refused until a sync of a fresh one succeeds. A file with nothing in it is fresh.
    pub(super) fn synced(&mut self, is_done: bool) {
        self.sync_failed = !is_done;
        self.names_changed |= !is_done;
        if !is_done && self.length > 0 {
            self.spoiled = true;
            if let Err(error) = self.rotate() {
                tracing::error!(%error, "no new segment of the usage journal could be begun");
            }
        }
    }

    pub(super) fn sync_now(&mut self) -> Result<(), JournalError> {
        let done = self.take_unsynced().run();
        let result = done.map_err(JournalError::io("sync", &self.dir));
        self.synced(result.is_ok());
        result
    }

    #[cfg(test)]
    pub(super) fn replace_file(&mut self, file: File) {
        self.file = Arc::new(file);
    }
}
