//! OpenAI's models, and those of servers that speak its protocol.

use serde::Deserialize;

use crate::ir::Effort;

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
    /// The highest effort; `None`: all are taken.
    pub top_effort: Option<Effort>,
    /// The effort is `none` unless another is said.
    #[serde(default)]
    pub none_by_default: bool,
    /// Takes sampling and gives log probabilities when the effort is `none`.
    #[serde(default)]
    pub sampling_without_effort: bool,
    /// Answers at the Responses endpoint only.
    #[serde(default)]
    pub responses_only: bool,
    /// Takes its own reasoning back as `reasoning_content`.
    #[serde(default)]
    pub reasoning_field: bool,
    /// `prompt_cache_breakpoint` on parts.
    pub cache_breakpoints: bool,
    /// Chat refuses tools together with reasoning.
    pub tools_need_no_reasoning: bool,
}

#[cfg(test)]
mod tests {
    use super::super::Profiles;
    use super::Effort;

    #[test]
    fn openai_generations_are_told_apart() {
        let profiles = Profiles::builtin();
        let of = |model: &str| profiles.openai(model);
        assert!(!of("gpt-4o").reasoning && of("gpt-4o").first_party);
        assert!(of("openai/gpt-5.6-sol").tools_need_no_reasoning && of("gpt-5.6-sol").cache_breakpoints);
        assert!(!of("gpt-5-chat-latest").reasoning && of("o4-mini").reasoning);
        assert!(of("gpt-5-mini").effort_minimal && !of("gpt-5.1").effort_minimal && of("gpt-5.1").effort_none);
        assert!(!of("gpt-6-astra").effort_none && of("gpt-7").effort_none);
        assert_eq!(of("o3").top_effort, Some(Effort::High));
        assert_eq!((of("gpt-5.1").top_effort, of("gpt-6-luna").top_effort), (Some(Effort::High), None));
        assert!(of("gpt-5.2-codex").responses_only && of("o3-pro").responses_only && !of("gpt-5.2").responses_only);
        assert!(of("gpt-5.4").none_by_default && !of("gpt-5.6").none_by_default);
        assert!(of("deepseek-reasoner").reasoning_field && !of("magistral-medium").reasoning_field);
        assert!(!of("qwen3").first_party && !of("gpt-oss-20b").first_party);
    }
}
