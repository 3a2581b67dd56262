//! How requests are read and answers are written: strict bodies and queries, merge patches, pages, ETags.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use tallygate_store::{Cursor, PageRequest, StoreError};
use utoipa::ToSchema;

use crate::form::ManagedBy;
use crate::problem::{FieldError, Problem, Result};

/// Items of a page when `limit` is not given.
pub const DEFAULT_PAGE_LIMIT: u32 = 50;
/// The largest page.
pub const MAX_PAGE_LIMIT: u32 = 200;
/// The largest request body.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub data: Vec<T>,
    /// Whether there is more after this page.
    pub has_more: bool,
    /// Give it as `after` to read the next page. Opaque.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    pub fn new(data: Vec<T>, next_cursor: Option<String>) -> Self {
        Self { data, has_more: next_cursor.is_some(), next_cursor }
    }

    /// A page of the store, converted.
    pub fn of<R>(page: tallygate_store::Page<R>, convert: impl FnMut(R) -> T) -> Self {
        Self::new(page.data.into_iter().map(convert).collect(), page.next.map(|cursor| cursor.to_string()))
    }
}

/// What a list's `limit` and `after` ask of the store.
pub fn page_request(limit: Option<u32>, after: Option<String>) -> Result<PageRequest> {
    Ok(PageRequest { after: after.map(Cursor::new), limit: Some(page_limit(limit)?) })
}

/// Checks a page's `limit`.
pub fn page_limit(limit: Option<u32>) -> Result<u32> {
    match limit {
        None => Ok(DEFAULT_PAGE_LIMIT),
        Some(limit @ 1..=MAX_PAGE_LIMIT) => Ok(limit),
        Some(_) => Err(invalid_parameter("limit", "out_of_range", format!("`limit` must be from 1 to {MAX_PAGE_LIMIT}."))),
    }
}

pub fn invalid_parameter(name: &str, rule: &str, reason: impl Into<String>) -> Problem {
    let reason = reason.into();
    Problem::bad_request("invalid_parameter", reason.clone()).with_errors(vec![FieldError::new(name, rule, reason)])
}

/// A failure of the store about what came as a query parameter.
pub fn about_parameter(error: StoreError) -> Problem {
    match error {
        StoreError::Invalid { field, reason } => invalid_parameter(field, "invalid", reason),
        other => other.into(),
    }
}

/// A query string; unknown parameters are an error, for a misspelt filter would return more than was asked for.
#[derive(Debug)]
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|rejection| {
            let reason = rejection.body_text();
            let name = reason.split('`').nth(1).unwrap_or("").to_owned();
            invalid_parameter(&name, "unreadable", reason)
        })
    }
}

/// A path parameter that must read as `T`; what does not is nobody's id, hence 404.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(path) => Ok(Self(path.0)),
            Err(rejection) => Err(Problem::new(StatusCode::NOT_FOUND, "not_found", rejection.body_text())),
        }
    }
}

/// A JSON body of at most [`MAX_BODY_BYTES`].
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Send the body as `Content-Type: application/json`.",
            ));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "body_too_large",
                    format!("The body may have at most {MAX_BODY_BYTES} bytes."),
                )
            } else {
                Problem::bad_request("unreadable_body", rejection.body_text())
            }
        })?;
        read_json(&bytes).map(Self)
    }
}

/// `application/json`, or `application/merge-patch+json` for a PATCH.
pub fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json") || essence.eq_ignore_ascii_case("application/merge-patch+json")
}

fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let deserializer = &mut serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut *deserializer).map_err(|error| {
        let mut pointer = String::new();
        for segment in error.path() {
            use serde_path_to_error::Segment;
            match segment {
                Segment::Seq { index } => pointer.extend(["/", &index.to_string()]),
                Segment::Map { key } | Segment::Enum { variant: key } => {
                    pointer.extend(["/", &key.replace('~', "~0").replace('/', "~1")]);
                }
                Segment::Unknown => {}
            }
        }
        let cause = error.into_inner();
        if cause.is_data() {
            let reason = cause.to_string();
            let rule = if reason.starts_with("unknown field") {
                "unknown_field"
            } else if reason.starts_with("missing field") {
                "required"
            } else {
                "invalid"
            };
            Problem::invalid_field(&pointer, rule, reason)
        } else {
            not_json(&cause)
        }
    })?;
    deserializer.end().map_err(|cause| not_json(&cause))?;
    Ok(value)
}

