//! Every dialect in, every dialect out: the same conversation is answered in the client's words and counted the same.

use serde_json::Value;
use tallygate_billing::{Outcome, UsageSource};
use tallygate_types::{Dialect, Usage, UsageClass};

use crate::rig::{KEY, Rig};
use crate::upstream::{Upstream, answer, stream};

const TEXT: &str = "Hello.";

/// The request of a client, by dialect: path, and body with or without streaming.
fn question(client: Dialect, streams: bool) -> (String, String) {
    let (path, body) = match client {
        Dialect::OpenaiChat => (
            "/v1/chat/completions",
            r#"{"model":"smart","max_tokens":50,"messages":[{"role":"user","content":"Hi"}],"stream":STREAM}"#,
        ),
        Dialect::OpenaiResponses => ("/v1/responses", r#"{"model":"smart","max_output_tokens":50,"input":"Hi","stream":STREAM}"#),
        Dialect::Anthropic => {
            ("/v1/messages", r#"{"model":"smart","max_tokens":50,"messages":[{"role":"user","content":"Hi"}],"stream":STREAM}"#)
        }
        Dialect::Gemini => (
            if streams { "/v1beta/models/smart:streamGenerateContent?alt=sse" } else { "/v1beta/models/smart:generateContent" },
            r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}],"generationConfig":{"maxOutputTokens":50}}"#,
        ),
    };
    (path.to_owned(), body.replace("STREAM", if streams { "true" } else { "false" }))
}

/// Ten tokens in, of which four from the cache; five out.
fn whole(upstream: Dialect) -> &'static str {
    match upstream {
        Dialect::OpenaiChat => {
            r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"real","choices":[{"index":0,"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":4}}}"#
        }
        Dialect::OpenaiResponses => {
            r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"real","output":[{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello.","annotations":[]}]}],"usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":15}}"#
        }
        Dialect::Anthropic => {
            r#"{"id":"msg_1","type":"message","role":"assistant","model":"real","content":[{"type":"text","text":"Hello."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":6,"cache_read_input_tokens":4,"cache_creation_input_tokens":0,"output_tokens":5}}"#
        }
        Dialect::Gemini => {
            r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hello."}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":5,"totalTokenCount":15},"modelVersion":"real","responseId":"g1"}"#
        }
    }
}

fn events(upstream: Dialect) -> Vec<String> {
    let data = |json: &str| format!("data: {json}\n\n");
    let named = |json: &str| {
        let kind = serde_json::from_str::<Value>(json).unwrap()["type"].as_str().unwrap().to_owned();
        format!("event: {kind}\ndata: {json}\n\n")
    };
    match upstream {
        Dialect::OpenaiChat => vec![
            data(
                r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"real","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            ),
            data(
                r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"real","choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}"#,
            ),
            data(
                r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"real","choices":[{"index":0,"delta":{"content":"lo."},"finish_reason":null}]}"#,
            ),
            data(
                r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"real","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            ),
            data(
                r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"real","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":4}}}"#,
            ),
            "data: [DONE]\n\n".to_owned(),
        ],
        Dialect::OpenaiResponses => vec![
            named(
                r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","created_at":1,"status":"in_progress","model":"real","output":[]}}"#,
            ),
            named(
                r#"{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"type":"message","id":"msg_1","status":"in_progress","role":"assistant","content":[]}}"#,
            ),
            named(
                r#"{"type":"response.content_part.added","sequence_number":2,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}"#,
            ),
            named(
                r#"{"type":"response.output_text.delta","sequence_number":3,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"Hel"}"#,
            ),
            named(
                r#"{"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"lo."}"#,
            ),
            named(
                r#"{"type":"response.output_text.done","sequence_number":5,"item_id":"msg_1","output_index":0,"content_index":0,"text":"Hello."}"#,
            ),
            named(
                r#"{"type":"response.content_part.done","sequence_number":6,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"Hello.","annotations":[]}}"#,
            ),
            named(
                r#"{"type":"response.output_item.done","sequence_number":7,"output_index":0,"item":{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello.","annotations":[]}]}}"#,
            ),
            named(&format!(r#"{{"type":"response.completed","sequence_number":8,"response":{}}}"#, whole(upstream))),
        ],
        Dialect::Anthropic => vec![
            named(
                r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"real","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":6,"cache_read_input_tokens":4,"cache_creation_input_tokens":0,"output_tokens":1}}}"#,
            ),
            named(r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#),
            named(r#"{"type":"ping"}"#),
            named(r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}}"#),
            named(r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"lo."}}"#),
            named(r#"{"type":"content_block_stop","index":0}"#),
            named(
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":5}}"#,
            ),
            named(r#"{"type":"message_stop"}"#),
        ],
        Dialect::Gemini => vec![
            data(
                r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hel"}]},"index":0}],"modelVersion":"real","responseId":"g1"}"#,
            ),
            data(
                r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"lo."}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":5,"totalTokenCount":15},"modelVersion":"real","responseId":"g1"}"#,
            ),
        ],
    }
}

fn upstream_line(upstream: Dialect, streams: bool) -> &'static str {
    match (upstream, streams) {
        (Dialect::OpenaiChat, _) => "POST /v1/chat/completions HTTP/1.1",
        (Dialect::OpenaiResponses, _) => "POST /v1/responses HTTP/1.1",
        (Dialect::Anthropic, _) => "POST /v1/messages HTTP/1.1",
        (Dialect::Gemini, false) => "POST /v1beta/models/real-model:generateContent HTTP/1.1",
        (Dialect::Gemini, true) => "POST /v1beta/models/real-model:streamGenerateContent?alt=sse HTTP/1.1",
    }
}

