//! What needs a database, on both engines.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tallygate_store::tenants::{self, TenantSettings};
use tallygate_store::testing::TestStore;
use tallygate_store::{Cursor, Db, Engine, PageRequest, Store, StoreError, TenantScope, keys, query};
use tallygate_types::{Clock as _, Currency, ModelId, Pico, TenantId, Timestamp, UnitPrice, Usage, UsageClass};
use uuid::Uuid;

use crate::audit::{self, Actor, AuditEvent, AuditFilter, Verification};
use crate::prices::{self, NewPrice};
use crate::record::{Outcome, UsageRecord, UsageSource};
use crate::refusals::{MAX_RECORDS_OF_TENANT, RefusedBy};
use crate::usage::{self, Bucket, GroupBy, SumFilter, UsageFilter};
use crate::{ClassPrices, Journal, JournalConfig, PriceBook, PriceVersion, ShipError, Shipper, bills, testing};

const DEADLINE: Duration = Duration::from_secs(20);

/// Runs a test on SQLite, and on PostgreSQL where there is one.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod sqlite { $(#[tokio::test] async fn $name() { super::$name(super::TestStore::sqlite().await).await; })* }
        mod postgres { $(#[tokio::test] async fn $name() {
            if let Some(store) = super::TestStore::postgres().await { super::$name(store).await; }
        })* }
    };
}

on_both! {
    every_call_is_written_once_however_often_it_is_shipped
    a_keys_last_use_is_noted_once_a_minute
    a_record_shipped_again_with_other_figures_is_an_alarm_and_the_first_stays
    a_new_process_goes_on_where_the_last_one_stopped
    with_the_database_away_nothing_is_lost
    a_database_that_takes_no_writes_is_waited_for
    a_database_that_does_not_answer_is_asked_again
    what_the_database_refuses_for_good_does_not_hold_up_the_rest
    text_with_nul_is_taken
    rollups_are_the_sum_of_the_records
    what_hardly_any_call_has_is_kept_where_one_has_it
    calls_of_many_kinds_in_a_batch_are_each_kept_whole
    a_bill_is_the_sum_of_its_records_to_the_pico
    a_bill_reads_as_csv
    calls_are_listed_by_page_and_filter
    a_refused_request_is_found_with_what_refused_it
    a_call_shows_how_its_charge_came_about
    a_series_has_a_point_for_each_day_of_the_zone
    prices_are_only_ever_added
    audit_events_are_listed_and_chained
}

struct Rig {
    store: TestStore,
    journal: Arc<Journal>,
    shipper: Arc<Shipper>,
    folder: tempfile::TempDir,
}

fn rig(store: TestStore) -> Rig {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), JournalConfig::default()).unwrap();
    let shipper = Shipper::new(store.shared(), Arc::clone(&journal));
    Rig { store, journal, shipper, folder }
}

impl Rig {
    async fn ship(&self, records: &[UsageRecord]) {
        for record in records {
            self.journal.end(record).unwrap();
        }
        self.shipper.flush(DEADLINE).await.unwrap();
    }
}

fn november() -> SumFilter {
    SumFilter {
        from: Timestamp::parse("2026-11-01T00:00:00Z").unwrap(),
        to: Timestamp::parse("2026-12-01T00:00:00Z").unwrap(),
        tenant: None,
        key: None,
        model: None,
        upstream: None,
    }
}

fn total(records: &[UsageRecord]) -> Pico {
    records.iter().fold(Pico::ZERO, |sum, record| sum.checked_add(record.charge).unwrap())
}

/// Counts requests and money in the rollups.
async fn rollup(store: &Store) -> (u64, Pico) {
    let sums = usage::totals(store, TenantScope::All, &november(), None).await.unwrap();
    (sums[0].requests, sums[0].charge.get("USD").copied().unwrap_or_default())
}

async fn rows(store: &Store) -> i64 {
    query!(store, |conn| sqlx::query_scalar("SELECT count(*) FROM usage_records").fetch_one(conn).await).unwrap().unwrap()
}

async fn every_call_is_written_once_however_often_it_is_shipped(store: TestStore) {
    let rig = rig(store);
    let records: Vec<_> = (0..137).map(testing::record).collect();
    rig.ship(&records).await;
    assert_eq!(rows(&rig.store).await, 137);
    assert_eq!(rollup(&rig.store).await, (137, total(&records)));
    // The same calls from another journal, and some of them twice in a batch.
    let again = self::rig(rig.store);
    again.ship(&records).await;
    again.ship(&records[..9]).await;
    again.ship(&[testing::record(500), testing::record(500)]).await;
    let metrics = again.shipper.metrics();
    assert_eq!((metrics.shipped_total, metrics.duplicates_total, metrics.conflicts_total), (1, 137 + 9 + 1, 0));
    assert_eq!((metrics.depth, metrics.oldest_unshipped_at), (0, None));
    assert_eq!(rows(&again.store).await, 138);
    assert_eq!(rollup(&again.store).await.0, 138);
}

