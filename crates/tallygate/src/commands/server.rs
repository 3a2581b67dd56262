//! A running server, asked through its admin API.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::SecretRef;

/// How long the server may take to answer.
const SERVER_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Server {
    client: reqwest::Client,
    url: String,
    token: SecretString,
}

impl Server {
    /// `token` is where the token stands (`env:NAME`, `file:/path`), never the token itself: command lines are seen by others.
    pub fn new(url: &str, token: Option<&str>) -> Result<Self> {
        let token: SecretRef = token.context("--server needs --token env:NAME (a token of the admin API)")?.parse()?;
        let client = reqwest::Client::builder().timeout(SERVER_TIMEOUT).no_proxy().build()?;
        Ok(Self { client, url: url.trim_end_matches('/').to_owned(), token: token.resolve("--token")? })
    }

    /// `path` begins behind `/admin/v1`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T> {
        let url = url::Url::parse_with_params(&format!("{}/admin/v1{path}", self.url), query)?;
        self.answer(self.client.get(url)).await
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.answer(self.client.post(format!("{}/admin/v1{path}", self.url)).json(body)).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let sent = request.bearer_auth(self.token.expose_secret()).send().await;
        let response = sent.with_context(|| format!("{} does not answer", self.url))?;
        let status = response.status();
        let body = response.bytes().await?;
        if !status.is_success() {
            let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
            bail!("the server answers {status}: {}", problem["detail"].as_str().unwrap_or("no details"));
        }
        serde_json::from_slice(&body).context("the server's answer cannot be read; is it of another version?")
    }
}
