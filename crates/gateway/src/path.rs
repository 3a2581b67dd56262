//! From method, path and headers to the operation that is meant and the dialect its answer must speak.
//!
//! Clients disagree about where `/v1` belongs, so every base URL a person is likely to type works: `/v1/v1/...`, no
//! `/v1` at all, `/openai/v1`, `/anthropic`, `/gemini`, a trailing or a doubled slash.

use std::borrow::Cow;

use http::{HeaderMap, Method, header};
use tallygate_adapter::Plain;
use tallygate_types::Dialect;

use crate::limits::Purpose;

/// No base URL has more prefixes than this before the resource itself.
const MAX_PREFIXES: usize = 4;
/// A guess farther from what was asked than this is not worth naming (0 is equal, 1 is unrelated).
const MAX_SUGGESTION_DISTANCE: f64 = 0.4;

/// A path longer than this is not a misspelt endpoint, and comparing is quadratic.
const MAX_SUGGESTION_BYTES: usize = 100;

/// The endpoints as the documentation names them, for suggestions.
const ENDPOINTS: [&str; 22] = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/responses/input_tokens",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/v1/models",
    "/v1/completions",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/images/variations",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/audio/speech",
    "/v1/rerank",
    "/v1beta/models",
    "/v1beta/models/{model}:generateContent",
    "/v1beta/models/{model}:streamGenerateContent",
    "/v1beta/models/{model}:countTokens",
    "/v1beta/models/{model}:embedContent",
    "/v1beta/models/{model}:batchEmbedContents",
];

/// What other servers offer under these first segments and this one does not, and why.
const NOT_OFFERED: [(&[&str], &str); 5] = [
    (
        &["files", "uploads", "upload", "vector_stores", "containers", "cachedContents"],
        "Files and caches belong to one account of one provider, and this gateway spreads requests over many: send the \
         content in the request instead.",
    ),
    (
        &["batches", "fine_tuning"],
        "Batches and other jobs end long after the request, where they cannot be metered against a budget: send the requests \
         one by one.",
    ),
    (&["realtime"], "Sessions over WebSocket are not served: use the HTTP endpoints, which stream."),
    (
        &["assistants", "threads", "conversations", "interactions"],
        "Conversations are not kept here: send the history with each request.",
    ),
    (&["videos"], "Videos are priced by the second, and this gateway sells by the token only."),
];

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// `HEAD /` and `GET /`: is this thing alive, and what is it?
    Root,
    ChatCompletions,
    Responses,
    /// A response that was stored, by its id.
    StoredResponse {
        id: String,
        action: ResponseAction,
    },
    Messages,
    /// The three counters; only Gemini's names the model in its path.
    CountTokens {
        model: Option<String>,
    },
    /// OpenAI's.
    Embeddings,
    /// Gemini's `embedContent`, or `batchEmbedContents`.
    Embed {
        model: String,
        batch: bool,
    },
    /// What passes to an upstream of the same protocol, untranslated.
    Plain(Plain),
    /// Gemini names the model and whether to stream in the path.
    Generate {
        model: String,
        stream: bool,
    },
    ListModels,
    GetModel(String),
}

/// What is asked of a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseAction {
    /// The response itself: read or deleted.
    Resource,
    InputItems,
    Cancel,
}

impl ResponseAction {
    /// What follows the id in the path.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Resource => "",
            Self::InputItems => "/input_items",
            Self::Cancel => "/cancel",
        }
    }
}

/// An operation and the dialect in which its answer, or its error, is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub operation: Operation,
    pub dialect: Dialect,
}

/// Why a request has no endpoint. The dialect is the best guess, so that the client's SDK can read the error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoEndpoint {
    NotFound {
        dialect: Dialect,
        suggestion: Option<&'static str>,
    },
    /// It exists elsewhere; the text says why it does not here.
    NotOffered {
        dialect: Dialect,
        why: &'static str,
    },
    MethodNotAllowed {
        dialect: Dialect,
        allow: &'static str,
    },
}

impl Operation {
    /// The name in usage records, metrics and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::ChatCompletions => "chat_completions",
            Self::Responses => "responses",
            Self::StoredResponse { .. } => "stored_responses",
            Self::Messages => "messages",
            Self::Embeddings | Self::Embed { .. } => "embeddings",
            Self::CountTokens { .. } => "count_tokens",
            Self::Plain(plain) => plain.name(),
            Self::Generate { .. } => "generate_content",
            Self::ListModels | Self::GetModel(_) => "models",
        }
    }

    pub const fn purpose(&self) -> Purpose {
        match self {
            Self::CountTokens { .. } => Purpose::Counting,
            _ => Purpose::Generating,
        }
    }
}

