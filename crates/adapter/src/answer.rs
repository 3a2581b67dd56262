//! The way back: an upstream's answer, passed or translated, and metered on the way.

use bytes::Bytes;
use tallygate_types::{Dialect, Usage};

use crate::context::ResponseContext;
use crate::dispatch::{Decode, Encode, codec};
use crate::failure::{ErrorReply, InvalidAnswer, StreamFailure};
use crate::ir::{Delta, PartKind, PartStart, StreamEvent, UsageReport};
use crate::loss::LossReport;
use crate::names::Restore;
use crate::sse::Event;
use crate::tap::Tap;
use crate::{json_array, sse};

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
    Pass { drop_usage: bool },
    Translate { restore: Restore },
}

/// A whole answer for the client.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub body: Bytes,
    pub meter: Meter,
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
    pub loss: LossReport,
}

/// How far a stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Content has passed. What was put out before may be thrown away and another upstream tried; after, no more.
    pub content: bool,
    /// The terminal event was seen.
    pub done: bool,
}

/// A streamed answer on its way. Bytes go in as they come, whole events in the client's dialect come out.
pub struct ResponseStream {
    client: Dialect,
    upstream: Dialect,
    context: ResponseContext,
    reader: Reader,
    lane: Lane,
    tap: Tap,
    loss: LossReport,
    /// Whole events were put out (a JSON array needs a comma before the next).
    has_output: bool,
}

enum Reader {
    /// Nothing but white space has come.
    Undecided,
    Events(sse::Scanner),
    /// A JSON array, or an error body where events were due.
    Objects(json_array::Scanner),
}

enum Lane {
    /// `held`: the beginning of an event whose end has not come. Only whole events pass, so that an error of ours can follow.
    /// `cut_crlf`: the last event ended with CR at the end of a chunk; a LF that follows belongs to it, dropped or not.
    Pass {
        drop_usage: bool,
        held: Vec<Bytes>,
        cut_crlf: Option<Fate>,
    },
    Translate {
        decoder: Box<dyn Decode>,
        encoder: Box<dyn Encode>,
        restore: Restore,
    },
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
        loss: LossReport,
    ) -> Self {
        Self { client, upstream, context, mode: Mode::Translate { restore }, loss }
    }

    /// A whole 200 body.
    pub fn answer(self, body: Bytes) -> Result<Answer, InvalidAnswer> {
        let mut tap = Tap::default();
        let body = match self.mode {
            Mode::Pass { .. } => {
                (codec(self.upstream).tap_answer)(&body, &mut tap)?;
                body
            }
            Mode::Translate { restore } => {
                let mut response = (codec(self.upstream).decode_response)(&body)?;
                restore.response(&mut response);
                tap_response(&response, &mut tap);
                (codec(self.client).encode_response)(&response, &self.context).into()
            }
        };
        Ok(Answer { body, meter: meter(&tap, &self.loss) })
    }

    pub fn stream(self) -> ResponseStream {
        let lane = match self.mode {
            Mode::Pass { drop_usage } => Lane::Pass { drop_usage, held: Vec::new(), cut_crlf: None },
            Mode::Translate { restore } => Lane::Translate {
                decoder: (codec(self.upstream).decoder)(),
                encoder: (codec(self.client).encoder)(self.context.clone()),
                restore,
            },
        };
        ResponseStream {
            client: self.client,
            upstream: self.upstream,
            context: self.context,
            reader: Reader::Undecided,
            lane,
            tap: Tap::default(),
            loss: self.loss,
            has_output: false,
        }
    }
}

impl ResponseStream {
    /// Takes what came from the upstream and appends what may go to the client.
    ///
    /// On a failure `out` still holds the whole events before it.
    pub fn push(&mut self, chunk: Bytes, out: &mut Vec<Bytes>) -> Result<Progress, StreamFailure> {
        self.decide(&chunk);
        let before = out.len();
        let result = match &mut self.lane {
            Lane::Pass { drop_usage, held, cut_crlf } => {
                let mut passing = Passing { chunk: &chunk, held, out, start: 0, good: 0, cut_crlf };
                passing.complete_crlf();
                let drop_usage = *drop_usage;
                let tap = &mut self.tap;
                let tap_event = codec(self.upstream).tap_event;
                let result = self.reader.read(&chunk, |event| {
                    tap_event(event, tap)?;
                    let drops = std::mem::take(&mut tap.only_usage) && drop_usage;
                    if drops {
                        passing.skip(event.end);
                    } else if drop_usage {
                        passing.pass(event.end);
                    } else {
                        passing.whole(event.end);
                    }
                    Ok(())
                });
                match &result {
                    Ok(()) => passing.rest(self.reader.boundary()),
                    Err(_) => passing.stop(),
                }
                result
            }
            Lane::Translate { decoder, encoder, restore } => {
                let tap = &mut self.tap;
                let mut written = Vec::new();
                let mut steps = Steps { encoder: &mut **encoder, restore, tap, written: &mut written };
                let mut events = Vec::new();
                let result = self.reader.read(&chunk, |event| {
                    let result = decoder.event(event, &mut events);
                    steps.take(&mut events);
                    result
                });
                if !written.is_empty() {
                    out.push(written.into());
                }
                result
            }
        };
        self.has_output |= out.len() > before;
        result.map(|()| self.progress())
    }

