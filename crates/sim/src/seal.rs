//! Signatures as the vendors put on their reasoning: opaque to everyone, and checked when they come back.
//!
//! A signature is a keyed MAC over what it stands for, so that a forged, altered, foreign or misplaced one is told from
//! one of this simulator's own, whichever process made it.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// No secret: it keeps strangers' bytes apart from ours, nothing else.
const KEY: &[u8] = b"tallygate-sim: signatures of simulated reasoning";
/// First byte of a signature.
const VERSION: u8 = 1;
const MAC_BYTES: usize = 16;
const DIGEST_BYTES: usize = 8;
/// Version, kind and two digests stand before the model's name.
const HEAD_BYTES: usize = 2 + 2 * DIGEST_BYTES;

/// What a signature stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Thinking = 1,
    RedactedThinking,
    GeminiCall,
    GeminiText,
    OpenAiReasoning,
}

/// A keyed hash of bytes, short.
pub(crate) type Digest = [u8; DIGEST_BYTES];

/// What a signature says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub kind: Kind,
    /// The model that reasoned.
    pub model: String,
    /// Of what was signed.
    pub content: Digest,
    /// Of the conversation before it, where the vendor binds to it; else of nothing.
    pub prefix: Digest,
}

fn mac(bytes: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), bytes)
}

/// A short digest of `bytes`.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    let mut digest = Digest::default();
    digest.copy_from_slice(&mac(bytes).as_ref()[..DIGEST_BYTES]);
    digest
}

impl Seal {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, self.kind as u8];
        bytes.extend(self.content);
        bytes.extend(self.prefix);
        bytes.extend(self.model.as_bytes());
        let tag = mac(&bytes);
        bytes.extend(&tag.as_ref()[..MAC_BYTES]);
        bytes
    }

    /// The signature in standard base64.
    pub(crate) fn to_base64(&self) -> String {
        STANDARD.encode(self.bytes())
    }

    /// The signature in URL-safe base64, as OpenAI's ciphertexts are.
    pub(crate) fn to_url_safe(&self) -> String {
        URL_SAFE.encode(self.bytes())
    }

    /// Reads a signature in either alphabet; `None` if this simulator did not make it for this `kind`.
    pub(crate) fn open(text: &str, kind: Kind) -> Option<Self> {
        let engines = [&STANDARD, &URL_SAFE, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD];
        let bytes = engines.iter().find_map(|engine| engine.decode(text).ok())?;
        let (said, tag) = bytes.split_at_checked(bytes.len().checked_sub(MAC_BYTES)?)?;
        let (head, model) = said.split_at_checked(HEAD_BYTES)?;
        if mac(said).as_ref()[..MAC_BYTES] != *tag || head[..2] != [VERSION, kind as u8] {
            return None;
        }
        Some(Self {
            kind,
            model: String::from_utf8(model.to_vec()).ok()?,
            content: head[2..2 + DIGEST_BYTES].try_into().ok()?,
            prefix: head[2 + DIGEST_BYTES..].try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal() -> Seal {
        Seal { kind: Kind::Thinking, model: "claude-sim".to_owned(), content: digest(b"hm"), prefix: Digest::default() }
    }

    #[test]
    fn a_signature_opens_in_either_alphabet_and_for_its_own_kind_only() {
        let (standard, url_safe) = (seal().to_base64(), seal().to_url_safe());
        assert_eq!(Seal::open(&standard, Kind::Thinking), Some(seal()));
        assert_eq!(Seal::open(url_safe.trim_end_matches('='), Kind::Thinking), Some(seal()));
        assert_eq!(Seal::open(&standard, Kind::GeminiCall), None);
    }

    #[test]
    fn forged_cut_and_foreign_signatures_do_not_open() {
        let mut bytes = STANDARD.decode(seal().to_base64()).expect("base64");
        bytes[4] ^= 1;
        for text in [STANDARD.encode(&bytes), STANDARD.encode(&bytes[..20]), "tg1.abc".to_owned(), String::new()] {
            assert_eq!(Seal::open(&text, Kind::Thinking), None, "{text}");
        }
    }
}