/// Finds the endpoint of a request.
pub fn locate(method: &Method, path: &str, query: Option<&str>, headers: &HeaderMap) -> Result<Endpoint, NoEndpoint> {
    match usual(path) {
        Some(endpoint) if *method == Method::POST => Ok(endpoint),
        _ => find(method, path, query, headers),
    }
}

/// What nearly all requests ask for, as the documentation writes it: seen without taking the path apart.
fn usual(path: &str) -> Option<Endpoint> {
    let (operation, dialect) = match path {
        "/v1/chat/completions" => (Operation::ChatCompletions, Dialect::OpenaiChat),
        "/v1/responses" => (Operation::Responses, Dialect::OpenaiResponses),
        "/v1/messages" => (Operation::Messages, Dialect::Anthropic),
        "/v1/embeddings" => (Operation::Embeddings, Dialect::OpenaiChat),
        _ => return None,
    };
    Some(Endpoint { operation, dialect })
}

fn find(method: &Method, path: &str, query: Option<&str>, headers: &HeaderMap) -> Result<Endpoint, NoEndpoint> {
    let all: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let mut segments = all.as_slice();
    let mut family = None;
    for _ in 0..MAX_PREFIXES {
        let Some((first, rest)) = segments.split_first() else { break };
        match *first {
            "v1" => {}
            // The last one wins: `/v1beta/openai/...` is Google's own address of the OpenAI protocol.
            "openai" => family = Some(Dialect::OpenaiChat),
            "anthropic" => family = Some(Dialect::Anthropic),
            "gemini" | "genai" | "v1beta" | "v1alpha" => family = Some(Dialect::Gemini),
            _ => break,
        }
        segments = rest;
    }

    let listing = || family.unwrap_or_else(|| listing_dialect(query, headers));
    let (operation, dialect, allow) = match segments {
        [] => (Operation::Root, listing(), "GET, HEAD"),
        ["chat", "completions"] => (Operation::ChatCompletions, Dialect::OpenaiChat, "POST"),
        ["responses"] => (Operation::Responses, Dialect::OpenaiResponses, "POST"),
        ["responses", "input_tokens"] => (Operation::CountTokens { model: None }, Dialect::OpenaiResponses, "POST"),
        ["responses", id] => stored(id, ResponseAction::Resource, "GET, DELETE"),
        ["responses", id, "input_items"] => stored(id, ResponseAction::InputItems, "GET"),
        ["responses", id, "cancel"] => stored(id, ResponseAction::Cancel, "POST"),
        ["messages"] => (Operation::Messages, Dialect::Anthropic, "POST"),
        ["messages", "count_tokens"] => (Operation::CountTokens { model: None }, Dialect::Anthropic, "POST"),
        ["embeddings"] => (Operation::Embeddings, Dialect::OpenaiChat, "POST"),
        ["models"] => (Operation::ListModels, listing(), "GET"),
        ["models", id @ ..] => match of_model(id) {
            Some(operation) => (operation, Dialect::Gemini, "POST"),
            None if id.last().is_some_and(|last| last.contains(':')) && *method == Method::POST => {
                let verb = id.last().and_then(|last| last.rsplit(':').next()).unwrap_or_default();
                return Err(NoEndpoint::NotFound { dialect: Dialect::Gemini, suggestion: suggest_verb(verb) });
            }
            None => (Operation::GetModel(decode(&id.join("/")).into_owned()), listing(), "GET"),
        },
        _ => match Plain::at(segments) {
            Some(plain) => (Operation::Plain(plain), Dialect::OpenaiChat, "POST"),
            None => return Err(unknown(segments, family, listing())),
        },
    };
    let fits = match *method {
        Method::POST => allow == "POST",
        Method::GET => allow.starts_with("GET"),
        Method::DELETE => allow.ends_with("DELETE"),
        Method::HEAD => operation == Operation::Root,
        _ => false,
    };
    if fits { Ok(Endpoint { operation, dialect }) } else { Err(NoEndpoint::MethodNotAllowed { dialect, allow }) }
}

fn stored(id: &str, action: ResponseAction, allow: &'static str) -> (Operation, Dialect, &'static str) {
    (Operation::StoredResponse { id: decode(id).into_owned(), action }, Dialect::OpenaiResponses, allow)
}

