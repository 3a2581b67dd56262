//! Balances and vouchers on both engines.

use std::sync::Arc;
use std::time::Duration;

use tallygate_store::tenants::{self, TenantSettings};
use tallygate_store::testing::TestStore;
use tallygate_store::{BillingMode, BillingTerms, PageRequest, StoreError, TenantScope};
use tallygate_types::{BudgetId, Clock as _, Currency, Pico, TenantId};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::*;

/// Who would have the same voucher at once.
const RACERS: usize = 100;
const ALL: TenantScope = TenantScope::All;

macro_rules! on_both_engines {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test] async fn $name() { Box::pin(super::$name(super::TestStore::sqlite().await)).await; })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() {
                if let Some(store) = super::TestStore::postgres().await { Box::pin(super::$name(store)).await; }
            })*
        }
    };
}

on_both_engines! {
    a_reference_is_booked_once
    nothing_is_taken_out_that_is_spent
    the_balance_is_a_budget_of_the_snapshot
    a_voucher_is_redeemed_once_whoever_races
    a_voucher_says_why_it_is_not_redeemed
}

fn pico(text: &str) -> Pico {
    text.parse().unwrap()
}

async fn tenant(store: &TestStore, name: &str, mode: BillingMode) -> TenantId {
    let mut tx = store.begin().await.unwrap();
    let billing = BillingTerms { mode, ..BillingTerms::default() };
    let made = tenants::create(&mut tx, &TenantSettings { billing, ..TenantSettings::named(name) }).await.unwrap();
    tx.commit().await.unwrap();
    made.id
}

fn top_up<'a>(amount: &str, reference: &'a str) -> NewEntry<'a> {
    NewEntry { kind: EntryKind::TopUp, amount: pico(amount), currency: None, reference, note: None, booked_by: "test" }
}

fn adjustment<'a>(amount: &str, reference: &'a str) -> NewEntry<'a> {
    NewEntry { kind: EntryKind::Adjustment, ..top_up(amount, reference) }
}

async fn booked(store: &TestStore, tenant: TenantId, new: &NewEntry<'_>) -> Result<Booked, BookError> {
    let mut tx = store.begin().await.unwrap();
    let booked = book(&mut tx, ALL, tenant, new).await?;
    tx.commit().await.unwrap();
    Ok(booked)
}

/// As if so much had been spent of the balance.
async fn spend(store: &TestStore, tenant: TenantId, units: i64) {
    let mut tx = store.begin().await.unwrap();
    tallygate_store::query!(&mut tx, |conn| {
        sqlx::query(
            "INSERT INTO budget_windows (budget_id, subject, period, since, currency, until, spent_units)
             VALUES ($1, '', 'total', $2, 'USD', $3, $4)",
        )
        .bind(BudgetId::of_balance(tenant).uuid())
        .bind(tallygate_store::DbTime(tallygate_types::Timestamp::UNIX_EPOCH))
        .bind(tallygate_store::DbTime(tallygate_types::Timestamp::from_micros(i64::MAX)))
        .bind(units)
        .execute(conn)
        .await
        .map(|_| ())
    })
    .unwrap()
    .unwrap();
    tx.commit().await.unwrap();
}

