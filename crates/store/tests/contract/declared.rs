//! Resources of the configuration file.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};
use tallygate_store::credentials::{CredentialLimits, CredentialSettings};
use tallygate_store::declared::{
    self, Applied, DeclaredCredential, DeclaredModel, DeclaredRoute, DeclaredTarget, DeclaredTenant, DeclaredUpstream,
};
use tallygate_store::responses::ResponseSettings;
use tallygate_store::routes::RouteSettings;
use tallygate_store::routing::{Capabilities, RouteMatch, RoutingPolicy, Strategy, TargetCost};
use tallygate_store::targets::TargetSettings;
use tallygate_store::upstreams::{self, Status, UpstreamSettings};
use tallygate_store::{BillingTerms, Limits, ManagedBy, ProxyPool, StoreError, TenantScope, credentials, keys, models, routes};
use tallygate_types::{Dialect, Pico};

use crate::contract;

fn upstream() -> DeclaredUpstream {
    let credential = |name: &str, secret: &str| {
        let limits = CredentialLimits { concurrency: Some(8), daily_spend: Some(Pico::new(5)), ..CredentialLimits::default() };
        let settings = CredentialSettings { weight: 3, limits, ..CredentialSettings::named(name) };
        DeclaredCredential { settings, secret: secret.into() }
    };
    DeclaredUpstream {
        settings: UpstreamSettings {
            proxy: vec!["http://me:hunter2@127.0.0.1:3128".to_owned(), "socks5://127.0.0.1:1080".into()].into(),
            no_proxy: vec!["10.0.0.0/8".into()],
            credential_strategy: Strategy::LeastInFlight,
            ..UpstreamSettings::at("anthropic-main", Dialect::Anthropic, "https://api.anthropic.com")
        },
        credentials: vec![credential("a1", "secret-number-one"), credential("a2", "secret-number-two")],
    }
}

fn model() -> DeclaredModel {
    let target = |model: &str, priority| DeclaredTarget {
        upstream: "anthropic-main".into(),
        model: model.into(),
        weight: 9,
        priority,
        arm: None,
        price_model: Some("smart".into()),
        cost: Some(TargetCost { input: Pico::new(3), output: Pico::new(15) }),
        capabilities: Capabilities { context_tokens: Some(200_000), images: Some(true), ..Capabilities::default() },
    };
    DeclaredModel {
        name: "smart".into(),
        aliases: vec!["claude-smart".into()],
        strict: false,
        routing: RoutingPolicy { strategy: Strategy::Cost, ..RoutingPolicy::default() },
        targets: vec![target("second", 2), target("first", 1)],
    }
}

fn route(name: &str, position: u32) -> DeclaredRoute {
    let matches = RouteMatch { tags: vec!["batch".into()], ..RouteMatch::default() };
    DeclaredRoute { name: name.into(), position, matches, routing: RoutingPolicy::default(), targets: model().targets }
}

fn tenant() -> DeclaredTenant {
    let limits = Limits { requests_per_minute: Some(600), ..Limits::default() };
    DeclaredTenant {
        name: "acme".into(),
        time_zone: "UTC".into(),
        limits,
        model_limits: BTreeMap::new(),
        end_user_limits: Limits::default(),
        budget: None,
        billing: BillingTerms::default(),
        allowed_models: None,
        responses: ResponseSettings::default(),
    }
}

