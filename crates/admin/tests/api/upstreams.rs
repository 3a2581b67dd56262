use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::client::Api;

#[tokio::test]
async fn an_upstream_is_made_with_its_credentials_and_never_tells_them() {
    let api = Api::new().await;
    let created = api
        .post(
            "/admin/v1/upstreams",
            json!({"name": "openai", "dialect": "openai-chat", "base_url": "https://api.openai.com",
                "proxy": "socks5://user:proxy-password@10.0.0.1:1080", "timeouts": {"connect_ms": 3000},
                "credentials": [{"name": "one", "secret": "sk-planted-secret-wxyz"}]}),
        )
        .await;
    let body = created.expect(201);
    assert_eq!(created.etag(), "\"v1\"");
    assert_eq!(body["proxy"], "socks5://user:***@10.0.0.1:1080");
    assert_eq!(
        body["timeouts"],
        json!({"connect_ms": 3000, "first_byte_ms": null, "first_token_ms": null, "stream_idle_ms": null, "total_ms": null})
    );
    let credential = &body["credentials"][0];
    assert_eq!((&credential["name"], &credential["last4"]), (&json!("one"), &json!("wxyz")));
    assert!(!created.text().contains("planted-secret") && !created.text().contains("proxy-password"));
    assert_eq!(api.get(created.header("location")).await.expect(200), body);
    assert_eq!(api.trail().await, ["upstream.created openai"]);
}

#[tokio::test]
async fn an_upstream_is_changed_and_deleted_once_nothing_is_routed_there() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let path = format!("/admin/v1/upstreams/{}", shop.upstream);
    api.with("PATCH", &path, &[], Some(json!({"name": "x"}))).await.expect(428);
    let change = json!({"base_url": "https://eu.example.com/v1", "timeouts": {"total_ms": 60000}, "status": "disabled"});
    let changed = api.patch(&path, "\"v1\"", change).await;
    let body = changed.expect(200);
    assert_eq!((&body["base_url"], &body["status"]), (&json!("https://eu.example.com/v1"), &json!("disabled")));
    assert_eq!((&body["name"], &body["timeouts"]["total_ms"]), (&json!("anthropic-main"), &json!(60000)));
    let stale = api.patch(&path, "\"v1\"", json!({"name": "x"})).await;
    assert_eq!((stale.problem(412).0.as_str(), stale.etag()), ("version_mismatch", "\"v2\""));
    assert_eq!(stale.json()["current"], body);
    let used = api.delete(&path, "\"v2\"").await;
    assert_eq!(used.problem(409).0, "in_use");
    api.delete(&format!("/admin/v1/models/{}", shop.model), "\"v1\"").await.expect(204);
    api.delete(&path, "\"v2\"").await.expect(204);
    api.get(&path).await.expect(404);
    assert_eq!(
        api.trail().await[..3],
        ["upstream.deleted anthropic-main", "model.deleted smart", "upstream.updated anthropic-main"]
    );
}

