//! Requests that were refused, and why, on their way to the database.
//!
//! A refusal costs nothing, so it may not cost much either: it is kept in memory, within bounds, until it is written with others,
//! and a process that dies takes those of its last second with it. Of each tenant so many are written; what is beyond that is
//! counted on one that is like it. A flood fills neither the memory nor the database.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tallygate_types::{Currency, TenantId, Timestamp};
use tokio::sync::Notify;

use crate::record::{UsageRecord, Word};

/// How long refusals are gathered for one transaction ...
pub const LINGER: Duration = Duration::from_secs(1);
/// ... and of how many of each tenant in that time there is a record of their own.
pub const MAX_RECORDS_OF_TENANT: usize = 5;
/// What waits over all tenants, at most, also while the database is away.
const MAX_WAITING: usize = 10_000;
/// What the client was told is kept this far.
const MAX_MESSAGE_CHARS: usize = 500;

/// Why a request was refused: what it ran into, and how that stood.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RefusedBy {
    /// The error's code, or its reason where that says more.
    pub code: Word,
    /// What the client was told.
    pub message: String,
    /// `tenant`, `project`, `key`, `model` or `end_user`; nothing where no limit was in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Word>,
    /// Whose limit it is, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// `requests`, `tokens`, `concurrency` or `spend`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimension: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
    /// Of money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// Of a budget: `day`, `month` or `total`; `balance` of money paid in advance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<Word>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resets_at: Option<Timestamp>,
    /// So many more were refused like it, which have no record.
    #[serde(default)]
    pub more: u64,
}

/// A refused request.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusedRequest {
    pub record: UsageRecord,
    pub by: RefusedBy,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Refusals {
    waiting: Mutex<Waiting>,
    came: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: Vec<RefusedRequest>,
    /// Where a tenant's of this time stand among them.
    of_tenant: HashMap<TenantId, Vec<usize>>,
    /// When this time began.
    since: Option<Timestamp>,
}

impl RefusedBy {
    /// Not by a limit.
    pub fn new(code: &'static str, message: &str) -> Self {
        Self { code: code.into(), message: message.chars().take(MAX_MESSAGE_CHARS).collect(), ..Self::default() }
    }

    /// Whether both ran into the same thing.
    fn is_like(&self, other: &Self) -> bool {
        self.code == other.code && self.scope == other.scope && self.dimension == other.dimension && self.subject == other.subject
    }
}

impl Refusals {
    /// Keeps a refused request, or counts it on one that is like it. False: it has no record of its own.
    pub fn note(&self, record: UsageRecord, by: RefusedBy) -> bool {
        let mut waiting = self.waiting();
        let now = record.finished_at;
        // Also where the clock was set back; threads that come a little late do not begin anew.
        if waiting.since.is_none_or(|since| now.since(since) >= LINGER || since.since(now) >= LINGER) {
            waiting.since = Some(now);
            waiting.of_tenant.clear();
        }
        let Waiting { requests, of_tenant, .. } = &mut *waiting;
        let places = of_tenant.entry(record.tenant_id).or_default();
        if places.len() >= MAX_RECORDS_OF_TENANT || requests.len() >= MAX_WAITING {
            let is_like = |other: &RefusedRequest| other.record.key_id == record.key_id && other.by.is_like(&by);
            if let Some(place) = places.iter().rev().find(|place| is_like(&requests[**place])) {
                requests[*place].by.more += 1;
            }
            return false;
        }
        places.push(requests.len());
        requests.push(RefusedRequest { record, by });
        let is_first = requests.len() == 1;
        drop(waiting);
        if is_first {
            self.came.notify_one();
        }
        true
    }

    /// Takes all that waits.
    pub fn take(&self) -> Vec<RefusedRequest> {
        let mut waiting = self.waiting();
        waiting.of_tenant.clear();
        waiting.since = None;
        std::mem::take(&mut waiting.requests)
    }

    /// Takes all that waits; what is not kept comes back.
    pub(crate) fn lend(&self) -> Lent<'_> {
        Lent { refusals: self, requests: self.take() }
    }

    /// They could not be written: they go before what came since, as far as there is room.
    fn put_back(&self, mut requests: Vec<RefusedRequest>) {
        let mut waiting = self.waiting();
        requests.append(&mut waiting.requests);
        requests.truncate(MAX_WAITING);
        waiting.requests = requests;
        waiting.of_tenant.clear();
        waiting.since = None;
        drop(waiting);
        self.came.notify_one();
    }

    /// Until there is something to write.
    pub(crate) async fn came(&self) {
        while self.waiting().requests.is_empty() {
            self.came.notified().await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refused requests that are being written.
pub(crate) struct Lent<'a> {
    refusals: &'a Refusals,
    requests: Vec<RefusedRequest>,
}

impl Lent<'_> {
    pub fn as_slice(&self) -> &[RefusedRequest] {
        &self.requests
    }

    pub fn keep(mut self) -> Vec<RefusedRequest> {
        std::mem::take(&mut self.requests)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if !self.requests.is_empty() {
            self.refusals.put_back(std::mem::take(&mut self.requests));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn by(dimension: &'static str) -> RefusedBy {
        let base = RefusedBy::new("rate_limit_exceeded", "no");
        RefusedBy { scope: Some("key".into()), dimension: Some(dimension.into()), ..base }
    }

    fn at(n: u32, millis: i64, tenant: TenantId) -> UsageRecord {
        let record = testing::record(n);
        UsageRecord { tenant_id: tenant, finished_at: Timestamp::from_micros(millis * 1_000), ..record }
    }

    #[test]
    fn a_flood_of_one_tenant_leaves_few_records_with_a_count_and_takes_nothing_of_anothers() {
        let (refusals, flooder, other) = (Refusals::default(), TenantId::generate(), TenantId::generate());
        let noted = (0..1_000).filter(|n| refusals.note(at(0, i64::from(*n) % 900, flooder), by("requests"))).count();
        assert!(!refusals.note(at(0, 950, flooder), by("tokens")), "nothing is like it");
        assert!(refusals.note(at(1, 950, other), by("requests")));
        // The next second.
        assert!(refusals.note(at(0, 1_950, flooder), by("requests")));
        let taken = refusals.take();
        assert_eq!((noted, taken.len()), (MAX_RECORDS_OF_TENANT, MAX_RECORDS_OF_TENANT + 2));
        let more: Vec<_> = taken.iter().map(|refused| refused.by.more).collect();
        assert_eq!(more, [0, 0, 0, 0, 995, 0, 0]);
        assert!(refusals.take().is_empty());
    }

    #[test]
    fn what_waits_is_bounded_over_all_tenants() {
        let refusals = Refusals::default();
        for _ in 0..MAX_WAITING + 100 {
            refusals.note(at(0, 0, TenantId::generate()), by("requests"));
        }
        let taken = refusals.take();
        assert_eq!(taken.len(), MAX_WAITING);
        refusals.note(at(7, 0, TenantId::generate()), by("tokens"));
        drop(Lent { refusals: &refusals, requests: taken });
        let again = refusals.take();
        assert_eq!(
            (again.len(), again.iter().filter(|refused| refused.by.dimension.as_deref() == Some("tokens")).count()),
            (MAX_WAITING, 0)
        );
    }
}
