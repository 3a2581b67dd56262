//! `/upstreams`: the providers requests are sent to.

use std::time::Instant;

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tallygate_store::credentials;
use tallygate_store::upstreams::{self, Status, UpstreamFilter, UpstreamSettings};
use tallygate_types::{CredentialId, Timestamp, UpstreamId};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::credentials::{Credential, CredentialCreate};
use crate::AppState;
use crate::audit::{Change, Target};
use crate::auth::Permission;
use crate::form::{Dialect, Enabled, ManagedBy, millis};
use crate::http_form::{Body, Created, Found, IfMatch, Page, Params, Patch, Path, Versioned, page_request};
use crate::probe::{ProbeRequest, ProbeStep};
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

/// How long to wait for an upstream; null takes the gateway's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Timeouts {
    /// To connect, TLS included.
    #[schema(required = true)]
    pub connect_ms: Option<u64>,
    /// From sending the request to the first byte of the answer.
    #[schema(required = true)]
    pub first_byte_ms: Option<u64>,
    /// Between two pieces of a stream.
    #[schema(required = true)]
    pub stream_idle_ms: Option<u64>,
    /// For the whole exchange.
    #[schema(required = true)]
    pub total_ms: Option<u64>,
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
    pub stream_idle_ms: Patch<u64>,
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
    pub status: Enabled,
    pub timeouts: Timeouts,
    pub credentials: Vec<Credential>,
    pub managed_by: ManagedBy,
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
    /// Printable, on one line; at most 200 characters.
    #[schema(max_length = 200)]
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
    pub status: Option<Enabled>,
    #[serde(default)]
    #[schema(required = false)]
    pub timeouts: TimeoutsPatch,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListUpstreams {
    #[param(inline)]
    status: Option<Enabled>,
    #[param(inline)]
    dialect: Option<Dialect>,
    /// Part of the name.
    q: Option<String>,
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
    let filter = UpstreamFilter { status: query.status.map(Into::into), dialect: query.dialect.map(Into::into), search: query.q };
    let page = upstreams::list(&state.store, &filter, &page_request(query.limit, query.after)?).await?;
    let mut credentials = std::collections::HashMap::new();
    for upstream in &page.data {
        credentials.insert(upstream.id, credentials::list(&state.store, upstream.id).await?);
    }
    Ok(axum::Json(Page::of(page, |row| {
        let own = credentials.remove(&row.id).unwrap_or_default();
        Upstream::read(row, own)
    })))
}

/// Creates an upstream, with its first credentials if given.
#[utoipa::path(post, path = "/admin/v1/upstreams", tag = "upstreams", request_body = UpstreamCreate,
    responses((status = 201, body = Upstream)))]
async fn create_upstream(
    State(state): State<AppState>,
    change: Change,
    Body(body): Body<UpstreamCreate>,
) -> Result<Created<Upstream>> {
    if !body.credentials.is_empty() && !change.principal.may(Permission::UpstreamSecretsWrite) {
        return Err(Problem::forbidden(Permission::UpstreamSecretsWrite));
    }
    let settings = UpstreamSettings {
        proxy: body.proxy,
        timeouts: body.timeouts.apply(upstreams::Timeouts::default()),
        ..UpstreamSettings::at(body.name, body.dialect.into(), body.base_url)
    };
    let mut tx = state.store.begin().await?;
    let row = upstreams::create(&mut tx, &settings).await?;
    let mut made = Vec::new();
    for (index, credential) in body.credentials.into_iter().enumerate() {
        let new = credential.into_new(row.id);
        let stored =
            credentials::create(&mut tx, &new).await.map_err(|error| Problem::within(error, &format!("/credentials/{index}")))?;
        made.push(stored);
    }
    let upstream = Upstream::read(row, made);
    change.created(&mut tx, target(&upstream), &upstream).await?;
    tx.commit().await?;
    Ok(Created { location: format!("/admin/v1/upstreams/{}", upstream.id), resource: upstream })
}

/// Reads an upstream.
#[utoipa::path(get, path = "/admin/v1/upstreams/{id}", tag = "upstreams", params(("id" = String, Path)),
    responses((status = 200, body = Upstream)))]
