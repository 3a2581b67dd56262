//! A notification as a POST of JSON.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use aws_lc_rs::hmac;
use reqwest::{Client, header};
use tallygate_billing::alerts::Notification;
use tallygate_gateway::{is_metadata, is_public};
use tallygate_types::Timestamp;
use tokio::net::lookup_host;
use tokio::time::timeout;
use url::{Host, Url};

use crate::config::{ConfigError, Webhook};

const DNS_TIMEOUT: Duration = Duration::from_secs(5);
/// For a whole attempt, after its host is resolved.
const HTTP_TIMEOUT: Duration = Duration::from_secs(10);
const SIGNATURE_HEADER: &str = "x-tallygate-signature";
const EVENT_HEADER: &str = "x-tallygate-event-id";
const USER_AGENT: &str = concat!("tallygate/", env!("CARGO_PKG_VERSION"));

/// Where it goes, and what it is signed with.
pub struct Hook {
    url: Url,
    key: hmac::Key,
    /// The host may be private.
    is_private: bool,
}

impl Hook {
    pub fn new(config: &Webhook) -> Result<Self, ConfigError> {
        let (url, secret) = config.resolve()?;
        let is_private = url.host_str().is_some_and(|host| config.is_private(host));
        Ok(Self { url, key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), is_private })
    }

    /// Sends it, signed as of `at`. No redirect is followed and no proxy used: both would lead where nobody looked.
    pub async fn send(&self, notification: &Notification, at: Timestamp) -> Result<(), String> {
        let addresses = self.addresses().await?;
        let body = serde_json::to_vec(&notification.event).map_err(|error| error.to_string())?;
        let mut builder =
            Client::builder().timeout(HTTP_TIMEOUT).redirect(reqwest::redirect::Policy::none()).no_proxy().user_agent(USER_AGENT);
        if let Some(Host::Domain(name)) = self.url.host() {
            // To an address that was judged: nothing resolves the name again.
            builder = builder.resolve_to_addrs(name, &addresses);
        }
        // The URL may hold a token; what is said of a failure is kept and shown.
        let said = |error: reqwest::Error| error.without_url().to_string();
        let request = builder.build().map_err(said)?.post(self.url.clone());
        let request = request
            .header(header::CONTENT_TYPE, "application/json")
            .header(SIGNATURE_HEADER, self.sign(&body, at))
            .header(EVENT_HEADER, notification.id.to_string());
        let status = request.body(body).send().await.map_err(said)?.status();
        if status.is_success() { Ok(()) } else { Err(format!("the receiver answered {}", status.as_u16())) }
    }

    /// `t=SECONDS,v1=HEX` of the HMAC-SHA-256 of `SECONDS.BODY`: who knows the secret can tell that it is ours, and of now.
    fn sign(&self, body: &[u8], at: Timestamp) -> String {
        const MICROS: i64 = 1_000_000;
        let seconds = (at.micros() / MICROS).to_string();
        let mut context = hmac::Context::with_key(&self.key);
        context.update(seconds.as_bytes());
        context.update(b".");
        context.update(body);
        format!("t={seconds},v1={}", hex::encode(context.sign()))
    }

    /// All addresses of the host, none of which is where nothing is to be sent.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let port = self.url.port_or_known_default().ok_or("the URL has no port")?;
        let addresses: Vec<SocketAddr> = match self.url.host().ok_or("the URL has no host")? {
            Host::Ipv4(v4) => vec![(v4, port).into()],
            Host::Ipv6(v6) => vec![(v6, port).into()],
            Host::Domain(name) => {
                let found = timeout(DNS_TIMEOUT, lookup_host((name, port))).await;
                let found = found.map_err(|_| "its host was not resolved in time".to_owned())?;
                found.map_err(|_| "its host has no address".to_owned())?.collect()
            }
        };
        if addresses.is_empty() {
            return Err("its host has no address".to_owned());
        }
        match addresses.iter().find(|address| !self.may_reach(address.ip())) {
            None => Ok(addresses),
            Some(_) => Err("its host is private; if it may be reached, list it in alerts.webhook.private_hosts".to_owned()),
        }
    }

    fn may_reach(&self, address: IpAddr) -> bool {
        !is_metadata(address) && (self.is_private || is_public(address))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::config::SecretRef;

    fn hook(url: &str, private_hosts: &[&str]) -> Hook {
        let secret = SecretRef::Literal(SecretString::from("a secret of the test"));
        let private_hosts = private_hosts.iter().map(|host| (*host).to_owned()).collect();
        Hook::new(&Webhook { url: url.to_owned(), secret, private_hosts }).unwrap()
    }

    /// Made with Python's `hmac`: what receivers check today must hold tomorrow.
    #[test]
    fn a_signature_is_of_the_time_and_the_body() {
        let signed = hook("https://a.example", &[]).sign(b"{\"id\":1}", Timestamp::from_micros(1_763_812_800_999_999));
        assert_eq!(signed, "t=1763812800,v1=c1469d3c6875b28ec9bc92f37ed18bc4cd0ad2bc328a625e94ee124fb439d15d");
    }

    #[tokio::test]
    async fn what_is_private_is_reached_only_if_it_is_listed_and_metadata_never() {
        for (url, listed, reached) in [
            ("https://127.0.0.1/x", &[][..], false),
            ("https://localhost/x", &[], false),
            ("https://[::1]/x", &[], false),
            ("https://10.0.0.1/x", &[], false),
            ("https://127.0.0.1/x", &["127.0.0.1"], true),
            ("https://localhost/x", &["LOCALHOST"], true),
            ("https://169.254.169.254/x", &["169.254.169.254"], false),
            ("https://8.8.8.8/x", &[], true),
        ] {
            assert_eq!(hook(url, listed).addresses().await.is_ok(), reached, "{url} {listed:?}");
        }
    }
}
