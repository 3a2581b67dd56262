//! `/upstreams`: the providers requests are sent to.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tallygate_types::{CredentialId, Timestamp, UpstreamId};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::credentials::{Credential, CredentialCreate};
use crate::AppState;
use crate::audit::Change;
use crate::auth::Permission;
use crate::form::Dialect;
use crate::http_form::{Body, Created, Found, IfMatch, Page, Params, Patch, Path, Versioned};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::UpstreamsRead), routes!(list_upstreams))
        .add(Access::Needs(Permission::UpstreamsWrite), routes!(create_upstream))
        .add(Access::Needs(Permission::UpstreamsRead), routes!(get_upstream))
        .add(Access::Needs(Permission::UpstreamsWrite), routes!(update_upstream))
        .add(Access::Needs(Permission::UpstreamsWrite), routes!(delete_upstream))
        .add(Access::Needs(Permission::UpstreamsTest), routes!(test_upstream))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamStatus {
    Active,
    /// No request is sent to it.
    Disabled,
}

/// How long to wait for an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Timeouts {
    /// To connect, TLS included.
    pub connect_ms: u64,
    /// From sending the request to the first byte of the answer.
    pub first_byte_ms: u64,
    /// Between two pieces of a stream.
    pub idle_ms: u64,
    /// For the whole exchange.
    pub total_ms: u64,
}

/// A change of timeouts: absent leaves, null goes back to the default.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeoutsPatch {
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub connect_ms: Patch<u64>,
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub first_byte_ms: Patch<u64>,
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub idle_ms: Patch<u64>,
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub total_ms: Patch<u64>,
}

/// A provider's endpoint with the credentials it is called with.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Upstream {
    #[schema(value_type = String, example = "ups_0193500000007000800000000000000c")]
    pub id: UpstreamId,
    #[schema(example = "anthropic-main")]
    pub name: String,
    pub dialect: Dialect,
    #[schema(example = "https://api.anthropic.com")]
    pub base_url: String,
    /// The outbound proxy, its password masked.
    #[schema(required = true, example = "socks5://127.0.0.1:1080")]
    pub proxy: Option<String>,
    pub status: UpstreamStatus,
    pub timeouts: Timeouts,
    pub credentials: Vec<Credential>,
    pub version: i64,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

impl Versioned for Upstream {
    fn version(&self) -> i64 {
        self.version
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamCreate {
    /// Lower-case letters, digits and hyphens; at most 63.
    #[schema(max_length = 63)]
    pub name: String,
    pub dialect: Dialect,
    /// `http` or `https`, with or without the version segment. May be private; never a cloud's metadata address.
    pub base_url: String,
    /// `http`, `https`, `socks5` or `socks5h`.
    pub proxy: Option<String>,
    #[serde(default)]
    #[schema(required = false)]
    pub timeouts: TimeoutsPatch,
    #[serde(default)]
    #[schema(required = false)]
    pub credentials: Vec<CredentialCreate>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamPatch {
    pub name: Option<String>,
    pub base_url: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub proxy: Patch<String>,
    pub status: Option<UpstreamStatus>,
    #[serde(default)]
    #[schema(required = false)]
    pub timeouts: TimeoutsPatch,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListUpstreams {
    /// Items of the page, 1 to 200.
    #[param(default = 50, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    after: Option<String>,
}

/// What to test an upstream with.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTest {
    /// The model's name at the provider; the first one routed there if absent. Without any, the test ends after authentication.
    pub model: Option<String>,
    /// The credential to use; the first active one if absent.
    #[schema(value_type = Option<String>)]
    pub credential_id: Option<CredentialId>,
    /// Whether to ask for a stream.
    pub stream: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TestStepName {
    Dns,
    Proxy,
    Tcp,
    Tls,
    Auth,
    Model,
    Stream,
}

/// One layer of the way to the upstream.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TestStep {
    pub step: TestStepName,
    pub ok: bool,
    pub duration_ms: u64,
    /// What was seen.
    pub detail: String,
    /// What to do about a failure.
    #[schema(required = true)]
    pub fix: Option<String>,
}

/// What a test found. The steps stop at the first that failed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TestReport {
    pub ok: bool,
    pub duration_ms: u64,
    /// The model that was asked.
    #[schema(required = true)]
    pub model: Option<String>,
    pub steps: Vec<TestStep>,
}

/// Lists upstreams, newest first.
#[utoipa::path(get, path = "/admin/v1/upstreams", tag = "upstreams", params(ListUpstreams),
    responses((status = 200, body = Page<Upstream>)))]
async fn list_upstreams(
    State(state): State<AppState>,
    Params(query): Params<ListUpstreams>,
) -> Result<axum::Json<Page<Upstream>>> {
    let _ = (state, query.limit, query.after);
    Err(Problem::not_found("upstream"))
}

/// Creates an upstream, with its first credentials if given.
#[utoipa::path(post, path = "/admin/v1/upstreams", tag = "upstreams", request_body = UpstreamCreate,
    responses((status = 201, body = Upstream)))]
async fn create_upstream(
    State(state): State<AppState>,
    change: Change,
    Body(body): Body<UpstreamCreate>,
) -> Result<Created<Upstream>> {
    let _ = (state, change, body);
    Err(Problem::not_found("upstream"))
}

/// Reads an upstream.
#[utoipa::path(get, path = "/admin/v1/upstreams/{id}", tag = "upstreams", params(("id" = String, Path)),
    responses((status = 200, body = Upstream)))]
async fn get_upstream(State(state): State<AppState>, Path(id): Path<UpstreamId>) -> Result<Found<Upstream>> {
    let _ = (state, id);
    Err(Problem::not_found("upstream"))
}

/// Changes an upstream; its dialect stays.
#[utoipa::path(patch, path = "/admin/v1/upstreams/{id}", tag = "upstreams",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    request_body = UpstreamPatch, responses((status = 200, body = Upstream)))]
async fn update_upstream(
    State(state): State<AppState>,
    Path(id): Path<UpstreamId>,
    expected: IfMatch,
    change: Change,
    Body(body): Body<UpstreamPatch>,
) -> Result<Found<Upstream>> {
    let _ = (state, id, expected, change, body);
    Err(Problem::not_found("upstream"))
}

/// Deletes an upstream and its credentials. Refused with 409 while a model has a target there.
#[utoipa::path(delete, path = "/admin/v1/upstreams/{id}", tag = "upstreams",
    params(("id" = String, Path), ("If-Match" = String, Header, description = "The ETag of the version read.")),
    responses((status = 204)))]
async fn delete_upstream(
    State(state): State<AppState>,
    Path(id): Path<UpstreamId>,
    expected: IfMatch,
    change: Change,
) -> Result<http::StatusCode> {
    let _ = (state, id, expected, change);
    Err(Problem::not_found("upstream"))
}

/// Tests the way to an upstream layer by layer, ending with one small request if a model is known.
#[utoipa::path(post, path = "/admin/v1/upstreams/{id}:test", tag = "upstreams", params(("id" = String, Path)),
    request_body = UpstreamTest, responses((status = 200, body = TestReport)))]
async fn test_upstream(
    State(state): State<AppState>,
    Path(id): Path<UpstreamId>,
    change: Change,
    Body(body): Body<UpstreamTest>,
) -> Result<axum::Json<TestReport>> {
    let _ = (state, id, change, body);
    Err(Problem::not_found("upstream"))
}
