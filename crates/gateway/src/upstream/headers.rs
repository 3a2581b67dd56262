//! The header of an upstream request, built from nothing: only what is on these lists goes out.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tallygate_types::Dialect;

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("tallygate/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const ANTHROPIC_VERSION_DEFAULT: HeaderValue = HeaderValue::from_static("2023-06-01");

/// The names of each call's own words, which come after [`OWN_AT`] others.
const OWN: [HeaderName; 2] = [REQUEST_ID, header::CONTENT_LENGTH];
const OWN_AT: usize = 1;
/// Stands where each call puts its own word.
const UNSAID: HeaderValue = HeaderValue::from_static("");

/// Request headers a client may hand on to an upstream of its own dialect. Everything else stays here.
static ANTHROPIC_PASSED: [HeaderName; 2] = [ANTHROPIC_VERSION, HeaderName::from_static("anthropic-beta")];
static OPENAI_PASSED: [HeaderName; 1] = [HeaderName::from_static("openai-beta")];

/// The headers of the client that matter for translation and forwarding, as text.
#[derive(Debug, Clone, Default)]
pub struct AskedWith(pub Vec<(String, String)>);

impl AskedWith {
    /// Picks from the client's header what its dialect may hand on.
    pub fn of(client: Dialect, headers: &HeaderMap) -> Self {
        let passed: &[HeaderName] = match client {
            Dialect::Anthropic => &ANTHROPIC_PASSED,
            Dialect::OpenaiChat | Dialect::OpenaiResponses => &OPENAI_PASSED,
            Dialect::Gemini => &[],
        };
        let mut picked = Vec::new();
        for name in passed {
            for value in headers.get_all(name) {
                if let Ok(value) = value.to_str() {
                    picked.push((name.as_str().to_owned(), value.to_owned()));
                }
            }
        }
        Self(picked)
    }
}

/// A credential or a header of the translation that cannot stand in an HTTP header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` holds a character that no HTTP header may hold")]
pub struct Unsendable(pub String);

/// What the headers of all calls with one credential have in common. It is copied for each, which costs less than to put the
/// names in their places again: so those that are of a single call have theirs already.
pub fn common_headers(upstream: Dialect, host: HeaderValue, credential: Option<(HeaderName, HeaderValue)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, host);
    for name in OWN {
        headers.insert(name, UNSAID);
    }
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(header::ACCEPT, JSON);
    headers.insert(header::USER_AGENT, USER_AGENT);
    if upstream == Dialect::Anthropic {
        headers.insert(ANTHROPIC_VERSION, ANTHROPIC_VERSION_DEFAULT);
    }
    headers.extend(credential);
    headers
}

