//! Projects, budgets and what keys may be used for.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use tallygate_store::budgets::{self, BudgetMode, BudgetScope, BudgetSettings};
use tallygate_store::keys::{self, ApiKey, KeyFilter, KeySettings, MAX_OVERLAP, NewKey};
use tallygate_store::projects::{self, ProjectFilter, ProjectSettings, ProjectStatus};
use tallygate_store::tenants::{self, Tenant, TenantSettings};
use tallygate_store::upstreams::Status;
use tallygate_store::users::{self, NewUser, Role, UserFilter, UserSettings};
use tallygate_store::{Budget, BudgetPeriod, Limits, PageRequest, StoreError, TenantScope, Tx};
use tallygate_types::{Currency, Pico, TenantId, Timestamp};

use crate::contract;

async fn tenant(tx: &mut Tx, name: &str) -> Tenant {
    tenants::create(tx, &TenantSettings::named(name)).await.unwrap()
}

async fn key(tx: &mut Tx, tenant_id: TenantId, settings: KeySettings) -> Result<ApiKey, StoreError> {
    keys::create(tx, &NewKey { tenant_id, settings, declared: None, created_by: None }).await.map(|(key, _)| key)
}

fn budget(scope: BudgetScope) -> BudgetSettings {
    let (amount, currency) = ("12.500000000001".parse().unwrap(), Currency::USD);
    BudgetSettings { scope, period: BudgetPeriod::Day, amount, currency, mode: BudgetMode::Soft, alerts: vec![50, 100] }
}

fn refuses<T: std::fmt::Debug>(result: Result<T, StoreError>, field: &str) {
    assert!(matches!(&result, Err(StoreError::Invalid { field: named, .. }) if *named == field), "{field}: {result:?}");
}

