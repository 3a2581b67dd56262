//! What the vendors' models refuse and do by themselves, by their names: facts of November 2026.
//!
//! A name that is no vendor's (`gpt-sim`, `plain`) is a compatible server's, which takes everything its protocol has.

/// What an Anthropic model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claude {
    name: &'static str,
    /// Thinks although the request does not ask for it.
    pub thinks_unasked: bool,
    /// Takes `thinking.type: "enabled"` with a budget.
    pub takes_budgets: bool,
    pub takes_adaptive: bool,
    pub takes_disabled: bool,
    pub between_tools: bool,
    /// Takes `temperature`, `top_p`, `top_k`.
    pub sampling: bool,
    /// Takes `tool_choice` `any` and `tool`.
    pub forced_tools: bool,
    /// Continues a last assistant turn.
    pub prefill: bool,
    /// Its thinking is bound to the conversation before it.
    pub bound: bool,
    /// Shows its thinking unless told otherwise.
    pub shows_thinking: bool,
    /// Refuses fields it does not know.
    pub knows_its_fields: bool,
}

const NEWEST: Claude = Claude {
    name: "",
    thinks_unasked: true,
    takes_budgets: false,
    takes_adaptive: true,
    takes_disabled: false,
    between_tools: false,
    sampling: false,
    forced_tools: false,
    prefill: false,
    bound: true,
    shows_thinking: false,
    knows_its_fields: true,
};
const FIFTH: Claude = Claude { forced_tools: true, bound: false, ..NEWEST };
const V4_7: Claude = Claude { thinks_unasked: false, takes_disabled: true, ..FIFTH };
const V4_6: Claude = Claude { takes_budgets: true, sampling: true, shows_thinking: true, ..V4_7 };
const V4_5: Claude = Claude { takes_adaptive: false, prefill: true, ..V4_6 };

/// Searched as parts of the name, the longer id before the one it begins with.
const CLAUDE: &[Claude] = &[
    Claude { name: "fable-5-2", ..NEWEST },
    Claude { name: "mythos-5-2", ..NEWEST },
    Claude { name: "sonnet-5-5", between_tools: true, ..NEWEST },
    Claude { name: "opus-5-5", ..NEWEST },
    Claude { name: "haiku-5-5", takes_disabled: true, forced_tools: true, ..NEWEST },
    Claude { name: "fable-5-1", ..NEWEST },
    Claude { name: "mythos-5-1", ..NEWEST },
    Claude { name: "fable-5", ..FIFTH },
    Claude { name: "mythos-5", ..FIFTH },
    Claude { name: "opus-5", takes_disabled: true, ..FIFTH },
    Claude { name: "sonnet-5", takes_disabled: true, ..FIFTH },
    Claude { name: "opus-4-8", ..V4_7 },
    Claude { name: "opus-4-7", ..V4_7 },
    Claude { name: "opus-4-6", ..V4_6 },
    Claude { name: "sonnet-4-6", ..V4_6 },
    Claude { name: "opus-4-5", ..V4_5 },
    Claude { name: "sonnet-4-5", ..V4_5 },
    Claude { name: "haiku-4-5", ..V4_5 },
];
const CLAUDE_COMPATIBLE: Claude = Claude { takes_adaptive: true, knows_its_fields: false, ..V4_5 };

pub(crate) fn claude(model: &str) -> Claude {
    CLAUDE.iter().find(|row| model.contains(row.name)).copied().unwrap_or(CLAUDE_COMPATIBLE)
}

/// What a Gemini model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gemini {
    /// The first call of each step of the current turn must come back signed.
    pub needs_signatures: bool,
    pub thinks_unasked: bool,
    /// Refuses fields it does not know.
    pub knows_its_fields: bool,
}

pub(crate) fn gemini(model: &str) -> Gemini {
    let version = model.rsplit('/').next().and_then(|name| version(name, "gemini-"));
    Gemini {
        needs_signatures: version.is_some_and(|version| version >= (3, 0)),
        knows_its_fields: version.is_some(),
        thinks_unasked: version.is_some_and(|version| version >= (2, 5)) && !model.contains("2.5-flash-lite"),
    }
}

/// What an OpenAI model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenAi {
    /// A reasoning model of OpenAI's own: it refuses sampling, `stop` and `max_tokens`.
    pub reasons: bool,
    /// Does not reason unless an effort is given.
    pub idle_unasked: bool,
    /// Refuses function tools in Chat Completions while it reasons.
    pub tools_need_responses: bool,
    /// A compatible server that shows its reasoning as `reasoning_content` (DeepSeek and its like).
    pub shows_reasoning: bool,
    /// Refuses fields it does not know.
    pub knows_its_fields: bool,
}

pub(crate) fn openai(model: &str) -> OpenAi {
    let numbered = version(model, "gpt-");
    let generation = numbered.filter(|_| !model.contains("-chat"));
    let o_series = ["o1", "o3", "o4"].iter().any(|name| model.starts_with(name));
    OpenAi {
        knows_its_fields: o_series || numbered.is_some(),
        reasons: o_series || generation.is_some_and(|version| version >= (5, 0)),
        idle_unasked: generation.is_some_and(|version| ((5, 1)..(5, 4)).contains(&version)),
        tools_need_responses: generation.is_some_and(|version| version >= (5, 4)),
        shows_reasoning: model.starts_with("deepseek"),
    }
}

/// The `major.minor` that stands after `prefix`.
fn version(model: &str, prefix: &str) -> Option<(u32, u32)> {
    let rest = model.strip_prefix(prefix)?;
    let number = rest.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?;
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_name_wins_and_strangers_take_everything() {
        assert!(claude("claude-opus-5-5-20261101").bound);
        assert!(!claude("claude-opus-5").bound);
        assert!(claude("us.anthropic.claude-sonnet-4-5-v1:0").takes_budgets);
        assert!(claude("claude-sim").sampling && claude("claude-sim").takes_adaptive);
    }

    #[test]
    fn generations_are_read_from_names() {
        assert!(gemini("gemini-3-pro-preview").needs_signatures && gemini("models/gemini-3.6-flash").needs_signatures);
        assert!(!gemini("gemini-2.5-pro").needs_signatures && !gemini("gemini-sim").needs_signatures);
        assert!(openai("gpt-5.6-sol").tools_need_responses && openai("gpt-6-astra").tools_need_responses);
        assert!(openai("gpt-5.2").idle_unasked && openai("o4-mini").reasons);
        assert!(!openai("gpt-4o").reasons && !openai("gpt-sim").reasons && !openai("gpt-5-chat-latest").reasons);
    }
}
