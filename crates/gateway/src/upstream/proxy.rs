//! Outbound proxies: what a URL of one means, and how each is doing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use tallygate_types::NoProxyError;
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

/// After its first fault a proxy is left alone this long, and twice as long after each that follows.
const FIRST_COOLDOWN: Duration = Duration::from_millis(500);
const MAX_COOLDOWN: Duration = Duration::from_secs(30);
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;
const SOCKS_PORT: u16 = 1080;

/// The outbound proxy of an upstream cannot be used. The upstream is not reached some other way instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error("the proxy address is not a URL; write it like `http://proxy.example:3128` or `socks5://127.0.0.1:1080`")]
    NotAUrl,
    #[error(
        "proxies of the kind `{0}://` are not supported; use http://, https:// or socks5:// (socks5h:// resolves names at the proxy)"
    )]
    UnsupportedScheme(String),
    #[error("the proxy's user name or password holds a character that cannot be sent, or is longer than 255 bytes")]
    Userinfo,
    #[error("no_proxy: {0}")]
    NoProxy(#[from] NoProxyError),
}

/// How a proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// CONNECT.
    Http,
    /// CONNECT inside TLS.
    Https,
    /// RFC 1928; names are resolved here, or at the proxy (`socks5h`).
    Socks { resolves_here: bool },
}

/// User name and password for a proxy.
pub struct Login {
    pub user: String,
    pub password: Zeroizing<String>,
}

/// One proxy, shared by every way that leads through it.
pub struct Proxy {
    /// The URL without user name and password: for errors, metrics and people.
    pub shown: String,
    pub speech: Speech,
    /// Without brackets.
    pub host: String,
    pub port: u16,
    pub login: Option<Login>,
    condition: Mutex<Condition>,
}

/// Touched when a connection is opened, never for a request on an open one.
#[derive(Debug, Default)]
struct Condition {
    faults_in_a_row: u32,
    until: Option<Instant>,
    /// The cooldown is over and one connection finds out whether the fault is.
    is_probed: bool,
    /// The last fault took its whole time to show: it is not worth a second request's wait.
    hung: bool,
    opened: u64,
    failed: u64,
    last_error: Option<String>,
    last_connect: Option<Duration>,
}

/// Whether a proxy may be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Yes,
    /// Its cooldown is over: this one connection is the probe.
    Probe,
    /// It refused lately, and fast. Worth asking only where no other proxy is left.
    Refused,
    /// It kept others waiting lately. Not asked before its cooldown is over.
    Hung,
}

/// A proxy as it stands, for the admin API and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProxyStanding {
    /// The URL without its password.
    pub proxy: String,
    /// `ready`, `cooling` or `probing`.
    pub state: &'static str,
    /// Until it is tried again.
    pub cooling_for_ms: Option<u64>,
    pub faults_in_a_row: u32,
    pub connections_opened: u64,
    pub connections_failed: u64,
    pub connect_ms: Option<u64>,
    pub last_error: Option<String>,
}

impl Proxy {
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        let url = Url::parse(text).map_err(|_| ProxyError::NotAUrl)?;
        let (speech, default_port) = match url.scheme() {
            "http" => (Speech::Http, HTTP_PORT),
            "https" => (Speech::Https, HTTPS_PORT),
            "socks5" => (Speech::Socks { resolves_here: true }, SOCKS_PORT),
            "socks5h" => (Speech::Socks { resolves_here: false }, SOCKS_PORT),
            other => return Err(ProxyError::UnsupportedScheme(other.to_owned())),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(ProxyError::NotAUrl)?;
        let port = url.port().unwrap_or(default_port);
        let (user, password) = (decode(url.username())?, Zeroizing::new(decode(url.password().unwrap_or_default())?));
        let is_sendable = |text: &str| u8::try_from(text.len()).is_ok() && !text.chars().any(char::is_control);
        if !is_sendable(&user) || !is_sendable(&password) || (speech_is_http(speech) && user.contains(':')) {
            return Err(ProxyError::Userinfo);
        }
        Ok(Self {
            shown: format!("{}://{host}:{port}", url.scheme()),
            speech,
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            login: (!user.is_empty()).then_some(Login { user, password }),
            condition: Mutex::default(),
        })
    }

    /// Whether it is this one's turn; a probe must end with [`Self::opened`], [`Self::faulty`] or [`Self::unprobed`].
    pub fn turn(&self, now: Instant) -> Turn {
        let mut condition = self.condition();
        let Some(until) = condition.until else { return Turn::Yes };
        if now < until || condition.is_probed {
            return if condition.hung { Turn::Hung } else { Turn::Refused };
        }
        condition.is_probed = true;
        Turn::Probe
    }

    /// A connection through it stands.
    pub fn opened(&self, after: Duration) {
        let mut condition = self.condition();
        let before = std::mem::take(&mut *condition);
        if before.until.is_some() {
            tracing::info!(proxy = %self.shown, "the outbound proxy works again");
        }
        *condition = Condition {
            opened: before.opened + 1,
            failed: before.failed,
            last_error: before.last_error,
            last_connect: Some(after),
            ..Condition::default()
        };
    }

    /// It failed by itself: it is left alone for a while, longer each time.
    pub fn faulty(&self, why: &str, hung: bool, now: Instant) {
        let mut condition = self.condition();
        // Connections that were under way when it fell do not make the wait longer.
        if condition.is_probed || condition.until.is_none_or(|until| until <= now) {
            let doublings = condition.faults_in_a_row.min(16);
            condition.until = Some(now + (FIRST_COOLDOWN * 2_u32.pow(doublings)).min(MAX_COOLDOWN));
            condition.faults_in_a_row += 1;
            tracing::warn!(proxy = %self.shown, why, "an outbound proxy fails; it is passed over for a while");
        }
        condition.is_probed = false;
        condition.hung = hung;
        condition.failed += 1;
        condition.last_error = Some(why.to_owned());
    }

