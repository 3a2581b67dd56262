//! Translation between the protocols of LLM providers: requests, answers, streams, errors and usage.
//!
//! This crate is pure. It knows no tenant, no money, no clock and no HTTP client: bytes go in, bytes come out.
//!
//! - Same dialect on both sides: the body is forwarded byte for byte, but for the model's name and, on chat streams, the
//!   usage report that is asked for in any case. Usage is read by a tap that parses only the events that carry it.
//! - Different dialects: what the client said is decoded into one form between ([`ir`]) and encoded from it. What cannot be
//!   said is never dropped in silence: the [`LossReport`] names it.
//!
//! A gateway peeks, prepares, sends, and feeds what comes back through the [`Session`]:
//!
//! ```
//! use bytes::Bytes;
//! use tallygate_adapter::{Call, NoMemory, PastReasoning, Profiles, join_url, peek, prepare};
//! use tallygate_types::{Dialect, Timestamp};
//!
//! let body = Bytes::from_static(br#"{"model":"smart","messages":[{"role":"user","content":"Hi"}],"user":"u1"}"#);
//! let seen = peek(Dialect::OpenaiChat, &body)?;
//! assert_eq!(seen.model.as_deref(), Some("smart"));
//!
//! let call = Call {
//!     client: Dialect::OpenaiChat,
//!     upstream: Dialect::OpenaiChat,
//!     speaks_responses: false,
//!     client_model: "smart",
//!     upstream_model: "gpt-x",
//!     stream: seen.stream,
//!     peek: &seen,
//!     strict: false,
//!     response_id: "0192",
//!     created_at: Timestamp::UNIX_EPOCH,
//!     client_query: "",
//!     profiles: Profiles::builtin(),
//!     memory: &NoMemory,
//!     past_reasoning: PastReasoning::Sent,
//!     output_cap: None,
//! };
//! let outgoing = prepare(&call, &body, &[])?;
//! assert_eq!(join_url("https://api.example.com/v1", call.upstream, &outgoing.path), "https://api.example.com/v1/chat/completions");
//! assert_eq!(outgoing.body, &br#"{"model":"gpt-x","messages":[{"role":"user","content":"Hi"}],"user":"u1"}"#[..]);
//! # Ok::<(), tallygate_adapter::BadRequest>(())
//! ```
//!
//! Each dialect is a folder with the same inner names (`wire`, `decode`, `encode`, `stream`, `error`, `usage`), reached
//! through one table in `dispatch`. A fifth dialect is a fifth folder and one arm there.

mod answer;
mod call;
mod context;
mod count;
mod dispatch;
mod effort;
mod embeddings;
mod failure;
mod fragment;
mod free_text;
#[doc(hidden)]
pub mod fuzzing;
mod hop;
mod ident;
pub mod ir;
mod json_answer;
mod json_array;
mod json_text;
mod json_write;
mod keepsake;
pub mod kept;
mod loss;
mod media;
pub mod media_urls;
pub mod models;
mod names;
mod needle;
mod output_cap;
mod passing;
mod peek;
mod pieces;
mod plain;
mod profile;
pub mod prompt;
mod replay;
mod reply;
mod response_stream;
mod run;
mod scan;
mod schema;
mod skim;
pub mod sse;
mod stops;
mod strip;
mod tap;
mod taxonomy;
mod url;

mod anthropic;
mod gemini;
mod openai_chat;
mod openai_responses;

use bytes::Bytes;
use tallygate_types::{Dialect, Timestamp};

pub use answer::{Answer, Meter, Session};
pub use call::{Call, Outgoing, prepare, streams_events};
pub use context::ResponseContext;
pub use count::{CountCall, estimate_count, prepare_count};
pub use embeddings::{EmbedCall, prepare_embeddings};
pub use failure::{
    AnswerFailure, BadRequest, EncodedError, ErrorDetails, ErrorKind, ErrorReply, FailureClass, FailureScope, InvalidAnswer,
    Reset, StreamFailure, UpstreamFailure,
};
pub use hop::{Hop, MAX_HOPS, Next};
pub use keepsake::{Keepsake, MAX_KEPT_BYTES, Memory, NoMemory, PastReasoning};
pub use loss::{Loss, LossReport, Verdict};
pub use output_cap::{MIN_CAPPED_OUTPUT_TOKENS, least_output};
pub use peek::{Peek, peek};
pub use pieces::Pieces;
pub use plain::{Plain, PlainAsked, TextWeight, Weight, peek_plain, prepare_plain};
pub use profile::{Abilities, MAX_PROFILES_BYTES, ProfileError, Profiles};
pub use reply::parse_duration;
pub use response_stream::{MAX_TRANSLATED_BYTES, Progress, ResponseStream};
pub use url::{join_url, serves_responses};

/// What may be sent into a silent stream of events, so that nothing between us and the client takes the line for dead.
///
/// A comment, which readers of events skip; but Google's own SDK for Python takes one for a broken answer, and skips an empty
/// line.
pub const fn keep_alive(dialect: Dialect) -> &'static [u8] {
    match dialect {
        Dialect::OpenaiChat | Dialect::OpenaiResponses | Dialect::Anthropic => b": keep-alive\n\n",
        Dialect::Gemini => b"\n",
    }
}

/// An error of ours as the only event of a stream in which no answer has begun.
pub fn encode_stream_error(dialect: Dialect, error: &ErrorReply, client_model: &str, created_at: Timestamp) -> Bytes {
    let context = ResponseContext {
        response_id: error.request_id.clone(),
        client_model: client_model.to_owned(),
        created_at,
        ..ResponseContext::unused()
    };
    let mut out = Vec::new();
    (dispatch::codec(dialect).encoder)(context).fail(error, &mut out);
    out.into()
}

/// An error of ours as an answer in a dialect.
pub fn encode_error(dialect: Dialect, error: &ErrorReply) -> EncodedError {
    (dispatch::codec(dialect).encode_error)(error)
}

/// An upstream's answer whose status is not 200, understood. Any bytes will do.
pub fn decode_error(dialect: Dialect, status: u16, body: &[u8]) -> UpstreamFailure {
    (dispatch::codec(dialect).decode_error)(status, body)
}