contract! {
    async fn the_same_file_twice_changes_nothing(store: &TestStore) {
        let secret = SecretString::from("acme-ci-key-of-24-characters");
        let mut versions = Vec::new();
        for expected in [Applied::Created, Applied::Unchanged] {
            let mut tx = store.begin().await.unwrap();
            let (stored, applied) = declared::upstream(&mut tx, &upstream()).await.unwrap();
            assert_eq!((applied, stored.managed_by), (expected, ManagedBy::File));
            assert_eq!(declared::model(&mut tx, &model()).await.unwrap().1, expected);
            assert_eq!(declared::route(&mut tx, &route("batch", 1)).await.unwrap().1, expected);
            assert_eq!(declared::remove_other_routes(&mut tx, &["batch"]).await.unwrap(), []);
            declared::check(&mut tx).await.unwrap();
            let (acme, applied) = declared::tenant(&mut tx, &tenant()).await.unwrap();
            assert_eq!(applied, expected);
            let (key, minted, applied) = declared::key(&mut tx, acme.id, "ci", Some(&secret)).await.unwrap();
            assert_eq!((applied, minted.is_none(), key.version), (expected, true, 1));
            let (_, minted, applied) = declared::key(&mut tx, acme.id, "minted", None).await.unwrap();
            assert_eq!((applied, minted.is_some()), (expected, expected == Applied::Created));
            versions.push(tx.commit().await.unwrap());
        }
        assert_eq!(versions[0], versions[1]);
    }

    async fn a_changed_file_changes_what_it_names(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let (stored, _) = declared::upstream(&mut tx, &upstream()).await.unwrap();
        let made_by_api = credentials::NewCredential {
            upstream_id: stored.id,
            settings: CredentialSettings::named("by-hand"),
            secret: "made-through-the-api".into(),
        };
        credentials::create(&mut tx, &made_by_api).await.unwrap();
        tx.commit().await.unwrap();

        let mut changed = upstream();
        changed.credentials.remove(0);
        changed.credentials[0].secret = "secret-number-two-b".into();
        changed.settings.proxy = ProxyPool::default();
        let mut tx = store.begin().await.unwrap();
        let (again, applied) = declared::upstream(&mut tx, &changed).await.unwrap();
        assert_eq!((applied, again.id, again.proxy), (Applied::Updated, stored.id, ProxyPool::default()));
        tx.commit().await.unwrap();

        let snapshot = store.snapshot().await.unwrap();
        let secrets: Vec<_> = snapshot.upstreams[&stored.id].credentials.iter().map(|c| (c.name.as_str(), c.secret.expose_secret())).collect();
        assert_eq!(secrets, [("a2", "secret-number-two-b"), ("by-hand", "made-through-the-api")]);
    }

    async fn a_changed_key_of_the_file_works_at_once_and_the_old_one_no_more(store: &TestStore) {
        let (old, new) = ("first-text-of-the-key-000", "second-text-of-the-key-00");
        let mut tx = store.begin().await.unwrap();
        let (acme, _) = declared::tenant(&mut tx, &tenant()).await.unwrap();
        let (first, ..) = declared::key(&mut tx, acme.id, "ci", Some(&old.into())).await.unwrap();
        let (second, _, applied) = declared::key(&mut tx, acme.id, "ci", Some(&new.into())).await.unwrap();
        assert_eq!((second.id, second.version, applied), (first.id, 2, Applied::Updated));
        tx.commit().await.unwrap();
        let snapshot = store.snapshot().await.unwrap();
        assert!(!snapshot.keys.contains_key(&store.digest_key(old)));
        assert_eq!(snapshot.keys[&store.digest_key(new)].id, first.id);
    }

    async fn a_revoked_key_stays_revoked_though_the_file_declares_it(store: &TestStore) {
        let secret = SecretString::from("acme-ci-key-of-24-characters");
        let mut tx = store.begin().await.unwrap();
        let (acme, _) = declared::tenant(&mut tx, &tenant()).await.unwrap();
        for (name, secret) in [("ci", Some(&secret)), ("minted", None)] {
            let (key, ..) = declared::key(&mut tx, acme.id, name, secret).await.unwrap();
            let revoked = keys::revoke(&mut tx, TenantScope::All, key.id).await.unwrap();
            let (again, shown, applied) = declared::key(&mut tx, acme.id, name, secret).await.unwrap();
            assert_eq!((again, shown.is_none(), applied), (revoked, true, Applied::Unchanged), "{name}");
        }
        // Another text is another key.
        let fresh = SecretString::from("acme-ci-key-number-two-of-it");
        let (key, _, applied) = declared::key(&mut tx, acme.id, "ci", Some(&fresh)).await.unwrap();
        assert_eq!((key.status, applied), (keys::KeyStatus::Active, Applied::Created));
    }

    async fn what_was_made_by_hand_is_taken_over_and_stays_disabled(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let settings = UpstreamSettings { status: Status::Disabled, ..UpstreamSettings::at("anthropic-main", Dialect::Gemini, "https://x.example") };
        let by_hand = upstreams::create(&mut tx, &settings).await.unwrap();
        let (taken, applied) = declared::upstream(&mut tx, &upstream()).await.unwrap();
        assert_eq!((taken.id, applied, taken.managed_by), (by_hand.id, Applied::Updated, ManagedBy::File));
        assert_eq!((taken.dialect, taken.status), (Dialect::Anthropic, Status::Disabled));
    }

    async fn a_model_names_upstreams_that_exist(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let missing = declared::model(&mut tx, &model()).await;
        assert!(matches!(&missing, Err(StoreError::NotFound { kind: "upstream", id }) if id == "anthropic-main"), "{missing:?}");
        declared::upstream(&mut tx, &upstream()).await.unwrap();
        let (made, _) = declared::model(&mut tx, &model()).await.unwrap();
        assert_eq!(made.targets.iter().map(|t| t.settings.upstream_model.as_str()).collect::<Vec<_>>(), ["first", "second"]);
        let strict = DeclaredModel { strict: true, ..model() };
        let (updated, applied) = declared::model(&mut tx, &strict).await.unwrap();
        assert_eq!((applied, updated.strict, updated.targets == made.targets), (Applied::Updated, true, true));
        assert_eq!(models::get(&mut tx, made.id).await.unwrap(), updated);
    }

    async fn a_price_may_be_declared_later_but_must_be(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        declared::upstream(&mut tx, &upstream()).await.unwrap();
        let mut early = model();
        early.targets[0].price_model = Some("later".into());
        declared::model(&mut tx, &early).await.unwrap();
        let missing = declared::check(&mut tx).await.unwrap_err().to_string();
        assert_eq!(missing, "targets.price_model: there is no model `later`, whose price targets are to be charged by");
        declared::model(&mut tx, &DeclaredModel { name: "later".into(), aliases: Vec::new(), ..model() }).await.unwrap();
        declared::check(&mut tx).await.unwrap();
    }

    async fn a_route_no_longer_declared_is_gone_and_one_made_by_hand_stays(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let (stored, _) = declared::upstream(&mut tx, &upstream()).await.unwrap();
        declared::model(&mut tx, &model()).await.unwrap();
        for (name, position) in [("one", 1), ("two", 2)] {
            declared::route(&mut tx, &route(name, position)).await.unwrap();
        }
        let by_hand = RouteSettings::named("by-hand", vec![TargetSettings::at(stored.id, "m")]);
        assert_eq!(routes::create(&mut tx, &by_hand).await.unwrap().position, 12);
        let moved = declared::route(&mut tx, &route("two", 1)).await.unwrap();
        assert_eq!((moved.1, moved.0.position, moved.0.version), (Applied::Updated, 1, 2));
        let gone = declared::remove_other_routes(&mut tx, &["two"]).await.unwrap();
        assert_eq!(gone.iter().map(|route| route.name.as_str()).collect::<Vec<_>>(), ["one"]);
        let left = routes::list(&mut tx).await.unwrap();
        assert_eq!(left.iter().map(|route| route.name.as_str()).collect::<Vec<_>>(), ["two", "by-hand"]);
    }
}
