//! `/audit-events`: who changed what, when, from where and why.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tallygate_billing::audit::{self, AuditFilter, AuditRow};
use tallygate_types::{AuditEventId, TenantId, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::AppState;
use crate::auth::{Permission, Role, Scope};
use crate::http_form::{Page, Params, page_request};
use crate::problem::Result;
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes.add(Access::Needs(Permission::AuditRead), routes!(list_audit_events))
}

/// Who acted.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Actor {
    /// `user`, `admin_token`, `cli` or `system`; to people of a tenant, `operator` for whoever is not of it.
    #[schema(example = "user")]
    pub kind: String,
    #[schema(required = true)]
    pub id: Option<String>,
    #[schema(required = true)]
    pub name: Option<String>,
    /// The role at that time.
    #[schema(required = true)]
    pub role: Option<String>,
}

/// One change, or one act worth remembering.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AuditEvent {
    #[schema(value_type = String)]
    pub id: AuditEventId,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub actor: Actor,
    #[schema(example = "tenant.updated")]
    pub action: String,
    #[schema(example = "tenant")]
    pub target_kind: String,
    #[schema(required = true)]
    pub target_id: Option<String>,
    /// What people called it at that time.
    #[schema(required = true)]
    pub target_name: Option<String>,
    #[schema(value_type = Option<String>, required = true)]
    pub tenant_id: Option<TenantId>,
    /// The resource before; secrets are never in it.
    #[schema(value_type = Option<Object>, required = true)]
    pub before: Option<Value>,
    /// The resource after.
    #[schema(value_type = Option<Object>, required = true)]
    pub after: Option<Value>,
    #[schema(required = true)]
    pub request_id: Option<String>,
    #[schema(required = true)]
    pub ip: Option<String>,
    #[schema(required = true)]
    pub user_agent: Option<String>,
    /// What the caller gave as `X-Tallygate-Reason`.
    #[schema(required = true)]
    pub reason: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListAuditEvents {
    actor_id: Option<String>,
    action: Option<String>,
    target_kind: Option<String>,
    target_id: Option<String>,
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// At or after.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Before.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists audit events, newest first.
#[utoipa::path(get, path = "/admin/v1/audit-events", tag = "audit", params(ListAuditEvents),
    responses((status = 200, body = Page<AuditEvent>)))]
async fn list_audit_events(
    State(state): State<AppState>,
    scope: Scope,
    Params(query): Params<ListAuditEvents>,
) -> Result<axum::Json<Page<AuditEvent>>> {
    let filter = AuditFilter {
        tenant: query.tenant_id,
        actor_id: query.actor_id,
        action: query.action,
        target_kind: query.target_kind,
        target_id: query.target_id,
        from: query.from,
        to: query.to,
    };
    let page = audit::list(&state.store, scope.rows(), &filter, &page_request(query.limit, query.after)?).await?;
    Ok(axum::Json(Page::of(page, |row| {
        let event = AuditEvent::from(row);
        if scope.is_platform() { event } else { event.for_its_tenant() }
    })))
}

/// Kinds of things whose state before and after is shown to the tenant they belong to: it sees the things themselves, too.
const SHOWN_TO_TENANTS: [&str; 5] = ["tenant", "project", "api_key", "budget", "user"];
/// What a tenant calls whoever is not of it.
const OPERATOR: &str = "operator";

impl AuditEvent {
    /// Without who of the staff acted, from where and why, and without what a tenant does not see of its own resources.
    fn for_its_tenant(mut self) -> Self {
        let is_of_tenant = |role: &str| [Role::TenantAdmin, Role::TenantMember].iter().any(|own| own.as_str() == role);
        if !self.actor.role.as_deref().is_some_and(is_of_tenant) {
            self.actor = Actor { kind: OPERATOR.to_owned(), id: None, name: None, role: None };
            (self.request_id, self.ip, self.user_agent, self.reason) = (None, None, None, None);
        }
        if !SHOWN_TO_TENANTS.contains(&self.target_kind.as_str()) {
            (self.before, self.after) = (None, None);
        }
        self
    }
}

impl From<AuditRow> for AuditEvent {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id,
            at: row.at,
            actor: Actor { kind: row.actor.kind, id: row.actor.id, name: row.actor.name, role: row.actor.role },
            action: row.action,
            target_kind: row.target_kind,
            target_id: row.target_id,
            target_name: row.target_name,
            tenant_id: row.tenant_id,
            before: row.before,
            after: row.after,
            request_id: row.request_id,
            ip: row.ip,
            user_agent: row.user_agent,
            reason: row.reason,
        }
    }
}
