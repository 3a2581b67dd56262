//! Numbered cases of the protocol references that need a whole gateway: what upstreams do wrong, and what clients see of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tallygate_billing::{Outcome, UsageSource};
use tallygate_types::live::ExplainRequest;
use tallygate_types::{Dialect, ManualClock, Timestamp};
use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::span;

use crate::rig::{Gateway, KEY, Rig, next_piece, target, upstream as entry};
use crate::upstream::{Act, Upstream, answer, piece, stream, stream_end, stream_head};

const ASK: &str = r#"{"model":"smart","messages":[{"role":"user","content":"Hi"}]}"#;
const ASK_STREAM: &str = r#"{"model":"smart","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;
const MESSAGES_STREAM: &str = r#"{"model":"smart","stream":true,"max_tokens":50,"messages":[{"role":"user","content":"Hi"}]}"#;
const GOOD: &str = r#"{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}}"#;
const CHUNK: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"good\"},\"finish_reason\":null}]}\n\n";
const LAST_CHUNK: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const CLAUDE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"real","content":[{"type":"text","text":"good"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":6,"output_tokens":5}}"#;
const CLAUDE_START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"real\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":6,\"output_tokens\":1}}}\n\n";
const CLAUDE_OVERLOADED: &str =
    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";

fn claude_text(text: &str) -> String {
    format!(
        "event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{{\"type\":\"text\",\"text\":\"\"}}}}\n\nevent: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
    )
}

/// A gateway over two upstreams of one dialect, the second in reserve.
async fn pair(dialect: Dialect, first: Vec<Act>, second: Vec<Act>) -> (Gateway, Upstream, Upstream) {
    let (bad, good) = (Upstream::start(vec![first]).await, Upstream::start(vec![second]).await);
    let targets = vec![
        target(entry("bad", dialect, bad.address, &["one"]), 1, 1),
        target(entry("good", dialect, good.address, &["one"]), 1, 2),
    ];
    (Rig::new().with_model("smart", targets).start().await, bad, good)
}

/// A gateway over one upstream with two credentials, at a time that stands still.
async fn two_keys(dialect: Dialect, upstream: &Upstream) -> (Gateway, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_800_000_000_000_000)));
    let mut rig = Rig::new().with_model("smart", vec![target(entry("main", dialect, upstream.address, &["one", "two"]), 1, 1)]);
    rig.clock = Arc::clone(&clock) as _;
    (rig.start().await, clock)
}

/// The secrets that the upstream was shown, in order.
fn keys_shown(upstream: &Upstream) -> Vec<String> {
    let shown = |seen: &crate::upstream::Seen| {
        let key = seen.header("x-api-key").or_else(|| seen.header("authorization")).unwrap_or_default();
        key.trim_start_matches("Bearer secret-").trim_start_matches("secret-").to_owned()
    };
    upstream.seen().iter().map(shown).collect()
}

/// A credential is left alone for exactly `rest` from now on.
fn assert_rests(gateway: &Gateway, clock: &ManualClock, credential: &str, rest: Duration) {
    const MICROSECOND: Duration = Duration::from_micros(1);
    let is_planned = || {
        let asked = ExplainRequest { model: "smart".into(), ..ExplainRequest::default() };
        gateway.plane.explain(&asked).steps.iter().any(|step| step.credential_name.as_deref() == Some(credential))
    };
    clock.advance(rest.checked_sub(MICROSECOND).unwrap());
    assert!(!is_planned(), "it rests for less than {rest:?}");
    clock.advance(MICROSECOND);
    assert!(is_planned(), "it rests for more than {rest:?}");
}

#[tokio::test]
async fn case_b36_an_answer_with_neither_candidates_nor_a_reason_is_tried_elsewhere() {
    let good = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"good"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":1,"totalTokenCount":11},"responseId":"g"}"#;
    let empty = r#"{"usageMetadata":{"promptTokenCount":10,"totalTokenCount":10}}"#;
    for streams in [false, true] {
        let script = |body: &str| if streams { stream(&[&format!("data: {body}\n\n")]) } else { answer(200, &[], body) };
        let ask = if streams { ASK_STREAM } else { ASK };
        let (gateway, _, _) = pair(Dialect::Gemini, script(empty), script(good)).await;
        let reply = gateway.chat(ask).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-tallygate-upstream")), (200, "good"), "{}", reply.body);

        let upstream = Upstream::start(vec![script(empty)]).await;
        let gateway = Rig::serving(Dialect::Gemini, upstream.address).start().await;
        let reply = gateway.chat(ask).await;
        assert!(matches!(reply.status.as_u16(), 502 | 503) && reply.json()["error"].is_object(), "{}", reply.body);
        assert_eq!(gateway.records()[0].charge.get(), 0);
    }
}

