//! Ids for calls that come without one, or with one that is unique in its conversation only.

use crate::ident::sha256_hex;

/// Characters of an id after `call_`, as many as OpenAI's have.
const LENGTH: usize = 24;

/// A call id that depends on nothing but its place: the same answer, and the same history, always get the same ids.
pub(super) fn mint(scope: &str, turn: usize, ordinal: usize) -> String {
    format!("call_{}", &sha256_hex(&format!("{scope}/{turn}/{ordinal}"))[..LENGTH])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_differ_by_place() {
        assert_eq!(mint("r", 0, 1), "call_977f52d338ce7868ede55a7d");
        assert!(mint("r", 0, 1) != mint("r", 1, 0) && mint("r", 0, 1) != mint("s", 0, 1));
    }
}
