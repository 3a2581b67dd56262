//! Tells browsers which pages may call: nobody's, unless the operator names their origins.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::{Either, Ready, ready as done};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use hyper::service::Service;
use pin_project_lite::pin_project;

use super::plane_layer;
use crate::body::ReplyBody;
use crate::caller::Arrived;
use crate::plane::DataPlane;

/// Every page may call. Keys are sent by scripts, never by browsers of themselves, so this gives nothing away.
const ANY: &str = "*";
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
/// What SDKs send from a browser, for a preflight that does not say.
const HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type");
/// Scripts may read what SDKs read: request ids, limits, waits, costs.
const EXPOSED: HeaderValue = HeaderValue::from_static("*");
const MAX_AGE_SECONDS: HeaderValue = HeaderValue::from_static("600");

plane_layer! {
    /// See the module.
    CorsLayer => Cors
}

#[derive(Clone)]
pub struct Cors<S> {
    plane: Arc<DataPlane>,
    inner: S,
}

impl<S, B> Service<Arrived<B>> for Cors<S>
where
    S: Service<Arrived<B>, Response = Response<ReplyBody>, Error = Infallible>,
{
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response<ReplyBody>, Infallible>>, CorsFuture<S::Future>>;

    fn call(&self, arrived: Arrived<B>) -> Self::Future {
        let request = &arrived.request;
        let origin = allowed(&self.plane.config.cors_origins, request.headers());
        let is_preflight =
            request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        match origin {
            Some(origin) if is_preflight => Either::Left(done(Ok(preflight(origin, request.headers())))),
            origin => Either::Right(CorsFuture { inner: self.inner.call(arrived), origin }),
        }
    }
}

/// The origin of the page that asks, if it may.
fn allowed(origins: &[String], headers: &HeaderMap) -> Option<HeaderValue> {
    if origins.is_empty() {
        return None;
    }
    let origin = headers.get(header::ORIGIN)?;
    let is_allowed = origins.iter().any(|allowed| allowed == ANY || allowed.as_bytes() == origin.as_bytes());
    is_allowed.then(|| origin.clone())
}

/// The answer to a browser that asks before it calls. It comes without a key and tells nothing.
fn preflight(origin: HeaderValue, asked: &HeaderMap) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Whole(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    allow(headers, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    let wanted = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(HEADERS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS);
    response
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
}

pin_project! {
    pub struct CorsFuture<F> {
        #[pin]
        inner: F,
        origin: Option<HeaderValue>,
    }
}

impl<F: Future<Output = Result<Response<ReplyBody>, Infallible>>> Future for CorsFuture<F> {
    type Output = Result<Response<ReplyBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut reply = ready!(this.inner.poll(cx));
        if let (Ok(response), Some(origin)) = (&mut reply, this.origin.take()) {
            allow(response.headers_mut(), origin);
        }
        Poll::Ready(reply)
    }
}