#[tokio::test]
async fn case_a65_an_unknown_reason_to_end_is_a_plain_end_and_is_counted() {
    let upstream = Upstream::start(vec![answer(200, &[], &CLAUDE.replace("end_turn", "solar_flare"))]).await;
    let gateway = Rig::serving(Dialect::Anthropic, upstream.address).start().await;
    let reply = gateway.chat(ASK).await;
    assert_eq!(reply.json()["choices"][0]["finish_reason"], "stop", "{}", reply.body);
    assert!(gateway.metric(r#"tallygate_unknown_finish_reasons_total{provider="anthropic"} 1"#));
    assert_eq!(gateway.records()[0].finish_reason.as_deref(), Some("solar_flare"));
}

#[tokio::test]
async fn case_a66_an_overload_as_the_first_event_is_tried_elsewhere_and_nobody_sees_it() {
    for opening in [vec![], vec![CLAUDE_START]] {
        let bad = stream(&[opening.as_slice(), &[CLAUDE_OVERLOADED]].concat());
        let text = claude_text("good");
        let end = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":5}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
        let (gateway, _, _) = pair(Dialect::Anthropic, bad.clone(), stream(&[CLAUDE_START, &text, end])).await;
        let reply = gateway.chat(ASK_STREAM).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-tallygate-upstream")), (200, "good"));
        assert!(reply.body.contains("good") && !reply.body.contains("verload"), "{}", reply.body);

        let upstream = Upstream::start(vec![bad]).await;
        let gateway = Rig::serving(Dialect::Anthropic, upstream.address).start().await;
        let reply = gateway.chat(ASK_STREAM).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.status.as_u16(), error["code"].as_str()), (503, Some("server_is_overloaded")), "{}", reply.body);
        let reply = gateway.post("/v1/messages", MESSAGES_STREAM).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.status.as_u16(), error["type"].as_str()), (529, Some("overloaded_error")), "{}", reply.body);
    }
}

#[tokio::test]
async fn case_a67_an_error_after_text_is_one_error_chunk_and_flagged_usage() {
    let upstream = Upstream::start(vec![stream(&[CLAUDE_START, &claude_text("some"), CLAUDE_OVERLOADED])]).await;
    let gateway = Rig::serving(Dialect::Anthropic, upstream.address).start().await;
    let reply = gateway.chat(ASK_STREAM).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body.matches("data: {\"error\":").count(), 1, "{}", reply.body);
    assert!(!reply.body.contains("[DONE]") && !reply.body.contains("\"finish_reason\":\"stop\""), "{}", reply.body);
    let record = &gateway.records()[0];
    assert_eq!((record.outcome, record.usage_source), (Outcome::UpstreamError, UsageSource::Estimated));
    assert!(record.charge.get() > 0);
}

#[tokio::test]
async fn case_a68_an_end_without_its_last_event_is_an_end_if_the_reason_came_and_a_cut_if_not() {
    let text = claude_text("some");
    let delta = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":5}}\n\n";
    for (pieces, outcome, source) in [
        (vec![CLAUDE_START, &text, delta], Outcome::Ok, UsageSource::Provider),
        (vec![CLAUDE_START, &text], Outcome::UpstreamError, UsageSource::Estimated),
    ] {
        let upstream = Upstream::start(vec![stream(&pieces)]).await;
        let gateway = Rig::serving(Dialect::Anthropic, upstream.address).start().await;
        let reply = gateway.chat(ASK_STREAM).await;
        assert_eq!(reply.body.ends_with(DONE), outcome == Outcome::Ok, "{}", reply.body);
        assert_eq!(reply.body.contains("data: {\"error\":"), outcome != Outcome::Ok, "{}", reply.body);
        let record = &gateway.records()[0];
        assert_eq!((record.outcome, record.usage_source), (outcome, source));
    }
}