/// The header of one call. `translated` are the headers that the translation asks for, the client's among them where it speaks
/// the upstream's dialect.
pub fn call_headers(
    common: &HeaderMap,
    request_id: &str,
    stream: bool,
    body_bytes: u64,
    translated: &[(&'static str, String)],
) -> Result<HeaderMap, Unsendable> {
    let mut headers = common.clone();
    let (id, length) = (HeaderValue::from_str(request_id).ok(), (body_bytes > 0).then(|| body_bytes.into()));
    let unsaid = [id.is_none(), length.is_none()];
    // As long as nothing was taken out, the names stand in the order in which they came: none need be looked for.
    for (place, value) in headers.values_mut().skip(OWN_AT).zip([id, length]) {
        *place = value.unwrap_or(UNSAID);
    }
    for (name, _) in OWN.into_iter().zip(unsaid).filter(|(_, unsaid)| *unsaid) {
        headers.remove(name);
    }
    if stream {
        headers.insert(header::ACCEPT, EVENT_STREAM);
    }
    for (name, value) in translated {
        put(&mut headers, name, value)?;
    }
    Ok(headers)
}

/// The header that shows a credential to an upstream.
pub fn credential_header(upstream: Dialect, secret: &str) -> Result<(HeaderName, HeaderValue), Unsendable> {
    let (name, value) = match upstream {
        Dialect::OpenaiChat | Dialect::OpenaiResponses => {
            (header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {secret}")))
        }
        Dialect::Anthropic => (API_KEY, HeaderValue::from_str(secret)),
        Dialect::Gemini => (GOOG_API_KEY, HeaderValue::from_str(secret)),
    };
    let mut value = value.map_err(|_| Unsendable("the credential".to_owned()))?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn put(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Unsendable> {
    let unsendable = || Unsendable(name.to_owned());
    let value = HeaderValue::from_str(value).map_err(|_| unsendable())?;
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unsendable())?;
    if name == header::CONTENT_TYPE || name == header::ACCEPT || name == ANTHROPIC_VERSION {
        headers.insert(name, value);
    } else {
        headers.append(name, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_headers() -> HeaderMap {
        [
            ("authorization", "Bearer sk-tg1_secret"),
            ("x-api-key", "sk-tg1_secret"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "10.0.0.1"),
            ("anthropic-version", "2025-01-01"),
            ("anthropic-beta", "one"),
            ("anthropic-beta", "two"),
            ("openai-organization", "org"),
            ("x-stainless-lang", "python"),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
    }

    const HOST: HeaderValue = HeaderValue::from_static("example.com");

    fn sent(upstream: Dialect, translated: &AskedWith) -> Vec<(String, String)> {
        let known = |name: &str| ANTHROPIC_PASSED.iter().map(HeaderName::as_str).find(|known| *known == name).unwrap();
        let translated: Vec<_> = translated.0.iter().map(|(name, value)| (known(name), value.clone())).collect();
        let credential = credential_header(upstream, "upstream-key").unwrap();
        let common = common_headers(upstream, HOST, Some(credential));
        let headers = call_headers(&common, "req_1", false, 17, &translated).unwrap();
        let mut sent: Vec<_> =
            headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        sent.sort();
        sent
    }

    fn own(rest: &[(&str, &str)]) -> Vec<(String, String)> {
        let agent = concat!("tallygate/", env!("CARGO_PKG_VERSION"));
        let common = [
            ("accept", "application/json"),
            ("content-length", "17"),
            ("content-type", "application/json"),
            ("host", "example.com"),
            ("user-agent", agent),
            ("x-request-id", "req_1"),
        ];
        let mut all: Vec<_> = common.iter().chain(rest).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        all.sort();
        all
    }

    #[test]
    fn nothing_of_the_client_is_picked_but_what_is_listed() {
        let picked = |dialect| AskedWith::of(dialect, &client_headers()).0;
        let text = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let anthropic = text(&[("anthropic-version", "2025-01-01"), ("anthropic-beta", "one"), ("anthropic-beta", "two")]);
        assert_eq!(picked(Dialect::Anthropic), anthropic);
        assert_eq!(picked(Dialect::OpenaiChat), text(&[]));
        assert_eq!(picked(Dialect::Gemini), text(&[]));
    }

    #[test]
    fn the_credential_stands_where_the_dialect_wants_it() {
        let none = AskedWith::default();
        assert_eq!(sent(Dialect::OpenaiChat, &none), own(&[("authorization", "Bearer upstream-key")]));
        assert_eq!(sent(Dialect::OpenaiResponses, &none), own(&[("authorization", "Bearer upstream-key")]));
        assert_eq!(sent(Dialect::Gemini, &none), own(&[("x-goog-api-key", "upstream-key")]));
        assert_eq!(sent(Dialect::Anthropic, &none), own(&[("anthropic-version", "2023-06-01"), ("x-api-key", "upstream-key")]));
    }

    #[test]
    fn the_clients_version_of_a_protocol_is_kept() {
        let asked = AskedWith::of(Dialect::Anthropic, &client_headers());
        assert_eq!(
            sent(Dialect::Anthropic, &asked),
            own(&[
                ("anthropic-version", "2025-01-01"),
                ("anthropic-beta", "one"),
                ("anthropic-beta", "two"),
                ("x-api-key", "upstream-key"),
            ])
        );
    }

    #[test]
    fn an_upstream_without_credentials_gets_none_and_a_stream_is_asked_for_as_such() {
        let common = common_headers(Dialect::OpenaiChat, HOST, None);
        let headers = call_headers(&common, "r", true, 1, &[]).unwrap();
        assert!(!headers.contains_key(header::AUTHORIZATION));
        assert_eq!(headers[header::ACCEPT], "text/event-stream");
    }

    #[test]
    fn what_has_no_body_tells_no_length() {
        let common = common_headers(Dialect::OpenaiChat, HOST, None);
        let headers = call_headers(&common, "r", false, 0, &[]).unwrap();
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "content-type", "host", "user-agent", "x-request-id"]);
    }

    #[test]
    fn a_secret_with_a_line_break_is_never_sent() {
        let refused = credential_header(Dialect::Gemini, "a\r\nb");
        assert_eq!(refused, Err(Unsendable("the credential".into())));
    }
}
