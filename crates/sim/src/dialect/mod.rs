//! The four dialects, one file each: how a request is read, how an answer, its stream and its errors are written.
//!
//! Written from the vendors' documents and recorded traffic, not from the gateway's own translation, so that the two
//! can disagree.

mod anthropic;
mod chat;
mod count;
mod embeddings;
mod gemini;
mod models;
mod responses;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use count::count_tokens;
pub(crate) use embeddings::embed;
pub(crate) use models::list_models;

use crate::answer::Answer;
use crate::conversation::Ask;
use crate::script;

/// Seconds a rate-limited caller is told to wait, unless a rule says otherwise.
pub(crate) const RETRY_AFTER_SECONDS: u64 = 1;

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    OpenaiChat,
    OpenaiResponses,
    Anthropic,
    Gemini,
}

/// How a Gemini stream is framed; the other dialects always send server-sent events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Sse,
    JsonArray,
}

/// What makes one answer differ from the next: its number, time and ids.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    /// Number of the request in the ledger.
    pub seq: u64,
    /// Unix time in seconds.
    pub created: u64,
    /// The id the simulated provider gives the request.
    pub request_id: String,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// 400: the request is wrong; `param` names the field.
    Invalid { message: String, param: Option<String>, code: Option<&'static str> },
    /// 401: no credential in the dialect's own header.
    NoCredential,
    /// The credential is not known (401; Gemini says 400 with `API_KEY_INVALID`).
    BadCredential,
    /// 401, also from Gemini.
    Unauthenticated,
    /// 404: no such model.
    NoModel(String),
    /// 404: no such path.
    NoPath(String),
    /// 413.
    TooLarge { limit_bytes: usize },
    /// 403: the account is closed.
    Banned,
    /// 429 that passes after so many seconds.
    RateLimited { seconds: u64 },
    /// 429 (Anthropic 400) that stays: the account has no money left.
    Quota,
    /// 500.
    Internal,
    /// 503.
    Unavailable,
    /// 529 from Anthropic, 503 from the others.
    Overloaded,
}

impl Problem {
    pub(crate) fn invalid(message: impl Into<String>, param: &str) -> Self {
        Self::Invalid { message: message.into(), param: Some(param.to_owned()), code: None }
    }

    /// A refusal with a machine-readable code (OpenAI).
    pub(crate) fn coded(message: impl Into<String>, param: &str, code: &'static str) -> Self {
        Self::Invalid { message: message.into(), param: Some(param.to_owned()), code: Some(code) }
    }
}

/// An error as the vendor words it.
#[derive(Clone, Debug)]
pub(crate) struct ErrorReply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Value,
}

impl Dialect {
    /// Reads a request. `path_model` is the model that the path names (Gemini), `stream` whether the path asks for a
    /// stream (Gemini).
    pub(crate) fn parse(self, body: &Value, path_model: Option<&str>, stream: bool) -> Result<Ask, Problem> {
        let mut ask = match self {
            Self::OpenaiChat => chat::parse(body),
            Self::OpenaiResponses => responses::parse(body),
            Self::Anthropic => anthropic::parse(body),
            Self::Gemini => gemini::parse(body, path_model.unwrap_or_default(), stream),
        }?;
        ask.progress = script::progress(&ask)?;
        Ok(ask)
    }

    /// The id under which the caller sees call number `at` of an answer.
    pub(crate) fn call_id(self, stamp: &Stamp, at: usize) -> String {
        match self {
            Self::OpenaiChat | Self::OpenaiResponses => format!("call_sim{:08x}{at}", stamp.seq),
            Self::Anthropic => format!("toolu_sim{:08x}{at}", stamp.seq),
            Self::Gemini => format!("s{:06x}{}", stamp.seq & 0x00ff_ffff, at % 10),
        }
    }

    /// The id of the reasoning item of an answer, in the dialect that keeps calls and their reasoning together.
    pub(crate) fn reasoning_item(self, stamp: &Stamp) -> Option<String> {
        (self == Self::OpenaiResponses).then(|| responses::reasoning_id(stamp))
    }

    /// The ids of all items of an answer.
    pub(crate) fn item_ids(self, ask: &Ask, answer: &Answer, stamp: &Stamp) -> Vec<String> {
        match self {
            Self::OpenaiResponses => responses::item_ids(ask, answer, stamp),
            _ => Vec::new(),
        }
    }

