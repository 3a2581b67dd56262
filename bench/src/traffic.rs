//! What is asked and answered: the models of the simulated provider, by their names, and the bodies that ask for them.

use std::fmt::Write as _;
use std::time::Duration;

/// Stands exactly once in every piece of generated text, and nowhere else in what the provider sends.
pub const MARK: u8 = b'~';
/// What the text of a plain answer is.
pub const ANSWER: &str = "The quick brown fox jumps over the lazy dog, and then again, because once was not enough.~";
/// What provider and gateway must agree on for an answer to be right.
pub const PROMPT_TOKENS: u64 = 48;
pub const OUTPUT_TOKENS: u64 = 100;

/// How the provider answers. The public name of a model is `bench-<kind>` or, translated to Anthropic's dialect,
/// `bench-anthropic-<kind>`; at the provider it is `up-<kind>`, so that every gateway has a name to put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// One JSON object.
    Json,
    /// A stream of 100 pieces, one in 20 ms.
    Paced,
    /// A stream of 500 pieces, one in a millisecond: more in sum than a core passes on.
    Flat,
    /// A stream that stays open: 120 pieces, one in a second.
    Slow,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Json, Self::Paced, Self::Flat, Self::Slow];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Paced => "paced",
            Self::Flat => "flat",
            Self::Slow => "slow",
        }
    }

    /// Pieces of a stream and the time between them; a plain answer is one piece.
    pub const fn pace(self) -> (usize, Duration) {
        match self {
            Self::Json => (1, Duration::ZERO),
            Self::Paced => (100, Duration::from_millis(20)),
            Self::Flat => (500, Duration::from_millis(1)),
            Self::Slow => (120, Duration::from_secs(1)),
        }
    }

    pub const fn is_stream(self) -> bool {
        !matches!(self, Self::Json)
    }
}

/// What stands in the question beside its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Prompt {
    /// A body of 258 bytes.
    Small,
    /// 200 kB of conversation.
    Text,
    /// An image of 1 MB as base64.
    Image,
}

impl Prompt {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Text => "text",
            Self::Image => "image",
        }
    }
}

const SMALL_BYTES: usize = 258;
const TEXT_BYTES: usize = 200 * 1000;
const IMAGE_BYTES: usize = 1000 * 1000;
/// A turn of the long conversation.
const TURN_BYTES: usize = 8 * 1024;

/// A request in OpenAI's chat dialect.
pub fn question(model: &str, kind: Kind, prompt: Prompt) -> String {
    let stream = if kind.is_stream() { r#""stream":true,"stream_options":{"include_usage":true},"# } else { "" };
    let mut body = format!(
        r#"{{"model":"{model}",{stream}"max_tokens":256,"temperature":0.7,"messages":[{{"role":"system","content":"You are terse."}},"#
    );
    match prompt {
        Prompt::Small => {
            body.push_str(r#"{"role":"user","content":""#);
            let end = r#""}]}"#;
            while body.len() + end.len() < SMALL_BYTES {
                body.push(if body.len().is_multiple_of(6) { ' ' } else { 'w' });
            }
            body.push_str(end);
        }
        Prompt::Text => {
            let mut role = "user";
            while body.len() < TEXT_BYTES {
                let _ = write!(body, r#"{{"role":"{role}","content":""#);
                let turn = body.len() + TURN_BYTES;
                while body.len() < turn {
                    body.push_str(r#"fn main() {\n    println!(\"what stands in a file is full of escapes\");\n}\n\n"#);
                }
                body.push_str(r#""},"#);
                role = if role == "user" { "assistant" } else { "user" };
            }
            body.push_str(r#"{"role":"user","content":"What does it print?"}]}"#);
        }
        Prompt::Image => {
            body.push_str(r#"{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgoA"#);
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            // Any sequence will do that is not the same letter for ever.
            let mut state = 1_u32;
            while body.len() < IMAGE_BYTES || body.len() % 4 != 0 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                body.push(char::from(alphabet[(state >> 26) as usize]));
            }
            // The length of the data must divide by four whatever stood before it.
            let start = body.find("base64,").map_or(0, |at| at + "base64,".len());
            while (body.len() - start) % 4 != 0 {
                body.push('A');
            }
            body.push_str(r#""}}]}]}"#);
        }
    }
    body
}

/// One event of OpenAI's stream, about 230 bytes.
pub fn openai_piece() -> String {
    padded(
        r#"data: {"id":"chatcmpl-bench00000000000000000001","object":"chat.completion.chunk","created":1750000000,"model":"up-sim","choices":[{"index":0,"delta":{"content":""#,
        "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
    )
}

/// One event of Anthropic's, about 230 bytes.
pub fn anthropic_piece() -> String {
    padded(
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"",
        "\"}}\n\n",
    )
}

const PIECE_BYTES: usize = 230;

fn padded(before: &str, after: &str) -> String {
    let mut text = before.to_owned();
    while text.len() + after.len() + 1 < PIECE_BYTES {
        text.push(if text.len().is_multiple_of(7) { ' ' } else { 'o' });
    }
    text.push(char::from(MARK));
    text.push_str(after);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_have_their_sizes_and_are_json() {
        for (prompt, least, most) in
            [(Prompt::Small, 258, 258), (Prompt::Text, 200_000, 210_000), (Prompt::Image, 1_000_000, 1_000_100)]
        {
            let body = question("bench-json", Kind::Json, prompt);
            assert!((least..=most).contains(&body.len()), "{prompt:?}: {}", body.len());
            serde_json::from_str::<serde_json::Value>(&body).expect("JSON");
            assert!(!body.as_bytes().contains(&MARK));
        }
    }

    #[test]
    fn pieces_carry_one_mark() {
        for piece in [openai_piece(), anthropic_piece()] {
            assert_eq!(piece.len(), PIECE_BYTES);
            assert_eq!(memchr::memchr_iter(MARK, piece.as_bytes()).count(), 1);
        }
    }
}
