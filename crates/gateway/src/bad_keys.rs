//! Slows whoever tries keys. Nobody guesses one; but the noise of trying, and of a client that never gives up on a dead one, is
//! answered more shortly. A good key from the same address is never asked here.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tallygate_types::Timestamp;

/// From the first bad key of an address.
const WINDOW: Duration = Duration::from_mins(1);
/// So many of a window are told what is wrong with them.
const FREE_FAILURES: u32 = 30;
/// Addresses that are counted at once, each for its window. Those beyond are counted as one.
pub const MAX_ADDRESSES: usize = 10_000;
/// When all are taken, those whose window is over are looked for no more often than this.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub struct BadKeys(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    addresses: HashMap<IpAddr, Failures>,
    others: Option<Failures>,
    swept_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    since: Timestamp,
    count: u32,
}

impl BadKeys {
    /// One more from `address`. If they are too many: how long until they are forgotten.
    pub fn note(&self, address: IpAddr, now: Timestamp) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).of(customer(address), now).note(now)
    }

    /// Addresses that are counted.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).addresses.len()
    }
}

impl Known {
    fn of(&mut self, address: IpAddr, now: Timestamp) -> &mut Failures {
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&address) {
            if self.swept_at.is_none_or(|at| now.since(at) >= SWEEP_INTERVAL) {
                self.swept_at = Some(now);
                self.addresses.retain(|_, failures| !failures.is_over(now));
            }
            if self.addresses.len() >= MAX_ADDRESSES {
                return self.others.get_or_insert(Failures::none(now));
            }
        }
        self.addresses.entry(address).or_insert(Failures::none(now))
    }
}

impl Failures {
    const fn none(since: Timestamp) -> Self {
        Self { since, count: 0 }
    }

    fn is_over(self, now: Timestamp) -> bool {
        now.since(self.since) >= WINDOW
    }

    fn note(&mut self, now: Timestamp) -> Option<Duration> {
        if self.is_over(now) {
            *self = Self::none(now);
        }
        self.count = self.count.saturating_add(1);
        (self.count > FREE_FAILURES).then(|| WINDOW.saturating_sub(now.since(self.since)))
    }
}

/// One customer has a /64 of IPv6 at least.
fn customer(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn after(seconds: u64) -> Timestamp {
        START.saturating_add(Duration::from_secs(seconds))
    }

    #[test]
    fn thirty_of_a_minute_are_told_and_the_next_wait_for_its_end() {
        let (bad, address) = (BadKeys::default(), "203.0.113.9".parse().unwrap());
        for _ in 0..30 {
            assert_eq!(bad.note(address, START), None);
        }
        assert_eq!(bad.note(address, START), Some(Duration::from_mins(1)));
        assert_eq!(bad.note(address, after(59)), Some(Duration::from_secs(1)));
        assert_eq!(bad.note("203.0.113.10".parse().unwrap(), after(59)), None);
        assert_eq!(bad.note(address, after(60)), None);
    }

    #[test]
    fn addresses_of_one_customer_are_one() {
        let bad = BadKeys::default();
        let of = |host: u32, network: u32| format!("2001:db8:0:{network:x}::{host:x}").parse().unwrap();
        (0..30).for_each(|host| assert_eq!(bad.note(of(host, 1), START), None));
        assert!(bad.note(of(99, 1), START).is_some());
        assert!(bad.note(of(99, 2), START).is_none());
    }

    #[test]
    fn when_all_places_are_taken_the_others_are_one_until_some_are_free() {
        let bad = BadKeys::default();
        let of = |number: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(number));
        let addresses = u32::try_from(MAX_ADDRESSES).unwrap();
        (0..addresses).for_each(|number| assert_eq!(bad.note(of(number), START), None));
        (0..30).for_each(|number| assert_eq!(bad.note(of(addresses + number), after(1)), None));
        assert_eq!(bad.note(of(addresses + 99), after(1)), Some(Duration::from_mins(1)));
        // Those that have a place are counted for themselves.
        assert_eq!(bad.note(of(7), after(1)), None);
        assert_eq!(bad.0.lock().unwrap().addresses.len(), MAX_ADDRESSES);
        assert_eq!(bad.note(of(addresses + 99), after(60)), None);
        assert_eq!(bad.0.lock().unwrap().addresses.len(), 1);
    }
}
