//! Embeddings: OpenAI's `POST /v1/embeddings` and Gemini's `:embedContent` and `:batchEmbedContents`, each over the other.
//!
//! Over its own dialect a body passes as it is. OpenAI's clients ask for base64 unless told otherwise and cannot read
//! numbers then, whatever the upstream gives: answers are brought to the form that was asked for.

mod gemini;
mod openai;
mod vector;

use bytes::Bytes;
use tallygate_types::{Dialect, Usage, UsageClass};

use crate::answer::Session;
use crate::call::{Outgoing, model_edit, refuse_loss};
use crate::context::ResponseContext;
use crate::dispatch::codec;
use crate::failure::BadRequest;
use crate::ir::UsageReport;
use crate::loss::LossReport;
use crate::peek::Peek;
use crate::pieces::Pieces;

/// Everything the translation of one call depends on.
#[derive(Debug, Clone, Copy)]
pub struct EmbedCall<'a> {
    pub client: Dialect,
    pub upstream: Dialect,
    /// Gemini's clients: `batchEmbedContents`, not `embedContent`.
    pub batch: bool,
    pub client_model: &'a str,
    pub upstream_model: &'a str,
    pub peek: &'a Peek,
    /// What an answer says of its input if the upstream does not, in tokens.
    pub input_estimate: u64,
    /// Refuse with 400 what could not be said exactly.
    pub strict: bool,
}

/// What is to be embedded, in no dialect.
#[derive(Debug, Default, PartialEq)]
struct Request {
    texts: Vec<String>,
    dimensions: Option<u64>,
    /// Gemini's, and an extension of OpenAI's body: what the vectors are for.
    task_type: Option<String>,
    title: Option<String>,
}

/// Makes the upstream's request out of the client's. Fails for an upstream of a vendor without embeddings.
pub fn prepare_embeddings(call: &EmbedCall<'_>, body: &Bytes) -> Result<Outgoing, BadRequest> {
    let mut loss = LossReport::default();
    let is_gemini = |dialect| dialect == Dialect::Gemini;
    if call.upstream == Dialect::Anthropic || call.client == Dialect::Anthropic {
        return Err(BadRequest::unsupported("model", "Anthropic has no embeddings: choose another model."));
    }
    let path = if is_gemini(call.upstream) {
        let verb = if call.batch || !is_gemini(call.client) { ":batchEmbedContents" } else { ":embedContent" };
        (codec(Dialect::Gemini).path)(call.upstream_model, false).replace(":generateContent", verb).into()
    } else {
        "/v1/embeddings".into()
    };
    let session = |reader| Session::reading(call.client, call.upstream, ResponseContext::unused(), reader, LossReport::default());
    let (body, session) = match (is_gemini(call.client), is_gemini(call.upstream)) {
        (false, false) => {
            let body_out = Pieces::spliced(body, model_edit(call.upstream_model, call.peek).into_iter().collect());
            (body_out, session(Box::new(openai::Passing { encoding: openai::encoding(body)? })))
        }
        (true, true) => (gemini::renamed(body, call.upstream_model)?.into(), session(Box::new(gemini::Passing))),
        (false, true) => {
            let (request, encoding) = openai::decode(body, &mut loss)?;
            let reader = gemini::ToOpenAi {
                encoding,
                count: request.texts.len(),
                model: call.client_model.to_owned(),
                input_estimate: call.input_estimate,
            };
            (gemini::encode(&request, call.upstream_model).into(), session(Box::new(reader)))
        }
        (true, false) => {
            let request = gemini::decode(body, call.batch, &mut loss)?;
            let reader = openai::ToGemini { batch: call.batch, count: request.texts.len() };
            (openai::encode(&request, call.upstream_model, &mut loss).into(), session(Box::new(reader)))
        }
    };
    if call.strict {
        refuse_loss(&loss)?;
    }
    Ok(Outgoing { path, headers: Vec::new(), body, session: Box::new(session.with_loss(loss.clone())), loss })
}

/// All that embeddings use.
fn input_usage(tokens: u64, raw: String) -> UsageReport {
    UsageReport { usage: Usage::default().with(UsageClass::InputUncached, tokens), raw }
}
