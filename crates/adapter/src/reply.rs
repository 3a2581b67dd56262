//! What the error answers of all dialects share.

use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::{EncodedError, ErrorReply, FailureClass};

/// Longest excerpt of a body that is not an error object, in bytes.
const EXCERPT_BYTES: usize = 300;
/// A wait of nothing is taken for none, and for a client's own guess of a longer one.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// A JSON answer with the retry headers both SDK families obey.
pub(crate) fn json(status: u16, error: &ErrorReply, body: &Value) -> EncodedError {
    let mut headers = vec![("content-type", "application/json".to_owned())];
    if let Some(wait) = error.retry_after.map(|wait| wait.max(SHORTEST_WAIT)) {
        headers.push(("retry-after", wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).to_string()));
        headers.push(("retry-after-ms", wait.as_millis().to_string()));
    }
    if let Some(retry) = error.should_retry {
        headers.push(("x-should-retry", retry.to_string()));
    }
    EncodedError { status, headers, body: body.to_string().into() }
}

/// The `error.tallygate` object; only what is known is in it.
pub(crate) fn details(error: &ErrorReply) -> Value {
    let mut object = json!({"request_id": error.request_id});
    if let Some(details) = &error.details {
        object["reason"] = details.reason.clone().into();
        let mut put = |field: &str, value: Option<Value>| {
            if let Some(value) = value {
                object[field] = value;
            }
        };
        put("scope", details.scope.clone().map(Value::from));
        put("subject", details.subject.clone().map(Value::from));
        put("dimension", details.dimension.clone().map(Value::from));
        put("limit", details.limit.clone().map(Value::from));
        put("used", details.used.clone().map(Value::from));
        put("resets_at", details.resets_at.map(|at| at.to_string().into()));
        put("attempts", details.attempts.map(Value::from));
    }
    object
}

/// The class of a status that no code explains.
pub(crate) fn class_of(status: u16) -> FailureClass {
    match status {
        401 => FailureClass::Auth,
        402 => FailureClass::QuotaExhausted,
        403 => FailureClass::Permission,
        404 | 405 => FailureClass::NotFound,
        408 | 504 => FailureClass::Timeout,
        429 => FailureClass::RateLimited,
        503 | 529 => FailureClass::Overloaded,
        400..=499 => FailureClass::BadRequest,
        _ => FailureClass::Server,
    }
}

/// The status an error inside a 200 stream stands for.
pub(crate) fn status_of(class: FailureClass) -> u16 {
    match class {
        FailureClass::BadRequest | FailureClass::ContextTooLong | FailureClass::Signature => 400,
        FailureClass::NotFound => 404,
        FailureClass::Auth => 401,
        FailureClass::Permission => 403,
        FailureClass::RateLimited | FailureClass::QuotaExhausted => 429,
        FailureClass::Overloaded => 503,
        FailureClass::Timeout => 504,
        FailureClass::Server => 500,
    }
}

/// What vendors write when the input is longer than the context window.
pub(crate) fn is_context_overflow(message: &str) -> bool {
    const TEXTS: &[&str] = &[
        "prompt is too long",
        "maximum context length",
        "context window",
        "context length",
        "exceeds the maximum number of tokens",
        "input token count",
        "too many tokens",
    ];
    let message = message.to_ascii_lowercase();
    TEXTS.iter().any(|text| message.contains(text))
}

/// What vendors write when a signature of the earlier reasoning is refused, or missing where they want one.
pub(crate) fn is_signature_refusal(message: &str) -> bool {
    const TEXTS: &[&str] = &[
        "invalid `signature`",
        "invalid signature",
        "invalid `data` in `redacted_thinking`",
        "blocks in the latest assistant message cannot be modified",
        "blocks cannot be modified",
        "bound to a different conversation",
        "expected `thinking` or `redacted_thinking`",
        "thought signature",
        "thought_signature",
        "thoughtsignature",
    ];
    let message = message.to_ascii_lowercase();
    TEXTS.iter().any(|text| message.contains(text))
}

/// The wait in texts like "Please try again in 1m6.5s", "retry in 20ms" or "retry after 26 seconds".
pub(crate) fn wait_in(message: &str) -> Option<Duration> {
    const LEADS: [&str; 4] = ["again in ", "retry in ", "retry after ", "again after "];
    let message = message.to_ascii_lowercase();
    let at = LEADS.iter().find_map(|lead| message.find(lead).map(|at| at + lead.len()))?;
    let mut words = message[at..].split_whitespace();
    let number = parse_duration(words.next()?.trim_end_matches(['.', ',', ')']))?;
    Some(match words.next() {
        Some(unit) if unit.starts_with("minute") => number * 60,
        Some(unit) if unit.starts_with("hour") => number * 3_600,
        _ => number,
    })
}

/// Go's durations (`1h2m3.5s`, `20ms`) and bare seconds, as vendors write waits and resets. Longest accepted: a day.
pub fn parse_duration(text: &str) -> Option<Duration> {
    const MAX_SECONDS: f64 = 86_400.0;
    let mut seconds = 0.0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" | "" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (0.0..=MAX_SECONDS).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// The beginning of a body that is no JSON, as text.
pub(crate) fn excerpt(body: &[u8], status: u16) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(EXCERPT_BYTES)]);
    let text = text.trim();
    if text.is_empty() { format!("status {status} without a body") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_a87_durations_of_headers_and_texts_parse_and_garbage_does_not() {
        for (text, millis) in [("20ms", 20), ("1h2m3.5s", 3_723_500), ("6m0s", 360_000), ("0s", 0), ("7", 7_000)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "x", "1x", "s", "-1s", "99999999h", "1..2s", "6m 0s", "2025-08-21T12:40:59Z"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        for (text, millis) in [
            ("Limit reached, please try again in 1.2s. Visit", Some(1_200)),
            ("Please retry after 26 seconds.", Some(26_000)),
            ("please try again after 1 seconds", Some(1_000)),
            ("Please try again in 2 minutes.", Some(120_000)),
            ("Please try again in 8m38s.", Some(518_000)),
            ("Please try again later.", None),
        ] {
            assert_eq!(wait_in(text), millis.map(Duration::from_millis), "{text}");
        }
    }
}
