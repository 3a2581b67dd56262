//! Failures as RFC 9457 problem details. The one place where an error becomes a response.

use std::ops::{Deref, DerefMut};

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use tallygate_store::StoreError;
use utoipa::ToSchema;

use crate::auth::Permission;

/// A failure on its way to the caller. Boxed, because every handler's result has room for one.
#[derive(Debug, Clone)]
pub struct Problem(Box<Details>);

/// A failure, as the API answers it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Details {
    /// A URL that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to do about it.
    pub detail: String,
    /// The id of the request.
    pub instance: String,
    /// The kind of problem for programs; it does not change between releases.
    #[schema(example = "validation_failed")]
    pub code: String,
    /// The fields at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FieldError>,
    /// On a 412: the resource as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Value>,
    #[serde(skip)]
    retry_after_seconds: Option<u64>,
    #[serde(skip)]
    etag: Option<String>,
}

/// One field of the request that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// A JSON pointer into the body (`/limits/concurrency`), or the name of a query parameter.
    #[schema(example = "/name")]
    pub pointer: String,
    /// The rule that was broken, for programs.
    #[schema(example = "too_long")]
    pub rule: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

impl FieldError {
    pub fn new(pointer: impl Into<String>, rule: &str, reason: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), rule: rule.to_owned(), reason: reason.into() }
    }
}

impl Problem {
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind: format!("/docs/problems/{}", code.replace('_', "-")),
            title: status.canonical_reason().unwrap_or("Failure").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            instance: String::new(),
            code: code.to_owned(),
            errors: Vec::new(),
            current: None,
            retry_after_seconds: None,
            etag: None,
        }))
    }

    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "Sign in first: POST /admin/v1/session, or send `Authorization: Bearer tgadm1_…`.",
        )
    }

    pub fn forbidden(permission: Permission) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "permission_denied",
            format!("This needs the permission `{}`, which your role does not carry.", permission.as_str()),
        )
    }

    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("There is no such {what}."))
    }

    pub fn conflict(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// The same problem, saying which fields are at fault.
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.errors = errors;
        self
    }

    /// The same problem, saying when to come back.
    fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// 400: the request itself cannot be read.
    pub fn bad_request(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 422: the request reads well, but these fields cannot be accepted.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => one.reason.clone(),
            many => format!("{} fields cannot be accepted.", many.len()),
        };
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_failed", detail).with_errors(errors)
    }

    pub fn invalid_field(pointer: &str, rule: &str, reason: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(pointer, rule, reason)])
    }

    pub fn if_match_required() -> Self {
        Self::new(
            StatusCode::PRECONDITION_REQUIRED,
            "if_match_required",
            "Send `If-Match` with the ETag of the version you read, so that nobody's change is overwritten unseen.",
        )
    }

    /// 412: somebody changed the resource since it was read. `current` is what it is now.
    pub fn version_mismatch(current: Value, etag: String) -> Self {
        let mut problem = Self::new(
            StatusCode::PRECONDITION_FAILED,
            "version_mismatch",
            "The resource has changed since you read it; `current` is what it is now.",
        );
        (problem.current, problem.etag) = (Some(current), Some(etag));
        problem
    }

    pub fn too_many(code: &str, detail: impl Into<String>, retry_after_seconds: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail).with_retry_after(retry_after_seconds)
    }

    /// 500. The cause goes to the log, never to the caller.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "an admin request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The request failed on our side; the log has the cause.")
    }

    /// 503. The store cannot be reached now.
    pub fn store_unavailable(cause: impl std::fmt::Display) -> Self {
        tracing::warn!(%cause, "the store is unavailable");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", "The database cannot be reached now; try again.")
            .with_retry_after(STORE_RETRY_SECONDS)
    }

    /// A failure of the store about a part of the body at `pointer`.
    pub fn within(error: StoreError, pointer: &str) -> Self {
        let mut problem = Self::from(error);
        for error in &mut problem.errors {
            error.pointer.insert_str(0, pointer);
        }
        problem
    }

    /// The same problem with its request id.
    pub(crate) fn with_instance(mut self, request_id: &str) -> Self {
        request_id.clone_into(&mut self.instance);
        self
    }
}

impl Deref for Problem {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let said = error.to_string();
        match error {
            StoreError::NotFound { kind, .. } => Self::not_found(kind),
            StoreError::AlreadyExists { field, .. } => {
                let error = FieldError::new(pointer_of(field), "taken", said.clone());
                Self::conflict("already_exists", said).with_errors(vec![error])
            }
            // Between reading and writing somebody was faster; the next read shows what they wrote.
            StoreError::VersionMismatch { .. } => Self::new(StatusCode::PRECONDITION_FAILED, "version_mismatch", said),
            StoreError::InUse { .. } => Self::conflict("in_use", said),
            StoreError::Invalid { field: "after", reason } => Self::bad_request(
                "invalid_parameter",
                format!("`after`: {reason}."),
            )
            .with_errors(vec![FieldError::new("after", "unreadable", reason)]),
            StoreError::Invalid { field, reason } => Self::invalid_field(&pointer_of(field), "invalid", reason),
            StoreError::SetupToken { .. } => Self::new(StatusCode::FORBIDDEN, "setup_token_invalid", said),
            StoreError::Unavailable(cause) => Self::store_unavailable(cause),
            other => Self::internal(other),
        }
    }
}

/// A JSON pointer of the store's way to name a field: `budget.amount`.
fn pointer_of(field: &str) -> String {
    format!("/{}", field.replace('.', "/"))
}

/// When to come back while the store is away.
const STORE_RETRY_SECONDS: u64 = 2;

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&*self.0).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(etag) = self.etag.as_deref().and_then(|etag| HeaderValue::from_str(etag).ok()) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        // The layer that knows the request id writes it into the body (`instance`).
        response.extensions_mut().insert(self);
        response
    }
}

pub(crate) type Result<T> = std::result::Result<T, Problem>;
