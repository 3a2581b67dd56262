//! A tenant's own limits in the header names its SDK knows.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tallygate_types::{Dialect, Timestamp};

use super::{Level, Levels};
use crate::short::Short;

/// What is told: of requests and of tokens the limit, what remains of it, and when it is whole again.
const TOLD: usize = 6;

static OPENAI: [HeaderName; TOLD] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];
static ANTHROPIC: [HeaderName; TOLD] = [
    HeaderName::from_static("anthropic-ratelimit-requests-limit"),
    HeaderName::from_static("anthropic-ratelimit-requests-remaining"),
    HeaderName::from_static("anthropic-ratelimit-requests-reset"),
    HeaderName::from_static("anthropic-ratelimit-tokens-limit"),
    HeaderName::from_static("anthropic-ratelimit-tokens-remaining"),
    HeaderName::from_static("anthropic-ratelimit-tokens-reset"),
];

/// The names for [`rate_values`]; Gemini's clients get OpenAI's, Google having none.
pub fn rate_names(dialect: Dialect) -> &'static [HeaderName; TOLD] {
    if dialect == Dialect::Anthropic { &ANTHROPIC } else { &OPENAI }
}

/// What `levels` say, in the order of [`rate_names`].
pub fn rate_values(dialect: Dialect, levels: &Levels, now: Timestamp) -> [Option<HeaderValue>; TOLD] {
    let said = |level: &Option<Level>| {
        let Some(level) = level else { return [None, None, None] };
        let reset = match dialect {
            Dialect::Anthropic => time_text(now.saturating_add(level.reset)),
            _ => duration_text(level.reset),
        };
        [Short::of(level.limit).value(), Short::of(level.remaining).value(), reset.value()]
    };
    let mut values = [&levels.requests, &levels.tokens].into_iter().flat_map(said);
    std::array::from_fn(|_| values.next().flatten())
}

/// The headers for `levels`.
pub fn rate_headers(dialect: Dialect, levels: &Levels, now: Timestamp) -> Vec<(HeaderName, HeaderValue)> {
    let values = rate_values(dialect, levels, now);
    rate_names(dialect).iter().zip(values).filter_map(|(name, value)| Some((name.clone(), value?))).collect()
}

/// Puts the same where a response's headers are.
pub fn put_rate_headers(headers: &mut HeaderMap, dialect: Dialect, levels: &Levels, now: Timestamp) {
    for (name, value) in rate_headers(dialect, levels, now) {
        headers.insert(name, value);
    }
}

fn time_text(at: Timestamp) -> Short {
    let mut text = Short::new();
    // A short text takes everything.
    let _ = write!(text, "{at}");
    text
}

/// OpenAI writes a duration as Go does: `1h2m3s`, `6m0s`, `1.5s` or `12ms`.
fn duration_text(duration: Duration) -> Short {
    let (seconds, millis) = (duration.as_secs(), u64::from(duration.subsec_millis()));
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => Short::of(millis).text("ms"),
        (0, 0, seconds) if millis > 0 => Short::of(seconds).text(".").padded(millis, 3).text("s"),
        (0, 0, seconds) => Short::of(seconds).text("s"),
        (0, minutes, seconds) => Short::of(minutes).text("m").number(seconds).text("s"),
        (hours, minutes, seconds) => Short::of(hours).text("h").number(minutes).text("m").number(seconds).text("s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(dialect: Dialect, reset: Duration) -> Vec<String> {
        let levels = Levels { requests: Some(Level { limit: 60, remaining: 59, reset }), tokens: None };
        let headers = rate_headers(dialect, &levels, Timestamp::UNIX_EPOCH);
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn case_a86_each_sdk_reads_its_own_names_and_times() {
        assert_eq!(
            shown(Dialect::OpenaiChat, Duration::from_millis(1_500)),
            ["x-ratelimit-limit-requests: 60", "x-ratelimit-remaining-requests: 59", "x-ratelimit-reset-requests: 1.500s"]
        );
        assert_eq!(
            shown(Dialect::Anthropic, Duration::from_secs(30)),
            [
                "anthropic-ratelimit-requests-limit: 60",
                "anthropic-ratelimit-requests-remaining: 59",
                "anthropic-ratelimit-requests-reset: 1970-01-01T00:00:30.000000Z",
            ]
        );
        for (millis, text) in [(12, "12ms"), (1_000, "1s"), (60_000, "1m0s"), (360_500, "6m0s"), (3_723_000, "1h2m3s")] {
            assert!(shown(Dialect::OpenaiResponses, Duration::from_millis(millis))[2].ends_with(&format!(": {text}")));
        }
    }
}
