//! Times as vendors write them in headers.

use std::time::Duration;

use http::{HeaderMap, header};
use tallygate_types::Timestamp;

/// An instant: RFC 3339 (Anthropic's resets), or the date of HTTP.
pub fn instant(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).or_else(|| Timestamp::parse_http_date(text))
}

/// How long an answer says to wait: `retry-after-ms`, or `retry-after` in seconds or as a date. Zero is a word too.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let seconds = |text: &str, unit: f64| {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)?;
        Duration::try_from_secs_f64(number * unit).ok()
    };
    // Azure sends zero milliseconds beside the true seconds.
    let millis = text("retry-after-ms").and_then(|text| seconds(text, 1e-3));
    let after =
        text(header::RETRY_AFTER.as_str()).and_then(|text| seconds(text, 1.0).or_else(|| instant(text).map(|at| at.since(now))));
    match (millis, after) {
        (Some(millis), Some(after)) if millis.is_zero() => Some(after),
        (millis, after) => millis.or(after),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn waits_are_read_as_numbers_and_as_dates() {
        let now = Timestamp::parse("2026-11-23T10:00:00Z").unwrap();
        for (headers, millis) in [
            (&[("retry-after", "30")][..], Some(30_000)),
            (&[("retry-after", "0.5")], Some(500)),
            (&[("retry-after", "Mon, 23 Nov 2026 10:00:30 GMT")], Some(30_000)),
            (&[("retry-after", "Mon, 23 Nov 2026 09:00:00 GMT")], Some(0)),
            (&[("retry-after", "2026-11-23T10:01:00Z")], Some(60_000)),
            (&[("retry-after-ms", "1500"), ("retry-after", "2")], Some(1_500)),
            // As recorded from Azure.
            (&[("retry-after-ms", "0"), ("retry-after", "1")], Some(1_000)),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "-3")], None),
            (&[("retry-after", "1e300")], None),
            (&[], None),
        ] {
            let map = headers
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            assert_eq!(retry_after(&map, now), millis.map(Duration::from_millis), "{headers:?}");
        }
    }
}
