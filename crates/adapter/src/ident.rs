//! Ids that are made or made safe.

use aws_lc_rs::digest::{SHA256, digest};

/// Longest end-user id OpenAI takes as it is, in characters.
const USER_CHARS: usize = 64;

/// SHA-256 in hex, lower case.
pub(crate) fn sha256_hex(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = digest(&SHA256, text.as_bytes());
    let digits = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 0x0f]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// An end user's id for OpenAI: short ones pass, longer ones are hashed.
pub(crate) fn openai_user(user: &str) -> String {
    if user.chars().count() <= USER_CHARS { user.to_owned() } else { sha256_hex(user) }
}

/// A vendor's id, made from the upstream's own if it has one, else from ours: the prefix is the client dialect's.
pub(crate) fn response_id(prefix: &str, upstream: Option<&str>, ours: &str) -> String {
    let id = upstream.filter(|id| !id.is_empty()).unwrap_or(ours);
    let bare = ["chatcmpl-", "msg_", "resp_"].iter().find_map(|known| id.strip_prefix(known)).unwrap_or(id);
    [prefix, bare].concat()
}
