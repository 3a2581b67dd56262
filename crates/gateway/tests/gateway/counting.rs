//! Counting tokens: asked of the upstream's own counter in its dialect, estimated where it has none, never charged.

use http::Method;
use serde_json::{Value, json};
use tallygate_billing::{Endpoint, Outcome, UsageSource};
use tallygate_store::Limits;
use tallygate_types::{Dialect, Pico};

use crate::rig::{Gateway, KEY, Rig};
use crate::upstream::{Upstream, answer};

const MESSAGES: &str = r#"{"model":"smart","system":"Be brief.","messages":[{"role":"user","content":"How are you?"}],"tools":[{"name":"now","description":"The time","input_schema":{"type":"object","properties":{}}}]}"#;
const CONTENTS: &str = r#"{"contents":[{"role":"user","parts":[{"text":"How are you?"}]}]}"#;
const INPUT: &str = r#"{"model":"smart","instructions":"Be brief.","input":"How are you?"}"#;

async fn gateway(dialect: Dialect, body: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::start(vec![answer(200, &[], body)]).await;
    (Rig::serving(dialect, upstream.address).start().await, upstream)
}

fn sent(upstream: &Upstream) -> (String, Value) {
    let seen = upstream.seen();
    assert_eq!(seen.len(), 1);
    (seen[0].line().to_owned(), serde_json::from_str(&seen[0].body).unwrap())
}

