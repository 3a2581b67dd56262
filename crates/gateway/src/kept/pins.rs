//! What upstreams keep of whom: the latest in memory, all of it soon in the database.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashlink::LruCache;
use tallygate_store::pins::{NewPin, Pin};
use tallygate_types::TenantId;
use tokio::sync::{Notify, mpsc};

use super::Shelf;
use crate::config::KeptBounds;
use crate::metrics::KeptMetrics;

/// Pins of one transaction.
const BATCH: usize = 256;
/// While the database is away a batch is tried again this often, at these intervals; then it is given up.
const TRIES: u32 = 10;
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// See the module.
pub struct Pins {
    latest: Mutex<LruCache<(TenantId, Box<str>), Pin>>,
    queue: mpsc::Sender<NewPin>,
    waiting: Arc<Waiting>,
    metrics: KeptMetrics,
}

/// Pins that are not in the database yet.
#[derive(Default)]
struct Waiting {
    count: AtomicUsize,
    none: Notify,
}

impl Pins {
    /// Starts the task that writes them; it ends with the last sender.
    pub fn new(shelf: Arc<dyn Shelf>, bounds: &KeptBounds, metrics: KeptMetrics) -> Self {
        let (queue, queued) = mpsc::channel(bounds.max_pins_waiting);
        let waiting = Arc::<Waiting>::default();
        tokio::spawn(write(shelf, queued, Arc::clone(&waiting), metrics.clone()));
        Self { latest: Mutex::new(LruCache::new(bounds.max_pins)), queue, waiting, metrics }
    }

    pub fn get(&self, tenant: TenantId, id: &str) -> Option<Pin> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).get(&(tenant, Box::from(id))).copied()
    }

    pub fn put(&self, tenant: TenantId, id: &str, pin: Pin) {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).insert((tenant, Box::from(id)), pin);
    }

    pub fn remove(&self, tenant: TenantId, id: &str) {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).remove(&(tenant, Box::from(id)));
    }

    /// Hands it to the task. One too many is lost: what it names is known until the process ends.
    pub fn write(&self, pin: NewPin) {
        self.waiting.count.fetch_add(1, Ordering::AcqRel);
        if self.queue.try_send(pin).is_err() {
            self.waiting.done(1);
            self.metrics.pins_lost.inc();
        }
    }

    /// All that were handed over so far are written or given up.
    pub async fn written(&self) {
        loop {
            let none = self.waiting.none.notified();
            if self.waiting.count.load(Ordering::Acquire) == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Waiting {
    fn done(&self, count: usize) {
        if self.count.fetch_sub(count, Ordering::AcqRel) == count {
            self.none.notify_waiters();
        }
    }
}

async fn write(shelf: Arc<dyn Shelf>, mut queued: mpsc::Receiver<NewPin>, waiting: Arc<Waiting>, metrics: KeptMetrics) {
    let mut batch = Vec::with_capacity(BATCH);
    while queued.recv_many(&mut batch, BATCH).await > 0 {
        if !write_batch(&*shelf, &batch).await {
            metrics.pins_lost.inc_by(batch.len() as u64);
        }
        waiting.done(batch.len());
        batch.clear();
    }
}

async fn write_batch(shelf: &dyn Shelf, batch: &[NewPin]) -> bool {
    for tried in 1..=TRIES {
        match shelf.remember(batch).await {
            Ok(()) => return true,
            Err(error) => tracing::warn!(%error, tried, pins = batch.len(), "what upstreams keep could not be noted"),
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
    false
}
