//! The way back: an upstream's answer, passed or translated, and metered on the way.

use bytes::Bytes;
use tallygate_types::{Dialect, Usage, UsageClass};

use crate::context::ResponseContext;
use crate::count::BYTES_PER_TOKEN;
use crate::dispatch::codec;
use crate::failure::InvalidAnswer;
use crate::ir::{PartKind, UsageReport};
use crate::keepsake::{Collector, Keepsake};
use crate::kept::Handles;
use crate::loss::LossReport;
use crate::names::Restore;
use crate::passing::Passer;
use crate::response_stream::{Lane, ResponseStream};
use crate::tap::Tap;

/// What the answer needs to know of the request.
#[derive(Debug)]
pub struct Session {
    client: Dialect,
    upstream: Dialect,
    context: ResponseContext,
    mode: Mode,
    loss: LossReport,
}

#[derive(Debug)]
enum Mode {
    Pass {
        drop_usage: bool,
    },
    Translate {
        restore: Restore,
        collector: Collector,
    },
    /// An operation other than generation.
    Read(Box<dyn ReadAnswer>),
}

/// Reads the answer of an operation other than generation.
pub(crate) trait ReadAnswer: std::fmt::Debug + Send {
    /// A whole 200 body; gives what the client gets.
    fn read(&self, body: Bytes, tap: &mut Tap) -> Result<Bytes, InvalidAnswer>;
}

/// A whole answer for the client.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub body: Bytes,
    pub meter: Meter,
    /// By key, for the tenant's [`crate::Memory`].
    pub keepsakes: Vec<(String, Keepsake)>,
}

/// What an answer used, as far as it has come.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Meter {
    /// As the provider reports it, in disjoint classes; `None` if it has not.
    pub usage: Option<Usage>,
    /// The provider's own JSON.
    pub raw_usage: Option<String>,
    /// The provider's word.
    pub finish_reason: Option<String>,
    pub upstream_response_id: Option<String>,
    pub upstream_model: Option<String>,
    /// Bytes of text and arguments so far: what an estimate goes by when usage is missing.
    pub output_bytes: u64,
    /// How an upstream of the Responses API will know this answer again; empty unless it passed untouched.
    pub handles: Handles,
    pub loss: LossReport,
}

impl Session {
    pub(crate) fn passing(dialect: Dialect, context: ResponseContext, drop_usage: bool) -> Self {
        Self { client: dialect, upstream: dialect, context, mode: Mode::Pass { drop_usage }, loss: LossReport::default() }
    }

    pub(crate) fn translating(
        client: Dialect,
        upstream: Dialect,
        context: ResponseContext,
        restore: Restore,
        collector: Collector,
        loss: LossReport,
    ) -> Self {
        Self { client, upstream, context, mode: Mode::Translate { restore, collector }, loss }
    }

    pub(crate) fn reading(
        client: Dialect,
        upstream: Dialect,
        context: ResponseContext,
        reader: Box<dyn ReadAnswer>,
        loss: LossReport,
    ) -> Self {
        Self { client, upstream, context, mode: Mode::Read(reader), loss }
    }

    /// What a translated answer of the Responses API says of its keeping: that it is kept, and what it builds on.
    pub fn say_kept(&mut self, is_kept: bool, previous_response_id: Option<&str>) {
        if self.client == Dialect::OpenaiResponses && matches!(self.mode, Mode::Translate { .. }) {
            self.context.echo.insert("store".into(), is_kept.into());
            self.context.echo.insert("previous_response_id".into(), previous_response_id.into());
        }
    }

    pub(crate) fn with_loss(self, loss: LossReport) -> Self {
        Self { loss, ..self }
    }

    /// Something that did not come through, beside what the translation itself lost.
    pub fn lost(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.loss.dropped(field, detail);
    }

    /// A whole 200 body.
    pub fn answer(self, body: Bytes) -> Result<Answer, InvalidAnswer> {
        let mut tap = Tap::default();
        let (body, keepsakes) = match self.mode {
            Mode::Pass { .. } => {
                (codec(self.upstream).tap_answer)(&body, &mut tap)?;
                (body, Vec::new())
            }
            Mode::Translate { restore, mut collector } => {
                let mut response = (codec(self.upstream).decode_response)(&body)?;
                restore.response(&mut response);
                tap_response(&response, &mut tap);
                response.usage = response.usage.or_else(|| estimate(self.context.input_estimate, &tap));
                collector.response(&response);
                ((codec(self.client).encode_response)(&response, &self.context).into(), collector.take())
            }
            Mode::Read(reader) => (reader.read(body, &mut tap)?, Vec::new()),
        };
        Ok(Answer { body, meter: meter(&tap, &self.loss), keepsakes })
    }

    pub fn stream(self) -> ResponseStream {
        let lane = match self.mode {
            Mode::Pass { drop_usage } => Lane::Pass(Passer::new(drop_usage)),
            Mode::Read(_) => Lane::Pass(Passer::new(false)),
            Mode::Translate { restore, collector } => Lane::Translate {
                decoder: (codec(self.upstream).decoder)(),
                encoder: (codec(self.client).encoder)(self.context.clone()),
                restore,
                collector,
            },
        };
        ResponseStream::new(self.client, self.upstream, self.context, lane, self.loss)
    }
}

/// What the client is told where the upstream counts nothing; the meter goes by its own estimate.
pub(crate) fn estimate(input: Option<u64>, tap: &Tap) -> Option<UsageReport> {
    let usage = Usage::default()
        .with(UsageClass::InputUncached, input?)
        .with(UsageClass::OutputText, tap.output_bytes.div_ceil(BYTES_PER_TOKEN));
    tap.usage.is_none().then(|| UsageReport { usage, raw: String::new() })
}

fn tap_response(response: &crate::ir::Response, tap: &mut Tap) {
    tap.id.clone_from(&response.id);
    tap.model.clone_from(&response.model);
    tap.usage.clone_from(&response.usage);
    if let Some(first) = response.candidates.first() {
        tap.finish_reason = Some(first.raw_finish.clone().unwrap_or_else(|| format!("{:?}", first.finish)));
    }
    for part in response.candidates.iter().flat_map(|candidate| &candidate.parts) {
        tap.output_bytes += match &part.kind {
            PartKind::Text(text) => text.text.len(),
            PartKind::Reasoning(reasoning) => reasoning.text.len(),
            PartKind::Refusal(text) => text.len(),
            PartKind::ToolCall(call) => call.arguments.len(),
            _ => 0,
        } as u64;
    }
    tap.content = true;
    tap.done = true;
}

pub(crate) fn meter(tap: &Tap, loss: &LossReport) -> Meter {
    let (usage, raw_usage) = tap.report().map(|UsageReport { usage, raw }| (usage, raw)).unzip();
    Meter {
        usage,
        raw_usage,
        finish_reason: tap.finish_reason.clone(),
        upstream_response_id: tap.id.clone(),
        upstream_model: tap.model.clone(),
        output_bytes: tap.output_bytes,
        handles: tap.handles.clone(),
        loss: loss.clone(),
    }
}
