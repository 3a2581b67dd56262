//! Thought signatures: Google's own, the sentinels its servers take instead, and other vendors' in disguise.
//!
//! SDKs hold a signature as bytes, so whatever stands in `thoughtSignature` must be base64. Another vendor's signature
//! goes to a Gemini client as base64 of a prefix and itself, and comes back the same way.

use crate::ir::{Signature, Vendor};
use crate::media;

/// Tells Google's validator to let a call pass that was made by another model. Costs quality, not correctness.
pub(super) const SENTINEL: &str = "skip_thought_signature_validator";
const OTHER_SENTINEL: &str = "context_engineering_is_the_way_to_go";
const ANTHROPIC: &str = "tg1:anthropic:";
const OPENAI: &str = "tg1:openai:";

/// What a signature in a client's history means; `None` for a sentinel.
pub(super) fn read(text: &str) -> Option<Signature> {
    let is_sentinel = |text: &str| text == SENTINEL || text == OTHER_SENTINEL;
    if text.is_empty() || is_sentinel(text) {
        return None;
    }
    if let Some(plain) = media::text_of(text) {
        if is_sentinel(&plain) {
            return None;
        }
        for (prefix, vendor) in [(ANTHROPIC, Vendor::Anthropic), (OPENAI, Vendor::OpenAi)] {
            if let Some(data) = plain.strip_prefix(prefix) {
                return Some(Signature { vendor, data: data.to_owned() });
            }
        }
    }
    Some(Signature { vendor: Vendor::Google, data: text.to_owned() })
}

/// What a Gemini client is given.
pub(super) fn write(signature: &Signature) -> String {
    match signature.vendor {
        Vendor::Google => signature.data.clone(),
        Vendor::Anthropic => media::base64_of(format!("{ANTHROPIC}{}", signature.data).as_bytes()),
        Vendor::OpenAi => media::base64_of(format!("{OPENAI}{}", signature.data).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_of_all_vendors_come_back_as_they_went() {
        for vendor in [Vendor::Google, Vendor::Anthropic, Vendor::OpenAi] {
            let signature = Signature { vendor, data: "EqUCCqIC-_==".into() };
            assert_eq!(read(&write(&signature)), Some(signature));
        }
    }

    #[test]
    fn sentinels_are_no_signatures_in_either_form() {
        assert_eq!(read(SENTINEL), None);
        assert_eq!(read(&media::base64_of(SENTINEL.as_bytes())), None);
        assert_eq!(read(""), None);
    }
}