/// `models/{model}:{verb}`. The model may itself hold slashes and colons, written out or percent-encoded.
fn of_model(id: &[&str]) -> Option<Operation> {
    let joined = id.join("/");
    let decoded = decode(&joined);
    let (model, verb) = decoded.rsplit_once(':')?;
    let model = model.strip_prefix("models/").unwrap_or(model);
    if model.is_empty() {
        return None;
    }
    let model = model.to_owned();
    Some(match verb {
        "generateContent" => Operation::Generate { model, stream: false },
        "streamGenerateContent" => Operation::Generate { model, stream: true },
        "countTokens" => Operation::CountTokens { model: Some(model) },
        "embedContent" => Operation::Embed { model, batch: false },
        "batchEmbedContents" => Operation::Embed { model, batch: true },
        _ => return None,
    })
}

/// A path without an endpoint. What stands first tells best whose client is asking.
fn unknown(segments: &[&str], family: Option<Dialect>, listing: Dialect) -> NoEndpoint {
    let first = segments.first().copied().unwrap_or_default();
    let dialect = family.unwrap_or(match first {
        "messages" => Dialect::Anthropic,
        "responses" | "conversations" => Dialect::OpenaiResponses,
        "cachedContents" | "tunedModels" | "interactions" | "upload" => Dialect::Gemini,
        _ => listing,
    });
    // `/v1/messages/batches` is a job too.
    let resource = if segments.get(1) == Some(&"batches") { "batches" } else { first };
    match NOT_OFFERED.iter().find(|(names, _)| names.contains(&resource)) {
        Some((_, why)) => NoEndpoint::NotOffered { dialect, why },
        None => NoEndpoint::NotFound { dialect, suggestion: suggest(segments) },
    }
}

/// Three vendors share `/v1/models`; the headers tell which one's client is asking.
fn listing_dialect(query: Option<&str>, headers: &HeaderMap) -> Dialect {
    let has = |name: &str| headers.get(name).is_some_and(|value| !value.is_empty());
    if has("x-goog-api-key") || query_value(query, "key").is_some_and(|key| !key.is_empty()) {
        Dialect::Gemini
    } else if has("anthropic-version") || (has("x-api-key") && !headers.contains_key(header::AUTHORIZATION)) {
        Dialect::Anthropic
    } else {
        Dialect::OpenaiChat
    }
}

/// The documented path of the verb that was likely meant.
fn suggest_verb(verb: &str) -> Option<&'static str> {
    let distance = |endpoint: &str| endpoint.rsplit_once(':').map(|(_, known)| strsim::damerau_levenshtein(known, verb));
    if verb.len() > MAX_SUGGESTION_BYTES {
        return None;
    }
    ENDPOINTS.into_iter().filter_map(|endpoint| Some((distance(endpoint)?, endpoint))).min().map(|(_, endpoint)| endpoint)
}

/// The endpoint whose documented path is closest to what was asked.
fn suggest(segments: &[&str]) -> Option<&'static str> {
    let asked = segments.join("/");
    if asked.len() > MAX_SUGGESTION_BYTES {
        return None;
    }
    ENDPOINTS
        .into_iter()
        .map(|endpoint| {
            let bare = endpoint.trim_start_matches("/v1beta").trim_start_matches("/v1").trim_start_matches('/');
            (1.0 - strsim::normalized_levenshtein(bare, &asked), endpoint)
        })
        .filter(|(distance, _)| *distance <= MAX_SUGGESTION_DISTANCE)
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, endpoint)| endpoint)
}

/// The endpoints, for an error that has no better guess.
pub fn documented() -> String {
    ENDPOINTS.join(", ")
}

/// The first value of a query parameter, percent-decoded.
pub fn query_value<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then(|| decode(value))
    })
}

