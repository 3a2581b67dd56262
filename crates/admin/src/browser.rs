//! What keeps other sites out: proof of origin for writes, and the headers that bind a browser.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use url::{Host, Url};

use crate::problem::{Problem, Result};

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Styles may be inline because the dashboard's component library sets them; scripts never are.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; font-src 'self' data:; manifest-src 'self'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

const SECURITY_HEADERS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Sets the headers every answer of this listener carries.
pub fn protect(headers: &mut HeaderMap) {
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Whether the method may change something.
pub fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Refuses a write a foreign page could have caused. `ambient` says that the request carries cookies, which a browser adds
/// by itself; then proof of origin is required. Without cookies (a program signing in) nothing may speak against it.
pub fn check_origin(headers: &HeaderMap, public_origin: &str, ambient: bool) -> Result<()> {
    let allowed = match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
        Some(site) => site == b"same-origin" || site == b"none",
        None => match headers.get(header::ORIGIN) {
            Some(origin) => is_own_origin(origin, headers, public_origin),
            None => !ambient,
        },
    };
    if allowed {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "cross_site_request",
        "A write with a session must come from the dashboard's own origin. Programs send `Authorization: Bearer tgadm1_…` instead.",
    ))
}

/// The configured origin, or the host the request was sent to, which a foreign page cannot choose.
fn is_own_origin(origin: &HeaderValue, headers: &HeaderMap, public_origin: &str) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let named = origin.split_once("://").map(|(_, rest)| rest);
    origin == public_origin || (named.is_some() && named == host)
}

/// Refuses to sign a browser in where it would not keep the cookies: over plain HTTP, except on the machine itself.
pub fn check_cookies_will_stick(headers: &HeaderMap, public_origin: &str) -> Result<()> {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or(public_origin);
    let Ok(url) = Url::parse(origin) else { return Ok(()) };
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => true,
    };
    if url.scheme() == "https" || is_loopback {
        return Ok(());
    }
    Err(Problem::bad_request(
        "insecure_origin",
        format!(
            "Browsers keep no session from `{origin}`, which is plain HTTP. Put TLS in front of it, or reach it as \
             http://127.0.0.1 through `ssh -L`."
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "https://gate.example.com";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_write_with_cookies_needs_proof_of_origin() {
        let check = |pairs: &[_]| check_origin(&headers(pairs), OWN, true).is_ok();
        assert!(check(&[("sec-fetch-site", "same-origin")]));
        assert!(check(&[("sec-fetch-site", "none")]));
        assert!(check(&[("origin", OWN)]));
        assert!(check(&[("origin", "http://127.0.0.1:8081"), ("host", "127.0.0.1:8081")]));
        assert!(!check(&[]));
        assert!(!check(&[("sec-fetch-site", "cross-site")]));
        assert!(!check(&[("sec-fetch-site", "same-site"), ("origin", OWN)]));
        assert!(!check(&[("origin", "https://evil.example"), ("host", "gate.example.com")]));
        assert!(!check(&[("origin", "null"), ("host", "gate.example.com")]));
    }

    #[test]
    fn a_program_without_cookies_may_sign_in_but_a_foreign_page_may_not() {
        assert!(check_origin(&HeaderMap::new(), OWN, false).is_ok());
        assert!(check_origin(&headers(&[("sec-fetch-site", "cross-site")]), OWN, false).is_err());
    }

    #[test]
    fn plain_http_is_refused_but_on_the_machine_itself() {
        let check =
            |origin| check_cookies_will_stick(&headers(&[("origin", origin)]), OWN).map_err(|problem| problem.code.clone());
        assert_eq!(check("http://10.0.0.5:8081"), Err("insecure_origin".to_owned()));
        for fine in ["http://127.0.0.1:8081", "http://localhost:8081", "http://[::1]:8081", "https://gate.example.com"] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
    }
}
