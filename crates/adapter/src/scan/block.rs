//! Sixty-four bytes of a JSON string at once, in the widest registers that the processor turns out to have.
#![expect(clippy::inline_always, reason = "only what is inlined there is compiled for the processor of `dispatch!`")]

use fearless_simd::prelude::*;
use fearless_simd::u8x64;

use crate::json_text::FIRST_PLAIN;

pub(super) const BLOCK_BYTES: usize = 64;
const FIRST_BEYOND_ASCII: u8 = 0x80;

/// See the module. What is told of single bytes is told as one bit a byte, the first byte lowest.
#[derive(Clone, Copy)]
pub(super) struct Block<S: Simd>(u8x64<S>);

impl<S: Simd> Block<S> {
    #[inline(always)]
    pub fn of(simd: S, bytes: &[u8; BLOCK_BYTES]) -> Self {
        Self(u8x64::load_array_ref(simd, bytes))
    }

    #[inline(always)]
    pub fn filled(simd: S, byte: u8) -> Self {
        Self(u8x64::splat(simd, byte))
    }

    /// Nothing needs a look: it is ASCII without spaces, quotes and backslashes.
    #[inline(always)]
    pub fn is_dense(self) -> bool {
        !(self.0.simd_le(b'"') | self.0.simd_eq(b'\\') | self.0.simd_ge(FIRST_BEYOND_ASCII)).any_true()
    }

    /// Each bit that a byte of either has, at its place.
    #[inline(always)]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The lesser byte of both at each place.
    #[inline(always)]
    pub fn least(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    #[inline(always)]
    pub fn of_byte(self, byte: u8) -> u64 {
        self.0.simd_eq(byte).to_bitmask()
    }

    #[inline(always)]
    pub fn controls(self) -> u64 {
        self.0.simd_le(FIRST_PLAIN - 1).to_bitmask()
    }

    #[inline(always)]
    pub fn beyond_ascii(self) -> u64 {
        self.0.simd_ge(FIRST_BEYOND_ASCII).to_bitmask()
    }
}

/// Tells the backslashes that begin an escape from those that stand in one, block after block.
#[derive(Clone, Copy, Default)]
pub(super) struct Escapes {
    /// One: the last block ended in a backslash that begins an escape.
    under_way: u64,
}

impl Escapes {
    pub const fn is_under_way(self) -> bool {
        self.under_way != 0
    }

    /// Of the next block: where bytes stand that a backslash escapes. By simdjson's way: in a run of backslashes every second is
    /// escaped, and an addition carries from the beginning of a run to its end.
    #[inline]
    pub const fn escaped(&mut self, backslashes: u64) -> u64 {
        const EVEN: u64 = 0x5555_5555_5555_5555;
        if backslashes == 0 {
            return std::mem::replace(&mut self.under_way, 0);
        }
        let backslashes = backslashes & !self.under_way;
        let behind = backslashes << 1 | self.under_way;
        let odd_starts = backslashes & !EVEN & !behind;
        let (even_runs, is_under_way) = odd_starts.overflowing_add(backslashes);
        self.under_way = is_under_way as u64;
        (EVEN ^ (even_runs << 1)) & behind
    }
}

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, dispatch};

    use super::*;

    fn check_bytes<S: Simd>(simd: S) {
        for at in 0..BLOCK_BYTES {
            for byte in 0..=u8::MAX {
                let mut bytes = [b'a'; BLOCK_BYTES];
                bytes[at] = byte;
                let bit = |is_one: bool| u64::from(is_one) << at;
                let (block, letters) = (Block::of(simd, &bytes), Block::filled(simd, b'a'));
                for known in [b'"', b'\\', b' ', b'n'] {
                    assert_eq!(block.of_byte(known), bit(byte == known), "{byte:#x} at {at}");
                }
                assert_eq!(block.controls(), bit(byte < b' '));
                assert_eq!(block.beyond_ascii(), bit(!byte.is_ascii()));
                assert_eq!(letters.least(block).controls(), bit(byte < b' '));
                assert_eq!(letters.union(block).beyond_ascii(), bit(!byte.is_ascii()));
                assert_eq!(block.is_dense(), byte > b'"' && byte != b'\\' && byte.is_ascii(), "{byte:#x} at {at}");
            }
        }
        assert_eq!(Block::filled(simd, b'"').of_byte(b'"'), u64::MAX);
    }

    #[test]
    fn every_byte_at_every_place_has_its_bit_on_every_processor() {
        for level in [Level::new(), Level::baseline()] {
            dispatch!(level, simd => check_bytes(simd));
        }
    }

    #[test]
    fn every_second_backslash_of_a_run_is_escaped_also_across_blocks() {
        let bit = |(at, byte): (usize, &u8)| u64::from(*byte == b'\\') << at;
        let backslashes = |bytes: &[u8; BLOCK_BYTES]| bytes.iter().enumerate().map(bit).sum();
        for run in 1..=2 * BLOCK_BYTES {
            for start in 0..=BLOCK_BYTES {
                let mut text = vec![b'a'; 4 * BLOCK_BYTES];
                text[start..start + run].fill(b'\\');
                let mut escapes = Escapes::default();
                let (blocks, _) = text.as_chunks::<BLOCK_BYTES>();
                let found: Vec<u64> = blocks.iter().map(|bytes| escapes.escaped(backslashes(bytes))).collect();
                let is_escaped = |at: usize| at > start && at <= start + run && (at - start) % 2 == 1;
                for at in 0..text.len() {
                    let bit = found[at / BLOCK_BYTES] >> (at % BLOCK_BYTES) & 1;
                    assert_eq!(bit == 1, is_escaped(at), "{run} from {start}: {at}");
                }
            }
        }
    }
}
