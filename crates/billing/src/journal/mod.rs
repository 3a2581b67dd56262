//! The local, append-only record of what must be billed.
//!
//! Before a call is dispatched a BEGIN is written, on long streams a CHECKPOINT now and then, at the end an END: the whole
//! [`UsageRecord`]. Each is one plain `write` under a short lock, made durable by a thread that runs `fdatasync` for all
//! of them together at most [`MAX_SYNC_INTERVAL`] later. The [`Shipper`](crate::Shipper) copies ENDs to the database and
//! segments it is done with are removed, oldest first.
//!
//! The promise: the death of the process, of the database, or of the network between them loses nothing. The loss of
//! this machine's disk (or its power) loses what was neither synced nor shipped.
//!
//! When the disk is full, [`Journal::begin`] fails, so that nothing is served that could not be billed; an END of a call
//! already under way is kept in memory (bounded) and written as soon as there is room.

mod frame;
mod known;
mod packed;
mod reader;
mod recovery;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tallygate_types::{Clock, RequestId, SystemClock, Timestamp};
use tokio::sync::Notify;

pub use self::reader::Batch;
pub use self::recovery::{Damage, Recovery};
use self::writer::Writer;
use crate::record::{BeginRecord, UsageRecord};

/// A written record is durable after this time at the latest, unless a sync takes more than twice as long as the one before.
pub const MAX_SYNC_INTERVAL: Duration = Duration::from_millis(50);
/// The pause before the first sync, when nobody knows yet how long this disk takes.
const FIRST_SYNC_PAUSE: Duration = Duration::from_millis(25);
/// However long the disk takes, syncs are no closer.
const MIN_SYNC_PAUSE: Duration = Duration::from_millis(10);
/// While the disk refuses to sync, the pause between attempts doubles from [`MAX_SYNC_INTERVAL`] to this.
pub const MAX_SYNC_BACKOFF: Duration = Duration::from_secs(5);
/// A segment is closed and the next begun at this size.
pub const DEFAULT_SEGMENT_BYTES: u64 = 16 << 20;
/// The journal takes no new calls beyond this size: days of records with the database away.
pub const DEFAULT_MAX_BYTES: u64 = 8 << 30;
/// ENDs kept in memory while the disk takes none. Calls in flight are bounded, so this is seldom near.
pub const MAX_PARKED_RECORDS: usize = 65_536;

#[derive(Clone)]
pub struct JournalConfig {
    pub segment_bytes: u64,
    pub max_bytes: u64,
    /// Dates the checkpoints.
    pub clock: Arc<dyn Clock>,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { segment_bytes: DEFAULT_SEGMENT_BYTES, max_bytes: DEFAULT_MAX_BYTES, clock: Arc::new(SystemClock) }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the disk of the usage journal is full; free space on it, calls are refused until then")]
    DiskFull,
    #[error("the usage journal holds {bytes} bytes, its bound is {limit}; is the database away?")]
    Full { bytes: u64, limit: u64 },
    #[error("the usage journal could not be made durable; calls are refused until a sync succeeds")]
    SyncFailed,
    #[error("the usage journal in {} is in use by another process; give each process its own data directory", dir.display())]
    Locked { dir: PathBuf },
    #[error(
        "{} was written by a newer version of this program (record version {version}, kind {kind}); start that version",
        segment.display()
    )]
    Newer { segment: PathBuf, version: u8, kind: u8 },
    #[error("a usage record of {bytes} bytes is above the bound of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("a usage record cannot be written as JSON to be set aside: {0}")]
    SetAside(serde_json::Error),
}

impl JournalError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io { action, path, source },
        }
    }
}

/// A place between two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Position {
    pub segment: u64,
    pub offset: u64,
}

/// How much output a running call has delivered.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Checkpoint {
    request_id: RequestId,
    output_estimate: u64,
    at: Timestamp,
}

/// See the [module](self). Dropping it syncs what was written and gives the directory free.
pub struct Journal {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    sync_thread: Mutex<Option<JoinHandle<()>>>,
    lock: File,
}

struct Shared {
    dir: PathBuf,
    node: String,
    writer: Mutex<Writer>,
    /// Wakes the sync thread.
    dirty: Condvar,
    /// Wakes the shipper.
    ended: Notify,
    /// ENDs written and not yet known to be in the database.
    pending: AtomicU64,
    syncs: AtomicU64,
    sync_failures: AtomicU64,
}

