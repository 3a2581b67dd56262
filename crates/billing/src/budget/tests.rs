//! Accounts of a process that is alone.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tallygate_store::budgets::{BudgetMode, BudgetScope, BudgetSettings};
use tallygate_store::{BudgetEntry, BudgetPeriod, KeyEntry, KeyTerms, Made, ProjectEntry, TenantEntry};
use tallygate_types::{BudgetId, Currency, Pico, ProjectId, Timestamp};
use uuid::Uuid;

use super::{BudgetExceeded, BudgetReason, Budgets, Refused, Reservation, Spender};
use crate::testing::NOON;

pub(super) fn entry(id: u128, scope: BudgetScope, amount: i128) -> BudgetEntry {
    let settings = BudgetSettings {
        scope,
        period: BudgetPeriod::Month,
        amount: Pico::new(amount),
        currency: Currency::USD,
        mode: BudgetMode::Hard,
        alerts: Vec::new(),
    };
    BudgetEntry { id: BudgetId::from_uuid(Uuid::from_u128(id)), settings, balance: None, made: Made::default() }
}

pub(super) fn key(zone: &str, budgets: Vec<BudgetEntry>) -> KeyEntry {
    let tenant = TenantEntry { time_zone: zone.into(), budgets: Some(Arc::new(budgets)), ..TenantEntry::named("acme") };
    KeyEntry::named("ci", Arc::new(tenant))
}

fn of_tenant(amount: i128) -> KeyEntry {
    key("Europe/Berlin", vec![entry(1, BudgetScope::Tenant, amount)])
}

fn reserve(budgets: &Budgets, key: &KeyEntry, amount: i128, now: Timestamp) -> Result<Reservation, BudgetExceeded> {
    reserve_for(budgets, key, None, amount, now)
}

fn reserve_for(
    budgets: &Budgets,
    key: &KeyEntry,
    end_user: Option<&str>,
    amount: i128,
    now: Timestamp,
) -> Result<Reservation, BudgetExceeded> {
    let spender = Spender { key, model: "smart", end_user };
    match budgets.reserve(spender, Pico::new(amount), Currency::USD, now) {
        Ok(reservation) => Ok(reservation),
        Err(Refused::Exceeded(exceeded)) => Err(*exceeded),
        Err(Refused::Wait(wait)) => panic!("alone, and {wait:?}"),
    }
}

/// Spent and reserved.
fn state(budgets: &Budgets, budget: u128, subject: &str) -> (i128, i128) {
    let account = budgets.known(BudgetId::from_uuid(Uuid::from_u128(budget)), subject).unwrap();
    let state = account.state();
    (state.consumed, state.reserved)
}

#[test]
fn a_reservation_counts_until_it_is_settled_or_dropped_once() {
    let (budgets, key) = (Budgets::alone(NOON), of_tenant(100));
    let first = reserve(&budgets, &key, 60, NOON).unwrap();
    let second = reserve(&budgets, &key, 40, NOON).unwrap();
    assert_eq!(state(&budgets, 1, ""), (0, 100));
    let refused = reserve(&budgets, &key, 1, NOON).unwrap_err();
    assert_eq!((refused.limit, refused.used, refused.scope), (Pico::new(100), Pico::new(100), BudgetScope::Tenant));
    assert_eq!(refused.resets_at.unwrap().to_string(), "2026-11-30T23:00:00.000000Z");
    first.settle(Pico::new(5));
    assert_eq!(state(&budgets, 1, ""), (5, 40));
    drop(second);
    assert_eq!(state(&budgets, 1, ""), (5, 0));
    drop(reserve(&budgets, &key, 95, NOON).unwrap());
}

#[test]
fn nothing_is_admitted_against_a_budget_whose_spending_is_not_known() {
    let (budgets, key) = (Budgets::alone(NOON), of_tenant(100));
    budgets.forget();
    assert_eq!(reserve(&budgets, &key, 1, NOON).unwrap_err().reason, BudgetReason::Unknown);
    drop(reserve(&budgets, &self::key("UTC", Vec::new()), 1, NOON).unwrap());
    budgets.load(&key.tenant.budgets()[0], &key.tenant, "", Pico::new(99), NOON);
    budgets.loaded();
    assert_eq!(reserve(&budgets, &key, 2, NOON).unwrap_err().reason, BudgetReason::Exceeded);
    drop(reserve(&budgets, &key, 1, NOON).unwrap());
}

#[test]
fn a_settlement_above_the_reservation_is_booked_whole() {
    let (budgets, key) = (Budgets::alone(NOON), of_tenant(100));
    reserve(&budgets, &key, 10, NOON).unwrap().settle(Pico::new(150));
    assert_eq!(state(&budgets, 1, ""), (150, 0));
    assert_eq!(reserve(&budgets, &key, 0, NOON).unwrap_err().used, Pico::new(150));
}

