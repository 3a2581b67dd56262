//! What a vendor's limit headers say is left of a credential: shaping ahead of refusal.
//!
//! | vendor | headers | reset |
//! |---|---|---|
//! | OpenAI and what is compatible (Groq, xAI, Moonshot, …) | `x-ratelimit-remaining-{requests,tokens}` | `x-ratelimit-reset-*`: Go duration, or seconds |
//! | Azure OpenAI | the same names, mostly without a reset | taken to be [`DEFAULT_RESET`] |
//! | OpenAI, per project | `x-ratelimit-remaining-project-tokens` | `x-ratelimit-reset-project-tokens` |
//! | Anthropic | `anthropic-ratelimit-{requests,tokens,input-tokens}-remaining` | `-reset`: RFC 3339 |
//! | OpenRouter and others | `x-ratelimit-remaining` | `x-ratelimit-reset`: seconds, or milliseconds since the epoch |

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use http::HeaderMap;
use tallygate_adapter::parse_duration;
use tallygate_types::Timestamp;

use super::time_text::instant;

/// Where a vendor says what is left and not for how long: its limits are per minute.
const DEFAULT_RESET: Duration = Duration::from_mins(1);
/// A reset later than this is not believed.
const MAX_RESET: Duration = Duration::from_hours(24);
/// Numbers from here on are milliseconds since the epoch and no seconds to wait.
const EPOCH_MILLIS_FROM: f64 = 1e12;
/// The same for seconds since the epoch.
const EPOCH_SECONDS_FROM: f64 = 1e9;
const UNKNOWN: i64 = -1;

/// One dimension of what is left.
#[derive(Debug)]
pub struct Left {
    left: AtomicI64,
    /// Microseconds since the epoch; from then on nothing is known.
    reset: AtomicI64,
}

/// What is left of requests and tokens.
#[derive(Debug, Default)]
pub struct Told {
    pub requests: Left,
    pub tokens: Left,
}

/// Of all names below.
const PREFIXES: [&str; 2] = ["x-ratelimit-", "anthropic-ratelimit-"];
const REQUESTS: [(&str, &str); 3] = [
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
];
const TOKENS: [(&str, &str); 4] = [
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("x-ratelimit-remaining-project-tokens", "x-ratelimit-reset-project-tokens"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
];

impl Told {
    pub fn read(&self, headers: &HeaderMap, now: Timestamp) {
        // Most upstreams say nothing, and a look at all there is costs less than one for each name.
        if !headers.keys().any(|name| PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix))) {
            return;
        }
        self.requests.read(headers, &REQUESTS, now);
        self.tokens.read(headers, &TOKENS, now);
    }
}

impl Left {
    /// What is left, while the vendor's word holds.
    pub fn get(&self, now: Timestamp) -> Option<(u64, Timestamp)> {
        let left = u64::try_from(self.left.load(Ordering::Relaxed)).ok()?;
        let reset = Timestamp::from_micros(self.reset.load(Ordering::Relaxed));
        (now < reset).then_some((left, reset))
    }

    /// When `needed` units on top of `under_way`, which the vendor has not counted yet, can be had, if not now.
    pub fn short_until(&self, needed: u64, under_way: u64, now: Timestamp) -> Option<Timestamp> {
        let (left, reset) = self.get(now)?;
        (needed.saturating_add(under_way) > left).then_some(reset)
    }

    /// The scarcest of what the vendor tells.
    fn read(&self, headers: &HeaderMap, names: &[(&str, &str)], now: Timestamp) {
        let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
        let told = names.iter().filter_map(|(left, reset)| {
            let left = text(left)?.parse::<f64>().ok().filter(|left| left.is_finite())?;
            let reset = text(reset).and_then(|reset| reset_at(reset, now)).unwrap_or_else(|| now.saturating_add(DEFAULT_RESET));
            Some((left.max(0.0) as i64, reset.min(now.saturating_add(MAX_RESET))))
        });
        if let Some((left, reset)) = told.min_by_key(|(left, _)| *left) {
            self.reset.store(reset.micros(), Ordering::Relaxed);
            self.left.store(left, Ordering::Relaxed);
        }
    }
}

