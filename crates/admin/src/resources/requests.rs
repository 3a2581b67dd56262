//! `/requests`: every call of every tenant, with what it used and what it cost.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tallygate_types::{ApiKeyId, CredentialId, ModelId, PriceVersionId, RequestId, TenantId, Timestamp, UpstreamId};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use crate::AppState;
use crate::auth::{Permission, Principal};
use crate::form::{Dialect, Money, Usage};
use crate::http_form::{Page, Params, Path};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::RequestsRead), routes!(list_requests))
        .add(Access::Needs(Permission::RequestsRead), routes!(get_request))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    /// The request could not be accepted as it was.
    ClientError,
    RateLimited,
    QuotaExceeded,
    UpstreamError,
    Timeout,
    /// The client hung up.
    ClientGone,
    Internal,
    /// The gateway stopped in the middle; usage is from the last checkpoint.
    Crash,
}

/// Where the token counts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// The provider said so.
    Provider,
    /// Estimated from what was delivered.
    Estimated,
    /// From the last checkpoint before a crash.
    Crash,
    /// Nothing was used.
    None,
}

/// A call, as a row of the list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RequestSummary {
    #[schema(value_type = String, example = "req_01935000000070008000000000000010")]
    pub id: RequestId,
    #[schema(value_type = String, format = DateTime)]
    pub accepted_at: Timestamp,
    #[schema(value_type = String)]
    pub tenant_id: TenantId,
    /// The tenant's name today; null if it is gone.
    #[schema(required = true)]
    pub tenant: Option<String>,
    #[schema(value_type = String)]
    pub key_id: ApiKeyId,
    /// The key's name today.
    #[schema(required = true)]
    pub key: Option<String>,
    /// The user the caller named.
    #[schema(required = true)]
    pub end_user: Option<String>,
    #[schema(example = "chat_completions")]
    pub endpoint: String,
    pub client_dialect: Dialect,
    #[schema(required = true)]
    pub upstream_dialect: Option<Dialect>,
    /// The model asked for.
    pub model: String,
    #[schema(value_type = Option<String>, required = true)]
    pub model_id: Option<ModelId>,
    /// The model sent to the upstream.
    #[schema(required = true)]
    pub upstream_model: Option<String>,
    /// The model the upstream says it answered with.
    #[schema(required = true)]
    pub returned_model: Option<String>,
    #[schema(value_type = Option<String>, required = true)]
    pub upstream_id: Option<UpstreamId>,
    #[schema(required = true)]
    pub upstream: Option<String>,
    /// How many upstreams were tried.
    pub attempts: u32,
    pub stream: bool,
    pub outcome: Outcome,
    /// The HTTP status the client got.
    pub status: u16,
    #[schema(required = true)]
    pub error_code: Option<String>,
    #[schema(required = true)]
    pub finish_reason: Option<String>,
    /// From accepting the request to the first byte of the answer.
    #[schema(required = true)]
    pub first_byte_ms: Option<u64>,
    pub duration_ms: u64,
    /// What the gateway itself added.
    pub overhead_us: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub usage_source: UsageSource,
    /// What the tenant is charged; null if nothing could be charged, or without the permission `money.read`.
    #[schema(required = true)]
    pub charge: Option<Money>,
}

/// One attempt at one upstream.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Attempt {
    pub upstream: String,
    #[schema(value_type = Option<String>, required = true)]
    pub credential_id: Option<CredentialId>,
    /// The status the upstream answered.
    #[schema(required = true)]
    pub status: Option<u16>,
    #[schema(example = "rate_limited")]
    pub outcome: String,
    #[schema(required = true)]
    pub reason: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    pub duration_us: u64,
}

/// One product of the sum a charge is.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ChargeLine {
    /// The class of tokens.
    #[schema(example = "output_reasoning")]
    pub class: String,
    /// The class whose price applied.
    #[schema(example = "output_text")]
    pub priced_as: String,
    pub tokens: u64,
    /// Money per million tokens.
    #[schema(example = "15")]
    pub price_per_million: String,
    pub amount: Money,
}

/// A call with everything that is known of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RequestDetail {
    #[serde(flatten)]
    pub summary: RequestSummary,
    #[schema(value_type = Option<String>, format = DateTime, required = true)]
    pub first_byte_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    pub finished_at: Timestamp,
    pub usage: Usage,
    /// The provider's own usage object, as JSON text.
    #[schema(required = true)]
    pub raw_usage: Option<String>,
    /// Named `attempts_detail` because `attempts` counts them.
    pub attempts_detail: Vec<Attempt>,
    /// The charge line by line; empty without the permission `money.read`.
    pub charge_lines: Vec<ChargeLine>,
    #[schema(value_type = Option<String>, required = true)]
    pub price_version_id: Option<PriceVersionId>,
    /// What was held back from the budget while the request ran.
    #[schema(required = true)]
    pub reserved: Option<Money>,
    #[schema(value_type = Option<String>, required = true)]
    pub credential_id: Option<CredentialId>,
    /// The id the upstream gave the request.
    #[schema(required = true)]
    pub upstream_request_id: Option<String>,
    /// What could not be translated faithfully.
    #[schema(required = true)]
    pub loss: Option<String>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    #[schema(required = true)]
    pub trace_id: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListRequests {
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    #[param(value_type = Option<String>)]
    key_id: Option<ApiKeyId>,
    /// The model asked for.
    model: Option<String>,
    #[param(value_type = Option<String>)]
    upstream_id: Option<UpstreamId>,
    #[param(inline)]
    outcome: Option<Outcome>,
    /// The HTTP status the client got.
    status: Option<u16>,
    /// Accepted at or after.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Accepted before.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// Lists calls, newest first. A call appears when it has ended, usually within a second.
#[utoipa::path(get, path = "/admin/v1/requests", tag = "requests", params(ListRequests),
    responses((status = 200, body = Page<RequestSummary>)))]
async fn list_requests(
    State(state): State<AppState>,
    principal: Principal,
    Params(query): Params<ListRequests>,
) -> Result<axum::Json<Page<RequestSummary>>> {
    let _ = (state, principal, query);
    Err(Problem::not_found("request"))
}

/// Reads one call: attempts, tokens by class and the arithmetic of its charge.
#[utoipa::path(get, path = "/admin/v1/requests/{id}", tag = "requests", params(("id" = String, Path)),
    responses((status = 200, body = RequestDetail)))]
async fn get_request(
    State(state): State<AppState>,
    principal: Principal,
    Path(id): Path<RequestId>,
) -> Result<axum::Json<RequestDetail>> {
    let _ = (state, principal, id);
    Err(Problem::not_found("request"))
}
