//! Error bodies: `{"error":{"message","type","param","code"}}`, and what compatible servers send instead.

use std::time::Duration;

use serde_json::{Value, json};
use tallygate_types::Timestamp;

use super::taxonomy::ROWS;
use crate::failure::{EncodedError, ErrorKind, ErrorReply, FailureClass, FailureScope, Reset, UpstreamFailure};
use crate::gemini::error::of_value as gemini_error;
use crate::reply;
use crate::taxonomy::{self, Said};

/// How long an account rests whose traffic rose too fast, where nothing is said of waiting.
const SLOW_DOWN: Duration = Duration::from_secs(10);

pub(crate) fn encode(error: &ErrorReply) -> EncodedError {
    reply::json(status(error.kind), error, &object(error))
}

pub(super) fn status(kind: ErrorKind) -> u16 {
    match kind {
        ErrorKind::InvalidRequest => 400,
        ErrorKind::Authentication => 401,
        ErrorKind::Permission => 403,
        ErrorKind::NotFound => 404,
        ErrorKind::MethodNotAllowed => 405,
        ErrorKind::TooLarge => 413,
        ErrorKind::UnsupportedMediaType => 415,
        ErrorKind::RateLimited | ErrorKind::QuotaExceeded => 429,
        ErrorKind::UpstreamUnavailable => 503,
        ErrorKind::UpstreamTimeout => 504,
        ErrorKind::UpstreamInvalid => 502,
        ErrorKind::Internal => 500,
    }
}

/// The body, also sent as one `data:` line inside a stream.
pub(super) fn object(error: &ErrorReply) -> Value {
    let kind = match error.kind {
        ErrorKind::InvalidRequest
        | ErrorKind::Authentication
        | ErrorKind::NotFound
        | ErrorKind::MethodNotAllowed
        | ErrorKind::TooLarge
        | ErrorKind::UnsupportedMediaType => "invalid_request_error",
        ErrorKind::Permission => "permission_error",
        ErrorKind::RateLimited => "rate_limit_error",
        ErrorKind::QuotaExceeded => "insufficient_quota",
        ErrorKind::UpstreamUnavailable => "service_unavailable_error",
        ErrorKind::UpstreamTimeout | ErrorKind::UpstreamInvalid | ErrorKind::Internal => "server_error",
    };
    json!({"error": {
        "message": error.text(),
        "type": kind,
        "param": error.param,
        "code": (!error.code.is_empty()).then_some(error.code),
        "tallygate": reply::details(error),
    }})
}

/// Takes any bytes: the envelope, an `error` that is a string, `{"detail":…}`, `{"message":…}`, a one-element list, HTML, nothing.
pub(crate) fn decode(status: u16, body: &[u8]) -> UpstreamFailure {
    let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let value = match value {
        Value::Array(mut list) if !list.is_empty() => list.swap_remove(0),
        value => value,
    };
    if value.is_null() {
        let message = reply::excerpt(body, status);
        return failure(status, message, None, None, "");
    }
    from_error(status, value.get("error").unwrap_or(&value))
}

/// An `error` value, from a body or from inside a stream.
pub(crate) fn from_error(status: u16, error: &Value) -> UpstreamFailure {
    if error.get("status").is_some_and(Value::is_string) {
        // Google's own error, from its compatible endpoint: only its details tell a minute's quota from a day's.
        return gemini_error(status, error);
    }
    let text = |field: &str| error.get(field).and_then(Value::as_str).map(str::to_owned);
    let message = error
        .as_str()
        .map(str::to_owned)
        .or_else(|| text("message"))
        .or_else(|| text("detail"))
        .unwrap_or_else(|| reply::excerpt(error.to_string().as_bytes(), status));
    let number = error.get("code").and_then(Value::as_u64);
    let code = text("code").or_else(|| number.map(|code| code.to_string()));
    // In a 200 stream the status is what the code or type says.
    let status = match (status, number.and_then(|code| u16::try_from(code).ok())) {
        (200, Some(code)) if (400..600).contains(&code) => code,
        (status, _) => status,
    };
    let failure = failure(status, message, code, text("param"), text("type").as_deref().unwrap_or_default());
    let reset = resets_at(error).filter(|_| matches!(failure.class, FailureClass::QuotaExhausted | FailureClass::RateLimited));
    UpstreamFailure { reset: reset.or(failure.reset), ..failure }
}

/// `resets_at` (ChatGPT's plans: seconds), or the limit headers that OpenRouter puts into the body (milliseconds).
fn resets_at(error: &Value) -> Option<Reset> {
    let seconds = error.get("resets_at").and_then(Value::as_i64).and_then(|at| at.checked_mul(1_000_000));
    let millis = || {
        let reset = error.get("metadata")?.get("headers")?.get("X-RateLimit-Reset")?;
        let millis = reset.as_i64().or_else(|| reset.as_str()?.parse().ok())?;
        millis.checked_mul(1_000)
    };
    seconds.or_else(millis).map(|micros| Reset::At(Timestamp::from_micros(micros)))
}

