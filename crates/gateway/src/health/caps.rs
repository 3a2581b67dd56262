//! What an operator allows a credential: requests and tokens a minute, calls at once, money a day.
//!
//! A day is a day of UTC. Money is what requests were charged at the public model's price, whatever its currency.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tallygate_types::{Pico, Timestamp};

use crate::limits::Bucket;

const DAY_SECONDS: i64 = 86_400;

/// The limits themselves; `None` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caps {
    pub requests_per_minute: Option<u64>,
    pub tokens_per_minute: Option<u64>,
    pub concurrency: Option<u32>,
    pub daily_spend: Option<Pico>,
}

/// What has been taken of them. It belongs to the account: a new secret does not begin it anew.
#[derive(Debug, Default)]
pub struct Taken {
    requests: Bucket,
    tokens: Bucket,
    at_once: AtomicU32,
    /// Pico-units of the day, for readers; saturating.
    spent: AtomicI64,
    /// The day that `spent` is of.
    day: AtomicI64,
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    day: i64,
    spent: Pico,
}

/// Which cap is in the way, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtCap {
    pub why: &'static str,
    pub until: Option<Timestamp>,
}

impl Taken {
    /// Whether a call that needs `tokens` would pass now. Takes nothing.
    pub fn check(&self, caps: &Caps, tokens: u64, now: Timestamp) -> Result<(), AtCap> {
        self.check_standing(caps, now)?;
        if let Some(limit) = caps.requests_per_minute {
            self.requests.check(1, limit, now).map_err(|wait| AtCap::rate("requests_per_minute", wait, now))?;
        }
        if let Some(limit) = caps.tokens_per_minute {
            self.tokens.check(tokens, limit, now).map_err(|wait| AtCap::rate("tokens_per_minute", wait, now))?;
        }
        Ok(())
    }

    /// Takes a call; all or nothing.
    pub fn take(&self, caps: &Caps, tokens: u64, now: Timestamp) -> Result<(), AtCap> {
        self.check_standing(caps, now)?;
        if let Some(limit) = caps.concurrency
            && self.at_once.fetch_add(1, Ordering::AcqRel) >= limit
        {
            self.at_once.fetch_sub(1, Ordering::AcqRel);
            return Err(AtCap { why: "concurrency", until: None });
        }
        let rates = self.take_rates(caps, tokens, now);
        if rates.is_err() {
            self.leave(caps);
        }
        rates
    }

