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
    /// The one box of the stack: it keeps the state of a whole exchange out of every idle connection.
    type Future = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, admitted: Admitted) -> Self::Future {
        Box::pin(exchange(Arc::clone(&self.plane), admitted))
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

async fn exchange(plane: Arc<DataPlane>, admitted: Admitted) -> Reply {
    let Admitted { question, model, held } = admitted;
    let levels = held.permit.levels();
    let settlement = Settlement::open(Arc::clone(&plane), &question, &model, held);
    let (dialect, accepted_at) = (question.endpoint.dialect, question.facts.accepted_at);
    let may_begin_early = question.stream && streams_events(dialect, &question.query);
    let mut search: Searching = Box::pin(find(Arc::clone(&plane), question, model, settlement));
    if !may_begin_early {
        let found = search.await;
        return answer(&plane, found, &levels).await;
    }
    if let Ok(found) = tokio::time::timeout(plane.config.stream_commit_delay, &mut search).await {
        return answer(&plane, found, &levels).await;
    }
    let body = PendingBody::new(search, dialect, plane.config.stream_keep_alive);
    Ok(reply::begin(dialect, &levels, accepted_at, body))
}

async fn find(plane: Arc<DataPlane>, question: Question, model: Arc<ModelEntry>, mut settlement: Settlement) -> Found {
    let tried = {
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
    Found { question, settlement, tried }
}

async fn answer(plane: &Arc<DataPlane>, found: Found, levels: &Levels) -> Reply {
    let Found { question, settlement, tried } = found;
    match tried {
        Ok(mut delivery) => {
            keep::whole(plane, &question, &mut delivery).await;
            Ok(reply::respond(&question, delivery, settlement, levels))
        }
        Err(refusal) if question.is_count() && count::may_estimate(&refusal) => count::estimate(&question, settlement, levels),
        Err(refusal) => {
            let refusal = refusal.with_attempts(settlement.attempts());
            let status = refusal.status(question.endpoint.dialect);
            settlement.end(Ending::Refused { outcome: refusal.outcome, code: refusal.code, status });
            Err(refusal)
        }
    }
}
