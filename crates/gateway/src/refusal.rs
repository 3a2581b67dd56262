//! Why a request is not answered as it wished: the one error type of all layers.
//!
//! A layer says what is wrong; [`Refusal::into_response`] alone knows how to say it to a client, in the dialect of the
//! endpoint that was called.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use tallygate_adapter::{BadRequest, ErrorDetails, ErrorKind, ErrorReply, encode_error};
use tallygate_billing::{BudgetExceeded, BudgetReason, Outcome, RefusedBy};
use tallygate_store::budgets::BudgetScope;
use tallygate_store::{BudgetPeriod, KeyEntry};
use tallygate_types::{Dialect, RequestId};

use crate::body::ReplyBody;
use crate::limits::{Dimension, Exceeded, ScopeKind};
use crate::path;

/// How long to wait where nothing better is known.
pub const DEFAULT_RETRY: Duration = Duration::from_secs(1);
/// SDKs do not obey a longer wait and come again at once.
const MAX_TOLD_WAIT: Duration = Duration::from_mins(1);
/// Names offered for a misspelt one, at most.
const MAX_SUGGESTIONS: usize = 3;
/// Of a name that is not known this much is compared and repeated.
const MAX_SHOWN_CHARS: usize = 100;
/// A name farther from what was asked than this is not worth offering (1 is equal, 0 is unrelated).
const MIN_SIMILARITY: f64 = 0.5;

/// See the module.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    pub kind: ErrorKind,
    /// Stable and part of the documentation.
    pub code: &'static str,
    pub message: String,
    pub outcome: Outcome,
    param: Option<String>,
    retry_after: Option<Duration>,
    should_retry: Option<bool>,
    more: Option<Box<More>>,
    /// Where the kind's usual status is too coarse (408, 414, 431).
    status: Option<StatusCode>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What few refusals have.
#[derive(Debug, Clone, Default)]
struct More {
    details: ErrorDetails,
    /// The limit that was in the way.
    refused_by: Option<RefusedBy>,
}

