//! Which dialect and operation a request is for, by its method, path and headers.

use http::{HeaderMap, Method};

use crate::dialect::{Dialect, Framing};

/// What is asked of the simulated provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Generate,
    Embeddings,
    CountTokens,
    Models,
    Unknown,
}

impl Operation {
    /// The name the ledger uses.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Generate => "generate",
            Self::Embeddings => "embeddings",
            Self::CountTokens => "count_tokens",
            Self::Models => "models",
            Self::Unknown => "unknown",
        }
    }
}

/// What the path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub dialect: Dialect,
    pub operation: Operation,
    /// The model that the path names (Gemini).
    pub model: Option<String>,
    /// The verb after the model (Gemini).
    pub verb: String,
    /// The path asks for a stream (Gemini).
    pub stream: bool,
    pub framing: Framing,
}

/// Reads the path. Whatever stands before the dialect's own last segments is not looked at.
pub(crate) fn route(method: &Method, path: &str, query: &str, headers: &HeaderMap) -> Route {
    let plain =
        |dialect, operation| Route { dialect, operation, model: None, verb: String::new(), stream: false, framing: Framing::Sse };
    if let Some(found) = gemini(method, path, query) {
        return found;
    }
    let post = method == Method::POST;
    let operations = [
        ("/chat/completions", Dialect::OpenaiChat, Operation::Generate),
        ("/embeddings", Dialect::OpenaiChat, Operation::Embeddings),
        ("/responses", Dialect::OpenaiResponses, Operation::Generate),
        ("/responses/input_tokens", Dialect::OpenaiResponses, Operation::CountTokens),
        ("/messages", Dialect::Anthropic, Operation::Generate),
        ("/messages/count_tokens", Dialect::Anthropic, Operation::CountTokens),
    ];
    for (end, dialect, operation) in operations {
        if post && path.ends_with(end) {
            return plain(dialect, operation);
        }
    }
    let is_gemini = path.starts_with("/v1beta") || headers.contains_key("x-goog-api-key");
    let is_anthropic = headers.contains_key("anthropic-version") || headers.contains_key("x-api-key");
    let dialect = match (is_gemini, is_anthropic) {
        (true, _) => Dialect::Gemini,
        (_, true) => Dialect::Anthropic,
        _ => Dialect::OpenaiChat,
    };
    if method == Method::GET && path.ends_with("/models") {
        return plain(dialect, Operation::Models);
    }
    plain(dialect, Operation::Unknown)
}

/// `…/models/{model}:{verb}`, where the model may contain slashes, plain or encoded, and colons.
fn gemini(method: &Method, path: &str, query: &str) -> Option<Route> {
    if method != Method::POST {
        return None;
    }
    let decoded = percent_decoded(path);
    let (_, rest) = decoded.split_once("/models/")?;
    let (model, verb) = rest.rsplit_once(':')?;
    let operation = match verb {
        "generateContent" | "streamGenerateContent" => Operation::Generate,
        "embedContent" | "batchEmbedContents" => Operation::Embeddings,
        "countTokens" => Operation::CountTokens,
        _ => return None,
    };
    let sse = query.split('&').any(|pair| matches!(pair, "alt=sse" | "$alt=sse" | "%24alt=sse"));
    Some(Route {
        dialect: Dialect::Gemini,
        operation,
        model: Some(model.to_owned()),
        verb: verb.to_owned(),
        stream: verb == "streamGenerateContent",
        framing: if sse { Framing::Sse } else { Framing::JsonArray },
    })
}

/// Undoes `%XX`; what is no valid escape stays as it is.
fn percent_decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| path.get(at + 1..at + 3)).flatten();
        if let Some(byte) = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The credential in the header that the dialect itself uses, if it is not empty.
pub(crate) fn credential(dialect: Dialect, headers: &HeaderMap, query: &str) -> Option<String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = || header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let found = match dialect {
        Dialect::OpenaiChat | Dialect::OpenaiResponses => bearer(),
        Dialect::Anthropic => header("x-api-key").or_else(bearer),
        Dialect::Gemini => header("x-goog-api-key")
            .filter(|key| !key.is_empty())
            .or_else(|| query.split('&').find_map(|pair| pair.strip_prefix("key=")))
            // Google's OpenAI-compatible and OAuth callers.
            .or_else(bearer),
    };
    found.map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned)
}

/// The path and query as the ledger shows them: a key in the query is masked.
pub(crate) fn shown(path: &str, query: &str) -> String {
    if query.is_empty() {
        return path.to_owned();
    }
    let pairs: Vec<&str> = query.split('&').map(|pair| if pair.starts_with("key=") { "key=…" } else { pair }).collect();
    format!("{path}?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(path: &str, query: &str) -> Route {
        route(&Method::POST, path, query, &HeaderMap::new())
    }

    #[test]
    fn gemini_models_may_hold_slashes_and_colons() {
        for path in ["/v1beta/models/p/x-1:generateContent", "/v1/models/p%2Fx-1:generateContent"] {
            assert_eq!(post(path, "").model.as_deref(), Some("p/x-1"));
        }
        let faulty = post("/v1beta/models/gemini-sim:429:streamGenerateContent", "alt=sse");
        assert_eq!((faulty.model.as_deref(), faulty.stream, faulty.framing), (Some("gemini-sim:429"), true, Framing::Sse));
        assert_eq!(post("/v1beta/models/m:streamGenerateContent", "").framing, Framing::JsonArray);
    }

    #[test]
    fn other_dialects_are_known_by_their_last_segments() {
        assert_eq!(post("/v1/chat/completions", "").dialect, Dialect::OpenaiChat);
        assert_eq!(post("/v1/messages", "beta=true").dialect, Dialect::Anthropic);
        assert_eq!(post("/v1/messages/count_tokens", "").operation, Operation::CountTokens);
        assert_eq!(post("/openai/v1/responses", "").dialect, Dialect::OpenaiResponses);
        assert_eq!(post("/nowhere", "").operation, Operation::Unknown);
    }

    #[test]
    fn a_listing_has_the_shape_of_its_headers() {
        let mut headers = HeaderMap::new();
        assert_eq!(route(&Method::GET, "/v1/models", "", &headers).dialect, Dialect::OpenaiChat);
        assert_eq!(route(&Method::GET, "/v1beta/models", "", &headers).dialect, Dialect::Gemini);
        headers.insert("anthropic-version", "2023-06-01".parse().expect("a value"));
        assert_eq!(route(&Method::GET, "/v1/models", "", &headers).dialect, Dialect::Anthropic);
    }

    #[test]
    fn each_dialect_has_its_own_credential_header() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer sk-1".parse().expect("a value"));
        headers.insert("x-goog-api-key", "".parse().expect("a value"));
        assert_eq!(credential(Dialect::OpenaiChat, &headers, "").as_deref(), Some("sk-1"));
        assert_eq!(credential(Dialect::Gemini, &HeaderMap::new(), "alt=sse&key=k").as_deref(), Some("k"));
        assert_eq!(credential(Dialect::Anthropic, &HeaderMap::new(), ""), None);
        assert_eq!(shown("/a", "alt=sse&key=k"), "/a?alt=sse&key=…");
    }
}
