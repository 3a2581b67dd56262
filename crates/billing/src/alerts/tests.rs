//! What is told of spending, on both engines.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tallygate_store::tenants::{self, TenantSettings};
use tallygate_store::testing::TestStore;
use tallygate_store::{BillingMode, BillingTerms, Budget, BudgetPeriod, KeyEntry, PageRequest, TenantScope};
use tallygate_types::{BudgetId, Clock as _, Currency, Pico, TenantId};

use super::*;
use crate::balance::{self, EntryKind, NewEntry};
use crate::budget::draws;
use crate::record::UsageRecord;
use crate::{Budgets, Journal, JournalConfig, Shipper, Spender, testing};

const DEADLINE: Duration = Duration::from_secs(20);
const LEASE: Duration = Duration::from_mins(1);

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

struct Rig {
    store: TestStore,
    tenant: TenantId,
    budgets: Arc<Budgets>,
    journal: Arc<Journal>,
    shipper: Arc<Shipper>,
    spent: u32,
    _folder: tempfile::TempDir,
}

impl Rig {
    async fn refresh(&self) {
        let snapshot = self.store.snapshot().await.unwrap();
        self.budgets.prepare(&self.store, &snapshot, self.store.clock.now()).await.unwrap();
    }

    /// Ships a request that cost so many dollars.
    async fn spend(&mut self, dollars: &str) {
        let snapshot = self.store.snapshot().await.unwrap();
        let key = KeyEntry::named("ci", Arc::clone(&snapshot.tenants[&self.tenant]));
        let now = self.store.clock.now();
        let spender = Spender { key: &key, model: "smart", end_user: None };
        self.spent += 1;
        let record = UsageRecord {
            tenant_id: self.tenant,
            accepted_at: now,
            finished_at: now,
            charge: dollars.parse().unwrap(),
            budgets: draws(spender, Currency::USD, now),
            ..testing::record(self.spent)
        };
        self.journal.end(&record).unwrap();
        self.shipper.flush(DEADLINE).await.unwrap();
    }

    /// What is told, the oldest first.
    async fn told(&self) -> Vec<Notification> {
        let mut page = list(&self.store.shared(), NotificationFilter::default(), &PageRequest::first(50)).await.unwrap().data;
        page.reverse();
        page
    }

    async fn claim(&self) -> Option<Claimed> {
        claim(&self.store, LEASE).await.unwrap()
    }
}

async fn on(store: TestStore) {
    let mut tx = store.begin().await.unwrap();
    let own = Budget { amount: "10".parse().unwrap(), currency: Currency::USD, period: BudgetPeriod::Month };
    let billing = BillingTerms {
        mode: BillingMode::Prepaid,
        balance_alert: Some("3".parse().unwrap()),
        alert_emails: vec!["ann@acme.example".into()],
        ..BillingTerms::default()
    };
    let settings = TenantSettings { budget: Some(own), billing, ..TenantSettings::named("acme") };
    let tenant = tenants::create(&mut tx, &settings).await.unwrap().id;
    let paid_in = |reference| NewEntry {
        kind: EntryKind::TopUp,
        amount: "12".parse().unwrap(),
        currency: None,
        reference,
        note: None,
        booked_by: "test",
    };
    balance::book(&mut tx, TenantScope::All, tenant, &paid_in("one")).await.unwrap();
    tx.commit().await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), JournalConfig::default()).unwrap();
    let shipper = Shipper::new(store.shared(), Arc::clone(&journal));
    let budgets = Arc::new(Budgets::alone(store.clock.now()));
    shipper.tell(Arc::clone(&budgets));
    let mut rig = Rig { store, tenant, budgets, journal, shipper, spent: 0, _folder: folder };
    rig.refresh().await;

    rig.spend("7.99").await;
    assert_eq!(rig.told().await, [], "not yet");
    rig.spend("0.01").await;
    let told = rig.told().await;
    let eighty = &told[0];
    let expected = json!({
        "id": eighty.id, "type": "budget.threshold", "created_at": "2026-11-22T12:00:00.000000Z",
        "tenant": {"id": tenant, "name": "acme"},
        "budget": {"id": BudgetId::from_uuid(tenant.uuid()), "scope": "tenant", "period": "month", "mode": "hard",
            "starts_at": "2026-11-01T00:00:00.000000Z", "ends_at": "2026-12-01T00:00:00.000000Z"},
        "percent": 80, "amount": "10", "spent": "8", "remaining": "2", "currency": "USD",
    });
    assert_eq!((told.len(), &eighty.event, eighty.state), (1, &expected, NotificationState::Pending));

    // Told once in a window; of the balance once for each entry.
    rig.spend("1").await;
    rig.spend("0.5").await;
    let told = rig.told().await;
    assert_eq!(told.len(), 2);
    let low = &told[1].event;
    assert_eq!((&low["type"], &low["remaining"], &low["amount"]), (&json!("balance.low"), &json!("2.5"), &json!("12")), "{low}");
    assert_eq!(low["budget"]["ends_at"], json!(null));
    let mut tx = rig.store.begin().await.unwrap();
    let again = NewEntry { amount: "1".parse::<Pico>().unwrap(), ..paid_in("two") };
    balance::book(&mut tx, TenantScope::All, tenant, &again).await.unwrap();
    tx.commit().await.unwrap();
    rig.refresh().await;
    rig.spend("0.6").await;
    let types: Vec<_> = rig.told().await.iter().map(|told| (told.event["type"].clone(), told.event["percent"].clone())).collect();
    let (threshold, low) = (json!("budget.threshold"), (json!("balance.low"), json!(null)));
    let expected = [(threshold.clone(), json!(80)), low.clone(), (threshold, json!(100)), low];
    assert_eq!(types[..3], expected[..3]);
    assert_eq!(types, expected);
    // A process that knows nothing of what was told tells nothing twice.
    rig.refresh().await;
    rig.spend("0.1").await;
    assert_eq!(rig.told().await.len(), 4);

    sending(&rig).await;
}

