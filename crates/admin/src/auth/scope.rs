//! What of the tenants' data a caller reaches. It comes from the caller's credential, through this one place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::FromRequestParts;
use http::request::Parts;
use tallygate_store::TenantScope;
use tallygate_types::TenantId;

use super::Principal;
use super::principal::Reach;
use crate::problem::{FieldError, Problem, Result};

/// The rows the caller reaches. A handler gets it as an argument and hands [`Scope::rows`] to the store; no other place of this
/// crate names a `TenantScope` that is open to all tenants (a test reads the sources). A route that people of tenants may call
/// and whose handler does not take it answers 500 (`routes::admit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope(Reach);

/// Whether the handler asked for the scope.
#[derive(Debug, Clone, Default)]
pub struct ScopeTaken(Arc<AtomicBool>);

impl ScopeTaken {
    pub fn is_taken(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Scope {
    pub const fn rows(self) -> TenantScope {
        match self.0 {
            Reach::Platform => TenantScope::All,
            Reach::Tenant(tenant) => TenantScope::Only(tenant),
            Reach::Member(tenant, user) => TenantScope::Member(tenant, user),
        }
    }

    pub const fn is_platform(self) -> bool {
        matches!(self.0, Reach::Platform)
    }

    /// The tenant the caller is of.
    pub const fn tenant(self) -> Option<TenantId> {
        match self.0 {
            Reach::Platform => None,
            Reach::Tenant(tenant) | Reach::Member(tenant, _) => Some(tenant),
        }
    }

    /// Refuses query parameters that ask about what only the platform's staff sees: rows that match would tell.
    pub fn check_staff_parameters(self, given: &[(&str, bool)]) -> Result<()> {
        match given.iter().find(|(_, is_given)| *is_given && !self.is_platform()) {
            None => Ok(()),
            Some((name, _)) => {
                let reason = format!("Only the platform's staff can ask by `{name}`.");
                Err(Problem::bad_request("invalid_parameter", reason.clone()).with_errors(vec![FieldError::new(
                    *name,
                    "staff_only",
                    reason,
                )]))
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Scope {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let principal = Principal::from_request_parts(parts, state).await?;
        if let Some(ScopeTaken(taken)) = parts.extensions.get() {
            taken.store(true, Ordering::Relaxed);
        }
        Ok(Self(principal.reach))
    }
}
