//! Embeddings: OpenAI's and Gemini's, each over the other, in the form the client can read.

use serde_json::{Value, json};
use tallygate_billing::{Endpoint, UsageSource};
use tallygate_store::ModelEntry;
use tallygate_types::{Dialect, UsageClass};

use crate::rig::{Answer, Gateway, Rig};
use crate::upstream::{Upstream, answer};

const FLOATS: &str = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1.0,-0.5,0.1]},{"object":"embedding","index":1,"embedding":[0,2,-3e-8]}],"model":"real-model","usage":{"prompt_tokens":4,"total_tokens":4}}"#;
/// The same vectors as little-endian singles.
const FIRST: &str = "AACAPwAAAL/NzMw9";
const SECOND: &str = "AAAAAAAAAEBZ2QCz";

async fn gateway(dialect: Dialect, body: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::start(vec![answer(200, &[], body)]).await;
    (Rig::serving(dialect, upstream.address).start().await, upstream)
}

fn ok(reply: &Answer) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

#[tokio::test]
async fn case_a89_base64_over_a_float_only_upstream() {
    let (gateway, upstream) = gateway(Dialect::OpenaiChat, FLOATS).await;
    let ask = r#"{"model":"smart","input":["a","b"],"encoding_format":"base64","dimensions":3}"#;
    let reply = ok(&gateway.post("/v1/embeddings", ask).await);
    assert_eq!(upstream.seen()[0].body, ask.replace("smart", "real-model"));
    let expected = json!({
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": FIRST},
            {"object": "embedding", "index": 1, "embedding": SECOND},
        ],
        "model": "real-model",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    });
    assert_eq!(reply, expected);
    let record = &gateway.records_when(1).await[0];
    assert_eq!(
        (record.endpoint, record.usage_source, record.usage.get(UsageClass::InputUncached)),
        (Endpoint::Embeddings, UsageSource::Provider, 4)
    );
}

