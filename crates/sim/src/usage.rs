//! The tokens an answer costs, as disjoint classes.
//!
//! Every number follows from the request and the answer alone, so that a test can compute a charge from the ledger and
//! compare it with the gateway's to the last digit. The dialects then restate these classes in their own counting
//! (OpenAI's `prompt_tokens` includes cache reads, Anthropic's `input_tokens` does not, Gemini counts thoughts apart).

use serde::{Deserialize, Serialize};

use crate::conversation::{Ask, CacheTtl};

/// Bytes of text that count as one token.
const BYTES_PER_TOKEN: u64 = 4;
/// Tokens of one image, whatever its size.
pub(crate) const TOKENS_PER_IMAGE: u64 = 85;
/// A prompt of this many text tokens or more is served partly from the prompt cache.
pub(crate) const CACHE_THRESHOLD_TOKENS: u64 = 32;
/// One token in so many of a long prompt is read from the cache.
const CACHE_READ_DIVISOR: u64 = 4;
/// One token in so many of a prompt with a cache marker is written to the cache.
const CACHE_WRITE_DIVISOR: u64 = 8;

/// Token counts by disjoint class: no token is in two of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Text of the prompt at the full price.
    pub input_uncached: u64,
    /// Text of the prompt that was read from the prompt cache.
    pub input_cache_read: u64,
    /// Text written to the cache for five minutes.
    pub input_cache_write_5m: u64,
    /// Text written to the cache for one hour.
    pub input_cache_write_1h: u64,
    /// Images of the prompt, where the dialect reports them apart (Gemini).
    pub input_image: u64,
    /// Visible text and tool calls of the answer.
    pub output_text: u64,
    /// Reasoning, visible or not.
    pub output_reasoning: u64,
}

impl Usage {
    /// All input, cached or not.
    pub fn input(&self) -> u64 {
        self.input_uncached + self.input_cache_read + self.input_cache_write_5m + self.input_cache_write_1h + self.input_image
    }

    /// All output, reasoning included.
    pub fn output(&self) -> u64 {
        self.output_text + self.output_reasoning
    }

    /// Input and output together.
    pub fn total(&self) -> u64 {
        self.input() + self.output()
    }

    /// What was written to the cache, for any time.
    pub fn cache_write(&self) -> u64 {
        self.input_cache_write_5m + self.input_cache_write_1h
    }
}

/// Tokens of so many bytes of text, rounded up.
pub(crate) fn tokens(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

/// The input classes of a request; `images_apart` says whether the dialect reports image tokens as a class of their own.
pub(crate) fn of_input(ask: &Ask, images_apart: bool) -> Usage {
    let text = tokens(ask.input_bytes).max(1);
    let images = TOKENS_PER_IMAGE * ask.images.len() as u64;
    let mut usage = Usage::default();
    if text >= CACHE_THRESHOLD_TOKENS {
        usage.input_cache_read = text / CACHE_READ_DIVISOR;
        match ask.cache_write {
            Some(CacheTtl::FiveMinutes) => usage.input_cache_write_5m = text / CACHE_WRITE_DIVISOR,
            Some(CacheTtl::OneHour) => usage.input_cache_write_1h = text / CACHE_WRITE_DIVISOR,
            None => {}
        }
    }
    usage.input_uncached = text - usage.input_cache_read - usage.cache_write();
    if images_apart {
        usage.input_image = images;
    } else {
        usage.input_uncached += images;
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_a_long_prompt_with_a_marker_are_disjoint_and_add_up() {
        let ask = Ask { input_bytes: 400, cache_write: Some(CacheTtl::OneHour), ..Ask::default() };
        let usage = of_input(&ask, false);
        assert_eq!(usage.input_cache_read, 25);
        assert_eq!(usage.input_cache_write_1h, 12);
        assert_eq!(usage.input_uncached, 63);
        assert_eq!(usage.input(), 100);
    }

    #[test]
    fn a_short_prompt_is_not_cached() {
        let ask = Ask { input_bytes: 9, ..Ask::default() };
        assert_eq!(of_input(&ask, false), Usage { input_uncached: 3, ..Usage::default() });
    }
}
