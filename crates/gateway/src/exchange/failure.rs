//! Why an attempt failed, whose fault it is, and what the client is told of it.

use std::time::Duration;

use http::StatusCode;
use tallygate_adapter::{AnswerFailure, ErrorKind, FailureClass, FailureScope, Reset, StreamFailure, UpstreamFailure};
use tallygate_billing::Outcome;
use tallygate_types::Timestamp;

use crate::refusal::{DEFAULT_RETRY, Refusal};

/// Why an attempt failed. The client never reads more of it than [`Failure::into_refusal`] says.
pub struct Failure {
    pub blame: Blame,
    /// A closed set: it is a label of metrics.
    pub reason: &'static str,
    kind: ErrorKind,
    /// For the operator's eyes.
    pub detail: String,
    /// How long the upstream said to wait.
    pub wait: Option<Duration>,
    /// When the upstream said that there will be more.
    pub reset: Option<Reset>,
    /// It is held against the credential for this model only.
    pub is_of_model: bool,
    /// The upstream's own word on whether to ask again.
    pub should_retry: Option<bool>,
    /// False if the upstream never heard of the attempt: it cost nothing, and asking elsewhere is no extra call.
    pub is_sent: bool,
}

/// Whose fault it is decides what is tried next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Nothing can be had there now: its other credentials are not tried.
    Upstream,
    /// The answer was bad; another credential may get a better one.
    Answer,
    /// This credential is used up for now.
    Rate,
    /// The money or quota of this credential is spent.
    Quota,
    /// This credential is not accepted.
    Credential,
    /// The target or upstream is set up wrongly: nothing can be had there, and nothing is wrong with it either.
    Setup,
    /// Neither the upstream nor the credential: the outbound proxies on the way did not get through.
    Proxy,
}

/// What an upstream said instead of an answer.
pub enum Broken {
    /// No upstream would take this request: 400, 413, 422.
    Client(Refusal),
    Upstream(Failure),
    /// The same upstream may answer if it is asked again.
    Again(Again),
}

/// How the same upstream is to be asked again, and what is left to say if that is done already.
pub enum Again {
    /// Without the earlier reasoning: a signature in it is not accepted.
    WithoutReasoning(Refusal),
    /// With the same request: the model stumbled.
    Same(Failure),
}

pub const CONNECT: &str = "connect";
pub const CONNECT_TIMEOUT: &str = "connect_timeout";
/// To the head of an answer.
pub const FIRST_BYTE_TIMEOUT: &str = "first_byte_timeout";
/// From the head of a stream to its first content.
pub const FIRST_TOKEN_TIMEOUT: &str = "first_token_timeout";
/// Silence within an answer.
pub const IDLE_TIMEOUT: &str = "idle_timeout";
pub const TOTAL_TIMEOUT: &str = "total_timeout";
/// A whole answer that comes too slowly ever to be had.
pub const TOO_SLOW: &str = "too_slow";
pub const CONNECTION_LOST: &str = "connection_lost";
const MALFORMED_CALL: &str = "malformed_call";
const INVALID_ANSWER: &str = "invalid_answer";
pub const TRUNCATED: &str = "truncated";
/// In its own words.
pub const TIMEOUT: &str = "timeout";
pub const SERVER_ERROR: &str = "server_error";
pub const OVERLOADED: &str = "overloaded";
/// A wait that is believed of a spent quota.
const MIN_QUOTA_WAIT: Duration = Duration::from_mins(1);
/// The upstream does not have the model, or its base URL leads elsewhere.
pub const NOT_FOUND: &str = "not_found";

impl Failure {
    pub fn new(blame: Blame, reason: &'static str, kind: ErrorKind, detail: impl Into<String>) -> Self {
        let is_sent = blame != Blame::Proxy;
        Self {
            blame,
            reason,
            kind,
            detail: detail.into(),
            wait: None,
            reset: None,
            is_of_model: false,
            should_retry: None,
            is_sent,
        }
    }

