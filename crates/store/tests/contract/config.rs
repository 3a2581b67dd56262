//! Tenants, keys, upstreams, credentials, models.

use secrecy::{ExposeSecret as _, SecretString};
use tallygate_store::credentials::{self, CredentialSettings, NewCredential};
use tallygate_store::keys::{self, KeyFilter, KeySettings, KeyStatus, NewKey};
use tallygate_store::models::{self, ModelFilter, ModelSettings, TargetSettings};
use tallygate_store::responses::{ResponseSettings, ResponsesMode};
use tallygate_store::tenants::{self, Tenant, TenantFilter, TenantSettings, TenantStatus};
use tallygate_store::upstreams::{self, Status, Upstream, UpstreamFilter, UpstreamSettings};
use tallygate_store::{
    BillingMode, BillingTerms, Budget, BudgetPeriod, KeyShape, Limits, ManagedBy, PageRequest, ProxyPool, StoreError,
    TenantScope, Tx, key_shape,
};
use tallygate_types::{Currency, Dialect, TenantId, Timestamp};

use crate::contract;

async fn tenant(tx: &mut Tx, name: &str) -> Tenant {
    tenants::create(tx, &TenantSettings::named(name)).await.unwrap()
}

async fn upstream(tx: &mut Tx, name: &str) -> Upstream {
    upstreams::create(tx, &UpstreamSettings::at(name, Dialect::Anthropic, "https://api.anthropic.com")).await.unwrap()
}

fn new_key(tenant_id: TenantId, name: &str) -> NewKey {
    NewKey { tenant_id, settings: KeySettings::named(name), declared: None, created_by: None }
}

