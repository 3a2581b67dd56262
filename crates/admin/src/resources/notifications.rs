//! `/notifications`: what somebody was told, or is to be told, of budgets and balances.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tallygate_billing::alerts;
use tallygate_types::{NotificationId, TenantId, Timestamp};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::AppState;
use crate::audit::{Change, Target};
use crate::auth::{Permission, Scope};
use crate::http_form::{Page, Params, Path, page_request};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::NotificationsRead), routes!(list_notifications))
        .add(Access::Needs(Permission::NotificationsRetry), routes!(retry_notification))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotificationState {
    /// Not told yet.
    Pending,
    /// Told by every way there is.
    Sent,
    /// Given up; `last_error` says why.
    Failed,
    /// Nobody is configured to be told.
    Recorded,
}

/// What somebody is told: once for each percent of a window, and for each entry after which a balance falls low.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Notification {
    #[schema(value_type = String, example = "ntf_01935000000070008000000000000010")]
    pub id: NotificationId,
    #[schema(value_type = String)]
    pub tenant_id: TenantId,
    pub state: NotificationState,
    /// What is told, as webhooks get it: `type` is `budget.threshold` or `balance.low`.
    #[schema(value_type = Object)]
    pub event: Value,
    /// By which ways it was told: `webhook`, `mail`, `tenant_mail`.
    pub delivered: Vec<String>,
    pub attempts: u32,
    /// Of one that is pending.
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub next_attempt_at: Option<Timestamp>,
    #[schema(required = true)]
    pub last_error: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListNotifications {
    #[param(inline)]
    state: Option<NotificationState>,
    /// Only notifications about this tenant.
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists notifications, newest first.
#[utoipa::path(get, path = "/admin/v1/notifications", tag = "notifications", params(ListNotifications),
    responses((status = 200, body = Page<Notification>)))]
async fn list_notifications(
    State(state): State<AppState>,
    Params(query): Params<ListNotifications>,
) -> Result<axum::Json<Page<Notification>>> {
    let filter = alerts::NotificationFilter { state: query.state.map(Into::into), tenant: query.tenant_id };
    let page = alerts::list(&state.store, filter, &page_request(query.limit, query.after)?).await?;
    Ok(axum::Json(Page::of(page, Notification::from)))
}

/// Has a notification told anew that was given up, or that nobody was configured for, by the ways it was not told by yet.
#[utoipa::path(post, path = "/admin/v1/notifications/{id}:retry", tag = "notifications", params(("id" = String, Path)),
    responses((status = 200, body = Notification)))]
async fn retry_notification(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<NotificationId>,
    change: Change,
) -> Result<axum::Json<Notification>> {
    let mut tx = state.store.begin().await?;
    let before = Notification::from(alerts::get(&mut tx, scope.rows(), id).await?);
    if matches!(before.state, NotificationState::Pending | NotificationState::Sent) {
        let detail = "It is told already, or about to be.";
        return Err(Problem::conflict("not_given_up", detail));
    }
    let after = Notification::from(alerts::retry(&mut tx, scope.rows(), id).await?);
    let target = Target { kind: "notification", id: id.to_string(), name: "", tenant: Some(after.tenant_id) };
    change.record(&mut tx, "notification.retried", target, Some(&before), Some(&after)).await?;
    tx.commit().await?;
    Ok(axum::Json(after))
}

impl From<alerts::Notification> for Notification {
    fn from(row: alerts::Notification) -> Self {
        let state = NotificationState::from(row.state);
        Self {
            id: row.id,
            tenant_id: row.tenant_id,
            state,
            event: row.event,
            delivered: row.delivered,
            attempts: row.attempts,
            next_attempt_at: (state == NotificationState::Pending).then_some(row.next_attempt_at),
            last_error: row.last_error,
            created_at: row.created_at,
        }
    }
}

impl From<alerts::NotificationState> for NotificationState {
    fn from(state: alerts::NotificationState) -> Self {
        match state {
            alerts::NotificationState::Pending => Self::Pending,
            alerts::NotificationState::Sent => Self::Sent,
            alerts::NotificationState::Failed => Self::Failed,
            alerts::NotificationState::Recorded => Self::Recorded,
        }
    }
}

impl From<NotificationState> for alerts::NotificationState {
    fn from(state: NotificationState) -> Self {
        match state {
            NotificationState::Pending => Self::Pending,
            NotificationState::Sent => Self::Sent,
            NotificationState::Failed => Self::Failed,
            NotificationState::Recorded => Self::Recorded,
        }
    }
}
