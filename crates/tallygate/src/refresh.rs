//! Keeps what the data plane reads current: the snapshot and the price book, rebuilt when the store says that something
//! changed, and the flag that says whether they are known to be current.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tallygate_billing::PriceBook;
use tallygate_gateway::Metrics;
use tallygate_store::{Snapshot, Store, StoreError};
use tokio_util::sync::CancellationToken;

/// How often the store is asked whether it is there and at which version. A change is normally signalled at once; this
/// finds what a lost signal missed, and a store that went away.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// A store that does not answer in this time is away.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the data plane reads, and who keeps it current.
pub struct Refresher {
    store: Arc<Store>,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub prices: Arc<PriceBook>,
    /// False while the store is away: the last good snapshot serves, but an unknown key may be a new one.
    pub store_is_fresh: Arc<AtomicBool>,
}

impl Refresher {
    /// Loads everything once; fails if the store does.
    pub async fn load(store: Arc<Store>) -> Result<Self, StoreError> {
        let refresher = Self {
            store,
            snapshot: Arc::default(),
            prices: Arc::new(PriceBook::default()),
            store_is_fresh: Arc::new(AtomicBool::new(false)),
        };
        refresher.reload().await?;
        Ok(refresher)
    }

    async fn reload(&self) -> Result<(), StoreError> {
        let snapshot = self.store.snapshot().await?;
        // Prices first: a model must never be for sale before its price is known.
        self.prices.reload(&self.store).await?;
        self.snapshot.store(Arc::new(snapshot));
        self.store_is_fresh.store(true, Ordering::Release);
        Ok(())
    }

    /// Reloads when the store signals a change, until `stop`. While the store is away the last good state stays.
    pub async fn run(self, metrics: Arc<Metrics>, stop: CancellationToken) {
        let mut changes = self.store.changes();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(HEARTBEAT) => if self.is_current().await { continue },
            }
            let before = self.snapshot.load_full();
            match tokio::time::timeout(STORE_TIMEOUT, self.reload()).await {
                Ok(Ok(())) => {
                    let now = self.snapshot.load();
                    for gone in before.models.keys().filter(|name| !now.models.contains_key(*name)) {
                        metrics.forget_model(gone);
                    }
                    tracing::debug!(version = now.version, "configuration loaded");
                }
                Ok(Err(error)) => self.lost(&error),
                Err(_) => self.lost(&"no answer in time"),
            }
        }
    }

    /// Whether the store is there and still at the version that is loaded.
    async fn is_current(&self) -> bool {
        match tokio::time::timeout(STORE_TIMEOUT, self.store.config_version()).await {
            Ok(Ok(version)) => {
                let is_current = version == self.snapshot.load().version;
                if is_current && !self.store_is_fresh.swap(true, Ordering::AcqRel) {
                    tracing::info!("the store is back");
                }
                is_current
            }
            Ok(Err(error)) => {
                self.lost(&error);
                true
            }
            Err(_) => {
                self.lost(&"no answer in time");
                true
            }
        }
    }

    fn lost(&self, reason: &dyn std::fmt::Display) {
        if self.store_is_fresh.swap(false, Ordering::AcqRel) {
            tracing::warn!(%reason, "the store is away; serving from the last good configuration");
        }
    }
}
