//! Endpoints that pass untranslated: of a body only the model is replaced, and everything is metered.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tallygate_billing::{Endpoint, Outcome, UsageSource};
use tallygate_store::TargetEntry;
use tallygate_types::{Dialect, Pico, Usage, UsageClass as C};

use crate::rig::{Gateway, KEY, Rig, target, upstream};
use crate::upstream::{Act, Upstream, answer, stream};

const COMPLETION: &str = r#"{"id":"cmpl-1","object":"text_completion","created":1,"model":"real-model","choices":[{"text":"world","index":0,"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}"#;
const IMAGE: &str = r#"{"created":1,"data":[{"b64_json":"QUJD"}],"usage":{"total_tokens":4180,"input_tokens":20,"output_tokens":4160,"input_tokens_details":{"text_tokens":12,"image_tokens":8}}}"#;
const TRANSCRIPT: &str = r#"{"text":"Hello","usage":{"type":"tokens","input_tokens":30,"input_token_details":{"text_tokens":4,"audio_tokens":26},"output_tokens":6,"total_tokens":36}}"#;
const SPEECH: [&str; 2] = [
    "data: {\"type\":\"speech.audio.delta\",\"audio\":\"QUJD\"}\n\n",
    "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":9,\"output_tokens\":101,\"total_tokens\":110}}\n\n",
];

async fn gateway(script: Vec<Act>) -> (Gateway, Upstream) {
    let provider = Upstream::start(vec![script]).await;
    (Rig::serving(Dialect::OpenaiChat, provider.address).start().await, provider)
}

/// A model with this name at its upstream.
async fn named(upstream_model: &str, body: &str) -> (Gateway, Upstream) {
    let provider = Upstream::start(vec![answer(200, &[], body)]).await;
    let at = target(upstream("main", Dialect::OpenaiChat, provider.address, &["one"]), 1, 1);
    let at = TargetEntry { upstream_model: upstream_model.into(), ..at };
    (Rig::new().with_model("smart", vec![at]).start().await, provider)
}

fn form(fields: &[(&str, &str)], file: &[u8]) -> Bytes {
    let mut body = Vec::new();
    for (name, value) in fields {
        body.extend_from_slice(format!("--xyz\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes());
    }
    body.extend_from_slice(
        b"--xyz\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\ncontent-type: audio/mpeg\r\n\r\n",
    );
    body.extend_from_slice(file);
    body.extend_from_slice(b"\r\n--xyz--\r\n");
    body.into()
}

async fn post_form(gateway: &Gateway, path: &str, body: Bytes) -> (u16, String, http::HeaderMap) {
    let request = Request::post(format!("http://{}{path}", gateway.address))
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "multipart/form-data; boundary=xyz");
    let (parts, body) = gateway.send(request.body(Full::new(body)).unwrap()).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), String::from_utf8(body.to_vec()).unwrap(), parts.headers)
}

#[tokio::test]
async fn completions_pass_and_are_metered() {
    let (gateway, provider) = gateway(answer(200, &[], COMPLETION)).await;
    let ask = r#"{"model":"smart","prompt":"Hello, ","max_tokens":9,"suffix":"!"}"#;
    let reply = gateway.post("/v1/completions", ask).await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str(), reply.header("x-tallygate-cost")), (200, COMPLETION, "0.00012"));
    let seen = &provider.seen()[0];
    assert_eq!((seen.line(), seen.body.as_str()), ("POST /v1/completions HTTP/1.1", ask.replace("smart", "real-model").as_str()));
    let record = &gateway.records()[0];
    assert_eq!((record.endpoint, record.usage_source), (Endpoint::Completions, UsageSource::Provider));
    assert_eq!(record.usage, Usage::default().with(C::InputUncached, 5).with(C::OutputText, 7));
    assert_eq!(record.finish_reason.as_deref(), Some("stop"));
}