#[tokio::test]
async fn the_same_dialect_is_asked_in_the_clients_own_bytes() {
    let (gateway, upstream) =
        gateway(Dialect::Anthropic, r#"{"input_tokens":21,"context_management":{"original_input_tokens":21}}"#).await;
    let bearer = format!("Bearer {KEY}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("anthropic-beta", "token-counting-2024-11-01"),
        ("anthropic-version", "2023-06-01"),
    ];
    let reply = gateway.ask(Method::POST, "/v1/messages/count_tokens?beta=true", &headers, MESSAGES).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-tallygate-estimated"), reply.header("x-tallygate-cost")), (200, "", ""));
    assert_eq!(reply.body, r#"{"input_tokens":21,"context_management":{"original_input_tokens":21}}"#);
    let seen = &upstream.seen()[0];
    assert_eq!(seen.line(), "POST /v1/messages/count_tokens HTTP/1.1");
    assert_eq!(seen.header("anthropic-beta"), Some("token-counting-2024-11-01"));
    assert_eq!(seen.body, MESSAGES.replace("smart", "real-model"));
}

#[tokio::test]
async fn case_a90_count_tokens_on_an_openai_backed_model() {
    // A server that speaks Responses has a counter of its own ...
    let (gateway, upstream) = gateway(Dialect::OpenaiResponses, r#"{"object":"response.input_tokens","input_tokens":34}"#).await;
    let reply = gateway.post("/v1/messages/count_tokens", MESSAGES).await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, r#"{"input_tokens":34}"#));
    let (line, asked) = sent(&upstream);
    assert_eq!(line, "POST /v1/responses/input_tokens HTTP/1.1");
    assert_eq!((&asked["model"], &asked["instructions"]), (&json!("real-model"), &json!("Be brief.")));
    assert_eq!(asked["tools"][0]["name"], "now");
    for field in ["stream", "store", "max_output_tokens", "include"] {
        assert_eq!(asked.get(field), None, "{field}");
    }

    // ... and one that is only known by chat has none: nobody is asked.
    let upstream = Upstream::start(vec![answer(200, &[], "{}")]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let reply = gateway.post("/v1/messages/count_tokens", MESSAGES).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-tallygate-estimated")), (200, "true"));
    // 9 + 12 bytes of text, 3 + 8 of the tool and 34 of its schema: 66 bytes are 17 tokens, and 3 for the turn.
    assert_eq!(reply.body, r#"{"input_tokens":20}"#);
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn case_b60_count_tokens_of_a_model_that_is_not_geminis() {
    let (gateway, upstream) = gateway(Dialect::Anthropic, r#"{"input_tokens":7}"#).await;
    let path = "/v1beta/models/smart:countTokens";
    let reply = gateway.post(path, CONTENTS).await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, r#"{"totalTokens":7}"#));
    let (line, asked) = sent(&upstream);
    assert_eq!(line, "POST /v1/messages/count_tokens HTTP/1.1");
    assert_eq!(asked["model"], "real-model");
    assert_eq!(asked["messages"].as_array().map(Vec::len), Some(1));
    for field in ["max_tokens", "stream"] {
        assert_eq!(asked.get(field), None, "{field}");
    }

    // The other form of the body, over an upstream without a counter. Gemini CLI takes a 404 here for the end.
    let upstream = Upstream::start(vec![answer(200, &[], "{}")]).await;
    let gateway = Rig::serving(Dialect::OpenaiChat, upstream.address).start().await;
    let whole = format!(r#"{{"generateContentRequest":{{"model":"models/smart","safetySettings":[],{}}}"#, &CONTENTS[1..]);
    for body in [CONTENTS, &whole] {
        let reply = gateway.post(path, body).await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, r#"{"totalTokens":6}"#), "{body}");
    }
}

#[tokio::test]
async fn a_gemini_counter_gets_a_whole_request() {
    for (path, body, expected) in [
        ("/v1/messages/count_tokens", MESSAGES, r#"{"input_tokens":12}"#),
        ("/v1/responses/input_tokens", INPUT, r#"{"object":"response.input_tokens","input_tokens":12}"#),
    ] {
        let (gateway, upstream) = gateway(Dialect::Gemini, r#"{"totalTokens":"12"}"#).await;
        let reply = gateway.post(path, body).await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, expected));
        let (line, asked) = sent(&upstream);
        assert_eq!(line, "POST /v1beta/models/real-model:countTokens HTTP/1.1");
        let inner = &asked["generateContentRequest"];
        assert_eq!(inner["model"], "models/real-model");
        assert_eq!(inner["contents"], json!([{"role": "user", "parts": [{"text": "How are you?"}]}]));
        assert_eq!(inner["systemInstruction"]["parts"], json!([{"text": "Be brief."}]));
        assert_eq!(inner.get("safetySettings"), None);
    }
    // Gemini to Gemini: the name inside the request is the upstream's too, the rest stays.
    let (gateway, upstream) = gateway(Dialect::Gemini, r#"{"totalTokens":5,"cachedContentTokenCount":1}"#).await;
    let body = r#"{"generateContentRequest":{"model":"models/smart","contents":[{"parts":[{"text":"x"}]}],"new":1}}"#;
    let reply = gateway.post("/v1beta/models/smart:countTokens", body).await;
    assert_eq!(reply.body, r#"{"totalTokens":5,"cachedContentTokenCount":1}"#);
    assert_eq!(upstream.seen()[0].body, body.replace("smart", "real-model"));
}

#[tokio::test]
async fn an_input_count_goes_to_claude_and_to_its_own() {
    let (gateway, upstream) = gateway(Dialect::Anthropic, r#"{"input_tokens":9}"#).await;
    let reply = gateway.post("/v1/responses/input_tokens", INPUT).await;
    assert_eq!(reply.body, r#"{"object":"response.input_tokens","input_tokens":9}"#);
    assert_eq!(sent(&upstream).1["system"], json!("Be brief."));
    let (gateway, upstream) = gateway_of_responses().await;
    gateway.post("/v1/responses/input_tokens", INPUT).await;
    assert_eq!(upstream.seen()[0].body, INPUT.replace("smart", "real-model"));
}

async fn gateway_of_responses() -> (Gateway, Upstream) {
    gateway(Dialect::OpenaiResponses, r#"{"object":"response.input_tokens","input_tokens":1}"#).await
}

#[tokio::test]
async fn a_counter_that_fails_is_no_error_for_the_agent_but_a_bad_request_is() {
    for status in [404, 429, 500, 529] {
        let upstream =
            Upstream::start(vec![answer(status, &[], r#"{"type":"error","error":{"type":"x","message":"no"}}"#)]).await;
        let gateway = Rig::serving(Dialect::Anthropic, upstream.address).start().await;
        let reply = gateway.post("/v1/messages/count_tokens", MESSAGES).await;
        assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, r#"{"input_tokens":20}"#), "{status}");
        assert_eq!(reply.header("x-tallygate-estimated"), "true");
    }
    let refusal = r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages: bad"}}"#;
    let upstream = Upstream::start(vec![answer(400, &[], refusal)]).await;
    let gateway = Rig::serving(Dialect::Anthropic, upstream.address).start().await;
    let reply = gateway.post("/v1/messages/count_tokens", MESSAGES).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]["type"]), (400, &json!("invalid_request_error")));

    let dead = Rig::serving(Dialect::OpenaiChat, Upstream::dead().await).start().await;
    let reply = dead.post("/v1/messages/count_tokens", r#"{"model":"smart","messages":[{"role":"king","content":""}]}"#).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["type"]), (400, &json!("error")));
}

#[tokio::test]
async fn counting_is_recorded_costs_nothing_and_has_limits_of_its_own() {
    let upstream = Upstream::start(vec![answer(200, &[], r#"{"input_tokens":7}"#)]).await;
    let limits = Limits { requests_per_minute: Some(1), ..Limits::default() };
    let gateway = Rig::serving(Dialect::Anthropic, upstream.address).with_limits(limits).with_budget("0.01").start().await;
    assert_eq!(gateway.post("/v1/messages/count_tokens", MESSAGES).await.status, 200);
    let limited = gateway.post("/v1/messages/count_tokens", MESSAGES).await;
    assert_eq!((limited.status.as_u16(), &limited.json()["error"]["type"]), (429, &json!("rate_limit_error")));
    // The one generation of this minute is still free.
    let ask = r#"{"model":"smart","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;
    assert_ne!(gateway.post("/v1/messages", ask).await.status, 429);

    let records = gateway.records_when(3).await;
    let counted = &records[0];
    assert_eq!(
        (counted.endpoint, counted.outcome, counted.status, counted.attempt),
        (Endpoint::CountTokens, Outcome::Ok, 200, 1)
    );
    assert_eq!((counted.usage.total(), counted.usage_source, counted.charge), (0, UsageSource::None, Pico::ZERO));
    assert_eq!((counted.price.is_none(), counted.reserved), (true, Pico::ZERO));
    assert_eq!((records[1].endpoint, records[1].outcome), (Endpoint::CountTokens, Outcome::RateLimited));
    assert_eq!(gateway.plane.in_flight(), 0);
}

#[tokio::test]
async fn errors_of_a_counter_are_said_in_its_dialect() {
    let gateway = Rig::new().start().await;
    let anthropic = gateway.post("/v1/messages/count_tokens", MESSAGES).await;
    assert_eq!((anthropic.status.as_u16(), &anthropic.json()["error"]["type"]), (404, &json!("not_found_error")));
    let gemini = gateway.post("/v1beta/models/smart:countTokens", CONTENTS).await;
    assert_eq!((gemini.status.as_u16(), &gemini.json()["error"]["status"]), (404, &json!("NOT_FOUND")));
    let responses = gateway.post("/v1/responses/input_tokens", INPUT).await;
    assert_eq!((responses.status.as_u16(), &responses.json()["error"]["code"]), (404, &json!("model_not_found")));
    let wrong = gateway.get("/v1/messages/count_tokens").await;
    assert_eq!((wrong.status.as_u16(), &wrong.json()["type"]), (405, &json!("error")));
    let stranger = gateway.ask(Method::POST, "/v1/messages/count_tokens", &[], MESSAGES).await;
    assert_eq!((stranger.status.as_u16(), &stranger.json()["error"]["type"]), (401, &json!("authentication_error")));
}