async fn a_refused_request_is_found_with_what_refused_it(store: TestStore) {
    let rig = rig(store);
    let served = testing::record(0);
    let refused = UsageRecord {
        attempt: 0,
        outcome: Outcome::RateLimited,
        status: 429,
        price: None,
        currency: None,
        charge: Pico::ZERO,
        usage: Usage::default(),
        usage_source: UsageSource::None,
        attempts: Vec::new(),
        ..testing::record(1)
    };
    let by = RefusedBy {
        scope: Some("key".into()),
        subject: Some("ci".to_owned()),
        dimension: Some("requests".into()),
        limit: Some("60".to_owned()),
        used: Some("60".to_owned()),
        resets_at: Some(testing::NOON),
        ..RefusedBy::new("rate_limit_exceeded", "Rate limit reached.")
    };
    for _ in 0..MAX_RECORDS_OF_TENANT + 3 {
        rig.shipper.refusals().note(refused.clone(), by.clone());
    }
    rig.ship(std::slice::from_ref(&served)).await;
    let read = usage::get(&rig.store.shared(), TenantScope::All, refused.request_id).await.unwrap().record;
    // All are one request here, and the last that was written is the one with the count.
    assert_eq!((read.status, read.refused_by), (429, Some(RefusedBy { more: 3, ..by })));
    assert_eq!(usage::get(&rig.store.shared(), TenantScope::All, served.request_id).await.unwrap().record.refused_by, None);
    let filter = UsageFilter { refused_only: true, ..UsageFilter::default() };
    let found = usage::list(&rig.store.shared(), TenantScope::All, &filter, &PageRequest::first(10)).await.unwrap();
    assert_eq!(found.data.iter().map(|call| call.request_id).collect::<Vec<_>>(), [refused.request_id]);
    assert_eq!((rows(&rig.store).await, rig.shipper.metrics().depth), (2, 0));
}

async fn a_keys_last_use_is_noted_once_a_minute(store: TestStore) {
    let rig = rig(store);
    let mut tx = rig.store.begin().await.unwrap();
    let tenant_id = tenants::create(&mut tx, &TenantSettings::named("acme")).await.unwrap().id;
    let new = keys::NewKey { tenant_id, settings: keys::KeySettings::named("ci"), declared: None, created_by: None };
    let (key, _) = keys::create(&mut tx, &new).await.unwrap();
    tx.commit().await.unwrap();
    let used_at = |seconds: u64| testing::NOON.saturating_add(Duration::from_secs(seconds));
    // Each at its own second: record n was accepted n seconds after noon.
    for (batch, noted) in [(&[5, 3][..], 5), (&[64], 5), (&[65, 70], 70), (&[10], 70)] {
        let records: Vec<_> = batch.iter().map(|n| UsageRecord { key_id: key.id, ..testing::record(*n) }).collect();
        rig.ship(&records).await;
        let read = keys::get(&rig.store.shared(), TenantScope::All, key.id).await.unwrap();
        assert_eq!(read.last_used_at, Some(used_at(noted)), "{batch:?}");
        assert_eq!(read.version, key.version, "it is no change of the key");
    }
}

async fn a_record_shipped_again_with_other_figures_is_an_alarm_and_the_first_stays(store: TestStore) {
    let rig = rig(store);
    let first = testing::record(1);
    rig.ship(std::slice::from_ref(&first)).await;
    rig.ship(&[UsageRecord { charge: Pico::new(7), ..first.clone() }]).await;
    assert_eq!((rig.shipper.metrics().conflicts_total, rig.shipper.metrics().duplicates_total), (1, 0));
    assert_eq!(rollup(&rig.store).await, (1, first.charge));
}

async fn a_new_process_goes_on_where_the_last_one_stopped(store: TestStore) {
    let rig = rig(store);
    let records: Vec<_> = (0..30).map(testing::record).collect();
    rig.ship(&records[..20]).await;
    for record in &records[20..] {
        rig.journal.end(record).unwrap();
    }
    let Rig { store, journal, shipper, folder } = rig;
    drop((journal, shipper));
    let (journal, recovery) = Journal::open(folder.path(), JournalConfig::default()).unwrap();
    assert_eq!((recovery.finished, journal.pending()), (30, 30));
    let shipper = Shipper::new(store.shared(), Arc::clone(&journal));
    shipper.flush(DEADLINE).await.unwrap();
    let metrics = shipper.metrics();
    // Not even offered again: the watermark says where to go on.
    assert_eq!((metrics.shipped_total, metrics.duplicates_total, metrics.depth), (10, 0, 0));
    assert_eq!(rollup(&store).await, (30, total(&records)));
}

