//! Whether the shared counts are to be trusted, and what holds while they are not.
//!
//! They are not while the server does not answer, nor for a minute after it did not or lost what it knew: what was admitted meanwhile
//! stands nowhere but with who admitted it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What holds while the shared counts cannot be trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Each process admits its share of a limit, by what it has admitted itself.
    #[default]
    Share,
    /// Each process admits the whole limit.
    Open,
    /// Whoever has limits is refused.
    Closed,
}

/// Of how many processes this is one, and the how manieth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crew {
    pub count: u32,
    /// From 0 on.
    pub rank: u32,
}

/// What a request is decided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stance {
    Shared,
    /// The server answers, but there are admissions it does not know, of rates or of places.
    Mending {
        rates: bool,
        places: bool,
        crew: Crew,
    },
    Alone(Crew),
}

/// How an answer of the server is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Known,
    /// It has lost what it knew.
    Lost,
}

/// Admissions are forgotten when they are a minute and a cell old.
const RATES_MEND: Duration = Duration::from_millis(60_500);
/// By then every process has told the places it holds, or they are given up.
const PLACES_MEND: Duration = super::HELD_FOR;
/// A server is given up when so many questions in a row were not answered in time ...
const MAX_LATE: u32 = 3;
/// ... and for so long none was.
const SILENCE_AT_MOST: Duration = Duration::from_millis(400);

/// See the module.
pub struct Standing {
    on_failure: OnFailure,
    state: Mutex<State>,
}

struct State {
    mode: Mode,
    /// Of the counts the server has; None: it was never reached.
    known: Option<Known>,
    crew: Crew,
    late: u32,
    last_answer: Instant,
    /// Something was admitted without the server's knowing.
    has_admitted_alone: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    epoch: i64,
    server: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Shared,
    Mending { since: Instant },
    Alone,
}

impl OnFailure {
    pub const ALL: [Self; 3] = [Self::Share, Self::Open, Self::Closed];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

impl Crew {
    const ALONE: Self = Self { count: 1, rank: 0 };

    /// `process` among all that are there.
    pub fn of(process: &str, mut all: Vec<String>) -> Self {
        all.sort_unstable();
        let rank = all.iter().position(|each| each == process).unwrap_or(0);
        Self { count: u32::try_from(all.len()).unwrap_or(u32::MAX).max(1), rank: u32::try_from(rank).unwrap_or(0) }
    }

    /// The shares of all add up to the limit. Nobody's is nothing, so that no more than one each may be too many.
    pub fn share(self, limit: u64) -> u64 {
        if limit == 0 {
            return 0;
        }
        let (count, rank) = (u64::from(self.count), u64::from(self.rank));
        (limit / count + u64::from(rank < limit % count)).max(1)
    }
}

impl Standing {
    pub fn new(on_failure: OnFailure, now: Instant) -> Self {
        let state =
            State { mode: Mode::Alone, known: None, crew: Crew::ALONE, late: 0, last_answer: now, has_admitted_alone: false };
        Self { on_failure, state: Mutex::new(state) }
    }

    pub const fn on_failure(&self) -> OnFailure {
        self.on_failure
    }

    pub fn stance(&self, now: Instant) -> Stance {
        let state = self.state();
        match state.mode {
            Mode::Alone => Stance::Alone(state.crew),
            Mode::Shared => Stance::Shared,
            Mode::Mending { since } => {
                let passed = now.saturating_duration_since(since);
                let (rates, places) = (passed < RATES_MEND, passed < PLACES_MEND);
                if rates || places { Stance::Mending { rates, places, crew: state.crew } } else { Stance::Shared }
            }
        }
    }

    pub fn crew(&self) -> Crew {
        self.state().crew
    }

    /// Something is admitted that the server does not know of.
    pub fn admits_alone(&self) {
        self.state().has_admitted_alone = true;
    }

    /// The server answered a question, in time or not.
    pub fn answered(&self, epoch: i64, in_time: bool, now: Instant) -> Heard {
        let mut state = self.state();
        if state.mode == Mode::Alone {
            // What comes after it was given up is no reason to begin again.
            return Heard::Known;
        }
        if in_time {
            (state.late, state.last_answer) = (0, now);
        }
        state.heard(epoch, now)
    }

    /// The server did not answer a question, or not in time. True: with this it is given up.
    pub fn failed(&self, is_late: bool, now: Instant) -> bool {
        let mut state = self.state();
        state.late = state.late.saturating_add(1);
        let is_silent = state.late >= MAX_LATE && now.saturating_duration_since(state.last_answer) >= SILENCE_AT_MOST;
        if state.mode == Mode::Alone || (is_late && !is_silent) {
            return false;
        }
        state.mode = Mode::Alone;
        true
    }

    /// There is a connection, on which the server has answered.
    pub fn connected(&self, epoch: i64, server: Option<String>, crew: Crew, now: Instant) {
        let mut state = self.state();
        (state.late, state.last_answer) = (0, now);
        let known = Known { epoch, server };
        let is_same = match &state.known {
            // With what was there before this process it has nothing to do.
            None => true,
            Some(before) => before.server.is_some() && *before == known,
        };
        // Whoever refuses while it does not know has nothing to make up for.
        let has_admitted_alone = std::mem::take(&mut state.has_admitted_alone) && self.on_failure != OnFailure::Closed;
        state.mode = if is_same && !has_admitted_alone { Mode::Shared } else { Mode::Mending { since: now } };
        state.known = Some(known);
        state.meet(crew, now);
    }

