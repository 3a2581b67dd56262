//! What a decision reads of the running system, and nothing more.

use std::sync::atomic::{AtomicU64, Ordering};

use tallygate_store::{CredentialEntry, TargetEntry, UpstreamEntry};
use uuid::Uuid;

use super::capability::Known;
use super::hash::{below, xxh64};
use crate::health::Standing;

/// Lines of turns that are counted apart. Two models that share one still get their shares, if not exactly in turn.
const LINES: usize = 1024;

/// See the module.
pub trait View {
    fn upstream(&self, upstream: &UpstreamEntry) -> Standing;

    fn credential(&self, upstream: &UpstreamEntry, credential: &CredentialEntry) -> Standing;

    /// The position in a line; live traffic takes it, an explanation only looks.
    fn turn(&self, line: Uuid) -> u64;

    /// Whether a first turn was asked lately in the same words.
    fn is_repeated(&self, prefix: u64) -> bool;

    /// What is known of a target's model by its name.
    fn known(&self, target: &TargetEntry) -> Known;
}

/// Counts the turns of models and routes, for exact shares, without a lock.
#[derive(Debug)]
pub struct Turns(Box<[AtomicU64]>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..LINES).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Turns {
    pub fn take(&self, line: Uuid) -> u64 {
        self.of(line).fetch_add(1, Ordering::Relaxed)
    }

    pub fn look(&self, line: Uuid) -> u64 {
        self.of(line).load(Ordering::Relaxed)
    }

    fn of(&self, line: Uuid) -> &AtomicU64 {
        &self.0[below(xxh64(line.as_bytes(), 0), LINES as u64) as usize]
    }
}
