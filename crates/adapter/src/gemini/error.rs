//! Errors of Google's API (`google.rpc.Status` as JSON).

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::taxonomy::ROWS;
use crate::failure::{EncodedError, ErrorKind, ErrorReply, FailureClass, FailureScope, Reset, UpstreamFailure};
use crate::reply;
use crate::taxonomy::{self, Said};

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const QUOTA_FAILURE: &str = "type.googleapis.com/google.rpc.QuotaFailure";
const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
/// Where the days of Google's quotas end at midnight.
const QUOTA_TIME_ZONE: &str = "America/Los_Angeles";
/// Names the origin in `ErrorInfo.domain`.
const DOMAIN: &str = "tallygate";
/// Proxies nest an error's JSON in the message of another; no real chain is deeper.
const MAX_NESTING: usize = 10;

pub(crate) fn encode(error: &ErrorReply) -> EncodedError {
    reply::json(status(error.kind).0, error, &envelope(error))
}

fn status(kind: ErrorKind) -> (u16, &'static str) {
    match kind {
        ErrorKind::InvalidRequest => (400, "INVALID_ARGUMENT"),
        ErrorKind::Authentication => (401, "UNAUTHENTICATED"),
        ErrorKind::Permission => (403, "PERMISSION_DENIED"),
        ErrorKind::NotFound => (404, "NOT_FOUND"),
        ErrorKind::MethodNotAllowed => (405, "UNIMPLEMENTED"),
        ErrorKind::TooLarge => (413, "INVALID_ARGUMENT"),
        ErrorKind::UnsupportedMediaType => (415, "INVALID_ARGUMENT"),
        ErrorKind::RateLimited | ErrorKind::QuotaExceeded => (429, "RESOURCE_EXHAUSTED"),
        ErrorKind::UpstreamUnavailable => (503, "UNAVAILABLE"),
        ErrorKind::UpstreamTimeout => (504, "DEADLINE_EXCEEDED"),
        ErrorKind::UpstreamInvalid => (502, "UNAVAILABLE"),
        ErrorKind::Internal => (500, "INTERNAL"),
    }
}

/// `{"error":{…}}`: the body of an answer, and the last record of a stream that breaks.
pub(super) fn envelope(error: &ErrorReply) -> Value {
    let (code, word) = status(error.kind);
    let told = error.details.clone().unwrap_or_default();
    let mut details = Vec::new();
    if !error.code.is_empty() {
        let mut metadata = json!({ "request_id": error.request_id });
        for (name, value) in [
            ("scope", told.scope),
            ("subject", told.subject),
            ("dimension", told.dimension),
            ("limit", told.limit.clone()),
            ("used", told.used),
        ] {
            if let Some(value) = value {
                metadata[name] = value.into();
            }
        }
        if let Some(at) = told.resets_at {
            metadata["resets_at"] = at.to_string().into();
        }
        let reason = if told.reason.is_empty() { error.code } else { &told.reason };
        details
            .push(json!({ "@type": ERROR_INFO, "reason": reason.to_ascii_uppercase(), "domain": DOMAIN, "metadata": metadata }));
    }
    if let Some(param) = &error.param {
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{ "field": param, "description": error.message }],
        }));
    }
    if error.kind == ErrorKind::QuotaExceeded {
        // A quota id that says `PerDay` makes Google's clients stop instead of waiting a minute and coming again.
        let mut violation = json!({ "quotaMetric": "tallygate/budget", "quotaId": "TenantBudgetPerDayOrLonger" });
        if let Some(limit) = told.limit {
            violation["quotaValue"] = limit.into();
        }
        details.push(json!({ "@type": QUOTA_FAILURE, "violations": [violation] }));
    }
    if let Some(wait) = error.retry_after {
        details.push(json!({ "@type": RETRY_INFO, "retryDelay": format_duration(wait) }));
    }
    json!({ "error": { "code": code, "message": error.text(), "status": word, "details": details } })
}

