//! What is read from an answer that passes through untouched.

use std::fmt;
use std::ops::Range;

use crate::ir::UsageReport;
use crate::kept::Handles;
use crate::needle::Needle;
use crate::sse::Event;

/// Filled by the `tap` functions of a dialect's folder. Each event overwrites what it says; nothing is summed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tap {
    pub usage: Option<UsageReport>,
    /// Usage that was restated since and not read: only the last counts, and reading each would cost a parse an event.
    pub unread: Option<UnreadUsage>,
    pub finish_reason: Option<String>,
    /// The reason is a word that is not known.
    pub unknown_finish: bool,
    pub id: Option<String>,
    pub model: Option<String>,
    /// Bytes of text and arguments seen so far.
    pub output_bytes: u64,
    /// Content was seen: the commit gate.
    pub content: bool,
    /// The terminal event was seen.
    pub done: bool,
    pub handles: Handles,
    /// This event only reports usage (chat's last chunk): dropped when the client did not ask for it. The caller resets it.
    pub only_usage: bool,
    /// Number of the last event, where events are numbered.
    pub sequence: Option<u64>,
    sample: Sample,
}

/// An event that said nothing but one text. Those of a stream are alike, and what was looked for in one in vain need not be
/// looked for in the next.
#[derive(Clone, Default)]
struct Sample {
    /// The text that was counted last in the present event, and how many there were.
    text: Range<usize>,
    texts: u32,
    name: String,
    /// What stood before and behind the text, the text's quotes included; empty: there is no sample.
    before: Vec<u8>,
    behind: Vec<u8>,
    /// Events in a row that were not like it.
    misses: u32,
}

/// A stream whose events are not alike, after so many of them, is not expected to become one.
const MAX_MISSES: u32 = 16;

/// JSON that begins with a usage object, and who reads it.
#[derive(Debug, Clone)]
pub(crate) struct UnreadUsage {
    pub json: Vec<u8>,
    pub read: fn(&[u8]) -> Option<UsageReport>,
}

impl Tap {
    /// The last usage that was reported.
    pub fn take_report(&mut self) -> Option<UsageReport> {
        self.unread.take().and_then(|unread| (unread.read)(&unread.json)).or_else(|| self.usage.take())
    }

    /// Keeps `json` unread, in the room of the one before.
    pub fn keep_unread(&mut self, json: &[u8], read: fn(&[u8]) -> Option<UsageReport>) {
        let mut kept = self.unread.take().map(|unread| unread.json).unwrap_or_default();
        kept.clear();
        kept.extend_from_slice(json);
        self.unread = Some(UnreadUsage { json: kept, read });
    }

    /// Counts an event that is like the last but for its text. False: it has to be read.
    pub fn is_alike(&mut self, event: Event<'_>) -> bool {
        let sample = &self.sample;
        let data = event.data;
        if sample.before.is_empty() || event.name != sample.name || !data.starts_with(&sample.before) {
            return false;
        }
        // The next quote closes the text: what stands behind it is the same, to the last byte.
        let Some(text) = string_at(data, sample.before.len() - 1).filter(|text| data[text.end..] == sample.behind) else {
            return false;
        };
        self.output_bytes += text.len() as u64;
        self.sample.misses = 0;
        true
    }

    /// Before an event is read whose texts are counted.
    pub fn begin_event(&mut self) {
        self.sample.texts = 0;
    }

    /// The event that was read said nothing but its texts: if it was one text, others may be like it.
    pub fn said_only_text(&mut self, event: Event<'_>) {
        let sample = &mut self.sample;
        if sample.texts != 1 || sample.misses >= MAX_MISSES {
            return;
        }
        sample.misses += 1;
        event.name.clone_into(&mut sample.name);
        for (kept, part) in
            [(&mut sample.before, &event.data[..sample.text.start]), (&mut sample.behind, &event.data[sample.text.end..])]
        {
            kept.clear();
            kept.extend_from_slice(part);
        }
    }

    /// Counts the JSON strings that follow `key` (given with quotes and colon, `"text":`) as output, and opens the commit
    /// gate at the first that is not empty. An estimate: escapes count as they stand.
    pub fn count_strings(&mut self, data: &[u8], key: &'static Needle) {
        for start in key.find_all(data) {
            if let Some(text) = string_at(data, start + key.len()) {
                self.output_bytes += text.len() as u64;
                if !text.is_empty() {
                    self.content = true;
                    self.sample.texts += 1;
                    self.sample.text = text;
                }
            }
        }
    }
}

impl fmt::Debug for Sample {
    /// How an event was read is no part of what it said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sample").finish_non_exhaustive()
    }
}

/// The inside of the JSON string that starts at `from` (white space allowed before it).
pub(crate) fn string_at(data: &[u8], from: usize) -> Option<Range<usize>> {
    let start = from + data.get(from..)?.iter().position(|byte| !byte.is_ascii_whitespace())?;
    if data[start] != b'"' {
        return None;
    }
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', data.get(at..)?)?;
        if data[at] == b'"' {
            return Some(start + 1..at);
        }
        at += 2;
    }
}

/// The number that follows `key` (given with quotes and colon) where it stands first.
pub(crate) fn number_after(data: &[u8], key: &Needle) -> Option<u64> {
    let from = key.find(data)? + key.len();
    let digits = data[from..].iter().skip_while(|byte| byte.is_ascii_whitespace()).take_while(|byte| byte.is_ascii_digit());
    let mut number = None;
    for digit in digits {
        number = Some(number.unwrap_or(0_u64).checked_mul(10)?.checked_add(u64::from(digit - b'0'))?);
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needle::needle;

    #[test]
    fn strings_after_a_key_are_counted_and_open_the_gate() {
        let mut tap = Tap::default();
        tap.count_strings(br#"{"content":"","x":{"content": null}}"#, needle!("\"content\":"));
        assert_eq!((tap.output_bytes, tap.content), (0, false));
        tap.count_strings(br#"{"content": "a\"b"}"#, needle!("\"content\":"));
        assert_eq!((tap.output_bytes, tap.content), (4, true));
        tap.count_strings(br#"{"content":"cut"#, needle!("\"content\":"));
        tap.count_strings(br#"{"content":"cut\"#, needle!("\"content\":"));
        assert_eq!(tap.output_bytes, 4);
    }

    #[test]
    fn an_event_like_the_last_is_counted_by_its_text_alone() {
        let event = |text: &str, behind: &str| format!(r#"{{"id":7,"content":"{text}"{behind}"#);
        let mut tap = Tap::default();
        let first = event("one", r#","end":null}"#);
        let read = Event::new("", first.as_bytes());
        assert!(!tap.is_alike(read));
        tap.begin_event();
        tap.count_strings(first.as_bytes(), needle!("\"content\":"));
        tap.said_only_text(read);
        for (text, behind, is_alike) in [
            ("two words", r#","end":null}"#, true),
            (r#"a\"b\\"#, r#","end":null}"#, true),
            ("", r#","end":null}"#, true),
            ("more", r#","end":"stop"}"#, false),
            (r#"a","end":"b"#, r#","end":null}"#, false),
            (r"a\", r#","end":null}"#, false),
        ] {
            let (before, data) = (tap.output_bytes, event(text, behind));
            assert_eq!(tap.is_alike(Event::new("", data.as_bytes())), is_alike, "{data}");
            assert_eq!(tap.output_bytes - before, if is_alike { text.len() as u64 } else { 0 });
        }
        assert!(!tap.is_alike(Event::new("other", first.as_bytes())));
    }
}
