//! The way back: an upstream's answer, passed or translated, and metered on the way.

use bytes::Bytes;
use tallygate_types::{Dialect, Usage, UsageClass};

use crate::context::ResponseContext;
use crate::count::BYTES_PER_TOKEN;
use crate::dispatch::codec;
use crate::failure::{AnswerFailure, FailureClass, InvalidAnswer, StreamFailure, UpstreamFailure};
use crate::hop::{Course, JoinedAnswers, JoinedEvents, Next};
use crate::ir::{FinishReason, PartKind, Response, UsageReport};
use crate::keepsake::{Collector, Keepsake};
use crate::kept::Handles;
use crate::loss::LossReport;
use crate::names::Restore;
use crate::passing::Passer;
use crate::response_stream::{Lane, ResponseStream, Translating};
use crate::sse::Event;
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
    Translate(Box<Translation>),
    /// An operation other than generation.
    Read(Box<dyn ReadAnswer>),
}

/// What undoes to an answer what was done to its request.
#[derive(Debug)]
pub(crate) struct Translation {
    pub restore: Restore,
    pub collector: Collector,
    /// Of answers that may come in several calls.
    pub course: Option<Course>,
    pub said: JoinedAnswers,
}

/// Reads the answer of an operation other than generation.
pub(crate) trait ReadAnswer: std::fmt::Debug + Send {
    /// A whole 200 body; gives what the client gets.
    fn read(&self, body: Bytes, tap: &mut Tap) -> Result<Bytes, InvalidAnswer>;

    /// One event of a 200 stream, which passes.
    fn tap_event(&self, _: Event<'_>, _: &mut Tap) -> Result<(), StreamFailure> {
        Err(StreamFailure::Invalid("this operation has no stream".into()))
    }

    /// Events that only report usage stay here.
    fn drops_usage(&self) -> bool {
        false
    }
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
    /// The word is not known: the client was told of a plain end.
    pub unknown_finish: bool,
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
        translation: Translation,
        loss: LossReport,
    ) -> Self {
        Self { client, upstream, context, mode: Mode::Translate(Box::new(translation)), loss }
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

    /// A whole 200 body, the last of its answer.
    pub fn answer(mut self, body: Bytes) -> Result<Answer, AnswerFailure> {
        self.read(&body)?;
        self.write(body)
    }

    /// A whole 200 body. The answer may go on in another call.
    pub fn step(&mut self, body: Bytes) -> Result<Next<Box<Answer>>, AnswerFailure> {
        self.read(&body)?;
        if let Mode::Translate(translation) = &mut self.mode
            && let Some(hop) = translation.course.as_mut().and_then(Course::next)
        {
            return Ok(Next::Again(hop));
        }
        Ok(Next::Done(Box::new(self.write(body)?)))
    }

    /// What was said before a further call failed.
    pub fn said_so_far(&mut self) -> Option<Box<Answer>> {
        let Mode::Translate(translation) = &mut self.mode else { return None };
        let mut response = translation.said.take()?;
        for candidate in &mut response.candidates {
            candidate.finish = FinishReason::Length;
        }
        Some(Box::new(self.translated(response)))
    }

    fn read(&mut self, body: &Bytes) -> Result<(), AnswerFailure> {
        if let Mode::Translate(translation) = &mut self.mode {
            let mut response = (codec(self.upstream).decode_response)(body)?;
            refuse_broken(&response)?;
            if let Some(course) = &mut translation.course {
                course.answer(body);
            }
            for candidate in &mut response.candidates {
                candidate.finish = ended(candidate.finish);
            }
            translation.said.add(response);
        }
        Ok(())
    }

    fn write(&mut self, body: Bytes) -> Result<Answer, AnswerFailure> {
        let mut tap = Tap::default();
        let body = match &mut self.mode {
            Mode::Translate(translation) => {
                let response = translation.said.take().unwrap_or_default();
                return Ok(self.translated(response));
            }
            Mode::Pass { .. } => {
                (codec(self.upstream).tap_answer)(&body, &mut tap)?;
                body
            }
            Mode::Read(reader) => reader.read(body, &mut tap)?,
        };
        Ok(Answer { body, meter: meter(tap, std::mem::take(&mut self.loss)), keepsakes: Vec::new() })
    }

    fn translated(&mut self, mut response: Response) -> Answer {
        let mut tap = Tap::default();
        let mut keepsakes = Vec::new();
        if let Mode::Translate(translation) = &mut self.mode {
            translation.restore.response(&mut response);
            translation.collector.response(&response);
            keepsakes = translation.collector.take();
        }
        tap_response(&response, &mut tap);
        response.usage = response.usage.or_else(|| estimate(self.context.input_estimate, &tap));
        let body = (codec(self.client).encode_response)(&response, &self.context).into();
        Answer { body, meter: meter(tap, self.loss.clone()), keepsakes }
    }

    pub fn stream(self) -> ResponseStream {
        let lane = match self.mode {
            Mode::Pass { drop_usage } => Lane::Pass(Passer::new(drop_usage)),
            Mode::Read(reader) => {
                let lane = Lane::Pass(Passer::new(reader.drops_usage()));
                let stream = ResponseStream::new(self.client, self.upstream, self.context, lane, self.loss);
                return stream.tapped_by(reader);
            }
            Mode::Translate(translation) => {
                let Translation { restore, collector, course, .. } = *translation;
                Lane::Translate(Box::new(Translating {
                    decoder: (codec(self.upstream).decoder)(),
                    encoder: (codec(self.client).encoder)(self.context.clone()),
                    restore,
                    collector,
                    course,
                    joined: JoinedEvents::default(),
                    input_estimate: self.context.input_estimate,
                    run: None,
                }))
            }
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

/// An answer whose only fruit is a broken call is none.
fn refuse_broken(response: &Response) -> Result<(), AnswerFailure> {
    response.candidates.iter().try_for_each(|candidate| broken(candidate.finish, candidate.explanation.as_deref()))
}

/// The failure that a reason to finish stands for.
pub(crate) fn broken(finish: FinishReason, explanation: Option<&str>) -> Result<(), AnswerFailure> {
    let said = |otherwise: &str| explanation.unwrap_or(otherwise).to_owned();
    match finish {
        FinishReason::MalformedToolCall => Err(AnswerFailure::MalformedCall(said("the provider gives no detail"))),
        FinishReason::MissingSignature => {
            let message = said("A signature of the earlier reasoning is missing.");
            Err(AnswerFailure::Upstream(UpstreamFailure::new(FailureClass::Signature, 400, message)))
        }
        _ => Ok(()),
    }
}

/// What is left of a pause at which nobody asks further: to the client it is a cut.
pub(crate) fn ended(finish: FinishReason) -> FinishReason {
    if finish == FinishReason::Pause { FinishReason::Length } else { finish }
}

fn tap_response(response: &Response, tap: &mut Tap) {
    tap.id.clone_from(&response.id);
    tap.model.clone_from(&response.model);
    tap.usage.clone_from(&response.usage);
    if let Some(first) = response.candidates.first() {
        tap.unknown_finish = first.finish == FinishReason::Unknown;
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

pub(crate) fn meter(mut tap: Tap, loss: LossReport) -> Meter {
    let (usage, raw_usage) = tap.take_report().map(|UsageReport { usage, raw }| (usage, raw)).unzip();
    Meter {
        usage,
        raw_usage,
        finish_reason: tap.finish_reason,
        unknown_finish: tap.unknown_finish,
        upstream_response_id: tap.id,
        upstream_model: tap.model,
        output_bytes: tap.output_bytes,
        handles: tap.handles,
        loss,
    }
}
