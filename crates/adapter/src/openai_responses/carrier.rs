//! Other vendors' signatures inside `encrypted_content`.
//!
//! Clients of the Responses API replay reasoning items as they got them, so the signature of an Anthropic thinking block
//! or a Gemini thought can ride there and come back. A prefix says whose it is; without one it is OpenAI's own.

use crate::ir::{Signature, Vendor};

const ANTHROPIC: &str = "tg1:anthropic:";
const ANTHROPIC_REDACTED: &str = "tg1:anthropic-redacted:";
const GEMINI: &str = "tg1:gemini:";
/// The signature belongs to the part that follows the reasoning item, not to the reasoning.
const GEMINI_NEXT: &str = "tg1:gemini-next:";
/// It belongs to the message before the reasoning item.
const GEMINI_PREVIOUS: &str = "tg1:gemini-prev:";

/// What an `encrypted_content` means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Carried {
    pub signature: Signature,
    pub is_redacted: bool,
    pub belongs_to: Owner,
}

/// Which part a signature is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The reasoning that carries it.
    Itself,
    Next,
    Previous,
}

pub(super) fn unwrap(encrypted: &str) -> Carried {
    let kinds = [
        (ANTHROPIC_REDACTED, Vendor::Anthropic, true, Owner::Itself),
        (ANTHROPIC, Vendor::Anthropic, false, Owner::Itself),
        (GEMINI_NEXT, Vendor::Google, false, Owner::Next),
        (GEMINI_PREVIOUS, Vendor::Google, false, Owner::Previous),
        (GEMINI, Vendor::Google, false, Owner::Itself),
    ];
    for (prefix, vendor, is_redacted, belongs_to) in kinds {
        if let Some(data) = encrypted.strip_prefix(prefix) {
            return Carried { signature: Signature { vendor, data: data.to_owned() }, is_redacted, belongs_to };
        }
    }
    let signature = Signature { vendor: Vendor::OpenAi, data: encrypted.to_owned() };
    Carried { signature, is_redacted: false, belongs_to: Owner::Itself }
}

pub(super) fn wrap(signature: &Signature, is_redacted: bool) -> String {
    let prefix = match signature.vendor {
        Vendor::OpenAi => "",
        Vendor::Anthropic if is_redacted => ANTHROPIC_REDACTED,
        Vendor::Anthropic => ANTHROPIC,
        Vendor::Google => GEMINI,
    };
    format!("{prefix}{}", signature.data)
}

/// For a signature that rides on a tool call. Only Google makes such.
pub(super) fn wrap_for_next(signature: &Signature) -> String {
    format!("{GEMINI_NEXT}{}", signature.data)
}

/// For a signature that rides on a text. Only Google makes such.
pub(super) fn wrap_for_previous(signature: &Signature) -> String {
    format!("{GEMINI_PREVIOUS}{}", signature.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_comes_back_as_it_went() {
        for vendor in [Vendor::OpenAi, Vendor::Anthropic, Vendor::Google] {
            let signature = Signature { vendor, data: "c2ln".into() };
            let carried = unwrap(&wrap(&signature, false));
            assert_eq!((carried.signature, carried.is_redacted, carried.belongs_to), (signature, false, Owner::Itself));
        }
        let redacted = Signature { vendor: Vendor::Anthropic, data: "x".into() };
        assert!(unwrap(&wrap(&redacted, true)).is_redacted);
        let google = Signature { vendor: Vendor::Google, data: "x".into() };
        for (text, belongs_to) in [(wrap_for_next(&google), Owner::Next), (wrap_for_previous(&google), Owner::Previous)] {
            assert_eq!(unwrap(&text), Carried { signature: google.clone(), is_redacted: false, belongs_to });
        }
    }
}
