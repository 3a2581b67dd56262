//! How much output a hard budget leaves a request.

use tallygate_adapter::{Plain, Weight, least_output};
use tallygate_billing::Unpriced;
use tallygate_types::Pico;

use super::Question;
use crate::path::Operation;
use crate::routing::Tariffs;

/// What each answer to a request may have at most, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputCap {
    pub each: u64,
    /// The client gave no bound, or a higher one.
    pub is_news: bool,
}

/// Of a hard budget, what one request that names no bound may have set aside for it: a hundredth.
const UNBOUNDED_SHARE: i128 = 100;
/// Enough for the longest answers that models give unasked. In tokens.
const MAX_UNBOUNDED_OUTPUT_TOKENS: u64 = 32_768;

/// The request with the bound it gets for naming none, where a hard budget would have it bounded: as much output as a small part of
/// the `smallest` covers, so that an answer is not cut short for nothing, and never less than is assumed elsewhere.
pub fn unbounded(question: &Question, tariffs: &Tariffs, weight: Weight, smallest: impl FnOnce() -> Option<Pico>) -> Weight {
    // Budgets are looked through for the few only that name no bound.
    if question.peek.max_output_tokens.is_some() || !can_be_bounded(question) {
        return weight;
    }
    let Some(amount) = smallest() else { return weight };
    let Weight { input, input_at_most, output, output_at_most: assumed, .. } = weight;
    let part = Pico::new(amount.get() / UNBOUNDED_SHARE);
    let covered = tariffs.at_least(|price| price.prices.output_within(input, input_at_most, output, part)).unwrap_or(0);
    let answers = answers(question);
    let each = (covered / answers).min(MAX_UNBOUNDED_OUTPUT_TOKENS);
    Weight { output_at_most: each.saturating_mul(answers).max(assumed), ..weight }
}

/// What a request may cost. Which target answers is not known yet: the dearest that may.
pub fn at_most(tariffs: &Tariffs, weight: &Weight) -> Result<Pico, Unpriced> {
    tariffs.at_most(|price| price.reservation_for(weight.input, weight.input_at_most, weight.output, weight.output_at_most))
}

/// The request with as much output as `left` covers, and what that may cost; `None` if that is too little to be of use, or the
/// output cannot be bounded.
pub fn within(question: &Question, weight: &Weight, left: Pico) -> Option<(Weight, Pico)> {
    if !can_be_bounded(question) {
        return None;
    }
    let Weight { input, input_at_most, output, output_at_most, .. } = *weight;
    let (tariffs, answers) = (&question.way.tariffs, answers(question));
    let covered = tariffs.at_least(|price| price.prices.output_within(input, input_at_most, output, left)).ok()?;
    let each = covered / answers;
    let cheaper = Weight { output_at_most: each.saturating_mul(answers), ..weight.clone() };
    if cheaper.output_at_most >= output_at_most || each < least_output(question.endpoint.dialect, &question.body) {
        return None;
    }
    let reserved = at_most(tariffs, &cheaper).ok()?;
    Some((cheaper, reserved))
}

/// The bound that the upstream must be told, if the client's own does not say it.
pub fn of(question: &Question, weight: &Weight, is_cut: bool) -> Option<OutputCap> {
    let peek = &question.peek;
    let is_news = is_cut || peek.max_output_tokens.is_none();
    let is_needed = is_news || !peek.is_bounded_once;
    (is_needed && can_be_bounded(question)).then(|| OutputCap { each: weight.output_at_most / answers(question), is_news })
}

fn answers(question: &Question) -> u64 {
    u64::from(question.peek.candidates.max(1))
}

/// Whether the request has a field for it.
const fn can_be_bounded(question: &Question) -> bool {
    match question.endpoint.operation {
        Operation::ChatCompletions | Operation::Responses | Operation::Messages | Operation::Generate { .. } => true,
        Operation::Plain(plain) => matches!(plain, Plain::Completions),
        _ => false,
    }
}
