//! A client of the router, without a socket between.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tallygate_admin::{AdminConfig, AdminState};
use tallygate_store::admin_tokens::{self, NewAdminToken};
use tallygate_store::testing::TestStore;
use tallygate_store::users::Role;
use tower::ServiceExt as _;

use crate::document;
use crate::live::FakeLive;
use crate::probe::FakeProbe;

/// Where the tests' requests come from.
const PEER: &str = "192.0.2.7:50000";
pub const ORIGIN: &str = "https://gate.example.com";

/// The service on an empty database, called by an owner's token unless said otherwise.
pub struct Api {
    pub store: TestStore,
    pub router: Router,
    pub probe: Arc<FakeProbe>,
    pub live: Arc<FakeLive>,
    token: SecretString,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn etag(&self) -> &str {
        self.header("etag")
    }

    /// The body, if the status is the one expected.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The problem's code, and `pointer rule` of its first field.
    #[track_caller]
    pub fn problem(&self, status: u16) -> (String, String) {
        let body = self.expect(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["instance"].as_str(), Some(self.header("x-request-id")), "{body}");
        let field = &body["errors"][0];
        let field = match (field["pointer"].as_str(), field["rule"].as_str()) {
            (Some(pointer), Some(rule)) => format!("{pointer} {rule}"),
            _ => String::new(),
        };
        (body["code"].as_str().unwrap().to_owned(), field)
    }

    /// Name and value of each cookie that was set.
    pub fn cookies(&self) -> Vec<(String, String)> {
        let lines = self.headers.get_all(header::SET_COOKIE).iter().map(|line| line.to_str().unwrap());
        lines.map(|line| line.split(';').next().unwrap().split_once('=').unwrap()).map(|(n, v)| (n.into(), v.into())).collect()
    }
}

impl Api {
    pub async fn new() -> Self {
        Self::on(TestStore::sqlite().await).await
    }

    pub async fn on(store: TestStore) -> Self {
        let (probe, live) = (Arc::new(FakeProbe::default()), Arc::new(FakeLive::default()));
        let config = AdminConfig { public_origin: ORIGIN.into(), api_url: Some("http://127.0.0.1:8080".into()), demo: false };
        let state = AdminState::new(store.shared(), Some(live.clone()), probe.clone(), config).unwrap();
        let token = mint(&store, Role::Owner).await;
        Self { router: tallygate_admin::router(state), store, probe, live, token }
    }

    /// The text of a token with that role.
    pub async fn token(&self, role: Role) -> SecretString {
        mint(&self.store, role).await
    }

    pub async fn send(&self, mut request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        if request.extensions().get::<ConnectInfo<SocketAddr>>().is_none() {
            request.extensions_mut().insert(ConnectInfo(PEER.parse::<SocketAddr>().unwrap()));
        }
        let response: Response<Body> = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        document::check(&method, &path, &answer);
        answer
    }

    pub async fn call_as(
        &self,
        token: &SecretString,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).unwrap()).await
    }

    /// What the owner's token looks like in the `Authorization` header.
    pub fn owner_header(&self) -> String {
        format!("Bearer {}", self.token.expose_secret())
    }

    /// Sends without any credential.
    pub async fn anonymous(&self, method: &str, path: &str) -> Answer {
        self.send(Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call_as(&self.token, "GET", path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call_as(&self.token, "POST", path, &[], Some(&body)).await
    }

    /// A POST without a body.
    pub async fn act(&self, path: &str) -> Answer {
        self.call_as(&self.token, "POST", path, &[], None).await
    }

    pub async fn patch(&self, path: &str, etag: &str, body: Value) -> Answer {
        self.call_as(&self.token, "PATCH", path, &[("if-match", etag)], Some(&body)).await
    }

    pub async fn delete(&self, path: &str, etag: &str) -> Answer {
        self.call_as(&self.token, "DELETE", path, &[("if-match", etag)], None).await
    }

    pub async fn with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
        self.call_as(&self.token, method, path, headers, body.as_ref()).await
    }

    /// Actions of the trail, the newest first, as `action target_name`.
    pub async fn trail(&self) -> Vec<String> {
        let body = self.get("/admin/v1/audit-events").await.expect(200);
        let line =
            |event: &Value| format!("{} {}", event["action"].as_str().unwrap(), event["target_name"].as_str().unwrap_or("-"));
        body["data"].as_array().unwrap().iter().map(line).collect()
    }
}

async fn mint(store: &TestStore, role: Role) -> SecretString {
    let now = tallygate_types::Clock::now(&*store.clock);
    let new = NewAdminToken {
        name: format!("test {role}"),
        role,
        expires_at: now.saturating_add(Duration::from_hours(24 * 30)),
        created_by: "test".into(),
    };
    let mut tx = store.begin().await.unwrap();
    let (_, secret) = admin_tokens::create(&mut tx, &new).await.unwrap();
    tx.commit().await.unwrap();
    secret
}
