//! Tests the way to an upstream layer by layer: name, connection, TLS, credential, model, stream. Each step says what was
//! seen and, if it failed, what to do.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder, StatusCode};
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tallygate_adapter::join_url;
use tallygate_admin::{ProbeRequest, ProbeStep, ProbeStepName, UpstreamProbe};
use tallygate_gateway::{Outbound, Proxy};
use tallygate_types::{Dialect, NoProxy};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

const DNS_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);
/// Enough for a word; reasoning models need some room before it.
const MAX_OUTPUT_TOKENS: u64 = 64;
/// An upstream's own words are shown this far.
const MAX_DETAIL_CHARS: usize = 300;
const PROXY_FORM: &str = "write it as http://host:port or socks5://host:port";
const ANTHROPIC_VERSION: &str = "2023-06-01";

/// Probes with connections of its own, outside the data plane's pools.
pub struct Probe {
    tls: TlsConnector,
    /// For upstreams that name no proxy.
    outbound: Outbound,
}

impl Probe {
    pub fn new(outbound: Outbound) -> Self {
        let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        roots.add_parsable_certificates(outbound.authorities.iter().cloned());
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self { tls: TlsConnector::from(Arc::new(config)), outbound }
    }

    async fn steps(&self, request: &ProbeRequest) -> Vec<ProbeStep> {
        let mut steps = Vec::new();
        let Ok(base) = Url::parse(&request.base_url) else {
            steps.push(failed(
                ProbeStepName::Dns,
                Instant::now(),
                "the base URL cannot be read",
                "write it as https://host/path",
            ));
            return steps;
        };
        let way = match self.proxies(request, &base, &mut steps) {
            None => return steps,
            Some([]) => self.reach(&base, &mut steps).await.then_some(None),
            // Behind a proxy the upstream's own address is not this machine's to look up.
            Some(proxies) => first_that_answers(proxies, &mut steps).await.map(Some),
        };
        if let Some(proxy) = way
            && let Some(client) = self.client(proxy, &mut steps)
        {
            ask(&client, request, &mut steps).await;
        }
        steps
    }

    /// The proxies that a request would go through, as the data plane chooses them; `None`: what is written cannot be read.
    fn proxies<'a>(&'a self, request: &'a ProbeRequest, base: &Url, steps: &mut Vec<ProbeStep>) -> Option<&'a [String]> {
        let own = request.proxy.urls();
        let (proxies, excepted) =
            if own.is_empty() { (self.outbound.proxies.as_slice(), self.outbound.no_proxy.as_slice()) } else { (own, &[][..]) };
        match NoProxy::parse(request.no_proxy.iter().chain(excepted)) {
            Ok(excepted) => {
                let (host, port) = (base.host_str().unwrap_or_default(), base.port_or_known_default().unwrap_or_default());
                Some(if excepted.matches(host, port) { &[] } else { proxies })
            }
            Err(error) => {
                steps.push(failed(ProbeStepName::Proxy, Instant::now(), error.to_string(), "mend no_proxy"));
                None
            }
        }
    }

    fn client(&self, proxy: Option<&str>, steps: &mut Vec<ProbeStep>) -> Option<Client> {
        let started = Instant::now();
        let authorities = self.outbound.authorities.iter().filter_map(|der| reqwest::Certificate::from_der(der).ok());
        let mut builder = Client::builder()
            .timeout(HTTP_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_certs_merge(authorities);
        if let Some(proxy) = proxy {
            match reqwest::Proxy::all(proxy) {
                Ok(proxy) => builder = builder.proxy(proxy),
                Err(error) => {
                    steps.push(failed(ProbeStepName::Proxy, started, error.to_string(), PROXY_FORM));
                    return None;
                }
            }
        }
        builder.build().inspect_err(|error| steps.push(failed(ProbeStepName::Auth, started, error.to_string(), ""))).ok()
    }

    /// Name, connection and TLS; false if one of them failed.
    async fn reach(&self, base: &Url, steps: &mut Vec<ProbeStep>) -> bool {
        let (Some(host), Some(port)) = (base.host_str(), base.port_or_known_default()) else {
            steps.push(failed(ProbeStepName::Dns, Instant::now(), "the base URL names no host", "write it as https://host/path"));
            return false;
        };
        let host = host.trim_matches(['[', ']']);
        let Some(address) = resolve(host, port, steps).await else { return false };
        let Some(stream) = connect(address, ProbeStepName::Tcp, steps).await else { return false };
        if base.scheme() != "https" {
            return true;
        }
        let started = Instant::now();
        let Ok(name) = ServerName::try_from(host.to_owned()) else { return false };
        match timeout(CONNECT_TIMEOUT, self.tls.connect(name, stream)).await {
            Ok(Ok(_)) => {
                steps.push(passed(ProbeStepName::Tls, started, "certificate accepted"));
                true
            }
            Ok(Err(error)) => {
                let fix = "check that the base URL's host matches the certificate and that nothing on the way intercepts TLS";
                steps.push(failed(ProbeStepName::Tls, started, error.to_string(), fix));
                false
            }
            Err(_) => {
                steps.push(failed(ProbeStepName::Tls, started, "no answer", "check that the port speaks TLS"));
                false
            }
        }
    }
}

impl UpstreamProbe for Probe {
    fn probe<'a>(&'a self, request: ProbeRequest) -> Pin<Box<dyn Future<Output = Vec<ProbeStep>> + Send + 'a>> {
        Box::pin(async move { self.steps(&request).await })
    }
}