#[tokio::test]
async fn what_no_upstream_can_be_is_refused_and_nothing_is_kept() {
    let api = Api::new().await;
    let refused = async |body| api.post("/admin/v1/upstreams", body).await.problem(422).1;
    let with = |url: &str| json!({"name": "x", "dialect": "gemini", "base_url": url});
    assert_eq!(refused(with("ftp://example.com")).await, "/base_url invalid");
    assert_eq!(refused(with("http://169.254.169.254/latest")).await, "/base_url invalid");
    assert_eq!(refused(with("https://user:pass@example.com")).await, "/base_url invalid");
    assert_eq!(refused(json!({"name": "x", "dialect": "cobol", "base_url": "https://example.com"})).await, "/dialect invalid");
    let credentials = json!([{"name": "one", "secret": "sk-1234567890"}, {"name": "one", "secret": "sk-0987654321"}]);
    let twice = json!({"name": "x", "dialect": "gemini", "base_url": "https://example.com", "credentials": credentials});
    let twice = api.post("/admin/v1/upstreams", twice).await.problem(409);
    assert_eq!(twice, ("already_exists".into(), "/credentials/1/name taken".into()));
    assert_eq!(api.get("/admin/v1/upstreams").await.expect(200)["data"], json!([]));
    assert_eq!(api.trail().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_credential_is_added_replaced_and_taken_away() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let folder = format!("/admin/v1/upstreams/{}/credentials", shop.upstream);
    let created = api.post(&folder, json!({"name": "a2", "secret": "sk-ant-secret-two"})).await;
    let before = created.expect(201);
    assert_eq!(before["last4"], "-two");
    let path = created.header("location");
    assert_eq!(api.get(path).await.expect(200), before);
    assert_eq!(api.get(&folder).await.expect(200)["data"].as_array().unwrap().len(), 2);

    let changed = api.patch(path, created.etag(), json!({"secret": "sk-ant-secret-three", "status": "disabled"})).await;
    let after = changed.expect(200);
    assert_eq!((&after["last4"], &after["status"], &after["name"]), (&json!("hree"), &json!("disabled"), &json!("a2")));
    assert_ne!(after["fingerprint"], before["fingerprint"]);
    let id = after["id"].as_str().unwrap().parse().unwrap();
    let secret = tallygate_store::credentials::open_secret(&api.store, id).await.unwrap();
    assert_eq!(secret.expose_secret(), "sk-ant-secret-three");
    let stale = api.patch(path, created.etag(), json!({"name": "x"})).await;
    assert_eq!((stale.problem(412).0.as_str(), &stale.json()["current"]), ("version_mismatch", &after));

    let other = api
        .post("/admin/v1/upstreams", json!({"name": "other", "dialect": "gemini", "base_url": "https://example.com"}))
        .await
        .expect(201);
    let elsewhere = path.replace(&shop.upstream, other["id"].as_str().unwrap());
    api.get(&elsewhere).await.expect(404);
    api.delete(&elsewhere, changed.etag()).await.expect(404);
    api.delete(path, changed.etag()).await.expect(204);
    assert_eq!(
        api.trail().await[..4],
        ["credential.deleted a2", "upstream.created other", "credential.updated a2", "credential.created a2"]
    );
}

#[tokio::test]
async fn a_test_uses_the_first_active_credential_and_a_model_that_is_routed_there() {
    let api = Api::new().await;
    let shop = api.shop().await;
    let path = format!("/admin/v1/upstreams/{}:test", shop.upstream);
    let report = api.post(&path, json!({})).await.expect(200);
    assert_eq!((&report["ok"], &report["model"]), (&json!(true), &json!("claude-sonnet-5-5")));
    assert_eq!(report["steps"][1], json!({"step": "tcp", "ok": true, "duration_ms": 3, "detail": "seen", "fix": null}));
    {
        let asked = api.probe.asked.lock().unwrap();
        assert_eq!(asked[0].secret.as_ref().unwrap().expose_secret(), "sk-ant-secret-one");
        assert_eq!((asked[0].base_url.as_str(), asked[0].stream), ("https://api.anthropic.com", true));
    }
    assert_eq!(api.trail().await[0], "upstream.tested anthropic-main");

    let unknown = json!({"credential_id": tallygate_types::CredentialId::generate().to_string()});
    assert_eq!(api.post(&path, unknown).await.problem(422).1, "/credential_id unknown");
    let upstream = format!("/admin/v1/upstreams/{}", shop.upstream);
    api.patch(&upstream, "\"v1\"", json!({"base_url": "https://unreachable.example.com"})).await.expect(200);
    let report = api.post(&path, json!({"model": "claude-x", "stream": false})).await.expect(200);
    assert_eq!((&report["ok"], &report["model"]), (&json!(false), &json!("claude-x")));
    assert_eq!(report["steps"][1]["fix"], "Check the port.");
}

#[tokio::test]
async fn a_test_goes_through_the_proxy_with_its_password() {
    let api = Api::new().await;
    let created = api
        .post(
            "/admin/v1/upstreams",
            json!({"name": "x", "dialect": "anthropic", "base_url": "https://api.anthropic.com",
                "proxy": "http://up:upstream-pass@10.0.0.1:3128",
                "credentials": [{"name": "one", "secret": "sk-ant-1234", "proxy": "http://cr:credential-pass@10.0.0.2:3128"}]}),
        )
        .await
        .expect(201);
    let path = format!("/admin/v1/upstreams/{}", created["id"].as_str().unwrap());
    let credential = created["credentials"][0]["id"].as_str().unwrap();
    let used = || api.probe.asked.lock().unwrap().last().unwrap().proxy.first().unwrap().to_owned();
    api.post(&format!("{path}:test"), json!({})).await.expect(200);
    assert_eq!(used(), "http://cr:credential-pass@10.0.0.2:3128");
    api.patch(&format!("{path}/credentials/{credential}"), "\"v1\"", json!({"status": "disabled"})).await.expect(200);
    api.post(&format!("{path}:test"), json!({})).await.expect(200);
    assert_eq!(used(), "http://cr:credential-pass@10.0.0.2:3128", "a disabled credential can be tested before it is enabled");
    api.patch(&format!("{path}/credentials/{credential}"), "\"v2\"", json!({"proxy": null})).await.expect(200);
    api.post(&format!("{path}:test"), json!({})).await.expect(200);
    assert_eq!(used(), "http://up:upstream-pass@10.0.0.1:3128");
}
