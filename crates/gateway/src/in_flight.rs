//! The requests that are being served: to be looked at, and to be ended from outside.
//!
//! What is told of a request are atomics in its own [`Facts`], written as it goes on. The registry itself is touched when a
//! request is admitted and when it is settled, one lock of many for each.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use tallygate_adapter::ErrorKind;
use tallygate_billing::{Name, Outcome, estimate};
use tallygate_store::{CredentialEntry, UpstreamEntry};
use tallygate_types::live::{LiveRequest, Phase};
use tallygate_types::{ApiKeyId, IdMap, RequestId, TenantId};
use uuid::Uuid;

use crate::facts::Facts;
use crate::refusal::Refusal;

/// Requests are spread over this many locks by their id.
const SHARDS: usize = 32;

/// See the module.
#[derive(Default)]
pub struct InFlight {
    shards: [Mutex<Shard>; SHARDS],
    /// Whoever enters from now on is told to stop at once.
    is_stopping: AtomicBool,
}

type Shard = IdMap<RequestId, Arc<Facts>>;

/// Why a request is ended though its client waits and its upstream works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// By an operator.
    Cancelled = 1,
    /// The process ends.
    Stopping = 2,
    /// The memory is nearly used up, and it takes much of it.
    Memory = 3,
}

/// What a request shows of itself while it runs, and how it hears that it must end.
#[derive(Default)]
pub struct Live {
    phase: AtomicU8,
    attempt: AtomicU32,
    bytes_out: AtomicU64,
    /// Of the answer, as far as it was last measured.
    output_bytes: AtomicU64,
    way: Mutex<Option<Way>>,
    interrupted: AtomicU8,
    waker: AtomicWaker,
}

struct Way {
    upstream: Arc<UpstreamEntry>,
    upstream_model: Name,
    credential: Option<Arc<CredentialEntry>>,
}

const WAITING: u8 = 0;
const CONNECTING: u8 = 1;
const FIRST_TOKEN: u8 = 2;
const STREAMING: u8 = 3;

impl InFlight {
    pub fn enter(&self, facts: &Arc<Facts>) {
        self.shard(facts.request_id).insert(facts.request_id, Arc::clone(facts));
        if self.is_stopping.load(Ordering::Acquire) {
            facts.live.interrupt(Interruption::Stopping);
        }
    }

    pub fn leave(&self, id: RequestId) {
        self.shard(id).remove(&id);
    }

    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// False: no such request runs here.
    pub fn interrupt(&self, id: RequestId, why: Interruption) -> bool {
        let known = self.shard(id).get(&id).map(Arc::clone);
        known.is_some_and(|facts| {
            facts.live.interrupt(why);
            true
        })
    }

