//! A text to look for in every request or event.

use std::sync::OnceLock;

use memchr::memmem::Finder;

/// See the module. What the search needs is made once: making it costs several times as much as searching one event of a
/// stream, and a dozen texts are looked for in each.
#[derive(Debug)]
pub(crate) struct Needle {
    text: &'static str,
    finder: OnceLock<Finder<'static>>,
}

/// A [`Needle`] for the place where it is written.
macro_rules! needle {
    ($text:literal) => {{
        static NEEDLE: $crate::needle::Needle = $crate::needle::Needle::new($text);
        &NEEDLE
    }};
}

pub(crate) use needle;

impl Needle {
    pub const fn new(text: &'static str) -> Self {
        Self { text, finder: OnceLock::new() }
    }

    #[cfg(test)]
    pub const fn text(&self) -> &'static str {
        self.text
    }

    pub const fn len(&self) -> usize {
        self.text.len()
    }

    pub fn find(&self, data: &[u8]) -> Option<usize> {
        self.finder().find(data)
    }

    pub fn is_in(&self, data: &[u8]) -> bool {
        self.find(data).is_some()
    }

    pub fn find_all(&'static self, data: &[u8]) -> impl Iterator<Item = usize> {
        self.finder().find_iter(data)
    }

    fn finder(&self) -> &Finder<'static> {
        self.finder.get_or_init(|| Finder::new(self.text))
    }
}