#[tokio::test]
async fn an_answer_in_the_form_that_was_asked_for_passes_byte_for_byte() {
    let encoded = FLOATS.replace("[1.0,-0.5,0.1]", &format!("\"{FIRST}\"")).replace("[0,2,-3e-8]", &format!("\"{SECOND}\""));
    for (ask, told) in [
        (r#"{"model":"smart","input":"a"}"#, FLOATS),
        (r#"{"model":"smart","input":[[1,2]],"encoding_format":"float"}"#, FLOATS),
        (r#"{"model":"smart","input":[1,2],"encoding_format":"base64"}"#, &encoded),
    ] {
        let (gateway, _) = gateway(Dialect::OpenaiChat, told).await;
        assert_eq!(gateway.post("/v1/embeddings", ask).await.body, told, "{ask}");
    }
    // A client that cannot read base64 gets numbers, each the single that was meant.
    let (gateway, _) = gateway(Dialect::OpenaiResponses, &encoded).await;
    let reply = ok(&gateway.post("/v1/embeddings", r#"{"model":"smart","input":"a"}"#).await);
    let numbers: Vec<f32> = serde_json::from_value(reply["data"][0]["embedding"].clone()).unwrap();
    assert_eq!(numbers, [1.0_f32, -0.5, 0.1]);
}

#[tokio::test]
async fn an_openai_client_over_gemini() {
    let told = r#"{"embeddings":[{"values":[1.0,-0.5,0.1]},{"values":[0,2,-3e-8]}]}"#;
    let (gateway, upstream) = gateway(Dialect::Gemini, told).await;
    let ask = r#"{"model":"smart","input":["one","two"],"encoding_format":"base64","dimensions":3,"task_type":"retrieval_query","user":"u1"}"#;
    let reply = gateway.post("/v1/embeddings", ask).await;
    let seen = &upstream.seen()[0];
    assert_eq!(seen.line(), "POST /v1beta/models/real-model:batchEmbedContents HTTP/1.1");
    let one = |text: &str| json!({"model": "models/real-model", "content": {"parts": [{"text": text}]}, "outputDimensionality": 3, "taskType": "RETRIEVAL_QUERY"});
    assert_eq!(serde_json::from_str::<Value>(&seen.body).unwrap(), json!({"requests": [one("one"), one("two")]}));
    // Gemini told no usage: a token for four bytes of the request, said and charged alike, and marked.
    let tokens = ask.len().div_ceil(4);
    assert_eq!(
        ok(&reply),
        json!({
            "object": "list",
            "data": [
                {"object": "embedding", "index": 0, "embedding": FIRST},
                {"object": "embedding", "index": 1, "embedding": SECOND},
            ],
            "model": "smart",
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        })
    );
    assert_eq!((reply.header("x-tallygate-estimated"), reply.header("x-tallygate-loss")), ("true", "dropped=user"));
    let record = &gateway.records_when(1).await[0];
    assert_eq!((record.usage_source, record.usage.input_total()), (UsageSource::Estimated, tokens as u64));
    assert_eq!(record.loss.as_deref(), Some("dropped=user"));
}

#[tokio::test]
async fn token_ids_and_empty_texts_do_not_go_to_gemini() {
    let (gateway, upstream) = gateway(Dialect::Gemini, "{}").await;
    for (input, param, code) in [
        ("[1,2,3]", "input", "unsupported_value"),
        ("[[1,2],[3]]", "input", "unsupported_value"),
        ("[]", "input", "invalid_value"),
        (r#"["a",""]"#, "input[1]", "invalid_value"),
        ("7", "input", "invalid_value"),
        ("null", "input", "missing_required_parameter"),
    ] {
        let reply = gateway.post("/v1/embeddings", &format!(r#"{{"model":"smart","input":{input}}}"#)).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.status.as_u16(), &error["param"], &error["code"]), (400, &json!(param), &json!(code)), "{input}");
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn a_gemini_client_over_openai() {
    let told = r#"{"object":"list","data":[{"index":1,"embedding":[0.5]},{"index":0,"embedding":[0.25]}],"model":"m","usage":{"prompt_tokens":9,"total_tokens":9}}"#;
    let (gateway, upstream) = gateway(Dialect::OpenaiChat, told).await;
    let body = r#"{"requests":[{"model":"models/smart","content":{"parts":[{"text":"on"},{"text":"e"}]},"output_dimensionality":1,"taskType":"CLUSTERING"},{"content":{"parts":[{"text":"two"}]},"outputDimensionality":1}]}"#;
    let reply = gateway.post("/v1/models/smart:batchEmbedContents", body).await;
    let seen = &upstream.seen()[0];
    assert_eq!(seen.line(), "POST /v1/embeddings HTTP/1.1");
    let asked: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(asked, json!({"model": "real-model", "input": ["one", "two"], "encoding_format": "float", "dimensions": 1}));
    let expected = json!({"embeddings": [{"values": [0.25]}, {"values": [0.5]}], "usageMetadata": {"promptTokenCount": 9}});
    assert_eq!(ok(&reply), expected);
    assert_eq!(reply.header("x-tallygate-loss"), "dropped=taskType");
    assert_eq!(gateway.records_when(1).await[0].usage.get(UsageClass::InputUncached), 9);

    let one = r#"{"object":"list","data":[{"index":0,"embedding":"AAAAPw=="}],"usage":{"prompt_tokens":1,"total_tokens":1}}"#;
    let (gateway, _) = self::gateway(Dialect::OpenaiChat, one).await;
    let reply = gateway.post("/v1beta/models/smart:embedContent", r#"{"content":{"parts":[{"text":"x"}]}}"#).await;
    assert_eq!(ok(&reply), json!({"embedding": {"values": [0.5]}, "usageMetadata": {"promptTokenCount": 1}}));
    for (body, field) in [
        (r#"{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"AA=="}}]}}"#, "content.parts[0]"),
        (r#"{"content":{"parts":[]}}"#, "content"),
    ] {
        let reply = gateway.post("/v1beta/models/smart:embedContent", body).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.status.as_u16(), &error["status"]), (400, &json!("INVALID_ARGUMENT")), "{body}");
        assert!(reply.body.contains(field), "{}", reply.body);
    }
}

#[tokio::test]
async fn a_gemini_client_over_gemini_keeps_what_only_gemini_knows() {
    let told = r#"{"embedding":{"values":[0.5],"shape":[1]},"usageMetadata":{"promptTokenCount":3}}"#;
    let (gateway, upstream) = gateway(Dialect::Gemini, told).await;
    let body =
        r#"{"model":"models/smart","content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"AA=="}}]},"future":1}"#;
    let reply = gateway.post("/v1beta/models/smart:embedContent", body).await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, told));
    let seen = &upstream.seen()[0];
    assert_eq!(
        (seen.line(), seen.body.as_str()),
        ("POST /v1beta/models/real-model:embedContent HTTP/1.1", body.replace("smart", "real-model").as_str())
    );
    assert_eq!(gateway.records_when(1).await[0].usage.get(UsageClass::InputUncached), 3);
}

#[tokio::test]
async fn a_model_of_anthropic_is_not_found_here() {
    let (gateway, _) = gateway(Dialect::Anthropic, "{}").await;
    let reply = gateway.post("/v1/embeddings", r#"{"model":"smart","input":"a"}"#).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]["code"]), (404, &json!("model_not_found")));
}

#[tokio::test]
async fn a_strict_model_refuses_what_would_be_lost_and_a_wrong_number_of_vectors_is_no_answer() {
    let upstream = Upstream::start(vec![answer(200, &[], r#"{"embeddings":[]}"#)]).await;
    let mut rig = Rig::serving(Dialect::Gemini, upstream.address);
    rig.models = rig.models.into_iter().map(|model| ModelEntry { strict: true, ..model }).collect();
    let gateway = rig.start().await;
    let refused = gateway.post("/v1/embeddings", r#"{"model":"smart","input":"a","user":"u"}"#).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["param"]), (400, &json!("user")));
    let broken = gateway.post("/v1/embeddings", r#"{"model":"smart","input":"a"}"#).await;
    assert_eq!((broken.status.as_u16(), &broken.json()["error"]["code"]), (502, &json!("upstream_invalid_answer")));
}
