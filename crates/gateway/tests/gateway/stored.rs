//! Responses the gateway keeps itself: conversations by `previous_response_id` before an upstream that remembers nothing.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tallygate_gateway::{NoShelf, Shelf};
use tallygate_store::responses::{self, ResponseSettings, ResponsesMode};
use tallygate_store::tenants::{self, TenantSettings};
use tallygate_store::testing::TestStore;
use tallygate_types::{Dialect, TenantId};

use crate::rig::{Answer, Gateway, KEY, OTHER_KEY, Rig};
use crate::upstream::{Upstream, answer, stream};

/// A database, and the tenant of the rig in it.
struct Cupboard {
    store: TestStore,
    tenant: TenantId,
}

impl Cupboard {
    async fn new() -> Self {
        let store = TestStore::sqlite().await;
        let mut tx = store.begin().await.unwrap();
        let tenant = tenants::create(&mut tx, &TenantSettings::named("acme")).await.unwrap().id;
        tx.commit().await.unwrap();
        Self { store, tenant }
    }

    /// A gateway on this database, as after a restart.
    async fn gateway(&self, upstream: &Upstream) -> Gateway {
        self.rig(upstream).start().await
    }

    fn rig(&self, upstream: &Upstream) -> Rig {
        let mut rig = Rig::serving(Dialect::OpenaiChat, upstream.address);
        rig.tenant.id = self.tenant;
        rig.tenant.responses = stored();
        rig.shelf = self.store.shared();
        rig
    }
}

fn stored() -> ResponseSettings {
    ResponseSettings { mode: ResponsesMode::Stored, ..ResponseSettings::default() }
}

fn says(text: &str) -> Vec<crate::upstream::Act> {
    let body = json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "real-model",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}});
    answer(200, &[], &body.to_string())
}

fn streams(text: &str) -> Vec<crate::upstream::Act> {
    let chunk = |delta: Value, finish: Value| {
        let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "real-model",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
        format!("data: {chunk}\n\n")
    };
    let (text, end) = (chunk(json!({"role": "assistant", "content": text}), Value::Null), chunk(json!({}), "stop".into()));
    stream(&[&text, &end, "data: [DONE]\n\n"])
}

