//! Sums over a span of time: whole hours come from the rollups, the minutes at its edges from the records themselves. Some
//! zones are half an hour or a quarter off UTC, so a month need not begin with an hour of the rollups.

use tallygate_types::Timestamp;

const HOUR_US: i64 = 3_600_000_000;

/// A half-open stretch of time.
pub type Stretch = (Timestamp, Timestamp);

#[derive(Debug, PartialEq, Eq)]
pub struct Span {
    pub hours: Option<Stretch>,
    pub edges: Vec<Stretch>,
}

/// The start of the UTC hour `at` falls in.
pub fn hour_of(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.micros() - at.micros().rem_euclid(HOUR_US))
}

impl Span {
    pub fn new(from: Timestamp, to: Timestamp) -> Self {
        if from >= to {
            return Self { hours: None, edges: Vec::new() };
        }
        let floor = hour_of(from);
        let first = if floor == from { from } else { Timestamp::from_micros(floor.micros().saturating_add(HOUR_US)) };
        let last = hour_of(to);
        if first >= last {
            return Self { hours: None, edges: vec![(from, to)] };
        }
        let edges = [(from, first), (last, to)].into_iter().filter(|(a, b)| a < b).collect();
        Self { hours: Some((first, last)), edges }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_micros(minutes * 60_000_000)
    }

    #[test]
    fn a_span_splits_into_whole_hours_and_edges() {
        let span = |from, to| Span::new(at(from), at(to));
        assert_eq!(span(60, 180), Span { hours: Some((at(60), at(180))), edges: vec![] });
        assert_eq!(span(30, 150), Span { hours: Some((at(60), at(120))), edges: vec![(at(30), at(60)), (at(120), at(150))] });
        assert_eq!(span(10, 50), Span { hours: None, edges: vec![(at(10), at(50))] });
        assert_eq!(span(30, 90), Span { hours: None, edges: vec![(at(30), at(90))] });
        assert_eq!(span(5, 5), Span { hours: None, edges: vec![] });
        assert_eq!(hour_of(at(-1)), at(-60));
    }
}
