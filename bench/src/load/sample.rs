//! What is collected on the way, exactly: a run has some hundred thousand values, so nothing needs to be approximated.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Beside, Outcome, Span};

/// In microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Percentiles {
    fn of(mut nanos: Vec<u64>) -> Self {
        nanos.sort_unstable();
        let Some(last) = nanos.len().checked_sub(1) else { return Self::default() };
        // The smallest value that the given share of all values does not exceed.
        let at = |per_mille: usize| nanos[((last + 1) * per_mille).div_ceil(1000).saturating_sub(1)] as f64 / 1e3;
        Self { p50: at(500), p90: at(900), p99: at(990), p999: at(999), max: at(1000) }
    }
}

/// What one connection saw.
#[derive(Debug, Default)]
pub struct Sample {
    pub answers: u64,
    pub pieces: u64,
    pub errors: u64,
    pub refused: u64,
    pub first_error: Option<String>,
    pub answers_in_window: u64,
    pub pieces_in_window: u64,
    pub latency: Vec<u64>,
    pub first_text: Vec<u64>,
}

impl Sample {
    pub fn failed(&mut self, why: impl std::fmt::Display) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| why.to_string());
    }

    pub fn answered(&mut self, span: Span, asked: Duration, ended: Duration, pieces: u64) {
        self.answers += 1;
        self.pieces += pieces;
        self.answers_in_window += u64::from(span.covers(ended));
        if span.covers(asked) {
            self.latency.push(nanos(ended.saturating_sub(asked)));
        }
    }

    pub fn text_began(&mut self, span: Span, asked: Duration, at: Duration) {
        if span.covers(asked) {
            self.first_text.push(nanos(at.saturating_sub(asked)));
        }
    }

    pub fn sum(samples: impl IntoIterator<Item = Self>, span: Span) -> Outcome {
        let mut all = Self::default();
        for sample in samples {
            all.answers += sample.answers;
            all.pieces += sample.pieces;
            all.errors += sample.errors;
            all.refused += sample.refused;
            all.first_error = all.first_error.or(sample.first_error);
            all.answers_in_window += sample.answers_in_window;
            all.pieces_in_window += sample.pieces_in_window;
            all.latency.extend(sample.latency);
            all.first_text.extend(sample.first_text);
        }
        let seconds = span.window.as_secs_f64().max(f64::MIN_POSITIVE);
        Outcome {
            answers: all.answers,
            pieces: all.pieces,
            errors: all.errors,
            first_error: all.first_error,
            answers_per_second: all.answers_in_window as f64 / seconds,
            pieces_per_second: all.pieces_in_window as f64 / seconds,
            latency: Percentiles::of(all.latency),
            first_text: Percentiles::of(all.first_text),
            beside: Beside { answers: 0, refused: all.refused },
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let found = Percentiles::of((1..=1000).rev().map(|micros| micros * 1000).collect());
        assert_eq!(found, Percentiles { p50: 500.0, p90: 900.0, p99: 990.0, p999: 999.0, max: 1000.0 });
        assert_eq!(Percentiles::of(vec![7000]), Percentiles { p50: 7.0, p90: 7.0, p99: 7.0, p999: 7.0, max: 7.0 });
        assert_eq!(Percentiles::of(Vec::new()), Percentiles::default());
    }
}
