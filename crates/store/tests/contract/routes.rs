//! Routes, and what hangs on targets, credentials and keys for routing.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use tallygate_store::credentials::{self, CredentialLimits, CredentialSettings, NewCredential};
use tallygate_store::keys::{self, KeySettings, NewKey};
use tallygate_store::models::{self, ModelSettings};
use tallygate_store::projects::{self, ProjectSettings};
use tallygate_store::routes::{self, RouteSettings};
use tallygate_store::routing::{Arm, Hedge, RouteMatch, RoutingPolicy, Split, SplitBy, Strategy, TargetCost};
use tallygate_store::targets::TargetSettings;
use tallygate_store::tenants::{self, TenantSettings};
use tallygate_store::upstreams::{self, Status, Timeouts, UpstreamSettings};
use tallygate_store::{StoreError, Tx};
use tallygate_types::{Dialect, Pico, UpstreamId};

use crate::contract;

async fn upstream(tx: &mut Tx, name: &str) -> UpstreamId {
    let settings = UpstreamSettings::at(name, Dialect::OpenaiChat, "http://127.0.0.1:8000/v1");
    upstreams::create(tx, &settings).await.unwrap().id
}

fn split(arms: &[(&str, u32)]) -> RoutingPolicy {
    let arms = arms.iter().map(|(name, weight)| Arm { name: (*name).into(), weight: *weight }).collect();
    let hedge = Some(Hedge { after_ms: 800, max_percent: 5, daily_spend: Some(Pico::new(2_500_000_000_000)) });
    RoutingPolicy {
        strategy: Strategy::Latency,
        split: Some(Split { by: SplitBy::User, arms }),
        hedge,
        ..RoutingPolicy::default()
    }
}