impl Refusal {
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        let outcome = match kind {
            ErrorKind::RateLimited => Outcome::RateLimited,
            ErrorKind::QuotaExceeded => Outcome::QuotaExceeded,
            ErrorKind::UpstreamUnavailable | ErrorKind::UpstreamInvalid => Outcome::UpstreamError,
            ErrorKind::UpstreamTimeout => Outcome::Timeout,
            ErrorKind::Internal => Outcome::Internal,
            _ => Outcome::ClientError,
        };
        Self {
            kind,
            code,
            message: message.into(),
            outcome,
            param: None,
            retry_after: None,
            should_retry: None,
            more: None,
            status: None,
            headers: Vec::new(),
        }
    }

    /// For the request's record.
    pub fn refused_by(&self) -> RefusedBy {
        let by = RefusedBy::new(self.code, &self.message);
        match self.more.as_deref() {
            Some(More { refused_by: Some(by), .. }) => by.clone(),
            Some(More { details, .. }) if !details.reason.is_empty() => RefusedBy { code: details.reason.clone().into(), ..by },
            _ => by,
        }
    }

    fn by_limit(mut self, by: RefusedBy) -> Self {
        self.more.get_or_insert_default().refused_by = Some(by);
        self
    }

    pub fn with_param(mut self, param: impl Into<Option<String>>) -> Self {
        self.param = param.into();
        self
    }

    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    pub fn with_should_retry(mut self, should_retry: bool) -> Self {
        self.should_retry = Some(should_retry);
        self
    }

    pub fn with_code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.outcome = outcome;
        self
    }

    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub fn with_headers(mut self, headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        self.headers.extend(headers);
        self
    }

    pub fn with_attempts(mut self, attempts: usize) -> Self {
        let reason = self.code.to_owned();
        let more = self.more.get_or_insert_with(|| {
            Box::new(More { details: ErrorDetails { reason, ..ErrorDetails::default() }, refused_by: None })
        });
        more.details.attempts = u32::try_from(attempts).ok();
        self
    }

    /// More exactly than the code tells, which clients are written against.
    pub fn with_reason(mut self, reason: &str) -> Self {
        reason.clone_into(&mut self.more.get_or_insert_default().details.reason);
        self
    }

    fn with_details(mut self, details: ErrorDetails) -> Self {
        self.more.get_or_insert_default().details = details;
        self
    }

    pub fn no_such_path(method: &str, asked: &str, suggestion: Option<&str>) -> Self {
        let message = match suggestion {
            Some(right) => format!("There is no {method} {asked} here. Did you mean {right}?"),
            None => format!("There is no {method} {asked} here. The endpoints are {}.", path::documented()),
        };
        Self::new(ErrorKind::NotFound, "unknown_url", message).with_should_retry(false)
    }

    pub fn not_offered(method: &str, asked: &str, why: &str) -> Self {
        let message = format!("{method} {asked} is not offered here. {why}");
        Self::new(ErrorKind::NotFound, "not_offered", message).with_should_retry(false)
    }

    pub fn wrong_method(method: &str, asked: &str, allow: &'static str) -> Self {
        Self::new(ErrorKind::MethodNotAllowed, "method_not_allowed", format!("{asked} takes {allow}, not {method}."))
            .with_header(header::ALLOW, HeaderValue::from_static(allow))
            .with_should_retry(false)
    }

    pub fn no_key() -> Self {
        let message = "No API key was given. Send it as `Authorization: Bearer <key>`, `x-api-key` or `x-goog-api-key`.";
        Self::new(ErrorKind::Authentication, "missing_api_key", message).with_should_retry(false)
    }

    pub fn two_keys() -> Self {
        let message = "Two different API keys were given. Send one, in one place: `Authorization: Bearer <key>`, `x-api-key` or \
                       `x-goog-api-key`.";
        Self::new(ErrorKind::Authentication, "ambiguous_api_key", message).with_should_retry(false)
    }

    pub fn unknown_key() -> Self {
        let message = "The API key is not valid. Check that it was copied whole and belongs to this gateway.";
        Self::new(ErrorKind::Authentication, "invalid_api_key", message).with_should_retry(false)
    }

    /// In place of saying once more that the key is not valid, until `wait` is over.
    pub fn too_many_bad_keys(wait: Duration) -> Self {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        let message = format!(
            "Too many requests with API keys that are not valid came from your address. Check your key; a valid one works at \
             once, what is wrong with another is said again in {seconds}s."
        );
        Self::new(ErrorKind::RateLimited, "too_many_bad_keys", message)
            .with_retry_after(wait)
            .with_should_retry(false)
            .with_outcome(Outcome::ClientError)
    }

    pub fn key_undecided() -> Self {
        let message = "The API key cannot be checked right now, because the configuration is out of date. Try again shortly.";
        Self::new(ErrorKind::UpstreamUnavailable, "key_store_unavailable", message)
            .with_retry_after(DEFAULT_RETRY)
            .with_outcome(Outcome::Internal)
    }

    pub fn not_allowed(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Permission, code, message).with_should_retry(false)
    }

    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest, code, message).with_should_retry(false)
    }

    /// `known` are the names the key may use.
    pub fn unknown_model<'a>(asked: &str, known: impl Iterator<Item = &'a str>) -> Self {
        // Comparing is quadratic, and the name is the client's.
        let shown = shown(asked);
        let lower = shown.to_lowercase();
        let mut close: Vec<(f64, &str)> = known
            .map(|name| (strsim::jaro_winkler(&name.to_lowercase(), &lower), name))
            .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
            .collect();
        close.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        close.truncate(MAX_SUGGESTIONS);
        let hint = if close.is_empty() {
            "GET /v1/models lists the models of your key.".to_owned()
        } else {
            let names: Vec<String> = close.iter().map(|(_, name)| format!("`{name}`")).collect();
            format!("Close to it: {}.", names.join(", "))
        };
        Self::no_such_model(format!("The model `{shown}` does not exist or is not open to your key. {hint}"))
    }

    /// There is no model of that name, or none for this endpoint.
    pub fn no_such_model(message: String) -> Self {
        Self::new(ErrorKind::NotFound, "model_not_found", message).with_param(Some("model".to_owned())).with_should_retry(false)
    }

    pub fn limited(exceeded: &Exceeded) -> Self {
        let Exceeded { scope, ref subject, dimension, limit, used, retry_after, resets_at, .. } = *exceeded;
        let whose = match scope {
            ScopeKind::Tenant => "this tenant".to_owned(),
            ScopeKind::Project => format!("the project `{subject}`"),
            ScopeKind::Key => "this API key".to_owned(),
            ScopeKind::Model => format!("the model `{subject}`"),
            ScopeKind::EndUser => format!("the end user `{}`", shown(subject)),
        };
        let what = match dimension {
            Dimension::Requests => format!("{limit} requests per minute, {used} in the last minute"),
            Dimension::Tokens => format!("{limit} tokens per minute, {used} in the last minute"),
            Dimension::Concurrency => format!("{limit} requests at once, {used} are running"),
        };
        let retry_after = retry_after.min(MAX_TOLD_WAIT);
        let seconds = retry_after.as_millis().div_ceil(1000).max(1);
        let message = format!("Rate limit of {whose} reached: {what}. Please retry in {seconds}s.");
        let code = "rate_limit_exceeded";
        let by = RefusedBy {
            scope: Some(scope.as_str().into()),
            subject: Some(shown(subject)),
            dimension: Some(dimension.as_str().into()),
            limit: Some(limit.to_string()),
            used: Some(used.to_string()),
            resets_at,
            ..RefusedBy::new(code, &message)
        };
        Self::new(ErrorKind::RateLimited, code, message).by_limit(by).with_retry_after(retry_after).with_details(ErrorDetails {
            reason: format!("{}_limit", dimension.as_str()),
            scope: Some(scope.as_str().to_owned()),
            subject: Some(subject.clone()),
            dimension: Some(dimension.as_str().to_owned()),
            limit: Some(limit.to_string()),
            used: Some(used.to_string()),
            resets_at,
            ..ErrorDetails::default()
        })
    }

    /// The limits are shared with other processes, and what these have used cannot be told.
    pub fn limits_unknown() -> Self {
        let message = "How much of your rate limits is used cannot be told now: the store the gateway shares them in is slow or away. \
                       Try again shortly.";
        Self::new(ErrorKind::UpstreamUnavailable, "limits_unknown", message)
            .with_retry_after(DEFAULT_RETRY)
            .with_outcome(Outcome::Internal)
            .with_reason("limits_unknown")
    }

    /// `key` is whose request it is.
    pub fn over_budget(exceeded: &BudgetExceeded, key: &KeyEntry) -> Self {
        let BudgetExceeded { reason, scope, is_balance, period, limit, used, currency, resets_at, .. } = exceeded;
        let whose = match scope {
            BudgetScope::Tenant => "your organization".to_owned(),
            BudgetScope::Project { .. } => "this project".to_owned(),
            BudgetScope::Key { .. } => "this API key".to_owned(),
            BudgetScope::Model { model } => format!("the model `{model}`"),
            BudgetScope::EndUser { .. } => "this end user".to_owned(),
        };
        let message = match reason {
            BudgetReason::Exceeded if *is_balance => format!(
                "Your prepaid balance does not cover this request: of {limit} {currency} paid in, {used} {currency} are spent or \
                 reserved. Top it up, or ask your administrator."
            ),
            BudgetReason::Exceeded => {
                let when = match resets_at {
                    Some(at) => format!("It starts anew at {at}."),
                    None => "It does not start anew: ask your administrator.".to_owned(),
                };
                let of = match period {
                    BudgetPeriod::Day => "daily budget",
                    BudgetPeriod::Month => "monthly budget",
                    BudgetPeriod::Total => "budget",
                };
                format!(
                    "The {of} of {whose}, {limit} {currency}, does not cover this request: {used} {currency} are spent or \
                     reserved. {when}"
                )
            }
            BudgetReason::Unknown => {
                let message =
                    "What is left of your budget cannot be told now: the gateway's database is slow or away. Try again shortly.";
                return Self::unavailable(message, None).with_details(ErrorDetails {
                    reason: "budget_unknown".to_owned(),
                    scope: Some(scope.as_str().to_owned()),
                    ..ErrorDetails::default()
                });
            }
            BudgetReason::OtherCurrency(other) => {
                format!("The model is priced in {other}, the budget of {whose} is in {currency}. Ask your administrator.")
            }
        };
        let code = "insufficient_quota";
        let subject = match scope {
            BudgetScope::Tenant => Some(key.tenant.name.to_string()),
            BudgetScope::Project { .. } => key.project().map(|project| project.name.to_string()),
            BudgetScope::Key { .. } => Some(key.name.to_string()),
            BudgetScope::Model { model } => Some(model.clone()),
            BudgetScope::EndUser { end_user } => end_user.as_deref().map(shown),
        };
        let by = RefusedBy {
            scope: Some(scope.as_str().into()),
            subject,
            dimension: Some("spend".into()),
            limit: Some(limit.to_string()),
            used: Some(used.to_string()),
            currency: Some(*currency),
            period: Some(if *is_balance { "balance" } else { period.as_str() }.into()),
            resets_at: *resets_at,
            ..RefusedBy::new(code, &message)
        };
        Self::new(ErrorKind::QuotaExceeded, code, message).by_limit(by).with_should_retry(false).with_details(ErrorDetails {
            reason: if *is_balance { "balance" } else { "budget" }.to_owned(),
            scope: Some(scope.as_str().to_owned()),
            limit: Some(limit.to_string()),
            used: Some(used.to_string()),
            resets_at: *resets_at,
            ..ErrorDetails::default()
        })
    }

    pub fn unavailable(message: impl Into<String>, wait: Option<Duration>) -> Self {
        Self::new(ErrorKind::UpstreamUnavailable, "upstream_unavailable", message).with_retry_after(wait.unwrap_or(DEFAULT_RETRY))
    }

    /// The gateway itself has too much to do. `reason` is a label of metrics.
    pub fn overloaded(reason: &'static str, message: &str) -> Self {
        Self::new(ErrorKind::UpstreamUnavailable, "gateway_overloaded", message)
            .with_retry_after(DEFAULT_RETRY)
            .with_outcome(Outcome::Internal)
            .with_reason(reason)
    }

    pub fn internal() -> Self {
        Self::new(
            ErrorKind::Internal,
            "internal_error",
            "Something went wrong in the gateway. It has been noted under the request id.",
        )
    }

    pub fn stopping() -> Self {
        Self::new(
            ErrorKind::UpstreamUnavailable,
            "shutting_down",
            "The gateway is shutting down. Try again: another one takes over.",
        )
        .with_retry_after(DEFAULT_RETRY)
        .with_outcome(Outcome::Internal)
    }

    /// The form in which the adapter says it.
    pub fn to_reply(&self, request_id: RequestId) -> ErrorReply {
        ErrorReply {
            kind: self.kind,
            code: self.code,
            message: self.message.clone(),
            param: self.param.clone(),
            request_id: request_id.to_string(),
            retry_after: self.retry_after,
            should_retry: self.should_retry,
            details: self
                .more
                .as_deref()
                .map(|more| more.details.clone())
                .or_else(|| Some(ErrorDetails { reason: self.code.to_owned(), ..ErrorDetails::default() })),
        }
    }

    /// The status with which an endpoint of `dialect` says it.
    pub fn status(&self, dialect: Dialect) -> u16 {
        self.status.map_or_else(
            || encode_error(dialect, &self.to_reply(RequestId::from_uuid(uuid::Uuid::nil()))).status,
            |status| status.as_u16(),
        )
    }

    /// The answer of an endpoint of `dialect`, and its status.
    pub fn into_response(self, dialect: Dialect, request_id: RequestId) -> Response<ReplyBody> {
        let encoded = encode_error(dialect, &self.to_reply(request_id));
        let mut response = Response::new(ReplyBody::Whole(encoded.body));
        *response.status_mut() =
            self.status.or_else(|| StatusCode::from_u16(encoded.status).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in encoded.headers {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        response.headers_mut().extend(self.headers);
        response
    }
}

/// As much of a client's name as a message repeats.
fn shown(name: &str) -> String {
    name.chars().take(MAX_SHOWN_CHARS).collect()
}

impl From<BadRequest> for Refusal {
    fn from(bad: BadRequest) -> Self {
        Self::bad_request(bad.code, bad.message).with_param(bad.param)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::limits::Levels;

    async fn body(response: Response<ReplyBody>) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn each_dialect_gets_its_own_words_for_the_same_refusal() {
        for (dialect, status, word) in [
            (Dialect::OpenaiChat, 404, r#""model_not_found""#),
            (Dialect::OpenaiResponses, 404, r#""model_not_found""#),
            (Dialect::Anthropic, 404, r#""not_found_error""#),
            (Dialect::Gemini, 404, r#""NOT_FOUND""#),
        ] {
            let id = RequestId::generate();
            let response = Refusal::unknown_model("smrat", ["smart", "fast"].into_iter()).into_response(dialect, id);
            assert_eq!(response.status(), status, "{dialect}");
            assert_eq!(response.headers()["x-should-retry"], "false");
            let body = body(response).await;
            assert!(body.contains(word) && body.contains("`smart`") && body.contains(&id.to_string()), "{body}");
        }
    }

    fn exceeded(scope: ScopeKind, dimension: Dimension) -> Exceeded {
        Exceeded {
            scope,
            subject: "ada".to_owned(),
            dimension,
            limit: 1_000,
            used: 998,
            retry_after: Duration::from_millis(1_500),
            resets_at: Some(tallygate_types::Timestamp::UNIX_EPOCH),
            levels: Levels::default(),
        }
    }

    #[tokio::test]
    async fn a_rate_limit_says_whose_it_is_how_it_stands_and_how_long_to_wait() {
        let refusal = Refusal::limited(&exceeded(ScopeKind::EndUser, Dimension::Tokens));
        let response = refusal.into_response(Dialect::OpenaiChat, RequestId::from_uuid(uuid::Uuid::nil()));
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after-ms"], "1500");
        assert_eq!(response.headers()["retry-after"], "2");
        let body: serde_json::Value = serde_json::from_str(&body(response).await).unwrap();
        let mut told = body["error"]["tallygate"].clone();
        told.as_object_mut().unwrap().remove("request_id");
        assert_eq!(
            told,
            serde_json::json!({
                "reason": "tokens_limit", "scope": "end_user", "subject": "ada", "dimension": "tokens", "limit": "1000",
                "used": "998", "resets_at": "1970-01-01T00:00:00.000000Z",
            })
        );
    }

    #[test]
    fn each_scope_and_dimension_has_its_words() {
        use {Dimension::*, ScopeKind::*};
        for (scope, dimension, words) in [
            (Tenant, Requests, "of this tenant reached: 1000 requests per minute, 998 in the last minute."),
            (Project, Tokens, "of the project `ada` reached: 1000 tokens per minute, 998 in the last minute."),
            (Key, Concurrency, "of this API key reached: 1000 requests at once, 998 are running."),
            (Model, Requests, "of the model `ada` reached: 1000 requests per minute, 998 in the last minute."),
            (EndUser, Requests, "of the end user `ada` reached: 1000 requests per minute, 998 in the last minute."),
        ] {
            let message = Refusal::limited(&exceeded(scope, dimension)).message;
            assert_eq!(message, format!("Rate limit {words} Please retry in 2s."));
        }
    }

    #[test]
    fn a_spent_budget_is_not_worth_a_retry() {
        let exceeded = BudgetExceeded {
            reason: BudgetReason::Exceeded,
            scope: BudgetScope::Tenant,
            is_balance: true,
            period: BudgetPeriod::Total,
            limit: "1".parse().unwrap(),
            used: "0.99".parse().unwrap(),
            left: "0.01".parse().unwrap(),
            currency: tallygate_types::Currency::USD,
            resets_at: None,
        };
        let key = KeyEntry::named("ci", std::sync::Arc::new(tallygate_store::TenantEntry::named("acme")));
        let refusal = Refusal::over_budget(&exceeded, &key);
        let said = "Your prepaid balance does not cover this request: of 1 USD paid in, 0.99 USD are spent or reserved. Top it up, or \
                    ask your administrator.";
        assert_eq!(refusal.message, said);
        let response = refusal.into_response(Dialect::OpenaiChat, RequestId::generate());
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-should-retry"]),
            (429, &HeaderValue::from_static("false"))
        );
    }

    #[test]
    fn only_names_that_are_close_are_offered() {
        let refusal = Refusal::unknown_model("gpt-4o", ["gpt-4o-mini", "claude-sonnet", "zzz"].into_iter());
        assert!(refusal.message.contains("`gpt-4o-mini`") && !refusal.message.contains("zzz"), "{}", refusal.message);
        let refusal = Refusal::unknown_model("xyz", ["aaa"].into_iter());
        assert!(refusal.message.contains("/v1/models"), "{}", refusal.message);
    }
}
