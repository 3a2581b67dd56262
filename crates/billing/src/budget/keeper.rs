//! The task that takes leases for this process, gives them back, and keeps them alive.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tallygate_store::{Store, StoreError};
use tallygate_types::{BudgetId, Clock, Currency, Pico};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::account::Account;
use super::accounts::Budgets;
use super::draws::Draw;
use super::leases::{self, Answer};
use super::ledger::Wanted;
use super::reservation::BudgetReason;
use super::windows::{Made, Place};

/// After a process died, what it had leased and not spent is anybody's again in this time.
pub const LEASE_LIFETIME: Duration = Duration::from_mins(1);
/// Leases are renewed so often in their life, and not used any more in its last such part: clocks do not run alike, and what is asked
/// takes time.
const RENEWALS: u32 = 12;
/// A process that was itself away takes nothing from others before they had such a part of a lifetime to come back, too.
const CALM: u32 = 4;
/// After the database said that nothing is left, or nothing at all, it is not asked again for so long.
const DENIAL: Duration = Duration::from_millis(100);
/// How often it is looked for budgets of which others want what lies idle here.
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// Somebody asked in vain no longer ago than this.
const WANTED: Duration = Duration::from_secs(5);
/// Accounts asked for in one transaction.
const MAX_ASKS: usize = 1_000;
/// A transaction that takes longer is given up: nobody waits for it any more.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);
/// For the last word of a process that ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the data plane tells the keeper.
#[derive(Debug)]
pub(super) enum Note {
    Ask(Ask),
    GiveBack { draw: Arc<Draw>, currency: Currency, amount: Pico },
}

/// A request found too little in an account.
#[derive(Debug)]
pub(super) struct Ask {
    pub account: Arc<Account>,
    pub draw: Arc<Draw>,
    pub currency: Currency,
    pub limit: Pico,
    /// Nothing where it is not yet needed.
    pub need: Pico,
}

impl Ask {
    pub fn new(account: &Arc<Account>, draw: &Arc<Draw>, currency: Currency, limit: Pico, need: Pico) -> Self {
        Self { account: Arc::clone(account), draw: Arc::clone(draw), currency, limit, need }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Keeper {
    budgets: Arc<Budgets>,
    notes: mpsc::Receiver<Note>,
    pulse: Arc<Pulse>,
    lifetime: Duration,
}

/// What the data plane sees of the keeper. In milliseconds after `born`.
#[derive(Debug)]
pub(super) struct Pulse {
    born: std::time::Instant,
    /// Until when leases may be used; nothing before the first is there.
    valid_until: AtomicI64,
    /// Since when the database is asked something, or [`NOT_ASKED`].
    asked_at: AtomicI64,
}

const NOT_ASKED: i64 = i64::MAX;

impl Pulse {
    pub fn new() -> Self {
        Self { born: std::time::Instant::now(), valid_until: AtomicI64::new(0), asked_at: AtomicI64::new(NOT_ASKED) }
    }

    pub fn is_valid(&self) -> bool {
        millis(self.born) < self.valid_until.load(Ordering::Acquire)
    }

    /// How long the database has not answered.
    pub fn silence(&self) -> Duration {
        let since = millis(self.born).saturating_sub(self.asked_at.load(Ordering::Acquire));
        Duration::from_millis(since.max(0).unsigned_abs())
    }
}

/// All asks of one account.
struct Asked {
    account: Arc<Account>,
    draw: Arc<Draw>,
    limit: i128,
    /// The smallest need of those that wait.
    least: Option<i128>,
    sum: i128,
}

struct Keeping<'a> {
    keeper: Keeper,
    store: &'a Store,
    node: &'a str,
    clock: Arc<dyn Clock>,
    /// None before the first renewal, and after the leases were lost.
    epoch: Option<i64>,
    connected_since: Option<Instant>,
}

impl Keeper {
    pub(super) const fn new(budgets: Arc<Budgets>, notes: mpsc::Receiver<Note>, pulse: Arc<Pulse>) -> Self {
        Self { budgets, notes, pulse, lifetime: LEASE_LIFETIME }
    }

    /// In place of [`LEASE_LIFETIME`]; the same for all processes.
    #[must_use]
    pub const fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Keeps leases as `node` until `stop`, then gives all of them back.
    pub async fn run(self, store: Arc<Store>, node: String, clock: Arc<dyn Clock>, stop: impl Future<Output = ()>) {
        let mut keeping = Keeping { keeper: self, store: &store, node: &node, clock, epoch: None, connected_since: None };
        let mut renewal = interval(keeping.keeper.lifetime / RENEWALS);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval(LOOK_PAUSE);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Vec::new();
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                _ = renewal.tick() => keeping.renew().await,
                _ = look.tick() => keeping.give_back_wanted().await,
                count = keeping.keeper.notes.recv_many(&mut heard, MAX_ASKS) => {
                    if count == 0 {
                        break;
                    }
                    keeping.serve(&mut heard).await;
                }
            }
        }
        keeping.keeper.pulse.valid_until.store(0, Ordering::Release);
        match timeout(FAREWELL, leases::end(&store, &node)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "leases of budgets could not be given back; they run out by themselves"),
            Err(_) => tracing::warn!("leases of budgets could not be given back in time; they run out by themselves"),
        }
    }
}

