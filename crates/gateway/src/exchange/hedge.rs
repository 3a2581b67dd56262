//! How often a second target may be asked beside the first, and for how much money.
//!
//! Counted for each model or route that allows it, by each replica for itself.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tallygate_store::routing::Hedge;
use tallygate_types::{IdMap, Pico, Timestamp};
use uuid::Uuid;

/// A hedge in hundredths, so that a percentage is a whole number of them.
const ONE: i64 = 100;
/// Hedges that may be saved up while none is needed.
const MAX_SAVED: i64 = 10 * ONE;
const MICROS_PER_DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// See the module.
#[derive(Default)]
pub struct Hedging {
    ledgers: RwLock<IdMap<Uuid, Arc<Ledger>>>,
}

#[derive(Default)]
struct Ledger {
    saved: AtomicI64,
    /// The day (UTC) and what was spent on it.
    spent: Mutex<(i64, Pico)>,
}

/// Why no second target is asked: a label of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unhedged {
    Percent,
    Spend,
}

impl Hedging {
    /// One request more, of which a share may be hedged.
    pub fn deposit(&self, owner: Uuid, hedge: &Hedge) {
        let saved = &self.ledger(owner).saved;
        if saved.load(Ordering::Relaxed) < MAX_SAVED {
            saved.fetch_add(i64::from(hedge.max_percent), Ordering::Relaxed);
        }
    }

    /// Takes one hedge that may cost so much.
    pub fn take(&self, owner: Uuid, hedge: &Hedge, cost: Pico, now: Timestamp) -> Result<(), Unhedged> {
        let ledger = self.ledger(owner);
        let taken = ledger.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| (saved >= ONE).then(|| saved - ONE));
        taken.map_err(|_| Unhedged::Percent)?;
        let Some(most) = hedge.daily_spend else { return Ok(()) };
        let today = now.micros().div_euclid(MICROS_PER_DAY);
        let mut spent = ledger.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.0 != today {
            *spent = (today, Pico::ZERO);
        }
        let Some(sum) = spent.1.checked_add(cost).filter(|sum| *sum <= most) else {
            ledger.saved.fetch_add(ONE, Ordering::Relaxed);
            return Err(Unhedged::Spend);
        };
        spent.1 = sum;
        Ok(())
    }

    fn ledger(&self, owner: Uuid) -> Arc<Ledger> {
        if let Some(ledger) = self.ledgers.read().unwrap_or_else(PoisonError::into_inner).get(&owner) {
            return Arc::clone(ledger);
        }
        Arc::clone(self.ledgers.write().unwrap_or_else(PoisonError::into_inner).entry(owner).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_micros(1_700_049_600_000_000);

    #[test]
    fn at_most_its_share_of_the_requests_is_hedged() {
        let (hedging, owner) = (Hedging::default(), Uuid::from_u128(1));
        let hedge = Hedge { after_ms: 1, max_percent: 5, daily_spend: None };
        let mut hedged = 0;
        for _ in 0..1_000 {
            hedging.deposit(owner, &hedge);
            hedged += usize::from(hedging.take(owner, &hedge, Pico::ZERO, NOON).is_ok());
        }
        assert_eq!(hedged, 50);
        assert_eq!(hedging.take(owner, &hedge, Pico::ZERO, NOON), Err(Unhedged::Percent));
    }

    #[test]
    fn a_quiet_day_does_not_save_up_for_a_storm() {
        let (hedging, owner) = (Hedging::default(), Uuid::from_u128(1));
        let hedge = Hedge { after_ms: 1, max_percent: 100, daily_spend: None };
        (0..1_000).for_each(|_| hedging.deposit(owner, &hedge));
        let taken = (0..1_000).filter(|_| hedging.take(owner, &hedge, Pico::ZERO, NOON).is_ok()).count();
        assert_eq!(taken, 10);
    }

    #[test]
    fn the_money_of_a_day_is_spent_once() {
        let (hedging, owner) = (Hedging::default(), Uuid::from_u128(1));
        let hedge = Hedge { after_ms: 1, max_percent: 100, daily_spend: Some("0.25".parse().unwrap()) };
        let cost: Pico = "0.1".parse().unwrap();
        let take = |now| {
            hedging.deposit(owner, &hedge);
            hedging.take(owner, &hedge, cost, now)
        };
        assert_eq!([take(NOON), take(NOON), take(NOON)], [Ok(()), Ok(()), Err(Unhedged::Spend)]);
        assert_eq!(take(NOON.saturating_add(std::time::Duration::from_hours(24))), Ok(()));
    }
}
