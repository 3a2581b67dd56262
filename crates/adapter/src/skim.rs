//! JSON read in one pass by somebody who knows what to look for, and wants nothing else of it.
//!
//! Only what is plain is read. `None` means that something is unusual or broken, and that the library has to be asked; it
//! never means that something is not there. What was read to its end is JSON that the library takes too.

use std::borrow::Cow;
use std::ops::Range;

use crate::json_text::JsonText;

/// Deeper than any answer; what is deeper still is for the library.
const MAX_DEPTH: u32 = 48;
/// Members of an object whose names are compared.
const MAX_UNIQUE: usize = 24;
/// So many digits fit a `u64`, whatever they are.
const MAX_DIGITS: usize = 19;

/// What stands in a place where null may stand too.
pub(crate) struct OrNull<T>(pub Option<T>);

/// Fills `place`; a name that stands in an object twice is for the library.
pub(crate) fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// Where reading has come to.
pub(crate) struct Skim<'a> {
    text: JsonText<'a>,
    at: usize,
    /// Names whose strings are output.
    is_output: fn(&[u8]) -> bool,
    /// Bytes of the strings skipped under such names; escapes count as they stand.
    pub output_bytes: u64,
}

impl<'a> Skim<'a> {
    pub const fn new(data: &'a [u8], is_output: fn(&[u8]) -> bool) -> Self {
        Self { text: JsonText(data), at: 0, is_output, output_bytes: 0 }
    }

    pub const fn at(&self) -> usize {
        self.at
    }

