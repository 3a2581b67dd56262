//! What models accept where their vendor's protocol alone does not tell, by the upstream's name of the model.
//!
//! The table is data: `data/profiles.toml` is compiled in, and an operator's file of the same form is laid over it while
//! the gateway runs ([`Profiles::with_overrides`]). Lookups give plain values, so that an encoder decides by them alone.

mod abilities;
mod anthropic;
mod gemini;
mod openai;
mod table;

use std::sync::{Arc, LazyLock};

use serde::Deserialize;

pub use abilities::Abilities;
pub(crate) use anthropic::{AnthropicModel, Thinking};
pub(crate) use gemini::{GeminiModel, GeminiThinking};
pub(crate) use openai::OpenAiModel;
use table::{Table, TableFile};

const BUILT_IN: &str = include_str!("../../data/profiles.toml");

/// Most an operator's table may hold, in bytes.
pub const MAX_PROFILES_BYTES: usize = 1024 * 1024;

/// What every model takes. Cheap to share, replaced whole.
#[derive(Debug, Clone)]
pub struct Profiles {
    abilities: Table<Abilities>,
    anthropic: Table<AnthropicModel>,
    openai: Table<OpenAiModel>,
    gemini: Table<GeminiModel>,
}

/// Why a table of model profiles is not taken. The message names the row.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProfileError {
    #[error("the model profiles are larger than {MAX_PROFILES_BYTES} bytes")]
    TooLarge,
    #[error("the model profiles are no valid TOML table: {0}")]
    Syntax(String),
    #[error("model profiles, {row}: {problem}")]
    Row { row: String, problem: String },
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    abilities: TableFile,
    #[serde(default)]
    anthropic: TableFile,
    #[serde(default)]
    openai: TableFile,
    #[serde(default)]
    gemini: TableFile,
}

static BUILTIN: LazyLock<Arc<Profiles>> = LazyLock::new(|| {
    let empty =
        Profiles { abilities: Table::default(), anthropic: Table::default(), openai: Table::default(), gemini: Table::default() };
    Arc::new(empty.with_overrides(BUILT_IN).expect("a test reads the compiled-in table"))
});

impl Profiles {
    /// The compiled-in table.
    pub fn builtin() -> &'static Arc<Self> {
        &BUILTIN
    }

    /// This table with the rows of `text` (TOML, the form of `data/profiles.toml`) before its own.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] names the row that is not understood; nothing is taken then.
    pub fn with_overrides(&self, text: &str) -> Result<Self, ProfileError> {
        if text.len() > MAX_PROFILES_BYTES {
            return Err(ProfileError::TooLarge);
        }
        let file: File = toml::from_str(text).map_err(|error| ProfileError::Syntax(error.to_string()))?;
        Ok(Self {
            abilities: self.abilities.with(file.abilities, "abilities")?,
            anthropic: self.anthropic.with(file.anthropic, "anthropic")?,
            openai: self.openai.with(file.openai, "openai")?,
            gemini: self.gemini.with(file.gemini, "gemini")?,
        })
    }

    /// What is known of the things a model can take, by its name alone: whoever serves it.
    pub fn abilities(&self, model: &str) -> Abilities {
        self.abilities.of(model)
    }

    pub(crate) fn anthropic(&self, model: &str) -> AnthropicModel {
        self.anthropic.of(model)
    }

    pub(crate) fn openai(&self, model: &str) -> OpenAiModel {
        self.openai.of(model)
    }

    pub(crate) fn gemini(&self, model: &str) -> GeminiModel {
        self.gemini.of(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operators_rows_stand_before_the_compiled_in_ones() {
        let text = r#"
            [[anthropic.models]]
            match = ["house-model", "*sonnet-4-5*"]
            like = "claude-opus-4-8"
            max_output_tokens = 9000

            [[gemini.models]]
            match = ["gemini-3.8-flash"]
            like = "gemini-3.8-flash"
            thinking = { levels = ["high"] }
        "#;
        let profiles = Profiles::builtin().with_overrides(text).unwrap();
        let opus = profiles.anthropic("claude-opus-4-8");
        assert_eq!(profiles.anthropic("house-model"), AnthropicModel { max_output_tokens: 9000, ..opus });
        assert_eq!(profiles.anthropic("us.anthropic.claude-Sonnet-4-5-v1:0"), profiles.anthropic("house-model"));
        assert!(profiles.gemini("gemini-3.8-flash").refuses_sampling);
        assert_eq!(profiles.openai("gpt-4o"), Profiles::builtin().openai("gpt-4o"));
    }

    #[test]
    fn a_row_that_is_not_understood_is_named() {
        let refused = |text: &str| Profiles::builtin().with_overrides(text).unwrap_err().to_string();
        let row = "[[openai.models]]\nmatch = [\"x\"]\n";
        assert_eq!(
            refused(&format!("{row}like = \"plain\"\nresoning = true")),
            "model profiles, openai row 1 (x): unknown field `resoning`, expected one of `max_output_tokens`, `first_party`, \
             `reasoning`, `effort_none`, `effort_minimal`, `top_effort`, `none_by_default`, `sampling_without_effort`, `responses_only`, `reasoning_field`, `cache_breakpoints`, `tools_need_no_reasoning`"
        );
        assert_eq!(
            refused(row),
            "model profiles, openai row 1 (x): missing field `first_party` (`like = \"<a base or a model>\"` takes over the rest)"
        );
        assert_eq!(refused("[[openai.models]]\nlike = \"plain\""), "model profiles, openai row 1: `match` names no model");
        assert!(refused("[cohere]").starts_with("the model profiles are no valid TOML table: "));
        assert_eq!(Profiles::builtin().with_overrides(&" ".repeat(MAX_PROFILES_BYTES + 1)).unwrap_err(), ProfileError::TooLarge);
    }
}