    /// It did not get through, which may be the fault of what is behind it.
    pub fn could_not_reach(&self, why: &str) {
        let mut condition = self.condition();
        condition.is_probed = false;
        condition.failed += 1;
        condition.last_error = Some(why.to_owned());
    }

    /// A probe ended without a verdict: its client left.
    pub fn unprobed(&self) {
        self.condition().is_probed = false;
    }

    pub fn standing(&self, now: Instant) -> ProxyStanding {
        let condition = self.condition();
        let left = condition.until.and_then(|until| until.checked_duration_since(now)).filter(|left| !left.is_zero());
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        ProxyStanding {
            proxy: self.shown.clone(),
            state: match (condition.until, condition.is_probed || left.is_none()) {
                (None, _) => "ready",
                (Some(_), true) => "probing",
                (Some(_), false) => "cooling",
            },
            cooling_for_ms: left.map(millis),
            faults_in_a_row: condition.faults_in_a_row,
            connections_opened: condition.opened,
            connections_failed: condition.failed,
            connect_ms: condition.last_connect.map(millis),
            last_error: condition.last_error.clone(),
        }
    }

    fn condition(&self) -> MutexGuard<'_, Condition> {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Login {
    /// The value of `Proxy-Authorization`.
    pub fn basic(&self) -> Zeroizing<String> {
        let pair = Zeroizing::new(format!("{}:{}", self.user, &*self.password));
        Zeroizing::new(format!("Basic {}", BASE64.encode(pair.as_bytes())))
    }
}

const fn speech_is_http(speech: Speech) -> bool {
    matches!(speech, Speech::Http | Speech::Https)
}

fn decode(text: &str) -> Result<String, ProxyError> {
    let pair = format!("v={}", text.replace('+', "%2B"));
    let decoded = url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned());
    decoded.filter(|text| !text.contains('\u{fffd}')).ok_or(ProxyError::Userinfo)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<(String, String, u16), ProxyError> {
        Proxy::parse(text).map(|proxy| (proxy.shown, proxy.host, proxy.port))
    }

    #[test]
    fn a_proxy_is_shown_without_its_login_and_refused_where_it_cannot_be_used() {
        let shown = |text| parsed(text).map(|(shown, ..)| shown);
        assert_eq!(shown("http://127.0.0.1:3128"), Ok("http://127.0.0.1:3128".into()));
        assert_eq!(shown("http://user:p%40ss@proxy.example"), Ok("http://proxy.example:80".into()));
        assert_eq!(shown("https://user:x@proxy.example"), Ok("https://proxy.example:443".into()));
        assert_eq!(shown("socks5h://user:pass@127.0.0.1"), Ok("socks5h://127.0.0.1:1080".into()));
        assert_eq!(parsed("socks5://[::1]:9").map(|(_, host, port)| (host, port)), Ok(("::1".into(), 9)));
        assert_eq!(shown("socks4://127.0.0.1:1080"), Err(ProxyError::UnsupportedScheme("socks4".into())));
        assert_eq!(shown("127.0.0.1:1080"), Err(ProxyError::NotAUrl));
        assert_eq!(shown("http://a%0d%0ab:c@h"), Err(ProxyError::Userinfo));
        assert_eq!(shown(&format!("socks5://{}:c@h", "a".repeat(256))), Err(ProxyError::Userinfo));
    }

    #[test]
    fn a_login_is_percent_decoded() {
        let login = Proxy::parse("http://us%20er:p%40s+s@h").unwrap().login.unwrap();
        assert_eq!((login.user.as_str(), login.password.as_str()), ("us er", "p@s+s"));
        assert_eq!(login.basic().as_str(), format!("Basic {}", BASE64.encode("us er:p@s+s")));
    }

    #[test]
    fn cooldowns_grow_a_probe_is_one_and_success_ends_them() {
        let proxy = Proxy::parse("http://127.0.0.1:1").unwrap();
        let start = Instant::now();
        assert_eq!(proxy.turn(start), Turn::Yes);
        proxy.faulty("refused", false, start);
        proxy.faulty("refused", false, start);
        assert_eq!(proxy.turn(start), Turn::Refused);
        assert_eq!(proxy.standing(start).cooling_for_ms, Some(500));
        let later = start + FIRST_COOLDOWN;
        assert_eq!((proxy.turn(later), proxy.turn(later)), (Turn::Probe, Turn::Refused));
        proxy.faulty("no answer", true, later);
        assert_eq!(proxy.turn(later), Turn::Hung);
        assert_eq!(proxy.standing(later).cooling_for_ms, Some(1_000));
        let last = later + 2 * FIRST_COOLDOWN;
        assert_eq!(proxy.turn(last), Turn::Probe);
        proxy.unprobed();
        assert_eq!(proxy.turn(last), Turn::Probe);
        proxy.opened(Duration::from_millis(3));
        assert_eq!(proxy.turn(last), Turn::Yes);
        let standing = proxy.standing(last);
        assert_eq!((standing.state, standing.connections_opened, standing.connections_failed), ("ready", 1, 3));
        assert_eq!((standing.faults_in_a_row, standing.connect_ms), (0, Some(3)));
    }
}
