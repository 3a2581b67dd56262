//! What of a model decides whether it can be asked at all.

use serde::Deserialize;

/// `None`: not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Abilities {
    /// Input and output together.
    #[serde(default)]
    pub context_tokens: Option<u64>,
    #[serde(default)]
    pub images: Option<bool>,
    #[serde(default)]
    pub documents: Option<bool>,
    #[serde(default)]
    pub tools: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::super::Profiles;
    use super::*;

    #[test]
    fn only_what_is_known_is_said() {
        let of = |model: &str| Profiles::builtin().abilities(model);
        assert_eq!(of("some-house-model"), Abilities::default());
        assert_eq!(of("gpt-4o"), Abilities::default());
        let text_only = Abilities { images: Some(false), documents: Some(false), ..Abilities::default() };
        assert_eq!(of("deepseek/deepseek-chat"), text_only);
        assert_eq!(of("o3-mini-2025-01-31"), text_only);
        assert_eq!(of("claude-sonnet-4-6").context_tokens, Some(1_000_000));
        assert_eq!(of("claude-haiku-4-5-20251001").context_tokens, Some(200_000));
        let small =
            Profiles::builtin().with_overrides("[[abilities.models]]\nmatch = [\"qwen3\"]\ncontext_tokens = 8192\ntools = false");
        let expected = Abilities { context_tokens: Some(8192), tools: Some(false), ..Abilities::default() };
        assert_eq!(small.unwrap().abilities("qwen3"), expected);
    }
}
