//! The list of models as Codex reads it (`GET /v1/models?client_version=…`): OpenAI's list, with Codex's own beside it.
//!
//! A model Codex knows nothing of gets its generic settings and a warning. Fields: `ModelInfo` of its `codex-protocol`; a
//! word it does not know in one of them would make it refuse the whole list, so only the oldest words are used.

use serde_json::{Value, json};
use tallygate_types::Dialect;

use super::{ModelInfo, item};
use crate::ir::Effort;
use crate::profile::{GeminiThinking, Profiles};

/// What the model reads when Codex has no instructions of its own for it.
const INSTRUCTIONS: &str = "You are a coding agent in a terminal on the user's computer. Work on the user's task until it is \
    done: read the code before you change it, make the smallest change that solves the task, keep to the style you find, and \
    check your work with the project's own tests where there are any. Use apply_patch to edit files and the shell for all \
    else; prefer rg to grep. Never undo changes you did not make, and never run a destructive command the user did not ask \
    for. Say shortly what you are about to do, and at the end what you changed and what you could not verify.";
/// Most of a tool's output Codex keeps in the conversation, in tokens.
const TOOL_OUTPUT_TOKENS: u64 = 10_000;

/// One model of the list, and who answers for it first.
#[derive(Debug, Clone, Copy)]
pub struct CodexModel<'a> {
    pub info: &'a ModelInfo,
    pub upstream: Dialect,
    pub upstream_model: &'a str,
}

/// The answer to Codex. Models that answer nothing are in OpenAI's part only.
pub fn codex(models: &[CodexModel<'_>], profiles: &Profiles) -> Vec<u8> {
    let data: Vec<Value> = models.iter().map(|model| item(Dialect::OpenaiResponses, model.info)).collect();
    let answering = models.iter().filter(|model| !model.info.embeds);
    let own: Vec<Value> = answering.enumerate().map(|(priority, model)| entry(model, priority, profiles)).collect();
    json!({ "object": "list", "data": data, "models": own }).to_string().into_bytes()
}

fn entry(model: &CodexModel<'_>, priority: usize, profiles: &Profiles) -> Value {
    let efforts = efforts(model, profiles);
    let default = efforts.iter().find(|effort| **effort == Effort::Medium).or(efforts.first());
    let is_openai = matches!(model.upstream, Dialect::OpenaiChat | Dialect::OpenaiResponses);
    let has_verbosity = is_openai && profiles.openai(model.upstream_model).first_party && !efforts.is_empty();
    let levels: Vec<Value> = efforts
        .iter()
        .map(|effort| json!({ "effort": effort.as_str(), "description": format!("Reasons with {} effort", effort.as_str()) }))
        .collect();
    json!({
        "slug": model.info.name,
        "display_name": model.info.display_name,
        "description": null,
        "default_reasoning_level": default.map(|effort| effort.as_str()),
        "supported_reasoning_levels": levels,
        "shell_type": "shell_command",
        "visibility": "list",
        "supported_in_api": true,
        "priority": priority,
        "upgrade": null,
        "base_instructions": INSTRUCTIONS,
        "supports_reasoning_summaries": !efforts.is_empty(),
        "support_verbosity": has_verbosity,
        "default_verbosity": has_verbosity.then_some("low"),
        "apply_patch_tool_type": "freeform",
        "truncation_policy": { "mode": "tokens", "limit": TOOL_OUTPUT_TOKENS },
        "supports_parallel_tool_calls": true,
        "context_window": model.info.max_input_tokens,
        "experimental_supported_tools": [],
    })
}

/// Efforts the model tells apart, of those every Codex knows.
fn efforts(model: &CodexModel<'_>, profiles: &Profiles) -> Vec<Effort> {
    let (reasons, top) = match model.upstream {
        Dialect::OpenaiChat | Dialect::OpenaiResponses => {
            let profile = profiles.openai(model.upstream_model);
            (profile.reasoning, profile.top_effort.unwrap_or(Effort::High))
        }
        Dialect::Anthropic => {
            let profile = profiles.anthropic(model.upstream_model);
            (true, if profile.xhigh && profile.top_effort.is_some() { Effort::XHigh } else { Effort::High })
        }
        Dialect::Gemini => {
            let profile = profiles.gemini(model.upstream_model);
            (!matches!(profile.thinking, GeminiThinking::None), Effort::High)
        }
    };
    let all = [Effort::Low, Effort::Medium, Effort::High, Effort::XHigh];
    all.into_iter().filter(|effort| reasons && *effort <= top).collect()
}

#[cfg(test)]
mod tests {
    use tallygate_types::Timestamp;

    use super::*;

    #[test]
    fn codex_finds_openais_list_and_its_own() {
        let info = |name: &str, embeds: bool| ModelInfo {
            name: name.into(),
            display_name: name.to_uppercase(),
            created_at: Timestamp::from_micros(1_700_000_000_000_000),
            owned_by: "acme".into(),
            max_input_tokens: Some(200_000),
            max_output_tokens: None,
            embeds,
        };
        let (smart, plain, vectors) = (info("smart", false), info("plain", false), info("vectors", true));
        let models = [
            CodexModel { info: &smart, upstream: Dialect::Anthropic, upstream_model: "claude-opus-5-5" },
            CodexModel { info: &plain, upstream: Dialect::OpenaiChat, upstream_model: "gpt-4o" },
            CodexModel { info: &vectors, upstream: Dialect::OpenaiChat, upstream_model: "text-embedding-3-small" },
        ];
        let said: Value = serde_json::from_slice(&codex(&models, Profiles::builtin())).unwrap();
        assert_eq!(said["object"], "list");
        let ids: Vec<&Value> = said["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
        assert_eq!(ids, ["smart", "plain", "vectors"]);
        assert_eq!(said["models"].as_array().unwrap().len(), 2);
        assert_eq!(
            said["models"][0],
            json!({
                "slug": "smart", "display_name": "SMART", "description": null, "default_reasoning_level": "medium",
                "supported_reasoning_levels": [
                    {"effort": "low", "description": "Reasons with low effort"}, {"effort": "medium", "description": "Reasons with medium effort"},
                    {"effort": "high", "description": "Reasons with high effort"}, {"effort": "xhigh", "description": "Reasons with xhigh effort"}],
                "shell_type": "shell_command", "visibility": "list", "supported_in_api": true, "priority": 0, "upgrade": null,
                "base_instructions": INSTRUCTIONS, "supports_reasoning_summaries": true, "support_verbosity": false, "default_verbosity": null,
                "apply_patch_tool_type": "freeform", "truncation_policy": {"mode": "tokens", "limit": 10_000},
                "supports_parallel_tool_calls": true, "context_window": 200_000, "experimental_supported_tools": []
            })
        );
        assert_eq!(said["models"][1]["supported_reasoning_levels"], json!([]));
        assert_eq!(said["models"][1]["default_reasoning_level"], Value::Null);
    }
}
