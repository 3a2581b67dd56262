//! Monthly budgets: reserved before dispatch, settled once after.
//!
//! One process keeps the accounts in memory. Over replicas a process will hold leases of a budget; what a request sees
//! stays the same, because it talks to an [`Account`] only.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use tallygate_store::{Budget, TenantEntry};
use tallygate_types::{Currency, IdMap, Pico, TenantId, Timestamp};

use crate::period::Period;

/// Where a reservation goes back to.
pub trait Account: Send + Sync + fmt::Debug {
    /// Ends a reservation of `reserved` made in the period that began at `period`; `spent` of it was really spent, and
    /// may be more.
    fn close(&self, period: Timestamp, reserved: Pico, spent: Pico);
}

/// Why a budget does not admit a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BudgetExceeded {
    pub reason: BudgetReason,
    pub limit: Pico,
    /// Spent and reserved so far.
    pub used: Pico,
    pub currency: Currency,
    pub resets_at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BudgetReason {
    #[error("the monthly budget does not cover this request")]
    Exceeded,
    #[error("the model is priced in {0}, which the tenant's budget does not cover")]
    OtherCurrency(Currency),
    #[error("what was spent of the budget is not known while the database is away")]
    Unknown,
}

/// What of a month's money is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetState {
    pub spent: Pico,
    pub reserved: Pico,
    pub period: Period,
}

/// Money set aside for one request. Dropped unsettled, it is released.
#[derive(Debug)]
#[must_use = "a reservation dropped is a reservation released"]
pub struct Reservation {
    account: Arc<dyn Account>,
    period: Timestamp,
    amount: Pico,
    is_open: bool,
}

/// Accounts are spread over this many locks by their tenant.
const SHARDS: usize = 64;

/// The accounts of all tenants, one for each currency a tenant spends.
#[derive(Debug)]
pub struct Budgets {
    shards: [RwLock<Shard>; SHARDS],
    /// Started without the database: what was spent before is not known yet.
    is_unknown: AtomicBool,
}

type Shard = IdMap<(TenantId, Currency), Arc<MemoryAccount>>;

/// A tenant's account at hand, for whoever keeps something of the tenant anyway. Of one that spends several currencies, the first.
#[derive(Debug, Default)]
pub struct AccountPlace(OnceLock<(Currency, Arc<MemoryAccount>)>);

/// A lock and not two atomics: the amounts are 128 bits wide and turn over together with the period. It is held for a few
/// additions.
#[derive(Debug)]
struct MemoryAccount(Mutex<State>);

#[derive(Debug)]
struct State {
    period: Period,
    zone: Arc<str>,
    spent: i128,
    reserved: i128,
}

impl Reservation {
    pub fn new(account: Arc<dyn Account>, period: Timestamp, amount: Pico) -> Self {
        Self { account, period, amount, is_open: true }
    }

    pub const fn amount(&self) -> Pico {
        self.amount
    }

    /// Ends it with what was really spent. More than the reservation is booked too: the tokens are gone.
    pub fn settle(mut self, actual: Pico) {
        self.close(actual);
    }

    fn close(&mut self, spent: Pico) {
        if std::mem::replace(&mut self.is_open, false) {
            self.account.close(self.period, self.amount, spent);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.close(Pico::ZERO);
    }
}

impl Account for MemoryAccount {
    fn close(&self, period: Timestamp, reserved: Pico, spent: Pico) {
        let mut state = self.state();
        // What was accepted in an earlier month is that month's spending.
        if state.period.start == period {
            state.reserved = state.reserved.saturating_sub(reserved.get());
            state.spent = state.spent.saturating_add(spent.get());
        }
    }
}

impl MemoryAccount {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(now: Timestamp, zone: &Arc<str>) -> Self {
        Self { period: month(now, zone), zone: Arc::clone(zone), spent: 0, reserved: 0 }
    }

