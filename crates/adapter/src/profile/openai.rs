//! OpenAI's models, and those of servers that speak its protocol.

use serde::Deserialize;

/// What an OpenAI model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenAiModel {
    /// Most output, reasoning included; `None`: not known.
    pub max_output_tokens: Option<u64>,
    /// OpenAI's own: knows `max_completion_tokens`, `safety_identifier`, `developer`.
    pub first_party: bool,
    /// Refuses sampling, `stop`, `logprobs`; takes `reasoning_effort`.
    pub reasoning: bool,
    /// `reasoning_effort: "none"` and `"minimal"`.
    pub effort_none: bool,
    pub effort_minimal: bool,
    /// `prompt_cache_breakpoint` on parts.
    pub cache_breakpoints: bool,
    /// Chat refuses tools together with reasoning.
    pub tools_need_no_reasoning: bool,
}

#[cfg(test)]
mod tests {
    use super::super::Profiles;

    #[test]
    fn openai_generations_are_told_apart() {
        let profiles = Profiles::builtin();
        let of = |model: &str| profiles.openai(model);
        assert!(!of("gpt-4o").reasoning && of("gpt-4o").first_party);
        assert!(of("openai/gpt-5.6-sol").tools_need_no_reasoning && of("gpt-5.6-sol").cache_breakpoints);
        assert!(!of("gpt-5-chat-latest").reasoning && of("o4-mini").reasoning);
        assert!(of("gpt-5-mini").effort_minimal && !of("gpt-5.1").effort_minimal && of("gpt-5.1").effort_none);
        assert!(!of("gpt-6-astra").effort_none && of("gpt-7").effort_none);
        assert!(!of("qwen3").first_party && !of("gpt-oss-20b").first_party);
    }
}
