//! Places for requests: so many over all tenants, so many for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::limits::{Holder, Purpose};

/// From this share of all places on, nobody gets more than a fair share of them.
const FAIR_FROM_PERCENT: u32 = 80;
/// What is left above this share is kept for who has less than a share with one tenant more: also one that is alone leaves room for
/// the next.
const RESERVE_FROM_PERCENT: u32 = 90;

/// See the module.
pub struct Seats {
    max: u32,
    taken: AtomicU32,
    /// Tenants that hold a place.
    active: AtomicU32,
}

/// The places of one tenant.
#[derive(Debug, Default)]
pub struct Taken {
    all: AtomicU32,
    by_purpose: [AtomicU32; 2],
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// All are taken.
    All,
    /// The tenant has as many as it may, or more.
    Tenant { taken: u32 },
    /// Few are left, and the tenant has its share.
    Share,
}

/// One place, free again when dropped.
pub struct Seat {
    seats: Arc<Seats>,
    tenant: Arc<Holder>,
    purpose: Purpose,
}

impl Seats {
    pub fn new(max: u32) -> Self {
        Self { max, taken: AtomicU32::new(0), active: AtomicU32::new(0) }
    }

    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    /// A place, if the tenant has less than `bound` for the purpose and there is room among all.
    pub fn take(self: &Arc<Self>, tenant: Arc<Holder>, purpose: Purpose, bound: u32) -> Result<Seat, Full> {
        let before = self.taken.fetch_add(1, Ordering::AcqRel);
        let of_tenant = tenant.taken.all.fetch_add(1, Ordering::AcqRel);
        if of_tenant == 0 {
            self.active.fetch_add(1, Ordering::AcqRel);
        }
        let of_purpose = tenant.taken.by_purpose[purpose as usize].fetch_add(1, Ordering::AcqRel);
        // From here on a refusal gives all back.
        let seat = Seat { seats: Arc::clone(self), tenant, purpose };
        if before >= self.max {
            Err(Full::All)
        } else if of_purpose >= bound {
            Err(Full::Tenant { taken: of_purpose })
        } else if before >= self.percent(FAIR_FROM_PERCENT) && of_tenant >= self.share_of(1)
            || before >= self.percent(RESERVE_FROM_PERCENT) && of_tenant >= self.share_of(2)
        {
            Err(Full::Share)
        } else {
            Ok(seat)
        }
    }

    /// Whether the tenant has more places than those that have any have on average.
    pub fn has_more_than_others(&self, tenant: &Holder) -> bool {
        let own = u64::from(tenant.taken.all.load(Ordering::Acquire));
        own * u64::from(self.active.load(Ordering::Acquire)) > u64::from(self.taken())
    }

    fn percent(&self, percent: u32) -> u32 {
        self.max / 100 * percent + self.max % 100 * percent / 100
    }

    /// One tenant's part of all places, where there are `least` of them or more.
    fn share_of(&self, least: u32) -> u32 {
        self.max.div_ceil(self.active.load(Ordering::Acquire).max(least))
    }
}

impl Taken {
    pub fn of(&self, purpose: Purpose) -> u32 {
        self.by_purpose[purpose as usize].load(Ordering::Acquire)
    }
}

impl Seat {
    /// Whose it is.
    pub const fn tenant(&self) -> &Arc<Holder> {
        &self.tenant
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.tenant.taken.by_purpose[self.purpose as usize].fetch_sub(1, Ordering::AcqRel);
        if self.tenant.taken.all.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.seats.active.fetch_sub(1, Ordering::AcqRel);
        }
        self.seats.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNBOUND: u32 = u32::MAX;

    #[test]
    fn a_tenant_alone_leaves_room_for_the_next() {
        let (seats, tenant) = (Arc::new(Seats::new(10)), Arc::<Holder>::default());
        let take = |tenant: &Arc<Holder>| seats.take(Arc::clone(tenant), Purpose::Generating, UNBOUND);
        let held: Vec<_> = (0..9).map(|_| take(&tenant).ok().unwrap()).collect();
        assert_eq!((take(&tenant).err(), seats.taken()), (Some(Full::Share), 9));
        let next = Arc::<Holder>::default();
        let of_next = take(&next).ok().unwrap();
        assert_eq!((take(&next).err(), take(&tenant).err()), (Some(Full::All), Some(Full::All)));
        drop((held, of_next));
        assert!(take(&tenant).is_ok());
        assert_eq!((seats.taken(), seats.active.load(Ordering::Relaxed)), (0, 0));
        // As small as it may be, nobody is kept out for nobody.
        let one = Arc::new(Seats::new(1));
        assert!(one.take(tenant, Purpose::Generating, UNBOUND).is_ok());
    }