contract! {
    async fn a_route_reads_back_as_it_was_written_and_stands_in_the_snapshot(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let (a, b) = (upstream(&mut tx, "a").await, upstream(&mut tx, "b").await);
        let acme = tenants::create(&mut tx, &TenantSettings::named("acme")).await.unwrap().id;
        let beta = tenants::create(&mut tx, &TenantSettings::named("beta")).await.unwrap().id;
        models::create(&mut tx, &ModelSettings::named("smart", vec![TargetSettings::at(a, "m")])).await.unwrap();
        let matches = RouteMatch {
            models: vec!["smart".into(), "claude-*".into()],
            tenants: vec![beta.to_string(), "acme".into(), "gone".into()],
            tags: vec!["batch".into()],
            headers: [("x-team".to_owned(), "search*".to_owned())].into(),
            max_input_tokens: Some(100_000),
            ..RouteMatch::default()
        };
        let at = |upstream, arm: &str| TargetSettings {
            arm: Some(arm.into()),
            cost: Some(TargetCost { input: Pico::new(3), output: Pico::new(15) }),
            ..TargetSettings::at(upstream, "m")
        };
        // The same place may stand in two arms.
        let last = TargetSettings { priority: 2, price_model: Some("smart".into()), ..TargetSettings::at(b, "local") };
        let targets = vec![at(a, "new"), last, at(a, "old"), at(b, "new")];
        let settings = RouteSettings { matches, routing: split(&[("old", 9), ("new", 1)]), ..RouteSettings::named("ab", targets) };
        let route = routes::create(&mut tx, &settings).await.unwrap();
        let places: Vec<_> = route.targets.iter().map(|t| (t.settings.arm.as_deref(), t.settings.priority)).collect();
        assert_eq!(places, [(Some("new"), 1), (Some("old"), 1), (Some("new"), 1), (None, 2)]);
        tx.commit().await.unwrap();
        assert_eq!(routes::get(&**store, route.id).await.unwrap(), route);
        assert_eq!(routes::list(&**store).await.unwrap(), std::slice::from_ref(&route));

        let snapshot = store.snapshot().await.unwrap();
        let entry = &snapshot.routes[0];
        assert_eq!((entry.id, entry.position, &entry.matches), (route.id, 10, &settings.matches));
        let mut named = [acme, beta];
        named.sort_unstable();
        assert_eq!((entry.tenants.as_slice(), &entry.routing), (named.as_slice(), &settings.routing));
        assert_eq!(entry.targets.iter().map(|t| t.id).collect::<Vec<_>>(), route.targets.iter().map(|t| t.id).collect::<Vec<_>>());
        assert_eq!(entry.targets[3].price_model.as_deref(), Some("smart"));
        assert_eq!(snapshot.models["smart"].targets.len(), 1, "a model keeps its own targets");
    }

    async fn routes_are_tried_by_position_and_disabled_ones_not_at_all(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let a = upstream(&mut tx, "a").await;
        for (name, position, status) in
            [("third", None, Status::Active), ("first", Some(1), Status::Active), ("off", Some(2), Status::Disabled), ("second", Some(5), Status::Active)]
        {
            let settings = RouteSettings { position, status, ..RouteSettings::named(name, vec![TargetSettings::at(a, "m")]) };
            routes::create(&mut tx, &settings).await.unwrap();
        }
        tx.commit().await.unwrap();
        let names: Vec<_> = store.snapshot().await.unwrap().routes.iter().map(|route| route.name.to_string()).collect();
        assert_eq!(names, ["first", "second", "third"]);
    }

    async fn an_update_keeps_targets_that_stay_and_names_a_stale_version(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let a = upstream(&mut tx, "a").await;
        let route = routes::create(&mut tx, &RouteSettings::named("r", vec![TargetSettings::at(a, "m")])).await.unwrap();
        let heavier = vec![TargetSettings { weight: 9, ..TargetSettings::at(a, "m") }];
        let settings = RouteSettings { position: None, targets: heavier, ..route.settings() };
        let updated = routes::update(&mut tx, route.id, 1, &settings).await.unwrap();
        assert_eq!((updated.version, updated.position, updated.targets[0].id), (2, route.position, route.targets[0].id));
        let stale = routes::update(&mut tx, route.id, 1, &settings).await;
        assert!(matches!(stale, Err(StoreError::VersionMismatch { kind: "route", current: 2 })), "{stale:?}");
        let refused = upstreams::delete(&mut tx, a, 1).await;
        assert!(matches!(&refused, Err(StoreError::InUse { by, .. }) if by == "the routes r"), "{refused:?}");
        routes::delete(&mut tx, route.id, 2).await.unwrap();
        upstreams::delete(&mut tx, a, 1).await.unwrap();
        assert!(matches!(routes::get(&mut tx, route.id).await, Err(StoreError::NotFound { .. })));
    }

    async fn what_could_not_decide_is_refused(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let a = upstream(&mut tx, "a").await;
        let at = |arm: Option<&str>| TargetSettings { arm: arm.map(str::to_owned), ..TargetSettings::at(a, "m") };
        let named = |targets| RouteSettings::named("r", targets);
        let cases = [
            (named(Vec::new()), "targets: a route needs a target; to pass its requests by, disable it"),
            (named(vec![at(Some("x"))]), "targets.arm: `x` is not an arm of the split; name one of split.arms, or leave it out to serve all"),
            (RouteSettings { routing: split(&[("x", 1), ("y", 1)]), ..named(vec![at(Some("x"))]) }, "targets.arm: no target serves the arm `y`"),
            (named(vec![at(None), at(None)]), "targets: `m` stands twice at the same upstream"),
            (RouteSettings { position: Some(2_000_000), ..named(vec![at(None)]) }, "position: must be at most 1000000"),
            (
                named(vec![TargetSettings { price_model: Some("none".into()), ..at(None) }]),
                "targets.price_model: there is no model `none`, whose price targets are to be charged by",
            ),
        ];
        for (settings, expected) in cases {
            assert_eq!(routes::create(&mut tx, &settings).await.unwrap_err().to_string(), expected);
        }
    }

    async fn a_model_others_are_charged_by_is_not_deleted(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let a = upstream(&mut tx, "a").await;
        let cheap = models::create(&mut tx, &ModelSettings::named("cheap", vec![TargetSettings::at(a, "m")])).await.unwrap();
        let by_cheap = TargetSettings { price_model: Some("cheap".into()), ..TargetSettings::at(a, "m") };
        let smart = models::create(&mut tx, &ModelSettings::named("smart", vec![by_cheap])).await.unwrap();
        let refused = models::delete(&mut tx, cheap.id, 1).await;
        assert!(matches!(&refused, Err(StoreError::InUse { by, .. }) if by.contains("smart")), "{refused:?}");
        models::delete(&mut tx, smart.id, 1).await.unwrap();
        models::delete(&mut tx, cheap.id, 1).await.unwrap();
    }

    async fn a_rotated_credential_serves_beside_its_successor_and_is_then_disabled(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let upstream_id = upstream(&mut tx, "a").await;
        let limits = CredentialLimits { requests_per_minute: Some(60), daily_spend: Some(Pico::new(9)), ..CredentialLimits::default() };
        let proxy = "http://me:hunter2@127.0.0.1:3128".into();
        let settings = CredentialSettings { weight: 3, limits, proxy, ..CredentialSettings::named("a1") };
        let old = credentials::create(&mut tx, &NewCredential { upstream_id, settings, secret: "old-secret".into() }).await.unwrap();
        let rotated = credentials::rotate(&mut tx, old.id, None, &"new-secret".into(), Duration::from_mins(5)).await.unwrap();
        let now = tx.now();
        tx.commit().await.unwrap();
        assert_eq!((rotated.successor.name.as_str(), rotated.successor.weight, rotated.successor.limits), ("a1-2", 3, limits));
        assert_eq!((rotated.retiring.id, rotated.retiring.version), (old.id, 2));
        assert_eq!(rotated.retiring.retires_at, Some(now.saturating_add(Duration::from_mins(5))));
        let snapshot = store.snapshot().await.unwrap();
        let both: Vec<_> = snapshot.upstreams[&upstream_id]
            .credentials
            .iter()
            .map(|c| (c.name.as_str(), c.secret.expose_secret(), c.weight, c.limits, c.proxy.first(), c.retires_at.is_some()))
            .collect();
        let proxy = Some("http://me:hunter2@127.0.0.1:3128");
        assert_eq!(both, [("a1", "old-secret", 3, limits, proxy, true), ("a1-2", "new-secret", 3, limits, proxy, false)]);

        let mut tx = store.begin().await.unwrap();
        let again = credentials::rotate(&mut tx, rotated.successor.id, None, &"third".into(), Duration::ZERO).await.unwrap();
        assert_eq!(again.successor.name, "a1-3");
        let zero = CredentialSettings { limits: CredentialLimits { concurrency: Some(0), ..limits }, ..old.settings() };
        let refused = credentials::update(&mut tx, old.id, 2, &zero).await;
        assert!(matches!(refused, Err(StoreError::Invalid { field: "limits", .. })), "{refused:?}");
    }

    async fn keys_and_upstreams_carry_what_routing_reads(store: &TestStore) {
        let mut tx = store.begin().await.unwrap();
        let acme = tenants::create(&mut tx, &TenantSettings::named("acme")).await.unwrap();
        projects::create(&mut tx, acme.id, &ProjectSettings::named("search")).await.unwrap();
        let settings = KeySettings { project: Some("search".into()), tags: vec!["batch".into(), "eu".into()], ..KeySettings::named("ci") };
        let (key, secret) = keys::create(&mut tx, &NewKey { tenant_id: acme.id, settings: settings.clone(), declared: None, created_by: None }).await.unwrap();
        assert_eq!(key.settings(), settings);
        let comma = KeySettings { tags: vec!["a,b".into()], ..KeySettings::named("ci2") };
        let refused = keys::create(&mut tx, &NewKey { tenant_id: acme.id, settings: comma, declared: None, created_by: None }).await;
        assert!(matches!(refused, Err(StoreError::Invalid { field: "tags", .. })), "{refused:?}");
        let pool = vec!["http://me:hunter2@127.0.0.1:3128".to_owned(), "socks5://127.0.0.1:1080".into()];
        let upstream = UpstreamSettings {
            proxy: pool.clone().into(),
            no_proxy: vec![".internal".into()],
            local: true,
            credential_strategy: Strategy::Cost,
            timeouts: Timeouts { first_token_ms: Some(9_000), ..Timeouts::default() },
            ..UpstreamSettings::at("u", Dialect::OpenaiChat, "http://127.0.0.1:1")
        };
        let created = upstreams::create(&mut tx, &upstream).await.unwrap();
        let shown = ["http://me:***@127.0.0.1:3128".to_owned(), pool[1].clone()];
        assert_eq!(created.proxy.urls(), shown);
        // One more in the pool; the masked text stands for what is stored.
        let longer = [shown.to_vec(), vec!["http://you:secret@10.0.0.1:1".into()]].concat();
        let longer = upstreams::update(&mut tx, created.id, 1, &UpstreamSettings { proxy: longer.into(), ..created.settings() }).await.unwrap();
        assert_eq!(longer.proxy.urls()[2], "http://you:***@10.0.0.1:1");
        tx.commit().await.unwrap();

        let snapshot = store.snapshot().await.unwrap();
        let entry = &snapshot.keys[&store.digest_key(secret.expose_secret())];
        assert_eq!((entry.project().map(|project| &*project.name), entry.tags()), (Some("search"), settings.tags.as_slice()));
        let entry = &snapshot.upstreams[&created.id];
        assert_eq!(entry.proxy.urls(), [pool, vec!["http://you:secret@10.0.0.1:1".into()]].concat());
        assert_eq!((&entry.no_proxy, entry.local, entry.credential_strategy), (&upstream.no_proxy, true, Strategy::Cost));
        assert_eq!(entry.timeouts, upstream.timeouts);
        assert!(!format!("{entry:?}").contains("hunter2"));
    }
}
