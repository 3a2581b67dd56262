//! The rules of leases, played through in any order: processes that take leases, set aside, settle, tell the database, pause, die
//! and come back, over one window.

use proptest::prelude::*;

use super::ledger::{Wanted, Window};

const PROCESSES: usize = 3;

/// A process as far as its leases go: what `account::State` and `Keeper` keep.
#[derive(Debug, Clone, Default)]
struct Process {
    /// What it believes to hold, and may give out.
    lease: i128,
    reserved: Vec<i128>,
    /// Settled, in its journal, not in the database.
    unshipped: Vec<i128>,
    is_dead: bool,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A request of so much arrives; a lease is asked for if the one at hand does not cover it.
    Reserve {
        amount: i128,
        recently: i128,
    },
    /// One under way ends, having cost a share of what was set aside, in percent; beyond 100 where no cap holds.
    Settle {
        which: usize,
        percent: i128,
    },
    Release {
        which: usize,
    },
    /// The journal's next record reaches the database.
    Ship,
    GiveBack,
    /// Its leases run out, though it is alive, or not: they go to the others.
    Expire,
    /// It dies; what is under way is settled from the journal when it is back, at what was set aside at most.
    Crash,
    Restart,
}

struct World {
    window: Window,
    /// Of each process, as the database has it.
    leases: [i128; PROCESSES],
    processes: [Process; PROCESSES],
    /// What was settled, shipped or not.
    settled: i128,
    /// What cost more than was set aside for it, or was told when the lease it came from was no more.
    beyond: i128,
}

impl Process {
    fn free(&self) -> i128 {
        self.lease - self.reserved.iter().sum::<i128>() - self.unshipped.iter().sum::<i128>()
    }
}

impl World {
    fn new(limit: i128) -> Self {
        let window = Window { limit: Some(limit), ..Window::default() };
        Self { window, leases: [0; PROCESSES], processes: Default::default(), settled: 0, beyond: 0 }
    }

    fn play(&mut self, at: usize, step: Step) {
        let process = &mut self.processes[at];
        match step {
            Step::Restart if process.is_dead => {
                // Its journal is shipped first, then what it had leased is free again.
                for amount in std::mem::take(&mut process.unshipped) {
                    Self::ship(&mut self.window, &mut self.leases[at], &mut self.beyond, amount);
                }
                let all = self.leases[at];
                self.window.take_back(&mut self.leases[at], all);
                *process = Process::default();
            }
            Step::Expire => {
                let all = self.leases[at];
                self.window.take_back(&mut self.leases[at], all);
                // It stops giving out before that; what is under way goes on.
                process.lease = 0;
            }
            _ if process.is_dead => {}
            Step::Reserve { amount, recently } => {
                if process.free() < amount {
                    let missing = (amount - process.free().max(0)).max(1);
                    let granted = self.window.grant(Wanted { least: missing, now: missing, recently });
                    self.leases[at] += granted;
                    process.lease += granted;
                }
                if process.free() >= amount {
                    process.reserved.push(amount);
                }
            }
            Step::Settle { which, percent } if !process.reserved.is_empty() => {
                let amount = process.reserved.swap_remove(which % process.reserved.len());
                let actual = amount * percent / 100;
                self.settled += actual;
                process.unshipped.push(actual);
            }
            Step::Release { which } if !process.reserved.is_empty() => {
                process.reserved.swap_remove(which % process.reserved.len());
            }
            Step::Ship if !process.unshipped.is_empty() => {
                let amount = process.unshipped.remove(0);
                Self::ship(&mut self.window, &mut self.leases[at], &mut self.beyond, amount);
                process.lease = (process.lease - amount).max(0);
            }
            Step::GiveBack => {
                let free = process.free().max(0);
                process.lease -= free;
                self.window.take_back(&mut self.leases[at], free);
            }
            Step::Crash => {
                process.is_dead = true;
                let under_way = std::mem::take(&mut process.reserved);
                self.settled += under_way.iter().sum::<i128>();
                process.unshipped.extend(under_way);
            }
            Step::Settle { .. } | Step::Release { .. } | Step::Ship | Step::Restart => {}
        }
    }

    fn ship(window: &mut Window, lease: &mut i128, beyond: &mut i128, amount: i128) {
        *beyond += (amount - *lease).max(0);
        window.settle(lease, amount);
    }

    fn check(&self, limit: i128) -> Result<(), TestCaseError> {
        let Window { spent, leased, overspent, .. } = self.window;
        prop_assert!(spent + leased <= limit, "{spent} spent and {leased} leased of {limit}");
        prop_assert!(spent >= 0 && leased >= 0 && overspent >= 0);
        prop_assert_eq!(leased, self.leases.iter().sum::<i128>());
        let unshipped: i128 = self.processes.iter().flat_map(|process| &process.unshipped).sum();
        prop_assert_eq!(spent + overspent + unshipped, self.settled, "nothing is lost, nothing counts twice");
        prop_assert!(overspent <= self.beyond, "{overspent} overspent of {} that no lease covered", self.beyond);
        Ok(())
    }
}

fn steps(percents: std::ops::RangeInclusive<i128>) -> impl Strategy<Value = Vec<(usize, Step)>> {
    let step = prop_oneof![
        6 => (0..60_i128, 0..40_i128).prop_map(|(amount, recently)| Step::Reserve { amount, recently }),
        4 => (any::<usize>(), percents).prop_map(|(which, percent)| Step::Settle { which, percent }),
        1 => any::<usize>().prop_map(|which| Step::Release { which }),
        4 => Just(Step::Ship),
        1 => Just(Step::GiveBack),
        1 => Just(Step::Expire),
        1 => Just(Step::Crash),
        2 => Just(Step::Restart),
    ];
    proptest::collection::vec((0..PROCESSES, step), 1..300)
}

proptest! {
    #[test]
    fn spent_and_leased_never_pass_the_limit_and_nothing_is_lost(limit in 0..2_000_i128, steps in steps(0..=150)) {
        let mut world = World::new(limit);
        for (at, step) in steps {
            world.play(at, step);
            world.check(limit)?;
        }
        // In the end all of it is told, and what is left can be had to the last.
        for at in 0..PROCESSES {
            world.play(at, Step::Crash);
            world.play(at, Step::Restart);
        }
        world.check(limit)?;
        prop_assert_eq!(world.window.leased, 0);
        let left = world.window.free();
        prop_assert_eq!(left, (limit - world.settled).max(0));
        if left > 0 {
            prop_assert_eq!(world.window.grant(Wanted { least: left, now: left, recently: 0 }), left);
        }
    }

    /// Where no request costs more than was set aside and no lease runs out under its holder, the budget is never passed.
    #[test]
    fn without_lost_leases_nothing_is_overspent(limit in 0..2_000_i128, steps in steps(0..=100)) {
        let mut world = World::new(limit);
        for (at, step) in steps.into_iter().filter(|(_, step)| !matches!(step, Step::Expire)) {
            world.play(at, step);
            world.check(limit)?;
            prop_assert_eq!(world.window.overspent, 0);
            prop_assert!(world.settled <= limit);
        }
    }
}
