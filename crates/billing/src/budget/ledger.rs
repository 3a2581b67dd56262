//! What a budget's window holds, and what may be done with it: the rules of leases without the database. All amounts in pico-units.
//!
//! `spent + leased <= limit`, whatever is done in whatever order. What was spent beyond that, because a request cost more than was set
//! aside for it or because a lease had run out before its spending was told, is not lost but stands apart as `overspent`, and
//! counts against the budget as spending does.

/// The least share of what is left that a lease is, and the most.
const SHARE: i128 = 100;
const MOST: i128 = 10;

/// One window of one account, over all processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Window {
    /// Of a soft budget none.
    pub limit: Option<i128>,
    pub spent: i128,
    pub overspent: i128,
    /// The sum of all leases.
    pub leased: i128,
}

/// What a process asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Wanted {
    /// Less than this is of no use.
    pub least: i128,
    /// All that waits.
    pub now: i128,
    /// What it used up of its last lease.
    pub recently: i128,
}

impl Window {
    /// What is neither spent nor leased.
    pub fn free(&self) -> i128 {
        self.limit.map_or(i128::MAX, |limit| {
            limit.saturating_sub(self.spent).saturating_sub(self.overspent).saturating_sub(self.leased).max(0)
        })
    }

    /// All that counts against the budget.
    pub const fn gone(&self) -> i128 {
        self.spent.saturating_add(self.overspent).saturating_add(self.leased)
    }

    /// Gives a lease, which is added to the process's; nothing if there is too little. The less is left, the smaller the lease, so
    /// that near the end nothing lies idle with one process while another refuses; of the last each gets what it needs at once.
    pub fn grant(&mut self, wanted: Wanted) -> i128 {
        let free = self.free();
        if wanted.least <= 0 || free < wanted.least {
            return 0;
        }
        let ahead = (free / SHARE).max(wanted.recently).min(free / MOST);
        let granted = wanted.now.max(ahead).clamp(wanted.least, free);
        self.leased += granted;
        granted
    }

    /// Books what was spent by a process that holds `lease`: out of the lease, then out of what is free, and the rest as overspent.
    pub fn settle(&mut self, lease: &mut i128, amount: i128) {
        let of_lease = amount.min(*lease).max(0);
        *lease -= of_lease;
        self.leased -= of_lease;
        self.spent += of_lease;
        let of_free = (amount - of_lease).min(self.free());
        self.spent += of_free;
        self.overspent += amount - of_lease - of_free;
    }

    /// Takes back as much of a lease as there is of it.
    pub fn take_back(&mut self, lease: &mut i128, amount: i128) {
        let amount = amount.min(*lease).max(0);
        *lease -= amount;
        self.leased -= amount;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(limit: i128, spent: i128, leased: i128) -> Window {
        Window { limit: Some(limit), spent, overspent: 0, leased }
    }

    fn granted(window: Window, least: i128, now: i128, recently: i128) -> i128 {
        let mut window = window;
        window.grant(Wanted { least, now, recently })
    }

    #[test]
    fn a_lease_is_a_hundredth_of_what_is_left_and_more_where_more_is_used() {
        assert_eq!(granted(window(100_000, 0, 0), 1, 1, 0), 1_000);
        assert_eq!(granted(window(100_000, 40_000, 10_000), 1, 1, 0), 500);
        assert_eq!(granted(window(100_000, 0, 0), 1, 1, 5_000), 5_000);
        // A tenth at most, ahead of need.
        assert_eq!(granted(window(100_000, 0, 0), 1, 1, 50_000), 10_000);
        assert_eq!(granted(window(100_000, 0, 0), 1, 30_000, 0), 30_000);
    }

    #[test]
    fn the_last_is_given_as_it_is_needed_and_not_more_than_there_is() {
        assert_eq!(granted(window(100, 90, 0), 10, 10, 1_000), 10);
        assert_eq!(granted(window(100, 90, 0), 3, 3, 1_000), 3);
        // Three requests of 4 wait: two of them can be served.
        assert_eq!(granted(window(100, 90, 0), 4, 12, 0), 10);
        assert_eq!(granted(window(100, 90, 8), 3, 3, 0), 0);
        assert_eq!(granted(window(100, 120, 0), 1, 1, 0), 0);
        assert_eq!(granted(Window::default(), 7, 7, 0).min(7), 7);
    }

    #[test]
    fn what_no_lease_and_no_room_covers_stands_apart() {
        let mut held = window(100, 50, 40);
        let mut lease = 30;
        held.settle(&mut lease, 35);
        assert_eq!((held.spent, held.leased, held.overspent, lease), (85, 10, 0, 0));
        held.settle(&mut lease, 20);
        assert_eq!((held.spent, held.leased, held.overspent), (90, 10, 15));
        assert_eq!(held.free(), 0);
        let mut other = 10;
        held.take_back(&mut other, 100);
        assert_eq!((held.leased, other), (0, 0));
        // Ten came back, and fifteen are gone too many.
        assert_eq!((held.gone(), held.free()), (105, 0));
    }
}