    #[test]
    fn who_asks_for_ten_times_its_share_keeps_nobody_else_from_a_place() {
        const MAX: u32 = 100;
        let seats = Arc::new(Seats::new(MAX));
        let take = |tenant: &Arc<Holder>| seats.take(Arc::clone(tenant), Purpose::Generating, UNBOUND);
        let flooder = Arc::<Holder>::default();
        let mut of_flooder: Vec<_> = (0..10 * MAX).filter_map(|_| take(&flooder).ok()).collect();
        assert_eq!(of_flooder.len(), 90);
        let modest: Vec<_> = (0..5).map(|_| Arc::<Holder>::default()).collect();
        let mut held = std::collections::VecDeque::new();
        for round in 0..1_000_usize {
            held.push_back(
                take(&modest[round % modest.len()]).unwrap_or_else(|full| panic!("a modest tenant was refused: {full:?}")),
            );
            if held.len() == 10 {
                held.pop_front();
            }
            // Ten more of the flooder's for each; as its requests end its places go to whom has less.
            for _ in 0..10 {
                assert!(take(&flooder).is_err());
            }
            // Down to where places are short no more.
            if round % 20 == 0 && of_flooder.len() > 75 {
                of_flooder.pop();
            }
        }
    }

    #[test]
    fn who_has_more_than_others_is_told_by_the_average() {
        let seats = Arc::new(Seats::new(100));
        let [one, other, none] = [(); 3].map(|()| Arc::<Holder>::default());
        let take = |tenant: &Arc<Holder>| seats.take(Arc::clone(tenant), Purpose::Generating, UNBOUND).ok().unwrap();
        let alone = [take(&one), take(&one)];
        assert!(!seats.has_more_than_others(&one), "there are no others");
        let beside = take(&other);
        let more = [&one, &other, &none].map(|tenant| seats.has_more_than_others(tenant));
        assert_eq!(more, [true, false, false]);
        drop((alone, beside));
    }

    #[test]
    fn near_the_bound_whoever_has_more_than_its_share_is_refused_before_one_that_has_less() {
        let (seats, greedy, modest) = (Arc::new(Seats::new(10)), Arc::<Holder>::default(), Arc::<Holder>::default());
        let take = |tenant: &Arc<Holder>| seats.take(Arc::clone(tenant), Purpose::Generating, UNBOUND);
        let mut of_greedy: Vec<_> = (0..8).map(|_| take(&greedy).ok().unwrap()).collect();
        let mut of_modest = vec![take(&modest).ok().unwrap()];
        assert_eq!(take(&greedy).err(), Some(Full::Share));
        of_modest.push(take(&modest).ok().unwrap());
        // As the greedy one's requests end, the other grows to its half, and no further.
        for _ in 0..3 {
            of_greedy.pop();
            assert_eq!(take(&greedy).err(), Some(Full::Share));
            of_modest.push(take(&modest).ok().unwrap());
        }
        assert_eq!((of_greedy.len(), of_modest.len(), take(&modest).err()), (5, 5, Some(Full::All)));
        of_greedy.pop();
        assert_eq!(take(&modest).err(), Some(Full::Share));
    }

    #[test]
    fn counting_takes_nothing_of_a_tenants_bound_on_generating() {
        let (seats, tenant) = (Arc::new(Seats::new(10)), Arc::<Holder>::default());
        let _one = seats.take(Arc::clone(&tenant), Purpose::Generating, 1).ok().unwrap();
        assert_eq!(seats.take(Arc::clone(&tenant), Purpose::Generating, 1).err(), Some(Full::Tenant { taken: 1 }));
        assert!(seats.take(Arc::clone(&tenant), Purpose::Counting, 1).is_ok());
        assert_eq!(seats.taken(), 1);
    }
}
