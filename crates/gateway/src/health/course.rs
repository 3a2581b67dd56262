//! The life of one credential as a state machine: what is held against it, until when, and how it comes back.
//!
//! ```text
//!            refused for rate ──────► cooling ────┐
//!            out of quota ──────────► exhausted ──┤ until ──► one probe ── accepted ──► active
//!  active ── not accepted ──────────► auth failed─┤                    └── refused ───► held again, for longer
//!            fails where others do not► failing ──┘
//! ```
//!
//! Pure: no clock, no lock, no I/O. A verdict carries the [`Ticket`] of its call, so that an answer to a call that was made
//! before a refusal says nothing against it.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tallygate_types::Timestamp;

use super::bounds::{AUTH_STRIKES, HealthBounds, grown};

/// What is held against a credential; the order is by weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    Active = 0,
    /// It fails where another one of the same upstream works.
    Failing = 1,
    /// Refused for its rate.
    Cooling = 2,
    /// Its money or quota is spent.
    Exhausted = 3,
    /// It is not accepted, or may not do this.
    AuthFailed = 4,
}

/// A call that was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    pub began: Timestamp,
    /// The number of the probe it is.
    probe: Option<u32>,
}

impl Ticket {
    /// Of a call while nothing is held against the credential.
    pub const fn open(now: Timestamp) -> Self {
        Self { began: now, probe: None }
    }

    pub const fn is_probe(self) -> bool {
        self.probe.is_some()
    }
}

/// What may be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Open,
    /// One call may try.
    Probe,
    /// Its one call is being tried.
    Probing,
    Shut {
        until: Timestamp,
    },
}

/// What another replica said, or what was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    pub state: State,
    pub changed: Timestamp,
    pub until: Timestamp,
    pub run: u32,
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Course {
    pub state: State,
    /// When something about it changed last. What calls from before that time bring is old.
    pub changed: Timestamp,
    /// When a probe is due. Of no meaning while active.
    pub until: Timestamp,
    /// Refusals in a row that were not overtaken by an earlier one: the growth of the next wait.
    pub run: u32,
    /// Failures in a row while active, and when the first of them was.
    pub failures: u32,
    failing_since: Timestamp,
    /// It has been accepted since it was set up.
    pub is_proven: bool,
    /// A probe is out.
    probing: bool,
    /// The number of the last probe.
    probes: u32,
}

impl Course {
    pub const fn new() -> Self {
        Self {
            state: State::Active,
            changed: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
            run: 0,
            failures: 0,
            failing_since: Timestamp::UNIX_EPOCH,
            is_proven: false,
            probing: false,
            probes: 0,
        }
    }

    pub fn door(&self, now: Timestamp) -> Door {
        match self.state {
            State::Active => Door::Open,
            _ if now < self.until => Door::Shut { until: self.until },
            _ if self.probing => Door::Probing,
            _ => Door::Probe,
        }
    }

    /// Lets a call through: any while active, one at a time as a probe. `as_last_resort` passes a cooled credential's probe,
    /// for whoever has no other way.
    pub fn admit(&mut self, as_last_resort: bool, now: Timestamp) -> Result<Ticket, Door> {
        match self.door(now) {
            Door::Open => Ok(Ticket::open(now)),
            Door::Probe => {
                self.probing = true;
                self.probes = self.probes.wrapping_add(1);
                Ok(Ticket { began: now, probe: Some(self.probes) })
            }
            Door::Probing if as_last_resort && self.state == State::Cooling => Ok(Ticket::open(now)),
            shut => Err(shut),
        }
    }

    /// The vendor took the credential. True if that changed its state.
    pub fn accepted(&mut self, ticket: Ticket, now: Timestamp) -> bool {
        if self.state == State::Active && self.is_proven {
            self.failures = 0;
            return false;
        }
        let is_news = self.is_current(ticket);
        if is_news {
            *self = Self { changed: now, is_proven: true, probes: self.probes, ..Self::new() };
        }
        is_news
    }

