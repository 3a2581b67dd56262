//! A body without the reasoning that its upstream cannot open.

use bytes::Bytes;
use tallygate_adapter::kept::without_foreign_reasoning;
use tallygate_adapter::{Peek, peek};
use tallygate_types::Dialect;

use crate::layers::Question;
use crate::plane::DataPlane;
use crate::refusal::Refusal;
use crate::routing::{Step, pin_of};

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
