//! What routing asks of a prompt, read from its bytes without building a tree: what it begins with, whether it goes on from an
//! earlier answer, and what else than text it carries.
//!
//! Whatever is asked here, a wrong answer costs a cache hit or a refusal that the upstream would have given; it never changes
//! what is sent.

use std::ops::Range;

use memchr::memmem::Finder;
use tallygate_types::Dialect;

use crate::media_urls::MediaKind;
use crate::peek::Peek;

/// Of the names and descriptions of tools, at most so much of the beginning is read.
const MAX_TOOLS_BYTES: usize = 16 * 1024;
/// Likewise of the instructions.
const MAX_INSTRUCTIONS_BYTES: usize = 16 * 1024;
/// Likewise of the turns up to the first of the user's.
const MAX_TURNS_BYTES: usize = 32 * 1024;

/// Where the parts of a prompt stand in the body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PromptSpans {
    pub instructions: Option<Range<usize>>,
    pub tools: Option<Range<usize>>,
    pub turns: Option<Range<usize>>,
}

/// Gives `piece` the texts a conversation begins with, in the order in which providers cache them: the names and descriptions
/// of its tools, its instructions, and its turns up to and with the first of the user's. Returns whether more turns follow.
///
/// Only the texts count, not how they are written down: clients move their cache marks from turn to turn, and with them make
/// a list of parts of what was a string. All of it is bounded.
pub fn beginning(dialect: Dialect, body: &[u8], peek: &Peek, mut piece: impl FnMut(&[u8])) -> bool {
    let part = |span: &Option<Range<usize>>| span.clone().and_then(|span| body.get(span)).unwrap_or_default();
    let spans = &peek.prompt;
    texts(part(&spans.tools), &[b"name", b"description"], MAX_TOOLS_BYTES, &mut piece);
    texts(part(&spans.instructions), &[b"text", b"content"], MAX_INSTRUCTIONS_BYTES, &mut piece);
    first_turns(dialect, part(&spans.turns), &mut piece)
}

/// Whether the body carries media of a kind, inline or by URL.
pub fn carries(body: &[u8], kind: MediaKind) -> bool {
    let (names, types, media): (&[&str], &[&str], &str) = match kind {
        MediaKind::Image => (&["\"image_url\"", "\"input_image\""], &["\"image\""], "\"image/"),
        MediaKind::Document => (&["\"input_file\""], &["\"document\"", "\"file\""], "\"application/pdf"),
    };
    // A quote inside a text is escaped, so that these are found where they are names and values alone.
    names.iter().any(|name| Finder::new(name).find(body).is_some())
        || types.iter().any(|value| has_value(body, value, &["type"]))
        || has_value(body, media, &["mimeType", "mime_type", "media_type"])
}

/// Whether `value` stands in the body as the value of one of `keys`.
fn has_value(body: &[u8], value: &str, keys: &[&str]) -> bool {
    Finder::new(value).find_iter(body).any(|at| {
        let before = body[..at].trim_ascii_end();
        let Some(key) = before.strip_suffix(b":").map(<[u8]>::trim_ascii_end).and_then(|key| key.strip_suffix(b"\"")) else {
            return false;
        };
        keys.iter().any(|name| key.ends_with(name.as_bytes()) && key[..key.len() - name.len()].ends_with(b"\""))
    })
}

/// The strings under `keys`, wherever they stand, and the value itself if it is a string.
fn texts(raw: &[u8], keys: &[&[u8]], limit: usize, piece: &mut impl FnMut(&[u8])) {
    let mut left = limit;
    let mut is_wanted = true;
    for token in Tokens::of(raw) {
        match token {
            Token::Key(key) => is_wanted = keys.contains(&key),
            Token::Text(text) if is_wanted => {
                let text = &text[..text.len().min(left)];
                piece(text);
                left -= text.len();
                if left == 0 {
                    return;
                }
            }
            _ => {}
        }
    }
}

fn first_turns(dialect: Dialect, raw: &[u8], piece: &mut impl FnMut(&[u8])) -> bool {
    /// The depth at which a turn's own fields stand: in an object in the list.
    const FIELDS: usize = 2;
    let mut left = MAX_TURNS_BYTES;
    let (mut depth, mut key): (usize, &[u8]) = (0, b"text");
    // Gemini takes a turn without a role for the user's.
    let nobody: &[u8] = if dialect == Dialect::Gemini { b"user" } else { b"" };
    let mut role = nobody;
    let mut is_past_user = false;
    for token in Tokens::of(raw) {
        match token {
            Token::Open => depth += 1,
            Token::Close => {
                depth = depth.saturating_sub(1);
                if depth < FIELDS {
                    is_past_user |= role == b"user";
                    role = nobody;
                }
            }
            Token::Comma if is_past_user && depth < FIELDS => return true,
            Token::Key(name) => key = name,
            Token::Text(text) if key == b"role" && depth == FIELDS => role = text,
            Token::Text(text) if matches!(key, b"text" | b"content" | b"data" | b"url") => {
                let text = &text[..text.len().min(left)];
                piece(text);
                left -= text.len();
                if left == 0 {
                    return true;
                }
            }
            Token::Comma | Token::Text(_) => {}
        }
    }
    false
}

enum Token<'a> {
    Open,
    Close,
    Comma,
    Key(&'a [u8]),
    /// Between its quotes, as it is written.
    Text(&'a [u8]),
}

/// The marks and strings of JSON that was found to be valid before; of anything else, some.
struct Tokens<'a> {
    raw: &'a [u8],
    at: usize,
}

impl<'a> Tokens<'a> {
    const fn of(raw: &'a [u8]) -> Self {
        Self { raw, at: 0 }
    }

