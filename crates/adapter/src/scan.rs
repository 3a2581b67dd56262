//! Finds the members of a JSON object in one look at its bytes, without reading their values.
//!
//! A request may carry megabytes of text or images, and every byte is looked at here, so strings are skipped in blocks. What
//! is accepted is what `serde_json` accepts and nothing more: a text that is refused here is left to it to explain.

mod block;
mod media;

use std::borrow::Cow;

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};
use wide::u8x16;

use self::block::{BLOCK_BYTES, Block, Escapes};
use self::media::{MEDIA_RUN_BYTES, PREFIX_BYTES};
use crate::json_text::{JsonText, LANE_BYTES, marks};

/// The members of one object, values unread, in their order.
pub(crate) struct Members<'a> {
    /// Names are characters, and without their escapes.
    pub members: Vec<(Cow<'a, [u8]>, &'a [u8])>,
    /// How much of the whole is text: media counts as its usual number of tokens, however large it is.
    pub text_bytes: u64,
}

/// Most objects have no more members; more only cost room that grows.
const USUAL_MEMBERS: usize = 16;
/// Most strings are shorter; a longer one is worth the setting up of blocks.
const SHORT_BYTES: usize = 2 * LANE_BYTES;

/// `None`: it is not one JSON object.
pub(crate) fn members(body: &[u8]) -> Option<Members<'_>> {
    let mut scan = Scan { text: JsonText(body), seen: u8x16::default(), not_text: 0, as_text: 0 };
    let mut members = Vec::with_capacity(USUAL_MEMBERS);
    let mut at = scan.text.space(0);
    if scan.text.byte(at)? != b'{' {
        return None;
    }
    at = scan.text.space(at + 1);
    if scan.text.byte(at)? == b'}' {
        at += 1;
    } else {
        loop {
            let (name, value) = scan.name(at)?;
            let name = unescaped(&body[at..name])?;
            at = scan.value(value)?;
            members.push((name, &body[value..at]));
            at = scan.text.space(at);
            match scan.text.byte(at)? {
                b',' => at = scan.text.space(at + 1),
                b'}' => break,
                _ => return None,
            }
        }
        at += 1;
    }
    let is_ascii = scan.seen.to_bitmask() == 0;
    if scan.text.space(at) != body.len() || !(is_ascii || simdutf8::basic::from_utf8(body).is_ok()) {
        return None;
    }
    Some(Members { members, text_bytes: body.len() as u64 - scan.not_text + scan.as_text })
}

/// What a JSON string with its quotes says.
fn unescaped(quoted: &[u8]) -> Option<Cow<'_, [u8]>> {
    if quoted.contains(&b'\\') {
        return serde_json::from_slice(quoted).ok().map(|text: String| Cow::Owned(text.into_bytes()));
    }
    quoted.get(1..quoted.len() - 1).map(Cow::Borrowed)
}

struct Scan<'a> {
    text: JsonText<'a>,
    /// Each bit that a byte of a string had, at its place in a lane. Outside of strings all is ASCII.
    seen: u8x16,
    /// Bytes of media, and what they count as.
    not_text: u64,
    as_text: u64,
}