async fn resolve(host: &str, port: u16, steps: &mut Vec<ProbeStep>) -> Option<SocketAddr> {
    let started = Instant::now();
    let fix = "check the base URL's host and this machine's resolver";
    match timeout(DNS_TIMEOUT, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(addresses)) => {
            let addresses: Vec<_> = addresses.collect();
            let step = match addresses.first() {
                Some(first) => passed(ProbeStepName::Dns, started, format!("{host} is {}", first.ip())),
                None => failed(ProbeStepName::Dns, started, format!("{host} has no address"), fix),
            };
            steps.push(step);
            addresses.first().copied()
        }
        Ok(Err(error)) => {
            steps.push(failed(ProbeStepName::Dns, started, error.to_string(), fix));
            None
        }
        Err(_) => {
            steps.push(failed(ProbeStepName::Dns, started, "the resolver did not answer", fix));
            None
        }
    }
}

async fn connect(address: SocketAddr, step: ProbeStepName, steps: &mut Vec<ProbeStep>) -> Option<TcpStream> {
    let started = Instant::now();
    let fix = "check that the server runs, that the port is right, and that no firewall stands between";
    match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            steps.push(passed(step, started, format!("connected to {address}")));
            Some(stream)
        }
        Ok(Err(error)) => {
            steps.push(failed(step, started, error.to_string(), fix));
            None
        }
        Err(_) => {
            steps.push(failed(step, started, format!("{address} did not answer in {} s", CONNECT_TIMEOUT.as_secs()), fix));
            None
        }
    }
}

/// The first proxy that takes a connection.
async fn first_that_answers<'a>(proxies: &'a [String], steps: &mut Vec<ProbeStep>) -> Option<&'a str> {
    for proxy in proxies {
        if proxy_answers(proxy, steps).await {
            return Some(proxy);
        }
    }
    None
}

async fn proxy_answers(text: &str, steps: &mut Vec<ProbeStep>) -> bool {
    let proxy = match Proxy::parse(text) {
        Ok(proxy) => proxy,
        Err(error) => {
            steps.push(failed(ProbeStepName::Proxy, Instant::now(), error.to_string(), PROXY_FORM));
            return false;
        }
    };
    let Some(address) = resolve(&proxy.host, proxy.port, steps).await else { return false };
    connect(address, ProbeStepName::Proxy, steps).await.is_some()
}

/// Credential, model and stream.
async fn ask(client: &Client, request: &ProbeRequest, steps: &mut Vec<ProbeStep>) {
    let started = Instant::now();
    let list = if request.dialect == Dialect::Gemini { "/v1beta/models" } else { "/v1/models" };
    let url = join_url(&request.base_url, request.dialect, list);
    let sent = authorized(client.get(url), request.dialect, request.secret.as_ref()).send().await;
    let authenticated = match sent {
        Ok(response) => judge_credential(response.status(), started, steps),
        Err(error) => {
            steps.push(failed(ProbeStepName::Auth, started, describe(&error), "check the base URL and the outbound proxy"));
            false
        }
    };
    let Some(model) = request.model.as_deref().filter(|_| authenticated) else { return };
    if one_answer(client, request, model, false, steps).await && request.stream {
        one_answer(client, request, model, true, steps).await;
    }
}

fn judge_credential(status: StatusCode, started: Instant, steps: &mut Vec<ProbeStep>) -> bool {
    let (step, is_good) = match status.as_u16() {
        200 => (passed(ProbeStepName::Auth, started, "the credential is accepted"), true),
        401 | 403 => {
            let fix = "replace the credential's secret; check that it belongs to this provider and project";
            (failed(ProbeStepName::Auth, started, format!("the upstream refuses the credential ({status})"), fix), false)
        }
        // Some servers list no models; then a model's answer is the test.
        404 | 405 => (passed(ProbeStepName::Auth, started, format!("the upstream lists no models ({status})")), true),
        429 => (passed(ProbeStepName::Auth, started, "the credential is known, but over its rate limit (429)"), true),
        _ => {
            let fix = "look at the provider's status page, or at the server's own log";
            (failed(ProbeStepName::Auth, started, format!("the upstream answers {status}"), fix), false)
        }
    };
    steps.push(step);
    is_good
}