    /// The upstream closed. Fails unless the answer was complete.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) -> Result<(), StreamFailure> {
        let before = out.len();
        let result = match &mut self.lane {
            Lane::Pass { drop_usage, held, .. } => {
                let tap = &mut self.tap;
                let tap_event = codec(self.upstream).tap_event;
                let result = self.reader.finish(|event| tap_event(event, tap));
                let drops = std::mem::take(&mut self.tap.only_usage) && *drop_usage;
                let is_complete = self.tap.done || self.tap.finish_reason.is_some();
                if result.is_ok() && is_complete && !drops {
                    out.append(held);
                }
                held.clear();
                result.and(if is_complete { Ok(()) } else { Err(StreamFailure::Truncated) })
            }
            Lane::Translate { decoder, encoder, restore } => {
                let mut written = Vec::new();
                let mut steps = Steps { encoder: &mut **encoder, restore, tap: &mut self.tap, written: &mut written };
                let mut events = Vec::new();
                let mut result = self.reader.finish(|event| {
                    let result = decoder.event(event, &mut events);
                    steps.take(&mut events);
                    result
                });
                if result.is_ok() {
                    result = decoder.finish(&mut events);
                    steps.take(&mut events);
                }
                if !written.is_empty() {
                    out.push(written.into());
                }
                result
            }
        };
        self.has_output |= out.len() > before;
        result
    }

    /// Says an error of ours inside the stream, in the client's dialect. Close the connection after.
    pub fn fail(&mut self, error: &ErrorReply, out: &mut Vec<Bytes>) {
        let mut written = Vec::new();
        match &mut self.lane {
            Lane::Pass { .. } if matches!(self.reader, Reader::Objects(_)) || self.context.json_array => {
                written.push(if self.has_output { b',' } else { b'[' });
                written.extend_from_slice(&(codec(self.client).encode_error)(error).body);
                written.push(b']');
            }
            Lane::Pass { .. } => (codec(self.client).encoder)(self.context.clone()).fail(error, &mut written),
            Lane::Translate { encoder, .. } => encoder.fail(error, &mut written),
        }
        out.push(written.into());
    }

    pub fn meter(&self) -> Meter {
        meter(&self.tap, &self.loss)
    }

    pub fn content_type(&self) -> &'static str {
        if self.context.json_array { "application/json" } else { "text/event-stream" }
    }

    fn progress(&self) -> Progress {
        Progress { content: self.tap.content, done: self.tap.done }
    }

    /// The first byte that is not white space tells events from objects.
    fn decide(&mut self, chunk: &[u8]) {
        if let Reader::Undecided = self.reader
            && let Some(byte) = chunk.iter().find(|byte| !byte.is_ascii_whitespace())
        {
            self.reader = match byte {
                b'[' | b'{' => Reader::Objects(json_array::Scanner::new()),
                _ => Reader::Events(sse::Scanner::new()),
            };
        }
    }
}

impl std::fmt::Debug for ResponseStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseStream")
            .field("client", &self.client)
            .field("upstream", &self.upstream)
            .field("tap", &self.tap)
            .finish_non_exhaustive()
    }
}

impl Reader {
    fn read(&mut self, chunk: &[u8], on_event: impl FnMut(Event<'_>) -> Result<(), StreamFailure>) -> Result<(), StreamFailure> {
        match self {
            Self::Undecided => Ok(()),
            Self::Events(scanner) => scanner.push(chunk, on_event),
            Self::Objects(scanner) => scanner.push(chunk, on_event),
        }
    }

    fn finish(&mut self, on_event: impl FnMut(Event<'_>) -> Result<(), StreamFailure>) -> Result<(), StreamFailure> {
        match self {
            Self::Events(scanner) => scanner.finish(on_event),
            Self::Undecided | Self::Objects(_) => Ok(()),
        }
    }

    /// How much of the last chunk may pass; `None`: all of it (white space before a stream).
    fn boundary(&self) -> Option<usize> {
        match self {
            Self::Undecided => None,
            Self::Events(scanner) => Some(scanner.boundary()),
            Self::Objects(scanner) => Some(scanner.boundary()),
        }
    }
}

/// What became of the last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passed,
    Dropped,
}

/// Cuts a chunk at the ends of its events, without copying.
struct Passing<'a> {
    chunk: &'a Bytes,
    held: &'a mut Vec<Bytes>,
    out: &'a mut Vec<Bytes>,
    /// Up to here the chunk has passed or was dropped.
    start: usize,
    /// Up to here its events are sound.
    good: usize,
    cut_crlf: &'a mut Option<Fate>,
}

