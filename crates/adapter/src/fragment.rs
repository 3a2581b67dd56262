//! A piece of text on its way through a translated stream, taken as it stands in its JSON string: most events are such pieces,
//! and a text that every writer of JSON would write alike need not be read and written again.

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fragment<'a> {
    pub candidate: u32,
    pub part: u32,
    /// The inside of the JSON string; never empty.
    pub json: &'a str,
    /// Where it stands in its event's data.
    pub start: usize,
    /// Of what it says, in bytes and in characters.
    pub bytes: usize,
    pub chars: usize,
}

impl<'a> Fragment<'a> {
    /// The inside of the JSON string whose first byte is at `start`. `None`: it is no text, or one that could be written in
    /// another way.
    pub fn read(data: &'a [u8], start: usize) -> Option<Self> {
        let (mut end, mut escapes) = (start, 0);
        loop {
            end += memchr::memchr2(b'"', b'\\', data.get(end..)?)?;
            match (data[end], data.get(end + 1)) {
                (b'"', _) => break,
                (b'\\', Some(b'"' | b'\\' | b'n' | b'r' | b't' | b'b' | b'f')) => {
                    escapes += 1;
                    end += 2;
                }
                _ => return None,
            }
        }
        let json = simdutf8::basic::from_utf8(&data[start..end]).ok().filter(|json| !json.is_empty())?;
        let (least, most) = (json.bytes().fold(u8::MAX, u8::min), json.bytes().fold(0, u8::max));
        let has_controls = least < b' ';
        if has_controls {
            return None;
        }
        let chars = if most.is_ascii() { json.len() } else { json.chars().count() };
        Some(Self { candidate: 0, part: 0, json, start, bytes: json.len() - escapes, chars: chars - escapes })
    }

    /// Where the quote stands that closes it.
    pub const fn end(&self) -> usize {
        self.start + self.json.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_is_what_serde_json_would_write_of_what_it_says() {
        for (json, is_one) in [
            ("words and \u{e9}\u{6f22}", true),
            (r#"\"quoted\" \\ and\n\r\t\b\f"#, true),
            (r"a\/b", false),
            (r"\u00e9", false),
            (r"\u0000", false),
            ("\n", false),
            ("", false),
            ("\\", false),
        ] {
            let quoted = format!("\"{json}\"}}");
            let fragment = Fragment::read(quoted.as_bytes(), 1);
            assert_eq!(fragment.is_some(), is_one, "{json}");
            if let Some(fragment) = fragment {
                let said: String = serde_json::from_str(&format!("\"{json}\"")).unwrap();
                assert_eq!((fragment.bytes, fragment.chars), (said.len(), said.chars().count()));
                assert_eq!((fragment.json, fragment.end()), (json, 1 + json.len()));
                assert_eq!(serde_json::to_string(&said).unwrap(), format!("\"{json}\""));
            }
        }
        assert!(Fragment::read(b"\"\xff\"", 1).is_none());
        assert!(Fragment::read(b"\"open", 1).is_none());
        assert!(Fragment::read(b"", 0).is_none());
    }
}
