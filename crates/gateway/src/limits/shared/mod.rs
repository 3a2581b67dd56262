//! Limits over many processes, counted in Redis or Valkey.
//!
//! A request asks all its limits with one script, which takes of all or of none (`admit.lua`). It counts as [`SlidingMinute`] does,
//! by the server's own clock. Places are kept by name, each for some seconds: a process tells those it holds again and again
//! ([`places`]), so that what a flush took comes back and what a dead process held comes free. What nobody waits for goes out in
//! batches ([`errands`]). When the server does not answer, or has lost what it knew, [`standing`] says what holds instead: this
//! process counts beside all the while.
//!
//! [`SlidingMinute`]: super::SlidingMinute

mod errands;
mod link;
mod permit;
mod places;
mod standing;
#[cfg(test)]
mod tests;
mod wanted;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::Cmd;
use secrecy::SecretString;
use tallygate_types::live::EffectiveLimit;
use tallygate_types::{TenantId, Timestamp};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::errands::{Errands, Waiting};
use self::link::{Batch, Failure, Link, Script, within};
use self::permit::{Place, SharedPermit};
use self::places::Places;
pub use self::standing::OnFailure;
use self::standing::{Crew, Heard, Stance, Standing};
use self::wanted::{Beside, Taken, Wanted};
use super::effective::Row;
use super::{Answer, Asked, Declined, Dimension, MemoryLimiter, Purpose, RateLimiter, Scope, bounds};
use crate::metrics::SharedLimitMetrics;

/// A place that nobody tells of any more is free after this.
const HELD_FOR: Duration = Duration::from_secs(10);
/// A process that does not tell of itself any more is gone after this.
const PROCESS_KEPT: Duration = HELD_FOR;
/// How often a process tells of itself, and looks whether a server that was away is back.
const BEAT_INTERVAL: Duration = Duration::from_millis(500);
/// What says that the counts are those they were: it goes when all goes.
const EPOCH: &str = "tallygate:epoch";
const EPOCH_KEPT: Duration = Duration::from_hours(1);
const PROCESSES: &str = "tallygate:processes";
/// A request looks so often whether its question is answered.
const LOOK: Duration = Duration::from_millis(25);
/// An answer is in time until this look ...
const LOOKS_IN_TIME: u32 = 2;
/// ... and is waited for until this one.
const LOOKS: u32 = 8;
/// Commands that are sent at once.
const BATCH: usize = 256;

/// Where the limits are shared, and what holds when that cannot be asked.
#[derive(Debug, Clone)]
pub struct SharedLimits {
    /// `redis://`, or `rediss://` with TLS.
    pub url: SecretString,
    pub on_failure: OnFailure,
}

impl SharedLimits {
    /// Whether the address is one. Nothing is opened.
    pub fn check(url: &SecretString) -> Result<(), String> {
        Link::new(url).map(|_| ()).map_err(|error| error.to_string())
    }
}

/// See the module.
pub struct SharedLimiter(Arc<Shared>);

struct Shared {
    link: Link,
    standing: Standing,
    errands: Errands,
    places: Places,
    metrics: SharedLimitMetrics,
    /// What this process is called.
    process: String,
    next: AtomicU64,
    /// All places are to be told, at once.
    is_to_tell: AtomicBool,
    /// As the log has it.
    is_sharing_said: AtomicBool,
    is_away_said: AtomicBool,
}

impl SharedLimiter {
    /// Nothing is opened yet: see [`Self::run`].
    pub fn new(limits: &SharedLimits, metrics: SharedLimitMetrics) -> Result<Self, redis::RedisError> {
        Ok(Self::with_link(Link::new(&limits.url)?, limits.on_failure, metrics))
    }

    fn with_link(link: Link, on_failure: OnFailure, metrics: SharedLimitMetrics) -> Self {
        Self(Arc::new(Shared {
            link,
            standing: Standing::new(on_failure, Instant::now()),
            errands: Errands::new(metrics.lost.clone()),
            places: Places::default(),
            metrics,
            process: Uuid::now_v7().as_simple().to_string(),
            next: AtomicU64::new(0),
            is_to_tell: AtomicBool::new(false),
            is_sharing_said: AtomicBool::new(false),
            is_away_said: AtomicBool::new(false),
        }))
    }

    /// Looks for the server once, so that the first request need not do without it.
    pub async fn meet(&self) {
        self.0.beat().await;
    }