impl Passing<'_> {
    /// The event passes with its neighbours, at the end of the chunk.
    fn whole(&mut self, end: usize) {
        self.good = end;
    }

    fn pass(&mut self, end: usize) {
        let end = self.past(end);
        if end > self.start {
            self.out.append(self.held);
            self.out.push(if self.start == 0 && end == self.chunk.len() {
                self.chunk.clone()
            } else {
                self.chunk.slice(self.start..end)
            });
            self.start = end;
            self.note_cut(end, Fate::Passed);
        }
    }

    fn note_cut(&mut self, end: usize, fate: Fate) {
        *self.cut_crlf = (end == self.chunk.len() && self.chunk.ends_with(b"\r")).then_some(fate);
    }

    /// A LF that completes the last chunk's CRLF shares the fate of its event.
    fn complete_crlf(&mut self) {
        match self.cut_crlf.take().filter(|_| self.chunk.starts_with(b"\n")) {
            Some(Fate::Passed) if self.chunk.len() > 1 => self.pass(1),
            Some(Fate::Dropped) => self.start = 1,
            _ => {}
        }
    }

    fn skip(&mut self, end: usize) {
        let end = self.past(end);
        self.held.clear();
        self.start = end;
        self.note_cut(end, Fate::Dropped);
    }

    /// An event ends with its CR; a LF after it belongs to it too.
    fn past(&self, end: usize) -> usize {
        let is_crlf = end > 0 && self.chunk[end - 1] == b'\r' && self.chunk.get(end) == Some(&b'\n');
        end + usize::from(is_crlf)
    }

    /// A failure: only the events before it pass.
    fn stop(&mut self) {
        self.pass(self.good);
        self.held.clear();
    }

    /// What stands before `boundary` passes, what follows is held.
    fn rest(&mut self, boundary: Option<usize>) {
        self.pass(boundary.unwrap_or(self.chunk.len()).max(self.start));
        if self.start < self.chunk.len() {
            self.held.push(self.chunk.slice(self.start..));
        }
    }
}

/// Decoded events on their way to the client.
struct Steps<'a> {
    encoder: &'a mut dyn Encode,
    restore: &'a mut Restore,
    tap: &'a mut Tap,
    written: &'a mut Vec<u8>,
}

impl Steps<'_> {
    fn take(&mut self, events: &mut Vec<StreamEvent>) {
        let mut restored = Vec::with_capacity(events.len());
        for event in events.drain(..) {
            tap_event(&event, self.tap);
            self.restore.event(event, &mut restored);
        }
        for event in &restored {
            self.encoder.event(event, self.written);
        }
    }
}

fn tap_event(event: &StreamEvent, tap: &mut Tap) {
    match event {
        StreamEvent::Start { id, model } => {
            tap.id.clone_from(id);
            tap.model.clone_from(model);
        }
        StreamEvent::PartStart { start: PartStart::ToolCall { .. } | PartStart::Whole(_), .. } => tap.content = true,
        StreamEvent::PartDelta { delta: Delta::Text(text) | Delta::Arguments(text), .. } if !text.is_empty() => {
            tap.content = true;
            tap.output_bytes += text.len() as u64;
        }
        StreamEvent::Finish { reason, raw, .. } => {
            tap.finish_reason = Some(raw.clone().unwrap_or_else(|| format!("{reason:?}")));
        }
        StreamEvent::Usage(report) => tap.usage = Some(report.clone()),
        StreamEvent::End => tap.done = true,
        _ => {}
    }
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

fn meter(tap: &Tap, loss: &LossReport) -> Meter {
    let UsageReport { usage, raw } = tap.usage.clone().unwrap_or_default();
    let is_reported = tap.usage.is_some();
    Meter {
        usage: is_reported.then_some(usage),
        raw_usage: is_reported.then_some(raw),
        finish_reason: tap.finish_reason.clone(),
        upstream_response_id: tap.id.clone(),
        upstream_model: tap.model.clone(),
        output_bytes: tap.output_bytes,
        loss: loss.clone(),
    }
}
