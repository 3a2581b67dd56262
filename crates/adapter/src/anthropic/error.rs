//! Error bodies: `{"type":"error","error":{"type","message","details"?},"request_id"}`.

use serde_json::{Value, json};

use super::taxonomy::ROWS;
use crate::failure::{EncodedError, ErrorKind, ErrorReply, FailureClass, FailureScope, Reset, UpstreamFailure};
use crate::reply;
use crate::taxonomy::{self, Said};

pub(crate) fn encode(error: &ErrorReply) -> EncodedError {
    reply::json(status(error.kind), error, &object(error))
}

fn status(kind: ErrorKind) -> u16 {
    match kind {
        ErrorKind::InvalidRequest => 400,
        ErrorKind::Authentication => 401,
        ErrorKind::Permission => 403,
        ErrorKind::NotFound => 404,
        ErrorKind::MethodNotAllowed => 405,
        ErrorKind::TooLarge => 413,
        ErrorKind::UnsupportedMediaType => 415,
        ErrorKind::RateLimited | ErrorKind::QuotaExceeded => 429,
        ErrorKind::UpstreamUnavailable => 529,
        ErrorKind::UpstreamTimeout => 504,
        ErrorKind::UpstreamInvalid => 502,
        ErrorKind::Internal => 500,
    }
}

/// The body, also sent as the data of an `error` event.
pub(super) fn object(error: &ErrorReply) -> Value {
    let kind = match error.kind {
        ErrorKind::InvalidRequest | ErrorKind::MethodNotAllowed | ErrorKind::UnsupportedMediaType => "invalid_request_error",
        ErrorKind::Authentication => "authentication_error",
        ErrorKind::Permission => "permission_error",
        ErrorKind::NotFound => "not_found_error",
        ErrorKind::TooLarge => "request_too_large",
        ErrorKind::RateLimited | ErrorKind::QuotaExceeded => "rate_limit_error",
        ErrorKind::UpstreamUnavailable => "overloaded_error",
        ErrorKind::UpstreamTimeout => "timeout_error",
        ErrorKind::UpstreamInvalid | ErrorKind::Internal => "api_error",
    };
    // Agents look for this text to compact their history.
    let message = match &error.param {
        _ if error.code == "context_length_exceeded" && !error.message.starts_with("prompt is too long") => {
            format!("prompt is too long: {}", error.text())
        }
        Some(param) if error.kind == ErrorKind::InvalidRequest => format!("{param}: {}", error.text()),
        _ => error.text(),
    };
    let mut inner = json!({"type": kind, "message": message});
    if error.kind == ErrorKind::QuotaExceeded {
        inner["details"] = json!({"error_code": "enforced_spend_limit_reached"});
    }
    inner["tallygate"] = reply::details(error);
    json!({"type": "error", "error": inner, "request_id": error.request_id})
}

/// Takes any bytes.
pub(crate) fn decode(status: u16, body: &[u8]) -> UpstreamFailure {
    let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    if value.is_null() {
        return UpstreamFailure::new(reply::class_of(status), status, reply::excerpt(body, status));
    }
    from_error(status, value.get("error").unwrap_or(&value))
}

/// An `error` value, from a body or from an `error` event (status 200).
pub(super) fn from_error(status: u16, error: &Value) -> UpstreamFailure {
    let text = |field: &str| error.get(field).and_then(Value::as_str);
    let kind = text("type").unwrap_or_default();
    let message =
        text("message").or(error.as_str()).map_or_else(|| reply::excerpt(error.to_string().as_bytes(), status), str::to_owned);
    let code = error.get("details").and_then(|details| details.get("error_code")).and_then(Value::as_str).map(str::to_owned);
    let said = Said { status, code: code.as_deref().unwrap_or_default(), kind, message: &message };
    let row = taxonomy::find(ROWS, &said);
    let class = row.map_or_else(|| class(status, kind, &message), |row| row.class);
    let reset = taxonomy::date_in(&message).map(Reset::At).filter(|_| class == FailureClass::QuotaExhausted);
    let scope = row.map_or(FailureScope::Account, |row| row.scope);
    let status = match (status, kind) {
        (200, "overloaded_error") => 529,
        (200, _) => reply::status_of(class),
        (status, _) => status,
    };
    let code = code.or_else(|| Some(kind.to_owned())).filter(|c| !c.is_empty());
    UpstreamFailure { code, reset, scope, ..UpstreamFailure::new(class, status, message) }
}