    fn turn(&mut self, now: Timestamp, zone: &Arc<str>) {
        if now >= self.period.end {
            *self = Self::new(now, zone);
        } else if !Arc::ptr_eq(&self.zone, zone) {
            if self.zone != *zone {
                // The tenant moved: the month's end moves, what was spent in it stays. Its start stays the mark of the
                // reservations under way.
                self.period.end = month(now, zone).end;
            }
            self.zone = Arc::clone(zone);
        }
    }
}

/// Zones are checked when a tenant is saved; one this build does not know counts as UTC, so that money is still bounded.
fn month(now: Timestamp, zone: &str) -> Period {
    Period::month_of(now, zone)
        .or_else(|_| Period::month_of(now, "UTC"))
        .unwrap_or(Period { start: Timestamp::UNIX_EPOCH, end: Timestamp::from_micros(i64::MAX) })
}

impl Default for Budgets {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| RwLock::default()), is_unknown: AtomicBool::new(false) }
    }
}

impl Budgets {
    /// Sets `amount` aside in the tenant's account, if its budget covers it; without a budget, always.
    pub fn reserve(
        &self,
        tenant: &TenantEntry,
        place: &AccountPlace,
        amount: Pico,
        currency: Currency,
        now: Timestamp,
    ) -> Result<Reservation, BudgetExceeded> {
        let zone = &tenant.time_zone;
        let account = match place.0.get() {
            Some((known, account)) if *known == currency => Arc::clone(account),
            _ => {
                let account = self.account(tenant.id, currency, zone, now);
                let _ = place.0.set((currency, Arc::clone(&account)));
                account
            }
        };
        self.reserve_in(account, zone, tenant.budget.as_ref(), amount, currency, now)
    }

    /// [`Self::reserve`] from the parts of a tenant.
    pub fn reserve_for(
        &self,
        tenant: TenantId,
        zone: &Arc<str>,
        budget: Option<&Budget>,
        amount: Pico,
        currency: Currency,
        now: Timestamp,
    ) -> Result<Reservation, BudgetExceeded> {
        self.reserve_in(self.account(tenant, currency, zone, now), zone, budget, amount, currency, now)
    }

    fn reserve_in(
        &self,
        account: Arc<MemoryAccount>,
        zone: &Arc<str>,
        budget: Option<&Budget>,
        amount: Pico,
        currency: Currency,
        now: Timestamp,
    ) -> Result<Reservation, BudgetExceeded> {
        let mut state = account.state();
        state.turn(now, zone);
        if let Some(budget) = budget {
            let used = state.spent.saturating_add(state.reserved);
            let refuse = |reason, used| BudgetExceeded {
                reason,
                limit: budget.amount,
                used: Pico::new(used),
                currency: budget.currency,
                resets_at: state.period.end,
            };
            if self.is_unknown.load(Ordering::Acquire) {
                return Err(refuse(BudgetReason::Unknown, 0));
            }
            if budget.currency != currency {
                return Err(refuse(BudgetReason::OtherCurrency(currency), 0));
            }
            if used.checked_add(amount.get()).is_none_or(|sum| sum > budget.amount.get()) {
                return Err(refuse(BudgetReason::Exceeded, used));
            }
        }
        state.reserved = state.reserved.saturating_add(amount.get());
        let period = state.period.start;
        drop(state);
        Ok(Reservation::new(account, period, amount))
    }

    /// What was spent so far is not known until it is loaded: till then nothing is admitted against a budget. For a start
    /// without the database.
    pub fn forget(&self) {
        self.is_unknown.store(true, Ordering::Release);
    }

    /// See [`Reservation::settle`].
    pub fn settle(&self, reservation: Reservation, actual: Pico) {
        reservation.settle(actual);
    }

    /// What a tenant has spent of the month; `None` if nothing yet, nor reserved.
    pub fn state(&self, tenant: TenantId, currency: Currency, now: Timestamp) -> Option<BudgetState> {
        let account = self.known(tenant, currency)?;
        let state = account.state();
        state.period.contains(now).then(|| BudgetState {
            spent: Pico::new(state.spent),
            reserved: Pico::new(state.reserved),
            period: state.period,
        })
    }

