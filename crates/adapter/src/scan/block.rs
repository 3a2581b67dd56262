//! Sixty-four bytes of a JSON string at once.

use wide::i8x16;

pub(super) const BLOCK_BYTES: usize = 64;
const LANE_BYTES: usize = 16;

/// What stands in a block that ends a string or needs a look: one bit a byte, the first byte lowest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub quotes: u64,
    pub backslashes: u64,
    /// Control characters, and bytes beyond ASCII.
    pub odd: u64,
}

impl Block {
    #[inline]
    pub fn of(bytes: &[u8; BLOCK_BYTES]) -> Self {
        let (lanes, _) = bytes.as_chunks::<LANE_BYTES>();
        let all = |is_one: fn(i8x16) -> i8x16| {
            lanes.iter().rev().fold(0, |bits, lane| {
                bits << LANE_BYTES | u64::from(is_one(i8x16::new(lane.map(|byte| byte as i8))).to_bitmask())
            })
        };
        Self {
            quotes: all(|lane| lane.simd_eq(i8x16::splat(b'"' as i8))),
            backslashes: all(|lane| lane.simd_eq(i8x16::splat(b'\\' as i8))),
            // As signed numbers the bytes beyond ASCII are below zero.
            odd: all(|lane| lane.simd_lt(i8x16::splat(b' ' as i8))),
        }
    }

    /// Nothing.
    #[inline]
    pub const fn is_plain(self) -> bool {
        self.quotes | self.backslashes | self.odd == 0
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
    use super::*;

    #[test]
    fn every_byte_at_every_place_has_its_bit() {
        for at in 0..BLOCK_BYTES {
            for byte in 0..=u8::MAX {
                let mut bytes = [b'a'; BLOCK_BYTES];
                bytes[at] = byte;
                let bit = |is_one: bool| u64::from(is_one) << at;
                let block = Block {
                    quotes: bit(byte == b'"'),
                    backslashes: bit(byte == b'\\'),
                    odd: bit(byte < b' ' || !byte.is_ascii()),
                };
                assert_eq!(Block::of(&bytes), block, "{byte:#x} at {at}");
                assert_eq!(block.is_plain(), block == Block::default());
            }
        }
        assert_eq!(Block::of(&[b'"'; BLOCK_BYTES]).quotes, u64::MAX);
    }

    #[test]
    fn every_second_backslash_of_a_run_is_escaped_also_across_blocks() {
        for run in 1..=2 * BLOCK_BYTES {
            for start in 0..=BLOCK_BYTES {
                let mut text = vec![b'a'; 4 * BLOCK_BYTES];
                text[start..start + run].fill(b'\\');
                let mut escapes = Escapes::default();
                let (blocks, _) = text.as_chunks::<BLOCK_BYTES>();
                let found: Vec<u64> = blocks.iter().map(|bytes| escapes.escaped(Block::of(bytes).backslashes)).collect();
                let is_escaped = |at: usize| at > start && at <= start + run && (at - start) % 2 == 1;
                for at in 0..text.len() {
                    let bit = found[at / BLOCK_BYTES] >> (at % BLOCK_BYTES) & 1;
                    assert_eq!(bit == 1, is_escaped(at), "{run} from {start}: {at}");
                }
            }
        }
    }
}