    /// The string that begins at `self.at`, behind its opening quote.
    fn string(&mut self) -> &'a [u8] {
        let start = self.at;
        let mut end = start;
        loop {
            match memchr::memchr2(b'"', b'\\', self.raw.get(end..).unwrap_or_default()) {
                Some(found) if self.raw[end + found] == b'"' => {
                    self.at = end + found + 1;
                    return &self.raw[start..end + found];
                }
                Some(found) => end += found + 2,
                None => {
                    self.at = self.raw.len();
                    return self.raw.get(start..).unwrap_or_default();
                }
            }
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let is_mark = |byte: &u8| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']' | b',');
        let found = self.at + self.raw.get(self.at..)?.iter().position(is_mark)?;
        self.at = found + 1;
        Some(match self.raw[found] {
            b'{' | b'[' => Token::Open,
            b'}' | b']' => Token::Close,
            b',' => Token::Comma,
            _ => {
                let text = self.string();
                let is_key = self.raw.get(self.at..).is_some_and(|rest| rest.trim_ascii_start().starts_with(b":"));
                if is_key { Token::Key(text) } else { Token::Text(text) }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peek::peek;

    fn begins(dialect: Dialect, body: &str) -> (Vec<String>, bool) {
        let mut pieces = Vec::new();
        let peek = peek(dialect, body.as_bytes()).unwrap();
        let goes_on =
            beginning(dialect, body.as_bytes(), &peek, |piece| pieces.push(String::from_utf8_lossy(piece).into_owned()));
        (pieces, goes_on)
    }

    #[test]
    fn a_conversation_begins_the_same_in_all_its_turns_whatever_the_client_marks() {
        let first = r#"{"model":"m","system":"be brief","tools":[{"name":"read","description":"a file",
            "input_schema":{"type":"object","properties":{"path":{"type":"string"}}}}],
            "messages":[{"role":"user","content":[{"type":"text","text":"hi \"you\"","cache_control":{"type":"ephemeral"}}]}]}"#;
        let second = r#"{"messages":[{"content":"hi \"you\"","role":"user"},{"role":"assistant","content":"hello"},
            {"role":"user","content":"again"}],"model":"m","system":[{"type":"text","text":"be brief","cache_control":{}}],
            "tools":[{"description":"a file","name":"read"}]}"#;
        let (texts, goes_on) = begins(Dialect::Anthropic, first);
        assert_eq!((texts.join("|").as_str(), goes_on), ("read|a file|be brief|hi \\\"you\\\"", false));
        let (mut texts, goes_on) = begins(Dialect::Anthropic, second);
        texts.swap(0, 1);
        assert_eq!((texts.join("|").as_str(), goes_on), ("read|a file|be brief|hi \\\"you\\\"", true));
    }

    #[test]
    fn every_dialect_has_a_beginning() {
        for (dialect, body, expected) in [
            (
                Dialect::OpenaiChat,
                r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"q"},
                   {"type":"image_url","image_url":{"url":"https://x/y.png"}}]},{"role":"user","content":"later"}]}"#,
                ("s|q|https://x/y.png", true),
            ),
            (Dialect::OpenaiResponses, r#"{"model":"m","instructions":"s","input":"q"}"#, ("s|q", false)),
            (
                Dialect::OpenaiResponses,
                r#"{"model":"m","input":[{"role":"developer","content":"d"},{"role":"user","content":[{"type":"input_text","text":"q"}]},
                   {"type":"function_call","name":"f","arguments":"{}"}]}"#,
                ("d|q", true),
            ),
            (
                Dialect::Gemini,
                r#"{"systemInstruction":{"parts":[{"text":"s"}]},"contents":[{"parts":[{"text":"q"}]}, {"role":"model","parts":[]}]}"#,
                ("s|q", true),
            ),
            (Dialect::Gemini, r#"{"contents":{"role":"user","parts":[{"text":"q"}]}}"#, ("q", false)),
        ] {
            let (texts, goes_on) = begins(dialect, body);
            assert_eq!((texts.join("|").as_str(), goes_on), expected, "{body}");
        }
    }

    #[test]
    fn a_long_beginning_is_read_so_far_and_no_further() {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#, "x".repeat(100_000));
        let (texts, goes_on) = begins(Dialect::OpenaiChat, &body);
        assert_eq!((texts.concat().len(), goes_on), (MAX_TURNS_BYTES, true));
    }

    #[test]
    fn media_are_found_where_they_are_media() {
        let is = |body: &str| (carries(body.as_bytes(), MediaKind::Image), carries(body.as_bytes(), MediaKind::Document));
        for image in [
            r#"{"type":"image_url","image_url":{"url":"x"}}"#,
            r#"{"type": "input_image"}"#,
            r#"{"type" : "image","source":{}}"#,
            r#"{"inlineData":{"mimeType":"image/png","data":""}}"#,
            r#"{"file_data":{"mime_type": "image/jpeg"}}"#,
        ] {
            assert_eq!(is(image), (true, false), "{image}");
        }
        for document in [
            r#"{"type":"document","source":{"type":"base64","media_type":"application/pdf"}}"#,
            r#"{"type":"file","file":{}}"#,
            r#"{"type":"input_file"}"#,
            r#"{"inlineData":{"mimeType":"application/pdf"}}"#,
        ] {
            assert_eq!(is(document), (false, true), "{document}");
        }
        for none in [
            r#"{"content":"send {\"type\":\"image\"} or \"image_url\" or \"input_file\""}"#,
            r#"{"properties":{"image":{"type":"string"},"file":{"type":"string"}}}"#,
            r#"{"name":"image","role":"file"}"#,
        ] {
            assert_eq!(is(none), (false, false), "{none}");
        }
    }
}
