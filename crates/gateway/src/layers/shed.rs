//! Turns away what cannot be served now, before a byte of its body is read.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::{Request, Response};
use tower::Service;

use super::{AtOnce, at_once, facts, plane_layer};
use crate::body::ReplyBody;
use crate::overload::Seat;
use crate::path::Operation;
use crate::plane::DataPlane;
use crate::refusal::Refusal;

/// A request that has a place among those in flight.
pub struct Seated<B> {
    pub request: Request<B>,
    pub seat: Seat,
}

plane_layer! {
    /// See the module.
    ShedLayer => Shed
}

#[derive(Clone)]
pub struct Shed<S> {
    plane: Arc<DataPlane>,
    inner: S,
}

impl<S, B> Service<Request<B>> for Shed<S>
where
    S: Service<Seated<B>, Response = Response<ReplyBody>, Error = Refusal>,
{
    type Response = Response<ReplyBody>;
    type Error = Refusal;
    type Future = AtOnce<S::Future>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.seat(&request) {
            Ok(seat) => Either::Right(self.inner.call(Seated { request, seat })),
            Err(refusal) => at_once(Err(refusal)),
        }
    }
}

impl<S> Shed<S> {
    fn seat<B>(&self, request: &Request<B>) -> Result<Seat, Refusal> {
        if self.plane.live.is_stopping() {
            return Err(Refusal::stopping());
        }
        let facts = facts(request)?;
        let (Some(endpoint), Some(key)) = (facts.endpoint(), facts.key()) else { return Err(Refusal::internal()) };
        let is_count = matches!(endpoint.operation, Operation::CountTokens { .. });
        self.plane.overload.admit(&self.plane, &key.tenant, is_count)
    }
}
