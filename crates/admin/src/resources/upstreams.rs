//! `/upstreams`: the providers requests are sent to.

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tallygate_store::credentials;
use tallygate_store::upstreams::{self, UpstreamFilter, UpstreamSettings};
use tallygate_types::{Timestamp, UpstreamId};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::credentials::{Credential, CredentialCreate};
use super::routing::Strategy;
use crate::AppState;
use crate::audit::{Change, Target};
use crate::auth::Permission;
use crate::form::{Dialect, Enabled, ManagedBy, Proxies};
use crate::http_form::{Body, Created, Found, IfMatch, Page, Params, Patch, Path, Versioned, given, page_request};
use crate::problem::{Problem, Result};
use crate::routes::{Access, Routes};

pub fn add(routes: Routes) -> Routes {
    routes
        .add(Access::Needs(Permission::UpstreamsRead), routes!(list_upstreams))
        .add(Access::Needs(Permission::UpstreamsWrite), routes!(create_upstream))
        .add(Access::Needs(Permission::UpstreamsRead), routes!(get_upstream))
        .add(Access::Needs(Permission::UpstreamsWrite), routes!(update_upstream))
        .add(Access::Needs(Permission::UpstreamsWrite), routes!(delete_upstream))
}

/// How long to wait for an upstream; null takes the gateway's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the unit belongs to the name the API gives a field")]
pub struct Timeouts {
    /// To connect, TLS included.
    #[schema(required = true)]
    pub connect_ms: Option<u64>,
    /// From sending the request to the first byte of the answer.
    #[schema(required = true)]
    pub first_byte_ms: Option<u64>,
    /// From the head of a stream to its first content.
    #[schema(required = true)]
    pub first_token_ms: Option<u64>,
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
#[expect(clippy::struct_field_names, reason = "the unit belongs to the name the API gives a field")]
pub struct TimeoutsPatch {
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub connect_ms: Patch<u64>,
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub first_byte_ms: Patch<u64>,
    #[serde(default)]
    #[schema(value_type = Option<u64>, minimum = 1)]
    pub first_token_ms: Patch<u64>,
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
    /// The outbound proxy, or a pool of them tried in turn; passwords masked.
    #[schema(required = true, example = "socks5://127.0.0.1:1080")]
    pub proxy: Option<Proxies>,
    /// Hosts reached without the proxy.
    pub no_proxy: Vec<String>,
    pub status: Enabled,
    /// Runs on the installation's own machines: an answer from it is marked where it was not the first choice.
    pub local: bool,
    /// How one of its credentials is chosen.
    pub credential_strategy: Strategy,
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
    pub proxy: Option<Proxies>,
    /// Hosts reached without the proxy: `host`, `.suffix`, an address or `10.0.0.0/8`.
    #[serde(default)]
    #[schema(required = false)]
    pub no_proxy: Vec<String>,
    #[serde(default)]
    #[schema(required = false)]
    pub local: bool,
    #[serde(default)]
    #[schema(required = false)]
    pub credential_strategy: Strategy,
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
    #[serde(default, deserialize_with = "given")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    pub base_url: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<Proxies>)]
    pub proxy: Patch<Proxies>,
    #[serde(default, deserialize_with = "given")]
    pub no_proxy: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    pub local: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    pub credential_strategy: Option<Strategy>,
    #[serde(default, deserialize_with = "given")]
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
        proxy: Proxies::pool(body.proxy),
        no_proxy: body.no_proxy,
        local: body.local,
        credential_strategy: body.credential_strategy.into(),
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
    expected.check_version(&before)?;
    let kept = current.settings();
    let settings = UpstreamSettings {
        name: body.name.unwrap_or(current.name),
        dialect: current.dialect,
        base_url: body.base_url.unwrap_or(current.base_url),
        proxy: Proxies::pool(body.proxy.apply(Proxies::shown(current.proxy))),
        status: body.status.map_or(current.status, Into::into),
        timeouts: body.timeouts.apply(current.timeouts),
        no_proxy: body.no_proxy.unwrap_or(current.no_proxy),
        local: body.local.unwrap_or(current.local),
        credential_strategy: body.credential_strategy.map_or(current.credential_strategy, Into::into),
    };
    before.managed_by.admit(settings == UpstreamSettings { status: settings.status, ..kept })?;
    let after = Upstream::read(upstreams::update(&mut tx, id, expected.0, &settings).await?, own);
    change.updated(&mut tx, target(&after), &before, &after).await?;
    tx.commit().await?;
    Ok(Found(after))
}

/// Deletes an upstream and its credentials. Refused with 409 while a model or a route has a target there.
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

fn target(upstream: &Upstream) -> Target<'_> {
    Target { kind: "upstream", id: upstream.id.to_string(), name: &upstream.name, tenant: None }
}

impl TimeoutsPatch {
    fn apply(self, current: upstreams::Timeouts) -> upstreams::Timeouts {
        upstreams::Timeouts {
            connect_ms: self.connect_ms.apply(current.connect_ms),
            first_byte_ms: self.first_byte_ms.apply(current.first_byte_ms),
            first_token_ms: self.first_token_ms.apply(current.first_token_ms),
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
            proxy: Proxies::shown(row.proxy),
            no_proxy: row.no_proxy,
            local: row.local,
            credential_strategy: row.credential_strategy.into(),
            status: row.status.into(),
            timeouts: Timeouts {
                connect_ms: row.timeouts.connect_ms,
                first_byte_ms: row.timeouts.first_byte_ms,
                first_token_ms: row.timeouts.first_token_ms,
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
