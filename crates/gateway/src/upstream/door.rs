//! What does not change from call to call of an upstream with one of its credentials, made once for an entry of the
//! configuration.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::uri::InvalidUri;
use http::{HeaderMap, Method, Request, Response, Uri};
use secrecy::ExposeSecret as _;
use tallygate_adapter::join_url;
use tallygate_store::{CredentialEntry, UpstreamEntry};
use tallygate_types::Dialect;
use tokio::time::Instant;

use super::client::{Client, Host, Unanswered};
use super::headers::{Unsendable, call_headers, common_headers, credential_header};
use super::pool::Pool;
use super::proxy::ProxyError;
use super::wire::AnswerBody;
use crate::body::SentBody;

/// See the module.
pub struct Door {
    client: Client,
    host: Arc<Host>,
    dialect: Dialect,
    /// The path of the upstream's address, without a slash at its end.
    prefix: String,
    /// The path that was asked for last, in full: few upstreams have more than one.
    last: ArcSwapOption<(String, Uri)>,
    /// What all calls say, the credential among it.
    headers: HeaderMap,
    connect_timeout: Duration,
    pool: u64,
}

/// Of an upstream with each of its credentials, and with none.
type Doors = Box<[ArcSwapOption<Door>]>;

/// A call of its own.
pub struct ToSend<'a> {
    pub method: Method,
    /// Path and query, with its version.
    pub path: &'a str,
    pub request_id: &'a str,
    /// An answer in pieces is asked for.
    pub stream: bool,
    /// What the translation asks for.
    pub headers: &'a [(&'static str, String)],
    pub body: SentBody,
}

/// Why an upstream cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum NoDoor {
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("the address of the upstream is not a URL: {0}")]
    Address(String),
    #[error(transparent)]
    Unsendable(#[from] Unsendable),
}

impl Door {
    /// The door of the entry, if it was made for the same, else a new one.
    pub fn of(
        pool: &Pool,
        upstream: &UpstreamEntry,
        credential: Option<&Arc<CredentialEntry>>,
        connect_timeout: Duration,
    ) -> Result<Arc<Self>, NoDoor> {
        let at = match credential {
            None => Some(upstream.credentials.len()),
            Some(credential) => upstream.credentials.iter().position(|known| Arc::ptr_eq(known, credential)),
        };
        let doors = upstream.made.get::<Doors>(|| (0..=upstream.credentials.len()).map(|_| ArcSwapOption::empty()).collect());
        let known = doors.zip(at).and_then(|(doors, at)| doors.get(at));
        if let Some(door) = known.and_then(ArcSwapOption::load_full)
            && door.pool == pool.id
            && door.connect_timeout == connect_timeout
        {
            return Ok(door);
        }
        let credential = credential.map(|credential| &**credential);
        let door = Arc::new(Self::new(pool, upstream, credential, connect_timeout)?);
        if let Some(known) = known {
            known.store(Some(Arc::clone(&door)));
        }
        Ok(door)
    }

    fn new(
        pool: &Pool,
        upstream: &UpstreamEntry,
        credential: Option<&CredentialEntry>,
        connect_timeout: Duration,
    ) -> Result<Self, NoDoor> {
        let client = pool.client(upstream, credential, connect_timeout)?;
        let base = upstream.base_url.trim_end_matches('/');
        let address: Uri = base.parse().map_err(|error: InvalidUri| NoDoor::Address(error.to_string()))?;
        let host = client.host(&address).ok_or_else(|| NoDoor::Address("it names no host".to_owned()))?;
        let path_at = base.find("://").and_then(|at| base[at + 3..].find(['/', '?', '#']).map(|path| at + 3 + path));
        let credential =
            credential.map(|credential| credential_header(upstream.dialect, credential.secret.expose_secret())).transpose()?;
        Ok(Self {
            headers: common_headers(upstream.dialect, host.name(), credential),
            client,
            host,
            dialect: upstream.dialect,
            prefix: path_at.map_or_else(String::new, |at| base[at..].to_owned()),
            last: ArcSwapOption::empty(),
            connect_timeout,
            pool: pool.id,
        })
    }

