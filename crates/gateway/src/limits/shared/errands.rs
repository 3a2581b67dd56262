//! What the server is to be told though no request waits for it: places that are free, estimates that turned out otherwise. What
//! concerns the same is put together until it is sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntCounter;
use tokio::sync::Notify;

/// Messages that wait, at most. What is beyond is not told: a place comes free by itself then, and an estimate stands.
const MAX_WAITING: usize = 50_000;

/// See the module.
pub struct Errands {
    waiting: Mutex<Waiting>,
    wake: Notify,
    lost: IntCounter,
}

/// By what is concerned.
#[derive(Debug, Default)]
pub struct Waiting {
    /// The names of places.
    pub freed: HashMap<Arc<str>, Vec<String>>,
    /// Units by cell, those to be taken off below zero. What comes beside counts from now on, and has the cell 0.
    pub adjusted: HashMap<Arc<str>, HashMap<i64, i64>>,
    count: usize,
}

impl Errands {
    pub fn new(lost: IntCounter) -> Self {
        Self { waiting: Mutex::default(), wake: Notify::new(), lost }
    }

    pub fn free(&self, holder: &Arc<str>, place: String) {
        if let Some(mut waiting) = self.one_more() {
            waiting.freed.entry(Arc::clone(holder)).or_default().push(place);
        }
        self.wake.notify_one();
    }

    /// So many units more than were counted of a rate, or below zero so many less in the cell where they were.
    pub fn adjust(&self, rate: &Arc<str>, cell: i64, units: i64) {
        if units == 0 {
            return;
        }
        let cell = if units > 0 { 0 } else { cell };
        if let Some(mut waiting) = self.one_more() {
            let sum = waiting.adjusted.entry(Arc::clone(rate)).or_default().entry(cell).or_default();
            *sum = sum.saturating_add(units);
        }
        self.wake.notify_one();
    }

    /// There may be something to send, or to look at.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    pub fn wake(&self) {
        self.wake.notify_one();
    }

    pub fn take(&self) -> Waiting {
        std::mem::take(&mut *self.waiting())
    }

    fn one_more(&self) -> Option<MutexGuard<'_, Waiting>> {
        let mut waiting = self.waiting();
        if waiting.count >= MAX_WAITING {
            self.lost.inc();
            return None;
        }
        waiting.count += 1;
        Some(waiting)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_the_same_is_put_together() {
        let errands = Errands::new(IntCounter::new("lost", "lost").unwrap());
        let (rate, holder): (Arc<str>, Arc<str>) = ("rate".into(), "holder".into());
        errands.adjust(&rate, 7, -10);
        errands.adjust(&rate, 7, -5);
        errands.adjust(&rate, 8, -1);
        errands.adjust(&rate, 8, 4);
        errands.adjust(&rate, 9, 2);
        errands.adjust(&rate, 9, 0);
        errands.free(&holder, "a".to_owned());
        errands.free(&holder, "b".to_owned());
        let waiting = errands.take();
        assert_eq!(waiting.adjusted[&rate], HashMap::from([(7, -15), (8, -1), (0, 6)]));
        assert_eq!(waiting.freed[&holder], ["a", "b"]);
        assert_eq!(errands.take().count, 0);
    }

    #[test]
    fn what_is_too_much_is_counted_as_lost() {
        let errands = Errands::new(IntCounter::new("lost", "lost").unwrap());
        let holder: Arc<str> = "holder".into();
        (0..MAX_WAITING + 3).for_each(|at| errands.free(&holder, at.to_string()));
        assert_eq!((errands.take().freed[&holder].len(), errands.lost.get()), (MAX_WAITING, 3));
    }
}
