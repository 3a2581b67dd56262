//! Reasoning control as `thinking` and `output_config.effort`, by what the model takes.

use serde_json::json;

use super::wire::ThinkingConfig;
use crate::ir::{Effort, Part, PartKind, ReasoningControl, ReasoningMode, Request, Role, ToolChoice, Turn, Vendor};
use crate::loss::LossReport;
use crate::profile::{AnthropicModel, Thinking};

/// Least budget the API takes, in tokens.
const MIN_BUDGET: u64 = 1_024;

/// What is said of thinking. Both may be absent: the model's default applies.
#[derive(Debug, Default)]
pub(super) struct Control {
    pub thinking: Option<ThinkingConfig>,
    pub effort: Option<Effort>,
}

impl Control {
    /// Thinking is on, so sampling is restricted.
    pub fn is_budget(&self) -> bool {
        self.thinking.as_ref().is_some_and(|thinking| thinking.kind == "enabled")
    }

    pub fn is_on(&self) -> bool {
        self.thinking.as_ref().is_some_and(|thinking| matches!(thinking.kind.as_str(), "enabled" | "adaptive"))
    }
}

/// Earlier thinking goes to a model that binds it to its conversation: what no longer fits is to be dropped, not refused.
pub(super) fn is_bound(request: &Request, model: AnthropicModel) -> bool {
    model.bound_thinking
        && !request.reasoning.as_ref().is_some_and(wants_none)
        && request.turns.iter().any(|turn| turn.parts.iter().any(is_signed))
}

fn is_signed(part: &Part) -> bool {
    let PartKind::Reasoning(reasoning) = &part.kind else { return false };
    reasoning.signature.as_ref().is_some_and(|signature| signature.vendor == Vendor::Anthropic)
}

fn wants_none(wanted: &ReasoningControl) -> bool {
    matches!(wanted.mode, Some(ReasoningMode::Disabled | ReasoningMode::BetweenTools))
        || wanted.effort == Some(Effort::None)
        || wanted.budget_tokens == Some(0)
}

pub(super) fn control(request: &Request, model: AnthropicModel, max_tokens: u64, loss: &mut LossReport) -> Control {
    let mut control = wanted_control(request, model, max_tokens, loss);
    if is_bound(request, model) {
        let thinking =
            control.thinking.get_or_insert_with(|| ThinkingConfig { kind: "adaptive".into(), ..ThinkingConfig::default() });
        thinking.block_binding = Some(json!({"prefix_mismatch_behavior": "drop_block"}));
    }
    control
}

fn wanted_control(request: &Request, model: AnthropicModel, max_tokens: u64, loss: &mut LossReport) -> Control {
    let Some(wanted) = &request.reasoning else { return Control::default() };
    if wants_none(wanted) {
        return without(wanted, model, loss);
    }
    let budget = wanted.budget_tokens;
    let mut control = Control::default();
    match model.thinking {
        Thinking::Adaptive | Thinking::Both => {
            // A budget is said where the model still takes one; others get the effort nearest to it.
            if let Some(budget) = budget.filter(|_| model.thinking == Thinking::Both && wanted.effort.is_none()) {
                control.thinking = budgeted(budget, max_tokens, loss);
            } else if wanted.effort.is_some() || wanted.mode.is_some() || budget.is_some() {
                control.thinking = Some(ThinkingConfig { kind: "adaptive".into(), ..ThinkingConfig::default() });
                if budget.is_some() && wanted.effort.is_none() {
                    loss.approximated("reasoning", "this model takes an effort instead of a budget");
                }
                let effort = wanted.effort.or(budget.map(effort_of));
                control.effort = effort.map(|effort| clamp(effort, model, loss));
            }
        }
        Thinking::Budget => {
            let budget = budget.or(wanted.effort.map(budget_of)).or(wanted.mode.map(|_| budget_of(Effort::Medium)));
            if let Some(budget) = budget {
                if wanted.budget_tokens.is_none() {
                    loss.approximated(
                        "reasoning",
                        format!("this model takes a thinking budget instead of an effort: {budget} tokens"),
                    );
                }
                control.thinking = budgeted(budget, max_tokens, loss);
            }
            if model.top_effort.is_some() {
                control.effort = wanted.effort.map(|effort| clamp(effort, model, loss));
            }
        }
    }
    let is_forced = matches!(request.tool_choice, Some(ToolChoice::Required | ToolChoice::Named(_)));
    if control.is_budget() && is_forced {
        loss.dropped("reasoning", "a forced tool excludes a thinking budget");
        control.thinking = None;
    }
    if control.is_budget() && has_lost_thinking(&request.turns) {
        loss.dropped("reasoning", "the thinking before the last tool call is missing, without which a budget is refused");
        control.thinking = None;
    }
    if let Some(thinking) = &mut control.thinking
        && wanted.visible == Some(true)
        && thinking.kind == "adaptive"
    {
        thinking.display = Some("summarized".into());
    }
    control
}

