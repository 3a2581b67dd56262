//! JSON passed over by its places: what its readers here have in common. A place is given for the first byte behind what was
//! passed, `None` where `serde_json` would refuse it.

use serde::Deserialize;
use serde_json::Value;
use wide::u8x16;

pub(crate) const LANE_BYTES: usize = 16;
const HEX_DIGITS: usize = 4;
/// Below it are the control characters, which no string may hold.
pub(crate) const FIRST_PLAIN: u8 = b' ';

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct JsonText<'a>(pub &'a [u8]);

impl JsonText<'_> {
    #[inline]
    pub fn byte(self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    #[inline]
    pub fn space(self, mut at: usize) -> usize {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte(at) {
            at += 1;
        }
        at
    }

    pub fn word(self, at: usize, word: &[u8]) -> Option<usize> {
        self.0[at..].starts_with(word).then_some(at + word.len())
    }

    pub fn number(self, mut at: usize) -> Option<usize> {
        if self.byte(at) == Some(b'-') {
            at += 1;
        }
        at = match self.byte(at)? {
            b'0' => at + 1,
            b'1'..=b'9' => self.digits(at)?,
            _ => return None,
        };
        if self.byte(at) == Some(b'.') {
            at = self.digits(at + 1)?;
        }
        if let Some(b'e' | b'E') = self.byte(at) {
            at += 1;
            if let Some(b'+' | b'-') = self.byte(at) {
                at += 1;
            }
            at = self.digits(at)?;
        }
        Some(at)
    }

    /// One at least.
    fn digits(self, at: usize) -> Option<usize> {
        let count = self.0.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then_some(at + count)
    }

    /// The escape whose backslash is at `at`.
    pub fn escape(self, at: usize) -> Option<usize> {
        match self.byte(at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
            b'u' => {
                let digits = self.0.get(at + 2..at + 2 + HEX_DIGITS)?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 2 + HEX_DIGITS)
            }
            _ => None,
        }
    }

    #[inline]
    pub fn lane(self, at: usize) -> Option<u8x16> {
        self.0.get(at..)?.first_chunk::<LANE_BYTES>().map(|bytes| u8x16::new(*bytes))
    }

    /// Where the next quote, backslash or control character stands: what a string cannot hold as it is.
    #[inline]
    pub fn mark(self, mut at: usize) -> Option<usize> {
        while let Some(lane) = self.lane(at) {
            let marks = marks(lane).to_bitmask();
            if marks != 0 {
                return Some(at + marks.trailing_zeros() as usize);
            }
            at += LANE_BYTES;
        }
        self.0.get(at..)?.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..FIRST_PLAIN)).map(|position| at + position)
    }

    /// Where the quote stands that closes the string, of which what is before `at` is known to be no end.
    pub fn end_of_string(self, mut at: usize) -> Option<usize> {
        loop {
            at = self.mark(at)?;
            match self.0[at] {
                b'"' => return Some(at),
                b'\\' => at = self.escape(at)?,
                _ => return None,
            }
        }
    }
}

/// What `serde_json` makes of a text, which is looked at once for being UTF-8, and not again with every string of it.
pub(crate) fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> serde_json::Result<T> {
    match simdutf8::basic::from_utf8(json) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(json),
    }
}

/// What `Value::to_string` gives, at a third of its price.
pub(crate) fn compact(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The quotes, backslashes and control characters.
#[inline]
pub(crate) fn marks(lane: u8x16) -> u8x16 {
    is(lane, b'"') | is(lane, b'\\') | control(lane)
}

#[inline]
pub(crate) fn is(lane: u8x16, byte: u8) -> u8x16 {
    lane.simd_eq(u8x16::splat(byte))
}

#[inline]
pub(crate) fn control(lane: u8x16) -> u8x16 {
    at_most(lane, FIRST_PLAIN - 1)
}

#[inline]
pub(crate) fn at_most(lane: u8x16, byte: u8) -> u8x16 {
    lane.min(u8x16::splat(byte)).simd_eq(lane)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_mark_is_found_wherever_it_stands(text in proptest::collection::vec(any::<u8>(), 0..60), from in 0..60_usize) {
            let from = from.min(text.len());
            let expected = text[from..].iter().position(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\')).map(|at| from + at);
            prop_assert_eq!(JsonText(&text).mark(from), expected);
        }
    }
}
