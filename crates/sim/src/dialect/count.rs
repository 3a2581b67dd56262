//! Token counting: Anthropic's `POST /v1/messages/count_tokens`, Gemini's `:countTokens`, OpenAI's
//! `POST /v1/responses/input_tokens`.

use serde_json::{Value, json};

use super::Dialect;
use crate::conversation::text_bytes;
use crate::usage;

/// The count of a request's text, in the dialect's shape.
pub(crate) fn count_tokens(dialect: Dialect, body: &Value) -> Value {
    let asked = match body.get("generateContentRequest") {
        Some(inner) => inner,
        None => body,
    };
    let fields = ["messages", "input", "contents", "system", "systemInstruction", "instructions", "tools"];
    let bytes: u64 = fields.iter().map(|field| text_bytes(&asked[*field])).sum();
    let count = usage::tokens(bytes).max(1);
    match dialect {
        Dialect::Anthropic => json!({"input_tokens": count}),
        Dialect::Gemini => json!({
            "totalTokens": count,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": count}],
        }),
        Dialect::OpenaiChat | Dialect::OpenaiResponses => {
            json!({"object": "response.input_tokens", "input_tokens": count})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_request_is_counted() {
        let body = json!({"generateContentRequest": {"contents": [{"parts": [{"text": "12345678"}]}]}});
        assert_eq!(count_tokens(Dialect::Gemini, &body)["totalTokens"], 2);
    }
}
