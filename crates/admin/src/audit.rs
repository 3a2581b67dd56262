//! The trail of changes: who, from where, why, and what became of the resource. Written in the transaction of the change.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::Serialize;
use tallygate_billing::audit::{self, Actor, AuditEvent};
use tallygate_store::Tx;
use tallygate_types::TenantId;

use crate::auth::{Principal, PrincipalKind};
use crate::problem::{Problem, Result};

/// The header in which a caller may say why.
pub const REASON_HEADER: &str = "x-tallygate-reason";
/// The longest reason, in bytes.
const MAX_REASON_BYTES: usize = 500;

/// Who changes something, from where and why. A handler that writes takes it.
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
    pub ip: Option<IpAddr>,
    pub user_agent: Option<String>,
}

/// What a change is about.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// `tenant`, `api_key`, …; actions are named after it.
    pub kind: &'static str,
    pub id: String,
    pub name: &'a str,
    /// The tenant whose trail it belongs to.
    pub tenant: Option<TenantId>,
}

impl Change {
    pub async fn created<T: Serialize>(&self, tx: &mut Tx, target: Target<'_>, after: &T) -> Result<()> {
        let action = format!("{}.created", target.kind);
        self.record(tx, &action, target, None::<&T>, Some(after)).await
    }

    pub async fn updated<T: Serialize>(&self, tx: &mut Tx, target: Target<'_>, before: &T, after: &T) -> Result<()> {
        let action = format!("{}.updated", target.kind);
        self.record(tx, &action, target, Some(before), Some(after)).await
    }

    pub async fn deleted<T: Serialize>(&self, tx: &mut Tx, target: Target<'_>, before: &T) -> Result<()> {
        let action = format!("{}.deleted", target.kind);
        self.record(tx, &action, target, Some(before), None::<&T>).await
    }

    pub async fn record<B: Serialize, A: Serialize>(
        &self,
        tx: &mut Tx,
        action: &str,
        target: Target<'_>,
        before: Option<&B>,
        after: Option<&A>,
    ) -> Result<()> {
        let event = AuditEvent {
            target_name: Some(target.name.to_owned()),
            tenant: target.tenant,
            before: before.map(serde_json::to_value).transpose().map_err(Problem::internal)?,
            after: after.map(serde_json::to_value).transpose().map_err(Problem::internal)?,
            reason: self.reason.clone(),
            ..self.request.event(self.principal.actor(), action, target.kind, &target.id)
        };
        audit::record(tx, event).await?;
        Ok(())
    }
}

impl RequestContext {
    /// An event that knows where the request came from.
    pub fn event(&self, actor: Actor, action: &str, target_kind: &str, target_id: &str) -> AuditEvent {
        AuditEvent {
            request_id: Some(self.request_id.clone()),
            ip: self.ip,
            user_agent: self.user_agent.clone(),
            ..AuditEvent::new(actor, action, target_kind, target_id)
        }
    }
}

impl Principal {
    /// How the trail names the caller.
    pub fn actor(&self) -> Actor {
        let (kind, id) = match &self.kind {
            PrincipalKind::User { user, .. } => ("user", user.to_string()),
            PrincipalKind::Token { id } => ("admin_token", id.to_string()),
        };
        Actor { kind: kind.to_owned(), id: Some(id), name: Some(self.name.clone()), role: Some(self.role.as_str().to_owned()) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::internal("the request context layer is missing"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Change {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let principal = Principal::from_request_parts(parts, state).await?;
        let request = RequestContext::from_request_parts(parts, state).await?;
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