fn not_json(cause: &serde_json::Error) -> Problem {
    Problem::bad_request("unreadable_body", format!("The body is not JSON: {cause}."))
}

/// A member of a JSON merge patch (RFC 7396): absent leaves, null clears, a value sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Patch<T> {
    #[default]
    Absent,
    Null,
    Set(T),
}

impl<T> Patch<T> {
    /// What stands after the patch, where `None` is a value of its own.
    pub fn apply(self, current: Option<T>) -> Option<T> {
        match self {
            Self::Absent => current,
            Self::Null => None,
            Self::Set(value) => Some(value),
        }
    }

    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Self::Absent => Patch::Absent,
            Self::Null => Patch::Null,
            Self::Set(value) => Patch::Set(convert(value)),
        }
    }

    pub const fn set(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Set))
    }
}

/// A member of a merge patch that may be absent but not cleared: `null` is refused rather than passed over.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The ETag of a resource's version: `"v7"`.
pub fn etag(version: i64) -> String {
    format!("\"v{version}\"")
}

/// The version a write was meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IfMatch(pub i64);

impl IfMatch {
    /// Checks that the resource is still what the caller read, and that the API may change what the file declares of it.
    pub fn check<T: Versioned>(self, current: &T, managed_by: ManagedBy) -> Result<()> {
        self.check_version(current)?;
        managed_by.admit(false)
    }

    /// Checks that the resource is still what the caller read.
    pub fn check_version<T: Versioned>(self, current: &T) -> Result<()> {
        if current.version() == self.0 {
            return Ok(());
        }
        let body = serde_json::to_value(current).map_err(Problem::internal)?;
        Err(Problem::version_mismatch(body, etag(current.version())))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let value = parts.headers.get(header::IF_MATCH).ok_or_else(Problem::if_match_required)?;
        value
            .to_str()
            .ok()
            .and_then(|text| text.trim().strip_prefix("\"v")?.strip_suffix('"')?.parse().ok())
            .map(Self)
            .ok_or_else(|| {
                Problem::bad_request("invalid_if_match", "`If-Match` must be one ETag as we gave it, such as `\"v7\"`.")
            })
    }
}

/// What has a version and thereby an ETag.
pub trait Versioned: Serialize {
    fn version(&self) -> i64;
}

/// 200 with the resource and its ETag.
#[derive(Debug)]
pub struct Found<T>(pub T);

impl<T: Versioned> IntoResponse for Found<T> {
    fn into_response(self) -> Response {
        let tag = etag(self.0.version());
        ([(header::ETAG, tag)], axum::Json(self.0)).into_response()
    }
}

/// 201 with the new resource, its address and its ETag.
#[derive(Debug)]
pub struct Created<T> {
    pub location: String,
    pub resource: T,
}

impl<T: Versioned> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let tag = etag(self.resource.version());
        let mut response = (StatusCode::CREATED, [(header::ETAG, tag)], axum::Json(self.resource)).into_response();
        if let Ok(location) = HeaderValue::from_str(&self.location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Example {
        #[serde(default)]
        note: Patch<String>,
    }

    #[test]
    fn a_merge_patch_tells_absent_from_null() {
        let read = |text: &str| read_json::<Example>(text.as_bytes()).unwrap().note;
        assert_eq!(read("{}"), Patch::Absent);
        assert_eq!(read(r#"{"note":null}"#), Patch::Null);
        assert_eq!(read(r#"{"note":"x"}"#), Patch::Set("x".to_owned()));
        assert_eq!(read("{}").apply(Some("kept".to_owned())), Some("kept".to_owned()));
        assert_eq!(read(r#"{"note":null}"#).apply(Some("kept".to_owned())), None);
    }

    #[test]
    fn an_unknown_member_is_refused_and_pointed_at() {
        let problem = read_json::<Example>(br#"{"nota":1}"#).unwrap_err();
        assert_eq!((problem.status, problem.code.as_str()), (422, "validation_failed"));
        assert_eq!(problem.errors[0].rule, "unknown_field");
        assert_eq!(problem.errors[0].pointer, "/nota");
    }

    #[test]
    fn a_page_is_bounded() {
        assert_eq!(page_limit(None).unwrap(), 50);
        assert_eq!(page_limit(Some(200)).unwrap(), 200);
        assert_eq!(page_limit(Some(201)).unwrap_err().status, 400);
        assert_eq!(page_limit(Some(0)).unwrap_err().status, 400);
    }
}
