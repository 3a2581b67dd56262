//! Endpoints that pass to an upstream of OpenAI's protocol as they are: nothing is translated, everything is metered.
//!
//! Of a body only the model is replaced, in JSON or in a form with files; of an answer only the usage is read. What a vendor
//! sells by another unit than the token (images, seconds, characters, searches) is told by [`PlainAsked::unmetered`].

mod form;
mod meter;
mod weight;

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use tallygate_types::Dialect;

use self::form::Form;
use self::meter::PlainReader;
pub use self::weight::{TextWeight, Weight};
use crate::answer::Session;
use crate::call::{Outgoing, usage_edit};
use crate::context::ResponseContext;
use crate::failure::BadRequest;
use crate::ir::Object;
use crate::loss::LossReport;
use crate::output_cap;
use crate::peek::{Peek, peek};
use crate::pieces::Pieces;

/// What moderation is done by where the client names no model, as at OpenAI.
const DEFAULT_MODERATION: &str = "omni-moderation-latest";

/// An endpoint that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plain {
    /// The endpoint before chat: a prompt, and text after it.
    Completions,
    Moderations,
    ImageGenerations,
    ImageEdits,
    ImageVariations,
    Transcriptions,
    Translations,
    Speech,
    Rerank,
}

impl Plain {
    pub const ALL: [Self; 9] = [
        Self::Completions,
        Self::Moderations,
        Self::ImageGenerations,
        Self::ImageEdits,
        Self::ImageVariations,
        Self::Transcriptions,
        Self::Translations,
        Self::Speech,
        Self::Rerank,
    ];

    /// The path after the version.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Completions => "completions",
            Self::Moderations => "moderations",
            Self::ImageGenerations => "images/generations",
            Self::ImageEdits => "images/edits",
            Self::ImageVariations => "images/variations",
            Self::Transcriptions => "audio/transcriptions",
            Self::Translations => "audio/translations",
            Self::Speech => "audio/speech",
            Self::Rerank => "rerank",
        }
    }

    /// The endpoint at a path without its version, if one of these is meant.
    pub fn at(segments: &[&str]) -> Option<Self> {
        Self::ALL.into_iter().find(|plain| plain.path().split('/').eq(segments.iter().copied()))
    }

    /// The name in usage records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completions => "completions",
            Self::Moderations => "moderations",
            Self::ImageGenerations | Self::ImageEdits | Self::ImageVariations => "images",
            Self::Transcriptions | Self::Translations | Self::Speech => "audio",
            Self::Rerank => "rerank",
        }
    }

    /// Takes a form with files.
    pub const fn takes_form(self) -> bool {
        matches!(self, Self::ImageEdits | Self::ImageVariations | Self::Transcriptions | Self::Translations)
    }

    /// May answer with something else than JSON.
    const fn may_answer_bytes(self) -> bool {
        matches!(self, Self::Transcriptions | Self::Translations | Self::Speech)
    }
}

/// What a request asks for, as far as routing, limits and metering care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainAsked {
    pub plain: Plain,
    pub peek: Peek,
    /// `None`: the body is JSON.
    form: Option<Form>,
    /// `response_format` of a transcription (`json`, `text`, `srt`, ...).
    response_format: Option<String>,
}

/// Looks into the body. `content_type` is the header of that name.
pub fn peek_plain(plain: Plain, content_type: Option<&str>, body: &[u8]) -> Result<PlainAsked, BadRequest> {
    if let Some(boundary) = content_type.and_then(form::boundary) {
        let form = Form::read(boundary, content_type.unwrap_or_default(), body)?;
        let mut peek = Peek { candidates: 1, ..Peek::default() };
        peek.model_span.clone_from(&form.model);
        peek.model = form.model.clone().and_then(|span| text(body, span));
        peek.stream = form.stream;
        peek.candidates = form.n.unwrap_or(1);
        let response_format = form.response_format.clone();
        return Ok(PlainAsked { plain, peek, form: Some(form), response_format });
    }
    #[derive(Deserialize)]
    struct Formats {
        response_format: Option<serde_json::Value>,
        stream_format: Option<String>,
    }
    let mut peek = peek(Dialect::OpenaiChat, body)?;
    let formats: Formats = serde_json::from_slice(body).map_err(|error| BadRequest::malformed(error.to_string()))?;
    match plain {
        Plain::Speech => peek.stream = formats.stream_format.as_deref() == Some("sse"),
        Plain::Moderations => {
            peek.stream = false;
            peek.model.get_or_insert_with(|| DEFAULT_MODERATION.to_owned());
        }
        Plain::Rerank => peek.stream = false,
        _ => {}
    }
    let response_format = formats.response_format.and_then(|format| format.as_str().map(str::to_owned));
    Ok(PlainAsked { plain, peek, form: None, response_format })
}

fn text(body: &[u8], span: Range<usize>) -> Option<String> {
    String::from_utf8(body.get(span)?.to_vec()).ok()
}