    fn shard(&self, tenant: TenantId) -> &RwLock<Shard> {
        // The last byte of a UUIDv7 is random.
        &self.shards[usize::from(tenant.uuid().as_bytes()[15]) % SHARDS]
    }

    fn known(&self, tenant: TenantId, currency: Currency) -> Option<Arc<MemoryAccount>> {
        self.shard(tenant).read().unwrap_or_else(PoisonError::into_inner).get(&(tenant, currency)).cloned()
    }

    fn account(&self, tenant: TenantId, currency: Currency, zone: &Arc<str>, now: Timestamp) -> Arc<MemoryAccount> {
        if let Some(account) = self.known(tenant, currency) {
            return account;
        }
        let mut shard = self.shard(tenant).write().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(MemoryAccount(Mutex::new(State::new(now, zone))));
        Arc::clone(shard.entry((tenant, currency)).or_insert_with(fresh))
    }

    /// Takes the spending of the current month as given. For the start, before any request.
    pub(crate) fn load(&self, spent: impl IntoIterator<Item = Spending>, now: Timestamp) {
        for spending in spent {
            let account = self.account(spending.tenant, spending.currency, &spending.zone, now);
            let mut state = account.state();
            state.turn(now, &spending.zone);
            state.spent = spending.amount.get();
        }
        self.is_unknown.store(false, Ordering::Release);
    }
}

