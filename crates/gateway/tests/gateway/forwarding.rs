//! What goes through, goes through as it is, and is counted.

use std::sync::Arc;

use http::Method;
use http_body_util::BodyExt as _;
use tallygate_billing::{Outcome, UsageSource};
use tallygate_types::{Dialect, Usage, UsageClass};

use crate::rig::{KEY, Rig, next_piece};
use crate::upstream::{Act, Upstream, answer, piece, stream, stream_end, stream_head};

const CHAT: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"real-model-2026","future":{"kept":[1,2]},"choices":[{"index":0,"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],"usage":{"prompt_tokens":1200,"completion_tokens":40,"total_tokens":1240}}"#;

#[tokio::test]
async fn a_request_of_the_same_dialect_passes_byte_for_byte_but_for_the_model() {
    let upstream = Upstream::start(vec![answer(200, &[("x-request-id", "up-1")], CHAT)]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let body =
        r#"{ "unknown": {"z":1, "a":[true]}, "model" : "smart" , "messages":[{"role":"user","content":"Hé\n"}],"user":"u-7"}"#;
    let reply = gateway.chat(body).await;

    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, CHAT));
    let seen = upstream.seen();
    assert_eq!(seen[0].body, body.replace("\"smart\"", "\"real-model\""));
    assert_eq!(seen[0].line(), "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(seen[0].header("authorization"), Some("Bearer secret-one"));
    assert_eq!(seen[0].header("x-request-id"), Some(reply.header("x-request-id")));
    assert!(!seen[0].head.contains(KEY));

    assert_eq!(reply.header("request-id"), reply.header("x-request-id"));
    assert_eq!(reply.header("x-tallygate-upstream"), "main");
    assert_eq!(reply.header("x-tallygate-model"), "real-model");
    assert_eq!(reply.header("x-tallygate-attempts"), "1");
    assert_eq!(reply.header("x-tallygate-cost"), "0.0042");
    assert!(reply.header("x-tallygate-overhead-ms").parse::<f64>().unwrap() < 1_000.0);

    let record = &gateway.records()[0];
    assert_eq!(record.request_id.to_string(), reply.header("x-request-id"));
    assert_eq!((record.outcome, record.status, record.attempt), (Outcome::Ok, 200, 1));
    assert_eq!(record.usage, Usage::default().with(UsageClass::InputUncached, 1_200).with(UsageClass::OutputText, 40));
    assert_eq!((record.usage_source, record.charge.to_string()), (UsageSource::Provider, "0.0042".into()));
    assert_eq!(record.upstream_request_id.as_deref(), Some("up-1"));
    assert_eq!(record.returned_model.as_deref(), Some("real-model-2026"));
    assert_eq!(record.end_user.as_deref(), Some("u-7"));
    assert_eq!((record.bytes_in, record.bytes_out), (body.len() as u64, CHAT.len() as u64));
    assert_eq!(gateway.journal.open_calls(), 0);
    assert!(
        gateway.metric(r#"tallygate_requests_total{endpoint="chat_completions",model="smart",outcome="ok",stream="false"} 1"#)
    );
}

#[tokio::test]
async fn a_stream_flows_as_it_came_and_its_usage_is_read_on_the_way() {
    let pieces = [
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hel\"},\"finish_reason\":null}]}\n\n",
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11}}\n\n",
        "data: [DONE]\n\n",
    ];
    let upstream = Upstream::start(vec![stream(&pieces)]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let body = r#"{"model":"smart","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
    let reply = gateway.chat(body).await;
    assert_eq!(reply.body, pieces.concat());
    assert_eq!(reply.header("content-type"), "text/event-stream");
    assert_eq!(reply.header("x-accel-buffering"), "no");

    // A client that did not ask for usage does not get the chunk with it; we do.
    let silent = gateway.chat(r#"{"model":"smart","stream":true,"messages":[]}"#).await;
    assert_eq!(silent.body, [pieces[0], pieces[1], pieces[3]].concat());
    assert!(upstream.seen()[1].body.contains(r#""include_usage":true"#));

    let records = gateway.records();
    for record in &records {
        assert_eq!(record.usage, Usage::default().with(UsageClass::InputUncached, 9).with(UsageClass::OutputText, 2));
        assert_eq!((record.usage_source, record.outcome, record.stream), (UsageSource::Provider, Outcome::Ok, true));
    }
    assert_eq!((records.len(), records[0].bytes_out), (2, reply.body.len() as u64));
    assert!(gateway.metric(r#"tallygate_streams_open{endpoint="chat_completions"} 0"#));
}

#[tokio::test]
async fn usage_that_the_upstream_keeps_to_itself_is_estimated_and_said_so() {
    let silent = CHAT.replace(r#","usage":{"prompt_tokens":1200,"completion_tokens":40,"total_tokens":1240}"#, "");
    let upstream = Upstream::start(vec![answer(200, &[], &silent)]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let body = r#"{"model":"smart","messages":[{"role":"user","content":"Hello?"}]}"#;
    assert_eq!(gateway.chat(body).await.status, 200);
    let record = &gateway.records()[0];
    assert_eq!((record.usage_source, record.usage.input_total()), (UsageSource::Estimated, (body.len() as u64).div_ceil(4)));
    assert_eq!(record.usage.output_total(), 2, "`Hello.` is six bytes");
    assert!(record.estimator.is_some());
}

#[tokio::test]
async fn an_absurd_usage_is_kept_beside_and_an_estimate_charged() {
    let body = r#"{"model":"smart","messages":[{"role":"user","content":"Hello?"}]}"#;
    // 65 bytes are 17 tokens in, `Hello.` is 2 tokens out.
    let estimate = Usage::default().with(UsageClass::InputUncached, 17).with(UsageClass::OutputText, 2);
    for (counted, output_price, charge) in [
        ("9000000000000000000", "15.00", "0.000081"),
        ("16777217", "15.00", "0.000081"),
        // Not absurd, but more than a charge can hold.
        ("1000000", "100000000.00", "200.000051"),
    ] {
        let absurd = CHAT.replace("\"completion_tokens\":40", &format!("\"completion_tokens\":{counted}"));
        let upstream = Upstream::start(vec![answer(200, &[], &absurd)]).await;
        let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
        rig.output_price = output_price;
        let gateway = rig.start().await;
        let reply = gateway.chat(body).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-tallygate-cost")), (200, charge));
        let record = &gateway.records()[0];
        assert_eq!(
            (record.usage_source, record.usage, record.charge.to_string()),
            (UsageSource::Estimated, estimate, charge.into())
        );
        assert!(record.raw_usage.as_ref().unwrap().contains(counted) && record.estimator.is_some());
    }
}

#[tokio::test]
async fn what_others_name_as_they_like_is_recorded_only_so_far() {
    let wordy =
        CHAT.replace("real-model-2026", &"m".repeat(100_000)).replace("\"stop\"", &format!("\"{}\"", "é".repeat(100_000)));
    let upstream = Upstream::start(vec![answer(200, &[("x-request-id", &"i".repeat(10_000))], &wordy)]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let user = "u".repeat(1 << 20);
    let reply = gateway.chat(&format!(r#"{{"model":"smart","messages":[],"user":"{user}"}}"#)).await;
    assert_eq!((reply.status.as_u16(), reply.body), (200, wordy));
    let record = &gateway.records()[0];
    let theirs = [record.end_user.as_deref(), record.returned_model.as_deref(), record.finish_reason.as_deref()];
    for text in theirs.into_iter().chain([record.upstream_request_id.as_deref()]) {
        assert_eq!(text.unwrap().chars().count(), 256);
    }
}

#[tokio::test]
async fn models_are_listed_in_the_shape_of_the_client_that_asks() {
    let mut rig =
        Rig::new().with_model("smart", vec![]).with_model("fast", vec![]).with_model("secret", vec![]).with_model("free", vec![]);
    rig.unpriced = vec!["free"];
    rig.key.allowed_models = Some(Arc::new(vec!["smart".into(), "fast".into(), "free".into()]));
    let gateway = rig.start().await;
    let bearer = format!("Bearer {KEY}");

    let openai = gateway.get("/v1/models").await;
    let names: Vec<_> = openai.json()["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["fast", "smart"]);
    let anthropic = gateway.ask(Method::GET, "/v1/models", &[("x-api-key", KEY), ("anthropic-version", "2023-06-01")], "").await;
    assert_eq!(anthropic.json()["data"][0]["type"], "model");
    let gemini = gateway.ask(Method::GET, "/v1beta/models", &[("x-goog-api-key", KEY)], "").await;
    assert_eq!(gemini.json()["models"][0]["name"], "models/fast");

    assert_eq!(gateway.get("/v1/models/smart").await.json()["id"], "smart");
    assert_eq!(gateway.get("/v1/models/secret").await.status, 404);
    let root = gateway.ask(Method::GET, "/", &[], "").await;
    assert_eq!(root.json()["name"], "tallygate");
    assert_eq!(gateway.ask(Method::HEAD, "/", &[("authorization", &bearer)], "").await.status, 200);
}

#[tokio::test]
async fn embeddings_pass() {
    let vectors = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AAAA"}],"model":"e","usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    let upstream = Upstream::start(vec![answer(200, &[], vectors)]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let reply = gateway.post("/v1/embeddings", r#"{"model":"smart","input":[[1,2,3]],"encoding_format":"base64"}"#).await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, vectors));
    assert_eq!(upstream.seen()[0].line(), "POST /v1/embeddings HTTP/1.1");
    assert_eq!(upstream.seen()[0].body, r#"{"model":"real-model","input":[[1,2,3]],"encoding_format":"base64"}"#);
    assert_eq!(gateway.records()[0].usage, Usage::default().with(UsageClass::InputUncached, 8));
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let upstream = Upstream::start(vec![answer(200, &[], CHAT)]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let body = format!(r#"{{"messages":[{{"role":"user","content":"{}"}}],"model":"smart"}}"#, "x ".repeat(1_000_000));
    assert_eq!(gateway.chat(&body).await.status, 200);
    assert_eq!(upstream.seen()[0].body.len(), body.len() + "real-model".len() - "smart".len());
}

#[tokio::test]
async fn http_2_with_prior_knowledge_is_spoken_too() {
    let upstream = Upstream::start(vec![answer(200, &[], CHAT)]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http::<http_body_util::Full<bytes::Bytes>>();
    let request = http::Request::post(format!("http://{}/v1/chat/completions", gateway.address))
        .header("authorization", format!("Bearer {KEY}"))
        .body(r#"{"model":"smart","messages":[]}"#.into())
        .unwrap();
    let response = client.request(request).await.unwrap();
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), CHAT);
}

#[tokio::test]
async fn what_is_ready_together_goes_out_together() {
    let event = |text: &str, finish: &str| {
        format!(
            "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":{finish}}}]}}\n\n"
        )
    };
    let mut burst = Vec::new();
    for _ in 0..100 {
        let Act::Write(bytes) = piece(&event("word", "null")) else { unreachable!() };
        burst.extend(bytes);
    }
    let script =
        vec![stream_head(), Act::Write(burst), piece(&event("end", "\"stop\"")), piece("data: [DONE]\n\n"), stream_end()];
    let upstream = Upstream::start(vec![script]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let mut body = gateway.open("/v1/chat/completions", r#"{"model":"smart","stream":true,"messages":[]}"#).await.into_body();
    let mut pieces = Vec::new();
    while let Some(text) = next_piece(&mut body).await {
        pieces.push(text);
    }
    assert_eq!(pieces.concat().matches("word").count(), 100);
    assert!(pieces[0].starts_with(&event("word", "null")));
    assert!(pieces.len() < 20, "{} writes", pieces.len());
}
