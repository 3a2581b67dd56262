//! A second target beside a slow first: the first content wins, and the tenant pays for one.

use std::time::Duration;

use tallygate_store::routing::Hedge;
use tallygate_types::{Dialect, Pico};

use crate::rig::{Gateway, Rig, eventually, target, upstream as entry};
use crate::upstream::{Act, Upstream, answer, stream};

const GOOD: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}}"#;
const ASK: &str = r#"{"model":"smart","messages":[{"role":"user","content":"x"}]}"#;
const ASK_STREAM: &str = r#"{"model":"smart","stream":true,"messages":[{"role":"user","content":"x"}]}"#;
const LAST: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"good\"},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const AFTER: Duration = Duration::from_millis(50);

fn late(script: Vec<Act>) -> Vec<Act> {
    std::iter::once(Act::Pause(6 * AFTER)).chain(script).collect()
}

async fn hedged(first: &Upstream, second: &Upstream, max_percent: u32, daily_spend: Option<&str>) -> Gateway {
    let openai = |name, upstream: &Upstream| entry(name, Dialect::OpenaiChat, upstream.address, &["one"]);
    let targets = vec![target(openai("first", first), 1, 1), target(openai("second", second), 1, 2)];
    let mut rig = Rig::new().with_model("smart", targets);
    rig.models[0].routing.hedge = Some(Hedge {
        after_ms: u64::try_from(AFTER.as_millis()).unwrap(),
        max_percent,
        daily_spend: daily_spend.map(|amount| amount.parse().unwrap()),
    });
    rig.start().await
}

fn outcomes(gateway: &Gateway, record: usize) -> Vec<(String, String)> {
    let attempts = &gateway.records()[record].attempts;
    attempts.iter().map(|attempt| (attempt.upstream.to_string(), attempt.outcome.to_string())).collect()
}

fn told(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(upstream, outcome)| ((*upstream).to_owned(), (*outcome).to_owned())).collect()
}

