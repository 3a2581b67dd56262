//! What copies finished calls from the journal to the database.
//!
//! A batch is one transaction: the rows, skipping those already there; the rollups of the rows that were new; how far this
//! journal has come. Whatever is cut short is done again and changes nothing. While the database is away the journal
//! grows and the task tries again with growing pauses. Only a record whose own values are refused is set aside; whatever else
//! fails is the database's fault, and waiting for its repair loses nothing.

mod key_use;
mod refused;
mod rows;

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tallygate_store::{DbTime, Store, StoreError, query};
use tallygate_types::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use self::key_use::KeyUse;
use self::rows::Written;
use crate::budget::Budgets;
use crate::journal::{Batch, Journal, JournalError, Position};
use crate::record::UsageRecord;
use crate::refusals::{self, Refusals};

/// Records of one transaction.
pub const MAX_BATCH_RECORDS: usize = 2_000;
/// After a batch that was not full the next is waited for this long, so that a busy gateway makes few transactions: each costs a
/// sync of the database and some dozen hand-offs between threads, whatever it holds.
pub const LINGER: Duration = Duration::from_millis(250);
/// The same for the first record after a quiet time: whoever looks for it soon finds it.
const FIRST_LINGER: Duration = Duration::from_millis(20);
/// The first pause after a failure; it doubles up to [`MAX_BACKOFF`].
pub const MIN_BACKOFF: Duration = Duration::from_millis(100);
pub const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// A transaction the database has not answered by now is given up and done again: a network that swallows packets says nothing.
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// Nobody may have woken the task for a record written while it was busy: it looks again after this.
const IDLE_POLL: Duration = Duration::from_secs(5);
/// The value of "oldest unshipped" when there is none.
const NONE: i64 = i64::MIN;

#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("reading the journal was cut short: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("{pending} finished calls were not shipped in time; they stay in the journal and go at the next start")]
    Deadline { pending: u64 },
}

/// Gauges and counters, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShipperMetrics {
    /// Finished calls in the journal and not yet known to be in the database.
    pub depth: u64,
    /// When the oldest of them ended, as far as the shipper has read.
    pub oldest_unshipped_at: Option<Timestamp>,
    pub shipped_total: u64,
    pub duplicates_total: u64,
    /// Records shipped again with other figures: alarm.
    pub conflicts_total: u64,
    /// Records whose charge is not what their prices make of their usage: alarm.
    pub unexplained_total: u64,
    /// Records the database refuses for good, set aside in the journal's folder: alarm.
    pub rejected_total: u64,
    pub failures_total: u64,
}

/// One batch.
#[derive(Debug, Clone, Copy)]
struct Shipped {
    records: usize,
    /// There may be more.
    is_full: bool,
}

/// See the [module](self).
pub struct Shipper {
    store: Arc<Store>,
    journal: Arc<Journal>,
    reading: Mutex<Reading>,
    /// Records of the next batch: half as many after a failure, so that a slow database gets a batch it can take in time.
    limit: AtomicUsize,
    answer_deadline: Duration,
    counters: Counters,
    key_use: KeyUse,
    /// Hear what is in the database.
    budgets: OnceLock<Arc<Budgets>>,
    refusals: Arc<Refusals>,
}

#[derive(Default)]
struct Reading {
    /// How far this process has shipped; `None` until the database has said how far an earlier one came.
    position: Option<Position>,
    /// The last batch, into which the next is read.
    batch: Batch,
}

#[derive(Default)]
struct Counters {
    oldest: AtomicI64,
    shipped: AtomicU64,
    duplicates: AtomicU64,
    conflicts: AtomicU64,
    unexplained: AtomicU64,
    rejected: AtomicU64,
    failures: AtomicU64,
}

impl Shipper {
    pub fn new(store: Arc<Store>, journal: Arc<Journal>) -> Arc<Self> {
        Self::with_answer_deadline(store, journal, ANSWER_DEADLINE)
    }

    pub(crate) fn with_answer_deadline(store: Arc<Store>, journal: Arc<Journal>, answer_deadline: Duration) -> Arc<Self> {
        let counters = Counters { oldest: AtomicI64::new(NONE), ..Counters::default() };
        let limit = AtomicUsize::new(MAX_BATCH_RECORDS);
        Arc::new(Self {
            store,
            journal,
            reading: Mutex::default(),
            limit,
            answer_deadline,
            counters,
            key_use: KeyUse::default(),
            budgets: OnceLock::new(),
            refusals: Arc::default(),
        })
    }

    /// Tells these budgets what has reached the database. Once.
    pub fn tell(&self, budgets: Arc<Budgets>) {
        let _ = self.budgets.set(budgets);
    }

    /// What is refused from now on goes here.
    pub const fn refusals(&self) -> &Arc<Refusals> {
        &self.refusals
    }