fn failure(status: u16, message: String, code: Option<String>, param: Option<String>, kind: &str) -> UpstreamFailure {
    let said = Said { status, code: code.as_deref().unwrap_or_default(), kind, message: &message };
    let row = taxonomy::find(ROWS, &said);
    let class = row.map_or_else(|| class(&said), |row| row.class);
    let status = if status == 200 { reply::status_of(class) } else { status };
    let too_large = (class == FailureClass::RateLimited && is_too_large(&message)).then_some(Duration::ZERO);
    let asked_to_slow = (code.as_deref() == Some("slow_down")).then_some(SLOW_DOWN);
    let wait = too_large.or_else(|| reply::wait_in(&message)).or(asked_to_slow);
    let is_account = matches!(class, FailureClass::RateLimited | FailureClass::QuotaExhausted);
    UpstreamFailure {
        code,
        param,
        retry_after: wait.filter(|_| class == FailureClass::RateLimited),
        reset: taxonomy::date_in(&message).map(Reset::At).filter(|_| is_account),
        scope: row.map_or(FailureScope::Account, |row| row.scope),
        ..UpstreamFailure::new(class, status, message)
    }
}

/// Larger than the account's whole minute: no wait makes it fit, and smaller ones fit at once.
fn is_too_large(message: &str) -> bool {
    message.contains("Request too large for")
}

/// The class of an error that no row of the table knows.
fn class(said: &Said<'_>) -> FailureClass {
    match said.code {
        "context_length_exceeded" => return FailureClass::ContextTooLong,
        "invalid_encrypted_content" => return FailureClass::Signature,
        _ => {}
    }
    if matches!(said.status, 400 | 413 | 422) && reply::is_context_overflow(said.message) {
        return FailureClass::ContextTooLong;
    }
    match (said.status, said.kind) {
        (200, "rate_limit_error" | "tokens" | "requests") => FailureClass::RateLimited,
        (200, "invalid_request_error") => FailureClass::BadRequest,
        (200, "service_unavailable_error") => FailureClass::Overloaded,
        (200, _) => FailureClass::Server,
        (status, _) => reply::class_of(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::ErrorDetails;

    #[test]
    fn a_spent_budget_is_said_with_its_reset_and_is_not_to_be_retried() {
        let mut error = ErrorReply::new(ErrorKind::QuotaExceeded, "insufficient_quota", "The budget is used up.", "r1");
        error.retry_after = Some(Duration::from_millis(1500));
        error.should_retry = Some(false);
        error.details = Some(ErrorDetails { reason: "budget".into(), scope: Some("tenant".into()), ..ErrorDetails::default() });
        let encoded = encode(&error);
        assert_eq!(encoded.status, 429);
        assert_eq!(
            encoded.headers,
            [
                ("content-type", "application/json".to_owned()),
                ("retry-after", "2".to_owned()),
                ("retry-after-ms", "1500".to_owned()),
                ("x-should-retry", "false".to_owned()),
            ]
        );
        assert_eq!(
            std::str::from_utf8(&encoded.body).unwrap(),
            r#"{"error":{"message":"The budget is used up. (request id: r1)","type":"insufficient_quota","param":null,"code":"insufficient_quota","tallygate":{"request_id":"r1","reason":"budget","scope":"tenant"}}}"#
        );
    }

    #[test]
    fn upstream_errors_are_classed() {
        for (status, body, class) in [
            (
                400,
                r#"{"error":{"message":"x","type":"invalid_request_error","param":"n","code":null}}"#,
                FailureClass::BadRequest,
            ),
            (400, r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#, FailureClass::ContextTooLong),
            (
                400,
                r#"{"object":"error","message":"This model's maximum context length is 10 tokens","code":40303}"#,
                FailureClass::ContextTooLong,
            ),
            (401, "{}", FailureClass::Auth),
            (403, r#"{"detail":"no"}"#, FailureClass::Permission),
            (404, r#"{"error":"model not found"}"#, FailureClass::NotFound),
            (
                429,
                r#"{"error":{"message":"Rate limit. Please try again in 6.5s.","code":"rate_limit_exceeded"}}"#,
                FailureClass::RateLimited,
            ),
            (
                429,
                r#"{"error":{"message":"You exceeded","type":"insufficient_quota","code":"insufficient_quota"}}"#,
                FailureClass::QuotaExhausted,
            ),
            (429, r#"{"error":{"message":"","code":"slow_down"}}"#, FailureClass::RateLimited),
            (500, "<html>", FailureClass::Server),
            (503, r#"{"error":{"message":"","code":"slow_down"}}"#, FailureClass::Overloaded),
            (504, "", FailureClass::Timeout),
            (200, r#"[{"error":{"code":502,"message":"provider"}}]"#, FailureClass::Server),
        ] {
            assert_eq!(decode(status, body.as_bytes()).class, class, "{status} {body}");
        }
        assert_eq!(decode(404, br#"{"error":"model not found"}"#).message, "model not found");
        let limited = decode(429, br#"{"error":{"message":"Please try again in 6.5s.","code":"rate_limit_exceeded"}}"#);
        assert_eq!(limited.retry_after, Some(Duration::from_millis(6500)));
    }
}
