//! How one record lies in a segment: a header of [`HEADER_BYTES`], then the payload (JSON).
//!
//! ```text
//! 0      2        3     4         8        12
//! ┌──────┬────────┬─────┬─────────┬────────┬─────────┐
//! │magic │version │kind │length LE│crc32c  │payload… │
//! └──────┴────────┴─────┴─────────┴────────┴─────────┘
//! ```
//!
//! The checksum covers version, kind, length and payload. The first byte of the magic occurs in no UTF-8 text, so after a
//! damaged stretch the next record is found by looking for it.

use serde::Serialize;

use super::{JournalError, json};

const MAGIC: [u8; 2] = [0xF5, 0x7A];
const VERSION: u8 = 1;
pub(super) const HEADER_BYTES: usize = 12;
/// The largest payload. A record is a few kilobytes; a longer length in a header is damage.
pub(super) const MAX_PAYLOAD_BYTES: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Begin = 1,
    Checkpoint = 2,
    End = 3,
}

/// What stands at an offset of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan<'a> {
    Frame {
        kind: Kind,
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

pub(super) fn encode(kind: Kind, record: &impl Serialize) -> Result<Vec<u8>, JournalError> {
    // Most records fit, so that the buffer does not grow while it is written.
    const EXPECTED_BYTES: usize = 1_536;
    let mut frame = Vec::with_capacity(EXPECTED_BYTES);
    frame.extend_from_slice(&[0; HEADER_BYTES]);
    json::write(&mut frame, record).map_err(JournalError::Encode)?;
    let length = frame.len() - HEADER_BYTES;
    if length > MAX_PAYLOAD_BYTES {
        return Err(JournalError::TooLarge { bytes: length, limit: MAX_PAYLOAD_BYTES });
    }
    frame[..2].copy_from_slice(&MAGIC);
    frame[2] = VERSION;
    frame[3] = kind as u8;
    frame[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    let crc = checksum(&frame);
    frame[8..12].copy_from_slice(&crc.to_le_bytes());
    Ok(frame)
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
    let kind = match frame[3] {
        _ if frame[2] != VERSION => return Scan::Unknown { version: frame[2], kind: frame[3] },
        1 => Kind::Begin,
        2 => Kind::Checkpoint,
        3 => Kind::End,
        kind => return Scan::Unknown { version: VERSION, kind },
    };
    Scan::Frame { kind, payload: &frame[HEADER_BYTES..], next: at + frame.len() }
}

/// The offset of the first whole frame after `from`, past damage.
pub(super) fn resync(bytes: &[u8], from: usize) -> Option<usize> {
    (from + 1..bytes.len())
        .filter(|&at| bytes[at] == MAGIC[0])
        .find(|&at| matches!(scan(bytes, at), Scan::Frame { .. } | Scan::Unknown { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back_and_no_flipped_bit_goes_unseen() {
        let frame = encode(Kind::End, &"hello").unwrap();
        assert_eq!(scan(&frame, 0), Scan::Frame { kind: Kind::End, payload: b"\"hello\"", next: frame.len() });
        assert_eq!(scan(&frame, frame.len()), Scan::End);
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(scan(&damaged, 0), Scan::Bad | Scan::Partial), "bit {bit}");
        }
    }

    #[test]
    fn every_cut_is_partial_and_what_follows_damage_is_found() {
        let (first, second) = (encode(Kind::Begin, &1).unwrap(), encode(Kind::End, &2).unwrap());
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
        let mut frame = encode(Kind::End, &1).unwrap();
        frame[2] = 9;
        let crc = checksum(&frame);
        frame[8..12].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(scan(&frame, 0), Scan::Unknown { version: 9, kind: 3 });
    }
}