impl Scan<'_> {
    /// Behind the value that begins at `at`. Without recursion: a body may nest as deep as it is long.
    fn value(&mut self, mut at: usize) -> Option<usize> {
        let mut open: Vec<u8> = Vec::new();
        loop {
            match self.text.byte(at)? {
                b'"' => at = self.string(at + 1)?,
                bracket @ (b'{' | b'[') => {
                    at = self.text.space(at + 1);
                    // `]` and `}` stand two behind their openings.
                    if self.text.byte(at)? == bracket + 2 {
                        at += 1;
                    } else {
                        open.push(bracket);
                        if bracket == b'{' {
                            at = self.name(at)?.1;
                        }
                        continue;
                    }
                }
                b't' => at = self.text.word(at, b"true")?,
                b'f' => at = self.text.word(at, b"false")?,
                b'n' => at = self.text.word(at, b"null")?,
                b'-' | b'0'..=b'9' => at = self.text.number(at)?,
                _ => return None,
            }
            loop {
                let Some(bracket) = open.last().copied() else { return Some(at) };
                at = self.text.space(at);
                match self.text.byte(at)? {
                    b',' => {
                        at = self.text.space(at + 1);
                        if bracket == b'{' {
                            at = self.name(at)?.1;
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

    /// Behind a member's name, and where its value begins.
    #[inline]
    fn name(&mut self, at: usize) -> Option<(usize, usize)> {
        if self.text.byte(at)? != b'"' {
            return None;
        }
        let end = self.string(at + 1)?;
        let at = self.text.space(end);
        (self.text.byte(at)? == b':').then(|| (end, self.text.space(at + 1)))
    }

    /// Behind the closing quote of the string whose inside begins at `start`.
    #[inline]
    fn string(&mut self, start: usize) -> Option<usize> {
        let mut at = start;
        while at < start + SHORT_BYTES {
            let Some(lane) = self.text.lane(at) else { break };
            self.seen |= lane;
            let marks = marks(lane).to_bitmask();
            if marks != 0 {
                at += marks.trailing_zeros() as usize;
                if self.text.byte(at)? == b'"' {
                    return Some(at + 1);
                }
                break;
            }
            at += LANE_BYTES;
        }
        self.long_string(start, at)
    }

    /// The same, from `at` on, where no escape is under way.
    fn long_string(&mut self, start: usize, at: usize) -> Option<usize> {
        dispatch!(Level::new(), simd => self.long_string_by(simd, start, at))
    }

    #[expect(clippy::inline_always, reason = "only what is inlined there is compiled for the processor of `dispatch!`")]
    #[inline(always)]
    fn long_string_by<S: Simd>(&mut self, simd: S, start: usize, mut at: usize) -> Option<usize> {
        let (mut is_dense, mut has_quotes, mut escapes) = (true, false, Escapes::default());
        let (mut seen, mut lowest) = (Block::filled(simd, 0), Block::filled(simd, u8::MAX));
        loop {
            let Some(bytes) = self.text.0.get(at..).and_then(<[u8]>::first_chunk::<BLOCK_BYTES>) else {
                let last = at - usize::from(escapes.is_under_way());
                at = self.text.end_of_string(last)?;
                let inside = &self.text.0[last..at];
                has_quotes |= inside.contains(&b'"');
                if !inside.is_ascii() {
                    seen = Block::filled(simd, u8::MAX);
                }
                break;
            };
            let block = Block::of(simd, bytes);
            if is_dense && !escapes.is_under_way() && block.is_dense() {
                at += BLOCK_BYTES;
                continue;
            }
            seen = seen.union(block);
            let (quotes, backslashes) = (block.of_byte(b'"'), block.of_byte(b'\\'));
            let escaped = escapes.escaped(backslashes);
            let ends = quotes & !escaped;
            // All bits below the lowest of them.
            let inside = !ends & ends.wrapping_sub(1);
            let is_head = at < start + PREFIX_BYTES;
            is_dense = is_dense && (is_head || (block.of_byte(b' ') | block.beyond_ascii()) & inside == 0);
            let unusual = escaped & inside & !(quotes | backslashes);
            // A call for each block would cost more than the look at what nearly all escapes are.
            if unusual != 0 && unusual & !(block.of_byte(b'n') | block.of_byte(b't')) != 0 {
                self.check_escapes(at, unusual)?;
            }
            has_quotes |= quotes & inside != 0;
            if ends != 0 {
                at += ends.trailing_zeros() as usize;
                if block.controls() & inside != 0 {
                    return None;
                }
                break;
            }
            lowest = lowest.least(block);
            at += BLOCK_BYTES;
        }
        // No control character may stand in a string.
        if lowest.controls() != 0 {
            return None;
        }
        if seen.beyond_ascii() != 0 {
            self.seen = u8x16::splat(u8::MAX);
        }
        if at - start >= MEDIA_RUN_BYTES {
            self.weigh(start, at, is_dense, has_quotes);
        }
        Some(at + 1)
    }

    /// What stands behind a backslash, one bit for each, counted from `at`.
    #[cold]
    fn check_escapes(&self, at: usize, mut escaped: u64) -> Option<()> {
        while escaped != 0 {
            let behind = at + escaped.trailing_zeros() as usize;
            self.text.escape(behind - 1)?;
            escaped &= escaped - 1;
        }
        Some(())
    }

    /// Counts the media in a long string. Without a quote in it, it is media as a whole or not at all.
    fn weigh(&mut self, start: usize, end: usize, is_dense: bool, has_quotes: bool) {
        let inside = &self.text.0[start..end];
        let (not_text, as_text) = match (has_quotes, is_dense) {
            (true, _) => media::runs(inside),
            (false, true) => media::dense_run(inside),
            (false, false) => (0, 0),
        };
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
        members(body).map(|read| read.members.into_iter().map(|(name, raw)| (text(&name), text(raw))).collect())
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
}
