//! The text of an issued key: `sk-tg1_` + 8 base62 public id + 43 base62 secret + 6 base62 CRC-32 of all before.
//!
//! `sk-` for clients that insist on it, `tg1` for issuer and version; the underscore lets a double click select the whole
//! and keeps the prefix out of any base64; one expression finds a leaked one: `sk-tg1_[0-9A-Za-z]{57}`.

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::StoreError;

pub const KEY_PREFIX: &str = "sk-tg1_";
/// A declared key has at least this many characters.
pub const MIN_DECLARED_KEY_CHARS: usize = 24;
/// No key, declared or presented, is longer.
pub const MAX_KEY_CHARS: usize = 512;

const PUBLIC_ID_CHARS: usize = 8;
/// 43 characters of base62 carry 256 bits.
const SECRET_CHARS: usize = 43;
const CHECKSUM_CHARS: usize = 6;
const KEY_CHARS: usize = KEY_PREFIX.len() + PUBLIC_ID_CHARS + SECRET_CHARS + CHECKSUM_CHARS;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Bytes from here on are thrown away, so that every character is equally likely (248 = 4 * 62).
const FAIR_BELOW: u8 = 248;

/// What a presented key looks like, before any look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyShape {
    /// Ours, and its checksum is right.
    Issued,
    /// Not in our format; it may have been declared.
    Foreign,
    /// It claims to be ours and its checksum is wrong, or no key is ever like it. Needs no look-up to be refused.
    Junk,
}

/// Says what a presented key is, from its text alone.
///
/// ```
/// use tallygate_store::{KeyShape, key_shape};
/// assert_eq!(key_shape("sk-tg1_not-one-of-ours"), KeyShape::Junk);
/// assert_eq!(key_shape("a-declared-key-of-24-chars"), KeyShape::Foreign);
/// ```
pub fn key_shape(key: &str) -> KeyShape {
    if let Some(rest) = key.strip_prefix(KEY_PREFIX) {
        let whole = key.len() == KEY_CHARS && rest.bytes().all(|b| b.is_ascii_alphanumeric());
        let checked =
            whole && checksum(&key[..KEY_CHARS - CHECKSUM_CHARS]).as_slice() == &key.as_bytes()[KEY_CHARS - CHECKSUM_CHARS..];
        return if checked { KeyShape::Issued } else { KeyShape::Junk };
    }
    let chars = key.chars().count();
    if (MIN_DECLARED_KEY_CHARS..=MAX_KEY_CHARS).contains(&chars) { KeyShape::Foreign } else { KeyShape::Junk }
}

/// A new key.
pub(crate) fn mint() -> Result<Zeroizing<String>, StoreError> {
    let mut key = Zeroizing::new(String::with_capacity(KEY_CHARS));
    key.push_str(KEY_PREFIX);
    while key.len() < KEY_CHARS - CHECKSUM_CHARS {
        let mut bytes = Zeroizing::new([0; PUBLIC_ID_CHARS + SECRET_CHARS]);
        rand::fill(&mut *bytes).map_err(|_| StoreError::Secrets("the system gave no random bytes".into()))?;
        let missing = KEY_CHARS - CHECKSUM_CHARS - key.len();
        let fair = bytes.iter().filter(|byte| **byte < FAIR_BELOW).take(missing);
        key.extend(fair.map(|byte| char::from(BASE62[usize::from(byte % 62)])));
    }
    let sum = checksum(&key);
    key.extend(sum.map(char::from));
    Ok(key)
}

/// What of a key people may see: for an issued one the prefix and its public id.
pub(crate) fn shown_prefix(key: &str) -> String {
    /// Characters shown of a declared key; a well-made one begins with its issuer's prefix.
    const SHOWN_OF_DECLARED: usize = 4;
    match key_shape(key) {
        KeyShape::Issued => key[..KEY_PREFIX.len() + PUBLIC_ID_CHARS].to_owned(),
        KeyShape::Foreign | KeyShape::Junk => key.chars().take(SHOWN_OF_DECLARED).collect(),
    }
}

/// The last four characters; fewer than four of a short secret would still be too many, so then none.
pub(crate) fn last4(secret: &str) -> String {
    /// A secret shorter than this shows nothing.
    const MIN_SECRET_CHARS: usize = 16;
    let chars = secret.chars().count();
    if chars < MIN_SECRET_CHARS { String::new() } else { secret.chars().skip(chars - 4).collect() }
}

/// CRC-32 in six base62 characters, most significant first.
fn checksum(text: &str) -> [u8; CHECKSUM_CHARS] {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut out = [b'0'; CHECKSUM_CHARS];
    for slot in out.iter_mut().rev() {
        *slot = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_has_the_published_shape_and_checks() {
        for _ in 0..200 {
            let key = mint().unwrap();
            assert_eq!(key.len(), 7 + 57);
            assert!(key.strip_prefix("sk-tg1_").unwrap().bytes().all(|b| b.is_ascii_alphanumeric()));
            assert_eq!(key_shape(&key), KeyShape::Issued);
        }
        assert_ne!(*mint().unwrap(), *mint().unwrap());
    }

    /// Made with Python's `zlib.crc32`: keys issued today must check tomorrow.
    #[test]
    fn the_checksum_is_crc_32_in_base62() {
        let body = format!("sk-tg1_PublicId{}", "S".repeat(43));
        assert_eq!(checksum(&body), *b"1OZXUs");
    }

    #[test]
    fn one_wrong_character_anywhere_is_junk() {
        let key = mint().unwrap();
        for at in KEY_PREFIX.len()..key.len() {
            let mut bytes = key.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            assert_eq!(key_shape(std::str::from_utf8(&bytes).unwrap()), KeyShape::Junk, "character {at}");
        }
        assert_eq!(key_shape(&key[..key.len() - 1]), KeyShape::Junk);
        assert_eq!(key_shape(&format!("{}0", *key)), KeyShape::Junk);
    }

    #[test]
    fn a_declared_key_is_any_text_of_24_characters_or_more() {
        assert_eq!(key_shape(&"k".repeat(24)), KeyShape::Foreign);
        assert_eq!(key_shape(&"k".repeat(23)), KeyShape::Junk);
        assert_eq!(key_shape(&"k".repeat(513)), KeyShape::Junk);
        assert_eq!(key_shape("sk-tg1_é23456789012345678901234567890123456789012345678901234567"), KeyShape::Junk);
    }

    #[test]
    fn little_of_a_key_is_shown() {
        let key = mint().unwrap();
        assert_eq!(shown_prefix(&key), key[..15]);
        assert_eq!(shown_prefix("sk-proj-abcdefghijklmnopqrstuvwxyz"), "sk-p");
        assert_eq!(last4(&key), key[60..]);
        assert_eq!(last4("short"), "");
    }
}