async fn a_reference_is_booked_once(store: TestStore) {
    let (acme, beta) = (tenant(&store, "acme", BillingMode::Prepaid).await, tenant(&store, "beta", BillingMode::Postpaid).await);
    let first = booked(&store, acme, &top_up("25.5", "order-1")).await.unwrap();
    assert!(first.is_new);
    assert_eq!((first.entry.amount, first.entry.kind, first.entry.currency), (pico("25.5"), EntryKind::TopUp, Currency::USD));
    let version = store.config_version().await.unwrap();
    let again = booked(&store, acme, &top_up("25.50", "order-1")).await.unwrap();
    assert_eq!(again, Booked { is_new: false, ..first.clone() });
    assert_eq!(store.config_version().await.unwrap(), version, "nothing changed");
    let other = booked(&store, acme, &top_up("26", "order-1")).await.unwrap_err();
    assert!(matches!(other, BookError::Store(StoreError::AlreadyExists { field: "reference", .. })), "{other}");
    // Another tenant's order of that name is another.
    assert!(booked(&store, beta, &top_up("1", "order-1")).await.unwrap().is_new);

    for (wrong, field) in [
        (top_up("0", "x"), "amount"),
        (top_up("-1", "x"), "amount"),
        (top_up("100000000.01", "x"), "amount"),
        (top_up("1", ""), "reference"),
        (top_up("1", " x"), "reference"),
        (NewEntry { currency: Some("EUR".parse().unwrap()), ..top_up("1", "x") }, "currency"),
        (NewEntry { note: Some("two\nlines"), ..top_up("1", "x") }, "note"),
    ] {
        let refused = booked(&store, acme, &wrong).await.unwrap_err();
        assert!(matches!(&refused, BookError::Store(StoreError::Invalid { field: at, .. }) if *at == field), "{refused}");
    }
    let none = booked(&store, TenantId::generate(), &top_up("1", "x")).await.unwrap_err();
    assert!(matches!(none, BookError::Store(StoreError::NotFound { .. })));
    let mut tx = store.begin().await.unwrap();
    let foreign = book(&mut tx, TenantScope::Only(beta), acme, &top_up("1", "x")).await.unwrap_err();
    assert!(matches!(foreign, BookError::Store(StoreError::NotFound { .. })));
    drop(tx);

    // Many at once, of one reference.
    let (store, barrier) = (Arc::new(store), Arc::new(Barrier::new(8)));
    let mut racers = JoinSet::new();
    for _ in 0..8 {
        let (store, barrier) = (Arc::clone(&store), Arc::clone(&barrier));
        racers.spawn(async move {
            barrier.wait().await;
            booked(&store, acme, &top_up("1", "raced")).await.unwrap().is_new
        });
    }
    assert_eq!(racers.join_all().await.into_iter().filter(|is_new| *is_new).count(), 1);
    assert_eq!(standing(&store, ALL, acme).await.unwrap().amount, pico("26.5"));
    let listed = list(&store, ALL, acme, &PageRequest::first(1)).await.unwrap();
    assert_eq!((listed.data[0].reference.as_str(), listed.next.is_some()), ("raced", true));
    let next = list(&store, ALL, acme, &PageRequest { after: listed.next, limit: Some(5) }).await.unwrap();
    assert_eq!((next.data, next.next), (vec![first.entry], None));
}

async fn nothing_is_taken_out_that_is_spent(store: TestStore) {
    let acme = tenant(&store, "acme", BillingMode::Prepaid).await;
    booked(&store, acme, &top_up("10", "order-1")).await.unwrap();
    spend(&store, acme, 4).await;
    let refused = booked(&store, acme, &adjustment("-6.000000000001", "back")).await.unwrap_err();
    let BookError::BelowSpent { left, held, .. } = refused else { panic!("{refused}") };
    assert_eq!((left, held), (pico("6"), Pico::ZERO));
    booked(&store, acme, &adjustment("-6", "back")).await.unwrap();
    let now = standing(&store, ALL, acme).await.unwrap();
    assert_eq!((now.amount, now.spent, now.remaining()), (pico("4"), pico("4"), Pico::ZERO));
    assert!(booked(&store, acme, &adjustment("-0.01", "more")).await.is_err());
    booked(&store, acme, &adjustment("0.01", "up")).await.unwrap();
    assert_eq!(standing(&store, ALL, acme).await.unwrap().remaining(), pico("0.01"));
}