/// The text of a whole answer.
fn text_of(client: Dialect, answer: &Value) -> Option<&str> {
    answer
        .pointer(match client {
            Dialect::OpenaiChat => "/choices/0/message/content",
            Dialect::OpenaiResponses => "/output/0/content/0/text",
            Dialect::Anthropic => "/content/0/text",
            Dialect::Gemini => "/candidates/0/content/parts/0/text",
        })?
        .as_str()
}

/// The text of a stream, from its deltas.
fn text_of_stream(client: Dialect, body: &str) -> String {
    let pointer = match client {
        Dialect::OpenaiChat => "/choices/0/delta/content",
        Dialect::OpenaiResponses => "/delta",
        Dialect::Anthropic => "/delta/text",
        Dialect::Gemini => "/candidates/0/content/parts/0/text",
    };
    body.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|event| event.pointer(pointer)?.as_str().map(str::to_owned))
        .collect()
}

fn used() -> Usage {
    Usage::default().with(UsageClass::InputUncached, 6).with(UsageClass::InputCacheRead, 4).with(UsageClass::OutputText, 5)
}

#[tokio::test]
async fn every_pair_of_dialects_answers_and_counts_alike() {
    for client in Dialect::ALL {
        for upstream in Dialect::ALL {
            let provider = Upstream::start(vec![answer(200, &[], whole(upstream))]).await;
            let gateway = Rig::serving(upstream, provider.address).start().await;
            let (path, body) = question(client, false);
            let reply = gateway.post(&path, &body).await;
            let pair = format!("{client} to {upstream}: {}", reply.body);
            assert_eq!(reply.status, 200, "{pair}");
            assert_eq!(text_of(client, &reply.json()), Some(TEXT), "{pair}");
            assert_eq!(provider.seen()[0].line(), upstream_line(upstream, false), "{pair}");
            assert!(!provider.seen()[0].head.contains(KEY), "{pair}");
            assert!(provider.seen()[0].body.contains("Hi"), "{pair}");
            let record = &gateway.records()[0];
            assert_eq!(
                (record.usage, record.usage_source, record.outcome),
                (used(), UsageSource::Provider, Outcome::Ok),
                "{pair}"
            );
            assert_eq!(record.charge.to_string(), "0.000105", "{pair}");
        }
    }
}

#[tokio::test]
async fn every_pair_of_dialects_streams_and_counts_alike() {
    for client in Dialect::ALL {
        for upstream in Dialect::ALL {
            let events = events(upstream);
            let provider = Upstream::start(vec![stream(&events.iter().map(String::as_str).collect::<Vec<_>>())]).await;
            let gateway = Rig::serving(upstream, provider.address).start().await;
            let (path, body) = question(client, true);
            let reply = gateway.post(&path, &body).await;
            let pair = format!("{client} to {upstream}: {}", reply.body);
            assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "text/event-stream"), "{pair}");
            assert_eq!(text_of_stream(client, &reply.body), TEXT, "{pair}");
            assert_eq!(provider.seen()[0].line(), upstream_line(upstream, true), "{pair}");
            let record = &gateway.records()[0];
            assert_eq!(
                (record.usage, record.usage_source, record.outcome),
                (used(), UsageSource::Provider, Outcome::Ok),
                "{pair}"
            );
            assert_eq!(record.charge.to_string(), "0.000105", "{pair}");
        }
    }
}

#[tokio::test]
async fn every_pair_of_dialects_breaks_off_in_the_clients_words() {
    for client in Dialect::ALL {
        for upstream in Dialect::ALL {
            let mut events = events(upstream);
            let cut = events.iter().position(|event| event.contains("\"Hel\"")).unwrap();
            events.truncate(cut + 1);
            let provider = Upstream::start(vec![stream(&events.iter().map(String::as_str).collect::<Vec<_>>())]).await;
            let gateway = Rig::serving(upstream, provider.address).start().await;
            let (path, body) = question(client, true);
            let reply = gateway.post(&path, &body).await;
            let pair = format!("{client} to {upstream}: {}", reply.body);
            assert_eq!(text_of_stream(client, &reply.body), "Hel", "{pair}");
            let sign = match client {
                Dialect::OpenaiChat | Dialect::Gemini => "\"error\":{",
                Dialect::OpenaiResponses => "event: response.failed",
                Dialect::Anthropic => "event: error",
            };
            assert!(reply.body.contains(sign), "{pair}");
            let record = &gateway.records()[0];
            assert_eq!((record.outcome, record.usage_source), (Outcome::UpstreamError, UsageSource::Estimated), "{pair}");
            assert!(record.charge.get() > 0, "{pair}");
        }
    }
}

#[tokio::test]
async fn what_could_not_be_said_exactly_is_reported_or_refused() {
    let body = r#"{"model":"smart","messages":[{"role":"user","content":"Hi"}],"logit_bias":{"50256":-100}}"#;
    let provider = Upstream::start(vec![answer(200, &[], whole(Dialect::Anthropic))]).await;
    let gateway = Rig::serving(Dialect::Anthropic, provider.address).start().await;
    let reply = gateway.chat(body).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(reply.header("x-tallygate-loss").contains("logit_bias"), "{}", reply.header("x-tallygate-loss"));
    assert!(gateway.records()[0].loss.as_deref().unwrap().contains("logit_bias"));

    let mut strict = Rig::serving(Dialect::Anthropic, provider.address);
    strict.models[0].strict = true;
    let gateway = strict.start().await;
    let reply = gateway.chat(body).await;
    assert_eq!((reply.status.as_u16(), reply.json()["error"]["param"].as_str()), (400, Some("logit_bias")), "{}", reply.body);
    assert_eq!(provider.seen().len(), 1);
}
