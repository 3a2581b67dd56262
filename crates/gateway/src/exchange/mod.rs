//! The exchange with upstreams: route, attempt, respond, settle.

pub(crate) mod attempt;
mod count;
pub(crate) mod failure;
mod form;
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
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Response;
use hyper::service::Service;
use tallygate_adapter::streams_events;
use tallygate_store::ModelEntry;
use tallygate_types::{Dialect, Timestamp};
use tokio::time::Sleep;

use self::attempt::Delivery;
use self::search::Search;
use crate::body::ReplyBody;
use crate::boxed::boxed;
use crate::layers::{Admitted, OutputCap, Question, Reply};
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
    type Future = Answering;

    fn call(&self, admitted: Admitted) -> Answering {
        let plane = Arc::clone(&self.plane);
        let Admitted { question, model, held } = admitted;
        let levels = held.permit.levels();
        let (dialect, accepted_at) = (question.endpoint.dialect, question.facts.accepted_at);
        let begins_early = question.stream && streams_events(dialect, &question.query);
        let cap = question.output_cap;
        let early = begins_early.then(|| {
            let delay = Box::pin(tokio::time::sleep(plane.config.stream_commit_delay));
            Early { delay, dialect, accepted_at, cap, keep_alive: plane.config.stream_keep_alive }
        });
        let settlement = Settlement::open(Arc::clone(&plane), &question, &model, held);
        Answering { search: Some(find(plane, question, model, settlement)), levels, early }
    }
}

/// An answer that is being looked for. The search is in a box: it keeps the state of an exchange out of every idle connection.
pub struct Answering {
    /// `None` once it has ended or has become a body.
    search: Option<Searching>,
    levels: Levels,
    early: Option<Early>,
}

/// A stream that is begun after a while, whatever the search will come to.
struct Early {
    delay: Pin<Box<Sleep>>,
    dialect: Dialect,
    accepted_at: Timestamp,
    cap: Option<OutputCap>,
    keep_alive: Duration,
}

impl Future for Answering {
    type Output = Reply;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reply> {
        let this = &mut *self;
        let Some(search) = &mut this.search else { return Poll::Ready(Err(Refusal::internal())) };
        if let Poll::Ready(found) = search.as_mut().poll(cx) {
            this.search = None;
            return Poll::Ready(answer(found, &this.levels));
        }
        let Some(early) = &mut this.early else { return Poll::Pending };
        ready!(early.delay.as_mut().poll(cx));
        let Some(search) = this.search.take() else { return Poll::Pending };
        let body = PendingBody::new(search, early.dialect, early.keep_alive);
        Poll::Ready(Ok(reply::begin(early.dialect, &this.levels, early.accepted_at, early.cap, body)))
    }
}

/// What the search for an answer came to.
pub struct Found {
    question: Box<Question>,
    settlement: Settlement,
    tried: Result<Delivery, Refusal>,
}

/// A search that is under way.
pub type Searching = Pin<Box<dyn Future<Output = Found> + Send>>;

/// A block and no `async fn`, here and above: its arguments would be in the future twice.
fn find(plane: Arc<DataPlane>, question: Box<Question>, model: Arc<ModelEntry>, mut settlement: Settlement) -> Searching {
    let search = boxed(|| async move {
        let mut tried = {
            let live = &question.facts.live;
            let mut search = Search::new(&plane, &question, &model, &mut settlement);
            tokio::select! {
                biased;
                tried = search.run() => tried,
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
    });
    Box::into_pin(search)
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