    pub fn timeout(reason: &'static str, limit: Duration) -> Self {
        // Another credential may be served: silence is how some vendors queue an account.
        Self::new(Blame::Answer, reason, ErrorKind::UpstreamTimeout, format!("nothing within {limit:?}"))
    }

    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Blame::Answer, INVALID_ANSWER, ErrorKind::UpstreamInvalid, detail)
    }

    pub fn connection_lost(detail: impl Into<String>) -> Self {
        Self::new(Blame::Answer, CONNECTION_LOST, ErrorKind::UpstreamUnavailable, detail)
    }

    pub fn proxy(detail: impl Into<String>) -> Self {
        Self::new(Blame::Proxy, "proxy", ErrorKind::UpstreamUnavailable, detail)
    }

    fn malformed_call(detail: impl Into<String>) -> Self {
        Self::new(Blame::Answer, MALFORMED_CALL, ErrorKind::UpstreamInvalid, detail)
    }

    /// A stream that broke off after the client had received some of it.
    pub fn cut(reason: &'static str) -> Self {
        Self::new(Blame::Answer, reason, ErrorKind::UpstreamUnavailable, "it broke off in the middle of its answer")
    }

    /// The upstream never heard of the attempt.
    pub fn unsent(self) -> Self {
        Self { is_sent: false, ..self }
    }

    /// When the credential may be asked again, by the upstream's word.
    pub fn reset_at(&self, now: Timestamp) -> Option<Timestamp> {
        // Some vendors send seconds beside a spent quota, too: they heal nothing.
        let wait = self.wait.filter(|wait| self.blame != Blame::Quota || *wait >= MIN_QUOTA_WAIT);
        let waited = wait.map(|wait| now.saturating_add(wait));
        self.reset.and_then(|reset| reset.after(now)).or(waited)
    }

    /// What the client is told when nothing is left to try.
    pub fn into_refusal(self) -> Refusal {
        let message = match self.kind {
            ErrorKind::RateLimited => {
                let wait = self.wait.unwrap_or(DEFAULT_RETRY);
                let seconds = wait.as_millis().div_ceil(1000).max(1);
                let message = format!("The upstreams of this model are at their rate limit. Please retry in {seconds}s.");
                return Refusal::new(ErrorKind::RateLimited, "upstream_rate_limited", message)
                    .with_retry_after(wait)
                    .with_outcome(Outcome::UpstreamError);
            }
            ErrorKind::UpstreamTimeout => {
                let message = "The upstream did not answer in time.";
                return Refusal::new(ErrorKind::UpstreamTimeout, "upstream_timeout", message).with_should_retry(true);
            }
            ErrorKind::UpstreamInvalid if self.reason == MALFORMED_CALL => return malformed_call(&self.detail),
            ErrorKind::UpstreamInvalid => {
                let message = "The upstream gave an answer that cannot be understood.";
                return Refusal::new(ErrorKind::UpstreamInvalid, "upstream_invalid_answer", message);
            }
            _ if self.reason == NOT_FOUND => {
                let message = "The upstream of this model does not have it. Only the operator of the gateway can mend that.";
                return Refusal::new(ErrorKind::NotFound, "model_not_found", message)
                    .with_should_retry(false)
                    .with_outcome(Outcome::UpstreamError);
            }
            _ if self.reason == OVERLOADED => {
                let message = "The upstreams of this model are overloaded. Try again shortly.";
                return Refusal::new(ErrorKind::UpstreamUnavailable, "server_is_overloaded", message)
                    .with_retry_after(self.wait.unwrap_or(DEFAULT_RETRY));
            }
            _ => "No upstream of this model could serve the request. Try again shortly.",
        };
        Refusal::unavailable(message, self.wait)
    }
}

impl Broken {
    /// A closed set: it is a label of metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Client(refusal) | Self::Again(Again::WithoutReasoning(refusal)) => refusal.code,
            Self::Upstream(failure) | Self::Again(Again::Same(failure)) => failure.reason,
        }
    }

    /// What the client is told when nothing is left to try.
    pub fn into_refusal(self) -> Refusal {
        match self {
            Self::Client(refusal) | Self::Again(Again::WithoutReasoning(refusal)) => refusal,
            Self::Upstream(failure) | Self::Again(Again::Same(failure)) => failure.into_refusal(),
        }
    }
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Upstream(failure)
    }
}

fn malformed_call(detail: &str) -> Refusal {
    let message = format!("The model wrote a tool call that cannot be read: {detail}");
    Refusal::new(ErrorKind::UpstreamInvalid, "malformed_function_call", message)
}

/// What the client is told of an upstream that kept it waiting in the middle of an answer.
pub fn timed_out(message: &str) -> Refusal {
    Refusal::new(ErrorKind::UpstreamTimeout, "upstream_timeout", message)
}

/// Why a stream broke off, as a label of metrics.
pub const fn cut_reason(failure: &StreamFailure) -> &'static str {
    match failure {
        StreamFailure::Upstream(_) => "error_event",
        StreamFailure::Truncated => TRUNCATED,
        StreamFailure::MalformedCall(_) => MALFORMED_CALL,
        StreamFailure::Invalid(_) => INVALID_ANSWER,
        StreamFailure::TooLong => "event_too_long",
    }
}

