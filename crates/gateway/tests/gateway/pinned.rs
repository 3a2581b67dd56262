//! What upstreams of the Responses API keep or seal goes back to the account that made it, and to no other.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tallygate_store::routing::Affinity;
use tallygate_store::tenants::{self, TenantSettings};
use tallygate_store::testing::TestStore;
use tallygate_types::{Dialect, TenantId};

use crate::rig::{Answer, Gateway, KEY, OTHER_KEY, Rig, target, upstream};
use crate::upstream::{Act, Upstream, answer, stream};

const KEYS: [&str; 3] = ["a", "b", "c"];

fn response(id: &str) -> Value {
    json!({"id": id, "object": "response", "created_at": 1, "status": "completed", "model": "real-model", "store": true,
        "output": [
            {"id": format!("rs_of_{id}"), "type": "reasoning", "summary": [], "encrypted_content": format!("gAAA{id}")},
            {"id": format!("msg_of_{id}"), "type": "message", "status": "completed", "role": "assistant",
             "content": [{"type": "output_text", "text": "uno", "annotations": []}]}],
        "usage": {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12}})
}

fn whole(id: &str) -> Vec<Act> {
    answer(200, &[], &response(id).to_string())
}

fn streamed(id: &str) -> Vec<Act> {
    let event = |kind: &str, fields: Value| {
        format!("event: {kind}\ndata: {}\n\n", {
            let mut event = json!({"type": kind});
            event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            event
        })
    };
    let mut created = response(id);
    created["output"] = json!([]);
    stream(&[
        &event("response.created", json!({"response": created})),
        &event("response.output_text.delta", json!({"item_id": "m", "output_index": 1, "content_index": 0, "delta": "uno"})),
        &event("response.completed", json!({"response": response(id)})),
    ])
}

struct Setup {
    store: TestStore,
    tenant: TenantId,
    upstream: Upstream,
    model: Vec<tallygate_store::TargetEntry>,
}

impl Setup {
    async fn new(scripts: Vec<Vec<Act>>) -> Self {
        let store = TestStore::sqlite().await;
        let mut tx = store.begin().await.unwrap();
        let tenant = tenants::create(&mut tx, &TenantSettings::named("acme")).await.unwrap().id;
        tx.commit().await.unwrap();
        let server = Upstream::start(scripts).await;
        let model = vec![target(upstream("main", Dialect::OpenaiResponses, server.address, &KEYS), 1, 1)];
        Self { store, tenant, upstream: server, model }
    }

    /// A gateway on this database, as after a restart; without the credentials in `gone`.
    async fn gateway(&self, gone: &[&str]) -> Gateway {
        let known = &self.model[0];
        let mut entry = tallygate_store::UpstreamEntry::clone(&known.upstream);
        entry.credentials.retain(|credential| !gone.contains(&credential.name.as_str()));
        let mut rig = Rig { affinity: Affinity::Auto, ..Rig::new() }.with_model("smart", vec![target(entry, 1, 1)]);
        rig.tenant.id = self.tenant;
        rig.shelf = self.store.shared();
        rig.start().await
    }

    /// The credentials the upstream was asked with.
    fn asked_with(&self) -> Vec<String> {
        let secret =
            |seen: &crate::upstream::Seen| seen.header("authorization").unwrap().trim_start_matches("Bearer secret-").to_owned();
        self.upstream.seen().iter().map(secret).collect()
    }

    fn last_body(&self) -> Value {
        serde_json::from_str(&self.upstream.seen().last().unwrap().body).unwrap()
    }
}

