//! Which upstream may get a request that refers to what one of them keeps or has sealed.

use std::hash::{DefaultHasher, Hash, Hasher as _};

use bytes::Bytes;
use tallygate_adapter::kept::without_foreign_reasoning;
use tallygate_adapter::{Peek, peek};
use tallygate_store::ModelEntry;
use tallygate_store::pins::Pin;
use tallygate_types::Dialect;

use crate::layers::Question;
use crate::plane::DataPlane;
use crate::refusal::Refusal;
use crate::route::{self, Step};

/// The attempts, in order. What only one account keeps goes nowhere else; what one has sealed goes there first.
pub fn steps<'a>(plane: &DataPlane, question: &Question, model: &'a ModelEntry) -> Result<Vec<Step<'a>>, Refusal> {
    if let Some(pin) = question.recalled.pin {
        let steps = route::pinned(model, pin);
        return if steps.is_empty() { Err(kept_elsewhere(model)) } else { Ok(steps) };
    }
    let now = plane.clock.now();
    let cooling = |id| plane.cooling.cooling_until(id, now);
    let tenant = question.key.tenant.id;
    // Requests of one prompt take the same turn, and so the same account: its cache is the one that knows the prompt.
    let turn = match &question.peek.prompt_cache_key {
        Some(key) => stable_hash(&(tenant, key)),
        None => plane.turn(model.id),
    };
    let mut steps = route::plan(model, turn, cooling, plane.config.max_attempts);
    // The last of it counts most: it belongs to the turn that goes on.
    let origin = question.recalled.sealed.iter().rev().find_map(|handle| plane.kept.sealed_by(tenant, handle));
    if let Some(origin) = origin {
        let ready = |step: &Step<'_>| step.credential.is_none_or(|credential| cooling(credential.id).is_none());
        let first = route::pinned(model, origin).into_iter().find(|step| pin_of(step) == origin && ready(step));
        if let Some(first) = first {
            steps.retain(|step| pin_of(step) != origin);
            steps.insert(0, first);
            steps.truncate(plane.config.max_attempts);
        }
    }
    Ok(steps)
}

/// The request's body for an upstream of its own dialect, without the reasoning this account cannot open; with how many
/// items that are. `None`: as it is.
pub fn body_for(plane: &DataPlane, question: &Question, step: &Step<'_>) -> Result<Option<(Bytes, Peek, usize)>, Refusal> {
    let recalled = &question.recalled;
    if step.target.upstream.dialect != Dialect::OpenaiResponses || recalled.sealed.is_empty() {
        return Ok(None);
    }
    let (tenant, pin) = (question.key.tenant.id, pin_of(step));
    let is_foreign = |handle: &str| plane.kept.sealed_by(tenant, handle).is_some_and(|origin| origin != pin);
    if !recalled.sealed.iter().any(|handle| is_foreign(handle)) {
        return Ok(None);
    }
    let (body, dropped) = without_foreign_reasoning(&question.body, is_foreign)?;
    let peek = peek(question.endpoint.dialect, &body)?;
    Ok(Some((body.into(), peek, dropped)))
}

/// The same in every replica of one build.
fn stable_hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn pin_of(step: &Step<'_>) -> Pin {
    Pin { upstream: step.target.upstream.id, credential: step.credential.map(|credential| credential.id) }
}

fn kept_elsewhere(model: &ModelEntry) -> Refusal {
    let message = format!(
        "What this request refers to is kept by an upstream that does not serve the model `{}`. Send the earlier items in `input`.",
        model.name
    );
    Refusal::bad_request("previous_response_not_found", message).with_param("previous_response_id".to_owned())
}
