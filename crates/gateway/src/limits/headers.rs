//! A tenant's own limits in the header names its SDK knows.

use http::{HeaderName, HeaderValue};
use tallygate_types::{Dialect, Timestamp};

use super::{Level, Levels};

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
    let mut headers = Vec::new();
    let families = match dialect {
        Dialect::Anthropic => [(levels.requests, ANTHROPIC_REQUESTS), (levels.tokens, ANTHROPIC_TOKENS)],
        _ => [(levels.requests, OPENAI_REQUESTS), (levels.tokens, OPENAI_TOKENS)],
    };
    for (level, [limit, remaining, reset]) in families {
        let Some(level) = level else { continue };
        let until = match dialect {
            Dialect::Anthropic => now.saturating_add(level.reset).to_string(),
            _ => duration_text(&level),
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
fn duration_text(level: &Level) -> String {
    let millis = level.reset.as_millis();
    let (seconds, rest) = (millis / 1_000, millis % 1_000);
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0) => format!("{rest}ms"),
        (0, 0, seconds) if rest > 0 => format!("{seconds}.{rest:03}s"),
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds}s"),
        (hours, minutes, seconds) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
