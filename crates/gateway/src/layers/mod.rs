//! The layers between the wire and the exchange with an upstream. Each knows nothing of its neighbours: what it learned
//! stands in [`Facts`](crate::facts::Facts) or in the type it hands on.

mod admit;
mod authenticate;
mod cap;
mod catalogue;
mod cors;
mod decode;
mod endpoint;
mod guard;
mod once;
mod read;
mod recall;
mod shed;
mod stored;

use std::sync::Arc;

use futures_util::future::{Either, Ready};
use http::{Request, Response};

use crate::body::ReplyBody;
use crate::facts::Facts;
use crate::refusal::Refusal;

pub use admit::{AdmitLayer, Admitted, Held};
pub use authenticate::AuthenticateLayer;
pub use cap::OutputCap;
pub use catalogue::CatalogueLayer;
pub use cors::CorsLayer;
pub use endpoint::EndpointLayer;
pub use guard::{GuardLayer, REQUEST_IDS};
pub use once::OnceLayer;
pub use read::{Question, ReadLayer, no_room};
pub use recall::{RecallLayer, Recalled};
pub use shed::{Seated, ShedLayer};
pub use stored::StoredLayer;

/// What every layer answers.
pub type Reply = Result<Response<ReplyBody>, Refusal>;

/// The future of a layer that decides at once and otherwise hands on.
pub type AtOnce<F> = Either<Ready<Reply>, F>;

fn at_once<F>(reply: Reply) -> AtOnce<F> {
    Either::Left(futures_util::future::ready(reply))
}

/// A request, and what is known of it so far.
pub struct Called<B> {
    pub request: Request<B>,
    pub facts: Arc<Facts>,
}

/// A layer that holds nothing but the data plane.
macro_rules! plane_layer {
    ($(#[$doc:meta])* $layer:ident => $service:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $layer(std::sync::Arc<crate::plane::DataPlane>);

        impl $layer {
            pub const fn new(plane: std::sync::Arc<crate::plane::DataPlane>) -> Self {
                Self(plane)
            }
        }

        impl<S> tower::Layer<S> for $layer {
            type Service = $service<S>;

            fn layer(&self, inner: S) -> $service<S> {
                $service { plane: std::sync::Arc::clone(&self.0), inner }
            }
        }
    };
}

use plane_layer;