/// Protobuf's JSON form of a duration: `"26s"`, `"1.500s"`.
fn format_duration(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        millis => format!("{}.{millis:03}s", duration.as_secs()),
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WireError {
    code: Option<u16>,
    message: String,
    status: Option<String>,
    details: Vec<Value>,
}

/// An HTTP error of an upstream: an object, a list of one, or a proxy's page.
pub(crate) fn decode(status: u16, body: &[u8]) -> UpstreamFailure {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let value = match value {
        Value::Array(list) => list.into_iter().next().unwrap_or_default(),
        value => value,
    };
    of_value(status, &value)
}

/// `{"error":{…}}` as a record inside a 200 stream.
pub(super) fn in_stream(error: &Value) -> UpstreamFailure {
    let code = error.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    of_value(code.filter(|code| *code >= 400).unwrap_or(500), error)
}

pub(crate) fn of_value(status: u16, value: &Value) -> UpstreamFailure {
    let mut wire = read(value);
    // Unwrap a message that is itself an error's JSON.
    for _ in 0..MAX_NESTING {
        let Ok(inner) = serde_json::from_str::<Value>(&wire.message) else { break };
        if !inner.is_object() {
            break;
        }
        let mut inner = read(&inner);
        if inner.message.is_empty() {
            break;
        }
        if inner.details.is_empty() {
            inner.details = wire.details;
        }
        inner.status = inner.status.or(wire.status);
        wire = WireError { code: inner.code.or(wire.code), ..inner };
    }
    let message =
        if wire.message.is_empty() { format!("the upstream answered with status {status}") } else { wire.message.clone() };
    let (class, scope, reset) = classify(status, &wire);
    UpstreamFailure {
        retry_after: retry_delay(&wire),
        param: field_violation(&wire),
        code: wire.status.clone(),
        scope,
        reset,
        ..UpstreamFailure::new(class, status, message)
    }
}

fn read(value: &Value) -> WireError {
    let inner = value.get("error").filter(|error| error.is_object()).unwrap_or(value);
    WireError::deserialize(inner).unwrap_or_default()
}

/// The class, and what it holds for.
fn classify(status: u16, wire: &WireError) -> (FailureClass, FailureScope, Option<Reset>) {
    let reason = details(wire, ERROR_INFO).find_map(|detail| detail["reason"].as_str()).unwrap_or_default();
    let word = wire.status.as_deref().unwrap_or_default();
    let said = Said { status, code: reason, kind: word, message: &wire.message };
    if let Some(row) = taxonomy::find(ROWS, &said) {
        return (row.class, row.scope, None);
    }
    if status == 400 && reply::is_context_overflow(&wire.message) {
        return (FailureClass::ContextTooLong, FailureScope::Account, None);
    }
    if status == 400 && reply::is_signature_refusal(&wire.message) {
        return (FailureClass::Signature, FailureScope::Account, None);
    }
    let class = match (status, word) {
        (429, _) | (_, "RESOURCE_EXHAUSTED") => return quota(wire),
        (401, _) | (_, "UNAUTHENTICATED") => FailureClass::Auth,
        // The free tier is closed in the country of the egress, or billing is off: another credential may do.
        (403, _) | (_, "PERMISSION_DENIED" | "FAILED_PRECONDITION") => FailureClass::Permission,
        (404, _) => FailureClass::NotFound,
        (503, _) | (_, "UNAVAILABLE") => FailureClass::Overloaded,
        (408 | 504, _) => FailureClass::Timeout,
        (400..=499, _) => FailureClass::BadRequest,
        _ => FailureClass::Server,
    };
    (class, FailureScope::Account, None)
}

/// A quota of the minute waits; one of the day is filled at midnight in California; none at all for a model is never filled.
/// Google counts by project, and for most quotas by model.
fn quota(wire: &WireError) -> (FailureClass, FailureScope, Option<Reset>) {
    let ids: Vec<&str> = details(wire, QUOTA_FAILURE)
        .filter_map(|detail| detail["violations"].as_array())
        .flatten()
        .filter_map(|violation| violation["quotaId"].as_str())
        .collect();
    let is_of_model = !ids.is_empty() && ids.iter().all(|id| id.contains("PerModel"));
    let scope = if is_of_model { FailureScope::Model } else { FailureScope::Account };
    if wire.message.contains("limit: 0") {
        return (FailureClass::QuotaExhausted, FailureScope::Model, None);
    }
    if ids.iter().any(|id| id.contains("PerDay") || id.contains("Daily")) {
        return (FailureClass::QuotaExhausted, scope, Some(Reset::Midnight(QUOTA_TIME_ZONE)));
    }
    (FailureClass::RateLimited, scope, None)
}

fn details<'a>(wire: &'a WireError, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    wire.details.iter().filter(move |detail| detail["@type"] == kind)
}

