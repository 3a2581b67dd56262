//! A body in pieces: what passes untouched is not copied, however large it is.

use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// Below this size one copy costs less than the handling of pieces.
const SMALL_BODY_BYTES: usize = 16 * 1024;

/// See the module. Cheap to clone.
#[derive(Clone, Default)]
pub struct Pieces {
    first: Bytes,
    rest: Vec<Bytes>,
}

impl Pieces {
    /// `body` with other texts in place of some ranges, which do not overlap.
    pub(crate) fn spliced(body: &Bytes, mut edits: Vec<(Range<usize>, Vec<u8>)>) -> Self {
        if edits.is_empty() {
            return body.clone().into();
        }
        edits.sort_by_key(|(range, _)| range.start);
        let length = edits.iter().fold(body.len(), |length, (range, text)| length - range.len() + text.len());
        let mut at = 0;
        if length <= SMALL_BODY_BYTES {
            let mut whole = Vec::with_capacity(length);
            for (range, text) in edits {
                whole.extend_from_slice(&body[at..range.start]);
                whole.extend_from_slice(&text);
                at = range.end;
            }
            whole.extend_from_slice(&body[at..]);
            return whole.into();
        }
        let mut pieces = Vec::with_capacity(2 * edits.len() + 1);
        for (range, text) in edits {
            pieces.push(body.slice(at..range.start));
            pieces.push(text.into());
            at = range.end;
        }
        pieces.push(body.slice(at..));
        Self { first: pieces.remove(0), rest: pieces }
    }

    pub fn len(&self) -> usize {
        self.iter().map(Bytes::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.iter().all(Bytes::is_empty)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// All of it in one.
    pub fn whole(&self) -> Bytes {
        if self.rest.is_empty() {
            return self.first.clone();
        }
        let mut whole = BytesMut::with_capacity(self.len());
        for piece in self.iter() {
            whole.extend_from_slice(piece);
        }
        whole.freeze()
    }

    /// Takes the next piece that is not empty.
    pub fn next_piece(&mut self) -> Option<Bytes> {
        while self.first.is_empty() {
            if self.rest.is_empty() {
                return None;
            }
            self.first = self.rest.remove(0);
        }
        Some(std::mem::take(&mut self.first))
    }
}

impl From<Bytes> for Pieces {
    fn from(whole: Bytes) -> Self {
        Self { first: whole, rest: Vec::new() }
    }
}

impl From<Vec<u8>> for Pieces {
    fn from(whole: Vec<u8>) -> Self {
        Bytes::from(whole).into()
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whole().fmt(f)
    }
}

impl PartialEq for Pieces {
    fn eq(&self, other: &Self) -> bool {
        self.whole() == other.whole()
    }
}

impl Eq for Pieces {}

impl<T: AsRef<[u8]>> PartialEq<T> for Pieces {
    fn eq(&self, other: &T) -> bool {
        self.whole() == other.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splicing_changes_nothing_but_the_ranges_and_copies_nothing_large() {
        let small =
            Pieces::spliced(&Bytes::from_static(b"{\"a\":1,\"b\":2}"), vec![(11..12, b"22".to_vec()), (5..6, Vec::new())]);
        assert_eq!((&small, small.rest.len()), (&Pieces::from(b"{\"a\":,\"b\":22}".to_vec()), 0));
        let body = Bytes::from([b"head 1 ".repeat(4_000), b"tail 2 ".repeat(4_000)].concat());
        let mut large =
            Pieces::spliced(&body, vec![(28_005..28_006, b"22".to_vec()), (5..6, b"11".to_vec()), (6..6, Vec::new())]);
        assert_eq!(large.len(), body.len() + 2);
        let mut pieces = Vec::new();
        while let Some(piece) = large.next_piece() {
            assert!(piece.len() <= 2 || body.as_ptr_range().contains(&piece.as_ptr()));
            pieces.push(piece);
        }
        assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [5, 2, 27_999, 2, 27_994]);
        assert!(large.is_empty());
        assert!(pieces.concat().starts_with(b"head 11 head 1 "));
    }
}