/// What a tenant spent of a currency in its current month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spending {
    pub tenant: TenantId,
    pub zone: Arc<str>,
    pub currency: Currency,
    pub amount: Pico,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tallygate_store::BudgetPeriod;

    use super::*;
    use crate::testing::{NOON, tenant};

    fn budget(amount: i128) -> Budget {
        Budget { amount: Pico::new(amount), currency: Currency::USD, period: BudgetPeriod::Month }
    }

    fn reserve(budgets: &Budgets, limit: i128, amount: i128, now: Timestamp) -> Result<Reservation, BudgetExceeded> {
        budgets.reserve_for(tenant(), &"Europe/Berlin".into(), Some(&budget(limit)), Pico::new(amount), Currency::USD, now)
    }

    fn state(budgets: &Budgets, now: Timestamp) -> (i128, i128) {
        let state = budgets.state(tenant(), Currency::USD, now).unwrap();
        (state.spent.get(), state.reserved.get())
    }

    #[test]
    fn a_reservation_counts_until_it_is_settled_or_dropped_once() {
        let budgets = Budgets::default();
        let first = reserve(&budgets, 100, 60, NOON).unwrap();
        let second = reserve(&budgets, 100, 40, NOON).unwrap();
        assert_eq!(state(&budgets, NOON), (0, 100));
        let refused = reserve(&budgets, 100, 1, NOON).unwrap_err();
        assert_eq!((refused.limit, refused.used), (Pico::new(100), Pico::new(100)));
        assert_eq!(refused.resets_at.to_string(), "2026-11-30T23:00:00.000000Z");
        budgets.settle(first, Pico::new(5));
        assert_eq!(state(&budgets, NOON), (5, 40));
        drop(second);
        assert_eq!(state(&budgets, NOON), (5, 0));
        drop(reserve(&budgets, 100, 95, NOON).unwrap());
    }

    #[test]
    fn nothing_is_admitted_against_a_budget_whose_spending_is_not_known() {
        let budgets = Budgets::default();
        budgets.forget();
        assert_eq!(reserve(&budgets, 100, 1, NOON).unwrap_err().reason, BudgetReason::Unknown);
        drop(budgets.reserve_for(tenant(), &"UTC".into(), None, Pico::new(1), Currency::USD, NOON).unwrap());
        budgets.load([Spending { tenant: tenant(), zone: "UTC".into(), currency: Currency::USD, amount: Pico::new(99) }], NOON);
        assert_eq!(reserve(&budgets, 100, 2, NOON).unwrap_err().reason, BudgetReason::Exceeded);
        drop(reserve(&budgets, 100, 1, NOON).unwrap());
    }

    #[test]
    fn a_settlement_above_the_reservation_is_booked_whole() {
        let budgets = Budgets::default();
        reserve(&budgets, 100, 10, NOON).unwrap().settle(Pico::new(150));
        assert_eq!(state(&budgets, NOON), (150, 0));
        assert_eq!(reserve(&budgets, 100, 0, NOON).unwrap_err().used, Pico::new(150));
    }

    #[test]
    fn a_new_month_begins_at_zero_and_what_ends_late_belongs_to_the_old_one() {
        let budgets = Budgets::default();
        let late = reserve(&budgets, 100, 80, NOON).unwrap();
        let december = Timestamp::parse("2026-11-30T23:00:00Z").unwrap();
        assert!(reserve(&budgets, 100, 21, Timestamp::from_micros(december.micros() - 1)).is_err());
        let open = reserve(&budgets, 100, 100, december).unwrap();
        late.settle(Pico::new(80));
        assert_eq!(state(&budgets, december), (0, 100));
        drop(open);
    }

    #[test]
    fn without_a_budget_spending_is_kept_all_the_same() {
        let budgets = Budgets::default();
        let reserved = budgets.reserve_for(tenant(), &"UTC".into(), None, Pico::new(7), Currency::USD, NOON).unwrap();
        reserved.settle(Pico::new(6));
        assert_eq!(state(&budgets, NOON), (6, 0));
        assert!(reserve(&budgets, 10, 5, NOON.saturating_add(Duration::from_secs(1))).is_err());
    }

    #[test]
    fn a_budget_does_not_cover_another_currency() {
        let budgets = Budgets::default();
        let euro = "EUR".parse().unwrap();
        let refused = budgets.reserve_for(tenant(), &"UTC".into(), Some(&budget(10)), Pico::new(1), euro, NOON).unwrap_err();
        assert_eq!(refused.reason, BudgetReason::OtherCurrency(euro));
    }

    #[test]
    fn threads_together_admit_exactly_what_the_budget_covers() {
        const LIMIT: i128 = 1_000;
        let budgets = Budgets::default();
        let admitted = std::thread::scope(|scope| {
            let work = || (0..500).filter(|_| reserve(&budgets, LIMIT, 1, NOON).map(|r| r.settle(Pico::new(1))).is_ok()).count();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(admitted as i128, LIMIT);
        assert_eq!(state(&budgets, NOON), (LIMIT, 0));
    }

    proptest! {
        #[test]
        fn whatever_the_order_nothing_is_lost_and_the_limit_holds_at_admission(
            steps in proptest::collection::vec((0..3_u8, 0..50_i128, any::<prop::sample::Index>()), 1..200),
        ) {
            const LIMIT: i128 = 300;
            let budgets = Budgets::default();
            let (mut open, mut spent) = (Vec::<Reservation>::new(), 0);
            for (step, amount, which) in steps {
                match step {
                    0 => {
                        let held: i128 = open.iter().map(|r| r.amount().get()).sum();
                        match reserve(&budgets, LIMIT, amount, NOON) {
                            Ok(reservation) => {
                                prop_assert!(spent + held + amount <= LIMIT);
                                open.push(reservation);
                            }
                            Err(refused) => {
                                prop_assert!(spent + held + amount > LIMIT);
                                prop_assert_eq!(refused.used.get(), spent + held);
                            }
                        }
                    }
                    1 if !open.is_empty() => {
                        // Up to the reservation, as a cap on output makes sure of.
                        let reservation = open.swap_remove(which.index(open.len()));
                        let actual = amount.min(reservation.amount().get());
                        spent += actual;
                        budgets.settle(reservation, Pico::new(actual));
                    }
                    2 if !open.is_empty() => drop(open.swap_remove(which.index(open.len()))),
                    _ => {}
                }
                let held: i128 = open.iter().map(|r| r.amount().get()).sum();
                if let Some(state) = budgets.state(tenant(), Currency::USD, NOON) {
                    prop_assert_eq!((state.spent.get(), state.reserved.get()), (spent, held));
                }
            }
        }
    }
}
