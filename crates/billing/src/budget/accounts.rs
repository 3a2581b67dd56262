//! All accounts of this process, and admission by them.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tallygate_store::budgets::{BudgetMode, BudgetScope};
use tallygate_store::{BudgetEntry, KeyEntry, Snapshot, TenantEntry};
use tallygate_types::{BudgetId, Currency, IdMap, Pico, Timestamp};
use tokio::sync::mpsc;

use super::account::{Account, Found, State, window};
use super::draws::{Draw, Draws};
use super::keeper::{Ask, Keeper, Note, Pulse};
use super::reservation::{BudgetExceeded, BudgetReason, Refused, Reservation, Wait};
use super::windows::{Place, WindowState};
use crate::alerts::Rules;
use crate::record::UsageRecord;

/// Accounts are spread over this many locks by their budget.
const SHARDS: usize = 64;
/// Accounts of end users that are kept; beyond it those that nobody draws on at the moment are forgotten, and found again in the
/// database.
const MAX_SUBJECTS_OF_SHARD: usize = 4_096;
/// Messages to the keeper that may wait. Each account asks once at a time.
const MAX_NOTES: usize = 65_536;

/// Who spends, for what.
#[derive(Debug, Clone, Copy)]
pub struct Spender<'a> {
    pub key: &'a KeyEntry,
    /// The public name.
    pub model: &'a str,
    pub end_user: Option<&'a str>,
}

/// See the [module](super).
#[derive(Debug)]
pub struct Budgets {
    shards: [RwLock<Shard>; SHARDS],
    source: Source,
    /// What is told of when it is spent.
    pub(crate) rules: ArcSwap<Rules>,
    /// The last window of each budget that was opened.
    opened: Mutex<IdMap<BudgetId, Place>>,
    /// Records that ended before this process did not draw on its accounts.
    since: Timestamp,
}

#[derive(Debug, Default)]
struct Shard {
    /// Of budgets with one account.
    single: IdMap<BudgetId, Arc<Account>>,
    /// Of budgets that each end user has for themself.
    by_subject: HashMap<(BudgetId, Box<str>), Arc<Account>>,
}

/// Where the money of an account comes from.
enum Source {
    /// Nobody else spends: all that the budget has.
    Alone {
        /// What was spent before is not known yet.
        is_unknown: AtomicBool,
    },
    /// Leases that the keeper takes.
    Leases { notes: mpsc::Sender<Note>, pulse: Arc<Pulse> },
}

impl Budgets {
    /// Of the only process that spends: what was spent is loaded by [`Self::prepare`](Self::prepare).
    pub fn alone(now: Timestamp) -> Self {
        Self::over(Source::Alone { is_unknown: AtomicBool::new(false) }, now)
    }

    /// Of one of many processes, with the keeper of its leases.
    pub fn leasing(now: Timestamp) -> (Arc<Self>, Keeper) {
        let (notes, heard) = mpsc::channel(MAX_NOTES);
        let pulse = Arc::new(Pulse::new());
        let budgets = Arc::new(Self::over(Source::Leases { notes, pulse: Arc::clone(&pulse) }, now));
        (Arc::clone(&budgets), Keeper::new(budgets, heard, pulse))
    }

