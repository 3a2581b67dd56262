//! When there is too much to do: what is given up first, and who is turned away.
//!
//! Memory is watched in steps, each before the next is needed: idle lines are kept for less time, then for no time, then tenants
//! that have more requests running than others get no new ones, then nobody, and at last the requests that hold the most are ended. Places are bounded over all tenants; where
//! they run short, a tenant that has more than its share is refused before one that has less ([`Seats`]).

mod memory;
mod seats;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tallygate_store::TenantEntry;

use self::memory::Watched;
use self::seats::{Full, Seats};
pub use self::seats::{Seat, Taken};
use crate::config::GatewayConfig;
use crate::limits::{Dimension, Exceeded, Levels, Purpose, ScopeKind};
use crate::plane::DataPlane;
use crate::refusal::Refusal;

/// How often the memory is looked at.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(250);
/// Thousandths of the memory's limit from which each step is taken.
const SHORTEN_IDLE_PERMILLE: u32 = 850;
const NO_KEEP_ALIVE_PERMILLE: u32 = 920;
const FAIR_PERMILLE: u32 = 935;
const REFUSE_PERMILLE: u32 = 950;
const CUT_PERMILLE: u32 = 970;
/// Idle times shrink to a tenth by the time requests are refused.
const SHORTEST_IDLE_PERCENT: u32 = 10;
/// With each sample so many of the requests in flight are ended at most ...
const CUT_ONE_OF: usize = 20;
/// ... and no more than this.
const MAX_CUT: usize = 32;
/// When a place is likely to be free again, for want of a better guess.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// See the module.
pub struct Overload {
    /// Used memory in thousandths of its limit; 0 where there is none.
    used_permille: AtomicU32,
    seats: Arc<Seats>,
}

/// How far the memory is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strain {
    None,
    ShortenIdle,
    NoKeepAlive,
    Fair,
    Refuse,
    Cut,
}

impl Overload {
    pub fn new(config: &GatewayConfig) -> Self {
        Self { used_permille: AtomicU32::new(0), seats: Arc::new(Seats::new(config.max_in_flight)) }
    }

    /// Requests that hold a seat.
    pub fn in_flight(&self) -> u32 {
        self.seats.taken()
    }

    pub fn strain(&self) -> Strain {
        match self.used_permille.load(Ordering::Relaxed) {
            CUT_PERMILLE.. => Strain::Cut,
            REFUSE_PERMILLE.. => Strain::Refuse,
            FAIR_PERMILLE.. => Strain::Fair,
            NO_KEEP_ALIVE_PERMILLE.. => Strain::NoKeepAlive,
            SHORTEN_IDLE_PERMILLE.. => Strain::ShortenIdle,
            _ => Strain::None,
        }
    }

    /// How long a line may idle for which there would be `full` if memory were plenty.
    pub fn patience(&self, full: Duration) -> Duration {
        let used = self.used_permille.load(Ordering::Relaxed).clamp(SHORTEN_IDLE_PERMILLE, REFUSE_PERMILLE);
        let span = REFUSE_PERMILLE - SHORTEN_IDLE_PERMILLE;
        let percent = 100 - (100 - SHORTEST_IDLE_PERCENT) * (used - SHORTEN_IDLE_PERMILLE) / span;
        if percent == 100 { full } else { full * percent / 100 }
    }

    /// A place for one request of `tenant`, before its body is read.
    pub fn admit(&self, plane: &DataPlane, tenant: &TenantEntry, purpose: Purpose) -> Result<Seat, Refusal> {
        let (strain, holder) = (self.strain(), plane.holders.tenant(tenant));
        if strain >= Strain::Refuse {
            return Err(shed(plane, "memory", "The gateway is short of memory and takes no new requests. Try again."));
        }
        if strain >= Strain::Fair && self.seats.has_more_than_others(&holder) {
            let message = "The gateway is short of memory, and this tenant has more requests running than others. Try again.";
            return Err(shed(plane, "fair_share", message));
        }
        let bound = tenant.limits.concurrency.unwrap_or(plane.config.max_in_flight_per_tenant);
        self.seats.take(holder, purpose, bound).map_err(|full| match full {
            Full::All => shed(plane, "in_flight", "The gateway is serving as many requests as it can. Try again."),
            Full::Share => {
                shed(plane, "fair_share", "The gateway is nearly full, and this tenant has its fair share already. Try again.")
            }
            Full::Tenant { taken } => {
                plane.metrics.exchange.shed("tenant");
                plane.metrics.limited(ScopeKind::Tenant.as_str(), Dimension::Concurrency.as_str());
                Refusal::limited(&Exceeded {
                    scope: ScopeKind::Tenant,
                    subject: tenant.name.to_string(),
                    dimension: Dimension::Concurrency,
                    limit: u64::from(bound),
                    used: u64::from(taken),
                    retry_after: RETRY_AFTER,
                    resets_at: None,
                    levels: Levels::default(),
                })
            }
        })
    }

    fn look(&self, used_bytes: u64, limit_bytes: u64) {
        let permille = used_bytes.saturating_mul(1_000).checked_div(limit_bytes).unwrap_or(0);
        self.used_permille.store(u32::try_from(permille).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

fn shed(plane: &DataPlane, reason: &'static str, message: &str) -> Refusal {
    plane.metrics.exchange.shed(reason);
    Refusal::overloaded(reason, message)
}

/// Looks at the memory until it is dropped. It does nothing where no limit is known.
pub async fn watch(plane: Arc<DataPlane>) {
    let Some(watched) = Watched::find(plane.config.memory_limit_bytes) else {
        tracing::debug!("no limit of memory is known: set server.memory_limit_bytes to shed load by it");
        return;
    };
    let mut tick = tokio::time::interval(SAMPLE_INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(used) = watched.used_bytes() else { continue };
        note(&plane, used, watched.limit_bytes());
    }
}

/// So much memory is used: what follows from it at once.
pub fn note(plane: &DataPlane, used_bytes: u64, limit_bytes: u64) {
    plane.overload.look(used_bytes, limit_bytes);
    plane.metrics.exchange.memory(used_bytes, limit_bytes);
    if plane.overload.strain() == Strain::Cut {
        relieve(plane);
    }
}

fn relieve(plane: &DataPlane) {
    let count = (plane.live.len() / CUT_ONE_OF).clamp(1, MAX_CUT);
    let ended = plane.live.interrupt_largest(count);
    if ended > 0 {
        tracing::warn!(ended, "the memory is nearly used up: the largest requests are ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_taken_at_its_own_share_of_the_limit() {
        let overload = Overload::new(&GatewayConfig::default());
        let full = Duration::from_secs(100);
        for (used, strain, patience) in [
            (0, Strain::None, 100),
            (849, Strain::None, 100),
            (850, Strain::ShortenIdle, 100),
            (900, Strain::ShortenIdle, 55),
            (920, Strain::NoKeepAlive, 37),
            (935, Strain::Fair, 24),
            (950, Strain::Refuse, 10),
            (970, Strain::Cut, 10),
            (5_000, Strain::Cut, 10),
        ] {
            overload.look(used, 1_000);
            assert_eq!((overload.strain(), overload.patience(full)), (strain, Duration::from_secs(patience)), "{used}");
        }
        overload.look(u64::MAX, 0);
        assert_eq!(overload.strain(), Strain::None);
    }
}