    /// Ships until it is dropped. To stop it, drop its future, then [`flush`](Self::flush): whatever it was doing is done
    /// again whole. It reads the journal and encodes rows where it is polled, so that it wants a thread of its own.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.ship_journal(), self.ship_refusals());
    }

    /// Not of the journal, and so not in its way: they are no money.
    async fn ship_refusals(&self) {
        let mut pause = refusals::LINGER;
        loop {
            self.refusals.came().await;
            tokio::time::sleep(pause).await;
            pause = match self.write_refused().await {
                Ok(()) => refusals::LINGER,
                Err(error) => {
                    tracing::debug!(%error, "refused requests could not be recorded; trying again");
                    MAX_BACKOFF
                }
            };
        }
    }

    async fn write_refused(&self) -> Result<(), ShipError> {
        let taken = self.refusals.lend();
        if taken.as_slice().is_empty() {
            return Ok(());
        }
        let records: Vec<_> = taken.as_slice().iter().map(|refused| refused.record.clone()).collect();
        let written = self.answered(refused::write(&self.store, self.journal.node(), &records, taken.as_slice())).await;
        match written {
            // Never again: they cost nothing, and the next batch is not to wait for them.
            Err(ShipError::Store(error)) if error.is_about_the_row() => {
                let lost = taken.keep().len();
                tracing::error!(%error, lost, "the database refuses records of refused requests");
            }
            written => {
                written?;
                taken.keep();
                // A key that is only refused is in use all the same.
                if let Err(error) = self.answered(self.key_use.note(&self.store, &records)).await {
                    tracing::debug!(%error, "the use of keys could not be noted");
                }
            }
        }
        Ok(())
    }

    async fn ship_journal(&self) {
        let mut backoff = MIN_BACKOFF;
        loop {
            match self.ship_once().await {
                Ok(Shipped { records: 0, .. }) => {
                    backoff = MIN_BACKOFF;
                    // Either a record ended, or it is time to look anyway.
                    let _ = tokio::time::timeout(IDLE_POLL, self.journal.ended()).await;
                    tokio::time::sleep(FIRST_LINGER).await;
                }
                Ok(shipped) => {
                    backoff = MIN_BACKOFF;
                    if !shipped.is_full {
                        tokio::time::sleep(LINGER).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, pending = self.journal.pending(), "usage records could not be shipped; trying again");
                    // Full jitter, so that replicas do not come back all at once.
                    let pause = rand::random_range(backoff / 2..=backoff);
                    tokio::time::sleep(pause).await;
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                }
            }
        }
    }

    /// Ships everything that has ended by now. What is left at the deadline stays in the journal.
    pub async fn flush(&self, deadline: Duration) -> Result<(), ShipError> {
        let until = Instant::now() + deadline;
        self.flush_journal(until).await?;
        // Whoever waits for the rest waits for the money.
        if let Ok(Err(error)) = tokio::time::timeout_at(until, self.write_refused()).await {
            tracing::warn!(%error, "the last refused requests have no record");
        }
        Ok(())
    }

    async fn flush_journal(&self, until: Instant) -> Result<(), ShipError> {
        let mut backoff = MIN_BACKOFF;
        loop {
            match tokio::time::timeout_at(until, self.ship_once()).await {
                Ok(Ok(Shipped { records: 0, .. })) => return Ok(()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) if Instant::now() + backoff >= until => return Err(error),
                Ok(Err(_)) => {
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                }
                Err(_) => return Err(ShipError::Deadline { pending: self.journal.pending() }),
            }
        }
    }

    pub fn metrics(&self) -> ShipperMetrics {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let oldest = self.counters.oldest.load(Ordering::Relaxed);
        ShipperMetrics {
            depth: self.journal.pending(),
            oldest_unshipped_at: (oldest != NONE).then(|| Timestamp::from_micros(oldest)),
            shipped_total: get(&self.counters.shipped),
            duplicates_total: get(&self.counters.duplicates),
            conflicts_total: get(&self.counters.conflicts),
            unexplained_total: get(&self.counters.unexplained),
            rejected_total: get(&self.counters.rejected),
            failures_total: get(&self.counters.failures),
        }
    }

    async fn ship_once(&self) -> Result<Shipped, ShipError> {
        let limit = self.limit.load(Ordering::Relaxed);
        let shipped = self.try_ship(limit).await.map(|records| Shipped { records, is_full: records >= limit });
        let next = if shipped.is_ok() { limit * 2 } else { limit / 2 };
        self.limit.store(next.clamp(1, MAX_BATCH_RECORDS), Ordering::Relaxed);
        if shipped.is_err() {
            self.counters.failures.fetch_add(1, Ordering::Relaxed);
        }
        shipped
    }

    /// Ships one batch; how many records it held.
    async fn try_ship(&self, limit: usize) -> Result<usize, ShipError> {
        let mut reading = self.reading.lock().await;
        let Reading { position, batch } = &mut *reading;
        let from = match *position {
            Some(position) => position,
            None => *position.insert(self.resume(batch).await?),
        };
        self.journal.read_into(batch, from, limit, None)?;
        let count = batch.records.len();
        let oldest = batch.records.first().map_or(NONE, |record| record.finished_at.micros());
        self.counters.oldest.store(oldest, Ordering::Relaxed);
        if count > 0 {
            match self.write(&batch.records, batch.next).await {
                Err(ShipError::Store(error)) if error.is_about_the_row() => self.write_singly(batch, from, &error).await?,
                written => self.count(written?),
            }
        }
        // A loss here is only that of a date, and the next use tells it again.
        if let Err(error) = self.answered(self.key_use.note(&self.store, &batch.records)).await {
            tracing::debug!(%error, "the use of keys could not be noted");
        }
        if batch.next != from {
            *position = Some(batch.next);
            self.journal.shipped(batch.next, count as u64)?;
        }
        self.counters.oldest.store(NONE, Ordering::Relaxed);
        batch.records.clear();
        Ok(count)
    }

    async fn write(&self, records: &[UsageRecord], reached: Position) -> Result<Written, ShipError> {
        let written = self.answered(self.transact(records, reached)).await?;
        if let Some(budgets) = self.budgets.get() {
            budgets.shipped(records);
        }
        Ok(written)
    }

    async fn answered<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, ShipError> {
        let deadline = self.answer_deadline;
        let silent = |_| StoreError::Unavailable(format!("it did not answer within {} s", deadline.as_secs_f64()));
        Ok(tokio::time::timeout(deadline, work).await.map_err(silent)??)
    }

    async fn transact(&self, records: &[UsageRecord], reached: Position) -> Result<Written, StoreError> {
        let batch = Uuid::now_v7();
        let mut tx = self.store.begin().await?;
        let rules = self.budgets.get().map(|budgets| budgets.rules.load_full()).unwrap_or_default();
        let written = rows::write(&mut tx, self.journal.node(), batch, records, &rules).await?;
        let (node, now) = (self.journal.node(), DbTime(tx.now()));
        let (segment, offset) = (reached.segment as i64, reached.offset as i64);
        query!(&mut tx, |conn| {
            sqlx::query(
                "INSERT INTO usage_batches (id, node, segment, position, records, inserted, shipped_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(batch)
            .bind(node)
            .bind(segment)
            .bind(offset)
            .bind(records.len() as i64)
            .bind(written.inserted as i64)
            .bind(now)
            .execute(conn)
            .await
            .map(|_| ())
        })??;
        query!(&mut tx, |conn| {
            sqlx::query(
                "INSERT INTO shipper_watermarks (node, segment, position, updated_at) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (node) DO UPDATE SET segment = excluded.segment, position = excluded.position,
                    updated_at = excluded.updated_at",
            )
            .bind(node)
            .bind(segment)
            .bind(offset)
            .bind(now)
            .execute(conn)
            .await
            .map(|_| ())
        })??;
        tx.commit().await?;
        Ok(written)
    }

    /// A batch with a record the database refuses for what is in it: one record must not hold up all others. It is set aside, whole, and said. The watermark
    /// stays before the batch until all of it is through.
    async fn write_singly(&self, batch: &Batch, from: Position, error: &StoreError) -> Result<(), ShipError> {
        tracing::error!(%error, "the database refuses a batch of usage records; shipping them one by one");
        for record in &batch.records {
            match self.write(std::slice::from_ref(record), from).await {
                Ok(written) => self.count(written),
                Err(ShipError::Store(error)) if error.is_about_the_row() => {
                    let copy = self.journal.set_aside(record)?;
                    tracing::error!(%error, request_id = %record.request_id, copy = %copy.display(), "a usage record is refused by the database and was set aside; it is not billed");
                    self.counters.rejected.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Counts what an earlier process shipped as shipped, and says where to go on.
    async fn resume(&self, batch: &mut Batch) -> Result<Position, ShipError> {
        let reached = self.answered(watermark(&self.store, &self.journal)).await?;
        let mut from = Position::default();
        loop {
            self.journal.read_into(batch, from, MAX_BATCH_RECORDS, Some(reached))?;
            self.journal.shipped(batch.next, batch.records.len() as u64)?;
            if batch.next == from {
                return Ok(from);
            }
            from = batch.next;
        }
    }

    fn count(&self, written: Written) {
        let add = |counter: &AtomicU64, n| counter.fetch_add(n, Ordering::Relaxed);
        add(&self.counters.shipped, written.inserted);
        add(&self.counters.duplicates, written.duplicates);
        add(&self.counters.conflicts, written.conflicts);
        add(&self.counters.unexplained, written.unexplained);
    }
}

/// Where this journal's earlier process came to, according to the database.
pub(crate) async fn watermark(store: &Store, journal: &Journal) -> Result<Position, StoreError> {
    let node = journal.node();
    let found: Option<(i64, i64)> = query!(store, |conn| {
        sqlx::query_as("SELECT segment, position FROM shipper_watermarks WHERE node = $1").bind(node).fetch_optional(conn).await
    })??;
    let place = |n: i64| u64::try_from(n).unwrap_or(0);
    Ok(found.map_or_else(Position::default, |(segment, offset)| Position { segment: place(segment), offset: place(offset) }))
}

/// Reads from the journal without blocking the runtime.
pub(crate) async fn read(journal: &Arc<Journal>, from: Position) -> Result<Batch, ShipError> {
    let journal = Arc::clone(journal);
    Ok(tokio::task::spawn_blocking(move || journal.read(from, MAX_BATCH_RECORDS)).await??)
}
