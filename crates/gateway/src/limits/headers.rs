//! A tenant's own limits in the header names its SDK knows.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tallygate_types::{Dialect, Timestamp};

use super::Levels;
use crate::short::Short;

type Pair = (HeaderName, HeaderValue);

/// Three names: limit, remaining, reset.
type Names = [HeaderName; 3];

/// Of requests and of tokens.
static OPENAI: [Names; 2] = [
    [
        HeaderName::from_static("x-ratelimit-limit-requests"),
        HeaderName::from_static("x-ratelimit-remaining-requests"),
        HeaderName::from_static("x-ratelimit-reset-requests"),
    ],
    [
        HeaderName::from_static("x-ratelimit-limit-tokens"),
        HeaderName::from_static("x-ratelimit-remaining-tokens"),
        HeaderName::from_static("x-ratelimit-reset-tokens"),
    ],
];
static ANTHROPIC: [Names; 2] = [
    [
        HeaderName::from_static("anthropic-ratelimit-requests-limit"),
        HeaderName::from_static("anthropic-ratelimit-requests-remaining"),
        HeaderName::from_static("anthropic-ratelimit-requests-reset"),
    ],
    [
        HeaderName::from_static("anthropic-ratelimit-tokens-limit"),
        HeaderName::from_static("anthropic-ratelimit-tokens-remaining"),
        HeaderName::from_static("anthropic-ratelimit-tokens-reset"),
    ],
];

/// The headers for `levels`; Gemini's clients get OpenAI's names, Google having none.
pub fn rate_headers(dialect: Dialect, levels: &Levels, now: Timestamp) -> Vec<Pair> {
    let mut headers = Vec::new();
    each(dialect, levels, now, |name, value| headers.push((name, value)));
    headers
}

/// Puts the same where a response's headers are.
pub fn put_rate_headers(headers: &mut HeaderMap, dialect: Dialect, levels: &Levels, now: Timestamp) {
    each(dialect, levels, now, |name, value| {
        headers.insert(name, value);
    });
}

fn each(dialect: Dialect, levels: &Levels, now: Timestamp, mut put: impl FnMut(HeaderName, HeaderValue)) {
    let families = if dialect == Dialect::Anthropic { &ANTHROPIC } else { &OPENAI };
    let mut say = |name: &HeaderName, text: &Short| {
        if let Some(value) = text.value() {
            put(name.clone(), value);
        }
    };
    for (level, [limit, remaining, reset]) in [&levels.requests, &levels.tokens].into_iter().zip(families) {
        let Some(level) = level else { continue };
        say(limit, &Short::of(level.limit));
        say(remaining, &Short::of(level.remaining));
        match dialect {
            Dialect::Anthropic => say(reset, &time_text(now.saturating_add(level.reset))),
            _ => say(reset, &duration_text(level.reset)),
        }
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
    use crate::limits::Level;

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
