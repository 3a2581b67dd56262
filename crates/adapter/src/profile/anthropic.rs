//! Anthropic's models.

use serde::Deserialize;

use crate::ir::Effort;

/// What an Anthropic model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnthropicModel {
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
    /// Thinking is signed for the conversation before it too: a change there is refused unless told to drop it.
    pub bound_thinking: bool,
    /// Other vendors' web search becomes Anthropic's own, which bills each search.
    pub hosted_search: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Thinking {
    /// `adaptive` only.
    Adaptive,
    /// `adaptive` and `enabled` with a budget.
    #[default]
    Both,
    /// `enabled` with a budget only.
    Budget,
}

#[cfg(test)]
mod tests {
    use super::super::Profiles;
    use super::*;

    #[test]
    fn the_longer_name_wins_and_cloud_spellings_are_known() {
        let profiles = Profiles::builtin();
        let of = |model: &str| profiles.anthropic(model);
        assert!(!of("claude-opus-5-5").can_disable && of("claude-opus-5").can_disable);
        assert_eq!(of("us.anthropic.claude-sonnet-4-5-20250929-v1:0").thinking, Thinking::Budget);
        assert_eq!(of("my-own").thinking, Thinking::Both);
        assert_eq!(of("claude-opus-4-5").top_effort, Some(Effort::High));
        assert_eq!(of("claude-haiku-4-5").top_effort, None);
        assert!(of("claude-sonnet-5-5").between_tools && !of("claude-sonnet-5-5").forced_tools);
    }
}
