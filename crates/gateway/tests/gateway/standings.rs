//! What one answer teaches of a credential: it is left alone as long as it must be, by every replica, and comes back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tallygate_gateway::HealthBounds;
use tallygate_store::credentials::{self, CredentialLimits, CredentialSettings, NewCredential};
use tallygate_store::routing::Strategy;
use tallygate_store::testing::{TestStore, test_secrets};
use tallygate_store::upstreams::{self, UpstreamSettings};
use tallygate_store::{CredentialEntry, Store, UpstreamEntry};
use tallygate_types::live::{Circuit, CredentialState};
use tallygate_types::{Dialect, ManualClock, SystemClock, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::rig::{Gateway, Rig, eventually, target, upstream as entry};
use crate::upstream::{Act, Upstream, answer};

const GOOD: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}}"#;
const ASK: &str = r#"{"model":"smart","messages":[{"role":"user","content":"x"}]}"#;
const LIMITED: &str = r#"{"error":{"message":"Too many","type":"x","code":"rate_limit_exceeded","param":null}}"#;
const SPENT: &str =
    r#"{"error":{"message":"You exceeded","type":"insufficient_quota","code":"insufficient_quota","param":null}}"#;
const DEAD: &str = r#"{"error":{"message":"Incorrect API key","type":"x","code":"invalid_api_key","param":null}}"#;
const START: Timestamp = Timestamp::from_micros(1_763_899_200_000_000);

fn good() -> Vec<Act> {
    answer(200, &[], GOOD)
}

fn states(gateway: &Gateway) -> Vec<CredentialState> {
    gateway.plane.credential_standings().into_iter().map(|standing| standing.state).collect()
}

/// One upstream, one credential, a clock that stands.
async fn alone(scripts: Vec<Vec<Act>>, change: impl FnOnce(&mut UpstreamEntry)) -> (Upstream, Gateway, Arc<ManualClock>) {
    let upstream = Upstream::start(scripts).await;
    let clock = Arc::new(ManualClock::new(START));
    let mut main = entry("main", Dialect::OpenaiChat, upstream.address, &["one"]);
    change(&mut main);
    let rig = Rig { clock: clock.clone(), ..Rig::new() }.with_model("smart", vec![target(main, 1, 1)]);
    (upstream, rig.start().await, clock)
}