    pub fn request(&self, call: ToSend<'_>) -> Result<Request<SentBody>, NoDoor> {
        let ToSend { method, path, request_id, stream, headers, body } = call;
        let target = self.target(path)?;
        let headers = call_headers(&self.headers, request_id, stream, body.len() as u64, headers)?;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = target;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Where a path of the upstream's protocol is at its address; the host is not named in it.
    fn target(&self, path: &str) -> Result<Uri, NoDoor> {
        if let Some(last) = &*self.last.load()
            && last.0 == path
        {
            return Ok(last.1.clone());
        }
        let target = Uri::try_from(join_url(&self.prefix, self.dialect, path));
        let target = target.map_err(|error| NoDoor::Address(error.to_string()))?;
        self.last.store(Some(Arc::new((path.to_owned(), target.clone()))));
        Ok(target)
    }

    /// Sends `now`, and waits for the head of an answer, but no longer than `until`.
    pub fn ask(
        &self,
        request: Request<SentBody>,
        now: Instant,
        until: Instant,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Unanswered>> + Send {
        self.client.ask(&self.host, request, now, until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::GatewayConfig;
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn a_path_stands_behind_that_of_the_address() {
        let pool = Pool::new(&GatewayConfig::default(), Metrics::new().unwrap().proxies);
        for (base, path, target) in [
            ("http://127.0.0.1:1", "/v1/chat/completions", "/v1/chat/completions"),
            ("http://127.0.0.1:1/", "/v1/chat/completions", "/v1/chat/completions"),
            ("http://127.0.0.1:1/v1/", "/v1/chat/completions", "/v1/chat/completions"),
            ("https://example.com/openai/v1", "/v1/responses?a=b", "/openai/v1/responses?a=b"),
        ] {
            let upstream = UpstreamEntry::at("u", Dialect::OpenaiChat, base);
            let door = Door::of(&pool, &upstream, None, Duration::from_secs(1)).unwrap();
            assert_eq!(door.target(path).unwrap(), target, "{base} {path}");
            assert_eq!(door.target(path).unwrap(), target, "{base} {path}");
        }
    }

    #[tokio::test]
    async fn it_is_made_once_for_an_entry_and_a_pool() {
        let pool = || Pool::new(&GatewayConfig::default(), Metrics::new().unwrap().proxies);
        let (one, other) = (pool(), pool());
        let upstream = UpstreamEntry::at("u", Dialect::OpenaiChat, "http://127.0.0.1:1");
        let of = |pool: &Pool, seconds| Door::of(pool, &upstream, None, Duration::from_secs(seconds)).unwrap();
        let first = of(&one, 1);
        assert!(Arc::ptr_eq(&first, &of(&one, 1)));
        assert!(!Arc::ptr_eq(&first, &of(&other, 1)));
        assert!(!Arc::ptr_eq(&first, &of(&one, 2)));
    }

    #[tokio::test]
    async fn each_credential_has_its_own() {
        let pool = Pool::new(&GatewayConfig::default(), Metrics::new().unwrap().proxies);
        let credentials = ["one", "two"].map(|secret| Arc::new(CredentialEntry::named(secret, secret))).to_vec();
        let upstream = UpstreamEntry { credentials, ..UpstreamEntry::at("u", Dialect::OpenaiChat, "http://127.0.0.1:1") };
        let shown = |credential| {
            let door = Door::of(&pool, &upstream, credential, Duration::from_secs(1)).unwrap();
            door.headers.get(http::header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned())
        };
        for _ in 0..2 {
            let all = [None, Some(&upstream.credentials[0]), Some(&upstream.credentials[1])].map(shown);
            assert_eq!(all, [None, Some("Bearer one".to_owned()), Some("Bearer two".to_owned())]);
        }
        // The same credential at another address.
        let moved = UpstreamEntry { base_url: "http://127.0.0.1:2/v1".into(), ..upstream.clone() };
        let door = Door::of(&pool, &moved, Some(&moved.credentials[0]), Duration::from_secs(1)).unwrap();
        assert_eq!(door.target("/v1/messages").unwrap(), "/v1/messages");
        assert_eq!(door.prefix, "/v1");
    }

    #[tokio::test]
    async fn an_address_without_a_host_is_none() {
        let pool = Pool::new(&GatewayConfig::default(), Metrics::new().unwrap().proxies);
        for base in ["", "/v1", "not a url", "http://"] {
            let upstream = UpstreamEntry::at("u", Dialect::OpenaiChat, base);
            assert!(matches!(Door::of(&pool, &upstream, None, Duration::ZERO), Err(NoDoor::Address(_))), "{base}");
        }
    }
}
