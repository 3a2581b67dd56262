//! What answers left behind for the next turn of their tool loops, tenant by tenant.
//!
//! Kept in memory alone: after a restart clients that keep signatures themselves bring them, and for the others the
//! upstream's own substitutes serve. No tenant can read or push out what another left: each has its own drawer with a bound
//! of its own, and where all drawers together are too full, the fullest one gives.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashlink::LruCache;
use tallygate_adapter::{Keepsake, Memory};
use tallygate_types::{TenantId, Timestamp};

use crate::config::MemoryBounds;
use crate::metrics::MemoryMetrics;

/// Old entries of tenants that do not come back are looked for this often.
const SWEEP_INTERVAL: Duration = Duration::from_mins(10);
/// When all is full, this part of it is freed at once, so that the fullest drawer is not looked for with every entry.
const FREED_SHARE: usize = 16;

/// See the module.
pub struct Keepsakes {
    bounds: MemoryBounds,
    metrics: MemoryMetrics,
    drawers: Mutex<Drawers>,
}

/// One tenant's memory, as of now.
pub struct TenantMemory<'a> {
    keepsakes: &'a Keepsakes,
    tenant: TenantId,
    now: Timestamp,
}

#[derive(Default)]
struct Drawers {
    by_tenant: HashMap<TenantId, Drawer>,
    bytes: usize,
    entries: usize,
    swept_at: Option<Timestamp>,
}

/// The least recently used entry is the one that expires first, for every use renews the lifetime.
struct Drawer {
    entries: LruCache<Box<str>, Entry>,
    bytes: usize,
}

struct Entry {
    keepsake: Arc<Keepsake>,
    bytes: usize,
    used_at: Timestamp,
}

impl Keepsakes {
    pub fn new(bounds: MemoryBounds, metrics: MemoryMetrics) -> Self {
        Self { bounds, metrics, drawers: Mutex::default() }
    }

    /// The memory that a request of `tenant` may read.
    pub const fn of(&self, tenant: TenantId, now: Timestamp) -> TenantMemory<'_> {
        TenantMemory { keepsakes: self, tenant, now }
    }

    /// Keeps what an answer to `tenant` left behind.
    pub fn keep(&self, tenant: TenantId, keepsakes: Vec<(String, Keepsake)>, now: Timestamp) {
        if keepsakes.is_empty() {
            return;
        }
        let mut drawers = self.lock();
        for (key, keepsake) in keepsakes {
            let bytes = key.len() + keepsake.weight();
            if bytes <= self.bounds.max_entry_bytes.min(self.bounds.max_bytes_per_tenant) {
                drawers.put(tenant, key.into(), Entry { keepsake: Arc::new(keepsake), bytes, used_at: now });
            } else {
                self.metrics.refused.inc();
            }
        }
        while drawers.by_tenant.get(&tenant).is_some_and(|drawer| drawer.bytes > self.bounds.max_bytes_per_tenant) {
            drawers.drop_oldest(tenant);
            self.metrics.evicted.inc();
        }
        if drawers.bytes > self.bounds.max_bytes || drawers.entries > self.bounds.max_entries {
            self.make_room(&mut drawers);
        }
        if drawers.swept_at.is_none_or(|at| now.since(at) >= SWEEP_INTERVAL) {
            drawers.swept_at = Some(now);
            self.sweep(&mut drawers, now);
        }
        self.tell(&drawers);
    }

    fn make_room(&self, drawers: &mut Drawers) {
        let left = |bound: usize| bound - bound / FREED_SHARE;
        while drawers.bytes > left(self.bounds.max_bytes) || drawers.entries > left(self.bounds.max_entries) {
            let Some(fullest) = drawers.by_tenant.iter().max_by_key(|(_, drawer)| drawer.bytes).map(|(id, _)| *id) else {
                return;
            };
            drawers.drop_oldest(fullest);
            self.metrics.evicted.inc();
        }
    }

    fn sweep(&self, drawers: &mut Drawers, now: Timestamp) {
        let tenants: Vec<TenantId> = drawers.by_tenant.keys().copied().collect();
        for tenant in tenants {
            while drawers.oldest(tenant).is_some_and(|entry| self.is_over(entry, now)) {
                drawers.drop_oldest(tenant);
            }
        }
    }

    fn is_over(&self, entry: &Entry, now: Timestamp) -> bool {
        now.since(entry.used_at) >= self.bounds.lifetime
    }

    fn tell(&self, drawers: &Drawers) {
        self.metrics.bytes.set(i64::try_from(drawers.bytes).unwrap_or(i64::MAX));
        self.metrics.entries.set(i64::try_from(drawers.entries).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, Drawers> {
        self.drawers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory for TenantMemory<'_> {
    fn recall(&self, call_id: &str) -> Option<Arc<Keepsake>> {
        let keepsakes = self.keepsakes;
        let mut drawers = keepsakes.lock();
        let found = drawers
            .by_tenant
            .get_mut(&self.tenant)
            .and_then(|drawer| drawer.entries.get_mut(call_id))
            .filter(|entry| !keepsakes.is_over(entry, self.now))
            .map(|entry| {
                entry.used_at = self.now;
                Arc::clone(&entry.keepsake)
            });
        drop(drawers);
        let counter = if found.is_some() { &keepsakes.metrics.hits } else { &keepsakes.metrics.misses };
        counter.inc();
        found
    }
}

impl fmt::Debug for TenantMemory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantMemory").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl Drawers {
    fn put(&mut self, tenant: TenantId, key: Box<str>, entry: Entry) {
        let drawer = self.by_tenant.entry(tenant).or_insert_with(|| Drawer { entries: LruCache::new_unbounded(), bytes: 0 });
        let added = entry.bytes;
        let replaced = drawer.entries.insert(key, entry);
        let freed = replaced.as_ref().map_or(0, |entry| entry.bytes);
        drawer.bytes = drawer.bytes + added - freed;
        self.bytes = self.bytes + added - freed;
        self.entries += usize::from(replaced.is_none());
    }

    fn oldest(&self, tenant: TenantId) -> Option<&Entry> {
        self.by_tenant.get(&tenant)?.entries.iter().next().map(|(_, entry)| entry)
    }

    /// An empty drawer goes too.
    fn drop_oldest(&mut self, tenant: TenantId) {
        let Some(drawer) = self.by_tenant.get_mut(&tenant) else { return };
        if let Some((_, entry)) = drawer.entries.remove_lru() {
            drawer.bytes -= entry.bytes;
            self.bytes -= entry.bytes;
            self.entries -= 1;
        }
        if drawer.entries.is_empty() {
            self.by_tenant.remove(&tenant);
        }
    }
}
