//! What many records say alike, held once while they are read.

use std::hash::Hasher as _;
use std::sync::Arc;

use tallygate_types::{IdHasher, IdMap};

use crate::price::PriceVersion;
use crate::record::{Name, Word};

/// Different prices held; beyond it all are forgotten and read once more.
const MAX_PRICES: usize = 1_024;
/// Different names held, each in the one place its bytes lead to, so that names a client makes up cost no search.
const NAMES: usize = 256;
/// A longer name is not held: none of a configuration is.
const MAX_NAME_BYTES: usize = 128;
/// The words that most records have, which are ours or those of the large providers.
const WORDS: [&str; 7] = ["ok", "stop", "end_turn", "tool_calls", "tool_use", "length", "max_tokens"];

/// See the module.
#[derive(Debug, Default)]
pub struct Known {
    /// By the bytes of their ids.
    prices: IdMap<[u8; 16], KnownPrice>,
    names: Vec<Option<Name>>,
}

#[derive(Debug)]
struct KnownPrice {
    bytes: Box<[u8]>,
    price: Arc<PriceVersion>,
}

impl Known {
    /// The price last [held](Self::hold_price) that was written so.
    pub(super) fn price(&self, id: &[u8; 16], bytes: &[u8]) -> Option<Arc<PriceVersion>> {
        self.prices.get(id).filter(|known| *known.bytes == *bytes).map(|known| Arc::clone(&known.price))
    }

    pub(super) fn hold_price(&mut self, id: [u8; 16], bytes: &[u8], price: &Arc<PriceVersion>) {
        if self.prices.len() >= MAX_PRICES {
            self.prices.clear();
        }
        self.prices.insert(id, KnownPrice { bytes: bytes.into(), price: Arc::clone(price) });
    }

    /// The name in these bytes, if they are text.
    pub(super) fn name(&mut self, bytes: &[u8]) -> Option<Name> {
        let read = || std::str::from_utf8(bytes).ok().map(Name::from);
        if bytes.len() > MAX_NAME_BYTES {
            return read();
        }
        if self.names.is_empty() {
            self.names.resize(NAMES, None);
        }
        let mut hasher = IdHasher::default();
        hasher.write(bytes);
        let place = &mut self.names[hasher.finish() as usize % NAMES];
        match place {
            Some(known) if known.as_bytes() == bytes => Some(Arc::clone(known)),
            _ => {
                *place = Some(read()?);
                place.clone()
            }
        }
    }
}

/// The word in these bytes, if they are text.
pub(super) fn word(bytes: &[u8]) -> Option<Word> {
    match WORDS.into_iter().find(|word| word.as_bytes() == bytes) {
        Some(word) => Some(Word::Borrowed(word)),
        None => std::str::from_utf8(bytes).ok().map(|text| Word::Owned(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_held_once_and_another_in_its_place_is_not_taken_for_it() {
        let mut known = Known::default();
        let first = known.name(b"smart").unwrap();
        assert!(Arc::ptr_eq(&first, &known.name(b"smart").unwrap()));
        for n in 0..10_000 {
            let name = format!("made up {n}");
            assert_eq!(&*known.name(name.as_bytes()).unwrap(), name);
        }
        assert_eq!(&*known.name(b"smart").unwrap(), "smart");
        assert_eq!(&*known.name("x".repeat(1_000).as_bytes()).unwrap(), "x".repeat(1_000));
        assert_eq!(known.name(b""), Some("".into()));
        assert_eq!(known.name(b"\xFF"), None);
        assert_eq!(known.name(b"\xFF"), None);
    }

    #[test]
    fn a_word_is_what_it_says() {
        assert!(matches!(word(b"stop"), Some(Word::Borrowed("stop"))));
        assert_eq!(word(b"pause_turn"), Some(Word::Owned("pause_turn".into())));
        assert_eq!(word(b"\xFF"), None);
    }
}
