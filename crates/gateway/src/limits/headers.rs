//! A tenant's own limits in the header names its SDK knows.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tallygate_types::{Dialect, Timestamp};

use super::Levels;

type Pair = (HeaderName, HeaderValue);

/// Three names: limit, remaining, reset.
type Names = [HeaderName; 3];

const OPENAI_REQUESTS: Names = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const OPENAI_TOKENS: Names = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];
const ANTHROPIC_REQUESTS: Names = [
    HeaderName::from_static("anthropic-ratelimit-requests-limit"),
    HeaderName::from_static("anthropic-ratelimit-requests-remaining"),
    HeaderName::from_static("anthropic-ratelimit-requests-reset"),
];
const ANTHROPIC_TOKENS: Names = [
    HeaderName::from_static("anthropic-ratelimit-tokens-limit"),
    HeaderName::from_static("anthropic-ratelimit-tokens-remaining"),
    HeaderName::from_static("anthropic-ratelimit-tokens-reset"),
];

/// The headers for `levels`; Gemini's clients get OpenAI's names, Google having none.
pub fn rate_headers(dialect: Dialect, levels: &Levels, now: Timestamp) -> Vec<Pair> {
    let mut headers = Vec::with_capacity(6);
    let families = match dialect {
        Dialect::Anthropic => [(levels.requests, ANTHROPIC_REQUESTS), (levels.tokens, ANTHROPIC_TOKENS)],
        _ => [(levels.requests, OPENAI_REQUESTS), (levels.tokens, OPENAI_TOKENS)],
    };
    for (level, [limit, remaining, reset]) in families {
        let Some(level) = level else { continue };
        let until = match dialect {
            Dialect::Anthropic => now.saturating_add(level.reset).to_string(),
            _ => duration_text(level.reset),
        };
        headers.push((limit, HeaderValue::from(level.limit)));
        headers.push((remaining, HeaderValue::from(level.remaining)));
        if let Ok(until) = HeaderValue::try_from(until) {
            headers.push((reset, until));
        }
    }
    headers
}

/// OpenAI writes a duration as Go does: `1h2m3s`, `6m0s`, `1.5s` or `12ms`.
fn duration_text(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    let mut text = String::with_capacity(24);
    let mut put = |number: u64, unit: &str| {
        push(&mut text, number);
        text.push_str(unit);
    };
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => put(u64::from(millis), "ms"),
        (0, 0, seconds) if millis > 0 => {
            put(seconds, ".");
            put(u64::from(millis / 100), "");
            put(u64::from(millis / 10 % 10), "");
            put(u64::from(millis % 10), "s");
        }
        (0, 0, seconds) => put(seconds, "s"),
        (0, minutes, seconds) => {
            put(minutes, "m");
            put(seconds, "s");
        }
        (hours, minutes, seconds) => {
            put(hours, "h");
            put(minutes, "m");
            put(seconds, "s");
        }
    }
    text
}

/// The machinery of `format!` costs more than the digits.
fn push(text: &mut String, number: u64) {
    if number >= 10 {
        push(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
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