#[test]
fn a_new_month_begins_at_zero_and_what_ends_late_belongs_to_the_old_one() {
    let (budgets, key) = (Budgets::alone(NOON), of_tenant(100));
    let late = reserve(&budgets, &key, 80, NOON).unwrap();
    let december = Timestamp::parse("2026-11-30T23:00:00Z").unwrap();
    assert!(reserve(&budgets, &key, 21, Timestamp::from_micros(december.micros() - 1)).is_err());
    let open = reserve(&budgets, &key, 100, december).unwrap();
    assert_eq!(late.draws().as_slice()[0].until, december);
    late.settle(Pico::new(80));
    assert_eq!(state(&budgets, 1, ""), (0, 100));
    drop(open);
}

/// Days of 23 and of 25 hours, and the end of a leap February, in the zones they are in.
#[test]
fn a_window_ends_at_the_tenants_midnight() {
    for (period, zone, now, since, until) in [
        (BudgetPeriod::Day, "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        (BudgetPeriod::Day, "Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        (BudgetPeriod::Day, "America/New_York", "2026-11-01T12:00:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"),
        (BudgetPeriod::Day, "Asia/Kolkata", "2026-11-10T18:29:59Z", "2026-11-09T18:30:00Z", "2026-11-10T18:30:00Z"),
        // Its clocks go forward at midnight: the day begins at one.
        (BudgetPeriod::Day, "Africa/Cairo", "2026-04-24T12:00:00Z", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"),
        (BudgetPeriod::Month, "UTC", "2028-02-29T23:59:59Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        (BudgetPeriod::Month, "Pacific/Auckland", "2026-11-30T10:59:59Z", "2026-10-31T11:00:00Z", "2026-11-30T11:00:00Z"),
        (BudgetPeriod::Month, "Pacific/Auckland", "2026-11-30T11:00:00Z", "2026-11-30T11:00:00Z", "2026-12-31T11:00:00Z"),
    ] {
        let mut budget = entry(1, BudgetScope::Tenant, 100);
        budget.settings.period = period;
        let at = |text| Timestamp::parse(text).unwrap();
        let (budgets, key) = (Budgets::alone(NOON), key(zone, vec![budget]));
        let held = reserve(&budgets, &key, 100, at(now)).unwrap();
        let draw = held.draws().as_slice()[0].clone();
        assert_eq!((draw.since, draw.until), (at(since), at(until)), "{period} in {zone} at {now}");
        // To the last microsecond it is the same window, and with the next a new one.
        let last = Timestamp::from_micros(draw.until.micros() - 1);
        assert!(reserve(&budgets, &key, 1, last).is_err());
        drop(reserve(&budgets, &key, 100, draw.until).unwrap());
    }
}

#[test]
fn a_budget_for_good_never_starts_anew() {
    let mut budget = entry(1, BudgetScope::Tenant, 100);
    budget.settings.period = BudgetPeriod::Total;
    let (budgets, key) = (Budgets::alone(NOON), key("UTC", vec![budget]));
    reserve(&budgets, &key, 100, NOON).unwrap().settle(Pico::new(100));
    let years_later = NOON.saturating_add(Duration::from_hours(24 * 4_000));
    let refused = reserve(&budgets, &key, 1, years_later).unwrap_err();
    assert_eq!((refused.used, refused.resets_at), (Pico::new(100), None));
}

#[test]
fn the_tightest_budget_decides_and_a_refusal_takes_nothing_from_the_others() {
    let project = ProjectId::from_uuid(Uuid::from_u128(9));
    let budgets_of = vec![
        entry(1, BudgetScope::Tenant, 100),
        entry(2, BudgetScope::Project { project_id: project }, 50),
        entry(3, BudgetScope::Model { model: "smart".into() }, 30),
        entry(4, BudgetScope::Model { model: "other".into() }, 1),
        entry(5, BudgetScope::EndUser { end_user: None }, 10),
        entry(6, BudgetScope::EndUser { end_user: Some("ann".into()) }, 5),
    ];
    let mut key = key("UTC", budgets_of);
    let in_project = ProjectEntry::named("web", project);
    key.terms = Some(Arc::new(KeyTerms { project: Some(Arc::new(in_project)), ..KeyTerms::default() }));
    let budgets = Budgets::alone(NOON);
    let scope = |refused: BudgetExceeded| refused.scope.as_str();
    assert_eq!(scope(reserve(&budgets, &key, 31, NOON).unwrap_err()), "model");
    assert_eq!(scope(reserve(&budgets, &key, 51, NOON).unwrap_err()), "project");
    assert_eq!(scope(reserve(&budgets, &key, 101, NOON).unwrap_err()), "tenant");
    assert_eq!(scope(reserve_for(&budgets, &key, Some("bob"), 11, NOON).unwrap_err()), "end_user");
    let ann = reserve_for(&budgets, &key, Some("ann"), 6, NOON).unwrap_err();
    assert_eq!((ann.scope.as_str(), ann.limit), ("end_user", Pico::new(5)));
    assert_eq!([1, 2, 3].map(|budget| state(&budgets, budget, "")), [(0, 0); 3]);
    let bob = reserve_for(&budgets, &key, Some("bob"), 10, NOON).unwrap();
    assert_eq!(bob.draws().as_slice().len(), 4);
    assert_eq!((state(&budgets, 1, ""), state(&budgets, 5, "bob")), ((0, 10), (0, 10)));
    // Each end user has as much as another.
    drop(reserve_for(&budgets, &key, Some("cid"), 10, NOON).unwrap());
    bob.settle(Pico::new(4));
    assert_eq!([1, 2, 3].map(|budget| state(&budgets, budget, "")), [(4, 0); 3]);
    assert_eq!(state(&budgets, 5, "bob"), (4, 0));
}

#[test]
fn a_soft_budget_counts_and_refuses_nothing() {
    let mut soft = entry(1, BudgetScope::Tenant, 10);
    soft.settings.mode = BudgetMode::Soft;
    let mut euro = entry(2, BudgetScope::Tenant, 10);
    (euro.settings.mode, euro.settings.currency) = (BudgetMode::Soft, "EUR".parse().unwrap());
    let (budgets, key) = (Budgets::alone(NOON), key("UTC", vec![soft, euro]));
    let held = reserve(&budgets, &key, 50, NOON).unwrap();
    assert_eq!(held.draws().as_slice().len(), 1, "what is in another currency does not count");
    held.settle(Pico::new(40));
    assert_eq!(state(&budgets, 1, ""), (40, 0));
}

#[test]
fn a_hard_budget_does_not_cover_another_currency() {
    let (budgets, key) = (Budgets::alone(NOON), of_tenant(10));
    let euro = "EUR".parse().unwrap();
    let spender = Spender { key: &key, model: "smart", end_user: None };
    let refused = budgets.reserve(spender, Pico::new(1), euro, NOON);
    assert!(matches!(refused, Err(Refused::Exceeded(exceeded)) if exceeded.reason == BudgetReason::OtherCurrency(euro)));
}

#[test]
fn a_changed_limit_holds_for_the_next_request() {
    let (budgets, before) = (Budgets::alone(NOON), of_tenant(100));
    reserve(&budgets, &before, 60, NOON).unwrap().settle(Pico::new(60));
    let lowered = of_tenant(50);
    assert_eq!(reserve(&budgets, &lowered, 1, NOON).unwrap_err().used, Pico::new(60));
    drop(reserve(&budgets, &of_tenant(61), 1, NOON).unwrap());
}

#[test]
fn threads_together_admit_exactly_what_the_budget_covers() {
    const LIMIT: i128 = 1_000;
    let (budgets, key) = (Budgets::alone(NOON), of_tenant(LIMIT));
    let admitted = std::thread::scope(|scope| {
        let work = || (0..500).filter(|_| reserve(&budgets, &key, 1, NOON).map(|r| r.settle(Pico::new(1))).is_ok()).count();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    assert_eq!(admitted as i128, LIMIT);
    assert_eq!(state(&budgets, 1, ""), (LIMIT, 0));
}

proptest! {
    #[test]
    fn whatever_the_order_nothing_is_lost_and_the_limit_holds_at_admission(
        steps in proptest::collection::vec((0..3_u8, 0..50_i128, any::<prop::sample::Index>()), 1..200),
    ) {
        const LIMIT: i128 = 300;
        let (budgets, key) = (Budgets::alone(NOON), of_tenant(LIMIT));
        let (mut open, mut spent) = (Vec::<Reservation>::new(), 0);
        for (step, amount, which) in steps {
            match step {
                0 => {
                    let held: i128 = open.iter().map(|r| r.amount().get()).sum();
                    match reserve(&budgets, &key, amount, NOON) {
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
                    reservation.settle(Pico::new(actual));
                }
                2 if !open.is_empty() => drop(open.swap_remove(which.index(open.len()))),
                _ => {}
            }
            let held: i128 = open.iter().map(|r| r.amount().get()).sum();
            if budgets.known(BudgetId::from_uuid(Uuid::from_u128(1)), "").is_some() {
                prop_assert_eq!(state(&budgets, 1, ""), (spent, held));
            }
        }
    }
}
