//! What keeps other sites, broken clients and browsers' habits in check.

use http::Request;
use serde_json::json;

use crate::client::{Api, ORIGIN};
use crate::visitor::{EMAIL, PASSWORD, Visitor};

#[tokio::test]
async fn every_answer_binds_the_browser_and_names_its_request() {
    let api = Api::new().await;
    for path in ["/admin/v1/tenants", "/admin/v1/nothing", "/", "/openapi.json", "/favicon-that-is-not.ico"] {
        let answer = api.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}: {policy}");
        assert!(policy.ends_with("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(answer.header("x-request-id").starts_with("req_"), "{path}");
        assert_eq!(answer.header("cache-control") == "no-store", path.starts_with("/admin"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
    }
}

#[tokio::test]
async fn a_foreign_page_cannot_write_with_somebodys_session() {
    let api = Api::new().await;
    let mut browser = Visitor::owner(&api).await;
    let body = || Some(json!({"name": "acme"}));
    let foreign: [&[(&str, &str)]; 4] = [
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", ORIGIN)],
        &[("origin", "https://evil.example.com")],
        &[],
    ];
    for headers in foreign {
        let refused = browser.send_with(&api, "POST", "/admin/v1/tenants", headers, body()).await;
        assert_eq!(refused.problem(403).0, "cross_site_request", "{headers:?}");
        let refused = browser.send_with(&api, "DELETE", "/admin/v1/session", headers, None).await;
        assert_eq!(refused.problem(403).0, "cross_site_request", "{headers:?}");
    }
    let sign_in = Some(json!({"email": EMAIL, "password": PASSWORD}));
    let refused = Visitor::default().send_with(&api, "POST", "/admin/v1/session", foreign[0], sign_in.clone()).await;
    assert_eq!(refused.problem(403).0, "cross_site_request");
    Visitor::default().send_with(&api, "POST", "/admin/v1/session", &[], sign_in).await.expect(201);
    browser.send_with(&api, "POST", "/admin/v1/tenants", &[("origin", ORIGIN)], body()).await.expect(201);
    assert_eq!(api.trail().await.iter().filter(|line| line.starts_with("tenant.")).count(), 1);
}

#[tokio::test]
async fn a_program_with_a_token_owes_no_proof_of_origin() {
    let api = Api::new().await;
    let cookies = [("cookie", "__Host-tg_session=stale"), ("sec-fetch-site", "cross-site")];
    api.with("POST", "/admin/v1/tenants", &cookies, Some(json!({"name": "acme"}))).await.expect(201);
}

#[tokio::test]
async fn a_browser_is_not_signed_in_where_it_would_lose_the_cookie() {
    let api = Api::new().await;
    Visitor::owner(&api).await;
    let headers = [("origin", "http://10.0.0.5:8081"), ("host", "10.0.0.5:8081")];
    let sign_in = Some(json!({"email": EMAIL, "password": PASSWORD}));
    let refused = Visitor::default().send_with(&api, "POST", "/admin/v1/session", &headers, sign_in).await;
    assert_eq!(refused.problem(400).0, "insecure_origin");
}

#[tokio::test]
async fn what_is_no_route_no_method_or_no_json_is_said_in_the_same_shape() {
    let api = Api::new().await;
    assert_eq!(api.get("/admin/v1/nothing").await.problem(404).0, "not_found");
    assert_eq!(api.get("/admin/v1/tenants/not-an-id").await.problem(404).0, "not_found");
    assert_eq!(api.get("/admin/v1/upstreams/ups_1/~test").await.problem(404).0, "not_found");
    let put = api.with("PUT", "/admin/v1/tenants", &[], None).await;
    assert_eq!(put.problem(405).0, "method_not_allowed");
    assert_eq!(put.header("allow"), "GET,HEAD,POST");
    assert_eq!(api.act("/admin/v1/tenants").await.problem(415).0, "unsupported_media_type");
    let send = async |body: String| {
        let token = api.owner_header();
        let request =
            Request::post("/admin/v1/tenants").header("authorization", token).header("content-type", "application/json");
        api.send(request.body(body.into()).unwrap()).await
    };
    assert_eq!(send("{\"name\":".into()).await.problem(400).0, "unreadable_body");
    assert_eq!(send(format!("{{\"name\":\"{}\"}}", "x".repeat(256 * 1024))).await.problem(413).0, "body_too_large");
    assert_eq!(send("{\"name\":\"acme\"}{}".into()).await.problem(400).0, "unreadable_body");
    let reason = "x".repeat(501);
    let long = api.with("POST", "/admin/v1/tenants", &[("x-tallygate-reason", &reason)], Some(json!({"name": "acme"}))).await;
    assert_eq!(long.problem(400).0, "invalid_reason");
    assert_eq!(api.trail().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_unknown_query_parameter_is_an_error_on_every_list() {
    let api = Api::new().await;
    for list in [
        "tenants",
        "api-keys",
        "upstreams",
        "models",
        "catalogue",
        "requests",
        "usage",
        "bills",
        "audit-events",
        "users",
        "admin-tokens",
        "overview",
    ] {
        let refused = api.get(&format!("/admin/v1/{list}?tenent_id=x")).await;
        assert_eq!(refused.problem(400), ("invalid_parameter".into(), "tenent_id unreadable".into()), "{list}");
    }
}

#[tokio::test]
async fn the_dashboard_is_served_for_every_path_a_browser_asks_for() {
    let api = Api::new().await;
    let page = api.with("GET", "/tenants/ten_1", &[("accept", "text/html")], None).await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(api.get("/v1/models").await.problem(404).0, "not_found");
    let document = api.get("/openapi.json").await.expect(200);
    assert_eq!(document["info"]["title"], "Tallygate admin API");
}
