//! Telling, to real receivers of webhooks and mail.

use axum::http::StatusCode;
use secrecy::SecretString;
use serde_json::Value;
use tallygate_billing::alerts::{Notification, NotificationFilter, NotificationState, list};
use tallygate_billing::{BeginRecord, Budgets, Draws, Endpoint, Journal, JournalConfig, Shipper, Spender, UsageRecord, budget};
use tallygate_store::tenants::{self, TenantSettings};
use tallygate_store::testing::TestStore;
use tallygate_store::{BillingTerms, Budget, BudgetPeriod, KeyEntry, PageRequest};
use tallygate_types::{Clock as _, Currency, Dialect, Pico, RequestId, Usage};

use super::receivers::Receivers;
use super::*;
use crate::config::{Mail, SecretRef, Webhook};

const SECRET: &str = "a secret of the test";

struct Rig {
    store: TestStore,
    receivers: Receivers,
    config: Alerts,
}

impl Rig {
    /// A tenant who has spent 80 % of its budget.
    async fn new() -> Self {
        let store = TestStore::sqlite().await;
        let (receivers, http, smtp) = Receivers::start().await;
        let literal = |text: String| SecretRef::Literal(SecretString::from(text));
        let config = Alerts {
            webhook: Some(Webhook {
                url: format!("http://{http}/hook"),
                secret: literal(SECRET.to_owned()),
                private_hosts: vec!["127.0.0.1".into()],
            }),
            mail: Some(Mail {
                smtp: literal(format!("smtp://{smtp}")),
                from: "Gate <gate@example.com>".into(),
                to: vec!["ops@example.com".into()],
            }),
        };
        let own = Budget { amount: "10".parse().unwrap(), currency: Currency::USD, period: BudgetPeriod::Month };
        let billing = BillingTerms { alert_emails: vec!["ann@acme.example".into()], ..BillingTerms::default() };
        let settings = TenantSettings { budget: Some(own), billing, ..TenantSettings::named("acme") };
        let mut tx = store.begin().await.unwrap();
        let tenant = tenants::create(&mut tx, &settings).await.unwrap().id;
        tx.commit().await.unwrap();

        let (snapshot, now) = (store.snapshot().await.unwrap(), store.clock.now());
        let budgets = Arc::new(Budgets::alone(now));
        budgets.prepare(&store, &snapshot, now).await.unwrap();
        let key = KeyEntry::named("ci", Arc::clone(&snapshot.tenants[&tenant]));
        let spender = Spender { key: &key, model: "smart", end_user: None };
        ship(&store, budgets, &key, budget::draws(spender, Currency::USD, now)).await;
        Self { store, receivers, config }
    }

    /// One of the processes that tell.
    fn teller(&self) -> Teller {
        Teller::new(self.store.shared(), &self.config, &Registry::new()).unwrap()
    }

    async fn told(&self) -> Notification {
        let page = list(&self.store.shared(), NotificationFilter::default(), &PageRequest::first(5)).await.unwrap();
        assert_eq!(page.data.len(), 1);
        page.data.into_iter().next().unwrap()
    }

    fn heard(&self) -> (usize, usize) {
        self.receivers.heard(|heard| (heard.posts.len(), heard.mails.len()))
    }
}

/// Ships a request that cost eight dollars.
async fn ship(store: &TestStore, budgets: Arc<Budgets>, key: &KeyEntry, draws: Draws) {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(folder.path(), JournalConfig::default()).unwrap();
    let record =
        UsageRecord { charge: "8".parse().unwrap(), currency: Some(Currency::USD), budgets: draws, ..record(store, key) };
    journal.end(&record).unwrap();
    let shipper = Shipper::new(store.shared(), journal);
    shipper.tell(budgets);
    shipper.flush(Duration::from_secs(20)).await.unwrap();
}

#[tokio::test]
async fn everybody_is_told_once_by_webhook_and_mail() {
    let rig = Rig::new().await;
    let teller = rig.teller();
    assert!(teller.tell_next().await.unwrap());
    assert!(!teller.tell_next().await.unwrap(), "there is no more to tell");
    let told = rig.told().await;
    assert_eq!((told.state, told.attempts), (NotificationState::Sent, 1));
    assert_eq!(told.delivered, ["webhook", "mail", "tenant_mail"]);
    assert_eq!(rig.heard(), (1, 2));

    let (headers, body) = rig.receivers.heard(|heard| heard.posts.remove(0));
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), told.event);
    assert_eq!(headers["x-tallygate-event-id"], told.id.to_string());
    assert_eq!(headers["content-type"], "application/json");
    let signature = headers["x-tallygate-signature"].to_str().unwrap();
    let (seconds, hex) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    assert_eq!(seconds, "1795348800", "2026-11-22T12:00:00Z");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signed = [seconds.as_bytes(), b".", &body].concat();
    aws_lc_rs::hmac::verify(&key, &signed, &hex::decode(hex).unwrap()).unwrap();

    let mails = rig.receivers.heard(|heard| std::mem::take(&mut heard.mails));
    assert_eq!(mails[0].0, ["ops@example.com"]);
    assert_eq!(mails[1].0, ["ann@acme.example"], "who is told of it elsewhere is nobody's business");
    for (_, mail) in &mails {
        let (head, text) = mail.split_once("\n\n").unwrap();
        assert!(head.contains("Subject: acme: 80 % of the monthly budget of the tenant are spent"), "{head}");
        assert!(head.contains(&format!("Message-ID: <{}.", told.id)) && head.contains("From: Gate <gate@example.com>"), "{head}");
        assert!(text.contains("Spent:     8 USD\n") && text.contains("Remaining: 2 USD\n"), "{text}");
    }
}