fn field_violation(wire: &WireError) -> Option<String> {
    let detail = details(wire, "type.googleapis.com/google.rpc.BadRequest").next()?;
    detail["fieldViolations"][0]["field"].as_str().map(str::to_owned)
}

/// `RetryInfo`, or the message's `Please retry in 12.3s`.
fn retry_delay(wire: &WireError) -> Option<Duration> {
    let said = details(wire, RETRY_INFO).find_map(|detail| detail["retryDelay"].as_str());
    match said {
        Some(text) => reply::parse_duration(text),
        None => reply::wait_in(&wire.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::ErrorDetails;

    #[test]
    fn our_rate_limit_tells_googles_clients_how_long_to_wait() {
        let mut error = ErrorReply::new(ErrorKind::RateLimited, "rate_limit_exceeded", "Slow down.", "req_1");
        error.retry_after = Some(Duration::from_millis(1500));
        let encoded = encode(&error);
        assert_eq!(encoded.status, 429);
        assert_eq!(
            std::str::from_utf8(&encoded.body).unwrap(),
            r#"{"error":{"code":429,"message":"Slow down. (request id: req_1)","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED","domain":"tallygate","metadata":{"request_id":"req_1"}},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.500s"}]}}"#
        );
    }

    #[test]
    fn a_spent_budget_is_a_quota_failure_that_reads_as_final() {
        let mut error = ErrorReply::new(ErrorKind::QuotaExceeded, "insufficient_quota", "The budget is used up.", "req_1");
        error.details =
            Some(ErrorDetails { reason: "budget_exceeded".into(), limit: Some("100.00".into()), ..ErrorDetails::default() });
        let body = envelope(&error);
        assert_eq!(body["error"]["details"][1]["violations"][0]["quotaValue"], "100.00");
        // Read as an upstream's answer, it is the exhausted kind.
        assert_eq!(decode(429, body.to_string().as_bytes()).class, FailureClass::QuotaExhausted);
    }

    #[test]
    fn quotas_of_the_minute_wait_and_quotas_of_the_day_do_not() {
        let of = |quota_id: &str| {
            let body = json!([{"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED", "details": [
                {"@type": QUOTA_FAILURE, "violations": [{"quotaId": quota_id}]},
                {"@type": RETRY_INFO, "retryDelay": "34.074824224s"}
            ]}}]);
            decode(429, body.to_string().as_bytes())
        };
        let minute = of("GenerateRequestsPerMinutePerProjectPerModel-FreeTier");
        assert_eq!((minute.class, minute.retry_after), (FailureClass::RateLimited, Some(Duration::from_nanos(34_074_824_224))));
        assert_eq!(of("GenerateRequestsPerDayPerProjectPerModel").class, FailureClass::QuotaExhausted);
    }

    #[test]
    fn a_bad_key_is_a_400_at_google_and_no_fault_of_the_client() {
        let body = br#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}"#;
        assert_eq!(decode(400, body).class, FailureClass::Auth);
        let field = decode(400, br#"{"error":{"code":400,"message":"Invalid JSON payload received. Unknown name \"x\"","status":"INVALID_ARGUMENT"}}"#);
        assert_eq!((field.class, field.code.as_deref()), (FailureClass::BadRequest, Some("INVALID_ARGUMENT")));
    }

    #[test]
    fn nested_json_messages_are_unwrapped_and_waits_in_words_are_read() {
        let inner =
            json!({"error": {"code": 429, "message": "Please retry in 12.3s.", "status": "RESOURCE_EXHAUSTED"}}).to_string();
        let outer = json!({"error": {"code": 429, "message": inner}}).to_string();
        let failure = decode(429, outer.as_bytes());
        assert_eq!(
            (failure.message.as_str(), failure.retry_after),
            ("Please retry in 12.3s.", Some(Duration::from_millis(12_300)))
        );
        assert_eq!(decode(503, b"upstream connect error").class, FailureClass::Overloaded);
    }
}
