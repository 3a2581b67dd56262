//! What the data plane is given.

use secrecy::ExposeSecret as _;
use tallygate_store::credentials::{self, CredentialSettings, NewCredential};
use tallygate_store::keys::{self, KeySettings, KeyStatus, NewKey};
use tallygate_store::models::{self, ModelSettings, TargetSettings};
use tallygate_store::tenants::{self, TenantSettings, TenantStatus};
use tallygate_store::upstreams::{self, Status, Timeouts, UpstreamSettings};
use tallygate_store::{Limits, TenantScope};
use tallygate_types::Dialect;

use crate::contract;

contract! {
    async fn a_snapshot_is_everything_at_one_version(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let limits = Limits { concurrency: Some(3), ..Limits::default() };
        let acme = TenantSettings { limits, status: TenantStatus::Suspended, ..TenantSettings::named("acme") };
        let acme = tenants::create(&mut tx, &acme).await.unwrap();
        let settings = KeySettings { allowed_models: Some(vec!["smart".into()]), ..KeySettings::named("ci") };
        let (key, secret) = keys::create(&mut tx, &NewKey { tenant_id: acme.id, settings, declared: None, created_by: None }).await.unwrap();
        keys::revoke(&mut tx, TenantScope::All, key.id).await.unwrap();
        let timeouts = Timeouts { first_byte_ms: Some(5_000), ..Timeouts::default() };
        let upstream = UpstreamSettings { timeouts, ..UpstreamSettings::at("local", Dialect::OpenaiChat, "http://127.0.0.1:8000/v1") };
        let upstream = upstreams::create(&mut tx, &upstream).await.unwrap();
        let model = models::create(&mut tx, &ModelSettings::named("smart", vec![TargetSettings::at(upstream.id, "qwen3")])).await.unwrap();
        let version = tx.commit().await.unwrap();

        let snapshot = store.snapshot().await.unwrap();
        assert_eq!(snapshot.version, version);
        let entry = &snapshot.keys[&store.digest_key(secrecy::ExposeSecret::expose_secret(&secret))];
        assert_eq!((entry.id, entry.status, entry.allowed_models.as_deref()), (key.id, KeyStatus::Revoked, Some(&vec!["smart".to_owned()])));
        assert_eq!((entry.tenant.id, entry.tenant.status, entry.tenant.limits), (acme.id, TenantStatus::Suspended, limits));
        assert!(std::sync::Arc::ptr_eq(&entry.tenant, &snapshot.tenants[&acme.id]));
        let target = &snapshot.models["smart"].targets[0];
        assert_eq!((snapshot.models["smart"].id, target.id, &*target.upstream_model), (model.id, model.targets[0].id, "qwen3"));
        assert_eq!((target.upstream.dialect, target.upstream.timeouts), (Dialect::OpenaiChat, timeouts));
        assert!(target.upstream.credentials.is_empty());
    }

    async fn what_is_disabled_is_left_out(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let on = upstreams::create(&mut tx, &UpstreamSettings::at("on", Dialect::Gemini, "https://g.example")).await.unwrap();
        let off = UpstreamSettings { status: Status::Disabled, ..UpstreamSettings::at("off", Dialect::Gemini, "https://g.example") };
        let off = upstreams::create(&mut tx, &off).await.unwrap();
        for (name, status) in [("good", Status::Active), ("bad", Status::Disabled)] {
            let settings = CredentialSettings { status, ..CredentialSettings::named(name) };
            let new = NewCredential { upstream_id: on.id, settings, secret: "s3cret".into() };
            credentials::create(&mut tx, &new).await.unwrap();
        }
        let targets = vec![TargetSettings::at(off.id, "m"), TargetSettings::at(on.id, "m")];
        models::create(&mut tx, &ModelSettings::named("both", targets)).await.unwrap();
        models::create(&mut tx, &ModelSettings::named("stranded", vec![TargetSettings::at(off.id, "m")])).await.unwrap();
        let hidden = ModelSettings { status: Status::Disabled, ..ModelSettings::named("hidden", Vec::new()) };
        models::create(&mut tx, &hidden).await.unwrap();
        tx.commit().await.unwrap();

        let snapshot = store.snapshot().await.unwrap();
        assert_eq!(snapshot.upstreams.keys().collect::<Vec<_>>(), [&on.id]);
        assert_eq!(snapshot.upstreams[&on.id].credentials.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["good"]);
        assert_eq!(snapshot.models["both"].targets.len(), 1);
        assert_eq!(snapshot.models["stranded"].targets.len(), 0);
        assert!(!snapshot.models.contains_key("hidden"));
    }

    async fn many_tenants_with_ten_keys_each_are_one_snapshot(store: &TestStore) {
        let started = std::time::Instant::now();
        let mut tx = store.begin().await.unwrap();
        let mut secret = String::new();
        // Few by default, so that the suite stays quick; 10000 read in 0.35 s (PostgreSQL) and 0.6 s (SQLite), unoptimised.
        let tenants = std::env::var("TALLYGATE_TEST_TENANTS").ok().and_then(|n| n.parse().ok()).unwrap_or(100);
        for number in 0..tenants {
            let tenant = tenants::create(&mut tx, &TenantSettings::named(format!("tenant-{number}"))).await.unwrap();
            for key in 0..10 {
                let settings = KeySettings::named(format!("key-{key}"));
                let new = NewKey { tenant_id: tenant.id, settings, declared: None, created_by: None };
                let (_, shown) = keys::create(&mut tx, &new).await.unwrap();
                secrecy::ExposeSecret::expose_secret(&shown).clone_into(&mut secret);
            }
        }
        tx.commit().await.unwrap();
        let (written, started) = (started.elapsed(), std::time::Instant::now());
        let snapshot = store.snapshot().await.unwrap();
        println!("{tenants} tenants: written in {written:?}, read in {:?}", started.elapsed());
        assert_eq!((snapshot.tenants.len(), snapshot.keys.len()), (tenants, tenants * 10));
        assert_eq!(*snapshot.keys[&store.digest_key(&secret)].tenant.name, format!("tenant-{}", tenants - 1));
    }

    async fn rows_kept_as_text_give_the_same_snapshot_with_the_same_secrets_only(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let upstream = UpstreamSettings { proxy: "http://u:hunter2@p:1".into(), ..UpstreamSettings::at("up", Dialect::Gemini, "https://g.example") };
        let upstream = upstreams::create(&mut tx, &upstream).await.unwrap();
        let new = NewCredential { upstream_id: upstream.id, settings: CredentialSettings::named("c"), secret: "s3cret".into() };
        credentials::create(&mut tx, &new).await.unwrap();
        models::create(&mut tx, &ModelSettings::named("smart", vec![TargetSettings::at(upstream.id, "m")])).await.unwrap();
        let mut digests = Vec::new();
        for name in ["acme", "globex"] {
            let tenant = tenants::create(&mut tx, &TenantSettings::named(name)).await.unwrap();
            let new = NewKey { tenant_id: tenant.id, settings: KeySettings::named("k"), declared: None, created_by: None };
            digests.push(store.digest_key(keys::create(&mut tx, &new).await.unwrap().1.expose_secret()));
        }
        let version = tx.commit().await.unwrap();

        let mut text = Vec::new();
        assert_eq!(store.copy_rows(&mut text).await.unwrap(), version);
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains("s3cret") && !text.contains("hunter2"));
        let snapshot = store.assemble(serde_json::from_str(&text).unwrap()).unwrap();
        let entry = &snapshot.models["smart"].targets[0].upstream;
        assert_eq!((snapshot.version, entry.proxy.urls()), (version, &["http://u:hunter2@p:1".to_owned()][..]));
        assert_eq!(entry.credentials[0].secret.expose_secret(), "s3cret");
        let of_keys: Vec<_> = digests.iter().map(|digest| snapshot.keys[digest].tenant.name.as_ref()).collect();
        assert_eq!((of_keys, snapshot.tenants.len()), (vec!["acme", "globex"], 2));
        let mark = text.split_once("\"secrets\":[\"").unwrap().1.split('"').next().unwrap();
        let other = serde_json::from_str(&text.replace(mark, "other")).unwrap();
        assert!(matches!(store.assemble(other), Err(tallygate_store::StoreError::Secrets(_))));
    }
}