impl PlainAsked {
    /// The type of the sound that is asked for.
    pub fn sound_type(&self) -> &'static str {
        match self.response_format.as_deref() {
            Some("opus") => "audio/opus",
            Some("aac") => "audio/aac",
            Some("flac") => "audio/flac",
            Some("wav") => "audio/wav",
            Some("pcm") => "audio/pcm",
            _ => "audio/mpeg",
        }
    }

    /// Why the answer of a vendor's model cannot be charged by the token; `None` if it can.
    pub fn unmetered(&self, upstream_model: &str) -> Option<&'static str> {
        let name = upstream_model.rsplit('/').next().unwrap_or(upstream_model);
        match self.plain {
            Plain::ImageGenerations | Plain::ImageEdits | Plain::ImageVariations if name.starts_with("dall-e") => {
                Some("it is sold by the image; models that count tokens, such as gpt-image-1, can be sold")
            }
            Plain::Transcriptions | Plain::Translations if name.starts_with("whisper") => {
                Some("it is sold by the second; models that count tokens, such as gpt-4o-transcribe, can be sold")
            }
            Plain::Transcriptions | Plain::Translations
                if matches!(self.response_format.as_deref(), Some("text" | "srt" | "vtt")) =>
            {
                Some("an answer in this `response_format` does not tell what was used; ask for `json`")
            }
            Plain::Speech if name.starts_with("tts-1") => {
                Some("it is sold by the character; models that count tokens, such as gpt-4o-mini-tts, can be sold")
            }
            Plain::Rerank if name.starts_with("rerank-") => {
                Some("it is sold by the search; models that count tokens can be sold")
            }
            _ => None,
        }
    }
}

/// Makes the upstream's request out of the client's. `output_cap` bounds each completion's tokens; nothing else has such a bound.
pub fn prepare_plain(
    asked: &PlainAsked,
    upstream_model: &str,
    body: &Bytes,
    output_cap: Option<u64>,
) -> Result<Outgoing, BadRequest> {
    let mut edits = Vec::new();
    let is_sound = asked.plain == Plain::Speech && !asked.peek.stream;
    if is_sound {
        // Only as events does sound tell what it used; the client gets it without them.
        let mut told: Object = serde_json::from_slice(body).map_err(|error| BadRequest::malformed(error.to_string()))?;
        told.insert("model".into(), upstream_model.into());
        told.insert("stream_format".into(), "sse".into());
        edits.push((0..body.len(), serde_json::to_vec(&told).unwrap_or_default()));
    } else if asked.peek.model.as_deref() != Some(upstream_model) || asked.peek.model_span.is_none() {
        edits.push(model_edit(asked, upstream_model, body)?);
    }
    let drop_usage = asked.plain == Plain::Completions && asked.peek.stream && !asked.peek.include_usage;
    if drop_usage {
        edits.push(usage_edit(&asked.peek, body)?);
    }
    if let Some(cap) = output_cap.filter(|_| asked.plain == Plain::Completions && asked.form.is_none()) {
        edits.extend(output_cap::completion_edits(body, cap)?);
    }
    let mut headers = Vec::new();
    if let Some(form) = &asked.form {
        headers.push(("content-type", form.content_type.clone()));
    }
    if asked.plain.may_answer_bytes() {
        headers.push(("accept", "*/*".to_owned()));
    }
    let reader = PlainReader { plain: asked.plain, drop_usage };
    let dialect = Dialect::OpenaiChat;
    let loss = LossReport::default();
    Ok(Outgoing {
        path: format!("/v1/{}", asked.plain.path()).into(),
        headers,
        body: Pieces::spliced(body, edits),
        session: Box::new(Session::reading(dialect, dialect, ResponseContext::unused(), Box::new(reader), loss.clone())),
        loss,
    })
}

/// Puts the upstream's name of the model where the client's stands, or first if none does.
fn model_edit(asked: &PlainAsked, model: &str, body: &[u8]) -> Result<(Range<usize>, Vec<u8>), BadRequest> {
    let quoted = serde_json::Value::from(model).to_string();
    match (&asked.peek.model_span, &asked.form) {
        // A line break would end the field and begin another.
        (Some(_), Some(_)) if model.contains(['\r', '\n']) => {
            Err(BadRequest::invalid("model", "The name of the model cannot stand in a form."))
        }
        (Some(span), Some(_)) => Ok((span.clone(), model.as_bytes().to_vec())),
        (Some(span), None) => Ok((span.clone(), quoted.into_bytes())),
        (None, Some(_)) => Err(BadRequest::invalid("model", "The field `model` is missing.")),
        (None, None) => {
            let missing = || BadRequest::malformed("The request body is not a JSON object.");
            let open = body.iter().position(|byte| *byte == b'{').ok_or_else(missing)?;
            let is_empty = body[open + 1..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
            let comma = if is_empty { "" } else { "," };
            Ok((open + 1..open + 1, format!("\"model\":{quoted}{comma}").into_bytes()))
        }
    }
}
