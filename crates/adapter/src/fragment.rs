//! A piece of text on its way through a translated stream, taken as it stands in its JSON string: most events are such pieces,
//! and a text that every writer of JSON would write alike need not be read and written again.

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fragment<'a> {
    pub candidate: u32,
    pub part: u32,
    /// The inside of the JSON string; never empty.
    pub json: &'a str,
    /// Of what it says, in bytes and in characters.
    pub bytes: usize,
    pub chars: usize,
}

impl<'a> Fragment<'a> {
    /// `None`: it is no text, or one that could be written in another way.
    pub fn of(json: &'a [u8]) -> Option<Self> {
        let json = std::str::from_utf8(json).ok().filter(|json| !json.is_empty())?;
        let mut escapes = 0;
        let mut rest = json.as_bytes();
        while let Some(at) = memchr::memchr(b'\\', rest) {
            if !matches!(rest.get(at + 1)?, b'"' | b'\\' | b'n' | b'r' | b't' | b'b' | b'f') {
                return None;
            }
            escapes += 1;
            rest = &rest[at + 2..];
        }
        let is_plain = json.bytes().fold(u8::MAX, u8::min) >= b' ';
        is_plain.then(|| Self { candidate: 0, part: 0, json, bytes: json.len() - escapes, chars: json.chars().count() - escapes })
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
            let fragment = Fragment::of(json.as_bytes());
            assert_eq!(fragment.is_some(), is_one, "{json}");
            if let Some(fragment) = fragment {
                let said: String = serde_json::from_str(&format!("\"{json}\"")).unwrap();
                assert_eq!((fragment.bytes, fragment.chars), (said.len(), said.chars().count()));
                assert_eq!(serde_json::to_string(&said).unwrap(), format!("\"{json}\""));
            }
        }
        assert!(Fragment::of(b"\xff").is_none());
    }
}