    /// The body of a whole answer.
    pub(crate) fn whole(self, ask: &Ask, answer: &Answer, stamp: &Stamp) -> Value {
        match self {
            Self::OpenaiChat => chat::whole(ask, answer, stamp),
            Self::OpenaiResponses => responses::whole(ask, answer, stamp),
            Self::Anthropic => anthropic::whole(ask, answer, stamp),
            Self::Gemini => gemini::whole(ask, answer, stamp),
        }
    }

    /// The frames of a streamed answer, in order.
    pub(crate) fn frames(self, ask: &Ask, answer: &Answer, stamp: &Stamp, framing: Framing) -> Vec<Bytes> {
        match self {
            Self::OpenaiChat => chat::frames(ask, answer, stamp),
            Self::OpenaiResponses => responses::frames(ask, answer, stamp),
            Self::Anthropic => anthropic::frames(ask, answer, stamp),
            Self::Gemini => gemini::frames(ask, answer, stamp, framing),
        }
    }

    /// An error instead of an answer.
    pub(crate) fn problem(self, problem: &Problem, stamp: &Stamp) -> ErrorReply {
        match self {
            Self::OpenaiChat | Self::OpenaiResponses => chat::problem(problem),
            Self::Anthropic => anthropic::problem(problem, stamp),
            Self::Gemini => gemini::problem(problem),
        }
    }

    /// An error in the middle of a stream, after `sent` frames: the last frame of that stream.
    pub(crate) fn error_frame(self, stamp: &Stamp, sent: usize, framing: Framing) -> Bytes {
        match self {
            Self::OpenaiChat => chat::error_frame(),
            Self::OpenaiResponses => responses::error_frame(sent),
            Self::Anthropic => anthropic::error_frame(stamp),
            Self::Gemini => gemini::error_frame(sent, framing),
        }
    }

    /// Headers that the vendor adds to every answer.
    pub(crate) fn vendor_headers(self, stamp: &Stamp) -> Vec<(&'static str, String)> {
        match self {
            Self::OpenaiChat | Self::OpenaiResponses => vec![
                ("x-request-id", stamp.request_id.clone()),
                ("openai-version", "2020-10-01".to_owned()),
                ("openai-organization", "sim".to_owned()),
                ("openai-processing-ms", "1".to_owned()),
                ("x-ratelimit-limit-requests", "10000".to_owned()),
                ("x-ratelimit-remaining-requests", "9999".to_owned()),
                ("x-ratelimit-reset-requests", "6ms".to_owned()),
                ("x-ratelimit-limit-tokens", "2000000".to_owned()),
                ("x-ratelimit-remaining-tokens", "1999000".to_owned()),
                ("x-ratelimit-reset-tokens", "30ms".to_owned()),
            ],
            Self::Anthropic => vec![
                ("request-id", stamp.request_id.clone()),
                ("anthropic-organization-id", "sim".to_owned()),
                ("anthropic-ratelimit-requests-limit", "4000".to_owned()),
                ("anthropic-ratelimit-requests-remaining", "3999".to_owned()),
                ("anthropic-ratelimit-requests-reset", "2026-01-01T00:00:00Z".to_owned()),
                ("anthropic-ratelimit-tokens-limit", "2400000".to_owned()),
                ("anthropic-ratelimit-tokens-remaining", "2399000".to_owned()),
                ("anthropic-ratelimit-tokens-reset", "2026-01-01T00:00:00Z".to_owned()),
            ],
            Self::Gemini => vec![("server-timing", "gfet4t7; dur=1".to_owned())],
        }
    }
}

/// The `model` of a body, or the complaint that there is none.
fn model_of(body: &Value) -> Result<String, Problem> {
    match body["model"].as_str() {
        Some(model) if !model.is_empty() => Ok(model.to_owned()),
        _ => Err(Problem::invalid("you must provide a model parameter", "model")),
    }
}

/// Refuses fields that the vendor does not know, in the vendor's words for one of them.
fn check_fields(value: &Value, known: &[&str], refuse: impl Fn(&str) -> Problem) -> Result<(), Problem> {
    let fields = value.as_object().into_iter().flat_map(|fields| fields.keys());
    match fields.into_iter().find(|field| !known.contains(&field.as_str())) {
        Some(unknown) => Err(refuse(unknown)),
        None => Ok(()),
    }
}

/// Whether a tool's name has only letters, digits, `_` and `-`, and `most` of them at most.
fn is_plain_name(name: &str, most: usize) -> bool {
    !name.is_empty() && name.len() <= most && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}
