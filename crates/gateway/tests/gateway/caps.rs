//! A hard budget bounds the output of what falls under it: no request can cost more than was set aside for it.

use std::sync::Arc;

use tallygate_store::budgets::BudgetMode;
use tallygate_store::{BudgetEntry, Made};
use tallygate_types::Dialect;

use crate::rig::{Answer, Gateway, Rig};
use crate::upstream::{Upstream, answer};

const APPLIED: &str = "x-tallygate-max-tokens-applied";
const CHAT: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
const MESSAGE: &str = r#"{"id":"1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"good"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}"#;

struct Bounded {
    upstream: Upstream,
    gateway: Gateway,
}

impl Bounded {
    /// Input costs 3 and output 15 a million.
    async fn by(dialect: Dialect, budget: &str) -> Self {
        let body = if dialect == Dialect::Anthropic { MESSAGE } else { CHAT };
        let upstream = Upstream::start(vec![answer(200, &[], body)]).await;
        let gateway = Rig::serving(dialect, upstream.address).with_budget(budget).start().await;
        Self { upstream, gateway }
    }

    async fn asked(&self, path: &str, body: &str) -> (Answer, Option<String>) {
        let reply = self.gateway.post(path, body).await;
        (reply, self.upstream.seen().last().map(|seen| seen.body.clone()))
    }
}

fn applied(reply: &Answer) -> Option<&str> {
    reply.headers.get(APPLIED).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn who_names_no_bound_gets_the_one_that_was_reserved_for() {
    // A hundredth of 30 covers the input, some 15 tokens at 3 a million, and 19,997 of output at 15.
    for (budget, n, each) in [("1", 1, 4_096), ("30", 1, 19_997), ("30", 2, 9_998), ("1000", 1, 32_768)] {
        let bounded = Bounded::by(Dialect::OpenaiChat, budget).await;
        let body = format!(r#"{{"model":"smart","n":{n},"messages":[]}}"#);
        let (reply, sent) = bounded.asked("/v1/chat/completions", &body).await;
        assert_eq!((reply.status.as_u16(), applied(&reply)), (200, Some(&*each.to_string())), "{}", reply.body);
        let expected = format!(r#"{{"max_tokens":{each},"model":"real-model","n":{n},"messages":[]}}"#);
        assert_eq!(sent.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_bound_that_the_budget_covers_passes_as_it_came() {
    let bounded = Bounded::by(Dialect::OpenaiChat, "1").await;
    let (reply, sent) = bounded.asked("/v1/chat/completions", r#"{"model":"smart", "max_tokens" : 1e2,"messages":[]}"#).await;
    assert_eq!((reply.status.as_u16(), applied(&reply)), (200, None));
    assert_eq!(sent.unwrap(), r#"{"model":"real-model", "max_tokens" : 1e2,"messages":[]}"#);
}

#[tokio::test]
async fn a_bound_beyond_what_is_left_is_lowered_to_it_and_one_too_low_refused() {
    // 17 input tokens at most are 0.000051, which leaves 0.001449: 96 tokens of output, or 48 for each of two.
    for (n, each) in [(1, "96"), (2, "48")] {
        let bounded = Bounded::by(Dialect::OpenaiChat, "0.0015").await;
        let body = format!(r#"{{"model":"smart","max_tokens":900,"n":{n},"messages":[]}}"#);
        let (reply, sent) = bounded.asked("/v1/chat/completions", &body).await;
        assert_eq!((reply.status.as_u16(), applied(&reply)), (200, Some(each)), "{}", reply.body);
        let expected = body.replace("smart", "real-model").replace("900", each);
        assert_eq!(sent.unwrap(), expected);
    }
    let bounded = Bounded::by(Dialect::OpenaiChat, "0.0015").await;
    let (reply, sent) = bounded.asked("/v1/chat/completions", r#"{"model":"smart","max_tokens":900,"n":7,"messages":[]}"#).await;
    assert_eq!((reply.json()["error"]["code"].as_str(), sent), (Some("insufficient_quota"), None));
}

#[tokio::test]
async fn a_translated_request_is_bounded_too() {
    let bounded = Bounded::by(Dialect::Anthropic, "1").await;
    let (reply, sent) =
        bounded.asked("/v1/chat/completions", r#"{"model":"smart","messages":[{"role":"user","content":"x"}]}"#).await;
    let sent: serde_json::Value = serde_json::from_str(&sent.unwrap()).unwrap();
    assert_eq!((applied(&reply), sent["max_tokens"].as_u64()), (Some("4096"), Some(4_096)));
}

#[tokio::test]
async fn thinking_that_does_not_fit_is_refused_and_not_sent_to_be() {
    // Covers some 1,300 tokens of output.
    let bounded = Bounded::by(Dialect::Anthropic, "0.02").await;
    let body = |budget: u64| {
        format!(
            r#"{{"model":"smart","max_tokens":4000,"thinking":{{"type":"enabled","budget_tokens":{budget}}},"messages":[{{"role":"user","content":"x"}}]}}"#
        )
    };
    let (reply, sent) = bounded.asked("/v1/messages", &body(2_000)).await;
    assert_eq!((reply.status.as_u16(), sent), (429, None), "{}", reply.body);
    let (reply, sent) = bounded.asked("/v1/messages", &body(1_024)).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let cap: u64 = applied(&reply).unwrap().parse().unwrap();
    assert!((1_025..1_334).contains(&cap) && sent.unwrap().contains(&format!(r#""max_tokens":{cap},"#)));
}

#[tokio::test]
async fn without_a_hard_budget_nothing_is_bounded() {
    let upstream = Upstream::start(vec![answer(200, &[], CHAT)]).await;
    let mut soft = Rig::serving(Dialect::OpenaiChat, upstream.address).with_budget("0.0001");
    let [hard] = soft.tenant.budgets.as_deref().unwrap().as_slice() else { unreachable!() };
    let mut settings = hard.settings.clone();
    settings.mode = BudgetMode::Soft;
    soft.tenant.budgets = Some(Arc::new(vec![BudgetEntry { id: hard.id, settings, balance: None, made: Made::default() }]));
    for rig in [soft, Rig::serving(Dialect::OpenaiChat, upstream.address)] {
        let reply = rig.start().await.chat(r#"{"model":"smart","messages":[]}"#).await;
        assert_eq!((reply.status.as_u16(), applied(&reply)), (200, None));
    }
    assert!(upstream.seen().iter().all(|seen| seen.body == r#"{"model":"real-model","messages":[]}"#));
}