async fn the_balance_is_a_budget_of_the_snapshot(store: TestStore) {
    let (acme, beta) = (tenant(&store, "acme", BillingMode::Prepaid).await, tenant(&store, "beta", BillingMode::Postpaid).await);
    let before = store.snapshot().await.unwrap();
    let nothing = &before.tenants[&acme].budgets()[0];
    assert_eq!(
        (nothing.id, nothing.settings.amount),
        (BudgetId::of_balance(acme), Pico::ZERO),
        "nothing paid in, nothing to spend"
    );
    booked(&store, acme, &top_up("0.000000000001", "a")).await.unwrap();
    booked(&store, acme, &top_up("2.999999999999", "b")).await.unwrap();
    booked(&store, acme, &adjustment("-0.5", "c")).await.unwrap();
    booked(&store, beta, &top_up("5", "a")).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    assert!(snapshot.version > before.version, "every process hears of it");
    let balance = &snapshot.tenants[&acme].budgets()[0];
    assert_eq!((balance.settings.amount, balance.balance.unwrap().entries), (pico("2.5"), 3));
    assert!(snapshot.tenants[&acme].own_budget().is_none());
    assert!(snapshot.tenants[&beta].budgets().is_empty(), "who is billed afterwards spends from no balance");

    // The money stays of its currency, and its tenant stays.
    let mut tx = store.begin().await.unwrap();
    let stored = tenants::get(&mut tx, ALL, acme).await.unwrap();
    let mut settings = stored.settings();
    settings.billing.currency = "EUR".parse().unwrap();
    assert!(matches!(
        tenants::update(&mut tx, acme, stored.version, &settings).await,
        Err(StoreError::Invalid { field: "billing.currency", .. })
    ));
    assert!(matches!(tenants::delete(&mut tx, acme, stored.version).await, Err(StoreError::InUse { .. })));
}

async fn minted(store: &TestStore, count: u32, tenant: Option<TenantId>, currency: Currency) -> Vec<(Voucher, VoucherCode)> {
    let expires_at = store.clock.now().saturating_add(Duration::from_hours(1));
    let new = NewVouchers { amount: pico("5"), currency, count, expires_at, tenant, note: Some("fair"), created_by: "test" };
    let mut tx = store.begin().await.unwrap();
    let minted = mint(&mut tx, &store.digester(), &new).await.unwrap();
    tx.commit().await.unwrap();
    minted
}

async fn redeemed(store: &TestStore, tenant: TenantId, code: &str) -> Result<Booked, NotRedeemed> {
    let mut tx = store.begin().await.unwrap();
    let code = VoucherCode::parse(code).unwrap();
    let (_, booked) = redeem(&mut tx, &store.digester(), ALL, tenant, &code, "test").await?;
    tx.commit().await.unwrap();
    Ok(booked)
}

async fn a_voucher_is_redeemed_once_whoever_races(store: TestStore) {
    let tenants = [tenant(&store, "acme", BillingMode::Prepaid).await, tenant(&store, "beta", BillingMode::Prepaid).await];
    let (voucher, code) = minted(&store, 1, None, Currency::USD).await.remove(0);
    let (store, barrier) = (Arc::new(store), Arc::new(Barrier::new(RACERS)));
    let mut racers = JoinSet::new();
    for n in 0..RACERS {
        let (store, barrier, code) = (Arc::clone(&store), Arc::clone(&barrier), code.expose());
        racers.spawn(async move {
            barrier.wait().await;
            redeemed(&store, tenants[n % 2], &code).await
        });
    }
    let mut won = Vec::new();
    for result in racers.join_all().await {
        match result {
            Ok(booked) => won.push(booked.entry),
            Err(lost) => assert!(matches!(lost, NotRedeemed::Redeemed), "{lost}"),
        }
    }
    assert_eq!(won.len(), 1);
    assert_eq!(
        (won[0].amount, won[0].kind, &won[0].reference),
        (pico("5"), EntryKind::Voucher, &format!("voucher:{}", voucher.id))
    );
    let mut sum = Pico::ZERO;
    for tenant in tenants {
        sum = sum.checked_add(standing(&store, ALL, tenant).await.unwrap().amount).unwrap();
    }
    assert_eq!(sum, pico("5"), "once, for one of them");
    let read = get(&store.shared(), voucher.id).await.unwrap();
    assert_eq!((read.state(store.clock.now()), read.redeemed_by), (VoucherState::Redeemed, Some(won[0].tenant_id)));
    let mut tx = store.begin().await.unwrap();
    assert!(matches!(revoke(&mut tx, voucher.id).await, Err(StoreError::InUse { .. })), "it is money already");
}

