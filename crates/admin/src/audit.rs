//! What the audit trail notes of a change beside the change itself.

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::auth::Principal;
use crate::problem::{Problem, Result};

/// The header in which a caller may say why.
pub const REASON_HEADER: &str = "x-tallygate-reason";
/// The longest reason, in bytes.
const MAX_REASON_BYTES: usize = 500;

/// Who changes something, from where and why.
#[derive(Debug, Clone)]
pub struct Change {
    pub principal: Principal,
    pub request: RequestContext,
    pub reason: Option<String>,
}

/// What the outermost layer knows of a request.
#[derive(Debug, Clone)]
pub struct RequestContext {
    pub request_id: String,
    pub ip: Option<std::net::IpAddr>,
}

impl<S: Send + Sync> FromRequestParts<S> for Change {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let principal = Principal::from_request_parts(parts, state).await?;
        let request = parts
            .extensions
            .get::<RequestContext>()
            .cloned()
            .ok_or_else(|| Problem::internal("the request context layer is missing"))?;
        let reason = match parts.headers.get(REASON_HEADER) {
            None => None,
            Some(value) => {
                // Browsers send a header's UTF-8 as they get it; anything else is refused rather than garbled.
                let text = std::str::from_utf8(value.as_bytes())
                    .ok()
                    .filter(|text| text.len() <= MAX_REASON_BYTES && !text.chars().any(char::is_control))
                    .ok_or_else(|| {
                        Problem::bad_request(
                            "invalid_reason",
                            format!("`X-Tallygate-Reason` must be at most {MAX_REASON_BYTES} bytes of printable UTF-8."),
                        )
                    })?;
                Some(text.to_owned()).filter(|text| !text.is_empty())
            }
        };
        Ok(Self { principal, request, reason })
    }
}