    /// The vendor refused it. `reset` is when the vendor said it will not. True if that changed its state or made it longer.
    pub fn refused(
        &mut self,
        state: State,
        reset: Option<Timestamp>,
        ticket: Ticket,
        now: Timestamp,
        bounds: &HealthBounds,
    ) -> bool {
        let is_news = self.is_current(ticket);
        let same = state == self.state;
        if !is_news && (state < self.state || self.state == State::Active) {
            return false;
        }
        let run = match (same, is_news) {
            (true, true) => self.run.saturating_add(1),
            // Refusals of calls that were out together are one refusal, but each one of a key is a strike.
            (true, false) if state == State::AuthFailed => self.run.max(self.run.saturating_add(1).min(AUTH_STRIKES)),
            (true, false) => self.run,
            (false, _) => 1,
        };
        let until = now.saturating_add(wait(state, run, reset.map(|at| at.since(now)), bounds));
        // Never shorter than what is held already, unless by the vendor's newest word.
        let until = if same && !is_news { until.max(self.until) } else { until };
        let is_change = !same || until != self.until;
        let changed = if is_change { now } else { self.changed };
        *self = Self { state, changed, until, run, failures: 0, probing: self.probing && !is_news, ..*self };
        is_change
    }

    /// It failed in a way that says nothing of its key or quota. It is to blame only if its upstream `answered` somebody else
    /// meanwhile. True if that shuts it.
    pub fn failed(&mut self, ticket: Ticket, answered: Timestamp, now: Timestamp, bounds: &HealthBounds) -> bool {
        if !self.is_current(ticket) {
            return false;
        }
        if self.state != State::Active {
            // A probe that fails tells no more than that it is too early.
            return self.refused(self.state, None, ticket, now, bounds);
        }
        if self.failures == 0 {
            self.failing_since = now;
        }
        self.failures = self.failures.saturating_add(1);
        let enough = if self.is_proven { bounds.failures_to_open } else { bounds.unproven_failures_to_open };
        let is_to_blame = self.failures >= enough && answered > self.failing_since;
        is_to_blame && self.refused(State::Failing, None, ticket, now, bounds)
    }

    /// The call ended without a verdict: its client left.
    pub fn abandoned(&mut self, ticket: Ticket) {
        if ticket.probe == Some(self.probes) {
            self.probing = false;
        }
    }

    /// A person says that it is well again. True if that changed its state.
    pub fn reactivated(&mut self, now: Timestamp) -> bool {
        let was_held = self.state != State::Active || self.failures > 0;
        *self = Self { changed: now, is_proven: self.is_proven, probes: self.probes, ..Self::new() };
        was_held
    }

    /// Takes over what another replica said, if it is newer. True if that changed its state.
    pub fn told(&mut self, word: Word) -> bool {
        if word.changed <= self.changed {
            return false;
        }
        let is_proven = self.is_proven || word.state == State::Active;
        let Word { state, changed, until, run } = word;
        *self = Self { state, changed, until, run, is_proven, probes: self.probes, ..Self::new() };
        true
    }

    pub const fn is_probing(&self) -> bool {
        self.probing
    }

    pub const fn word(&self) -> Word {
        Word { state: self.state, changed: self.changed, until: self.until, run: self.run }
    }

    /// Whether the call was made after the last change, and after what is held against the credential had run out.
    fn is_current(&self, ticket: Ticket) -> bool {
        match self.state {
            State::Active => ticket.began >= self.changed,
            _ => ticket.probe == Some(self.probes) || ticket.began >= self.until,
        }
    }
}

fn wait(state: State, run: u32, told: Option<Duration>, bounds: &HealthBounds) -> Duration {
    let again = run.saturating_sub(1);
    match (state, told) {
        (State::Active, _) => Duration::ZERO,
        (State::Failing, _) => grown(bounds.open, again, bounds.max_open),
        // A vendor that is wrong about the wait is believed less each time.
        (State::Cooling, Some(told)) if again == 0 => told.min(bounds.max_told_wait),
        (State::Cooling, told) => {
            let own = grown(bounds.rate_wait, again, bounds.max_rate_wait);
            own.max(told.unwrap_or_default().min(bounds.max_told_wait))
        }
        (State::Exhausted, Some(told)) if !told.is_zero() => told.min(bounds.max_told_reset),
        (State::Exhausted, _) => grown(bounds.exhausted_probe, again, bounds.max_exhausted_probe),
        (State::AuthFailed, _) if run < AUTH_STRIKES => bounds.auth_recheck,
        (State::AuthFailed, _) => grown(bounds.auth_probe, run - AUTH_STRIKES, bounds.max_auth_probe),
    }
}

impl State {
    pub const ALL: [Self; 5] = [Self::Active, Self::Failing, Self::Cooling, Self::Exhausted, Self::AuthFailed];

    /// Stable: it is stored, shown, and a label of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Failing => "failing",
            Self::Cooling => "cooling",
            Self::Exhausted => "exhausted",
            Self::AuthFailed => "auth_failed",
        }
    }

    pub fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}
