//! Turns away what cannot be served now, before a byte of its body is read.

use std::sync::Arc;

use futures_util::future::Either;
use http::Response;
use hyper::service::Service;

use super::{AtOnce, Called, at_once, plane_layer};
use crate::body::ReplyBody;
use crate::overload::Seat;
use crate::plane::DataPlane;
use crate::refusal::Refusal;

/// A request that has a place among those in flight.
pub struct Seated<B> {
    pub called: Called<B>,
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

impl<S, B> Service<Called<B>> for Shed<S>
where
    S: Service<Seated<B>, Response = Response<ReplyBody>, Error = Refusal>,
{
    type Response = Response<ReplyBody>;
    type Error = Refusal;
    type Future = AtOnce<S::Future>;

    fn call(&self, called: Called<B>) -> Self::Future {
        match self.seat(&called) {
            Ok(seat) => Either::Right(self.inner.call(Seated { called, seat })),
            Err(refusal) => at_once(Err(refusal)),
        }
    }
}

impl<S> Shed<S> {
    fn seat<B>(&self, called: &Called<B>) -> Result<Seat, Refusal> {
        if self.plane.live.is_stopping() {
            return Err(Refusal::stopping());
        }
        let facts = &called.facts;
        let (Some(endpoint), Some(key)) = (facts.endpoint(), facts.key()) else { return Err(Refusal::internal()) };
        self.plane.overload.admit(&self.plane, &key.tenant, endpoint.operation.purpose())
    }
}