    fn over(source: Source, since: Timestamp) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            source,
            rules: ArcSwap::default(),
            opened: Mutex::default(),
            since,
        }
    }

    /// Sets `amount` aside in every account that the spender falls under, or in none.
    ///
    /// With a soft budget, always. Where a lease has too little, more is asked for, and the answer is [`Refused::Wait`].
    pub fn reserve(
        &self,
        spender: Spender<'_>,
        amount: Pico,
        currency: Currency,
        now: Timestamp,
    ) -> Result<Reservation, Refused> {
        let mut reservation = Reservation::new(amount);
        let tenant = &spender.key.tenant;
        for entry in tenant.budgets() {
            let Some(subject) = subject_of(&entry.settings.scope, spender) else { continue };
            let settings = &entry.settings;
            let refused =
                |reason, used, left, resets_at| Refused::Exceeded(Box::new(exceeded(entry, reason, used, left, resets_at)));
            if settings.currency != currency {
                if settings.mode == BudgetMode::Soft {
                    continue;
                }
                return Err(refused(BudgetReason::OtherCurrency(currency), 0, 0, None));
            }
            let is_known = self.is_known();
            if settings.mode == BudgetMode::Hard && !is_known && self.is_alone() {
                return Err(refused(BudgetReason::Unknown, 0, 0, None));
            }
            let account = self.account(entry, subject, &tenant.time_zone, now);
            let mut state = account.state();
            self.turn(&mut state, entry, tenant, now);
            let limit = match &self.source {
                Source::Alone { .. } => settings.amount.get(),
                // A lease that may have run out is not used, nor is one of a budget that was lowered since used up.
                Source::Leases { .. } if !is_known || state.leased_of > settings.amount.get() => i128::MIN,
                Source::Leases { .. } => state.lease,
            };
            if let Found::Taken(draw) = state.take(limit, amount.get(), settings.mode) {
                let is_low = settings.mode == BudgetMode::Hard && !self.is_alone() && state.ask_ahead();
                let currency = state.currency;
                drop(state);
                if is_low {
                    self.ask(Ask::new(&account, &draw, currency, settings.amount, Pico::ZERO));
                }
                reservation.hold(account, draw, settings.mode);
                continue;
            }
            let resets_at = Some(state.draw.until).filter(|end| end.micros() < i64::MAX);
            let refused = match &self.source {
                Source::Alone { .. } => {
                    let used = state.consumed.saturating_add(state.reserved);
                    refused(BudgetReason::Exceeded, used, limit.saturating_sub(used), resets_at)
                }
                Source::Leases { .. } => {
                    // What there is here, and what the database last had beside all leases.
                    let left = state.free().max(0).saturating_add(settings.amount.get().saturating_sub(state.gone).max(0));
                    if let Some((reason, until)) = state.denied
                        && now < until
                        && (reason != BudgetReason::Exceeded || amount.get() > left)
                    {
                        return Err(refused(reason, state.gone, left, resets_at));
                    }
                    let ask = Ask::new(&account, &state.draw, state.currency, settings.amount, amount);
                    drop(state);
                    let seen = account.answers();
                    if !self.ask(ask) {
                        return Err(refused(BudgetReason::Unknown, 0, 0, resets_at));
                    }
                    let exceeded = Box::new(exceeded(entry, BudgetReason::Unknown, 0, 0, resets_at));
                    return Err(Refused::Wait(Wait { account, seen, exceeded }));
                }
            };
            return Err(refused);
        }
        Ok(reservation)
    }

    /// False if too much is waiting already.
    fn ask(&self, ask: Ask) -> bool {
        match &self.source {
            Source::Alone { .. } => false,
            Source::Leases { notes, .. } => notes.try_send(Note::Ask(ask)).is_ok(),
        }
    }

    /// What was spent so far is not known until it is loaded: till then nothing is admitted against a hard budget. For a start
    /// without the database.
    pub fn forget(&self) {
        if let Source::Alone { is_unknown } = &self.source {
            is_unknown.store(true, Ordering::Release);
        }
    }

    fn is_known(&self) -> bool {
        match &self.source {
            Source::Alone { is_unknown } => !is_unknown.load(Ordering::Acquire),
            Source::Leases { pulse, .. } => pulse.is_valid(),
        }
    }

    /// How long the database has not answered what is asked for those who wait.
    pub fn silence(&self) -> Duration {
        match &self.source {
            Source::Alone { .. } => Duration::ZERO,
            Source::Leases { pulse, .. } => pulse.silence(),
        }
    }

    pub(super) const fn is_alone(&self) -> bool {
        matches!(self.source, Source::Alone { .. })
    }

    /// The database has these records: what they drew is off the leases. Those of an earlier process did not draw on ours.
    pub(crate) fn shipped(&self, records: &[UsageRecord]) {
        if self.is_alone() {
            return;
        }
        for record in records.iter().filter(|record| record.finished_at >= self.since) {
            for draw in record.budgets.as_slice() {
                let Some(account) = self.known(draw.budget, &draw.subject) else { continue };
                let mut state = account.state();
                if *state.draw == *draw && Some(state.currency) == record.currency {
                    let amount = record.charge.get();
                    state.consumed = state.consumed.saturating_sub(amount);
                    state.lease = state.lease.saturating_sub(amount).max(0);
                }
            }
        }
    }

    /// Takes what the database says was spent of a window. For a process that is alone, before the first request on it.
    pub(super) fn load(&self, entry: &BudgetEntry, tenant: &TenantEntry, subject: &str, spent: Pico, now: Timestamp) {
        let account = self.account(entry, subject, &tenant.time_zone, now);
        let mut state = account.state();
        self.turn(&mut state, entry, tenant, now);
        state.consumed = spent.get();
    }

    /// The same of the accounts of end users whose budgets still are.
    pub(super) fn load_end_users(&self, snapshot: &Snapshot, open: &[WindowState], now: Timestamp) {
        let entries = snapshot.tenants.values().flat_map(|tenant| tenant.budgets().iter().map(move |entry| (entry, tenant)));
        let of_each = entries.filter(|(entry, _)| entry.settings.scope == BudgetScope::EndUser { end_user: None });
        let budgets: IdMap<BudgetId, _> = of_each.map(|(entry, tenant)| (entry.id, (entry, tenant))).collect();
        for state in open.iter().filter(|state| !state.subject.is_empty()) {
            if let Some((entry, tenant)) = budgets.get(&state.budget)
                && self.known(entry.id, &state.subject).is_none()
            {
                self.load(entry, tenant, &state.subject, state.spent, now);
            }
        }
    }

    /// A record of an earlier process that the database does not have yet.
    pub(super) fn spent_before(&self, record: &UsageRecord) {
        for draw in record.budgets.as_slice() {
            let Some(account) = self.known(draw.budget, &draw.subject) else { continue };
            let mut state = account.state();
            if *state.draw == *draw && Some(state.currency) == record.currency {
                state.consumed = state.consumed.saturating_add(record.charge.get());
            }
        }
    }

    pub(super) fn is_open(&self, place: &Place) -> bool {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).get(&place.budget) == Some(place)
    }

    /// Its window has a row, or nothing was spent of it.
    pub(super) fn opened(&self, place: Place) {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(place.budget, place);
    }

    pub(super) fn loaded(&self) {
        if let Source::Alone { is_unknown } = &self.source {
            is_unknown.store(false, Ordering::Release);
        }
    }

    /// All accounts that hold leases.
    pub(super) fn all(&self) -> Vec<Arc<Account>> {
        let read = |shard: &RwLock<Shard>| {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.single.values().chain(shard.by_subject.values()).cloned().collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(read).collect()
    }

    pub(super) fn known(&self, budget: BudgetId, subject: &str) -> Option<Arc<Account>> {
        let shard = self.shard(budget).read().unwrap_or_else(PoisonError::into_inner);
        if subject.is_empty() {
            return shard.single.get(&budget).cloned();
        }
        shard.by_subject.get(&(budget, subject.into())).cloned()
    }

    fn turn(&self, state: &mut State, entry: &BudgetEntry, tenant: &TenantEntry, now: Timestamp) {
        if let Some((draw, currency, left)) = state.turn(&entry.settings, &tenant.time_zone, now)
            && let Source::Leases { notes, .. } = &self.source
            && left > 0
        {
            // Lost, it is found when leases are renewed, after the window is over.
            let _ = notes.try_send(Note::GiveBack { draw, currency, amount: Pico::new(left) });
        }
    }

    fn shard(&self, budget: BudgetId) -> &RwLock<Shard> {
        // The last byte of a UUIDv7 is random.
        &self.shards[usize::from(budget.uuid().as_bytes()[15]) % SHARDS]
    }

    fn account(&self, entry: &BudgetEntry, subject: &str, zone: &Arc<str>, now: Timestamp) -> Arc<Account> {
        if !subject.is_empty() {
            return self.of_subject(entry, subject, zone, now);
        }
        let find = || self.find(entry, zone, now);
        entry.made.share(find).unwrap_or_else(find)
    }

    fn find(&self, entry: &BudgetEntry, zone: &Arc<str>, now: Timestamp) -> Arc<Account> {
        if let Some(account) = self.known(entry.id, "") {
            return account;
        }
        let mut shard = self.shard(entry.id).write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(shard.single.entry(entry.id).or_insert_with(|| fresh(entry, "", zone, now)))
    }

    fn of_subject(&self, entry: &BudgetEntry, subject: &str, zone: &Arc<str>, now: Timestamp) -> Arc<Account> {
        if let Some(account) = self.known(entry.id, subject) {
            return account;
        }
        let mut shard = self.shard(entry.id).write().unwrap_or_else(PoisonError::into_inner);
        if shard.by_subject.len() >= MAX_SUBJECTS_OF_SHARD {
            shard.by_subject.retain(|_, account| {
                let state = account.state();
                Arc::strong_count(account) > 1 || state.is_in_use() && now < state.draw.until
            });
        }
        let key = (entry.id, Box::from(subject));
        Arc::clone(shard.by_subject.entry(key).or_insert_with(|| fresh(entry, subject, zone, now)))
    }
}

