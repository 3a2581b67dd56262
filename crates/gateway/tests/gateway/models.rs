//! The list of models in the shape of whoever asks, and the aliases under which models are listed and asked for.

use http::Method;
use serde_json::{Value, json};
use tallygate_store::ModelEntry;
use tallygate_types::Dialect;

use crate::rig::{Answer, Gateway, KEY, Rig, target, upstream};
use crate::upstream::{Upstream, answer};

const GEMINI: &str = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hi"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":1,"totalTokenCount":4}}"#;
const CHAT: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"real-model","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}"#;

/// `fast` and `smart`, which also answers to names of three vendors and one of the house; `secret` is not open to the key.
async fn gateway(dialect: Dialect, body: &str) -> (Gateway, Upstream) {
    let provider = Upstream::start(vec![answer(200, &[], body)]).await;
    let at = || vec![target(upstream("main", dialect, provider.address, &["one"]), 1, 1)];
    let mut rig =
        Rig::new().with_model("smart", at()).with_model("fast", at()).with_model("secret", at()).with_model("free", at());
    rig.key.allowed_models = Some(["smart", "fast", "free"].map(str::to_owned).to_vec().into());
    rig.unpriced = vec!["free"];
    let aliases = ["claude-smart", "gemini-3.8-flash", "gpt-smart", "house"].map(str::to_owned).to_vec();
    rig.models = rig
        .models
        .into_iter()
        .map(|model| match &*model.name {
            "smart" => ModelEntry { aliases: aliases.clone(), ..model },
            "secret" => ModelEntry { aliases: vec!["claude-secret".into()], ..model },
            _ => model,
        })
        .collect();
    (rig.start().await, provider)
}

async fn get(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Value {
    let reply = gateway.ask(Method::GET, path, headers, "").await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    reply.json()
}

fn names(list: &Value, items: &str, field: &str) -> Vec<String> {
    list[items].as_array().unwrap().iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
}

fn bearer() -> String {
    format!("Bearer {KEY}")
}

#[tokio::test]
async fn case_a88_the_list_has_the_shape_of_the_header_that_came() {
    let (gateway, _) = gateway(Dialect::OpenaiChat, CHAT).await;
    let bearer = bearer();
    let with_version = [("authorization", bearer.as_str()), ("anthropic-version", "2023-06-01")];

    let list = get(&gateway, "/v1/models?limit=1000", &with_version).await;
    assert_eq!(names(&list, "data", "id"), ["claude-smart", "fast", "house", "smart"]);
    assert_eq!(
        list["data"][0],
        json!({"type": "model", "id": "claude-smart", "display_name": "smart", "created_at": "2023-11-14T22:13:20.000000Z", "lifecycle": "active"})
    );
    assert_eq!(
        (&list["has_more"], &list["first_id"], &list["last_id"]),
        (&json!(false), &json!("claude-smart"), &json!("smart"))
    );

    let page = get(&gateway, "/v1/models?limit=2", &[("x-api-key", KEY)]).await;
    assert_eq!((names(&page, "data", "id"), &page["has_more"]), (vec!["claude-smart".to_owned(), "fast".into()], &json!(true)));
    let next = get(&gateway, "/v1/models?limit=2&after_id=fast", &[("x-api-key", KEY)]).await;
    assert_eq!((names(&next, "data", "id"), &next["has_more"]), (vec!["house".to_owned(), "smart".into()], &json!(false)));
    let back = get(&gateway, "/v1/models?limit=2&before_id=smart", &[("x-api-key", KEY)]).await;
    assert_eq!((names(&back, "data", "id"), &back["has_more"]), (vec!["fast".to_owned(), "house".into()], &json!(true)));
    let wrong = gateway.ask(Method::GET, "/v1/models?limit=0", &with_version, "").await;
    assert_eq!((wrong.status.as_u16(), &wrong.json()["error"]["type"]), (400, &json!("invalid_request_error")));
    let one = get(&gateway, "/v1/models/claude-smart", &with_version).await;
    assert_eq!((&one["type"], &one["id"]), (&json!("model"), &json!("claude-smart")));
    let gone = gateway.ask(Method::GET, "/v1/models/claude-secret", &with_version, "").await;
    assert_eq!((gone.status.as_u16(), &gone.json()["error"]["type"]), (404, &json!("not_found_error")));

    // Without the header OpenAI's shape, without pages, whatever the query says.
    let list = get(&gateway, "/v1/models?limit=1", &[("authorization", &bearer)]).await;
    assert_eq!(
        (&list["object"], names(&list, "data", "id")),
        (&json!("list"), ["fast", "gpt-smart", "house", "smart"].map(str::to_owned).to_vec())
    );
    assert_eq!(list["data"][1], json!({"id": "gpt-smart", "object": "model", "created": 1_700_000_000, "owned_by": "tallygate"}));
    assert_eq!(get(&gateway, "/models/gpt-smart", &[("authorization", &bearer)]).await, list["data"][1]);
    for name in ["secret", "free", "nothing"] {
        let gone = gateway.get(&format!("/v1/models/{name}")).await;
        assert_eq!((gone.status.as_u16(), &gone.json()["error"]["code"]), (404, &json!("model_not_found")), "{name}");
    }
}

#[tokio::test]
async fn case_b54_a_gemini_path_under_v1_is_gemini_and_a_bearers_list_is_openais() {
    let (gateway, upstream) = gateway(Dialect::Gemini, GEMINI).await;
    let bearer = bearer();
    // The name that Gemini's own tools ask for is an alias here.
    let body = r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}"#;
    let reply = gateway.ask(Method::POST, "/v1/models/gemini-3.8-flash:generateContent", &[("x-goog-api-key", KEY)], body).await;
    assert_eq!((reply.status.as_u16(), reply.body.as_str()), (200, GEMINI));
    assert_eq!(upstream.seen()[0].line(), "POST /v1beta/models/real-model:generateContent HTTP/1.1");
    assert_eq!(get(&gateway, "/v1/models", &[("authorization", &bearer)]).await["object"], "list");

    let list = get(&gateway, "/v1beta/models", &[("x-goog-api-key", KEY)]).await;
    assert_eq!(
        names(&list, "models", "name"),
        ["fast", "gemini-3.8-flash", "house", "smart"].map(|name| format!("models/{name}"))
    );
    assert_eq!(
        list["models"][1],
        json!({
            "name": "models/gemini-3.8-flash",
            "displayName": "smart",
            "version": "gemini-3.8-flash",
            "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"],
        })
    );
    let page = get(&gateway, &format!("/v1beta/models?pageSize=3&key={KEY}"), &[]).await;
    assert_eq!(page["models"].as_array().map(Vec::len), Some(3));
    let token = page["nextPageToken"].as_str().unwrap();
    let rest = get(&gateway, &format!("/v1beta/models?pageSize=3&pageToken={token}"), &[("x-goog-api-key", KEY)]).await;
    assert_eq!((names(&rest, "models", "name"), rest.get("nextPageToken")), (vec!["models/smart".to_owned()], None));
    assert_eq!(get(&gateway, "/v1/models/gemini-3.8-flash", &[("x-goog-api-key", KEY)]).await, list["models"][1]);
    let gone = gateway.ask(Method::GET, "/v1beta/models/nothing", &[("x-goog-api-key", KEY)], "").await;
    assert_eq!((gone.status.as_u16(), &gone.json()["error"]["status"]), (404, &json!("NOT_FOUND")));
}