async fn get_upstream(State(state): State<AppState>, Path(id): Path<UpstreamId>) -> Result<Found<Upstream>> {
    let row = upstreams::get(&state.store, id).await?;
    let own = credentials::list(&state.store, id).await?;
    Ok(Found(Upstream::read(row, own)))
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
    let mut tx = state.store.begin().await?;
    let current = upstreams::get(&mut tx, id).await?;
    let own = credentials::list(&mut tx, id).await?;
    let before = Upstream::read(current.clone(), own.clone());
    expected.check(&before, before.managed_by)?;
    let settings = UpstreamSettings {
        name: body.name.unwrap_or(current.name),
        dialect: current.dialect,
        base_url: body.base_url.unwrap_or(current.base_url),
        proxy: body.proxy.apply(current.proxy),
        status: body.status.map_or(current.status, Into::into),
        timeouts: body.timeouts.apply(current.timeouts),
    };
    let after = Upstream::read(upstreams::update(&mut tx, id, expected.0, &settings).await?, own);
    change.updated(&mut tx, target(&after), &before, &after).await?;
    tx.commit().await?;
    Ok(Found(after))
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
) -> Result<StatusCode> {
    let mut tx = state.store.begin().await?;
    let row = upstreams::get(&mut tx, id).await?;
    let before = Upstream::read(row, credentials::list(&mut tx, id).await?);
    expected.check(&before, before.managed_by)?;
    upstreams::delete(&mut tx, id, expected.0).await?;
    change.deleted(&mut tx, target(&before), &before).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
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
    let request = probe_request(&state, id, &body).await?;
    let model = request.model.clone();
    let started = Instant::now();
    let steps = state.probe.probe(request).await;
    let report = TestReport {
        ok: !steps.is_empty() && steps.iter().all(|step| step.ok),
        duration_ms: millis(started.elapsed()),
        model,
        steps: steps.into_iter().map(TestStep::from).collect(),
    };
    // It spends the operator's money and uses a secret, so the trail knows of it.
    let mut tx = state.store.begin().await?;
    let name = upstreams::get(&mut tx, id).await?.name;
    let target = Target { kind: "upstream", id: id.to_string(), name: &name, tenant: None };
    change.record(&mut tx, "upstream.tested", target, None::<&TestReport>, Some(&report)).await?;
    tx.commit().await?;
    Ok(axum::Json(report))
}

/// What to test with: the credential and the model that were asked for, or else the first there are.
async fn probe_request(state: &AppState, id: UpstreamId, body: &UpstreamTest) -> Result<ProbeRequest> {
    let upstream = upstreams::get(&state.store, id).await?;
    let own = credentials::list(&state.store, id).await?;
    let credential = match body.credential_id {
        Some(wanted) => Some(
            own.iter()
                .find(|one| one.id == wanted)
                .ok_or_else(|| Problem::invalid_field("/credential_id", "unknown", "This upstream has no such credential."))?,
        ),
        None => own.iter().find(|one| one.status == Status::Active).or_else(|| own.first()),
    };
    let snapshot = state.store.snapshot().await?;
    // Only the snapshot opens the proxy of a credential, and it leaves out what is disabled.
    let entry = snapshot
        .upstreams
        .get(&id)
        .and_then(|entry| entry.credentials.iter().find(|one| credential.is_some_and(|credential| credential.id == one.id)));
    let (secret, proxy) = match (entry, credential) {
        (Some(entry), _) => (Some(entry.secret.clone()), entry.proxy.clone()),
        (None, Some(credential)) => {
            (Some(credentials::open_secret(&state.store, credential.id).await?), credential.proxy.clone())
        }
        (None, None) => (None, None),
    };
    let proxy = match proxy {
        Some(proxy) => Some(proxy),
        None => upstreams::open_proxy(&state.store, id).await?,
    };
    let model = body.model.clone().or_else(|| {
        let mut models: Vec<_> = snapshot.models.values().collect();
        models.sort_by(|a, b| a.name.cmp(&b.name));
        models
            .into_iter()
            .flat_map(|model| &model.targets)
            .find(|target| target.upstream.id == id)
            .map(|target| target.upstream_model.clone())
    });
    Ok(ProbeRequest {
        dialect: upstream.dialect,
        base_url: upstream.base_url,
        proxy,
        secret,
        model,
        stream: body.stream.unwrap_or(true),
    })
}

fn target(upstream: &Upstream) -> Target<'_> {
    Target { kind: "upstream", id: upstream.id.to_string(), name: &upstream.name, tenant: None }
}

impl From<ProbeStep> for TestStep {
    fn from(step: ProbeStep) -> Self {
        Self { step: step.name, ok: step.ok, duration_ms: millis(step.duration), detail: step.detail, fix: step.fix }
    }
}

impl TimeoutsPatch {
    fn apply(self, current: upstreams::Timeouts) -> upstreams::Timeouts {
        upstreams::Timeouts {
            connect_ms: self.connect_ms.apply(current.connect_ms),
            first_byte_ms: self.first_byte_ms.apply(current.first_byte_ms),
            stream_idle_ms: self.stream_idle_ms.apply(current.stream_idle_ms),
            total_ms: self.total_ms.apply(current.total_ms),
        }
    }
}

impl Upstream {
    fn read(row: upstreams::Upstream, own: Vec<credentials::Credential>) -> Self {
        Self {
            id: row.id,
            name: row.name,
            dialect: row.dialect.into(),
            base_url: row.base_url,
            proxy: row.proxy,
            status: row.status.into(),
            timeouts: Timeouts {
                connect_ms: row.timeouts.connect_ms,
                first_byte_ms: row.timeouts.first_byte_ms,
                stream_idle_ms: row.timeouts.stream_idle_ms,
                total_ms: row.timeouts.total_ms,
            },
            credentials: own.into_iter().map(Into::into).collect(),
            managed_by: row.managed_by.into(),
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
