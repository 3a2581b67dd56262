//! Finds the endpoint that is meant, and answers what needs no key: the root.

use std::sync::Arc;

use futures_util::future::Either;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::service::Service;

use super::{AtOnce, Called, at_once, plane_layer};
use crate::body::ReplyBody;
use crate::path::{self, NoEndpoint, Operation};
use crate::plane::DataPlane;
use crate::refusal::Refusal;

const ROOT: &str = concat!(
    r#"{"name":"tallygate","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#"","what":"a gateway to language models; point your SDK's base URL here","endpoints":["#,
    r#""/v1/chat/completions","/v1/responses","/v1/messages","/v1beta/models/{model}:generateContent","#,
    r#""/v1/embeddings","/v1/models","/v1/completions","/v1/moderations","/v1/images/generations","/v1/images/edits","#,
    r#""/v1/audio/transcriptions","/v1/audio/speech","/v1/rerank"]}"#
);

plane_layer! {
    /// See the module.
    EndpointLayer => FindEndpoint
}

#[derive(Clone)]
pub struct FindEndpoint<S> {
    plane: Arc<DataPlane>,
    inner: S,
}

impl<S, B> Service<Called<B>> for FindEndpoint<S>
where
    S: Service<Called<B>, Response = Response<ReplyBody>, Error = Refusal>,
{
    type Response = Response<ReplyBody>;
    type Error = Refusal;
    type Future = AtOnce<S::Future>;

    fn call(&self, called: Called<B>) -> Self::Future {
        match self.find(&called) {
            Ok(None) => Either::Right(self.inner.call(called)),
            Ok(Some(response)) => at_once(Ok(response)),
            Err(refusal) => at_once(Err(refusal)),
        }
    }
}

impl<S> FindEndpoint<S> {
    /// An answer, if the endpoint can be answered here.
    fn find<B>(&self, called: &Called<B>) -> Result<Option<Response<ReplyBody>>, Refusal> {
        let Called { request, facts } = called;
        let (uri, method) = (request.uri(), request.method());
        let found = path::locate(method, uri.path(), uri.query(), request.headers());
        let endpoint = match found {
            Ok(endpoint) => endpoint,
            Err(NoEndpoint::NotFound { dialect, suggestion }) => {
                facts.learn_dialect(dialect);
                return Err(Refusal::no_such_path(method.as_str(), uri.path(), suggestion));
            }
            Err(NoEndpoint::NotOffered { dialect, why }) => {
                facts.learn_dialect(dialect);
                return Err(Refusal::not_offered(method.as_str(), uri.path(), why));
            }
            Err(NoEndpoint::MethodNotAllowed { dialect, allow }) => {
                facts.learn_dialect(dialect);
                return Err(Refusal::wrong_method(method.as_str(), uri.path(), allow));
            }
        };
        let is_root = endpoint.operation == Operation::Root;
        facts.learn_endpoint(endpoint);
        self.check_size(uri, request.headers())?;
        Ok(is_root.then(root))
    }

    fn check_size(&self, uri: &http::Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let config = &self.plane.config;
        let uri_bytes = uri.path_and_query().map_or(0, |written| written.as_str().len());
        if uri_bytes > config.max_uri_bytes {
            let message = format!("The URL is {uri_bytes} bytes long; at most {} are accepted.", config.max_uri_bytes);
            return Err(Refusal::bad_request("uri_too_long", message).with_status(StatusCode::URI_TOO_LONG));
        }
        let header_bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if header_bytes > config.max_header_bytes {
            let message = format!("The header is {header_bytes} bytes long; at most {} are accepted.", config.max_header_bytes);
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(Refusal::bad_request("header_too_large", message).with_status(status));
        }
        Ok(())
    }
}

fn root() -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Whole(ROOT.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_root_is_json() {
        let root: serde_json::Value = serde_json::from_str(super::ROOT).unwrap();
        assert_eq!(root["name"], "tallygate");
    }
}