/// A tool loop is under way whose calls came without thinking, and no turn has any. If one has, thinking must stay on.
fn has_lost_thinking(turns: &[Turn]) -> bool {
    let is_loop = turns.last().is_some_and(|turn| turn.role == Role::User && turn.parts.iter().any(Part::is_tool_result));
    is_loop && !turns.iter().any(|turn| turn.parts.iter().any(is_signed))
}

/// As little thinking as the model allows.
fn without(wanted: &ReasoningControl, model: AnthropicModel, loss: &mut LossReport) -> Control {
    if model.thinking == Thinking::Budget {
        // Off unless asked for.
        return Control::default();
    }
    if model.can_disable {
        // Without thinking the highest efforts are refused.
        let effort =
            wanted.effort.filter(|effort| *effort != Effort::None).map(|effort| clamp(effort, model, loss).min(Effort::High));
        return Control { thinking: Some(ThinkingConfig { kind: "disabled".into(), ..ThinkingConfig::default() }), effort };
    }
    loss.approximated("reasoning", "this model always thinks: lowest effort");
    let thinking = model.between_tools.then(|| ThinkingConfig { kind: "between_tools".into(), ..ThinkingConfig::default() });
    Control { thinking, effort: Some(Effort::Low) }
}

fn budgeted(budget: u64, max_tokens: u64, loss: &mut LossReport) -> Option<ThinkingConfig> {
    if max_tokens <= MIN_BUDGET {
        loss.dropped("reasoning", "max_tokens leaves no room for a thinking budget");
        return None;
    }
    let fitting = budget.clamp(MIN_BUDGET, max_tokens - 1);
    if fitting != budget {
        loss.approximated("reasoning", "the thinking budget was fitted between 1024 and max_tokens");
    }
    Some(ThinkingConfig { kind: "enabled".into(), budget_tokens: Some(fitting), ..ThinkingConfig::default() })
}

fn clamp(effort: Effort, model: AnthropicModel, loss: &mut LossReport) -> Effort {
    let top = model.top_effort.unwrap_or(Effort::High);
    let fitting = match effort {
        Effort::None | Effort::Minimal => Effort::Low,
        Effort::XHigh if !model.xhigh => Effort::High,
        effort => effort.min(top),
    };
    if fitting != effort {
        loss.approximated("reasoning", format!("effort {} is not known to this model: {}", effort.as_str(), fitting.as_str()));
    }
    fitting
}

fn budget_of(effort: Effort) -> u64 {
    match effort {
        Effort::None | Effort::Minimal => MIN_BUDGET,
        Effort::Low => 2_048,
        Effort::Medium => 8_192,
        Effort::High => 16_384,
        Effort::XHigh => 24_576,
        Effort::Max => 32_000,
    }
}

fn effort_of(budget: u64) -> Effort {
    match budget {
        0..4_096 => Effort::Low,
        4_096..16_384 => Effort::Medium,
        16_384..24_576 => Effort::High,
        _ => Effort::XHigh,
    }
}