    /// Keeps the line open and runs the errands, until `stop`.
    pub fn run(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.0);
        async move {
            let mut beat = tokio::time::interval(BEAT_INTERVAL);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    _ = beat.tick() => shared.beat().await,
                    () = shared.errands.woken() => {}
                }
                shared.run_errands().await;
            }
            shared.leave().await;
        }
    }
}

impl RateLimiter for SharedLimiter {
    fn admit(&self, scopes: &[Scope<'_>], purpose: Purpose, tokens: u64, now: Timestamp) -> Asked {
        // Bounds that nobody has set are of each process: they protect it.
        if !scopes.iter().any(|scope| bounds(scope.limits)) {
            return MemoryLimiter.admit(scopes, purpose, tokens, now);
        }
        let shared = &self.0;
        let stance = shared.standing.stance(Instant::now());
        let wanted = Wanted::of(scopes, purpose, tokens, now);
        let place = shared.place(&wanted);
        let Some(beside) = shared.beside(stance, &wanted) else { return Asked::Now(Err(Declined::Unknown)) };
        if let Stance::Alone(_) = stance {
            return Asked::Now(shared.alone(&wanted, place, beside));
        }
        match wanted.ask(beside) {
            Ok(own) => Asked::Later(Box::pin(Arc::clone(shared).ask(wanted, place, own))),
            Err(exceeded) => Asked::Now(Err(Declined::Exceeded(exceeded))),
        }
    }

    fn look<'a>(&'a self, tenant: TenantId, rows: &'a mut [Row], now: Timestamp) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if self.0.standing.stance(Instant::now()) == Stance::Shared {
                self.0.look(tenant, rows, now).await;
            }
        })
    }
}

impl Shared {
    fn place(self: &Arc<Self>, wanted: &Wanted) -> Place {
        Place::new(Arc::clone(self), self.next.fetch_add(1, Ordering::Relaxed), wanted.holders())
    }

    fn name_of(&self, number: u64) -> String {
        format!("{}:{number}", self.process)
    }

    /// How this process' own counts are asked. `None`: nothing may be admitted.
    fn beside(&self, stance: Stance, wanted: &Wanted) -> Option<Beside> {
        let (rates, places, crew) = match stance {
            Stance::Shared => return Some(Beside::Count),
            Stance::Mending { rates, places, crew } => (rates, places, crew),
            Stance::Alone(crew) => (true, true, crew),
        };
        match self.standing.on_failure() {
            OnFailure::Share => Some(Beside::Share { crew, rates, places }),
            OnFailure::Open => Some(Beside::Whole),
            OnFailure::Closed if rates && wanted.has_rates() || places && wanted.has_places() => None,
            OnFailure::Closed => Some(Beside::Count),
        }
    }

    /// Admits without the server.
    fn alone(self: &Arc<Self>, wanted: &Wanted, mut place: Place, beside: Beside) -> Answer {
        let own = wanted.ask(beside).map_err(Declined::Exceeded)?;
        self.standing.admits_alone();
        place.hold();
        let (shared, levels) = (Arc::clone(self), own.levels());
        Ok(Box::new(SharedPermit { shared, own, _place: place, rates: wanted.rates(), cell: None, levels, is_dispatched: false }))
    }

    /// Asks the server.
    async fn ask(self: Arc<Self>, wanted: Wanted, mut place: Place, own: Box<dyn super::Permit>) -> Answer {
        let began = Instant::now();
        let name = place.name();
        place.asked();
        let mut question = match self.link.question::<Vec<i64>>(Script::Admit, |cmd| wanted.put(cmd, &name)) {
            Ok(question) => question,
            Err(failure) => {
                drop(own);
                return self.make_do(&failure, &wanted, place);
            }
        };
        let answer = self.wait(&mut question).await;
        let told = answer.and_then(|(answer, in_time)| Ok((wanted.read(&answer).ok_or(Failure::Form)?, in_time)));
        let (told, in_time) = match told {
            Ok(told) => told,
            Err(failure) => {
                drop(own);
                let decided = self.make_do(&failure, &wanted, place);
                let is_admitted = decided.is_ok();
                tokio::spawn(async move {
                    let answer = if let Failure::Late(_) = failure { question.await.ok() } else { None };
                    self.make_up(&wanted, answer.as_deref(), is_admitted);
                });
                return decided;
            }
        };
        self.metrics.asked(began.elapsed());
        let heard = self.heard(self.standing.answered(told.epoch, in_time, Instant::now()));
        if let Some(exceeded) = told.refused {
            place.refused();
            return Err(Declined::Exceeded(exceeded));
        }
        let rates = wanted.rates();
        let own = match heard {
            Heard::Known => own,
            // It was asked as if the server knew everything.
            Heard::Lost => {
                drop(own);
                let beside = self.beside(self.standing.stance(Instant::now()), &wanted).ok_or(Declined::Unknown);
                let own = beside.and_then(|beside| wanted.ask(beside).map_err(Declined::Exceeded));
                own.inspect_err(|_| self.give_back(&rates, told.cell))?
            }
        };
        place.hold();
        let (levels, cell) = (told.levels, Some(told.cell));
        Ok(Box::new(SharedPermit { shared: self, own, _place: place, rates, cell, levels, is_dispatched: false }))
    }