#[tokio::test]
async fn case_a69_however_the_network_cuts_a_stream_the_client_gets_the_same() {
    let whole = format!("{CLAUDE_START}{}{}", claude_text("zwölf 🎉"), "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":5}}   \n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n").replace('\n', "\r\n");
    let mut texts = Vec::new();
    for size in [1, 7, usize::MAX] {
        let mut script = vec![stream_head()];
        for chunk in whole.as_bytes().chunks(size.min(whole.len())) {
            let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
            script.push(Act::Write(framed));
        }
        script.push(stream_end());
        let upstream = Upstream::start(vec![script]).await;
        let gateway = Rig::serving(Dialect::Anthropic, upstream.address).start().await;
        let reply = gateway.chat(ASK_STREAM).await;
        let data: Vec<Value> = reply
            .body
            .lines()
            .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
            .map(|chunk: Value| chunk["choices"].clone())
            .collect();
        assert!(reply.body.ends_with(DONE));
        texts.push(data);
    }
    assert_eq!((&texts[0], &texts[1]), (&texts[2], &texts[2]));
    assert_eq!(texts[0].iter().filter_map(|choices| choices[0]["delta"]["content"].as_str()).collect::<String>(), "zwölf 🎉");
}

#[tokio::test]
async fn case_a78_a_stream_without_usage_is_estimated_flagged_and_ends_well() {
    let upstream = Upstream::start(vec![stream(&[CHUNK, LAST_CHUNK, DONE])]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let reply = gateway.post("/v1/messages", MESSAGES_STREAM).await;
    assert!(reply.body.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), "{}", reply.body);
    let record = &gateway.records()[0];
    assert_eq!((record.outcome, record.usage_source), (Outcome::Ok, UsageSource::Estimated));
    assert!(record.estimator.is_some() && record.usage.output_total() > 0 && record.charge.get() > 0);
}