#[tokio::test]
async fn the_second_answers_where_the_first_does_not_begin() {
    for (ask, script, body) in
        [(ASK, answer(200, &[], GOOD), GOOD.to_owned()), (ASK_STREAM, stream(&[LAST, DONE]), format!("{LAST}{DONE}"))]
    {
        let (first, second) = (Upstream::start(vec![vec![Act::WaitForClose]]).await, Upstream::start(vec![script]).await);
        let gateway = hedged(&first, &second, 100, None).await;
        let reply = gateway.chat(ask).await;
        assert_eq!((reply.status.as_u16(), &reply.body), (200, &body));
        assert_eq!((reply.header("x-tallygate-upstream"), reply.header("x-tallygate-attempts")), ("second", "2"));
        // The loser is left at once.
        tokio::time::timeout(Duration::from_secs(5), first.closed.notified()).await.expect("the loser was left working");
        let record = gateway.records_when(1).await.remove(0);
        assert_eq!(outcomes(&gateway, 0), told(&[("first", "hedge_lost"), ("second", "ok")]));
        assert_eq!((record.attempt, record.upstream.as_deref()), (2, Some("second")));
        // Three dollars a million: the operator bears the input of the loser, the tenant one answer.
        let input = i128::try_from(ask.len().div_ceil(4)).unwrap();
        assert_eq!(record.attempts[0].cost, Some(Pico::new(3_000_000 * input)));
        assert_eq!(record.attempts[1].cost, None);
        if ask == ASK {
            assert_eq!(record.charge, Pico::new(3_000_000 * 10 + 15_000_000));
        }
        assert_eq!((gateway.journal.open_calls(), gateway.plane.in_flight()), (0, 0));
        assert!(gateway.metric(r#"tallygate_hedges_total{result="won"} 1"#));
    }
}

#[tokio::test]
async fn the_first_may_still_win_and_is_what_the_books_name() {
    let (first, second) =
        (Upstream::start(vec![late(answer(200, &[], GOOD))]).await, Upstream::start(vec![vec![Act::WaitForClose]]).await);
    let gateway = hedged(&first, &second, 100, None).await;
    let reply = gateway.chat(ASK).await;
    assert_eq!((reply.body.as_str(), reply.header("x-tallygate-upstream")), (GOOD, "first"));
    tokio::time::timeout(Duration::from_secs(5), second.closed.notified()).await.expect("the loser was left working");
    let record = gateway.records().remove(0);
    assert_eq!(outcomes(&gateway, 0), told(&[("second", "hedge_lost"), ("first", "ok")]));
    assert_eq!((record.attempt, record.upstream.as_deref()), (1, Some("first")));
    assert_eq!(gateway.journal.open_calls(), 0);
    assert!(gateway.metric(r#"tallygate_hedges_total{result="lost"} 1"#));
}

#[tokio::test]
async fn where_one_fails_the_other_goes_on_alone() {
    let refusal = r#"{"error":{"message":"no","type":"server_error","code":null,"param":null}}"#;
    let (first, second) =
        (Upstream::start(vec![late(answer(200, &[], GOOD))]).await, Upstream::start(vec![answer(500, &[], refusal)]).await);
    let gateway = hedged(&first, &second, 100, None).await;
    assert_eq!(gateway.chat(ASK).await.body, GOOD);
    assert_eq!(outcomes(&gateway, 0), told(&[("second", "server_error"), ("first", "ok")]));
    assert_eq!(gateway.records()[0].upstream.as_deref(), Some("first"));
    assert_eq!(gateway.journal.open_calls(), 0);
}

#[tokio::test]
async fn only_a_share_of_the_requests_and_a_sum_of_money_goes_into_it() {
    let slow = || Upstream::start(vec![late(answer(200, &[], GOOD))]);
    let quick = || Upstream::start(vec![answer(200, &[], GOOD)]);
    let (first, second) = (slow().await, quick().await);
    let gateway = hedged(&first, &second, 50, None).await;
    for upstream in ["first", "second", "first", "second"] {
        assert_eq!(gateway.chat(ASK).await.header("x-tallygate-upstream"), upstream);
    }
    assert!(gateway.metric(r#"tallygate_hedges_total{result="over_percent"} 2"#));

    // One input is 15 tokens: 0.000045.
    let (first, second) = (slow().await, quick().await);
    let gateway = hedged(&first, &second, 100, Some("0.00005")).await;
    for upstream in ["second", "first"] {
        assert_eq!(gateway.chat(ASK).await.header("x-tallygate-upstream"), upstream);
    }
    assert!(gateway.metric(r#"tallygate_hedges_total{result="over_spend"} 1"#));
}

#[tokio::test]
async fn a_client_that_leaves_ends_both_and_both_are_recorded() {
    let (first, second) =
        (Upstream::start(vec![vec![Act::WaitForClose]]).await, Upstream::start(vec![vec![Act::WaitForClose]]).await);
    let gateway = hedged(&first, &second, 100, None).await;
    {
        let asking = gateway.chat(ASK);
        tokio::pin!(asking);
        let both = eventually(|| (second.seen().len() == 1).then_some(()));
        tokio::select! {
            _ = &mut asking => panic!("nobody answers"),
            () = both => {}
        }
        let live = gateway.plane.live_requests().remove(0);
        assert_eq!((live.attempt, live.upstream_name.as_deref()), (2, Some("second")));
        assert!(gateway.plane.cancel(live.request_id));
        assert_eq!(asking.await.status, 403);
    }
    for upstream in [&first, &second] {
        tokio::time::timeout(Duration::from_secs(5), upstream.closed.notified()).await.expect("it was left working");
    }
    assert_eq!(outcomes(&gateway, 0), told(&[("first", "cancelled"), ("second", "cancelled")]));
    assert_eq!((gateway.journal.open_calls(), gateway.plane.live_requests().len()), (0, 0));
}
