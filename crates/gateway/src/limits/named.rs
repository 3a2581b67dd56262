//! What is counted of models and end users of a tenant. Their names are no rows, and those of end users are the clients' own: so
//! they are kept in a bounded map, from which goes what counts for nothing any more.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tallygate_types::{TenantId, Timestamp};

use super::{Holder, ScopeKind};

/// Over all tenants. At about 1.3 kB each (rates of requests and tokens) they come to 130 MB at most.
const MAX_HOLDERS: usize = 100_000;
/// Holders are spread over this many locks by their name.
const SHARDS: usize = 16;
/// A shard that is full is looked through for what counts for nothing no more often than this.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Names that begin with as many bytes alike are one.
const MAX_NAME_BYTES: usize = 256;

/// Whose names they are, and of what.
type Family = (TenantId, ScopeKind);

/// See the module.
#[derive(Debug)]
pub struct Named {
    shards: [Mutex<Shard>; SHARDS],
    max_per_shard: usize,
    hasher: RandomState,
    /// For those who come when there is no room: one for all of a tenant, so that nobody is without a limit, and nobody stands in
    /// the way of another tenant's.
    newcomers: Mutex<HashMap<Family, Arc<Holder>>>,
}

#[derive(Debug, Default)]
struct Shard {
    kept: HashMap<Family, HashMap<Box<str>, Arc<Holder>>>,
    /// Of all families.
    count: usize,
    swept_at: Option<Timestamp>,
}

impl Default for Named {
    fn default() -> Self {
        Self::with_room_for(MAX_HOLDERS)
    }
}

impl Named {
    fn with_room_for(max: usize) -> Self {
        let (shards, hasher, newcomers) = Default::default();
        Self { shards, max_per_shard: max.div_ceil(SHARDS), hasher, newcomers }
    }

    /// What is counted of `name`, from now on if it was not before.
    pub fn get(&self, tenant: TenantId, kind: ScopeKind, name: &str, now: Timestamp) -> Arc<Holder> {
        let (family, name) = ((tenant, kind), bounded_name(name));
        let mut shard = self.shard(family, name);
        if let Some(holder) = shard.find(family, name) {
            return Arc::clone(holder);
        }
        if shard.count >= self.max_per_shard {
            shard.sweep(now);
        }
        if shard.count >= self.max_per_shard {
            drop(shard);
            return Arc::clone(lock(&self.newcomers).entry(family).or_default());
        }
        let holder = Arc::<Holder>::default();
        shard.kept.entry(family).or_default().insert(name.into(), Arc::clone(&holder));
        shard.count += 1;
        holder
    }

    pub fn find(&self, tenant: TenantId, kind: ScopeKind, name: &str) -> Option<Arc<Holder>> {
        let (family, name) = ((tenant, kind), bounded_name(name));
        self.shard(family, name).find(family, name).map(Arc::clone)
    }

    fn shard(&self, family: Family, name: &str) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one((family, name));
        lock(&self.shards[(hash % SHARDS as u64) as usize])
    }
}

impl Shard {
    fn find(&self, family: Family, name: &str) -> Option<&Arc<Holder>> {
        self.kept.get(&family)?.get(name)
    }

    /// Lets go of what counts for nothing. What somebody else has at hand is about to count.
    fn sweep(&mut self, now: Timestamp) {
        if self.swept_at.is_some_and(|at| now.since(at) < SWEEP_INTERVAL) {
            return;
        }
        self.swept_at = Some(now);
        self.kept.retain(|_, names| {
            names.retain(|_, holder| Arc::strong_count(holder) > 1 || !holder.is_idle(now));
            !names.is_empty()
        });
        self.count = self.kept.values().map(HashMap::len).sum();
    }
}

/// As much of a client's name as is told apart, and shown.
pub fn bounded_name(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_NAME_BYTES)]
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    #[test]
    fn a_name_is_one_tenants_and_one_kinds() {
        let (named, one, two) = (Named::default(), TenantId::generate(), TenantId::generate());
        let holder = named.get(one, ScopeKind::EndUser, "ada", NOW);
        assert!(Arc::ptr_eq(&named.get(one, ScopeKind::EndUser, "ada", NOW), &holder));
        assert!(Arc::ptr_eq(&named.find(one, ScopeKind::EndUser, "ada").unwrap(), &holder));
        for (tenant, kind, name) in
            [(two, ScopeKind::EndUser, "ada"), (one, ScopeKind::Model, "ada"), (one, ScopeKind::EndUser, "ad")]
        {
            assert!(named.find(tenant, kind, name).is_none());
            assert!(!Arc::ptr_eq(&named.get(tenant, kind, name, NOW), &holder));
        }
    }

    #[test]
    fn names_are_told_apart_by_their_first_256_bytes() {
        let (named, tenant) = (Named::default(), TenantId::generate());
        let long = "é".repeat(128);
        let holder = named.get(tenant, ScopeKind::EndUser, &format!("{long}a"), NOW);
        assert!(Arc::ptr_eq(&named.get(tenant, ScopeKind::EndUser, &format!("{long}b"), NOW), &holder));
        assert_eq!(bounded_name(&format!("x{long}")).len(), 255);
    }

    #[test]
    fn when_it_is_full_newcomers_share_until_those_before_them_count_for_nothing() {
        let (named, tenant, other) = (Named::with_room_for(160), TenantId::generate(), TenantId::generate());
        let get = |tenant, at: usize, now| named.get(tenant, ScopeKind::EndUser, &format!("user {at}"), now);
        let held: Vec<_> = (0..10_000).map(|at| get(tenant, at, NOW)).collect();
        let different: HashSet<_> = held.iter().map(Arc::as_ptr).collect();
        assert_eq!(different.len(), 160 + 1);
        let shared = &held[9_999];
        assert!(Arc::ptr_eq(&get(tenant, 20_000, NOW), shared));
        // Another tenant's newcomers are not held up by this one's.
        assert!(!Arc::ptr_eq(&get(other, 20_000, NOW), shared));

        // What is at hand stays; what is not, and never counted, goes.
        let later = NOW.saturating_add(SWEEP_INTERVAL);
        assert!(Arc::ptr_eq(&get(tenant, 20_000, later), shared));
        let shared = Arc::clone(shared);
        drop(held);
        let later = later.saturating_add(SWEEP_INTERVAL);
        assert!(!Arc::ptr_eq(&get(tenant, 20_000, later), &shared));
    }

    #[test]
    fn whoever_was_admitted_in_the_last_minute_stays() {
        let (named, tenant) = (Named::with_room_for(SHARDS), TenantId::generate());
        let counted = named.get(tenant, ScopeKind::EndUser, "ada", NOW);
        counted.counts(crate::limits::Purpose::Generating).requests().take(1, 10, NOW).unwrap();
        let is_kept = |now| {
            // Enough others that one of them needs the place.
            (0..1_000).for_each(|at| drop(named.get(tenant, ScopeKind::EndUser, &format!("other {at}"), now)));
            named.find(tenant, ScopeKind::EndUser, "ada").is_some()
        };
        drop(counted);
        assert!(is_kept(NOW.saturating_add(Duration::from_secs(59))));
        assert!(!is_kept(NOW.saturating_add(Duration::from_mins(2))));
    }
}
