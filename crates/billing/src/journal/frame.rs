//! How one record lies in a segment: a header of [`HEADER_BYTES`], then the payload.
//!
//! ```text
//! 0      2        3     4         8        12
//! ┌──────┬────────┬─────┬─────────┬────────┬─────────┐
//! │magic │version │kind │length LE│crc32c  │payload… │
//! └──────┴────────┴─────┴─────────┴────────┴─────────┘
//! ```
//!
//! The version says in which form the payload is. The checksum covers version, kind, length and payload. After a damaged stretch
//! the next record is found by looking for the magic and a checksum that holds.

use std::cell::RefCell;

use super::JournalError;
use super::packed::Record;

const MAGIC: [u8; 2] = [0xF5, 0x7A];
pub(super) const HEADER_BYTES: usize = 12;
/// The largest payload. A record is a few kilobytes; a longer length in a header is damage.
pub(super) const MAX_PAYLOAD_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Begin = 1,
    Checkpoint = 2,
    End = 3,
}

/// How a payload is written: the version of its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Of earlier programs; read, no longer written.
    Json = 1,
    Packed = 2,
}

/// What stands at an offset of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan<'a> {
    Frame {
        kind: Kind,
        form: Form,
        payload: &'a [u8],
        /// Offset of the next frame.
        next: usize,
    },
    /// The bytes end here, between two frames.
    End,
    /// The bytes end inside a frame that looks whole so far.
    Partial,
    Bad,
    /// A whole frame of a version or kind this program does not know.
    Unknown {
        version: u8,
        kind: u8,
    },
}

/// Gives `act` the frame of a record, in a buffer that this thread keeps.
pub(super) fn with<R>(record: &impl Record, act: impl FnOnce(&[u8]) -> Result<R, JournalError>) -> Result<R, JournalError> {
    /// A buffer that grew beyond this goes.
    const MAX_KEPT_BYTES: usize = 64 << 10;
    thread_local! {
        static FRAME: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let mut frame = FRAME.take();
    let done = encode(&mut frame, record).and_then(|()| act(&frame));
    if frame.capacity() <= MAX_KEPT_BYTES {
        FRAME.set(frame);
    }
    done
}

fn encode<R: Record>(frame: &mut Vec<u8>, record: &R) -> Result<(), JournalError> {
    frame.clear();
    frame.extend_from_slice(&[0; HEADER_BYTES]);
    record.put(frame);
    seal(frame, Form::Packed, R::KIND)
}

/// Fills in the header before a payload.
fn seal(frame: &mut [u8], form: Form, kind: Kind) -> Result<(), JournalError> {
    let length = frame.len() - HEADER_BYTES;
    if length > MAX_PAYLOAD_BYTES {
        return Err(JournalError::TooLarge { bytes: length, limit: MAX_PAYLOAD_BYTES });
    }
    frame[..2].copy_from_slice(&MAGIC);
    frame[2] = form as u8;
    frame[3] = kind as u8;
    frame[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    let crc = checksum(frame);
    frame[8..12].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

fn checksum(frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&frame[2..8]), &frame[HEADER_BYTES..])
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

pub(super) fn scan(bytes: &[u8], at: usize) -> Scan<'_> {
    let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { return Scan::End };
    if !MAGIC.starts_with(&rest[..rest.len().min(2)]) {
        return Scan::Bad;
    }
    if rest.len() < HEADER_BYTES {
        return Scan::Partial;
    }
    let length = word(&rest[4..8]) as usize;
    if length > MAX_PAYLOAD_BYTES {
        return Scan::Bad;
    }
    let Some(frame) = rest.get(..HEADER_BYTES + length) else { return Scan::Partial };
    if checksum(frame) != word(&frame[8..12]) {
        return Scan::Bad;
    }
    let (version, kind) = (frame[2], frame[3]);
    let form = match version {
        1 => Form::Json,
        2 => Form::Packed,
        _ => return Scan::Unknown { version, kind },
    };
    let kind = match kind {
        1 => Kind::Begin,
        2 => Kind::Checkpoint,
        3 => Kind::End,
        _ => return Scan::Unknown { version, kind },
    };
    Scan::Frame { kind, form, payload: &frame[HEADER_BYTES..], next: at + frame.len() }
}

/// The offset of the first whole frame after `from`, past damage.
pub(super) fn resync(bytes: &[u8], from: usize) -> Option<usize> {
    (from + 1..bytes.len())
        .filter(|&at| bytes[at] == MAGIC[0])
        .find(|&at| matches!(scan(bytes, at), Scan::Frame { .. } | Scan::Unknown { .. }))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::testing;

    pub fn packed(record: &impl Record) -> Vec<u8> {
        with(record, |frame| Ok(frame.to_vec())).unwrap()
    }

    /// As an earlier program wrote it.
    pub fn json<R: Record + serde::Serialize>(record: &R) -> Vec<u8> {
        let mut frame = vec![0; HEADER_BYTES];
        serde_json::to_writer(&mut frame, record).unwrap();
        seal(&mut frame, Form::Json, R::KIND).unwrap();
        frame
    }

    /// As a later program might write it.
    pub fn of_version(version: u8, mut frame: Vec<u8>) -> Vec<u8> {
        frame[2] = version;
        let crc = checksum(&frame);
        frame[8..12].copy_from_slice(&crc.to_le_bytes());
        frame
    }

    #[test]
    fn a_frame_reads_back_and_no_flipped_bit_goes_unseen() {
        for (frame, form) in [(packed(&testing::record(1)), Form::Packed), (json(&testing::record(1)), Form::Json)] {
            let payload = &frame[HEADER_BYTES..];
            assert_eq!(scan(&frame, 0), Scan::Frame { kind: Kind::End, form, payload, next: frame.len() });
            assert_eq!(scan(&frame, frame.len()), Scan::End);
            for bit in 0..frame.len() * 8 {
                let mut damaged = frame.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(matches!(scan(&damaged, 0), Scan::Bad | Scan::Partial), "bit {bit}");
            }
        }
    }

    #[test]
    fn every_cut_is_partial_and_what_follows_damage_is_found() {
        let (first, second) = (packed(&testing::begin_of(&testing::record(1))), packed(&testing::record(2)));
        for cut in 1..first.len() {
            assert_eq!(scan(&first[..cut], 0), Scan::Partial, "cut {cut}");
        }
        let mut both = [first.clone(), second].concat();
        both[HEADER_BYTES] ^= 0xFF;
        assert_eq!(scan(&both, 0), Scan::Bad);
        assert_eq!(resync(&both, 0), Some(first.len()));
        assert_eq!(resync(&both, first.len()), None);
    }

    #[test]
    fn a_frame_of_a_later_version_is_told_from_damage() {
        let frame = of_version(9, packed(&testing::record(1)));
        assert_eq!(scan(&frame, 0), Scan::Unknown { version: 9, kind: 3 });
    }
}
