//! Finds the members of a JSON object in one look at its bytes, without reading their values.
//!
//! A request may carry megabytes of text or images, and every byte is looked at here, so strings are skipped in blocks. What
//! is accepted is what `serde_json` accepts and nothing more: a text that is refused here is left to it to explain.

mod block;
mod media;

use std::borrow::Cow;

use self::block::{BLOCK_BYTES, Block, Escapes};
use self::media::MEDIA_RUN_BYTES;

pub(crate) use self::media::text_bytes;

/// The members of one object, values unread, in their order.
pub(crate) struct Members<'a> {
    pub members: Vec<(Cow<'a, str>, &'a [u8])>,
    /// How much of the whole is text: media counts as its usual number of tokens, however large it is.
    pub text_bytes: u64,
}

/// Most objects have no more members; more only cost room that grows.
const USUAL_MEMBERS: usize = 16;
/// Most strings are shorter; a longer one is worth the setting up of blocks.
const SHORT_BYTES: usize = 24;
const HEX_DIGITS: usize = 4;

/// `None`: it is not one JSON object.
pub(crate) fn members(body: &[u8]) -> Option<Members<'_>> {
    let mut scan = Scan { body, is_ascii: true, not_text: 0, as_text: 0 };
    let mut members = Vec::with_capacity(USUAL_MEMBERS);
    let mut at = scan.space(0);
    if scan.byte(at)? != b'{' {
        return None;
    }
    at = scan.space(at + 1);
    if scan.byte(at)? == b'}' {
        at += 1;
    } else {
        loop {
            let name = at;
            at = scan.name(at)?;
            let end = body[..at].iter().rposition(|byte| *byte == b'"')?;
            let value = scan.space(at);
            at = scan.value(value)?;
            members.push((text_of(&body[name..=end])?, &body[value..at]));
            at = scan.space(at);
            match scan.byte(at)? {
                b',' => at = scan.space(at + 1),
                b'}' => break,
                _ => return None,
            }
        }
        at += 1;
    }
    if scan.space(at) != body.len() || !(scan.is_ascii || simdutf8::basic::from_utf8(body).is_ok()) {
        return None;
    }
    Some(Members { members, text_bytes: body.len() as u64 - scan.not_text + scan.as_text })
}

/// A JSON string with its quotes.
fn text_of(quoted: &[u8]) -> Option<Cow<'_, str>> {
    let inside = quoted.get(1..quoted.len() - 1)?;
    if memchr::memchr(b'\\', inside).is_none() {
        return std::str::from_utf8(inside).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice(quoted).ok().map(Cow::Owned)
}

/// Whether a byte makes an escape by itself behind a backslash.
const IS_SIMPLE: [bool; 256] = {
    let mut simple = [false; 256];
    let mut at = 0;
    while at < SIMPLE.len() {
        simple[SIMPLE[at] as usize] = true;
        at += 1;
    }
    simple
};
const SIMPLE: &[u8] = b"\"\\/bfnrt";

struct Scan<'a> {
    body: &'a [u8],
    /// No string had another byte. Outside of strings there is none.
    is_ascii: bool,
    /// Bytes of media, and what they count as.
    not_text: u64,
    as_text: u64,
}

