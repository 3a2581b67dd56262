//! Google's models. Source: Google's thinking guide and the clients that special-case it.

use serde::{Deserialize, Deserializer};

use crate::ir::Effort;

/// How a model is told to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GeminiThinking {
    /// `thinkingBudget` in tokens; `least` is sent for "none", and no other budget is below `floor`.
    Budget {
        least: u64,
        #[serde(default)]
        floor: u64,
        most: u64,
    },
    /// `thinkingLevel`.
    Levels(Levels),
    /// Knows no thinking.
    #[default]
    None,
}

/// The efforts a model knows as levels, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Levels {
    /// One bit for each effort.
    bits: u8,
}

/// What a Gemini model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GeminiModel {
    pub thinking: GeminiThinking,
    /// The first function call of each step of the current turn must carry a thought signature.
    pub needs_signatures: bool,
    /// `temperature`, `topP`, `topK` are ignored, and announced to be refused.
    pub refuses_sampling: bool,
    /// `presencePenalty`, `frequencyPenalty`.
    pub penalties: bool,
    /// Most output, thoughts included; `None`: not known.
    pub max_output_tokens: Option<u64>,
    /// A last turn of the model is continued.
    pub prefill: bool,
    /// Functions beside a JSON output format, and beside Google's own tools.
    pub mixed_tools: bool,
    /// `mediaResolution` of a part.
    pub part_resolution: bool,
    /// `candidateCount` above 1.
    pub many_candidates: bool,
    /// Media inside `functionResponse.parts`.
    pub media_in_results: bool,
    /// `VALIDATED` function calling.
    pub validated_calls: bool,
    /// `parametersJsonSchema` and `responseJsonSchema`.
    pub json_schema: bool,
}

impl GeminiThinking {
    pub fn budget(effort: Effort, least: u64, floor: u64, most: u64) -> u64 {
        match effort {
            Effort::None => least,
            Effort::Minimal => 512.max(least).max(floor),
            Effort::Low => 1024,
            Effort::Medium => 8192,
            Effort::High => 24_576,
            Effort::XHigh | Effort::Max => most,
        }
    }
}

impl Levels {
    /// The level nearest to what was asked for; above it where two are as near.
    pub fn nearest(self, asked: Effort) -> Option<Effort> {
        let known = |effort: &Effort| self.bits & (1 << *effort as u8) != 0;
        Effort::ALL.into_iter().filter(known).find(|level| *level >= asked).or_else(|| Effort::ALL.into_iter().rfind(known))
    }
}

impl<'de> Deserialize<'de> for Levels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let levels = Vec::<Effort>::deserialize(deserializer)?;
        Ok(Self { bits: levels.into_iter().fold(0, |bits, level| bits | 1 << level as u8) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Profiles;
    use super::*;

    #[test]
    fn efforts_become_what_the_family_takes() {
        let profiles = Profiles::builtin();
        let of = |model: &str| profiles.gemini(model);
        let GeminiThinking::Levels(levels) = of("gemini-3-pro-preview").thinking else { panic!("3 pro has levels") };
        assert_eq!(levels.nearest(Effort::Medium), Some(Effort::High));
        assert_eq!(levels.nearest(Effort::None), Some(Effort::Low));
        assert_eq!(levels.nearest(Effort::Max), Some(Effort::High));
        assert_eq!(of("gemini-2.5-pro").thinking, GeminiThinking::Budget { least: 128, floor: 0, most: 32_768 });
        assert_eq!(
            of("publishers/google/models/gemini-2.5-flash").thinking,
            GeminiThinking::Budget { least: 0, floor: 0, most: 24_576 }
        );
        assert!(of("gemini-9-future").needs_signatures && !of("gemini-2.0-flash").needs_signatures);
    }
}
