//! What one replica learns of a credential, told to the others through the store, and kept over restarts.
//!
//! Only changes of state travel, never counts. They wait in a map that holds one entry for each credential, the newest: with the
//! database away nothing waits for it and nothing grows. What others wrote is read again when the store's signal says so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tallygate_billing::credential_spend;
use tallygate_store::standing::{self, StoredStanding};
use tallygate_store::{Snapshot, Store, StoreError};
use tallygate_types::{CredentialId, Pico, Timestamp};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Health;
use super::course::{State, Word};
use super::credential::CredentialHealth;
use crate::plane::DataPlane;

/// Changes that wait to be written, at most; beyond it the newest are not shared.
const MAX_WAITING: usize = 10_000;
/// Changes of one moment go out together.
const GATHER: Duration = Duration::from_millis(20);
/// The store is asked again after a failure, and the longest pause between two tries.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(15);
/// What a lost signal missed is found after so long, and what other replicas spent is known.
const REREAD: Duration = Duration::from_secs(30);
/// Clocks of replicas differ by no more than this, and transactions take no longer.
const OVERLAP: Duration = Duration::from_mins(2);

/// What is to be done next.
enum Due {
    Write,
    Read,
    All,
}

/// The changes that wait.
#[derive(Default)]
pub struct Outbox {
    waiting: Mutex<HashMap<(CredentialId, Box<str>), StoredStanding>>,
    arrived: Notify,
}

impl Outbox {
    pub fn put(&self, credential: &CredentialHealth, model: &str, word: Word) {
        let names = credential.names.load();
        let standing = StoredStanding {
            credential_id: credential.id,
            model: model.to_owned(),
            fingerprint: names.fingerprint.clone(),
            state: word.state.as_str().to_owned(),
            reason: credential.last().reason.unwrap_or_default().to_owned(),
            changed_at: word.changed,
            until: word.until,
            refusals: word.run,
        };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (credential.id, model.into());
        if waiting.len() < MAX_WAITING || waiting.contains_key(&key) {
            waiting.insert(key, standing);
            self.arrived.notify_one();
        }
    }

    fn take(&self) -> Vec<StoredStanding> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.drain().map(|(_, standing)| standing).collect()
    }

    /// What could not be written waits again, unless something newer does.
    fn put_back(&self, standings: Vec<StoredStanding>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for standing in standings {
            waiting.entry((standing.credential_id, standing.model.as_str().into())).or_insert(standing);
        }
    }
}

impl DataPlane {
    /// Takes over what is known of the credentials from the last run and from other replicas. For the start.
    pub async fn load_standings(&self, store: &Store) -> Result<(), StoreError> {
        let standings = standing::changed_since(store, Timestamp::UNIX_EPOCH).await?;
        self.health.adopt(&self.snapshot.load(), &standings);
        self.load_spend(store).await
    }

    /// Tells other replicas what this one learns of credentials, and takes over what they tell, until `stop`.
    pub async fn share_standings(self: Arc<Self>, store: Arc<Store>, stop: CancellationToken) {
        let mut signal = store.standing_signal();
        let outbox = self.health.outbox();
        let mut read_from = Timestamp::UNIX_EPOCH;
        let mut pause = FIRST_PAUSE;
        let mut reread = tokio::time::interval(REREAD);
        reread.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = tokio::select! {
                () = stop.cancelled() => return,
                () = outbox.arrived.notified() => Due::Write,
                changed = signal.changed() => if changed.is_err() { return } else { Due::Read },
                _ = reread.tick() => Due::All,
            };
            let done = match due {
                Due::Write => {
                    tokio::time::sleep(GATHER).await;
                    write(&store, outbox).await
                }
                Due::Read => self.read(&store, &mut read_from).await,
                Due::All => match self.read(&store, &mut read_from).await {
                    Ok(()) => self.load_spend(&store).await,
                    failed => failed,
                },
            };
            match done {
                Ok(()) => pause = FIRST_PAUSE,
                Err(error) => {
                    tracing::warn!(%error, "what is known of credentials is not shared while the store is away");
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                    pause = (pause * 2).min(MAX_PAUSE);
                    // Whatever failed is due again.
                    outbox.arrived.notify_one();
                    signal.mark_changed();
                }
            }
        }
    }

    /// Takes over what the credentials have cost today, over all replicas.
    async fn load_spend(&self, store: &Store) -> Result<(), StoreError> {
        let now = self.clock.now();
        let spent = credential_spend::of_today(store, now).await?;
        self.health.seed_spend(&self.snapshot.load(), &spent, now);
        Ok(())
    }

    async fn read(&self, store: &Store, read_from: &mut Timestamp) -> Result<(), StoreError> {
        let from = Timestamp::from_micros(read_from.micros().saturating_sub(OVERLAP.as_micros() as i64).max(0));
        let now = self.clock.now();
        let standings = standing::changed_since(store, from).await?;
        *read_from = now;
        self.health.adopt(&self.snapshot.load(), &standings);
        Ok(())
    }
}

async fn write(store: &Store, outbox: &Outbox) -> Result<(), StoreError> {
    let standings = outbox.take();
    if standings.is_empty() {
        return Ok(());
    }
    let written = standing::write(store, &standings).await;
    if written.is_err() {
        outbox.put_back(standings);
    }
    written
}

impl Health {
    fn outbox(&self) -> &Outbox {
        &self.common.outbox
    }

    fn seed_spend(&self, snapshot: &Snapshot, spent: &[(CredentialId, Pico)], now: Timestamp) {
        let spent: HashMap<_, _> = spent.iter().copied().collect();
        for upstream in snapshot.upstreams.values() {
            for entry in &upstream.credentials {
                if let Some(amount) = spent.get(&entry.id) {
                    self.with_credential(upstream, entry, |health| health.taken.seed(*amount, now));
                }
            }
        }
    }

    /// Takes over what is newer than what is known here, of the secrets that are configured.
    fn adopt(&self, snapshot: &Snapshot, standings: &[StoredStanding]) {
        if standings.is_empty() {
            return;
        }
        let configured: HashMap<_, _> = snapshot
            .upstreams
            .values()
            .flat_map(|upstream| upstream.credentials.iter().map(move |entry| (entry.id, (upstream, entry))))
            .collect();
        for stored in standings {
            let Some((upstream, entry)) = configured.get(&stored.credential_id) else { continue };
            let Some(state) = State::read(&stored.state).filter(|_| entry.fingerprint == stored.fingerprint) else { continue };
            let health = self.with_credential(upstream, entry, Arc::clone);
            let word = Word { state, changed: stored.changed_at, until: stored.until, run: stored.refusals };
            let change = if stored.model.is_empty() {
                health.slot.told(word)
            } else {
                health.model_or_new(&stored.model).and_then(|slot| slot.told(word))
            };
            if let Some(change) = change {
                self.common.adopted(&health, &stored.model, change);
            }
        }
    }
}
