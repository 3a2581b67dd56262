//! Keeping an answer before the client has all of it, so that its `store` is the truth.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tallygate_adapter::kept::{self, Terminal, id_of, not_kept};
use tallygate_store::KeyEntry;
use tallygate_types::Dialect;

use super::attempt::{Content, Delivery};
use crate::kept::Plan;
use crate::layers::Question;
use crate::plane::DataPlane;

/// What is known of an answer that is to be kept, before it has come.
pub struct Keeper {
    plane: Arc<DataPlane>,
    key: Arc<KeyEntry>,
    plan: Plan,
}

/// The end of a stream, held back while the answer is being kept.
pub struct Closing {
    /// Whether it could be.
    pub keeping: Pin<Box<dyn Future<Output = bool> + Send>>,
    pub end: Bytes,
}

impl Keeper {
    /// For an answer of an upstream that keeps nothing itself.
    pub fn of(plane: &Arc<DataPlane>, question: &Question, upstream: Dialect) -> Option<Self> {
        let plan = question.recalled.plan.clone().filter(|_| upstream != Dialect::OpenaiResponses)?;
        Some(Self { plane: Arc::clone(plane), key: Arc::clone(&question.key), plan })
    }

    async fn keep(self, id: String, response: Bytes) -> bool {
        let Ok(response) = std::str::from_utf8(&response) else { return false };
        let tenant = &self.key.tenant;
        self.plane.kept.keep(tenant.id, &tenant.responses, &self.plan, &id, response).await
    }

    /// Begins to keep what the terminal event in `out` says, and holds it back. `Err`: it has not come.
    pub fn close(self, out: &mut Vec<Bytes>) -> Result<Closing, Self> {
        let Some(piece) = out.last() else { return Err(self) };
        let Some(Terminal { start, response, id }) = kept::terminal(piece) else { return Err(self) };
        let end = piece.slice(start..);
        let before = piece.slice(..start);
        out.pop();
        if !before.is_empty() {
            out.push(before);
        }
        Ok(Closing { keeping: Box::pin(self.keep(id, response.into())), end })
    }
}

/// Keeps a whole answer; one that could not be kept says so.
pub async fn whole(plane: &Arc<DataPlane>, question: &Question, delivery: &mut Delivery) {
    let Content::Whole(answer) = &mut delivery.content else { return };
    let Some(keeper) = Keeper::of(plane, question, delivery.upstream_dialect) else { return };
    let is_kept = match id_of(&answer.body) {
        Some(id) => keeper.keep(id, answer.body.clone()).await,
        None => false,
    };
    if !is_kept {
        answer.body = not_kept(&answer.body);
    }
}