/// Percent-decoding. What is not a valid escape, or not UTF-8 afterwards, stays as it was written.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if let (b'%', Some(high), Some(low)) = (byte, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            decoded.push((high * 16 + low) as u8);
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    String::from_utf8(decoded).map_or(Cow::Borrowed(text), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(method: Method, uri: &str, headers: &[(&'static str, &str)]) -> Result<Endpoint, NoEndpoint> {
        let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        locate(&method, path, query, &headers)
    }

    #[test]
    fn the_usual_way_says_what_the_general_one_does() {
        for path in ENDPOINTS {
            if let Some(endpoint) = usual(path) {
                assert_eq!(find(&Method::POST, path, None, &HeaderMap::new()), Ok(endpoint), "{path}");
            }
        }
    }

    #[test]
    fn every_base_url_a_person_types_reaches_the_same_endpoint() {
        for (operation, dialect, paths) in [
            (
                Operation::ChatCompletions,
                Dialect::OpenaiChat,
                [
                    "/v1/chat/completions",
                    "/chat/completions",
                    "/v1/v1/chat/completions",
                    "/openai/v1/chat/completions",
                    "/v1beta/openai/chat/completions",
                    "//v1//chat/completions/",
                ],
            ),
            (
                Operation::Messages,
                Dialect::Anthropic,
                [
                    "/v1/messages",
                    "/messages",
                    "/anthropic/messages",
                    "/anthropic/v1/messages",
                    "/anthropic/v1/v1/messages/",
                    "/v1/messages?beta=true",
                ],
            ),
            (
                Operation::Responses,
                Dialect::OpenaiResponses,
                ["/v1/responses", "/responses", "/v1/responses/", "/openai/v1/responses", "/openai/responses", "/v1//responses"],
            ),
        ] {
            for path in paths {
                assert_eq!(located(Method::POST, path, &[]), Ok(Endpoint { operation: operation.clone(), dialect }), "{path}");
            }
        }
    }

    #[test]
    fn a_stored_response_is_found_by_its_id() {
        let stored = |id: &str, action| {
            let operation = Operation::StoredResponse { id: id.to_owned(), action };
            Ok(Endpoint { operation, dialect: Dialect::OpenaiResponses })
        };
        for (method, path, id, action) in [
            (Method::GET, "/v1/responses/resp_1", "resp_1", ResponseAction::Resource),
            (Method::DELETE, "/responses/resp_1/", "resp_1", ResponseAction::Resource),
            (Method::GET, "/openai/v1/responses/resp%5F1/input_items?limit=2", "resp_1", ResponseAction::InputItems),
            (Method::POST, "/v1/responses/resp_1/cancel", "resp_1", ResponseAction::Cancel),
        ] {
            assert_eq!(located(method, path, &[]), stored(id, action), "{path}");
        }
        for (method, path, allow) in [
            (Method::POST, "/v1/responses/resp_1", "GET, DELETE"),
            (Method::DELETE, "/v1/responses/resp_1/input_items", "GET"),
            (Method::GET, "/v1/responses/resp_1/cancel", "POST"),
            (Method::DELETE, "/v1/models", "GET"),
        ] {
            let refused = located(method, path, &[]).unwrap_err();
            assert!(
                matches!(&refused, NoEndpoint::MethodNotAllowed { allow: known, .. } if *known == allow),
                "{path}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_gemini_path_names_the_model_and_the_stream() {
        for (uri, model, stream) in [
            ("/v1beta/models/g-3:generateContent", "g-3", false),
            ("/v1/models/g-3:streamGenerateContent?alt=sse", "g-3", true),
            ("/gemini/v1beta/models/g-3:streamGenerateContent", "g-3", true),
            ("/v1beta/models/vendor/g-3:generateContent", "vendor/g-3", false),
            ("/v1beta/models/vendor%2Fg-3:generateContent", "vendor/g-3", false),
            ("/v1beta/models/models%2Fg-3%3AgenerateContent", "g-3", false),
            ("/v1alpha/models/qwen3:8b:generateContent", "qwen3:8b", false),
        ] {
            let operation = Operation::Generate { model: model.into(), stream };
            assert_eq!(located(Method::POST, uri, &[]), Ok(Endpoint { operation, dialect: Dialect::Gemini }), "{uri}");
        }
    }

    #[test]
    fn headers_tell_whose_model_list_is_meant() {
        let bearer = ("authorization", "Bearer k");
        for (uri, headers, dialect) in [
            ("/v1/models", vec![bearer], Dialect::OpenaiChat),
            ("/v1/models", vec![], Dialect::OpenaiChat),
            ("/v1/models", vec![("x-api-key", "k")], Dialect::Anthropic),
            ("/v1/models", vec![("x-api-key", "k"), bearer], Dialect::OpenaiChat),
            ("/v1/models?limit=1000", vec![("anthropic-version", "2023-06-01"), bearer], Dialect::Anthropic),
            ("/v1/models", vec![("x-goog-api-key", "k")], Dialect::Gemini),
            ("/v1/models", vec![("x-goog-api-key", ""), bearer], Dialect::OpenaiChat),
            ("/v1/models?key=k", vec![], Dialect::Gemini),
            ("/v1beta/models", vec![bearer], Dialect::Gemini),
            ("/v1beta/openai/models", vec![bearer], Dialect::OpenaiChat),
            ("/anthropic/v1/models", vec![bearer], Dialect::Anthropic),
        ] {
            assert_eq!(
                located(Method::GET, uri, &headers),
                Ok(Endpoint { operation: Operation::ListModels, dialect }),
                "{uri} {headers:?}"
            );
        }
        assert_eq!(
            located(Method::GET, "/v1/models/vendor/m%3A1", &[bearer]),
            Ok(Endpoint { operation: Operation::GetModel("vendor/m:1".into()), dialect: Dialect::OpenaiChat })
        );
    }

    #[test]
    fn the_root_answers_probes_under_every_prefix() {
        for (method, path) in [(Method::HEAD, "/"), (Method::GET, "/"), (Method::GET, "/v1"), (Method::HEAD, "/anthropic/")] {
            assert_eq!(located(method, path, &[]).unwrap().operation, Operation::Root, "{path}");
        }
    }

    #[test]
    fn a_wrong_path_names_the_right_one_and_a_wrong_method_the_right_method() {
        for (path, suggestion) in [
            ("/v1/chat/completion", Some("/v1/chat/completions")),
            ("/v1/message", Some("/v1/messages")),
            ("/v1/image/generation", Some("/v1/images/generations")),
            ("/v1/response", Some("/v1/responses")),
            ("/v1/embedding", Some("/v1/embeddings")),
            ("/dashboard/index.html", None),
        ] {
            assert_eq!(
                located(Method::POST, path, &[]),
                Err(NoEndpoint::NotFound { dialect: Dialect::OpenaiChat, suggestion }),
                "{path}"
            );
        }
        assert_eq!(
            located(Method::POST, "/v1beta/models/g:countToken", &[]),
            Err(NoEndpoint::NotFound { dialect: Dialect::Gemini, suggestion: Some("/v1beta/models/{model}:countTokens") })
        );
        assert_eq!(
            located(Method::GET, "/v1/messages", &[]),
            Err(NoEndpoint::MethodNotAllowed { dialect: Dialect::Anthropic, allow: "POST" })
        );
        assert_eq!(
            located(Method::DELETE, "/v1/models", &[]),
            Err(NoEndpoint::MethodNotAllowed { dialect: Dialect::OpenaiChat, allow: "GET" })
        );
    }

    #[test]
    fn counting_and_embedding_have_their_paths_in_each_dialect() {
        let count = |model: Option<&str>| Operation::CountTokens { model: model.map(str::to_owned) };
        for (path, operation, dialect) in [
            ("/v1/messages/count_tokens?beta=true", count(None), Dialect::Anthropic),
            ("/messages/count_tokens", count(None), Dialect::Anthropic),
            ("/v1/responses/input_tokens", count(None), Dialect::OpenaiResponses),
            ("/v1beta/models/g:countTokens", count(Some("g")), Dialect::Gemini),
            ("/v1/models/models%2Fg:embedContent", Operation::Embed { model: "g".into(), batch: false }, Dialect::Gemini),
            ("/v1beta/models/g:batchEmbedContents", Operation::Embed { model: "g".into(), batch: true }, Dialect::Gemini),
            ("/embeddings", Operation::Embeddings, Dialect::OpenaiChat),
        ] {
            assert_eq!(located(Method::POST, path, &[]), Ok(Endpoint { operation, dialect }), "{path}");
        }
    }

    #[test]
    fn what_is_not_offered_says_so_in_the_dialect_of_its_vendor() {
        for (path, dialect, about) in [
            ("/v1/files", Dialect::OpenaiChat, "Files"),
            ("/v1/batches", Dialect::OpenaiChat, "Batches"),
            ("/v1/messages/batches", Dialect::Anthropic, "Batches"),
            ("/upload/v1beta/files", Dialect::Gemini, "Files"),
            ("/v1beta/cachedContents", Dialect::Gemini, "Files"),
            ("/v1/realtime", Dialect::OpenaiChat, "Sessions"),
            ("/v1/conversations", Dialect::OpenaiResponses, "Conversations"),
        ] {
            let Err(NoEndpoint::NotOffered { dialect: said, why }) = located(Method::POST, path, &[]) else {
                panic!("{path}");
            };
            assert!(said == dialect && why.starts_with(about), "{path}: {said} {why}");
        }
        assert_eq!(
            located(Method::POST, "/v1/messages/count_token", &[]),
            Err(NoEndpoint::NotFound { dialect: Dialect::Anthropic, suggestion: Some("/v1/messages/count_tokens") })
        );
    }

    #[test]
    fn a_broken_escape_stays_as_written() {
        assert_eq!(decode("a%2"), "a%2");
        assert_eq!(decode("a%zz%41"), "a%zzA");
        assert_eq!(decode("%ff"), "%ff");
        assert_eq!(query_value(Some("a=1&key=x%2By&key=2"), "key").as_deref(), Some("x+y"));
    }
}