#[tokio::test]
async fn case_a82_a_refused_key_of_ours_is_put_on_hold_and_never_the_tenants_fault() {
    let refused = answer(
        401,
        &[],
        r#"{"error":{"message":"Incorrect API key provided: sk-SECRET","type":"invalid_request_error","code":"invalid_api_key"}}"#,
    );
    let upstream = Upstream::start(vec![refused.clone(), answer(200, &[], GOOD)]).await;
    let (gateway, clock) = two_keys(Dialect::OpenaiChat, &upstream).await;
    assert_eq!(gateway.chat(ASK).await.status, 200);
    assert_eq!(gateway.chat(ASK).await.status, 200);
    // The other key was tried at once, and is the first from then on.
    let shown = keys_shown(&upstream);
    assert!(shown[0] != shown[1] && shown[1] == shown[2], "{shown:?}");
    let held = gateway.plane.config.health.auth_recheck;
    assert_rests(&gateway, &clock, &shown[0], held);

    let upstream = Upstream::start(vec![refused]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let reply = gateway.chat(ASK).await;
    let error = &reply.json()["error"];
    assert_eq!((reply.status.as_u16(), error["code"].as_str()), (503, Some("upstream_unavailable")), "{}", reply.body);
    assert!(!reply.body.contains("SECRET"), "{}", reply.body);
}

#[tokio::test]
async fn case_a83_a_spent_limit_of_ours_disables_the_key_and_a_ramp_waits_as_told() {
    let limited = |code: &str| {
        answer(
            429,
            &[("retry-after", "7")],
            &format!(
                r#"{{"type":"error","error":{{"type":"rate_limit_error","message":"limit","details":{{"error_code":"{code}"}}}}}}"#
            ),
        )
    };
    for (code, rest) in [
        // Waiting does not help: seconds beside a spent quota are not heeded.
        ("enforced_spend_limit_reached", Duration::from_mins(10)),
        ("ramp_limit_exceeded", Duration::from_secs(7)),
    ] {
        let upstream = Upstream::start(vec![limited(code), answer(200, &[], CLAUDE)]).await;
        let (gateway, clock) = two_keys(Dialect::Anthropic, &upstream).await;
        assert_eq!(gateway.chat(ASK).await.status, 200, "{code}");
        assert_eq!(gateway.chat(ASK).await.status, 200, "{code}");
        let shown = keys_shown(&upstream);
        assert!(shown[0] != shown[1] && shown[1] == shown[2], "{code}: {shown:?}");
        assert_rests(&gateway, &clock, &shown[0], rest);
    }
}

#[tokio::test]
async fn case_a84_a_spent_quota_is_not_retried_on_its_key_and_slow_down_waits_longer() {
    let limited =
        |code: &str| answer(429, &[], &format!(r#"{{"error":{{"message":"m","type":"{code}","param":null,"code":"{code}"}}}}"#));
    for (code, seconds) in [("insufficient_quota", 600), ("slow_down", 10), ("rate_limit_exceeded", 1)] {
        let upstream = Upstream::start(vec![limited(code), answer(200, &[], GOOD)]).await;
        let (gateway, clock) = two_keys(Dialect::OpenaiChat, &upstream).await;
        assert_eq!(gateway.chat(ASK).await.status, 200, "{code}");
        assert_eq!(gateway.chat(ASK).await.status, 200, "{code}");
        let shown = keys_shown(&upstream);
        assert!(shown[0] != shown[1] && shown[1] == shown[2], "{code}: {shown:?}");
        assert_rests(&gateway, &clock, &shown[0], Duration::from_secs(seconds));
    }
}

/// Everything that is logged or traced, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write as _;
        let _ = write!(self.0.lock().unwrap(), " {field}={value:?}");
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        span.record(&mut self.clone());
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn case_b59_a_key_in_the_query_is_in_no_log_no_trace_and_no_url_of_an_upstream() {
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    let record = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"good"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":1,"totalTokenCount":11},"responseId":"g"}"#;
    let asked = r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}"#;
    for (dialect, script) in [
        (Dialect::Gemini, stream(&[&format!("data: {record}\r\n\r\n")])),
        (Dialect::OpenaiChat, stream(&[CHUNK, LAST_CHUNK, DONE])),
        // Errors are logged with more words.
        (Dialect::Gemini, answer(500, &[], "{}")),
        (Dialect::Gemini, answer(401, &[], "{}")),
    ] {
        let upstream = Upstream::start(vec![script]).await;
        let gateway = Rig::serving(dialect, upstream.address).start().await;
        for path in ["smart", "no-such-model"] {
            let path = format!("/v1beta/models/{path}:streamGenerateContent?alt=sse&key={KEY}");
            gateway.ask(http::Method::POST, &path, &[("content-type", "application/json")], asked).await;
        }
        let seen = upstream.seen();
        assert!(!seen.is_empty());
        assert!(seen.iter().all(|seen| !seen.head.contains(KEY) && !seen.body.contains(KEY)), "{seen:?}");
        assert!(!format!("{:?}", gateway.records()).contains(KEY));
        assert!(!gateway.metrics.render().unwrap().contains(KEY));
    }
    drop(guard);
    let text = log.0.lock().unwrap();
    assert!(text.contains("generate_content"), "nothing was logged");
    assert!(!text.contains(KEY) && !text.contains("key=sk"), "{text}");
}

#[tokio::test]
async fn case_b78_a_response_that_fails_for_its_rate_before_any_output_is_429_or_tried_elsewhere() {
    let event = |json: &str| {
        let kind = serde_json::from_str::<Value>(json).unwrap()["type"].as_str().unwrap().to_owned();
        format!("event: {kind}\ndata: {json}\n\n")
    };
    let created = event(
        r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","created_at":1,"status":"in_progress","model":"real","output":[]}}"#,
    );
    let failed = event(
        r#"{"type":"response.failed","sequence_number":1,"response":{"id":"resp_1","object":"response","created_at":1,"status":"failed","model":"real","output":[],"error":{"code":"rate_limit_exceeded","message":"Please try again in 3s."}}}"#,
    );
    let good = [
        created.clone(),
        event(
            r#"{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"type":"message","id":"msg_1","status":"in_progress","role":"assistant","content":[]}}"#,
        ),
        event(
            r#"{"type":"response.content_part.added","sequence_number":2,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}"#,
        ),
        event(
            r#"{"type":"response.output_text.delta","sequence_number":3,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"good"}"#,
        ),
        event(
            r#"{"type":"response.completed","sequence_number":4,"response":{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"real","output":[{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"good","annotations":[]}]}],"usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15}}}"#,
        ),
    ];
    let bad = stream(&[&created, &failed]);
    let good = stream(&good.iter().map(String::as_str).collect::<Vec<_>>());
    let (gateway, _, _) = pair(Dialect::OpenaiResponses, bad.clone(), good).await;
    let reply = gateway.chat(ASK_STREAM).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-tallygate-upstream")), (200, "good"), "{}", reply.body);

    let upstream = Upstream::start(vec![bad]).await;
    let gateway = Rig::serving(Dialect::OpenaiResponses, upstream.address).start().await;
    let reply = gateway.chat(ASK_STREAM).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, "3"), "{}", reply.body);
}

