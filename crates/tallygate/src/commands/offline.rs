//! A data plane that serves nobody: it answers from the store and the configuration file what a serving one would.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Result;
use arc_swap::ArcSwap;
use tallygate_billing::{Budgets, Journal, JournalConfig, PriceBook};
use tallygate_gateway::{DataPlane, Metrics, Parts, TracedAccess};
use tallygate_store::Store;

use crate::config::Config;
use crate::installation::gateway_config;
use crate::profiles::ProfileFile;
use crate::provision;

pub struct OfflinePlane {
    pub plane: Arc<DataPlane>,
    folder: PathBuf,
}

impl OfflinePlane {
    /// What the file declares is brought into the store first, as at a start.
    pub async fn of(store: &Arc<Store>, config: &Config) -> Result<Self> {
        provision::declare(store, config).await?;
        // A data plane wants a journal; nothing is written to this one.
        let folder = std::env::temp_dir().join(format!("tallygate-offline-{}", tallygate_types::RequestId::generate()));
        let (journal, _) = Journal::open(&folder, JournalConfig::default())?;
        let prices = Arc::new(PriceBook::default());
        prices.reload(store).await?;
        let plane = DataPlane::new(Parts {
            config: gateway_config(config),
            snapshot: Arc::new(ArcSwap::from_pointee(store.snapshot().await?)),
            store_fresh: Arc::new(AtomicBool::new(true)),
            profiles: ProfileFile::load(config.translation.profiles.as_deref())?.current,
            prices,
            budgets: Arc::new(Budgets::alone(store.clock().now())),
            journal,
            refusals: Arc::default(),
            digester: store.digester(),
            clock: Arc::clone(store.clock()),
            metrics: Arc::new(Metrics::new()?),
            access: Arc::new(TracedAccess),
            shelf: Arc::<Store>::clone(store),
        });
        Ok(Self { plane, folder })
    }
}

impl Drop for OfflinePlane {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}