async fn one_answer(client: &Client, request: &ProbeRequest, model: &str, stream: bool, steps: &mut Vec<ProbeStep>) -> bool {
    let started = Instant::now();
    let step = if stream { ProbeStepName::Stream } else { ProbeStepName::Model };
    let (path, body) = question(request.dialect, model, stream);
    let url = join_url(&request.base_url, request.dialect, &path);
    let sent = authorized(client.post(url).json(&body), request.dialect, request.secret.as_ref()).send().await;
    let outcome = match sent {
        Ok(response) => {
            let (status, first_byte) = (response.status(), started.elapsed());
            response.text().await.map(|text| (status, first_byte, text))
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok((StatusCode::OK, first_byte, text)) => {
            let detail = format!("first byte after {} ms, {} bytes in all", first_byte.as_millis(), text.len());
            steps.push(passed(step, started, detail));
            true
        }
        Ok((status, _, text)) => {
            let said: String = text.chars().take(MAX_DETAIL_CHARS).collect();
            let fix = "check the model's name at the upstream and that the credential may use it";
            steps.push(failed(step, started, format!("{status}: {said}"), fix));
            false
        }
        Err(error) => {
            steps.push(failed(step, started, describe(&error), "the upstream took the request and did not answer it"));
            false
        }
    }
}

/// The smallest question in each dialect.
fn question(dialect: Dialect, model: &str, stream: bool) -> (String, Value) {
    const TEXT: &str = "Answer with one word: ready";
    match dialect {
        Dialect::OpenaiChat => (
            "/v1/chat/completions".to_owned(),
            json!({ "model": model, "stream": stream, "messages": [{ "role": "user", "content": TEXT }] }),
        ),
        Dialect::OpenaiResponses => {
            ("/v1/responses".to_owned(), json!({ "model": model, "stream": stream, "store": false, "input": TEXT }))
        }
        Dialect::Anthropic => (
            "/v1/messages".to_owned(),
            json!({
                "model": model, "stream": stream, "max_tokens": MAX_OUTPUT_TOKENS,
                "messages": [{ "role": "user", "content": TEXT }],
            }),
        ),
        Dialect::Gemini => {
            let verb = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
            (format!("/v1beta/models/{model}:{verb}"), json!({ "contents": [{ "role": "user", "parts": [{ "text": TEXT }] }] }))
        }
    }
}

fn authorized(request: RequestBuilder, dialect: Dialect, secret: Option<&SecretString>) -> RequestBuilder {
    let request = if dialect == Dialect::Anthropic { request.header("anthropic-version", ANTHROPIC_VERSION) } else { request };
    let Some(secret) = secret.map(ExposeSecret::expose_secret) else { return request };
    match dialect {
        Dialect::OpenaiChat | Dialect::OpenaiResponses => request.bearer_auth(secret),
        Dialect::Anthropic => request.header("x-api-key", secret),
        Dialect::Gemini => request.header("x-goog-api-key", secret),
    }
}

/// The whole chain of causes, without the URL, which could carry a key.
fn describe(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { "the request failed".to_owned() };
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

fn passed(name: ProbeStepName, started: Instant, detail: impl Into<String>) -> ProbeStep {
    ProbeStep { name, ok: true, duration: started.elapsed(), detail: detail.into(), fix: None }
}

fn failed(name: ProbeStepName, started: Instant, detail: impl Into<String>, fix: &str) -> ProbeStep {
    let fix = Some(fix.to_owned()).filter(|fix| !fix.is_empty());
    ProbeStep { name, ok: false, duration: started.elapsed(), detail: detail.into(), fix }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn steps(secret: &str, model: Option<&str>) -> Vec<(ProbeStepName, bool)> {
        let sim = tallygate_sim::start(tallygate_sim::SimConfig::default()).await.unwrap();
        let request = ProbeRequest {
            dialect: Dialect::Anthropic,
            base_url: format!("http://{}", sim.addr),
            proxy: tallygate_store::ProxyPool::default(),
            no_proxy: Vec::new(),
            secret: Some(SecretString::from(secret.to_owned())),
            model: model.map(str::to_owned),
            stream: true,
        };
        let steps = Probe::new(Outbound::default()).steps(&request).await;
        sim.shutdown().await;
        steps.into_iter().map(|step| (step.name, step.ok)).collect()
    }

    #[tokio::test]
    async fn a_good_upstream_passes_every_step_to_the_stream() {
        use ProbeStepName::{Auth, Dns, Model, Stream, Tcp};
        let all = [Dns, Tcp, Auth, Model, Stream].map(|step| (step, true));
        assert_eq!(steps("simulated", Some("claude-sim")).await, all);
    }

    #[tokio::test]
    async fn a_refused_credential_ends_the_test_at_the_credential() {
        assert_eq!(steps("bad-credential", Some("claude-sim")).await.last(), Some(&(ProbeStepName::Auth, false)));
    }

    #[tokio::test]
    async fn a_closed_port_ends_the_test_at_the_connection_and_says_what_to_check() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let request = ProbeRequest {
            dialect: Dialect::OpenaiChat,
            base_url: format!("http://127.0.0.1:{port}/v1"),
            proxy: tallygate_store::ProxyPool::default(),
            no_proxy: Vec::new(),
            secret: None,
            model: None,
            stream: false,
        };
        let steps = Probe::new(Outbound::default()).steps(&request).await;
        let last = steps.last().unwrap();
        assert_eq!((last.name, last.ok), (ProbeStepName::Tcp, false));
        assert!(last.fix.as_ref().unwrap().contains("port"));
    }
}