#[tokio::test]
async fn what_failed_is_told_again_and_what_was_told_is_not() {
    let rig = Rig::new().await;
    rig.receivers.heard(|heard| heard.refuses_mails = true);
    let teller = rig.teller();
    assert!(teller.tell_next().await.unwrap());
    let told = rig.told().await;
    assert_eq!((told.state, &told.delivered[..]), (NotificationState::Pending, &["webhook".to_owned()][..]));
    assert!(told.last_error.as_ref().unwrap().contains("tenant_mail: "), "{:?}", told.last_error);
    let wait = told.next_attempt_at.since(rig.store.clock.now());
    assert!((FIRST_PAUSE / 2..=FIRST_PAUSE).contains(&wait), "{wait:?}");
    assert!(!teller.tell_next().await.unwrap(), "not yet");
    rig.store.clock.advance(FIRST_PAUSE);
    rig.receivers.heard(|heard| heard.refuses_mails = false);
    assert!(teller.tell_next().await.unwrap());
    assert_eq!((rig.told().await.state, rig.heard()), (NotificationState::Sent, (1, 2)));
}

#[tokio::test]
async fn after_enough_attempts_it_is_given_up_and_said() {
    let mut rig = Rig::new().await;
    rig.config.mail = None;
    rig.receivers.heard(|heard| heard.refuse_posts = Some(StatusCode::FOUND));
    let teller = rig.teller();
    for attempt in 1..=MAX_ATTEMPTS {
        assert_eq!(rig.told().await.state, NotificationState::Pending);
        assert!(teller.tell_next().await.unwrap(), "attempt {attempt}");
        rig.store.clock.advance(MAX_PAUSE);
    }
    let told = rig.told().await;
    assert_eq!((told.state, told.attempts, &told.delivered[..]), (NotificationState::Failed, MAX_ATTEMPTS, &[][..]));
    assert_eq!(told.last_error.as_deref(), Some("webhook: the receiver answered 302"), "no redirect is followed");
    let attempts = teller.attempts.with_label_values(&["webhook", "failed"]).get();
    assert_eq!((attempts, teller.notifications.with_label_values(&["failed"]).get()), (u64::from(MAX_ATTEMPTS), 1));
    assert!(!teller.tell_next().await.unwrap());
}

#[tokio::test]
async fn what_a_process_took_on_that_died_another_tells() {
    let rig = Rig::new().await;
    let (dying, other) = (rig.teller(), rig.teller());
    // It dies between taking it on and telling.
    let taken = alerts::claim(&dying.store, LEASE).await.unwrap().unwrap();
    drop(dying);
    assert!(!other.tell_next().await.unwrap(), "it is the first's");
    rig.store.clock.advance(LEASE);
    assert!(other.tell_next().await.unwrap());
    let told = rig.told().await;
    assert_eq!((told.id, told.state, told.attempts), (taken.notification.id, NotificationState::Sent, 2));
    assert_eq!(rig.heard(), (1, 2));
}

#[tokio::test]
async fn without_anybody_to_tell_it_is_recorded() {
    let mut rig = Rig::new().await;
    rig.config = Alerts::default();
    assert!(rig.teller().tell_next().await.unwrap());
    assert_eq!(rig.told().await.state, NotificationState::Recorded);
    assert_eq!(rig.heard(), (0, 0));
}

#[test]
fn pauses_grow_and_are_bounded() {
    for (attempts, most) in [(1, 5), (2, 10), (3, 20), (11, 3_600), (u32::MAX, 3_600)] {
        let most = Duration::from_secs(most);
        assert!((most / 2..=most).contains(&pause(attempts)), "{attempts}");
    }
}

fn record(store: &TestStore, key: &KeyEntry) -> UsageRecord {
    let now = store.clock.now();
    let begin = BeginRecord {
        request_id: RequestId::generate(),
        attempt: 1,
        accepted_at: now,
        tenant_id: key.tenant.id,
        key_id: key.id,
        end_user: None,
        endpoint: Endpoint::Messages,
        client_dialect: Dialect::Anthropic,
        upstream_dialect: None,
        model_id: None,
        model: "smart".into(),
        upstream_model: None,
        upstream_id: None,
        upstream: None,
        credential_id: None,
        stream: false,
        input_estimate: Usage::default(),
        price: None,
        reserved: Pico::ZERO,
        bytes_in: 0,
        trace_id: None,
        route: None,
        arm: None,
        affinity: None,
        budgets: Draws::default(),
    };
    UsageRecord::from_begin(&begin, now)
}
