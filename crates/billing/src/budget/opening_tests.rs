//! Windows that are opened when something was spent in them already, on both engines.

use std::sync::Arc;
use std::time::Duration;

use tallygate_store::budgets::{self, BudgetMode, BudgetScope, BudgetSettings};
use tallygate_store::keys::{self, KeySettings, NewKey};
use tallygate_store::projects::{self, ProjectSettings};
use tallygate_store::tenants::{self, TenantSettings};
use tallygate_store::testing::TestStore;
use tallygate_store::{Budget, BudgetPeriod};
use tallygate_types::{BudgetId, Clock as _, Currency, Pico, Timestamp};

use super::draws::{Draw, Draws};
use super::{Budgets, drop_ended_before, of_tenant, period_at};
use crate::record::UsageRecord;
use crate::{Journal, JournalConfig, Shipper, testing};

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn sqlite() {
    Box::pin(on(TestStore::sqlite().await)).await;
}

#[tokio::test]
async fn postgres() {
    if let Some(store) = TestStore::postgres().await {
        Box::pin(on(store)).await;
    }
}

fn consumed(budgets: &Budgets, budget: BudgetId, subject: &str) -> Option<i128> {
    Some(budgets.known(budget, subject)?.state().consumed)
}

/// A budget made in mid-month knows of the month; one that was drawn on goes on where the last process stopped.
async fn on(store: TestStore) {
    let now = store.clock.now();
    let mut tx = store.begin().await.unwrap();
    let own = Budget { amount: "1000".parse().unwrap(), currency: Currency::USD, period: BudgetPeriod::Month };
    let settings = TenantSettings { time_zone: "Asia/Kolkata".into(), budget: Some(own), ..TenantSettings::named("acme") };
    let tenant = tenants::create(&mut tx, &settings).await.unwrap().id;
    let project = projects::create(&mut tx, tenant, &ProjectSettings::named("web")).await.unwrap().id;
    let of_web = KeySettings { project: Some("web".into()), ..KeySettings::named("ci") };
    let (key, _) =
        keys::create(&mut tx, &NewKey { tenant_id: tenant, settings: of_web, declared: None, created_by: None }).await.unwrap();
    tx.commit().await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), JournalConfig::default()).unwrap();
    let shipper = Shipper::new(store.shared(), Arc::clone(&journal));
    let record = |n, at: &str| {
        let accepted_at = Timestamp::parse(at).unwrap();
        UsageRecord {
            tenant_id: tenant,
            key_id: key.id,
            accepted_at,
            finished_at: accepted_at,
            end_user: Some("ann".into()),
            budgets: Draws::default(),
            ..testing::record(n)
        }
    };
    // The month of Kolkata begins half past six the evening before, in UTC.
    let before = record(0, "2026-10-31T18:29:59Z");
    let other_key = UsageRecord { key_id: testing::key(), end_user: None, ..record(1, "2026-10-31T18:30:00Z") };
    let of_key = record(2, "2026-11-12T00:00:00Z");
    for shipped in [&before, &other_key, &of_key] {
        journal.end(shipped).unwrap();
    }
    shipper.flush(DEADLINE).await.unwrap();

    let mut tx = store.begin().await.unwrap();
    let mut made = Vec::new();
    for scope in [
        BudgetScope::Key { key_id: key.id },
        BudgetScope::Project { project_id: project },
        BudgetScope::EndUser { end_user: Some("ann".into()) },
        BudgetScope::EndUser { end_user: None },
    ] {
        let (period, amount, alerts) = (BudgetPeriod::Month, Pico::new(1 << 60), Vec::new());
        let settings = BudgetSettings { scope, period, amount, currency: Currency::USD, mode: BudgetMode::Hard, alerts };
        made.push(budgets::create(&mut tx, tenant, &settings).await.unwrap().id);
    }
    tx.commit().await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    let budgets = Budgets::alone(now);
    budgets.prepare(&store, &snapshot, now).await.unwrap();
    let of_tenant_budget = BudgetId::from_uuid(tenant.uuid());
    let sum = |records: &[&UsageRecord]| records.iter().map(|record| record.charge.get()).sum::<i128>();
    assert_eq!(consumed(&budgets, of_tenant_budget, ""), Some(sum(&[&other_key, &of_key])));
    for budget in &made[..3] {
        assert_eq!(consumed(&budgets, *budget, ""), Some(sum(&[&of_key])));
    }

    // Drawn on, shipped, and taken up by the next process, with what was not shipped.
    let month = period_at(BudgetPeriod::Month, now, "Asia/Kolkata");
    let draw = |budget, subject: &str| Draw {
        budget,
        subject: subject.into(),
        period: BudgetPeriod::Month,
        since: month.start,
        until: month.end,
    };
    let draws = Draws::new(vec![draw(of_tenant_budget, ""), draw(made[3], "ann")]);
    let drawn = UsageRecord { budgets: draws, ..record(3, "2026-11-22T11:00:00Z") };
    journal.end(&drawn).unwrap();
    shipper.flush(DEADLINE).await.unwrap();
    let unshipped = UsageRecord { request_id: testing::record(4).request_id, ..drawn.clone() };
    journal.end(&unshipped).unwrap();
    let (next, snapshot) = (Budgets::alone(now), store.snapshot().await.unwrap());
    next.prepare(&store, &snapshot, now).await.unwrap();
    next.add_unshipped(&store, &journal).await.unwrap();
    assert_eq!(consumed(&next, of_tenant_budget, ""), Some(sum(&[&other_key, &of_key, &drawn, &unshipped])));
    assert_eq!(consumed(&next, made[3], "ann"), Some(sum(&[&drawn, &unshipped])));
    let windows = of_tenant(&*store, tenant, now, 100).await.unwrap();
    let own = windows.iter().find(|window| window.budget == of_tenant_budget).unwrap();
    assert_eq!((own.spent.get(), own.until), (sum(&[&other_key, &of_key, &drawn]), month.end));
    assert_eq!(drop_ended_before(&store, month.end).await.unwrap(), 0);
    let later = Timestamp::from_micros(month.end.micros() + 1);
    assert_eq!(drop_ended_before(&store, later).await.unwrap(), windows.len() as u64);
}
