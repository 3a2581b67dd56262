//! Limits and budgets refuse before dispatch, and what was not used is given back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tallygate_billing::{Outcome, UsageSource};
use tallygate_store::{KeyTerms, Limits, ProjectEntry, TenantBounds};
use tallygate_types::live::{LimitDimension, LimitScope};
use tallygate_types::{Dialect, ManualClock, Pico, ProjectId, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::rig::{KEY, Rig, eventually, next_piece};
use crate::upstream::{Act, Upstream, answer, piece, stream_head};

const GOOD: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}}"#;
const ASK: &str = r#"{"model":"smart","max_tokens":100,"messages":[{"role":"user","content":"x"}]}"#;
const CHUNK: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";

#[tokio::test]
async fn requests_beyond_the_rate_are_told_when_to_come_back() {
    let upstream = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    let limits = Limits { requests_per_minute: Some(2), ..Limits::default() };
    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address).with_limits(limits);
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000)));
    rig.clock = Arc::clone(&clock) as _;
    let gateway = rig.start().await;
    let first = gateway.chat(ASK).await;
    assert_eq!(first.header("x-ratelimit-limit-requests"), "2");
    assert_eq!(first.header("x-ratelimit-remaining-requests"), "1");
    assert_eq!(gateway.chat(ASK).await.status, 200);

    let refused = gateway.chat(ASK).await;
    assert_eq!((refused.status.as_u16(), refused.json()["error"]["code"].as_str()), (429, Some("rate_limit_exceeded")));
    // What was admitted counts until it is a minute old, with the half second it came in; no SDK obeys more than the minute.
    assert_eq!((refused.header("retry-after-ms"), refused.header("retry-after")), ("60000", "60"));
    assert_eq!((refused.header("x-ratelimit-remaining-requests"), refused.header("x-ratelimit-reset-requests")), ("0", "1m0s"));
    let told = &refused.json()["error"]["tallygate"];
    let told =
        ["scope", "subject", "dimension", "limit", "used", "resets_at"].map(|name| told[name].as_str().unwrap_or_default());
    assert_eq!(told, ["tenant", "acme", "requests", "2", "2", "2023-11-14T22:14:20.500000Z"]);
    assert_eq!(upstream.seen().len(), 2);
    let record = &gateway.records()[2];
    assert_eq!((record.outcome, record.status, record.attempt), (Outcome::RateLimited, 429, 0));
    assert_eq!((record.charge, record.usage_source, &*record.model), (Pico::ZERO, UsageSource::None, "smart"));

    let anthropic = gateway.post("/v1/messages", r#"{"model":"smart","max_tokens":5,"messages":[]}"#).await;
    assert_eq!((anthropic.status.as_u16(), anthropic.json()["error"]["type"].as_str()), (429, Some("rate_limit_error")));
    assert_eq!(anthropic.header("anthropic-ratelimit-requests-remaining"), "0");
    assert!(gateway.metric(r#"tallygate_ratelimit_decisions_total{decision="refused",dimension="requests",scope="tenant"} 2"#));

    clock.advance(Duration::from_millis(60_499));
    assert_eq!(gateway.chat(ASK).await.status, 429);
    clock.advance(Duration::from_millis(1));
    assert_eq!(gateway.chat(ASK).await.header("x-ratelimit-remaining-requests"), "1");
}

const ASK_AS_ADA: &str = r#"{"model":"smart","max_tokens":5,"user":"ada","messages":[{"role":"user","content":"x"}]}"#;

/// `limits` for one kind of scope, and none for the others. The key is of the project `web`.
fn bounded(mut rig: Rig, scope: LimitScope, limits: Limits) -> Rig {
    let of = |kind| if kind == scope { limits } else { Limits::default() };
    rig.tenant.limits = of(LimitScope::Tenant);
    rig.key.limits = of(LimitScope::Key);
    let models = BTreeMap::from([("smart".to_owned(), of(LimitScope::Model))]);
    rig.tenant.bounds = Some(Arc::new(TenantBounds { models, end_users: of(LimitScope::EndUser) }));
    let project = ProjectEntry { limits: of(LimitScope::Project), ..ProjectEntry::named("web", ProjectId::generate()) };
    rig.key.terms = Some(Arc::new(KeyTerms { project: Some(Arc::new(project)), ..KeyTerms::default() }));
    rig
}

#[tokio::test]
async fn each_scope_refuses_by_itself_and_says_which_it_is() {
    let one_request = Limits { requests_per_minute: Some(1), ..Limits::default() };
    for (scope, subject) in LimitScope::ALL.into_iter().zip(["acme", "web", "ci", "smart", "ada"]) {
        let upstream = Upstream::start(vec![answer(200, &[], GOOD)]).await;
        let rig = bounded(Rig::serving(Dialect::OpenaiChat, upstream.address), scope, one_request);
        let key = rig.key.id;
        let gateway = rig.start().await;
        let first = gateway.chat(ASK_AS_ADA).await;
        assert_eq!((first.status.as_u16(), first.header("x-ratelimit-remaining-requests")), (200, "0"), "{scope:?}");
        let refused = gateway.chat(ASK_AS_ADA).await;
        assert_eq!(refused.status, 429, "{scope:?}");
        let told = &refused.json()["error"]["tallygate"];
        let told = ["scope", "subject", "dimension", "limit", "used"].map(|name| told[name].as_str().unwrap_or_default());
        assert_eq!(told, [scope.as_str(), subject, "requests", "1", "1"]);
        let (name, scope_label) = ("tallygate_ratelimit_decisions_total", scope.as_str());
        assert!(gateway.metric(&format!(r#"{name}{{decision="refused",dimension="requests",scope="{scope_label}"}} 1"#)));

        let rows = gateway.plane.effective_limits(key, Some("smart"), Some("ada")).await.unwrap();
        let row = rows.iter().find(|row| row.dimension == LimitDimension::Requests).unwrap();
        assert_eq!((row.scope, row.subject.as_deref()), (scope, Some(subject)));
        assert_eq!((row.limit, row.used, row.remaining, row.resets_at.is_some()), (1, 1, 0, true));
    }
}

#[tokio::test]
async fn a_tighter_scope_below_takes_nothing_of_a_wider_one_above() {
    let upstream = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    let one_request = Limits { requests_per_minute: Some(1), ..Limits::default() };
    let mut rig = bounded(Rig::serving(Dialect::OpenaiChat, upstream.address), LimitScope::EndUser, one_request);
    rig.tenant.limits = Limits { requests_per_minute: Some(10), ..Limits::default() };
    let gateway = rig.start().await;
    assert_eq!(gateway.chat(ASK_AS_ADA).await.status, 200);
    for _ in 0..20 {
        assert_eq!(gateway.chat(ASK_AS_ADA).await.json()["error"]["tallygate"]["scope"], "end_user");
    }
    // Each end user has the limit for themselves, and who names none has none.
    let of_bob = gateway.chat(&ASK_AS_ADA.replace("ada", "bob")).await;
    assert_eq!((of_bob.status.as_u16(), of_bob.header("x-ratelimit-remaining-requests")), (200, "0"));
    assert_eq!(gateway.chat(ASK).await.header("x-ratelimit-remaining-requests"), "7");
}

#[tokio::test]
async fn places_of_every_scope_are_free_again_when_the_answer_has_ended() {
    let one_place = Limits { concurrency: Some(1), ..Limits::default() };
    for scope in LimitScope::ALL {
        let upstream = Upstream::start(vec![vec![stream_head(), piece(CHUNK), Act::WaitForClose], answer(200, &[], GOOD)]).await;
        let gateway = bounded(Rig::serving(Dialect::OpenaiChat, upstream.address), scope, one_place).start().await;
        let ask = ASK_AS_ADA.replacen('{', r#"{"stream":true,"#, 1);
        let mut open = gateway.open("/v1/chat/completions", &ask).await.into_body();
        assert!(next_piece(&mut open).await.is_some());
        let refused = gateway.chat(ASK_AS_ADA).await;
        assert_eq!(refused.status, 429, "{scope:?}");
        let told = &refused.json()["error"]["tallygate"];
        let told = ["scope", "dimension", "limit", "used"].map(|name| told[name].as_str().unwrap_or_default());
        assert_eq!(told, [scope.as_str(), "concurrency", "1", "1"]);
        drop(open);
        eventually(|| (gateway.plane.in_flight() == 0).then_some(())).await;
        assert_eq!(gateway.chat(ASK_AS_ADA).await.status, 200, "{scope:?}");
    }
}

#[tokio::test]
async fn tokens_are_estimated_first_and_counted_as_used_after() {
    let upstream = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    let limits = Limits { tokens_per_minute: Some(1_200), ..Limits::default() };
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).with_limits(limits).start().await;
    let first = gateway.chat(ASK).await;
    // 77 bytes of request and 100 tokens of output were taken at first; 1,100 were used.
    assert_eq!(first.header("x-ratelimit-remaining-tokens"), (1_200 - 100 - ASK.len() / 4 - 1).to_string());
    let refused = gateway.chat(ASK).await;
    assert_eq!(refused.status, 429, "{}", refused.body);
    assert_eq!(refused.json()["error"]["tallygate"]["reason"], "tokens_limit");
}

#[tokio::test]
async fn concurrency_is_counted_while_a_stream_runs_and_free_when_it_ends() {
    let upstream = Upstream::start(vec![vec![stream_head(), piece(CHUNK), Act::WaitForClose], answer(200, &[], GOOD)]).await;
    let limits = Limits { concurrency: Some(1), ..Limits::default() };
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).with_limits(limits).start().await;
    let mut open = gateway.open("/v1/chat/completions", r#"{"model":"smart","stream":true,"messages":[]}"#).await.into_body();
    assert!(next_piece(&mut open).await.is_some());
    let refused = gateway.chat(ASK).await;
    assert_eq!(
        (refused.status.as_u16(), refused.json()["error"]["tallygate"]["reason"].as_str()),
        (429, Some("concurrency_limit"))
    );
    drop(open);
    eventually(|| (gateway.plane.in_flight() == 0).then_some(())).await;
    assert_eq!(gateway.chat(ASK).await.status, 200);
}

#[tokio::test]
async fn a_budget_is_reserved_before_and_settled_after() {
    let upstream = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    // One request reserves up to 26 input and 100 output tokens, 0.001578, and costs 0.0045: what is left covers 14 of output.
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).with_budget("0.0048").start().await;
    assert_eq!(gateway.chat(ASK).await.status, 200);
    let refused = gateway.chat(ASK).await;
    assert_eq!((refused.status.as_u16(), refused.json()["error"]["code"].as_str()), (429, Some("insufficient_quota")));
    assert_eq!(refused.header("x-should-retry"), "false");
    assert_eq!(refused.json()["error"]["tallygate"]["used"], "0.0045");
    assert!(refused.json()["error"]["tallygate"]["resets_at"].is_string());
    assert_eq!(gateway.records()[1].outcome, Outcome::QuotaExceeded);
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_refused_budget_takes_nothing_of_the_rate() {
    let upstream = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    let limits = Limits { requests_per_minute: Some(5), ..Limits::default() };
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).with_limits(limits).with_budget("0.01").start().await;
    for _ in 0..20 {
        let refused = gateway.chat(r#"{"model":"smart","max_tokens":100,"n":1000,"messages":[]}"#).await;
        assert_eq!(refused.json()["error"]["code"], "insufficient_quota");
    }
    assert_eq!(gateway.chat(ASK).await.header("x-ratelimit-remaining-requests"), "4");
}

#[tokio::test]
async fn output_that_no_money_pays_for_is_the_clients_mistake() {
    let gateway = Rig::serving(Dialect::OpenaiChat, Upstream::dead().await).start().await;
    for field in ["max_tokens", "max_completion_tokens", "n"] {
        let refused = gateway.chat(&format!(r#"{{"model":"smart","{field}":1000000000000000000,"messages":[]}}"#)).await;
        let error = &refused.json()["error"];
        assert_eq!((refused.status.as_u16(), error["code"].as_str()), (400, Some("invalid_request")), "{error}");
        assert_eq!(error["param"], field);
    }
    assert!(gateway.metric("tallygate_usage_unpriced_total 0"));
    let refused = gateway.post("/v1/messages", r#"{"model":"smart","max_tokens":1000000000000000000,"messages":[]}"#).await;
    assert_eq!((refused.status.as_u16(), refused.json()["error"]["type"].as_str()), (400, Some("invalid_request_error")));
}

#[tokio::test]
async fn bodies_share_a_bounded_memory() {
    let upstream = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
    rig.config.max_bodies_bytes = 2 * ASK.len();
    let gateway = rig.start().await;
    for _ in 0..5 {
        assert_eq!(gateway.chat(ASK).await.status, 200);
    }
    let large = ASK.replace("\"x\"", &format!("\"{}\"", "x".repeat(3 * ASK.len())));
    assert_eq!(gateway.chat(&large).await.status, 503);
    assert_eq!(gateway.chat(ASK).await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_served() {
    let upstream = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
    rig.journal.max_bytes = 0;
    let gateway = rig.start().await;
    let refused = gateway.chat(ASK).await;
    assert_eq!((refused.status.as_u16(), upstream.seen().len()), (503, 0), "{}", refused.body);
    assert!(gateway.metric("tallygate_journal_failures_total 1"));
}

#[tokio::test]
async fn what_was_refused_says_by_what_and_is_not_in_the_journal() {
    let upstream = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    let limits = Limits { requests_per_minute: Some(1), ..Limits::default() };
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).with_limits(limits).with_budget("0.0048").start().await;
    assert_eq!(gateway.chat(ASK).await.status, 200);
    let limited = gateway.chat(ASK).await;
    assert_eq!(limited.status, 429);
    assert_eq!(gateway.chat(r#"{"model":"nope","messages":[]}"#).await.status, 404);
    let refused = gateway.refused();
    let told: Vec<_> = refused.iter().map(|refused| (refused.record.status, &*refused.by.code)).collect();
    assert_eq!(told, [(429, "rate_limit_exceeded"), (404, "model_not_found")]);
    let by = &refused[0].by;
    assert_eq!(refused[0].record.request_id.to_string(), limited.header("x-request-id"));
    let stands = (by.scope.as_deref(), by.subject.as_deref(), by.dimension.as_deref(), by.limit.as_deref(), by.used.as_deref());
    assert_eq!(stands, (Some("tenant"), Some("acme"), Some("requests"), Some("1"), Some("1")));
    assert!(by.resets_at.is_some() && by.message.starts_with("Rate limit of this tenant reached: 1 requests per minute"));
    assert_eq!(gateway.journal.pending(), 1, "only what costs something is in the journal");
}

#[tokio::test]
async fn a_spent_budget_says_whose_it_is_and_how_it_stands() {
    let upstream = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).with_budget("0.0048").start().await;
    for _ in 0..2 {
        gateway.chat(ASK).await;
    }
    let by = gateway.refused().remove(0).by;
    let stands = (by.scope.as_deref(), by.subject.as_deref(), by.dimension.as_deref(), by.limit.as_deref(), by.used.as_deref());
    assert_eq!(stands, (Some("tenant"), Some("acme"), Some("spend"), Some("0.0048"), Some("0.0045")));
    assert_eq!((by.period.as_deref(), by.currency.map(|currency| currency.to_string()).as_deref()), (Some("month"), Some("USD")));
}

#[tokio::test]
async fn refusals_after_admission_are_recorded_only_so_often() {
    let mut rig = Rig::new().with_model("smart", vec![]);
    rig.config.max_rejection_records_per_minute = 1;
    rig.clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000)));
    let gateway = rig.start().await;
    for _ in 0..3 {
        assert_eq!(gateway.chat(ASK).await.status, 503);
    }
    let records = gateway.records();
    assert_eq!((records.len(), records[0].attempt, records[0].status), (1, 0, 503));
    assert!(gateway.metric("tallygate_rejections_unrecorded_total 2"));
}

#[tokio::test]
async fn requests_beyond_what_the_gateway_can_hold_are_turned_away() {
    let mut rig = Rig::serving(Dialect::OpenaiChat, Upstream::dead().await);
    rig.config.max_in_flight = 0;
    let gateway = rig.start().await;
    let refused = gateway.chat(ASK).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "1"));
    assert_eq!(gateway.plane.in_flight(), 0);
}

#[tokio::test]
async fn a_slow_upload_is_held_against_the_rate_of_the_time_it_is_complete() {
    let upstream = Upstream::start(vec![answer(200, &[], GOOD)]).await;
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000)));
    let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address)
        .with_limits(Limits { requests_per_minute: Some(1), ..Limits::default() });
    rig.clock = Arc::clone(&clock) as _;
    let gateway = rig.start().await;

    let mut slow = TcpStream::connect(gateway.address).await.unwrap();
    let length = ASK.len();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: {length}\r\n\
         expect: 100-continue\r\nconnection: close\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    slow.read_exact(&mut go_on).await.unwrap();

    assert_eq!(gateway.chat(ASK).await.status, 200);
    clock.advance(Duration::from_secs(61));
    slow.write_all(ASK.as_bytes()).await.unwrap();
    let mut reply = String::new();
    slow.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK"), "{reply}");
}