contract! {
    async fn a_tenant_reads_back_as_it_was_written(store: &TestStore) {
        let settings = TenantSettings {
            name: "acme".into(),
            status: TenantStatus::Suspended,
            suspended_message: Some("unpaid — write to us".into()),
            time_zone: "Europe/Berlin".into(),
            limits: Limits { requests_per_minute: Some(600), tokens_per_minute: Some(1 << 40), concurrency: Some(u32::MAX) },
            model_limits: [("smart".to_owned(), Limits { requests_per_minute: Some(1), ..Limits::default() })].into(),
            end_user_limits: Limits { concurrency: Some(2), ..Limits::default() },
            budget: Some(Budget { amount: "123456789012.000000000001".parse().unwrap(), currency: Currency::USD, period: BudgetPeriod::Month }),
            billing: BillingTerms {
                mode: BillingMode::Prepaid,
                currency: "EUR".parse().unwrap(),
                balance_alert: Some("2.5".parse().unwrap()),
                alert_emails: vec!["ann@acme.example".into()],
            },
            allowed_models: Some(vec!["smart".into(), "ünïcode/%_".into()]),
            responses: ResponseSettings { mode: ResponsesMode::Stored, lifetime_hours: 7, max_bytes: 1 << 40, max_count: 3 },
        };
        let mut tx = store.begin().await.unwrap();
        let created = tenants::create(&mut tx, &settings).await.unwrap();
        assert_eq!(tenants::get(&mut tx, TenantScope::All, created.id).await.unwrap(), created);
        tx.commit().await.unwrap();

        let read = tenants::get(&**store, TenantScope::All, created.id).await.unwrap();
        assert_eq!(read, created);
        assert_eq!(read.settings(), settings);
        assert_eq!((read.version, read.managed_by), (1, ManagedBy::Api));
        assert_eq!(read.created_at, Timestamp::parse("2026-11-22T12:00:00Z").unwrap());
        assert_eq!(tenants::find_by_name(&**store, "acme").await.unwrap(), Some(read));
        assert_eq!(tenants::find_by_name(&**store, "ACME").await.unwrap(), None);
    }

    async fn a_transaction_that_is_dropped_never_happened(store: &TestStore) {
        let before = store.config_version().await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let lost = tenant(&mut tx, "lost").await;
        drop(tx);
        assert!(matches!(tenants::get(&**store, TenantScope::All, lost.id).await, Err(StoreError::NotFound { kind: "tenant", .. })));
        assert_eq!(store.config_version().await.unwrap(), before);
    }

    async fn an_update_names_the_version_it_was_made_from(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let acme = tenant(&mut tx, "acme").await;
        store.clock.advance(std::time::Duration::from_secs(1));
        let settings = TenantSettings { time_zone: "Asia/Tokyo".into(), ..acme.settings() };
        let updated = tenants::update(&mut tx, acme.id, 1, &settings).await.unwrap();
        assert_eq!((updated.version, updated.time_zone.as_str()), (2, "Asia/Tokyo"));
        assert_eq!(updated.updated_at.since(acme.updated_at).as_secs(), 1);
        assert_eq!(updated.created_at, acme.created_at);

        let stale = tenants::update(&mut tx, acme.id, 1, &acme.settings()).await;
        assert!(matches!(stale, Err(StoreError::VersionMismatch { current: 2, .. })), "{stale:?}");
        let unknown = tenants::update(&mut tx, TenantId::generate(), 1, &settings).await;
        assert!(matches!(unknown, Err(StoreError::NotFound { .. })));
    }

    async fn a_name_is_taken_once(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        tenant(&mut tx, "acme").await;
        tx.commit().await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let again = tenants::create(&mut tx, &TenantSettings::named("acme")).await;
        assert!(
            matches!(&again, Err(StoreError::AlreadyExists { kind: "tenant", field: "name", value }) if value == "acme"),
            "{again:?}"
        );
    }

    async fn bad_input_is_refused_with_the_name_of_the_field(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let acme = TenantSettings::named("acme");
        for (field, settings) in [
            ("name", TenantSettings { name: " ".into(), ..acme.clone() }),
            ("time_zone", TenantSettings { time_zone: "Mars/Olympus".into(), ..acme.clone() }),
            ("suspended_message", TenantSettings { suspended_message: Some("a\0b".into()), ..acme.clone() }),
            ("allowed_models", TenantSettings { allowed_models: Some(vec![String::new()]), ..acme.clone() }),
            ("responses.lifetime_hours", TenantSettings { responses: ResponseSettings { lifetime_hours: 0, ..acme.responses }, ..acme.clone() }),
            ("responses.max_bytes", TenantSettings { responses: ResponseSettings { max_bytes: 1, ..acme.responses }, ..acme.clone() }),
            ("responses.max_count", TenantSettings { responses: ResponseSettings { max_count: 100_001, ..acme.responses }, ..acme.clone() }),
        ] {
            let refused = tenants::create(&mut tx, &settings).await;
            assert!(matches!(&refused, Err(StoreError::Invalid { field: named, .. }) if *named == field), "{refused:?}");
        }
        let metadata = UpstreamSettings::at("u", Dialect::Gemini, "http://169.254.169.254/latest");
        assert!(matches!(upstreams::create(&mut tx, &metadata).await, Err(StoreError::Invalid { field: "base_url", .. })));
    }

    async fn a_list_pages_newest_first_and_searches_whatever_the_case(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        for name in ["Alpha", "beta_1", "beta21", "gamma"] {
            tenant(&mut tx, name).await;
        }
        tx.commit().await.unwrap();
        let names = |page: &tallygate_store::Page<Tenant>| page.data.iter().map(|t| t.name.clone()).collect::<Vec<_>>();
        let first = tenants::list(&**store, TenantScope::All, &TenantFilter::default(), &PageRequest::first(3)).await.unwrap();
        assert_eq!(names(&first), ["gamma", "beta21", "beta_1"]);
        let rest = PageRequest { after: first.next, limit: Some(3) };
        let second = tenants::list(&**store, TenantScope::All, &TenantFilter::default(), &rest).await.unwrap();
        assert_eq!((names(&second), second.next), (vec!["Alpha".to_owned()], None));

        let search = |text: &str| TenantFilter { search: Some(text.into()), ..TenantFilter::default() };
        let found = tenants::list(&**store, TenantScope::All, &search("aLPh"), &PageRequest::default()).await.unwrap();
        assert_eq!(names(&found), ["Alpha"]);
        let found = tenants::list(&**store, TenantScope::All, &search("al\0ph"), &PageRequest::default()).await.unwrap();
        assert_eq!(names(&found), ["Alpha"]);
        let found = tenants::list(&**store, TenantScope::All, &search("a_1"), &PageRequest::default()).await.unwrap();
        assert_eq!(names(&found), ["beta_1"]);

        let bad = PageRequest { after: Some(tallygate_store::Cursor::new("x")), limit: None };
        let refused = tenants::list(&**store, TenantScope::All, &TenantFilter::default(), &bad).await;
        assert!(matches!(refused, Err(StoreError::Invalid { field: "after", .. })));
    }

    async fn a_tenant_in_use_is_not_deleted(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let (acme, empty) = (tenant(&mut tx, "acme").await, tenant(&mut tx, "empty").await);
        keys::create(&mut tx, &new_key(acme.id, "ci")).await.unwrap();
        assert!(matches!(tenants::delete(&mut tx, acme.id, 1).await, Err(StoreError::InUse { .. })));
        assert!(matches!(tenants::delete(&mut tx, empty.id, 7).await, Err(StoreError::VersionMismatch { current: 1, .. })));
        tenants::delete(&mut tx, empty.id, 1).await.unwrap();
        assert!(matches!(tenants::delete(&mut tx, empty.id, 1).await, Err(StoreError::NotFound { .. })));
    }

    async fn a_key_is_shown_once_and_stored_as_a_digest(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let acme = tenant(&mut tx, "acme").await;
        let (key, secret) = keys::create(&mut tx, &new_key(acme.id, "ci")).await.unwrap();
        tx.commit().await.unwrap();
        let text = secret.expose_secret();
        assert_eq!(key_shape(text), KeyShape::Issued);
        assert_eq!((key.prefix.as_str(), key.last4.as_str()), (&text[..15], &text[60..]));
        assert_eq!(keys::get(&**store, TenantScope::All, key.id).await.unwrap(), key);

        let snapshot = store.snapshot().await.unwrap();
        assert_eq!(snapshot.keys.keys().copied().collect::<Vec<_>>(), [store.digest_key(text)]);
        assert_eq!(&*snapshot.keys[&store.digest_key(text)].tenant.name, "acme");
    }

    async fn a_declared_key_is_taken_as_it_is(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let (acme, other) = (tenant(&mut tx, "acme").await, tenant(&mut tx, "other").await);
        let declared = SecretString::from("sk-proj-0123456789abcdefghij");
        let new = NewKey { declared: Some(declared.clone()), ..new_key(acme.id, "moved") };
        let (key, secret) = keys::create(&mut tx, &new).await.unwrap();
        assert_eq!(secret.expose_secret(), declared.expose_secret());
        assert_eq!((key.prefix.as_str(), key.last4.as_str()), ("sk-p", "ghij"));

        for bad in ["too-short-for-a-key-23-c", "sk-tg1_claims-to-be-ours-and-is-not-one"] {
            let bad = &bad[..bad.len().min(if bad.starts_with("too") { 23 } else { 100 })];
            let new = NewKey { declared: Some(bad.into()), ..new_key(acme.id, "bad") };
            assert!(matches!(keys::create(&mut tx, &new).await, Err(StoreError::Invalid { field: "secret", .. })), "{bad}");
        }
        let twice = keys::create(&mut tx, &NewKey { declared: Some(declared), ..new_key(other.id, "twice") }).await.unwrap_err();
        assert!(matches!(&twice, StoreError::AlreadyExists { field: "secret", .. }), "{twice:?}");
        assert!(!twice.to_string().contains("sk-proj"), "{twice}");
    }

    async fn a_revoked_key_stays_listed_and_gives_its_name_back(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let acme = tenant(&mut tx, "acme").await;
        let (key, _) = keys::create(&mut tx, &new_key(acme.id, "ci")).await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let taken = keys::create(&mut tx, &new_key(acme.id, "ci")).await;
        assert!(matches!(taken, Err(StoreError::AlreadyExists { field: "name", .. })), "{taken:?}");
        drop(tx);

        let mut tx = store.begin().await.unwrap();
        let revoked = keys::revoke(&mut tx, TenantScope::All, key.id).await.unwrap();
        assert_eq!((revoked.status, revoked.version), (KeyStatus::Revoked, 2));
        assert_eq!(keys::revoke(&mut tx, TenantScope::All, key.id).await.unwrap(), revoked);
        let change = keys::update(&mut tx, TenantScope::All, key.id, 2, &key.settings()).await;
        assert!(matches!(change, Err(StoreError::Invalid { field: "status", .. })), "{change:?}");
        keys::create(&mut tx, &new_key(acme.id, "ci")).await.unwrap();
        tx.commit().await.unwrap();

        let of = |status| KeyFilter { status, ..KeyFilter::default() };
        for (status, count) in [(None, 2), (Some(KeyStatus::Active), 1), (Some(KeyStatus::Revoked), 1)] {
            let page = keys::list(&**store, TenantScope::All, &of(status), &PageRequest::default()).await.unwrap();
            assert_eq!(page.data.len(), count, "{status:?}");
        }
        assert_eq!(store.snapshot().await.unwrap().keys.len(), 2);
    }

    async fn what_belongs_to_another_tenant_does_not_exist(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let (acme, other) = (tenant(&mut tx, "acme").await, tenant(&mut tx, "other").await);
        let (key, _) = keys::create(&mut tx, &new_key(acme.id, "ci")).await.unwrap();
        let foreign = TenantScope::Only(other.id);
        assert!(matches!(keys::get(&mut tx, foreign, key.id).await, Err(StoreError::NotFound { .. })));
        assert!(matches!(keys::revoke(&mut tx, foreign, key.id).await, Err(StoreError::NotFound { .. })));
        let update = keys::update(&mut tx, foreign, key.id, 1, &key.settings()).await;
        assert!(matches!(update, Err(StoreError::NotFound { .. })));
        assert!(matches!(tenants::get(&mut tx, foreign, acme.id).await, Err(StoreError::NotFound { .. })));
        let all = tenants::list(&mut tx, foreign, &TenantFilter::default(), &PageRequest::default()).await.unwrap();
        assert_eq!(all.data, [other]);
        for filter in [KeyFilter::default(), KeyFilter { tenant_id: Some(acme.id), ..KeyFilter::default() }] {
            assert_eq!(keys::list(&mut tx, foreign, &filter, &PageRequest::default()).await.unwrap().data, []);
        }
        assert_eq!(keys::get(&mut tx, TenantScope::Only(acme.id), key.id).await.unwrap(), key);
    }

    async fn use_of_a_key_is_noted_without_a_new_version(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let acme = tenant(&mut tx, "acme").await;
        let mut ids = Vec::new();
        // More than SQLite is told of at once.
        for n in 0..112 {
            ids.push(keys::create(&mut tx, &new_key(acme.id, &format!("ci-{n}"))).await.unwrap().0.id);
        }
        let (spared, used) = ids.split_first().unwrap();
        let version = tx.commit().await.unwrap();
        let (earlier, later) = (Timestamp::from_micros(1), Timestamp::from_micros(2));
        let mut tx = store.begin().await.unwrap();
        for at in [later, earlier] {
            keys::note_used(&mut tx, &used.iter().map(|id| (*id, at)).collect::<Vec<_>>()).await.unwrap();
        }
        assert_eq!(tx.commit().await.unwrap(), version);
        for id in used {
            let read = keys::get(&**store, TenantScope::All, *id).await.unwrap();
            assert_eq!((read.last_used_at, read.version), (Some(later), 1));
        }
        assert_eq!(keys::get(&**store, TenantScope::All, *spared).await.unwrap().last_used_at, None);
    }

    async fn a_credential_is_written_and_never_read_back(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let upstream = upstream(&mut tx, "anthropic-main").await;
        let new = |name: &str, secret: &str| NewCredential {
            upstream_id: upstream.id,
            settings: CredentialSettings::named(name),
            secret: secret.into(),
        };
        let one = credentials::create(&mut tx, &new("a1", "sk-ant-0123456789abcdef")).await.unwrap();
        let two = credentials::create(&mut tx, &new("a2", "sk-ant-0123456789abcdef")).await.unwrap();
        assert_eq!(one.last4, "cdef");
        assert_eq!(one.fingerprint, two.fingerprint);
        let json = serde_json::to_string(&one).unwrap();
        assert!(!json.contains("0123456789"), "{json}");
        let replaced = credentials::replace_secret(&mut tx, one.id, 1, &"sk-ant-another-secret-00".into()).await.unwrap();
        assert_ne!(replaced.fingerprint, two.fingerprint);
        tx.commit().await.unwrap();

        assert_eq!(credentials::list(&**store, upstream.id).await.unwrap(), [replaced, two]);
        let snapshot = store.snapshot().await.unwrap();
        let secrets: Vec<_> =
            snapshot.upstreams[&upstream.id].credentials.iter().map(|c| (c.name.clone(), c.secret.expose_secret().to_owned())).collect();
        assert_eq!(secrets, [("a1".into(), "sk-ant-another-secret-00".into()), ("a2".into(), "sk-ant-0123456789abcdef".to_owned())]);
        assert_eq!(credentials::open_secret(store, one.id).await.unwrap().expose_secret(), "sk-ant-another-secret-00");
        assert_eq!(credentials::open_proxy(store, one.id).await.unwrap(), ProxyPool::default());
    }

    async fn a_proxy_with_a_password_is_sealed_and_shown_masked(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let settings = UpstreamSettings {
            proxy: "socks5://me:hunter2@127.0.0.1:1080".into(),
            ..UpstreamSettings::at("u", Dialect::OpenaiChat, "https://api.openai.com")
        };
        let created = upstreams::create(&mut tx, &settings).await.unwrap();
        assert_eq!(created.proxy, "socks5://me:***@127.0.0.1:1080".into());
        // What was read can be written back: the mask keeps the password.
        let renamed = UpstreamSettings { name: "v".into(), ..created.settings() };
        let renamed = upstreams::update(&mut tx, created.id, 1, &renamed).await.unwrap();
        assert_eq!(renamed.proxy, created.proxy);
        tx.commit().await.unwrap();
        let snapshot = store.snapshot().await.unwrap();
        assert_eq!(snapshot.upstreams[&created.id].proxy, settings.proxy);

        let mut tx = store.begin().await.unwrap();
        let elsewhere = UpstreamSettings { proxy: "socks5://me:***@10.0.0.1:1080".into(), ..renamed.settings() };
        assert!(matches!(upstreams::update(&mut tx, created.id, 2, &elsewhere).await, Err(StoreError::Invalid { field: "proxy", .. })));
        let plain = UpstreamSettings { proxy: "http://127.0.0.1:3128".into(), ..renamed.settings() };
        let plain = upstreams::update(&mut tx, created.id, 2, &plain).await.unwrap();
        assert_eq!(plain.proxy, "http://127.0.0.1:3128".into());
    }

    async fn an_upstream_in_use_is_not_deleted_and_the_models_are_named(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let upstream = upstream(&mut tx, "u").await;
        let secret = NewCredential { upstream_id: upstream.id, settings: CredentialSettings::named("c"), secret: "s3cret".into() };
        let credential = credentials::create(&mut tx, &secret).await.unwrap();
        let targets = vec![TargetSettings::at(upstream.id, "m-1"), TargetSettings::at(upstream.id, "m-2")];
        let model = models::create(&mut tx, &ModelSettings::named("smart", targets)).await.unwrap();
        let refused = upstreams::delete(&mut tx, upstream.id, 1).await;
        assert!(matches!(&refused, Err(StoreError::InUse { by, .. }) if by == "the models smart"), "{refused:?}");
        models::delete(&mut tx, model.id, 1).await.unwrap();
        upstreams::delete(&mut tx, upstream.id, 1).await.unwrap();
        assert!(matches!(credentials::get(&mut tx, credential.id).await, Err(StoreError::NotFound { .. })));
    }

    async fn targets_are_replaced_as_a_whole_and_those_that_stay_keep_their_id(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let (a, b) = (upstream(&mut tx, "a").await, upstream(&mut tx, "b").await);
        let last = TargetSettings { priority: 2, ..TargetSettings::at(b.id, "local") };
        let settings = ModelSettings::named("smart", vec![last.clone(), TargetSettings::at(a.id, "big")]);
        let model = models::create(&mut tx, &settings).await.unwrap();
        let names: Vec<_> = model.targets.iter().map(|t| t.settings.upstream_model.as_str()).collect();
        assert_eq!(names, ["big", "local"]);

        let heavier = TargetSettings { weight: 9, ..TargetSettings::at(a.id, "big") };
        let settings = ModelSettings { strict: true, targets: vec![heavier, TargetSettings::at(b.id, "new")], ..model.settings() };
        let updated = models::update(&mut tx, model.id, 1, &settings).await.unwrap();
        assert_eq!((updated.version, updated.strict, updated.targets.len()), (2, true, 2));
        assert_eq!((updated.targets[0].id, updated.targets[0].settings.weight), (model.targets[0].id, 9));
        assert_ne!(updated.targets[1].id, model.targets[1].id);
        tx.commit().await.unwrap();
        assert_eq!(models::get(&**store, model.id).await.unwrap(), updated);
        assert_eq!(models::find_by_name(&**store, "smart").await.unwrap(), Some(updated.clone()));

        let mut tx = store.begin().await.unwrap();
        let twice = ModelSettings::named("twice", vec![TargetSettings::at(a.id, "x"), TargetSettings::at(a.id, "x")]);
        assert!(matches!(models::create(&mut tx, &twice).await, Err(StoreError::Invalid { field: "targets", .. })));
        let stale = models::update(&mut tx, model.id, 1, &settings).await;
        assert!(matches!(stale, Err(StoreError::VersionMismatch { current: 2, .. })));
        let nowhere = ModelSettings::named("nowhere", vec![TargetSettings::at(tallygate_types::UpstreamId::generate(), "x")]);
        assert!(matches!(models::create(&mut tx, &nowhere).await, Err(StoreError::NotFound { kind: "upstream", .. })));
    }

    async fn every_name_and_alias_leads_to_one_model(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let named = |name: &str, aliases: &[&str]| ModelSettings {
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            ..ModelSettings::named(name, Vec::new())
        };
        let smart = models::create(&mut tx, &named("smart", &["gpt-x", "claude-x"])).await.unwrap();
        assert_eq!(smart.aliases, ["gpt-x", "claude-x"]);
        let fast = models::create(&mut tx, &named("fast", &[])).await.unwrap();
        tx.commit().await.unwrap();
        for (settings, field) in [
            (named("new", &["claude-x"]), "aliases"),
            (named("new", &["fast"]), "aliases"),
            (named("claude-x", &[]), "name"),
        ] {
            let mut tx = store.begin().await.unwrap();
            let refused = models::create(&mut tx, &settings).await;
            assert!(matches!(&refused, Err(StoreError::AlreadyExists { field: at, .. }) if *at == field), "{settings:?}: {refused:?}");
        }
        let mut tx = store.begin().await.unwrap();
        let renamed = models::update(&mut tx, fast.id, 1, &named("gpt-x", &[])).await;
        assert!(matches!(renamed, Err(StoreError::AlreadyExists { field: "name", .. })));
        drop(tx);
        for aliases in [&["a", "a"][..], &["smart"], &[""], &[" a"]] {
            let mut tx = store.begin().await.unwrap();
            let refused = models::update(&mut tx, smart.id, 1, &named("smart", aliases)).await;
            assert!(matches!(refused, Err(StoreError::Invalid { field: "aliases", .. })), "{aliases:?}");
        }

        let mut tx = store.begin().await.unwrap();
        let updated = models::update(&mut tx, smart.id, 1, &named("smart", &["claude-y", "gpt-x"])).await.unwrap();
        models::update(&mut tx, fast.id, 1, &named("fast", &["claude-x"])).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(models::get(&**store, smart.id).await.unwrap(), updated);
        let page = models::list(&**store, &ModelFilter::default(), &PageRequest::first(10)).await.unwrap();
        assert_eq!(page.data.iter().map(|model| model.aliases.join(" ")).collect::<Vec<_>>(), ["claude-x", "claude-y gpt-x"]);
        let snapshot = store.snapshot().await.unwrap();
        for (name, id) in [("smart", smart.id), ("claude-y", smart.id), ("gpt-x", smart.id), ("claude-x", fast.id)] {
            assert_eq!(snapshot.model(name).map(|model| model.id), Some(id), "{name}");
        }
        assert!(snapshot.model("claude-z").is_none());

        let mut tx = store.begin().await.unwrap();
        models::delete(&mut tx, smart.id, 2).await.unwrap();
        models::create(&mut tx, &named("claude-y", &["smart"])).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn a_page_of_models_has_the_targets_of_each(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let u = upstream(&mut tx, "u").await;
        for number in 0..5 {
            let targets = (0..number).map(|n| TargetSettings::at(u.id, format!("m-{n}"))).collect();
            models::create(&mut tx, &ModelSettings::named(format!("model-{number}"), targets)).await.unwrap();
        }
        tx.commit().await.unwrap();
        let page = models::list(&**store, &ModelFilter::default(), &PageRequest::first(3)).await.unwrap();
        assert_eq!(page.data.iter().map(|m| m.targets.len()).collect::<Vec<_>>(), [4, 3, 2]);
        let rest = PageRequest { after: page.next, limit: None };
        let page = models::list(&**store, &ModelFilter::default(), &rest).await.unwrap();
        assert_eq!(page.data.iter().map(|m| m.targets.len()).collect::<Vec<_>>(), [1, 0]);
        let none = ModelFilter { status: Some(Status::Disabled), search: None };
        assert_eq!(models::list(&**store, &none, &PageRequest::default()).await.unwrap().data, []);
        let filter = UpstreamFilter { dialect: Some(Dialect::Anthropic), ..UpstreamFilter::default() };
        assert_eq!(upstreams::list(&**store, &filter, &PageRequest::default()).await.unwrap().data, [u]);
    }
}