    /// It is told who is there.
    pub fn met(&self, epoch: i64, crew: Crew, now: Instant) -> Heard {
        let mut state = self.state();
        if state.mode == Mode::Alone {
            return Heard::Known;
        }
        (state.late, state.last_answer) = (0, now);
        let heard = state.heard(epoch, now);
        state.meet(crew, now);
        heard
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn heard(&mut self, epoch: i64, now: Instant) -> Heard {
        match &mut self.known {
            Some(known) if known.epoch != epoch => {
                known.epoch = epoch;
                self.mode = Mode::Mending { since: now };
                Heard::Lost
            }
            _ => Heard::Known,
        }
    }

    fn meet(&mut self, crew: Crew, now: Instant) {
        match self.mode {
            // Those that were there before come back one after the other.
            Mode::Mending { since } if now.saturating_duration_since(since) < RATES_MEND => {
                if crew.count >= self.crew.count {
                    self.crew = crew;
                }
            }
            Mode::Mending { .. } => (self.mode, self.crew) = (Mode::Shared, crew),
            _ => self.crew = crew,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Crew = Crew { count: 3, rank: 1 };

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn connected(on_failure: OnFailure, now: Instant) -> Standing {
        let standing = Standing::new(on_failure, now);
        assert_eq!(standing.stance(now), Stance::Alone(Crew::ALONE));
        standing.connected(1, Some("a".to_owned()), THREE, now);
        assert_eq!(standing.stance(now), Stance::Shared);
        standing
    }

    #[test]
    fn the_shares_of_all_add_up_to_the_limit() {
        for (limit, shares) in [(600, [200, 200, 200]), (50, [17, 17, 16]), (3, [1, 1, 1]), (2, [1, 1, 1]), (0, [0, 0, 0])] {
            assert_eq!([0, 1, 2].map(|rank| Crew { count: 3, rank }.share(limit)), shares);
        }
        assert_eq!(Crew::of("b", ["c", "b", "a"].map(str::to_owned).into()), THREE);
        assert_eq!(Crew::of("b", Vec::new()), Crew::ALONE);
    }

    #[test]
    fn a_server_that_was_slow_once_is_asked_again_and_one_that_is_silent_is_not() {
        let now = Instant::now();
        let standing = connected(OnFailure::Share, now);
        let later = now + SILENCE_AT_MOST;
        assert_eq!([0, 1, 2, 3].map(|_| standing.failed(true, now)), [false; 4]);
        assert_eq!(standing.answered(1, true, later), Heard::Known);
        assert_eq!(standing.answered(1, false, later + SILENCE_AT_MOST), Heard::Known);
        assert_eq!([0, 1, 2, 3].map(|_| standing.failed(true, later + SILENCE_AT_MOST)), [false, false, true, false]);
        assert_eq!(standing.stance(later), Stance::Alone(THREE));
        // An answer that comes after all is not taken for its return.
        assert_eq!(standing.answered(1, true, later), Heard::Known);
        assert_eq!(standing.stance(later), Stance::Alone(THREE));
    }

    #[test]
    fn a_connection_that_breaks_is_given_up_at_once() {
        let now = Instant::now();
        let standing = connected(OnFailure::Share, now);
        assert!(standing.failed(false, now));
        // Nothing was admitted meanwhile, and the server is the same that it was.
        standing.connected(1, Some("a".to_owned()), THREE, now);
        assert_eq!(standing.stance(now), Stance::Shared);
    }

    #[test]
    fn what_was_admitted_alone_is_waited_for_until_it_counts_no_more() {
        let now = Instant::now();
        let standing = connected(OnFailure::Share, now);
        standing.failed(false, now);
        standing.admits_alone();
        standing.connected(1, Some("a".to_owned()), Crew::ALONE, now);
        // The others were not back yet.
        assert_eq!(standing.stance(now), Stance::Mending { rates: true, places: true, crew: THREE });
        assert_eq!(standing.stance(now + PLACES_MEND), Stance::Mending { rates: true, places: false, crew: THREE });
        assert_eq!(standing.stance(now + RATES_MEND), Stance::Shared);
        standing.met(1, Crew { count: 2, rank: 0 }, now + RATES_MEND);
        assert_eq!((standing.stance(now), standing.crew().count), (Stance::Shared, 2));
    }

    #[test]
    fn a_server_that_began_anew_or_was_flushed_is_not_trusted_for_a_minute() {
        let now = Instant::now();
        for (epoch, server) in [(1, Some("b")), (2, Some("a")), (1, None)] {
            let standing = connected(OnFailure::Closed, now);
            standing.failed(false, now);
            standing.connected(epoch, server.map(str::to_owned), THREE, now);
            assert_eq!(standing.stance(now), Stance::Mending { rates: true, places: true, crew: THREE });
        }
        let standing = connected(OnFailure::Share, now);
        assert_eq!(standing.answered(2, true, now), Heard::Lost);
        assert_eq!(standing.answered(2, true, now), Heard::Known);
        assert_eq!(standing.met(3, Crew::ALONE, now + seconds(1)), Heard::Lost);
        assert_eq!(standing.stance(now + seconds(60)), Stance::Mending { rates: true, places: false, crew: THREE });
    }

    #[test]
    fn whoever_refuses_while_it_does_not_know_has_nothing_to_make_up_for() {
        let now = Instant::now();
        let standing = connected(OnFailure::Closed, now);
        standing.failed(false, now);
        standing.admits_alone();
        standing.connected(1, Some("a".to_owned()), THREE, now);
        assert_eq!(standing.stance(now), Stance::Shared);
    }
}
