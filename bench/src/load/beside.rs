//! An open loop beside the one that is measured: one key that asks for far more than it may.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::wire::Questions;
use super::{Beside, Options, Outcome, Span, open};
use crate::traffic::question;

/// Enough for refusals that are answered at once.
const CONNECTIONS: usize = 16;

/// Runs both at the same time. The outcome is that of `measured`, with what became of the other in it.
pub fn run(options: &Options, key: &Path, span: Span, measured: impl FnOnce() -> Result<Outcome>) -> Result<Outcome> {
    let key = std::fs::read_to_string(key).with_context(|| format!("{}", key.display()))?;
    let body = question(&options.model, options.kind, options.prompt);
    let questions = Questions::new(options.target, vec![key], body, options.kind).that_may_be_refused();
    std::thread::scope(|scope| {
        let greedy = scope.spawn(|| open::run(options.target, &questions, CONNECTIONS, options.beside_rate, span));
        let mut outcome = measured()?;
        let greedy = greedy.join().map_err(|_| anyhow::anyhow!("the load beside panicked"))??;
        outcome.beside = Beside { answers: greedy.answers, refused: greedy.beside.refused };
        outcome.errors += greedy.errors;
        outcome.first_error = outcome.first_error.or(greedy.first_error);
        Ok(outcome)
    })
}