/// Each is taken on by one at a time, and by another when that one has gone silent.
async fn sending(rig: &Rig) {
    let first = rig.claim().await.unwrap();
    assert_eq!((first.notification.attempts, &first.emails[..]), (1, &["ann@acme.example".to_owned()][..]));
    let mut ids = vec![first.notification.id];
    while let Some(other) = rig.claim().await {
        assert!(!ids.contains(&other.notification.id));
        assert!(finish(&rig.store, &other.notification, &["mail".to_owned()], &Fate::Sent).await.unwrap());
        ids.push(other.notification.id);
    }
    assert_eq!(ids.len(), 4);
    // Who took on the first has died.
    rig.store.clock.advance(LEASE);
    let second = rig.claim().await.unwrap();
    assert_eq!((second.notification.id, second.notification.attempts), (ids[0], 2));
    assert!(!finish(&rig.store, &first.notification, &[], &Fate::Sent).await.unwrap(), "its time was over");
    let again = Fate::Again { at: rig.store.clock.now().saturating_add(Duration::from_secs(5)), error: "refused".into() };
    assert!(finish(&rig.store, &second.notification, &["webhook".to_owned()], &again).await.unwrap());
    assert!(rig.claim().await.is_none());
    rig.store.clock.advance(Duration::from_secs(5));
    let third = rig.claim().await.unwrap().notification;
    assert_eq!((third.attempts, &third.delivered[..]), (3, &["webhook".to_owned()][..]));
    let given_up = Fate::GivenUp { error: "refused again".into() };
    assert!(finish(&rig.store, &third, &third.delivered, &given_up).await.unwrap());
    rig.store.clock.advance(LEASE);
    assert!(rig.claim().await.is_none(), "it is given up");
    let read = get(&rig.store.shared(), TenantScope::All, third.id).await.unwrap();
    assert_eq!((read.state, read.last_error.as_deref()), (NotificationState::Failed, Some("refused again")));

    let mut tx = rig.store.begin().await.unwrap();
    assert!(retry(&mut tx, TenantScope::All, ids[1]).await.is_err(), "it was told");
    let retried = retry(&mut tx, TenantScope::Only(rig.tenant), third.id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        (retried.state, retried.attempts, &retried.delivered[..]),
        (NotificationState::Pending, 0, &["webhook".to_owned()][..])
    );
    assert_eq!(rig.claim().await.unwrap().notification.id, third.id);
    assert!(get(&rig.store.shared(), TenantScope::Only(TenantId::generate()), third.id).await.is_err());

    // What is told once for good stays, and so does what is yet to be told.
    rig.store.clock.advance(Duration::from_hours(24));
    assert_eq!(drop_made_before(&rig.store, rig.store.clock.now()).await.unwrap(), 1);
    assert_eq!(rig.told().await.len(), 3);
}
