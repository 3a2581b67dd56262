//! The exchange with upstreams: route, attempt, respond, settle.

pub(crate) mod attempt;
mod count;
pub(crate) mod failure;
mod hedge;
mod keep;
mod line;
mod outgoing;
mod pending;
mod plain;
mod race;
mod reply;
mod retry;
mod sealed;
mod search;
mod stream;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Response;
use tallygate_adapter::streams_events;
use tallygate_store::ModelEntry;
use tower::Service;

use self::attempt::Delivery;
use self::search::Search;
use crate::body::ReplyBody;
use crate::layers::{Admitted, Question, Reply};
use crate::limits::Levels;
use crate::plane::DataPlane;
use crate::refusal::Refusal;
use crate::settle::{Ending, Settlement};

pub use hedge::Hedging;
pub use pending::PendingBody;
pub use stream::StreamBody;

/// The innermost service of the stack.
#[derive(Clone)]
pub struct Exchange {
    plane: Arc<DataPlane>,
}

impl Exchange {
    pub const fn new(plane: Arc<DataPlane>) -> Self {
        Self { plane }
    }
}

impl Service<Admitted> for Exchange {
    type Response = Response<ReplyBody>;
    type Error = Refusal;
    /// A box: it keeps the state of an exchange out of every idle connection.
    type Future = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, admitted: Admitted) -> Self::Future {
        let plane = Arc::clone(&self.plane);
        let Admitted { question, model, held } = admitted;
        let levels = held.permit.levels();
        let settlement = Settlement::open(Arc::clone(&plane), &question, &model, held);
        let (dialect, accepted_at) = (question.endpoint.dialect, question.facts.accepted_at);
        let may_begin_early = question.stream && streams_events(dialect, &question.query);
        let mut search = find(Arc::clone(&plane), question, model, settlement);
        Box::pin(async move {
            if !may_begin_early {
                return answer(search.await, &levels);
            }
            if let Ok(found) = tokio::time::timeout(plane.config.stream_commit_delay, &mut search).await {
                return answer(found, &levels);
            }
            let body = PendingBody::new(search, dialect, plane.config.stream_keep_alive);
            Ok(reply::begin(dialect, &levels, accepted_at, body))
        })
    }
}

/// What the search for an answer came to.
pub struct Found {
    question: Question,
    settlement: Settlement,
    tried: Result<Delivery, Refusal>,
}

/// A search that is under way.
pub type Searching = Pin<Box<dyn Future<Output = Found> + Send>>;

/// A block and no `async fn`, here and above: its arguments would be in the future twice.
fn find(plane: Arc<DataPlane>, question: Question, model: Arc<ModelEntry>, mut settlement: Settlement) -> Searching {
    Box::pin(async move {
        let mut tried = {
            let live = &question.facts.live;
            tokio::select! {
                biased;
                tried = Search::new(&plane, &question, &model, &mut settlement).run() => tried,
                why = live.interrupted() => {
                    plane.metrics.exchange.interrupted(why);
                    Err(why.refusal())
                }
            }
        };
        if let Ok(delivery) = &mut tried {
            keep::whole(&plane, &question, delivery).await;
        }
        Found { question, settlement, tried }
    })
}

fn answer(found: Found, levels: &Levels) -> Reply {
    let Found { question, settlement, tried } = found;
    match tried {
        Ok(delivery) => Ok(reply::respond(&question, delivery, settlement, levels)),
        Err(refusal) if question.is_count() && count::may_estimate(&refusal) => count::estimate(&question, settlement, levels),
        Err(refusal) => {
            let refusal = refusal.with_attempts(settlement.attempts());
            let status = refusal.status(question.endpoint.dialect);
            settlement.end(Ending::Refused { outcome: refusal.outcome, code: refusal.code, status });
            Err(refusal)
        }
    }
}