async fn with_the_database_away_nothing_is_lost(store: TestStore) {
    let rig = rig(store);
    let records: Vec<_> = (0..12).map(testing::record).collect();
    rig.ship(&records[..5]).await;
    rig.store.close().await;
    for record in &records[5..] {
        rig.journal.end(record).unwrap();
    }
    assert!(rig.shipper.flush(Duration::from_millis(250)).await.is_err());
    assert!(rig.shipper.metrics().failures_total > 0);
    assert_eq!((rig.shipper.metrics().depth, rig.shipper.metrics().oldest_unshipped_at), (7, Some(records[5].finished_at)));
    let Rig { store, journal, shipper, folder: _folder } = rig;
    drop(shipper);
    let clock = Arc::clone(&store.clock);
    let reopened = match Store::open(&store.url, tallygate_store::testing::test_secrets(), clock).await {
        Ok(store) => store,
        // On SQLite the first store keeps the file's lock, and its folder, to the end of the test.
        Err(StoreError::Locked { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    let shipper = Shipper::new(Arc::clone(&reopened), journal);
    shipper.flush(DEADLINE).await.unwrap();
    assert_eq!(rollup(&reopened).await, (12, total(&records)));
}

/// Makes the database read-only, or writable again, for every connection of the store.
async fn set_read_only(store: &Store, is_read_only: bool) {
    match store.db() {
        Db::Lite { write, .. } => {
            let sql = if is_read_only { "PRAGMA query_only = ON" } else { "PRAGMA query_only = OFF" };
            sqlx::raw_sql(sql).execute(write).await.unwrap();
        }
        Db::Pg(pool) => {
            let value = if is_read_only { "on" } else { "off" };
            let alter = format!(
                "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = {value}', current_database());
                 END $$"
            );
            // A setting of the database is taken by new connections: the old ones go.
            let end_others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                              WHERE datname = current_database() AND pid <> pg_backend_pid()";
            let mut connection = pool.acquire().await.unwrap().detach();
            for sql in ["SET default_transaction_read_only = off", &alter, end_others] {
                sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
            }
            sqlx::Connection::close(connection).await.unwrap();
        }
    }
}

async fn a_database_that_takes_no_writes_is_waited_for(store: TestStore) {
    let rig = rig(store);
    let records: Vec<_> = (0..12).map(testing::record).collect();
    rig.ship(&records[..5]).await;
    set_read_only(&rig.store, true).await;
    for record in &records[5..] {
        rig.journal.end(record).unwrap();
    }
    assert!(matches!(rig.shipper.flush(Duration::from_millis(500)).await, Err(ShipError::Store(_) | ShipError::Deadline { .. })));
    let metrics = rig.shipper.metrics();
    assert_eq!((metrics.shipped_total, metrics.rejected_total, metrics.depth), (5, 0, 7));
    assert!(!rig.folder.path().join("quarantine").exists());
    set_read_only(&rig.store, false).await;
    rig.shipper.flush(DEADLINE).await.unwrap();
    let metrics = rig.shipper.metrics();
    assert_eq!((metrics.shipped_total, metrics.rejected_total, metrics.depth), (12, 0, 0));
    assert_eq!(rollup(&rig.store).await, (12, total(&records)));
}

async fn a_database_that_does_not_answer_is_asked_again(store: TestStore) {
    let rig = rig(store);
    let shipper = Shipper::with_answer_deadline(rig.store.shared(), Arc::clone(&rig.journal), Duration::from_millis(100));
    let records: Vec<_> = (0..12).map(testing::record).collect();
    for record in &records {
        rig.journal.end(record).unwrap();
    }
    // Another transaction is in the way: on SQLite any is, on PostgreSQL one with a lock.
    let mut in_the_way = rig.store.begin().await.unwrap();
    if in_the_way.engine() == Engine::Postgres {
        query!(&mut in_the_way, |conn| sqlx::raw_sql("LOCK TABLE usage_records").execute(conn).await.map(|_| ()))
            .unwrap()
            .unwrap();
    }
    assert!(shipper.flush(Duration::from_secs(1)).await.is_err());
    // Given up and tried again, not held until the end.
    let metrics = shipper.metrics();
    assert!(metrics.failures_total > 0, "{metrics:?}");
    assert_eq!((metrics.shipped_total, metrics.rejected_total, metrics.depth), (0, 0, 12));
    drop(in_the_way);
    rig.shipper.flush(DEADLINE).await.unwrap();
    assert_eq!(rollup(&rig.store).await, (12, total(&records)));
}

async fn what_the_database_refuses_for_good_does_not_hold_up_the_rest(store: TestStore) {
    let rig = rig(store);
    let mut records: Vec<_> = (0..5).map(testing::record).collect();
    records[2].charge = Pico::new(i128::from(i64::MAX) + 1);
    rig.ship(&records).await;
    let metrics = rig.shipper.metrics();
    assert_eq!((metrics.shipped_total, metrics.rejected_total, metrics.depth), (4, 1, 0));
    let copy = rig.folder.path().join(format!("quarantine/{}-1.json", records[2].request_id));
    let kept: UsageRecord = serde_json::from_slice(&std::fs::read(copy).unwrap()).unwrap();
    assert_eq!(kept, records[2]);
}

async fn text_with_nul_is_taken(store: TestStore) {
    let rig = rig(store);
    let mut record = testing::record(1);
    record.end_user = Some("a\0b".into());
    record.raw_usage = Some("\0".into());
    record.attempts[0].reason = Some("x\0".into());
    rig.ship(&[record.clone()]).await;
    let stored = usage::get(&*rig.store, TenantScope::All, record.request_id).await.unwrap().record;
    assert_eq!(stored.end_user.as_deref(), Some("a\u{FFFD}b"));
    assert_eq!(stored.attempts[0].reason.as_deref(), Some("x\u{FFFD}"));
}

async fn rollups_are_the_sum_of_the_records(store: TestStore) {
    let rig = rig(store);
    let mut records: Vec<_> = (0..40).map(testing::record).collect();
    for (n, record) in records.iter_mut().enumerate() {
        // Over several hours; some refused, some of models nobody serves.
        record.accepted_at = record.accepted_at.saturating_add(Duration::from_secs(n as u64 * 1_000));
        record.finished_at = record.accepted_at.saturating_add(Duration::from_millis(900));
        record.first_byte_at = Some(record.accepted_at.saturating_add(Duration::from_millis(200)));
        if n % 4 == 0 {
            record.outcome = Outcome::UpstreamError;
        }
        if n % 10 == 0 {
            record.model_id = None;
            record.model = format!("made-up-{n}").into();
            record.outcome = Outcome::ClientError;
            (record.price, record.charge, record.usage) = (None, Pico::ZERO, Usage::default());
        }
    }
    rig.ship(&records).await;
    let totals = usage::totals(&*rig.store, TenantScope::All, &november(), Some(GroupBy::Model)).await.unwrap();
    let named: Vec<_> = totals.iter().map(|sum| (sum.group.as_deref().unwrap(), sum.requests, sum.errors)).collect();
    assert_eq!(named, [("smart", 36, 8), ("", 4, 4)]);
    let usage = records.iter().fold(Usage::default(), |sum, record| sum.checked_add(&record.usage).unwrap());
    assert_eq!((totals[0].usage, totals[0].charge["USD"]), (usage, total(&records)));
    assert_eq!((totals[0].duration_us, totals[0].first_byte_us), (36 * 900_000, 36 * 200_000));
    assert_eq!(totals[0].overhead_us, 36 * 120);
    assert_eq!(rig.shipper.metrics().unexplained_total, 0);
}

async fn what_hardly_any_call_has_is_kept_where_one_has_it(store: TestStore) {
    let rig = rig(store);
    let plain = |n| UsageRecord { trace_id: None, route: None, arm: None, ..testing::record(n) };
    let [first, second, third] = [1, 3, 4].map(plain);
    let mut full = testing::record(2);
    full.usage = UsageClass::ALL.into_iter().zip(1..).fold(Usage::default(), |usage, (class, n)| usage.with(class, n));
    full.charge = Pico::ZERO;
    full.cache_saved = Pico::new(-7);
    full.error_code = Some("x".into());
    full.loss = Some("tools".into());
    full.trace_id = Some("t".into());
    (full.route, full.arm) = (Some("beta".into()), Some("a".into()));
    // Alone, beside one that has it, and after it.
    for batch in [&[first.clone()][..], &[second.clone(), full.clone()], std::slice::from_ref(&third)] {
        rig.ship(batch).await;
    }
    let get = async |record: &UsageRecord| usage::get(&*rig.store, TenantScope::All, record.request_id).await.unwrap().record;
    let (stored, other) = (get(&full).await, get(&first).await);
    assert_eq!((stored.usage, stored.cache_saved), (full.usage, full.cache_saved));
    assert_eq!(
        [&stored.error_code, &stored.loss, &stored.trace_id].map(|text| text.as_deref()),
        [Some("x"), Some("tools"), Some("t")]
    );
    assert_eq!([&stored.route, &stored.arm].map(|text| text.as_deref()), [Some("beta"), Some("a")]);
    assert_eq!((other.usage, other.cache_saved), (first.usage, Pico::ZERO));
    assert_eq!([&other.error_code, &other.loss, &other.trace_id, &other.route, &other.arm].map(Option::is_some), [false; 5]);
    let sums = usage::totals(&*rig.store, TenantScope::All, &november(), None).await.unwrap();
    let usage =
        [first, second, third, full.clone()].iter().fold(Usage::default(), |sum, record| sum.checked_add(&record.usage).unwrap());
    assert_eq!((sums[0].requests, sums[0].usage, sums[0].cache_saved["USD"]), (4, usage, full.cache_saved));
}

async fn calls_of_many_kinds_in_a_batch_are_each_kept_whole(store: TestStore) {
    let rig = rig(store);
    // Kinds change from call to call, and come back; so does what there is to say of each.
    let some = |n: u32, every: u32| n.is_multiple_of(every).then(|| format!("{every}"));
    let records: Vec<_> = (0..330_u32)
        .map(|n| {
            let plain = UsageRecord {
                tenant_id: TenantId::from_uuid(Uuid::from_u128(u128::from(n % 7))),
                status: 200 + (n % 3) as u16,
                stream: n.is_multiple_of(2),
                model: format!("model {}", n % 11).into(),
                returned_model: some(n, 5),
                upstream: some(n, 13).map(Into::into),
                finish_reason: some(n, 17).map(Into::into),
                route: some(n, 19).map(Into::into),
                end_user: some(n, 4),
                trace_id: some(n, 6),
                loss: some(n, 31),
                cache_saved: Pico::new(i128::from(n % 3)),
                ..testing::record(n)
            };
            match n % 29 {
                0 => UsageRecord { price: None, currency: None, charge: Pico::ZERO, credential_id: None, ..plain },
                1 => UsageRecord { usage: plain.usage.with(UsageClass::InputAudio, 7), charge: Pico::new(1), ..plain },
                2 => UsageRecord { first_byte_at: None, raw_usage: None, attempts: Vec::new(), attempt: 0, ..plain },
                _ => plain,
            }
        })
        .collect();
    rig.ship(&records).await;
    for record in &records {
        let stored = usage::get(&*rig.store, TenantScope::All, record.request_id).await.unwrap().record;
        assert_eq!(stored.prices, record.price.as_ref().map(|price| price.prices));
        assert_eq!(stored.price_version_id, record.price.as_ref().map(|price| price.id));
        let serde_json::Value::Object(mut stored) = json!(stored) else { unreachable!() };
        let written = json!(record);
        stored.retain(|name, _| !matches!(&**name, "prices" | "price_version_id"));
        for (name, value) in stored {
            assert_eq!(value, written.get(&name).cloned().unwrap_or_default(), "{name} of {}", record.request_id);
        }
    }
    let sums = usage::totals(&*rig.store, TenantScope::All, &november(), None).await.unwrap();
    let usage = records.iter().fold(Usage::default(), |sum, record| sum.checked_add(&record.usage).unwrap());
    let (requests, sum) = sums
        .iter()
        .fold((0, Usage::default()), |(requests, usage), of| (requests + of.requests, usage.checked_add(&of.usage).unwrap()));
    assert_eq!((requests, sum), (330, usage));
    let charged = sums.iter().map(|sum| sum.charge.get("USD").map_or(0, |charge| charge.get())).sum::<i128>();
    assert_eq!(charged, total(&records).get());
    assert_eq!(rig.shipper.metrics().unexplained_total, records.iter().filter(|r| r.charge == Pico::new(1)).count() as u64);
}

/// A tenant of that zone, and the price of the tests in the database.
async fn tenant_in(store: &Store, zone: &str) -> (TenantId, Arc<PriceVersion>) {
    let mut tx = store.begin().await.unwrap();
    let settings = TenantSettings { time_zone: zone.into(), ..TenantSettings::named("=acme") };
    let tenant = tenants::create(&mut tx, &settings).await.unwrap();
    let price = testing::price();
    let new = NewPrice {
        model_id: price.model_id,
        currency: price.currency,
        valid_from: price.valid_from,
        prices: price.prices,
        source: None,
        created_by: "test".into(),
    };
    let version = prices::create(&mut tx, new).await.unwrap();
    tx.commit().await.unwrap();
    (tenant.id, Arc::new(version))
}

async fn a_bill_is_the_sum_of_its_records_to_the_pico(store: TestStore) {
    let rig = rig(store);
    // Five and a half hours before UTC, so that the month begins in the middle of an hour of the rollups.
    let (tenant, price) = tenant_in(&rig.store, "Asia/Kolkata").await;
    let start = Timestamp::parse("2026-10-31T18:30:00Z").unwrap();
    let end = Timestamp::parse("2026-11-30T18:30:00Z").unwrap();
    let mut records = Vec::new();
    for n in 0..60 {
        let mut record = testing::record(n);
        record.tenant_id = tenant;
        record.price = Some(Arc::clone(&price));
        let minutes = Duration::from_secs(60 * u64::from(n));
        // Around both ends, and in between; the instants themselves included.
        record.accepted_at = match n % 3 {
            0 => Timestamp::from_micros(start.micros() - 1_800_000_000).saturating_add(minutes),
            1 => Timestamp::from_micros(end.micros() - 1_800_000_000).saturating_add(minutes),
            _ => testing::NOON.saturating_add(minutes * 500),
        };
        if n % 7 == 0 {
            record.usage = record.usage.with(UsageClass::OutputReasoning, 3);
            record.charge = price.charge(&record.usage).unwrap().total;
        }
        if n % 11 == 0 {
            (record.charge, record.outcome) = (Pico::ZERO, Outcome::Internal);
        }
        if n % 13 == 0 {
            // Refused after its price was looked up.
            (record.charge, record.usage, record.outcome) = (Pico::ZERO, Usage::default(), Outcome::UpstreamError);
        }
        records.push(record);
    }
    rig.ship(&records).await;
    let bill = bills::bill(&rig.store, TenantScope::All, tenant, "2026-11").await.unwrap();
    let of_november: Vec<_> = records.iter().filter(|r| r.accepted_at >= start && r.accepted_at < end).cloned().collect();
    assert!(of_november.len() < records.len());
    assert_eq!((bill.period_start, bill.period_end, bill.is_complete), (start, end, false));
    assert_eq!(bill.requests, of_november.len() as u64);
    let free = of_november.iter().filter(|record| record.charge == Pico::ZERO).count() as u64;
    assert!(free > 0);
    assert_eq!(bill.not_charged.requests, free);
    let [section] = bill.sections.as_slice() else { panic!("{bill:?}") };
    assert_eq!(section.requests, of_november.len() as u64 - free);
    assert_eq!((section.total_exact, section.unexplained), (total(&of_november), Pico::ZERO));
    let lines = section.lines.iter().fold(Pico::ZERO, |sum, line| sum.checked_add(line.amount).unwrap());
    assert_eq!(lines, section.total_exact);
    assert_eq!(lines.checked_add(section.rounding).unwrap(), section.total.parse().unwrap());
    let classes: Vec<_> = section.lines.iter().map(|line| (line.class, line.priced_as)).collect();
    assert_eq!(
        classes,
        [
            (UsageClass::InputUncached, UsageClass::InputUncached),
            (UsageClass::OutputText, UsageClass::OutputText),
            (UsageClass::OutputReasoning, UsageClass::OutputText)
        ]
    );
    // Another tenant's user does not learn that it exists.
    let other = bills::bill(&rig.store, TenantScope::Only(TenantId::generate()), tenant, "2026-11").await;
    assert!(matches!(other, Err(bills::BillError::Store(StoreError::NotFound { .. }))));
}

async fn a_bill_reads_as_csv(store: TestStore) {
    let rig = rig(store);
    let (tenant, price) = tenant_in(&rig.store, "UTC").await;
    let record = UsageRecord { tenant_id: tenant, price: Some(Arc::clone(&price)), ..testing::record(0) };
    rig.ship(&[record]).await;
    let bill = bills::bill(&rig.store, TenantScope::All, tenant, "2026-11").await.unwrap();
    let head = format!("{tenant},'=acme,2026-11,UTC,2026-11-01T00:00:00.000000Z,2026-12-01T00:00:00.000000Z,USD");
    let from = "1970-01-01T00:00:00.000000Z";
    let id = price.id;
    let expected = [
        "tenant_id,tenant,period,time_zone,period_start,period_end,currency,kind,model,class,priced_as,price_version_id,\
         price_valid_from,requests,tokens,unit_price_per_million,amount"
            .to_owned(),
        format!("{head},usage,smart,input_uncached,input_uncached,{id},{from},,100,3,0.0003"),
        format!("{head},usage,smart,output_text,output_text,{id},{from},,10,15,0.00015"),
        format!("{head},rounding,,,,,,,,,-0.00045"),
        format!("{head},total,,,,,,1,,,0.00"),
        String::new(),
    ];
    assert_eq!(bill.to_csv(), expected.join("\r\n"));
    assert_eq!(bill.to_json()["sections"][0]["total_exact"], "0.00045");
}

async fn calls_are_listed_by_page_and_filter(store: TestStore) {
    let rig = rig(store);
    let mut records: Vec<_> = (0..7).map(testing::record).collect();
    records[3].outcome = Outcome::Timeout;
    records[5].tenant_id = TenantId::generate();
    // The same instant: the id decides.
    records[1].accepted_at = records[0].accepted_at;
    rig.ship(&records).await;
    let mut page = PageRequest::first(3);
    let mut seen = Vec::new();
    loop {
        let rows = usage::list(&*rig.store, TenantScope::All, &UsageFilter::default(), &page).await.unwrap();
        seen.extend(rows.data.iter().map(|row| row.request_id));
        let Some(next) = rows.next else { break };
        page.after = Some(next);
    }
    let newest_first: Vec<_> = [6, 5, 4, 3, 2, 1, 0].map(|n: usize| records[n].request_id).to_vec();
    assert_eq!(seen, newest_first);
    let find = async |scope, filter: UsageFilter| {
        let rows = usage::list(&*rig.store, scope, &filter, &PageRequest::default()).await.unwrap();
        rows.data.iter().map(|row| row.request_id).collect::<Vec<_>>()
    };
    let errors = UsageFilter { errors_only: true, model: Some("smart".into()), ..UsageFilter::default() };
    assert_eq!(find(TenantScope::All, errors).await, [records[3].request_id]);
    assert_eq!(find(TenantScope::Only(records[5].tenant_id), UsageFilter::default()).await, [records[5].request_id]);
    let span = UsageFilter { from: Some(records[4].accepted_at), to: Some(records[6].accepted_at), ..UsageFilter::default() };
    assert_eq!(find(TenantScope::All, span).await, [records[5].request_id, records[4].request_id]);
    page.after = Some(Cursor::new("nonsense"));
    let refused = usage::list(&*rig.store, TenantScope::All, &UsageFilter::default(), &page).await;
    assert!(matches!(refused, Err(StoreError::Invalid { field: "after", .. })));
}

async fn a_call_shows_how_its_charge_came_about(store: TestStore) {
    let rig = rig(store);
    let record = testing::record(3);
    rig.ship(std::slice::from_ref(&record)).await;
    let detail = usage::get(&*rig.store, TenantScope::Only(record.tenant_id), record.request_id).await.unwrap();
    assert_eq!(detail.breakdown, Some(record.price.as_ref().unwrap().charge(&record.usage).unwrap()));
    let stored = &detail.record;
    assert_eq!((stored.charge, stored.usage, stored.usage_source), (record.charge, record.usage, UsageSource::Provider));
    assert_eq!((stored.accepted_at, stored.first_byte_at), (record.accepted_at, record.first_byte_at));
    assert_eq!((&stored.attempts, &stored.raw_usage), (&record.attempts, &record.raw_usage));
    assert_eq!((stored.stream, stored.status, stored.attempt), (true, 200, 1));
    let missing = usage::get(&*rig.store, TenantScope::Only(TenantId::generate()), record.request_id).await;
    assert!(matches!(missing, Err(StoreError::NotFound { kind: "request", .. })));
    let csv = usage::to_csv([stored], true);
    assert_eq!(csv.lines().count(), 2);
    assert!(csv.contains("input_uncached") && csv.contains(",103,0,0,0,0,0,0,0,13,"), "{csv}");
}

async fn a_series_has_a_point_for_each_day_of_the_zone(store: TestStore) {
    let rig = rig(store);
    let at = |text| Timestamp::parse(text).unwrap();
    let records: Vec<_> = ["2026-11-10T04:00:00Z", "2026-11-10T06:00:00Z", "2026-11-11T04:59:59Z"]
        .into_iter()
        .zip(0..)
        .map(|(text, n)| UsageRecord { accepted_at: at(text), ..testing::record(n) })
        .collect();
    rig.ship(&records).await;
    // New York is five hours behind.
    let days = usage::series(&*rig.store, TenantScope::All, &november(), Bucket::Day, None, "America/New_York").await.unwrap();
    let points: Vec<_> = days.iter().map(|point| (point.at, point.sum.requests)).collect();
    assert_eq!(points, [(at("2026-11-09T05:00:00Z"), 1), (at("2026-11-10T05:00:00Z"), 2)]);
    let group = Some(GroupBy::Key);
    let hours = usage::series(&*rig.store, TenantScope::All, &november(), Bucket::Hour, group, "UTC").await.unwrap();
    assert_eq!(hours.len(), 3);
    assert_eq!(hours[0].sum.group.as_deref(), Some(testing::key().to_string().as_str()));
    let none = usage::totals(&*rig.store, TenantScope::Only(TenantId::generate()), &november(), None).await.unwrap();
    assert_eq!((none.len(), none[0].requests), (1, 0));
}

async fn prices_are_only_ever_added(store: TestStore) {
    let model = ModelId::generate();
    let new = |valid_from, input| NewPrice {
        model_id: model,
        currency: Currency::USD,
        valid_from: Timestamp::from_micros(valid_from),
        prices: ClassPrices::default().with(UsageClass::InputUncached, UnitPrice::parse_per_million(input).unwrap()),
        source: Some("test".into()),
        created_by: "cli".into(),
    };
    let mut tx = store.begin().await.unwrap();
    let first = prices::create(&mut tx, new(10, "1")).await.unwrap();
    let second = prices::create(&mut tx, new(20, "2")).await.unwrap();
    assert!(matches!(prices::create(&mut tx, new(20, "3")).await, Err(StoreError::AlreadyExists { field: "valid_from", .. })));
    let none = NewPrice { prices: ClassPrices::default(), ..new(30, "1") };
    assert!(matches!(prices::create(&mut tx, none).await, Err(StoreError::Invalid { field: "prices", .. })));
    let version = store.config_version().await.unwrap();
    assert_eq!(tx.commit().await.unwrap(), version + 1);
    assert_eq!(prices::list(&*store, Some(model)).await.unwrap(), [second.clone(), first.clone()]);
    assert_eq!(prices::get(&*store, first.id).await.unwrap(), first);
    let book = PriceBook::default();
    assert_eq!(book.reload(&store).await.unwrap(), 2);
    assert_eq!(book.at(model, Timestamp::from_micros(19)).as_deref(), Some(&first));
    assert_eq!(book.at(model, Timestamp::from_micros(20)).as_deref(), Some(&second));
    let mut tx = store.begin().await.unwrap();
    let changed = query!(&mut tx, |conn| sqlx::query("DELETE FROM price_versions").execute(conn).await.map(|_| ())).unwrap();
    assert!(changed.unwrap_err().to_string().contains("append-only"));
}

async fn audit_events_are_listed_and_chained(store: TestStore) {
    let tenant = TenantId::generate();
    for n in 0..5 {
        let mut tx = store.begin().await.unwrap();
        let event = AuditEvent {
            tenant: (n % 2 == 0).then_some(tenant),
            before: Some(json!({ "secret": "sk-live", "z": 1, "a": { "y": [1, 2.5], "b": "x\0" } })),
            reason: Some("because".into()),
            ..AuditEvent::new(Actor::system("seed"), if n == 4 { "key.revoke" } else { "key.create" }, "api_key", n)
        };
        audit::record(&mut tx, event).await.unwrap();
        tx.commit().await.unwrap();
    }
    let page = audit::list(&*store, TenantScope::All, &AuditFilter::default(), &PageRequest::first(2)).await.unwrap();
    let ids = |rows: &[audit::AuditRow]| rows.iter().map(|row| row.target_id.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(ids(&page.data), ["4", "3"]);
    assert_eq!(page.data[0].before.as_ref().unwrap()["secret"], crate::REDACTED);
    assert_eq!(page.data[0].at, store.clock.now());
    let next = PageRequest { after: page.next, limit: Some(2) };
    let page = audit::list(&*store, TenantScope::All, &AuditFilter::default(), &next).await.unwrap();
    assert_eq!(ids(&page.data), ["2", "1"]);
    let created = AuditFilter { action: Some("key.create".into()), ..AuditFilter::default() };
    let own = audit::list(&*store, TenantScope::Only(tenant), &created, &PageRequest::default()).await.unwrap();
    assert_eq!(ids(&own.data), ["2", "0"]);
    assert_eq!(audit::verify(store.db()).await.unwrap(), Verification::Whole { events: 5 });
    // An event that was never followed by the others: the chain shows it.
    let mut tx = store.begin().await.unwrap();
    query!(&mut tx, |conn| {
        sqlx::query(
            "INSERT INTO audit_events (id, at, actor_kind, action, target_kind)
             SELECT $1, at, actor_kind, action, target_kind FROM audit_events LIMIT 1",
        )
        .bind(Uuid::now_v7())
        .execute(conn)
        .await
        .map(|_| ())
    })
    .unwrap()
    .unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(audit::verify(store.db()).await.unwrap(), Verification::Broken { .. }));
}