async fn ask(gateway: &Gateway, body: &Value) -> Answer {
    let answer = gateway.post("/v1/responses", &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer
}

async fn with_key(gateway: &Gateway, key: &str, method: Method, path: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    gateway.ask(method, path, &[("authorization", &bearer), ("content-type", "application/json")], body).await
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn what_builds_on_a_response_goes_to_the_account_that_keeps_it_also_after_a_restart() {
    for (script, is_stream) in [(whole("resp_1"), false), (streamed("resp_1"), true)] {
        let setup = Setup::new(vec![script, whole("resp_2")]).await;
        let gateway = setup.gateway(&[]).await;
        let first =
            gateway.post("/v1/responses", &json!({"model": "smart", "input": "one", "stream": is_stream}).to_string()).await;
        assert_eq!(first.status, 200, "{}", first.body);
        let next = json!({"model": "smart", "input": "two", "previous_response_id": "resp_1"});
        let by_item = json!({"model": "smart", "input": [{"type": "item_reference", "id": "msg_of_resp_1"}]});
        for body in [&next, &by_item, &next, &by_item] {
            ask(&gateway, body).await;
        }
        assert_eq!(setup.last_body()["input"], by_item["input"], "the reference is the upstream's to resolve");
        gateway.plane.flush(Duration::from_secs(5)).await;
        drop(gateway);
        let gateway = setup.gateway(&[]).await;
        for body in [&next, &by_item] {
            ask(&gateway, body).await;
        }
        let asked = setup.asked_with();
        assert_eq!((asked.len(), asked.iter().all(|key| *key == asked[0])), (7, true), "{asked:?}");
    }
}

#[tokio::test]
async fn what_one_tenants_upstream_keeps_is_out_of_the_reach_of_another() {
    let setup = Setup::new(vec![whole("resp_1")]).await;
    let gateway = setup.gateway(&[]).await;
    ask(&gateway, &json!({"model": "smart", "input": "one"})).await;
    for (body, expected) in [
        (json!({"model": "smart", "input": "x", "previous_response_id": "resp_1"}), "previous_response_not_found"),
        (json!({"model": "smart", "input": [{"type": "item_reference", "id": "msg_of_resp_1"}]}), "item_not_found"),
        (json!({"model": "smart", "input": [{"id": "rs_of_resp_1"}]}), "item_not_found"),
    ] {
        let refused = with_key(&gateway, OTHER_KEY, Method::POST, "/v1/responses", &body.to_string()).await;
        assert_eq!(code(&refused), (400, expected.to_owned()));
    }
    for (method, path) in [
        (Method::GET, "resp_1"),
        (Method::DELETE, "resp_1"),
        (Method::GET, "resp_1/input_items"),
        (Method::POST, "resp_1/cancel"),
    ] {
        let refused = with_key(&gateway, OTHER_KEY, method, &format!("/v1/responses/{path}"), "").await;
        assert_eq!(code(&refused), (404, "not_found".to_owned()), "{path}");
    }
    assert_eq!(setup.upstream.seen().len(), 1, "nothing reached the upstream");
}

#[tokio::test]
async fn a_kept_response_is_read_and_deleted_where_it_is() {
    let items = r#"{"object":"list","data":[],"has_more":false}"#;
    let scripts = vec![whole("resp_1"), whole("resp_1"), answer(200, &[], items), answer(200, &[], "{}"), answer(404, &[], "{}")];
    let setup = Setup::new(scripts).await;
    let gateway = setup.gateway(&[]).await;
    ask(&gateway, &json!({"model": "smart", "input": "one"})).await;
    let read = gateway.get(&format!("/v1/responses/resp_1?include[]=x&key={KEY}")).await;
    assert_eq!((read.status.as_u16(), read.json()), (200, response("resp_1")));
    assert_eq!(gateway.get("/v1/responses/resp_1/input_items?limit=5").await.body, items);
    assert_eq!(with_key(&gateway, KEY, Method::DELETE, "/v1/responses/resp_1", "").await.status, 200);
    let lines: Vec<String> = setup.upstream.seen()[1..].iter().map(|seen| seen.line().to_owned()).collect();
    assert_eq!(
        lines,
        [
            "GET /v1/responses/resp_1?include[]=x HTTP/1.1",
            "GET /v1/responses/resp_1/input_items?limit=5 HTTP/1.1",
            "DELETE /v1/responses/resp_1 HTTP/1.1",
        ]
    );
    let asked = setup.asked_with();
    assert!(asked.iter().all(|key| *key == asked[0]), "{asked:?}");
    assert_eq!(code(&gateway.get("/v1/responses/resp_1").await), (404, "not_found".to_owned()));
    assert_eq!(setup.upstream.seen().len(), 4, "what was deleted is not asked for again");
}

#[tokio::test]
async fn a_response_that_was_not_to_be_stored_is_not_looked_for() {
    let setup = Setup::new(vec![whole("resp_1")]).await;
    let gateway = setup.gateway(&[]).await;
    ask(&gateway, &json!({"model": "smart", "input": "one", "store": false})).await;
    assert_eq!(setup.last_body()["store"], false, "said to the upstream as the client said it");
    let refused = gateway.post("/v1/responses", r#"{"model":"smart","input":"x","previous_response_id":"resp_1"}"#).await;
    assert_eq!(code(&refused), (400, "previous_response_not_found".to_owned()));
}

/// The group of keys is the one key that sealed it: nothing tells which keys share an organisation.
#[tokio::test]
async fn case_b71_sealed_reasoning_goes_to_the_key_that_sealed_it_and_is_left_out_where_another_must_serve() {
    let setup = Setup::new(vec![whole("resp_1")]).await;
    let gateway = setup.gateway(&[]).await;
    ask(&gateway, &json!({"model": "smart", "input": "one", "store": false})).await;
    let sealed = json!({"type": "reasoning", "summary": [], "encrypted_content": "gAAAresp_1"});
    let user = json!({"role": "user", "content": "two"});
    let next = json!({"input": [sealed, user], "model": "smart", "store": false});
    for _ in 0..4 {
        let answer = ask(&gateway, &next).await;
        assert_eq!(answer.header("x-tallygate-loss"), "");
    }
    let asked = setup.asked_with();
    assert_eq!((asked.len(), asked.iter().all(|key| *key == asked[0])), (5, true), "{asked:?}");
    assert_eq!(setup.last_body()["input"], next["input"]);

    // The key is refused for its rate and left alone for a while: another serves, without what it cannot open.
    let setup = Setup::new(vec![
        whole("resp_1"),
        answer(
            429,
            &[("retry-after", "60")],
            r#"{"error":{"message":"slow","type":"rate_limit_error","code":"rate_limit_exceeded"}}"#,
        ),
        whole("resp_2"),
    ])
    .await;
    let gateway = setup.gateway(&[]).await;
    ask(&gateway, &json!({"model": "smart", "input": "one", "store": false})).await;
    for _ in 0..2 {
        let answer = ask(&gateway, &next).await;
        assert!(answer.header("x-tallygate-loss").contains("input.encrypted_content"), "{}", answer.header("x-tallygate-loss"));
        assert_eq!(setup.last_body(), json!({"input": [user], "model": "real-model", "store": false}));
    }
    let asked = setup.asked_with();
    assert_eq!(asked.len(), 4);
    assert_eq!(asked[0], asked[1], "first the key that sealed it");
    assert!(asked[2] != asked[0] && asked[3] != asked[0], "{asked:?}");

    // Another tenant's reasoning is nobody's here: the upstream judges it.
    let foreign = with_key(&gateway, OTHER_KEY, Method::POST, "/v1/responses", &next.to_string()).await;
    assert_eq!((foreign.status.as_u16(), &setup.last_body()["input"]), (200, &next["input"]));
}

#[tokio::test]
async fn another_vendors_signatures_never_reach_an_upstream_of_this_dialect() {
    let setup = Setup::new(vec![whole("resp_1")]).await;
    let gateway = setup.gateway(&[]).await;
    let carrier = json!({"type": "reasoning", "summary": [], "encrypted_content": "tg1:anthropic:c2ln"});
    let answer = ask(&gateway, &json!({"model": "smart", "input": [carrier, {"role": "user", "content": "x"}]})).await;
    assert_eq!(setup.last_body()["input"], json!([{"role": "user", "content": "x"}]));
    assert_eq!(answer.header("x-tallygate-loss"), "dropped=reasoning");
}

#[tokio::test]
async fn a_key_that_is_no_more_is_followed_by_the_others_of_its_upstream() {
    let setup = Setup::new(vec![whole("resp_1")]).await;
    let gateway = setup.gateway(&[]).await;
    ask(&gateway, &json!({"model": "smart", "input": "one"})).await;
    gateway.plane.flush(Duration::from_secs(5)).await;
    let gone = setup.asked_with()[0].clone();
    drop(gateway);
    let gateway = setup.gateway(&[&gone]).await;
    ask(&gateway, &json!({"model": "smart", "input": "two", "previous_response_id": "resp_1"})).await;
    assert_ne!(setup.asked_with()[1], gone);
}

#[tokio::test]
async fn requests_with_one_prompt_cache_key_go_to_one_account_and_others_are_spread() {
    let setup = Setup::new(vec![whole("resp_1")]).await;
    let gateway = setup.gateway(&[]).await;
    for _ in 0..4 {
        ask(&gateway, &json!({"model": "smart", "input": "x", "store": false, "prompt_cache_key": "session-1"})).await;
    }
    let asked = setup.asked_with();
    assert!(asked.iter().all(|key| *key == asked[0]), "{asked:?}");
    for session in 0..40 {
        ask(&gateway, &json!({"model": "smart", "input": "x", "store": false, "prompt_cache_key": format!("s{session}")})).await;
    }
    let spread: std::collections::BTreeSet<_> = setup.asked_with().into_iter().collect();
    assert_eq!(spread.len(), KEYS.len(), "{spread:?}");
}
