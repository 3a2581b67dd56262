//! The first configuration: from the store, or, while that is away, from the local disk until it is back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use tallygate_billing::{Budgets, Journal, Shipper};
use tallygate_store::{Store, StoreError};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::ops::Health;
use crate::refresh::Refresher;

/// For what an earlier process left in the journal.
const FLUSH_DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks for a store that is away, the half of it or more; replicas do not come back all at once.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// One look: migrations included.
const LOOK_DEADLINE: Duration = Duration::from_mins(1);

/// Takes what only the store knows.
pub struct Arrival {
    pub store: Arc<Store>,
    pub shipper: Arc<Shipper>,
    pub journal: Arc<Journal>,
    pub budgets: Arc<Budgets>,
    pub refresher: Arc<Refresher>,
    pub health: Arc<Health>,
    /// Cancelled once all is loaded: then usage may be shipped and changes followed.
    pub loaded: CancellationToken,
}

impl Arrival {
    /// Loads everything once; fails if the store does.
    pub async fn load(&self) -> Result<()> {
        // Usage the last process left must count against budgets before the first request is admitted.
        if let Err(error) = self.shipper.flush(FLUSH_DEADLINE).await {
            tracing::warn!(%error, "usage of an earlier run is still in the journal");
        }
        self.refresher.reload().await?;
        self.budgets.add_unshipped(&self.store, &self.journal).await?;
        self.loaded.cancel();
        Ok(())
    }

    /// The store is away: what is kept on the local disk serves, if `may_recall`; else nothing does yet.
    pub fn make_do(&self, may_recall: bool) -> bool {
        self.budgets.forget();
        if !may_recall {
            tracing::warn!("not ready before the store is back (store.start_without serves from the last good configuration)");
            return false;
        }
        match self.refresher.recall() {
            Ok(version) => {
                tracing::warn!(version, "serving from the last good configuration; tenants with a budget wait for the store");
                true
            }
            Err(error) => {
                tracing::error!(error = %format!("{error:#}"), "not ready before the store is back");
                false
            }
        }
    }

    /// Looks for the store until it is there, has the schema and `declare`d resources, and everything is loaded.
    pub async fn wait<T>(self, declare: impl AsyncFn(&Store) -> Result<T>) -> T {
        let mut said = None;
        loop {
            let look = async {
                self.store.migrate().await?;
                let declared = declare(&self.store).await?;
                self.load().await?;
                anyhow::Ok(declared)
            };
            let reason = match timeout(LOOK_DEADLINE, look).await {
                Ok(Ok(declared)) => {
                    self.health.started.store(true, Ordering::Release);
                    tracing::info!("the store is there; everything is loaded");
                    return declared;
                }
                Ok(Err(error)) if is_away(&error) => None,
                Ok(Err(error)) => Some(format!("{error:#}")),
                Err(_) => None,
            };
            if said != reason {
                if let Some(reason) = &reason {
                    tracing::error!(%reason, "the store is there and cannot be used; trying again");
                }
                said = reason;
            }
            sleep(rand::random_range(RETRY_PAUSE / 2..=RETRY_PAUSE)).await;
        }
    }
}

/// Whether it is the store that is not there, and not something it says.
pub fn is_away(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| matches!(cause.downcast_ref::<StoreError>(), Some(StoreError::Unavailable(_))))
}
