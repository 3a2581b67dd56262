//! Resources of the configuration file.

use secrecy::{ExposeSecret as _, SecretString};
use tallygate_store::declared::{
    self, Applied, DeclaredCredential, DeclaredModel, DeclaredTarget, DeclaredTenant, DeclaredUpstream,
};
use tallygate_store::responses::ResponseSettings;
use tallygate_store::upstreams::{self, Status, Timeouts, UpstreamSettings};
use tallygate_store::{Limits, ManagedBy, StoreError, TenantScope, credentials, keys, models};
use tallygate_types::Dialect;

use crate::contract;

fn upstream() -> DeclaredUpstream {
    let credential = |name: &str, secret: &str| DeclaredCredential { name: name.into(), secret: secret.into(), proxy: None };
    DeclaredUpstream {
        name: "anthropic-main".into(),
        dialect: Dialect::Anthropic,
        base_url: "https://api.anthropic.com".into(),
        proxy: Some("http://me:hunter2@127.0.0.1:3128".into()),
        timeouts: Timeouts::default(),
        credentials: vec![credential("a1", "secret-number-one"), credential("a2", "secret-number-two")],
    }
}

fn model() -> DeclaredModel {
    let target =
        |model: &str, priority| DeclaredTarget { upstream: "anthropic-main".into(), model: model.into(), weight: 9, priority };
    DeclaredModel {
        name: "smart".into(),
        aliases: vec!["claude-smart".into()],
        strict: false,
        targets: vec![target("second", 2), target("first", 1)],
    }
}

fn tenant() -> DeclaredTenant {
    let limits = Limits { requests_per_minute: Some(600), ..Limits::default() };
    DeclaredTenant {
        name: "acme".into(),
        time_zone: "UTC".into(),
        limits,
        budget: None,
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
            settings: credentials::CredentialSettings::named("by-hand"),
            secret: "made-through-the-api".into(),
        };
        credentials::create(&mut tx, &made_by_api).await.unwrap();
        tx.commit().await.unwrap();

        let mut changed = upstream();
        changed.credentials.remove(0);
        changed.credentials[0].secret = "secret-number-two-b".into();
        changed.proxy = None;
        let mut tx = store.begin().await.unwrap();
        let (again, applied) = declared::upstream(&mut tx, &changed).await.unwrap();
        assert_eq!((applied, again.id, again.proxy), (Applied::Updated, stored.id, None));
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
        assert_eq!(made.targets.iter().map(|t| t.upstream_model.as_str()).collect::<Vec<_>>(), ["first", "second"]);
        let strict = DeclaredModel { strict: true, ..model() };
        let (updated, applied) = declared::model(&mut tx, &strict).await.unwrap();
        assert_eq!((applied, updated.strict, updated.targets == made.targets), (Applied::Updated, true, true));
        assert_eq!(models::get(&mut tx, made.id).await.unwrap(), updated);
    }
}
