//! A browser: it keeps cookies and says where its requests come from.

use std::collections::BTreeMap;

use axum::body::Body;
use http::{Request, header};
use serde_json::{Value, json};
use tallygate_store::setup;

use crate::client::{Answer, Api};

pub const PASSWORD: &str = "correct horse battery staple";
pub const EMAIL: &str = "ada@example.com";

/// The cookies of one browser.
#[derive(Default, Clone)]
pub struct Visitor {
    pub cookies: BTreeMap<String, String>,
}

impl Visitor {
    /// The owner, signed in by the setup link.
    pub async fn owner(api: &Api) -> Self {
        let mut tx = api.store.begin().await.unwrap();
        let token = setup::issue(&mut tx).await.unwrap();
        tx.commit().await.unwrap();
        let mut visitor = Self::default();
        let token = secrecy::ExposeSecret::expose_secret(&token).to_owned();
        let body = json!({"token": token, "email": EMAIL, "name": "Ada", "password": PASSWORD});
        visitor.send(api, "POST", "/admin/v1/setup", Some(body)).await.expect(201);
        visitor
    }

    /// Sends as the dashboard does.
    pub async fn send(&mut self, api: &Api, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send_with(api, method, path, &[("sec-fetch-site", "same-origin")], body).await
    }

    pub async fn get(&mut self, api: &Api, path: &str) -> Answer {
        self.send(api, "GET", path, None).await
    }

    pub async fn sign_in(&mut self, api: &Api, email: &str, password: &str) -> Answer {
        self.send(api, "POST", "/admin/v1/session", Some(json!({"email": email, "password": password}))).await
    }

    pub async fn send_with(
        &mut self,
        api: &Api,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !self.cookies.is_empty() {
            let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let answer = api.send(request.body(body).unwrap()).await;
        for (name, value) in answer.cookies() {
            if value.is_empty() {
                self.cookies.remove(&name);
            } else {
                self.cookies.insert(name, value);
            }
        }
        answer
    }
}