#[tokio::test]
async fn a_limited_credential_is_not_asked_within_its_window_and_back_right_after() {
    let limited = answer(429, &[("retry-after", "30")], LIMITED);
    let (upstream, gateway, clock) = alone(vec![limited, good()], |_| {}).await;
    let refused = gateway.chat(ASK).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "30"));
    clock.advance(Duration::from_secs(29));
    let refused = gateway.chat(ASK).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "1"));
    assert_eq!(upstream.seen().len(), 1, "no call within the window");
    assert_eq!(states(&gateway), [CredentialState::Cooling]);
    assert!(gateway.metric(r#"tallygate_credential_state{credential="one",state="cooling",upstream="main"} 1"#));
    clock.advance(Duration::from_secs(1));
    assert_eq!(gateway.chat(ASK).await.status, 200);
    assert_eq!(states(&gateway), [CredentialState::Active]);
    assert!(gateway.metric(r#"tallygate_credential_state{credential="one",state="active",upstream="main"} 1"#));
}

#[tokio::test]
async fn what_fails_with_one_of_two_credentials_alone_shuts_that_one_and_not_their_upstream() {
    let release = Arc::new(Notify::new());
    let held = Arc::clone(&release);
    let upstream = Upstream::choosing(move |_, asked| {
        let is_bad = asked.header("authorization").is_some_and(|key| key.ends_with("bad"));
        if is_bad { [vec![Act::Wait(Arc::clone(&held))], answer(500, &[], "{}")].concat() } else { good() }
    });
    let upstream = upstream.await;
    let mut main = entry("main", Dialect::OpenaiChat, upstream.address, &["good", "bad"]);
    main.credential_strategy = Strategy::RoundRobin;
    let mut rig = Rig::new().with_model("smart", vec![target(main, 1, 1)]);
    rig.config.health =
        HealthBounds { unproven_in_flight: 8, failures_to_open: 3, unproven_failures_to_open: 3, ..rig.config.health };
    let gateway = rig.start().await;
    let asked = join_all((0..8).map(|_| gateway.chat(ASK)));
    // All that wait for the bad one fail in a row.
    let failing = async {
        eventually(|| (upstream.seen().len() == 8).then_some(())).await;
        loop {
            release.notify_waiters();
            tokio::task::yield_now().await;
        }
    };
    let answers = tokio::select! { answers = asked => answers, () = failing => unreachable!("it goes on") };
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(gateway.plane.upstream_standings()[0].circuit, Circuit::Closed);
}

#[tokio::test]
async fn a_spent_credential_is_asked_at_its_probe_interval_and_no_sooner() {
    let spent = || answer(429, &[("retry-after", "1")], SPENT);
    let (upstream, gateway, clock) = alone(vec![spent(), spent(), good()], |_| {}).await;
    let bounds = HealthBounds::default();
    assert_eq!(gateway.chat(ASK).await.status, 503);
    for (wait, calls) in [(bounds.exhausted_probe, 2), (bounds.exhausted_probe * 2, 3)] {
        clock.advance(wait.saturating_sub(Duration::from_secs(1)));
        assert_eq!(gateway.chat(ASK).await.status, 503);
        assert_eq!(upstream.seen().len(), calls - 1);
        clock.advance(Duration::from_secs(1));
        gateway.chat(ASK).await;
        assert_eq!(upstream.seen().len(), calls);
    }
    assert_eq!(states(&gateway), [CredentialState::Active]);
}

#[tokio::test]
async fn a_dead_key_never_shows_as_401_and_is_asked_three_times_until_a_person_says_otherwise() {
    let dead = || answer(401, &[], DEAD);
    let (upstream, gateway, clock) = alone(vec![dead(), dead(), dead(), good()], |_| {}).await;
    for _ in 0..60 {
        assert_eq!(gateway.chat(ASK).await.status, 503);
        clock.advance(Duration::from_secs(5));
    }
    assert_eq!(upstream.seen().len(), 3);
    let standing = gateway.plane.credential_standings().remove(0);
    assert_eq!((standing.state, standing.reason.as_deref()), (CredentialState::AuthFailed, Some("auth")));
    assert!(gateway.plane.reactivate(standing.credential));
    assert_eq!(gateway.chat(ASK).await.status, 200);
    assert_eq!(states(&gateway), [CredentialState::Active]);
}

#[tokio::test]
async fn caps_of_the_operator_hold_and_say_until_when() {
    let limits = CredentialLimits { requests_per_minute: Some(2), ..CredentialLimits::default() };
    let capped = |main: &mut UpstreamEntry| {
        let one = CredentialEntry { limits, ..CredentialEntry::named("one", "secret-one") };
        main.credentials = vec![Arc::new(one)];
    };
    let (upstream, gateway, clock) = alone(vec![good(), good(), good()], capped).await;
    assert_eq!(gateway.chat(ASK).await.status, 200);
    assert_eq!(gateway.chat(ASK).await.status, 200);
    let refused = gateway.chat(ASK).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "30"));
    assert_eq!(upstream.seen().len(), 2);
    clock.advance(Duration::from_secs(30));
    assert_eq!(gateway.chat(ASK).await.status, 200);
}

#[tokio::test]
async fn who_has_nothing_left_by_the_vendors_headers_is_passed_over_while_another_has() {
    let last = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "6m0s")];
    let upstream = Upstream::start(vec![answer(200, &last, GOOD), good(), good(), good()]).await;
    let clock = Arc::new(ManualClock::new(START));
    let main = entry("main", Dialect::OpenaiChat, upstream.address, &["one", "two"]);
    let rig = Rig { clock: clock.clone(), ..Rig::new() }.with_model("smart", vec![target(main, 1, 1)]);
    let gateway = rig.start().await;
    for _ in 0..4 {
        assert_eq!(gateway.chat(ASK).await.status, 200);
    }
    let used: Vec<_> = upstream.seen().iter().map(|seen| seen.header("authorization").unwrap_or_default().to_owned()).collect();
    assert!(used[1..].iter().all(|key| *key != used[0]), "{used:?}");
    assert_eq!(
        gateway.plane.credential_standings().iter().filter_map(|standing| standing.requests_left).collect::<Vec<_>>(),
        [0]
    );
}