async fn a_voucher_says_why_it_is_not_redeemed(store: TestStore) {
    let (acme, beta) = (tenant(&store, "acme", BillingMode::Prepaid).await, tenant(&store, "beta", BillingMode::Prepaid).await);
    let vouchers = minted(&store, 3, None, Currency::USD).await;
    let codes: std::collections::HashSet<_> = vouchers.iter().map(|(_, code)| code.expose()).collect();
    assert_eq!(codes.len(), 3);
    let (of_beta, in_euro) =
        (minted(&store, 1, Some(beta), Currency::USD).await, minted(&store, 1, None, "EUR".parse().unwrap()).await);
    let code = |(_, code): &(Voucher, VoucherCode)| code.expose();
    assert!(matches!(redeemed(&store, acme, &code(&of_beta[0])).await, Err(NotRedeemed::Unknown)));
    assert!(matches!(redeemed(&store, acme, &code(&in_euro[0])).await, Err(NotRedeemed::OtherCurrency { .. })));
    assert!(matches!(redeemed(&store, acme, &VoucherCode::mint().unwrap().expose()).await, Err(NotRedeemed::Unknown)));
    let mut tx = store.begin().await.unwrap();
    assert_eq!(revoke(&mut tx, vouchers[0].0.id).await.unwrap().state(store.clock.now()), VoucherState::Revoked);
    tx.commit().await.unwrap();
    assert!(matches!(redeemed(&store, acme, &code(&vouchers[0])).await, Err(NotRedeemed::Revoked)));
    assert!(redeemed(&store, beta, &code(&of_beta[0])).await.unwrap().is_new);
    store.clock.advance(Duration::from_hours(1));
    assert!(matches!(redeemed(&store, acme, &code(&vouchers[1])).await, Err(NotRedeemed::Expired)));
    assert_eq!(standing(&store, ALL, acme).await.unwrap().amount, Pico::ZERO);

    let now = store.clock.now();
    for (state, count) in
        [(VoucherState::Open, 0), (VoucherState::Redeemed, 1), (VoucherState::Revoked, 1), (VoucherState::Expired, 3)]
    {
        let filter = VoucherFilter { state: Some(state), tenant: None };
        let page = list_vouchers(&store.shared(), filter, now, &PageRequest::first(10)).await.unwrap();
        assert_eq!(page.data.len(), count, "{state:?}");
        assert!(page.data.iter().all(|voucher| voucher.state(now) == state));
    }
    let of_beta = VoucherFilter { state: None, tenant: Some(beta) };
    assert_eq!(list_vouchers(&store.shared(), of_beta, now, &PageRequest::first(10)).await.unwrap().data.len(), 1);

    // What cannot be minted.
    let good = NewVouchers {
        amount: pico("5"),
        currency: Currency::USD,
        count: 1,
        expires_at: now.saturating_add(Duration::from_secs(1)),
        tenant: None,
        note: None,
        created_by: "test",
    };
    let mut tx = store.begin().await.unwrap();
    for (wrong, field) in [
        (NewVouchers { amount: Pico::ZERO, ..good }, "amount"),
        (NewVouchers { amount: pico("1000000.01"), ..good }, "amount"),
        (NewVouchers { count: 0, ..good }, "count"),
        (NewVouchers { count: MAX_VOUCHERS_AT_ONCE + 1, ..good }, "count"),
        (NewVouchers { expires_at: now, ..good }, "expires_at"),
        (NewVouchers { tenant: Some(acme), currency: "EUR".parse().unwrap(), ..good }, "currency"),
    ] {
        let refused = mint(&mut tx, &store.digester(), &wrong).await.unwrap_err();
        assert!(matches!(&refused, StoreError::Invalid { field: at, .. } if *at == field), "{refused}");
    }
}
