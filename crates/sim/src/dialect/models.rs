//! The models that a listing shows. Any other name is served too.

use serde_json::{Value, json};

use super::Dialect;

/// Listed under OpenAI's shape.
const OPENAI: [&str; 4] = ["gpt-sim", "gpt-sim-mini", "gpt-sim-reasoner", "embed-sim"];
/// Listed under Anthropic's shape.
const ANTHROPIC: [&str; 2] = ["claude-sim", "claude-sim-thinking"];
/// Listed under Gemini's shape.
const GEMINI: [&str; 2] = ["gemini-sim", "gemini-sim-thinking"];
/// Unix time at which all of them claim to be made: 2026-01-01T00:00:00Z.
const CREATED: u64 = 1_767_225_600;

/// The body of `GET /v1/models` or `GET /v1beta/models`.
pub(crate) fn list_models(dialect: Dialect) -> Value {
    match dialect {
        Dialect::OpenaiChat | Dialect::OpenaiResponses => {
            let one = |id: &&str| json!({"id": id, "object": "model", "created": CREATED, "owned_by": "sim"});
            json!({"object": "list", "data": OPENAI.iter().map(one).collect::<Vec<_>>()})
        }
        Dialect::Anthropic => {
            let one = |id: &&str| {
                json!({"type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z",
                    "lifecycle": "active", "max_input_tokens": 200_000, "max_tokens": 64_000})
            };
            json!({
                "data": ANTHROPIC.iter().map(one).collect::<Vec<_>>(),
                "has_more": false,
                "first_id": ANTHROPIC[0],
                "last_id": ANTHROPIC[ANTHROPIC.len() - 1],
            })
        }
        Dialect::Gemini => {
            let one = |id: &&str| {
                json!({"name": format!("models/{id}"), "displayName": id, "description": "A simulated model.",
                    "version": "001", "inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536,
                    "supportedGenerationMethods": ["generateContent", "countTokens"], "thinking": id.contains("think")})
            };
            json!({"models": GEMINI.iter().map(one).collect::<Vec<_>>()})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_lists_in_its_own_shape() {
        assert_eq!(list_models(Dialect::OpenaiChat)["data"][0]["id"], "gpt-sim");
        assert_eq!(list_models(Dialect::Anthropic)["last_id"], "claude-sim-thinking");
        assert_eq!(list_models(Dialect::Gemini)["models"][0]["name"], "models/gemini-sim");
    }
}
