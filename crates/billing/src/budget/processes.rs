//! Many processes, one budget, and a real PostgreSQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use tallygate_store::tenants::{self, TenantSettings};
use tallygate_store::testing::TestStore;
use tallygate_store::{BillingMode, BillingTerms, Budget, BudgetPeriod, KeyEntry, TenantScope};
use tallygate_types::{BudgetId, Clock as _, Currency, Pico, RequestId, SystemClock, TenantId};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::ledger::Wanted;
use super::windows::{Made, Place, WindowState};
use super::{BudgetReason, Budgets, Refused, Reservation, Spender, leases, of_tenant};
use crate::balance::{self, BookError, EntryKind, NewEntry};
use crate::record::UsageRecord;
use crate::{Journal, JournalConfig, Shipper, testing};

const CENT: i128 = 10_000_000_000;
/// For whatever must happen in the end.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(20);

struct Process {
    budgets: Arc<Budgets>,
    key: KeyEntry,
    journal: Arc<Journal>,
    shipper: Arc<Shipper>,
    shipping: JoinHandle<()>,
    keeping: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    _folder: tempfile::TempDir,
}

/// A tenant with a hard budget of so many cents, and its id.
async fn tenant(store: &TestStore, cents: i128) -> TenantId {
    let budget = Budget { amount: Pico::new(cents * CENT), currency: Currency::USD, period: BudgetPeriod::Month };
    let mut tx = store.begin().await.unwrap();
    let made = tenants::create(&mut tx, &TenantSettings { budget: Some(budget), ..TenantSettings::named("acme") }).await.unwrap();
    tx.commit().await.unwrap();
    made.id
}

async fn process(store: &TestStore, tenant: TenantId, lifetime: Duration) -> Process {
    // A snapshot of its own, as a process has.
    let snapshot = store.snapshot().await.unwrap();
    let key = KeyEntry::named("ci", Arc::clone(&snapshot.tenants[&tenant]));
    let (budgets, keeper) = Budgets::leasing(SystemClock.now());
    budgets.prepare(store, &snapshot, SystemClock.now()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), JournalConfig::default()).unwrap();
    let shipper = Shipper::new(store.shared(), Arc::clone(&journal));
    shipper.tell(Arc::clone(&budgets));
    let (stop, stopped) = oneshot::channel();
    let stopped = async {
        let _ = stopped.await;
    };
    let keeper = keeper.with_lifetime(lifetime);
    let keeping = tokio::spawn(keeper.run(store.shared(), journal.node().to_owned(), Arc::new(SystemClock), stopped));
    let shipping = tokio::spawn(Arc::clone(&shipper).run());
    Process { budgets, key, journal, shipper, shipping, keeping, stop, _folder: folder }
}

impl Process {
    async fn reserve(&self, cents: i128) -> Result<Reservation, BudgetReason> {
        let until = Instant::now() + DEADLINE;
        loop {
            let spender = Spender { key: &self.key, model: "smart", end_user: None };
            match self.budgets.reserve(spender, Pico::new(cents * CENT), Currency::USD, SystemClock.now()) {
                Ok(reservation) => return Ok(reservation),
                // Its first lease is on its way.
                Err(Refused::Exceeded(exceeded)) if exceeded.reason == BudgetReason::Unknown => sleep(LOOK).await,
                Err(Refused::Exceeded(exceeded)) => return Err(exceeded.reason),
                Err(Refused::Wait(wait)) => timeout(DEADLINE, wait.answered()).await.unwrap(),
            }
            assert!(Instant::now() < until, "nothing was decided");
        }
    }

    /// Settles with so many cents, as a request does that ends.
    fn settle(&self, reservation: Reservation, cents: i128) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let now = SystemClock.now();
        let record = UsageRecord {
            request_id: RequestId::generate(),
            tenant_id: self.key.tenant.id,
            accepted_at: now,
            finished_at: now,
            charge: Pico::new(cents * CENT),
            budgets: reservation.draws(),
            ..testing::record(NUMBER.fetch_add(1, Ordering::Relaxed))
        };
        self.journal.end(&record).unwrap();
        reservation.settle(record.charge);
    }

    /// Ends in order: everything is told, and what is left of leases is given back.
    async fn end(self) {
        self.shipping.abort();
        self.shipper.flush(DEADLINE).await.unwrap();
        self.stop.send(()).unwrap();
        self.keeping.await.unwrap();
    }
}

/// A tenant that spends what was paid in.
async fn prepaid(store: &TestStore, cents: i128) -> TenantId {
    let billing = BillingTerms { mode: BillingMode::Prepaid, ..BillingTerms::default() };
    let mut tx = store.begin().await.unwrap();
    let made = tenants::create(&mut tx, &TenantSettings { billing, ..TenantSettings::named("acme") }).await.unwrap();
    tx.commit().await.unwrap();
    pay_in(store, made.id, cents, "first").await.unwrap();
    made.id
}

