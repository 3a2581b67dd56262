//! What is counted of whoever holds limits: places, rates, money.
//!
//! It outlives every configuration. An entry of the snapshot leads to it by one pointer, so that a request has it at hand with its
//! key; the entry that replaces it finds the same by its id.

use std::sync::{Arc, Mutex, PoisonError};

use tallygate_billing::AccountPlace;
use tallygate_store::{KeyEntry, Made, TenantEntry};
use tallygate_types::IdMap;
use uuid::Uuid;

use super::Purpose;
use super::memory::Counts;
use crate::overload::Taken;

/// Holders are spread over this many locks by their id.
const SHARDS: usize = 16;

/// See the module. There is one small entry for each tenant and key that ever asked, which configuration bounds.
#[derive(Debug, Default)]
pub struct Holders {
    shards: [Mutex<IdMap<Uuid, Arc<Holder>>>; SHARDS],
}

/// A tenant or a key.
#[derive(Debug, Default)]
pub struct Holder {
    counts: [Counts; 2],
    /// Of a tenant.
    pub(crate) taken: Taken,
    /// Of a tenant.
    pub(crate) account: AccountPlace,
}

impl Holders {
    pub fn tenant(&self, tenant: &TenantEntry) -> Arc<Holder> {
        self.of(&tenant.made, tenant.id.uuid())
    }

    pub fn key(&self, key: &KeyEntry) -> Arc<Holder> {
        self.of(&key.made, key.id.uuid())
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
