//! Where the health of each upstream and credential is found: a table that is read without a lock and copied when it changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tallygate_store::{CredentialEntry, Snapshot, UpstreamEntry};
use tallygate_types::{CredentialId, IdMap, UpstreamId};

use super::bounds::HealthBounds;
use super::credential::{CredentialHealth, Names};
use super::upstream::UpstreamHealth;

/// See the module. It grows with the configuration, never with requests.
#[derive(Default)]
pub struct Table {
    entries: ArcSwap<Entries>,
    /// Held while a changed copy is made.
    changing: Mutex<()>,
}

#[derive(Clone, Default)]
struct Entries {
    /// By secret: a new one starts afresh.
    credentials: IdMap<(CredentialId, u64), Arc<CredentialHealth>>,
    upstreams: IdMap<UpstreamId, Arc<UpstreamHealth>>,
}

impl Table {
    pub fn credential<T>(
        &self,
        upstream: &UpstreamEntry,
        credential: &CredentialEntry,
        bounds: &HealthBounds,
        read: impl FnOnce(&Arc<CredentialHealth>) -> T,
    ) -> T {
        let key = (credential.id, mark(&credential.fingerprint));
        if let Some(known) = self.entries.load().credentials.get(&key) {
            return read(known);
        }
        read(&self.change(|entries| {
            let of = entries.upstream(upstream, bounds);
            let account = entries.credentials.iter().find(|((id, _), _)| *id == credential.id);
            let taken = account.map(|(_, known)| Arc::clone(&known.taken)).unwrap_or_default();
            let new = || Arc::new(CredentialHealth::new(credential.id, of, names(upstream, credential), taken));
            Arc::clone(entries.credentials.entry(key).or_insert_with(new))
        }))
    }

    pub fn upstream<T>(
        &self,
        upstream: &UpstreamEntry,
        bounds: &HealthBounds,
        read: impl FnOnce(&Arc<UpstreamHealth>) -> T,
    ) -> T {
        if let Some(known) = self.entries.load().upstreams.get(&upstream.id) {
            return read(known);
        }
        read(&self.change(|entries| entries.upstream(upstream, bounds)))
    }

    /// Every upstream that is known.
    pub fn upstreams(&self) -> Vec<Arc<UpstreamHealth>> {
        self.entries.load().upstreams.values().map(Arc::clone).collect()
    }

    /// Every credential that is known, with what its secret's predecessors left behind.
    pub fn credentials(&self) -> Vec<Arc<CredentialHealth>> {
        self.entries.load().credentials.values().map(Arc::clone).collect()
    }

    /// Drops what `snapshot` does not have, and takes over its names. Returns the upstreams that were dropped.
    pub fn retain(&self, snapshot: &Snapshot) -> Vec<Arc<UpstreamHealth>> {
        let mut live = HashMap::new();
        for upstream in snapshot.upstreams.values() {
            for credential in &upstream.credentials {
                live.insert((credential.id, mark(&credential.fingerprint)), names(upstream, credential));
            }
        }
        self.change(|entries| {
            let mut gone = Vec::new();
            entries.credentials.retain(|key, health| match live.remove(key) {
                Some(names) => {
                    if **health.names.load() != names {
                        health.names.store(Arc::new(names));
                    }
                    true
                }
                None => false,
            });
            entries.upstreams.retain(|id, health| {
                let entry = snapshot.upstreams.get(id);
                match entry {
                    Some(entry) if health.name.load().as_str() != &*entry.name => {
                        health.name.store(Arc::new(entry.name.to_string()));
                    }
                    Some(_) => {}
                    None => gone.push(Arc::clone(health)),
                }
                entry.is_some()
            });
            gone
        })
    }

    fn change<T>(&self, act: impl FnOnce(&mut Entries) -> T) -> T {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = Entries::clone(&self.entries.load());
        let done = act(&mut entries);
        self.entries.store(Arc::new(entries));
        done
    }
}

impl Entries {
    fn upstream(&mut self, upstream: &UpstreamEntry, bounds: &HealthBounds) -> Arc<UpstreamHealth> {
        let new = || Arc::new(UpstreamHealth::new(upstream.id, &upstream.name, bounds));
        Arc::clone(self.upstreams.entry(upstream.id).or_insert_with(new))
    }
}

/// Tells one secret of a credential from the next: its fingerprint has eight bytes.
fn mark(fingerprint: &str) -> u64 {
    fingerprint.bytes().fold(0, |mark, byte| mark << 8 | u64::from(byte))
}

fn names(upstream: &UpstreamEntry, credential: &CredentialEntry) -> Names {
    Names {
        upstream_id: upstream.id,
        upstream: upstream.name.to_string(),
        credential: credential.name.clone(),
        fingerprint: credential.fingerprint.clone(),
    }
}
