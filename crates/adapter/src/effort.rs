//! Control of reasoning in the words of OpenAI's two dialects.

use crate::ir::{Effort, ReasoningControl, ReasoningMode};
use crate::loss::LossReport;
use crate::profile::OpenAiModel;

/// Thresholds of a thinking budget, in tokens, from which the next effort is said.
const BUDGET_MEDIUM: u64 = 4_096;
const BUDGET_HIGH: u64 = 16_384;
const BUDGET_XHIGH: u64 = 24_576;

/// What the client asks for; `None`: the model's default.
pub(crate) fn wanted(control: Option<&ReasoningControl>) -> Option<Effort> {
    let control = control?;
    match control.mode {
        Some(ReasoningMode::Disabled | ReasoningMode::BetweenTools) => Some(Effort::None),
        _ => control.effort.or_else(|| {
            control.budget_tokens.map(|budget| match budget {
                0 => Effort::None,
                1..BUDGET_MEDIUM => Effort::Low,
                BUDGET_MEDIUM..BUDGET_HIGH => Effort::Medium,
                BUDGET_HIGH..BUDGET_XHIGH => Effort::High,
                _ => Effort::XHigh,
            })
        }),
    }
}

/// The nearest effort a model of OpenAI's takes.
pub(crate) fn fitting(wanted: Option<Effort>, model: OpenAiModel, loss: &mut LossReport) -> Option<Effort> {
    let wanted = wanted?;
    let fitting = match wanted {
        Effort::None if model.effort_none => Effort::None,
        Effort::None | Effort::Minimal if model.effort_minimal => Effort::Minimal,
        Effort::None | Effort::Minimal => Effort::Low,
        effort => model.top_effort.map_or(effort, |top| effort.min(top)),
    };
    if fitting != wanted {
        let why = if wanted == Effort::None {
            "this model always reasons".to_owned()
        } else {
            format!("effort {} is not known to this model: {}", wanted.as_str(), fitting.as_str())
        };
        loss.approximated("reasoning", why);
    }
    Some(fitting)
}
