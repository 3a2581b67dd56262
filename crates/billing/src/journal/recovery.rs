//! What a start finds in the segments an earlier process left.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tallygate_types::{RequestId, Timestamp};

use super::frame::{self, Form, Kind, Scan};
use super::known::Known;
use super::packed::{self, Malformed};
use super::{Checkpoint, JournalError, segment};
use crate::record::{BeginRecord, UsageRecord};

/// What was found, and what was done about it.
#[derive(Debug, Default)]
pub struct Recovery {
    pub segments: usize,
    /// Finished records found. Those the database already has are recognised when they are shipped.
    pub finished: u64,
    /// Calls that were in flight when the process died, settled from their last checkpoint. They are in the journal again,
    /// as finished, and are shipped like the others.
    pub settled: Vec<UsageRecord>,
    /// The write that the end of the process cut short.
    pub torn: Option<Damage>,
    /// Records damaged where none was being written: the disk's fault, or somebody's. A copy of the bytes was kept.
    pub quarantined: Vec<Damage>,
}

/// A stretch of a segment that is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub segment: u64,
    pub offset: u64,
    pub bytes: u64,
    /// Where a copy lies; none for a torn tail.
    pub copy: Option<PathBuf>,
}

/// A call without its END.
struct Open {
    begin: BeginRecord,
    output_estimate: u64,
    last_seen_at: Timestamp,
}

/// Reads every segment in order, cuts a torn tail off the last, sets damage aside, and settles what was left open.
pub(super) fn recover(dir: &Path, segments: &[u64]) -> Result<Recovery, JournalError> {
    let mut recovery = Recovery { segments: segments.len(), ..Recovery::default() };
    let (mut open, mut known) = (HashMap::new(), Known::default());
    for &sequence in segments {
        let bytes = segment::read(dir, sequence)?;
        let is_last = segments.last() == Some(&sequence);
        let mut at = 0;
        loop {
            match frame::scan(&bytes, at) {
                Scan::End => break,
                Scan::Frame { kind, form, payload, next } => {
                    if replay(kind, form, payload, &mut known, &mut open, &mut recovery.finished).is_err() {
                        recovery.quarantined.push(set_aside(dir, sequence, at, &bytes[at..next])?);
                    }
                    at = next;
                }
                Scan::Unknown { version, kind } => {
                    return Err(JournalError::Newer { segment: segment::path(dir, sequence), version, kind });
                }
                Scan::Bad | Scan::Partial => {
                    let next = frame::resync(&bytes, at);
                    if next.is_none() && is_last {
                        segment::truncate(dir, sequence, at as u64)?;
                        recovery.torn =
                            Some(Damage { segment: sequence, offset: at as u64, bytes: (bytes.len() - at) as u64, copy: None });
                        break;
                    }
                    let next = next.unwrap_or(bytes.len());
                    recovery.quarantined.push(set_aside(dir, sequence, at, &bytes[at..next])?);
                    at = next;
                }
            }
        }
    }
    recovery.settled = open.into_values().map(|o: Open| o.begin.settle_crash(o.output_estimate, o.last_seen_at)).collect();
    recovery.settled.sort_by_key(|record| (record.accepted_at, record.request_id));
    Ok(recovery)
}

fn replay(
    kind: Kind,
    form: Form,
    payload: &[u8],
    known: &mut Known,
    open: &mut HashMap<RequestId, Open>,
    finished: &mut u64,
) -> Result<(), Malformed> {
    match kind {
        Kind::Begin => {
            let begin: BeginRecord = packed::read(form, payload, known)?;
            // A BEGIN carried into a later segment comes after its checkpoints; that of another attempt starts afresh.
            if open.get(&begin.request_id).is_none_or(|o| o.begin.attempt != begin.attempt) {
                let last_seen_at = begin.accepted_at;
                open.insert(begin.request_id, Open { begin, output_estimate: 0, last_seen_at });
            }
        }
        Kind::Checkpoint => {
            let checkpoint: Checkpoint = packed::read(form, payload, known)?;
            if let Some(o) = open.get_mut(&checkpoint.request_id) {
                o.output_estimate = checkpoint.output_estimate;
                o.last_seen_at = checkpoint.at;
            }
        }
        Kind::End => {
            let end: UsageRecord = packed::read(form, payload, known)?;
            open.remove(&end.request_id);
            *finished += 1;
        }
    }
    Ok(())
}

fn set_aside(dir: &Path, sequence: u64, at: usize, bytes: &[u8]) -> Result<Damage, JournalError> {
    let copy = segment::quarantine(dir, sequence, at as u64, bytes)?;
    Ok(Damage { segment: sequence, offset: at as u64, bytes: bytes.len() as u64, copy: Some(copy) })
}
