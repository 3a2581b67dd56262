//! Gives every request its id, turns refusals and panics into answers, and records what no other layer took over.

use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderName, HeaderValue, Request, Response, Version, header};
use hyper::service::Service;
use pin_project_lite::pin_project;

use super::{Called, Reply, plane_layer};
use crate::body::ReplyBody;
use crate::caller::Arrived;
use crate::facts::Facts;
use crate::overload::Strain;
use crate::plane::DataPlane;
use crate::refusal::Refusal;
use crate::settle;

/// Under these names each answer tells the id of its request.
pub static REQUEST_IDS: [HeaderName; 2] = [HeaderName::from_static("x-request-id"), HeaderName::from_static("request-id")];

plane_layer! {
    /// See the module.
    GuardLayer => Guard
}

#[derive(Clone)]
pub struct Guard<S> {
    plane: Arc<DataPlane>,
    inner: S,
}

impl<S, B> Service<Arrived<B>> for Guard<S>
where
    S: Service<Called<B>, Response = Response<ReplyBody>, Error = Refusal>,
{
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = GuardFuture<S::Future>;

    fn call(&self, arrived: Arrived<B>) -> Self::Future {
        let Arrived { request, peer } = arrived;
        let facts = Arc::new(Facts::new(&*self.plane.clock, request.headers(), peer));
        let brings_body = brings_body(&request);
        let is_h1 = request.version() < Version::HTTP_2;
        let called = Called { request, facts: Arc::clone(&facts) };
        // A request that panics has changed nothing but its own state, which goes away with it.
        let inner = catch_unwind(AssertUnwindSafe(|| self.inner.call(called))).ok();
        GuardFuture { inner, plane: Arc::clone(&self.plane), facts, brings_body, is_h1 }
    }
}

pin_project! {
    pub struct GuardFuture<F> {
        // None: it panicked before it became a future.
        #[pin]
        inner: Option<F>,
        plane: Arc<DataPlane>,
        facts: Arc<Facts>,
        brings_body: bool,
        is_h1: bool,
    }
}

/// Whether the request announces a body that shares its connection with the next request.
fn brings_body<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let announces = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    request.version() < Version::HTTP_2 && announces
}

impl<F: Future<Output = Reply>> Future for GuardFuture<F> {
    type Output = Result<Response<ReplyBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let reply = match this.inner.as_pin_mut() {
            Some(inner) => match catch_unwind(AssertUnwindSafe(|| inner.poll(cx))) {
                Ok(polled) => ready!(polled),
                Err(_) => Err(panicked(this.plane)),
            },
            None => Err(panicked(this.plane)),
        };
        let mut response = match reply {
            Ok(response) => {
                if !this.facts.is_taken() {
                    settle::note_answer(this.plane, this.facts, response.status().as_u16());
                }
                response
            }
            Err(refusal) => {
                let dialect = this.facts.dialect();
                let noted = (!this.facts.is_taken()).then(|| refusal.clone());
                let mut response = refusal.into_response(dialect, this.facts.request_id);
                if *this.brings_body && !this.facts.has_body() {
                    // What has not been read of the body ends the connection: said, the client does not send its next request
                    // into one that is being closed.
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                if let Some(refusal) = noted {
                    settle::note_refusal(this.plane, this.facts, &refusal, response.status().as_u16());
                }
                response
            }
        };
        if *this.is_h1 && this.plane.overload.strain() >= Strain::NoKeepAlive {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Ok(id) = HeaderValue::from_str(&this.facts.request_id_text) {
            for name in &REQUEST_IDS {
                response.headers_mut().insert(name, id.clone());
            }
        }
        Poll::Ready(Ok(response))
    }
}

fn panicked(plane: &DataPlane) -> Refusal {
    plane.metrics.panics.inc();
    Refusal::internal()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::plane::Parts;

    struct Buggy;

    impl Service<Called<&'static str>> for Buggy {
        type Response = Response<ReplyBody>;
        type Error = Refusal;
        type Future = Pin<Box<dyn Future<Output = Reply>>>;

        fn call(&self, called: Called<&'static str>) -> Self::Future {
            let body = *called.request.body();
            assert!(body != "at once", "a bug before the future");
            Box::pin(async move {
                tokio::task::yield_now().await;
                assert!(body != "later", "a bug in the future");
                Ok(Response::new(ReplyBody::Whole("fine".into())))
            })
        }
    }

    #[tokio::test]
    async fn a_panic_is_answered_and_counted_and_the_next_request_served() {
        let folder = tempfile::tempdir().unwrap();
        let parts = Parts::of_nothing(folder.path());
        let metrics = Arc::clone(&parts.metrics);
        let plane = DataPlane::new(parts);
        let guard = Guard { plane, inner: Buggy };
        for (body, status) in [("at once", 500), ("later", 500), ("never", 200)] {
            let response =
                guard.call(Arrived { request: Request::new(body), peer: std::net::Ipv4Addr::LOCALHOST.into() }).await.unwrap();
            assert_eq!(response.status(), status, "{body}");
            let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
            let text = response.into_body().collect().await.unwrap().to_bytes();
            assert!(status == 200 || String::from_utf8_lossy(&text).contains(&id));
        }
        assert_eq!(metrics.panics.get(), 2);
    }
}