async fn ask(gateway: &Gateway, body: Value) -> Value {
    let answer = gateway.post("/v1/responses", &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

/// The response of the terminal event.
async fn ask_streamed(gateway: &Gateway, mut body: Value) -> Value {
    body["stream"] = true.into();
    let response = gateway.open("/v1/responses", &body.to_string()).await;
    assert_eq!(response.status(), 200);
    let text: Bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(text.to_vec()).unwrap();
    let (_, last) = text.trim_end().rsplit_once("data: ").unwrap();
    let event: Value = serde_json::from_str(last).unwrap();
    assert_eq!(event["type"], "response.completed");
    event["response"].clone()
}

fn id(response: &Value) -> &str {
    response["id"].as_str().unwrap()
}

/// What the upstream was told, request by request.
fn told(upstream: &Upstream) -> Vec<Value> {
    let messages = |body: &str| serde_json::from_str::<Value>(body).unwrap()["messages"].clone();
    upstream.seen().iter().map(|seen| messages(&seen.body)).collect()
}

async fn with_key(gateway: &Gateway, key: &str, method: Method, path: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    gateway.ask(method, path, &[("authorization", &bearer), ("content-type", "application/json")], body).await
}

fn error(answer: &Answer) -> (u16, String, Value) {
    let error = &answer.json()["error"];
    (answer.status.as_u16(), error["code"].as_str().unwrap_or_default().to_owned(), error["param"].clone())
}

#[tokio::test]
async fn a_conversation_goes_on_by_the_id_of_its_last_response_also_over_a_restart() {
    let (cupboard, upstream) = (Cupboard::new().await, Upstream::start(vec![says("uno"), streams("dos"), says("tres")]).await);
    let gateway = cupboard.gateway(&upstream).await;
    let first = ask(&gateway, json!({"model": "smart", "input": "one", "instructions": "Be brief.", "store": true})).await;
    assert_eq!((&first["store"], &first["previous_response_id"]), (&json!(true), &Value::Null));
    let second = ask_streamed(&gateway, json!({"model": "smart", "input": "two", "previous_response_id": id(&first)})).await;
    assert_eq!((&second["store"], &second["previous_response_id"]), (&json!(true), &first["id"]));
    drop(gateway);

    let gateway = cupboard.gateway(&upstream).await;
    let input = json!([{"role": "user", "content": [{"type": "input_text", "text": "three"}]}]);
    let third = ask(&gateway, json!({"model": "smart", "input": input, "previous_response_id": id(&second)})).await;
    assert_eq!(third["output"][0]["content"][0]["text"], "tres");
    let (user, assistant) =
        (|text| json!({"role": "user", "content": text}), |text| json!({"role": "assistant", "content": text}));
    assert_eq!(
        told(&upstream),
        [
            json!([{"role": "system", "content": "Be brief."}, user("one")]),
            json!([user("one"), assistant("uno"), user("two")]),
            json!([user("one"), assistant("uno"), user("two"), assistant("dos"), user("three")]),
        ],
        "instructions are of their own request alone"
    );
    assert_eq!(responses::held(&cupboard.store.shared(), cupboard.tenant).await.unwrap().0, 3);
    assert!(gateway.metric("tallygate_stored_responses_total{result=\"kept\"} 1"));

    let read = gateway.get(&format!("/v1/responses/{}", id(&second))).await;
    assert_eq!((read.status.as_u16(), read.json()), (200, second.clone()), "as the stream ended");
    let items = gateway.get(&format!("/v1/responses/{}/input_items?order=asc&limit=2", id(&third))).await.json();
    assert_eq!(
        (&items["data"][0]["content"], &items["data"][1]["content"][0]["text"], &items["has_more"]),
        (&json!([{"type": "input_text", "text": "one"}]), &json!("uno"), &json!(true))
    );
    let path = format!("/v1/responses/{}", id(&first));
    let deleted = with_key(&gateway, KEY, Method::DELETE, &path, "").await;
    assert_eq!(
        (deleted.status.as_u16(), deleted.json()),
        (200, json!({"id": id(&first), "object": "response", "deleted": true}))
    );
    assert_eq!(error(&gateway.get(&path).await), (404, "not_found".into(), json!("id")));
    let broken = gateway
        .post("/v1/responses", &json!({"model": "smart", "input": "x", "previous_response_id": id(&third)}).to_string())
        .await;
    assert_eq!(error(&broken), (400, "previous_response_not_found".into(), json!("previous_response_id")));
    assert!(broken.body.contains(id(&first)), "it names what is missing: {}", broken.body);
    assert_eq!(gateway.get(&format!("/v1/responses/{}", id(&third))).await.status, 200, "the response itself is still there");
    let cancelled = gateway.post(&format!("/v1/responses/{}/cancel", id(&third)), "").await;
    assert_eq!(error(&cancelled), (400, "response_not_cancellable".into(), Value::Null));
}

/// Unknown, of another tenant, expired: one answer for all, in both modes, and 404 where the id stands in the path.
#[tokio::test]
async fn case_b68_a_previous_response_that_is_unknown_or_another_tenants_is_refused_without_a_leak() {
    let (cupboard, upstream) = (Cupboard::new().await, Upstream::start(vec![says("uno")]).await);
    let gateway = cupboard.gateway(&upstream).await;
    let kept = ask(&gateway, json!({"model": "smart", "input": "one"})).await;
    let kept = id(&kept);
    let refused = |id: &str| {
        format!(
            "{{\"error\":{{\"message\":\"Previous response with id '{id}' not found. Send the earlier items in `input`.\",\
             \"type\":\"invalid_request_error\",\"param\":\"previous_response_id\",\"code\":\"previous_response_not_found\""
        )
    };
    for (key, id) in [(KEY, "resp_unknown"), (OTHER_KEY, kept), (KEY, "not an id \u{0}"), (KEY, "")] {
        let body = json!({"model": "smart", "input": "x", "previous_response_id": id}).to_string();
        let answer = with_key(&gateway, key, Method::POST, "/v1/responses", &body).await;
        assert_eq!(error(&answer), (400, "previous_response_not_found".into(), json!("previous_response_id")), "{id}");
        if id.starts_with("resp_") {
            let text = answer.body.split(" (request id").next().unwrap().to_owned();
            assert_eq!(text, refused(id).split("\",\"type").next().unwrap(), "{id}");
        }
    }
    for (method, suffix) in [(Method::GET, ""), (Method::DELETE, ""), (Method::GET, "/input_items"), (Method::POST, "/cancel")] {
        for (key, id) in [(KEY, "resp_unknown"), (OTHER_KEY, kept)] {
            let answer = with_key(&gateway, key, method.clone(), &format!("/v1/responses/{id}{suffix}"), "").await;
            assert_eq!(error(&answer), (404, "not_found".into(), json!("id")), "{method} {id}{suffix}");
            assert!(answer.body.contains(&format!("Response with id '{id}' not found.")), "{}", answer.body);
        }
    }
    assert_eq!(upstream.seen().len(), 1, "nothing was sent for any of them");
    assert_eq!(gateway.get(&format!("/v1/responses/{kept}")).await.status, 200, "nobody deleted it");

    let mut stateless = cupboard.rig(&upstream);
    stateless.tenant.responses = ResponseSettings::default();
    let stateless = stateless.start().await;
    let body = json!({"model": "smart", "input": "x", "previous_response_id": kept}).to_string();
    let answer = stateless.post("/v1/responses", &body).await;
    assert_eq!(error(&answer), (400, "previous_response_not_found".into(), json!("previous_response_id")));
    assert!(answer.body.contains("responses are not kept for this tenant"), "{}", answer.body);
    assert_eq!(error(&stateless.get(&format!("/v1/responses/{kept}")).await), (404, "not_found".into(), json!("id")));
}

#[tokio::test]
async fn case_b70_an_item_reference_without_state_is_refused_and_with_state_resolved() {
    let (cupboard, upstream) = (Cupboard::new().await, Upstream::start(vec![says("uno"), says("dos")]).await);
    let mut stateless = cupboard.rig(&upstream);
    stateless.tenant.responses = ResponseSettings::default();
    let stateless = stateless.start().await;
    for reference in [json!({"type": "item_reference", "id": "msg_1"}), json!({"id": "msg_1"})] {
        let body = json!({"model": "smart", "input": [{"role": "user", "content": "x"}, reference]}).to_string();
        let answer = stateless.post("/v1/responses", &body).await;
        assert_eq!(error(&answer), (400, "item_not_found".into(), json!("input[1]")));
        let message =
            "Item with id 'msg_1' not found. Send the full item instead of a reference: responses are not kept for this tenant.";
        assert!(answer.body.contains(message), "{}", answer.body);
    }
    assert!(upstream.seen().is_empty());

    let gateway = cupboard.gateway(&upstream).await;
    let first = ask(&gateway, json!({"model": "smart", "input": "one"})).await;
    let item = first["output"][0]["id"].as_str().unwrap();
    let input =
        json!([{"role": "user", "content": "one"}, {"type": "item_reference", "id": item}, {"role": "user", "content": "two"}]);
    ask(&gateway, json!({"model": "smart", "input": input.clone()})).await;
    assert_eq!(
        told(&upstream)[1],
        json!([{"role": "user", "content": "one"}, {"role": "assistant", "content": "uno"}, {"role": "user", "content": "two"}])
    );
    let body = json!({"model": "smart", "input": input}).to_string();
    let foreign = with_key(&gateway, OTHER_KEY, Method::POST, "/v1/responses", &body).await;
    assert_eq!(error(&foreign), (400, "item_not_found".into(), json!("input[1]")), "another tenant's item does not exist");
}

#[tokio::test]
async fn a_request_that_says_not_to_store_is_not_stored() {
    let (cupboard, upstream) = (Cupboard::new().await, Upstream::start(vec![says("uno")]).await);
    let gateway = cupboard.gateway(&upstream).await;
    let answer = ask(&gateway, json!({"model": "smart", "input": "one", "store": false})).await;
    assert_eq!(answer["store"], false);
    assert_eq!(gateway.get(&format!("/v1/responses/{}", id(&answer))).await.status, 404);
    assert_eq!(responses::held(&cupboard.store.shared(), cupboard.tenant).await.unwrap(), (0, 0));
}

#[tokio::test]
async fn a_strict_model_stores_what_it_was_asked_to() {
    let (cupboard, upstream) = (Cupboard::new().await, Upstream::start(vec![says("uno")]).await);
    let mut rig = cupboard.rig(&upstream);
    rig.models[0].strict = true;
    let gateway = rig.start().await;
    let answer = gateway.post("/v1/responses", r#"{"model":"smart","input":"one","store":true}"#).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["store"], answer.header("x-tallygate-loss")), (200, &json!(true), ""));
}

#[tokio::test]
async fn an_answer_that_could_not_be_kept_passes_and_says_so() {
    let (cupboard, upstream) = (Cupboard::new().await, Upstream::start(vec![says("uno"), streams("dos")]).await);
    let mut rig = cupboard.rig(&upstream);
    rig.shelf = Arc::new(NoShelf);
    let gateway = rig.start().await;
    let whole = ask(&gateway, json!({"model": "smart", "input": "one"})).await;
    assert_eq!((&whole["store"], &whole["output"][0]["content"][0]["text"]), (&json!(false), &json!("uno")));
    let streamed = ask_streamed(&gateway, json!({"model": "smart", "input": "one"})).await;
    assert_eq!((&streamed["store"], &streamed["output"][0]["content"][0]["text"]), (&json!(false), &json!("dos")));
    assert!(gateway.metric("tallygate_stored_responses_total{result=\"failed\"} 2"));
    let records = gateway.records_when(2).await;
    assert!(records.iter().all(|record| record.status == 200), "{records:?}");
}

#[tokio::test]
async fn while_the_database_is_away_only_what_needs_it_is_refused() {
    let (cupboard, upstream) = (Cupboard::new().await, Upstream::start(vec![says("uno")]).await);
    let gateway = cupboard.gateway(&upstream).await;
    let first = ask(&gateway, json!({"model": "smart", "input": "one"})).await;
    cupboard.store.close().await;
    let body = json!({"model": "smart", "input": "two", "previous_response_id": id(&first)}).to_string();
    for answer in [
        gateway.post("/v1/responses", &body).await,
        gateway.get(&format!("/v1/responses/{}", id(&first))).await,
        gateway.get("/v1/responses/resp_unknown/input_items").await,
    ] {
        assert_eq!(error(&answer), (503, "response_store_unavailable".into(), Value::Null));
        assert_eq!(answer.header("retry-after-ms"), "1000");
    }
    assert_eq!(ask(&gateway, json!({"model": "smart", "input": "three"})).await["store"], false);
    assert!(gateway.metric("tallygate_stored_responses_unavailable_total 3"));
}

#[tokio::test]
async fn a_database_that_says_nothing_is_not_waited_for() {
    let (cupboard, upstream) = (Cupboard::new().await, Upstream::start(vec![says("uno")]).await);
    let mut rig = cupboard.rig(&upstream);
    rig.shelf = Arc::new(Silent);
    rig.config.kept.read_timeout = std::time::Duration::from_millis(20);
    rig.config.kept.write_timeout = std::time::Duration::from_millis(20);
    let gateway = rig.start().await;
    assert_eq!(error(&gateway.get("/v1/responses/resp_1").await), (503, "response_store_unavailable".into(), Value::Null));
    assert_eq!(ask(&gateway, json!({"model": "smart", "input": "one"})).await["store"], false);
}

#[tokio::test]
async fn what_cannot_be_metered_or_kept_apart_is_refused() {
    let (cupboard, upstream) = (Cupboard::new().await, Upstream::start(vec![says("uno")]).await);
    let gateway = cupboard.gateway(&upstream).await;
    for (field, value) in [("background", json!(true)), ("conversation", json!("conv_1"))] {
        let mut body = json!({"model": "smart", "input": "x"});
        body[field] = value;
        let answer = gateway.post("/v1/responses", &body.to_string()).await;
        assert_eq!(error(&answer), (400, "unsupported_parameter".into(), json!(field)));
    }
    let first = ask(&gateway, json!({"model": "smart", "input": "one"})).await;
    let streamed = gateway.get(&format!("/v1/responses/{}?stream=true", id(&first))).await;
    assert_eq!(error(&streamed), (400, "unsupported_parameter".into(), json!("stream")));
}

/// A database that accepts every question and answers none.
struct Silent;

type Never<T> = futures_util::future::BoxFuture<'static, Result<T, tallygate_store::StoreError>>;

fn never<T: Send + 'static>() -> Never<T> {
    Box::pin(std::future::pending())
}

impl Shelf for Silent {
    fn keep<'a>(&'a self, _: TenantId, _: &'a ResponseSettings, _: &'a responses::NewResponse<'a>) -> Never<()> {
        never()
    }
    fn get<'a>(&'a self, _: TenantId, _: &'a str) -> Never<Option<responses::StoredResponse>> {
        never()
    }
    fn chain<'a>(&'a self, _: TenantId, _: &'a str, _: responses::ChainLimits) -> Never<responses::Chain> {
        never()
    }
    fn delete<'a>(&'a self, _: TenantId, _: &'a str) -> Never<bool> {
        never()
    }
    fn pin<'a>(&'a self, _: TenantId, _: &'a str) -> Never<Option<tallygate_store::pins::Pin>> {
        never()
    }
    fn remember<'a>(&'a self, _: &'a [tallygate_store::pins::NewPin]) -> Never<()> {
        never()
    }
    fn forget<'a>(&'a self, _: TenantId, _: &'a str) -> Never<()> {
        never()
    }
}
