//! Short texts made where they are needed: a header's number is no reason to go to the heap twice.

use std::fmt;

use http::HeaderValue;

/// Longer than anything that is written so.
const MAX_BYTES: usize = 64;

/// See the module. Text that does not fit is cut, a number left out.
pub struct Short {
    bytes: [u8; MAX_BYTES],
    len: usize,
}

impl Short {
    pub const fn new() -> Self {
        Self { bytes: [0; MAX_BYTES], len: 0 }
    }

    /// A number alone.
    #[inline]
    pub fn of(number: u64) -> Self {
        Self::new().number(number)
    }

    #[inline]
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.push(text.as_bytes());
        self
    }

    #[inline]
    #[must_use]
    pub fn number(self, number: u64) -> Self {
        self.padded(number, 1)
    }

    /// With zeros before it, up to `width` digits.
    #[inline]
    #[must_use]
    pub fn padded(mut self, mut number: u64, width: usize) -> Self {
        let digits = number.checked_ilog10().map_or(1, |highest| highest as usize + 1);
        let end = self.len + digits.max(width);
        if let Some(place) = self.bytes.get_mut(self.len..end) {
            for digit in place.iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
            self.len = end;
        }
        self
    }

    /// `None`: no header can say it.
    pub fn value(&self) -> Option<HeaderValue> {
        HeaderValue::from_bytes(&self.bytes[..self.len]).ok()
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        let room = &mut self.bytes[self.len..];
        let len = bytes.len().min(room.len());
        room[..len].copy_from_slice(&bytes[..len]);
        self.len += len;
    }
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn numbers_are_written_with_the_zeros_that_are_asked_for() {
        let shown = |short: Short| short.value().unwrap();
        assert_eq!(shown(Short::of(0)), "0");
        assert_eq!(shown(Short::of(u64::MAX)), u64::MAX.to_string());
        assert_eq!(shown(Short::of(12).text(".").padded(7, 3).text("s")), "12.007s");
        assert_eq!(shown(Short::new().padded(1_234, 3)), "1234");
        let mut long = Short::new();
        write!(long, "{}", "x".repeat(80)).unwrap();
        assert_eq!(shown(long.number(7)), "x".repeat(MAX_BYTES));
        assert_eq!(Short::new().text("\n").value(), None);
    }
}
