//! When keys were last used, told by the records that are shipped: in batches, and of one key once a minute at most, so that
//! no request ever waits for it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tallygate_store::{Store, StoreError, keys};
use tallygate_types::{ApiKeyId, IdMap, Timestamp};

use crate::record::UsageRecord;

/// Between two notes of the same key.
const INTERVAL: Duration = Duration::from_mins(1);
/// Keys whose last note is remembered; beyond it all are forgotten and noted once more.
const MAX_KEYS: usize = 100_000;

/// See the module.
#[derive(Default)]
pub struct KeyUse {
    noted: Mutex<IdMap<ApiKeyId, Timestamp>>,
}

impl KeyUse {
    /// Notes the keys of `records` whose last note is old.
    pub async fn note(&self, store: &Store, records: &[UsageRecord]) -> Result<(), StoreError> {
        let due = self.due(records);
        if due.is_empty() {
            return Ok(());
        }
        let mut tx = store.begin().await?;
        keys::note_used(&mut tx, &due).await?;
        tx.commit().await?;
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() + due.len() > MAX_KEYS {
            noted.clear();
        }
        noted.extend(due);
        Ok(())
    }

    /// Each key once, with its latest use; in the order of their ids, so that two replicas never wait for each other in turn.
    fn due(&self, records: &[UsageRecord]) -> Vec<(ApiKeyId, Timestamp)> {
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = |record: &&UsageRecord| {
            noted.get(&record.key_id).is_none_or(|last| last.saturating_add(INTERVAL) <= record.accepted_at)
        };
        let mut latest: IdMap<ApiKeyId, Timestamp> = IdMap::default();
        for record in records.iter().filter(is_due) {
            let at = latest.entry(record.key_id).or_insert(record.accepted_at);
            *at = record.accepted_at.max(*at);
        }
        let mut due: Vec<_> = latest.into_iter().collect();
        due.sort_unstable();
        due
    }
}