    /// Ends all, and whatever is admitted after.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        for facts in self.all() {
            facts.live.interrupt(Interruption::Stopping);
        }
    }

    /// Ends the `count` requests that have moved the most bytes; how many it were.
    pub fn interrupt_largest(&self, count: usize) -> usize {
        let mut all = self.all();
        all.retain(|facts| facts.live.interruption().is_none());
        all.sort_by_key(|facts| std::cmp::Reverse(facts.bytes_in() + facts.live.bytes_out.load(Ordering::Relaxed)));
        all.truncate(count);
        for facts in &all {
            facts.live.interrupt(Interruption::Memory);
        }
        all.len()
    }

    /// The longest running first.
    pub fn list(&self) -> Vec<LiveRequest> {
        let mut all: Vec<LiveRequest> = self.all().iter().map(|facts| facts.live.show(facts)).collect();
        all.sort_by_key(|request| request.accepted_at);
        all
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn all(&self) -> Vec<Arc<Facts>> {
        self.shards.iter().flat_map(|shard| lock(shard).values().map(Arc::clone).collect::<Vec<_>>()).collect()
    }

    fn shard(&self, id: RequestId) -> MutexGuard<'_, Shard> {
        // The last byte of a UUIDv7 is random.
        lock(&self.shards[usize::from(id.uuid().as_bytes()[15]) % SHARDS])
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Live {
    /// An attempt begins.
    pub fn ask(
        &self,
        number: u32,
        upstream: &Arc<UpstreamEntry>,
        upstream_model: &Name,
        credential: Option<&Arc<CredentialEntry>>,
    ) {
        let way = Way {
            upstream: Arc::clone(upstream),
            upstream_model: Arc::clone(upstream_model),
            credential: credential.map(Arc::clone),
        };
        *lock(&self.way) = Some(way);
        self.attempt.store(number, Ordering::Relaxed);
        self.phase.store(CONNECTING, Ordering::Relaxed);
    }

    /// The upstream has begun to answer.
    pub fn head_received(&self) {
        self.phase.store(FIRST_TOKEN, Ordering::Relaxed);
    }

    pub fn has_head(&self) -> bool {
        self.phase.load(Ordering::Relaxed) >= FIRST_TOKEN
    }

    /// Content is on its way to the client.
    pub fn content_received(&self) {
        self.phase.store(STREAMING, Ordering::Relaxed);
    }

    pub fn sent(&self, bytes_out: u64) {
        self.bytes_out.store(bytes_out, Ordering::Relaxed);
    }

    pub fn answered(&self, output_bytes: u64) {
        self.output_bytes.store(output_bytes, Ordering::Relaxed);
    }

    /// The first reason stays.
    pub fn interrupt(&self, why: Interruption) {
        if self.interrupted.compare_exchange(0, why as u8, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.waker.wake();
        }
    }

    pub fn interruption(&self) -> Option<Interruption> {
        let said = self.interrupted.load(Ordering::Acquire);
        Interruption::ALL.into_iter().find(|why| *why as u8 == said)
    }

    /// For the one task that serves the request.
    pub fn poll_interrupted(&self, cx: &mut Context<'_>) -> Poll<Interruption> {
        if let Some(why) = self.interruption() {
            return Poll::Ready(why);
        }
        self.waker.register(cx.waker());
        self.interruption().map_or(Poll::Pending, Poll::Ready)
    }

    pub async fn interrupted(&self) -> Interruption {
        poll_fn(|cx| self.poll_interrupted(cx)).await
    }

    fn show(&self, facts: &Facts) -> LiveRequest {
        let key = facts.key();
        let way = lock(&self.way);
        let way = way.as_ref();
        let credential = way.and_then(|way| way.credential.as_ref());
        LiveRequest {
            request_id: facts.request_id,
            tenant: key.map_or(TenantId::from_uuid(Uuid::nil()), |key| key.tenant.id),
            tenant_name: key.map(|key| key.tenant.name.to_string()).unwrap_or_default(),
            key: key.map_or(ApiKeyId::from_uuid(Uuid::nil()), |key| key.id),
            key_name: key.map(|key| key.name.to_string()).unwrap_or_default(),
            model: facts.model().unwrap_or_default().to_owned(),
            upstream: way.map(|way| way.upstream.id),
            upstream_name: way.map(|way| way.upstream.name.to_string()),
            upstream_model: way.map(|way| way.upstream_model.to_string()),
            credential: credential.map(|credential| credential.id),
            credential_name: credential.map(|credential| credential.name.clone()),
            attempt: self.attempt.load(Ordering::Relaxed),
            phase: match self.phase.load(Ordering::Relaxed) {
                CONNECTING => Phase::Connecting,
                FIRST_TOKEN => Phase::FirstToken,
                STREAMING => Phase::Streaming,
                WAITING.. => Phase::Waiting,
            },
            streamed: facts.is_stream(),
            accepted_at: facts.accepted_at,
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            output_tokens: estimate::tokens(self.output_bytes.load(Ordering::Relaxed)),
            client_dialect: facts.dialect(),
        }
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("phase", &self.phase).field("interrupted", &self.interrupted).finish_non_exhaustive()
    }
}

impl Interruption {
    pub const ALL: [Self; 3] = [Self::Cancelled, Self::Stopping, Self::Memory];

    /// A label of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Stopping => "stopping",
            Self::Memory => "memory",
        }
    }

    /// What the client is told.
    pub fn refusal(self) -> Refusal {
        match self {
            Self::Cancelled => {
                // A client that tried again by itself would undo what the operator did.
                let message = "An operator of the gateway cancelled this request.";
                Refusal::new(ErrorKind::Permission, "request_cancelled", message)
                    .with_should_retry(false)
                    .with_outcome(Outcome::Cancelled)
            }
            Self::Stopping => Refusal::stopping(),
            Self::Memory => {
                Refusal::overloaded("memory", "The gateway is short of memory and had to end this request. Try again.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use tallygate_types::SystemClock;

    use super::*;

    fn request(registry: &InFlight, bytes_out: u64) -> Arc<Facts> {
        let facts = Arc::new(Facts::new(&SystemClock, &HeaderMap::new(), std::net::Ipv4Addr::LOCALHOST.into()));
        registry.enter(&facts);
        facts.live.sent(bytes_out);
        facts
    }

    #[test]
    fn a_request_is_listed_from_its_admission_to_its_end() {
        let registry = InFlight::default();
        let (one, two) = (request(&registry, 7), request(&registry, 9));
        two.live.content_received();
        two.live.answered(10);
        let shown: Vec<_> =
            registry.list().into_iter().map(|live| (live.request_id, live.phase, live.bytes_out, live.output_tokens)).collect();
        assert_eq!(shown.len(), 2);
        assert!(shown.contains(&(one.request_id, Phase::Waiting, 7, 0)), "{shown:?}");
        assert!(shown.contains(&(two.request_id, Phase::Streaming, 9, 3)), "{shown:?}");
        registry.leave(one.request_id);
        assert_eq!(registry.len(), 1);
        assert!(!registry.interrupt(one.request_id, Interruption::Cancelled));
    }

    #[test]
    fn the_largest_are_ended_first_and_no_one_twice() {
        let registry = InFlight::default();
        let all: Vec<_> = [5, 50, 500].into_iter().map(|bytes| request(&registry, bytes)).collect();
        let ended = || all.iter().map(|facts| facts.live.interruption().is_some()).collect::<Vec<_>>();
        assert_eq!((registry.interrupt_largest(1), ended()), (1, vec![false, false, true]));
        assert_eq!((registry.interrupt_largest(1), ended()), (1, vec![false, true, true]));
        assert_eq!((registry.interrupt_largest(5), registry.interrupt_largest(5)), (1, 0));
    }

    #[tokio::test]
    async fn whoever_comes_after_the_stop_is_told_as_well() {
        let registry = InFlight::default();
        let before = request(&registry, 0);
        before.live.interrupt(Interruption::Cancelled);
        registry.stop();
        assert_eq!(before.live.interrupted().await, Interruption::Cancelled);
        assert_eq!(request(&registry, 0).live.interrupted().await, Interruption::Stopping);
    }
}
