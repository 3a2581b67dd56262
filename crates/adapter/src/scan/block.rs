//! Sixty-four bytes of a JSON string at once, in loops that the compiler turns into instructions on many bytes.

pub(super) const BLOCK_BYTES: usize = 64;
const WORD_BYTES: usize = 8;

/// Quotes and backslashes.
const MARK: u8 = 1;
/// Control characters, and bytes beyond ASCII.
const ODD: u8 = 2;

/// What stands in a block that ends a string or needs a look.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    bytes: &'a [u8; BLOCK_BYTES],
    /// `MARK` and `ODD`, if there is one.
    seen: u8,
}

impl<'a> Block<'a> {
    #[inline]
    pub fn of(bytes: &'a [u8; BLOCK_BYTES]) -> Self {
        let seen = bytes.iter().fold(0, |seen, byte| seen | (u8::from(is_mark(*byte)) * MARK) | (u8::from(is_odd(*byte)) * ODD));
        Self { bytes, seen }
    }

    /// Nothing.
    #[inline]
    pub fn is_plain(self) -> bool {
        self.seen == 0
    }

    #[inline]
    pub fn has_odd(self) -> bool {
        self.seen & ODD != 0
    }

    /// The quotes and backslashes: one bit a byte, the first byte lowest.
    #[inline]
    pub fn marks(self) -> u64 {
        if self.seen & MARK == 0 {
            return 0;
        }
        let mut flags = [0; BLOCK_BYTES];
        for (flag, byte) in flags.iter_mut().zip(self.bytes) {
            *flag = u8::from(is_mark(*byte));
        }
        let (words, _) = flags.as_chunks::<WORD_BYTES>();
        words.iter().rev().fold(0, |bits, word| bits << WORD_BYTES | gather(*word))
    }
}

#[inline]
const fn is_mark(byte: u8) -> bool {
    byte == b'"' || byte == b'\\'
}

#[inline]
const fn is_odd(byte: u8) -> bool {
    // As signed numbers the bytes beyond ASCII are below zero.
    (byte as i8) < b' ' as i8
}

/// The lowest bits of eight bytes as one byte: the product brings each to its place in the highest.
#[inline]
const fn gather(flags: [u8; WORD_BYTES]) -> u64 {
    const PLACES: u64 = 0x0102_0408_1020_4080;
    u64::from_le_bytes(flags).wrapping_mul(PLACES) >> (u64::BITS - u8::BITS)
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
                let block = Block::of(&bytes);
                let (mark, odd) = (matches!(byte, b'"' | b'\\'), byte < b' ' || !byte.is_ascii());
                assert_eq!((block.marks(), block.has_odd()), (u64::from(mark) << at, odd), "{byte:#x} at {at}");
                assert_eq!(block.is_plain(), !mark && !odd);
            }
        }
        assert_eq!(Block::of(&[b'"'; BLOCK_BYTES]).marks(), u64::MAX);
    }
}
