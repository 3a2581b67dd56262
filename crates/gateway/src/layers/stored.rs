//! Stored responses by their id: read, deleted, their input listed. What an upstream keeps is asked there, of the account
//! that made it and of no other.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::Either;
use http::{HeaderValue, Method, Response, header};
use hyper::service::Service;
use tallygate_adapter::ErrorKind;
use tallygate_adapter::kept::{self, KeptResponse};
use tallygate_store::KeyEntry;
use tallygate_store::pins::Pin as PinnedTo;

use super::recall::borrowed;
use super::{Called, Reply, plane_layer};
use crate::body::ReplyBody;
use crate::kept::Whereabouts;
use crate::path::{Operation, ResponseAction};
use crate::plane::DataPlane;
use crate::refusal::Refusal;
use crate::upstream::{Asking, ask};

plane_layer! {
    /// See the module.
    StoredLayer => Stored
}

#[derive(Clone)]
pub struct Stored<S> {
    plane: Arc<DataPlane>,
    inner: S,
}

type Boxed = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// A request about one response.
struct Question {
    key: Arc<KeyEntry>,
    id: String,
    action: ResponseAction,
    method: Method,
    query: String,
    request_id: String,
}

impl<S, B> Service<Called<B>> for Stored<S>
where
    S: Service<Called<B>, Response = Response<ReplyBody>, Error = Refusal>,
{
    type Response = Response<ReplyBody>;
    type Error = Refusal;
    type Future = Either<Boxed, S::Future>;

    fn call(&self, called: Called<B>) -> Self::Future {
        match question(&called) {
            None => Either::Right(self.inner.call(called)),
            Some(question) => {
                let plane = Arc::clone(&self.plane);
                Either::Left(Box::pin(async move { answer(&plane, &question).await.map(reply) }))
            }
        }
    }
}

fn question<B>(called: &Called<B>) -> Option<Question> {
    let Called { request, facts } = called;
    let Operation::StoredResponse { id, action } = &facts.endpoint()?.operation else { return None };
    Some(Question {
        key: Arc::clone(facts.key()?),
        id: id.clone(),
        action: *action,
        method: request.method().clone(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        request_id: facts.request_id_text.to_string(),
    })
}

async fn answer(plane: &DataPlane, question: &Question) -> Result<Bytes, Refusal> {
    let streams = question.query.split('&').any(|pair| pair == "stream=true");
    if streams {
        let message = "A stored answer is not streamed again: leave `stream` out.";
        return Err(Refusal::bad_request("unsupported_parameter", message).with_param("stream".to_owned()));
    }
    let tenant = &question.key.tenant;
    match (plane.kept.find(tenant, &question.id).await?, question.action) {
        (Whereabouts::Upstream(pin), _) => ask_upstream(plane, question, pin).await,
        (Whereabouts::Here(chain), ResponseAction::InputItems) => {
            let chain: Vec<KeptResponse<'_>> = chain.iter().map(borrowed).collect();
            Ok(kept::input_page(&chain, &question.query)?.into())
        }
        (Whereabouts::TooLong, ResponseAction::InputItems) => {
            let message = "The conversation before this response is longer than can be listed.";
            Err(Refusal::bad_request("conversation_too_long", message))
        }
        // The response itself is there, whatever became of what it builds on.
        _ => by_itself(plane, question).await,
    }
}

async fn by_itself(plane: &DataPlane, question: &Question) -> Result<Bytes, Refusal> {
    let tenant = &question.key.tenant;
    let Some(stored) = plane.kept.get(tenant, &question.id).await? else { return Err(not_found(&question.id)) };
    match question.action {
        ResponseAction::Resource if question.method == Method::DELETE => {
            if plane.kept.delete(tenant.id, &question.id).await? {
                Ok(kept::deleted(&question.id).into())
            } else {
                Err(not_found(&question.id))
            }
        }
        ResponseAction::Resource => Ok(Bytes::copy_from_slice(stored.response().as_bytes())),
        ResponseAction::Cancel => {
            let message = "Only a response in the background can be cancelled, and this one is finished.";
            Err(Refusal::bad_request("response_not_cancellable", message))
        }
        ResponseAction::InputItems => Err(not_found(&question.id)),
    }
}

async fn ask_upstream(plane: &DataPlane, question: &Question, pin: PinnedTo) -> Result<Bytes, Refusal> {
    let snapshot = plane.snapshot.load_full();
    let Some(upstream) = snapshot.upstreams.get(&pin.upstream) else { return Err(not_found(&question.id)) };
    let credential = upstream.credentials.iter().find(|credential| Some(credential.id) == pin.credential);
    if pin.credential.is_some() && credential.is_none() {
        return Err(not_found(&question.id));
    }
    let query = if question.query.is_empty() { String::new() } else { format!("?{}", without_key(&question.query)) };
    let asking = Asking {
        method: question.method.clone(),
        path: format!("/v1/responses/{}{}{query}", question.id, question.action.suffix()),
        request_id: &question.request_id,
    };
    let (status, body) = ask(plane, upstream, credential, asking).await?;
    match status {
        200 => {
            if question.method == Method::DELETE {
                plane.kept.forget(question.key.tenant.id, &question.id).await?;
            }
            Ok(body)
        }
        404 => Err(not_found(&question.id)),
        400 => {
            let failure = tallygate_adapter::decode_error(upstream.dialect, status, &body);
            Err(Refusal::bad_request("upstream_refused", failure.message).with_param(failure.param))
        }
        _ => Err(Refusal::unavailable("The upstream that keeps this response did not give it. Try again shortly.", None)),
    }
}

/// A key in the query is ours, not the upstream's.
fn without_key(query: &str) -> String {
    query.split('&').filter(|pair| pair.split('=').next() != Some("key")).collect::<Vec<_>>().join("&")
}

/// The same for what never was, was deleted, has expired or is another tenant's.
fn not_found(id: &str) -> Refusal {
    Refusal::new(ErrorKind::NotFound, "not_found", format!("Response with id '{id}' not found."))
        .with_param("id".to_owned())
        .with_should_retry(false)
}

fn reply(body: Bytes) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Whole(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
