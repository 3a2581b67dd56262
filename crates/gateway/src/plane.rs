//! What all layers share: the configuration as it is now, and the state that outlives a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tallygate_adapter::Profiles;
use tallygate_billing::{Budgets, Journal, PriceBook, Refusals};
use tallygate_store::{KeyDigester, Snapshot};
use tallygate_types::live::{CredentialStanding, EffectiveLimit, LiveRequest, UpstreamStanding};
use tallygate_types::{ApiKeyId, Clock, CredentialId, RequestId, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::access::AccessLog;
use crate::bad_keys::BadKeys;
use crate::config::GatewayConfig;
use crate::exchange::Hedging;
use crate::health::Health;
use crate::in_flight::{InFlight, Interruption};
use crate::kept::{Kept, Shelf};
use crate::limits::{self, AskedOf, Bucket, Holders, MemoryLimiter, RateLimiter};
use crate::media::Media;
use crate::memory::Keepsakes;
use crate::metrics::Metrics;
use crate::once::Answers;
use crate::overload::{self, Overload};
use crate::routing::{KnownAbilities, Repeats, Turns};
use crate::upstream::{Pool, ProxyStanding};

/// What the data plane is given by whoever starts it.
pub struct Parts {
    pub config: GatewayConfig,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// False while the snapshot may be out of date: then an unknown key is answered 503 and not 401.
    pub store_fresh: Arc<AtomicBool>,
    /// What models take, for translation.
    pub profiles: Arc<ArcSwap<Profiles>>,
    pub prices: Arc<PriceBook>,
    pub budgets: Arc<Budgets>,
    pub journal: Arc<Journal>,
    /// Where requests go that are refused before they cost anything.
    pub refusals: Arc<Refusals>,
    pub digester: KeyDigester,
    pub clock: Arc<dyn Clock>,
    pub metrics: Arc<Metrics>,
    /// Where the line of each request goes.
    pub access: Arc<dyn AccessLog>,
    /// Where responses are kept that later requests refer to.
    pub shelf: Arc<dyn Shelf>,
}

#[cfg(test)]
impl Parts {
    /// With an empty configuration, and a journal in `folder`.
    pub fn of_nothing(folder: &std::path::Path) -> Self {
        Self {
            config: GatewayConfig::default(),
            snapshot: Arc::default(),
            store_fresh: Arc::new(AtomicBool::new(true)),
            profiles: Arc::new(ArcSwap::new(Arc::clone(Profiles::builtin()))),
            prices: Arc::default(),
            budgets: Arc::new(Budgets::alone(Timestamp::UNIX_EPOCH)),
            journal: Journal::open(folder, tallygate_billing::JournalConfig::default()).unwrap().0,
            refusals: Arc::default(),
            digester: KeyDigester::new(&tallygate_store::SecretBytes32::new([1; 32])),
            clock: Arc::new(tallygate_types::SystemClock),
            metrics: Arc::new(Metrics::new().unwrap()),
            access: Arc::new(crate::access::TracedAccess),
            shelf: Arc::new(crate::kept::NoShelf),
        }
    }
}

/// The data plane. It reads configuration from memory, writes the journal, and waits for nothing else but upstreams; and for the
/// database, within bounds, where a request refers to what is kept there.
pub struct DataPlane {
    pub config: Arc<GatewayConfig>,
    pub metrics: Arc<Metrics>,
    /// Cancel it to end the drain early: what still runs is told so in band.
    pub stop: CancellationToken,
    pub(crate) access: Arc<dyn AccessLog>,
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) store_fresh: Arc<AtomicBool>,
    pub(crate) profiles: Arc<ArcSwap<Profiles>>,
    pub(crate) prices: Arc<PriceBook>,
    pub(crate) budgets: Arc<Budgets>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) digester: KeyDigester,
    pub(crate) clock: Arc<dyn Clock>,
    /// What is counted of whoever has limits.
    pub(crate) holders: Holders,
    pub(crate) limiter: Arc<dyn RateLimiter>,
    pub(crate) bad_keys: BadKeys,
    pub(crate) pool: Pool,
    pub(crate) health: Health,
    pub(crate) keepsakes: Keepsakes,
    pub(crate) kept: Kept,
    pub(crate) media: Media,
    /// By the names that clients give their requests.
    pub(crate) once: Arc<Answers>,
    pub(crate) overload: Overload,
    pub(crate) hedging: Hedging,
    /// What is being served.
    pub(crate) live: InFlight,
    /// For the shares of targets and credentials.
    pub(crate) turns: Turns,
    pub(crate) repeats: Repeats,
    pub(crate) known: KnownAbilities,
    bodies: Arc<AtomicUsize>,
    rejections: Bucket,
}

/// The share of one request in the memory for bodies, free again when dropped.
pub(crate) struct Room {
    all: Arc<AtomicUsize>,
    limit: usize,
    taken: usize,
}

impl DataPlane {
    /// Must be called inside a tokio runtime.
    pub fn new(parts: Parts) -> Arc<Self> {
        Self::with_limiter(parts, Arc::new(MemoryLimiter))
    }