    /// The first byte of what comes next.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        self.at = self.text.space(self.at);
        self.text.byte(self.at)
    }

    /// Nothing comes after.
    pub fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.text.word(self.at, word).map(|at| self.at = at)
    }

    /// Each member of the object that comes next: `read` is given its name and takes its value.
    pub fn members(&mut self, mut read: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            let name = self.plain_string()?;
            // Whoever searches for names by their quotes and colon must find the same ones.
            (self.text.byte(self.at)? == b':').then(|| self.at += 1)?;
            read(self, name)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => return self.take(b'}'),
                _ => return None,
            }
        }
    }

    /// The same for an object that is to be written as the library would write it: no name stands in it twice, for of two the
    /// library would keep the last.
    pub fn unique_members(&mut self, mut read: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        let (mut names, mut count) = ([&b""[..]; MAX_UNIQUE], 0);
        self.members(|skim, name| {
            if names[..count].contains(&name) {
                return None;
            }
            *names.get_mut(count)? = name;
            count += 1;
            read(skim, name)
        })
    }

    /// Each element of the list that comes next.
    pub fn elements(&mut self, mut read: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(b'[')?;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            read(self)?;
            match self.peek()? {
                b',' => self.at += 1,
                b']' => return self.take(b']'),
                _ => return None,
            }
        }
    }

    /// The inside of a string without escapes, which may be no UTF-8.
    fn plain_string(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let (start, end) = (self.at, self.text.mark(self.at)?);
        (self.text.0[end] == b'"').then(|| self.at = end + 1)?;
        Some(&self.text.0[start..end])
    }

    pub fn null(&mut self) -> Option<()> {
        self.peek()?;
        self.word(b"null")
    }

    /// A string without escapes, or null.
    pub fn text_or_null(&mut self) -> Option<OrNull<&'a str>> {
        match self.peek()? {
            b'"' => std::str::from_utf8(self.plain_string()?).ok().map(|text| OrNull(Some(text))),
            _ => self.null().map(|()| OrNull(None)),
        }
    }

    /// A string, whatever stands in it.
    pub fn text(&mut self) -> Option<Cow<'a, str>> {
        self.peek()?;
        let start = self.at;
        let inside = self.skip_string()?;
        let has_escapes = memchr::memchr(b'\\', &self.text.0[inside.clone()]).is_some();
        if has_escapes {
            serde_json::from_slice(&self.text.0[start..self.at]).ok().map(Cow::Owned)
        } else {
            simdutf8::basic::from_utf8(&self.text.0[inside]).ok().map(Cow::Borrowed)
        }
    }

    pub fn truth(&mut self) -> Option<bool> {
        let is_true = self.peek()? == b't';
        self.word(if is_true { b"true" } else { b"false" })?;
        Some(is_true)
    }

    /// A number, as the library rounds it.
    pub fn number(&mut self) -> Option<f64> {
        self.peek()?;
        let start = self.at;
        self.at = self.text.number(start)?;
        serde_json::from_slice(&self.text.0[start..self.at]).ok()
    }

    /// A whole number that is not below zero, in digits alone.
    pub fn count(&mut self) -> Option<u64> {
        self.peek()?;
        let start = self.at;
        let mut count = 0_u64;
        while let Some(digit) = self.text.byte(self.at).filter(u8::is_ascii_digit) {
            count = count.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        let digits = self.at - start;
        let is_plain = (1..=MAX_DIGITS).contains(&digits) && (self.text.0[start] != b'0' || digits == 1);
        let is_whole = !matches!(self.text.byte(self.at), Some(b'.' | b'e' | b'E'));
        (is_plain && is_whole).then_some(count)
    }

    pub fn count_or_null(&mut self) -> Option<OrNull<u64>> {
        if self.peek()? == b'n' { self.null().map(|()| OrNull(None)) } else { self.count().map(|count| OrNull(Some(count))) }
    }

    /// An object of counts, or null; `of` says which place a name has.
    pub fn counts<T: Default>(&mut self, of: for<'t> fn(&'t mut T, &[u8]) -> Option<&'t mut Option<u64>>) -> Option<OrNull<T>> {
        if self.peek()? == b'n' {
            return self.null().map(|()| OrNull(None));
        }
        let mut counts = T::default();
        self.unique_members(|skim, name| match of(&mut counts, name) {
            Some(count) => {
                *count = skim.count_or_null()?.0;
                Some(())
            }
            None => skim.skip_plain(name),
        })?;
        Some(OrNull(Some(counts)))
    }

    /// Takes a value that has no other spelling than its own, white space aside, and no output in it.
    pub fn skip_plain(&mut self, name: &[u8]) -> Option<()> {
        self.plain(name, MAX_DEPTH)
    }

    fn plain(&mut self, name: &[u8], depth: u32) -> Option<()> {
        let deeper = depth.checked_sub(1)?;
        match self.peek()? {
            b'"' if (self.is_output)(name) => None,
            b'"' => self.plain_string().map(|_| ()),
            b'{' => self.unique_members(|skim, name| skim.plain(name, deeper)),
            b'[' => self.elements(|skim| skim.plain(b"", deeper)),
            b'n' => self.word(b"null"),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            _ => self.count().map(|_| ()),
        }
    }

    /// What was read since `start`, where all of it was plain, as the library would write it: without white space.
    pub fn written_since(&self, start: usize) -> Option<String> {
        let json = &self.text.0[start..self.at];
        if !json.iter().any(u8::is_ascii_whitespace) {
            return std::str::from_utf8(json).ok().map(str::to_owned);
        }
        let mut written = Vec::with_capacity(json.len());
        let mut is_in_string = false;
        for &byte in json {
            is_in_string ^= byte == b'"';
            if is_in_string || !byte.is_ascii_whitespace() {
                written.push(byte);
            }
        }
        String::from_utf8(written).ok()
    }

    /// Takes the value of the member called `name`, and counts it if it is output.
    pub fn skip_member(&mut self, name: &[u8]) -> Option<()> {
        self.member(name, MAX_DEPTH)
    }

    fn member(&mut self, name: &[u8], depth: u32) -> Option<()> {
        if self.peek()? == b'"' {
            let span = self.skip_string()?;
            if (self.is_output)(name) {
                self.output_bytes += span.len() as u64;
            }
            return Some(());
        }
        self.skip(depth)
    }

    fn skip(&mut self, depth: u32) -> Option<()> {
        let deeper = depth.checked_sub(1)?;
        match self.peek()? {
            b'"' => self.skip_string().map(|_| ()),
            b'{' => self.members(|skim, name| skim.member(name, deeper)),
            b'[' => self.elements(|skim| skim.skip(deeper)),
            b'n' => self.word(b"null"),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            _ => self.text.number(self.at).map(|at| self.at = at),
        }
    }

    fn skip_string(&mut self) -> Option<Range<usize>> {
        self.take(b'"')?;
        let (start, end) = (self.at, self.text.end_of_string(self.at)?);
        self.at = end + 1;
        Some(start..end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn takes(text: &[u8]) -> bool {
        let mut skim = Skim::new(text, |_| false);
        skim.skip(MAX_DEPTH).and_then(|()| skim.end()).is_some()
    }

    #[test]
    fn nothing_is_taken_that_is_no_json() {
        let broken: [&[u8]; 16] = [
            b"",
            b"{",
            b"[1,]",
            b"{\"a\":1,}",
            b"{\"a\"}",
            b"01",
            b"1.",
            b"-",
            b"1e",
            b"\"",
            b"\"\\x\"",
            b"\"\\u12g4\"",
            b"\"\n\"",
            b"nul",
            b"1 2",
            b"{a:1}",
        ];
        for text in broken {
            assert!(!takes(text), "{}", text.escape_ascii());
            assert!(serde_json::from_slice::<IgnoredAny>(text).is_err(), "{}", text.escape_ascii());
        }
        for text in [&b" {\"a\":[1,-0.5e+3,\"\\\"\\u00e4\",{}],\"b\":null} "[..], b"[true,false,[[]]]", b"0", b"\"12345678\\\\\""]
        {
            assert!(takes(text), "{}", text.escape_ascii());
        }
        assert!(!takes(&vec![b'['; 10_000]));
    }

    #[test]
    fn counts_are_digits_alone() {
        let count = |text: &str| Skim::new(text.as_bytes(), |_| false).count();
        assert_eq!(
            (count("0,"), count("17}"), count("9999999999999999999")),
            (Some(0), Some(17), Some(9_999_999_999_999_999_999))
        );
        for text in ["", "-1", "1.0", "1e3", "007", "10000000000000000000", "\"1\""] {
            assert_eq!(count(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_taken_the_library_takes_too(text in r#"[\[\]{}:,"\\ \n0-9eE.+\-truefalsn\x00ä]{0,24}"#) {
            if takes(text.as_bytes()) {
                prop_assert!(serde_json::from_str::<IgnoredAny>(&text).is_ok());
            }
        }
    }
}
