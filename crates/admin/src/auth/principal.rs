//! The authenticated caller.

use axum::extract::FromRequestParts;
use http::request::Parts;
use tallygate_types::{AdminTokenId, SessionId, TenantId, UserId};

use super::{Permission, Role};
use crate::problem::Problem;

/// Who calls. Only the authentication layer makes one.
#[derive(Debug, Clone)]
pub struct Principal {
    pub kind: PrincipalKind,
    /// What people call them: an e-mail address, or a token's name.
    pub name: String,
    pub role: Role,
    pub(super) reach: Reach,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrincipalKind {
    /// A person with a session in the dashboard.
    User { user: UserId, session: SessionId },
    /// A program with an admin token.
    Token { id: AdminTokenId },
}

/// Whose data the caller reaches. Handlers get it as [`Scope`](super::Scope).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Platform,
    Tenant(TenantId),
    Member(TenantId, UserId),
}

impl Principal {
    pub const fn may(&self, permission: Permission) -> bool {
        permission.is_granted_to(self.role)
    }

    /// Somebody of a tenant, for tests of what stands before the handlers.
    #[cfg(test)]
    pub fn of_tenant(role: Role) -> Self {
        let kind = PrincipalKind::User { user: UserId::generate(), session: SessionId::generate() };
        Self { kind, name: "ada@example.com".to_owned(), role, reach: Reach::Tenant(TenantId::generate()) }
    }

    /// The tenant the caller is of; `None` for the platform's staff.
    pub const fn tenant(&self) -> Option<TenantId> {
        match self.reach {
            Reach::Platform => None,
            Reach::Tenant(tenant) | Reach::Member(tenant, _) => Some(tenant),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unauthenticated)
    }
}