    /// The answer, and whether it came in time. It is waited for beyond that: a guess may admit what is too much. Time that this process
    /// did not see pass counts as one look, for then it is this that is slow.
    async fn wait(&self, question: &mut BoxFuture<'static, redis::RedisResult<Vec<i64>>>) -> Result<(Vec<i64>, bool), Failure> {
        for looks in 1..=LOOKS {
            let in_time = looks <= LOOKS_IN_TIME;
            match within(LOOK, &mut *question).await {
                Err(failure @ Failure::Late(_)) if looks == LOOKS_IN_TIME => self.failed(&failure),
                Err(Failure::Late(_)) => {}
                answer => return Ok((answer?, in_time)),
            }
            // It was given up.
            if !self.link.is_open() {
                break;
            }
        }
        Err(Failure::Late(LOOK * LOOKS))
    }

    /// Decides a request whose question was not answered.
    fn make_do(self: &Arc<Self>, failure: &Failure, wanted: &Wanted, place: Place) -> Answer {
        // That it is late was noted when it was.
        if !matches!(failure, Failure::Late(_)) {
            self.failed(failure);
        }
        let beside = self.beside(Stance::Alone(self.standing.crew()), wanted).ok_or(Declined::Unknown)?;
        self.alone(wanted, place, beside)
    }

    /// Puts right what the server counted of a request, or did not, that was decided without it.
    fn make_up(&self, wanted: &Wanted, answer: Option<&[i64]>, is_admitted: bool) {
        let told = answer.and_then(|answer| wanted.read(answer)).filter(|told| told.refused.is_none());
        match told {
            Some(told) if !is_admitted => self.give_back(&wanted.rates(), told.cell),
            None if is_admitted => {
                for rate in wanted.rates() {
                    self.errands.adjust(&rate.key, 0, i64::try_from(rate.units).unwrap_or(i64::MAX));
                }
            }
            _ => {}
        }
    }

    fn give_back(&self, rates: &[Taken], cell: i64) {
        for rate in rates {
            self.errands.adjust(&rate.key, cell, 0_i64.saturating_sub_unsigned(rate.units));
        }
    }

    /// Takes nothing.
    async fn look(&self, tenant: TenantId, rows: &mut [Row], now: Timestamp) {
        let counted = |row: &Row| {
            let EffectiveLimit { scope, ref subject, dimension, .. } = row.limit;
            let name = subject.as_deref().unwrap_or_default();
            Some((wanted::key(tenant, scope, row.id?, name, Purpose::Generating, dimension), dimension))
        };
        let keys: Vec<_> = rows.iter().filter_map(counted).collect();
        let answer = self.link.ask::<Vec<i64>>(Script::Admit, |cmd| wanted::put_look(cmd, &keys)).await;
        let Some(answer) = answer.ok().filter(|answer| answer.len() == 4 + 2 * keys.len()) else { return };
        let (stands, _) = answer[4..].as_chunks::<2>();
        for (row, &[used, reset]) in rows.iter_mut().filter(|row| row.id.is_some()).zip(stands) {
            let (limit, used) = (&mut row.limit, used.unsigned_abs());
            limit.used = used;
            limit.remaining = limit.limit.saturating_sub(used);
            let is_running_out = used > 0 && limit.dimension != Dimension::Concurrency;
            limit.resets_at = is_running_out.then(|| now.saturating_add(Duration::from_micros(reset.unsigned_abs())));
        }
    }

    fn failed(&self, failure: &Failure) {
        self.metrics.failed(failure.reason());
        if self.standing.failed(failure.is_late(), Instant::now()) {
            self.link.close();
            self.say_away(failure);
            self.note_mode();
        }
    }