/// The class of an error that no row of the table knows.
fn class(status: u16, kind: &str, message: &str) -> FailureClass {
    match kind {
        "invalid_request_error" if reply::is_context_overflow(message) => FailureClass::ContextTooLong,
        "invalid_request_error" if reply::is_signature_refusal(message) => FailureClass::Signature,
        "invalid_request_error" if (400..500).contains(&status) => reply::class_of(status),
        "invalid_request_error" | "request_too_large" | "conflict_error" => FailureClass::BadRequest,
        "authentication_error" => FailureClass::Auth,
        "permission_error" => FailureClass::Permission,
        "not_found_error" => FailureClass::NotFound,
        "rate_limit_error" => FailureClass::RateLimited,
        "timeout_error" => FailureClass::Timeout,
        "overloaded_error" => FailureClass::Overloaded,
        _ if status == 200 => FailureClass::Server,
        _ => reply::class_of(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_field_is_said_first_and_quota_carries_the_stable_code() {
        let mut error = ErrorReply::new(ErrorKind::InvalidRequest, "unsupported_value", "Only one answer.", "r1");
        error.param = Some("n".into());
        let encoded = encode(&error);
        assert_eq!(encoded.status, 400);
        assert_eq!(
            std::str::from_utf8(&encoded.body).unwrap(),
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"n: Only one answer. (request id: r1)","tallygate":{"request_id":"r1"}},"request_id":"r1"}"#
        );
        let quota = object(&ErrorReply::new(ErrorKind::QuotaExceeded, "insufficient_quota", "Spent.", "r1"));
        assert_eq!(quota["error"]["details"]["error_code"], "enforced_spend_limit_reached");
        let long = object(&ErrorReply::new(ErrorKind::InvalidRequest, "context_length_exceeded", "Too long.", "r1"));
        assert_eq!(long["error"]["message"], "prompt is too long: Too long. (request id: r1)");
    }

    #[test]
    fn upstream_errors_are_classed() {
        let error =
            |kind: &str, message: &str| format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}}}}"#);
        for (status, body, class) in [
            (400, error("invalid_request_error", "prompt is too long: 2 tokens > 1 maximum"), FailureClass::ContextTooLong),
            (400, error("invalid_request_error", "max_tokens: required"), FailureClass::BadRequest),
            (400, error("invalid_request_error", "Your credit balance is too low to access"), FailureClass::QuotaExhausted),
            (401, error("authentication_error", "x"), FailureClass::Auth),
            (402, error("billing_error", "x"), FailureClass::QuotaExhausted),
            (404, error("not_found_error", "model: x"), FailureClass::NotFound),
            (413, error("request_too_large", "x"), FailureClass::BadRequest),
            (429, error("rate_limit_error", "x"), FailureClass::RateLimited),
            (529, error("overloaded_error", "x"), FailureClass::Overloaded),
            (200, error("overloaded_error", "x"), FailureClass::Overloaded),
            (500, "<html>".into(), FailureClass::Server),
        ] {
            assert_eq!(decode(status, body.as_bytes()).class, class, "{status} {body}");
        }
        assert_eq!(decode(200, error("overloaded_error", "x").as_bytes()).status, 529);
        let spent =
            br#"{"error":{"type":"rate_limit_error","message":"x","details":{"error_code":"enforced_spend_limit_reached"}}}"#;
        assert_eq!(decode(429, spent).class, FailureClass::QuotaExhausted);
    }
}