/// The accounts that a request of the spender draws on, without asking whether they cover it: for records that are made.
pub fn draws(spender: Spender<'_>, currency: Currency, at: Timestamp) -> Draws {
    let tenant = &spender.key.tenant;
    let drawn = tenant.budgets().iter().filter(|entry| entry.settings.currency == currency).filter_map(|entry| {
        let subject = subject_of(&entry.settings.scope, spender)?;
        Some(draw(entry, subject, &tenant.time_zone, at))
    });
    Draws::new(drawn.collect())
}

fn draw(entry: &BudgetEntry, subject: &str, zone: &str, at: Timestamp) -> Draw {
    let (period, window) = (entry.settings.period, window(entry.settings.period, at, zone));
    Draw { budget: entry.id, subject: subject.into(), period, since: window.start, until: window.end }
}

/// Which of a budget's accounts it is; `None` if the spender does not fall under the budget.
impl Spender<'_> {
    /// The amount of the smallest hard budget in `currency` that the spender falls under, whatever is left of it.
    pub fn smallest_hard_budget(self, currency: Currency) -> Option<Pico> {
        let all = self.key.tenant.budgets().iter().filter(|entry| subject_of(&entry.settings.scope, self).is_some());
        let hard = all.map(|entry| &entry.settings).filter(|of| of.mode == BudgetMode::Hard && of.currency == currency);
        hard.map(|settings| settings.amount).min()
    }
}