impl Journal {
    /// Takes `dir` (made if need be) for this process, recovers what an earlier one left, and begins a new segment.
    pub fn open(dir: impl Into<PathBuf>, config: JournalConfig) -> Result<(Arc<Self>, Recovery), JournalError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(JournalError::io("create", &dir))?;
        let lock = segment::lock(&dir)?;
        let found = segment::list(&dir)?;
        let node = segment::node(&dir, !found.is_empty())?;
        let recovery = recovery::recover(&dir, &found)?;
        let mut writer = Writer::open(dir.clone(), &found, config.segment_bytes, config.max_bytes)?;
        for record in &recovery.settled {
            frame::with(record, |frame| writer.append(frame))?;
        }
        writer.sync_now()?;
        writer.hold_until_here(&found);
        let pending = recovery.finished + recovery.settled.len() as u64;
        let shared = Arc::new(Shared {
            dir,
            node,
            writer: Mutex::new(writer),
            dirty: Condvar::new(),
            ended: Notify::new(),
            pending: AtomicU64::new(pending),
            syncs: AtomicU64::new(0),
            sync_failures: AtomicU64::new(0),
        });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("journal-sync".into())
            .spawn(move || for_thread.sync_loop())
            .map_err(JournalError::io("start the sync thread of", &shared.dir))?;
        let journal = Self { shared, clock: config.clock, sync_thread: Mutex::new(Some(thread)), lock };
        Ok((Arc::new(journal), recovery))
    }

    /// Records that a call is about to be dispatched. An error means: do not dispatch it (503).
    pub fn begin(&self, record: &BeginRecord) -> Result<(), JournalError> {
        frame::with(record, |frame| {
            let mut writer = self.shared.writer();
            writer.accepts_calls()?;
            writer.append(frame)?;
            writer.opened(record.request_id);
            self.shared.wake_sync(&mut writer);
            Ok(())
        })
    }

    /// Records how much output a running call has delivered (an estimate in tokens), for the case that this process dies.
    pub fn checkpoint(&self, request_id: RequestId, output_estimate: u64) {
        let checkpoint = Checkpoint { request_id, output_estimate, at: self.clock.now() };
        let written = frame::with(&checkpoint, |frame| {
            let mut writer = self.shared.writer();
            writer.append(frame)?;
            writer.checkpointed(checkpoint);
            self.shared.wake_sync(&mut writer);
            Ok(())
        });
        // A checkpoint that cannot be written costs precision after a crash and nothing else.
        if let Err(error) = written {
            tracing::debug!(%error, %request_id, "checkpoint not written");
        }
    }

    /// Records a finished call, dispatched or refused. An error means that it is not recorded anywhere: with the disk full
    /// the record of a call begun is first kept in memory, see the [module](self); one that never began is refused as a
    /// [`begin`](Self::begin) would be.
    pub fn end(&self, record: &UsageRecord) -> Result<(), JournalError> {
        let write = |frame: &[u8]| {
            let mut writer = self.shared.writer();
            writer.append_or_park(record.request_id, frame)?;
            self.shared.wake_sync(&mut writer);
            Ok(())
        };
        match frame::with(record, write) {
            Err(JournalError::TooLarge { .. }) => frame::with(&without_bulk(record), write)?,
            written => written?,
        }
        self.shared.pending.fetch_add(1, Ordering::Relaxed);
        self.shared.ended.notify_one();
        Ok(())
    }

    /// Waits until everything written so far is durable. Blocks: for shutdown and tests.
    pub fn sync(&self) -> Result<(), JournalError> {
        self.shared.writer().sync_now()
    }

    /// The name under which this journal's progress stands in the database.
    pub fn node(&self) -> &str {
        &self.shared.node
    }

    /// ENDs not yet known to be in the database.
    pub fn pending(&self) -> u64 {
        self.shared.pending.load(Ordering::Relaxed)
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.shared.writer().bytes()
    }

    /// Calls begun and not ended.
    pub fn open_calls(&self) -> usize {
        self.shared.writer().open_calls()
    }

    /// ENDs kept in memory because the disk takes none.
    pub fn parked(&self) -> usize {
        self.shared.writer().parked()
    }

    /// Groups of records made durable, and attempts at it that failed.
    pub fn syncs(&self) -> (u64, u64) {
        (self.shared.syncs.load(Ordering::Relaxed), self.shared.sync_failures.load(Ordering::Relaxed))
    }

    /// Ends when a call has ended since the last time.
    pub(crate) async fn ended(&self) {
        self.shared.ended.notified().await;
    }
}

impl Shared {
    fn writer(&self) -> MutexGuard<'_, Writer> {
        // The writer changes its state only after the write it describes, so that it is sound even after a panic.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_sync(&self, writer: &mut Writer) {
        if writer.mark_dirty() {
            self.dirty.notify_one();
        }
    }

    fn sync_loop(&self) {
        let mut pause = FIRST_SYNC_PAUSE;
        loop {
            let mut writer = self.writer();
            while !writer.is_dirty() && !writer.is_stopped() {
                writer = self.dirty.wait(writer).unwrap_or_else(PoisonError::into_inner);
            }
            // Whoever writes in this time shares the sync.
            (writer, _) = self
                .dirty
                .wait_timeout_while(writer, pause, |writer| !writer.is_stopped())
                .unwrap_or_else(PoisonError::into_inner);
            let stopped = writer.is_stopped();
            if writer.write_parked() > 0 {
                self.ended.notify_one();
            }
            let work = writer.take_unsynced();
            drop(writer);
            let begun = Instant::now();
            let done = work.run();
            match &done {
                Ok(()) => {
                    pause = after_sync_of(begun.elapsed());
                    self.syncs.fetch_add(1, Ordering::Relaxed)
                }
                Err(error) => {
                    pause = longer(pause);
                    tracing::error!(%error, "the usage journal could not be synced; calls are refused until a sync succeeds");
                    self.sync_failures.fetch_add(1, Ordering::Relaxed)
                }
            };
            self.writer().synced(done.is_ok());
            if stopped {
                return;
            }
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.writer().stop();
        self.shared.dirty.notify_all();
        let thread = self.sync_thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the sync thread of the usage journal panicked");
        }
        // Closing is not enough: a process that is just being started holds the same lock until its program runs.
        if let Err(error) = self.lock.unlock() {
            tracing::debug!(%error, "the lock of the usage journal goes with its file");
        }
    }
}

/// The pause after a sync that took so long: the next ends within [`MAX_SYNC_INTERVAL`], too, even if it takes twice as long.
fn after_sync_of(took: Duration) -> Duration {
    MAX_SYNC_INTERVAL.saturating_sub(2 * took).max(MIN_SYNC_PAUSE)
}

/// The pause after another failed sync.
fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(MAX_SYNC_INTERVAL, MAX_SYNC_BACKOFF)
}

/// The record without what may grow beyond a frame; what is billed stays.
fn without_bulk(record: &UsageRecord) -> UsageRecord {
    UsageRecord { raw_usage: None, loss: None, attempts: Vec::new(), end_user: None, ..record.clone() }
}