impl Scan<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.body.get(at).copied()
    }

    fn space(&self, mut at: usize) -> usize {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte(at) {
            at += 1;
        }
        at
    }

    /// Behind the value that begins at `at`. Without recursion: a body may nest as deep as it is long.
    fn value(&mut self, mut at: usize) -> Option<usize> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            match self.byte(at)? {
                b'"' => at = self.string(at + 1)?,
                bracket @ (b'{' | b'[') => {
                    at = self.space(at + 1);
                    // `]` and `}` stand two behind their openings.
                    if self.byte(at)? == bracket + 2 {
                        at += 1;
                    } else {
                        open.push(bracket);
                        if bracket == b'{' {
                            at = self.name(at)?;
                            at = self.space(at);
                        }
                        continue;
                    }
                }
                b't' => at = self.word(at, b"true")?,
                b'f' => at = self.word(at, b"false")?,
                b'n' => at = self.word(at, b"null")?,
                b'-' | b'0'..=b'9' => at = self.number(at)?,
                _ => return None,
            }
            loop {
                let Some(bracket) = open.last().copied() else { return Some(at) };
                at = self.space(at);
                match self.byte(at)? {
                    b',' => {
                        at = self.space(at + 1);
                        if bracket == b'{' {
                            at = self.name(at)?;
                            at = self.space(at);
                        }
                        break;
                    }
                    close if close == bracket + 2 => {
                        open.pop();
                        at += 1;
                    }
                    _ => return None,
                }
            }
        }
    }

    /// Behind a member's name and its colon.
    fn name(&mut self, at: usize) -> Option<usize> {
        if self.byte(at)? != b'"' {
            return None;
        }
        let at = self.string(at + 1)?;
        let at = self.space(at);
        (self.byte(at)? == b':').then_some(at + 1)
    }

    fn word(&self, at: usize, word: &[u8]) -> Option<usize> {
        self.body[at..].starts_with(word).then_some(at + word.len())
    }

    fn number(&self, mut at: usize) -> Option<usize> {
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
    fn digits(&self, at: usize) -> Option<usize> {
        let count = self.body.get(at..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then_some(at + count)
    }

    /// Behind the closing quote of the string whose inside begins at `start`.
    fn string(&mut self, start: usize) -> Option<usize> {
        let near = self.body.get(start..)?;
        for (i, byte) in near.iter().take(SHORT_BYTES).enumerate() {
            match byte {
                b'"' => return Some(start + i + 1),
                b'\\' => return self.long_string(start, start + i),
                b' '..=b'~' => {}
                _ => return self.long_string(start, start + i),
            }
        }
        self.long_string(start, start + SHORT_BYTES)
    }

    /// The same, from `at` on, where no escape is under way.
    fn long_string(&mut self, start: usize, mut at: usize) -> Option<usize> {
        let (mut has_quotes, mut escapes) = (false, Escapes::default());
        loop {
            let Some(bytes) = self.body.get(at..).and_then(<[u8]>::first_chunk::<BLOCK_BYTES>) else {
                let last = at - usize::from(escapes.is_under_way());
                at = self.last_of_string(last)?;
                has_quotes |= memchr::memchr(b'"', &self.body[last..at]).is_some();
                break;
            };
            let block = Block::of(bytes);
            if block.is_plain() && !escapes.is_under_way() {
                at += BLOCK_BYTES;
                continue;
            }
            let escaped = escapes.escaped(block.backslashes);
            let ends = block.quotes & !escaped;
            let end = ends.trailing_zeros() as usize;
            let inside = if end == BLOCK_BYTES { u64::MAX } else { (1 << end) - 1 };
            has_quotes |= block.quotes & escaped & inside != 0;
            if escaped & inside != 0 {
                self.check_escapes(at, escaped & inside)?;
            }
            if block.odd & inside != 0 {
                self.check(&bytes[..end])?;
            }
            at += end;
            if ends != 0 {
                break;
            }
        }
        if at - start >= MEDIA_RUN_BYTES {
            self.weigh(start, at, has_quotes);
        }
        Some(at + 1)
    }

    /// What stands behind a backslash, one bit for each, counted from `at`.
    #[inline]
    fn check_escapes(&self, at: usize, mut escaped: u64) -> Option<()> {
        while escaped != 0 {
            let behind = at + escaped.trailing_zeros() as usize;
            if !IS_SIMPLE[usize::from(self.byte(behind)?)] {
                self.escape(behind - 1)?;
            }
            escaped &= escaped - 1;
        }
        Some(())
    }

    /// No control character may stand in a string; what is beyond ASCII may, if it is UTF-8.
    fn check(&mut self, inside: &[u8]) -> Option<()> {
        self.is_ascii &= inside.is_ascii();
        (inside.iter().fold(u8::MAX, |least, byte| least.min(*byte)) >= b' ').then_some(())
    }

    /// Near the end of the body there is no whole block; gives where the closing quote is.
    fn last_of_string(&mut self, mut at: usize) -> Option<usize> {
        loop {
            match self.byte(at)? {
                b'"' => return Some(at),
                b'\\' => at = self.escape(at)?,
                byte => {
                    if byte < b' ' {
                        return None;
                    }
                    self.is_ascii &= byte.is_ascii();
                    at += 1;
                }
            }
        }
    }

    /// Behind the escape whose backslash is at `at`.
    fn escape(&self, at: usize) -> Option<usize> {
        match self.byte(at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
            b'u' => {
                let digits = self.body.get(at + 2..at + 2 + HEX_DIGITS)?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 2 + HEX_DIGITS)
            }
            _ => None,
        }
    }

    /// Counts the media in a long string. Without a quote in it, it is media as a whole or not at all.
    fn weigh(&mut self, start: usize, end: usize, has_quotes: bool) {
        let inside = &self.body[start..end];
        let (not_text, as_text) = if has_quotes { media::runs(inside) } else { media::run(inside) };
        self.not_text += not_text;
        self.as_text += as_text;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    type Read = Vec<(String, String)>;

    /// What `serde_json` makes of it.
    fn expected(body: &[u8]) -> Option<Read> {
        struct Pairs(Read);
        impl<'de> serde::Deserialize<'de> for Pairs {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = Pairs;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                        let mut pairs = Vec::new();
                        while let Some(name) = map.next_key::<String>()? {
                            pairs.push((name, map.next_value::<Box<RawValue>>()?.get().to_owned()));
                        }
                        Ok(Pairs(pairs))
                    }
                }
                deserializer.deserialize_map(Visitor)
            }
        }
        serde_json::from_slice::<Pairs>(body).ok().map(|pairs| pairs.0)
    }

    fn read(body: &[u8]) -> Option<Read> {
        let text = |raw: &[u8]| String::from_utf8(raw.to_vec()).unwrap();
        members(body).map(|read| read.members.into_iter().map(|(name, raw)| (name.into_owned(), text(raw))).collect())
    }

    const BODIES: [&str; 12] = [
        "{}",
        " {\"a\" : 1 , \"b\":[ ] ,\"c\":{ \"d\" : [1,{\"e\":null},[true,false]] } } \n",
        r#"{"a":-0.5e+10,"b":0,"c":1E5,"d":10.25,"\u0065x":"\ud800 \/\b\f\n\r\t\"\\"}"#,
        r#"{"a":"a string that is longer than one block of sixty-four bytes, which it has to be, \"with\" \\ escapes \u00e9"}"#,
        "{\"a\":\"é漢字 and so on, until the string is longer than one block of sixty-four bytes: é漢字, é漢字\",\"b\":\"é\"}",
        r#"{"a":01}"#,
        r#"{"a":1,}"#,
        r#"{"a":[1,]}"#,
        r#"{"a":"\x"}"#,
        r#"{"a":"\u00g0"}"#,
        "{\"a\":\"\n\"}",
        r#"{"a":1} x"#,
    ];

    #[test]
    fn every_body_and_every_cut_of_it_is_read_as_serde_json_reads_it() {
        for body in BODIES {
            for end in 0..=body.len() {
                assert_eq!(read(&body.as_bytes()[..end]), expected(&body.as_bytes()[..end]), "{body} cut at {end}");
            }
        }
    }

    #[test]
    fn every_byte_at_every_place_is_taken_or_refused_as_serde_json_does() {
        for body in BODIES {
            for at in 0..body.len() {
                for byte in (0..=u8::MAX).step_by(3) {
                    let mut changed = body.as_bytes().to_vec();
                    changed[at] = byte;
                    assert_eq!(read(&changed), expected(&changed), "{body} with {byte:#x} at {at}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn strings_of_every_length_are_skipped_as_serde_json_skips_them(
            pieces in prop::collection::vec(prop_oneof![
                "[ -~]{0,80}", Just("\\\"".to_owned()), Just("\\\\".to_owned()), Just("\\u00e9".to_owned()),
                Just("\\".to_owned()), Just("\"".to_owned()), Just("é".to_owned()), Just("\u{7f}".to_owned()), Just("\u{1f}".to_owned()),
            ], 0..12)
        ) {
            let body = format!("{{\"a\":\"{}\",\"b\":[\"{}\"]}}", pieces.concat(), pieces.concat());
            prop_assert_eq!(read(body.as_bytes()), expected(body.as_bytes()));
        }
    }

    #[test]
    fn bytes_that_are_no_characters_are_refused() {
        for (start, end) in [("{\"a\":\"", "\"}"), ("{\"", "\":1}")] {
            for inside in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80"] {
                let body = [start.as_bytes(), inside, end.as_bytes()].concat();
                assert!(members(&body).is_none(), "{body:?}");
            }
        }
    }

    #[test]
    fn media_is_found_in_the_same_look() {
        let data = "QUJD".repeat(250_000);
        let escaped = format!(r#"{{"data":"{}"}}"#, "Q\\/JD".repeat(250_000));
        let in_text = format!(r#"{{"arguments":"{{\"image\":\"{data}\",\"and\":\"more\"}}"}}"#);
        let image = format!(r#"{{"data":"{data}","b":1}}"#);
        let prose = format!(r#"{{"content":"{}"}}"#, "some words of a long text ".repeat(1_000));
        for body in [image, escaped, in_text, prose] {
            assert_eq!(members(body.as_bytes()).unwrap().text_bytes, text_bytes(body.as_bytes()), "{}", &body[..60]);
        }
    }
}