#[tokio::test]
async fn a_stream_of_completions_is_asked_for_its_usage_and_keeps_it_from_who_did_not_ask() {
    let text = "data: {\"id\":\"cmpl-1\",\"choices\":[{\"text\":\"wor\",\"index\":0,\"finish_reason\":null}],\"usage\":null}\n\n";
    let last =
        "data: {\"id\":\"cmpl-1\",\"choices\":[{\"text\":\"ld\",\"index\":0,\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
    let usage =
        "data: {\"id\":\"cmpl-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"total_tokens\":7}}\n\n";
    let done = "data: [DONE]\n\n";
    for (options, expected) in
        [("", [text, last, done].concat()), (r#","stream_options":{"include_usage":true}"#, [text, last, usage, done].concat())]
    {
        let (gateway, provider) = gateway(stream(&[text, last, usage, done])).await;
        let reply =
            gateway.post("/v1/completions", &format!(r#"{{"model":"smart","prompt":"Hello","stream":true{options}}}"#)).await;
        assert_eq!((reply.status.as_u16(), reply.body), (200, expected));
        let asked: Value = serde_json::from_str(&provider.seen()[0].body).unwrap();
        assert_eq!(asked["stream_options"], json!({"include_usage": true}));
        let record = &gateway.records()[0];
        assert_eq!((record.stream, record.usage), (true, Usage::default().with(C::InputUncached, 5).with(C::OutputText, 2)));
    }
    let (gateway, _) = gateway(stream(&[text])).await;
    let cut = gateway.post("/v1/completions", r#"{"model":"smart","prompt":"Hello","stream":true}"#).await;
    assert!(cut.body.starts_with(text) && cut.body.contains("\"error\""), "{}", cut.body);
    let record = &gateway.records()[0];
    assert_eq!(
        (record.outcome, record.usage_source, record.usage.get(C::OutputText)),
        (Outcome::UpstreamError, UsageSource::Estimated, 1)
    );
}

#[tokio::test]
async fn moderation_needs_no_model_and_costs_what_its_text_is_worth() {
    let verdict = r#"{"id":"modr-1","model":"omni-moderation-latest","results":[{"flagged":false}]}"#;
    let provider = Upstream::start(vec![answer(200, &[], verdict)]).await;
    let at = target(upstream("main", Dialect::OpenaiChat, provider.address, &["one"]), 1, 1);
    let gateway = Rig::new().with_model("omni-moderation-latest", vec![at]).start().await;
    let ask = r#"{"input":"some words"}"#;
    let reply = gateway.post("/v1/moderations", ask).await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str(), reply.header("x-tallygate-estimated")), (200, verdict, "true"));
    assert_eq!(provider.seen()[0].body, r#"{"model":"real-model","input":"some words"}"#);
    let record = &gateway.records()[0];
    assert_eq!((record.endpoint, record.usage_source), (Endpoint::Moderations, UsageSource::Estimated));
    assert_eq!(record.usage, Usage::default().with(C::InputUncached, ask.len().div_ceil(4) as u64));
    assert_eq!(record.charge.to_string(), "0.000018");
}

#[tokio::test]
async fn images_are_metered_by_their_tokens() {
    let (gateway, provider) = gateway(answer(200, &[], IMAGE)).await;
    let ask = r#"{"model":"smart","prompt":"a cat","n":2}"#;
    let reply = gateway.post("/v1/images/generations", ask).await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, IMAGE));
    assert_eq!(provider.seen()[0].body, ask.replace("smart", "real-model"));
    let made = Usage::default().with(C::InputUncached, 12).with(C::InputImage, 8).with(C::OutputImage, 4_160);
    let record = &gateway.records()[0];
    assert_eq!((record.endpoint, record.usage), (Endpoint::Images, made));
    // Two of the largest images are reserved: 2 x 6,240 tokens at 15 a million, and a little for the prompt.
    assert!(record.reserved.to_string().starts_with("0.1872"), "{}", record.reserved);

    let told =
        "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"QUJD\"}\n\n";
    let last = format!(
        "event: image_generation.completed\ndata: {{\"type\":\"image_generation.completed\",\"b64_json\":\"QUJD\",{}}}\n\n",
        &IMAGE[IMAGE.find("\"usage\"").unwrap()..IMAGE.len() - 1]
    );
    let (gateway, _) = self::gateway(stream(&[told, &last])).await;
    let reply = gateway.post("/v1/images/generations", r#"{"model":"smart","prompt":"a cat","stream":true}"#).await;
    assert_eq!((reply.status.as_u16(), reply.body), (200, format!("{told}{last}")));
    assert_eq!(gateway.records()[0].usage, made);

    // What tells nothing is charged as the largest images, never as none.
    let (gateway, _) = self::gateway(answer(200, &[], r#"{"created":1,"data":[{"url":"x"}]}"#)).await;
    let reply = gateway.post("/v1/images/generations", ask).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-tallygate-estimated")), (200, "true"));
    assert_eq!(gateway.records()[0].usage.get(C::OutputImage), 12_480);
}

#[tokio::test]
async fn of_a_form_only_the_model_is_replaced() {
    let file = [&[0_u8, 159, 146, 150][..], b"\r\n--xy\r\nname=\"model\"\r\n\r\nno", &[0xff; 2_000]].concat();
    let body = form(&[("prompt", "a hat"), ("model", "smart"), ("n", "1")], &file);
    let provider = Upstream::start(vec![answer(200, &[], IMAGE)]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, provider.address).start().await;
    // The test's upstream reads text.
    let ascii = form(&[("prompt", "a hat"), ("model", "smart"), ("n", "1")], b"bytes\r\n--xy\r\nmodel");
    let (status, reply, _) = post_form(&gateway, "/v1/images/edits", ascii.clone()).await;
    assert_eq!((status, reply.as_str()), (200, IMAGE));
    let seen = &provider.seen()[0];
    assert_eq!(
        (seen.line(), seen.header("content-type")),
        ("POST /v1/images/edits HTTP/1.1", Some("multipart/form-data; boundary=xyz"))
    );
    assert_eq!(seen.body, String::from_utf8(ascii.to_vec()).unwrap().replace("smart", "real-model"));
    assert_eq!(gateway.records()[0].usage.get(C::OutputImage), 4_160);

    for (path, body, param) in [
        ("/v1/images/edits", form(&[("prompt", "x")], b"x"), json!("model")),
        ("/v1/images/edits", Bytes::from_static(b"no form"), Value::Null),
        ("/v1/audio/transcriptions", form(&[("model", "smart"), ("model", "other")], b"x"), json!("model")),
    ] {
        let (status, reply, _) = post_form(&gateway, path, body).await;
        let error: Value = serde_json::from_str(&reply).unwrap();
        assert_eq!((status, &error["error"]["param"]), (400, &param), "{reply}");
    }
    let (status, ..) = post_form(&gateway, "/v1/chat/completions", body).await;
    assert_eq!((status, provider.seen().len()), (415, 1));
}

#[tokio::test]
async fn transcripts_are_metered_by_what_was_heard() {
    let (gateway, provider) = gateway(answer(200, &[], TRANSCRIPT)).await;
    let body = form(&[("model", "smart"), ("response_format", "json")], b"sound");
    let (status, reply, _) = post_form(&gateway, "/v1/audio/transcriptions", body).await;
    assert_eq!((status, reply.as_str()), (200, TRANSCRIPT));
    assert_eq!(provider.seen()[0].header("accept"), Some("*/*"));
    let heard = Usage::default().with(C::InputUncached, 4).with(C::InputAudio, 26).with(C::OutputText, 6);
    let record = &gateway.records()[0];
    assert_eq!((record.endpoint, record.usage), (Endpoint::Audio, heard));

    let delta = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"Hello\"}\n\n";
    let last = format!("data: {{\"type\":\"transcript.text.done\",{}\n\n", &TRANSCRIPT[1..]);
    let (gateway, _) = self::gateway(stream(&[delta, &last])).await;
    let body = form(&[("model", "smart"), ("stream", "true")], b"sound");
    let (status, reply, headers) = post_form(&gateway, "/v1/audio/transcriptions", body).await;
    assert_eq!((status, reply, headers["content-type"].to_str().unwrap()), (200, format!("{delta}{last}"), "text/event-stream"));
    assert_eq!(gateway.records()[0].usage, heard);
}

#[tokio::test]
async fn speech_is_metered_where_it_tells_what_it_used() {
    let (gateway, provider) = gateway(stream(&SPEECH)).await;
    let ask = r#"{"model":"smart","input":"Hello","voice":"alloy","stream_format":"sse"}"#;
    let reply = gateway.post("/v1/audio/speech", ask).await;
    assert_eq!((reply.status.as_u16(), reply.body), (200, SPEECH.concat()));
    assert_eq!(provider.seen()[0].body, ask.replace("smart", "real-model"));
    let spoken = Usage::default().with(C::InputUncached, 9).with(C::OutputAudio, 101);
    assert_eq!(gateway.records()[0].usage, spoken);

    // Who wants the sound alone gets it, though it was asked for with its usage.
    let (gateway, provider) = self::gateway(stream(&SPEECH)).await;
    let ask = r#"{"model":"smart","input":"Hello","voice":"alloy","response_format":"wav","stream_format":"audio"}"#;
    let reply = gateway.post("/v1/audio/speech", ask).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type"), reply.body.as_str()), (200, "audio/wav", "ABC"));
    let sent = ask.replace("smart", "real-model").replace("\"audio\"}", "\"sse\"}");
    assert_eq!(provider.seen()[0].body, sent);
    assert_eq!(gateway.records()[0].usage, spoken);
    let (gateway, _) = self::gateway(stream(&SPEECH[..1])).await;
    let cut = gateway.post("/v1/audio/speech", ask).await;
    assert_eq!((cut.status.as_u16(), &cut.json()["error"]["code"]), (502, &json!("upstream_invalid_answer")));
    // A server that knows no events sends the sound as it is.
    let (gateway, _) = self::gateway(answer(200, &[], "RIFF")).await;
    let reply = gateway.post("/v1/audio/speech", ask).await;
    assert_eq!((reply.body.as_str(), reply.header("x-tallygate-estimated")), ("RIFF", "true"));
    assert_eq!(gateway.records()[0].usage_source, UsageSource::Estimated);
}

#[tokio::test]
async fn rerankers_are_metered_by_their_tokens_or_by_their_text() {
    let ask = r#"{"model":"smart","query":"q","documents":["a","b"]}"#;
    for (told, usage, source) in [
        (r#"{"results":[],"usage":{"total_tokens":15}}"#, 15, UsageSource::Provider),
        (r#"{"results":[],"meta":{"tokens":{"input_tokens":16}}}"#, 16, UsageSource::Provider),
        (r#"{"results":[]}"#, ask.len().div_ceil(4) as u64, UsageSource::Estimated),
    ] {
        let (gateway, _) = gateway(answer(200, &[], told)).await;
        let reply = gateway.post("/v1/rerank", ask).await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, told));
        let record = &gateway.records()[0];
        let expected = (Endpoint::Rerank, source, Usage::default().with(C::InputUncached, usage));
        assert_eq!((record.endpoint, record.usage_source, record.usage), expected);
    }
}

#[tokio::test]
async fn what_has_no_price_by_the_token_is_not_sold() {
    let speech = r#"{"model":"smart","input":"Hi","voice":"alloy"}"#;
    let rerank = r#"{"model":"smart","query":"q","documents":["a"]}"#;
    for (upstream_model, path, ask, unit) in [
        ("dall-e-3", "/v1/images/generations", r#"{"model":"smart","prompt":"a cat"}"#, "by the image"),
        ("tts-1-hd", "/v1/audio/speech", speech, "by the character"),
        ("rerank-v3.5", "/v1/rerank", rerank, "by the search"),
    ] {
        let (gateway, provider) = named(upstream_model, "{}").await;
        let reply = gateway.post(path, ask).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["error"]["code"]), (403, &json!("model_unpriced")), "{upstream_model}");
        assert!(reply.body.contains(unit), "{}", reply.body);
        assert_eq!((provider.seen().len(), gateway.records_when(1).await[0].charge), (0, Pico::ZERO));
    }
    for (upstream_model, format, unit) in
        [("whisper-1", "json", "by the second"), ("gpt-4o-transcribe", "srt", "response_format")]
    {
        let (gateway, provider) = named(upstream_model, "{}").await;
        let body = form(&[("model", "smart"), ("response_format", format)], b"sound");
        let (status, reply, _) = post_form(&gateway, "/v1/audio/transcriptions", body).await;
        assert!(status == 403 && reply.contains(unit), "{reply}");
        assert_eq!(provider.seen().len(), 0);
    }
}

#[tokio::test]
async fn what_an_upstream_of_another_protocol_has_not_is_not_found() {
    let provider = Upstream::start(vec![answer(200, &[], "{}")]).await;
    let gateway = Rig::serving(Dialect::Anthropic, provider.address).start().await;
    let reply = gateway.post("/v1/images/generations", r#"{"model":"smart","prompt":"x"}"#).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]["code"]), (404, &json!("model_not_found")));
    assert_eq!(provider.seen().len(), 0);
    let broke = Rig::serving(Dialect::OpenaiChat, provider.address).with_budget("0.01").start().await;
    let reply = broke.post("/v1/images/generations", r#"{"model":"smart","prompt":"x"}"#).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]["code"]), (429, &json!("insufficient_quota")));
}
