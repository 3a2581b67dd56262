//! What a request may use, before anybody has counted it.

use tallygate_types::{Usage, UsageClass};

use super::{Plain, PlainAsked};

/// The largest image in high quality, in tokens (1024 × 1536).
const IMAGE_TOKENS: u64 = 6_240;
/// Compressed speech of ordinary quality, a tenth of a second a token.
const AUDIO_BYTES_PER_TOKEN: u64 = 400;
/// The same at the lowest rate that is in use.
const AUDIO_BYTES_PER_TOKEN_AT_MOST: u64 = 100;
/// Fifteen bytes of text are said in a second, which is twenty tokens; slow speech takes up to half as long again.
const SPEECH_TOKENS_PER_BYTE_AT_MOST: u64 = 2;
const SPEECH_TOKENS_PER_3_BYTES: u64 = 4;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    /// What counts if the upstream does not tell.
    pub estimate: Usage,
    pub input_at_most: u64,
    /// The classes that the input may turn out to be.
    pub input: &'static [UsageClass],
    pub output_at_most: u64,
    pub output: &'static [UsageClass],
}

/// Estimates of text, which are the caller's.
#[derive(Debug, Clone, Copy)]
pub struct TextWeight {
    /// Tokens in so many bytes.
    pub tokens: fn(u64) -> u64,
    pub tokens_at_most: fn(u64) -> u64,
    /// Output of a request that names no bound.
    pub assumed_output: u64,
}

impl PlainAsked {
    /// `json_bytes` is how much of a JSON body is text.
    pub fn weight(&self, json_bytes: u64, text: &TextWeight) -> Weight {
        use UsageClass as C;
        const TEXT_IN: &[C] = &[C::InputUncached, C::InputCacheWrite5m];
        const TEXT_OUT: &[C] = &[C::OutputText, C::OutputReasoning];
        let text_bytes = self.form.as_ref().map_or(json_bytes, |form| form.text_bytes);
        let (files, file_bytes) = self.form.as_ref().map_or((0, 0), |form| (form.files, form.file_bytes));
        let words = Usage::default().with(C::InputUncached, (text.tokens)(text_bytes));
        let words_at_most = (text.tokens_at_most)(text_bytes);
        let many = u64::from(self.peek.candidates.max(1));
        let asked_output = self.peek.max_output_tokens.unwrap_or(text.assumed_output).saturating_mul(many);
        let weigh = |estimate, input_at_most, input, output_at_most, output| Weight {
            estimate,
            input_at_most,
            input,
            output_at_most,
            output,
        };
        match self.plain {
            Plain::Completions => weigh(words, words_at_most, TEXT_IN, asked_output, TEXT_OUT),
            Plain::Moderations | Plain::Rerank => weigh(words, words_at_most, TEXT_IN, 0, TEXT_OUT),
            Plain::ImageGenerations | Plain::ImageEdits | Plain::ImageVariations => {
                let shown = files.saturating_mul(IMAGE_TOKENS);
                let made = many.saturating_mul(IMAGE_TOKENS);
                let estimate = words.with(C::InputImage, shown).with(C::OutputImage, made);
                weigh(
                    estimate,
                    words_at_most.saturating_add(shown),
                    &[C::InputUncached, C::InputImage],
                    made,
                    &[C::OutputText, C::OutputImage],
                )
            }
            Plain::Transcriptions | Plain::Translations => {
                let heard = file_bytes.div_ceil(AUDIO_BYTES_PER_TOKEN);
                let heard_at_most = file_bytes.div_ceil(AUDIO_BYTES_PER_TOKEN_AT_MOST);
                weigh(
                    words.with(C::InputAudio, heard),
                    words_at_most.saturating_add(heard_at_most),
                    &[C::InputUncached, C::InputAudio],
                    text.assumed_output,
                    TEXT_OUT,
                )
            }
            Plain::Speech => {
                let said = text_bytes.saturating_mul(SPEECH_TOKENS_PER_3_BYTES) / 3;
                let said_at_most = text_bytes.saturating_mul(SPEECH_TOKENS_PER_BYTE_AT_MOST);
                let estimate = words.with(C::OutputAudio, said);
                weigh(estimate, words_at_most, TEXT_IN, said_at_most, &[C::OutputText, C::OutputAudio])
            }
        }
    }
}