contract! {
    async fn a_project_reads_back_and_its_keys_follow_it_to_a_new_name(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let acme = tenant(&mut tx, "acme").await;
        let limits = Limits { requests_per_minute: Some(7), tokens_per_minute: Some(1 << 40), concurrency: Some(2) };
        let settings = ProjectSettings { limits, allowed_models: Some(vec!["smart".into()]), ..ProjectSettings::named("search") };
        let made = projects::create(&mut tx, acme.id, &settings).await.unwrap();
        assert_eq!((made.settings(), made.version, made.tenant_id), (settings.clone(), 1, acme.id));
        let of_it = KeySettings { project: Some("search".into()), ..KeySettings::named("ci") };
        let ci = key(&mut tx, acme.id, of_it.clone()).await.unwrap();
        let renamed = ProjectSettings { name: "find".into(), ..settings };
        let renamed = projects::update(&mut tx, TenantScope::All, made.id, 1, &renamed).await.unwrap();
        assert_eq!((renamed.name.as_str(), renamed.version), ("find", 2));
        assert_eq!(keys::get(&mut tx, TenantScope::All, ci.id).await.unwrap().project.as_deref(), Some("find"));
        let stale = projects::update(&mut tx, TenantScope::All, made.id, 1, &renamed.settings()).await;
        assert!(matches!(stale, Err(StoreError::VersionMismatch { current: 2, .. })), "{stale:?}");
        refuses(key(&mut tx, acme.id, KeySettings { name: "ci2".into(), ..of_it }).await, "project");
        tx.commit().await.unwrap();

        let snapshot = store.snapshot().await.unwrap();
        let entry = snapshot.keys.values().next().unwrap();
        let project = entry.project().unwrap();
        assert_eq!((project.id, &*project.name, project.limits), (made.id, "find", limits));
        assert_eq!(project.allowed_models.as_deref(), Some(["smart".to_owned()].as_slice()));
    }

    async fn a_project_with_keys_is_archived_and_takes_no_more(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let acme = tenant(&mut tx, "acme").await;
        let web = projects::create(&mut tx, acme.id, &ProjectSettings::named("web")).await.unwrap();
        let bare = projects::create(&mut tx, acme.id, &ProjectSettings::named("bare")).await.unwrap();
        let of_web = KeySettings { project: Some("web".into()), ..KeySettings::named("ci") };
        let ci = key(&mut tx, acme.id, of_web.clone()).await.unwrap();
        let refused = projects::delete(&mut tx, TenantScope::All, web.id, 1).await;
        assert!(matches!(refused, Err(StoreError::InUse { .. })), "{refused:?}");
        projects::delete(&mut tx, TenantScope::All, bare.id, 1).await.unwrap();
        let archived = ProjectSettings { status: ProjectStatus::Archived, ..web.settings() };
        projects::update(&mut tx, TenantScope::All, web.id, 1, &archived).await.unwrap();
        refuses(key(&mut tx, acme.id, KeySettings { name: "late".into(), ..of_web.clone() }).await, "project");
        // The key that is in it can still be changed.
        let changed = KeySettings { tags: vec!["t".into()], ..of_web };
        assert_eq!(keys::update(&mut tx, TenantScope::All, ci.id, 1, &changed).await.unwrap().settings(), changed);
        let shown = ProjectFilter { status: Some(ProjectStatus::Archived), ..ProjectFilter::default() };
        let page = projects::list(&mut tx, TenantScope::Only(acme.id), &shown, &PageRequest::default()).await.unwrap();
        assert_eq!(page.data.iter().map(|project| project.id).collect::<Vec<_>>(), [web.id]);
    }

    async fn what_belongs_to_another_tenant_does_not_exist(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let (acme, other) = (tenant(&mut tx, "acme").await, tenant(&mut tx, "other").await);
        let web = projects::create(&mut tx, acme.id, &ProjectSettings::named("web")).await.unwrap();
        let ci = key(&mut tx, acme.id, KeySettings::named("ci")).await.unwrap();
        let made = budgets::create(&mut tx, acme.id, &budget(BudgetScope::Key { key_id: ci.id })).await.unwrap();
        let foreign = TenantScope::Only(other.id);
        let missing = |result: Result<(), StoreError>| assert!(matches!(result, Err(StoreError::NotFound { .. })), "{result:?}");
        missing(projects::get(&mut tx, foreign, web.id).await.map(drop));
        missing(projects::update(&mut tx, foreign, web.id, 1, &web.settings()).await.map(drop));
        missing(projects::delete(&mut tx, foreign, web.id, 1).await);
        missing(budgets::get(&mut tx, foreign, made.id).await.map(drop));
        missing(budgets::update(&mut tx, foreign, made.id, 1, &made.settings).await.map(drop));
        missing(budgets::delete(&mut tx, foreign, made.id, 1).await);
        missing(keys::rotate(&mut tx, foreign, ci.id, 1, Duration::ZERO).await.map(drop));
        // Nor can a budget reach over.
        missing(budgets::create(&mut tx, other.id, &budget(BudgetScope::Key { key_id: ci.id })).await.map(drop));
        missing(budgets::create(&mut tx, other.id, &budget(BudgetScope::Project { project_id: web.id })).await.map(drop));
        refuses(key(&mut tx, other.id, KeySettings { project: Some("web".into()), ..KeySettings::named("x") }).await, "project");
        let page = PageRequest::default();
        assert!(budgets::list(&mut tx, foreign, None, &page).await.unwrap().data.is_empty());
        assert!(budgets::list(&mut tx, foreign, Some(acme.id), &page).await.unwrap().data.is_empty());
        assert!(projects::list(&mut tx, foreign, &ProjectFilter::default(), &page).await.unwrap().data.is_empty());
    }

    async fn every_scope_of_a_budget_reads_back_and_reaches_the_snapshot(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let acme = tenant(&mut tx, "acme").await;
        let web = projects::create(&mut tx, acme.id, &ProjectSettings::named("web")).await.unwrap();
        let ci = key(&mut tx, acme.id, KeySettings::named("ci")).await.unwrap();
        let own = Budget { amount: Pico::new(5), currency: Currency::USD, period: BudgetPeriod::Total };
        tenants::update(&mut tx, acme.id, 1, &TenantSettings { budget: Some(own), ..acme.settings() }).await.unwrap();
        let mut made = Vec::new();
        for scope in [
            BudgetScope::Tenant,
            BudgetScope::Project { project_id: web.id },
            BudgetScope::Key { key_id: ci.id },
            BudgetScope::Model { model: "smart".into() },
            BudgetScope::EndUser { end_user: None },
            BudgetScope::EndUser { end_user: Some("u1".into()) },
        ] {
            let settings = budget(scope);
            let stored = budgets::create(&mut tx, acme.id, &settings).await.unwrap();
            assert_eq!((&stored.settings, stored.version), (&settings, 1));
            assert_eq!(budgets::get(&mut tx, TenantScope::Only(acme.id), stored.id).await.unwrap(), stored);
            made.push((stored.id, settings));
        }
        tx.commit().await.unwrap();
        let snapshot = store.snapshot().await.unwrap();
        let entries = snapshot.tenants[&acme.id].budgets();
        assert_eq!((entries[0].id.uuid(), entries[0].settings.mode), (acme.id.uuid(), BudgetMode::Hard));
        assert_eq!(entries[0].settings.period, BudgetPeriod::Total);
        assert_eq!(entries[1..].iter().map(|entry| (entry.id, entry.settings.clone())).collect::<Vec<_>>(), made);
    }

    async fn of_a_budget_amount_mode_and_alerts_change_and_nothing_else(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let acme = tenant(&mut tx, "acme").await;
        let made = budgets::create(&mut tx, acme.id, &budget(BudgetScope::Tenant)).await.unwrap();
        let raised = BudgetSettings { amount: Pico::new(7), mode: BudgetMode::Hard, alerts: vec![], ..made.settings.clone() };
        let updated = budgets::update(&mut tx, TenantScope::All, made.id, 1, &raised).await.unwrap();
        assert_eq!((&updated.settings, updated.version), (&raised, 2));
        let monthly = BudgetSettings { period: BudgetPeriod::Month, ..raised.clone() };
        refuses(budgets::update(&mut tx, TenantScope::All, made.id, 2, &monthly).await, "scope");
        for (field, bad) in [
            ("amount", BudgetSettings { amount: Pico::new(-1), ..raised.clone() }),
            ("alerts", BudgetSettings { alerts: vec![100, 50], ..raised.clone() }),
            ("alerts", BudgetSettings { alerts: vec![0], ..raised.clone() }),
            ("model", BudgetSettings { scope: BudgetScope::Model { model: String::new() }, ..raised.clone() }),
            ("end_user", BudgetSettings { scope: BudgetScope::EndUser { end_user: Some(String::new()) }, ..raised.clone() }),
        ] {
            refuses(budgets::create(&mut tx, acme.id, &bad).await, field);
        }
        budgets::delete(&mut tx, TenantScope::All, made.id, 2).await.unwrap();
        assert!(matches!(budgets::get(&mut tx, TenantScope::All, made.id).await, Err(StoreError::NotFound { .. })));
    }

    async fn a_member_has_the_keys_they_made_and_no_other(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let acme = tenant(&mut tx, "acme").await;
        let mut person = async |email: &str| {
            let settings = UserSettings {
                email: email.into(),
                name: "M".into(),
                role: Role::TenantMember,
                tenant_id: Some(acme.id),
                status: Status::Active,
            };
            users::create(&mut tx, &NewUser { settings, password_hash: "$argon2id$x".into() }).await.unwrap()
        };
        let (ada, bo) = (person("ada@example.com").await, person("bo@example.com").await);
        let mut made_by = async |name: &str, created_by| {
            let new = NewKey { tenant_id: acme.id, settings: KeySettings::named(name), declared: None, created_by };
            keys::create(&mut tx, &new).await.unwrap().0
        };
        let of_ada = made_by("ada's", Some(ada.id)).await;
        let others = [made_by("bo's", Some(bo.id)).await, made_by("staff's", None).await];
        let list = keys::list(&mut tx, ada.scope(), &KeyFilter::default(), &PageRequest::default()).await.unwrap();
        assert_eq!(list.data, std::slice::from_ref(&of_ada));
        let named = KeyFilter { tenant_id: Some(acme.id), ..KeyFilter::default() };
        assert_eq!(keys::list(&mut tx, ada.scope(), &named, &PageRequest::default()).await.unwrap().data, std::slice::from_ref(&of_ada));
        for other in others {
            let missing = |result: Result<(), StoreError>| assert!(matches!(result, Err(StoreError::NotFound { .. })), "{result:?}");
            missing(keys::get(&mut tx, ada.scope(), other.id).await.map(drop));
            missing(keys::update(&mut tx, ada.scope(), other.id, 1, &other.settings()).await.map(drop));
            missing(keys::revoke(&mut tx, ada.scope(), other.id).await.map(drop));
            missing(keys::rotate(&mut tx, ada.scope(), other.id, 1, Duration::ZERO).await.map(drop));
            assert_eq!(keys::get(&mut tx, TenantScope::All, other.id).await.unwrap(), other);
        }
        let everyone = users::list(&mut tx, ada.scope(), &UserFilter::default(), &PageRequest::default()).await.unwrap();
        assert_eq!(everyone.data, std::slice::from_ref(&ada));
        assert!(matches!(users::get(&mut tx, ada.scope(), bo.id).await, Err(StoreError::NotFound { .. })));
        let rotated = keys::rotate(&mut tx, ada.scope(), of_ada.id, 1, Duration::ZERO).await.unwrap().0;
        assert_eq!(rotated.created_by, Some(ada.id));
    }

    async fn a_rotated_key_has_two_texts_until_the_overlap_ends(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let acme = tenant(&mut tx, "acme").await;
        let networks = Some(vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::1".parse().unwrap()]);
        let settings = KeySettings {
            allowed_endpoints: Some(vec!["messages".into()]),
            allowed_networks: networks.clone(),
            ..KeySettings::named("ci")
        };
        let (made, first) = keys::create(&mut tx, &NewKey { tenant_id: acme.id, settings, declared: None, created_by: None }).await.unwrap();
        let (rotated, second) = keys::rotate(&mut tx, TenantScope::All, made.id, 1, Duration::from_hours(1)).await.unwrap();
        assert_eq!((rotated.id, rotated.version, rotated.settings()), (made.id, 2, made.settings()));
        let until = Timestamp::parse("2026-11-22T13:00:00Z").unwrap();
        assert_eq!(rotated.previous_expires_at, Some(until));
        assert!(rotated.last4 != made.last4 && second.expose_secret().ends_with(&rotated.last4));
        tx.commit().await.unwrap();
        let snapshot = store.snapshot().await.unwrap();
        let entry = |secret: &str| snapshot.keys[&store.digest_key(secret)].clone();
        let (before, after) = (entry(first.expose_secret()), entry(second.expose_secret()));
        assert_eq!((before.id, before.expires_at), (made.id, Some(until)));
        assert_eq!((after.id, after.expires_at), (made.id, None));
        let terms = after.terms.as_ref().unwrap();
        assert_eq!((terms.endpoints.as_deref(), &terms.networks), (Some(["messages".to_owned()].as_slice()), &networks));

        // A second rotation ends the text before the first; a key's own end is the end of all its texts.
        let mut tx = store.begin().await.unwrap();
        let (_, third) = keys::rotate(&mut tx, TenantScope::All, made.id, 2, Duration::from_hours(1)).await.unwrap();
        let ends = Timestamp::parse("2026-11-22T12:30:00Z").unwrap();
        let settings = KeySettings { expires_at: Some(ends), ..rotated.settings() };
        keys::update(&mut tx, TenantScope::All, made.id, 3, &settings).await.unwrap();
        refuses(keys::rotate(&mut tx, TenantScope::All, made.id, 4, MAX_OVERLAP + Duration::from_secs(1)).await, "overlap_seconds");
        tx.commit().await.unwrap();
        let snapshot = store.snapshot().await.unwrap();
        let ends_of = |secret: &str| snapshot.keys.get(&store.digest_key(secret)).map(|entry| entry.expires_at);
        assert_eq!(ends_of(first.expose_secret()), None);
        assert_eq!(ends_of(second.expose_secret()), Some(Some(ends)));
        assert_eq!(ends_of(third.expose_secret()), Some(Some(ends)));
    }
}