async fn pay_in(store: &TestStore, tenant: TenantId, cents: i128, reference: &str) -> Result<(), BookError> {
    let kind = if cents > 0 { EntryKind::TopUp } else { EntryKind::Adjustment };
    let amount = Pico::new(cents * CENT);
    let new = NewEntry { kind, amount, currency: None, reference, note: None, booked_by: "test" };
    let mut tx = store.begin().await.unwrap();
    balance::book(&mut tx, TenantScope::All, tenant, &new).await?;
    tx.commit().await.unwrap();
    Ok(())
}

async fn window(store: &TestStore, tenant: TenantId) -> WindowState {
    of_tenant(&**store, tenant, SystemClock.now(), 10).await.unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_hears_what_is_left_and_may_have_that_at_once() {
    let Some(store) = TestStore::postgres().await else { return };
    let tenant = tenant(&store, 100).await;
    let (one, other) =
        (process(&store, tenant, Duration::from_mins(1)).await, process(&store, tenant, Duration::from_mins(1)).await);
    let held = one.reserve(70).await.unwrap();
    let reserve = async |amount: Pico| loop {
        let spender = Spender { key: &other.key, model: "smart", end_user: None };
        match other.budgets.reserve(spender, amount, Currency::USD, SystemClock.now()) {
            Ok(reservation) => return Ok(reservation),
            Err(Refused::Exceeded(exceeded)) if exceeded.reason == BudgetReason::Exceeded => return Err(exceeded.left),
            Err(Refused::Exceeded(_)) => sleep(LOOK).await,
            Err(Refused::Wait(wait)) => timeout(DEADLINE, wait.answered()).await.unwrap(),
        }
    };
    let mut left = reserve(Pico::new(31 * CENT)).await.unwrap_err();
    // The one may have leased a little ahead of need, and may yet do so.
    let taken = loop {
        assert!(left.get() > 20 * CENT && left.get() <= 30 * CENT, "{left}");
        match reserve(left).await {
            Ok(taken) => break taken,
            Err(less) => {
                assert!(less < left);
                left = less;
            }
        }
    };
    drop((held, taken));
    one.end().await;
    other.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_together_spend_a_hard_budget_to_its_end_and_not_beyond() {
    const LIMIT: i64 = 30_000;
    const ASKERS: usize = 20;
    let Some(store) = TestStore::postgres().await else { return };
    let tenant = tenant(&store, LIMIT.into()).await;
    let mut processes = Vec::new();
    for _ in 0..3 {
        processes.push(Arc::new(process(&store, tenant, super::LEASE_LIFETIME).await));
    }
    let settled = Arc::new(AtomicI64::new(0));
    let until = Instant::now() + DEADLINE;
    let mut askers = JoinSet::new();
    for process in &processes {
        for _ in 0..ASKERS {
            let (process, settled) = (Arc::clone(process), Arc::clone(&settled));
            askers.spawn(async move {
                while settled.load(Ordering::Relaxed) < LIMIT * 98 / 100 && Instant::now() < until {
                    match process.reserve(50).await {
                        Ok(reservation) => {
                            tokio::task::yield_now().await;
                            process.settle(reservation, 31);
                            settled.fetch_add(31, Ordering::Relaxed);
                        }
                        Err(reason) => {
                            assert_eq!(reason, BudgetReason::Exceeded);
                            sleep(LOOK).await;
                        }
                    }
                }
            });
        }
    }
    while let Some(asker) = askers.join_next().await {
        asker.unwrap();
    }
    for process in processes {
        Arc::into_inner(process).unwrap().end().await;
    }
    let window = window(&store, tenant).await;
    assert_eq!((window.spent.get(), window.leased), (i128::from(settled.load(Ordering::Relaxed)) * CENT, Pico::ZERO));
    assert_eq!(window.overspent, Pico::ZERO);
    let spent = window.spent.get() / CENT;
    assert!((i128::from(LIMIT * 98 / 100)..=i128::from(LIMIT)).contains(&spent), "{spent} of {LIMIT}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_process_had_leased_is_free_again_and_what_it_had_settled_is_not_lost() {
    const LIFETIME: Duration = Duration::from_millis(1_200);
    let Some(store) = TestStore::postgres().await else { return };
    let tenant = tenant(&store, 1_000).await;
    let (dying, other) = (process(&store, tenant, LIFETIME).await, process(&store, tenant, LIFETIME).await);
    dying.shipping.abort();
    let (first, under_way) = (dying.reserve(400).await.unwrap(), dying.reserve(500).await.unwrap());
    dying.settle(first, 300);
    dying.keeping.abort();
    // Nine hundred are with the dead.
    assert_eq!(other.reserve(600).await.err(), Some(BudgetReason::Exceeded));
    let until = Instant::now() + DEADLINE;
    let held = loop {
        match other.reserve(600).await {
            Ok(held) => break held,
            Err(_) => assert!(Instant::now() < until, "the leases of a dead process are nobody's"),
        }
        sleep(LOOK).await;
    };
    other.settle(held, 600);
    // The dead comes back and tells what it had settled, and what had been under way: more than is left.
    dying.settle(under_way, 500);
    dying.shipper.flush(DEADLINE).await.unwrap();
    other.end().await;
    let window = window(&store, tenant).await;
    assert_eq!((window.spent, window.leased), (Pico::new(1_400 * CENT), Pico::ZERO));
    // Four hundred too many, and what the other may have had ahead of its need when it was told.
    let overspent = window.overspent.get() / CENT;
    assert!((400..=500).contains(&overspent), "{overspent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_asks_for_what_lies_idle_with_another() {
    let Some(store) = TestStore::postgres().await else { return };
    let tenant = tenant(&store, 1_000).await;
    let one = process(&store, tenant, super::LEASE_LIFETIME).await;
    let two = process(&store, tenant, super::LEASE_LIFETIME).await;
    drop(one.reserve(900).await.unwrap());
    let until = Instant::now() + DEADLINE;
    let held = loop {
        match two.reserve(950).await {
            Ok(held) => break held,
            Err(reason) => assert_eq!(reason, BudgetReason::Exceeded),
        }
        assert!(Instant::now() < until, "what one process does not need stays with it");
        sleep(LOOK).await;
    };
    two.settle(held, 950);
    assert!(one.reserve(100).await.is_err());
    two.end().await;
    one.end().await;
    assert_eq!(window(&store, tenant).await.spent, Pico::new(950 * CENT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_paid_in_can_be_spent_by_every_process_and_what_is_taken_out_by_none() {
    let Some(store) = TestStore::postgres().await else { return };
    let tenant = prepaid(&store, 100).await;
    let one = process(&store, tenant, super::LEASE_LIFETIME).await;
    let two = process(&store, tenant, super::LEASE_LIFETIME).await;
    let first = one.reserve(60).await.unwrap();
    assert_eq!(two.reserve(60).await.err(), Some(BudgetReason::Exceeded), "forty are left");
    one.settle(first, 60);
    pay_in(&store, tenant, 50, "second").await.unwrap();
    // These processes have not heard of it; where leases are given out it is known.
    let until = Instant::now() + DEADLINE;
    let second = loop {
        match two.reserve(80).await {
            Ok(held) => break held,
            Err(_) => assert!(Instant::now() < until, "what was paid in cannot be spent"),
        }
        sleep(LOOK).await;
    };
    // A hundred and fifty less sixty and eighty; some of the ten are leased ahead, and come back when they are asked for.
    assert!(matches!(pay_in(&store, tenant, -11, "out").await, Err(BookError::BelowSpent { .. })));
    let until = Instant::now() + DEADLINE;
    while let Err(refused) = pay_in(&store, tenant, -10, "out").await {
        assert!(matches!(refused, BookError::BelowSpent { .. }) && Instant::now() < until, "{refused}");
        balance::ask_back(&store, tenant).await.unwrap();
        sleep(LOOK).await;
    }
    assert_eq!(one.reserve(1).await.err(), Some(BudgetReason::Exceeded), "it is taken out");
    two.settle(second, 80);
    two.end().await;
    one.end().await;
    let window = window(&store, tenant).await;
    assert_eq!((window.budget, window.spent), (BudgetId::of_balance(tenant), Pico::new(140 * CENT)));
    assert_eq!((window.overspent, window.leased), (Pico::ZERO, Pico::ZERO));
    let standing = balance::standing(&store, TenantScope::All, tenant).await.unwrap();
    assert_eq!((standing.amount, standing.remaining()), (Pico::new(140 * CENT), Pico::ZERO));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_whose_answer_was_lost_is_given_back() {
    // Renewed each second; on a busy machine a shorter one runs out, and all of it is given back.
    const LIFETIME: Duration = Duration::from_secs(12);
    const LOST: i128 = 500 * CENT;
    let Some(store) = TestStore::postgres().await else { return };
    let tenant = tenant(&store, 1_000).await;
    let one = process(&store, tenant, LIFETIME).await;
    let held = one.reserve(100).await.unwrap();
    let known = window(&store, tenant).await;
    // What the keeper asked and heard no answer to.
    let place = Place::of_state(&known);
    let made = Made { until: known.until, limit: Some(1_000 * CENT) };
    let wanted = Wanted { least: LOST, now: LOST, recently: 0 };
    let answers = leases::take(&store, one.journal.node(), 1, &[(place, (made, wanted))].into()).await.unwrap();
    assert_eq!(answers.into_values().next().unwrap().granted, LOST);
    let until = Instant::now() + DEADLINE;
    // The process itself takes less than that for what comes next.
    while window(&store, tenant).await.leased >= Pico::new(LOST) {
        assert!(Instant::now() < until, "the lease stays with a process that does not know of it");
        sleep(LOOK).await;
    }
    // What is set aside for a request stays leased.
    assert!(window(&store, tenant).await.leased >= Pico::new(100 * CENT));
    one.settle(held, 100);
    one.end().await;
    let window = window(&store, tenant).await;
    assert_eq!((window.spent, window.leased, window.overspent), (Pico::new(100 * CENT), Pico::ZERO, Pico::ZERO));
}
