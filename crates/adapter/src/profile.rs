//! What models accept where their vendor's protocol alone does not tell, by the upstream's name of the model.
//!
//! Facts of November 2026. A name that no row knows gets the row for compatible servers, which refuses nothing.

use crate::ir::Effort;

/// What an Anthropic model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnthropicModel {
    name: &'static str,
    pub max_output_tokens: u64,
    /// `temperature`, `top_p`, `top_k`.
    pub sampling: bool,
    /// `temperature` and `top_p` may stand together.
    pub both_samplings: bool,
    pub thinking: Thinking,
    /// `thinking.type: "disabled"`.
    pub can_disable: bool,
    /// `thinking.type: "between_tools"`.
    pub between_tools: bool,
    /// The highest effort; `None`: no `effort` field at all.
    pub top_effort: Option<Effort>,
    /// `xhigh` is known too (it came after `max`).
    pub xhigh: bool,
    /// `tool_choice` `any` and `tool`.
    pub forced_tools: bool,
    /// A last assistant turn is continued.
    pub prefill: bool,
    /// `role: "system"` inside `messages`.
    pub system_turns: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thinking {
    /// `adaptive` only.
    Adaptive,
    /// `adaptive` and `enabled` with a budget.
    Both,
    /// `enabled` with a budget only.
    Budget,
}

const MODERN: AnthropicModel = AnthropicModel {
    name: "",
    max_output_tokens: 128_000,
    sampling: false,
    both_samplings: false,
    thinking: Thinking::Adaptive,
    can_disable: false,
    between_tools: false,
    top_effort: Some(Effort::Max),
    xhigh: true,
    forced_tools: true,
    prefill: false,
    system_turns: true,
};
const V4_6: AnthropicModel = AnthropicModel {
    sampling: true,
    both_samplings: true,
    thinking: Thinking::Both,
    can_disable: true,
    xhigh: false,
    system_turns: false,
    ..MODERN
};
const V4_5: AnthropicModel = AnthropicModel {
    max_output_tokens: 64_000,
    sampling: true,
    thinking: Thinking::Budget,
    can_disable: true,
    top_effort: None,
    prefill: true,
    system_turns: false,
    ..MODERN
};

/// Searched as parts of the name, the longer id before the one it begins with.
const ANTHROPIC: &[AnthropicModel] = &[
    AnthropicModel { name: "fable-5-2", forced_tools: false, ..MODERN },
    AnthropicModel { name: "mythos-5-2", forced_tools: false, ..MODERN },
    AnthropicModel { name: "sonnet-5-5", between_tools: true, forced_tools: false, ..MODERN },
    AnthropicModel { name: "opus-5-5", forced_tools: false, ..MODERN },
    AnthropicModel { name: "haiku-5-5", can_disable: true, ..MODERN },
    AnthropicModel { name: "fable-5-1", forced_tools: false, ..MODERN },
    AnthropicModel { name: "mythos-5-1", forced_tools: false, ..MODERN },
    AnthropicModel { name: "fable-5", ..MODERN },
    AnthropicModel { name: "mythos-5", ..MODERN },
    AnthropicModel { name: "opus-5", can_disable: true, ..MODERN },
    AnthropicModel { name: "sonnet-5", can_disable: true, system_turns: false, ..MODERN },
    AnthropicModel { name: "opus-4-8", can_disable: true, ..MODERN },
    AnthropicModel { name: "opus-4-7", can_disable: true, system_turns: false, ..MODERN },
    AnthropicModel { name: "opus-4-6", ..V4_6 },
    AnthropicModel { name: "sonnet-4-6", ..V4_6 },
    AnthropicModel { name: "opus-4-5", top_effort: Some(Effort::High), xhigh: false, ..V4_5 },
    AnthropicModel { name: "sonnet-4-5", ..V4_5 },
    AnthropicModel { name: "haiku-4-5", ..V4_5 },
    AnthropicModel { name: "opus-4-1", max_output_tokens: 32_000, ..V4_5 },
    AnthropicModel { name: "opus-4", max_output_tokens: 32_000, both_samplings: true, ..V4_5 },
    AnthropicModel { name: "sonnet-4", both_samplings: true, ..V4_5 },
    AnthropicModel { name: "3-7-sonnet", both_samplings: true, ..V4_5 },
    AnthropicModel { name: "3-5-", max_output_tokens: 8_192, both_samplings: true, ..V4_5 },
    AnthropicModel { name: "claude-3-", max_output_tokens: 4_096, both_samplings: true, ..V4_5 },
];

/// A server that speaks the protocol but is not Anthropic's.
const ANTHROPIC_COMPATIBLE: AnthropicModel = AnthropicModel {
    max_output_tokens: 64_000,
    sampling: true,
    both_samplings: true,
    thinking: Thinking::Both,
    can_disable: true,
    prefill: true,
    system_turns: false,
    ..MODERN
};

pub(crate) fn anthropic(model: &str) -> AnthropicModel {
    ANTHROPIC.iter().find(|row| model.contains(row.name)).copied().unwrap_or(ANTHROPIC_COMPATIBLE)
}

/// What an OpenAI model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenAiModel {
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

pub(crate) fn openai(model: &str) -> OpenAiModel {
    let name = model.rsplit('/').next().unwrap_or(model);
    let generation = name.strip_prefix("gpt-").and_then(version);
    let is_o_series = name.strip_prefix('o').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let is_chat_variant = name.contains("-chat");
    let reasoning = is_o_series || (generation.is_some_and(|(major, _)| major >= 5) && !is_chat_variant);
    let always_reasons = name.starts_with("gpt-6-astra") || name.starts_with("gpt-6.1-sol");
    OpenAiModel {
        first_party: is_o_series || name.starts_with("chatgpt") || generation.is_some() && !name.contains("oss"),
        reasoning,
        effort_none: generation.is_some_and(|version| version >= (5, 1)) && !always_reasons,
        effort_minimal: generation == Some((5, 0)),
        cache_breakpoints: generation.is_some_and(|version| version >= (5, 6)),
        tools_need_no_reasoning: reasoning && generation.is_some_and(|version| version >= (5, 4)),
    }
}

/// `5.4-mini` → (5, 4).
fn version(rest: &str) -> Option<(u32, u32)> {
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let major = digits(rest);
    let minor = rest[major.len()..].strip_prefix('.').map(digits).and_then(|minor| minor.parse().ok()).unwrap_or(0);
    Some((major.parse().ok()?, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_name_wins_and_cloud_spellings_are_known() {
        assert!(!anthropic("claude-opus-5-5").can_disable && anthropic("claude-opus-5").can_disable);
        assert_eq!(anthropic("us.anthropic.claude-sonnet-4-5-20250929-v1:0").thinking, Thinking::Budget);
        assert_eq!(anthropic("my-own").thinking, Thinking::Both);
    }

    #[test]
    fn openai_generations_are_told_apart() {
        assert!(!openai("gpt-4o").reasoning && openai("gpt-4o").first_party);
        assert!(openai("openai/gpt-5.6-sol").tools_need_no_reasoning);
        assert!(!openai("gpt-5-chat-latest").reasoning && openai("o4-mini").reasoning);
        assert!(!openai("qwen3").first_party && !openai("gpt-oss-20b").first_party);
    }
}
