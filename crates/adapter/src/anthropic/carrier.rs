//! Reasoning of other vendors inside Anthropic's `thinking` blocks.
//!
//! Clients send thinking blocks back as they got them, so the signature of another vendor's reasoning can ride in one and
//! come back. A prefix says whose it is; without one it is Anthropic's own. Every block has a signature, because SDKs demand
//! one; reasoning that nobody signed gets a mark that means nothing else.

use crate::ir::{Signature, Vendor};

const OPENAI: &str = "tg1:openai:";
const GEMINI: &str = "tg1:gemini:";
/// The signature belongs to the block that follows, not to the thinking.
const GEMINI_NEXT: &str = "tg1:gemini-next:";
/// Nobody's: made here, never sent to Anthropic.
const UNSIGNED: &str = "tg1:none";

/// What a `signature` in a client's history means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Carried {
    Own(Signature),
    /// Of the part that follows.
    Next(Signature),
    Nothing,
}

pub(super) fn unwrap(text: &str) -> Carried {
    let signature = |vendor, data: &str| Signature { vendor, data: data.to_owned() };
    if text.is_empty() || text == UNSIGNED {
        return Carried::Nothing;
    }
    if let Some(data) = text.strip_prefix(GEMINI_NEXT) {
        return Carried::Next(signature(Vendor::Google, data));
    }
    for (prefix, vendor) in [(OPENAI, Vendor::OpenAi), (GEMINI, Vendor::Google)] {
        if let Some(data) = text.strip_prefix(prefix) {
            return Carried::Own(signature(vendor, data));
        }
    }
    Carried::Own(signature(Vendor::Anthropic, text))
}

/// For a thinking block.
pub(super) fn wrap(signature: Option<&Signature>) -> String {
    match signature {
        None => UNSIGNED.to_owned(),
        Some(Signature { vendor, data }) => match vendor {
            Vendor::Anthropic => data.clone(),
            Vendor::OpenAi => format!("{OPENAI}{data}"),
            Vendor::Google => format!("{GEMINI}{data}"),
        },
    }
}

/// For a block of empty thinking before the one that is signed. Only Google signs calls and text.
pub(super) fn wrap_for_next(signature: &Signature) -> Option<String> {
    (signature.vendor == Vendor::Google).then(|| format!("{GEMINI_NEXT}{}", signature.data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_comes_back_as_it_went() {
        for vendor in [Vendor::OpenAi, Vendor::Anthropic, Vendor::Google] {
            let signature = Signature { vendor, data: "c2ln".into() };
            assert_eq!(unwrap(&wrap(Some(&signature))), Carried::Own(signature));
        }
        let next = Signature { vendor: Vendor::Google, data: "x".into() };
        assert_eq!(wrap_for_next(&next).map(|text| unwrap(&text)), Some(Carried::Next(next)));
        assert_eq!((unwrap(&wrap(None)), unwrap("")), (Carried::Nothing, Carried::Nothing));
    }
}