impl Keeping<'_> {
    async fn renew(&mut self) {
        let begun = Instant::now();
        // Measured from before the question: the answer may have been long on its way.
        let lifetime = self.keeper.lifetime;
        let valid_until = self.keeper.pulse.born.elapsed() + lifetime.saturating_sub(lifetime / RENEWALS);
        let renewed = match self.epoch {
            Some(epoch) => self.asked(leases::renew(self.store, self.node, epoch, lifetime)).await,
            None => Ok(false),
        };
        let renewed = match renewed {
            Ok(true) => Ok(()),
            // They are gone, or there were none.
            Ok(false) => {
                self.lose();
                let begun = self.asked(leases::begin(self.store, self.node, lifetime)).await;
                begun.map(|epoch| self.epoch = Some(epoch))
            }
            Err(error) => Err(error),
        };
        match renewed {
            Ok(()) => {
                let until = i64::try_from(valid_until.as_millis()).unwrap_or(i64::MAX);
                self.keeper.pulse.valid_until.store(until, Ordering::Release);
                self.reconcile().await;
                let since = *self.connected_since.get_or_insert(begun);
                if begun.duration_since(since) >= lifetime / CALM {
                    self.reap().await;
                }
            }
            Err(error) => {
                self.connected_since = None;
                tracing::warn!(%error, "leases of budgets could not be renewed; tenants with hard budgets wait once they run out");
            }
        }
    }

    /// Waits for the database, and lets those who wait for this task see since when.
    async fn asked<T>(&self, question: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let Pulse { asked_at, born, .. } = &*self.keeper.pulse;
        asked_at.store(millis(*born), Ordering::Release);
        let silent = |_| StoreError::Unavailable(format!("it did not answer within {} s", ANSWER_DEADLINE.as_secs_f64()));
        let answer = timeout(ANSWER_DEADLINE, question).await.map_err(silent).flatten();
        asked_at.store(NOT_ASKED, Ordering::Release);
        answer
    }

    /// What was leased is somebody else's: nothing of it may be given out any more. What is under way is told when it ends.
    fn lose(&mut self) {
        self.keeper.pulse.valid_until.store(0, Ordering::Release);
        self.epoch = None;
        for account in self.keeper.budgets.all() {
            account.state().lease = 0;
        }
    }

    /// Gives back what the database has leased to this process and it knows nothing of: an answer was lost on its way.
    async fn reconcile(&self) {
        // Before the database is read: what is shipped meanwhile is off there first and here after, so that nothing seems too much.
        let known: HashMap<(BudgetId, Box<str>), (Place, i128)> = {
            let accounts = self.keeper.budgets.all();
            let read = |account: Arc<Account>| {
                let state = account.state();
                ((state.draw.budget, state.draw.subject.clone()), (Place::of(&state.draw, state.currency), state.lease))
            };
            accounts.into_iter().map(read).collect()
        };
        let stored = match self.asked(leases::held(self.store, self.node)).await {
            Ok(stored) => stored,
            Err(error) => return tracing::debug!(%error, "the leases of this process could not be read"),
        };
        let now = self.clock.now();
        let mut lost = BTreeMap::new();
        for (place, until, lease) in stored {
            let unknown = match known.get(&(place.budget, place.subject.clone())) {
                Some((current, known)) if *current == place => lease - known,
                // Requests of an earlier window may be under way; nobody leases of one that has been over for long.
                Some(_) if until.saturating_add(self.keeper.lifetime) > now => 0,
                Some(_) | None => lease,
            };
            if unknown > 0 {
                lost.insert(place, (Made { until, limit: None }, unknown));
            }
        }
        if !lost.is_empty() {
            tracing::debug!(leases = lost.len(), "leases that this process does not know of are given back");
            self.give_back(&lost).await;
        }
    }

    async fn reap(&self) {
        match self.asked(leases::reap(self.store)).await {
            Ok(0) => {}
            Ok(holders) => tracing::warn!(holders, "leases of processes that did not renew them are free again"),
            Err(error) => tracing::warn!(%error, "leases that have run out could not be taken back"),
        }
    }

    async fn serve(&mut self, heard: &mut Vec<Note>) {
        let mut asked = BTreeMap::<Place, Asked>::new();
        let mut given = BTreeMap::new();
        for note in heard.drain(..) {
            match note {
                Note::GiveBack { draw, currency, amount } => {
                    let made = Made { until: draw.until, limit: None };
                    let sum = given.entry(Place::of(&draw, currency)).or_insert((made, 0));
                    sum.1 += amount.get();
                }
                Note::Ask(Ask { account, draw, currency, limit, need }) => {
                    let limit = limit.get();
                    let sums = asked.entry(Place::of(&draw, currency));
                    let sums = sums.or_insert(Asked { account, draw, limit, least: None, sum: 0 });
                    if need > Pico::ZERO {
                        sums.least = Some(sums.least.map_or(need.get(), |least| least.min(need.get())));
                        sums.sum += need.get();
                    }
                }
            }
        }
        if !given.is_empty() {
            self.give_back(&given).await;
        }
        if !asked.is_empty() {
            self.take(asked).await;
        }
    }

    async fn take(&mut self, asked: BTreeMap<Place, Asked>) {
        let mut asks = BTreeMap::new();
        let mut lowered = BTreeMap::new();
        for (place, asked) in &asked {
            let mut state = asked.account.state();
            let free = state.free();
            if state.leased_of > asked.limit && free > 0 {
                lowered.insert(place.clone(), (Made { until: asked.draw.until, limit: None }, free));
                state.lease -= free;
            }
            // What is short of what waits; what waited may have been served meanwhile.
            let missing = |need: i128| need.saturating_sub(state.free().max(0));
            let wanted =
                Wanted { least: missing(asked.least.unwrap_or(0)).max(1), now: missing(asked.sum).max(1), recently: state.taken };
            asks.insert(place.clone(), (Made { until: asked.draw.until, limit: Some(asked.limit) }, wanted));
        }
        if !lowered.is_empty() {
            self.give_back(&lowered).await;
        }
        // Leases that may not be used are asked for in vain, again and again.
        if self.epoch.is_none() || !self.keeper.pulse.is_valid() {
            self.renew().await;
        }
        let answers = match self.epoch {
            None => Err(StoreError::Unavailable("this process holds no leases yet".to_owned())),
            Some(epoch) => self.asked(leases::take(self.store, self.node, epoch, &asks)).await,
        };
        let now = self.clock.now();
        let answers = answers.inspect_err(|error| tracing::warn!(%error, "leases of budgets could not be taken"));
        for (place, asked) in asked {
            let mut state = asked.account.state();
            if Arc::ptr_eq(&state.draw, &asked.draw) {
                state.is_asked_ahead = false;
                state.denied = match answers.as_ref().map(|answers| answers.get(&place)) {
                    Ok(Some(Answer { granted, gone })) => {
                        state.gone = *gone;
                        state.lease += granted;
                        if *granted > 0 {
                            state.leased_of = asked.limit;
                            state.taken = 0;
                        }
                        (*granted == 0).then(|| (BudgetReason::Exceeded, now.saturating_add(DENIAL)))
                    }
                    Ok(None) | Err(_) => Some((BudgetReason::Unknown, now.saturating_add(DENIAL))),
                };
            }
            drop(state);
            asked.account.answer();
        }
    }

    async fn give_back(&self, amounts: &BTreeMap<Place, (Made, i128)>) {
        if let Err(error) = self.asked(leases::give_back(self.store, self.node, amounts)).await {
            // The next renewal finds that the database alone knows of them.
            tracing::warn!(%error, "leases of budgets could not be given back");
        }
    }

    /// What lies idle here may be what a request elsewhere is refused for.
    async fn give_back_wanted(&self) {
        if self.epoch.is_none() {
            return;
        }
        let wanted = match self.asked(leases::wanted(self.store, self.node, WANTED)).await {
            Ok(wanted) => wanted,
            Err(error) => return tracing::debug!(%error, "what others want of leases could not be read"),
        };
        let mut amounts = BTreeMap::new();
        for place in wanted {
            let Some(account) = self.keeper.budgets.known(place.budget, &place.subject) else { continue };
            let mut state = account.state();
            let free = state.free();
            if Place::of(&state.draw, state.currency) == place && free > 0 {
                state.lease -= free;
                amounts.insert(place, (Made { until: state.draw.until, limit: None }, free));
            }
        }
        if !amounts.is_empty() {
            self.give_back(&amounts).await;
        }
    }
}

/// Milliseconds of this process.
pub(super) fn millis(born: std::time::Instant) -> i64 {
    i64::try_from(born.elapsed().as_millis()).unwrap_or(i64::MAX)
}