    fn heard(&self, heard: Heard) -> Heard {
        if heard == Heard::Lost {
            let until_then = self.standing.on_failure().as_str();
            tracing::warn!(until_then, "the store of the shared limits has lost its counts; they are complete again in a minute");
            self.is_to_tell.store(true, Ordering::Release);
            self.errands.wake();
            self.note_mode();
        }
        heard
    }

    /// Once, not with every look.
    fn say_away(&self, failure: &Failure) {
        if !self.is_away_said.swap(true, Ordering::AcqRel) {
            let until_then = self.standing.on_failure().as_str();
            tracing::warn!(%failure, until_then, "the store of the shared limits cannot be asked");
        }
    }

    fn note_mode(&self) {
        let (stance, crew) = (self.standing.stance(Instant::now()), self.standing.crew());
        let is_shared = stance == Stance::Shared;
        if self.is_sharing_said.swap(is_shared, Ordering::AcqRel) != is_shared && is_shared {
            tracing::info!(processes = crew.count, "limits are shared");
        }
        self.metrics.stands((!is_shared).then(|| self.standing.on_failure()), crew.count);
    }

    /// Tells that this process is there, and opens the line if it is not.
    async fn beat(&self) {
        let is_open = self.link.is_open();
        let server = if is_open { Ok(None) } else { self.link.connect().await };
        let told = match server {
            Ok(server) => {
                self.link.ask::<(i64, Vec<String>)>(Script::Beat, |cmd| self.put_beat(cmd)).await.map(|told| (server, told))
            }
            Err(failure) => Err(failure),
        };
        match told {
            Ok((_, (epoch, all))) if is_open => {
                self.heard(self.standing.met(epoch, Crew::of(&self.process, all), Instant::now()));
            }
            Ok((server, (epoch, all))) => {
                self.is_away_said.store(false, Ordering::Release);
                self.standing.connected(epoch, server, Crew::of(&self.process, all), Instant::now());
                self.is_to_tell.store(true, Ordering::Release);
            }
            Err(failure) if is_open => self.failed(&failure),
            Err(failure) => {
                self.link.close();
                self.say_away(&failure);
                // By the time it is back, all of that is too late.
                drop(self.errands.take());
            }
        }
        self.note_mode();
    }

    fn put_beat(&self, cmd: &mut Cmd) {
        let (epoch_kept, process_kept) = (EPOCH_KEPT.as_millis() as u64, PROCESS_KEPT.as_millis() as u64);
        cmd.arg(2).arg(EPOCH).arg(PROCESSES).arg(epoch_kept).arg(&self.process).arg(process_kept);
    }

    async fn run_errands(&self) {
        if !self.link.is_open() {
            return;
        }
        // What is held is told before what is free: it was so when it was looked at.
        let anew = self.is_to_tell.swap(false, Ordering::AcqRel);
        let held: Vec<_> = self.places.to_tell(Instant::now(), anew).into_iter().collect();
        let told = self.send(&held, |batch, (holder, numbers)| {
            let places: Vec<_> = numbers.iter().map(|number| self.name_of(*number)).collect();
            batch.run(Script::Hold, holder).arg(HELD_FOR.as_millis() as u64).arg(places).ignore();
        });
        if told.await.is_err() {
            return;
        }
        let Waiting { freed, adjusted, .. } = self.errands.take();
        let (freed, adjusted): (Vec<_>, Vec<_>) = (freed.into_iter().collect(), adjusted.into_iter().collect());
        let told = self.send(&freed, |batch, (holder, places)| {
            batch.command("ZREM").arg(&**holder).arg(places).ignore();
        });
        if told.await.is_err() {
            return;
        }
        let told = self.send(&adjusted, |batch, (rate, cells)| {
            let cells: Vec<_> = cells.iter().flat_map(|(cell, units)| [*cell, *units]).collect();
            batch.run(Script::Adjust, rate).arg(cells).ignore();
        });
        told.await.ok();
    }

    /// One command for each. An error has been noted.
    async fn send<T>(&self, all: &[T], put: impl Fn(&mut Batch<'_>, &T)) -> Result<(), ()> {
        for some in all.chunks(BATCH) {
            let sent = self.link.send(|batch| some.iter().for_each(|each| put(batch, each))).await;
            sent.map_err(|failure| self.failed(&failure))?;
        }
        Ok(())
    }

    /// What is there to say at the end: the others' shares are larger without this process.
    async fn leave(&self) {
        self.run_errands().await;
        let left = self.link.send(|batch| {
            batch.command("ZREM").arg(PROCESSES).arg(&self.process).ignore();
        });
        left.await.ok();
    }
}
