//! The order of targets: groups by priority, local ones last, and within a group one after another as the session or the
//! strategy says.

use tallygate_store::TargetEntry;
use tallygate_store::routing::Strategy;
use tallygate_types::UsageClass;

use super::asked::Asked;
use super::rendezvous::lot;
use super::turn;
use super::view::View;
use crate::health::Standing;

/// A set of a model's targets, by position. The store allows a hundred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Set(u128);

/// Targets of one rule that are looked at.
pub const MAX_TARGETS: usize = 128;

impl Set {
    pub const fn insert(&mut self, position: usize) {
        self.0 |= 1 << position;
    }

    pub const fn remove(&mut self, position: usize) {
        self.0 &= !(1 << position);
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    pub fn iter(self) -> impl Iterator<Item = usize> + Clone {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let position = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            (position < MAX_TARGETS).then_some(position)
        })
    }

    /// The members for which `keep` holds.
    pub fn only(self, keep: impl Fn(usize) -> bool) -> Self {
        let mut kept = Self::default();
        self.iter().filter(|position| keep(*position)).for_each(|position| kept.insert(position));
        kept
    }

    /// Those of the best rank: not local, then the smallest priority.
    pub fn first_group(self, targets: &[TargetEntry]) -> Self {
        let rank = |position: usize| (targets[position].upstream.local, targets[position].priority);
        match self.iter().map(rank).min() {
            Some(best) => self.only(|position| rank(position) == best),
            None => self,
        }
    }
}

/// How one is chosen.
pub struct Choice<'a, V> {
    pub strategy: Strategy,
    /// Where the session belongs decides before any strategy.
    pub session: Option<u64>,
    pub asked: &'a Asked<'a>,
    pub view: &'a V,
}

impl<V: View> Choice<'_, V> {
    /// The position of the next of `group`, which must not be empty, and the number of its turn among its own.
    pub fn next(&self, targets: &[TargetEntry], group: Set, turn: impl Fn() -> u64) -> (usize, u64) {
        let weight = |position: usize| targets[position].weight;
        let by_turn = |group: Set, weight: &dyn Fn(usize) -> u64| {
            let (nth, visit) = turn::pick(group.iter().map(weight), turn());
            (group.iter().nth(nth).unwrap_or(0), visit)
        };
        if let Some(session) = self.session {
            let home = group.iter().min_by_key(|at| lot(session, targets[*at].id.uuid(), weight(*at)));
            return (home.unwrap_or(0), 0);
        }
        match self.strategy {
            Strategy::Weighted => by_turn(group, &|at| u64::from(weight(at))),
            Strategy::RoundRobin => by_turn(group, &|_| 1),
            Strategy::Cost => {
                let least = group.iter().map(|at| self.cost(&targets[at])).min();
                by_turn(group.only(|at| Some(self.cost(&targets[at])) == least), &|at| u64::from(weight(at)))
            }
            Strategy::LeastInFlight | Strategy::Latency => {
                let turn = turn();
                // The power of two choices: of two drawn by weight the better one, so that nobody runs after the best of a
                // moment ago.
                let mut drawn = [None; 2];
                for at in group.iter() {
                    let drawn_at = (lot(turn, targets[at].id.uuid(), weight(at)), at);
                    if drawn[0].is_none_or(|best| drawn_at < best) {
                        drawn = [Some(drawn_at), drawn[0]];
                    } else if drawn[1].is_none_or(|second| drawn_at < second) {
                        drawn[1] = Some(drawn_at);
                    }
                }
                let load = |at: usize| load(self.strategy, &self.view.upstream(&targets[at].upstream));
                let best = drawn.into_iter().flatten().map(|(_, at)| at).min_by_key(|at| load(*at));
                (best.unwrap_or(0), turn)
            }
        }
    }

    /// What the request would cost there, by what the target says or else by what it is charged; what is not known comes last.
    fn cost(&self, target: &TargetEntry) -> (bool, i128) {
        let charged = || {
            let prices = &self.asked.tariffs.price(target)?.prices;
            let price = |class| prices.effective(class).map(|(_, price)| i128::from(price.get()));
            Some((price(UsageClass::InputUncached)?, price(UsageClass::OutputText)?))
        };
        let said = target.cost.map(|cost| (cost.input.get(), cost.output.get()));
        let Some((input, output)) = said.or_else(charged) else { return (true, 0) };
        let of = |price: i128, tokens: u64| price.saturating_mul(i128::from(tokens));
        (false, of(input, self.asked.input_tokens).saturating_add(of(output, self.asked.expected_output_tokens)))
    }
}

/// How busy, or how slow: peak EWMA times those that wait already. What has not been measured is tried.
pub fn load(strategy: Strategy, standing: &Standing) -> u64 {
    let waiting = u64::from(standing.in_flight);
    match strategy {
        Strategy::Latency => {
            let micros = standing.latency.map_or(0, |latency| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
            micros.saturating_mul(waiting + 1)
        }
        _ => waiting,
    }
}
