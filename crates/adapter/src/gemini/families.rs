//! What the families of Gemini models accept, by the beginning of the model's name.
//!
//! Source: Google's thinking guide and the clients that special-case it, as of November 2026. A name that begins with
//! nothing known is taken for the newest family: it needs signatures, and takes a level.

use crate::ir::Effort;

/// How a family is told to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinking {
    /// `thinkingBudget` in tokens; `least` is sent for "none".
    Budget { least: u64, most: u64 },
    /// `thinkingLevel`, from the least to the most.
    Level(&'static [Effort]),
    /// Knows no thinking.
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Family {
    prefix: &'static str,
    pub thinking: Thinking,
    /// The first function call of each step of the current turn must carry a thought signature.
    pub needs_signatures: bool,
    /// `temperature`, `topP`, `topK` are ignored, and announced to be refused.
    pub refuses_sampling: bool,
    /// `candidateCount` above 1.
    pub many_candidates: bool,
    /// Media inside `functionResponse.parts`.
    pub media_in_results: bool,
    /// `VALIDATED` function calling.
    pub validated_calls: bool,
    /// `parametersJsonSchema` and `responseJsonSchema`.
    pub json_schema: bool,
}

const NEWEST: Family = Family {
    prefix: "",
    thinking: Thinking::Level(&[Effort::Low, Effort::Medium, Effort::High]),
    needs_signatures: true,
    refuses_sampling: false,
    many_candidates: false,
    media_in_results: true,
    validated_calls: true,
    json_schema: true,
};
const FROM_MINIMAL: Thinking = Thinking::Level(&[Effort::Minimal, Effort::Low, Effort::Medium, Effort::High]);
const SECOND: Family = Family {
    thinking: Thinking::No,
    needs_signatures: false,
    many_candidates: true,
    media_in_results: false,
    validated_calls: false,
    ..NEWEST
};
const SECOND_AND_A_HALF: Family = Family { validated_calls: true, ..SECOND };

/// The first prefix that fits wins, so longer ones stand first.
const FAMILIES: &[Family] = &[
    Family { prefix: "gemini-1", json_schema: false, ..SECOND },
    Family { prefix: "gemini-2.0", ..SECOND },
    Family { prefix: "gemini-2.5-flash-lite", thinking: Thinking::Budget { least: 0, most: 24_576 }, ..SECOND_AND_A_HALF },
    Family { prefix: "gemini-2.5-flash", thinking: Thinking::Budget { least: 0, most: 24_576 }, ..SECOND_AND_A_HALF },
    Family { prefix: "gemini-2.5", thinking: Thinking::Budget { least: 128, most: 32_768 }, ..SECOND_AND_A_HALF },
    Family { prefix: "gemma", json_schema: false, ..SECOND },
    Family { prefix: "learnlm", ..SECOND },
    Family { prefix: "gemini-3-pro", thinking: Thinking::Level(&[Effort::Low, Effort::High]), ..NEWEST },
    Family { prefix: "gemini-3-flash", thinking: FROM_MINIMAL, ..NEWEST },
    Family { prefix: "gemini-3.1-flash", thinking: FROM_MINIMAL, ..NEWEST },
    Family { prefix: "gemini-3.5-flash", thinking: FROM_MINIMAL, ..NEWEST },
    Family { prefix: "gemini-3.6-flash", thinking: FROM_MINIMAL, refuses_sampling: true, ..NEWEST },
    Family { prefix: "gemini-3.7", refuses_sampling: true, ..NEWEST },
    Family { prefix: "gemini-3.8", refuses_sampling: true, ..NEWEST },
    Family { prefix: "gemini-4", refuses_sampling: true, ..NEWEST },
];

pub(super) fn of(model: &str) -> Family {
    let name = model.rsplit('/').next().unwrap_or(model);
    FAMILIES.iter().find(|family| name.starts_with(family.prefix)).copied().unwrap_or(NEWEST)
}

impl Thinking {
    /// The allowed level nearest to what was asked for; above it where two are as near.
    pub fn nearest(levels: &'static [Effort], asked: Effort) -> Option<Effort> {
        levels.iter().find(|level| **level >= asked).or(levels.last()).copied()
    }

    pub fn budget(effort: Effort, least: u64, most: u64) -> u64 {
        match effort {
            Effort::None => least,
            Effort::Minimal => 512.max(least),
            Effort::Low => 1024,
            Effort::Medium => 8192,
            Effort::High => 24_576,
            Effort::XHigh | Effort::Max => most,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn efforts_become_what_the_family_takes() {
        let Thinking::Level(levels) = of("gemini-3-pro-preview").thinking else { panic!("3 pro has levels") };
        assert_eq!(Thinking::nearest(levels, Effort::Medium), Some(Effort::High));
        assert_eq!(Thinking::nearest(levels, Effort::None), Some(Effort::Low));
        assert_eq!(Thinking::nearest(levels, Effort::Max), Some(Effort::High));
        assert_eq!(of("gemini-2.5-pro").thinking, Thinking::Budget { least: 128, most: 32_768 });
        assert_eq!(of("publishers/google/models/gemini-2.5-flash").thinking, Thinking::Budget { least: 0, most: 24_576 });
        assert!(of("gemini-9-future").needs_signatures && !of("gemini-2.0-flash").needs_signatures);
    }
}
