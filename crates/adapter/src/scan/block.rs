//! Sixty-four bytes of a JSON string at once.

use wide::u8x16;

use crate::json_text::{LANE_BYTES, at_most, control, is};

pub(super) const BLOCK_BYTES: usize = 64;

/// See the module. What is told of single bytes is told as one bit a byte, the first byte lowest.
#[derive(Clone, Copy)]
pub(super) struct Block([u8x16; 4]);

impl Block {
    #[inline]
    pub fn of(bytes: &[u8; BLOCK_BYTES]) -> Self {
        let (lanes, _) = bytes.as_chunks::<LANE_BYTES>();
        Self([u8x16::new(lanes[0]), u8x16::new(lanes[1]), u8x16::new(lanes[2]), u8x16::new(lanes[3])])
    }

    #[inline]
    fn bits(self, pick: impl Fn(u8x16) -> u8x16) -> u64 {
        let bits = |lane: usize| u64::from(pick(self.0[lane]).to_bitmask());
        bits(0) | bits(1) << 16 | bits(2) << 32 | bits(3) << 48
    }

    #[inline]
    fn has(self, pick: impl Fn(u8x16) -> u8x16) -> bool {
        let [a, b, c, d] = self.0;
        ((pick(a) | pick(b)) | (pick(c) | pick(d))).to_bitmask() != 0
    }

    /// Of what is ASCII: nothing needs a look, and there are no spaces.
    #[inline]
    pub fn is_dense(self) -> bool {
        !self.has(|lane| at_most(lane, b'"') | is(lane, b'\\'))
    }

    /// Bytes that have every bit that one of its bytes at their place in a lane has.
    #[inline]
    pub fn union(self) -> u8x16 {
        let [a, b, c, d] = self.0;
        (a | b) | (c | d)
    }

    /// The least of its bytes at each place in a lane.
    #[inline]
    pub fn lowest(self) -> u8x16 {
        let [a, b, c, d] = self.0;
        a.min(b).min(c.min(d))
    }

    #[inline]
    pub fn of_byte(self, byte: u8) -> u64 {
        self.bits(|lane| is(lane, byte))
    }

    #[inline]
    pub fn controls(self) -> u64 {
        self.bits(control)
    }

    #[inline]
    pub fn beyond_ascii(self) -> u64 {
        self.bits(|lane| lane)
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
                let block = Block::of(&bytes);
                for known in [b'"', b'\\', b' ', b'n'] {
                    assert_eq!(block.of_byte(known), bit(byte == known), "{byte:#x} at {at}");
                }
                assert_eq!(block.controls(), bit(byte < b' '));
                assert_eq!(block.beyond_ascii(), bit(!byte.is_ascii()));
                assert_eq!(control(block.lowest()).to_bitmask(), u32::from(byte < b' ') << (at % LANE_BYTES));
                assert_eq!(block.is_dense(), byte > b'"' && byte != b'\\', "{byte:#x} at {at}");
                assert_eq!(block.union().to_bitmask(), u32::from(!byte.is_ascii()) << (at % LANE_BYTES));
            }
        }
        assert_eq!(Block::of(&[b'"'; BLOCK_BYTES]).of_byte(b'"'), u64::MAX);
    }

    #[test]
    fn every_second_backslash_of_a_run_is_escaped_also_across_blocks() {
        for run in 1..=2 * BLOCK_BYTES {
            for start in 0..=BLOCK_BYTES {
                let mut text = vec![b'a'; 4 * BLOCK_BYTES];
                text[start..start + run].fill(b'\\');
                let mut escapes = Escapes::default();
                let (blocks, _) = text.as_chunks::<BLOCK_BYTES>();
                let found: Vec<u64> = blocks.iter().map(|bytes| escapes.escaped(Block::of(bytes).of_byte(b'\\'))).collect();
                let is_escaped = |at: usize| at > start && at <= start + run && (at - start) % 2 == 1;
                for at in 0..text.len() {
                    let bit = found[at / BLOCK_BYTES] >> (at % BLOCK_BYTES) & 1;
                    assert_eq!(bit == 1, is_escaped(at), "{run} from {start}: {at}");
                }
            }
        }
    }
}
