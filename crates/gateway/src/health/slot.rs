//! A [`Course`] that many threads read at once: what readers need of it is one atomic word, the rest is behind a lock that is
//! only taken where something is wrong.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tallygate_types::Timestamp;

use super::bounds::HealthBounds;
use super::course::{Course, Door, State, Ticket, Word};

/// The word: bit 0 proven, bit 1 failures while active, bit 2 a probe is out, bits 3 to 5 the state, the rest `until`.
const PROVEN: u64 = 1;
const TROUBLED: u64 = 2;
const PROBING: u64 = 4;
const STATE_SHIFT: u32 = 3;
const UNTIL_SHIFT: u32 = 6;
/// Active and proven, with nothing to forget.
const WELL: u64 = PROVEN;

/// See the module.
#[derive(Debug)]
pub struct Slot {
    word: AtomicU64,
    course: Mutex<Course>,
}

/// What a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub state: State,
    pub door: Door,
    pub is_proven: bool,
}

/// A change of state, for those who have to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub from: State,
    pub to: Word,
}

impl Default for Slot {
    fn default() -> Self {
        let course = Course::new();
        Self { word: AtomicU64::new(pack(&course)), course: Mutex::new(course) }
    }
}

impl Slot {
    /// One load.
    pub fn see(&self, now: Timestamp) -> Seen {
        let word = self.word.load(Ordering::Acquire);
        let state = State::ALL[((word >> STATE_SHIFT) & 7) as usize % State::ALL.len()];
        let until = Timestamp::from_micros((word >> UNTIL_SHIFT).cast_signed());
        let door = match state {
            State::Active => Door::Open,
            _ if now < until => Door::Shut { until },
            _ if word & PROBING != 0 => Door::Probing,
            _ => Door::Probe,
        };
        Seen { state, door, is_proven: word & PROVEN != 0 }
    }

    pub fn admit(&self, as_last_resort: bool, now: Timestamp) -> Result<Ticket, Door> {
        if self.see(now).door == Door::Open {
            return Ok(Ticket::open(now));
        }
        self.with(|course| course.admit(as_last_resort, now))
    }

    /// One load while all is well.
    pub fn accepted(&self, ticket: Ticket, now: Timestamp) -> Option<Change> {
        if self.word.load(Ordering::Acquire) == WELL {
            return None;
        }
        self.change(|course| course.accepted(ticket, now))
    }

    pub fn refused(
        &self,
        state: State,
        reset: Option<Timestamp>,
        ticket: Ticket,
        now: Timestamp,
        bounds: &HealthBounds,
    ) -> Option<Change> {
        self.change(|course| course.refused(state, reset, ticket, now, bounds))
    }

    pub fn failed(&self, ticket: Ticket, answered: Timestamp, now: Timestamp, bounds: &HealthBounds) -> Option<Change> {
        self.change(|course| course.failed(ticket, answered, now, bounds))
    }

    pub fn abandoned(&self, ticket: Ticket) {
        if ticket.is_probe() {
            self.with(|course| course.abandoned(ticket));
        }
    }

    pub fn reactivated(&self, now: Timestamp) -> Option<Change> {
        self.change(|course| course.reactivated(now))
    }

    pub fn told(&self, word: Word) -> Option<Change> {
        self.change(|course| course.told(word))
    }

    pub fn course(&self) -> Course {
        *self.lock()
    }

    fn change(&self, act: impl FnOnce(&mut Course) -> bool) -> Option<Change> {
        self.with(|course| {
            let from = course.state;
            act(course).then(|| Change { from, to: course.word() })
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Course) -> T) -> T {
        let mut course = self.lock();
        let done = act(&mut course);
        self.word.store(pack(&course), Ordering::Release);
        done
    }

    fn lock(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pack(course: &Course) -> u64 {
    let flag = |is_set: bool, bit: u64| if is_set { bit } else { 0 };
    // Until the year 11,000, and never before 1970.
    let until = if course.state == State::Active { 0 } else { course.until.micros().max(0).cast_unsigned() << UNTIL_SHIFT };
    flag(course.is_proven, PROVEN)
        | flag(course.failures > 0, TROUBLED)
        | flag(course.is_probing(), PROBING)
        | (course.state as u64) << STATE_SHIFT
        | until
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    #[test]
    fn the_word_says_what_the_course_says() {
        let (slot, bounds) = (Slot::default(), HealthBounds::default());
        let agree = |now| {
            let (seen, course) = (slot.see(now), slot.course());
            assert_eq!((seen.state, seen.door, seen.is_proven), (course.state, course.door(now), course.is_proven));
        };
        agree(START);
        slot.accepted(Ticket::open(START), START);
        agree(START);
        for state in [State::Failing, State::Cooling, State::Exhausted, State::AuthFailed] {
            let change = slot.refused(state, None, Ticket::open(START), START, &bounds).unwrap();
            assert_eq!(change.to.state, state);
            agree(START);
            let due = change.to.until;
            agree(due);
            let ticket = slot.admit(false, due).unwrap();
            agree(due);
            slot.abandoned(ticket);
            agree(due);
            slot.reactivated(START);
            agree(START);
        }
        slot.failed(Ticket::open(START), START, START, &bounds);
        agree(START);
        slot.accepted(Ticket::open(START), START);
        assert_eq!(slot.word.load(Ordering::Relaxed), WELL);
    }

    #[test]
    fn of_many_threads_one_gets_the_probe() {
        let slot = Arc::new(Slot::default());
        slot.refused(State::Cooling, None, Ticket::open(START), START, &HealthBounds::default());
        let due = START.saturating_add(Duration::from_hours(1));
        let takers = (0..8).map(|_| {
            let slot = Arc::clone(&slot);
            std::thread::spawn(move || (0..1_000).filter(|_| slot.admit(false, due).is_ok()).count())
        });
        let takers: Vec<_> = takers.collect();
        assert_eq!(takers.into_iter().map(|taker| taker.join().unwrap()).sum::<usize>(), 1);
    }
}