/// The refusal for a stream that breaks off after the client has received some of it.
pub fn cut_refusal(failure: &StreamFailure) -> Refusal {
    match failure {
        StreamFailure::Upstream(UpstreamFailure {
            class: FailureClass::BadRequest | FailureClass::ContextTooLong | FailureClass::Signature,
            message,
            ..
        }) => Refusal::bad_request("upstream_refused", message.clone()).with_outcome(Outcome::UpstreamError),
        StreamFailure::Upstream(_) => Refusal::unavailable("The upstream reported an error in the middle of its answer.", None),
        StreamFailure::Truncated => Refusal::unavailable("The upstream broke off in the middle of its answer.", None),
        StreamFailure::MalformedCall(detail) => malformed_call(detail),
        StreamFailure::Invalid(_) | StreamFailure::TooLong => Refusal::new(
            ErrorKind::UpstreamInvalid,
            "upstream_invalid_answer",
            "The upstream gave an answer that cannot be understood.",
        ),
    }
}

/// A stream that failed before its first content.
pub fn of_stream(upstream: &str, failure: StreamFailure) -> Broken {
    match failure {
        StreamFailure::Upstream(failure) => of_upstream(upstream, failure, Said::default()),
        StreamFailure::MalformedCall(detail) => Broken::Again(Again::Same(Failure::malformed_call(detail))),
        StreamFailure::Truncated => {
            Failure::new(Blame::Answer, TRUNCATED, ErrorKind::UpstreamUnavailable, StreamFailure::Truncated.to_string()).into()
        }
        other => Failure::invalid(other.to_string()).into(),
    }
}

/// A whole answer that is none.
pub fn of_answer(upstream: &str, failure: AnswerFailure) -> Broken {
    match failure {
        AnswerFailure::Upstream(failure) => of_upstream(upstream, failure, Said::default()),
        AnswerFailure::MalformedCall(detail) => Broken::Again(Again::Same(Failure::malformed_call(detail))),
        AnswerFailure::Invalid(invalid) => Failure::invalid(invalid.to_string()).into(),
    }
}

/// What the header of a refusal says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said {
    pub wait: Option<Duration>,
    pub should_retry: Option<bool>,
}

/// Whose fault an upstream's error is, and what it means for the next attempt.
pub fn of_upstream(upstream: &str, failure: UpstreamFailure, said: Said) -> Broken {
    use FailureClass as Class;
    let (blame, reason, kind) = match failure.class {
        Class::BadRequest | Class::ContextTooLong => return Broken::Client(passed_on(failure)),
        Class::Signature => return Broken::Again(Again::WithoutReasoning(passed_on(failure))),
        Class::NotFound => (Blame::Setup, NOT_FOUND, ErrorKind::UpstreamUnavailable),
        Class::Auth => (Blame::Credential, "auth", ErrorKind::UpstreamUnavailable),
        Class::Permission => (Blame::Credential, "permission", ErrorKind::UpstreamUnavailable),
        Class::QuotaExhausted => (Blame::Quota, "quota", ErrorKind::UpstreamUnavailable),
        Class::RateLimited => (Blame::Rate, "rate_limited", ErrorKind::RateLimited),
        Class::Overloaded => (Blame::Answer, OVERLOADED, ErrorKind::UpstreamUnavailable),
        Class::Timeout => (Blame::Answer, TIMEOUT, ErrorKind::UpstreamTimeout),
        Class::Server => (Blame::Answer, SERVER_ERROR, ErrorKind::UpstreamUnavailable),
    };
    let detail = format!("{upstream} answered {}: {}", failure.status, failure.message);
    Failure {
        wait: said.wait.or(failure.retry_after),
        should_retry: said.should_retry,
        reset: failure.reset,
        is_of_model: failure.scope == FailureScope::Model,
        ..Failure::new(blame, reason, kind, detail)
    }
    .into()
}

/// The upstream's word on the client's own request, translated.
fn passed_on(failure: UpstreamFailure) -> Refusal {
    let code = match failure.class {
        FailureClass::ContextTooLong => "context_length_exceeded",
        _ if failure.status == StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
        _ => "upstream_refused",
    };
    let kind = if failure.status == StatusCode::PAYLOAD_TOO_LARGE { ErrorKind::TooLarge } else { ErrorKind::InvalidRequest };
    Refusal::new(kind, code, failure.message).with_param(failure.param).with_should_retry(false)
}
