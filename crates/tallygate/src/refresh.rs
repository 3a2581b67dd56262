//! Keeps what the data plane reads current: the snapshot and the price book, rebuilt when the store says that something
//! changed, and the flag that says whether they are known to be current.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use arc_swap::ArcSwap;
use prometheus::{IntCounter, IntGauge, Registry};
use tallygate_billing::{Budgets, PriceBook, prices};
use tallygate_gateway::{DataPlane, Metrics};
use tallygate_store::{Snapshot, Store, StoreError};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::last_good::{self, LastGood};

/// How often the store is asked whether it is there and at which version. A change is normally signalled at once; this
/// finds what a lost signal missed, and a store that went away.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// A store that does not answer in this time is away.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);
/// The file of the last good configuration is written no more often: changes may come ten times a second.
const KEEP_INTERVAL: Duration = Duration::from_secs(5);
/// After a start, or a change, whoever waits for an answer comes first.
const KEEP_PAUSE: Duration = Duration::from_millis(100);
/// Between two looks at whether the configuration that was copied is in force.
const IN_FORCE_LOOK: Duration = Duration::from_millis(20);

/// What the data plane reads, and who keeps it current.
pub struct Refresher {
    store: Arc<Store>,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub prices: Arc<PriceBook>,
    budgets: Arc<Budgets>,
    /// False while the store is away: the last good snapshot serves, but an unknown key may be a new one.
    pub store_is_fresh: Arc<AtomicBool>,
    last_good: Option<LastGood>,
    kept: Arc<Mutex<Keeping>>,
    figures: Figures,
}

/// What of the configuration is on the disk.
#[derive(Default)]
struct Keeping {
    version: i64,
    at: Option<Instant>,
}

struct Figures {
    version: IntGauge,
    is_fresh: IntGauge,
    failures: IntCounter,
}

impl Refresher {
    /// Knows nothing yet. `last_good`: where the configuration is kept on the local disk, if it is.
    pub fn new(store: Arc<Store>, budgets: Arc<Budgets>, last_good: Option<LastGood>, registry: &Registry) -> Result<Self> {
        let figures = Figures {
            version: IntGauge::new("config_version", "Version of the configuration in force")?,
            is_fresh: IntGauge::new("store_up", "1 if the database answers, 0 while the last good configuration serves")?,
            failures: IntCounter::new("config_reload_failures_total", "Times a changed configuration could not be loaded")?,
        };
        registry.register(Box::new(figures.version.clone()))?;
        registry.register(Box::new(figures.is_fresh.clone()))?;
        registry.register(Box::new(figures.failures.clone()))?;
        Ok(Self {
            store,
            snapshot: Arc::default(),
            prices: Arc::new(PriceBook::default()),
            budgets,
            store_is_fresh: Arc::new(AtomicBool::new(false)),
            last_good,
            kept: Arc::default(),
            figures,
        })
    }

    /// Takes the configuration from the store.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let snapshot = self.store.snapshot().await?;
        let prices = prices::list(&*self.store, None).await?;
        self.budgets.prepare(&self.store, &snapshot, self.store.clock().now()).await?;
        // Prices first: a model must never be for sale before its price is known.
        self.prices.replace(prices);
        self.figures.version.set(snapshot.version);
        self.snapshot.store(Arc::new(snapshot));
        self.found();
        Ok(())
    }

    /// Takes the configuration from the local disk; its version.
    pub fn recall(&self) -> Result<i64> {
        let kept = self.last_good.as_ref().context("nothing is kept with this database")?.read()?;
        let version = kept.rows.version();
        let snapshot = self.store.assemble(kept.rows)?;
        self.prices.replace(kept.prices);
        self.snapshot.store(Arc::new(snapshot));
        self.figures.version.set(version);
        Ok(version)
    }

    /// Reloads when the store signals a change, until `stop`. While the store is away the last good state stays.
    pub async fn run(self: Arc<Self>, plane: Arc<DataPlane>, metrics: Arc<Metrics>, stop: CancellationToken) {
        let mut changes = self.store.changes();
        let mut said = None;
        loop {
            self.keep();
            tokio::select! {
                () = stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(HEARTBEAT) => if self.is_current().await { continue },
            }
            let before = self.snapshot.load_full();
            match tokio::time::timeout(STORE_TIMEOUT, self.reload()).await {
                Ok(Ok(())) => {
                    said = None;
                    plane.reconfigured();
                    let now = self.snapshot.load();
                    for gone in before.models.keys().filter(|name| !now.models.contains_key(*name)) {
                        metrics.forget_model(gone);
                    }
                    tracing::debug!(version = now.version, "configuration loaded");
                }
                Ok(Err(StoreError::Unavailable(reason))) => self.lost(&reason),
                Ok(Err(error)) => {
                    self.figures.failures.inc();
                    let reason = error.to_string();
                    if said.as_ref() != Some(&reason) {
                        tracing::error!(%reason, in_force = before.version, "the changed configuration cannot be used; the one before stays");
                        said = Some(reason);
                    }
                }
                Err(_) => self.lost(&"no answer in time"),
            }
        }
    }

    /// Whether there is nothing to do: the store is away, or still at the version that is loaded.
    async fn is_current(&self) -> bool {
        match tokio::time::timeout(STORE_TIMEOUT, self.store.config_version()).await {
            Ok(Ok(version)) => {
                let is_current = version == self.snapshot.load().version;
                if is_current {
                    self.found();
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

    /// Keeps what is in force on the disk, if it is not there yet. Nobody waits for the disk.
    fn keep(self: &Arc<Self>) {
        let Some(last_good) = self.last_good.clone() else { return };
        // Held: it is being written.
        let Ok(mut kept) = Arc::clone(&self.kept).try_lock_owned() else { return };
        let is_early = kept.at.is_some_and(|at| at.elapsed() < KEEP_INTERVAL);
        if is_early || kept.version == self.snapshot.load().version {
            return;
        }
        kept.at = Some(Instant::now());
        let this = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(KEEP_PAUSE).await;
            let runtime = Handle::current();
            tokio::task::spawn_blocking(move || match last_good.write(|out| runtime.block_on(this.copy(out))) {
                Ok(version) => kept.version = version,
                Err(error) => {
                    tracing::warn!(error = %format!("{error:#}"), "the last good configuration could not be kept on disk");
                }
            });
        });
    }

    /// The rows are read anew, one at a time: all of them at once would take more memory than all else does.
    async fn copy(&self, out: &mut last_good::Body) -> Result<i64> {
        let version = last_good::copy(&self.store, out).await?;
        // They may be newer than what is in force; only what the data plane could load is good.
        let is_in_force = async {
            while self.snapshot.load().version < version {
                tokio::time::sleep(IN_FORCE_LOOK).await;
            }
        };
        tokio::time::timeout(STORE_TIMEOUT, is_in_force).await.context("the configuration cannot be loaded")?;
        Ok(version)
    }

    fn found(&self) {
        self.figures.is_fresh.set(1);
        if !self.store_is_fresh.swap(true, Ordering::AcqRel) {
            tracing::info!("the configuration is that of the store");
        }
    }

    fn lost(&self, reason: &dyn std::fmt::Display) {
        self.figures.is_fresh.set(0);
        if self.store_is_fresh.swap(false, Ordering::AcqRel) {
            tracing::warn!(%reason, "the store is away; serving from the last good configuration");
        }
    }
}
