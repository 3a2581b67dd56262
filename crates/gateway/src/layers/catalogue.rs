//! Lists the models a key may use, in the shape of the vendor whose client is asking.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use futures_util::future::Either;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::service::Service;
use tallygate_adapter::models::{self, CodexModel, ModelInfo, Paging};
use tallygate_billing::catalogue;
use tallygate_store::{ModelEntry, Snapshot};
use tallygate_types::Dialect;

use super::{AtOnce, Called, Reply, at_once, plane_layer};
use crate::body::ReplyBody;
use crate::path::{self, Operation};
use crate::plane::DataPlane;
use crate::policy;
use crate::refusal::Refusal;

/// Whom clients are told the models belong to.
const OWNER: &str = "tallygate";

plane_layer! {
    /// See the module.
    CatalogueLayer => Catalogue
}

#[derive(Clone)]
pub struct Catalogue<S> {
    plane: Arc<DataPlane>,
    inner: S,
}

impl<S, B> Service<Called<B>> for Catalogue<S>
where
    S: Service<Called<B>, Response = Response<ReplyBody>, Error = Refusal>,
{
    type Response = Response<ReplyBody>;
    type Error = Refusal;
    type Future = AtOnce<S::Future>;

    fn call(&self, called: Called<B>) -> Self::Future {
        match self.answer(&called) {
            None => Either::Right(self.inner.call(called)),
            Some(reply) => at_once(reply),
        }
    }
}

impl<S> Catalogue<S> {
    fn answer<B>(&self, called: &Called<B>) -> Option<Reply> {
        let Called { request, facts } = called;
        let (endpoint, key) = (facts.endpoint()?, facts.key()?);
        if !matches!(endpoint.operation, Operation::ListModels | Operation::GetModel(_)) {
            return None;
        }
        let snapshot = self.plane.snapshot.load();
        // What has no price cannot be had.
        let is_open =
            |model: &ModelEntry| policy::may_use(key, &model.name) && self.plane.prices.at(model.id, facts.accepted_at).is_some();
        let body = match &endpoint.operation {
            Operation::ListModels if is_codex(endpoint.dialect, request.uri().query()) => {
                let open = sorted(&snapshot, endpoint.dialect, is_open);
                return Some(Ok(self.codex(&snapshot, &open, request.headers())));
            }
            Operation::ListModels => {
                let paging = paging(endpoint.dialect, request.uri().query());
                match models::list(endpoint.dialect, &sorted(&snapshot, endpoint.dialect, is_open), &paging) {
                    Ok(body) => body,
                    Err(bad) => return Some(Err(bad.into())),
                }
            }
            Operation::GetModel(id) => {
                let name = id.strip_prefix("models/").unwrap_or(id);
                match snapshot.model(name).filter(|model| is_open(model)) {
                    Some(model) => models::one(endpoint.dialect, &info(model, name)),
                    None => return Some(Err(policy::unknown_model(name, key, &snapshot))),
                }
            }
            _ => return None,
        };
        Some(Ok(json(body)))
    }

    /// The list as Codex reads it, with a tag by which it asks whether it has changed.
    fn codex(&self, snapshot: &Snapshot, open: &[ModelInfo], asked: &HeaderMap) -> Response<ReplyBody> {
        let target = |info: &ModelInfo| snapshot.model(&info.name)?.targets.first();
        let models: Vec<CodexModel<'_>> = open
            .iter()
            .map(|info| CodexModel {
                info,
                upstream: target(info).map_or(Dialect::OpenaiChat, |target| target.upstream.dialect),
                upstream_model: target(info).map_or("", |target| &target.upstream_model),
            })
            .collect();
        let body = models::codex(&models, &self.plane.profiles.load());
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let tag = format!("\"{:016x}\"", hasher.finish());
        let is_known = asked.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
        let mut response = json(if is_known { Vec::new() } else { body });
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        if let Ok(tag) = HeaderValue::try_from(tag) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

fn json(body: Vec<u8>) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Whole(body.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Codex says its version, and gets what it can set for each model beside the list.
fn is_codex(dialect: Dialect, query: Option<&str>) -> bool {
    matches!(dialect, Dialect::OpenaiChat | Dialect::OpenaiResponses) && path::query_value(query, "client_version").is_some()
}

/// The part of the list that the query asks for, in the words of a dialect.
fn paging(dialect: Dialect, query: Option<&str>) -> Paging {
    let value = |name| path::query_value(query, name).map(Cow::into_owned);
    match dialect {
        Dialect::Anthropic => Paging { size: value("limit"), after: value("after_id"), before: value("before_id") },
        Dialect::Gemini => Paging { size: value("pageSize"), after: value("pageToken"), before: None },
        Dialect::OpenaiChat | Dialect::OpenaiResponses => Paging::default(),
    }
}

/// All names of the models that are open, as far as clients of `dialect` have a use for them.
fn sorted(snapshot: &Snapshot, dialect: Dialect, is_open: impl Fn(&ModelEntry) -> bool) -> Vec<ModelInfo> {
    let mut open = Vec::with_capacity(snapshot.models.len());
    for model in snapshot.models.values().filter(|model| is_open(model)) {
        let aliases = model.aliases.iter().filter(|alias| models::shows_alias(dialect, alias));
        open.extend(std::iter::once(&*model.name).chain(aliases.map(String::as_str)).map(|name| info(model, name)));
    }
    open.sort_by(|a, b| a.name.cmp(&b.name));
    open
}

fn info(model: &ModelEntry, name: &str) -> ModelInfo {
    // What the first target is known for: the others stand in for it.
    let listed = model.targets.first().and_then(|target| catalogue::lookup_anywhere(&target.upstream_model));
    ModelInfo {
        name: name.to_owned(),
        display_name: model.name.to_string(),
        created_at: model.created_at,
        owned_by: OWNER.to_owned(),
        max_input_tokens: listed.and_then(|listed| listed.max_input_tokens),
        max_output_tokens: listed.and_then(|listed| listed.max_output_tokens),
        embeds: listed.is_some_and(|listed| listed.mode == "embedding"),
    }
}
