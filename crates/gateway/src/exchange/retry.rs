//! When the same way is asked again for one request, and after how long.

use std::time::Duration;

use super::failure::{Blame, CONNECT, CONNECTION_LOST, Failure, OVERLOADED, SERVER_ERROR, TIMEOUT, TRUNCATED};

/// The longest pause before the first repetition; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(4);
/// A wait that an upstream asks for is waited out here up to this; a longer one is the client's to wait.
pub const MAX_TOLD_WAIT: Duration = Duration::from_secs(2);

/// How far an attempt had come when it failed. Another may follow in each case, because asking a model changes nothing but the
/// bill; but only what was not sent is sure to cost nothing twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// The upstream never heard of it.
    NotSent,
    /// It may be at work on it.
    Sent,
}

impl Reached {
    pub const fn of(failure: &Failure) -> Self {
        if failure.is_sent { Self::Sent } else { Self::NotSent }
    }
}

/// Whether the same credential of the same upstream may do better if it is asked again shortly.
pub fn is_worth_a_pause(failure: &Failure) -> bool {
    if failure.should_retry == Some(false) {
        return false;
    }
    match failure.blame {
        Blame::Answer => matches!(failure.reason, OVERLOADED | SERVER_ERROR | TIMEOUT | CONNECTION_LOST | TRUNCATED),
        // A timeout has cost its time already.
        Blame::Upstream => failure.reason == CONNECT,
        Blame::Rate => failure.wait.is_some_and(|wait| wait <= MAX_TOLD_WAIT),
        Blame::Quota | Blame::Credential | Blame::Setup | Blame::Proxy => false,
    }
}

/// The pause before the `round`th repetition, from 1: anything up to a bound that doubles, so that those who failed together do
/// not come back together. `random` is any number.
pub fn pause(round: u32, random: u64) -> Duration {
    let most = FIRST_PAUSE.saturating_mul(1 << (round - 1).min(16)).min(MAX_PAUSE);
    let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(random % (micros + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_anything_up_to_a_bound_that_doubles() {
        let millis = Duration::from_millis;
        for (round, most) in [(1, 250), (2, 500), (3, 1_000), (4, 2_000), (5, 4_000), (6, 4_000), (100, 4_000)] {
            assert_eq!(pause(round, 0), Duration::ZERO);
            assert_eq!(pause(round, most * 1_000), millis(most));
            let spread: Vec<_> = (0..1_000_u64).map(|n| pause(round, n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
            assert!(spread.iter().all(|pause| *pause <= millis(most)));
            let mean = spread.iter().sum::<Duration>() / 1_000;
            assert!((millis(most * 4 / 10)..millis(most * 6 / 10)).contains(&mean), "{round} {mean:?}");
        }
    }

    #[test]
    fn only_what_may_pass_is_waited_out() {
        let lost = Failure::connection_lost("x");
        assert!(is_worth_a_pause(&lost));
        assert_eq!(Reached::of(&lost), Reached::Sent);
        let mut told = Failure::connection_lost("x");
        told.should_retry = Some(false);
        assert!(!is_worth_a_pause(&told));
        assert!(!is_worth_a_pause(&Failure::timeout(super::super::failure::FIRST_BYTE_TIMEOUT, MAX_PAUSE)));
        assert!(!is_worth_a_pause(&Failure::invalid("x")));
        let proxy = Failure::proxy("x");
        assert_eq!((is_worth_a_pause(&proxy), Reached::of(&proxy)), (false, Reached::NotSent));
    }
}