fn subject_of<'a>(scope: &BudgetScope, spender: Spender<'a>) -> Option<&'a str> {
    let falls = match scope {
        BudgetScope::Tenant => true,
        BudgetScope::Project { project_id } => spender.key.project().is_some_and(|project| project.id == *project_id),
        BudgetScope::Key { key_id } => spender.key.id == *key_id,
        BudgetScope::Model { model } => spender.model == model,
        BudgetScope::EndUser { end_user: Some(user) } => spender.end_user == Some(user),
        BudgetScope::EndUser { end_user: None } => return spender.end_user.filter(|user| !user.is_empty()),
    };
    falls.then_some("")
}

fn fresh(entry: &BudgetEntry, subject: &str, zone: &Arc<str>, now: Timestamp) -> Arc<Account> {
    Arc::new(Account::new(State::new(&entry.settings, draw(entry, subject, zone, now), zone)))
}

fn exceeded(entry: &BudgetEntry, reason: BudgetReason, used: i128, left: i128, resets_at: Option<Timestamp>) -> BudgetExceeded {
    let settings = &entry.settings;
    BudgetExceeded {
        reason,
        scope: settings.scope.clone(),
        is_balance: entry.balance.is_some(),
        period: settings.period,
        limit: settings.amount,
        used: Pico::new(used),
        left: Pico::new(left.max(0)),
        currency: settings.currency,
        resets_at,
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alone { .. } => "Alone",
            Self::Leases { .. } => "Leases",
        })
    }
}
