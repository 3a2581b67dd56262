//! Requests in flight: seen, and ended by an operator.

use std::time::{Duration, Instant};

use tallygate_billing::{Outcome, UsageSource};
use tallygate_types::live::Phase;
use tallygate_types::{Dialect, Pico, UsageClass};

use crate::rig::{Gateway, Rig, eventually, next_piece};
use crate::upstream::{Act, Upstream, piece, stream_head};

const ASK: &str = r#"{"model":"smart","messages":[{"role":"user","content":"x"}]}"#;
const ASK_STREAM: &str = r#"{"model":"smart","stream":true,"messages":[{"role":"user","content":"x"}]}"#;
const WORD: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"12345678\"},\"finish_reason\":null}]}\n\n";

async fn only(gateway: &Gateway, phase: Phase) -> tallygate_types::live::LiveRequest {
    eventually(|| gateway.plane.live_requests().into_iter().find(|live| live.phase == phase)).await
}

#[tokio::test]
async fn a_stream_in_flight_is_seen_and_can_be_cancelled() {
    let upstream = Upstream::start(vec![vec![stream_head(), piece(WORD), Act::WaitForClose]]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let mut body = gateway.open("/v1/chat/completions", ASK_STREAM).await.into_body();
    assert_eq!(next_piece(&mut body).await.as_deref(), Some(WORD));

    let live = only(&gateway, Phase::Streaming).await;
    assert_eq!((live.tenant_name.as_str(), live.key_name.as_str(), live.model.as_str()), ("acme", "ci", "smart"));
    assert_eq!((live.upstream_name.as_deref(), live.upstream_model.as_deref()), (Some("main"), Some("real-model")));
    assert_eq!((live.credential_name.as_deref(), live.attempt, live.streamed), (Some("one"), 1, true));
    assert_eq!((live.bytes_out, live.client_dialect), (WORD.len() as u64, Dialect::OpenaiChat));

    let begun = Instant::now();
    assert!(gateway.plane.cancel(live.request_id));
    let told = next_piece(&mut body).await.unwrap();
    assert!(told.contains(r#""code":"request_cancelled""#) && told.contains("An operator"), "{told}");
    assert_eq!(next_piece(&mut body).await, None);
    tokio::time::timeout(Duration::from_secs(5), upstream.closed.notified()).await.expect("the upstream was left working");
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());

    let record = &gateway.records_when(1).await[0];
    assert_eq!((record.outcome, record.usage_source), (Outcome::Cancelled, UsageSource::Estimated));
    assert_eq!((record.usage.get(UsageClass::OutputText), &*record.attempts[0].outcome), (2, "cancelled"));
    assert!(record.charge > Pico::ZERO);
    assert!(gateway.plane.live_requests().is_empty());
    assert!(!gateway.plane.cancel(live.request_id));
    assert!(gateway.metric(r#"tallygate_requests_interrupted_total{reason="cancelled"} 1"#));
}

#[tokio::test]
async fn a_request_without_an_answer_is_cancelled_with_an_error_that_is_not_to_be_retried() {
    let upstream = Upstream::start(vec![vec![Act::WaitForClose]]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let cancelling = async {
        eventually(|| (upstream.seen().len() == 1).then_some(())).await;
        let live = only(&gateway, Phase::Connecting).await;
        assert!(gateway.plane.cancel(live.request_id));
    };
    let (reply, ()) = tokio::join!(gateway.chat(ASK), cancelling);
    assert_eq!((reply.status.as_u16(), reply.json()["error"]["code"].as_str()), (403, Some("request_cancelled")));
    assert_eq!(reply.header("x-should-retry"), "false");
    tokio::time::timeout(Duration::from_secs(5), upstream.closed.notified()).await.expect("the upstream was left working");
    let record = &gateway.records()[0];
    assert_eq!((record.outcome, record.status, record.charge), (Outcome::Cancelled, 403, Pico::ZERO));
    // The call that was under way has its record, too.
    assert_eq!((record.attempts.len(), &*record.attempts[0].outcome), (1, "cancelled"));
}