#[tokio::test]
async fn an_upstream_that_fails_five_times_is_left_alone_and_tried_by_one() {
    let broken = || answer(500, &[], "{}");
    let scripts = vec![good(), broken(), broken(), broken(), broken(), broken(), good()];
    let (upstream, gateway, clock) = alone(scripts, |_| {}).await;
    assert_eq!(gateway.chat(ASK).await.status, 200);
    for _ in 0..8 {
        assert!(gateway.chat(ASK).await.status.is_server_error());
    }
    assert_eq!(upstream.seen().len(), 6, "five failures, then none");
    assert_eq!(gateway.plane.upstream_standings()[0].circuit, Circuit::Open);
    clock.advance(HealthBounds::default().open);
    assert_eq!(gateway.chat(ASK).await.status, 200);
    assert_eq!(gateway.plane.upstream_standings()[0].circuit, Circuit::Closed);
}

#[tokio::test]
async fn what_one_replica_learns_spares_the_others_attempts_and_recovery_is_shared_too() {
    let Some(first) = TestStore::postgres().await else { return };
    let second = Store::open(&first.url, test_secrets(), Arc::new(SystemClock)).await.unwrap();
    second.migrate().await.unwrap();
    let upstream = Upstream::start(vec![answer(429, &[("retry-after", "600")], LIMITED), good(), good()]).await;
    let settings = UpstreamSettings::at("main", Dialect::OpenaiChat, format!("http://{}/v1", upstream.address));
    let mut tx = first.begin().await.unwrap();
    let made = upstreams::create(&mut tx, &settings).await.unwrap();
    let settings = CredentialSettings::named("one");
    let new = NewCredential { upstream_id: made.id, settings, secret: "secret-one".to_owned().into() };
    credentials::create(&mut tx, &new).await.unwrap();
    tx.commit().await.unwrap();
    let snapshot = first.snapshot().await.unwrap();
    let main = UpstreamEntry::clone(&snapshot.upstreams[&made.id]);

    let stop = CancellationToken::new();
    let mut gateways = Vec::new();
    for store in [first.shared(), Arc::clone(&second)] {
        let gateway = Rig::new().with_model("smart", vec![target(main.clone(), 1, 1)]).start().await;
        tokio::spawn(Arc::clone(&gateway.plane).share_standings(store, stop.clone()));
        gateways.push(gateway);
    }
    assert_eq!(gateways[0].chat(ASK).await.status, 429);
    let heard = std::time::Instant::now();
    eventually(|| (states(&gateways[1]) == [CredentialState::Cooling]).then_some(())).await;
    assert!(heard.elapsed() < Duration::from_secs(2), "{:?}", heard.elapsed());
    for _ in 0..5 {
        assert_eq!(gateways[1].chat(ASK).await.status, 429);
    }
    assert_eq!(upstream.seen().len(), 1, "the second replica asked nothing");

    // A third one starts, and knows.
    let third = Rig::new().with_model("smart", vec![target(main.clone(), 1, 1)]).start().await;
    third.plane.load_standings(&second).await.unwrap();
    assert_eq!(states(&third), [CredentialState::Cooling]);
    // With another secret it would start afresh.
    let mut rotated = main;
    let one = CredentialEntry::clone(&rotated.credentials[0]);
    rotated.credentials = vec![Arc::new(CredentialEntry { fingerprint: "00000000".into(), ..one })];
    let other = Rig::new().with_model("smart", vec![target(rotated, 1, 1)]).start().await;
    other.plane.load_standings(&second).await.unwrap();
    assert_eq!(states(&other), [CredentialState::Active]);

    let id = gateways[1].plane.credential_standings()[0].credential;
    assert!(gateways[1].plane.reactivate(id));
    eventually(|| (states(&gateways[0]) == [CredentialState::Active]).then_some(())).await;
    assert_eq!(gateways[0].chat(ASK).await.status, 200);
    stop.cancel();
}
