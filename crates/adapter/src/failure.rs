//! What can go wrong, as types. Each dialect's words for it are in its `error.rs`.

use std::time::Duration;

use bytes::Bytes;
use tallygate_types::Timestamp;

/// The client's request cannot be read or cannot be said to the upstream. Answer 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadRequest {
    /// Says what to do, in the client's words.
    pub message: String,
    /// Dotted path of the field in the client's body.
    pub param: Option<String>,
    /// OpenAI's code for it (`unsupported_parameter`, `unsupported_value`, `invalid_type`, …).
    pub code: &'static str,
}

/// The upstream's 200 body is not an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the upstream's answer cannot be read: {0}")]
pub struct InvalidAnswer(pub String);

/// Why a whole answer is none for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFailure {
    #[error(transparent)]
    Invalid(#[from] InvalidAnswer),
    /// An error where an answer was due.
    #[error("the upstream reported an error in its answer: {}", .0.message)]
    Upstream(UpstreamFailure),
    /// The model wrote a tool call that cannot be read, and nothing beside it; asked again it may write a better one.
    #[error("the model wrote a tool call that cannot be read: {0}")]
    MalformedCall(String),
}

/// Why a stream did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamFailure {
    /// An error event inside a 200 stream.
    #[error("the upstream reported an error in the stream: {}", .0.message)]
    Upstream(UpstreamFailure),
    /// The upstream closed before its terminal event.
    #[error("the upstream's stream ended before its terminal event")]
    Truncated,
    #[error("the upstream's stream cannot be read: {0}")]
    Invalid(String),
    /// As [`AnswerFailure::MalformedCall`].
    #[error("the model wrote a tool call that cannot be read: {0}")]
    MalformedCall(String),
    /// A line, event or stream above the bounds ([`crate::sse::MAX_EVENT_BYTES`], [`crate::MAX_TRANSLATED_BYTES`]).
    #[error("the upstream's stream is above the bounds on an event or on the whole")]
    TooLong,
}

/// An upstream's error answer, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamFailure {
    pub class: FailureClass,
    /// The HTTP status, or for an error event in a 200 stream the status its type stands for.
    pub status: u16,
    /// The vendor's text. It may name the operator's account: see the class before it is shown to a tenant.
    pub message: String,
    pub code: Option<String>,
    pub param: Option<String>,
    /// A wait said in the body (headers are the caller's to read).
    pub retry_after: Option<Duration>,
    /// When the body says that there will be more.
    pub reset: Option<Reset>,
    pub scope: FailureScope,
}

/// When a quota is filled again, as data: this crate has no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    At(Timestamp),
    /// The next midnight in a time zone (IANA name).
    Midnight(&'static str),
    /// The first of the next month, UTC.
    Month,
}

/// What an error holds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailureScope {
    #[default]
    Account,
    /// The model that was asked for, by the vendor's own words.
    Model,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// The client's request is at fault: no other upstream of this kind would take it.
    BadRequest,
    ContextTooLong,
    /// A signature of the earlier reasoning is refused or missing: without it
    /// ([`PastReasoning::Withheld`](crate::PastReasoning::Withheld)) the request may be taken.
    Signature,
    /// The model or path is unknown to this upstream.
    NotFound,
    /// The upstream refuses our credential.
    Auth,
    /// Our credential may not do this.
    Permission,
    RateLimited,
    /// Money or quota of our account is spent: waiting does not help.
    QuotaExhausted,
    Overloaded,
    Timeout,
    Server,
}

/// An error of ours, to be said in the client's dialect by [`crate::encode_error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReply {
    pub kind: ErrorKind,
    /// OpenAI's `code`; empty: null.
    pub code: &'static str,
    pub message: String,
    pub param: Option<String>,
    pub request_id: String,
    pub retry_after: Option<Duration>,
    pub should_retry: Option<bool>,
    pub details: Option<ErrorDetails>,
}

/// The `error.tallygate` object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorDetails {
    pub reason: String,
    pub scope: Option<String>,
    /// Whose limit it is, by name.
    pub subject: Option<String>,
    /// What there is too little of.
    pub dimension: Option<String>,
    pub limit: Option<String>,
    pub used: Option<String>,
    pub resets_at: Option<Timestamp>,
    pub attempts: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    InvalidRequest,
    Authentication,
    Permission,
    NotFound,
    MethodNotAllowed,
    TooLarge,
    UnsupportedMediaType,
    RateLimited,
    QuotaExceeded,
    UpstreamUnavailable,
    UpstreamTimeout,
    UpstreamInvalid,
    Internal,
}