    /// With another limiter than the one in memory.
    pub fn with_limiter(parts: Parts, limiter: Arc<dyn RateLimiter>) -> Arc<Self> {
        Arc::new(Self {
            health: Health::new(parts.config.health, Arc::clone(&parts.clock), parts.metrics.registry()),
            pool: Pool::new(&parts.config, parts.metrics.proxies.clone()),
            keepsakes: Keepsakes::new(parts.config.memory, parts.metrics.memory.clone()),
            kept: Kept::new(parts.shelf, parts.config.kept, parts.metrics.kept.clone()),
            media: Media::new(parts.config.media.clone()),
            once: Arc::default(),
            overload: Overload::new(&parts.config),
            hedging: Hedging::default(),
            config: Arc::new(parts.config),
            metrics: parts.metrics,
            access: parts.access,
            stop: CancellationToken::new(),
            snapshot: parts.snapshot,
            store_fresh: parts.store_fresh,
            profiles: parts.profiles,
            prices: parts.prices,
            budgets: parts.budgets,
            journal: parts.journal,
            refusals: parts.refusals,
            digester: parts.digester,
            clock: parts.clock,
            holders: Holders::default(),
            limiter,
            bad_keys: BadKeys::default(),
            live: InFlight::default(),
            turns: Turns::default(),
            repeats: Repeats::default(),
            known: KnownAbilities::default(),
            bodies: Arc::default(),
            rejections: Bucket::default(),
        })
    }

    /// Waits until what is to be in the database about kept responses is there, or for `deadline`. For an orderly end.
    pub async fn flush(&self, deadline: Duration) {
        self.kept.flush(deadline).await;
    }

    /// Requests that hold a seat: from before their body is read until they are settled.
    pub fn in_flight(&self) -> u32 {
        self.overload.in_flight()
    }

    /// How each outbound proxy that was used does.
    pub fn proxy_standings(&self) -> Vec<ProxyStanding> {
        self.pool.proxy_standings()
    }

    /// The requests that are being served, the longest running first.
    pub fn live_requests(&self) -> Vec<LiveRequest> {
        self.live.list()
    }

    /// Tells how much memory is used. The accept loop does so by itself where a limit is known.
    pub fn note_memory(&self, used_bytes: u64, limit_bytes: u64) {
        overload::note(self, used_bytes, limit_bytes);
    }

    /// Ends a request: its client is told so, its upstream is left, what was produced is settled. False: it does not run here.
    pub fn cancel(&self, id: RequestId) -> bool {
        self.live.interrupt(id, Interruption::Cancelled)
    }

    /// How every credential of the configuration stands.
    pub fn credential_standings(&self) -> Vec<CredentialStanding> {
        self.health.credentials(&self.snapshot.load(), self.clock.now())
    }

    /// How every upstream of the configuration stands.
    pub fn upstream_standings(&self) -> Vec<UpstreamStanding> {
        self.health.upstreams(&self.snapshot.load(), self.clock.now())
    }

    /// Every limit that requests of a key fall under, and where it stands. `None`: there is no such key.
    pub async fn effective_limits(
        &self,
        key: ApiKeyId,
        model: Option<&str>,
        end_user: Option<&str>,
    ) -> Option<Vec<EffectiveLimit>> {
        let snapshot = self.snapshot.load_full();
        let key = snapshot.keys.values().find(|entry| entry.id == key)?;
        // As a client would write it: a public name or an alias.
        let model = model.map(|name| snapshot.model(name).map_or(name, |model| &*model.name));
        let asked = AskedOf { key, model, end_user, places: self.config.default_places() };
        let now = self.clock.now();
        let mut rows = limits::effective(&asked, &self.holders, now);
        self.limiter.look(key.tenant.id, &mut rows, now).await;
        Some(rows.into_iter().map(|row| row.limit).collect())
    }

    /// Forgets what is held against a credential. False if it is not configured.
    pub fn reactivate(&self, credential: CredentialId) -> bool {
        self.health.reactivate(&self.snapshot.load(), credential, self.clock.now())
    }

    /// The snapshot was changed: what is known of what is gone is forgotten.
    pub fn reconfigured(&self) {
        self.health.configured(&self.snapshot.load());
    }

    /// Room for a request body that is about to be read; it grows with [`Room::grow`].
    pub(crate) fn room(&self) -> Room {
        Room { all: Arc::clone(&self.bodies), limit: self.config.max_bodies_bytes, taken: 0 }
    }

    /// Whether one more refused request may be recorded: a flood of them, by many tenants together, must not fill the database.
    pub(crate) fn may_record_rejection(&self, now: Timestamp) -> bool {
        self.rejections.take(1, u64::from(self.config.max_rejection_records_per_minute), now).is_ok()
    }
}

impl Room {
    #[cfg(test)]
    pub fn unbounded() -> Self {
        Self { all: Arc::default(), limit: usize::MAX, taken: 0 }
    }

    /// Takes `bytes` more; false if the bodies of all requests together would become too large.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let before = self.all.fetch_add(bytes, Ordering::AcqRel);
        self.taken += bytes;
        before.saturating_add(bytes) <= self.limit
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.all.fetch_sub(self.taken, Ordering::AcqRel);
    }
}
