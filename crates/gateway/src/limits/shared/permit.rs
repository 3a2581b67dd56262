//! What a request holds of limits that are shared.

use std::sync::Arc;

use tallygate_types::Timestamp;

use super::Shared;
use super::wanted::Taken;
use crate::limits::{Dimension, Levels, Permit};

/// Beside what it holds of this process' own counts.
pub struct SharedPermit {
    pub shared: Arc<Shared>,
    pub own: Box<dyn Permit>,
    /// Given back with the rest.
    pub _place: Place,
    pub rates: Vec<Taken>,
    /// Where the server counts what was taken. `None`: it was not asked.
    pub cell: Option<i64>,
    pub levels: Levels,
    pub is_dispatched: bool,
}

/// A request's places on the server; free again when dropped.
pub struct Place {
    shared: Arc<Shared>,
    number: u64,
    holders: Arc<[Arc<str>]>,
    /// The server has it, or may have it.
    is_taken: bool,
}

impl Place {
    pub const fn new(shared: Arc<Shared>, number: u64, holders: Arc<[Arc<str>]>) -> Self {
        Self { shared, number, holders, is_taken: false }
    }

    /// It is asked for.
    pub const fn asked(&mut self) {
        self.is_taken = true;
    }

    /// The server said that it has not taken it.
    pub const fn refused(&mut self) {
        self.is_taken = false;
    }

    /// From here on it is told again and again.
    pub fn hold(&mut self) {
        if !self.holders.is_empty() {
            self.is_taken = true;
            self.shared.places.hold(self.number, &self.holders, tokio::time::Instant::now());
        }
    }

    pub fn name(&self) -> String {
        self.shared.name_of(self.number)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_taken {
            return;
        }
        self.shared.places.leave(self.number);
        for holder in &*self.holders {
            self.shared.errands.free(holder, self.name());
        }
    }
}

impl Permit for SharedPermit {
    fn levels(&self) -> Levels {
        self.levels
    }

    fn dispatched(&mut self) {
        self.is_dispatched = true;
        self.own.dispatched();
    }

    fn settle(&mut self, tokens: u64, now: Timestamp) {
        self.own.settle(tokens, now);
        for rate in self.rates.iter_mut().filter(|rate| rate.dimension == Dimension::Tokens) {
            let actual = i64::try_from(tokens).unwrap_or(i64::MAX);
            let units = actual.saturating_sub_unsigned(rate.units);
            // What the server was not asked for it cannot have too much of.
            if units > 0 || self.cell.is_some() {
                self.shared.errands.adjust(&rate.key, self.cell.unwrap_or(0), units);
            }
            rate.units = tokens;
        }
    }
}

impl Drop for SharedPermit {
    fn drop(&mut self) {
        if let Some(cell) = self.cell.filter(|_| !self.is_dispatched) {
            self.shared.give_back(&self.rates, cell);
        }
    }
}