    /// The call is over.
    pub fn leave(&self, caps: &Caps) {
        if caps.concurrency.is_some() {
            self.at_once.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// The call was never made.
    pub fn give_back(&self, caps: &Caps, tokens: u64) {
        if let Some(limit) = caps.requests_per_minute {
            self.requests.give_back(1, limit);
        }
        if let Some(limit) = caps.tokens_per_minute {
            self.tokens.give_back(tokens, limit);
        }
    }

    /// The call used `actual` tokens where `estimated` were taken.
    pub fn correct(&self, caps: &Caps, estimated: u64, actual: u64, now: Timestamp) {
        if let Some(limit) = caps.tokens_per_minute {
            self.tokens.correct(estimated, actual, limit, now);
        }
    }

    pub fn spend(&self, amount: Pico, now: Timestamp) {
        self.book(now, |spent| spent.checked_add(amount).unwrap_or(spent));
    }

    /// What the database knows to be spent on the day of `now`. It may be behind what is known here, never the other way round
    /// for longer than until the next time: so the greater counts.
    pub fn seed(&self, amount: Pico, now: Timestamp) {
        self.book(now, |spent| spent.max(amount));
    }

    pub fn spent_today(&self, now: Timestamp) -> Pico {
        let is_today = self.day.load(Ordering::Acquire) == day(now);
        if is_today { Pico::new(i128::from(self.spent.load(Ordering::Relaxed))) } else { Pico::ZERO }
    }

    fn check_standing(&self, caps: &Caps, now: Timestamp) -> Result<(), AtCap> {
        if caps.daily_spend.is_some_and(|limit| self.spent_today(now) >= limit) {
            let midnight = Timestamp::from_micros((day(now) + 1).saturating_mul(DAY_SECONDS * 1_000_000));
            return Err(AtCap { why: "daily_spend", until: Some(midnight) });
        }
        if caps.concurrency.is_some_and(|limit| self.at_once.load(Ordering::Acquire) >= limit) {
            return Err(AtCap { why: "concurrency", until: None });
        }
        Ok(())
    }

    fn take_rates(&self, caps: &Caps, tokens: u64, now: Timestamp) -> Result<(), AtCap> {
        if let Some(limit) = caps.requests_per_minute {
            self.requests.take(1, limit, now).map_err(|wait| AtCap::rate("requests_per_minute", wait, now))?;
        }
        if let Some(limit) = caps.tokens_per_minute
            && let Err(wait) = self.tokens.take(tokens, limit, now)
        {
            if let Some(limit) = caps.requests_per_minute {
                self.requests.give_back(1, limit);
            }
            return Err(AtCap::rate("tokens_per_minute", wait, now));
        }
        Ok(())
    }

    fn book(&self, now: Timestamp, entry: impl FnOnce(Pico) -> Pico) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        if ledger.day < day(now) {
            *ledger = Ledger { day: day(now), spent: Pico::ZERO };
        }
        ledger.spent = entry(ledger.spent);
        self.spent.store(ledger.spent.to_i64().unwrap_or(i64::MAX), Ordering::Relaxed);
        self.day.store(ledger.day, Ordering::Release);
    }
}

impl AtCap {
    fn rate(why: &'static str, wait: Duration, now: Timestamp) -> Self {
        Self { why, until: Some(now.saturating_add(wait)) }
    }
}

const fn day(now: Timestamp) -> i64 {
    now.seconds().div_euclid(DAY_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_micros(1_763_899_200_000_000);

    fn later(seconds: u64) -> Timestamp {
        NOON.saturating_add(Duration::from_secs(seconds))
    }

    #[test]
    fn rates_are_taken_whole_and_given_back() {
        let caps = Caps { requests_per_minute: Some(2), tokens_per_minute: Some(1_000), ..Caps::default() };
        let taken = Taken::default();
        taken.take(&caps, 600, NOON).unwrap();
        let refused = AtCap { why: "tokens_per_minute", until: Some(later(12)) };
        assert_eq!(taken.check(&caps, 600, NOON), Err(refused));
        assert_eq!(taken.take(&caps, 600, NOON), Err(refused));
        // The refused one took no request.
        taken.take(&caps, 400, NOON).unwrap();
        assert_eq!(taken.take(&caps, 0, NOON), Err(AtCap { why: "requests_per_minute", until: Some(later(30)) }));
        taken.give_back(&caps, 400);
        taken.take(&caps, 100, NOON).unwrap();
        taken.correct(&caps, 100, 400, NOON);
        taken.give_back(&caps, 0);
        assert_eq!(
            taken.check(&caps, 60, NOON),
            Err(AtCap { why: "tokens_per_minute", until: Some(NOON.saturating_add(Duration::from_millis(3_600))) })
        );
    }

    #[test]
    fn calls_at_once_are_bounded() {
        let caps = Caps { concurrency: Some(2), requests_per_minute: Some(2), ..Caps::default() };
        let taken = Taken::default();
        taken.take(&caps, 0, NOON).unwrap();
        taken.take(&caps, 0, NOON).unwrap();
        assert_eq!(taken.take(&caps, 0, NOON), Err(AtCap { why: "concurrency", until: None }));
        taken.leave(&caps);
        // A refusal for the rate leaves no place taken.
        assert_eq!(taken.take(&caps, 0, NOON).unwrap_err().why, "requests_per_minute");
        taken.take(&caps, 0, later(60)).unwrap();
        assert_eq!(taken.check(&caps, 0, later(60)).unwrap_err().why, "concurrency");
    }

    #[test]
    fn money_is_capped_by_the_day_of_utc() {
        let caps = Caps { daily_spend: Some(Pico::new(100)), ..Caps::default() };
        let taken = Taken::default();
        taken.spend(Pico::new(60), NOON);
        taken.seed(Pico::new(40), NOON);
        assert_eq!(taken.spent_today(NOON), Pico::new(60));
        assert_eq!(taken.check(&caps, 0, NOON), Ok(()));
        taken.seed(Pico::new(90), NOON);
        taken.spend(Pico::new(10), NOON);
        assert_eq!(taken.check(&caps, 0, NOON), Err(AtCap { why: "daily_spend", until: Some(later(12 * 3_600)) }));
        assert_eq!(taken.check(&caps, 0, later(12 * 3_600)), Ok(()));
        assert_eq!(taken.spent_today(later(12 * 3_600)), Pico::ZERO);
        taken.spend(Pico::new(5), later(12 * 3_600));
        assert_eq!(taken.spent_today(later(12 * 3_600)), Pico::new(5));
    }
}