/// An error answer, ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedError {
    pub status: u16,
    /// Lower-case names; `content-type` included.
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

impl UpstreamFailure {
    /// With nothing known but this.
    pub fn new(class: FailureClass, status: u16, message: impl Into<String>) -> Self {
        Self {
            class,
            status,
            message: message.into(),
            code: None,
            param: None,
            retry_after: None,
            reset: None,
            scope: FailureScope::Account,
        }
    }
}

impl Reset {
    /// The moment, seen from `now`. `None` if it has passed, or the calendar has no such day.
    pub fn after(self, now: Timestamp) -> Option<Timestamp> {
        let at = match self {
            Self::At(at) => Some(at),
            Self::Midnight(zone) => midnight(now, zone),
            Self::Month => month(now),
        };
        at.filter(|at| *at > now)
    }
}

fn midnight(now: Timestamp, zone: &str) -> Option<Timestamp> {
    let start = now.to_jiff()?.in_tz(zone).ok()?.tomorrow().ok()?.start_of_day().ok()?;
    Some(Timestamp::from_micros(start.timestamp().as_microsecond()))
}

fn month(now: Timestamp) -> Option<Timestamp> {
    let start = now.to_jiff()?.in_tz("UTC").ok()?.last_of_month().ok()?.tomorrow().ok()?.start_of_day().ok()?;
    Some(Timestamp::from_micros(start.timestamp().as_microsecond()))
}

impl BadRequest {
    /// The body is not what the endpoint takes.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self { message: message.into(), param: None, code: "invalid_request_body" }
    }

    /// A field has a value that cannot be right.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), param: Some(param.into()), code: "invalid_value" }
    }

    /// The upstream's protocol has no such field, and losing it in silence would be wrong.
    pub fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), param: Some(param.into()), code: "unsupported_parameter" }
    }

    /// The field is known, its value cannot be carried.
    pub fn unsupported_value(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), param: Some(param.into()), code: "unsupported_value" }
    }
}

impl ErrorReply {
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>, request_id: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
            param: None,
            request_id: request_id.into(),
            retry_after: None,
            should_retry: None,
            details: None,
        }
    }

    /// The message with the request id in its tail, where every SDK shows it.
    pub fn text(&self) -> String {
        format!("{} (request id: {})", self.message, self.request_id)
    }
}

impl From<AnswerFailure> for StreamFailure {
    fn from(failure: AnswerFailure) -> Self {
        match failure {
            AnswerFailure::Invalid(InvalidAnswer(text)) => Self::Invalid(text),
            AnswerFailure::Upstream(failure) => Self::Upstream(failure),
            AnswerFailure::MalformedCall(text) => Self::MalformedCall(text),
        }
    }
}

impl From<InvalidAnswer> for StreamFailure {
    fn from(error: InvalidAnswer) -> Self {
        Self::Invalid(error.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_a_moment_once_there_is_a_now() {
        let at = |text| Timestamp::parse(text).unwrap();
        let now = at("2026-11-23T09:30:00Z");
        for (reset, moment) in [
            (Reset::At(at("2026-12-01T00:00:00Z")), Some("2026-12-01T00:00:00Z")),
            (Reset::At(at("2026-11-01T00:00:00Z")), None),
            (Reset::Midnight("America/Los_Angeles"), Some("2026-11-24T08:00:00Z")),
            (Reset::Midnight("Nowhere/At_All"), None),
            (Reset::Month, Some("2026-12-01T00:00:00Z")),
        ] {
            assert_eq!(reset.after(now), moment.map(at), "{reset:?}");
        }
        assert_eq!(Reset::Month.after(at("2026-12-31T23:59:59Z")), Some(at("2027-01-01T00:00:00Z")));
        // Before midnight in the west it is still the day before.
        assert_eq!(Reset::Midnight("America/Los_Angeles").after(at("2026-11-23T07:59:59Z")), Some(at("2026-11-23T08:00:00Z")));
    }
}
