//! `/upstreams/{id}:test`: whether an upstream can be reached, layer by layer.

use std::time::Instant;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tallygate_store::ProxyPool;
use tallygate_store::credentials::{self, Credential};
use tallygate_store::upstreams::{self, Status};
use tallygate_types::{CredentialId, UpstreamId};
use utoipa::ToSchema;
use utoipa_axum::routes;

use crate::AppState;
use crate::audit::{Change, Target};
use crate::auth::Permission;
use crate::form::millis;
use crate::http_form::{Body, Path};
use crate::probe::{ProbeRequest, ProbeStep};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes.add(Access::Needs(Permission::UpstreamsTest), routes!(test_upstream))
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
    let (secret, proxy) = match credential {
        Some(Credential { id, .. }) => {
            (Some(credentials::open_secret(&state.store, *id).await?), credentials::open_proxy(&state.store, *id).await?)
        }
        None => (None, ProxyPool::default()),
    };
    let proxy = if proxy.is_empty() { upstreams::open_proxy(&state.store, id).await? } else { proxy };
    let model = match &body.model {
        Some(model) => Some(model.clone()),
        None => routed_model(state, id).await?,
    };
    Ok(ProbeRequest {
        dialect: upstream.dialect,
        base_url: upstream.base_url,
        proxy,
        no_proxy: upstream.no_proxy,
        secret,
        model,
        stream: body.stream.unwrap_or(true),
    })
}

/// What the first model that is served from this upstream, by name, is called there.
async fn routed_model(state: &AppState, id: UpstreamId) -> Result<Option<String>> {
    let snapshot = state.store.snapshot().await?;
    let mut models: Vec<_> = snapshot.models.values().collect();
    models.sort_by(|a, b| a.name.cmp(&b.name));
    let target = models.into_iter().flat_map(|model| &model.targets).find(|target| target.upstream.id == id);
    Ok(target.map(|target| target.upstream_model.to_string()))
}

impl From<ProbeStep> for TestStep {
    fn from(step: ProbeStep) -> Self {
        Self { step: step.name, ok: step.ok, duration_ms: millis(step.duration), detail: step.detail, fix: step.fix }
    }
}