#[tokio::test]
async fn codex_gets_its_own_list_beside_openais_and_asks_whether_it_changed() {
    let (gateway, _) = gateway(Dialect::OpenaiChat, CHAT).await;
    let bearer = bearer();
    let headers = [("authorization", bearer.as_str())];
    let reply = gateway.ask(Method::GET, "/v1/models?client_version=0.169.0", &headers, "").await;
    let list = reply.json();
    let expected: Vec<String> = ["fast", "gpt-smart", "house", "smart"].map(str::to_owned).into();
    assert_eq!((names(&list, "data", "id"), names(&list, "models", "slug")), (expected.clone(), expected));
    let tag = reply.header("etag").to_owned();
    let again = gateway.ask(Method::GET, "/v1/models?client_version=0.169.0", &[headers[0], ("if-none-match", &tag)], "").await;
    assert_eq!((again.status.as_u16(), again.body.as_str(), again.header("etag")), (304, "", tag.as_str()));
    // Other vendors' clients have no such query.
    let other = gateway.ask(Method::GET, "/v1/models?client_version=1", &[("x-api-key", KEY)], "").await;
    assert_eq!(other.json().get("models"), None);
}

#[tokio::test]
async fn an_alias_is_served_priced_and_recorded_as_its_model() {
    let (gateway, upstream) = gateway(Dialect::OpenaiChat, CHAT).await;
    let ask = |model: &str| format!(r#"{{"model":"{model}","max_tokens":9,"messages":[{{"role":"user","content":"Hi"}}]}}"#);
    let reply: Answer = gateway.post("/v1/messages", &ask("claude-smart")).await;
    // The client reads back the name it knows.
    assert_eq!((reply.status.as_u16(), &reply.json()["model"]), (200, &json!("claude-smart")));
    let sent: Value = serde_json::from_str(&upstream.seen()[0].body).unwrap();
    assert_eq!(sent["model"], "real-model");
    let closed = gateway.post("/v1/messages", &ask("claude-secret")).await;
    assert_eq!((closed.status.as_u16(), &closed.json()["error"]["type"]), (403, &json!("permission_error")));
    let misspelt = gateway.post("/v1/messages", &ask("claude-smrt")).await;
    assert!(misspelt.status == 404 && misspelt.body.contains("`claude-smart`"), "{}", misspelt.body);
    let records = gateway.records_when(3).await;
    let models: Vec<_> = records.iter().map(|record| (&*record.model, record.model_id.is_some())).collect();
    assert_eq!(models, [("smart", true), ("secret", true), ("claude-smrt", false)]);
}
