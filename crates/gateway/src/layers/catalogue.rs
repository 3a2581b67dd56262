//! Lists the models a key may use, in the shape of the vendor whose client is asking.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::{HeaderValue, Request, Response, header};
use tallygate_adapter::models::{self, ModelInfo};
use tallygate_store::{ModelEntry, Snapshot};
use tower::Service;

use super::{AtOnce, Reply, at_once, facts, plane_layer};
use crate::body::ReplyBody;
use crate::path::Operation;
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

impl<S, B> Service<Request<B>> for Catalogue<S>
where
    S: Service<Request<B>, Response = Response<ReplyBody>, Error = Refusal>,
{
    type Response = Response<ReplyBody>;
    type Error = Refusal;
    type Future = AtOnce<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.answer(&request) {
            None => Either::Right(self.inner.call(request)),
            Some(reply) => at_once(reply),
        }
    }
}

impl<S> Catalogue<S> {
    fn answer<B>(&self, request: &Request<B>) -> Option<Reply> {
        let facts = facts(request).ok()?;
        let (endpoint, key) = (facts.endpoint()?, facts.key()?);
        let snapshot = self.plane.snapshot.load();
        // What has no price cannot be had.
        let is_open =
            |model: &ModelEntry| policy::may_use(key, &model.name) && self.plane.prices.at(model.id, facts.accepted_at).is_some();
        let body = match &endpoint.operation {
            Operation::ListModels => models::list(endpoint.dialect, &sorted(&snapshot, is_open)),
            Operation::GetModel(id) => {
                let name = id.strip_prefix("models/").unwrap_or(id);
                match snapshot.models.get(name).filter(|model| is_open(model)) {
                    Some(model) => models::one(endpoint.dialect, &info(model)),
                    None => return Some(Err(policy::unknown_model(name, key, &snapshot))),
                }
            }
            _ => return None,
        };
        let mut response = Response::new(ReplyBody::Whole(body.into()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Some(Ok(response))
    }
}

fn sorted(snapshot: &Snapshot, is_open: impl Fn(&ModelEntry) -> bool) -> Vec<ModelInfo> {
    let mut open: Vec<ModelInfo> = snapshot.models.values().filter(|model| is_open(model)).map(|model| info(model)).collect();
    open.sort_by(|a, b| a.name.cmp(&b.name));
    open
}

fn info(model: &ModelEntry) -> ModelInfo {
    ModelInfo { name: model.name.clone(), created_at: model.created_at, owned_by: OWNER.to_owned() }
}