impl Default for Left {
    fn default() -> Self {
        Self { left: AtomicI64::new(UNKNOWN), reset: AtomicI64::new(0) }
    }
}

/// A duration, a number of seconds, a moment since the epoch, or a date.
fn reset_at(text: &str, now: Timestamp) -> Option<Timestamp> {
    match text.parse::<f64>() {
        Ok(number) if number >= EPOCH_MILLIS_FROM => Some(Timestamp::from_micros((number * 1e3) as i64)),
        Ok(number) if number >= EPOCH_SECONDS_FROM => Some(Timestamp::from_micros((number * 1e6) as i64)),
        _ => parse_duration(text).map(|wait| now.saturating_add(wait)).or_else(|| instant(text)),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_755_780_000_000_000);

    fn told(headers: &[(&'static str, &str)]) -> Told {
        let told = Told::default();
        let headers =
            headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        told.read(&headers.collect(), NOW);
        told
    }

    fn seen(left: &Left) -> Option<(u64, i64)> {
        left.get(NOW).map(|(left, reset)| (left, (reset.micros() - NOW.micros()) / 1_000))
    }

    #[test]
    fn each_vendors_words_are_read() {
        for (headers, requests, tokens) in [
            // As recorded from OpenAI.
            (
                &[
                    ("x-ratelimit-limit-requests", "500"),
                    ("x-ratelimit-remaining-requests", "499"),
                    ("x-ratelimit-remaining-tokens", "199998"),
                    ("x-ratelimit-reset-requests", "120ms"),
                    ("x-ratelimit-reset-tokens", "6m0s"),
                ][..],
                Some((499, 120)),
                Some((199_998, 360_000)),
            ),
            (
                &[
                    ("x-ratelimit-remaining-tokens", "900"),
                    ("x-ratelimit-reset-tokens", "1s"),
                    ("x-ratelimit-remaining-project-tokens", "5"),
                    ("x-ratelimit-reset-project-tokens", "2s"),
                ],
                None,
                Some((5, 2_000)),
            ),
            (
                &[
                    ("anthropic-ratelimit-requests-remaining", "3"),
                    ("anthropic-ratelimit-requests-reset", "2025-08-21T12:40:59Z"),
                    ("anthropic-ratelimit-tokens-remaining", "12000"),
                    ("anthropic-ratelimit-tokens-reset", "2025-08-21T12:40:05Z"),
                    ("anthropic-ratelimit-input-tokens-remaining", "7000"),
                    ("anthropic-ratelimit-input-tokens-reset", "2025-08-21T12:40:03Z"),
                ],
                Some((3, 59_000)),
                Some((7_000, 3_000)),
            ),
            // Azure says no reset.
            (
                &[("x-ratelimit-remaining-requests", "1"), ("x-ratelimit-remaining-tokens", "2")],
                Some((1, 60_000)),
                Some((2, 60_000)),
            ),
            (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1755780007000")], Some((0, 7_000)), None),
            (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1755780009")], Some((0, 9_000)), None),
            (&[("x-ratelimit-remaining-requests", "many"), ("x-ratelimit-remaining-tokens", "NaN")], None, None),
            (&[("content-type", "application/json")], None, None),
        ] {
            let told = told(headers);
            assert_eq!((seen(&told.requests), seen(&told.tokens)), (requests, tokens), "{headers:?}");
        }
    }

    #[test]
    fn what_does_not_cover_the_need_is_short_until_its_reset() {
        let told = told(&[("x-ratelimit-remaining-tokens", "1000"), ("x-ratelimit-reset-tokens", "5s")]);
        let reset = NOW.saturating_add(Duration::from_secs(5));
        assert_eq!(told.tokens.short_until(1_000, 0, NOW), None);
        assert_eq!(told.tokens.short_until(1_001, 0, NOW), Some(reset));
        assert_eq!(told.tokens.short_until(600, 600, NOW), Some(reset), "others are under way");
        assert_eq!(told.tokens.short_until(9_000, 0, reset), None, "from the reset on nothing is known");
        assert_eq!(told.requests.short_until(1, 50, NOW), None);
    }
}
