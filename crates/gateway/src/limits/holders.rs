//! What is counted of whoever holds limits: places and rates.
//!
//! It outlives every configuration. An entry of the snapshot leads to it by one pointer, so that a request has it at hand with its
//! key; the entry that replaces it finds the same by its id. What has no entry (a tenant's models, its end users) is found by name.

use std::sync::{Arc, Mutex, PoisonError};

use tallygate_store::{KeyEntry, Made, ProjectEntry, TenantEntry};
use tallygate_types::{IdMap, TenantId, Timestamp};
use uuid::Uuid;

use super::memory::Counts;
use super::named::Named;
use super::{Purpose, ScopeKind};
use crate::overload::Taken;

/// Holders are spread over this many locks by their id.
const SHARDS: usize = 16;

/// See the module. There is one small entry for each tenant, project and key that ever asked, which configuration bounds, and a
/// bounded number of others.
#[derive(Debug, Default)]
pub struct Holders {
    shards: [Mutex<IdMap<Uuid, Arc<Holder>>>; SHARDS],
    named: Named,
}

/// A tenant, a project, a key, a model of a tenant or an end user of one.
#[derive(Debug, Default)]
pub struct Holder {
    counts: [Counts; 2],
    /// Of a tenant.
    pub(crate) taken: Taken,
}

impl Holders {
    pub fn tenant(&self, tenant: &TenantEntry) -> Arc<Holder> {
        self.of(&tenant.made, tenant.id.uuid())
    }

    pub fn project(&self, project: &ProjectEntry) -> Arc<Holder> {
        self.of(&project.made, project.id.uuid())
    }

    pub fn key(&self, key: &KeyEntry) -> Arc<Holder> {
        self.of(&key.made, key.id.uuid())
    }

    /// A model or an end user of a tenant.
    pub fn named(&self, tenant: TenantId, kind: ScopeKind, name: &str, now: Timestamp) -> Arc<Holder> {
        self.named.get(tenant, kind, name, now)
    }

    /// The same, if anything was counted of it.
    pub fn find_named(&self, tenant: TenantId, kind: ScopeKind, name: &str) -> Option<Arc<Holder>> {
        self.named.find(tenant, kind, name)
    }

    fn of(&self, made: &Made, id: Uuid) -> Arc<Holder> {
        made.share(|| self.find(id)).unwrap_or_else(|| self.find(id))
    }

    fn find(&self, id: Uuid) -> Arc<Holder> {
        // The last byte of a UUIDv7 is random.
        let shard = &self.shards[usize::from(id.as_bytes()[15]) % SHARDS];
        Arc::clone(shard.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default())
    }
}

impl Holder {
    pub(super) const fn counts(&self, purpose: Purpose) -> &Counts {
        &self.counts[purpose as usize]
    }

    /// Nothing runs and nothing was admitted in the last minute: another in its place would be no different.
    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        self.counts.iter().all(|counts| counts.is_idle(now))
    }

    /// Requests that hold a place. Those of a tenant do before they are held against its other limits.
    pub(super) fn running(&self, purpose: Purpose) -> u32 {
        self.counts(purpose).running().max(self.taken.of(purpose))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_replaces_another_leads_to_the_same_holder() {
        let (holders, id) = (Holders::default(), Uuid::now_v7());
        let (before, after, other) = (Made::default(), Made::default(), Made::default());
        let holder = holders.of(&before, id);
        assert!(Arc::ptr_eq(&holders.of(&before, id), &holder));
        assert!(Arc::ptr_eq(&holders.of(&after, id), &holder));
        assert!(!Arc::ptr_eq(&holders.of(&other, Uuid::now_v7()), &holder));
    }
}
