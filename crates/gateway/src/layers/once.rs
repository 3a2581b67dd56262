//! A request that names itself by `Idempotency-Key` is served once.
//!
//! It stands before admission: what was paid for already takes nothing of limits and budgets.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::Either;
use http::{HeaderName, Response, StatusCode};
use hyper::service::Service;
use tallygate_adapter::ErrorKind;

use super::{Question, Reply, plane_layer};
use crate::body::ReplyBody;
use crate::once::{Known, MAX_KEY_BYTES, Ticket};
use crate::plane::DataPlane;
use crate::refusal::Refusal;

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// After it a request that is under way elsewhere may have been answered.
const RETRY: Duration = Duration::from_secs(1);

plane_layer! {
    /// See the module.
    OnceLayer => Once
}

#[derive(Clone)]
pub struct Once<S> {
    plane: Arc<DataPlane>,
    inner: S,
}

type Boxed = Pin<Box<dyn Future<Output = Reply> + Send>>;

impl<S> Service<Box<Question>> for Once<S>
where
    S: Service<Box<Question>, Response = Response<ReplyBody>, Error = Refusal> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<ReplyBody>;
    type Error = Refusal;
    type Future = Either<Boxed, S::Future>;

    fn call(&self, question: Box<Question>) -> Self::Future {
        if !question.headers.contains_key(HEADER) {
            return Either::Right(self.inner.call(question));
        }
        let (plane, inner) = (Arc::clone(&self.plane), self.inner.clone());
        Either::Left(Box::pin(async move {
            match ticket(&plane, &question)? {
                Ok(ticket) => Ok(ticket.answered(inner.call(question).await?)),
                Err(known) => Ok(known),
            }
        }))
    }
}

/// The name, if it is free; else the answer that it got already.
fn ticket(plane: &DataPlane, question: &Question) -> Result<Result<Ticket, Response<ReplyBody>>, Refusal> {
    let key =
        question.headers.get(HEADER).and_then(|key| key.to_str().ok()).filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()));
    let Some(key) = key else {
        let message = format!("`Idempotency-Key` must be 1 to {MAX_KEY_BYTES} characters of printable ASCII.");
        return Err(Refusal::bad_request("invalid_idempotency_key", message));
    };
    let asked = (question.endpoint.operation.name(), question.query.as_str(), &question.body[..]);
    let conflict = |code, message: &str| Refusal::new(ErrorKind::InvalidRequest, code, message).with_status(StatusCode::CONFLICT);
    match plane.once.ask(question.key.tenant.id, key, &asked) {
        Known::Nothing(ticket) => Ok(Ok(ticket)),
        Known::Answered(response) => Ok(Err(response)),
        Known::UnderWay => Err(conflict("idempotency_in_flight", "A request with this `Idempotency-Key` is being served.")
            .with_retry_after(RETRY)
            .with_should_retry(true)),
        Known::Otherwise => Err(conflict(
            "idempotency_key_reused",
            "This `Idempotency-Key` was used for another request. Choose a new one for each request.",
        )
        .with_should_retry(false)),
    }
}
