//! Fills up a request of the Responses API that refers to earlier ones: with what the gateway keeps itself, or with the
//! knowledge which upstream keeps it.
//!
//! It stands before admission, so that limits and budgets see the whole conversation.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::Either;
use http::Response;
use hyper::service::Service;
use serde_json::Value;
use tallygate_adapter::kept::{self, Asked, KeptResponse};
use tallygate_store::TenantEntry;
use tallygate_store::pins::Pin as PinnedTo;
use tallygate_store::responses::{ResponsesMode, StoredResponse};
use tallygate_types::Dialect;

use super::{Question, Reply, no_room, plane_layer};
use crate::body::ReplyBody;
use crate::kept::{Plan, Whereabouts};
use crate::path::Operation;
use crate::plane::DataPlane;
use crate::refusal::Refusal;

/// What a request of the Responses API refers to, looked up.
#[derive(Default)]
pub struct Recalled {
    /// Only this upstream keeps what the request refers to.
    pub pin: Option<PinnedTo>,
    /// Handles of reasoning that a provider sealed for itself, in its order.
    pub sealed: Vec<String>,
    /// Whether an upstream that keeps responses is to keep this one.
    pub store: bool,
    /// The answer is to be kept here, unless its upstream keeps it.
    pub plan: Option<Plan>,
}

plane_layer! {
    /// See the module.
    RecallLayer => Recall
}

#[derive(Clone)]
pub struct Recall<S> {
    plane: Arc<DataPlane>,
    inner: S,
}

type Boxed = Pin<Box<dyn Future<Output = Reply> + Send>>;

impl<S> Service<Box<Question>> for Recall<S>
where
    S: Service<Box<Question>, Response = Response<ReplyBody>, Error = Refusal> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<ReplyBody>;
    type Error = Refusal;
    type Future = Either<Boxed, S::Future>;

    fn call(&self, mut question: Box<Question>) -> Self::Future {
        let has_memory = question.endpoint.dialect == Dialect::OpenaiResponses
            && matches!(question.endpoint.operation, Operation::Responses | Operation::CountTokens { .. });
        if !has_memory {
            return Either::Right(self.inner.call(question));
        }
        let (plane, inner) = (Arc::clone(&self.plane), self.inner.clone());
        Either::Left(Box::pin(async move {
            recall(&plane, &mut question).await?;
            inner.call(question).await
        }))
    }
}

async fn recall(plane: &DataPlane, question: &mut Question) -> Result<(), Refusal> {
    let asked = kept::asked(&question.body)?;
    let tenant = Arc::clone(&question.key.tenant);
    let mut recalled = Recalled { sealed: asked.sealed.clone(), store: asked.store, ..Recalled::default() };
    let mut earlier = Vec::new();
    if let Some(id) = &asked.previous_response_id {
        match plane.kept.find(&tenant, id).await? {
            Whereabouts::Here(chain) => earlier = chain,
            Whereabouts::Upstream(pin) => recalled.pin = Some(pin),
            Whereabouts::Nowhere(missing) => return Err(unknown_previous(&tenant, id, &missing)),
            Whereabouts::TooLong => return Err(too_long()),
        }
    }
    let referenced = resolve(plane, &tenant, &asked, &mut recalled).await?;

    let keeps =
        tenant.responses.mode == ResponsesMode::Stored && asked.store && question.endpoint.operation == Operation::Responses;
    if keeps || !earlier.is_empty() || !referenced.is_empty() {
        let earlier: Vec<KeptResponse<'_>> = earlier.iter().map(borrowed).collect();
        let filled = kept::fill_in(&question.body, &asked, &earlier, &referenced)?;
        if keeps {
            let previous_id = asked.previous_response_id.filter(|_| !earlier.is_empty());
            let mut room = plane.room();
            if !room.grow(filled.own_input.len()) {
                return Err(no_room());
            }
            recalled.plan = Some(Plan::new(filled.own_input, previous_id, room));
        }
        question.replace_body(filled.body.into(), plane.config.max_body_bytes)?;
    }
    question.recalled = recalled;
    Ok(())
}

/// Looks up the items that are only referred to: those kept here by id, and which upstream keeps the others.
async fn resolve(
    plane: &DataPlane,
    tenant: &TenantEntry,
    asked: &Asked,
    recalled: &mut Recalled,
) -> Result<BTreeMap<String, Value>, Refusal> {
    let mut found = BTreeMap::new();
    if asked.references.len() > plane.config.kept.max_references {
        let message = format!("At most {} items can be referred to; send the others in full.", plane.config.kept.max_references);
        return Err(Refusal::bad_request("too_many_references", message).with_param("input".to_owned()));
    }
    for reference in &asked.references {
        let id = reference.id.as_str();
        if found.contains_key(id) {
            continue;
        }
        if let Some(response) = kept::response_of_item(id)
            && let Some(stored) = plane.kept.get(tenant, &response).await?
            && let Some(item) = kept::find_item(&borrowed(&stored), id)
        {
            found.insert(id.to_owned(), item);
            continue;
        }
        match plane.kept.pin(tenant.id, id).await? {
            Some(pin) if recalled.pin.is_none_or(|known| known == pin) => recalled.pin = Some(pin),
            Some(_) => {
                let message =
                    "The items and responses this request refers to are kept by different upstreams. Send them in full.";
                return Err(Refusal::bad_request("item_not_found", message).with_param(format!("input[{}]", reference.position)));
            }
            None => {
                let message = format!("Item with id '{id}' not found. Send the full item instead of a reference{}", why(tenant));
                return Err(Refusal::bad_request("item_not_found", message).with_param(format!("input[{}]", reference.position)));
            }
        }
    }
    Ok(found)
}

pub fn borrowed(stored: &StoredResponse) -> KeptResponse<'_> {
    KeptResponse { id: &stored.id, input: stored.input(), response: stored.response() }
}

/// Says no more than the tenant knows of itself.
fn unknown_previous(tenant: &TenantEntry, id: &str, missing: &str) -> Refusal {
    let message = if missing == id {
        format!("Previous response with id '{id}' not found. Send the earlier items in `input`{}", why(tenant))
    } else {
        format!(
            "Previous response with id '{id}' builds on '{missing}', which is no longer kept. Send the earlier items in `input`."
        )
    };
    Refusal::bad_request("previous_response_not_found", message).with_param("previous_response_id".to_owned())
}

fn why(tenant: &TenantEntry) -> &'static str {
    match tenant.responses.mode {
        ResponsesMode::Stateless => ": responses are not kept for this tenant.",
        ResponsesMode::Stored => ".",
    }
}

fn too_long() -> Refusal {
    let message = "The conversation before `previous_response_id` is longer than can be taken up. Start a new one, or send the \
                   items that matter in `input`.";
    Refusal::bad_request("conversation_too_long", message).with_param("previous_response_id".to_owned())
}
