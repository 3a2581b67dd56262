//! A run of events that differ only in their text, as most of a stream is: what stands around the text was understood with
//! the first of them, and what stands around it in the client's dialect was written once. So a piece costs one look over its
//! text, in a few lines of memory, and whoever counts texts is told at the end of the run.

use crate::fragment::Fragment;
use crate::sse::Event;

/// What stands around a piece of text in the client's dialect, its event being nothing else.
#[derive(Debug, Clone)]
pub(crate) struct Around {
    pub before: Vec<u8>,
    pub behind: Vec<u8>,
}

/// How much of a text was said.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Said {
    pub bytes: usize,
    pub chars: usize,
}

/// See the module.
pub(crate) struct Run {
    pub candidate: u32,
    name: String,
    /// The upstream's event up to the text, and from there.
    before: Vec<u8>,
    behind: Vec<u8>,
    around: Around,
    /// In all of its events.
    pub said: Said,
}

impl Run {
    /// `first` of its events says `fragment`.
    pub fn new(first: Event<'_>, fragment: &Fragment<'_>, around: Around) -> Self {
        Self {
            candidate: fragment.candidate,
            name: first.name.to_owned(),
            before: first.data[..fragment.start].to_vec(),
            behind: first.data[fragment.end()..].to_vec(),
            around,
            said: Said::default(),
        }
    }

    /// The piece that an event of the run says; `None`: it is none.
    pub fn fragment<'a>(&self, event: Event<'a>) -> Option<Fragment<'a>> {
        if event.name != self.name || !event.data.starts_with(&self.before) {
            return None;
        }
        let fragment = Fragment::read(event.data, self.before.len())?;
        let behind = &event.data[fragment.end()..];
        let is_alike = behind == self.behind || braces(behind).is_some_and(|count| braces(&self.behind) == Some(count));
        is_alike.then_some(fragment)
    }

    pub fn write(&mut self, fragment: &Fragment<'_>, out: &mut Vec<u8>) {
        let parts = [&self.around.before, fragment.json.as_bytes(), &self.around.behind];
        // One that comes alone fills its room, and needs no other to be shared from.
        out.reserve_exact(parts.iter().map(|part| part.len()).sum());
        for bytes in parts {
            out.extend_from_slice(bytes);
        }
        self.said.bytes += fragment.bytes;
        self.said.chars += fragment.chars;
    }
}

/// How many close behind the text, where nothing else does: between them there may be spaces, which hide the length of the
/// text from who listens.
fn braces(behind: &[u8]) -> Option<usize> {
    let closing = behind.strip_prefix(b"\"")?;
    closing.iter().all(|byte| matches!(byte, b'}' | b' ')).then(|| memchr::memchr_iter(b'}', closing).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_a_run_differ_in_their_text_alone() {
        let data = |text: &str, behind: &str| format!(r#"{{"index":0,"text":"{text}"{behind}"#);
        let first = data("one", "}");
        let fragment = Fragment::read(first.as_bytes(), r#"{"index":0,"text":""#.len()).unwrap();
        let around = Around { before: b"<".to_vec(), behind: b">".to_vec() };
        let mut run = Run::new(Event::new("delta", first.as_bytes()), &fragment, around);
        let mut out = Vec::new();
        for (name, data, text) in [
            ("delta", data("one", "}"), Some("one")),
            ("delta", data(r"a\n\u00e9", "}"), None),
            ("delta", data(r"a\n\\", "}"), Some(r"a\n\\")),
            ("delta", data("padded", "   }"), Some("padded")),
            ("delta", data("padded", " } "), Some("padded")),
            ("delta", data("deeper", "}}"), None),
            ("delta", data("more", r#","x":1}"#), None),
            ("delta", data("", "}"), None),
            ("delta", data("漢", "}"), Some("漢")),
            ("other", data("one", "}"), None),
            ("delta", r#"{"index":1,"text":"one"}"#.to_owned(), None),
            ("delta", r#"{"index":0,"text":"cut"#.to_owned(), None),
        ] {
            let fragment = run.fragment(Event::new(name, data.as_bytes()));
            assert_eq!(fragment.map(|fragment| fragment.json), text, "{data}");
            if let Some(fragment) = fragment {
                run.write(&fragment, &mut out);
            }
        }
        assert_eq!(String::from_utf8(out).unwrap(), r"<one><a\n\\><padded><padded><漢>");
        assert_eq!((run.said.bytes, run.said.chars), (3 + 3 + 6 + 6 + 3, 3 + 3 + 6 + 6 + 1));
    }
}
