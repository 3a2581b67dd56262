//! The life of a request, read from top to bottom.

use std::sync::Arc;

use http::Response;
use hyper::body::Incoming;
use hyper::service::Service;
use tower::ServiceBuilder;
use tower::layer::layer_fn;

use crate::body::ReplyBody;
use crate::caller::Arrived;
use crate::exchange::Exchange;
use crate::layers::{
    AdmitLayer, AuthenticateLayer, CatalogueLayer, CorsLayer, EndpointLayer, GuardLayer, OnceLayer, ReadLayer, RecallLayer,
    ShedLayer, StoredLayer,
};
use crate::plane::DataPlane;

/// Assembles the layers. The stack never fails: what a layer refuses, the outermost one answers.
pub fn assemble(
    plane: Arc<DataPlane>,
) -> impl Service<Arrived<Incoming>, Response = Response<ReplyBody>, Error = std::convert::Infallible, Future: Send> + Send + Sync
{
    ServiceBuilder::new()
        // Refusals too must be readable for a script of a page that may call.
        .layer(CorsLayer::new(Arc::clone(&plane)))
        // Above all others, so that everything below has a request id, and every refusal or panic below becomes an answer.
        .layer(GuardLayer::new(Arc::clone(&plane)))
        // Before anything can be refused it must be known in which dialect to say so.
        .layer(EndpointLayer::new(Arc::clone(&plane)))
        // No byte of a body is read for a stranger.
        .layer(AuthenticateLayer::new(Arc::clone(&plane)))
        // Lists of models need a key but no body.
        .layer(CatalogueLayer::new(Arc::clone(&plane)))
        // So do stored responses, by their id.
        .layer(StoredLayer::new(Arc::clone(&plane)))
        // What cannot be served now is told so before its body is read.
        .layer(ShedLayer::new(Arc::clone(&plane)))
        // The body within its bounds; of it only what the layers below ask for is parsed.
        .layer(ReadLayer::new(Arc::clone(&plane)))
        // Those below are called when the body has come: each request holds on to them until then.
        .layer(layer_fn(Arc::new))
        // What was served already under the same name is not served again.
        .layer(OnceLayer::new(Arc::clone(&plane)))
        // What the request refers to stands in it before it is counted.
        .layer(RecallLayer::new(Arc::clone(&plane)))
        // Policy, rate limits, concurrency, budget: the cheapest refusal first, and a later one gives back what earlier ones took.
        .layer(AdmitLayer::new(Arc::clone(&plane)))
        // Route, attempt, respond, settle.
        .service(Exchange::new(plane))
}