/// The request of a client that streams.
fn streaming(client: Dialect) -> (&'static str, &'static str) {
    match client {
        Dialect::OpenaiChat => ("/v1/chat/completions", ASK_STREAM),
        Dialect::OpenaiResponses => ("/v1/responses", r#"{"model":"smart","stream":true,"input":"Hi"}"#),
        Dialect::Anthropic => ("/v1/messages", MESSAGES_STREAM),
        Dialect::Gemini => {
            ("/v1beta/models/smart:streamGenerateContent?alt=sse", r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}"#)
        }
    }
}

/// What every reader of the dialect's streams skips. The case asks for a comment; but Google's own SDK for Python takes a
/// comment for a broken answer, and skips an empty line.
fn silence(client: Dialect) -> &'static str {
    if client == Dialect::Gemini { "\n" } else { ": keep-alive\n\n" }
}

#[tokio::test]
async fn case_b83_a_silence_is_filled_with_what_every_reader_skips() {
    let interval = Duration::from_millis(20);
    for client in Dialect::ALL {
        // Before the answer begins, and in the middle of it.
        let (begin, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let script = vec![
            stream_head(),
            Act::Wait(Arc::clone(&begin)),
            piece(CHUNK),
            Act::Wait(Arc::clone(&go_on)),
            piece(LAST_CHUNK),
            piece(DONE),
            stream_end(),
        ];
        let upstream = Upstream::start(vec![script]).await;
        let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
        (rig.config.stream_keep_alive, rig.config.stream_commit_delay) = (interval, interval);
        let gateway = rig.start().await;
        let (path, ask) = streaming(client);
        let start = std::time::Instant::now();
        let response = gateway.open(path, ask).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/event-stream".parse().unwrap())
        );
        let mut body = response.into_body();
        for _ in 0..3 {
            assert_eq!(next_piece(&mut body).await.as_deref(), Some(silence(client)), "{client}");
        }
        assert!(start.elapsed() >= 3 * interval);
        begin.notify_one();
        let mut text = String::new();
        while !text.contains("good") {
            text.push_str(&next_piece(&mut body).await.unwrap());
        }
        let mut piece = next_piece(&mut body).await.unwrap();
        while piece != silence(client) {
            text.push_str(&piece);
            piece = next_piece(&mut body).await.unwrap();
        }
        go_on.notify_one();
        while next_piece(&mut body).await.is_some() {}
        let record = &gateway.records_when(1).await[0];
        assert_eq!((record.outcome, record.status), (Outcome::Ok, 200), "{client}");
    }
}

#[tokio::test]
async fn a_stream_begun_before_its_answer_is_tried_elsewhere_still_and_fails_in_band() {
    let interval = Duration::from_millis(20);
    for client in Dialect::ALL {
        for has_reserve in [true, false] {
            let fail = Arc::new(Notify::new());
            let late = vec![Act::Wait(Arc::clone(&fail)), answer(500, &[], "{}").remove(0)];
            let (bad, good) = (
                Upstream::start(vec![late, answer(500, &[], "{}")]).await,
                Upstream::start(vec![stream(&[CHUNK, LAST_CHUNK, DONE])]).await,
            );
            let mut targets = vec![target(entry("bad", Dialect::OpenaiChat, bad.address, &["one"]), 1, 1)];
            if has_reserve {
                targets.push(target(entry("good", Dialect::OpenaiChat, good.address, &["one"]), 1, 2));
            }
            let mut rig = Rig::new().with_model("smart", targets);
            (rig.config.stream_keep_alive, rig.config.stream_commit_delay) = (interval, interval);
            let gateway = rig.start().await;
            let (path, ask) = streaming(client);
            let mut body = gateway.open(path, ask).await.into_body();
            assert_eq!(next_piece(&mut body).await.as_deref(), Some(silence(client)), "{client}");
            fail.notify_one();
            let mut text = String::new();
            while let Some(piece) = next_piece(&mut body).await {
                text.push_str(&piece);
            }
            let record = &gateway.records_when(1).await[0];
            if has_reserve {
                assert!(text.contains("good"), "{client}: {text}");
                assert_eq!((record.outcome, record.attempts.len()), (Outcome::Ok, 2), "{client}");
            } else {
                let sign = match client {
                    Dialect::OpenaiChat | Dialect::Gemini => "data: {\"error\":{",
                    Dialect::OpenaiResponses => "event: response.failed",
                    Dialect::Anthropic => "event: error",
                };
                assert_eq!(text.matches(sign).count(), 1, "{client}: {text}");
                assert_eq!((record.outcome, record.status, record.charge.get()), (Outcome::UpstreamError, 200, 0), "{client}");
            }
        }
    }
}
