//! Errors of the Responses API: the HTTP answers are those of Chat Completions; a response that fails after it began has
//! an `error` of its own.

use serde_json::{Value, json};

pub(crate) use crate::openai_chat::error::{decode, encode};

use crate::failure::{ErrorKind, ErrorReply, UpstreamFailure};
use crate::openai_chat::error::from_error;

/// `response.error` of a response that fails after it began. Codex acts on the two codes that are not in OpenAI's list.
pub(super) fn in_response(error: &ErrorReply) -> Value {
    let code = match (error.kind, error.code) {
        (_, "context_length_exceeded") => "context_length_exceeded",
        (ErrorKind::QuotaExceeded, _) => "insufficient_quota",
        (ErrorKind::RateLimited, _) => "rate_limit_exceeded",
        (ErrorKind::InvalidRequest, _) => "invalid_prompt",
        _ => "server_error",
    };
    json!({ "code": code, "message": error.text() })
}

/// The `error` of a failed response or of an `error` event, which carry no status of their own.
pub(super) fn in_stream(error: &Value) -> UpstreamFailure {
    let code =
        error.get("code").and_then(Value::as_str).or_else(|| error.get("type").and_then(Value::as_str)).unwrap_or_default();
    let status = match code {
        "rate_limit_exceeded" | "rate_limit_error" | "insufficient_quota" | "usage_limit_reached" => 429,
        "server_is_overloaded" | "slow_down" => 503,
        "model_not_found" | "not_found" => 404,
        "context_length_exceeded" | "bio_policy" | "cyber_policy" | "misalignment_policy_violation" => 400,
        "vector_store_timeout" => 504,
        code if code.contains("image") || code.starts_with("invalid_") || code.starts_with("unsupported_") => 400,
        _ => 500,
    };
    from_error(status, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureClass;

    #[test]
    fn an_error_inside_a_stream_gets_the_status_its_code_stands_for() {
        for (error, status, class) in [
            (json!({"code": "context_length_exceeded", "message": "too long"}), 400, FailureClass::ContextTooLong),
            (json!({"code": "rate_limit_exceeded", "message": "try again in 2s"}), 429, FailureClass::RateLimited),
            (json!({"code": "invalid_prompt", "message": "x"}), 400, FailureClass::BadRequest),
            (json!({"code": "server_error", "message": "x"}), 500, FailureClass::Server),
            (Value::Null, 500, FailureClass::Server),
        ] {
            let failure = in_stream(&error);
            assert_eq!((failure.status, failure.class), (status, class), "{error}");
        }
    }

    #[test]
    fn codex_is_told_what_it_acts_on() {
        let mut error = ErrorReply::new(ErrorKind::InvalidRequest, "context_length_exceeded", "Too long.", "req_1");
        assert_eq!(in_response(&error), json!({"code": "context_length_exceeded", "message": "Too long. (request id: req_1)"}));
        error.code = "upstream_unavailable";
        error.kind = ErrorKind::UpstreamUnavailable;
        assert_eq!(in_response(&error)["code"], "server_error");
    }
}
