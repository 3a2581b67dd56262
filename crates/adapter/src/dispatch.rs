//! The one place that knows which folder speaks which dialect.
//!
//! A fifth dialect is a fifth folder with the same inner names, and one arm of [`codec`].

use std::borrow::Cow;

use bytes::Bytes;
use tallygate_types::Dialect;

use crate::context::ResponseContext;
use crate::failure::{AnswerFailure, BadRequest, EncodedError, ErrorReply, StreamFailure, UpstreamFailure};
use crate::fragment::Fragment;
use crate::hop::Follow;
use crate::ir;
use crate::loss::{LossReport, in_words_of};
use crate::peek::PeekFields;
use crate::profile::Profiles;
use crate::run::{Around, Said};
use crate::sse::Event;
use crate::strip::{Strip, Target};
use crate::tap::Tap;

/// What a dialect's folder offers.
pub(crate) struct Codec {
    /// Which fields of a request body routing needs (`wire::PEEK`).
    pub peek: PeekFields,
    /// Path and query of a call, with its version prefix (`encode::path`).
    pub path: fn(model: &str, stream: bool) -> Cow<'static, str>,
    /// Headers every request needs (`encode::headers`).
    pub headers: fn() -> Vec<(&'static str, String)>,
    /// Headers a translated request needs beside them, for what stands in it.
    pub headers_for: fn(&ir::Request, &Profiles) -> Vec<(&'static str, String)>,
    /// Headers of the client that pass to an upstream of the same dialect, lower case (`wire::FORWARDED_HEADERS`).
    pub forwarded_headers: &'static [&'static str],
    /// What the dialect takes as the name of a tool and the id of a call (`wire::NAMES`).
    pub names: NameRules,
    /// A request body (of the client's dialect); `model` and `stream` may be overwritten by the caller after.
    pub decode_request: fn(&[u8], &mut LossReport) -> Result<ir::Request, BadRequest>,
    pub encode_request: fn(&ir::Request, &Profiles, &mut LossReport) -> Result<Vec<u8>, BadRequest>,
    pub decode_response: fn(&[u8]) -> Result<ir::Response, AnswerFailure>,
    pub encode_response: fn(&ir::Response, &ResponseContext) -> Vec<u8>,
    pub decoder: fn() -> Box<dyn Decode>,
    /// Takes out of a body that passes what its upstream would refuse; `None` if there is nothing (`strip`).
    pub strip: fn(&[u8], Strip, Target<'_>) -> Option<Vec<u8>>,
    /// Follows the answer to a request body that may be answered in several calls (`follow`).
    pub follow: fn(&Bytes) -> Option<Box<dyn Follow>>,
    pub encoder: fn(ResponseContext) -> Box<dyn Encode>,
    /// Reads what the meter needs from one event that passes through untouched (`stream::tap`).
    pub tap_event: fn(Event<'_>, &mut Tap) -> Result<(), StreamFailure>,
    /// The same for a whole answer (`usage::tap`).
    pub tap_answer: fn(&[u8], &mut Tap) -> Result<(), AnswerFailure>,
    pub encode_error: fn(&ErrorReply) -> EncodedError,
    pub decode_error: fn(status: u16, body: &[u8]) -> UpstreamFailure,
}

/// Limits on names a dialect's server enforces. All dialects take `[A-Za-z0-9_-]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NameRules {
    pub tool_name_chars: usize,
    pub call_id_chars: usize,
    /// The dialect lets `.` and `:` stand in tool names.
    pub dots_allowed: bool,
    /// A tool's name begins with a letter or `_`.
    pub letter_first: bool,
    /// What its models sometimes write before a declared name.
    pub stray_prefixes: &'static [&'static str],
    /// Parameters of a tool must be an object, without a choice of schemas at the top.
    pub plain_objects: bool,
    /// Whether the upstream's model takes tools called with free text.
    pub free_text: fn(&Profiles, model: &str) -> bool,
    /// The dialect has stop sequences.
    pub stops: bool,
}

/// Reads an upstream's stream.
pub(crate) trait Decode: Send {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<ir::StreamEvent>) -> Result<(), StreamFailure>;
    /// An event that says nothing but a piece of text, and leaves the decoder as it was. `None`: ask [`event`](Self::event).
    fn fragment<'a>(&self, _event: Event<'a>) -> Option<Fragment<'a>> {
        None
    }
    /// The upstream closed: gives what is still owed (`Finish`, `End`) or says that the stream was cut.
    fn finish(&mut self, out: &mut Vec<ir::StreamEvent>) -> Result<(), StreamFailure>;
}

/// Writes a client's stream, framing included.
pub(crate) trait Encode: Send {
    fn event(&mut self, event: &ir::StreamEvent, out: &mut Vec<u8>);
    /// What stands around a piece of an open text, given as [`Fragment`]; `None`: it has to be said as an event.
    fn around(&mut self, _candidate: u32, _part: u32) -> Option<Around> {
        None
    }
    /// So much of an open text was written between what [`around`](Self::around) gave.
    fn said(&mut self, _candidate: u32, _said: Said) {}
    /// Says an error inside the stream, correct for the state it is in. Nothing is written after.
    fn fail(&mut self, error: &ErrorReply, out: &mut Vec<u8>);
}

macro_rules! folder {
    ($folder:ident) => {
        folder!($folder, |_, _| Vec::new())
    };
    ($folder:ident, $headers_for:expr) => {
        &const {
            Codec {
                peek: crate::$folder::wire::PEEK,
                path: crate::$folder::encode::path,
                headers: crate::$folder::encode::headers,
                headers_for: $headers_for,
                forwarded_headers: crate::$folder::wire::FORWARDED_HEADERS,
                names: crate::$folder::wire::NAMES,
                decode_request: crate::$folder::decode::request,
                encode_request: crate::$folder::encode::request,
                decode_response: crate::$folder::decode::response,
                encode_response: crate::$folder::encode::response,
                decoder: || Box::new(crate::$folder::stream::Decoder::new()),
                strip: crate::$folder::strip,
                follow: crate::$folder::follow,
                encoder: |context| Box::new(crate::$folder::stream::Encoder::new(context)),
                tap_event: crate::$folder::stream::tap,
                tap_answer: crate::$folder::usage::tap,
                encode_error: crate::$folder::error::encode,
                decode_error: crate::$folder::error::decode,
            }
        }
    };
}

impl Codec {
    /// The upstream's body. Whatever is said of the request names the fields as `client` does.
    pub fn request_body(
        &self,
        client: Dialect,
        request: &ir::Request,
        profiles: &Profiles,
        loss: &mut LossReport,
    ) -> Result<Vec<u8>, BadRequest> {
        let body = (self.encode_request)(request, profiles, loss);
        loss.translate_fields(client);
        body.map_err(|error| BadRequest { param: error.param.map(|param| in_words_of(client, param)), ..error })
    }

    /// All headers of a translated request.
    pub fn translated_headers(&self, request: &ir::Request, profiles: &Profiles) -> Vec<(&'static str, String)> {
        let mut headers = (self.headers)();
        headers.extend((self.headers_for)(request, profiles));
        headers
    }
}

pub(crate) fn codec(dialect: Dialect) -> &'static Codec {
    match dialect {
        Dialect::OpenaiChat => folder!(openai_chat),
        Dialect::OpenaiResponses => folder!(openai_responses),
        Dialect::Anthropic => folder!(anthropic, crate::anthropic::encode::headers_for),
        Dialect::Gemini => folder!(gemini),
    }
}
