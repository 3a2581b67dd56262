//! The order of an upstream's credentials.

use std::sync::Arc;

use tallygate_store::routing::Strategy;
use tallygate_store::{CredentialEntry, TargetEntry};
use tallygate_types::Pico;
use uuid::Uuid;

use super::rendezvous::lot;
use super::targets::load;
use super::trace::{PassedOver, Trace};
use super::turn;
use super::view::View;
use crate::health::Readiness;

/// Credentials of one upstream that one request may try.
pub const MAX_TRIED: usize = 8;

/// The smaller comes first. Which fields count depends on who decides.
type Rank = (u64, u64, Uuid);

#[derive(Debug, Clone, Copy)]
struct Ranked<'a> {
    rank: Rank,
    load: u64,
    is_spared: bool,
    credential: &'a Arc<CredentialEntry>,
}

/// The best credentials that may be asked, in order.
#[derive(Debug, Default)]
pub struct Best<'a> {
    ranked: [Option<Ranked<'a>>; MAX_TRIED],
    len: usize,
    /// The upstream is out, and all of them with it.
    pub is_shut: bool,
    /// Where the session belongs, whether it may be asked or not.
    pub home: Option<&'a Arc<CredentialEntry>>,
}

impl<'a> Best<'a> {
    /// Those of `target`'s upstream. `turn` is the number of this visit.
    pub fn of<V: View>(
        target: &'a TargetEntry,
        session: Option<u64>,
        turn: impl Fn() -> u64,
        view: &V,
        trace: &mut impl Trace,
        mut on_out: impl FnMut(PassedOver),
    ) -> Self {
        let (upstream, all) = (&target.upstream, target.upstream.credentials.as_slice());
        let strategy = upstream.credential_strategy;
        let mut best = Self::default();
        let is_sole = all.len() == 1;
        let line = Line::of(all, session, strategy, if is_sole || session.is_some() { 0 } else { turn() });
        let mut home: Option<(Rank, &Arc<CredentialEntry>)> = None;
        for (position, credential) in all.iter().enumerate() {
            if credential.weight == 0 {
                trace.passed_over(target, Some(credential), PassedOver::NoWeight);
                continue;
            }
            let standing = view.credential(upstream, credential);
            let rank = if is_sole { (0, 0, Uuid::nil()) } else { line.rank(position, credential, standing.spent_today) };
            if session.is_some() && home.is_none_or(|(best, _)| rank < best) {
                home = Some((rank, credential));
            }
            if let Readiness::Not { why, until } = standing.readiness {
                let out = PassedOver::Out { why, until };
                trace.passed_over(target, Some(credential), out);
                on_out(out);
                continue;
            }
            let is_spared = matches!(standing.readiness, Readiness::Spared { .. });
            best.insert(Ranked { rank, load: load(strategy, &standing), is_spared, credential });
        }
        best.home = home.map(|(_, credential)| credential);
        if session.is_none() && matches!(strategy, Strategy::LeastInFlight | Strategy::Latency) {
            // Of two drawn by weight the better one goes first, and the others follow as they were drawn.
            if let [Some(first), Some(second), ..] = &mut best.ranked
                && second.load < first.load
            {
                std::mem::swap(first, second);
            }
        }
        best
    }

    /// Those that may be asked; or those that may only be asked if there is no other.
    pub fn iter(&self, spared: bool) -> impl Iterator<Item = &'a Arc<CredentialEntry>> + '_ {
        let open = if self.is_shut { 0 } else { self.len };
        self.ranked[..open].iter().flatten().filter(move |known| known.is_spared == spared).map(|known| known.credential)
    }

    /// Keeps the best, in order.
    fn insert(&mut self, new: Ranked<'a>) {
        let at = self.ranked[..self.len].partition_point(|known| known.is_none_or(|known| known.rank <= new.rank));
        if at == MAX_TRIED {
            return;
        }
        self.len = (self.len + 1).min(MAX_TRIED);
        self.ranked[at..self.len].rotate_right(1);
        self.ranked[at] = Some(new);
    }
}

/// Who stands where before health is asked.
struct Line {
    session: Option<u64>,
    strategy: Strategy,
    turn: u64,
    /// Whose turn it is.
    first: usize,
    count: usize,
}

impl Line {
    fn of(all: &[Arc<CredentialEntry>], session: Option<u64>, strategy: Strategy, turn: u64) -> Self {
        let is_in_turn = session.is_none() && matches!(strategy, Strategy::Weighted | Strategy::RoundRobin | Strategy::Cost);
        let weight = |credential: &Arc<CredentialEntry>| match strategy {
            Strategy::RoundRobin => u64::from(credential.weight.min(1)),
            _ => u64::from(credential.weight),
        };
        let first = if is_in_turn { turn::pick(all.iter().map(weight), turn).0 } else { 0 };
        Self { session, strategy, turn, first, count: all.len() }
    }

    fn rank(&self, position: usize, credential: &CredentialEntry, spent: Pico) -> Rank {
        let behind = || ((position + self.count - self.first) % self.count) as u64;
        let drawn = |session| {
            let (lot, id) = lot(session, credential.id.uuid(), credential.weight);
            (lot, 0, id)
        };
        match (self.session, self.strategy) {
            (Some(session), _) => drawn(session),
            (None, Strategy::LeastInFlight | Strategy::Latency) => drawn(self.turn),
            (None, Strategy::Cost) => {
                (u64::try_from(spent.get()).unwrap_or(if spent.get() < 0 { 0 } else { u64::MAX }), behind(), Uuid::nil())
            }
            (None, Strategy::Weighted | Strategy::RoundRobin) => (behind(), 0, Uuid::nil()),
        }
    }
}
